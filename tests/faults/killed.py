"""A job is killed at some point: what stands is whole, and the same command completes it to the same bytes."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.faults.jobs import Job
from tests.faults.processes import Stop, run
from tests.faults.whole import digests, finished, read_all

TIMED = {"log.csv", "summary.json"}
"""Names of files that hold how long something took, which may happen to be the same twice."""


@dataclass(frozen=True)
class Undisturbed:
    """What a job writes when nothing stops it."""

    files: dict[str, str]
    """Digests by name."""
    stable: frozenset[str]
    """Files that are the same each time; others hold how long something took, or when."""
    changes: int
    size: int
    """Bytes of all files."""
    seconds: float


def undisturbed(job: Job, inputs: Path, out: Path) -> Undisturbed:
    """Run a job twice in the same place."""
    found, began = [], time.monotonic()
    for _ in range(2):
        shutil.rmtree(out, ignore_errors=True)
        began = time.monotonic()
        ended = run(job.argv(inputs, out), out)
        assert ended.status == 0, ended.told
        found.append(digests(out))
    first, second = found
    assert first.keys() == second.keys() and first
    stable = frozenset(name for name in first if first[name] == second[name] and Path(name).name not in TIMED)
    size = sum(path.stat().st_size for path in finished(out).values())
    return Undisturbed(second, stable, ended.changes, size, time.monotonic() - began)


def stops(whole: Undisturbed, n: int, seed: int, by: signal.Signals = signal.SIGKILL) -> Iterator[Stop]:
    """Random points: before a change of the folder, and at a time, in turn."""
    rng = np.random.default_rng(seed)
    for k in range(n):
        if k % 2:
            yield Stop(seconds=float(rng.uniform(0.05, whole.seconds)), by=by)
        else:
            yield Stop(change=int(rng.integers(1, whole.changes + 1)), by=by)


def survives(job: Job, inputs: Path, out: Path, whole: Undisturbed, stop: Stop) -> bool:
    """Stop a job, look at what stands, and let the same command complete it.

    Returns
    -------
    bool
        Whether it was stopped before its end.

    Raises
    ------
    AssertionError
        If a file is half, or what the second run leaves is other than what an undisturbed one does.
    Exception
        What the reader of a file raises that is not whole.
    """
    shutil.rmtree(out, ignore_errors=True)
    before: dict[str, str] = {}
    if job.older:
        assert run([*job.argv(inputs, out), *job.older], out).status == 0
        before = digests(out)
    stopped = run(job.argv(inputs, out), out, stop)
    read_all(out)
    if not job.on_the_way:
        for name, digest in digests(out).items():
            if name in whole.stable:
                assert digest in (before.get(name), whole.files[name]), f"{name} is neither the old nor the new one"
    completed(job, inputs, out, whole)
    return stopped.status != 0


def completed(job: Job, inputs: Path, out: Path, whole: Undisturbed) -> None:
    """Run a job on what stands there.

    Raises
    ------
    AssertionError
        If it fails, or what it leaves is other than what an undisturbed one does.
    """
    ended = run(job.argv(inputs, out), out)
    assert ended.status == 0, ended.told
    now = digests(out)
    assert now.keys() == whole.files.keys()
    others = sorted(name for name in whole.stable if now[name] != whole.files[name])
    assert not others, f"{others} are other than those of an undisturbed run"
