"""The page of how many damaged files were tried, and what became of them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from tests.fuzz.running import FAULT, OUTSIDE, READ, REFUSED
from tests.page_tables import span_of

PAGE = Path(__file__).parents[2] / "docs" / "robustness.md"
KINDS = (READ, REFUSED, OUTSIDE, FAULT)
HEAD = "| format | tried | read | refused | stopped in a library | faults |\n|---|--:|--:|--:|--:|--:|\n"
_ROW = re.compile(r"^\| (?P<name>[^|]+) \| [\d,]+ \| (?P<numbers>[\d, |]+) \|$", re.MULTILINE)


def table(counts: Mapping[str, Counter[str]]) -> str:
    """Rows of the page, by format, and their sum."""
    whole: Counter[str] = sum(counts.values(), Counter())
    return HEAD + "\n".join(_row(name, own) for name, own in [*counts.items(), ("all", whole)])


def _row(name: str, counts: Counter[str]) -> str:
    return f"| {name} | {counts.total():,} | {' | '.join(f'{counts[kind]:,}' for kind in KINDS)} |"


def counts_in(text: str) -> dict[str, Counter[str]]:
    """What :func:`table` wrote."""
    found = {}
    start, end = span_of(text, "format")
    for row in _ROW.finditer(text[start:end]):
        numbers = [int(number.replace(",", "")) for number in row["numbers"].split(" | ")]
        found[row["name"]] = Counter(dict(zip(KINDS, numbers, strict=True)))
    found.pop("all", None)
    return found


def merged(page: Path, new: Mapping[str, Counter[str]]) -> str:
    """The page with more files counted."""
    text = page.read_text(encoding="utf-8")
    counts = counts_in(text)
    for name, own in new.items():
        counts[name] = counts.get(name, Counter()) + own
    start, end = span_of(text, "format")
    return text[:start] + table(counts) + "\n" + text[end:]
