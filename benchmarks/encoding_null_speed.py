"""How fast is the null of every voxel? All rotations at once, beside a loop over rotations, in one run.

    python benchmarks/encoding_null_speed.py

The loop is numpy.roll and einsum on series that are standardised already: one null, no drifts removed, no filter, no p.
"The null alone" is the same by FFT, in batches of voxels. The whole test removes drifts, filters, and has two nulls,
plain and prewhitened, p, q and the maximum over voxels; a loop that did as much would take twice as long. The loop's
time is that of some of its rotations, all voxels each, scaled to the number of rotations: each takes as long as any
other. All is done on one core.
"""

from __future__ import annotations

import argparse
import sys
import tracemalloc
from collections.abc import Callable
from functools import partial

import numpy as np
from ratios import Ratio, agree, in_turns, run
from threadpoolctl import threadpool_limits

from giblet.evaluation import rotation_test
from giblet.statistics.rotations import Rotations, circular

TR, N_VOXELS = 1.5, 20_000


def loop(x: np.ndarray, y: np.ndarray, rotations: range) -> np.ndarray:
    """Correlation of standardised series by rotation, (n_rotations, n_voxels)."""
    return np.stack([np.einsum("ij,ij->j", x, np.roll(y, k, axis=0)) / len(x) for k in rotations])


def null_alone(x: np.ndarray, y: np.ndarray, step: int = 128) -> None:
    """What the loop calculates, by FFT; each batch is given up, as the test gives it up."""
    for start in range(0, x.shape[1], step):
        some = slice(start, start + step)
        circular(np.ascontiguousarray(x[:, some].T, np.float64), np.ascontiguousarray(y[:, some].T, np.float64))


def standardised(values: np.ndarray) -> np.ndarray:
    return (values - values.mean(axis=0)) / values.std(axis=0)


def compare(x: np.ndarray, y: np.ndarray) -> None:
    """The nulls of some voxels beside those of the loop."""
    every = range(len(x))
    crossed = circular(*(np.ascontiguousarray(one.T, np.float64) for one in (x, y))).T / len(x)
    rotations = Rotations.of(x, y, tr=TR)
    flat = [one[0] for one in (rotations.prepared(x), rotations.prepared(y))]
    plain = rotations.null([flat[0]], [flat[1]]).plain
    first, second = (standardised(one.T) for one in flat)
    expected = loop(first, second, every).T
    agree("the null alone", np.abs(crossed - loop(x.astype(float), y.astype(float), every)).max(), 1e-5)
    agree("the null of the test", np.abs(plain - expected).max(), 1e-5)


def measure(options: argparse.Namespace) -> list[Ratio]:
    rng = np.random.default_rng(0)
    x, y = map(standardised, rng.standard_normal((2, options.trs, options.voxels), np.float32))
    short = (x[: options.prime], y[: options.prime])
    some = range(options.rotations)
    loops = {"a loop in float32": (x, y), "a loop in float64": (x.astype(float), y.astype(float))}
    lengths = {f"{options.trs} TRs": (x, y), f"{options.prime} TRs": short}
    with threadpool_limits(1):
        compare(x[:, :50], y[:, :50])
        jobs: dict[str, Callable[[], object]] = {name: partial(loop, *both, some) for name, both in loops.items()}
        jobs |= {f"the null alone, {name}": partial(null_alone, *both) for name, both in lengths.items()}
        jobs |= {f"the whole test, {name}": partial(rotation_test, *both, tr=TR) for name, both in lengths.items()}
        turns = in_turns(jobs, options.repeats)
        tracemalloc.start()
        rotation_test(x, y, tr=TR)
        print(f"memory of the test beyond its input: {tracemalloc.get_traced_memory()[1] / 2**20:.0f} MiB")
    of, other = (name for name in lengths)
    share, wanted = options.rotations / options.trs, {"the null alone": 50, "the whole test": None}
    if options.voxels >= N_VOXELS:  # of fewer voxels what comes before the null is a greater part
        wanted["the whole test"] = 25
    found = [
        turns.ratio(f"{what}, {of}", name, share=share, at_least=least if name.endswith("64") else None)
        for what, least in wanted.items() for name in loops
    ]  # fmt: skip
    return [*found, turns.ratio(f"the whole test, {other}", f"the whole test, {of}", at_least=round(1 / 1.5, 2))]


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--trs", type=int, default=1000)
    made.add_argument("--prime", type=int, default=997, help="a number of TRs for which an FFT is slow (997)")
    made.add_argument("--voxels", type=int, default=N_VOXELS)
    made.add_argument("--repeats", type=int, default=5)
    made.add_argument("--rotations", type=int, default=5, help="rotations of the loop in each repeat (5)")
    return made


if __name__ == "__main__":
    sys.exit(run(measure, parser()))
