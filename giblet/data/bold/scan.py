"""BOLD of one subject as a Dataset in the manner of a feature file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from giblet.data.bold.brain_rows import ROWS, column_name, unit_of
from giblet.data.bold.scan_timing import ScanTiming
from giblet.errors import InputError
from giblet.features import CONTINUOUS, load_features, new_features
from giblet.files import sha256_of
from giblet.modalities import BOLD
from giblet.spans import volume_rate
from giblet.timing import TRGrid, exact

if TYPE_CHECKING:
    import nibabel as nib
    import xarray as xr

ROWS_AT_A_TIME = 64
"""Volumes that are copied at a time, so that memory holds little more than the scan."""


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
    """What is known of each column, (n_columns,) each: see :data:`giblet.data.bold.brain_rows.PLACES`."""
    attrs: dict[str, Any] = field(default_factory=dict)

    @property
    def dim(self) -> str:
        """Name of the columns' dimension."""
        return unit_of(self.axis)

    def name_of(self, column: int) -> str:
        """What messages call a column: its region, its vertex, or the place of its voxel.

        Parameters
        ----------
        column : int
            Its index.

        Returns
        -------
        str
        """
        return column_name(self.axis, column)

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
            return replace(self, runs=_of_columns(self.runs, good), axis=axis, good=good[good])
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
                BOLD: (("tr", self.dim), _end_to_end(self.runs)),
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
        digest.update(str(self.attrs.get(ROWS, "")).encode())
        for name, values in sorted(self.axis.items()):
            digest.update(f"{name}={json.dumps(values.tolist())}".encode())
        return digest.hexdigest()


def room_for(lengths: Sequence[int], n_columns: int) -> list[np.ndarray]:
    """Room for runs, side by side in memory, so that they need no copy to be laid end to end.

    Parameters
    ----------
    lengths : sequence of int
        Volumes of each run.
    n_columns : int

    Returns
    -------
    list of ndarray of float32, shape (n_trs, n_columns)
        Views of one array.
    """
    whole = np.empty((sum(lengths), n_columns), np.float32)
    return _split(whole, lengths)


def _split(whole: np.ndarray, lengths: Sequence[int]) -> list[np.ndarray]:
    stops = np.cumsum(lengths)
    return [whole[stop - n : stop] for n, stop in zip(lengths, stops, strict=True)]


def _end_to_end(runs: list[np.ndarray]) -> np.ndarray:
    """The runs as one array, without a copy where they are one already."""
    whole = runs[0].base
    if whole is None or not whole.flags.c_contiguous or any(not run.flags.c_contiguous for run in runs):
        return runs[0] if len(runs) == 1 else np.concatenate(runs)
    at = whole.ctypes.data
    for run in runs:
        if run.base is not whole or run.ctypes.data != at or run.dtype != whole.dtype:
            return runs[0] if len(runs) == 1 else np.concatenate(runs)
        at += run.nbytes
    n_volumes, n_columns = sum(map(len, runs)), runs[0].shape[1]
    return whole.reshape(-1)[: n_volumes * n_columns].reshape(n_volumes, n_columns)


def _of_columns(runs: list[np.ndarray], wanted: np.ndarray) -> list[np.ndarray]:
    """Some columns of runs; where they are most of them, moved together within the same memory."""
    n_wanted, whole = int(wanted.sum()), _end_to_end(runs)
    lengths = [len(run) for run in runs]
    if 2 * n_wanted < len(wanted) or not whole.flags.c_contiguous:
        return _split(whole[:, wanted], lengths)
    flat = whole.reshape(-1)
    for start in range(0, len(whole), ROWS_AT_A_TIME):
        part = whole[start : start + ROWS_AT_A_TIME][:, wanted]  # a copy, whose place lies before what is still to come
        flat[start * n_wanted : start * n_wanted + part.size] = part.ravel()
    return _split(flat[: len(whole) * n_wanted].reshape(len(whole), n_wanted), lengths)


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
    means = []
    for run in runs:
        parts = [run[start : start + ROWS_AT_A_TIME] for start in range(0, len(run), ROWS_AT_A_TIME)]
        means.append(np.concatenate([(member @ np.where(good, part, 0).T).T.astype(np.float32) for part in parts]))
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
