"""From the files that a configuration names to recordings on one clock, split and normalised without leaks."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from giblet.data.bold.surfaces import companions, with_other_hemisphere
from giblet.data.dataset.normalise import Normaliser
from giblet.data.dataset.series import Series
from giblet.data.dataset.windows import Recording
from giblet.data.splits import Splits
from giblet.errors import CodecError, InputError
from giblet.features import CODES, CONTINUOUS
from giblet.modalities import AUDIO, BOLD, STIMULI
from giblet.timing import same_tr
from giblet.training.columns import learnable
from giblet.training.films import Films
from giblet.training.holes import Holes, unused_volumes, with_damaged
from giblet.training.parts import is_cleaned, moments_of, split_study
from giblet.training.recordings import Rows, agreed_tr, columns_of, first_volume, read_bold, read_recording
from giblet.training.settings import RunSettings, SubjectSettings, TrainSettings
from giblet.urls import in_urls

if TYPE_CHECKING:
    import xarray as xr

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
    moments: dict[str, np.ndarray] = field(default_factory=dict)
    """By subject, float64 (n_trs, 2): which film each row shows, and where in it, in TRs."""
    like: dict[str, xr.Dataset] = field(default_factory=dict)
    """By subject, the first volume of the BOLD, with its columns and attributes, for images on its voxels."""

    @cached_property
    def columns(self) -> dict[str, dict[str, np.ndarray]]:
        """By subject, what is known of each column of the BOLD: ``i``, ``j``, ``k`` of voxels, or ``region``."""
        return {name: columns_of(like) for name, like in self.like.items()}

    @cached_property
    def sources(self) -> dict[str, str]:
        """SHA-256 of each file that was read, by path."""
        return {in_urls(str(path)): self.films.digest(path) for path in self.paths}

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
        recording, read[subject.name] = read_recording(
            subject, partial(_features, subject.name, settings, said, films), films, tr=settings.model.tr,
            asked_tr=asked_tr,
        )  # fmt: skip
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
        files_of(settings), {name: rows.film_seconds for name, rows in read.items()}, unlearnable,
        {name: rows.slice_time_ref for name, rows in read.items()}, films, notes,
        holes, {r.subject: moments_of(read[r.subject].shown, r.run, r.tr) for r in recordings},
        {name: rows.like for name, rows in read.items()},
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
    tr = agreed_tr(found)
    if tr is None:
        return settings
    return settings.model_copy(update={"model": settings.model.model_copy(update={"tr": tr})})


def files_of(settings: TrainSettings) -> tuple[Path, ...]:
    """The files that settings name, the other hemispheres of pairs, and the sidecars beside the scans.

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
        given: list[Path | None] = []
        for path in filter(None, (subject.mask, subject.atlas)):
            given += with_other_hemisphere(path)
        for run in subject.runs:
            given += [run.bold, run.mask, run.confounds, *(getattr(run, name) for name in STIMULI)]
            given += [file for file in companions(run.bold) if file.is_file()]
        found |= {path for path in given if path is not None}
    return tuple(sorted(found))


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
    bold = read_bold(subject, asked_tr, unused)
    if kept := bold["bold"].shape[1] - recording.series[BOLD].shape[1]:
        log.warning(
            "subject %s: %d of these are kept, as no TR of training or validation is bad in them", subject.name, kept
        )
    read[subject.name] = known._replace(like=first_volume(bold))
    return with_damaged(recording, bold, known.volumes, unused)


def _features(  # the first four are the study's, the last three what read_recording gives
    subject: str, settings: TrainSettings, said: dict[str, Any], films: Films, number: int, run: RunSettings, tr: float
) -> dict[str, tuple[Path, xr.Dataset]]:
    """The feature files of a run, and a check that the sound is what the model is for."""
    files = {name: (path, films.load(path)) for name in STIMULI if (path := getattr(run, name)) is not None}
    if not files:
        raise InputError(f"subject {subject}, run {number} has no features; name audio, video or text")
    if AUDIO not in files:
        return files
    (_, audio), model = files[AUDIO], settings.model
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
            if same_tr(audio.attrs["tr"], tr) and getattr(model, name) != value:
                raise InputError(f"{run.audio} has {name} {value}, model.{name} is {getattr(model, name)}: change it")
    return files
