"""What is off about a fit, in sentences; none of it stops one."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np

from giblet.encoding.preparation import Band

ALIKE = 0.99
"""Share of a band's variance that another band explains by itself, from which the two are called collinear."""
UNLIKE = 2.0
"""Times by which deviations of training and test may differ."""
LARGEST = 2000
"""Columns up to which collinearity is looked for."""


def about_voxels(constant: int, not_finite: int, n_voxels: int, unit: str = "columns of BOLD") -> list[str]:
    """Voxels, or other columns, that were left out.

    Parameters
    ----------
    constant, not_finite : int
        How many never change, or hold NaN or infinity, over the training rows.
    n_voxels : int
    unit : str
        What they are called.

    Returns
    -------
    list of str
    """
    found = []
    if constant:
        found.append(
            f"{constant} of {n_voxels} {unit} never change over the training rows: left out, their scores are NaN"
        )
    if not_finite:
        found.append(
            f"{not_finite} of {n_voxels} {unit} hold NaN or infinity in training rows: left out, their scores are NaN"
        )
    return found


def about_penalties(chosen: np.ndarray, tried: np.ndarray, unit: str = "columns of BOLD") -> list[str]:
    """Voxels whose penalty is the least or the greatest of those there were.

    Parameters
    ----------
    chosen : ndarray of float, shape (n_voxels,)
    tried : ndarray of float, shape (n_alphas,)
    unit : str
        What is called a voxel.

    Returns
    -------
    list of str
    """
    found: list[str] = []
    if len(tried) < 2:
        return found
    for end, name in ((tried.min(), "least"), (tried.max(), "greatest")):
        count = int(np.isclose(chosen, end, rtol=1e-6).sum())
        if count:
            remedy = (
                "a wider grid may fit better" if name == "least" else "nothing is predicted there, or widen the grid"
            )
            found.append(
                f"{count} of {len(chosen)} {unit} ({100 * count / len(chosen):.0f} %) have the {name} penalty tried, "
                f"{end:g}: {remedy}"
            )
    return found


def about_features(bands: Mapping[str, Band], x: np.ndarray, columns: Mapping[str, slice]) -> list[str]:
    """Bands without variance, bands that say the same, and more features than TRs.

    Parameters
    ----------
    bands : mapping of str to Band
    x : ndarray of float, shape (n_train, n_columns)
        Prepared training rows of all bands.
    columns : mapping of str to slice
        Of each band.

    Returns
    -------
    list of str
    """
    found = []
    for name, band in bands.items():
        if not band.varies.any():
            found.append(f"band {name!r} never changes over the training rows: it predicts nothing")
        elif not band.varies.all():
            count = int((~band.varies).sum())
            found.append(f"{count} of {band.n_features} columns of band {name!r} never change over the training rows")
    if len(x) < x.shape[1]:
        found.append(
            f"there are fewer training rows ({len(x)}) than features ({x.shape[1]}, delays included): the penalty "
            "alone decides between them; PCA (n_components) or more runs may help"
        )
    names = [name for name, band in bands.items() if band.varies.any()]
    for first, second in combinations(names, 2):
        x_first, x_second = x[:, columns[first]], x[:, columns[second]]
        shares = {(first, second): _explained(x_first, x_second), (second, first): _explained(x_second, x_first)}
        (one, other), share = max(shares.items(), key=lambda item: item[1])
        if share > ALIKE:
            found.append(
                f"bands {first!r} and {second!r} are collinear: {one!r} explains {100 * share:.1f} % of {other!r}, so "
                "that either adds little to the other, and how they share what they predict is arbitrary"
            )
    return found


def _explained(x: np.ndarray, y: np.ndarray) -> float:
    """Share of the variance of `y` that columns of `x` explain; 0 where they explain anything, being so many."""
    if x.shape[1] > len(x) / 10 or max(x.shape[1], y.shape[1]) > LARGEST:
        return 0.0
    x, y = x - x.mean(0), y - y.mean(0)
    left = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
    return 1 - float((left**2).sum() / (y**2).sum())


def about_another_film(spread: Mapping[str, float], expected: Mapping[str, float]) -> list[str]:
    """Features, or BOLD, that vary more or less than those of the fit.

    Parameters
    ----------
    spread, expected : mapping of str to float
        Deviation by name, in this film and in training.

    Returns
    -------
    list of str
    """
    found = []
    for name, here in spread.items():
        there = expected[name]
        if there > 0 and not there / UNLIKE <= here <= there * UNLIKE:
            found.append(
                f"{name} varies {here / there:.2g} times as much as in training: other units, another scan or another "
                "kind of film?"
            )
    return found
