"""Encoding runs that predict every TR by folds: p comes from fits on rotated BOLD, for the group too, or is absent."""

import numpy as np
import pytest
from typer.testing import CliRunner

from giblet.cli import app
from giblet.encoding.settings import EncodeSettings
from giblet.pipeline import encode
from tests.encoding_study import N_TRS, RESPOND, make_encoding_study


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return make_encoding_study(tmp_path_factory.mktemp("study"))


def options(study, output, **more):
    given = study.settings(output, 1, 2, group=True, unique=False, **more)
    given["data"]["folds"] = 5
    return given


@pytest.fixture(scope="module")
def result(study):
    return encode(EncodeSettings.make(**options(study, study.folder / "folds")))


def test_each_subject_has_a_test_by_refitted_rotations(result):
    for subject in result.subjects:
        stats, summary = subject.stats, subject.summary
        assert summary["n_trs_test"] == N_TRS and summary["n_rotations"] == 200
        assert any("all folds were fitted anew" in note for note in summary["notes"])
        assert (stats["q"][RESPOND] <= 0.05).all() and (stats["r"][RESPOND] > 0.4).all()
        assert (stats["q"][~RESPOND] > 0.05).sum() >= (~RESPOND).sum() - 1
        parts = stats["split_rate"] + stats["split_length"]
        assert np.allclose(parts[RESPOND], stats["r"][RESPOND], atol=1e-4)
        assert sum(summary["null"]) == pytest.approx(1, abs=1e-4)


def test_the_group_is_tested_by_the_same_rotations(result):
    stats, summary = result.group.stats, result.group.summary
    assert (stats["q"][RESPOND] <= 0.05).all() and summary["mean_p"] < 0.05 and summary["n_q"] >= RESPOND.sum()


def test_subjects_of_other_runs_have_no_group_p_and_are_told_why(study, tmp_path):
    given = options(study, tmp_path / "out")
    given["data"]["subjects"][1]["runs"].append(study.run(2, 2))
    group = encode(EncodeSettings.make(**given)).group
    assert group.stats[["p", "q", "p_fwe"]].isna().all(axis=None) and (group.stats["r"][RESPOND] > 0.4).all()
    assert group.summary["mean_p"] is None and group.summary["n_q"] is None
    assert any("there is no group p" in note for note in group.summary["notes"])


def test_the_command_line_says_that_there_is_no_test_of_the_group(study, tmp_path):
    given = options(study, tmp_path / "out")
    given["data"]["subjects"][1]["runs"].append(study.run(2, 2))
    told = CliRunner().invoke(app, ["encode", str(study.config(tmp_path / "encode.yaml", given))])
    assert told.exit_code == 0, told.output
    line = next(line for line in told.output.splitlines() if line.startswith("group of 2"))
    assert line.startswith("group of 2: mean r 0.") and line.endswith("no test")
