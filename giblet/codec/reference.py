"""Names that the reference API promises and nothing else in giblet needs: EnCodec as plain functions on tensors.

Each is a thin call into the real code. The reference's `rvq_quantize` and `rvq_dequantize` are those of
`giblet.codec.quantizer`, its losses those of `giblet.codec.training.losses`; encoder and decoder are those of
`transformers.EncodecModel`, transposed. To code sound, use `giblet.codec.load_codec` instead.

Layouts of the reference: waveform (B, 1, N), latents (B, T, D), indices (B, K, T), codebooks (K, V, D).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from giblet.codec.network import build_config, build_model
from giblet.codec.quantizer import rvq_dequantize, rvq_quantize
from giblet.errors import InputError

__all__ = [
    "LatentDecoder",
    "LatentEncoder",
    "build",
    "build_decoder",
    "build_encoder",
    "build_rvq",
    "decode",
    "encode",
    "init_codebooks",
    "output_size",
    "rvq_dequantize",
    "rvq_quantize",
]

HOP_LENGTH = 320
NUM_CODEBOOKS, CODEBOOK_SIZE, HIDDEN_DIM, SAMPLE_RATE = 8, 1024, 128, 24_000


class LatentEncoder(nn.Module):
    """A transformers EnCodec encoder whose output is (B, T, D).

    Parameters
    ----------
    encoder : transformers EncodecEncoder
    """

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, waveform: Tensor) -> Tensor:
        """Waveform to latents.

        Parameters
        ----------
        waveform : Tensor of float32, shape (B, 1, N)

        Returns
        -------
        Tensor of float32, shape (B, ceil(N / 320), D)
        """
        return self.encoder(waveform).transpose(1, 2)  # (B, D, T) -> (B, T, D)


class LatentDecoder(nn.Module):
    """A transformers EnCodec decoder whose input is (B, T, D).

    Parameters
    ----------
    decoder : transformers EncodecDecoder
    """

    def __init__(self, decoder: nn.Module) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, latents: Tensor) -> Tensor:
        """Latents to waveform.

        Parameters
        ----------
        latents : Tensor of float32, shape (B, T, D)

        Returns
        -------
        Tensor of float32, shape (B, 1, 320 * T)
        """
        return self.decoder(latents.transpose(1, 2))  # (B, T, D) -> (B, D, T)


def build(
    num_codebooks: int = NUM_CODEBOOKS,
    codebook_size: int = CODEBOOK_SIZE,
    hidden_dim: int = HIDDEN_DIM,
    sample_rate: int = SAMPLE_RATE,
    bandwidth: float | None = None,
    **architecture: int,
) -> tuple[LatentEncoder, LatentDecoder]:
    """Encoder and decoder of an untrained EnCodec.

    Parameters
    ----------
    num_codebooks, codebook_size : int
        Residual codebooks and entries in each.
    hidden_dim : int
        Dimensions of a latent frame, D.
    sample_rate : int
        In Hz.
    bandwidth : float, optional
        In kbps; by default that of all codebooks, the highest allowed (8 x 1024 at 75 Hz: 6).
    **architecture : int
        `num_filters`, `num_lstm_layers` and `num_residual_layers`, as in `giblet.codec.network.build_config`.

    Returns
    -------
    encoder : LatentEncoder
        Waveform (B, 1, N) to latents (B, T, D), T = ceil(N / 320).
    decoder : LatentDecoder
        Latents (B, T, D) to waveform (B, 1, 320 * T).

    Raises
    ------
    InputError
        If a size is below one, a codebook's size is not a power of two, or the codebooks do not reach the bandwidth.
    """
    _checked_bandwidth(num_codebooks, codebook_size, hidden_dim, sample_rate, bandwidth)
    model = build_model(build_config(num_codebooks, codebook_size, hidden_dim, sample_rate, **architecture))
    return LatentEncoder(model.encoder), LatentDecoder(model.decoder)


def build_encoder(hidden_dim: int = HIDDEN_DIM, **options: Any) -> LatentEncoder:
    """The encoder of `build`.

    Parameters
    ----------
    hidden_dim : int
        Dimensions of a latent frame, D.
    **options
        As in `build`.

    Returns
    -------
    LatentEncoder

    Raises
    ------
    InputError
        As `build`.
    """
    return build(hidden_dim=hidden_dim, **options)[0]


def build_decoder(hidden_dim: int = HIDDEN_DIM, **options: Any) -> LatentDecoder:
    """The decoder of `build`.

    Parameters
    ----------
    hidden_dim : int
        Dimensions of a latent frame, D.
    **options
        As in `build`.

    Returns
    -------
    LatentDecoder

    Raises
    ------
    InputError
        As `build`.
    """
    return build(hidden_dim=hidden_dim, **options)[1]


def build_rvq(
    num_codebooks: int = NUM_CODEBOOKS,
    codebook_size: int = CODEBOOK_SIZE,
    hidden_dim: int = HIDDEN_DIM,
    sample_rate: int = SAMPLE_RATE,
    bandwidth: float | None = None,
) -> dict[str, int | float]:
    """What a residual quantizer with these options looks like; its codebooks come from `init_codebooks`.

    Parameters
    ----------
    num_codebooks, codebook_size : int
        Residual codebooks and entries in each.
    hidden_dim : int
        Dimensions of a latent frame, D.
    sample_rate : int
        In Hz.
    bandwidth : float, optional
        In kbps, as in `build`.

    Returns
    -------
    dict
        `num_codebooks`, `codebook_size`, `embedding_dim`, `frame_rate` (Hz), `bandwidth` (kbps) and
        `active_codebooks`, how many of them fit that bandwidth.

    Raises
    ------
    InputError
        If a size is below one, or the codebooks do not reach the bandwidth.
    """
    bandwidth, kbps_each = _checked_bandwidth(num_codebooks, codebook_size, hidden_dim, sample_rate, bandwidth)
    return {
        "num_codebooks": num_codebooks,
        "codebook_size": codebook_size,
        "embedding_dim": output_size(hidden_dim=hidden_dim),
        "frame_rate": sample_rate / HOP_LENGTH,
        "bandwidth": bandwidth,
        "active_codebooks": int(bandwidth / kbps_each + 1e-9),
    }


def _checked_bandwidth(
    num_codebooks: int, codebook_size: int, hidden_dim: int, sample_rate: int, bandwidth: float | None
) -> tuple[float, float]:
    """The bandwidth, by default the highest, and that of one codebook, in kbps. InputError if it is out of reach."""
    sizes = {
        "num_codebooks": num_codebooks,
        "codebook_size": codebook_size,
        "hidden_dim": hidden_dim,
        "sample_rate": sample_rate,
    }
    for name, value in sizes.items():
        if value < 1:
            raise InputError(f"{name} is {value}; pass a whole number of at least 1")
    kbps_each = (codebook_size - 1).bit_length() * sample_rate / HOP_LENGTH / 1000
    highest = kbps_each * num_codebooks
    bandwidth = highest if bandwidth is None else bandwidth
    if codebook_size < 2 or not kbps_each <= bandwidth <= highest:
        raise InputError(
            f"bandwidth is {bandwidth:g} kbps: {num_codebooks} codebooks of {codebook_size} entries reach {kbps_each:g}"
            f" to {highest:g} kbps"
        )
    return bandwidth, kbps_each


def output_size(hidden_dim: int = HIDDEN_DIM, **_: Any) -> int:
    """Dimensions of a latent frame, D: `hidden_dim` itself, as in EnCodec (the reference document scales it by 16).

    Parameters
    ----------
    hidden_dim : int
    **_
        Other options of `build`, which do not change it.

    Returns
    -------
    int
    """
    return hidden_dim


def init_codebooks(
    num_codebooks: int, codebook_size: int, embedding_dim: int, key: int | torch.Generator = 42
) -> Tensor:
    """Random codebooks, uniform in +-1 / codebook_size as in VQ-VAE.

    Parameters
    ----------
    num_codebooks, codebook_size, embedding_dim : int
        K, V and D.
    key : int or torch.Generator
        Seed; the same one gives the same codebooks.

    Returns
    -------
    Tensor of float32, shape (K, V, D)
    """
    generator = key if isinstance(key, torch.Generator) else torch.Generator().manual_seed(key)
    return (torch.rand(num_codebooks, codebook_size, embedding_dim, generator=generator) * 2 - 1) / codebook_size


@torch.no_grad()
def encode(encoder: nn.Module, codebooks: Tensor, waveform: Tensor) -> Tensor:
    """Waveform to indices.

    Parameters
    ----------
    encoder : nn.Module
        As `build` returns it.
    codebooks : Tensor of float32, shape (K, V, D)
        Pass `codebooks[:k]` for a lower bandwidth.
    waveform : Tensor of float32, shape (B, 1, N)

    Returns
    -------
    Tensor of int64, shape (B, K, T)
        T = ceil(N / 320).

    Raises
    ------
    InputError
        As `rvq_quantize`.

    See Also
    --------
    decode : indices to waveform.
    giblet.codec.base.AudioCodec.encode : for sound of any length.
    """
    return rvq_quantize(encoder(waveform), codebooks)[1]


@torch.no_grad()
def decode(decoder: nn.Module, codebooks: Tensor, tokens: Tensor) -> Tensor:
    """Indices to waveform.

    Parameters
    ----------
    decoder : nn.Module
        As `build` returns it.
    codebooks : Tensor of float32, shape (K, V, D)
    tokens : Tensor of int, shape (B, K, T)
        K may be fewer than there are codebooks: a lower bandwidth.

    Returns
    -------
    Tensor of float32, shape (B, 1, 320 * T)

    Raises
    ------
    InputError
        As `rvq_dequantize`.

    See Also
    --------
    encode : waveform to indices.
    giblet.codec.base.AudioCodec.decode : for sound of any length.
    """
    return decoder(rvq_dequantize(tokens, codebooks))
