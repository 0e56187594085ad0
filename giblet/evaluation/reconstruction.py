"""Scores of reconstructed sound."""

from __future__ import annotations

import numpy as np

from giblet.errors import InputError


def si_sdr(reference: np.ndarray, estimate: np.ndarray) -> float:
    """Scale-invariant signal-to-distortion ratio in dB.

    Parameters
    ----------
    reference, estimate : ndarray, shape (n_samples,)
        On the same clock: a delay of one sample counts as distortion.

    Returns
    -------
    float
        ``inf`` for a scaled copy, ``-inf`` for an estimate with nothing of the reference in it.

    Raises
    ------
    InputError
        If the lengths differ, or the reference is silent.

    References
    ----------
    Le Roux, Wisdom, Erdogan, Hershey (2019). SDR: half-baked or well done? ICASSP. https://arxiv.org/abs/1811.02508

    Examples
    --------
    >>> round(si_sdr(np.array([1.0, 0, 0]), np.array([3.0, 0.3, 0])), 6)
    20.0
    """
    reference, estimate = np.asarray(reference, np.float64), np.asarray(estimate, np.float64)
    if reference.shape != estimate.shape or reference.ndim != 1:
        raise InputError(
            f"reference has shape {reference.shape}, estimate {estimate.shape}: two equal (n_samples,) are needed"
        )
    energy = reference @ reference
    if energy == 0:
        raise InputError("the reference is silent: its SI-SDR is not defined")
    projection = (reference @ estimate / energy) * reference
    distortion = estimate - projection
    with np.errstate(divide="ignore"):
        return float(10 * (np.log10(projection @ projection) - np.log10(distortion @ distortion)))
