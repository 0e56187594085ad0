"""BOLD on the clock of the scan: one subject, run after run, and its values back into images of the same space.

A column of BOLD is a voxel (NIfTI), a row of a surface file (CIFTI ``.dtseries.nii``, a pair of ``.func.gii``: a
vertex, or a voxel below the cortex), or a region (an atlas of any of these, ``.ptseries.nii``, a table).

The result is a Dataset of the same kind as a feature file (:mod:`giblet.features`), with

===================  ==============  =======  ===================================================================
variable             dimensions      dtype    meaning
===================  ==============  =======  ===================================================================
``bold``             (tr, column)    float32  raw units, unless the settings ask for cleaning
``run``              (tr)            int64    1, 2, ...: nothing may be convolved or cut in windows across its edges
``onset``            (tr)            float64  seconds from volume 0 *of its run*
``sample_mask``      (tr)            bool     False: a censored volume, NaN in ``bold``; absent if there is none
``good``             (column)        bool     False: bad data, held as zeros (``bad="zero"``); never learn from these
``i j k``            (voxel)         int32    place of the voxel in the image
``region``           (region)        str      name of the region
``grayordinate``     (grayordinate)  int32    number of the row in the file, from 0; of a pair the left one's first
``structure``        (grayordinate)  str      ``CORTEX_LEFT``, ``CORTEX_RIGHT``, ``THALAMUS_LEFT``, ...
``vertex``           (grayordinate)  int32    number of the vertex in its structure; -1: a voxel, at ``i j k``
===================  ==============  =======  ===================================================================

``column`` is called ``voxel``, ``region`` or ``grayordinate``.
Its attributes say the ``tr``, who said it (``tr_source``: given, sidecar or header), and ``slice_time_ref``.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import nibabel as nib
import numpy as np
from pydantic import Field, model_validator

from giblet.config import Settings
from giblet.data.bold.atlas import Atlas
from giblet.data.bold.brain_images import BrainImage, image_of, labels_of, write_brain
from giblet.data.bold.brain_rows import CIFTI, GIFTI, ROWS, BrainRows, format_of
from giblet.data.bold.cleaning import BadColumns, clean_run, find_bad, judge
from giblet.data.bold.confounds import RunConfounds, Table, empty_volumes, per_run, read_confounds, tell_censored
from giblet.data.bold.grayordinates import cifti_series
from giblet.data.bold.row_masks import RowMask, read_row_mask
from giblet.data.bold.scan import Scan, region_means, room_for, space_of
from giblet.data.bold.scan_timing import HeaderTR, ScanTiming, header_tr, scan_timing
from giblet.data.bold.surfaces import hemispheres, surface_series
from giblet.data.bold.tables import chosen_columns, is_table, read_table
from giblet.data.bold.volumes import check_grid, read_mask, series_of, voxels_in
from giblet.errors import InputError
from giblet.files import check_there, sha256_of

if TYPE_CHECKING:
    import xarray as xr

log = logging.getLogger(__name__)

CLEANING = {"detrend", "high_pass", "standardize"}
Confounds = Table | tuple[Any, Any]
"""A table, or table and sample mask as nilearn's ``load_confounds`` returns them."""
Expect = Callable[[int, float], None]
"""What is told how many volumes a run has, and its TR in seconds, before its numbers are read."""


class BoldSettings(Settings):
    """Options for reading a scan as BOLD. By default nothing is taken out of the data and nothing is scaled."""

    tr: float | None = Field(None, gt=0, allow_inf_nan=False, description="repetition time, s; default: the header's")
    overrule_tr: bool = Field(False, description="tr holds whatever the scan's header and sidecar say")
    slice_time_ref: float | None = Field(
        None, ge=0, le=1, allow_inf_nan=False,
        description="moment of the TR that slices were brought to, as a fraction; default: the sidecar's, else 0",
    )  # fmt: skip
    background_label: int | None = Field(None, description="what an atlas holds where there is no region; default: 0")
    columns: tuple[str, ...] | None = Field(None, description="columns of a table to read; default: all")
    decimal: Literal[".", ","] = Field(".", description="decimal sign of tables; confounds may have points alone")
    confound_columns: tuple[str, ...] | None = Field(None, description="confounds to remove: names or patterns")
    detrend: bool = Field(False, description="take out mean and straight line, in each run")
    high_pass: float | None = Field(None, gt=0, description="take out drifts slower than this, Hz; 1/128 is usual")
    standardize: bool = Field(False, description="mean 0, deviation 1 over each whole run, test volumes included")
    bad: Literal["error", "mask", "zero"] = Field("error", description="what becomes of NaN and constant voxels")

    @model_validator(mode="after")
    def _overruled_by_something(self) -> BoldSettings:
        if self.overrule_tr and self.tr is None:
            raise ValueError("overrule_tr is on and tr is not given; pass the tr that holds, in seconds")
        return self


class FMRIProcessor:
    """Reads BOLD of one subject from NIfTI, CIFTI, GIFTI or region tables, and writes values back into the same space.

    Parameters
    ----------
    mask : str or Path, optional
        Not 0 inside the brain, in the space of the scan: a 3-D image on its voxels; for CIFTI and GIFTI a map of either
        (``.dscalar.nii``, ``.dlabel.nii``, one of a pair of ``.shape.gii`` or ``.label.gii``). NIfTI needs this or
        `atlas`; the others are read whole without.
    atlas : str or Path, optional
        Labels in the space of the scan: the mean of each region is read. A 3-D image on its voxels; for CIFTI and GIFTI
        ``.dlabel.nii`` or one of a pair of ``.label.gii``. With `mask`, what is outside it belongs to no region.
    labels : mapping of int to str, optional
        Names of the atlas's labels, no two the same; others have the name of the file's own table of labels, or are
        called ``"label-7"``.
    tr : float, optional
        Repetition time in seconds. By default what the sidecar says (``RepetitionTime`` in ``x_bold.json`` beside
        ``x_bold.nii.gz`` or ``x_bold.tsv``), or the image's header. A sidecar or a header that says otherwise is an
        error; one that says nothing is not, nor a header of 1 s, which libraries write where nobody set a TR: of that
        one a warning tells.
    overrule_tr : bool
        `tr` holds, and nobody else is asked: for headers and sidecars that are wrong.
    slice_time_ref : float, optional
        The moment of each TR that slice-time correction brought the volume to, as a fraction of the TR from 0 to 1,
        as in nilearn; by default the sidecar's ``StartTime`` over the TR, or 0 where it has none.
    background_label : int, optional
        What `atlas` holds where there is no region, as in nilearn; by default 0, unless it holds negative numbers:
        then it must be said.
    columns : sequence of str, optional
        Which columns of a table, or parcels of ``.ptseries.nii``, are read, as names or shell patterns; all by default,
        unless a column of a table counts volumes or runs: then they must be said.
    decimal : {".", ","}
        Decimal sign in tables of regions, and in files of confounds, unless all their numbers have points.
    confound_columns : sequence of str, optional
        Which confounds are removed, as names or shell patterns such as ``"trans_?"``. Columns that mark single volumes
        (``"motion_outlier*"``, ``"non_steady_state_outlier*"``) censor these, and need not be in every run.
    detrend : bool
        Take mean and straight line out of each run.
    high_pass : float, optional
        In Hz: take out drifts that are slower, with cosines as fMRIPrep and SPM do, in each run.
    standardize : bool
        Scale each run to mean 0 and deviation 1. That uses all volumes of the run, those of a test set too; to learn
        and to test within one run, leave it off and normalise on training TRs (:mod:`giblet.data.dataset.normalise`).
    bad : {"error", "mask", "zero"}
        For voxels or regions that hold NaN or infinity, never change within a run, or of which cleaning leaves nothing,
        in the volumes that are not censored: refuse the scan; leave them out; or keep their place with zeros and
        ``good`` False. Bad voxels never enter the mean of an atlas region.

    Raises
    ------
    InputError
        If an option, the mask or the atlas cannot be used.

    Notes
    -----
    Images are read in blocks of volumes, so that memory holds the voxels of the mask in float32 and one block. An
    uncompressed ``.nii`` is memory-mapped; a ``.nii.gz`` is unpacked once, from start to end, where its check sum
    stands. Cleaning is nilearn's ``signal.clean``: one regression for line, drifts and confounds together, which keeps
    the mean unless `detrend` or `standardize` takes it out [1]_. It is fitted, run by run, to the volumes that are not
    censored, and must leave at least one degree of freedom, the mean counted; below 20, or a fifth of the volumes, a
    warning tells.

    Censored are volumes that confounds mark, that nilearn's ``sample_mask`` leaves out, and that hold no number at all
    (``n/a`` in every column of a table). They keep their place in ``bold``, wholly NaN, and are False in
    ``sample_mask``.

    References
    ----------
    .. [1] M. A. Lindquist, S. Geuter, T. D. Wager, B. S. Caffo (2019), Modular preprocessing pipelines can reintroduce
       artifacts into fMRI data, Human Brain Mapping 40, 2358-2376.

    Examples
    --------
    >>> fmri = FMRIProcessor(mask="sub-01_desc-brain_mask.nii.gz", tr=1.5)  # doctest: +SKIP
    >>> bold = fmri.load(["sub-01_run-1_bold.nii.gz", "sub-01_run-2_bold.nii.gz"])  # doctest: +SKIP
    >>> fmri.to_image(bold.bold.mean("tr"), bold, "mean.nii.gz")  # doctest: +SKIP

    A pair of GIFTI files is named by either of them; the other one is found beside it.

    >>> surface = FMRIProcessor(atlas="Schaefer_hemi-L.label.gii")  # doctest: +SKIP
    >>> bold = surface.load("sub-01_hemi-L_space-fsaverage5_bold.func.gii")  # doctest: +SKIP
    """

    # 14 parameters: the 10 settings by name, as the configuration of a training has them too, and what they apply to.
    def __init__(
        self,
        mask: str | Path | None = None,
        atlas: str | Path | None = None,
        *,
        labels: Mapping[int, str] | None = None,
        tr: float | None = None,
        overrule_tr: bool = False,
        slice_time_ref: float | None = None,
        background_label: int | None = None,
        columns: Sequence[str] | None = None,
        decimal: str = ".",
        confound_columns: Sequence[str] | None = None,
        detrend: bool = False,
        high_pass: float | None = None,
        standardize: bool = False,
        bad: str = "error",
    ) -> None:
        self.settings = BoldSettings.make(
            tr=tr,
            overrule_tr=overrule_tr,
            slice_time_ref=slice_time_ref,
            background_label=background_label,
            columns=columns,
            decimal=decimal,
            confound_columns=confound_columns,
            detrend=detrend,
            high_pass=high_pass,
            standardize=standardize,
            bad=bad,
        )
        self.mask: np.ndarray | None = None
        self.affine: np.ndarray = np.eye(4)
        self.row_mask: RowMask | None = None
        if mask is not None and format_of(mask) in (CIFTI, GIFTI):
            self.row_mask = read_row_mask(Path(mask))
        elif mask is not None:
            self.mask, self.affine = read_mask(mask)
        self.atlas: Atlas | None = None
        if atlas is not None:
            self.atlas = Atlas.read(atlas, labels, background_label)
            if self.mask is not None and self.atlas.rows is None:
                check_grid(
                    self.atlas.labels.shape, self.atlas.affine, self.mask.shape, self.affine, "the atlas", "the mask"
                )
            self.affine = self.atlas.affine

    def with_mask(self, mask: np.ndarray) -> FMRIProcessor:
        """The same with another mask, on the same voxels or rows.

        Parameters
        ----------
        mask : ndarray of bool, shape (x, y, z) or (n_rows,)
            True for the voxels, or the rows of CIFTI and GIFTI, that are read.

        Returns
        -------
        FMRIProcessor
        """
        other = copy(self)
        if mask.ndim == 1:
            other.row_mask = RowMask(mask)
        else:
            other.mask = mask
        return other

    def load(
        self,
        runs: str | Path | Sequence[str | Path],
        *,
        confounds: Confounds | Sequence[Confounds] | None = None,
        subject: str | None = None,
        unused: Sequence[np.ndarray] | None = None,
        expect: Expect | None = None,
    ) -> xr.Dataset:
        """Read BOLD of one subject.

        Parameters
        ----------
        runs : path or sequence of paths
            One for each run, in the order of the runs, all of one format: 4-D NIfTI, CIFTI (``.dtseries.nii``,
            ``.ptseries.nii``), a file of a pair of GIFTI (``hemi-L``; ``hemi-R`` is found beside it), or a table (.tsv,
            .csv; columns = regions).
        confounds : path, table or sequence of these, optional
            One for each run; or what nilearn's ``load_confounds`` returns, tables and sample masks.
        subject : str, optional
            With or without ``sub-``; by default what the file's name says after it.
        unused : sequence of ndarray of bool, shape (n_volumes,), optional
            By run, True: what is bad there costs no voxel or region its place. NaN stay.
        expect : callable, optional
            Called with how many volumes each run has, and the TR in seconds, when headers are read and before their
            numbers are; what it raises is raised.

        Returns
        -------
        xarray.Dataset
            See the head of this module.

        Raises
        ------
        InputError
            If a file cannot be read or does not fit mask, TR or confounds, the runs differ, data are bad, or nothing is
            left of them.

        See Also
        --------
        giblet.data.bold.scan.load_bold : BOLD that is in a file already.
        """
        paths = [Path(p) for p in ([runs] if isinstance(runs, (str, Path)) else runs)]
        scan = self.scan(paths, expect)
        tables = self._confounds(confounds, scan.runs)
        for path, run, table in zip(paths, scan.runs, tables, strict=True):
            tell_censored(path, run, table)
        scan = replace(scan, keep=[table.sample_mask for table in tables])
        scan = self._clean(self._without_bad(scan, paths[0].name, unused), tables, paths)
        about = {
            "subject": subject.removeprefix("sub-") if subject else _subject_of(paths[0]),
            "n_confounds": max(table.regressors.shape[1] for table in tables),
        }
        return scan.dataset(paths, {**scan.attrs, **about}, self.settings.model_dump(mode="json"))

    def scan(self, paths: Sequence[Path], expect: Expect | None = None) -> Scan:
        """The runs as they stand in their files: nothing is judged, averaged or cleaned.

        Parameters
        ----------
        paths : sequence of Path
        expect : callable, optional
            As for :meth:`load`.

        Returns
        -------
        Scan
            With an atlas, of the voxels or rows of its regions.

        Raises
        ------
        InputError
            If a file cannot be read or does not fit mask or TR, or the runs differ.
        """
        if not paths:
            raise InputError("there is no run to load; name at least one image or table")
        for path in paths:
            check_there(path, "scan")
            if not is_table(path) and not format_of(path):
                raise InputError(
                    f"{path.name} is no scan that giblet reads; expected NIfTI (.nii or .nii.gz), CIFTI "
                    "(.dtseries.nii, .ptseries.nii), one of a pair of GIFTI (.func.gii), or a table of "
                    "regions (.tsv or .csv) with a header; write it as one of these"
                )
        kinds = {"table" if is_table(path) else format_of(path) for path in paths}
        if len(kinds) > 1:
            told = " and ".join(sorted(kinds))
            some = "some runs are tables, some images" if "table" in kinds else f"the runs are of {told}"
            raise InputError(f"{some}: load one kind at a time")
        kind = kinds.pop()
        read = self._read_rows if kind in (CIFTI, GIFTI) else self._read_images
        if kind == "table":
            read = self._read_tables
        return read(list(paths), expect)

    def to_image(
        self, values: Any, like: xr.Dataset, path: str | Path | None = None, *, names: Sequence[str] | None = None,
        outside: float = 0.0, labels: Mapping[int, str] | None = None,
    ) -> BrainImage:  # fmt: skip
        """Put values of columns into an image of the space that the scan is in.

        Parameters
        ----------
        values : array_like, shape (n_columns,) or (n_trs, n_columns) or (n_maps, n_columns)
            One map, or several with `names`, or one for each volume; columns as in ``like.bold``.
        like : xarray.Dataset
            BOLD that :meth:`load` gave, or read back from its file.
        path : str or Path, optional
            Also write it there, whole or not at all: ``.nii`` or ``.nii.gz``; for CIFTI ``.dscalar.nii``,
            ``.dtseries.nii``, ``.pscalar.nii`` or ``.ptseries.nii``, as the values are; for GIFTI ``.func.gii``, with
            the hemisphere in its name: both are written.
        names : sequence of str, optional
            Of the maps, which CIFTI and GIFTI keep.
        outside : float
            What stands where there is no column.
        labels : mapping of int to str, optional
            `values` are labels (one map of whole numbers), and these their names: they become an image of labels, int32
            and 0 outside, named ``.dlabel.nii`` for CIFTI and ``.label.gii`` for GIFTI.

        Returns
        -------
        Nifti1Image, Cifti2Image or dict of str to GiftiImage
            float32, labels int32. A NIfTI image lies on the scan's affine, (x, y, z) or (x, y, z, n_trs). A CIFTI image
            has all rows of the scan's file and a header of its own. GIFTI are two, ``"L"`` and ``"R"``, with an array
            for each map or volume. NaN for bad columns that ``bad="zero"`` kept. Each place of an atlas region has its
            value.

        Raises
        ------
        InputError
            If `values` do not fit `like`, which came from a table, or from an atlas that this processor does not have,
            or the image cannot be written.

        See Also
        --------
        to_nifti : The same, for NIfTI alone.
        """
        atlas, mask = (None if self.atlas is None else self.atlas.labels), self.mask
        if ROWS in like.attrs and "label" in like.coords:
            rows = BrainRows.from_text(like.attrs[ROWS])
            atlas = None
            if self.atlas is not None and self.atlas.rows is not None:
                atlas, regions = self.atlas.on(rows, "the scan")
                mask = regions & self._rows_inside(rows, "the scan")
        if labels is not None:
            image = labels_of(values, like, labels, atlas=atlas, mask=mask, name=names[0] if names else "labels")
        else:
            image = image_of(values, like, atlas=atlas, mask=mask, names=names, outside=outside)
        if path is not None:
            write_brain(image, path)
        return image

    def to_nifti(self, values: Any, like: xr.Dataset, path: str | Path | None = None) -> nib.Nifti1Image:
        """Put values of voxels or atlas regions into a NIfTI image on the voxels of the scan.

        Parameters
        ----------
        values : array_like, shape (n_columns,) or (n_trs, n_columns)
            As for :meth:`to_image`.
        like : xarray.Dataset
            BOLD of NIfTI.
        path : str or Path, optional
            Also write it there.

        Returns
        -------
        Nifti1Image of float32, shape (x, y, z) or (x, y, z, n_trs)

        Raises
        ------
        InputError
            As :meth:`to_image`, or if the scan is CIFTI or GIFTI.

        See Also
        --------
        to_image : For scans of any format.
        """
        if ROWS in like.attrs:
            kind = BrainRows.from_text(like.attrs[ROWS]).format
            raise InputError(f"{like.attrs['source']} is {kind}, whose values have no place in NIfTI; use to_image")
        image = self.to_image(values, like, path)
        assert isinstance(image, nib.Nifti1Image)
        return image

    def _read_tables(self, paths: list[Path], expect: Expect | None) -> Scan:
        """All columns of tables."""
        timing = self._timing(paths, None)
        frames = [read_table(path, self.settings.columns, decimal=self.settings.decimal) for path in paths]
        names = list(frames[0].columns)
        for path, frame in zip(paths, frames, strict=True):
            if list(frame.columns) != names:
                raise InputError(f"{path.name} has other columns than {paths[0].name}: {', '.join(frame.columns[:5])}")
            if len(frame) < 2:
                raise InputError(f"{path.name} has {len(frame)} row; expected a series of at least 2")
        _tell(expect, [len(frame) for frame in frames], timing)
        runs = [frame.to_numpy(np.float32, copy=True) for frame in frames]  # cleaning works in place
        return Scan(runs, np.ones(len(names), bool), [], timing, {"region": np.array(names)})

    def _read_images(self, paths: list[Path], expect: Expect | None) -> Scan:
        """All voxels of images that lie in the mask and the regions of the atlas."""
        inside = self.mask
        if self.row_mask is not None or (self.atlas is not None and self.atlas.rows is not None):
            raise InputError(f"{paths[0].name} is NIfTI, its mask or atlas is not: choose a 3-D image on its voxels")
        if self.atlas is not None:
            inside = self.atlas.regions & (True if self.mask is None else self.mask)
        if inside is None:
            raise InputError(
                "images need a mask or an atlas; pass fMRIPrep's *_desc-brain_mask.nii.gz, or a label image"
            )
        if not inside.any():
            raise InputError("no region of the atlas lies inside the mask: pass both in the space of the scan")
        images = [series_of(path) for path in paths]
        timing = self._timing(paths, [header_tr(image) for image in images])
        what = "the mask" if self.atlas is None else "the atlas"
        for image, path in zip(images, paths, strict=True):
            check_grid(inside.shape, self.affine, image.shape, image.affine, what, path.name)
        lengths = [image.shape[3] for image in images]
        _tell(expect, lengths, timing)
        runs = room_for(lengths, int(inside.sum()))
        for image, run in zip(images, runs, strict=True):
            voxels_in(image, inside, run)
        places = np.argwhere(inside).astype(np.int32)
        axis = dict(zip("ijk", places.T, strict=True))
        return Scan(runs, np.ones(len(places), bool), [], timing, axis, space_of(images[0], self.affine))

    def _read_rows(self, paths: list[Path], expect: Expect | None) -> Scan:
        """All rows of CIFTI or GIFTI that lie in the mask and the regions of the atlas."""
        if format_of(paths[0]) == GIFTI:
            _check_each_pair_once(paths)
        series = [(cifti_series if format_of(path) == CIFTI else surface_series)(path) for path in paths]
        rows = series[0].rows
        for one in series[1:]:
            if (told := rows.difference(one.rows)) is not None:
                raise InputError(f"{one.path.name} has {told} as {paths[0].name}: load runs of one space together")
        axis, attrs = rows.columns(), {ROWS: rows.to_text()}
        if rows.is_parcels and (self.atlas is not None or self.row_mask is not None or self.mask is not None):
            raise InputError(f"{paths[0].name} holds parcels already: leave out mask and atlas")
        if rows.is_parcels:
            names = axis["region"].tolist()
            wanted = self.settings.columns
            inside = np.isin(names, names if wanted is None else chosen_columns(names, wanted, paths[0].name))
        else:
            inside = self._rows_inside(rows, paths[0].name)
        if self.atlas is not None:
            inside &= self.atlas.on(rows, paths[0].name)[1]
        if not inside.any():
            raise InputError("no region of the atlas lies inside the mask: pass both in the space of the scan")
        timing = self._timing([file for one in series for file in one.files], [tr for one in series for tr in one.trs])
        lengths = [one.n_volumes for one in series]
        _tell(expect, lengths, timing)
        runs = room_for(lengths, int(inside.sum()))
        for one, run in zip(series, runs, strict=True):
            one.read(inside, run)
        axis = {name: values[inside] for name, values in axis.items()}
        if format_of(paths[0]) == GIFTI:
            others = [sha256_of(file) for one in series for file in one.files if file.name != one.path.name]
            attrs["other_hemisphere_sha256"] = others[0] if len(others) == 1 else json.dumps(others)
        return Scan(runs, np.ones(int(inside.sum()), bool), [], timing, axis, attrs)

    def _rows_inside(self, rows: BrainRows, scan: str) -> np.ndarray:
        """Rows of CIFTI or GIFTI that lie in the mask."""
        if self.mask is not None:
            raise InputError(
                f"the mask is a NIfTI image, {scan} is {rows.format}: choose one of the scan's space (.dscalar.nii, "
                ".dlabel.nii, .shape.gii or .label.gii), or none"
            )
        return np.ones(len(rows), bool) if self.row_mask is None else self.row_mask.on(rows, scan)

    def _timing(self, paths: list[Path], headers: list[HeaderTR] | None) -> ScanTiming:
        settings = self.settings
        return scan_timing(paths, headers, settings.tr, settings.slice_time_ref, settings.overrule_tr)

    def _confounds(self, given: Any, runs: list[np.ndarray]) -> list[RunConfounds]:
        columns = self.settings.confound_columns
        if given is None and columns:
            raise InputError("confound_columns are set, but no confounds were passed; name one file per run")
        return [
            read_confounds(table, len(run), columns, mask, decimal=self.settings.decimal, empty=empty_volumes(run))
            for (table, mask), run in zip(per_run(given, len(runs)), runs, strict=True)
        ]

    def _without_bad(self, scan: Scan, source: str, unused: Sequence[np.ndarray] | None) -> Scan:
        """The good columns of a scan, as it was taken; with an atlas the means of its regions."""
        policy, what = self.settings.bad, f"{scan.dim}s"
        judged = scan.keep if unused is None else [keep & ~no for keep, no in zip(scan.keep, unused, strict=True)]
        own = [k for k, rows in enumerate(judged) if rows.any() or unused is None]
        bad = find_bad([scan.runs[k] for k in own], [judged[k] for k in own])
        if n_censored := sum(int((~keep).sum()) for keep in scan.keep):
            source += f" without its {n_censored} censored volumes"
        good = judge(bad, policy, what, scan.name_of, source)
        scan = replace(scan, attrs={f"n_bad_{what}": int(bad.any.sum()), **scan.attrs})
        if what == "regions":
            return scan.settle(good, policy)
        if self.atlas is None:
            return scan.settle(good, policy)
        if ROWS in scan.attrs:
            rows = BrainRows.from_text(scan.attrs[ROWS])
            label = self.atlas.on(rows, source)[0][scan.axis["grayordinate"]]
        else:
            label = self.atlas.labels[tuple(scan.axis[axis] for axis in "ijk")]
        means, axis = region_means(scan.runs, good, label, self.atlas.wanted)
        axis["region"] = self.atlas.names_of(axis["label"])
        usable = axis["n_voxels"] > 0
        if not usable.all():
            gone = f"{source}: no usable voxel in {', '.join(axis['region'][~usable][:5])}"
            if policy == "error" or not usable.any():
                raise InputError(f"{gone}; widen the mask, or choose bad='mask' or 'zero'")
            log.warning("%s; %d regions in all", gone, (~usable).sum())
        return replace(scan, runs=means, good=np.ones(len(usable), bool), axis=axis).settle(usable, policy)

    def _clean(self, scan: Scan, confounds: list[RunConfounds], paths: list[Path]) -> Scan:
        """Drifts and confounds out of each run, and columns left out of which that leaves nothing."""
        options = self.settings.model_dump(include=CLEANING)
        if not any(options.values()) and not any(table.regressors.shape[1] for table in confounds):
            return scan
        for run, keep, table, path in zip(scan.runs, scan.keep, confounds, paths, strict=True):
            part = run if scan.good.all() else run[:, scan.good]
            taken = table.regressors if table.regressors.shape[1] else None
            clean_run(part, tr=scan.timing.tr, confounds=taken, keep=keep, source=path.name, **options)
            if part is not run:
                run[:, scan.good] = part
        alive = np.flatnonzero(scan.good)
        explained = find_bad(scan.runs, scan.keep).constant[alive]
        neither, what = np.zeros_like(explained), f"{scan.dim}s"
        good = scan.good.copy()
        good[alive] = judge(
            BadColumns(neither, neither, explained),
            self.settings.bad,
            what,
            lambda i: scan.name_of(alive[i]),
            paths[0].name,
        )
        return scan.settle(good, self.settings.bad)


def _check_each_pair_once(paths: list[Path]) -> None:
    """Refuse both files of a pair as two runs."""
    seen: dict[Path, Path] = {}
    for path in paths:
        left = hemispheres(path)["L"]
        if left in seen and seen[left] != path:
            raise InputError(
                f"{seen[left].name} and {path.name} are the hemispheres of one run: name one of them, the other is "
                "found beside it"
            )
        seen[left] = path


def _tell(expect: Expect | None, lengths: Sequence[int], timing: ScanTiming) -> None:
    if expect is not None:
        for n_volumes in lengths:
            expect(n_volumes, timing.tr)


def _subject_of(path: Path) -> str | None:
    found = re.search(r"sub-([A-Za-z0-9]+)", path.name)
    return found.group(1) if found else None
