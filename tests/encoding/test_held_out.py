"""Held-out predictions are the model's own, their parts sum to r, and folds are fitted anew for chance."""

from pathlib import Path

import numpy as np
import pytest

from giblet.data.study_settings import RunSettings
from giblet.encoding import BlockedFolds, EncodingModel, rotation_test
from giblet.encoding.held_out import predict_held_out, score_held_out
from giblet.encoding.settings import BandSettings, EncodeDataSettings, EncodeRunSettings, EncodeSettings
from giblet.errors import InputError

TR = 2.0


def data(n_trs=300, n_voxels=30, seed=0, weight=0.7):
    rng = np.random.default_rng(seed)
    x = {"a": rng.standard_normal((n_trs, 3)), "b": rng.standard_normal((n_trs, 2))}
    bold = weight * x["a"] @ rng.standard_normal((3, n_voxels)) + rng.standard_normal((n_trs, n_voxels))
    return x, bold.astype(np.float32), np.repeat([1, 2], [n_trs // 2, n_trs - n_trs // 2])


def model(**options):
    return EncodingModel(np.logspace(0, 4, 5), BlockedFolds(3, tr=TR), tr=TR, n_iter=3, **options)


def test_predictions_are_those_of_a_model_fitted_on_the_training_rows_with_responses_over_the_border():
    x, bold, run = data()
    folds = [(np.arange(0, 200), np.arange(220, 300))]
    held, last = predict_held_out(model(delays=(2.0, 4.0)), x, bold, folds, run=run)
    own = model(delays=(2.0, 4.0)).fit(x, bold, run=run, train=folds[0][0])
    assert np.allclose(held.whole + own.level_, own.predict(x, run=run)[220:], atol=1e-4)
    assert np.allclose(last.weights_, own.weights_)
    others = {"b": x["b"]}
    without = model(delays=(2.0, 4.0)).fit(others, bold, run=run, train=folds[0][0]).predict(others, run=run)[220:]
    assert np.allclose(held.without["a"] - held.without["a"].mean(0), without - without.mean(0), atol=1e-4)


def test_parts_sum_to_r_which_is_the_rotation_tests_own():
    x, bold, run = data()
    folds = [(fold[0], fold[1]) for fold in BlockedFolds(3, tr=TR).of_rows(np.arange(300), run)]
    held, _ = predict_held_out(model(), x, bold, folds, run=run)
    stretches = np.cumsum(np.r_[0, (np.diff(run) != 0) | (np.diff(np.arange(300) // 100) != 0)])
    scores = score_held_out(held, bold, stretches, tr=TR, high_pass=None)
    assert scores.why is None
    assert np.allclose(scores.r, rotation_test(bold, held.whole, tr=TR, run=stretches, high_pass=None).r, atol=1e-6)
    assert np.allclose(sum(scores.split.values()), scores.r, atol=1e-6)
    assert (scores.unique["a"] > 0.05).all() and abs(scores.unique["b"].mean()) < 0.02
    assert (scores.split["a"] > scores.split["b"]).all()


def test_a_voxel_that_cannot_be_fitted_is_nan_and_the_others_are_as_without_it():
    x, bold, run = data()
    folds = [(np.arange(0, 150), np.arange(200, 300))]
    whole = score_held_out(predict_held_out(model(), x, bold, folds, run=run)[0], bold[200:], run[200:], tr=TR)
    bold[20, 4] = np.nan
    holes = score_held_out(predict_held_out(model(), x, bold, folds, run=run)[0], bold[200:], run[200:], tr=TR)
    assert np.isnan(holes.r[4]) and np.isnan(holes.of("q")[4]) and not holes.tested[4]
    rest = np.arange(30) != 4
    assert np.allclose(holes.r[rest], whole.r[rest]) and np.allclose(holes.of("p")[rest], whole.of("p")[rest])


@pytest.mark.parametrize(("n_columns", "phi"), [(4, 0.0), (4, 0.6), (30, 0.3)])
def test_folds_that_predict_each_other_find_as_much_in_noise_as_p_says_where_rotated_predictions_find_more(
    n_columns, phi
):
    fixed, refitted = [], []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        x = {"a": rng.standard_normal((240, n_columns))}
        bold = rng.standard_normal((240, 100))
        for t in range(1, 240):
            bold[t] += phi * bold[t - 1]
        bold, run = bold.astype(np.float32), np.zeros(240, int)
        folds = BlockedFolds(3, tr=TR).of_rows(np.arange(240), run)
        held, _ = predict_held_out(model(), x, bold, folds, run=run)
        stretches = np.repeat([0, 1, 2], 80)
        fixed.append(rotation_test(bold, held.whole, tr=TR, run=stretches).p)
        refitted.append(score_held_out(held, bold, stretches, tr=TR, run=run, n_rotations=100).of("p"))
    assert (np.concatenate(fixed) <= 0.05).mean() > 0.075, "what the fits anew are for"
    found = np.concatenate(refitted)
    assert 0.03 <= (found <= 0.05).mean() <= 0.075 and (found <= 0.01).mean() <= 0.02


def test_predictions_of_a_level_that_float32_cannot_resolve_have_the_r_of_those_without():
    x, bold, run = data(weight=0.01)
    folds = BlockedFolds(3, tr=TR).of_rows(np.arange(300), run)
    stretches = np.cumsum(np.r_[0, (np.diff(run) != 0) | (np.diff(np.arange(300) // 100) != 0)])
    strong = EncodingModel([1e7], BlockedFolds(3, tr=TR), tr=TR, n_iter=3)
    bold = np.round(bold * 64) / 64  # exact beside the level too
    low, high = (
        score_held_out(
            predict_held_out(strong, x, values, folds, run=run)[0], values, stretches, tr=TR, run=run, n_rotations=20
        )
        for values in (bold.astype(np.float32), (bold + 10_000).astype(np.float32))
    )
    assert np.allclose(low.r, high.r, atol=1e-4)


def test_settings_come_back_from_their_own_yaml(tmp_path):
    run = {"bold": "b.tsv", "features": {"rate": "r.tsv"}, "part": "train"}
    runs = [run, {**run, "part": "test"}]
    options = {"data": {"subjects": [{"name": "1", "runs": runs}]}, "output": "o", "hrf": "glover"}
    settings = EncodeSettings.make(**options, bands={"rate": {"of": "rate", "n_components": 3}})
    (tmp_path / "e.yaml").write_text(settings.to_yaml())
    assert EncodeSettings.from_yaml(tmp_path / "e.yaml") == settings
    with pytest.raises(InputError, match="some runs have a part, others none"):
        EncodeSettings.make(**{**options, "data": {"subjects": [{"name": "1", "runs": [run, {"bold": "c.tsv"}]}]}},
                            bands={"rate": {"of": "rate"}})  # fmt: skip


def test_the_page_names_every_option():
    page = (Path(__file__).parents[2] / "docs" / "encoding.md").read_text(encoding="utf-8")
    own = {
        EncodeSettings: set(), EncodeDataSettings: {"subjects", "centre_runs"},
        EncodeRunSettings: set(RunSettings.model_fields) - {"features", "part"}, BandSettings: set(),
    }  # fmt: skip
    for part, elsewhere in own.items():
        names = set(part.model_fields) - elsewhere - {"data", "bands", "output", "rows"}
        missing = [name for name in names if f"`{name}`" not in page]
        assert not missing, (part.__name__, missing)
