"""Codecs in use: streams equal the whole, stay small and never meet; short sounds end as transformers ends them."""

import copy
import dataclasses

import numpy as np
import pytest
import torch

from giblet.codec import load_codec
from giblet.codec.streaming import State

RATE = 24_000


@pytest.mark.parametrize("n", [1, 319, 320, 321, 6 * 320 + 5, 9 * 320 - 1, 2 * RATE + 17])
def test_codes_and_sound_of_short_sounds_equal_those_of_transformers(official_model, official_folder, speech, n):
    codec = load_codec(official_folder, bandwidth=6.0, device="cpu", block_frames=9)
    wave = speech[RATE : RATE + n]
    with torch.inference_mode():
        expected = official_model.encode(torch.from_numpy(wave)[None, None], None, bandwidth=6.0).audio_codes
        sound = official_model.decode(expected, [None]).audio_values[0, 0].numpy()
    codes = codec.encode(wave)
    np.testing.assert_array_equal(codes, expected[0, 0].numpy())
    np.testing.assert_allclose(codec.decode(codes), sound, atol=1e-5 * np.abs(sound).max())


@pytest.mark.parametrize("level", [1e-4, 1e-2, 1.0])
def test_latents_are_as_exact_as_those_of_transformers(bundled_model, speech, level):
    """In quiet passages codes depend on the last digits: an ELU by exp(x) - 1, ten times less exact, changes them."""
    codec = load_codec("bundled", device="cpu")
    wave = torch.from_numpy(level * speech[: 10 * RATE])
    with torch.inference_mode():
        exact = copy.deepcopy(bundled_model.encoder).double()(wave[None, None].double())[0].t()
        of_transformers = bundled_model.encoder(wave[None, None])[0].t()
        ours = codec._encoder(wave[:, None].clone(), codec._encoder.new_state(), True)
    assert (ours - exact).square().mean().sqrt() < 3 * (of_transformers - exact).square().mean().sqrt()


def test_later_input_never_changes_earlier_codes_or_sound(speech):
    codec = load_codec("bundled", device="cpu", block_frames=40)
    codes = codec.encode(speech[: 200 * 320])
    np.testing.assert_array_equal(codec.encode(speech[: 151 * 320])[:, :151], codes[:, :151])
    np.testing.assert_array_equal(codec.decode(codes[:, :151]), codec.decode(codes)[: 151 * 320])


def test_two_streams_of_one_codec_are_independent(speech, music):
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


def test_state_does_not_grow_with_the_signal(speech):
    """What a stream remembers after 40 blocks is as much as after 2."""
    codec = load_codec("bundled", device="cpu", block_frames=20)

    def n_bytes(value):
        if isinstance(value, State):
            return sum(n_bytes(getattr(value, field.name)) for field in dataclasses.fields(value))
        if isinstance(value, list | tuple):
            return sum(map(n_bytes, value))
        return value.untyped_storage().nbytes() if isinstance(value, torch.Tensor) else 0

    for chain, rows in ((codec._encoder, torch.from_numpy(speech[: 800 * 320])[:, None]), (codec._decoder, None)):
        state = chain.new_state()
        pieces = rows.split(20 * 320) if rows is not None else torch.randn(800, codec.latent_dim).split(20)
        sizes = []
        with torch.inference_mode():
            for piece in pieces:
                chain(piece.clone(), state, False)
                sizes.append(n_bytes(state))
        assert 0 < sizes[1] == sizes[-1] < 1_000_000


def test_codes_are_exact_although_a_script_allows_bfloat16(speech):
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
