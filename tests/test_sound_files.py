"""Sound files in folders."""

from giblet.sound_files import SEEKABLE, SUFFIXES, find_sound_files


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
