"""What annotators and aligners write is read as words with their times, or refused with the remedy."""

import json
from fractions import Fraction

import pytest

from giblet.data.text import TextProcessor
from giblet.data.words.annotations import read_textgrid, write_textgrid
from giblet.data.words.subtitles import Segment, read_segments, read_timed_text
from giblet.errors import InputError

pytest.importorskip("praatio")
F = Fraction
EXPECTED = [Segment(F(1, 2), F(1), "Down"), Segment(F(1), F("1.25"), "thé"), Segment(F(2), F(3), 'say "hole"')]
ROWS = [(0, 0.5, "sp"), (0.5, 1, "Down"), (1, 1.25, "thé"), (1.25, 2, ""), (2, 3, 'say "hole"')]
PHONES = [(0.5, 1, "D"), (1, 1.25, "DH"), (2, 3, "HH")]


def long_form(tiers, end=3):
    """A TextGrid as Praat's "Save as text file" writes it."""
    head = f'File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0 \nxmax = {end} \ntiers? <exists> \n'
    text = head + f"size = {len(tiers)} \nitem []: \n"
    for k, (name, rows) in enumerate(tiers.items(), 1):
        text += f'    item [{k}]:\n        class = "IntervalTier" \n        name = "{name}" \n        xmin = 0 \n'
        text += f"        xmax = {end} \n        intervals: size = {len(rows)} \n"
        for number, (onset, offset, label) in enumerate(rows, 1):
            quoted = label.replace('"', '""')
            text += f"        intervals [{number}]:\n            xmin = {onset} \n            xmax = {offset} \n"
            text += f'            text = "{quoted}" \n'
    return text


def short_form(tiers, end=3):
    """A TextGrid as Praat's "Save as short text file" writes it."""
    text = f'File type = "ooTextFile"\nObject class = "TextGrid"\n\n0\n{end}\n<exists>\n{len(tiers)}\n'
    for name, rows in tiers.items():
        text += f'"IntervalTier"\n"{name}"\n0\n{end}\n{len(rows)}\n'
        for onset, offset, label in rows:
            quoted = label.replace('"', '""')
            text += f'{onset}\n{offset}\n"{quoted}"\n'
    return text


@pytest.fixture
def grid(tmp_path):
    def write(content, encoding="utf-8", name="a.TextGrid"):
        path = tmp_path / name
        path.write_bytes(content.encode(encoding))
        return path

    return write


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
@pytest.mark.parametrize("form", [long_form, short_form])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_praats_forms_and_encodings_read_the_same_words(grid, form, encoding, ending):
    path = grid(form({"words": ROWS, "phones": PHONES}).replace("\n", ending), encoding)
    given = {"encoding": "latin-1"} if encoding == "latin-1" else {}
    assert read_segments(path, **given) == EXPECTED


def test_utf16_without_the_usual_order_of_bytes_is_read(grid, tmp_path):
    path = tmp_path / "b.TextGrid"
    path.write_bytes(b"\xfe\xff" + long_form({"word": ROWS}).encode("utf-16-be"))
    assert read_segments(path) == EXPECTED


def test_silence_of_penn_and_mfa_is_no_word_and_is_kept_if_asked(grid):
    rows = [(0, 1, "{SL}"), (1, 2, "sp"), (2, 3, "<eps>"), (3, 4, "SP1"), (4, 5, "spa")]
    path = grid(long_form({"word": rows}, 5))
    assert [row.text for row in read_segments(path)] == ["SP1", "spa"]
    assert len(read_segments(path, nonspeech="keep")) == 5


def test_the_tier_of_words_is_found_or_must_be_named(grid):
    two = grid(long_form({"anna - words": ROWS, "anna - phones": PHONES}))
    assert read_segments(two) == EXPECTED
    assert [row.text for row in read_segments(two, tier="anna - phones")] == ["D", "DH", "HH"]
    speakers = grid(long_form({"anna - words": ROWS, "ben - words": PHONES}), name="b.TextGrid")
    with pytest.raises(InputError, match=r"2 tiers of words \(anna - words, ben - words\): name the one to read, tier"):
        read_segments(speakers)
    with pytest.raises(InputError, match="has no tier 'words': it has anna - words, ben - words"):
        read_segments(speakers, tier="words")
    with pytest.raises(InputError, match="2 tiers, none of them called words"):
        read_segments(grid(long_form({"a": ROWS, "b": ROWS}), name="c.TextGrid"))
    with pytest.raises(InputError, match=r"tier is 'words', but a.tsv is no TextGrid"):
        read_segments(grid("onset\toffset\ttext\n0\t1\ta\n", name="a.tsv"), tier="words")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (long_form({"words": [(0, 1.5, "a"), (1, 3, "b")]}), "overlap in time.*correct these intervals in Praat"),
        (long_form({"words": [(2, 1, "a")]}), r"start time of an interval \(2.0\) cannot occur after"),
        (long_form({"words": []}), "tier 'words' is empty: none of its 0 intervals holds a word; there is no other"),
        (long_form({"words": [(0, 3, "")], "b": PHONES}), r"is empty: none of its 1 intervals.*read another, .*\(b\)"),
        (long_form({"words": [(0, 1, "sp"), (1, 3, "sil")]}), "none of its 2 intervals holds a word"),
        (long_form({"words": ROWS})[:-90], "its tier 1 says that it has 5 intervals, but 4 are there: it is cut short"),
        (short_form({"words": ROWS})[:-20], "its tier 1 says that it has 5 intervals, but 3 are there"),
        ("hello", "cannot read a.TextGrid"),
    ],
)
def test_a_textgrid_that_overlaps_is_empty_or_cut_is_refused(grid, content, message):
    with pytest.raises(InputError, match=message) as raised:
        read_segments(grid(content))
    assert "\n" not in str(raised.value)


def test_a_written_textgrid_reads_back(tmp_path):
    path = tmp_path / "a.TextGrid"
    write_textgrid(path, {"words": [row for row in ROWS if row[2]], "phones": PHONES}, 4.0)
    assert read_segments(path) == EXPECTED
    assert [cue.text for cue in read_textgrid(path, tier="phones")] == ["D", "DH", "HH"]
    assert "xmax = 4" in path.read_text()


WORDS = [("Alice", 0.5, 0.9), ("was", 0.9, 1.1), ("3rd", None, None)]
GENTLE = {
    "transcript": "Alice was 3rd",
    "words": [
        {"alignedWord": "alice", "case": "success", "word": "Alice", "start": 0.5, "end": 0.9, "phones": []},
        {"alignedWord": "was", "case": "success", "word": "was", "start": 0.9, "end": 1.1, "phones": []},
        {"case": "not-found-in-audio", "word": "3rd", "startOffset": 10, "endOffset": 13},
    ],
}
TIMED = [{"word": "Alice", "start": 0.5, "end": 0.9, "score": 0.9}, {"word": "was", "start": 0.9, "end": 1.1}]
WHISPERX = {
    "segments": [{"start": 0.5, "end": 1.4, "text": " Alice was 3rd", "words": [*TIMED, {"word": "3rd"}]}],
    "word_segments": [*TIMED, {"word": "3rd"}],
}


@pytest.mark.parametrize("content", [GENTLE, WHISPERX, {"word_segments": WHISPERX["word_segments"]}])
def test_json_of_gentle_and_whisperx_reads_the_same_words(grid, content):
    path = grid(json.dumps(content), name="a.json")
    with pytest.raises(InputError, match=r"word 3: '3rd' was not found in the sound.*set untimed='drop'"):
        read_segments(path)
    read = read_timed_text(path, untimed="drop")
    assert [(row.text, row.onset, row.offset) for row in read.segments] == [
        ("Alice", F(1, 2), F(9, 10)),
        ("was", F(9, 10), F(11, 10)),
    ]
    assert read.untimed_rows == 1
    rate = TextProcessor(tr=1.0, model=None, untimed="drop").extract(path).word_rate.values
    assert rate.tolist() == [2, 0]


def test_segments_of_whisper_without_words_are_sentences(grid):
    content = {"text": "", "segments": [{"start": 0, "end": 2, "text": " Alice was"}], "language": "en"}
    assert read_segments(grid(json.dumps(content), name="a.json")) == [Segment(F(0), F(2), "Alice was")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"monologues": [], "job": 3},
            "an aligner that giblet does not know: its fields are monologues, job; expected",
        ),
        ([], "does not know: it holds a list"),
        ({}, "it is empty"),
        ({"words": [{"word": "a", "begin": 0}]}, "does not know: its fields are words"),
        ({"words": [{"word": "a", "case": "success", "start": "0", "end": 1}]}, "word 1: its time is '0'"),
        ({"words": [{"word": "a", "case": "success", "start": float("nan"), "end": 1}]}, "expected a finite number"),
        ({"words": [{"word": "a", "case": "not-found-in-audio"}]}, "none of 1 words has times"),
    ],
)
def test_json_of_an_unknown_aligner_or_with_bad_times_is_refused(grid, content, message):
    with pytest.raises(InputError, match=message):
        read_segments(grid(json.dumps(content), name="a.json"), untimed="drop")


def test_json_that_is_cut_is_refused(grid):
    with pytest.raises(InputError, match=r"cannot read a\.json .*no JSON, or cut short"):
        read_segments(grid(json.dumps(GENTLE)[:-5], name="a.json"))


def test_events_of_bids_are_read_by_the_column_of_words(grid):
    path = grid("onset\tduration\ttrial_type\tword\n0.5\t0.4\tword\tAlice\n0.9\tn/a\tword\twas\n", name="a_events.tsv")
    rows = read_segments(path, text_column="word", untimed="instant")
    assert rows == [Segment(F(1, 2), F(9, 10), "Alice"), Segment(F(9, 10), F(9, 10), "was")]
