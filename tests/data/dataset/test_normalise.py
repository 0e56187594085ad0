"""Scale, mean and the baseline of each run are learned from training TRs alone."""

import numpy as np
import pytest

from giblet.data.dataset.normalise import Normaliser, run_levels, run_means
from giblet.data.dataset.series import Series
from giblet.data.dataset.windows import Recording, TRWindows, fit_normalisers
from giblet.data.splits import make_splits
from giblet.errors import InputError

RUN = np.repeat([1, 2, 3], [60, 60, 40])
TRAIN, VAL, TEST = np.arange(80), np.arange(90, 120), np.arange(120, 160)
BASELINES = np.array([[1000.0, 900, 500], [1020, 870, 510], [940, 930, 480]])


@pytest.fixture
def plain():
    return np.random.default_rng(0).standard_normal((160, 3)) * [1, 2, 5]


@pytest.fixture
def scanned(plain):
    return (plain + BASELINES[RUN - 1]).astype(np.float32)


def test_baselines_of_runs_change_nothing(plain, scanned):
    """Each part of each run, as it is seen by a model, is that of a scan without baselines."""
    one, other = (Normaliser.fit(x, TRAIN, RUN) for x in (plain.astype(np.float32), scanned))
    np.testing.assert_allclose(other.scale, one.scale, rtol=1e-4)
    assert (Normaliser.fit(scanned, TRAIN).scale > 1.3 * other.scale).any()
    for trs in (TRAIN, VAL, TEST):
        for run in np.unique(RUN[trs]):
            rows = trs[RUN[trs] == run]
            seen = [n.by_run(x, trs, RUN)[run](x[rows]) for n, x in ((one, plain), (other, scanned))]
            np.testing.assert_allclose(seen[0], seen[1], atol=2e-3)


def test_levels_are_those_of_training_trs_and_of_the_part_where_there_are_none(scanned):
    fitted = Normaliser.fit(scanned, TRAIN, RUN)
    assert list(fitted.levels) == [1, 2]
    np.testing.assert_allclose(fitted.levels[2], scanned[60:80].mean(axis=0), rtol=1e-6)
    assert fitted.by_run(scanned, VAL, RUN)[2].mean is fitted.levels[2]
    np.testing.assert_allclose(fitted.by_run(scanned, TEST, RUN)[3].mean, scanned[TEST].mean(axis=0), rtol=1e-6)


def test_what_training_and_validation_see_does_not_depend_on_test_trs(scanned):
    seen = []
    for value in (None, 1e20, np.nan):
        x = scanned.copy()
        if value is not None:
            x[TEST] = value
            x[80:90] = value  # the gap
        recording = Recording.of("01", {"bold": x}, tr=2.0, run=RUN)
        normalisers = fit_normalisers([recording], TRAIN, centre_runs=True)
        windows = [TRWindows([recording], trs, window=10, normalisers=normalisers) for trs in (TRAIN, VAL)]
        seen.append([w[i]["data"]["bold"].numpy() for w in windows for i in range(len(w))])
    np.testing.assert_array_equal(seen[0], seen[1])
    np.testing.assert_array_equal(seen[0], seen[2])


def test_one_run_is_normalised_as_ever(scanned):
    one = np.ones(160, np.int64)
    fitted, before = Normaliser.fit(scanned, TRAIN, one), Normaliser.fit(scanned, TRAIN)
    np.testing.assert_array_equal(fitted.mean, before.mean)
    np.testing.assert_array_equal(fitted.scale, before.scale)
    assert not fitted.levels and fitted.by_run(scanned, TEST, one) == {1: fitted}


def test_a_voxel_that_only_jumps_between_runs_has_no_unit(scanned):
    scanned[:, 1] = BASELINES[RUN - 1, 1]
    fitted = Normaliser.fit(scanned, TRAIN, RUN)
    assert fitted.varies.tolist() == [True, False, True]
    assert Normaliser.fit(scanned, TRAIN).varies.all()


def test_absent_volumes_have_no_part_in_a_level(scanned):
    expected = scanned[:10].mean(axis=0, dtype=np.float64)
    scanned[10:60] = np.nan
    scanned[60:80, :] = np.nan
    assert run_means(scanned, TRAIN, RUN).keys() == {1}
    np.testing.assert_allclose(run_means(scanned, TRAIN, RUN)[1], expected, rtol=1e-6)
    # Nothing of run 2 was scanned in training: validation has the mean of what it sees itself.
    fitted = Normaliser.fit(scanned, TRAIN, RUN)
    np.testing.assert_allclose(fitted.by_run(scanned, VAL, RUN)[2].mean, scanned[VAL].mean(axis=0), rtol=1e-6)


def test_codes_have_no_level():
    recording = Recording.of("01", {"audio": Series(np.zeros((160, 2), np.int32), "codes")}, tr=2.0, run=RUN)
    assert fit_normalisers([recording], TRAIN, centre_runs=True) == {"01": {}}


def test_ridge_and_training_take_out_the_same_levels(scanned):
    fitted, levels = Normaliser.fit(scanned, TRAIN, RUN), run_levels(scanned, RUN, TRAIN)
    for run in (1, 2):
        np.testing.assert_allclose(levels[run == RUN], np.tile(fitted.levels[run], ((run == RUN).sum(), 1)), rtol=1e-6)
    np.testing.assert_allclose(levels[TEST][0], scanned[TEST].mean(axis=0), rtol=1e-6)
    unknown = run_levels(scanned, RUN, TRAIN, known=False)
    np.testing.assert_allclose(unknown[TEST][0], (levels[0] + levels[60]) / 2, rtol=1e-6)


@pytest.mark.parametrize("poison", [np.nan, 1e9, np.inf])
def test_statistics_have_seen_training_trs_only(poison):
    rng = np.random.default_rng(0)
    x = rng.normal(5, 3, (300, 4, 2)).astype(np.float32)
    splits = make_splits(300, 1.5)
    clean = Normaliser.fit(x, splits.train)
    other = np.setdiff1d(np.arange(300), splits.train)
    assert len(other) == len(splits.val) + len(splits.test) + len(splits.gap)
    poisoned = x.copy()
    poisoned[other] = poison
    recording = Recording.of("1", {"bold": poisoned}, tr=1.5)
    dirty = fit_normalisers([recording], splits.train)["1"]["bold"]
    np.testing.assert_array_equal(dirty.mean, clean.mean)
    np.testing.assert_array_equal(dirty.scale, clean.scale)
    np.testing.assert_allclose(clean.mean, x[splits.train].mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(clean.scale, x[splits.train].std(axis=0), rtol=1e-5)
    np.testing.assert_allclose(clean.inverse(clean(x)), x, rtol=1e-4, atol=1e-4)
    poisoned[splits.train[7]] = 1e9
    assert not np.allclose(Normaliser.fit(poisoned, splits.train).mean, clean.mean), "training TRs do count"


def test_nan_categories_and_no_trs_have_no_statistics():
    x = np.ones((50, 2), np.float32)
    x[:, 1] = np.arange(50)
    fitted = Normaliser.fit(x, np.arange(30))
    assert fitted.n_constant == 1 and not fitted(x)[:30, 0].any()
    x[3, 1] = np.nan
    with pytest.raises(InputError, match="TR 3 holds NaN or infinity in part"):
        Normaliser.fit(x, np.arange(30))
    with pytest.raises(InputError, match="categories"):
        Normaliser.fit(Series(np.zeros((9, 2), np.int32), "codes"), np.arange(9))
    with pytest.raises(InputError, match="0 training TRs"):
        Normaliser.fit(x, np.arange(0))


@pytest.mark.parametrize("level", [0.0, 7.0, 1e6])
@pytest.mark.parametrize("rounding", [False, True])
def test_what_never_varied_in_training_is_0_everywhere_and_comes_back_as_its_mean(level, rounding):
    """In single precision a number may change by its last bit without any change in what was measured."""
    x = np.full((60, 3), level, np.float32)
    if rounding:
        x[1::2, 0] = np.nextafter(x[1::2, 0], np.float32(2 * level + 1))
    x[:, 1] = np.sin(np.arange(60))
    x[40:, 0], x[40:, 2] = 1000 + np.arange(20), -5
    fitted = Normaliser.fit(x, np.arange(40))
    assert fitted.varies.tolist() == [False, True, False] and fitted.n_constant == 2
    z = fitted(x)
    assert not z[:, [0, 2]].any()
    np.testing.assert_allclose(z[:, 1], (x[:, 1] - x[:40, 1].mean()) / x[:40, 1].std(), rtol=1e-4, atol=1e-6)
    back = fitted.inverse(np.full((1, 3), 100, np.float32))
    np.testing.assert_allclose(back[0, [0, 2]], level, rtol=1e-6)


@pytest.mark.parametrize("share", [0.05, 0.1])
@pytest.mark.parametrize("wakes", [200, 260])
@pytest.mark.parametrize("n_voxels", [2, 12])
def test_a_voxel_of_which_training_saw_a_tenth_is_found(share, wakes, n_voxels):
    rng = np.random.default_rng(3)
    signal = np.convolve(rng.standard_normal(340), np.hanning(6), "same")
    x = 1000 + 8 * signal[:300, None] + 10 * rng.standard_normal((300, n_voxels))
    x[:wakes, 1] = 1000 + share * (x[:wakes, 1] - 1000)  # at the edge of the brain, until the head moves
    fitted = Normaliser.fit(x, np.arange(200))
    assert np.flatnonzero(fitted.far(x, np.arange(200, 300), of_scan=True)).tolist() == [1]
    assert not fitted.far(x, np.arange(200), of_scan=True).any()


def test_drifts_jumps_and_gains_of_a_scan_are_not_taken_for_voxels_that_wake():
    rng = np.random.default_rng(4)
    t = np.linspace(-1, 1, 400)
    slow = np.cumsum(rng.standard_normal((400, 60)), axis=0)
    x = 900 + rng.gamma(2, 8, 60) * (0.3 * rng.standard_normal((400, 60)) + 0.1 * slow)
    x[:, :20] += 60 * t[:, None] * rng.standard_normal(20)
    x[340:, 20] += 12 * x[:320, 20].std()  # the head moves once
    x[320:, 30:40] *= rng.uniform(1, 1.05, 10)
    fitted = Normaliser.fit(x, np.arange(320))
    assert not fitted.far(x, np.arange(320, 400), of_scan=True).any()


def test_a_small_change_about_a_small_mean_is_a_change():
    x = (1e-12 * np.random.default_rng(0).standard_normal((50, 2))).astype(np.float32)
    fitted = Normaliser.fit(x, np.arange(50))
    assert fitted.varies.all()
    np.testing.assert_allclose(fitted(x).std(axis=0), 1, rtol=1e-5)


def test_a_voxel_that_hardly_varied_in_training_is_found_and_a_scanner_of_another_gain_is_not():
    rng = np.random.default_rng(0)
    x = 1000 + 10 * rng.standard_normal((300, 9))
    x[:200, 4] = 3 + 0.01 * rng.standard_normal(200)  # beyond the brain until the head moves
    fitted = Normaliser.fit(x, np.arange(200))
    assert fitted.varies.all()
    assert np.flatnonzero(fitted.far(x, np.arange(200, 300), of_scan=True)).tolist() == [4]
    assert not fitted.far(x, np.arange(200), of_scan=True).any()
    louder = x.copy()
    louder[200:] *= 2.5  # 150 deviations, in all voxels alike
    assert np.flatnonzero(fitted.far(louder, np.arange(200, 300), of_scan=True)).tolist() == [4]
    # Features of a film have no gain in common, and no scanner.
    assert np.flatnonzero(fitted.far(x, np.arange(200, 300), of_scan=False)).tolist() == [4]
    left = fitted.without(fitted.far(x, np.arange(200, 300), of_scan=True))
    assert not left(x)[:, 4].any() and np.array_equal(left(x)[:, :4], fitted(x)[:, :4])
    constant = Normaliser.fit(np.ones((9, 2)), np.arange(9))
    assert not constant.far(np.full((9, 2), 7.0), np.arange(9), of_scan=True).any()
