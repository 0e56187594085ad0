"""Training BOLD as the solver reads it: a batch of voxels at a time, never changed, never copied as a whole."""

from __future__ import annotations

from typing import Any

import numpy as np

from giblet.data.dataset.normalise import ROUNDING
from giblet.errors import InputError

BATCH = 4096
"""Voxels at a time where they are only looked at."""


class TrainingTargets:
    """BOLD of the training rows without the level of each run, of the voxels that can be fitted.

    Parameters
    ----------
    bold : array_like of number, shape (n_trs, n_voxels)
    train : ndarray of int, ascending
    by_run : ndarray, shape (n_trs,), or None
        Runs whose level, the mean of their training rows, is taken out.
    what, unit : str
        Names of the values and of their columns, for messages.
    """

    def __init__(
        self, bold: Any, train: np.ndarray, by_run: np.ndarray | None, *, what: str = "BOLD", unit: str = "voxels"
    ) -> None:
        self.bold, self.train = _checked(bold, what, unit), train
        run = np.zeros(len(self.bold), np.int64) if by_run is None else by_run
        labels, self.place = np.unique(run[train], return_inverse=True)
        n_voxels = self.bold.shape[1]
        self.levels = np.zeros((len(labels), n_voxels))
        self.spread = np.zeros(n_voxels)
        varies, finite = np.zeros(n_voxels, bool), np.zeros(n_voxels, bool)
        for start in range(0, n_voxels, BATCH):
            batch = slice(start, start + BATCH)
            y = self._rows(batch)
            finite[batch] = np.isfinite(y).all(0)
            y[:, ~finite[batch]] = 0
            largest = np.abs(y).max(0)
            for number in range(len(labels)):
                self.levels[number, batch] = y[self.place == number].mean(0)
            y -= self.levels[self.place, batch]
            self.spread[batch] = y.std(0)
            varies[batch] = np.ptp(y, axis=0) > ROUNDING * largest
        self.n_not_finite, self.n_constant = int((~finite).sum()), int((finite & ~varies).sum())
        self.fitted = finite & varies
        if not self.fitted.any():
            raise InputError(
                f"none of {n_voxels} {unit} can be fitted over {len(train)} training rows: {self.n_constant} never "
                f"change, {self.n_not_finite} hold NaN or infinity"
            )
        self.voxels = np.flatnonzero(self.fitted)

    @property
    def level(self) -> np.ndarray:
        """float64 (n_voxels,): mean over the runs of their levels."""
        return self.levels.mean(0)

    @property
    def shape(self) -> tuple[int, int]:
        """Training rows and voxels that can be fitted."""
        return len(self.train), len(self.voxels)

    def _rows(self, voxels: Any) -> np.ndarray:
        """A float64 copy of the training rows."""
        columns = self.bold[:, voxels]
        whole = len(self.train) == len(columns)
        return np.array(columns if whole else columns[self.train], np.float64)

    def __getitem__(self, key: Any) -> np.ndarray:
        """``targets[:, batch]`` in float64, of the voxels that can be fitted."""
        voxels: Any = key[1] if self.fitted.all() else self.voxels[key[1]]
        return self._rows(voxels) - self.levels[:, voxels][self.place]


def _checked(bold: Any, what: str, unit: str) -> np.ndarray:
    values = np.asarray(bold)
    if values.ndim != 2 or not all(values.shape):
        raise InputError(f"{what} has shape {values.shape}: (n_trs, n_{unit}) is needed")
    if values.dtype.kind not in "iuf":
        raise InputError(f"{what} is of dtype {values.dtype}: numbers are needed")
    return values
