"""Stop each job at many points, and write what became of it into docs/robustness.md."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from typer import echo

from tests import commands
from tests.faults.jobs import JOBS, make_inputs
from tests.faults.killed import stops, survives, undisturbed
from tests.page_tables import span_of
from tests.trained import train_tiny

PAGE = Path(__file__).parents[2] / "docs" / "robustness.md"
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
HEAD = (
    "| job | killed | stopped by SIGTERM | by Ctrl-C | at work when it was stopped | losses |\n"
    "|---|--:|--:|--:|--:|--:|\n"
)


def table(counts: Mapping[str, Counter[str]]) -> str:
    """Rows by job: points tried by signal, how many of them found it at work, and losses."""
    kinds = (*(one.name for one in SIGNALS), "at work", "losses")
    rows = [f"| {job} | {' | '.join(f'{own[kind]:,}' for kind in kinds)} |" for job, own in counts.items()]
    return HEAD + "\n".join(rows) + "\n"


def written(page: str, counts: Mapping[str, Counter[str]]) -> str:
    """The page with other rows of some jobs."""
    start, end = span_of(page, "job")
    rows = {row.split(" | ")[0].strip("| "): row for row in page[start:end].splitlines()[2:]}
    rows |= {job: table({job: own}).splitlines()[2] for job, own in counts.items()}
    known = [rows[job.name] for job in JOBS if job.name in rows]
    return page[:start] + HEAD + "\n".join(known) + "\n" + page[end:]


def main(arguments: Sequence[str] | None = None) -> int:
    """Stop each job at many points; 1 if anything was lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--points", type=int, default=30, help="of each job killed; a fifth as many of each signal")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", nargs="+", choices=[job.name for job in JOBS], default=[job.name for job in JOBS])
    parser.add_argument("--write", action="store_true", help="the table of the page, of the jobs that were tried")
    options = parser.parse_args(arguments)
    counts: dict[str, Counter[str]] = {}
    with tempfile.TemporaryDirectory() as made:
        work = Path(made)
        (work / "trained").mkdir()
        (work / "inputs").mkdir()
        inputs = make_inputs(work / "inputs", train_tiny(commands.giblet, work / "trained", use_encodec=True))
        for job in (one for one in JOBS if one.name in options.jobs):
            whole = undisturbed(job, inputs, work / "out")
            own = counts[job.name] = Counter()
            for by in SIGNALS:
                n = options.points if by is signal.SIGKILL else -(-options.points // 5)
                for stop in stops(whole, n, options.seed, by):
                    own[by.name] += 1
                    try:
                        own["at work"] += survives(job, inputs, work / "out", whole, stop)
                    except Exception:  # noqa: BLE001  (what a reader raises of a half file)
                        own["losses"] += 1
                        echo(f"{job.name}, {stop}:\n{traceback.format_exc()}", err=True)
            echo(f"{job.name}: {dict(own)}")
    if options.write:
        PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), counts), encoding="utf-8")
    return int(any(own["losses"] for own in counts.values()))


if __name__ == "__main__":
    sys.exit(main())
