"""Tables on pages of the documentation, each between two marks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def write_table(text: str, name: str, page: Path) -> None:
    """Put a table between the marks of its name on a page."""
    start, end = f"<!-- {name}: start -->", f"<!-- {name}: end -->"
    before, rest = page.read_text(encoding="utf-8").split(start)
    page.write_text(f"{before}{start}\n{text}\n{end}{rest.split(end)[1]}", encoding="utf-8")


def markdown(headers: Sequence[str], rows: Sequence[Sequence[str]], n_words: int = 1) -> str:
    """A table whose first columns (`n_words`) hold words and the others numbers."""
    lines = [headers, ["---"] * n_words + ["--:"] * (len(headers) - n_words), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
