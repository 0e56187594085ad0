"""Many films at a time: two workers of one thread beside one process of one thread, and workers that are killed.

    python benchmarks/batch_extraction.py                            # 40 films of 5 minutes
    python benchmarks/batch_extraction.py --films 4 --seconds 20     # a first look

The films are the read speech and the music that come with giblet, from another second on in each. Runs of the command,
each into a folder of its own: one process and ``--workers 2``, by turns; then ``--workers 2`` while a worker is killed
every few seconds. All files must be those of the first run, byte for byte. Times are of the clock, and mean little if
the machine's processors are not free; so does their ratio.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import soundfile
import soxr
from ratios import Ratio, in_turns, run, threads

from giblet.pipeline.round_trip import sample

RATE = 24_000
ONE, TWO = "one process", "two workers"
TARGET, LONG = 1.6, 3600.0
"""How many times as fast as one process two workers should be on so many seconds of film: they need some to start."""
STEP = 7.3
"""Seconds from where one film begins to where the next does."""


def films(folder: Path, n: int, seconds: float) -> list[Path]:
    """Sound files that differ: what the samples hold, repeated, from a later second on in each."""
    parts = []
    for name in ("speech.flac", "music.flac"):
        sound, rate = soundfile.read(sample(name), dtype="float32", always_2d=True)
        parts.append(soxr.resample(sound.mean(axis=1), rate, RATE))
    whole = np.concatenate(parts)
    found = []
    for number in range(n):
        path = folder / f"film{number:03d}.flac"
        begin = round(number * STEP * RATE) % len(whole)
        soundfile.write(path, np.resize(np.roll(whole, -begin), round(seconds * RATE)), RATE)
        found.append(path)
    return found


def extracted(paths: list[Path], out: Path, *options: str, kill_every: float = 0.0) -> int:
    """The command on all films, into a new folder; how many workers were killed."""
    argv = [sys.executable, "-m", "giblet", "extract", *map(str, paths), "-o", str(out), *options]
    shutil.rmtree(out, ignore_errors=True)
    last, n_killed, rng = time.monotonic(), 0, random.Random(0)
    with subprocess.Popen(argv, env={**os.environ, **threads(1)}, stdout=subprocess.DEVNULL) as process:
        while True:
            try:
                status = process.wait(0.2)
                break
            except subprocess.TimeoutExpired:
                if kill_every and time.monotonic() - last >= kill_every:
                    last = time.monotonic()
                    n_killed += kill_one(process.pid, rng)
    if status or len(list(out.glob("*_features.nc"))) < len(paths):
        raise RuntimeError(f"not all of {len(paths)} films were done, exit status {status}: {out.name}")
    return n_killed


def kill_one(pid: int, rng: random.Random) -> int:
    """Kill one worker of a command; how many there were to kill, 0 or 1."""
    workers: list[psutil.Process] = []
    with suppress(psutil.Error):
        children = psutil.Process(pid).children()
        workers += [child for child in children if any("spawn_main" in word for word in child.cmdline())]
    if not workers:
        return 0
    with suppress(psutil.NoSuchProcess):
        rng.choice(workers).kill()
    return 1


def same(one: Path, other: Path) -> None:
    """Refuse two folders that do not hold the same features, or in which something is left of a killed worker."""
    names = [{path.name for path in folder.iterdir() if "manifest" not in path.name} for folder in (one, other)]
    apart = names[0] ^ names[1] | {
        name for name in names[0] & names[1] if (one / name).read_bytes() != (other / name).read_bytes()
    }
    if apart:
        raise ValueError(f"{one.name} and {other.name} gave other files: {', '.join(sorted(apart))}")


def measure(options: argparse.Namespace) -> list[Ratio]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = films(folder, options.films, options.seconds)
        print(f"{options.films} films of {options.seconds:g} s, one thread per process, {os.cpu_count()} processors")
        at_a_time = ("--workers", "2", "--retries", str(options.retries))
        jobs = {
            ONE: partial(extracted, paths, folder / ONE),
            TWO: partial(extracted, paths, folder / TWO, *at_a_time),
        }
        turns = in_turns(jobs, options.turns, warm_up=False)
        same(folder / ONE, folder / TWO)
        if options.kill_every:
            killed = folder / "two workers, killed"
            n = extracted(paths, killed, *at_a_time, kill_every=options.kill_every)
            same(folder / ONE, killed)
            print(f"{n} workers killed, and all films done")
    film_seconds = options.films * options.seconds
    for name in jobs:
        print(f"{name}: {film_seconds / turns.seconds(name, 'clock'):.1f} s of film per second")
    wanted = TARGET if film_seconds >= LONG else None
    return [
        turns.ratio(
            TWO, ONE, what=f"{options.films} films of {options.seconds:g} s, two workers", time="clock", at_least=wanted
        )
    ]


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--films", type=int, default=40)
    made.add_argument("--seconds", type=float, default=300.0, help="of each film")
    made.add_argument("--turns", type=int, default=1)
    made.add_argument("--kill-every", type=float, default=10.0, help="seconds; 0: workers are left alone")
    made.add_argument("--retries", type=int, default=1000, help="of a film whose worker was killed")
    return made


if __name__ == "__main__":
    sys.exit(run(measure, parser()))
