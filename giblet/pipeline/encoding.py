"""Encoding models of a study, from a configuration: fitted, tested in every voxel, written as maps and a page."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from giblet.data.bold.brain_rows import PLACES
from giblet.encoding.settings import EncodeSettings
from giblet.errors import GibletError
from giblet.files import check_writable, claimed, write_atomic
from giblet.notebook import html_table
from giblet.pipeline.encoding_data import tr_of
from giblet.pipeline.encoding_features import BandReader
from giblet.pipeline.encoding_files import SubjectEncoding, write_stats
from giblet.pipeline.encoding_group import GroupEncoding, encode_group
from giblet.pipeline.encoding_report import write_page
from giblet.pipeline.encoding_subject import encode_subject, needs_held_out, standing
from giblet.training.films import Films
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
        return (*own, self.scores, self.folder / "summary.json", self.report)

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
        keys = ("mean_r", "mean_p", "n_trs_train", "n_trs_test", "n_tested", "n_q", "n_fwe", "notes")
        about = {s.name: {"status": s.status, **{key: s.summary[key] for key in keys}} for s in self.subjects}
        return {
            "folder": str(self.folder), "subjects": about, "group": self.group.summary if self.group else None,
            "failed": self.failed, "notes": list(self.notes), "report": str(self.report), "scores": str(self.scores),
        }  # fmt: skip

    def __repr__(self) -> str:
        return f"<EncodingResult {self.folder}: {len(self.subjects)} subjects, {len(self.failed)} left out>"

    def _repr_html_(self) -> str:
        keys = ("mean_r", "n_q", "n_fwe", "n_tested", "n_trs_test")
        rows = [(one.name, *(one.summary[key] for key in keys)) for one in self.subjects]
        return html_table(
            repr(self).strip("<>"), ("subject", "mean r", "q <= .05", "p_fwe <= .05", "columns", "test TRs"), rows
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


def read_encode_config(path: str | Path) -> EncodeSettings:
    """Settings of an encoding run from a YAML file; paths in it are relative to the working directory.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    EncodeSettings

    Raises
    ------
    InputError
        If the file cannot be read, or an option is not allowed.
    """
    return EncodeSettings.from_yaml(path)


def encode(
    config: str | Path | EncodeSettings, *, overwrite: bool = False, device: str | None = None,
    progress: Tell | None = None,
) -> EncodingResult:  # fmt: skip
    """Fit an encoding model in each subject, test it in every voxel, and write maps, tables and a page.

    A subject whose result is there, of the same settings and files, is not computed again. A subject that cannot be
    used is left out, and the summary says why.

    Parameters
    ----------
    config : str, Path or EncodeSettings
        A YAML file, or what it says.
    overwrite : bool
        Replace results of other settings or files.
    device : {"auto", "cpu", "cuda"}, optional
        In place of that of the settings.
    progress : callable, optional
        Called with what is being done, and with subjects that are done and those in all.

    Returns
    -------
    EncodingResult

    Raises
    ------
    GibletError
        If the settings or the output folder cannot be used, or no subject can.
    """
    settings = config if isinstance(config, EncodeSettings) else read_encode_config(config)
    if device is not None:
        settings = EncodeSettings.make(**{**settings.model_dump(), "device": device})
    check_writable(settings.output)
    with claimed(settings.output):
        subjects, failed = _each_subject(settings, overwrite, progress)
        group, notes = None, []
        if needs_held_out(settings):
            try:
                group = encode_group(settings, subjects)
            except GibletError as exc:
                if not failed:
                    raise
                notes.append(f"subjects are not compared: {exc}")
        result = EncodingResult(settings.output, tuple(subjects), group, failed, tuple(notes))
        table = result.to_pandas()
        write_stats(table, result.scores)
        about = {
            "giblet_version": __version__, "settings": settings.model_dump(mode="json"),
            "subjects": {one.name: one.summary for one in subjects}, "group": group.summary if group else None,
            "failed": failed, "notes": notes,
        }  # fmt: skip
        write_atomic(settings.output / "summary.json", json.dumps(about, indent=2) + "\n")
        write_page(result.report, settings, subjects, group, failed, notes)
    return result


def _each_subject(
    settings: EncodeSettings, overwrite: bool, progress: Tell | None
) -> tuple[list[SubjectEncoding], dict[str, str]]:
    """Results of the subjects that can be used, and why others cannot."""
    total = len(settings.data.subjects)
    films = Films()
    reader = BandReader(settings.bands, codec=settings.codec, films=films, device=settings.device)
    there = {one.name: standing(settings, one, overwrite) for one in settings.data.subjects}
    tr = None if all(there.values()) else tr_of(settings, films)
    found: list[SubjectEncoding] = []
    errors: dict[str, GibletError] = {}
    for number, subject in enumerate(settings.data.subjects):

        def tell(what: str, name: str = subject.name, number: int = number) -> None:
            if progress:
                progress(f"{name}: {what}", number, total)

        result = there[subject.name]
        if result is None:
            try:
                result = encode_subject(settings, subject, reader, films, tr, tell)
            except GibletError as exc:
                errors[subject.name] = exc
                if total > 1:
                    log.warning("subject %s is left out: %s", subject.name, exc)
                continue
        found.append(result)
    if not found:
        raise next(iter(errors.values()))
    return found, {name: str(exc) for name, exc in errors.items()}
