"""Intervals and chance for series by TR, whose neighbours are alike and must not be counted as independent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import ceil
from typing import Any

import numpy as np
from scipy.stats import binomtest

from giblet.data.splits import HRF_SECONDS
from giblet.errors import InputError
from giblet.timing import exact

BLOCK_SECONDS = 15.0
"""Stretches that are drawn together: longer than a BOLD response is wide, and than most sentences."""
MIN_BLOCKS = 5
"""With fewer blocks an interval would be a guess."""
CONFIDENCE = 0.95
COLUMNS_AT_A_TIME = 256
"""Voxels whose correlations in all draws are held in memory together."""


@dataclass(frozen=True)
class Estimate:
    """A number, how sure it is, and where there is none, why."""

    value: float | None
    low: float | None = None
    """Lower end of the 95 % interval."""
    high: float | None = None
    why: str | None = None
    """Why the value is not defined."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"value": self.value, "low": self.low, "high": self.high, **({"why": self.why} if self.why else {})}


@dataclass(frozen=True)
class Correlations:
    """One correlation a column, and which columns have one."""

    r: np.ndarray
    """float64 (n_columns,); NaN where not `defined`."""
    defined: np.ndarray
    """bool (n_columns,): False where truth or prediction never changes."""

    @property
    def n_undefined(self) -> int:
        """Columns without a correlation."""
        return int((~self.defined).sum())

    @property
    def mean(self) -> float | None:
        """Mean over the columns that have one; None if none has."""
        return float(self.r[self.defined].mean()) if self.defined.any() else None

    @property
    def median(self) -> float | None:
        """Median over the columns that have one; None if none has."""
        return float(np.median(self.r[self.defined])) if self.defined.any() else None


def correlations(truth: np.ndarray, predicted: np.ndarray) -> Correlations:
    """Pearson correlation over TRs, column by column.

    Parameters
    ----------
    truth, predicted : ndarray, shape (n_trs, n_columns)

    Returns
    -------
    Correlations
        A column that never changes has no correlation, and says so.

    Raises
    ------
    InputError
        If the shapes differ, hold fewer than 3 TRs, or values are not finite.
    """
    truth, predicted = _checked(truth, predicted)
    if truth.ndim != 2:
        raise InputError(f"series have shape {truth.shape}: (n_trs, n_columns) is needed")
    r = pearson(_products(_centred(truth, 0), _centred(predicted, 0)).sum(axis=0))
    return Correlations(r, np.isfinite(r))


def _checked(truth: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    truth, predicted = np.asarray(truth, np.float64), np.asarray(predicted, np.float64)
    if truth.shape != predicted.shape or truth.ndim < 2 or len(truth) < 3:
        raise InputError(
            f"truth has shape {truth.shape}, prediction {predicted.shape}: equal shapes of at least 3 TRs are needed"
        )
    for name, values in {"truth": truth, "prediction": predicted}.items():
        if not np.isfinite(values).all():
            raise InputError(f"the {name} holds {int((~np.isfinite(values)).sum())} NaN or infinite values: mask them")
    return truth, predicted


def _centred(values: np.ndarray, axis: int | None) -> np.ndarray:
    """Without the mean, which correlation ignores; what single precision leaves of a constant becomes 0."""
    size = np.abs(values).max(axis=axis, keepdims=True)
    centred = values - values.mean(axis=axis, keepdims=True)
    varies = np.abs(centred).max(axis=axis, keepdims=True) > 4 * np.finfo(np.float32).eps * size
    return centred * varies


def _products(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=-1)


def pearson(sums: np.ndarray) -> np.ndarray:
    """Correlation from sums of n, x, y, xx, yy, xy on the last axis; NaN where x or y does not vary."""
    n, x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        cov, var_x, var_y = xy - x * y / n, xx - x * x / n, yy - y * y / n
        varies = (var_x > 1e-10 * xx) & (var_y > 1e-10 * yy) & (xx > 0) & (yy > 0)
        return np.where(varies, np.clip(cov / np.sqrt(var_x * var_y), -1, 1), np.nan)


def sums_by_tr(truth: np.ndarray, predicted: np.ndarray, *, columns: bool = False) -> np.ndarray:
    """What :func:`pearson` needs, TR by TR, so that TRs can be drawn anew.

    Parameters
    ----------
    truth, predicted : ndarray, shape (n_trs, ...)
    columns : bool
        Each column for itself, of (n_trs, n_columns), instead of all values pooled.

    Returns
    -------
    ndarray of float64, shape (n_trs, 6), or (n_trs, n_columns, 6)
    """
    truth, predicted = _checked(truth, predicted)
    if columns:
        return _products(_centred(truth, 0), _centred(predicted, 0))
    x, y = (_centred(values, None).reshape(len(values), -1) for values in (truth, predicted))
    return np.stack(
        [np.full(len(x), float(x.shape[1])), x.sum(1), y.sum(1), (x * x).sum(1), (y * y).sum(1), (x * y).sum(1)], -1
    )


def mean_r_of_draws(truth: np.ndarray, predicted: np.ndarray, plan: Resampling) -> np.ndarray:
    """Mean correlation over columns in each draw of TRs; each draw with means and deviations of its own.

    Parameters
    ----------
    truth, predicted : ndarray, shape (n_trs, n_columns)
    plan : Resampling

    Returns
    -------
    ndarray of float64, shape (n_draws,)
        Of the columns that vary in the draw; NaN where none does.

    Raises
    ------
    InputError
        As :func:`correlations`.
    """
    total, n = np.zeros(plan.n_draws), np.zeros(plan.n_draws)
    for at in range(0, truth.shape[1], COLUMNS_AT_A_TIME):
        part = slice(at, at + COLUMNS_AT_A_TIME)
        r = pearson(np.tensordot(plan.counts, sums_by_tr(truth[:, part], predicted[:, part], columns=True), axes=1))
        there = np.isfinite(r)
        total += np.where(there, r, 0).sum(axis=1)
        n += there.sum(axis=1)
    return np.where(n > 0, total / np.maximum(n, 1), np.nan)


class Resampling:
    """How the TRs of a test part are drawn anew, and by how much a prediction is shifted to be wrong.

    Parameters
    ----------
    n_trs : int
        TRs of the part.
    tr : float
        Repetition time in seconds.
    n_draws : int
    seed : int

    Notes
    -----
    Neighbouring TRs share sentences, and through the HRF the BOLD that they were decoded from: as if independent, they
    would make intervals far too narrow. Intervals come from a circular block bootstrap [1]_, in blocks of 15 s.

    The shifted predictions keep their own rhythm and lose the truth's: rotated by each whole number of TRs that brings
    every TR further from its place than an HRF is long (32 s).

    References
    ----------
    .. [1] Politis, Romano (1992). A circular block-resampling procedure for stationary data. In: Exploring the Limits
       of Bootstrap, 263-270.
    """

    def __init__(self, n_trs: int, tr: float, *, n_draws: int = 2000, seed: int = 0) -> None:
        self.n_trs, self.tr, self.n_draws, self.seed = n_trs, tr, n_draws, seed
        self.block = max(1, ceil(exact(BLOCK_SECONDS) / exact(tr)))
        least = ceil(exact(HRF_SECONDS) / exact(tr))
        self.shifts = np.arange(least, n_trs - least + 1)

    @property
    def n_blocks(self) -> int:
        """Whole blocks that the part holds."""
        return self.n_trs // self.block

    @property
    def has_intervals(self) -> bool:
        """Whether the part is long enough for them."""
        return self.n_blocks >= MIN_BLOCKS

    @property
    def notes(self) -> list[str]:
        """What a part that is too short does not allow."""
        found = []
        if not self.has_intervals:
            found.append(
                f"no intervals: {self.n_trs} TRs are {self.n_blocks} blocks of {self.block} TRs, "
                f"{MIN_BLOCKS} are needed"
            )
        if not len(self.shifts):
            found.append(f"no time-shifted null: {self.n_trs} TRs cannot be rotated by the {HRF_SECONDS:g} s of an HRF")
        return found

    @cached_property
    def counts(self) -> np.ndarray:
        """How often each TR is in each draw, float64 (n_draws, n_trs)."""
        rng = np.random.default_rng(self.seed)
        n_starts = ceil(self.n_trs / self.block)
        starts = rng.integers(0, self.n_trs, (self.n_draws, n_starts))
        drawn = (starts[:, :, None] + np.arange(self.block)) % self.n_trs
        drawn = drawn.reshape(self.n_draws, -1)[:, : self.n_trs]
        counts = np.zeros((self.n_draws, self.n_trs))
        np.add.at(counts, (np.arange(self.n_draws)[:, None], drawn), 1.0)
        return counts

    def interval(self, draws: np.ndarray) -> tuple[float | None, float | None]:
        """The middle 95 % of a statistic over the draws, (None, None) where the part is too short."""
        draws = draws[np.isfinite(draws)]
        if not self.has_intervals or not len(draws):
            return None, None
        low, high = np.quantile(draws, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
        return float(low), float(high)

    def mean(self, by_tr: np.ndarray) -> Estimate:
        """Mean over TRs of a share between 0 and 1, such as how many codes are right.

        Where all TRs are equal the bootstrap is blind, and the interval is Wilson's for as many trials as blocks.
        """
        value = float(by_tr.mean())
        low, high = self.interval(self.counts @ by_tr / self.n_trs)
        if low is not None and np.ptp(by_tr) == 0 and value in (0.0, 1.0):
            wilson = binomtest(round(value * self.n_blocks), self.n_blocks).proportion_ci(CONFIDENCE, method="wilson")
            low, high = float(wilson.low), float(wilson.high)
        return Estimate(value, low, high)

    def difference(self, by_tr: np.ndarray, other: np.ndarray) -> Estimate:
        """Mean difference of two shares by TR, on the same draws."""
        gap = np.asarray(by_tr, np.float64) - other
        return Estimate(float(gap.mean()), *self.interval(self.counts @ gap / self.n_trs))

    def chance(self, observed: float | None, shifted: Callable[[int], float]) -> Chance:
        """Compare a score with those of the shifted predictions.

        Parameters
        ----------
        observed : float or None
        shifted : callable
            The score with the prediction rotated by so many TRs.
        """
        values = np.array([shifted(int(k)) for k in self.shifts])
        values = values[np.isfinite(values)]
        if observed is None or not np.isfinite(observed) or not len(values):
            return Chance(None, None, len(values))
        p = (1 + int((values >= observed).sum())) / (1 + len(values))
        return Chance(float(values.mean()), p, len(values))


@dataclass(frozen=True)
class Chance:
    """What shifted predictions score."""

    mean: float | None
    p: float | None
    """Share of shifts that do as well as the prediction in its place, itself included."""
    n: int
    """Shifts."""
