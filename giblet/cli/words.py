"""``giblet align-words``: when each word of a film is spoken."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from giblet.cli.shared import Device, Json, app, bar, out, print_json

if TYPE_CHECKING:
    from giblet.pipeline.word_times import WordTimes


@app.command("align-words")
def align_words(
    film: Annotated[Path, typer.Argument(help="A film or sound file, in English.", show_default=False)],
    transcript: Annotated[
        Path | None, typer.Argument(help="What is spoken: .txt, or subtitles, of any times.", show_default=False)
    ] = None,
    out_dir: Annotated[Path, typer.Option("--out-dir", "-o", help="Folder for tables and TextGrid.")] = Path(),
    asr_model: Annotated[
        str | None,
        typer.Option(help="Instead of a transcript: a Whisper model, folder or hub name.", show_default=False),
    ] = None,
    encoding: Annotated[str | None, typer.Option(help="Of the transcript, say cp1252; default: UTF-8.")] = None,
    track: Annotated[int | None, typer.Option(help="Audio track, counted from 0; default: the first.")] = None,
    min_share: Annotated[
        float, typer.Option(help="Share of the words, 0 to 1, that must be heard in rows of three.")
    ] = 0.5,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files of another film, transcript or option.")
    ] = False,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Find out when each word of a transcript is spoken in a film: tables and a TextGrid of words and phonemes."""
    with bar("listening") as progress:
        from giblet.pipeline import align_words as run

        found = run(
            film, transcript, out_dir, asr_model=asr_model, encoding=encoding, track=track, min_share=min_share,
            device=device, overwrite=overwrite, progress=progress,
        )  # fmt: skip
    if as_json:
        print_json(found.as_dict())
        return
    out.print(_one_line(found), markup=False)
    for path in found.files[1:]:
        out.print(str(path), markup=False)


def _one_line(found: WordTimes) -> str:
    about = found.as_dict()
    standing = "up to date, " if found.status == "up to date" else ""
    text = f"{found.path}: {standing}{about['ok']} of {about['words']} words in {found.duration:.3f} s of sound"
    for name, what in (("doubtful", "doubtful"), ("unheard", "not heard"), ("guessed", "with a guessed pronunciation")):
        text += f"; {about[name]} {what}" if about[name] else ""
    return text + ("; giblet extract --text reads it with --untimed drop" if about["unheard"] else "")
