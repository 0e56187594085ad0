"""Scores of one sound against another: PESQ, STOI, SI-SDR, the error of its level and a distance of mel spectra."""

from __future__ import annotations

import numpy as np
import torch

from giblet import sound_metrics
from giblet.codec.training.losses import MultiScaleLoss
from giblet.sound_metrics import level_error, missing, si_sdr

SCORES = {
    "pesq": "PESQ-wb",
    "stoi": "STOI",
    "si_sdr": "SI-SDR, dB",
    "level": "level error, dB",
    "mel": "mel distance",
}
"""Scores and their headings. More is better, but for the level error, of which 0 is best, and the mel distance."""
REMEDY = "pip install 'giblet[quality]' (building pesq needs a C compiler)"


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
        silence; ``level``: level error in dB, which SI-SDR does not see; ``mel``: mean distance of log10 mel spectra at
        several scales. None where a package is absent, or where a score is not defined: PESQ finds no utterance, STOI
        less than 0.4 s of speech.

    Raises
    ------
    InputError
        If the lengths differ, or the reference is silent.

    References
    ----------
    See `giblet.sound_metrics`.
    """
    spectral = spectral or MultiScaleLoss(sample_rate)
    x, y = (torch.from_numpy(np.ascontiguousarray(v, np.float32))[None, None] for v in (reference, estimate))
    with torch.no_grad():
        mel = float(spectral(y, x)["mel"])
    absent = missing()
    return {
        "pesq": None if "pesq" in absent else sound_metrics.pesq(reference, estimate, sample_rate),
        "stoi": None if "stoi" in absent else sound_metrics.stoi(reference, estimate, sample_rate),
        "si_sdr": si_sdr(reference, estimate),
        "level": level_error(reference, estimate),
        "mel": mel,
    }
