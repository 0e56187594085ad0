"""A start for codec training that already reproduces the waveform.

Started at random, an EnCodec does not find the waveform: after hundreds of steps its output is still silence.
Yet at small amplitudes ELU is almost linear, and strided convolutions can hold a block transform; so
the weights are set to the Karhunen-Loève transform of the training sound, stage by stage, and the decoder's
to its transpose. Before the first step the network is a linear transform codec; training bends it from there.

References
----------
Goyal (2001). Theoretical foundations of transform coding. IEEE Signal Processing Magazine 18(5).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from giblet.codec.architecture import codebooks_of
from giblet.codec.quantizer import rvq_quantize
from giblet.codec.training.losses import LEVEL_FLOOR

INPUT_GAIN = 0.3  # keeps activations where ELU bends by a few per cent only
BRANCH_GAIN = 0.01  # residual branches start small beside the shortcut
LSTM_GAIN = 0.02
LSTM_INPUT = 0.1  # deviation of the loudest channel that comes to a woken LSTM: the ELU behind it hardly bends it


@torch.no_grad()
def transform_start(model: Any, waveform: Tensor) -> None:
    """Set the weights of an untrained `EncodecModel` to a block transform of the given sound, in place.

    Parameters
    ----------
    model : transformers.EncodecModel
        Causal, with as many channels after each stage as the transform can use.
    waveform : Tensor of float32, shape (B, 1, N)
        Sound to take the transform from, typical of what will be trained on.
    """
    encoder, decoder = list(model.encoder.layers), list(model.decoder.layers)
    for layer in (*encoder, *decoder):
        if hasattr(layer, "block"):
            _near_identity(layer)
        elif hasattr(layer, "lstm"):
            _near_silent(layer.lstm)
    down = [layer.conv for layer in encoder if hasattr(layer, "conv")]
    up = [layer.conv for layer in decoder if hasattr(layer, "conv")]

    first = down[0].weight * INPUT_GAIN
    first[0] = _tap(first[0], INPUT_GAIN)
    _set(down[0], first)
    last = torch.zeros_like(up[-1].weight)
    last[0, 0, -1] = 1 / INPUT_GAIN
    _set(up[-1], last)

    values = waveform[:, 0, :, None] * INPUT_GAIN  # (B, frames, channels in use)
    for conv, mirror in zip(down[1:-1], reversed(up[1:-1]), strict=True):
        values = _strided_stage(conv, mirror, values)

    used = min(values.shape[-1], down[-1].out_channels)
    scale = float(1 / (values[..., :used].square().sum(-1).mean() / down[-1].out_channels).sqrt().clamp(min=1e-6))
    inner = down[-1].weight * 0.1
    outer = up[0].weight / scale
    outer[used : values.shape[-1]] *= 1e-3  # transform coefficients that the latents have no room for stay near 0
    for c in range(used):
        inner[c], outer[c] = _tap(inner[c], scale, c), _tap(outer[c], 1 / scale, c)
    _set(down[-1], inner)
    _set(up[0], outer)


@torch.no_grad()
def deepened(model: Any, tensors: dict[str, Tensor], num_residual_layers: int) -> dict[str, Tensor]:
    """Weights for a model with more residual blocks per stage than the codec they come from; the new ones pass all on.

    Parameters
    ----------
    model : transformers.EncodecModel
        Its blocks past `num_residual_layers` of a stage become nearly the identity, in place.
    tensors : dict of str to Tensor
        State of a model that differs in `num_residual_layers` only.
    num_residual_layers : int
        How many it has.

    Returns
    -------
    dict of str to Tensor
        For `model.load_state_dict`.
    """
    grown = {name: value for name, value in tensors.items() if not name.startswith(("encoder.", "decoder."))}
    for half in ("encoder", "decoder"):
        old = blocks = 0
        for new, layer in enumerate(getattr(model, half).layers):
            blocks = blocks + 1 if hasattr(layer, "block") else 0
            if blocks > num_residual_layers:
                _near_identity(layer)
                found = {f"{half}.layers.{old}.{name}": value for name, value in layer.state_dict().items()}
            else:
                found = {name: value for name, value in tensors.items() if name.startswith(f"{half}.layers.{old}.")}
            grown |= {name.replace(f".{old}.", f".{new}.", 1): value for name, value in found.items()}
            old += blocks <= num_residual_layers
    return grown


@torch.no_grad()
def waken(model: Any, waveform: Tensor) -> None:
    """Scale what lies dormant in a codec, on the given sound and in place: hidden units of blocks, and what LSTMs hear.

    At the small amplitudes of `transform_start` a unit is a straight line, whatever its activation function: the codec
    is a linear transform, its branches give a thousandth of what passes by them, and learn as slowly. So the hidden
    units of all residual blocks are scaled to unit variance, and what comes to an LSTM to `LSTM_INPUT`; what follows is
    scaled the other way, so that the codec does nearly as before. But now units bend, and can tell how loud a band is.

    Parameters
    ----------
    model : transformers.EncodecModel
    waveform : Tensor of float32, shape (B, 1, N)
        Sound as it will be trained on.
    """
    x = waveform
    for half in (model.encoder, model.decoder):
        for i, layer in enumerate(half.layers):
            if hasattr(layer, "block"):
                first, last = layer.block[1].conv, layer.block[3].conv
                hidden = layer.block[1](layer.block[0](x))
                scale, mean = hidden.std((0, 2)).clamp(min=1e-6), hidden.mean((0, 2))
                last.bias += last.weight[:, :, 0] @ mean
                first.bias.sub_(mean).div_(scale)
                _set_by_norm(first, first.weight / scale[:, None, None])
                _set_by_norm(last, last.weight * scale[:, None])
            elif hasattr(layer, "lstm"):
                before, after = half.layers[i - 1].conv, half.layers[i + 2].conv  # an ELU stands between
                louder = LSTM_INPUT / x.std((0, 2)).max()
                before.parametrizations.weight.original0 *= louder
                before.bias *= louder
                after.parametrizations.weight.original0 /= louder
                x = x * louder
            x = layer(x)


@torch.no_grad()
def match_level(model: Any, waveform: Tensor) -> None:
    """Scale what a codec's last convolution puts out, in place, so that the median sound keeps its level.

    Codes stay as they are, and so does every score that is deaf to level, such as SI-SDR.

    Parameters
    ----------
    model : transformers.EncodecModel
        One whose codebooks are in use.
    waveform : Tensor of float32, shape (B, 1, N)
        Sounds, each with the level that it is to keep; silent ones do not count.
    """
    latents = model.encoder(waveform).transpose(1, 2)
    quantized = rvq_quantize(latents, codebooks_of(model))[0]
    decoded = model.decoder(quantized.transpose(1, 2))[..., : waveform.shape[-1]]
    before, after = (x.square().mean((1, 2)) for x in (waveform, decoded))
    heard = before > LEVEL_FLOOR
    if not heard.any():
        return
    gain = (before[heard] / after[heard].clamp(min=LEVEL_FLOOR)).sqrt().median()
    last = [layer.conv for layer in model.decoder.layers if hasattr(layer, "conv")][-1]
    last.parametrizations.weight.original0 *= gain
    last.bias *= gain


def _set_by_norm(conv: Any, weight: Tensor) -> None:
    """With the length of each row in its gain and none in its direction, whose steps would be as large as it is."""
    lengths = weight.flatten(1).norm(dim=1).clamp(min=1e-12)[:, None, None]
    conv.parametrizations.weight.original0.copy_(lengths)
    conv.parametrizations.weight.original1.copy_(weight / lengths)


def _strided_stage(conv: Any, mirror: Any, values: Tensor) -> Tensor:
    """Give a strided convolution and its transposed mirror the transform of `values` (B, T, C): (B, T / r, C')."""
    ratio, channels = conv.stride[0], values.shape[-1]
    frames = values.shape[1] // ratio
    patches = values[:, : frames * ratio].reshape(-1, ratio * channels)
    _, vectors = torch.linalg.eigh((patches.T @ patches).double() / len(patches))
    used = min(conv.out_channels, ratio * channels)
    basis = vectors.flip(1)[:, :used].float()  # most energy first
    blocks = basis.T.reshape(used, ratio, channels).transpose(1, 2)  # (used, C, ratio)

    # A causal kernel sees the block before (first half) and its own block (second half).
    analysis = conv.weight * 0.5
    analysis[:used] = 0
    analysis[:used, :channels, ratio:] = blocks / ratio**0.5
    _set(conv, analysis)
    # The transposed one writes its own block (first half) and runs into the next (second half).
    synthesis = mirror.weight * BRANCH_GAIN
    synthesis[:used] = 0
    synthesis[:, :channels] = 0
    synthesis[:used, :channels, :ratio] = blocks * ratio**0.5
    _set(mirror, synthesis)
    return (patches @ basis / ratio**0.5).reshape(values.shape[0], frames, used)


def _tap(row: Tensor, value: float, channel: int = 0) -> Tensor:
    """A kernel (C, k) that passes the present sample of one channel."""
    kernel = torch.zeros_like(row)
    kernel[channel, -1] = value
    return kernel


def _near_identity(block: Any) -> None:
    _set(block.shortcut.conv, torch.eye(block.shortcut.conv.out_channels)[:, :, None])
    out = block.block[-1].conv
    _set(out, out.weight * BRANCH_GAIN)


def _near_silent(lstm: Any) -> None:
    """The layer adds its LSTM to its input; a small cell gate in the last LSTM layer leaves the input as it is."""
    hidden, layer = lstm.hidden_size, lstm.num_layers - 1
    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        getattr(lstm, f"{name}_l{layer}")[2 * hidden : 3 * hidden] *= LSTM_GAIN


def _set(conv: Any, weight: Tensor) -> None:
    conv.weight = weight  # goes through weight norm's own inverse
    conv.bias.zero_()
