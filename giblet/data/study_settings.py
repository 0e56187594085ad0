"""Settings of the data of a study: subjects, their runs, how scans are read, and what is held out.

Paths in a configuration file are relative to the folder in which the command runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from giblet.config import Settings
from giblet.data.bids.settings import BidsSettings
from giblet.data.bold.strategies import Strategy
from giblet.data.splits import HRF_SECONDS
from giblet.errors import InputError
from giblet.storage import bring
from giblet.timing import same_tr, shown
from giblet.urls import mirror_of

if TYPE_CHECKING:
    from giblet.data.fmri import FMRIProcessor

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]


def bring_files(settings: Settings, *, needed: bool = True) -> None:
    """Copy here what settings name by URLs: files with what belongs to them by name, and whole folders.

    Parameters
    ----------
    settings : Settings
        Of data; with settings within them. Their ``output`` is left alone.
    needed : bool
        Whether a file that is not there is an error.

    Raises
    ------
    InputError
        If one is not there, or its storage cannot be reached.
    """

    def inside(name: str, value: Any) -> None:
        if isinstance(value, Settings):
            for inner, one in value:
                inside(inner, one)
        elif isinstance(value, Mapping):
            for one in value.values():
                inside(name, one)
        elif isinstance(value, tuple):
            for one in value:
                inside(name, one)
        elif isinstance(value, Path) and name != "output" and mirror_of(value) is not None:
            bring(value, needed=needed, folder=True)
            if name in ("bold", "mask", "atlas"):
                bring_companions([value])

    inside("", settings)


def bring_companions(scans: Iterable[str | Path | None]) -> None:
    """Copy here what belongs to scans, masks and atlases at URLs by their names: sidecars and other hemispheres.

    Parameters
    ----------
    scans : iterable of path or None
        In a mirror, see :mod:`giblet.urls`; others are left alone.

    Raises
    ------
    InputError
        If a storage cannot be reached.
    """
    from giblet.data.bold.surfaces import companions

    for scan in scans:
        if scan is not None and mirror_of(scan) is not None:
            for beside in companions(Path(scan)):
                bring(beside, needed=False)


class RunSettings(Settings):
    """One run of one subject: the scan, and the features of what was shown in it."""

    renamed: ClassVar = {"start_offset": "stimulus_time_at_volume_0"}

    bold: Path = Field(description="NIfTI, CIFTI, one of a pair of GIFTI (hemi-L), or a table of regions")
    audio: Path | None = Field(None, description="feature file of the sound (giblet extract)")
    video: Path | None = Field(None, description="feature file of the picture")
    text: Path | None = Field(None, description="feature file of the words")
    mask: Path | None = Field(None, description="brain mask of this run: what lies in the masks of all runs is read")
    confounds: Path | None = Field(None, description="fMRIPrep's confounds table")
    dummy_scans: int = Field(0, ge=0, description="volumes at its beginning that are left out, and keep their place")
    stimulus_time_at_volume_0: float = Field(0.0, allow_inf_nan=False, description="second of the stimulus at volume 0")
    on_short_bold: Literal["error", "trim"] = Field(
        "error", description="a scan that ended before the stimulus: refuse it, or leave out what was not scanned"
    )


class SubjectSettings(Settings):
    """One subject: its runs, in order, and how its scans are read (see FMRIProcessor)."""

    name: str = Field(min_length=1, pattern=r"^[A-Za-z0-9_-]+$", description="letters, digits, - and _")
    runs: tuple[RunSettings, ...] = Field(min_length=1, description="in the order in which they are split")
    mask: Path | None = Field(None, description="brain mask in the space of the scan; NIfTI needs it, or an atlas")
    atlas: Path | None = Field(None, description="labels in the space of the scan: the means of regions are read")
    background_label: int | None = Field(None, description="what the atlas holds where there is no region; default: 0")
    columns: tuple[str, ...] | None = Field(None, description="columns of a table to read; default: all")
    decimal: Literal[".", ","] = Field(".", description="decimal sign of tables; confounds may have points alone")
    confound_columns: tuple[str, ...] | None = Field(None, description="confounds to remove: names or patterns")
    confound_strategy: Strategy | None = Field(
        None, description="or nilearn's choice of fMRIPrep's confounds, and of volumes to leave out"
    )
    confound_options: dict[str, Any] = Field({}, description="what nilearn's strategy takes, such as fd_threshold")
    detrend: bool = Field(False, description="take mean and straight line out of each run")
    high_pass: Positive | None = Field(None, description="take out drifts slower than this, Hz")
    slice_time_ref: Share | None = Field(
        None, description="part of the TR that slices were brought to; default: StartTime of the scans' sidecars, or 0"
    )
    tr: Positive | None = Field(None, description="repetition time of the scans, s; default: they say it")
    overrule_tr: bool = Field(False, description="the TR that is given holds, whatever headers and sidecars say")
    bad: Literal["error", "mask"] = Field("error", description="NaN and constant voxels: refuse, or leave out")

    @model_validator(mode="after")
    def _one_choice_of_confounds(self) -> SubjectSettings:
        if self.confound_strategy is not None and self.confound_columns:
            raise ValueError(
                f"confound_strategy is {self.confound_strategy!r} and confound_columns name columns too: leave out one"
            )
        if self.confound_options and self.confound_strategy is None:
            raise ValueError(
                "confound_options are for a confound_strategy, and there is none: set one, or leave them out"
            )
        if self.confound_strategy is not None and (lacks := [run for run in self.runs if run.confounds is None]):
            raise ValueError(
                f"confound_strategy is {self.confound_strategy!r}, and the run of {lacks[0].bold} has no confounds: "
                "name their file"
            )
        return self

    def processor(self, tr: float | None) -> FMRIProcessor:
        """What reads this subject's scans.

        Parameters
        ----------
        tr : float or None
            Repetition time in seconds; None: the subject's, or that which the scans say.

        Returns
        -------
        FMRIProcessor

        Raises
        ------
        InputError
            If an option, a mask or the atlas cannot be used, or the subject's TR is another one.
        """
        from giblet.data.fmri import FMRIProcessor

        if tr is not None and self.tr is not None and not same_tr(tr, self.tr) and not self.overrule_tr:
            raise InputError(
                f"the scans of subject {self.name} have TR {shown(self.tr)} s, and {shown(tr)} s is asked for: extract "
                f"features with tr={shown(self.tr)}, or set overrule_tr of the subject if that of the scans is wrong"
            )
        masks = [mask for mask in (self.mask, *(run.mask for run in self.runs)) if mask is not None]
        fmri = FMRIProcessor(
            masks[0] if masks else None, self.atlas, tr=self.tr if tr is None else tr, overrule_tr=self.overrule_tr,
            slice_time_ref=self.slice_time_ref, background_label=self.background_label, columns=self.columns,
            decimal=self.decimal, confound_columns=self.confound_columns, detrend=self.detrend,
            high_pass=self.high_pass, bad=self.bad_when_read,
        )  # fmt: skip
        return fmri.with_mask(_in_all(masks)) if len(masks) > 1 else fmri

    def confounds_of(
        self, scans: Sequence[Path | None], tables: Sequence[Path | None], dummy_scans: Sequence[int]
    ) -> list[Any] | None:
        """Confounds, as :meth:`giblet.data.fmri.FMRIProcessor.load` takes them.

        Parameters
        ----------
        scans : sequence of Path
            One for each run.
        tables : sequence of Path or None
            Tables of confounds of the same runs.
        dummy_scans : sequence of int
            Volumes that are left out at the beginning of each.

        Returns
        -------
        list of tuple, or None
            Table and sample mask of each run; None where there is nothing to remove.

        Raises
        ------
        InputError
            If a table does not fit the strategy.
        """
        from giblet.data.bold.strategies import strategy_confounds

        if not any(tables) and not any(dummy_scans):
            return None
        found: list[Any] = []
        for scan, table, n in zip(scans, tables, dummy_scans, strict=True):
            if self.confound_strategy is not None and scan is not None and table is not None:
                found.append(strategy_confounds(table, scan, self.confound_strategy, self.confound_options, n))
            else:
                found.append((table, slice(n, None) if n else None))
        return found

    def confounds(self) -> list[Any] | None:
        """Confounds of all runs, as :meth:`giblet.data.fmri.FMRIProcessor.load` takes them.

        Returns
        -------
        list of tuple, or None

        Raises
        ------
        InputError
            As for :meth:`confounds_of`.
        """
        runs = self.runs
        return self.confounds_of(
            [run.bold for run in runs], [run.confounds for run in runs], [run.dummy_scans for run in runs]
        )

    @property
    def bad_when_read(self) -> str:
        """What :class:`giblet.data.fmri.FMRIProcessor` does with bad voxels."""
        return self.bad


def _in_all(masks: Sequence[Path]) -> np.ndarray:
    """Voxels that lie in all masks, which are on the same voxels."""
    from giblet.data.bold.volumes import check_grid, read_mask

    first, affine = read_mask(masks[0])
    inside = first.copy()
    for path in masks[1:]:
        other, own = read_mask(path)
        check_grid(other.shape, own, first.shape, affine, path.name, masks[0].name)
        inside &= other
    if not inside.any():
        raise InputError(f"no voxel lies in all {len(masks)} masks, {masks[0].name} and others: are they of one space?")
    return inside


class DataSettings(Settings):
    """The subjects, and how their TRs are split."""

    bids: BidsSettings | None = Field(
        None, exclude=True, description="in place of subjects: those that a BIDS dataset has"
    )
    subjects: tuple[SubjectSettings, ...] = Field(min_length=1)
    fractions: tuple[Share, Share, Share] = Field((0.8, 0.1, 0.1), description="of train, validation and test; sum 1")
    gap: float = Field(HRF_SECONDS, ge=0, description="s left out where a cut falls within a run")
    whole_runs: bool = Field(False, description="cut between runs only")
    split: Literal["stimulus", "subject"] = Field(
        "stimulus", description="stimulus: a second of film is in one part for all who saw it; subject: each by itself"
    )
    centre_runs: bool = Field(True, description="take out of BOLD and features the level of each run")

    @model_validator(mode="before")
    @classmethod
    def _subjects_of_bids(cls, values: Any) -> Any:
        if not isinstance(values, dict) or values.get("bids") is None:
            return values
        if values.get("subjects"):
            raise ValueError("bids and subjects both say which scans are read: leave out one")
        query = values["bids"]
        try:
            if not isinstance(query, BidsSettings):
                query = BidsSettings.make(**query) if isinstance(query, dict) else query
            subjects = query.subjects()
        except InputError as exc:
            raise ValueError(f"bids: {exc}") from exc
        return {**values, "bids": None, "subjects": subjects}

    @model_validator(mode="after")
    def _each_subject_once(self) -> DataSettings:
        names = [subject.name.removeprefix("sub-") for subject in self.subjects]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"subject {twice[0]} is listed twice: put all its runs under one name")
        return self
