"""Delays and HRFs as transformers: nothing crosses a run, and another film may be transformed."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from nilearn.glm.first_level import compute_regressor
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline

from giblet.alignment import convolve_hrf
from giblet.encoding import Delayer, HRFConvolver
from giblet.errors import AlignmentError, InputError

RUN = np.repeat(["a", "b"], [30, 50])


def features(n=80, p=3, seed=0):
    return np.random.default_rng(seed).standard_normal((n, p))


def test_whole_delays_are_copies_moved_within_the_run():
    x = features()
    found = Delayer((2.0, 4.0, 6.0), tr=2.0, run=RUN).fit_transform(x)
    assert found.shape == (80, 9)
    for number, lag in enumerate((1, 2, 3)):
        own = found[:, 3 * number : 3 * number + 3]
        for part in (slice(0, 30), slice(30, 80)):
            assert np.array_equal(own[part][lag:], x[part][:-lag])
            assert not own[part][:lag].any()


def test_delays_between_trs_are_those_of_convolve_hrf():
    x = features()
    found = Delayer((1.5, 3.2), tr=2.0, run=RUN).fit_transform(x)
    fir = convolve_hrf(x, tr=2.0, hrf="fir", kind="continuous", delays=(1.5, 3.2), run=RUN)
    assert np.array_equal(found.reshape(80, 2, 3), np.moveaxis(fir, -1, 1))
    np.testing.assert_allclose(found[1:30, :3], 0.25 * x[1:30] + 0.75 * x[:29])


def test_the_hrf_is_nilearns_and_ends_with_the_run():
    x = np.zeros((80, 1))
    x[25] = 1
    found = HRFConvolver(tr=2.0, run=RUN).fit_transform(x)
    condition = np.array([[50.0], [2.0], [1.0]])
    whole = compute_regressor(condition, "glover", 2.0 * np.arange(80), oversampling=50)[0]
    np.testing.assert_allclose(found[:30, 0], whole[:30, 0], atol=1e-3 * whole.max())
    assert not found[30:].any()
    assert not found[:26].any()


@pytest.mark.parametrize("make", [Delayer, HRFConvolver])
def test_an_impulse_in_one_run_never_moves_another(make):
    transform = make(tr=2.0, run=RUN)
    x, moved = features(), features()
    moved[:30] += 5
    before, after = transform.fit_transform(x), transform.fit_transform(moved)
    assert np.array_equal(before[30:], after[30:])
    assert not np.array_equal(before[:30], after[:30])


def test_runs_of_another_film_come_with_it():
    fitted = Delayer((2.0,), tr=2.0, run=RUN).fit(features())
    other, labels = features(40), np.repeat([1, 2], 20)
    with pytest.raises(InputError, match="80 labels and there are 40 rows"):
        fitted.transform(other)
    by_argument = fitted.transform(other, run=labels)
    carried = xr.DataArray(other, dims=("tr", "feature"), coords={"run": ("tr", labels)})
    assert np.array_equal(fitted.transform(carried), by_argument)
    assert not by_argument[20].any()
    assert np.array_equal(by_argument[21], other[20])


def test_rows_that_are_no_neighbours_are_refused_where_the_array_says_so():
    x = xr.DataArray(features(10), dims=("tr", "feature"), coords={"volume": ("tr", np.r_[0:5, 9:14])})
    with pytest.raises(AlignmentError, match="as if they were neighbours"):
        Delayer((2.0,), tr=2.0).fit_transform(x)


def test_they_are_estimators_of_scikit_learn():
    x = pd.DataFrame(features(), columns=["rate", "pitch", "sound"])
    delayer = Delayer([2.0, 4.0], tr=2.0, run=RUN)
    again = clone(delayer)
    assert again.get_params()["delays"] == [2.0, 4.0]
    delayer.fit(x)
    assert delayer.get_feature_names_out().tolist() == [
        "rate_delay-2s", "pitch_delay-2s", "sound_delay-2s", "rate_delay-4s", "pitch_delay-4s", "sound_delay-4s",
    ]  # fmt: skip
    convolver = HRFConvolver(tr=2.0, hrf="spm + derivative").fit(x.to_numpy())
    assert convolver.get_feature_names_out(["a", "b", "c"]).tolist()[2:4] == ["c_hrf", "a_hrf-derivative"]
    assert convolver.transform(x.to_numpy()).shape == (80, 6)
    model = make_pipeline(Delayer((2.0, 4.0), tr=2.0, run=RUN), Ridge()).fit(x, features(80, 2, 1))
    assert model.predict(x).shape == (80, 2)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Delayer((-1.0,), tr=2.0).fit(features()), "does not look ahead"),
        (lambda: Delayer((), tr=2.0).fit(features()), "a list of delays"),
        (lambda: HRFConvolver(tr=2.0, hrf="fir").fit(features()), "use Delayer"),
        (lambda: HRFConvolver(tr=2.0, hrf="gamma").fit(features()), "hrf is 'gamma'"),
        (lambda: HRFConvolver(tr=2.0).fit(features()[:, 0]), "is needed"),
        (lambda: HRFConvolver(tr=2.0).fit(features()).transform(features(9, 2)), r"\(n_trs, 3\) is needed"),
        (lambda: Delayer(tr=2.0).fit(features()).get_feature_names_out(["a"]), "1 names for 3 features"),
    ],
)
def test_what_cannot_be_convolved_is_one_error(make, says):
    with pytest.raises(InputError, match=says):
        make()
