"""Correlations, intervals and chance for series by TR, whose neighbours are alike and count as less than two.

References
----------
Müller (2007). A theory of robust long-run variance estimation. Journal of Econometrics 141, 1331-1352.
Lazarus, Lewis, Stock (2021). The size-power tradeoff in HAR inference. Econometrica 89, 2497-2516.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from giblet.alignment.prewhitening import without_drifts
from giblet.statistics.correction import normal_p, rank_p
from giblet.statistics.rotation import RotationTest, rotation_test
from giblet.statistics.rotations import HIGH_PASS, basis_of, flattened, joint_draws, too_short
from giblet.timing import check_tr

if TYPE_CHECKING:
    pass

CONFIDENCE = 0.95
SLOWEST, LEAST_COSINES = 160.0, 4
"""Seconds, and number: the variance of a mean is read from how much of slow cosines there is in the series, of periods
from this on, and at least of so many of them."""
LEAST_TRS = 64
"""With fewer TRs an interval would be a guess, and none is given."""


@dataclass(frozen=True)
class Estimate:
    """A number, how sure it is, and where there is none, why."""

    value: float | None
    low: float | None = None
    """Lower end of the 95 % interval."""
    high: float | None = None
    why: str | None = None
    """Why the value is not defined."""

    def __str__(self) -> str:
        """The number with its interval, or a dash."""
        if self.value is None:
            return "-"
        return f"{self.value:.3f}" + ("" if self.low is None else f" ({self.low:.3f} to {self.high:.3f})")

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON.

        Returns
        -------
        dict
            ``value``, ``low``, ``high``, and ``why`` if it is not defined.
        """
        return {"value": self.value, "low": self.low, "high": self.high, **({"why": self.why} if self.why else {})}


@dataclass(frozen=True)
class Chance:
    """What the prediction scores when it is rotated in time."""

    mean: float | None
    """Over the rotations, the one by nothing included."""
    p: float | None
    """One-sided; None where the part is too short for a test."""
    n: int
    """Rotations."""
    q: float | None = None
    """`p` corrected for all tests of a scorecard (Benjamini and Hochberg)."""
    by_rotation: np.ndarray | None = field(default=None, repr=False, compare=False)
    """float64 (n_rotations,), the prediction as it is first: what `p` was read from, without drifts. Correlations, also
    prewhitened, or shares."""
    ranked: bool = False
    """`p` is a share of rotations, and is not read from the normal law of correlations."""

    @classmethod
    def of(cls, by_rotation: np.ndarray, mean: float | None, *, ranked: bool = False) -> Chance:
        """Chance of a score, from its value for each rotation.

        Parameters
        ----------
        by_rotation : ndarray of float, shape (n_rotations,)
            The prediction as it is first.
        mean : float or None
            What rotations score on average.
        ranked : bool
            Read `p` as a share of rotations, and not from the normal law of correlations.

        Returns
        -------
        Chance
        """
        p = (rank_p if ranked else normal_p)(by_rotation[:, None])[0]
        return cls(mean, float(p), len(by_rotation), None, by_rotation, ranked)


@dataclass(frozen=True)
class ScoredTRs:
    """The TRs that are scored: of which stretches of the scan, at what TR; and how sure a figure of theirs can be.

    Parameters
    ----------
    tr : float
        Repetition time in seconds.
    run : ndarray, shape (n_trs,)
        Stretch of successive TRs that each belongs to; equal labels are neighbours.
    high_pass : float or None
        In Hz: slower drifts are taken out of both sides before they are compared with chance.

    Notes
    -----
    Neighbouring TRs share sentences, and through the HRF the BOLD that they were decoded from. As if independent, they
    would make intervals far too narrow. The variance of a mean over TRs is read twice, and the wider interval is taken:
    from the slow cosines in the series (Müller; Lazarus, Lewis and Stock), with Student's law for as many degrees of
    freedom as there are cosines; and from an AR(1) process with the series' own correlation from TR to TR. A
    correlation of all values is a mean of influences here; one of columns has the spread of its rotations
    (:attr:`RotationTest.mean_interval`). docs/calibration.md says how often such intervals hold the truth.
    """

    tr: float
    run: np.ndarray
    high_pass: float | None = HIGH_PASS

    @classmethod
    def of(cls, n_trs: int, tr: float, high_pass: float | None = HIGH_PASS) -> ScoredTRs:
        """One stretch of `n_trs` TRs.

        Parameters
        ----------
        n_trs : int
        tr : float
            Repetition time in seconds.
        high_pass : float or None
            In Hz, as for the class.

        Returns
        -------
        ScoredTRs
        """
        return cls(tr, np.zeros(n_trs, np.int64), high_pass)

    @property
    def n_trs(self) -> int:
        """How many."""
        return len(self.run)

    @cached_property
    def lengths(self) -> list[int]:
        """TRs of each stretch."""
        starts = np.flatnonzero(np.r_[True, self.run[1:] != self.run[:-1]])
        return np.diff([*starts, self.n_trs]).tolist()

    @cached_property
    def too_short(self) -> str | None:
        """Why there is no rotation test, with the number of TRs that one takes; None where there is."""
        return too_short(self.lengths, self.tr, self.high_pass)

    @cached_property
    def rotations(self) -> np.ndarray:
        """By how many TRs each stretch is rotated, int64 (n_rotations, n_stretches); first none."""
        return joint_draws(self.lengths, 0)

    def flat(self, values: np.ndarray) -> np.ndarray:
        """Series without the drifts of each stretch; as they are, where the TRs are too few for that.

        Parameters
        ----------
        values : ndarray of float, shape (n_trs, n_columns)

        Returns
        -------
        ndarray of float64, shape (n_trs, n_columns)
            Of which the correlations are :attr:`RotationTest.r`.
        """
        found = flattened(values)
        if self.too_short is not None:
            return found
        start = 0
        for length in self.lengths:
            own = slice(start, start + length)
            found[own] = without_drifts(found[own], basis_of(length, float(check_tr(self.tr)), self.high_pass))
            start += length
        return found

    @property
    def has_intervals(self) -> bool:
        """Whether there are TRs enough for them."""
        return self.n_trs >= LEAST_TRS

    @property
    def notes(self) -> list[str]:
        """What the TRs do not allow."""
        found = []
        if not self.has_intervals:
            found.append(f"no intervals: {self.n_trs} TRs are scored, {LEAST_TRS} are needed")
        if self.too_short is not None:
            found.append(f"no p: {self.too_short}")
        return found

    def test(self, truth: np.ndarray, predicted: np.ndarray) -> RotationTest | None:
        """The rotation test of series on these TRs; None where they are too few.

        Parameters
        ----------
        truth, predicted : ndarray of float, shape (n_trs, n_columns)

        Returns
        -------
        RotationTest or None

        Raises
        ------
        InputError
            If shapes differ, values are not finite, or the TR or the high-pass cannot be used.

        See Also
        --------
        giblet.statistics.rotation.rotation_test : the test itself.
        """
        if self.too_short is not None:
            return None
        return rotation_test(truth, predicted, tr=self.tr, run=self.run, high_pass=self.high_pass)

    def chance_of_pairs(self, pairs: np.ndarray) -> Chance:
        """Chance of a mean over TRs of how well each prediction fits the truth of its own TR.

        Drifts are taken out of both sides here too: codes of a film that grows louder, and predictions that grow
        louder by themselves, would agree at the right time more than at others.

        Parameters
        ----------
        pairs : ndarray of float, shape (n_trs, n_trs)
            ``[i, j]``: how well the prediction of TR *i* fits the truth of TR *j*; the mean of ``[i, i]`` is the score.

        Returns
        -------
        Chance
            Its `p` is a share of rotations; None where the TRs are too few for a test.
        """
        if self.too_short is not None:
            return Chance(None, None, 0)
        without, plain = (np.zeros(len(self.rotations)) for _ in range(2))
        starts = np.r_[0, np.cumsum(self.lengths)[:-1]]
        for start, n, shifts in zip(starts, self.lengths, self.rotations.T, strict=True):
            own = np.asarray(pairs[start : start + n, start : start + n], np.float64)
            basis = basis_of(n, float(check_tr(self.tr)), self.high_pass)
            flat = without_drifts(without_drifts(own, basis).T, basis).T
            places = np.arange(n), (np.arange(n) + np.arange(n)[:, None]) % n  # [k, i]: prediction i at TR i + k
            for values, total in ((own, plain), (flat, without)):
                total += values[places].sum(axis=1)[shifts] / self.n_trs
        return Chance.of(without, float(plain.mean()), ranked=True)

    def reach(self, influence: np.ndarray) -> float:
        """Half the width of the 95 % interval of a mean over TRs.

        Parameters
        ----------
        influence : ndarray of float, shape (n_trs,)
            The series by TR that the figure is a mean of, such as :attr:`PooledCorrelation.influence`.

        Returns
        -------
        float
            In the unit of the series; 0 where it is constant.
        """
        from scipy.stats import t as student

        n, series = self.n_trs, np.asarray(influence, np.float64) - np.mean(influence)
        n_cosines = max(LEAST_COSINES, int(2 * n * float(check_tr(self.tr)) / SLOWEST))
        cosines = np.sqrt(2 / n) * np.cos(np.pi / n * np.outer(np.arange(1, n_cosines + 1), np.arange(n) + 0.5))
        by_cosines = student.ppf((1 + CONFIDENCE) / 2, n_cosines) * np.sqrt(np.mean((cosines @ series) ** 2) / n)
        power = float(series @ series)
        if power == 0:
            return 0.0
        lag1, lag2 = (float(series[k:] @ series[:-k]) / power for k in (1, 2))
        lag1, lag2 = (one + (1 + 3 * one) / n for one in (lag1, lag2))  # Kendall's correction of their bias
        phi = float(np.clip(lag1, -0.5, 0.97))
        inflation = (1 + phi) / (1 - phi)
        if lag1 > 2 / np.sqrt(n):
            # What differs from TR to TR hides how slow the rest is, which the ratio of two correlations shows.
            slow = float(np.clip(lag2 / lag1, 0, 0.97))
            share = min(1.0, lag1 / slow) if slow else 1.0
            inflation = max(inflation, 1 + 2 * share * slow / (1 - slow))
        variance = power / (n - 1) / max(1 - inflation / n, 0.2) * inflation / n
        by_phi = student.ppf((1 + CONFIDENCE) / 2, max(n / inflation - 1, 2.0)) * np.sqrt(variance)
        return float(max(by_cosines, by_phi))

    def estimate(self, value: float, influence: np.ndarray, low: float = -np.inf, high: float = np.inf) -> Estimate:
        """A figure with its interval, no wider than from `low` to `high`; without one where TRs are too few.

        Parameters
        ----------
        value : float
            The figure.
        influence : ndarray of float, shape (n_trs,)
            The series by TR that the figure is a mean of, such as :attr:`PooledCorrelation.influence`.
        low, high : float
            Ends of its range.

        Returns
        -------
        Estimate
        """
        if not self.has_intervals:
            return Estimate(value)
        reach = self.reach(influence)
        return Estimate(value, max(low, value - reach), min(high, value + reach))

    def mean(self, by_tr: np.ndarray) -> Estimate:
        """Mean over TRs of a share between 0 and 1, such as how many codes are right.

        Where all TRs are equal no series tells how sure that is: the interval is Wilson's for as many trials as there
        are stretches of 16 s.

        Parameters
        ----------
        by_tr : ndarray of float, shape (n_trs,)

        Returns
        -------
        Estimate
        """
        from scipy.stats import binomtest

        value = float(np.mean(by_tr))
        if self.has_intervals and np.ptp(by_tr) == 0 and value in (0.0, 1.0):
            trials = max(1, int(self.n_trs * self.tr / 16))
            wilson = binomtest(round(value * trials), trials).proportion_ci(CONFIDENCE, method="wilson")
            return Estimate(value, float(wilson.low), float(wilson.high))
        return self.estimate(value, by_tr, 0.0, 1.0)

    def difference(self, by_tr: np.ndarray, other: np.ndarray) -> Estimate:
        """Mean difference of two shares by TR, on the same TRs.

        Parameters
        ----------
        by_tr, other : ndarray of float, shape (n_trs,)
            Shares between 0 and 1.

        Returns
        -------
        Estimate
            Of `by_tr` less `other`.
        """
        gap = np.asarray(by_tr, np.float64) - other
        return self.estimate(float(gap.mean()), gap, -1.0, 1.0)
