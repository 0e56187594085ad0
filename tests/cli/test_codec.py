"""``giblet codec train``: what it says while it trains, and how it leaves."""

import io
import json
import signal
from contextlib import nullcontext
from pathlib import Path

import pytest
import soundfile
import yaml
from rich.console import Console

from giblet.cli import codec as command
from giblet.codec.training.step import Learner
from tests.codec.training.runs import listening, tiny, write_audio


@pytest.fixture(scope="module")
def audio(tmp_path_factory):
    return write_audio(tmp_path_factory.mktemp("audio"))


@pytest.fixture
def training(audio, tmp_path):
    """Write a file of settings for a run of three steps in tmp_path / "run"; answers its path."""

    def write(**changes):
        config = tiny(audio, tmp_path / "run", **{"steps": 3, "checkpoint_every": 50, "validation_clips": 0, **changes})
        (tmp_path / "train.yaml").write_text(config.to_yaml())
        return tmp_path / "train.yaml"

    return write


@pytest.fixture
def terminal(monkeypatch) -> io.StringIO:
    """What a terminal 240 columns wide gets to see on stderr."""
    screen = io.StringIO()
    monkeypatch.setattr(command, "err", Console(file=screen, force_terminal=True, width=240, soft_wrap=True))
    return screen


def signal_in_step(monkeypatch, step, number) -> list[int]:
    """Have a signal come at the end of a step, or never; the steps that are done from now on, counted from 1."""
    seen = []

    def signalled(at):
        seen.append(at.step)
        if at.step == step:
            signal.raise_signal(number)

    monkeypatch.setattr(command, "_losses", lambda: nullcontext(signalled))
    return seen


def test_a_terminal_shows_step_time_left_and_each_loss(giblet, training, terminal):
    status, said, _ = giblet(
        "codec", "train", training(adversarial={"from_step": 0, "lead_steps": 0, "channels": 1, "scales": [128]})
    )
    assert status == 0
    assert "trained" in said
    shown = terminal.getvalue()
    assert "step 3/3" in shown
    assert "0:00:00" in shown
    for name in (
        "loss", "mel", "magnitude", "complex", "compressed", "waveform", "commitment", "adversarial", "features",
        "discriminator",
    ):  # fmt: skip
        assert f"{name} " in shown
    assert "lr " not in shown


def test_where_there_is_no_terminal_losses_are_lines_of_the_log(giblet, training, monkeypatch):
    monkeypatch.setattr(Learner, "step", lambda self, step, annealed: {"loss": 1.5, "waveform": step / 99})
    status, _, err = giblet("codec", "train", training(steps=100))
    assert status == 0
    mean = 0.0
    for step in range(1, 100):
        mean = 0.98 * mean + 0.02 * step / 99
    line = next(line for line in err.splitlines() if "step 100:" in line)
    assert line.startswith("giblet: info: ")
    assert line.endswith(f"step 100: loss 1.5, waveform {mean:.4g}")
    assert "\x1b" not in err


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_save_the_step_they_come_in_and_the_same_command_goes_on(
    giblet, training, monkeypatch, number, expected
):
    settings = training()
    folder = settings.parent / "run" / "checkpoints"
    signal_in_step(monkeypatch, 2, number)
    with listening():
        status, said, err = giblet("codec", "train", settings)
    assert (status, said) == (expected, "")
    assert f"goes on from the last checkpoint, step 2 in {folder}" in err
    assert [json.loads(path.read_text())["step"] for path in folder.glob("*.json")] == [2]
    seen = signal_in_step(monkeypatch, None, number)
    status, said, _ = giblet("codec", "train", settings)
    assert (status, seen) == (0, [3])
    assert "trained" in said


def test_without_a_checkpoint_the_command_says_that_it_starts_anew(giblet, training, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("giblet.codec.training.loop.find_audio", interrupted)
    status, _, err = giblet("codec", "train", training())
    assert status == 130
    assert "starts from the beginning: no checkpoint yet" in err


@pytest.fixture
def short_training(tmp_path, speech) -> Path:
    for n in range(3):
        (tmp_path / "audio").mkdir(exist_ok=True)
        soundfile.write(tmp_path / "audio" / f"{n}.flac", speech[n * 48_000 : (n + 1) * 48_000], 24_000)
    settings = {
        "audio": str(tmp_path / "audio"), "output": str(tmp_path / "run"), "num_codebooks": 2, "codebook_size": 16,
        "hidden_dim": 16, "num_filters": 2, "num_lstm_layers": 1, "batch_size": 2, "crop_seconds": 0.1, "steps": 3,
        "unquantized_steps": 1, "warmup_steps": 1, "codebooks_per_step": {1: 1, 2: 1}, "checkpoint_every": 1,
        "validate_every": 3, "validation_clips": 0,
    }  # fmt: skip
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(settings))
    return tmp_path / "train.yaml"


def test_a_training_that_is_interrupted_goes_on_where_it_stopped(giblet, short_training, monkeypatch):
    seen = []

    def stopping(at):
        seen.append(at.step)
        if seen == [1, 2, 3]:  # before the checkpoint of step 3 is written
            raise KeyboardInterrupt

    monkeypatch.setattr(command, "_losses", lambda: nullcontext(stopping))
    status, _, err = giblet("codec", "train", short_training)
    assert status == 130
    assert "goes on from the last checkpoint" in err
    assert not (short_training.parent / "run" / "final").exists()
    status, said, _ = giblet("codec", "train", short_training)
    assert status == 0
    assert seen == [1, 2, 3, 3]
    assert (short_training.parent / "run" / "final" / "model.safetensors").is_file()
    assert "trained" in said
    status, said, _ = giblet("codec", "info", short_training.parent / "run" / "final", "--bandwidth", 0.6, "--json")
    assert json.loads(said)["n_codebooks"] == 2


def test_a_training_file_with_an_unknown_option_is_one_line(giblet, tmp_path):
    (tmp_path / "bad.yaml").write_text("audio: a\noutput: b\nstep: 3\n")
    status, _, err = giblet("codec", "train", tmp_path / "bad.yaml")
    assert (status, len(err.splitlines())) == (2, 1)
    assert "did you mean steps?" in err
