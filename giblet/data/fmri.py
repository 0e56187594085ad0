"""BOLD on the clock of the scan: voxels or regions of one subject, run after run, and voxels back into NIfTI.

The result is a Dataset of the same kind as a feature file (:mod:`giblet.features`), with

==========  ==================  =======  ========================================================================
variable    dimensions          dtype    meaning
==========  ==================  =======  ========================================================================
``bold``    (tr, voxel|region)  float32  raw units, unless the settings ask for cleaning
``run``     (tr)                int64    1, 2, ...: nothing may be convolved or cut in windows across its edges
``onset``   (tr)                float64  seconds from volume 0 *of its run*
``good``    (voxel|region)      bool     False: bad data, held as zeros (``bad="zero"``); never learn from these
``i j k``   (voxel)             int32    place of the voxel in the image
``region``  (region)            str      name of the region
==========  ==================  =======  ========================================================================
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import nibabel as nib
import numpy as np
import pandas as pd
import xarray as xr
from pydantic import Field

from giblet.config import Settings
from giblet.data.cleaning import clean_run, find_bad, judge
from giblet.data.scan import Scan, load_bold, region_means, space_of, to_nifti
from giblet.data.tables import is_table, read_confounds, read_table
from giblet.data.volumes import agreed_tr, check_grid, read_atlas, read_mask, series_of, voxels_in
from giblet.errors import InputError
from giblet.timing import same_tr, shown

__all__ = ["BoldSettings", "FMRIProcessor", "load_bold"]

log = logging.getLogger(__name__)

CLEANING = {"detrend", "high_pass", "standardize"}
Confounds = str | Path | pd.DataFrame | np.ndarray


class BoldSettings(Settings):
    """What turns a scan into BOLD. By default nothing is taken out of the data and nothing is scaled."""

    tr: float | None = Field(None, gt=0, allow_inf_nan=False, description="repetition time, s; default: the header's")
    columns: tuple[str, ...] | None = Field(None, description="columns of a table to read; default: all")
    confound_columns: tuple[str, ...] | None = Field(None, description="confounds to remove: names or patterns")
    detrend: bool = Field(False, description="take out mean and straight line, in each run")
    high_pass: float | None = Field(None, gt=0, description="take out drifts slower than this, Hz; 1/128 is usual")
    standardize: bool = Field(False, description="mean 0, deviation 1 over each whole run, test volumes included")
    bad: Literal["error", "mask", "zero"] = Field("error", description="what becomes of NaN and constant voxels")


class FMRIProcessor:
    """Reads BOLD of one subject from NIfTI images or region tables, and writes voxels back to NIfTI.

    Parameters
    ----------
    mask : str or Path, optional
        3-D image, not 0 inside the brain, on the voxels of the scan. Images need this or `atlas`.
    atlas : str or Path, optional
        3-D label image on the voxels of the scan: the mean of each region is read. With `mask`, voxels outside it
        belong to no region.
    labels : mapping of int to str, optional
        Names of the atlas's labels; others are called ``"label-7"``.
    tr : float, optional
        Repetition time in seconds. A header that says otherwise is an error; a header that says nothing is not.
        Tables need it.
    columns : sequence of str, optional
        Which columns of a table are regions, as names or shell patterns; all by default.
    confound_columns : sequence of str, optional
        Which confounds are removed, as names or shell patterns such as ``"trans_?"``.
    detrend : bool
        Take mean and straight line out of each run.
    high_pass : float, optional
        In Hz: take out drifts that are slower, with cosines as fMRIPrep and SPM do, in each run.
    standardize : bool
        Scale each run to mean 0 and deviation 1. That uses all volumes of the run, those of a test set too; to learn
        and to test within one run, leave it off and normalise on training TRs (:mod:`giblet.data.normalise`).
    bad : {"error", "mask", "zero"}
        For voxels or regions that hold NaN or infinity, or never change within a run: refuse the scan; leave them out;
        or keep their place with zeros and ``good`` False. Bad voxels never enter the mean of an atlas region.

    Raises
    ------
    InputError
        If an option, the mask or the atlas cannot be used.

    Notes
    -----
    Images are read in blocks of volumes, so that memory holds the voxels of the mask in float32 and one block. An
    uncompressed ``.nii`` is memory-mapped; a ``.nii.gz`` is unpacked once, from start to end. Cleaning is nilearn's
    ``signal.clean``: detrending, and one regression for drifts and confounds together, which keeps the mean unless
    `detrend` or `standardize` takes it out [1]_.

    References
    ----------
    .. [1] M. A. Lindquist, S. Geuter, T. D. Wager, B. S. Caffo (2019), Modular preprocessing pipelines can reintroduce
       artifacts into fMRI data, Human Brain Mapping 40, 2358-2376.

    Examples
    --------
    >>> fmri = FMRIProcessor(mask="sub-01_desc-brain_mask.nii.gz", tr=1.5)  # doctest: +SKIP
    >>> bold = fmri.load(["sub-01_run-1_bold.nii.gz", "sub-01_run-2_bold.nii.gz"])  # doctest: +SKIP
    >>> fmri.to_nifti(bold.bold.mean("tr"), bold, "mean.nii.gz")  # doctest: +SKIP
    """

    def __init__(
        self,
        mask: str | Path | None = None,
        atlas: str | Path | None = None,
        *,
        labels: Mapping[int, str] | None = None,
        tr: float | None = None,
        columns: Sequence[str] | None = None,
        confound_columns: Sequence[str] | None = None,
        detrend: bool = False,
        high_pass: float | None = None,
        standardize: bool = False,
        bad: str = "error",
    ) -> None:
        self.settings = BoldSettings.make(
            tr=tr,
            columns=columns,
            confound_columns=confound_columns,
            detrend=detrend,
            high_pass=high_pass,
            standardize=standardize,
            bad=bad,
        )
        self.labels = dict(labels or {})
        self.mask: np.ndarray | None = None
        self.affine: np.ndarray = np.eye(4)
        if mask is not None:
            self.mask, self.affine = read_mask(mask)
        self.atlas: np.ndarray | None = None
        if atlas is not None:
            self.atlas, affine = read_atlas(atlas)
            if self.mask is not None:
                check_grid(
                    self.atlas.shape,
                    affine,
                    nib.Nifti1Image(self.mask.astype(np.uint8), self.affine),
                    "the atlas",
                    "the mask",
                )
            self.affine = affine

    def load(
        self,
        runs: str | Path | Sequence[str | Path],
        *,
        confounds: Confounds | Sequence[Confounds] | None = None,
        subject: str | None = None,
    ) -> xr.Dataset:
        """BOLD of one subject.

        Parameters
        ----------
        runs : path or sequence of paths
            NIfTI images or tables (.tsv, .csv; columns = regions), one a run, in the order of the runs.
        confounds : path, table or sequence of these, optional
            One a run.
        subject : str, optional
            Without ``sub-``; by default what the file's name says after it.

        Returns
        -------
        xarray.Dataset
            See the head of this module.

        Raises
        ------
        InputError
            If a file cannot be read or does not fit mask, TR or confounds, the runs differ, or data are bad.
        """
        paths = [Path(p) for p in ([runs] if isinstance(runs, (str, Path)) else runs)]
        if not paths:
            raise InputError("there is no run to load: name at least one image or table")
        for path in paths:
            if not path.is_file():
                raise InputError(f"no such scan: {path}")
        kinds = {is_table(path) for path in paths}
        if len(kinds) > 1:
            raise InputError("some runs are tables, some images: load one kind at a time")
        scan = self._read_tables(paths) if kinds.pop() else self._read_images(paths)
        tables = self._confounds(confounds, [len(run) for run in scan.runs])
        for run, table in zip(scan.runs, tables, strict=True):
            part = run if scan.good.all() else run[:, scan.good]
            clean_run(part, tr=scan.tr, confounds=table, **self.settings.model_dump(include=CLEANING))
            if part is not run:
                run[:, scan.good] = part
        about = {
            "subject": subject or _subject_of(paths[0]),
            "n_confounds": max(0 if t is None else t.shape[1] for t in tables),
        }
        return scan.dataset(paths, {**scan.attrs, **about}, self.settings.model_dump(mode="json"))

    def load_subjects(
        self,
        subjects: Mapping[str, str | Path | Sequence[str | Path]],
        *,
        confounds: Mapping[str, Confounds | Sequence[Confounds]] | None = None,
    ) -> dict[str, xr.Dataset]:
        """BOLD of several subjects, by name; :meth:`load` for each.

        Raises
        ------
        InputError
            As :meth:`load`; the message names the subject. Also if `confounds` lack a subject.
        """
        loaded = {}
        for name, runs in subjects.items():
            if confounds is not None and name not in confounds:
                raise InputError(f"there are confounds for {', '.join(confounds)}, none for subject {name}")
            try:
                loaded[name] = self.load(runs, confounds=confounds[name] if confounds else None, subject=name)
            except InputError as exc:
                raise InputError(f"subject {name}: {exc}") from exc
        return loaded

    def to_nifti(self, values: Any, like: xr.Dataset, path: str | Path | None = None) -> nib.Nifti1Image:
        """Values of voxels or atlas regions as an image on the voxels of the scan.

        Parameters
        ----------
        values : array, shape (n_columns,) or (n_trs, n_columns)
            One map, or one a volume; columns as in ``like.bold``.
        like : xarray.Dataset
            BOLD that :meth:`load` gave, or read back from its file.
        path : str or Path, optional
            Also write it there, whole or not at all.

        Returns
        -------
        Nifti1Image, float32 (x, y, z) or (x, y, z, n_trs)
            On the scan's affine; 0 outside, and NaN for bad voxels that ``bad="zero"`` kept. Each voxel of an atlas
            region has the region's value.

        Raises
        ------
        InputError
            If `values` do not fit `like`, which came from a table, or from an atlas that this processor does not have.
        """
        return to_nifti(values, like, path, atlas=self.atlas, mask=self.mask)

    def _read_tables(self, paths: list[Path]) -> Scan:
        if self.settings.tr is None:
            raise InputError(f"{paths[0].name} is a table, which does not say its TR: give tr in seconds")
        frames = [read_table(path, self.settings.columns) for path in paths]
        names = list(frames[0].columns)
        for path, frame in zip(paths, frames, strict=True):
            if list(frame.columns) != names:
                raise InputError(f"{path.name} has other columns than {paths[0].name}: {', '.join(frame.columns[:5])}")
            if len(frame) < 2:
                raise InputError(f"{path.name} has {len(frame)} row: a series of at least 2 is needed")
        runs = [frame.to_numpy(np.float32, copy=True) for frame in frames]  # cleaning works in place
        good = judge(find_bad(runs), self.settings.bad, "regions", names.__getitem__, paths[0].name)
        return Scan(runs, good, self.settings.tr, {"region": np.array(names)}, {}).settle(self.settings.bad)

    def _read_images(self, paths: list[Path]) -> Scan:
        inside = self.mask if self.atlas is None else (self.atlas != 0) & (self.mask if self.mask is not None else True)
        if inside is None:
            raise InputError(
                "images need a mask or an atlas: give fMRIPrep's *_desc-brain_mask.nii.gz, or a label image"
            )
        if not inside.any():
            raise InputError("no region of the atlas lies inside the mask")
        images = [series_of(path) for path in paths]
        trs = [agreed_tr(self.settings.tr, image, path.name) for image, path in zip(images, paths, strict=True)]
        if not all(same_tr(tr, trs[0]) for tr in trs):
            raise InputError(f"the runs have different TRs, {', '.join(map(shown, trs))} s: load them apart")
        what = "the mask" if self.atlas is None else "the atlas"
        runs = []
        for image, path in zip(images, paths, strict=True):
            check_grid(inside.shape, self.affine, image, what, path.name)
            runs.append(voxels_in(image, inside))
        places = np.argwhere(inside).astype(np.int32)
        bad = find_bad(runs)
        good = judge(bad, self.settings.bad, "voxels", lambda i: str(tuple(places[i].tolist())), paths[0].name)
        attrs = {"n_bad_voxels": int(bad.any.sum()), **space_of(images[0], self.affine)}
        if self.atlas is None:
            axis = dict(zip("ijk", places.T, strict=True))
            return Scan(runs, good, trs[0], axis, attrs).settle(self.settings.bad)
        assert self.atlas is not None
        means, axis = region_means(runs, good, self.atlas[inside], np.unique(self.atlas[self.atlas != 0]))
        axis["region"] = np.array([self.labels.get(int(label), f"label-{label}") for label in axis["label"]])
        usable = axis["n_voxels"] > 0
        if not usable.all():
            gone = f"{paths[0].name}: no usable voxel in {', '.join(axis['region'][~usable][:5])}"
            if self.settings.bad == "error" or not usable.any():
                raise InputError(f"{gone}; widen the mask, or choose bad='mask' or 'zero'")
            log.warning("%s; %d regions in all", gone, (~usable).sum())
        return Scan(means, usable, trs[0], axis, attrs).settle(self.settings.bad)

    def _confounds(
        self, given: Confounds | Sequence[Confounds] | None, lengths: list[int]
    ) -> Sequence[np.ndarray | None]:
        if given is None:
            if self.settings.confound_columns:
                raise InputError("confound_columns are chosen, but no confounds are given: name one file a run")
            return [None] * len(lengths)
        tables = [given] if isinstance(given, (str, Path, pd.DataFrame, np.ndarray)) else list(given)
        if len(tables) != len(lengths):
            raise InputError(f"there are {len(lengths)} runs and {len(tables)} confounds tables: one a run is needed")
        return [read_confounds(t, n, self.settings.confound_columns) for t, n in zip(tables, lengths, strict=True)]


def _subject_of(path: Path) -> str | None:
    found = re.search(r"sub-([A-Za-z0-9]+)", path.name)
    return found.group(1) if found else None
