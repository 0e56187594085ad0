"""``giblet reconstruct``: lesions, other scans, and what it says of bad input."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from giblet.cli import main
from giblet.features import load_features
from tests.trained import N_REGIONS, N_TRS, Trained, train_tiny

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Trained:
    def run(*argv):
        import contextlib
        import io

        out, old = io.StringIO(), sys.argv
        sys.argv = ["giblet", *map(str, argv)]
        try:
            with contextlib.redirect_stdout(out), pytest.raises(SystemExit) as left:
                main()
        finally:
            sys.argv = old
        return int(left.value.code or 0), out.getvalue(), ""

    return train_tiny(run, tmp_path_factory.mktemp("trained"), use_encodec=True)


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
    assert f"{N_REGIONS} of {N_REGIONS} voxels are silenced" in err
    codes = predicted(tmp_path / "all")
    # Every TR that has all of its volumes sounds the same, as nothing is known of any.
    assert (codes[: N_TRS - 7] == codes[0]).all()
    status, _, err = giblet("reconstruct", trained.run, "--lesion", tmp_path / "none.npy")
    assert status == 2 and "silences no voxel" in err
    two = list(pd.read_csv(trained.bold, sep="\t").columns[:2])
    status, _, err = giblet("reconstruct", trained.run, "-o", tmp_path / "two", "--lesion", ",".join(two), "--json")
    assert status == 0 and "2 of 6 voxels" in err


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
        ("voxels", "7"),
        ("gone", "no such"),
    ],
)
def test_a_run_that_is_not_what_was_trained_is_refused_in_one_line(giblet, trained, tmp_path, what, message):
    run = spoiled(trained, tmp_path, what)
    status, said, err = giblet("reconstruct", run, "-o", tmp_path / "out")
    assert (status, said, len(err.splitlines())) == (2, "", 1)
    assert err.startswith("giblet: error: ") and message in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--split", "all"], "test, val, train"),
        (["--subject", "02"], "no subject 02"),
        (["--lesion", "nowhere"], "no region 'nowhere'"),
        (["--lesion", "wrong.npy"], "bool (6,)"),
        (["--original", "music"], "is not the file"),
        (["--texts", "words.tsv"], "decodes no text"),
        (["--codec", "nowhere"], "nowhere"),
    ],
)
def test_bad_options_are_one_line_and_write_nothing(giblet, trained, tmp_path, options, message):
    np.save(tmp_path / "wrong.npy", np.ones(7, bool))
    places = {"wrong.npy": tmp_path / "wrong.npy", "music": ROOT / "data" / "music.flac"}
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
