"""Where a table stands on a page of the documentation."""

import re


def span_of(text: str, first: str) -> tuple[int, int]:
    """Where the table begins and ends whose first column has a name."""
    start = text.index(f"| {first} |")
    table = re.compile(r"(?:\|[^\n]*(?:\n|\Z))*").match(text, start)
    assert table is not None
    return start, table.end()
