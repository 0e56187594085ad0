"""Encoding models beside himalaya and scikit-learn: seconds, memory, and whether they choose and predict the same.

    python benchmarks/encoding_speed.py ridge      1,000 TRs x 100 features x 20,000 voxels, 20 penalties, 5 folds
    python benchmarks/encoding_speed.py banded     33,000 TRs x 112 voxels, 4 bands of 750 columns together
    python benchmarks/encoding_speed.py large      1,200 TRs x 1,024 features x 91,282 voxels
    python benchmarks/encoding_speed.py small bands      the first two, smaller

Each contender has a process of its own, for its peak memory over what imports and the data took, and they take turns;
with --together they share one, which saves a minute of imports and says nothing of memory. Both times are printed,
that of the clock and that of the processor, threads together. BOLD is float32. Penalties and predictions are compared
with those of himalaya on the same numbers in float64: in float32 its own rounding decides between penalties that are as
good.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from page_tables import markdown
from ratios import Measured, Ratio, Turns, in_own_process, in_turns, peak_mib, run, threads, time_of, timed
from threadpoolctl import threadpool_limits

ALPHAS = np.logspace(-1, 6, 20)
TR = 1.5


class Sizes(TypedDict):
    """Of a fit; how many candidates of each band's weight are tried."""

    n_trs: int
    n_voxels: int
    columns: list[int]
    n_iter: int


PARTS: dict[str, Sizes] = {
    "ridge": {"n_trs": 1000, "n_voxels": 20_000, "columns": [100], "n_iter": 1},
    "banded": {"n_trs": 33_000, "n_voxels": 112, "columns": [4, 28, 344, 374], "n_iter": 50},
    "large": {"n_trs": 1200, "n_voxels": 91_282, "columns": [1024], "n_iter": 1},
    "small": {"n_trs": 600, "n_voxels": 5000, "columns": [100], "n_iter": 1},
    "bands": {"n_trs": 1000, "n_voxels": 112, "columns": [4, 28, 96], "n_iter": 10},
}
HIMALAYA = ["himalaya", "himalaya-batches", "himalaya-torch", "himalaya-float64"]
CONTENDERS = {
    "ridge": [*HIMALAYA, "scikit-learn", "giblet", "giblet-torch"],
    "banded": ["himalaya-one", "giblet"],
    "large": ["himalaya-batches", "giblet", "giblet-tested"],
    "small": ["himalaya-batches", "scikit-learn", "giblet"],
    "bands": ["himalaya-bands", "giblet"],
}
SEARCHES = {"himalaya-one", "himalaya-bands"}
"""Those that choose a weight of each band at random, as giblet does, but from other numbers."""
NAMES = {
    "himalaya": "himalaya, as it comes",
    "himalaya-batches": "himalaya, 1,000 voxels at a time",
    "himalaya-torch": "himalaya, torch, 1,000 voxels at a time",
    "himalaya-float64": "himalaya, float64, 1,000 voxels at a time",
    "himalaya-bands": "himalaya, as many candidates",
    "himalaya-one": "himalaya, 1 candidate of 50 and 1 penalty of 20",
    "scikit-learn": "scikit-learn RidgeCV (leave-one-out)",
    "giblet": "giblet",
    "giblet-torch": "giblet, torch",
    "giblet-tested": "giblet, with predictions of all TRs, their null by all rotations, and q",
}


def data(sizes: Sizes) -> tuple[dict[str, np.ndarray], np.ndarray]:
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


def fitter(who: str, sizes: Sizes) -> Callable[..., Any]:
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

    if who in SEARCHES:
        # All that giblet tries of "banded" would take himalaya a day.
        few = {"n_iter": 1, "alphas": ALPHAS[10:11]} if who == "himalaya-one" else {"n_iter": sizes["n_iter"]}
        search = {"alphas": ALPHAS, **few, "progress_bar": False}
        groups = GroupRidgeCV("input", fit_intercept=True, cv=folds, random_state=0, solver_params=search)
        return lambda x, bold: groups.fit(list(x.values()), bold)
    if who.endswith("torch"):
        set_backend("torch")
    solver = {} if who == "himalaya" else {"n_targets_batch": 1000}
    dtype = np.float64 if who.endswith("float64") else np.float32
    ridge = RidgeCV(ALPHAS, fit_intercept=True, cv=folds, solver_params=solver)
    return lambda x, bold: ridge.fit(x["band-0"].astype(dtype), bold.astype(dtype, copy=False))


def fit_once(part: str, who: str, result: str) -> Measured:
    """Fit in this process; predictions and penalties go into a file, and what is given is the memory over the data."""
    sizes = PARTS[part]
    fit = warmed(who, sizes)
    x, bold = data(sizes)
    before = peak_mib(begin=True)
    took = timed(lambda: fit(x, bold))
    peak = peak_mib() - before
    np.savez(result, allow_pickle=False, **outcome(who, took.result, x))
    return Measured(took.clock, took.processor, peak)


def warmed(who: str, sizes: Sizes) -> Callable[..., Any]:
    """What fits, after a small fit: what is imported late, and the memory of threads, belong to nobody."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    fit = fitter(who, sizes)
    fit(*data({**sizes, "n_trs": 200, "n_voxels": 40, "columns": [5] * len(sizes["columns"])}))
    return fit


def outcome(who: str, model: Any, x: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What contenders are compared by: penalties, and predictions of some TRs."""
    if who in SEARCHES:
        return {}
    head = {name: own[:100] for name, own in x.items()}
    predicted = model.predict(head if who.startswith("giblet") else head["band-0"])
    alphas = model.alpha_ if who == "scikit-learn" else model.best_alphas_
    return {"alphas": np.asarray(alphas), "predicted": np.asarray(predicted)}


def apart(part: str, repeats: int, n_threads: int) -> tuple[Turns, dict[str, dict[str, np.ndarray]]]:
    """Each in a process of its own, by turns."""
    with tempfile.TemporaryDirectory() as folder:
        files = {who: Path(folder) / f"{who}.npz" for who in CONTENDERS[part]}
        jobs = {
            who: partial(in_own_process, fit_once, part, who, to, environment=threads(n_threads))
            for who, to in files.items()
        }
        turns = in_turns(jobs, repeats, warm_up=False)
        return turns, {who: dict(np.load(path)) for who, path in files.items()}


def together(part: str, repeats: int, n_threads: int) -> tuple[Turns, dict[str, dict[str, np.ndarray]]]:
    """All in this process, by turns."""
    sizes = PARTS[part]
    x, bold = data(sizes)
    with threadpool_limits(n_threads):
        turns = in_turns({who: partial(warmed(who, sizes), x, bold) for who in CONTENDERS[part]}, repeats)
        return turns, {who: outcome(who, turns.result(who), x) for who in turns.runs}


def ratios(part: str, turns: Turns, time: str) -> list[Ratio]:
    """giblet beside each of the others, and what torch or a test adds to it."""
    sizes = PARTS[part]
    bands = " + ".join(map(str, sizes["columns"]))
    what = f"{part}: {sizes['n_trs']:,} TRs x {bands} features x {sizes['n_voxels']:,} voxels"
    ours = [who for who in turns.runs if who.startswith("giblet-")]
    found = [turns.ratio("giblet", who, what=what, time=time) for who in turns.runs if not who.startswith("giblet")]
    found += [turns.ratio(who, "giblet", what=f"{what}, {NAMES[who]}", time=time) for who in ours]
    return [replace(one, beside=NAMES[one.beside]) for one in found]


def table(turns: Turns, outcomes: dict[str, dict[str, np.ndarray]]) -> str:
    """Times, memory, and how far each is from himalaya, one line for each contender."""
    truth = outcomes[next(who for who in ("himalaya-float64", "himalaya-batches", "giblet") if who in turns.runs)]
    rows = []
    for who, found in outcomes.items():
        agreement = ["", ""]
        if found:
            same = np.isclose(found["alphas"], truth["alphas"], rtol=1e-4)
            furthest = float(np.abs(found["predicted"] - truth["predicted"])[:, same].max(initial=0))
            agreement = [f"{100 * same.mean():.2f} %", f"{furthest:.1e}"]
        took = [f"{turns.seconds(who, time):.2f}" for time in ("clock", "processor")]
        peak = turns.result(who)
        rows.append([NAMES[who], *took, f"{peak:.0f}" if isinstance(peak, float) else "", *agreement])
    return markdown(["", "clock, s", "processor, s", "peak, MiB", "same penalties", "furthest"], rows)


def measure(options: argparse.Namespace) -> list[Ratio]:
    found: list[Ratio] = []
    for part in options.parts:
        turns, outcomes = (together if options.together else apart)(part, options.repeats, options.threads)
        print(f"{part}: {PARTS[part]}\n\n{table(turns, outcomes)}\n", flush=True)
        found += ratios(part, turns, time_of(options.threads))
    return found


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("parts", nargs="*", default=["ridge", "banded", "large"], help=f"of {', '.join(PARTS)}")
    made.add_argument("--together", action="store_true", help="in one process, without memory")
    made.add_argument("--repeats", type=int, default=3)
    made.add_argument("--threads", type=int, default=2)
    return made


if __name__ == "__main__":
    sys.exit(run(measure, parser()))
