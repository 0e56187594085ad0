"""``giblet train`` and ``scripts/train.py``: said in one line, stopped by Ctrl-C, gone on by the same command."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from rich.console import Console

from giblet.cli import model as command
from giblet.progress import TrainingStep
from tests.training.conftest import values
from tests.training.test_study import words
from tests.training.test_trainer import rows, weights

ROOT = Path(__file__).parents[2]


@pytest.fixture
def config(shown, tmp_path):
    """Writes a configuration, with changes."""

    def write(name="train", **changes) -> Path:
        content = json.loads(json.dumps(values(shown, tmp_path / name, **changes)))
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(content))
        return tmp_path / f"{name}.yaml"

    return write


def test_ctrl_c_saves_and_the_same_command_goes_on(giblet, config, tmp_path, monkeypatch):
    @contextmanager
    def pressed():
        def show(at):
            if at.step == 1:
                signal.raise_signal(signal.SIGINT)

        yield show

    path = config(steps=2)
    with monkeypatch.context() as patched:
        patched.setattr(command, "_bar", pressed)
        status, said, told = giblet("train", path)
    assert status == 130 and not said
    assert "training stopped after step 1, state saved in" in told and told.count("\n") == 1
    status, said, told = giblet("train", path, "--json")
    result = json.loads(said)
    assert (status, result["status"], result["step"]) == (0, "finished", 2)
    status, said, _ = giblet("train", path)
    assert status == 0 and ": up to date after 2 steps" in said


def test_mistakes_are_one_line_and_leave_nothing(giblet, config, tmp_path, stereo_folder):
    for changes, message in [
        ({"windw": 3}, "did you mean window?"),
        ({"devices": 4096, "batch_size": 4096}, "devices is 4096"),
        ({"codec": str(tmp_path / "nowhere")}, "nowhere"),
        ({"codec": str(stereo_folder)}, "audio_channels=2"),
    ]:
        status, said, told = giblet("train", config(**changes))
        assert status == 2 and message in told and not said and told.count("\n") == 1, told
        assert not (tmp_path / "train" / "checkpoints").exists()


def test_tensorboard_that_is_not_installed_is_named(giblet, config, monkeypatch):
    def missing(*_args, **_kwargs):
        raise ModuleNotFoundError("tensorboard")

    monkeypatch.setattr("lightning_fabric.loggers.TensorBoardLogger", missing)
    status, said, told = giblet("train", config(log="tensorboard"))
    assert status == 2 and "pip install tensorboard" in told and not said and told.count("\n") == 1, told


def test_the_bar_shows_the_step_and_each_loss(monkeypatch):
    shown = StringIO()
    monkeypatch.setattr(command, "err", Console(file=shown, force_terminal=True, width=160))
    with command._bar() as show:
        show(TrainingStep(3, 40, {"train": 1.5, "bold": 0.75, "audio": 0.5, "val": 2.25}, 3 / 40))
    text = shown.getvalue()
    assert "step 3/40" in text and "train 1.500  bold 0.750  audio 0.500  val 2.250" in text
    monkeypatch.setattr(command, "err", Console(file=(quiet := StringIO()), force_terminal=False))
    with command._bar() as show:
        show(TrainingStep(3, 40, {"train": 1.5}, 3 / 40))
    assert not quiet.getvalue()


def environment() -> dict[str, str]:
    gone = ("LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_PORT", "MASTER_ADDR")
    env = {k: v for k, v in os.environ.items() if k not in gone and not k.startswith("SLURM_")}
    return {**env, "OMP_NUM_THREADS": "1"}


def processes(config, how) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *how, str(config)], cwd=ROOT, env=environment(),
                          capture_output=True, text=True, timeout=300, check=False)  # fmt: skip


def two_subjects(shown, folder) -> dict:
    """One of whom heard and one of whom also read, in some runs: a step leaves the other's brain layer alone."""
    text = str(words(folder / "words.nc", 40, np.ones(40)))
    codes, bold = map(str, shown["speech"])
    heard, read, both = {"audio": codes}, {"text": text}, {"audio": codes, "text": text}
    subjects = [
        {"name": name, "runs": [{"bold": bold, **run} for run in runs]}
        for name, runs in (("01", [both, heard, read, both, both]), ("02", [heard] * 5))
    ]
    return {"subjects": subjects, "fractions": (0.6, 0.2, 0.2), "split": "subject"}


def check_learned_the_same(one, two):
    """One process, and two."""
    for first, second in zip(rows(one), rows(two), strict=True):
        for name in first:
            if first[name]:
                assert float(first[name]) == pytest.approx(float(second[name]), abs=1e-4), name
    assert json.loads((two.output / "summary.json").read_text())["processes"] == 2
    single, double = weights(one), weights(two)
    for name, value in single.items():
        if name.startswith("model."):
            assert (value - double[name]).abs().max() < 1e-4, name


@pytest.mark.slow
@pytest.mark.skipif(os.cpu_count() == 1, reason="two processes need two processors")
@pytest.mark.parametrize("n_subjects", [pytest.param(1, marks=pytest.mark.long), 2])
def test_two_processes_learn_what_one_learns(shown, config, tmp_path, n_subjects):
    """Three windows per step, so that one process has two and the other one, and at times none; their TRs differ."""
    options = {"steps": 4, "model": {"dropout": 0.0, "head": "classification"}, "learning_rate": 0.001}
    if n_subjects == 2:
        options |= {"data": two_subjects(shown, tmp_path), "steps": 8}
    runs = {}
    for n in (1, 2):
        path = config(f"processes-{n}", devices=n, strategy="ddp" if n > 1 else "auto", **options)
        done = processes(path, ["scripts/train.py"] if n == 1 else ["-m", "giblet", "train"])
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("finished") == 1  # one of them speaks
        runs[n] = SimpleNamespace(output=tmp_path / f"processes-{n}")
    assert len(rows(runs[1])) == 3
    check_learned_the_same(runs[1], runs[2])


@pytest.mark.slow
@pytest.mark.skipif(os.cpu_count() == 1, reason="two processes need two processors")
@pytest.mark.parametrize("number", [pytest.param(signal.SIGINT, marks=pytest.mark.long), signal.SIGTERM])
def test_two_processes_stopped_by_a_signal_say_so_once(config, tmp_path, number):
    """A terminal sends Ctrl-C to all of them, a cluster SIGTERM."""
    path = config(devices=2, epochs=2000, patience=None, checkpoint_every=1)
    with subprocess.Popen(
        [sys.executable, "-m", "giblet", "train", str(path)], cwd=ROOT, env=environment(),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    ) as run:  # fmt: skip
        began = time.monotonic()
        while not (tmp_path / "train" / "checkpoints" / "last.json").exists() and run.poll() is None:
            assert time.monotonic() - began < 200
            time.sleep(0.1)
        os.killpg(run.pid, number)
        said, told = run.communicate(timeout=120)
    assert run.returncode == 128 + number and not said
    assert told.count("training stopped after step") == 1 and "interrupted" not in told and "Traceback" not in told
    assert "up to date" in processes(config(devices=2, steps=1), ["-m", "giblet", "train"]).stdout  # it goes on


@pytest.mark.slow
def test_the_example_learns_from_some_readers_what_carries_over_to_others(tmp_path):
    """The commands in the head of the file, as they stand there."""
    config = ROOT / "configs" / "train" / "example.yaml"
    head = config.read_text().split("\noutput:")[0]
    commands = "\n".join(line[4:] for line in head.splitlines() if line.startswith("#   "))
    assert commands.count("giblet ") == 5
    for name in ("samples", "configs"):
        (tmp_path / name).symlink_to(ROOT / name)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(["bash", "-ec", commands], cwd=tmp_path, env={**environment(), "PATH": path},
                          capture_output=True, text=True, timeout=1500, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    run = tmp_path / "runs" / "example"
    summary = json.loads((run / "summary.json").read_text())
    assert summary["val"]["bold"] < 0.75  # 1: what predicting the training mean costs
    assert summary["val"]["bold"] <= summary["linear_val"]["bold"]
    splits = json.loads((run / "splits.json").read_text())["sim"]
    heard = {part: {splits["run"][row] for row in splits[part]} for part in ("train", "val", "test")}
    assert heard == {"train": {1, 2}, "val": {3}, "test": {4}}
    card = json.loads((run / "reconstruction" / "sub-sim_split-test_scorecard.json").read_text())
    assert card["encoding"]["r"]["value"] > 0.4
