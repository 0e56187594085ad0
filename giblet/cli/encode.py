"""``giblet encode``: voxelwise encoding models."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from giblet.cli.shared import (
    SOME_FAILED,
    Json,
    NWorkers,
    Retries,
    Scheduler,
    app,
    busy,
    err,
    fail,
    out,
    print_json,
    workers_of,
)
from giblet.errors import InputError
from giblet.files import check_there
from giblet.urls import is_url

if TYPE_CHECKING:
    from giblet.pipeline.encoding_result import EncodingResult, Tell


@app.command()
def encode(
    config: Annotated[Path, typer.Argument(help="YAML file of settings of an encoding run.", show_default=False)],
    features: Annotated[
        list[str] | None,
        typer.Option(
            help="Predict BOLD for this film from the saved fits: FILE, or NAME=FILE for each of several; with rows: "
            "clips, a table of other sounds."
        ),
    ] = None,
    out_dir: Annotated[
        Path | None, typer.Option("--out-dir", "-o", help="With --features: where predictions go; default: the run's.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace results of other settings or files.")] = False,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda; default: the settings'.")] = None,
    workers: NWorkers = None,
    scheduler: Scheduler = None,
    retries: Retries = None,
    as_json: Json = False,
) -> None:
    """Fit encoding models, test every voxel, and write maps, tables and a page."""
    where = workers_of(workers, scheduler, retries)
    at_a_time = workers is not None or scheduler is not None
    if features:
        for path in filter(None, (one if _is_path(one) else one.partition("=")[2] for one in features)):
            check_there(path)
        if at_a_time:
            raise InputError("--workers and --scheduler are for fits, one subject each: leave them out with --features")
        _predict(config, features, out_dir, overwrite, as_json)
        return
    if out_dir is not None:
        raise InputError("--out-dir is for --features: a run goes where `output` of its settings says")
    with _bar() as tell:
        from giblet.pipeline.encoding import encode as run

        result = run(config, overwrite=overwrite, device=device, progress=tell, **where)
    if as_json:
        print_json(result.as_dict())
    else:
        out.print("\n".join(_lines(result)), markup=False)
    for name, why in result.failed.items():
        fail(f"subject {name} is left out: {why}")
    if result.failed:
        raise typer.Exit(SOME_FAILED if at_a_time else 2)


def _lines(result: EncodingResult) -> Iterator[str]:
    for one in result.subjects:
        s = one.summary
        found = "no test" if s["n_q"] is None else f"{s['n_q']} with q <= .05, {s['n_fwe']} with p_fwe <= .05"
        mean = "-" if s["mean_r"] is None else f"{s['mean_r']:.3f}"
        size = f"{s['n_clips']} clips" if result.rows == "clips" else f"{s['n_trs_test']} TRs"
        yield f"{one.name}: mean r {mean} over {s['n_tested']} {s['unit']}s and {size}; {found} ({one.status})"
    if result.group is not None and "mean_r" in result.group.summary:
        g = result.group.summary
        mean = "-" if g["mean_r"] is None else f"{g['mean_r']:.3f}"
        found = "no test" if g["n_q"] is None else f"p = {g['mean_p']:.3g}; {g['n_q']} with q <= .05"
        yield f"group of {g['n_subjects']}: mean r {mean}, {found}"
    yield f"{result.report}"


def _predict(config: Path, features: list[str], out_dir: Path | None, overwrite: bool, as_json: bool) -> None:
    with busy("predicting"):
        from giblet.encoding.clip_settings import ClipSettings
        from giblet.pipeline.encoding import read_encode_config

        settings = read_encode_config(config)
        if isinstance(settings, ClipSettings):
            tables = [one for one in features if _is_path(one)]
            if len(tables) != 1:
                raise InputError(
                    f"--features names {len(tables)} tables of clips: give one, and NAME=FILE for each band that is a "
                    "file"
                )
            bands = _by_name([one for one in features if not _is_path(one)])
            from giblet.pipeline.encoding_sounds import predict_clips

            found = predict_clips(settings, tables[0], bands, out_dir, overwrite=overwrite)
            rows = [{"subject": r.subject, "path": str(r.path), "n_clips": len(r.names)} for r in found]
            lines = [f"{r.path}: {len(r.names)} clips" for r in found]
        else:
            given: Any = features[0] if len(features) == 1 and _is_path(features[0]) else _by_name(features)
            from giblet.pipeline.encoding_film import predict_film

            scans = predict_film(settings, given, out_dir, overwrite=overwrite)
            rows = [{"subject": s.subject, "path": str(s.path), "n_trs": len(s.bold), "tr": s.tr} for s in scans]
            lines = [f"{s.path}: {s.bold.shape[0]} TRs of {s.tr:g} s" for s in scans]
    if as_json:
        print_json(rows)
    else:
        out.print("\n".join(lines), markup=False)


def _is_path(given: str) -> bool:
    """Whether it is a file alone, without a name before it."""
    return "=" not in given or is_url(given) or Path(given).exists()


def _by_name(given: list[str]) -> dict[str, str]:
    pairs = [one.partition("=") for one in given]
    odd = next((one for one, (_, equals, path) in zip(given, pairs, strict=True) if not (equals and path)), None)
    if odd is not None:
        raise InputError(f"--features is {odd!r}: of several each is NAME=FILE, as in audio=film.nc")
    names = [name for name, _, _ in pairs]
    if len(set(names)) < len(names):
        raise InputError(f"--features names {max(names, key=names.count)} twice: give each name once")
    return {name: path for name, _, path in pairs}


@contextmanager
def _bar() -> Iterator[Tell]:
    """Subjects on stderr, gone when the work is done; nothing where stderr is not a terminal."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("encoding"), BarColumn(bar_width=20),
        TextColumn("{task.completed:.0f}/{task.total:.0f} subjects"), TextColumn("{task.fields[now]}"),
        TimeElapsedColumn(),
    )  # fmt: skip
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task("encoding", total=1, now="")
        yield lambda now, done, total: progress.update(task, completed=done, total=total, now=now)
