"""Try many damaged files by hand: ``python -m tests.fuzz --count 50000 --write docs/robustness.md``.

One of the files is made again, to look at, by ``python -m tests.fuzz --formats SRT --first 38 --count 1 --keep HERE``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from tests.fuzz.formats import FORMATS
from tests.fuzz.page import PAGE, merged
from tests.fuzz.running import FAULT, OUTSIDE, Originals, cases_of, counted, run


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=2000, help="files in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first file of each format")
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS), metavar="FORMAT")
    parser.add_argument("--keep", type=Path, help="write the files here, and read none")
    parser.add_argument("--write", type=Path, nargs="?", const=PAGE, help="the page; its figures are added to")
    asked = parser.parse_args(arguments)
    shown, bad = Console(highlight=False, soft_wrap=True), 0
    cases = cases_of(asked.formats, asked.count, asked.seed, asked.first)
    with tempfile.TemporaryDirectory() as folder:
        if asked.keep is not None:
            originals = Originals(Path(folder))
            for case in cases:
                shown.print(originals.write(case, asked.keep / f"{case.format.replace(' ', '_')}-{case.number}"))
            return 0
        for name in asked.formats:
            outcomes = []
            for outcome in run([case for case in cases if case.format == name], Path(folder) / name):
                outcomes.append(outcome)
                if outcome.kind in (FAULT, OUTSIDE):
                    shown.print(f"{outcome.case}: {outcome.told}", markup=False)
            counts = counted(outcomes)
            bad += counts[name][FAULT]
            shown.print(f"{name}: {dict(counts[name])}", markup=False)
            if asked.write is not None:  # after each format, as the whole takes hours
                asked.write.write_text(merged(asked.write, counts), encoding="utf-8")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
