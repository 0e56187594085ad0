"""The haemodynamic response: stimulus features as the scanner would see them, causal, run by run.

References
----------
Glover (1999). Deconvolution of impulse response in event-related BOLD fMRI. NeuroImage 9, 416-429.
Friston et al. (1998). Event-related fMRI: characterizing differential responses. NeuroImage 7, 30-40.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from typing import Any, Literal

import numpy as np

from giblet.alignment.checks import Kind, LatentCodec, array_of_kind, increasing, kind_of, rows_in_time
from giblet.alignment.kernels import HRF, OVERSAMPLING, check_hrf, interval_weights, several, tr_kernel
from giblet.errors import AlignmentError, InputError
from giblet.features import CODES
from giblet.renamed import renamed
from giblet.runs import run_slices
from giblet.timing import TRGrid, exact, group_with_spill, ungroup_codes

LABELS = "run, a label per volume: np.repeat([1, 2, ...], run_lengths)"
"""What takes the place of lengths of runs."""


class CategoriesWarning(UserWarning):
    """Warning that codes were averaged as if they were amounts."""


@renamed(run_lengths=LABELS)
def convolve_hrf(
    x: Any,
    *,
    tr: float = 1.5,
    hrf: HRF = "glover",
    kind: Kind | None = None,
    delays: Sequence[float] | None = None,
    run: Any = None,
    volumes: Any = None,
    codebook_size: int = 1024,
    slice_time_ref: float = 0.0,
    oversampling: int = OVERSAMPLING,
) -> np.ndarray:
    """Convolve features by TR with a haemodynamic response: ``y[k] = sum over l >= 0 of w[l] * x[k - l]``, run by run.

    ``w[l]`` is the response, at the moment that volume `l` is read, to a stimulus that lasted from 0 to one TR:
    the integral of the HRF from ``(l - 1 + slice_time_ref) * tr`` to ``(l + slice_time_ref) * tr``, whose parts before
    0 are 0.

    Row ``k`` of `x` is what the stimulus was from ``k * tr`` to ``(k + 1) * tr``; row ``k`` of the result is the
    response at the onset of volume ``k``, or `slice_time_ref` of a TR later. Before the first row of a run the stimulus
    counts as zero, so the first 20 s or so of each run rise from zero: subtract the mean of a feature first, or leave
    those volumes out.

    Parameters
    ----------
    x : array_like or xarray.DataArray, shape (n_trs, ...)
        Rows must be neighbours in time. What :func:`giblet.alignment.align_all_modalities` returns knows whether they
        are, and is refused where volumes are left out between them, or a part of the stimulus before them.
    tr : float
        Repetition time in seconds.
    hrf : str or callable
        ``"glover"``, ``"spm"``, either ``+ derivative`` or ``+ derivative + dispersion``, ``"fir"``; or a function
        ``hrf(tr, oversampling)`` that returns samples every ``tr / oversampling`` seconds, as nilearn takes it.
    kind : {"continuous", "codes"}
        Whether numbers are amounts or names; never guessed from the dtype. May be left out only of a DataArray that
        says it of itself. ``"codes"``: convolve, round half to even, clip to [0, codebook_size - 1], as the
        specification of ``use_encodec`` asks for. That treats names as amounts, and destroys what they stand for; it
        warns once (:class:`CategoriesWarning`). :func:`convolve_hrf_latents` and `HRFLayer` do not.
    delays : sequence of float, optional
        For ``hrf="fir"``: seconds before a volume is read, at least ``slice_time_ref * tr``; one that is not a whole
        number of TRs earlier than the volume's onset shares its weight between the two TRs around it.
    run : array_like, shape (n_trs,), optional
        A run label per volume (``bold.run``): no response crosses from one run into the next. One run without it.
    volumes : array_like of int, shape (n_trs,), optional
        The volume of its run that each row is, where rows are missing: censored volumes, a part that was cut. The
        response goes on over them, and the stimulus in them counts as zero.
    codebook_size : int
        Entries per codebook, for ``kind="codes"``.
    slice_time_ref : float
        When in its TR a volume is read, 0 (onset) to 1, as nilearn's; fMRIPrep's slice timing makes it about 0.5
        (``StartTime`` of the scan's sidecar, divided by the TR).
    oversampling : int
        Fine samples of the HRF per TR.

    Returns
    -------
    ndarray
        As `x` in shape; ``"fir"`` and HRFs with derivatives add a trailing axis (delays; response, derivatives).
        Continuous: float32, or float64 if `x` is. Codes: int32. Derivatives are not orthogonalised, since that would
        mix test volumes into training ones; nilearn's ``compute_regressor`` does it.

    Raises
    ------
    InputError
        If `kind` is missing, an option is out of range, `x` holds NaN, or `run` is not one label per volume.
    AlignmentError
        If `x` is not of that kind, or its rows are no neighbours in time.

    See Also
    --------
    align_all_modalities : convolves on the film's own clock, before anything is cut.
    resample_features : brings features onto the clock of the scan.
    convolve_hrf_latents : the same for what codes stand for.
    response_at : the response at any time, to features on any clock.
    giblet.alignment.hrf_layer.HRFLayer : the same as a layer of a network.

    Examples
    --------
    >>> x = np.zeros((40, 1))
    >>> x[20] = 1
    >>> y = convolve_hrf(x, tr=1.5, kind="continuous")
    >>> bool(np.any(y[:21])), (int(y.argmax()) - 20) * 1.5
    (False, 6.0)
    """
    kind = kind_of(x, kind)
    values = array_of_kind(x, kind, codebook_size)
    kernel = tr_kernel(hrf, tr=tr, delays=delays, slice_time_ref=slice_time_ref, oversampling=oversampling)
    slices = run_slices(len(values), run)
    rows = rows_in_time(x, volumes, slices)
    if kind == CODES:
        if several(hrf):
            raise InputError(f"hrf={hrf!r} gives several responses, codes need one: use 'glover' or 'spm'")
        warn_about_categories()
        return round_to_codes(_in_place(values.astype(np.float64), kernel[:, 0], slices, rows), codebook_size)
    responses = [_in_place(values, column, slices, rows) for column in kernel.T]
    return np.stack(responses, axis=-1) if several(hrf) else responses[0]


def _in_place(x: np.ndarray, kernel: np.ndarray, slices: Sequence[slice], rows: np.ndarray | None) -> np.ndarray:
    """:func:`causal` with each row at its volume, zeros at volumes that have none."""
    if rows is None:
        return causal(x, kernel, slices)
    out = np.empty_like(x, order="C")
    for part in slices:
        at = rows[part] - rows[part.start]
        whole = np.zeros((int(at[-1]) + 1, *x.shape[1:]), x.dtype)
        whole[at] = x[part]
        out[part] = causal(whole, kernel, [slice(0, len(whole))])[at]
    return out


def causal(x: np.ndarray, kernel: np.ndarray, slices: Sequence[slice]) -> np.ndarray:
    """Convolve along the leading axis, run by run: ``y[k] = sum_l kernel[l] x[k - l]``.

    A banded matrix product in blocks of rows: exact zeros before an impulse, which an FFT would not give, and no copy
    of the features.

    Parameters
    ----------
    x : ndarray of float, shape (n_trs, ...)
    kernel : ndarray of float, shape (n_lags,)
    slices : sequence of slice
        The runs, which cover all rows.

    Returns
    -------
    ndarray, the shape and dtype of `x`
    """
    flat = x.reshape(len(x), -1)
    out = np.empty_like(flat, order="C")
    block = max(128, len(kernel))
    for part in slices:
        for start in range(part.start, part.stop, block):
            stop = min(start + block, part.stop)
            first = max(part.start, start - len(kernel) + 1)
            lag = np.arange(start, stop)[:, None] - np.arange(first, stop)
            band = np.where((lag >= 0) & (lag < len(kernel)), kernel[np.clip(lag, 0, len(kernel) - 1)], 0)
            np.matmul(band.astype(x.dtype), flat[first:stop], out=out[start:stop])
    return out.reshape(x.shape)


def round_to_codes(values: np.ndarray, codebook_size: int) -> np.ndarray:
    """Round half to even and clip to [0, codebook_size - 1].

    Parameters
    ----------
    values : ndarray of float, of any shape
    codebook_size : int
        Entries per codebook.

    Returns
    -------
    ndarray of int32, the shape of `values`
    """
    return np.clip(np.round(values), 0, codebook_size - 1).astype(np.int32)


@cache
def warn_about_categories() -> None:
    """Warn once per process about what a convolution does to codes."""
    warnings.warn(
        "codes were convolved as numbers: entry 511 of a codebook is not between 510 and 512, so a weighted mean of "
        "codes names a sound that has nothing to do with them, and each run begins with a fade from code 0. Convolve "
        "latents instead (convolve_hrf_latents), or the model's own features (HRFLayer); decode un-convolved codes.",
        CategoriesWarning,
        stacklevel=3,
    )


@renamed(run_lengths=LABELS)
def convolve_hrf_latents(
    codes: Any,
    codec: LatentCodec,
    *,
    tr: float = 1.5,
    hrf: HRF = "glover",
    clock: Literal["tr", "frame"] = "tr",
    frame_rate: float | Fraction = 75,
    spill: np.ndarray | None = None,
    run: Any = None,
    codebook_size: int = 1024,
    slice_time_ref: float = 0.0,
) -> np.ndarray:
    """Convolve codes as latents: dequantize, convolve the latents, requantize.

    Parameters
    ----------
    codes : array_like of int, shape (n_trs, n_codebooks, frames_per_tr)
    codec : AudioCodec
        The one that made the codes; any object with ``latents`` and ``requantize`` will do.
    tr : float
        Repetition time in seconds.
    hrf : str or callable
        One that gives a single response.
    clock : {"tr", "frame"}
        ``"tr"``: frame ``f`` of a TR becomes the HRF-weighted mean of frames ``f`` of the TRs before. ``"frame"``:
        each frame becomes the weighted mean of all frames before it, whatever their TR.
    frame_rate : float or Fraction
        Frames per second, for ``clock="frame"``.
    spill : ndarray of int, shape (n_trs, n_codebooks, 1), optional
        The odd frames, for ``clock="frame"``; the frame before is repeated without it.
    run : array_like, shape (n_trs,), optional
        As for :func:`convolve_hrf`.
    codebook_size : int
        Entries per codebook.
    slice_time_ref : float
        As for :func:`convolve_hrf`, for ``clock="tr"``; frames have times of their own.

    Returns
    -------
    ndarray of int32, shape (n_trs, n_codebooks, frames_per_tr)

    Raises
    ------
    InputError
        If an option is out of range, the codes do not fit the clock, or `run` is not one label per volume.
    AlignmentError
        If the codec gives back codes of another shape.

    See Also
    --------
    convolve_hrf : for features that are amounts.
    """
    values = array_of_kind(codes, CODES, codebook_size, "codes")
    if values.ndim != 3:
        raise InputError(f"codes have shape {values.shape}; expected (n_trs, n_codebooks, frames_per_tr)")
    if several(hrf):
        raise InputError(f"hrf={hrf!r} gives several responses, codes need one: use 'glover' or 'spm'")
    slices = run_slices(len(values), run)
    rows_in_time(codes, None, slices, "the codes", "convolve the codes of the whole film, and align the result")
    if clock == "tr":
        kernel = tr_kernel(hrf, tr=tr, slice_time_ref=slice_time_ref)[:, 0]
        n_trs, n_codebooks, width = values.shape
        latents = codec.latents(values.transpose(1, 0, 2).reshape(n_codebooks, -1))
        by_tr = causal(latents.reshape(len(latents), n_trs, width).transpose(1, 0, 2), kernel, slices)
        back = _requantized(codec, by_tr.transpose(1, 0, 2).reshape(len(latents), -1), (n_codebooks, n_trs * width))
        return np.ascontiguousarray(back.reshape(n_codebooks, n_trs, width).transpose(1, 0, 2))
    if clock != "frame":
        raise InputError(f"clock is {clock!r}; expected 'tr' or 'frame'")
    if slice_time_ref:
        raise InputError(
            f"slice_time_ref is {slice_time_ref:g} with clock='frame': it is a part of a TR, use clock='tr'"
        )
    kernel = tr_kernel(hrf, tr=float(1 / exact(frame_rate, "frame rate")))[:, 0]
    out = np.empty_like(values)
    for part in slices:
        own_spill = None if spill is None else np.asarray(spill)[part]
        series = ungroup_codes(values[part], tr=tr, frame_rate=frame_rate, spill=own_spill)
        latents = np.asarray(codec.latents(series)).T
        back = _requantized(codec, causal(latents, kernel, [slice(0, len(latents))]).T, series.shape)
        out[part] = group_with_spill(back, TRGrid(tr, part.stop - part.start, frame_rate)).codes
    return out


def _requantized(codec: LatentCodec, latents: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Codes of those latents, int32, checked to be as many as went in."""
    codes = np.asarray(codec.requantize(np.ascontiguousarray(latents)))
    if codes.shape != shape:
        raise AlignmentError(
            f"the codec gave codes of shape {codes.shape} back, {shape} went in: use the codec and bandwidth "
            "that made them"
        )
    return codes.astype(np.int32, copy=False)


def response_at(
    x: Any,
    edges: Any,
    times: Any,
    hrf: HRF = "glover",
    *,
    tr: float = 1.5,
    oversampling: int = OVERSAMPLING,
) -> np.ndarray:
    """The response to a feature on its own clock, read at any time: envelopes, words, luminance on the scan's clock.

    ``y(t) = sum over samples i of x[i] * (H(t - edges[i]) - H(t - edges[i + 1]))``, where ``H(s)`` is the integral of
    the HRF from 0 to ``s``, and 0 before.

    Parameters
    ----------
    x : array_like, shape (n_samples, ...)
        Amounts that hold from one edge to the next: 75 per second, one per word, whatever there is.
    edges : array_like, shape (n_samples + 1,)
        Where samples begin and end, in seconds; outside them the stimulus counts as zero.
    times : array_like, shape (n_times,)
        When to read the response, in seconds on the same clock, increasing: onsets of volumes, or finer.
    hrf : str or callable
        As for :func:`convolve_hrf`, without ``"fir"``.
    tr, oversampling : float, int
        The HRF is sampled every ``tr / oversampling`` seconds.

    Returns
    -------
    ndarray, shape (n_times, ...)
        float32, or float64 if `x` is; derivatives stand on a trailing axis. On edges and times that are whole TRs it
        equals :func:`convolve_hrf`.

    Raises
    ------
    InputError
        If an option is out of range, or `x` holds NaN.
    AlignmentError
        If times do not increase, or `edges` are not one more than the samples.

    See Also
    --------
    convolve_hrf : for features that have the TR of the scan.
    lag_scan : correlates the response with BOLD at many lags.
    """
    from scipy import sparse

    values = array_of_kind(x, "continuous")
    edges, times = increasing(edges, "edges"), increasing(times, "times")
    if len(edges) != len(values) + 1:
        raise AlignmentError(f"{len(edges)} edges for {len(values)} samples; expected one more edge than samples")
    if hrf == "fir":
        raise InputError("hrf='fir' is defined by TR: use convolve_hrf, or read a feature at delayed times")
    seconds = check_hrf(hrf, tr=tr, oversampling=oversampling)
    column, weights = interval_weights(edges, times, hrf, tr=seconds, oversampling=oversampling)
    flat = values.reshape(len(values), -1)
    pointer = np.arange(len(times) + 1) * column.shape[1]
    responses = []
    for response in range(weights.shape[2]):
        data = weights[:, :, response].ravel().astype(values.dtype)
        matrix = sparse.csr_array((data, column.ravel(), pointer), shape=(len(times), len(values)))
        responses.append((matrix @ flat).reshape(len(times), *values.shape[1:]))
    return np.stack(responses, axis=-1) if several(hrf) else responses[0]
