"""The script for the public files of Norman-Haignere et al. (2015), on a made-up folder of the same form."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy.io import savemat

from giblet.codec import load_codec
from giblet.encoding.clips import clip_features
from giblet.errors import InputError
from tests.encoding.clip_sounds import RATE, sounds

SCRIPT = Path(__file__).parents[1] / "scripts" / "natural_sounds.py"
N = 45


def cells(names):
    return np.array(names, object)[:, None]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """45 sounds in another order than their responses, which are linear in the mean latents."""
    root, rng = tmp_path_factory.mktemp("natural"), np.random.default_rng(0)
    made, names = sounds(N, seconds=0.2), [f"sound_{number}" for number in rng.permutation(N)]
    (root / "sounds" / "wav").mkdir(parents=True)
    (root / "data").mkdir()
    for number, (name, sound) in enumerate(zip(names, made, strict=True), 1):
        soundfile.write(root / "sounds" / "wav" / f"stim{number}_{name}.wav", sound, RATE)
    latents = clip_features(made, ["latents"], load_codec("bundled"), level=-26)["latents"][:, :80].astype(float)
    axes = np.linalg.svd(latents - latents.mean(0), full_matrices=False)[0][:, :3]
    responses = axes @ rng.standard_normal((3, 2))
    responses = responses / responses.std(0) + 0.3 * rng.standard_normal((N, 2))
    components = np.array(["low", "speech"], object)[None]
    variables = {"R": responses, "stim_names": cells(names), "component_names": components}
    savemat(root / "data" / "components.mat", variables)
    return root


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("natural_sounds", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["natural_sounds"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_the_table_shows_which_features_predict(folder):
    done = subprocess.run([sys.executable, SCRIPT, folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "45 sounds, 5 random folds; r with low, speech"
    assert lines[2] == "| features | mean r | low | speech |"
    rows = {
        cells[0]: [float(cell) for cell in cells[1:]] for cells in (line.strip("| ").split(" | ") for line in lines[4:])
    }
    assert len(rows) == 8
    assert rows["latents: mean and deviation"][0] > 0.7
    assert rows["codes taken as numbers, as they are"][0] < rows["latents: mean and deviation"][0] - 0.2
    for mean, *by_component in rows.values():
        assert mean == pytest.approx(np.mean(by_component), abs=0.011)


def test_the_table_says_p_where_asked(folder, script, capsys, monkeypatch):
    row = "latents: mean and deviation"
    monkeypatch.setattr(script, "MADE", {row: script.MADE[row]})
    monkeypatch.setattr(script, "codes_as_numbers", lambda *_: {"noise": np.random.default_rng(0).normal(size=(N, 3))})
    monkeypatch.setattr(sys, "argv", ["natural_sounds.py", str(folder), "--permutations", "100"])
    assert script.main() == 0
    found = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()[4:]]
    assert [name for name, *_ in found] == [row, "noise"]
    assert float(found[0][2]) == 0.01
    assert float(found[1][2]) > 0.01


def test_sounds_stand_in_the_order_of_their_responses(folder, script):
    data = script.read_folder(folder)
    assert [file.stem.split("_", 1)[1] for file in data.sounds] == script.read_mat(folder / "data" / "components.mat")[
        "stim_names"
    ]
    assert data.components == ["low", "speech"]
    exact = [file.name for file in data.sounds]
    assert script.sounds_of(folder / "sounds" / "wav", exact) == data.sounds


def test_a_sound_that_is_not_there_is_named(folder, script):
    with pytest.raises(InputError, match=r"45 \.wav files for 1 sounds, and none is called 'bell'"):
        script.sounds_of(folder / "sounds" / "wav", ["bell"])


def test_another_folder_is_one_line_and_status_2(tmp_path):
    done = subprocess.run([sys.executable, SCRIPT, tmp_path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
