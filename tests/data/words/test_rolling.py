"""Captions that show a line again: each spoken word is read once."""

import pytest

from giblet.data.words.subtitles import read_timed_text
from tests.data.words.conftest import cues, words

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
