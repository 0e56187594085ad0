"""The multimodal autoencoder between features of a film and the brain's response."""

from giblet.models.autoencoder import MultimodalAutoencoder
from giblet.models.decoder import MultimodalDecoder
from giblet.models.encoder import AudioEncoder, VectorEncoder, VideoEncoder
from giblet.models.losses import combined_loss
from giblet.models.scales import Scales, fit_scales
from giblet.models.settings import Modality, ModelSettings

__all__ = [
    "AudioEncoder",
    "Modality",
    "ModelSettings",
    "MultimodalAutoencoder",
    "MultimodalDecoder",
    "Scales",
    "VectorEncoder",
    "VideoEncoder",
    "combined_loss",
    "fit_scales",
]
