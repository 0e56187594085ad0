"""The words of a transcript, in the order in which they are spoken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from giblet.cells import decoded
from giblet.data.words.alignment.pronunciation import NONE, Pronunciation, pronunciation_of
from giblet.data.words.spoken import spoken_part, words_in
from giblet.data.words.subtitles import ANNOTATIONS, SUBTITLES, TABLES, read_segments
from giblet.errors import InputError

PLAIN = (".txt", ".md", "")
UNSAYABLE = 0.1
"""Share of words that the dictionary's script does not have, beyond which a transcript is refused."""


@dataclass(frozen=True)
class TranscriptWord:
    """A word as the transcript has it, with its punctuation, and how it is said."""

    text: str
    pronunciation: Pronunciation


def read_transcript(path: Path, *, encoding: str | None = None) -> list[str]:
    """The words of a transcript, as they stand there; without what nobody says.

    Parameters
    ----------
    path : Path
        Plain text, or anything that :func:`giblet.data.words.subtitles.read_timed_text` reads, of which the times are
        not used.
    encoding : str, optional
        By default UTF-8, or UTF-16 if the file begins with its byte-order mark.

    Returns
    -------
    list of str

    Raises
    ------
    InputError
        If the file cannot be read or holds no words.
    """
    kind = path.suffix.lower()
    if kind in PLAIN:
        texts = spoken_part(decoded(path, encoding).split("\n\n"), subtitles=False)
    elif kind in (*TABLES, *SUBTITLES, *ANNOTATIONS):
        choices = {"order": "sort", "overlaps": "allow", "empty": "drop", "untimed": "drop"}
        texts = [segment.text for segment in read_segments(path, encoding=encoding, **choices)]
    else:
        raise InputError(f"{path.name} is no transcript that giblet reads; expected .txt, or subtitles (.srt, .vtt)")
    words = [word for text in texts for word in words_in(text)]
    if not words:
        raise InputError(f"{path.name} holds no words; a transcript is the text that is spoken, as plain text")
    return words


def said(words: list[str], known: Callable[[str], str | None], name: str) -> list[TranscriptWord]:
    """How each word of a transcript is said.

    Parameters
    ----------
    words : list of str
    known : callable
        As for :func:`giblet.data.words.alignment.pronunciation.pronunciation_of`.
    name : str
        What messages call the transcript.

    Returns
    -------
    list of TranscriptWord

    Raises
    ------
    InputError
        If more than a tenth of the words are of a script that the dictionary does not have.
    """
    by_text = {word: pronunciation_of(word, known) for word in dict.fromkeys(words)}
    unknown = [word for word in words if by_text[word].source == NONE]
    if len(unknown) > UNSAYABLE * len(words):
        raise InputError(
            f"{name}: {len(unknown)} of {len(words)} words are in a script that the English dictionary does not know "
            f"({', '.join(unknown[:3])}); words can be found in English sound alone: pass a table of words with their "
            "times by another aligner to `extract`"
        )
    return [TranscriptWord(word, by_text[word]) for word in words]
