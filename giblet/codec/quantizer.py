"""Residual vector quantization: latents to codes and back.

Each codebook takes the entry nearest to what the ones before it left over, and the latent that codes stand for is the
sum of their entries::

    residual_0 = z
    code_k = argmin_v |residual_k - codebook_k[v]|
    residual_{k + 1} = residual_k - codebook_k[code_k]
    z_q = sum_k codebook_k[code_k]

There is one search (`Codebook.nearest`), one loop over codebooks (`residual_steps`) and one sum (`sum_of_entries`).
`ResidualQuantizer` runs them for a codec in use, whose codebooks stay and whose sounds are long; `rvq_quantize` and
`rvq_dequantize` run them on batches, with gradients.

References
----------
Zeghidour, Luebs, Omran, Skoglund, Tagliasacchi (2021). SoundStream: An End-to-End Neural Audio Codec.
https://arxiv.org/abs/2107.03312
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from giblet.errors import InputError

# Frames searched at a time, with one buffer of scores for all codebooks: buffers for a whole block, one per codebook,
# would leave holes in the heap that the next does not fit into (measured: 150 MB). And parts of a row of scores: vector
# instructions find the maximum of each part, but not its place. Both by measurement.
SEARCHED_FRAMES, PARTS = 1600, 16


class Codebook:
    """A codebook prepared for searches.

    Parameters
    ----------
    entries : Tensor of float32, shape (V, D)
    """

    def __init__(self, entries: Tensor) -> None:
        self.entries = entries
        # |v - e|^2 is smallest where 2 v.e - |e|^2 is largest, as |v|^2 is the same for every entry e.
        self.doubled = 2 * entries.t().contiguous()
        self.minus_norms = -entries.square().sum(1)

    def nearest(self, vectors: Tensor, scores: Tensor | None = None) -> Tensor:
        """Index of the entry closest to each vector in Euclidean distance, the first of equals.

        Parameters
        ----------
        vectors : Tensor of float32, shape (N, D)
        scores : Tensor of float32, shape (N, V), optional
            Memory to work in.

        Returns
        -------
        Tensor of int64, shape (N,)
        """
        return first_largest(torch.addmm(self.minus_norms, vectors, self.doubled, out=scores))


class Step(NamedTuple):
    """What one codebook does: the residual it was given (N, D), the codes it chose (N,), their entries (N, D)."""

    residual: Tensor
    codes: Tensor
    entries: Tensor


def residual_steps(vectors: Tensor, codebooks: Iterable[Codebook], scores: Tensor | None = None) -> Iterator[Step]:
    """Quantize by one codebook after another, each on what the ones before left over.

    Parameters
    ----------
    vectors : Tensor of float32, shape (N, D)
    codebooks : iterable of Codebook
        Coarse to fine, K of them.
    scores : Tensor of float32, shape (N, V), optional
        Memory to work in.

    Yields
    ------
    Step
        One per codebook.
    """
    residual = vectors
    for codebook in codebooks:
        codes = codebook.nearest(residual, scores)
        entries = codebook.entries[codes]
        yield Step(residual, codes, entries)
        residual = residual - entries


def sum_of_entries(codes: Tensor, codebooks: Sequence[Tensor] | Tensor) -> Tensor:
    """The sum of the codebook entries that codes name.

    Parameters
    ----------
    codes : Tensor of int64, shape (K, ...)
    codebooks : Tensor or sequence of Tensor of float32, shape (V, D)
        At least K of them.

    Returns
    -------
    Tensor of float32, shape (..., D)
    """
    latents = codebooks[0][codes[0]]
    for k in range(1, len(codes)):
        latents = latents + codebooks[k][codes[k]]
    return latents


class ResidualQuantizer:
    """Residual vector quantization with codebooks that stay as they are.

    Parameters
    ----------
    codebooks : sequence of Tensor of float32, shape (V, D)
        Coarse to fine, K of them.
    """

    def __init__(self, codebooks: Sequence[Tensor]) -> None:
        self.codebooks = [Codebook(entries) for entries in codebooks]

    def quantize(self, latents: Tensor) -> Tensor:
        """The codes of latents.

        Parameters
        ----------
        latents : Tensor of float32, shape (T, D)

        Returns
        -------
        Tensor of int64, shape (K, T)

        See Also
        --------
        dequantize : codes to latents.
        rvq_quantize : the same for batches, with gradients.
        """
        codes = torch.empty(len(self.codebooks), len(latents), dtype=torch.int64, device=latents.device)
        buffer = latents.new_empty(min(len(latents), SEARCHED_FRAMES), len(self.codebooks[0].entries))
        pieces = zip(latents.split(SEARCHED_FRAMES), codes.split(SEARCHED_FRAMES, dim=1), strict=True)
        for latent_piece, code_piece in pieces:  # (t, D), (K, t)
            steps = residual_steps(latent_piece, self.codebooks, buffer[: len(latent_piece)])
            for row, step in zip(code_piece, steps, strict=True):
                row.copy_(step.codes)
        return codes

    def dequantize(self, codes: Tensor) -> Tensor:
        """The latents that codes stand for.

        Parameters
        ----------
        codes : Tensor of int64, shape (K, T)

        Returns
        -------
        Tensor of float32, shape (T, D)

        See Also
        --------
        quantize : latents to codes.
        rvq_dequantize : the same for batches.
        """
        return sum_of_entries(codes, [codebook.entries for codebook in self.codebooks])


def rvq_quantize(z_e: Tensor, codebooks: Tensor) -> tuple[Tensor, Tensor]:
    """Quantize a batch of latents, with gradients straight through.

    Parameters
    ----------
    z_e : Tensor of float32, shape (B, T, D)
        Encoder output.
    codebooks : Tensor of float32, shape (K, V, D)
        Pass `codebooks[:k]` for a lower bandwidth.

    Returns
    -------
    z_q : Tensor of float32, shape (B, T, D)
        Sum of the chosen entries. Its gradient is passed on to `z_e` unchanged.
    indices : Tensor of int64, shape (B, K, T)

    Raises
    ------
    InputError
        If there are no codebooks, or they have other dimensions than the latents.

    See Also
    --------
    rvq_dequantize : indices to latents.
    ResidualQuantizer.quantize : the same for one long signal.
    """
    if z_e.shape[-1] != codebooks.shape[-1]:
        raise InputError(
            f"latents have {z_e.shape[-1]} dimensions and codebooks {codebooks.shape[-1]}:"
            " use the codebooks of this encoder"
        )
    if not len(codebooks):
        raise InputError("there are no codebooks to quantize with; pass at least one")
    vectors = z_e.detach().reshape(-1, z_e.shape[-1])  # (B, T, D) -> (B * T, D)
    quantized, codes = torch.zeros_like(vectors), []
    for step in residual_steps(vectors, map(Codebook, codebooks)):
        quantized = quantized + step.entries
        codes.append(step.codes.reshape(z_e.shape[:2]))  # (B * T,) -> (B, T)
    return straight_through(z_e, quantized.reshape(z_e.shape)), torch.stack(codes, 1)  # (B, T, D), (B, K, T)


def straight_through(latents: Tensor, quantized: Tensor) -> Tensor:
    """The quantized latents, but with their gradient passed on to the latents unchanged.

    Parameters
    ----------
    latents, quantized : Tensor of float32, of one shape

    Returns
    -------
    Tensor of float32, of that shape
    """
    return latents + (quantized - latents).detach()


def rvq_dequantize(indices: Tensor, codebooks: Tensor) -> Tensor:
    """Sum of the codebook entries that a batch of indices names.

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
    ResidualQuantizer.dequantize : the same for one long signal.
    """
    n_used, size = indices.shape[1], codebooks.shape[1]
    if not 1 <= n_used <= len(codebooks):
        raise InputError(f"indices use {n_used} codebooks, but {len(codebooks)} were passed; pass one for each")
    if indices.is_floating_point():
        raise InputError(f"indices are {indices.dtype}; pass whole numbers of an integer type")
    if indices.numel() and not 0 <= int(indices.min()) <= int(indices.max()) < size:
        raise InputError(f"indices run from {int(indices.min())} to {int(indices.max())}: allowed are 0 to {size - 1}")
    # One look-up of all codebooks together, an eighth of the time of one after another.
    rows = indices.long() + size * torch.arange(n_used, device=indices.device)[:, None]  # (B, K, T)
    entries = codebooks[:n_used].flatten(0, 1)
    return nn.functional.embedding_bag(rows.transpose(1, 2).flatten(0, 1), entries, mode="sum").unflatten(
        0, (len(indices), indices.shape[2])
    )


def nearest(vectors: Tensor, entries: Tensor) -> Tensor:
    """Index of the closest codebook entry in Euclidean distance, for entries that change from call to call.

    Parameters
    ----------
    vectors : Tensor of float32, shape (N, D)
    entries : Tensor of float32, shape (V, D)

    Returns
    -------
    Tensor of int64, shape (N,)

    See Also
    --------
    Codebook.nearest : the same, prepared once for many calls.
    """
    return Codebook(entries).nearest(vectors)


def first_largest(scores: Tensor) -> Tensor:
    """Where each row is largest, the first of equals: what argmax gives, in a fraction of its time.

    Parameters
    ----------
    scores : Tensor, shape (rows, n)

    Returns
    -------
    Tensor of int64, shape (rows,)
    """
    n_parts = math.gcd(PARTS, scores.shape[1])
    parts = scores.reshape(len(scores) * n_parts, -1)  # (rows, n) -> (rows * n_parts, n / n_parts)
    part = parts.amax(1).view(-1, n_parts).max(1).indices  # (rows,)
    within = parts[torch.arange(0, len(parts), n_parts, device=scores.device) + part].max(1).indices  # (rows,)
    return part * parts.shape[1] + within
