"""Are cross-validated predictions better than chance? The BOLD is rotated in time and every fold is fitted anew.

Where each TR is predicted by a model of the other folds, the folds' predictions depend on each other's BOLD: what one
fold has by chance the others have learned. A rotation of predictions that stay as they are knows nothing of it, and
finds too much (docs/encoding_calibration.md has the rates). Here the BOLD is rotated instead, before anything is
learned, and goes through all fits again (:mod:`giblet.encoding.refits`); its drifts stay where they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtr
from scipy.stats import t as student

from giblet.encoding.defaults import N_ROTATIONS as N_ROTATIONS
from giblet.encoding.group import GroupTest
from giblet.encoding.refits import CORRELATIONS_AT_A_TIME, FoldFit, Refits, draws_of
from giblet.errors import InputError
from giblet.statistics.correction import ROUNDING, fisher_z, rank_p
from giblet.statistics.rotation import RotationTest
from giblet.statistics.rotations import HIGH_PASS

BINS = np.linspace(-1, 1, 201)
"""Of a histogram of correlations."""


class AboutMean:
    """Of a test whose correlations are compared with the mean that rotations have, which is not 0."""

    mean_by_rotation: np.ndarray
    whitened_by_rotation: np.ndarray
    pooled_by_rotation: np.ndarray

    @property
    def mean_p(self) -> float:
        """Of the mean over columns, as `p`."""
        return float(ndtr(-about_mean(self.whitened_by_rotation[:, None])[0][0, 0]))

    @property
    def pooled_p(self) -> float:
        """Of all columns pooled, as `p`."""
        return float(ndtr(-about_mean(self.pooled_by_rotation[:, None])[0][0, 0]))

    @property
    def mean_interval(self) -> tuple[float, float]:
        """95 % interval of the mean, by the spread of Fisher's z over rotations about their mean."""
        z = fisher_z(self.mean_by_rotation)
        spread = float(z.std())
        reach = float(student.ppf(0.975, max(1.0, 1 / spread**2)) * spread) if spread > 0 else 0.0
        return float(np.tanh(z[0] - reach)), float(np.tanh(z[0] + reach))


@dataclass(frozen=True, repr=False)
class CrossValidatedTest(AboutMean, RotationTest):
    """As :class:`giblet.statistics.RotationTest`, with every fold fitted anew on rotated BOLD.

    Correlations are about the mean that rotations have, which is not 0: ``z = (z[0] - mean(z)) / std(z)``.
    """

    null: np.ndarray
    """float64 (200,): share of all rotations but the first, in all columns, with `r` in bins of .01 from -1 to 1."""
    r_by_rotation: np.ndarray | None
    """float32 (n_rotations, n_voxels): `r` for each rotation of the BOLD, the first as measured, NaN where the BOLD
    never changes; None unless they were to be kept."""
    white_by_rotation: np.ndarray | None
    """float32 (n_rotations, n_voxels): the same after prewhitening, which `p` is read from."""


@dataclass(frozen=True, repr=False)
class CrossValidatedGroupTest(AboutMean, GroupTest):
    """As :class:`giblet.encoding.GroupTest`, about the mean that rotations have."""


def rotation_test_cv(
    x: np.ndarray,
    bold: np.ndarray,
    folds: Sequence[tuple[np.ndarray, np.ndarray]],
    *,
    alphas: np.ndarray | float,
    tr: float,
    run: Sequence[int] | np.ndarray | None = None,
    high_pass: float | None = HIGH_PASS,
    n_rotations: int = N_ROTATIONS,
    seed: int = 0,
    keep_rotations: bool = False,
) -> CrossValidatedTest:
    """Predict each TR by a ridge of the other folds, and tell the correlation from chance by rotating the BOLD.

    The BOLD is rotated within runs, all voxels by the same TRs, and the folds are fitted anew for each rotation, with
    penalties as they were for the BOLD as measured. The drifts of each run stay in their place. Rows that are
    predicted, learned from or left out as a gap stay what they are. Correlations are within folds and runs, drifts
    removed on both sides, their mean weighted by TRs.

    Parameters
    ----------
    x : ndarray of float, shape (n_trs, n_features)
        Convolved and scaled already, as ``EncodingModel.prepare`` gives them.
    bold : ndarray of float, shape (n_trs, n_voxels)
    folds : sequence of (train, test)
        Rows, such as :class:`giblet.encoding.BlockedFolds` gives; each row is tested once.
    alphas : ndarray of float, shape (n_voxels,) or (n_folds, n_voxels), or float
        Penalties.
    tr : float
        Repetition time in seconds.
    run : array_like, shape (n_trs,), optional
        Run of each row. Levels of runs are taken out, and BOLD is rotated, within each.
    high_pass : float or None
        In Hz: slower cosines are drifts too.
    n_rotations : int
        That by nothing included. A single run of fewer TRs has as many as it has TRs.
    seed : int
        Of the rotations.
    keep_rotations : bool
        Keep the correlations of each rotation, 8 bytes per rotation and voxel, for :func:`rotation_test_group_cv`.

    Returns
    -------
    CrossValidatedTest

    Raises
    ------
    InputError
        If shapes do not fit, values are not finite, a row is not tested once, a run is too short to be rotated, or
        there are fewer than 20 rotations.
    AlignmentError
        If `run` is not one label for each TR, or a run comes in pieces.

    See Also
    --------
    giblet.statistics.rotation_test : of predictions by one model that saw none of these TRs.
    rotation_test_refitted : of several bands, and features prepared in each fold.

    Examples
    --------
    >>> from giblet.encoding import BlockedFolds
    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal((200, 3))
    >>> bold = rng.standard_normal((200, 2))
    >>> bold[:, 0] += x[:, 0]
    >>> folds = list(BlockedFolds(4, 32.0, tr=2.0).split(x))
    >>> rotation_test_cv(x, bold, folds, alphas=10.0, tr=2.0).p.round(2).tolist()
    [0.0, 0.23]
    """
    features = np.asarray(x, np.float64)
    if features.ndim != 2 or np.ndim(bold) != 2 or len(features) != len(bold):
        raise InputError(
            f"x has shape {np.shape(x)}, BOLD {np.shape(bold)}: (n_trs, n_features) and (n_trs, n_voxels) are needed"
        )
    n_voxels = np.shape(bold)[1]
    penalties = np.broadcast_to(np.asarray(alphas, np.float64), (len(folds), n_voxels))
    band, gammas = np.zeros(features.shape[1], np.int64), np.ones((1, n_voxels))
    fits = [
        FoldFit(np.asarray(train), np.asarray(test), features, own, band, gammas)
        for (train, test), own in zip(folds, penalties, strict=True)
    ]
    return rotation_test_refitted(
        bold, fits, tr=tr, run=run, high_pass=high_pass, n_rotations=n_rotations, seed=seed,
        keep_rotations=keep_rotations,
    )  # fmt: skip


def rotation_test_refitted(
    bold: np.ndarray,
    fits: Sequence[FoldFit],
    *,
    tr: float,
    run: Sequence[int] | np.ndarray | None = None,
    high_pass: float | None = HIGH_PASS,
    n_rotations: int = N_ROTATIONS,
    seed: int = 0,
    keep_rotations: bool = False,
) -> CrossValidatedTest:
    """As :func:`rotation_test_cv`, of several bands, and of features that each fold has prepared.

    Parameters
    ----------
    bold : ndarray of float, shape (n_trs, n_voxels)
        Memory for some thousand voxels is needed beside it, however many there are.
    fits : sequence of FoldFit
    tr : float
        Repetition time in seconds.
    run : array_like, shape (n_trs,), optional
    high_pass : float or None
        In Hz.
    n_rotations : int
    seed : int
    keep_rotations : bool

    Returns
    -------
    CrossValidatedTest

    Raises
    ------
    InputError, AlignmentError
        As :func:`rotation_test_cv`.

    See Also
    --------
    rotation_test_cv : of one band that is prepared already.
    rotation_test_group_cv : of several subjects.
    """
    n_trs, n_voxels = np.shape(bold)
    draws = draws_of(n_trs, run, n_rotations, seed)
    refits = Refits(bold, fits, tr, run, high_pass, draws)
    found = _Found(len(draws), n_voxels)
    kept = np.full((2, len(draws), n_voxels), np.nan, np.float32) if keep_rotations else None
    for block in refits.blocks():
        found.add(block.voxels, block.plain, block.white, block.alive)
        if kept is not None:
            for whole, own in zip(kept, (block.plain, block.white), strict=True):
                whole[:, block.voxels] = np.where(block.alive, own, np.float32(np.nan))
    r_by_rotation, white_by_rotation = (None, None) if kept is None else kept
    return CrossValidatedTest(
        **found.fields(refits.pooled()), null=found.null(), r_by_rotation=r_by_rotation,
        white_by_rotation=white_by_rotation,
    )  # fmt: skip


def rotation_test_group_cv(tests: Sequence[CrossValidatedTest]) -> CrossValidatedGroupTest:
    """Test the mean over subjects of one film, of whom each was tested with the same rotations.

    Parameters
    ----------
    tests : sequence of CrossValidatedTest
        Of :func:`rotation_test_cv` with ``keep_rotations=True`` and the same runs, `n_rotations` and `seed`, so that
        all BOLD is rotated by the same TRs of the same film, and what people share stays shared.

    Returns
    -------
    CrossValidatedGroupTest
        A GroupTest, of the mean over subjects of Fisher's z, about its mean over rotations.

    Raises
    ------
    InputError
        If there are fewer than two, they have other numbers of rotations or voxels, or rotations were not kept.

    See Also
    --------
    giblet.encoding.rotation_test_group : of predictions by one model in each subject that saw none of these TRs.
    """
    if any(one.white_by_rotation is None for one in tests):
        raise InputError("a subject was tested without its rotations: keep_rotations=True is needed for a group")
    kept: list[Any] = [(one.r_by_rotation, one.white_by_rotation) for one in tests]
    return group_of(kept, [one.pooled_by_rotation for one in tests])


def group_of(
    kept: Sequence[tuple[np.ndarray, np.ndarray]], pooled: Sequence[np.ndarray]
) -> CrossValidatedGroupTest:  # fmt: skip
    """As :func:`rotation_test_group_cv`, from the correlations that were kept of each subject.

    Parameters
    ----------
    kept : sequence of (r_by_rotation, white_by_rotation)
        ndarray of float32, shape (n_rotations, n_voxels); NaN in voxels that were not tested.
    pooled : sequence of ndarray of float64, shape (n_rotations,)

    Returns
    -------
    CrossValidatedGroupTest

    Raises
    ------
    InputError
        As :func:`rotation_test_group_cv`.

    See Also
    --------
    rotation_test_group_cv : from tests.
    """
    if len(kept) < 2:
        raise InputError(f"{len(kept)} subject: a group needs at least two")
    shapes = {white.shape for _, white in kept}
    if len(shapes) > 1:
        raise InputError(f"subjects have rotations and voxels {sorted(shapes)}: the same are needed of all")
    n_rotations, n_voxels = next(iter(shapes))
    found = _Found(n_rotations, n_voxels)
    size = max(1, CORRELATIONS_AT_A_TIME // n_rotations)
    for start in range(0, n_voxels, size):
        block = slice(start, min(start + size, n_voxels))
        alive = np.stack([np.isfinite(white[:, block]).all(axis=0) for _, white in kept])
        plain, white = (
            np.tanh(
                sum(np.where(own, fisher_z(both[k][:, block]), 0) for both, own in zip(kept, alive, strict=True))
                / np.maximum(alive.sum(axis=0), 1)
            )
            for k in (0, 1)
        )
        found.add(block, plain, white, np.asarray(alive.any(axis=0)))
    both_pooled = np.tanh(np.mean([fisher_z(one) for one in pooled], axis=0))
    r_by_subject = np.stack([plain[0].astype(np.float64) for plain, _ in kept])
    return CrossValidatedGroupTest(**found.fields(both_pooled), r_by_subject=r_by_subject)


def about_mean(by_rotation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fisher's z about its mean over rotations, in units of its spread there; and the spread.

    Parameters
    ----------
    by_rotation : ndarray of float, shape (n_rotations, n_columns)

    Returns
    -------
    z : ndarray of float64, shape (n_rotations, n_columns)
        ``-inf`` where no rotation makes a difference.
    spread : ndarray of float64, shape (n_columns,)

    See Also
    --------
    giblet.statistics.correction.standardised : about 0.
    """
    z = fisher_z(by_rotation)
    z -= z.mean(axis=0)
    spread = z.std(axis=0)
    differs = spread > ROUNDING
    z /= np.where(differs, spread, 1)
    z[:, ~differs] = -np.inf
    return z, spread


class _Found:
    """What is known of the voxels that were gone through."""

    def __init__(self, n_rotations: int, n_voxels: int) -> None:
        self.by_voxel = {name: np.full(n_voxels, np.nan) for name in ("r", "z", "spread", "p_rank", "p")}
        self.highest, self.totals = np.full((2, n_rotations), -np.inf), np.zeros((2, n_rotations))
        self.counts = np.zeros(len(BINS) - 1)

    def add(self, voxels: slice, plain: np.ndarray, white: np.ndarray, alive: np.ndarray) -> None:
        """Count correlations (n_rotations, n_voxels_of_block) in."""
        z, spread = about_mean(white)
        ranks = rank_p(np.asarray(white, np.float64))
        found = {"r": plain[0], "z": z[0], "spread": spread, "p_rank": ranks, "p": ndtr(-z[0])}
        for name, values in found.items():
            self.by_voxel[name][voxels] = np.where(alive, values, np.nan)
        for total, best, values, score in zip(self.totals, self.highest, (plain, white), (plain, z), strict=True):
            total += values[:, alive].sum(axis=1, dtype=np.float64)
            np.maximum(best, score[:, alive].max(axis=1, initial=-np.inf), out=best)
        self.counts += np.histogram(plain[1:, alive], BINS)[0]

    def fields(self, pooled: np.ndarray) -> dict[str, Any]:
        """What a RotationTest holds."""
        mean, white = self.totals / max(1, int(np.isfinite(self.by_voxel["r"]).sum()))
        return self.by_voxel | {
            "mean_by_rotation": mean, "whitened_by_rotation": white, "pooled_by_rotation": pooled,
            "highest_by_rotation": self.highest[0], "highest_z_by_rotation": self.highest[1],
        }  # fmt: skip

    def null(self) -> np.ndarray:
        return self.counts / max(1.0, self.counts.sum())
