"""4-D NIfTI images, read block by block and checked: whole, of real numbers, and on which grid."""

from __future__ import annotations

import bz2
import gzip
import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.imageglobals import logger as nibabel_log

from giblet.errors import InputError, reading
from giblet.files import atomic_path, check_there
from giblet.limits import check_declared, check_limit, limit

log = logging.getLogger(__name__)

BLOCK_BYTES = 64 * 2**20
"""Volumes are read this many bytes (of float64) at a time."""
UNPACK: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open}
SAME_PLACE = 0.01
"""Voxels are the same if they lie no farther apart than this share of a voxel's side."""


def open_image(path: str | Path) -> nib.Nifti1Image:
    """A NIfTI image of real numbers, its data still on disk.

    Uncompressed files are memory-mapped. A ``.nii.gz`` can only be unpacked from its start: the file is kept open, so
    that blocks read in order unpack it once.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    Nifti1Image or Nifti2Image

    Raises
    ------
    InputError
        If there is no such file, it is not NIfTI, its header is impossible, or it holds complex numbers or colours.

    See Also
    --------
    series_of : The same, for a series of volumes.
    """
    path = Path(path)
    check_there(path, "image")
    with _header_problems() as problems:
        with reading(path):
            image = nib.load(path, keep_file_open=True)
        if not isinstance(image, (nib.Nifti1Image, nib.Nifti2Image)):
            raise InputError(f"{path.name} is {type(image).__name__}; expected NIfTI (.nii or .nii.gz)")
        unpack = UNPACK.get(path.suffix.lower())
        with reading(path):
            if unpack is not None:
                # A stream of ours can be read on to its end, where the check sum stands.
                image = type(image).from_stream(unpack(path))
                image.file_map["image"].filename = str(path)
            kind = image.get_data_dtype().kind
            with (unpack or open)(path, "rb") as file:
                slope = float(image.header_class.from_fileobj(file, check=False)["scl_slope"])
    for problem in problems:
        log.warning("the header of %s: %s", path.name, problem)
    if kind == "c":
        raise InputError(
            f"{path.name} holds complex numbers; expected one real number for each voxel; save their magnitude, "
            "numpy.abs(image.dataobj), as an image of its own"
        )
    if kind not in "iuf":
        raise InputError(f"{path.name} holds colours, not numbers; expected one real number for each voxel")
    if min(image.shape, default=0) < 1:
        raise InputError(f"the header of {path.name} gives the shape {image.shape}: it is damaged, copy it again")
    if np.isinf(slope):  # nibabel would leave the numbers unscaled without a word
        raise InputError(f"the header of {path.name} scales its numbers by {slope}: it is damaged, copy it again")
    _check_size(image, path)
    if not np.isfinite(image.affine).all():
        raise InputError(f"the header of {path.name} has an affine that is not finite; copy it again")
    return image


def _check_size(image: nib.Nifti1Image, path: Path) -> None:
    """Refuse what a file of this size cannot hold, before memory is taken for it."""
    shape = image.shape
    check_limit("megavoxels", math.prod(shape[:3]) / 1e6, path.name, "million voxels in a volume")
    needed = image.dataobj.offset + math.prod(shape) * image.get_data_dtype().itemsize  # type: ignore[attr-defined]
    check_declared(path, needed, f"its header gives the shape {shape}", packed=path.suffix.lower() in UNPACK)


@contextmanager
def _header_problems() -> Iterator[list[str]]:
    """What nibabel logs about a header, kept: it prints each line by itself, without the file's name."""
    said: dict[str, None] = {}
    keep = logging.Handler()
    keep.emit = lambda record: said.setdefault(record.getMessage())  # type: ignore[method-assign]
    problems: list[str] = []
    handlers, propagate = nibabel_log.handlers[:], nibabel_log.propagate
    nibabel_log.handlers[:], nibabel_log.propagate = [keep], False
    try:
        yield problems
    finally:
        nibabel_log.handlers[:], nibabel_log.propagate = handlers, propagate
        problems.extend(said)


def series_of(path: str | Path) -> nib.Nifti1Image:
    """A 4-D NIfTI image with at least two volumes.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    Nifti1Image or Nifti2Image

    Raises
    ------
    InputError
        If the image is not 4-D or holds one volume, or :func:`open_image` refuses it.
    """
    image = open_image(path)
    if image.ndim != 4:
        raise InputError(
            f"{Path(path).name} is {image.ndim}-D, shape {image.shape}; expected a 4-D series (x, y, z, volume)"
        )
    if image.shape[3] < 2:
        raise InputError(f"{Path(path).name} holds {image.shape[3]} volume; expected a series of at least 2")
    return image


def check_grid(
    shape: tuple[int, ...],
    affine: np.ndarray,
    like_shape: tuple[int, ...],
    like_affine: np.ndarray,
    what: str,
    name: str,
) -> None:
    """Refuse a mask, atlas, lesion or run that does not lie on the voxels of another image.

    Parameters
    ----------
    shape : tuple of int
        (x, y, z).
    affine : ndarray of float, shape (4, 4)
        Of voxels to mm.
    like_shape : tuple of int
        Of the image that it must lie on; axes behind the third do not count.
    like_affine : ndarray of float, shape (4, 4)
        Of that image.
    what, name : str
        What the message calls the two.

    Raises
    ------
    InputError
        If the shapes differ, or a corner lies more than 1 % of a voxel's side (:data:`SAME_PLACE`) elsewhere.
    """
    if tuple(shape) != tuple(like_shape[:3]):
        raise InputError(
            f"{what} has shape {tuple(shape)}, {name} {tuple(like_shape[:3])}: resample it first "
            "(nilearn.image.resample_to_img, interpolation='nearest')"
        )
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in shape], indexing="ij")).reshape(3, -1)
    apart = np.abs((np.asarray(affine) - like_affine) @ np.vstack([corners, np.ones(8)])).max()
    if not apart <= SAME_PLACE * np.linalg.norm(np.asarray(like_affine)[:3, :3], axis=0).min():
        raise InputError(
            f"{what} lies up to {apart:.3g} mm from the voxels of {name}: their affines differ; is it in the same "
            "space? Resample it first (nilearn.image.resample_to_img, interpolation='nearest')"
        )


def read_mask(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """A mask image and its affine.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    mask : ndarray of bool, shape (x, y, z)
    affine : ndarray of float, shape (4, 4)
        Of voxels to mm.

    Raises
    ------
    InputError
        If the image is not 3-D, is empty, is damaged, or holds values other than 0 and one more.
    """
    image = open_image(path)
    values = read_values(image, path).astype(np.float64)
    found = np.unique(values)
    if values.ndim == 3 and len(found) == 2 and 0 in found and np.isfinite(found).all():
        return values != 0, image.affine
    from nilearn.masking import load_mask_img  # here, as it takes a second and a half, and most masks need no judging

    with reading(Path(path).name, "it is not a mask"):
        mask, affine = load_mask_img(nib.Nifti1Image(values, image.affine))
    return mask, affine


def read_values(image: nib.Nifti1Image, path: str | Path) -> np.ndarray:
    """All values of an image in memory, read to the end of its file.

    Parameters
    ----------
    image : Nifti1Image
        From :func:`open_image`.
    path : str or Path
        What the message calls it.

    Returns
    -------
    ndarray, the shape of the image
        In the type of the file, or float where its header scales the numbers.

    Raises
    ------
    InputError
        If they cannot be read, or the check sum behind them does not fit.
    """
    with reading(path):
        values = np.asanyarray(image.dataobj)
    check_rest(image)
    return values


def blocks(image: nib.Nifti1Image) -> Iterator[tuple[slice, nib.Nifti1Image]]:
    """The volumes in order, a block at a time, as float32 images in memory; then :func:`check_rest`.

    Parameters
    ----------
    image : Nifti1Image
        4-D, from :func:`series_of`.

    Yields
    ------
    where : slice
        Volumes of this block.
    block : Nifti1Image of float32, shape (x, y, z, n_volumes)

    Raises
    ------
    InputError
        If the file is cut short or damaged.
    """
    step = max(1, BLOCK_BYTES // (8 * math.prod(image.shape[:3])))
    for start in range(0, image.shape[3], step):
        where = slice(start, min(start + step, image.shape[3]))
        with reading(
            f"volumes {where.start} to {where.stop - 1} of {image.get_filename()}", "is the file cut short or damaged?"
        ):
            data = np.asarray(image.dataobj[..., where], dtype=np.float32)
        yield where, nib.Nifti1Image(data, image.affine)
    check_rest(image)


def check_rest(image: nib.Nifti1Image) -> None:
    """Read a packed file on from its data to its end: only there do its length and check sum stand.

    Parameters
    ----------
    image : Nifti1Image
        From :func:`open_image`.

    Raises
    ------
    InputError
        If they are not those of what was unpacked, or what follows is not of the packing.
    """
    stream, path = image.file_map["image"].fileobj, Path(str(image.get_filename()))
    if stream is None:
        size = path.stat().st_size
    else:
        most = limit("unpacked_gb") * 1e9
        with reading(path, "its check sum does not fit what it unpacks to, it is damaged: copy it again"):
            while stream.read(2**20):
                if stream.tell() > most:
                    check_limit("unpacked_gb", stream.tell() / 1e9, path.name, "GB when unpacked, and more")
            size = stream.tell()
    volume = math.prod(image.shape[:3]) * image.get_data_dtype().itemsize
    first: int = image.dataobj.offset  # type: ignore[attr-defined]
    more = (size - first) // volume - math.prod(image.shape[3:])
    if more > 0:
        log.warning(
            "%s holds data for %d volumes more than the %d of its header, which are not read",
            path.name, more, math.prod(image.shape[3:]),
        )  # fmt: skip


def voxels_in(image: nib.Nifti1Image, inside: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """The voxels of a mask by volume, in the mask's C order, NaN kept.

    Parameters
    ----------
    image : Nifti1Image
        4-D, from :func:`series_of`.
    inside : ndarray of bool, shape (x, y, z)
    out : ndarray of float32, shape (n_trs, n_voxels), optional
        Gets them.

    Returns
    -------
    ndarray of float32, shape (n_trs, n_voxels)

    Raises
    ------
    InputError
        If the file is cut short or damaged.
    """
    if out is None:
        out = np.empty((image.shape[3], int(inside.sum())), np.float32)
    # As nilearn.masking.apply_mask gives them, but without its copy of all volumes in another order: nibabel's are in
    # Fortran's, so that transposed they are rows of memory, one per volume.
    places = np.ravel_multi_index(np.nonzero(inside)[::-1], inside.shape[::-1])
    for where, block in blocks(image):
        volumes = np.asarray(block.dataobj).T
        np.take(volumes.reshape(len(volumes), -1), places, axis=1, out=out[where], mode="clip")
    return out


def write_image(image: nib.Nifti1Image, path: str | Path) -> Path:
    """Write an image whole or not at all; equal images give equal bytes.

    Parameters
    ----------
    image : Nifti1Image
    path : str or Path
        ``.nii`` or ``.nii.gz``.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    InputError
        If the name is not that of a NIfTI file, or it cannot be written.
    """
    path = Path(path)
    if not path.name.endswith((".nii", ".nii.gz")):
        raise InputError(f"{path} is not a NIfTI name; expected .nii or .nii.gz")
    content = image.to_bytes()
    with atomic_path(path) as temporary:
        temporary.write_bytes(gzip.compress(content, compresslevel=5, mtime=0) if path.suffix == ".gz" else content)
    return path
