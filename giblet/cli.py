"""The ``giblet`` command. Heavy libraries are imported by the commands that need them, so that help comes at once."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from typer.exceptions import TyperException

from giblet import __version__
from giblet.errors import GibletError

if TYPE_CHECKING:
    from giblet.data.sound import Progress as Callback
    from giblet.pipeline import Extracted

app = typer.Typer(add_completion=False, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False)
out = Console(soft_wrap=True, highlight=False)
err = Console(stderr=True, soft_wrap=True, highlight=False)

# GNU OpenMP's threads wait by spinning, as if they were alone: on a node that others use too, two threads were 5 to 50
# times slower than one (measured). It reads this when torch is imported, which is after this module.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

INTERRUPTED = 130
"""What typer makes of Ctrl-C: 128 and the number of the signal, as shells do."""

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object for another program to read.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]


def main() -> None:
    """Run the command line: bad input is one line on stderr and exit status 2."""
    try:
        status = app(standalone_mode=False)
    except TyperException as exc:
        status = _fail(exc.format_message() if hasattr(exc, "format_message") else str(exc))
    except GibletError as exc:
        status = _fail(str(exc))
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has gone (giblet info | head): not an error of ours
        status = 141
    if status == INTERRUPTED:
        _fail("interrupted; nothing half-written was left")
    sys.exit(status if isinstance(status, int) else 0)


def _fail(message: str, status: int = 2) -> int:
    err.print(f"giblet: error: {' '.join(message.split())}", markup=False)
    return status


def _version(asked: bool) -> None:
    if asked:
        out.print(f"giblet {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more about what is done.")] = False,
) -> None:
    """A film's sound, picture and words on the clock of a scan, and predicted audio codes back into sound."""
    handler = RichHandler(console=err, show_time=False, show_path=False, markup=False)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler], force=True)
    logging.getLogger("giblet").setLevel(logging.INFO if verbose else logging.WARNING)


@contextmanager
def _bar(what: str) -> Iterator[Callback]:
    """A progress bar on stderr, gone when the work is done; nothing where stderr is not a terminal."""
    columns = (
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:.0f}/{task.total:.0f} s"),
        TimeElapsedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task(what, total=0)
        yield lambda done, total: progress.update(task, completed=done, total=total if total is not None else done)


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, default=str))


def _table(title: str, rows: dict[str, Any]) -> None:
    """Names and values in two columns; long values are not broken, so that they can be searched and copied."""
    width = max(map(len, rows))
    lines = [title, *(f"  {name:<{width}}  {value}" for name, value in rows.items())]
    out.print("\n".join(lines), markup=False)


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
    with _bar("extracting") as progress:
        for result in extract_features(films, settings, out_dir, overwrite=overwrite, progress=progress):
            results.append(result)
            if result.error is not None:
                _fail(result.error)
            elif not as_json:
                out.print(_one_line(result), markup=False)
    if as_json:
        _print_json([vars(result) for result in results])
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

    with _bar("decoding") as progress:
        decoded = decode_features(features, to, codec=codec, device=device, progress=progress)
    if as_json:
        _print_json(vars(decoded))
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
        _print_json(about)
        return
    shape = ", ".join(f"{dim} {n}" for dim, n in zip(about.pop("dims"), about.pop("shape"), strict=True))
    head = f"{about.pop('variable')} ({shape}) {about.pop('dtype')}"
    _table(f"{file}: {head}", about)


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

    with _bar("demo") as progress:
        result = run(film, out_dir, progress=progress)
    if as_json:
        _print_json(result)
        return
    _table("giblet demo", {
        "features": f"{result['features']}  {tuple(result['shape'])}",
        "sound": result["sound"],
        "speed": f"{result['realtime_factor']:.1f}x real time (extraction)",
        "duration": f"{result['film_duration']:.3f} s in, {result['decoded_duration']:.3f} s out",
        "round trip": f"SI-SDR {result['si_sdr']:.2f} dB against the film's own sound",
    })  # fmt: skip


if __name__ == "__main__":
    main()
