"""What subtitles and transcripts hold beside the words that are spoken: sounds, music, names of speakers."""

from __future__ import annotations

import re
from collections.abc import Sequence

_SQUARE = re.compile(r"\[[^][]{0,200}\]|［[^［］]{0,200}］|【[^【】]{0,200}】|〔[^〔〕]{0,200}〕")
_BRACKETS = r"(?<![(（])[(（]++[^()（）]*+[)）]++"
_ROUND = rf"(?:{_BRACKETS}|(?<!\w)\*[^*\n]*[^\W_][^*\n]*\*(?!\w))"
"""Sounds stand in (brackets), ((two of them)) or, in subtitles, *stars*."""
_LINE = {
    subtitles: re.compile(rf"^[\s\-–—>]*{_ROUND if subtitles else _BRACKETS}[\s.!?…]*$", re.MULTILINE)
    for subtitles in (False, True)
}
_BETWEEN_SENTENCES = re.compile(rf"(\A\s*|^\s*[-–—>]+\s*|[.!?…:\"“”»]\s+)({_ROUND})", re.MULTILINE)
_SHOUTED = re.compile(_ROUND)
_AT_THE_EDGE = re.compile(rf"(^[\s\-–—>]*)({_ROUND})|{_ROUND}(?=[\s.!?…]*$)", re.MULTILINE)
_SONG = re.compile(r"[♩♪♫♬🎵🎶]+")
_HASH = re.compile(r"#+")
_HASHES = re.compile(r"[\s\-–—]*#(?P<begun>\s+[^\s\d#])?")
_DASH = re.compile(r"^\s*[-–—‐‑]+(?=\s+\S|[^\W\d_a-zà-ÿ])", re.MULTILINE)
_SPEAKER = re.compile(
    rf"(?P<turn>(?:^|(?<!>)>>)[\s\-–—>]*+)(?P<name>[^\W_][^:：\n>(（]{{0,39}}(?:{_BRACKETS}[ \t]*)?[:：])(?=\s|$)",
    re.MULTILINE,
)
_SENTENCE_ENDS = re.compile(r"(?:\A|[.!?…♪\"“”»\-–—])\s*\Z")
_TURN = re.compile(r">{2,}")
LINES = 200
"""More than a screen holds: longer texts are taken in parts, as patterns that look over ends of lines take a time that
grows with the square of their number."""
_NO_NAMES = frozenset(
    ["A", "AN", "AND", "ARE", "AS", "AT", "BECAUSE", "BUT", "CAN", "DO", "DON'T", "FOR", "HE", "HER", "HERE", "HIS",
     "HOW", "I", "I'M", "IF", "IN", "IS", "IT", "IT'S", "ITS", "JUST", "LIKE", "MAYBE", "MY", "NO", "NOT", "NOW",
     "OF", "OH", "OK", "OKAY", "ON", "OR", "OUR", "SHE", "SO", "SOME", "THAT", "THAT'S", "THE", "THEIR", "THEN",
     "THERE", "THESE", "THEY", "THIS", "THOSE", "TO", "WAIT", "WE", "WELL", "WHAT", "WHEN", "WHERE", "WHICH", "WHO",
     "WHY", "WITH", "YEAH", "YES", "YOU", "YOUR"]
)  # fmt: skip
"""Words that begin sentences, and hardly the name of a speaker."""


def words_in(text: str) -> list[str]:
    """The words of a text: what stands between spaces and holds a letter or digit.

    Parameters
    ----------
    text : str

    Returns
    -------
    list of str

    Examples
    --------
    >>> words_in("one two, three –")
    ['one', 'two,', 'three']
    """
    return [word for word in text.split() if re.search(r"\w", word)]


def spoken_part(texts: Sequence[str], *, subtitles: bool) -> list[str]:
    """Texts with spaces in place of all that nobody says, so that the places of the words stay.

    Left out are: square brackets and what they hold, also across rows; round brackets, single or ``((double))``, that
    fill a row or a line of it; in subtitles also those between sentences or all in capitals, and ``*stars*`` in the
    same places; songs, from a note or a ``#`` to the next or to the end of the text, and in a text of more than 200
    lines to the end of 200; a name in capitals with a colon at the beginning of a line, with or without a bracket
    between (``JOHN (on the phone):``); dashes and ``>>`` that begin a turn.

    Where all is in capitals, these say less. Brackets count there if they begin or end a line of a subtitle. A name
    counts after ``>>``; and in subtitles if it begins a cue, or a line after the end of a sentence or with a dash, has
    at most three words, of which the first is no article, pronoun or the like (of English), and no digit follows:
    ``JOHN: COME``, but not ``THE MAYOR SAID: COME`` nor ``TIME: 5 PM``.

    Parameters
    ----------
    texts : sequence of str
        Of one file, in order; lines within a text are separated by ``\\n``.
    subtitles : bool
        Whether they are cues: in a transcript a round bracket is part of a sentence.

    Returns
    -------
    list of str
        Each as long as its text.

    Examples
    --------
    >>> [text.split() for text in spoken_part(["[door] JOHN: Come (he waves) in", "(laughs)"], subtitles=False)]
    [['Come', '(he', 'waves)', 'in'], []]
    """
    if not texts:
        return []
    # A table of words may hold "[soft", "music]" in two rows.
    whole = _SQUARE.sub(lambda found: _blank(found[0]) if _has_letters(found[0]) else found[0], "\0".join(texts))
    texts = whole.split("\0")
    cased = [letter for text in texts for letter in text if letter.upper() != letter.lower()]
    capitals = sum(map(str.isupper, cased)) > 0.9 * len(cased)
    return [_spoken(text, subtitles, capitals) for text in texts]


def _spoken(text: str, subtitles: bool, capitals: bool) -> str:
    lines = text.split("\n")
    if len(lines) > LINES:
        parts = ("\n".join(lines[start : start + LINES]) for start in range(0, len(lines), LINES))
        return "\n".join(_spoken(part, subtitles, capitals) for part in parts)
    text = _without_songs(text)
    text = _LINE[subtitles].sub(lambda found: _blank(found[0]), text)
    if subtitles:
        text = _BETWEEN_SENTENCES.sub(lambda found: found[1] + _blank(found[2]), text)
        if capitals:
            text = _AT_THE_EDGE.sub(lambda found: (found[1] or "") + _blank(found[0][len(found[1] or "") :]), text)
        else:
            text = _SHOUTED.sub(lambda found: _blank(found[0]) if _shouted(found[0]) else found[0], text)
    text = _SPEAKER.sub(lambda found: _without_name(found, capitals, subtitles), text)
    text = _TURN.sub(lambda found: _blank(found[0]), text)
    return _DASH.sub(lambda found: _blank(found[0]), text)


def _blank(text: str) -> str:
    return re.sub(r"[^\s\0]", " ", text)


def _has_letters(text: str) -> bool:
    """YouTube writes [ __ ] for a word that is spoken."""
    return re.search(r"[^\W_]", text) is not None


def _shouted(text: str) -> bool:
    return text.upper() == text and sum(map(str.isupper, text)) > 1


def _without_name(found: re.Match[str], capitals: bool, subtitles: bool) -> str:
    name = re.sub(_BRACKETS, "", found["name"])
    is_name = name.upper() == name and any(map(str.isupper, name)) and not re.search(r"[?!;]", name)
    if capitals and ">>" not in found["turn"]:
        before, after = found.string[: found.start("name")], found.string[found.end() :]
        begins = _SENTENCE_ENDS.search(before) is not None and name.split()[0] not in _NO_NAMES
        is_name &= subtitles and begins and len(words_in(name)) <= 3 and not re.match(r"\s*\d", after)
    return found["turn"] + _blank(found["name"]) if is_name else found[0]


def _without_songs(text: str) -> str:
    """A cue, or the line of each speaker where two have one each, without what is sung."""
    lines = text.split("\n")
    if sum(bool(re.match(r"\s*[-–—]", line)) for line in lines) > 1:
        return "\n".join(map(_without_songs_of_one, lines))
    return _without_songs_of_one(text)


def _is_teletext_song(text: str) -> bool:
    """Whether a text begins with a ``#`` as a song; "# 1" and "#tag" are none, but for "#what is sung#"."""
    found = _HASHES.match(text)
    if found is None:
        return False
    rest = text[found.end() :].rstrip()
    return found["begun"] is not None or (rest.endswith("#") and bool(rest[:-1].strip()))


def _without_songs_of_one(text: str) -> str:
    marks = [*(_HASH if _is_teletext_song(text) else _SONG).finditer(text)]
    begun, sung, done = None, [], 0
    for mark in marks:
        line_before, rest = text[: mark.start()].rpartition("\n")[2], text[mark.end() :].strip()
        if begun is None:
            begun = mark.start() if rest else done  # behind the last word it ends a song from the cue before
        elif line_before.strip(" -–—") or not rest.partition("\n")[0]:
            sung.append((begun, mark.end()))
            begun, done = None, mark.end()  # a note that begins a line within a song does not end it
    if begun is not None:
        sung.append((begun, len(text)))
    for start, end in sung:
        text = text[:start] + _blank(text[start:end]) + text[end:]
    return text
