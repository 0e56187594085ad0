"""How often does noise pass the tests of cross-validated predictions, and how often is a response found?

    python benchmarks/rotation_cv_calibration.py

Every TR is predicted by a ridge of the other folds, 32 s apart. Prints the last table of
docs/encoding_calibration.md.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from scipy.signal import lfilter

from giblet.alignment import convolve_hrf
from giblet.encoding import BlockedFolds, EncodingModel
from giblet.encoding.refits import FoldFit
from giblet.encoding.rotation_cv import rotation_test_group_cv, rotation_test_refitted
from giblet.statistics.rotation import rotation_test

TR, VOXELS, N_FEATURES, GAP = 1.5, 50, 10, 32.0
ALPHAS = np.logspace(0, 5, 11)
ENOUGH = 64.0
"""Seconds of a stretch from which fixed predictions can be rotated."""


def ar(phi: float, shape: tuple[int, int], generator: np.random.Generator) -> np.ndarray:
    """AR(1) series of variance 1."""
    y = lfilter([1.0], [1.0, -phi], generator.standard_normal((shape[0] + 100, shape[1])), axis=0)[100:]
    return y / y.std(0)


def slow(shape: tuple[int, int], seed: int) -> np.ndarray:
    """A line and a cosine of 200 s, each of variance 1, for each column at random."""
    generator = np.random.default_rng([seed, 1])
    time = np.arange(shape[0])[:, None]
    line = (time - time.mean()) / time.std() * generator.standard_normal(shape[1])
    phase = generator.uniform(0, 2 * np.pi, shape[1])
    return line + np.sqrt(2) * np.cos(2 * np.pi * time * TR / 200 + phase) * generator.standard_normal(shape[1])


def fits_of(
    x: np.ndarray, bold: np.ndarray, run: np.ndarray, folds: Any, penalty: float | None
) -> tuple[list[FoldFit], np.ndarray, np.ndarray]:
    """The folds' fits, their predictions, and the stretch of each row; penalties are chosen, or all are the same."""
    fits, predicted, stretches = [], np.zeros(bold.shape), np.zeros(len(x), np.int64)
    alphas = ALPHAS if penalty is None else [penalty]
    for number, (train, test) in enumerate(BlockedFolds(folds, GAP, tr=TR).of_rows(np.arange(len(x)), run)):
        model = EncodingModel(alphas, cv=3, tr=TR).fit(x, bold, run=run, train=train)
        prepared = model.prepare(x, run)
        fits.append(FoldFit.of_model(model, prepared, train, test))
        predicted[test] = prepared[test] @ model.weights_
        stretches[test] = 100 * number + run[test]
    return fits, predicted, stretches


def measure(
    draws: int, *, phi: float, n_trs: int, penalty: float | None = None, r: float = 0.0, n_runs: int = 1,
    folds: Any = 5, n_subjects: int = 1, drift: float = 0.0,
) -> dict[str, tuple[float, float]]:  # fmt: skip
    """Share of voxels with p at most .05 and .01 by each test; several subjects share a third of their variance.

    With `drift`, features walk at random, and a line and a slow cosine, so many times as strong as the noise, are added
    to the BOLD.
    """
    p: dict[str, list[np.ndarray]] = {}
    run = np.repeat(np.arange(n_runs), n_trs // n_runs)
    for draw in range(draws):
        generator = np.random.default_rng([draw, n_trs, n_runs, n_subjects])
        drive = generator.standard_normal((len(run), N_FEATURES))
        x = convolve_hrf(drive.cumsum(0) if drift else drive, tr=TR, run=run, kind="continuous")
        signal = (x - x.mean(0)) @ generator.standard_normal((N_FEATURES, VOXELS))
        shared = ar(phi, signal.shape, generator)
        tests = []
        for _ in range(n_subjects):
            noise = ar(phi, signal.shape, generator)
            if n_subjects > 1:
                noise = np.sqrt(1 / 3) * shared + np.sqrt(2 / 3) * noise
            bold = r * signal / signal.std(0) + np.sqrt(1 - r**2) * noise + run[:, None]
            bold += drift * slow(noise.shape, draw)
            fits, predicted, stretches = fits_of(x, bold, run, folds, penalty)
            kept = {"keep_rotations": n_subjects > 1}
            tests.append(rotation_test_refitted(bold, fits, tr=TR, run=run, seed=draw, **kept))
        if n_subjects > 1:
            p.setdefault("refitted, group", []).append(rotation_test_group_cv(tests).p)
            continue
        p.setdefault("refitted", []).append(tests[0].p)
        p.setdefault("refitted, by rank", []).append(tests[0].p_rank)
        # Folds too short to be rotated by themselves are rotated as one run, which a user might do.
        long = np.unique(stretches, return_counts=True)[1].min() * TR >= ENOUGH
        fixed = rotation_test(bold, predicted, tr=TR, run=stretches if long else run)
        p.setdefault("fixed predictions rotated", []).append(fixed.p)
    every = {name: np.array(all_p) for name, all_p in p.items()}
    return {name: (float(np.mean(all_p <= 0.05)), float(np.mean(all_p <= 0.01))) for name, all_p in every.items()}


def main() -> None:
    logging.disable(logging.WARNING)
    cells: list[dict[str, Any]] = [
        {"phi": phi, "n_trs": n_trs, "penalty": penalty}
        for n_trs in (150, 360) for penalty in (100.0, None) for phi in (0.0, 0.6, 0.9)
    ]  # fmt: skip
    cells += [
        {"phi": phi, "n_trs": 360, "penalty": 100.0, "n_runs": 3, "folds": folds}
        for folds in ("runs", 5) for phi in (0.0, 0.6, 0.9)
    ]  # fmt: skip
    cells += [
        {"phi": phi, "n_trs": 360, "penalty": penalty, "drift": 3.0} for penalty in (100.0, None) for phi in (0.0, 0.6)
    ]
    cells += [{"phi": 0.6, "n_trs": n_trs, "r": r} for r in (0.2, 0.3) for n_trs in (150, 360)]
    cells += [{"phi": phi, "n_trs": 150, "penalty": 100.0, "n_subjects": 8} for phi in (0.0, 0.6, 0.9)]
    for cell in cells:
        found = measure(60 if "n_subjects" in cell else 100, **cell)
        shown = ", ".join(f"{name} {100 * low:.1f} / {100 * high:.1f}" for name, (low, high) in found.items())
        print(cell, "|", shown, flush=True)


if __name__ == "__main__":
    main()
