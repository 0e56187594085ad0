"""The estimator: what scikit-learn expects of one, levels of runs, scales, voxels left out, notes, saved fits."""

import logging

import numpy as np
import pytest
import xarray as xr
from safetensors.numpy import save_file
from scipy.stats import pearsonr
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV, LeaveOneGroupOut, cross_val_predict
from sklearn.pipeline import Pipeline

from giblet.alignment import convolve_hrf
from giblet.encoding import BlockedFolds, Delayer, EncodingModel, mean_r, unique_variance
from giblet.errors import AlignmentError, CheckpointError, InputError

GRID = np.logspace(-1, 5, 7)
RUN = np.repeat([1, 2, 3], [100, 120, 80])
FOLDS = BlockedFolds(4, 16.0, tr=2.0)


def simulated(n=300, n_voxels=8, seed=0):
    rng = np.random.default_rng(seed)
    x = {"mel": rng.standard_normal((n, 6)) * np.geomspace(10, 0.1, 6), "words": rng.standard_normal(n)}
    bold = x["mel"][:, :2] @ rng.standard_normal((2, n_voxels)) * 0.1 + 0.5 * x["words"][:, None]
    return x, bold + 0.5 * rng.standard_normal((n, n_voxels)) + 1000


def test_clones_have_the_options_and_no_fit():
    x, bold = simulated()
    model = EncodingModel(GRID, FOLDS, scale={"mel": "band"}, n_iter=3, random_state=7).fit(x, bold)
    again = clone(model)
    assert not hasattr(again, "weights_")
    assert again.get_params()["scale"] == {"mel": "band"}
    assert again.set_params(n_iter=4).n_iter == 4
    np.testing.assert_array_equal(again.set_params(n_iter=3).fit(x, bold).weights_, model.weights_)


def test_it_works_in_a_pipeline_and_in_cross_val_predict():
    x, bold = simulated()
    pipe = Pipeline([("delay", Delayer((2.0, 4.0), tr=2.0)), ("ridge", EncodingModel(GRID, FOLDS))])
    pipe.fit(x["mel"], bold, ridge__run=RUN)
    assert pipe.named_steps["ridge"].by_run_
    assert pipe.score(x["mel"], bold).shape == (8,)
    model = EncodingModel(GRID, FOLDS)
    predicted = cross_val_predict(model, x["mel"], bold, cv=FOLDS)
    train, test = list(FOLDS.split(bold))[1]
    np.testing.assert_allclose(predicted[test], clone(model).fit(x["mel"][train], bold[train]).predict(x["mel"][test]))


def test_it_works_in_grid_search():
    x, bold = simulated()
    found = GridSearchCV(
        EncodingModel(GRID, FOLDS), {"scale": ["columns", "band"], "n_components": [None, 2]}, cv=FOLDS, scoring=mean_r
    ).fit(x["mel"], bold)
    assert np.isfinite(found.cv_results_["mean_test_score"]).all()
    assert found.best_params_["n_components"] in (None, 2)


def test_score_is_pearsons_r_for_each_voxel():
    x, bold = simulated()
    model = EncodingModel(GRID, FOLDS, n_iter=3).fit({k: v[:200] for k, v in x.items()}, bold[:200])
    test = {k: v[200:] for k, v in x.items()}
    r = model.score(test, bold[200:])
    expected = [pearsonr(a, b)[0] for a, b in zip(model.predict(test).T, bold[200:].T, strict=True)]
    np.testing.assert_allclose(r, expected, atol=1e-9)
    assert (r > 0.3).all()


def test_weights_by_band_and_delay_make_the_prediction():
    x, bold = simulated()
    model = EncodingModel(GRID, FOLDS, tr=2.0, delays=(2.0, 4.0, 6.0), scale=None, n_iter=4).fit(x, bold, run=RUN)
    assert {name: w.shape for name, w in model.coef_.items()} == {"mel": (3, 6, 8), "words": (3, 1, 8)}
    total = np.zeros_like(bold)
    for name, weights in model.coef_.items():
        own = x[name].reshape(300, -1)
        delayed = convolve_hrf(own - own.mean(0), tr=2.0, hrf="fir", kind="continuous", delays=(2.0, 4.0, 6.0), run=RUN)
        for label in (1, 2, 3):
            delayed[label == RUN] -= delayed[label == RUN].mean(0)
        total += np.einsum("tfd,dfv->tv", delayed, weights)
    np.testing.assert_allclose(model.predict(x, run=RUN), total + model.intercept_, atol=1e-8)
    one = EncodingModel(GRID, FOLDS).fit(x["mel"], bold)
    assert one.coef_.shape == (1, 6, 8)


def test_levels_of_runs_teach_nothing():
    x, bold = simulated()
    levels = np.array([0.0, 50.0, -500.0])[RUN - 1][:, None]
    shifted = {"mel": x["mel"] + levels, "words": x["words"]}
    plain = EncodingModel(GRID, FOLDS, n_iter=4, scale=None).fit(x, bold, run=RUN)
    moved = EncodingModel(GRID, FOLDS, n_iter=4, scale=None).fit(shifted, bold + levels, run=RUN)
    np.testing.assert_allclose(plain.weights_, moved.weights_, atol=1e-9)
    np.testing.assert_allclose(moved.intercept_, plain.intercept_ + levels[[0, 100, 299]].mean(), atol=1e-9)


def test_rows_that_are_missing_leave_the_others_as_in_the_whole_scan():
    """Volumes in which no feature was on, left out: with `volumes` the fit is that of the whole scan without them."""
    x, bold = simulated()
    mel, kept = x["mel"].copy(), ~np.isin(np.arange(300), np.r_[40:52, 230:235])
    mel[~kept] = 0
    volumes = np.concatenate([np.arange((label == RUN).sum()) for label in (1, 2, 3)])[kept]
    options = {"tr": 2.0, "hrf": "glover", "scale": None}
    model = EncodingModel(GRID, list(FOLDS.split(bold[kept])), **options)

    def convolved(rows):  # centred by the rows there are, and 0 where they are missing
        spread = np.zeros_like(mel)
        spread[kept] = rows - rows.mean(0)
        return convolve_hrf(spread, tr=2.0, kind="continuous", run=RUN)[kept]

    model.fit(mel[kept], bold[kept], run=RUN[kept], volumes=volumes)
    by_hand = EncodingModel(GRID, model.cv, scale=None).fit(convolved(mel[kept]), bold[kept], run=RUN[kept])
    np.testing.assert_allclose(model.weights_, by_hand.weights_, atol=1e-6)
    found = model.predict(mel[kept], run=RUN[kept], volumes=volumes)
    np.testing.assert_allclose(found, by_hand.predict(convolved(mel[kept]), run=RUN[kept]), atol=1e-5)
    r = model.score(mel[kept], bold[kept], run=RUN[kept], volumes=volumes)
    np.testing.assert_allclose(r, by_hand.score(convolved(mel[kept]), bold[kept], run=RUN[kept]), atol=1e-6)
    assert not np.allclose(found, model.predict(mel[kept], run=RUN[kept]), atol=1e-3)
    with pytest.raises(InputError, match="volumes go from 3 to 3"):
        model.predict(mel[:5], volumes=[0, 1, 2, 3, 3])


def test_features_beyond_the_training_rows_are_convolved_and_nothing_else():
    x, bold = simulated()
    train = np.arange(50, 250)
    options = {"tr": 2.0, "hrf": "glover", "scale": None}
    model = EncodingModel(GRID, FOLDS, **options).fit(x["mel"], bold, train=train)
    spoiled = bold.copy()
    spoiled[250:] = np.nan
    spoiled[:50] = 1e6
    again = EncodingModel(GRID, FOLDS, **options).fit(x["mel"], spoiled, train=train)
    assert np.array_equal(model.weights_, again.weights_)
    convolved = convolve_hrf(x["mel"] - x["mel"][train].mean(0), tr=2.0, kind="continuous")
    by_hand = EncodingModel(GRID, FOLDS, scale=None).fit(convolved[train], bold[train])
    np.testing.assert_allclose(model.weights_, by_hand.weights_, atol=1e-9)


def test_a_band_that_is_convolved_already_is_left_as_it_is(tmp_path):
    x, bold = simulated()
    twice = {**x, "power": x["mel"][:, :1] ** 2}
    centred = {name: np.atleast_2d(v.T).T - v.mean(0) for name, v in x.items()}
    once = {name: convolve_hrf(v, tr=2.0, kind="continuous", run=RUN) for name, v in centred.items()}
    options = {"n_iter": 3, "tr": 2.0}
    model = EncodingModel(GRID, FOLDS, hrf="glover", convolved=("power",), **options).fit(twice, bold, run=RUN)
    expected = EncodingModel(GRID, FOLDS, **options).fit({**once, "power": twice["power"]}, bold, run=RUN)
    np.testing.assert_allclose(
        model.predict(twice, run=RUN), expected.predict({**once, "power": twice["power"]}, run=RUN), rtol=1e-5
    )
    again = EncodingModel.load(model.save(tmp_path / "fit.safetensors"))
    np.testing.assert_array_equal(again.predict(twice, run=RUN), model.predict(twice, run=RUN))
    assert set(unique_variance(model, twice, bold, twice, bold, run=RUN)) == {"mel", "words", "power"}


def test_folds_may_be_runs_numbers_or_any_splitter():
    x, bold = simulated()
    mel, options = x["mel"], {"alphas": GRID, "tr": 2.0}
    by_run = [(np.flatnonzero(label != RUN), np.flatnonzero(label == RUN)) for label in (1, 2, 3)]
    listed = EncodingModel(**options, cv=by_run).fit(mel, bold, run=RUN)
    for cv in ("runs", BlockedFolds("runs", tr=2.0), BlockedFolds("runs", tr=2.0, run=RUN), LeaveOneGroupOut()):
        found = EncodingModel(**options, cv=cv).fit(mel, bold, run=RUN)
        np.testing.assert_array_equal(found.cv_scores_, listed.cv_scores_)
    # A hole in the training rows is no neighbourhood: the gap is counted in seconds of the scan.
    train = np.setdiff1d(np.arange(300), np.arange(140, 160))
    asked = BlockedFolds(3, 32.0, tr=2.0).of_rows(train, np.ones(300))
    whole = EncodingModel(**options, cv=BlockedFolds(3, tr=2.0)).fit(mel, bold, train=train)
    numbered = EncodingModel(**options, cv=3).fit(mel, bold, train=train)
    parts = EncodingModel(**options, cv=asked).fit(mel, bold, train=train)
    assert np.array_equal(whole.cv_scores_, parts.cv_scores_)
    assert np.array_equal(numbered.cv_scores_, parts.cv_scores_)


def test_a_voxel_that_cannot_be_scored_is_nan_and_warns_of_nothing(recwarn):
    x, bold = simulated()
    model = EncodingModel(GRID, FOLDS).fit(x["mel"], bold)
    recwarn.clear()
    assert np.isnan(model.score(x["mel"], np.full_like(bold, np.nan))).all()
    half = bold.copy()
    half[:, 0], half[5, 1] = 4.0, np.inf
    assert np.flatnonzero(np.isnan(model.score(x["mel"], half))).tolist() == [0, 1]
    assert not recwarn.list


def test_scales_are_those_that_were_asked_for():
    x, bold = simulated()
    mel = x["mel"]
    columns = EncodingModel(GRID, FOLDS).fit(mel, bold).prepare(mel)
    np.testing.assert_allclose(columns.std(0), 1)
    band = EncodingModel(GRID, FOLDS, scale="band").fit(mel, bold).prepare(mel)
    np.testing.assert_allclose(band.std(0) / band.std(0)[0], mel.std(0) / mel.std(0)[0])
    assert band.var(0).mean() == pytest.approx(1)
    as_given = EncodingModel(GRID, FOLDS, scale=None).fit(mel, bold).prepare(mel)
    np.testing.assert_allclose(as_given, mel - mel.mean(0))


@pytest.mark.parametrize("scale", ["columns", "band", None])
def test_components_are_those_of_the_training_rows_at_their_own_scale(scale):
    x, bold = simulated()
    mel, train = x["mel"], slice(0, 200)
    model = EncodingModel(GRID, FOLDS, scale=scale, n_components=3).fit(mel[train], bold[train])
    found = model.prepare(mel)
    scaled = mel / (1 if scale is None else mel[train].std(0) if scale == "columns" else 1)
    expected = PCA(3, svd_solver="full").fit(scaled[train]).transform(scaled)
    ratio = found / expected
    np.testing.assert_allclose(np.abs(ratio), np.abs(ratio[0, 0]), rtol=1e-6)
    share = EncodingModel(GRID, FOLDS, scale=None, n_components=0.9).fit(mel, bold)
    assert share.bands_["features"].shape[1] == PCA(0.9, svd_solver="full").fit(mel).n_components_


def test_nothing_of_a_fit_depends_on_rows_that_come_later():
    x, bold = simulated()
    later = {"mel": np.r_[x["mel"][:200], 1e3 + x["mel"][200:]], "words": x["words"]}
    options = {"n_components": {"mel": 2}, "n_iter": 3, "tr": 2.0, "delays": (2.0, 4.0)}
    before = EncodingModel(GRID, FOLDS, **options).fit(x, bold, train=np.arange(200))
    after = EncodingModel(GRID, FOLDS, **options).fit(later, bold, train=np.arange(200))
    assert np.array_equal(before.weights_, after.weights_)


def test_int16_bold_is_fitted_as_floats():
    x, bold = simulated()
    whole = np.round(bold * 10).astype(np.int16)
    model = EncodingModel(GRID, FOLDS).fit(x["mel"], whole)
    floats = EncodingModel(GRID, FOLDS).fit(x["mel"], whole.astype(np.float64))
    predicted = model.predict(x["mel"])
    assert predicted.dtype == np.float32
    np.testing.assert_allclose(predicted, floats.predict(x["mel"]), rtol=1e-6)
    assert (model.score(x["mel"], whole) > 0.05).all()


def test_a_small_prediction_on_a_large_level_keeps_its_score():
    x, bold = simulated()
    small = (bold - 1000) * 0.02
    shifted = (small + 1e4).astype(np.float32)  # in steps of 0.001
    r = EncodingModel(GRID, FOLDS).fit(x["mel"], shifted).score(x["mel"], shifted)
    np.testing.assert_allclose(r, EncodingModel(GRID, FOLDS).fit(x["mel"], small).score(x["mel"], small), atol=0.01)


def test_bad_voxels_are_left_out_and_the_others_are_as_without_them():
    x, bold = simulated()
    good = EncodingModel(GRID, FOLDS).fit(x["mel"], bold)
    spoiled = bold.copy()
    spoiled[:, 2], spoiled[7, 5] = 3.0, np.nan
    model = EncodingModel(GRID, FOLDS).fit(x["mel"], spoiled)
    left = np.array([0, 1, 3, 4, 6, 7])
    assert np.flatnonzero(~model.fitted_voxels_).tolist() == [2, 5]
    for name in ("best_alphas_", "cv_scores_", "intercept_", "weights_", "band_weights_"):
        assert np.isnan(getattr(model, name)[..., [2, 5]]).all()
        np.testing.assert_allclose(getattr(model, name)[..., left], getattr(good, name)[..., left])
    assert np.isnan(model.predict(x["mel"])[:, [2, 5]]).all()
    r = model.score(x["mel"], spoiled)
    assert np.isnan(r[[2, 5]]).all()
    np.testing.assert_allclose(r[left], good.score(x["mel"], bold)[left])
    assert any("1 of 8 columns of BOLD never change" in note for note in model.notes_)
    assert any("1 of 8 columns of BOLD hold NaN" in note for note in model.notes_)


def test_the_callers_arrays_stay_as_they_are():
    x, bold = simulated()
    bold[3, 1] = np.nan
    before = {name: values.copy() for name, values in x.items()}, bold.copy()
    for values in (*x.values(), bold):
        values.flags.writeable = False
    model = EncodingModel(GRID, FOLDS, n_iter=2).fit(x, bold, run=RUN)
    model.score(x, bold, run=RUN)
    for name, values in x.items():
        np.testing.assert_array_equal(values, before[0][name])
    np.testing.assert_array_equal(bold, before[1])


def test_it_says_what_is_off(caplog):
    rng = np.random.default_rng(0)
    x, bold = simulated()
    x |= {"still": np.ones(300), "copy": x["words"][:, None] * 2.0, "partly": np.c_[np.ones(300), rng.random(300)]}
    with caplog.at_level(logging.WARNING):
        model = EncodingModel([1e-9, 1e-2], FOLDS, n_iter=2).fit(x, bold)
    notes = " | ".join(model.notes_)
    assert "band 'still' never changes" in notes
    assert "1 of 2 columns of band 'partly' never change" in notes
    assert "bands 'words' and 'copy' are collinear: 'words' explains 100.0 % of 'copy'" in notes
    highest = int(np.isclose(model.best_alphas_, 1e-2).sum())
    assert f"{highest} of 8 columns of BOLD ({100 * highest / 8:.0f} %) have the greatest penalty tried, 0.01" in notes
    assert "'copy' and 'words' are collinear" not in notes
    assert all(note in caplog.text for note in model.notes_)
    wide = EncodingModel(GRID, FOLDS).fit(rng.standard_normal((300, 400)), bold)
    assert any("fewer training rows (300) than features (400" in note for note in wide.notes_)
    assert not EncodingModel([10.0], FOLDS).fit(x["mel"], bold).notes_


def test_it_says_when_another_film_or_scan_varies_unlike_training(caplog):
    x, bold = simulated()
    model = EncodingModel(GRID, FOLDS).fit(x["mel"], bold)
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        model.score(x["mel"], bold)
        assert not caplog.records
        model.predict(10 * x["mel"])
        assert "band 'features' varies 10 times as much as in training" in caplog.text
        model.score(x["mel"], 100 * bold)
        assert "the BOLD varies 1e+02 times" in caplog.text


@pytest.mark.parametrize(("dtype", "many"), [(np.float32, True), (np.float64, False)])
def test_a_saved_fit_predicts_the_same(tmp_path, dtype, many):
    x, bold = simulated()
    bold[:, 3] = 0
    given = x if many else x["mel"]
    model = EncodingModel(GRID, FOLDS, tr=2.0, delays=(2.0, 4.0), n_iter=3, n_components={"mel": 2} if many else 2).fit(
        given, bold.astype(dtype), run=RUN
    )
    path = model.save(tmp_path / "fit.safetensors")
    again = EncodingModel.load(path)
    np.testing.assert_array_equal(again.predict(given, run=RUN), model.predict(given, run=RUN))
    np.testing.assert_array_equal(again.score(given, bold, run=RUN), model.score(given, bold, run=RUN))
    assert again.predict(given).dtype == dtype
    assert again.notes_ == model.notes_
    assert again.cv.n_splits == 4
    assert again.cv.gap == 16.0
    assert set(again.coef_) == {"mel", "words"} if many else again.coef_.shape == (2, 2, 8)
    with pytest.raises(InputError, match=r"was fitted on bands .* given are .*'sound' \(6 columns\): give the same"):
        again.predict({"sound": x["mel"]})


def test_a_fit_of_another_version_or_a_damaged_one_is_refused(tmp_path):
    x, bold = simulated()
    path = EncodingModel(GRID, FOLDS).fit(x["mel"], bold).save(tmp_path / "fit.safetensors")
    content = path.read_bytes()
    path.write_bytes(content.replace(b"giblet-encoding-1", b"giblet-encoding-9"))
    with pytest.raises(CheckpointError, match="format 'giblet-encoding-9': this version reads"):
        EncodingModel.load(path)
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match=r"cannot read .*fit\.safetensors"):
        EncodingModel.load(path)
    save_file({"a": np.zeros(3)}, path)
    with pytest.raises(CheckpointError, match="format None"):
        EncodingModel.load(path)
    with pytest.raises(InputError, match=r"does not end in \.safetensors"):
        EncodingModel(GRID, FOLDS).fit(x["mel"], bold).save(tmp_path / "fit.pkl")
    other = EncodingModel(GRID, FOLDS, tr=2.0, hrf=lambda tr, over: np.ones(3)).fit(x["mel"], bold)
    with pytest.raises(InputError, match="hrf is a function"):
        other.save(tmp_path / "fit.safetensors")


def bad(**changes):
    x, bold = simulated()
    asked = {"X": x["mel"], "bold": bold, "fit": {}, **changes}
    options = asked.pop("options", {})
    return EncodingModel(**{"alphas": GRID, "cv": FOLDS, **options}).fit(asked["X"], asked["bold"], **asked["fit"])


MEL = simulated()[0]["mel"]
CODES = np.zeros((300, 8), np.int32)


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"X": CODES}, InputError, r"is codes .*latents.*counts of each entry, or a learned embedding"),
        ({"X": xr.DataArray(CODES + 0.5, attrs={"kind": "codes"})}, InputError, "band 'features' is codes"),
        ({"X": {"mel": MEL, "codes": CODES}}, InputError, "band 'codes' is codes"),
        ({"X": np.where(MEL > 20, np.nan, MEL)}, InputError, "band 'features' holds nan at"),
        ({"X": MEL[:290]}, AlignmentError, "has 290 rows and the BOLD 300"),
        ({"X": {"a": MEL, "b": MEL[:290]}}, InputError, "different numbers of rows"),
        ({"X": {}}, InputError, "no band of features"),
        ({"X": MEL.astype(str)}, InputError, "floats are needed"),
        ({"X": MEL[:, None]}, InputError, r"has shape \(300, 1, 6\)"),
        ({"X": np.ones((300, 2))}, InputError, "all 2 features are constant"),
        ({"bold": np.ones((300, 2))}, InputError, "none of 2 voxels can be fitted"),
        ({"bold": np.ones(300)}, InputError, r"BOLD has shape \(300,\)"),
        ({"options": {"alphas": [0.0]}}, InputError, "penalties are positive"),
        ({"options": {"cv": 5}}, InputError, "cv=5 makes folds with a gap in seconds: give tr"),
        ({"options": {"cv": "runs", "tr": 2.0}}, InputError, "there are 0 run labels"),
        ({"options": {"cv": "runs", "tr": 2.0}, "fit": {"run": np.ones(300)}}, InputError, "there are 1 run labels"),
        ({"options": {"cv": BlockedFolds(2, 600.0, tr=2.0)}}, InputError, "leave 0 TRs to learn from"),
        ({"options": {"scale": "rows"}}, InputError, "scale of 'features' is 'rows'"),
        ({"options": {"scale": {"mel": None}}}, InputError, "scale names 'mel': the bands are features"),
        ({"options": {"n_components": 7}}, InputError, "have no more than 6"),
        ({"options": {"n_components": 1.5}}, InputError, "n_components of 'features' is 1.5"),
        ({"options": {"n_iter": 0}, "X": {"a": MEL, "b": MEL}}, InputError, "n_iter is 0"),
        ({"options": {"hrf": "glover", "delays": (2.0,), "tr": 2.0}}, InputError, "both hrf and delays"),
        ({"options": {"hrf": "glover"}}, InputError, "without tr"),
        ({"options": {"convolved": ("mel",)}}, InputError, r"convolved is \('mel',\): .* which are features"),
        ({"options": {"convolved": "features"}}, InputError, "convolved is 'features': a list of bands"),
        ({"fit": {"train": [0, 400]}}, InputError, "some of the 300 rows are needed"),
        ({"fit": {"run": np.ones(299)}}, InputError, "expected one label per volume"),
        (
            {"X": xr.DataArray(MEL, attrs={"hrf": "glover"}), "options": {"hrf": "glover", "tr": 2.0}},
            AlignmentError,
            "was convolved already",
        ),
    ],
)
def test_what_cannot_be_fitted_is_one_error(changes, error, says):
    with pytest.raises(error, match=says):
        bad(**changes)
