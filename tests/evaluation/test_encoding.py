"""Scores of predicted BOLD against scipy and simulated truth."""

import numpy as np
import pytest
from scipy.stats import pearsonr

from giblet.data.simulate import simulate_bold
from giblet.data.splits import make_splits
from giblet.evaluation.encoding import score_encoding, voxelwise_r
from giblet.statistics.estimates import ScoredTRs

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


def test_scores_are_scipys_without_drifts_and_signal_is_told_from_chance(features, simulation):
    rows = np.arange(200, N)
    truth, predicted = simulation.bold[rows], simulation.truth.signal.values[rows]
    score = score_encoding(truth, predicted, ScoredTRs.of(len(rows), TR))
    t = np.arange(len(rows))
    slow = [np.cos(np.pi * k * (t + 0.5) / len(t)) for k in range(1, int(2 * len(t) * TR / 128) + 1)]
    drifts = np.stack([t**0, t, t**2, *slow], axis=1)
    x, y = (v - drifts @ np.linalg.lstsq(drifts, v, rcond=None)[0] for v in (truth, predicted))
    oracle = [pearsonr(x[:, v], y[:, v]).statistic for v in range(12)]
    assert score.mean.value == pytest.approx(np.mean(oracle), abs=1e-6)
    np.testing.assert_allclose(score.by_voxel.r, oracle, atol=1e-6)
    assert score.mean.low < score.mean.value < score.mean.high <= 1
    assert score.chance.p < 1e-4 and score.test.mean_p_rank == 1 / len(rows)
    elsewhere = score_encoding(truth, np.roll(predicted, 30, axis=0), ScoredTRs.of(len(rows), TR))
    assert elsewhere.chance.p > 0.05


def test_runs_are_scored_within_themselves(features, simulation):
    rows, run = np.arange(150, N), np.repeat([0, 1], [100, N - 250])
    truth, predicted = simulation.bold[rows].copy(), simulation.truth.signal.values[rows]
    plain = score_encoding(truth, predicted, ScoredTRs(TR, run))
    moved = score_encoding(truth + 90 * run[:, None], predicted - 5 * run[:, None], ScoredTRs(TR, run))
    np.testing.assert_allclose(moved.by_voxel.r, plain.by_voxel.r, atol=1e-9)
    assert moved.chance.p == pytest.approx(plain.chance.p, rel=1e-6)
    by_run = [voxelwise_r(truth[run == k], predicted[run == k]).r for k in (0, 1)]
    joined = voxelwise_r(truth + 90 * run[:, None], predicted, run)
    np.testing.assert_allclose(joined.r, np.average(by_run, axis=0, weights=[100, N - 250]))


def test_a_voxel_that_never_changes_is_reported_and_does_not_spoil_the_mean(simulation):
    truth, predicted = simulation.bold[:150].copy(), simulation.truth.signal.values[:150].copy()
    truth[:, 3] = 0
    score = score_encoding(truth, predicted, ScoredTRs.of(150, TR)).as_dict()
    assert (score["n_voxels"], score["n_undefined"]) == (12, 1)
    assert np.isfinite(score["r"]["value"])
    nothing = score_encoding(truth, np.zeros_like(truth), ScoredTRs.of(150, TR)).as_dict()
    assert (nothing["r"]["value"], nothing["p"], nothing["n_constant"]) == (0, 1, 11)
    dead = score_encoding(np.zeros_like(truth), predicted, ScoredTRs.of(150, TR)).as_dict()
    assert dead["r"]["value"] is None and "change" in dead["r"]["why"]


# --- how results look in a notebook


def test_encoding_scores_as_a_table_hold_r_and_p_of_each_voxel(simulation):
    rng = np.random.default_rng(0)
    bold, predicted = simulation.bold, simulation.bold + rng.standard_normal(simulation.bold.shape)
    found = score_encoding(bold, predicted, ScoredTRs.of(N, TR))
    table = found.to_pandas()
    np.testing.assert_array_equal(table["r"], found.by_voxel.r)
    np.testing.assert_array_equal(table["p"], found.test.p)
    assert f"mean r {found.mean}, p = " in repr(found)
    assert f"<td>{found.mean.value:.3g}</td>" in found._repr_html_()
    short = score_encoding(bold[:20], predicted[:20], ScoredTRs.of(20, TR))
    assert short.test is None and short.to_pandas()["p"].isna().all() and "p = -" in repr(short)
