"""Level errors by loudness, of codecs of which they are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from giblet.errors import InputError
from giblet.evaluation.codec_levels import level_errors


class Louder:
    """A codec that multiplies what it was given, and does nothing above half of full scale."""

    def encode(self, waveform):
        return waveform

    def decode(self, codes):
        return np.append(2 * codes if np.abs(codes).max() < 0.5 else codes, np.zeros(3, np.float32))


def test_errors_are_those_of_each_gain():
    rng = np.random.default_rng(0)
    clips = [rng.uniform(-1, 1, 1000).astype(np.float32), rng.uniform(-0.3, 0.3, 1000).astype(np.float32)]
    quiet, half, full = level_errors(Louder(), [*clips, np.zeros(1000, np.float32)], (0.1, 0.6, 1.0))
    twice = 20 * math.log10(2)
    np.testing.assert_allclose(quiet.errors, [twice, twice], atol=1e-4)
    np.testing.assert_allclose(half.errors, [0, twice], atol=1e-4)
    assert (half.gain, full.gain) == (0.6, 1.0)
    assert half.median == pytest.approx(twice / 2, abs=1e-4)
    assert half.largest_tenth == pytest.approx(0.9 * twice, abs=1e-4)


def test_signs_count_in_the_median_and_not_in_the_size():
    class Uneven(Louder):
        def decode(self, codes):
            return codes * (2 if codes[0] > 0 else 0.5)

    errors = level_errors(Uneven(), [np.ones(9, np.float32), -np.ones(9, np.float32)], (1.0,))[0]
    assert errors.median == pytest.approx(0, abs=1e-4)
    assert errors.median_size == pytest.approx(20 * math.log10(2), abs=1e-4)


def test_what_has_no_level_is_refused():
    with pytest.raises(InputError, match="no clip is louder than -60 dB"):
        level_errors(Louder(), [np.zeros(100, np.float32)])
    with pytest.raises(InputError, match="gains holds 0"):
        level_errors(Louder(), [np.ones(100, np.float32)], (1.0, 0))
