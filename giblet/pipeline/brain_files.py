"""Scans and lesions for a trained run: read as its configuration reads scans, and found to fit it."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from giblet.data.bold.brain_rows import CIFTI, GIFTI, NIFTI, ROWS, BrainRows, format_of
from giblet.data.bold.row_masks import read_row_mask
from giblet.data.bold.surfaces import with_other_hemisphere
from giblet.data.bold.tables import is_table
from giblet.data.bold.volumes import check_grid, read_mask
from giblet.data.study_settings import SubjectSettings
from giblet.docs import fill_doc
from giblet.errors import InputError
from giblet.files import read_npy, sha256_of

if TYPE_CHECKING:
    import xarray as xr

log = logging.getLogger(__name__)

Paths = Sequence[str | Path] | str | Path


def listed(paths: Paths | None) -> list[Path]:
    """One path or many as a list; none as an empty one.

    Parameters
    ----------
    paths : path or sequence of path, or None

    Returns
    -------
    list of Path
    """
    if paths is None:
        return []
    return [Path(paths)] if isinstance(paths, (str, Path)) else [Path(one) for one in paths]


@fill_doc
def training_columns(subject: SubjectSettings, tr: float, unused: Sequence[np.ndarray] | None = None) -> xr.Dataset:
    """Voxels or regions of the training scans, without those bad in any run or empty once cleaned.

    Parameters
    ----------
    subject : SubjectSettings
    tr : float
        %(tr)s
    unused : sequence of ndarray of bool, shape (n_volumes,), optional
        By run, volumes in which what is bad costs no voxel or region its place; see
        :attr:`giblet.training.holes.Holes.unused`.

    Returns
    -------
    xarray.Dataset
        As :meth:`giblet.data.fmri.FMRIProcessor.load` gives it, of all runs.

    Raises
    ------
    InputError
        As :meth:`giblet.data.fmri.FMRIProcessor.load`.
    """
    return subject.processor(tr).load([run.bold for run in subject.runs], confounds=subject.confounds(), unused=unused)


@fill_doc
def replacement_bold(
    bold: Paths, confounds: Paths | None, subject: SubjectSettings, tr: float, volumes: np.ndarray, run: np.ndarray,
    rows: np.ndarray, unused: Sequence[np.ndarray] | None = None,
) -> np.ndarray:  # fmt: skip
    """Read other scans in place of those of the configuration.

    Parameters
    ----------
    bold : path or sequence of path
        One for each run that has `rows`, or one for each run of the study; of the same stimulus.
    confounds : path or sequence of path, optional
        One for each scan; needed where the training scans had them.
    subject : SubjectSettings
    tr : float
        %(tr)s
    volumes, run : ndarray of int, shape (n_rows,)
        Of each row the volume in its run, and the run.
    rows : ndarray of int
        Rows that are decoded: their runs are read.
    unused : sequence of ndarray of bool, optional
        As for :func:`training_columns`.

    Returns
    -------
    ndarray of float32, shape (n_rows, n_voxels)
        NaN in rows of runs that have none of `rows`.

    Raises
    ------
    InputError
        If the scans cannot be read, are not as many as needed, too short, or of other voxels or regions, or if
        confounds are missing.
    """
    needed = [int(number) for number in np.unique(run[rows])]
    paths, tables = listed(bold), listed(confounds)
    had = any(one.confounds for one in subject.runs)
    if had and len(tables) != len(paths):
        raise InputError(
            f"the training scans were cleaned with confounds; there are {len(paths)} scans and {len(tables)} confounds "
            "tables; pass one of `confounds` for each of `bold`"
        )
    if tables and not had:
        raise InputError("the training scans were not cleaned with confounds: leave out `confounds`")
    if len(paths) not in (len(needed), len(subject.runs)):
        told = ", ".join(map(str, needed))
        raise InputError(
            f"{len(paths)} scans are given, this split has TRs of run {told} of {len(subject.runs)}; pass "
            f"{len(needed)} in `bold`, one for each of these, or one for each run"
        )
    if len(paths) != len(needed):
        paths, tables = ([some[n - 1] for n in needed] if some else [] for some in (paths, tables))
    dummies = [subject.runs[n - 1].dummy_scans for n in needed]
    confounds_given = subject.confounds_of(paths, tables or [None] * len(paths), dummies)
    data = _on_columns(paths, confounds_given, subject, tr, unused)
    values, labels = data["bold"].values, data["run"].values
    found = np.full((len(run), values.shape[1]), np.nan, np.float32)
    for number, (path, wanted) in enumerate(zip(paths, needed, strict=True), start=1):
        own, at = values[labels == number], run == wanted
        if len(own) <= volumes[at].max():
            raise InputError(
                f"{path.name} has {len(own)} volumes, the stimulus of run {wanted} needs {volumes[at].max() + 1}: "
                "decode scans of the same stimulus"
            )
        found[at] = own[volumes[at]]
    return found


def _on_columns(
    paths: list[Path],
    tables: list[Any] | None,
    subject: SubjectSettings,
    tr: float,
    unused: Sequence[np.ndarray] | None,
) -> xr.Dataset:
    """Scans on the voxels or regions of the training, in its order, and nothing else."""
    columns = training_columns(subject, tr, unused)
    wanted: dict[str, object] = {"bad": "error"}
    rows = BrainRows.from_text(columns.attrs[ROWS]) if ROWS in columns.attrs else None
    if is_table(subject.runs[0].bold) or (rows is not None and rows.is_parcels):
        wanted["columns"] = tuple(map(str, columns["region"].values))
    fmri = subject.model_copy(update=wanted).processor(tr)
    if rows is not None and "grayordinate" in columns.coords:
        inside = np.zeros(len(rows), bool)
        inside[columns["grayordinate"].values] = True
        fmri = fmri.with_mask(inside)
    elif "i" in columns.coords:
        mask = np.zeros(json.loads(columns.attrs["volume_shape"]), bool)
        mask[tuple(columns[axis].values for axis in "ijk")] = True
        fmri = fmri.with_mask(mask)
    data = fmri.load(paths, confounds=tables)
    if data.attrs["mask_sha256"] != columns.attrs["mask_sha256"]:
        raise InputError(
            f"{paths[0].name} has {data['bold'].shape[1]} {data['bold'].dims[1]}s, which are not the "
            f"{columns['bold'].shape[1]} of the training scans; pass scans of the same space, mask and regions"
        )
    own, trained = (float(one.attrs["slice_time_ref"]) for one in (data, columns))
    if abs(own - trained) > 1e-3:
        log.warning(
            "volumes of %s are read %.4g TR after their onset, those of the training %.4g TR: what is decoded lies as "
            "far off; if that is not so, write StartTime into its sidecar, or set slice_time_ref of the subject",
            paths[0].name, own, trained,
        )  # fmt: skip
    return data


@fill_doc
def lesion_of(
    lesion: str | Path, subject: SubjectSettings, tr: float, n_voxels: int, unused: Sequence[np.ndarray] | None = None
) -> np.ndarray:
    """Which voxels or regions of a subject are silenced.

    Parameters
    ----------
    lesion : str or Path
        A mask in the space of the scan (an image on its voxels; ``.dscalar.nii``, ``.dlabel.nii``, or one of a pair of
        ``.shape.gii`` or ``.label.gii``), a ``.npy`` of bool, or names of regions as ``a,b``.
    subject : SubjectSettings
    tr : float
        %(tr)s
    n_voxels : int
        That the model knows.
    unused : sequence of ndarray of bool, optional
        As for :func:`training_columns`.

    Returns
    -------
    ndarray of bool, shape (n_voxels,)
        True where silenced.

    Raises
    ------
    InputError
        If it cannot be read, is of another space or shape, names an unknown region, or silences nothing.
    """
    path = Path(lesion)
    if path.suffix == ".npy":
        found = read_npy(path)
        if found.dtype != bool or found.shape != (n_voxels,):
            raise InputError(
                f"the lesion {path.name} is {found.dtype} {found.shape}; expected bool ({n_voxels},), True where "
                "silenced"
            )
    else:
        data = training_columns(subject, tr, unused)
        found = _regions(str(lesion), data) if "region" in data.coords else _voxels(path, data)
    if not found.any():
        kind = format_of(subject.runs[0].bold)
        what = "voxel" if kind == NIFTI else "grayordinate"
        if not kind or subject.atlas is not None:
            what = "region"
        raise InputError(
            f"the lesion {path.name} silences no {what} of the scan: check that it overlaps with the brain"
        )
    return found


def _regions(lesion: str, data: xr.Dataset) -> np.ndarray:
    names = [name.strip() for name in lesion.split(",")]
    known = [str(name) for name in data["region"].values]
    if unknown := [name for name in names if name not in known]:
        raise InputError(
            f"the scan has no region {unknown[0]!r}: it has {', '.join(known[:10])}{', ...' if len(known) > 10 else ''}"
        )
    return np.isin(known, names)


def _voxels(path: Path, data: xr.Dataset) -> np.ndarray:
    if is_table(path):
        raise InputError(f"the lesion {path.name} is a table; expected a mask in the space of the scan")
    if ROWS in data.attrs:
        if format_of(path) not in (CIFTI, GIFTI):
            raise InputError(
                f"the lesion {path.name} is no map of the scan's space; expected .dscalar.nii, .dlabel.nii, .shape.gii "
                "or .label.gii"
            )
        rows = BrainRows.from_text(data.attrs[ROWS])
        return read_row_mask(path, "the lesion").on(rows, "the scan")[data["grayordinate"].values]
    if format_of(path) in (CIFTI, GIFTI):
        raise InputError(f"the lesion {path.name} is of a surface; expected a mask image on the voxels of the scan")
    mask, affine = read_mask(path)
    shape, own = tuple(json.loads(data.attrs["volume_shape"])), np.array(json.loads(data.attrs["affine"]))
    check_grid(mask.shape, affine, shape, own, f"the lesion {path.name}", "the scan's mask")
    return mask[data["i"].values, data["j"].values, data["k"].values]


def default_folder(bold: Sequence[Path], lesion: str | Path | None, confounds: Sequence[Path] = ()) -> str:
    """A short folder name, unique for each scan with its confounds, and lesion.

    Parameters
    ----------
    bold : sequence of Path
        Scans in the place of those of the configuration; may be empty.
    lesion : str or Path, or None
        As for :func:`lesion_of`.
    confounds : sequence of Path
        Of the scans.

    Returns
    -------
    str
        ``reconstruction``, with ``_bold-<name>-<hash>`` and ``_lesion-<name>-<hash>`` behind it where these are given.
    """
    parts = ["reconstruction"]
    if bold:
        parts.append(f"bold-{_short(bold[0].name.split('.')[0], ''.join(map(sha256_of, _whole([*bold, *confounds]))))}")
    if lesion is not None:
        content = _lesion_content(lesion)
        readable = Path(lesion).name.split(".")[0] if _is_lesion_file(lesion) else content
        parts.append(f"lesion-{_short(readable, content)}")
    return "_".join(parts)


def _whole(paths: Sequence[Path]) -> list[Path]:
    """The files, and the other hemispheres of those that are one of a pair."""
    return [file for path in paths for file in with_other_hemisphere(path) if file == path or file.is_file()]


def _short(name: str, content: str) -> str:
    readable = re.sub("[^A-Za-z0-9]+", "-", name)[:32].strip("-")
    return f"{readable}-{hashlib.sha256(content.encode()).hexdigest()[:8]}"


def _is_lesion_file(lesion: str | Path) -> bool:
    try:
        return Path(lesion).is_file()
    except OSError:  # many regions are longer than the name of a file may be
        return False


def _lesion_content(lesion: str | Path) -> str:
    """What tells one lesion from another: a file's digest, or the regions, in whichever order they were named."""
    if _is_lesion_file(lesion):
        digests = [sha256_of(path) for path in _whole([Path(lesion)])]
        return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    return ",".join(sorted({name.strip() for name in str(lesion).split(",")}))


def brain_about(bold: Paths | None, confounds: Paths | None, lesion: str | Path | None) -> dict[str, Any]:
    """Which scans were decoded instead of the training's, and the whole lesion.

    Parameters
    ----------
    bold, confounds : path or sequence of path, or None
    lesion : str or Path, or None
        As for :func:`lesion_of`.

    Returns
    -------
    dict
        ``bold`` and ``confounds``: for each file its ``name`` and ``sha256``. ``lesion``: None, or its ``name`` and its
        ``content``, which is the SHA-256 of a file, or the names of the regions in alphabetical order.
    """
    scans = {
        what: [{"name": path.name, "sha256": sha256_of(path)} for path in _whole(listed(paths))]
        for what, paths in (("bold", bold), ("confounds", confounds))
    }
    found = None if lesion is None else {"name": str(lesion), "content": _lesion_content(lesion)}
    return {**scans, "lesion": found}
