"""A codec's convolutions through OpenVINO, where it is installed and the codec computes on a CPU.

The strided one with the largest weights, the encoder's last and the decoder's first, stays with torch: OpenVINO takes
three times as long over its weights as a matrix product does. Transposed convolutions are given as plain ones whose
channels are then laid out in time, as OpenVINO's own transposed ones are slower than torch; and the one that makes
samples as one that makes several at a time, as OpenVINO computes many channels in the time of one.

A row of the convolutions' output depends on few rows before it. So each tile of a signal is computed from its own rows
and those few before, with nothing carried from layer to layer, in a network of one shape that OpenVINO compiles once.
As no tile waits for another one, threads take a tile each: what comes out is the same for any number of them, and a
narrow layer, whose product is over before a second thread has begun, gains too. What a decoder's threads have not done
when a piece ends, they do while torch computes the next piece up to there; its samples come with that piece.
The two ends of a signal, where rows are mirrored, are left to the layers of `convolutions`.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from giblet.codec.convolutions import padding, transposed_blocks
from giblet.codec.layers import TILE_FRAMES, WEIGHTY_FRAMES, Core, Decoder, Encoder, ResidualCore
from giblet.codec.streaming import Chain, Layer, State
from giblet.errors import InputError

RUNTIMES = ("auto", "torch", "openvino")
# As many tiles come together: WEIGHTY_FRAMES over TILE_FRAMES. More threads would have nothing to do, and take memory.
TILES_AT_ONCE = WEIGHTY_FRAMES // TILE_FRAMES
# Samples that come out of one row of the last convolution, by measurement.
SAMPLES_AT_ONCE = 8
# expm1 for the ELU. Below LOWEST, exp(x) - 1 is -1 to rounding. Above it, expm1 of y = x / 2**DOUBLINGS is
# y / (g - y / 2), where g is the even function y / 2 coth(y / 2); the coefficients EVEN of its second and fourth power
# (1 / 12 and -1 / 720 in its series at 0) are fitted to keep the error of the result within 4e-8 of its value, before
# rounding.
LOWEST, DOUBLINGS = -17.4, 3
EVEN = (0.08333029, -0.0013625212)


def pick_runtime(runtime: str, device: torch.device) -> str:
    """What computes the codec's convolutions.

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


def encoder_with_openvino(encoder: Encoder, cores: Sequence[Core]) -> Encoder:
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

    See Also
    --------
    decoder_with_openvino : the same of a decoder.
    """
    front = _chain(encoder.front)
    # Codes hang on digits that OpenVINO's own ELU loses where the sound is quiet.
    return encoder.with_front(CompiledChain(front, cores[: len(front.layers)], exact=True, late=False))


def decoder_with_openvino(decoder: Decoder, cores: Sequence[Core]) -> Decoder:
    """A decoder whose back is computed by OpenVINO.

    Parameters
    ----------
    decoder : Decoder
        As `build_decoder` makes it.
    cores : sequence of Core
        The parts that it was built from.

    Returns
    -------
    Decoder
        Sharing all other layers with the one given. Its sound is the same up to rounding.

    Raises
    ------
    TypeError
        If the back is not a chain of torch's layers.

    See Also
    --------
    encoder_with_openvino : the same of an encoder.
    """
    back = _chain(decoder.back)
    return decoder.with_back(CompiledChain(back, cores[len(cores) - len(back.layers) :], exact=False, late=True))


def _chain(layer: Layer[Any]) -> Chain:
    if not isinstance(layer, Chain):
        raise TypeError(f"OpenVINO is to take the place of a {type(layer).__name__}: expected a Chain")
    return layer


@dataclass
class CompiledState(State):
    """The last rows, (lead * rows_in, in), that a chain has seen; None before the first piece."""

    past: Tensor | None = None
    n_threads: int = field(default_factory=torch.get_num_threads)
    """How many may be used, as torch was told when the stream began."""
    at_work: deque[tuple[Any, int]] = field(default_factory=deque)
    """Requests that were started and are not finished, in order, and how many rows each got."""


class CompiledChain(Layer[CompiledState]):
    """What a chain of convolutions gives, up to rounding, computed by OpenVINO.

    A step is the shortest stretch that has whole rows at both ends: one row of an encoder's output, one row of a
    decoder's input.

    Parameters
    ----------
    chain : Chain
        The same convolutions by torch, for the ends of a signal. In tiles.
    cores : sequence of Core
        The parts that the chain consists of.
    exact : bool
        Whether the ELU keeps all digits where it is near 0, which takes longer to compile.
    late : bool
        Whether the last rows of a piece may come with the next one, so that threads work on them until then. All have
        come when the signal ends. With one thread, none is late.

    Attributes
    ----------
    rows_in, rows_out : int
        Rows of the input and of the output per step.
    channels_out : int
        Channels of the output.
    tile, reach : int
        In steps: how many are computed at a time, and on how many before it the output of a step depends.
    """

    def __init__(self, chain: Chain, cores: Sequence[Core], *, exact: bool, late: bool) -> None:
        if chain.tile is None:
            raise ValueError("the chain has no tile: OpenVINO compiles for one length")
        self.chain = chain
        self.cores = list(cores)
        self.exact, self.late = exact, late
        self.reach, self.rows_in, self.rows_out = _reach(self.cores)
        self.channels_out = _channels_out(self.cores)
        self.tile = chain.tile // self.rows_in
        self.lead = max(chain.lead, self.reach)
        self._compiled: dict[int, _Requests] = {}
        # By the thread that loads the codec: of two that import at a time, one may see what the other has half made.
        importlib.import_module("openvino")

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
        """(steps * rows_in, in) rows to (steps * rows_out, out) rows; the end of the signal rounds up."""
        outputs = []
        if state.past is None:
            # The mirrored start, and enough behind it that nothing after it depends on the mirror.
            n_first = len(x) if len(x) < (self.lead + 1) * self.rows_in else self.lead * self.rows_in
            is_all = last and n_first == len(x)
            outputs.append(self.chain(x[:n_first].clone(), self.chain.new_state(), is_all))
            state.past, x = x[:n_first], x[n_first:]
        seen = torch.cat([state.past, x])
        n_before = len(state.past)
        n_whole = len(x) // self.rows_in * self.rows_in
        tile, end = self.tile * self.rows_in, n_before + n_whole
        starts = range(n_before, end, tile)
        tiles = (seen[start - self.reach * self.rows_in : min(start + tile, end)] for start in starts)
        outputs += self._infer(tiles, state, last)
        if n_whole < len(x):
            # The last, incomplete step sees the mirrored end. The rows before it bring a fresh state into step.
            end_state = self.chain.new_state()
            cut = n_before + n_whole
            self.chain(seen[cut - self.lead * self.rows_in : cut].clone(), end_state, False)
            outputs.append(self.chain(seen[cut:].clone(), end_state, True))
        state.past = seen[-self.lead * self.rows_in :].clone()
        return torch.cat(outputs) if outputs else x.new_empty(0, self.channels_out)

    def _infer(self, tiles: Iterable[Tensor], state: CompiledState, last: bool) -> list[Tensor]:
        """What is done of these and of those before, without the first `reach` steps, which only tell what was before.

        All is done where nothing may be late.
        """
        n_rows, n_threads = (self.reach + self.tile) * self.rows_in, min(state.n_threads, TILES_AT_ONCE)
        if n_threads not in self._compiled:
            self._compiled[n_threads] = _Requests(_compile(self.cores, n_rows, n_threads, self.exact))
        requests, outputs = self._compiled[n_threads], list[Tensor]()
        most = 1 if n_threads == 1 else TILES_AT_ONCE

        def finish() -> None:
            request, n = state.at_work.popleft()
            request.wait()
            first, stop = self.reach * self.rows_out, n // self.rows_in * self.rows_out
            # Copied by NumPy: torch's threads would wait for more to do for a while, and OpenVINO's have to wait for
            # them.
            outputs.append(torch.from_numpy(request.get_output_tensor().data[first:stop].copy()))
            requests.give_back(request)

        for x in tiles:
            if len(state.at_work) == most:
                finish()
            missing = n_rows - len(x)
            # A causal output never depends on what follows, so zeros will do.
            rows = torch.cat([x, x.new_zeros(missing, x.shape[1])]) if missing else x.contiguous()
            request = requests.take()
            # OpenVINO copies the rows: they may be gone before they are read where a stream is given up.
            request.start_async([rows.numpy()])
            state.at_work.append((request, len(x)))
        while state.at_work and (last or not self.late or n_threads == 1):
            finish()
        return outputs


class _Requests:
    """Requests to a compiled network, which streams take and give back; as many as are at work at a time."""

    def __init__(self, compiled: Any) -> None:
        self._compiled = compiled
        self._idle: list[Any] = []

    def take(self) -> Any:
        try:
            return self._idle.pop()
        except IndexError:
            return self._compiled.create_infer_request()

    def give_back(self, request: Any) -> None:
        self._idle.append(request)


def _convolutions(cores: Sequence[Core]) -> list[nn.Conv1d | nn.ConvTranspose1d]:
    """Those that change how many rows there are or look back, in their order."""
    found = [core.conv if isinstance(core, ResidualCore) else core for core in cores]
    return [one for one in found if isinstance(one, nn.Conv1d | nn.ConvTranspose1d)]


def _reach(cores: Sequence[Core]) -> tuple[int, int, int]:
    """On how many steps before it the output of a step depends; and rows of the input and of the output per step."""
    convolutions = _convolutions(cores)
    rows_in = math.prod(conv.stride[0] for conv in convolutions if isinstance(conv, nn.Conv1d))
    row, reach = Fraction(1, rows_in), Fraction(0)  # in steps: what a row stands for, and how far it looks back
    for conv in convolutions:
        if isinstance(conv, nn.Conv1d):
            reach += padding(conv) * row
            row *= conv.stride[0]
        else:
            reach += (conv.kernel_size[0] // conv.stride[0] - 1) * row
            row /= conv.stride[0]
    return math.ceil(reach), rows_in, int(1 / row)


def _channels_out(cores: Sequence[Core]) -> int:
    made = [core.pointwise if isinstance(core, ResidualCore) else core for core in cores]
    return [one.out_channels for one in made if isinstance(one, nn.Conv1d | nn.ConvTranspose1d)][-1]


def _compile(cores: Sequence[Core], n_rows: int, n_threads: int, exact: bool) -> Any:
    """A network from (n_rows, in) rows to what they give, with zeros before the first; each thread computes one."""
    import openvino as ov
    import openvino.opset13 as op

    def elu(x: Any) -> Any:
        return _elu(op, x) if exact else op.elu(x, 1.0)

    rows = op.parameter([n_rows, _convolutions(cores)[0].in_channels], np.float32)
    x = op.unsqueeze(op.transpose(rows, op.constant([1, 0])), op.constant([0]))  # (1, in, n_rows)
    for core in cores:
        match core:
            case ResidualCore(conv, pointwise, shortcut):
                hidden = _conv(op, elu(_conv(op, elu(x), conv)), pointwise)
                x = op.add(x if shortcut is None else _conv(op, x, shortcut), hidden)
            case nn.ELU():
                x = elu(x)
            case nn.ConvTranspose1d():
                x = _transposed_conv(op, x, core)
            case nn.Conv1d(out_channels=1, stride=(1,), dilation=(1,)):
                x = _conv_to_mono(op, x, core)
            case _:
                x = _conv(op, x, core)
    x = op.transpose(op.squeeze(x, op.constant([0])), op.constant([1, 0]))
    options = {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": n_threads,
        "NUM_STREAMS": n_threads,
        "ENABLE_CPU_PINNING": False,
    }
    return _core().compile_model(ov.Model([x], [rows]), "CPU", options)


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


def _conv_to_mono(op: Any, x: Any, conv: nn.Conv1d) -> Any:
    """A convolution to one channel, of stride and dilation 1: one to several samples, then laid out one after another.

    Its rows are several rows side by side, so that a window of it holds those of all its samples.
    """
    _, n_in, n_rows = x.output(0).shape
    (width,), n_together = conv.kernel_size, math.gcd(n_rows, SAMPLES_AT_ONCE)
    n_back = -(-(width - 1) // n_together)  # rows before its own that the first sample looks back on
    taps = conv.weight.detach().numpy()[0]  # (in, width)
    windows = np.zeros((n_together, n_in, (n_back + 1) * n_together), np.float32)
    for sample in range(n_together):
        stop = n_back * n_together + sample + 1
        windows[sample, :, stop - width : stop] = taps
    by_row = windows.reshape(n_together, n_in, n_back + 1, n_together).transpose(0, 3, 1, 2)
    weight = np.ascontiguousarray(by_row.reshape(n_together, n_together * n_in, n_back + 1))
    swap = op.constant([0, 2, 1])
    side_by_side = op.reshape(op.transpose(x, swap), op.constant([1, n_rows // n_together, -1]), False)
    y = op.convolution(op.transpose(side_by_side, swap), op.constant(weight), [1], [n_back], [0], [1])
    if conv.bias is not None:
        y = op.add(y, op.constant(conv.bias.detach().numpy().repeat(n_together).reshape(1, -1, 1)))
    return op.reshape(op.transpose(y, swap), op.constant([1, 1, n_rows]), False)


def _transposed_conv(op: Any, x: Any, conv: nn.ConvTranspose1d) -> Any:
    """A transposed convolution: a plain one to `stride` times as many channels, then laid out one after another."""
    (stride,) = conv.stride
    blocks = transposed_blocks(conv.weight.detach(), stride)  # (width / stride, in, stride * out), the present first
    weight = blocks.flip(0).permute(2, 1, 0).numpy()
    y = op.convolution(x, op.constant(np.ascontiguousarray(weight)), [1], [len(blocks) - 1], [0], [1])
    if conv.bias is not None:
        y = op.add(y, op.constant(np.tile(conv.bias.detach().numpy(), stride).reshape(1, -1, 1)))
    return op.depth_to_space(y, "blocks_first", stride)  # (1, stride * out, n) -> (1, out, n * stride)


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
