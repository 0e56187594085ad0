"""The rotation test: equal to a plain loop over rotations, blind to drifts, and right about chance on known truth."""

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.stats import norm, pearsonr

from giblet.errors import InputError
from giblet.statistics.correction import false_discovery_q
from giblet.statistics.rotation import rotation_test
from giblet.statistics.rotations import HIGH_PASS, circular, too_short

TR = 1.5


def ar1(rng, n, phi, columns):
    return lfilter([1], [1, -phi], rng.standard_normal((n + 200, columns)), axis=0)[200:]


def without_drifts(series, high_pass=HIGH_PASS):
    """Least squares on drifts written out here: constant, line, parabola, and the slow terms of a DCT."""
    n = len(series)
    t = np.arange(n)
    columns = [t**0, t, t**2]
    columns += [np.cos(np.pi * k * (t + 0.5) / n) for k in range(1, int(2 * n * TR * high_pass) + 1)]
    basis = np.stack(columns, axis=1).astype(float)
    return series - basis @ np.linalg.lstsq(basis, series, rcond=None)[0]


def loop(truth, predicted):
    """Correlations of one column by rotation: without drifts, and prewhitened by the truth's own filter."""
    x, y = without_drifts(truth), without_drifts(predicted)
    phi = (x[1:] @ x[:-1]) / (x @ x)
    white_x, white_y = (np.r_[np.sqrt(1 - phi**2) * s[0], s[1:] - phi * s[:-1]] for s in (x, y))
    plain = [pearsonr(x, np.roll(y, k)).statistic for k in range(len(x))]
    white = [pearsonr(white_x, np.roll(white_y, k)).statistic for k in range(len(x))]
    return np.array(plain), np.array(white)


@pytest.mark.parametrize("n", [150, 151])
def test_rotation_test_equals_a_loop_over_rotations(n):
    rng = np.random.default_rng(0)
    truth, predicted = ar1(rng, n, 0.6, 3), ar1(rng, n, 0.8, 3)
    predicted[:, 0] += truth[:, 0]
    found = rotation_test(truth, predicted, tr=TR)
    loops = [loop(truth[:, v], predicted[:, v]) for v in range(3)]
    for v, (plain, white) in enumerate(loops):
        z = np.arctanh(white)
        assert found.r[v] == pytest.approx(plain[0], abs=1e-10)
        assert found.p[v] == pytest.approx(norm.sf(z[0] / np.sqrt(np.mean(z**2))), rel=1e-8)
        assert found.p_rank[v] == pytest.approx(np.mean(white >= white[0] - 1e-12))
    np.testing.assert_allclose(found.mean_by_rotation, np.mean([plain for plain, _ in loops], axis=0), atol=1e-10)
    np.testing.assert_allclose(found.whitened_by_rotation, np.mean([white for _, white in loops], axis=0), atol=1e-10)
    assert found.n_rotations == n


def test_drifts_on_either_side_change_nothing():
    rng = np.random.default_rng(1)
    truth, predicted = rng.standard_normal((300, 4)), rng.standard_normal((300, 4))
    t = np.linspace(0, 1, 300)[:, None]
    drift = 40 + 9 * t - 30 * t**2 + 12 * np.cos(np.pi * 3 * (np.arange(300)[:, None] + 0.5) / 300)
    plain, drifting = (rotation_test(truth + d, predicted + d, tr=TR) for d in (0, drift))
    np.testing.assert_allclose(drifting.r, plain.r, atol=1e-9)
    np.testing.assert_allclose(drifting.p, plain.p, atol=1e-9)


def test_runs_with_other_baselines_are_scored_within_runs():
    rng = np.random.default_rng(2)
    run = np.repeat(["a", "b", "c"], [100, 120, 80])
    truth, predicted = rng.standard_normal((300, 5)), rng.standard_normal((300, 5))
    predicted += truth
    baseline = np.repeat([0.0, 70.0, -30.0], [100, 120, 80])[:, None]
    found = rotation_test(truth + baseline, predicted - baseline, tr=TR, run=run)
    by_run = []
    for name in "abc":
        x, y = (without_drifts(series[run == name]) for series in (truth, predicted))
        by_run.append([pearsonr(x[:, v], y[:, v]).statistic for v in range(5)])
    np.testing.assert_allclose(found.r, np.average(by_run, axis=0, weights=[100, 120, 80]), atol=1e-10)
    assert (found.p < 1e-6).all()
    assert found.p_rank.max() == 1 / found.n_rotations


def test_a_prediction_that_never_changes_is_worth_nothing_and_counts():
    rng = np.random.default_rng(3)
    truth = rng.standard_normal((200, 3))
    predicted = truth + rng.standard_normal((200, 3))
    predicted[:, 1] = 1e4
    found = rotation_test(truth, predicted, tr=TR)
    assert found.r[1] == 0
    assert found.p[1] == found.p_rank[1] == 1
    assert found.mean == pytest.approx((found.r[0] + found.r[2]) / 3)


def test_a_truth_that_never_changes_has_no_score_and_leaves_the_mean():
    rng = np.random.default_rng(4)
    truth = rng.standard_normal((200, 3))
    predicted = truth + rng.standard_normal((200, 3))
    truth[:, 1] = 870.1
    found = rotation_test(truth, predicted, tr=TR)
    assert np.isnan([found.r[1], found.p[1], found.p_rank[1]]).all()
    assert found.mean == pytest.approx(np.nanmean(found.r))


@pytest.mark.parametrize("n", [64, 150])
@pytest.mark.parametrize("kind", ["white", "slow", "walk", "line", "parabola", "runs"])
def test_false_positive_rate_is_nominal(kind, n):
    """At 189995b: 7.5 to 24 % with slow series of 64 TRs, 38 to 53 % with straight lines, 19 to 38 % with baselines."""
    rng = np.random.default_rng(5)
    m, t = 3000, np.linspace(-1, 1, n)[:, None]
    make = {
        "white": lambda: rng.standard_normal((n, m)),
        "slow": lambda: ar1(rng, n, 0.9, m),
        "walk": lambda: np.cumsum(rng.standard_normal((n, m)), axis=0),
        "line": lambda: rng.standard_normal((n, m)) + 3 * rng.standard_normal(m) * t,
        "parabola": lambda: rng.standard_normal((n, m)) + 3 * rng.standard_normal(m) * t**2,
        "runs": lambda: rng.standard_normal((n, m)) + 3 * rng.standard_normal((2, m)).repeat(n // 2, axis=0),
    }[kind]
    run = np.repeat([1, 2], n // 2) if kind == "runs" else None
    if run is not None and n == 64:
        pytest.skip("two runs of 32 TRs are too short to be rotated")
    found = rotation_test(make(), make(), tr=TR, run=run)
    for p in (found.p, found.p_rank):
        assert 0.03 < np.mean(p <= 0.05) < 0.07
        assert np.mean(p <= 0.01) < 0.016


def test_prewhitening_keeps_power_in_slow_noise():
    rng = np.random.default_rng(6)
    signal = lfilter([1], [1, -0.5], rng.standard_normal((300, 400)), axis=0)
    signal /= signal.std(axis=0)
    noise = ar1(rng, 300, 0.9, 400)
    truth = 0.2 * signal + np.sqrt(1 - 0.2**2) * noise / noise.std(axis=0)
    found = rotation_test(truth, signal, tr=TR)
    x, y = without_drifts(truth), without_drifts(signal)
    x, y = x / np.linalg.norm(x, axis=0), y / np.linalg.norm(y, axis=0)
    z = np.arctanh(np.array([(x * np.roll(y, k, axis=0)).sum(axis=0) for k in range(300)]))
    unwhitened = norm.sf(z[0] / np.sqrt(np.mean(z**2, axis=0)))
    assert np.mean(found.p <= 0.05) > np.mean(unwhitened <= 0.05) + 0.1


@pytest.mark.parametrize("phi", [0.0, 0.6, 0.9])
@pytest.mark.parametrize("n", [100, 300])
def test_intervals_of_the_mean_have_nominal_coverage(phi, n):
    """At 189995b: in 80 to 84 % with AR(1) noise of 0.9 at any length."""
    rng = np.random.default_rng(7)
    truth = ar1(rng, n, phi, 600)
    predicted = 0.4 * truth / truth.std() + np.sqrt(1 - 0.4**2) * ar1(rng, n, phi, 600) / ar1(rng, n, phi, 600).std()
    tests = [rotation_test(truth[:, [i]], predicted[:, [i]], tr=TR) for i in range(600)]
    expected = np.tanh(np.mean([np.arctanh(test.mean) for test in tests]))
    held = np.mean([low <= expected <= high for low, high in (test.mean_interval for test in tests)])
    assert 0.92 <= held <= 0.98


def test_mean_of_columns_that_share_their_noise_is_rotated_jointly():
    rng = np.random.default_rng(8)
    p = []
    for _ in range(400):
        shared, other = ar1(rng, 150, 0.7, 1), ar1(rng, 150, 0.7, 1)
        p.append(rotation_test(shared + 0.3 * rng.standard_normal((150, 20)), other.repeat(20, axis=1), tr=TR).mean_p)
    assert 0.03 <= np.mean(np.array(p) <= 0.05) <= 0.07


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"predicted": np.zeros((100, 3))}, r"truth has shape \(100, 2\), prediction \(100, 3\)"),
        ({"truth": np.full((100, 2), np.nan)}, "truth holds 200 NaN"),
        ({"run": np.repeat([1, 2], [30, 70])}, r"30 TRs \(45 s\) is too short.* 43 TRs"),
        ({"high_pass": 0.3}, "leave .* degrees of freedom.* 20 are needed: use 221 TRs"),
        ({"high_pass": 0.4}, r"high_pass is 0.4 Hz.* 0.333"),
        ({"tr": 1500}, "milliseconds"),
    ],
)
def test_data_that_cannot_be_tested_are_refused_with_the_reason(change, message):
    rng = np.random.default_rng(9)
    call = {"truth": rng.standard_normal((100, 2)), "predicted": rng.standard_normal((100, 2)), "tr": TR, **change}
    truth, predicted = call.pop("truth"), call.pop("predicted")
    with pytest.raises(InputError, match=message):
        rotation_test(truth, predicted, **call)


def test_too_short_says_how_many_trs_it_takes():
    assert too_short([43], 1.5) is None
    assert "43 TRs" in too_short([42], 1.5)
    assert too_short([32], 2.0) is None


@pytest.mark.parametrize("n_columns", [3, 60])
def test_a_rotation_test_as_a_table_holds_each_column_and_lists_few(n_columns):
    rng = np.random.default_rng(0)
    truth = rng.standard_normal((120, n_columns))
    found = rotation_test(truth, truth + rng.standard_normal(truth.shape), tr=1.5)
    table = found.to_pandas()
    for name in ("r", "p", "p_rank", "q", "p_fwe"):
        np.testing.assert_array_equal(table[name], getattr(found, name))
    page = found._repr_html_()
    assert f"<td>{found.mean:.3g}</td>" in page and page.count("<tr>") == (5 if n_columns == 3 else 2)
    assert repr(found).startswith(f"<RotationTest of {n_columns} columns by 120 rotations: mean r {found.mean:.3f} (")


def test_circular_products_equal_numpy_roll_at_fast_and_slow_lengths():
    rng = np.random.default_rng(10)
    for n in (60, 61, 64, 97, 1000, 997):
        x, y = rng.standard_normal((2, 4, n))
        expected = np.stack([(x * np.roll(y, k, axis=1)).sum(axis=1) for k in range(n)], axis=1)
        np.testing.assert_allclose(circular(x, y), expected, atol=1e-10)


def test_batches_of_columns_change_nothing(monkeypatch):
    rng = np.random.default_rng(11)
    run = np.repeat([1, 2], [90, 110])
    truth, predicted = ar1(rng, 200, 0.5, 700), ar1(rng, 200, 0.5, 700)
    truth[:, 3] = 5
    whole = rotation_test(truth, predicted, tr=TR, run=run)
    monkeypatch.setattr("giblet.statistics.rotations.VALUES_AT_A_TIME", 1)
    monkeypatch.setattr("giblet.statistics.rotations.COLUMNS_AT_A_TIME", 40)
    small = rotation_test(truth, predicted, tr=TR, run=run)
    for name in ("r", "p", "q", "p_rank", "p_fwe", "threshold_fwe", "mean_by_rotation", "pooled_by_rotation"):
        np.testing.assert_allclose(getattr(small, name), getattr(whole, name), atol=1e-12, err_msg=name)


def test_q_is_benjamini_and_hochberg_over_the_voxels_that_were_tested():
    """The step-up rule written out: q of the k-th smallest p is the least of p * n / rank from there on."""
    rng = np.random.default_rng(12)
    truth, predicted = rng.standard_normal((150, 40)), rng.standard_normal((150, 40))
    predicted[:, :8] += truth[:, :8]
    truth[:, 20:25] = 3
    found = rotation_test(truth, predicted, tr=TR)
    p = np.sort(found.p[np.isfinite(found.p)])
    assert len(p) == 35
    by_rank = p * 35 / np.arange(1, 36)
    expected = [min(1, by_rank[k:].min()) for k in range(35)]
    np.testing.assert_allclose(np.sort(found.q[np.isfinite(found.q)]), expected, rtol=1e-12)
    assert np.isnan(found.q[20:25]).all()
    both = false_discovery_q(np.stack([found.p, np.linspace(0, 1, 40)]))
    np.testing.assert_array_equal(both[0], found.q)  # models by voxels: never corrected over models
    assert np.isnan(false_discovery_q(np.full(3, np.nan))).all()


def test_family_wise_p_and_threshold_are_those_of_the_best_voxel_by_rotation():
    rng = np.random.default_rng(13)
    truth, predicted = ar1(rng, 151, 0.6, 12), ar1(rng, 151, 0.6, 12)
    predicted[:, 0] += truth[:, 0]
    truth[:, 5] = 1
    found = rotation_test(truth, predicted, tr=TR)
    alive = [v for v in range(12) if v != 5]
    plain, white = (np.stack(each) for each in zip(*(loop(truth[:, v], predicted[:, v]) for v in alive), strict=True))
    z = np.arctanh(white)
    z /= np.sqrt(np.mean(z**2, axis=1, keepdims=True))
    expected = [np.mean(z.max(axis=0) >= one[0] - 1e-9) for one in z]
    np.testing.assert_allclose(found.p_fwe[alive], expected)
    assert np.isnan(found.p_fwe[5])
    assert found.p_fwe[0] == pytest.approx(1 / 151)
    best = plain.max(axis=0)
    assert np.mean(best >= found.threshold_fwe - 1e-12) <= 0.05 < np.mean(best >= found.threshold_fwe - 1e-12) + 1 / 151


def test_a_study_of_nothing_has_a_voxel_above_the_threshold_as_often_as_it_says():
    rng = np.random.default_rng(14)
    above, small, discovered = [], [], []
    for _ in range(400):
        truth, predicted = ar1(rng, 200, 0.5, 30), ar1(rng, 200, 0.8, 30)
        truth[:, :10] = rng.standard_normal((200, 10))
        found = rotation_test(truth, predicted, tr=TR)
        above.append((found.r >= found.threshold_fwe).any())
        small.append((found.p_fwe <= 0.05).any())
        discovered.append((found.q <= 0.05).any())
    assert np.mean(above) <= 0.085 and 0.02 <= np.mean(small) <= 0.08 and np.mean(discovered) <= 0.08
