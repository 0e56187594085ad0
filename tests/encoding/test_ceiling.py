"""Ceilings: as written out from the papers, without bias on a known truth, and never a ratio of noise."""

from itertools import combinations

import numpy as np
import pytest
from scipy.signal import lfilter

from giblet.encoding.ceiling import (
    ceiling_p,
    ceiling_ratio,
    explainable_variance,
    intersubject_correlation,
    noise_ceiling,
    normalized_correlation,
)
from giblet.errors import InputError

TR = 1.5


def ar1(rng, n, phi, columns):
    return np.sqrt(1 - phi**2) * lfilter([1], [1, -phi], rng.standard_normal((n + 200, columns)), axis=0)[200:]


def repeats_of(rng, ceiling, n_repeats, n_trs=300, n_voxels=200, phi=0.0):
    """One series per repeat, whose correlation with the signal is `ceiling`, and the signal."""
    signal = ar1(rng, n_trs, phi, n_voxels)
    noise = np.stack([ar1(rng, n_trs, phi, n_voxels) for _ in range(n_repeats)])
    return ceiling * signal + np.sqrt(1 - ceiling**2) * noise, signal


@pytest.mark.parametrize("ceiling", [0.3, 0.5, 0.7, 0.9])
@pytest.mark.parametrize("n_repeats", [2, 4, 10])
@pytest.mark.parametrize("phi", [0.0, 0.5])
def test_a_simulated_ceiling_is_recovered_without_bias(ceiling, n_repeats, phi):
    """The mean over 200 draws. The root of a small and noisy variance reads low: .3 from two repeats of slow noise."""
    hard = ceiling == 0.3 and n_repeats == 2 and phi > 0
    rng = np.random.default_rng(0)
    repeats, _ = repeats_of(rng, ceiling, n_repeats, n_trs=600, phi=phi)
    of_mean = np.sqrt(ceiling**2 / (ceiling**2 + (1 - ceiling**2) / n_repeats))
    assert explainable_variance(repeats).mean() == pytest.approx(ceiling**2, abs=0.02)
    for method in ("signal power", "halves"):
        assert noise_ceiling(repeats, method=method).mean() == pytest.approx(ceiling, abs=0.02)
        assert noise_ceiling(repeats, method=method, of="mean").mean() == pytest.approx(
            of_mean, abs=0.035 if hard else 0.02
        )
    assert intersubject_correlation(repeats).expected.mean() == pytest.approx(ceiling, abs=0.02)


def test_the_ceiling_is_what_a_perfect_model_reaches():
    rng = np.random.default_rng(1)
    repeats, signal = repeats_of(rng, 0.6, 4, n_trs=1000)
    with_one = np.mean([np.corrcoef(repeats[0, :, v], signal[:, v])[0, 1] for v in range(200)])
    with_mean = np.mean([np.corrcoef(repeats.mean(axis=0)[:, v], signal[:, v])[0, 1] for v in range(200)])
    assert noise_ceiling(repeats).mean() == pytest.approx(with_one, abs=0.01)
    assert noise_ceiling(repeats, of="mean").mean() == pytest.approx(with_mean, abs=0.01)


def test_explainable_variance_is_what_the_papers_write():
    """Sahani and Linden's signal power; Schoppe et al., equation 4, and CC_max, equation 8; of one voxel."""
    rng = np.random.default_rng(2)
    repeats, _ = repeats_of(rng, 0.5, 5, n_voxels=1)
    y, n = repeats[:, :, 0], 5
    power = np.mean([one.var() for one in y])
    signal_power = (y.sum(axis=0).var() - n * power) / (n * (n - 1))
    assert explainable_variance(repeats)[0] == pytest.approx(signal_power / power, rel=1e-12)
    assert explainable_variance(repeats, bias_correction=False)[0] == pytest.approx(y.mean(axis=0).var() / power)
    assert noise_ceiling(repeats)[0] == pytest.approx(np.sqrt(signal_power / power))
    assert noise_ceiling(repeats, of="mean")[0] == pytest.approx(np.sqrt(signal_power / y.mean(axis=0).var()))


def test_halves_give_the_ceiling_that_hsu_et_al_write():
    """CC_max = sqrt(2 / (1 + sqrt(1 / CC_half**2))), CC_half the mean over halvings of the means' correlation."""
    rng = np.random.default_rng(3)
    repeats, _ = repeats_of(rng, 0.6, 6, n_voxels=1)
    y, places = repeats[:, :, 0], range(6)
    halves = [half for half in combinations(places, 3) if 0 in half]
    half_r = np.mean(
        [np.corrcoef(y[list(h)].mean(axis=0), y[[i for i in places if i not in h]].mean(axis=0))[0, 1] for h in halves]
    )
    expected = np.sqrt(2 / (1 + np.sqrt(1 / half_r**2)))
    assert len(halves) == 10
    assert noise_ceiling(repeats, of="mean", method="halves")[0] == pytest.approx(expected, rel=1e-12)


def slow(n):
    """What the rotation test calls drifts, written out."""
    t = np.arange(n)
    cosines = [np.cos(np.pi * k * (t + 0.5) / n) for k in range(1, int(2 * n * TR / 128) + 1)]
    return np.stack([t**0, t, t**2, *cosines], axis=1).astype(float)


def test_normalized_correlation_is_what_schoppe_et_al_write():
    """CC_norm = cov(x, mean of y) / sqrt(var(x) * SP), equation 7, both sides without drifts."""
    rng = np.random.default_rng(4)
    repeats, signal = repeats_of(rng, 0.7, 3, n_voxels=2)
    predicted = signal + rng.standard_normal(signal.shape)
    basis = slow(300)
    y, x = (
        s - basis @ np.linalg.lstsq(basis, s, rcond=None)[0]
        for s in (repeats.transpose(1, 0, 2)[:, :, 0], predicted[:, 0])
    )
    power = np.mean(y.var(axis=0))
    signal_power = (y.sum(axis=1).var() - 3 * power) / 6
    expected = np.cov(x, y.mean(axis=1), bias=True)[0, 1] / np.sqrt(x.var() * signal_power)
    assert normalized_correlation(repeats, predicted, tr=TR)[0] == pytest.approx(expected, rel=1e-9)


def test_the_normalized_correlation_of_a_model_does_not_depend_on_the_noise():
    rng = np.random.default_rng(5)
    for ceiling in (0.5, 0.9):
        repeats, signal = repeats_of(rng, ceiling, 4, n_trs=600)
        predicted = 0.6 * signal + 0.8 * rng.standard_normal(signal.shape)
        assert np.nanmean(normalized_correlation(repeats, predicted, tr=TR)) == pytest.approx(0.6, abs=0.02)
        assert np.nanmean(normalized_correlation(repeats, signal, tr=TR)) == pytest.approx(1, abs=0.02)


def test_a_ratio_of_noise_is_never_given():
    rng = np.random.default_rng(6)
    noise = rng.standard_normal((3, 200, 400))
    predicted = rng.standard_normal((200, 400))
    ratio = normalized_correlation(noise, predicted, tr=TR)
    assert np.isnan(ratio).mean() > 0.9  # those above their null at .05 by chance are the rest
    p = np.array([0.5, 0.01, 0.01, np.nan, 0.01])
    r, ceiling = np.full(5, 0.2), np.array([0.4, 0.4, 0.0, 0.4, np.nan])
    np.testing.assert_array_equal(ceiling_ratio(r, ceiling, p), [np.nan, 0.5, np.nan, np.nan, np.nan])


@pytest.mark.parametrize("n_repeats", [2, 4])
@pytest.mark.parametrize("phi", [0.0, 0.9])
def test_the_null_of_a_ceiling_is_passed_as_often_as_it_says(n_repeats, phi):
    rng = np.random.default_rng(7)
    p = ceiling_p(np.stack([ar1(rng, 200, phi, 2000) for _ in range(n_repeats)]), tr=TR)
    assert 0.03 <= np.mean(p <= 0.05) <= 0.07
    assert np.mean(p <= 0.01) <= 0.016


def test_drifts_that_repeats_have_in_common_are_no_signal():
    rng = np.random.default_rng(8)
    drift = 5 * np.linspace(-1, 1, 200)[:, None]
    repeats = rng.standard_normal((2, 200, 300)) + drift
    assert np.median(noise_ceiling(repeats)) > 0.9
    assert np.median(noise_ceiling(repeats, tr=TR)) < 0.15
    assert np.mean(ceiling_p(repeats, tr=TR) <= 0.05) < 0.08


def test_levels_of_runs_are_no_signal():
    rng = np.random.default_rng(9)
    run = np.repeat([0, 1], 150)
    repeats, _ = repeats_of(rng, 0.5, 3)
    levels = np.where(run == 0, 0, 90)[:, None]
    np.testing.assert_allclose(
        explainable_variance(repeats + levels, run=run), explainable_variance(repeats, run=run), atol=1e-9
    )
    np.testing.assert_allclose(
        ceiling_p(repeats + levels, tr=TR, run=run), ceiling_p(repeats, tr=TR, run=run), atol=1e-9
    )


def test_inter_subject_correlation_is_leave_one_out_and_its_bounds_hold_the_ceiling():
    rng = np.random.default_rng(10)
    bold, signal = repeats_of(rng, 0.6, 8, n_trs=1000)
    bold *= rng.uniform(1, 20, (8, 1, 200))  # each subject counts alike
    found = intersubject_correlation(bold, tr=TR)
    scaled = (bold - bold.mean(axis=1, keepdims=True)) / bold.std(axis=1, keepdims=True)
    plain = intersubject_correlation(bold)
    others = scaled[[i for i in range(8) if i != 3]].mean(axis=0)
    assert plain.by_subject[3, 7] == pytest.approx(np.corrcoef(bold[3, :, 7], others[:, 7])[0, 1], rel=1e-9)
    with_all = [np.arctanh(np.corrcoef(bold[i, :, 7], scaled.mean(axis=0)[:, 7])[0, 1]) for i in range(8)]
    assert plain.upper[7] == pytest.approx(np.tanh(np.mean(with_all)), rel=1e-9)
    reached = np.mean([np.corrcoef(bold[0, :, v], signal[:, v])[0, 1] for v in range(200)])
    assert found.lower.mean() < reached < found.upper.mean()
    assert found.expected.mean() == pytest.approx(0.6, abs=0.02)
    assert (found.p < 1e-6).all()
    assert "lower bound" in found.summary() and "upper bound" in found.summary()


def test_voxels_that_never_change_have_no_ceiling():
    rng = np.random.default_rng(11)
    repeats, signal = repeats_of(rng, 0.6, 4, n_voxels=3)
    repeats[:, :, 1] = 870.1
    for found in (
        noise_ceiling(repeats), noise_ceiling(repeats, method="halves"), explainable_variance(repeats, tr=TR),
        ceiling_p(repeats, tr=TR), normalized_correlation(repeats, signal, tr=TR),
        *(lambda c: (c.lower, c.upper, c.expected, c.p))(intersubject_correlation(repeats, tr=TR)),
    ):  # fmt: skip
        assert np.isnan(found).tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda y: noise_ceiling(y[:1]), "1 repeat: a ceiling needs at least two"),
        (lambda y: noise_ceiling([y[0], y[1, :50]]), r"repeat 1 has shape \(50, 2\), repeat 0 \(100, 2\)"),
        (lambda y: noise_ceiling(y, of="all"), "of is 'all': 'one'.* or 'mean'"),
        (lambda y: noise_ceiling(y, method="thirds"), "method is 'thirds'"),
        (lambda y: noise_ceiling(y, method="halves"), "3 repeats have no halves"),
        (lambda y: noise_ceiling(np.where(y > 2, np.nan, y)), "repeat 0 holds .* NaN"),
        (lambda y: ceiling_p(y[:, :30], tr=TR), "30 TRs .* too short to be rotated"),
        (lambda y: normalized_correlation(y, y[0, :, :1], tr=TR), r"repeats have shape \(100, 2\), the prediction"),
        (lambda y: intersubject_correlation(y[:1]), "1 subject: a ceiling needs at least two"),
        (lambda y: ceiling_ratio(np.ones(2), np.ones(3), np.ones(2)), "one of each voxel is needed"),
    ],
)
def test_what_has_no_ceiling_is_refused_in_words(call, message):
    y = np.random.default_rng(12).standard_normal((3, 100, 2))
    with pytest.raises(InputError, match=message):
        call(y)
