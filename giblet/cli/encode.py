"""``giblet encode``: voxelwise encoding models."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from giblet.cli.shared import Json, app, err, fail, out, print_json
from giblet.errors import InputError

if TYPE_CHECKING:
    from giblet.pipeline.encoding import EncodingResult, Tell


@app.command()
def encode(
    config: Annotated[Path, typer.Argument(help="YAML file of settings of an encoding run.", show_default=False)],
    features: Annotated[
        list[str] | None,
        typer.Option(help="Predict BOLD for this film from the saved fits: FILE, or NAME=FILE for each of several."),
    ] = None,
    out_dir: Annotated[
        Path | None, typer.Option("--out-dir", "-o", help="With --features: where predictions go; default: the run's.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace results of other settings or files.")] = False,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda; default: the settings'.")] = None,
    as_json: Json = False,
) -> None:
    """Fit encoding models, test every voxel, and write maps, tables and a page."""
    from giblet.config import options_in

    if options_in(config).get("rows") == "clips":
        if features or out_dir is not None:
            raise InputError("--features and --out-dir predict BOLD for a film, and rows: clips has sounds one by one")
        _clips(config, overwrite, device, as_json)
        return
    if features:
        _predict(config, features, out_dir, overwrite, as_json)
        return
    if out_dir is not None:
        raise InputError("--out-dir is for --features: a run goes where `output` of its settings says")
    from giblet.pipeline.encoding import encode as run

    with _bar() as tell:
        result = run(config, overwrite=overwrite, device=device, progress=tell)
    if as_json:
        print_json(result.as_dict())
    else:
        out.print("\n".join(_lines(result)), markup=False)
    for name, why in result.failed.items():
        fail(f"subject {name} is left out: {why}")
    if result.failed:
        raise typer.Exit(2)


def _clips(config: Path, overwrite: bool, device: str | None, as_json: bool) -> None:
    """The job for responses to sounds that were played one by one."""
    from giblet.encoding.clip_settings import ClipSettings
    from giblet.pipeline.encoding_clips import encode_clips

    settings = ClipSettings.from_yaml(config)
    if device is not None:
        settings = ClipSettings.make(**{**settings.model_dump(), "device": device})
    with _bar("fits") as tell:
        result = encode_clips(
            settings,
            overwrite=overwrite,
            progress=lambda done, total: tell("responses change places", round(done), round(total or done)),
        )
    if as_json:
        print_json(result.as_dict())
        return
    for one in result.subjects:
        s = one.summary
        out.print(
            f"{one.name}: mean r {s['mean_r']:.3f}, p = {s['mean_p']:.3g}, over {s['n_tested']} voxels and "
            f"{result.n_clips} clips; {s['n_q']} with q <= .05, {s['n_fwe']} with p_fwe <= .05",
            markup=False,
        )
    out.print(f"{result.scores}", markup=False)


def _lines(result: EncodingResult) -> Iterator[str]:
    for one in result.subjects:
        s = one.summary
        found = "no test" if s["n_q"] is None else f"{s['n_q']} with q <= .05, {s['n_fwe']} with p_fwe <= .05"
        mean = "-" if s["mean_r"] is None else f"{s['mean_r']:.3f}"
        yield (
            f"{one.name}: mean r {mean} over {s['n_tested']} {s['unit']}s and {s['n_trs_test']} TRs; {found} "
            f"({one.status})"
        )
    if result.group is not None and "mean_r" in result.group.summary:
        g = result.group.summary
        mean = "-" if g["mean_r"] is None else f"{g['mean_r']:.3f}"
        found = "no test" if g["n_q"] is None else f"p = {g['mean_p']:.3g}; {g['n_q']} with q <= .05"
        yield f"group of {g['n_subjects']}: mean r {mean}, {found}"
    yield f"{result.report}"


def _predict(config: Path, features: list[str], out_dir: Path | None, overwrite: bool, as_json: bool) -> None:
    from giblet.pipeline.encoding_film import predict_film

    given: Any = features[0]
    if len(features) > 1 or ("=" in features[0] and not Path(features[0]).exists()):
        pairs = [one.partition("=") for one in features]
        odd = next((one for one, (_, equals, path) in zip(features, pairs, strict=True) if not (equals and path)), None)
        if odd is not None:
            raise InputError(f"--features is {odd!r}: of several each is NAME=FILE, as in audio=film.nc")
        names = [name for name, _, _ in pairs]
        if len(set(names)) < len(names):
            raise InputError(f"--features names {max(names, key=names.count)} twice: give each name once")
        given = {name: path for name, _, path in pairs}
    scans = predict_film(config, given, out_dir, overwrite=overwrite)
    if as_json:
        print_json([{"subject": s.subject, "path": str(s.path), "n_trs": len(s.bold), "tr": s.tr} for s in scans])
        return
    for scan in scans:
        out.print(f"{scan.path}: {scan.bold.shape[0]} TRs of {scan.tr:g} s", markup=False)


@contextmanager
def _bar(unit: str = "subjects") -> Iterator[Tell]:
    """Subjects, or fits, on stderr, gone when the work is done; nothing where stderr is not a terminal."""
    columns = (
        TextColumn("encoding"), BarColumn(bar_width=20),
        TextColumn("{task.completed:.0f}/{task.total:.0f} {task.fields[unit]}"), TextColumn("{task.fields[now]}"),
        TimeElapsedColumn(),
    )  # fmt: skip
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task("encoding", total=1, now="", unit=unit)
        yield lambda now, done, total: progress.update(task, completed=done, total=total, now=now)
