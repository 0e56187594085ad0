"""``giblet bids``: what a configuration takes from a BIDS dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from giblet.cli.shared import Json, app, busy, out, print_json

COLUMNS = ("run", "BOLD", "mask", "confounds", "TR", "from", "slice ref", "from", "volume 0 at", "left out")


@app.command()
def bids(
    config: Annotated[Path, typer.Argument(help="YAML file of training or encoding settings.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Print which scans a configuration takes from a BIDS dataset, and their clock, and read none of them."""
    with busy("looking for scans"):
        from giblet.pipeline.bids import bids_runs

        runs = bids_runs(config)
    if as_json:
        print_json({"runs": runs})
        return
    rows = [COLUMNS, *map(_cells, runs)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    out.print("\n".join(lines), markup=False)
    out.print(f"{len(runs)} runs of {len({run['entities']['subject'] for run in runs})} subjects", markup=False)


def _cells(run: dict[str, Any]) -> tuple[str, ...]:
    """A run as a row of the table; of files what follows the labels of the run, which come first."""
    from giblet.data.bids.files import OF_A_RUN

    bold = Path(run["bold"])
    labels = [part for part in bold.name.split("_") if part.partition("-")[0] in OF_A_RUN]

    def name(path: str | None) -> str:
        if path is None or path == "given":
            return path or "-"
        shown = Path(path).name.removeprefix("_".join(labels) + "_")
        return shown if Path(path).parent == bold.parent else f"{shown} in {Path(path).parent}"

    left_out = f"{run['dummy_scans']} first" + ("" if run["scrubbed"] is None else f", {run['scrubbed']} scrubbed")
    if run["discarded"]:
        left_out += f"; {run['discarded']} before the file"
    return (
        " ".join(labels), name(run["bold"]) + (" and hemi-R" if run["right"] else ""), name(run["mask"]),
        name(run["confounds"]), f"{run['tr']:g} s", name(run["tr_source"]), f"{run['slice_time_ref']:.4g}",
        name(run["slice_time_source"]), f"{run['stimulus_time_at_volume_0']:g} s", left_out,
    )  # fmt: skip
