"""EnCodec's configuration, the weights that follow from it, and torch's modules of them.

The layout, names and defaults are those of `transformers.EncodecModel`, whose files these are. Codecs are trained as
that class (`giblet.codec.network`). It is not needed to use one, and takes four seconds to import.

References
----------
Défossez, Copet, Synnaeve, Adi (2022). High Fidelity Neural Audio Compression. https://arxiv.org/abs/2210.13438
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeAlias

import torch
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from giblet.codec.layers import Core, ResidualCore

TRAINING_ONLY = ("inited", "cluster_size", "embed_avg")
"""Buffers of a codebook that only training uses."""
LENGTH, DIRECTION = "parametrizations.weight.original0", "parametrizations.weight.original1"
"""PyTorch's present names of the two parts of a weight under weight norm."""


class CodecConfig(BaseModel):
    """What ``config.json`` of a codec says, as far as codes and sound depend on it.

    Fields are those of `transformers.EncodecConfig`, which leaves out of the file what is as in the published model.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", allow_inf_nan=False)

    target_bandwidths: list[PositiveFloat] = Field([1.5, 3.0, 6.0, 12.0, 24.0], min_length=1)
    sampling_rate: PositiveInt = 24_000
    audio_channels: PositiveInt = 1
    normalize: bool = False
    chunk_length_s: float | None = None
    hidden_size: PositiveInt = 128
    num_filters: PositiveInt = 32
    num_residual_layers: NonNegativeInt = 1
    upsampling_ratios: list[PositiveInt] = [8, 5, 4, 2]
    norm_type: str = "weight_norm"
    kernel_size: PositiveInt = 7
    last_kernel_size: PositiveInt = 7
    residual_kernel_size: PositiveInt = 3
    dilation_growth_rate: int = Field(2, ge=1, le=1024)
    use_causal_conv: bool = True
    pad_mode: str = "reflect"
    compress: PositiveInt = 2
    num_lstm_layers: PositiveInt = 2
    trim_right_ratio: float = 1.0
    codebook_size: int = Field(1024, ge=2)
    codebook_dim: PositiveInt = 128
    use_conv_shortcut: bool = True
    codes_of: Any = None

    @model_validator(mode="before")
    @classmethod
    def _filled(cls, fields: Any) -> Any:
        if isinstance(fields, dict) and fields.get("codebook_dim") is None:
            return {**fields, "codebook_dim": fields.get("hidden_size", 128)}
        return fields

    @model_validator(mode="after")
    def _checked(self) -> CodecConfig:
        if self.codebook_size & (self.codebook_size - 1):
            raise ValueError(f"codebook_size is {self.codebook_size}, expected a power of 2")
        if self.num_quantizers < 1:
            raise ValueError(f"{self.target_bandwidths[-1]:g} kbps are too few for a codebook")
        return self

    @property
    def hop_length(self) -> int:
        """Samples per frame."""
        return math.prod(self.upsampling_ratios)

    @property
    def frame_rate(self) -> int:
        """Frames per second, rounded up."""
        return -(-self.sampling_rate // self.hop_length)

    @property
    def num_quantizers(self) -> int:
        """Codebooks."""
        bits = self.codebook_size.bit_length() - 1
        return int(1000 * self.target_bandwidths[-1] // (self.frame_rate * bits))


class Network(Protocol):
    """A codec by its configuration and weights: a `StoredCodec`, or a `transformers.EncodecModel` in training.

    Attributes
    ----------
    config : CodecConfig or transformers.EncodecConfig
    """

    config: Any

    def state_dict(self) -> Mapping[str, Tensor]:
        """The weights by transformers' names of them.

        Returns
        -------
        mapping of str to Tensor
        """


@dataclass
class StoredCodec:
    """A codec as its files hold it."""

    config: CodecConfig
    weights: dict[str, Tensor]
    """Float32, by transformers' names of them, weight norm not folded in."""

    def state_dict(self) -> dict[str, Tensor]:
        """The weights by transformers' names of them.

        Returns
        -------
        dict of str to Tensor
        """
        return self.weights


class _Conv(NamedTuple):
    n_in: int
    n_out: int
    width: int
    stride: int = 1
    dilation: int = 1
    transposed: bool = False


class _Block(NamedTuple):
    conv: _Conv
    pointwise: _Conv
    shortcut: _Conv | None


class _LSTM(NamedTuple):
    n_units: int
    n_layers: int


class _ELU(NamedTuple):
    pass


_Part: TypeAlias = _Conv | _Block | _LSTM | _ELU


def _encoder(config: Any) -> Iterator[_Part]:
    n = config.num_filters
    yield _Conv(config.audio_channels, n, config.kernel_size)
    for ratio in reversed(config.upsampling_ratios):
        yield from _blocks(config, n)
        yield _ELU()
        yield _Conv(n, 2 * n, 2 * ratio, ratio)
        n *= 2
    yield _LSTM(n, config.num_lstm_layers)
    yield _ELU()
    yield _Conv(n, config.hidden_size, config.last_kernel_size)


def _decoder(config: Any) -> Iterator[_Part]:
    n = config.num_filters * 2 ** len(config.upsampling_ratios)
    yield _Conv(config.hidden_size, n, config.kernel_size)
    yield _LSTM(n, config.num_lstm_layers)
    for ratio in config.upsampling_ratios:
        yield _ELU()
        yield _Conv(n, n // 2, 2 * ratio, ratio, transposed=True)
        n //= 2
        yield from _blocks(config, n)
    yield _ELU()
    yield _Conv(config.num_filters, config.audio_channels, config.last_kernel_size)


def _blocks(config: Any, n: int) -> Iterator[_Block]:
    for depth in range(config.num_residual_layers):
        narrow, dilation = n // config.compress, config.dilation_growth_rate**depth
        shortcut = _Conv(n, n, 1) if config.use_conv_shortcut else None
        yield _Block(_Conv(n, narrow, config.residual_kernel_size, 1, dilation), _Conv(narrow, n, 1), shortcut)


_NETWORKS: dict[str, Callable[[Any], Iterator[_Part]]] = {"encoder": _encoder, "decoder": _decoder}


def weight_shapes(config: Any) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of all weights of a codec, one after another: a damaged configuration may describe billions.

    Parameters
    ----------
    config : CodecConfig or transformers.EncodecConfig
        Of a layout that `giblet.codec.encodec.check_layout` allows.

    Yields
    ------
    name : str
    shape : tuple of int
    """
    for network, parts in _NETWORKS.items():
        for number, part in enumerate(parts(config)):
            yield from _shapes(part, f"{network}.layers.{number}")
    n, size = config.codebook_size, (config.codebook_size, config.codebook_dim)
    for number in range(config.num_quantizers):
        shapes = {"embed": size, "inited": (1,), "cluster_size": (n,), "embed_avg": size}
        yield from ((f"quantizer.layers.{number}.codebook.{name}", shape) for name, shape in shapes.items())


def _shapes(part: _Part, name: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    match part:
        case _Conv(n_in, n_out, width):
            first, second = (n_in, n_out) if part.transposed else (n_out, n_in)
            yield f"{name}.conv.bias", (n_out,)
            yield f"{name}.conv.{LENGTH}", (first, 1, 1)
            yield f"{name}.conv.{DIRECTION}", (first, second, width)
        case _Block(conv, pointwise, shortcut):
            yield from _shapes(conv, f"{name}.block.1")
            yield from _shapes(pointwise, f"{name}.block.3")
            if shortcut is not None:
                yield from _shapes(shortcut, f"{name}.shortcut")
        case _LSTM(n, n_layers):
            for number in range(n_layers):
                for side in ("ih", "hh"):
                    yield f"{name}.lstm.weight_{side}_l{number}", (4 * n, n)
                    yield f"{name}.lstm.bias_{side}_l{number}", (4 * n,)


def cores(network: Network, which: str) -> list[Core]:
    """The parts of a codec's encoder or decoder, without gradients, each convolution's weight norm folded in.

    Parameters
    ----------
    network : Network
    which : str
        ``"encoder"`` or ``"decoder"``.

    Returns
    -------
    list of Core
        In their order; `giblet.codec.layers` says which. Weights of LSTMs and biases are those of the network itself,
        not copies.
    """
    weights = network.state_dict()
    parts = enumerate(_NETWORKS[which](network.config))
    return [_core(part, f"{which}.layers.{number}", weights) for number, part in parts]


def _core(part: _Part, name: str, weights: Mapping[str, Tensor]) -> Any:
    match part:
        case _Conv():
            return _conv(part, name, weights)
        case _Block(conv, pointwise, shortcut):
            return ResidualCore(
                _conv(conv, f"{name}.block.1", weights),
                _conv(pointwise, f"{name}.block.3", weights),
                None if shortcut is None else _conv(shortcut, f"{name}.shortcut", weights),
            )
        case _LSTM(n, n_layers):
            lstm = nn.LSTM(n, n, n_layers, device="meta")
            own = {key: weights[f"{name}.lstm.{key}"].detach() for key in lstm.state_dict()}
            lstm.load_state_dict(own, assign=True)
            lstm.requires_grad_(False).flatten_parameters()  # into one piece of memory, as cuDNN wants them
            return lstm
        case _:
            return nn.ELU()


def _conv(part: _Conv, name: str, weights: Mapping[str, Tensor]) -> Any:
    kind = nn.ConvTranspose1d if part.transposed else nn.Conv1d
    length, direction, bias = (weights[f"{name}.conv.{leaf}"].detach() for leaf in (LENGTH, DIRECTION, "bias"))
    normed: Any = nn.Module()
    normed.weight = nn.Parameter(direction, requires_grad=False)
    weight_norm(normed).parametrizations.weight.original0 = nn.Parameter(length, requires_grad=False)
    # On "meta" no random weights are drawn.
    conv = kind(part.n_in, part.n_out, part.width, part.stride, dilation=part.dilation, device="meta")
    conv.load_state_dict({"weight": normed.weight, "bias": bias}, assign=True)
    return conv.requires_grad_(False)


def codebooks_of(network: Network) -> Tensor:
    """The codebooks of a codec, copied.

    Parameters
    ----------
    network : Network

    Returns
    -------
    Tensor of float32, shape (K, V, D)
    """
    weights, config = network.state_dict(), network.config
    names = [f"quantizer.layers.{number}.codebook.embed" for number in range(config.num_quantizers)]
    if not names:
        return torch.empty(0, config.codebook_size, config.codebook_dim)
    return torch.stack([weights[name].detach() for name in names])
