"""``giblet codec``: train a codec, measure how good one is, and say what it is."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from giblet.cli.shared import Device, Json, OneByOne, app, bar, busy, err, know_options, out, print_json, table

if TYPE_CHECKING:
    from giblet.progress import TrainingProgress, TrainingStep

codec = typer.Typer(
    cls=OneByOne, no_args_is_help=True, rich_markup_mode=None, help="Train a codec, measure it, or say what one is."
)
codec.callback()(know_options)
app.add_typer(codec, name="codec")

NOT_LOSSES = ("lr", "gradient")
"""What training says of a step beside its losses."""


@codec.command()
def train(
    config: Annotated[Path, typer.Argument(help="YAML file of training settings.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Train a codec, going on from the last checkpoint in the output folder if there is one.

    Ctrl-C saves one before it leaves, and so does SIGTERM, which clusters send to jobs that run out of time.
    """
    from giblet.pipeline.codec_training import codec_training_settings, step_to_go_on_from, train_codec

    settings = codec_training_settings(config)
    logging.getLogger("giblet.codec").setLevel(logging.INFO)
    try:
        with _losses() as progress:
            trained = train_codec(settings, progress=progress)
    except (KeyboardInterrupt, SystemExit):
        step = step_to_go_on_from(settings)
        what = f"goes on from the last checkpoint, step {step} in {settings.output / 'checkpoints'}"
        if step is None:
            what = "starts from the beginning: no checkpoint yet"
        err.print(f"giblet: training stopped; the same command {what}", markup=False)
        raise
    if as_json:
        print_json({"codec": str(trained.codec)})
    else:
        out.print(f"{trained.codec}: trained; use it with --codec {trained.codec}", markup=False)


@contextmanager
def _losses() -> Iterator[TrainingProgress | None]:
    """A bar on stderr with step, time left and losses; None, to have them logged, where it is no terminal."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.table import Column

    if not err.is_terminal:
        yield None
        return
    columns = (
        TextColumn("step {task.fields[step]}/{task.fields[steps]}"), BarColumn(20), TimeRemainingColumn(),
        TextColumn("{task.description}", table_column=Column(overflow="fold")),
    )  # fmt: skip
    with Progress(*columns, console=err, transient=True, speed_estimate_period=300) as bars:
        waiting = [bars.add_task("reading sounds", total=None, step="-", steps="-")]

        def show(at: TrainingStep) -> None:
            losses = "  ".join(f"{name} {value:.4g}" for name, value in at.means.items() if name not in NOT_LOSSES)
            now: dict[str, Any] = {"description": losses, "completed": at.done, "step": at.step, "steps": at.steps}
            if waiting:
                bars.remove_task(waiting.pop())
            if bars.tasks:
                bars.update(bars.task_ids[0], **now)
            else:  # only now: what earlier runs did is no part of this one's speed
                bars.add_task(total=1.0, **now)

        yield show


@codec.command()
# 11 parameters, of a Typer command: one for each option.
def evaluate(
    sounds: Annotated[list[Path], typer.Argument(help="Folders of sound, or sound files.", show_default=False)],
    name: Annotated[
        str, typer.Option("--codec", help="bundled, a folder with an EnCodec model, or a hub name.")
    ] = "bundled",
    out_dir: Annotated[Path, typer.Option("--out-dir", "-o", help="Folder for codec_report.html and .json.")] = Path(),
    seconds: Annotated[float, typer.Option(help="How much of each file's beginning to use, s.")] = 8.0,
    limit: Annotated[int | None, typer.Option(help="Use so many files, spread over all that are found.")] = None,
    held_out: Annotated[
        Path | None, typer.Option(help="Training settings: use only what they hold out of training.")
    ] = None,
    tr: Annotated[float, typer.Option(help="Repetition time of the scan, s, for the numbers per TR.")] = 1.5,
    players: Annotated[int, typer.Option(help="Clips to listen to in the page.")] = 3,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a report of something else.")] = False,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Measure what a codec keeps of sound, beside mel spectrograms, and write a page to listen to."""
    with bar("scoring") as progress:
        from giblet.pipeline.codec import evaluate_codec
        from giblet.pipeline.codec_report import quality_table

        result = evaluate_codec(
            sounds, name, out_dir, seconds=seconds, limit=limit, held_out=held_out, tr=tr, players=players,
            device=device, overwrite=overwrite, progress=progress,
        )  # fmt: skip
    quality = result.quality
    if as_json:
        print_json(quality.as_dict() | {"page": str(result.page), "data": str(result.data)})
        return
    out.print(f"codec {name}: means over {quality.n_clips} clips, {quality.seconds:.0f} s of sound", markup=False)
    columns(*quality_table(quality))
    for note in quality.notes:
        out.print(note, markup=False)
    out.print(f"{result.page}: the same, with players\n{result.data}: the scores of each clip", markup=False)


def columns(headers: list[str], rows: list[list[str]]) -> None:
    """A table in plain text: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(headers, *rows, strict=True)]
    for cells in (headers, *rows):
        line = [cells[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(cells[1:], widths[1:], strict=True))]
        out.print("  " + "  ".join(line).rstrip(), markup=False)


@codec.command("info")
def info(
    name: Annotated[str, typer.Argument(help="bundled, a folder with an EnCodec model, or a hub name.")] = "bundled",
    bandwidth: Annotated[float, typer.Option(help="kbps, as far as the codec has codebooks.")] = 6.0,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Say what a codec does: its clock, its codebooks, its fingerprint."""
    with busy("loading the codec"):
        from giblet.pipeline.codec import describe_codec

        about = asdict(describe_codec(name, bandwidth=bandwidth, device=device))
    if as_json:
        print_json(about)
    else:
        table(f"codec {about.pop('codec')}", about)
