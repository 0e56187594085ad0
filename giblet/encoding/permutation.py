"""Are clips predicted better than by chance? Their responses change places, and everything is fitted again.

Clips that are played one by one have no neighbours in time, so that any order of the responses is as good as any other
where features tell nothing. Two traps:

1. *A prediction from several folds is not independent of the truth that it is compared with.* Each fold is predicted
   from the others' responses and helps to predict them, so that the folds agree with each other about what is chance.
   Responses that change places under fixed predictions miss that: noise has p <= .05 in 9 to 10 % of voxels, p <= .01
   in 3 to 4 % (docs/encoding.md). Here the model is fitted anew for each permutation, penalties included
   (:func:`giblet.encoding.clip_scores.permutation_test_cv`); predictions of clips that were in no fit need none of that
   (:func:`permutation_test`).
2. *Clips of one group may respond alike* (excerpts of one piece, words of one speaker): then whole groups change
   places.

References
----------
Winkler, Ridgway, Douaud, Nichols, Smith (2016). Faster permutation inference in brain imaging. NeuroImage 141, 502-516.
Noirhomme et al. (2014). Biased binomial assessment of cross-validated estimation of classification accuracies
illustrated in diagnosis predictions. NeuroImage: Clinical 4, 687-694.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import lgamma, log
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy.stats import pearson3

from giblet.errors import InputError
from giblet.notebook import html_table
from giblet.statistics.correction import ROUNDING, false_discovery_q, family_wise_p, family_wise_threshold, fisher_z
from giblet.statistics.rotation import SHOWN
from giblet.statistics.rotations import flattened

if TYPE_CHECKING:
    import pandas as pd

Exchange = Literal["clips", "groups"]
FEWEST = 100
"""Permutations from which spread and skewness can be read."""
FEWEST_ORDERS = 1000
"""Orders of the clips that there must be."""
MOVING = 0.5
"""Share of the groups that must have another of their size."""
VOXELS_AT_A_TIME = 2048
NULL_BINS = 200
"""From -1 to 1, in which the r of permutations are counted."""


@dataclass(frozen=True, repr=False)
class PermutationTest:
    """Correlations of truth and prediction over clips, and their chance where the responses change places."""

    r: np.ndarray
    """float64 (n_voxels,): correlation over clips, of several folds about the mean of each. 0 where the prediction
    never changes, NaN where the truth does not or holds NaN."""
    p: np.ndarray
    """float64 (n_voxels,): one-sided, by the gamma law (Pearson III) with mean, spread and skewness of Fisher's z over
    the permutations; by the normal law where they are skewed to the left, which is the more careful."""
    p_rank: np.ndarray
    """float64 (n_voxels,): share of permutations, none included, that do as well. At least ``1 / n_permutations``."""
    z: np.ndarray
    """float64 (n_voxels,): what `p` is read from, Fisher's z less its mean over permutations, in units of `spread`."""
    spread: np.ndarray
    """float64 (n_voxels,): of Fisher's z over permutations."""
    skewness: np.ndarray
    """float64 (n_voxels,): of Fisher's z over permutations."""
    mean_by_permutation: np.ndarray
    """float64 (n_permutations,): mean of `r` over the voxels that have one; first as predicted."""
    highest_by_permutation: np.ndarray
    """float64 (n_permutations,): greatest `r` over the voxels; first as predicted."""
    null: np.ndarray
    """float64 (200,): shares of the `r` of all voxels and permutations, that of the clips as they are left out, in bins
    of .01 from -1 to 1."""

    @cached_property
    def q(self) -> np.ndarray:
        """float64 (n_voxels,): `p` corrected for the number of voxels by the false discovery rate; NaN where `p` is."""
        return false_discovery_q(self.p)

    @cached_property
    def p_fwe(self) -> np.ndarray:
        """float64 (n_voxels,): the share of permutations, none included, in which the best voxel has an `r` as high.

        `p` corrected for the number of voxels by the family-wise error, at least ``1 / n_permutations``; NaN where `p`
        is.
        """
        return family_wise_p(self.r, self.highest_by_permutation)

    @cached_property
    def threshold_fwe(self) -> float:
        """The `r` that the best of all voxels reaches in 5 % of permutations, none included."""
        return family_wise_threshold(self.highest_by_permutation)

    @property
    def n_permutations(self) -> int:
        """Orders compared, that of the clips as they are included."""
        return len(self.mean_by_permutation)

    @property
    def mean(self) -> float:
        """Mean of `r` over the voxels that have one."""
        return float(self.mean_by_permutation[0])

    @property
    def mean_p_rank(self) -> float:
        """Of the mean over voxels, as `p_rank`."""
        return float((self.mean_by_permutation >= self.mean - ROUNDING).mean())

    def __repr__(self) -> str:
        """Mean r and its p."""
        return (
            f"<PermutationTest of {len(self.r)} voxels by {self.n_permutations} permutations: mean r {self.mean:.3f}, "
            f"p = {self.mean_p_rank:.3g}>"
        )

    def _repr_html_(self) -> str:
        """The mean over voxels, and the voxels if they are few, for notebooks."""
        rows: list[tuple[object, ...]] = [("mean", self.mean, "", self.mean_p_rank, "", "")]
        columns = self.to_pandas()
        if len(columns) <= SHOWN:
            rows += columns.itertuples()
        return html_table(repr(self).strip("<>"), ("voxel", "r", "p", "p, by rank", "q", "p, family-wise"), rows)

    def to_pandas(self) -> pd.DataFrame:
        """Correlation of each voxel, and its chance.

        Returns
        -------
        pandas.DataFrame
            ``r``, ``p``, ``p_rank``, ``q`` and ``p_fwe`` by ``voxel``.
        """
        import pandas as pd

        names = ("r", "p", "p_rank", "q", "p_fwe")
        return pd.DataFrame({name: getattr(self, name) for name in names}).rename_axis("voxel")


def permutation_test(
    truth: np.ndarray,
    predicted: np.ndarray,
    *,
    n_permutations: int = 1000,
    group: Any = None,
    exchange: Exchange | None = None,
    seed: int = 0,
) -> PermutationTest:
    """Correlate truth and prediction of clips that were in no fit, and tell the result from chance.

    The clips' responses change places, the same way in all voxels; predictions stay as they are. All predictions must
    come from one fit: of predictions from several folds, each of which was fitted on the others' responses, the p would
    be too small by half.

    Parameters
    ----------
    truth, predicted : ndarray of float, shape (n_clips, n_voxels)
        Of clips of which none was in the fit.
    n_permutations : int
        Orders of the clips, that in which they are included.
    group : array_like, shape (n_clips,), optional
        What clips belong together.
    exchange : {"clips", "groups"}, optional
        What changes places: any clips, or groups of one size as wholes, and clips within them. By default groups where
        there are any.
    seed : int
        Of the permutations.

    Returns
    -------
    PermutationTest

    Raises
    ------
    InputError
        If shapes differ, there are too few clips, groups or permutations, or the prediction is not finite where the
        truth is.

    See Also
    --------
    giblet.encoding.permutation_test_cv : of predictions from several folds.
    giblet.encoding.rotation_test : of films, whose TRs have neighbours.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> truth, predicted = rng.standard_normal((60, 3)), rng.standard_normal((60, 3))
    >>> predicted[:, 0] += truth[:, 0]
    >>> (permutation_test(truth, predicted).p_fwe <= 0.05).tolist()
    [True, False, False]
    """
    truth, predicted = flattened(truth), np.asarray(predicted, np.float64)
    if truth.ndim != 2 or truth.shape != predicted.shape:
        raise InputError(
            f"truth has shape {truth.shape}, prediction {predicted.shape}: two of shape (n_clips, n_voxels) are needed"
        )
    draws = permutation_draws(len(truth), n_permutations, group=group, exchange=exchange, seed=seed)
    alive = voxels_that_change(truth)
    if not np.isfinite(predicted[:, alive]).all():
        raise InputError("the prediction holds NaN or infinite values where the truth holds none: mask those voxels")
    x, y = (np.asarray(side[:, alive] - side[:, alive].mean(0)) for side in (truth, predicted))
    x, y = (side / np.maximum(np.sqrt((side**2).sum(0)), np.finfo(float).tiny) for side in (x, y))
    y[:, flattened(predicted[:, alive]).std(0) == 0] = 0
    null = NullOfVoxels(len(draws), alive)
    for start in range(0, x.shape[1], VOXELS_AT_A_TIME):
        voxels = slice(start, start + VOXELS_AT_A_TIME)
        for at, order in enumerate(draws):
            null.add(voxels, slice(at, at + 1), np.einsum("ij,ij->j", x[order, voxels], y[:, voxels])[None])
    return null.test()


class NullOfVoxels:
    """Sums over permutations, from which the test comes: memory does not grow with voxels times permutations.

    Parameters
    ----------
    n_permutations : int
        That of the clips as they are included; it comes first.
    alive : ndarray of bool, shape (n_voxels,)
        Voxels that are tested.
    """

    def __init__(self, n_permutations: int, alive: np.ndarray) -> None:
        n = int(alive.sum())
        self.alive, self.n_permutations = alive, n_permutations
        self.r, self.n_as_well = np.zeros(n), np.zeros(n)
        self.moments = np.zeros((3, n))
        self.counts = np.zeros(NULL_BINS)
        self.sum, self.highest = np.zeros(n_permutations), np.full(n_permutations, -np.inf)

    def add(self, voxels: slice, permutations: slice, r: np.ndarray) -> None:
        """Count in some permutations of some voxels; of each voxel the first comes first.

        Parameters
        ----------
        voxels, permutations : slice
            Voxels among those that are tested.
        r : ndarray of float64, shape (n_permutations, n_voxels)
            Of these.
        """
        if permutations.start == 0:
            self.r[voxels] = r[0]
        self.n_as_well[voxels] += (r >= self.r[voxels] - ROUNDING).sum(0)
        moved = r[1:] if permutations.start == 0 else r
        bins = np.clip((moved + 1) * (NULL_BINS / 2), 0, NULL_BINS - 1).astype(np.int64)
        self.counts += np.bincount(bins.ravel(), minlength=NULL_BINS)
        z = fisher_z(moved)
        self.moments[:, voxels] += [(z**power).sum(0) for power in (1, 2, 3)]
        self.sum[permutations] += r.sum(1)
        np.maximum(self.highest[permutations], r.max(1, initial=-np.inf), out=self.highest[permutations])

    def test(self) -> PermutationTest:
        """What follows from all of them.

        Returns
        -------
        PermutationTest
        """
        first, second, third = self.moments / (self.n_permutations - 1)
        variance = np.maximum(second - first**2, 0)
        varies = variance > ROUNDING**2
        spread = np.sqrt(variance)
        safe = np.where(varies, spread, 1.0)
        skewness = np.where(varies, (third - 3 * first * second + 2 * first**3) / safe**3, 0.0)
        z = np.where(varies, (fisher_z(self.r) - first) / safe, 0.0)
        # A law skewed to the left ends somewhere, and beyond its end p would be 0.
        p = np.where(varies, pearson3.sf(z, np.clip(skewness, 0, None)), 1.0)
        found = {
            "r": self.r, "p": p, "p_rank": self.n_as_well / self.n_permutations, "z": z, "spread": spread,
            "skewness": skewness,
        }  # fmt: skip
        n_alive = max(1, len(self.r))
        return PermutationTest(
            **{name: _everywhere(values, self.alive) for name, values in found.items()},
            mean_by_permutation=self.sum / n_alive, highest_by_permutation=self.highest,
            null=self.counts / max(1.0, self.counts.sum()),
        )  # fmt: skip


def voxels_that_change(responses: np.ndarray) -> np.ndarray:
    """Voxels that can be tested: finite, and not the same for all clips.

    Parameters
    ----------
    responses : ndarray of float64, shape (n_clips, n_voxels)

    Returns
    -------
    ndarray of bool, shape (n_voxels,)
    """
    finite = np.isfinite(responses).all(0)
    flat = np.ptp(np.where(finite, responses, 0.0), axis=0) == 0
    return finite & ~flat


def permutation_draws(
    n_clips: int, n_permutations: int, *, group: Any = None, exchange: Exchange | None = None, seed: int = 0
) -> np.ndarray:
    """Orders of the clips: as they are, then drawn.

    Parameters
    ----------
    n_clips : int
    n_permutations : int
        At least 100, the order as it is included.
    group : array_like, shape (n_clips,), optional
        What clips belong together.
    exchange : {"clips", "groups"}, optional
        By default groups where there are any.
    seed : int

    Returns
    -------
    ndarray of int64, shape (n_permutations, n_clips)
        In whose place each clip's response is put.

    Raises
    ------
    InputError
        If there are fewer than 1000 orders, half of the groups have no other of their size, or an option is out of
        range.
    """
    if isinstance(n_permutations, bool) or not isinstance(n_permutations, (int, np.integer)) or n_permutations < FEWEST:
        raise InputError(f"n_permutations is {n_permutations!r}: a whole number of at least {FEWEST} is needed")
    exchange = exchange or ("clips" if group is None else "groups")
    if exchange not in ("clips", "groups"):
        raise InputError(f"exchange is {exchange!r}: 'clips' or 'groups' is needed")
    if exchange == "groups" and group is None:
        raise InputError("exchange is 'groups' and there are none: give the group of each clip")
    number = np.zeros(n_clips, np.int64) if exchange == "clips" else group_numbers(group, n_clips)
    places = [np.flatnonzero(number == label) for label in range(int(number.max()) + 1)]
    by_size: dict[int, list[int]] = {}
    for label, own in enumerate(places):
        by_size.setdefault(len(own), []).append(label)
    _check_orders(places, by_size, exchange)
    rng = np.random.default_rng(seed)
    draws = np.empty((int(n_permutations), n_clips), np.int64)
    draws[0] = np.arange(n_clips)
    for order in draws[1:]:
        for labels in by_size.values():
            for label, other in zip(labels, rng.permutation(labels), strict=True):
                order[places[label]] = rng.permutation(places[other])
    return draws


def group_numbers(group: Any, n_clips: int) -> np.ndarray:
    """Groups as numbers from 0.

    Parameters
    ----------
    group : array_like, shape (n_clips,)
    n_clips : int

    Returns
    -------
    ndarray of int64, shape (n_clips,)

    Raises
    ------
    InputError
        If there is not one label for each clip, or a label is missing.
    """
    labels = np.asarray(group)
    if labels.shape != (n_clips,):
        raise InputError(f"group has shape {labels.shape}: one label for each of {n_clips} clips is needed")
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        raise InputError("group holds NaN: each clip needs a group, or none has one")
    return np.unique(labels.astype(str) if labels.dtype == object else labels, return_inverse=True)[1].reshape(-1)


def _check_orders(places: list[np.ndarray], by_size: dict[int, list[int]], exchange: Exchange) -> None:
    moving = sum(len(labels) for labels in by_size.values() if len(labels) > 1)
    if exchange == "groups" and moving < MOVING * len(places):
        raise InputError(
            f"{len(places) - moving} of {len(places)} groups have no other of their size to change places with: make "
            "groups of one size, or say exchange='clips' if clips of one group respond no more alike than any others"
        )
    orders = sum(lgamma(len(labels) + 1) for labels in by_size.values()) + sum(lgamma(len(own) + 1) for own in places)
    if orders < log(FEWEST_ORDERS):
        raise InputError(
            f"{sum(map(len, places))} clips in {len(places)} groups have {np.exp(orders):.0f} orders: at least "
            f"{FEWEST_ORDERS} are needed for a test, such as 7 clips have"
        )


def _everywhere(values: np.ndarray, alive: np.ndarray) -> np.ndarray:
    whole = np.full(len(alive), np.nan)
    whole[alive] = values
    return whole
