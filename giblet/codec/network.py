"""Codecs to be trained, as transformers' model of EnCodec, which takes four seconds to import: its one importer."""

from __future__ import annotations

import math

from transformers import EncodecConfig, EncodecModel

from giblet.codec.encodec import kbps_of
from giblet.errors import InputError


def build_config(
    num_codebooks: int = 8,
    codebook_size: int = 1024,
    hidden_dim: int = 128,
    sample_rate: int = 24_000,
    num_filters: int = 32,
    num_lstm_layers: int = 2,
    num_residual_layers: int = 1,
) -> EncodecConfig:
    """Configuration of a causal, mono EnCodec with a hop of 320 samples.

    Parameters
    ----------
    num_codebooks, codebook_size : int
        Residual codebooks and entries in each, a power of two.
    hidden_dim : int
        Dimensions of a latent frame, D.
    sample_rate : int
        In Hz.
    num_filters : int
        Channels of the first convolution; doubled at each of the four strided stages.
    num_lstm_layers : int
        Layers of the LSTM between convolutions and latents.
    num_residual_layers : int
        Residual blocks of each strided stage, with dilations of 1, 2, 4 and so on; the published model has one.

    Returns
    -------
    transformers.EncodecConfig

    Raises
    ------
    InputError
        If a codebook's size is not a power of two.
    """
    if codebook_size < 2 or codebook_size & (codebook_size - 1):
        raise InputError(f"codebook_size is {codebook_size}; pass a power of two, such as 1024")
    counts = sorted({n for n in (2, 4, 8, 16, 32) if n < num_codebooks} | {num_codebooks})
    return EncodecConfig(
        target_bandwidths=[kbps_of(n, codebook_size, math.ceil(sample_rate / 320)) for n in counts],
        sampling_rate=sample_rate,
        audio_channels=1,
        normalize=False,
        num_filters=num_filters,
        hidden_size=hidden_dim,
        codebook_dim=hidden_dim,
        codebook_size=codebook_size,
        num_lstm_layers=num_lstm_layers,
        num_residual_layers=num_residual_layers,
        upsampling_ratios=[8, 5, 4, 2],
        norm_type="weight_norm",
        use_causal_conv=True,
    )


def build_model(config: EncodecConfig) -> EncodecModel:
    """An untrained `transformers.EncodecModel` of that configuration.

    Parameters
    ----------
    config : transformers.EncodecConfig

    Returns
    -------
    transformers.EncodecModel
    """
    return EncodecModel(config)
