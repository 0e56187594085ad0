"""``giblet report``: one page of a run, to look at and to listen to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from giblet.cli.shared import Json, app, busy, out, print_json


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="Folder of giblet train, encode or codec evaluate.", show_default=False)],
    out_file: Annotated[
        Path | None,
        typer.Option(
            "--out-file", "-o", help="Where the page shall be; default: report.html in the run.", show_default=False
        ),
    ] = None,
    original: Annotated[
        list[Path] | None,
        typer.Option(
            help="Film that features of a training run are of, to hear it; once for each.", show_default=False
        ),
    ] = None,
    alignment: Annotated[
        Path | None,
        typer.Option(
            help="What check-alignment --json printed; default: alignment.json in the run.", show_default=False
        ),
    ] = None,
    show: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that is no page of giblet's.")] = False,
    as_json: Json = False,
) -> None:
    """Write one page of a run: figures beside chance, players, brain maps, training curves, and what was left out."""
    with busy("writing the page"):
        from giblet.pipeline.report import page_path
        from giblet.pipeline.report import report as job

        path = page_path(run, out_file, overwrite=overwrite)
        page = job(run, original=original or (), alignment=alignment)
        page.save_as_html(path)
    if as_json:
        print_json({"page": str(path), "title": page.title, "sections": [one.title for one in page.sections]})
    else:
        out.print(str(path), markup=False)
    if show:
        typer.launch(path.absolute().as_uri())
