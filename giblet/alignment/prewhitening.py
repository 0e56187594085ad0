"""What is slow taken out of two series, and one filter for both, so that chance is as narrow as it seems.

References
----------
Woolrich, Ripley, Brady, Smith (2001). Temporal autocorrelation in univariate linear modeling of FMRI data. NeuroImage
14, 1370-1386.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.polynomial.legendre import legvander


def slow_basis(volumes: np.ndarray, *, tr: float, detrend: bool, high_pass: float | None) -> np.ndarray:
    """Orthonormal basis of what is slow in a run: the mean, a line, a parabola, and cosines below `high_pass`.

    Parameters
    ----------
    volumes : ndarray of int, shape (n_volumes,)
        Ascending from 0; censored ones are missing, and the others keep their times.
    tr : float
        Repetition time in seconds.
    detrend : bool
        Whether lines and parabolas are among them.
    high_pass : float or None
        Cut-off in Hz; None: no cosines are among them.

    Returns
    -------
    ndarray of float64, shape (n_volumes, n_basis)
    """
    from nilearn.glm.first_level.design_matrix import create_cosine_drift

    n_trs = int(volumes[-1]) + 1
    columns = [legvander(np.linspace(-1, 1, n_trs), 2 if detrend else 0)]
    if high_pass is not None:
        columns.append(create_cosine_drift(high_pass, np.arange(n_trs) * tr)[:, :-1])  # the last is constant
    # Where volumes are missing, columns may depend on each other.
    left, size, _ = np.linalg.svd(np.concatenate(columns, axis=1)[volumes], full_matrices=False)
    return left[:, size > 1e-10 * size[0]]


def without_drifts(values: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Values less what lies in the span of a basis: ``y - B (B^T y)``; columns of which only rounding is left become 0.

    Parameters
    ----------
    values : ndarray of float64, shape (n_volumes, n_columns)
    basis : ndarray of float64, shape (n_volumes, n_basis)
        Orthonormal, as :func:`slow_basis` gives it.

    Returns
    -------
    ndarray of float64, shape (n_volumes, n_columns)
    """
    left = basis @ (basis.T @ values)
    np.subtract(values, left, out=left)
    before, after = (np.einsum("ij,ij->j", some, some) for some in (values, left))
    left[:, after <= 1e-22 * before] = 0
    return left


def lag_one(series_by_run: Sequence[np.ndarray]) -> np.ndarray:
    """Correlation of each column's TRs with the next ones, over all runs.

    ``phi = sum over runs and t of y[t] * y[t + 1] / sum over runs and t of y[t]^2``, column by column.

    Parameters
    ----------
    series_by_run : sequence of ndarray, shape (n_trs, n_columns)
        Without their drifts; each run by itself, as its end and the next one's beginning are no neighbours.

    Returns
    -------
    ndarray of float64, shape (n_columns,)
        0 where a column never varies.
    """
    shared = sum((x[1:] * x[:-1]).sum(axis=0) for x in series_by_run)
    power = sum((x**2).sum(axis=0) for x in series_by_run)
    return np.divide(shared, power, out=np.zeros_like(power), where=power > 0)


def whitened(values: np.ndarray, phi: np.ndarray | float) -> np.ndarray:
    """Prewhitening by AR(1): ``w[t] = y[t] - phi * y[t - 1]``, and ``w[0] = sqrt(1 - phi^2) * y[0]``.

    If ``y`` is an AR(1) process of coefficient `phi`, ``w`` is white, its first TR too. The filter does
    not go around the end: a step from there to the beginning would stand at the same TR on both sides.

    Parameters
    ----------
    values : ndarray of float, shape (n_trs, n_columns)
        Successive TRs of one run, without their drifts.
    phi : ndarray of float, shape (n_columns,), or float
        Correlation of a TR with the next, as :func:`lag_one` gives it.

    Returns
    -------
    ndarray of float, shape (n_trs, n_columns)

    See Also
    --------
    lag_one : what `phi` is for a column.
    Prewhitened : correlations of many series with columns that went through the filter, without filtering the series.
    """
    white = values.copy()
    white[1:] -= phi * values[:-1]
    white[0] *= np.sqrt(1 - phi**2)
    return white


class Prewhitened:
    """Series (n_volumes, n_series) that are correlated with others after both went through one filter."""

    def __init__(self, series: np.ndarray) -> None:
        self.series = series
        self.power = np.einsum("ij,ij->j", series, series, dtype=np.float64)
        self.shared = np.einsum("ij,ij->j", series[1:], series[:-1], dtype=np.float64)
        self.inner = self.power - series[0].astype(np.float64) ** 2 - series[-1].astype(np.float64) ** 2

    def correlate(self, columns: np.ndarray, phi: np.ndarray) -> np.ndarray:
        """Correlation of each series with each column, after both went through the column's filter.

        Parameters
        ----------
        columns : ndarray of float64, shape (n_volumes, n_columns)
            Standardised, without their drifts.
        phi : ndarray of float64, shape (n_columns,)
            Of the filter ``y[t] - phi * y[t - 1]``, one for each column.

        Returns
        -------
        ndarray of the dtype of the series, shape (n_series, n_columns)

        See Also
        --------
        lag_one : what `phi` is for a column.
        whitened : the filter itself.
        """
        # The filter is applied twice to the column, and not at all to the series: the products are the same.
        twice = (1 + phi**2) * columns
        twice[:-1] -= phi * columns[1:]
        twice[1:] -= phi * columns[:-1]
        twice[0] -= phi**2 * columns[0]
        twice[-1] -= phi**2 * columns[-1]
        twice /= np.sqrt((columns * twice).sum(axis=0))
        if not phi.any():
            return (self.series.T @ twice.astype(self.series.dtype)) / np.sqrt(self.power)[:, None]
        size = np.sqrt(self.power[:, None] - 2 * phi * self.shared[:, None] + phi**2 * self.inner[:, None])
        return (self.series.T @ twice.astype(self.series.dtype)) / size.astype(self.series.dtype)
