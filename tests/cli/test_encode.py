"""``giblet encode``: what it prints, and what it says of bad input."""

import json

import nibabel as nib
import numpy as np
import pytest

from tests.encoding_study import make_encoding_study


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return make_encoding_study(tmp_path_factory.mktemp("study"))


def test_a_run_and_the_same_again_and_json(giblet, study, tmp_path):
    config = study.config(tmp_path / "e.yaml", study.settings(tmp_path / "out", 1, 2))
    status, said, _ = giblet("encode", config)
    assert status == 0
    lines = said.splitlines()
    assert lines[0].startswith("01: mean r 0.") and lines[0].endswith("(written)")
    assert lines[-1] == str(tmp_path / "out" / "report.html")
    status, said, err = giblet("encode", config, "--json")
    about = json.loads(said)
    assert (status, err) == (0, "")
    assert about["subjects"]["02"]["status"] == "unchanged" and about["failed"] == {} and about["group"] is None
    status, said, err = giblet("encode", study.config(config, study.settings(tmp_path / "out", 1, 2, seed=3)))
    assert (status, said) == (2, "") and len(err.splitlines()) == 1 and "--overwrite" in err
    status, said, _ = giblet("encode", config, "--overwrite")
    assert status == 0 and "(written)" in said


def test_another_film_becomes_an_image(giblet, study, tmp_path):
    data = {"subjects": [{"name": "3", "mask": str(study.mask),
                          "runs": [{"bold": str(study.image), "text": str(study.words)}]}]}  # fmt: skip
    config = study.config(tmp_path / "e.yaml", study.settings(tmp_path / "out", data=data))
    assert giblet("encode", config)[0] == 0
    status, said, err = giblet("encode", config, "--features", study.other, "-o", tmp_path / "new", "--json")
    assert (status, err) == (0, "")
    (scan,) = json.loads(said)
    image = nib.load(scan["path"])
    assert image.shape == (2, 2, 4, 120) and image.header.get_zooms()[3] == 2.0
    assert (image.get_fdata()[0, 0] == 0).all() and np.ptp(image.get_fdata()[1, 1, 0]) > 0
    status, _, err = giblet("encode", config, "--features", study.other, "-o", tmp_path / "new")
    assert status == 2 and "--overwrite" in err
    status, _, err = giblet("encode", config, "--features", f"audio={study.other}")
    assert status == 2 and "the bands need text too" in err
    status, _, err = giblet("encode", config, "--features", f"text={study.other}", "-o", tmp_path / "named")
    assert (status, err) == (0, "")


def test_a_subject_that_is_left_out_is_told_and_ends_with_status_2(giblet, study, tmp_path):
    options = study.settings(tmp_path / "out")
    options["data"]["subjects"].append({"name": "9", "runs": [{"bold": "no.tsv", "text": str(study.words)}]})
    status, said, err = giblet("encode", study.config(tmp_path / "e.yaml", options))
    assert status == 2 and said.startswith("01: mean r") and "subject 9 is left out" in err


def test_an_option_that_does_not_exist_is_one_line(giblet, study, tmp_path):
    options = {**study.settings(tmp_path / "out"), "alpha": [1]}
    status, said, err = giblet("encode", study.config(tmp_path / "e.yaml", options))
    assert (status, said) == (2, "") and "there is no option alpha; did you mean alphas?" in err
