"""Errors of single rows, each in its own units: what the losses of heads and modalities are made of.

The order of arguments is the truth first, then what is said of it, as in the scores.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from giblet.codec.quantizer import rvq_dequantize
from giblet.models.logits import CodeLogits


def mse(target: Tensor, prediction: Tensor) -> Tensor:
    """Squared error of each row, mean over the rest.

    Parameters
    ----------
    target, prediction : Tensor, shape (N, ...)

    Returns
    -------
    Tensor, shape (N,), float32
    """
    return nn.functional.mse_loss(prediction.float(), target.float(), reduction="none").flatten(1).mean(1)


def smooth_l1(target: Tensor, prediction: Tensor, width: Tensor | float = 1.0) -> Tensor:
    """Huber's loss of each row, mean over the rest: squared up to an error of `width`, then linear.

    Parameters
    ----------
    target, prediction : Tensor, shape (N, ...)
    width : Tensor or float
        In the units of the target, broadcast against it; errors are divided by it.

    Returns
    -------
    Tensor, shape (N,), float32
    """
    error = (prediction.float() - target.float()) / width
    return nn.functional.smooth_l1_loss(error, torch.zeros_like(error), reduction="none").flatten(1).mean(1)


def cross_entropy(codes: Tensor, scores: CodeLogits | Tensor) -> Tensor:
    """Cross-entropy of each row and codebook, mean over frames.

    Parameters
    ----------
    codes : Tensor of int, shape (N, K, F)
        In [0, V - 1].
    scores : CodeLogits or Tensor, shape (N, K, F, V)

    Returns
    -------
    Tensor, shape (N, K), float32
        Nats per frame.
    """
    if isinstance(scores, CodeLogits):
        return scores.cross_entropy(codes)
    by_entry = scores.float().movedim(-1, 1)
    return nn.functional.cross_entropy(by_entry, codes.long(), reduction="none").mean(2)


def latent_loss(codes: Tensor, latents: Tensor, codebooks: Tensor) -> Tensor:
    """Squared error of each row between the latents that codes stand for and others, mean over dimensions and frames.

    Parameters
    ----------
    codes : Tensor of int, shape (N, K, F)
        In [0, V - 1].
    latents : Tensor, shape (N, D, F)
    codebooks : Tensor, shape (K, V, D)
        Of the codec.

    Returns
    -------
    Tensor, shape (N,), float32

    Raises
    ------
    InputError
        If the codes do not fit the codebooks.
    """
    # Frames before dimensions, as both lie in memory.
    return mse(rvq_dequantize(codes, codebooks), latents.transpose(1, 2))
