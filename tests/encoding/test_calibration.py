"""Central cells of docs/encoding_calibration.md, seeded and small; slow: cells at full size.

Every prediction comes from a ridge that was fitted on another part of the same scan.
"""

import importlib
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "encoding_calibration.md"


def module(name):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        return importlib.import_module(name)


calibration = module("encoding_calibration")


def measured(draws, **cell):
    return {one["test"]: one for one in calibration.measure({**cell, "draws": draws})}


def silent(draws, noise, features, n_trs):
    return measured(draws, part="silent", noise=noise, features=features, n_trs=n_trs)["p"]


@pytest.mark.parametrize(("noise", "features", "n_trs"), [("ar .9", "slow", 150), ("linear", "fast", 300)])
def test_silent_voxels_are_found_as_often_as_they_say(noise, features, n_trs):
    found = silent(60, noise, features, n_trs)
    assert 0.03 <= found["rate_0.05"] <= 0.075
    assert found["rate_0.01"] <= 0.018 and found["rate_0.001"] <= 0.003


def test_false_discoveries_are_as_few_as_q_says_where_half_the_voxels_answer():
    found = measured(40, part="discoveries", noise="mixed", n_trs=300, r=0.4)
    assert found["false among q <= .05"]["rate"] <= 0.06
    assert found["found by q"]["rate"] > 0.7


def test_the_group_test_holds_where_people_share_a_third_of_their_variance():
    found = measured(80, part="group", n_subjects=8, n_trs=150, shared=0.3)
    assert 0.025 <= found["joint rotations"]["rate_0.05"] <= 0.08
    assert found["t-test over subjects"]["rate_0.05"] > 0.08


@pytest.mark.slow
@pytest.mark.parametrize(
    ("noise", "features", "n_trs"),
    [
        pytest.param("white", "fast", 150, marks=pytest.mark.long),
        pytest.param("ar .6", "slow", 300, marks=pytest.mark.long),
        ("ar .9", "fast", 300),
    ],
)
def test_silent_voxels_keep_the_goal_at_full_size(noise, features, n_trs):
    """200 data sets x 100 voxels; the other cells are measured by ``make encoding-calibration``."""
    found = silent(200, noise, features, n_trs)
    assert 0.035 <= found["rate_0.05"] <= 0.07
    assert found["rate_0.01"] <= 0.015 and found["rate_0.001"] <= 0.002


@pytest.mark.long
def test_the_group_test_keeps_the_goal_at_full_size():
    found = measured(250, part="group", n_subjects=8, n_trs=300, shared=0.15)
    assert 0.03 <= found["joint rotations"]["rate_0.05"] <= 0.07


def test_all_cells_that_were_measured_keep_the_goal():
    results = json.loads(PAGE.with_name("encoding_calibration.json").read_text(encoding="utf-8"))
    silent_cells = [one for one in results if one["part"] == "silent" and one["test"] == "p"]
    assert all(0.035 <= one["rate_0.05"] <= 0.07 for one in silent_cells)
    assert all(one["rate_0.01"] <= 0.015 and one["rate_0.001"] <= 0.002 for one in silent_cells)
    discoveries = [one for one in results if one["test"] == "false among q <= .05"]
    groups = [one for one in results if one["test"] == "joint rotations"]
    assert discoveries and all(one["rate"] <= 0.06 for one in discoveries)
    assert groups and all(0.03 <= one["rate_0.05"] <= 0.07 for one in groups)


def test_the_section_of_the_page_is_what_its_figures_say():
    results = json.loads(PAGE.with_name("encoding_calibration.json").read_text(encoding="utf-8"))
    page = PAGE.read_text(encoding="utf-8")
    written = page.split(calibration.START)[1].split(calibration.END)[0].strip()
    assert written == calibration.section(results)
    kept = [one for one in results if one["part"] == "silent" and one["test"] == "p"]
    assert len(kept) == 48 and all(one["draws"] >= 150 for one in kept)
