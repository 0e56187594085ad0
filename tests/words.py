"""Small tables of words with their times, and the options that extract them without a sentence model."""

from __future__ import annotations

from pathlib import Path

BARE = ["--text-model", "none", "--tr", 2]
ROWS = [(0.5, 1.0, "once"), (1.5, 2.5, "upon a time"), (6, 7, "there"), (11, 13, "was")]


def words(folder: Path, rows=ROWS, head=("onset", "offset", "text"), name="words.tsv") -> Path:
    lines = ["\t".join(map(str, row)) for row in (head, *rows)]
    (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / name
