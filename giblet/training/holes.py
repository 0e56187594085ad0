"""Voxels that are damaged only where nothing is learned: kept for training, and left out of the score there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from giblet.data.dataset.windows import Recording
from giblet.data.splits import Splits
from giblet.features import CONTINUOUS
from giblet.modalities import BOLD
from giblet.training.films import Joined

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class Holes:
    """Where the BOLD of a subject holds NaN, in TRs that training and validation do not use."""

    unused: list[np.ndarray]
    """By run, bool (n_volumes,): volumes of no training and no validation."""
    where: np.ndarray
    """int64 (n_holes, 2): row and column; the series holds 0 there."""

    def columns(self, trs: np.ndarray, n_voxels: int) -> np.ndarray:
        """Which voxels have a hole in some TRs.

        Parameters
        ----------
        trs : ndarray of int
            Rows of the recording.
        n_voxels : int

        Returns
        -------
        ndarray of bool, shape (n_voxels,)
        """
        return np.isin(np.arange(n_voxels), self.where[np.isin(self.where[:, 0], trs), 1])


def unused_volumes(volumes: np.ndarray, run: np.ndarray, lengths: list[int], splits: Splits) -> list[np.ndarray]:
    """By run, which volumes are neither training nor validation.

    Parameters
    ----------
    volumes, run : ndarray of int, shape (n_trs,)
        Of each row the volume in its run, and the run, from 1.
    lengths : list of int
        Volumes of each run.
    splits : Splits

    Returns
    -------
    list of ndarray of bool, shape (n_volumes,)
    """
    used = np.concatenate([splits.train, splits.val])
    unused = [np.ones(n, bool) for n in lengths]
    for row in used:
        unused[run[row] - 1][volumes[row]] = False
    return unused


def with_damaged(
    recording: Recording, bold: xr.Dataset, volumes: np.ndarray, unused: list[np.ndarray]
) -> tuple[Recording, Holes]:
    """A recording with the BOLD of `bold`, which may hold NaN where it is not used.

    Parameters
    ----------
    recording : Recording
        Of the same scans without damaged voxels.
    bold : xarray.Dataset
        As :meth:`giblet.data.fmri.FMRIProcessor.load` gives it.
    volumes : ndarray of int, shape (n_trs,)
        Which volume of its run each row of the recording is.
    unused : list of ndarray of bool, shape (n_volumes,)
        As :func:`unused_volumes`.

    Returns
    -------
    recording : Recording
        Its BOLD is 0 in the holes.
    holes : Holes
        Where they are.
    """
    old, runs = recording.series[BOLD], bold["run"].values
    rows = [bold["bold"].values[runs == k][volumes[recording.run == k]] for k in np.unique(recording.run)]
    starts = np.cumsum([0, *map(len, rows)])
    found = []
    for k, values in enumerate(rows):
        hole = ~np.isfinite(values) & old.valid[starts[k] : starts[k + 1], None]
        found.append(np.add(np.argwhere(hole), [starts[k], 0]))
        values[hole] = 0
    series = Joined(rows, old.valid, CONTINUOUS, recording.tr, old.name)
    return replace(recording, series={**recording.series, BOLD: series}), Holes(unused, np.concatenate(found))
