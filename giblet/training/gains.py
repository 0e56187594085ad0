"""How much of the network's part is added to the linear path: what validation TRs say that were not asked for it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

FOLDS = 8
"""Parts of the validation TRs, of which each is predicted with the gain that the others find best."""
BLOCK = 10
"""TRs in a row that are in one part."""
SURE = 1.5
"""Standard errors by which the network must better the linear path."""


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


def gain_of(course: np.ndarray) -> tuple[float, float]:
    """The gain at which a squared error is least, or 0 where the network does not surely better the linear path.

    A gain that is found on the TRs on which it is judged always seems to help: with little signal a useless network
    got 0.02 of validation noise, and cost 2 % of the correlation on test TRs. So each part of the validation TRs is
    judged with the gain that the other parts find, and the sum of what this saves must be beyond :data:`SURE` standard
    errors over parts.

    Parameters
    ----------
    course : ndarray of float, shape (n_folds, 4)
        Of each part the sum of the loss with nothing, half and all of the network's part, and the number of TRs.

    Returns
    -------
    gain : float
        0 to 1, found by all parts.
    loss : float
        Mean over TRs, each part with the gain of the others; with the gain 0 that of the linear path.
    """
    own = course[course[:, 3] > 0]
    total, n = own.sum(0), own[:, 3].sum()
    if np.array_equal(own[:, 0], own[:, 2]):
        return 1.0, float(total[2] / n)
    if len(own) < 2:
        return 0.0, float(total[0] / n)
    judged = np.array([_loss_at(_least(*(total - part)[:3]), *part[:3]) for part in own])
    saved = own[:, 0] - judged
    error = np.sqrt(len(own) * saved.var(ddof=1))
    if saved.sum() <= SURE * error:
        return 0.0, float(total[0] / n)
    return _least(*total[:3]), float(judged.sum() / n)


def _least(at_0: float, at_half: float, at_1: float) -> float:
    """Where between 0 and 1 a parabola is least of which three values are known."""
    slope, bend = _shape(at_0, at_half, at_1)
    return min(1.0, max(0.0, -slope / (2 * bend))) if bend > 0 else float(at_1 < at_0)


def _loss_at(gain: float, at_0: float, at_half: float, at_1: float) -> float:
    slope, bend = _shape(at_0, at_half, at_1)
    return at_0 + slope * gain + bend * gain**2


def _shape(at_0: float, at_half: float, at_1: float) -> tuple[float, float]:
    """Slope at 0, and bend."""
    return 4 * at_half - 3 * at_0 - at_1, 2 * (at_0 + at_1 - 2 * at_half)
