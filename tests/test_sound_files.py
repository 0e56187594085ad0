"""Sound files in folders, and how one is written."""

import resource

import numpy as np
import pytest

from giblet.errors import InputError
from giblet.sound_files import SEEKABLE, SUFFIXES, find_sound_files, new_sound_file


def test_sound_and_films_are_found_below_a_folder_in_order_and_nothing_else(tmp_path):
    names = ("b/two.FLAC", "a.mkv", "b/c/three.mp3", "b/one.wav")
    for name in (*names, "notes.txt", "b/picture.png", "flac"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert find_sound_files(tmp_path) == sorted(tmp_path / name for name in names)


def test_suffixes_are_listed_once_in_lower_case():
    assert len(set(SUFFIXES)) == len(SUFFIXES)
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in SUFFIXES)
    assert set(SEEKABLE) < set(SUFFIXES)


@pytest.mark.parametrize("ending", ["wav", "flac"])
def test_why_a_sound_cannot_be_written_is_told_and_nothing_stays(tmp_path, ending):
    """By a limit on the size of files; of libsndfile it is a "System error"."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    noise = 0.1 * np.random.default_rng(0).standard_normal(24_000)
    try:
        with (
            pytest.raises(InputError, match=r"cannot write .*: File too large; choose another output folder or free"),
            new_sound_file(tmp_path / f"a.{ending}", 24_000) as file,
        ):
            for _ in range(10):
                file.write(noise)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.iterdir())
