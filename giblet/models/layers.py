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
