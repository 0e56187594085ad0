"""From correlations by rotation to p-values: of each column, and corrected for their number."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    pass

FAMILY_WISE = 0.05
"""How often a study of nothing may have a voxel above the threshold."""
ROUNDING = 1e-9
"""Correlations that differ by less are equal."""


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
    z = np.array(r, np.float64)
    np.clip(z, ROUNDING - 1, 1 - ROUNDING, out=z)
    return np.arctanh(z, out=z)[()]


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
    from scipy.special import ndtr

    return ndtr(-standardised(by_rotation)[0][0])


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
    from scipy.stats import t as student

    variance = float(np.mean(fisher_z(by_rotation) ** 2))
    return float(student.ppf(0.975, max(1.0, 1 / variance)) * np.sqrt(variance)) if variance > 0 else 0.0


def standardised(by_rotation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fisher's z in units of its spread over all rotations about 0, and that spread.

    Parameters
    ----------
    by_rotation : ndarray of float, shape (n_rotations, n_columns)
        Correlations, first those of the prediction as it is.

    Returns
    -------
    z : ndarray of float64, shape (n_rotations, n_columns)
        ``-inf`` where no rotation makes a difference.
    spread : ndarray of float64, shape (n_columns,)
    """
    z = fisher_z(by_rotation)
    spread = np.sqrt(np.einsum("ij,ij->j", z, z) / len(z))
    differs = spread > ROUNDING
    z /= np.where(differs, spread, 1)
    if not differs.all():
        z[:, ~differs] = -np.inf
    return z, spread


def false_discovery_q(p: np.ndarray) -> np.ndarray:
    """p corrected for many voxels: of those with q <= .05, at most 5 % are false on average (Benjamini, Hochberg).

    Parameters
    ----------
    p : ndarray of float, shape (..., n_voxels)
        NaN where there was no test: such voxels are not counted. Each row is corrected by itself, over its voxels.

    Returns
    -------
    ndarray of float64, the shape of `p`
        NaN where `p` is.
    """
    from scipy.stats import false_discovery_control

    p = np.asarray(p, np.float64)
    rows = p.reshape(-1, p.shape[-1])
    q = np.full_like(rows, np.nan)
    for row, corrected in zip(rows, q, strict=True):
        tested = np.isfinite(row)
        if tested.any():
            corrected[tested] = false_discovery_control(row[tested])
    return q.reshape(p.shape)


def family_wise_p(score: np.ndarray, highest: np.ndarray) -> np.ndarray:
    """The share of draws in which the best of all columns does as well as this one.

    Parameters
    ----------
    score : ndarray of float, shape (n_columns,)
        Of each column; NaN where it has none.
    highest : ndarray of float, shape (n_draws,)
        Greatest score over the columns in each draw, that of the data as they are among them.

    Returns
    -------
    ndarray of float64, shape (n_columns,)
        At least ``1 / n_draws``; NaN where `score` is.

    See Also
    --------
    family_wise_threshold : the score at which this is 5 %.
    """
    n_below = np.searchsorted(np.sort(highest), score - ROUNDING)
    return np.where(np.isnan(score), np.nan, 1 - n_below / len(highest))


def family_wise_threshold(highest: np.ndarray) -> float:
    """The score that the best of all columns reaches in 5 % of draws.

    Parameters
    ----------
    highest : ndarray of float, shape (n_draws,)
        As for :func:`family_wise_p`.

    Returns
    -------
    float
    """
    return float(np.sort(highest)[::-1][int(FAMILY_WISE * len(highest)) - 1])
