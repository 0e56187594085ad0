"""What giblet doctor finds: versions as they are, and each kind of problem with what to do."""

import importlib.metadata
import json
import shutil
from pathlib import Path

import pytest

from giblet.codec import load_codec, loading
from giblet.errors import CodecError
from giblet.pipeline.doctor import Package, doctor
from giblet.version import __version__
from tests.project import requirements


def test_versions_are_those_of_the_environment():
    found = doctor()
    installed = {one.name: one.installed for one in found.packages}
    assert found.versions["giblet"].startswith(__version__)
    assert installed["torch"] == importlib.metadata.version("torch")
    assert installed["pystoi"] == importlib.metadata.version("pystoi")
    assert all(one.fits for one in found.packages if not one.extras) and not found.problems
    assert "pytest" not in installed, "who works with giblet does not need what its tests need"
    (pystoi,) = [one for one in found.packages if one.name == "pystoi"]
    assert pystoi.extras == ("quality", "stoi"), "one extra brings another"
    assert found.facts()["bundled codec"] == found.models["bundled codec"] and len(found.models["bundled codec"]) == 12
    codec = load_codec("bundled")
    assert found.models["bundled codec"] == codec.fingerprint[:12]
    assert found.models["its codes, as in files"] == codec.codes_fingerprint[:12], "what giblet info prints of a file"


def test_an_old_or_missing_package_is_a_problem_with_its_remedy(monkeypatch):
    real = importlib.metadata.version

    def version(name):
        if name in ("srt", "scenedetect"):
            raise importlib.metadata.PackageNotFoundError(name)
        return {"torch": "2.1.0", "gguf": "0.1"}.get(name, real(name))

    monkeypatch.setattr(importlib.metadata, "version", version)
    problems = doctor().problems
    asked = {one.name: one.specifier for several in requirements().values() for one in several if one.specifier}
    assert problems == (
        f"srt is not installed: pip install 'srt{asked['srt']}'",
        f"torch is 2.1.0, where {asked['torch']} is wanted: pip install 'torch{asked['torch']}'",
        f"gguf is 0.1, where {asked['gguf']} is wanted: pip install 'gguf{asked['gguf']}'",
    ), "an extra that was not asked for is none"


def test_a_full_disk_and_a_damaged_codec_are_problems(monkeypatch):
    usage = shutil.disk_usage("/")._replace(free=3 * 2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)

    def damaged(name, revision=None):
        raise CodecError("model.safetensors is damaged")

    monkeypatch.setattr(loading, "find_codec", damaged)
    problems = doctor().problems
    assert "the bundled codec cannot be read (model.safetensors is damaged): install giblet again" in problems
    assert sum("has 3 MiB left: make room" in one for one in problems) >= 2


def test_no_name_of_a_user_stands_in_a_report(monkeypatch):
    monkeypatch.setattr(Path, "home", lambda: Path(__file__).parents[2])
    monkeypatch.chdir(Path(__file__).parent)
    found = doctor()
    assert "~/tests/pipeline" in found.free
    assert str(Path(__file__).parents[2]) not in json.dumps(found.facts())


@pytest.mark.parametrize(
    ("installed", "state"),
    [(None, "not installed"), ("1.0", "1.0, where >=2 is wanted"), ("2.1rc1", "2.1rc1"), ("2.13.0+cpu", "2.13.0+cpu")],
)
def test_states_in_words(installed, state):
    assert Package("x", ">=2", installed).state == state


def test_command_prints_facts_or_json_and_fails_where_something_is_wrong(giblet, monkeypatch):
    status, out, err = giblet("doctor")
    assert (status, err) == (0, "") and out.startswith("giblet doctor\n") and "FFmpeg" in out and "extra stoi" in out
    usage = shutil.disk_usage("/")._replace(free=0)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    status, out, _ = giblet("doctor", "--json")
    assert status == 1 and "0 MiB left" in json.loads(out)["problems"][0]
