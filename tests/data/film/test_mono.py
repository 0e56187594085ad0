"""The downmix is the documented one, and blocks of sound stay where their timestamps put them."""

from fractions import Fraction

import librosa
import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from giblet.data.film.mono import TOLERANCE, SoundClock, downmix
from giblet.data.media import AudioReader
from giblet.errors import InputError
from tests.films import Track, write_film

C, S = 2**0.5, 0.5**0.5
LAYOUTS = {
    "FC": [1],
    "FL FR": [1 / 2, 1 / 2],
    "FL FR FC": [1 / (2 + C), 1 / (2 + C), C / (2 + C)],
    "FL FR BL BR": [1 / (2 + C), 1 / (2 + C), S / (2 + C), S / (2 + C)],  # two surrounds weigh 2 S = C
    "FL FR FC BC": [1 / (3 + C), 1 / (3 + C), C / (3 + C), 1 / (3 + C)],
    "FL FR FC LFE SL SR": [x / (2 + 2 * C) for x in (1, 1, C, 0, S, S)],
    "FL FR FC LFE BL BR SL SR": [x / (2 + 3 * C) for x in (1, 1, C, 0, S, S, S, S)],
    "FL FR FC LFE TFL TFR": [1 / 6] * 6,  # loudspeakers above: not in BS.775
    "NONE NONE NONE": [1 / 3] * 3,
    "LFE": [1],
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_loudspeaker_weighs_what_the_recommendation_says(layout):
    names = layout.split()
    weights = [float(downmix(row[:, None], names)[0]) for row in np.eye(len(names))]
    np.testing.assert_allclose(weights, LAYOUTS[layout], rtol=1e-6)


def test_each_loudspeaker_of_a_file_is_found_by_its_name(tmp_path):
    sound = np.zeros((6, 6 * 2400), np.float32)
    for channel in range(6):
        sound[channel, channel * 2400 : (channel + 1) * 2400] = 0.5
    path = write_film(tmp_path / "each.wav", Track(sound, 24_000, "pcm_s16le", "5.1"))
    heard = np.concatenate(list(AudioReader(path))).reshape(6, 2400)
    np.testing.assert_allclose(heard.mean(1), 0.5 * np.array(LAYOUTS["FL FR FC LFE SL SR"]), atol=1e-4)


def test_stereo_becomes_what_librosa_makes_of_it():
    sound = np.random.default_rng(0).standard_normal((2, 1000)).astype(np.float32)
    np.testing.assert_allclose(downmix(sound, ["FL", "FR"]), librosa.to_mono(sound), rtol=1e-6, atol=1e-7)


@given(
    st.lists(st.sampled_from(["FL", "FR", "FC", "LFE", "SL", "SR", "BC", "TFL"]), min_size=1, max_size=8, unique=True)
)
def test_full_scale_everywhere_is_full_scale_in_mono(names):
    np.testing.assert_allclose(downmix(np.ones((len(names), 3)), names), 1, rtol=1e-6)


def laid(clock: SoundClock, *blocks: tuple[np.ndarray, int, Fraction | None]) -> np.ndarray:
    pieces = [piece for block in blocks for piece in clock.lay(*block)]
    return np.concatenate([*pieces, clock.flush()])


@settings(deadline=None, max_examples=40)
@given(
    rate=st.sampled_from([8_000, 22_050, 24_000, 44_100]),
    cuts=st.lists(st.integers(0, 30_000), max_size=8),
    jitter=st.lists(st.integers(-5, 5), min_size=9, max_size=9),
)
def test_blocks_with_timestamps_that_jitter_are_the_whole_resampled_at_once(rate, cuts, jitter):
    sound = np.random.default_rng(0).standard_normal(30_000).astype(np.float32)
    edges = [0, *sorted(cuts), 30_000]
    clock = SoundClock(24_000)
    blocks = [
        (sound[a:b], rate, Fraction(a, rate) + (Fraction(ms, 1000) if a else 0))
        for a, b, ms in zip(edges, edges[1:], jitter, strict=False)
    ]
    expected = soxr.resample(sound, rate, 24_000)
    result = laid(clock, *blocks)
    assert len(result) == int(Fraction(30_000 * 24_000, rate) + Fraction(1, 2))
    n = min(len(result), len(expected))
    np.testing.assert_allclose(result[:n], expected[:n], atol=1e-6)
    assert (clock.gaps, clock.overlaps) == (0, 0)


@settings(deadline=None, max_examples=60)
@given(
    rate=st.sampled_from([8_000, 24_000, 44_100]),
    stretches=st.lists(st.tuples(st.integers(1_200, 3_000), st.integers(-900, 2_000)), min_size=1, max_size=4),
    block=st.integers(10, 100),
)
def test_sound_is_never_further_from_timestamps_that_stay_than_the_tolerance(rate, stretches, block):
    """Stretches of sound (ms) in blocks, the timestamps of which jump (by ms) before each of them."""
    clock, at, n, expected = SoundClock(24_000), Fraction(0), 0, Fraction(0)
    for index, (length, jump) in enumerate(stretches):
        moved = Fraction(jump if index else abs(jump), 1000)
        at += moved
        n_samples = length * rate // 1000
        for start in range(0, n_samples, block * rate // 1000):
            sound = np.ones(min(block * rate // 1000, n_samples - start), np.float32)
            n += sum(map(len, clock.lay(sound, rate, at + Fraction(start, rate))))
        at += Fraction(n_samples, rate)
        expected = at
    n += len(clock.flush())
    assert abs(clock.end - expected) <= TOLERANCE + Fraction(len(stretches), rate)
    assert n == int(clock.end * 24_000 + Fraction(1, 2))


@settings(deadline=None, max_examples=60)
@given(
    jumps=st.dictionaries(st.integers(1, 148), st.integers(-900, 700_000), max_size=6),
    rate=st.sampled_from([8_000, 32_000, 44_100]),
)
def test_a_jump_that_the_next_frames_take_back_changes_nothing(jumps, rate):
    """3 s in blocks of 20 ms, some with timestamps that are off by up to 11 minutes."""
    sound = np.random.default_rng(0).standard_normal(3 * rate).astype(np.float32)
    clock, size = SoundClock(rate), rate // 50
    blocks = [
        (sound[k * size : (k + 1) * size], rate, Fraction(k, 50) + Fraction(jumps.get(k, 0), 1000)) for k in range(150)
    ]
    np.testing.assert_array_equal(laid(clock, *blocks), sound)
    assert (clock.gaps, clock.overlaps, clock.gap_seconds, clock.overlap_seconds) == (0, 0, 0, 0)


def test_a_hole_is_as_long_as_the_frames_behind_it_say_not_as_the_first():
    clock = SoundClock(8_000)
    blocks = [(np.ones(160, np.float32), 8_000, Fraction(k, 50)) for k in range(50)]
    later = [(np.ones(160, np.float32), 8_000, Fraction(k, 50) + Fraction(3, 10)) for k in range(50, 150)]
    later[0] = (later[0][0], 8_000, Fraction(77))
    assert len(laid(clock, *blocks, *later)) == 150 * 160 + 2400
    assert (clock.gaps, clock.gap_seconds, clock.overlaps) == (1, Fraction(3, 10), 0)


def test_two_holes_within_a_second_stay_two():
    clock = SoundClock(8_000)
    moved = [0] * 10 + [100] * 5 + [250] * 85
    blocks = [(np.full(160, k, np.float32), 8_000, Fraction(k, 50) + Fraction(ms, 1000)) for k, ms in enumerate(moved)]
    result = laid(clock, *blocks)
    assert (clock.gaps, clock.gap_seconds, clock.overlaps) == (2, Fraction(1, 4), 0)
    assert np.flatnonzero(result == 10)[0] == 10 * 160 + 800
    assert np.flatnonzero(result == 15)[0] == 15 * 160 + 2000


def test_the_last_frame_is_not_cut_to_agree_with_its_own_timestamp():
    clock = SoundClock(8_000)
    blocks = [(np.ones(160, np.float32), 8_000, Fraction(k, 50) - Fraction(k == 99, 5)) for k in range(100)]
    assert len(laid(clock, *blocks)) == 100 * 160
    assert clock.overlaps == 0


def test_an_overlap_is_followed_to_its_last_sample():
    """Blocks of 20 ms, the timestamps of which go back by 50 ms: two are swallowed, half of the third is cut."""
    clock = SoundClock(8_000)
    blocks = [(np.full(160, index, np.float32), 8_000, Fraction(index, 50)) for index in range(4)]
    blocks += [(np.full(160, 10 + index, np.float32), 8_000, Fraction(3 + 2 * index, 100)) for index in range(4)]
    result = laid(clock, *blocks)
    assert (clock.overlaps, clock.overlap_seconds) == (1, Fraction(5, 100))
    assert len(result) == 640 + 240
    np.testing.assert_array_equal(result[640:], np.repeat([12, 13], [80, 160]))


@pytest.mark.parametrize("at", [Fraction(700), Fraction(-1)])
def test_a_jump_is_refused_with_the_place_and_the_name(at):
    clock = SoundClock(8_000, "film.ts")
    list(clock.lay(np.zeros(4000, np.float32), 8_000, Fraction(0)))
    with pytest.raises(InputError, match=r"^film\.ts: .*jump by [-+]\d+\.50 s at 0\.50 s"):
        laid(clock, (np.zeros(4000, np.float32), 8_000, at))
