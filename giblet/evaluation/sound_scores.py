"""Scores of one sound against another: PESQ, STOI, SI-SDR and a distance of mel spectra."""

from __future__ import annotations

import importlib.util
import math
import warnings

import numpy as np
import soxr
import torch

from giblet.codec.losses import MultiScaleLoss
from giblet.evaluation.reconstruction import si_sdr

SCORES = {"pesq": "PESQ-wb", "stoi": "STOI", "si_sdr": "SI-SDR, dB", "mel": "mel distance"}
"""Scores and their headings. More is better, but for the mel distance."""
PACKAGES = {"pesq": "pesq", "stoi": "pystoi"}
REMEDY = "pip install 'giblet[quality]' (building pesq needs a C compiler)"
SPEECH_RATE = 16_000
"""Hz at which wide-band PESQ is defined; STOI resamples to 10 kHz itself."""


def missing() -> list[str]:
    """Scores whose package is not installed."""
    return [score for score, package in PACKAGES.items() if importlib.util.find_spec(package) is None]


def score(
    reference: np.ndarray, estimate: np.ndarray, sample_rate: int, *, spectral: MultiScaleLoss | None = None
) -> dict[str, float | None]:
    """Scores of one sound against another.

    Parameters
    ----------
    reference, estimate : ndarray of float32, shape (n_samples,)
        At the same times.
    sample_rate : int
        In Hz.
    spectral : MultiScaleLoss, optional
        Made once for many sounds.

    Returns
    -------
    dict
        ``pesq``: wide-band PESQ, 1.0 to 4.64; ``stoi``, 0 to 1; ``si_sdr`` in dB, inf for a scaled copy, -inf for
        silence; ``mel``: mean distance of log10 mel spectra at several scales. None where a package is absent, or
        where a score is not defined: PESQ finds no utterance, STOI less than 0.4 s of speech.

    Raises
    ------
    InputError
        If the lengths differ, or the reference is silent.

    References
    ----------
    ITU-T P.862.2 (2007). Wideband extension to Recommendation P.862.
    Taal, Hendriks, Heusdens, Jensen (2011). An algorithm for intelligibility prediction of time-frequency weighted
    noisy speech. IEEE TASLP 19(7).
    """
    spectral = spectral or MultiScaleLoss(sample_rate)
    si = si_sdr(reference, estimate) if estimate.any() else -math.inf
    x, y = (torch.from_numpy(np.ascontiguousarray(v, np.float32))[None, None] for v in (reference, estimate))
    with torch.no_grad():
        mel = float(spectral(y, x)["mel"])
    absent = missing()
    at_16k = [np.asarray(soxr.resample(v, sample_rate, SPEECH_RATE)) for v in (reference, estimate)]
    return {
        "pesq": None if "pesq" in absent else _pesq(*at_16k),
        "stoi": None if "stoi" in absent else _stoi(*at_16k),
        "si_sdr": si,
        "mel": mel,
    }


def _pesq(reference: np.ndarray, estimate: np.ndarray) -> float | None:
    from pesq import BufferTooShortError, NoUtterancesError, pesq

    if not estimate.any():
        return None  # it divides by the estimate's power
    try:
        return float(pesq(SPEECH_RATE, reference, estimate, "wb"))
    except (NoUtterancesError, BufferTooShortError):
        return None


def _stoi(reference: np.ndarray, estimate: np.ndarray) -> float | None:
    from pystoi import stoi

    with warnings.catch_warnings():  # with too few frames of speech it warns, and answers 1e-5
        warnings.simplefilter("error", RuntimeWarning)
        try:
            return float(stoi(reference, estimate, SPEECH_RATE))
        except RuntimeWarning:
            return None
