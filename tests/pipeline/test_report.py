"""The page of a training run: whatever became of it, it renders, says what is missing, and escapes what users typed."""

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import yaml

from giblet.errors import InputError
from giblet.evaluation.alignment import Regressor, check
from giblet.pages import Report
from giblet.pipeline.report import page_path, report
from tests import commands
from tests.chromium import CHROMIUM, Browser
from tests.test_pages import Page
from tests.trained import N_TRS, TR, Trained, own_copy

SECONDS = N_TRS * TR


@pytest.fixture(scope="module")
def example(trained_run, tmp_path_factory) -> Trained:
    """A run, reconstructed, with an alignment check in it."""
    made = own_copy(trained_run, tmp_path_factory.mktemp("trained"))
    assert commands.giblet("reconstruct", made.run)[0] == 0
    rng = np.random.default_rng(0)
    heard = Regressor("envelope", rng.standard_normal(160), np.arange(161) * TR)
    checked = check(heard, rng.standard_normal((160, 3)), TR, targets=list("abc"), lags=np.arange(-4, 5) * TR)
    (made.run / "alignment.json").write_text(json.dumps({"regressors": [checked.row()]}))
    return made


@pytest.fixture
def run(example, tmp_path) -> Path:
    """A copy of the run, to be changed."""
    return Path(shutil.copytree(example.run, tmp_path / "run"))


def card_of(run: Path) -> Path:
    return run / "reconstruction" / "sub-01_split-test_scorecard.json"


def change(path: Path, **changes) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def section(page: Report, title: str):
    return next(one for one in page.sections if one.title.startswith(title))


def text_of(page: Report) -> str:
    return Page(page.html).text


def warnings_of(page: Report) -> str:
    return " ".join(page.sections[0].warnings)


def test_the_page_begins_with_the_figures_that_matter_beside_chance_and_ridge(example):
    page = report(example.run)
    card = json.loads(card_of(example.run).read_text())
    encoding, sound, *_ = page.sections[0].parts
    assert encoding.name == "encoding r, mean of regions" and encoding.value == f"{card['encoding']['r']['value']:.3f}"
    assert any(line.startswith("rotated in time") for line in encoding.beside) and sound.name == "latent r"
    assert [one.title for one in page.sections] == [
        "What was found", "Listen", "Scores: subject 01, test part", "Training", "Alignment",
        "What each TR was used for", "What was left out, and what is off", "How it was made",
    ]  # fmt: skip
    assert "The brain is simulated" in warnings_of(page) and "One subject" in text_of(page)
    assert "The run has no picture and no words" in text_of(page)


def test_every_score_of_the_card_is_in_the_table_beside_its_nulls(example):
    card = json.loads(card_of(example.run).read_text())
    table = section(report(example.run), "Scores").parts[1]
    rows = {row[0]: dict(zip(table.headers, row, strict=True)) for row in table.rows}
    assert list(rows)[1:] == [one["name"] for one in card["scores"]]
    for one in card["scores"]:
        told = {True: "yes", False: "no", None: "not tested"}[one["above_nulls"]]
        assert rows[one["name"]]["above its nulls"] == told
        if (value := one["reconstruction"]["value"]) is not None:
            assert float(rows[one["name"]]["reconstruction (95 %)"].split()[0]) == pytest.approx(value, abs=6e-4)
        for name, null in one["nulls"].items():
            if null["value"] is not None:
                assert float(rows[one["name"]][name]) == pytest.approx(null["value"], abs=6e-4)


def test_scores_and_lists_that_a_later_giblet_adds_appear_by_themselves(run):
    card = json.loads(card_of(run).read_text())
    new = {**card["scores"][0], "name": "voicing agreement", "nulls": {"a new null": {"value": 0.125}}}
    told = {"value": 0.75, "low": 0.6, "high": 0.9, "chance": 0.5, "rotated": 0.51, "p": 0.01, "n": 99}
    beside = {"ridge": None, "ceiling": {"name": "mel", "pairwise": {"value": 0.99}, "top": {"1": {"value": 0.97}}}}
    longer = {"name": "mel", "seconds": 6.0, "n_passages": 40, "pairwise": told, "top": {"1": told}, **beside}
    change(card_of(run), scores=[*card["scores"], new], passages=[longer], syllables=[{**longer, "seconds": 0.2}])
    page = report(run)
    scores, *others = [part for part in section(page, "Scores").parts if hasattr(part, "rows")]
    assert scores.rows[-1][0] == "voicing agreement" and "0.125" in scores.rows[-1] and "a new null" in scores.headers
    assert [one.caption for one in others] == ["Passages told apart", "Syllables"]
    added = others[1]
    assert dict(zip(added.headers, added.rows[0], strict=True))["pairwise"] == "0.750 (0.600 to 0.900)"
    assert {"pairwise: chance", "pairwise: rotated (p)", "top-1"} <= set(added.headers)
    assert dict(zip(added.headers, added.rows[0], strict=True))["codec alone: pairwise"] == "0.990"
    figure = page.sections[0].parts[-1]
    assert (figure.value, figure.above) == ("0.750", True) and "mel, 40 passages of 6 s" in figure.beside[0]


@pytest.mark.parametrize("above", [True, False, None])
def test_what_is_not_above_its_null_is_said_to_be_no_evidence(run, above):
    card = json.loads(card_of(run).read_text())
    q = {True: 0.01, False: 0.9, None: None}[above]
    change(
        card_of(run),
        encoding={**card["encoding"], "q": q},
        scores=[{**o, "above_nulls": above} for o in card["scores"]],
    )
    said = warnings_of(report(run))
    assert ("no score is above its null" in said) == (above is False)
    assert ("not tested" in said) == (above is None)
    assert [part.above for part in report(run).sections[0].parts][:2] == [above, above]


@pytest.mark.parametrize("p", [0.001, 0.6])
def test_passages_that_are_told_apart_are_something_that_is_above_its_null(run, p):
    card = json.loads(card_of(run).read_text())
    told = {"value": 0.75, "low": 0.6, "high": 0.9, "chance": 0.5, "rotated": 0.51, "p": p, "n": 99}
    passages = [{"name": "mel", "seconds": 6.0, "n_passages": 40, "pairwise": told, "top": {}, "ridge": None}]
    scores = [{**one, "above_nulls": False} for one in card["scores"]]
    change(card_of(run), encoding={**card["encoding"], "q": 0.9}, scores=scores, passages=passages)
    said = warnings_of(report(run))
    assert ("no score is above its null" in said) == (p > 0.05)
    assert report(run).sections[0].parts[-1].above == (p <= 0.05)


def test_the_sounds_are_those_of_the_run_and_the_null_is_the_reconstruction_rotated(example):
    folder = example.run / "reconstruction"
    [heard] = section(report(example.run), "Listen").parts
    true, predicted = (
        soundfile.read(folder / f"sub-01_split-test_desc-{name}_decoded.wav", dtype="float32")[0]
        for name in ("true", "predicted")
    )
    assert [one.label for one in heard.players] == ["codec alone", "reconstruction, 01", "rotated in time, 01"]
    for player, expected in zip(
        heard.players, (true, predicted, np.roll(predicted, -len(predicted) // 2)), strict=True
    ):
        back, _ = soundfile.read(io.BytesIO(player.flac), dtype="float32")
        assert player.seconds == pytest.approx(SECONDS)
        np.testing.assert_allclose(back, expected, atol=1 / 32_768)
    assert "--original" in " ".join(section(report(example.run), "Listen").text)


def test_the_original_is_heard_first_and_another_film_is_refused(example, tmp_path):
    [heard] = section(report(example.run, original=example.sound), "Listen").parts
    sound, _ = soundfile.read(example.sound, dtype="float32")
    assert heard.players[0].label == "original"
    np.testing.assert_allclose(heard.players[0].sound, sound, atol=1e-3)
    soundfile.write(tmp_path / "other.wav", sound[::-1], 24_000)
    with pytest.raises(InputError, match=r"other\.wav is not what a decoded part of the run was made from"):
        report(example.run, original=tmp_path / "other.wav")
    with pytest.raises(InputError, match="no such file"):
        report(example.run, original=[tmp_path / "none.wav"])


def test_the_curves_have_the_losses_and_the_time_line_the_parts(example):
    page = report(example.run)
    log = pd.read_csv(example.run / "log.csv")
    drawing = section(page, "Training").parts[0]
    assert f"{log['val_bold'].iloc[-1]:.3f}" in drawing.alt and "bold (encoding)" in drawing.svg
    splits = json.loads((example.run / "splits.json").read_text())["01"]
    line = section(page, "What each TR").parts[0]
    assert f"{len(splits['train'])} training, {len(splits['val'])} validation, {len(splits['test'])} test" in line.alt


def test_the_alignment_is_drawn_and_its_absence_told(example, run):
    checks = json.loads((run / "alignment.json").read_text())["regressors"]
    assert len(checks[0]["lags"]) == len(checks[0]["r_by_lag"]) == 9
    assert max(checks[0]["r_by_lag"]) == pytest.approx(checks[0]["r"])
    drawing, table = section(report(run), "Alignment").parts
    assert "Correlation by lag" in drawing.alt and table.rows[0][0] == "envelope"
    (run / "alignment.json").rename(run.parent / "kept.json")
    assert "Nothing here says whether scan and film are on one clock" in section(report(run), "Alignment").text[0]
    assert section(report(run, alignment=run.parent / "kept.json"), "Alignment").parts
    with pytest.raises(InputError, match="no such file"):
        report(run, alignment=run.parent / "none.json")
    (run / "alignment.json").write_text("{}")
    with pytest.raises(InputError, match=r"alignment\.json.*check-alignment --json"):
        report(run)


def test_a_run_that_failed_before_its_first_validation_has_a_page(run):
    for name in ("log.csv", "summary.json", "alignment.json"):
        (run / name).unlink()
    for name in ("best", "checkpoints", "reconstruction"):
        shutil.rmtree(run / name)
    page = report(run)
    assert "has not validated yet" in warnings_of(page) and "no best model" in warnings_of(page)
    assert "Nothing was reconstructed yet" in text_of(page) and "There is no log.csv" in text_of(page)
    assert "What each TR was used for" in text_of(page)


def test_a_run_that_was_stopped_says_how_far_it_came_and_how_to_go_on(run):
    (run / "summary.json").unlink()
    shutil.rmtree(run / "reconstruction")
    log = pd.read_csv(run / "log.csv").head(2)
    log.to_csv(run / "log.csv", index=False)
    page = report(run)
    assert f"came to step {log['step'].iloc[-1]}" in warnings_of(page) and "giblet train" in warnings_of(page)
    assert section(page, "Training").parts[0].svg


@pytest.mark.parametrize(
    ("linear", "said"), [({}, "the untrained one (step 0)"), ({"bold": 0.7, "audio": 0.9}, "ridge")]
)
def test_a_best_model_that_learned_nothing_is_said_to_be_none(run, linear, said):
    change(
        run / "summary.json", best_steps={"encoding": 0, "decoding": 0}, linear_val=linear,
        val={"bold": 0.7, "audio": 0.9},
    )  # fmt: skip
    assert f"In encoding and decoding the best model is {said}" in warnings_of(report(run))


def test_a_reconstruction_of_another_model_than_the_best_is_told(run):
    card = json.loads(card_of(run).read_text())
    change(card_of(run), options={**card["options"], "model_sha256": "0" * 64})
    assert "another model than best/ holds now" in warnings_of(report(run))


def test_names_that_users_typed_are_escaped_everywhere(run):
    name = "<b>x</b> $5^$"
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["data"]["subjects"][0]["name"] = name
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    splits = json.loads((run / "splits.json").read_text())
    (run / "splits.json").write_text(json.dumps({name: splits["01"]}))
    change(card_of(run), subject=name)
    text = report(run).html
    assert "<b>" not in text and "b" not in Page(text).tags
    assert f"subject {name}, test part" in Page(text).text and "&lt;b&gt;x&lt;/b&gt; $5^$" in text


def test_several_subjects_are_compared_over_the_same_seconds_and_their_mean_stands_first(run):
    card, folder = card_of(run), run / "reconstruction"
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["data"]["subjects"].append({**config["data"]["subjects"][0], "name": "02"})
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    for path in folder.glob("sub-01*"):
        shutil.copy(path, folder / path.name.replace("sub-01", "sub-02"))
    change(folder / card.name.replace("sub-01", "sub-02"), subject="02")
    content = json.loads(card.read_text())
    group = {k: v for k, v in content.items() if k not in ("subject", "stretches", "options")}
    (folder / "group_split-test_scorecard.json").write_text(json.dumps({**group, "subjects": ["01", "02"]}))
    page = report(run)
    [heard] = section(page, "Listen").parts
    assert [one.label for one in heard.players] == [
        "codec alone", "reconstruction, 01", "reconstruction, 02", "rotated in time, 01",
    ]  # fmt: skip
    assert [one.title for one in page.sections if one.title.startswith("Scores")] == [
        "Scores: mean of 2 subjects, test part", "Scores: subject 01, test part", "Scores: subject 02, test part",
    ]  # fmt: skip
    assert "mean of 2 subjects, test part" in page.sections[0].parts[0].beside and "One subject" not in text_of(page)


def test_the_sounds_of_a_film_of_two_hours_lie_beside_the_page(run, tmp_path):
    folder = run / "reconstruction"
    for path in folder.glob("*.wav"):  # a test part of 18 minutes
        soundfile.write(path, np.zeros(18 * 60 * 1000, np.float32), 1000)
    page = report(run)
    path = page.save_as_html(tmp_path / "a page.html")
    found = Page(path.read_text())
    sources = [one for one in found.references if one.endswith(".flac")]
    assert len(sources) == 3 and all(one.startswith("a%20page_sounds/") for one in sources)
    assert "(18:00.0)" in found.text and "beside this page" in found.text


def test_sounds_that_are_gone_are_told_of(run):
    for path in (run / "reconstruction").glob("*.wav"):
        path.unlink()
    page = report(run)
    assert not section(page, "Listen").parts and "There is nothing to hear" in section(page, "Listen").text[0]


def test_pictures_and_words_without_sound_have_a_page(trained):
    from giblet.pipeline.reconstruction import reconstruct
    from giblet.pipeline.trained_run import open_run

    reconstruct(open_run(trained.run))
    page = report(trained.run)
    assert "There is nothing to hear" in " ".join(section(page, "Listen").text)
    assert "The run has no sound" in text_of(page) and "shown: picture, words" in page.summary
    assert any("text" in row[0] for row in section(page, "Scores").parts[1].rows)


def test_without_matplotlib_there_is_a_page_without_drawings(example, monkeypatch):
    from giblet.pages import sounds
    from giblet.pipeline import run_report, score_tables

    monkeypatch.setattr(run_report, "can_draw", lambda: False)
    monkeypatch.setattr(score_tables, "can_draw", lambda: False)
    monkeypatch.setattr(sounds, "strips", lambda players: [None] * len(players))
    found = Page(report(example.run).html)
    assert "svg" not in found.tags and "Drawings need matplotlib" in found.text


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_axe_finds_nothing_on_the_page_that_keeps_readers_out(example, tmp_path):
    with Browser(report(example.run).save_as_html(tmp_path / "page.html").as_uri()) as browser:
        assert browser.violations() == [] and browser.errors == []


def test_the_config_hashes_and_seed_are_in_the_page(example):
    text = text_of(report(example.run))
    card = json.loads(card_of(example.run).read_text())
    state = json.loads((example.run / "checkpoints" / "last.json").read_text())
    assert card["options"]["model_sha256"] in text and state["codec_fingerprint"]["codec"] in text
    assert all(sha256 in text for sha256 in state["sources"].values())
    assert "whole_runs: true" in text


@pytest.mark.parametrize("name", ["splits.json", "summary.json", "reconstruction/sub-01_split-test_scorecard.json"])
def test_a_damaged_file_is_an_error_that_names_it(run, name):
    (run / name).write_text("{")
    with pytest.raises(InputError, match=Path(name).name.replace(".", r"\.")):
        report(run)


def test_what_is_no_run_is_one_clear_error(example, tmp_path):
    with pytest.raises(InputError, match=r"no such folder: .*; name the folder of a run"):
        report(tmp_path / "none")
    with pytest.raises(InputError, match="is no run; expected a folder of giblet train, giblet encode"):
        report(tmp_path)
    with pytest.raises(InputError, match="name the training run that it lies in"):
        report(example.run / "reconstruction")


def test_a_page_replaces_a_page_and_no_other_file(tmp_path):
    assert page_path(tmp_path) == tmp_path / "report.html"
    Report("t", []).save_as_html(tmp_path / "report.html")
    assert page_path(tmp_path) == tmp_path / "report.html"
    (tmp_path / "mine.html").write_text("<p>mine")
    with pytest.raises(InputError, match=r"mine\.html already exists and is no page of giblet's"):
        page_path(tmp_path, tmp_path / "mine.html")
    assert page_path(tmp_path, tmp_path / "mine.html", overwrite=True) == tmp_path / "mine.html"
