"""Text tables whose rows fit their header, so that every cell stands under its own name."""

from __future__ import annotations

import csv
import gzip
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from giblet.errors import InputError, reading
from giblet.limits import check_limit, limit

SEPARATORS = {".tsv": "\t", ".csv": ","}
SPOKEN = {"\t": "tab", ",": "comma", ";": "semicolon", " ": "space"}
UNNAMED = ("", "Unnamed: 0", "rownames", "row.names", "...1")
"""What pandas, R and readr call a column of row names that was written without a name."""

NO_NAMES = ("n/a", "na", "nan", "none", "null", "#n/a", "<na>")
"""What says in a cell that there is no number."""

Quoting = Literal[0, 3]
"""``csv.QUOTE_MINIMAL``, or ``csv.QUOTE_NONE``: quotation marks are part of the text."""


@dataclass(frozen=True)
class Cells:
    """A table of text."""

    names: list[str | None]
    """Of each cell of a row; None where it holds no data: row names, a count of the rows, nothing at all."""
    body: str
    """The rows."""
    n_rows: int
    separator: str
    quoting: Quoting

    def rows(self) -> Iterator[list[str]]:
        """The cells of each row; lines without any are left out.

        Returns
        -------
        iterator of list of str
        """
        return (row for row in _split(self.body, self.separator, self.quoting) if any(map(str.strip, row)))


def separator_of(path: str | Path) -> str | None:
    """What the cells of a table are separated by, as its name says.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    str or None
        A tab or a comma; None if it is no text table.

    Examples
    --------
    >>> separator_of("sub-18_bold.tsv.gz"), separator_of("sub-18_bold.nii.gz")
    ('\\t', None)
    """
    return SEPARATORS.get(Path(str(path).lower().removesuffix(".gz")).suffix)


def decoded(path: Path, encoding: str | None = None) -> str:
    """The text of a file, gzipped or not, with ``\\n`` at the end of each line.

    Parameters
    ----------
    path : Path
    encoding : str, optional
        By default UTF-8, or UTF-16 if the file begins with its byte-order mark.

    Returns
    -------
    str

    Raises
    ------
    InputError
        If the file cannot be read, or is not in that encoding.
    """
    with reading(path, "check its name, and that it is whole"):
        most = round(limit("table_mb") * 1e6) + 1
        with gzip.open(path) if path.suffix.lower() == ".gz" else open(path, "rb") as file:
            content = file.read(most)
    if len(content) == most:
        check_limit("table_mb", max(len(content), path.stat().st_size) / 1e6, path.name, "MB of text, or more")
    if encoding is None:
        encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except LookupError as exc:
        raise InputError(f"encoding {encoding!r} is unknown: 'utf-8', 'cp1252', 'latin-1', 'utf-16', ...") from exc
    except UnicodeError as exc:
        raise InputError(
            f"{path.name} is not {encoding} ({' '.join(str(exc).split())[:80]}); pass its encoding, such as 'cp1252', "
            "or save it as UTF-8"
        ) from exc
    if "\0" in text:
        raise InputError(
            f"{path.name} holds NUL characters: it is probably UTF-16; pass encoding='utf-16-le' or -be, or save it "
            "as UTF-8"
        )
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def read_cells(path: Path, encoding: str | None = None, *, words: bool = False, decimal: str = ".") -> Cells:
    """The cells of a text table, once all rows are known to fit the header.

    The separator is that of the name (tab, comma), or else the one that the header shows: tab, comma, semicolon, or
    spaces. Lines above the header that begin with ``#`` are comments; the last of them is the header if the table
    begins with numbers and it names them all, as :func:`numpy.savetxt` writes it. Row names of R and index columns of
    pandas are recognised if they count the rows, from 0 or 1, or (in a table of numbers) name each differently. A first
    row that holds nothing but numbers and signs of missing ones, or one number with decimals, may be data: it is a
    header only where it has no name for an index column below it.

    Parameters
    ----------
    path : Path
        ``.tsv`` or ``.csv``, or either with ``.gz``.
    encoding : str, optional
        As for :func:`decoded`.
    words : bool
        The table holds text: quotation marks in a ``.tsv`` are part of it unless the header has them too, and blank
        lines are no rows.
    decimal : str
        Decimal sign of the numbers. It separates cells only where numbers stand in quotation marks.

    Returns
    -------
    Cells

    Raises
    ------
    InputError
        If there is no header, or none for certain, or a row does not fit it; the row is named, counted from 1 below the
        header.
    """
    declared = separator_of(path)
    if declared is None:
        raise InputError(f"{path.name} is no table that giblet reads; expected .tsv, .csv, or either with .gz")
    text = decoded(path, encoding).rstrip("\n ")
    if excel := re.match(r'"?sep=(.)"?\n', text):  # a line for Excel, and no part of the table
        declared, text = excel[1], text[excel.end() :]
    above = re.match(r"(?:[ \t]*\n|#[^\n]*(?:\n|\Z))*", text)
    assert above is not None
    comments = [line for line in above[0].split("\n") if line.strip()]
    text = text[above.end() :]
    if not text:
        raise InputError(f"cannot read the table {path.name}: it is empty; expected a header and rows below it")
    table = _Table(path.name, text, comments[-1] if comments else None, words)
    first_line, problem = text.split("\n", 1)[0], None
    marks = words and ".tsv" in path.name.lower() and not first_line.startswith('"')
    for separator in _separators(first_line, declared, text, decimal):
        for quoting in (csv.QUOTE_NONE, csv.QUOTE_MINIMAL) if marks else (csv.QUOTE_MINIMAL,):
            try:
                return table.split(separator, quoting)
            except _NoHeader as exc:  # other separators would make names of pieces of numbers
                raise InputError(str(exc)) from exc
            except InputError as exc:
                problem = problem or exc
    assert problem is not None
    raise problem


def _separators(line: str, declared: str, text: str, decimal: str) -> list[str]:
    """What may separate the cells of a table that begins with this line, likeliest first."""
    if declared == decimal:
        others = [separator for separator in _separators(line, ";", text, ".") if separator != decimal]
        return [*others, decimal]
    shown = [separator for separator in dict.fromkeys([declared, *"\t,;"]) if _width(line, separator) > 1]
    if declared in shown:
        return shown
    if shown:  # or it is one column whose name holds a comma
        rows = text.partition("\n")[2]
        return shown if any(separator in rows for separator in shown) else [*shown, declared]
    return [" ", declared] if " " in line.strip() else [declared]


def _width(line: str, separator: str) -> int:
    try:
        return len(next(csv.reader([line], delimiter=separator, strict=True), []))
    except csv.Error:
        return 1


def _split(text: str, separator: str, quoting: Quoting) -> Iterator[list[str]]:
    lines = (line[0] for line in re.finditer(r"[^\n]*\n|[^\n]+", text))  # io.StringIO would need 4 bytes a character
    # strict: an open quotation mark would otherwise swallow all rows below it.
    return csv.reader(lines, delimiter=separator, quoting=quoting, strict=True, skipinitialspace=separator != "\t")


def is_number(text: str) -> bool:
    """Whether a cell is a number as Python writes it; ``nan`` and ``inf`` are.

    Parameters
    ----------
    text : str

    Returns
    -------
    bool
    """
    try:
        float(text)
    except ValueError:
        return False
    return True


_DECIMAL = re.compile(r"[-+]?(?:\d+[.,]\d*|[.,]\d+)(?:e[-+]?\d+)?", re.IGNORECASE)


def is_decimal(text: str) -> bool:
    """Whether a cell is a number with a decimal sign, a point or a comma.

    Parameters
    ----------
    text : str

    Returns
    -------
    bool

    Examples
    --------
    >>> is_decimal("0,72"), is_decimal("1.5e3"), is_decimal("7"), is_decimal("V1.1")
    (True, True, False, False)
    """
    return _DECIMAL.fullmatch(text.strip()) is not None


def _is_datum(text: str) -> bool:
    """Whether a cell can be no name: it holds a number, several, or says that there is none (``n/a``, ``.``, ``-``)."""
    return bool(text) and all(
        is_number(part) or is_decimal(part) or part.lower() in NO_NAMES or not any(map(str.isalnum, part))
        for part in re.split(r"[\s;]+", text.strip())
    )


class _NoHeader(InputError):
    """The first row may be data."""


@dataclass(frozen=True)
class _Table:
    name: str
    text: str
    """From the first line that is no comment."""
    comment: str | None
    """The last line above it."""
    words: bool

    def split(self, separator: str, quoting: Quoting) -> Cells:
        """The cells, if they are separated by this.

        Raises
        ------
        InputError
            If a row does not fit the header, or there is none.
        """
        if separator == " ":
            comment = None if self.comment is None else "#" + self._tabbed(self.comment.lstrip("#"))
            return _Table(self.name, self._tabbed(self.text), comment, self.words).split("\t", csv.QUOTE_MINIMAL)
        with reading(self.name, "is there a quotation mark too many, or too few?"):
            lines = _split(self.text, separator, quoting)
            header = [name.strip() for name in next(lines)]
            height = lines.line_num  # type: ignore[attr-defined]
        named = self._comment_names(header, separator)
        body = self.text if named else "".join(self.text.split("\n", height)[height:])
        header = named or header
        widths, first, last_empty = self._measure(body, separator, quoting, len(header))
        names = _names(header, widths, first, last_empty, self.words)
        over_an_index = names is not None and names[0] is None
        if not over_an_index and (
            all(map(_is_datum, header))
            or any(map(is_decimal, header))
            or (self.comment and not named and any(map(_is_datum, header)))
        ):
            raise self._no_header(header)
        if names is None:
            raise self._misfit(header, widths, first, separator)
        return Cells(names, body, len(widths), separator, quoting)

    def _no_header(self, row: Sequence[str]) -> _NoHeader:
        number = next(filter(str.isdigit, row), "1")
        comment = "" if self.comment is None else f"; {self.comment.strip()[:40]!r} above it does not name its columns"
        return _NoHeader(
            f"{self.name} has no header, or one of numbers: its first row is {', '.join(row[:3])}{comment}; if it is "
            "data, put the names of the columns above it; if it holds the names, rename them so that they are no "
            f"numbers, such as r{number}"
        )

    def _tabbed(self, text: str) -> str:
        """A text with one tab for each run of spaces between cells."""
        written = io.StringIO(newline="")
        lines = (" ".join(line.split("\t")).strip() for line in text.split("\n"))
        with reading(self.name, "is there a quotation mark too many, or too few?"):
            rows = csv.reader(lines, delimiter=" ", skipinitialspace=True, strict=True)
            csv.writer(written, delimiter="\t", lineterminator="\n").writerows(rows)
        return written.getvalue().rstrip("\n")

    def _comment_names(self, row: Sequence[str], separator: str) -> list[str]:
        """Names that stand in the comment above a first row of numbers, if they are those of its cells."""
        if self.comment is None or not any(map(_is_datum, row)):
            return []
        names = next(csv.reader([re.sub(r"^#+ ?", "", self.comment)], delimiter=separator), [])
        return [name.strip() for name in names] if len(names) == len(row) > 1 and not any(map(_is_datum, names)) else []

    def _measure(self, body: str, separator: str, quoting: Quoting, n_names: int) -> tuple[list[int], list[str], bool]:
        """Cells in each row, the first of each, and whether the last of all are empty."""
        widths, first, last_empty = [], [], True
        with reading(self.name, "is there a quotation mark too many, or too few?"):
            for row in _split(body, separator, quoting):
                if self.words and not any(map(str.strip, row)):
                    continue
                if not row and n_names == 1:
                    row = [""]
                widths.append(len(row))
                first.append(row[0].strip() if row else "")
                last_empty &= bool(row) and not row[-1].strip()
        return widths, first, last_empty

    def _misfit(self, header: Sequence[str], widths: Sequence[int], first: Sequence[str], separator: str) -> InputError:
        common = Counter(widths).most_common(1)[0][0]
        fitting = widths.count(len(header))
        usual = common if common - len(header) == 1 and fitting < widths.count(common) < len(widths) else len(header)
        number = next(number for number, width in enumerate(widths, 1) if width != usual)
        width = widths[number - 1]
        if width == 0:
            return InputError(
                f"{self.name}, row {number} is an empty line: write n/a into each cell if the volume has no values, or "
                "remove the line"
            )
        if self.words:
            advice = f"put text that holds a {SPOKEN.get(separator, separator)} into quotes"
        elif separator == ",":
            advice = "give each column a name; numbers with decimal commas must be separated by semicolons or tabs"
        else:
            advice = "give each column a name, and write n/a where there is no number"
        if len(set(widths)) == 1 and width == len(header) + 1 and not self.words:
            return InputError(
                f"{self.name}: each row has {width} cells, the header {len(header)}, and the first of them "
                f"({', '.join(first[:3])}, ...) neither count nor name the rows; {advice}"
            )
        count = "1 cell" if width == 1 else f"{width} cells"
        return InputError(f"{self.name}, row {number}: {count}, expected {usual}; {advice}")


def _names(
    header: Sequence[str], widths: Sequence[int], first: Sequence[str], last_empty: bool, words: bool
) -> list[str | None] | None:
    """Names of the cells of each row, None for those without data; None if the rows do not fit the header."""
    names: list[str | None] = list(header)
    if not widths:
        return names
    if len(set(widths)) > 1:
        return None
    extra = widths[0] - len(names)
    if extra == 1 and last_empty:  # a separator at the end of each row
        return [*names, None]
    if extra == 1 and len(header) == 1 and any(separator in header[0] for separator in SPOKEN if separator != " "):
        return None  # the header has another separator than the rows
    if extra == 1 and (_count(first) or (not words and _label(first))):
        return [None, *names]
    if extra == -1 and names[-1] == "":
        return names[:-1]
    if extra:
        return None
    if len(names) > 1 and names[-1] == "" and last_empty:
        names[-1] = None
    if len(names) > 1 and names[0] in UNNAMED and (_count(first) or _label(first)):
        names[0] = None
    return names


def _count(cells: Sequence[str]) -> bool:
    """Whether the cells count the rows, from 0 or from 1."""
    if len(cells) < 2 or not all(map(is_number, cells)):
        return False
    numbers = [float(cell) for cell in cells]
    return numbers[0] in (0, 1) and numbers == [numbers[0] + k for k in range(len(numbers))]


def _label(cells: Sequence[str]) -> bool:
    """Whether the cells are names, each another."""
    return len(cells) > 1 and len(set(cells)) == len(cells) and not any(not c or is_number(c) for c in cells)
