"""Means and deviations that have seen nothing but training TRs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.preprocessing import StandardScaler

from giblet.data.series import Series
from giblet.errors import InputError
from giblet.features import CODES

TRS_AT_A_TIME = 128


@dataclass(frozen=True)
class Normaliser:
    """Takes each feature or voxel to mean 0 and deviation 1 over the TRs it was fitted on."""

    mean: np.ndarray
    """float32, the shape of one TR."""
    scale: np.ndarray
    """float32, the shape of one TR; 1 where the feature was constant."""
    n_constant: int
    """Features that were constant over the training TRs: they become 0 there."""

    @classmethod
    def fit(cls, series: Series | np.ndarray, trs: np.ndarray) -> Normaliser:
        """Statistics of the TRs `trs`, read a block at a time; no other TR is looked at.

        Parameters
        ----------
        series : Series or ndarray, shape (n_trs, ...)
            Continuous. TRs that are not ``valid``, or wholly NaN, are no data and do not count.
        trs : ndarray of int
            Training TRs, as ``make_splits(...).train``.

        Raises
        ------
        InputError
            If the series holds codes, a training TR is NaN or infinite in part, or none is left.
        """
        series = series if isinstance(series, Series) else Series(series)
        if series.kind == CODES:
            raise InputError(f"{series.name} holds codes, which are categories: they have no mean")
        trs = np.asarray(trs)
        trs = np.sort(trs[series.valid[trs]])
        scaler = StandardScaler()
        seen = 0
        for stretch in np.split(trs, np.flatnonzero(np.diff(trs) != 1) + 1):
            for start in range(0, len(stretch), TRS_AT_A_TIME):
                part = stretch[start : start + TRS_AT_A_TIME]
                rows, present = present_rows(series, int(part[0]), int(part[-1]) + 1)
                rows = rows[present].reshape(int(present.sum()), -1)
                if len(rows):
                    scaler.partial_fit(rows.astype(np.float64))
                    seen += len(rows)
        if seen < 2:
            raise InputError(f"{series.name} has {seen} training TRs with data: at least 2 are needed")
        shape = series.shape[1:]
        # scale_ is 1 where sklearn finds a variance that is only rounding.
        constant = (scaler.scale_ == 1) & (scaler.var_ < 1e-6)
        return cls(
            scaler.mean_.reshape(shape).astype(np.float32),
            scaler.scale_.reshape(shape).astype(np.float32),
            int(constant.sum()),
        )

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Normalised `values` (..., one TR), float32; InputError if a TR has another shape."""
        self._check(values)
        return ((values - self.mean) / self.scale).astype(np.float32)

    def inverse(self, values: np.ndarray) -> np.ndarray:
        """Back to the units of the data, float32; InputError if a TR has another shape."""
        self._check(values)
        return (values * self.scale + self.mean).astype(np.float32)

    def _check(self, values: np.ndarray) -> None:
        shape = self.mean.shape
        if np.shape(values)[np.ndim(values) - len(shape) :] != shape:
            raise InputError(
                f"values of shape {np.shape(values)} are to be normalised, one TR of the training had {shape}: use the "
                "voxels or features of the training"
            )


def present_rows(series: Series, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
    """TRs ``[start, stop)``, and which of them are data: valid, and not wholly NaN.

    Raises
    ------
    InputError
        If a valid TR is NaN or infinite in part: that is damage, not absence.
    """
    rows = series.read(start, stop)
    present = series.valid[start:stop].copy()
    if rows.dtype.kind == "f":
        axes = tuple(range(1, rows.ndim))
        present &= ~np.isnan(rows).all(axis=axes)
        broken = present & ~np.isfinite(rows).all(axis=axes)
        if broken.any():
            at = start + int(np.flatnonzero(broken)[0])
            raise InputError(
                f"{series.name}: TR {at} holds NaN or infinity in part, and {int(broken.sum())} TRs from {start} to "
                f"{stop - 1} do; clean the data (bad='mask') or set the whole TR to NaN if it is absent"
            )
    return rows, present
