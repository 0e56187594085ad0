"""Cross-validated predictions are tested by fits on rotated BOLD: these are what a brute-force fit gives, and hold."""

import importlib
import itertools
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.linear_model import Ridge

from giblet.alignment.prewhitening import lag_one, whitened, without_drifts
from giblet.encoding import BlockedFolds, EncodingModel
from giblet.encoding.held_out import predict_held_out, score_held_out
from giblet.encoding.refits import FoldFit, Refits, draws_of
from giblet.encoding.rotation_cv import rotation_test_cv, rotation_test_group_cv, rotation_test_refitted
from giblet.errors import InputError
from giblet.statistics.rotations import basis_of

ROOT = Path(__file__).parents[2]
TR = 1.5
RUN = np.repeat([0, 1], 100)


@pytest.fixture
def scan():
    generator = np.random.default_rng(3)
    return generator.standard_normal((200, 6)), generator.standard_normal((200, 9)).cumsum(0)


def folds_of(n, run=None):
    return BlockedFolds(4, 15.0, tr=TR).of_rows(np.arange(n), np.zeros(n, int) if run is None else run)


def refits(x, bold, folds, alphas, run=None, n_rotations=30):
    n_voxels = bold.shape[1]
    fits = [FoldFit(*fold, x, alphas, np.zeros(x.shape[1], int), np.ones((1, n_voxels))) for fold in folds]
    return Refits(bold, fits, TR, run, 1 / 128, draws_of(len(bold), run, n_rotations, 0))


def test_what_is_solved_for_each_fold_predicts_as_ridge_of_scikit_learn(scan):
    x, bold = scan
    alphas, folds = np.geomspace(1, 1000, bold.shape[1]), folds_of(200)
    found = refits(x, bold, folds, alphas)
    for number, (train, test) in enumerate(folds):
        squares, learn, tell = found.solved(number, np.ones(1))
        predicted = tell @ (learn.T @ bold / (squares[:, None] + alphas)) + bold[train].mean(0)
        np.testing.assert_allclose(
            predicted, Ridge(alpha=alphas).fit(x[train], bold[train]).predict(x[test]), atol=1e-6
        )


@pytest.mark.parametrize("run", [RUN, np.zeros(200, int)])
def test_r_of_no_rotation_is_that_of_the_predictions_that_were_made(scan, run):
    """Several bands with weights that differ by voxel, runs of other levels, drifts, float32."""
    x, bold = scan
    bands = {"one": x[:, :2], "other": x[:, 2:]}
    measured = (bold + 1000 + 50 * run[:, None]).astype(np.float32)
    folds = folds_of(200, run)
    held, _ = predict_held_out(EncodingModel(cv=3, tr=TR, n_iter=5), bands, measured, folds, run=run)
    assert len(np.unique(held.fits[0].gammas, axis=1).T) > 1
    fold = np.empty(200, int)
    for number, (_, test) in enumerate(folds):
        fold[test] = number
    stretches = np.cumsum(np.r_[0, (np.diff(fold) != 0) | (np.diff(run) != 0)])
    scores = score_held_out(held, measured, stretches, tr=TR, run=run, n_rotations=20)
    np.testing.assert_allclose(scores.test.r, scores.r, atol=2e-5)
    np.testing.assert_allclose(sum(scores.split.values()), scores.r, atol=1e-6)
    assert scores.null.sum() == pytest.approx(1) and scores.test.n_rotations == 20
    assert scores.by_rotation() == {}


def by_hand(x, rotated, folds, alphas, phi):
    """Mean r over stretches of ridges of scikit-learn on BOLD that was rotated, plain and prewhitened."""
    total = np.zeros((2, rotated.shape[1]))
    for learned, predicted in folds:
        inside, levels = x.copy(), rotated.copy()
        for run in np.unique(RUN):
            own = learned[RUN[learned] == run]
            own = own if len(own) else np.flatnonzero(run == RUN)
            inside[run == RUN] -= x[own].mean(0)
            levels[run == RUN] -= rotated[own].mean(0)
        model = Ridge(alpha=alphas).fit(inside[learned], levels[learned])
        for run in np.unique(RUN[predicted]):
            rows = predicted[RUN[predicted] == run]
            basis = basis_of(len(rows), TR, 1 / 128)
            both = [without_drifts(side, basis) for side in (rotated[rows], model.predict(inside[rows]))]
            for kind, sides in enumerate((both, [whitened(side, phi) for side in both])):
                found = [np.corrcoef(a, b)[0, 1] for a, b in zip(sides[0].T, sides[1].T, strict=True)]
                total[kind] += len(rows) / 200 * np.array(found)
    return total


def test_each_rotation_is_a_fit_of_all_folds_on_rotated_bold_with_drifts_in_their_place(scan):
    x, bold = scan
    alphas, folds = np.geomspace(10, 1000, 9), folds_of(200, RUN)
    options = {"alphas": alphas, "tr": TR, "run": RUN, "n_rotations": 30, "seed": 5}
    test = rotation_test_cv(x, bold, folds, **options, keep_rotations=True)
    draws = draws_of(200, RUN, 30, 5)
    clean = np.concatenate([without_drifts(bold[run == RUN], basis_of(100, TR, 1 / 128)) for run in (0, 1)])
    phi = lag_one([clean[run == RUN] for run in (0, 1)])
    for at in (0, 1, 17, 29):
        left = np.concatenate([np.roll(clean[run == RUN], draws[at, run], axis=0) for run in (0, 1)])
        plain, white = by_hand(x, bold - clean + left, folds, alphas, phi)
        np.testing.assert_allclose(test.r_by_rotation[at], plain, atol=1e-6)
        np.testing.assert_allclose(test.white_by_rotation[at], white, atol=1e-6)
    z = np.arctanh(np.float64(test.white_by_rotation))
    np.testing.assert_allclose(test.p, norm.sf((z[0] - z.mean(0)) / z.std(0)), rtol=1e-5)
    np.testing.assert_allclose(test.null, np.histogram(test.r_by_rotation[1:], np.linspace(-1, 1, 201))[0] / (29 * 9))
    np.testing.assert_allclose(test.highest_by_rotation, test.r_by_rotation.max(1), atol=1e-6)


def test_batches_of_voxels_and_rotations_change_nothing_and_float32_little(scan, monkeypatch):
    x, bold = scan
    options = {"alphas": 50.0, "tr": TR, "n_rotations": 40}
    whole = rotation_test_cv(x, bold, folds_of(200), **options)
    narrow = rotation_test_cv(x, bold.astype(np.float32), folds_of(200), **options)
    monkeypatch.setattr("giblet.encoding.refits.VALUES_AT_A_TIME", 200 * 7)
    monkeypatch.setattr("giblet.encoding.refits.CORRELATIONS_AT_A_TIME", 40 * 4)
    parts = rotation_test_cv(x, bold, folds_of(200), **options)
    for name in ("r", "p", "p_rank", "q", "p_fwe", "mean_by_rotation", "pooled_by_rotation", "highest_z_by_rotation"):
        np.testing.assert_allclose(getattr(parts, name), getattr(whole, name), rtol=1e-6, atol=1e-9, err_msg=name)
        np.testing.assert_allclose(getattr(narrow, name), getattr(whole, name), atol=2e-4, err_msg=name)
    assert parts.mean_p == pytest.approx(whole.mean_p) and parts.pooled_p == pytest.approx(whole.pooled_p)


def test_memory_does_not_grow_with_voxels_times_rotations_unless_they_are_kept(monkeypatch):
    monkeypatch.setattr("giblet.encoding.refits.VALUES_AT_A_TIME", 2**16)
    monkeypatch.setattr("giblet.encoding.refits.CORRELATIONS_AT_A_TIME", 2**14)
    x = np.random.default_rng(0).standard_normal((100, 2))
    folds = [(np.arange(60, 100), np.arange(50)), (np.arange(40), np.arange(50, 100))]

    def peak(n_voxels, **more):
        bold = np.random.default_rng(1).standard_normal((100, n_voxels)).astype(np.float32)
        tracemalloc.start()
        rotation_test_cv(x, bold, folds, alphas=9.0, tr=TR, n_rotations=100, **more)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    per_voxel = (peak(1200) - peak(400)) / 800
    assert per_voxel < 250, "the results of a voxel, and not 100 rotations of 8 bytes"
    assert (peak(1200, keep_rotations=True) - peak(400, keep_rotations=True)) / 800 > 700


def test_rotated_bold_holds_the_same_values_in_each_run(scan):
    found = refits(*scan, folds_of(200, RUN), np.ones(9), RUN)
    assert (found.order[0] == np.arange(200)).all()
    for order in found.order:
        assert sorted(order[:100]) == list(range(100)) and sorted(order[100:]) == list(range(100, 200))
    assert len(draws_of(30, None, 200, 0)) == 30 and len(np.unique(draws_of(300, None, 200, 0))) == 200


def test_a_response_is_found_and_a_voxel_that_never_changes_has_no_p(scan):
    x, bold = scan
    bold = np.diff(bold, axis=0, prepend=0)
    bold[:, 0] += 2 * x[:, 0]
    bold[:, 1] = 7.0
    test = rotation_test_cv(x, bold, folds_of(200), alphas=10.0, tr=TR, keep_rotations=True)
    assert test.n_rotations == 200 and test.r[0] > 0.7
    assert test.p[0] < 1e-6 and test.p_rank[0] == 1 / 200 and test.q[0] < 1e-5 and abs(test.p_fwe[0] - 1 / 200) < 1e-9
    assert np.isnan([test.r[1], test.p[1], test.q[1], test.p_fwe[1]]).all() and np.isfinite(test.p[2:]).all()
    assert 0 < test.threshold_fwe < test.r[0]
    group = rotation_test_group_cv([test, test])
    np.testing.assert_allclose(group.p, test.p, rtol=1e-4)
    assert group.n_subjects.tolist() == [2, 0] + [2] * 7
    low, high = group.mean_interval
    assert low < group.mean < high and "to" in repr(test)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"folds": lambda folds: folds[:-1]}, "each TR must be predicted once"),
        ({"folds": lambda folds: [(np.arange(200), test) for _, test in folds]}, "learns from TRs that it predicts"),
        ({"alphas": 0.0}, "penalties that are not above 0"),
        ({"n_rotations": 5}, "at least 20"),
        ({"bold": np.nan}, "9 NaN"),
    ],
)
def test_what_cannot_be_tested_is_refused(scan, change, message):
    x, bold = scan
    folds = change.get("folds", list)(folds_of(200))
    if "bold" in change:
        bold[4] = change["bold"]
    options = {name: value for name, value in change.items() if name in ("alphas", "n_rotations")}
    with pytest.raises(InputError, match=message):
        rotation_test_cv(x, bold, folds, tr=TR, **({"alphas": 1.0} | options))


def test_a_group_needs_the_rotations_of_each_subject(scan):
    x, bold = scan
    tests = [rotation_test_cv(x, bold, folds_of(200), alphas=1.0, tr=TR, keep_rotations=keep) for keep in (True, False)]
    with pytest.raises(InputError, match="keep_rotations=True"):
        rotation_test_group_cv(tests)
    with pytest.raises(InputError, match="at least two"):
        rotation_test_group_cv(tests[:1])


def test_rows_and_voxels_of_a_fit_can_be_left_out(scan):
    x, bold = scan
    rows, voxels = np.r_[0:90, 100:200], np.arange(9) != 4
    folds = [(np.intersect1d(train, rows), np.intersect1d(test, rows)) for train, test in folds_of(200)]
    fits = [FoldFit(*fold, x, np.full(9, 5.0), np.zeros(6, int), np.ones((1, 9))) for fold in folds]
    some = rotation_test_refitted(bold[rows][:, voxels], [fit.of_rows(rows, voxels) for fit in fits], tr=TR)
    places = [tuple(np.searchsorted(rows, side) for side in fold) for fold in folds]
    np.testing.assert_allclose(
        some.p, rotation_test_cv(x[rows], bold[rows][:, voxels], places, alphas=5.0, tr=TR).p
    )  # fmt: skip


def calibration():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        return importlib.import_module("rotation_cv_calibration")


def test_noise_passes_as_often_as_p_says_where_rotated_predictions_find_too_much():
    found = calibration().measure(40, phi=0.0, n_trs=150, penalty=100.0)
    assert 0.03 <= found["refitted"][0] <= 0.07 and found["refitted"][1] <= 0.02
    assert found["fixed predictions rotated"][0] > 0.075


SCANS = {
    "short": {"n_trs": 150}, "long": {"n_trs": 360}, "runs": {"n_trs": 360, "n_runs": 3, "folds": "runs"},
    "drifts": {"n_trs": 360, "drift": 3.0},
}  # fmt: skip
FEW = {("short", 100.0, 0.0), ("long", None, 0.9), ("runs", None, 0.6), ("drifts", 100.0, 0.9)}
"""The kinds of noise that are not left to ``make test-long``."""


@pytest.mark.slow
@pytest.mark.parametrize(("scan", "penalty", "phi"), [
    pytest.param(*kind, marks=[] if kind in FEW else pytest.mark.long)
    for kind in itertools.product(SCANS, (100.0, None), (0.0, 0.6, 0.9))
])  # fmt: skip
def test_noise_of_every_kind_passes_as_often_as_p_says(scan, penalty, phi):
    """60 data sets x 50 voxels and more: 3.5 to 7 % at .05 and at most 2 % at .01."""
    found = calibration().measure(100, phi=phi, penalty=penalty, **SCANS[scan])
    assert 0.035 <= found["refitted"][0] <= 0.07 and found["refitted"][1] <= 0.02
