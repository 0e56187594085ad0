"""How near one sound is to another: SI-SDR, level error, and STOI and wide-band PESQ, as two packages measure them.

References
----------
Le Roux, Wisdom, Erdogan, Hershey (2019). SDR: half-baked or well done? ICASSP. https://arxiv.org/abs/1811.02508
ITU-T P.862.2 (2007). Wideband extension to Recommendation P.862.
Taal, Hendriks, Heusdens, Jensen (2011). An algorithm for intelligibility prediction of time-frequency weighted noisy
speech. IEEE TASLP 19(7). https://doi.org/10.1109/TASL.2011.2114881
"""

from __future__ import annotations

import importlib.util
import warnings

import numpy as np

from giblet.errors import InputError

PACKAGES = {"pesq": "pesq", "stoi": "pystoi"}
"""Scores, and what measures them."""
SPEECH_RATE = 16_000
"""Hz at which wide-band PESQ is defined; STOI resamples to 10 kHz itself."""


def si_sdr(reference: np.ndarray, estimate: np.ndarray, *, floor: float = 0.0) -> float:
    """Scale-invariant signal-to-distortion ratio in dB: ``10 log10(|a r|^2 / |e - a r|^2)`` with ``a = r.e / |r|^2``.

    Parameters
    ----------
    reference, estimate : ndarray of float, shape (n_samples,)
        On the same clock: a delay of one sample counts as distortion.
    floor : float
        Added to each of the energies |r|^2, |a r|^2 and |e - a r|^2. Above 0 every score is finite, as codec training
        wants it for its log: a silent reference is then no error, and two silent sounds score 0 dB.

    Returns
    -------
    float
        ``inf`` for a scaled copy, ``-inf`` for an estimate with nothing of the reference in it, a silent one too.

    Raises
    ------
    InputError
        If the lengths differ, or the reference is silent and `floor` 0.

    See Also
    --------
    level_error : what this does not see.

    Examples
    --------
    >>> round(si_sdr(np.array([1.0, 0, 0]), np.array([3.0, 0.3, 0])), 6)
    20.0
    """
    reference, estimate = _waveforms(reference, estimate, silence_allowed=floor > 0)
    projection = (reference @ estimate / (reference @ reference + floor)) * reference
    distortion = estimate - projection
    signal, noise = projection @ projection + floor, distortion @ distortion + floor
    if signal == 0:
        return float("-inf")
    with np.errstate(divide="ignore"):
        return float(10 * (np.log10(signal) - np.log10(noise)))


def level_error(reference: np.ndarray, estimate: np.ndarray, *, floor: float = 0.0) -> float:
    """By how many dB a sound came back too loud (above 0) or too quiet (below 0): ``10 log10(|e|^2 / |r|^2)``.

    Parameters
    ----------
    reference, estimate : ndarray of float, shape (n_samples,)
    floor : float
        Added to both energies. Above 0 the error is finite for silent sounds, which are then allowed.

    Returns
    -------
    float
        In dB; ``-inf`` for a silent estimate.

    Raises
    ------
    InputError
        If the lengths differ, or the reference is silent and `floor` 0.

    See Also
    --------
    si_sdr : which does not see the level.

    Examples
    --------
    >>> round(level_error(np.array([0.5, -0.5]), np.array([0.25, -0.25])), 2)
    -6.02
    """
    reference, estimate = _waveforms(reference, estimate, silence_allowed=floor > 0)
    with np.errstate(divide="ignore"):
        return float(10 * (np.log10(estimate @ estimate + floor) - np.log10(reference @ reference + floor)))


def _waveforms(reference: np.ndarray, estimate: np.ndarray, *, silence_allowed: bool) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64, checked."""
    reference, estimate = np.asarray(reference, np.float64), np.asarray(estimate, np.float64)
    if reference.shape != estimate.shape or reference.ndim != 1:
        raise InputError(
            f"reference has shape {reference.shape}, estimate {estimate.shape}; expected two equal (n_samples,)"
        )
    if not silence_allowed and reference @ reference == 0:
        raise InputError("the reference is silent: neither SI-SDR nor a level error is defined")
    return reference, estimate


def missing() -> list[str]:
    """Scores whose package is not installed.

    Returns
    -------
    list of str
        Of ``"pesq"`` and ``"stoi"``.
    """
    return [score for score, package in PACKAGES.items() if importlib.util.find_spec(package) is None]


def stoi(reference: np.ndarray, estimate: np.ndarray, sample_rate: int) -> float | None:
    """Short-time objective intelligibility, 1 for the same sound; None where there is less than 0.4 s of speech.

    Parameters
    ----------
    reference, estimate : ndarray of float, shape (n_samples,)
        At the same times.
    sample_rate : int
        In Hz.

    Returns
    -------
    float or None

    See Also
    --------
    pesq : speech quality, by another package.
    """
    from pystoi import stoi as measure

    with warnings.catch_warnings():  # with too few frames of speech it warns, and answers 1e-5
        warnings.simplefilter("error", RuntimeWarning)
        try:
            return float(measure(reference, estimate, sample_rate))
        except RuntimeWarning:
            return None


def pesq(reference: np.ndarray, estimate: np.ndarray, sample_rate: int) -> float | None:
    """Wide-band PESQ, 1.0 to 4.64; None where no utterance is found, or the estimate is silent.

    Parameters
    ----------
    reference, estimate : ndarray of float, shape (n_samples,)
        At the same times.
    sample_rate : int
        In Hz.

    Returns
    -------
    float or None

    See Also
    --------
    stoi : intelligibility, by another package.
    """
    import soxr
    from pesq import BufferTooShortError, NoUtterancesError
    from pesq import pesq as measure

    if not estimate.any():
        return None  # it divides by the estimate's power
    x, y = (soxr.resample(v, sample_rate, SPEECH_RATE) for v in (reference, estimate))
    try:
        return float(measure(SPEECH_RATE, x, y, "wb"))
    except (NoUtterancesError, BufferTooShortError):
        return None
