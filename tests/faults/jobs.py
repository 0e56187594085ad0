"""Small jobs of five commands, each of which writes what it writes in full into one folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import soundfile
import yaml

from tests.encoding_study import make_encoding_study
from tests.sounds import at_24k
from tests.trained import Trained, own_copy

RATE = 24_000


@dataclass(frozen=True)
class Job:
    """A command and what it writes."""

    name: str
    argv: Callable[[Path, Path], list[object]]
    """Of what it needs, in a folder that it does not write into, and of the folder that it writes into."""
    older: tuple[object, ...] = ()
    """Added to the command for a result that stands there before, which the command then replaces."""
    on_the_way: bool = False
    """Whether files of other content stand by their final names while it is at work: states to go on from."""


def make_inputs(folder: Path, trained: Trained) -> Path:
    """What the jobs need."""
    soundfile.write(folder / "talk.wav", at_24k("speech.flac")[: 12 * RATE], RATE)
    train = yaml.safe_load((trained.folder / "config.yaml").read_text(encoding="utf-8"))
    (folder / "train.yaml").write_text(yaml.safe_dump({**train, "epochs": 3}), encoding="utf-8")
    study = make_encoding_study(folder)
    encode = study.settings(folder, 1, 2, n_iter=2, group=False)
    (folder / "encode.yaml").write_text(yaml.safe_dump(encode), encoding="utf-8")
    own_copy(trained, folder)
    sounds = folder / "audio"
    sounds.mkdir()
    for n in range(3):
        soundfile.write(sounds / f"{n + 1}-a.flac", at_24k("speech.flac")[n * 2 * RATE : (n + 1) * 2 * RATE], RATE)
    codec: dict[str, Any] = {
        "audio": str(sounds), "num_codebooks": 2, "codebook_size": 16, "hidden_dim": 16, "num_filters": 2,
        "num_lstm_layers": 1, "batch_size": 2, "crop_seconds": 0.1, "steps": 8, "unquantized_steps": 2,
        "warmup_steps": 2, "codebooks_per_step": {1: 1, 2: 1}, "checkpoint_every": 2, "validate_every": 4,
        "validation_clips": 1, "validation_seconds": 0.5, "held_out": ["3-*.flac"], "threads": 1,
    }  # fmt: skip
    (folder / "codec.yaml").write_text(yaml.safe_dump(codec), encoding="utf-8")
    return folder


def _extract(inputs: Path, out: Path) -> list[object]:
    return ["extract", inputs / "talk.wav", "-o", out, "--overwrite"]


def _with_output(name: str, command: tuple[str, ...]) -> Callable[[Path, Path], list[object]]:
    """A command of a YAML file, which is written with the output folder that is asked for."""

    def argv(inputs: Path, out: Path) -> list[object]:
        options = yaml.safe_load((inputs / name).read_text(encoding="utf-8"))
        config = out.with_name(f"{out.name}_{name}")
        config.write_text(yaml.safe_dump({**options, "output": str(out)}), encoding="utf-8")
        return [*command, config]

    return argv


JOBS = (
    Job(
        "extract", lambda inputs, out: ["extract", inputs / "talk.wav", "-o", out, "--overwrite"], ("--bandwidth", 1.5)
    ),
    Job("train", _with_output("train.yaml", ("train",)), on_the_way=True),
    Job("encode", _with_output("encode.yaml", ("encode",))),
    Job("codec train", _with_output("codec.yaml", ("codec", "train")), on_the_way=True),
    Job("report", lambda inputs, out: ["report", inputs / "run", "-o", out / "report.html"]),
)
