"""Means and deviations that have seen nothing but training TRs, and the level of each run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from sklearn.preprocessing import StandardScaler

from giblet.data.dataset.series import Series
from giblet.data.splits import segments
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
    levels: Mapping[int, np.ndarray] = field(default_factory=dict)
    """By run, its mean over training TRs, float32, where each run is centred by itself; else empty."""

    @property
    def varies(self) -> np.ndarray:
        """bool, the shape of one TR: what has a unit."""
        return self.scale > 0

    @property
    def n_constant(self) -> int:
        """How many features or voxels have none."""
        return int((~self.varies).sum())

    @classmethod
    def fit(cls, series: Series | np.ndarray, trs: np.ndarray, run: np.ndarray | None = None) -> Normaliser:
        """Statistics of the TRs `trs`, read a block at a time; no other TR is looked at.

        Parameters
        ----------
        series : Series or ndarray, shape (n_trs, ...)
            Continuous. TRs that are not ``valid``, or wholly NaN, are no data and do not count.
        trs : ndarray of int
            Training TRs, as ``make_splits(...).train``.
        run : ndarray of int, shape (n_trs,), optional
            Run of each TR: deviations are those from the level of the run, see :meth:`by_run`. By default, and where
            there is one run, they are from the mean of all.

        Returns
        -------
        Normaliser

        Raises
        ------
        InputError
            If the series holds codes, a training TR is NaN or infinite in part, or fewer than 2 hold data.
        """
        series = series if isinstance(series, Series) else Series(series)
        if series.kind == CODES:
            raise InputError(f"{series.name} holds codes, which are categories: they have no mean")
        trs = np.asarray(trs)
        trs = np.sort(trs[series.valid[trs]])
        centred = run is not None and len(np.unique(run)) > 1
        levels = run_means(series, trs, run) if centred and run is not None else {}
        scaler, within = StandardScaler(), StandardScaler()
        seen, largest = 0, np.zeros(1)
        for label, rows in _blocks(series, trs, run if centred else None):
            rows = rows.reshape(len(rows), -1)
            scaler.partial_fit(rows)
            if centred:
                within.partial_fit(rows - levels[label].reshape(-1))
            largest = np.maximum(largest, np.abs(rows).max(axis=0))
            seen += len(rows)
        if seen < 2:
            raise InputError(f"{series.name} has {seen} training TRs with data; expected at least 2")
        shape = series.shape[1:]
        spread = within if centred else scaler
        varies = np.sqrt(spread.var_) > ROUNDING * largest
        return cls(
            scaler.mean_.reshape(shape).astype(np.float32),
            np.where(varies, spread.scale_, 0).reshape(shape).astype(np.float32),
            levels,
        )

    def by_run(self, series: Series | np.ndarray, trs: np.ndarray, run: np.ndarray) -> dict[int, Normaliser]:
        """For each run that `trs` touch what normalises it: about the level of the run, if runs are centred.

        The level of a run is its mean over the training TRs. A run without any has its mean over `trs`, so that what
        training and validation see does not depend on test TRs.

        Parameters
        ----------
        series : Series or ndarray, shape (n_trs, ...)
        trs : ndarray of int
            All TRs of a part of the split.
        run : ndarray of int, shape (n_trs,)
            Run of each TR.

        Returns
        -------
        dict of int to Normaliser
            By run; the same one for all where runs are not centred.

        Raises
        ------
        InputError
            If a TR of a run without training TRs is NaN or infinite in part.
        """
        trs, run = np.asarray(trs, np.int64), np.asarray(run)
        labels = [int(label) for label in np.unique(run[trs])]
        if not self.levels:
            return dict.fromkeys(labels, self)
        levels = {**run_means(series, trs[~np.isin(run[trs], list(self.levels))], run), **self.levels}
        return {label: replace(self, mean=levels.get(label, self.mean), levels={}) for label in labels}

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Normalised `values` (..., one TR), float32; InputError if a TR has another shape."""
        self._check(values)
        varies = self.varies
        if varies.all():
            return ((values - self.mean) / self.scale).astype(np.float32)
        return np.where(varies, (values - self.mean) / np.where(varies, self.scale, 1), 0).astype(np.float32)

    def inverse(self, values: np.ndarray) -> np.ndarray:
        """Back to the units of the data; what never varied comes back as its mean.

        Parameters
        ----------
        values : ndarray of float, shape (..., one TR)

        Returns
        -------
        ndarray of float32, of the same shape

        Raises
        ------
        InputError
            If a TR has another shape.
        """
        self._check(values)
        return (values * self.scale + self.mean).astype(np.float32)

    def without(self, what: np.ndarray) -> Normaliser:
        """The same, and 0 for some features or voxels.

        Parameters
        ----------
        what : ndarray of bool, the shape of one TR
            True for those.

        Returns
        -------
        Normaliser
        """
        return replace(self, scale=np.where(what, np.float32(0), self.scale))

    def far(
        self, series: Series | np.ndarray, trs: np.ndarray, *, of_scan: bool, run: np.ndarray | None = None
    ) -> np.ndarray:
        """What hardly varied over the training TRs and does elsewhere: its values there would outweigh all others.

        Parameters
        ----------
        series : Series or ndarray, shape (n_trs, ...)
        trs : ndarray of int
            TRs of another part.
        of_scan : bool
            BOLD: compared with the median voxel, as a scan's gain may differ from run to run (:data:`FAR_VOXEL`,
            :data:`WAKING_VOXEL`). Otherwise the limit is :data:`FAR_FEATURE`.
        run : ndarray of int, shape (n_trs,), optional
            Run of each TR; needed where runs are centred.

        Returns
        -------
        ndarray of bool, the shape of one TR
            Where the root mean square over `trs`, in training deviations, is beyond the limit; for BOLD also where the
            deviation about the mean of `trs` and the steps from TR to TR both are.

        Raises
        ------
        InputError
            If a TR has another shape than those of the training, or is NaN or infinite in part.
        """
        if not self.varies.any():
            return np.zeros(self.scale.shape, bool)
        series = series if isinstance(series, Series) else Series(series)
        sums, squares, steps, n, n_steps = *(np.zeros(self.scale.shape) for _ in range(3)), 0, 0
        trs, run = np.unique(np.asarray(trs, np.int64)), run if self.levels else None
        own = self.by_run(series, trs, np.zeros(len(series), np.int64) if run is None else run)
        for label, rows in _blocks(series, trs, run, None):
            values = own[label](rows).astype(np.float64)
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

    Parameters
    ----------
    series : Series
    start, stop : int

    Returns
    -------
    rows : ndarray, shape (stop - start, ...)
        In the type of the series.
    present : ndarray of bool, shape (stop - start,)

    Raises
    ------
    InputError
        If a valid TR is NaN or infinite in part: that is damage, not absence. Also if the file cannot be read.
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


def _blocks(
    series: Series, trs: np.ndarray, run: np.ndarray | None, dtype: type | None = np.float64
) -> Iterator[tuple[int, np.ndarray]]:
    """Rows with data of ascending `trs`, (n, ...) and not empty, each block of one run and with its label, else 0."""
    run = np.zeros(len(series), np.int64) if run is None else run
    for start, stop in segments(trs, run):
        for at in range(start, stop, TRS_AT_A_TIME):
            rows, present = present_rows(series, at, min(stop, at + TRS_AT_A_TIME))
            if present.any():
                yield int(run[start]), rows[present].astype(rows.dtype if dtype is None else dtype)


def run_means(series: Series | np.ndarray, trs: np.ndarray, run: np.ndarray) -> dict[int, np.ndarray]:
    """The mean of each run over those of `trs` that have data: its level, as scanners give each run its own.

    Parameters
    ----------
    series : Series or ndarray, shape (n_trs, ...)
    trs : ndarray of int
    run : ndarray of int, shape (n_trs,)
        Run of each TR.

    Returns
    -------
    dict of int to ndarray
        float32, the shape of one TR; float64 of a series of that. Runs without data are not in it.

    Examples
    --------
    >>> run_means(np.array([[1.0], [3.0], [7.0], [8.0]]), np.array([0, 1, 2]), np.array([1, 1, 2, 2]))
    {1: array([2.]), 2: array([7.])}
    """
    series = series if isinstance(series, Series) else Series(series)
    sums: dict[int, np.ndarray] = {}
    counts: dict[int, int] = {}
    for label, rows in _blocks(series, np.unique(np.asarray(trs, np.int64)), np.asarray(run)):
        sums[label] = sums.get(label, 0) + rows.sum(axis=0)
        counts[label] = counts.get(label, 0) + len(rows)
    kind = np.float64 if series.dtype == np.float64 else np.float32
    return {label: (total / counts[label]).astype(kind) for label, total in sums.items()}


def run_levels(values: np.ndarray, run: np.ndarray, train: np.ndarray, *, known: bool = True) -> np.ndarray:
    """The level of each TR's run: the mean of the run's training TRs.

    Parameters
    ----------
    values : ndarray of float, shape (n_trs, n_columns)
    run : ndarray of int, shape (n_trs,)
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
    values, (labels, place) = np.asarray(values, np.float64), np.unique(run, return_inverse=True)
    levels = run_means(values, train, place)
    by_run = np.tile(np.mean(list(levels.values()), axis=0), (len(labels), 1))
    if known:
        levels |= run_means(values, np.flatnonzero(~np.isin(place, list(levels))), place)
    for label, level in levels.items():
        by_run[label] = level
    return by_run[place]
