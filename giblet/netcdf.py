"""Datasets as netCDF4 that Octave, R and MATLAB read in full, and back.

What h5netcdf writes by itself xarray reads, but Octave's netcdf package stops at the first text: it is stored as HDF5
strings of variable length. Here text attributes become netCDF ``char`` (HDF5 strings of fixed length, UTF-8), and
variables of text become arrays of ``char`` with ``_Encoding = "utf-8"``, as the netCDF library itself writes them. So a
file holds nothing but byte, ubyte, int, int64, float, double and char, in one group, with dimensions of fixed length:
what every netCDF4 reader knows.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from giblet.errors import InputError, reading
from giblet.limits import DEFLATED, check_limit

if TYPE_CHECKING:
    import xarray as xr


PACKED = {"zlib": True, "complevel": 4}
"""Deflate has a check sum of its own."""
CHECKED = {"fletcher32": True}
HDF5 = b"\x89HDF\r\n\x1a\n"
DAMAGED = "it is not a feature file, or is damaged: copy or extract it again"
INT32 = np.iinfo(np.int32)
DECODED = ("scale_factor", "add_offset", "_Unsigned", "calendar")
"""Attributes of a variable whose values xarray may turn into others."""


@dataclass(frozen=True)
class StoredVariable:
    """A variable as a file holds it, with what a variable of xarray says of its shape."""

    dims: tuple[str, ...]
    values: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """Of its values."""
        return self.values.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of its values."""
        return self.values.dtype

    @property
    def sizes(self) -> dict[str, int]:
        """Length of each dimension."""
        return dict(zip(self.dims, self.shape, strict=True))


@dataclass
class Stored:
    """What a netCDF4 file holds, read without xarray, which takes longer to import than a file to read."""

    attrs: dict[str, Any]
    sizes: dict[str, int]
    variables: dict[str, StoredVariable] = field(repr=False)

    def __contains__(self, name: str) -> bool:
        return name in self.variables

    def __getitem__(self, name: str) -> StoredVariable:
        return self.variables[name]


def read_stored(path: Path) -> Stored | None:
    """A netCDF4 file in memory, where that takes no more than reading numbers.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Stored or None
        Its numbers and truth values, and its attributes, as :func:`read_netcdf` gives them; variables of text are left
        out. None of a file that only xarray makes sense of.

    Raises
    ------
    InputError
        As :func:`open_netcdf`.

    See Also
    --------
    read_netcdf : reads all of any file.
    """
    import h5netcdf

    _check_readable(path)
    with reading(path, DAMAGED), h5netcdf.File(path, "r", phony_dims="access") as file:
        attrs = {name: _as_xarray_has_it(value) for name, value in file.attrs.items()}
        variables = {}
        for name, stored in file.variables.items():
            if stored.dtype.kind not in "biuf":
                continue
            marked = stored.dtype.kind != "f" and ("_FillValue" in stored.attrs or "missing_value" in stored.attrs)
            if marked or any(told in stored.attrs for told in DECODED):
                return None
            values = np.asarray(stored[...])
            if _as_xarray_has_it(stored.attrs.get("dtype")) == "bool":
                values = values.astype(bool)
            variables[name] = StoredVariable(tuple(stored.dimensions), values)
        sizes = {name: int(length.size) for name, length in file.dimensions.items()}
    return Stored(attrs, sizes, variables)


def _as_xarray_has_it(value: Any) -> Any:
    """An attribute of h5netcdf as :func:`read_netcdf` gives it."""
    if isinstance(value, bytes):
        return value.decode()
    return value.item() if isinstance(value, np.generic) else value


def netcdf_bytes(dataset: xr.Dataset) -> memoryview:
    """The content of a netCDF4 file.

    Parameters
    ----------
    dataset : xarray.Dataset
        Attributes are text, numbers, truth values or arrays of numbers.

    Returns
    -------
    memoryview
    """
    attrs = {name: _plain(value) for name, value in dataset.attrs.items()}
    encoding: dict[Any, dict[str, Any]] = {}
    for name, variable in dataset.variables.items():
        encoding[name] = {"dtype": "S1"} if variable.dtype.kind in "OUT" else {}
        if variable.size and variable.ndim:
            encoding[name] |= PACKED if variable.ndim > 1 else CHECKED
    # Into memory: HDF5 on a full disk can lose its own error, a plain write cannot.
    content = io.BytesIO()
    dataset.assign_attrs(attrs).to_netcdf(content, engine="h5netcdf", encoding=encoding)
    with h5py.File(content, "r+") as file:
        _fix_text(file)
        file.visititems(lambda _, item: _fix_text(item))
    return content.getbuffer()


def open_netcdf(path: Path) -> xr.Dataset:
    """A netCDF4 file, its variables still on disk, whoever wrote it.

    Parameters
    ----------
    path : Path

    Returns
    -------
    xarray.Dataset
        To be closed after use, as by ``with``.

    Raises
    ------
    InputError
        If it cannot be opened, is locked by another program, is no netCDF4 file, or is damaged.

    See Also
    --------
    read_netcdf : reads it into memory.
    """
    _check_readable(path)
    import xarray as xr

    with reading(path, DAMAGED):
        # Named, as its default warns of itself where a file of HDF5 has no dimensions.
        return xr.open_dataset(path, engine="h5netcdf", cache=False, phony_dims="access")


def _check_readable(path: Path) -> None:
    """Raise if a file cannot be opened, is locked by another program, is no netCDF4 file, or its head is damaged."""
    with reading(path, "you have no access to it, or its disk is gone; check its permissions"), path.open("rb") as file:
        start = file.read(len(HDF5))
    if start != HDF5:
        raise InputError(f"cannot read {path}: no netCDF4, so not a feature file; name one that giblet wrote (*.nc)")
    with reading(path, DAMAGED):
        try:
            # h5netcdf leaves a half-made object behind where these are damaged, whose end is a traceback on stderr.
            with h5py.File(path) as file:
                dict(file.attrs)
                declared = 0

                def add(_: str, item: Any) -> None:
                    nonlocal declared
                    declared += item.size * item.dtype.itemsize if isinstance(item, h5py.Dataset) and item.size else 0

                file.visititems(add)
        except OSError as exc:
            if "unable to lock file" in str(exc):
                raise InputError(
                    f"{path} is locked: another program has it open for writing, or its file system knows no locks; "
                    "close that program, or set HDF5_USE_FILE_LOCKING=FALSE"
                ) from exc
            raise
    if declared > max(DEFLATED * path.stat().st_size, 2**20):
        raise InputError(f"cannot read {path}: it declares {declared} bytes of numbers: {DAMAGED}")
    check_limit("unpacked_gb", declared / 1e9, str(path), "GB when unpacked")


def read_netcdf(path: Path) -> xr.Dataset:
    """A netCDF4 file in memory, whoever wrote it.

    Parameters
    ----------
    path : Path

    Returns
    -------
    xarray.Dataset
        Its variables of text hold str.

    Raises
    ------
    InputError
        As :func:`open_netcdf`.

    See Also
    --------
    open_netcdf : leaves the variables on disk.
    """
    with reading(path, DAMAGED), open_netcdf(path) as opened:
        dataset = opened.load()
    dataset.attrs = {name: v.item() if isinstance(v, np.generic) else v for name, v in dataset.attrs.items()}
    text = {name: variable.astype(str) for name, variable in dataset.variables.items() if variable.dtype == object}
    return dataset.assign_coords({name: text.pop(name) for name in list(text) if name in dataset.coords}).assign(text)


def _plain(value: Any) -> Any:
    """An attribute's value as a type that netCDF and R know: truth values and small whole numbers as int."""
    if isinstance(value, (bool, np.bool_)):
        return np.int32(value)
    if isinstance(value, (int, np.integer)) and INT32.min <= value <= INT32.max:
        return np.int32(value)
    return value


def _fix_text(item: Any) -> None:
    """Text attributes of a group or variable as strings of fixed length."""
    for name in list(item.attrs):
        stored = h5py.check_string_dtype(item.attrs.get_id(name).dtype)
        value = item.attrs[name]
        if stored is None or stored.length is not None or not isinstance(value, str):
            continue
        raw = value.encode()
        del item.attrs[name]
        if raw:
            kind = h5py.string_dtype("ascii" if value.isascii() else "utf-8", len(raw))
            item.attrs.create(name, raw, dtype=kind)
        else:  # as the netCDF library writes empty text
            item.attrs.create(name, h5py.Empty("S1"))
