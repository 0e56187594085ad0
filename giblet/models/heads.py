"""The heads of the decoder: from hidden features of a TR to sound, picture or a vector."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from giblet.models.layers import QUIET, quiet
from giblet.models.logits import CodeLogits, log_frequency

FRAME_WIDTH = 32
"""Length of the vector that stands for a frame."""


class RegressionHead(nn.Module):
    """Linear -> K * F -> (K, F), sigmoid times V - 1."""

    def __init__(self, n_in: int, k: int, f: int, size: int, counts: Tensor | None) -> None:
        super().__init__()
        self.shape, self.top = (k, f), size - 1
        self.linear = quiet(nn.Linear(n_in, k * f), 0.5)
        if counts is not None:
            mean = (counts @ torch.arange(size, dtype=counts.dtype)) / counts.sum(1) / self.top
            with torch.no_grad():
                self.linear.bias.copy_(torch.logit(mean, eps=1e-3)[:, None].expand(k, f).reshape(-1))

    def forward(self, hidden: Tensor) -> Tensor:
        """Each code as a number.

        Parameters
        ----------
        hidden : Tensor, shape (..., n_in)

        Returns
        -------
        Tensor, shape (..., K, F), float32 in [0, V - 1]
        """
        return self.linear(hidden).unflatten(-1, self.shape).float().sigmoid() * self.top


class Frames(nn.Module):
    """A vector for each frame of a TR: one for all of them, and beside it, small at the start, what makes each differ.

    BOLD tells what a TR was like long before it tells its frames apart: were each frame learned by itself, it would be
    learned from a 112th of the data. What makes frames differ is scaled down, so that it also learns more slowly.
    """

    def __init__(self, n_in: int, f: int) -> None:
        super().__init__()
        self.f = f
        self.whole = nn.Linear(n_in, FRAME_WIDTH)
        self.each = nn.Linear(n_in, f * FRAME_WIDTH)

    def forward(self, hidden: Tensor) -> Tensor:
        """A vector for each frame.

        Parameters
        ----------
        hidden : Tensor, shape (..., n_in)

        Returns
        -------
        Tensor, shape (..., F, FRAME_WIDTH)
        """
        each = self.each(hidden).unflatten(-1, (self.f, FRAME_WIDTH))
        return self.whole(hidden)[..., None, :] + QUIET * each


class ClassificationHead(nn.Module):
    """A vector by frame, projected for each codebook, against a vector by entry."""

    def __init__(self, n_in: int, k: int, f: int, size: int, counts: Tensor | None) -> None:
        super().__init__()
        self.frames = Frames(n_in, f)
        self.projections = nn.Parameter(torch.randn(k, FRAME_WIDTH, FRAME_WIDTH) / FRAME_WIDTH**0.5)
        self.keys = nn.Parameter(torch.randn(k, size, FRAME_WIDTH) * 0.1)
        start = torch.zeros(k, size) if counts is None else log_frequency(counts)
        self.bias = nn.Parameter(start)

    def forward(self, hidden: Tensor) -> CodeLogits:
        """A score for each entry of each codebook at each frame.

        Parameters
        ----------
        hidden : Tensor, shape (..., n_in)

        Returns
        -------
        CodeLogits
            Scores (..., K, F, V), in factors.
        """
        frames = self.frames(hidden)
        return CodeLogits(torch.einsum("...fr,krs->...kfs", frames, self.projections), self.keys, self.bias)


class LatentHead(nn.Module):
    """A vector by frame, mapped to the codec's latent space."""

    def __init__(self, n_in: int, d: int, f: int, mean: Tensor | None) -> None:
        super().__init__()
        self.frames = Frames(n_in, f)
        self.latent = quiet(nn.Linear(FRAME_WIDTH, d))
        if mean is not None:
            with torch.no_grad():
                self.latent.bias.copy_(mean)

    def forward(self, hidden: Tensor) -> Tensor:
        """Latents of the codec.

        Parameters
        ----------
        hidden : Tensor, shape (..., n_in)

        Returns
        -------
        Tensor, shape (..., D, F)
        """
        return self.latent(self.frames(hidden)).transpose(-1, -2)


class ShapedHead(nn.Module):
    """A linear map to an array of any shape."""

    def __init__(self, n_in: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.linear = quiet(nn.Linear(n_in, int(torch.Size(shape).numel())), 0.5)

    def forward(self, hidden: Tensor) -> Tensor:
        """An array for each TR.

        Parameters
        ----------
        hidden : Tensor, shape (..., n_in)

        Returns
        -------
        Tensor, shape (..., *shape)
        """
        return self.linear(hidden).unflatten(-1, self.shape)


class PictureHead(nn.Module):
    """Transposed convolutions from an eighth of the picture's size."""

    def __init__(self, n_in: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.h, self.w = shape[0], shape[1]
        self.small = (32, -(-self.h // 8), -(-self.w // 8))
        self.linear = nn.Linear(n_in, int(torch.Size(self.small).numel()))
        self.up = nn.Sequential(
            nn.ConvTranspose2d(32, 16, 4, stride=2, padding=1),
            nn.GELU(),
            nn.ConvTranspose2d(16, 8, 4, stride=2, padding=1),
            nn.GELU(),
            nn.ConvTranspose2d(8, 3, 4, stride=2, padding=1),
        )

    def forward(self, hidden: Tensor) -> Tensor:
        """A picture for each TR.

        Parameters
        ----------
        hidden : Tensor, shape (..., n_in)

        Returns
        -------
        Tensor, shape (..., H, W, 3)
        """
        lead = hidden.shape[:-1]
        picture = self.up(self.linear(hidden).reshape(-1, *self.small))[:, :, : self.h, : self.w]
        return picture.permute(0, 2, 3, 1).reshape(*lead, self.h, self.w, 3)
