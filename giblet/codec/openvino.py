"""An encoder's convolutions through OpenVINO, where it is installed and the codec computes on a CPU.

The last strided one stays with torch, as OpenVINO takes three times as long over its large weights as a matrix product
does, and so does the decoder: its transposed convolutions are slower in OpenVINO (measured: the whole decoder by half).

The convolutions look back on little: what they give for a row hangs on the few rows before it. So each tile of a signal
is computed from its own samples and those few before, with nothing carried from layer to layer, in a network of one
shape that OpenVINO compiles once. What is particular about the two ends of a signal is left to the layers of
`streaming`.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from giblet.codec.lstm import SkipLSTM
from giblet.codec.streaming import ELU, Layer, ResidualBlock, TransposedConv, causal_conv, padding
from giblet.errors import InputError

# What a codec consists of: convolutions either way, LSTM, ELU, and residual blocks, (conv, pointwise, shortcut).
Core: TypeAlias = nn.Module | tuple[nn.Conv1d, nn.Conv1d, nn.Conv1d | None]
RUNTIMES = ("auto", "torch", "openvino")
# Below the first of these, exp(x) - 1 is -1 to rounding. Of an eighth y of what is above, it is y / (g - y / 2), where
# g is the even function y / 2 coth(y / 2); the coefficients of its second and fourth power (1 / 12 and -1 / 720 in its
# series at 0) are fitted to keep the error of the whole within 4e-8 of the value, before rounding.
LOWEST, DOUBLINGS = -17.4, 3
EVEN = (0.08333029, -0.0013625212)


def folded(conv: Any) -> Any:
    """A convolution of either kind without its weight norm, which cannot be pickled.

    Parameters
    ----------
    conv : nn.Conv1d or nn.ConvTranspose1d

    Returns
    -------
    nn.Conv1d or nn.ConvTranspose1d
        Without gradients and without padding of its own.
    """
    kind = nn.ConvTranspose1d if isinstance(conv, nn.ConvTranspose1d) else nn.Conv1d
    sizes = (conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride)
    # On "meta" no random weights are drawn.
    plain = kind(*sizes, dilation=conv.dilation, bias=conv.bias is not None, device="meta").requires_grad_(False)
    plain.weight = nn.Parameter(conv.weight.detach(), requires_grad=False)
    if conv.bias is not None:
        plain.bias = nn.Parameter(conv.bias.detach(), requires_grad=False)
    return plain


def layer(core: Core) -> Layer:
    """The streaming form, by torch, of a part of a codec.

    Parameters
    ----------
    core : Core
        A convolution of either kind, an LSTM, an ELU, or a residual block as (conv, pointwise, shortcut or None).

    Returns
    -------
    Layer

    Raises
    ------
    TypeError
        If it is none of these.
    """
    match core:
        case (conv, pointwise, shortcut):
            return ResidualBlock(conv, pointwise, shortcut)
        case nn.Conv1d():
            return causal_conv(core)
        case nn.ConvTranspose1d():
            return TransposedConv(core)
        case nn.LSTM():
            return SkipLSTM(core)
        case nn.ELU():
            return ELU()
    raise TypeError(f"no streaming form of {type(core).__name__}")


def pick_runtime(wanted: str, device: torch.device) -> str:
    """What computes the encoder's convolutions.

    Parameters
    ----------
    wanted : str
        ``"auto"``: OpenVINO if it is installed and the device is the CPU, else torch. Or one of them by name.
    device : torch.device

    Returns
    -------
    str
        ``"torch"`` or ``"openvino"``.

    Raises
    ------
    InputError
        If there is no such runtime, or it cannot be used here.
    """
    if wanted not in RUNTIMES:
        raise InputError(f"runtime {wanted!r} is not known: give one of {', '.join(RUNTIMES)}")
    installed = importlib.util.find_spec("openvino") is not None
    if wanted == "auto":
        return "openvino" if installed and device.type == "cpu" else "torch"
    if wanted == "openvino" and not installed:
        raise InputError("runtime 'openvino' is not installed: pip install 'giblet[fast]', or give runtime='auto'")
    if wanted == "openvino" and device.type != "cpu":
        raise InputError(f"runtime 'openvino' computes on the CPU and the device is {str(device)!r}: give device='cpu'")
    return wanted


@dataclass
class CompiledState:
    """The last rows that a chain has seen; None before the first piece."""

    past: Tensor | None = None


class CompiledChain(Layer):
    """What an encoder's chain of convolutions gives, to rounding, by OpenVINO.

    Parameters
    ----------
    chain : Layer
        The same convolutions, for the ends of a signal.
    cores : sequence of Core
        What the chain consists of.
    hop_length : int
        Samples per frame, a row that the chain gives.
    tile : int
        Frames at a time.
    """

    def __init__(self, chain: Layer, cores: Sequence[Core], hop_length: int, tile: int) -> None:
        self.chain = chain
        self.cores = list(cores)
        self.hop_length = hop_length
        self.tile = tile
        self.reach = math.ceil(_reach(self.cores) / hop_length)  # frames
        self.lead = max(chain.lead, self.reach)
        self._compiled: dict[int, Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_compiled": {}}

    def new_state(self) -> CompiledState:
        """A stream that has seen nothing.

        Returns
        -------
        CompiledState
        """
        return CompiledState()

    def __call__(self, x: Tensor, state: CompiledState, last: bool) -> Tensor:
        """(samples, in) rows to (frames, out) rows."""
        done = []
        if state.past is None:
            # The mirrored start, and enough behind it for what follows not to see the mirror.
            n_first = len(x) if len(x) < (self.lead + 1) * self.hop_length else self.lead * self.hop_length
            ends = last and n_first == len(x)
            done.append(self.chain(x[:n_first].clone(), self.chain.new_state(), ends))
            state.past, x = x[:n_first], x[n_first:]
        seen = torch.cat([state.past, x])
        n_before = len(state.past)
        n_whole = len(x) // self.hop_length * self.hop_length
        for start in range(n_before, n_before + n_whole, self.tile * self.hop_length):
            stop = min(start + self.tile * self.hop_length, n_before + n_whole)
            done.append(self._infer(seen[start - self.reach * self.hop_length : stop]))
        if n_whole < len(x):
            # The last, incomplete frame sees the mirrored end. The chain gets into step on the frames before it.
            again = self.chain.new_state()
            cut = n_before + n_whole
            self.chain(seen[cut - self.lead * self.hop_length : cut].clone(), again, False)
            done.append(self.chain(seen[cut:].clone(), again, True))
        state.past = seen[-self.lead * self.hop_length :].clone()
        return torch.cat(done)

    def _infer(self, x: Tensor) -> Tensor:
        """The output for these rows but the first `reach` frames, which they need to be told of what was before."""
        n_threads = torch.get_num_threads()
        if n_threads not in self._compiled:
            self._compiled[n_threads] = _compile(self.cores, (self.reach + self.tile) * self.hop_length, n_threads)
        request = self._compiled[n_threads]
        missing = (self.reach + self.tile) * self.hop_length - len(x)
        # What is to come never changes what was: zeros do as well.
        rows = torch.cat([x, x.new_zeros(missing, x.shape[1])]) if missing else x.contiguous()
        request.infer([rows.numpy()], share_inputs=True)
        n_frames = len(x) // self.hop_length
        # Copied by NumPy: torch's threads would wait for more to do for a while, and OpenVINO's have to wait for them.
        return torch.from_numpy(request.get_output_tensor().data[self.reach : n_frames].copy())


def _reach(cores: Sequence[Core]) -> int:
    """How many samples before a frame its value hangs on."""
    reach, spacing = 0, 1
    for core in cores:
        conv = core[0] if isinstance(core, tuple) else core
        if isinstance(conv, nn.Conv1d):
            reach += padding(conv) * spacing
            spacing *= conv.stride[0]
    return reach


def _compile(cores: Sequence[Core], n_rows: int, n_threads: int) -> Any:
    """An inference request from (n_rows, in) to (rows, out), with zeros before the first row."""
    import openvino as ov
    import openvino.opset13 as op

    first = next(core for core in cores if isinstance(core, nn.Conv1d))
    rows = op.parameter([n_rows, first.in_channels], np.float32)
    x = op.unsqueeze(op.transpose(rows, op.constant([1, 0])), op.constant([0]))  # (1, channels, time)
    for core in cores:
        if isinstance(core, tuple):
            conv, pointwise, shortcut = core
            hidden = _conv(op, _elu(op, _conv(op, _elu(op, x), conv)), pointwise)
            x = op.add(x if shortcut is None else _conv(op, x, shortcut), hidden)
        elif isinstance(core, nn.ELU):
            x = _elu(op, x)
        else:
            x = _conv(op, x, core)
    x = op.transpose(op.squeeze(x, op.constant([0])), op.constant([1, 0]))
    options = {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": n_threads,
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,
    }
    return _core().compile_model(ov.Model([x], [rows]), "CPU", options).create_infer_request()


@lru_cache(maxsize=1)
def _core() -> Any:
    """The one of this process.

    On processors with AMX a core gives its thread another stack for signal handlers, and puts back what it found when
    it is dropped: of several, dropped in the order they were made, the last puts back one that is unmapped, and the
    next signal (Ctrl-C) ends the process.
    """
    import openvino as ov

    return ov.Core()


def _conv(op: Any, x: Any, conv: Any) -> Any:
    """A convolution with its bias."""
    weight = op.constant(np.ascontiguousarray(conv.weight.detach().numpy()))
    y = op.convolution(x, weight, list(conv.stride), [padding(conv)], [0], list(conv.dilation))
    if conv.bias is None:
        return y
    return op.add(y, op.constant(conv.bias.detach().numpy().reshape(1, -1, 1)))


def _elu(op: Any, x: Any) -> Any:
    """The exponential linear unit, as exact as by expm1 where x is small too; OpenVINO's own loses digits there."""

    def number(value: float) -> Any:
        return op.constant(np.float32(value))

    scale = 2**DOUBLINGS
    y = op.maximum(op.minimum(x, number(0)), number(LOWEST))  # scale times the eighth
    square = op.multiply(y, y)
    even = op.add(op.multiply(square, number(EVEN[1] / scale**4)), number(EVEN[0] / scale**2))
    even = op.add(op.multiply(even, square), number(1))
    expm1 = op.divide(y, op.subtract(even, op.multiply(y, number(0.5 / scale))))  # scale times that of the eighth
    for n in range(DOUBLINGS, 0, -1):
        # expm1(2 y) = expm1(y) (expm1(y) + 2), which adds no error but its own rounding where y is negative.
        expm1 = op.add(expm1, op.multiply(op.multiply(expm1, expm1), number(0.5 / 2**n)))
    return op.maximum(x, expm1)
