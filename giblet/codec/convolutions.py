"""EnCodec's convolutions and residual blocks, exact from one piece of a signal to the next.

On rows, (time, channels), every convolution is a few matrix products without a copy: a kernel of ``m * stride`` samples
is m blocks of ``stride`` samples, and each block of rows meets one matrix. The signal is reflected at its true ends
only, as transformers reflects it.

References
----------
Défossez, Copet, Synnaeve, Adi (2022). High Fidelity Neural Audio Compression. https://arxiv.org/abs/2210.13438
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from giblet.codec.streaming import Layer, State, Stateless

# Entries of a tap, and rows, from which two taps are cheaper in pairs of rows, by measurement.
PAIRED_SIZE, PAIRED_ROWS = 32_768, 200


@dataclass
class ConvState(State):
    """The last rows, (pad, channels), that a convolution has seen; None before the first piece."""

    context: Tensor | None = None


class Taps:
    """``y[t] = bias + sum over i of x[t - i * spacing] @ taps[i]``, with the rows before x taken from a context.

    Parameters
    ----------
    taps : sequence of Tensor, shape (in, out)
    bias : Tensor, shape (out,)
    spacing : int
        Rows from one tap to the next.
    """

    def __init__(self, taps: Sequence[Tensor], bias: Tensor, spacing: int = 1) -> None:
        self.taps = [tap.contiguous() for tap in taps]
        self.bias = bias
        self.spacing = spacing
        self.reach = (len(self.taps) - 1) * spacing
        in_pairs = self.reach == 1 and self.taps[0].numel() >= PAIRED_SIZE
        self.both = self.taps[0] + self.taps[1] if in_pairs else None

    def __call__(self, x: Tensor, context: Tensor) -> Tensor:
        """(time, in) rows and the (reach, in) rows before them to (time, out) rows."""
        if self.both is None or len(x) < PAIRED_ROWS:
            return self._one_by_one(x, context)
        n = len(x) // 2 * 2
        y = self._in_pairs(x[:n], context, self.both)
        return y if n == len(x) else torch.cat([y, self._one_by_one(x[n:], x[n - 1 : n])])

    def _in_pairs(self, x: Tensor, context: Tensor, both: Tensor) -> Tensor:
        """Two rows by three products instead of four.

        Of two taps a and b, rows 0 and 1 after row -1 are ``x0 a + x-1 b = x0 (a + b) + (x-1 - x0) b`` and
        ``x1 a + x0 b = x0 (a + b) + (x1 - x0) a``: the shortest of the fast FIR algorithms (Mou, Duhamel 1991,
        Short-length FIR filters and their use in fast nonrecursive filtering, IEEE Transactions on Signal Processing).
        """
        first, second = x[::2], x[1::2]
        y = x.new_empty(len(first), 2, both.shape[1]).copy_(torch.addmm(self.bias, first, both)[:, None])
        y[:, 0].addmm_(torch.cat([context, second[:-1]]).sub_(first), self.taps[1])
        y[:, 1].addmm_(second - first, self.taps[0])
        return y.view(len(x), -1)

    def _one_by_one(self, x: Tensor, context: Tensor) -> Tensor:
        y = torch.addmm(self.bias, x, self.taps[0])
        for lag, tap in enumerate(self.taps[1:], 1):
            back = lag * self.spacing
            n_old = min(back, len(x))
            start = self.reach - back
            y[:n_old].addmm_(context[start : start + n_old], tap)
            if len(x) > back:
                y[back:].addmm_(x[:-back], tap)
        return y


def padding(conv: nn.Conv1d) -> int:
    """Rows that a causal convolution needs in front of the signal: ``(width - 1) * dilation + 1 - stride``.

    Parameters
    ----------
    conv : nn.Conv1d

    Returns
    -------
    int
    """
    return (conv.kernel_size[0] - 1) * conv.dilation[0] + 1 - conv.stride[0]


def conv_blocks(weight: Tensor, stride: int) -> Tensor:
    """A convolution's weight as one matrix per block of `stride` samples, oldest first.

    Parameters
    ----------
    weight : Tensor, shape (out, in, width)
        The width is a multiple of the stride.
    stride : int

    Returns
    -------
    Tensor, shape (width / stride, stride * in, out)

    See Also
    --------
    transposed_blocks : the same of a transposed convolution.
    """
    by_sample = weight.permute(2, 1, 0)
    return by_sample.reshape(weight.shape[2] // stride, -1, weight.shape[0])


def transposed_blocks(weight: Tensor, stride: int) -> Tensor:
    """A transposed convolution's weight as one matrix per block of `stride` samples, that of the present row first.

    Parameters
    ----------
    weight : Tensor, shape (in, out, width)
        The width is a multiple of the stride.
    stride : int

    Returns
    -------
    Tensor, shape (width / stride, in, stride * out)

    See Also
    --------
    conv_blocks : the same of a convolution.
    """
    n_in, n_out, width = weight.shape
    by_block = weight.permute(2, 0, 1).reshape(width // stride, stride, n_in, n_out)
    return by_block.permute(0, 2, 1, 3).reshape(width // stride, n_in, stride * n_out)


class CausalConv(Layer[ConvState]):
    """A causal convolution, with the reflected ends of transformers' ``EncodecConv1d``.

    An example: width 4 and stride 2 over a signal of 5 rows, x0 to x4. In front, ``pad = width - stride`` mirrored rows
    are added, so that y[t] depends on nothing after its own `stride` rows; at the end, as many as complete a stride::

        pad: 2      signal: 5            to complete: 1
        x2  x1  |  x0  x1  x2  x3  x4  |  x3
        [------ y0 ------]
                   [---- y1 ----]
                           [----- y2 ------]

    The same in two pieces. What the first one leaves in the state takes the place of the mirrored rows in front::

        context     piece
        x2  x1  |  x0  x1  x2  x3         not the last: y0 and y1; the state keeps x2 x3
        x2  x3  |  x4  |  x3              the last: y2

    Parameters
    ----------
    conv : nn.Conv1d
        Its width is a multiple of its stride.
    """

    def __init__(self, conv: nn.Conv1d) -> None:
        weight, bias = conv.weight.detach(), _bias(conv)
        (self.stride,), (self.width,) = conv.stride, conv.kernel_size
        self.pad = padding(conv)
        self.lead = self.pad + 1
        self.taps = Taps(list(conv_blocks(weight, self.stride).flip(0)), bias, conv.dilation[0])

    def new_state(self) -> ConvState:
        """The state of a stream that has seen nothing yet.

        Returns
        -------
        ConvState
        """
        return ConvState()

    def __call__(self, x: Tensor, state: ConvState, last: bool) -> Tensor:
        """(time, in) rows to (time / stride, out) rows; the end of the signal rounds up."""
        context, x = self._padded(x, state.context, last)
        state.context = _tail(context, x, self.pad)
        return self._convolve(context, x)

    def _convolve(self, context: Tensor, x: Tensor) -> Tensor:
        block = self.stride * x.shape[1]  # rows (time, in) to rows (time / stride, stride * in)
        return self.taps(x.reshape(-1, block), context.reshape(-1, block))

    def _padded(self, x: Tensor, context: Tensor | None, last: bool) -> tuple[Tensor, Tensor]:
        """The `pad` rows before the piece, and the piece, at the end filled up to a multiple of the stride."""
        n = len(x)
        missing = -n % self.stride if last else 0
        if context is not None:
            if missing:
                # The mirror may reach back further than this piece does.
                seen = x if n > missing else torch.cat([context, x])
                x = torch.cat([x, seen[-1 - missing : -1].flip(0)])
            return context, x
        # A signal too short for its own mirror is lengthened by zeros first, and what they add is cut off again.
        zeros = max(0, max(self.pad, missing) - n + 1) if self.pad or missing else 0
        if zeros and not last:
            raise ValueError(f"the first piece has {n} rows; pass at least {self.lead}")
        mirror = F.pad(x, (0, 0, 0, zeros)) if zeros else x
        context = mirror[1 : self.pad + 1].flip(0)
        if missing:
            x = torch.cat([mirror, mirror[len(mirror) - 1 - missing : -1].flip(0)])[: n + missing]
        return context, x


class FromMonoConv(CausalConv):
    """A causal convolution from one channel: with so few columns, one product of all windows beats one per tap.

    Parameters
    ----------
    conv : nn.Conv1d
        Of stride and dilation 1.
    """

    def __init__(self, conv: nn.Conv1d) -> None:
        super().__init__(conv)
        self.matrix = torch.cat(self.taps.taps[::-1])  # (width, out)

    def _convolve(self, context: Tensor, x: Tensor) -> Tensor:
        windows = torch.cat([context, x])[:, 0].unfold(0, self.width, 1)  # (time, width)
        return torch.addmm(self.taps.bias, windows, self.matrix)


class ToMonoConv(CausalConv):
    """A causal convolution to one channel: all taps in one product, then summed along the diagonals.

    Parameters
    ----------
    conv : nn.Conv1d
        Of stride and dilation 1.
    """

    def __init__(self, conv: nn.Conv1d) -> None:
        super().__init__(conv)
        self.matrix = torch.cat(self.taps.taps[::-1], dim=1)  # (in, width)

    def _convolve(self, context: Tensor, x: Tensor) -> Tensor:
        products = torch.cat([context @ self.matrix, x @ self.matrix])  # (pad + time, width)
        diagonals = products.as_strided((len(x), self.width), (self.width, self.width + 1))
        return diagonals.sum(1, keepdim=True).add_(self.taps.bias)


def causal_conv(conv: nn.Conv1d) -> CausalConv:
    """The fastest exact form of a causal convolution.

    Parameters
    ----------
    conv : nn.Conv1d

    Returns
    -------
    CausalConv
    """
    plain = conv.stride == (1,) and conv.dilation == (1,)
    if plain and conv.in_channels == 1:
        return FromMonoConv(conv)
    if plain and conv.out_channels == 1:
        return ToMonoConv(conv)
    return CausalConv(conv)


class TransposedConv(Layer[ConvState]):
    """A causal transposed convolution, its overhang trimmed on the right.

    With kernels twice as wide as the stride, as in EnCodec, an input row gives its own block of `stride` output rows
    and adds to the next block::

        input     x0           x1                         x2                         (the end)
        output  [ x0 @ now ] [ x1 @ now + x0 @ before ] [ x2 @ now + x1 @ before ]   x2 @ before is trimmed

    So it is `Taps` again, from one row to `stride` rows, and the state keeps the input rows that the next block needs.

    Parameters
    ----------
    conv : nn.ConvTranspose1d
        Its width is a multiple of its stride.
    """

    def __init__(self, conv: nn.ConvTranspose1d) -> None:
        (stride,) = conv.stride
        self.out_channels = conv.out_channels
        self.taps = Taps(list(transposed_blocks(conv.weight.detach(), stride)), _bias(conv).repeat(stride))

    def new_state(self) -> ConvState:
        """The state of a stream that has seen nothing yet.

        Returns
        -------
        ConvState
        """
        return ConvState()

    def __call__(self, x: Tensor, state: ConvState, last: bool) -> Tensor:
        """(time, in) rows to (time * stride, out) rows."""
        context = x.new_zeros(self.taps.reach, x.shape[1]) if state.context is None else state.context
        state.context = _tail(context, x, self.taps.reach)
        return self.taps(x, context).view(-1, self.out_channels)


class ELU(Layer[Stateless]):
    """The exponential linear unit, in place.

    PyTorch's own, by expm1: exp(x) - 1 is faster, but where the sound is quiet it loses digits that decide codes.
    """

    def new_state(self) -> Stateless:
        """Nothing to remember.

        Returns
        -------
        Stateless
        """
        return Stateless()

    def __call__(self, x: Tensor, state: Stateless, last: bool) -> Tensor:
        """Elementwise."""
        return F.elu_(x)


class ResidualBlock(Layer[ConvState]):
    """``shortcut(x) + pointwise(elu(conv(elu(x))))``.

    Parameters
    ----------
    conv, pointwise : nn.Conv1d
        A causal convolution and one of width 1.
    shortcut : nn.Conv1d or None
        Of width 1; None for the identity.
    """

    def __init__(self, conv: nn.Conv1d, pointwise: nn.Conv1d, shortcut: nn.Conv1d | None) -> None:
        self.conv = CausalConv(conv)
        self.lead = self.conv.lead
        self.pointwise = pointwise.weight.detach()[:, :, 0].t().contiguous()
        self.shortcut = None if shortcut is None else shortcut.weight.detach()[:, :, 0].t().contiguous()
        self.bias = _bias(pointwise) if shortcut is None else _bias(pointwise) + _bias(shortcut)

    def new_state(self) -> ConvState:
        """The state of the one convolution that looks back.

        Returns
        -------
        ConvState
        """
        return self.conv.new_state()

    def __call__(self, x: Tensor, state: ConvState, last: bool) -> Tensor:
        """(time, channels) rows to rows of the same shape."""
        hidden = self.conv(F.elu(x), state, last)
        F.elu_(hidden)
        y = x + self.bias if self.shortcut is None else torch.addmm(self.bias, x, self.shortcut)
        return y.addmm_(hidden, self.pointwise)


def _tail(context: Tensor, x: Tensor, n: int) -> Tensor:
    """The last n rows seen, in memory of their own so that the piece can be freed."""
    return x[len(x) - n :].clone() if len(x) >= n else torch.cat([context[len(x) :], x])


def _bias(conv: nn.Conv1d | nn.ConvTranspose1d) -> Tensor:
    return conv.weight.new_zeros(conv.out_channels) if conv.bias is None else conv.bias.detach()
