"""Values that have times of their own, brought to the TRs of a scan as a band of features."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, floor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from giblet.alignment.checks import increasing
from giblet.alignment.resample import Resampling, resampled
from giblet.cells import read_cells, separator_of
from giblet.data.bold.tables import read_table
from giblet.encoding.settings import EVENT, POINT, BandSettings
from giblet.errors import InputError
from giblet.features import CONTINUOUS
from giblet.netcdf import read_netcdf
from giblet.spans import tr_of
from giblet.timing import LONGEST_FILM, TRGrid, exact, shown

if TYPE_CHECKING:
    import xarray as xr

SECONDS = ("", "s", "sec", "second", "seconds")
"""Units of times that are seconds."""
DIGITS = 9
"""Of seconds: what lies nearer to the edge of a TR is on it, and was rounded."""


def timed_values(
    band: BandSettings, path: Path, times_path: Path | None, read_array: Callable[[Path], np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """The values of a band that says where its times are.

    Parameters
    ----------
    band : BandSettings
    path : Path
        A table, an array (``.npy``) or a netCDF file.
    times_path : Path or None
        Of an array, that with its times.
    read_array : callable
        Reads an array as float64 (n, n_columns).

    Returns
    -------
    times : ndarray of float64, shape (n,)
        Seconds of the film.
    values : ndarray of float64, shape (n, n_columns)
        Of events that have nothing but times, ones.

    Raises
    ------
    InputError
        If a file cannot be read, lacks the times or the values, or times are no seconds from the start of the film.
    """
    if separator_of(path) is not None:
        times, values = _of_table(band, path)
    elif path.suffix == ".npy":
        if times_path is None:
            raise InputError(
                f"times is {band.times!r}, and {path.name} is an array: name the array with its times in features, and "
                "that name as times"
            )
        times, values = _as_written(read_array(times_path).reshape(-1)), read_array(path)
    else:
        times, values = _of_netcdf(band, path)
    if len(times) != len(values):
        raise InputError(f"{path.name} has {len(values)} rows and {len(times)} times: one for each is needed")
    bad = np.flatnonzero(~np.isfinite(times) | (times < 0))
    if len(bad) or not len(times):
        found = "no times" if not len(times) else f"{times[bad[0]]:g} as the time of row {bad[0] + 1}"
        raise InputError(f"{path.name} has {found}: seconds from the start of the film, 0 or later, are needed")
    if times.max() > LONGEST_FILM:
        raise InputError(
            f"{path.name} has times up to {times.max():g} s, over {LONGEST_FILM} s: are they in milliseconds? Give "
            "them in seconds"
        )
    return times, values


def _of_table(band: BandSettings, path: Path) -> tuple[np.ndarray, np.ndarray]:
    names = [name for name in read_cells(path).names if name]
    if band.times not in names:
        raise InputError(f"{path.name} has no column {band.times!r} with times: it has {', '.join(names)}")
    times = read_table(path, [band.times]).to_numpy(np.float64)[:, 0]
    columns = band.columns if band.columns is not None else [name for name in names if name != band.times]
    if not columns:
        return times, np.ones((len(times), 1))
    return times, read_table(path, columns).to_numpy(np.float64)


def _of_netcdf(band: BandSettings, path: Path) -> tuple[np.ndarray, np.ndarray]:
    dataset = read_netcdf(path)
    named = band.times or ""
    if named not in dataset.variables or dataset[named].ndim != 1:
        one_dimensional = [str(name) for name, one in dataset.variables.items() if one.ndim == 1]
        raise InputError(
            f"{path.name} has no times {named!r} along one dimension: it has {', '.join(one_dimensional) or 'none'}"
        )
    times = dataset[named]
    along = times.dims[0]
    others = [str(name) for name, one in dataset.data_vars.items() if along in one.dims and name != named]
    take = band.take if band.take is not None else (others[0] if len(others) == 1 else None)
    if take is None or take not in others:
        raise InputError(
            f"{path.name} has {', '.join(others) or 'nothing'} along {named}: say which with take"
            + (f", not {take}" if take else "")
        )
    values = dataset[take].transpose(along, ...)
    if values.dtype.kind not in "iufb":
        raise InputError(f"{path.name}: {take} is {values.dtype}: numbers are needed")
    return _seconds(times, path), values.values.reshape(len(values), -1).astype(np.float64)


def _seconds(times: xr.DataArray, path: Path) -> np.ndarray:
    if times.dtype.kind == "m":  # as xarray reads a number with a unit of time
        return times.values / np.timedelta64(1, "ns") * 1e-9
    units = str(times.attrs.get("units", ""))
    if times.dtype.kind not in "iuf" or units.strip().lower() not in SECONDS:
        what = f"{times.dtype}" + (f" in {units}" if units else "")
        raise InputError(f"{path.name}: times {times.name} are {what}: seconds from the start of the film are needed")
    return _as_written(times.values)


def _as_written(times: np.ndarray) -> np.ndarray:
    """Times as float64: 7.2 of single precision, which is 7.19999981, is 7.2."""
    short = times.dtype.kind == "f" and times.dtype.itemsize < 8
    return np.array([float(str(time)) for time in times]) if short else times.astype(np.float64)


def on_trs(
    times: np.ndarray, values: np.ndarray, sampling: str, tr: float, until: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Values at times of their own, one row per TR.

    Parameters
    ----------
    times : ndarray of float, shape (n,)
        Seconds from TR 0; increasing, but for events.
    values : ndarray of float, shape (n, n_columns)
    sampling : {"point", "mean", "event"}
        ``"point"``: what is measured at a moment; the TR gets the value at its middle, on the line between the
        neighbours in time. ``"mean"``: what lasts from each time to the next, the last as long as the one before; the
        TR gets the mean over its length. ``"event"``: amounts that fall at a moment; the TR gets their sum, 0 where
        there is none.
    tr : float
        Repetition time in seconds.
    until : float
        Seconds from TR 0 up to which events are known to be all: so many TRs there are at least.

    Returns
    -------
    values : ndarray of float64, shape (n_trs, n_columns)
    present : ndarray of bool, shape (n_trs,)
        False where the values say nothing of the TR, or not of the whole of it.

    Raises
    ------
    InputError
        If they say nothing of any TR.
    AlignmentError
        If times do not increase.

    Examples
    --------
    >>> times, values = np.array([0.0, 1.0, 2.5, 3.9]), np.array([[1.0], [2.0], [4.0], [8.0]])
    >>> [on_trs(times, values, how, 2.0)[0].ravel().round(2).tolist() for how in ("point", "mean", "event")]
    [[2.0, 5.43], [1.5, 3.7], [3.0, 12.0]]
    """
    step = exact(tr)
    times = np.round(times, DIGITS)
    if sampling == EVENT:
        rows = np.array([tr_of(exact(time), step) for time in times.tolist()])
        n_trs = max(int(rows.max()) + 1, ceil(exact(until) / step))
        sums = np.zeros((n_trs, values.shape[1]))
        np.add.at(sums, rows, values)
        return sums, np.ones(n_trs, bool)
    times = increasing(times, "times")
    last = exact(float(times[-1]))
    if sampling == POINT:
        n_trs, begin, options = floor(last / step - exact("0.5")) + 1, tr / 2, Resampling("linear", outside="nan")
    else:
        end = 2 * last - exact(float(times[-2])) if len(times) > 1 else last
        n_trs, begin, options = floor(end / step), 0.0, Resampling("mean", outside="nan", averaging=tr)
    if n_trs < 1:
        raise InputError(f"its times end at {times[-1]:g} s, before one TR of {shown(tr)} s is known: give more of it")
    targets = TRGrid(tr, n_trs, 1 / step).onset + begin
    moved, present = resampled(values, times, targets, CONTINUOUS, options)
    present = present & np.isfinite(moved).all(axis=1)
    if not present.any():
        raise InputError(
            f"its times, {times[0]:g} to {times[-1]:g} s, hold no whole TR of {shown(tr)} s: give more of it"
        )
    return np.where(present[:, None], moved, 0), present
