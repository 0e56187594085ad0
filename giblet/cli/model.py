"""``giblet train``: the multimodal autoencoder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from giblet.cli.shared import Json, app, err, out, print_json

if TYPE_CHECKING:
    from giblet.progress import TrainingProgress, TrainingStep


@app.command()
def train(
    config: Annotated[Path, typer.Argument(help="YAML file of training settings.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Train the multimodal autoencoder, going on where the same configuration was stopped."""
    from giblet.pipeline.training import read_config
    from giblet.pipeline.training import train as run

    settings = read_config(config)
    from giblet.training.result import TrainingInterrupted

    try:
        with _bar() as progress:
            result = run(settings, progress=progress)
    except TrainingInterrupted as exc:
        if exc.rank == 0:
            err.print(
                f"giblet: training stopped after step {exc.step}, state saved in {settings.output / 'checkpoints'}; "
                "the same command goes on from there", markup=False,
            )  # fmt: skip
        raise SystemExit(128 + exc.signal) from exc  # said already, by one process
    if result.rank:
        return  # one process speaks for all
    if as_json:
        print_json(result.as_dict())
        return
    each = ", ".join(f"{name} {loss:.3f}" for name, loss in result.val.items())
    out.print(
        f"{result.folder}: {result.status} after {result.step} steps ({result.epoch:.4g} epochs, "
        f"{result.seconds:.0f} s); best validation {result.best_val:.3f} at {result.told_steps} ({each}"
        f"{_no_better(result.no_better_than_mean)}); TR {result.tr:g} s{_read_late(result.slice_time_ref)}, "
        f"split by {result.split}, runs {'' if result.centre_runs else 'not '}centred",
        markup=False,
    )


def _no_better(names: tuple[str, ...]) -> str:
    return f"; no better than the training mean: {', '.join(names)}" if names else ""


def _read_late(refs: dict[str, float]) -> str:
    """Of which subjects the volumes are read later than at their onset."""
    late: dict[float, list[str]] = {}
    for name, ref in refs.items():
        if ref:
            late.setdefault(ref, []).append(name)
    return "".join(f", volumes of {', '.join(who)} read {ref:.4g} TR after their onset" for ref, who in late.items())


@contextmanager
def _bar() -> Iterator[TrainingProgress]:
    """Steps and each loss on stderr, gone when the work is done; nothing where stderr is not a terminal."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("training"), BarColumn(bar_width=20), TextColumn("step {task.completed:.0f}/{task.total:.0f}"),
        TextColumn("{task.fields[losses]}"), TimeElapsedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task("training", total=1, completed=0, losses="reading the data")

        def show(at: TrainingStep) -> None:
            text = "  ".join(f"{name} {loss:.3f}" for name, loss in at.losses.items())
            progress.update(task, completed=at.step, total=at.steps, losses=text)

        yield show
