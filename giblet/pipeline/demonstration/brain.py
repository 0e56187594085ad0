"""The simulated brain of the demonstration: what it hears, how a model learns from it, and what the truth is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from giblet.encoding.settings import EncodeSettings
from giblet.training.settings import TrainSettings

if TYPE_CHECKING:
    from giblet.evaluation.encoding import EncodingScore
    from giblet.pipeline.extracted import FeatureFile
    from giblet.pipeline.simulation import SimulatedScan

TR = 1.5
"""Seconds."""
READERS, MORE_READERS, OTHER_READERS = "readers.flac", "more_readers.flac", "other_readers.flac"
"""Samples to learn from, to choose by, and to be tested on: different people read each of them."""
SUBJECT = "simulated"
ANSWERS_TO = "gammatone"
"""Envelopes of bands of the sound as a cochlea has them. The model is given codes, which are something else."""
N_VOXELS, SNR, SEED = 200, 1.0, 0
"""As much noise as signal; the seed is that of the trainings."""
BRAIN_SEED = 20
"""Of how the simulated brain answers. What the models are set to was chosen on other brains than this one."""
HRF = "glover"
"""Of the simulated brain and of the encoding models: six minutes are too few to learn a response of each voxel."""


@dataclass(frozen=True)
class Heard:
    """One run of the simulated scan: what was played, what it is for, and the noise of that time."""

    sound: str
    """Name of the sample."""
    part: str
    noise_seed: int


def runs(film: str) -> tuple[Heard, ...]:
    """The runs in the order in which they are split; the first readers are heard twice, with other noise.

    Parameters
    ----------
    film : str
        Name of the sample film.

    Returns
    -------
    tuple of Heard
    """
    return (
        Heard(film, "train", 21), Heard(READERS, "train", 22), Heard(READERS, "train", 23),
        Heard(MORE_READERS, "val", 24), Heard(OTHER_READERS, "test", 25),
    )  # fmt: skip


def simulated(
    heard: tuple[Heard, ...], features: Mapping[str, FeatureFile], out_dir: Path, *, overwrite: bool = False
) -> list[SimulatedScan]:
    """Simulate each run, with the truth beside it.

    Parameters
    ----------
    heard : tuple of Heard
    features : mapping of str to FeatureFile
        By name of the sample.
    out_dir : Path
        A folder for each run in it gets the files.
    overwrite : bool
        Replace other simulations that stand there.

    Returns
    -------
    list of SimulatedScan
    """
    from giblet.pipeline.simulation import simulate

    return [
        simulate(
            features[one.sound].path, out_dir / f"run-{number}", answers_to=[ANSWERS_TO],
            film=features[one.sound].film, table=True, overwrite=overwrite, n_voxels=N_VOXELS, snr=SNR, seed=BRAIN_SEED,
            noise_seed=one.noise_seed, hrf=HRF,
        )
        for number, one in enumerate(heard, 1)
    ]  # fmt: skip


def training_of(
    heard: tuple[Heard, ...], features: Mapping[str, FeatureFile], scans: list[SimulatedScan], output: Path
) -> TrainSettings:
    """Settings of the training, as those of ``configs/train/example.yaml``, for two processors and a minute or two.

    Parameters
    ----------
    heard : tuple of Heard
    features : mapping of str to FeatureFile
    scans : list of SimulatedScan
        Of each run.
    output : Path
        Folder of the run.

    Returns
    -------
    TrainSettings
    """
    own = [{"bold": scan.runs[0], "audio": features[one.sound].path} for one, scan in zip(heard, scans, strict=True)]
    lengths = {
        part: sum(int(features[one.sound].about["n_trs"]) for one in heard if one.part == part)
        for part in ("train", "val", "test")
    }
    total = sum(lengths.values())
    data = {
        "subjects": [{"name": SUBJECT, "runs": own}], "whole_runs": True, "split": "stimulus", "centre_runs": True,
        "fractions": [n / total for n in lengths.values()],
    }  # fmt: skip
    model = {
        "use_encodec": True, "head": "latent", "tr": TR, "features": 64, "bottleneck": 32, "rank": 32,
        "embedding_dim": 32,
    }  # fmt: skip
    return TrainSettings.make(
        data=data, output=output, model=model, window=10, batch_size=2, epochs=40, learning_rate=1e-3, warmup_steps=5,
        patience=10, device="cpu", seed=SEED,
    )  # fmt: skip


def encoding_of(
    heard: tuple[Heard, ...], features: Mapping[str, FeatureFile], scans: list[SimulatedScan], output: Path
) -> EncodeSettings:
    """Settings of the encoding models: from what codes stand for to each voxel, tested on the same run as training.

    Parameters
    ----------
    heard, features, scans, output
        As for :func:`training_of`.

    Returns
    -------
    EncodeSettings
    """
    own = [
        {"bold": scan.runs[0], "audio": features[one.sound].path, "part": "test" if one.part == "test" else "train"}
        for one, scan in zip(heard, scans, strict=True)
    ]
    return EncodeSettings.make(
        data={"subjects": [{"name": SUBJECT, "runs": own}]}, output=output, device="cpu", seed=SEED,
        bands={"sound": {"of": "audio", "take": "latents"}}, hrf=HRF,
    )  # fmt: skip


def noise_ceiling(scan: SimulatedScan) -> EncodingScore:
    """The score of the noiseless signal as a prediction of the BOLD: no model exceeds it but by chance.

    Parameters
    ----------
    scan : SimulatedScan
        Of the run that is predicted.

    Returns
    -------
    EncodingScore
        Drifts are taken out of both, as out of the predictions that it is compared with.
    """
    from giblet.evaluation.encoding import score_encoding
    from giblet.statistics.estimates import ScoredTRs

    signal = scan.simulation.truth["signal"].values
    return score_encoding(scan.simulation.bold, signal, ScoredTRs.of(len(signal), TR))
