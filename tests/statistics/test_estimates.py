"""Intervals and chance by TR, against scipy and known answers."""

import numpy as np
import pytest
from scipy.stats import binomtest, pearsonr

from giblet.errors import InputError
from giblet.evaluation.reconstruction import code_pairs
from giblet.statistics.correlation import correlations, mean_correlation_influence, pooled_correlation
from giblet.statistics.estimates import ScoredTRs


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def ar1(rng, n, rho, columns=1):
    x = rng.standard_normal((n, columns))
    for t in range(1, n):
        x[t] = rho * x[t - 1] + np.sqrt(1 - rho**2) * x[t]
    return x


def test_correlations_are_scipys(rng):
    x, y = rng.standard_normal((40, 5)) * 3 + 1000, rng.standard_normal((40, 5)) - 7
    y += 0.01 * x
    found = correlations(x, y)
    assert found.defined.all() and not found.constant.any()
    np.testing.assert_allclose(found.r, [pearsonr(x[:, v], y[:, v]).statistic for v in range(5)], atol=1e-10)
    assert found.mean == pytest.approx(np.mean(found.r))


def test_correlations_within_runs_are_scipys_weighted_by_trs(rng):
    run = np.repeat([3, 1], [30, 50])
    x = rng.standard_normal((80, 2))
    y = x + rng.standard_normal((80, 2))
    levels = np.where(run == 3, 40.0, -10.0)[:, None]
    found = correlations(x + levels, y - levels, run)
    oracle = [
        (30 * pearsonr(x[:30, v], y[:30, v]).statistic + 50 * pearsonr(x[30:, v], y[30:, v]).statistic) / 80
        for v in range(2)
    ]
    np.testing.assert_allclose(found.r, oracle, atol=1e-12)


@pytest.mark.parametrize("value", [0.0, 0.3, -1e6, 1e-20])
def test_a_constant_prediction_scores_0_and_is_counted(rng, value):
    x = rng.standard_normal((40, 3))
    y = x.copy()
    y[:, 1] = value
    found = correlations(x, y)
    assert found.constant.tolist() == [False, True, False]
    assert found.mean == pytest.approx(2 / 3)
    truth = x.copy()
    truth[:, 2] = value
    missing = correlations(truth, y)
    assert missing.n_undefined == 1
    assert missing.mean == pytest.approx(1 / 2)
    assert correlations(truth[:, 2:], y[:, 2:]).mean is None


def test_float32_rounding_of_a_constant_counts_as_constant(rng):
    x = rng.standard_normal((40, 1))
    y = np.float32(0.1) + np.float32(1e-8) * rng.standard_normal((40, 1)).astype(np.float32)
    assert correlations(x, y).mean == 0


def test_nan_is_refused_with_its_number(rng):
    x = rng.standard_normal((10, 2))
    y = x.copy()
    y[3, 1] = np.nan
    with pytest.raises(InputError, match="prediction holds 1 NaN"):
        correlations(x, y)


def test_pooled_correlation_is_scipys_over_all_values(rng):
    x, y = rng.standard_normal((12, 4, 7)), rng.standard_normal((12, 4, 7))
    y += x
    found = pooled_correlation(x, y)
    assert found.r == pytest.approx(pearsonr(x.ravel(), y.ravel()).statistic)
    assert np.isnan(pooled_correlation(x, np.full_like(x, 3.0)).r)


@pytest.mark.parametrize("pooled", [True, False])
def test_influences_say_by_how_much_a_correlation_changes_with_its_trs(rng, pooled):
    """Jackknife: leaving out one TR of n changes r by minus its influence over n - 1."""
    x = rng.standard_normal((60, 5))
    y = 0.6 * x + rng.standard_normal((60, 5))

    def r(rows):
        return pooled_correlation(x[rows], y[rows]).r if pooled else correlations(x[rows], y[rows]).mean

    influence = pooled_correlation(x, y).influence if pooled else mean_correlation_influence(x, y)
    whole = np.arange(60)
    without = np.array([r(np.delete(whole, k)) for k in whole]) - r(whole)
    assert influence.mean() == pytest.approx(0, abs=1e-12)
    assert np.corrcoef(-influence / 59, without)[0, 1] > 0.98
    assert np.std(influence / 59) == pytest.approx(np.std(without), rel=0.15)


@pytest.mark.parametrize("phi", [0.0, 0.6])
@pytest.mark.parametrize("n", [100, 300])
def test_intervals_of_means_have_nominal_coverage(n, phi):
    """The naive interval holds the mean in about 70 % of series with an AR(1) of .6."""
    rng = np.random.default_rng(1)
    trs = ScoredTRs.of(n, 1.5)
    held = naive = 0
    for series in ar1(rng, n, phi, 1000).T:
        found = trs.estimate(float(series.mean()), series)
        held += found.low <= 0 <= found.high
        naive += abs(series.mean()) < 1.96 * series.std(ddof=1) / np.sqrt(n)
    assert 0.93 < held / 1000 < 0.985
    if phi:
        assert naive / 1000 < 0.8


def test_intervals_of_a_margin_have_nominal_coverage():
    """A prediction with half of the truth beside a null that has none: their difference, on the same TRs."""
    rng = np.random.default_rng(2)
    margins, held = [], []
    for _ in range(400):
        x = ar1(rng, 150, 0.6, 4)
        y, null = 0.5 * x + ar1(rng, 150, 0.6, 4), ar1(rng, 150, 0.6, 4)
        own, other = pooled_correlation(x, y), pooled_correlation(x, null)
        margins.append(own.r - other.r)
        held.append(ScoredTRs.of(150, 1.5).estimate(own.r - other.r, own.influence - other.influence))
    expected = np.mean(margins)
    assert 0.92 <= np.mean([one.low <= expected <= one.high for one in held]) <= 0.985


def test_where_all_trs_are_right_the_interval_is_wilsons():
    found = ScoredTRs.of(90, 1.5).mean(np.ones(90))
    oracle = binomtest(8, 8).proportion_ci(method="wilson")
    assert (found.value, found.low, found.high) == (1.0, pytest.approx(oracle.low), pytest.approx(1.0))


def test_too_few_trs_have_no_interval_and_no_p_and_say_how_many_it_takes():
    trs = ScoredTRs.of(30, 1.5)
    assert trs.mean(np.linspace(0, 1, 30)).low is None
    assert trs.test(np.zeros((30, 1)), np.zeros((30, 1))) is None
    assert [note.split(":")[0] for note in trs.notes] == ["no intervals", "no p"]
    assert "64 are needed" in trs.notes[0] and "43 TRs" in trs.notes[1]


def test_pairs_are_compared_with_those_of_all_rotations():
    rng = np.random.default_rng(3)
    truth, predicted = rng.integers(0, 4, (80, 3)), rng.integers(0, 4, (80, 3))
    pairs = code_pairs(truth, predicted)
    chance = ScoredTRs.of(80, 1.5, None).chance_of_pairs(pairs)
    shares = [(truth == np.roll(predicted, k, axis=0)).mean() for k in range(80)]
    assert chance.mean == pytest.approx(np.mean(shares))
    line = np.vander(np.linspace(-1, 1, 80), 3)  # what drifts are without a high-pass: mean, line and parabola
    hot = [(codes[:, :, None] == np.arange(4)).reshape(80, -1).astype(float) for codes in (truth, predicted)]
    x, y = (values - line @ np.linalg.lstsq(line, values)[0] for values in hot)
    oracle = np.array([(x * np.roll(y, k, axis=0)).sum() for k in range(80)]) / truth.size
    np.testing.assert_allclose(chance.by_rotation, oracle, atol=1e-12)
    assert chance.p == pytest.approx((oracle >= oracle[0] - 1e-12).mean())


def test_an_accuracy_does_not_come_from_a_drift_that_both_sides_have():
    """Codes of a film that grows louder, and a decoder whose answers drift: p <= .05 in 31 % of such cases before."""
    rng = np.random.default_rng(11)
    trs, line = ScoredTRs.of(300, 1.5), np.linspace(-2, 2, 300)[:, None]
    p = []
    for _ in range(200):
        codes = [
            np.digitize(rng.choice([-1, 1]) * line + rng.standard_normal((300, 8)), [-2, -1, 0, 1, 2]) for _ in range(2)
        ]
        p.append(trs.chance_of_pairs(code_pairs(*codes)).p)
    assert 0.01 <= np.mean(np.array(p) <= 0.05) <= 0.10


def test_stretches_are_rotated_each_by_itself():
    stretch = np.repeat([0, 1], [50, 60])
    trs = ScoredTRs(1.5, stretch, None)
    between = np.zeros((110, 110))
    between[:50, 50:] = between[50:, :50] = 1.0  # what a prediction says of the other stretch counts for nothing
    assert not trs.chance_of_pairs(between).by_rotation.any()
    right = np.eye(110)
    assert len(np.unique(trs.chance_of_pairs(right).by_rotation.round(9))) > 2
    assert trs.chance_of_pairs(right).p <= 5 / 2001  # some draws move nothing
