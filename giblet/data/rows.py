"""Rows of features as they are made, TR by TR: in memory, or in a file without a name where they would not fit."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
from xarray.backends import BackendArray
from xarray.core import indexing

from giblet.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator


class Rows:
    """A table that is made row by row; rows that nothing was put into are 0.

    Used with ``with`` where it stands on disk: the file goes when the block ends, or the process, however that ends.

    Parameters
    ----------
    folder : Path, optional
        Where a file without a name takes the rows, beside the one that they are for; made if it is missing, with those
        above it, and removed again if they are still empty in the end. By default they stay in memory.

    Examples
    --------
    >>> rows = Rows()
    >>> rows[1] = np.array([1, 2])
    >>> rows.table(3, (2,), np.int64)
    array([[0, 0],
           [1, 2],
           [0, 0]])
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._made: list[Path] = []
        self._held: dict[int, np.ndarray] = {}
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._file is not None:
            with suppress(OSError):  # what did not reach a full disk, which was told when it was written
                self._file.close()
        with suppress(OSError):
            for folder in self._made:
                folder.rmdir()  # if nothing came of it

    def __setitem__(self, k: int, row: np.ndarray) -> None:
        """Put row `k`, 0 or more, of the shape and dtype of all others."""
        if self._folder is None:
            self._held[k] = row
            return
        with _writing(self._folder):
            if self._file is None:
                self._made = [path for path in (self._folder, *self._folder.parents) if not path.exists()]
                self._folder.mkdir(parents=True, exist_ok=True)
                self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - open as long as this is
            self._file.seek(k * row.nbytes)
            self._file.write(np.ascontiguousarray(row).data)

    def table(self, n: int, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Any:
        """The first `n` rows.

        Parameters
        ----------
        n : int
        shape : tuple of int
            Of a row.
        dtype : dtype
            Of all rows.

        Returns
        -------
        ndarray or xarray.core.indexing.LazilyIndexedArray, shape (n, *shape)
            Rows that stand on disk are read when a Dataset is asked for them, as long as the ``with`` block lasts.

        Raises
        ------
        InputError
            If the disk is full.
        """
        if self._folder is not None and self._file is not None:
            on_disk = _OnDisk(self._file, (n, *shape), np.dtype(dtype))
            with _writing(self._folder):
                self._file.truncate(on_disk.nbytes)
                self._file.flush()
            return indexing.LazilyIndexedArray(on_disk)
        table = np.zeros((n, *shape), dtype)
        for k, row in self._held.items():
            if k < n:
                table[k] = row
        return table


class _OnDisk(BackendArray):
    """Rows of a file, one behind the other, read as they are asked for."""

    def __init__(self, file: IO[bytes], shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._file, self.shape, self.dtype = file, shape, dtype

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape)) * self.dtype.itemsize

    def __getitem__(self, key: indexing.ExplicitIndexer) -> npt.ArrayLike:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.BASIC, self._read)

    def _read(self, key: tuple[int | slice, ...]) -> np.ndarray:
        which, *others = key
        numbers = np.arange(self.shape[0])[which]
        start, end = (int(numbers.min()), int(numbers.max()) + 1) if numbers.size else (0, 0)
        rows = np.empty((end - start, *self.shape[1:]), self.dtype)
        self._file.seek(start * (self.nbytes // max(self.shape[0], 1)))
        self._file.readinto(rows.reshape(-1).view(np.uint8).data)  # type: ignore[attr-defined]
        return rows[(numbers - start, *others)]


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise InputError(
            f"cannot write to {folder}: {exc.strerror or exc}; choose another output folder or free some space"
        ) from exc
