"""Ridge against scikit-learn's, scores against scipy and simulated truth."""

import numpy as np
import pytest
from nilearn.glm.first_level import compute_regressor
from scipy.stats import gamma, pearsonr
from sklearn.linear_model import Ridge

from giblet.alignment import align_all_modalities, convolve_hrf
from giblet.data.simulate import simulate_bold
from giblet.data.splits import make_splits
from giblet.errors import AlignmentError, InputError
from giblet.evaluation.encoding import blocked_folds, fit_ridge, score_encoding, voxelwise_r
from giblet.evaluation.statistics import Resampling
from giblet.features import new_features
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


def test_nothing_but_training_trs_reaches_the_fit(features, simulation, splits):
    bold = simulation.bold.copy()
    clean = fit_ridge(features, bold, splits.train, TR)
    bold[np.setdiff1d(np.arange(N), splits.train)] = 1e6
    poisoned = fit_ridge(features, bold, splits.train, TR)
    assert np.array_equal(clean.predicted, poisoned.predicted)
    later = features.copy()
    later[splits.train[-1] + 1 :] = 1e6
    assert np.array_equal(clean.alphas, fit_ridge(later, simulation.bold, splits.train, TR).alphas)


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


def test_folds_leave_a_gap_within_runs_and_none_between(splits):
    run = np.repeat([1, 2], 50)
    folds = blocked_folds(np.arange(100), run, 4, 10)
    assert sorted(np.concatenate([test for _, test in folds])) == list(range(100))
    for learn, test in folds:
        same = run[learn][:, None] == run[test]
        assert (np.abs(learn[:, None] - test) > 10)[same].all()
    assert set(range(50, 100)) <= set(folds[1][0])


def test_noise_is_not_predicted(features, splits):
    bold = simulate_bold(features, tr=TR, n_voxels=40, snr=0.0).bold
    fit = fit_ridge(features, bold, splits.train, TR)
    score = score_encoding(bold[splits.test], fit.predicted[splits.test], Resampling(len(splits.test), TR))
    assert abs(score.mean.value) < 0.15


def test_scores_are_scipys_and_signal_is_told_from_chance(features, simulation):
    rows = np.arange(200, N)
    truth, predicted = simulation.bold[rows], simulation.truth.signal.values[rows]
    score = score_encoding(truth, predicted, Resampling(len(rows), TR))
    oracle = [pearsonr(truth[:, v], predicted[:, v]).statistic for v in range(12)]
    assert score.mean.value == pytest.approx(np.mean(oracle), abs=1e-6)
    assert score.mean.low < score.mean.value < score.mean.high
    assert score.shifted.p == pytest.approx(1 / (1 + score.shifted.n))
    rolled = np.mean([pearsonr(truth[:, v], np.roll(predicted[:, v], 30)).statistic for v in range(12)])
    k30 = score_encoding(truth, np.roll(predicted, 30, axis=0), Resampling(len(rows), TR))
    assert k30.mean.value == pytest.approx(rolled, abs=1e-6)
    assert k30.shifted.p > 0.05


def test_the_interval_is_that_of_correlations_in_draws_with_means_of_their_own():
    """Of scipy's, draw by draw; and where a loud stretch carries all of the correlation, no bound lies beyond 1."""
    rng = np.random.default_rng(1)
    truth = rng.standard_normal((120, 300)) * np.where(np.arange(120) < 20, 8.0, 1.0)[:, None] + 3
    predicted = truth + rng.standard_normal(truth.shape)
    plan = Resampling(120, TR, n_draws=40)
    score = score_encoding(truth, predicted, plan)
    drawn = []
    for counts in plan.counts.astype(int):
        rows = np.repeat(np.arange(120), counts)
        drawn.append(np.mean([pearsonr(truth[rows, v], predicted[rows, v]).statistic for v in range(300)]))
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert (score.mean.low, score.mean.high) == pytest.approx((low, high), abs=1e-6)
    assert score.mean.high <= 1


def test_a_voxel_that_never_changes_is_reported_and_does_not_spoil_the_mean(simulation):
    truth, predicted = simulation.bold[:150].copy(), simulation.truth.signal.values[:150].copy()
    truth[:, 3] = 0
    score = score_encoding(truth, predicted, Resampling(150, TR)).as_dict()
    assert (score["n_voxels"], score["n_undefined"]) == (12, 1)
    assert np.isfinite(score["r"]["value"])
    nothing = score_encoding(truth, np.zeros_like(truth), Resampling(150, TR)).as_dict()
    assert nothing["r"]["value"] is None and "change" in nothing["r"]["why"]


def test_what_never_varies_in_training_and_does_later_changes_no_prediction(features, simulation, splits):
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
    assert (~found.defined).tolist() == (~others).tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": np.zeros((N, 2))}, "all 2 features are constant"),
        ({"features": np.zeros((N - 1, 2))}, "needed"),
        ({"train": np.arange(6)}, "folds"),
        ({"train": np.array([N])}, "training TRs of"),
        ({"train": np.arange(50)}, "leave"),
        ({"bold": np.full((N, 2), np.nan)}, "NaN"),
    ],
)
def test_what_cannot_be_fitted_is_refused(features, simulation, splits, change, message):
    given = {"features": features, "bold": simulation.bold, "train": splits.train, **change}
    with pytest.raises(InputError, match=message):
        fit_ridge(given["features"], given["bold"], given["train"], TR)


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


def test_rows_that_are_no_neighbours_are_not_taken_for_such(features, simulation):
    film = new_features({"x": (("tr", "f"), features)}, TRGrid(TR, N, 75), film_duration=N * TR, kind="continuous")
    mask = ~np.isin(np.arange(N), np.arange(50, 60))
    options = {"volume_mask": mask, "start_offset": 30.0, "on_short_bold": "trim"}
    cut = align_all_modalities({"x": film}, simulation.bold, TR, **options)
    train = np.arange(300)
    with pytest.raises(AlignmentError, match="of features are volumes 49 and 60"):
        fit_ridge(cut.features["x"], cut.bold, train, TR)
    whole = align_all_modalities({"x": film}, simulation.bold, TR, **options, hrf="glover")
    with pytest.raises(AlignmentError, match="hrf=None"):
        fit_ridge(whole.features["x"], cut.bold, train, TR)
    fit = fit_ridge(whole.features["x"], whole.bold, train, TR, hrf=None)
    z = convolve_hrf(features, TR)[whole.volumes + 20]
    plain = fit_ridge(z, whole.bold, train, TR, hrf=None)
    np.testing.assert_allclose(fit.predicted, plain.predicted, atol=1e-4)
    counted = fit_ridge(cut.features["x"], cut.bold, train, TR, volumes=cut.volumes)
    closed_up = fit_ridge(cut.features["x"].values, cut.bold, train, TR)
    assert not np.allclose(counted.predicted, closed_up.predicted)
    with pytest.raises(InputError, match="features holds nan"):
        fit_ridge(np.where(np.arange(N)[:, None] == 7, np.nan, features), simulation.bold, train, TR, hrf=None)
