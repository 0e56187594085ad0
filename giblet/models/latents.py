"""What codes stand for, averaged over a TR: what a linear model of the brain would be given."""

from __future__ import annotations

import torch
from torch import Tensor, nn

ABSENT = -1
"""The code that says: no code here."""


class MeanLatents(nn.Module):
    """Mean over frames of the latents that codes stand for, each dimension on a scale near 1; nothing of it learns.

    Parameters
    ----------
    codebooks : Tensor, shape (K, V, D)
        Of the codec.
    frames_per_tr : int
    priors : Tensor, shape (K, V), optional
        How many times each code occurs in training; all the same by default.
    """

    table: Tensor
    """float32 (K * (V + 1), D): entries less their mean, scaled; 0, the mean, for codes that are absent."""

    def __init__(self, codebooks: Tensor, frames_per_tr: int, priors: Tensor | None = None) -> None:
        super().__init__()
        books = codebooks.detach().float().cpu()
        k, self.size, d = books.shape
        counts = torch.ones(k, self.size) if priors is None else priors.detach().float().cpu()
        shares = (counts / counts.sum(1, keepdim=True))[..., None]
        mean = (shares * books).sum(1, keepdim=True)
        variance = (shares * (books - mean).square()).sum((0, 1))
        # What codebooks leave to the next is nearly uncorrelated, and frames are nearly independent but for loudness:
        # the mean of F of them varies by their deviation over the root of F. Dimensions that never vary stay 0.
        scale = torch.where(variance > 1e-8 * variance.max(), (variance / frames_per_tr).sqrt(), torch.inf)
        table = torch.cat([(books - mean) / scale, torch.zeros(k, 1, d)], dim=1)
        self.register_buffer("table", table.flatten(0, 1))

    def forward(self, codes: Tensor) -> Tensor:
        """Codes (B, K, F), -1 where absent, to (B, D)."""
        k, f = codes.shape[1:]
        within = torch.where(codes == ABSENT, self.size, codes.long())
        first = torch.arange(k, device=codes.device)[:, None] * (self.size + 1)
        return nn.functional.embedding_bag((within + first).flatten(1), self.table, mode="sum") / f
