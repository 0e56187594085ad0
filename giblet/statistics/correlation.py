"""Pearson correlation over TRs, column by column and of all values at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from giblet.errors import InputError
from giblet.statistics.rotations import flattened

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class Correlations:
    """One correlation per column, and which columns have one."""

    r: np.ndarray
    """float64 (n_columns,): 0 where the prediction never changes, NaN where not `defined`."""
    defined: np.ndarray
    """bool (n_columns,): False where the truth never changes, within any run."""
    constant: np.ndarray
    """bool (n_columns,): the truth changes, and the prediction never does."""

    @property
    def n_undefined(self) -> int:
        """Columns without a correlation."""
        return int((~self.defined).sum())

    @property
    def mean(self) -> float | None:
        """Mean over the columns whose truth changes; None if none does."""
        return float(self.r[self.defined].mean()) if self.defined.any() else None

    @property
    def median(self) -> float | None:
        """Median over the columns whose truth changes; None if none does."""
        return float(np.median(self.r[self.defined])) if self.defined.any() else None


def correlations(truth: np.ndarray, predicted: np.ndarray, run: np.ndarray | None = None) -> Correlations:
    """Pearson correlation over TRs, column by column.

    Parameters
    ----------
    truth, predicted : ndarray, shape (n_trs, n_columns)
    run : ndarray, shape (n_trs,), optional
        Run of each TR: correlations are within runs, and their mean is weighted by the TRs of the runs, so that levels
        that differ from run to run count for nothing.

    Returns
    -------
    Correlations

    Raises
    ------
    InputError
        If the shapes differ, hold fewer than 3 TRs, or values are not finite.
    """
    truth, predicted = _checked(truth, predicted)
    if truth.ndim != 2:
        raise InputError(f"series have shape {truth.shape}; expected (n_trs, n_columns)")
    labels = np.zeros(len(truth), np.int64) if run is None else np.asarray(run)
    if labels.shape != (len(truth),):
        raise InputError(f"run has shape {labels.shape}; expected one label for each of {len(truth)} TRs")
    total, weight = np.zeros(truth.shape[1]), np.zeros(truth.shape[1])
    says = np.zeros(truth.shape[1], bool)
    for label in np.unique(labels):
        own = labels == label
        x, y = _centred(truth[own], 0), _centred(predicted[own], 0)
        xx, yy = (x * x).sum(axis=0), (y * y).sum(axis=0)
        size = np.sqrt(xx * yy)
        r = np.divide((x * y).sum(axis=0), size, out=np.zeros_like(size), where=size > 0)
        total += own.sum() * np.clip(r, -1, 1)
        weight += own.sum() * (xx > 0)
        says |= yy > 0
    defined = weight > 0
    return Correlations(
        np.divide(total, weight, out=np.full_like(total, np.nan), where=defined), defined, defined & ~says
    )


def _checked(truth: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64; what the precision of their own type leaves of a constant is one."""
    truth, predicted = (flattened(values) for values in (truth, predicted))
    if truth.shape != predicted.shape or truth.ndim < 2 or len(truth) < 3:
        raise InputError(
            f"truth has shape {truth.shape}, prediction {predicted.shape}; expected equal shapes of at least 3 TRs"
        )
    for name, values in {"truth": truth, "prediction": predicted}.items():
        if not np.isfinite(values).all():
            raise InputError(f"the {name} holds {int((~np.isfinite(values)).sum())} NaN or infinite values: mask them")
    return truth, predicted


def _centred(values: np.ndarray, axis: int | None) -> np.ndarray:
    """Without the mean, which correlation ignores; a constant leaves exactly 0."""
    return (values - values.mean(axis=axis, keepdims=True)) * (np.ptp(values, axis=axis, keepdims=True) > 0)


@dataclass(frozen=True)
class PooledCorrelation:
    """The correlation of all values of all features, and what each TR has to do with it."""

    r: float
    """NaN where one side never changes."""
    influence: np.ndarray
    """float64 (n_trs,), of mean 0: `r` of other TRs would differ from this one by the mean of their influences."""


def pooled_correlation(truth: np.ndarray, predicted: np.ndarray) -> PooledCorrelation:
    """Correlation of all values, in which a prediction that says the same of every TR has a score too.

    Parameters
    ----------
    truth, predicted : ndarray, shape (n_trs, ...)

    Returns
    -------
    PooledCorrelation

    Raises
    ------
    InputError
        As :func:`correlations`.
    """
    truth, predicted = _checked(truth, predicted)
    x, y = (_centred(values, None).reshape(len(values), -1) for values in (truth, predicted))
    xx, yy, xy = ((a * b).sum(axis=1) for a, b in ((x, x), (y, y), (x, y)))
    if not xx.any() or not yy.any():
        return PooledCorrelation(np.nan, np.zeros(len(x)))
    r = float(np.clip(xy.sum() / np.sqrt(xx.sum() * yy.sum()), -1, 1))
    influence = len(x) * (xy / np.sqrt(xx.sum() * yy.sum()) - r / 2 * (xx / xx.sum() + yy / yy.sum()))
    return PooledCorrelation(r, influence)


def mean_correlation_influence(truth: np.ndarray, predicted: np.ndarray, run: np.ndarray | None = None) -> np.ndarray:
    """What each TR has to do with the mean of :func:`correlations`.

    Parameters
    ----------
    truth, predicted : ndarray, shape (n_trs, n_columns)
    run : ndarray, shape (n_trs,), optional
        Run of each TR, as for :func:`correlations`.

    Returns
    -------
    ndarray of float64, shape (n_trs,)
        As :attr:`PooledCorrelation.influence`.

    Raises
    ------
    InputError
        As :func:`correlations`.

    See Also
    --------
    pooled_correlation : the same of all values at once.
    """
    truth, predicted = _checked(truth, predicted)
    labels = np.zeros(len(truth), np.int64) if run is None else np.asarray(run)
    influence = np.zeros(len(truth))
    defined = correlations(truth, predicted, run).defined
    for label in np.unique(labels):
        own = labels == label
        x, y = (_unit(_centred(values[own][:, defined], 0)) for values in (truth, predicted))
        r = (x * y).sum(axis=0)
        influence[own] = own.sum() * (x * y - r / 2 * (x * x + y * y)).mean(axis=1)
    return influence


def _unit(values: np.ndarray) -> np.ndarray:
    """Columns of length 1; those of length 0 stay."""
    length = np.linalg.norm(values, axis=0)
    return np.divide(values, length, out=np.zeros_like(values), where=length > 0)
