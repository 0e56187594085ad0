"""BOLD of one subject as a Dataset in the manner of a feature file, and its columns as an image again."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import xarray as xr
from nilearn.masking import unmask
from scipy import sparse

from giblet.data.bold.scan_timing import ScanTiming
from giblet.errors import InputError
from giblet.features import CONTINUOUS, load_features, new_features
from giblet.files import sha256_of
from giblet.modalities import BOLD
from giblet.spans import volume_rate
from giblet.timing import TRGrid, exact


@dataclass(frozen=True)
class Scan:
    """Runs read, not yet a Dataset."""

    runs: list[np.ndarray]
    """float32 (n_trs, n_columns) each."""
    good: np.ndarray
    """bool (n_columns,)."""
    keep: list[np.ndarray]
    """bool (n_trs,) each: False for censored volumes."""
    timing: ScanTiming
    axis: dict[str, np.ndarray]
    """What is known of each column, (n_columns,) each: i, j, k of voxels, or region."""
    attrs: dict[str, Any] = field(default_factory=dict)

    @property
    def dim(self) -> str:
        """Name of the columns' dimension."""
        return "region" if "region" in self.axis else "voxel"

    def name_of(self, column: int) -> str:
        """What messages call a column: its region, or the place of its voxel.

        Parameters
        ----------
        column : int
            Its index.

        Returns
        -------
        str
        """
        if self.dim == "region":
            return str(self.axis["region"][column])
        return str(tuple(int(self.axis[axis][column]) for axis in "ijk"))

    def settle(self, good: np.ndarray, policy: str) -> Scan:
        """Leave columns that are not good out, or hold them as zeros.

        Parameters
        ----------
        good : ndarray of bool, shape (n_columns,)
            False for columns that are bad, beside those that are known to be.
        policy : {"mask", "zero"}
            ``"mask"``: bad columns are left out. ``"zero"``: they keep their place and are 0, which is written into the
            runs themselves; the scan's ``good`` tells them.

        Returns
        -------
        Scan
        """
        if good.all():
            return self
        good = self.good & good
        if policy == "mask":
            axis = {name: values[good] for name, values in self.axis.items()}
            return replace(self, runs=[run[:, good] for run in self.runs], axis=axis, good=good[good])
        for run in self.runs:
            run[:, ~good] = 0
        return replace(self, good=good)

    def dataset(self, paths: list[Path], attrs: dict[str, Any], settings: dict[str, Any]) -> xr.Dataset:
        """The runs, one after the other, with their clock and where they came from.

        Parameters
        ----------
        paths : list of Path
            One for each run.
        attrs : dict
            Attributes beside those of the clock and the files.
        settings : dict
            What was asked for; becomes the attribute ``settings``, with the TR that holds.

        Returns
        -------
        xarray.Dataset
            See :mod:`giblet.data.fmri`.

        Notes
        -----
        Censored volumes keep their place, wholly NaN.
        """
        for run, keep in zip(self.runs, self.keep, strict=True):
            run[~keep] = np.nan
        tr, keep = self.timing.tr, np.concatenate(self.keep)
        lengths = [len(run) for run in self.runs]
        n_trs = sum(lengths)
        hashes = [sha256_of(path) for path in paths]
        single = len(paths) == 1
        bold = new_features(
            {
                BOLD: (("tr", self.dim), self.runs[0] if single else np.concatenate(self.runs)),
                "good": ((self.dim,), self.good),
            },
            TRGrid(tr, n_trs, Fraction(1) / exact(tr)),
            film_duration=n_trs * exact(tr),
            kind=CONTINUOUS,
            desc=BOLD,
            source=paths[0].name if single else json.dumps([path.name for path in paths]),
            source_sha256=hashes[0] if single else json.dumps(hashes),
            duration=float(n_trs * exact(tr)),
            run_lengths=json.dumps(lengths),
            mask_sha256=self.columns_sha256(),
            settings={**settings, "tr": tr},
            tr_source=self.timing.tr_source,
            slice_time_ref=self.timing.slice_time_ref,
            n_censored=int((~keep).sum()),
            **attrs,
        )
        bold.attrs["frame_rate"] = volume_rate(tr)
        onset = np.concatenate([TRGrid(tr, n, Fraction(1) / exact(tr)).onset for n in lengths])
        bold["onset"] = (("tr",), onset, {"units": "s", "long_name": "onset of the volume from volume 0 of its run"})
        bold["valid"].attrs["long_name"] = "the volume was scanned"
        if not keep.all():
            bold["sample_mask"] = (("tr",), keep, {"long_name": "False: a censored volume, held as NaN"})
        columns: dict[str, Any] = {name: (self.dim, values) for name, values in self.axis.items()}
        return bold.assign_coords({"run": ("tr", np.repeat(np.arange(1, len(lengths) + 1), lengths)), **columns})

    def columns_sha256(self) -> str:
        """Equal for scans whose columns are the same voxels of the same space, or regions of the same names.

        Returns
        -------
        str
            Hexadecimal digits.
        """
        digest = hashlib.sha256(json.dumps(self.attrs.get("affine", "")).encode())
        for name, values in sorted(self.axis.items()):
            digest.update(f"{name}={json.dumps(values.tolist())}".encode())
        return digest.hexdigest()


def space_of(image: nib.Nifti1Image, affine: np.ndarray) -> dict[str, Any]:
    """Where the voxels lie, as attributes.

    Parameters
    ----------
    image : Nifti1Image
        Says the shape and the codes of the space.
    affine : ndarray of float, shape (4, 4)
        Of voxels to mm.

    Returns
    -------
    dict
        ``affine`` and ``volume_shape`` as JSON text, ``sform_code`` and ``qform_code`` as int.
    """
    return {
        "affine": json.dumps(np.asarray(affine, np.float64).tolist()),
        "volume_shape": json.dumps([int(n) for n in image.shape[:3]]),
        "sform_code": int(image.header["sform_code"]),
        "qform_code": int(image.header["qform_code"]),
    }


def image_of(
    values: Any, like: xr.Dataset, *, atlas: np.ndarray | None = None, mask: np.ndarray | None = None
) -> nib.Nifti1Image:
    """Values of voxels, or of the regions of an atlas, as an image on the voxels of the scan.

    Parameters
    ----------
    values : array_like, shape (n_columns,) or (n_trs, n_columns)
    like : xarray.Dataset
        BOLD with the same columns.
    atlas : ndarray of int, shape (x, y, z), optional
        The label image that the regions came from.
    mask : ndarray of bool, shape (x, y, z), optional
        The mask that was laid over it.

    Returns
    -------
    Nifti1Image of float32, shape (x, y, z) or (x, y, z, n_trs)

    Raises
    ------
    InputError
        If the values do not fit, or `like` is of no image.

    See Also
    --------
    giblet.data.fmri.FMRIProcessor.to_nifti : with the atlas and mask of a processor, written to a file.
    """
    n_columns = like[BOLD].shape[1]
    values = np.asarray(values, dtype=np.float32)
    if values.ndim not in (1, 2) or values.shape[-1] != n_columns:
        raise InputError(f"values have shape {values.shape}; expected ({n_columns},) or (n_trs, {n_columns})")
    if "affine" not in like.attrs:
        raise InputError(f"{like.attrs['source']} is a table: its regions have no place in an image")
    affine, shape = np.array(json.loads(like.attrs["affine"])), tuple(json.loads(like.attrs["volume_shape"]))
    values = np.where(like["good"].values, values, np.float32(np.nan))
    inside = np.zeros(shape, bool)
    if "i" in like.coords:
        places = tuple(like[axis].values for axis in "ijk")
        inside[places] = True
        columns = np.lexsort(places[::-1])  # unmask fills in C order
    else:
        if atlas is None or atlas.shape != shape:
            raise InputError("these are regions of an atlas: make the FMRIProcessor with the same atlas")
        labels = like["label"].values
        inside = np.isin(atlas, labels) & (True if mask is None else mask)
        columns = np.searchsorted(labels, atlas[inside])
    image = unmask(values[..., columns], nib.Nifti1Image(inside.astype(np.uint8), affine))
    image = nib.Nifti1Image(np.asarray(image.dataobj, np.float32), affine)
    image.set_sform(affine, int(like.attrs["sform_code"]))
    # The quaternion form cannot hold shears, so that it is set only where the scan had one.
    image.set_qform(affine if like.attrs["qform_code"] else None, int(like.attrs["qform_code"]))
    image.header.set_xyzt_units("mm", "sec")
    if values.ndim == 2:
        image.header.set_zooms((*image.header.get_zooms()[:3], like.attrs["tr"]))
    return image


def region_means(
    runs: list[np.ndarray], good: np.ndarray, label: np.ndarray, labels: np.ndarray
) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
    """Means over the good voxels of each region, and what is known of the regions.

    Parameters
    ----------
    runs : list of ndarray of float32, shape (n_trs, n_voxels)
    good : ndarray of bool, shape (n_voxels,)
    label : ndarray of int, shape (n_voxels,)
        Region of each voxel.
    labels : ndarray of int, shape (n_regions,)
        The regions wanted, ascending.

    Returns
    -------
    means : list of ndarray of float32, shape (n_trs, n_regions)
        0 for a region without a good voxel.
    axis : dict
        ``label`` and ``n_voxels`` (n_regions,): how many good voxels each has.
    """
    voxels = np.flatnonzero(good)
    columns = np.searchsorted(labels, label[voxels])
    counts = np.bincount(columns, minlength=len(labels))
    weights = 1.0 / counts[columns]
    member = sparse.csr_array((weights, (columns, voxels)), shape=(len(labels), len(good)))
    means = [(member @ np.where(good, run, 0).T).T.astype(np.float32) for run in runs]
    return means, {"label": labels, "n_voxels": counts}


def load_bold(path: str | Path) -> xr.Dataset:
    """Read a BOLD file that :func:`giblet.features.save_features` wrote.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    xarray.Dataset
        See :mod:`giblet.data.fmri`.

    Raises
    ------
    InputError
        If it is not such a file.

    See Also
    --------
    giblet.data.fmri.FMRIProcessor.load : BOLD from images or tables.
    """
    bold = load_features(path)
    if bold.attrs["variable"] != BOLD or BOLD not in bold or "run" not in bold.coords:
        raise InputError(f"{path} holds {bold.attrs['desc']} features, not BOLD; giblet reads BOLD with FMRIProcessor")
    return bold
