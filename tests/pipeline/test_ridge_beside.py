"""A trained run beside ridge regression: its own linear path, or one that is fitted when the run is scored."""

import json
import logging

import numpy as np
import pandas as pd
import pytest
import torch

import giblet as gb
from giblet.alignment import convolve_hrf
from giblet.encoding import fit_ridge
from giblet.evaluation.encoding import score_encoding
from giblet.features import new_features, save_features
from giblet.pipeline.scoring import score
from giblet.spans import volume_rate
from giblet.statistics.estimates import ScoredTRs
from giblet.timing import TRGrid
from giblet.training.settings import TrainSettings

TR, N = 2.0, 480


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Words as vectors of 6 numbers, and 8 regions that answer to them."""
    folder, rng = tmp_path_factory.mktemp("beside"), np.random.default_rng(0)
    said, grid = rng.standard_normal((N, 6)).astype(np.float32), TRGrid(TR, N, volume_rate(TR))
    words = new_features(
        {"embedding": (("tr", "dim"), said)}, grid, film_duration=grid.duration, kind="continuous", desc="text",
        source="w.tsv", source_sha256="0", duration=float(grid.duration), settings={},
    )  # fmt: skip
    save_features(words, folder / "words.nc")
    answer = convolve_hrf(said, tr=TR, kind="continuous") @ rng.standard_normal((6, 8))
    bold = answer / answer.std() + rng.standard_normal((N, 8))
    pd.DataFrame(bold, columns=[f"r{k}" for k in range(8)]).to_csv(folder / "bold.tsv", sep="\t", index=False)
    return folder, said, bold


def trained(study, name, **model):
    folder = study[0]
    options = {"use_encodec": False, "tr": TR, "features": 16, "bottleneck": 8, "rank": 8, **model}
    data = {"subjects": [{"name": "01", "runs": [{"bold": folder / "bold.tsv", "text": folder / "words.nc"}]}]}
    data["fractions"] = (0.6, 0.1, 0.3)
    gb.train(TrainSettings.make(data=data, model=options, output=folder / name, steps=2, device="cpu"))
    return gb.open_run(folder / name)


@pytest.fixture(scope="module")
def with_path(study):
    return trained(study, "with_path")


def test_ridge_on_the_card_is_fit_ridge_on_the_same_trs(study, with_path):
    _, said, bold = study
    assert with_path.ridge is with_path.model
    prediction = with_path.predict("test", "01", device="cpu")
    card = score(prediction)
    (stretch,) = prediction.stretches
    rows = np.arange(stretch.start, stretch.stop)[stretch.bold_scored]
    ridge = fit_ridge(said, bold, with_path.study.part("train")["01"], TR).predicted[rows]
    alone = score_encoding(bold[rows], ridge, ScoredTRs.of(len(rows), TR))
    assert card.encoding.ridge.value == pytest.approx(alone.mean.value, abs=1e-3)
    assert card.encoding.above_ridge.value == pytest.approx(card.encoding.mean.value - card.encoding.ridge.value)
    assert [one.name for one in card.scores if one.ridge is not None] == [one.name for one in card.scores]
    assert [one.seconds for one in card.passages] == [2.0, 6.0, 10.0, 16.0, 20.0]  # whole TRs
    assert card.passages[2].top[1].value > 5 * card.passages[2].chance[1]


def test_a_run_without_a_linear_path_has_one_fitted_to_the_same_trs(study, with_path):
    run = trained(study, "without_path", linear_path=False)
    before = torch.get_rng_state()
    assert run.model.linear_path is None and run.ridge.linear_path is not None
    assert torch.equal(torch.get_rng_state(), before)  # the caller's draws go on as they would have
    one, other = (score(own.predict("test", "01", device="cpu")) for own in (with_path, run))
    assert other.encoding.ridge.value == pytest.approx(one.encoding.ridge.value, abs=1e-5)
    for name in ("text r", "text r over time", "text identification"):
        expected = one.score(name).ridge.score.value
        assert other.score(name).ridge.score.value == pytest.approx(expected, abs=1e-5)


def test_reconstruct_warns_where_the_model_is_below_ridge(study, with_path, tmp_path, caplog):
    with torch.no_grad():
        for name, parameter in with_path.model.named_parameters():
            if not name.startswith("linear_path"):
                parameter += 0.5 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(len(name)))
        before = with_path.model.linear_path.gain("bold").clone()
        with_path.model.linear_path.gain("bold").fill_(1.0)
    try:
        with caplog.at_level(logging.WARNING):
            made = gb.reconstruct(with_path, out_dir=tmp_path, device="cpu")
    finally:
        with_path.model.linear_path.gain("bold").copy_(before)
    assert any("subject 01: below ridge: encoding r is" in record.message for record in caplog.records)
    told = json.loads(made.files[-2].read_text())
    assert told["encoding"]["above_ridge"]["high"] < 0
    assert any(note.startswith("below ridge: encoding r") for note in told["notes"])
    assert "| told apart | passages |" in made.files[-1].read_text()
