"""GIFTI files of the two hemispheres: found as a pair, read into rows (left, then right), and written from them.

One file of a pair is named, whichever; the other one lies beside it under the same name but for the hemisphere. What is
read is checked against the header, which is read first, without the data.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from nibabel.gifti import GiftiDataArray, GiftiImage, GiftiLabel, GiftiMetaData
from nibabel.gifti.parse_gifti_fast import GiftiImageParser
from nibabel.nifti1 import intent_codes

from giblet.cells import is_number
from giblet.data.bold.brain_rows import CORTEX, GIFTI, BrainRows, colours, format_of
from giblet.data.bold.scan_timing import HeaderTR, in_seconds, sidecar_path
from giblet.errors import InputError, reading
from giblet.limits import check_declared, check_limit
from giblet.timing import exact

NAMED = (
    re.compile(r"(?<![A-Za-z0-9])(?P<before>hemi-)(?P<side>[LR])(?![A-Za-z0-9])"),
    re.compile(r"(?P<before>\.)(?P<side>[LR])(?=\.)"),
    re.compile(r"(?<![A-Za-z0-9])(?P<before>)(?P<side>[lr])h(?![A-Za-z0-9])"),
)
"""How BIDS, Workbench and FreeSurfer name the hemisphere of a file."""
HOW_NAMED = "hemi-L and hemi-R, .L. and .R., or lh. and rh."
TOLD = {"L": "CortexLeft", "R": "CortexRight"}
"""How a file itself says its hemisphere, AnatomicalStructurePrimary."""
MOST_DIMENSIONS = 6
"""Of an array, by the format."""
MESH = ("NIFTI_INTENT_POINTSET", "NIFTI_INTENT_TRIANGLE")
SERIES_INTENT, MAP_INTENT = "NIFTI_INTENT_TIME_SERIES", "NIFTI_INTENT_NONE"


def hemispheres(path: str | Path) -> dict[str, Path]:
    """Both files of a pair, of which one is named.

    Parameters
    ----------
    path : str or Path
        Of the left or the right hemisphere.

    Returns
    -------
    dict of str to Path
        ``"L"`` and ``"R"``, whether the files are there or not.

    Raises
    ------
    InputError
        If the name tells no hemisphere.

    Examples
    --------
    >>> [file.name for file in hemispheres("sub-1_hemi-R_bold.func.gii").values()]
    ['sub-1_hemi-L_bold.func.gii', 'sub-1_hemi-R_bold.func.gii']
    """
    path = Path(path)
    for pattern in NAMED:
        if found := list(pattern.finditer(path.name)):
            start, stop = found[-1].span("side")
            sides = ("l", "r") if found[-1]["side"].islower() else ("L", "R")
            names = [path.name[:start] + side + path.name[stop:] for side in sides]
            return {side.upper(): path.with_name(name) for side, name in zip(sides, names, strict=True)}
    raise InputError(f"the name of {path.name} tells no hemisphere; expected {HOW_NAMED}")


def with_other_hemisphere(path: Path) -> list[Path]:
    """A file of a brain, and of a pair of GIFTI files the other one.

    Parameters
    ----------
    path : Path
        Of any format.

    Returns
    -------
    list of Path
        `path` first.
    """
    if format_of(path) != GIFTI or not any(pattern.search(path.name) for pattern in NAMED):
        return [path]
    return [path, *(file for file in hemispheres(path).values() if file != path)]


def companions(path: Path) -> list[Path]:
    """Files that belong to a scan, mask or atlas by their names: its sidecar, the other hemisphere and its sidecar.

    Parameters
    ----------
    path : Path

    Returns
    -------
    list of Path
        Whether they are there or not.
    """
    return [file for one in with_other_hemisphere(path) for file in (one, sidecar_path(one)) if file != path]


@dataclass(frozen=True)
class GiftiHeader:
    """What stands before the data of a GIFTI file."""

    path: Path
    n_vertices: int
    n_arrays: int
    """1 where all volumes stand in one array of two dimensions."""
    n_volumes: int
    tr: HeaderTR


def read_header(path: Path, side: str) -> GiftiHeader:
    """What stands before the data of a GIFTI file.

    Parameters
    ----------
    path : Path
    side : {"L", "R"}
        The hemisphere that its name tells.

    Returns
    -------
    GiftiHeader

    Raises
    ------
    InputError
        If it cannot be read, is a mesh, or says that it is of the other hemisphere.
    """
    if not path.is_file():
        raise InputError(
            f"there is no {path.name} in {path.parent}: a surface file is one of a pair; put the other hemisphere "
            f"beside it, named alike ({HOW_NAMED})"
        )
    about: dict[str, str] = {}
    array: dict[str, str] = {}
    name, n_arrays = "", 0
    with reading(path, "expected GIFTI (.gii)"), open(path, "rb") as file:
        for event, element in ElementTree.iterparse(file, events=("start", "end")):
            if event == "start" and element.tag == "GIFTI":
                n_arrays = int(element.attrib["NumberOfDataArrays"])
            elif event == "start" and element.tag == "DataArray":
                array = dict(element.attrib)
            elif event == "end" and element.tag == "Name":
                name = (element.text or "").strip()
            elif event == "end" and element.tag == "Value":
                about[name] = (element.text or "").strip()  # what an array says holds before what the file says
            elif event == "start" and element.tag == "Data":
                break
    _check_no_mesh(path, array.get("Intent", ""))
    told = about.get("AnatomicalStructurePrimary", "")
    other = TOLD["R" if side == "L" else "L"]
    if told == other:
        raise InputError(f"{path.name} says that it is {told}, its name that it is hemisphere {side}; correct one")
    with reading(path, "its header says no size of its data; expected GIFTI (.gii)"):
        shape = [int(array[f"Dim{k}"]) for k in range(int(array["Dimensionality"]))]
    if min(shape) < 1:
        raise InputError(f"the header of {path.name} gives the shape {tuple(shape)}: it is damaged, copy it again")
    check_limit("megavoxels", shape[0] / 1e6, path.name, "million vertices")
    n_columns = math.prod(shape[1:])
    needed = shape[0] * (n_columns if n_arrays == 1 else n_arrays)
    check_declared(path, needed, f"its header declares {needed} numbers", packed=True)
    return GiftiHeader(
        path, shape[0], n_arrays, n_columns if n_arrays == 1 else n_arrays, _tr_of(about.get("TimeStep"))
    )


def _check_no_mesh(path: Path, intent: str) -> None:
    if intent in MESH:
        raise InputError(
            f"{path.name} is a mesh (places of vertices), not values on its vertices; expected .func.gii, .shape.gii "
            "or .label.gii"
        )


def _tr_of(step: str | None) -> HeaderTR:
    """TimeStep is in milliseconds; 0 is what programs write that do not know it."""
    value = exact(step) / 1000 if step is not None and is_number(step) else Fraction(0)
    return in_seconds(value, "msec")


class _EachArray(GiftiImageParser):
    """nibabel's parser, which hands on each array as soon as it is read and keeps none of them."""

    def __init__(self, take: Callable[[GiftiDataArray], None]) -> None:
        super().__init__()
        self._take = take

    def StartElementHandler(self, name: str, attrs: Mapping[str, str]) -> None:
        if name == "DataArray" and not 1 <= int(attrs["Dimensionality"]) <= MOST_DIMENSIONS:
            raise ValueError(f"an array of {attrs['Dimensionality'][:20]} dimensions")  # nibabel would count them
        super().StartElementHandler(name, attrs)

    def EndElementHandler(self, name: str) -> None:
        super().EndElementHandler(name)
        if name == "DataArray":
            image: Any = self.img
            array = image.darrays[-1]
            self._take(array)
            array.data = None


def read_arrays(header: GiftiHeader, take: Callable[[int, np.ndarray], None]) -> Any:
    """Hand on the volumes or maps of a GIFTI file, one after the other, so that memory holds one array.

    Parameters
    ----------
    header : GiftiHeader
    take : callable
        Called with the number of a volume or map, from 0, and its values, (n_vertices,).

    Returns
    -------
    GiftiImage
        Without data.

    Raises
    ------
    InputError
        If the file cannot be read or is not of one shape, or its data are not what the header said.
    """
    path, size = header.path, header.n_vertices
    number = 0

    def each(array: GiftiDataArray) -> None:
        nonlocal number
        _check_no_mesh(path, str(intent_codes.niistring[array.intent]))
        data = np.asarray(array.data)
        if data.shape[:1] != (size,) or number + data.size // size > header.n_volumes:
            raise InputError(
                f"{path.name} has arrays of different shapes; expected one array for each volume, or all in one "
                "(vertices, volumes)"
            )
        for column in data.reshape(size, -1).T:
            take(number, column)
            number += 1

    parser = _EachArray(each)
    # An open file, as nibabel would open a name as text.
    with reading(path, "is the file cut short or damaged?"), open(path, "rb") as file:
        parser.parse(fptr=file)
    if number != header.n_volumes:
        raise InputError(f"{path.name} says it has {header.n_volumes} volumes, and has {number}: copy it again")
    found: Any = parser.img
    return found


@dataclass(frozen=True)
class SurfaceSeries:
    """A series of volumes on both hemispheres, still on disk; see :func:`surface_series`."""

    path: Path
    rows: BrainRows
    n_volumes: int
    trs: list[HeaderTR]
    """Of each file; one that says nothing has what the other says."""
    headers: list[GiftiHeader]

    @property
    def files(self) -> list[Path]:
        """Both files."""
        return [header.path for header in self.headers]

    def read(self, inside: np.ndarray, out: np.ndarray) -> None:
        """All volumes of some rows.

        Parameters
        ----------
        inside : ndarray of bool, shape (n_rows,)
            Rows that are read.
        out : ndarray of float32, shape (n_volumes, n_inside)
            Gets them.

        Raises
        ------
        InputError
            If a file is cut short or damaged.

        Notes
        -----
        A GIFTI file can only be read from its start, an array at a time; where one array holds all volumes, whole.
        """
        start = column = 0
        for header in self.headers:
            own = inside[start : start + header.n_vertices]
            n_own = int(own.sum())
            where = slice(column, column + n_own)

            def take(number: int, values: np.ndarray, own: np.ndarray = own, where: slice = where) -> None:
                out[number, where] = values[own]

            read_arrays(header, take)
            start, column = start + header.n_vertices, column + n_own


def surface_series(path: Path) -> SurfaceSeries:
    """A series on both hemispheres.

    Parameters
    ----------
    path : Path
        Of either.

    Returns
    -------
    SurfaceSeries

    Raises
    ------
    InputError
        If a file is missing, is no series of at least 2 volumes, or the hemispheres differ in length.
    """
    headers = [read_header(file, side) for side, file in hemispheres(path).items()]
    for header in headers:
        if header.n_volumes < 2:
            raise InputError(f"{header.path.name} holds {header.n_volumes} volume; expected a series of at least 2")
    left, right = headers
    if left.n_volumes != right.n_volumes:
        raise InputError(
            f"{left.path.name} has {left.n_volumes} volumes, {right.path.name} {right.n_volumes}: the hemispheres of "
            "one run must be of one length; look for the file that is not whole, or not of this run"
        )
    if None not in (left.tr.tr, right.tr.tr) and left.tr.tr != right.tr.tr:
        raise InputError(f"{left.path.name} says {left.tr}, {right.path.name} {right.tr}: correct the wrong one")
    trs = [one.tr if one.tr.tr is not None else other.tr for one, other in ((left, right), (right, left))]
    return SurfaceSeries(path, _rows_of(headers), left.n_volumes, trs, headers)


def _rows_of(headers: Sequence[GiftiHeader]) -> BrainRows:
    return BrainRows.of_surfaces({CORTEX[side]: one.n_vertices for side, one in zip("LR", headers, strict=True)})


def read_surface_map(path: Path) -> tuple[np.ndarray, BrainRows, dict[int, str]]:
    """A map or labels on both hemispheres.

    Parameters
    ----------
    path : Path
        Of either.

    Returns
    -------
    values : ndarray, shape (n_rows,)
    rows : BrainRows
    names : dict of int to str
        By label, where the files have a table of labels.

    Raises
    ------
    InputError
        If a file is missing, holds several maps, or the two call a label differently.
    """
    headers = [read_header(file, side) for side, file in hemispheres(path).items()]
    parts: list[np.ndarray] = []
    names: dict[int, str] = {}
    for header in headers:
        if header.n_volumes != 1:
            raise InputError(f"{header.path.name} holds {header.n_volumes} maps; expected one: save it alone")
        image = read_arrays(header, lambda _, values: parts.append(values))
        table = image.labeltable.get_labels_as_dict()
        for key, name in table.items():
            if (key in parts[-1]) and names.setdefault(int(key), str(name)) != str(name):
                raise InputError(
                    f"label {key} is {names[int(key)]!r} in one hemisphere and {name!r} in {header.path.name}: give "
                    "each region a label of its own"
                )
    return np.concatenate(parts), _rows_of(headers), names


def surface_images(
    values: np.ndarray, rows: BrainRows, names: Sequence[str] | None, tr: float | None
) -> dict[str, GiftiImage]:
    """A GIFTI image for each hemisphere, one array for each map or volume.

    Parameters
    ----------
    values : ndarray, shape (n_maps, n_rows)
    rows : BrainRows
        Of surfaces.
    names : sequence of str, optional
        Of the maps.
    tr : float, optional
        In seconds, where they are volumes.

    Returns
    -------
    dict of str to GiftiImage
        ``"L"`` and ``"R"``, float32.
    """
    images = {}
    for side, structure in CORTEX.items():
        own = rows.axis.name == structure
        image = GiftiImage(meta=GiftiMetaData(AnatomicalStructurePrimary=TOLD[side]))
        for number, row in enumerate(values):
            about = {} if names is None else {"Name": names[number]}
            if tr is not None:
                about["TimeStep"] = f"{float(exact(tr) * 1000):.10g}"
            image.add_gifti_data_array(
                GiftiDataArray(
                    np.ascontiguousarray(row[own], np.float32), intent=MAP_INTENT if tr is None else SERIES_INTENT,
                    meta=GiftiMetaData(about),
                )
            )  # fmt: skip
        images[side] = image
    return images


def surface_labels(
    values: np.ndarray, rows: BrainRows, names: Sequence[str], labels: Mapping[int, str]
) -> dict[str, GiftiImage]:
    """A GIFTI image of labels for each hemisphere, int32, with a table of them.

    Parameters
    ----------
    values : ndarray of int, shape (n_maps, n_rows)
    rows : BrainRows
        Of surfaces.
    names : sequence of str
        Of the maps.
    labels : mapping of int to str
        Names of all labels that occur.

    Returns
    -------
    dict of str to GiftiImage
    """
    images = {}
    for side, structure in CORTEX.items():
        image = GiftiImage(meta=GiftiMetaData(AnatomicalStructurePrimary=TOLD[side]))
        for (key, name), colour in zip(labels.items(), colours(len(labels)), strict=True):
            label: Any = GiftiLabel(int(key), *colour, 1.0 if key else 0.0)
            label.label = name
            image.labeltable.labels.append(label)
        own = rows.axis.name == structure
        for name, row in zip(names, values, strict=True):
            data = np.ascontiguousarray(row[own], np.int32)
            meta = GiftiMetaData({"Name": name})
            image.add_gifti_data_array(GiftiDataArray(data, intent="NIFTI_INTENT_LABEL", meta=meta))
        images[side] = image
    return images


def surface_bytes(images: Mapping[str, Any], path: Path) -> dict[Path, bytes]:
    """What each file of a pair holds.

    Parameters
    ----------
    images : mapping of str to GiftiImage
        As :func:`surface_images` gives them.
    path : Path
        Of either hemisphere.

    Returns
    -------
    dict of Path to bytes
    """
    return {file: images[side].to_bytes() for side, file in hemispheres(path).items()}
