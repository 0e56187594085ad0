"""From the files that a configuration names to recordings on one clock, split and normalised without leaks."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from functools import cached_property
from math import floor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from giblet.alignment import Aligned, align_all_modalities
from giblet.data.bold.scan_timing import sidecar_path
from giblet.data.dataset.normalise import Normaliser
from giblet.data.dataset.series import Series
from giblet.data.dataset.stimulus_split import ShownRun
from giblet.data.dataset.windows import Recording
from giblet.data.splits import HRF_SECONDS, Splits
from giblet.errors import AlignmentError, CodecError, InputError
from giblet.features import CODES, CONTINUOUS
from giblet.modalities import AUDIO, BOLD, STIMULI
from giblet.timing import same_tr, shown
from giblet.training.columns import learnable
from giblet.training.films import Films, Joined
from giblet.training.holes import Holes, unused_volumes, with_damaged
from giblet.training.parts import is_cleaned, split_study
from giblet.training.settings import RunSettings, SubjectSettings, TrainSettings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Study:
    """What a run learns from and is scored on."""

    recordings: list[Recording]
    splits: dict[str, Splits]
    """By subject; indices are rows of its recording."""
    normalisers: dict[str, dict[str, Normaliser]]
    """By subject and modality, fitted on training TRs."""
    volumes: dict[str, np.ndarray]
    """By subject, int64 (n_trs,): which volume of its run each row is."""
    stimulus_trs: dict[str, np.ndarray]
    """By subject, int64 (n_trs,): the TR of the stimulus in which each row begins; 0 where the stimulus began."""
    codec_fingerprint: str | None
    """Of the codec that made the codes."""
    bandwidth: float | None
    """Of the codes, kbps."""
    paths: tuple[Path, ...]
    """The files that were read."""
    film_seconds: dict[str, np.ndarray] = field(default_factory=dict)
    """By subject, float64 (n_trs,): the second of the film at which each row begins."""
    columns: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    """By subject, what is known of each column of the BOLD: ``i``, ``j``, ``k`` of voxels, or ``region``."""
    unlearnable: dict[str, str] = field(default_factory=dict)
    """By subject, which columns of the BOLD training TRs say nothing of, in words; their normaliser makes them 0."""
    slice_time_ref: dict[str, float] = field(default_factory=dict)
    """By subject, when in its TR a volume is read, 0 (its onset) to 1."""
    films: Films = field(default_factory=Films)
    """The feature files."""
    split_notes: dict[str, list[str]] = field(default_factory=dict)
    """By subject what is to be said of its split; under "" of that of all."""
    holes: dict[str, Holes] = field(default_factory=dict)
    """By subject, NaN outside training and validation, where ``bad: mask`` keeps such voxels."""

    @cached_property
    def sources(self) -> dict[str, str]:
        """SHA-256 of each file that was read, by path."""
        return {str(path): self.films.digest(path) for path in self.paths}

    def part(self, name: str) -> dict[str, np.ndarray]:
        """The TRs of one part of the split.

        Parameters
        ----------
        name : {"train", "val", "test", "gap"}

        Returns
        -------
        dict of str to ndarray of int64
            By subject, rows of its recording, ascending.
        """
        return {subject: getattr(splits, name) for subject, splits in self.splits.items()}

    @property
    def n_voxels(self) -> dict[str, int]:
        """Voxels or regions of each subject."""
        return {r.subject: r.series[BOLD].shape[1] for r in self.recordings}

    @property
    def stimuli(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Kind (``"codes"`` or ``"continuous"``) and shape of one TR of each modality that any subject has."""
        return {
            name: (series.kind, series.shape[1:])
            for recording in reversed(self.recordings)
            for name, series in recording.series.items()
            if name != BOLD
        }


def build_study(settings: TrainSettings, *, min_trs: int = 1) -> Study:
    """Read, align, split and normalise what a configuration names.

    Parameters
    ----------
    settings : TrainSettings
    min_trs : int
        The least length of a part of the split, TRs.

    Returns
    -------
    Study

    Raises
    ------
    GibletError
        If a file cannot be read, files do not fit one clock, the audio is not of the kind that ``model.use_encodec``
        says, codes are of different codecs, or a scan is too short for its split.

    Notes
    -----
    Volumes between the first and the last of a run for which a modality has nothing keep their place, marked absent:
    windows must not close up over them. So do censored volumes, whose features are there.

    Where ``model.tr`` is not given, it is that of the features, and the scans must say the same: tables by a sidecar.
    """
    asked_tr = settings.model.tr if "tr" in settings.model.model_fields_set else None
    settings = with_tr(settings)
    recordings: list[Recording] = []
    read: dict[str, Rows] = {}
    said: dict[str, Any] = {"codec_fingerprint": set(), "bandwidth": set()}
    films = Films()
    for subject in settings.data.subjects:
        recording, read[subject.name] = _recording(subject, settings, asked_tr, said, films)
        recordings.append(recording)
    for what, found in said.items():
        if len(found) > 1:
            raise CodecError(f"the codes differ in {what}: {', '.join(map(str, sorted(found)))}; extract all with one")
    splits, notes = split_study(settings.data, recordings, {name: rows.shown for name, rows in read.items()}, min_trs)
    holes = {}
    for k, subject in enumerate(settings.data.subjects):
        if read[subject.name].n_bad and _keeps_damaged(subject, settings):
            recordings[k], holes[subject.name] = _with_damaged(
                subject, asked_tr, recordings[k], read, splits[subject.name]
            )
    columns = {name: rows.columns for name, rows in read.items()}
    normalisers, unlearnable = learnable(recordings, splits, columns, centre_runs=settings.data.centre_runs)
    return Study(
        recordings, splits, normalisers, {name: rows.volumes for name, rows in read.items()},
        {name: rows.stimulus_trs for name, rows in read.items()},
        next(iter(said["codec_fingerprint"]), None), next(iter(said["bandwidth"]), None),
        files_of(settings), {name: rows.film_seconds for name, rows in read.items()}, columns, unlearnable,
        {name: rows.slice_time_ref for name, rows in read.items()}, films, notes,
        holes,
    )  # fmt: skip


def with_tr(settings: TrainSettings) -> TrainSettings:
    """The same settings, with the TR of the features where ``model.tr`` is not given.

    Parameters
    ----------
    settings : TrainSettings

    Returns
    -------
    TrainSettings

    Raises
    ------
    InputError
        If the features cannot be read, or have several TRs.
    """
    if "tr" in settings.model.model_fields_set:
        return settings
    found: dict[Path, float] = {}
    for run in (run for subject in settings.data.subjects for run in subject.runs):
        for path in filter(None, (getattr(run, name) for name in STIMULI)):
            tr = None if path in found else Series(path).tr
            if tr is not None:
                found[path] = tr
    if not found:
        return settings
    (first, tr), *others = found.items()
    for path, other in others:
        if not same_tr(tr, other):
            raise InputError(
                f"{first.name} has TR {shown(tr)} s, {path.name} {shown(other)} s: extract all with the TR of the scans"
            )
    return settings.model_copy(update={"model": settings.model.model_copy(update={"tr": tr})})


def files_of(settings: TrainSettings) -> tuple[Path, ...]:
    """The files that settings name, and the sidecars beside the scans.

    Parameters
    ----------
    settings : TrainSettings

    Returns
    -------
    tuple of Path
        Sorted, each once.
    """
    found: set[Path] = set()
    for subject in settings.data.subjects:
        given = [subject.mask, subject.atlas]
        for run in subject.runs:
            given += [run.bold, run.confounds, *(getattr(run, name) for name in STIMULI)]
            if (sidecar := sidecar_path(run.bold)).is_file():
                given.append(sidecar)
        found |= {path for path in given if path is not None}
    return tuple(sorted(found))


class Rows(NamedTuple):
    """What is known of the rows and columns of a recording."""

    volumes: np.ndarray
    stimulus_trs: np.ndarray
    film_seconds: np.ndarray
    columns: dict[str, np.ndarray]
    slice_time_ref: float
    shown: list[ShownRun]
    run_lengths: list[int]
    """Volumes of each run."""
    n_bad: int
    """Voxels or regions that were left out."""


def _recording(
    subject: SubjectSettings, settings: TrainSettings, asked_tr: float | None, said: dict[str, Any], films: Films
) -> tuple[Recording, Rows]:
    """All runs of a subject, one after the other, and what is known of its rows and columns."""
    tr = settings.model.tr
    confounds = [run.confounds for run in subject.runs]
    if any(confounds) and not all(confounds):
        raise InputError(f"subject {subject.name}: some runs have confounds, some none: name one file per run")
    bold = _bold(subject, asked_tr)
    if not same_tr(bold.attrs["tr"], tr):
        raise AlignmentError(
            f"subject {subject.name}: the scans have TR {shown(bold.attrs['tr'])} s, the features {shown(tr)} s: "
            f"extract them again with tr={shown(bold.attrs['tr'])}, or set model.tr if that of the scans is wrong"
        )
    labels = bold["run"].values
    used = bold["sample_mask"].values.astype(bool) if "sample_mask" in bold else np.ones(len(labels), bool)
    pieces: list[dict[str, tuple[np.ndarray, np.ndarray]]] = []
    volumes: list[np.ndarray] = []
    stimulus_trs: list[np.ndarray] = []
    film_seconds: list[np.ndarray] = []
    films_of_runs: list[ShownRun] = []
    kinds = {}
    for number, run in enumerate(subject.runs, start=1):
        rows = np.flatnonzero(labels == number)
        files = _features(run, subject.name, number, settings, said, films)
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
            values = films.shared(getattr(run, name), aligned.features[name].values, int(aligned.source_trs[name][0]))
            piece[name] = values, aligned.masks[name]
            kinds[name] = str(files[name].attrs["kind"])
        pieces.append({**piece, BOLD: (aligned.bold, aligned.bold_mask)})
        volumes.append(aligned.volumes)
        # The latest of the modalities: where one was there before the scan, the response to it is in the first volumes.
        onsets = [values["onset"].values for values in aligned.features.values()]
        began = max(0, floor(max(float(onset[0]) for onset in onsets) / tr + 1e-6))
        stimulus_trs.append(began + np.arange(len(aligned.volumes)))
        film_seconds.append(onsets[0])
        starts = {films.digest(getattr(run, name)): float(aligned.features[name]["onset"][0]) for name in files}
        films_of_runs.append(ShownRun(starts, len(aligned.volumes)))
    runs = np.repeat(np.arange(1, len(pieces) + 1), list(map(len, volumes)))
    sources = {
        name: _joined(name, kind, [p.get(name, len(v)) for p, v in zip(pieces, volumes, strict=True)], subject.name, tr)
        for name, kind in {**kinds, BOLD: CONTINUOUS}.items()
    }
    known = Rows(
        np.concatenate(volumes), np.concatenate(stimulus_trs), np.concatenate(film_seconds), _columns(bold),
        float(bold.attrs["slice_time_ref"]), films_of_runs,
        json.loads(bold.attrs["run_lengths"]), int(bold.attrs.get("n_bad_voxels", bold.attrs.get("n_bad_regions", 0))),
    )  # fmt: skip
    return Recording.of(subject.name, sources, run=runs), known


def _bold(subject: SubjectSettings, asked_tr: float | None, unused: list[np.ndarray] | None = None) -> xr.Dataset:
    confounds = [run.confounds for run in subject.runs if run.confounds]
    try:
        return subject.processor(asked_tr).load(
            [run.bold for run in subject.runs], confounds=confounds or None, subject=subject.name, unused=unused
        )
    except InputError as exc:
        raise InputError(f"subject {subject.name}: {exc}") from exc


def _keeps_damaged(subject: SubjectSettings, settings: TrainSettings) -> bool:
    """Whether a voxel is left out only for what training and validation use of it.

    Cleaning needs whole runs and regions of an atlas their voxels; and runs from before, which these two options tell,
    left out what was damaged anywhere.
    """
    if subject.bad != "mask" or subject.atlas is not None or is_cleaned(subject):
        return False
    return settings.data.split == "stimulus" or settings.data.centre_runs


def _with_damaged(
    subject: SubjectSettings, asked_tr: float | None, recording: Recording, read: dict[str, Rows], splits: Splits
) -> tuple[Recording, Holes]:
    """The subject's recording with the voxels that are damaged only where they are not used; their columns too."""
    known = read[subject.name]
    unused = unused_volumes(known.volumes, recording.run, known.run_lengths, splits)
    bold = _bold(subject, asked_tr, unused)
    if kept := bold["bold"].shape[1] - recording.series[BOLD].shape[1]:
        log.warning(
            "subject %s: %d of these are kept, as no TR of training or validation is bad in them", subject.name, kept
        )
    read[subject.name] = known._replace(columns=_columns(bold))
    return with_damaged(recording, bold, known.volumes, unused)


def _columns(bold: xr.Dataset) -> dict[str, np.ndarray]:
    return {str(name): bold[name].values for name in ("i", "j", "k", "region") if name in bold.coords}


def _tell_cut(aligned: Aligned, which: str) -> None:
    """Warn of a scan that goes on for long after the stimulus: so does one that is read at a wrong TR."""
    report = aligned.report
    seconds = report.cut_end * report.tr
    if seconds > HRF_SECONDS and report.cut_end > 0.1 * report.n_volumes:
        log.warning(
            "%s: the last %d of %d volumes (%g s) have no stimulus and are left out; if the film did not end before "
            "the scan, check the TR, %s s", which, report.cut_end, report.n_volumes, seconds, shown(report.tr),
        )  # fmt: skip


def _features(
    run: RunSettings, subject: str, number: int, settings: TrainSettings, said: dict[str, Any], films: Films
) -> dict[str, xr.Dataset]:
    """The feature files of a run, and a check that the sound is what the model is for."""
    files = {name: films.load(path) for name in STIMULI if (path := getattr(run, name)) is not None}
    if not files:
        raise InputError(f"subject {subject}, run {number} has no features; name audio, video or text")
    if AUDIO not in files:
        return files
    audio, model = files[AUDIO], settings.model
    wanted = CODES if model.use_encodec else CONTINUOUS
    if audio.attrs["kind"] != wanted:
        raise InputError(
            f"{run.audio} holds {audio.attrs['kind']} values, model.use_encodec is {model.use_encodec}, which needs "
            f"{wanted}: extract it with use_encodec={model.use_encodec}, or change the option"
        )
    if model.use_encodec:
        for what, found in said.items():
            found.add(audio.attrs[what])
        shape = {"n_codebooks": audio.sizes["codebook"], "frames_per_tr": audio.sizes["frame"],
                 "codebook_size": int(audio.attrs["codebook_size"])}  # fmt: skip
        for name, value in shape.items():
            # Of another TR there are other frames, and alignment says so better.
            if same_tr(audio.attrs["tr"], model.tr) and getattr(model, name) != value:
                raise InputError(f"{run.audio} has {name} {value}, model.{name} is {getattr(model, name)}: change it")
    return files


def _joined(name: str, kind: str, given: list[Any], subject: str, tr: float) -> Joined:
    """Runs end to end; a number stands for so many TRs of which nothing is known."""
    shapes = {g[0].shape[1:] for g in given if not isinstance(g, int)}
    if len(shapes) > 1:
        raise InputError(f"subject {subject}: {name} has shapes {sorted(shapes)} by TR in different runs; expected one")
    valid = np.concatenate([np.zeros(g, bool) if isinstance(g, int) else g[1] for g in given])
    return Joined([g if isinstance(g, int) else g[0] for g in given], valid, kind, tr, f"{name} of subject {subject}")
