"""Scans and lesions for a trained run: read as its configuration reads scans, and found to fit it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from giblet.data.fmri import FMRIProcessor
from giblet.data.tables import is_table
from giblet.data.volumes import read_mask
from giblet.errors import InputError
from giblet.training.settings import SubjectSettings


def _load(paths: Sequence[Path], subject: SubjectSettings, tr: float) -> tuple[FMRIProcessor, xr.Dataset]:
    fmri = subject.processor(tr)
    confounds = [run.confounds for run in subject.runs if run.confounds]
    return fmri, fmri.load(list(paths), confounds=confounds or None)


def replacement_bold(
    bold: Sequence[str | Path] | str | Path, subject: SubjectSettings, tr: float, volumes: np.ndarray, run: np.ndarray
) -> np.ndarray:
    """Other scans in the place of those of the configuration, float32 (n_rows, n_voxels).

    Parameters
    ----------
    bold : path or sequence of path
        One a run, of the same stimulus and as many volumes.
    subject : SubjectSettings
    tr : float
        Repetition time in seconds.
    volumes, run : ndarray of int, shape (n_rows,)
        Of each row the volume in its run, and the run.

    Raises
    ------
    InputError
        If there are not as many scans as runs, or one is too short.
    """
    paths = [Path(bold)] if isinstance(bold, (str, Path)) else [Path(one) for one in bold]
    if len(paths) != len(subject.runs):
        raise InputError(f"{len(paths)} scans are given, the run was trained on {len(subject.runs)}: name one a run")
    _, data = _load(paths, subject, tr)
    values, labels = data["bold"].values, data["run"].values
    pieces = []
    for number, path in enumerate(paths, start=1):
        own, rows = values[labels == number], volumes[run == number]
        if len(own) <= rows.max():
            raise InputError(
                f"{path.name} has {len(own)} volumes, the stimulus of run {number} needs {rows.max() + 1}: "
                "decode scans of the same stimulus"
            )
        pieces.append(own[rows])
    return np.concatenate(pieces)


def lesion_of(lesion: str | Path, subject: SubjectSettings, tr: float, n_voxels: int) -> np.ndarray:
    """Which voxels or regions of a subject are silenced, bool (n_voxels,).

    Parameters
    ----------
    lesion : str or Path
        A mask image on the voxels of the scan, a ``.npy`` of bool, or names of regions as ``a,b``.
    subject : SubjectSettings
    tr : float
        Repetition time in seconds.
    n_voxels : int
        That the model knows.

    Raises
    ------
    InputError
        If it is of another space, names no region, or silences nothing.
    """
    path = Path(lesion)
    if path.suffix == ".npy":
        try:
            found = np.load(path, allow_pickle=False)
        except (OSError, ValueError) as exc:
            raise InputError(f"cannot read the lesion {path}: {exc}") from exc
        if found.dtype != bool or found.shape != (n_voxels,):
            raise InputError(
                f"the lesion {path.name} is {found.dtype} {found.shape}: bool ({n_voxels},) is needed, True where "
                "silenced"
            )
    else:
        fmri, data = _load([subject.runs[0].bold], _first_run(subject), tr)
        found = _regions(str(lesion), data) if "region" in data.coords else _voxels(path, fmri, data)
    if not found.any():
        raise InputError(f"the lesion {path.name} silences no voxel of the scan: check that it overlaps with the brain")
    return found


def _first_run(subject: SubjectSettings) -> SubjectSettings:
    return subject.model_copy(update={"runs": subject.runs[:1]})


def _regions(lesion: str, data: xr.Dataset) -> np.ndarray:
    names = [name.strip() for name in lesion.split(",")]
    known = [str(name) for name in data["region"].values]
    if unknown := [name for name in names if name not in known]:
        raise InputError(
            f"the scan has no region {unknown[0]!r}: it has {', '.join(known[:10])}{', ...' if len(known) > 10 else ''}"
        )
    return np.isin(known, names)


def _voxels(path: Path, fmri: FMRIProcessor, data: xr.Dataset) -> np.ndarray:
    if is_table(path):
        raise InputError(f"the lesion {path.name} is a table: a mask image on the voxels of the scan is needed")
    mask, affine = read_mask(path)
    assert fmri.mask is not None
    if mask.shape != fmri.mask.shape or not np.allclose(affine, fmri.affine, atol=1e-3):
        raise InputError(
            f"the lesion {path.name} has voxels {mask.shape} and another affine or shape than the scan's mask, "
            f"{fmri.mask.shape}: resample it to the scan, with nilearn.image.resample_to_img(..., "
            "interpolation='nearest')"
        )
    return mask[data["i"].values, data["j"].values, data["k"].values]
