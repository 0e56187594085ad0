"""All folds of a cross-validated model fitted anew on BOLD that was rotated in time, for every rotation.

With the penalties of the fits as they were, predictions are linear in the BOLD. In each fold

    predicted = T diag(1 / (s^2 + alpha)) L bold,  X = U diag(s) V',  L = diag(s) U',  T = X_test V

with ``X`` the training features about their mean in each run. So a rotation costs two products and no fit.

Drifts of each run stay in their place, and what is left is rotated, as Freedman and Lane permute what a reduced model
leaves. A rotated drift would jump where the end of a run meets its beginning, and a model learns from drifts too: as
they stay, the first of all correlations is that of the predictions that were made.

References
----------
Freedman, Lane (1983). A nonstochastic interpretation of reported significance levels. Journal of Business and Economic
Statistics 1, 292-298.
Winkler, Ridgway, Webster, Smith, Nichols (2014). Permutation inference for the general linear model. NeuroImage 92,
381-397.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from giblet.alignment.prewhitening import lag_one, without_drifts
from giblet.encoding.defaults import LEAST_ROTATIONS as LEAST_ROTATIONS
from giblet.encoding.preparation import without_levels
from giblet.errors import InputError
from giblet.runs import run_labels, run_slices
from giblet.statistics.rotations import basis_of, flattened, too_short

VALUES_AT_A_TIME = 2**20
"""TRs x rotations x voxels of a batch: 4 MiB of float32, of which there are some copies."""
CORRELATIONS_AT_A_TIME = 2**21
"""Rotations x voxels of a block: 8 MiB, of which there are some copies."""
EMPTY = 1e-12
"""Singular values below this share of the largest are rounding."""


@dataclass(frozen=True)
class FoldFit:
    """One fold of a cross-validated model: what it learned from, what it predicts, and its penalties."""

    train: np.ndarray
    """int64 (n_train,), ascending: rows."""
    test: np.ndarray
    """int64 (n_test,), ascending: rows."""
    x: np.ndarray
    """float64 (n_trs, n_features): features as its weights multiply them, as ``EncodingModel.prepare`` gives them."""
    alphas: np.ndarray
    """float64 (n_voxels,): penalty in each voxel."""
    band: np.ndarray
    """int64 (n_features,): number of the band of each column, from 0."""
    gammas: np.ndarray
    """float64 (n_bands, n_voxels): weights of the bands; the penalty of a band is ``alphas / gammas``."""

    @classmethod
    def of_model(cls, model: Any, x: np.ndarray, train: np.ndarray, test: np.ndarray) -> FoldFit:
        """That of a model which was fitted on the fold's training rows.

        Parameters
        ----------
        model : EncodingModel
        x : ndarray of float, shape (n_trs, n_features)
            All rows, by its ``prepare``.
        train, test : ndarray of int
            Rows.

        Returns
        -------
        FoldFit
        """
        sizes = [own.stop - own.start for own in model.columns().values()]
        band = np.repeat(np.arange(len(sizes)), sizes)
        return cls(train, test, x, model.best_alphas_, band, model.band_weights_)

    def of_rows(self, rows: np.ndarray, voxels: np.ndarray) -> FoldFit:
        """The same, of some rows and voxels.

        Parameters
        ----------
        rows : ndarray of int, ascending
            All rows of training and test are among them.
        voxels : ndarray of bool, shape (n_voxels,)

        Returns
        -------
        FoldFit
        """
        return FoldFit(
            np.searchsorted(rows, self.train), np.searchsorted(rows, self.test), self.x[rows], self.alphas[voxels],
            self.band, self.gammas[:, voxels],
        )  # fmt: skip


def draws_of(n_trs: int, run: Any, n_rotations: int, seed: int) -> np.ndarray:
    """By how many TRs the runs are rotated, the first time by none.

    Parameters
    ----------
    n_trs : int
    run : array_like, shape (n_trs,), optional
    n_rotations : int
    seed : int

    Returns
    -------
    ndarray of int64, shape (n_rotations, n_runs)
        Of a single run each rotation at most once.

    Raises
    ------
    InputError
        If there are fewer than 20.

    See Also
    --------
    giblet.statistics.rotations.joint_draws : of predictions, which are rotated at less cost.
    """
    if n_rotations < LEAST_ROTATIONS:
        raise InputError(f"n_rotations is {n_rotations}: at least {LEAST_ROTATIONS} are needed for a spread")
    lengths = [part.stop - part.start for part in run_slices(n_trs, run)]
    generator = np.random.default_rng(seed)
    if len(lengths) == 1:
        others = np.arange(1, n_trs)
        if n_rotations < n_trs:
            others = np.sort(generator.choice(others, n_rotations - 1, replace=False))
        return np.r_[0, others][:, None]
    draws = generator.integers(0, lengths, (n_rotations - 1, len(lengths)))
    return np.vstack([np.zeros((1, len(lengths)), np.int64), draws])


def stretch_basis(n_trs: int, tr: float, high_pass: float | None) -> np.ndarray:
    """Drifts of a stretch; the mean alone, where of so short a stretch less than half would be left.

    Parameters
    ----------
    n_trs : int
    tr : float
        Repetition time in seconds.
    high_pass : float or None
        In Hz.

    Returns
    -------
    ndarray of float64, shape (n_trs, n_drifts)

    See Also
    --------
    giblet.statistics.rotations.basis_of : of a run.
    """
    basis = basis_of(n_trs, tr, high_pass)
    return basis if basis.shape[1] <= n_trs // 2 else np.full((n_trs, 1), n_trs**-0.5)


@dataclass(frozen=True)
class Block:
    """Correlations of some voxels by all rotations, the first that of the BOLD as measured."""

    voxels: slice
    plain: np.ndarray
    """float32 (n_rotations, n_voxels_of_block): drifts removed."""
    white: np.ndarray
    """float32 (n_rotations, n_voxels_of_block): the same after prewhitening."""
    alive: np.ndarray
    """bool (n_voxels_of_block,): the BOLD changes."""


class Refits:
    """All folds of a scan, fitted on its BOLD by every rotation.

    Computes in float64 if the BOLD is float64, and else in float32.

    Parameters
    ----------
    bold : ndarray of float, shape (n_trs, n_voxels)
    fits : sequence of FoldFit
    tr : float
        Repetition time in seconds.
    run : array_like, shape (n_trs,), optional
    high_pass : float or None
        In Hz.
    draws : ndarray of int64, shape (n_rotations, n_runs)
        As :func:`draws_of` gives them.

    Raises
    ------
    InputError, AlignmentError
        As :func:`giblet.encoding.rotation_test_cv`.
    """

    def __init__(
        self, bold: np.ndarray, fits: Sequence[FoldFit], tr: float, run: Any, high_pass: float | None, draws: np.ndarray
    ) -> None:
        self.bold, self.fits, self.draws = np.asarray(bold), fits, draws
        self.n_trs, self.n_voxels = self.bold.shape
        self.run, self.parts = run_labels(self.n_trs, run), run_slices(self.n_trs, run)
        self.dtype = np.dtype(np.float64 if self.bold.dtype == np.float64 else np.float32)
        _check(self.bold, fits)
        lengths = [part.stop - part.start for part in self.parts]
        if why := too_short(lengths, tr, high_pass):
            raise InputError(why)
        self.drifts = [basis_of(length, tr, high_pass) for length in lengths]
        self.order = np.empty((len(draws), self.n_trs), np.int64)
        """int64 (n_rotations, n_trs): which row stands where."""
        for part, length, shifts in zip(self.parts, lengths, draws.T, strict=True):
            self.order[:, part] = part.start + (np.arange(length) - shifts[:, None]) % length
        self.stretches = [_stretches(fit.test, self.run) for fit in fits]
        self.bases = [[stretch_basis(one.stop - one.start, tr, high_pass) for one in own] for own in self.stretches]
        n_stretches = [len(own) for own in self.stretches]
        self._pools = [np.zeros((n, 3, len(draws))) for n in n_stretches]

    def blocks(self) -> Iterator[Block]:
        """Correlations of all voxels, block by block, so that memory does not grow with their number.

        Within folds and runs, their mean weighted by TRs; 0 where a side does not vary.

        Yields
        ------
        Block
        """
        size = max(1, CORRELATIONS_AT_A_TIME // len(self.draws))
        for start in range(0, self.n_voxels, size):
            block = np.arange(start, min(start + size, self.n_voxels))
            plain, white = np.zeros((2, len(self.draws), len(block)), np.float32)
            alive = np.zeros(len(block), bool)
            for fold, fit in enumerate(self.fits):
                gammas, member = np.unique(fit.gammas[:, block], axis=1, return_inverse=True)
                for number, gamma in enumerate(gammas.T):
                    solved = self.solved(fold, gamma)
                    own = np.flatnonzero(member.ravel() == number)
                    for some, rotations in self._batches(own):
                        crossed, alive[some] = self._crossed(fold, solved, block[some], rotations)
                        plain[rotations, some] += crossed[0]
                        white[rotations, some] += crossed[1]
            yield Block(slice(start, start + len(block)), plain, white, alive)

    def pooled(self) -> np.ndarray:
        """Correlation of all values of all voxels that were gone through, each about its mean, prewhitened.

        Returns
        -------
        ndarray of float64, shape (n_rotations,)
        """
        total = np.zeros(len(self.draws))
        for stretches, sums in zip(self.stretches, self._pools, strict=True):
            for stretch, (cross, *powers) in zip(stretches, sums, strict=True):
                total += (stretch.stop - stretch.start) / self.n_trs * _ratio(cross, *powers)
        return total

    def solved(self, fold: int, gamma: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Squared singular values, ``L`` and ``T`` (see the module) of a fold, with these weights of the bands.

        Parameters
        ----------
        fold : int
        gamma : ndarray of float64, shape (n_bands,)

        Returns
        -------
        squares : ndarray of float64, shape (n_components,)
        learn : ndarray, shape (n_trs, n_components)
            ``L'``, 0 in rows of no training.
        tell : ndarray of float64, shape (n_test, n_components)
        """
        fit = self.fits[fold]
        x = without_levels(fit.x * np.sqrt(gamma)[fit.band], self.run, fit.train)
        mean = x[fit.train].mean(axis=0)
        left, size, right = np.linalg.svd(x[fit.train] - mean, full_matrices=False)
        some = size > EMPTY * size[0]
        learn = np.zeros((self.n_trs, int(some.sum())), self.dtype)
        learn[fit.train] = left[:, some] * size[some]
        return size[some] ** 2, learn, (x[fit.test] - mean) @ right[some].T

    def rotated(self, voxels: np.ndarray, rotations: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """BOLD of some voxels by some rotations, drifts in their place; what `phi` it has, and whether it changes.

        Parameters
        ----------
        voxels : ndarray of int
        rotations : slice

        Returns
        -------
        y : ndarray, shape (n_voxels, n_rotations, n_trs)
            Without the level of each run.
        phi : ndarray of float64, shape (n_voxels,)
        alive : ndarray of bool, shape (n_voxels,)
        """
        whole = flattened(self.bold[:, voxels])
        clean = np.empty_like(whole)
        for part, basis in zip(self.parts, self.drifts, strict=True):
            whole[part] -= whole[part].mean(axis=0)
            clean[part] = without_drifts(whole[part], basis)
        alive = (clean != 0).any(axis=0)
        slow = np.where(alive, whole - clean, 0)
        y = np.take(np.ascontiguousarray(clean.T, self.dtype), self.order[rotations], axis=1)
        y += np.ascontiguousarray(slow.T, self.dtype)[:, None]
        return y, lag_one([clean[part] for part in self.parts]), alive

    def _batches(self, voxels: np.ndarray) -> Iterator[tuple[np.ndarray, slice]]:
        n_rotations = min(len(self.draws), max(1, VALUES_AT_A_TIME // self.n_trs))
        step = max(1, VALUES_AT_A_TIME // (self.n_trs * n_rotations))
        for start in range(0, len(voxels), step):
            for first in range(0, len(self.draws), n_rotations):
                yield voxels[start : start + step], slice(first, first + n_rotations)

    def _crossed(
        self, fold: int, solved: tuple[np.ndarray, np.ndarray, np.ndarray], voxels: np.ndarray, rotations: slice
    ) -> tuple[np.ndarray, np.ndarray]:
        """What a fold adds to both correlations, (2, n_rotations, n_voxels), and which voxels change."""
        squares, learn, tell = solved
        y, phi, alive = self.rotated(voxels, rotations)
        shape = y.shape[:2]
        y = y.reshape(-1, self.n_trs)
        inner = (y @ learn).reshape(*shape, -1)
        inner /= (squares + self.fits[fold].alphas[voxels][:, None]).astype(self.dtype)[:, None]
        inner = inner.reshape(len(y), -1)
        total, begin = np.zeros((2, *shape)), 0
        for number, (stretch, basis) in enumerate(zip(self.stretches[fold], self.bases[fold], strict=True)):
            length = stretch.stop - stretch.start
            # Drifts are taken out of what predictions are made of, so that predictions have none.
            parts = without_drifts(tell[begin : begin + length], basis).T.astype(self.dtype)
            truth = _without(y[:, stretch], basis.astype(self.dtype))
            plain, white = _products(truth, inner @ parts, np.repeat(phi, shape[1]))
            total += length / self.n_trs * np.stack([_ratio(*plain), _ratio(*white)]).reshape(2, *shape)
            self._pools[fold][number][:, rotations] += white.reshape(3, *shape).sum(axis=1)
            begin += length
        return total.transpose(0, 2, 1), alive


def _stretches(rows: np.ndarray, run: np.ndarray) -> list[slice]:
    """Neighbouring rows of one run."""
    ends = np.flatnonzero((np.diff(rows) != 1) | (run[rows[1:]] != run[rows[:-1]])) + 1
    return [slice(int(own[0]), int(own[-1]) + 1) for own in np.split(rows, ends)]


def _without(values: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Series (n_columns, n_trs) without drifts; those of which only rounding is left become 0."""
    drifts = values @ basis
    left = drifts @ basis.T
    np.subtract(values, left, out=left)
    rounding = (10 * np.finfo(values.dtype).eps) ** 2
    dead = np.einsum("ij,ij->i", left, left) <= rounding * np.einsum("ij,ij->i", drifts, drifts)
    if dead.any():
        left[dead] = 0
    return left


def _products(x: np.ndarray, y: np.ndarray, phi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums of x y, x x and y y, (3, n_columns), and the same once both sides went through the filter of `phi`.

    Series are (n_columns, n_trs) and have mean 0. The filter (:func:`giblet.alignment.prewhitening.whitened`) is
    linear, so that products of filtered series come from products of the series with each other and with their
    neighbours, and no series is filtered.
    """
    plain, white = np.empty((2, 3, len(phi)))
    start = np.sqrt(1 - phi**2)
    for row, (one, other) in enumerate(((x, y), (x, x), (y, y))):
        plain[row] = np.einsum("ij,ij->i", one, other)
        shared = np.einsum("ij,ij->i", one[:, 1:], other[:, :-1]).astype(np.float64)
        shared += shared if one is other else np.einsum("ij,ij->i", one[:, :-1], other[:, 1:])
        first, last = ((one[:, at] * other[:, at]).astype(np.float64) for at in (0, -1))
        mean = np.ones(len(phi))
        for side in (one, other):
            mean *= (start - 1) * side[:, 0] + phi * side[:, -1]
        white[row] = plain[row] - phi**2 * first + phi**2 * (plain[row] - last) - phi * shared - mean / x.shape[1]
    return plain, white


def _ratio(cross: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    size = np.sqrt(np.maximum(one, 0) * np.maximum(other, 0))
    return np.divide(cross, size, out=np.zeros_like(size), where=size > 0)


def _check(bold: np.ndarray, fits: Sequence[FoldFit]) -> None:
    n_trs, n_voxels = bold.shape
    n_bad = sum(bold[at : at + 32].size - int(np.isfinite(bold[at : at + 32]).sum()) for at in range(0, n_trs, 32))
    if n_bad:
        raise InputError(f"the BOLD holds {n_bad} NaN or infinite values: mask them")
    tested = np.sort(np.concatenate([fit.test for fit in fits])) if len(fits) else np.arange(0)
    if not np.array_equal(tested, np.arange(n_trs)):
        raise InputError(
            f"the folds predict {len(np.unique(tested))} of {n_trs} TRs, {len(tested)} times in all: each TR must be "
            "predicted once; leave out the TRs that are not"
        )
    for number, fit in enumerate(fits):
        if len(np.intersect1d(fit.train, fit.test)):
            raise InputError(f"fold {number} learns from TRs that it predicts: give folds that do not")
        if len(fit.x) != n_trs or fit.alphas.shape != (n_voxels,) or fit.gammas.shape[1] != n_voxels:
            raise InputError(
                f"fold {number} has features of {len(fit.x)} TRs and penalties {fit.alphas.shape}: {n_trs} TRs and "
                f"({n_voxels},) penalties are needed"
            )
        if not (np.isfinite(fit.x).all() and np.isfinite(fit.alphas).all() and (fit.alphas > 0).all()):
            raise InputError(
                f"fold {number} has features that are not finite, or penalties that are not above 0: pass a fit's"
            )
