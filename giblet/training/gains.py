"""How much of the network's part is added to the linear path: what validation TRs say that were not asked for it."""

from __future__ import annotations

import numpy as np
import torch
from scipy.stats import t as student
from torch import Tensor

FOLDS = 8
"""Parts of the validation TRs, of which each is predicted with the gain that the others find best."""
BLOCK = 10
"""TRs in a row that are in one part."""
SURE = 0.025
"""One-sided p below which the network betters the linear path."""


def folds_of_windows(items: Tensor, n_rows: int) -> Tensor:
    """Which part each row of some windows belongs to: blocks of successive rows, dealt out in turn.

    Parameters
    ----------
    items : Tensor of int, shape (B,)
        Numbers of the windows.
    n_rows : int
        Of a window.

    Returns
    -------
    Tensor of int64, shape (B, n_rows)
    """
    blocks = -(-n_rows // BLOCK)
    return (items[:, None] * blocks + torch.arange(n_rows) // BLOCK) % FOLDS


def gain_of(courses: np.ndarray) -> tuple[float, float]:
    """The gain at which a squared error is least, or 0 where the network does not surely better the linear path.

    A gain that is found on the TRs on which it is judged always seems to help: with little signal a useless network
    got 0.02 of validation noise, and cost 2 % of the correlation on test TRs. And of sixty validations the best is
    lucky. So each part of the validation TRs is judged with the step and the gain that the other parts find best, and
    what this saves must be more than 0 by a t-test over parts (p < :data:`SURE`).

    Parameters
    ----------
    courses : ndarray of float, shape (n_validations, n_folds, 4)
        Of each validation so far, the last one now, and each part the sum of the loss with nothing, half and all of the
        network's part, and the number of TRs.

    Returns
    -------
    gain : float
        0 to 1, found by all parts now.
    loss : float
        Mean over TRs now, each part with the gain of the others; with the gain 0 that of the linear path.
    """
    known = courses[:, courses[-1, :, 3] > 0]
    now, n = known[-1], float(known[-1, :, 3].sum())
    linear = now[:, 0]
    if np.array_equal(linear, now[:, 2]):
        return 1.0, float(now[:, 2].sum()) / n
    if len(now) < 2:
        return 0.0, float(linear.sum()) / n
    others = known.sum(1, keepdims=True) - known
    gains = _least(others)
    judged = _loss_at(gains, known)  # (n_validations, n_folds)
    saved = linear - judged[_loss_at(gains, others).argmin(0), np.arange(len(now))]
    sure = student.ppf(1 - SURE, len(saved) - 1) * np.sqrt(len(saved) * saved.var(ddof=1))
    if not saved.sum() > sure:
        return 0.0, float(linear.sum()) / n
    return float(_least(now.sum(0))), float(judged[-1].sum()) / n


def _least(course: np.ndarray) -> np.ndarray:
    """Where between 0 and 1 parabolas are least of which three values are known, (..., 4) to (...)."""
    slope, bend = _shape(course)
    inside = np.clip(-slope / np.where(bend > 0, 2 * bend, 1), 0, 1)
    return np.where(bend > 0, inside, course[..., 2] < course[..., 0])


def _loss_at(gain: np.ndarray, course: np.ndarray) -> np.ndarray:
    slope, bend = _shape(course)
    return course[..., 0] + slope * gain + bend * np.square(gain)


def _shape(course: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slope at 0, and bend."""
    at_0, at_half, at_1 = course[..., 0], course[..., 1], course[..., 2]
    return 4 * at_half - 3 * at_0 - at_1, 2 * (at_0 + at_1 - 2 * at_half)
