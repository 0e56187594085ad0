"""How much faster alignment is than a Python loop over features, and that both give the same numbers.

    python benchmarks/alignment_speed.py

The loops are those of the reference document: ``np.interp`` and ``scipy.signal.convolve``, one feature at a time,
writing float32 as giblet does. The HRF stands there twice: on the fine grid, which is what giblet computes, and by TR
with giblet's own kernel, which a loop would first have to have; there giblet's time is mostly that of moving the
features through memory, and the last line says what writing the result alone takes. On the fine grid, where a loop
would take minutes, it does 500 columns, and its time is scaled by the number of columns.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial

import numpy as np
from ratios import Ratio, agree, in_turns, peak_mib, run
from scipy import signal

from giblet.alignment import convolve_hrf, resample_features
from giblet.alignment.kernels import OVERSAMPLING, fine_hrf, tr_kernel

TR, N_TRS = 1.5, 920
MOST_APART = 1e-4
SAMPLES = (N_TRS, 10 * N_TRS, 59_436)
"""Of the features that are put on the scan's clock: one per TR, ten, and mel frames."""


def sync(n_source: int, n_features: int, repeats: int, rng: np.random.Generator) -> Ratio:
    x = rng.standard_normal((n_source, n_features)).astype(np.float32)
    source = np.arange(n_source) * (TR * N_TRS / n_source)
    target = np.linspace(0.4, source[-1] - 0.3, N_TRS)

    def loop() -> np.ndarray:
        out = np.empty((N_TRS, n_features), np.float32)
        for j in range(n_features):
            out[:, j] = np.interp(target, source, x[:, j])
        return out

    ours = partial(resample_features, x, source, target, kind="continuous")
    turns = in_turns({"np.interp in a loop": loop, "giblet": ours}, repeats)
    what = f"{n_source:,} samples of {n_features:,} features to {N_TRS} TRs"
    agree(what, np.abs(turns.result("giblet") - turns.result("np.interp in a loop")).max(), MOST_APART)
    return turns.ratio("giblet", "np.interp in a loop", what=what)


def hrf(n_features: int, repeats: int, rng: np.random.Generator) -> list[Ratio]:
    x = rng.standard_normal((N_TRS, n_features), dtype=np.float32)
    fine, by_tr = fine_hrf("glover", tr=TR)[:, 0], tr_kernel("glover", tr=TR)[:, 0]
    columns = min(500, n_features)

    def loop_fine() -> np.ndarray:
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

    loops = {"signal.convolve in a loop": loop_fine, "the same by TR, given giblet's kernel": loop_by_tr}
    ours = {"giblet": lambda: convolve_hrf(x, tr=TR, kind="continuous")}
    turns = in_turns({**loops, **ours, "writing": lambda: np.full(x.shape, 1, np.float32)}, repeats)
    what = f"HRF of {n_features:,} columns"
    for name in loops:
        done = turns.result(name)
        agree(f"{what}, {name}", np.abs(turns.result("giblet")[:, : done.shape[1]] - done).max(), MOST_APART)
    print(f"writing an array of the size of the result, nothing else: {turns.seconds('writing'):.4f} s")
    shares = (columns / n_features, 1.0)
    return [turns.ratio("giblet", name, what=what, share=share) for name, share in zip(loops, shares, strict=True)]


def measure(options: argparse.Namespace) -> list[Ratio]:
    rng = np.random.default_rng(0)
    found = [sync(samples, options.features, options.repeats, rng) for samples in SAMPLES]
    found += hrf(options.columns, options.repeats, rng)
    print(f"peak memory {peak_mib() / 1024:.2f} GiB")
    return found


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--features", type=int, default=2048, help="that are put on the scan's clock")
    made.add_argument("--columns", type=int, default=85_810, help="of the HRF")
    made.add_argument("--repeats", type=int, default=5)
    return made


if __name__ == "__main__":
    sys.exit(run(measure, parser()))
