"""Continuous features beside their prediction: correlations of all values, and of means of TRs over time."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from giblet.evaluation.score import Null, Score
from giblet.statistics.correlation import correlations, mean_correlation_influence, pooled_correlation
from giblet.statistics.estimates import Chance, Estimate, ScoredTRs
from giblet.statistics.rotation import RotationTest

CONSTANT = "never changes, so it has no correlation over time"


def compare(
    name: str,
    truth: np.ndarray,
    predicted: np.ndarray,
    nulls: Mapping[str, np.ndarray],
    trs: ScoredTRs,
    *,
    ceiling: np.ndarray | None = None,
    same: bool = False,
    ridge: np.ndarray | None = None,
) -> list[Score]:
    """Two correlations of continuous features with their prediction.

    Parameters
    ----------
    name : str
        Such as ``"mel r"``.
    truth, predicted : ndarray, shape (n_trs, n_features, ...)
        What is behind the second axis is within the TR.
    nulls : mapping of str to ndarray
        Predictions that say the same of every TR, of the same shape. Their sound may still differ a little from TR to
        TR, as a codec needs some frames to settle: that is no prediction, and not scored over time.
    trs : ScoredTRs
    ceiling : ndarray, optional
        The best prediction that the codec allows.
    same : bool
        `predicted` says the same of every TR too.
    ridge : ndarray, optional
        What ridge regression predicts, of the same shape; its scores stand beside.

    Returns
    -------
    list of Score
        ``name``: all values of all features pooled, so that a constant prediction has a score too, which for spectra
        is high. ``name + " over time"``: of TR means, in each feature by itself, and the mean over features; it has
        none for a constant, and says so.

    Raises
    ------
    InputError
        If the shapes differ, or values are not finite.
    """
    test = trs.test(truth.reshape(len(truth), -1), predicted.reshape(len(predicted), -1))
    found = [
        _pooled(name, truth, predicted, nulls, trs, ceiling, _alike(test, same)),
        _over_time(f"{name} over time", truth, predicted, nulls, trs, ceiling, same),
    ]
    if ridge is None:
        return found
    pooled, x, y = pooled_correlation(truth, ridge), trs.flat(tr_means(truth)), trs.flat(tr_means(ridge))
    own = Estimate(finite(pooled.r), why=None if np.isfinite(pooled.r) else CONSTANT)
    mean = correlations(x, y, trs.run).mean
    theirs = (
        Score(name, own, influence=pooled.influence),
        Score(name, Estimate(mean), influence=mean_correlation_influence(x, y, trs.run)),
    )
    return [one.beside(other, trs) for one, other in zip(found, theirs, strict=True)]


def _alike(test: RotationTest | None, same: bool) -> np.ndarray | None:
    """Pooled correlations by rotation; all 0 for a prediction that says the same of every TR, but for its sound."""
    return None if test is None else test.pooled_by_rotation * (not same)


def tr_means(values: np.ndarray) -> np.ndarray:
    """Means over what is within a TR.

    Parameters
    ----------
    values : ndarray of float, shape (n_trs, n_features, ...)

    Returns
    -------
    ndarray of float64, shape (n_trs, n_features)
    """
    return values.reshape(*values.shape[:2], -1).mean(axis=2, dtype=np.float64)


def _pooled(
    name: str,
    truth: np.ndarray,
    predicted: np.ndarray,
    nulls: Mapping[str, np.ndarray],
    trs: ScoredTRs,
    ceiling: np.ndarray | None,
    by_rotation: np.ndarray | None,
) -> Score:
    """Of all values of all features; its chance is that of what the prediction says of one TR and not of another."""
    own = pooled_correlation(truth, predicted)
    found = {}
    for null, values in nulls.items():
        other = pooled_correlation(truth, values)
        if np.isnan(other.r):
            found[null] = Null(Estimate(None, why=CONSTANT))
            continue
        margin = None
        if np.isfinite(own.r):
            margin = trs.estimate(own.r - other.r, own.influence - other.influence, -2, 2)
        found[null] = Null(trs.estimate(other.r, other.influence, -1, 1), margin)
    chance = Chance(None, None, 0)
    if by_rotation is not None and np.isfinite(own.r):
        # Over all rotations every TR has the mean of the predictions: what they say of each TR alike keeps its score.
        alike = pooled_correlation(truth, np.broadcast_to(predicted.mean(axis=0), predicted.shape)).r
        chance = Chance.of(by_rotation, finite(alike))
    best = None if ceiling is None else finite(pooled_correlation(truth, ceiling).r)
    mine = trs.estimate(own.r, own.influence, -1, 1) if np.isfinite(own.r) else Estimate(None, why=CONSTANT)
    return Score(name, mine, best, found, chance, own.influence)


def _over_time(
    name: str,
    truth: np.ndarray,
    predicted: np.ndarray,
    nulls: Mapping[str, np.ndarray],
    trs: ScoredTRs,
    ceiling: np.ndarray | None,
    same: bool,
) -> Score:
    """Of TR means, feature by feature; nulls that say the same of every TR have none."""
    x, y = tr_means(truth), tr_means(predicted)
    absent = {null: Null(Estimate(None, why=CONSTANT)) for null in nulls}
    best = None
    if ceiling is not None:
        best = correlations(x, tr_means(ceiling), trs.run).mean
    plain = correlations(x, y, trs.run)
    if same or plain.mean is None or plain.constant[plain.defined].all():
        return Score(name, Estimate(None, why=CONSTANT), best, absent, Chance(None, None, 0))
    test, influence = trs.test(x, y), mean_correlation_influence(trs.flat(x), trs.flat(y), trs.run)
    if test is None:
        return Score(name, Estimate(plain.mean), best, absent, Chance(None, None, 0), influence)
    interval = test.mean_interval if trs.has_intervals else ()
    chance = Chance.of(test.whitened_by_rotation, float(test.mean_by_rotation.mean()))
    return Score(name, Estimate(test.mean, *interval), best, absent, chance, influence)


def finite(value: float | None) -> float | None:
    """None in place of what is not finite.

    Parameters
    ----------
    value : float or None

    Returns
    -------
    float or None
    """
    return value if value is not None and np.isfinite(value) else None
