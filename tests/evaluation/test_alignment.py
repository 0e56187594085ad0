"""The check of alignment: what it reads, which way it points, and what it does not claim."""

import logging

import numpy as np
import pytest
import xarray as xr
from scipy.stats import gamma

from giblet.alignment import convolve_hrf
from giblet.alignment.lags import BLOCK, standardised
from giblet.alignment.prewhitening import slow_basis
from giblet.errors import AlignmentError, InputError
from giblet.evaluation.alignment import Regressor, _mean_of, check, envelope, regressors_of
from giblet.features import new_features
from giblet.timing import TRGrid

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


def test_the_mean_of_many_voxels_is_that_of_all_of_them_at_once():
    rng = np.random.default_rng(0)
    bold = (1000 + rng.standard_normal((N, 2 * BLOCK + 7)) * rng.uniform(1, 30, 2 * BLOCK + 7)).astype(np.float32)
    kept = rng.random(N) > 0.1
    for mask in (None, kept):
        used = np.arange(N) if mask is None else np.flatnonzero(mask)
        slow = slow_basis(used - used[0], tr=TR, detrend=True, high_pass=None)
        whole = np.zeros(N)
        whole[used] = standardised(bold[used], slow).mean(axis=1)
        np.testing.assert_allclose(_mean_of(bold, TR, mask)[:, 0], whole, rtol=1e-10, atol=1e-13)


def test_a_response_without_noise_has_correlation_1_at_lag_0():
    x = stimulus()
    found = check(
        regressor(x), convolve_hrf(x - x.mean(), tr=TR, kind="continuous")[:, None], TR, targets=["a"], n_surrogates=99
    )
    assert found.verdict == "aligned"
    assert found.r == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("offset", [3.0, 7.1, -4.5])
def test_the_time_at_volume_0_is_the_second_of_the_stimulus_at_volume_0(offset):
    """BOLD of a stimulus that ran `offset` s before the scan; the offset need not be whole TRs."""
    fine = np.repeat(stimulus(), 15)
    edges = np.arange(len(fine) + 1) * 0.1
    shift = round(offset / 0.1)
    moved = np.roll(fine, -shift)
    if shift < 0:
        moved[:-shift] = 0
    bold = convolve_hrf(moved.reshape(N, 15).mean(axis=1), tr=TR, kind="continuous")[:, None]
    one = Regressor("amount", fine, edges)
    found = check(one, bold, TR, targets=["a"], stimulus_time_at_volume_0=offset, n_surrogates=99, trim=True)
    assert found.scan.mean_best_lag == 0
    wrong = check(one, bold, TR, targets=["a"], n_surrogates=99)
    assert wrong.scan.mean_best_lag == pytest.approx(-offset, abs=TR / 2 + 1e-6)


def test_the_advice_names_the_time_that_removes_the_lag():
    x = stimulus()
    late = np.roll(convolve_hrf(x, tr=TR, kind="continuous"), 2)[
        :, None
    ]  # the BOLD of volume k is of the stimulus two TRs before
    found = check(regressor(x), late, TR, targets=["a"], n_surrogates=99)
    assert (found.verdict, found.scan.mean_best_lag) == ("shifted", 3.0)
    assert "3 s later" in found.advice and "stimulus_time_at_volume_0=-3 " in found.advice


def test_a_best_lag_at_the_edge_is_not_reported_as_the_lag():
    x = stimulus()
    late = np.roll(convolve_hrf(x, tr=TR, kind="continuous"), 3)[:, None]
    found = check(regressor(x), late, TR, targets=["a"], lags=np.arange(-3, 4) * TR, n_surrogates=99)
    assert found.verdict == "at the edge"
    assert "widen" in found.advice


def test_more_than_50_voxels_are_scanned_as_their_mean():
    x = stimulus()
    rng = np.random.default_rng(1)
    bold = convolve_hrf(x, tr=TR, kind="continuous")[:, None] + 2 * rng.standard_normal((N, 80))
    found = check(regressor(x), bold, TR, targets=[str(v) for v in range(80)], n_surrogates=99, high_pass=None)
    assert found.targets == ("mean of 80",)
    assert (found.verdict, found.r > 0.9) == ("aligned", True)


def test_a_bold_shorter_than_the_stimulus_needs_trim():
    x = stimulus()
    bold = convolve_hrf(x, tr=TR, kind="continuous")[:200, None]
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
    bold = convolve_hrf(x, tr=TR, kind="continuous")[:, None] + 0.5 * rng.standard_normal((N, n_voxels))
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
    """A scan as long as the film, 3 s late, is 3 s too short at the offset that is right: trim=True is said too."""
    x = stimulus()
    bold = np.roll(convolve_hrf(x, tr=TR, kind="continuous"), shift)[:, None]
    found = check(regressor(x), bold, TR, targets=["a"], n_surrogates=19)
    assert ("trim=True" in found.advice) == (shift > 0)
    offset = float(found.advice.split("stimulus_time_at_volume_0=")[1].split()[0])
    after = check(
        regressor(x),
        bold,
        TR,
        targets=["a"],
        n_surrogates=19,
        stimulus_time_at_volume_0=offset,
        trim="trim=True" in found.advice,
    )
    assert after.verdict == "aligned"


def test_words_that_were_extracted_with_an_offset_are_to_be_extracted_again():
    x = stimulus()
    late = np.roll(convolve_hrf(x, tr=TR, kind="continuous"), 2)[:, None]
    one = Regressor("amount", x, np.arange(N + 1) * TR, table_time_at_tr_0=20.0)
    assert "extract it again with table_time_at_tr_0=17 " in check(one, late, TR, targets=["a"], n_surrogates=19).advice


def test_less_than_a_tr_of_stimulus_after_the_scan_is_accepted():
    x = stimulus()
    bold = convolve_hrf(x, tr=TR, kind="continuous")[:, None]
    assert (
        check(regressor(x), bold, TR, targets=["a"], n_surrogates=19, stimulus_time_at_volume_0=-0.7).verdict
        == "aligned"
    )
    with pytest.raises(AlignmentError, match="pass trim=True"):
        check(regressor(x), bold, TR, targets=["a"], stimulus_time_at_volume_0=-1.5)


def test_a_scan_much_longer_than_its_stimulus_is_warned_of(caplog):
    """Features at 1 s taken for a scan at 1.5 s: a third of the volumes has none."""
    x = stimulus()
    bold = convolve_hrf(x, tr=TR, kind="continuous")[:, None]
    with caplog.at_level(logging.WARNING):
        check(Regressor("amount", x, np.arange(N + 1) * 1.0), bold, TR, targets=["a"], n_surrogates=19)
    assert "amount ends 120 s before the BOLD, which lasts 360 s (240 volumes of 1.5 s)" in caplog.text


def test_sounds_too_short_constant_regressors_and_times_after_the_end_are_refused():
    with pytest.raises(InputError, match="one window"):
        envelope(np.zeros(10), 8000)
    with pytest.raises(InputError, match="does not vary"):
        check(regressor(np.ones(N)), stimulus()[:, None], TR, targets=["a"], n_surrogates=19)
    with pytest.raises(AlignmentError, match="before volume 0"):
        check(regressor(stimulus()), stimulus()[:, None], TR, targets=["a"], stimulus_time_at_volume_0=1000)


# --- features that were cut from a longer film


def of_film(**variables):
    n = len(next(iter(variables.values())))
    return new_features(
        {name: (("tr",), np.asarray(values, np.float32)) for name, values in variables.items()}, TRGrid(TR, n, 75),
        film_duration=n * TR, kind="continuous", desc="film", settings={},
    )  # fmt: skip


@pytest.mark.parametrize("first, last", [(30, 200), (61, 240), (0, 150)])
@pytest.mark.parametrize("offset", [0.0, -12.0, 7.5])
def test_a_part_of_a_film_is_checked_where_it_lies_in_it(first, last, offset):
    """BOLD of the whole film (analytic), of which features of a part are there."""
    x = stimulus()
    bold = analytic(x, TR, np.arange(N) * TR + offset)[:, None]
    (whole,) = regressors_of(of_film(word_rate=x))
    (part,) = regressors_of(of_film(word_rate=x).isel(tr=slice(first, last)))
    np.testing.assert_array_equal(part.edges, whole.edges[first : last + 1])
    found = check(part, bold, TR, targets=["a"], stimulus_time_at_volume_0=offset, n_surrogates=99, trim=True)
    assert (found.scan.mean_best_lag, found.verdict) == (0, "aligned")
    assert found.r > 0.99


def test_messages_about_a_part_name_its_place():
    x = stimulus()
    (part,) = regressors_of(of_film(word_rate=x).isel(tr=slice(100, 240)))
    bold = np.random.default_rng(0).standard_normal((N, 1))
    with pytest.raises(AlignmentError, match=r"200 volumes \(300 s\), word_rate is of second 150 to 360 of its film, "
                                             "and lasts 360 s from volume 0"):  # fmt: skip
        check(part, bold[:200], TR, targets=["a"])
    with pytest.raises(AlignmentError, match=r"90 volumes \(135 s\), word_rate begins 150 s after volume 0"):
        check(part, bold[:90], TR, targets=["a"], trim=True)
    with pytest.raises(AlignmentError, match="word_rate ends 40 s before volume 0"):
        check(part, bold, TR, targets=["a"], stimulus_time_at_volume_0=400)
    with pytest.raises(
        AlignmentError, match=r"onsets of film are not 1\.5 s apart: they go from 75 to 79\.5 s at TR 51"
    ):
        regressors_of(of_film(word_rate=x).isel(tr=np.delete(np.arange(N), [51, 52])))


def test_the_sound_of_a_part_has_the_clock_of_the_film():
    plain, later = (envelope(np.ones(8000), 8000, begins=begins) for begins in (0.0, 558.0))
    np.testing.assert_allclose(later.edges, plain.edges + 558)


def test_trs_without_a_picture_get_the_mean_luminance():
    light = np.r_[0, 0, np.full(8, 0.5), np.full(10, 0.7)]
    (found,) = regressors_of(of_film(luminance=light, shown=np.r_[0, 0, np.ones(18)]))
    np.testing.assert_allclose(found.values, np.r_[light[2:].mean(), light[2:].mean(), light[2:]], rtol=1e-6)


def test_bold_that_was_cut_is_checked_where_it_was_in_its_run():
    x, ref = stimulus(), 0.5
    y = analytic(x, TR, (np.arange(N) + ref) * TR)[:, None]
    variables = {"bold": (("tr", "voxel"), y), "onset": ("tr", np.arange(N) * TR)}
    bold = xr.Dataset(variables, attrs={"tr": TR, "slice_time_ref": ref})
    kept = np.delete(np.arange(20, N), [7, 90, 91])
    found = check(regressor(x), bold.isel(tr=kept), TR, targets=["a"], n_surrogates=99)
    assert (found.scan.mean_best_lag, found.slice_time_ref, found.n_trs) == (0, ref, len(kept))
    assert found.r > 0.99 and found.scan.n_volumes < len(kept)
    end = np.arange(20, 200)
    with pytest.raises(AlignmentError, match="180 volumes between second 30 and 300 of its run, amount lasts 360 s"):
        check(regressor(x), bold.isel(tr=end), TR, targets=["a"])


# --- how a check looks in a notebook


def of_regions(*names):
    """A check of an amount against one column of BOLD per name."""
    x = stimulus()
    noise = np.random.default_rng(1).standard_normal((N, len(names)))
    return check(
        regressor(x), convolve_hrf(x, tr=TR, kind="continuous")[:, None] + noise, TR, targets=names, n_surrogates=99
    )


def test_a_check_as_a_table_holds_the_figures_of_the_scan():
    found = of_regions("V1", "A1")
    table, scan = found.to_pandas(), found.scan
    assert list(table.index) == ["V1", "A1", "mean"]
    np.testing.assert_array_equal(table["best_lag"], [*scan.best_lag, scan.mean_best_lag])
    np.testing.assert_array_equal(table["r"], [*scan.r.max(axis=0), found.r])
    np.testing.assert_array_equal(table["p"], [*scan.p, scan.mean_p])
    np.testing.assert_array_equal(table["null_95"], [*scan.threshold, scan.mean_threshold])


def test_a_lag_scan_as_a_table_and_as_a_dataset_holds_its_correlations():
    found = of_regions("V1", "A1")
    table, data, scan = found.scan.to_pandas(found.targets), found.to_xarray(), found.scan
    np.testing.assert_array_equal(table.index, scan.lags)
    np.testing.assert_array_equal(table[["V1", "A1"]], scan.r)
    np.testing.assert_array_equal(table["mean"], scan.mean_r)
    np.testing.assert_array_equal(data["r"].sel(target="A1"), scan.r[:, 1])
    np.testing.assert_array_equal(data["lag"], scan.lags)
    assert (data.attrs["mean_p"], data.attrs["regressor"]) == (scan.mean_p, "amount")
    assert list(scan.to_pandas().columns) == [0, 1, "mean"] and scan.to_xarray()["target"].values.tolist() == [0, 1]


def test_a_check_says_in_one_line_what_it_found():
    found = of_regions("V1")
    assert repr(found) == (
        f"<AlignmentCheck amount: best lag +0 s, r = {found.r:.3f}, p = {found.scan.mean_p:.3g}, aligned>"
    )
    assert repr(found.scan).startswith("<LagScan of 1 targets at 21 lags: best lag +0 s: r = ")


def test_the_html_of_a_check_shows_its_figures_and_escapes_names():
    found = of_regions("V1", "<script>")
    page = found._repr_html_()
    assert "<script>" not in page and "&lt;script&gt;" in page
    assert page.count("<tr>") == 4 and f"<td>{found.r:.3g}</td>" in page
    assert f"<td>{found.scan.mean_r[0]:.3g}</td>" in found.scan._repr_html_()


# --- the envelope of a sound that comes in blocks


@pytest.mark.parametrize("sizes", [[3000] * 6, [1, 799, 801, 16_398, 1], [17_999, 0, 1]])
def test_the_envelope_of_blocks_is_that_of_the_whole_sound(sizes):
    sound = np.random.default_rng(0).standard_normal(18_000).astype(np.float32)
    blocks = np.split(sound, np.cumsum(sizes)[:-1])
    assert len(blocks) == len(sizes)
    whole, streamed = envelope(sound, 8000), envelope(iter(blocks), 8000)
    np.testing.assert_array_equal(streamed.values, whole.values)
    np.testing.assert_array_equal(streamed.edges, whole.edges)
