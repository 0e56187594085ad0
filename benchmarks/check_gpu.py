"""Does a GPU give what the CPU gives, and how much faster? One table, of five jobs on the samples that giblet ships.

    make check-gpu            (python benchmarks/check_gpu.py --write)

Each job runs on the CPU and on the device: extraction and decoding of sound, training (float32, and bf16-mixed),
encoding models, reconstruction by the model that the CPU trained. Trainings are without dropout, whose random numbers
differ between devices. A difference beyond its bound is an error, exit status 1. The table goes into docs/gpu.md. Where
there is no GPU, the command says so and ends well. ``--device cpu`` tries the command itself.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile
import torch
from page_tables import write_table

from giblet.data.audio import AudioSettings
from giblet.device import pick_device
from giblet.encoding.settings import EncodeSettings
from giblet.features import load_features
from giblet.pipeline import decode, encode, extract, train
from giblet.pipeline.demonstration.brain import OTHER_READERS, TR, encoding_of, runs, simulated, training_of
from giblet.pipeline.reconstruction import reconstruct
from giblet.pipeline.trained_run import open_run
from giblet.training.settings import TrainSettings

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "gpu.md"
FILM = "sintel_trailer.mp4"
EPOCHS = 10
CODES = "share of codes that differ"


@dataclass(frozen=True)
class Found:
    """One job on both devices."""

    job: str
    compared: str
    difference: float
    bound: float
    seconds: dict[str, float]
    gigabytes: float
    """The most that was allocated on the device; NaN where it is none."""

    @property
    def within(self) -> bool:
        """Whether the device gives what the CPU gives."""
        return bool(self.difference <= self.bound)

    def row(self, device: str) -> str:
        """Of the table."""
        gain = self.seconds["cpu"] / self.seconds[device]
        told = f"{self.difference:.2g}" if self.within else f"**{self.difference:.2g}**"
        cells = [self.job, self.compared, told, f"{self.bound:g}", f"{self.seconds['cpu']:.1f}"]
        cells += [f"{self.seconds[device]:.1f}", f"{gain:.1f}", f"{self.gigabytes:.2f}"]
        return f"| {' | '.join(cells)} |"


class Both:
    """Jobs on the CPU and on another device."""

    def __init__(self, device: str, work: Path) -> None:
        self.device, self.work = device, work
        self.sounds = {one.sound: ROOT / "samples" / one.sound for one in runs(FILM)}
        self.found: list[Found] = []

    def on_both(
        self, job: str, run: Callable[[str, Path], Any], differ: Callable[[Any, Any], float], bound: float, what: str
    ) -> Any:
        """Run a job on each, after a first time on the device that is not counted; what it gives on the CPU."""
        is_cuda = self.device.startswith("cuda")
        run(self.device, self.work / f"{job}_first")
        if is_cuda:
            torch.cuda.reset_peak_memory_stats()
        given, seconds = {}, {}
        for name in dict.fromkeys((self.device, "cpu")):
            began = time.perf_counter()
            given[name] = run(name, self.work / f"{job}_{name}")
            if is_cuda:
                torch.cuda.synchronize()
            seconds[name] = time.perf_counter() - began
        peak = torch.cuda.max_memory_allocated() / 1e9 if is_cuda else float("nan")
        self.found.append(Found(job, what, differ(given["cpu"], given[self.device]), bound, seconds, peak))
        return given["cpu"]

    def all_jobs(self) -> list[Found]:
        """The five jobs, each of what the one before made on the CPU."""
        features = self.on_both("extract", self._extract, _codes_differ, 1e-3, CODES)
        film = features[FILM].path
        self.on_both(
            "decode", lambda where, out: _decode(film, where, out), _sounds_differ, 1e-3, "greatest difference"
        )
        heard = runs(FILM)
        scans = simulated(heard, features, self.work / "simulated")
        settings = training_of(heard, features, scans, self.work / "run")
        trained = self._training(settings, "32-true", 1e-3)
        self._training(settings, "bf16-mixed", 2e-2)
        encoding = encoding_of(heard, features, scans, self.work / "encoding")
        self.on_both("encode", lambda where, out: _encode(encoding, where, out), _maps_differ, 1e-3, "greatest of r")
        self.on_both(
            "reconstruct", lambda where, out: _reconstruct(trained, where, out), _share_that_differs, 1e-3, CODES,
        )  # fmt: skip
        return self.found

    def _extract(self, where: str, out: Path) -> dict[str, Any]:
        how = AudioSettings.make(tr=TR, device=where)
        return {name: extract(path, how, out) for name, path in self.sounds.items()}

    def _training(self, settings: TrainSettings, precision: str, bound: float) -> Path:
        def run(where: str, out: Path) -> Path:
            model = settings.model.model_copy(update={"dropout": 0.0})
            kind = "cuda" if where.startswith("cuda") else where
            own = {"output": out, "device": kind, "precision": precision, "epochs": EPOCHS, "model": model}
            return train(settings.model_copy(update=own)).folder

        what = "validation loss, greatest of its value"
        found: Path = self.on_both(f"train {precision}", run, _losses_differ, bound, what)
        return found


def _codes_differ(one: dict[str, Any], other: dict[str, Any]) -> float:
    first, second = (
        np.concatenate([load_features(found[name].path).codes.values for name in one]) for found in (one, other)
    )
    return _share_that_differs(first, second)


def _share_that_differs(one: np.ndarray, other: np.ndarray) -> float:
    return float((one != other).mean())


def _decode(features: Path, where: str, out: Path) -> np.ndarray:
    path = out.with_suffix(".wav")
    decode(features, path, device=where, overwrite=True)
    return np.asarray(soundfile.read(path)[0])


def _sounds_differ(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one - other).max())


def _losses_differ(one: Path, other: Path) -> float:
    first, second = (pd.read_csv(folder / "log.csv")["val"].dropna().to_numpy() for folder in (one, other))
    n = min(len(first), len(second))
    return float(np.abs(second[:n] / first[:n] - 1).max())


def _encode(settings: EncodeSettings, where: str, out: Path) -> pd.DataFrame:
    kind = "cuda" if where.startswith("cuda") else where
    encode(settings.model_copy(update={"output": out, "device": kind}))
    return pd.read_csv(next(out.rglob("*_desc-encoding_stats.tsv")), sep="\t")


def _maps_differ(one: pd.DataFrame, other: pd.DataFrame) -> float:
    return float((one["r"] - other["r"]).abs().max())


def _reconstruct(run: Path, where: str, out: Path) -> np.ndarray:
    made = reconstruct(open_run(run), out_dir=out, device=where, original=ROOT / "samples" / OTHER_READERS)
    return np.asarray(load_features(next(path for path in made.files if path.suffix == ".nc")).codes)


def table(found: list[Found], device: str) -> str:
    """All jobs."""
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else device
    head = f"{name}, torch {torch.__version__}, {torch.get_num_threads()} threads of the CPU."
    columns = "| job | compared | difference | bound | CPU, s | device, s | times as fast | GB |"
    return "\n".join([head, "", columns, "|---|---|--:|--:|--:|--:|--:|--:|", *(one.row(device) for one in found)])


def main() -> int:
    """Run all jobs on both, print the table, and say whether all differences lie within their bounds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="beside the CPU")
    parser.add_argument("--write", action="store_true", help="put the table into docs/gpu.md")
    options = parser.parse_args()
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        print("there is no GPU here (torch.cuda.is_available() is False): nothing was compared")
        return 0
    device = str(pick_device(options.device))
    with tempfile.TemporaryDirectory() as work:
        found = Both(device, Path(work)).all_jobs()
    text = table(found, device)
    print(text)
    if options.write:
        write_table(text, "gpu", PAGE)
    return 0 if all(one.within for one in found) else 1


if __name__ == "__main__":
    sys.exit(main())
