"""``giblet reconstruct``: what a trained run hears in a brain, and how much it is worth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from giblet.cli.shared import Device, Json, app, busy, err, out, print_json


@app.command()
# 16 parameters, of a Typer command: one for each option.
def reconstruct(
    run: Annotated[Path, typer.Argument(help="Folder of a training run.", show_default=False)],
    bold: Annotated[
        list[Path] | None,
        typer.Option(
            help="Scan to decode instead of the configuration's; once for each run of the split.", show_default=False
        ),
    ] = None,
    confounds: Annotated[
        list[Path] | None, typer.Option(help="Confounds of a --bold; once for each.", show_default=False)
    ] = None,
    split: Annotated[str, typer.Option(help="Which TRs: test, val or train.")] = "test",
    lesion: Annotated[
        str | None,
        typer.Option(
            help="Silence voxels: a mask in the scan's space, a .npy of bool, or regions as a,b.", show_default=False
        ),
    ] = None,
    out_dir: Annotated[
        Path | None, typer.Option("--out-dir", "-o", help="Default: reconstruction, in the run.", show_default=False)
    ] = None,
    subject: Annotated[
        str | None, typer.Option(help="One of several; default: all, and their mean.", show_default=False)
    ] = None,
    original: Annotated[
        Path | None, typer.Option(help="Film that the features are of, to compare sound with.", show_default=False)
    ] = None,
    texts: Annotated[
        Path | None, typer.Option(help="Texts of which the nearest to what is decoded are named.", show_default=False)
    ] = None,
    codec: Annotated[str | None, typer.Option(help="Where the run's codec is now, if it has moved.")] = None,
    pitch: Annotated[
        bool, typer.Option("--pitch", help="Score voicing and F0 of the sound too; takes some time.")
    ] = False,
    clap: Annotated[
        str | None,
        typer.Option(
            help="CLAP model, a folder or hub name, by which sound is compared with what was heard.",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder where the run's data are now, if they have moved.", show_default=False)
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a result of other options that stands there.")
    ] = False,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Decode sound, picture and words from a brain, and score them beside chance and the codec alone."""
    with busy("reconstructing"):
        from giblet.pipeline.run_checks import check_folder

        check_folder(run)  # before libraries are imported that take seconds
        from giblet.device import pick_device
        from giblet.pipeline import TrainedRun
        from giblet.pipeline.reconstruction import reconstruct as job

        pick_device(device)  # an absent one is told before the run's data are read
        result = job(
            TrainedRun.open(run, data), bold or None, confounds=confounds or None, split=split, lesion=lesion,
            out_dir=out_dir, subject=subject, original=original, texts=texts, codec=codec, pitch=pitch,
            clap=clap, overwrite=overwrite, device=device,
        )  # fmt: skip
    if as_json:
        print_json({**result.scorecard.as_dict(), "files": list(map(str, result.files))})
    else:
        for table in result.scorecard.tables():
            out.print(table.markdown(), markup=False)
        for path in result.files:
            out.print(str(path), markup=False)
    for note in result.scorecard.notes:
        err.print(f"giblet: note: {note}", markup=False)
