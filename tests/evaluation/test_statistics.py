"""Intervals and chance by TR, against scipy and known answers."""

import numpy as np
import pytest
from scipy.stats import binomtest, pearsonr

from giblet.errors import InputError
from giblet.evaluation.statistics import Resampling, correlations, pearson, sums_by_tr


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
    assert found.defined.all()
    np.testing.assert_allclose(found.r, [pearsonr(x[:, v], y[:, v]).statistic for v in range(5)], atol=1e-10)
    assert found.mean == pytest.approx(np.mean(found.r))


@pytest.mark.parametrize("value", [0.0, 0.3, -1e6, 1e-20])
def test_a_constant_prediction_has_no_correlation_and_says_so(rng, value):
    x = rng.standard_normal((40, 3))
    y = x.copy()
    y[:, 1] = value
    found = correlations(x, y)
    assert found.defined.tolist() == [True, False, True]
    assert found.n_undefined == 1
    assert found.mean == pytest.approx(1.0)
    assert correlations(x[:, :1], y[:, 1:2]).mean is None


def test_what_single_precision_leaves_of_a_constant_is_no_variance(rng):
    x = rng.standard_normal((40, 1))
    y = np.float32(0.1) + np.float32(1e-8) * rng.standard_normal((40, 1)).astype(np.float32)
    assert correlations(x, y).mean is None


def test_nan_is_refused_with_its_number(rng):
    x = rng.standard_normal((10, 2))
    y = x.copy()
    y[3, 1] = np.nan
    with pytest.raises(InputError, match="prediction holds 1 NaN"):
        correlations(x, y)


def test_pooled_sums_give_the_correlation_of_all_values(rng):
    x, y = rng.standard_normal((12, 4, 7)), rng.standard_normal((12, 4, 7))
    y += x
    sums = sums_by_tr(x, y)
    assert pearson(sums.sum(0)) == pytest.approx(pearsonr(x.ravel(), y.ravel()).statistic)
    drawn = [3, 3, 5, 0]
    assert pearson(sums[drawn].sum(0)) == pytest.approx(pearsonr(x[drawn].ravel(), y[drawn].ravel()).statistic)


def test_draws_keep_neighbours_together_and_the_number_of_trs(rng):
    plan = Resampling(100, 1.5, n_draws=50)
    assert plan.block == 10
    assert (plan.counts.sum(axis=1) == 100).all()
    marked = np.zeros(100)
    marked[:10] = 1  # of ten successive TRs a draw holds successive ones, not a binomial sample
    assert plan.counts.sum(axis=0).std() < 30
    changes = (plan.counts != np.roll(plan.counts, 1, axis=1)).sum(axis=1)
    assert changes.max() <= 2 * 10


def test_intervals_of_dependent_series_hold_their_mean_as_often_as_they_say():
    """The naive interval holds it in about 70 % of such series; 5 blocks too few cost some of the 95 %."""
    rng = np.random.default_rng(1)
    plan = Resampling(150, 1.5, n_draws=400)
    held = naive = 0
    for series in ar1(rng, 150, 0.6, 300).T:
        low, high = plan.interval(plan.counts @ series / 150)
        held += low <= 0 <= high
        naive += abs(series.mean()) < 1.96 * series.std(ddof=1) / np.sqrt(150)
    assert held / 300 > 0.85 > 0.75 > naive / 300


def test_where_all_trs_are_right_the_interval_is_wilsons_on_blocks():
    plan = Resampling(90, 1.5)
    found = plan.mean(np.ones(90))
    oracle = binomtest(9, 9).proportion_ci(method="wilson")
    assert (found.value, found.low, found.high) == (1.0, pytest.approx(oracle.low), pytest.approx(1.0))


def test_too_short_a_part_has_no_interval_and_no_shifts_and_says_so():
    plan = Resampling(30, 1.5)
    assert plan.mean(np.linspace(0, 1, 30)).low is None
    assert len(plan.shifts) == 0
    assert plan.chance(0.5, lambda k: 0.0).p is None
    assert len(plan.notes) == 2


def test_shifts_bring_every_tr_beyond_the_hrf():
    plan = Resampling(87, 1.5)
    assert (plan.shifts * 1.5).min() >= 32
    assert ((87 - plan.shifts) * 1.5).min() >= 32
    assert len(plan.shifts) == 44


def test_chance_of_a_true_prediction_is_small_and_of_noise_is_uniform():
    rng = np.random.default_rng(2)
    plan = Resampling(120, 1.5)

    def p_of(x, y):
        def score(k):
            return float(correlations(x, np.roll(y, k, axis=0)).r[0])

        return plan.chance(score(0), score).p

    x = ar1(rng, 120, 0.6)
    assert p_of(x, x + rng.standard_normal((120, 1))) == pytest.approx(1 / (1 + len(plan.shifts)))
    p = [p_of(ar1(rng, 120, 0.6), ar1(rng, 120, 0.6)) for _ in range(100)]
    assert np.mean(np.array(p) < 0.1) < 0.25
    assert 0.35 < np.mean(p) < 0.65
