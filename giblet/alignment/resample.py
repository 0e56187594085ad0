"""Feature series on another clock: amounts by interpolation, codes by what codes allow."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from giblet.alignment.checks import Kind, LatentCodec, array_of_kind, check_finite, increasing, kind_of
from giblet.alignment.hrf import round_to_codes
from giblet.errors import AlignmentError, InputError
from giblet.features import CODES
from giblet.renamed import renamed
from giblet.timing import first_frames

if TYPE_CHECKING:
    from scipy import sparse

Method = Literal["linear", "mean", "lanczos", "round", "nearest", "latent"]
METHODS = {"codes": ("nearest", "latent", "round"), "continuous": ("linear", "mean", "lanczos")}
LOBES = 3
LEAST = 1e-6
"""Share of a target that what is present must have to count: less is rounding."""
TOLERANCE = 1e-9
"""Seconds by which a time may lie outside and still count as the end of the series: rounding of k * tr."""


@dataclass(frozen=True)
class Resampling:
    """Options of resampling a series to other times; see :func:`resample_features` for what each option means."""

    method: Method | None = None
    """None: the first of :data:`METHODS`."""
    codebook_size: int = 1024
    codec: LatentCodec | None = None
    frame_rate: float | Fraction | None = None
    outside: Literal["error", "nan", "hold"] = "error"
    averaging: float | None = None

    def of_kind(self, kind: str) -> Resampling:
        """The same with a method, and found to be possible for features of that kind.

        Parameters
        ----------
        kind : {"codes", "continuous"}

        Returns
        -------
        Resampling

        Raises
        ------
        InputError
            If an option is out of range or does not go with `kind` or the method.
        """
        method, outside, averaging = self.method or METHODS[kind][0], self.outside, self.averaging
        if method not in METHODS[kind]:
            raise InputError(f"method is {method!r}: {kind} features take one of {', '.join(METHODS[kind])}")
        if outside not in ("error", "nan", "hold") or (outside == "nan" and kind == CODES):
            raise InputError(f"outside is {outside!r}; expected 'error', 'hold', or for continuous features 'nan'")
        if averaging is not None and (method != "mean" or not 0 < averaging < np.inf):
            raise InputError(
                f"averaging is {averaging!r} with method={method!r}: positive seconds, and only for 'mean'"
            )
        if method == "latent" and self.codec is None:
            raise InputError("method='latent' needs the codec that made the codes: codec=load_codec(...)")
        return replace(self, method=method)  # type: ignore[arg-type]


@renamed(window="averaging")
def resample_features(  # 11 parameters: what is moved (x, times, kind, mask), and six options of which a call has few
    x: Any,
    source_times: Any,
    target_times: Any,
    kind: Kind | None = None,
    method: Method | None = None,
    *,
    codebook_size: int = 1024,
    codec: LatentCodec | None = None,
    frame_rate: float | Fraction | None = None,
    outside: Literal["error", "nan", "hold"] = "error",
    averaging: float | None = None,
    mask: Any = None,
) -> np.ndarray:
    """Resample a series from its own times to other times.

    Parameters
    ----------
    x : array_like or xarray.DataArray, shape (n_source, ...)
        ``(n_frames, n_codebooks)``, ``(n_trs, n_codebooks, frames_per_tr)`` or ``(n_source, any features)``.
    source_times : array_like, shape (n_source,)
        Seconds, increasing, not necessarily regular. A sample lasts until the next; the last as long as the one before.
    target_times : array_like, shape (n_target,)
        Seconds on the same clock, increasing.
    kind : {"codes", "continuous"}
        Whether numbers are names or amounts; never guessed from the dtype. May be left out only of a DataArray that
        says it of itself.
    method : str, optional
        Codes: ``"nearest"`` (default: the code at the nearest time, the earlier of two as near), ``"latent"``
        (interpolate the codec's latents, requantize), ``"round"`` (interpolate codes as numbers, round half to even,
        clip: what the specification of ``use_encodec`` asks for; it leaves no speech, see docs/codes.md).
        Continuous: ``"linear"`` (default), ``"mean"`` (of the stretch from each target time to the next, each sample
        weighted by its overlap), ``"lanczos"`` (3 lobes, band-limited to the coarser of the two clocks: no aliasing).
    codebook_size : int
        Entries per codebook.
    codec : AudioCodec, optional
        The one that made the codes; for ``method="latent"``.
    frame_rate : float or Fraction, optional
        For codes grouped by TR, (n_trs, n_codebooks, frames_per_tr). Without it a TR is one sample, and column ``f``
        of the result mixes (``"round"``, ``"latent"``) or picks (``"nearest"``) columns ``f`` of TRs seconds apart.
        With it every frame has its own time: a target TR takes the frames that sound in it, so a shift is a copy,
        and `method` decides only about frames that are missing, such as the odd frame that not every TR has.
    outside : {"error", "nan", "hold"}
        For target times beyond the source, which are never extrapolated: refuse, answer NaN (continuous only), or
        repeat the first or last sample.
    averaging : float, optional
        For ``method="mean"``: seconds from each target time on that are averaged; by default up to the next.
    mask : array_like of bool, shape (n_source,), optional
        False: there is nothing at that time, whatever `x` holds there. It is averaged in nowhere: a target takes the
        mean of what is present around it, and where nothing is it is NaN.

    Returns
    -------
    ndarray, shape (n_target, ...)
        Codes: int32. Continuous: float32, or float64 if `x` is.

    Raises
    ------
    InputError
        If `kind` is missing, an option is out of range, or `x` holds codes out of range, or NaN where it is used.
    AlignmentError
        If `x` is not of that kind, times do not increase or do not match `x`, or lie outside, or nothing is present
        where a code is wanted, which cannot be NaN.

    See Also
    --------
    align_all_modalities : several modalities and the BOLD, on the clock of the scan.
    convolve_hrf : what a brain makes of features on that clock.

    References
    ----------
    Duchon (1979). Lanczos filtering in one and two dimensions. J. Applied Meteorology 18, 1016-1022.

    Examples
    --------
    >>> resample_features([[0.0], [10.0], [20.0]], [0.0, 1.5, 3.0], [0.75, 2.25], kind="continuous").ravel().tolist()
    [5.0, 15.0]
    >>> resample_features([[0], [10], [1000]], [0.0, 1.5, 3.0], [0.5, 2.5], kind="codes").ravel().tolist()
    [0, 1000]
    """
    options = Resampling(method, codebook_size, codec, frame_rate, outside, averaging)
    kind = kind_of(x, kind)
    moved, present = resampled(x, source_times, target_times, kind, options, mask)
    if not present.all():
        if kind == CODES:
            at = np.asarray(target_times, np.float64)[~present][0]
            raise AlignmentError(
                f"{int((~present).sum())} of {len(present)} target times have no code present, the first at {at:g} s: "
                "cut the target times"
            )
        moved[~present] = np.nan
    return moved


def resampled(
    x: Any, source_times: Any, target_times: Any, kind: str, options: Resampling, mask: Any = None
) -> tuple[np.ndarray, np.ndarray]:
    """Like :func:`resample_features`, plus a mask of the targets that have data.

    Parameters
    ----------
    x, source_times, target_times, kind
        As for :func:`resample_features`.
    options : Resampling
    mask : array_like of bool, shape (n_source,), optional
        As for :func:`resample_features`.

    Returns
    -------
    moved : ndarray, shape (n_target, ...)
        Codes: int32. Continuous: float32, or float64 if `x` is. Where nothing is present it holds what `x` itself does.
    present : ndarray of bool, shape (n_target,)
        False where nothing is present.

    Raises
    ------
    InputError
        As :func:`resample_features`.
    AlignmentError
        As :func:`resample_features`, but not where nothing is present.
    """
    values = array_of_kind(x, kind, options.codebook_size, finite=False)
    source, target = increasing(source_times, "source times"), increasing(target_times, "target times")
    options = options.of_kind(kind)
    if len(source) != len(values):
        raise AlignmentError(f"{len(source)} source times for {len(values)} samples; expected one time per sample")
    there = np.ones(len(values), bool) if mask is None else np.asarray(mask)
    if there.dtype != bool or there.shape != (len(values),):
        raise InputError(f"mask is {there.dtype} {there.shape}; expected bool ({len(values)},)")
    if options.frame_rate is not None:
        return _by_frame(values, source, target, options, there)
    if not there.all() and kind != CODES:
        # A weight of 0 does not silence NaN.
        values = np.where(there.reshape(-1, *[1] * (values.ndim - 1)) | np.isfinite(values), values, 0)
    method = options.method
    reach, beyond = _overlap(source, target, options.averaging) if method == "mean" else _linear(source, target)
    weights = reach
    if method == "lanczos":
        weights, beyond = _lanczos(source, target)
    weights, present = _present_only(weights, reach, there)
    _check_inside(beyond, source, target, options.outside)
    if method == "nearest":
        nearest = _nearest(source, target)
        moved_to = np.where(there[nearest], nearest, _heaviest(weights))
        return values[np.where(present, moved_to, nearest)], present
    if method == "latent":
        assert options.codec is not None
        return _through_latents(values, weights, options.codec), present
    moved = _apply(weights, values if kind != CODES else values.astype(np.float64))
    if kind == CODES:
        return round_to_codes(moved, options.codebook_size), present
    if not np.isfinite(moved).all():
        check_finite(values)  # only now: an hour of frames is often read for a few hundred TRs
    if options.outside == "nan":
        moved[beyond] = np.nan
    return moved, present


def _present_only(
    weights: sparse.csr_array, reach: sparse.csr_array, present: np.ndarray
) -> tuple[sparse.csr_array, np.ndarray]:
    """Weights without what is absent, each row summing to 1 again, and which rows reach anything that is present.

    `reach` has the weights, none negative, that say what belongs to a target; a row that reaches nothing present keeps
    these.
    """
    from scipy import sparse

    if present.all():
        return weights, np.ones(weights.shape[0], bool)
    share = present.astype(np.float64)
    near, kept = reach @ share, weights @ share
    there = near > LEAST
    # Of lobes, what is left may sum to nearly nothing: then what the target reaches must do.
    usable = there if weights is reach else there & (kept >= 0.5)
    rest = there & ~usable
    only = sparse.diags_array(share)
    own = sparse.diags_array(np.where(usable, 1 / np.where(usable, kept, 1), 0)) @ weights @ only
    instead = sparse.diags_array(np.where(rest, 1 / np.where(rest, near, 1), 0)) @ reach @ only
    return sparse.csr_array(own + instead + sparse.diags_array(np.where(there, 0.0, 1.0)) @ reach), there


def _heaviest(weights: sparse.csr_array) -> np.ndarray:
    """The sample with the largest weight in each row."""
    return np.asarray(weights.argmax(axis=1)).ravel()


def _apply(weights: sparse.csr_array, values: np.ndarray) -> np.ndarray:
    flat = values.reshape(len(values), -1)
    moved = weights.astype(values.dtype) @ np.ascontiguousarray(flat)
    return moved.reshape(weights.shape[0], *values.shape[1:])


def _linear(source: np.ndarray, target: np.ndarray) -> tuple[sparse.csr_array, np.ndarray]:
    """Weights between the two neighbours in time; the end samples outside."""
    n = len(source)
    right = np.clip(np.searchsorted(source, target, side="right"), min(1, n - 1), n - 1)
    left = np.maximum(right - 1, 0)
    gap = source[right] - source[left]
    share = np.clip((target - source[left]) / np.where(gap > 0, gap, 1), 0, 1)
    beyond = (target < source[0] - TOLERANCE) | (target > source[-1] + TOLERANCE)
    return _rows(np.stack([left, right], 1), np.stack([1 - share, share], 1), n), beyond


def _nearest(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    right = np.clip(np.searchsorted(source, target), 0, len(source) - 1)
    left = np.maximum(right - 1, 0)
    return np.where(np.abs(target - source[left]) <= np.abs(source[right] - target) + TOLERANCE, left, right)


def _ends(times: np.ndarray, what: str) -> np.ndarray:
    """Where each sample ends: at the next, and the last one as long after as the one before."""
    if len(times) == 1:
        raise AlignmentError(
            f"one {what} time has no length: method='mean' needs at least two, or averaging= for targets"
        )
    return np.append(times[1:], 2 * times[-1] - times[-2])


def _overlap(source: np.ndarray, target: np.ndarray, averaging: float | None) -> tuple[sparse.csr_array, np.ndarray]:
    """Weights by the share of each target's stretch, `averaging` seconds or up to the next, that a sample fills."""
    end = _ends(source, "source")
    stop = _ends(target, "target") if averaging is None else target + averaging
    first = np.clip(np.searchsorted(source, target, side="right") - 1, 0, len(source) - 1)
    last = np.clip(np.searchsorted(source, stop, side="left"), first + 1, len(source))
    column = first[:, None] + np.arange(int((last - first).max()))
    inside = np.minimum(column, len(source) - 1)
    shared = np.minimum(end[inside], stop[:, None]) - np.maximum(source[inside], target[:, None])
    shared = np.where(column < last[:, None], np.maximum(shared, 0), 0)
    empty = shared.sum(axis=1) <= 0
    shared[empty, 0] = 1  # a stretch wholly outside has the nearest sample for outside="hold"
    beyond = (target < source[0] - TOLERANCE) | (stop > end[-1] + TOLERANCE)
    return _rows(inside, shared / shared.sum(axis=1, keepdims=True), len(source)), beyond


def _lanczos(source: np.ndarray, target: np.ndarray) -> tuple[sparse.csr_array, np.ndarray]:
    """Windowed-sinc weights; those of a row sum to 1, so a constant stays one, at the ends and between gaps too."""
    steps = [np.median(np.diff(t)) for t in (source, target) if len(t) > 1]
    step = max(steps, default=1.0)
    first = np.searchsorted(source, target - LOBES * step, side="left")
    last = np.searchsorted(source, target + LOBES * step, side="right")
    column = first[:, None] + np.arange(max(1, int((last - first).max())))
    inside = np.minimum(column, len(source) - 1)
    distance = (source[inside] - target[:, None]) / step
    length = np.gradient(source)[inside] if len(source) > 1 else np.ones_like(distance)
    weight = np.sinc(distance) * np.sinc(distance / LOBES) * length
    weight = np.where((column < last[:, None]) & (np.abs(distance) < LOBES), weight, 0)
    beyond = (target < source[0] - TOLERANCE) | (target > source[-1] + TOLERANCE)
    # Outside only the nearest sample is held; a sum of lobes that is nearly 0 would blow up.
    lost = beyond | (np.abs(weight.sum(axis=1)) < 0.1 * step)
    weight[lost] = 0
    inside[lost, 0], weight[lost, 0] = _nearest(source, target[lost]), 1
    return _rows(inside, weight / weight.sum(axis=1, keepdims=True), len(source)), beyond


def _rows(column: np.ndarray, weight: np.ndarray, n_source: int) -> sparse.csr_array:
    from scipy import sparse

    pointer = np.arange(len(column) + 1) * column.shape[1]
    return sparse.csr_array((weight.ravel(), column.ravel(), pointer), shape=(len(column), n_source))


def _check_inside(beyond: np.ndarray, source: np.ndarray, target: np.ndarray, outside: str) -> None:
    if outside == "error" and beyond.any():
        at = target[beyond][0]
        raise AlignmentError(
            f"{int(beyond.sum())} of {len(target)} target times are not covered, the first at {at:g} s: the source "
            f"goes from {source[0]:g} to {source[-1]:g} s; cut the target times, or pass outside='hold' or 'nan'"
        )


def _through_latents(codes: np.ndarray, weights: sparse.csr_array, codec: LatentCodec) -> np.ndarray:
    """Codes (n, n_codebooks) or (n, n_codebooks, width), moved as latents."""
    if codes.ndim not in (2, 3):
        raise InputError(
            f"codes have shape {codes.shape}; expected (time, n_codebooks) or (n_trs, n_codebooks, frames)"
        )
    table = codes[:, :, None] if codes.ndim == 2 else codes
    n, n_codebooks, width = table.shape
    latents = np.asarray(codec.latents(np.ascontiguousarray(table.transpose(1, 0, 2).reshape(n_codebooks, -1))))
    by_time = latents.reshape(len(latents), n, width).transpose(1, 0, 2)
    moved = _apply(weights, by_time).transpose(1, 0, 2).reshape(len(latents), -1)
    back = np.asarray(codec.requantize(np.ascontiguousarray(moved)))
    if back.shape != (n_codebooks, weights.shape[0] * width):
        raise AlignmentError(
            f"the codec gave {back.shape[0]} codebooks back, {n_codebooks} went in: use the same bandwidth"
        )
    out = back.reshape(n_codebooks, weights.shape[0], width).transpose(1, 0, 2).astype(np.int32)
    return out[:, :, 0] if codes.ndim == 2 else out


def _by_frame(
    codes: np.ndarray, source: np.ndarray, target: np.ndarray, options: Resampling, there: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Grouped codes as the series of frames they are, on the frames of the target TRs."""
    if codes.ndim != 3:
        raise InputError(f"frame_rate is for codes (n_trs, n_codebooks, frames_per_tr), these have shape {codes.shape}")
    rate, width = float(options.frame_rate or 0), codes.shape[2]
    new_width = width
    if len(target) > 1:
        steps = np.diff(target)
        if np.ptp(steps) > 1e-6:
            raise AlignmentError(
                f"target TRs are {steps.min():g} to {steps.max():g} s apart; expected one TR for frames"
            )
        new_width = int(np.floor(np.round(steps.mean() * rate, 6)))
        if new_width < 1:
            raise AlignmentError(
                f"target TRs are {steps.mean():g} s apart, less than a frame at {rate:g} Hz: give TRs further apart"
            )
    frames = first_frames(source, rate)[:, None] + np.arange(width)
    wanted = first_frames(target, rate)[:, None] + np.arange(new_width)
    series = codes.transpose(0, 2, 1).reshape(-1, codes.shape[1])
    unique, back = np.unique(wanted, return_inverse=True)  # neighbouring TRs may share a frame when the TR shrinks
    moved, present = resampled(
        series, frames.ravel() / rate, unique / rate, CODES, replace(options, frame_rate=None), np.repeat(there, width)
    )
    back = back.reshape(wanted.shape)
    # Half a TR of frames is no TR: the model takes whole ones.
    return np.ascontiguousarray(moved[back].transpose(0, 2, 1)), np.all(present[back], axis=1)
