"""What an encoding run gives back, of films and of clips, and the two files of all subjects together."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from giblet.config import Settings
from giblet.errors import GibletError
from giblet.files import write_atomic
from giblet.notebook import html_table
from giblet.pipeline.derivative import DESCRIPTION, describe_derivative
from giblet.pipeline.encoding_files import PLACES, SubjectEncoding, write_stats
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


def each_subject(
    there: Mapping[str, SubjectEncoding | None],
    work: Callable[[str, Callable[[str], None]], SubjectEncoding],
    progress: Tell | None,
) -> tuple[list[SubjectEncoding], dict[str, str]]:
    """Results of the subjects that can be used, and why others cannot.

    Parameters
    ----------
    there : mapping of str to SubjectEncoding or None
        All subjects by name, with the result that stands already.
    work : callable
        Computes a subject's result, from its name and a function that is called with what is being done.
    progress : callable or None

    Returns
    -------
    found : list of SubjectEncoding
        At least one.
    failed : dict of str to str
        By subject that was left out, why.

    Raises
    ------
    GibletError
        If no subject can be used: why the first cannot.
    """
    found: list[SubjectEncoding] = []
    errors: dict[str, GibletError] = {}
    for number, (name, result) in enumerate(there.items()):

        def tell(what: str, name: str = name, number: int = number) -> None:
            if progress:
                progress(f"{name}: {what}", number, len(there))

        try:
            found.append(result or work(name, tell))
        except GibletError as exc:
            errors[name] = exc
            if len(there) > 1:
                log.warning("subject %s is left out: %s", name, exc)
    if not found:
        raise next(iter(errors.values()))
    return found, {name: str(exc) for name, exc in errors.items()}


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
