"""The decoding model: ridge on windows as scikit-learn solves it, any number of voxels, runs, censoring, saved fits."""

import numpy as np
import pytest
from scipy.stats import pearsonr
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV

from giblet.alignment.prewhitening import slow_basis
from giblet.encoding import BlockedFolds, DecodingModel
from giblet.errors import AlignmentError, CheckpointError, InputError

RUN = np.repeat([1, 2, 3], [100, 120, 80])
GRID = np.logspace(0, 5, 6)


def scanned(n=300, n_voxels=12, n_features=4, noise=1.0, seed=0):
    """BOLD that answers, 2 to 6 s later, to features; of three runs with levels of their own."""
    rng = np.random.default_rng(seed)
    heard = rng.standard_normal((n, n_features))
    bold = noise * rng.standard_normal((n, n_voxels))
    for lag in (1, 2, 3):
        bold[lag:] += heard[:-lag] @ rng.standard_normal((n_features, n_voxels))
    return 1000 + 30 * bold, heard + 5


def by_hand(bold, lags=(1, 2, 3)):
    """Windows of z-scored BOLD, and the rows that have one."""
    z = (bold - bold.mean(0)) / bold.std(0)
    rows = np.arange(len(bold) - lags[-1])
    return np.concatenate([z[rows + lag] for lag in lags], axis=1), rows


@pytest.mark.parametrize("n_voxels", [12, 200])
def test_it_is_scikit_learns_ridge_on_windows_of_standardised_bold(n_voxels):
    """With more columns than rows too, where the fit is made in the span of the windows."""
    bold, heard = scanned(n_voxels=n_voxels)
    x, rows = by_hand(bold)
    for alpha in (1.0, 300.0):
        model = DecodingModel([alpha], tr=2.0, window=(2.0, 6.0)).fit(bold, heard)
        oracle = Ridge(alpha).fit(x, heard[rows])
        found = model.predict(bold)
        np.testing.assert_allclose(found[rows], oracle.predict(x), atol=1e-7)
        assert np.isnan(found[len(rows) :]).all()
        assert model.lags_.tolist() == [1, 2, 3] and model.learned_rows_.tolist() == rows.tolist()


def test_the_weights_are_those_of_the_formula():
    bold, heard = scanned(n_voxels=150)
    model = DecodingModel(GRID, tr=2.0, window=(0.0, 6.0)).fit(bold, heard)
    total = sum(bold[lag : 297 + lag] @ model.coef_[lag] for lag in range(4)) + model.intercept_
    np.testing.assert_allclose(model.predict(bold)[:297], total, atol=1e-8)


def test_each_feature_has_the_penalty_that_predicts_left_out_folds_best():
    bold, heard = scanned(n_voxels=90, noise=3.0)
    heard[:, 1] = np.random.default_rng(9).standard_normal(300)
    folds = BlockedFolds(4, 32.0, tr=2.0)
    model = DecodingModel(GRID, folds, tr=2.0, window=(2.0, 6.0)).fit(bold, heard)
    x, rows = by_hand(bold)
    y = heard[rows]
    scores = np.zeros((len(GRID), 4))
    for train, test in folds.split(rows):
        for own, alpha in zip(scores, GRID, strict=True):
            error = y[test] - Ridge(alpha).fit(x[train], y[train]).predict(x[test])
            own += (1 - (error**2).sum(0) / ((y[test] - y[test].mean(0)) ** 2).sum(0)) / 4
    assert model.best_alphas_.tolist() == GRID[scores.argmax(0)].tolist()
    assert len(set(model.best_alphas_)) > 1
    np.testing.assert_allclose(model.cv_scores_, scores.max(0), atol=1e-9)


def test_twenty_thousand_voxels_are_decoded():
    rng = np.random.default_rng(2)
    heard = rng.standard_normal((160, 2)).astype(np.float32)
    bold = rng.standard_normal((160, 20_000)).astype(np.float32)
    bold[2:] += 0.1 * heard[:-2] @ rng.standard_normal((2, 20_000)).astype(np.float32)
    model = DecodingModel(tr=2.0, window=(0.0, 8.0)).fit(bold, heard, train=np.arange(100))
    assert model.coef_.dtype == np.float32 and model.coef_.shape == (5, 20_000, 2)
    assert (model.score(bold[116:], heard[116:]) > 0.9).all()


def test_components_are_those_of_a_pca_of_the_volumes():
    bold, heard = scanned(n_voxels=60)
    for n, train in ((5, np.arange(300)), (20, np.arange(40))):  # 20 components by 3 volumes are more than 40 rows
        model = DecodingModel([10.0], tr=2.0, window=(2.0, 6.0), n_components=n, cv=2)
        model.set_params(cv=[(np.arange(18), np.arange(19, 37))]).fit(bold, heard, train=train)
        own = bold[train]
        z = (own - own.mean(0)) / own.std(0)
        parts = PCA(n, svd_solver="full").fit_transform(z)
        rows = np.arange(len(own) - 3)
        x = np.concatenate([parts[rows + lag] for lag in (1, 2, 3)], axis=1)
        expected = Ridge(10.0).fit(x, heard[rows]).predict(x)
        np.testing.assert_allclose(model.predict(own)[rows], expected, atol=1e-7)
    with pytest.raises(InputError, match="have no more than 39"):
        DecodingModel(tr=2.0, n_components=60, cv=2).fit(bold, heard, train=np.arange(40))


def test_rows_outside_the_training_part_are_never_looked_at():
    bold, heard = scanned()
    for options in ({}, {"high_pass": 1 / 128}):
        model = DecodingModel(GRID, tr=2.0, window=(2.0, 6.0), **options)
        clean = clone(model).fit(bold, heard, run=RUN, train=np.arange(60, 260))
        for poison in (np.nan, 1e9):
            spoiled, said = bold.copy(), heard.copy()
            spoiled[:60] = spoiled[260:] = said[:60] = said[260:] = poison
            again = clone(model).fit(spoiled, said, run=RUN, train=np.arange(60, 260))
            assert np.array_equal(clean.coef_, again.coef_) and np.array_equal(clean.intercept_, again.intercept_)
        # The windows of the last rows of each run would reach behind what is learned from.
        expected = [*range(60, 97), *range(100, 217), *range(220, 257)]
        assert clean.learned_rows_.tolist() == expected


def test_levels_of_runs_teach_nothing():
    bold, heard = scanned()
    levels = np.array([0.0, 500.0, -9000.0])[RUN - 1][:, None]
    plain = DecodingModel(GRID, tr=2.0).fit(bold, heard, run=RUN)
    moved = DecodingModel(GRID, tr=2.0).fit(bold + levels, heard + levels, run=RUN)
    np.testing.assert_allclose(plain.coef_, moved.coef_, atol=1e-10)
    np.testing.assert_allclose(moved.intercept_, plain.intercept_ + levels[[0, 100, 299]].mean(), atol=1e-8)
    np.testing.assert_allclose(plain.predict(bold, run=RUN), plain.predict(bold + levels, run=RUN), atol=1e-8)


def test_no_window_crosses_the_border_of_a_run():
    bold, heard = scanned()
    model = DecodingModel(GRID, tr=2.0, window=(2.0, 6.0)).fit(bold, heard, run=RUN)
    whole = model.predict(bold, run=RUN)
    parts = [model.predict(bold[own == RUN]) for own in (1, 2, 3)]
    np.testing.assert_allclose(whole, np.concatenate(parts), atol=1e-9)
    assert np.flatnonzero(np.isnan(whole[:, 0])).tolist() == [97, 98, 99, 217, 218, 219, 297, 298, 299]


def test_drifts_are_taken_out_of_both_sides_within_runs():
    bold, heard = scanned(n_voxels=20)
    slow = np.concatenate([np.cos(2 * np.pi * (np.arange(n) + 0.5) / n) for n in (100, 120, 80)])[:, None]
    options = {"tr": 2.0, "window": (2.0, 6.0), "high_pass": 1 / 128}
    plain = DecodingModel(GRID, **options).fit(bold, heard, run=RUN)
    drifting = DecodingModel(GRID, **options).fit(bold + 900 * slow, heard - 7 * slow, run=RUN)
    np.testing.assert_allclose(plain.coef_, drifting.coef_, atol=1e-9)
    flat = []
    for own in (1, 2, 3):
        basis = slow_basis(np.arange((own == RUN).sum()), tr=2.0, detrend=True, high_pass=1 / 128)
        flat.append([side[own == RUN] - basis @ (basis.T @ side[own == RUN]) for side in (bold, heard)])
    clean, true = (np.concatenate(side) for side in zip(*flat, strict=True))
    rows = plain.learned_rows_
    z = (clean - clean.mean(0)) / clean.std(0)
    x = np.concatenate([z[rows + lag] for lag in (1, 2, 3)], axis=1)
    oracle = np.stack([Ridge(a).fit(x, true[rows, k]).predict(x) for k, a in enumerate(plain.best_alphas_)], axis=1)
    np.testing.assert_allclose(plain.predict(bold, run=RUN)[rows], oracle, atol=1e-7)
    np.testing.assert_allclose(plain.truth(heard, run=RUN), true, atol=1e-9)


def test_censored_and_missing_volumes_are_in_no_window():
    bold, heard = scanned()
    keep = ~np.isin(np.arange(300), [40, 41, 150])
    spoiled = np.where(keep[:, None], bold, np.nan)
    options = {"tr": 2.0, "window": (2.0, 6.0), "cv": BlockedFolds(4, tr=2.0)}
    masked = DecodingModel([10.0], **options).fit(spoiled, heard, run=RUN, sample_mask=keep)
    lost = [37, 38, 39, 40, 97, 98, 99, 147, 148, 149, 217, 218, 219, 297, 298, 299]
    assert masked.learned_rows_.tolist() == [row for row in range(300) if row not in lost]
    assert np.flatnonzero(np.isnan(masked.predict(spoiled, run=RUN, sample_mask=keep)[:, 0])).tolist() == lost
    volumes = np.concatenate([np.arange(n) for n in (100, 120, 80)])[keep]
    without = DecodingModel([10.0], **options).fit(bold[keep], heard[keep], run=RUN[keep], volumes=volumes)
    rows = np.flatnonzero(keep)[without.learned_rows_]
    assert rows.tolist() == [row for row in masked.learned_rows_ if keep[row]]
    with pytest.raises(InputError, match="NaN or infinity in 3 volumes, in voxels of the fit"):
        masked.predict(spoiled, run=RUN)


def test_voxels_and_features_without_values_are_left_out():
    bold, heard = scanned()
    spoiled, said = bold.copy(), np.c_[heard, np.full(300, 3.0)]
    spoiled[:, 3], spoiled[7, 5] = 4.0, np.nan
    model = DecodingModel(GRID, tr=2.0).fit(spoiled, said)
    assert np.flatnonzero(~model.fitted_voxels_).tolist() == [3, 5]
    assert model.fitted_features_.tolist() == [True] * 4 + [False]
    others = DecodingModel(GRID, tr=2.0).fit(np.delete(bold, [3, 5], axis=1), heard)
    np.testing.assert_allclose(np.delete(model.coef_, [3, 5], axis=1)[:, :, :4], others.coef_, atol=1e-12)
    found = model.predict(spoiled)
    assert np.isfinite(found[:280, :4]).all() and np.isnan(found[:, 4]).all()
    assert np.isnan(model.score(spoiled, said)[4])
    assert sum("left out" in note for note in model.notes_) == 3


def test_score_is_pearsons_r_of_each_feature():
    bold, heard = scanned()
    model = DecodingModel(GRID, tr=2.0, window=(2.0, 6.0)).fit(bold[:200], heard[:200])
    predicted = model.predict(bold[200:])[:97]
    expected = [pearsonr(a, b)[0] for a, b in zip(predicted.T, heard[200:297].T, strict=True)]
    np.testing.assert_allclose(model.score(bold[200:], heard[200:]), expected, atol=1e-9)
    found = GridSearchCV(
        DecodingModel(GRID, tr=2.0, window=(2.0, 6.0)),
        {"scale": ["columns", "band", None]},
        cv=BlockedFolds(3, tr=2.0),
        scoring=lambda fitted, x, y: float(fitted.score(x, y).mean()),
    ).fit(bold, heard)
    assert np.isfinite(found.cv_results_["mean_test_score"]).all()


def test_a_saved_fit_predicts_the_same(tmp_path):
    bold, heard = scanned()
    model = DecodingModel(GRID, BlockedFolds(3, tr=2.0), tr=2.0, high_pass=1 / 128).fit(bold, heard, run=RUN)
    path = model.save(tmp_path / "fit.safetensors")
    again = DecodingModel.load(path)
    np.testing.assert_array_equal(again.predict(bold, run=RUN), model.predict(bold, run=RUN))
    assert again.get_params()["window"] == [0.0, 12.0] and again.cv.n_splits == 3
    path.write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match=r"a file of DecodingModel\.save is needed"):
        DecodingModel.load(path)


def test_what_cannot_be_used_is_refused():
    bold, heard = scanned()
    model = DecodingModel(GRID, tr=2.0)
    with pytest.raises(InputError, match="the array of features is codes"):
        model.fit(bold, np.ones((300, 2), np.int32))
    with pytest.raises(AlignmentError, match="features have 299 rows and the BOLD 300"):
        model.fit(bold, heard[:-1])
    said = heard.copy()
    said[5] = np.nan
    with pytest.raises(InputError, match="NaN or infinity in 1 of 300 training rows"):
        model.fit(bold, said)
    with pytest.raises(InputError, match=r"no volume begins 2\.5 to 3 s after"):
        DecodingModel(tr=2.0, window=(2.5, 3.0)).fit(bold, heard)
    with pytest.raises(InputError, match="cv leaves a gap of 4 s and windows are 12 s long"):
        DecodingModel(cv=BlockedFolds(4, 4.0, tr=2.0), tr=2.0).fit(bold, heard)
    with pytest.raises(InputError, match="leaves nothing of run 1"):
        DecodingModel(tr=2.0, high_pass=0.2).fit(bold, heard, run=np.r_[np.ones(3), np.full(297, 2)])
    with pytest.raises(InputError, match="BOLD has 11 voxels, the fit 12"):
        model.fit(bold, heard).predict(bold[:, 1:])
