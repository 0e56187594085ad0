"""CIFTI-2: series, maps and labels of grayordinates or parcels, through nibabel's own axes and images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.cifti2 import BrainModelAxis, Cifti2Image, LabelAxis, ParcelsAxis, ScalarAxis, SeriesAxis

from giblet.data.bold import volumes
from giblet.data.bold.brain_rows import CIFTI, BrainRows, colours
from giblet.data.bold.scan_timing import HeaderTR, in_seconds
from giblet.errors import InputError, reading
from giblet.files import check_there
from giblet.limits import check_declared
from giblet.timing import exact

INTENTS = {
    (False, False): ("ConnDenseScalar", ".dscalar.nii"), (False, True): ("ConnDenseSeries", ".dtseries.nii"),
    (True, False): ("ConnParcelScalr", ".pscalar.nii"), (True, True): ("ConnParcelSries", ".ptseries.nii"),
}  # fmt: skip
"""Intent and ending of a file, by whether its rows are parcels and whether it is a series."""
LABEL_INTENT, LABEL_ENDING = "ConnDenseLabel", ".dlabel.nii"
"""The same of labels."""


def open_cifti(path: Path) -> tuple[Cifti2Image, Any, BrainRows]:
    """A CIFTI-2 image of brain rows, its data still on disk.

    Parameters
    ----------
    path : Path

    Returns
    -------
    image : Cifti2Image
        Of shape (n_maps, n_rows).
    first : Axis
        What its maps or volumes are.
    rows : BrainRows

    Raises
    ------
    InputError
        If it cannot be read, holds no real numbers, is a matrix of connections, or its header speaks of other rows than
        there are.
    """
    check_there(path, "image")
    with reading(path, "expected CIFTI-2; is the file cut short or damaged?"):
        image = nib.load(path)
    if not isinstance(image, Cifti2Image):
        raise InputError(
            f"{path.name} is {type(image).__name__}; expected CIFTI-2, as its name says; name it .nii or .nii.gz"
        )
    with reading(path, "expected CIFTI-2"):
        axes = [image.header.get_axis(k) for k in range(image.ndim)]
        kind = image.get_data_dtype().kind
        with open(path, "rb") as file:
            slope = float(nib.Nifti2Header.from_fileobj(file, check=False)["scl_slope"])
    start: int = image.dataobj.offset  # type: ignore[attr-defined]
    needed = start + math.prod(image.shape) * image.get_data_dtype().itemsize
    check_declared(path, needed, f"its header gives the shape {image.shape}", packed=False)
    if len(axes) != 2 or not isinstance(axes[1], (BrainModelAxis, ParcelsAxis)):
        raise InputError(f"{path.name} holds connections; expected values of grayordinates or parcels")
    if isinstance(axes[0], (BrainModelAxis, ParcelsAxis)):
        raise InputError(f"{path.name} holds connections between grayordinates or parcels; expected values of them")
    if kind not in "iuf":
        raise InputError(f"{path.name} holds no real numbers; expected one for each grayordinate or parcel")
    if image.shape != tuple(len(axis) for axis in axes):
        told = " x ".join(str(len(axis)) for axis in axes)
        raise InputError(
            f"{path.name} holds numbers of shape {image.shape}, and its header describes {told}: it is damaged, copy "
            "it again"
        )
    if any(n is None for n in axes[1].nvertices.values()):
        raise InputError(f"{path.name} does not say how many vertices a surface has: it is damaged, copy it again")
    if np.isinf(slope):  # nibabel would leave the numbers unscaled without a word
        raise InputError(f"the header of {path.name} scales its numbers by {slope}: it is damaged, copy it again")
    return image, axes[0], BrainRows(CIFTI, axes[1])


@dataclass(frozen=True)
class CiftiSeries:
    """A series of volumes, still on disk; see :func:`cifti_series`."""

    path: Path
    rows: BrainRows
    n_volumes: int
    trs: list[HeaderTR]
    """One."""
    image: Cifti2Image

    @property
    def files(self) -> list[Path]:
        """One."""
        return [self.path]

    def read(self, inside: np.ndarray, out: np.ndarray) -> None:
        """All volumes of some rows, a block of rows at a time: the volumes of a row stand side by side in the file.

        Parameters
        ----------
        inside : ndarray of bool, shape (n_rows,)
            Rows that are read.
        out : ndarray of float32, shape (n_volumes, n_inside)
            Gets them.

        Raises
        ------
        InputError
            If the file is cut short or damaged.
        """
        # nibabel holds a scaled block several times while it reads it.
        step = max(1, volumes.BLOCK_BYTES // (32 * self.n_volumes))
        column = 0
        for start in range(0, len(inside), step):
            own = inside[start : start + step]
            n_own = int(own.sum())
            if not n_own:
                continue
            with reading(self.path, "is the file cut short or damaged?"):
                block = np.asarray(self.image.dataobj[:, start : start + len(own)], np.float32)
            out[:, column : column + n_own] = block if own.all() else block[:, own]
            column += n_own


def cifti_series(path: Path) -> CiftiSeries:
    """A series of CIFTI-2.

    Parameters
    ----------
    path : Path
        ``.dtseries.nii`` or ``.ptseries.nii``.

    Returns
    -------
    CiftiSeries

    Raises
    ------
    InputError
        If its first axis is no series, or it holds one volume.
    """
    image, first, rows = open_cifti(path)
    series: Any = first
    if not isinstance(series, SeriesAxis):
        held = "labels" if isinstance(series, LabelAxis) else "maps"
        raise InputError(f"{path.name} holds {held}, no series in time; expected .dtseries.nii or .ptseries.nii")
    n_volumes = int(image.shape[0])
    if n_volumes < 2:
        raise InputError(f"{path.name} holds {n_volumes} volume; expected a series of at least 2")
    unit, step = str(series.unit).lower(), float(series.step)
    said = HeaderTR(None, unit)
    if unit == "second" and np.isfinite(step) and step > 0:
        said = in_seconds(exact(str(step)), "sec")
    return CiftiSeries(path, rows, n_volumes, [said], image)


def read_cifti_map(path: Path) -> tuple[np.ndarray, BrainRows, dict[int, str]]:
    """A map or labels of CIFTI-2.

    Parameters
    ----------
    path : Path

    Returns
    -------
    values : ndarray, shape (n_rows,)
    rows : BrainRows
    names : dict of int to str
        By label, where it is a file of labels.

    Raises
    ------
    InputError
        If it holds several maps, or is a series.
    """
    image, maps, rows = open_cifti(path)
    if isinstance(maps, SeriesAxis) or len(maps) != 1:
        raise InputError(f"{path.name} holds {len(maps)} maps or volumes; expected one map: save it alone")
    with reading(path, "is the file cut short or damaged?"):
        values = np.asarray(image.dataobj[0])
    names = {int(key): str(name) for key, (name, _) in maps.label[0].items()} if isinstance(maps, LabelAxis) else {}
    return values, rows, names


def cifti_labels(values: np.ndarray, rows: BrainRows, names: Sequence[str], labels: Mapping[int, str]) -> Cifti2Image:
    """A CIFTI-2 image of labels, int32, with a table of them and a header of its own.

    Parameters
    ----------
    values : ndarray of int, shape (n_maps, n_rows)
    rows : BrainRows
        Of grayordinates: CIFTI has no intent for labels of parcels.
    names : sequence of str
        Of the maps.
    labels : mapping of int to str
        Names of all labels that occur.

    Returns
    -------
    Cifti2Image of int32, shape (n_maps, n_rows)
    """
    table = {key: (name, (*colour, 1.0 if key else 0.0)) for (key, name), colour in zip(
        labels.items(), colours(len(labels)), strict=True)}  # fmt: skip
    first = LabelAxis(list(names), [table] * len(values))
    image = Cifti2Image(np.asarray(values, np.int32), (first, rows.axis), dtype=np.int32)
    image.nifti_header.set_intent(LABEL_INTENT, name=LABEL_INTENT)
    return image


def cifti_image(values: np.ndarray, rows: BrainRows, names: Sequence[str] | None, tr: float | None) -> Cifti2Image:
    """A CIFTI-2 image with a header of its own.

    Parameters
    ----------
    values : ndarray, shape (n_maps, n_rows)
    rows : BrainRows
    names : sequence of str, optional
        Of the maps.
    tr : float, optional
        In seconds, where they are volumes.

    Returns
    -------
    Cifti2Image of float32, shape (n_maps, n_rows)
    """
    if tr is None:
        first: Any = ScalarAxis(list(names or [f"map {k + 1}" for k in range(len(values))]))
    else:
        first = SeriesAxis(0.0, float(tr), len(values), "SECOND")
    # A header of its own: that of the scan would keep the intent of a series and perhaps 16-bit integers.
    image = Cifti2Image(np.asarray(values, np.float32), (first, rows.axis), dtype=np.float32)
    intent = INTENTS[rows.is_parcels, tr is not None][0]
    image.nifti_header.set_intent(intent, name=intent)
    return image
