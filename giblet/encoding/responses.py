"""Responses to clips, sounds by voxels, from a table, an array or a file of MATLAB."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import loadmat

from giblet.cells import read_cells
from giblet.data.bold.tables import is_table, read_table
from giblet.encoding.clips import read_array
from giblet.errors import InputError, reading

MATLAB = ".mat"


@dataclass(frozen=True)
class Responses:
    """One number for each clip and voxel, as a beta of a general linear model."""

    values: np.ndarray
    """float (n_clips, n_voxels)."""
    voxels: tuple[str, ...]
    """Names: of columns, or numbers from 0."""


def read_responses(
    path: str | Path, names: Sequence[str], *, file_column: str = "file", variable: str | None = None
) -> Responses:
    """Read the responses to some clips.

    Parameters
    ----------
    path : str or Path
        ``.tsv`` or ``.csv`` with one row per clip, ``.npy``, or ``.mat``.
    names : sequence of str
        Of the clips, in the order wanted.
    file_column : str
        A table that has this column is put into the order of the clips by it; other files must have that order.
    variable : str, optional
        Of a ``.mat`` file; by default the one variable that it has.

    Returns
    -------
    Responses

    Raises
    ------
    InputError
        If the file cannot be read, there is not one row for each clip, or a clip has no row, or several.
    """
    path = Path(path)
    if path.suffix.lower() == MATLAB:
        values = _only_array(path, variable)
    elif is_table(path):
        if file_column in read_cells(path, words=True).names:
            return _by_name(path, names, file_column)
        table = read_table(path)
        return Responses(_checked(table.to_numpy(), len(names), path.name), tuple(map(str, table.columns)))
    else:
        values = read_array(path)
    values = _checked(values, len(names), path.name)
    return Responses(values, tuple(map(str, range(values.shape[1]))))


def read_mat(path: str | Path) -> dict[str, Any]:
    """Variables of a file of MATLAB; cell arrays of text as lists.

    Parameters
    ----------
    path : str or Path
        ``.mat``, of version 7 or before.

    Returns
    -------
    dict of str to ndarray or list of str

    Raises
    ------
    InputError
        If it cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> from scipy.io import savemat
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     savemat(f"{folder}/x.mat", {"names": np.array(["a", "bc"], object), "R": np.eye(2)})
    ...     read_mat(f"{folder}/x.mat")["names"]
    ['a', 'bc']
    """
    with reading(path, "a MATLAB file is needed; of version 7.3, save it anew by save(..., '-v7')"):
        found = loadmat(path)
    return {name: _as_text(value) for name, value in found.items() if not name.startswith("__")}


def _as_text(value: Any) -> Any:
    """A cell array of text, (n, 1) or (1, n) cells of one string each, as a list; all else as it is."""
    if not isinstance(value, np.ndarray) or value.dtype != object:
        return value
    cells = [np.asarray(cell) for cell in value.ravel()]
    if not all(cell.dtype.kind == "U" and cell.size <= 1 for cell in cells):
        return value
    return [str(cell.reshape(-1)[0]) if cell.size else "" for cell in cells]


def _only_array(path: Path, variable: str | None) -> np.ndarray:
    found = read_mat(path)
    if variable is None:
        numbers = [name for name, value in found.items() if isinstance(value, np.ndarray) and value.dtype.kind in "iuf"]
        if len(numbers) != 1:
            raise InputError(
                f"{path.name} has {len(numbers)} arrays of numbers ({', '.join(numbers)}): say which (variable)"
            )
        variable = numbers[0]
    if variable not in found:
        raise InputError(f"{path.name} has no variable {variable!r}: it has {', '.join(found)}")
    return np.asarray(found[variable])


def _checked(values: np.ndarray, n_clips: int, named: str) -> np.ndarray:
    if values.ndim != 2 or values.dtype.kind not in "iuf":
        raise InputError(f"{named} has shape {values.shape}, {values.dtype}: numbers, (n_clips, n_voxels), are needed")
    if len(values) != n_clips:
        turned = ", and has as many columns: turn it" if values.shape[1] == n_clips else ""
        raise InputError(f"{named} has {len(values)} rows for {n_clips} clips{turned}; one row per clip is needed")
    return values if values.dtype.kind == "f" else values.astype(np.float64)


def _by_name(path: Path, names: Sequence[str], file_column: str) -> Responses:
    cells = read_cells(path, words=True)
    told = [row[cells.names.index(file_column)].strip() for row in cells.rows()]
    place = {name: row for row, name in enumerate(told)}
    if len(place) < len(told):
        twice = next(name for name in told if told.count(name) > 1)
        raise InputError(f"{path.name} has {told.count(twice)} rows of {twice!r}: average them")
    absent = [name for name in names if name not in place]
    if absent:
        raise InputError(f"{path.name} has no row of {absent[0]!r}, and {len(absent) - 1} other clips lack theirs")
    columns = [name for name in cells.names if name not in (None, file_column)]
    table = read_table(path, columns)
    return Responses(table.to_numpy()[[place[name] for name in names]], tuple(map(str, columns)))
