"""How layers stream: a signal piece after piece, with what a stream remembers kept outside the layer.

Signals are rows, (time, channels): one row per sample at the sound's end of a codec, one per frame at the latents' end.
A layer never changes, so one codec serves many streams at once; what a stream has to remember lies in the state that
`Layer.new_state` makes and each call brings up to date. Called piece after piece with one state, a layer gives what it
would give for the whole signal.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor


@dataclass
class State:
    """What a stream remembers of the signal so far. Each layer's own kind stands beside the layer."""


@dataclass
class Stateless(State):
    """The state of a layer that looks at each row by itself."""


StateT = TypeVar("StateT", bound=State)


class Layer(ABC, Generic[StateT]):
    """One step of a codec's encoder or decoder. A runtime that computes several steps at once is a layer as well.

    Attributes
    ----------
    lead : int
        Rows that the first piece of a stream must have, if it is not the last one too.

    Examples
    --------
    >>> from giblet.codec.convolutions import CausalConv
    >>> layer = CausalConv(torch.nn.Conv1d(1, 4, kernel_size=7))
    >>> state = layer.new_state()
    >>> with torch.no_grad():
    ...     pieces = [layer(torch.zeros(10, 1), state, last) for last in (False, False, True)]
    >>> torch.cat(pieces).shape
    torch.Size([30, 4])
    """

    lead: int = 1

    @abstractmethod
    def new_state(self) -> StateT:
        """The state of a stream that has seen nothing yet.

        Returns
        -------
        State
            Of the kind that belongs to this layer.
        """

    @abstractmethod
    def __call__(self, x: Tensor, state: StateT, last: bool) -> Tensor:
        """The layer's output for the next piece, but for what a layer that ends a chain may give with a later one.

        Parameters
        ----------
        x : Tensor of float32, shape (time, channels)
            The piece, whose memory the layer may use for its output. At least `lead` rows in the first one, a multiple
            of the layer's stride in all but the last.
        state : State
            From `new_state`, brought up to date in place.
        last : bool
            Whether the signal ends with this piece.

        Returns
        -------
        Tensor of float32, shape (time', channels')
        """

    def together(self, pieces: Sequence[Tensor], states: Sequence[StateT], lasts: Sequence[bool]) -> list[Tensor]:
        """Next pieces of several signals: what calling the layer on each gives, up to rounding.

        Parameters
        ----------
        pieces : sequence of Tensor of float32, shape (time, channels)
            One per signal. Pieces of signals that do not end here have the same length.
        states : sequence of State
            One per signal, from `new_state`, brought up to date in place.
        lasts : sequence of bool
            Whether each signal ends with its piece.

        Returns
        -------
        list of Tensor of float32, shape (time', channels')
        """
        return [self(x, state, last) for x, state, last in zip(pieces, states, lasts, strict=True)]


@dataclass
class ChainState(State):
    """The states of a chain's layers, in their order."""

    states: list[State]


class Chain(Layer[ChainState]):
    """Layers one after another, over short tiles of a piece.

    Parameters
    ----------
    layers : sequence of Layer
        The first one's input is the chain's.
    tile : int, optional
        Rows of input at a time, a multiple of the chain's stride: few enough to stay in the processor's cache. By
        default the whole piece.
    """

    def __init__(self, layers: Sequence[Layer[Any]], tile: int | None = None) -> None:
        self.layers = list(layers)
        self.tile = tile
        # In rows of whichever layer has the fewest rows, hence never too few.
        self.lead = max(layer.lead for layer in self.layers)

    def new_state(self) -> ChainState:
        """The states of all layers of a stream that has seen nothing yet.

        Returns
        -------
        ChainState
        """
        return ChainState([layer.new_state() for layer in self.layers])

    def __call__(self, x: Tensor, state: ChainState, last: bool) -> Tensor:
        """(time, in) rows to the last layer's rows."""
        tiles = [x] if self.tile is None else x.split(self.tile)
        outputs = []
        for number, y in enumerate(tiles, 1):
            for layer, layer_state in zip(self.layers, state.states, strict=True):
                y = layer(y, layer_state, last and number == len(tiles))
            outputs.append(y)
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs)

    def together(self, pieces: Sequence[Tensor], states: Sequence[ChainState], lasts: Sequence[bool]) -> list[Tensor]:
        """Layer after layer, each on all signals at once; a chain in tiles takes one signal at a time, as is faster.

        Parameters
        ----------
        pieces : sequence of Tensor of float32, shape (time, channels)
            One per signal. Pieces of signals that do not end here have the same length.
        states : sequence of ChainState
            One per signal, from `new_state`, brought up to date in place.
        lasts : sequence of bool
            Whether each signal ends with its piece.

        Returns
        -------
        list of Tensor of float32, shape (time', channels')
        """
        if self.tile is not None:
            return super().together(pieces, states, lasts)
        pieces = list(pieces)
        by_layer = zip(*(state.states for state in states), strict=True)
        for layer, layer_states in zip(self.layers, by_layer, strict=True):
            pieces = layer.together(pieces, layer_states, lasts)
        return pieces
