"""A sound is heard in stretches that end where it is quiet, whatever the chunks it comes in."""

import numpy as np
import pytest

from giblet.data.words.alignment.stretch import SAMPLE_RATE, Stretch


def stretches(samples, size, seconds):
    stretch, found = Stretch(iter([samples[k : k + size] for k in range(0, len(samples), size)])), []
    while stretch.fill(seconds):
        end = stretch.end(seconds)
        found.append((stretch.begin, stretch.samples[:end]))
        stretch.advance(end)
    return found


@pytest.mark.parametrize("size", [1000, 160_000, 3_000_000])
def test_stretches_end_amid_silence_and_lose_nothing(size):
    samples = np.random.default_rng(0).normal(size=70 * SAMPLE_RATE).astype(np.float32)
    for pause in (25.0, 48.0):
        samples[round(pause * SAMPLE_RATE) : round((pause + 0.4) * SAMPLE_RATE)] = 0
    found = stretches(samples, size, 30)
    np.testing.assert_array_equal(np.concatenate([part for _, part in found]), samples)
    begins = [begin for begin, _ in found]
    assert begins[1] == pytest.approx(25.2, abs=0.11) and begins[2] == pytest.approx(48.2, abs=0.11)
    assert all(len(part) <= 30 * SAMPLE_RATE for _, part in found)


def test_a_sound_that_is_shorter_is_one_stretch():
    samples = np.ones(5 * SAMPLE_RATE, np.float32)
    assert [(begin, len(part)) for begin, part in stretches(samples, 999, 30)] == [(0.0, 5 * SAMPLE_RATE)]
    assert stretches(samples[:0], 999, 30) == []
