"""Scores that are means over TRs of how alike what was decoded and what was shown are, TR by TR."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from giblet.evaluation.score import Null, Score
from giblet.statistics.estimates import Chance, Estimate, ScoredTRs

SHARE = (0.0, 1.0)
CORRELATION = (-1.0, 1.0)


def paired_score(
    name: str,
    pairs: np.ndarray,
    trs: ScoredTRs,
    span: tuple[float, float],
    *,
    nulls: Mapping[str, np.ndarray],
    ceiling: np.ndarray | None = None,
    ridge: np.ndarray | None = None,
    own: np.ndarray | None = None,
    constant: bool = False,
) -> Score:
    """A score from how alike each decoded TR is to each true one.

    Parameters
    ----------
    name : str
    pairs : ndarray of float64, shape (n_trs, n_trs)
        ``[i, j]``: how alike the prediction of TR *i* is to the truth of TR *j*. The score is the mean of ``[i, i]``.
    trs : ScoredTRs
    span : tuple of float
        The least and the greatest value there is: :data:`SHARE`, :data:`CORRELATION`.
    nulls : mapping of str to ndarray of float64, shape (n_trs,)
        Of each null how alike it is to its own TR.
    ceiling, ridge : ndarray of float64, shape (n_trs,), optional
        The same of the codec alone, and of what ridge regression decodes.
    own : ndarray of float64, shape (n_trs,), optional
        The series whose mean is the score, where its changes from TR to TR are not those of the diagonal of `pairs`.
    constant : bool
        The prediction says the same of every TR, so that no rotation makes a difference, and p is 1.

    Returns
    -------
    Score
        Its chance is the share of rotations that do as well, once drifts are out of `pairs` on both sides
        (:meth:`ScoredTRs.chance_of_pairs`).
    """
    low, high = span
    own, reach = pairs.diagonal() if own is None else own, high - low

    def mean(by_tr: np.ndarray) -> Estimate:
        return trs.mean(by_tr) if span == SHARE else trs.estimate(float(by_tr.mean()), by_tr, low, high)

    told = {
        null: Null(mean(by_tr), trs.estimate(float((own - by_tr).mean()), own - by_tr, -reach, reach))
        for null, by_tr in nulls.items()
    }
    if constant:
        pairs = np.broadcast_to(pairs.mean(axis=0), pairs.shape)
    chance = Chance(None, None, 0) if trs.too_short else trs.chance_of_pairs(pairs)
    best = None if ceiling is None else float(ceiling.mean())
    found = Score(name, mean(own), best, told, chance, own)
    if ridge is None:
        return found
    return found.beside(Score(name, mean(ridge), influence=ridge), trs)


def undefined(name: str, why: str) -> Score:
    """A score that has no value.

    Parameters
    ----------
    name : str
    why : str
        Such as ``"no frame is voiced on both sides"``.

    Returns
    -------
    Score
    """
    return Score(name, Estimate(None, why=why))
