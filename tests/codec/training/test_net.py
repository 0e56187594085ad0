"""The layers that a codec is trained by give what transformers' own give, and the gradients of it."""

import pytest
import torch

from giblet.codec.encodec import build_config, build_model, cores
from giblet.codec.training.net import RowNet

LAYOUTS = {
    "of the tests": {"num_filters": 2, "hidden_dim": 8, "num_lstm_layers": 1},
    "with wide hidden layers": {"num_filters": 36, "hidden_dim": 8, "num_lstm_layers": 1},
    "with more residual layers": {"num_filters": 4, "hidden_dim": 8, "num_lstm_layers": 2, "num_residual_layers": 3},
}


def gradients(model, encode, decode, x):
    model.zero_grad()
    latents = encode(x)
    sound = decode(latents)
    weight = torch.linspace(-1, 1, sound.numel(), dtype=sound.dtype).view(sound.shape)
    (sound * weight + sound.square()).sum().backward()
    return latents.detach(), sound.detach(), {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


# a whole number of frames, one that every stride has to round up, and one too short for its mirror
@pytest.mark.parametrize("n", [320 * 12, 320 * 11 + 37, 320 * 3])
@pytest.mark.parametrize("shortcut", [True, False], ids=["shortcut", "identity"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_latents_sound_and_gradients_are_those_of_transformers(layout, shortcut, n):
    torch.manual_seed(0)
    config = build_config(2, 16, **LAYOUTS[layout])
    config.use_conv_shortcut = shortcut
    model = build_model(config).double().train()
    x = torch.randn(3, 1, n, dtype=torch.float64)
    rows = [RowNet(cores(half, fold=False)) for half in (model.encoder, model.decoder)]
    ours, theirs = gradients(model, *rows, x), gradients(model, model.encoder, model.decoder, x)
    for found, expected in zip(ours[:2], theirs[:2], strict=True):
        torch.testing.assert_close(found, expected)
    assert ours[2].keys() == theirs[2].keys()
    for name, expected in theirs[2].items():
        torch.testing.assert_close(ours[2][name], expected, msg=lambda text, name=name: f"{name}: {text}")


def test_a_signal_that_needs_a_gradient_gets_it():
    torch.manual_seed(0)
    model = build_model(build_config(2, 16, **LAYOUTS["of the tests"])).double()
    found = []
    for encode in (RowNet(cores(model.encoder, fold=False)), model.encoder):
        x = torch.linspace(-1, 1, 1000, dtype=torch.float64).sin().view(1, 1, -1).requires_grad_()
        encode(x).square().sum().backward()
        found.append(x.grad)
    torch.testing.assert_close(*found)
