"""Small parts that several modules of the model share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from giblet.errors import InputError

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

    Parameters
    ----------
    n_in, n_out, hidden : int
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


def is_code_dtype(x: Tensor) -> bool:
    """Whether a tensor can hold codes: integers of any width.

    Parameters
    ----------
    x : Tensor

    Returns
    -------
    bool
        False for floats, complex numbers and bool.
    """
    return not (x.is_floating_point() or x.is_complex() or x.dtype == torch.bool)


def check_floats(x: Tensor, shape: tuple[int, ...], what: str) -> Tensor:
    """A tensor as float32, found to hold floats of the right shape.

    Parameters
    ----------
    x : Tensor, shape (B, ...)
    shape : tuple of int
        What is needed behind the first axis.
    what : str
        Who got it, for the message.

    Returns
    -------
    Tensor, shape (B, *shape), float32

    Raises
    ------
    InputError
        If it does not.
    """
    if not x.is_floating_point() or tuple(x.shape[1:]) != shape:
        wanted = ", ".join(map(str, ("B", *shape)))
        raise InputError(f"{what} got {x.dtype} {tuple(x.shape)}: floats ({wanted}) are needed")
    return x.float()


def check_mask(mask: Tensor | None, n: int, x: Tensor, what: str) -> Tensor:
    """Presence of each TR; all are present where no mask is given.

    Parameters
    ----------
    mask : Tensor of bool, shape (n,), or None
    n : int
        How many TRs there are.
    x : Tensor
        The data, on whose device the answer lies.
    what : str
        Who got it, for the message.

    Returns
    -------
    Tensor of bool, shape (n,)

    Raises
    ------
    InputError
        If the mask is not bool (n,).
    """
    if mask is None:
        return torch.ones(n, dtype=torch.bool, device=x.device)
    if mask.dtype != torch.bool or tuple(mask.shape) != (n,):
        raise InputError(f"{what}: the mask is {mask.dtype} {tuple(mask.shape)}, bool ({n},) is needed")
    return mask.to(x.device)


def present_only(x: Tensor, mask: Tensor) -> Tensor:
    """`x` with 0 where a TR is absent, so that what lies there, NaN included, reaches neither value nor gradient.

    Parameters
    ----------
    x : Tensor, shape (B, ...)
    mask : Tensor of bool, shape (B,)
        False: this TR is absent.

    Returns
    -------
    Tensor, shape (B, ...)
    """
    return torch.where(mask.view(-1, *[1] * (x.ndim - 1)), x, torch.zeros_like(x))
