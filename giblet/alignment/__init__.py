"""Stimulus features and BOLD on one clock: resampling, trimming, haemodynamic delay, and the lag between them.

:class:`HRFLayer` is loaded on first use, so that nothing here imports torch before a model is built.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from giblet.lazy import lazily as _lazily

if TYPE_CHECKING:
    from giblet.alignment.hrf import convolve_hrf as convolve_hrf
    from giblet.alignment.hrf import convolve_hrf_latents as convolve_hrf_latents
    from giblet.alignment.hrf import response_at as response_at
    from giblet.alignment.hrf_layer import HRFLayer as HRFLayer
    from giblet.alignment.lags import LagScan as LagScan
    from giblet.alignment.lags import lag_scan as lag_scan
    from giblet.alignment.resample import resample_features as resample_features
    from giblet.alignment.sync import Aligned as Aligned
    from giblet.alignment.sync import AlignmentReport as AlignmentReport
    from giblet.alignment.sync import align_all_modalities as align_all_modalities

__getattr__, __dir__, __all__ = _lazily(
    __name__,
    {
        "giblet.alignment.hrf": ("convolve_hrf", "convolve_hrf_latents", "response_at"),
        "giblet.alignment.hrf_layer": ("HRFLayer",),
        "giblet.alignment.lags": ("LagScan", "lag_scan"),
        "giblet.alignment.resample": ("resample_features",),
        "giblet.alignment.sync": ("Aligned", "AlignmentReport", "align_all_modalities"),
    },
)
