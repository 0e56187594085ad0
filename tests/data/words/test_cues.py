"""Each spoken word of SubRip and WebVTT once, at its time."""

import shutil
import subprocess
from fractions import Fraction

import pytest

from giblet.data.words.subtitles import read_segments, read_timed_text
from giblet.errors import InputError

F = Fraction


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


def srt(start, end):
    return f"1\n{start} --> {end}\nword\n\n2\n00:01:00,000 --> 00:01:02,000\nlast\n"


@pytest.mark.parametrize(
    ("time", "seconds"),
    [
        ("00:00:07", 7), ("0:07", 7), ("00:07,250", F("7.25")), ("02:05,000", 125), ("00:00:07,0", 7),
        ("00:00:07.250", F("7.25")), ("00:00:07,2500", F("7.25")), ("00:00:07,123456", F("7.123456")), ("00:00:07,", 7),
    ],
)  # fmt: skip
def test_a_time_of_subrip_is_read_in_the_one_way_it_can_be(written, time, seconds):
    path = written(srt(time, "00:05:00,000"), "a.srt")
    first = min(read_segments(path, overlaps="allow", order="sort"), key=lambda row: row.text == "last")
    assert (first.onset, first.text) == (seconds, "word")


@pytest.mark.parametrize(
    ("time", "said"),
    [
        ("00:00:07,5", r"line 2: 00:00:07,5 may be 7\.5 or 7\.005 seconds, as programs differ: write three digits"),
        ("00:00:07,25", r"line 2: .* may be 7\.25 or 7\.025 seconds"),
        ("00:00:07:500", "line 2: .* is no time line"),
        ("00:00:07，500", "line 2: .* is no time line"),
        ("-00:00:07,500", "line 2: .* is no time line"),
        ("00:00:75,000", "line 2: 00:00:75,000 is no time"),
        ("00:75:00,000", "line 2: 00:75:00,000 is no time"),
    ],
)
def test_a_time_that_can_be_read_in_two_ways_is_refused_with_its_line(written, time, said):
    with pytest.raises(InputError, match=said) as caught:
        read_segments(written(srt(time, "00:05:00,000"), "a.srt"))
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")
def test_the_times_of_subrip_are_those_of_ffmpeg(written, tmp_path):
    content = cues((1.5, 2.25, "<i>one</i>"), (3.001, 4, "two"), (59.999, 60, "three"), form="srt")
    path = written(content.replace("00:00:60,000", "00:01:00,000"), "a.srt")
    subprocess.run(["ffmpeg", "-v", "error", "-i", path, tmp_path / "b.vtt"], check=True)
    assert read_segments(path) == read_segments(tmp_path / "b.vtt")


def test_tags_are_no_part_of_the_words(written):
    text = (
        "<v.loud Anna Lee>It's <c.yellow.bg_blue>AT&amp;T</c>,<br>not <b>3 &lt; 4</b> <lang en-GB>or</lang>\n"
        "<ruby>漢<rt>kan</rt>字<rt>ji</rt></ruby> I <3 it"
    )
    assert words(written(cues((1, 2, text)))) == [(1, 2, "It's AT&T, not 3 < 4 or 漢字 I <3 it")]
    text = '{\\an8}<font color="#ffff00">Up</font> {\\i1}there{\\i0}\\Nand <u>down</u>'
    assert words(written(cues((1, 2, text), form="srt"), "a.srt")) == [(1, 2, "Up there and down")]


def test_words_with_times_of_their_own_begin_at_them(written):
    text = "so<00:00:05.250><c> then</c><00:00:05.500><c> we</c><00:00:06.750><c> left</c><00:00:07.000>"
    assert words(written(cues((5, 8, text)))) == [
        (5, 5.25, "so"), (5.25, 5.5, "then"), (5.5, 6.75, "we"), (6.75, 7, "left")
    ]  # fmt: skip
    # A time within a word does not cut it in two, but for scripts without spaces.
    assert words(written(cues((5, 8, "mid<00:05.500>night sky")))) == [(5, 5.5, "midnight"), (5.5, 8, "sky")]
    assert words(written(cues((5, 8, "我<00:05.500><c>想</c><00:06.500><c>说</c>")))) == [
        (5, 5.5, "我"), (5.5, 6.5, "想"), (6.5, 8, "说")
    ]  # fmt: skip


def test_times_of_words_in_disorder_are_refused_with_the_line(written):
    for text in ("a<00:04.000> b", "a<00:06.000> b<00:05.500> c"):
        with pytest.raises(InputError, match=r"a\.vtt, line 4: the time <00:0\d\.\d00> of a word is before"):
            read_segments(written(cues((5, 8, text))))


ROLLING = cues(
    (0, 1, " \nhello<00:00.300><c> again</c>"),
    (1, 1.01, "hello again\n "),
    (1.01, 2, "hello again\nno<00:01.300><c> no</c><00:01.600><c> no</c>"),
    (2, 2.01, "no no no\n "),
    (2.01, 3, "no no no\nno<00:02.300><c> no</c><00:02.600><c> no</c>"),
    (3, 3.01, "no no no\n "),
    (5, 6, "no no no\nwell"),
    (6, 6.01, " \n "),
    (7, 8, "[Music]"),
)


@pytest.mark.parametrize("stripped", [False, True])
def test_captions_that_roll_up_are_read_once_at_the_times_of_their_words(written, stripped):
    """As YouTube writes them; editors take out the spaces that hold empty lines."""
    content = ROLLING.replace("\n \n", "\n\n") if stripped else ROLLING
    read = read_timed_text(written(content))
    expected = [(0, "hello"), (0.3, "again"), (1.01, "no"), (1.3, "no"), (1.6, "no"), (2.01, "no"), (2.3, "no")]
    assert [(float(row.onset), row.text) for row in read.segments] == [*expected, (2.6, "no"), (5, "well")]
    assert read.repeated_words == 2 + 2 + 3 + 3 + 3 + 3
    assert read.nonspeech_words == 1


@pytest.mark.parametrize("form", ["srt", "vtt"])
def test_lines_that_roll_up_without_times_are_read_once(written, form):
    rows = [(0, 2, "red\ngreen"), (2, 4, "green\nblue sky"), (4, 6, "blue sky\ngrey"), (6, 8, "grey\nblack")]
    path = written(cues(*rows, form=form), f"a.{form}")
    assert words(path) == [(0, 2, "red green"), (2, 4, "blue sky"), (4, 6, "grey"), (6, 8, "black")]


def test_lines_that_grow_word_by_word_are_read_once(written):
    rows = [(0, 1, "red"), (1, 2, "red green"), (2, 3, "red green blue"), (3, 4, "sky")]
    assert words(written(cues(*rows))) == [(0, 1, "red"), (1, 2, "green"), (2, 3, "blue"), (3, 4, "sky")]
    timed = [(0, 1, "and<00:00.400><c> the</c><00:00.600><c> ads</c>"), (1, 2, "and the ads are the leads")]
    assert words(written(cues(*timed)))[-1] == (1, 2, "are the leads")


def test_a_line_whose_marked_word_changes_is_read_once_at_the_times_of_the_marks(written):
    """As Whisper writes them with --highlight_words."""
    rows = [(1, 1.5, "<u>red</u> green blue"), (1.5, 2, "red <u>green</u> blue"), (2, 2.5, "red green blue"),
            (2.5, 3, "red green <u>blue</u>"), (3, 4, "<u>No</u>"), (5, 6, "No")]  # fmt: skip
    assert words(written(cues(*rows))) == [
        (1, 1.5, "red"), (1.5, 2.5, "green"), (2.5, 3, "blue"), (3, 4, "No"), (5, 6, "No")
    ]  # fmt: skip


def test_what_is_said_twice_counts_twice(written):
    rows = [(0, 1, "No!"), (1, 2, "No!"), (3, 4, "Listen to me."), (4, 5, "Listen to me."), (5, 6, "Go.\nNow."),
            (6, 7, "Now.\nWhat?"), (8, 9, "I don't know"), (9, 10, "I don't know why"), (10, 10.3, "very"),
            (10.3, 10.6, "very")]  # fmt: skip
    read = read_timed_text(written(cues(*rows)))
    assert [row.text for row in read.segments] == [" ".join(text.split()) for _, _, text in rows]
    assert read.repeated_words == 0
    assert read.doubts == ("cues that are the one before again, without a pause, count as spoken again: 1",)


def test_text_behind_an_empty_line_is_not_lost(written):
    with pytest.raises(InputError, match=r"line 7: 'and this' stands behind an empty line"):
        read_segments(written(cues((0, 1, "one\n\nand this"), (2, 3, "two"))))
    separated = cues((0, 1, "one"), (2, 3, "two")).replace("2\n", "2\n\n", 1)
    note = "STYLE\n::cue { color: red }\n\nNOTE one\nline\n\nREGION\nid:a\n\n"
    assert [row[2] for row in words(written(note + separated + "NOTE end\n"))] == ["one", "two"]
