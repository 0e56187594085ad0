"""Every modality and the BOLD signal on the clock of the scan: shifted, trimmed, never stretched."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from giblet.alignment.aligned import Aligned, AlignmentReport, SourceReport
from giblet.alignment.checks import LatentCodec
from giblet.alignment.kernels import HRF, check_hrf
from giblet.alignment.resample import Method, resample_features
from giblet.alignment.source import Source
from giblet.errors import AlignmentError, InputError, one_line
from giblet.timing import Number, check_tr, exact, same_tr, shown

__all__ = ["Aligned", "AlignmentReport", "SourceReport", "align_all_modalities", "resample_features"]

log = logging.getLogger(__name__)

REMEDY = (
    ": check start_offset, the TR and the run; if the scan was stopped early, say on_short_bold='trim', which cuts what"
    " was not scanned"
)
ORDER = "align_all_modalities takes the features first, {'sound': file, ...}, and the BOLD second"
OF_ROWS = (
    "codebook_size", "codec", "codec_fingerprint", "bandwidth", "frame_rate", "desc", "model", "source",
    "source_sha256",
)  # fmt: skip
"""Attributes of a feature file that hold for its rows wherever they lie."""


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
    hrf: HRF | Mapping[str, HRF] | None = None,
    slice_time_ref: float | None = None,
    on_short_bold: str = "error",
    on_holes: str = "cut",
) -> Aligned:
    """Pair every volume of one run with the stimulus it saw.

    Volume ``k`` is paired with second ``k * tr + start_offset - lag`` of each modality. Volumes for which a modality
    has nothing, or only padding (``valid`` is False), are cut from all; nothing is stretched to fit. TRs in which there
    is nothing to say (``<variable>_mask`` is False: no words) are kept, and marked in ``mask`` of the result.

    Parameters
    ----------
    features : mapping of str to Dataset or path
        Feature files, by the names they shall have; with attributes ``tr``, ``kind``, ``variable``.
    bold : array_like (n_volumes, ...), DataArray or Dataset with ``bold``
        One run. A memory map is read only where volumes are kept. Volumes that ``sample_mask`` of a Dataset censors
        are left out.
    tr : float, optional
        Repetition time in seconds; needed unless `bold` has it as an attribute, and then it must agree.
    start_offset : float or mapping
        Second of the stimulus at the onset of volume 0: 20.0 if the scan began 20 s into the sound, -12.0 if the film
        began 12 s into the scan. For all modalities, or by name (0 for names that are missing). Leave it at 0 for words
        that were extracted with a start offset.
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
        By name, another variable of the file than the one it is about: ``{"rate": "word_rate"}``. A file may stand
        under several names; the report says what else each file has.
    codec : AudioCodec, optional
        For ``"latent"``.
    hrf : str, callable or mapping, optional
        Convolve with this haemodynamic response (:func:`giblet.alignment.convolve_hrf`), on the stimulus's own clock
        and before anything is cut: all features, or by name. TRs where nothing is present count as zero, as does the
        time before the stimulus.
    slice_time_ref : float, optional
        With `hrf`: when in its TR a volume is read, 0 to 1; by default what `bold` says of itself, or 0.
    on_short_bold : {"error", "trim"}
        When the scan ended at least one TR before the stimulus, whatever the `lag`: refuse, with both lengths, as
        another run or a wrong offset looks just so; or cut the stimulus and say so in the report and the log.
    on_holes : {"cut", "keep"}
        Volumes to leave out between those that are used: cut them; or keep their place, so that neighbouring rows are
        neighbours in time, with NaN for BOLD, and features that say in their ``mask`` whether they are there.

    Returns
    -------
    Aligned

    Raises
    ------
    InputError
        If a file or an option cannot be used, or an offset is given twice.
    AlignmentError
        If TRs differ, runs are mixed, the BOLD is shorter than a stimulus, or no volume is left.
    """
    _check_named(features, bold)
    scan = _scan_of(bold, tr)
    tr, n_volumes = scan.tr, len(scan.data)
    ref = float(scan.slice_time_ref if slice_time_ref is None else slice_time_ref)
    _check_choice("on_short_bold", on_short_bold, ("error", "trim"))
    _check_choice("on_holes", on_holes, ("cut", "keep"))
    by_name = {"start_offset": start_offset, "lag": lag, "methods": methods, "variables": variables, "hrf": hrf}
    for what, given in by_name.items():
        unknown = set(given) - set(features) if isinstance(given, Mapping) else set()
        if unknown:
            raise InputError(f"{what} names {sorted(unknown)}: the modalities are {', '.join(features)}")
    scanned, reasons = scan.used(volume_mask)
    sources, covered = {}, np.ones(n_volumes, bool)
    for name, feature in features.items():
        sources[name] = Source(name, feature, (variables or {}).get(name), tr, resample)
        sources[name].place(n_volumes, tr, _one(start_offset, name), _one(lag, name))
        reasons += sources[name].reasons(n_volumes, tr)
        covered &= sources[name].covered
    used = covered & scanned
    if not used.any():
        raise AlignmentError(f"no volume is left: {'; '.join(reasons)}; check start_offset and lag")
    short = [s for s in sources.values() if s.unscanned >= s.tr]
    if short and on_short_bold == "error":
        raise AlignmentError("; ".join(s.short_bold(n_volumes, tr) + REMEDY for s in short))
    volumes = np.flatnonzero(used)
    if on_holes == "keep":
        # From the first that the stimulus covers: what was on while volumes are censored is still seen later.
        volumes = np.arange(np.flatnonzero(covered)[0], np.flatnonzero(covered)[-1] + 1)
    values = {}
    for name, source in sources.items():
        response = hrf.get(name) if isinstance(hrf, Mapping) else hrf
        found, there = _read(source, volumes[covered[volumes]], response, ref, (methods or {}).get(name), codec)
        values[name] = _labelled(source, tr, volumes, covered[volumes], found, there, response)
    first, last, kept = int(volumes[0]), int(volumes[-1]), int(used.sum())
    report = AlignmentReport(
        tr, n_volumes, kept, first, n_volumes - 1 - last, last - first + 1 - kept,
        tuple(s.report(volumes) for s in sources.values()), tuple(reasons),
    )  # fmt: skip
    for s in short:
        log.warning("%s and are cut", s.short_bold(n_volumes, tr))
    rows: Any = slice(first, last + 1) if len(volumes) == last - first + 1 else volumes
    data = _absent_as_nan(scan.data[rows], used[volumes])
    trs = {name: source.tr_index[volumes] for name, source in sources.items()}
    return Aligned(values, data, tr, volumes, trs, report, used[volumes])


def _check_named(features: Any, bold: Any) -> None:
    """Features by name, and not the BOLD in their place."""
    if not isinstance(features, Mapping) or isinstance(features, xr.Dataset):
        what = type(features).__name__
        raise InputError(f"features is a {what}: feature files by name are needed; {ORDER}")
    if not features:
        raise InputError("no features were given: name at least one feature file")
    if isinstance(bold, Mapping) and not isinstance(bold, xr.Dataset):
        raise InputError(f"bold is a {type(bold).__name__}: one run of BOLD is needed; {ORDER}")


def _check_choice(what: str, given: str, allowed: tuple[str, str]) -> None:
    if given not in allowed:
        raise InputError(f"{what} is {given!r}: {allowed[0]!r} or {allowed[1]!r} is needed")


def _one(given: Number | Mapping[str, Number], name: str) -> Fraction:
    return exact(given.get(name, 0) if isinstance(given, Mapping) else given, f"offset or lag of {name}")


def _read(
    source: Source, volumes: np.ndarray, hrf: HRF | None, ref: float, method: Method | None, codec: LatentCodec | None
) -> tuple[np.ndarray, np.ndarray]:
    if hrf is None:
        return source.values(volumes, method, codec)
    if hrf == "fir":
        raise InputError("hrf='fir' delays features: align them, and give them to fit_ridge(..., hrf='fir')")
    check_hrf(hrf, source.target_tr, None, ref, 1)
    return source.convolved(volumes, hrf, ref), np.ones(len(volumes), bool)


def _labelled(
    source: Source, tr: float, volumes: np.ndarray, covered: np.ndarray, found: np.ndarray, there: np.ndarray,
    hrf: HRF | None,
) -> xr.DataArray:  # fmt: skip
    """Rows at their place, with what they are and when they were."""
    values, mask = found, there
    if not covered.all():
        values, mask = np.zeros((len(volumes), *found.shape[1:]), found.dtype), np.zeros(len(volumes), bool)
        values[covered], mask[covered] = found, there
    name = str(source.variable.name)
    attrs = {key: source.data.attrs[key] for key in OF_ROWS if key in source.data.attrs}
    attrs |= {"kind": source.kind, "tr": tr, "variable": name}
    dims = tuple(map(str, source.variable.dims))
    if hrf is not None:
        attrs["hrf"] = hrf if isinstance(hrf, str) else getattr(hrf, "__name__", "a function")
        dims += ("response",) * (values.ndim - len(dims))
    coords = {"volume": ("tr", volumes), "onset": ("tr", source.onsets(volumes)), "mask": ("tr", mask)}
    return xr.DataArray(values, dims=dims, coords=coords, attrs=attrs, name=name)


def _absent_as_nan(data: np.ndarray, there: np.ndarray) -> np.ndarray:
    if there.all():
        return data
    data = np.array(data, dtype=np.result_type(data.dtype, np.float32))
    data[~there] = np.nan
    return data


@dataclass(frozen=True)
class _Scan:
    """BOLD of one run, volumes leading, and what it says of itself."""

    data: np.ndarray
    tr: float
    slice_time_ref: float
    sample_mask: np.ndarray | None

    def used(self, volume_mask: Any) -> tuple[np.ndarray, list[str]]:
        """The volumes that are neither censored nor left out by the caller, and why the others are."""
        n_volumes, reasons = len(self.data), []
        used = np.ones(n_volumes, bool)
        for what, given in (("volume_mask", volume_mask), ("sample_mask", self.sample_mask)):
            if given is None:
                continue
            mask = np.asarray(given)
            if mask.shape != (n_volumes,) or mask.dtype != bool:
                raise AlignmentError(f"{what} is {mask.dtype} {mask.shape}: bool ({n_volumes},) is needed")
            if not mask.all():
                reasons.append(f"{what} leaves out {int((~mask).sum())} volumes")
            used &= mask
        return used, reasons


def _scan_of(bold: Any, tr: float | None) -> _Scan:
    attrs: Mapping[str, Any] = {}
    sample_mask = None
    if isinstance(bold, xr.Dataset):
        if "bold" not in bold:
            held = f"a Dataset with {', '.join(map(str, bold.data_vars))}"
            raise InputError(f"bold is {held}: a variable 'bold' is needed; {ORDER}")
        sample_mask = bold["sample_mask"].values.astype(bool) if "sample_mask" in bold else None
        bold = bold["bold"].assign_attrs({**bold.attrs, **bold["bold"].attrs})
    if isinstance(bold, xr.DataArray):
        if bold.dims[:1] != ("tr",):
            raise AlignmentError(f"bold has dimensions {bold.dims}: 'tr' must come first")
        attrs, own = bold.attrs, bold.attrs.get("tr")
        if own is not None and tr is not None and not same_tr(own, tr):
            raise AlignmentError(
                f"the BOLD says TR {shown(own)} s, {shown(tr)} s was given: drop tr=, or check the scan's header"
            )
        tr = own if tr is None else tr
        if "run" in bold.coords and len(np.unique(bold.coords["run"])) > 1:
            raise AlignmentError(
                f"bold holds {len(np.unique(bold.coords['run']))} runs: align one at a time, each has its own start"
            )
        if sample_mask is None and "sample_mask" in bold.coords:
            sample_mask = bold.coords["sample_mask"].values.astype(bool)
        bold = bold.values
    data = bold if isinstance(bold, np.ndarray) else _numbers(bold)
    if data.ndim == 0 or len(data) == 0 or data.dtype.kind not in "iufb":
        raise InputError(f"bold has shape {data.shape} of {data.dtype}: numbers (n_volumes, n_voxels) are needed")
    if tr is None:
        raise InputError("the TR of the BOLD is not known: give tr in seconds")
    return _Scan(data, float(check_tr(tr)), float(attrs.get("slice_time_ref", 0.0)), sample_mask)


def _numbers(bold: Any) -> np.ndarray:
    """Lists as an array; InputError for what is none."""
    remedy = f"an array (n_volumes, n_voxels) of one run is needed, as FMRIProcessor(...).load gives it; {ORDER}"
    if isinstance(bold, (str, Path)):
        raise InputError(f"bold is the path {bold}: {remedy}")
    if isinstance(bold, (list, tuple)) and any(getattr(one, "ndim", 0) > 1 for one in bold):
        raise InputError(f"bold is a {type(bold).__name__} of {len(bold)} arrays: {remedy}")
    try:
        return np.asarray(bold)
    except (TypeError, ValueError) as exc:
        raise InputError(f"bold is a {type(bold).__name__} that is no array ({one_line(exc)}): {remedy}") from exc
