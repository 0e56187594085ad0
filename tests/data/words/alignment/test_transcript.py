"""A transcript is what is spoken, from plain text or subtitles, in English letters."""

import pytest

from giblet.data.words.alignment.transcript import read_transcript, said
from giblet.errors import InputError


def test_plain_text_and_subtitles_give_the_same_words(tmp_path):
    text = tmp_path / "a.txt"
    text.write_text("ALICE: “Well,” said she –\n[a door]\n\n(laughs)\n\nit's 3 o'clock.\n", encoding="utf-8")
    cues = tmp_path / "a.srt"
    cues.write_text(
        "1\n00:00:01,000 --> 00:00:02,000\nALICE: “Well,” said she –\n[a door]\n\n"
        "2\n00:00:02,000 --> 00:00:03,000\n(laughs)\n\n3\n00:00:03,000 --> 00:00:04,000\nit's 3 o'clock.\n",
        encoding="utf-8",
    )
    assert read_transcript(text) == read_transcript(cues) == ["“Well,”", "said", "she", "it's", "3", "o'clock."]


def test_a_file_of_another_kind_or_without_words_is_refused(tmp_path):
    other = tmp_path / "a.docx"
    other.write_bytes(b"x")
    with pytest.raises(InputError, match=r"a\.docx is no transcript that giblet reads; expected \.txt, or subtitles"):
        read_transcript(other)
    empty = tmp_path / "a.txt"
    empty.write_text("[music]\n")
    with pytest.raises(InputError, match="holds no words"):
        read_transcript(empty)


def test_a_transcript_in_another_script_is_refused_with_the_share_of_its_words():
    with pytest.raises(
        InputError, match=r"film\.txt: 2 of 4 words are in a script that the English dictionary does not"
    ):
        said(["Привет", "мир", "hello", "world"], lambda word: "HH" if word.isascii() else None, "film.txt")
    some = said(["Привет", *["hello"] * 9], lambda word: "HH" if word.isascii() else None, "film.txt")
    assert [word.pronunciation.source for word in some] == ["none", *["dictionary"] * 9]
