"""What stands beside ridge: differences with intervals, the model's own linear path, and what a card says of it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from giblet.data.dataset.series import Series
from giblet.data.dataset.windows import Recording, fit_normalisers
from giblet.encoding import DecodingModel, fit_ridge
from giblet.evaluation.compared import compare
from giblet.evaluation.encoding import score_encoding
from giblet.evaluation.group_scorecard import group_scorecard
from giblet.evaluation.identification import told_apart
from giblet.evaluation.predictions import predict
from giblet.evaluation.scorecard import Scorecard
from giblet.models import Modality, ModelSettings, MultimodalAutoencoder
from giblet.statistics.estimates import ScoredTRs
from giblet.training.best import Best
from giblet.training.linear_decoding import fit_linear_decoding
from giblet.training.scored_windows import ScoredWindows
from tests.training.test_linear import TEST, TR, TRAIN, N, brain, fitted

TRS = ScoredTRs.of(300, TR)


def predictions(seed, worse=1.0, n=300, n_voxels=8):
    """BOLD, a prediction of it, and one without the noise that the first has."""
    rng = np.random.default_rng(seed)
    signal = rng.standard_normal((n, n_voxels))
    bold = signal + rng.standard_normal(signal.shape)
    return bold, signal + worse * rng.standard_normal(signal.shape), signal


def test_the_difference_from_ridge_is_that_of_the_two_scores():
    bold, model, ridge = predictions(0)
    both, alone = score_encoding(bold, model, TRS, ridge=ridge), score_encoding(bold, ridge, TRS)
    assert both.mean == score_encoding(bold, model, TRS).mean
    assert both.ridge.value == pytest.approx(alone.mean.value, abs=1e-12)
    assert both.above_ridge.value == pytest.approx(both.mean.value - alone.mean.value, abs=1e-12)
    assert both.above_ridge.high < 0
    same = score_encoding(bold, model, TRS, ridge=model).above_ridge
    assert (same.value, same.low, same.high) == (pytest.approx(0, abs=1e-12),) * 3


def test_intervals_of_the_difference_hold_the_truth_about_as_often_as_they_say():
    bold, model, ridge = predictions(1, n=60_000)
    r = [np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(bold.T, side.T, strict=True)]) for side in (model, ridge)]
    held = []
    for seed in range(2, 82):
        bold, model, ridge = predictions(seed)
        gap = score_encoding(bold, model, TRS, ridge=ridge).above_ridge
        held.append(gap.low <= r[0] - r[1] <= gap.high)
    assert np.mean(held) >= 0.9


def test_what_is_decoded_is_compared_with_ridge_in_each_measure():
    truth, model, ridge = predictions(3, worse=2.0)
    pooled, over_time = compare("text r", truth, model, {}, TRS, ridge=ridge)
    alone = compare("text r", truth, ridge, {}, TRS)
    for one, other in zip((pooled, over_time), alone, strict=True):
        assert one.ridge.score.value == pytest.approx(other.reconstruction.value, abs=1e-12)
        gap = one.reconstruction.value - other.reconstruction.value
        assert one.ridge.margin.value == pytest.approx(gap, abs=1e-12)
        assert one.ridge.wins and one.ridge.margin.low < gap < one.ridge.margin.high < 0
    (ten, twenty) = told_apart("text", truth, model, TRS, ridge=ridge, seconds=(10.0, 20.0))
    assert (ten.seconds, twenty.seconds) == (10.5, 19.5)
    assert ten.ridge.top[1].value > ten.top[1].value > ten.chance[1]


def card(seed, worse=1.0):
    truth, model, ridge = predictions(seed, worse)
    scores = compare("text r", truth, model, {}, TRS, ridge=ridge)
    encoding = score_encoding(truth, model, TRS, ridge=ridge)
    passages = told_apart("text", truth, model, TRS, ridge=ridge, seconds=(10.0, 20.0))
    return Scorecard.of({"subject": str(seed), "tr": TR}, scores, encoding, [], passages)


def test_a_card_shows_ridge_and_says_where_the_model_is_below_it():
    found = card(4)
    text = found.markdown()
    assert "| ridge (difference, 95 %) |" in text and "| encoding r, mean of voxels |" in text
    assert f"{found.encoding.ridge.value:.3f} ({found.encoding.above_ridge.value:+.3f}, " in text
    assert "| text, 10.5 s | 42 |" in text
    assert [note.split(":")[1].split(" is ")[0] for note in found.below_ridge] == [
        " text r", " text r over time", " encoding r",
    ]  # fmt: skip
    assert set(found.below_ridge) <= set(found.notes)
    row = found.to_pandas().loc["encoding r"]
    assert (row["ridge"], row["above_ridge_high"]) == (found.encoding.ridge.value, found.encoding.above_ridge.high)
    told = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert told["encoding"]["above_ridge"]["high"] < 0
    assert told["scores"][0]["ridge"]["margin"]["high"] < 0
    assert told["passages"][0]["ridge"]["top"]["1"]["value"] == found.passages[0].ridge.top[1].value


def test_a_model_that_equals_ridge_is_not_called_worse():
    truth, model, _ = predictions(5)
    scores = compare("text r", truth, model, {}, TRS, ridge=model)
    found = Scorecard.of({"tr": TR}, scores, score_encoding(truth, model, TRS, ridge=model))
    assert found.below_ridge == () and not any("below ridge" in note for note in found.notes)
    without = Scorecard.of({"tr": TR}, compare("text r", truth, model, {}, TRS), score_encoding(truth, model, TRS))
    assert "ridge" not in without.table() and without.as_dict()["encoding"]["above_ridge"] is None


def test_a_group_has_the_mean_over_subjects_of_ridge_too():
    cards = [card(6), card(7)]
    group = group_scorecard(cards)
    for name in ("text r", "text r over time"):
        expected = np.mean([one.score(name).ridge.score.value for one in cards])
        assert group.score(name).ridge.score.value == pytest.approx(expected)
    gaps = [one.encoding.above_ridge.value for one in cards]
    assert group.encoding.above_ridge.value == pytest.approx(np.mean(gaps))
    assert group.encoding.above_ridge.low is None
    apart, own = group.passages[0], [one.passages[0] for one in cards]
    assert apart.n_passages == 84 and apart.top[1].value == pytest.approx(np.mean([one.top[1].value for one in own]))
    assert apart.ridge.pairwise.value == pytest.approx(np.mean([one.ridge.pairwise.value for one in own]))
    together = np.mean([one.top_rotated[1].by_rotation for one in own], axis=0)
    assert apart.top_rotated[1].p == pytest.approx(np.mean(together >= together[0]))
    assert "| text, 10.5 s | 84 |" in group.markdown()


def test_ridge_beside_a_model_is_fit_ridge_and_the_decoding_model_on_its_training_trs():
    shown, bold = brain(0, n_voxels=30)
    model, (recording,), normalisers, _ = fitted({"a": (shown, bold)})
    windows = ScoredWindows(
        [recording], {"a": TRAIN}, window=42, context=model.context_trs, lead=model.lead_trs, normalisers=normalisers,
        stimulus_trs={"a": np.arange(N)},
    )  # fmt: skip
    fit_linear_decoding(model, windows, centre_runs=False)
    with torch.no_grad():  # a network that spoils both ways
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
        model.linear_path.gain("text").fill_(1)
    (stretch,) = predict(model, recording, normalisers["a"], TEST, stimulus_trs=np.arange(N))
    ridge = fit_ridge(shown["text"], bold, TRAIN, TR).predicted[TEST]
    own = normalisers["a"]["bold"].inverse(stretch.bold_ridge)
    assert np.abs(own - ridge).max() < 2e-3 * ridge.std()
    assert np.abs(normalisers["a"]["bold"].inverse(stretch.bold_predicted) - ridge).max() > 0.1 * ridge.std()
    decoder = DecodingModel(tr=TR, window=(0.0, model.lead_trs * TR)).fit(bold, shown["text"], train=TRAIN)
    expected = decoder.predict(bold)[TEST][: -model.lead_trs]
    said = stretch.decoded_ridge["text"][: -model.lead_trs]
    assert np.abs(said - expected).max() < 0.02 * expected.std()
    assert np.abs(stretch.decoded["text"][: -model.lead_trs] - expected).max() > 0.1 * expected.std()


def test_a_model_without_a_linear_path_has_no_ridge_beside_it():
    shown, bold = brain(0)
    model, (recording,), normalisers, _ = fitted({"a": (shown, bold)}, linear_path=False)
    (stretch,) = predict(model, recording, normalisers["a"], TEST, stimulus_trs=np.arange(N))
    assert stretch.bold_ridge is None and stretch.decoded_ridge == {}


def test_training_says_at_its_end_of_what_the_best_validation_is_below_ridge():
    best = Best(None, lambda losses: sum(losses.values()))
    best.ways["encoding"] |= {"step": 5, "total": 0.6, "val": {"bold": 0.6}}
    best.ways["decoding"] |= {"step": 5, "total": 0.8, "val": {"text": 0.4, "audio": 0.4}}
    (note,) = best.notes(Path("best"), {"bold": 0.5, "text": 0.4})
    assert note.startswith("below ridge: the best validation of bold (0.6, ridge 0.5) is worse than")
    assert best.notes(Path("best"), {"bold": 0.6, "text": 0.5}) == []


@pytest.mark.parametrize("head", ["classification", "regression"])
def test_a_head_that_knows_codes_as_categories_is_predicted_with_beside_ridge_of_encoding(head):
    rng = np.random.default_rng(0)
    codes, bold = rng.integers(0, 16, (N, 2, 4)).astype(np.int32), rng.standard_normal((N, 3))
    recording = Recording.of("a", {"audio": Series(codes, "codes"), "bold": bold}, tr=TR)
    normalisers = fit_normalisers([recording], TRAIN)
    settings = ModelSettings.make(
        tr=TR, features=16, bottleneck=8, rank=8, head=head, n_codebooks=2, codebook_size=16, frames_per_tr=4,
        embedding_dim=4,
    )  # fmt: skip
    books = torch.as_tensor(rng.standard_normal((2, 16, 5)), dtype=torch.float32)
    model = MultimodalAutoencoder(settings, {"audio": Modality("codes", (2, 4))}, {"a": 3}, codebooks=books).eval()
    model.linear_path.set_weights(0, torch.ones_like(model.linear_path.weights(0)[0]), torch.zeros(3))
    (stretch,) = predict(model, recording, normalisers["a"], TEST, stimulus_trs=np.arange(N))
    assert stretch.bold_ridge is not None and stretch.decoded_ridge == {}
