"""EnCodec's encoder and decoder for training on a CPU: transformers' own weights and results, in less time.

Signals are rows, (batch, time, channels), and convolutions a few matrix products, as in `streaming`; here for whole
crops side by side, with gradients, of weights that change.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from giblet.codec.convolutions import conv_blocks, padding, transposed_blocks
from giblet.codec.layers import Core

FEWEST_COLUMNS = 16  # products with fewer run at a sixth of the speed: zeros fill them up


class RowNet:
    """An encoder or decoder, of (B, C, T) signals as transformers' is, by matrix products.

    Parameters
    ----------
    cores : sequence of Core
        What it consists of, weight norm and all: `giblet.codec.encodec.cores`.
    """

    def __init__(self, cores: Sequence[Core]) -> None:
        self.cores = list(cores)

    def __call__(self, x: Tensor) -> Tensor:
        """(B, C, T) float32 to the (B, C', T') that the layers one after another give, to rounding."""
        y = x.transpose(1, 2)
        for core in self.cores:
            y = _step(core, y)
        return y.transpose(1, 2)


def _step(core: Core, x: Tensor) -> Tensor:
    match core:
        case (conv, pointwise, shortcut):
            return _block(conv, pointwise, shortcut, x)
        case nn.Conv1d():
            return _conv(core, x)
        case nn.ConvTranspose1d():
            return _transposed(core, x)
        case nn.LSTM():
            by_time = x.transpose(0, 1)
            return (by_time + core(by_time)[0]).transpose(0, 1)
        case nn.ELU():
            return F.elu_(x)  # of memory that is the layer's before, which needs it no more
    raise TypeError(f"no trainable form of {type(core).__name__}")


class _Reflected(torch.autograd.Function):
    """Rows (B, T, C) with `before` mirrored rows in front and `after` behind; the rows at the ends are not repeated."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, before: int, after: int) -> Tensor:
        ctx.sizes = before, after
        n = x.shape[1]
        return torch.cat([x[:, 1 : before + 1].flip(1), x, x[:, n - 1 - after : n - 1].flip(1)], 1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        before, after = ctx.sizes
        whole = gradients[0].clone()
        n = whole.shape[1] - before - after
        own = whole[:, before : before + n]
        own[:, 1 : before + 1] += whole[:, :before].flip(1)
        own[:, n - 1 - after : n - 1] += whole[:, before + n :].flip(1)
        return own, None, None


class _Taps(torch.autograd.Function):
    """``y[t] = bias + sum over i of x[t + i * spacing] @ taps[i]``: x (B, T + reach, K), taps (m, K, N), (B, T, N)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, taps: Tensor, bias: Tensor, spacing: int) -> Tensor:
        ctx.save_for_backward(x, taps)
        ctx.spacing = spacing
        n = x.shape[1] - (len(taps) - 1) * spacing
        each = [tap.expand(len(x), -1, -1) for tap in taps]
        y = torch.baddbmm(bias, x[:, :n], each[0])
        for i, tap in enumerate(each[1:], 1):
            y.baddbmm_(x[:, i * spacing : i * spacing + n], tap)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor, Tensor, None]:
        x, taps = ctx.saved_tensors
        (gradient,), spacing = gradients, ctx.spacing
        n = gradient.shape[1]
        heard = [x[:, i * spacing : i * spacing + n] for i in range(len(taps))]
        by_tap = torch.stack([torch.bmm(rows.transpose(1, 2), gradient).sum(0) for rows in heard])
        by_row = None
        if ctx.needs_input_grad[0]:
            by_row = torch.zeros_like(x)
            for i, tap in enumerate(taps):
                by_row[:, i * spacing : i * spacing + n].baddbmm_(gradient, tap.t().expand(len(x), -1, -1))
        return by_row, by_tap, gradient.sum((0, 1)), None


class _ToMono(torch.autograd.Function):
    """`_Taps` to one channel, x (B, T + width - 1, K), matrix (K, width): one product, summed along its diagonals."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, matrix: Tensor) -> Tensor:
        ctx.save_for_backward(x, matrix)
        products, width = x @ matrix, matrix.shape[1]
        shape = (len(x), x.shape[1] - width + 1, width)
        return products.as_strided(shape, (products.stride(0), width, width + 1)).sum(2, keepdim=True)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        x, matrix = ctx.saved_tensors
        width = matrix.shape[1]
        spread = F.pad(gradients[0][:, :, 0], (width - 1, width - 1)).unfold(1, width, 1).flip(2)
        return spread @ matrix.t(), torch.bmm(x.transpose(1, 2), spread).sum(0)


def _conv(conv: Any, x: Tensor, bent: bool = False, spare: int = 0) -> Tensor:
    """A causal convolution; `bent`: of elu(x); `spare`: how many channels of zeros to add."""
    (stride,), (dilation,), (width,) = conv.stride, conv.dilation, conv.kernel_size
    before, after = padding(conv), -x.shape[1] % stride
    # A signal too short for its own mirror is lengthened by zeros first, and what they add is cut off again.
    zeros = max(0, max(before, after) - x.shape[1] + 1)
    rows = _Reflected.apply(F.pad(x, (0, 0, 0, zeros)) if zeros else x, before, after)
    if zeros:
        rows = rows[:, :-zeros].contiguous()
    if bent:
        rows = F.elu_(rows)
    taps, bias = conv_blocks(conv.weight, stride), conv.bias
    if conv.out_channels == stride == dilation == 1 and not spare:
        return _ToMono.apply(rows, taps[:, :, 0].t()) + bias
    if spare:
        taps, bias = F.pad(taps, (0, spare)), F.pad(bias, (0, spare))
    if conv.in_channels == stride == dilation == 1:  # one product of all windows beats a product for each tap
        windows = rows[:, :, 0].unfold(1, width, 1).contiguous()
        return _Taps.apply(windows, taps.transpose(0, 1), bias, 1)
    return _Taps.apply(rows.reshape(len(rows), -1, stride * rows.shape[2]), taps, bias, dilation)


def _transposed(conv: Any, x: Tensor) -> Tensor:
    """A causal transposed convolution, its overhang trimmed on the right."""
    taps = transposed_blocks(conv.weight, conv.stride[0]).flip(0)  # oldest first
    y = _Taps.apply(F.pad(x, (0, 0, len(taps) - 1, 0)), taps, conv.bias.repeat(conv.stride[0]), 1)
    return y.view(len(x), -1, conv.out_channels)


def _block(conv: Any, pointwise: Any, shortcut: Any, x: Tensor) -> Tensor:
    """``shortcut(x) + pointwise(elu(conv(elu(x))))``."""
    spare = max(0, FEWEST_COLUMNS - conv.out_channels)
    hidden = F.elu_(_conv(conv, x, bent=True, spare=spare))
    if shortcut is None:
        y = x + pointwise.bias
    else:
        y = F.linear(x, shortcut.weight[:, :, 0], shortcut.bias + pointwise.bias)
    weight = F.pad(pointwise.weight[:, :, 0], (0, spare))
    y.view(-1, y.shape[2]).addmm_(hidden.view(-1, hidden.shape[2]), weight.t())
    return y
