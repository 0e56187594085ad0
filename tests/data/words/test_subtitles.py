"""Timed text is read whole or refused with the row and the remedy."""

from fractions import Fraction

import pandas as pd
import pytest

from giblet.data.words.subtitles import Segment, read_segments, read_timed_text
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
    assert (
        read_segments(tmp_path / "a.xlsx", onset_column="start", duration_column="length", text_column="word")
        == EXPECTED
    )


def test_words_that_look_like_missing_values_are_words(tmp_path):
    path = written(tmp_path, "a.tsv", 'onset\tduration\ttext\n0\t1\tnull\n1\t1\tNA\n2\t1\t"I\n3\t1\tcan\'t"\n')
    assert [row.text for row in read_segments(path)] == ["null", "NA", '"I', "can't\""]


def test_a_comma_too_many_is_an_error_and_not_a_shorter_text(tmp_path):
    with pytest.raises(InputError, match="row 1: 4 cells, expected 3; put text that holds a comma into quotes"):
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
    "0\t1\ta\n-0.1\t1\tb": "row 2: onset -0.1 s is before that of the row above, 0 s",
    "0\t1\ta\n2\t1\tb": "row 2: it ends at 1 s, before its onset at 2 s",
    "0\t1\ta\nn/a\t2\tb": "row 2: onset is 'n/a', expected a number of seconds; .* set untimed='drop'",
    "0\t1\ta\n0,5\t2\tb": "row 2: onset is '0,5', .* if that is a decimal comma, set decimal=','",
    "0\t1\ta\n1\t2\t ": "row 2: the text is empty",
    "0\t1\ta\n1\t2\tn/a": "row 2: the text is empty",
    "5\t6\ta\n1\t2\tb": "row 2: onset 1 s is before that of the row above, 5 s",
    "0\t9\ta\n1\t2\tb\n3\t4\tc": "row 2: it begins at 1 s, before another ends at 9 s",
    "0\t1\ta\n3/2\t2\tb": "row 2: onset is '3/2', expected a number of seconds",
    "0\t1\ta\nlater\t2\tb": "row 2: onset is 'later', expected a number of seconds",
    "0\t1\ta\n\t2\tb": "row 2: onset is '', expected a number of seconds",
    "0\tinf\ta": "row 1: offset is 'inf', expected a number of seconds",
}


@pytest.mark.parametrize("rows", BAD_ROWS)
def test_a_row_that_cannot_be_used_is_named(tmp_path, rows):
    with pytest.raises(InputError, match=BAD_ROWS[rows]) as caught:
        read_segments(written(tmp_path, "a.tsv", "onset\toffset\ttext\n" + rows + "\n"))
    assert "\n" not in str(caught.value)


def test_unusable_rows_are_dropped_or_sorted_when_asked(tmp_path):
    path = written(tmp_path, "a.tsv", "onset\toffset\ttext\n5\t6\tlast\n1\t5.5\tfirst\n2\t3\t\n")
    rows = read_segments(path, order="sort", overlaps="allow", empty="drop")
    assert [row.text for row in rows] == ["first", "last"]


def test_another_encoding_is_an_error_until_it_is_named(tmp_path):
    path = written(tmp_path, "a.srt", SRT.replace("Hole", "Höhle"), "cp1252")
    with pytest.raises(InputError, match=r"is not utf-8-sig .* pass its encoding, such as 'cp1252'"):
        read_segments(path)
    assert read_segments(path, encoding="cp1252")[1].text == "Rabbit & Höhle"
    with pytest.raises(InputError, match="encoding 'klingon' is unknown"):
        read_segments(path, encoding="klingon")
    with pytest.raises(InputError, match="probably UTF-16"):
        read_segments(written(tmp_path, "b.srt", SRT, "utf-16-le"))


@pytest.mark.parametrize(("name", "content"), [("a.srt", SRT), ("a.vtt", VTT)])
def test_a_cue_whose_time_line_is_broken_is_not_lost_silently(tmp_path, name, content):
    first, last = content.rsplit(" --> ", 1)
    line = 1 + first.count("\n")
    for arrow in (" -> ", " –> ", " - ", " → "):
        with pytest.raises(
            InputError, match=rf"{name}, line {line}: .* is no time line; expected 00:00:01[.,]000 --> "
        ):
            read_segments(written(tmp_path, name, first + arrow + last))


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
    with pytest.raises(InputError, match=r"has no column 'word': it has onset, offset, text; .*, text_column=\.\.\."):
        read_segments(written(tmp_path, "c.tsv", TABLE), text_column="word")
    with pytest.raises(InputError, match=r"has no header, .* its first row is 0\.5, 2, Down the"):
        read_segments(written(tmp_path, "f.tsv", TABLE.split("\n", 1)[1]))
    with pytest.raises(InputError, match="has more than one column 'text'"):
        read_segments(written(tmp_path, "g.tsv", "onset\toffset\ttext\ttext\n0\t1\ta\tb\n"))
    with pytest.raises(InputError, match="both offset_column and duration_column"):
        read_segments(written(tmp_path, "d.tsv", TABLE), offset_column="offset", duration_column="offset")
    with pytest.raises(InputError, match="order is 'maybe'"):
        read_segments(written(tmp_path, "e.tsv", TABLE), order="maybe")
    with pytest.raises(InputError, match="time_unit is 'min'; expected one of s, ms"):
        read_segments(written(tmp_path, "e.tsv", TABLE), time_unit="min")
    with pytest.raises(InputError, match="time_unit='ms' and decimal=',' are for tables"):
        read_segments(written(tmp_path, "e.srt", SRT), time_unit="ms")


def test_onsets_before_zero_and_events_without_a_length_are_rows(tmp_path):
    path = written(tmp_path, "a.tsv", "onset\tduration\ttext\n-2.5\t1\tbefore\n-0.5\t1\tacross\n1\t0\tclick\n")
    assert read_segments(path) == [
        Segment(F(-5, 2), F(-3, 2), "before"), Segment(F(-1, 2), F(1, 2), "across"), Segment(F(1), F(1), "click")
    ]  # fmt: skip


def test_rows_without_times_are_left_out_when_asked_and_counted(tmp_path):
    rows = "onset\tduration\ttext\n0\t1\tone\nn/a\tn/a\ttwo\n2\tn/a\tthree\n\t\tfour\n4\tNaN\tfive\n5\t1\tsix\n"
    read = read_timed_text(written(tmp_path, "a.tsv", rows), untimed="drop")
    assert [row.text for row in read.segments] == ["one", "six"]
    assert read.untimed_rows == 4
    with pytest.raises(InputError, match="none of 1 rows has both onset and duration"):
        read_segments(written(tmp_path, "b.tsv", "onset\tduration\ttext\n1\tn/a\ta\n"), untimed="drop")


def test_what_nobody_says_is_left_out_by_default_and_counted(tmp_path):
    content = (
        "WEBVTT\n\n00:00.000 --> 00:02.000\n[MUSIC PLAYING]\n\n"
        "00:02.000 --> 00:04.000\n<v John>JOHN: I know. (sighs)\n\n"
        "00:04.000 --> 00:06.000\n- &gt;&gt; Who?\n- You.\n\n00:06.000 --> 00:08.000\n♪ la la la ♪\n"
    )
    path = written(tmp_path, "a.vtt", content)
    read = read_timed_text(path)
    assert [(row.onset, row.text) for row in read.segments] == [(2, "I know."), (4, "Who? You.")]
    assert read.nonspeech_words == 2 + 2 + 3
    kept = read_timed_text(path, nonspeech="keep")
    assert [row.text for row in kept.segments] == [
        "[MUSIC PLAYING]",
        "JOHN: I know. (sighs)",
        "- >> Who? - You.",
        "♪ la la la ♪",
    ]
    assert kept.nonspeech_words == 0
    with pytest.raises(InputError, match="all 1 rows are empty, or hold what nobody says; nonspeech='keep'"):
        read_segments(written(tmp_path, "b.srt", "1\n00:00:01,000 --> 00:00:02,000\n(door slams)\n"))


def test_decimal_commas_of_times_are_read_when_asked_for(tmp_path):
    path = written(tmp_path, "a.csv", TABLE.replace(".", ",").replace("\t", ";"))
    assert read_segments(path, decimal=",") == EXPECTED
    sheet = pd.DataFrame({"onset": ["0,5", 2], "offset": [2, 3.25], "text": ["Down the", "Rabbit & Hole"]})
    sheet.to_excel(tmp_path / "a.xlsx", index=False)
    assert read_segments(tmp_path / "a.xlsx", decimal=",") == EXPECTED
    with pytest.raises(InputError, match="has a point, and the decimal sign is set to a comma"):
        read_segments(written(tmp_path, "b.csv", TABLE.replace("\t", ";")), decimal=",")


@pytest.mark.parametrize("name", ["a.tsv", "a.csv", "a.xlsx"])
@pytest.mark.parametrize("form", ["plain", "index", "short header", "comment", "semicolons"])
def test_word_tables_are_read_by_their_header_whatever_wrote_them(tmp_path, name, form):
    frame = pd.DataFrame({"onset": [0.5, 2.0], "offset": [2.0, 3.25], "text": ["Down the", "Rabbit & Hole"]})
    path, separator = tmp_path / name, {"a.tsv": "\t", "a.csv": ","}.get(name, "")
    if not separator:
        frame.to_excel(path, index=form != "plain", startrow=3 * (form == "comment"))
    elif form == "semicolons":
        frame.to_csv(path, sep=";", index=False)
    else:
        content = frame.to_csv(sep=separator, index=form in ("index", "short header"))
        if form == "short header":
            content = content.removeprefix(separator)
        path.write_text("# words of chapter 1\n" * (form == "comment") + content, encoding="utf-8")
    assert read_segments(path) == EXPECTED


def test_a_quotation_mark_never_swallows_the_rows_below_it(tmp_path):
    with pytest.raises(InputError, match="is there a quotation mark too many, or too few"):
        read_segments(written(tmp_path, "a.csv", "onset,offset,text\n0,1,\"I\n1,2,can't\n"))


def test_errors_name_the_separator_of_the_file(tmp_path):
    with pytest.raises(InputError, match="row 1: 4 cells, expected 3; put text that holds a semicolon into quotes"):
        read_segments(written(tmp_path, "a.csv", "onset;offset;text\n0;1;Well; then\n1;2;so\n"))
    with pytest.raises(InputError, match="row 1: 4 cells, expected 3; put text that holds a tab into quotes"):
        read_segments(written(tmp_path, "a.tsv", "onset\toffset\ttext\n0\t1\tWell\tthen\n1\t2\tso\n"))


@pytest.mark.parametrize(
    ("module", "name", "file"),
    [("srt", "parse", "a.srt"), ("webvtt", "from_buffer", "a.vtt"), ("pandas", "read_excel", "a.xlsx")],
)
@pytest.mark.parametrize(
    "raised", [KeyError("x"), IndexError("list index out of range"), TypeError("a\nb"), EOFError()]
)
def test_whatever_a_library_raises_is_one_line(tmp_path, monkeypatch, module, name, file, raised):
    def broken(*args, **options):
        raise raised

    monkeypatch.setattr(f"{module}.{name}", broken)
    with pytest.raises(InputError, match=r"cannot read .*" + file) as caught:
        read_segments(written(tmp_path, file, SRT if file == "a.srt" else VTT))
    assert "\n" not in str(caught.value)


def spoken(step, length, words=2, n=20):
    """A table of as many rows, each of so many words."""
    return "onset\tduration\ttext\n" + "".join(f"{k * step:g}\t{length:g}\t{'word ' * words}\n" for k in range(n))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            spoken(300, 240, 1),
            r"a word lasts 240 s \(median\), the text 5940 s, 1\.65 hours: are the times in milliseconds",
        ),
        (spoken(2500, 2400, 5), "a word lasts 480 s .* in milliseconds"),
        (spoken(13230, 11025, 1), "a word lasts 11025 s .* hours: are the times in samples or frames"),  # at 44.1 kHz
        (spoken(5300, 4800, 1), r"in samples or frames\? Divide them by their rate, or set time_unit='s'"),  # 16 kHz
        (spoken(12000, 11800, 2), "are the times in samples or frames"),  # 5.9 s a word in milliseconds
        (spoken(1600, 1400, 1), r"are the times in milliseconds\? Set time_unit='ms'. Or in samples or frames"),
        (spoken(300, 0, 1), "a word lasts 300 s .* in milliseconds"),
        (spoken(0.005, 0.004, 1), r"a word lasts 0\.005 s .* are the times in minutes"),
    ],
)
def test_times_that_cannot_be_seconds_are_asked_about(tmp_path, content, said):
    path = written(tmp_path, "a.tsv", content)
    with pytest.raises(InputError, match=said):
        read_segments(path)
    assert len(read_segments(path, time_unit="s")) == 20


def test_milliseconds_are_seconds_once_it_is_said(tmp_path):
    inside = read_segments(written(tmp_path, "a.tsv", spoken(300, 240)), time_unit="ms")
    assert inside == read_segments(written(tmp_path, "b.tsv", spoken(0.3, 0.24)))
    with pytest.raises(InputError, match="in minutes"):
        read_segments(written(tmp_path, "b.tsv", spoken(0.3, 0.24)), time_unit="ms")


@pytest.mark.parametrize("per_second", [25, 30, 60])
def test_words_in_frames_are_doubted(tmp_path, per_second):
    path = written(tmp_path, "a.tsv", spoken(round(0.25 * per_second), round(0.19 * per_second), 1))
    (doubt,) = read_timed_text(path).doubts
    assert "a word lasts" in doubt and "if the times are in frames, samples or another unit" in doubt
    assert not read_timed_text(path, time_unit="s").doubts


def test_samples_that_are_read_as_milliseconds_are_doubted_again(tmp_path):
    path = written(tmp_path, "a.tsv", spoken(5300, 4800, 1))
    (doubt,) = read_timed_text(path, time_unit="ms").doubts
    assert "a word lasts 4.8 s" in doubt and "in milliseconds as they were read" in doubt and "samples" in doubt


def test_sentences_may_stand_longer_than_a_word_is_spoken(tmp_path):
    assert not read_timed_text(written(tmp_path, "a.tsv", spoken(20, 16, 4))).doubts


def test_a_part_of_a_stream_is_told_of_as_its_times_are_of_another_clock(tmp_path):
    cue = "\n\n00:00:01.000 --> 00:00:02.000\nhello there\n"
    for line, told in [
        ("X-TIMESTAMP-MAP=MPEGTS:900000,LOCAL:00:00:00.000", "second 0 on second 10 of a stream"),
        ("X-TIMESTAMP-MAP=LOCAL:00:00:04.500,MPEGTS:180000", "second 4.5 on second 2 of a stream"),
        ("X-TIMESTAMP-MAP=MPEGTS:0,LOCAL:00:00:00.000", ""),
        ("X-TIMESTAMP-MAP=MPEGTS:900000,LOCAL:00:00:10.000", ""),
    ]:
        read = read_timed_text(written(tmp_path, "a.vtt", f"WEBVTT\n{line}{cue}"))
        assert [(row.onset, row.text) for row in read.segments] == [(1, "hello there")]
        assert [told in doubt for doubt in read.doubts] == ([True] if told else [])


def test_onsets_alone_are_read_as_events_when_asked(tmp_path):
    rows = "onset\tduration\ttext\n0\t1\tone\n2\tn/a\ttwo\n4\t\tthree\n"
    path = written(tmp_path, "a.tsv", rows)
    with pytest.raises(InputError, match=r"row 2: duration is 'n/a', .* set untimed='instant' .* or untimed='drop'"):
        read_segments(path)
    read = read_timed_text(path, untimed="instant")
    assert [(row.onset, row.offset, row.text) for row in read.segments] == [
        (0, 1, "one"), (2, 2, "two"), (4, 4, "three")
    ]  # fmt: skip
    assert read.untimed_rows == 0
    with pytest.raises(InputError, match=r"row 4: onset is 'n/a', .* set untimed='drop' to leave the row out"):
        read_segments(written(tmp_path, "b.tsv", rows + "n/a\t1\tfour\n"), untimed="instant")


def test_times_that_are_hardly_seconds_are_doubted(tmp_path):
    doubts = read_timed_text(written(tmp_path, "a.tsv", spoken(8, 7, 1))).doubts  # frames at 25 Hz
    assert len(doubts) == 1 and "a word lasts 7 s" in doubts[0] and "frames" in doubts[0]
    (doubt,) = read_timed_text(written(tmp_path, "b.tsv", spoken(300, 0.25, 1))).doubts  # onsets alone in milliseconds
    assert "300 s lie between onsets" in doubt and "milliseconds" in doubt
    assert not read_timed_text(written(tmp_path, "c.tsv", spoken(4, 1.8, 1))).doubts
    assert not read_timed_text(written(tmp_path, "f.tsv", spoken(0.4, 0.001, 1))).doubts
    assert not read_timed_text(written(tmp_path, "g.tsv", spoken(300, 0, 1, n=2))).doubts
    assert not read_timed_text(written(tmp_path, "d.tsv", spoken(0.4, 0.15, 1))).doubts
    assert not read_timed_text(written(tmp_path, "e.tsv", "onset\tduration\ttext\n0\t12\tcredits\n")).doubts
