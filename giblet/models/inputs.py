"""What data must look like on its way into the model: its kind, its shape, and a mask that says which TRs are there."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from giblet.errors import InputError
from giblet.models.settings import Modality


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
        raise InputError(f"{what} got {x.dtype} {tuple(x.shape)}; expected floats ({wanted})")
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
        raise InputError(f"{what}: the mask is {mask.dtype} {tuple(mask.shape)}; expected bool ({n},)")
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


def checked_series(
    name: str, modality: Modality, data: Mapping[str, Tensor], mask: Mapping[str, Tensor]
) -> tuple[Tensor, Tensor]:
    """One modality and its mask, checked against what the model was made for.

    Parameters
    ----------
    name : str
    modality : Modality
        What one TR of it is.
    data : mapping of str to Tensor, shape (B, W, ...)
        By modality.
    mask : mapping of str to Tensor of bool, shape (B, W)
        Which TRs are data.

    Returns
    -------
    x : Tensor, shape (B, W, ...)
    present : Tensor of bool, shape (B, W)

    Raises
    ------
    InputError
        If the modality or its mask is missing, or of another shape or kind.
    """
    if name not in data or name not in mask:
        missing = "data" if name not in data else "a mask"
        raise InputError(f"the batch lacks {missing} for {name}: where it has none, pass a mask of False")
    x, present = data[name], mask[name]
    if present.dtype != torch.bool or x.shape[:2] != present.shape or tuple(x.shape[2:]) != modality.shape:
        shape = ", ".join(map(str, ("B", "W", *modality.shape)))
        raise InputError(
            f"{name} is {tuple(x.shape)} with a mask {present.dtype} {tuple(present.shape)}; "
            f"expected ({shape}) and bool (B, W)"
        )
    if is_code_dtype(x) != (modality.kind == "codes"):
        wanted = "codes, integers" if modality.kind == "codes" else f"{modality.kind}, floats"
        raise InputError(f"{name} is {x.dtype}: the model was made for {wanted}")
    return x, present
