"""From latents to codes and back.

References
----------
Zeghidour, Luebs, Omran, Skoglund, Tagliasacchi (2021). SoundStream: An End-to-End Neural Audio Codec.
https://arxiv.org/abs/2107.03312
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

# Frames searched at a time: their scores are one buffer for all codebooks. Made anew for each, buffers of the whole
# would leave holes in the heap that the next one does not fit in (seen: 150 MB of them). And parts of a row of scores,
# as the maximum of each is found by vector instructions and its place is not. Both by measurement.
SEARCHED_FRAMES, PARTS = 1600, 16


class ResidualQuantizer:
    """Residual vector quantisation with given codebooks.

    Parameters
    ----------
    codebooks : sequence of Tensor, shape (codebook_size, D)
        Coarse to fine.
    """

    def __init__(self, codebooks: Sequence[Tensor]) -> None:
        self.codebooks = list(codebooks)
        self.doubled = [2 * book.t().contiguous() for book in self.codebooks]
        self.minus_norms = [-book.square().sum(1) for book in self.codebooks]

    def quantize(self, latents: Tensor) -> Tensor:
        """The nearest entry of each codebook to what the earlier ones left.

        Parameters
        ----------
        latents : Tensor of float32, shape (time, D)

        Returns
        -------
        Tensor of int64, shape (K, time)
            The codes.

        See Also
        --------
        dequantize : codes to latents.
        """
        codes = torch.empty(len(self.codebooks), len(latents), dtype=torch.int64, device=latents.device)
        buffer = latents.new_empty(min(len(latents), SEARCHED_FRAMES), len(self.codebooks[0]))
        pieces = zip(latents.split(SEARCHED_FRAMES), codes.split(SEARCHED_FRAMES, dim=1), strict=True)
        for piece, nearest in pieces:
            left, scores = piece.clone(), buffer[: len(piece)]
            for k, (book, doubled) in enumerate(zip(self.codebooks, self.doubled, strict=True)):
                # |left - e|^2 is smallest where 2 left.e - |e|^2 is largest.
                torch.addmm(self.minus_norms[k], left, doubled, out=scores)
                nearest[k] = first_largest(scores)
                left -= book[nearest[k]]
        return codes

    def dequantize(self, codes: Tensor) -> Tensor:
        """The sum of the codebook entries that codes name.

        Parameters
        ----------
        codes : Tensor of int64, shape (K, time)

        Returns
        -------
        Tensor of float32, shape (time, D)
            The latents.

        See Also
        --------
        quantize : latents to codes.
        """
        latents = torch.zeros_like(self.codebooks[0][codes[0]])
        for book, chosen in zip(self.codebooks, codes, strict=True):
            latents += book[chosen]
        return latents


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
    parts = scores.reshape(len(scores) * n_parts, -1)
    part = parts.amax(1).view(-1, n_parts).max(1).indices
    within = parts[torch.arange(0, len(parts), n_parts, device=scores.device) + part].max(1).indices
    return part * parts.shape[1] + within
