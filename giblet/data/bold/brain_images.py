"""Values of the columns of BOLD as an image of the scan's own space: NIfTI, CIFTI, or a pair of GIFTI."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import xarray as xr
from nibabel.cifti2 import Cifti2Image, LabelAxis, ParcelsAxis, SeriesAxis
from nibabel.gifti import GiftiImage

from giblet.data.bold.brain_rows import CIFTI, GIFTI, ROWS, BrainRows, format_of
from giblet.data.bold.grayordinates import INTENTS, LABEL_ENDING, cifti_image, cifti_labels
from giblet.data.bold.surfaces import hemispheres, surface_bytes, surface_images, surface_labels
from giblet.data.bold.volumes import write_image
from giblet.errors import InputError
from giblet.files import atomic_path
from giblet.modalities import BOLD

MOST_LABELS = 2**24
"""float32, in which values are laid on their places, holds all whole numbers up to here."""
BrainImage = nib.Nifti1Image | Cifti2Image | dict[str, GiftiImage]
"""An image; of GIFTI one for each hemisphere, ``"L"`` and ``"R"``."""


def image_of(
    values: Any, like: xr.Dataset, *, atlas: np.ndarray | None = None, mask: np.ndarray | None = None,
    names: Sequence[str] | None = None, outside: float = 0.0,
) -> BrainImage:  # fmt: skip
    """Values of columns of BOLD as an image of the space that the scan is in.

    Parameters
    ----------
    values : array_like, shape (n_columns,) or (n_trs, n_columns) or (n_maps, n_columns)
    like : xarray.Dataset
        BOLD with the same columns.
    atlas : ndarray of int, shape (x, y, z) or (n_rows,), optional
        The labels that the regions came from, on the voxels or rows of the scan.
    mask : ndarray of bool, the shape of `atlas`, optional
        The mask that was laid over it.
    names : sequence of str, optional
        Of maps; without them several rows of `values` are volumes, one TR apart. NIfTI keeps no names.
    outside : float
        What stands where there is no column.

    Returns
    -------
    Nifti1Image, Cifti2Image or dict of str to GiftiImage
        float32.

    Raises
    ------
    InputError
        If the values do not fit, or `like` is of no image.

    See Also
    --------
    giblet.data.fmri.FMRIProcessor.to_image : with the atlas and mask of a processor, written to a file.
    """
    n_columns = like[BOLD].shape[1]
    values = np.asarray(values, dtype=np.float32)
    if values.ndim not in (1, 2) or values.shape[-1] != n_columns:
        raise InputError(f"values have shape {values.shape}; expected ({n_columns},) or (n_trs, {n_columns})")
    if names is not None and len(names) != len(np.atleast_2d(values)):
        raise InputError(f"there are {len(names)} names of {len(np.atleast_2d(values))} maps; give one for each")
    values = np.where(like["good"].values, values, np.float32(np.nan))
    if ROWS in like.attrs:
        rows = BrainRows.from_text(like.attrs[ROWS])
        series = values.ndim == 2 and names is None
        full = _on_rows(np.atleast_2d(values), like, rows, atlas, mask, outside)
        make = cifti_image if rows.format == CIFTI else surface_images
        return make(full, rows, names, float(like.attrs["tr"]) if series else None)
    if "affine" not in like.attrs:
        raise InputError(f"{like.attrs['source']} is a table: its regions have no place in an image")
    return _volumes(values, like, atlas, mask, outside)


def labels_of(
    values: Any, like: xr.Dataset, labels: Mapping[int, str], *, atlas: np.ndarray | None = None,
    mask: np.ndarray | None = None, name: str = "labels",
) -> BrainImage:  # fmt: skip
    """Labels of columns of BOLD as an image of labels of the space that the scan is in.

    Parameters
    ----------
    values : array_like of int, shape (n_columns,)
    like : xarray.Dataset
        BOLD with the same columns.
    labels : mapping of int to str
        Names of labels; others are called ``"label-7"``. 0 is no label.
    atlas, mask : ndarray, optional
        As for :func:`image_of`.
    name : str
        Of the map.

    Returns
    -------
    Nifti1Image, Cifti2Image or dict of str to GiftiImage
        int32; CIFTI and GIFTI with a table of the labels.

    Raises
    ------
    InputError
        If values are not whole numbers of 24 bits, or as :func:`image_of`.
    """
    values = np.asarray(values)
    if values.ndim != 1 or not np.array_equal(values, np.round(values)) or np.abs(values).max(initial=0) > MOST_LABELS:
        raise InputError(
            f"labels are not all whole; expected numbers from {-MOST_LABELS} to {MOST_LABELS}, one for each column"
        )
    if not like["good"].values.all():
        values = np.where(like["good"].values, values, 0)
        like = like.assign(good=xr.ones_like(like["good"]))
    image = image_of(values, like, atlas=atlas, mask=mask)
    if isinstance(image, nib.Nifti1Image) and not isinstance(image, Cifti2Image):
        whole = nib.Nifti1Image(np.asarray(image.dataobj).astype(np.int32), image.affine, image.header, dtype=np.int32)
        whole.header.set_intent("label")
        return whole
    rows = BrainRows.from_text(like.attrs[ROWS])
    if rows.is_parcels:
        raise InputError("CIFTI has no file of labels of parcels; write them as values, without labels")
    full = _on_rows(values[None].astype(np.float32), like, rows, atlas, mask, 0.0).astype(np.int32)
    table = {0: "???"} | {int(key): labels.get(int(key), f"label-{key}") for key in np.unique(full) if key}
    return (cifti_labels if rows.format == CIFTI else surface_labels)(full, rows, [name], table)


def _columns_at(
    like: xr.Dataset, shape: tuple[int, ...], atlas: np.ndarray | None, mask: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Where the regions of an atlas are, and which of the columns is at each of these places."""
    if atlas is None or atlas.shape != shape:
        raise InputError("these are regions of an atlas: make the FMRIProcessor with the same atlas")
    labels = like["label"].values
    inside = np.isin(atlas, labels) & (True if mask is None else mask)
    return inside, np.searchsorted(labels, atlas[inside])


def _on_rows(
    values: np.ndarray, like: xr.Dataset, rows: BrainRows, atlas: np.ndarray | None, mask: np.ndarray | None,
    outside: float,
) -> np.ndarray:  # fmt: skip
    full = np.full((len(values), len(rows)), outside, np.float32)
    if "grayordinate" in like.coords:
        full[:, like["grayordinate"].values] = values
    elif rows.is_parcels:
        places = {name: place for place, name in enumerate(rows.columns()["region"].tolist())}
        full[:, [places[str(name)] for name in like["region"].values]] = values
    else:
        inside, columns = _columns_at(like, (len(rows),), atlas, mask)
        full[:, inside] = values[:, columns]
    return full


def _volumes(
    values: np.ndarray, like: xr.Dataset, atlas: np.ndarray | None, mask: np.ndarray | None, outside: float
) -> nib.Nifti1Image:
    from nilearn.masking import unmask  # here, as it takes a second and a half

    affine, shape = np.array(json.loads(like.attrs["affine"])), tuple(json.loads(like.attrs["volume_shape"]))
    if "i" in like.coords:
        inside = np.zeros(shape, bool)
        places = tuple(like[axis].values for axis in "ijk")
        inside[places] = True
        columns = np.lexsort(places[::-1])  # unmask fills in C order
    else:
        inside, columns = _columns_at(like, shape, atlas, mask)
    image = unmask(values[..., columns], nib.Nifti1Image(inside.astype(np.uint8), affine))
    data = np.asarray(image.dataobj, np.float32)
    if outside:
        data[~inside] = outside
    image = nib.Nifti1Image(data, affine)
    image.set_sform(affine, int(like.attrs["sform_code"]))
    # The quaternion form cannot hold shears, so that it is set only where the scan had one.
    image.set_qform(affine if like.attrs["qform_code"] else None, int(like.attrs["qform_code"]))
    image.header.set_xyzt_units("mm", "sec")
    if values.ndim == 2:
        image.header.set_zooms((*image.header.get_zooms()[:3], like.attrs["tr"]))
    return image


def ending_of(space: Mapping[str, Any], *, series: bool = False) -> str:
    """How the name of a file of a space ends.

    Parameters
    ----------
    space : mapping
        Attributes of BOLD, or what is kept of them.
    series : bool
        Whether it holds volumes, not maps.

    Returns
    -------
    str
        Such as ``".nii.gz"``, ``".dscalar.nii"`` or ``".func.gii"``; ``".tsv"`` for tables of regions.
    """
    if ROWS not in space:
        return ".nii.gz" if "affine" in space else ".tsv"
    rows = BrainRows.from_text(space[ROWS])
    return ".func.gii" if rows.format == GIFTI else INTENTS[rows.is_parcels, series][1]


def write_brain(image: BrainImage, path: str | Path) -> list[Path]:
    """Write an image of any space, each file whole or not at all.

    Parameters
    ----------
    image : Nifti1Image, Cifti2Image or dict of str to GiftiImage
        As :func:`image_of` gives it.
    path : str or Path
        Of a pair of GIFTI files that of either hemisphere.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    InputError
        If the name is not that of such an image, or it cannot be written.
    """
    path = Path(path)
    if isinstance(image, nib.Nifti1Image) and not isinstance(image, Cifti2Image):
        if format_of(path) == CIFTI:
            raise InputError(f"{path} is the name of CIFTI, and the image is NIfTI; expected .nii or .nii.gz")
        return [write_image(image, path)]
    kind, told = (GIFTI if isinstance(image, dict) else CIFTI), _ending_of_image(image)
    if not path.name.endswith(told):
        raise InputError(f"{path} is not a name for these values, which are {kind}; expected {told}")
    contents = surface_bytes(image, path) if isinstance(image, dict) else {path: image.to_bytes()}
    for file, content in contents.items():
        with atomic_path(file) as temporary:
            temporary.write_bytes(content)
    return list(contents)


def _ending_of_image(image: Cifti2Image | dict[str, GiftiImage]) -> str:
    if isinstance(image, dict):
        return ".label.gii" if image["L"].labeltable.labels else ".func.gii"
    if isinstance(image.header.get_axis(0), LabelAxis):
        return LABEL_ENDING
    is_parcels = isinstance(image.header.get_axis(1), ParcelsAxis)
    return INTENTS[is_parcels, isinstance(image.header.get_axis(0), SeriesAxis)][1]


def files_at(path: Path) -> list[Path]:
    """The files that an image of this name is written to.

    Parameters
    ----------
    path : Path

    Returns
    -------
    list of Path
        One, or one for each hemisphere.
    """
    return list(hemispheres(path).values()) if format_of(path) == GIFTI else [path]
