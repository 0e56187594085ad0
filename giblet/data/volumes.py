"""4-D NIfTI images, read block by block and checked: on which grid, at which TR."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nilearn.masking import apply_mask, load_mask_img

from giblet.errors import InputError
from giblet.files import atomic_path
from giblet.timing import exact, same_tr, shown

BLOCK_BYTES = 64 * 2**20
"""Volumes are read this many bytes (of float64) at a time."""
SECONDS = {"sec": 1, "msec": 1000, "usec": 1_000_000}


def open_image(path: str | Path) -> nib.Nifti1Image:
    """A NIfTI image, its data still on disk.

    Uncompressed files are memory-mapped. A ``.nii.gz`` can only be unpacked from its start: the file is kept open, so
    that blocks read in order unpack it once.

    Raises
    ------
    InputError
        If there is no such file, or it is not NIfTI.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"no such image: {path}")
    try:
        image = nib.load(path, keep_file_open=True)
    except (ImageFileError, OSError, ValueError) as exc:
        raise InputError(f"cannot read {path}: {' '.join(str(exc).split())[:200]}") from exc
    if not isinstance(image, (nib.Nifti1Image, nib.Nifti2Image)):
        raise InputError(f"{path.name} is {type(image).__name__}: NIfTI (.nii or .nii.gz) is needed")
    return image


def series_of(path: str | Path) -> nib.Nifti1Image:
    """A 4-D NIfTI image with at least two volumes.

    Raises
    ------
    InputError
        If the image is not 4-D or holds one volume.
    """
    image = open_image(path)
    if image.ndim != 4:
        raise InputError(
            f"{Path(path).name} is {image.ndim}-D, shape {image.shape}: a 4-D series (x, y, z, volume) is needed"
        )
    if image.shape[3] < 2:
        raise InputError(f"{Path(path).name} holds {image.shape[3]} volume: a series of at least 2 is needed")
    return image


def header_tr(image: nib.Nifti1Image) -> float | None:
    """TR in seconds as the header says, or None where it says nothing (0, negative, not finite).

    The header keeps a 32-bit number and its unit: 0.72 comes back as 0.72, 720 msec too.
    """
    zooms, unit = image.header.get_zooms(), image.header.get_xyzt_units()[1]
    if len(zooms) < 4 or not np.isfinite(zooms[3]) or zooms[3] <= 0:
        return None
    return float(exact(str(np.float32(zooms[3]))) / SECONDS.get(unit, 1))


def agreed_tr(given: float | None, image: nib.Nifti1Image, name: str) -> float:
    """The TR that the caller and the header agree on, in seconds.

    They agree as :func:`giblet.timing.same_tr` has it.

    Raises
    ------
    InputError
        If they contradict, or neither says.
    """
    found = header_tr(image)
    if given is None and found is None:
        raise InputError(f"{name} has no TR in its header: give tr in seconds")
    if given is not None and found is not None and not same_tr(given, found):
        unit = image.header.get_xyzt_units()[1]
        raise InputError(
            f"the header of {name} says TR {shown(found)} s (its unit is {unit!r}), you say {shown(given)} s: "
            "give the TR that the scanner used, or correct the header"
        )
    return float(given if given is not None else found)  # type: ignore[arg-type]


def check_grid(shape: tuple[int, ...], affine: np.ndarray, like: nib.Nifti1Image, what: str, name: str) -> None:
    """Refuse a mask, atlas or run that does not lie on the voxels of `like`.

    Raises
    ------
    InputError
        If the shapes differ, or a corner lies more than 1 % of a voxel's side elsewhere.
    """
    if tuple(shape) != like.shape[:3]:
        raise InputError(
            f"{what} has shape {tuple(shape)}, {name} {like.shape[:3]}: resample it first "
            "(nilearn.image.resample_to_img, interpolation='nearest')"
        )
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in shape], indexing="ij")).reshape(3, -1)
    apart = np.abs((affine - like.affine) @ np.vstack([corners, np.ones(8)])).max()
    if apart > 0.01 * np.linalg.norm(like.affine[:3, :3], axis=0).min():
        raise InputError(
            f"{what} lies up to {apart:.3g} mm from the voxels of {name}: their affines differ; is it in the same "
            "space? Resample it first (nilearn.image.resample_to_img, interpolation='nearest')"
        )


def read_mask(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """A mask image as bool (x, y, z) and its affine.

    Raises
    ------
    InputError
        If the image is not 3-D, is empty, or holds values other than 0 and one more.
    """
    image = open_image(path)
    try:
        mask, affine = load_mask_img(image)
    except (ValueError, TypeError) as exc:
        raise InputError(f"{Path(path).name} is not a mask: {' '.join(str(exc).split())}") from exc
    return mask, affine


def read_atlas(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """A label image as int64 (x, y, z), 0 where there is no region, and its affine.

    Raises
    ------
    InputError
        If the image is not 3-D, holds numbers that are not whole, or no label.
    """
    image = open_image(path)
    if image.ndim != 3:
        raise InputError(f"{Path(path).name} is {image.ndim}-D, shape {image.shape}: a 3-D label image is needed")
    values: Any = np.asanyarray(image.dataobj)
    if not np.array_equal(values, np.round(values)):
        raise InputError(f"{Path(path).name} holds numbers that are not whole: a label image, not a probability map")
    if not values.any():
        raise InputError(f"{Path(path).name} holds no label: every voxel is 0")
    return values.astype(np.int64), image.affine


def blocks(image: nib.Nifti1Image) -> Iterator[tuple[slice, nib.Nifti1Image]]:
    """The volumes in order, a block at a time, as float32 images in memory.

    Yields
    ------
    where : slice
        Volumes of this block.
    block : Nifti1Image, float32 (x, y, z, volumes)
    """
    step = max(1, BLOCK_BYTES // (8 * math.prod(image.shape[:3])))
    for start in range(0, image.shape[3], step):
        where = slice(start, min(start + step, image.shape[3]))
        try:
            data = np.asarray(image.dataobj[..., where], dtype=np.float32)
        except (OSError, EOFError, ValueError, zlib.error) as exc:
            raise InputError(
                f"{image.get_filename()}: volumes {where.start} to {where.stop - 1} cannot be read "
                f"({' '.join(str(exc).split())[:120]}); is the file cut short?"
            ) from exc
        yield where, nib.Nifti1Image(data, image.affine)


def voxels_in(image: nib.Nifti1Image, inside: np.ndarray) -> np.ndarray:
    """The voxels of a mask by volume, float32 (n_trs, n_voxels), in the mask's C order, NaN kept.

    Parameters
    ----------
    image : Nifti1Image, 4-D
    inside : ndarray of bool, shape (x, y, z)
    """
    mask = nib.Nifti1Image(inside.astype(np.uint8), image.affine)
    out = np.empty((image.shape[3], int(inside.sum())), np.float32)
    for where, block in blocks(image):
        out[where] = apply_mask(block, mask, dtype=np.float32, ensure_finite=False)
    return out


def write_image(image: nib.Nifti1Image, path: str | Path) -> Path:
    """Write an image whole or not at all; equal images give equal bytes.

    Raises
    ------
    InputError
        If the name is not that of a NIfTI file, or it cannot be written.
    """
    path = Path(path)
    if not path.name.endswith((".nii", ".nii.gz")):
        raise InputError(f"{path} is no NIfTI name: .nii or .nii.gz is needed")
    content = image.to_bytes()
    with atomic_path(path) as temporary:
        temporary.write_bytes(gzip.compress(content, compresslevel=5, mtime=0) if path.suffix == ".gz" else content)
    return path
