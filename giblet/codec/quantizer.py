"""From latents to codes and back.

References
----------
Zeghidour, Luebs, Omran, Skoglund, Tagliasacchi (2021). SoundStream: An End-to-End Neural Audio Codec.
https://arxiv.org/abs/2107.03312
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class ResidualQuantizer:
    """Residual vector quantisation with given codebooks.

    Parameters
    ----------
    codebooks : sequence of Tensor, (codebook_size, D)
        Coarse to fine.
    """

    def __init__(self, codebooks: Sequence[Tensor]) -> None:
        self.codebooks = list(codebooks)
        self.doubled = [2 * book.t().contiguous() for book in self.codebooks]
        self.minus_norms = [-book.square().sum(1) for book in self.codebooks]

    def quantize(self, latents: Tensor) -> Tensor:
        """(time, D) latents to (K, time) codes: the nearest entry of each codebook to what the earlier ones left."""
        left = latents.clone()
        codes = []
        for book, doubled, minus_norms in zip(self.codebooks, self.doubled, self.minus_norms, strict=True):
            # |left - e|^2 is smallest where 2 left.e - |e|^2 is largest.
            nearest = torch.addmm(minus_norms, left, doubled).max(1).indices  # argmax takes three times as long
            left -= book[nearest]
            codes.append(nearest)
        return torch.stack(codes)

    def dequantize(self, codes: Tensor) -> Tensor:
        """(K, time) codes to (time, D) latents."""
        latents = torch.zeros_like(self.codebooks[0][codes[0]])
        for book, chosen in zip(self.codebooks, codes, strict=True):
            latents += book[chosen]
        return latents
