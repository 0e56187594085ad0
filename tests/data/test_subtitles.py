"""Timed text is read whole or refused with the row and the remedy."""

from fractions import Fraction

import pandas as pd
import pytest

from giblet.data.subtitles import Segment, read_segments
from giblet.errors import InputError

F = Fraction
EXPECTED = [Segment(F(1, 2), F(2), "Down the"), Segment(F(2), F(13, 4), "Rabbit & Hole")]

TABLE = "onset\toffset\ttext\n0.5\t2\tDown the\n2.0\t3.25\tRabbit & Hole\n"
SRT = "1\n00:00:00,500 --> 00:00:02,000\n<i>Down</i>\nthe\n\n2\n00:00:02,000 --> 00:00:03,250\nRabbit & Hole\n"
VTT = (
    "WEBVTT - a title\n\nNOTE not\na cue\n\nintro\n00:00.500 --> 00:02.000 align:start\n<v Anna>Down\nthe\n\n"
    "NOTE between\n\nlast\n00:00:02.000 --> 00:00:03.250\nRabbit &amp; Hole\n"
)


def written(tmp_path, name, content, encoding="utf-8"):
    path = tmp_path / name
    path.write_bytes(content.encode(encoding))
    return path


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize(
    ("name", "content"),
    [("a.tsv", TABLE), ("a.csv", TABLE.replace("\t", ",")), ("a.srt", SRT), ("a.vtt", VTT)],
)
def test_all_text_formats_read_the_same_segments(tmp_path, name, content, encoding, ending):
    assert read_segments(written(tmp_path, name, content.replace("\n", ending), encoding)) == EXPECTED


def test_a_workbook_reads_the_same_segments(tmp_path):
    table = pd.DataFrame({"start": [0.5, 2.0], "length": [1.5, 1.25], "word": ["Down the", "Rabbit & Hole"]})
    table.to_excel(tmp_path / "a.xlsx", index=False)
    assert read_segments(tmp_path / "a.xlsx", onset="start", duration="length", text="word") == EXPECTED


def test_words_that_look_like_missing_values_are_words(tmp_path):
    path = written(tmp_path, "a.tsv", 'onset\tduration\ttext\n0\t1\tnull\n1\t1\tNA\n2\t1\t"I\n3\t1\tcan\'t"\n')
    assert [row.text for row in read_segments(path)] == ["null", "NA", '"I', "can't\""]


def test_a_comma_too_many_is_an_error_and_not_a_shorter_text(tmp_path):
    with pytest.raises(InputError, match="row 1: 4 cells, 3 are needed; put text that holds a comma into quotes"):
        read_segments(written(tmp_path, "a.csv", "onset,offset,text\n0,1,Well, then\n"))
    path = written(tmp_path, "b.csv", 'onset,offset,text\n0,1,"Well, then"\n')
    assert read_segments(path)[0].text == "Well, then"


def test_an_empty_cell_of_a_workbook_is_an_empty_text(tmp_path):
    pd.DataFrame({"onset": [0, 1], "offset": [1, 2], "text": ["a", None]}).to_excel(tmp_path / "a.xlsx", index=False)
    with pytest.raises(InputError, match="row 2: the text is empty"):
        read_segments(tmp_path / "a.xlsx")


def test_hours_and_milliseconds_are_exact(tmp_path):
    path = written(tmp_path, "a.srt", "1\n01:02:03,004 --> 27:46:40,999\nx\n")
    assert read_segments(path) == [Segment(F(3_723_004, 1000), F(100_000_999, 1000), "x")]


def test_times_rounded_to_a_millisecond_do_not_count_as_overlap(tmp_path):
    path = written(tmp_path, "a.tsv", "onset\tduration\ttext\n20.622\t0.222\twas\n20.843\t0.472\tbeginning\n")
    assert len(read_segments(path)) == 2


BAD_ROWS = {
    "0\t1\ta\n-0.1\t1\tb": "row 2: onset is -0.1 s, 0 or later",
    "0\t1\ta\n2\t1\tb": "row 2: it ends at 1 s, not after its onset at 2 s",
    "0\t1\ta\n2\t2\tb": "row 2: it ends at 2 s, not after",
    "0\t1\ta\n1\t2\t ": "row 2: the text is empty",
    "0\t1\ta\n1\t2\tn/a": "row 2: the text is empty",
    "5\t6\ta\n1\t2\tb": "row 2: onset 1 s is before that of the row above, 5 s",
    "0\t9\ta\n1\t2\tb\n3\t4\tc": "row 2: it begins at 1 s, before another ends at 9 s",
    "0\t1\ta\nlater\t2\tb": "row 2: onset is 'later', a number of seconds",
    "0\t1\ta\n\t2\tb": "row 2: onset is '', a number of seconds",
    "0\tinf\ta": "row 1: offset is 'inf', a number of seconds",
}


@pytest.mark.parametrize("rows", BAD_ROWS)
def test_a_row_that_cannot_be_used_is_named(tmp_path, rows):
    with pytest.raises(InputError, match=BAD_ROWS[rows]) as caught:
        read_segments(written(tmp_path, "a.tsv", "onset\toffset\ttext\n" + rows + "\n"))
    assert "\n" not in str(caught.value)


def test_what_is_to_be_done_with_such_rows_can_be_said(tmp_path):
    path = written(tmp_path, "a.tsv", "onset\toffset\ttext\n5\t6\tlast\n1\t5.5\tfirst\n2\t3\t\n")
    rows = read_segments(path, order="sort", overlaps="allow", empty="drop")
    assert [row.text for row in rows] == ["first", "last"]


def test_another_encoding_is_an_error_until_it_is_named(tmp_path):
    path = written(tmp_path, "a.srt", SRT.replace("Hole", "Höhle"), "cp1252")
    with pytest.raises(InputError, match=r"is not utf-8-sig .* give its encoding, such as 'cp1252'"):
        read_segments(path)
    assert read_segments(path, encoding="cp1252")[1].text == "Rabbit & Höhle"
    with pytest.raises(InputError, match="encoding 'klingon' is unknown"):
        read_segments(path, encoding="klingon")
    with pytest.raises(InputError, match="probably UTF-16"):
        read_segments(written(tmp_path, "b.srt", SRT, "utf-16-le"))


@pytest.mark.parametrize(("name", "content"), [("a.srt", SRT), ("a.vtt", VTT)])
def test_a_cue_whose_time_line_is_broken_is_not_lost_silently(tmp_path, name, content):
    first, last = content.rsplit(" --> ", 1)
    with pytest.raises(InputError, match=r"is not SubRip|1 of 2 cues can be read"):
        read_segments(written(tmp_path, name, first + " -> " + last))


def test_files_that_are_no_timed_text_are_refused(tmp_path):
    with pytest.raises(InputError, match="no timed text that giblet reads"):
        read_segments(written(tmp_path, "a.docx", ""))
    with pytest.raises(InputError, match="its first line must be WEBVTT"):
        read_segments(written(tmp_path, "a.vtt", SRT))
    with pytest.raises(InputError, match="holds no rows"):
        read_segments(written(tmp_path, "b.srt", ""))
    with pytest.raises(InputError, match="cannot read the table"):
        read_segments(written(tmp_path, "a.tsv", ""))
    with pytest.raises(InputError, match="cannot read the table"):
        read_segments(written(tmp_path, "a.xlsx", TABLE))
    with pytest.raises(InputError, match=r"cannot read .*none\.tsv"):
        read_segments(tmp_path / "none.tsv")
    with pytest.raises(InputError, match="has no column 'word': it has onset, offset, text"):
        read_segments(written(tmp_path, "c.tsv", TABLE), text="word")
    with pytest.raises(InputError, match="both offset and duration"):
        read_segments(written(tmp_path, "d.tsv", TABLE), offset="offset", duration="offset")
    with pytest.raises(InputError, match="order is 'maybe'"):
        read_segments(written(tmp_path, "e.tsv", TABLE), order="maybe")
