"""What codes stand for, summarised over a TR: what a linear model of the brain would be given."""

from __future__ import annotations

import torch
from torch import Tensor, nn

ABSENT = -1
"""The code that says: no code here."""

# A dimension whose deviation over training TRs is this much less than the largest says nothing.
CONSTANT = 1e-4


def rows_of(codes: Tensor, size: int) -> Tensor:
    """Where codes stand in a table of K * (size + 1) rows: those of each codebook, and behind them the one for absent.

    Parameters
    ----------
    codes : Tensor of int, shape (B, K, F)
        In [-1, size); -1 is absent.
    size : int
        Entries of a codebook.

    Returns
    -------
    Tensor, shape (B, K, F), int32
    """
    first = torch.arange(codes.shape[1], device=codes.device, dtype=torch.int32)[:, None] * (size + 1)
    return torch.where(codes == ABSENT, size, codes.int()) + first


def latent_statistics(latents: Tensor, present: Tensor | None = None) -> Tensor:
    """Mean and deviation of latents over the frames of a TR.

    The mean says which sound it was, the deviation how much there was of it and how it moved: loudness, in a codec
    whose latents are centred. Both together are statistics pooling, as in speaker recognition (Snyder et al. 2018,
    https://doi.org/10.1109/ICASSP.2018.8461375).

    Parameters
    ----------
    latents : Tensor, shape (..., F, D), float32
    present : Tensor of bool, shape (..., F), optional
        Which frames count; all by default.

    Returns
    -------
    Tensor, shape (..., 2 * D), float32
        Means, then deviations (of the population: divided by the number of frames); 0 where no frame counts.
    """
    if present is None:
        mean = latents.mean(-2)
        apart = latents - mean[..., None, :]
        squares = apart.square() if apart.requires_grad else apart.square_()
        return torch.cat([mean, squares.mean(-2).sqrt()], dim=-1)
    weights = present[..., None].to(latents.dtype)
    n = weights.sum(-2).clamp_min(1)
    mean = (latents * weights).sum(-2) / n
    variance = ((latents - mean[..., None, :]).square() * weights).sum(-2) / n
    return torch.cat([mean, variance.sqrt()], dim=-1)


class LatentStatistics(nn.Module):
    """:func:`latent_statistics` of the latents that codes stand for, standardised; nothing of it learns.

    Parameters
    ----------
    codebooks : Tensor, shape (K, V, D)
        Of the codec.
    over_trs : Tensor, shape (2, 2 * D), optional
        Mean and deviation of the statistics over training TRs (:attr:`giblet.models.scales.Scales.statistics`): what
        they are standardised by. Without, by what frames would have whose codes were drawn evenly and independently.
    """

    table: Tensor
    """float32 (K * (V + 1), D): entries of the codebooks; 0 for codes that are absent."""
    centre: Tensor
    """float32 (2 * D,)."""
    gain: Tensor
    """float32 (2 * D,): one over the deviation; 0 for what does not vary."""

    def __init__(self, codebooks: Tensor, over_trs: Tensor | None = None) -> None:
        super().__init__()
        books = codebooks.detach().float().cpu()
        k, self.size, d = books.shape
        if over_trs is None:
            drawn = books.var(1, correction=0).sum(0).sqrt()
            over_trs = torch.stack([torch.cat([books.mean(1).sum(0), drawn]), drawn.repeat(2)])
        centre, deviation = over_trs.detach().float().cpu()
        self.register_buffer("table", torch.cat([books, torch.zeros(k, 1, d)], dim=1).flatten(0, 1))
        self.register_buffer("centre", centre)
        varies = deviation > CONSTANT * deviation.unflatten(0, (2, d)).amax(1).repeat_interleave(d)
        self.register_buffer("gain", torch.where(varies, 1 / deviation, 0.0))

    def forward(self, codes: Tensor) -> Tensor:
        """Mean and deviation of the latents of each TR, standardised.

        A frame counts where it has any code; an absent code in it adds nothing, as in decoding with fewer codebooks. A
        TR without a frame is 0, as the mean training TR is.

        Parameters
        ----------
        codes : Tensor of int, shape (B, K, F)
            In [-1, V - 1]; -1 is absent.

        Returns
        -------
        Tensor, shape (B, 2 * D), float32
            Means, then deviations.
        """
        rows = rows_of(codes, self.size).transpose(1, 2).flatten(0, 1)  # (B * F, K)
        latents = nn.functional.embedding_bag(rows, self.table, mode="sum").unflatten(0, (-1, codes.shape[2]))
        present = (codes != ABSENT).any(1)
        # Weights cost more than the rest. Where a TR has all its frames or none they can be done without; on a GPU the
        # answer to that question would be waited for.
        whole = codes.device.type == "cpu" and torch.equal(present.all(1), present.any(1))
        standard = (latent_statistics(latents, None if whole else present) - self.centre) * self.gain
        return torch.where(present.any(1)[:, None], standard, 0.0)
