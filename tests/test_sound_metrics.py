"""Scores of one sound against another, against analytic answers."""

import numpy as np
import pytest

from giblet.errors import InputError
from giblet.evaluation import reconstruction
from giblet.sound_metrics import level_error, si_sdr


def test_a_sound_that_came_back_too_quiet_has_a_level_error_that_si_sdr_does_not_see():
    rng = np.random.default_rng(0)
    reference = rng.standard_normal(24_000)
    quiet = 10 ** (-7 / 20) * reference
    assert level_error(reference, quiet) == pytest.approx(-7)
    assert level_error(quiet, reference) == pytest.approx(7)
    assert si_sdr(reference, quiet) > 200
    assert level_error(reference, np.zeros(24_000)) == -np.inf
    with pytest.raises(InputError, match="silent"):
        level_error(np.zeros(5), np.ones(5))
    with pytest.raises(InputError, match="two equal"):
        level_error(np.ones(5), np.ones(4))


def test_si_sdr_of_half_noise_is_3_db_per_doubling():
    reference = np.tile([1.0, 0.0], 500)
    noise = np.tile([0.0, 1.0], 500)
    assert si_sdr(reference, reference + noise) == pytest.approx(0)
    assert si_sdr(reference, 2 * reference + noise) == pytest.approx(20 * np.log10(2))
    with pytest.raises(InputError, match="silent"):
        si_sdr(np.zeros(5), np.ones(5))


def test_si_sdr_ignores_scale_and_counts_orthogonal_noise():
    rng = np.random.default_rng(1)
    sound, noise = rng.standard_normal((2, 24_000)).astype(np.float32)
    noise -= (noise @ sound) / (sound @ sound) * sound
    noise *= np.linalg.norm(sound) / np.linalg.norm(noise) / 10
    assert si_sdr(sound, 3 * (sound + noise)) == pytest.approx(20, abs=0.01)
    assert si_sdr(sound, 3 * (sound + noise), floor=1e-12) == pytest.approx(20, abs=0.01)


def test_a_silent_estimate_scores_minus_infinity():
    assert si_sdr(np.ones(5), np.zeros(5)) == -np.inf
    assert level_error(np.ones(5), np.zeros(5)) == -np.inf


@pytest.mark.parametrize("silent", ["reference", "estimate", "both"])
def test_scores_with_a_floor_are_finite_for_silence(silent):
    reference = np.zeros(500) if silent != "estimate" else np.ones(500)
    estimate = np.zeros(500) if silent != "reference" else np.ones(500)
    assert np.isfinite(si_sdr(reference, estimate, floor=1e-12))
    assert np.isfinite(level_error(reference, estimate, floor=1e-12))


def test_a_floor_leaves_the_scores_of_sound_as_they_are():
    rng = np.random.default_rng(2)
    reference, estimate = rng.standard_normal((2, 500))
    for score in (si_sdr, level_error):
        assert score(reference, estimate, floor=1e-12) == pytest.approx(score(reference, estimate), abs=1e-9)


def test_evaluation_reconstruction_offers_the_same_functions():
    assert (reconstruction.si_sdr, reconstruction.level_error) == (si_sdr, level_error)
