"""Encoding models beside himalaya and scikit-learn: seconds, memory, and whether they choose and predict the same.

    python benchmarks/encoding_speed.py ridge      1,000 TRs x 100 features x 20,000 voxels, 20 penalties, 5 folds
    python benchmarks/encoding_speed.py banded     33,000 TRs x 112 voxels, 4 bands of 750 columns together
    python benchmarks/encoding_speed.py large      1,200 TRs x 1,024 features x 91,282 voxels

Each contender has a process of its own, for its peak memory over what imports and the data took, and they take turns;
ratios are of medians. Both times are printed: that of the clock, and that of the processor, threads together, which
neighbours on a busy machine disturb less. BOLD is float32. Penalties and predictions are compared with those of
himalaya on the same numbers in float64: in float32 its own rounding decides between penalties that are as good.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

ALPHAS = np.logspace(-1, 6, 20)
TR = 1.5
PARTS = {
    "ridge": {"n_trs": 1000, "n_voxels": 20_000, "columns": [100], "n_iter": 1},
    "banded": {"n_trs": 33_000, "n_voxels": 112, "columns": [4, 28, 344, 374], "n_iter": 50},
    "large": {"n_trs": 1200, "n_voxels": 91_282, "columns": [1024], "n_iter": 1},
}
HIMALAYA = ["himalaya", "himalaya-batches", "himalaya-torch", "himalaya-float64"]
CONTENDERS = {
    "ridge": [*HIMALAYA, "scikit-learn", "giblet", "giblet-torch"],
    "banded": ["himalaya-one", "giblet"],
    "large": ["himalaya-batches", "giblet", "giblet-tested"],
}
NAMES = {
    "himalaya": "himalaya, as it comes",
    "himalaya-batches": "himalaya, 1,000 voxels at a time",
    "himalaya-torch": "himalaya, torch, 1,000 voxels at a time",
    "himalaya-float64": "himalaya, float64, 1,000 voxels at a time",
    "himalaya-one": "himalaya, 1 candidate of 50 and 1 penalty of 20",
    "scikit-learn": "scikit-learn RidgeCV (leave-one-out)",
    "giblet": "giblet",
    "giblet-torch": "giblet, torch",
    "giblet-tested": "giblet, with predictions of all TRs, their null by all rotations, and q",
}


def data(sizes: dict[str, Any]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Features and BOLD in float32, without copies that would raise the peak before anybody has begun."""
    rng = np.random.default_rng(0)
    n_trs, n_voxels = sizes["n_trs"], sizes["n_voxels"]
    x = {f"band-{k}": rng.standard_normal((n_trs, n), dtype=np.float32) for k, n in enumerate(sizes["columns"])}
    bold = np.empty((n_trs, n_voxels), np.float32)
    weights = {name: rng.standard_normal((own.shape[1], n_voxels), dtype=np.float32) for name, own in x.items()}
    for start in range(0, n_trs, 500):
        rows = slice(start, start + 500)
        rng.standard_normal(out=(block := np.empty((len(bold[rows]), n_voxels), np.float32)), dtype=np.float32)
        bold[rows] = 3 * block * np.geomspace(0.3, 10, n_voxels, dtype=np.float32)
        for name, own in x.items():
            bold[rows] += own[rows] @ weights[name] / np.float32(np.sqrt(own.shape[1]))
    return x, bold


def fitter(who: str, sizes: dict[str, Any]) -> Callable[..., Any]:
    """What fits, with all that it needs imported."""
    from giblet.encoding import BlockedFolds, EncodingModel, rotation_test

    folds = BlockedFolds(5, 32.0, tr=TR)
    if who.startswith("giblet"):
        backend = "torch" if who.endswith("torch") else "numpy"
        options: dict[str, Any] = {"scale": None, "scoring": "neg_mse", "backend": backend, "n_iter": sizes["n_iter"]}

        def fit(x: dict[str, np.ndarray], bold: np.ndarray) -> EncodingModel:
            model = EncodingModel(ALPHAS, folds, **options).fit(x, bold)
            if who == "giblet-tested":
                # What is tested costs the same whether the model has seen it or not.
                assert rotation_test(bold, model.predict(x), tr=TR).q.shape == (bold.shape[1],)
            return model

        return fit
    if who == "scikit-learn":
        from sklearn.linear_model import RidgeCV as LeaveOneOut

        return lambda x, bold: LeaveOneOut(ALPHAS, alpha_per_target=True).fit(x["band-0"], bold)
    from himalaya.backend import set_backend
    from himalaya.ridge import GroupRidgeCV, RidgeCV

    if who == "himalaya-one":  # all of them would take a day
        one = {"n_iter": 1, "alphas": ALPHAS[10:11], "progress_bar": False}
        groups = GroupRidgeCV("input", fit_intercept=True, cv=folds, random_state=0, solver_params=one)
        return lambda x, bold: groups.fit(list(x.values()), bold)
    if who.endswith("torch"):
        set_backend("torch")
    solver = {} if who == "himalaya" else {"n_targets_batch": 1000}
    dtype = np.float64 if who.endswith("float64") else np.float32
    ridge = RidgeCV(ALPHAS, fit_intercept=True, cv=folds, solver_params=solver)
    return lambda x, bold: ridge.fit(x["band-0"].astype(dtype), bold.astype(dtype, copy=False))


def peak_kib(begin: bool) -> int:
    """Most memory since the last call that began a count; since the start of the process where Linux does not say."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if begin:
        Path("/proc/self/clear_refs").write_text("5")
    return int(next(line for line in status.read_text().splitlines() if line.startswith("VmHWM")).split()[1])


def child(part: str, who: str, result: Path) -> None:
    """Fit once and write what it took, and what came out."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    sizes = PARTS[part]
    fit = fitter(who, sizes)
    # A small fit first: what is imported late, and the memory of threads, belong to nobody.
    fit(*data({**sizes, "n_trs": 200, "n_voxels": 40, "columns": [5] * len(sizes["columns"])}))
    x, bold = data(sizes)
    before = peak_kib(begin=True)
    clock, processor = time.perf_counter(), time.process_time()
    model = fit(x, bold)
    clock, processor = time.perf_counter() - clock, time.process_time() - processor
    peak = (peak_kib(begin=False) - before) / 1024
    head = {name: own[:100] for name, own in x.items()}
    if who != "himalaya-one":
        predicted = model.predict(head if who.startswith("giblet") else head["band-0"])
        alphas = model.alpha_ if who == "scikit-learn" else model.best_alphas_
        np.savez(result, alphas=np.asarray(alphas), predicted=np.asarray(predicted))
    print(json.dumps({"clock": clock, "processor": processor, "peak": peak}))


def measured(part: str, repeats: int, threads: int, folder: Path) -> dict[str, dict[str, Any]]:
    """Medians of each contender."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)}
    found: dict[str, list[dict[str, float]]] = {who: [] for who in CONTENDERS[part]}
    for _ in range(repeats):
        for who in found:
            command = [sys.executable, __file__, part, "--child", who, "--result", str(folder / f"{who}.npz")]
            output = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
            found[who].append(json.loads(output.splitlines()[-1]))
    return {who: {key: median(run[key] for run in runs) for key in runs[0]} for who, runs in found.items()}


def table(part: str, found: dict[str, dict[str, Any]], folder: Path) -> str:
    """One line for each contender, ratios to the first."""
    first, *_ = found
    truth = next(who for who in ("himalaya-float64", "himalaya-batches", "giblet") if who in found)
    with np.load(folder / f"{truth}.npz") as file:
        alphas, predicted = file["alphas"], file["predicted"]
    lines = [
        f"{part}: {PARTS[part]}",
        "",
        "| | clock, s | processor, s | peak, MiB | times faster (clock, processor) | same penalties | furthest |",
        "|---|---|---|---|---|---|---|",
    ]
    for who, took in found.items():
        agreement = "| |"
        if who != "himalaya-one":
            with np.load(folder / f"{who}.npz") as file:
                same = np.isclose(file["alphas"], alphas, rtol=1e-4)
                apart = float(np.abs(file["predicted"] - predicted)[:, same].max(initial=0))
            agreement = f"{100 * same.mean():.2f} % | {apart:.1e} |"
        ratios = found[first]["clock"] / took["clock"], found[first]["processor"] / took["processor"]
        lines.append(
            f"| {NAMES[who]} | {took['clock']:.2f} | {took['processor']:.2f} | {took['peak']:.0f} | "
            f"{ratios[0]:.1f}, {ratios[1]:.1f} | {agreement}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="?", choices=PARTS, help="by default all, one after another")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--result", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.part, options.child, options.result)
        return
    for part in PARTS if options.part is None else [options.part]:
        with tempfile.TemporaryDirectory() as folder:
            found = measured(part, options.repeats, options.threads, Path(folder))
            print(table(part, found, Path(folder)), flush=True)


if __name__ == "__main__":
    main()
