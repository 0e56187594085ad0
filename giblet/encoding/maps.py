"""What a map corrected for many voxels can show: how far a voxel must be from chance, and how many TRs that takes."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np
from scipy.stats import norm

from giblet.errors import InputError
from giblet.statistics.correction import fisher_z
from giblet.statistics.rotation import RotationTest

COMPANY = 0.1
"""Part of the voxels that answer together, for the easier of both figures of :class:`Reach`."""


@dataclass(frozen=True)
class Reach:
    """What it takes to have ``q <= level`` among so many voxels."""

    level: float
    n_voxels: int
    """Voxels that were tested."""
    n_trs: int
    n_found: int
    """Voxels that have it."""
    r_alone: float | None
    """The least r, after prewhitening, at which a voxel of median spread has it alone among all; None where no r is
    enough."""
    r_in_company: float | None
    """The same where a tenth of the voxels answer alike."""
    r_best: float
    """The r, after prewhitening, of the voxel that is furthest from chance; NaN where none was tested."""
    n_trs_needed: int | None
    """TRs, at which the best voxel would have it alone if its r were the same; None where its r is not above 0."""
    unit: str = "voxel"
    """What the message calls a voxel."""

    @property
    def message(self) -> str:
        """In words: whether q was reached; where it was not, what r or how many TRs that takes."""
        alone, company = ("no r is enough" if r is None else f"r of {r:.2f}" for r in (self.r_alone, self.r_in_company))
        takes = (
            f"with {self.n_trs:,} TRs a {self.unit} alone among {self.n_voxels:,} needs {alone}, one in the company of "
            f"a tenth of them {company}"
        )
        if self.n_voxels == 0:
            return f"no {self.unit} was tested: BOLD changes in none"
        if self.n_found:
            return f"{self.n_found:,} of {self.n_voxels:,} {self.unit}s have q <= {self.level:g}; {takes}"
        told = f"no {self.unit} has q <= {self.level:g}: {takes}. "
        if self.n_trs_needed is None:
            return told + f"No {self.unit} is predicted better than by chance, so that more TRs promise nothing"
        fewer = "fewer regions" if self.unit == "region" else f"fewer {self.unit}s (a mask, regions)"
        return told + (
            f"The best {self.unit} has {self.r_best:.2f}, for which about {self.n_trs_needed:,} TRs are needed; "
            f"{fewer} need fewer"
        )


def reachable(test: RotationTest, *, n_trs: int, level: float = 0.05, unit: str = "voxel") -> Reach:
    """What r, and how many TRs, it takes for a corrected p of at most `level`.

    A voxel is alone if it is the only one that answers: then ``p <= level / n_voxels`` is needed, which the normal law
    of `p` can give and a rank among a few hundred rotations cannot. With *z* the normal quantile of that p, *s* the
    median spread of Fisher's z by chance and *n* TRs, ``atanh(r) = z * s / sqrt(1 - z**2 / n)``: the rotation by
    nothing is one of the rotations that the spread is read from. *s* falls with the root of *n*.

    Parameters
    ----------
    test : RotationTest
        Or a :class:`giblet.encoding.group.GroupTest`.
    n_trs : int
        TRs that were tested.
    level : float
        Between 0 and 1.
    unit : str
        What :attr:`Reach.message` calls a voxel: ``"region"``, ``"grayordinate"``.

    Returns
    -------
    Reach

    Raises
    ------
    InputError
        If the level is not between 0 and 1, or there are no TRs.
    """
    if not 0 < level < 1 or n_trs < 1:
        raise InputError(f"level is {level:g} and n_trs {n_trs}: a level between 0 and 1, and TRs, are needed")
    tested = np.isfinite(test.p) & (test.spread > 0)
    n_voxels = int(np.isfinite(test.p).sum())
    if not tested.any():
        return Reach(level, n_voxels, n_trs, 0, None, None, np.nan, None, unit)
    spread, best = float(np.median(test.spread[tested])), int(np.nanargmax(np.where(tested, test.z, -np.inf)))
    alone, in_company = float(norm.isf(level / n_voxels)), float(norm.isf(level * max(COMPANY, 1 / n_voxels)))
    z_best = float(test.z[best] * test.spread[best])
    needed = None
    if z_best > 0:
        # What is left of the spread without the rotation by nothing, which goes with 1 / sqrt(n).
        chance = test.spread[best] ** 2 - z_best**2 / test.n_rotations
        needed = ceil(alone**2 * (1 + chance * n_trs / fisher_z(np.tanh(z_best)) ** 2))
    return Reach(
        level, n_voxels, n_trs, int(np.nansum(test.q <= level)), _least_r(alone, spread, test.n_rotations),
        _least_r(in_company, spread, test.n_rotations), float(np.tanh(z_best)), needed, unit,
    )  # fmt: skip


def _least_r(z: float, spread: float, n_rotations: int) -> float | None:
    """The r whose Fisher z is `z` times the spread that it makes wider itself; None where there is none."""
    left = 1 - z**2 / n_rotations
    r = float(np.tanh(z * spread / np.sqrt(left))) if left > 0 else 1.0
    return r if r < 0.995 else None
