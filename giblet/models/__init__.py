"""The multimodal autoencoder between features of a film and the brain's response."""

from __future__ import annotations

from typing import TYPE_CHECKING

from giblet.lazy import lazily as _lazily

if TYPE_CHECKING:
    from giblet.models.autoencoder import MultimodalAutoencoder as MultimodalAutoencoder
    from giblet.models.decoder import MultimodalDecoder as MultimodalDecoder
    from giblet.models.encoder import AudioEncoder as AudioEncoder
    from giblet.models.encoder import VectorEncoder as VectorEncoder
    from giblet.models.encoder import VideoEncoder as VideoEncoder
    from giblet.models.losses import combined_loss as combined_loss
    from giblet.models.scales import Scales as Scales
    from giblet.models.scales import fit_scales as fit_scales
    from giblet.models.settings import Modality as Modality
    from giblet.models.settings import ModelSettings as ModelSettings

__getattr__, __dir__, __all__ = _lazily(
    __name__,
    {
        "giblet.models.autoencoder": ("MultimodalAutoencoder",),
        "giblet.models.decoder": ("MultimodalDecoder",),
        "giblet.models.encoder": ("AudioEncoder", "VectorEncoder", "VideoEncoder"),
        "giblet.models.losses": ("combined_loss",),
        "giblet.models.scales": ("Scales", "fit_scales"),
        "giblet.models.settings": ("Modality", "ModelSettings"),
    },
)
