"""How long a user waits before anything happens: help, a mistake refused, "up to date", and the first word of a job.

    python benchmarks/startup.py                                 # this checkout
    python benchmarks/startup.py --against ../giblet-189995b     # and another one, in turns
    python benchmarks/startup.py --seconds 1380 --only 'extract, up'   # a whole film that is up to date

Each command stands beside a Python that imports numpy, which every machine has to do. Each run is a process of its own,
after one that does not count. The first word is what a terminal shows first; the process is ended then. Times are of
the clock: they mean little on a machine that others use, but their ratios do.
"""

from __future__ import annotations

import argparse
import os
import pty
import subprocess
import sys
import tempfile
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
from ratios import ROOT, Measured, Ratio, in_turns, run, timed

GIBLET = ["-m", "giblet"]
PYTHON = "python -c 'import numpy'"
CURRENT, AGAIN = "extract, up to date", "extracting again"
RATE = 24_000
PATIENCE = 300.0
"""Seconds after which a process that has said nothing is given up."""


def commands(folder: Path, film: Path, features: Path) -> dict[str, tuple[list[str], bool, float | None]]:
    """By name, the words of a command, whether its first word counts in place of its end, and the seconds wanted."""
    out = ["-o", str(folder)]
    wrong = {
        "extract": ["no.mp4"], "decode": ["no.nc"], "info": ["no.nc"], "simulate": ["no.nc"],
        "export-bids": ["no.nc", "--root", "r", "--subject", "1", "--task", "t"],
        "check-alignment": ["no.nc", "no.tsv"], "train": ["no.yaml"], "encode": ["no.yaml"], "bids": ["no.yaml"],
        "align-words": ["no.mp4", "no.txt"], "reconstruct": ["no"], "report": ["no"], "codec train": ["no.yaml"],
        "codec evaluate": ["no"], "codec info": ["./no"],
    }  # fmt: skip
    found = {
        "help": (["--help"], False, 0.3),
        "info": (["info", str(features)], False, 0.6),
        CURRENT: (["extract", str(film), *out], False, None),
        "wrong option: extract": (["extract", str(film), "--no-such-option"], False, 0.6),
    }
    found |= {f"wrong path: {name}": ([*name.split(), *rest], False, 0.6) for name, rest in wrong.items()}
    first = {
        "extract": [str(film), *out, "--tr", "2", "--overwrite"], "decode": [str(features), "--overwrite"],
        "simulate": [str(features), *out], "codec info": [], "codec evaluate": [str(film), *out], "doctor": [],
        "check-alignment": [str(features), str(film)],
    }  # fmt: skip
    return found | {f"first word: {name}": ([*name.split(), *rest], True, 1.0) for name, rest in first.items()}


def waited(checkout: Path, folder: Path, words: list[str], until_first_word: bool = False) -> Measured:
    """Wait for a command to end, or to say something on a terminal; run in a folder that holds no package."""
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # else nothing is ever warm
    argv = [sys.executable, *words]
    if not until_first_word:
        run_it = partial(subprocess.run, argv, capture_output=True, check=False, timeout=PATIENCE)
        return timed(lambda: run_it(env=environment, cwd=folder).returncode)
    master, slave = pty.openpty()
    process: subprocess.Popen[bytes]

    def first_word() -> None:
        nonlocal process
        process = subprocess.Popen(argv, cwd=folder, env=environment, stdout=slave, stderr=slave)
        os.close(slave)
        with suppress(OSError):  # it may end without a word
            os.read(master, 1)

    took = timed(first_word)
    process.kill()
    process.wait()
    os.close(master)
    return took


def measure(options: argparse.Namespace) -> list[Ratio]:
    """Each command beside Python that imports numpy, "up to date" beside extracting, all beside another checkout."""
    found = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        film, features = folder / "film.wav", folder / "film_desc-encodec24k_features.nc"
        sound = np.random.default_rng(0).normal(0, 0.1, round(options.seconds * RATE))
        soundfile.write(film, sound.astype(np.float32), RATE)
        extracting = [*GIBLET, "extract", str(film), "-o", name]
        if waited(ROOT, folder, extracting).result:
            raise RuntimeError("giblet extract failed: run it by hand on a WAV file to see why")
        known = commands(folder, film, features)
        chosen = {what: one for what, one in known.items() if what.startswith(tuple(options.only))}
        numpy = partial(waited, ROOT, folder, ["-c", "import numpy"])
        for what, (words, first, within) in chosen.items():
            jobs = {PYTHON: numpy, what: partial(waited, ROOT, folder, [*GIBLET, *words], first)}
            if options.against is not None:
                there = options.against.resolve()
                jobs[str(options.against)] = partial(waited, there, folder, [*GIBLET, *words], first)
            turns = in_turns(jobs, options.repeats)
            wanted = None if first else 2 if what.startswith("wrong") else 0
            if turns.result(what) != wanted:
                raise RuntimeError(f"{what}: exit status {turns.result(what)} in place of {wanted}")
            found += [turns.ratio(what, beside, time="clock", within=within) for beside in jobs if beside != what]
        if CURRENT in chosen and options.extracting:
            again = [*extracting, "--overwrite"]
            jobs = {AGAIN: partial(waited, ROOT, folder, again), CURRENT: partial(waited, ROOT, folder, extracting)}
            what = f"{CURRENT}, {options.seconds:g} s of sound"
            found += [in_turns(jobs, options.extracting, warm_up=False).ratio(CURRENT, AGAIN, what=what, time="clock")]
    return found


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--against", type=Path, help="another checkout")
    made.add_argument("--repeats", type=int, default=5)
    made.add_argument("--extracting", type=int, default=3, help='turns of extracting beside "up to date"; 0: none')
    made.add_argument("--seconds", type=float, default=60.0, help="of the film that is up to date")
    made.add_argument("--only", nargs="*", default=[""], help="commands whose name begins so")
    return made


if __name__ == "__main__":
    sys.exit(run(measure, parser()))
