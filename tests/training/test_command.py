"""``giblet train`` and ``scripts/train.py``: said in one line, stopped by Ctrl-C, gone on by the same command."""

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from giblet.cli import model as command
from tests.training.conftest import values
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
        def show(step, _last, _losses):
            if step == 1:
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


def test_mistakes_are_one_line_and_leave_nothing(giblet, config, tmp_path):
    for changes, message in [
        ({"windw": 3}, "did you mean window?"),
        ({"devices": 4096, "batch_size": 4096}, "devices is 4096"),
        ({"codec": str(tmp_path / "nowhere")}, "nowhere"),
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
        show(3, 40, {"train": 1.5, "bold": 0.75, "audio": 0.5, "val": 2.25})
    text = shown.getvalue()
    assert "step 3/40" in text and "train 1.500  bold 0.750  audio 0.500  val 2.250" in text
    monkeypatch.setattr(command, "err", Console(file=(quiet := StringIO()), force_terminal=False))
    with command._bar() as show:
        show(3, 40, {"train": 1.5})
    assert not quiet.getvalue()


def processes(config, n, how) -> subprocess.CompletedProcess:
    gone = ("LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_PORT", "MASTER_ADDR")
    env = {k: v for k, v in os.environ.items() if k not in gone and not k.startswith("SLURM_")}
    return subprocess.run([sys.executable, *how, str(config)], cwd=ROOT, env={**env, "OMP_NUM_THREADS": "1"},
                          capture_output=True, text=True, timeout=300, check=False)  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(os.cpu_count() == 1, reason="two processes need two processors")
def test_two_processes_learn_what_one_learns(config, tmp_path):
    """Three windows a step, so that one process has two and the other one, and at times none; TRs differ in number."""
    options = {"steps": 4, "model": {"dropout": 0.0, "head": "classification"}, "learning_rate": 0.001}
    runs = {}
    for n in (1, 2):
        path = config(f"processes-{n}", devices=n, strategy="ddp" if n > 1 else "auto", **options)
        done = processes(path, n, ["scripts/train.py"] if n == 1 else ["-m", "giblet", "train"])
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("finished") == 1  # one of them speaks
        runs[n] = type("Run", (), {"output": tmp_path / f"processes-{n}"})
    one, two = rows(runs[1]), rows(runs[2])
    assert len(one) == len(two) == 3
    for first, second in zip(one, two, strict=True):
        for name in first:
            if first[name]:
                assert float(first[name]) == pytest.approx(float(second[name]), abs=1e-4), name
    assert json.loads((runs[2].output / "summary.json").read_text())["processes"] == 2
    single, double = weights(runs[1]), weights(runs[2])
    for name, value in single.items():
        if name.startswith("model."):
            assert (value - double[name]).abs().max() < 1e-4, name
