"""Small files of many kinds sound and look as an independent decoder has them, and nothing is hidden."""

import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from giblet.data.media import AudioReader
from giblet.data.picture import PictureReader
from tests.sweep import measure
from tests.sweep.claims import problems
from tests.sweep.films import Film, make, missing_encoders
from tests.sweep.rows import ROWS
from tests.sweep.table import rows_of_table

PAGE = Path(__file__).parents[1] / "docs" / "media.md"
swept = [pytest.mark.slow, pytest.mark.skipif(shutil.which("ffprobe") is None, reason="needs ffmpeg")]


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("sweep")


@pytest.mark.parametrize("film", [pytest.param(film, id=film.name, marks=swept) for film in ROWS])
def test_giblet_reads_what_an_independent_decoder_reads(film: Film, folder: Path):
    """Sound within 1 ms and 0.1 dB, pictures within a frame, and what was filled, cut or left out is counted."""
    if missing := missing_encoders(film):
        pytest.skip(f"needs ffmpeg with {', '.join(missing)}")
    path, commands = make(film, folder)
    wrong = problems(film, measure.measured(film, path))
    assert not wrong, "\n".join(["", *wrong, *commands])


# What the sweep would find ------------------------------------------------------------------------------------------


class LateSound(AudioReader):
    """1.2 ms too late."""

    def __iter__(self):
        yield np.zeros(round(0.0012 * self.sample_rate), np.float32)
        yield from super().__iter__()


class LouderSound(AudioReader):
    """By 0.15 dB."""

    def __iter__(self):
        yield from (chunk * np.float32(10 ** (0.15 / 20)) for chunk in super().__iter__())


class SoundWithAHole(AudioReader):
    """5 ms are silent, and it does not say so."""

    def __iter__(self):
        whole = np.concatenate(list(super().__iter__()))
        whole[round(0.9 * self.sample_rate) : round(0.905 * self.sample_rate)] = 0
        yield whole


class SoundThatFilledSomething(AudioReader):
    """It counts a gap that is not there."""

    def __iter__(self):
        yield from super().__iter__()
        self.gaps, self.gap_seconds = 1, 0.02


class LateMiddle(AudioReader):
    """From 1.5 s on 2 ms late."""

    def __iter__(self):
        whole = np.concatenate(list(super().__iter__()))
        at = round(1.5 * self.sample_rate)
        yield np.concatenate([whole[:at], np.zeros(self.sample_rate // 500, np.float32), whole[at:]])


class LatePicture(PictureReader):
    """By a frame and a half."""

    def __iter__(self):
        late = Fraction(3, 50)
        yield from (replace(shown, start=shown.start + late, end=shown.end + late) for shown in super().__iter__())


class PictureThatLosesFrames(PictureReader):
    """One in twenty, and it does not say so."""

    def __iter__(self):
        yield from (shown for k, shown in enumerate(super().__iter__()) if k % 20 != 7)


class PictureOnItsHead(PictureReader):
    """Turned by half."""

    def __iter__(self):
        for shown in super().__iter__():
            yield SimpleNamespace(
                start=shown.start, end=shown.end, pixels=lambda size, shown=shown: shown.pixels(size)[::-1, ::-1]
            )


@pytest.mark.parametrize(
    ("reader", "said"),
    [
        pytest.param(LateSound, "late by", marks=swept),
        pytest.param(LouderSound, "levels off", marks=swept),
        pytest.param(SoundWithAHole, "20 ms of it differ", marks=swept),
        pytest.param(SoundThatFilledSomething, "gaps 1, not 0", marks=swept),
        pytest.param(LateMiddle, "bursts late by", marks=swept),
        pytest.param(LatePicture, "flashes begin or end late", marks=swept),
        pytest.param(PictureThatLosesFrames, "57 frames, not 60", marks=swept),
        pytest.param(PictureOnItsHead, "a frame differs", marks=swept),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_reading_that_is_wrong_would_be_found(reader, said, folder, monkeypatch):
    film = next(film for film in ROWS if (film.suffix, film.video, film.audio) == ("mkv", "h264", "wavpack"))
    path, _ = make(film, folder)
    assert not problems(film, measure.measured(film, path))
    monkeypatch.setattr(measure, reader.__base__.__name__, reader)
    wrong = problems(film, measure.measured(film, path))
    assert any(said in words for words in wrong), wrong


# The list ------------------------------------------------------------------------------------------------------------


def test_no_two_files_of_the_sweep_are_alike():
    names = [film.name for film in ROWS]
    assert len(set(names)) == len(names) >= 90


def test_the_page_shows_what_is_swept():
    """The figures are measured anew by `python -m tests.sweep.table`; what is swept must be the list of today."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    shown = [line.split(" | ")[:6] for line in lines if line.startswith("| `")]
    assert shown == [row.split(" | ")[:6] for row in rows_of_table({})]
