"""One-page reports: complete in themselves, and nothing that a file's name could break."""

import base64
import importlib.util
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import soundfile

from giblet import report
from giblet.errors import InputError
from giblet.pages import Picture, Player, Section, Table, render, spectrograms, write_report

RATE = 24_000
VOID = {"meta", "img", "br", "link", "input"}
NASTY = "<script>alert('x')</script> & \"quotes\" {{ 7 * 7 }}"


class Page(HTMLParser):
    """Tags in balance, what the page refers to, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.references: list[str] = []
        self.text = ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.references += [value for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture
def tone() -> np.ndarray:
    return (0.25 * np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE)).astype(np.float32)


@pytest.fixture
def png(tone) -> bytes:
    if importlib.util.find_spec("matplotlib") is None:
        pytest.skip("matplotlib is not installed: giblet[plot]")
    return spectrograms({"original": tone}, RATE)


def test_a_page_needs_nothing_beside_it(tone, png):
    text = render(
        "Title", [Section("One", ["text"], [Table(["a"], [["1"]]), Player("p", tone, RATE), Picture(png, "x")])]
    )
    page = Page(text)
    assert page.references and all(value.startswith("data:") for value in page.references)
    assert "script" not in page.tags and "link" not in page.tags
    assert not re.search(r"https?://|@import|url\(", text)


@pytest.mark.parametrize("place", ["title", "summary", "heading", "text", "header", "cell", "caption", "label", "alt"])
def test_all_text_is_escaped(place, tone):
    def at(name):
        return NASTY if name == place else "plain"

    parts = [
        Table([at("header")], [[at("cell")]], caption=at("caption")),
        Player(at("label"), tone[:100], RATE),
        Picture(b"png", at("alt")),
    ]
    text = render(at("title"), [Section(at("heading"), [at("text")], parts)], summary=at("summary"))
    page = Page(text)
    assert "script" not in page.tags
    assert "<script>" not in text
    if place != "alt":
        assert NASTY in page.text
    assert "49" not in page.text


def test_players_hold_the_sound_without_loss(tone):
    kind, _, content = str(Player("p", tone, RATE).uri).partition(";base64,")
    back, rate = soundfile.read(io.BytesIO(base64.b64decode(content)), dtype="float32")
    assert (kind, rate) == ("data:audio/flac", RATE)
    np.testing.assert_allclose(back, tone, atol=1 / 32_768)


def test_a_sound_beyond_full_scale_is_turned_down_as_a_whole_and_says_so(tone):
    loud = Player("p", 8 * tone, RATE)
    back, _ = soundfile.read(io.BytesIO(base64.b64decode(str(loud.uri).partition("base64,")[2])), dtype="float32")
    np.testing.assert_allclose(back, 4 * tone, atol=2 / 32_768)
    assert loud.note == "turned down by 6.0 dB to fit full scale"
    assert loud.note in render("t", [Section("s", (), [loud])])
    assert Player("p", tone, RATE).note == ""


def test_parts_keep_their_order_and_neighbours_stand_together(tone):
    a, b = Player("a", tone[:100], RATE), Player("b", tone[:100], RATE)
    table = Table(["h"], [["1"]])
    assert Section("s", (), [a, b, table, a]).groups == [("player", [a, b]), ("table", [table]), ("player", [a])]


def test_a_row_that_does_not_fit_its_table_is_refused():
    with pytest.raises(InputError, match="a row has 1 cells, the table 2 columns"):
        Table(["a", "b"], [["1"]])


def test_a_tone_is_seen_at_its_frequency(png):
    from matplotlib.image import imread

    pixels = imread(io.BytesIO(png))[..., :3]
    height, width = pixels.shape[:2]
    column = pixels[:, width // 2].sum(axis=1)
    black = np.flatnonzero(column < 0.1)  # magma's darkest is the floor
    top, bottom = black.min(), black.max()
    bright = np.flatnonzero(column[top:bottom] > 1.5).mean() / (bottom - top)
    assert (1 - bright) * 12 == pytest.approx(1.0, abs=0.35)
    assert height > 100


def test_without_matplotlib_there_is_no_picture_and_no_error(tone, monkeypatch):
    monkeypatch.setattr(report.importlib.util, "find_spec", lambda name: None)
    assert spectrograms({"a": tone}, RATE) is None


def test_a_silent_sound_has_a_picture(png):
    assert spectrograms({"silent": np.zeros(RATE, np.float32)}, RATE).startswith(b"\x89PNG")


def test_writing_makes_the_folder_and_keeps_non_ascii(tmp_path):
    path = write_report(tmp_path / "new" / "page.html", "Große Hörprobe – 音", [])
    assert "Große Hörprobe – 音" in Page(path.read_text(encoding="utf-8")).text
    assert [p.name for p in path.parent.iterdir()] == ["page.html"]


def test_a_page_that_cannot_be_written_is_an_input_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        write_report(tmp_path / "file" / "page.html", "t", [])
