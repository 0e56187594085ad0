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
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from giblet.notebook import html_table
from giblet.statistics.correction import (
    false_discovery_q,
    family_wise_p,
    family_wise_threshold,
    fisher_z,
    normal_p,
    rank_p,
    spread_reach,
    standardised,
)
from giblet.statistics.rotations import HIGH_PASS, Rotations

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 50
"""Up to so many columns are listed in a notebook."""


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
    z: np.ndarray
    """float64 (n_columns,): what `p` is read from, Fisher's z after prewhitening, in units of `spread`."""
    spread: np.ndarray
    """float64 (n_columns,): of Fisher's z over all rotations, about 0."""
    highest_by_rotation: np.ndarray
    """float64 (n_rotations,): greatest `r` over the columns, all rotated together; first as predicted."""
    highest_z_by_rotation: np.ndarray
    """float64 (n_rotations,): greatest `z` over the columns, all rotated together; first as predicted."""

    @cached_property
    def q(self) -> np.ndarray:
        """float64 (n_columns,): `p` corrected for the number of columns by the false discovery rate; NaN where `p` is.

        See :func:`false_discovery_q`.
        """
        return false_discovery_q(self.p)

    @cached_property
    def p_fwe(self) -> np.ndarray:
        """float64 (n_columns,): `p` corrected for the number of columns by the family-wise error; NaN where `p` is.

        The share of rotations, none included, in which the best of all columns has a `z` as high as this column. At
        least ``1 / n_rotations``.
        """
        return family_wise_p(self.z, self.highest_z_by_rotation)

    @cached_property
    def threshold_fwe(self) -> float:
        """The `r` that the best of all columns reaches in 5 % of rotations, none included.

        A map of `r` cut there should have a false voxel in 5 % of studies in which nothing answers, and has one in 6
        to 10 % (docs/encoding_calibration.md). `p_fwe` is the better test: slow columns, whose `r` is far from 0 by
        chance, set the threshold for all, and they do not there.
        """
        return family_wise_threshold(self.highest_by_rotation)

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
            ``r``, ``p``, ``p_rank``, ``q`` and ``p_fwe`` by ``column``.
        """
        import pandas as pd

        names = ("r", "p", "p_rank", "q", "p_fwe")
        return pd.DataFrame({name: getattr(self, name) for name in names}).rename_axis("column")


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
    giblet.encoding.rotation_test_cv : of predictions by several folds that learned from each other.
    giblet.evaluation.encoding.voxelwise_r : the correlations alone, with drifts.
    giblet.encoding.fit_ridge : a prediction of BOLD to test.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> truth = rng.standard_normal((200, 3))
    >>> predicted = rng.standard_normal((200, 3))
    >>> predicted[:, 0] += truth[:, 0]
    >>> rotation_test(truth, predicted, tr=1.5).p.round(2).tolist()
    [0.0, 0.24, 0.09]
    """
    from scipy.special import ndtr

    rotations = Rotations.of(truth, predicted, tr=tr, run=run, high_pass=high_pass, seed=seed)
    n_columns, n_rotations = np.shape(truth)[1], len(rotations.draws)
    r, p, p_rank = (np.empty(n_columns) for _ in range(3))
    z, spread = np.empty(n_columns), np.empty(n_columns)
    highest, totals, pool = np.full((2, n_rotations), -np.inf), np.zeros((2, n_rotations)), rotations.pool()
    for block, null in rotations.nulls(truth, predicted):
        r[block] = np.where(null.alive, null.plain[:, 0], np.nan)
        by_rotation, of_block = standardised(null.white.T)
        some = by_rotation[0], of_block, ndtr(-by_rotation[0]), rank_p(null.white.T)
        z[block], spread[block], p[block], p_rank[block] = (np.where(null.alive, one, np.nan) for one in some)
        totals += [null.alive @ null.plain, null.alive @ null.white]
        for best, values in zip(highest, (null.plain, by_rotation.T), strict=True):
            values = values if null.alive.all() else values[null.alive]
            np.maximum(best, values.max(axis=0, initial=-np.inf), out=best)
        pool.add(null)
    n_alive = max(1, int(np.isfinite(r).sum()))
    means = totals / n_alive
    return RotationTest(r, p, p_rank, means[0], means[1], pool.by_rotation(), z, spread, *highest)
