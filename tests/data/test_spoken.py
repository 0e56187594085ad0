"""Words that nobody says are left out by rules that a user can predict, and words that are said never."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from giblet.data.spoken import spoken_part

LONG = "and so the rest of this file is written in small letters"


def said(*texts, subtitles=True):
    return [" ".join(text.split()) for text in spoken_part([*texts, LONG], subtitles=subtitles)][:-1]


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("[MUSIC]", ""), ("[тихая музыка]", ""), ("【拍手】", ""), ("Hello [laughs] there", "Hello there"),
        ("JOHN: Hello", "Hello"), ("MRS. O'BRIEN: Come", "Come"), ("MAN #2 (V.O.): Yes", "Yes"), ("Q: Why?", "Why?"),
        (">> JOHN: Hi. >> ANN: Ho.", "Hi. Ho."), (">>> And now", "And now"), ("[door] JOHN: Hi", "Hi"),
        ("- Hello.\n- Bye.", "Hello. Bye."), ("-Hello.\n–Bye.", "Hello. Bye."), ("ИВАН: Да", "Да"),
        ("♪ la la ♪", ""), ("♪ la\nla ♪", ""), ("♪ la\n♪ la", ""), ("la la ♪", ""), ("♪♪", ""),
        ("♪ la ♪ Hello", "Hello"), ("Hello. ♪ la la", "Hello."), ("- ♪ la la\n- Hello", "Hello"),
        ("# la la #", ""), ("# la\nla #", ""),
        ("(laughs)", ""), ("(door slams\nin the hall)", ""), ("Who?\n(knocking)", "Who?"), ("（笑）", ""),
    ],
)  # fmt: skip
def test_sounds_songs_and_speakers_are_left_out(text, left):
    assert said(text) == [left]
    assert said(text, subtitles=False) == [left]


@pytest.mark.parametrize(
    "text",
    [
        "Alice (thought the rabbit) ran", "Alice (thought the rabbit)", "(I", "think)", "John: hello", "it is 10:30",
        "at 10: the news", "I said: no", "the #1 in town", "# 1 is best", "#metoo", "press # to go", "well-known - yes",
        "[ __ ] you", "*really*", "3 > 2", "O'Neill", "WHAT", "- ",
    ],
)  # fmt: skip
def test_what_may_be_said_is_kept(text):
    assert said(text, subtitles=False) == [" ".join(text.split())]
    assert said(text) == [" ".join(text.split())]


def test_round_brackets_between_sentences_are_sounds_in_subtitles_only():
    for text, left in [
        ("(laughs) Hello", "Hello"),
        ("I know. (sighs)", "I know."),
        ("- (laughs) Yes.\n- No.", "Yes. No."),
        ("JOHN: (laughs) Yes", "Yes"),
        ("I do (SIGHS) not", "I do not"),
    ]:
        assert said(text) == [left]
        kept = text.replace("JOHN: ", "").replace("- ", "")
        assert said(text, subtitles=False) == [" ".join(kept.split())]


def test_brackets_that_hold_several_rows_of_a_word_table_are_left_out():
    assert said("so", "[soft", "piano", "music]", "she", "(said", "it)", subtitles=False) == [
        "so", "", "", "", "she", "(said", "it)"
    ]  # fmt: skip


def test_in_a_text_of_capitals_a_name_counts_behind_the_sign_of_a_speaker_only():
    texts = ["THE MAYOR SAID: NO", ">> REPORTER: WHY", "(SIGHS) I DO", "THIS (USA) TOO"]
    assert [" ".join(t.split()) for t in spoken_part(texts, subtitles=True)] == [
        "THE MAYOR SAID: NO", "WHY", "I DO", "THIS (USA) TOO"
    ]  # fmt: skip


@given(st.lists(st.text(st.sampled_from("aB1 [](){}♪#:>-–.!\n"), max_size=30), max_size=5), st.booleans())
def test_words_keep_their_places_and_none_is_made(texts, subtitles):
    left = spoken_part(texts, subtitles=subtitles)
    assert [len(text) for text in left] == [len(text) for text in texts]
    for before, after in zip(texts, left, strict=True):
        assert all(b == a or a == " " for b, a in zip(before, after, strict=True))


@given(st.lists(st.text(st.characters(categories=["Ll", "Lu", "Nd"], include_characters=" ,.!?'\""), max_size=40)))
def test_plain_text_is_never_changed(texts):
    assert spoken_part(texts, subtitles=False) == texts
    assert spoken_part(texts, subtitles=True) == texts
