"""Stimulus features and BOLD on one clock: resampling, trimming, haemodynamic delay, and the lag between them.

:class:`HRFLayer` is loaded on first use, so that nothing here imports torch before a model is built.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from giblet.alignment.hrf import convolve_hrf, convolve_hrf_latents, response_at
from giblet.alignment.lags import LagScan, lag_scan
from giblet.alignment.resample import resample_features
from giblet.alignment.sync import Aligned, AlignmentReport, align_all_modalities

if TYPE_CHECKING:
    from giblet.alignment.hrf_layer import HRFLayer

__all__ = [
    "Aligned",
    "AlignmentReport",
    "HRFLayer",
    "LagScan",
    "align_all_modalities",
    "convolve_hrf",
    "convolve_hrf_latents",
    "lag_scan",
    "resample_features",
    "response_at",
]


def __getattr__(name: str) -> object:
    if name == "HRFLayer":
        from giblet.alignment.hrf_layer import HRFLayer

        return HRFLayer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
