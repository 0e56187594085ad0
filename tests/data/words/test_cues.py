"""Each spoken word of SubRip and WebVTT once, at its time."""

import shutil
import subprocess
from fractions import Fraction

import pytest

from giblet.data.words.subtitles import read_segments
from giblet.errors import InputError
from tests.data.words.conftest import cues, words

F = Fraction


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


def test_text_behind_an_empty_line_is_not_lost(written):
    with pytest.raises(InputError, match=r"line 7: 'and this' follows an empty line"):
        read_segments(written(cues((0, 1, "one\n\nand this"), (2, 3, "two"))))
    separated = cues((0, 1, "one"), (2, 3, "two")).replace("2\n", "2\n\n", 1)
    note = "STYLE\n::cue { color: red }\n\nNOTE one\nline\n\nREGION\nid:a\n\n"
    assert [row[2] for row in words(written(note + separated + "NOTE end\n"))] == ["one", "two"]


@pytest.mark.parametrize(
    ("before", "said"),
    [
        ("some title\n", r"line 1 \('some title'\) stands before the first cue; a cue begins with a line such"),
        ("\n7" * 2 + "\n", r"line 2 \('7'\) stands before the first cue"),
        ("9" * 60 + "\n", r"line 1 .* stands before the first cue"),
    ],
)
def test_what_stands_before_the_first_cue_of_subrip_is_refused(written, before, said):
    path = written(before + srt("00:00:07,000", "00:00:08,000")[2:], "a.srt")
    with pytest.raises(InputError, match=said):
        read_segments(path)


@pytest.mark.parametrize("before", ["", "\n \n\n", "12\n", "\n-1\n\n", "3.5 \n"])
def test_the_first_cue_of_subrip_may_have_a_number_and_empty_lines_before_it(written, before):
    path = written(before + srt("00:00:07,000", "00:00:08,000")[2:], "a.srt")
    assert words(path) == [(7, 8, "word"), (60, 62, "last")]


def test_text_without_any_cue_is_no_subrip(written):
    with pytest.raises(InputError, match=r"a.srt is not SubRip: line 3 \('hello'\)"):
        read_segments(written("\n\nhello\nworld\n", "a.srt"))


def test_a_line_that_begins_with_hundreds_of_digits_is_refused(written):
    """srt 3.5.3 looks at each for the number of a cue, in a time that grows with the square of their number."""
    path = written(srt("00:00:07,000", "00:00:08,000").replace("word", "3" * 300), "a.srt")
    with pytest.raises(InputError, match=r"a line begins with 300 digits \(33333333333333333333\.\.\.\); break it up"):
        read_segments(path)
    path = written(srt("00:00:07,000", "00:00:08,000").replace("word", "3." + "1" * 300), "a.srt")
    assert words(path)[0][2] == "3." + "1" * 300


@pytest.mark.parametrize("name", ["a.srt", "a.vtt"])
@pytest.mark.parametrize("unit", ["<a", "<a ", "{\\", "{a:", "9.9\n", "a\n\n9\n", "NOTE\n\n"])
def test_reading_takes_a_time_that_grows_with_the_text(written, name, unit):
    """With its square it would be minutes."""
    found = words(written(cues((1, 2, "one " + unit * 100_000), (3, 4, "two"), form=name[-3:]), name))
    assert found[0][2].startswith("one ") and found[1:] == [(3, 4, "two")]


@pytest.mark.parametrize("name", ["a.srt", "a.vtt"])
def test_the_number_of_a_character_that_is_none_is_named(written, name):
    with pytest.raises(InputError, match=r"line \d: '&#9999.*' holds a character's number that is none"):
        read_segments(written(cues((1, 2, f"&#{'9' * 5000};"), form=name[-3:]), name))
    assert words(written(cues((1, 2, "a&#233;b"), form=name[-3:]), name)) == [(1, 2, "aéb")]
