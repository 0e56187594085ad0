"""All extractors of the picture: what comes later changes nothing before, and a flash is in its TR."""

from fractions import Fraction

import numpy as np
import pytest
import xarray as xr

from giblet.data.clips import ClipProcessor
from giblet.data.cuts import CutProcessor
from giblet.data.motion import MotionProcessor
from giblet.data.video import VideoProcessor
from giblet.pipeline.features import processor_types
from tests.data.test_clips import saved
from tests.data.video_films import steady, write_picture

pytest.importorskip("moten", reason="pymoten is not installed: pip install 'giblet[motion]'")
pytest.importorskip("scenedetect", reason="scenedetect is not installed: pip install 'giblet[cuts]'")

F = Fraction
RATE, SECONDS, CHANGE = 25, 14, 8
SMALL = {"size": (12, 16), "spatial_frequencies": (0, 2), "temporal_frequencies": (2, 4)}


@pytest.fixture(scope="module")
def image_model(tmp_path_factory):
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("vit")
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=32, patch_size=16
    )
    transformers.ViTModel(config).save_pretrained(folder)
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def video_model(tmp_path_factory):
    return str(saved(tmp_path_factory.mktemp("model"), "videomae"))


@pytest.fixture
def made(image_model, video_model):
    """Every extractor of the picture, causal, at a TR."""

    def make(tr):
        return {
            "video": VideoProcessor(tr=tr, size=(12, 16), model=image_model, device="cpu"),
            "motion": MotionProcessor(tr=tr, causal=True, **SMALL),
            "cuts": CutProcessor(tr=tr),
            "clips": ClipProcessor(tr=tr, model=video_model, device="cpu"),
        }

    return make


def film_of(path, images):
    return write_picture(
        path, steady(F(RATE), SECONDS), images, time_base=F(1, RATE), last=F(1, RATE), size=(36, 48), codec="ffv1"
    )


def blocks(rng):
    return rng.integers(0, 256, (9, 12, 3)).astype(np.uint8).repeat(4, 0).repeat(4, 1)


@pytest.fixture(scope="module")
def changed(tmp_path_factory):
    """Two films that are the same for 8 s."""
    folder, films = tmp_path_factory.mktemp("films"), []
    for seed in (1, 2):
        rng, other = np.random.default_rng(0), np.random.default_rng(seed)
        images = [blocks(rng if k < CHANGE * RATE else other) for k in range(SECONDS * RATE)]
        films.append(film_of(folder / f"film{seed}.mkv", images))
    return films


def test_every_extractor_of_films_pictures_is_here(made):
    readers = {kind.desc for kind in processor_types() if kind.source_noun == "film" and isinstance(kind.desc, str)}
    assert set(made(1.5)) == readers - {"acoustics", "speech"}  # of the sound


@pytest.mark.parametrize("tr", [0.72, 1.5, 2.0])
@pytest.mark.parametrize("name", ["video", "motion", "cuts", "clips"])
def test_changing_the_film_after_a_moment_changes_nothing_before(made, changed, name, tr):
    one, other = (made(tr)[name].extract(film) for film in changed)
    before = int(F(CHANGE) / F(str(tr)))  # TRs that end by then
    by_tr = [str(v) for v in one.data_vars if one[v].dims[:1] == ("tr",)]
    assert by_tr
    for variable in by_tr:
        np.testing.assert_array_equal(one[variable][:before], other[variable][:before], variable)
    if name == "cuts":
        early = [features.cut_onset.values[features.cut_onset.values < CHANGE].tolist() for features in (one, other)]
        assert early[0] == early[1] != []
    else:
        assert any((one[v].values[before + 1 :] != other[v].values[before + 1 :]).any() for v in by_tr)


def strongest(features: xr.Dataset, base: xr.Dataset, variable: str) -> np.ndarray:
    """How far each TR is from the film without the flash, (n_trs,)."""
    difference = features[variable].values.astype(float) - base[variable].values.astype(float)
    return np.abs(difference).reshape(len(difference), -1).sum(axis=1)


@pytest.mark.parametrize("tr", [0.72, 1.5, 2.0])
def test_a_flash_is_in_its_tr_in_every_feature(image_model, video_model, tmp_path, tr):
    """It lasts for 0.4 s around the middle of TR k; of motion and clips the answer is centred there."""
    k = int(7 / tr)
    middle = (k + 0.5) * tr
    still = blocks(np.random.default_rng(0))
    lit = [np.clip(still.astype(int) + 120, 0, 255).astype(np.uint8) if abs((n + 0.5) / RATE - middle) < 0.2 else still
           for n in range(SECONDS * RATE)]  # fmt: skip
    films = film_of(tmp_path / "lit.mkv", lit), film_of(tmp_path / "still.mkv", [still] * (SECONDS * RATE))
    extractors = {
        ("frames", "luminance", "contrast", "luminance_change", "embedding"): VideoProcessor(
            tr=tr, size=(12, 16), model=image_model, device="cpu"
        ),
        ("motion_energy",): MotionProcessor(tr=tr, compress="none", **SMALL),
        ("cut_rate",): CutProcessor(tr=tr, shortest=0.0),
        ("layer_2",): ClipProcessor(tr=tr, model=video_model, causal=False, seconds=1.0, device="cpu"),
    }
    for variables, extractor in extractors.items():
        features, base = (extractor.extract(film) for film in films)
        for variable in variables:
            power = strongest(features, base, variable)
            assert power[k] > 0 and np.argmax(power) == k, variable
            if variable != "motion_energy":  # whose windows reach over the ends of TRs
                assert np.flatnonzero(power).tolist() == [k], variable
    assert features.sizes["tr"] == int(np.ceil(SECONDS / tr - 1e-9))


def test_a_cut_is_within_10_ms_of_its_frame_and_a_change_of_luminance_in_its_tr(tmp_path):
    images = [np.full((36, 48, 3), 40 if k < 200 else 200, np.uint8) for k in range(SECONDS * RATE)]
    film = film_of(tmp_path / "film.mkv", images)
    assert CutProcessor().extract(film).cut_onset.values == pytest.approx([8.0], abs=0.010)
    assert np.flatnonzero(VideoProcessor(tr=0.72).extract(film).luminance_change.values > 0.01).tolist() == [11]
