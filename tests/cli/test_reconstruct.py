"""``giblet reconstruct``: lesions, other scans, and what it says of bad input."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import yaml

from giblet.evaluation.pitch_scores import pitch_by_tr
from giblet.features import load_features, new_features, save_features
from giblet.timing import TRGrid
from tests.clap_folders import clap_folder
from tests.trained import N_REGIONS, N_TRS, TR, Trained, own_copy

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def trained(trained_run, tmp_path_factory) -> Trained:
    return own_copy(trained_run, tmp_path_factory.mktemp("trained"))


def predicted(folder: Path) -> np.ndarray:
    return load_features(folder / "sub-01_split-test_desc-predicted_features.nc").codes.values


def test_a_lesion_changes_what_is_decoded_and_silencing_all_leaves_what_no_brain_said(giblet, trained, tmp_path):
    assert giblet("reconstruct", trained.run, "-o", tmp_path / "whole")[0] == 0
    lesion = np.zeros(N_REGIONS, bool)
    np.save(tmp_path / "none.npy", lesion)
    lesion[:] = True
    np.save(tmp_path / "all.npy", lesion)
    status, _, err = giblet(
        "reconstruct", trained.run, "-o", tmp_path / "all", "--lesion", tmp_path / "all.npy", "--json"
    )
    assert status == 0
    assert f"{N_REGIONS} of {N_REGIONS} regions are silenced" in err
    codes = predicted(tmp_path / "all")
    # Every TR that has all of its volumes sounds the same, as nothing is known of any.
    assert (codes[: N_TRS - 7] == codes[0]).all()
    status, _, err = giblet("reconstruct", trained.run, "--lesion", tmp_path / "none.npy")
    assert status == 2 and "silences no region" in err
    two = list(pd.read_csv(trained.bold, sep="\t").columns[:2])
    status, _, err = giblet("reconstruct", trained.run, "-o", tmp_path / "two", "--lesion", ",".join(two), "--json")
    assert status == 0 and "2 of 6 regions" in err


def test_another_scan_of_the_same_stimulus_is_decoded_in_its_place(giblet, trained, tmp_path):
    table = pd.read_csv(trained.bold, sep="\t")
    table.to_csv(tmp_path / "same.tsv", sep="\t", index=False)
    (table * 0 + np.random.default_rng(0).standard_normal(table.shape)).to_csv(
        tmp_path / "noise.tsv", sep="\t", index=False
    )
    for name in ("same", "noise"):
        scans = [part for _ in range(3) for part in ("--bold", tmp_path / f"{name}.tsv")]
        assert giblet("reconstruct", trained.run, "-o", tmp_path / name, *scans)[0] == 0
    assert giblet("reconstruct", trained.run, "-o", tmp_path / "own")[0] == 0
    assert np.array_equal(predicted(tmp_path / "same"), predicted(tmp_path / "own"))
    table[: N_TRS - 1].to_csv(tmp_path / "short.tsv", sep="\t", index=False)
    scans = [part for _ in range(3) for part in ("--bold", tmp_path / "short.tsv")]
    status, said, err = giblet("reconstruct", trained.run, "-o", tmp_path / "short", *scans)
    assert (status, said) == (2, "")
    assert f"short.tsv has {N_TRS - 1} volumes" in err
    assert not (tmp_path / "short").exists()


def test_columns_of_a_scan_are_found_by_name_and_the_scan_of_the_split_is_enough(giblet, trained, tmp_path):
    table = pd.read_csv(trained.bold, sep="\t")
    table[table.columns[::-1]].to_csv(tmp_path / "turned.tsv", sep="\t", index=False)
    status, said, err = giblet(
        "reconstruct", trained.run, "-o", tmp_path / "turned", "--bold", tmp_path / "turned.tsv", "--json"
    )
    assert status == 0, err
    about = json.loads(said)
    assert [(one["name"], len(one["sha256"])) for one in about["bold"]] == [("turned.tsv", 64)]
    assert giblet("reconstruct", trained.run, "-o", tmp_path / "own")[0] == 0
    assert np.array_equal(predicted(tmp_path / "turned"), predicted(tmp_path / "own"))
    first = table.columns[0]
    table.rename(columns={first: "other"}).to_csv(tmp_path / "renamed.tsv", sep="\t", index=False)
    status, _, err = giblet("reconstruct", trained.run, "--bold", tmp_path / "renamed.tsv")
    assert status == 2 and f"no column '{first}'" in err
    twice = ["--bold", tmp_path / "turned.tsv"] * 2
    status, _, err = giblet("reconstruct", trained.run, *twice)
    assert status == 2 and "run 3 of 3" in err


def test_other_scans_and_lesions_have_folders_of_their_own(giblet, trained, tmp_path):
    (tmp_path / "talk.tsv").write_bytes(trained.bold.read_bytes())
    assert giblet("reconstruct", trained.run, "--bold", tmp_path / "talk.tsv")[0] == 0
    names = list(pd.read_csv(trained.bold, sep="\t").columns)
    for regions in (names[:2], names[1:3]):
        assert giblet("reconstruct", trained.run, "--lesion", ",".join(regions))[0] == 0
    assert len(list(trained.run.glob("reconstruction_bold-talk-*"))) == 1
    assert len(list(trained.run.glob("reconstruction_lesion-*"))) == 2
    many = ",".join(names * 60)
    status, said, err = giblet("reconstruct", trained.run, "--lesion", many, "--json")
    assert status == 0, err
    assert json.loads(said)["lesion"]["name"] == many


def test_confounds_without_another_scan_or_use_are_refused(giblet, trained, tmp_path):
    (tmp_path / "c.tsv").touch()
    status, _, err = giblet("reconstruct", trained.run, "--confounds", tmp_path / "c.tsv")
    assert status == 2 and "pass --bold too" in err
    status, _, err = giblet("reconstruct", trained.run, "--bold", trained.bold, "--confounds", tmp_path / "c.tsv")
    assert status == 2 and "leave out --confounds" in err


def test_a_run_is_reconstructed_from_another_working_directory(giblet, trained, tmp_path, monkeypatch):
    """Paths that were relative where it was trained hold elsewhere, and going on with it from there is the same run."""
    monkeypatch.chdir(trained.folder)
    config = yaml.safe_load((trained.folder / "config.yaml").read_text())
    for one in config["data"]["subjects"][0]["runs"]:
        one.update({name: Path(one[name]).name for name in ("bold", "audio")})
    config |= {"output": "elsewhere", "epochs": 1}
    Path("relative.yaml").write_text(yaml.safe_dump(config))
    assert giblet("train", "relative.yaml")[0] == 0
    Path("longer.yaml").write_text(yaml.safe_dump({**config, "epochs": 2}))
    assert giblet("train", "longer.yaml")[0] == 0
    monkeypatch.chdir(tmp_path)
    status, _, err = giblet("reconstruct", trained.folder / "elsewhere")
    assert status == 0, err
    assert np.array_equal(
        predicted(trained.folder / "elsewhere" / "reconstruction"), predicted_by(giblet, trained, tmp_path / "own")
    )


def predicted_by(giblet, trained: Trained, out: Path) -> np.ndarray:
    assert giblet("reconstruct", trained.run, "-o", out)[0] == 0
    return predicted(out)


def test_another_codec_than_that_of_the_training_is_refused(giblet, trained, tmp_path, official_folder):
    status, said, err = giblet("reconstruct", trained.run, "-o", tmp_path / "out", "--codec", official_folder)
    assert (status, said, len(err.splitlines())) == (2, "", 1)
    assert "name the one that made them" in err
    assert not (tmp_path / "out").exists()


def test_decoded_picture_and_text_features_are_files_of_the_decoded_trs(giblet, tmp_path):
    rng, grid = np.random.default_rng(0), TRGrid(TR, 40, 1 / TR + 1e-9)
    shown = {}
    for name, variable, width in (("video", "features", 5), ("text", "embedding", 3)):
        variables = {variable: (("tr", "dim"), rng.standard_normal((40, width)))}
        if name == "text":
            variables["embedding_mask"] = (("tr",), np.ones(40, bool))
        about = {"source": "film.mp4", "source_sha256": "0", "duration": 1.0, "settings": {}}
        made = new_features(variables, grid, film_duration=40 * TR, kind="continuous", desc=name, **about)
        shown[name] = str(save_features(made, tmp_path / f"film_desc-{name}_features.nc"))
    table = pd.DataFrame(rng.standard_normal((40, N_REGIONS)), columns=[f"r{i}" for i in range(N_REGIONS)])
    table.to_csv(tmp_path / "bold.tsv", sep="\t", index=False)
    config = {
        "data": {"subjects": [{"name": "01", "runs": [{"bold": str(tmp_path / "bold.tsv"), **shown}] * 3}],
                 "fractions": [0.4, 0.3, 0.3], "whole_runs": True, "split": "subject"},
        "model": {"tr": TR, "n_codebooks": 2, "features": 8, "bottleneck": 4, "rank": 4},
        "output": str(tmp_path / "run"), "window": 12, "batch_size": 2, "epochs": 1, "device": "cpu",
    }  # fmt: skip
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    status, _, err = giblet("train", tmp_path / "config.yaml")
    assert status == 0, err
    status, said, err = giblet("reconstruct", tmp_path / "run", "--json")
    assert status == 0, err
    files = [Path(one) for one in json.loads(said)["files"]]
    for name, width in (("video", 5), ("text", 3)):
        (path,) = (one for one in files if one.name == f"sub-01_split-test_desc-predicted{name}_features.nc")
        values = load_features(path)[name].values
        assert values.shape == (40, width) and values.dtype == np.float32
        assert np.isfinite(values).all()


def test_training_trs_are_said_to_be_no_evidence(giblet, trained, tmp_path):
    status, said, err = giblet("reconstruct", trained.run, "-o", tmp_path, "--split", "train", "--json")
    assert status == 0
    assert "no evidence" in err
    assert json.loads(said)["split"] == "train"


def spoiled(trained: Trained, folder: Path, what: str) -> Path:
    """A copy of the run, one thing wrong with it."""
    run = folder / "run"
    shutil.copytree(trained.run, run)
    weights = run / "best" / "model.safetensors"
    if what == "truncated":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif what == "tampered":
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        weights.write_bytes(bytes(content))
    elif what == "no model":
        shutil.rmtree(run / "best")
    elif what == "splits":
        splits = json.loads((run / "splits.json").read_text())
        splits["01"]["test"] = splits["01"]["test"][1:]
        (run / "splits.json").write_text(json.dumps(splits))
    elif what == "description":
        about = json.loads((run / "best" / "model.json").read_text())
        about["settings"]["dropout"] = 0.37
        (run / "best" / "model.json").write_text(json.dumps(about))
    elif what == "head":
        config = yaml.safe_load((run / "config.yaml").read_text())
        config["model"]["head"] = "classification" if config["model"]["head"] != "classification" else "latent"
        (run / "config.yaml").write_text(yaml.safe_dump(config))
    elif what == "empty normalisers":
        (run / "normalisers.json").write_text("{}")
    elif what == "tampered normalisers":
        path = run / "normalisers.safetensors"
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    elif what == "scan":
        last = run / "checkpoints" / "last.json"
        state = json.loads(last.read_text())
        state["sources"][str(trained.bold)] = "0" * 64
        last.write_text(json.dumps(state))
    elif what == "no sources":
        last = run / "checkpoints" / "last.json"
        last.write_text(json.dumps({**json.loads(last.read_text()), "sources": {}}))
    elif what == "untrained":
        last = run / "checkpoints" / "last.json"
        state = json.loads(last.read_text())
        last.write_text(json.dumps({**state, "best": {**state["best"], "step": 0}}))
    elif what in ("voxels", "gone"):
        config = yaml.safe_load((run / "config.yaml").read_text())
        for number, one in enumerate(config["data"]["subjects"][0]["runs"]):
            if what == "gone":
                one["bold"] = str(folder / "gone.tsv")
            else:
                path = folder / f"wide{number}.tsv"
                pd.read_csv(trained.bold, sep="\t").assign(more=np.arange(float(N_TRS))).to_csv(
                    path, sep="\t", index=False
                )
                one["bold"] = str(path)
        (run / "config.yaml").write_text(yaml.safe_dump(config))
    return run


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("truncated", "model.safetensors"),
        ("tampered", "model.safetensors"),
        ("no model", "train first"),
        ("splits", "have changed"),
        ("voxels", "holds a run of other settings or data"),
        ("gone", "holds a run of other settings or data"),
        ("description", "model.json"),
        ("head", "model.head"),
        ("empty normalisers", "normalisers"),
        ("tampered normalisers", "normalisers"),
        ("scan", "simulated_bold.tsv has changed"),
        ("no sources", "SHA-256"),
    ],
)
def test_a_run_that_is_not_what_was_trained_is_refused_in_one_line(giblet, trained, tmp_path, what, message):
    run = spoiled(trained, tmp_path, what)
    status, said, err = giblet("reconstruct", run, "-o", tmp_path / "out")
    assert (status, said, len(err.splitlines())) == (2, "", 1)
    assert err.startswith("giblet: error: ") and message in err
    assert not (tmp_path / "out").exists()


def test_a_run_that_learned_nothing_is_told(giblet, trained, tmp_path):
    assert "untrained" not in giblet("reconstruct", trained.run, "-o", tmp_path / "learned")[2]
    run = spoiled(trained, tmp_path, "untrained")
    status, _, err = giblet("reconstruct", run, "-o", tmp_path / "out")
    assert status == 0 and "warning" in err and "is the untrained model" in err


def sound_scores(giblet, trained, folder, *options) -> dict:
    status, said, err = giblet(
        "reconstruct", trained.run, "-o", folder, "--original", trained.sound, "--json", *options
    )
    assert status == 0, err
    return json.loads(said)


@pytest.mark.slow
def test_the_card_has_the_scores_of_a_clap_model_and_passages_beside_the_codec(giblet, trained, tmp_path):
    clap = clap_folder(tmp_path / "clap")
    card = sound_scores(giblet, trained, tmp_path / "out", "--clap", clap)
    scores = {one["name"]: one for one in card["scores"]}
    assert len(card["clap"]["fingerprint"]) == 64 and card["options"]["clap"] == card["clap"]["fingerprint"]
    assert 0 <= scores["CLAP similarity"]["ceiling"] <= 1 and scores["FAD (CLAP)"]["ceiling"] >= 0
    assert scores["spectral r"]["ceiling"] > 0.7 and scores["envelope r"]["ceiling"] > 0.7
    told = {(one["name"], one["seconds"]): one for one in card["passages"]}
    assert told["mel", 1.5]["ceiling"]["pairwise"]["value"] > 0.95
    (page,) = (tmp_path / "out").glob("*_scorecard.md")
    assert "| mel, 1.5 s, codec alone |" in page.read_text() and "| CLAP similarity |" in page.read_text()
    assert any("voicing and F0 are not measured" in note for note in card["notes"])
    status, _, err = giblet("reconstruct", trained.run, "-o", tmp_path / "out", "--original", trained.sound)
    assert status == 2 and "clap was" in err


@pytest.mark.slow
def test_the_card_has_voicing_and_f0_where_they_are_asked_for(giblet, trained, tmp_path):
    card = sound_scores(giblet, trained, tmp_path / "out", "--pitch")
    scores = {one["name"]: one for one in card["scores"]}
    (decoded,) = (tmp_path / "out").glob("*desc-true_decoded.wav")
    n = card["n_trs_scored"]["audio"]
    heard, told = (pitch_by_tr(*soundfile.read(path), N_TRS, TR)[:n] for path in (trained.sound, decoded))
    # Two codebooks keep the voice of about half of the frames: the card says what the files say.
    agree = (np.isfinite(heard) == np.isfinite(told)).mean()
    assert scores["voicing agreement (1 - VDE)"]["ceiling"] == pytest.approx(agree, abs=0.005) and agree < 0.7
    assert scores["F0 agreement (1 - GPE)"]["ceiling"] > 0.9
    assert card["options"]["pitch"] is True and not any(
        "voicing and F0 are not measured" in note for note in card["notes"]
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--split", "all"], "test, val, train"),
        (["--subject", "02"], "no subject 02"),
        (["--lesion", "nowhere"], "no region 'nowhere'"),
        (["--lesion", "wrong.npy"], "bool (6,)"),
        (["--original", "music"], "is not the file"),
        (["--texts", "words.tsv"], "decodes no text"),
        (["--device", "cuda:99"], "cuda:99' is not on this machine"),
        (["--codec", "nowhere"], "nowhere"),
        (["--clap", "./nowhere"], "no such folder of a model: ./nowhere; name one, or a model on the hub"),
        (["--codec", "stereo"], "audio_channels=2"),
    ],
)
def test_bad_options_are_one_line_and_write_nothing(giblet, trained, tmp_path, stereo_folder, options, message):
    np.save(tmp_path / "wrong.npy", np.ones(7, bool))
    (tmp_path / "words.tsv").touch()
    places = {name: tmp_path / name for name in ("wrong.npy", "words.tsv")}
    places |= {"music": ROOT / "samples" / "music.flac", "stereo": stereo_folder}
    argv = [places.get(option, option) for option in options]
    status, said, err = giblet("reconstruct", trained.run, "-o", tmp_path / "out", *argv)
    assert (status, said, len(err.splitlines())) == (2, "", 1)
    assert message in err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_script_does_what_the_command_does(trained, tmp_path):
    argv = [sys.executable, ROOT / "scripts" / "reconstruct_audio.py", trained.run, "--out-dir", tmp_path]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0
    assert "| accuracy, codebook 1 |" in done.stdout
    assert predicted(tmp_path).shape == (N_TRS, 2, 112)
    argv[2] = tmp_path / "nothing"
    assert subprocess.run(argv, capture_output=True, text=True, cwd=ROOT).returncode == 2
