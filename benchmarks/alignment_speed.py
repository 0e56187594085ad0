"""How much faster alignment is than a Python loop over features, and that both give the same numbers.

    python benchmarks/alignment_speed.py

The loops are those of the reference document: ``np.interp`` and ``scipy.signal.convolve``, one feature at a time,
writing float32 as giblet does. The HRF stands there twice: on the fine grid, which is what giblet computes, and by TR
with giblet's own kernel, which a loop would first have to have; there giblet's time is mostly that of moving the
features through memory, and the last line says what writing the result alone takes. Where a loop would take minutes
it runs on a stated subset of columns and its time is scaled by the number of columns.
Ratios are of medians within one run.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from statistics import median

import numpy as np
from scipy import signal

from giblet.alignment import convolve_hrf, resample_features
from giblet.alignment.kernels import OVERSAMPLING, fine_hrf, tr_kernel

TR, N_TRS = 1.5, 920


def timed(job: Callable[[], np.ndarray], repeats: int) -> tuple[float, np.ndarray]:
    """Median seconds of `repeats` runs, after one that does not count, and the result."""
    result, seconds = job(), []
    for _ in range(repeats):
        del result
        start = time.perf_counter()
        result = job()
        seconds.append(time.perf_counter() - start)
    return median(seconds), result


def say(what: str, loop: float, ours: float, error: float, subset: str) -> None:
    times = f"loop {loop:9.4f} s{subset:22s} giblet {ours:8.4f} s"
    print(f"{what:58s} {times}  ratio {loop / ours:6.0f}x  max diff {error:.1e}")


def sync(n_source: int, n_features: int, repeats: int, rng: np.random.Generator) -> None:
    x = rng.standard_normal((n_source, n_features)).astype(np.float32)
    source = np.arange(n_source) * (TR * N_TRS / n_source)
    target = np.linspace(0.4, source[-1] - 0.3, N_TRS)

    def loop() -> np.ndarray:
        out = np.empty((N_TRS, n_features), np.float32)
        for j in range(n_features):
            out[:, j] = np.interp(target, source, x[:, j])
        return out

    slow, reference = timed(loop, 3)
    fast, ours = timed(lambda: resample_features(x, source, target, kind="continuous"), repeats)
    say(
        f"sync: {n_source} samples -> {N_TRS} TRs, {n_features} features",
        slow,
        fast,
        np.abs(ours - reference).max(),
        "",
    )


def hrf(n_features: int, repeats: int, rng: np.random.Generator) -> None:
    x = rng.standard_normal((N_TRS, n_features), dtype=np.float32)
    fine, by_tr = fine_hrf("glover", tr=TR)[:, 0], tr_kernel("glover", tr=TR)[:, 0]
    fast, ours = timed(lambda: convolve_hrf(x, tr=TR, kind="continuous"), repeats)

    def loop_fine(columns: int) -> np.ndarray:
        out = np.empty((N_TRS, columns), np.float32)
        for j in range(columns):
            held = np.repeat(x[:, j], OVERSAMPLING)
            out[:, j] = signal.convolve(held, fine)[: len(held) : OVERSAMPLING]
        return out

    def loop_by_tr() -> np.ndarray:
        out = np.empty_like(x)
        for j in range(n_features):
            out[:, j] = signal.convolve(x[:, j], by_tr)[:N_TRS]
        return out

    columns = min(500, n_features)
    slow, reference = timed(lambda: loop_fine(columns), 3)
    error = np.abs(ours[:, :columns] - reference).max()
    say(f"HRF on the fine grid (what nilearn computes), {n_features} columns", slow * n_features / columns, fast, error,
        f" ({columns} columns, scaled)")  # fmt: skip
    slow, reference = timed(loop_by_tr, 1)
    say(
        f"HRF, the loop given giblet's kernel by TR, {n_features} columns",
        slow,
        fast,
        np.abs(ours - reference).max(),
        "",
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--columns", type=int, default=85_810, help="columns of the HRF benchmark")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    generator = np.random.default_rng(0)
    for samples in (N_TRS, 10 * N_TRS, 59_436):
        sync(samples, 2048, options.repeats, generator)
    hrf(options.columns, options.repeats, generator)
    seconds, _ = timed(lambda: np.full((N_TRS, options.columns), 1, np.float32), options.repeats)
    print(f"writing an array of the size of the HRF result, nothing else: {seconds:.4f} s")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")
