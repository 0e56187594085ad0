"""The check of alignment: what it reads, which way it points, and what it does not claim."""

import logging

import numpy as np
import pytest
from scipy.stats import gamma

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
    found = check(regressor(x), bold, TR, targets=[str(v) for v in range(80)], n_surrogates=99, high_pass=None)
    assert found.targets == ("mean of 80",)
    assert (found.verdict, found.r > 0.9) == ("aligned", True)


def test_a_bold_shorter_than_the_stimulus_needs_trim():
    x = stimulus()
    bold = convolve_hrf(x, TR)[:200, None]
    with pytest.raises(AlignmentError, match=r"200 volumes \(300 s\), amount lasts 360 s"):
        check(regressor(x), bold, TR, targets=["a"])
    assert check(regressor(x), bold, TR, targets=["a"], trim=True, n_surrogates=99).verdict == "aligned"


def analytic(x, tr, times):
    """Glover's response (scipy) to amounts that each last a TR, at any time."""
    since = times[:, None] - np.arange(len(x) + 1) * tr
    total = gamma.cdf(since, 6 / 0.9, scale=0.9) - 0.48 * gamma.cdf(since, 12 / 0.9, scale=0.9)
    return (total[:, :-1] - total[:, 1:]) @ x


@pytest.mark.parametrize("ref", [0.5, 0.9])
@pytest.mark.parametrize("tr", [2.0, 3.0])
def test_slices_that_were_brought_to_later_in_the_tr_are_no_lag(tr, ref):
    x = np.random.default_rng(4).standard_normal(200)
    x -= x.mean()
    one = Regressor("amount", x, np.arange(201) * tr)
    bold = analytic(x, tr, (np.arange(200) + ref) * tr)[:, None]
    r = {}
    for taken in (0.0, 0.25, ref, 1.0):
        found = check(one, bold, tr, targets=["a"], n_surrogates=19, slice_time_ref=taken)
        r[taken] = float(found.scan.mean_r[found.scan.lags == 0][0])
    assert max(r, key=lambda taken: r[taken]) == ref and r[ref] > 0.999
    assert r[ref] > r[0.0] + 0.02
    told = check(one, bold, tr, targets=["a"], n_surrogates=19, slice_time_ref=ref)
    assert (told.verdict, told.row()["slice_time_ref"], told.row()["tr"]) == ("aligned", ref, tr)
    if ref > 0.5:
        assert check(one, bold, tr, targets=["a"], n_surrogates=19).scan.mean_best_lag == -tr
    with pytest.raises(InputError, match=r"slice_time_ref is 1.44"):
        check(one, bold, tr, targets=["a"], slice_time_ref=1.44)


@pytest.mark.parametrize("n_voxels", [3, 60])
def test_censored_volumes_are_not_looked_at(n_voxels):
    x = stimulus()
    rng = np.random.default_rng(1)
    bold = convolve_hrf(x, TR)[:, None] + 0.5 * rng.standard_normal((N, n_voxels))
    kept = ~np.isin(np.arange(N), [0, 1, 90, 91, 200])
    options = {"targets": [str(v) for v in range(n_voxels)], "n_surrogates": 99}
    found = check(regressor(x), np.where(kept[:, None], bold, np.nan), TR, sample_mask=kept, **options)
    moved = check(regressor(x), np.where(kept[:, None], bold, 50.0), TR, sample_mask=kept, **options)
    assert (found.r, found.scan.mean_p) == (moved.r, moved.scan.mean_p)
    assert found.verdict == "aligned"
    assert found.row()["n_volumes"] == check(regressor(x), bold, TR, **options).row()["n_volumes"] - 3  # 2 at the edge
    foul = check(regressor(x), np.where(kept[:, None], bold, 50.0), TR, **options)
    assert foul.r < found.r - 0.2


@pytest.mark.parametrize("shift", [2, -2])
def test_the_advice_can_be_followed_to_the_letter(shift):
    """A scan as long as the film, 3 s late, is 3 s too short at the offset that is right: --trim is said too."""
    x = stimulus()
    bold = np.roll(convolve_hrf(x, TR), shift)[:, None]
    found = check(regressor(x), bold, TR, targets=["a"], n_surrogates=19)
    assert ("--trim" in found.advice) == (shift > 0)
    offset = float(found.advice.split("--start-offset ")[1].split()[0])
    after = check(
        regressor(x), bold, TR, targets=["a"], n_surrogates=19, start_offset=offset, trim="--trim" in found.advice
    )
    assert after.verdict == "aligned"


def test_words_that_were_extracted_with_an_offset_are_to_be_extracted_again():
    x = stimulus()
    late = np.roll(convolve_hrf(x, TR), 2)[:, None]
    one = Regressor("amount", x, np.arange(N + 1) * TR, extracted_offset=20.0)
    assert "extract it again with --start-offset 17 " in check(one, late, TR, targets=["a"], n_surrogates=19).advice


def test_less_than_a_tr_of_stimulus_behind_the_scan_is_nobodys_mistake():
    x = stimulus()
    bold = convolve_hrf(x, TR)[:, None]
    assert check(regressor(x), bold, TR, targets=["a"], n_surrogates=19, start_offset=-0.7).verdict == "aligned"
    with pytest.raises(AlignmentError, match="say --trim"):
        check(regressor(x), bold, TR, targets=["a"], start_offset=-1.5)


def test_a_scan_that_outlasts_its_stimulus_by_far_is_told(caplog):
    """Features at 1 s taken for a scan at 1.5 s: a third of the volumes has none."""
    x = stimulus()
    bold = convolve_hrf(x, TR)[:, None]
    with caplog.at_level(logging.WARNING):
        check(Regressor("amount", x, np.arange(N + 1) * 1.0), bold, TR, targets=["a"], n_surrogates=19)
    assert "amount ends 120 s before the BOLD, which lasts 360 s (240 volumes of 1.5 s)" in caplog.text


def test_what_cannot_be_checked_is_refused():
    with pytest.raises(InputError, match="one window"):
        envelope(np.zeros(10), 8000)
    with pytest.raises(InputError, match="does not vary"):
        check(regressor(np.ones(N)), stimulus()[:, None], TR, targets=["a"], n_surrogates=19)
    with pytest.raises(AlignmentError, match="before volume 0"):
        check(regressor(stimulus()), stimulus()[:, None], TR, targets=["a"], start_offset=1000)
