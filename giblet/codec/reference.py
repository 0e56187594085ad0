"""Residual vector quantisation and the codec around it, as plain functions on tensors.

Layouts of the reference API: waveform (B, 1, N), latents (B, T, D), indices (B, K, T), codebooks (K, V, D).
The encoder and decoder are those of `transformers.EncodecModel`, seen through a transposition.

References
----------
Zeghidour et al. (2021). SoundStream. https://arxiv.org/abs/2107.03312
Défossez et al. (2022). High Fidelity Neural Audio Compression. https://arxiv.org/abs/2210.13438
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from giblet.codec.encodec import build_config, build_model
from giblet.errors import InputError

HOP_LENGTH = 320
NUM_CODEBOOKS, CODEBOOK_SIZE, HIDDEN_DIM, SAMPLE_RATE = 8, 1024, 128, 24_000


class LatentEncoder(nn.Module):
    """A transformers EnCodec encoder that answers (B, T, D)."""

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
        return self.encoder(waveform).transpose(1, 2)


class LatentDecoder(nn.Module):
    """A transformers EnCodec decoder that takes (B, T, D)."""

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
        return self.decoder(latents.transpose(1, 2))


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
        In kbps, at most what all codebooks take (8 x 1024 at 75 Hz: 6), which it is where absent.
    **architecture : int
        `num_filters`, `num_lstm_layers` and `num_residual_layers`, as in `giblet.codec.encodec.build_config`.

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
    build_rvq(num_codebooks, codebook_size, hidden_dim, sample_rate, bandwidth)
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
    """What a residual quantiser of these options looks like; its codebooks come from `init_codebooks`.

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
    for name, value in {
        "num_codebooks": num_codebooks,
        "codebook_size": codebook_size,
        "hidden_dim": hidden_dim,
        "sample_rate": sample_rate,
    }.items():
        if value < 1:
            raise InputError(f"{name} is {value}: give a whole number of at least 1")
    kbps_each = (codebook_size - 1).bit_length() * sample_rate / HOP_LENGTH / 1000
    most = kbps_each * num_codebooks
    bandwidth = most if bandwidth is None else bandwidth
    if codebook_size < 2 or not kbps_each <= bandwidth <= most:
        raise InputError(
            f"bandwidth is {bandwidth:g} kbps: {num_codebooks} codebooks of {codebook_size} entries reach {kbps_each:g}"
            f" to {most:g} kbps"
        )
    return {
        "num_codebooks": num_codebooks,
        "codebook_size": codebook_size,
        "embedding_dim": output_size(hidden_dim=hidden_dim),
        "frame_rate": sample_rate / HOP_LENGTH,
        "bandwidth": bandwidth,
        "active_codebooks": int(bandwidth / kbps_each + 1e-9),
    }


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


def nearest(vectors: Tensor, codebook: Tensor) -> Tensor:
    """Index of the closest entry in Euclidean distance.

    Parameters
    ----------
    vectors : Tensor of float32, shape (N, D)
    codebook : Tensor of float32, shape (V, D)

    Returns
    -------
    Tensor of int64, shape (N,)
    """
    # |v|^2 is the same for every entry, so it has no say in which one is closest
    return torch.addmm((codebook * codebook).sum(1), vectors, codebook.T, alpha=-2).argmin(1)


def rvq_quantize(z_e: Tensor, codebooks: Tensor) -> tuple[Tensor, Tensor]:
    """Quantise latents: each codebook takes what the ones before it left over.

    Parameters
    ----------
    z_e : Tensor of float32, shape (B, T, D)
        Encoder output.
    codebooks : Tensor of float32, shape (K, V, D)
        Pass `codebooks[:k]` for a lower bandwidth.

    Returns
    -------
    z_q : Tensor of float32, shape (B, T, D)
        Sum of the chosen entries. Gradients pass straight through to `z_e`.
    indices : Tensor of int64, shape (B, K, T)

    Raises
    ------
    InputError
        If there are no codebooks, or they have other dimensions than the latents.

    See Also
    --------
    rvq_dequantize : indices to latents.
    """
    if z_e.shape[-1] != codebooks.shape[-1]:
        raise InputError(
            f"latents have {z_e.shape[-1]} dimensions and codebooks {codebooks.shape[-1]}:"
            " use the codebooks of this encoder"
        )
    if not len(codebooks):
        raise InputError("there are no codebooks to quantise with: give one or more")
    flat = z_e.detach().reshape(-1, z_e.shape[-1])
    residual, quantised, indices = flat, torch.zeros_like(flat), []
    for codebook in codebooks:
        chosen = nearest(residual, codebook)
        entry = codebook[chosen]
        residual, quantised = residual - entry, quantised + entry
        indices.append(chosen.reshape(z_e.shape[:2]))
    return z_e + (quantised.reshape(z_e.shape) - z_e).detach(), torch.stack(indices, 1)


def rvq_dequantize(indices: Tensor, codebooks: Tensor) -> Tensor:
    """Sum of the codebook entries that indices name.

    Parameters
    ----------
    indices : Tensor of int, shape (B, K, T)
        K may be fewer than there are codebooks: a lower bandwidth.
    codebooks : Tensor of float32, shape (K, V, D)

    Returns
    -------
    Tensor of float32, shape (B, T, D)

    Raises
    ------
    InputError
        If the indices are of more codebooks than there are, or of none, not of integers, or not in [0, V).

    See Also
    --------
    rvq_quantize : latents to indices.
    """
    n_used, size = indices.shape[1], codebooks.shape[1]
    if not 1 <= n_used <= len(codebooks):
        raise InputError(f"indices use {n_used} codebooks and there are {len(codebooks)}: give one to all")
    if indices.is_floating_point():
        raise InputError(f"indices are {indices.dtype}: give whole numbers of an integer type")
    if indices.numel() and not 0 <= int(indices.min()) <= int(indices.max()) < size:
        raise InputError(f"indices run from {int(indices.min())} to {int(indices.max())}: allowed are 0 to {size - 1}")
    latents = codebooks[0][indices[:, 0].long()]
    for k in range(1, n_used):
        latents = latents + codebooks[k][indices[:, k].long()]
    return latents


@torch.no_grad()
def encode(encoder: nn.Module, codebooks: Tensor, waveform: Tensor) -> Tensor:
    """Waveform to indices.

    Parameters
    ----------
    encoder : nn.Module
        As `build` answers it.
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
    """
    return rvq_quantize(encoder(waveform), codebooks)[1]


@torch.no_grad()
def decode(decoder: nn.Module, codebooks: Tensor, tokens: Tensor) -> Tensor:
    """Indices to waveform.

    Parameters
    ----------
    decoder : nn.Module
        As `build` answers it.
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
    """
    return decoder(rvq_dequantize(tokens, codebooks))


def codebooks_of(quantizer: nn.Module) -> Tensor:
    """The codebooks of a transformers quantiser, copied.

    Parameters
    ----------
    quantizer : transformers EncodecResidualVectorQuantizer

    Returns
    -------
    Tensor of float32, shape (K, V, D)
    """
    return torch.stack([layer.codebook.embed for layer in quantizer.layers])  # type: ignore[union-attr]
