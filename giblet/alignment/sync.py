"""Every modality and the BOLD signal on the clock of the scan: shifted, trimmed, never stretched."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from giblet.alignment.aligned import Aligned, AlignmentReport, SourceReport
from giblet.alignment.checks import LatentCodec
from giblet.alignment.kernels import HRF, check_hrf, check_slice_time_ref
from giblet.alignment.resample import Method, resample_features
from giblet.alignment.scan import Scan, scan_of
from giblet.alignment.source import Moved, Placement, Source
from giblet.errors import AlignmentError, InputError
from giblet.renamed import renamed
from giblet.timing import Number, exact

__all__ = ["Aligned", "AlignmentReport", "SourceReport", "align_all_modalities", "resample_features"]

log = logging.getLogger(__name__)

REMEDY = (
    ": check stimulus_time_at_volume_0, the TR and the run; if the scan was stopped early, on_short_bold 'trim' cuts "
    "what was not scanned"
)
ORDER = "align_all_modalities takes the features first, {'sound': file, ...}, and the BOLD second"
OF_ROWS = (
    "codebook_size", "codec", "codec_fingerprint", "bandwidth", "frame_rate", "desc", "model", "source",
    "source_sha256",
)  # fmt: skip
"""Attributes of a feature file that hold for its rows wherever they lie."""


@renamed(start_offset="stimulus_time_at_volume_0")
def align_all_modalities(  # 14 parameters: the face of alignment, giblet.align; a call has three or four of them
    features: Mapping[str, xr.Dataset | str | Path],
    bold: Any,
    *,
    tr: float | None = None,
    stimulus_time_at_volume_0: Number | Mapping[str, Number] = 0,
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

    Volume ``k`` is paired with second ``k * tr + stimulus_time_at_volume_0 - lag`` of each modality. Volumes for which
    a modality has nothing, or only padding (``valid`` is False), are cut from all; nothing is stretched to fit. TRs in
    which there is nothing to say (``<variable>_mask`` is False: no words) are kept, and marked in ``mask`` of the
    result.

    Parameters
    ----------
    features : mapping of str to Dataset or path
        Feature files, by the names they shall have; with attributes ``tr``, ``kind``, ``variable``.
    bold : array_like, shape (n_volumes, ...), DataArray or Dataset with ``bold``
        One run. A memory map is read only where volumes are kept. Volumes that ``sample_mask`` of a Dataset censors
        are left out. Its ``onset`` (s, from volume 0 of the run) says which volumes it holds: one that was cut, as by
        ``bold.isel(tr=slice(5, None))``, lies where it was in its run, and what it lacks is left out like censored
        volumes. Without onsets the first row is volume 0.
    tr : float, optional
        Repetition time in seconds; needed unless `bold` has it as an attribute, and then it must agree.
    stimulus_time_at_volume_0 : float or mapping
        Second of the stimulus at the onset of volume 0 of the run, whether `bold` holds that volume or not: 20.0 if the
        scan began 20 s into the sound, -12.0 if the film began 12 s into the scan. For all modalities, or by name (0
        for names that are missing). Leave it at 0 for words that were extracted
        with a `table_time_at_tr_0`. It is not the `track_delay` that ``giblet info`` tells of a film.
    lag : float or mapping
        Seconds by which BOLD follows the stimulus: 4.5 pairs each volume with what was there 4.5 s before. Leave it
        at 0 for features that are convolved with an HRF.
    volume_mask : array_like of bool, shape (n_volumes,), optional
        By row of `bold`, False for volumes to leave out (dummy scans, motion).
    resample : bool
        Allow features of another TR; otherwise those are an error.
    methods : mapping, optional
        By name, the method of :func:`resample_features` where resampling is needed. Features that know their frames
        (codes, mel frames) are shifted by whole frames instead, at most half a frame (7 ms) off, and not interpolated.
    variables : mapping, optional
        By name, another variable of the file than the one it is about: ``{"rate": "word_rate"}``. A file may stand
        under several names; the report says what else each file has.
    codec : AudioCodec, optional
        The one that made the codes; for the method ``"latent"``.
    hrf : str, callable or mapping, optional
        Convolve with this haemodynamic response (:func:`giblet.alignment.convolve_hrf`), on the stimulus's own clock
        and before anything is cut: all features, or by name. TRs where nothing is present count as zero, as does the
        time before the stimulus.
    slice_time_ref : float, optional
        When in its TR a volume is read, 0 to 1; by default what `bold` says of itself, or 0. `hrf` uses it, and the
        result carries it, for :func:`giblet.encoding.fit_ridge`.
    on_short_bold : {"error", "trim"}
        When the scan ended at least one TR before the stimulus, whatever the `lag`: refuse, with both lengths, as
        another run or a wrong offset looks just so; or cut the stimulus and say so in the report and the log.
    on_holes : {"cut", "keep"}
        Volumes to leave out, or that `bold` lacks, between those that are used: cut them; or keep their place, so that
        neighbouring rows are neighbours in time, with NaN for BOLD, and features that say in their ``mask`` whether
        they are there.

    Returns
    -------
    Aligned

    Raises
    ------
    InputError
        If a file or an option cannot be used, or words would be shifted twice.
    AlignmentError
        If TRs differ, runs are mixed, the BOLD is shorter than a stimulus, or no volume is left.

    See Also
    --------
    resample_features : one series on other times.
    convolve_hrf : what a brain makes of features; the option `hrf` does it before anything is cut.
    lag_scan : does the BOLD follow at the lag that this assumes?

    Examples
    --------
    >>> sound = xr.Dataset(
    ...     {"loudness": ("tr", np.arange(10.0))}, attrs={"tr": 2.0, "kind": "continuous", "variable": "loudness"}
    ... )
    >>> bold = np.random.default_rng(0).standard_normal((12, 3))
    >>> aligned = align_all_modalities({"sound": sound}, bold, tr=2.0, stimulus_time_at_volume_0=4)
    >>> aligned.features["sound"].values.tolist(), aligned.bold.shape
    ([2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0], (8, 3))
    """
    _check_named(features, bold)
    scan = scan_of(bold, tr=tr, order=ORDER)
    by_name = {
        "stimulus_time_at_volume_0": stimulus_time_at_volume_0, "lag": lag, "methods": methods,
        "variables": variables, "hrf": hrf,
    }  # fmt: skip
    _check_options(features, by_name, on_short_bold, on_holes)
    said_ref = scan.slice_time_ref if slice_time_ref is None else float(slice_time_ref)
    ref = said_ref or 0.0
    check_slice_time_ref(ref)
    scanned, reasons = scan.used(volume_mask)
    sources = {name: Source(name, f, (variables or {}).get(name), scan.tr, resample) for name, f in features.items()}
    placed = {name: _placed(source, scan, stimulus_time_at_volume_0, lag) for name, source in sources.items()}
    reasons += [reason for name, source in sources.items() for reason in source.reasons(placed[name], scan)]
    covered = np.logical_and.reduce([placement.covered for placement in placed.values()])
    used = covered & scanned
    if not used.any():
        raise AlignmentError(f"no volume is left: {'; '.join(reasons)}; check stimulus_time_at_volume_0 and lag")
    short = [s.short_bold(placed[n], scan) for n, s in sources.items() if placed[n].unscanned >= s.tr]
    if short and on_short_bold == "error":
        raise AlignmentError("; ".join(short) + REMEDY)
    volumes = np.flatnonzero(used)
    if on_holes == "keep":
        # From the first that the stimulus covers: what was on while volumes are censored is still seen later.
        volumes = np.arange(np.flatnonzero(covered)[0], np.flatnonzero(covered)[-1] + 1)
    at = volumes[covered[volumes]]
    values, reports = {}, []
    for name, source in sources.items():
        response = hrf.get(name) if isinstance(hrf, Mapping) else hrf
        if response is None:
            moved = source.values(placed[name], at, (methods or {}).get(name), codec)
        else:
            moved = _convolved(source, placed[name], at, response, ref)
        rows = _Rows(scan.tr, said_ref, volumes, covered[volumes])
        values[name] = _labelled(source, placed[name], rows, moved, response)
        reports.append(source.report(placed[name], volumes, moved.how))
    for told in short:
        log.warning("%s and are cut", told)
    report = _report(scan, volumes, int(used.sum()), tuple(reports), tuple(reasons))
    trs = {name: placement.first[volumes] for name, placement in placed.items()}
    data = scan.rows(volumes, used[volumes])
    return Aligned(values, data, scan.tr, volumes, trs, report, used[volumes], ref)


def _check_named(features: Any, bold: Any) -> None:
    """Features by name, and not the BOLD in their place."""
    if not isinstance(features, Mapping) or isinstance(features, xr.Dataset):
        what = type(features).__name__
        raise InputError(f"features is a {what}; expected feature files by name; {ORDER}")
    if not features:
        raise InputError("no features were given: name at least one feature file")
    if isinstance(bold, Mapping) and not isinstance(bold, xr.Dataset):
        raise InputError(f"bold is a {type(bold).__name__}; expected one run of BOLD; {ORDER}")


def _check_options(features: Mapping[str, Any], by_name: Mapping[str, Any], on_short_bold: str, on_holes: str) -> None:
    for what, given, allowed in (
        ("on_short_bold", on_short_bold, ("error", "trim")), ("on_holes", on_holes, ("cut", "keep")),
    ):  # fmt: skip
        if given not in allowed:
            raise InputError(f"{what} is {given!r}; expected {allowed[0]!r} or {allowed[1]!r}")
    for what, named in by_name.items():
        unknown = set(named) - set(features) if isinstance(named, Mapping) else set()
        if unknown:
            raise InputError(f"{what} names {sorted(unknown)}: the modalities are {', '.join(features)}")


def _placed(
    source: Source, scan: Scan, stimulus_time: Number | Mapping[str, Number], lag: Number | Mapping[str, Number]
) -> Placement:
    return source.place(
        scan.n_volumes, tr=scan.tr, lag=_for(source.name, lag, "lag"),
        stimulus_time_at_volume_0=_for(source.name, stimulus_time, "stimulus_time_at_volume_0"),
    )  # fmt: skip


def _for(name: str, given: Number | Mapping[str, Number], what: str) -> Fraction:
    """Seconds of an option for one modality: 0 where a mapping does not name it."""
    return exact(given.get(name, 0) if isinstance(given, Mapping) else given, f"{what} of {name}")


def _convolved(source: Source, placement: Placement, volumes: np.ndarray, hrf: HRF, ref: float) -> Moved:
    if hrf == "fir":
        raise InputError("hrf='fir' delays features: align them, and pass them to fit_ridge(..., hrf='fir')")
    check_hrf(hrf, tr=placement.tr, slice_time_ref=ref, oversampling=1)
    return source.convolved(placement, volumes, hrf, ref)


class _Rows(NamedTuple):
    """The rows of the result."""

    tr: float
    slice_time_ref: float | None
    volumes: np.ndarray
    covered: np.ndarray


def _labelled(source: Source, placement: Placement, rows: _Rows, moved: Moved, hrf: HRF | None) -> xr.DataArray:
    """Values at their rows, with what they are and when they were."""
    values, mask, n = moved.values, moved.present, len(rows.volumes)
    if not rows.covered.all():
        values, mask = np.zeros((n, *values.shape[1:]), values.dtype), np.zeros(n, bool)
        values[rows.covered], mask[rows.covered] = moved.values, moved.present
    name = str(source.variable.name)
    attrs = {key: source.data.attrs[key] for key in OF_ROWS if key in source.data.attrs}
    attrs |= {"kind": source.kind, "tr": rows.tr, "variable": name}
    if rows.slice_time_ref is not None:
        attrs["slice_time_ref"] = rows.slice_time_ref
    dims = tuple(map(str, source.variable.dims))
    if hrf is not None:
        attrs["hrf"] = hrf if isinstance(hrf, str) else getattr(hrf, "__name__", "a function")
        dims += ("response",) * (values.ndim - len(dims))
    onset = source.onsets(placement, rows.volumes)
    coords = {"volume": ("tr", rows.volumes), "onset": ("tr", onset), "mask": ("tr", mask)}
    return xr.DataArray(values, dims=dims, coords=coords, attrs=attrs, name=name)


def _report(
    scan: Scan, volumes: np.ndarray, n_kept: int, sources: tuple[SourceReport, ...], reasons: tuple[str, ...]
) -> AlignmentReport:
    first, last = int(volumes[0]), int(volumes[-1])
    cut_start, cut_end = int(scan.held[:first].sum()), int(scan.held[last + 1 :].sum())
    return AlignmentReport(
        scan.tr, len(scan.data), n_kept, cut_start, cut_end, last - first + 1 - n_kept, sources, reasons
    )
