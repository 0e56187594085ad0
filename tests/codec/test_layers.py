"""Encoder and decoder, built from a model's parts, equal transformers' for any configuration, whole and in pieces."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from transformers import EncodecConfig, EncodecModel

from giblet.codec.architecture import CodecConfig, cores, weight_shapes
from giblet.codec.layers import ResidualCore, build_decoder, build_encoder, layer
from giblet.codec.network import build_config
from tests.codec.pieces import in_pieces

configs = st.builds(
    dict,
    num_filters=st.integers(1, 4),
    hidden_size=st.integers(1, 6),
    num_residual_layers=st.integers(0, 2),
    num_lstm_layers=st.integers(1, 2),
    upsampling_ratios=st.lists(st.integers(2, 5), min_size=1, max_size=3),
    use_conv_shortcut=st.booleans(),
    compress=st.just(1),
    kernel_size=st.integers(1, 7),
    last_kernel_size=st.integers(1, 7),
)
BLOCK = 40


def small_model(options) -> EncodecModel:
    torch.manual_seed(0)
    config = build_config(num_codebooks=2, codebook_size=4)
    config.update(options | {"codebook_dim": options["hidden_size"]})
    return EncodecModel(config).eval()


def shape_of(model) -> tuple[list[int], int, int]:
    return model.config.upsampling_ratios, model.config.num_residual_layers, BLOCK


@settings(max_examples=25, deadline=None)
@given(options=configs, data=st.data())
def test_encoder_of_any_configuration_equals_transformers_whole_and_in_pieces(options, data):
    model = small_model(options)
    encoder = build_encoder(cores(model, "encoder"), *shape_of(model))
    hop = model.config.hop_length
    n = data.draw(st.integers(1, 3 * BLOCK * hop))
    waveform = torch.randn(1, n)  # (channels, time)
    with torch.inference_mode():
        expected = model.encoder(waveform[None])[0]
    tolerance = {"atol": 1e-5 * float(expected.abs().max()), "rtol": 1e-4}
    whole = in_pieces(encoder, waveform, [])
    assert whole.shape == (options["hidden_size"], -(-n // hop))
    torch.testing.assert_close(whole, expected, **tolerance)
    torch.testing.assert_close(
        in_pieces(encoder, waveform, draw_cuts(data, n, encoder.lead, hop)), expected, **tolerance
    )


@settings(max_examples=25, deadline=None)
@given(options=configs, data=st.data())
def test_decoder_of_any_configuration_equals_transformers_whole_and_in_pieces(options, data):
    model = small_model(options)
    decoder = build_decoder(cores(model, "decoder"), *shape_of(model))
    n = data.draw(st.integers(1, 3 * BLOCK))
    latents = torch.randn(options["hidden_size"], n)  # (channels, time)
    with torch.inference_mode():
        expected = model.decoder(latents[None])[0]
    tolerance = {"atol": 1e-5 * float(expected.abs().max()), "rtol": 1e-4}
    whole = in_pieces(decoder, latents, [])
    assert whole.shape == (1, n * model.config.hop_length)
    torch.testing.assert_close(whole, expected, **tolerance)
    torch.testing.assert_close(in_pieces(decoder, latents, draw_cuts(data, n, decoder.lead, 1)), expected, **tolerance)


def draw_cuts(data, n: int, lead: int, hop: int) -> list[int]:
    """Places at whole frames to cut n rows, the first piece at least `lead` frames long."""
    places = range(lead * hop, n, hop)
    return sorted(data.draw(st.sets(st.sampled_from(places), max_size=3))) if places else []


OPTIONS = {"num_filters": 2, "hidden_size": 4, "num_residual_layers": 1, "num_lstm_layers": 1,
           "upsampling_ratios": [3, 2]}  # fmt: skip


@pytest.mark.parametrize("build", [build_encoder, build_decoder])
def test_parts_of_another_architecture_are_refused(build):
    model = small_model(OPTIONS)
    parts = cores(model, "encoder" if build is build_encoder else "decoder")
    with pytest.raises(ValueError, match=r"is Conv\w+ of stride [23]: expected Conv\w+ of stride [57]"):
        build(parts, [7, 5], 1, BLOCK)
    with pytest.raises(ValueError, match=r"is ResidualCore of stride 1: expected ELU|expected ELU of stride 1"):
        build(parts, [3, 2], 0, BLOCK)
    with pytest.raises(ValueError, match="is missing"):
        build(parts[:-1], [3, 2], 1, BLOCK)
    with pytest.raises(ValueError, match="1 parts are left over"):
        build([*parts, nn.ELU()], [3, 2], 1, BLOCK)


def test_tiles_are_no_longer_than_a_block():
    model = small_model(OPTIONS)
    short = build_encoder(cores(model, "encoder"), [3, 2], 1, 10)
    assert short.front.tile == 10 * 6
    assert build_encoder(cores(model, "encoder"), [3, 2], 1, 4800).front.tile == 100 * 6


@settings(max_examples=25, deadline=None)
@given(options=configs)
def test_the_weights_that_a_configuration_describes_are_those_of_transformers(options):
    model = small_model(options)
    assert dict(weight_shapes(model.config)) == {key: tuple(value.shape) for key, value in model.state_dict().items()}


def test_a_configuration_without_fields_is_that_of_transformers_and_derives_the_same():
    ours, theirs = CodecConfig(), EncodecConfig()
    fields = CodecConfig.model_fields.keys() - {"codes_of"}
    for name in (*fields, "hop_length", "frame_rate", "num_quantizers"):
        value = getattr(theirs, name)
        assert getattr(ours, name) == (list(value) if isinstance(value, tuple) else value), name
    changes = {"sampling_rate": 22_050, "upsampling_ratios": [5, 4], "codebook_size": 64, "target_bandwidths": [23.0]}
    ours, theirs = CodecConfig.model_validate(changes), EncodecConfig(**changes)
    assert ours.num_quantizers == theirs.num_quantizers and ours.frame_rate == theirs.frame_rate


def test_folded_convolutions_give_what_the_normed_ones_give_and_draw_no_random_numbers():
    model = small_model(OPTIONS | {"num_residual_layers": 2})
    before = torch.get_rng_state()
    found = {which: cores(model, which) for which in ("encoder", "decoder")}
    assert torch.equal(torch.get_rng_state(), before)
    theirs = [model.encoder.layers[0].conv, model.encoder.layers[2].block[1].conv, model.decoder.layers[3].conv]
    ours = [found["encoder"][0], found["encoder"][2].conv, found["decoder"][3]]
    for plain, normed in zip(ours, theirs, strict=True):
        assert not hasattr(plain, "parametrizations")
        assert not any(p.requires_grad for p in plain.parameters())
        x = torch.randn(1, normed.in_channels, 30)
        torch.testing.assert_close(plain(x), normed(x), rtol=0, atol=0)


def test_module_without_a_streaming_form_is_named():
    with pytest.raises(TypeError, match="no streaming form of GELU"):
        layer(nn.GELU())


def test_residual_cores_name_their_convolutions():
    block = cores(small_model(OPTIONS), "encoder")[1]
    assert isinstance(block, ResidualCore)
    assert (block.conv.kernel_size, block.pointwise.kernel_size) == ((3,), (1,))
    assert block.shortcut.kernel_size == (1,)
