"""nilearn's haemodynamic responses as weights between stimulus intervals and volumes.

A feature that holds one value for the length of a sample is a boxcar, and convolving a boxcar with an HRF and
reading the result at the onset of a volume is a weighted sum of the HRF's fine samples. So the fine grid appears
only in the weights: the features themselves are never oversampled, and the result is that of
:func:`nilearn.glm.first_level.compute_regressor` on the same boxcars.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from giblet.errors import InputError
from giblet.timing import check_tr, exact

HRF = str | Callable[[float, int], np.ndarray]
NAMES = (
    "glover", "glover + derivative", "glover + derivative + dispersion",
    "spm", "spm + derivative", "spm + derivative + dispersion",
    "fir",
)  # fmt: skip
OVERSAMPLING = 50
"""Fine samples per volume, as in nilearn."""


def several(hrf: HRF) -> bool:
    """Whether `hrf` gives several responses, which stand on a trailing axis of the result.

    Parameters
    ----------
    hrf : str or callable

    Returns
    -------
    bool
    """
    return isinstance(hrf, str) and ("+" in hrf or hrf == "fir")


def fine_hrf(hrf: HRF, *, tr: float, oversampling: int = OVERSAMPLING) -> np.ndarray:
    """Samples of an HRF every ``tr / oversampling`` seconds.

    Parameters
    ----------
    hrf : str or callable
        A name of nilearn's (not ``"fir"``), or ``hrf(tr, oversampling)`` that returns samples (n_fine,).
    tr : float
        Repetition time in seconds.
    oversampling : int
        Fine samples per volume, at least 1.

    Returns
    -------
    ndarray of float64, shape (n_fine, n_responses)
        A response to a stimulus that never ends converges to the sum of a column: 1 for ``"glover"`` and ``"spm"``.

    Raises
    ------
    InputError
        If the function returns other than finite samples (n_fine,).
    """
    from nilearn.glm import first_level  # a second and a half, for those who convolve

    if callable(hrf):
        kernel = np.asarray(hrf(tr, oversampling), dtype=np.float64)
        if kernel.ndim != 1 or kernel.size == 0 or not np.isfinite(kernel).all():
            raise InputError(f"the HRF function returned shape {kernel.shape}; expected finite samples (n_fine,)")
        return kernel[:, None]
    family, *more = hrf.split(" + ")
    functions = [f"{family}_hrf"] + [f"{family}_{'time_' if m == 'derivative' else ''}{m}" for m in more]
    functions = [f"{f}_derivative" if f.endswith("dispersion") else f for f in functions]
    return np.stack([getattr(first_level, f)(tr, oversampling) for f in functions], axis=1)


def check_slice_time_ref(given: float) -> None:
    """Refuse a `slice_time_ref` that is not a fraction of the TR.

    Parameters
    ----------
    given : float
        When in its TR a volume is read, 0 (onset) to 1.

    Raises
    ------
    InputError
        If it is not in [0, 1].
    """
    if not 0 <= given <= 1:
        raise InputError(f"slice_time_ref is {given}; expected a fraction of the TR in [0, 1]")


def check_hrf(
    hrf: Any, *, tr: Any, delays: Any = None, slice_time_ref: float = 0.0, oversampling: int = OVERSAMPLING
) -> float:
    """The TR as a float, after all that belongs to an HRF has been looked at.

    Parameters
    ----------
    hrf, tr, delays, slice_time_ref, oversampling
        As for :func:`giblet.alignment.convolve_hrf`.

    Returns
    -------
    float
        In seconds.

    Raises
    ------
    InputError
        Says which option, its value, and what is allowed.
    """
    if not callable(hrf) and hrf not in NAMES:
        raise InputError(f"hrf is {hrf!r}; expected a function or one of {', '.join(map(repr, NAMES))}")
    step = check_tr(tr)
    if isinstance(oversampling, bool) or not isinstance(oversampling, (int, np.integer)) or oversampling < 1:
        raise InputError(f"oversampling is {oversampling!r}; expected a whole number of at least 1")
    check_slice_time_ref(slice_time_ref)
    if hrf == "fir":
        if delays is None or np.ndim(delays) != 1 or len(delays) == 0:
            raise InputError(f"hrf='fir' has delays={delays!r}; expected a list of delays in seconds, e.g. [3, 4.5, 6]")
        values = np.asarray(delays, dtype=np.float64)
        if not np.isfinite(values).all() or (values < 0).any():
            raise InputError(f"FIR delays are {list(delays)} s: none may be negative, the brain does not look ahead")
        ahead = values < slice_time_ref * float(step) - 1e-9
        if ahead.any():
            raise InputError(
                f"FIR delay {values[ahead][0]:g} s is shorter than the {slice_time_ref * float(step):g} s from a "
                f"volume's onset to where it is read (slice_time_ref {slice_time_ref:g}): it would look into the next "
                "TR; pass longer delays"
            )
    elif delays is not None:
        raise InputError(f"delays were given with hrf={hrf!r}: they belong to hrf='fir'")
    return float(step)


def collapse(n_lags: int, n_fine: int, oversampling: int, slice_time_ref: float = 0.0) -> np.ndarray:
    """Weights that turn fine HRF samples into a kernel per volume.

    ``collapse(...) @ h`` is what :func:`tr_kernel` returns for fine samples `h`, as one matrix, through which the
    gradients of a learnable HRF flow.

    Parameters
    ----------
    n_lags : int
        Volumes of the kernel, from the stimulus's own on.
    n_fine : int
        Samples of the HRF.
    oversampling : int
        Fine samples of the HRF per TR.
    slice_time_ref : float
        When in its TR a volume is read, 0 (onset) to 1.

    Returns
    -------
    ndarray of float64, shape (n_lags, n_fine)
    """
    sample = np.arange(n_fine)

    def summed_to(position: np.ndarray) -> np.ndarray:
        # The cumulative sum of h read at a fractional position; nothing before the stimulus.
        return np.clip(position[:, None] - sample + 1, 0, 1) * (position[:, None] >= 0)

    end = (np.arange(n_lags) + slice_time_ref) * oversampling
    return summed_to(end) - summed_to(end - oversampling)


def tr_kernel(
    hrf: HRF,
    *,
    tr: float,
    delays: Sequence[float] | None = None,
    slice_time_ref: float = 0.0,
    oversampling: int = OVERSAMPLING,
) -> np.ndarray:
    """What a stimulus of one TR shows in the volumes from its own on.

    Parameters
    ----------
    hrf, tr, delays, slice_time_ref, oversampling
        As for :func:`giblet.alignment.convolve_hrf`.

    Returns
    -------
    ndarray of float64, shape (n_lags, n_responses)

    Raises
    ------
    InputError
        If an option is out of range.
    """
    tr = check_hrf(hrf, tr=tr, delays=delays, slice_time_ref=slice_time_ref, oversampling=oversampling)
    if hrf == "fir":
        # A volume sees the mean of the TR-long stretch that began `delay` before it is read: two neighbours share a
        # fraction.
        delayed = np.array([float(exact(d) / exact(tr)) for d in delays or ()])
        lag = np.maximum(delayed - slice_time_ref, 0)
        return np.clip(1 - np.abs(np.arange(int(np.ceil(delayed.max())) + 1)[:, None] - lag), 0, 1)
    fine = fine_hrf(hrf, tr=tr, oversampling=oversampling)
    end = (np.arange(int(np.ceil(len(fine) / oversampling)) + 1) + slice_time_ref) * oversampling
    return response_so_far(fine, end) - response_so_far(fine, end - oversampling)


def response_so_far(fine: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Response to a stimulus that began `position` fine samples ago and lasts.

    Parameters
    ----------
    fine : ndarray, shape (n_fine, n_responses)
    position : ndarray, any shape
        Not necessarily whole; nothing comes before the onset, whatever the HRF's first sample.

    Returns
    -------
    ndarray of float64, shape (*position.shape, n_responses)
    """
    total = np.cumsum(fine, axis=0)
    sample = np.arange(len(total))
    at = np.stack([np.interp(position, sample, response) for response in total.T], axis=-1)
    at[position < 0] = 0
    return at


def interval_weights(
    edges: np.ndarray, times: np.ndarray, hrf: HRF, *, tr: float, oversampling: int = OVERSAMPLING
) -> tuple[np.ndarray, np.ndarray]:
    """Cumulative responses for stimuli that begin and end at any time.

    Parameters
    ----------
    edges : ndarray, shape (n_samples + 1,)
        Where samples begin and end, in seconds.
    times : ndarray, shape (n_times,)
        When the response is read, in seconds.
    hrf, tr, oversampling
        As for :func:`fine_hrf`; ``"fir"`` is not one of these.

    Returns
    -------
    first : ndarray of int64, shape (n_times, n_reach)
        Samples that reach each time.
    weights : ndarray of float64, shape (n_times, n_reach, n_responses)

    Raises
    ------
    InputError
        As :func:`fine_hrf`.
    """
    fine = fine_hrf(hrf, tr=tr, oversampling=oversampling)
    step = tr / oversampling
    length = (len(fine) + 1) * step
    # An edge more than an HRF ago has given all it had, so samples wholly before that no longer matter.
    first = np.maximum(np.searchsorted(edges, times - length, side="right") - 1, 0)
    last = np.searchsorted(edges, times, side="left")
    column = first[:, None] + np.arange(int(np.max(last - first, initial=0)) + 1)
    position = (times[:, None] - edges[np.minimum(column, len(edges) - 1)]) / step
    at = response_so_far(fine, position)
    return np.minimum(column[:, :-1], len(edges) - 2), at[:, :-1] - at[:, 1:]
