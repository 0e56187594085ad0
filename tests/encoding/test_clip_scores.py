"""Clips predicted from the others: known truth, folds, parts of the score, and p-values that are right under noise."""

import numpy as np
import pytest
from sklearn.model_selection import GroupKFold, KFold, cross_val_predict

from giblet.codec import load_codec
from giblet.encoding import BlockedFolds, EncodingModel, clip_folds, permutation_test, permutation_test_cv, score_clips
from giblet.encoding.clips import clip_features
from giblet.encoding.permutation import permutation_draws
from giblet.errors import AlignmentError, InputError
from tests.encoding.clip_sounds import sounds

GRID = np.logspace(-1, 5, 7)
MODEL = EncodingModel(GRID, cv=4)


def simulated(n=90, n_voxels=12, seed=0, silent=0):
    rng = np.random.default_rng(seed)
    x = {"mel": rng.standard_normal((n, 8)), "words": rng.standard_normal((n, 3))}
    y = 0.5 * x["mel"] @ rng.standard_normal((8, n_voxels)) + 0.7 * x["words"] @ rng.standard_normal((3, n_voxels))
    y[:, :silent] = 0
    return x, y + rng.standard_normal((n, n_voxels)) + 3


def within(values, folds):
    centred = np.empty(values.shape)
    for _, test in folds:
        centred[test] = values[test] - values[test].mean(0)
    return centred


def columns_r(a, b):
    return (a * b).sum(0) / np.sqrt((a**2).sum(0) * (b**2).sum(0))


def test_a_cortex_that_hears_the_latents_means_is_predicted_near_its_ceiling():
    rng, codec = np.random.default_rng(1), load_codec("bundled", device="cpu")
    found = clip_features(sounds(120, seconds=0.2), {"latents": "latents", "counts": "first_counts"}, codec, level=-26)
    means = found["latents"][:, : codec.latent_dim].astype(float)
    loading = np.linalg.svd(means - means.mean(0), full_matrices=False)[0][:, :6]
    signal = loading @ rng.standard_normal((6, 20))
    signal /= signal.std(0)
    ceiling = np.sqrt(0.8)
    responses = ceiling * signal + np.sqrt(1 - ceiling**2) * rng.standard_normal(signal.shape)
    by_latents = score_clips(MODEL, found["latents"], responses).r
    assert by_latents.mean() > 0.9 * ceiling
    assert by_latents.mean() > score_clips(MODEL, found["counts"], responses).r.mean()


def test_predictions_are_those_of_the_estimator_on_the_same_folds():
    x, y = simulated()
    folds = clip_folds(90, 5, seed=3)
    scores = score_clips(MODEL, x["mel"], y, cv=folds, seed=7)
    for train, test in folds:
        inner = clip_folds(len(train), 4, seed=7)
        fitted = EncodingModel(GRID, cv=inner).fit(x["mel"][train], y[train])
        np.testing.assert_allclose(scores.predicted[test], fitted.predict(x["mel"][test]), atol=1e-6)
    np.testing.assert_allclose(scores.r, columns_r(within(y, folds), within(scores.predicted, folds)), atol=1e-9)


def test_scikit_learns_splitters_serve_here_and_in_the_estimator():
    x, y = simulated()
    group = np.repeat(np.arange(18), 5)
    outer, inner = KFold(5, shuffle=True, random_state=0), KFold(4, shuffle=True, random_state=1)
    model = EncodingModel(GRID, cv=inner)
    expected = cross_val_predict(model, x["mel"], y, cv=outer)
    np.testing.assert_allclose(score_clips(model, x["mel"], y, cv=outer).predicted, expected, atol=1e-6)
    grouped = score_clips(EncodingModel(GRID, cv=GroupKFold(3)), x, y, cv=GroupKFold(6), group=group, unique=False)
    assert len(grouped.folds) == 6


def test_groups_are_never_on_both_sides_not_even_where_penalties_are_chosen():
    rng = np.random.default_rng(0)
    group = rng.permutation(np.repeat(list("abcdefghijkl"), [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]))
    for train, test in clip_folds(len(group), 5, group=group):
        assert not set(group[train]) & set(group[test])
    # Each group has a level of its own, and features that name it: a model that saw it would predict it.
    x = (group[:, None] == np.unique(group)) + 0.1 * rng.standard_normal((len(group), 12))
    y = rng.standard_normal(12)[np.unique(group, return_inverse=True)[1]][:, None] + 0.3 * rng.standard_normal((90, 1))
    # What is within a fold's mean does not count: of a fold of several groups, levels are left.
    assert score_clips(MODEL, x, y).r[0] > 0.8
    assert score_clips(MODEL, x, y, group=group).r[0] < 0.4


def test_a_fold_that_splits_a_group_or_leaves_out_a_clip_is_refused():
    x, y = simulated()
    folds, group = clip_folds(90, 5), np.repeat(np.arange(18), 5)
    with pytest.raises(InputError, match="fold 0 learns from 15 groups"):
        score_clips(MODEL, x, y, cv=folds, group=group)
    inner = KFold(4, shuffle=True, random_state=1)
    with pytest.raises(InputError, match=r"fold 0 of the penalties learns from .* groups"):
        score_clips(EncodingModel(GRID, cv=inner), x, y, group=group)
    with pytest.raises(InputError, match="72 of 90 clips"):
        score_clips(MODEL, x, y, cv=folds[1:])
    with pytest.raises(InputError, match="predicts one clip"):
        score_clips(MODEL, x, y, cv=90)
    with pytest.raises(InputError, match="3 groups of clips for 5 folds"):
        clip_folds(90, 5, group=np.repeat([1, 2, 3], 30))


def test_split_scores_sum_to_the_whole_and_unique_variance_is_of_the_band_that_had_part():
    x, y = simulated(n=200)
    x["none"] = np.random.default_rng(5).standard_normal((200, 4))
    scores = score_clips(EncodingModel(GRID, cv=4, n_iter=10), x, y)
    np.testing.assert_allclose(sum(scores.split.values()), scores.r, atol=1e-9)
    assert scores.unique["mel"].mean() > 0.2
    assert abs(scores.unique["none"].mean()) < 0.02
    y, predicted = within(y, scores.folds), within(scores.predicted, scores.folds)
    np.testing.assert_allclose(scores.r2, 1 - ((y - predicted) ** 2).sum(0) / (y**2).sum(0), atol=1e-9)


def test_a_voxel_that_is_constant_or_not_finite_is_left_out_alone():
    x, y = simulated()
    spoiled = y.copy()
    spoiled[3, 1], spoiled[:, 2] = np.nan, 7.0
    scores, expected = (score_clips(MODEL, x["mel"], given) for given in (spoiled, y))
    assert np.flatnonzero(np.isnan(scores.r)).tolist() == [1, 2]
    test = permutation_test_cv(MODEL, x["mel"], spoiled, n_permutations=100)
    for found in (test.r, test.p, test.p_rank, test.q, test.p_fwe):
        assert np.flatnonzero(np.isnan(found)).tolist() == [1, 2]
    np.testing.assert_allclose(np.delete(scores.r, [1, 2]), np.delete(expected.r, [1, 2]), atol=1e-9)


def test_a_response_that_changes_in_one_clip_alone_has_a_score():
    x, y = simulated()
    y[:, 0] = 0
    y[4, 0] = 1
    assert np.isfinite(score_clips(MODEL, x["mel"], y).r[0])


def test_codes_as_numbers_and_other_bad_input_are_refused():
    x, y = simulated()
    with pytest.raises(InputError, match=r"what they stand for.*counts.*embedding"):
        score_clips(MODEL, np.ones((90, 4), np.int32), y)
    with pytest.raises(AlignmentError, match="responses to 90 clips"):
        score_clips(MODEL, x["mel"][:80], y)
    with pytest.raises(InputError, match="one response each"):
        score_clips(EncodingModel(hrf="glover", tr=2.0), x, y)
    with pytest.raises(InputError, match="BlockedFolds"):
        score_clips(EncodingModel(cv=4), x, y, cv=BlockedFolds(4, tr=2.0))


def test_the_test_is_of_the_scores_and_the_same_whatever_is_fitted_together(monkeypatch):
    x, y = simulated()
    options = {"n_permutations": 150, "seed": 4}
    test = permutation_test_cv(MODEL, x["mel"], y, **options)
    np.testing.assert_allclose(test.r, score_clips(MODEL, x["mel"], y, seed=4).r, atol=1e-9)
    monkeypatch.setattr("giblet.encoding.clip_scores.TARGETS_AT_A_TIME", 5)
    again = permutation_test_cv(MODEL, x["mel"], y, **options)
    for name in ("r", "p", "p_rank", "q", "p_fwe", "mean_by_permutation", "highest_by_permutation"):
        np.testing.assert_allclose(getattr(again, name), getattr(test, name), atol=1e-7, err_msg=name)
    assert test.n_permutations == 150
    assert test.p_rank.min() >= 1 / 150


def test_each_permutation_is_a_fit_of_the_moved_responses():
    x, y = simulated(n_voxels=3)
    test = permutation_test_cv(MODEL, x["mel"], y, n_permutations=100, seed=2)
    draws = permutation_draws(90, 100, seed=2)
    for number in (1, 57):
        moved = score_clips(MODEL, x["mel"], y[draws[number]], seed=2).r
        assert test.highest_by_permutation[number] == pytest.approx(moved.max(), abs=1e-9)
        assert test.mean_by_permutation[number] == pytest.approx(moved.mean(), abs=1e-9)


def test_responding_voxels_are_found_and_corrected_p_is_no_smaller():
    x, y = simulated(n=120, n_voxels=40, silent=20)
    test = permutation_test_cv(MODEL, x["mel"], y, n_permutations=200)
    assert (test.q[20:] <= 0.05).all()
    assert (test.p_fwe[20:] <= 0.05).mean() > 0.8
    assert (test.q >= test.p).all()
    assert (test.p_fwe >= test.p_rank).all()
    np.testing.assert_array_equal(test.r >= test.threshold_fwe, test.p_fwe <= 0.05)
    np.testing.assert_array_equal(test.to_pandas()["q"], test.q)


def calibration(n_sets, n, n_features, n_voxels=50, group=None, exchange=None, n_permutations=200, shared=0.0):
    """p and p_rank of noise, (n_sets * n_voxels,) each; `shared`: of the variance, what a group has in common."""
    found = []
    for seed in range(n_sets):
        rng = np.random.default_rng([seed, n, n_features])
        x = rng.standard_normal((n, n_features)) * np.arange(1, n_features + 1) ** -0.5
        y = np.sqrt(1 - shared) * rng.standard_normal((n, n_voxels))
        if group is not None:
            places = np.unique(group, return_inverse=True)[1]
            x += 2 * rng.standard_normal((places.max() + 1, n_features))[places]
            y += np.sqrt(shared) * rng.standard_normal((places.max() + 1, n_voxels))[places]
        test = permutation_test_cv(
            EncodingModel(GRID, cv=3),
            x,
            y,
            cv=4,
            group=group,
            exchange=exchange,
            n_permutations=n_permutations,
            seed=seed,
        )
        found.append((test.p, test.p_rank))
    return np.concatenate(found, axis=1)


def test_half_of_the_p_values_of_noise_are_below_a_half_and_a_twentieth_below_a_twentieth():
    p, p_rank = calibration(6, 60, 10, n_voxels=100, n_permutations=150)
    for found in (p, p_rank):
        assert 0.025 <= (found <= 0.05).mean() <= 0.08  # 600 voxels: standard error .009, and voxels share features
        assert 0.4 <= (found <= 0.5).mean() <= 0.6


@pytest.mark.slow
@pytest.mark.parametrize(("n", "n_features"), [(60, 3), (60, 30), pytest.param(165, 100, marks=pytest.mark.long)])
def test_silent_voxels_have_small_p_as_often_as_they_should(n, n_features):
    p, p_rank = calibration(80, n, n_features, n_permutations=400)
    for found in (p, p_rank):
        assert 0.035 <= (found <= 0.05).mean() <= 0.07
        assert (found <= 0.01).mean() <= 0.015
    assert (p <= 0.001).mean() <= 0.003


@pytest.mark.slow
def test_groups_that_respond_alike_must_change_places_as_wholes():
    group = np.repeat(np.arange(20), 4)
    p, p_rank = calibration(60, 80, 10, group=group, shared=0.5)
    assert 0.035 <= (p <= 0.05).mean() <= 0.07
    assert 0.035 <= (p_rank <= 0.05).mean() <= 0.07
    assert (calibration(20, 80, 10, group=group, exchange="clips", shared=0.5)[0] <= 0.05).mean() > 0.1


@pytest.mark.slow
def test_fixed_predictions_of_several_folds_would_double_false_positives():
    found = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        x, y = rng.standard_normal((80, 20)), rng.standard_normal((80, 50))
        scores = score_clips(EncodingModel((100.0,), cv=3), x, y)
        both = (within(values, scores.folds) for values in (y, scores.predicted))
        found.append(permutation_test(*both, n_permutations=200, seed=seed).p)
    assert np.mean(np.concatenate(found) <= 0.05) > 0.075


def test_p_of_clips_that_were_in_no_fit_is_scipys_rank():
    from scipy.stats import permutation_test as by_scipy

    rng = np.random.default_rng(0)
    truth = rng.standard_normal((40, 2))
    predicted = truth * [0.3, 0.0] + rng.standard_normal((40, 2))
    test = permutation_test(truth, predicted, n_permutations=4000)
    for voxel in range(2):
        expected = by_scipy(
            (truth[:, voxel],), lambda y, v=voxel: np.corrcoef(y, predicted[:, v])[0, 1], permutation_type="pairings",
            n_resamples=4000, alternative="greater", random_state=np.random.default_rng(1),
        ).pvalue  # fmt: skip
        assert test.p_rank[voxel] == pytest.approx(expected, abs=0.03)
        assert test.p[voxel] == pytest.approx(expected, abs=0.03)


def test_groups_change_places_with_groups_of_their_size():
    group = np.repeat([0, 1, 2, 3, 4, 5], [3, 3, 3, 2, 2, 2])
    draws = permutation_draws(len(group), 500, group=group)
    moved = group[draws]
    for label in range(6):
        of_label = moved[:, group == label]
        assert (of_label == of_label[:, :1]).all()
        assert set(of_label[:, 0]) == ({0, 1, 2} if label < 3 else {3, 4, 5})
    assert (np.sort(draws) == np.arange(len(group))).all()
    assert (draws[0] == np.arange(len(group))).all()
    assert (draws == permutation_draws(len(group), 500, group=group)).all()


def test_too_few_orders_are_refused():
    with pytest.raises(InputError, match=r"3 of 3 groups have no other of their size.*exchange='clips'"):
        permutation_draws(12, 100, group=np.repeat([0, 1, 2], [3, 4, 5]))
    assert len(permutation_draws(12, 100, group=np.repeat([0, 1, 2], [3, 4, 5]), exchange="clips")) == 100
    with pytest.raises(InputError, match="720 orders"):
        permutation_draws(6, 100)
    with pytest.raises(InputError, match="at least 100"):
        permutation_draws(50, 20)
