"""What the tests of codec training share: sound to train on, a tiny codec, and ways to look at and stop a run."""

import csv
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch

from giblet.codec.training.checkpoints import load_checkpoint
from giblet.codec.training.loop import CodecTrainingSettings, train_codec
from giblet.progress import TrainingStep

RATE = 24_000


def speech_like(seconds: float, seed: int) -> np.ndarray:
    """Low-pass noise in bursts."""
    rng = np.random.default_rng(seed)
    x = np.cumsum(rng.normal(size=int(seconds * RATE))) * 0.01
    x -= np.convolve(x, np.ones(500) / 500, mode="same")
    return (0.3 * x / np.abs(x).max() * (1 + np.sin(np.arange(len(x)) / 3000))).astype(np.float32)


def write_audio(folder: Path) -> Path:
    """Two data sets in four files, one of them at another rate, half of them in a manifest."""
    for name, rate, n in (
        ("speech/1-a.flac", 16_000, 3),
        ("speech/2-a.flac", RATE, 2),
        ("speech/3-a.flac", RATE, 2),
        ("music/song.wav", RATE, 2),
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        sf.write(folder / name, speech_like(n, len(name) + n)[: n * rate], rate)
    (folder / "manifest.csv").write_text(
        "file,dataset,seconds\naudio/speech/1-a.flac,reading,3\naudio/speech/2-a.flac,reading,2\n"
    )
    return folder


def tiny(audio: Path, output: Path, **changes) -> CodecTrainingSettings:
    settings = {
        "num_codebooks": 2, "codebook_size": 16, "hidden_dim": 16, "num_filters": 2, "num_lstm_layers": 1,
        "batch_size": 2, "crop_seconds": 0.1, "steps": 8, "unquantized_steps": 2, "warmup_steps": 2,
        "codebooks_per_step": {1: 1, 2: 1}, "checkpoint_every": 4, "validate_every": 4, "validation_clips": 1,
        "validation_seconds": 0.5, "held_out": ["3-*.flac"], "threads": None,
    }  # fmt: skip
    return CodecTrainingSettings.model_validate({"audio": audio, "output": output, **settings, **changes})


@contextmanager
def listening() -> Iterator[None]:
    """Ctrl-C as in a terminal: where the tests run in the background of a shell it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def stop_at(step: int, config: CodecTrainingSettings, number: signal.Signals = signal.SIGINT) -> None:
    """Train until a step, with a signal in it."""

    def interrupt(at: TrainingStep) -> None:
        if at.step == step:
            signal.raise_signal(number)

    with listening(), pytest.raises(KeyboardInterrupt if number == signal.SIGINT else SystemExit):
        train_codec(config, interrupt)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """Everything in the newest checkpoint."""
    found = load_checkpoint(folder / "checkpoints")
    assert found is not None
    return found[0]


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def log(folder: Path) -> list[dict[str, str]]:
    """The log of a run, without the only column that may differ between equal runs."""
    with (folder / "log.csv").open() as file:
        return [{k: v for k, v in row.items() if k != "minutes"} for row in csv.DictReader(file)]
