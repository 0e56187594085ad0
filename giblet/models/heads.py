"""The heads of the decoder: from hidden features of a TR to sound, picture or a vector."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from giblet.models.layers import QUIET, quiet
from giblet.models.logits import CodeLogits, log_frequency

FRAME_WIDTH = 32
"""Length of the vector that stands for a frame."""


class RegressionHead(nn.Module):
    """Each code as a number, as if codes were on a scale: ``(V - 1) * sigmoid(linear(hidden))``.

    Parameters
    ----------
    n_hidden : int
        Hidden features of a TR.
    n_codebooks, n_frames : int
        K and F: codebooks, and frames of a TR.
    codebook_size : int
        V: entries of a codebook.
    counts : Tensor of float64, shape (K, V), or None
        How many times each code occurs in training: the head starts at the mean code of each codebook. Without, in
        the middle of the scale.
    """

    def __init__(
        self, n_hidden: int, n_codebooks: int, n_frames: int, codebook_size: int, counts: Tensor | None
    ) -> None:
        super().__init__()
        self.shape, self.top = (n_codebooks, n_frames), codebook_size - 1
        self.linear = quiet(nn.Linear(n_hidden, n_codebooks * n_frames), 0.5)
        if counts is not None:
            mean = (counts @ torch.arange(codebook_size, dtype=counts.dtype)) / counts.sum(1) / self.top
            with torch.no_grad():
                self.linear.bias.copy_(torch.logit(mean, eps=1e-3)[:, None].expand(self.shape).reshape(-1))

    def forward(self, hidden: Tensor) -> Tensor:
        """Each code as a number.

        Parameters
        ----------
        hidden : Tensor, shape (..., n_hidden)

        Returns
        -------
        Tensor, shape (..., K, F), float32 in [0, V - 1]
        """
        return self.linear(hidden).unflatten(-1, self.shape).float().sigmoid() * self.top


class Frames(nn.Module):
    """A vector for each frame of a TR: one for all of them, and beside it, small at the start, what makes each differ.

    BOLD tells what a TR was like long before it tells its frames apart: were each frame learned by itself, it would be
    learned from a 112th of the data. What makes frames differ is scaled down, so that it also learns more slowly.

    Parameters
    ----------
    n_hidden : int
        Hidden features of a TR.
    n_frames : int
        F: frames of a TR.
    """

    def __init__(self, n_hidden: int, n_frames: int) -> None:
        super().__init__()
        self.n_frames = n_frames
        self.whole = nn.Linear(n_hidden, FRAME_WIDTH)
        self.each = nn.Linear(n_hidden, n_frames * FRAME_WIDTH)

    def forward(self, hidden: Tensor) -> Tensor:
        """A vector for each frame.

        Parameters
        ----------
        hidden : Tensor, shape (..., n_hidden)

        Returns
        -------
        Tensor, shape (..., F, FRAME_WIDTH)
        """
        each = self.each(hidden).unflatten(-1, (self.n_frames, FRAME_WIDTH))
        return self.whole(hidden)[..., None, :] + QUIET * each


class ClassificationHead(nn.Module):
    """A score for each entry: ``(frame @ projections[k]) . keys[k, v] + bias[k, v]``, with a vector for each frame.

    Parameters
    ----------
    n_hidden : int
        Hidden features of a TR.
    n_codebooks, n_frames : int
        K and F: codebooks, and frames of a TR.
    codebook_size : int
        V: entries of a codebook.
    counts : Tensor of float64, shape (K, V), or None
        How many times each code occurs in training: the bias starts at the log of how often. Without, at 0.
    """

    def __init__(
        self, n_hidden: int, n_codebooks: int, n_frames: int, codebook_size: int, counts: Tensor | None
    ) -> None:
        super().__init__()
        self.frames = Frames(n_hidden, n_frames)
        self.projections = nn.Parameter(torch.randn(n_codebooks, FRAME_WIDTH, FRAME_WIDTH) / FRAME_WIDTH**0.5)
        self.keys = nn.Parameter(torch.randn(n_codebooks, codebook_size, FRAME_WIDTH) * 0.1)
        start = torch.zeros(n_codebooks, codebook_size) if counts is None else log_frequency(counts)
        self.bias = nn.Parameter(start)

    def forward(self, hidden: Tensor) -> CodeLogits:
        """A score for each entry of each codebook at each frame.

        Parameters
        ----------
        hidden : Tensor, shape (..., n_hidden)

        Returns
        -------
        CodeLogits
            Scores (..., K, F, V), in factors.
        """
        frames = self.frames(hidden)
        return CodeLogits(torch.einsum("...fr,krs->...kfs", frames, self.projections), self.keys, self.bias)


class LatentHead(nn.Module):
    """A vector for each frame, mapped linearly to the codec's latent space.

    Parameters
    ----------
    n_hidden : int
        Hidden features of a TR.
    latent_dim : int
        D: dimensions of the codec's latents.
    n_frames : int
        F: frames of a TR.
    mean : Tensor, shape (D,), or None
        Mean latent of the training frames, where the head starts. Without, at 0.
    """

    def __init__(self, n_hidden: int, latent_dim: int, n_frames: int, mean: Tensor | None) -> None:
        super().__init__()
        self.frames = Frames(n_hidden, n_frames)
        self.latent = quiet(nn.Linear(FRAME_WIDTH, latent_dim))
        if mean is not None:
            with torch.no_grad():
                self.latent.bias.copy_(mean)

    def forward(self, hidden: Tensor) -> Tensor:
        """Latents of the codec.

        Parameters
        ----------
        hidden : Tensor, shape (..., n_hidden)

        Returns
        -------
        Tensor, shape (..., D, F)
        """
        return self.latent(self.frames(hidden)).transpose(-1, -2)


class ShapedHead(nn.Module):
    """A linear map to an array of any shape.

    Parameters
    ----------
    n_hidden : int
        Hidden features of a TR.
    shape : tuple of int
        Of one TR.
    """

    def __init__(self, n_hidden: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.linear = quiet(nn.Linear(n_hidden, int(torch.Size(shape).numel())), 0.5)

    def forward(self, hidden: Tensor) -> Tensor:
        """An array for each TR.

        Parameters
        ----------
        hidden : Tensor, shape (..., n_hidden)

        Returns
        -------
        Tensor, shape (..., *shape)
        """
        return self.linear(hidden).unflatten(-1, self.shape)


class PictureHead(nn.Module):
    """Transposed convolutions from an eighth of the picture's size.

    Parameters
    ----------
    n_hidden : int
        Hidden features of a TR.
    shape : tuple of int
        (H, W, 3).
    """

    def __init__(self, n_hidden: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.height, self.width = shape[0], shape[1]
        self.small = (32, -(-self.height // 8), -(-self.width // 8))
        self.linear = nn.Linear(n_hidden, int(torch.Size(self.small).numel()))
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
        hidden : Tensor, shape (..., n_hidden)

        Returns
        -------
        Tensor, shape (..., H, W, 3)
        """
        lead = hidden.shape[:-1]
        picture = self.up(self.linear(hidden).reshape(-1, *self.small))[:, :, : self.height, : self.width]
        return picture.permute(0, 2, 3, 1).reshape(*lead, self.height, self.width, 3)
