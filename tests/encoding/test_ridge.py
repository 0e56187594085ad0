"""The solver against himalaya called directly and scikit-learn's Ridge, on the same folds."""

import warnings

import numpy as np
import pytest
from himalaya.backend import set_backend
from himalaya.kernel_ridge import KernelRidgeCV
from himalaya.ridge import GroupRidgeCV, RidgeCV
from himalaya.scoring import l2_neg_loss, r2_score
from sklearn.linear_model import Ridge

from giblet.encoding import BlockedFolds, EncodingModel
from giblet.encoding.ridge import candidates, solve_ridge_cv
from giblet.errors import InputError

GRID = np.logspace(-1, 6, 15)
SHAPES = {"tall": (300, 40), "square": (120, 119), "wide": (150, 400)}
SCORERS = {"r2": r2_score, "neg_mse": l2_neg_loss}


@pytest.fixture(autouse=True)
def numpy_backend():
    set_backend("numpy")
    yield
    set_backend("numpy")


def simulated(shape, n_voxels=60, dtype=np.float64, seed=0):
    """Features with a spectrum like that of real ones, twins among them, and BOLD of a level."""
    rng = np.random.default_rng(seed)
    n, p = SHAPES[shape]
    x = rng.standard_normal((n, p)) @ (rng.standard_normal((p, p)) * 0.9 ** np.arange(p)[:, None] + 0.05 * np.eye(p))
    x[:, 1] = x[:, 0]
    noise = np.geomspace(0.3, 30, n_voxels)
    y = x[:, :8] @ rng.standard_normal((8, n_voxels)) + noise * rng.standard_normal((n, n_voxels)) + 100
    return (x + 3).astype(dtype), y.astype(dtype)


def folds_of(n, gap=10.0):
    return list(BlockedFolds(5, gap, tr=2.0).split(np.zeros((n, 1))))


@pytest.mark.parametrize("backend", ["numpy", "torch"])
@pytest.mark.parametrize("scoring", ["r2", "neg_mse"])
@pytest.mark.parametrize("shape", list(SHAPES))
def test_penalties_and_predictions_are_those_of_himalaya(shape, scoring, backend):
    x, y = simulated(shape)
    folds = folds_of(len(x))
    ours = solve_ridge_cv(x, y, folds, GRID, scoring=scoring, backend=backend, n_targets_batch=17, dtype=np.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = RidgeCV(GRID, fit_intercept=True, cv=folds, solver_params={"score_func": SCORERS[scoring]}).fit(x, y)
    np.testing.assert_allclose(ours.alphas, theirs.best_alphas_, rtol=1e-6)
    assert len(np.unique(ours.alphas)) > 4
    np.testing.assert_allclose(x @ ours.coef + ours.intercept, theirs.predict(x), atol=1e-7)
    np.testing.assert_allclose(ours.coef, theirs.coef_, atol=1e-7)
    np.testing.assert_allclose(ours.cv_scores, theirs.cv_scores_, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("shape", ["tall", "wide"])
def test_float32_gives_the_penalties_of_himalaya_in_float32(shape):
    x, y = simulated(shape, dtype=np.float32)
    x, y = x - x.mean(0), y - y.mean(0)
    folds = folds_of(len(x))
    solver = {"score_func": l2_neg_loss, "warn": False}
    theirs = RidgeCV(GRID, fit_intercept=True, cv=folds, solver_params=solver).fit(x, y)
    ours = EncodingModel(GRID, folds, scale=None, scoring="neg_mse").fit(x, y)
    np.testing.assert_allclose(ours.best_alphas_, theirs.best_alphas_, rtol=1e-4)
    assert ours.predict(x).dtype == theirs.predict(x).dtype == np.float32
    np.testing.assert_allclose(ours.predict(x), theirs.predict(x), atol=1e-4 * y.std())


def test_wide_features_are_fitted_as_by_himalayas_kernel_ridge():
    x, y = simulated("wide")
    folds = folds_of(len(x))
    theirs = KernelRidgeCV(GRID, fit_intercept=True, cv=folds, solver_params={"score_func": r2_score}).fit(x, y)
    ours = EncodingModel(GRID, folds, scale=None).fit(x, y)
    np.testing.assert_allclose(ours.best_alphas_, theirs.best_alphas_, rtol=1e-6)
    np.testing.assert_allclose(ours.predict(x), theirs.predict(x), atol=1e-6)


@pytest.mark.parametrize("shape", ["tall", "wide"])
def test_scikit_learn_with_the_penalties_chosen_predicts_the_same(shape):
    x, y = simulated(shape)
    ours = EncodingModel(GRID, folds_of(len(x)), scale=None).fit(x, y)
    theirs = Ridge(alpha=ours.best_alphas_).fit(x, y)
    np.testing.assert_allclose(ours.predict(x), theirs.predict(x), atol=1e-6)
    np.testing.assert_allclose(ours.coef_[0].T, theirs.coef_, atol=1e-7)
    np.testing.assert_allclose(ours.intercept_ - (x.mean(0) @ ours.coef_[0]), theirs.intercept_, atol=1e-6)


def test_cv_scores_are_those_of_ridges_fitted_fold_by_fold():
    x, y = simulated("tall", n_voxels=6)
    folds = folds_of(len(x))
    ours = solve_ridge_cv(x, y, folds, GRID, dtype=np.float64)
    for voxel in range(6):
        by_alpha = []
        for alpha in GRID:
            scores = [Ridge(alpha=alpha).fit(x[a], y[a, voxel]).score(x[b], y[b, voxel]) for a, b in folds]
            by_alpha.append(np.mean(scores))
        assert ours.alphas[voxel] == GRID[int(np.argmax(by_alpha))]
        assert ours.cv_scores[voxel] == pytest.approx(max(by_alpha), abs=1e-8)


def banded(shape, dtype=np.float64):
    x, y = simulated(shape, dtype=dtype)
    x = x - x.mean(0)
    third = x.shape[1] // 3
    return [x[:, :third], x[:, third : 2 * third], x[:, 2 * third :]], y - y.mean(0)


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_tall_bands_are_weighted_as_by_himalayas_group_ridge(backend):
    xs, y = banded("tall")
    folds = folds_of(len(y))
    solver = {"n_iter": 12, "alphas": GRID, "progress_bar": False, "score_func": r2_score}
    theirs = GroupRidgeCV(groups="input", cv=folds, fit_intercept=True, random_state=3, solver_params=solver).fit(xs, y)
    names = ["a", "b", "c"]
    bands = dict(zip(names, xs, strict=True))
    ours = EncodingModel(GRID, folds, scale=None, n_iter=12, random_state=3, backend=backend, n_targets_batch=25)
    ours.fit(bands, y)
    np.testing.assert_allclose(np.log(ours.band_weights_ / ours.best_alphas_), theirs.deltas_, rtol=1e-6)
    assert len(np.unique(ours.band_weights_[0])) > 3
    np.testing.assert_allclose(ours.predict(bands), theirs.predict(xs), atol=1e-6)
    np.testing.assert_allclose(np.concatenate([ours.coef_[n][0] for n in names]), theirs.coef_, atol=1e-7)


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_wide_bands_are_weighted_as_by_himalayas_kernels(backend):
    xs, y = banded("wide")
    folds = folds_of(len(y))
    solver = {"n_iter": 8, "alphas": GRID, "progress_bar": False, "score_func": r2_score}
    theirs = GroupRidgeCV(
        groups="input", cv=folds, fit_intercept=True, random_state=3, solver_params={**solver, "warn": False}
    ).fit(xs, y)
    bands = dict(zip(["a", "b", "c"], xs, strict=True))
    ours = EncodingModel(GRID, folds, scale=None, n_iter=8, random_state=3, backend=backend).fit(bands, y)
    np.testing.assert_allclose(np.log(ours.band_weights_ / ours.best_alphas_), theirs.deltas_, rtol=1e-6)
    np.testing.assert_allclose(ours.predict(bands), theirs.predict(xs), atol=1e-6)


def test_candidates_are_himalayas_and_begin_with_equal_weights():
    drawn = candidates(3, 10, 0)
    assert drawn.shape == (10, 3)
    np.testing.assert_allclose(drawn[0], 1 / 3)
    np.testing.assert_allclose(drawn.sum(1), 1)
    assert np.array_equal(drawn, candidates(3, 10, 0))
    assert not np.array_equal(drawn, candidates(3, 10, 1))
    assert candidates(1, 10, 0).tolist() == [[1.0]]


def test_equal_eigenvalues_give_the_error_of_predictions():
    """All eigenvalues of each fold alike: the differences of which the fast sum is made are 0."""
    rng = np.random.default_rng(0)
    n_fold = 32
    blocks = [np.linalg.qr(rng.standard_normal((n_fold, 9)) - 0.0)[0] for _ in range(5)]
    x = np.concatenate([np.linalg.qr(np.c_[np.ones(n_fold), block])[0][:, 1:] for block in blocks])
    y = x[:, :3] @ rng.standard_normal((3, 4)) + 0.3 * rng.standard_normal((len(x), 4))
    folds = folds_of(len(x), gap=0.0)
    train = x[folds[0][0]]
    values = np.linalg.svd(train - train.mean(0))[1][: x.shape[1]]
    assert np.ptp(values) < 1e-12 * values.max()
    grid = np.logspace(-3, 3, 7)
    ours = solve_ridge_cv(x, y, folds, grid, dtype=np.float64)
    theirs = RidgeCV(grid, fit_intercept=True, cv=folds, solver_params={"score_func": r2_score}).fit(x, y)
    np.testing.assert_allclose(ours.alphas, theirs.best_alphas_, rtol=1e-6)
    np.testing.assert_allclose(ours.cv_scores, theirs.cv_scores_, atol=1e-8)


@pytest.mark.parametrize("difference", [1e-9, 1e-7, 1e-5, 1e-4, 1e-2])
def test_eigenvalues_that_nearly_agree_give_the_error_of_predictions(difference):
    rng = np.random.default_rng(1)
    n_fold = 40
    parts = [np.linalg.qr(np.c_[np.ones(n_fold), rng.standard_normal((n_fold, 8))])[0][:, 1:] for _ in range(4)]
    x = np.concatenate(parts) * (1 + difference * np.arange(8))
    mix = np.linalg.qr(rng.standard_normal((8, 8)))[0]
    y = x @ rng.standard_normal((8, 5)) + 0.1 * rng.standard_normal((len(x), 5))
    x = x @ mix
    folds = list(BlockedFolds(4, 0.0, tr=1.0).split(x))
    for alpha in (1e-3, 1.0, 1e3):
        ours = solve_ridge_cv(x, y, folds, [alpha], scoring="neg_mse", dtype=np.float64).cv_scores
        errors = [((Ridge(alpha=alpha).fit(x[a], y[a]).predict(x[b]) - y[b]) ** 2).mean(0) for a, b in folds]
        np.testing.assert_allclose(-ours, np.mean(errors, axis=0), rtol=1e-8)


@pytest.mark.parametrize("shape", ["tall", "wide"])
def test_batches_of_voxels_change_nothing(shape):
    x, y = simulated(shape)
    folds = folds_of(len(x))
    whole = solve_ridge_cv(x, y, folds, GRID, n_targets_batch=1000, dtype=np.float64)
    parts = solve_ridge_cv(x, y, folds, GRID, n_targets_batch=7, dtype=np.float64)
    assert np.array_equal(whole.alphas, parts.alphas)
    np.testing.assert_allclose(whole.coef, parts.coef, atol=1e-10)


def test_a_voxel_that_is_constant_in_one_fold_is_scored_by_the_others():
    x, y = simulated("tall", n_voxels=3)
    folds = folds_of(len(x))
    y[folds[0][1], 1] = y[folds[0][1][0], 1]
    ours = solve_ridge_cv(x, y, folds, [10.0], dtype=np.float64)
    scores = [Ridge(alpha=10.0).fit(x[a], y[a, 1]).score(x[b], y[b, 1]) for a, b in folds[1:]]
    assert ours.cv_scores[1] == pytest.approx(np.mean(scores), abs=1e-7)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"alphas": [1.0, 0.0]}, "alphas hold 0"),
        ({"alphas": [-1.0]}, "penalties are positive"),
        ({"alphas": [np.nan]}, "alphas hold nan"),
        ({"alphas": []}, "a list of penalties"),
        ({"scoring": "r"}, "scoring is 'r'"),
        ({"n_targets_batch": 0}, "n_targets_batch is 0"),
        ({"backend": "jax"}, "backend is 'jax'"),
        ({"folds": [(np.arange(200), np.arange(150, 250))]}, "learns from 50 of the rows that it leaves out"),
        ({"folds": [(np.arange(200), np.arange(0))]}, "0 left out"),
    ],
)
def test_what_cannot_be_solved_is_one_error(changes, says):
    x, y = simulated("tall")
    options = {"alphas": GRID, "folds": folds_of(len(x)), **changes}
    with pytest.raises(InputError, match=says):
        solve_ridge_cv(x, y, options.pop("folds"), options.pop("alphas"), **options)
