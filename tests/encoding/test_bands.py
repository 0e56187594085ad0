"""Scores by band against formulas written out; and simulated truths, of which the slow ones take minutes."""

import numpy as np
import pytest
from scipy.signal import lfilter
from sklearn.metrics import r2_score

from giblet.encoding import BlockedFolds, EncodingModel, split_scores, unique_variance
from giblet.errors import InputError

FOLDS = BlockedFolds(4, 16.0, tr=2.0)
GRID = np.logspace(-1, 5, 7)
RUN = np.repeat([1, 2], [120, 80])


def simulated(n=400, n_voxels=30, seed=0):
    rng = np.random.default_rng(seed)
    x = {"mel": rng.standard_normal((n, 10)), "words": rng.standard_normal((n, 3)), "none": rng.standard_normal((n, 5))}
    x["words"] += 0.5 * x["mel"][:, :3]
    bold = 0.3 * x["mel"] @ rng.standard_normal((10, n_voxels)) + 0.5 * x["words"] @ rng.standard_normal((3, n_voxels))
    return x, bold + rng.standard_normal((n, n_voxels)) + 500


def part(x, rows):
    return {name: values[rows] for name, values in x.items()}


@pytest.fixture(scope="module")
def fitted():
    x, bold = simulated()
    train, test = slice(0, 200), slice(200, 400)
    return EncodingModel(GRID, FOLDS, n_iter=10).fit(part(x, train), bold[train]), part(x, test), bold[test]


@pytest.mark.parametrize("kind", ["correlation", "r2"])
@pytest.mark.parametrize("run", [None, RUN])
def test_split_scores_sum_to_the_whole(fitted, kind, run):
    model, x, bold = fitted
    scores = split_scores(model, x, bold.astype(np.float32), kind=kind, run=run)
    np.testing.assert_allclose(sum(scores.by_band.values()), scores.whole, atol=1e-6)
    assert list(scores.by_band) == ["mel", "words", "none"]


def test_the_whole_is_r_and_r2_of_what_is_predicted(fitted):
    model, x, bold = fitted
    np.testing.assert_allclose(split_scores(model, x, bold).whole, model.score(x, bold), atol=1e-9)
    predicted = model.predict(x)
    centred = predicted - predicted.mean(0), bold - bold.mean(0)
    expected = r2_score(centred[1], centred[0], multioutput="raw_values")
    np.testing.assert_allclose(split_scores(model, x, bold, kind="r2").whole, expected, atol=1e-9)


def test_a_bands_part_is_its_covariance_with_the_bold(fitted):
    model, x, bold = fitted
    found = split_scores(model, x, bold).by_band
    still = {name: np.tile(band.mean, (200, 1)) for name, band in model.bands_.items()}
    whole = model.predict(x)
    for name in x:
        own = model.predict({**still, name: x[name]})
        covariance = ((own - own.mean(0)) * (bold - bold.mean(0))).mean(0)
        np.testing.assert_allclose(found[name], covariance / (whole.std(0) * bold.std(0)), atol=1e-9)


def test_voxels_without_a_score_are_nan_and_the_callers_bold_stays(fitted):
    model, x, bold = fitted
    spoiled = bold.copy()
    spoiled[4, 1], spoiled[:, 2] = np.nan, 7.0
    before = spoiled.copy()
    scores = split_scores(model, x, spoiled, kind="r2")
    np.testing.assert_array_equal(spoiled, before)
    assert np.flatnonzero(np.isnan(scores.whole)).tolist() == [1, 2]
    assert np.isnan(scores.by_band["mel"][[1, 2]]).all()


def test_unique_variance_is_the_whole_without_a_fit_of_the_others(fitted):
    model, x_test, bold_test = fitted
    x, bold = simulated()
    x, bold = part(x, slice(0, 200)), bold[:200]
    found = unique_variance(model, x, bold, x_test, bold_test)
    others = EncodingModel(GRID, FOLDS, n_iter=10).fit({"mel": x["mel"], "none": x["none"]}, bold)
    rest = others.predict({"mel": x_test["mel"], "none": x_test["none"]})
    predicted = model.predict(x_test)
    truth = bold_test - bold_test.mean(0)
    expected = [
        1 - ((truth - (p - p.mean(0))) ** 2).sum(0) / (truth**2).sum(0) for p in (predicted, rest)
    ]  # fmt: skip
    np.testing.assert_allclose(found["words"], expected[0] - expected[1], atol=1e-9)
    assert found["words"].mean() > 0.05
    assert abs(found["none"].mean()) < 0.02


def test_options_by_band_go_with_the_band():
    x, bold = simulated(n=200)
    model = EncodingModel(GRID, FOLDS, n_iter=2, scale={"mel": "band"}, n_components={"mel": 2, "none": 1})
    model.fit(x, bold)
    assert set(unique_variance(model, x, bold, x, bold)) == set(x)


def test_one_band_has_no_others():
    x, bold = simulated(n=200)
    model = EncodingModel(GRID, FOLDS).fit(x["mel"], bold)
    with pytest.raises(InputError, match="a mapping of at least two bands"):
        unique_variance(model, x["mel"], bold, x["mel"], bold)
    with pytest.raises(InputError, match="kind is 'r'"):
        split_scores(model, x["mel"], bold, kind="r")


def smooth(rng, n, columns, rho):
    """AR(1) of variance 1."""
    return lfilter([np.sqrt(1 - rho**2)], [1, -rho], rng.standard_normal((n + 200, columns)), axis=0)[200:]


@pytest.mark.slow
def test_held_out_r_reaches_its_analytic_ceiling():
    """Truth: r of the noiseless response with BOLD is sqrt(signal / (signal + noise))."""
    shares = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        x = smooth(rng, 1200, 20, 0.5)
        signal = x @ rng.standard_normal((20, 200))
        signal /= signal.std(0)
        ratio = np.geomspace(0.3, 3, 200)
        bold = signal * np.sqrt(ratio) + smooth(rng, 1200, 200, 0.3)
        train = slice(0, 800)
        model = EncodingModel(cv=BlockedFolds(5, 32.0, tr=2.0)).fit(x[train], bold[train].astype(np.float32))
        shares.append(model.score(x[832:], bold[832:]) / np.sqrt(ratio / (1 + ratio)))
    by_quarter = np.mean(shares, axis=0).reshape(4, 50).mean(axis=1)  # from a signal of 0.3 times the noise to 3 times
    assert by_quarter.min() >= 0.95, by_quarter
    assert np.mean(shares) <= 1


@pytest.mark.slow
def test_a_band_that_had_no_part_adds_nothing():
    """Voxel by voxel within two standard errors of 0, those of 14 blocks of test TRs; what it costs to fit is small."""
    unique, over = [], []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        x = {"there": smooth(rng, 900, 10, 0.5), "not": smooth(rng, 900, 10, 0.5)}
        bold = x["there"] @ rng.standard_normal((10, 50)) / 3 + smooth(rng, 900, 50, 0.3)
        train, test = slice(0, 600), slice(620, 900)
        cv = BlockedFolds(5, 32.0, tr=2.0)
        model = EncodingModel(cv=cv, n_iter=30).fit(part(x, train), bold[train])
        found = unique_variance(model, part(x, train), bold[train], part(x, test), bold[test])
        assert found["there"].mean() > 0.2
        rest = EncodingModel(cv=cv).fit({"there": x["there"][train]}, bold[train])
        predictions = rest.predict({"there": x["there"][test]}), model.predict(part(x, test))
        residuals = [((left := bold[test] - predicted) - left.mean(0)) ** 2 for predicted in predictions]
        gained = ((residuals[0] - residuals[1]) / bold[test].var(0)).reshape(14, 20, 50).mean(axis=1)
        np.testing.assert_allclose(gained.mean(0), found["not"], atol=1e-9)
        unique.append(found["not"])
        over.append(found["not"] / (gained.std(0, ddof=1) / np.sqrt(14)))
    assert np.mean(np.abs(over) > 2) <= 0.08
    assert np.mean(np.asarray(over) > 2) <= 0.04
    assert -0.002 < np.mean(unique) < 0.001


@pytest.mark.slow
def test_what_a_band_of_no_part_costs_is_small_and_falls_with_the_training_trs():
    """The figures of docs/encoding.md, which are of 24 data sets."""
    costs = {}
    for n_train in (300, 1200):
        found = []
        for seed in range(16):
            rng = np.random.default_rng(seed)
            x = {"there": smooth(rng, n_train + 300, 10, 0.5), "not": smooth(rng, n_train + 300, 10, 0.5)}
            bold = x["there"] @ rng.standard_normal((10, 50)) / 3 + smooth(rng, n_train + 300, 50, 0.3)
            train, test = slice(0, n_train), slice(n_train + 20, n_train + 300)
            model = EncodingModel(cv=BlockedFolds(5, 32.0, tr=2.0)).fit(part(x, train), bold[train])
            unique = unique_variance(model, part(x, train), bold[train], part(x, test), bold[test])
            found.append(-unique["not"].mean())
        costs[n_train] = np.mean(found)
    assert 0.001 < costs[300] < 0.003, costs
    assert 2 < costs[300] / costs[1200] < 8, costs


@pytest.mark.slow
@pytest.mark.parametrize("how", ["shuffled", "rotated"])
def test_bold_without_its_time_in_training_gives_chance_in_the_test(how):
    """Held-out r of the rest of the scan, which has its time: mean 0 within two standard errors over data sets."""
    found, whole = [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        x = smooth(rng, 600, 10, 0.5)
        bold = x @ rng.standard_normal((10, 20)) + smooth(rng, 600, 20, 0.3)
        train, test = np.arange(400), np.arange(420, 600)
        spoiled = np.roll(bold[:400], int(rng.integers(60, 340)), axis=0) if how == "rotated" else (
            rng.permutation(bold[:400])
        )  # fmt: skip
        model = EncodingModel(cv=BlockedFolds(5, 32.0, tr=2.0))
        found.append(np.mean(model.fit(x[train], spoiled).score(x[test], bold[test])))
        whole.append(np.mean(model.fit(x[train], bold[train]).score(x[test], bold[test])))
    assert np.mean(whole) > 0.8
    assert abs(np.mean(found)) <= 2.5 * np.std(found, ddof=1) / np.sqrt(len(found))
