"""The table of parity names every level that it promises, hides no shortfall, and its brains are what it says."""

import importlib
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.random import default_rng

from giblet.features import new_features
from giblet.timing import TRGrid

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"


@pytest.fixture(scope="module")
def parity():
    """The benchmark's three modules, by name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        yield {name: importlib.import_module(name) for name in ("parity", "parity_cells", "parity_stimuli")}


def test_the_design_has_every_level_of_every_factor_for_each_stimulus(parity):
    cells = parity["parity"].design()
    assert len({cell.name for cell in cells}) == len(cells) <= 50
    for stimulus in ("sound", "words", "pictures", "all"):
        own = [cell for cell in cells if cell.stimulus == stimulus]
        assert {cell.minutes for cell in own} == {10, 23, 46}
        assert {cell.tr for cell in own} == {1.5, 2.0}
        assert {cell.snr for cell in own} == {0.1, 0.3, 1.0}
        assert {cell.mapping for cell in own} == {"linear", "tanh", "interaction"}
        assert {cell.subjects for cell in own} == {1, 3}
    assert {cell.voxels for cell in cells} == {6, 200, 20_000}
    assert all(not cell.circular for cell in cells if cell.mapping != "linear")


def found(cell, ratio, **other):
    estimate = {"value": ratio, "low": ratio - 0.01, "high": ratio + 0.01}
    figures = {
        "model": ratio / 2,
        "linear_path": 0.4,
        "ridge": 0.5,
        "ceiling": 0.7,
        "ratio": estimate,
        "difference": estimate,
    }
    return {**asdict(cell), **figures, "steps": 20, "best_step": 10, "training_s": 5.0, "build": "abc", **other}


def test_every_cell_that_falls_short_stands_first_and_bold(parity):
    cell = parity["parity"].design()[0]
    nonlinear = replace(cell, mapping="tanh")
    text = parity["parity"].table([found(cell, 1.02), found(cell, 0.979), found(nonlinear, 0.99), found(cell, 0.985)])
    ratios = [line.split("|")[11].strip() for line in text.splitlines() if line.startswith("| sound")]
    assert [one.partition(" (")[0] for one in ratios] == ["**0.979", "**0.990", "0.985", "1.020"]
    assert "2 of 4 cells" in text


def test_sets_for_choosing_and_reporting_share_no_stimulus_and_no_seed(parity):
    choosing, reporting = (parity["parity_stimuli"].SETS[name] for name in ("choosing", "reporting"))
    assert choosing.film != reporting.film and choosing.seed != reporting.seed
    assert not set(choosing.speech) & set(reporting.speech)
    assert choosing.stories.stop <= reporting.stories.start


def test_ridge_is_given_means_of_patches_of_the_picture(parity):
    frames = default_rng(0).integers(0, 256, (5, 12, 20, 3), dtype=np.uint8)
    features = new_features(
        {"frames": (("tr", "row", "column", "rgb"), frames)}, TRGrid(2.0, 5, 0.5), film_duration=10, duration=10.0,
        kind="continuous", desc="video", source="a.mp4", source_sha256="0", settings={},
    )  # fmt: skip
    pooled = parity["parity_stimuli"].linear_features("pictures", features).reshape(5, 6, 10, 3)
    np.testing.assert_allclose(pooled[2, 1, 3], frames[2, 2:4, 6:8].mean(axis=(0, 1)) / 255)


def test_each_word_has_numbers_of_its_own_that_the_seed_draws(parity, tmp_path):
    table = tmp_path / "words.tsv"
    table.write_text("onset\tduration\ttext\n0.1\t0.1\tThe\n0.9\t0.1\tend\n2.5\t0.1\tthe\n4.1\t0.1\tend\n")
    features = new_features(
        {"x": (("tr",), np.zeros(3))}, TRGrid(2.0, 3, 0.5), film_duration=6, duration=6.0, kind="continuous",
        desc="text", source="words.tsv", source_sha256="0", settings={},
    )  # fmt: skip
    names = parity["parity_stimuli"].word_names(table, features, 1)
    np.testing.assert_allclose(names[0], names[1] + names[2])
    assert not np.allclose(names, parity["parity_stimuli"].word_names(table, features, 2))


@pytest.mark.skipif(not (SHARED / "media").is_dir(), reason="a film is needed (../shared/media)")
def test_pictures_of_the_test_come_from_seconds_of_the_film_that_training_never_shows(parity, monkeypatch):
    stimuli = parity["parity_stimuli"]
    shown, cut = [], stimuli._shot

    def recorded(frames, rng):
        shown.append(frames)
        return cut(frames, rng)

    monkeypatch.setattr(stimuli, "_shot", recorded)
    monkeypatch.setattr(stimuli, "TEST_MINUTES", 0.5)
    features = stimuli._pictures(stimuli.SETS["choosing"], 1, 1.5)
    assert features.frames.shape == (60, *stimuli.SIZE, 3)
    steps, first_test = 0, 40 * 6
    train, test = set(), set()
    for frames in shown:
        (train if steps < first_test else test).update(frame.tobytes() for frame in frames)
        steps += len(frames)
    assert train and test and not train & test


@pytest.mark.slow
@pytest.mark.skipif(not (SHARED / "fmri" / "lebel").is_dir(), reason="stories are needed (../shared/fmri/lebel)")
@pytest.mark.parametrize("circular", [False, True])
def test_on_ten_minutes_of_words_the_model_is_as_good_as_ridge(parity, tmp_path, circular):
    cell = parity["parity_cells"].Cell("words", 10, voxels=60, snr=1.0, circular=circular)
    one = parity["parity_cells"].measure(cell, parity["parity_stimuli"].SETS["reporting"], tmp_path)
    assert 0 < one["ridge"] < one["ceiling"] and one["n_scored"] > 200
    assert one["ratio"]["value"] >= 0.98
