"""One subject of a study: its runs read, brought on the clock of the scans, and laid end to end."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from math import floor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from giblet.alignment import Aligned, align_all_modalities
from giblet.data.bold.brain_rows import PLACES
from giblet.data.dataset.stimulus_split import ShownRun
from giblet.data.dataset.windows import Recording
from giblet.data.splits import HRF_SECONDS
from giblet.data.study_settings import SubjectSettings
from giblet.errors import AlignmentError, InputError
from giblet.features import CONTINUOUS
from giblet.modalities import BOLD
from giblet.timing import same_tr, shown
from giblet.training.films import Films, Joined

log = logging.getLogger(__name__)


class Rows(NamedTuple):
    """What is known of the rows and columns of a recording."""

    volumes: np.ndarray
    stimulus_trs: np.ndarray
    film_seconds: np.ndarray
    slice_time_ref: float
    shown: list[ShownRun]
    run_lengths: list[int]
    """Volumes of each run."""
    n_bad: int
    """Voxels, grayordinates or regions that were left out."""
    like: xr.Dataset
    """The first volume of the BOLD, with its columns and attributes, for images on its voxels."""

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """What is known of each column of the BOLD."""
        return columns_of(self.like)


FilesOf = Callable[[int, Any, float], Mapping[str, tuple[Path, xr.Dataset]]]
"""For the number of a run (from 1), its settings and the TR: by name, a file and what is to be aligned of it."""


def agreed_tr(trs: Mapping[Path, float]) -> float | None:
    """The one TR that all feature files have.

    Parameters
    ----------
    trs : mapping of Path to float
        TR of each file, in seconds.

    Returns
    -------
    float or None
        Seconds; None where there are no files.

    Raises
    ------
    InputError
        If they have several.
    """
    if not trs:
        return None
    (first, tr), *others = trs.items()
    for path, other in others:
        if not same_tr(tr, other):
            raise InputError(
                f"{first.name} has TR {shown(tr)} s, {path.name} {shown(other)} s: extract all with the TR of the scans"
            )
    return tr


def read_recording(
    subject: SubjectSettings, files_of: FilesOf, films: Films, *, tr: float | None, asked_tr: float | None,
    share: bool = True, lengths: dict[int, int] | None = None,
) -> tuple[Recording, Rows]:  # fmt: skip
    """All runs of a subject, one after the other, and what is known of its rows and columns.

    Parameters
    ----------
    subject : SubjectSettings
    files_of : callable
        What is aligned with the BOLD of a run.
    films : Films
        What was read before.
    tr : float or None
        Of the features, in seconds; None: that of the scans.
    asked_tr : float or None
        What the scans are told that their TR is, in seconds; None: they say it.
    share : bool
        What `files_of` gives are whole files of `films`, so that subjects of one film share memory.
    lengths : dict of int to int, optional
        Gets the volumes of each run, by its number, before `files_of` is called.

    Returns
    -------
    recording : Recording
    rows : Rows

    Raises
    ------
    GibletError
        If a file cannot be read, or files do not fit one clock.
    """
    bold, tr = _on_one_clock(subject, tr, asked_tr)
    labels = bold["run"].values
    used = bold["sample_mask"].values.astype(bool) if "sample_mask" in bold else np.ones(len(labels), bool)
    pieces: list[dict[str, tuple[np.ndarray, np.ndarray]]] = []
    volumes: list[np.ndarray] = []
    stimulus_trs: list[np.ndarray] = []
    film_seconds: list[np.ndarray] = []
    films_of_runs: list[ShownRun] = []
    kinds = {}
    if lengths is not None:
        lengths |= {int(number): int((labels == number).sum()) for number in np.unique(labels)}
    for number, run in enumerate(subject.runs, start=1):
        rows = np.flatnonzero(labels == number)
        given = files_of(number, run, tr)
        files = {name: features for name, (_, features) in given.items()}
        own = slice(rows[0], rows[-1] + 1)
        try:
            aligned = align_all_modalities(
                files, bold["bold"].values[own], tr=tr, stimulus_time_at_volume_0=run.stimulus_time_at_volume_0,
                volume_mask=used[own], on_short_bold=run.on_short_bold, on_holes="keep",
            )  # fmt: skip
        except (AlignmentError, InputError) as exc:
            raise type(exc)(f"subject {subject.name}, run {number}: {exc}") from exc
        _tell_cut(aligned, f"subject {subject.name}, run {number}")
        piece = {}
        for name in files:
            values = aligned.features[name].values
            if share:
                values = films.shared(given[name][0], values, int(aligned.source_trs[name][0]))
            piece[name] = values, aligned.masks[name]
            kinds[name] = str(files[name].attrs["kind"])
        pieces.append({**piece, BOLD: (aligned.bold, aligned.bold_mask)})
        volumes.append(aligned.volumes)
        # The latest of the modalities: where one was there before the scan, the response to it is in the first volumes.
        onsets = [values["onset"].values for values in aligned.features.values()]
        began = max(0, floor(max(float(onset[0]) for onset in onsets) / tr + 1e-6))
        stimulus_trs.append(began + np.arange(len(aligned.volumes)))
        film_seconds.append(onsets[0])
        starts = {films.digest(path): float(aligned.features[name]["onset"][0]) for name, (path, _) in given.items()}
        films_of_runs.append(ShownRun(starts, len(aligned.volumes)))
    runs = np.repeat(np.arange(1, len(pieces) + 1), list(map(len, volumes)))
    sources = {
        name: _joined(name, kind, [p.get(name, len(v)) for p, v in zip(pieces, volumes, strict=True)], subject.name, tr)
        for name, kind in {**kinds, BOLD: CONTINUOUS}.items()
    }
    n_bad = sum(int(value) for name, value in bold.attrs.items() if str(name).startswith("n_bad_"))
    known = Rows(
        np.concatenate(volumes), np.concatenate(stimulus_trs), np.concatenate(film_seconds),
        float(bold.attrs["slice_time_ref"]), films_of_runs,
        json.loads(bold.attrs["run_lengths"]), n_bad,
        first_volume(bold),
    )  # fmt: skip
    return Recording.of(subject.name, sources, run=runs), known


def _on_one_clock(subject: SubjectSettings, tr: float | None, asked_tr: float | None) -> tuple[xr.Dataset, float]:
    """BOLD of all runs, and its TR, which must be that of the features."""
    confounds = [run.confounds for run in subject.runs]
    if any(confounds) and not all(confounds):
        raise InputError(f"subject {subject.name}: some runs have confounds, some none: name one file per run")
    bold = read_bold(subject, asked_tr)
    tr = float(bold.attrs["tr"]) if tr is None else tr
    if not same_tr(bold.attrs["tr"], tr):
        raise AlignmentError(
            f"subject {subject.name}: the scans have TR {shown(bold.attrs['tr'])} s, the features {shown(tr)} s: "
            f"extract them again with tr={shown(bold.attrs['tr'])}; if the scans are wrong, give the subject its tr "
            "and overrule_tr"
        )
    return bold, tr


def read_bold(subject: SubjectSettings, asked_tr: float | None, unused: list[np.ndarray] | None = None) -> xr.Dataset:
    """BOLD of all runs of a subject.

    Parameters
    ----------
    subject : SubjectSettings
    asked_tr : float or None
        In seconds; None: the scans say it.
    unused : list of ndarray of bool, optional
        As for :meth:`giblet.data.fmri.FMRIProcessor.load`.

    Returns
    -------
    xarray.Dataset

    Raises
    ------
    InputError
        As there; it names the subject.
    """
    try:
        return subject.processor(asked_tr).load(
            [run.bold for run in subject.runs], confounds=subject.confounds(), subject=subject.name, unused=unused
        )
    except InputError as exc:
        raise InputError(f"subject {subject.name}: {exc}") from exc


def first_volume(bold: xr.Dataset) -> xr.Dataset:
    """One volume with all that is known of its columns, in memory of its own.

    Parameters
    ----------
    bold : xarray.Dataset
        As :meth:`giblet.data.fmri.FMRIProcessor.load` gives it.

    Returns
    -------
    xarray.Dataset
        With ``bold``, float32 (1, n_columns).
    """
    return bold.isel(tr=slice(0, 1)).copy(deep=True)


def columns_of(bold: xr.Dataset) -> dict[str, np.ndarray]:
    """What is known of each column of BOLD.

    Parameters
    ----------
    bold : xarray.Dataset

    Returns
    -------
    dict of str to ndarray
        Of :data:`giblet.data.bold.brain_rows.PLACES`, those that it has.
    """
    return {name: bold[name].values for name in PLACES if name in bold.coords}


def _tell_cut(aligned: Aligned, which: str) -> None:
    """Warn of a scan that goes on for long after the stimulus: so does one that is read at a wrong TR."""
    report = aligned.report
    seconds = report.cut_end * report.tr
    if seconds > HRF_SECONDS and report.cut_end > 0.1 * report.n_volumes:
        log.warning(
            "%s: the last %d of %d volumes (%g s) have no stimulus and are left out; if the film did not end before "
            "the scan, check the TR, %s s", which, report.cut_end, report.n_volumes, seconds, shown(report.tr),
        )  # fmt: skip


def _joined(name: str, kind: str, given: list[Any], subject: str, tr: float) -> Joined:
    """Runs end to end; a number stands for so many TRs of which nothing is known."""
    shapes = {g[0].shape[1:] for g in given if not isinstance(g, int)}
    if len(shapes) > 1:
        raise InputError(f"subject {subject}: {name} has shapes {sorted(shapes)} by TR in different runs; expected one")
    valid = np.concatenate([np.zeros(g, bool) if isinstance(g, int) else g[1] for g in given])
    return Joined([g if isinstance(g, int) else g[0] for g in given], valid, kind, tr, f"{name} of subject {subject}")
