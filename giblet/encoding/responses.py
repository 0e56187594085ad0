"""Responses to clips, sounds by voxels, from a table, an array, a file of MATLAB or a NIfTI image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.io import loadmat

from giblet.cells import read_cells
from giblet.data.bold.brain_rows import PLACES, format_of
from giblet.data.bold.tables import is_table, read_table
from giblet.encoding.clips import read_array
from giblet.encoding.permutation import voxels_that_change
from giblet.encoding.settings import EncodeSubjectSettings
from giblet.errors import InputError, reading
from giblet.modalities import BOLD
from giblet.statistics.rotations import flattened

if TYPE_CHECKING:
    import xarray as xr

MATLAB = ".mat"
NO_CLOCK = 1.0
"""TR, in seconds, that images of responses are read with: their volumes are clips and follow no clock."""


@dataclass(frozen=True)
class Responses:
    """One number for each clip and voxel, as a beta of a general linear model."""

    values: np.ndarray
    """float (n_clips, n_voxels)."""
    voxels: tuple[str, ...]
    """Names: of columns or regions, or numbers from 0."""
    unit: str = "voxel"
    """What a column is called: ``"voxel"``, or ``"region"`` where columns have names."""
    like: xr.Dataset | None = None
    """Of images: where the voxels or regions lie, as :class:`giblet.data.fmri.FMRIProcessor` reads it."""

    @property
    def places(self) -> dict[str, np.ndarray]:
        """What each column is, (n_voxels,) each: as tables of scores call it, of an atlas ``label`` too."""
        if self.like is None:
            return {"region": np.array(self.voxels, dtype=object)}
        return {name: self.like[name].values for name in (*PLACES, "label") if name in self.like.coords}


def read_responses(
    path: str | Path, names: Sequence[str], *, file_column: str = "file", variable: str | None = None,
    subject: EncodeSubjectSettings | None = None,
) -> Responses:  # fmt: skip
    """Read the responses to some clips.

    Parameters
    ----------
    path : str or Path
        ``.tsv`` or ``.csv`` with one row per clip, ``.npy``, ``.mat``, or a 4-D NIfTI image with one volume per clip.
    names : sequence of str
        Of the clips, in the order wanted.
    file_column : str
        A table that has this column is put into the order of the clips by it; other files must have that order.
    variable : str, optional
        Of a ``.mat`` file; by default the one variable that it has.
    subject : EncodeSubjectSettings, optional
        How images are read: their mask or atlas, and what becomes of bad voxels, which other files may have too.

    Returns
    -------
    Responses
        Of images float32, NaN in bad voxels.

    Raises
    ------
    InputError
        If the file cannot be read, there is not one row for each clip, a clip has no row, or several, or holds no
        number; if an image has no mask, or one of another space; if voxels are bad, and `subject` refuses them.
    """
    path = Path(path)
    found = _of_image(path, len(names), subject) if format_of(path) else _of_array(path, names, file_column, variable)
    empty = np.flatnonzero(~np.isfinite(found.values).any(axis=1))
    if len(empty):
        raise InputError(
            f"{path.name} has no response to {len(empty)} of {len(names)} clips, {names[empty[0]]!r} first: nothing "
            "but NaN; leave such clips out of the table and of the responses"
        )
    if subject is not None and subject.bad == "error" and found.like is None:
        bad = np.flatnonzero(~voxels_that_change(flattened(found.values)))
        if len(bad):
            raise InputError(
                f"{path.name}: {len(bad)} of {len(found.voxels)} {found.unit}s hold NaN or never change, "
                f"{found.voxels[bad[0]]} first; look at them, then choose bad: mask (NaN in the scores)"
            )
    return found


def _of_image(path: Path, n_clips: int, subject: EncodeSubjectSettings | None) -> Responses:
    if subject is None:
        raise InputError(f"{path.name} is an image, which needs a mask: pass the subject's settings (subject)")
    processor = subject.model_copy(update={"overrule_tr": True, "slice_time_ref": 0.0}).processor(NO_CLOCK)
    like = processor.load(path, subject=subject.name)
    values = like[BOLD].values
    if len(values) != n_clips:
        raise InputError(f"{path.name} has {len(values)} volumes for {n_clips} clips: one volume per clip is needed")
    values = np.where(like["good"].values, values, np.float32(np.nan))
    unit = like[BOLD].dims[1]
    voxels = like["region"].values if unit == "region" else np.arange(values.shape[1])
    return Responses(values, tuple(map(str, voxels)), str(unit), like)


def _of_array(path: Path, names: Sequence[str], file_column: str, variable: str | None) -> Responses:
    if path.suffix.lower() == MATLAB:
        values = _only_array(path, variable)
    elif is_table(path):
        if file_column in read_cells(path, words=True).names:
            return _by_name(path, names, file_column)
        table = read_table(path)
        return Responses(_checked(table.to_numpy(), len(names), path.name), tuple(map(str, table.columns)), "region")
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
        raise InputError(
            f"{path.name} has no row of {absent[0]!r}, and {len(absent) - 1} other clips lack theirs: add them"
        )
    columns = [name for name in cells.names if name not in (None, file_column)]
    table = read_table(path, columns)
    return Responses(table.to_numpy()[[place[name] for name in names]], tuple(map(str, columns)), "region")
