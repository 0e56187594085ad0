"""An encoder's convolutions through OpenVINO, where it is installed and the codec computes on a CPU.

The last strided one stays with torch, as OpenVINO takes three times as long over its large weights as a matrix product
does, and so does the decoder: its transposed convolutions are slower in OpenVINO (measured: the whole decoder by half).

A row of the convolutions' output depends on few samples before it. So each tile of a signal is computed from its own
samples and those few before, with nothing carried from layer to layer, in a network of one shape that OpenVINO compiles
once. The two ends of a signal, where rows are mirrored, are left to the layers of `convolutions`.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from giblet.codec.convolutions import padding
from giblet.codec.layers import Core, Encoder, ResidualCore
from giblet.codec.streaming import Chain, Layer, State
from giblet.errors import InputError

RUNTIMES = ("auto", "torch", "openvino")
# expm1 for the ELU. Below LOWEST, exp(x) - 1 is -1 to rounding. Above it, expm1 of y = x / 2**DOUBLINGS is
# y / (g - y / 2), where g is the even function y / 2 coth(y / 2); the coefficients EVEN of its second and fourth power
# (1 / 12 and -1 / 720 in its series at 0) are fitted to keep the error of the result within 4e-8 of its value, before
# rounding.
LOWEST, DOUBLINGS = -17.4, 3
EVEN = (0.08333029, -0.0013625212)


def pick_runtime(runtime: str, device: torch.device) -> str:
    """What computes the encoder's convolutions.

    Parameters
    ----------
    runtime : str
        ``"auto"`` (OpenVINO if it is installed and the device is the CPU, else torch), ``"torch"`` or ``"openvino"``.
    device : torch.device

    Returns
    -------
    str
        ``"torch"`` or ``"openvino"``.

    Raises
    ------
    InputError
        If there is no such runtime, it is not installed, or it cannot use the device.
    """
    if runtime not in RUNTIMES:
        raise InputError(f"runtime {runtime!r} is not known; pass one of {', '.join(RUNTIMES)}")
    installed = importlib.util.find_spec("openvino") is not None
    if runtime == "auto":
        return "openvino" if installed and device.type == "cpu" else "torch"
    if runtime == "openvino" and not installed:
        raise InputError("runtime 'openvino' is not installed: pip install 'giblet[fast]', or pass runtime='auto'")
    if runtime == "openvino" and device.type != "cpu":
        raise InputError(f"runtime 'openvino' computes on the CPU and the device is {str(device)!r}; pass device='cpu'")
    return runtime


def with_openvino(encoder: Encoder, cores: Sequence[Core]) -> Encoder:
    """An encoder whose front is computed by OpenVINO.

    Parameters
    ----------
    encoder : Encoder
        As `build_encoder` makes it.
    cores : sequence of Core
        The parts that it was built from.

    Returns
    -------
    Encoder
        Sharing all other layers with the one given. Its latents are the same up to rounding.

    Raises
    ------
    TypeError
        If the front is not a chain of torch's layers.
    """
    if not isinstance(encoder.front, Chain):
        raise TypeError(f"the encoder's front is a {type(encoder.front).__name__}: expected a Chain")
    return encoder.with_front(CompiledChain(encoder.front, cores[: len(encoder.front.layers)]))


@dataclass
class CompiledState(State):
    """The last samples, (lead * stride, 1), that a chain has seen; None before the first piece."""

    past: Tensor | None = None


class CompiledChain(Layer[CompiledState]):
    """What a chain of an encoder's convolutions gives, up to rounding, computed by OpenVINO.

    Parameters
    ----------
    chain : Chain
        The same convolutions by torch, for the ends of a signal. In tiles.
    cores : sequence of Core
        The parts that the chain consists of.

    Attributes
    ----------
    stride : int
        Samples per row of the output.
    tile, reach : int
        In rows of the output: how many are computed at a time, and on how many before it a row depends.
    """

    def __init__(self, chain: Chain, cores: Sequence[Core]) -> None:
        if chain.tile is None:
            raise ValueError("the chain has no tile: OpenVINO compiles for one length")
        self.chain = chain
        self.cores = list(cores)
        n_samples, self.stride = _reach(self.cores)
        self.tile = chain.tile // self.stride
        self.reach = math.ceil(n_samples / self.stride)
        self.lead = max(chain.lead, self.reach)
        self._compiled: dict[int, Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_compiled": {}}

    def new_state(self) -> CompiledState:
        """The state of a stream that has seen nothing yet.

        Returns
        -------
        CompiledState
        """
        return CompiledState()

    def __call__(self, x: Tensor, state: CompiledState, last: bool) -> Tensor:
        """(samples, 1) rows to (samples / stride, out) rows."""
        outputs = []
        if state.past is None:
            # The mirrored start, and enough behind it that nothing after it depends on the mirror.
            n_first = len(x) if len(x) < (self.lead + 1) * self.stride else self.lead * self.stride
            is_all = last and n_first == len(x)
            outputs.append(self.chain(x[:n_first].clone(), self.chain.new_state(), is_all))
            state.past, x = x[:n_first], x[n_first:]
        seen = torch.cat([state.past, x])
        n_before = len(state.past)
        n_whole = len(x) // self.stride * self.stride
        for start in range(n_before, n_before + n_whole, self.tile * self.stride):
            stop = min(start + self.tile * self.stride, n_before + n_whole)
            outputs.append(self._infer(seen[start - self.reach * self.stride : stop]))
        if n_whole < len(x):
            # The last, incomplete row sees the mirrored end. The rows before it bring a fresh state into step.
            end_state = self.chain.new_state()
            cut = n_before + n_whole
            self.chain(seen[cut - self.lead * self.stride : cut].clone(), end_state, False)
            outputs.append(self.chain(seen[cut:].clone(), end_state, True))
        state.past = seen[-self.lead * self.stride :].clone()
        return torch.cat(outputs)

    def _infer(self, x: Tensor) -> Tensor:
        """The output for these samples, without the first `reach` rows, which only tell what was before."""
        n_threads = torch.get_num_threads()
        n_samples = (self.reach + self.tile) * self.stride
        if n_threads not in self._compiled:
            self._compiled[n_threads] = _compile(self.cores, n_samples, n_threads)
        request = self._compiled[n_threads]
        missing = n_samples - len(x)
        # A causal output never depends on what follows, so zeros will do.
        samples = torch.cat([x, x.new_zeros(missing, x.shape[1])]) if missing else x.contiguous()
        request.infer([samples.numpy()], share_inputs=True)
        n_rows = len(x) // self.stride
        # Copied by NumPy: torch's threads would wait for more to do for a while, and OpenVINO's have to wait for them.
        return torch.from_numpy(request.get_output_tensor().data[self.reach : n_rows].copy())


def _reach(cores: Sequence[Core]) -> tuple[int, int]:
    """How many samples before it a row of the output depends on, and how many samples it stands for."""
    reach, stride = 0, 1
    for core in cores:
        conv = core.conv if isinstance(core, ResidualCore) else core
        if isinstance(conv, nn.Conv1d):
            reach += padding(conv) * stride
            stride *= conv.stride[0]
    return reach, stride


def _compile(cores: Sequence[Core], n_samples: int, n_threads: int) -> Any:
    """An inference request from rows (n_samples, in) to rows (n_samples / stride, out), with zeros before the first."""
    import openvino as ov
    import openvino.opset13 as op

    first = next(core for core in cores if isinstance(core, nn.Conv1d))
    rows = op.parameter([n_samples, first.in_channels], np.float32)
    x = op.unsqueeze(op.transpose(rows, op.constant([1, 0])), op.constant([0]))  # (1, in, n_samples)
    for core in cores:
        if isinstance(core, ResidualCore):
            conv, pointwise, shortcut = core
            hidden = _conv(op, _elu(op, _conv(op, _elu(op, x), conv)), pointwise)
            x = op.add(x if shortcut is None else _conv(op, x, shortcut), hidden)
        elif isinstance(core, nn.ELU):
            x = _elu(op, x)
        else:
            x = _conv(op, x, core)
    x = op.transpose(op.squeeze(x, op.constant([0])), op.constant([1, 0]))  # (n_samples / stride, out)
    options = {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": n_threads,
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,
    }
    return _core().compile_model(ov.Model([x], [rows]), "CPU", options).create_infer_request()


@lru_cache(maxsize=1)
def _core() -> Any:
    """OpenVINO's core, one per process.

    On processors with AMX a core gives its thread another stack for signal handlers, and restores the previous one when
    it is dropped. If several are dropped in the order they were made, the last restores a stack that is unmapped, and
    the next signal (Ctrl-C) crashes the process.
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
