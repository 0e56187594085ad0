"""``giblet doctor``: what a bug report needs."""

from __future__ import annotations

import typer

from giblet.cli.shared import Json, app, busy, err, print_json, table


@app.command()
def doctor(as_json: Json = False) -> None:
    """Print versions, device, codec, models and free disk, as a bug report needs them; 1 if something is wrong."""
    with busy("looking around"):
        from giblet.pipeline.doctor import doctor as look

        found = look()
    if as_json:
        print_json(found.as_dict())
    else:
        table("giblet doctor", dict(found.facts()))
        for problem in found.problems:
            err.print(f"giblet: problem: {problem}", markup=False)
    if found.problems:
        raise typer.Exit(1)
