"""The EnCodec architecture built from a configuration: the building blocks that loading and training share.

References
----------
Défossez, Copet, Synnaeve, Adi (2022). High Fidelity Neural Audio Compression. https://arxiv.org/abs/2210.13438
"""

from __future__ import annotations

from transformers import EncodecConfig, EncodecModel


def build_config(
    num_codebooks: int = 8,
    codebook_size: int = 1024,
    hidden_dim: int = 128,
    sample_rate: int = 24_000,
    num_filters: int = 32,
    num_lstm_layers: int = 2,
) -> EncodecConfig:
    """Configuration of a causal, mono EnCodec with a hop of 320 samples.

    Parameters
    ----------
    num_codebooks, codebook_size : int
        Residual codebooks and entries in each.
    hidden_dim : int
        Dimensions of a latent frame, D.
    sample_rate : int
        In Hz.
    num_filters : int
        Channels of the first convolution; doubled at each of the four strided stages.
    num_lstm_layers : int
        Layers of the LSTM between convolutions and latents.
    """
    bits_per_codebook = (codebook_size - 1).bit_length()
    kbps_per_codebook = bits_per_codebook * sample_rate / 320 / 1000
    bandwidths = sorted(
        {kbps_per_codebook * n for n in (2, 4, 8, 16, 32) if n < num_codebooks} | {kbps_per_codebook * num_codebooks}
    )
    return EncodecConfig(
        target_bandwidths=bandwidths,
        sampling_rate=sample_rate,
        audio_channels=1,
        normalize=False,
        num_filters=num_filters,
        hidden_size=hidden_dim,
        codebook_dim=hidden_dim,
        codebook_size=codebook_size,
        num_lstm_layers=num_lstm_layers,
        upsampling_ratios=[8, 5, 4, 2],
        norm_type="weight_norm",
        use_causal_conv=True,
    )


def build_model(config: EncodecConfig) -> EncodecModel:
    """An untrained `transformers.EncodecModel` of that configuration."""
    return EncodecModel(config)
