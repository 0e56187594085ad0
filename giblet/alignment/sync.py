"""Every modality and the BOLD signal on the clock of the scan: shifted, trimmed, never stretched."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from giblet.alignment.aligned import Aligned, AlignmentReport, SourceReport
from giblet.alignment.checks import LatentCodec, array_of_kind
from giblet.alignment.resample import Method, resample_features
from giblet.errors import AlignmentError, InputError
from giblet.features import CODES, CONTINUOUS, load_features
from giblet.timing import Number, TRGrid, check_tr, exact, same_tr, shown, ungroup_codes, ungroup_frames

__all__ = ["Aligned", "AlignmentReport", "SourceReport", "align_all_modalities", "resample_features"]

log = logging.getLogger(__name__)

REMEDY = (
    ": check start_offset, the TR and the run; if the scan was stopped early, say on_short_bold='trim', which cuts what"
    " was not scanned"
)


def align_all_modalities(
    features: Mapping[str, xr.Dataset | str | Path],
    bold: Any,
    tr: float | None = None,
    *,
    start_offset: Number | Mapping[str, Number] = 0,
    lag: Number | Mapping[str, Number] = 0,
    volume_mask: Any = None,
    resample: bool = False,
    methods: Mapping[str, Method] | None = None,
    variables: Mapping[str, str] | None = None,
    codec: LatentCodec | None = None,
    on_short_bold: str = "error",
) -> Aligned:
    """Pair every volume of one run with the stimulus it saw.

    Volume ``k`` is paired with second ``k * tr + start_offset - lag`` of each modality. Volumes for which a modality
    has nothing, or only padding (``valid`` is False), are cut from all; nothing is stretched to fit.

    Parameters
    ----------
    features : mapping of str to Dataset or path
        Feature files, by the names they shall have; with attributes ``tr``, ``kind``, ``variable``.
    bold : array_like (n_volumes, ...), DataArray or Dataset with ``bold``
        One run. A memory map is read only where volumes are kept.
    tr : float, optional
        Repetition time in seconds; needed unless `bold` has it as an attribute, and then it must agree.
    start_offset : float or mapping
        Second of the stimulus at the onset of volume 0: 20.0 if the scan began 20 s into the sound, -12.0 if the film
        began 12 s into the scan. For all modalities, or by name (0 for names that are missing).
    lag : float or mapping
        Seconds by which BOLD follows the stimulus: 4.5 pairs each volume with what was there 4.5 s before. Leave it
        at 0 for features that are convolved with an HRF.
    volume_mask : array_like of bool (n_volumes,), optional
        False for volumes to leave out (dummy scans, motion).
    resample : bool
        Allow features of another TR; otherwise those are an error.
    methods : mapping, optional
        By name, the method of :func:`resample_features` where resampling is needed. Features that know their frames
        (codes, mel frames) are shifted by whole frames instead, at most half a frame (7 ms) off, and not interpolated.
    variables : mapping, optional
        By name, another variable of the file than the one it is about: ``{"light": "luminance"}``.
    codec : AudioCodec, optional
        For ``"latent"``.
    on_short_bold : {"error", "trim"}
        When the scan ended at least one TR before the stimulus, whatever the `lag`: refuse, with both lengths, as
        another run or a wrong offset looks just so; or cut the stimulus and say so in the report and the log.

    Returns
    -------
    Aligned

    Raises
    ------
    InputError
        If a file or an option cannot be used.
    AlignmentError
        If TRs differ, runs are mixed, the BOLD is shorter than a stimulus, or no volume is left.
    """
    data, tr = _bold_and_tr(bold, tr)
    n_volumes = len(data)
    if not features:
        raise InputError("no features were given: name at least one feature file")
    if on_short_bold not in ("trim", "error"):
        raise InputError(f"on_short_bold is {on_short_bold!r}: 'error' or 'trim' is needed")
    for what, given in (
        ("start_offset", start_offset),
        ("lag", lag),
        ("methods", methods or {}),
        ("variables", variables or {}),
    ):
        unknown = set(given) - set(features) if isinstance(given, Mapping) else set()
        if unknown:
            raise InputError(f"{what} names {sorted(unknown)}: the modalities are {', '.join(features)}")
    keep = np.ones(n_volumes, bool) if volume_mask is None else np.asarray(volume_mask)
    if keep.shape != (n_volumes,) or keep.dtype != bool:
        raise AlignmentError(f"volume_mask is {keep.dtype} {keep.shape}: bool ({n_volumes},) is needed")
    reasons = [] if keep.all() else [f"volume_mask leaves out {int((~keep).sum())} volumes"]
    sources = {}
    for name, feature in features.items():
        sources[name] = _Source(name, feature, (variables or {}).get(name), tr, resample)
        sources[name].place(n_volumes, tr, _one(start_offset, name), _one(lag, name))
        reasons += sources[name].reasons(n_volumes, tr)
        keep = keep & sources[name].covered
    if not keep.any():
        raise AlignmentError(f"no volume is left: {'; '.join(reasons)}; check start_offset and lag")
    short = [s for s in sources.values() if s.unscanned >= s.tr]
    if short and on_short_bold == "error":
        raise AlignmentError("; ".join(s.short_bold(n_volumes, tr) + REMEDY for s in short))
    volumes = np.flatnonzero(keep)
    values = {n: s.values(volumes, (methods or {}).get(n), codec) for n, s in sources.items()}
    trs = {n: s.tr_index[volumes] for n, s in sources.items()}
    first, last = int(volumes[0]), int(volumes[-1])
    report = AlignmentReport(
        tr, n_volumes, len(volumes), first, n_volumes - 1 - last, last - first + 1 - len(volumes),
        tuple(s.report(volumes) for s in sources.values()), tuple(reasons),
    )  # fmt: skip
    for s in short:
        log.warning("%s and are cut", s.short_bold(n_volumes, tr))
    rows: Any = slice(first, last + 1) if not report.holes else volumes
    return Aligned(values, data[rows], tr, volumes, trs, report)


def _one(given: Number | Mapping[str, Number], name: str) -> Fraction:
    return exact(given.get(name, 0) if isinstance(given, Mapping) else given, f"offset or lag of {name}")


def _bold_and_tr(bold: Any, tr: float | None) -> tuple[Any, float]:
    """BOLD with volumes leading, and the TR."""
    if isinstance(bold, xr.Dataset):
        if "bold" not in bold:
            raise InputError(f"the Dataset has {list(bold.data_vars)}: a variable 'bold' is needed")
        bold = bold["bold"].assign_attrs({**bold.attrs, **bold["bold"].attrs})
    if isinstance(bold, xr.DataArray):
        if bold.dims[0] != "tr":
            raise AlignmentError(f"bold has dimensions {bold.dims}: 'tr' must come first")
        own = bold.attrs.get("tr")
        if own is not None and tr is not None and not same_tr(own, tr):
            raise AlignmentError(
                f"the BOLD says TR {shown(own)} s, {shown(tr)} s was given: drop tr=, or check the scan's header"
            )
        tr = own if tr is None else tr
        if "run" in bold.coords and len(np.unique(bold.coords["run"])) > 1:
            raise AlignmentError(
                f"bold holds {len(np.unique(bold.coords['run']))} runs: align one at a time, each has its own start"
            )
        bold = bold.values
    data = bold if isinstance(bold, np.ndarray) else np.asarray(bold)
    if data.ndim == 0 or len(data) == 0:
        raise InputError(f"bold has shape {data.shape}: (n_volumes, n_voxels) is needed")
    if tr is None:
        raise InputError("the TR of the BOLD is not known: give tr in seconds")
    return data, float(check_tr(tr))


class _Source:
    """One modality on its way to the scan's clock."""

    def __init__(
        self, name: str, given: xr.Dataset | str | Path, variable: str | None, tr: float, resample: bool
    ) -> None:
        self.name = name
        self.data = given if isinstance(given, xr.Dataset) else load_features(given)
        attrs = self.data.attrs
        missing = [a for a in ("tr", "kind", "variable") if a not in attrs]
        main = variable or attrs.get("variable")
        if variable and variable not in self.data:
            raise InputError(f"{name} has no variable {variable!r}: it has {', '.join(map(str, self.data.data_vars))}")
        if missing or main not in self.data or self.data[main].dims[:1] != ("tr",):
            raise InputError(f"{name} is not a feature file: it lacks {', '.join(missing) or 'its data by tr'}")
        self.kind, self.variable = str(attrs["kind"]), self.data[main]
        self.size = int(attrs.get("codebook_size", 1024))
        # The file's word counts, not the dtype: pictures are amounts in uint8, and stay so unless interpolated.
        pictures = self.kind == CONTINUOUS and self.variable.dtype.kind == "u"
        self.table = self.variable.values if pictures else array_of_kind(self.variable, self.kind, self.size, name)
        self.tr, self.n_trs = exact(attrs["tr"], f"TR of {name}"), len(self.table)
        if same_tr(self.tr, tr):
            self.tr = exact(tr)
        elif not resample:
            raise AlignmentError(
                f"{name} has TR {shown(self.tr)} s, the BOLD {shown(tr)} s: extract it again with --tr {shown(tr)}, "
                "or say resample=True"
            )
        self.valid = self.data["valid"].values.astype(bool) if "valid" in self.data else np.ones(self.n_trs, bool)
        onset = self.data["onset"].values if "onset" in self.data else TRGrid(float(self.tr), self.n_trs, 1e6).onset
        if np.abs(onset - onset[0] - np.arange(self.n_trs) * float(self.tr)).max() > 1e-6:
            raise AlignmentError(f"onsets of {name} are not {float(self.tr):g} s apart: extract it again")
        self.first_onset = exact(round(float(onset[0]), 9))
        self.by_frame = "frame" in self.variable.dims and "frame_rate" in attrs and self.variable.ndim == 3

    def place(self, n_volumes: int, tr: float, offset: Fraction, lag: Fraction) -> None:
        """Which TR each volume begins in, and whether all that it needs is there."""
        self.target_tr, self.shift = exact(tr), offset - lag
        self.stimulus_time = self.shift - self.first_onset
        starts = [(k * self.target_tr + self.stimulus_time) / self.tr for k in range(n_volumes)]
        self.whole = all(s.denominator == 1 for s in starts) and self.tr == self.target_tr
        self.tr_index = np.array([floor(s) for s in starts], dtype=np.int64)
        last = np.array([-floor(-(s + self.target_tr / self.tr)) - 1 for s in starts], dtype=np.int64)
        self.inside = (self.tr_index >= 0) & (last < self.n_trs)
        good = np.r_[0, np.cumsum(self.valid)]
        lo, hi = np.clip(self.tr_index, 0, self.n_trs), np.clip(last + 1, 0, self.n_trs)
        self.covered = self.inside & (good[hi] - good[lo] == hi - lo)
        end = int(np.flatnonzero(self.valid).max(initial=-1) + 1) * self.tr
        # Of the stimulus: what no volume is paired with, and what was not scanned, whatever the lag.
        self.unpaired = max(end - (n_volumes * self.target_tr + self.stimulus_time), Fraction(0))
        self.unscanned = max(end - (n_volumes * self.target_tr + offset - self.first_onset), Fraction(0))

    def reasons(self, n_volumes: int, tr: float) -> list[str]:
        """Why volumes, or stimulus, are cut for this modality."""
        out = []
        before = int((self.tr_index < 0).sum())
        if before:
            out.append(f"{self.name} begins {float(-self.stimulus_time):g} s after volume 0: {before} volumes cut")
        behind = int((~self.inside & (self.tr_index >= 0)).sum())
        if behind:
            out.append(f"{self.name} ends before the scan does: {behind} volumes cut")
        padded = int((self.inside & ~self.covered).sum())
        if padded:
            out.append(f"{self.name} has padding or gaps (valid is False) in {padded} volumes: cut")
        if self.stimulus_time > 0:
            out.append(f"{self.name}: its first {float(self.stimulus_time):g} s lie before volume 0: cut")
        if self.unscanned > 0:
            out.append(self.short_bold(n_volumes, tr))
        if self.unpaired > self.unscanned:
            left = float(self.unpaired - self.unscanned)
            out.append(f"{self.name}: the lag leaves no volume for {left:g} s at its end: cut")
        return out

    def short_bold(self, n_volumes: int, tr: float) -> str:
        """Both lengths, and what was not scanned."""
        return (
            f"the BOLD has {n_volumes} volumes ({n_volumes * tr:g} s), {self.name} has {self.n_trs} TRs "
            f"({float(self.n_trs * self.tr):g} s): its last {float(self.unscanned):g} s were not scanned"
        )

    def values(self, volumes: np.ndarray, method: Method | None, codec: LatentCodec | None) -> np.ndarray:
        """The kept volumes' features."""
        if self.whole:
            self.how = f"shifted by {int(self.stimulus_time / self.tr):+d} TRs, values as they were"
            return self.table[self.tr_index[volumes]]
        if self.by_frame:
            return self._frames(volumes)
        if method is None and self.kind != CODES and self.tr != self.target_tr:
            method = "mean"
        method = method or ("round" if self.kind == CODES else "linear")
        self.how = f"shifted by {float(self.stimulus_time):g} s, {method} between TRs of {float(self.tr):g} s"
        times = np.array([float(k * self.target_tr + self.stimulus_time) for k in volumes.tolist()])
        window = float(self.target_tr) if method == "mean" else None
        # "hold" reaches no further than into the last TR, which `covered` has found to be whole.
        table = self.table.astype(np.float32) if self.table.dtype.kind == "u" else self.table
        return resample_features(
            table, np.arange(self.n_trs) * float(self.tr), times, self.kind, method,  # type: ignore[arg-type]
            codebook_size=self.size, codec=codec, window=window, outside="hold",
        )  # fmt: skip

    def _frames(self, volumes: np.ndarray) -> np.ndarray:
        """Whole frames of the modality, gathered where the volumes begin."""
        rate = exact(float(self.data.attrs["frame_rate"]))
        grid = TRGrid(float(self.tr), self.n_trs, rate)
        if self.kind == CODES:
            spill = self.data["spill"].values if "spill" in self.data else None
            series = ungroup_codes(self.table, float(self.tr), rate, spill=spill)
            width = TRGrid(float(self.target_tr), 1, rate).frames_per_tr
        else:
            series = ungroup_frames(self.table, grid)
            width = TRGrid(float(self.target_tr), 1, rate).max_frames_per_tr
        starts = [k * self.target_tr + self.stimulus_time for k in volumes.tolist()]
        half = Fraction(1, 2)
        first = np.array([floor(s * rate + half) for s in starts])
        behind = np.array([floor((s + self.target_tr) * rate + half) for s in starts])
        off = self.stimulus_time * rate
        self.how = f"shifted by {floor(off + half)} frames of {1000 / float(rate):.4g} ms, values as they were" + (
            "" if off.denominator == 1 else ", to the nearest frame"
        )
        frames = first[:, None] + np.arange(width)
        moved = series[:, np.minimum(frames, series.shape[1] - 1)].transpose(1, 0, 2)
        own = frames < behind[:, None]  # mel files hold 0 in the column that not every TR has
        return np.where(own[:, None, :], moved, moved.dtype.type(0))

    def report(self, volumes: np.ndarray) -> SourceReport:
        """What was done, after :meth:`values`."""
        used = self.tr_index[volumes]
        behind = self.n_trs - 1 - int(used[-1])
        return SourceReport(
            self.name, self.n_trs, float(self.tr), float(self.stimulus_time), int(used[0]), behind,
            int((~self.valid).sum()), self.how,
        )  # fmt: skip
