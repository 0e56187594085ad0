"""Ridge on a scan that says its own clock: against scikit-learn's, nilearn's regressors and simulated truth."""

import numpy as np
import pytest
import xarray as xr
from nilearn.glm.first_level import compute_regressor
from scipy.stats import gamma, pearsonr
from sklearn.linear_model import Ridge

from giblet.alignment import align_all_modalities, convolve_hrf
from giblet.data.simulate import simulate_bold
from giblet.data.splits import make_splits
from giblet.encoding import BlockedFolds, EncodingModel, fit_ridge
from giblet.errors import AlignmentError, InputError
from giblet.evaluation import encoding
from giblet.evaluation.encoding import score_encoding, voxelwise_r
from giblet.features import new_features
from giblet.statistics.estimates import ScoredTRs
from giblet.timing import TRGrid

N, TR = 400, 1.5


@pytest.fixture(scope="module")
def features():
    return np.random.default_rng(0).standard_normal((N, 6))


@pytest.fixture(scope="module")
def simulation(features):
    return simulate_bold(features, tr=TR, n_voxels=12, snr=1.0)


@pytest.fixture(scope="module")
def splits():
    return make_splits(N, TR)


def test_ridge_finds_what_a_linear_simulation_allows(features, simulation, splits):
    fit = fit_ridge(features, simulation.bold, splits.train, TR)
    found = voxelwise_r(simulation.bold[splits.test], fit.predicted[splits.test])
    best = voxelwise_r(simulation.bold[splits.test], simulation.truth.signal.values[splits.test])
    assert found.mean > 0.95 * best.mean > 0.5
    truth = voxelwise_r(simulation.truth.signal.values[splits.test], fit.predicted[splits.test])
    assert truth.mean > 0.97
    assert fit.at_the_edge < 4


@pytest.mark.parametrize("n_features", [6, 300])  # fewer and more than training TRs: two solvers
def test_ridge_is_scikit_learns_at_the_penalty_it_chose(splits, n_features):
    rng = np.random.default_rng(1)
    x = rng.standard_normal((N, n_features))
    bold = simulate_bold(x[:, :3], tr=TR, n_voxels=4).bold + 100
    train = splits.train[:250]
    fit = fit_ridge(x, bold, train, TR)
    z = (x - x[train].mean(0)) / x[train].std(0)
    z = np.stack(
        [compute_regressor(np.stack([np.arange(N) * TR, np.full(N, TR), column]), "glover", np.arange(N) * TR)[0][:, 0]
         for column in z.T], axis=1,
    )  # fmt: skip
    z = (z - z[train].mean(0)) / z[train].std(0)
    for voxel in range(4):
        oracle = Ridge(alpha=fit.alphas[voxel], fit_intercept=False).fit(
            z[train], bold[train, voxel] - bold[train, voxel].mean()
        )
        expected = oracle.predict(z) + bold[train, voxel].mean()
        assert np.abs(expected - fit.predicted[:, voxel]).max() < 0.02 * expected.std()


def test_it_is_an_encoding_model_with_the_levels_of_the_runs(features, simulation):
    run = np.repeat([1, 2, 3, 4], N // 4)
    bold, train = simulation.bold + 30.0 * run[:, None], np.r_[0:80, 120:200, 200:290]
    fit = fit_ridge(features, bold, train, TR, run=run)
    model = EncodingModel(cv=BlockedFolds(5, tr=TR), tr=TR, hrf="glover").fit(features, bold, run=run, train=train)
    np.testing.assert_array_equal(fit.alphas, model.best_alphas_)
    np.testing.assert_array_equal(fit.cv_r2, model.cv_scores_)
    theirs = model.predict(features, run=run)
    for label in (1, 2, 3):
        own = np.intersect1d(train, np.flatnonzero(run == label))
        np.testing.assert_allclose(fit.predicted[own].mean(0), bold[own].mean(0), atol=1e-9)
        np.testing.assert_allclose(np.diff(fit.predicted[own], axis=0), np.diff(theirs[own], axis=0), atol=1e-9)
    levels = [bold[np.intersect1d(train, np.flatnonzero(run == label))].mean(0) for label in (1, 2, 3)]
    np.testing.assert_allclose(fit.predicted[run == 4].mean(0), np.mean(levels, axis=0), atol=1e-9)
    assert encoding.fit_ridge is fit_ridge


def test_cv_r2_is_that_of_ridges_fitted_fold_by_fold(features, simulation, splits):
    fit = fit_ridge(features, simulation.bold, splits.train, TR)
    x = convolve_hrf(features - features[splits.train].mean(0), tr=TR, kind="continuous")[splits.train]
    x, y = x / x.std(0), simulation.bold[splits.train].astype(float)
    folds = BlockedFolds(5, tr=TR).of_rows(splits.train, np.ones(N))
    for voxel in range(12):
        ridge = Ridge(alpha=fit.alphas[voxel])
        scores = [ridge.fit(x[a], y[a, voxel]).score(x[b], y[b, voxel]) for a, b in folds]
        assert fit.cv_r2[voxel] == pytest.approx(np.mean(scores), abs=1e-8)


def test_only_training_trs_change_the_fit(features, simulation, splits):
    bold = simulation.bold.copy()
    clean = fit_ridge(features, bold, splits.train, TR)
    bold[np.setdiff1d(np.arange(N), splits.train)] = 1e6
    poisoned = fit_ridge(features, bold, splits.train, TR)
    assert np.array_equal(clean.predicted, poisoned.predicted)
    later = features.copy()
    later[splits.train[-1] + 1 :] = 1e6
    assert np.array_equal(clean.alphas, fit_ridge(later, simulation.bold, splits.train, TR).alphas)


def test_training_trs_may_be_a_mask(features, simulation, splits):
    mask = np.isin(np.arange(N), splits.train)
    fits = [fit_ridge(features, simulation.bold, train, TR).predicted for train in (splits.train, mask)]
    assert np.array_equal(*fits)
    with pytest.raises(InputError, match="float64: some of the 400 rows"):
        fit_ridge(features, simulation.bold, splits.train.astype(float), TR)
    with pytest.raises(InputError, match=r"shape \(0,\)"):
        fit_ridge(features, simulation.bold, splits.train, TR, sample_mask=~mask)


def test_fir_finds_a_response_that_comes_late(features, splits):
    bold = simulate_bold(features, tr=TR, n_voxels=12, snr=4.0, lag=3.0).bold
    r = {
        hrf: voxelwise_r(bold[splits.test], fit_ridge(features, bold, splits.train, TR, hrf=hrf).predicted[splits.test])
        for hrf in ("glover", "fir")
    }
    assert r["fir"].mean > r["glover"].mean + 0.1


def test_nothing_is_convolved_across_runs(features, splits):
    run = np.repeat([1, 2], N // 2)
    bold = simulate_bold(features, tr=TR, n_voxels=3, run_lengths=[N // 2, N // 2]).bold
    moved = features.copy()
    moved[: N // 2] = np.random.default_rng(3).permutation(moved[: N // 2])
    train = np.arange(N // 2, N)
    fits = [fit_ridge(x, bold, train, TR, run=run).predicted[train] for x in (features, moved)]
    assert np.array_equal(*fits)


def test_noise_is_not_predicted(features, splits):
    bold = simulate_bold(features, tr=TR, n_voxels=40, snr=0.0).bold
    fit = fit_ridge(features, bold, splits.train, TR)
    score = score_encoding(bold[splits.test], fit.predicted[splits.test], ScoredTRs.of(len(splits.test), TR))
    assert abs(score.mean.value) < 0.15


def test_a_baseline_that_differs_between_runs_teaches_nothing(features, simulation):
    """At 189995b r fell from .89 to .63 with baselines of 2 %."""
    run = np.repeat(np.arange(1, 5), N // 4)
    baseline = 100 * np.random.default_rng(4).standard_normal((4, 12)).repeat(N // 4, axis=0)
    train, test = np.flatnonzero(run < 4), run == 4
    plain, moved = (fit_ridge(features, simulation.bold + level, train, TR, run=run) for level in (0, baseline))
    np.testing.assert_allclose(moved.alphas, plain.alphas)
    r = [voxelwise_r(simulation.bold[test], fit.predicted[test]).r for fit in (plain, moved)]
    np.testing.assert_allclose(r[1], r[0], atol=1e-6)
    off = fit_ridge(features, simulation.bold + baseline, train, TR)
    assert voxelwise_r(simulation.bold[test], off.predicted[test]).mean < np.mean(r[0]) - 0.05


def test_cv_r2_is_r2_whatever_the_unit_and_near_that_of_held_out_trs(features, simulation, splits):
    fits = [fit_ridge(features, scale * simulation.bold, splits.train, TR) for scale in (1, 1000)]
    np.testing.assert_allclose(fits[0].cv_r2, fits[1].cv_r2, atol=1e-4)
    y, yhat = simulation.bold[splits.test], fits[0].predicted[splits.test]
    held_out = 1 - ((y - yhat) ** 2).sum(axis=0) / ((y - y.mean(axis=0)) ** 2).sum(axis=0)
    assert np.mean(fits[0].cv_r2) == pytest.approx(np.mean(held_out), abs=0.15)


def test_penalties_at_the_edge_are_those_of_the_grid_that_was_given(features, splits):
    noise = simulate_bold(features, tr=TR, n_voxels=40, snr=0.0).bold
    wide = fit_ridge(features, noise, splits.train, TR)
    assert wide.at_the_edge > 10
    narrow = fit_ridge(features, simulate_bold(features, tr=TR, n_voxels=40, snr=1.0).bold, splits.train, TR,
                       alphas=[1e5, 1e6])  # fmt: skip
    assert narrow.at_the_edge == 40


def test_small_predictions_in_raw_units_keep_their_correlation(features, splits):
    """At 189995b they were float32 with a mean of 1e4 added: constant, and left out of the mean r."""
    weak = simulate_bold(features, tr=TR, n_voxels=40, snr=0.05, seed=3).bold.astype(float)
    raw, plain = (fit_ridge(features, 1e7 + weak, splits.train, TR), fit_ridge(features, weak, splits.train, TR))
    test = splits.test
    found = voxelwise_r((1e7 + weak)[test], raw.predicted[test])
    assert found.defined.all()
    np.testing.assert_allclose(found.r, voxelwise_r(weak[test], plain.predicted[test]).r, atol=1e-3)


def test_features_constant_in_training_do_not_change_predictions(features, simulation, splits):
    """A feature whose last bit alone changes in the training part, and a voxel that is dead there."""
    odd, bold = np.full((N, 1), 900.0), simulation.bold.copy()
    odd[splits.train[::2]] = np.nextafter(np.float32(900), np.float32(901))
    odd[splits.test] = -5000 + np.arange(len(splits.test))[:, None]
    bold[: splits.test[0], 3], bold[splits.test, 3] = 7, 1000 + np.arange(len(splits.test))
    plain = fit_ridge(features, simulation.bold, splits.train, TR)
    fit = fit_ridge(np.hstack([features, odd]), bold, splits.train, TR)
    assert fit.n_features == plain.n_features
    others = np.arange(12) != 3
    np.testing.assert_allclose(fit.predicted[:, others], plain.predicted[:, others], rtol=1e-5, atol=1e-5)
    found = voxelwise_r(bold[splits.test], fit.predicted[splits.test])
    assert found.constant.tolist() == (~others).tolist()
    assert (fit.predicted[:, 3] == 7).all() and np.isnan([fit.cv_r2[3], fit.alphas[3]]).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": np.zeros((N, 2))}, "all 2 features are constant"),
        ({"features": np.zeros((N, 2), int)}, "codes"),
        ({"hrf": "glover", "delays": [3.0]}, "delays are given and hrf is 'glover'"),
        ({"train": np.arange(6)}, "folds"),
        ({"train": np.array([N])}, "names row 400: some of the 400 rows"),
        ({"train": np.array([-1])}, "names row -1"),
        ({"train": np.array([], int)}, "some of the 400 rows"),
        ({"train": np.arange(50)}, "leave"),
        ({"bold": np.full((N, 2), np.nan)}, "NaN"),
    ],
)
def test_data_that_cannot_be_fitted_are_refused(features, simulation, splits, change, message):
    given = {"features": features, "bold": simulation.bold, "train": splits.train, **change}
    with pytest.raises(InputError, match=message):
        fit_ridge(tr=TR, **given)
    with pytest.raises(AlignmentError, match="has 399 rows and the BOLD 400"):
        fit_ridge(features[1:], simulation.bold, splits.train, TR)


def test_the_hrf_of_the_fit_is_causal(features, simulation):
    train = np.arange(300)
    before = fit_ridge(features, simulation.bold, train, TR).predicted
    changed = features.copy()
    changed[350:] += 5
    after = fit_ridge(changed, simulation.bold, train, TR).predicted
    assert np.array_equal(before[:351], after[:351])
    assert not np.array_equal(before[351:], after[351:])


@pytest.mark.parametrize(("tr", "ref"), [(3.0, 0.48), (2.4, 0.8)])
def test_ridge_reads_features_at_the_moment_that_slices_were_brought_to(tr, ref):
    """BOLD is scipy's response to boxcars, read at that moment; at any other the fit is worse."""
    rng = np.random.default_rng(3)
    x = rng.standard_normal((300, 6))
    since = (np.arange(300)[:, None] + ref - np.arange(301)) * tr
    total = gamma.cdf(since, 6 / 0.9, scale=0.9) - 0.48 * gamma.cdf(since, 12 / 0.9, scale=0.9)
    signal = (total[:, :-1] - total[:, 1:]) @ x @ rng.standard_normal((6, 12))
    bold = signal / signal.std(0) + 0.5 * rng.standard_normal(signal.shape)
    train, test = np.arange(210), np.arange(240, 300)
    r = {}
    for taken in (0.0, ref - 0.2, ref, 1.0):
        fit = fit_ridge(x, bold, train, tr, slice_time_ref=taken)
        r[taken] = voxelwise_r(bold[test], fit.predicted[test]).mean
    assert max(r, key=lambda taken: r[taken]) == ref
    assert r[ref] > r[0.0] + 0.05
    by_fir = fit_ridge(x, bold, train, tr, hrf="fir", delays=[3, 4.5, 6, 7.5, 9, 12, 15], slice_time_ref=ref)
    assert voxelwise_r(bold[test], by_fir.predicted[test]).mean > 0.75


def test_fir_by_default_does_not_look_into_the_next_tr(features, simulation, splits):
    """At a TR of 4 s, read at its end, delays below 4 s would."""
    fit = fit_ridge(features, simulation.bold, splits.train[:250], 4.0, hrf="fir", slice_time_ref=1.0)
    assert fit.n_features == 6 * 4  # 4.5, 6, 7.5, 9 s
    changed = features.copy()
    changed[300:] += 5
    after = fit_ridge(changed, simulation.bold, splits.train[:250], 4.0, hrf="fir", slice_time_ref=1.0)
    assert np.array_equal(fit.predicted[:300], after.predicted[:300])


def test_censored_volumes_are_not_learned_from_and_what_was_on_in_them_is(features, simulation, splits):
    kept = np.random.default_rng(2).random(N) < 0.8
    fits = [
        fit_ridge(features, np.where(kept[:, None], simulation.bold, nonsense), splits.train, TR, sample_mask=kept)
        for nonsense in (np.nan, 1e6)
    ]
    assert np.array_equal(fits[0].predicted, fits[1].predicted)
    chosen = fit_ridge(features, simulation.bold, splits.train[kept[splits.train]], TR)
    assert np.array_equal(fits[0].predicted, chosen.predicted)
    with pytest.raises(InputError, match="NaN or infinity in"):
        fit_ridge(features, np.where(kept[:, None], simulation.bold, np.nan), splits.train, TR)
    with pytest.raises(InputError, match=r"sample_mask is float64"):
        fit_ridge(features, simulation.bold, splits.train, TR, sample_mask=kept.astype(float))


def test_rows_with_volumes_missing_between_them_are_not_convolved_as_neighbours(features, simulation):
    film = new_features({"x": (("tr", "f"), features)}, TRGrid(TR, N, 75), film_duration=N * TR, kind="continuous")
    mask = ~np.isin(np.arange(N), np.arange(50, 60))
    options = {"volume_mask": mask, "stimulus_time_at_volume_0": 30.0, "on_short_bold": "trim"}
    cut = align_all_modalities({"x": film}, simulation.bold, tr=TR, **options)
    train = np.arange(300)
    with pytest.raises(AlignmentError, match="of features are volumes 49 and 60"):
        fit_ridge(cut.features["x"], cut.bold, train, TR)
    whole = align_all_modalities({"x": film}, simulation.bold, tr=TR, **options, hrf="glover")
    with pytest.raises(AlignmentError, match="hrf=None"):
        fit_ridge(whole.features["x"], cut.bold, train, TR)
    fit = fit_ridge(whole.features["x"], whole.bold, train, TR, hrf=None)
    z = convolve_hrf(features, tr=TR, kind="continuous")[whole.volumes + 20]
    plain = fit_ridge(z, whole.bold, train, TR, hrf=None)
    np.testing.assert_allclose(fit.predicted, plain.predicted, atol=1e-4)
    counted = fit_ridge(cut.features["x"], cut.bold, train, TR, volumes=cut.volumes)
    closed_up = fit_ridge(cut.features["x"].values, cut.bold, train, TR)
    assert not np.allclose(counted.predicted, closed_up.predicted)
    with pytest.raises(InputError, match="band 'features' holds nan"):
        fit_ridge(np.where(np.arange(N)[:, None] == 7, np.nan, features), simulation.bold, train, TR, hrf=None)


@pytest.mark.parametrize("tr, ref", [(3.0, 0.48), (2.0, 0.75)])
def test_ridge_reads_the_response_when_the_scan_says_it_did(tr, ref):
    """Slice timing goes from the BOLD through alignment to the ridge; the truth is analytic."""
    rng = np.random.default_rng(3)
    x = rng.standard_normal((200, 4)).astype(np.float32)
    since = (np.arange(200)[:, None] + ref - np.arange(201)) * tr
    total = gamma.cdf(since, 6 / 0.9, scale=0.9) - 0.48 * gamma.cdf(since, 12 / 0.9, scale=0.9)
    y = ((total[:, :-1] - total[:, 1:]) @ x).sum(axis=1, keepdims=True)
    film = new_features({"x": (("tr", "f"), x)}, TRGrid(tr, 200, 75), film_duration=200 * tr, kind="continuous")
    bold = xr.Dataset({"bold": (("tr", "voxel"), y)}, attrs={"tr": tr, "slice_time_ref": ref})
    train, test = np.arange(140), np.arange(150, 200)
    aligned = align_all_modalities({"x": film}, bold)
    assert aligned.slice_time_ref == ref

    def r(fit):
        return pearsonr(fit.predicted[test, 0], y[test, 0]).statistic

    carried = fit_ridge(aligned.features["x"], aligned.bold, train, tr)
    assert r(carried) > 0.999 > r(fit_ridge(x, y, train, tr)) + 0.02
    given = fit_ridge(x, y, train, tr, slice_time_ref=ref)
    np.testing.assert_allclose(carried.predicted, given.predicted)
    np.testing.assert_allclose(fit_ridge(x, bold, train, tr).predicted, given.predicted)
    convolved = align_all_modalities({"x": film}, bold, hrf="glover").features["x"]
    assert r(fit_ridge(convolved, aligned.bold, train, tr, hrf=None)) > 0.999
    said = align_all_modalities({"x": film}, y, tr=tr, slice_time_ref=ref)
    np.testing.assert_allclose(fit_ridge(said.features["x"], y, train, tr).predicted, given.predicted)
    with pytest.raises(InputError, match=r"slice_time_ref differs \(features .*, the BOLD 0.1\)"):
        fit_ridge(aligned.features["x"], bold.assign_attrs(slice_time_ref=0.1), train, tr)
    overruled = fit_ridge(aligned.features["x"], bold.assign_attrs(slice_time_ref=0.1), train, tr, slice_time_ref=0.0)
    np.testing.assert_allclose(overruled.predicted, fit_ridge(x, y, train, tr).predicted)


def test_ridge_takes_runs_censoring_and_missing_volumes_of_a_dataset(features, simulation):
    run = np.repeat([1, 2], N // 2)
    kept = np.random.default_rng(4).random(N) < 0.9
    onset = np.tile(np.arange(N // 2) * TR, 2)
    y = simulation.bold.astype(float)
    bold = xr.Dataset(
        {"bold": (("tr", "voxel"), np.where(kept[:, None], y, np.nan)), "run": ("tr", run),
         "onset": ("tr", onset), "sample_mask": ("tr", kept)}, attrs={"tr": TR},
    )  # fmt: skip
    train = np.arange(300)
    found = fit_ridge(features, bold, train, TR).predicted
    np.testing.assert_array_equal(found, fit_ridge(features, y, train, TR, run=run, sample_mask=kept).predicted)
    lacking, volumes = bold.isel(tr=kept), np.tile(np.arange(N // 2), 2)[kept]
    train = np.arange(250)
    found = fit_ridge(features[kept], lacking, train, TR).predicted
    plain = {"run": run[kept]}
    np.testing.assert_array_equal(
        found, fit_ridge(features[kept], y[kept], train, TR, volumes=volumes, **plain).predicted
    )
    assert not np.allclose(found, fit_ridge(features[kept], y[kept], train, TR, **plain).predicted)
    film = new_features({"x": (("tr", "f"), features[:200])}, TRGrid(TR, 200, 75), film_duration=200 * TR,
                        kind="continuous")  # fmt: skip
    first = bold.isel(tr=run == 1).drop_vars("sample_mask")
    aligned = align_all_modalities({"x": film}, first.isel(tr=slice(0, 195)), on_short_bold="trim")
    with pytest.raises(AlignmentError, match="of volumes 0 to 194, the BOLD of 5 to 199, and not of the same"):
        fit_ridge(aligned.features["x"], first.isel(tr=slice(5, 200)), np.arange(100), TR)
    with pytest.raises(AlignmentError, match=r"the BOLD has TR 1\.5 s, but tr is 2 s"):
        fit_ridge(features, bold, train, 2.0)


# --- how results look in a notebook


def test_a_ridge_as_a_table_holds_penalty_and_r2_of_each_voxel(features, simulation, splits):
    fit = fit_ridge(features, simulation.bold, splits.train, TR)
    table = fit.to_pandas()
    np.testing.assert_array_equal(table["alpha"], fit.alphas)
    np.testing.assert_array_equal(table["cv_r2"], fit.cv_r2)
    assert repr(fit).startswith("<RidgeFit of 12 voxels by 6 features over 400 TRs: median cross-validated R2 0.")
    page = fit._repr_html_()
    assert f"<td>{np.median(fit.cv_r2):.3g}</td>" in page and page.count("<tr>") == 6
