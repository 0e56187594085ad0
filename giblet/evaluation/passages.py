"""Passages of a run, ranked against each other for every rotation of what was decoded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from giblet.alignment.prewhitening import without_drifts


def passage_starts(place: np.ndarray, used: np.ndarray, width: int) -> np.ndarray:
    """First TRs of passages that do not overlap, and hold only successive TRs that are used.

    Parameters
    ----------
    place : ndarray of int, shape (n_trs,)
        Row of the scan of each TR of a run; where it jumps, TRs are missing.
    used : ndarray of bool, shape (n_trs,)
        A TR that is not used ends a passage, as a missing one does.
    width : int
        TRs of a passage.

    Returns
    -------
    ndarray of int64, shape (n_passages,)

    Examples
    --------
    >>> passage_starts(np.array([0, 1, 2, 3, 4, 9, 10, 11]), np.ones(8, bool), 2).tolist()
    [0, 2, 5]
    """
    joined = np.r_[False, used[1:] & used[:-1] & (np.diff(place) == 1)]
    found, start = [], 0
    for at in range(len(used) + 1):
        if at == len(used) or not joined[at]:  # a stretch ends here
            found += [first for first in range(start, at - width + 1, width) if used[first]]
            start = at
    return np.array(found, np.int64)


@dataclass(frozen=True)
class _Sums:
    """Sums over the values of stretches of TRs."""

    total: np.ndarray
    square: np.ndarray
    count: int

    @classmethod
    def of(cls, values: np.ndarray, width: int) -> _Sums:
        """Of the `width` TRs from each TR on, around the end."""
        by_tr = np.stack([values.sum(1), (values**2).sum(1)])
        total, square = np.sum([np.roll(by_tr, -later, axis=1) for later in range(width)], axis=0)
        return cls(total, square, width * values.shape[1])

    def at(self, starts: np.ndarray) -> _Sums:
        return _Sums(self.total[starts], self.square[starts], self.count)

    @property
    def about_mean(self) -> np.ndarray:
        """Sums of squares about the mean; what only rounding leaves is 0."""
        found = self.square - self.total**2 / self.count
        return np.where(found > 1e-12 * self.square, found, 0.0)


class RankedRun:
    """The passages of one run, and how the decoded ones are ranked among the true ones.

    Parameters
    ----------
    truth, predicted : ndarray of float64, shape (n_trs, n_features)
    basis : ndarray of float64, shape (n_trs, n_drifts)
        Orthonormal: what is slow, and taken out of both sides.
    starts : ndarray of int, shape (n_passages,)
        First TR of each passage.
    width : int
        TRs of a passage.
    top : sequence of int
    rescaled : bool
        As for :func:`giblet.evaluation.identification.identify_passages`.
    """

    def __init__(
        self,
        truth: np.ndarray,
        predicted: np.ndarray,
        basis: np.ndarray,
        starts: np.ndarray,
        width: int,
        top: Sequence[int],
        rescaled: bool,
    ) -> None:
        self.length, self.starts = len(truth), starts
        self.n = len(starts) if basis.shape[1] < self.length else 0
        if self.n < 2:
            return
        truth, predicted = (without_drifts(side, basis) for side in (truth, predicted))
        if rescaled:
            own_spread = predicted.std(0)
            predicted *= np.divide(truth.std(0), own_spread, out=np.zeros_like(own_spread), where=own_spread > 0)
        # Whatever the rotation, a decoded passage is `width` TRs from some TR on, around the end: rank all of those.
        products, together = predicted @ truth.T, np.zeros((self.length, self.n))
        for later in range(width):
            together += np.roll(products, -later, axis=0)[:, starts + later]
        said, true = _Sums.of(predicted, width), _Sums.of(truth, width).at(starts)
        together -= np.outer(said.total, true.total) / said.count
        size = np.sqrt(np.outer(said.about_mean, true.about_mean))
        alike = np.round(np.divide(together, size, out=np.zeros_like(together), where=size > 0), 10)
        least, most = (rankdata(alike, method=method, axis=1) for method in ("min", "max"))
        nearer, equal = self.n - most, most - least
        pairwise = 1 - (nearer + equal / 2) / (self.n - 1)
        # Of those that are equal, each is as likely to come first.
        self._scores = np.stack([pairwise, *(np.clip((k - nearer) / (equal + 1), 0, 1) for k in top)])

    def scores(self) -> np.ndarray:
        """Scores of each passage.

        Returns
        -------
        ndarray of float64, shape (1 + n_top, n_passages)
            Pairwise, and the hits among the `k` best.
        """
        return self._scores[:, self.starts, np.arange(self.n)]

    def by_rotation(self) -> np.ndarray:
        """Sums over passages of the scores, with the prediction rotated.

        Returns
        -------
        ndarray of float64, shape (1 + n_top, n_trs)
            By how many TRs the prediction comes later, from 0 on.
        """
        found = np.zeros((len(self._scores), self.length))
        for passage, start in enumerate(self.starts):
            found += self._scores[:, (start - np.arange(self.length)) % self.length, passage]
        return found
