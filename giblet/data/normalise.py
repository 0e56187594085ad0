"""Means and deviations that have seen nothing but training TRs, and the level of each run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from sklearn.preprocessing import StandardScaler

from giblet.data.series import Series
from giblet.data.splits import Splits, segments
from giblet.errors import InputError
from giblet.features import CODES

TRS_AT_A_TIME = 128

ROUNDING = 4 * float(np.finfo(np.float32).eps)
"""Deviation, as a share of the largest value, that single precision makes by itself."""

FAR_VOXEL = 20
"""How many times further than the median voxel a voxel may lie from its training mean, in training deviations."""
WAKING_VOXEL = 4.5
"""How many times more than the median voxel a voxel may vary, and from TR to TR too, in training deviations.

Parts of real scans, raw and drifting or z-scored, reach 3.9 (a jump of the head; 1.6 in 99 of 100); a voxel of which
training saw a tenth reaches 10, or 5 if it wakes for the last third of the other part."""

FAR_FEATURE = 100
"""How many training deviations a feature may lie from its training mean: those of a film share no gain."""


@dataclass(frozen=True)
class Normaliser:
    """Takes each feature or voxel to mean 0 and deviation 1 over the TRs it was fitted on.

    What never varied over those TRs, but for rounding, has no unit: it becomes 0 everywhere, whatever it does later,
    and comes back as its mean.
    """

    mean: np.ndarray
    """float32, the shape of one TR."""
    scale: np.ndarray
    """float32, the shape of one TR; 0 where it never varied."""

    @property
    def varies(self) -> np.ndarray:
        """bool, the shape of one TR: what has a unit."""
        return self.scale > 0

    @property
    def n_constant(self) -> int:
        """How many features or voxels have none."""
        return int((~self.varies).sum())

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
        seen, largest = 0, np.zeros(1)
        for start, stop in segments(trs, np.zeros(len(series))):
            for at in range(start, stop, TRS_AT_A_TIME):
                rows, present = present_rows(series, at, min(stop, at + TRS_AT_A_TIME))
                rows = rows[present].reshape(int(present.sum()), -1)
                if len(rows):
                    rows = rows.astype(np.float64)
                    scaler.partial_fit(rows)
                    largest = np.maximum(largest, np.abs(rows).max(axis=0))
                    seen += len(rows)
        if seen < 2:
            raise InputError(f"{series.name} has {seen} training TRs with data: at least 2 are needed")
        shape = series.shape[1:]
        varies = np.sqrt(scaler.var_) > ROUNDING * largest
        return cls(
            scaler.mean_.reshape(shape).astype(np.float32),
            np.where(varies, scaler.scale_, 0).reshape(shape).astype(np.float32),
        )

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Normalised `values` (..., one TR), float32; InputError if a TR has another shape."""
        self._check(values)
        varies = self.varies
        if varies.all():
            return ((values - self.mean) / self.scale).astype(np.float32)
        return np.where(varies, (values - self.mean) / np.where(varies, self.scale, 1), 0).astype(np.float32)

    def inverse(self, values: np.ndarray) -> np.ndarray:
        """Back to the units of the data, float32; InputError if a TR has another shape."""
        self._check(values)
        return (values * self.scale + self.mean).astype(np.float32)

    def without(self, what: np.ndarray) -> Normaliser:
        """The same, and 0 for the features or voxels that `what`, bool of the shape of one TR, names."""
        return replace(self, scale=np.where(what, np.float32(0), self.scale))

    def far(self, series: Series | np.ndarray, trs: np.ndarray, *, of_scan: bool) -> np.ndarray:
        """What hardly varied over the training TRs and does elsewhere: its values there would outweigh all others.

        Parameters
        ----------
        series : Series or ndarray, shape (n_trs, ...)
        trs : ndarray of int
            TRs of another part.
        of_scan : bool
            BOLD: compared with the median voxel, as a scan's gain may differ from run to run (:data:`FAR_VOXEL`,
            :data:`WAKING_VOXEL`). Otherwise the limit is :data:`FAR_FEATURE`.

        Returns
        -------
        ndarray of bool, the shape of one TR
            Where the root mean square over `trs`, in training deviations, is beyond the limit; for BOLD also where the
            deviation about the mean of `trs` and the steps from TR to TR both are.
        """
        if not self.varies.any():
            return np.zeros(self.scale.shape, bool)
        series = series if isinstance(series, Series) else Series(series)
        sums, squares, steps, n, n_steps = *(np.zeros(self.scale.shape) for _ in range(3)), 0, 0
        for start, stop in segments(np.unique(np.asarray(trs, np.int64)), np.zeros(len(series))):
            for at in range(start, stop, TRS_AT_A_TIME):
                rows, present = present_rows(series, at, min(stop, at + TRS_AT_A_TIME))
                values = self(rows[present]).astype(np.float64)
                sums += values.sum(axis=0)
                squares += np.square(values).sum(axis=0)
                n += len(values)
                if of_scan and len(values) > 1:
                    steps += np.square(np.diff(values, axis=0)).sum(axis=0)
                    n_steps += len(values) - 1
        power = squares / max(n, 1)
        if not of_scan:
            return np.sqrt(power) > FAR_FEATURE
        spread = np.sqrt(np.maximum(power - np.square(sums / max(n, 1)), 0))
        wakes = self._beyond(spread, WAKING_VOXEL) & self._beyond(np.sqrt(steps / max(n_steps, 1)), WAKING_VOXEL, 0.0)
        return self._beyond(np.sqrt(power), FAR_VOXEL) | wakes

    def _beyond(self, sizes: np.ndarray, limit: float, least: float = 1.0) -> np.ndarray:
        """What is more than `limit` times the median of what varies, or than `least` if that is less."""
        # Of two regions the quieter one says what is usual.
        return sizes > limit * max(least, float(np.quantile(sizes[self.varies], 0.5, method="lower")))

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


def rows_of_levels(
    run: np.ndarray, train: np.ndarray, part: np.ndarray | None = None
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Which rows share a level, and whose mean that is.

    Parameters
    ----------
    run : ndarray, shape (n_trs,)
        Run of each TR.
    train : ndarray of int
        Training TRs with data: the level of a run is their mean.
    part : ndarray, shape (n_trs,), optional
        Part of the split of each TR: in a run without training TRs each part has its own level.

    Returns
    -------
    list of (rows, basis)
        Every row once. `basis` is ``rows`` itself in a run, or a part of it, without training TRs.

    Examples
    --------
    >>> found = rows_of_levels(np.array([1, 1, 1, 2, 2]), np.array([0, 1]))
    >>> [(rows.tolist(), basis.tolist()) for rows, basis in found]
    [([0, 1, 2], [0, 1]), ([3, 4], [3, 4])]
    """
    run, train = np.asarray(run), np.asarray(train, np.int64)
    found = []
    for label in np.unique(run):
        own, basis = np.flatnonzero(run == label), train[run[train] == label]
        if len(basis) or part is None:
            found.append((own, basis if len(basis) else own))
        else:
            found += [(rows, rows) for one in np.unique(part[own]) if len(rows := own[part[own] == one])]
    return found


def run_levels(values: np.ndarray, run: np.ndarray, train: np.ndarray, *, known: bool = True) -> np.ndarray:
    """The level of each TR's run: the mean of the run's training TRs.

    Parameters
    ----------
    values : ndarray of float, shape (n_trs, n_columns)
    run : ndarray, shape (n_trs,)
        Run of each TR.
    train : ndarray of int
        Training TRs.
    known : bool
        What a run without training TRs has for a level: its own mean, as the stimulus of a test run is known (True); or
        the mean of the other levels, as its BOLD is not (False).

    Returns
    -------
    ndarray of float64, shape (n_trs, n_columns)
    """
    out, trained = np.empty(values.shape), np.isin(run, run[train])
    levels = []
    for rows, basis in rows_of_levels(run, train):
        out[rows] = values[basis].mean(axis=0)
        if trained[rows[0]]:
            levels.append(out[rows[0]])
    if not known and not trained.all():
        out[~trained] = np.mean(levels, axis=0)
    return out


def centre_runs(runs: Sequence[np.ndarray], present: np.ndarray, splits: Splits) -> None:
    """Take the level of its run out of each row, in place: a scanner gives every run a baseline of its own.

    The level is the mean over the run's training rows; in a run without any, the mean over the rows of the part, so
    that no test row changes what training and validation see.

    Parameters
    ----------
    runs : sequence of ndarray of float, shape (n_trs_of_the_run, n_columns)
        One after the other they are the rows that `present` and `splits` speak of.
    present : ndarray of bool, shape (n_trs,)
        Rows with data; the others do not count.
    splits : Splits

    Notes
    -----
    What differs from the level by no more than the rounding of single precision becomes 0, so that a column without any
    change still has none.
    """
    starts = np.cumsum([0, *map(len, runs)])
    run = np.repeat(np.arange(len(runs)), np.diff(starts))
    train = splits.train[present[splits.train]]
    for rows, basis in rows_of_levels(run, train, splits.labels(len(run))):
        values, start = runs[run[rows[0]]], starts[run[rows[0]]]
        basis = basis[present[basis]] - start
        if not len(basis):
            continue
        total = sum(values[some].sum(axis=0, dtype=np.float64) for some in _pieces(basis))
        level = total / len(basis)
        for some in _pieces(rows - start):
            left = values[some] - level
            values[some] = np.where(np.abs(left) > ROUNDING * np.abs(level), left, 0)


def _pieces(rows: np.ndarray) -> list[np.ndarray]:
    return [rows[at : at + TRS_AT_A_TIME] for at in range(0, len(rows), TRS_AT_A_TIME)]
