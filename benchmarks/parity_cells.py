"""One cell of parity.py: a simulated study, the model that is trained on it, and ridge on the same TRs."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from parity_stimuli import KINDS, MODALITY, ROOT, StimulusSet, brain_sources, linear_features, prepared, test_share

from giblet.data.dataset.windows import Recording
from giblet.data.simulate import Simulation, simulate_bold, write_simulation
from giblet.encoding import BlockedFolds, EncodingModel
from giblet.evaluation.predictions import predict
from giblet.features import load_features
from giblet.modalities import BOLD
from giblet.models import MultimodalAutoencoder
from giblet.statistics.correlation import correlations, mean_correlation_influence
from giblet.statistics.estimates import ScoredTRs
from giblet.timing import TRGrid
from giblet.training.settings import TrainSettings
from giblet.training.study import Study, build_study
from giblet.training.trainer import Trainer

CONFOUNDS, OWN = 0.2, 0.3
"""Share of confounds in the noise, and of the mapping in which subjects differ."""
CODEC_RATE = 75
"""Frames per second of the bundled codec."""
BAND_WEIGHTS = 30
"""Weights of several bands that ridge tries in each voxel."""
TABLE_UP_TO = 1000
"""Voxels that are written as a table; more of them as an image, which is smaller."""


@dataclass(frozen=True)
class Cell:
    """One simulated study."""

    stimulus: str = "sound"
    minutes: float = 23
    tr: float = 1.5
    voxels: int = 200
    snr: float = 0.3
    mapping: str = "linear"
    subjects: int = 1
    circular: bool = False

    @property
    def name(self) -> str:
        """Of its file, and for patterns."""
        parts = [self.stimulus, f"{self.minutes:g}min", f"tr{self.tr:g}", f"{self.voxels}voxels", f"snr{self.snr:g}"]
        parts += [self.mapping, f"{self.subjects}subjects"]
        return "-".join([*parts, *(["circular"] if self.circular else [])])

    @property
    def kinds(self) -> tuple[str, ...]:
        """The modalities."""
        return KINDS if self.stimulus == "all" else (self.stimulus,)


@cache
def build_digest() -> str:
    """Of the code that decides a cell's figures, as it was when it was loaded."""
    files = sorted(
        one for folder in ("models", "training", "encoding") for one in (ROOT / "giblet" / folder).glob("*.py")
    )
    files += [Path(__file__), Path(__file__).with_name("parity_stimuli.py")]
    return sha256(b"".join(one.read_bytes() for one in files)).hexdigest()[:8]


def brains(cell: Cell, files: dict[str, Path], of: StimulusSet, work: Path) -> list[Simulation]:
    """BOLD of each subject."""
    sources = brain_sources(cell.kinds, files, cell.minutes, of, work, circular=cell.circular)
    return [
        simulate_bold(
            sources, tr=cell.tr, n_voxels=cell.voxels, mapping=cell.mapping, snr=cell.snr, confounds=CONFOUNDS,
            own=OWN if cell.subjects > 1 else 0.0, seed=of.seed, noise_seed=of.seed + subject,
        )
        for subject in range(cell.subjects)
    ]  # fmt: skip


def settings_of(cell: Cell, files: dict[str, Path], scans: Sequence[Sequence[Path]], output: Path) -> TrainSettings:
    """The defaults, with eight times as much to train on as to validate."""
    shown = {MODALITY[kind]: files[kind] for kind in cell.kinds}
    subjects = [
        {
            "name": f"{number:02d}", "runs": [{"bold": written[0], **shown}],
            **({"mask": written[1]} if cell.voxels > TABLE_UP_TO else {}),
        }
        for number, written in enumerate(scans, 1)
    ]  # fmt: skip
    test = test_share(cell.minutes)
    fractions = ((1 - test) * 8 / 9, (1 - test) / 9, test)
    return TrainSettings.make(
        data={"subjects": subjects, "fractions": fractions}, output=output, device="cpu",
        model={"tr": cell.tr, "frames_per_tr": TRGrid(cell.tr, 1, CODEC_RATE).frames_per_tr},
    )  # fmt: skip


def ridge(cell: Cell, files: dict[str, Path], bold: np.ndarray, train: np.ndarray) -> np.ndarray:
    """What ridge on the linear part of the model's input predicts for all TRs."""
    features = {kind: linear_features(kind, load_features(files[kind])) for kind in cell.kinds}
    model = EncodingModel(cv=BlockedFolds(5, tr=cell.tr), tr=cell.tr, hrf="glover", n_iter=BAND_WEIGHTS)
    return model.fit(features, bold, train=train).predict(features)


def scored(
    cell: Cell, study: Study, files: dict[str, Path], folder: Path, truths: Sequence[Simulation]
) -> dict[str, Any]:
    """Mean r of model, ridge and ceiling over voxels and subjects, on the test TRs."""
    model = MultimodalAutoencoder.from_pretrained(folder / "best")
    measured, predicted, ceiling, alone = [], [], [], []
    for recording, truth in zip(study.recordings, truths, strict=True):
        subject = recording.subject
        splits, normalisers = study.splits[subject], study.normalisers[subject]
        (stretch,) = predict(model, recording, normalisers, splits.test, stimulus_trs=study.stimulus_trs[subject])
        rows = np.arange(stretch.start, stretch.stop)[stretch.bold_scored]
        measured.append(stretch.bold[stretch.bold_scored])
        bold = normalisers["bold"](recording.series["bold"].read(0, len(recording.run)))
        theirs = ridge(cell, files, bold, splits.train)[rows]
        predicted.append({"model": stretch.bold_predicted[stretch.bold_scored], "ridge": theirs})
        ceiling.append(correlations(measured[-1], truth.truth.signal.values[rows]).mean or 0.0)
        alone.append(correlations(measured[-1], linear_part(model, study, recording)[rows - stretch.start]).mean or 0.0)
    splits = next(iter(study.splits.values()))
    found = compared(measured, predicted, cell.tr)
    gain = 1.0 if model.linear_path is None else float(model.linear_path.gain(BOLD))
    parts = {"linear_path": float(np.mean(alone)), "gain": gain}
    about = {"ceiling": float(np.mean(ceiling)), "n_train": len(splits.train), "n_val": len(splits.val)}
    return {**found, **parts, **about}


def linear_part(model: MultimodalAutoencoder, study: Study, recording: Recording) -> np.ndarray:
    """What the model's linear path alone predicts of the test TRs; 0 without one."""
    subject = recording.subject
    splits, normalisers = study.splits[subject], study.normalisers[subject]
    silent = copy.deepcopy(model)
    if silent.linear_path is None:
        return np.zeros((len(splits.test), silent.n_voxels[subject]))
    silent.linear_path.gain(BOLD).zero_()
    (stretch,) = predict(silent, recording, normalisers, splits.test, stimulus_trs=study.stimulus_trs[subject])
    return stretch.bold_predicted


def compared(
    measured: Sequence[np.ndarray], predicted: Sequence[dict[str, np.ndarray]], tr: float, run: np.ndarray | None = None
) -> dict[str, Any]:
    """Mean r over voxels, and over subjects of the same TRs, of model and ridge; their ratio and difference."""
    r: dict[str, float] = {}
    influence: dict[str, np.ndarray] = {}
    for name in ("model", "ridge"):
        pairs = [(bold, own[name]) for bold, own in zip(measured, predicted, strict=True)]
        r[name] = float(np.mean([correlations(bold, own, run).mean or 0.0 for bold, own in pairs]))
        influence[name] = np.mean([mean_correlation_influence(bold, own, run) for bold, own in pairs], axis=0)
    trs = ScoredTRs.of(len(measured[0]), tr) if run is None else ScoredTRs(tr, run)
    ratio = r["model"] / r["ridge"]
    by_tr = (influence["model"] - ratio * influence["ridge"]) / r["ridge"]  # the delta method
    gap = trs.estimate(r["model"] - r["ridge"], influence["model"] - influence["ridge"])
    return {**r, "ratio": trs.estimate(ratio, by_tr).as_dict(), "difference": gap.as_dict(), "n_scored": trs.n_trs}


def measure(cell: Cell, of: StimulusSet, work: Path) -> dict[str, Any]:
    """One cell: brains, training, scores."""
    began = time.monotonic()
    files = {kind: prepared(kind, cell.minutes, cell.tr, of, work / "stimuli") for kind in cell.kinds}
    simulated = brains(cell, files, of, work / "stimuli")
    folder = work / "studies" / cell.name
    suffix = ".nii" if cell.voxels > TABLE_UP_TO else ".tsv"
    scans = [
        write_simulation(one, folder / f"sub-{number:02d}_bold{suffix}", overwrite=True)
        for number, one in enumerate(simulated, 1)
    ]
    run = folder / f"run_{build_digest()}"
    settings = settings_of(cell, files, scans, run)
    study = build_study(settings)
    trained = time.monotonic()
    result = Trainer(settings, study=study).fit()
    seconds = time.monotonic() - trained
    found = scored(cell, study, files, run, simulated)
    about = {"steps": result.step, "best_step": result.best_step, "status": result.status}
    took = {"training_s": round(seconds, 1), "all_s": round(time.monotonic() - began, 1)}
    return {**asdict(cell), **found, **about, **took, "build": build_digest()}
