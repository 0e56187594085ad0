"""Pages in headless Chromium: nothing is fetched, players play, and switching keeps the playhead."""

import numpy as np
import pytest

from giblet.pages import Drawing, Figure, Listen, Picture, Player, Report, Section, Table, page
from giblet.pages.drawings import svg_of
from giblet.pages.sounds import strips
from tests.chromium import Browser, needs_chromium
from tests.test_pages import drawn

pytestmark = needs_chromium
RATE, SECONDS = 8000, 6.0


def sounds() -> list[Player]:
    times = np.arange(round(SECONDS * RATE)) / RATE
    return [
        Player(f"<b>{hertz}</b>", np.sin(hertz * times).astype(np.float32) / 4, RATE) for hertz in (900, 1800, 3600)
    ]


@pytest.fixture
def report() -> Report:
    png = strips(sounds())[0]
    parts = [
        Figure("r", "0.5", ["chance 0"], above=False), Listen("clip", sounds()), Listen("clip 2", sounds()[:1]),
        Table([f"column {k}" for k in range(20)], [["1.234"] * 20]), Picture(png, "a picture"),
        Drawing(svg_of(drawn, 5, 3), "a drawing"),
    ]  # fmt: skip
    return Report("<b>x</b>", [Section("One", ["text"], parts, ["careful"]), Section("Two"), Section("Three")])


PLAY = "document.querySelector('.transport button').click()"
PLAYING = "[...document.querySelectorAll('audio')].map(one => !one.paused)"
AT = "[...document.querySelectorAll('audio')].map(one => one.currentTime)"
READY = """Promise.all([...document.querySelectorAll('audio')].map(one => one.readyState > 0 ? 0 :
  new Promise((done, failed) => {
    one.addEventListener('loadedmetadata', done); one.addEventListener('error', failed) })))"""


def choose(number: int) -> str:
    return f"document.querySelectorAll('input[type=radio]')[{number}].click()"


def until(browser: Browser, what: str) -> None:
    """Wait, at most ten seconds, for an expression to hold."""
    browser.run(
        f"new Promise((done, failed) => {{ const began = Date.now(); const look = () => ({what}) ? done() : "
        f"Date.now() - began > 10000 ? failed(new Error('waited in vain')) : setTimeout(look, 20); look(); }})"
    )


@pytest.mark.parametrize("beside", [False, True])
def test_a_page_fetches_nothing_says_nothing_and_each_player_has_its_sound(report, tmp_path, monkeypatch, beside):
    if beside:
        monkeypatch.setattr(page, "LONG", 1.0)
    path = report.save_as_html(tmp_path / "a page #1 é.html")
    with Browser(path.as_uri()) as browser:
        browser.run(READY)
        durations = browser.run("[...document.querySelectorAll('audio')].map(one => one.duration)")
        np.testing.assert_allclose(durations, SECONDS, atol=0.01)
        fetched = [one for one in browser.requests if not one.startswith("data:") and one != path.as_uri()]
        assert len(fetched) == (4 if beside else 0) and all("_sounds/" in one for one in fetched)
        assert browser.errors == []
        assert browser.run("document.querySelectorAll('b').length") == 0


def test_switching_keeps_the_playhead_and_one_sound_plays_at_a_time(report, tmp_path):
    with Browser(report.save_as_html(tmp_path / "page.html").as_uri()) as browser:
        browser.run(READY)
        browser.run(PLAY)
        until(browser, f"{AT}[0] > 0.3")
        assert browser.run(PLAYING) == [True, False, False, False]
        before = browser.run(f"{choose(1)}; {AT}")
        until(browser, f"{PLAYING}[1]")
        assert browser.run(PLAYING) == [False, True, False, False]
        assert -0.02 < browser.run(AT)[1] - before[0] < 1.0  # where a player begins, it rounds to its samples
        browser.run(PLAY)
        until(browser, f"!{PLAYING}.some(Boolean)")
        at = browser.run(AT)[1]
        assert browser.run(f"{choose(2)}; {AT}")[2] == pytest.approx(at, abs=0.02)
        assert browser.run("Number(document.querySelector('input[type=range]').value)") == pytest.approx(at, abs=0.02)
        head = browser.run("parseFloat(document.querySelector('.head').style.left)")
        assert head == pytest.approx(100 * at / SECONDS, abs=0.5)
        browser.run(f"{PLAY}; document.querySelectorAll('.transport button')[1].click()")
        until(browser, f"{PLAYING}[3]")
        assert browser.run(PLAYING) == [False, False, False, True]
        assert browser.errors == []


def test_a_click_on_a_spectrogram_goes_there_and_the_end_begins_anew(report, tmp_path):
    with Browser(report.save_as_html(tmp_path / "page.html").as_uri()) as browser:
        browser.run(READY)
        browser.run(
            "(() => { const strip = document.querySelector('.strip'), place = strip.getBoundingClientRect();"
            "const clientX = place.left + 0.95 * place.width;"
            "strip.dispatchEvent(new MouseEvent('click', {clientX, bubbles: true})) })()"
        )
        assert browser.run(AT)[0] == pytest.approx(0.95 * SECONDS, abs=0.05)
        browser.run(PLAY)
        until(browser, f"!{PLAYING}[0] && {AT}[0] > {SECONDS - 0.1}")
        browser.run(PLAY)
        until(browser, f"{PLAYING}[0] && {AT}[0] < 1")


def test_a_keyboard_plays_switches_and_seeks(report, tmp_path):
    with Browser(report.save_as_html(tmp_path / "page.html").as_uri()) as browser:
        browser.run(READY)
        focus = "document.activeElement.matches"
        for _ in range(40):
            browser.press("Tab", 9)
            if browser.run(f"{focus}('.transport button')"):
                break
        browser.press("Enter", 13, "\r")
        until(browser, f"{PLAYING}[0]")
        browser.press("Enter", 13, "\r")
        browser.press("Tab", 9)
        assert browser.run(f"{focus}('input[type=range]')")
        browser.press("End", 35)
        assert browser.run(AT)[0] == pytest.approx(SECONDS, abs=0.05)
        browser.press("Tab", 9)
        assert browser.run(f"{focus}('input[type=radio]')")
        browser.press("ArrowDown", 40)
        assert browser.run("[...document.querySelectorAll('input[type=radio]')].map(one => one.checked)")[1]


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_overflows_no_picture_is_blank_and_colours_follow_the_reader(report, tmp_path, width, dark):
    with Browser(report.save_as_html(tmp_path / "page.html").as_uri(), width=width, dark=dark) as browser:
        assert browser.run("document.documentElement.scrollWidth") <= width
        varied = browser.run(
            "Promise.all([...document.querySelectorAll('img')].map(async one => { await one.decode();"
            "const canvas = new OffscreenCanvas(one.naturalWidth, one.naturalHeight), paint = canvas.getContext('2d');"
            "paint.drawImage(one, 0, 0); return new Set(new Uint32Array("
            "paint.getImageData(0, 0, canvas.width, canvas.height).data.buffer)).size }))"
        )
        assert len(varied) == 5 and min(varied) > 50
        paper, ink = browser.run(
            "[getComputedStyle(document.body).backgroundColor,"
            " getComputedStyle(document.querySelector('svg text')).fill]"
        )
        bright = [sum(map(int, one[4:-1].split(","))) > 380 for one in (paper, ink)]
        assert bright == ([False, True] if dark else [True, False])
        assert browser.errors == []


@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_nothing_that_keeps_readers_out(report, tmp_path, dark):
    with Browser(report.save_as_html(tmp_path / "page.html").as_uri(), dark=dark) as browser:
        assert browser.violations() == []
        browser.run("document.querySelector('.transport button').removeAttribute('aria-label');"
                    "document.querySelector('.transport button').textContent = '';"
                    "document.body.style.color = '#999'; document.body.style.background = '#888'")  # fmt: skip
        assert {one.partition(" ")[0] for one in browser.violations()} >= {"button-name", "color-contrast"}


def test_a_page_prints_in_light_colours_even_where_the_reader_chose_dark(report, tmp_path):
    with Browser(report.save_as_html(tmp_path / "page.html").as_uri(), dark=True) as browser:
        assert browser.pdf().startswith(b"%PDF") and len(browser.pdf()) > 20_000
        browser.call("Emulation.setEmulatedMedia", media="print", features=[])
        assert browser.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert browser.run("getComputedStyle(document.querySelector('.transport')).display") == "none"
