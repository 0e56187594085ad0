"""Folds: contiguous, with a gap in seconds, by run; and as cv= of other libraries."""

import numpy as np
import pytest
import xarray as xr
from himalaya.ridge import RidgeCV
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, cross_val_predict

from giblet.encoding import BlockedFolds
from giblet.errors import InputError

RUN = np.repeat([1, 2, 3], [60, 50, 70])


def test_every_row_is_left_out_once_and_none_within_the_gap_is_learned_from():
    folds = BlockedFolds(5, gap=10.0, tr=1.5, run=RUN)
    parts = list(folds.split(np.zeros((180, 2))))
    assert folds.get_n_splits() == len(parts) == 5
    assert np.array_equal(np.sort(np.concatenate([test for _, test in parts])), np.arange(180))
    for train, test in parts:
        assert np.array_equal(np.diff(test), np.ones(len(test) - 1))
        for row in range(180):
            near = any(RUN[other] == RUN[row] and abs(other - row) <= 7 for other in test)  # 10 s are 7 TRs of 1.5
            assert (row in train) == (not near)


def test_the_gap_around_rows_of_a_part_of_a_scan_is_counted_on_the_scan():
    rows = np.setdiff1d(np.arange(180), np.arange(20, 45))
    parts = BlockedFolds(4, gap=9.0, tr=1.5).of_rows(rows, RUN)
    assert np.array_equal(np.sort(np.concatenate([test for _, test in parts])), np.arange(len(rows)))
    for train, test in parts:
        for place, row in enumerate(rows):
            near = any(RUN[other] == RUN[row] and abs(other - row) <= 6 for other in rows[test])
            assert (place in train) == (not near)


def test_each_run_is_left_out_once():
    folds = BlockedFolds("runs", tr=1.5, run=RUN)
    assert folds.get_n_splits() == 3
    for number, (train, test) in enumerate(folds.split(np.zeros((180, 1)))):
        assert set(RUN[test]) == {number + 1}
        assert len(train) + len(test) == 180


def test_runs_may_come_as_groups_or_with_the_array():
    x = np.zeros((180, 1))
    asked = [test.tolist() for _, test in BlockedFolds("runs", tr=1.5, run=RUN).split(x)]
    assert [test.tolist() for _, test in BlockedFolds("runs", tr=1.5).split(x, groups=RUN)] == asked
    carried = xr.DataArray(x, dims=("tr", "feature"), coords={"run": ("tr", RUN)})
    folds = BlockedFolds("runs", tr=1.5)
    assert [test.tolist() for _, test in folds.split(carried)] == asked
    assert folds.get_n_splits(carried) == folds.get_n_splits(groups=RUN) == 3


def test_it_passes_as_cv_to_scikit_learn_himalaya_and_nilearn():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((180, 4)), rng.standard_normal((180, 3))
    folds = BlockedFolds(3, gap=6.0, tr=1.5, run=RUN)
    predicted = cross_val_predict(Ridge(), x, y, cv=folds)
    for train, test in folds.split(x):
        np.testing.assert_allclose(predicted[test], Ridge().fit(x[train], y[train]).predict(x[test]))
    assert GridSearchCV(Ridge(), {"alpha": [1.0, 10.0]}, cv=folds).fit(x, y).n_splits_ == 3
    given = RidgeCV([1.0, 10.0], cv=folds).fit(x, y)
    listed = RidgeCV([1.0, 10.0], cv=list(folds.split(x))).fit(x, y)
    assert np.array_equal(given.cv_scores_, listed.cv_scores_)


def test_nilearns_decoder_takes_it():
    from nilearn.decoding import DecoderRegressor
    from nilearn.image import new_img_like
    from nilearn.maskers import NiftiMasker

    rng = np.random.default_rng(0)
    import nibabel as nib

    image = nib.Nifti1Image(rng.standard_normal((3, 3, 3, 60)).astype(np.float32), np.eye(4))
    mask = new_img_like(image, np.ones((3, 3, 3), np.uint8))
    decoder = DecoderRegressor(
        estimator="ridge", mask=NiftiMasker(mask), cv=BlockedFolds(3, gap=4.0, tr=2.0), screening_percentile=100,
        standardize=None,
    )  # fmt: skip
    decoder.fit(image, rng.standard_normal(60))
    assert len(next(iter(decoder.cv_scores_.values()))) == 3


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: BlockedFolds(1, tr=1.5), "n_splits is 1"),
        (lambda: BlockedFolds("run", tr=1.5), "n_splits is 'run'"),
        (lambda: BlockedFolds(5, -1.0, tr=1.5), "gap is -1"),
        (lambda: BlockedFolds(5, tr=0), "TR"),
        (lambda: list(BlockedFolds(2, 32.0, tr=1.5).split(np.zeros((40, 1)))), "leave 0 TRs to learn from beyond gaps"),
        (lambda: list(BlockedFolds(5, tr=1.5).split(np.zeros((9, 1)))), "at least 2 folds of 2 TRs"),
        (lambda: list(BlockedFolds("runs", tr=1.5).split(np.zeros((9, 1)))), "there are 0 run labels"),
        (lambda: BlockedFolds("runs", tr=1.5, run=np.ones(9)).get_n_splits(), "there are 1 run labels"),
        (lambda: list(BlockedFolds(2, tr=1.5, run=RUN).split(np.zeros((9, 1)))), "180 labels and there are 9 rows"),
    ],
)
def test_folds_that_cannot_be_are_one_error(make, says):
    with pytest.raises(InputError, match=says):
        make()
