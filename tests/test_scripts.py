"""Scripts for clusters: the commands under other names, with every option that these have."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from giblet.cli import app
from giblet.config import Settings

SCRIPTS = Path(__file__).parents[1] / "scripts"
COMMAND_OF = {"encode": "encode", "train": "train", "reconstruct_audio": "reconstruct", "extract_features": "extract"}


def run(script: str, *argv: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, SCRIPTS / f"{script}.py", *argv]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def options_of(command: str) -> dict[str, list[str]]:
    """By parameter, the options of a command."""
    return {p.name: [o for o in p.opts if o.startswith("-")] for p in get_command(app).commands[command].params}


@pytest.mark.parametrize("script", COMMAND_OF)
def test_every_option_of_the_command_is_one_of_the_script(script):
    options = [o for opts in options_of(COMMAND_OF[script]).values() for o in opts if o.startswith("--")]
    assert "--json" in options
    done = run(script, "--help")
    assert done.returncode == 0, done.stderr
    missing = [option for option in options if option not in done.stdout.split()]
    assert not missing, missing


@pytest.mark.parametrize("script", COMMAND_OF)
def test_a_mistake_is_one_line_and_status_2(script, tmp_path):
    done = run(script, tmp_path / "nothing")
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1, done.stderr


@pytest.fixture(scope="module")
def extract_features():
    spec = importlib.util.spec_from_file_location("extract_features", SCRIPTS / "extract_features.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("what", ["sound", "video", "text"])
def test_every_setting_of_a_file_is_an_option_of_the_command(extract_features, what):
    settings: Settings = extract_features.KINDS[what].settings_type()()
    given = {name: getattr(settings, name) for name in type(settings).model_fields}
    everything = settings.model_copy(update=given)  # marks all of them as given
    assert everything.model_fields_set == set(type(settings).model_fields)
    given = extract_features.KINDS[what].options_of(everything)
    assert set(given) <= options_of("extract").keys()
    assert len(given) == len(everything.model_fields_set)


def test_settings_of_a_file_hold_until_an_option_overrides_them(extract_features, tmp_path, monkeypatch):
    said = {}
    monkeypatch.setattr(
        "giblet.pipeline.extract_many", lambda films, settings, *rest, **more: said.update(settings=settings) or []
    )
    (tmp_path / "s.yaml").write_text("tr: 2.0\nsize: [18, 32]\nmodel: null\nframe: middle\n")
    (tmp_path / "film.mp4").touch()
    argv = [str(tmp_path / "film.mp4"), "--what", "video", "--settings", str(tmp_path / "s.yaml"), "--frame", "mean"]
    monkeypatch.setattr(sys, "argv", ["extract_features.py", *argv])
    with pytest.raises(SystemExit) as ended:
        extract_features.run()
    assert ended.value.code == 0
    assert said["settings"].model_dump(include={"tr", "size", "model", "frame"}) == {
        "tr": 2.0, "size": (18, 32), "model": None, "frame": "mean",
    }  # fmt: skip
