"""Rows of features: the same table in memory and on disk, where nothing stays of it."""

import errno
import os
import resource

import numpy as np
import pytest
import xarray as xr

import giblet as gb
from giblet.data.audio import AudioProcessor, AudioSettings
from giblet.data.rows import Rows
from giblet.data.video import VideoProcessor, VideoSettings
from giblet.errors import InputError
from giblet.features import load_features, save_features
from giblet.pipeline.features import processor_types
from tests.films import Track, noise, write_film

PLACES = [None, "somewhere/new"]
SETTINGS = [AudioSettings.make(use_encodec=False, n_mels=40), VideoSettings.make(size=(12, 16))]


def filled(rows: Rows) -> np.ndarray:
    """Rows 0, 4, 2 and 7 of numbers, and the first six as a table."""
    expected = np.zeros((8, 3, 2), np.float32)
    for k in (0, 4, 2, 7):
        expected[k] = np.arange(6).reshape(2, 3).T + 10 * k
        rows[k] = expected[k].T.copy().T  # not in C order
    return expected[:6]


@pytest.mark.parametrize("place", PLACES)
def test_a_table_holds_the_rows_that_were_put_and_zeros(tmp_path, place):
    with Rows(place and tmp_path / place) as rows:
        expected = filled(rows)
        variable = xr.Variable(("tr", "row", "column"), rows.table(6, (3, 2), np.float32))
        assert (variable.dtype, variable.shape) == (np.float32, (6, 3, 2))
        for key in (
            3, slice(2, 5), slice(None, None, 2), slice(None, None, -1), slice(4, 4), [4, 0], (4, 1),
            (slice(1, 5), 2, 0), (slice(None), slice(1, None)), (Ellipsis, 0), ([1, 4], [0, 2]),
        ):  # fmt: skip
            np.testing.assert_array_equal(variable[key].values, xr.Variable(variable.dims, expected)[key].values)
        assert list(tmp_path.rglob("*")) == [
            folder for folder in (tmp_path / "somewhere", tmp_path / (place or "")) if place
        ]


@pytest.mark.parametrize("made", ["before", "by rows"])
@pytest.mark.parametrize("stays", [True, False])
def test_a_folder_that_rows_made_goes_if_nothing_came_of_it(tmp_path, made, stays):
    folder = tmp_path / "new"
    if made == "before":
        folder.mkdir()
    with Rows(folder) as rows:
        rows[0] = np.zeros(3)
        if stays:
            (folder / "features.nc").touch()
    assert folder.exists() == (stays or made == "before")


@pytest.mark.parametrize("place", PLACES)
def test_a_table_without_rows_is_zeros(tmp_path, place):
    with Rows(place and tmp_path / place) as rows:
        np.testing.assert_array_equal(rows.table(2, (3,), np.uint8), np.zeros((2, 3)))


def test_a_full_disk_is_told(tmp_path, monkeypatch):
    class Full:
        def __getattr__(self, name):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with Rows(tmp_path) as rows:
        rows[0] = np.zeros(3)
        monkeypatch.setattr(rows, "_file", Full())
        with pytest.raises(InputError, match=r"cannot write to .*No space left on device; choose another"):
            rows[1] = np.zeros(3)
        monkeypatch.undo()


@pytest.mark.parametrize("size", [700, 3000, 10_000])
def test_a_disk_that_is_full_is_told_however_small_the_rows_are_and_no_folder_stays(tmp_path, size):
    """By a limit on the size of files; what Python's buffer still holds of them is not written when all is over."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        with (
            pytest.raises(InputError, match=r"cannot write to .*File too large"),
            Rows(tmp_path / "new" / "own") as rows,
        ):
            for k in range(100):
                rows[k] = np.ones(size, np.uint8)
            rows.table(100, (size,), np.uint8)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("settings", SETTINGS, ids=["mel", "picture"])
def test_a_file_made_row_by_row_on_disk_is_that_of_the_dataset_in_memory(tmp_path, monkeypatch, settings):
    monkeypatch.setattr("giblet.netcdf.LARGE", 1000)
    film = write_film(tmp_path / "film.mkv", Track(noise(9.0, 24_000), 24_000), picture=9.0)
    done = gb.extract(film, settings, tmp_path / "disk")
    processor = {AudioSettings: AudioProcessor, VideoSettings: VideoProcessor}[type(settings)].from_settings(settings)
    features = processor.extract(film)
    options = {"source": str(film), **settings.model_dump(mode="json")}
    memory = save_features(features, tmp_path / "memory" / done.path.name, options=options)
    assert done.path.read_bytes() == memory.read_bytes()
    assert done.path.with_suffix(".json").read_bytes() == memory.with_suffix(".json").read_bytes()
    xr.testing.assert_identical(load_features(done.path), features)
    assert {path.suffix for path in done.path.parent.iterdir()} == {".nc", ".json"}


def test_extractors_that_say_so_take_rows():
    assert {kind.__name__ for kind in processor_types() if getattr(kind, "by_rows", False)} == {
        "AudioProcessor", "VideoProcessor",
    }  # fmt: skip
