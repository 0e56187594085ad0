"""``giblet demo``: the whole way on a simulated brain, and on real ones; or a film through the codec and back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from giblet.cli.shared import Json, app, bar, err, print_json, table
from giblet.errors import InputError

if TYPE_CHECKING:
    from giblet.pipeline.demonstration.stages import Stage, Tell

REAL = ("alice", "lebel")
"""Data sets of real brains that the demonstration knows."""


@app.command()
def demo(
    film: Annotated[
        Path | None, typer.Argument(help="With --quick: a film of your own; default: the sample.", show_default=False)
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Only extract a film, decode it again, and say what was lost.")
    ] = False,
    real: Annotated[
        list[str] | None,
        typer.Option(
            help="Add real brains: alice (words and sound by region) or lebel (layers of a language model, and which "
            "passage was heard); may repeat.",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="With --real: folder of its data, or the one above it.", show_default=False)
    ] = None,
    out_dir: Annotated[Path, typer.Option("--out-dir", "-o", help="Folder for what the demo writes.")] = Path(
        "demo_output"
    ),
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what stands there of another film or other settings.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Go the whole way on a simulated brain: extract, simulate, train, reconstruct, encode, and a page of it all."""
    names = list(real or ())
    if quick:
        if names or data is not None:
            raise InputError("--real and --data are for the whole demo: leave out --quick, or leave them out")
        _quick(film, out_dir, overwrite, as_json)
        return
    if film is not None:
        raise InputError(f"the whole demo has a film of its own, and {film} is another: add --quick, or leave it out")
    if unknown := [name for name in names if name not in REAL]:
        raise InputError(f"--real is {unknown[0]!r}; expected {' or '.join(REAL)}")
    if bool(names) != (data is not None):
        lacking = "--data FOLDER" if names else f"--real {' or '.join(REAL)}"
        raise InputError(f"--real and --data belong together: give {lacking} too")
    with _lines() as tell:
        from giblet.pipeline import demo as run

        shown = run(out_dir, **dict.fromkeys(names, data), overwrite=overwrite, progress=tell)
    if as_json:
        print_json(shown.as_dict())
        return
    table("giblet demo: a simulated brain", dict(shown.lines))


def _quick(film: Path | None, out_dir: Path, overwrite: bool, as_json: bool) -> None:
    """A film through the codec and back."""
    with bar("demo") as progress:
        from giblet.pipeline import measure_round_trip

        result = measure_round_trip(film, out_dir, overwrite=overwrite, progress=progress)
    if as_json:
        print_json(result.as_dict())
        return
    features = result.features
    table("giblet demo", {
        "features": f"{features.path}  {tuple(features.about['shape'])}",
        "sound": result.sound.path,
        "speed": f"{features.realtime_factor:.1f}x real time (extraction)",
        "duration": f"{features.about['film_duration']:.3f} s in, {result.decoded_duration:.3f} s out",
        "round trip": f"SI-SDR {result.si_sdr:.2f} dB against the film's own sound",
        "level error": f"{result.level_error:+.2f} dB",
    })  # fmt: skip


@contextmanager
def _lines() -> Iterator[Tell]:
    """A line on stderr for each stage that has ended; on a terminal, a bar of the one that goes on."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(bar_width=20), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task("demo", total=1.0)
        now = [0]

        def tell(stage: Stage) -> None:
            place = f"{stage.number}/{stage.of} {stage.name:<11}"
            if stage.seconds is not None:
                err.print(f"{place}  {stage.what} ({stage.seconds:.0f} s)", markup=False)
                return
            if stage.number != now[0]:
                now[0] = stage.number
                progress.reset(task, description=place, total=None if stage.done is None else 1.0)
            if stage.done is not None:
                progress.update(task, total=1.0, completed=stage.done)

        yield tell
