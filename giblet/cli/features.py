"""``giblet extract``, ``decode``, ``info`` and ``demo``: films to features and back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from giblet.cli.shared import Device, Json, app, bar, fail, out, print_json, table

if TYPE_CHECKING:
    from giblet.pipeline import Extracted


@app.command()
def extract(
    films: Annotated[list[Path], typer.Argument(help="Films or sound files.", show_default=False)],
    tr: Annotated[float, typer.Option(help="Repetition time of the scan, s.")] = 1.5,
    n_trs: Annotated[int | None, typer.Option(help="Volumes of the scan; default: as many as the film fills.")] = None,
    codec: Annotated[str, typer.Option(help="bundled, a folder with an EnCodec model, or a hub name.")] = "bundled",
    bandwidth: Annotated[float, typer.Option(help="kbps: 1.5, 3, 6, 12 or 24.")] = 6.0,
    mel: Annotated[bool, typer.Option("--mel", help="The legacy mel spectrogram instead of codes.")] = False,
    n_mels: Annotated[int, typer.Option(help="Mel bands of the legacy mode.")] = 2048,
    mel_average: Annotated[bool, typer.Option(help="Legacy mode: keep only the mean of each TR.")] = False,
    track: Annotated[int | None, typer.Option(help="Audio track, counted from 0; default: the first.")] = None,
    out_dir: Annotated[Path, typer.Option("--out-dir", "-o", help="Folder for the feature files.")] = Path(),
    overwrite: Annotated[bool, typer.Option(help="Extract again even if the file is up to date.")] = False,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Turn the sound of films into codes (or mel spectrograms) on the clock of a scan."""
    from giblet.config import ExtractSettings
    from giblet.pipeline import extract_features

    settings = ExtractSettings.make(
        tr=tr, n_trs=n_trs, use_encodec=not mel, codec=codec, bandwidth=bandwidth, track=track, n_mels=n_mels,
        mel_average=mel_average, device=device,
    )  # fmt: skip
    results: list[Extracted] = []
    with bar("extracting") as progress:
        for result in extract_features(films, settings, out_dir, overwrite=overwrite, progress=progress):
            results.append(result)
            if result.error is not None:
                fail(result.error)
            elif not as_json:
                out.print(_one_line(result), markup=False)
    if as_json:
        print_json([vars(result) for result in results])
    if any(r.error is not None for r in results):
        raise typer.Exit(2)


def _one_line(result: Extracted) -> str:
    about = result.about or {}
    if result.status == "up to date":
        return f"{result.path}: up to date"
    text = f"{result.path}: {about['variable']} {tuple(about['shape'])} {about['dtype']} at TR {about['tr']:g} s"
    text += f", {about['valid_trs']} of {about['n_trs']} TRs covered by the film"
    if about["cut"] > 0:
        text += f"; {about['cut']:.3f} s of film after the last TR cut"
    if about["padded"] > 0:
        text += f"; {about['padded']:.3f} s of silence added"
    if about["start_offset"] > 0:
        text += f"; sound starts at {about['start_offset']:.3f} s"
    return text + f" ({result.realtime_factor:.0f}x real time)"


@app.command()
def decode(
    features: Annotated[Path, typer.Argument(help="A feature file.", show_default=False)],
    to: Annotated[
        Path | None, typer.Option("--out", "-o", help="Sound file, .wav or .flac; default: beside it.")
    ] = None,
    codec: Annotated[str | None, typer.Option(help="Where the file's codec is now, if it has moved.")] = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Turn a feature file back into sound."""
    from giblet.pipeline import decode_features

    with bar("decoding") as progress:
        decoded = decode_features(features, to, codec=codec, device=device, progress=progress)
    if as_json:
        print_json(vars(decoded))
    else:
        speed = decoded.duration / decoded.seconds
        out.print(
            f"{decoded.path}: {decoded.duration:.3f} s at {decoded.sample_rate} Hz ({speed:.0f}x real time)",
            markup=False,
        )


@app.command()
def info(
    file: Annotated[Path, typer.Argument(help="A feature file.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Say what a feature file holds, on which clock, and where it came from."""
    from giblet.features import describe, load_features

    about = describe(load_features(file))
    if as_json:
        print_json(about)
        return
    shape = ", ".join(f"{dim} {n}" for dim, n in zip(about.pop("dims"), about.pop("shape"), strict=True))
    head = f"{about.pop('variable')} ({shape}) {about.pop('dtype')}"
    table(f"{file}: {head}", about)


@app.command()
def demo(
    film: Annotated[Path | None, typer.Argument(help="Default: the sample film.", show_default=False)] = None,
    out_dir: Annotated[Path, typer.Option("--out-dir", "-o", help="Folder for what the demo writes.")] = Path(
        "demo_output"
    ),
    as_json: Json = False,
) -> None:
    """Extract a film, decode it again, and say how long it took and what was lost."""
    from giblet.pipeline import demo as run

    with bar("demo") as progress:
        result = run(film, out_dir, progress=progress)
    if as_json:
        print_json(result)
        return
    table("giblet demo", {
        "features": f"{result['features']}  {tuple(result['shape'])}",
        "sound": result["sound"],
        "speed": f"{result['realtime_factor']:.1f}x real time (extraction)",
        "duration": f"{result['film_duration']:.3f} s in, {result['decoded_duration']:.3f} s out",
        "round trip": f"SI-SDR {result['si_sdr']:.2f} dB against the film's own sound",
    })  # fmt: skip
