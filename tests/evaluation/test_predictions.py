"""Predictions of a part of a scan: equal to the model's own of the whole, and of nothing but what they may know."""

import numpy as np
import pytest
import torch

from giblet.data.dataset.series import Series
from giblet.data.dataset.windows import Recording, fit_normalisers
from giblet.evaluation import predictions
from giblet.evaluation.predictions import predict
from giblet.models import Modality, ModelSettings, MultimodalAutoencoder

N, V = 120, 5
TRAIN, TEST = np.arange(60), np.arange(90, 120)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    settings = ModelSettings.make(
        head="classification",
        n_codebooks=2, codebook_size=16, frames_per_tr=6, embedding_dim=4, features=8, bottleneck=4, rank=4,
        codebook_init=False,
    )  # fmt: skip
    kinds = {"audio": Modality("codes", (2, 6)), "text": Modality("vector", (3,))}
    return MultimodalAutoencoder(settings, kinds, {"01": V}).eval()


def recording_of(codes, text, bold, run=None):
    sources = {"audio": Series(codes, "codes"), "text": text, "bold": bold}
    return Recording.of("01", sources, tr=1.5, run=run)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 16, (N, 2, 6)).astype(np.int32)
    return codes, rng.standard_normal((N, 3)).astype(np.float32), rng.standard_normal((N, V)).astype(np.float32) * 3 + 7


@pytest.fixture(scope="module")
def normalisers(data):
    return fit_normalisers([recording_of(*data)], TRAIN)["01"]


def test_chunked_prediction_equals_whole_scan(model, data, normalisers, monkeypatch):
    recording = recording_of(*data)
    (whole,) = predict(model, recording, normalisers, TEST)
    with torch.no_grad():
        present = torch.ones(1, N, dtype=torch.bool)
        x = {"audio": torch.from_numpy(data[0])[None], "text": torch.from_numpy(normalisers["text"](data[1]))[None]}
        bold = torch.from_numpy(normalisers["bold"](data[2]))[None]
        answer = model.predict_bold(x, {"audio": present, "text": present}, "01")[0, 90:].numpy()
        said = model.decode(bold[:, 90:], "01")
    np.testing.assert_allclose(whole.bold_predicted, answer, atol=1e-5)
    assert np.array_equal(whole.decoded["audio"], model.decoder.to_codes(said)[0].numpy())
    np.testing.assert_allclose(whole.decoded["text"], normalisers["text"].inverse(said["text"][0].numpy()), atol=1e-5)
    monkeypatch.setattr(predictions, "AT_A_TIME", 7)
    (pieces,) = predict(model, recording, normalisers, TEST)
    np.testing.assert_allclose(pieces.bold_predicted, whole.bold_predicted, atol=1e-5)
    assert np.array_equal(pieces.decoded["audio"], whole.decoded["audio"])


def test_bold_of_other_splits_does_not_change_what_is_decoded(model, data, normalisers):
    codes, text, bold = data
    poisoned = bold.copy()
    poisoned[:90] = 1e3
    (clean,), (other,) = (predict(model, recording_of(codes, text, b), normalisers, TEST) for b in (bold, poisoned))
    assert np.array_equal(clean.decoded["text"], other.decoded["text"])
    changed = bold.copy()
    changed[100:] += 1
    (later,) = predict(model, recording_of(codes, text, changed), normalisers, TEST)
    lead = model.lead_trs
    same = (clean.decoded["text"] == later.decoded["text"]).all(axis=1)
    assert same[: 10 - lead].all() and not same[10 - lead : 20].any()


def test_trs_without_full_volumes_or_context_are_not_scored(model, data, normalisers):
    (stretch,) = predict(model, recording_of(*data), normalisers, TEST)
    assert stretch.scored["audio"].tolist() == [True] * (30 - model.lead_trs) + [False] * model.lead_trs
    assert stretch.bold_scored.all()  # the stimulus before the part is known
    (first,) = predict(model, recording_of(*data), normalisers, np.arange(40))
    assert first.bold_scored.tolist() == [False] * model.context_trs + [True] * (40 - model.context_trs)
    (begun,) = predict(model, recording_of(*data), normalisers, np.arange(40), stimulus_trs=np.arange(N))
    assert begun.bold_scored.all()


def test_missing_volumes_and_stimuli_are_not_scored(model, data, normalisers):
    codes, text, bold = data
    bold, text = bold.copy(), text.copy()
    bold[100] = np.nan
    text[110] = np.nan
    (stretch,) = predict(model, recording_of(codes, text, bold), normalisers, TEST)
    assert not stretch.bold_scored[10] and stretch.bold_scored.sum() == 29
    assert not stretch.scored["audio"][10 - model.lead_trs : 11].any()
    assert stretch.scored["audio"][20] and not stretch.scored["text"][20]


def test_no_run_changes_the_prediction_of_another(model, data, normalisers):
    run = np.repeat([1, 2], N // 2)
    stretches = predict(model, recording_of(*data, run), normalisers, np.arange(40, 80))
    assert [(s.start, s.stop, s.run) for s in stretches] == [(40, 60, 1), (60, 80, 2)]
    codes = data[0].copy()
    codes[:60] = 0
    other = predict(model, recording_of(codes, *data[1:], run), normalisers, np.arange(40, 80))
    assert np.array_equal(stretches[1].bold_predicted, other[1].bold_predicted)
    assert not np.array_equal(stretches[0].bold_predicted, other[0].bold_predicted)
