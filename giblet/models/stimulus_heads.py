"""Heads of what is no codes: from hidden features of a TR to a picture, a spectrogram or a vector.

What decodes codes is in :mod:`giblet.models.heads`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from giblet.models.layers import quiet


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
