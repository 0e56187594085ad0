"""What `benchmarks/calibration.py` measures: the cells of each part of docs/calibration.md, and how one is measured.

A cell is a dict of plain values; :func:`measure` gives one result for each figure that it yields, dicts of plain values
too. What only a new giblet has is imported where it is used, so that the power of an older checkout can be measured.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from calibration_series import (
    LEVELS,
    NOISES,
    REAL,
    REAL_TR,
    TR,
    films,
    noisy,
    other_responses,
    other_stories,
    plain,
    planted,
    predictions,
    real_bold,
    settling,
    standard,
    stretch,
)
from scipy.stats import norm, ttest_1samp

if TYPE_CHECKING:
    from giblet.evaluation.alignment import Regressor
    from giblet.evaluation.score import Score
    from giblet.statistics.estimates import Chance, ScoredTRs

Cell = dict[str, Any]
Result = dict[str, Any]

LENGTHS = (40, 64, 150, 300, 900)
VOXELS, SHARED = 10, 0.5
"""Of a mean over voxels, and the part of their variance that they have in common."""
POWER_NOISES = ("white", "ar .6", "ar .9", "cosine", "walk")
COVERED = ("white", "ar .3", "ar .6", "ar .9")
SETTLED = (10.0, 20.0)
"""Time constants in seconds."""
CODEBOOKS, FRAMES, ENTRIES = 8, 4, 16
SURROGATES = {"null": 99, "power": 199}


def cells() -> Iterator[Cell]:
    """All cells of the page, with the draws that each gets."""
    kinds = (*NOISES, REAL)
    for noise in (*NOISES, LEVELS, REAL):
        for n in LENGTHS:
            if noise == REAL and n > 300:
                continue
            runs = 2 if noise == LEVELS else 1
            yield {"part": "rotation", "noise": noise, "n_trs": n, "runs": runs, "draws": 6000}
            yield {"part": "rotation mean", "noise": noise, "n_trs": n, "runs": runs, "draws": 1200 if n < 900 else 600}
            if noise not in (REAL, LEVELS):
                yield {"part": "rotation", "noise": noise, "n_trs": n, "runs": 2, "draws": 6000}
    for noise in NOISES:
        for n in LENGTHS[1:]:
            yield {"part": "accuracy", "noise": noise, "n_trs": n, "draws": 400 if n < 900 else 200}
    for high_pass in (True, False):
        for noise in kinds:
            for n in LENGTHS:
                if not (noise == REAL and n > 300):
                    draws = 300 if n < 300 else 200
                    yield {"part": "lag", "noise": noise, "n_trs": n, "high_pass": high_pass, "draws": draws}
    for noise in POWER_NOISES:
        for r in (0.1, 0.2):
            yield {"part": "lag power", "noise": noise, "n_trs": 300, "r": r, "draws": 300}
            for n in LENGTHS[1:]:
                yield {"part": "rotation power", "noise": noise, "n_trs": n, "r": r, "draws": 4000}
    for noise in COVERED:
        for n in (64, 100, 150, 300, 900):
            for r in (0.0, 0.3, 0.6):
                yield {"part": "coverage", "noise": noise, "n_trs": n, "r": r, "draws": 600}
            yield {"part": "share coverage", "noise": noise, "n_trs": n, "share": 0.3, "draws": 1000}
    for noise in ("white", "ar .6", "ar .9"):
        for r in (0.1, 0.2, 0.3, 0.5):
            yield {"part": "lag interval", "noise": noise, "n_trs": 300, "r": r, "draws": 300}
    for n in (64, 300):
        yield {"part": "collapsed codes", "noise": "ar .6", "n_trs": n, "draws": 400}
        yield {"part": "collapsed latents", "noise": "ar .6", "n_trs": n, "draws": 400}
    for subjects in (8, 17):
        for n in (150, 300):
            for shared in (0.0, 0.05, 0.15, 0.3):
                yield {"part": "group", "subjects": subjects, "n_trs": n, "shared": shared, "draws": 500}
    for seconds in SETTLED:
        for n in (150, 300):
            yield {"part": "settling lag", "n_trs": n, "seconds": seconds, "draws": 400}
            yield {"part": "settling rotation", "n_trs": n, "seconds": seconds, "draws": 4000}


def key(cell: Cell) -> str:
    """A cell's name, without its number of draws."""
    return ", ".join(f"{name} {value}" for name, value in cell.items() if name != "draws")


def measure(cell: Cell, shared: Path) -> list[Result]:
    """The results of one cell, from random numbers of its own.

    Parameters
    ----------
    cell : dict
        As :func:`cells` gives it.
    shared : Path
        Folder of the real data.
    """
    rng = np.random.default_rng(zlib.crc32(key(cell).encode()))
    about = {name: value for name, value in cell.items() if name != "draws"}
    return [{**about, **found} for found in PARTS[cell["part"]](cell, rng, shared)]


def rates(test: str, p: np.ndarray) -> Result:
    """How often p is at most .05 and .01, with standard errors, from p-values (n_draws,) or (n_draws, n_tests).

    Tests of one draw share its prediction or film, so that errors come from the spread over draws.
    """
    p = np.asarray(p, np.float64).reshape(len(p), -1)
    found: Result = {"test": test, "draws": len(p), "tests": int(p.size)}
    for name, level in (("05", 0.05), ("01", 0.01)):
        hits = (p <= level + 1e-12).mean(axis=1)
        chance = np.sqrt(level * (1 - level) / p.size)
        error = max(hits.std(ddof=1) / np.sqrt(len(p)), chance) if len(p) > 1 else 1.0
        found |= {f"rate_{name}": round(float(hits.mean()), 5), f"error_{name}": round(float(error), 5)}
    return found


def _runs(cell: Cell) -> tuple[int, np.ndarray | None]:
    """TRs in all, and the run of each: the length of a cell is that of each run."""
    n, runs = cell["n_trs"], cell["runs"]
    return n * runs, None if runs == 1 else np.repeat(np.arange(runs), n)


def rotation(cell: Cell, rng: np.random.Generator, shared: Path) -> list[Result]:
    from giblet.statistics.rotation import rotation_test
    from giblet.statistics.rotations import too_short

    n, run = _runs(cell)
    tr = REAL_TR if cell["noise"] == REAL else TR
    if too_short([cell["n_trs"]] * cell["runs"], tr):
        return [{"test": "p", "too_short": True}, {"test": "p_rank", "too_short": True}]
    p, p_rank, left = [], [], cell["draws"]
    while left:
        columns = min(left, 500)
        if cell["noise"] == REAL:
            columns = min(columns, 60)
            truth = np.concatenate(
                [real_bold(shared, n, rng)[:, rng.permutation(6)[:1]] for _ in range(columns)], axis=1
            )
            predicted = np.stack([stretch(other_responses(shared), n, rng) for _ in range(columns)], axis=1)
        else:
            truth, predicted = noisy(cell["noise"], n, columns, rng), predictions(cell["noise"], n, columns, rng)
        found = rotation_test(truth, predicted, tr=tr, run=run, seed=int(rng.integers(2**31)))
        p.append(found.p)
        p_rank.append(found.p_rank)
        left -= columns
    return [rates("p", np.concatenate(p)), rates("p_rank", np.concatenate(p_rank))]


def rotation_mean(cell: Cell, rng: np.random.Generator, shared: Path) -> list[Result]:
    from giblet.statistics.rotation import rotation_test
    from giblet.statistics.rotations import too_short

    n, run = _runs(cell)
    tr = REAL_TR if cell["noise"] == REAL else TR
    if too_short([cell["n_trs"]] * cell["runs"], tr):
        return [{"test": name, "too_short": True} for name in ("mean_p", "pooled_p")]
    mean_p, pooled_p = [], []
    for _ in range(cell["draws"]):
        if cell["noise"] == REAL:
            truth = real_bold(shared, n, rng)
            predicted = stretch(other_responses(shared), n, rng)[:, None].repeat(truth.shape[1], axis=1)
        else:
            truth = noisy(cell["noise"], n, VOXELS, rng, shared=SHARED)
            common, own = (predictions(cell["noise"], n, columns, rng) for columns in (1, VOXELS))
            predicted = np.sqrt(SHARED) * common + np.sqrt(1 - SHARED) * own
        found = rotation_test(truth, predicted, tr=tr, run=run, seed=int(rng.integers(2**31)))
        mean_p.append(found.mean_p)
        pooled_p.append(found.pooled_p)
    return [rates("mean_p", np.array(mean_p)), rates("pooled_p", np.array(pooled_p))]


def _codes(slow: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Codes (n_trs, n_codebooks, n_frames) of which most is said by a slow series (n_trs, n_codebooks)."""
    values = 0.9 * slow[:, :, None] + np.sqrt(1 - 0.9**2) * rng.standard_normal((*slow.shape, FRAMES))
    return np.minimum((norm.cdf(values) * ENTRIES).astype(np.int64), ENTRIES - 1)


def accuracy(cell: Cell, rng: np.random.Generator, shared: Path) -> list[Result]:
    from giblet.statistics.estimates import ScoredTRs

    n, noise, p = cell["n_trs"], cell["noise"], []
    for _ in range(cell["draws"]):
        truth = _codes(standard(films(noise, n, 2, rng)), rng)
        predicted = _codes(standard(predictions(noise, n, 2, rng)), rng)
        p.append([chance.p for chance in _chances(truth, predicted, ScoredTRs.of(n, TR))])
    return [rates("accuracy", np.array(p))]


def _chances(truth: np.ndarray, predicted: np.ndarray, trs: ScoredTRs) -> list[Chance]:
    """By codebook, as scorecards have them."""
    from giblet.evaluation.reconstruction import code_pairs

    return [trs.chance_of_pairs(code_pairs(truth[:, k], predicted[:, k])) for k in range(truth.shape[1])]


def _film(values: np.ndarray, tr: float) -> Regressor:
    from giblet.evaluation.alignment import Regressor

    return Regressor("film", values, np.arange(len(values) + 1) * tr)


def lag(cell: Cell, rng: np.random.Generator, shared: Path) -> list[Result]:
    from giblet.alignment.lags import HIGH_PASS
    from giblet.errors import AlignmentError
    from giblet.evaluation.alignment import check

    n, noise, one, mean = cell["n_trs"], cell["noise"], [], []
    tr = REAL_TR if noise == REAL else TR
    for _ in range(cell["draws"]):
        if noise == REAL:
            film, bold = stretch(other_stories(shared), n, rng), real_bold(shared, n, rng)
        else:
            film, bold = films(noise, n, 1, rng)[:, 0], noisy(noise, n, VOXELS, rng, shared=SHARED)
        try:
            found = check(
                _film(film, tr), bold, tr, targets=[str(k) for k in range(bold.shape[1])], trim=True,
                n_surrogates=SURROGATES["null"], high_pass=HIGH_PASS if cell["high_pass"] else None,
                seed=int(rng.integers(2**31)),
            ).scan  # fmt: skip
        except AlignmentError:
            return [{"test": name, "too_short": True} for name in ("one region", "mean")]
        one.append(found.p)
        mean.append(found.mean_p)
    return [rates("one region", np.array(one)), rates("mean", np.array(mean))]


def lag_power(cell: Cell, rng: np.random.Generator, shared: Path) -> list[Result]:
    """How often a planted response is found; with what is in checkouts of before the rotation test too."""
    from giblet.alignment import convolve_hrf
    from giblet.evaluation.alignment import check

    n, p = cell["n_trs"], []
    for _ in range(cell["draws"]):
        film = plain("ar .6", n, 1, rng)
        signal = convolve_hrf(film - film.mean(), tr=TR, kind="continuous").repeat(4, axis=1)
        bold = planted(cell["noise"], cell["r"], signal, rng)
        found = check(
            _film(film[:, 0], TR), bold, TR, targets=list("abcd"), trim=True, n_surrogates=SURROGATES["power"],
            seed=int(rng.integers(2**31)),
        )  # fmt: skip
        p.append(found.scan.p)
    return [rates("one region", np.array(p))]


def rotation_power(cell: Cell, rng: np.random.Generator, shared: Path) -> list[Result]:
    from giblet.statistics.rotation import rotation_test

    p = []
    for _ in range(cell["draws"] // 500 or 1):
        signal = predictions("ar .6", cell["n_trs"], min(500, cell["draws"]), rng)
        p.append(rotation_test(planted(cell["noise"], cell["r"], signal, rng), signal, tr=TR).p)
    return [rates("p", np.concatenate(p))]


def held(what: str, intervals: np.ndarray, truth: float) -> Result:
    """How many intervals (n_draws, 2) hold the truth, and how wide the middle one is."""
    inside = (intervals[:, 0] <= truth) & (truth <= intervals[:, 1])
    error = np.sqrt(0.95 * 0.05 / len(inside))
    return {
        "test": what, "draws": len(inside), "held": round(float(inside.mean()), 4), "error": round(float(error), 4),
        "width": round(float(np.median(np.diff(intervals, axis=1))), 3), "truth": round(float(truth), 3),
    }  # fmt: skip


def coverage(cell: Cell, rng: np.random.Generator, shared: Path) -> list[Result]:
    """Of correlations. What should be held is their mean over the draws, as drifts and HRFs move it a little."""
    from giblet.statistics.correlation import pooled_correlation
    from giblet.statistics.estimates import ScoredTRs
    from giblet.statistics.rotation import rotation_test

    n, noise, r = cell["n_trs"], cell["noise"], cell["r"]
    found: dict[str, list[tuple[float, float, float]]] = {"one voxel": [], "mean over voxels": [], "all values": []}
    trs = ScoredTRs.of(n, TR)
    for _ in range(cell["draws"]):
        signal = predictions(noise, n, VOXELS, rng)
        apart = standard(noisy(noise, n, VOXELS, rng, shared=SHARED))
        truth = r * standard(signal) + np.sqrt(1 - r**2) * apart
        for name, columns in (("one voxel", slice(1)), ("mean over voxels", slice(None))):
            test = rotation_test(truth[:, columns], signal[:, columns], tr=TR)
            found[name].append((test.mean, *test.mean_interval))
        own = pooled_correlation(truth, signal)
        estimate = trs.estimate(own.r, own.influence, -1, 1)
        found["all values"].append((own.r, estimate.low, estimate.high))  # type: ignore[arg-type]
    results = []
    for name, values in found.items():
        each = np.array(values)
        results.append(held(name, each[:, 1:], float(np.tanh(np.arctanh(each[:, 0]).mean()))))
    return results


def share_coverage(cell: Cell, rng: np.random.Generator, shared: Path) -> list[Result]:
    """Of a share of right codes: in each TR as many of its frames are right as a slow series and chance say."""
    from giblet.statistics.estimates import ScoredTRs

    n, limit, trs, found = cell["n_trs"], norm.ppf(cell["share"]), ScoredTRs.of(cell["n_trs"], TR), []
    for _ in range(cell["draws"]):
        slow = plain(cell["noise"], n, 1, rng)
        frames = np.sqrt(0.5) * slow + np.sqrt(0.5) * rng.standard_normal((n, FRAMES))
        estimate = trs.mean((frames < limit).mean(axis=1))
        found.append((estimate.low, estimate.high))
    return [held("share of right codes", np.array(found), cell["share"])]


def lag_interval(cell: Cell, rng: np.random.Generator, shared: Path) -> list[Result]:
    """How many intervals of the best lag hold 0, where the response was planted."""
    from giblet.alignment import convolve_hrf
    from giblet.evaluation.alignment import check

    found = []
    for _ in range(cell["draws"]):
        film = plain("ar .6", cell["n_trs"], 1, rng)
        bold = planted(cell["noise"], cell["r"], convolve_hrf(film - film.mean(), tr=TR, kind="continuous"), rng)
        scan = check(
            _film(film[:, 0], TR), bold, TR, targets=["a"], trim=True, n_surrogates=19, seed=int(rng.integers(2**31))
        ).scan
        found.append(scan.mean_interval)
    return [held("best lag", np.array(found), 0.0)]


def _verdicts(scores: Sequence[Score]) -> tuple[list[float], bool]:
    from giblet.evaluation.scorecard import Scorecard

    card = Scorecard.of({}, scores)
    return [one.shifted.p for one in card.scores if one.shifted and one.shifted.p is not None], any(
        bool(one.above_nulls) for one in card.scores
    )


def collapsed_codes(cell: Cell, rng: np.random.Generator, shared: Path) -> list[Result]:
    """A decoder that says one code in every frame, in 8 codebooks."""
    from giblet.evaluation.score import Score
    from giblet.statistics.estimates import Estimate, ScoredTRs

    n, p, above = cell["n_trs"], [], []
    for _ in range(cell["draws"]):
        truth = _codes(films(cell["noise"], n, CODEBOOKS, rng), rng)
        constant = np.broadcast_to(truth[rng.integers(n), :, :1], truth.shape)
        chances = _chances(truth, constant, ScoredTRs.of(n, TR))
        scores = [Score(str(k), Estimate(0.1), shifted=chance) for k, chance in enumerate(chances)]
        found, any_above = _verdicts(scores)
        p.append(found)
        above.append(any_above)
    return [{**rates("codes", np.array(p)), "least_p": float(np.min(p)), "above_all": float(np.mean(above))}]


def collapsed_latents(cell: Cell, rng: np.random.Generator, shared: Path) -> list[Result]:
    """A decoder that says one latent in every frame."""
    from giblet.evaluation.compared import compare
    from giblet.evaluation.score import MEAN
    from giblet.statistics.estimates import ScoredTRs

    n, p, above = cell["n_trs"], [], []
    for _ in range(cell["draws"]):
        truth = films(cell["noise"], n, CODEBOOKS, rng)[:, :, None] + rng.standard_normal((n, CODEBOOKS, FRAMES))
        constant, mean = (np.broadcast_to(rng.standard_normal((1, CODEBOOKS, 1)), truth.shape) for _ in range(2))
        scores = compare("latent r", truth.astype(np.float32), constant.astype(np.float32), {MEAN: mean},
                         ScoredTRs.of(n, TR), same=True)  # fmt: skip
        found, any_above = _verdicts(scores)
        p.append(found)
        above.append(any_above)
    return [{**rates("latents", np.array(p)), "least_p": float(np.min(p)), "above_all": float(np.mean(above))}]


def group(cell: Cell, rng: np.random.Generator, shared: Path) -> list[Result]:
    """Subjects who share part of their noise, and one prediction; a t-test over them beside the joint rotations."""
    from giblet.evaluation.encoding import score_encoding
    from giblet.evaluation.group_scorecard import group_scorecard
    from giblet.evaluation.scorecard import Scorecard
    from giblet.statistics.estimates import ScoredTRs

    n, share, trs, joint, naive = cell["n_trs"], cell["shared"], ScoredTRs.of(cell["n_trs"], TR), [], []
    for _ in range(cell["draws"]):
        common, prediction = plain("ar .6", n, 1, rng), predictions("ar .6", n, 1, rng)
        brains = np.sqrt(share) * common + np.sqrt(1 - share) * plain("ar .6", n, cell["subjects"], rng)
        scores = [score_encoding(brains[:, [k]], prediction, trs) for k in range(cell["subjects"])]
        cards = [Scorecard.of({"subject": str(k)}, [], one) for k, one in enumerate(scores)]
        together = group_scorecard(cards).encoding
        assert together is not None
        joint.append(together.chance.p)
        r = [one.mean.value for one in scores if one.mean.value is not None]
        assert len(r) == len(scores)
        naive.append(ttest_1samp(np.arctanh(r), 0, alternative="greater").pvalue)
    return [rates("joint rotations", np.array(joint)), rates("t-test over subjects", np.array(naive))]


def settling_lag(cell: Cell, rng: np.random.Generator, shared: Path) -> list[Result]:
    from giblet.alignment.lags import HIGH_PASS
    from giblet.evaluation.alignment import check

    n = cell["n_trs"]
    p: dict[str, list[float]] = {"default": [], "no high-pass": []}
    for _ in range(cell["draws"]):
        film, bold = (plain("ar .6", n, 1, rng) + settling(cell["seconds"], n) for _ in range(2))
        for name, high_pass in (("default", HIGH_PASS), ("no high-pass", None)):
            found = check(
                _film(film[:, 0], TR), bold, TR, targets=["a"], trim=True, n_surrogates=SURROGATES["null"],
                high_pass=high_pass, seed=int(rng.integers(2**31)),
            )  # fmt: skip
            p[name].append(found.scan.mean_p)
    return [rates(name, np.array(values)) for name, values in p.items()]


def settling_rotation(cell: Cell, rng: np.random.Generator, shared: Path) -> list[Result]:
    from giblet.alignment import convolve_hrf
    from giblet.statistics.rotation import rotation_test

    n, p = cell["n_trs"], []
    for _ in range(cell["draws"] // 500 or 1):
        columns = min(500, cell["draws"])
        film, bold = (plain("ar .6", n, columns, rng) + settling(cell["seconds"], n) for _ in range(2))
        p.append(rotation_test(bold, convolve_hrf(film - film.mean(axis=0), tr=TR, kind="continuous"), tr=TR).p)
    return [rates("p", np.concatenate(p))]


PARTS: dict[str, Callable[[Cell, np.random.Generator, Path], list[Result]]] = {
    "rotation": rotation,
    "rotation mean": rotation_mean,
    "accuracy": accuracy,
    "lag": lag,
    "lag power": lag_power,
    "rotation power": rotation_power,
    "coverage": coverage,
    "share coverage": share_coverage,
    "lag interval": lag_interval,
    "collapsed codes": collapsed_codes,
    "collapsed latents": collapsed_latents,
    "group": group,
    "settling lag": settling_lag,
    "settling rotation": settling_rotation,
}
