"""Datasets as netCDF4 that Octave, R and MATLAB read in full, and back.

What h5netcdf writes by itself xarray reads, but Octave's netcdf package stops at the first text: it is stored as HDF5
strings of variable length. Here text attributes become netCDF ``char`` (HDF5 strings of fixed length, UTF-8), and
variables of text become arrays of ``char`` with ``_Encoding = "utf-8"``, as the netCDF library itself writes them. So a
file holds nothing but byte, ubyte, int, int64, float, double and char, in one group, with dimensions of fixed length:
what every netCDF4 reader knows.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import IO, TYPE_CHECKING, Any

import h5py
import numpy as np
import numpy.typing as npt

from giblet.errors import InputError, reading
from giblet.limits import DEFLATED, check_limit

if TYPE_CHECKING:
    import xarray as xr


LARGE = 2**24
"""Bytes beyond which a variable is written and read some rows at a time."""
PIECE = 2**20
"""Bytes, about, of the whole rows that are packed together in a large variable: what HDF5 keeps at hand."""
PACKED = {"zlib": True, "complevel": 4}
"""Deflate has a check sum of its own."""
CHECKED = {"fletcher32": True}
HDF5 = b"\x89HDF\r\n\x1a\n"
DAMAGED = "it is not a feature file, or is damaged: copy or extract it again"
INT32 = np.iinfo(np.int32)
DECODED = ("scale_factor", "add_offset", "_Unsigned", "calendar")
"""Attributes of a variable whose values xarray may turn into others."""


class OnDisk:
    """Numbers of a variable that is too large to hold, read as rows are asked for.

    Parameters
    ----------
    path : Path
    name : str
        Of the variable.
    stored : h5netcdf.Variable
        The same, as the file has it now.
    dtype : dtype
        Of what is read: the file's own, or bool.
    """

    def __init__(self, path: Path, name: str, stored: Any, dtype: np.dtype[Any]) -> None:
        self._path, self._name, self._is = path, name, _version(path)
        self.shape, self.dtype = tuple(stored.shape), dtype
        size = stored.dtype.itemsize * math.prod(self.shape[1:])
        self._step = max(1, PIECE // size, (stored.chunks or (1,))[0])

    def __getitem__(self, rows: Any) -> np.ndarray:
        """The rows, all of each.

        Raises
        ------
        InputError
            If the file is damaged, or is another one than at first.
        """
        import h5netcdf

        with reading(self._path, DAMAGED), h5netcdf.File(self._path, "r", phony_dims="access") as file:
            if _version(self._path) != self._is:
                raise InputError(f"{self._path} was written anew while it was read: run this again")
            return np.asarray(file[self._name][rows]).astype(self.dtype, copy=False)

    def check(self) -> None:
        """Read all of it, and keep nothing.

        Raises
        ------
        InputError
            If the file is damaged.
        """
        for first in range(0, self.shape[0], self._step):
            _ = self[first : first + self._step]


def _version(path: Path) -> tuple[int, int, int]:
    """What tells a file from the one that takes its place."""
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


@dataclass(frozen=True)
class StoredVariable:
    """A variable as a file holds it, with what a variable of xarray says of its shape."""

    dims: tuple[str, ...]
    held: np.ndarray | OnDisk

    @property
    def values(self) -> np.ndarray:
        """All of it, in memory."""
        return self.held if isinstance(self.held, np.ndarray) else self.held[:]

    def __getitem__(self, rows: Any) -> np.ndarray:
        return self.held[rows]

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.values, dtype, copy=copy)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of its values."""
        return self.held.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of its values."""
        return self.held.dtype

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

    @property
    def data_vars(self) -> dict[str, StoredVariable]:
        """Variables that are not the numbers of a dimension."""
        return {name: variable for name, variable in self.variables.items() if name not in self.sizes}


def read_stored(path: Path) -> Stored | None:
    """A netCDF4 file in memory, where that takes no more than reading numbers.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Stored or None
        Its numbers and truth values, and its attributes, as :func:`read_netcdf` gives them; variables of text are left
        out, and those of more than `LARGE` bytes stay on disk, once they were found to be readable. None of a file
        that only xarray makes sense of.

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
            dtype = np.dtype(bool) if _as_xarray_has_it(stored.attrs.get("dtype")) == "bool" else stored.dtype
            held: np.ndarray | OnDisk
            if math.prod(stored.shape) * stored.dtype.itemsize > LARGE:
                held = OnDisk(path, name, stored, dtype)
                held.check()
            else:
                held = np.asarray(stored[...]).astype(dtype, copy=False)
            variables[name] = StoredVariable(tuple(stored.dimensions), held)
        sizes = {name: int(length.size) for name, length in file.dimensions.items()}
    return Stored(attrs, sizes, variables)


def _as_xarray_has_it(value: Any) -> Any:
    """An attribute of h5netcdf as :func:`read_netcdf` gives it."""
    if isinstance(value, bytes):
        return value.decode()
    return value.item() if isinstance(value, np.generic) else value


def write_netcdf(dataset: xr.Dataset, path: Path) -> None:
    """Write a netCDF4 file.

    Variables of more than `LARGE` bytes are taken from the Dataset and written some rows at a time, so that they may
    stand on disk.

    Parameters
    ----------
    dataset : xarray.Dataset
        Attributes are text, numbers, truth values or arrays of numbers.
    path : Path
        An empty file, or none.

    Raises
    ------
    OSError
        If it cannot be written, or the disk is full.
    """
    import xarray as xr

    attrs = {name: _plain(value) for name, value in dataset.attrs.items()}
    # With the attributes by which the coordinates of each, and of the whole, are known.
    encoded, about = xr.conventions.encode_dataset_coordinates(dataset)
    large = _large(dataset, encoded)
    small = dataset.drop_vars(list(large))
    encoding: dict[Any, dict[str, Any]] = {}
    for name, variable in small.variables.items():
        encoding[name] = {"dtype": "S1"} if variable.dtype.kind in "OUT" else {}
        if variable.size and variable.ndim:
            encoding[name] |= PACKED if variable.ndim > 1 else CHECKED
    # Into memory: HDF5 on a full disk can lose its own error, a plain write cannot.
    content = io.BytesIO()
    small.assign_attrs(attrs).to_netcdf(content, engine="h5netcdf", encoding=encoding)
    _fix_texts(content)
    # No view of it: if writing fails, the error keeps the view, and Python 3.13 complains of that when it ends.
    path.write_bytes(content.getvalue())
    if large:
        # In a thread of its own. Python hands signals to the main thread alone, and HDF5 calls Python to write here: an
        # interrupt that came within such a call would be lost, with the piece that was being written.
        stop = Event()
        with ThreadPoolExecutor(max_workers=1) as aside:
            try:
                aside.submit(_add_all, large, "coordinates" in about, path, stop).result()
            finally:
                stop.set()


def _add_all(large: dict[str, xr.Variable], coordinates: bool, path: Path, stop: Event) -> None:
    """Write large variables into the file that has all others, until told to stop.

    The file says of coordinates that no variable has them, which stays where it is true with the large ones too.
    """
    with _Remembering(path, "r+") as file:
        try:
            for name, variable in large.items():
                _add(file, name, variable, stop)
            _fix_texts(file)
            if not coordinates:
                with h5py.File(file, "r+") as written:
                    written.attrs.pop("coordinates", None)
        finally:
            if file.error is not None:
                raise file.error


def _large(dataset: xr.Dataset, encoded: Mapping[Any, xr.Variable]) -> dict[str, xr.Variable]:
    """Variables that are written some rows at a time."""
    found = {}
    for name, variable in encoded.items():
        # Coordinates stay, unless their name makes them one: xarray says of which variables they are.
        is_table = (
            variable.dtype.kind in "biuf" and variable.ndim and (name in dataset.sizes or name in dataset.data_vars)
        )
        if is_table and variable.nbytes > LARGE:
            found[str(name)] = variable.drop_encoding()  # as of the others, which are given one here
    return found


def _add(file: _Remembering, name: str, variable: xr.Variable, stop: Event) -> None:
    """Write a variable some rows at a time, as xarray would write it at once."""
    import h5netcdf
    import xarray as xr

    first = xr.conventions.encode_cf_variable(variable[:1])
    attrs = dict(first.attrs)
    rows = max(1, min(PIECE // (variable.nbytes // variable.shape[0]), variable.shape[0]))
    deflated = {"compression": "gzip", "compression_opts": PACKED["complevel"], "shuffle": True}
    packed = deflated if variable.ndim > 1 else CHECKED
    with h5netcdf.File(file, "r+") as netcdf:
        for dim, length in variable.sizes.items():
            if dim not in netcdf.dimensions:
                netcdf.dimensions[dim] = length
        fill, pieces = attrs.pop("_FillValue", None), (rows, *variable.shape[1:])
        target = netcdf.create_variable(name, variable.dims, first.dtype, fillvalue=fill, chunks=pieces, **packed)
        target.attrs.update(attrs)
        for start in range(0, variable.shape[0], rows):
            if file.error is not None or stop.is_set():
                break
            some = slice(start, start + rows)
            target[some] = xr.conventions.encode_cf_variable(variable[some]).values


class _Remembering(io.FileIO):
    """A file to write to through HDF5, which loses or garbles an error of its own: it is kept here instead."""

    error: OSError | MemoryError | None = None

    def write(self, content: Any) -> int:
        with memoryview(content).cast("B") as left:
            n, done = len(left), 0
            while done < n and self.error is None:
                with self._kept():
                    done += super().write(left[done:])
        return n

    def truncate(self, size: int | None = None) -> int:
        with self._kept():
            super().truncate(size)
        return size or 0

    @contextmanager
    def _kept(self) -> Iterator[None]:
        try:
            yield
        except (OSError, MemoryError) as exc:
            self.error = self.error or exc


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


def _fix_texts(content: IO[bytes]) -> None:
    """Text attributes of all that a file holds as strings of fixed length."""
    with h5py.File(content, "r+") as file:
        _fix_text(file)
        file.visititems(lambda _, item: _fix_text(item))


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
