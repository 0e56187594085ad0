"""The check of alignment: what it reads, which way it points, and what it does not claim."""

import numpy as np
import pytest

from giblet.alignment import convolve_hrf
from giblet.errors import AlignmentError, InputError
from giblet.evaluation.alignment import Regressor, check, envelope

TR = 1.5
N = 240


def stimulus(seed=0):
    return np.random.default_rng(seed).standard_normal(N)


def regressor(values):
    return Regressor("amount", values, np.arange(len(values) + 1) * TR)


def test_the_envelope_of_a_tone_is_its_amplitude_over_root_2():
    rate = 8000
    loud = np.where(np.arange(2 * rate) < rate, 0.5, 0.1)
    found = envelope(loud * np.sin(2 * np.pi * 100 * np.arange(2 * rate) / rate), rate)
    np.testing.assert_allclose(found.values, np.repeat([0.5, 0.1], 10) / np.sqrt(2), rtol=1e-6)
    np.testing.assert_allclose(found.edges, np.arange(21) / 10)


def test_a_response_without_noise_has_correlation_1_at_lag_0():
    x = stimulus()
    found = check(regressor(x), convolve_hrf(x - x.mean(), TR)[:, None], TR, targets=["a"], n_surrogates=99)
    assert found.verdict == "aligned"
    assert found.r == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("offset", [3.0, 7.1, -4.5])
def test_a_start_offset_is_the_second_of_the_stimulus_at_volume_0(offset):
    """BOLD of a stimulus that ran `offset` s before the scan; the offset need not be whole TRs."""
    fine = np.repeat(stimulus(), 15)
    edges = np.arange(len(fine) + 1) * 0.1
    shift = round(offset / 0.1)
    moved = np.roll(fine, -shift)
    if shift < 0:
        moved[:-shift] = 0
    bold = convolve_hrf(moved.reshape(N, 15).mean(axis=1), TR)[:, None]
    one = Regressor("amount", fine, edges)
    found = check(one, bold, TR, targets=["a"], start_offset=offset, n_surrogates=99, trim=True)
    assert found.scan.mean_best_lag == 0
    wrong = check(one, bold, TR, targets=["a"], n_surrogates=99)
    assert wrong.scan.mean_best_lag == pytest.approx(-offset, abs=TR / 2 + 1e-6)


def test_the_advice_points_the_way_that_mends_it():
    x = stimulus()
    late = np.roll(convolve_hrf(x, TR), 2)[:, None]  # the BOLD of volume k is of the stimulus two TRs before
    found = check(regressor(x), late, TR, targets=["a"], n_surrogates=99)
    assert (found.verdict, found.scan.mean_best_lag) == ("shifted", 3.0)
    assert "3 s later" in found.advice and "--start-offset -3" in found.advice


def test_a_best_lag_at_the_end_of_the_scan_is_not_called_the_lag():
    x = stimulus()
    late = np.roll(convolve_hrf(x, TR), 3)[:, None]
    found = check(regressor(x), late, TR, targets=["a"], lags=np.arange(-3, 4) * TR, n_surrogates=99)
    assert found.verdict == "at the edge"
    assert "widen" in found.advice


def test_of_many_voxels_the_mean_is_scanned():
    x = stimulus()
    rng = np.random.default_rng(1)
    bold = convolve_hrf(x, TR)[:, None] + 2 * rng.standard_normal((N, 80))
    found = check(regressor(x), bold, TR, targets=[str(v) for v in range(80)], n_surrogates=99)
    assert found.targets == ("mean of 80",)
    assert (found.verdict, found.r > 0.9) == ("aligned", True)


def test_a_bold_shorter_than_the_stimulus_needs_trim():
    x = stimulus()
    bold = convolve_hrf(x, TR)[:200, None]
    with pytest.raises(AlignmentError, match=r"200 volumes \(300 s\), amount lasts 360 s"):
        check(regressor(x), bold, TR, targets=["a"])
    assert check(regressor(x), bold, TR, targets=["a"], trim=True, n_surrogates=99).verdict == "aligned"


def test_what_cannot_be_checked_is_refused():
    with pytest.raises(InputError, match="one window"):
        envelope(np.zeros(10), 8000)
    with pytest.raises(InputError, match="does not vary"):
        check(regressor(np.ones(N)), stimulus()[:, None], TR, targets=["a"], n_surrogates=19)
    with pytest.raises(AlignmentError, match="before volume 0"):
        check(regressor(stimulus()), stimulus()[:, None], TR, targets=["a"], start_offset=1000)
