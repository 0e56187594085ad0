"""What each row of a CIFTI file, or of a pair of GIFTI files, is: a vertex of a surface, a voxel, or a parcel.

Both formats are described by nibabel's axes of CIFTI-2: a pair of GIFTI files is a cortex of two surfaces of which
every vertex is there, the left one first.
"""

from __future__ import annotations

import base64
import colorsys
import json
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from giblet.errors import InputError

CIFTI, GIFTI, NIFTI = "CIFTI", "GIFTI", "NIfTI"
PREFIX = "CIFTI_STRUCTURE_"
"""Before the name of a structure in a CIFTI file; columns and messages leave it out."""
CORTEX = {"L": f"{PREFIX}CORTEX_LEFT", "R": f"{PREFIX}CORTEX_RIGHT"}
PLACES = ("region", "grayordinate", "structure", "vertex", "i", "j", "k")
"""Names that say what a column of BOLD is, as far as it has them: a region, a row of a surface file, a voxel."""
ROWS = "brain_rows"
"""The attribute of BOLD that holds :meth:`BrainRows.to_text`."""
_CIFTI_NAME = re.compile(r"\.[dp](?:tseries|scalar|label|conn|dconn|pconn)\.nii$", re.IGNORECASE)


def format_of(path: str | Path) -> str:
    """The format of a brain file, as its name says.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    {"CIFTI", "GIFTI", "NIfTI", ""}
        Empty for other names.

    Examples
    --------
    >>> format_of("sub-1_bold.dtseries.nii"), format_of("sub-1_hemi-L_bold.func.gii"), format_of("sub-1_bold.nii.gz")
    ('CIFTI', 'GIFTI', 'NIfTI')
    """
    name = Path(path).name.lower()
    if _CIFTI_NAME.search(name):
        return CIFTI
    if name.endswith(".gii"):
        return GIFTI
    return NIFTI if ".nii" in Path(name).suffixes else ""


@dataclass(frozen=True, eq=False)
class BrainRows:
    """The rows of a CIFTI file or of a pair of GIFTI files, in their order.

    Parameters
    ----------
    format : {"CIFTI", "GIFTI"}
        What files of these rows are.
    axis : BrainModelAxis or ParcelsAxis
        Of vertices and voxels, or of parcels.
    """

    format: str
    axis: Any

    @classmethod
    def of_surfaces(cls, sizes: dict[str, int]) -> BrainRows:
        """Rows of GIFTI files.

        Parameters
        ----------
        sizes : dict of str to int
            Vertices of the surface, by its structure (:data:`CORTEX`).

        Returns
        -------
        BrainRows
        """
        from nibabel.cifti2 import BrainModelAxis

        name = np.repeat(list(sizes), list(sizes.values()))
        vertex = np.concatenate([np.arange(n) for n in sizes.values()])
        return cls(GIFTI, BrainModelAxis(name, vertex=vertex, nvertices=dict(sizes)))

    def __len__(self) -> int:
        return len(self.axis)

    @property
    def is_parcels(self) -> bool:
        """Whether each row is a parcel."""
        from nibabel.cifti2 import ParcelsAxis

        return isinstance(self.axis, ParcelsAxis)

    @cached_property
    def _models(self) -> list[tuple[str, slice]]:
        """Structures in the order of the rows. (nibabel's ``iter_structures`` ends with an open slice.)"""
        name = self.axis.name
        starts = np.flatnonzero(np.r_[True, name[1:] != name[:-1]][: len(name)])
        stops = [*starts[1:], len(name)]
        return [(str(name[start]), slice(int(start), int(stop))) for start, stop in zip(starts, stops, strict=True)]

    def columns(self) -> dict[str, np.ndarray]:
        """What is known of each row.

        Returns
        -------
        dict of str to ndarray, shape (n_rows,)
            ``region`` of parcels. Else ``grayordinate``, the number of the row in the file, from 0 (of a pair of GIFTI
            files, those of the left one first); ``structure``, such as ``"CORTEX_LEFT"``; ``vertex``, its number in the
            structure, -1 for a voxel; and where there are voxels ``i``, ``j``, ``k``, -1 for a vertex.
        """
        if self.is_parcels:
            return {"region": np.array([str(name) for name in self.axis.name])}
        found = {
            "grayordinate": np.arange(len(self), dtype=np.int32),
            "structure": np.repeat(
                [name.removeprefix(PREFIX) for name, _ in self._models], [s.stop - s.start for _, s in self._models]
            ),
            "vertex": np.asarray(self.axis.vertex, np.int32),
        }
        if self.axis.volume_shape is not None:
            found |= dict(zip("ijk", np.asarray(self.axis.voxel, np.int32).T, strict=True))
        return found

    def to_text(self) -> str:
        """All of it as a short text, for an attribute or a JSON file.

        Returns
        -------
        str
        """
        axis = self.axis
        if self.is_parcels:
            parts = [
                [str(name), [[key, _ranges(own)] for key, own in vertices.items()], _voxel_ranges(voxels)]
                for name, voxels, vertices in zip(axis.name, axis.voxels, axis.vertices, strict=True)
            ]
        else:
            parts = [
                [name, _ranges(axis.vertex[own]) if name in axis.nvertices else _voxel_ranges(axis.voxel[own])]
                for name, own in self._models
            ]
        content = {
            "format": self.format, "parcels": self.is_parcels, "parts": parts,
            "surfaces": {str(name): int(n) for name, n in axis.nvertices.items()},
            "affine": None if axis.affine is None else np.asarray(axis.affine, float).tolist(),
            "shape": None if axis.volume_shape is None else [int(n) for n in axis.volume_shape],
        }  # fmt: skip
        packed = zlib.compress(json.dumps(content, separators=(",", ":")).encode(), 9)
        return base64.b64encode(packed).decode("ascii")

    @classmethod
    @lru_cache(maxsize=8)
    def from_text(cls, text: str) -> BrainRows:
        """What :meth:`to_text` wrote.

        Parameters
        ----------
        text : str

        Returns
        -------
        BrainRows
        """
        from nibabel.cifti2 import BrainModelAxis, ParcelsAxis

        content = json.loads(zlib.decompress(base64.b64decode(text)))
        surfaces = content["surfaces"]
        affine = None if content["affine"] is None else np.array(content["affine"])
        where: dict[str, Any] = {
            "affine": affine,
            "volume_shape": None if content["shape"] is None else tuple(content["shape"]),
            "nvertices": surfaces,
        }
        if content["parcels"]:
            names = [name for name, *_ in content["parts"]]
            vertices = [{key: _of_ranges(own) for key, own in some} for _, some, _ in content["parts"]]
            voxels = [_of_voxel_ranges(some) for *_, some in content["parts"]]
            return cls(content["format"], ParcelsAxis(names, voxels, vertices, **where))
        name, vertex, voxel = [], [], []
        for structure, ranges in content["parts"]:
            on_surface = structure in surfaces
            own = _of_ranges(ranges) if on_surface else _of_voxel_ranges(ranges)
            name.append(np.repeat(structure, len(own)))
            vertex.append(own if on_surface else np.full(len(own), -1))
            voxel.append(np.full((len(own), 3), -1) if on_surface else own)
        return cls(
            content["format"],
            BrainModelAxis(np.concatenate(name), np.concatenate(voxel), np.concatenate(vertex), **where),
        )

    def difference(self, other: BrainRows) -> str | None:
        """In which way other rows are not these.

        Parameters
        ----------
        other : BrainRows

        Returns
        -------
        str or None
            In words, to stand behind "has"; None if they are the same.
        """
        one, two = self.axis, other.axis
        if self.is_parcels != other.is_parcels:
            return "parcels, not grayordinates" if other.is_parcels else "grayordinates, not parcels"
        if dict(one.nvertices) != dict(two.nvertices):
            return f"surfaces of {_surfaces(two.nvertices)} vertices, not {_surfaces(one.nvertices)}"
        if len(one) != len(two):
            return f"{len(two)} rows, not {len(one)}"
        if not np.array_equal(one.name, two.name):
            return "other parcels" if self.is_parcels else "other structures"
        if not _same_grid(one, two):
            return "other voxels"
        if self.is_parcels:
            same = self.to_text() == BrainRows(self.format, two).to_text()
        else:
            same = np.array_equal(one.vertex, two.vertex) and np.array_equal(one.voxel, two.voxel)
        return None if same else "other vertices or voxels"

    def rows_in(self, other: BrainRows, what: str, name: str) -> np.ndarray:
        """Where each of these rows stands among those of a mask or an atlas.

        Parameters
        ----------
        other : BrainRows
            Of the mask or atlas, which may leave out structures, or have vertices that the scan leaves out.
        what, name : str
            What messages call the other, and the scan.

        Returns
        -------
        ndarray of int, shape (n_rows,)
            -1 for rows that the other does not have.

        Raises
        ------
        InputError
            If a surface has another number of vertices, voxels are of another grid, or nothing is common to both.
        """
        if self.is_parcels or other.is_parcels:
            which = name if self.is_parcels else what
            raise InputError(
                f"{which} holds parcels, to which no mask or atlas of vertices and voxels can be laid: leave it out"
            )
        one, two = self.axis, other.axis
        for structure in one.nvertices.keys() & two.nvertices.keys():
            if one.nvertices[structure] != two.nvertices[structure]:
                raise InputError(
                    f"{what} has {two.nvertices[structure]} vertices in {structure.removeprefix(PREFIX)}, {name} "
                    f"{one.nvertices[structure]}: another space or density; choose the one of the scan's, or resample "
                    "it with the nearest label (wb_command -label-resample, -cifti-resample with ENCLOSING_VOXEL)"
                )
        found = np.full(len(self), -1)
        for structure, own in self._models:
            theirs = np.flatnonzero(two.name == structure)
            if structure in one.nvertices and len(theirs) and structure in two.nvertices:
                at = np.full(one.nvertices[structure], -1)
                at[two.vertex[theirs]] = theirs
                found[own] = at[one.vertex[own]]
        ours, theirs = one.vertex < 0, np.flatnonzero(two.vertex < 0)
        if ours.any() and len(theirs):
            if not _same_grid(one, two):
                raise InputError(
                    f"{what} has voxels of shape {tuple(two.volume_shape)} where {name} has {tuple(one.volume_shape)}, "
                    "or at another place: another space; choose the one of the scan's"
                )
            at = np.full(one.volume_shape, -1)
            at[tuple(two.voxel[theirs].T)] = theirs
            found[ours] = at[tuple(one.voxel[ours].T)]
        if not (found >= 0).any():
            raise InputError(f"{what} has no vertex or voxel of {name}: {other.summary()}, not {self.summary()}")
        return found

    def summary(self) -> str:
        """How many rows of which kind.

        Returns
        -------
        str
        """
        if self.is_parcels:
            return f"{len(self)} parcels"
        n_voxels = int((self.axis.vertex < 0).sum())
        told = f"{len(self) - n_voxels} vertices of {_surfaces(self.axis.nvertices)}"
        return f"{told} and {n_voxels} voxels" if n_voxels else told


def colours(n: int) -> list[tuple[float, float, float]]:
    """Colours for a table of labels, neighbours far apart.

    Parameters
    ----------
    n : int

    Returns
    -------
    list of tuple of float
        Red, green and blue, 0 to 1.
    """
    return [colorsys.hsv_to_rgb(k * 0.618034 % 1, 0.6 + 0.3 * (k % 2), 0.9) for k in range(n)]


def unit_of(columns: Any) -> str:
    """What a column of BOLD is.

    Parameters
    ----------
    columns : container of str
        The names of what is known of the columns, such as the keys of a mapping.

    Returns
    -------
    {"region", "grayordinate", "voxel"}
        Also the name of their dimension.
    """
    return next((unit for unit in ("region", "grayordinate") if unit in columns), "voxel")


def column_name(columns: Any, n: int) -> str:
    """What messages call a column of BOLD.

    Parameters
    ----------
    columns : mapping of str to array_like
        What is known of the columns.
    n : int
        Number of the column, from 0.

    Returns
    -------
    str
        Its region; structure and vertex (``"CORTEX_LEFT 17"``); or the place of its voxel in the image,
        ``"(i, j, k)"``. Its number where nothing is known.
    """
    if "region" in columns:
        return str(columns["region"][n])
    where = str(tuple(int(columns[axis][n]) for axis in "ijk")) if "i" in columns else str(n)
    if "structure" in columns:
        vertex = int(columns["vertex"][n])
        return f"{columns['structure'][n]} {where if vertex < 0 else vertex}"
    return where


def _surfaces(sizes: dict[str, int]) -> str:
    told = [f"{n} ({name.removeprefix(PREFIX)})" for name, n in sorted(sizes.items())]
    return " and ".join(told) or "no surface"


def _same_grid(one: Any, two: Any) -> bool:
    from giblet.data.bold.volumes import SAME_PLACE

    if one.volume_shape is None or two.volume_shape is None:
        return one.volume_shape is two.volume_shape
    side = np.linalg.norm(np.asarray(one.affine)[:3, :3], axis=0).min()
    apart = np.abs(np.asarray(one.affine) - two.affine).max()
    return tuple(one.volume_shape) == tuple(two.volume_shape) and bool(apart <= SAME_PLACE * side)


def _ranges(numbers: np.ndarray) -> list[int]:
    """Start and length of each stretch of numbers that count up by one."""
    numbers = np.asarray(numbers)
    starts = np.flatnonzero(np.r_[True, np.diff(numbers) != 1][: len(numbers)])
    lengths = np.diff(np.r_[starts, len(numbers)])
    return np.stack([numbers[starts], lengths], axis=1).ravel().tolist()


def _of_ranges(ranges: Sequence[int]) -> np.ndarray:
    pairs = np.array(ranges, int).reshape(-1, 2)
    starts, lengths = pairs.T
    before = np.cumsum(lengths) - lengths
    return np.arange(lengths.sum()) + np.repeat(starts - before, lengths)


def _voxel_ranges(voxels: np.ndarray) -> list[int]:
    """An axis, then place of the first voxel and length of each stretch of voxels that count up by one along it.

    The axis is the one that needs the fewest stretches: files count i first, masks of numpy k.
    """
    voxels = np.asarray(voxels, int).reshape(-1, 3)
    steps = np.diff(voxels, axis=0)
    starts = [np.flatnonzero(np.r_[True, (steps != unit).any(axis=1)][: len(voxels)]) for unit in np.eye(3, dtype=int)]
    axis = int(np.argmin([len(own) for own in starts]))
    lengths = np.diff(np.r_[starts[axis], len(voxels)])
    return [axis, *np.c_[voxels[starts[axis]], lengths].ravel().tolist()]


def _of_voxel_ranges(ranges: Sequence[int]) -> np.ndarray:
    axis, *rest = ranges
    stretches = np.array(rest, int).reshape(-1, 4)
    lengths = stretches[:, 3]
    found = np.repeat(stretches[:, :3], lengths, axis=0)
    found[:, axis] += _of_ranges(np.c_[np.zeros_like(lengths), lengths].ravel().tolist())
    return found
