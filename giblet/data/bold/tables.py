"""Tables of numbers beside a scan, one row per volume: regions, confounds."""

from __future__ import annotations

import difflib
import fnmatch
import io
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from giblet.cells import UNNAMED, Cells, is_number, read_cells, separator_of
from giblet.errors import InputError, reading

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

MISSING = ["n/a", "NA", "NaN", "nan", ""]
"""Cells that hold no number: BIDS writes n/a."""
FEW = 5
"""Rows from which on equal steps are no chance."""
EVEN = 0.02
"""Share of a step by which steps may differ: times are written with few digits."""
_THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2}(?:\.\d{3})+")


def is_table(path: str | Path) -> bool:
    """Whether the name is that of a table: .tsv, .csv, .tsv.gz or .csv.gz.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    bool

    Examples
    --------
    >>> is_table("sub-18_bold.tsv.gz"), is_table("sub-18_bold.nii.gz")
    (True, False)
    """
    return separator_of(path) is not None


def read_table(
    path: str | Path, columns: Sequence[str] | None = None, *, decimal: Literal[".", ","] = "."
) -> pd.DataFrame:
    """A table of numbers with a header, one row per volume.

    Parameters
    ----------
    path : str or Path
        ``.tsv`` or ``.csv``, or either with ``.gz``. Row names of R and index columns of pandas are left out; see
        :func:`giblet.cells.read_cells` for what else is understood.
    columns : sequence of str, optional
        Names or shell patterns (``"a_comp_cor_0[0-4]"``), in the order wanted; by default all columns. Of the columns
        that are left out, nothing is checked but that each row has as many cells as the header.
    decimal : {".", ","}
        What stands before the decimals of the numbers.

    Returns
    -------
    pandas.DataFrame of float64, shape (n_trs, n_columns)
        Empty cells and ``n/a`` are NaN.

    Raises
    ------
    InputError
        If the file cannot be read, has no header or names a column twice, a row does not fit the header, or a column
        asked for is not there, has no name or holds text. If no columns are asked for: if one counts rows or runs.
    """
    import pandas as pd

    path = Path(path)
    if decimal not in (".", ","):
        raise InputError(f"decimal is {decimal!r}; expected '.' or ','")
    cells = read_cells(path, decimal=decimal)
    names = [name for name in cells.names if name is not None]
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise InputError(f"{path.name} has more than one column {twice[0]!r}; column names must be unique")
    if columns is None:
        _check_named(cells, path.name)
    wanted = names if columns is None else chosen_columns(names, columns, path.name)
    if not cells.n_rows:
        raise InputError(f"{path.name} has 0 rows and {len(names)} columns; expected numbers")
    places = [cells.names.index(name) for name in wanted]
    with reading(path.name, "save it again as a plain table of numbers"):
        found = pd.read_csv(
            io.BytesIO(cells.body.encode()), sep=cells.separator, header=None, names=range(len(cells.names)),
            usecols=places, index_col=False, keep_default_na=False, na_values=MISSING, skip_blank_lines=False,
            decimal=decimal, skipinitialspace=cells.separator != "\t", quoting=cells.quoting,
        )[places].set_axis(wanted, axis=1)  # fmt: skip
        numbers = found.apply(pd.to_numeric, errors="coerce").astype(np.float64)
    text = numbers.isna() & found.notna()
    if decimal == ",":  # to_numeric knows points only, and 1.234 may be a thousand
        unread = found.map(lambda cell: isinstance(cell, str))
        odd = unread & ~found.map(lambda cell: is_number(str(cell).replace(",", ".")) and "." not in str(cell))
        text = odd if odd.to_numpy().any() else unread
    if text.to_numpy().any():
        row, column = np.argwhere(text.to_numpy())[0]
        raise _not_a_number(path.name, wanted[column], row + 1, str(found.iloc[row, column]), decimal)
    if columns is None:
        _refuse_an_index(numbers, path.name)
        _tell_of_a_second_header(numbers, path.name)
    return numbers


def decimal_in(path: str | Path, columns: Sequence[str], told: Literal[".", ","]) -> Literal[".", ","]:
    """The decimal sign of columns of a table of which it was told that of other tables.

    Parameters
    ----------
    path : str or Path
    columns : sequence of str
        Names.
    told : {".", ","}

    Returns
    -------
    {".", ","}
        A point though a comma was told, if they hold points alone, not all of which may stand between thousands.
    """
    if told == ".":
        return told
    cells = read_cells(Path(path), decimal=told)
    places = [cells.names.index(name) for name in columns]
    signed = [cell for row in cells.rows() for place in places if "," in (cell := row[place]) or "." in cell]
    points = any("," not in cell and not _THOUSANDS.fullmatch(cell.strip()) for cell in signed)
    return "." if points and not any("," in cell for cell in signed) else told


def _refuse_an_index(numbers: pd.DataFrame, source: str) -> None:
    """Columns that count volumes or name runs are no regions, and stood there unseen."""
    columns = dict(zip(map(str, numbers), numbers.to_numpy().T, strict=True))
    counts = [name for name, column in columns.items() if _counts(column)]
    labels = [name for name, column in columns.items() if _labels(column, 2 if counts else 4)]
    if not counts:
        labels = [name for name in labels if np.ptp(columns[name]) and len(numbers) >= FEW]
    found = [name for name in columns if name in counts or name in labels]
    others = [name for name in columns if name not in found]
    if not found:
        return
    does = "goes on in equal steps" if counts else "holds the same number for many rows"
    named = f"column {found[0]!r} " + (f"(and {', '.join(map(repr, found[1:5]))}) " if found[1:] else "")
    told = f"{source}: {named}{does}, as if it counted volumes or runs"
    near_zero = any(0 <= columns[name][0] <= len(numbers) * (columns[name][1] - columns[name][0]) for name in counts)
    if not near_zero or len(numbers) < FEW or not others:
        log.warning("%s; if it does, name the columns that are regions", told)
        return
    shown = ", ".join([*map(repr, others[:3]), *(["..."] if others[3:] else [])])
    raise InputError(f"{told}, and no region does: name the columns that are regions, as in columns=[{shown}]")


def _counts(column: np.ndarray) -> bool:
    """Whether a column goes on in equal steps, all the way or from its first number on again and again."""
    if len(column) < 3 or not np.isfinite(column).all() or column[0] == column[1]:
        return False
    starts = np.flatnonzero(column == column[0])
    steps = np.delete(np.diff(column), starts[1:] - 1)
    lengths = np.diff(starts)
    return bool(np.abs(steps - steps[0]).max() <= EVEN * abs(steps[0]) and (lengths > 2).all())


def _labels(column: np.ndarray, rows: int) -> bool:
    """Whether a column holds one number after another, as that of the run, each for more than `rows` rows or so."""
    changes = int((np.diff(column) != 0).sum())
    return changes * rows < len(column) and changes + 1 == len(np.unique(column))


def _tell_of_a_second_header(numbers: pd.DataFrame, source: str) -> None:
    values = numbers.to_numpy()
    if len(values) < FEW or values.shape[1] < 2 or not np.isfinite(values[0]).all():
        return
    whole = values % 1 == 0
    if whole[0].all() and not whole[1:].any() and len(set(values[0])) == len(values[0]):
        log.warning(
            "%s: its first row holds whole numbers, %s, and no other row one: if they are names, take the row out",
            source, ", ".join(f"{number:g}" for number in values[0][:3]),
        )  # fmt: skip


def column_names(path: str | Path, decimal: str = ".") -> list[str]:
    """Names of the columns of a table, as :func:`read_table` knows them.

    Parameters
    ----------
    path : str or Path
    decimal : {".", ","}
        What stands before the decimals of the numbers.

    Returns
    -------
    list of str
        Without columns that have no name.

    Raises
    ------
    InputError
        If the file is no table, or a row does not fit its header.
    """
    return [name for name in read_cells(Path(path), decimal=decimal).names if name]


def _check_named(cells: Cells, source: str) -> None:
    for place, name in enumerate(cells.names, 1):
        if name == "" or (place == 1 and name in UNNAMED):
            raise InputError(
                f"{source}: column {place} has no name, and neither counts nor names the rows; give it a name, or name "
                "the columns to read"
            )


def _not_a_number(source: str, column: str, row: int, cell: str, decimal: str) -> InputError:
    remedy = "name the columns to read"
    if decimal == "." and re.fullmatch(r"[-+]?\d*,\d+(e[-+]?\d+)?", cell, re.IGNORECASE):
        remedy = "if its comma is a decimal comma, pass decimal=','; remove commas between thousands"
    elif re.fullmatch(r"[-+]?\d+([.,]\d+)+", cell):
        remedy = f"decimals are set off by {decimal!r}, and thousands by nothing"
    return InputError(f"{source}: column {column!r}, row {row} holds {cell!r}, not a number; {remedy}")


def chosen_columns(names: list[str], patterns: Sequence[str], source: str) -> list[str]:
    """The columns that fit the patterns, each once, in the order of the patterns.

    Parameters
    ----------
    names : list of str
        Of all columns.
    patterns : sequence of str
        Names or shell patterns such as ``"trans_?"``.
    source : str
        What the message calls the table.

    Returns
    -------
    list of str

    Raises
    ------
    InputError
        If a pattern fits no column.
    """
    chosen: dict[str, None] = {}
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        found = [pattern] if pattern in names else fnmatch.filter(names, pattern)
        if not found:
            near = difflib.get_close_matches(pattern, names, n=3) or names[:5]
            raise InputError(f"{source} has no column {pattern!r}; it has {len(names)}, such as {', '.join(near)}")
        chosen |= dict.fromkeys(found)
    return list(chosen)
