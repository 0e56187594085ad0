"""A run and its data are found wherever they are, by their content, and what has changed is not taken for them."""

import json
import shutil

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file, save_file

from giblet.errors import CheckpointError, InputError
from giblet.features import load_features
from giblet.pipeline.reconstruction import reconstruct
from giblet.pipeline.trained_run import TrainedRun
from giblet.pipeline.training import read_config, train
from giblet.training import study as training_study
from giblet.training.checkpoint import load_state
from giblet.training.run_folder import _digest, read_normalisers
from tests.pipeline.conftest import Project


@pytest.fixture
def copied(trained, tmp_path) -> Project:
    """All of it in another place, and nothing where it was."""
    shutil.copytree(trained.folder, tmp_path / "elsewhere")
    hidden = trained.folder.with_name("hidden")
    trained.folder.rename(hidden)
    yield Project(tmp_path / "elsewhere")
    hidden.rename(trained.folder)


def decoded(run, out, data=None) -> np.ndarray:
    reconstruct(TrainedRun.open(run, data), out_dir=out, device="cpu")
    return load_features(out / "sub-22_split-test_desc-predictedtext_features.nc")["text"].values


def test_a_run_that_was_moved_alone_still_finds_its_data(trained, tmp_path):
    run = tmp_path / "moved"
    shutil.copytree(trained.run, run)
    assert np.array_equal(decoded(run, tmp_path / "out"), decoded(trained.run, tmp_path / "before"))


def test_a_run_that_was_moved_with_its_data_finds_them_where_they_lie_to_it(copied, tmp_path):
    opened = TrainedRun.open(copied.run)
    settings, study = opened.settings, opened.study
    assert set(study.paths) == {copied.folder / "data" / name for name in (
        "words.nc", "pictures.nc", "sub-22/func/run_bold.tsv")}  # fmt: skip
    assert settings.data.subjects[0].runs[0].text == copied.folder / "data" / "words.nc"


def test_a_run_whose_data_went_elsewhere_finds_them_in_a_folder_that_is_named(copied, tmp_path, monkeypatch):
    (copied.folder / "data").rename(tmp_path / "archive")
    with pytest.raises(CheckpointError, match=r"no such file: .*(words|pictures)\.nc.*`data`") as told:
        TrainedRun.open(copied.run)
    assert "\n" not in str(told.value)
    TrainedRun.open(copied.run, tmp_path / "archive")  # as they were below it
    deep = tmp_path / "disk" / "2024" / "films"
    deep.mkdir(parents=True)
    for name in ("words.nc", "pictures.nc", "sub-22/func/run_bold.tsv"):
        (tmp_path / "archive" / name).rename(deep / name.split("/")[-1])
    (tmp_path / "disk" / "words.nc").write_text("of another study")
    TrainedRun.open(copied.run, tmp_path / "disk")  # by their names alone
    with pytest.raises(CheckpointError, match="no such folder"):
        TrainedRun.open(copied.run, tmp_path / "nowhere")
    monkeypatch.chdir(deep)
    TrainedRun.open(copied.run)


def test_two_files_of_one_name_are_told_apart_by_their_content(copied, tmp_path):
    words = copied.folder / "data" / "words.nc"
    wrong, right = tmp_path / "data" / "a", tmp_path / "data" / "b"
    for folder in (wrong, right):
        folder.mkdir(parents=True)
    words.rename(right / "words.nc")
    (wrong / "words.nc").write_bytes(b"other words")
    study = TrainedRun.open(copied.run, tmp_path / "data").study
    assert right / "words.nc" in study.paths


def test_a_copy_that_is_whole_is_taken_before_an_original_that_has_changed(trained, tmp_path):
    shutil.copytree(trained.folder, tmp_path / "elsewhere")
    words = trained.folder / "data" / "words.nc"
    content = words.read_bytes()
    words.write_bytes(content + b"\0")
    try:
        with pytest.raises(CheckpointError, match=r"words\.nc has changed since"):
            TrainedRun.open(trained.run)
        study = TrainedRun.open(tmp_path / "elsewhere" / "runs" / "small").study
        assert tmp_path / "elsewhere" / "data" / "words.nc" in study.paths
    finally:
        words.write_bytes(content)


def test_training_goes_on_in_the_other_place_and_ends_as_if_it_had_not_moved(trained, copied, tmp_path, monkeypatch):
    """By the configuration with its relative paths, and by the one that the run itself holds."""
    longer = {**yaml.safe_load(copied.config.read_text()), "epochs": 3}
    (copied.folder / "longer.yaml").write_text(yaml.safe_dump(longer))
    second = Project(tmp_path / "second")
    shutil.copytree(copied.folder, second.folder)
    monkeypatch.chdir(copied.folder)
    result = train("longer.yaml")
    assert (result.status, result.folder) == ("finished", copied.run)

    own = second.run / "config.yaml"
    own.write_text(own.read_text().replace("epochs: 1\n", "epochs: 3\n"))
    monkeypatch.chdir(tmp_path)
    result = train(own)
    assert (result.status, result.folder) == ("finished", second.run)

    whole = Project(tmp_path / "whole")
    shutil.copytree(copied.folder, whole.folder, ignore=shutil.ignore_patterns("runs"))
    monkeypatch.chdir(whole.folder)
    train("longer.yaml")
    states = [load_state(project.run / "checkpoints") for project in (copied, second, whole)]
    tensors = [load_file(state["tensors"]) for state in states]
    for other in tensors[:2]:
        assert other.keys() == tensors[2].keys()
        assert all(np.array_equal(other[name], value) for name, value in tensors[2].items())
    assert all("hidden" not in str(state) and str(trained.folder) not in str(state) for state in states)


def test_a_configuration_of_a_run_that_another_folder_was_written_into_starts_another_run(trained, tmp_path):
    text = (trained.run / "config.yaml").read_text()
    config = tmp_path / "run" / "config.yaml"
    shutil.copytree(trained.run, tmp_path / "run")
    config.write_text(text.replace(str(trained.run), str(tmp_path / "new")))
    assert read_config(config).output == tmp_path / "new"
    config.write_text(text)
    assert read_config(config).output == tmp_path / "run"


def test_other_data_of_the_same_name_are_not_gone_on_with(copied, monkeypatch):
    scan = copied.folder / "data" / "sub-22" / "func" / "run_bold.tsv"
    scan.write_text(scan.read_text().replace("5", "6"))
    monkeypatch.chdir(copied.folder)
    with pytest.raises(CheckpointError, match=r"runs\.0\.bold was '.*run_bold\.tsv', is "):
        train("train.yaml")


def test_a_sidecar_belongs_to_the_scan_and_moves_with_it(trained, tmp_path, monkeypatch):
    shutil.copytree(trained.folder / "data", tmp_path / "one" / "data")
    shutil.copy(trained.config, tmp_path / "one" / "train.yaml")
    sidecar = tmp_path / "one" / "data" / "sub-22" / "func" / "run_bold.json"
    sidecar.write_text('{"RepetitionTime": 2.0}')
    monkeypatch.chdir(tmp_path / "one")
    train("train.yaml")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one").rename(tmp_path / "two")
    moved = Project(tmp_path / "two")
    study = TrainedRun.open(moved.run).study
    assert moved.folder / "data" / "sub-22" / "func" / "run_bold.json" in study.paths
    monkeypatch.chdir(moved.folder)
    assert train("train.yaml").status == "up to date"
    (moved.folder / "data" / "sub-22" / "func" / "run_bold.json").write_text('{"RepetitionTime": 2.00}')
    with pytest.raises(CheckpointError, match=r"two/data/sub-22/func/run_bold\.json has changed since"):
        TrainedRun.open(moved.run)


def test_a_file_that_is_not_found_is_named_where_it_is_missing_or_changed(trained, tmp_path, monkeypatch):
    """And not where it was in training, where its like may still be as it was."""
    shutil.copytree(trained.folder / "data", tmp_path / "one" / "data")
    shutil.copy(trained.config, tmp_path / "one" / "train.yaml")
    old, new = tmp_path / "one" / "data" / "sub-22" / "func", tmp_path / "data2"
    (old / "run_bold.json").write_text('{"RepetitionTime": 2.0}')
    monkeypatch.chdir(tmp_path / "one")
    train("train.yaml")
    run = (tmp_path / "one" / "runs" / "small").rename(tmp_path / "small")
    monkeypatch.chdir(tmp_path)
    new.mkdir()
    (old / "run_bold.tsv").rename(new / "run_bold.tsv")
    for content, told in (
        (None, r"no such file: {}, which run_bold\.tsv had beside it"),
        ("{}", "{} has changed since"),
    ):
        if content is not None:
            (new / "run_bold.json").write_text(content)
        with pytest.raises(CheckpointError, match=told.replace("{}", str(new / "run_bold.json"))):
            TrainedRun.open(run, new)
    shutil.copy(old / "run_bold.json", new)
    TrainedRun.open(run, new)
    (tmp_path / "one" / "data" / "words.nc").unlink()
    (new / "words.nc").write_bytes(b"other words")
    with pytest.raises(CheckpointError, match=r"no such file: \S+one/data/words\.nc.*data2/words\.nc is of that name"):
        TrainedRun.open(run, new)


def test_a_run_of_an_older_version_has_no_unbounded_values_either(trained, tmp_path, monkeypatch):
    """Where a voxel was constant it kept a scale of 1: what it does later became its distance in raw units."""
    shutil.copytree(trained.folder, tmp_path / "old")
    run = tmp_path / "old" / "runs" / "small"
    about = json.loads((run / "normalisers.json").read_text())
    about["normalisers"]["sub-22.bold"]["n_constant"] = 1
    tensors = load_file(run / "normalisers.safetensors")
    tensors["sub-22.bold.scale"][2] = 1
    save_file(tensors, run / "normalisers.safetensors")
    about["sha256"] = _digest((run / "normalisers.safetensors").read_bytes(), about["normalisers"])
    (run / "normalisers.json").write_text(json.dumps(about))
    assert read_normalisers(run)["sub-22"]["bold"].varies.all()
    build = training_study.build_study

    def one_never_varied(settings):
        study = build(settings)
        own = study.normalisers["sub-22"]
        own["bold"] = own["bold"].without(np.arange(5) == 2)
        return study

    monkeypatch.setattr(training_study, "build_study", one_never_varied)
    normalisers = TrainedRun.open(run).normalisers
    assert normalisers["sub-22"]["bold"].varies.tolist() == [True, True, False, True, True]


def test_a_run_that_was_trained_when_options_had_other_names_is_opened_and_gone_on_with(trained, tmp_path):
    run = tmp_path / "old"
    shutil.copytree(trained.run, run)
    for path in (run / "config.yaml", run / "checkpoints" / "last.json"):
        text = path.read_text()
        assert "stimulus_time_at_volume_0" in text
        path.write_text(text.replace("stimulus_time_at_volume_0", "start_offset"))
    was, opened = TrainedRun.open(trained.run).settings, TrainedRun.open(run).settings
    assert opened.data == was.data
    assert read_config(run / "config.yaml").data == was.data
    assert train(run / "config.yaml").status == "up to date"
    typed = tmp_path / "mine.yaml"
    typed.write_text((run / "config.yaml").read_text())
    with pytest.raises(InputError, match=r"runs\.0\.start_offset is now called .*stimulus_time_at_volume_0"):
        read_config(typed)
