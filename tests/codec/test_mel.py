"""Streamed mel spectrograms are librosa's, and can be heard again."""

import tracemalloc
import warnings
from fractions import Fraction
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from giblet.codec import mel as module
from giblet.codec.mel import BLOCK_FRAMES, MelSpectrogram
from giblet.errors import InputError

DATA = Path(__file__).parents[2] / "samples"


def noise(n: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(n).astype(np.float32)


def analysed(mel: MelSpectrogram, *chunks: np.ndarray) -> np.ndarray:
    return np.concatenate(list(mel.stream(chunks)), axis=1)


def of_librosa(mel: MelSpectrogram, sound: np.ndarray) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return librosa.feature.melspectrogram(
            y=sound, sr=mel.sample_rate, n_fft=mel.n_fft, hop_length=mel.hop_length, n_mels=mel.n_mels,
            center=True, pad_mode="constant",
        )  # fmt: skip


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    sound, rate = soundfile.read(DATA / "speech.flac", dtype="float32")
    return soxr.resample(sound, rate, 22_050)


# To mel --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"n_mels": 128},
        {"sample_rate": 24_000, "n_fft": 1024, "hop_length": 320, "n_mels": 80},
        {"n_fft": 401, "hop_length": 160, "n_mels": 40},  # an odd window
        {"n_fft": 512, "hop_length": 512, "n_mels": 40},
    ],
)
def test_the_stream_is_the_spectrogram_of_librosa(speech, options):
    mel = MelSpectrogram(**options)
    expected = of_librosa(mel, speech[:100_000])
    result = analysed(mel, speech[:30_000], speech[30_000:100_000])
    assert result.shape == expected.shape == (mel.n_mels, 1 + (100_000 - mel.n_fft % 2) // mel.hop_length)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-12 * expected.max())


@settings(max_examples=40, deadline=None)
@given(n=st.integers(0, 6000), cuts=st.lists(st.integers(0, 6000), max_size=6))
def test_frames_do_not_depend_on_the_chunks(n, cuts):
    mel = MelSpectrogram(n_fft=256, hop_length=64, n_mels=20)
    sound = noise(n)
    whole = analysed(mel, sound)
    assert whole.shape == (20, 1 + n // 64)
    np.testing.assert_allclose(analysed(mel, *np.split(sound, sorted(min(cut, n) for cut in cuts))), whole, rtol=1e-5)


def test_blocks_are_bounded_however_long_a_chunk_is():
    mel = MelSpectrogram(n_mels=16)
    sound = noise(300 * 22_050)
    tracemalloc.start()
    widths = [block.shape[1] for block in mel.stream([sound])]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert max(widths) <= module.BLOCK_FRAMES
    assert sum(widths) == 1 + len(sound) // 512
    assert peak < 30e6  # a few blocks of complex spectrum, of which the whole takes 106 MB


@pytest.mark.parametrize("frame", [10, 300])
def test_frame_i_is_centred_on_sample_i_hops(frame):
    mel = MelSpectrogram(n_mels=64)
    sound = np.zeros(400 * 512, np.float32)
    sound[frame * 512] = 1
    energy = analysed(mel, sound).sum(axis=0)
    assert np.argmax(energy) == frame
    np.testing.assert_allclose(energy[frame - 2 : frame], energy[frame + 2 : frame : -1], rtol=1e-4)


def test_the_frame_rate_is_exact():
    assert MelSpectrogram().frame_rate == Fraction(22_050, 512)


def test_filters_between_two_bins_stay_as_zeros_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        filters = MelSpectrogram().filters
    assert filters.shape == (2048, 1025)
    assert int((filters.sum(axis=1) == 0).sum()) == 716


# And back ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def spoken_again(speech) -> tuple[MelSpectrogram, np.ndarray, np.ndarray]:
    mel = MelSpectrogram()
    spectrogram = analysed(mel, speech[: 30 * 22_050])  # more than one block
    return mel, spectrogram, mel.invert(spectrogram, length=30 * 22_050)


def test_speech_comes_back_intelligible(speech, spoken_again):
    pystoi = pytest.importorskip("pystoi")
    assert pystoi.stoi(speech[: 30 * 22_050], spoken_again[2], 22_050) > 0.95


def test_what_comes_back_has_the_same_mel_spectrogram(spoken_again):
    mel, spectrogram, sound = spoken_again
    audible = mel.filters.sum(axis=1) > 0
    before, after = (10 * np.log10(np.maximum(x[audible], 1e-6)) for x in (spectrogram, analysed(mel, sound)))
    distance = np.abs(before - after).mean(axis=0)
    assert distance.mean() < 1.0  # dB
    seam = module.BLOCK_FRAMES - module.SHARED_FRAMES
    assert distance[seam : seam + module.SHARED_FRAMES + 1].mean() < 2.5


def test_power_is_found_better_than_by_the_clipped_pseudo_inverse_of_librosa(speech):
    mel = MelSpectrogram(n_mels=128)
    power = np.abs(librosa.stft(speech[:100_000], n_fft=2048, pad_mode="constant")) ** 2
    spectrogram = mel.filters @ power

    def error(estimate: np.ndarray) -> float:
        return float(np.linalg.norm(estimate - power) / np.linalg.norm(power))

    power[[0, -1]] = 0  # which no filter reaches
    theirs = librosa.feature.inverse.mel_to_stft(spectrogram, sr=22_050, n_fft=2048) ** 2
    assert error(mel.power(spectrogram)) < 0.9 * error(theirs)


@pytest.mark.parametrize("n_frames", [1, 2, 7, 8, 9, 40, 41, 100])
def test_sound_lasts_as_long_as_its_frames(n_frames, monkeypatch):
    monkeypatch.setattr(module, "BLOCK_FRAMES", 40)
    mel = MelSpectrogram(n_fft=256, hop_length=64, n_mels=20)
    spectrogram = np.ones((20, n_frames), np.float32)
    for length in (None, 10, n_frames * 64 + 5):
        sound = mel.invert(spectrogram, length)
        assert sound.dtype == np.float32
        assert sound.shape == (length or n_frames * 64,)


def test_a_click_is_heard_where_it_was_in_every_block(monkeypatch):
    monkeypatch.setattr(module, "BLOCK_FRAMES", 100)
    mel = MelSpectrogram(n_mels=128)
    clicks = np.arange(30, 400, 37) * 512 + 200
    sound = np.zeros(400 * 512, np.float32)
    sound[clicks] = 1
    again = mel.invert(analysed(mel, sound), len(sound))
    found = [click - 4096 + np.argmax(np.abs(again[click - 4096 : click + 4096])) for click in clicks]
    assert np.abs(found - clicks).max() <= 512


def test_the_loudness_does_not_dip_where_blocks_meet(monkeypatch):
    monkeypatch.setattr(module, "BLOCK_FRAMES", 48)
    mel = MelSpectrogram(n_fft=256, hop_length=64, n_mels=40)
    spectrogram = analysed(mel, noise(600 * 64))
    loudness = analysed(mel, mel.invert(spectrogram)).sum(axis=0)[5:-5]
    expected = spectrogram.sum(axis=0)[5 : 5 + len(loudness)]
    seams = np.arange(40 + 4 - 5, len(loudness), 40)
    others = np.setdiff1d(np.arange(len(loudness)), np.concatenate([seams + shift for shift in range(-3, 4)]))
    assert loudness[seams].sum() / expected[seams].sum() == pytest.approx(
        loudness[others].sum() / expected[others].sum(), rel=0.15
    )


@pytest.mark.parametrize("n_frames", [1, 8, 40, 41, 72, 73, 100, 300])
def test_the_sound_does_not_depend_on_the_pieces_that_a_mel_comes_in(n_frames, monkeypatch):
    monkeypatch.setattr(module, "BLOCK_FRAMES", 40)
    mel = MelSpectrogram(n_fft=256, hop_length=64, n_mels=20)
    spectrogram = analysed(mel, noise(400 * 64))[:, :n_frames]
    cuts = np.sort(np.random.default_rng(n_frames).integers(0, n_frames + 1, 9))
    blocks = list(mel.invert_stream(iter(np.split(spectrogram, cuts, axis=1))))
    np.testing.assert_array_equal(np.concatenate(blocks), mel.invert(spectrogram))
    assert max(map(len, blocks)) <= 40 * 64


def test_the_same_mel_gives_the_same_sound():
    mel = MelSpectrogram(n_fft=256, hop_length=64, n_mels=20)
    spectrogram = analysed(mel, noise(4000))
    np.testing.assert_array_equal(mel.invert(spectrogram), mel.invert(spectrogram))


def test_memory_of_the_way_back_grows_by_its_result_alone(monkeypatch):
    monkeypatch.setattr(module, "BLOCK_FRAMES", 64)
    mel = MelSpectrogram(n_fft=256, hop_length=64, n_mels=20)
    mel.invert(np.ones((20, 10)))  # what is made once
    needed = []
    for n_frames in (100, 300):
        spectrogram = np.ones((20, n_frames), np.float32)
        tracemalloc.start()
        result = mel.invert(spectrogram)
        needed.append(tracemalloc.get_traced_memory()[1] - result.nbytes)
        tracemalloc.stop()
    assert needed[1] < 1.2 * needed[0]


def test_silence_and_negative_predictions_are_silent():
    mel = MelSpectrogram(n_fft=256, hop_length=64, n_mels=20)
    for value in (0.0, -1.0):
        assert not mel.invert(np.full((20, 30), value)).any()


# What is refused -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{"n_mels": 0}, {"n_fft": 2.5}, {"sample_rate": True}, {"hop_length": 4096}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(InputError, match=next(iter(options))):
        MelSpectrogram(**options)


def test_sound_and_mel_of_the_wrong_shape_or_not_finite_are_refused():
    mel = MelSpectrogram(n_fft=256, hop_length=64, n_mels=20)
    for chunk in (np.zeros((2, 100), np.float32), np.full(100, np.nan, np.float32)):
        with pytest.raises(InputError, match="mono, finite"):
            list(mel.stream([chunk]))
    for shape in ((19, 5), (20,), (20, 0)):
        with pytest.raises(InputError, match="expected "):
            mel.invert(np.zeros(shape))
    spectrogram = np.ones((20, 50))
    spectrogram[3, 41] = np.inf
    with pytest.raises(InputError, match="frame 41"):
        mel.invert(spectrogram)
    for frame, value in ((BLOCK_FRAMES, np.nan), (3 * BLOCK_FRAMES - 1, 1e39)):  # which float32 does not hold
        spectrogram = np.ones((20, 3 * BLOCK_FRAMES))
        spectrogram[3, frame] = value
        with pytest.raises(InputError, match=rf"frame {frame}:"):
            mel.invert(spectrogram)
    with pytest.raises(InputError, match="at least one frame"):
        list(mel.invert_stream([]))
