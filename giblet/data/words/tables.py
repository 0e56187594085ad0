"""Tables of words or sentences with their times, and whether those can be seconds."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from statistics import median

from giblet.cells import is_number, read_cells
from giblet.data.words.cues import Cue
from giblet.errors import InputError, reading
from giblet.limits import check_archive, check_limit, limit
from giblet.timing import exact, shown

EXCEL_ROWS = 2**20
EMPTY_CELLS = ("", "n/a")
NO_TIME = ("", "n/a", "na", "nan", "none", "null")

FASTEST, SLOW, SLOWEST = Fraction("0.01"), 5, 50
"""Seconds for a word, median of a table: speech has 0.1 to 1, subtitles that stand for long up to 3."""
SLOW_ALONE = 2
"""Seconds for a word where each row is one: then its length is that of speech."""
SPARSE = 60
"""Seconds from one row to the next, median of a table, from which its onsets are doubtful."""
FEW = 5
"""Rows below which a table may be anything."""


def read_word_table(
    path: Path,
    *,
    onset_column: str = "onset",
    offset_column: str | None = None,
    duration_column: str | None = None,
    text_column: str = "text",
    encoding: str | None = None,
    decimal: str = ".",
    time_unit: str | None = None,
    untimed: str = "error",
) -> tuple[list[Cue], int]:
    """The rows of a table, as cues.

    Parameters
    ----------
    path : Path
        ``.tsv``, ``.csv`` or ``.xlsx``.
    onset_column, offset_column, duration_column, text_column : str
        As for :func:`giblet.data.words.subtitles.read_timed_text`.
    encoding : str, optional
        Of a text file; by default UTF-8, or UTF-16 if it begins with its byte-order mark.
    decimal : {".", ","}
        What stands before the decimals of the times.
    time_unit : {"s", "ms"}, optional
        By default seconds; whether they can be is not asked here, see :func:`unit_doubt`.
    untimed : {"error", "drop", "instant"}
        What to do with rows without an onset or an end.

    Returns
    -------
    cues : list of Cue
        In the order of the table.
    n_untimed : int
        Rows left out because they have no onset or no end.

    Raises
    ------
    InputError
        If the table cannot be read, lacks a column, or a time is no number; the row is named.
    """
    workbook = path.suffix.lower() == ".xlsx"
    names, rows = _workbook(path) if workbook else _text_table(path, encoding)
    if offset_column is not None and duration_column is not None:
        raise InputError(
            "both offset_column and duration_column are given: name the column that holds the end, or the length"
        )
    end_parameter = "offset_column" if offset_column else "duration_column"
    if offset_column is None and duration_column is None:
        if "offset" in names:
            offset_column, end_parameter = "offset", "offset_column"
        else:
            end_parameter = "offset_column=... or duration_column"
    end_column = offset_column or duration_column or "duration"
    columns = ((onset_column, "onset_column"), (end_column, end_parameter), (text_column, "text_column"))
    for name, parameter in columns:
        if names.count(name) != 1:
            raise _missing(name, names, path.name, parameter)
    places = [names.index(name) for name, _ in columns]
    per_second = 1000 if time_unit == "ms" else 1
    signs = ".," if workbook and decimal == "," else decimal  # numbers of a workbook have points in any language
    cues, n_untimed = [], 0
    for number, row in enumerate(rows, 1):
        start, stop, words = (row[place] for place in places)
        if untimed == "drop" and any(map(_absent, (start, stop))):
            n_untimed += 1
            continue
        begin = (
            _seconds(start, onset_column, number, path.name, signs, "set untimed='drop' to leave the row out")
            / per_second
        )
        if untimed == "instant" and _absent(stop):
            until = begin
        else:
            remedy = "set untimed='instant' if the onset is enough, or untimed='drop' to leave the row out"
            until = _seconds(stop, end_column, number, path.name, signs, remedy) / per_second
            until = until if offset_column else begin + until
        cues.append(Cue(number, begin, until, "" if words in EMPTY_CELLS else words))
    if n_untimed and not cues:
        raise InputError(f"{path.name}: none of {n_untimed} rows has both {onset_column} and {end_column}")
    return cues, n_untimed


def _missing(column: str, names: Sequence[str | None], source: str, parameter: str) -> InputError:
    there = [name for name in names if name]
    listed = ", ".join(there[:12]) + (", ..." if len(there) > 12 else "")
    if column in there:
        return InputError(f"{source} has more than one column {column!r}: it has {listed}; column names must be unique")
    if any(map(is_number, there)):
        return InputError(f"{source} has no header: its first row is {listed}; put the names of the columns above it")
    return InputError(f"{source} has no column {column!r}: it has {listed}; name the one to use, {parameter}=...")


def _absent(cell: str) -> bool:
    return cell.strip().lower() in NO_TIME


def _seconds(cell: str, column: str, row: int, name: str, signs: str, remedy: str) -> Fraction:
    where, written = f"{name}, row {row}: {column} is {cell!r}, ", cell.strip()
    if _absent(cell):
        raise InputError(f"{where}expected a number of seconds; correct it, or {remedy}")
    if "." in written and "." not in signs:
        raise InputError(f"{where}which has a point, and the decimal sign is set to a comma: leave out decimal")
    if "," in signs:
        written = written.replace(",", ".")
    elif re.fullmatch(r"-?\d*,\d+", written):
        raise InputError(f"{where}expected a number of seconds; if that is a decimal comma, set decimal=','")
    if not is_number(written):  # a Fraction may be "1/2" too
        raise InputError(f"{where}expected a number of seconds; correct it")
    try:
        return exact(written, column)
    except InputError as exc:
        raise InputError(f"{where}expected a number of seconds; correct it") from exc


def _text_table(path: Path, encoding: str | None) -> tuple[list[str | None], list[list[str]]]:
    cells = read_cells(path, encoding, words=True)
    return cells.names, list(cells.rows())


def _workbook(path: Path) -> tuple[list[str | None], list[list[str]]]:
    """Names and rows of the first sheet; cells outside the named columns are not looked at."""
    import pandas as pd

    if zipfile.is_zipfile(path):
        with reading(f"the table {path.name}", "it is damaged; save the table as CSV"):
            check_archive(path, "workbook_mb", path.name)
    try:
        with reading(f"the table {path.name}", "it is no workbook, or damaged; save the table as CSV"):
            _check_cells(path)
            sheet = pd.read_excel(path, header=None, dtype=str, keep_default_na=False)
    except InputError as exc:
        if isinstance(exc.__cause__, ImportError):
            raise InputError("openpyxl is not installed: pip install 'giblet[text]', or save the table as CSV") from exc
        raise
    rows = [list(map(str, row)) for row in sheet.to_numpy().tolist()]
    rows = [row for row in rows if any(map(str.strip, row))]
    if not rows:
        raise InputError(f"cannot read the table {path.name}: its first sheet is empty")
    return [name.strip() or None for name in rows[0]], rows[1:]


def _check_cells(path: Path) -> None:
    """Refuse a first sheet of far more cells than a table has: one cell in the last corner makes 17 billion of them."""
    from openpyxl import load_workbook

    book = load_workbook(path, read_only=True, data_only=True)
    try:
        sheet = book.worksheets[0]
        sheet.reset_dimensions()
        widest, most = 1, limit("megacells") * 1e6
        for number, row in enumerate(sheet.iter_rows(values_only=True), 1):
            widest = max(widest, len(row))
            if number * widest > most:
                check_limit("megacells", number * widest / 1e6, path.name, "million cells in its first sheet, or more")
            if number > EXCEL_ROWS:
                raise InputError(f"{path.name} has over {EXCEL_ROWS} rows, the most of a workbook: it is damaged")
    finally:
        book.close()


def unit_doubt(cues: Sequence[Cue], time_unit: str | None = None) -> tuple[str, bool]:
    """What speaks against the unit of the times, and whether it does so beyond doubt.

    Parameters
    ----------
    cues : sequence of Cue
    time_unit : {"s", "ms"}, optional
        In which the times were read; by default seconds.

    Returns
    -------
    doubt : str
        ``""`` if nothing does.
    certain : bool
    """
    words = [len(cue.text.split()) for cue in cues]
    lengths = [(cue.offset - cue.onset) / n for cue, n in zip(cues, words, strict=True) if n]
    lengths = [length for length in lengths if length >= FASTEST]
    onsets = sorted(cue.onset for cue in cues)
    gaps = [after - before for before, after in pairwise(onsets) if after > before]
    if 2 * len(lengths) < len(cues):  # events, whose lengths say nothing
        lengths = [gap / Fraction(median(words)) for gap in gaps] if len(cues) >= FEW and median(words) else []
        slow = SLOW
    else:
        slow = SLOW_ALONE if median(words) == 1 else SLOW
    if not lengths:
        return "", False
    word, gap = median(lengths), median(gaps) if gaps else Fraction(0)
    whole = max(cue.offset for cue in cues) - onsets[0]
    said = f"a word lasts {shown(round(float(word), 4))} s (median), the text {shown(whole)} s"
    said += f", {float(whole / 3600):.3g} hours" if whole > 3600 else ""
    said += ", in milliseconds as they were read" if time_unit == "ms" else ""
    if word > SLOWEST:
        return f"{said}: {_unit_asked(word, slow, time_unit)}, or set time_unit='s' if they are seconds", True
    if word < FASTEST:
        return f"{said}: are the times in minutes? Expected seconds, or milliseconds with time_unit='ms'", True
    if len(cues) >= FEW and (word > slow or gap > SPARSE):
        far = f", and {shown(round(float(gap), 3))} s lie between onsets" if gap > SPARSE else ""
        units = "milliseconds, frames or samples" if far and time_unit != "ms" else "frames, samples or another unit"
        return f"{said}{far}: if the times are in {units}, turn them into seconds", False
    return "", False


def _unit_asked(word: Fraction, slow: int, time_unit: str | None) -> str:
    """Which units may make speech of words of so many seconds."""
    samples = "samples or frames? Divide them by their rate"
    if time_unit == "ms" or word > 1000 * slow:
        return f"are the times in {samples}"
    milliseconds = "are the times in milliseconds? Set time_unit='ms'"
    return f"{milliseconds}. Or in {samples}" if word > 1000 else milliseconds
