"""A run that was stopped has the weights of one that was not, and the test part has no part in them."""

import csv
import json
import signal

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from giblet.errors import GibletError, InputError
from giblet.features import load_features, save_features
from giblet.models import MultimodalAutoencoder
from giblet.training.build import model_of, windows_of
from giblet.training.objective import Losses, Objective
from giblet.training.processes import launch
from giblet.training.result import TrainingInterrupted
from giblet.training.study import build_study
from giblet.training.trainer import Trainer
from giblet.training.windows import ScoredWindows


def weights(settings) -> dict[str, torch.Tensor]:
    """All tensors of the last saved state: model and optimiser."""
    folder = settings.output / "checkpoints"
    return load_file(folder / json.loads((folder / "last.json").read_text())["tensors"])


def rows(settings) -> list[dict[str, str]]:
    with open(settings.output / "log.csv", newline="") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def assert_same_run(one, other):
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name
    assert rows(one) == rows(other)
    assert (one.output / "best" / "model.safetensors").read_bytes() == (
        other.output / "best" / "model.safetensors"
    ).read_bytes()


@pytest.fixture(scope="module")
def whole(shown, tmp_path_factory):
    """A run without a stop: 2 epochs of 2 steps."""
    from tests.training.conftest import TrainSettings, values

    settings = TrainSettings.make(**values(shown, tmp_path_factory.mktemp("whole") / "run"))
    return settings, Trainer(settings).fit()


def test_a_run_learns_and_leaves_what_its_folder_promises(whole):
    settings, result = whole
    assert (result.status, result.step, result.epoch) == ("finished", 4, 2.0)
    written = {p.relative_to(settings.output).as_posix() for p in settings.output.rglob("*") if p.is_file()}
    assert written == {
        "config.yaml", "log.csv", "summary.json", "splits.json", "normalisers.json", "normalisers.safetensors",
        "best/model.json", "best/model.safetensors", "checkpoints/last.json", "checkpoints/step-00000004.safetensors",
    }  # fmt: skip
    first, *_, last = rows(settings)
    assert float(last["val"]) < float(first["val"]) and float(last["train_audio"]) > 0
    assert json.loads((settings.output / "summary.json").read_text())["best_val"] == result.best_val
    parts = json.loads((settings.output / "splits.json").read_text())["01"]
    n_speech = parts["run"].count(1)
    assert parts["train"] == list(range(2 * n_speech)) and parts["val"] == list(range(2 * n_speech, 3 * n_speech))
    assert len(parts["test"]) == parts["run"].count(4) and not parts["gap"]
    assert Trainer(settings).fit().status == "up to date"


@pytest.mark.parametrize("after", [1, 3])
def test_a_run_stopped_within_an_epoch_ends_as_one_that_was_not(whole, settings, after):
    stopped = settings()
    paused = Trainer(stopped).fit(until=after)
    assert (paused.status, paused.step) == ("paused", after)
    torch.manual_seed(99)  # the state of the caller's generators must not matter
    np.random.seed(99)  # noqa: NPY002
    assert Trainer(stopped).fit().status == "finished"
    assert_same_run(whole[0], stopped)


def test_a_run_stopped_by_ctrl_c_saves_its_state_and_ends_as_one_that_was_not(whole, settings):
    stopped = settings()

    def press(step, last, losses):
        if step == 3:
            signal.raise_signal(signal.SIGINT)

    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(TrainingInterrupted, match="after step 3"):
        Trainer(stopped, press).fit()
    assert signal.getsignal(signal.SIGINT) is handler
    Trainer(stopped).fit()
    assert_same_run(whole[0], stopped)


def test_reading_ahead_and_more_frequent_states_change_nothing(whole, settings):
    ahead = settings(num_workers=1, checkpoint_every=1)
    Trainer(ahead).fit()
    assert_same_run(whole[0], ahead)


def test_mixed_precision_learns_about_the_same(whole, settings):
    mixed = settings(precision="bf16-mixed")
    assert Trainer(mixed).fit().best_val == pytest.approx(whole[1].best_val, abs=0.1)
    assert weights(mixed)["model.fusion.linear.weight"].dtype == torch.float32


def test_training_leaves_the_callers_random_numbers_alone(settings):
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    Trainer(settings(steps=1)).fit()
    assert torch.equal(torch.rand(3), wanted)


def test_pieces_of_a_step_learn_what_the_whole_step_learns(settings):
    """The pieces hold different numbers of TRs that count: a mean of their means would be another loss."""
    one, pieces = (settings(f"pieces-{n}", accumulate=n, model={"dropout": 0.0}, steps=2) for n in (1, 3))
    for run in (one, pieces):
        Trainer(run).fit()
    first, second = rows(one)[-1], rows(pieces)[-1]
    for name in ("train", "val", "train_bold", "train_audio"):
        assert float(first[name]) == pytest.approx(float(second[name]), abs=1e-5), name


def test_the_best_model_reloads_to_its_validation_loss(whole):
    settings, result = whole
    model = MultimodalAutoencoder.from_pretrained(settings.output / "best")
    study = build_study(settings)
    _, scales = model_of(settings, study)
    objective = Objective(launch(settings), Losses(model, scales))
    windows = windows_of(settings, study, "val")
    batches = [next(iter(torch.utils.data.DataLoader(windows, batch_size=len(windows))))]
    again = objective.validate(batches)
    assert again == pytest.approx(result.val, abs=1e-6) and objective.total(again) == pytest.approx(result.best_val)


def poison(shown, where, folder):
    """Copies of BOLD and codes of the speech with nonsense in the TRs `where`."""
    codes, bold = shown["speech"]
    table = pd.read_csv(bold, sep="\t")
    table.iloc[where] = 1e6 * np.random.default_rng(0).standard_normal((len(where), table.shape[1]))
    table.to_csv(folder / "bold.tsv", sep="\t", index=False)
    features = load_features(codes)
    features["codes"].values[where] = 7
    return {"bold": str(folder / "bold.tsv"), "audio": str(save_features(features, folder / "codes.nc"))}


def test_nothing_of_test_and_gap_reaches_the_weights(shown, settings, tmp_path):
    """One run, cut within: bit for bit the weights, best model and log of a run on clean data; TRs of training do."""
    options = {"model": {"head": "classification", "rank": 4}, "steps": 2, "window": 10}
    clean = {"bold": str(shown["speech"][1]), "audio": str(shown["speech"][0])}
    cut = {"fractions": (0.5, 0.25, 0.25), "gap": 3.0, "whole_runs": False}

    def run(name, files):
        made = settings(name, data={"subjects": [{"name": "01", "runs": [files]}], **cut}, **options)
        Trainer(made).fit()
        return made

    reference = run("clean", clean)
    parts = json.loads((reference.output / "splits.json").read_text())["01"]
    assert len(parts["gap"]) == 4 and len(parts["test"]) >= 8
    for folder in ("foul", "control"):
        (tmp_path / folder).mkdir()
    assert_same_run(reference, run("poisoned", poison(shown, parts["test"] + parts["gap"], tmp_path / "foul")))
    control = run("control-run", poison(shown, parts["train"][-1:], tmp_path / "control"))
    assert not all(torch.equal(value, weights(reference)[name]) for name, value in weights(control).items())


def test_training_stops_when_validation_grows_no_better(settings):
    run = settings(learning_rate=1e-30, warmup_steps=0, weight_decay=0.0, epochs=50, patience=2)
    result = Trainer(run).fit()
    assert (result.status, result.step, result.best_step) == ("stopped early", 4, 0)
    assert Trainer(run).fit().status == "up to date"


def test_a_loss_that_is_no_number_names_the_windows_it_comes_from(settings, monkeypatch):
    read = ScoredWindows.__getitem__

    def damaged(self, item):
        sample = read(self, item)
        if item == 3 and len(self) == 4:  # the last of the training windows
            sample["data"]["bold"][25, 0] = float("nan")
        return sample

    monkeypatch.setattr(ScoredWindows, "__getitem__", damaged)
    run = settings()
    with pytest.raises(GibletError, match=r"at step \d: subject 01, run 2, TRs 12 to 39 \(bold\);") as told:
        Trainer(run).fit()
    assert "run 1" not in str(told.value)
    assert "lower learning_rate" in str(told.value)


def test_subjects_of_different_voxels_train_together(shown, settings, tmp_path):
    narrow = pd.read_csv(shown["speech"][1], sep="\t").iloc[:, :5]
    narrow.to_csv(tmp_path / "narrow.tsv", sep="\t", index=False)
    subjects = [
        {"name": name, "runs": [{"bold": str(bold), "audio": str(shown["speech"][0])}] * 3}
        for name, bold in (("01", shown["speech"][1]), ("02", tmp_path / "narrow.tsv"))
    ]
    run = settings(data={"subjects": subjects, "fractions": (0.34, 0.33, 0.33)}, steps=4, batch_size=2)
    Trainer(run).fit()
    assert MultimodalAutoencoder.from_pretrained(run.output / "best").n_voxels == {"01": 12, "02": 5}


def test_parts_too_short_for_gap_or_decoding_are_refused(shown, settings):
    speech = {"bold": str(shown["speech"][1]), "audio": str(shown["speech"][0])}
    one = {"subjects": [{"name": "01", "runs": [speech]}], "whole_runs": False, "fractions": (0.6, 0.2, 0.2)}
    with pytest.raises(InputError, match=r"subject 01: 40 TRs.*gaps of 22 TRs.*8 are needed"):
        Trainer(settings(data=one)).fit()
    assert not settings(data=one).output.exists()


def test_more_processes_than_the_machine_has_are_refused(settings):
    with pytest.raises(InputError, match=r"devices is 4096: this machine has \d+ of cpu"):
        Trainer(settings(devices=4096, batch_size=4096)).fit()
