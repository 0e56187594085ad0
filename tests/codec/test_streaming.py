"""Each layer, piece by piece, gives what transformers' gives for the whole; streams stay small and apart."""

import copy
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode, mm_flop
from transformers import EncodecConfig
from transformers.models.encodec import modeling_encodec as theirs

from giblet.codec import load_codec, streaming
from giblet.codec.lstm import LSTMState, SkipLSTM
from giblet.codec.streaming import ResidualBlock, Taps, TransposedConv, causal_conv

RATE = 24_000


def in_pieces(layer, x, cuts):
    """The layer over x, (channels, time), cut at these places."""
    state = layer.new_state()
    pieces = torch.tensor_split(x.t(), cuts)
    with torch.inference_mode():
        return torch.cat([layer(p.clone(), state, i == len(pieces)) for i, p in enumerate(pieces, 1)]).t()


def draw_cuts(data, n, lead, stride):
    """Places to cut n rows at, the first piece no shorter than the layer needs."""
    places = range(-(-lead // stride) * stride, n, stride)
    return sorted(data.draw(st.sets(st.sampled_from(places), max_size=4))) if places else []


def pairing(wanted):
    """Rows in pairs however few they are, or never; to be in force while a layer is made and while it is called."""
    least = 2 if wanted else 10**9
    return patch.multiple(streaming, PAIRED_SIZE=least, PAIRED_ROWS=least)


CONVS = [(1, 4, 7, 1, 1), (4, 1, 7, 1, 1), (4, 6, 7, 1, 1), (4, 2, 3, 1, 1), (4, 2, 3, 1, 4), (2, 6, 1, 1, 1)]
CONVS += [(4, 8, 2 * stride, stride, 1) for stride in (2, 4, 5, 8)]


@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize(("channels", "out", "width", "stride", "dilation"), CONVS)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_a_convolution_in_pieces_is_the_whole_one_at_any_length(channels, out, width, stride, dilation, paired, data):
    torch.manual_seed(0)
    whole = theirs.EncodecConv1d(EncodecConfig(), channels, out, width, stride, dilation)
    n = data.draw(st.integers(1, 60))
    x = torch.randn(channels, n)
    with torch.inference_mode():
        expected = whole(x[None])[0]
    with pairing(paired):
        layer = causal_conv(whole.conv)
        found = in_pieces(layer, x, draw_cuts(data, n, layer.lead, stride))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize("stride", [2, 4, 5, 8])
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_a_transposed_convolution_in_pieces_is_the_whole_one(stride, paired, data):
    torch.manual_seed(0)
    whole = theirs.EncodecConvTranspose1d(EncodecConfig(), 6, 3, 2 * stride, stride)
    n = data.draw(st.integers(1, 20))
    x = torch.randn(6, n)
    with torch.inference_mode():
        expected = whole(x[None])[0]
    with pairing(paired):
        found = in_pieces(TransposedConv(whole.conv), x, draw_cuts(data, n, 1, 1))
    torch.testing.assert_close(found, expected)


def test_rows_in_pairs_take_three_products_in_place_of_four_and_stay_as_near_to_exact():
    """The quiet rows beside loud ones too: a row meets its own two and no other."""
    gen = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 512, 128, generator=gen) / 32
    x = torch.randn(401, 512, generator=gen)
    x[::7] *= 1e-4
    x[1::7] *= 1e-4
    taps, bias, context = Taps([a, b], torch.zeros(128)), torch.zeros(128), torch.randn(1, 512, generator=gen)
    exact = x.double() @ a.double() + torch.cat([context, x[:-1]]).double() @ b.double()
    in_place = {torch.ops.aten.addmm_: lambda _, *factors, **__: mm_flop(*factors)}
    with FlopCounterMode(display=False, custom_mapping=in_place) as counter:
        found = taps(x, context)
    product = 2 * 512 * 128
    assert counter.get_total_flops() == 600 * product + 2 * product  # 200 pairs, and the odd row
    direct = torch.addmm(bias, x, a) + torch.cat([context, x[:-1]]) @ b
    errors = [(y - exact).norm(dim=1) / exact.norm(dim=1) for y in (found, direct)]
    assert errors[0].max() < 3 * errors[1].max()
    assert errors[0][1::7].max() < 3 * errors[1][1::7].max()


@pytest.mark.parametrize("shortcut", [True, False])
def test_a_residual_block_in_pieces_is_the_whole_one_and_leaves_its_input(shortcut):
    torch.manual_seed(0)
    whole = theirs.EncodecResnetBlock(EncodecConfig(use_conv_shortcut=shortcut), 8, [2, 1])
    layer = ResidualBlock(whole.block[1].conv, whole.block[3].conv, whole.shortcut.conv if shortcut else None)
    x = torch.randn(8, 40)
    with torch.inference_mode():
        expected = whole(x[None])[0]
    torch.testing.assert_close(in_pieces(layer, x, [9, 10, 25]), expected)


def test_an_lstm_in_pieces_is_the_whole_one():
    torch.manual_seed(0)
    whole = theirs.EncodecLSTM(EncodecConfig(), 8)
    x = torch.randn(8, 40)
    with torch.inference_mode():
        expected = whole(x[None])[0]
    torch.testing.assert_close(in_pieces(SkipLSTM(whole.lstm), x, [1, 2, 25]), expected)


def test_a_first_piece_too_short_for_its_mirror_is_an_error_and_not_a_wrong_answer():
    layer = causal_conv(torch.nn.Conv1d(2, 2, 7))
    with pytest.raises(ValueError, match="needs 7"):
        layer(torch.zeros(6, 2), layer.new_state(), False)


@pytest.mark.parametrize("n", [1, 319, 320, 321, 6 * 320 + 5, 9 * 320 - 1, 2 * RATE + 17])
def test_short_sounds_are_those_of_transformers_in_codes_and_in_sound(official_model, official_folder, speech, n):
    codec = load_codec(official_folder, bandwidth=6.0, device="cpu", block_frames=9)
    wave = speech[RATE : RATE + n]
    with torch.inference_mode():
        expected = official_model.encode(torch.from_numpy(wave)[None, None], None, bandwidth=6.0).audio_codes
        sound = official_model.decode(expected, [None]).audio_values[0, 0].numpy()
    codes = codec.encode(wave)
    np.testing.assert_array_equal(codes, expected[0, 0].numpy())
    np.testing.assert_allclose(codec.decode(codes), sound, atol=1e-5 * np.abs(sound).max())


@pytest.mark.parametrize("level", [1e-4, 1e-2, 1.0])
def test_latents_are_as_near_to_exact_as_those_of_transformers(bundled_model, speech, level):
    """In quiet passages codes hang on the last digits: an ELU by exp(x) - 1 was ten times as far off, and it showed."""
    codec = load_codec("bundled", device="cpu")
    wave = torch.from_numpy(level * speech[: 10 * RATE])
    with torch.inference_mode():
        exact = copy.deepcopy(bundled_model.encoder).double()(wave[None, None].double())[0].t()
        of_transformers = bundled_model.encoder(wave[None, None])[0].t()
        ours = codec._encoder(wave[:, None].clone(), codec._encoder.new_state(), True)
    assert (ours - exact).square().mean().sqrt() < 3 * (of_transformers - exact).square().mean().sqrt()


def test_what_follows_never_changes_earlier_codes_or_sound(speech):
    codec = load_codec("bundled", device="cpu", block_frames=40)
    codes = codec.encode(speech[: 200 * 320])
    np.testing.assert_array_equal(codec.encode(speech[: 151 * 320])[:, :151], codes[:, :151])
    np.testing.assert_array_equal(codec.decode(codes[:, :151]), codec.decode(codes)[: 151 * 320])


def test_two_streams_of_one_codec_do_not_meet(speech, music):
    codec = load_codec("bundled", device="cpu", block_frames=40)
    a, b = speech[: 3 * RATE], music[: 3 * RATE]
    first, second = [], []
    for x, y in zip(codec.encode_stream([a]), codec.encode_stream([b]), strict=True):
        first.append(x)
        second.append(y)
    np.testing.assert_array_equal(np.concatenate(first, axis=1), codec.encode(a))
    np.testing.assert_array_equal(np.concatenate(second, axis=1), codec.encode(b))


def test_a_reader_may_reuse_its_buffer(speech):
    codec = load_codec("bundled", device="cpu")

    def reader():
        buffer = np.empty(1000, np.float32)
        for start in range(0, 60_000, 1000):
            buffer[:] = speech[start : start + 1000]
            yield buffer

    np.testing.assert_array_equal(
        np.concatenate(list(codec.encode_stream(reader())), axis=1), codec.encode(speech[:60_000])
    )


def test_no_state_grows(speech):
    """What a stream remembers after 40 blocks is as much as after 2."""
    codec = load_codec("bundled", device="cpu", block_frames=20)

    def held(state):
        if isinstance(state, list):
            return sum(held(s) for s in state)
        tensors = state.hidden or () if isinstance(state, LSTMState) else [getattr(state, "context", None)]
        return sum(t.untyped_storage().nbytes() for t in tensors if t is not None)

    for chain, rows in ((codec._encoder, torch.from_numpy(speech[: 800 * 320])[:, None]), (codec._decoder, None)):
        state = chain.new_state()
        pieces = rows.split(20 * 320) if rows is not None else torch.randn(800, codec.latent_dim).split(20)
        sizes = []
        with torch.inference_mode():
            for piece in pieces:
                chain(piece.clone(), state, False)
                sizes.append(held(state))
        assert 0 < sizes[1] == sizes[-1] < 1_000_000


def test_codes_stay_exact_where_a_training_script_allows_bfloat16(speech):
    codec = load_codec("bundled", device="cpu")
    wave = speech[: 5 * RATE]
    exact = codec.encode(wave)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        np.testing.assert_array_equal(codec.encode(wave), exact)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
