"""Codes and sound equal those of transformers' EncodecModel over the whole file, however the signal is cut."""

import copy
import importlib.util
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from giblet.codec import load_codec
from giblet.errors import InputError

RATE = 24_000
RUNTIMES = pytest.mark.parametrize(
    "runtime",
    [
        "torch",
        pytest.param(
            "openvino",
            marks=pytest.mark.skipif(
                importlib.util.find_spec("openvino") is None,
                reason="openvino is not installed: pip install 'giblet[fast]'",
            ),
        ),
    ],
)


def whole_file_codes(model, wave, bandwidth=6.0):
    with torch.inference_mode():
        return model.encode(torch.from_numpy(wave)[None, None], None, bandwidth=bandwidth).audio_codes[0, 0].numpy()


def whole_file_sound(model, codes):
    with torch.inference_mode():
        return model.decode(torch.from_numpy(codes)[None, None].long(), [None])[0][0, 0].numpy()


def check_codes(codes, expected, model, wave, what):
    """They are equal; where rounding parts them, as in older versions of torch, double precision says who is right."""
    if (codes == expected).mean() >= 0.9999:
        return
    exact = whole_file_codes(copy.deepcopy(model).double(), wave.astype(np.float64))
    ours, theirs = ((one != exact).mean() for one in (codes, expected))
    assert ours <= min(theirs, 1e-3), f"{what}: {ours:.1e} of ours are wrong, {theirs:.1e} of theirs"


def cut(signal, size):
    return (signal[..., i : i + size] for i in range(0, signal.shape[-1], size))


@pytest.fixture(scope="module")
def sounds(speech, music):
    """Half a minute of speech and a quarter of music, neither a whole number of frames long."""
    return {"speech": speech[: 30 * RATE + 77], "music": music[: 15 * RATE - 123]}


@pytest.fixture(scope="module")
def models(bundled_model, official_model, official_folder):
    return {"bundled": (bundled_model, "bundled"), "official": (official_model, official_folder)}


@pytest.fixture(scope="module")
def oracle(sounds, models):
    """Whole-file codes by transformers, computed once."""
    return {(m, s): whole_file_codes(models[m][0], wave) for m in models for s, wave in sounds.items()}


@RUNTIMES
@pytest.mark.parametrize("sound", ["speech", "music"])
@pytest.mark.parametrize("model", ["bundled", "official"])
def test_streamed_codes_equal_whole_file_at_any_chunk_size(oracle, models, sounds, model, sound, runtime):
    codec = load_codec(models[model][1], bandwidth=6.0, device="cpu", runtime=runtime)
    assert codec.runtime == runtime
    expected, wave = oracle[model, sound], sounds[sound]
    for seconds in (1, 7, 60):
        codes = np.concatenate(list(codec.encode_stream(cut(wave, seconds * RATE))), axis=1)
        assert codes.dtype == np.int32
        assert codes.shape == expected.shape == (8, -(-len(wave) // 320))
        check_codes(codes, expected, models[model][0], wave, f"chunks of {seconds} s")


@RUNTIMES
@pytest.mark.parametrize("seconds", [1, 7, 60])
@pytest.mark.parametrize("model", ["bundled", "official"])
def test_codes_and_sound_equal_whole_file_at_any_block_size(oracle, models, sounds, model, seconds, runtime):
    """Streaming proper: the state that layers carry from block to block, here of 1, 7 and, as one, 60 s."""
    codec = load_codec(models[model][1], bandwidth=6.0, device="cpu", block_frames=seconds * 75, runtime=runtime)
    wave, expected = sounds["music"], oracle[model, "music"]
    assert (codec.encode(wave) == expected).mean() >= 0.9999
    n = 75 * 10
    np.testing.assert_allclose(
        codec.decode(expected[:, :n]), whole_file_sound(models[model][0], expected[:, :n]), atol=1e-4
    )


def test_compared_codes_are_many_different_ones(oracle):
    """At least 300 of 1024 codes occur in each codebook of the model with random weights."""
    both = np.concatenate([oracle["official", "speech"], oracle["official", "music"]], axis=1)
    assert min(len(np.unique(book)) for book in both) >= 300


@RUNTIMES
@pytest.mark.parametrize("n", [1, 2, 319, 320, 321, 6 * 320 + 5, 7 * 320, 2 * RATE + 17, 75 * 320 + 1])
def test_codes_of_odd_lengths_equal_those_of_transformers(bundled_model, speech, n, runtime):
    codec = load_codec("bundled", bandwidth=6.0, device="cpu", block_frames=75, runtime=runtime)
    np.testing.assert_array_equal(codec.encode(speech[:n]), whole_file_codes(bundled_model, speech[:n]))


@cache
def in_blocks_of_40(runtime):
    """One for all examples: OpenVINO compiles anew for each codec."""
    return load_codec("bundled", bandwidth=6.0, device="cpu", block_frames=40, runtime=runtime)


@RUNTIMES
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_codes_and_sound_do_not_depend_on_where_a_signal_is_cut(data, runtime):
    codec = in_blocks_of_40(runtime)
    wave = np.random.default_rng(0).normal(0, 0.1, 70_001).astype(np.float32)
    places = data.draw(st.lists(st.integers(0, len(wave)), max_size=8).map(sorted))
    codes = np.concatenate(list(codec.encode_stream(np.split(wave, places))), axis=1)
    np.testing.assert_array_equal(codes, codec.encode(wave))
    frames = [place // 320 for place in places]
    sound = np.concatenate(list(codec.decode_stream(np.split(codes, frames, axis=1))))
    np.testing.assert_array_equal(sound, codec.decode(codes))


@pytest.mark.parametrize("at", [0, 7 * 320, 7 * 320 + 319, 40_000, 95_999])
def test_change_never_reaches_earlier_codes(speech, at):
    """Behind the first 7 frames, which see each other in the reflected start of the last convolution."""
    codec = load_codec("bundled", bandwidth=6.0, device="cpu", block_frames=75)
    changed = speech[:96_000].copy()
    changed[at:] += 0.3
    before = at // 320
    a, b = codec.encode(speech[:96_000]), codec.encode(changed)
    np.testing.assert_array_equal(a[:, :before], b[:, :before])
    assert (a[:, before:] != b[:, before:]).any()


def test_latents_are_sums_of_entries_and_requantize_to_their_codes(official_model, official_folder, oracle):
    codec = load_codec(official_folder, bandwidth=6.0, device="cpu")
    codes = oracle["official", "speech"][:, :500]
    latents = codec.latents(codes)
    assert latents.shape == (128, 500)
    assert latents.dtype == np.float32
    with torch.inference_mode():
        expected = official_model.quantizer.decode(torch.from_numpy(codes)[:, None].long())[0].numpy()
        again = official_model.quantizer.encode(torch.from_numpy(latents)[None], 6.0)[:, 0].numpy()
    np.testing.assert_allclose(latents, expected, atol=1e-4)
    assert (codec.requantize(latents) == again).mean() >= 0.9999


@pytest.mark.parametrize(("bandwidth", "n_codebooks"), [(1.5, 2), (3.0, 4), (6.0, 8), (12.0, 16), (24.0, 32)])
def test_every_bandwidth_uses_its_codebooks(official_model, official_folder, speech, bandwidth, n_codebooks):
    codec = load_codec(official_folder, bandwidth=bandwidth, device="cpu")
    assert codec.n_codebooks == n_codebooks
    codes, expected = codec.encode(speech[: 3 * RATE]), whole_file_codes(official_model, speech[: 3 * RATE], bandwidth)
    assert codes.shape == expected.shape == (n_codebooks, 225)
    # What is left for the last of 32 random codebooks is as small as the rounding of the first.
    assert (codes[:8] == expected[:8]).mean() >= 0.9999
    assert (codes == expected).mean() >= 0.9


@RUNTIMES
@pytest.mark.parametrize("name", ["bundled", "official"])
def test_sounds_encoded_together_have_the_codes_of_each_alone(sounds, models, name, runtime):
    """More sounds than are encoded side by side, from one sample to more than a block long."""
    codec = load_codec(models[name][1], device="cpu", runtime=runtime, block_frames=700)
    speech, music = sounds["speech"], sounds["music"]
    lengths = [1, 319, 24_000, 5_000, 70_001, 30_000, 224_000, 224_001, 300_000, *range(7_000, 20_000, 1_300)]
    assert len(lengths) > 16
    waves = [(speech if i % 2 else music)[1_000 * i :][:n] for i, n in enumerate(lengths)]
    together, alone = codec.encode_many(waves), [codec.encode(wave) for wave in waves]
    for codes, expected in zip(together, alone, strict=True):
        assert codes.shape == expected.shape and codes.dtype == np.int32
    same = np.concatenate([(codes == expected).ravel() for codes, expected in zip(together, alone, strict=True)])
    assert same.mean() >= 0.9999


def test_error_names_which_of_many_sounds_is_bad():
    codec = load_codec("bundled", device="cpu")
    assert codec.encode_many([]) == []
    fine = np.zeros(500, np.float32)
    with pytest.raises(InputError, match=r"waveform 1: samples hold nan at position 3"):
        codec.encode_many([fine, np.where(np.arange(500) == 3, np.nan, fine)])
    with pytest.raises(InputError, match=r"waveform 2: there are no samples"):
        codec.encode_many([fine, fine, fine[:0]])
