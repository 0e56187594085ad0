"""Measures of reconstructed sound, against analytic answers."""

import numpy as np
import pytest

from giblet.codec import load_codec
from giblet.data.audio import AudioProcessor
from giblet.errors import InputError
from giblet.evaluation.reconstruction import (
    code_matches,
    latents_by_tr,
    log_mel,
    mean_latent_codes,
    mel_by_tr,
    most_frequent_codes,
    silent_trs,
    sound_of,
)
from giblet.timing import group_codes_by_tr


@pytest.fixture(scope="module")
def codec():
    return load_codec("bundled", device="cpu")


@pytest.fixture(scope="module")
def codes(codec, speech):
    return group_codes_by_tr(codec.encode(speech[: 15 * 24_000]), tr=1.5, frame_rate=75)


def test_matches_are_the_share_of_equal_codes_and_floats_are_refused(codes):
    other = codes.copy()
    other[2, 3, :28] = (other[2, 3, :28] + 1) % 1024
    found = code_matches(codes, other)
    assert found[2, 3] == pytest.approx(1 - 28 / 112)
    assert found.sum() == found.size - 0.25
    with pytest.raises(InputError, match="whole numbers"):
        code_matches(codes, other.astype(float))


def test_the_most_frequent_code_is_the_mode():
    train = np.zeros((3, 2, 4), np.int32)
    train[:, 0] = [[5, 5, 5, 1], [5, 2, 3, 4], [9, 9, 9, 0]]
    train[:, 1] = 7
    assert most_frequent_codes(train, 1024).tolist() == [5, 7]


def test_the_mean_latent_is_the_mean_over_frames_requantised(codes, codec):
    flat = codes.transpose(1, 0, 2).reshape(8, -1)
    oracle = codec.requantize(codec.latents(flat).mean(axis=1, keepdims=True))[:, 0]
    assert mean_latent_codes(codes, codec).tolist() == oracle.tolist()


def test_latents_keep_their_tr_and_frame(codes, codec):
    assert np.array_equal(latents_by_tr(codes, codec)[3], codec.latents(codes[3]))


def test_sound_lies_on_the_clock_and_is_what_the_processor_writes(codes, codec, tmp_path):
    import soundfile

    sound = sound_of(codes, codec, 1.5)
    assert len(sound) == 10 * 36_000
    AudioProcessor(codec=codec, tr=1.5).features_to_audio(codes, tmp_path / "a.wav")
    written, _ = soundfile.read(tmp_path / "a.wav", dtype="float32")
    np.testing.assert_allclose(written, np.clip(sound, -1, 1), atol=1e-4)


def test_a_click_stands_in_the_mel_of_its_tr_however_late(codec):
    sound = np.zeros(900 * 36_000, np.float32)
    at = round(899.5 * 36_000)
    sound[at] = 1
    mel = mel_by_tr(sound, codec, 900, 1.5)
    assert mel.shape == (900, 64, 112)
    tr, _, frame = np.unravel_index(mel.argmax(), mel.shape)
    assert tr == 899
    assert abs(frame / 75 - 0.75) < 0.03


def test_log_mel_is_cut_off_80_db_below_the_loudest():
    mel = np.array([1.0, 1e-4, 1e-12, 0.0])
    assert log_mel(mel, 1.0).tolist() == pytest.approx([0, -4, -8, -8])


def test_silent_trs_are_those_below_minus_60_db():
    rng = np.random.default_rng(0)
    sound = rng.standard_normal(4 * 36_000) * np.repeat([0.1, 0.0, 0.0009, 0.0011], 36_000)
    assert silent_trs(sound, 24_000, 5, 1.5).tolist() == [False, True, True, False, True]
