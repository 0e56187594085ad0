"""From features to what drives each simulated voxel: random weights, of one source or several, and what bends them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

OF_SHARES, OF_FACTORS, OF_SUBJECT = 5, (6, 7), (2, 8, 9)
"""What random numbers are for: equal seeds draw others for each purpose."""


@dataclass(frozen=True)
class Mapped:
    """The drive of each voxel, before the response, and what it was made with."""

    drive: np.ndarray
    """float64 (n_trs, n_voxels)."""
    weights: np.ndarray
    """float32 (n_features, n_voxels): of the linear drive, of variance 1."""
    variables: dict[str, tuple[tuple[str, ...], np.ndarray]]
    """Of the truth: what else it was made with."""


def generators(seed: int, purpose: int, n: int) -> list[np.random.Generator]:
    """Random numbers for each of several sources.

    Parameters
    ----------
    seed, purpose : int
    n : int

    Returns
    -------
    list of numpy.random.Generator
        The first is ``default_rng([seed, purpose])``: a 0 behind changes nothing.
    """
    return [np.random.default_rng([seed, purpose, place]) for place in range(n)]


def map_to_voxels(
    sources: Sequence[np.ndarray],
    n_voxels: int,
    mapping: str,
    rngs: Sequence[np.random.Generator],
    *,
    seed: int,
    own: float,
    own_seed: int,
) -> Mapped:
    """The drive of each voxel.

    Parameters
    ----------
    sources : sequence of ndarray of float64, shape (n_trs, n_columns)
        Z-scored.
    n_voxels : int
    mapping : {"linear", "tanh", "interaction"}
        "interaction": half the variance is a product of two further drives.
    rngs : sequence of numpy.random.Generator
        One for each source, for the weights of the linear drive.
    seed : int
        Of all else that subjects share.
    own : float
        Share of the mapping that is of this subject alone.
    own_seed : int
        Of that.

    Returns
    -------
    Mapped
    """
    n = len(sources)
    variables: dict[str, tuple[tuple[str, ...], np.ndarray]] = {}
    share = np.ones((1, n_voxels))
    if n > 1:
        share = np.random.default_rng([seed, OF_SHARES]).dirichlet(np.ones(n), n_voxels).T
        variables["share"] = (("band", "voxel"), share.astype(np.float32))
        variables["band"] = (("feature",), np.repeat(np.arange(n), [one.shape[1] for one in sources]))

    def drawn(shared: Sequence[np.random.Generator], purpose: int) -> tuple[np.ndarray, np.ndarray]:
        return _partly_own(sources, share, shared, own, generators(own_seed, purpose, n))

    drive, weights = drawn(rngs, OF_SUBJECT[0])
    if mapping == "tanh":
        drive = np.tanh(drive)
    if mapping == "interaction":
        pair = [drawn(generators(seed, OF_FACTORS[k], n), OF_SUBJECT[1 + k]) for k in range(2)]
        product = pair[0][0] * pair[1][0]
        drive = (drive + (product - product.mean(axis=0)) / product.std(axis=0)) / np.sqrt(2)
        variables["factors"] = (("factor", "feature", "voxel"), np.stack([one for _, one in pair]).astype(np.float32))
    return Mapped(drive, weights.astype(np.float32), variables)


def _partly_own(
    sources: Sequence[np.ndarray],
    share: np.ndarray,
    shared: Sequence[np.random.Generator],
    own: float,
    of_subject: Sequence[np.random.Generator],
) -> tuple[np.ndarray, np.ndarray]:
    """A drive of variance 1, and its weights: what subjects share, and with its share what is this one's own."""
    drive, weights = _drive(sources, share, shared)
    if not own:
        return drive, weights
    other, other_weights = _drive(sources, share, of_subject)
    drive = np.sqrt(1 - own) * drive + np.sqrt(own) * other
    weights = np.sqrt(1 - own) * weights + np.sqrt(own) * other_weights
    spread = drive.std(axis=0)
    return drive / spread, weights / spread


def _drive(
    sources: Sequence[np.ndarray], share: np.ndarray, rngs: Sequence[np.random.Generator]
) -> tuple[np.ndarray, np.ndarray]:
    """Random weights, and the drive of variance 1 that they make: each source with its share of it."""
    drives, weights = [], []
    for one, part, rng in zip(sources, share, rngs, strict=True):
        random = rng.standard_normal((one.shape[1], share.shape[1]))
        drive = one @ random
        spread = drive.std(axis=0) / np.sqrt(part)
        drives.append(drive / spread)
        weights.append(random / spread)
    if len(drives) == 1:
        return drives[0], weights[0]
    total = np.sum(drives, axis=0)
    return total / total.std(axis=0), np.concatenate(weights) / total.std(axis=0)
