"""One-page reports: complete in themselves, and nothing that a file's name could break."""

import base64
import importlib.util
import io
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
import soundfile

from giblet.errors import InputError
from giblet.pages import Details, Drawing, Figure, Listen, Picture, Player, Report, Section, Table, page, sounds
from giblet.pages.drawings import ACCENT, PAPER, TEST, can_draw, svg_of
from giblet.pages.sounds import strips

RATE = 24_000
VOID = {"meta", "img", "br", "link", "input"}
NASTY = "<script>alert('x')</script> & \"quotes\" {{ 7 * 7 }} <b>x</b>"


class Page(HTMLParser):
    """Tags in balance, what the page refers to, what stands for its pictures, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.references: list[str] = []
        self.alts: list[str] = []
        self.ids: list[str] = []
        self.text = ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.tags.append(tag)
        self.references += [value for name, value in attrs if name in ("src", "srcset", "data", "action")]
        self.references += [given["href"]] if tag == "a" else []
        self.ids += [given["id"]] if "id" in given else []
        if tag == "img":
            self.alts.append(given["alt"])
        if tag == "svg":
            assert given["role"] == "img"
            self.alts.append(given["aria-label"])
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.text += data


needs_drawings = pytest.mark.skipif(not can_draw(), reason="matplotlib is not installed: giblet[plot]")


def tone_of(seconds: float, hertz: float = 1000.0) -> np.ndarray:
    times = np.arange(round(seconds * RATE)) / RATE
    return (0.25 * np.sin(2 * np.pi * hertz * times)).astype(np.float32)


@pytest.fixture
def tone() -> np.ndarray:
    return tone_of(1.0)


@pytest.fixture
def png(tone) -> bytes:
    if not can_draw():
        pytest.skip("matplotlib is not installed: giblet[plot]")
    return strips([Player("original", tone, RATE)])[0]


def drawn(figure, axis):
    axis.plot([0, 1], [0, 1], color=ACCENT, label=NASTY)
    axis.broken_barh([(0, 1)], (0, 0.3), facecolor=PAPER, edgecolor=TEST, hatch="////")
    axis.set_title("$x_1$ and a $")
    axis.legend()


def one_of_all(png: bytes, tone: np.ndarray) -> Report:
    parts = [
        Figure("r", "0.5", ["chance 0"], above=False), Table(["a"], [["1"]]), Listen("clip", [Player("p", tone, RATE)]),
        Picture(png, "a picture"), Details("more", "a: 1"), Drawing(svg_of(drawn, 3, 2), "a drawing"),
        Drawing(svg_of(drawn, 3, 2), "the same again"),
    ]  # fmt: skip
    return Report("Title", [Section("One", ["text"], parts, ["careful"]), Section("Two"), Section("Three")])


def test_a_page_needs_nothing_beside_it(tone, png):
    text = one_of_all(png, tone).html
    found = Page(text)
    assert found.references and all(value.startswith(("data:", "#s")) for value in found.references)
    assert found.tags.count("script") == 1 and "link" not in found.tags
    assert not re.search(r"https?://(?!www\.w3\.org/)|@import|url\((?!#)", text)
    assert "default-src 'none'" in text and "media-src data:;" in text


def test_only_what_can_be_listened_to_has_a_script(png):
    assert "script" not in Page(Report("t", [Section("s", parts=[Picture(png, "x")])]).html).tags


def test_the_policy_lets_the_pages_own_script_run_and_no_other(tone):
    import hashlib

    text = Report("t", [Section("s", parts=[Listen("clip", [Player("p", tone, RATE)])])]).html
    script = re.search(r"<script>(.*)</script>", text, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert re.findall(r"script-src ([^\"]*)", text) == [f"'sha256-{digest}'"]


def test_each_picture_has_words_and_each_identifier_stands_once(tone, png):
    found = Page(one_of_all(png, tone).html)
    assert len(found.alts) == 4 and all(found.alts)
    assert "Spectrogram of p" in found.alts[0]
    assert len(found.ids) == len(set(found.ids))


PLACES = [
    "title", "summary", "heading", "text", "warning", "header", "cell", "caption", "listen", "label", "about", "figure",
    "beside", "details", "folded", "alt", "alt of a drawing",
]  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_all_text_is_escaped(place, tone):
    def at(name):
        return NASTY if name == place else "plain"

    parts = [
        Figure(at("figure"), "1", [at("beside")]),
        Table([at("header")], [[at("cell")]], caption=at("caption")),
        Listen(at("listen"), [Player(at("label"), tone[:100], RATE, at("about"))]),
        Details(at("details"), at("folded")),
        Picture(b"png", at("alt")),
        Drawing("<svg ></svg>", at("alt of a drawing")),
    ]
    report = Report(at("title"), [Section(at("heading"), [at("text")], parts, [at("warning")])], at("summary"))
    text = report.html
    found = Page(text)
    assert found.tags.count("script") == 1 and "b" not in found.tags
    assert "<script>alert" not in text and "<b>x" not in text
    if "alt" in place:
        assert NASTY in found.alts
    else:
        assert NASTY in found.text
    assert "49" not in re.sub(r"sha256-\S+", "", found.text)
    assert "<script>alert" not in report._repr_html_()


@needs_drawings
def test_a_drawing_has_the_colours_of_the_page_alone_and_what_users_typed_in_it_is_no_formula_and_no_tag():
    svg = svg_of(drawn, 3, 2)
    assert not re.search(r"#[0-9a-fA-F]{6}\b", svg)
    assert {"var(--accent)", "var(--test)", "var(--paper)", "var(--ink)"} <= set(re.findall(r"var\(--\w+\)", svg))
    assert "$x_1$ and a $" in svg and "&lt;script&gt;" in svg and "<script" not in svg and "<b>" not in svg


def test_the_style_sheet_has_each_colour_for_light_dark_and_print():
    from giblet.pages.drawings import PALETTE

    style = page._template("report.css")
    names = re.findall(r"--([\w-]+): #", style)
    assert set(PALETTE.values()) <= set(names)
    assert all(names.count(name) == 3 for name in set(names))


def contrast(one: str, other: str) -> float:
    """Of WCAG 2."""

    def light(colour: str) -> float:
        values = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
        red, green, blue = (v / 12.92 if v <= 0.03928 else ((v + 0.055) / 1.055) ** 2.4 for v in values)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    low, high = sorted((light(one), light(other)))
    return (high + 0.05) / (low + 0.05)


def test_text_is_read_in_light_and_dark_and_lines_are_seen():
    style = page._template("report.css")
    for scheme in re.findall(r":root \{(.*?)\}", style, re.DOTALL):
        colours = dict(re.findall(r"--([\w-]+): (#\w{6})", scheme))
        for ground in ("paper", "band"):
            for ink in ("ink", "soft", "accent"):
                assert contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground, scheme)
        assert contrast(colours["warn-ink"], colours["warn"]) >= 4.5
        for line in ("accent", "test", "validation"):
            assert contrast(colours[line], colours["paper"]) >= 3, (line, scheme)


def test_a_sound_is_written_without_calling_python_where_an_interrupt_would_be_lost(monkeypatch):
    """soundfile 0.13.1 drops what is raised while it writes to an object of Python."""
    monkeypatch.setattr(soundfile.SoundFile, "_init_virtual_io", lambda *_: pytest.fail("through Python"))
    assert Player("p", np.zeros(100, np.float32), RATE).flac.startswith(b"fLaC")


def flac(player: Player) -> tuple[np.ndarray, int]:
    return soundfile.read(io.BytesIO(player.flac), dtype="float32")


def test_players_hold_the_sound_without_loss(tone):
    back, rate = flac(Player("p", tone, RATE))
    assert rate == RATE
    np.testing.assert_allclose(back, tone, atol=1 / 32_768)
    assert "data:audio/flac;base64," in Report("t", [Section("s", parts=[Listen("c", [Player("p", tone, RATE)])])]).html


def test_a_sound_beyond_full_scale_is_turned_down_as_a_whole_and_says_so(tone):
    loud = Player("p", 8 * tone, RATE)
    np.testing.assert_allclose(flac(loud)[0], 4 * tone, atol=2 / 32_768)
    assert loud.note == "turned down by 6.0 dB to fit full scale"
    assert loud.note in Report("t", [Section("s", (), [Listen("c", [loud])])]).html
    assert Player("p", tone, RATE).note == ""


@pytest.mark.parametrize("turned", [0.0, 0.25, 0.9])
def test_a_sound_is_rotated_and_a_file_is_heard_as_the_array_that_it_holds(tmp_path, monkeypatch, turned):
    monkeypatch.setattr(sounds, "BLOCK", 1000)
    sound = np.linspace(-0.5, 0.5, RATE, dtype=np.float32)
    soundfile.write(tmp_path / "a.wav", sound, RATE, subtype="FLOAT")
    expected = np.roll(sound, -round(turned * RATE))
    for player in (Player("p", sound, RATE, turned=turned), Player.of_file("p", tmp_path / "a.wav", turned=turned)):
        assert player.seconds == 1.0
        np.testing.assert_allclose(flac(player)[0], expected, atol=1 / 32_768)


def test_a_sound_file_that_is_none_is_an_input_error(tmp_path):
    (tmp_path / "a.wav").write_text("no sound")
    with pytest.raises(InputError, match=r"cannot read .*a\.wav"):
        Player.of_file("p", tmp_path / "a.wav")


def test_a_group_without_sounds_is_refused():
    with pytest.raises(InputError, match="there is nothing to hear of 'clip'"):
        Listen("clip", [])


def test_parts_keep_their_order_and_neighbours_of_one_kind_stand_together():
    a, b, table = Picture(b"a", "a"), Picture(b"b", "b"), Table(["h"], [["1"]])
    assert Section("s", (), [a, b, table, a]).groups == [("picture", [a, b]), ("table", [table]), ("picture", [a])]


def test_figures_stand_above_warnings_and_text():
    section = Section("s", ["the text"], [Table(["h"], [["the cell"]]), Figure("r", "the figure")], ["the warning"])
    text = Page(Report("t", [section]).html).text
    places = [text.index(f"the {what}") for what in ("figure", "warning", "text", "cell")]
    assert places == sorted(places)


def test_a_row_that_does_not_fit_its_table_is_refused():
    with pytest.raises(InputError, match="a row has 1 cells, the table 2 columns"):
        Table(["a", "b"], [["1"]])


@pytest.mark.parametrize("seconds", [1.0, 120.0])
def test_a_tone_is_seen_at_its_frequency_from_its_beginning_to_its_end(seconds):
    if not can_draw():
        pytest.skip("matplotlib is not installed: giblet[plot]")
    from matplotlib.image import imread

    first, second = strips([Player("p", tone_of(seconds), RATE), Player("half", tone_of(seconds / 2), RATE)])
    pixels = imread(io.BytesIO(first))[..., :3].sum(axis=2)
    for column in (0, pixels.shape[1] // 2, pixels.shape[1] - 1):
        height = 1 - (pixels[:, column].argmax() + 0.5) / len(pixels)
        assert height * 8 == pytest.approx(1.0, abs=0.15)
    shorter = imread(io.BytesIO(second))[..., :3].sum(axis=2).max(axis=0) > 1
    assert np.flatnonzero(shorter).max() / len(shorter) == pytest.approx(0.5, abs=0.03)


def test_without_matplotlib_there_is_no_picture_and_no_error(tone, monkeypatch):
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "matplotlib" else there(name))
    assert strips([Player("a", tone, RATE)]) == [None]
    text = Report("t", [Section("s", parts=[Listen("c", [Player("a", tone, RATE)])])]).html
    assert "<audio" in text and "<img" not in text


def test_a_silent_and_an_empty_sound_have_a_picture(png):
    for sound in (np.zeros(RATE, np.float32), np.zeros(0, np.float32)):
        assert strips([Player("silent", sound, RATE)])[0].startswith(b"\x89PNG")


@pytest.fixture
def long_page(tone, monkeypatch) -> Report:
    monkeypatch.setattr(page, "LONG", 0.5)
    return Report(
        "t", [Section("s", parts=[Listen("c", [Player("50 % & <b>x</b>", tone, RATE), Player("b", tone, RATE)])])]
    )


def test_long_sounds_are_written_beside_the_page_which_says_so(tmp_path, long_page, tone):
    assert long_page.sounds_beside
    path = long_page.save_as_html(tmp_path / "my page #1.html")
    text = path.read_text(encoding="utf-8")
    found = Page(text)
    sources = [value for value in found.references if not value.startswith("data:")]
    assert sources == ["my%20page%20%231_sounds/000_50-b-x-b.flac", "my%20page%20%231_sounds/001_b.flac"]
    for source in sources:
        back, _ = soundfile.read(tmp_path / unquote(source), dtype="float32")
        np.testing.assert_allclose(back, tone, atol=1 / 32_768)
    assert "my page #1_sounds beside this page" in found.text and len(text) < 200_000
    assert "media-src data: file: 'self'" in text


def test_sounds_of_the_page_that_was_replaced_go_and_other_files_stay(tmp_path, long_page):
    folder = tmp_path / "page_sounds"
    folder.mkdir()
    (folder / "007_old.flac").write_text("")
    (folder / "mine.flac").write_text("")
    long_page.save_as_html(tmp_path / "page.html")
    assert not (folder / "007_old.flac").exists() and (folder / "mine.flac").exists()
    assert len([*folder.iterdir()]) == 3


def test_in_a_notebook_a_page_stands_in_a_frame_and_says_where_long_sounds_are(tone, long_page, monkeypatch):
    import html

    inside = html.unescape(re.search(r'srcdoc="([^"]*)"', long_page._repr_html_())[1])
    assert "save_as_html" in Page(inside).text and "<audio" not in inside
    monkeypatch.setattr(page, "LONG", 600)
    inside = html.unescape(re.search(r'srcdoc="([^"]*)"', long_page._repr_html_())[1])
    assert inside == long_page.html and "<audio" in inside


def test_a_page_opens_in_the_browser_from_a_folder_of_its_own(monkeypatch, tmp_path):
    opened = []
    monkeypatch.setattr(page.tempfile, "mkdtemp", lambda prefix: str(tmp_path))
    monkeypatch.setattr(page.webbrowser, "open", opened.append)
    path = Report("t", []).open_in_browser()
    assert opened == [path.as_uri()] and path.is_file() and path.parent == tmp_path


def test_writing_makes_the_folder_and_keeps_non_ascii(tmp_path):
    path = Report("Große Hörprobe – 音", []).save_as_html(tmp_path / "new" / "page.html")
    assert "Große Hörprobe – 音" in Page(path.read_text(encoding="utf-8")).text
    assert [p.name for p in path.parent.iterdir()] == ["page.html"]


def test_a_page_that_cannot_be_written_is_an_input_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        Report("t", []).save_as_html(Path(tmp_path) / "file" / "page.html")
