"""Many films at a time: two workers of one thread beside one process of one thread, and workers that are killed.

    python benchmarks/batch_extraction.py                            # 40 films of 5 minutes
    python benchmarks/batch_extraction.py --films 4 --seconds 20     # a first look

The films are the read speech and the music that come with giblet, from another second on in each. Three runs of the
command, each into a folder of its own: one process; ``--workers 2``; ``--workers 2`` while a worker is killed every few
seconds. All files must be those of the first run, byte for byte. Wall-clock times mean little on a machine that others
use, and so does their ratio if its processors are not free.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import soundfile
import soxr

from giblet.pipeline.round_trip import sample

RATE = 24_000
TARGET = 1.6
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


def run(paths: list[Path], out: Path, *options: str, kill_every: float | None = None) -> tuple[int, float, int]:
    """The command on all films: exit status, seconds, and how many workers were killed."""
    argv = [sys.executable, "-m", "giblet", "extract", *map(str, paths), "-o", str(out), *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    began = last = time.monotonic()
    n_killed, rng = 0, random.Random(0)
    with subprocess.Popen(argv, env=environment, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            time.sleep(0.2)
            if kill_every is not None and time.monotonic() - last >= kill_every:
                last = time.monotonic()
                n_killed += kill_one(process.pid, rng)
    return process.returncode, time.monotonic() - began, n_killed


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


def same(one: Path, other: Path) -> bool:
    """Whether two folders hold the same features, and nothing is left of a killed worker."""
    names = [{path.name for path in folder.iterdir() if "manifest" not in path.name} for folder in (one, other)]
    return names[0] == names[1] and all((one / name).read_bytes() == (other / name).read_bytes() for name in names[0])


def main() -> int:
    """Run all three, print what was found; 1 if a film is missing or differs, or the target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=300.0, help="of each film")
    parser.add_argument("--kill-every", type=float, default=10.0, help="seconds")
    parser.add_argument("--retries", type=int, default=1000, help="of a film whose worker was killed")
    given = parser.parse_args()
    missed = False
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = films(folder, given.films, given.seconds)
        print(f"{given.films} films of {given.seconds:g} s, one thread per process, {os.cpu_count()} processors")
        at_a_time = ("--workers", "2", "--retries", str(given.retries))
        runs = {
            "one process": run(paths, folder / "one process"),
            "two workers": run(paths, folder / "two workers", *at_a_time),
            "two workers, killed": run(paths, folder / "two workers, killed", *at_a_time, kill_every=given.kill_every),
        }
        for title, (status, seconds, n_killed) in runs.items():
            n_done = len(list((folder / title).glob("*_features.nc")))
            equal = same(folder / "one process", folder / title)
            missed |= status != 0 or n_done < given.films or not equal
            text = f"{title}: {n_done} of {given.films} films done in {seconds:.1f} s, exit status {status}"
            text += f", {given.films * given.seconds / seconds:.1f} s of film per second"
            text += "" if title == "one process" else f", files {'equal' if equal else 'NOT equal'}"
            print(text + (f", {n_killed} workers killed" if n_killed else ""))
    ratio = runs["one process"][1] / runs["two workers"][1]
    print(f"throughput of two workers: {ratio:.2f} times that of one process (target {TARGET})")
    return int(missed or ratio < TARGET)


if __name__ == "__main__":
    sys.exit(main())
