"""Identification: is what was decoded nearer to what was shown than to what was shown at other times?

Of single TRs by the direction of their vectors (:func:`identification`), and of passages, stretches of some seconds, by
the correlation of all their values (:func:`identify_passages`).

References
----------
Mitchell, Shinkareva, Carlson, Chang, Malave, Mason, Just (2008). Predicting human brain activity associated with the
meanings of nouns. Science 320, 1191-1195. (Two at a time.)
Kay, Naselaris, Prenger, Gallant (2008). Identifying natural images from human brain activity. Nature 452, 352-355.
(The best of a set.)
Horikawa, Kamitani (2017). Generic decoding of seen and imagined objects using hierarchical visual features. Nature
Communications 8, 15037. (Decoded features and those of each candidate, by their correlation; share of those beaten.)
Défossez, Caucheteux, Rapin, Kabeli, King (2023). Decoding speech perception from non-invasive brain recordings. Nature
Machine Intelligence 5, 1097-1107. (Top-k accuracy of segments of sound among the other ones of the test.)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.stats import rankdata

from giblet.errors import InputError
from giblet.evaluation.compared import tr_means
from giblet.evaluation.passages import RankedRun, passage_starts
from giblet.evaluation.score import Score
from giblet.statistics.estimates import Chance, Estimate, ScoredTRs
from giblet.statistics.rotations import basis_of
from giblet.timing import check_tr

SECONDS = (1.5, 6.0, 15.0)
"""Lengths of passages of sound and pictures."""
SECONDS_OF_WORDS = (1.5, 6.0, 10.0, 15.0, 20.0)
"""Of words, of which most studies tell longer passages apart."""
TOP = (1, 5)
"""Of how many best candidates one has to be the right one."""


@dataclass(frozen=True)
class Identification:
    """How often decoded passages are told apart from the other passages of their run."""

    name: str
    """Of the features, such as ``"text"``."""
    seconds: float
    """Of a passage, a whole number of TRs."""
    n_passages: int
    """Of all runs together; the rest of a run, shorter than a passage, is in none."""
    pairwise: Estimate
    """Share of the other passages of the run that are less like the decoded one than its own is; chance is 0.5."""
    top: Mapping[int, Estimate]
    """By `k`, share of passages whose own is among the `k` most like the decoded one."""
    chance: Mapping[int, float]
    """By `k`, what knowing nothing scores: mean over passages of ``k`` by the number of passages of the run."""
    pairwise_rotated: Chance
    """The prediction rotated in time, whole run by whole run."""
    top_rotated: Mapping[int, Chance]
    """By `k`, the same."""
    ridge: Identification | None = None
    """Of the same passages, as ridge regression decodes them."""
    ceiling: Identification | None = None
    """Of the same passages, as the codec alone brings them back; None where that is the truth itself."""

    def __str__(self) -> str:
        tops = ", ".join(f"top-{k} {one} (chance {self.chance[k]:.3f})" for k, one in self.top.items())
        return f"{self.name}, {self.n_passages} passages of {self.seconds:g} s: pairwise {self.pairwise}, {tops}"

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON.

        Returns
        -------
        dict
            ``name``, ``seconds``, ``n_passages``, ``pairwise`` and ``top`` (by `k`), each with ``chance``, ``rotated``
            and ``p``; and ``ridge`` and ``ceiling``, None or the same of them.
        """

        def told(own: Estimate, chance: float | None, rotated: Chance) -> dict[str, Any]:
            return {**own.as_dict(), "chance": chance, "rotated": rotated.mean, "p": rotated.p, "n": rotated.n}

        expected = {k: None if np.isnan(chance) else chance for k, chance in self.chance.items()}
        return {
            "name": self.name,
            "seconds": self.seconds,
            "n_passages": self.n_passages,
            "pairwise": told(self.pairwise, 0.5, self.pairwise_rotated),
            "top": {str(k): told(one, expected[k], self.top_rotated[k]) for k, one in self.top.items()},
            "ridge": None if self.ridge is None else self.ridge.as_dict(),
            "ceiling": None if self.ceiling is None else self.ceiling.as_dict(),
        }


def identify_passages(
    name: str,
    truth: np.ndarray,
    predicted: np.ndarray,
    trs: ScoredTRs,
    *,
    seconds: float = 10.0,
    top: Sequence[int] = TOP,
    rescaled: bool = True,
    used: np.ndarray | None = None,
    place: np.ndarray | None = None,
) -> Identification:
    """Tell the passages of each run apart by what was decoded.

    Each run is cut into passages that do not overlap. A decoded passage is compared with the true features of all
    passages of its run by Pearson's correlation of all values, TR by TR and feature by feature. Drifts, the mean among
    them, are taken out of both sides of each run before, as in :func:`giblet.statistics.rotation.rotation_test`, so
    that a film that grows louder is not told apart by that.

    Parameters
    ----------
    name : str
        Of the features.
    truth, predicted : ndarray of float, shape (n_trs, n_features, ...)
        Of TRs that were not learned from.
    trs : ScoredTRs
        Their TR, high-pass, and of which run or stretch each is.
    seconds : float
        Length of a passage; of it the nearest whole number of TRs is taken, at least one.
    top : sequence of int
    rescaled : bool
        Give each predicted feature the deviation of the true one in the run. A ridge predicts little of what it knows
        little of; so each feature counts by how much it varies in truth.
    used : ndarray of bool, shape (n_trs,), optional
        TRs in which something was shown, such as those that are not silent. The others are in no passage.
    place : ndarray of int, shape (n_trs,), optional
        Row of the scan of each TR, where some were left out: a passage does not reach over what is missing.

    Returns
    -------
    Identification
        Equal correlations share their places, so that a prediction which says the same of all passages scores chance.
        A run of fewer than two passages has no part; where none has two, there is no value, and the estimate says why.
        `p` is the share of rotations of the prediction, none included, that do as well.

    Raises
    ------
    InputError
        If shapes differ, values are not finite, or `seconds` or `top` cannot be used.

    See Also
    --------
    identification : Of single TRs, by the direction of their vectors.

    References
    ----------
    Santoro, Moerel, De Martino, Valente, Ugurbil, Yacoub, Formisano (2017). Reconstructing the spectrotemporal
    modulations of real-life sounds from fMRI response patterns. PNAS 114, 4799-4804. (Sounds identified by what is
    reconstructed of them.)
    Denk et al. (2023). Brain2Music: reconstructing music from human brain activity. arXiv:2307.11078. (Identification
    of music by the correlation of decoded features.)
    Défossez et al. (2023), as at the head of this file. (Top-k.)

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> truth = rng.standard_normal((200, 5))
    >>> noisy = truth + 2 * rng.standard_normal((200, 5))
    >>> found = identify_passages("text", truth, noisy, ScoredTRs.of(200, 2.0), seconds=10.0)
    >>> found.n_passages, round(found.top[1].value, 2), found.chance[1], found.top_rotated[1].p
    (40, 0.6, 0.025, 0.005)
    """
    truth, predicted = _checked(truth, predicted, trs)
    if not np.isfinite(seconds) or seconds <= 0:
        raise InputError(f"seconds is {seconds}: the length of a passage, more than 0, is needed")
    if not top or any(isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1 for k in top):
        raise InputError(f"top is {top!r}: whole numbers of at least 1 are needed, such as (1, 5)")
    tr = float(check_tr(trs.tr))
    width = max(1, round(seconds / tr))
    used = np.ones(trs.n_trs, bool) if used is None else np.asarray(used, bool)
    place = np.arange(trs.n_trs) if place is None else np.asarray(place)
    runs = []
    for part in _stretches(trs):
        basis = basis_of(part.stop - part.start, tr, trs.high_pass)
        starts = passage_starts(place[part], used[part], width)
        runs.append(RankedRun(truth[part], predicted[part], basis, starts, width, top, rescaled))
    told = [(run, shifts) for run, shifts in zip(runs, trs.rotations.T, strict=True) if run.n >= 2]
    total = sum(run.n for run, _ in told)
    if not total:
        why = f"no run holds two passages of {width * tr:g} s beyond its drifts"
        none = Estimate(None, why=why)
        empty = Chance(None, None, 0)
        return Identification(
            name, width * tr, 0, none, dict.fromkeys(top, none), dict.fromkeys(top, np.nan), empty,
            dict.fromkeys(top, empty),
        )  # fmt: skip
    own = np.concatenate([run.scores() for run, _ in told], axis=1)
    # A score by passage, at each of its TRs, is the series of which the interval is read.
    by_tr = np.repeat(own, width, axis=1)
    held = ScoredTRs(trs.tr, np.repeat(np.arange(len(told)), [run.n * width for run, _ in told]), trs.high_pass)
    values = [held.mean(series) for series in by_tr]
    chances = [Chance(None, None, 0)] * len(own)
    if trs.too_short is None:
        rotated = np.zeros((len(own), len(trs.rotations)))
        for run, shifts in told:
            rotated += run.by_rotation()[:, shifts] / total
        chances = [Chance.of(one, float(one.mean()), ranked=True) for one in rotated]
    expected = {k: float(sum(min(k, run.n) for run, _ in told) / total) for k in top}
    return Identification(
        name, width * tr, total, values[0], dict(zip(top, values[1:], strict=True)), expected, chances[0],
        dict(zip(top, chances[1:], strict=True)),
    )  # fmt: skip


def told_apart(
    name: str,
    truth: np.ndarray,
    predicted: np.ndarray,
    trs: ScoredTRs,
    *,
    ridge: np.ndarray | None = None,
    ceiling: np.ndarray | None = None,
    seconds: Sequence[float] = SECONDS,
    used: np.ndarray | None = None,
    place: np.ndarray | None = None,
) -> list[Identification]:
    """Passages of several lengths told apart, beside what ridge regression decodes of them, and the codec alone.

    Parameters
    ----------
    name : str
    truth, predicted : ndarray of float, shape (n_trs, n_features, ...)
        What is behind the second axis is within the TR; its mean counts.
    trs : ScoredTRs
    ridge : ndarray of float, of the same shape, optional
    ceiling : ndarray of float, of the same shape, optional
        What a perfect prediction would be, such as the sound of the true codes.
    seconds : sequence of float
        Lengths; those that are the same number of TRs count once.
    used, place
        As for :func:`identify_passages`.

    Returns
    -------
    list of Identification
        Of the lengths of which the TRs hold two passages.

    Raises
    ------
    InputError
        As :func:`identify_passages`.
    """
    found = []
    true = tr_means(truth)
    sides = {"own": predicted, "ridge": ridge, "ceiling": ceiling}
    means = {side: tr_means(values) for side, values in sides.items() if values is not None}
    for length in dict.fromkeys(max(1, round(one / float(check_tr(trs.tr)))) * trs.tr for one in seconds):
        told = {
            side: identify_passages(name, true, values, trs, seconds=length, used=used, place=place)
            for side, values in means.items()
        }
        own = replace(told["own"], ridge=told.get("ridge"), ceiling=told.get("ceiling"))
        found += [own] if own.n_passages else []
    return found


def _checked(truth: np.ndarray, predicted: np.ndarray, trs: ScoredTRs) -> tuple[np.ndarray, np.ndarray]:
    truth, predicted = (np.asarray(side, np.float64) for side in (truth, predicted))
    if truth.ndim < 2 or truth.shape != predicted.shape or len(truth) != trs.n_trs:
        raise InputError(
            f"truth has shape {truth.shape}, prediction {predicted.shape}: two of shape ({trs.n_trs}, n_features) are "
            "needed"
        )
    for what, values in (("truth", truth), ("prediction", predicted)):
        bad = int((~np.isfinite(values)).any(axis=tuple(range(1, values.ndim))).sum())
        if bad:
            raise InputError(f"the {what} holds NaN or infinity in {bad} TRs: leave them out, and end a stretch there")
    return truth.reshape(len(truth), -1), predicted.reshape(len(predicted), -1)


def _stretches(trs: ScoredTRs) -> Iterator[slice]:
    start = 0
    for length in trs.lengths:
        yield slice(start, start + length)
        start += length


def identification(name: str, truth: np.ndarray, predicted: np.ndarray, trs: ScoredTRs) -> Score:
    """Whether the true vector of its own TR is nearer to a decoded vector than those of other TRs are.

    Parameters
    ----------
    name : str
        Such as ``"text identification"``.
    truth, predicted : ndarray, shape (n_trs, n_features)
    trs : ScoredTRs

    Returns
    -------
    Score
        Mean share of the other TRs that are further away: 1 where all are, 0.5 by chance.

    See Also
    --------
    identify_passages : Of stretches of several seconds.
    """
    wins = identification_wins(truth, predicted) / (2 * (len(truth) - 1))
    own = wins.diagonal()
    return Score(name, trs.mean(own), None, {}, trs.chance_of_pairs(wins), own)


def identification_wins(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Against how many other TRs a true vector wins as the one nearest to a decoded vector.

    Parameters
    ----------
    truth, predicted : ndarray, shape (n_trs, n_features)
        Compared by their cosine, which is 0 for a vector without a length.

    Returns
    -------
    ndarray of int64, shape (n_trs, n_trs)
        ``[i, j]``: twice the number of true vectors that are further from decoded vector *i* than true vector *j* is,
        and once those that are as far. Chance is ``n_trs - 1``, the most is ``2 * (n_trs - 1)``.

    Examples
    --------
    >>> identification_wins(np.eye(3), np.eye(3)[[0, 1, 1]]).tolist()
    [[4, 1, 1], [1, 4, 1], [1, 4, 1]]
    """
    true, own = (_directions(np.asarray(values, np.float64)) for values in (truth, predicted))
    # Of two equal texts or predictions, one would otherwise be nearer by a rounding.
    cosines = np.round(own @ true.T, 12)
    return np.rint(2 * (rankdata(cosines, axis=1) - 1)).astype(np.int64)


def _directions(vectors: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)
