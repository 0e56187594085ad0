"""SubRip and WebVTT: cues with their times, and the times of words within them."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

# Not pysubs2 for both: of WebVTT, its 1.8.1 takes comments (NOTE) and names of cues for text spoken in the cue before,
# and lines with the times of two words for cues. A file without WEBVTT at its head, which we refuse, it reads.
from giblet.errors import InputError, reading
from giblet.timing import shown

_CLOCK = r"(?:\d+:)?\d+:\d+(?:[.,]\d*)?"
_TIME_LINE = re.compile(rf"\s*({_CLOCK})\s*-->\s*({_CLOCK})(?=\s|$)")
_LIKE_A_TIME_LINE = re.compile(
    r"\s*-?\d+\s*[:：]\s*\d.*(?:[-–—−=]\s*>|→)|\s*\d+:\d[\d:.,]*\s*[-–—−]+\s*\d+:\d[\d:.,]*\s*$"
)
_MARKUP = re.compile(
    rf"<(?P<time>{_CLOCK})>|<(?P<end>/?)(?P<tag>[a-zA-Z]+)[^<>]*>|\{{\\[^{{}}]*\}}|\{{[a-zA-Z]:[^{{}}]*\}}"
    r"|(?P<space>\\[Nh])"
)
LONGEST = 40
"""Characters of a time."""
DIGITS = 200
"""Digits at the beginning of a line, which srt takes for a cue's number, in a time that grows with their square."""
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
"""Scripts that are written without spaces between words: Thai, Lao, Burmese, Khmer, Kana, Han."""


@dataclass(frozen=True)
class Cue:
    """A row of timed text as its file has it."""

    number: int
    """Of the row, from 1."""
    onset: Fraction
    """Seconds on the file's clock."""
    offset: Fraction
    text: str
    """Without tags; lines stay apart."""
    stamps: tuple[tuple[int, Fraction], ...] = ()
    """From which character on the text is spoken at which second, where the file says so."""
    marked: int | None = None
    """The character at which a tag begins that holds a part of the text."""

    def parts(self) -> Iterator[tuple[Fraction, Fraction, str]]:
        """Each part of the text that has a time of its own.

        Yields
        ------
        onset, offset : Fraction
            In seconds on the file's clock.
        words : str
            With a space between each two.
        """
        found: list[tuple[Fraction, list[str]]] = []
        for start, word in _words(self.text, [place for place, _ in self.stamps]):
            onset = next((time for place, time in reversed(self.stamps) if place <= start), self.onset)
            if found and found[-1][0] == onset:
                found[-1][1].append(word)
            else:
                found.append((onset, [word]))
        for onset, words in found:
            later = [time for _, time in self.stamps if time > onset]
            yield onset, (min(later) if later else max(onset, self.offset)), " ".join(words)


def _words(text: str, places: Sequence[int]) -> Iterator[tuple[int, str]]:
    """Where each word begins, and the word; a time cuts letters apart only in scripts that write no spaces."""
    for run in re.finditer(r"\S+", text):
        start, end = run.span()
        inside = [p for p in places if start < p < end and _UNSPACED.match(text[p - 1]) and _UNSPACED.match(text[p])]
        for begin, stop in pairwise(sorted({start, *inside, end})):
            yield begin, text[begin:stop]


def read_srt(content: str, name: str) -> list[Cue]:
    """The cues of a SubRip file.

    Parameters
    ----------
    content : str
        The text of the file, with ``\\n`` at the end of each line.
    name : str
        What messages call the file.

    Returns
    -------
    list of Cue

    Raises
    ------
    InputError
        If it is none, a time can be read in two ways, or the time of a word is before that of its cue; the line is
        named.

    See Also
    --------
    giblet.data.words.subtitles.read_timed_text : Timed text of any kind, from its file.
    """
    import srt  # type: ignore[import-untyped,unused-ignore]

    plain, times = _timed(content, name, ",")
    plain = _from_first_cue(plain, times, name)
    if found := re.search(rf"^-?\d{{{DIGITS + 1},}}", plain, re.MULTILINE):
        raise InputError(f"{name}: a line begins with {len(found[0])} digits ({found[0][:20]}...); break it up")
    with reading(name, "it is not SubRip"):
        texts = [cue.content for cue in srt.parse(plain)]
    return _cues(texts, times, name)


def read_vtt(content: str, name: str) -> list[Cue]:
    """The cues of a WebVTT file, with the times that its words have.

    Parameters
    ----------
    content : str
        The text of the file, with ``\\n`` at the end of each line.
    name : str
        What messages call the file.

    Returns
    -------
    list of Cue

    Raises
    ------
    InputError
        If it is none, a time can be read in two ways, the time of a word is before that of its cue, or text stands in
        no cue; the line is named.

    See Also
    --------
    giblet.data.words.subtitles.read_timed_text : Timed text of any kind, from its file.
    """
    import webvtt

    plain, times = _timed(content, name, ".")
    plain = _whole_cues(plain, name)
    with reading(name, "it is not WebVTT: its first line must be WEBVTT"):
        texts = [cue.raw_text for cue in webvtt.from_buffer(io.StringIO(plain)).captions]
    return _cues(texts, times, name)


def clock_doubt(content: str) -> str:
    """What a WebVTT file that is a part of a stream (HLS) says of its clock.

    Parameters
    ----------
    content : str
        The text of the file, with ``\\n`` at the end of each line.

    Returns
    -------
    str
        ``""`` where it says nothing, or its clock is the stream's.

    Raises
    ------
    InputError
        If its ``X-TIMESTAMP-MAP`` holds a time that is none or can be read in two ways.
    """
    head = content.partition("\n\n")[0]
    found = re.search(rf"^X-TIMESTAMP-MAP=(?=.*MPEGTS:(\d{{1,20}})\b)(?=.*LOCAL:({_CLOCK}))", head, re.MULTILINE)
    if not found:
        return ""
    stream, local = Fraction(int(found[1]), 90_000), _seconds(found[2], "X-TIMESTAMP-MAP")
    if stream == local:
        return ""
    return (
        f"its X-TIMESTAMP-MAP lays second {shown(local)} on second {shown(stream)} of a stream: its times are those of "
        f"the film only if that begins at {shown(stream - local)} s; if not, pass table_time_at_tr_0"
    )


def _from_first_cue(content: str, times: Sequence[tuple[int, Fraction, Fraction]], name: str) -> str:
    """The text without what stands before its first cue, which must be empty lines.

    In text that is in no cue srt looks for one from every character on.
    """
    lines = content.split("\n")
    first = times[0][0] - 1 if times else len(lines)
    before = [number for number in range(first) if lines[number].strip()]
    if times and before and re.fullmatch(r"\s*-?\d{1,40}(\.\d{0,40})?\s*", lines[before[-1]]):
        first = before.pop()  # the number of the cue
    if before:
        line = lines[before[0]].strip()
        raise InputError(
            f"{name} is not SubRip: line {before[0] + 1} ({line[:40]!r}) stands before the first cue; a cue begins "
            "with a line such as 00:00:01,000 --> 00:00:02,500"
        )
    return "\n".join(lines[first:])


def _whole_cues(content: str, name: str) -> str:
    """The text without the empty lines at which WebVTT ends a cue that has no text yet.

    Automatic captions begin cues with a line of one space, which editors take out; what follows would be lost.
    """
    lines = content.split("\n")
    in_cues = False
    for number, line in enumerate(lines[1:-1], 1):
        before, after = lines[number - 1], [*lines[number + 1 : number + 3], "", ""]
        in_cues = in_cues or "-->" in before
        if line or not after[0] or "-->" in "".join(after[:2]):
            continue
        if after[0].strip().isdigit() or after[0].startswith(("NOTE", "STYLE", "REGION")):
            continue
        if "-->" in before:
            lines[number] = " "
        elif in_cues:
            raise InputError(
                f"{name}, line {number + 2}: {after[0][:40]!r} follows an empty line, so it is in no cue; take the "
                "empty line out, or the text"
            )
    return "\n".join(lines)


def _timed(content: str, name: str, point: str) -> tuple[str, list[tuple[int, Fraction, Fraction]]]:
    """The text with each time line as the libraries expect it, and its line and times as they stand in the file."""
    lines, times = content.split("\n"), []
    for number, line in enumerate(lines, 1):
        if not _LIKE_A_TIME_LINE.match(line):
            continue
        found = _TIME_LINE.match(line)
        if not found:
            raise InputError(
                f"{name}, line {number}: {line.strip()[:60]!r} is no time line; expected 00:00:01{point}000 --> "
                f"00:00:02{point}500"
            )
        start, end = (_seconds(time, f"{name}, line {number}") for time in found.groups())
        times.append((number, start, end))
        lines[number - 1] = f"{_clock(start, point)} --> {_clock(end, point)}"
    return "\n".join(lines), times


def _seconds(time: str, where: str) -> Fraction:
    """Seconds of hours:minutes:seconds, or of minutes:seconds."""
    if len(time) > LONGEST:
        raise InputError(f"{where}: {time[:LONGEST]}... is no time; expected hours:minutes:seconds")
    whole, point, decimals = re.fullmatch(r"([\d:]+)([.,]?)(\d*)", time).groups()  # type: ignore[union-attr]
    hours, minutes, seconds = map(int, (["0", *whole.split(":")])[-3:])
    if minutes > 59 or seconds > 59:
        raise InputError(f"{where}: {time} is no time; expected hours, minutes up to 59 and seconds up to 59")
    if len(decimals) in (1, 2) and int(decimals):
        read = f"{seconds}.{decimals} or {seconds}.{int(decimals):03d}"
        raise InputError(
            f"{where}: {time} may be {read} seconds, as programs differ: write three digits after the {point!r}"
        )
    return hours * 3600 + minutes * 60 + seconds + Fraction(int(decimals or 0), 10 ** len(decimals))


def _clock(time: Fraction, point: str) -> str:
    seconds, thousandths = divmod(int(time * 1000), 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{point}{thousandths:03d}"


def _cues(texts: Sequence[str], times: Sequence[tuple[int, Fraction, Fraction]], name: str) -> list[Cue]:
    """Texts with their times; the libraries leave out what they do not understand, and no word may be lost so."""
    if len(texts) != len(times):
        lines = [line for line, _, _ in times]
        raise InputError(
            f"{name}: {len(texts)} of {len(times)} cues can be read; look at their time lines ({lines[:3]} ...)"
        )
    return [
        _cue(number, onset, offset, text, f"{name}, line {line}")
        for number, (text, (line, onset, offset)) in enumerate(zip(texts, times, strict=True), 1)
    ]


def _unescaped(text: str, where: str) -> str:
    try:
        return html.unescape(text)
    except ValueError as exc:  # Python reads no more than 4300 digits
        raise InputError(f"{where}: {text[:40]!r} holds a character's number that is none; correct it") from exc


def _cue(number: int, onset: Fraction, offset: Fraction, content: str, where: str) -> Cue:
    """A cue without its tags."""
    stamps: list[tuple[int, Fraction]] = []
    opened: list[int] = []
    spans: list[tuple[int, int]] = []
    text, done, hidden = "", 0, False
    for mark in (*_MARKUP.finditer(content), None):
        piece = content[done : mark.start() if mark else len(content)]
        text += "" if hidden else _unescaped(piece, where)
        if mark is None:
            break
        done = mark.end()
        if mark["time"]:
            time = _seconds(mark["time"], where)
            if time < (stamps[-1][1] if stamps else onset):
                raise InputError(
                    f"{where}: the time <{mark['time']}> of a word is before that of its cue, or of the word before; "
                    "correct it"
                )
            stamps.append((len(text), time))
        elif mark["space"] or (mark["tag"] or "").lower() == "br":
            text += "\n"
        elif mark["tag"]:
            # <rt> holds the reading of the word before it, not another word.
            hidden = mark["tag"] == "rt" and not mark["end"]
            if not mark["end"]:
                opened.append(len(text))
            elif opened:
                spans.append((opened.pop(), len(text)))
    partly = [start for start, end in spans if text[start:end].split() and text[start:end].split() != text.split()]
    return Cue(number, onset, offset, text, tuple(stamps), partly[0] if len(partly) == 1 else None)
