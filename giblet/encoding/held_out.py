"""Each TR predicted by a model that did not see it, and what the predictions are worth, voxel by voxel."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn.base import clone

from giblet.alignment.prewhitening import without_drifts
from giblet.encoding.bands import without_band
from giblet.encoding.model import EncodingModel
from giblet.encoding.refits import FoldFit, stretch_basis
from giblet.encoding.rotation_cv import BINS, N_ROTATIONS, CrossValidatedTest, rotation_test_refitted
from giblet.runs import run_slices
from giblet.statistics.rotation import RotationTest, rotation_test
from giblet.statistics.rotations import HIGH_PASS, Rotations, flattened, too_short

BATCH = 2048
"""Voxels at a time."""
NULL_VOXELS = 500
"""Voxels, evenly drawn from all, whose rotations are shown as the null."""


@dataclass(frozen=True)
class HeldOut:
    """Predictions of test rows, by the whole model, by each band of it, and by models without a band."""

    rows: np.ndarray
    """int64 (n_test,): the test rows, ascending."""
    whole: np.ndarray
    """float32 (n_test, n_voxels), without the level of the BOLD, beside which float32 might not resolve them; NaN in
    voxels that no model could be fitted in."""
    by_band: dict[str, np.ndarray]
    """float32 (n_test, n_voxels): parts of `whole` by band; they sum to it but for a constant."""
    without: dict[str, np.ndarray]
    """float32 (n_test, n_voxels): of models that were fitted without the band; empty where there is one band."""
    alphas: np.ndarray
    """float64 (n_voxels,): penalty, the geometric mean over folds."""
    cv_scores: np.ndarray
    """float64 (n_voxels,): mean over folds of what penalties were chosen by."""
    notes: list[str] = field(default_factory=list)
    """What is off, in sentences, each once."""
    fits: list[FoldFit] = field(default_factory=list)
    """Of each fold, where there are several."""


def predict_held_out(
    model: EncodingModel, X: Mapping[str, Any], bold: np.ndarray, folds: Sequence[tuple[np.ndarray, np.ndarray]], *,
    run: np.ndarray, unique: bool = True, tell: Callable[[int, int], None] | None = None,
) -> tuple[HeldOut, EncodingModel]:  # fmt: skip
    """Fit on the training rows of each fold, and predict its test rows.

    Parameters
    ----------
    model : EncodingModel
        Its options; it is not changed.
    X : mapping of str to array_like of float, shape (n_trs, n_features)
    bold : ndarray of float, shape (n_trs, n_voxels)
    folds : sequence of (train, test)
        Rows, ascending; no row is tested twice.
    run : ndarray, shape (n_trs,)
        Run of each row. Responses go on over the border of training and test, and end with their run.
    unique : bool
        Also fit without each band.
    tell : callable, optional
        Called with fits that are done and fits in all.

    Returns
    -------
    held_out : HeldOut
    last : EncodingModel
        As it was fitted in the last fold.
    """
    rows = np.sort(np.concatenate([test for _, test in folds]))
    shape, names = (len(rows), bold.shape[1]), list(X)
    left_out = names if unique and len(names) > 1 else []
    whole = np.full(shape, np.nan, np.float32)
    by_band = {name: np.full(shape, np.nan, np.float32) for name in names} if len(names) > 1 else {}
    without = {name: np.full(shape, np.nan, np.float32) for name in left_out}
    alphas, cv_scores, notes, fits = [], [], dict[str, list[str]](), list[FoldFit]()
    total = len(folds) * (1 + len(left_out))
    for number, (train, test) in enumerate(folds):
        at = np.searchsorted(rows, test)
        with quiet_fits():
            fitted = clone(model).fit(X, bold, run=run, train=train)
            x = fitted.prepare(X, run)
        parts = _parts(fitted, x[test])
        if len(folds) > 1:
            fits.append(FoldFit.of_model(fitted, x, train, test))
        for name, own in by_band.items():
            own[at] = parts[name]
        whole[at] = sum(parts.values()) + fitted.offset_.astype(np.float32)
        alphas.append(np.log(fitted.best_alphas_))
        cv_scores.append(fitted.cv_scores_)
        for note in fitted.notes_:
            notes.setdefault(re.sub(r"[\d.,]+", "#", note), []).append(note)
        if tell:
            tell(number * (1 + len(left_out)) + 1, total)
        for k, name in enumerate(left_out):
            others = {other: values for other, values in X.items() if other != name}
            with quiet_fits():
                smaller = without_band(model, name).fit(others, bold, run=run, train=train)
                without[name][at] = sum(_parts(smaller, smaller.prepare(others, run)[test]).values())
            if tell:
                tell(number * (1 + len(left_out)) + 2 + k, total)
    found = HeldOut(
        rows, whole, by_band, without, np.exp(np.mean(alphas, axis=0)), np.mean(cv_scores, axis=0), _told(notes, folds),
        fits,
    )  # fmt: skip
    return found, fitted


def _told(notes: Mapping[str, Sequence[str]], folds: Sequence[Any]) -> list[str]:
    """Notes of all folds, those that differ by numbers alone once."""
    several = len(folds) > 1
    return [f"{alike[0]} (in {len(alike)} of {len(folds)} folds)" if several else alike[0] for alike in notes.values()]


@contextmanager
def quiet_fits() -> Iterator[None]:
    """Fits of the block say nothing in the log; ``notes_`` of the models hold it.

    Yields
    ------
    None
    """
    loggers = [logging.getLogger(name) for name in ("giblet.encoding.model", "giblet.encoding.fitted")]
    levels = [one.level for one in loggers]
    for one in loggers:
        one.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for one, level in zip(loggers, levels, strict=True):
            one.setLevel(level)


def _parts(model: EncodingModel, x: np.ndarray) -> dict[str, np.ndarray]:
    """What each band adds to the prediction of prepared rows."""
    x = x.astype(model.weights_.dtype)
    return {
        name: np.asarray(x[:, columns] @ model.weights_[columns], np.float32)
        for name, columns in model.columns().items()
    }


@dataclass(frozen=True)
class HeldOutScores:
    """Scores of held-out predictions, drifts removed from both sides in each stretch."""

    r: np.ndarray
    """float64 (n_voxels,): correlation, of several stretches the mean weighted by their TRs."""
    test: RotationTest | None
    """Of the voxels that were fitted; None where the stretches are too short to be rotated, see `why`."""
    why: str | None
    """Why there is no test."""
    tested: np.ndarray
    """bool (n_voxels,): what `test` is of."""
    split: dict[str, np.ndarray]
    """float64 (n_voxels,) by band: its part of `r`; they sum to it."""
    unique: dict[str, np.ndarray]
    """float64 (n_voxels,) by band: R2 of the whole less R2 without it."""
    r2: np.ndarray
    """float64 (n_voxels,)."""
    null: np.ndarray
    """float64 (200,): share of rotations (of one fold, those of some hundred voxels) with `r` in bins of .01 from -1 to
    1; zeros without a test."""

    def of(self, name: str) -> np.ndarray:
        """A map of the test, NaN in voxels that were not tested.

        Parameters
        ----------
        name : {"p", "q", "p_fwe", "p_rank"}

        Returns
        -------
        ndarray of float64, shape (n_voxels,)
        """
        found = np.full(len(self.tested), np.nan)
        if self.test is not None:
            found[self.tested] = getattr(self.test, name)
        return found

    def by_rotation(self) -> dict[str, np.ndarray]:
        """Correlations of each rotation, where folds were fitted anew and they were kept, for a test of a group.

        Returns
        -------
        dict of str to ndarray
            ``r_by_rotation`` and ``white_by_rotation``, float32 (n_rotations, n_voxels), NaN in voxels that were not
            tested, and ``pooled_by_rotation``, float64 (n_rotations,); else empty.
        """
        if not isinstance(self.test, CrossValidatedTest) or self.test.r_by_rotation is None:
            return {}
        found = {"pooled_by_rotation": self.test.pooled_by_rotation}
        for name in ("r_by_rotation", "white_by_rotation"):
            values = getattr(self.test, name)
            found[name] = np.full((len(values), len(self.tested)), np.nan, np.float32)
            found[name][:, self.tested] = values
        return found


def score_held_out(
    held_out: HeldOut, bold: np.ndarray, stretches: np.ndarray, *, tr: float, high_pass: float | None = HIGH_PASS,
    seed: int = 0, run: np.ndarray | None = None, n_rotations: int = N_ROTATIONS, keep_rotations: bool = False,
) -> HeldOutScores:  # fmt: skip
    """Correlate held-out predictions with the BOLD, test them by rotation, and split them by band.

    Predictions of one fold are rotated. Of several folds, which learn from each other's BOLD, the BOLD is rotated and
    every fold fitted anew: :func:`giblet.encoding.rotation_test_refitted`.

    Parameters
    ----------
    held_out : HeldOut
    bold : ndarray of float, shape (n_test, n_voxels)
        Of the rows that were predicted.
    stretches : ndarray of int, shape (n_test,)
        Stretch of each row: predictions of one model, in one run.
    tr : float
        Repetition time in seconds.
    high_pass : float or None
        In Hz.
    seed : int
        Of joint rotations of several stretches, and of those of the BOLD.
    run : ndarray of int, shape (n_test,), optional
        Run of each row, within which the BOLD is rotated where there are several folds.
    n_rotations : int
        Of the BOLD.
    keep_rotations : bool
        Keep the correlations of each rotation of the BOLD, for a test of several subjects.

    Returns
    -------
    HeldOutScores
    """
    n_voxels = bold.shape[1]
    tested = np.isfinite(held_out.whole).all(0) & np.isfinite(bold).all(0)
    parts = run_slices(len(bold), stretches)
    lengths = [part.stop - part.start for part in parts]
    bases = [stretch_basis(length, tr, high_pass) for length in lengths]
    r, r2 = np.full((2, n_voxels), np.nan)
    split = {name: np.full(n_voxels, np.nan) for name in held_out.by_band}
    unique = {name: np.full(n_voxels, np.nan) for name in held_out.without}
    for start in range(0, n_voxels, BATCH):
        own = np.flatnonzero(tested[start : start + BATCH]) + start
        if not len(own):
            continue
        scored = _scored(held_out, bold, own, parts, bases)
        r[own], r2[own] = scored[0], scored[1]
        for name in split:
            split[name][own] = scored[2][name]
        for name in unique:
            unique[name][own] = scored[3][name]
    several = len(held_out.fits) > 1
    rotated = [part.stop - part.start for part in run_slices(len(bold), run)] if several else lengths
    why = too_short(rotated, tr, high_pass)
    if not tested.any():
        why = "no voxel could be fitted and tested"
    if why is not None:
        return HeldOutScores(r, None, why, tested, split, unique, r2, np.zeros(len(BINS) - 1))
    truth = bold[:, tested]
    if several:
        refitted = rotation_test_refitted(
            truth, [fit.of_rows(held_out.rows, tested) for fit in held_out.fits], tr=tr, run=run, high_pass=high_pass,
            n_rotations=n_rotations, seed=seed, keep_rotations=keep_rotations,
        )  # fmt: skip
        return HeldOutScores(r, refitted, None, tested, split, unique, r2, refitted.null)
    whole = held_out.whole[:, tested]
    test = rotation_test(truth, whole, tr=tr, run=stretches, high_pass=high_pass, seed=seed)
    r[tested] = test.r
    some = np.unique(np.linspace(0, truth.shape[1] - 1, NULL_VOXELS).astype(int))
    null = _null(truth[:, some], whole[:, some], tr=tr, run=stretches, high_pass=high_pass, seed=seed)
    return HeldOutScores(r, test, None, tested, split, unique, r2, null)


def _scored(
    held_out: HeldOut, bold: np.ndarray, own: np.ndarray, parts: Sequence[slice], bases: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """r, R2, parts of r by band, and unique R2 by band, of some voxels."""
    r, total, error = np.zeros((3, len(own)))
    split = {name: np.zeros(len(own)) for name in held_out.by_band}
    errors = {name: np.zeros(len(own)) for name in held_out.without}
    for part, basis in zip(parts, bases, strict=True):

        def clean(values: np.ndarray, part: slice = part, basis: np.ndarray = basis) -> np.ndarray:
            return without_drifts(flattened(values[part][:, own]), basis)

        truth, whole = clean(bold), clean(held_out.whole)
        power = np.einsum("ij,ij->j", truth, truth)
        size = np.sqrt(power * np.einsum("ij,ij->j", whole, whole))
        weight = np.divide((part.stop - part.start) / len(bold), size, out=np.zeros_like(size), where=size > 0)
        r += weight * np.einsum("ij,ij->j", truth, whole)
        for name, predicted in held_out.by_band.items():
            split[name] += weight * np.einsum("ij,ij->j", truth, clean(predicted))
        total += power
        error += ((truth - whole) ** 2).sum(0)
        for name, predicted in held_out.without.items():
            errors[name] += ((truth - clean(predicted)) ** 2).sum(0)
    alive = np.where(total > 0, total, np.nan)
    unique = {name: (one - error) / alive for name, one in errors.items()}
    return np.where(total > 0, r, np.nan), 1 - error / alive, split, unique


def _null(truth: np.ndarray, predicted: np.ndarray, **options: Any) -> np.ndarray:
    counts = np.zeros(len(BINS) - 1)
    rotations = Rotations.of(truth, predicted, **options)
    for _, null in rotations.nulls(truth, predicted):
        counts += np.histogram(null.plain[null.alive][:, 1:], BINS)[0]
    return counts / max(1.0, counts.sum())
