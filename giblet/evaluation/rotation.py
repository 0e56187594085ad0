"""Is a prediction better than chance? It is rotated in time by every whole number of TRs and compared with itself.

A rotated prediction keeps its own rhythm and loses the truth's, so that neighbouring TRs need not be independent. Three
steps make the rate of false positives what it should be on BOLD (docs/calibration.md has the rates):

1. *Drifts go*, on both sides and in each run: the mean, a straight line, a parabola, and cosines slower than the
   high-pass. What is left has no step where a rotation joins the end of a run to its beginning.
2. *One filter prewhitens both sides*: ``y[t] - phi * y[t - 1]`` with the `phi` of the truth, column by column. Chance
   is then as narrow as it seems, and where noise is slow more power is left than without.
3. *All rotations count*, near ones included: those further than an HRF alone are no group, and look too narrow where
   runs are short.

References
----------
Nichols, Holmes (2002). Nonparametric permutation tests for functional neuroimaging. Human Brain Mapping 15, 1-25.
Woolrich, Ripley, Brady, Smith (2001). Temporal autocorrelation in univariate linear modeling of FMRI data. NeuroImage
14, 1370-1386.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

import numpy as np
from scipy import fft
from scipy.stats import norm
from scipy.stats import t as student

from giblet.alignment.prewhitening import lag_one, slow_basis, whitened, without_drifts
from giblet.data.splits import HRF_SECONDS
from giblet.errors import InputError
from giblet.notebook import html_table
from giblet.runs import run_slices
from giblet.timing import check_tr, shown

if TYPE_CHECKING:
    import pandas as pd

HIGH_PASS = 1 / 128
"""Hz. Slower than that, BOLD is mostly drift."""
SHORTEST_RUN = 2 * HRF_SECONDS
"""Seconds. Of a shorter run no rotation brings a TR further from its place than an HRF is long, to both sides."""
LEAST_FREEDOM = 20
"""Degrees of freedom that a test needs once drifts are gone; then a rank can reach .05 too."""
DRAWS = 2000
"""Joint rotations of several runs, of which there are too many to try all."""
COLUMNS_AT_A_TIME = 512
SHOWN = 50
"""Up to so many columns are listed in a notebook."""
ROUNDING = 1e-9
"""Correlations that differ by less are equal."""


@dataclass(frozen=True, repr=False)
class RotationTest:
    """Correlations of truth and prediction, and their chance under rotation, column by column and for the mean."""

    r: np.ndarray
    """float64 (n_columns,): correlation without drifts, of several runs the mean weighted by their TRs. 0 where the
    prediction never changes, NaN where the truth does not."""
    p: np.ndarray
    """float64 (n_columns,): one-sided, by the normal law of Fisher's z about 0 with the spread of all rotations."""
    p_rank: np.ndarray
    """float64 (n_columns,): share of rotations, none included, that do as well. At least ``1 / n_rotations``."""
    mean_by_rotation: np.ndarray
    """float64 (n_rotations,): mean of `r` over the columns that have one, all rotated together; first as predicted."""
    whitened_by_rotation: np.ndarray
    """float64 (n_rotations,): the same after prewhitening, from which the p-values of the mean come."""
    pooled_by_rotation: np.ndarray
    """float64 (n_rotations,): correlation of all values of all columns at once, each about its mean, prewhitened."""

    @property
    def n_rotations(self) -> int:
        """Rotations compared, the one by nothing included."""
        return len(self.mean_by_rotation)

    @property
    def mean(self) -> float:
        """Mean of `r` over the columns whose truth changes."""
        return float(self.mean_by_rotation[0])

    @property
    def mean_p(self) -> float:
        """Of the mean over columns, as `p`."""
        return float(normal_p(self.whitened_by_rotation[:, None])[0])

    @property
    def mean_p_rank(self) -> float:
        """Of the mean over columns, as `p_rank`."""
        return float(rank_p(self.whitened_by_rotation[:, None])[0])

    @property
    def pooled_p(self) -> float:
        """Of all columns pooled, as `p`."""
        return float(normal_p(self.pooled_by_rotation[:, None])[0])

    @property
    def mean_interval(self) -> tuple[float, float]:
        """95 % interval of the mean, by the spread of Fisher's z over rotations.

        The spread is that of ``1 / spread**2`` independent TRs; where these are few, it is uncertain itself, so that
        the reach is Student's and not normal.
        """
        z, reach = fisher_z(self.mean_by_rotation), spread_reach(self.mean_by_rotation)
        return float(np.tanh(z[0] - reach)), float(np.tanh(z[0] + reach))

    def __repr__(self) -> str:
        """Mean r with its interval and p."""
        low, high = self.mean_interval
        return (
            f"<RotationTest of {len(self.r)} columns by {self.n_rotations} rotations: mean r {self.mean:.3f} "
            f"({low:.3f} to {high:.3f}), p = {self.mean_p:.3g}>"
        )

    def _repr_html_(self) -> str:
        """The mean over columns, and the columns if they are few, for notebooks."""
        rows: list[tuple[object, ...]] = [("mean", self.mean, self.mean_p, self.mean_p_rank)]
        columns = self.to_pandas()
        if len(columns) <= SHOWN:
            rows += columns.itertuples()
        return html_table(repr(self).strip("<>"), ("column", "r", "p", "p, by rank"), rows)

    def to_pandas(self) -> pd.DataFrame:
        """Correlation of each column, and its chance.

        Returns
        -------
        pandas.DataFrame
            ``r``, ``p`` and ``p_rank`` by ``column``.
        """
        import pandas as pd

        return pd.DataFrame({"r": self.r, "p": self.p, "p_rank": self.p_rank}).rename_axis("column")


def rotation_test(
    truth: np.ndarray,
    predicted: np.ndarray,
    *,
    tr: float,
    run: Sequence[int] | np.ndarray | None = None,
    high_pass: float | None = HIGH_PASS,
    seed: int = 0,
) -> RotationTest:
    """Correlate truth and prediction in each column, and tell the result from chance by rotating the prediction.

    ``p = 1 - Phi(z[0] / sqrt(mean(z**2)))``, where ``z[k]`` is Fisher's z of the correlation, prewhitened, once the
    prediction is rotated by `k` TRs, and ``z[0]`` that of the prediction as it is.

    Parameters
    ----------
    truth, predicted : ndarray of float, shape (n_trs, n_columns)
        Successive TRs of no training, such as BOLD of each voxel.
    tr : float
        Repetition time in seconds.
    run : array_like, shape (n_trs,), optional
        Run, or stretch of successive TRs, of each TR. Drifts are removed, and predictions rotated, within each.
    high_pass : float or None
        In Hz: slower cosines are removed from both sides. None: only mean, line and parabola are.
    seed : int
        Of the joint draws, where there are several runs: each run is rotated by a draw of its own.

    Returns
    -------
    RotationTest

    Raises
    ------
    InputError
        If shapes differ, values are not finite, the TR or the high-pass cannot be used, a run is shorter than twice an
        HRF, or the high-pass leaves fewer than 20 degrees of freedom.
    AlignmentError
        If `run` is not one label for each TR, or a run comes in pieces.

    See Also
    --------
    giblet.evaluation.encoding.voxelwise_r : the correlations alone, with drifts.
    giblet.evaluation.encoding.fit_ridge : a prediction of BOLD to test.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> truth = rng.standard_normal((200, 3))
    >>> predicted = rng.standard_normal((200, 3))
    >>> predicted[:, 0] += truth[:, 0]
    >>> rotation_test(truth, predicted, tr=1.5).p.round(2).tolist()
    [0.0, 0.24, 0.09]
    """
    truth, predicted = (flattened(values) for values in (truth, predicted))
    if truth.ndim != 2 or truth.shape != predicted.shape:
        raise InputError(
            f"truth has shape {truth.shape}, prediction {predicted.shape}: two of shape (n_trs, n_columns) are needed"
        )
    for name, values in (("truth", truth), ("prediction", predicted)):
        if not np.isfinite(values).all():
            raise InputError(f"the {name} holds {int((~np.isfinite(values)).sum())} NaN or infinite values: mask them")
    parts = run_slices(len(truth), run)
    why = too_short([part.stop - part.start for part in parts], tr, high_pass)
    if why:
        raise InputError(why)
    bases = [basis_of(part.stop - part.start, tr, high_pass) for part in parts]
    draws = joint_draws([part.stop - part.start for part in parts], seed)
    n_columns = truth.shape[1]
    r, p, p_rank = (np.empty(n_columns) for _ in range(3))
    totals = np.zeros((2, len(draws)))
    pooled = [_Pool(part.stop - part.start) for part in parts]
    for start in range(0, n_columns, COLUMNS_AT_A_TIME):
        block = slice(start, start + COLUMNS_AT_A_TIME)
        pairs = [
            (without_drifts(truth[part, block], basis), without_drifts(predicted[part, block], basis))
            for part, basis in zip(parts, bases, strict=True)
        ]
        alive = np.any([np.any(x != 0, axis=0) for x, _ in pairs], axis=0)
        phi = lag_one([x for x, _ in pairs])
        plain = _rotated(pairs, draws)
        whites = [(_centred(whitened(x, phi)), _centred(whitened(y, phi))) for x, y in pairs]
        white = _rotated(whites, draws, pooled)
        r[block] = np.where(alive, plain[0], np.nan)
        p[block], p_rank[block] = (np.where(alive, some, np.nan) for some in (normal_p(white), rank_p(white)))
        totals += [plain[:, alive].sum(axis=1), white[:, alive].sum(axis=1)]
    n_alive = max(1, int(np.isfinite(r).sum()))
    weights = np.array([pool.n_trs for pool in pooled]) / len(truth)
    of_all = sum(w * pool.r[shifts] for w, pool, shifts in zip(weights, pooled, draws.T, strict=True))
    return RotationTest(r, p, p_rank, totals[0] / n_alive, totals[1] / n_alive, np.asarray(of_all))


def too_short(lengths: Sequence[int], tr: float, high_pass: float | None = HIGH_PASS) -> str | None:
    """Why runs of these numbers of TRs allow no rotation test, with the number that would; None where they do.

    Parameters
    ----------
    lengths : sequence of int
        TRs of each run or stretch.
    tr : float
        Repetition time in seconds.
    high_pass : float or None
        In Hz: slower cosines are drifts too. None: only mean, line and parabola are.

    Returns
    -------
    str or None

    Raises
    ------
    InputError
        If the TR or the high-pass cannot be used.
    """
    seconds = float(check_tr(tr))
    if high_pass is not None and not 0 < high_pass < 0.5 / seconds:
        raise InputError(f"high_pass is {high_pass:g} Hz: it must lie between 0 and {0.5 / seconds:g} Hz, or be None")
    shortest, least = min(lengths), ceil(SHORTEST_RUN / seconds)
    if shortest < least:
        return (
            f"a run or stretch of {shortest} TRs ({shown(shortest * seconds)} s) is too short to be rotated: at least "
            f"{least} TRs, twice an HRF, are needed"
        )
    freedom = sum(length - basis_of(length, tr, high_pass).shape[1] for length in lengths)
    if freedom < LEAST_FREEDOM:
        needed = next(n for n in range(min(lengths), 10**6) if n - basis_of(n, tr, high_pass).shape[1] >= LEAST_FREEDOM)
        return (
            f"{sum(lengths)} TRs leave {freedom} degrees of freedom once drifts are gone, {LEAST_FREEDOM} are needed: "
            f"use {needed} TRs or more, or a lower high_pass"
        )
    return None


def flattened(values: np.ndarray) -> np.ndarray:
    """Series as float64; a column whose values differ by no more than the rounding of their type is exactly constant.

    Parameters
    ----------
    values : array_like, shape (n_trs, ...)

    Returns
    -------
    ndarray of float64, shape (n_trs, ...)
        A copy.
    """
    values = np.asarray(values)
    precision = np.finfo(values.dtype).eps if values.dtype.kind == "f" else 0.0
    values = np.array(values, np.float64)
    if values.ndim and values.size:
        low, high = values.min(axis=0), values.max(axis=0)
        with np.errstate(invalid="ignore"):
            flat = high - low <= 4 * precision * np.maximum(np.abs(low), np.abs(high))
        if np.any(flat):
            values[:, flat] = values[0, flat]
    return values


def spread_reach(by_rotation: np.ndarray) -> float:
    """Half the width of the 95 % interval of Fisher's z.

    Parameters
    ----------
    by_rotation : ndarray of float, shape (n_rotations,)
        Correlations, first that of the prediction as it is.

    Returns
    -------
    float
        0 where every rotation correlates with 0.
    """
    variance = float(np.mean(fisher_z(by_rotation) ** 2))
    return float(student.ppf(0.975, max(1.0, 1 / variance)) * np.sqrt(variance)) if variance > 0 else 0.0


def normal_p(by_rotation: np.ndarray) -> np.ndarray:
    """One-sided p of the first row by the normal law of Fisher's z about 0, with the spread over all rows.

    Parameters
    ----------
    by_rotation : ndarray of float, shape (n_rotations, n_columns)
        Correlations, first those of the prediction as it is.

    Returns
    -------
    ndarray of float64, shape (n_columns,)
        1 where no rotation makes a difference.

    See Also
    --------
    rank_p : without a law, as a share of rotations.
    """
    z = fisher_z(by_rotation)
    spread = np.sqrt(np.mean(z**2, axis=0))
    return np.where(spread > ROUNDING, norm.sf(z[0] / np.where(spread > 0, spread, 1)), 1.0)


def rank_p(by_rotation: np.ndarray) -> np.ndarray:
    """Share of the rows that are at least as large as the first, which is one of them.

    Parameters
    ----------
    by_rotation : ndarray of float, shape (n_rotations, n_columns)
        Any score, first that of the prediction as it is.

    Returns
    -------
    ndarray of float64, shape (n_columns,)
        At least ``1 / n_rotations``.

    See Also
    --------
    normal_p : by the normal law, for correlations.
    """
    return (by_rotation >= by_rotation[0] - ROUNDING).mean(axis=0)


def fisher_z(r: np.ndarray) -> np.ndarray:
    """Fisher's z, finite for a perfect correlation too.

    Parameters
    ----------
    r : ndarray of float, of any shape
        Correlations.

    Returns
    -------
    ndarray of float64, the shape of `r`
    """
    return np.arctanh(np.clip(np.asarray(r, np.float64), ROUNDING - 1, 1 - ROUNDING))


def joint_draws(lengths: Sequence[int], seed: int) -> np.ndarray:
    """By how many TRs runs are rotated, the first time by none.

    Parameters
    ----------
    lengths : sequence of int
        TRs of each run.
    seed : int
        Of the draws, where there are several runs.

    Returns
    -------
    ndarray of int64, shape (n_rotations, n_runs)
        One run: all its rotations. Several: none, and 2000 draws of one rotation for each.
    """
    if len(lengths) == 1:
        return np.arange(lengths[0])[:, None]
    draws = np.random.default_rng(seed).integers(0, lengths, (DRAWS, len(lengths)))
    return np.vstack([np.zeros((1, len(lengths)), np.int64), draws])


def basis_of(n_trs: int, tr: float, high_pass: float | None) -> np.ndarray:
    """Orthonormal basis of a run's mean and drifts.

    Parameters
    ----------
    n_trs : int
        TRs of the run.
    tr : float
        Repetition time in seconds.
    high_pass : float or None
        In Hz: slower cosines are drifts too. None: only mean, line and parabola are.

    Returns
    -------
    ndarray of float64, shape (n_trs, n_drifts)
        The mean counts as one of them.

    See Also
    --------
    without_drifts : series less what is in its span.
    """
    return slow_basis(np.arange(n_trs), tr=tr, detrend=True, high_pass=high_pass)


def _centred(values: np.ndarray) -> np.ndarray:
    return values - values.mean(axis=0)


class _Pool:
    """Sums over all columns of a run, from which the correlation of all its values comes."""

    def __init__(self, n_trs: int) -> None:
        self.n_trs, self.cross, self.powers = n_trs, np.zeros(n_trs), np.zeros(2)

    @property
    def r(self) -> np.ndarray:
        """Correlation by rotation, float64 (n_trs,); 0 where a side does not vary."""
        size = float(np.sqrt(self.powers.prod()))
        return self.cross / size if size else self.cross * 0


def _rotated(
    pairs: Sequence[tuple[np.ndarray, np.ndarray]], draws: np.ndarray, pools: Sequence[_Pool] | None = None
) -> np.ndarray:
    """Correlation in each column by rotation, float64 (n_rotations, n_columns); 0 where a side does not vary."""
    weights = np.array([len(x) for x, _ in pairs], np.float64)
    total = np.zeros((len(draws), pairs[0][0].shape[1]))
    for run, ((x, y), weight, shifts) in enumerate(zip(pairs, weights / weights.sum(), draws.T, strict=True)):
        cross = fft.irfft(fft.rfft(x, axis=0) * fft.rfft(y, axis=0).conj(), len(x), axis=0)
        powers = np.stack([(x * x).sum(axis=0), (y * y).sum(axis=0)])
        if pools is not None:
            pools[run].cross += cross.sum(axis=1)
            pools[run].powers += powers.sum(axis=1)
        size = np.sqrt(powers.prod(axis=0))
        total += weight * np.divide(cross, size, out=np.zeros_like(cross), where=size > 0)[shifts]
    return total
