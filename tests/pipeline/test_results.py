"""What reconstruct writes: on the clock of the film, and never in the place of another result without a word."""

import json
import shutil
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pytest
import yaml

from giblet.alignment import align_all_modalities
from giblet.errors import InputError
from giblet.features import load_features
from giblet.pipeline.brain_files import default_folder
from giblet.pipeline.reconstruction import reconstruct
from giblet.pipeline.results import files_of_result
from giblet.pipeline.trained_run import TrainedRun
from giblet.pipeline.training import train
from tests.pipeline.conftest import N_SCAN, OFFSET, TR, make_project


def splits_of(run):
    return json.loads((run / "splits.json").read_text())["sub-22"]


@pytest.mark.parametrize("split", ["test", "val"])
def test_features_and_pictures_of_a_later_part_begin_at_its_second_of_the_film(trained, tmp_path, split):
    made = reconstruct(TrainedRun.open(trained.run), split=split, out_dir=tmp_path, device="cpu")
    rows = splits_of(trained.run)[split]
    begins = OFFSET + rows[0] * TR  # by hand: volume 0 saw second 12 of the film
    assert begins > 100
    for name in ("text", "video"):
        path = tmp_path / f"sub-22_split-{split}_desc-predicted{name}_features.nc"
        features = load_features(path)
        np.testing.assert_allclose(features["onset"], begins + np.arange(len(rows)) * TR)
        assert features.attrs["first_onset"] == begins
        assert json.loads(path.with_suffix(".json").read_text())["StartTime"] == begins
        assert json.loads(features.attrs["settings"])["film_seconds"] == begins
    film = tmp_path / f"sub-22_split-{split}_desc-predicted_decoded.mp4"
    with av.open(film) as shown:
        assert shown.streams.video[0].frames == len(rows)
    beside = json.loads(film.with_suffix(".json").read_text())
    assert (beside["StartTime"], beside["Duration"]) == (begins, len(rows) * TR)
    card = json.loads((tmp_path / f"sub-22_split-{split}_scorecard.json").read_text())
    assert card["stretches"] == [{"run": 1, "first_row": rows[0], "film_seconds": begins, "n_trs": len(rows)}]
    assert {tmp_path / name for name in card["files"]} == set(made.files) == set(tmp_path.iterdir())


def test_decoded_features_align_with_the_volumes_that_they_were_decoded_from(trained, tmp_path):
    """As a user would go on: the file and the scan, nothing else said than when the scan began."""
    reconstruct(TrainedRun.open(trained.run), out_dir=tmp_path, device="cpu")
    rows = splits_of(trained.run)["test"]
    path = tmp_path / "sub-22_split-test_desc-predictedtext_features.nc"
    scan = pd.read_csv(trained.folder / "data" / "sub-22" / "func" / "run_bold.tsv", sep="\t").values
    aligned = align_all_modalities({"text": path}, scan, tr=TR, stimulus_time_at_volume_0=OFFSET)
    assert aligned.volumes.tolist() == rows
    np.testing.assert_array_equal(aligned.features["text"], load_features(path)["text"])


def test_each_stretch_of_a_part_has_a_second_of_its_own(tmp_path, monkeypatch):
    """Training rows of two runs that saw parts of one film; more pictures than an encoder looks ahead."""
    project = make_project(tmp_path)
    config = yaml.safe_load(project.config.read_text())
    (first,) = config["data"]["subjects"][0]["runs"]
    runs = [{**first, "stimulus_time_at_volume_0": 0.0}, {**first, "stimulus_time_at_volume_0": 31.0}, first, first]
    config["data"] |= {"whole_runs": True, "fractions": [0.5, 0.25, 0.25], "subjects": [{"name": "22", "runs": runs}]}
    config["data"]["split"] = "subject"
    project.config.write_text(yaml.safe_dump(config))
    monkeypatch.chdir(tmp_path)
    train(project.config)
    reconstruct(TrainedRun.open(project.run), split="train", out_dir=tmp_path / "out", device="cpu")
    card = json.loads((tmp_path / "out" / "sub-22_split-train_scorecard.json").read_text())
    assert [(one["run"], one["film_seconds"]) for one in card["stretches"]] == [(1, 0.0), (2, 31.0)]
    for one in card["stretches"]:
        stem = tmp_path / "out" / f"sub-22_split-train_rows-{one['first_row']}_desc-predicted"
        assert load_features(f"{stem}text_features.nc")["onset"].values[0] == one["film_seconds"]
        assert json.loads(Path(f"{stem}_decoded.json").read_text())["StartTime"] == one["film_seconds"]
        with av.open(f"{stem}_decoded.mp4") as shown:
            seconds = [float(frame.time) for frame in shown.decode(video=0)]
        assert seconds == [k * TR for k in range(one["n_trs"])] and one["n_trs"] > 100


def test_a_nan_in_a_test_tr_costs_the_region_its_score_there_and_no_more(tmp_path, monkeypatch):
    project = make_project(tmp_path)
    config = yaml.safe_load(project.config.read_text())
    config["data"]["subjects"][0]["bad"] = "mask"
    project.config.write_text(yaml.safe_dump(config))
    scan = tmp_path / "data" / "sub-22" / "func" / "run_bold.tsv"
    table = pd.read_csv(scan, sep="\t")
    table.loc[N_SCAN - 3, "area-2"] = np.nan
    table.to_csv(scan, sep="\t", index=False, na_rep="n/a")
    monkeypatch.chdir(tmp_path)
    train(project.config)
    for split, n_undefined in (("test", 1), ("val", 0)):
        made = reconstruct(TrainedRun.open(project.run), split=split, out_dir=tmp_path / split, device="cpu")
        card = made.scorecard.as_dict()
        assert card["encoding"]["n_voxels"] == 5 and card["encoding"]["n_undefined"] == n_undefined
        told = [note for note in card["notes"] if "1 of 5 regions with NaN in these TRs: area-2" in note]
        assert len(told) == n_undefined
    silenced = reconstruct(TrainedRun.open(project.run), lesion="area-2", out_dir=tmp_path / "lesion", device="cpu")
    assert any("1 of 5 regions are silenced" in note for note in silenced.scorecard.as_dict()["notes"])


def test_who_stopped_before_the_test_film_is_trained_on_and_has_no_scorecard(tmp_path, monkeypatch, caplog):
    project = make_project(tmp_path)
    config = yaml.safe_load(project.config.read_text())
    (whole,) = config["data"]["subjects"]
    scan = tmp_path / "data" / "sub-22" / "func" / "run_bold.tsv"
    pd.read_csv(scan, sep="\t").iloc[:80].to_csv(tmp_path / "short.tsv", sep="\t", index=False)
    short = {"name": "short", "runs": [{**whole["runs"][0], "bold": "short.tsv"}]}
    config["data"]["subjects"] = [short, whole]
    project.config.write_text(yaml.safe_dump(config))
    monkeypatch.chdir(tmp_path)
    train(project.config)
    assert "subject short: saw no film of test, and is not scored on it" in caplog.text
    splits = json.loads((project.run / "splits.json").read_text())
    assert splits["short"]["train"] == splits["sub-22"]["train"] and not splits["short"]["test"]
    assert splits["short"]["val"] == [row for row in splits["sub-22"]["val"] if row < 80]
    made = reconstruct(TrainedRun.open(project.run), out_dir=tmp_path / "out", device="cpu")
    assert made.scorecard.as_dict()["subject"] == "sub-22" and not list((tmp_path / "out").glob("*short*"))
    assert "short saw no film of test: no scorecard, and no part in the mean" in caplog.text
    with pytest.raises(InputError, match="no TRs of test"):
        reconstruct(TrainedRun.open(project.run), subject="short", out_dir=tmp_path / "short", device="cpu")


def test_a_result_of_other_options_is_replaced_only_if_asked(trained, tmp_path):
    texts = tmp_path / "texts.tsv"
    pd.DataFrame({"onset": [0.0], "duration": [1.0], "text": ["a"]}).to_csv(texts, sep="\t", index=False)
    out = tmp_path / "out"
    first = reconstruct(TrainedRun.open(trained.run), out_dir=out, device="cpu")
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    again = reconstruct(TrainedRun.open(trained.run), out_dir=out, device="cpu")  # the same: nothing to ask
    assert again.files == first.files and {p.name: p.read_bytes() for p in out.iterdir()} == before
    scan = trained.folder / "data" / "sub-22" / "func" / "run_bold.tsv"
    louder = tmp_path / "louder.tsv"
    (2 * pd.read_csv(scan, sep="\t")).to_csv(louder, sep="\t", index=False)
    for options, message in [
        ({"bold": louder}, r"bold was none, is louder\.tsv"),
        ({"lesion": "area-1"}, r"lesion was none, is area-1"),
    ]:
        with pytest.raises(InputError, match=rf"holds another result \({message}\).*`out_dir`.*overwrite=True"):
            reconstruct(TrainedRun.open(trained.run), out_dir=out, device="cpu", **options)
        assert {p.name: p.read_bytes() for p in out.iterdir()} == before
    reconstruct(TrainedRun.open(trained.run), out_dir=out, lesion="area-1", overwrite=True, device="cpu")
    card = json.loads((out / "sub-22_split-test_scorecard.json").read_text())
    assert card["options"]["lesion"]["name"] == "area-1" and "1 of 5 regions are silenced in decoding" in card["notes"]
    assert reconstruct(
        TrainedRun.open(trained.run), out_dir=out, split="val", device="cpu"
    ).files  # stands beside it, by its name


def test_all_options_stand_in_the_json(trained, tmp_path):
    scan = trained.folder / "data" / "sub-22" / "func" / "run_bold.tsv"
    reconstruct(
        TrainedRun.open(trained.run), scan, out_dir=tmp_path, lesion="area-0,area-2", subject="22", device="cpu"
    )
    card = json.loads((tmp_path / "sub-22_split-test_scorecard.json").read_text())
    options = card["options"]
    assert set(options) == {
        "model_sha256",
        "subject",
        "split",
        "bold",
        "confounds",
        "lesion",
        "original",
        "texts",
        "codec",
    }
    assert [one["name"] for one in options["bold"]] == ["run_bold.tsv"] and options["lesion"]["name"] == "area-0,area-2"
    assert options["original"] is None and options["split"] == "test" and options["subject"] == "sub-22"


RECORD = {"original": None, "bold": [{"name": "a.tsv", "sha256": "1"}], "split": "test"}


@pytest.mark.parametrize(
    ("now", "message"),
    [
        ({"original": {"name": "film.mp4", "sha256": "2"}}, r"\(original was none, is film\.mp4\)"),
        ({"bold": [{"name": "a.tsv", "sha256": "2"}]}, r"\(bold\.0: a\.tsv has other content\)"),
        ({"texts": {"name": "t.srt", "sha256": "1"}}, r"\(texts was none, is t\.srt\)"),
    ],
)
def test_another_option_is_named_with_what_differs(tmp_path, now, message):
    card = tmp_path / "card.json"
    card.write_text(json.dumps({"options": RECORD, "files": ["a.nc", "../b.nc"]}))
    with pytest.raises(InputError, match=message):
        files_of_result(card, {**RECORD, **now}, overwrite=False)
    # What is replaced is named by its name in the folder, never by a path out of it.
    assert files_of_result(card, {**RECORD, **now}, overwrite=True) == ["a.nc"]
    renamed = {**RECORD, "bold": [{"name": "b.tsv", "sha256": "1"}]}
    assert files_of_result(card, renamed, overwrite=False) == ["a.nc"]


def test_what_stands_there_and_says_nothing_of_its_options_is_not_replaced(tmp_path):
    card = tmp_path / "card.json"
    assert files_of_result(card, RECORD, overwrite=False) == []
    for content in ("{}", "[]", "no"):
        card.write_text(content)
        with pytest.raises(InputError, match=r"overwrite=True"):
            files_of_result(card, RECORD, overwrite=False)
        assert files_of_result(card, RECORD, overwrite=True) == []


def test_files_of_the_result_that_was_replaced_do_not_stay_beside_the_new_one(trained, tmp_path):
    reconstruct(TrainedRun.open(trained.run), out_dir=tmp_path, device="cpu")
    card = tmp_path / "sub-22_split-test_scorecard.json"
    content = json.loads(card.read_text())
    (tmp_path / "sub-22_split-test_desc-predicted_text.tsv").write_text("of texts that were searched")
    (tmp_path / "notes.txt").write_text("the user's own")
    content["files"].append("sub-22_split-test_desc-predicted_text.tsv")
    card.write_text(json.dumps({**content, "options": {**content["options"], "texts": {"name": "t", "sha256": "1"}}}))
    made = reconstruct(TrainedRun.open(trained.run), out_dir=tmp_path, overwrite=True, device="cpu")
    assert set(tmp_path.iterdir()) == {*made.files, tmp_path / "notes.txt"}


def test_scans_with_other_confounds_have_folders_of_their_own(tmp_path):
    for name in ("scan", "one", "two"):
        (tmp_path / name).write_text(name)
    scan, one, two = (tmp_path / name for name in ("scan", "one", "two"))
    assert len({default_folder([scan], None, confounds) for confounds in ([], [one], [two])}) == 3


def test_a_voxel_alive_in_the_test_part_alone_is_left_out_of_it_and_named(tmp_path, monkeypatch):
    project = make_project(tmp_path)
    scan = tmp_path / "data" / "sub-22" / "func" / "run_bold.tsv"
    table = pd.read_csv(scan, sep="\t")
    table["area-3"] = 3 + 0.01 * np.sin(np.arange(N_SCAN))
    reached = {}
    monkeypatch.chdir(tmp_path)
    for name, later in (("calm", 3.0), ("alive", 9000.0)):
        table.loc[100:, "area-3"] = later + 0.01 * np.cos(np.arange(N_SCAN - 100))
        table.to_csv(scan, sep="\t", index=False)
        shutil.rmtree(project.run, ignore_errors=True)
        train(project.config)
        made = reconstruct(TrainedRun.open(project.run), out_dir=tmp_path / name, device="cpu")
        reached[name] = load_features(tmp_path / name / "sub-22_split-test_desc-predictedtext_features.nc")["text"]
        said = [note for note in made.scorecard.notes if "area-3" in note]
        assert len(said) == (name == "alive")
        assert made.scorecard.as_dict()["encoding"]["n_undefined"] == (name == "alive")
    # 9000 is 10^6 deviations off: with it in, what is decoded would be that region's alone.
    assert np.abs(reached["alive"]).max() < 3 * np.abs(reached["calm"]).max()


def test_a_folder_is_no_opened_run_and_the_error_says_how_to_open_it(trained, tmp_path):
    with pytest.raises(InputError, match=r"run is .*; expected an opened one, reconstruct\(open_run\('"):
        reconstruct(trained.run, out_dir=tmp_path)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        ({"bands": {"x": {"n": 20}}}, {"bands": {"x": {"n": 10}}}, "(bands.x.n was 20, is 10)"),
        ({"bands": {"name": {"n": 20}}}, {"bands": {"name": {"n": 10}}}, "(bands.name.n was 20, is 10)"),
        ({"runs": [{"bold": {"name": "a", "sha256": "1"}}]}, {"runs": [{"bold": {"name": "b", "sha256": "2"}}]},
         "(runs.0.bold was a, is b)"),
        ({"mask": {"name": "a", "sha256": "1"}}, {"mask": {"name": "a", "sha256": "2"}}, "(mask: a has other content)"),
        ({"mask": {"name": "a", "sha256": "1"}}, {"mask": None}, "(mask was a, is none)"),
        ({"sounds": list("abcd")}, {"sounds": list("ab")}, "(sounds was a, b, c, ... (4 in all), is a, b)"),
    ],
)  # fmt: skip
def test_another_result_is_told_by_the_option_that_differs(tmp_path, before, now, said):
    card = tmp_path / "card.json"
    card.write_text(json.dumps({"options": before, "files": []}))
    with pytest.raises(InputError) as told:
        files_of_result(card, now, overwrite=False)
    assert said in str(told.value)
    assert files_of_result(card, before, overwrite=False) == []


def test_a_file_that_was_renamed_is_the_same(tmp_path):
    card = tmp_path / "card.json"
    card.write_text(json.dumps({"options": {"mask": {"name": "a", "sha256": "1"}}, "files": []}))
    assert files_of_result(card, {"mask": {"name": "b", "sha256": "1"}}, overwrite=False) == []
