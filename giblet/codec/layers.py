"""The architecture of EnCodec, from a model's parts to chains of streaming layers: what torch and OpenVINO share.

`build_encoder` and `build_decoder` say in which order the parts come and how the shape changes from part to part. They
check each part as they take it: a model with another architecture is refused, not run wrongly.

References
----------
Défossez, Copet, Synnaeve, Adi (2022). High Fidelity Neural Audio Compression. https://arxiv.org/abs/2210.13438
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

from torch import nn

from giblet.codec.convolutions import ELU, ResidualBlock, TransposedConv, causal_conv
from giblet.codec.lstm import SkipLSTM
from giblet.codec.streaming import Chain, Layer

# Frames per tile, by measurement (benchmarks/codec_speed.py): of the convolutions, whose rows should stay in the
# processor's caches, and of the strided one next to the LSTM, whose weights do not stay there and should be read for
# many rows at once.
TILE_FRAMES, WEIGHTY_FRAMES = 100, 800


class ResidualCore(NamedTuple):
    """The convolutions of a residual block: a causal one, one of width 1, and that of the shortcut if it has one."""

    conv: nn.Conv1d
    pointwise: nn.Conv1d
    shortcut: nn.Conv1d | None


Core: TypeAlias = nn.Conv1d | nn.ConvTranspose1d | nn.LSTM | nn.ELU | ResidualCore
"""A part of a codec as torch's own modules: what transformers wraps, and what every runtime computes from."""


def layer(core: Core) -> Layer[Any]:
    """The streaming form of a part of a codec, computed by torch.

    Parameters
    ----------
    core : Core

    Returns
    -------
    Layer

    Raises
    ------
    TypeError
        If there is no streaming form of it.
    """
    match core:
        case ResidualCore(conv, pointwise, shortcut):
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


class Encoder(Chain):
    """Samples, rows (N, 1), to latents, rows (T, D).

    Parameters
    ----------
    front : Layer
        All convolutions but the last strided one: rows (N, 1) to rows (n, C).
    strided : Layer
        The last strided convolution, the one with the largest weights: rows (n, C) to rows (T, 2 C).
    by_frame : sequence of Layer
        What follows, at one row per frame: to rows (T, D).
    tile : int
        Samples that `front` and `strided` take at a time.
    """

    def __init__(self, front: Layer[Any], strided: Layer[Any], by_frame: Sequence[Layer[Any]], tile: int) -> None:
        super().__init__([Chain([front, strided], tile), *by_frame])
        self.front, self.strided, self.by_frame, self.front_tile = front, strided, list(by_frame), tile

    def with_front(self, front: Layer[Any]) -> Encoder:
        """The same encoder with another layer in the place of its front.

        Parameters
        ----------
        front : Layer
            Computes what the present one does, on another runtime.

        Returns
        -------
        Encoder
            Sharing all other layers.
        """
        return Encoder(front, self.strided, self.by_frame, self.front_tile)


class Decoder(Chain):
    """Latents, rows (T, D), to samples, rows (N, 1).

    Parameters
    ----------
    by_frame : sequence of Layer
        What comes at one row per frame: rows (T, D) to rows (T, C).
    strided : Layer
        The first transposed convolution, the one with the largest weights: rows (T, C) to rows (n, C / 2).
    back : Layer
        What follows: to rows (N, 1).
    tile : int
        Frames that `strided` and `back` take at a time.
    """

    def __init__(self, by_frame: Sequence[Layer[Any]], strided: Layer[Any], back: Layer[Any], tile: int) -> None:
        super().__init__([*by_frame, Chain([strided, back], tile)])
        self.by_frame, self.strided, self.back, self.back_tile = list(by_frame), strided, back, tile

    def with_back(self, back: Layer[Any]) -> Decoder:
        """The same decoder with another layer in the place of its back.

        Parameters
        ----------
        back : Layer
            Computes what the present one does, on another runtime.

        Returns
        -------
        Decoder
            Sharing all other layers.
        """
        return Decoder(self.by_frame, self.strided, back, self.back_tile)


def build_encoder(cores: Sequence[Core], ratios: Sequence[int], n_residual: int, block_frames: int) -> Encoder:
    """The encoder as a chain of streaming layers.

    Parameters
    ----------
    cores : sequence of Core
        The parts of the encoder, in their order.
    ratios : sequence of int
        How many rows each stage merges, as in the model's configuration: in the decoder's order.
    n_residual : int
        Residual blocks per stage.
    block_frames : int
        Frames that will be encoded at a time. Tiles are no longer than that.

    Returns
    -------
    Encoder
        Rows (N, 1) of samples to rows (T, D) of latents, ``T = ceil(N / prod(ratios))``.

    Raises
    ------
    ValueError
        If the parts are not those of this architecture.

    See Also
    --------
    build_decoder : latents to samples.
    """
    parts = _Parts(cores)
    # F: the number of filters of the first convolution; n: rows, fewer after each stage.
    front = [parts.take(nn.Conv1d)]  # (N, 1) -> (N, F)
    for ratio in reversed(ratios):
        front += [parts.take(ResidualCore) for _ in range(n_residual)]  # (n, C) -> (n, C)
        front += [parts.take(nn.ELU)]  # (n, C) -> (n, C)
        front += [parts.take(nn.Conv1d, ratio)]  # (n, C) -> (n / ratio, 2 C)
    by_frame = [
        parts.take(nn.LSTM),  # (T, C) -> (T, C), C = F * 2 ** len(ratios)
        parts.take(nn.ELU),  # (T, C) -> (T, C)
        parts.take(nn.Conv1d),  # (T, C) -> (T, D)
    ]
    parts.check_empty()

    *front, strided = front
    lead = max(part.lead for part in [*front, strided, *by_frame])
    tile = _tile_frames(lead, block_frames)
    hop = math.prod(ratios)
    return Encoder(Chain(front, tile * hop), strided, by_frame, max(tile, WEIGHTY_FRAMES) * hop)


def build_decoder(cores: Sequence[Core], ratios: Sequence[int], n_residual: int, block_frames: int) -> Decoder:
    """The decoder as a chain of streaming layers.

    Parameters
    ----------
    cores : sequence of Core
        The parts of the decoder, in their order.
    ratios : sequence of int
        How many rows each stage makes of one, as in the model's configuration.
    n_residual : int
        Residual blocks per stage.
    block_frames : int
        Frames that will be decoded at a time. Tiles are no longer than that.

    Returns
    -------
    Decoder
        Rows (T, D) of latents to rows (N, 1) of samples, ``N = T * prod(ratios)``.

    Raises
    ------
    ValueError
        If the parts are not those of this architecture.

    See Also
    --------
    build_encoder : samples to latents.
    """
    parts = _Parts(cores)
    by_frame = [
        parts.take(nn.Conv1d),  # (T, D) -> (T, C), C = F * 2 ** len(ratios)
        parts.take(nn.LSTM),  # (T, C) -> (T, C)
    ]
    back: list[Layer[Any]] = []
    for ratio in ratios:
        back += [parts.take(nn.ELU)]  # (n, C) -> (n, C)
        back += [parts.take(nn.ConvTranspose1d, ratio)]  # (n, C) -> (n * ratio, C / 2)
        back += [parts.take(ResidualCore) for _ in range(n_residual)]  # (n, C) -> (n, C)
    back += [parts.take(nn.ELU)]  # (N, F) -> (N, F)
    back += [parts.take(nn.Conv1d)]  # (N, F) -> (N, 1)
    parts.check_empty()

    first_elu, strided, *back = back
    lead = max(part.lead for part in [*by_frame, strided, *back])
    tile = _tile_frames(lead, block_frames)
    by_frame = [*by_frame, first_elu]
    return Decoder(by_frame, strided, Chain(back, tile * ratios[0]), max(tile, WEIGHTY_FRAMES))


def _tile_frames(lead: int, block_frames: int) -> int:
    """Frames per tile: what the caches hold, but no fewer than the convolutions look back on."""
    return min(block_frames, max(TILE_FRAMES, lead))


class _Parts:
    """A codec's parts, taken one after another by what they have to be."""

    def __init__(self, cores: Sequence[Core]) -> None:
        self.cores = list(cores)
        self.n_taken = 0

    def take(self, kind: type, stride: int = 1) -> Layer[Any]:
        """The next part as a streaming layer."""
        if self.n_taken == len(self.cores):
            raise ValueError(f"part {self.n_taken} is missing: expected {kind.__name__} of stride {stride}")
        core = self.cores[self.n_taken]
        strides = getattr(core, "stride", (1,))
        if not isinstance(core, kind) or strides != (stride,):
            raise ValueError(
                f"part {self.n_taken} is {type(core).__name__} of stride {strides[0]}:"
                f" expected {kind.__name__} of stride {stride}"
            )
        self.n_taken += 1
        return layer(core)

    def check_empty(self) -> None:
        if self.n_taken != len(self.cores):
            raise ValueError(f"{len(self.cores) - self.n_taken} parts are left over: expected {self.n_taken} in all")
