"""A layer over a signal that comes in pieces."""

import torch
from torch import Tensor

from giblet.codec.streaming import Layer


def in_pieces(layer: Layer, x: Tensor, cuts: list[int]) -> Tensor:
    """The layer's output (channels', time') for x (channels, time), cut at these places."""
    state = layer.new_state()
    pieces = torch.tensor_split(x.t(), cuts)
    with torch.inference_mode():
        return torch.cat([layer(p.clone(), state, i == len(pieces)) for i, p in enumerate(pieces, 1)]).t()
