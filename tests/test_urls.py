"""What is a URL and what is a path; what of a URL may be shown."""

from pathlib import Path

import pytest

from giblet.errors import InputError
from giblet.urls import in_urls, is_url, mirror_of, without_secrets


@pytest.mark.parametrize(
    "given", ["s3://lab/film.mp4", "gs://lab", "memory://a/b", "file:///a", "simplecache::s3://a/b"]
)
def test_urls_are_told_with_two_slashes_and_with_the_one_that_pathlib_leaves(given):
    assert is_url(given) and is_url(Path(given))


@pytest.mark.parametrize(
    "given",
    [
        r"C:\films\film.mp4", "C:/films/film.mp4", "film: part 1.mp4", "12:30.wav", "a/b:c/d.nc", "talks:/a.wav",
        "audio=s3://lab/film.nc", "", "/abs/film.mp4",
    ],
)  # fmt: skip
def test_paths_with_colons_are_no_urls(given, tmp_path, monkeypatch):
    """A folder whose name ends with a colon is only told from a protocol by being there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "talks:").mkdir()
    (tmp_path / "talks:" / "a.wav").touch()
    assert not is_url(given) and not is_url(Path(given))


def test_a_text_calls_files_by_their_urls_whatever_stands_around_them():
    text = "{'a': '/tmp/giblet-urls-abc_1234/s3/lab/a.nc', 'b':/tmp/giblet-urls-abc_1234/gs/b/c} (/var/x y/z)"
    assert in_urls(text) == "{'a': 's3://lab/a.nc', 'b':gs://b/c} (/var/x y/z)"


def test_a_temporary_folder_may_hold_spaces():
    assert mirror_of("/my tmp/giblet-urls-abc_1234/s3/lab/a b.nc")[1:] == ("s3", "lab/a b.nc")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://me:pw@host/a.mp4?X-Amz-Signature=1/2&b", "https://host/a.mp4"),
        ("https:/me:pw@host/a.mp4", "https:/host/a.mp4"),
        ("404, url='https://host/a?token=x' (why?)", "404, url='https://host/a' (why?)"),
        ("s3://lab/mail@home.nc", "s3://lab/mail@home.nc"),
    ],
)
def test_user_password_and_query_are_not_shown(text, shown):
    assert without_secrets(text) == shown


def test_messages_name_the_url():
    assert str(InputError("cannot read /tmp/giblet-urls-abc_1234/s3/lab/a.nc: why")) == "cannot read s3://lab/a.nc: why"
