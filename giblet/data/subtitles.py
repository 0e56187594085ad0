"""Timed text: tables of words or sentences, SubRip and WebVTT, read into one checked form."""

from __future__ import annotations

import csv
import html
import io
import re
from dataclasses import dataclass
from datetime import timedelta
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Literal
from zipfile import BadZipFile

import pandas as pd
import srt  # type: ignore[import-untyped,unused-ignore]
import webvtt
from webvtt.errors import MalformedCaptionError, MalformedFileError

from giblet.errors import InputError
from giblet.timing import exact

SLACK = Fraction("0.005")
"""Seconds by which a row may run into the next: onset and duration that were each rounded to 1 ms do not add up."""

SEPARATORS = {".tsv": "\t", ".csv": ","}
EMPTY_CELLS = ["", "n/a"]
_CUE = re.compile(r"^\s*(?:\d+:)?\d{1,2}:\d{1,2}[.,]\d+\s*-")


@dataclass(frozen=True)
class Segment:
    """A word, sentence or subtitle."""

    onset: Fraction
    """Seconds on the table's clock."""
    offset: Fraction
    text: str


def read_segments(
    path: str | Path,
    *,
    onset: str = "onset",
    offset: str | None = None,
    duration: str | None = None,
    text: str = "text",
    encoding: str | None = None,
    order: str = "error",
    overlaps: str = "error",
    empty: str = "error",
) -> list[Segment]:
    """Read timed text and check it.

    Parameters
    ----------
    path : str or Path
        ``.tsv``, ``.csv``, ``.xlsx`` with a header, ``.srt`` or ``.vtt``.
    onset, offset, duration, text : str
        Columns of a table; times in seconds. By default the column "offset" is used, or else "duration".
    encoding : str, optional
        Of a text file, such as ``"cp1252"``; by default UTF-8, with or without a byte-order mark.
    order : {"error", "sort"}
        What to do with rows that are not in the order of their onsets.
    overlaps : {"error", "allow"}
        What to do with rows that begin more than 5 ms before one above has ended.
    empty : {"error", "drop"}
        What to do with rows without text.

    Returns
    -------
    list of Segment, by onset

    Raises
    ------
    InputError
        If the file cannot be read, or a row cannot be used; the row is named, counted from 1 below the header.
    """
    path = Path(path)
    for what, value, allowed in (
        ("order", order, ("error", "sort")),
        ("overlaps", overlaps, ("error", "allow")),
        ("empty", empty, ("error", "drop")),
    ):
        if value not in allowed:
            raise InputError(f"{what} is {value!r}: one of {', '.join(allowed)} is needed")
    kind = path.suffix.lower()
    if kind == ".srt":
        rows = _srt(_decoded(path, encoding), path.name)
    elif kind == ".vtt":
        rows = _vtt(_decoded(path, encoding), path.name)
    elif kind in (*SEPARATORS, ".xlsx"):
        rows = _table(path, onset, offset, duration, text, encoding)
    else:
        raise InputError(f"{path.name} is no timed text that giblet reads: .tsv, .csv, .xlsx, .srt or .vtt is needed")
    return _checked(rows, path.name, order, overlaps, empty)


def _checked(rows: list[Segment], name: str, order: str, overlaps: str, empty: str) -> list[Segment]:
    if not rows:
        raise InputError(f"{name} holds no rows of text")
    kept: list[tuple[int, Segment]] = []
    for number, row in enumerate(rows, 1):
        if row.onset < 0:
            raise InputError(f"{name}, row {number}: onset is {float(row.onset):g} s, 0 or later is needed")
        if row.offset <= row.onset:
            raise InputError(
                f"{name}, row {number}: it ends at {float(row.offset):g} s, not after its onset at "
                f"{float(row.onset):g} s: correct the offset or duration"
            )
        if row.text:
            kept.append((number, row))
        elif empty == "error":
            raise InputError(f"{name}, row {number}: the text is empty; remove the row, or set empty='drop'")
    if not kept:
        raise InputError(f"{name}: all {len(rows)} rows are empty")
    for (_, before), (number, row) in pairwise(kept):
        if row.onset < before.onset and order == "error":
            raise InputError(
                f"{name}, row {number}: onset {float(row.onset):g} s is before that of the row above, "
                f"{float(before.onset):g} s; sort the rows, or set order='sort'"
            )
    kept.sort(key=lambda item: item[1].onset)
    end = kept[0][1].offset
    for number, row in kept[1:]:
        if row.onset < end - SLACK and overlaps == "error":
            raise InputError(
                f"{name}, row {number}: it begins at {float(row.onset):g} s, before another ends at "
                f"{float(end):g} s; correct the times, or set overlaps='allow'"
            )
        end = max(end, row.offset)
    return [row for _, row in kept]


def _decoded(path: Path, encoding: str | None) -> str:
    try:
        content = path.read_bytes()
    except OSError as exc:
        raise InputError(f"cannot read {path}: {exc.strerror or exc}") from exc
    if encoding is None:
        encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        decoded = content.decode(encoding)
    except LookupError as exc:
        raise InputError(f"encoding {encoding!r} is unknown: 'utf-8', 'cp1252', 'latin-1', 'utf-16', ...") from exc
    except UnicodeError as exc:
        raise InputError(
            f"{path.name} is not {encoding} ({' '.join(str(exc).split())[:80]}): give its encoding, such as 'cp1252'"
        ) from exc
    if "\0" in decoded:
        raise InputError(f"{path.name} holds NUL characters: it is probably UTF-16; give encoding='utf-16-le' or -be")
    return decoded.replace("\r\n", "\n").replace("\r", "\n")


def _plain(content: str) -> str:
    """Text without tags and entities, on one line."""
    return " ".join(html.unescape(re.sub(r"</?[a-zA-Z][^>]*>|\{\\[^}]*\}", "", content)).split())


def _cue_lines(content: str) -> list[int]:
    return [number for number, line in enumerate(content.split("\n"), 1) if _CUE.match(line)]


def _srt(content: str, name: str) -> list[Segment]:
    try:
        found = list(srt.parse(content))
    except (srt.SRTParseError, ValueError) as exc:
        raise InputError(f"{name} is not SubRip: {' '.join(str(exc).split())[:160]}") from exc
    _count(content, len(found), name)
    return [Segment(_exact_us(cue.start), _exact_us(cue.end), _plain(cue.content)) for cue in found]


def _exact_us(time: timedelta) -> Fraction:
    return Fraction(time // timedelta(microseconds=1), 1_000_000)


def _vtt(content: str, name: str) -> list[Segment]:
    try:
        found = webvtt.from_buffer(io.StringIO(content)).captions
    except (MalformedFileError, MalformedCaptionError, ValueError) as exc:
        raise InputError(f"{name} is not WebVTT ({exc}): its first line must be WEBVTT") from exc
    _count(content, len(found), name)
    return [Segment(_clock(cue.start), _clock(cue.end), _plain(cue.raw_text)) for cue in found]


def _count(content: str, n_found: int, name: str) -> None:
    """The readers leave out what they do not understand; a word that is lost must be an error."""
    lines = _cue_lines(content)
    if len(lines) != n_found:
        raise InputError(
            f"{name}: {n_found} of {len(lines)} cues can be read; look at their time lines ({lines[:3]} ...)"
        )


def _clock(time: str) -> Fraction:
    hours, minutes, seconds = (["0", *time.split(":")])[-3:]
    return int(hours) * 3600 + int(minutes) * 60 + Fraction(seconds)


def _table(
    path: Path, onset: str, offset: str | None, duration: str | None, text: str, encoding: str | None
) -> list[Segment]:
    columns, cells = _workbook(path) if path.suffix.lower() == ".xlsx" else _cells(path, encoding)
    if offset is None and duration is None:
        offset = "offset" if "offset" in columns else None
        duration = "duration" if offset is None else None
    if offset is not None and duration is not None:
        raise InputError("both offset and duration are named: name the column that holds the end, or the length")
    end = offset or duration or "duration"
    for name in (onset, end, text):
        if name not in columns:
            raise InputError(f"{path.name} has no column {name!r}: it has {', '.join(columns)}; name the one to use")
    places = [columns.index(name) for name in (onset, end, text)]
    rows = []
    for number, cell in enumerate(cells, 1):
        start, stop, words = (cell[place] for place in places)
        begin = _number(start, onset, number, path.name)
        until = _number(stop, end, number, path.name)
        words = "" if words in EMPTY_CELLS else " ".join(words.split())
        rows.append(Segment(begin, until if offset else begin + until, words))
    return rows


def _number(cell: str, column: str, row: int, name: str) -> Fraction:
    try:
        return exact(cell.strip(), column)
    except InputError as exc:
        raise InputError(f"{name}, row {row}: {column} is {cell!r}, a number of seconds is needed") from exc


def _cells(path: Path, encoding: str | None) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a text table; pandas would cut a row at a comma too many, and take the word NA for nothing."""
    # csv.QUOTE_NONE: quotes in a TSV are part of the text.
    quoting: Literal[0, 3] = 3 if path.suffix.lower() == ".tsv" else 0
    content = io.StringIO(_decoded(path, encoding), newline="")
    try:
        lines = [
            line for line in csv.reader(content, delimiter=SEPARATORS[path.suffix.lower()], quoting=quoting) if line
        ]
    except csv.Error as exc:
        raise InputError(f"cannot read the table {path.name}: {exc}") from exc
    if not lines:
        raise InputError(f"cannot read the table {path.name}: it is empty")
    columns, *rows = lines
    for number, row in enumerate(rows, 1):
        if len(row) != len(columns):
            raise InputError(
                f"{path.name}, row {number}: {len(row)} cells, {len(columns)} are needed; put text that holds a comma "
                "into quotes, or use a TSV"
            )
    return columns, rows


def _workbook(path: Path) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the first sheet."""
    try:
        table = pd.read_excel(path, dtype=str, keep_default_na=False)
    except ImportError as exc:
        raise InputError("openpyxl is not installed: pip install 'giblet[text]', or save the table as CSV") from exc
    except (OSError, ValueError, KeyError, BadZipFile) as exc:
        raise InputError(f"cannot read the table {path.name}: {' '.join(str(exc).split())[:160]}") from exc
    return list(map(str, table.columns)), table.astype(str).to_numpy().tolist()
