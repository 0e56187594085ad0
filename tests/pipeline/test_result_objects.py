"""Results of the jobs tell in a line what they are, and open what they stand for."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from giblet.data.acoustics import AcousticsProcessor
from giblet.data.audio import AudioProcessor, AudioSettings
from giblet.data.processor import ExtractionSettings
from giblet.data.simulate import SimulateOptions, SimulateSettings, simulate_bold
from giblet.data.speech import SpeechProcessor
from giblet.data.text import TextSettings
from giblet.data.video import VideoSettings
from giblet.errors import InputError
from giblet.features import load_features, new_features, save_features, table_of
from giblet.pipeline import check_alignment, decode, extract, extract_many, processor_type, simulate
from giblet.pipeline.features import processor_types
from giblet.timing import TRGrid

ONSETS = np.sort(np.random.default_rng(0).choice(2000, 400, replace=False)) / 10
WORDS = "onset\tduration\ttext\n" + "".join(f"{onset}\t0.1\tword\n" for onset in ONSETS)


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    folder = tmp_path_factory.mktemp("words")
    (folder / "talk<1>.tsv").write_text(WORDS)
    return extract(folder / "talk<1>.tsv", TextSettings.make(tr=2.0, model=None), folder)


def test_a_feature_file_opens_as_dataset_and_as_table(words):
    dataset = words.to_xarray()
    xr.testing.assert_identical(dataset, load_features(words.path))
    table = words.to_pandas()
    assert table.index.name == "onset" and list(table.index) == list(dataset.onset.values)
    pd.testing.assert_series_equal(
        table["word_rate"], pd.Series(dataset.word_rate.values, dataset.onset.values, name="word_rate"),
        check_names=False,
    )  # fmt: skip
    assert repr(words) == f"<FeatureFile {words.path}: word_rate (100,) float32, TR 2 s; written>"
    assert "talk&lt;1&gt;" in words._repr_html_() and "talk<1>" not in words._repr_html_()


def test_a_table_has_a_column_for_each_code():
    codes = np.arange(2 * 2 * 3).reshape(2, 2, 3)
    features = new_features({"codes": (("tr", "codebook", "frame"), codes)}, TRGrid(1.0, 2, 3.0), film_duration=2.0)
    table = table_of(features)
    assert list(table.columns) == [f"codes_{k}_{t}" for k in range(2) for t in range(3)] + ["valid"]
    assert list(table["codes_1_2"]) == [5, 11]


def test_what_failed_and_what_was_written_print_as_the_same_json(words, tmp_path):
    (tmp_path / "empty.tsv").write_text("onset\tduration\ttext\n")
    settings = TextSettings.make(tr=2.0, model=None)
    failed, written = extract_many([tmp_path / "empty.tsv", words.film], settings, tmp_path)
    assert (failed.status, failed.path) == ("failed", None) and "empty.tsv" in failed.error
    assert list(failed.as_dict()) == list(written.as_dict())
    assert written.as_dict() == {
        "film": words.film, "status": "written", "path": written.path, "about": written.about,
        "seconds": written.seconds, "error": None,
    }  # fmt: skip


def test_a_simulated_scan_names_its_runs_mask_and_truth(words, tmp_path):
    image = simulate(words.path, tmp_path / "image", n_voxels=5)
    assert [path.name for path in (*image.runs, image.mask, image.truth)] == [path.name for path in image.files]
    assert image.mask.name.endswith("_mask.nii.gz") and image.truth.name.endswith("_truth.nc")
    assert check_alignment([words.path], image.runs[0], mask=image.mask, n_surrogates=20)[0].name == "word_rate"
    table = simulate(words.path, tmp_path / "table", n_voxels=5, table=True)
    assert table.mask is None and [path.suffix for path in table.files] == [".tsv", ".nc"]
    np.testing.assert_array_equal(image.simulation.bold, table.simulation.bold)
    assert "100 TRs of 2 s, 5 voxels" in repr(image) and "<th>TR, s</th><td>2.0</td>" in table._repr_html_()


def test_a_simulation_of_one_series_follows_it_in_every_voxel(words):
    both = simulate_bold(words.path, n_voxels=40)
    ones = simulate_bold(words.path, n_voxels=40, positive=True)
    sign = np.sign(both.truth.weights.values[0])
    assert set(sign) == {-1.0, 1.0} and (ones.truth.weights.values > 0).all()
    np.testing.assert_array_equal(ones.bold, both.bold * sign)
    x = np.random.default_rng(0).standard_normal((50, 3))
    np.testing.assert_array_equal(simulate_bold(x, 2.0, positive=True).bold, simulate_bold(x, 2.0).bold)


def test_options_of_a_simulation_are_known_to_editors_and_typos_are_errors(words, tmp_path):
    assert list(SimulateOptions.__annotations__) == list(SimulateSettings.model_fields)
    with pytest.raises(InputError, match=r"no option snrr; did you mean snr\?"):
        simulate(words.path, tmp_path, snrr=1.0)


def test_the_type_of_the_settings_names_the_extractor():
    for settings, desc in ((AudioSettings, "encodec24k"), (VideoSettings, "video"), (TextSettings, "text")):
        kind = processor_type(settings.make())
        assert kind.settings_type is settings
        assert desc == "encodec24k" or kind.desc == desc
    with pytest.raises(TypeError, match=r"AudioSettings, .*VideoClipSettings say what is extracted"):
        processor_type(ExtractionSettings.make())
    kinds = processor_types()
    of_sound = [kind for kind in kinds if kind.padding == "silence"]
    assert of_sound == [AudioProcessor, AcousticsProcessor, SpeechProcessor]
    assert len({kind.padding for kind in kinds}) == len(kinds) - 2  # each of the others has a word of its own


def test_a_decoded_file_says_how_long_it_is(tmp_path):
    frames = np.zeros((3, 4, 6, 3), np.uint8)
    features = new_features(
        {"frames": (("tr", "row", "column", "rgb"), frames)}, TRGrid(2.0, 3, 0.5), film_duration=6.0, kind="continuous",
        desc="video", source="a.mp4", source_sha256="0", duration=6.0, settings={},
    )  # fmt: skip
    decoded = decode(save_features(features, tmp_path / "a_desc-video_features.nc"))
    assert repr(decoded) == f"<DecodedFile {tmp_path / 'a_desc-video_decoded.mp4'}: 6.000 s, picture>"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("giblet.ExtractSettings", "giblet.AudioSettings"),
        ("giblet.config.ExtractSettings", "giblet.data.audio.AudioSettings"),
        ("giblet.pipeline.Extracted", "giblet.pipeline.FeatureFile"),
        ("giblet.pipeline.Decoded", "giblet.pipeline.DecodedFile"),
        ("giblet.pipeline.Reconstructed", "giblet.pipeline.Reconstruction"),
        ("giblet.pipeline.Evaluated", "giblet.pipeline.CodecEvaluation"),
    ],
)
def test_a_result_or_setting_of_before_says_what_it_is_called_now(old, new):
    module, _, name = old.rpartition(".")
    with pytest.raises(ImportError, match=f"^{old} is now called {new}$"):
        exec(f"from {module} import {name}")
