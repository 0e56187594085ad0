"""Files of subtitles, and what is read from them."""

import pytest

from giblet.data.words.subtitles import read_segments


@pytest.fixture
def written(tmp_path):
    def write(content, name="a.vtt"):
        path = tmp_path / name
        path.write_text(content if name.endswith(".srt") else "WEBVTT\n\n" + content, encoding="utf-8")
        return path

    return write


def cues(*rows, form="vtt"):
    """Cues of one form from (start, end, text), seconds below 60."""
    point = "." if form == "vtt" else ","
    numbered = enumerate(rows, 1)
    return "".join(
        f"{k}\n00:00:{a:06.3f} --> 00:00:{b:06.3f}\n".replace(".", point) + f"{text}\n\n"
        for k, (a, b, text) in numbered
    )


def words(path, **options):
    return [(float(row.onset), float(row.offset), row.text) for row in read_segments(path, **options)]
