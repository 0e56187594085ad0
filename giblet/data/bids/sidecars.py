"""What the JSON sidecars of a scan say, by the rule of inheritance, and the clock that follows from it.

A sidecar holds for all files whose name has its suffix and all its labels, in its folder and below. Where several say
the same, the one deeper down holds, and in one folder the one that names more labels. A preprocessed scan inherits
within its own dataset. What is not said there is asked of the raw scan of the same run, with what that inherits: the
top of the raw dataset alone is nobody's sidecar.
"""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from giblet.data.bids.files import BidsFile, bids_file, in_words, same_label
from giblet.errors import InputError
from giblet.files import read_json
from giblet.timing import check_tr, exact, same_tr, shown

TR, START, REF, CORRECTED = "RepetitionTime", "StartTime", "SliceTimingRef", "SliceTimingCorrected"
DISCARDED = ("NumberOfVolumesDiscardedByScanner", "NumberOfVolumesDiscardedByUser")
USED = {TR, START, REF, CORRECTED, *DISCARDED}
ROUNDED = Fraction(1, 1000)
"""Seconds by which StartTime, written to the millisecond, may lie behind the end of the TR."""


class Said(NamedTuple):
    """What all sidecars of a scan say together."""

    values: dict[str, Any]
    sources: dict[str, Path]
    """By key, the file that says it."""


class RunClock(NamedTuple):
    """The clock of a run, and who said it."""

    tr: float
    """Seconds."""
    tr_source: Path | None
    """None: it was given."""
    slice_time_ref: float
    """Moment of the TR that its volume shows, as a fraction of the TR."""
    slice_time_source: Path | None
    """None: it was given, or nobody says it and volumes show the onset of their TR."""
    discarded: int
    """Volumes that scanner and user left out before volume 0 of the file."""


class Sidecars:
    """The sidecars of one dataset.

    Parameters
    ----------
    folder : Path
        Of the dataset: nothing above it is read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._in: dict[Path, list[BidsFile]] = {}
        self._scans: dict[Path, list[BidsFile]] = {}
        self._read: dict[Path, dict[str, Any]] = {}

    def of(self, scan: BidsFile) -> Said:
        """What holds for a scan.

        Parameters
        ----------
        scan : BidsFile
            Of this dataset.

        Returns
        -------
        Said

        Raises
        ------
        InputError
            If a sidecar cannot be read, or two of the same rank contradict.
        """
        parts = scan.path.parent.relative_to(self.folder).parts
        values: dict[str, Any] = {}
        sources: dict[str, Path] = {}
        ranks: dict[str, tuple[int, int]] = {}
        torn: dict[str, str] = {}
        for depth in range(len(parts) + 1):
            for one in self._jsons(self.folder.joinpath(*parts[:depth])):
                if not _holds_for(one.entities, scan.entities):
                    continue
                rank = (depth, len(one.entities))
                for key, value in self._content(one.path).items():
                    if ranks.get(key) != rank:
                        torn.pop(key, None)
                    elif values[key] != value:
                        torn[key] = (
                            f"{sources[key].name} and {one.path.name} in {one.path.parent} both hold for "
                            f"{scan.path.name}, and say {key} {values[key]!r} and {value!r}: correct one of them"
                        )
                    values[key], sources[key], ranks[key] = value, one.path, rank
        for key in sorted(USED & torn.keys()):
            raise InputError(torn[key])
        return Said(values, sources)

    def of_raw_run(self, scan: BidsFile, folder: Path) -> Said | None:
        """What holds for the raw scan of the run that a preprocessed scan was made of.

        Parameters
        ----------
        scan : BidsFile
            Of the dataset `folder`.
        folder : Path

        Returns
        -------
        Said or None
            None where this dataset has no such run.

        Raises
        ------
        InputError
            As for :meth:`of`.
        """
        place = self.folder / scan.path.parent.relative_to(folder)
        if place not in self._scans:
            self._scans[place] = [bids_file(place / name) for name in _names(place) if "_bold." in name]
        for one in self._scans[place]:
            if all(map(same_label, one.of_run(), scan.of_run())):
                return self.of(one)
        return None

    def _jsons(self, folder: Path) -> list[BidsFile]:
        """Sidecars of BOLD in a folder, those with fewer labels first."""
        if folder not in self._in:
            found = [bids_file(folder / name) for name in _names(folder) if name.endswith("bold.json")]
            found = [one for one in found if one.entities["suffix"] == "bold"]
            self._in[folder] = sorted(found, key=lambda one: len(one.entities))
        return self._in[folder]

    def _content(self, path: Path) -> dict[str, Any]:
        if path not in self._read:
            self._read[path] = read_json(path)
        return self._read[path]


def _names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder)) if folder.is_dir() else []


def _holds_for(sidecar: dict[str, str], scan: dict[str, str]) -> bool:
    """Whether a scan has all the labels of a sidecar."""
    for key, label in sidecar.items():
        own = scan.get(key, "")
        if key != "ext" and own != label and not same_label(own, label):
            return False
    return True


def clock_of(
    scan: BidsFile, own: Sidecars, raw: Sidecars | None, *, tr: float | None = None, overrule_tr: bool = False,
    slice_time_ref: float | None = None,
) -> RunClock:  # fmt: skip
    """The clock of a scan.

    Parameters
    ----------
    scan : BidsFile
    own : Sidecars
        Of its dataset.
    raw : Sidecars or None
        Of the raw dataset, which is asked for what the own one does not say.
    tr : float, optional
        In seconds, as the caller knows it.
    overrule_tr : bool
        `tr` holds, whatever the sidecars say.
    slice_time_ref : float, optional
        Taken instead of what the sidecars say.

    Returns
    -------
    RunClock

    Raises
    ------
    InputError
        If nobody says the TR, those who say it contradict, a number cannot be one, or slices were moved and nobody says
        to which moment.
    """
    said = own.of(scan)
    asked = [said] if raw is None else [said, raw.of_raw_run(scan, own.folder) or Said({}, {})]
    who = in_words(scan.entities)
    holds = next((one for one in asked if one.values.get(TR) is not None), None)
    if tr is not None:
        seconds, source = check_tr(tr), None
        if holds is not None and not overrule_tr and not same_tr(tr, float(_number(holds, TR))):
            raise InputError(
                f"{who}: {holds.sources[TR]} says {TR} {shown(_number(holds, TR))} s, and tr is {shown(tr)} s: leave "
                "out tr, or set overrule_tr if yours is right"
            )
    else:
        holds = holds or _refuse_no_tr(who, own, raw, asked)
        seconds, source = _number(holds, TR), holds.sources[TR]
        try:
            check_tr(seconds)
        except InputError as exc:
            raise InputError(f"{who}: {source} says {TR} {shown(seconds)}: {exc}") from exc
    if slice_time_ref is None:
        ref, ref_source = _reference(said, seconds, who)
    else:
        ref, ref_source = exact(slice_time_ref, "slice_time_ref"), None
        if not 0 <= ref <= 1:
            raise InputError(f"slice_time_ref is {shown(ref)}: a part of the TR, 0 to 1, is expected")
    given = [next((one for one in asked if one.values.get(key) is not None), None) for key in DISCARDED]
    discarded = sum(_count(one, key) for one, key in zip(given, DISCARDED, strict=True) if one is not None)
    return RunClock(float(seconds), source, float(ref), ref_source, discarded)


def _refuse_no_tr(who: str, own: Sidecars, raw: Sidecars | None, asked: list[Said]) -> NoReturn:
    if any("VolumeTiming" in one.values for one in asked):
        raise InputError(f"{who}: its sidecars give VolumeTiming and no {TR}; giblet reads volumes one TR apart")
    where = f"no sidecar in {own.folder} gives it a {TR}"
    if raw is not None:
        where += f", nor has the run one in {raw.folder}"
    raise InputError(f"{who}: {where}: write {TR} into the sidecar of the run")


def _reference(said: Said, tr: Fraction, who: str) -> tuple[Fraction, Path | None]:
    """The moment that the volumes show, as a fraction of the TR, and the file that says it."""
    found: dict[str, Fraction] = {}
    if said.values.get(START) is not None:
        start = _number(said, START)
        if not -ROUNDED <= start <= tr + ROUNDED:
            raise InputError(
                f"{who}: {said.sources[START]} says {START} {shown(start)} s, the TR is {shown(tr)} s; a moment within "
                "the TR is expected: correct it, or give slice_time_ref"
            )
        found[START] = min(max(start / tr, Fraction(0)), Fraction(1))
    if said.values.get(REF) is not None:
        found[REF] = _number(said, REF)
        if not 0 <= found[REF] <= 1:
            raise InputError(
                f"{who}: {said.sources[REF]} says {REF} {shown(found[REF])}; a part of the TR, 0 to 1, is expected"
            )
    if len(found) == 2 and abs(found[START] - found[REF]) > ROUNDED:
        raise InputError(
            f"{who}: {START} is {shown(round(found[START], 4))} of the TR, and {REF} {shown(found[REF])}: correct "
            f"{said.sources[REF]}, or give slice_time_ref"
        )
    for key, ref in found.items():
        return ref, said.sources[key]
    if said.values.get(CORRECTED) is True:
        raise InputError(
            f"{who}: {said.sources[CORRECTED]} says that slices were moved in time, and no sidecar to which moment "
            f"({START}): give slice_time_ref; fMRIPrep's is 0.5, the middle of the TR, unless it was told otherwise"
        )
    return Fraction(0), None


def _number(said: Said, key: str) -> Fraction:
    value = said.values[key]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InputError(f"{said.sources[key]} says {key} {value!r}; a number is expected: correct it")
    return exact(value, key)


def _count(said: Said, key: str) -> int:
    number = _number(said, key)
    if number < 0 or number.denominator != 1:
        raise InputError(f"{said.sources[key]} says {key} {shown(number)}; a whole number is expected: correct it")
    return int(number)
