"""From the files that a configuration names to recordings on one clock, split and normalised without leaks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from giblet.alignment import align_all_modalities
from giblet.data.dataset import Recording, fit_normalisers
from giblet.data.normalise import Normaliser
from giblet.data.splits import Splits, make_splits
from giblet.errors import CodecError, InputError
from giblet.features import CODES, CONTINUOUS, load_features
from giblet.files import sha256_of
from giblet.timing import same_tr
from giblet.training.settings import MODALITIES, RunSettings, SubjectSettings, TrainSettings

BOLD = "bold"


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

    @cached_property
    def sources(self) -> dict[str, str]:
        """SHA-256 of each file that was read, by path."""
        return {str(path): sha256_of(path) for path in self.paths}

    def part(self, name: str) -> dict[str, np.ndarray]:
        """The TRs of ``"train"``, ``"val"``, ``"test"`` or ``"gap"`` by subject."""
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
    windows must not close up over them.
    """
    recordings, splits, volumes, stimulus_trs = [], {}, {}, {}
    said: dict[str, Any] = {"codec_fingerprint": set(), "bandwidth": set()}
    for subject in settings.data.subjects:
        recording, volumes[subject.name], stimulus_trs[subject.name] = _recording(subject, settings, said)
        try:
            splits[subject.name] = make_splits(
                len(recording.run), recording.tr, recording.run, settings.data.fractions, settings.data.gap,
                whole_runs=settings.data.whole_runs, min_trs=min_trs,
            )  # fmt: skip
        except InputError as exc:
            raise InputError(f"subject {subject.name}: {exc}") from exc
        if subject.detrend or subject.high_pass or subject.confound_columns:
            _check_cleaned_apart(subject.name, recording.run, splits[subject.name])
        recordings.append(recording)
    for what, found in said.items():
        if len(found) > 1:
            raise CodecError(f"the codes differ in {what}: {', '.join(map(str, sorted(found)))}; extract all with one")
    train = {name: s.train for name, s in splits.items()}
    return Study(
        recordings, splits, fit_normalisers(recordings, train), volumes, stimulus_trs,
        next(iter(said["codec_fingerprint"]), None), next(iter(said["bandwidth"]), None),
        _paths(settings),
    )  # fmt: skip


def _check_cleaned_apart(subject: str, runs: np.ndarray, splits: Splits) -> None:
    """Refuse cleaning where the split cuts within a run: it fits all volumes of a run at once."""
    for run in np.unique(runs):
        rows = np.flatnonzero(runs == run)
        parts = [p for p in ("train", "gap", "val", "test") if np.isin(getattr(splits, p), rows).any()]
        if len(parts) > 1:
            raise InputError(
                f"subject {subject}: run {run} is cut into {', '.join(parts[:-1])} and {parts[-1]}, and detrend, "
                "high_pass and confound_columns would fit all its volumes at once, so that training would know of the "
                "rest; set data.whole_runs: true, or clean the parts of the run beforehand, each by itself"
            )


def _paths(settings: TrainSettings) -> tuple[Path, ...]:
    found: set[Path] = set()
    for subject in settings.data.subjects:
        given = [subject.mask, subject.atlas]
        for run in subject.runs:
            given += [run.bold, run.confounds, *(getattr(run, name) for name in MODALITIES)]
        found |= {path for path in given if path is not None}
    return tuple(sorted(found))


def _recording(
    subject: SubjectSettings, settings: TrainSettings, said: dict[str, Any]
) -> tuple[Recording, np.ndarray, np.ndarray]:
    """All runs of a subject, one after the other; of each row its volume in the run, and the TR of the stimulus."""
    tr = settings.model.tr
    confounds = [run.confounds for run in subject.runs]
    if any(confounds) and not all(confounds):
        raise InputError(f"subject {subject.name}: some runs have confounds, some none: name one file a run")
    try:
        bold = subject.processor(tr).load(
            [run.bold for run in subject.runs],
            confounds=[c for c in confounds if c] or None,
            subject=subject.name,
        )
    except InputError as exc:
        raise InputError(f"subject {subject.name}: {exc}") from exc
    labels = bold["run"].values
    pieces: list[dict[str, tuple[np.ndarray, np.ndarray]]] = []
    volumes: list[np.ndarray] = []
    stimulus_trs: list[np.ndarray] = []
    kinds = {}
    for number, run in enumerate(subject.runs, start=1):
        rows = np.flatnonzero(labels == number)
        files = _features(run, subject.name, number, settings, said)
        aligned = align_all_modalities(
            files, bold["bold"].values[rows[0] : rows[-1] + 1], tr, start_offset=run.start_offset,
            on_short_bold=run.on_short_bold,
        )  # fmt: skip
        first, n_rows = int(aligned.volumes[0]), int(aligned.volumes[-1] - aligned.volumes[0]) + 1
        there = aligned.volumes - first
        piece = {name: _placed(aligned.features[name], there, n_rows) for name in files}
        for name, file in files.items():
            piece[name][1][there] &= _said_present(file)[aligned.source_trs[name]]
            kinds[name] = str(file.attrs["kind"])
        pieces.append({**piece, BOLD: _placed(aligned.bold, there, n_rows)})
        volumes.append(first + np.arange(n_rows))
        # The latest of the modalities: where one was there before the scan, the response to it is in the first volumes.
        stimulus_trs.append(max(int(trs[0]) for trs in aligned.source_trs.values()) + np.arange(n_rows))
    runs = np.repeat(np.arange(1, len(pieces) + 1), list(map(len, volumes)))
    sources = {
        name: _joined(name, kind, [p.get(name, len(v)) for p, v in zip(pieces, volumes, strict=True)], subject.name, tr)
        for name, kind in {**kinds, BOLD: CONTINUOUS}.items()
    }
    return Recording.of(subject.name, sources, runs=runs), np.concatenate(volumes), np.concatenate(stimulus_trs)


def _features(
    run: RunSettings, subject: str, number: int, settings: TrainSettings, said: dict[str, Any]
) -> dict[str, xr.Dataset]:
    """The feature files of a run, and a check that the sound is what the model is for."""
    files = {name: load_features(path) for name in MODALITIES if (path := getattr(run, name)) is not None}
    if not files:
        raise InputError(f"subject {subject}, run {number} has no features: give audio, video or text")
    if "audio" not in files:
        return files
    audio, model = files["audio"], settings.model
    wanted = CODES if model.use_encodec else CONTINUOUS
    if audio.attrs["kind"] != wanted:
        raise InputError(
            f"{run.audio} holds {audio.attrs['kind']} values, model.use_encodec is {model.use_encodec}, which needs "
            f"{wanted}: extract it {'without' if model.use_encodec else 'with'} --mel, or change the option"
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


def _placed(kept: np.ndarray, there: np.ndarray, n_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows at their place among `n_rows`, and which are there."""
    present = np.zeros(n_rows, bool)
    present[there] = True
    if len(kept) == n_rows:
        return kept, present
    values = np.zeros((n_rows, *kept.shape[1:]), kept.dtype)
    values[there] = kept
    return values, present


def _said_present(features: xr.Dataset) -> np.ndarray:
    """Where a file says of single TRs whether its main variable has a value there: words are not spoken in all."""
    mask = features.get(f"{features.attrs['variable']}_mask")
    n_trs = features.sizes["tr"]
    return np.asarray(mask.values, bool) if mask is not None and mask.dims == ("tr",) else np.ones(n_trs, bool)


def _joined(name: str, kind: str, given: list[Any], subject: str, tr: float) -> xr.Dataset:
    """Runs end to end; a number stands for so many TRs of which nothing is known."""
    known = [values for values, _ in (g for g in given if not isinstance(g, int))]
    shapes = {values.shape[1:] for values in known}
    if len(shapes) > 1:
        raise InputError(
            f"subject {subject}: {name} has shapes {sorted(shapes)} by TR in different runs: one is needed"
        )
    shape, dtype = known[0].shape[1:], known[0].dtype
    blocks = [(np.zeros((g, *shape), dtype), np.zeros(g, bool)) if isinstance(g, int) else g for g in given]
    values = np.concatenate([b for b, _ in blocks]) if len(blocks) > 1 else blocks[0][0]
    dims = ("tr", *(f"axis_{i}" for i in range(len(shape))))
    return xr.Dataset(
        {name: (dims, values), "valid": (("tr",), np.concatenate([there for _, there in blocks]))},
        attrs={"variable": name, "kind": kind, "tr": tr},
    )
