"""How well a perfect model could do: ceilings from repeats of a film, and from several subjects who saw it.

A repeat is signal and noise, ``y_i = s + e_i``. A model that knows *s* and nothing else correlates with one repeat by
``sqrt(var(s) / (var(s) + var(e)))``, and with the mean of *n* by ``sqrt(var(s) / (var(s) + var(e) / n))``. What repeats
have in common by chance is taken off, so that the explainable variance of a voxel without signal is 0 on average, and
below 0 half of the time. Where a ceiling is not above its own chance, a correlation divided by it is noise, and NaN.

References
----------
Hsu, Borst, Theunissen (2004). Quantifying variability in neural responses and its application for the validation of
model predictions. Network: Computation in Neural Systems 15, 91-109.
Nili, Wingfield, Walther, Su, Marslen-Wilson, Kriegeskorte (2014). A toolbox for representational similarity analysis.
PLoS Computational Biology 10, e1003553.
Sahani, Linden (2003). How linear are auditory cortical responses? Advances in Neural Information Processing Systems 15.
Schoppe, Harper, Willmore, King, Schnupp (2016). Measuring the performance of neural models. Frontiers in Computational
Neuroscience 10, 10.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np

from giblet.alignment.prewhitening import lag_one, without_drifts
from giblet.errors import InputError
from giblet.runs import run_slices
from giblet.statistics.correction import fisher_z, normal_p
from giblet.statistics.correlation import correlations
from giblet.statistics.rotations import DRAWS, HIGH_PASS, VALUES_AT_A_TIME, Rotations, basis_of, flattened
from giblet.timing import check_tr

SIGNIFICANT = 0.05
"""p of a ceiling, from which on a correlation is divided by it."""
SPLITS = 126
"""Halvings of repeats that are tried, at most: all of ten repeats."""
Measured = Literal["one", "mean"]
Method = Literal["signal power", "halves"]


def explainable_variance(
    repeats: Sequence[np.ndarray] | np.ndarray,
    *,
    bias_correction: bool = True,
    tr: float | None = None,
    run: Sequence[int] | np.ndarray | None = None,
    high_pass: float | None = HIGH_PASS,
) -> np.ndarray:
    """Part of the variance of one repeat that is signal: ``var(s) / (var(s) + var(e))``.

    ``ev = var(mean of repeats) / mean(var of each)``, over TRs, less ``(1 - ev) / (n_repeats - 1)`` for the noise that
    is left in the mean: the signal power of Sahani and Linden over the power of a repeat.

    Parameters
    ----------
    repeats : sequence of ndarray of float, or ndarray, shape (n_repeats, n_trs, n_voxels)
        BOLD of the same TRs of the same film, at least two times.
    bias_correction : bool
        Take off what noise leaves in the mean. False: a voxel of noise has ``1 / n_repeats``.
    tr : float, optional
        Repetition time in seconds. With it drifts are removed as :func:`giblet.statistics.rotation_test` does; without,
        only the mean of each run is.
    run : array_like, shape (n_trs,), optional
        Run, or stretch of successive TRs, of each TR.
    high_pass : float or None
        In Hz: with `tr`, slower cosines are drifts. None: only mean, line and parabola are.

    Returns
    -------
    ndarray of float64, shape (n_voxels,)
        With the correction as often below 0 as above where there is no signal. NaN where the BOLD never changes.

    Raises
    ------
    InputError
        If there are fewer than two repeats, their shapes differ, or values are not finite.
    AlignmentError
        If `run` is not one label for each TR, or a run comes in pieces.

    See Also
    --------
    noise_ceiling : the correlation that goes with it.
    """
    series = _without_drifts(_stacked(repeats, "repeat"), tr, run, high_pass)
    power = np.mean([_power(one) for one in series], axis=0)
    share = np.divide(_power(_mean(series)), power, out=np.full_like(power, np.nan), where=power > 0)
    return share - (1 - share) / (len(series) - 1) if bias_correction else share


def noise_ceiling(
    repeats: Sequence[np.ndarray] | np.ndarray,
    *,
    of: Measured = "one",
    method: Method = "signal power",
    tr: float | None = None,
    run: Sequence[int] | np.ndarray | None = None,
    high_pass: float | None = HIGH_PASS,
) -> np.ndarray:
    """Correlation of a perfect model with one repeat, or with the mean of the repeats.

    Parameters
    ----------
    repeats : sequence of ndarray of float, or ndarray, shape (n_repeats, n_trs, n_voxels)
        BOLD of the same TRs of the same film, at least two times.
    of : {"one", "mean"}
        What models are compared with: a single repeat, or the mean of these, whose noise is less.
    method : {"signal power", "halves"}
        From the signal power (Sahani and Linden; Schoppe et al., ``CC_max``), or from the correlation of the means of
        both halves of the repeats, over all halvings (Hsu et al.), which needs an even number of repeats.
    tr : float, optional
        Repetition time in seconds. With it drifts are removed, as from what is compared with the ceiling.
    run : array_like, shape (n_trs,), optional
        Run, or stretch of successive TRs, of each TR.
    high_pass : float or None
        In Hz: with `tr`, slower cosines are drifts.

    Returns
    -------
    ndarray of float64, shape (n_voxels,)
        0 where repeats have no signal in common, and NaN where the BOLD never changes. :func:`ceiling_p` says where it
        is above chance.

    Raises
    ------
    InputError
        As :func:`explainable_variance`; if `of` or `method` is neither of its words, or halves are odd.
    AlignmentError
        If `run` is not one label for each TR, or a run comes in pieces.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> repeats = rng.standard_normal((1, 500, 1)) + rng.standard_normal((4, 500, 1))
    >>> noise_ceiling(repeats).round(1).tolist()  # half of the variance is signal
    [0.7]
    """
    if of not in ("one", "mean"):
        raise InputError(f"of is {of!r}: 'one' (a single repeat) or 'mean' (the mean of all) is needed")
    if method == "signal power":
        share = explainable_variance(repeats, tr=tr, run=run, high_pass=high_pass)
    elif method == "halves":
        share = _share_by_halves(_without_drifts(_stacked(repeats, "repeat"), tr, run, high_pass))
    else:
        raise InputError(f"method is {method!r}: 'signal power' or 'halves' is needed")
    share, n = np.clip(share, 0, 1), len(repeats)
    return np.sqrt(share if of == "one" else n * share / (1 + (n - 1) * share))


def _share_by_halves(series: Sequence[np.ndarray]) -> np.ndarray:
    """Part of the variance of one repeat that is signal, from correlations of the means of halves."""
    n = len(series)
    if n % 2:
        raise InputError(f"{n} repeats have no halves: give an even number, or use method='signal power'")
    halves = [(0, *rest) for rest in combinations(range(1, n), n // 2 - 1)]
    if len(halves) > SPLITS:
        chosen = np.random.default_rng(0).choice(len(halves), SPLITS, replace=False)
        halves = [halves[i] for i in chosen]
    total = np.zeros(series[0].shape[1])
    for half in halves:
        x, y = (_mean([one for i, one in enumerate(series) if (i in half) == mine]) for mine in (True, False))
        size = np.sqrt(_power(x) * _power(y))
        products = np.einsum("ij,ij->j", x, y)
        total += np.divide(products, size, out=np.full_like(size, np.nan), where=size > 0)
    r = total / len(halves)
    return 2 * r / (2 * r + n * (1 - r))  # a half holds n / 2 repeats


def ceiling_p(
    repeats: Sequence[np.ndarray] | np.ndarray,
    *,
    tr: float,
    run: Sequence[int] | np.ndarray | None = None,
    high_pass: float | None = HIGH_PASS,
    seed: int = 0,
) -> np.ndarray:
    """Is there a signal that repeats, or subjects, have in common? p of the mean correlation of all pairs, by rotation.

    Each repeat is rotated in time by a draw of its own; of two, one is rotated by every number of TRs.

    Parameters
    ----------
    repeats : sequence of ndarray of float, or ndarray, shape (n_repeats, n_trs, n_voxels)
        BOLD of the same TRs of the same film: of one subject again and again, or of several.
    tr : float
        Repetition time in seconds.
    run : array_like, shape (n_trs,), optional
        Run, or stretch of successive TRs, of each TR. Drifts are removed, and series rotated, within each.
    high_pass : float or None
        In Hz: slower cosines are drifts too.
    seed : int
        Of the draws.

    Returns
    -------
    ndarray of float64, shape (n_voxels,)
        One-sided, by the normal law of Fisher's z as in :func:`giblet.statistics.rotation_test`. NaN where the BOLD
        never changes.

    Raises
    ------
    InputError
        As :func:`explainable_variance`, and if runs are too short to be rotated.
    AlignmentError
        If `run` is not one label for each TR, or a run comes in pieces.
    """
    series = _stacked(repeats, "repeat")
    n_trs, n_voxels = series[0].shape
    rotations = Rotations.of(series[0], series[0], tr=tr, run=run, high_pass=high_pass)
    lengths, pairs = np.array(rotations.lengths), list(combinations(range(len(series)), 2))
    draws = np.random.default_rng(seed).integers(0, lengths, (len(series), DRAWS, len(lengths)))
    draws = np.concatenate([np.zeros_like(draws[:, :1]), draws], axis=1)
    one_by_one = len(series) == 2 and len(lengths) == 1
    p = np.empty(n_voxels)
    step = max(8, VALUES_AT_A_TIME // max(n_trs, DRAWS))
    for start in range(0, n_voxels, step):
        block = slice(start, start + step)
        prepared = [rotations.prepared(one[:, block]) for one in series]
        phi = lag_one([own.T for one in prepared for own in one])
        n_drawn = n_trs if one_by_one else DRAWS + 1
        total, n_pairs = np.zeros((len(phi), n_drawn)), np.zeros(len(phi))
        for i, j in pairs:
            relative = None if one_by_one else (draws[j] - draws[i]) % lengths
            null = rotations.null(prepared[i], prepared[j], phi=phi, draws=relative)
            total += fisher_z(null.white)
            n_pairs += null.alive
        mean = np.tanh(total / len(pairs))
        p[block] = np.where(n_pairs > 0, normal_p(mean.T), np.nan)
    return p


def ceiling_ratio(r: np.ndarray, ceiling: np.ndarray, p: np.ndarray, *, alpha: float = SIGNIFICANT) -> np.ndarray:
    """``r / ceiling`` where the ceiling is above its own chance, and NaN elsewhere: never a ratio of noise.

    Parameters
    ----------
    r : ndarray of float, shape (n_voxels,)
        Of a model, with what the ceiling is of (one repeat, their mean, one subject) and the same drifts removed.
    ceiling : ndarray of float, shape (n_voxels,)
        Of :func:`noise_ceiling`, or a bound of :func:`intersubject_correlation`.
    p : ndarray of float, shape (n_voxels,)
        Of the ceiling, by :func:`ceiling_p`.
    alpha : float
        The greatest p at which there is a ratio.

    Returns
    -------
    ndarray of float64, shape (n_voxels,)
        Above 1 where chance was kind to the model or hard on the ceiling.

    Raises
    ------
    InputError
        If the shapes differ.
    """
    r, ceiling, p = (np.asarray(one, np.float64) for one in (r, ceiling, p))
    if not r.shape == ceiling.shape == p.shape:
        raise InputError(f"r has shape {r.shape}, ceiling {ceiling.shape}, p {p.shape}: one of each voxel is needed")
    with np.errstate(invalid="ignore"):
        above = (p <= alpha) & (ceiling > 0)
    return np.divide(r, ceiling, out=np.full(r.shape, np.nan), where=above)


def normalized_correlation(
    repeats: Sequence[np.ndarray] | np.ndarray,
    predicted: np.ndarray,
    *,
    tr: float,
    run: Sequence[int] | np.ndarray | None = None,
    high_pass: float | None = HIGH_PASS,
    alpha: float = SIGNIFICANT,
) -> np.ndarray:
    """Correlation of a prediction with the mean of the repeats, over that of a perfect model.

    ``cov(predicted, mean of repeats) / sqrt(var(predicted) * signal power)`` (Schoppe et al., ``CC_norm``), drifts
    removed from both sides.

    Parameters
    ----------
    repeats : sequence of ndarray of float, or ndarray, shape (n_repeats, n_trs, n_voxels)
        BOLD of the same TRs of the same film, of no training.
    predicted : ndarray of float, shape (n_trs, n_voxels)
    tr : float
        Repetition time in seconds.
    run : array_like, shape (n_trs,), optional
        Run, or stretch of successive TRs, of each TR.
    high_pass : float or None
        In Hz: slower cosines are drifts too.
    alpha : float
        The greatest p of the ceiling, by :func:`ceiling_p`, at which there is a ratio.

    Returns
    -------
    ndarray of float64, shape (n_voxels,)
        NaN where the ceiling is not above its chance; 0 where the prediction never changes.

    Raises
    ------
    InputError
        As :func:`ceiling_p`, and if the prediction has another shape.
    AlignmentError
        If `run` is not one label for each TR, or a run comes in pieces.
    """
    stacked = _stacked(repeats, "repeat")
    if np.shape(predicted) != stacked[0].shape:
        raise InputError(
            f"repeats have shape {stacked[0].shape}, the prediction {np.shape(predicted)}: pass the same TRs and voxels"
        )
    series = _without_drifts([*stacked, flattened(predicted)], tr, run, high_pass)
    mean, model = _mean(series[:-1]), series[-1]
    n, total = len(stacked), sum(_power(one) for one in series[:-1])
    signal = (n**2 * _power(mean) - total) / (n * (n - 1))
    size = np.sqrt(_power(model) * np.maximum(signal, 0))
    shared = np.einsum("ij,ij->j", model, mean)
    ratio = np.divide(shared, size, out=np.zeros_like(size), where=size > 0)
    p = ceiling_p(repeats, tr=tr, run=run, high_pass=high_pass)
    with np.errstate(invalid="ignore"):
        return np.where((p <= alpha) & (signal > 0), ratio, np.nan)


@dataclass(frozen=True)
class IntersubjectCorrelation:
    """How much of each voxel's BOLD subjects of one film have in common, as bounds of a model's r in one subject.

    They bound a model of what is shared. A model that is fitted to a subject can know what is the subject's own, and
    be above both.
    """

    lower: np.ndarray
    """float64 (n_voxels,): lower bound, leave-one-out. Each subject with the mean of the others, which has noise left;
    mean over subjects of Fisher's z."""
    upper: np.ndarray
    """float64 (n_voxels,): upper bound. Each subject with the mean of all, which holds the subject's own noise too."""
    expected: np.ndarray
    """float64 (n_voxels,): r of a perfect model of what is shared, the root of the mean correlation of two subjects;
    0 where that is negative. Between the bounds, but for noise."""
    by_subject: np.ndarray
    """float64 (n_subjects, n_voxels): each with the mean of the others. NaN where the subject's BOLD never changes."""
    p: np.ndarray | None
    """float64 (n_voxels,): by :func:`ceiling_p`. None where no `tr` was given."""

    def summary(self, unit: str = "voxel") -> str:
        """Medians over voxels, in words that say which bound is which.

        Parameters
        ----------
        unit : str
            What to call a voxel: ``"region"``, ``"grayordinate"``.

        Returns
        -------
        str
        """
        low, high = (float(np.nanmedian(one)) for one in (self.lower, self.upper))
        return (
            f"inter-subject correlation of {len(self.by_subject)} subjects, median over {unit}s: lower bound {low:.3f} "
            f"(each with the mean of the others), upper bound {high:.3f} (each with the mean of all)"
        )


def intersubject_correlation(
    bold: Sequence[np.ndarray] | np.ndarray,
    *,
    tr: float | None = None,
    run: Sequence[int] | np.ndarray | None = None,
    high_pass: float | None = HIGH_PASS,
) -> IntersubjectCorrelation:
    """Leave-one-out correlation of subjects who saw one film: lower and upper bound of a model's r in one subject.

    Parameters
    ----------
    bold : sequence of ndarray of float, or ndarray, shape (n_subjects, n_trs, n_voxels)
        Of the same TRs of the same film, in a common space. Each subject counts alike, whatever the scale of its BOLD.
    tr : float, optional
        Repetition time in seconds. With it drifts are removed, and there is a p; without, only means are removed.
    run : array_like, shape (n_trs,), optional
        Run, or stretch of successive TRs, of each TR; correlations are within runs.
    high_pass : float or None
        In Hz: with `tr`, slower cosines are drifts.

    Returns
    -------
    IntersubjectCorrelation

    Raises
    ------
    InputError
        If there are fewer than two subjects, their shapes differ, values are not finite, or with `tr` runs are too
        short to be rotated.
    AlignmentError
        If `run` is not one label for each TR, or a run comes in pieces.
    """
    stacked = _stacked(bold, "subject")
    parts = run_slices(len(stacked[0]), run)
    series = [_unit(one, parts) for one in _without_drifts(stacked, tr, run, high_pass)]
    labels = np.repeat(np.arange(len(parts)), [part.stop - part.start for part in parts])
    total, n = np.sum(series, axis=0), len(series)
    alone = np.stack([correlations(one, total - one, labels).r for one in series])
    with_all = np.stack([correlations(one, total, labels).r for one in series])
    pairs = [correlations(series[i], series[j], labels).r for i, j in combinations(range(n), 2)]
    p = None if tr is None else ceiling_p(stacked, tr=tr, run=run, high_pass=high_pass)
    # A subject whose BOLD never changes correlates with no one by 0 as the second of a pair, and NaN as the first.
    living = np.isfinite(alone)
    n_pairs = np.maximum((living.sum(axis=0) * (living.sum(axis=0) - 1)) // 2, 1)
    expected = np.sqrt(np.maximum(np.nansum(pairs, axis=0) / n_pairs, 0))
    known = living.sum(axis=0) >= 2
    lower, upper = (
        np.tanh(np.nansum(fisher_z(some), axis=0) / np.maximum(living.sum(axis=0), 1)) for some in (alone, with_all)
    )
    lower, upper, expected = (np.where(known, one, np.nan) for one in (lower, upper, expected))
    return IntersubjectCorrelation(lower, upper, expected, alone, p)


def _stacked(series: Sequence[np.ndarray] | np.ndarray, what: str) -> list[np.ndarray]:
    """Series of equal shape as float64; what is constant up to rounding is so exactly."""
    stacked = [flattened(one) for one in series]
    if len(stacked) < 2:
        raise InputError(f"{len(stacked)} {what}: a ceiling needs at least two")
    for number, one in enumerate(stacked):
        if one.ndim != 2 or one.shape != stacked[0].shape:
            raise InputError(
                f"{what} {number} has shape {one.shape}, {what} 0 {stacked[0].shape}: the same TRs and voxels are "
                "needed of all, (n_trs, n_voxels) each"
            )
        if not np.isfinite(one).all():
            raise InputError(
                f"{what} {number} holds {int((~np.isfinite(one)).sum())} NaN or infinite values: mask them"
            )
    return stacked


def _without_drifts(
    series: Sequence[np.ndarray], tr: float | None, run: Sequence[int] | np.ndarray | None, high_pass: float | None
) -> list[np.ndarray]:
    """Without the mean of each run, and where the TR is known without its drifts."""
    parts = run_slices(len(series[0]), run)
    bases = []
    for part in parts:
        n = part.stop - part.start
        bases.append(np.full((n, 1), n**-0.5) if tr is None else basis_of(n, float(check_tr(tr)), high_pass))
    return [
        np.concatenate([without_drifts(one[part], basis) for part, basis in zip(parts, bases, strict=True)])
        for one in series
    ]


def _unit(values: np.ndarray, parts: Sequence[slice]) -> np.ndarray:
    """Columns of variance 1 in each run; those that never change stay 0."""
    scaled = np.zeros_like(values)
    for part in parts:
        size = np.sqrt(_power(values[part]))
        np.divide(values[part], size, out=scaled[part], where=size > 0)
    return scaled


def _power(values: np.ndarray) -> np.ndarray:
    """Squares summed over TRs, column by column."""
    return np.einsum("ij,ij->j", values, values)


def _mean(series: Sequence[np.ndarray]) -> np.ndarray:
    return np.mean(series, axis=0)
