"""BOLD that was cut before it is aligned: its onsets say where it was in its run."""

import numpy as np
import pytest
import xarray as xr

from giblet.alignment import align_all_modalities, convolve_hrf, lag_scan, response_at
from giblet.errors import AlignmentError, InputError
from giblet.features import new_features
from giblet.timing import TRGrid

TR, N = 2.0, 120


def film(n=N, tr=TR, seed=0):
    x = np.random.default_rng(seed).standard_normal((n, 2)).astype(np.float32)
    return new_features({"x": (("tr", "feature"), x)}, TRGrid(tr, n, 75), film_duration=n * tr, kind="continuous")


def measured(n=N, tr=TR, **attrs):
    """BOLD whose value is its volume."""
    variables = {
        "bold": (("tr", "voxel"), np.arange(n, dtype=np.float32)[:, None] * np.ones((1, 3), np.float32)),
        "run": ("tr", np.ones(n, int)),
        "onset": ("tr", np.arange(n) * tr),
    }
    return xr.Dataset(variables, attrs={"tr": tr, **attrs})


@pytest.mark.parametrize("hrf", [None, "spm"])
@pytest.mark.parametrize("offset", [0.0, 8.0, 3.0, -6.0])
@pytest.mark.parametrize("first", [1, 9, 60])
def test_bold_that_begins_later_is_paired_with_what_was_on_then(first, offset, hrf):
    options = {"stimulus_time_at_volume_0": offset, "hrf": hrf, "on_short_bold": "trim"}
    whole = align_all_modalities({"x": film()}, measured(), **options)
    cut = align_all_modalities({"x": film()}, measured().isel(tr=slice(first, None)), **options)
    rows = whole.volumes >= first
    np.testing.assert_array_equal(cut.volumes, whole.volumes[rows])
    np.testing.assert_array_equal(cut.bold, whole.bold[rows])
    np.testing.assert_array_equal(cut.bold[:, 0], cut.volumes)
    np.testing.assert_array_equal(cut.features["x"], whole.features["x"].values[rows])
    np.testing.assert_array_equal(cut.features["x"]["onset"], whole.features["x"]["onset"].values[rows])
    assert cut.report.n_volumes == N - first
    assert f"begins with volume {first}, {first * TR:g} s into its run" in str(cut.report)


def test_an_array_without_onsets_begins_with_volume_0():
    late = measured().isel(tr=slice(9, None))
    bare = align_all_modalities({"x": film()}, late["bold"].values, tr=TR, on_short_bold="trim")
    assert bare.volumes[0] == 0
    named = late["bold"].assign_coords(onset=late["onset"])
    assert align_all_modalities({"x": film()}, named, tr=TR).volumes[0] == 9


@pytest.mark.parametrize("gone", [[40], [0, 7, 8, 9, 100], [*range(30, 60), 119]])
def test_volumes_that_were_taken_out_are_absent_and_not_closed_up_over(gone):
    kept = ~np.isin(np.arange(N), gone)
    taken_out, censored = measured().isel(tr=kept), measured().assign(sample_mask=("tr", kept))
    for on_holes in ("cut", "keep"):
        options = {"hrf": "glover", "on_holes": on_holes, "on_short_bold": "trim"}
        found, wanted = (align_all_modalities({"x": film()}, b, **options) for b in (taken_out, censored))
        n = len(found.bold)  # what a scan lacks at its end is no place to keep
        np.testing.assert_array_equal(found.volumes, wanted.volumes[:n])
        np.testing.assert_array_equal(found.bold, wanted.bold[:n])
        np.testing.assert_array_equal(found.bold_mask, wanted.bold_mask[:n])
        np.testing.assert_array_equal(found.features["x"], wanted.features["x"].values[:n])
        between = np.diff(np.flatnonzero(kept)[[0, -1]])[0] + 1 - kept.sum()
        assert f"lacks {between} volumes between" in str(found.report)


def test_own_masks_are_by_row_of_what_was_given():
    kept = np.arange(N) % 10 > 0
    mask = np.ones(kept.sum(), bool)
    mask[4] = False  # volume 5
    found = align_all_modalities({"x": film()}, measured().isel(tr=kept), volume_mask=mask)
    assert set(np.flatnonzero(kept)) - set(found.volumes) == {5}
    with pytest.raises(AlignmentError, match=r"expected bool \(108,\)"):
        align_all_modalities({"x": film()}, measured().isel(tr=kept), volume_mask=np.ones(N, bool))


def test_a_scan_cut_at_both_ends_says_what_it_is_of():
    with pytest.raises(AlignmentError, match="80 volumes between second 20 and 180 of its run, x has 120 TRs"):
        align_all_modalities({"x": film()}, measured().isel(tr=slice(10, 90)))


@pytest.mark.parametrize(
    "onset, message",
    [
        (np.arange(N) * TR + 0.7, r"onset 0 of the BOLD is 0\.7 s"),
        (np.arange(N) * 1.5, r"onset 1 of the BOLD is 1\.5 s, .* at TR 2 s"),
        (np.tile(np.arange(N // 2) * TR, 2), "go from 118 to 0 s at row 60"),
        (np.r_[0, np.arange(N - 1)] * TR, "go from 0 to 0 s at row 1"),
        (np.arange(N) * TR - 4, "is -4 s"),
    ],
)
def test_onsets_that_are_none_of_volumes_are_refused(onset, message):
    with pytest.raises(AlignmentError, match=message):
        align_all_modalities({"x": film()}, measured().assign(onset=("tr", onset)))


# --- lag_scan


def response(ref=0.0):
    return convolve_hrf(film()["x"].values[:, 0].astype(float), tr=TR, slice_time_ref=ref, kind="continuous")


def answering(late=0.0):
    """BOLD that follows :func:`response`, `late` seconds later."""
    x = film()["x"].values[:, 0].astype(float)
    y = response_at(x, np.arange(N + 1) * TR, np.maximum(np.arange(N) * TR - late, 0) + 1e-9 * np.arange(N), "glover")
    noise = np.random.default_rng(1).standard_normal((N, 3))
    return measured().assign(bold=(("tr", "voxel"), y[:, None] / y.std() + 0.2 * noise))


@pytest.mark.parametrize("late", [0.0, 6.0])
def test_a_dataset_is_scanned_as_its_bold_is(late):
    bold = answering(late)
    found = lag_scan(response(), bold, tr=TR, n_surrogates=19)
    plain = lag_scan(response(), bold["bold"].values, tr=TR, n_surrogates=19)
    assert found.mean_best_lag == late
    np.testing.assert_array_equal(found.r, plain.r)
    kept = np.random.default_rng(3).random(N) < 0.9
    censored = lag_scan(response(), bold.assign(sample_mask=("tr", kept)), tr=TR, n_surrogates=19)
    plain = lag_scan(response(), bold["bold"].values, tr=TR, n_surrogates=19, sample_mask=kept)
    np.testing.assert_array_equal(censored.r, plain.r)
    lacking = lag_scan(response(), bold.isel(tr=kept), tr=TR, n_surrogates=19)
    assert (lacking.mean_best_lag, lacking.n_volumes) == (late, plain.n_volumes)


def test_a_dataset_that_begins_later_is_scanned_where_it_was():
    bold = answering().isel(tr=slice(11, None))
    fine = np.arange(0, N * TR, 0.2)
    x = film()["x"].values[:, 0].astype(float)
    by_time = response_at(x, np.arange(N + 1) * TR, fine, "glover")
    for regressor, times in ((response(), None), (response()[11:], None), (by_time, fine)):
        assert lag_scan(regressor, bold, tr=TR, regressor_times=times, n_surrogates=19).mean_best_lag == 0
    aligned = align_all_modalities({"x": film()}, bold, hrf="glover")
    assert lag_scan(aligned.features["x"][5:, 0], answering(), tr=TR, n_surrogates=19).mean_best_lag == 0


def test_datasets_that_cannot_be_scanned_are_told_in_one_line():
    bold = answering()
    lacking = np.arange(N) != 50
    cases = [
        (
            response()[lacking],
            bold.isel(tr=lacking),
            AlignmentError,
            "rows 49 and 50 of the BOLD are volumes 49 and 51",
        ),
        (response(), film(), InputError, "expected a variable 'bold'"),
        (response(), bold.assign(run=("tr", np.arange(N) // 60)), AlignmentError, "2 runs: align one at a time"),
        (response()[:50], bold, AlignmentError, "50 TRs and the BOLD 120 volumes"),
        (response(), bold.assign_attrs(tr=1.0), AlignmentError, "the BOLD has TR 1 s, but tr is 2 s"),
    ]
    for regressor, given, error, message in cases:
        with pytest.raises(error, match=message) as caught:
            lag_scan(regressor, given, tr=TR, n_surrogates=19)
        assert "\n" not in str(caught.value)
