"""One measure of a reconstruction, beside the codec's ceiling, null predictions and ridge regression."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from giblet.statistics.estimates import Chance, Estimate, ScoredTRs

MEAN, FREQUENT, SHIFTED = "training mean", "most frequent code", "rotated in time"
SIGNIFICANT = 0.05
ROUNDING = 1e-6
"""Difference of two scores that is none: a model may be its ridge, but for the order of sums."""


@dataclass(frozen=True)
class Null:
    """A prediction that knows nothing of the brain, and by how much the reconstruction is better."""

    score: Estimate
    margin: Estimate | None = None
    """Score of the reconstruction less that of the null, on the same draws of TRs."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON.

        Returns
        -------
        dict
            Those of the score, and ``margin``.
        """
        return {**self.score.as_dict(), "margin": self.margin.as_dict() if self.margin else None}

    @property
    def wins(self) -> bool:
        """Whether the interval of the margin lies below 0: this is better than the reconstruction."""
        return self.margin is not None and self.margin.high is not None and self.margin.high < -ROUNDING


@dataclass(frozen=True)
class Score:
    """One measure of the reconstruction, of the codec alone, and of the nulls."""

    name: str
    reconstruction: Estimate
    ceiling: float | None = None
    """Of the true codes, decoded: what a perfect prediction would score. None where that is 1, or not known."""
    nulls: Mapping[str, Null] = field(default_factory=dict)
    shifted: Chance | None = None
    influence: np.ndarray | None = field(default=None, repr=False, compare=False)
    """float64 (n_trs,): what each TR has to do with it, from which the interval of a difference comes."""
    ridge: Null | None = None
    """The same measure of what ridge regression decodes of the same TRs, and the reconstruction less that."""

    def beside(self, ridge: Score, trs: ScoredTRs) -> Score:
        """The score with that of ridge regression beside it.

        Parameters
        ----------
        ridge : Score
            The same measure of the same TRs.
        trs : ScoredTRs

        Returns
        -------
        Score
        """
        return replace(self, ridge=beside(self.reconstruction, self.influence, ridge, trs))

    @property
    def above_nulls(self) -> bool | None:
        """Whether it is above each null that has a score, by more than chance; None where that cannot be told.

        The interval of the difference from a null lies above 0, and no more than the usual share of rotations does as
        well. Where the part is too short for intervals, rotations alone tell chance, and the difference is above 0.
        """
        own = self.reconstruction.value
        if own is None:
            return None
        margins = [null.margin for null in self.nulls.values()]
        verdicts = [margin.low > 0 for margin in margins if margin is not None and margin.low is not None]
        if self.shifted is not None:
            if self.shifted.p is None:
                return None if all(verdicts) else False
            verdicts.append((self.shifted.p if self.shifted.q is None else self.shifted.q) <= SIGNIFICANT)
            verdicts += [own > null.score.value for null in self.nulls.values() if null.score.value is not None]
        return all(verdicts) if verdicts else None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON.

        Returns
        -------
        dict
            ``name``, ``reconstruction``, ``ceiling``, ``nulls`` by name, ``above_nulls``, ``ridge``.
        """
        nulls = {name: null.as_dict() for name, null in self.nulls.items()}
        if self.shifted is not None:
            nulls[SHIFTED] = {
                "value": self.shifted.mean, "p": self.shifted.p, "q": self.shifted.q, "n": self.shifted.n
            }  # fmt: skip
        return {
            "name": self.name,
            "reconstruction": self.reconstruction.as_dict(),
            "ceiling": self.ceiling,
            "nulls": nulls,
            "above_nulls": self.above_nulls,
            "ridge": None if self.ridge is None else self.ridge.as_dict(),
        }


def beside(own: Estimate, influence: np.ndarray | None, ridge: Score, trs: ScoredTRs) -> Null:
    """The figure of ridge regression, and by how much another one is above it, with the interval of the difference.

    Parameters
    ----------
    own : Estimate
    influence : ndarray of float64, shape (n_trs,), optional
        Of the same TRs as that of `ridge`.
    ridge : Score
    trs : ScoredTRs

    Returns
    -------
    Null
    """
    theirs = ridge.reconstruction
    if own.value is None or theirs.value is None:
        return Null(theirs)
    gap = own.value - theirs.value
    if influence is None or ridge.influence is None:
        return Null(theirs, Estimate(gap))
    return Null(theirs, trs.estimate(gap, influence - ridge.influence))
