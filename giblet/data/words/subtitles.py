"""Timed text: tables of words or sentences, subtitles and what aligners write, read into one checked form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

from giblet.cells import SEPARATORS, decoded
from giblet.data.words.annotations import JSON, TEXTGRID, read_aligner_json, read_textgrid
from giblet.data.words.cues import Cue, clock_doubt, read_srt, read_vtt
from giblet.data.words.rolling import spoken_once
from giblet.data.words.spoken import spoken_part, words_in
from giblet.data.words.tables import read_word_table, unit_doubt
from giblet.errors import InputError
from giblet.renamed import renamed

TABLES = (*SEPARATORS, ".xlsx")
SUBTITLES = (".srt", ".vtt")
ANNOTATIONS = (TEXTGRID, JSON)

SLACK = Fraction("0.005")
"""Seconds by which a row may run into the next: onset and duration that were each rounded to 1 ms do not add up."""

_CHOICES = {
    "order": ("error", "sort"),
    "overlaps": ("error", "allow"),
    "empty": ("error", "drop"),
    "untimed": ("error", "drop", "instant"),
    "nonspeech": ("drop", "keep"),
    "decimal": (".", ","),
    "time_unit": (None, "s", "ms"),
}


@dataclass(frozen=True)
class Segment:
    """A word, sentence or subtitle."""

    onset: Fraction
    """Seconds on the table's clock."""
    offset: Fraction
    """Equal to the onset for an event without a length."""
    text: str


@dataclass(frozen=True)
class TimedText:
    """What was read, and what was left out."""

    segments: list[Segment]
    """By onset."""
    nonspeech_words: int = 0
    """Words in brackets, songs and names of speakers, that nobody says."""
    repeated_words: int = 0
    """Words of lines that were shown again."""
    untimed_rows: int = 0
    """Rows without onset or end, left out."""
    doubts: tuple[str, ...] = ()
    """What may be wrong with the times, to be told to the user."""


def read_segments(path: str | Path, **options: Any) -> list[Segment]:
    """The segments of :func:`read_timed_text`, with its options.

    Parameters
    ----------
    path : str or Path
    **options
        Those of :func:`read_timed_text`.

    Returns
    -------
    list of Segment
        By onset.

    Raises
    ------
    InputError
        As :func:`read_timed_text`.

    See Also
    --------
    read_timed_text : Also what was left out, and doubts.
    """
    return read_timed_text(path, **options).segments


@renamed(onset="onset_column", offset="offset_column", duration="duration_column", text="text_column")
def read_timed_text(  # 14 parameters, 63 lines: each is an option of `giblet extract --text` by the same name
    path: str | Path,
    *,
    onset_column: str = "onset",
    offset_column: str | None = None,
    duration_column: str | None = None,
    text_column: str = "text",
    tier: str | None = None,
    encoding: str | None = None,
    decimal: str = ".",
    time_unit: str | None = None,
    order: str = "error",
    overlaps: str = "error",
    empty: str = "error",
    untimed: str = "error",
    nonspeech: str = "drop",
) -> TimedText:
    """Read timed text and check it.

    Parameters
    ----------
    path : str or Path
        ``.tsv``, ``.csv``, ``.xlsx`` with a header, ``.srt`` or ``.vtt``. Words that have times of their own within a
        cue, as in WebVTT, become segments; lines that roll up are read once
        (:func:`giblet.data.words.rolling.spoken_once`). Or ``.TextGrid`` (Praat, MFA, Penn), or ``.json`` of Gentle,
        whisperX or Whisper.
    onset_column, offset_column, duration_column, text_column : str
        Names of the columns of a table. By default the column "offset" is used, or else "duration". Onsets may be
        negative, and events have length 0.
    tier : str, optional
        Of a TextGrid: the tier to read. By default the only one, or the only one called "words" or "word".
    encoding : str, optional
        Of a text file, such as ``"cp1252"``; by default UTF-8, with or without a byte-order mark.
    decimal : {".", ","}
        What stands before the decimals of a table's times.
    time_unit : {"s", "ms"}, optional
        Of a table. By default seconds, unless words would last longer than 50 s or less than 10 ms (the median): then
        it must be said. Of words that last longer than 2 s where each row is one, or 5 s, a doubt tells.
    order : {"error", "sort"}
        What to do with rows that are not in the order of their onsets.
    overlaps : {"error", "allow"}
        What to do with rows that begin more than 5 ms before one above has ended.
    empty : {"error", "drop"}
        What to do with rows without text.
    untimed : {"error", "drop", "instant"}
        What to do with rows without an onset or an end (``n/a``). "instant" reads those without an end as events of
        length 0, which count at their onset; an onset must be there.
    nonspeech : {"drop", "keep"}
        What to do with what nobody says: sounds in brackets, songs, names of speakers
        (:func:`giblet.data.words.spoken.spoken_part`), and labels of silence in a TextGrid.

    Returns
    -------
    TimedText

    Raises
    ------
    InputError
        If the file cannot be read, or a row cannot be used; the row is named, counted from 1 below the header.

    See Also
    --------
    read_segments : The segments alone.
    """
    path = Path(path)
    choices = {
        "order": order, "overlaps": overlaps, "empty": empty, "untimed": untimed, "nonspeech": nonspeech,
        "decimal": decimal, "time_unit": time_unit,
    }  # fmt: skip
    for what, value in choices.items():
        if value not in _CHOICES[what]:
            allowed = ", ".join(choice for choice in _CHOICES[what] if choice is not None)
            raise InputError(f"{what} is {value!r}; expected one of {allowed}")
    kind = path.suffix.lower()
    subtitles = kind in SUBTITLES
    if tier is not None and kind != TEXTGRID:
        raise InputError(f"tier is {tier!r}, but {path.name} is no TextGrid: leave it out")
    if kind not in TABLES and (time_unit == "ms" or decimal == ","):
        raise InputError(
            f"{path.name}: time_unit='ms' and decimal=',' are for tables; other files write their times one way"
        )
    doubts: list[str] = []
    n_untimed = n_repeated = n_doubtful = 0
    if subtitles:
        content = decoded(path, encoding)
        cues = (read_srt if kind == ".srt" else read_vtt)(content, path.name)
        doubts += [doubt] if kind == ".vtt" and (doubt := clock_doubt(content)) else []
        cues, n_repeated, n_doubtful = spoken_once(cues)
    elif kind in TABLES:
        cues, n_untimed = read_word_table(
            path, onset_column=onset_column, offset_column=offset_column, duration_column=duration_column,
            text_column=text_column, encoding=encoding, decimal=decimal, time_unit=time_unit, untimed=untimed,
        )  # fmt: skip
    elif kind == TEXTGRID:
        cues = read_textgrid(path, tier=tier, encoding=encoding, silent=nonspeech == "drop")
    elif kind == JSON:
        cues, n_untimed = read_aligner_json(path, encoding=encoding, untimed=untimed)
    else:
        raise InputError(
            f"{path.name} is no timed text that giblet reads; expected .tsv, .csv, .xlsx, .srt, .vtt, .TextGrid or "
            ".json"
        )
    spoken = _spoken(cues, path.name, empty, nonspeech, subtitles)
    segments = _ordered(spoken, path.name, order, overlaps)
    if not subtitles and time_unit != "s":
        doubt, certain = unit_doubt(spoken, time_unit)
        if certain:
            raise InputError(f"{path.name}: {doubt}")
        doubts += [doubt] if doubt else []
    if n_doubtful:
        doubts.append(f"cues that are the one before again, without a pause, count as spoken again: {n_doubtful}")
    n_silent = sum(len(words_in(cue.text)) for cue in cues) - sum(len(words_in(cue.text)) for cue in spoken)
    return TimedText(segments, n_silent, n_repeated, n_untimed, tuple(doubts))


def _spoken(cues: Sequence[Cue], name: str, empty: str, nonspeech: str, subtitles: bool) -> list[Cue]:
    """The rows in which something is said, each with that alone."""
    if not cues:
        raise InputError(f"{name} holds no rows of text: expected at least one")
    for cue in cues:
        if cue.offset < cue.onset:
            raise InputError(
                f"{name}, row {cue.number}: it ends at {float(cue.offset):g} s, before its onset at "
                f"{float(cue.onset):g} s: correct the offset or duration"
            )
        if empty == "error" and not cue.text.split():
            raise InputError(f"{name}, row {cue.number}: the text is empty; remove the row, or set empty='drop'")
    texts = [cue.text for cue in cues]
    said = spoken_part(texts, subtitles=subtitles) if nonspeech == "drop" else texts
    kept = [replace(cue, text=words) for cue, words in zip(cues, said, strict=True) if words.split()]
    if not kept:
        silent = any(text.split() for text in texts)
        remedy = ", or hold what nobody says; nonspeech='keep' keeps it" if silent else ""
        raise InputError(f"{name}: all {len(cues)} rows are empty{remedy}")
    return kept


def _ordered(cues: Sequence[Cue], name: str, order: str, overlaps: str) -> list[Segment]:
    """The parts of the rows that have times of their own, by onset."""
    rows = [(cue.number, Segment(*part)) for cue in cues for part in cue.parts()]
    for (_, before), (number, row) in pairwise(rows):
        if row.onset < before.onset and order == "error":
            raise InputError(
                f"{name}, row {number}: onset {float(row.onset):g} s is before that of the row above, "
                f"{float(before.onset):g} s; sort the rows, or set order='sort'"
            )
    rows.sort(key=lambda item: item[1].onset)
    end = rows[0][1].offset
    for number, row in rows[1:]:
        if row.onset < end - SLACK and overlaps == "error":
            raise InputError(
                f"{name}, row {number}: it begins at {float(row.onset):g} s, before another ends at "
                f"{float(end):g} s; correct the times, or set overlaps='allow'"
            )
        end = max(end, row.offset)
    return [row for _, row in rows]
