"""What an encoding run gives back, of films and of clips, and the two files of all subjects together."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import pandas as pd

from giblet.config import Settings
from giblet.errors import GibletError
from giblet.files import LOCK, remove_unfinished, write_atomic
from giblet.notebook import html_table
from giblet.pipeline.cluster import Attempt, Workers, on_workers
from giblet.pipeline.derivative import DESCRIPTION, describe_derivative
from giblet.pipeline.encoding_files import PLACES, SubjectEncoding, subject_folder, write_stats
from giblet.pipeline.encoding_group import GroupEncoding
from giblet.version import __version__

log = logging.getLogger(__name__)

Tell = Callable[[str, int, int], None]
"""Called with what is being done, subjects that are done, and subjects in all."""


@dataclass(frozen=True, repr=False)
class EncodingResult:
    """What an encoding run found, and where it stands."""

    folder: Path
    subjects: tuple[SubjectEncoding, ...]
    group: GroupEncoding | None
    failed: dict[str, str]
    """By subject that was left out, why."""
    notes: tuple[str, ...]
    """What is to be said of all."""
    rows: Literal["volumes", "clips"] = "volumes"
    """What has a response: volumes of a film's scan, or sounds that were played one by one."""

    @property
    def report(self) -> Path:
        """The page."""
        return self.folder / "report.html"

    @property
    def scores(self) -> Path:
        """All scores in one table."""
        return self.folder / "scores.tsv"

    @property
    def files(self) -> tuple[Path, ...]:
        """All files."""
        own = [path for subject in self.subjects for path in subject.files]
        own += list(self.group.files) if self.group else []
        return (*own, self.scores, self.folder / "summary.json", self.folder / DESCRIPTION, self.report)

    def to_pandas(self) -> pd.DataFrame:
        """All scores, one in each row.

        Returns
        -------
        pandas.DataFrame
            ``subject`` (or ``"group"``), ``region`` or ``i``, ``j``, ``k``, ``band`` (empty: all bands together),
            ``score`` and ``value``.
        """
        tables = [(one.name, one.stats) for one in self.subjects]
        tables += [("group", self.group.stats)] if self.group else []
        return pd.concat([_long(name, stats) for name, stats in tables], ignore_index=True)

    def as_dict(self) -> dict[str, Any]:
        """What ``giblet encode --json`` prints.

        Returns
        -------
        dict of str to object
        """
        size = ("n_clips",) if self.rows == "clips" else ("n_trs_train", "n_trs_test")
        keys = ("mean_r", "mean_p", *size, "n_tested", "n_q", "n_fwe", "notes")
        about = {s.name: {"status": s.status, **{key: s.summary[key] for key in keys}} for s in self.subjects}
        return {
            "folder": str(self.folder), "rows": self.rows, "subjects": about,
            "group": self.group.summary if self.group else None,
            "failed": self.failed, "notes": list(self.notes), "report": str(self.report), "scores": str(self.scores),
        }  # fmt: skip

    def __repr__(self) -> str:
        return f"<EncodingResult {self.folder}: {len(self.subjects)} subjects, {len(self.failed)} left out>"

    def _repr_html_(self) -> str:
        size, counted = ("n_clips", "clips") if self.rows == "clips" else ("n_trs_test", "test TRs")
        keys = ("mean_r", "n_q", "n_fwe", "n_tested", size)
        rows = [(one.name, *(one.summary[key] for key in keys)) for one in self.subjects]
        units = f"{self.subjects[0].summary['unit']}s" if self.subjects else "columns"
        return html_table(
            repr(self).strip("<>"), ("subject", "mean r", "q <= .05", "p_fwe <= .05", units, counted), rows
        )


def _long(name: str, stats: pd.DataFrame) -> pd.DataFrame:
    places = [place for place in PLACES if place in stats]
    stats = stats.drop(columns="label", errors="ignore")
    long = stats.melt(places, var_name="score", value_name="value")
    kind, _, band = zip(*(str(score).partition("_") for score in long["score"]), strict=True)
    by_band = pd.Series([one in ("split", "unique") for one in kind])
    long.insert(0, "subject", name)
    long.insert(len(places) + 1, "band", pd.Series(band).where(by_band, ""))
    long["score"] = pd.Series(kind).where(by_band, long["score"])
    return long


class SubjectWork(Protocol):
    """Computes the result of one subject; it can be sent to workers."""

    def __call__(self, name: str, tell: Callable[[str], None] = ...) -> SubjectEncoding:
        """The subject's result, from its name; `tell` is called with what is being done."""


def each_subject(
    there: Mapping[str, SubjectEncoding | None], work: SubjectWork, progress: Tell | None, output: Path,
    where: Workers | None,
) -> tuple[list[SubjectEncoding], dict[str, str]]:  # fmt: skip
    """Results of the subjects that can be used, and why others cannot.

    Parameters
    ----------
    there : mapping of str to SubjectEncoding or None
        All subjects by name, with the result that stands already.
    work : callable
        Computes a subject's result.
    progress : callable or None
    output : Path
        Folder of the run, which this process has claimed.
    where : Workers or None
        By default one subject after another is computed in this process.

    Returns
    -------
    found : list of SubjectEncoding
        At least one, in the order of `there`.
    failed : dict of str to str
        By subject that was left out, why.

    Raises
    ------
    GibletError
        If no subject can be used: why the first cannot.
    """
    missing = [name for name, result in there.items() if result is None]
    found = {name: result for name, result in there.items() if result is not None}
    errors: dict[str, Exception] = {}
    attempts = (
        _in_turn(missing, work, progress, len(there)) if where is None
        else _at_a_time(missing, work, progress, len(there), output, where)
    )  # fmt: skip
    with closing(attempts):
        for name, attempt in attempts:
            if attempt.value is not None:
                found[name] = attempt.value
            elif attempt.error is not None:
                errors[name] = attempt.error
                if len(there) > 1:
                    log.warning("subject %s is left out: %s", name, attempt.error)
    failed = {name: errors[name] for name in there if name in errors}
    for error in failed.values():
        if not found or not isinstance(error, GibletError):
            raise error
    return [found[name] for name in there if name in found], {name: str(error) for name, error in failed.items()}


def _in_turn(
    names: Sequence[str], work: SubjectWork, progress: Tell | None, total: int
) -> Generator[tuple[str, Attempt[SubjectEncoding]]]:
    """Subjects one after another, in this process."""
    for number, name in enumerate(names, total - len(names)):

        def tell(what: str, name: str = name, number: int = number) -> None:
            if progress:
                progress(f"{name}: {what}", number, total)

        try:
            attempt = Attempt(work(name, tell))
        except GibletError as exc:
            attempt = Attempt(None, exc)
        yield name, attempt


def _at_a_time(
    names: Sequence[str], work: SubjectWork, progress: Tell | None, total: int, output: Path, where: Workers
) -> Generator[tuple[str, Attempt[SubjectEncoding]]]:
    """Subjects on workers."""
    tasks = {f"subject {name}": name for name in names}
    ended = set(names) if where.n is not None else set()
    n_done = total - len(names)
    try:
        with closing(on_workers(work, tasks, where, visible=output / LOCK)) as attempts:
            if progress:
                progress("workers start", n_done, total)
            for task, attempt in attempts:
                ended.add(tasks[task])
                n_done += 1
                if progress:
                    progress(f"{tasks[task]} done", n_done, total)
                yield tasks[task], attempt
    finally:
        # Left by workers that were killed. Those of a cluster may still be at work on subjects that are not done.
        for name in ended:
            remove_unfinished(subject_folder(output, name))


def write_result(result: EncodingResult, settings: Settings) -> None:
    """Write ``scores.tsv`` and ``summary.json`` of a run, and what makes its folder a BIDS derivative.

    Parameters
    ----------
    result : EncodingResult
    settings : EncodeSettings or ClipSettings
    """
    write_stats(result.to_pandas(), result.scores)
    about = {
        "giblet_version": __version__, "settings": settings.model_dump(mode="json"),
        "subjects": {one.name: one.summary for one in result.subjects},
        "group": result.group.summary if result.group else None, "failed": result.failed, "notes": list(result.notes),
    }  # fmt: skip
    describe_derivative(result.folder, "Encoding models of giblet")
    write_atomic(result.folder / "summary.json", json.dumps(about, indent=2) + "\n")
