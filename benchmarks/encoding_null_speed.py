"""How fast is the null of every voxel? All rotations at once, beside a loop over rotations, in one run.

    python benchmarks/encoding_null_speed.py

The loop is numpy.roll and einsum on series that are standardised already: one null, no drifts removed, no filter, no p.
The test does all of these, and has the null before and after prewhitening. Both are given the same float32 series, as
BOLD is kept; the loop is timed in float64 too, which is what the test calculates in. The loop's time is that of some of
its rotations, all voxels each, times the number of rotations: each takes as long as any other. Times are medians.
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
from giblet.evaluation.rotation import Rotations, circular

TR = 1.5


def median_s(call: Callable[[], object], repeats: int) -> float:
    taken = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def loop(x: np.ndarray, y: np.ndarray, rotations: range) -> np.ndarray:
    """Correlation of standardised series by rotation, (n_rotations, n_voxels)."""
    return np.stack([np.einsum("ij,ij->j", x, np.roll(y, k, axis=0)) / len(x) for k in rotations])


def standardised(values: np.ndarray) -> np.ndarray:
    return (values - values.mean(axis=0)) / values.std(axis=0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trs", type=int, default=1000)
    parser.add_argument("--prime", type=int, default=997, help="a number of TRs for which an FFT is slow (997)")
    parser.add_argument("--voxels", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rotations", type=int, default=5, help="rotations of the loop in each repeat (5)")
    parser.add_argument("--threads", type=int, default=1, help="of numpy's matrix products (1)")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, options.trs, options.voxels), np.float32)
    x, y = standardised(x), standardised(y)
    with threadpool_limits(options.threads):
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
        test = median_s(lambda: rotation_test(x, y, tr=TR), options.repeats)
        short = (x[: options.prime], y[: options.prime])
        prime = median_s(lambda: rotation_test(*short, tr=TR), options.repeats)
    tracemalloc.start()
    rotation_test(x, y, tr=TR)
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    print(f"{options.voxels:,} voxels, {options.threads} thread, medians of {options.repeats}\n")
    print("| | s | times as long as the test |\n|---|--:|--:|")
    for name, seconds in (*rows, (f"rotation_test, {options.trs} TRs", test), (f"same, {options.prime} TRs", prime)):
        print(f"| {name} | {seconds:.2f} | {seconds / test:.2f} |")
    print(f"\nlargest difference from the loop: {apart:.0e}; memory of the test beyond its input: {peak:.0f} MiB")
    reached = rows[0][1] / test >= 50 and prime / test <= 1.5 and apart <= 1e-5
    print("reached" if reached else "NOT reached", "(50 times as fast as the loop in float32, 1.5 at a prime, 1e-5)")
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
