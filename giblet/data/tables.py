"""Tables of numbers beside a scan, one row per volume: regions, confounds."""

from __future__ import annotations

import csv
import difflib
import fnmatch
import gzip
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from giblet.errors import InputError, reading

SEPARATORS = {".tsv": "\t", ".csv": ","}
MISSING = ["n/a", "NA", "NaN", "nan", ""]
"""Cells that hold no number: BIDS writes n/a."""


def is_table(path: str | Path) -> bool:
    """Whether the name is that of a table: .tsv, .csv, .tsv.gz or .csv.gz.

    Examples
    --------
    >>> is_table("sub-18_bold.tsv.gz"), is_table("sub-18_bold.nii.gz")
    (True, False)
    """
    return _suffix(path) in SEPARATORS


def _suffix(path: str | Path) -> str:
    return Path(str(path).lower().removesuffix(".gz")).suffix


def read_table(path: str | Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """A table of numbers with a header, one row per volume.

    Parameters
    ----------
    path : str or Path
        ``.tsv`` or ``.csv``, or either with ``.gz``.
    columns : sequence of str, optional
        Names or shell patterns (``"a_comp_cor_0[0-4]"``), in the order wanted; by default all columns. Of the columns
        that are left out, nothing is checked.

    Returns
    -------
    pandas.DataFrame of float64, shape (n_trs, n_columns)
        Empty cells and ``n/a`` are NaN.

    Raises
    ------
    InputError
        If the file cannot be read, has no header or names a column twice, or a column asked for is not there or
        holds text.
    """
    path = Path(path)
    if not is_table(path):
        raise InputError(f"{path.name} is no table that giblet reads: .tsv, .csv, or either with .gz is needed")
    separator = SEPARATORS[_suffix(path)]
    try:
        names = _header(path, separator)
        wanted = names if columns is None else chosen_columns(names, columns, path.name)
        cells = pd.read_csv(
            path, sep=separator, usecols=wanted, index_col=False, keep_default_na=False, na_values=MISSING,
            skip_blank_lines=False, encoding="utf-8-sig",
        )[wanted]  # fmt: skip
    except (OSError, UnicodeDecodeError, csv.Error, pd.errors.ParserError, pd.errors.EmptyDataError) as exc:
        raise InputError(f"cannot read the table {path}: {' '.join(str(exc).split())}") from exc
    if cells.empty:
        raise InputError(f"{path.name} has {len(cells)} rows and {cells.shape[1]} columns: numbers are needed")
    numbers = cells.apply(pd.to_numeric, errors="coerce")
    text = numbers.isna() & cells.notna()
    if text.to_numpy().any():
        row, column = np.argwhere(text.to_numpy())[0]
        raise InputError(
            f"{path.name}: column {wanted[column]!r}, row {row + 1} holds {cells.iloc[row, column]!r}, not a number; "
            "name the columns to read"
        )
    return numbers.astype(np.float64)


def column_names(path: str | Path) -> list[str]:
    """Names of the columns of a table, as :func:`read_table` knows them.

    Raises
    ------
    InputError
        If the file is no table, or its header cannot be read.
    """
    path = Path(path)
    if not is_table(path):
        raise InputError(f"{path.name} is no table that giblet reads: .tsv, .csv, or either with .gz is needed")
    with reading(path):
        return _header(path, SEPARATORS[_suffix(path)])


def _header(path: Path, separator: str) -> list[str]:
    """Names of the columns; a first row of numbers is a volume, and would be lost as a header."""
    with gzip.open(path) if path.suffix.lower() == ".gz" else open(path, "rb") as file:
        text = file.readline().decode("utf-8-sig").rstrip("\r\n")
    names = next(csv.reader([text], delimiter=separator), [])
    if not names:
        raise InputError(f"{path.name} is empty: a header and one row per volume are needed")
    if all(_is_number(name) for name in names):
        raise InputError(
            f"{path.name} has no header: its first row is {', '.join(names[:3])}, which would be lost as volume 0; "
            "put the names of the regions above it"
        )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{path.name} has more than one column {twice[0]!r}: each name may stand once")
    return names


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


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
