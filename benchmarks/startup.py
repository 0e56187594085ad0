"""How long a user waits before anything happens: help, a mistake refused, "up to date", and the first word of a job.

    python benchmarks/startup.py                                 # this checkout
    python benchmarks/startup.py --against ../giblet-189995b     # and another one, in turns
    python benchmarks/startup.py --seconds 1380 --only current   # a whole film that is up to date

Each figure is the median of some runs after one that does not count, each run a process of its own, and the ratio is
that of medians within one run. The first word is what a terminal shows first; the process is ended then. Wall-clock
times mean little on a machine that others use; their ratios still do.
"""

from __future__ import annotations

import argparse
import os
import pty
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from statistics import median

import numpy as np
import soundfile

HERE = Path(__file__).resolve().parents[1]
RATE = 24_000
PATIENCE = 300.0
"""Seconds after which a process that has said nothing is given up."""


def commands(folder: Path, film: Path, features: Path) -> dict[str, tuple[list[str], bool]]:
    """By name, the words of a command, and whether its first word counts, in place of its end."""
    out = ["-o", str(folder)]
    wrong = {
        "extract": ["no.mp4"], "decode": ["no.nc"], "info": ["no.nc"], "simulate": ["no.nc"],
        "export-bids": ["no.nc", "--root", "r", "--subject", "1", "--task", "t"],
        "check-alignment": ["no.nc", "no.tsv"], "train": ["no.yaml"], "encode": ["no.yaml"], "bids": ["no.yaml"],
        "align-words": ["no.mp4", "no.txt"], "reconstruct": ["no"], "report": ["no"], "codec train": ["no.yaml"],
        "codec evaluate": ["no"], "codec info": ["./no"],
    }  # fmt: skip
    found = {
        "help": (["--help"], False),
        "info": (["info", str(features)], False),
        "current: extract, up to date": (["extract", str(film), *out], False),
        "wrong option: extract": (["extract", str(film), "--no-such-option"], False),
    }
    found |= {f"wrong path: {name}": ([*name.split(), *rest], False) for name, rest in wrong.items()}
    first = {
        "extract": [str(film), *out, "--tr", "2", "--overwrite"], "decode": [str(features), "--overwrite"],
        "simulate": [str(features), *out], "codec info": [], "codec evaluate": [str(film), *out], "doctor": [],
        "check-alignment": [str(features), str(film)],
    }  # fmt: skip
    return found | {f"first word: {name}": ([*name.split(), *rest], True) for name, rest in first.items()}


def waited(checkout: Path, folder: Path, words: list[str], until_first_word: bool) -> float:
    """Seconds until a command ends, or until it says something on a terminal; run in a folder that holds no package."""
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # else nothing is ever warm
    argv = [sys.executable, "-m", "giblet", *words]
    start = time.perf_counter()
    if not until_first_word:
        subprocess.run(argv, env=environment, cwd=folder, capture_output=True, check=False, timeout=PATIENCE)
        return time.perf_counter() - start
    master, slave = pty.openpty()
    process = subprocess.Popen(argv, cwd=folder, env=environment, stdout=slave, stderr=slave)
    os.close(slave)
    with suppress(OSError):  # it may end without a word
        os.read(master, 1)
    seconds = time.perf_counter() - start
    process.kill()
    process.wait()
    os.close(master)
    return seconds


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--against", type=Path, help="another checkout")
    options.add_argument("--repeats", type=int, default=5)
    options.add_argument("--seconds", type=float, default=60.0, help="of the film that is up to date")
    options.add_argument("--only", default="", help="commands whose name begins so")
    given = options.parse_args()
    checkouts = [HERE] if given.against is None else [HERE, given.against.resolve()]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        film, features = folder / "film.wav", folder / "film_desc-encodec24k_features.nc"
        sound = np.random.default_rng(0).normal(0, 0.1, round(given.seconds * RATE))
        soundfile.write(film, sound.astype(np.float32), RATE)
        waited(HERE, folder, ["extract", str(film), "-o", name], False)
        print(f"{'':32}{'here':>9}" + (f"{'there':>9}{'ratio':>8}" if len(checkouts) > 1 else ""))
        for what, (words, first) in commands(folder, film, features).items():
            if not what.startswith(given.only):
                continue
            seconds: list[list[float]] = [[] for _ in checkouts]
            for turn in range(given.repeats + 1):
                for own, checkout in zip(seconds, checkouts, strict=True):
                    took = waited(checkout, folder, words, first)
                    own += [took] if turn else []
            here, *there = map(median, seconds)
            print(f"{what:32}{here:7.2f} s" + "".join(f"{one:7.2f} s{one / here:7.1f}x" for one in there), flush=True)


if __name__ == "__main__":
    main()
