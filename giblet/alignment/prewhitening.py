"""One filter for two series whose neighbouring values are alike, so that chance is as narrow as it seems.

References
----------
Woolrich, Ripley, Brady, Smith (2001). Temporal autocorrelation in univariate linear modeling of FMRI data. NeuroImage
14, 1370-1386.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def lag_one(runs: Sequence[np.ndarray]) -> np.ndarray:
    """Correlation of each column's TRs with the next ones, over all runs.

    Parameters
    ----------
    runs : sequence of ndarray, shape (n_trs, n_columns)
        Without their drifts; each run by itself, as its end and the next one's beginning are no neighbours.

    Returns
    -------
    ndarray of float64, shape (n_columns,)
        0 where a column never varies.
    """
    shared = sum((x[1:] * x[:-1]).sum(axis=0) for x in runs)
    power = sum((x**2).sum(axis=0) for x in runs)
    return np.divide(shared, power, out=np.zeros_like(power), where=power > 0)


def whitened(values: np.ndarray, phi: np.ndarray | float) -> np.ndarray:
    """``y[t] - phi * y[t - 1]``; the first TR, which has none before it, in proportion.

    Not around the end: a step from there to the beginning would stand at the same TR on both sides.

    Parameters
    ----------
    values : ndarray of float, shape (n_trs, n_columns)
        Successive TRs of one run, without their drifts.
    phi : ndarray of float, shape (n_columns,), or float
        Correlation of a TR with the next, as :func:`lag_one` gives it.

    Returns
    -------
    ndarray of float, shape (n_trs, n_columns)
    """
    white = values.copy()
    white[1:] -= phi * values[:-1]
    white[0] *= np.sqrt(1 - phi**2)
    return white


class Prewhitened:
    """Series (n_volumes, n_series) that are correlated with others after both went through one filter."""

    def __init__(self, series: np.ndarray) -> None:
        self.series = series
        squares = series.astype(np.float64) ** 2
        self.power = squares.sum(axis=0)
        self.shared = (series[1:].astype(np.float64) * series[:-1]).sum(axis=0)
        self.inner = self.power - squares[0] - squares[-1]

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
        ndarray of float64, shape (n_series, n_columns)

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
        size = np.sqrt(self.power[:, None] - 2 * phi * self.shared[:, None] + phi**2 * self.inner[:, None])
        length = np.sqrt((columns * twice).sum(axis=0))
        return (self.series.T @ twice.astype(self.series.dtype)) / (size * length)
