"""The configurations that made the bundled codec: in order, with one list of held-out files, as they were run."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from giblet.codec.training.settings import CodecTrainingSettings
from giblet.errors import InputError

ROOT = Path(__file__).parents[3]
CONFIGS = ROOT / "configs" / "codec"
LOGS = ROOT / "giblet" / "codec" / "assets" / "bundled" / "training"


@pytest.fixture(scope="module")
def stages() -> list[CodecTrainingSettings]:
    return [CodecTrainingSettings.from_yaml(path) for path in sorted(CONFIGS.glob("*.yaml"))]


def test_each_stage_goes_on_from_the_one_before(stages):
    assert [stage.output for stage in stages] == [
        Path("runs/codec") / path.stem for path in sorted(CONFIGS.glob("*.yaml"))
    ]
    assert [stage.start_from for stage in stages] == [None, *(stage.output / "final" for stage in stages[:-1])]
    assert len(stages) == 6


def test_all_stages_hold_out_the_26_speakers_and_two_pieces_of_the_one_list(stages):
    for path in CONFIGS.glob("*.yaml"):
        assert yaml.safe_load(path.read_text())["held_out"] == "held_out.txt"
    assert len(stages[0].held_out) == 28
    assert sum(pattern[0].isdigit() for pattern in stages[0].held_out) == 26


def test_settings_are_those_that_the_stages_were_made_with(stages):
    """Of the first stage the settings were changed by hand on its way."""
    for stage in stages:
        values = yaml.safe_load((LOGS / f"{stage.output.name}.yaml").read_text())
        made = CodecTrainingSettings.make(**CodecTrainingSettings.in_todays_words(values))
        assert made.held_out == stage.held_out
        assert (made.num_residual_layers, made.waken) == (stage.num_residual_layers, stage.waken)
        assert made.loss_weights == stage.loss_weights
        assert (LOGS / f"{stage.output.name}.csv").read_text().startswith("step,")


def test_the_script_trains_the_stages_in_order(stages, tmp_path):
    command = tmp_path / "giblet"
    command.write_text('#!/bin/sh\necho "$PWD" "$@"\n')
    command.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [CONFIGS / "run_all.sh"], cwd=tmp_path, env={**os.environ, "PATH": path}, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    expected = [f"{ROOT} codec train configs/codec/{stage.output.name}.yaml" for stage in stages]
    assert done.stdout.splitlines() == [*expected, f"{ROOT} codec info {stages[-1].output / 'final'}"]


def test_a_list_of_patterns_lies_beside_its_yaml_file_and_is_written_out(tmp_path, monkeypatch):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "c.yaml").write_text("audio: a\noutput: b\nheld_out: out.txt\n")
    (tmp_path / "there" / "out.txt").write_text("# speakers\n1-*.flac\n\n  2-*.flac  \n")
    monkeypatch.chdir(tmp_path)
    settings = CodecTrainingSettings.from_yaml("there/c.yaml")
    assert settings.held_out == ["1-*.flac", "2-*.flac"]
    (tmp_path / "again.yaml").write_text(settings.to_yaml())
    assert CodecTrainingSettings.from_yaml("again.yaml") == settings


@pytest.mark.parametrize(
    ("content", "message"), [(None, r"cannot read held_out from .*out\.txt"), ("# none yet\n", "lists no patterns")]
)
def test_a_list_of_patterns_that_says_nothing_is_refused(tmp_path, content, message):
    (tmp_path / "c.yaml").write_text("audio: a\noutput: b\nheld_out: out.txt\n")
    if content is not None:
        (tmp_path / "out.txt").write_text(content)
    with pytest.raises(InputError, match=message):
        CodecTrainingSettings.from_yaml(tmp_path / "c.yaml")


def test_the_old_name_of_the_settings_and_of_their_option_are_errors_that_give_the_new_ones():
    with pytest.raises(ImportError, match=r"CodecTrainingConfig is now called .*CodecTrainingSettings"):
        from giblet.codec.training.settings import CodecTrainingConfig  # noqa: F401
    with pytest.raises(InputError, match="unquantised_steps is now called unquantized_steps"):
        CodecTrainingSettings.make(audio="a", output="b", unquantised_steps=3)
