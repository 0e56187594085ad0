"""A run that was stopped has the weights of one that was not, and the test part has no part in them."""

import csv
import json
import shutil
import signal

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from giblet.alignment import convolve_hrf
from giblet.errors import GibletError, InputError
from giblet.evaluation.predictions import predict
from giblet.features import load_features, new_features, save_features
from giblet.models import MultimodalAutoencoder
from giblet.spans import volume_rate
from giblet.timing import TRGrid
from giblet.training.build import model_of, windows_of
from giblet.training.objective import Losses, Objective
from giblet.training.processes import launch
from giblet.training.result import TrainingInterrupted
from giblet.training.scored_windows import ScoredWindows
from giblet.training.study import build_study
from giblet.training.trainer import Trainer
from tests.trained import other_film


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


def test_run_learns_and_writes_every_promised_file(whole):
    settings, result = whole
    assert (result.status, result.step, result.epoch) == ("finished", 4, 2.0)
    written = {p.relative_to(settings.output).as_posix() for p in settings.output.rglob("*") if p.is_file()}
    assert written == {
        "config.yaml", "log.csv", "summary.json", "splits.json", "normalisers.json", "normalisers.safetensors",
        "best/model.json", "best/model.safetensors", "checkpoints/last.json", "checkpoints/step-00000004.safetensors",
    }  # fmt: skip
    first, *_, last = rows(settings)
    assert float(last["val"]) < float(first["val"]) and float(last["train_audio"]) > 0
    summary = json.loads((settings.output / "summary.json").read_text())
    assert (summary["best_val"], summary["folder"]) == (result.best_val, str(settings.output))
    assert result.folder == settings.output
    assert repr(result).startswith(f"<RunResult {settings.output}: finished after 4 steps; best validation ")
    parts = json.loads((settings.output / "splits.json").read_text())["01"]
    n_speech = parts["run"].count(1)
    assert parts["train"] == list(range(2 * n_speech)) and parts["val"] == list(range(2 * n_speech, 3 * n_speech))
    assert len(parts["test"]) == parts["run"].count(4) and not parts["gap"]
    assert Trainer(settings).fit().status == "up to date"


@pytest.mark.parametrize("after", [1, 3])
def test_run_stopped_within_an_epoch_resumes_bit_for_bit(whole, settings, after):
    stopped = settings()
    paused = Trainer(stopped).fit(until=after)
    assert (paused.status, paused.step) == ("paused", after)
    torch.manual_seed(99)  # the state of the caller's generators must not matter
    np.random.seed(99)  # noqa: NPY002
    assert Trainer(stopped).fit().status == "finished"
    assert_same_run(whole[0], stopped)


@pytest.mark.parametrize("older", [None, '{"step": 3}'], ids=["no summary", "that of an earlier step"])
def test_run_killed_between_its_last_state_and_its_summary_is_completed(whole, settings, older):
    killed = settings()
    shutil.copytree(whole[0].output, killed.output)
    summary, state = killed.output / "summary.json", killed.output / "checkpoints" / "last.json"
    state.write_text(state.read_text().replace(str(whole[0].output), str(killed.output)))
    summary.unlink()
    if older is not None:
        summary.write_text(older)
    shutil.copy(next(state.parent.glob("step-*")), state.parent / "step-00000002.safetensors")  # of the state before
    assert Trainer(killed).fit().status == "finished"
    assert {one.name for one in killed.output.rglob("*")} == {one.name for one in whole[0].output.rglob("*")}
    assert (json.loads(summary.read_text())["status"], json.loads(summary.read_text())["step"]) == ("finished", 4)
    assert_same_run(whole[0], killed)
    assert Trainer(killed).fit().status == "up to date"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_run_stopped_by_a_signal_resumes_bit_for_bit(whole, settings, number):
    stopped = settings()

    def press(at):
        if at.step == 3:
            signal.raise_signal(number)

    handler = signal.getsignal(number)
    with pytest.raises(TrainingInterrupted, match="after step 3") as told:
        Trainer(stopped, press).fit()
    assert told.value.signal == number
    assert signal.getsignal(number) is handler
    Trainer(stopped).fit()
    assert_same_run(whole[0], stopped)


def test_num_workers_and_checkpoint_every_change_no_weights(whole, settings):
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


def test_accumulated_step_equals_whole_step(settings):
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
    state = json.loads((settings.output / "checkpoints" / "last.json").read_text())
    steps = [row["step"] for row in state["rows"]]
    before = {name: own[: steps.index(result.best_step)] for name, own in state["courses"].items()}
    again, _ = objective.validate(batches, objective.know_nothing(batches), before)
    assert again == pytest.approx(result.val, abs=1e-6) and objective.total(again) == pytest.approx(result.best_val)


def test_validation_losses_are_in_units_of_the_training_mean_on_the_same_trs(shown, settings):
    """Trained on speech, validated on music, which is another thing to guess: the units come from the music."""
    codes, bold = shown["speech"]
    runs = [
        {"bold": str(bold), "audio": str(codes)}
        for codes, bold in (shown["speech"], shown["music"], (other_film(codes, 1), bold))
    ]
    run = settings(model={"head": "classification"}, steps=1, data={
        "subjects": [{"name": "01", "runs": runs}], "fractions": (0.4, 0.2, 0.4)})  # fmt: skip
    Trainer(run).fit()
    study = build_study(run)
    train, val = study.splits["01"].train, study.splits["01"].val
    assert len(val) == 20 and val[0] == 40
    heard = study.recordings[0].series["audio"].read(0, 100)
    share = np.stack([np.bincount(heard[train, k].ravel(), minlength=1024) + 0.5 for k in range(2)])
    share /= share.sum(1, keepdims=True)
    counts = share * (heard[train].shape[0] * 112 + 512) - 0.5
    entropy = [-(p[p > 0] * np.log(p[p > 0])).sum() for p in (counts / counts.sum(1, keepdims=True))]
    weights = np.array(run.model.codebook_weights)
    nats = np.stack([-np.log(share[k][heard[val[:-7], k]]).mean() for k in range(2)])  # the last 7 are not decoded
    bold = study.recordings[0].series["bold"].read(40, 60)
    bold = (bold - bold.mean(axis=0)) / study.normalisers["01"]["bold"].scale  # about the level of its run
    state = json.loads((run.output / "checkpoints" / "last.json").read_text())
    knowing_nothing = state["knowing_nothing"]
    assert knowing_nothing["audio"] == pytest.approx((nats / entropy) @ weights, rel=1e-4)
    assert knowing_nothing["bold"] == pytest.approx(np.square(bold).mean(), rel=1e-4)
    assert knowing_nothing["audio"] > 1.1  # music is not what speech is
    # The head starts from how often each code occurs: it knows as little, whatever it is validated on.
    assert float(rows(run)[0]["val_audio"]) == pytest.approx(1, abs=0.03)


def poison(shown, where, folder):
    """Copies of BOLD and codes of the speech with nonsense in the TRs `where`."""
    codes, bold = shown["speech"]
    table = pd.read_csv(bold, sep="\t")
    table.iloc[where] = 1e6 * np.random.default_rng(0).standard_normal((len(where), table.shape[1]))
    table.to_csv(folder / "bold.tsv", sep="\t", index=False)
    features = load_features(codes)
    features["codes"].values[where] = 7
    return {"bold": str(folder / "bold.tsv"), "audio": str(save_features(features, folder / "codes.nc"))}


@pytest.mark.parametrize("head", ["classification", "latent"])
def test_nothing_of_test_and_gap_reaches_the_weights(shown, settings, tmp_path, head):
    """One run, cut within: bit for bit the weights, best model and log of a run on clean data; TRs of training do."""
    options = {"model": {"head": head, "rank": 4}, "steps": 2, "window": 10}
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


N = 160


def dead(folder, region, still, later):
    """One run, 240 s, cut within, of whose 12 regions one does not change in the training part: its data settings."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((N, 4))
    seen = new_features(
        {"embedding": (("tr", "dim"), vectors)}, TRGrid(1.5, N, volume_rate(1.5)), film_duration=1.5 * N,
        kind="continuous", desc="text", source="film.mp4", source_sha256="0", duration=1.5 * N, settings={},
    )  # fmt: skip
    answer = convolve_hrf(vectors, tr=1.5, kind="continuous")[:, :4] @ rng.standard_normal(
        (4, 12)
    ) + 0.3 * rng.standard_normal((N, 12))
    table = pd.DataFrame(900 + 10 * answer, columns=[f"area {k}" for k in range(12)])
    table.iloc[:80, region] = still
    table.iloc[80:, region] = later
    folder.mkdir()
    table.to_csv(folder / "bold.tsv", sep="\t", index=False)
    runs = [{"bold": str(folder / "bold.tsv"), "text": str(save_features(seen, folder / "words.nc"))}]
    subject = {"name": "01", "runs": runs}
    return {"subjects": [subject], "fractions": (0.5, 0.25, 0.25), "gap": 3.0, "whole_runs": False}


LATER = 5000 + np.arange(80.0)
JITTER = np.where(np.arange(80) % 2, 900.0, np.nextafter(np.float32(900), np.float32(901), dtype=np.float32))
NOISE = 900 + 0.01 * np.random.default_rng(0).standard_normal(80)


@pytest.mark.parametrize(("still", "why"), [(0.0, "without any"), (JITTER, "without any"), (NOISE, "with hardly any")])
def test_region_constant_in_training_is_refused_by_name(settings, tmp_path, still, why):
    run = settings(data=dead(tmp_path / "files", 3, still, LATER))
    with pytest.raises(InputError, match=rf"subject 01 has 1 of 12 regions {why} change .*: area 3;.*bad: mask"):
        Trainer(run).fit()
    assert not run.output.exists()


@pytest.mark.parametrize("still", [0.0, JITTER, NOISE])
def test_excluded_region_changes_neither_losses_nor_weights(settings, tmp_path, caplog, still):
    """Whatever it does later: bit for bit the same run; and the losses are those of the other eleven regions."""

    def run(name, later):
        data = dead(tmp_path / f"{name}-files", 3, still, later)
        data["subjects"][0]["bad"] = "mask"
        made = settings(name, data=data, epochs=20)
        Trainer(made).fit()
        return made

    one, other = run("one", LATER), run("other", -1e7 * np.cos(np.arange(80)))
    assert caplog.text.count("left out of losses and scores") == 2
    assert_same_run(one, other)
    saved = weights(one)
    assert not saved["model.brains.0.to_voxels.weight"][3].any() and not saved["model.brains.0.to_voxels.bias"][3]
    assert not saved["model.brains.0.from_voxels.weight"][:, 3].any()
    assert saved["model.brains.0.to_voxels.weight"][[2, 4]].abs().min() > 0

    study = build_study(one)
    model = MultimodalAutoencoder.from_pretrained(one.output / "best")
    (stretch,) = predict(model, study.recordings[0], study.normalisers["01"], study.splits["01"].val)
    rest, rows_of = np.arange(12) != 3, slice(22, None)  # the windows of validation begin with 22 TRs of context
    error = np.square(stretch.bold - stretch.bold_predicted)[rows_of, rest].mean()
    nothing = np.square(stretch.bold)[rows_of, rest].mean()
    best = min(rows(one), key=lambda row: float(row["val"]))
    assert float(best["val_bold"]) == pytest.approx(error / nothing, rel=1e-3)
    assert float(best["val_bold"]) < 0.9  # LATER lies 10^5 deviations off, and would make it 1


def test_training_stops_when_validation_grows_no_better(settings, caplog):
    run = settings(learning_rate=1e-30, warmup_steps=0, weight_decay=0.0, epochs=50, patience=2)
    Trainer(run).fit(until=1)
    assert not caplog.text
    result = Trainer(run).fit()
    assert (result.status, result.step, result.best_step) == ("stopped early", 4, 0)
    assert "no validation was better than that of the untrained model (step 0) in decoding (audio)" in caplog.text
    assert result.val["bold"] == result.linear_val["bold"] < 1
    assert "the network added nothing to encoding that carries over" in caplog.text
    caplog.clear()
    assert Trainer(run).fit().status == "up to date" and not caplog.text


def test_a_run_that_learned_is_not_warned_of(settings, caplog):
    result = Trainer(settings(model={"linear_path": False})).fit()
    assert min(result.best_steps.values()) > 0 and result.linear_val == {}
    assert not caplog.text


def test_no_modality_dominates_and_no_loss_rises_in_training(shown, settings, tmp_path):
    """Sound, words and BOLD: their losses begin within a factor of 10, and end below where they began."""
    codes, _ = shown["speech"]
    sound = load_features(codes)
    rng = np.random.default_rng(0)
    loud = sound["codes"].values.mean((1, 2), keepdims=True)[..., 0] / 100
    vectors = 1e3 + 200 * (loud @ rng.standard_normal((1, 6)) + 0.3 * rng.standard_normal((len(loud), 6)))
    words = new_features(
        {"embedding": (("tr", "dim"), vectors), "embedding_mask": (("tr",), np.arange(len(loud)) % 7 > 0)},
        TRGrid(1.5, len(loud), volume_rate(1.5)), film_duration=1.5 * len(loud), kind="continuous", desc="text",
        source="film.mp4", source_sha256="0", duration=1.5 * len(loud), settings={},
    )  # fmt: skip
    text = save_features(words, tmp_path / "words.nc")
    runs = [
        {"bold": str(shown["speech"][1]), "audio": str(other_film(codes, k)), "text": str(other_film(text, k))}
        for k in range(3)
    ]
    for head in ("regression", "classification", "latent"):
        run = settings(head, epochs=30, learning_rate=0.003, model={"head": head, "dropout": 0.0}, validate_every=5,
                       data={"subjects": [{"name": "01", "runs": runs}], "fractions": (0.34, 0.33, 0.33)})  # fmt: skip
        Trainer(run).fit()
        first, *_, last = rows(run)
        trained = [row for row in rows(run) if row["train"]]
        names = ("bold", "audio", "text")
        begun = [float(first[f"val_{name}"]) for name in names]
        assert max(begun) < 10 * min(begun), (head, begun)
        for name in names:
            course = [float(row[f"train_{name}"]) for row in trained]
            assert course[-1] < course[0], (head, name, course)
            assert max(course) < 1.05 * course[0], (head, name, course)
        assert float(last["val"]) < float(first["val"])


def test_nan_loss_names_its_windows(settings, monkeypatch):
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


def test_nan_validation_loss_names_its_windows(settings, monkeypatch):
    read = ScoredWindows.__getitem__

    def damaged(self, item):
        sample = read(self, item)
        if len(self) == 2 and item == 1:  # the last of the validation windows
            sample["data"]["bold"][25, 0] = float("nan")
        return sample

    monkeypatch.setattr(ScoredWindows, "__getitem__", damaged)
    with pytest.raises(
        GibletError, match=r"validation loss is nan at step 0: subject 01, run 3, TRs 12 to 39 \(bold\);"
    ):
        Trainer(settings()).fit()


def test_tensorboard_has_each_validation_once_after_resuming(settings):
    """Killed after a validation that no state was saved of: what was told of it is hidden, and told again."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = settings(log="tensorboard", epochs=3, checkpoint_every=3)

    def die(at):
        if at.step == 5:
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):  # states of step 3; validations of 0, 2 and 4
        Trainer(run, die).fit()
    Trainer(run).fit()
    told = EventAccumulator(str(run.output / "tensorboard"))
    told.Reload()
    for name in ("val", "val_bold", "train_audio"):
        events = [(event.step, event.value) for event in told.Scalars(name)]
        wanted = [(int(row["step"]), float(row[name])) for row in rows(run) if row[name]]
        assert [step for step, _ in events] == [step for step, _ in wanted] and len(wanted) >= 3
        assert [value for _, value in events] == pytest.approx([value for _, value in wanted], rel=1e-6)


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 1, 2, 0)])
def test_test_film_of_one_subject_trains_no_subject_who_saw_it_in_another_order(shown, settings, tmp_path, order):
    """Nonsense in the last film, and in the BOLD of both subjects there: the same weights and losses, to the bit."""
    (codes, bold), rng = shown["speech"], np.random.default_rng(0)

    def run(name, poisoned):
        folder = tmp_path / name
        folder.mkdir()
        films = []
        for k in range(4):
            features = load_features(codes).assign_attrs(title=f"film {k}")
            if k == 3 and poisoned:
                features["codes"].values[:] = 7
            films.append(str(save_features(features, folder / f"{k}.nc")))
        subjects = []
        for who, films_seen in (("a", (0, 1, 2, 3)), ("b", order)):
            runs = []
            for k in films_seen:
                table = pd.read_csv(bold, sep="\t")
                if k == 3 and poisoned:
                    table.iloc[:] = 1e7 + 1e6 * rng.standard_normal(table.shape)
                table.to_csv(folder / f"{who}{k}.tsv", sep="\t", index=False)
                runs.append({"bold": str(folder / f"{who}{k}.tsv"), "audio": films[k]})
            subjects.append({"name": who, "runs": runs})
        made = settings(f"{name}-run", data={"subjects": subjects, "fractions": (0.5, 0.25, 0.25)}, steps=6)
        Trainer(made).fit()
        return made

    assert_same_run(run("clean", False), run("poisoned", True))


def test_baselines_of_runs_do_not_change_training(shown, settings, tmp_path):
    """The validation loss is that of the same runs without baselines; with one mean for all runs it is not."""
    codes, bold = shown["speech"]
    best = {}
    for name, baselines, centre in (
        ("plain", (0, 0, 0), True), ("other", (30, -50, 80), True), ("joined", (30, -50, 80), False),
    ):  # fmt: skip
        runs = []
        for k, baseline in enumerate(baselines):
            table = pd.read_csv(bold, sep="\t") + baseline
            table.to_csv(tmp_path / f"{name}{k}.tsv", sep="\t", index=False)
            runs.append({"bold": str(tmp_path / f"{name}{k}.tsv"), "audio": str(other_film(codes, k))})
        data = {"subjects": [{"name": "01", "runs": runs}], "fractions": (0.4, 0.3, 0.3), "centre_runs": centre}
        made = settings(name, data=data, epochs=4)
        result = Trainer(made).fit()
        assert result.centre_runs is centre
        best[name] = rows(made)[-1]["val_bold"]
    assert float(best["other"]) == pytest.approx(float(best["plain"]), abs=2e-3)
    assert abs(float(best["joined"]) - float(best["plain"])) > 0.05


def test_validation_no_better_than_the_mean_is_warned_of_and_reported(settings, caplog, monkeypatch):
    """Of the sound nothing is learned, though its loss falls; the BOLD is."""
    validate = Objective.validate
    losses = iter((1.5, 1.013, *[1.02] * 20))

    def hopeless(self, *given, **options):
        audio = {"audio": next(losses)}
        return tuple({**said, **audio} for said in validate(self, *given, **options))

    monkeypatch.setattr(Objective, "validate", hopeless)
    run = settings(epochs=10)
    result = Trainer(run).fit()
    assert result.best_step > 0 and result.val["bold"] < 1
    assert result.no_better_than_mean == ("audio",)
    assert json.loads((run.output / "summary.json").read_text())["no_better_than_mean"] == ["audio"]
    assert "no better than the training mean (1) in audio (1.013)" in caplog.text


def test_subjects_of_different_voxels_train_together(shown, settings, tmp_path):
    narrow = pd.read_csv(shown["speech"][1], sep="\t").iloc[:, :5]
    narrow.to_csv(tmp_path / "narrow.tsv", sep="\t", index=False)
    subjects = [
        {"name": name, "runs": [{"bold": str(bold), "audio": str(other_film(shown["speech"][0], k))} for k in range(3)]}
        for name, bold in (("01", shown["speech"][1]), ("02", tmp_path / "narrow.tsv"))
    ]
    run = settings(data={"subjects": subjects, "fractions": (0.34, 0.33, 0.33)}, steps=4, batch_size=2)
    Trainer(run).fit()
    assert MultimodalAutoencoder.from_pretrained(run.output / "best").n_voxels == {"01": 12, "02": 5}


def test_parts_too_short_for_gap_or_decoding_are_refused(shown, settings):
    speech = {"bold": str(shown["speech"][1]), "audio": str(shown["speech"][0])}
    one = {"subjects": [{"name": "01", "runs": [speech]}], "whole_runs": False, "fractions": (0.6, 0.2, 0.2)}
    with pytest.raises(InputError, match=r"subject 01: 40 TRs.*gaps of 22 TRs.*expected 8"):
        Trainer(settings(data=one)).fit()
    assert not settings(data=one).output.exists()


def test_more_processes_than_the_machine_has_are_refused(settings):
    with pytest.raises(InputError, match=r"devices is 4096: this machine has \d+ of cpu"):
        Trainer(settings(devices=4096, batch_size=4096)).fit()
