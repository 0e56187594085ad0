"""The script that tells passages apart: on simulated listeners, of whom one answers and one does not."""

import numpy as np
import pandas as pd
import pytest
import yaml

from tests.encoding.test_real_brains import script


@pytest.fixture(scope="module")
def told_apart():
    return script("told_apart")


@pytest.fixture
def config(tmp_path):
    """Four runs of 150 TRs of 2 s; 20 features; listener 1 answers 4 and 6 s later, listener 2 never."""
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((2, 20, 15))
    subjects = [{"name": "answers", "runs": []}, {"name": "does_not", "runs": []}]
    for number, part in enumerate(("train", "train", "train", "test")):
        said = rng.standard_normal((150, 20)).astype(np.float32)
        features = tmp_path / f"said_{number}.npy"
        np.save(features, said)
        for subject in subjects:
            bold = 5 * rng.standard_normal((150, 15)) + 3000 * (number + 1)
            if subject["name"] == "answers":
                for lag, own in zip((2, 3), weights, strict=True):
                    bold[lag:] += said[:-lag] @ own
            path = tmp_path / f"{subject['name']}_{number}_bold.tsv"
            pd.DataFrame(bold, columns=[f"c{k}" for k in range(15)]).to_csv(path, sep="\t", index=False)
            subject["runs"].append({"bold": str(path), "features": {"story": str(features)}, "part": part})
    asked = {"data": {"subjects": subjects}, "output": str(tmp_path / "out"), "tr": 2.0}
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({**asked, "bands": {"said": {"of": "story"}}}))
    return path


def test_a_listener_who_answers_is_told_apart_and_one_who_does_not_is_at_chance(told_apart, config, tmp_path, capsys):
    argv = [str(config), "--band", "said", "--components", "20", "--seconds", "20", "--write"]
    assert told_apart.main(argv) == 0
    printed = capsys.readouterr().out
    assert "| answers | 20 s | 1.00 to 1.00 | 0.071 to 0.071 | 1.00 to 1.00 | 0.007 |" in printed
    found = pd.read_csv(tmp_path / "out" / "told_apart.tsv", sep="\t").set_index("who")
    assert found["passages"].tolist() == [14, 14]  # the last 10 s have no whole window
    assert found.loc["answers", "p 1"] == pytest.approx(1 / 145, abs=1e-3)
    assert found.loc["does_not", "top-1"] <= 0.3 and found.loc["does_not", "pairwise p"] > 0.05
    assert found.loc["does_not", "pairwise"] == pytest.approx(0.5, abs=0.25)


def test_what_cannot_be_told_apart_is_one_line_and_status_2(told_apart, config, capsys):
    for argv, said in (
        (["--band", "meant"], "--band is 'meant': the configuration has said"),
        (["--band", "said"], "--components is 50"),
        (["--band", "said", "--components", "5", "--window", "1", "1.5"], "no volume begins 1 to 1.5 s"),
    ):
        assert told_apart.main([str(config), *argv]) == 2
        error = capsys.readouterr().err
        assert said in error and len(error.splitlines()) == 1
    options = yaml.safe_load(config.read_text())
    for subject in options["data"]["subjects"]:
        for run in subject["runs"]:
            del run["part"]
    config.write_text(yaml.safe_dump(options))
    assert told_apart.main([str(config), "--band", "said", "--components", "5"]) == 2
    assert "passages are those of whole test runs" in capsys.readouterr().err
