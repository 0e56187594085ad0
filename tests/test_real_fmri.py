"""Real brains: word rate against listeners to Alice in Wonderland, and a shift of the words that is found."""

import importlib.util
import json
import sys
from pathlib import Path

import pandas as pd
import pytest

from giblet.cli import main
from giblet.data.text import TextProcessor
from giblet.features import save_features

ROOT = Path(__file__).parents[1]
ALICE = ROOT.parent / "shared" / "fmri" / "alice"
pytestmark = pytest.mark.skipif(not ALICE.is_dir(), reason="the Alice data are not at ../shared/fmri/alice")


def script():
    spec = importlib.util.spec_from_file_location("real_fmri_words", ROOT / "scripts" / "real_fmri_words.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def found():
    return script().scan(ALICE, stimulus_time_at_volume_0=20.0, tr=2.0, surrogates=999)


def test_the_constant_listener_is_named_and_left_out(found):
    _, left_out, listeners = found
    assert list(left_out) == ["sub-33"]
    assert "constant" in left_out["sub-33"]
    assert listeners == 27


def test_word_rate_drives_the_group_mean_above_the_null_at_lag_0(found):
    row = found[0].row()
    assert (row["best_lag"], row["verdict"]) == (0.0, "aligned")
    assert row["r"] > row["null_95"] > 0


@pytest.mark.parametrize(
    ("region", "above"),
    [("LATL", False), ("RATL", False), ("LPTL", True), ("LIPL", True), ("LPreM", True), ("LIFG", True)],
)
def test_regions_of_language_follow_words_within_2_s_and_the_temporal_poles_not_beyond_chance(found, region, above):
    """The poles peak near lag 0 too, but with the search over lags counted they are not beyond chance (p = .08)."""
    row = next(one for one in found[0].row()["targets"] if one["name"] == region)
    assert row["r"] > 0
    assert abs(row["best_lag"]) <= (2 if above else 4)
    assert (row["r"] > row["null_95"]) == above
    assert (row["p"] < 0.05) == above


@pytest.mark.parametrize("shift", [-6.0, 6.0])
def test_words_shifted_by_3_trs_are_found_to_within_1_tr(tmp_path, monkeypatch, capsys, shift):
    bold, regions, _ = script().group_mean(ALICE, 2.0)
    pd.DataFrame(bold, columns=regions).to_csv(tmp_path / "group.tsv", sep="\t", index=False)
    words = pd.read_csv(ALICE / "words.tsv", sep="\t")
    words.assign(onset=words.onset + shift).to_csv(tmp_path / "words.tsv", sep="\t", index=False)
    features = TextProcessor(tr=2.0, model=None, duration_column="duration").extract(tmp_path / "words.tsv")
    path = save_features(features, tmp_path / "alice_desc-text_features.nc")
    argv = [
        "check-alignment",
        path,
        tmp_path / "group.tsv",
        "--tr",
        2,
        "--stimulus-time-at-volume-0",
        20,
        "--trim",
        "--json",
    ]
    monkeypatch.setattr(sys, "argv", ["giblet", *map(str, argv)])
    with pytest.raises(SystemExit) as left:
        main()
    assert not left.value.code
    row = json.loads(capsys.readouterr().out)["regressors"][0]
    assert abs(row["best_lag"] + shift) <= 2.0
    assert row["verdict"] == "shifted"
