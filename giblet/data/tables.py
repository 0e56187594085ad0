"""Tables of numbers beside a scan, one row per volume: regions, confounds."""

from __future__ import annotations

import difflib
import fnmatch
import io
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from giblet.data.cells import SEPARATORS as SEPARATORS  # of written tables too
from giblet.data.cells import UNNAMED, Cells, read_cells, separator_of
from giblet.errors import InputError, reading

log = logging.getLogger(__name__)

MISSING = ["n/a", "NA", "NaN", "nan", ""]
"""Cells that hold no number: BIDS writes n/a."""


def is_table(path: str | Path) -> bool:
    """Whether the name is that of a table: .tsv, .csv, .tsv.gz or .csv.gz.

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
        :func:`giblet.data.cells.read_cells` for what else is understood.
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
        asked for is not there, has no name or holds text.
    """
    path = Path(path)
    if decimal not in (".", ","):
        raise InputError(f"decimal is {decimal!r}: '.' or ',' is needed")
    cells = read_cells(path, decimal=decimal)
    names = [name for name in cells.names if name is not None]
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise InputError(f"{path.name} has more than one column {twice[0]!r}: each name may stand once")
    if columns is None:
        _check_named(cells, path.name)
    wanted = names if columns is None else chosen_columns(names, columns, path.name)
    if not cells.n_rows:
        raise InputError(f"{path.name} has 0 rows and {len(names)} columns: numbers are needed")
    places = [cells.names.index(name) for name in wanted]
    with reading(path.name, "save it anew as a plain table of numbers"):
        found = pd.read_csv(
            io.BytesIO(cells.body.encode()), sep=cells.separator, header=None, names=range(len(cells.names)),
            usecols=places, index_col=False, keep_default_na=False, na_values=MISSING, skip_blank_lines=False,
            decimal=decimal, skipinitialspace=cells.separator != "\t", quoting=cells.quoting,
        )[places].set_axis(wanted, axis=1)  # fmt: skip
        numbers = found.apply(pd.to_numeric, errors="coerce").astype(np.float64)
    text = numbers.isna() & found.notna()
    if decimal == ",":  # to_numeric knows points only, and 1.234 may be a thousand
        text |= found.map(lambda cell: isinstance(cell, str))
    if text.to_numpy().any():
        row, column = np.argwhere(text.to_numpy())[0]
        raise _not_a_number(path.name, wanted[column], row + 1, str(found.iloc[row, column]), decimal)
    if columns is None and len(numbers) > 2 and (numbers.iloc[:, 0].diff()[1:] == 1).all():
        log.warning(
            "%s: the numbers of column %r go up by one in each row, as if they counted the volumes; if they do, name "
            "the columns to read", path.name, wanted[0],
        )  # fmt: skip
    return numbers


def column_names(path: str | Path, decimal: str = ".") -> list[str]:
    """Names of the columns of a table, as :func:`read_table` knows them.

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
                f"{source}: column {place} has no name, and neither counts nor names the rows: give it a name, or name "
                "the columns to read"
            )


def _not_a_number(source: str, column: str, row: int, cell: str, decimal: str) -> InputError:
    remedy = "name the columns to read"
    if decimal == "." and re.fullmatch(r"[-+]?\d*,\d+(e[-+]?\d+)?", cell, re.IGNORECASE):
        remedy = "if its comma is a decimal comma, say decimal=','; one between thousands must go"
    elif re.fullmatch(r"[-+]?\d+([.,]\d+)+", cell):
        remedy = f"decimals are set off by {decimal!r}, and thousands by nothing"
    return InputError(f"{source}: column {column!r}, row {row} holds {cell!r}, not a number; {remedy}")


def chosen_columns(names: list[str], patterns: Sequence[str], source: str) -> list[str]:
    """The columns that fit the patterns, each once, in the order of the patterns."""
    chosen: dict[str, None] = {}
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        found = [pattern] if pattern in names else fnmatch.filter(names, pattern)
        if not found:
            near = difflib.get_close_matches(pattern, names, n=3) or names[:5]
            raise InputError(f"{source} has no column {pattern!r}; it has {len(names)}, such as {', '.join(near)}")
        chosen |= dict.fromkeys(found)
    return list(chosen)
