"""Series on other clocks, and every modality on the scan's: exact where it can be, said where it cannot."""

import logging
from fractions import Fraction

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import interp1d

from giblet.alignment import align_all_modalities, convolve_hrf
from giblet.alignment.sync import resample_features
from giblet.data.dataset.windows import Recording
from giblet.data.splits import make_splits
from giblet.errors import AlignmentError, InputError
from giblet.features import new_features, save_features
from giblet.timing import TRGrid, group_codes_by_tr, group_with_spill


class Lookup:
    """A codec of one codebook whose entries lie on a line in another order than their names."""

    order = np.random.default_rng(0).permutation(1024)
    place = np.argsort(order)

    def latents(self, codes):
        return self.place[codes].astype(np.float32)

    def requantize(self, latents):
        return self.order[np.clip(np.round(latents), 0, 1023).astype(int)].astype(np.int32)


def test_resample_discrete():
    codes = np.array([[0, 1023], [10, 1023], [1000, 0], [511, 3]])
    y = resample_features(codes, [0, 1.5, 3, 4.5], [0, 0.75, 1.5, 2.25, 4.0, 4.5], kind="codes", method="round")
    assert y.dtype == np.int32
    assert y.shape == (6, 2)
    # half way 0..10 and 10..1000, 2/3 of the way 1000..511; 511.5 goes to the even 512
    np.testing.assert_array_equal(y, [[0, 1023], [5, 1023], [10, 1023], [505, 512], [674, 2], [511, 3]])
    grouped = np.random.default_rng(0).integers(0, 1024, (20, 8, 112))
    y = resample_features(grouped, np.arange(20) * 1.5, np.arange(19) * 1.5 + 0.5, "codes", "round")
    assert y.shape == (19, 8, 112)
    assert y.dtype == np.int32
    assert y.min() >= 0
    assert y.max() <= 1023
    np.testing.assert_array_equal(y[3], np.round(grouped[3] * 2 / 3 + grouped[4] / 3))


def test_codes_are_moved_without_inventing_any_unless_rounding_is_asked_for():
    codes = np.array([[0, 1023], [10, 1023], [1000, 0], [511, 3]])
    times = [0, 1.5, 3, 4.5], [0, 0.7, 1.5, 2.3, 4.0, 4.5]
    y = resample_features(codes, *times, kind="codes")
    np.testing.assert_array_equal(y, resample_features(codes, *times, kind="codes", method="nearest"))
    assert set(map(tuple, y.tolist())) <= set(map(tuple, codes.tolist()))
    film = audio(40)[0].drop_attrs().assign_attrs(tr=1.5, kind="codes", variable="codes")  # does not know its frames
    moved = align_all_modalities({"a": film}, scan(39), tr=1.5, stimulus_time_at_volume_0=0.6)
    assert "nearest" in moved.report.sources[0].how
    np.testing.assert_array_equal(moved.features["a"], film["codes"].values[:39])


@pytest.mark.parametrize("x", [np.ones((3, 1)), xr.DataArray(np.ones((3, 1)), dims=("tr", "c"))])
def test_a_missing_kind_is_an_error_that_names_the_two(x):
    for call in (lambda: resample_features(x, [0, 1, 2], [0]), lambda: convolve_hrf(x)):
        with pytest.raises(InputError, match=r"kind was not given; expected 'codes' .* or 'continuous'"):
            call()
    said = xr.DataArray(np.ones((3, 1)), dims=("tr", "c"), attrs={"kind": "continuous"})
    np.testing.assert_array_equal(convolve_hrf(said), convolve_hrf(said.values, kind="continuous"))
    assert resample_features(said, [0, 1, 2], [0]).dtype == np.float64


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: align_all_modalities({}, [], start_offset=3), "start_offset is now called stimulus_time_at_volume_0"),
        (lambda: resample_features([1.0], [0], [0], window=2), "window is now called averaging"),
        (lambda: convolve_hrf([1.0], run_lengths=[1]), "run_lengths is now called run, a label per volume"),
        (lambda: make_splits(100, 1.5, runs=[1] * 100), "make_splits: runs is now called run"),
        (lambda: Recording.of("01", {}, runs=[1]), "Recording.of: runs is now called run"),
    ],
)
def test_an_old_name_is_an_error_that_says_the_new_one(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_nearest_invents_no_code_and_takes_the_earlier_of_two_as_near():
    codes = np.array([[7], [1000], [3]])
    y = resample_features(codes, [0, 1, 2], [0, 0.4, 0.5, 0.6, 1.5, 2], "codes", method="nearest")
    assert y.ravel().tolist() == [7, 7, 7, 1000, 1000, 3]


def test_latent_interpolates_what_codes_stand_for_not_their_names():
    codes = Lookup.order[[100, 300]][:, None]
    y = resample_features(codes, [0, 1], [0, 0.25, 1], "codes", method="latent", codec=Lookup())
    assert y.ravel().tolist() == Lookup.order[[100, 150, 300]].tolist()
    grouped = np.repeat(codes[:, :, None], 5, axis=2)
    y = resample_features(grouped, [0, 1], [0.5], "codes", method="latent", codec=Lookup())
    np.testing.assert_array_equal(y, np.full((1, 1, 5), Lookup.order[200]))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 99), n=st.integers(2, 60), m=st.integers(1, 60))
def test_linear_equals_scipy_on_any_clock(seed, n, m):
    rng = np.random.default_rng(seed)
    source = np.cumsum(rng.uniform(0.01, 2, n))
    target = np.unique(rng.uniform(source[0], source[-1], m))
    x = rng.standard_normal((n, 3, 2))
    y = resample_features(x, source, target, kind="continuous")
    np.testing.assert_allclose(y, interp1d(source, x, axis=0)(target), atol=1e-12)
    assert resample_features(x.astype(np.float32), source, target, "continuous").dtype == np.float32


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 99), n=st.integers(2, 40))
def test_the_mean_is_the_integral_of_the_held_samples(seed, n):
    rng = np.random.default_rng(seed)
    source = np.cumsum(rng.uniform(0.05, 2, n))
    end = 2 * source[-1] - source[-2]
    target = np.linspace(source[0], end, 8)[:-1]
    x = rng.standard_normal((n, 2))
    edges = np.append(source, end)
    integral = np.concatenate([np.zeros((1, 2)), np.cumsum(x * np.diff(edges)[:, None], axis=0)])
    exact = np.diff(interp1d(edges, integral, axis=0)(np.clip(np.append(target, end), *edges[[0, -1]])), axis=0)
    y = resample_features(x, source, target, "continuous", "mean")
    np.testing.assert_allclose(y, exact / np.diff(np.append(target, end))[:, None], atol=1e-9)


def test_lanczos_keeps_what_the_coarse_clock_can_hold_and_drops_what_would_alias():
    fine, coarse = np.arange(0, 300, 0.1), np.arange(30, 270, 1.5)
    slow, fast = (np.sin(2 * np.pi * f * fine)[:, None] for f in (0.05, 0.6))
    kept = resample_features(slow, fine, coarse, "continuous", "lanczos")
    np.testing.assert_allclose(kept[:, 0], np.sin(2 * np.pi * 0.05 * coarse), atol=0.02)
    assert np.abs(resample_features(fast, fine, coarse, "continuous", "lanczos")).max() < 0.05
    assert np.abs(resample_features(fast, fine, coarse, "continuous", "linear")).max() > 0.9, "0.6 Hz aliases here"
    ones = resample_features(np.ones((3000, 1)), fine, np.arange(0, 299, 1.5), "continuous", "lanczos")
    np.testing.assert_allclose(ones, 1, atol=1e-12)


@pytest.mark.parametrize("method", ["linear", "lanczos", "mean"])
def test_the_same_clock_gives_the_same_series(method):
    x = np.random.default_rng(1).standard_normal((50, 4))
    times = np.arange(50) * 0.72
    np.testing.assert_allclose(resample_features(x, times, times, "continuous", method), x, atol=1e-9)


@pytest.mark.parametrize("method", ["linear", "lanczos", "mean"])
def test_nothing_is_extrapolated_unless_asked(method):
    x, source = np.arange(1.0, 11)[:, None], np.arange(10) * 1.5
    beyond = np.array([-6.0, -4.5, 3.0, 4.5, 30.0, 31.5])
    with pytest.raises(AlignmentError, match=r"4 of 6 target times are not covered, the first at -6 s.*0 to 13.5 s"):
        resample_features(x, source, beyond, "continuous", method, **({"averaging": 1.5} if method == "mean" else {}))
    options = {"averaging": 1.5} if method == "mean" else {}
    y = resample_features(x, source, beyond, "continuous", method, outside="nan", **options)[:, 0]
    assert np.isnan(y).tolist() == [True, True, False, False, True, True]
    held = resample_features(x, source, beyond, "continuous", method, outside="hold", **options)[:, 0]
    np.testing.assert_allclose(held, [1, 1, 3, 4, 10, 10], atol=1e-9)


@pytest.mark.parametrize("method", ["linear", "lanczos", "mean"])
def test_nan_in_the_source_is_refused_wherever_it_is_used(method):
    x = np.zeros((20, 2), np.float32)
    x[12, 1] = np.nan
    with pytest.raises(InputError, match=r"nan at \(12, 1\)"):
        resample_features(x, np.arange(20), np.arange(19) + 0.5, "continuous", method)


def test_codes_are_never_nan_and_hold_is_a_choice():
    codes = np.array([[5], [9]])
    with pytest.raises(InputError, match="outside is 'nan'"):
        resample_features(codes, [0, 1], [3], "codes", outside="nan")
    with pytest.raises(AlignmentError, match="not covered"):
        resample_features(codes, [0, 1], [3], "codes")
    assert resample_features(codes, [0, 1], [-1, 3], "codes", outside="hold").ravel().tolist() == [5, 9]


@pytest.mark.parametrize("method", ["round", "nearest"])
@pytest.mark.parametrize("tr", [1.5, 0.72, 2.0])
def test_grouped_codes_with_a_frame_rate_move_to_another_tr_as_copies(method, tr):
    """Against the frames themselves: grouped at 2 s, where TRs have whole frames, and regrouped at another TR."""
    grid = TRGrid(2.0, 30, 75)
    series = np.random.default_rng(2).integers(0, 1024, (3, grid.n_frames), dtype=np.int32)
    n = int(30 * 2.0 / tr)
    y = resample_features(
        group_codes_by_tr(series, 2.0), grid.onset, TRGrid(tr, n, 75).onset, "codes", method=method, frame_rate=75
    )
    np.testing.assert_array_equal(y, group_codes_by_tr(series, tr)[:n])


def test_frames_that_not_every_tr_has_are_filled_by_the_method():
    """At 1.5 s frame 112 of TR 0 is missing; a shift of a third of a second needs it in column 87."""
    series = np.arange(450, dtype=np.int32)[None] * 2
    grouped = group_codes_by_tr(series, 1.5)
    y = resample_features(grouped, np.arange(4) * 1.5, [Fraction(25, 75)], "codes", "round", frame_rate=75)
    np.testing.assert_array_equal(y[0, 0], series[0, 25:137])
    near = resample_features(grouped, np.arange(4) * 1.5, [Fraction(25, 75)], "codes", method="nearest", frame_rate=75)
    assert near[0, 0, 87] == series[0, 111]
    np.testing.assert_array_equal(np.delete(near[0, 0], 87), np.delete(series[0, 25:137], 87))


@pytest.mark.parametrize(
    ("x", "options", "error", "message"),
    [
        (np.full((3, 1), 0.5), {}, AlignmentError, "holds 0.5 .* not codes"),
        (np.full((3, 1), np.nan), {}, AlignmentError, "holds nan"),
        (np.full((3, 1), -1), {}, InputError, "code -1"),
        (np.full((3, 1), 1024), {}, InputError, "code 1024"),
        (np.full((3, 1), 1), {"kind": "continuous"}, AlignmentError, "int64 but kind='continuous'"),
        (np.full((3, 1), np.inf), {"kind": "continuous"}, InputError, "inf at"),
        (np.full((3, 1), "a"), {}, InputError, "dtype"),
        (np.zeros((0, 1)), {}, InputError, "shape"),
        (np.ones((2, 1)), {}, AlignmentError, "3 source times for 2 samples"),
        (np.ones((3, 1)), {"method": "linear"}, InputError, "'linear': codes features take one of nearest"),
        (np.ones((3, 1)), {"method": "latent"}, InputError, "needs the codec"),
        (np.ones((3, 1)), {"source_times": [0, 2, 1]}, AlignmentError, "go from 2 to 1 s at index 2"),
        (np.ones((3, 1)), {"source_times": [0, 1, np.nan]}, AlignmentError, "hold nan"),
        (np.ones((3, 1)), {"target_times": [1, 1]}, AlignmentError, "must increase"),
        (np.ones((3, 1)), {"kind": "continuous", "averaging": 2.0}, InputError, "only for 'mean'"),
        (np.ones((3, 1)), {"kind": "continuous", "method": "mean", "target_times": [1]}, AlignmentError, "no length"),
        (np.ones((3, 1)), {"frame_rate": 75}, InputError, "frames_per_tr"),
        (np.ones((3, 1, 4)), {"frame_rate": 75, "target_times": [0, 0.5, 1.5]}, AlignmentError, "0.5 to 1 s apart"),
    ],
)
def test_what_cannot_be_resampled_is_refused_in_words(x, options, error, message):
    call = {"source_times": [0, 1, 2], "target_times": [0, 1], "kind": "codes", **options}
    with pytest.raises(error, match=message):
        resample_features(x, **call)


# --- align_all_modalities


def audio(n_trs=100, tr=1.5, film=None, seed=0, n_codebooks=2):
    """A codes file, and the series of frames it was made of."""
    grid = TRGrid(tr, n_trs, 75)
    series = np.random.default_rng(seed).integers(0, 1024, (n_codebooks, grid.n_frames), dtype=np.int32)
    g = group_with_spill(series, grid)
    variables = {
        "codes": (("tr", "codebook", "frame"), g.codes),
        "spill": (("tr", "codebook", "extra"), g.spill),
        "spill_mask": (("tr", "extra"), g.spill_mask),
    }
    about = {"kind": "codes", "desc": "encodec24k", "codebook_size": 1024, "source": "f.mp4", "source_sha256": "0"}
    about |= {"duration": 1.0, "settings": {"tr": tr}}
    return new_features(variables, grid, film_duration=film or float(grid.duration), **about), series


def envelope(n_trs=100, tr=1.5, film=None):
    """A continuous file whose value is the middle of its TR in seconds."""
    grid = TRGrid(tr, n_trs, 75)
    values = (grid.onset + tr / 2).astype(np.float32)[:, None]
    return new_features({"x": (("tr", "feature"), values)}, grid, film_duration=film or float(grid.duration),
                        kind="continuous")  # fmt: skip


def scan(n=100):
    return np.arange(n, dtype=np.float32)[:, None] + np.zeros((1, 3), np.float32)


def test_on_one_clock_from_the_start_nothing_changes():
    codes, _ = audio()
    aligned = align_all_modalities({"audio": codes, "envelope": envelope()}, scan(), tr=1.5)
    np.testing.assert_array_equal(aligned.features["audio"], codes.codes)
    np.testing.assert_array_equal(aligned.bold, scan())
    assert aligned.report.kept == 100
    assert aligned.report.reasons == ()


@pytest.mark.parametrize("offset", [-30, -1.5, 0, 1.5, 21, 60])
@pytest.mark.parametrize("lag", [0, 4.5])
def test_whole_trs_shift_by_index_exactly(offset, lag):
    codes, _ = audio(100)
    aligned = align_all_modalities(
        {"audio": codes}, scan(90), tr=1.5, stimulus_time_at_volume_0=offset, lag=lag, on_short_bold="trim"
    )
    shift = int((offset - lag) / 1.5)
    volumes = np.array([k for k in range(90) if 0 <= k + shift < 100])
    np.testing.assert_array_equal(aligned.volumes, volumes)
    np.testing.assert_array_equal(aligned.bold[:, 0], volumes)
    np.testing.assert_array_equal(aligned.source_trs["audio"], volumes + shift)
    np.testing.assert_array_equal(aligned.features["audio"], codes.codes.values[volumes + shift])
    assert (aligned.report.cut_start, aligned.report.cut_end) == (volumes[0], 89 - volumes[-1])


@settings(max_examples=25, deadline=None)
@given(frames=st.integers(-300, 900), tr=st.sampled_from([1.5, 2.0, 0.72, 1.49]))
def test_an_offset_of_whole_frames_moves_codes_without_changing_one(frames, tr):
    codes, series = audio(40, tr)
    aligned = align_all_modalities(
        {"audio": codes}, scan(40), tr=tr, stimulus_time_at_volume_0=Fraction(frames, 75), on_short_bold="trim"
    )
    width = TRGrid(tr, 1, 75).frames_per_tr
    for row, volume in enumerate(aligned.volumes):
        first = int(np.floor(Fraction(str(tr)) * int(volume) * 75 + frames + Fraction(1, 2)))
        np.testing.assert_array_equal(aligned.features["audio"][row], series[:, first : first + width])


@pytest.mark.parametrize("offset", [0.4, -0.7, 20.2])
def test_a_fractional_offset_of_a_continuous_feature_interpolates_in_time(offset):
    aligned = align_all_modalities({"x": envelope()}, scan(), tr=1.5, stimulus_time_at_volume_0=offset)
    np.testing.assert_allclose(aligned.features["x"][:, 0], aligned.volumes * 1.5 + offset + 0.75, atol=1e-4)
    assert "linear between TRs" in str(aligned.report)
    mean = align_all_modalities(
        {"x": envelope()}, scan(), tr=1.5, stimulus_time_at_volume_0=offset, methods={"x": "mean"}
    )
    np.testing.assert_allclose(mean.features["x"], aligned.features["x"], atol=1e-4)
    np.testing.assert_array_equal(mean.volumes, aligned.volumes)


def test_a_scan_that_began_20_s_into_the_stimulus_is_paired_with_second_20():
    """Volume 0 at 20 s of the sound: TR 2 s makes that 10 TRs; TR 1.5 s is a third of a TR more than 13."""
    aligned = align_all_modalities({"x": envelope(100, 2.0)}, scan(), tr=2.0, stimulus_time_at_volume_0=20)
    assert aligned.features["x"][0, 0] == 21.0
    assert aligned.report.cut_end == 10
    aligned = align_all_modalities({"x": envelope(100, 1.5)}, scan(), tr=1.5, stimulus_time_at_volume_0=20)
    assert aligned.features["x"][0, 0] == pytest.approx(20.75, abs=1e-4)
    assert aligned.source_trs["x"][0] == 13


def test_offsets_and_lags_by_name_and_no_drift_at_tr_1000():
    tr, n = 0.72, 1100
    features = {"a": envelope(n, tr), "b": envelope(n, tr)}
    aligned = align_all_modalities(features, scan(n), tr=tr, stimulus_time_at_volume_0={"a": 7.2}, lag={"b": 1.44})
    row = int(np.flatnonzero(aligned.volumes == 1000)[0])
    assert aligned.features["a"][row, 0] == pytest.approx(727.56, abs=1e-3)
    assert aligned.features["b"][row, 0] == pytest.approx(718.92, abs=1e-3)
    assert (aligned.report.cut_start, aligned.report.cut_end) == (2, 10)


def test_trs_that_are_padding_are_cut_from_all_modalities():
    codes, _ = audio(100, film=120.0)
    aligned = align_all_modalities({"audio": codes, "x": envelope(100)}, scan(), tr=1.5)
    assert aligned.report.kept == 80
    assert len(aligned.features["x"]) == len(aligned.features["audio"]) == len(aligned.bold) == 80
    assert any("padding" in reason and "20 volumes" in reason for reason in aligned.report.reasons)
    # A volume that reaches into padding by a fraction is not whole.
    assert align_all_modalities({"audio": codes}, scan(), tr=1.5, stimulus_time_at_volume_0=0.4).report.kept == 79


def test_a_hole_in_the_middle_is_left_out_not_closed_up():
    mask = np.ones(100, bool)
    mask[[0, 40, 41]] = False
    aligned = align_all_modalities({"x": envelope()}, scan(), tr=1.5, volume_mask=mask)
    assert aligned.report.holes == 2
    np.testing.assert_array_equal(aligned.bold[:, 0], np.flatnonzero(mask))
    np.testing.assert_allclose(aligned.features["x"][:, 0], np.flatnonzero(mask) * 1.5 + 0.75)


def test_bold_shorter_than_the_film_is_refused_with_both_lengths_and_the_remedy(caplog):
    said = "the BOLD has 90 volumes (135 s), x has 100 TRs (150 s): its last 15 s were not scanned"
    with pytest.raises(AlignmentError) as caught:
        align_all_modalities({"x": envelope(100), "y": envelope(100)}, scan(90), tr=1.5)
    assert str(caught.value).startswith(said)
    assert "check stimulus_time_at_volume_0" in str(caught.value)
    assert str(caught.value).count("on_short_bold 'trim'") == 1
    with caplog.at_level(logging.WARNING):
        aligned = align_all_modalities({"x": envelope(100)}, scan(90), tr=1.5, on_short_bold="trim")
    assert len(aligned.bold) == 90
    assert said in str(aligned.report)
    assert said in caplog.text


@pytest.mark.parametrize(("offset", "lag", "n_volumes"), [(0, 4.5, 100), (-1, 0, 100), (0, 0, 100), (1.5, 9, 99)])
def test_a_lag_or_less_than_one_tr_does_not_make_a_scan_short(offset, lag, n_volumes):
    """BOLD that lasts as long as the film leaves its last 4.5 s unpaired at a lag of 4.5 s: nobody's mistake."""
    aligned = align_all_modalities(
        {"x": envelope(100)}, scan(n_volumes), tr=1.5, stimulus_time_at_volume_0=offset, lag=lag
    )
    first = max(0, int(np.ceil((lag - offset) / 1.5)))
    assert aligned.volumes.tolist() == list(range(first, n_volumes))
    assert ("the lag leaves no volume for" in str(aligned.report)) == (lag > 0)


@pytest.mark.parametrize(("offset", "n_volumes"), [(0, 99), (-1.5, 100), (1.5, 98), (-1, 99)])
def test_one_tr_that_was_not_scanned_makes_a_scan_short_whatever_the_lag(offset, n_volumes):
    for lag in (0, 6, -6):
        with pytest.raises(AlignmentError, match="were not scanned"):
            align_all_modalities(
                {"x": envelope(100)}, scan(n_volumes), tr=1.5, stimulus_time_at_volume_0=offset, lag=lag
            )


def test_padding_does_not_make_a_scan_short():
    assert len(align_all_modalities({"x": envelope(100, film=60.0)}, scan(40), tr=1.5).bold) == 40


@pytest.mark.parametrize("tr", [2.0, 1.0])
def test_another_tr_is_an_error_unless_resampling_is_asked_for(tr):
    with pytest.raises(AlignmentError, match=f"TR 1.5 s, the BOLD {tr:g} s.*resample=True"):
        align_all_modalities({"x": envelope()}, scan(60), tr=tr)
    codes, series = audio(100)
    aligned = align_all_modalities({"a": codes, "x": envelope()}, scan(60), tr=tr, resample=True, on_short_bold="trim")
    np.testing.assert_array_equal(aligned.features["a"], group_codes_by_tr(series, tr)[:60])
    # The mean over a volume of TRs that hold their value; the ramp's own mean where TRs fall on volumes.
    held = [np.mean((np.arange(k * tr, (k + 1) * tr, 0.01) + 0.005) // 1.5 * 1.5 + 0.75) for k in range(60)]
    np.testing.assert_allclose(aligned.features["x"][:, 0], held, atol=0.01)


def test_mel_frames_shift_by_frames_and_leave_foreign_columns_empty():
    rate = Fraction(22_050, 512)
    grid = TRGrid(1.5, 20, rate)
    series = np.arange(1, grid.n_frames + 1, dtype=np.float32)
    columns, own = grid.columns(grid.max_frames_per_tr)
    table = np.where(own, series[np.minimum(columns, grid.n_frames - 1)], 0)[:, None, :]
    mel = new_features({"mel": (("tr", "mel", "frame"), table), "frame_mask": (("tr", "frame"), own)}, grid,
                       film_duration=30.0, kind="continuous")  # fmt: skip
    y = align_all_modalities({"mel": mel}, scan(20), tr=1.5, stimulus_time_at_volume_0=0.5).features["mel"]
    first = [int(np.floor((k * Fraction(3, 2) + Fraction(1, 2)) * rate + Fraction(1, 2))) for k in range(20)]
    for k, row in enumerate(y[:, 0]):
        count = first[k + 1] - first[k]
        np.testing.assert_array_equal(row[:count], series[first[k] : first[k + 1]])
        assert not row[count:].any()
    assert {first[k + 1] - first[k] for k in range(len(y))} == {64, 65}


def test_pictures_stay_bytes_unless_they_are_interpolated_and_other_variables_can_be_named():
    pixels = np.random.default_rng(3).integers(0, 256, (30, 4, 5, 3), dtype=np.uint8)
    light = pixels.mean(axis=(1, 2, 3), dtype=np.float32)
    variables = {"frames": (("tr", "row", "column", "rgb"), pixels), "luminance": (("tr",), light)}
    video = new_features(variables, TRGrid(1.5, 30, 24), film_duration=45.0, kind="continuous")
    aligned = align_all_modalities({"video": video, "light": video}, scan(30), tr=1.5, stimulus_time_at_volume_0=3,
                                   variables={"light": "luminance"})  # fmt: skip
    assert aligned.features["video"].dtype == np.uint8
    np.testing.assert_array_equal(aligned.features["video"], pixels[2:])
    np.testing.assert_array_equal(aligned.features["light"], light[2:])
    half = align_all_modalities({"video": video}, scan(30), tr=1.5, stimulus_time_at_volume_0=0.75).features["video"]
    np.testing.assert_allclose(half, (pixels[:-1] / 2 + pixels[1:] / 2), atol=1e-4)
    with pytest.raises(InputError, match="no variable 'motion'"):
        align_all_modalities({"v": video}, scan(30), tr=1.5, variables={"v": "motion"})


def test_files_and_labelled_bold_carry_their_own_clock(tmp_path):
    codes, _ = audio(30)
    path = save_features(codes, tmp_path / "film_desc-encodec24k_features.nc")
    bold = xr.DataArray(scan(30), dims=("tr", "voxel"), attrs={"tr": 1.5}, name="bold")
    aligned = align_all_modalities({"audio": path}, bold, stimulus_time_at_volume_0=3)
    np.testing.assert_array_equal(aligned.features["audio"], codes.codes[2:])
    assert (
        align_all_modalities({"audio": path}, bold.to_dataset(), stimulus_time_at_volume_0=3).report == aligned.report
    )
    with pytest.raises(AlignmentError, match=r"BOLD has TR 1.5 s, but tr is 2 s"):
        align_all_modalities({"audio": path}, bold, tr=2.0)
    two = bold.assign_coords(run=("tr", np.repeat([1, 2], 15)))
    with pytest.raises(AlignmentError, match="2 runs: align one at a time"):
        align_all_modalities({"audio": path}, two)


def test_a_memory_map_is_read_where_volumes_are_kept(tmp_path):
    np.save(tmp_path / "bold.npy", scan(100))
    bold = np.load(tmp_path / "bold.npy", mmap_mode="r")
    aligned = align_all_modalities({"x": envelope()}, bold, tr=1.5, stimulus_time_at_volume_0=3)
    assert isinstance(aligned.bold, np.memmap)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"stimulus_time_at_volume_0": 1000}, AlignmentError, "no volume is left"),
        ({"stimulus_time_at_volume_0": -1000}, AlignmentError, "no volume is left.*begins 1000 s after volume 0"),
        ({"stimulus_time_at_volume_0": float("nan")}, InputError, "stimulus_time_at_volume_0 of x is nan"),
        ({"stimulus_time_at_volume_0": {"y": 3}}, InputError, "names .'y'.: the modalities are x"),
        ({"tr": None}, InputError, "TR of the BOLD is unknown"),
        ({"tr": 0}, InputError, "TR is 0 s"),
        ({"features": {}}, InputError, "no features"),
        ({"features": {"x": envelope().drop_attrs()}}, InputError, "lacks tr, kind, variable"),
        ({"features": {"x": envelope().assign_attrs(kind="codes")}}, AlignmentError, "x holds 0.75 .* not codes"),
        ({"features": {"x": audio(100)[0].assign_attrs(kind="continuous")}}, AlignmentError, "int32 but kind"),
        ({"volume_mask": np.ones(99, bool)}, AlignmentError, "volume_mask"),
        ({"bold": np.zeros((0, 3))}, InputError, "bold has shape"),
        ({"on_short_bold": "stretch"}, InputError, "'error' or 'trim'"),
    ],
)
def test_what_cannot_be_aligned_is_refused_in_words(change, error, message):
    call = {"features": {"x": envelope()}, "bold": scan(), "tr": 1.5, **change}
    with pytest.raises(error, match=message):
        align_all_modalities(call.pop("features"), call.pop("bold"), tr=call.pop("tr"), **call)


def test_the_report_reads_as_text():
    text = str(
        align_all_modalities({"x": envelope(100, film=120.0)}, scan(95), tr=1.5, stimulus_time_at_volume_0=-3).report
    )
    assert "80 of 95 volumes of 1.5 s kept; cut 2 at the start, 13 at the end" in text
    assert "x begins 3 s after volume 0: 2 volumes cut" in text
