"""A scanner gives each run a baseline of its own: it is taken out, and learned from training TRs alone."""

import numpy as np
import pytest

from giblet.data.dataset.normalise import Normaliser, run_levels, run_means
from giblet.data.dataset.series import Series
from giblet.data.dataset.windows import Recording, TRWindows, fit_normalisers

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
