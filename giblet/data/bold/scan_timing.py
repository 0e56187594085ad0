"""When the volumes of a scan were taken: its TR and the moment that its slices were brought to.

Three may say the TR: the caller, the JSON sidecar beside the scan, and the image's header. Caller and sidecar must
agree, and the header with them, unless it says 1 s, which is what image libraries write where nobody set a TR, or the
right number in a wrong unit: then a warning tells whose TR holds. A header alone is believed between 10 ms and 60 s; at
1 s a warning says whence it came.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from giblet.cells import is_number
from giblet.errors import InputError, reading
from giblet.files import read_json
from giblet.timing import LONGEST_TR, check_tr, exact, same_tr, shown

if TYPE_CHECKING:
    import nibabel as nib

log = logging.getLogger(__name__)

SHORTEST_TR = Fraction(1, 100)
"""Seconds. What is below was written in another unit than the header names."""
NO_UNIT = "unknown"
TIME_UNITS = {0: (NO_UNIT, 1), 8: ("sec", 1), 16: ("msec", 1000), 24: ("usec", 10**6)}
"""By the bits of NIfTI's ``xyzt_units`` that speak of time: nibabel's name, and how many make a second."""
OTHER_UNITS = (Fraction(1, 1000), Fraction(1000), Fraction(1, 10**6), Fraction(10**6))
"""What a number written in one unit and read in another is off by."""
_KIND_OF_DATA = re.compile(r"\.([dp](tseries|scalar|label)\.nii|(func|shape|label)\.gii)$", re.IGNORECASE)
"""Endings of two parts, of CIFTI and GIFTI."""
NOT_TIME = {32: "hz", 40: "ppm", 48: "rads"}


class ScanTiming(NamedTuple):
    """The clock of a scan."""

    tr: float
    """Seconds."""
    tr_source: str
    """``"given"``, ``"sidecar"`` or ``"header"``."""
    slice_time_ref: float
    """The moment of a TR that its volume shows, as a fraction of the TR from its onset."""


class HeaderTR(NamedTuple):
    """What a header says."""

    tr: Fraction | None
    """Seconds; None where it says nothing: 0, negative, not finite, or of a unit that is no time."""
    unit: str
    """nibabel's name."""

    @property
    def is_default(self) -> bool:
        """1 s, which libraries write where nobody set a TR."""
        return self.tr == 1 and self.unit in (NO_UNIT, "sec")

    def __str__(self) -> str:
        return "nothing" if self.tr is None else f"TR {shown(self.tr)} s (its unit is {self.unit!r})"


def header_tr(image: nib.Nifti1Image) -> HeaderTR:
    """TR as the header says it.

    The header keeps a 32-bit number, which is rounded to the microsecond, and its unit: 0.72, 0.7199999 and 720 msec
    are all 0.72 s.

    Parameters
    ----------
    image : Nifti1Image

    Returns
    -------
    HeaderTR

    Raises
    ------
    InputError
        If the header cannot be read.
    """
    with reading(f"the header of {image.get_filename()}"):
        zooms, code = image.header.get_zooms(), int(image.header["xyzt_units"]) & 0x38
    unit, per_second = TIME_UNITS.get(code, (NOT_TIME.get(code, NO_UNIT), 1))
    if len(zooms) < 4 or not np.isfinite(zooms[3]) or zooms[3] <= 0 or code in NOT_TIME:
        return HeaderTR(None, unit)
    # str gives the shortest decimal that is this 32-bit number.
    return in_seconds(exact(str(np.float32(zooms[3]))) / per_second, unit)


def in_seconds(tr: Fraction, unit: str) -> HeaderTR:
    """What a header says, rounded to the microsecond.

    Parameters
    ----------
    tr : Fraction
        Seconds.
    unit : str
        In which the header has it.

    Returns
    -------
    HeaderTR
        Of no TR, where it is not above 0.
    """
    if tr <= 0:
        return HeaderTR(None, unit)
    return HeaderTR(tr if tr < SHORTEST_TR else round(tr, 6), unit)


def sidecar_path(path: Path) -> Path:
    """Where the sidecar of a scan stands: ``x_bold.json`` for ``x_bold.nii.gz``, ``x_bold.tsv``, ``x_bold.func.gii``.

    Parameters
    ----------
    path : Path
        Of the scan.

    Returns
    -------
    Path
    """
    name = path.name[: -len(".gz")] if path.name.lower().endswith(".gz") else path.name
    plain = _KIND_OF_DATA.sub("", name)
    return path.with_name(f"{plain}.json" if plain != name else Path(name).with_suffix(".json").name)


def sidecar_of(path: Path) -> dict[str, Any]:
    """What the JSON file beside a scan says.

    Parameters
    ----------
    path : Path
        Of the scan.

    Returns
    -------
    dict
        Empty where there is no such file.

    Raises
    ------
    InputError
        If it cannot be read, or holds no JSON object.
    """
    sidecar = sidecar_path(path)
    if not sidecar.is_file():
        return {}
    return read_json(sidecar, "expected a sidecar in JSON; correct it or move it away")


def scan_timing(
    paths: Sequence[Path],
    headers: Sequence[HeaderTR] | None,
    tr: float | None = None,
    slice_time_ref: float | None = None,
    overrule_tr: bool = False,
) -> ScanTiming:
    """The one clock of all runs.

    Parameters
    ----------
    paths : sequence of Path
        One for each run, or for each hemisphere of each run; the sidecar is looked for beside it.
    headers : sequence of HeaderTR, optional
        What their headers say; None for tables.
    tr : float, optional
        Repetition time in seconds, as the caller knows it.
    slice_time_ref : float, optional
        Fraction of the TR; by default ``StartTime`` of the sidecar over the TR, else 0.
    overrule_tr : bool
        `tr` holds whatever header and sidecar say.

    Returns
    -------
    ScanTiming
        Its ``tr_source`` names all that runs took it from, with commas between.

    Raises
    ------
    InputError
        If nobody says the TR, those who say contradict, it can be none, the volumes are not evenly spaced, or the runs
        differ in TR or reference.
    """
    if tr is not None:
        check_tr(tr)
    timings = [
        _of_run(path, None if headers is None else headers[i], tr, slice_time_ref, overrule_tr)
        for i, path in enumerate(paths)
    ]
    first = timings[0]
    if not all(same_tr(one.tr, first.tr) for one in timings):
        raise InputError(
            f"the runs have different TRs, {', '.join(shown(one.tr) for one in timings)} s: load them apart"
        )
    for path, one in zip(paths, timings, strict=True):
        if abs(one.slice_time_ref - first.slice_time_ref) > 1e-3:
            raise InputError(
                f"the slices of {paths[0].name} are brought to {first.slice_time_ref:.4g} of the TR, those of "
                f"{path.name} to {one.slice_time_ref:.4g}: load them apart, or pass one slice_time_ref"
            )
    return first._replace(tr_source=", ".join(sorted({one.tr_source for one in timings})))


def _of_run(
    path: Path, header: HeaderTR | None, tr: float | None, slice_time_ref: float | None, overrule_tr: bool
) -> ScanTiming:
    said = sidecar_of(path)
    seconds, source = _agreed(path, header, said, tr, overrule_tr)
    start = _number(said, "StartTime", path) if slice_time_ref is None else None
    if start is not None:
        # Written to the millisecond, the last moment of a TR may lie behind its end.
        if not -0.001 <= start <= seconds + Fraction(1, 1000):
            raise InputError(
                f"the sidecar of {path.name} says StartTime {shown(start)} s, the TR is {shown(seconds)} s; expected a "
                "moment within the TR; correct it, or pass slice_time_ref"
            )
        slice_time_ref = float(min(max(start / seconds, Fraction(0)), Fraction(1)))
    return ScanTiming(float(seconds), source, slice_time_ref or 0.0)


def _agreed(
    path: Path, of_file: HeaderTR | None, said: dict[str, Any], tr: float | None, overrule_tr: bool
) -> tuple[Fraction, str]:
    """The TR of a run that the caller, the sidecar and the header agree on, and which of them said it."""
    if tr is not None and overrule_tr:
        return exact(tr), "given"
    header = HeaderTR(None, NO_UNIT) if of_file is None else of_file
    beside = _sidecar_tr(said, path, tr, table=of_file is None)
    if tr is not None and beside is not None and not same_tr(tr, beside):
        of_header = "" if header.tr is None else f"its header {header}, "
        raise InputError(
            f"the sidecar of {path.name} says TR {shown(beside)} s, {of_header}but tr is {shown(tr)} s; pass the TR "
            "that the scanner used, or overrule_tr too if yours is right"
        )
    best, source = (exact(tr), "given") if tr is not None else (beside, "sidecar")
    if best is None:
        return _of_header(header, path, table=of_file is None), "header"
    if header.tr is None or same_tr(best, header.tr):
        return best, source
    by = "but tr is" if source == "given" else "its sidecar says"
    if any(same_tr(best, header.tr * other) for other in OTHER_UNITS):
        log.warning(
            "the header of %s says %s, %s %s s, which is its number in another unit: taken", path.name, header, by,
            shown(best),
        )  # fmt: skip
    elif header.is_default:
        log.warning(
            "the header of %s says %s, as where nobody set a TR, %s %s s: taken; if the header is right, %s", path.name,
            header, by, shown(best), "leave out tr" if source == "given" else "correct the sidecar",
        )  # fmt: skip
    else:
        raise InputError(
            f"the header of {path.name} says {header}, {by} {shown(best)} s; pass the TR that the scanner used, and "
            "overrule_tr if the file is wrong"
        )
    return best, source


def _of_header(header: HeaderTR, path: Path, table: bool) -> Fraction:
    """The TR where nobody but the header says it."""
    if table:
        raise InputError(
            f"{path.name} is a table, which carries no TR; pass tr in seconds, or put RepetitionTime into a "
            f"sidecar {sidecar_path(path).name}"
        )
    if header.tr is None:
        unit = "" if header.unit in (name for name, _ in TIME_UNITS.values()) else f" (its unit is {header.unit!r})"
        raise InputError(f"{path.name} has no TR in its header{unit}; pass tr in seconds")
    if not SHORTEST_TR <= header.tr <= LONGEST_TR:
        meant = next((t for o in OTHER_UNITS if SHORTEST_TR <= (t := header.tr * o) <= LONGEST_TR), None)
        raise InputError(
            f"the header of {path.name} says {header}: "
            + ("it can be none; " if meant is None else f"is its number in another unit? If it is {shown(meant)} s, ")
            + f"pass tr{'' if meant is None else '=' + shown(meant)}, or correct the header"
        )
    if header.is_default:
        log.warning(
            "the header of %s says %s, which image libraries write by default where nobody set a TR; pass tr to "
            "say what it is",
            path.name, header,
        )  # fmt: skip
    return header.tr


def _sidecar_tr(said: dict[str, Any], path: Path, given: float | None, table: bool) -> Fraction | None:
    """RepetitionTime, or for a table one over SamplingFrequency."""
    tr = _number(said, "RepetitionTime", path)
    if tr is None and "VolumeTiming" in said:
        raise InputError(
            f"the sidecar of {path.name} gives VolumeTiming and no RepetitionTime; expected volumes one TR apart; if "
            "they are, pass tr and overrule_tr"
        )
    if tr is None and table:
        rate = _number(said, "SamplingFrequency", path)
        if rate is not None and rate > 0:
            # 0.6667 Hz is 1.5 s as far as it is written; of itself it says 1.499925 s.
            last_digit = Fraction(Decimal(1).scaleb(int(Decimal(str(said["SamplingFrequency"])).as_tuple().exponent)))
            near = given is not None and abs(1 / exact(given) - rate) <= last_digit / 2
            tr = exact(given) if given is not None and near else round(1 / rate, 6)
    if tr is not None:
        try:
            check_tr(tr)
        except InputError as exc:
            raise InputError(f"the sidecar of {path.name}: {exc}") from exc
    return tr


def _number(said: dict[str, Any], key: str, path: Path) -> Fraction | None:
    """A number of the sidecar, None where it has none; pipelines write words where they do not know it ("TR")."""
    value = said.get(key)
    if value is None or (isinstance(value, str) and not is_number(value)):
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise InputError(f"the sidecar of {path.name} says {key} {value!r}; expected a number")
    return exact(value, key)
