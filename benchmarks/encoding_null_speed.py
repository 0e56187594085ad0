"""How fast is the null of every voxel? All rotations at once, beside a loop over rotations, in one run.

    python benchmarks/encoding_null_speed.py

The loop is numpy.roll and einsum on series that are standardised already: one null, no drifts removed, no filter, no p.
"The null alone" is the same by FFT, in batches of voxels. The whole test removes drifts, filters, and has two nulls,
plain and prewhitened, p, q and the maximum over voxels; a loop that did as much would take twice as long. The loop's
time is that of some of its rotations, all voxels each, times the number of rotations: each takes as long as any other.
Times are medians of the processor's, on one core, so that other work on the machine counts for little.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable

import numpy as np
from threadpoolctl import threadpool_limits

from giblet.evaluation import rotation_test
from giblet.statistics.rotations import Rotations, circular

TR = 1.5


def median_s(call: Callable[[], object], repeats: int) -> float:
    """Processor seconds."""
    taken = []
    for _ in range(repeats):
        started = time.process_time()
        call()
        taken.append(time.process_time() - started)
    return statistics.median(taken)


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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trs", type=int, default=1000)
    parser.add_argument("--prime", type=int, default=997, help="a number of TRs for which an FFT is slow (997)")
    parser.add_argument("--voxels", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rotations", type=int, default=5, help="rotations of the loop in each repeat (5)")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, options.trs, options.voxels), np.float32)
    x, y = standardised(x), standardised(y)
    with threadpool_limits(1):
        some = slice(0, 50)
        whole = loop(x[:, some].astype(np.float64), y[:, some].astype(np.float64), range(options.trs))
        crossed = circular(*(np.ascontiguousarray(one[:, some].T, np.float64) for one in (x, y))).T / options.trs
        rotations = Rotations.of(x[:, some], y[:, some], tr=TR)
        flat = [one[0] for one in (rotations.prepared(x[:, some]), rotations.prepared(y[:, some]))]
        plain = rotations.null([flat[0]], [flat[1]]).plain
        expected = loop(*(standardised(one.T) for one in flat), range(options.trs)).T
        apart = max(np.abs(crossed - whole).max(), np.abs(plain - expected).max())
        rows = []
        for name, own_x, own_y in (("float32", x, y), ("float64", x.astype(np.float64), y.astype(np.float64))):
            taken = median_s(lambda a=own_x, b=own_y: loop(a, b, range(options.rotations)), options.repeats)
            rows.append((f"loop, {name}, {options.trs} TRs", taken / options.rotations * options.trs))
        alone = median_s(lambda: null_alone(x, y), options.repeats)
        short = (x[: options.prime], y[: options.prime])
        alone_prime = median_s(lambda: null_alone(*short), options.repeats)
        test = median_s(lambda: rotation_test(x, y, tr=TR), options.repeats)
        prime = median_s(lambda: rotation_test(*short, tr=TR), options.repeats)
    tracemalloc.start()
    rotation_test(x, y, tr=TR)
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    print(f"{options.voxels:,} voxels, one thread, medians of {options.repeats}\n")
    rows += [(f"null alone, {options.trs} TRs", alone), (f"null alone, {options.prime} TRs", alone_prime)]
    rows += [(f"whole test, {options.trs} TRs", test), (f"whole test, {options.prime} TRs", prime)]
    print("| | CPU s | loop in float64, times as long | loop in float32 |\n|---|--:|--:|--:|")
    for name, seconds in rows:
        print(f"| {name} | {seconds:.2f} | {rows[1][1] / seconds:.1f} | {rows[0][1] / seconds:.1f} |")
    print(f"\nlargest difference from the loop: {apart:.0e}; memory of the test beyond its input: {peak:.0f} MiB")
    goals = {
        "null alone at least 50 times as fast as the loop in float64": rows[1][1] / alone >= 50,
        "whole test at least 50 times as fast as two such loops": 2 * rows[1][1] / test >= 50,
        f"{options.prime} TRs at most 1.5 times as long, whole test": prime / test <= 1.5,
        "equal to 1e-5": apart <= 1e-5,
    }
    for goal, reached in goals.items():
        print(f"{'reached' if reached else 'NOT reached'}: {goal}")
    return 0 if all(goals.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
