"""From entities to runs: the scan, the mask and the confounds of each, and its clock."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from giblet.data.bids.choose import by_run, chosen, listed, nothing, numbered, one_per_run
from giblet.data.bids.files import (
    DESCRIPTION,
    OF_A_RUN,
    BidsFile,
    derivatives_folder,
    described,
    in_words,
    matching,
    scan_files,
    subjects_in,
)
from giblet.data.bids.sidecars import RunClock, Sidecars, clock_of
from giblet.errors import InputError, reading

log = logging.getLogger(__name__)

VOLUMES = (".nii.gz", ".nii")
"""Images of voxels, which need a mask."""
SCANS = (*VOLUMES, ".dtseries.nii", ".ptseries.nii", ".func.gii")
NON_STEADY = "non_steady_state_outlier"
"""Columns in which fMRIPrep marks the volumes at the beginning of a run that are brighter than the others."""


@dataclass(frozen=True)
class BidsRun:
    """A run that a query found."""

    entities: dict[str, str]
    """By key, the labels of its scan as they are written."""
    bold: Path
    """Of a pair of hemispheres, the left one."""
    right: Path | None
    """The right hemisphere."""
    mask: Path | None
    """Brain mask of the run in the same space."""
    confounds: Path | None
    dummy_scans: int
    """Volumes at its beginning that fMRIPrep found not to be in a steady state."""
    clock: RunClock

    @property
    def name(self) -> str:
        """Its entities in words."""
        return in_words(self.entities)


@dataclass(frozen=True)
class Given:
    """What the caller knows of the clock, and need not be found."""

    tr: float | None = None
    overrule_tr: bool = False
    slice_time_ref: float | None = None


def find_runs(
    root: str | Path, derivatives: str | Path | None, wanted: Mapping[str, Sequence[str]], *,
    given: Given | None = None, confounds: bool = False, masks: bool = True,
) -> dict[str, list[BidsRun]]:  # fmt: skip
    """The runs that entities mean.

    Parameters
    ----------
    root : str or Path
        Of the raw dataset.
    derivatives : str or Path, or None
        As for :func:`giblet.data.bids.files.derivatives_folder`.
    wanted : mapping of str to sequence of str
        By entity (:data:`giblet.data.bids.files.KEYS`) labels or patterns; what is not named may be anything, but for
        ``description``, which is that of preprocessed scans, and ``echo``, of which there is none.
    given : Given, optional
        What is taken instead of what sidecars say.
    confounds : bool
        Each run must have a table of confounds.
    masks : bool
        Each run of voxels must have a brain mask.

    Returns
    -------
    dict of str to list of BidsRun
        By label of the subject; runs in natural order.

    Raises
    ------
    InputError
        If nothing is found, a run has two files or lacks one, or its clock is not known.
    """
    root = Path(root)
    folder = derivatives_folder(root, None if derivatives is None else Path(derivatives))
    subjects = _subjects(folder, wanted.get("subject", ()))
    files = scan_files(folder, subjects)
    bold = [f for f in files if f.entities.get("suffix") == "bold" and f.entities.get("ext") in SCANS]
    if not bold:
        raise InputError(
            f"{folder} holds no BOLD of {listed([f'sub-{one}' for one in subjects])}: name subjects that it has"
        )
    scans = one_per_run(chosen(bold, wanted))
    beside = by_run([f for f in files if f.entities.get("suffix") != "bold"])
    own = Sidecars(folder)
    raw = None if root == folder or described_as_derivative(root) else Sidecars(root)
    found: dict[str, list[BidsRun]] = defaultdict(list)
    known = given or Given()
    for left, right in scans:
        others = beside.get(left.of_run(), [])
        table = _table_of(left, others, confounds)
        mask = _mask_of(left, others) if left.entities["ext"] in VOLUMES else None
        if mask is None and masks and left.entities["ext"] in VOLUMES:
            raise InputError(
                f"{in_words(left.entities)} has no brain mask beside {left.path.name}: name mask or atlas in "
                "each_subject"
            )
        clock = clock_of(
            left, own, raw, tr=known.tr, overrule_tr=known.overrule_tr, slice_time_ref=known.slice_time_ref
        )
        found[left.entities["sub"]].append(
            BidsRun(left.entities, left.path, right, mask, table, _non_steady(table), clock)
        )
    for missing in _missing(found):
        log.warning("%s", missing)
    return dict(found)


def described_as_derivative(root: Path) -> bool:
    """Whether a dataset says of itself that it holds preprocessed data.

    Parameters
    ----------
    root : Path

    Returns
    -------
    bool
    """
    return (root / DESCRIPTION).is_file() and described(root).get("DatasetType") == "derivative"


def _subjects(folder: Path, wanted: Sequence[str]) -> list[str]:
    there = subjects_in(folder)
    if not there:
        raise InputError(f"{folder} holds no subjects: there is no folder such as sub-01 in it")
    if not wanted:
        return there
    found = {one: matching(one.removeprefix("sub-"), there) for one in wanted}
    for one, labels in found.items():
        if not labels:
            raise InputError(nothing("subject", one, there, f" in {folder}"))
    every = set().union(*found.values())
    return [label for label in there if label in every]


def _mask_of(scan: BidsFile, others: Sequence[BidsFile]) -> Path | None:
    """The brain mask in the space of a scan."""
    same = ("space", "res", "den")
    found = [
        one for one in others
        if one.entities.get("suffix") == "mask" and one.entities.get("desc", "brain") == "brain"
        and one.entities.get("ext") in VOLUMES
        and all(one.entities.get(key, "") == scan.entities.get(key, "") for key in same)
    ]  # fmt: skip
    if len(found) > 1:
        raise InputError(
            f"{in_words(scan.entities)} has {len(found)} brain masks, {listed([one.path.name for one in found])}: move "
            "all but one away"
        )
    return found[0].path if found else None


def _table_of(scan: BidsFile, others: Sequence[BidsFile], needed: bool) -> Path | None:
    """The table of confounds of a run."""
    found = [
        one.path for one in others
        if one.entities.get("suffix") in ("timeseries", "regressors") and one.entities.get("desc") == "confounds"
        and one.entities.get("ext") == ".tsv" and not one.entities.get("echo")
    ]  # fmt: skip
    if len(found) > 1:
        raise InputError(
            f"{in_words(scan.entities)} has {len(found)} tables of confounds, {listed([path.name for path in found])}: "
            "move all but one away"
        )
    if not found and needed:
        raise InputError(
            f"{in_words(scan.entities)} has no confounds: there is no *_desc-confounds_timeseries.tsv of it in "
            f"{scan.path.parent}; leave out confound_strategy and confound_columns, or the run"
        )
    return found[0] if found else None


def _non_steady(table: Path | None) -> int:
    """Volumes that a table of confounds marks at the beginning of the run."""
    if table is None:
        return 0
    with reading(table), table.open(encoding="utf-8-sig") as file:
        header = file.readline()
    return sum(name.strip().startswith(NON_STEADY) for name in header.split("\t"))


def _missing(found: Mapping[str, Sequence[BidsRun]]) -> Iterator[str]:
    """Runs that some subjects have and one lacks."""
    has = {subject: {numbered(run.entities): run for run in runs} for subject, runs in found.items()}
    every = {numbers: run for runs in has.values() for numbers, run in runs.items()}
    for subject, own in has.items():
        for numbers, run in every.items():
            if numbers not in own:
                yield f"sub-{subject} has no {in_words(run.entities, OF_A_RUN[1:])}, which another subject has"
