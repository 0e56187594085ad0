"""The HRF is nilearn's, causal, and knows where a run begins."""

import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from nilearn.glm.first_level import compute_regressor
from nilearn.glm.first_level.hemodynamic_models import orthogonalize
from scipy.stats import gamma

from giblet.alignment import HRFLayer, convolve_hrf, convolve_hrf_latents, response_at
from giblet.alignment.hrf import CategoriesWarning, warn_about_categories
from giblet.alignment.kernels import NAMES, tr_kernel
from giblet.errors import AlignmentError, InputError
from giblet.timing import TRGrid, group_with_spill

SINGLE = ("glover", "spm")


class LinearCodec:
    """One codebook whose latent is the code itself: what latent space does can be said in numbers."""

    def latents(self, codes):
        return codes.astype(np.float32)

    def requantize(self, latents):
        return np.clip(np.round(latents), 0, 1023).astype(np.int32)


def events(tr, n_trs, design, seed=0):
    """Amplitude of the stimulus in each TR."""
    rng = np.random.default_rng(seed)
    if design == "one":
        return np.eye(1, n_trs, 20)[0]
    if design == "blocks":
        return (np.arange(n_trs) * tr % 40 < 20).astype(float)
    return rng.random(n_trs) * (rng.random(n_trs) < 0.2)


def nilearn_regressor(x, tr, hrf, ref=0.0, **options):
    onset = np.arange(len(x)) * tr
    # nilearn finds the fine sample of an onset with searchsorted on a rounded grid, and is a sample late where
    # rounding fell below the onset; a microsecond earlier keeps it from that.
    condition = (onset - 1e-6, np.full(len(x), tr), x)
    return compute_regressor(condition, hrf, onset + ref * tr, **options)[0]


@pytest.mark.parametrize("design", ["one", "blocks", "random"])
@pytest.mark.parametrize("tr", [1.5, 0.72, 2.0])
@pytest.mark.parametrize("hrf", [n for n in NAMES if n != "fir"])
@pytest.mark.parametrize("ref", [0.0, 0.5])
def test_convolution_equals_nilearns_compute_regressor(design, tr, hrf, ref):
    x = events(tr, 150, design)
    ours = convolve_hrf(x, tr=tr, hrf=hrf, slice_time_ref=ref, kind="continuous").reshape(150, -1)
    theirs = nilearn_regressor(x, tr, hrf, ref)
    for own, oracle in zip(orthogonalize(ours.copy()).T, theirs.T, strict=True):
        assert np.corrcoef(own, oracle)[0, 1] >= 0.9999
        assert np.abs(own - oracle).max() <= 0.01 * np.abs(oracle).max()


@pytest.mark.parametrize("tr", [1.5, 2.0])
def test_fir_delays_in_seconds_equal_nilearns_in_scans(tr):
    x = events(tr, 150, "random")
    ours = convolve_hrf(x, tr=tr, hrf="fir", delays=[0, tr, 4 * tr], kind="continuous")
    np.testing.assert_allclose(ours, nilearn_regressor(x, tr, "fir", fir_delays=[0, 1, 4]), atol=1e-9)


def test_a_fractional_fir_delay_is_shared_by_the_two_volumes_around_it():
    x = np.eye(1, 8, 2)[0]
    np.testing.assert_allclose(
        convolve_hrf(x, tr=1.5, hrf="fir", delays=[2.0], kind="continuous")[:, 0], [0, 0, 0, 2 / 3, 1 / 3, 0, 0, 0]
    )


def glover_to_boxcars(x, tr, times):
    """scipy's integral of Glover's response to amounts that each last a TR, at any time: no grid."""
    since = times[:, None] - np.arange(len(x) + 1) * tr
    total = (gamma.cdf(since, 6 / 0.9, scale=0.9) - 0.48 * gamma.cdf(since, 12 / 0.9, scale=0.9)) / 0.52
    return (total[:, :-1] - total[:, 1:]) @ x


@pytest.mark.parametrize("tr", [0.8, 2.0, 3.0])
@pytest.mark.parametrize("ref", [0.0, 0.25, 0.48, 1.0])
def test_a_volume_is_the_analytic_response_at_the_moment_it_is_read(tr, ref):
    x = events(tr, 120, "random", seed=1)
    wanted = glover_to_boxcars(x, tr, (np.arange(120) + ref) * tr)
    plain = {"slice_time_ref": ref, "oversampling": 400}
    found = convolve_hrf(x, tr=tr, **plain, kind="continuous")
    np.testing.assert_allclose(found, wanted, atol=0.006 * wanted.max())
    layer = HRFLayer(tr=tr, **plain)(torch.as_tensor(x, dtype=torch.float32)[:, None])[:, 0]
    np.testing.assert_allclose(layer, wanted, atol=0.006 * wanted.max())
    if ref:
        assert np.abs(convolve_hrf(x, tr=tr, kind="continuous") - wanted).max() > 0.03 * wanted.max(), (
            "another moment shows something else"
        )


@pytest.mark.parametrize("ref", [0.25, 0.5, 1.0])
def test_fir_delays_are_counted_back_from_the_moment_a_volume_is_read(ref):
    """Against numpy's interpolation between the rows, which are as long as a TR."""
    x, tr, delays = events(2.0, 60, "random"), 2.0, [2.0, 3.3, 6.0]
    ours = convolve_hrf(x, tr=tr, hrf="fir", delays=delays, slice_time_ref=ref, kind="continuous")
    for column, delay in zip(ours.T, delays, strict=True):
        wanted = np.interp(np.arange(60) + ref - delay / tr, np.arange(-9, 60), np.r_[np.zeros(9), x])
        np.testing.assert_allclose(column, wanted, atol=1e-12)
    layer = HRFLayer(tr=tr, hrf="fir", delays=delays, slice_time_ref=ref)
    np.testing.assert_allclose(layer(torch.as_tensor(x, dtype=torch.float32)[:, None])[:, 0], ours, atol=1e-5)


@pytest.mark.parametrize("learnable", [False, True])
def test_a_layer_reads_one_response_at_several_moments(learnable):
    x = torch.as_tensor(events(3.0, 80, "random"), dtype=torch.float32)[:, None]
    both = HRFLayer(tr=3.0, slice_time_ref=[0.0, 0.48], learnable=learnable)
    for which, ref in enumerate((0.0, 0.48)):
        alone = HRFLayer(tr=3.0, slice_time_ref=ref, learnable=learnable)
        torch.testing.assert_close(both(x, which), alone(x))
        both.set_tr(1.2)
        alone.set_tr(1.2)
        torch.testing.assert_close(both(x, which), alone(x))
        both.set_tr(3.0)
    assert not torch.allclose(both(x, 0), both(x, 1), atol=0.01)
    assert len(list(both.parameters())) == int(learnable), "the five numbers are shared"
    with pytest.raises(InputError, match="slice_time_ref is empty"):
        HRFLayer(tr=3.0, slice_time_ref=[])


def labelled(x, volume, onset, **attrs):
    coords = {"volume": ("tr", np.asarray(volume)), "onset": ("tr", np.asarray(onset, float))}
    return xr.DataArray(x, dims=("tr", *"abc"[: x.ndim - 1]), coords=coords, attrs=attrs)


def test_a_response_goes_on_over_volumes_that_are_missing():
    """An impulse before a hole is seen after it as late as it is, not as late as rows are apart."""
    x = np.zeros(60)
    x[[20, 41]] = 10, 4
    whole = convolve_hrf(x, tr=1.5, kind="continuous")
    kept = np.setdiff1d(np.arange(60), [22, 23, 45])
    found = convolve_hrf(x[kept], tr=1.5, volumes=kept, kind="continuous")
    np.testing.assert_allclose(found, whole[kept], atol=1e-12)
    closed_up = convolve_hrf(x[kept], tr=1.5, kind="continuous")
    at = int(np.flatnonzero(kept == 24)[0])
    assert (found[at].round(2), closed_up[at].round(2)) == (5.06, 1.29)
    runs = np.repeat([1, 2], [30, len(kept) - 30])
    apart = convolve_hrf(x[kept], tr=1.5, run=runs, volumes=kept, kind="continuous")
    np.testing.assert_allclose(apart[:30], found[:30])
    np.testing.assert_allclose(
        apart[30:], convolve_hrf(np.where(np.arange(60) < kept[30], 0, x), tr=1.5, kind="continuous")[kept[30:]]
    )
    codes = np.where(np.arange(60) == 20, 1000, 0)[:, None]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CategoriesWarning)
        np.testing.assert_array_equal(
            convolve_hrf(codes[kept], kind="codes", volumes=kept), convolve_hrf(codes, kind="codes")[kept]
        )


def test_rows_that_are_no_neighbours_are_not_convolved_as_if_they_were():
    x = np.ones((6, 2))
    hole = labelled(x, [0, 1, 2, 5, 6, 7], np.array([0, 1, 2, 5, 6, 7]) * 1.5)
    with pytest.raises(AlignmentError, match=r"rows 2 and 3 of x are volumes 2 and 5.*hrf='glover'.*volumes=x.volume"):
        convolve_hrf(hole, kind="continuous")
    np.testing.assert_allclose(
        convolve_hrf(hole, volumes=hole.volume, kind="continuous"),
        convolve_hrf(x, volumes=hole.volume.values, kind="continuous"),
    )
    within = labelled(x, np.arange(6), np.arange(6) * 1.5 + 30)
    with pytest.raises(AlignmentError, match=r"begins 30 s into the stimulus.*reaches into the scan"):
        convolve_hrf(within, kind="continuous")
    whole = labelled(x, np.arange(4, 10), np.arange(6) * 1.5)  # the film began after four volumes
    np.testing.assert_allclose(convolve_hrf(whole, kind="continuous"), convolve_hrf(x, kind="continuous"))
    with pytest.raises(AlignmentError, match="convolved already, with 'spm'"):
        convolve_hrf(whole.assign_attrs(hrf="spm"), kind="continuous")
    codes = labelled(np.ones((6, 1, 112), np.int32), [0, 1, 2, 5, 6, 7], np.arange(6) * 1.5, kind="codes")
    with pytest.raises(AlignmentError, match=r"of the codes are volumes 2 and 5.*whole film"):
        convolve_hrf_latents(codes, LinearCodec())
    for volumes, message in (([0, 1, 2], "for each of 6 rows"), ([0, 1, 1, 2, 3, 4], "go from 1 to 1 at row 2")):
        with pytest.raises(InputError, match=message):
            convolve_hrf(x, volumes=volumes, kind="continuous")


@pytest.mark.parametrize("tr", [1.5, 0.72, 2.0])
@pytest.mark.parametrize("hrf", SINGLE)
def test_impulse_never_moves_bold_before_it_and_peaks_4_to_6_s_later(tr, hrf):
    x = np.zeros((60, 3, 4))
    x[20] = 1
    y = convolve_hrf(x, tr=tr, hrf=hrf, kind="continuous")
    assert y.shape == x.shape
    assert not y[:20].any()
    assert np.all(((y.argmax(axis=0) - 20) * tr >= 4) & ((y.argmax(axis=0) - 20) * tr <= 6))


@pytest.mark.parametrize(
    "mode", ["codes", "fir", "derivatives", "half", "latents", "latents by frame", "layer", "learnable layer", "fine"]
)
def test_no_mode_answers_before_the_impulse(mode):
    codes = np.full((40, 1, 112), 3, np.int32)
    codes[20] = 1000
    x, still = codes[:, :, 0].astype(np.float32), np.full((40, 1), 3, np.float32)
    grid = TRGrid(1.5, 40, 75)

    def run(codes, x):
        if mode == "codes":
            return convolve_hrf(codes, kind="codes")
        if mode == "fir":
            return convolve_hrf(x, hrf="fir", delays=[0, 1, 5], kind="continuous")
        if mode == "derivatives":
            return convolve_hrf(x, hrf="glover + derivative + dispersion", kind="continuous")
        if mode == "half":
            return convolve_hrf(x, slice_time_ref=0.5, kind="continuous")
        if mode.startswith("latents"):
            return convolve_hrf_latents(codes, LinearCodec(), clock="frame" if "frame" in mode else "tr")
        if mode == "fine":
            return response_at(x, np.arange(41) * 1.5, grid.onset)
        return HRFLayer(learnable=mode.startswith("learnable"))(torch.as_tensor(x)).detach().numpy()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CategoriesWarning)
        moved, base = run(codes, x), run(np.full_like(codes, 3), still)
    np.testing.assert_allclose(moved[:20], base[:20], atol=1e-12 if mode != "learnable layer" else 1e-9)
    assert np.abs(moved[21:] - base[21:]).max() > 1


def test_hrf_discrete():
    """By hand: half of this TR and a quarter of the one before, half to even; and one TR of code 1000 under Glover."""
    warn_about_categories.cache_clear()
    by_hand = np.array([10, 20, 511, 0, 1000, 1023])[:, None, None] * np.ones((1, 8, 112), np.int32)
    with pytest.warns(CategoriesWarning, match="511 of a codebook is not between"):
        y = convolve_hrf(by_hand, hrf=lambda tr, oversampling: np.array([0.5, 0.25]), kind="codes", oversampling=1)
    assert y.shape == (6, 8, 112)
    assert y.dtype == np.int32
    # 5; 10 + 2.5; 255.5 + 5; 127.75; 500; 511.5 + 250
    np.testing.assert_array_equal(y, np.array([5, 12, 260, 128, 500, 762])[:, None, None] + np.zeros_like(y))

    codes = np.zeros((40, 8, 112), np.int32)
    codes[20] = 1000
    y = convolve_hrf(codes, tr=1.5, hrf="glover", kind="codes")
    assert y.shape == (40, 8, 112)
    assert y.dtype == np.int32
    assert (y.min(), y.max()) == (0, 506)
    # The integral of Glover's two gamma densities over the TR before each onset (scipy), to the 30 ms of the fine grid.
    edge = np.arange(-1, 20) * 1.5
    total = gamma.cdf(edge, 6 / 0.9, scale=0.9) - 0.48 * gamma.cdf(edge, 12 / 0.9, scale=0.9)
    analytic = np.clip(1000 * np.diff(total) / 0.52, 0, 1023)
    assert np.abs(y[20:, 0, 0] - analytic).max() < 6
    assert y[20:29, 0, 0].tolist() == [0, 5, 129, 403, 506, 366, 142, 0, 0], "the undershoot is clipped at 0"
    assert (y == y[:, :1, :1]).all()


def test_codes_do_not_wrap_where_the_response_exceeds_the_codebook():
    doubled = lambda tr, oversampling: np.full(oversampling, 2 / oversampling)  # noqa: E731
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CategoriesWarning)
        y = convolve_hrf(np.full((10, 1), 1000), hrf=doubled, kind="codes")
    assert y[-1, 0] == 1023


def test_the_warning_about_categories_is_said_once():
    warn_about_categories.cache_clear()
    codes = np.ones((10, 1), np.int32)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        convolve_hrf(codes, kind="codes")
        convolve_hrf(codes, kind="codes")
    assert len([w for w in caught if w.category is CategoriesWarning]) == 1
    assert "convolve_hrf_latents" in str(caught[0].message)


@settings(max_examples=20, deadline=None)
@given(
    shift=st.integers(1, 30), tr=st.sampled_from([1.5, 0.72, 2.0]), hrf=st.sampled_from(SINGLE), seed=st.integers(0, 9)
)
def test_shifting_the_input_shifts_the_output(shift, tr, hrf, seed):
    x = np.random.default_rng(seed).standard_normal((120, 3))
    late = np.concatenate([np.zeros((shift, 3)), x])[:120]
    np.testing.assert_allclose(
        convolve_hrf(late, tr=tr, hrf=hrf, kind="continuous")[shift:],
        convolve_hrf(x, tr=tr, hrf=hrf, kind="continuous")[:-shift],
        atol=1e-12,
    )


def test_a_long_series_equals_numpys_convolution_across_block_edges():
    x = np.random.default_rng(1).standard_normal((1000, 2))
    kernel = tr_kernel("glover", tr=1.5)[:, 0]
    expected = np.stack([np.convolve(c, kernel)[:1000] for c in x.T], axis=1)
    np.testing.assert_allclose(convolve_hrf(x, kind="continuous"), expected, atol=1e-12)
    np.testing.assert_allclose(convolve_hrf(x.astype(np.float32), kind="continuous"), expected, atol=1e-5)
    assert convolve_hrf(x.astype(np.float32), kind="continuous").dtype == np.float32


@pytest.mark.parametrize("names", [["a", "b", "c"], [3, 1, 2]])
def test_no_response_crosses_from_one_run_into_the_next(names):
    x = np.random.default_rng(2).standard_normal((300, 2))
    y = convolve_hrf(x, run=np.repeat(names, [140, 30, 130]), kind="continuous")
    for part in (slice(0, 140), slice(140, 170), slice(170, 300)):
        np.testing.assert_allclose(y[part], convolve_hrf(x[part], kind="continuous"), atol=1e-13)
    codes = np.random.default_rng(3).integers(0, 1024, (12, 2, 112))
    for clock in ("tr", "frame"):
        both = convolve_hrf_latents(codes, LinearCodec(), clock=clock, run=np.repeat([1, 2], [5, 7]))
        np.testing.assert_array_equal(both[5:], convolve_hrf_latents(codes[5:], LinearCodec(), clock=clock))


def test_a_lasting_stimulus_converges_to_its_own_value():
    for hrf in SINGLE:
        assert convolve_hrf(np.full(60, 7.0), tr=1.5, hrf=hrf, kind="continuous")[-1] == pytest.approx(7, abs=1e-9)


def test_latents_by_tr_and_by_frame_are_the_convolution_of_latents():
    grid = TRGrid(1.5, 30, 75)
    series = np.random.default_rng(4).integers(0, 1024, (1, grid.n_frames))
    grouped = group_with_spill(series, grid)
    by_tr = convolve_hrf_latents(grouped.codes, LinearCodec())
    expected = np.clip(np.round(convolve_hrf(grouped.codes.astype(np.float32), kind="continuous")), 0, 1023)
    np.testing.assert_array_equal(by_tr, expected)
    assert by_tr.dtype == np.int32
    later = convolve_hrf_latents(grouped.codes, LinearCodec(), slice_time_ref=0.5)
    at_half = np.clip(
        np.round(convolve_hrf(grouped.codes.astype(np.float32), slice_time_ref=0.5, kind="continuous")), 0, 1023
    )
    np.testing.assert_array_equal(later, at_half)
    with pytest.raises(InputError, match=r"slice_time_ref is 0.5 with clock='frame'"):
        convolve_hrf_latents(grouped.codes, LinearCodec(), clock="frame", slice_time_ref=0.5)
    by_frame = convolve_hrf_latents(grouped.codes, LinearCodec(), clock="frame", spill=grouped.spill)
    smooth = response_at(series[0].astype(float), np.arange(grid.n_frames + 1) / 75, np.arange(grid.n_frames) / 75)
    oracle = group_with_spill(np.clip(np.round(smooth), 0, 1023)[None], grid).codes
    # The grids of the HRF differ, 0.3 ms here and 30 ms there: a thirtieth of a second of a response over seconds.
    assert np.abs(by_frame - oracle).max() <= 10
    assert np.corrcoef(by_frame.ravel(), oracle.ravel())[0, 1] > 0.9999


def test_a_feature_on_a_finer_clock_gives_what_its_events_give_in_nilearn():
    rng = np.random.default_rng(5)
    onset = np.sort(rng.uniform(3, 250, 80))
    length = np.minimum(rng.uniform(0.1, 0.5, 80), np.diff(onset, append=300) * 0.9)
    edges = np.stack([onset, onset + length], axis=1).ravel()
    x = np.zeros(159)
    x[::2] = rng.random(80)
    times = np.arange(200) * 1.5
    theirs = compute_regressor((onset, length, x[::2]), "glover", times, oversampling=200)[0][:, 0]
    ours = response_at(x, edges, times, oversampling=200)
    assert np.corrcoef(ours, theirs)[0, 1] >= 0.9999
    assert np.abs(ours - theirs).max() <= 0.01 * theirs.max()


@pytest.mark.parametrize("hrf", NAMES)
def test_on_whole_trs_response_at_is_convolve_hrf(hrf):
    x = np.random.default_rng(6).standard_normal((90, 2))
    if hrf == "fir":
        with pytest.raises(InputError, match="defined by TR"):
            response_at(x, np.arange(91) * 1.5, np.arange(90) * 1.5, hrf)
        return
    y = response_at(x, np.arange(91) * 1.5, np.arange(90) * 1.5, hrf)
    np.testing.assert_allclose(y, convolve_hrf(x, tr=1.5, hrf=hrf, kind="continuous"), atol=1e-12)


@pytest.mark.parametrize("tr", [1.5, 0.72, 2.0])
@pytest.mark.parametrize("options", [{}, {"learnable": True}, {"hrf": "spm", "learnable": True, "slice_time_ref": 0.5},
                                     {"hrf": "glover + derivative"}, {"hrf": "fir", "delays": [3, 4.5]}])  # fmt: skip
def test_layer_equals_the_numpy_convolution(tr, options):
    x = np.random.default_rng(7).standard_normal((2, 80, 5)).astype(np.float32)
    layer = HRFLayer(tr=tr, **options)
    plain = {k: v for k, v in options.items() if k != "learnable"}
    expected = np.stack([convolve_hrf(b.astype(np.float64), tr=tr, **plain, kind="continuous") for b in x])
    y = layer(torch.as_tensor(x)).detach().numpy()
    np.testing.assert_allclose(y, expected, atol=1e-5)
    np.testing.assert_allclose(layer(torch.as_tensor(x[0])).detach().numpy(), expected[0], atol=1e-5)
    layer.set_tr(1.1)
    moved = layer(torch.as_tensor(x)).detach().numpy()
    np.testing.assert_allclose(
        moved, np.stack([convolve_hrf(b, tr=1.1, **plain, kind="continuous") for b in x]), atol=1e-5
    )


def test_gradients_flow_to_the_features_only_from_their_future():
    x = torch.zeros(40, 2, requires_grad=True)
    HRFLayer(tr=1.5)(x)[20].sum().backward()
    assert not x.grad[21:].any()
    assert x.grad[14:19].abs().min() > 0


def test_a_learnable_hrf_finds_a_response_that_is_a_second_late():
    x = torch.as_tensor(events(1.5, 200, "random"), dtype=torch.float32)[:, None]
    target = HRFLayer(tr=1.5, learnable=True)
    with torch.no_grad():
        target.log_parameters[0] = np.log(7.0)
        wanted = target(x)
    layer = HRFLayer(tr=1.5, learnable=True)
    optimiser = torch.optim.Adam(layer.parameters(), lr=0.02)
    for _ in range(150):
        optimiser.zero_grad()
        loss = ((layer(x) - wanted) ** 2).mean()
        loss.backward()
        assert all(torch.isfinite(p.grad).all() for p in layer.parameters())
        optimiser.step()
    assert layer.parameters_in_seconds["peak_delay"] == pytest.approx(7, abs=0.3)
    again = HRFLayer(tr=1.5, learnable=True)
    again.load_state_dict(layer.state_dict())
    torch.testing.assert_close(again(x), layer(x))


def test_the_package_does_not_import_torch_or_nilearn_before_they_are_used():
    check = (
        "import sys, giblet.alignment as a; assert not {'torch', 'nilearn'} & set(sys.modules); "
        "a.HRFLayer; assert 'torch' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", check], check=True)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"tr": 0}, InputError, "TR is 0 s"),
        ({"hrf": "canonical"}, InputError, "hrf is 'canonical'.*'glover'"),
        ({"hrf": "fir"}, InputError, "delays=None"),
        ({"hrf": "fir", "delays": [-1.5]}, InputError, "does not look ahead"),
        ({"hrf": "fir", "delays": [3, 0.5], "slice_time_ref": 0.5}, InputError, "0.5 s is shorter than the 0.75 s"),
        ({"delays": [3]}, InputError, "belong to hrf='fir'"),
        ({"slice_time_ref": 1.5}, InputError, "slice_time_ref is 1.5"),
        ({"oversampling": 0}, InputError, "oversampling is 0"),
        ({"hrf": lambda tr, o: np.zeros((3, 3))}, InputError, r"returned shape \(3, 3\)"),
        ({"kind": "discrete"}, InputError, "kind is 'discrete'"),
        ({"kind": "codes"}, AlignmentError, "holds 0.5 at .* not codes"),
        ({"run": [0] * 10 + [1] * 5 + [0] * 5}, InputError, "neighbours"),
        ({"run": [0] * 19}, InputError, "one label per volume .20.,"),
    ],
)
def test_what_cannot_be_convolved_is_refused_in_words(options, error, message):
    with pytest.raises(error, match=message):
        convolve_hrf(np.full((20, 2), 0.5), **{"kind": "continuous", **options})


def test_codes_as_continuous_and_the_reverse_are_refused():
    with pytest.raises(AlignmentError, match=r"int64 but kind='continuous'.*astype"):
        convolve_hrf(np.ones((20, 2), np.int64), kind="continuous")
    codes = xr.DataArray(np.ones((20, 2), np.float32), dims=("tr", "c"), attrs={"kind": "codes"})
    with pytest.raises(AlignmentError, match="is marked as 'codes'"):
        convolve_hrf(codes, kind="continuous")
    with pytest.raises(InputError, match=r"code 1024 at \(3, 1\), outside \[0, 1023\]"):
        bad = np.zeros((20, 2), np.int32)
        bad[3, 1] = 1024
        convolve_hrf(bad, kind="codes")
    with pytest.raises(InputError, match=r"nan at \(17, 1\)"):
        gap = np.zeros((20, 2))
        gap[17, 1] = np.nan
        convolve_hrf(gap, kind="continuous")
    with pytest.raises(InputError, match="several responses"):
        convolve_hrf(np.ones((20, 2), np.int32), hrf="fir", delays=[3], kind="codes")
    with pytest.raises(InputError, match="cannot learn"):
        HRFLayer(hrf="fir", delays=[3], learnable=True)
