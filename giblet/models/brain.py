"""Between the bottleneck and the voxels of one subject, and silencing some of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from giblet.errors import InputError


class BrainLayer(nn.Module):
    """Two low-rank maps of one subject: bottleneck to voxels, and voxels to the components that are decoded from.

    With z the bottleneck, BOLD is predicted as ``to_voxels(components(z))``; decoding starts from
    ``from_voxels(bold)``. Both go through `rank` components, as a full matrix for 85,000 voxels would be large and
    learn noise.

    Parameters
    ----------
    n_voxels : int
        Voxels or regions of the subject.
    bottleneck : int
        Dimensions of the bottleneck, which all subjects share.
    rank : int
        Components between the bottleneck and the voxels, each way.
    """

    silenced: Tensor
    """bool (n_voxels,): voxels that count as 0, their mean, on the way in."""

    def __init__(self, n_voxels: int, bottleneck: int, rank: int) -> None:
        super().__init__()
        self.n_voxels = n_voxels
        self.components = nn.Linear(bottleneck, rank, bias=False)
        self.to_voxels = nn.Linear(rank, n_voxels)
        nn.init.zeros_(self.to_voxels.bias)
        self.from_voxels = nn.Linear(n_voxels, rank, bias=False)
        # Not saved: a lesion is an experiment on a model, not a part of it.
        self.register_buffer("silenced", torch.zeros(n_voxels, dtype=torch.bool), persistent=False)

    @torch.no_grad()
    def leave_out(self, columns: Tensor) -> None:
        """Predict 0, the mean, for some voxels, and take nothing from them, in training too.

        Where data and prediction are 0 there is neither a loss nor a gradient, so that they stay left out.

        Parameters
        ----------
        columns : Tensor of bool, shape (n_voxels,)
            True where left out.
        """
        self.to_voxels.weight[columns] = 0
        self.to_voxels.bias[columns] = 0
        self.from_voxels.weight[:, columns] = 0

    def predict(self, z: Tensor) -> Tensor:
        """From the bottleneck to BOLD.

        Parameters
        ----------
        z : Tensor, shape (B, W, bottleneck)

        Returns
        -------
        Tensor, shape (B, W, n_voxels)
            In the units of the data that the model was trained on: z-scores over the training TRs.
        """
        return self.to_voxels(self.components(z))

    def project(self, bold: Tensor, present: Tensor) -> Tensor:
        """From BOLD to the components that are decoded from.

        Parameters
        ----------
        bold : Tensor, shape (B, W, n_voxels)
            Normalised as in training.
        present : Tensor of bool, shape (B, W)
            Which volumes are data.

        Returns
        -------
        Tensor, shape (B, W, rank)
            0 where a volume is absent; voxels that are silenced add nothing.
        """
        return self.from_voxels(self.kept(bold, present))

    def kept(self, bold: Tensor, present: Tensor) -> Tensor:
        """BOLD with 0 where a volume is absent or a voxel silenced.

        Parameters
        ----------
        bold : Tensor, shape (B, W, n_voxels)
        present : Tensor of bool, shape (B, W)

        Returns
        -------
        Tensor, shape (B, W, n_voxels)
        """
        return torch.where(present[..., None] & ~self.silenced, bold, torch.zeros_like(bold))

    def checked_mask(self, bold: Tensor, mask: Tensor | None) -> Tensor:
        """Which volumes are data, all of them without a mask; BOLD and mask found to fit.

        Parameters
        ----------
        bold : Tensor, shape (B, W, n_voxels)
        mask : Tensor of bool, shape (B, W), or None

        Returns
        -------
        Tensor of bool, shape (B, W)

        Raises
        ------
        InputError
            If BOLD is not floats (B, W, n_voxels), or the mask not bool (B, W).
        """
        if bold.ndim != 3 or not bold.is_floating_point() or bold.shape[2] != self.n_voxels:
            raise InputError(
                f"BOLD is {bold.dtype} {tuple(bold.shape)}; expected floats (B, W, {self.n_voxels}), "
                "the voxels of the subject"
            )
        if mask is None:
            return torch.ones(bold.shape[:2], dtype=torch.bool, device=bold.device)
        if mask.dtype != torch.bool or mask.shape != bold.shape[:2]:
            raise InputError(
                f"the BOLD mask is {mask.dtype} {tuple(mask.shape)}; expected bool {tuple(bold.shape[:2])}"
            )
        return mask

    @contextmanager
    def lesion(self, mask: Tensor) -> Iterator[None]:
        """Silence voxels within the block; inside another lesion, these beside those.

        Parameters
        ----------
        mask : Tensor of bool, shape (n_voxels,)
            True where silenced.

        Yields
        ------
        None

        Raises
        ------
        InputError
            If the mask is not bool, or of another space.
        """
        mask = torch.as_tensor(mask)
        if mask.dtype != torch.bool or tuple(mask.shape) != (self.n_voxels,):
            raise InputError(
                f"the lesion mask is {mask.dtype} {tuple(mask.shape)}; expected bool ({self.n_voxels},), True where "
                "silenced, for the voxels that the model was trained on"
            )
        before = self.silenced
        self.silenced = before | mask.to(before.device)
        try:
            yield
        finally:
            self.silenced = before
