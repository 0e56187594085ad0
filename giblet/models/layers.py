"""Layers that several parts of the model are built from."""

from __future__ import annotations

import torch
from torch import Tensor, nn

# A branch that starts this small leaves the linear path in charge, yet its gradients are not zero.
QUIET = 0.1


def quiet(layer: nn.Linear, scale: float = QUIET) -> nn.Linear:
    """The same layer with its starting weights scaled down and its bias 0.

    Parameters
    ----------
    layer : torch.nn.Linear
        Changed in place.
    scale : float, optional
        What the weights are multiplied by.

    Returns
    -------
    torch.nn.Linear
        `layer` itself.
    """
    with torch.no_grad():
        layer.weight.mul_(scale)
        if layer.bias is not None:
            layer.bias.zero_()
    return layer


def channels_last(layers: nn.Sequential, x: Tensor) -> Tensor:
    """Layers for (B, n, F), applied to (B, F, n): on CPUs convolutions are faster so, and nothing is transposed.

    Parameters
    ----------
    layers : torch.nn.Sequential
        Conv1d without dilation and groups, GroupNorm, and layers that treat each number alike.
    x : Tensor, shape (B, F, n)
        Contiguous.

    Returns
    -------
    Tensor, shape (B, n_out, F_out)
        What the layers make of ``x.transpose(1, 2)``.
    """
    x = x.transpose(1, 2).unsqueeze(2)  # (B, n, 1, F): for a picture one row high there is such a layout
    for layer in layers:
        if isinstance(layer, nn.Conv1d):
            stride, padding = (1, layer.stride[0]), (0, int(layer.padding[0]))
            x = nn.functional.conv2d(x, layer.weight.unsqueeze(2), layer.bias, stride, padding)
        else:
            x = layer(x)
    return x.squeeze(2)


class LinearPlus(nn.Module):
    """A linear map with a small nonlinear branch beside it, so that linear truths are learned as fast as by ridge.

    ``linear(x) + branch(x)``, where the branch starts at a tenth of its size.

    Parameters
    ----------
    n_in, n_out : int
        Features that go in, and that come out.
    hidden : int
        Features between the two layers of the branch.
    """

    def __init__(self, n_in: int, n_out: int, hidden: int) -> None:
        super().__init__()
        self.linear = nn.Linear(n_in, n_out)
        self.branch = nn.Sequential(
            nn.LayerNorm(n_in), nn.Linear(n_in, hidden), nn.GELU(), quiet(nn.Linear(hidden, n_out))
        )

    def forward(self, x: Tensor) -> Tensor:
        """The linear map and the branch, added.

        Parameters
        ----------
        x : Tensor, shape (..., n_in)

        Returns
        -------
        Tensor, shape (..., n_out)
        """
        return self.linear(x) + self.branch(x)
