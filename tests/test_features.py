"""The feature file carries its clock, its kind and its origin, and is refused when it is not what it says."""

import json

import h5py
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from giblet.alignment import align_all_modalities
from giblet.alignment.checks import check_applied_once, recorded_table_time
from giblet.errors import InputError
from giblet.features import (
    describe,
    feature_path,
    is_current,
    load_features,
    main_variable,
    metadata_of,
    new_features,
    save_features,
    sidecar_path,
)
from giblet.timing import TRGrid, group_with_spill, ungroup_codes
from tests.feature_files import up_to_date


def made(tr=1.5, n_trs=6, film=8.0, n_codebooks=8, seed=0, **attrs):
    grid = TRGrid(tr, n_trs, 75)
    codes = np.random.default_rng(seed).integers(0, 1024, (n_codebooks, grid.n_frames), dtype=np.int32)
    grouped = group_with_spill(codes, grid)
    variables = {
        "codes": (("tr", "codebook", "frame"), grouped.codes),
        "spill": (("tr", "codebook", "extra"), grouped.spill),
        "spill_mask": (("tr", "extra"), grouped.spill_mask),
    }
    about = {
        "kind": "codes", "desc": "encodec24k", "codec": "bundled", "codec_fingerprint": "f" * 64, "bandwidth": 6.0,
        "codebook_size": 1024, "sample_rate": 24_000, "hop_length": 320, "source": "film.mp4",
        "source_sha256": "0" * 64, "track_delay": 0.0, "duration": 8.0, "settings": {"tr": tr, "n_trs": None},
    }  # fmt: skip
    return new_features(variables, grid, film_duration=film, **{**about, **attrs}), codes


@settings(max_examples=15, deadline=None)
@given(
    tr=st.sampled_from([1.5, 0.72, 1.49, 2.0]),
    n_trs=st.integers(1, 40),
    n_codebooks=st.integers(1, 4),
    seed=st.integers(0, 9),
)
def test_a_file_gives_back_every_code_and_attribute(tmp_path_factory, tr, n_trs, n_codebooks, seed):
    features, codes = made(tr, n_trs, 1e9, n_codebooks, seed)
    path = save_features(features, tmp_path_factory.mktemp("f") / "film_desc-encodec24k_features.nc")
    loaded = load_features(path)
    xr.testing.assert_identical(loaded, features)
    np.testing.assert_array_equal(ungroup_codes(loaded.codes.values, tr, 75, spill=loaded.spill.values), codes)
    assert loaded.codes.dtype == np.int32
    assert loaded.spill_mask.dtype == loaded.valid.dtype == bool


def test_trs_that_the_film_does_not_cover_are_not_valid():
    features, _ = made(film=8.0)
    assert features.valid.values.tolist() == [True] * 5 + [False]
    assert made(film=9.0)[0].valid.all()
    assert made(film=8.96)[0].valid.all(), "40 ms short is an encoder's rounding"
    assert not made(film=8.9)[0].valid[-1]
    np.testing.assert_array_equal(features.onset, np.arange(6) * 1.5)


def test_the_file_is_plain_netcdf4_that_other_tools_read(tmp_path):
    features, _ = made()
    path = save_features(features, tmp_path / "a_features.nc")
    with h5py.File(path) as file:
        assert file["codes"].dtype == np.int32
        np.testing.assert_array_equal(file["codes"][()], features.codes)
        assert file.attrs["tr"] == 1.5


def test_saving_codes_with_numpy_keeps_working(tmp_path):
    features, _ = made()
    np.save(tmp_path / "codes.npy", features.codes.values)
    np.testing.assert_array_equal(np.load(tmp_path / "codes.npy"), features.codes)


def test_the_sidecar_speaks_bids(tmp_path):
    features, _ = made()
    path = save_features(features, tmp_path / "film_desc-encodec24k_features.nc")
    sidecar = json.loads(sidecar_path(path).read_text())
    assert sidecar["RepetitionTime"] == 1.5
    assert sidecar["SamplingFrequency"] == 75.0
    assert sidecar["StartTime"] == 0.0
    assert (sidecar["NumberOfVolumes"], sidecar["NumberOfValidVolumes"]) == (6, 5)
    assert sidecar["GeneratedBy"][0]["Name"] == "giblet"
    assert sidecar["giblet"]["settings"] == {"tr": 1.5, "n_trs": None}


def test_up_to_date_notices_every_change(tmp_path):
    features, _ = made()
    path = save_features(features, tmp_path / "a_features.nc")
    same = {"source_sha256": "0" * 64, "settings": {"n_trs": None, "tr": 1.5}, "codec_fingerprint": "f" * 64}
    assert up_to_date(path, **same)
    assert not up_to_date(path, **{**same, "source_sha256": "1" * 64})
    assert not up_to_date(path, **{**same, "settings": {"tr": 1.5, "n_trs": 6}})
    assert not up_to_date(path, **{**same, "codec_fingerprint": "e" * 64})
    assert not up_to_date(tmp_path / "none.nc", **same)
    sidecar_path(path).unlink()
    assert not up_to_date(path, **same)
    save_features(features.assign_attrs(giblet_version="0.0.0"), path)
    assert not up_to_date(path, **same), "another version may have extracted otherwise"
    path.write_bytes(path.read_bytes()[:2000])
    assert not up_to_date(path, **same)


def test_main_variable_and_metadata_split_the_file():
    features, _ = made()
    assert main_variable(features) == "codes"
    metadata = metadata_of(features)
    assert set(metadata) >= {"spill", "spill_mask", "onset", "valid", "tr", "codec_fingerprint"}
    assert "codes" not in metadata
    assert metadata["settings"] == {"tr": 1.5, "n_trs": None}


def test_describe_reports_what_was_cut_and_padded():
    about = describe(made(film=8.0)[0])
    assert (about["n_trs"], about["valid_trs"], about["cut"], about["padded"]) == (6, 5, 0.0, 1.0)
    assert describe(made(film=10.0)[0])["cut"] == 1.0
    json.dumps(about)


def test_names_follow_the_film():
    assert feature_path("films/a.b.mp4", "mel", "out").as_posix() == "out/a.b_desc-mel_features.nc"


@pytest.mark.parametrize("code", [-1, 1024])
def test_codes_out_of_range_are_refused_with_their_value(tmp_path, code):
    features, _ = made()
    features.codes.values[2, 3, 4] = code
    with pytest.raises(InputError, match=rf"codes hold {code}, outside \[0, 1023\]"):
        load_features(save_features(features, tmp_path / "a_features.nc"))


def test_what_is_not_a_feature_file_is_refused_in_words(tmp_path):
    with pytest.raises(InputError, match="no such feature file"):
        load_features(tmp_path / "none.nc")
    with pytest.raises(InputError, match="is a folder"):
        load_features(tmp_path)
    (tmp_path / "text.nc").write_text("not HDF5")
    with pytest.raises(InputError, match="not a feature file"):
        load_features(tmp_path / "text.nc")
    xr.Dataset({"a": ("x", np.arange(3))}).to_netcdf(tmp_path / "other.nc", engine="h5netcdf")
    with pytest.raises(InputError, match="not a giblet feature file"):
        load_features(tmp_path / "other.nc")
    features, _ = made()
    path = save_features(features, tmp_path / "cut.nc")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match="damaged"):
        load_features(path)
    save_features(features.isel(frame=slice(0, 100)), path)
    with pytest.raises(InputError, match="its clock has 112"):
        load_features(path)
    save_features(features.assign_attrs(kind="continuous"), path)
    with pytest.raises(InputError, match="kind 'continuous'"):
        load_features(path)


OLD_SETTINGS = {"start_offset": 20.0, "onset": "begin", "offset": None, "duration": "length", "text": "word", "tr": 1.5}


@pytest.mark.parametrize(
    ("desc", "name"),
    [
        ("encodec24k", "track_delay"), ("mel", "track_delay"), ("video", "track_delay"),
        ("predicted", "first_onset"), ("predictedtext", "first_onset"), ("truth", "stimulus_time_at_volume_0"),
    ],
)  # fmt: skip
def test_the_start_offset_of_a_file_of_before_is_read_by_its_name_of_today(tmp_path, desc, name):
    old, _ = made(n_trs=3)
    del old.attrs["track_delay"]
    path = save_features(old.assign_attrs(start_offset=0.52, desc=desc), tmp_path / "old.nc")
    back = load_features(path)
    assert back.attrs[name] == 0.52
    assert "start_offset" not in back.attrs
    assert describe(back)[name] == 0.52
    assert is_current(back, path), "it is the same file, and is not made anew"


def test_words_of_before_know_that_they_were_shifted_and_are_up_to_date(tmp_path):
    grid = TRGrid(1.5, 4, 1 / 1.5 + 1e-12)
    old = new_features(
        {"word_rate": (("tr",), np.ones(4, np.float32))}, grid, film_duration=6, kind="continuous", desc="text",
        source="w.tsv", source_sha256="0", duration=6.0, settings=OLD_SETTINGS,
    )  # fmt: skip
    assert recorded_table_time(old) == 20, "opened by another program"
    path = save_features(old, tmp_path / "w.nc")
    back = load_features(path)
    today = {
        "table_time_at_tr_0": 20.0, "onset_column": "begin", "offset_column": None, "duration_column": "length",
        "text_column": "word", "tr": 1.5,
    }  # fmt: skip
    assert json.loads(back.attrs["settings"]) == today
    assert up_to_date(path, settings=today)
    with pytest.raises(InputError, match=r"w.tsv was extracted with table_time_at_tr_0=20"):
        check_applied_once(back, 3, "words")
    bold = np.random.default_rng(0).standard_normal((4, 2))
    with pytest.raises(InputError, match="would shift it again"):
        align_all_modalities({"words": old}, bold, tr=1.5, stimulus_time_at_volume_0=3)
