"""Windows of BOLD: the volumes after a TR from which the TR is decoded, and the span of many of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, floor
from typing import Any

import numpy as np

from giblet.alignment.checks import rows_in_time
from giblet.alignment.prewhitening import slow_basis, without_drifts
from giblet.encoding.engine import Engine
from giblet.encoding.targets import BATCH
from giblet.errors import InputError
from giblet.runs import run_labels, run_slices
from giblet.timing import check_tr, exact, shown


def batches(n_voxels: int) -> Iterator[slice]:
    """Voxels, some thousands at a time.

    Parameters
    ----------
    n_voxels : int

    Yields
    ------
    slice
    """
    for start in range(0, n_voxels, BATCH):
        yield slice(start, min(start + BATCH, n_voxels))


def lags_of(window: Any, tr: float) -> np.ndarray:
    """How many volumes after a TR's own those of its window are.

    Parameters
    ----------
    window : (float, float)
        From and to which second after the TR's onset volumes of the window begin, both included.
    tr : float
        Repetition time in seconds.

    Returns
    -------
    ndarray of int64, ascending

    Raises
    ------
    InputError
        If no volume begins within it.

    Examples
    --------
    >>> lags_of((2.0, 10.0), 2.0).tolist(), lags_of((0.0, 4.0), 1.5).tolist()
    ([1, 2, 3, 4, 5], [0, 1, 2])
    """
    step = check_tr(tr)
    if not isinstance(window, (tuple, list, np.ndarray)) or len(window) != 2:
        raise InputError(f"window is {window!r}: two seconds are needed, from and to, such as (0.0, 10.0)")
    first, last = (exact(edge, "window") for edge in window)
    lags = np.arange(ceil(first / step), floor(last / step) + 1)
    if not len(lags):
        raise InputError(
            f"no volume begins {shown(first)} to {shown(last)} s after a TR's onset at TR {shown(step)} s: widen window"
        )
    return lags.astype(np.int64)


def window_rows(bold: Any, lags: np.ndarray, run: np.ndarray | None, volumes: Any, usable: np.ndarray) -> np.ndarray:
    """The row of each volume of each window.

    Parameters
    ----------
    bold : array_like or DataArray, shape (n_trs, n_voxels)
        Looked at for what it says of its rows alone.
    lags : ndarray of int, shape (n_lags,)
    run : ndarray, shape (n_trs,), or None
        No window crosses a run's border.
    volumes : array_like of int, shape (n_trs,), or None
        The volume of its run that each row is, where rows are missing.
    usable : ndarray of bool, shape (n_trs,)
        Volumes that windows may hold.

    Returns
    -------
    ndarray of int64, shape (n_trs, n_lags)
        -1 where the volume is missing, or not usable.

    Raises
    ------
    AlignmentError
        If `bold` says that rows are missing, and `volumes` does not.
    InputError
        If `volumes` do not increase within a run.
    """
    slices = run_slices(len(bold), run)
    told = rows_in_time(bold, volumes, slices, "the BOLD", "pass volumes=bold.volume")
    found = np.full((len(bold), len(lags)), -1, np.int64)
    for part in slices:
        own = np.arange(part.start, part.stop)
        place = own - part.start if told is None else told[part]
        wanted = place[:, None] + lags
        at = np.minimum(np.searchsorted(place, wanted), len(place) - 1)
        rows = own[at]
        found[part] = np.where((place[at] == wanted) & usable[rows], rows, -1)
    return found


@dataclass(frozen=True)
class Cleaning:
    """What is taken out of series in each run, read from some of its rows alone: its level, or all that is slow."""

    rows: np.ndarray
    """int64 (n_rows,), ascending: rows of the scan that are read, and come out."""
    parts: tuple[slice, ...]
    """Of each run its places in `rows`."""
    bases: tuple[np.ndarray, ...]
    """Of each run what is taken out, orthonormal, (n_own_rows, n_basis); empty: series stay as they are."""
    by_level: bool = False
    """The level alone is taken out."""

    @classmethod
    def of(
        cls, rows: np.ndarray, run: np.ndarray | None, n_trs: int, volumes: Any, *, tr: float, high_pass: float | None
    ) -> Cleaning:
        """That of some rows.

        Parameters
        ----------
        rows : ndarray of int, ascending
        run : ndarray, shape (n_trs,), or None
            Without it all is one run, whose level stays where there is no `high_pass`.
        n_trs : int
        volumes : array_like of int, shape (n_trs,), or None
            The volume of its run that each row is.
        tr : float
            Repetition time in seconds.
        high_pass : float or None
            In Hz: lines, parabolas and slower cosines go; None: the level of each run goes.

        Returns
        -------
        Cleaning

        Raises
        ------
        InputError
            If the high-pass cannot be used, or leaves nothing of a run.
        """
        nyquist = float(1 / (2 * check_tr(tr)))
        if high_pass is not None and not 0 < high_pass < nyquist:
            raise InputError(f"high_pass is {high_pass} Hz: it must lie between 0 and {nyquist:g} Hz, or be None")
        if run is None and high_pass is None:
            return cls(rows, (slice(0, len(rows)),), ())
        labels = run_labels(n_trs, run)[rows]
        place = np.arange(n_trs) if volumes is None else np.asarray(volumes)
        parts = tuple(run_slices(len(rows), labels)) if len(rows) else ()
        bases = []
        for part in parts:
            times = place[rows[part]]
            if high_pass is None:
                bases.append(np.full((len(times), 1), len(times) ** -0.5))
                continue
            basis = slow_basis(times - times[0], tr=tr, detrend=True, high_pass=high_pass)
            if basis.shape[1] >= len(times):
                raise InputError(
                    f"high_pass={high_pass:g} Hz leaves nothing of run {labels[part.start]}, of which {len(times)} "
                    "volumes are used: leave the run out, or lower it"
                )
            bases.append(basis)
        return cls(rows, parts, tuple(bases), high_pass is None)

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """The rows, cleaned.

        Parameters
        ----------
        values : ndarray of number, shape (n_trs, n_columns)

        Returns
        -------
        ndarray of float64, shape (n_rows, n_columns)
        """
        found = np.array(values[self.rows], np.float64)
        for part, basis in zip(self.parts, self.bases, strict=False):
            found[part] = without_drifts(found[part], basis)
        return found


@dataclass(frozen=True)
class Volumes:
    """Volumes that are learned from, cleaned and at the scale of the penalties, a batch of voxels at a time."""

    bold: np.ndarray
    """(n_trs, n_voxels)"""
    clean: Cleaning
    voxels: np.ndarray
    """int64 (n_fitted,): voxels that are looked at."""
    mean: np.ndarray
    """float64 (n_fitted,): of the cleaned volumes."""
    divisor: np.ndarray
    """float64 (n_fitted,)"""

    @classmethod
    def of(cls, bold: np.ndarray, clean: Cleaning, voxels: np.ndarray, scale: str | None) -> Volumes:
        """Volumes, with the scale that they have themselves.

        Parameters
        ----------
        bold : ndarray of number, shape (n_trs, n_voxels)
        clean : Cleaning
            Of the volumes that are learned from.
        voxels : ndarray of int
        scale : {"columns", "band", None}
            Each voxel gets variance 1, or all are divided by one number, or by none.

        Returns
        -------
        Volumes
        """
        mean, deviation = np.zeros(len(voxels)), np.zeros(len(voxels))
        for batch in batches(len(voxels)):
            values = clean(bold[:, voxels[batch]])
            mean[batch], deviation[batch] = values.mean(0), values.std(0)
        if scale is None:
            deviation[:] = 1
        elif scale == "band":
            deviation[:] = np.sqrt((deviation[deviation > 0] ** 2).mean()) if (deviation > 0).any() else 1
        return cls(bold, clean, voxels, mean, np.where(deviation > 0, deviation, 1.0))

    def standardised(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Batch by batch.

        Yields
        ------
        batch : slice
            Places in `voxels`.
        values : ndarray of float64, shape (n_volumes, n_own)
        """
        for batch in batches(len(self.voxels)):
            values = self.clean(self.bold[:, self.voxels[batch]])
            yield batch, (values - self.mean[batch]) / self.divisor[batch]

    def mean_of(self, windows: np.ndarray) -> np.ndarray:
        """Mean window, of cleaned volumes in units of the BOLD.

        Parameters
        ----------
        windows : ndarray of int, shape (n_rows, n_lags)
            Places among the volumes.

        Returns
        -------
        ndarray of float64, shape (n_lags, n_fitted)
        """
        share = np.stack([np.bincount(own, minlength=len(self.clean.rows)) for own in windows.T]) / len(windows)
        found = np.empty((len(share), len(self.voxels)))
        for batch, values in self.standardised():
            found[:, batch] = share @ values * self.divisor[batch] + self.mean[batch]
        return found

    def products(self) -> np.ndarray:
        """Products of all volumes.

        Returns
        -------
        ndarray of float64, shape (n_volumes, n_volumes)
        """
        total = np.zeros((len(self.clean.rows),) * 2)
        for _, values in self.standardised():
            total += values @ values.T
        return total


@dataclass(frozen=True)
class WindowBasis:
    """Training windows as columns that the ridge is solved on, and the way from their weights to those of voxels.

    Where voxels times volumes of a window are more than training TRs, the columns are the coordinates of the windows
    on the principal axes of their span: ridge on these is ridge on the windows, as its weights lie in the span of the
    training rows. The windows themselves are never formed: their products are sums of products of volumes.
    """

    x: np.ndarray
    """float64 (n_rows, n_columns)"""
    volumes: Volumes
    windows: np.ndarray
    """int64 (n_rows, n_lags): places among the volumes."""
    axes: np.ndarray | None
    """float64 (n_volumes, n_components): of PCA over voxels, from their weights to those of volumes; None without."""
    span: np.ndarray | None
    """float64 (n_rows, n_columns): from weights of `x` to those of rows; None where `x` are the windows."""

    @classmethod
    def of(cls, volumes: Volumes, windows: np.ndarray, n_components: int | None) -> WindowBasis:
        """That of some windows.

        Parameters
        ----------
        volumes : Volumes
        windows : ndarray of int, shape (n_rows, n_lags)
            Places among the volumes.
        n_components : int, optional
            PCA of the volumes first.

        Returns
        -------
        WindowBasis

        Raises
        ------
        InputError
            If there are fewer components.
        """
        n_rows, n_lags = windows.shape
        wide = len(volumes.voxels) * n_lags > n_rows
        products = volumes.products() if n_components is not None or wide else None
        axes, columns = None, None
        if n_components is not None:
            assert products is not None
            values, vectors = Engine("numpy").eigh(products)
            if n_components > len(values):
                raise InputError(
                    f"n_components is {n_components}, and {len(products)} training volumes of {len(volumes.voxels)} "
                    f"voxels have no more than {len(values)}: ask for fewer"
                )
            axes = vectors[:, ::-1][:, :n_components] / np.sqrt(values[::-1][:n_components])
            columns = products @ axes
            wide = n_components * n_lags > n_rows
            products = columns @ columns.T if wide else products
        if not wide:
            if columns is None:
                columns = np.concatenate([values for _, values in volumes.standardised()], axis=1)
            return cls(columns[windows].reshape(n_rows, -1), volumes, windows, axes, None)
        assert products is not None
        kernel = np.zeros((n_rows, n_rows))
        for own in windows.T:
            kernel += products[np.ix_(own, own)]
        mean = kernel.mean(0)
        values, vectors = Engine("numpy").eigh(kernel - mean - mean[:, None] + mean.mean())
        size = np.sqrt(values)
        return cls(vectors * size, volumes, windows, axes, vectors / size)

    def weights(self, coef: np.ndarray) -> np.ndarray:
        """Weights of standardised voxels.

        Parameters
        ----------
        coef : ndarray of float, shape (n_columns, n_targets)
            Of `x`.

        Returns
        -------
        ndarray of float64, shape (n_lags, n_fitted, n_targets)
        """
        n_lags, n_targets = self.windows.shape[1], coef.shape[1]
        if self.span is None and self.axes is None:
            return np.asarray(coef, np.float64).reshape(n_lags, -1, n_targets)
        n_volumes = len(self.volumes.clean.rows)
        if self.span is not None:
            by_row = self.span @ coef
            by_volume = np.zeros((n_lags, n_volumes, n_targets))
            for own, total in zip(self.windows.T, by_volume, strict=True):
                total[own] = by_row  # of one lag, no volume is in two windows
            if self.axes is not None:
                products = self.volumes.products() @ self.axes
                by_volume = self.axes @ (products.T @ by_volume)
        else:
            assert self.axes is not None
            by_volume = self.axes @ np.asarray(coef, np.float64).reshape(n_lags, -1, n_targets)
        found = np.empty((n_lags, len(self.volumes.voxels), n_targets))
        for batch, values in self.volumes.standardised():
            found[:, batch] = values.T @ by_volume
        return found
