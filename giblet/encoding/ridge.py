"""Ridge regression with a penalty for each voxel, chosen on folds left out; with one band of features or several.

References
----------
Nunez-Elizalde, Huth, Gallant (2019). Voxelwise encoding models with non-spherical multivariate normal priors.
NeuroImage 197, 482-492.
Dupré la Tour, Eickenberg, Nunez-Elizalde, Gallant (2022). Feature-space selection with banded ridge regression.
NeuroImage 264, 119728.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from himalaya.backend import get_backend
from himalaya.kernel_ridge import generate_dirichlet_samples

from giblet.encoding.defaults import ALPHAS as ALPHAS
from giblet.encoding.eigen import FoldError
from giblet.encoding.engine import Engine
from giblet.encoding.products import Fold, Moments, Tall, Wide
from giblet.errors import InputError

SCORINGS = ("r2", "neg_mse")
WORKING_BYTES = 64 * 2**20
"""What the products of one batch of voxels may take."""
KEPT_BYTES = 512 * 2**20
"""What the moments of all voxels may take to be kept from one candidate of the search to the next."""
SLOPE = 1e-10
"""Times the log of the penalty, added to its score: of two equal scores the larger penalty wins, as in himalaya."""


class Targets(Protocol):
    """Training BOLD that is read a batch of voxels at a time."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(n_rows, n_voxels)"""

    def __getitem__(self, key: Any) -> np.ndarray:
        """``targets[:, batch]``"""


@dataclass(frozen=True)
class RidgeSolution:
    """Penalties chosen, and the weights of all rows with them."""

    coef: np.ndarray
    """float32 or float64 (n_features, n_voxels)."""
    intercept: np.ndarray
    """float64 (n_voxels,): ``predicted = x @ coef + intercept``."""
    alphas: np.ndarray
    """float64 (n_voxels,): the penalty chosen, one of those given."""
    gammas: np.ndarray
    """float64 (n_bands, n_voxels): weights of the bands, of sum 1; ones with one band. The penalty of a band is
    ``alphas / gammas``."""
    cv_scores: np.ndarray
    """float64 (n_voxels,): mean score of the folds left out, with what was chosen."""


def solve_ridge_cv(
    x: np.ndarray,
    targets: Targets,
    folds: Sequence[tuple[np.ndarray, np.ndarray]],
    alphas: Sequence[float] | np.ndarray,
    *,
    band: np.ndarray | None = None,
    gammas: np.ndarray | None = None,
    scoring: str = "r2",
    n_targets_batch: int | str = "auto",
    backend: str = "numpy",
    dtype: Any = np.float32,
) -> RidgeSolution:  # 10 parameters: those of himalaya's solvers, which this one stands for
    """Choose for each voxel the penalty, and the weights of the bands, that predict folds left out best; fit all rows.

    Features and targets are centred within each fold by the means of its training rows. All products are in float64.

    Parameters
    ----------
    x : ndarray of float, shape (n_rows, n_features)
    targets : ndarray or Targets, shape (n_rows, n_voxels)
        Finite; read a batch of voxels at a time, and not changed.
    folds : sequence of (train, test)
        Places of rows, as scikit-learn's splitters give them.
    alphas : array_like of float, shape (n_alphas,)
        Positive.
    band : ndarray of int, shape (n_features,), optional
        Number of the band of each column, from 0; by default all are of one.
    gammas : ndarray of float, shape (n_candidates, n_bands), optional
        Weights of the bands to try, of sum 1; by default one candidate of equal weights.
    scoring : {"r2", "neg_mse"}
        Of a fold left out, the mean over folds is maximised: R2, or minus the mean squared error, which is what
        himalaya does unless told otherwise. A fold in which a voxel is constant has no R2 and is left out of its mean.
    n_targets_batch : int or "auto"
        Voxels at a time; "auto": as many as 64 MB of products hold.
    backend : {"numpy", "torch", "torch_cuda"}
    dtype : dtype
        Of the weights.

    Returns
    -------
    RidgeSolution

    Raises
    ------
    InputError
        If penalties are not positive, an option is unknown, or a fold is empty or learns from what it leaves out.

    See Also
    --------
    giblet.encoding.EncodingModel : The estimator, which prepares features and says what is off.
    """
    tried = checked_alphas(alphas)
    if scoring not in SCORINGS:
        raise InputError(f"scoring is {scoring!r}: one of {', '.join(map(repr, SCORINGS))} is needed")
    if n_targets_batch != "auto" and not (isinstance(n_targets_batch, (int, np.integer)) and n_targets_batch >= 1):
        raise InputError(f"n_targets_batch is {n_targets_batch!r}: a whole number of at least 1, or 'auto', is needed")
    x = np.asarray(x, np.float64)
    (n_rows, n_features), n_voxels = x.shape, targets.shape[1]
    band = np.zeros(n_features, np.int64) if band is None else np.asarray(band)
    if gammas is None:
        n_bands = int(band.max()) + 1
        gammas = np.full((1, n_bands), 1 / n_bands)
    parts = [Fold.of(*fold, n_rows) for fold in folds]
    mean = x.mean(0)
    engine = Engine(backend)
    design = (Wide if n_features > n_rows else Tall)(engine, x - mean, band, parts)
    rank = min(n_features, n_rows)
    size = n_targets_batch if n_targets_batch != "auto" else _batch_size(n_rows, rank, len(parts), len(tried))
    batches = [slice(at, min(at + int(size), n_voxels)) for at in range(0, n_voxels, int(size))]
    search = _Search(engine, design, targets, batches, tried, scoring)
    chosen, at, scores = search.best(gammas)
    coef, level = search.refit(gammas, chosen, tried[at], np.dtype(dtype))
    return RidgeSolution(coef, level - mean @ coef, tried[at], gammas[chosen].T.copy(), scores)


def candidates(n_bands: int, n_iter: int, random_state: Any) -> np.ndarray:
    """Weights of the bands to try: equal ones, then samples of Dirichlet distributions, as himalaya draws them.

    Parameters
    ----------
    n_bands : int
    n_iter : int
        At least 1; with one band there is one candidate.
    random_state : int or None
        The seed.

    Returns
    -------
    ndarray of float64, shape (n_iter, n_bands)

    Raises
    ------
    InputError
        If there would be none.
    """
    if isinstance(n_iter, bool) or not isinstance(n_iter, (int, np.integer)) or n_iter < 1:
        raise InputError(f"n_iter is {n_iter!r}: a whole number of at least 1 is needed")
    if n_bands == 1:
        return np.ones((1, 1))
    drawn = generate_dirichlet_samples(int(n_iter), n_bands, concentration=[0.1, 1.0], random_state=random_state)
    gammas = np.array(get_backend().to_numpy(drawn), np.float64)
    gammas[0] = 1 / n_bands
    return gammas


def checked_alphas(alphas: Any) -> np.ndarray:
    """Penalties as an array.

    Parameters
    ----------
    alphas : array_like of float, shape (n_alphas,), or float

    Returns
    -------
    ndarray of float64, shape (n_alphas,)

    Raises
    ------
    InputError
        If one is not positive and finite.
    """
    tried = np.atleast_1d(np.asarray(alphas, np.float64))
    if tried.ndim != 1 or not len(tried):
        raise InputError(f"alphas have shape {tried.shape}: a list of penalties is needed")
    if not (np.isfinite(tried) & (tried > 0)).all():
        bad = tried[~(np.isfinite(tried) & (tried > 0))][0]
        raise InputError(f"alphas hold {bad:g}: penalties are positive numbers, e.g. np.logspace(-1, 7, 17)")
    return tried


def _batch_size(n_rows: int, rank: int, n_folds: int, n_alphas: int) -> int:
    """Voxels of which the products of a batch take :data:`WORKING_BYTES`."""
    per_voxel = 8 * (3 * n_rows + (2 * n_folds + 4) * rank + 4 * n_alphas)
    return int(np.clip(WORKING_BYTES // per_voxel, 16, 8192))


class _Search:
    """The candidates on all voxels, a batch at a time."""

    def __init__(
        self,
        engine: Engine,
        design: Tall | Wide,
        targets: Targets,
        batches: Sequence[slice],
        alphas: np.ndarray,
        scoring: str,
    ) -> None:
        self.engine, self.design, self.targets, self.batches = engine, design, targets, batches
        self.alphas, self.scoring = alphas, scoring
        self.kept: dict[int, list[Moments]] = {}

    def centred(self, batch: Any) -> tuple[Any, np.ndarray]:
        """Targets of some voxels in float64, about their means, and the means."""
        y = np.asarray(self.targets[:, batch], np.float64)
        level = y.mean(0)
        return self.engine.array(y - level), level

    def moments(self, number: int, keep: bool) -> list[Moments]:
        if number in self.kept:
            return self.kept[number]
        found = self.design.moments(self.centred(self.batches[number])[0])
        if keep:
            self.kept[number] = found
        return found

    def scored(self, errors: Sequence[FoldError], moments: Sequence[Moments]) -> np.ndarray:
        """Mean over folds of the score, (n_alphas, n_voxels)."""
        total: Any = 0
        defined: Any = 0
        for error, own, fold in zip(errors, moments, self.design.folds, strict=True):
            if self.scoring == "neg_mse":
                total, defined = total - error(own) / len(fold.test), defined + 1
                continue
            changes = own.spread > 1e-14 * own.total
            spread = own.spread + (own.total + 1) * ~changes
            total = total + (1 - error(own) / spread) * changes
            defined = defined + changes
        scores = self.engine.numpy(total)
        defined = defined if isinstance(defined, int) else self.engine.numpy(defined)
        return scores / np.maximum(defined, 1)

    def best(self, gammas: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Number of the candidate, place of the penalty, and score, of each voxel."""
        n_voxels = self.targets.shape[1]
        chosen, at = np.zeros(n_voxels, np.int64), np.zeros(n_voxels, np.int64)
        best = np.full(n_voxels, -np.inf)
        slope = SLOPE * np.log(self.alphas)[:, None]
        values_per_voxel = 2 * min(self.design.x.shape) * len(self.design.folds)
        keep = len(gammas) > 1 and isinstance(self.design, Tall) and 8 * n_voxels * values_per_voxel < KEPT_BYTES
        for candidate, gamma in enumerate(gammas):
            errors = [
                FoldError(self.engine, self.design.basis(gamma, fold), self.alphas)
                for fold in range(len(self.design.folds))
            ]
            for number, batch in enumerate(self.batches):
                scores = self.scored(errors, self.moments(number, keep)) + slope
                place = scores.argmax(0)
                score = np.take_along_axis(scores, place[None], 0)[0]
                better = score > best[batch] + np.finfo(np.float64).eps
                at[batch] = np.where(better, place, at[batch])
                chosen[batch] = np.where(better, candidate, chosen[batch])
                best[batch] = np.where(better, score, best[batch])
        self.kept.clear()
        return chosen, at, best - SLOPE * np.log(self.alphas[at])

    def refit(
        self, gammas: np.ndarray, chosen: np.ndarray, alphas: np.ndarray, dtype: np.dtype
    ) -> tuple[np.ndarray, np.ndarray]:
        """Weights and means of all rows."""
        coef = np.empty((len(self.design.band), len(chosen)), dtype)
        level = np.empty(len(chosen))
        size = max(1, self.batches[0].stop)
        for candidate in np.unique(chosen):
            own = np.flatnonzero(chosen == candidate)
            basis = self.design.basis(gammas[candidate], None)
            for part in _in_parts(own, size):
                y, level[part] = self.centred(part)
                found = self.design.weights(gammas[candidate], basis, y, self.engine.array(alphas[part]))
                coef[:, part] = self.engine.numpy(found)
        return coef, level


def _in_parts(places: np.ndarray, size: int) -> Iterator[np.ndarray | slice]:
    """Some at a time; as a slice where they are neighbours, which needs no copy."""
    for start in range(0, len(places), size):
        part = places[start : start + size]
        whole = part[-1] - part[0] + 1 == len(part)
        yield slice(int(part[0]), int(part[-1]) + 1) if whole else part
