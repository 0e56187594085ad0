"""Words that nobody says are left out by rules that a user can predict, and words that are said never."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from giblet.data.words.spoken import spoken_part, words_in

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
        ("JOHN (on phone): Stop", "Stop"), ("MAN 2 (over the radio): Go", "Go"), ("((laughs))", ""),
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
        "[ __ ] you", "I *really* mean it", "3 > 2", "5 * 3 * 2",
        "F*CK and S*IT", "John (on the phone): hello", "O'Neill", "WHAT", "- ",
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
        ("((laughs)) Hello", "Hello"),
        ("„Ja.“ (lacht)", "„Ja.“"),
        ("*sighs* Okay", "Okay"),
        ("Who?\n*knocking*", "Who?"),
        ("so *THUD* he fell", "so he fell"),
    ]:
        assert said(text) == [left]
        kept = text.replace("JOHN: ", "").replace("- ", "")
        assert said(text, subtitles=False) == [" ".join(kept.split())]


def test_brackets_that_hold_several_rows_of_a_word_table_are_left_out():
    assert said("so", "[soft", "piano", "music]", "she", "(said", "it)", subtitles=False) == [
        "so", "", "", "", "she", "(said", "it)"
    ]  # fmt: skip


CAPITALS = {
    "JOHN: COME HERE NOW": "COME HERE NOW",
    ">> REPORTER: WHY": "WHY",
    "DR. ANN SMITH: YES": "YES",
    "MAN #2 (ON PHONE): YES": "YES",
    "(SIGHS)\nMARY: NO": "NO",
    "THAT IS IT.\nMARY: WHAT?": "THAT IS IT. WHAT?",
    "- YES.\n- JOHN: NO.": "YES. NO.",
    "I WENT HOME (SIGHS)": "I WENT HOME",
    "I WENT HOME (DOOR SLAMS)\nNO": "I WENT HOME NO",
    "(SIGHS) I DO": "I DO",
    "*SIGHS*": "",
    "THIS (USA) TOO": "THIS (USA) TOO",
    "THE MAYOR SAID: NO": "THE MAYOR SAID: NO",
    "HE SAID: NO": "HE SAID: NO",
    "AND THEN HE SAYS\nTHE TIME: 5 PM": "AND THEN HE SAYS THE TIME: 5 PM",
    "AND THE WORD WAS\nWISDOM: MINE": "AND THE WORD WAS WISDOM: MINE",
    "SCORE: 3 TO 1": "SCORE: 3 TO 1",
    "MY SECOND BEST FRIEND: JOHN": "MY SECOND BEST FRIEND: JOHN",
    "IT IS 10:30 NOW": "IT IS 10:30 NOW",
}


def test_subtitles_in_capitals_have_speakers_where_lines_begin_and_sounds_at_their_ends():
    left = spoken_part(list(CAPITALS), subtitles=True)
    assert [" ".join(text.split()) for text in left] == list(CAPITALS.values())


def test_a_transcript_in_capitals_keeps_its_names_and_brackets():
    texts = ["JOHN: COME", "I WENT HOME (SIGHS)", "SAY *NO* TO HIM"]
    assert spoken_part(texts, subtitles=False) == texts
    assert spoken_part([">> JOHN: COME", *texts], subtitles=False)[0].split() == ["COME"]


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


@pytest.mark.parametrize("subtitles", [False, True])
@pytest.mark.parametrize("unit", ["\n", "\n- ", "(a)\n", ">", ">>", "(", "#a", "♪a", "A\n", "A: "])
def test_a_long_text_takes_a_time_that_grows_with_it(unit, subtitles):
    """With its square, or cube, it would be minutes."""
    for before, after in (("", ""), ("Hello. ", " there"), ("#", "#")):
        text = before + unit * 20_000 + after
        (found,) = spoken_part([text], subtitles=subtitles)
        assert len(found) == len(text)


def test_lines_of_a_long_text_are_read_as_those_of_a_short_one():
    line = "JOHN (on the phone): Come in\n(laughs)\n- Thanks ((both))"
    (short,), (long,) = (spoken_part(["\n".join([line] * n)], subtitles=True) for n in (1, 150))
    assert short.split() == ["Come", "in", "Thanks", "((both))"]
    assert long == "\n".join([short] * 150)


@pytest.mark.parametrize(
    ("text", "sung"),
    [
        ("# Row your boat", True), ("#Row your boat#", True), ("# 1 is the first", False), ("#tag is it", False),
        ("##", False), ("# #", False), ("- # Row", True), ("#1 on the list #", True),
    ],
)  # fmt: skip
def test_a_hash_begins_a_song_as_teletext_writes_one(text, sung):
    (found,) = spoken_part([text], subtitles=True)
    assert (not words_in(found)) == (sung or not words_in(text))
