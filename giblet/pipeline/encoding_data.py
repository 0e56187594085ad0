"""One subject of an encoding run: bands and BOLD on one clock, and which TRs are predicted from which."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from giblet.data.bold.brain_rows import unit_of
from giblet.data.dataset.stimulus_split import leaked
from giblet.data.dataset.windows import Recording
from giblet.data.splits import Splits, segments
from giblet.encoding import BlockedFolds
from giblet.encoding.settings import EncodeDataSettings, EncodeRunSettings, EncodeSettings, EncodeSubjectSettings
from giblet.errors import InputError
from giblet.modalities import BOLD
from giblet.pipeline.encoding_features import BandReader
from giblet.training.films import Films
from giblet.training.parts import check_cleaned_apart, is_cleaned, split_study
from giblet.training.recordings import Rows, agreed_tr, read_recording

if TYPE_CHECKING:
    import xarray as xr

log = logging.getLogger(__name__)


Moment = tuple[str, int]
"""A film (SHA-256 of a file of features), and the place in it in thousandths of a TR."""


@dataclass(frozen=True)
class Fold:
    """Rows to learn from, and rows that are predicted from them."""

    train: np.ndarray
    """int64, ascending."""
    test: np.ndarray
    """int64, ascending; no row is in the test of two folds."""


@dataclass(frozen=True)
class SubjectData:
    """What is known of one subject."""

    name: str
    bands: dict[str, np.ndarray]
    """By name, float (n_trs, n_columns)."""
    bold: np.ndarray
    """float32 (n_trs, n_voxels); NaN in volumes that are censored."""
    run: np.ndarray
    """int64 (n_trs,): 1, 2, ... in the order of the runs that were read."""
    run_names: list[str]
    """Of each run, the file of its BOLD."""
    tr: float
    slice_time_ref: float
    folds: list[Fold]
    gap_trs: int
    moments: list[tuple[Moment, ...]]
    """Of each row what it shows, by each of the files of its run. Subjects and runs that show the same have a file in
    common, and perhaps others of their own."""
    like: xr.Dataset
    """The columns of the BOLD."""
    notes: list[str]
    """What was left out, and what is to be said of the split."""

    @property
    def test(self) -> np.ndarray:
        """Rows that are predicted by a model that did not see them, int64, ascending."""
        return np.sort(np.concatenate([fold.test for fold in self.folds]))

    @property
    def stretches(self) -> np.ndarray:
        """Of each test row, which stretch it is in: one for each fold and run, int64 (n_test,), from 0."""
        fold = np.empty(len(self.run), np.int64)
        for number, one in enumerate(self.folds):
            fold[one.test] = number
        pairs = np.stack([fold, self.run], axis=1)[self.test]
        changes = (np.diff(pairs, axis=0) != 0).any(axis=1)
        return np.concatenate([[0], np.cumsum(changes)])


def tr_of(settings: EncodeSettings, films: Films) -> float | None:
    """The TR that the settings or the feature files say.

    Parameters
    ----------
    settings : EncodeSettings
    films : Films
        Reads the files, and keeps them for the subjects.

    Returns
    -------
    float or None
        Seconds; None where there are only tables and arrays, and the scans have to say it.

    Raises
    ------
    InputError
        If a feature file cannot be read, or they have several TRs.
    """
    if settings.tr is not None:
        return settings.tr
    found: dict[Path, float] = {}
    used = {band.of for band in settings.bands.values() if band.times is None}
    for subject in settings.data.subjects:
        for run in subject.runs:
            for name, path in run.files().items():
                if name in used and path.suffix == ".nc" and path not in found:
                    found[path] = float(films.load(path).attrs["tr"])
    return agreed_tr(found)


def read_subject(
    settings: EncodeSettings, subject: EncodeSubjectSettings, reader: BandReader, films: Films, tr: float | None
) -> SubjectData:
    """Read a subject's runs, and divide its TRs.

    Parameters
    ----------
    settings : EncodeSettings
    subject : EncodeSubjectSettings
    reader : BandReader
    films : Films
        What was read before.
    tr : float or None
        As :func:`tr_of` gives it.

    Returns
    -------
    SubjectData

    Raises
    ------
    GibletError
        If no run can be used, files do not fit one clock, or too little is left to learn from or to predict.
    """
    scanned, notes = _scanned(subject)
    lengths: dict[int, int] = {}

    def files_of(number: int, run: EncodeRunSettings, seconds: float) -> dict[str, tuple[Path, xr.Dataset]]:
        return reader.of_run(run.files(), seconds, lengths.get(number), run.stimulus_time_at_volume_0)

    try:
        recording, rows = read_recording(
            scanned, files_of, films, tr=tr, asked_tr=settings.tr, share=False, lengths=lengths
        )
    except InputError:
        kept, silent = _without_silent_runs(scanned, settings.tr)
        if not silent:
            raise
        scanned, notes = kept, notes + silent
        recording, rows = read_recording(
            scanned, files_of, films, tr=tr, asked_tr=settings.tr, share=False, lengths=lengths
        )
    bold = recording.series[BOLD].read(0, len(recording.run))
    present = recording.series[BOLD].valid
    bold[~present] = np.nan
    if rows.n_bad:
        told = f"{rows.n_bad} of {bold.shape[1]} {unit_of(rows.columns)}s hold NaN or never change in a run"
        notes.append(f"{told}: left out, NaN in maps")
        bold[:, ~rows.like["good"].values] = np.nan
    folds, gap_trs, about_split = _folds(settings.data, scanned, recording, rows, np.flatnonzero(present))
    if not present.all():
        notes.append(
            f"{int((~present).sum())} of {len(present)} TRs have no BOLD that may be used (censored): left out; in the "
            "test, their neighbours close up"
        )
    bands = {name: series.read(0, len(recording.run)) for name, series in recording.series.items() if name != BOLD}
    _fill_absent(bands, {name: recording.series[name].valid for name in bands}, folds)
    for name in bands:
        absent = int((~recording.series[name].valid).sum())
        if absent:
            notes.append(f"band {name!r} says nothing of {absent} of {len(present)} TRs: they hold its training mean")
    return SubjectData(
        subject.name, bands, bold, recording.run, [path.name for run in scanned.runs if (path := run.bold)],
        float(recording.tr), rows.slice_time_ref, folds, gap_trs, _moments(rows, recording.tr), rows.like,
        notes + about_split,
    )  # fmt: skip


def _scanned(subject: EncodeSubjectSettings) -> tuple[EncodeSubjectSettings, list[str]]:
    """The subject with the runs of which there is BOLD."""
    kept, notes = [], []
    for number, run in enumerate(subject.runs, start=1):
        if run.bold is None or not run.bold.is_file():
            why = "no BOLD is named" if run.bold is None else f"there is no file {run.bold}"
            notes.append(f"run {number} is left out: {why}")
        else:
            kept.append(run)
    if not kept:
        raise InputError(f"subject {subject.name} has no run with BOLD: {'; '.join(notes)}")
    for note in notes:
        log.warning("subject %s: %s", subject.name, note)
    return subject.model_copy(update={"runs": tuple(kept)}), notes


def _without_silent_runs(
    subject: EncodeSubjectSettings, asked_tr: float | None
) -> tuple[EncodeSubjectSettings, list[str]]:
    """The subject without runs whose BOLD never changes in any voxel."""
    kept, notes = [], []
    for run in subject.runs:
        try:
            values = _raw(subject, run, asked_tr)
        except (InputError, ValueError):  # of which the first reading speaks better
            kept.append(run)
            continue
        with np.errstate(invalid="ignore"):
            silent = not (np.ptp(values, axis=0) > 0).any()
        if silent:
            notes.append(f"the run of {run.bold.name if run.bold else ''} is left out: its BOLD never changes anywhere")
        else:
            kept.append(run)
    if not kept:
        return subject, []
    for note in notes:
        log.warning("subject %s: %s", subject.name, note)
    return subject.model_copy(update={"runs": tuple(kept)}), notes


def _raw(subject: EncodeSubjectSettings, run: EncodeRunSettings, asked_tr: float | None) -> np.ndarray:
    """BOLD of a run as it stands in its file, (n_volumes, n_columns)."""
    assert run.bold is not None
    return subject.processor(asked_tr).scan([run.bold]).runs[0]


def _folds(
    data: EncodeDataSettings, subject: EncodeSubjectSettings, recording: Recording, rows: Rows, present: np.ndarray
) -> tuple[list[Fold], int, list[str]]:  # fmt: skip
    run, tr, n_trs = recording.run, recording.tr, len(recording.run)
    blocked = BlockedFolds(data.folds or 2, data.gap, tr=tr)
    notes: list[str] = []
    if data.folds is not None:
        if data.folds == "runs" and len(subject.runs) < 2:
            raise InputError(
                f"subject {subject.name} has BOLD in one run: folds: runs predicts each run from the others"
            )
        pairs = blocked.of_rows(np.arange(n_trs), run)
        splits = [_splits(train, test, n_trs, blocked.gap_trs) for train, test in pairs]
    elif any(one.part for one in subject.runs):
        parts = np.array([one.part for one in subject.runs])[run - 1]
        for part in ("train", "test"):
            if part not in parts:
                raise InputError(f"subject {subject.name} has no run with BOLD of which part is {part}: add one")
        splits = [_splits(np.flatnonzero(parts == "train"), np.flatnonzero(parts == "test"), n_trs, 0)]
    else:
        own = data.model_copy(update={"subjects": (subject,)})
        found, told = split_study(own, [recording], {subject.name: rows.shown}, 2)
        one = found[subject.name]
        splits = [_splits(np.sort(np.r_[one.train, one.val]), one.test, n_trs, one.gap_trs)]
        notes = [note for some in told.values() for note in some if "training, of this or another" not in note]
    repeats = max(leaked({subject.name: rows.shown}, tr, {subject.name: one}).get(subject.name, 0) for one in splits)
    if repeats:
        notes.append(
            f"{repeats} test TRs show film that is learned from too, in another run: their scores are too good to "
            "speak for a new film"
        )
    if is_cleaned(subject):
        for one in splits:
            check_cleaned_apart(subject.name, run, one)
    folds = [Fold(np.intersect1d(one.train, present), np.intersect1d(one.test, present)) for one in splits]
    for number, fold in enumerate(folds, start=1):
        if len(fold.train) < 2 or len(fold.test) < 3:
            raise InputError(
                f"subject {subject.name}: part {number} of {len(folds)} has {len(fold.train)} TRs to learn from and "
                f"{len(fold.test)} to predict: use fewer folds, a shorter gap or other fractions"
            )
    return folds, splits[0].gap_trs, notes


def _splits(train: np.ndarray, test: np.ndarray, n_trs: int, gap_trs: int) -> Splits:
    used = np.concatenate([train, test])
    return Splits(train, np.arange(0), test, np.setdiff1d(np.arange(n_trs), used), gap_trs)


def _fill_absent(bands: dict[str, np.ndarray], valid: dict[str, np.ndarray], folds: list[Fold]) -> None:
    """Where a band says nothing, what it says on average, so that nothing is learned from or predicted there."""
    train = np.unique(np.concatenate([fold.train for fold in folds])) if len(folds) == 1 else None
    for name, values in bands.items():
        there = np.flatnonzero(valid[name])
        known = there if train is None else np.intersect1d(there, train)
        if len(there) < len(values) and len(known):
            values[~valid[name]] = values[known].mean(0)


def _moments(rows: Rows, tr: float) -> list[tuple[Moment, ...]]:
    """Of each row what it shows, and when, by each file of its run."""
    found: list[tuple[Moment, ...]] = []
    for run in rows.shown:
        begins = {film: round(1000 * start / tr) for film, start in sorted(run.starts.items())}
        found += [tuple((film, at + 1000 * k) for film, at in begins.items()) for k in range(run.n_trs)]
    return found


def timeline(data: SubjectData) -> list[tuple[str, list[tuple[int, int]], list[tuple[int, int]]]]:
    """For each fold its name, and stretches ``[start, stop)`` of rows of training and of test.

    Parameters
    ----------
    data : SubjectData

    Returns
    -------
    list of (str, list of (int, int), list of (int, int))
    """
    several = len(data.folds) > 1
    return [
        (f"fold {number}" if several else "scan", segments(fold.train, data.run), segments(fold.test, data.run))
        for number, fold in enumerate(data.folds, start=1)
    ]
