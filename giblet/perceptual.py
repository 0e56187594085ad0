"""How people would judge a sound, as two packages predict it: STOI and wide-band PESQ.

References
----------
ITU-T P.862.2 (2007). Wideband extension to Recommendation P.862.
Taal, Hendriks, Heusdens, Jensen (2011). An algorithm for intelligibility prediction of time-frequency weighted noisy
speech. IEEE TASLP 19(7).
"""

from __future__ import annotations

import importlib.util
import warnings

import numpy as np
import soxr

PACKAGES = {"pesq": "pesq", "stoi": "pystoi"}
"""Scores, and what measures them."""
SPEECH_RATE = 16_000
"""Hz at which wide-band PESQ is defined; STOI resamples to 10 kHz itself."""


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
    reference, estimate : ndarray, shape (n_samples,)
        At the same times.
    sample_rate : int
        In Hz.

    Returns
    -------
    float or None
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
    reference, estimate : ndarray, shape (n_samples,)
        At the same times.
    sample_rate : int
        In Hz.

    Returns
    -------
    float or None
    """
    from pesq import BufferTooShortError, NoUtterancesError
    from pesq import pesq as measure

    if not estimate.any():
        return None  # it divides by the estimate's power
    x, y = (soxr.resample(v, sample_rate, SPEECH_RATE) for v in (reference, estimate))
    try:
        return float(measure(SPEECH_RATE, x, y, "wb"))
    except (NoUtterancesError, BufferTooShortError):
        return None
