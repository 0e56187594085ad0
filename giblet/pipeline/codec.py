"""How good a codec is: scores on a folder of sound, as a table, a page to listen to, and JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np

from giblet.codec.encodec import EncodecCodec, bandwidths
from giblet.codec.loading import find_codec, read_model
from giblet.codec.training.settings import CodecTrainingConfig
from giblet.data.media import AudioReader
from giblet.data.sound import Progress
from giblet.device import pick_device
from giblet.docs import fill_doc
from giblet.errors import InputError
from giblet.evaluation.codec_quality import Clip, CodecQuality, Row, score_codec
from giblet.evaluation.sound_scores import SCORES
from giblet.files import check_writable, write_atomic
from giblet.notebook import html_table
from giblet.report import Picture, Player, Section, Table, spectrograms, write_report

SUFFIXES = {
    ".flac", ".wav", ".ogg", ".opus", ".mp3", ".m4a", ".aac", ".aiff", ".aif", ".mp4", ".m4v", ".mkv", ".mov", ".webm",
}  # fmt: skip
"""Files that are looked for in a folder; a file that is named itself may be anything that FFmpeg reads."""
PAGE, DATA = "codec_report.html", "codec_report.json"
TOP_BANDWIDTH = 6.0
MIN_SECONDS = 1.0
"""Shorter clips hold too little speech for PESQ and STOI."""
SILENCE_DB = -60.0
"""RMS re full scale: on what is below, SI-SDR and PESQ measure the noise floor."""


@dataclass(frozen=True, repr=False)
class CodecEvaluation:
    """How well a codec keeps sound, with the page that shows it."""

    quality: CodecQuality
    page: Path
    """HTML, with sounds to listen to."""
    data: Path
    """The same figures as JSON."""

    def __repr__(self) -> str:
        quality = self.quality
        return f"<CodecEvaluation of {quality.codec}: {quality.n_clips} clips, {quality.seconds:.0f} s; {self.page}>"

    def _repr_html_(self) -> str:
        rows = [[row.label, *(row.mean(score) for score in SCORES)] for row in self.quality.rows]
        return html_table(repr(self), ["mean over clips", *SCORES], rows)


# 11 parameters: the options of `giblet codec evaluate`.
@fill_doc
def evaluate_codec(
    sounds: str | Path | Iterable[str | Path],
    codec: str = "bundled",
    out_dir: str | Path = ".",
    *,
    seconds: float = 8.0,
    limit: int | None = None,
    held_out: str | Path | None = None,
    tr: float = 1.5,
    players: int = 3,
    device: str = "auto",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> CodecEvaluation:
    """Score a codec at each of its bandwidths up to 6 kbps, and mel spectrograms beside it; write a page with players.

    Parameters
    ----------
    sounds : path or iterable of paths
        Sound or film files, and folders of them (searched with all below them).
    codec : str
        ``"bundled"``, a folder, or a hub name.
    out_dir : str or Path
        Gets ``codec_report.html``, complete in itself, and ``codec_report.json``, with the scores of each clip.
    seconds : float
        How much of each file's beginning to use.
    limit : int, optional
        Use so many files, spread evenly over all that were found.
    held_out : str or Path, optional
        A codec's training settings: use only the files that it was never trained on.
    tr : float
        Repetition time in seconds. The numbers per TR and the mel rows follow from it.
    players : int
        Clips to listen to in the page.
    device : str
        %(device)s
    overwrite : bool
        Replace the report of another codec, of other files or of other options that stands in `out_dir`.
    progress : callable, optional
        Called with seconds of sound scored, and seconds there are at most.

    Returns
    -------
    CodecEvaluation

    Raises
    ------
    GibletError
        If there is no usable sound, an option is out of range, the codec or the folder cannot be used, or another
        report stands there.
    """
    if not 0 < seconds < math.inf:
        raise InputError(f"seconds is {seconds!r}: a positive number is needed")
    for name, value, least in (("limit", limit, 1), ("players", players, 0)):
        if value is not None and value < least:
            raise InputError(f"{name} is {value}: a whole number of at least {least} is needed")
    files = _find([sounds] if isinstance(sounds, str | Path) else list(sounds), held_out)
    if limit is not None and limit < len(files):
        names = list(files)
        files = {name: files[name] for name in (names[i * len(names) // limit] for i in range(limit))}
    check_writable(out_dir)
    codecs = _load(codec, device)
    data, page = Path(out_dir) / DATA, Path(out_dir) / PAGE
    if not overwrite:
        told = {"fingerprint": codecs[0].fingerprint, "tr": tr, "seconds_per_file": seconds}
        _check_replaced(data, page, {**told, "files": sorted(files)})
    skipped: dict[str, str] = {}
    most = len(files) * seconds
    try:
        quality = score_codec(
            codecs,
            _read(files, codecs[0].sample_rate, seconds, skipped),
            tr=tr,
            keep=players,
            progress=None if progress is None else lambda done, _: progress(done, most),
        )
    except InputError as exc:
        if skipped and len(skipped) == len(files):
            name, why = next(iter(skipped.items()))
            raise InputError(f"none of {len(files)} files can be scored ({name}: {why}): give others") from exc
        raise
    quality.skipped = skipped
    text = json.dumps(quality.as_dict() | {"seconds_per_file": seconds}, indent=2, allow_nan=False)
    write_atomic(data, text + "\n")
    write_report(page, f"Sound quality of codec {codec}", quality_sections(quality), summary=_summary(quality))
    return CodecEvaluation(quality, page, data)


def _check_replaced(data: Path, page: Path, new: dict[str, Any]) -> None:
    """An error if another report stands there: each difference is named, with its old and its new value."""
    if not data.exists() and not page.exists():
        return
    replace = "use another folder, or pass overwrite=True to replace it"
    try:
        old = json.loads(data.read_text(encoding="utf-8"))
        old["files"] = sorted([*old["rows"][0]["per_clip"], *old["skipped"]])
    except (OSError, ValueError, KeyError, TypeError, IndexError) as exc:
        raise InputError(
            f"{page.parent} holds a report already, and {data.name} does not tell whose: {replace}"
        ) from exc
    if other := [
        f"{name} {str(old.get(name))[:60]} -> {str(new[name])[:60]}" for name in new if old.get(name) != new[name]
    ]:
        raise InputError(f"{data} is there already and is of something else ({'; '.join(other)}): {replace}")


def quality_table(quality: CodecQuality) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of the comparison, as text: means over the clips.

    Parameters
    ----------
    quality : CodecQuality

    Returns
    -------
    headers : list of str
    rows : list of list of str
        One for each row of `quality`.
    """
    headers = ["kept", "numbers per TR", "a number is", "kbit/s", *SCORES.values(), "perplexity, lowest (mean)"]
    return headers, [
        [
            row.label,
            f"{row.numbers_per_tr:,}",
            row.number,
            f"{row.bits_per_second / 1000:,.1f}",
            *_scores([row.mean(score) for score in SCORES]),
            "" if row.perplexity is None else f"{min(row.perplexity):.0f} ({np.mean(row.perplexity):.0f})",
        ]
        for row in quality.rows
    ]


def quality_sections(quality: CodecQuality) -> list[Section]:
    """The sections of the page: scores, clips to listen to, codebooks, and the scores of every clip.

    Parameters
    ----------
    quality : CodecQuality

    Returns
    -------
    list of Section

    See Also
    --------
    quality_table : the table of the first.
    """
    parts = [Table(*quality_table(quality), caption=f"Means over {quality.n_clips} clips.")]
    sections = [Section("Scores", [*READING, *quality.notes], parts)]
    for number, (name, sounds) in enumerate(quality.kept.items()):
        shown: list[Table | Player | Picture] = [
            Player(label, sound, quality.sample_rate) for label, sound in sounds.items()
        ]
        text = []
        if number == 0:
            png = spectrograms(sounds, quality.sample_rate)
            if png is None:
                text.append("Pictures of the sounds need matplotlib: pip install 'giblet[plot]'.")
            else:
                shown.append(Picture(png, f"Spectrograms of {name}, as recorded and as each row brings it back"))
        sections.append(Section(f"Listen: {name}", text, shown))
    sections.append(_codebooks([row for row in quality.rows if row.perplexity is not None], quality.frames))
    sections.append(_each_clip(quality))
    return sections


READING = (
    "PESQ-wb runs from 1.0 (bad) to 4.64 (the same sound), STOI from 0 to 1 (intelligible), SI-SDR counts every "
    "departure of the waveform, in dB. For all three more is better. SI-SDR does not see the level: how much louder or "
    "quieter the sound came back stands beside it, and 0 dB is best. For the mel distance, between log10 mel spectra "
    "at several scales, less is.",
    "The mel rows keep the numbers named, as float32, and Griffin-Lim finds phases for them. No phase is kept, so "
    "their SI-SDR is low even where they sound well.",
)


def _summary(quality: CodecQuality) -> str:
    return (
        f"{quality.n_clips} clips, {quality.seconds:.0f} s of sound at {quality.sample_rate} Hz, TR {quality.tr:g} s; "
        f"codec fingerprint {quality.fingerprint[:12]}."
    )


def _scores(values: Sequence[float | None]) -> list[str]:
    digits = {"pesq": 2, "stoi": 3, "si_sdr": 1, "level": 1, "mel": 3}
    return ["n/a" if v is None else f"{v:.{digits[score]}f}" for score, v in zip(SCORES, values, strict=True)]


def _codebooks(rows: list[Row], frames: int) -> Section:
    most = max(len(row.perplexity or ()) for row in rows)
    table = Table(
        ["codebook", *(row.label for row in rows)],
        [
            [str(k + 1), *(f"{row.perplexity[k]:.0f}" if k < len(row.perplexity or ()) else "" for row in rows)]  # type: ignore[index]
            for k in range(most)
        ],
    )
    text = (
        f"Perplexity: how many entries of each codebook are in effective use, over {frames:,} frames. Few frames "
        "cannot show many entries: below some ten thousand the figures come out low."
    )
    return Section("Codebooks", [text], [table])


def _each_clip(quality: CodecQuality) -> Section:
    rows = [
        [name, row.label, *_scores([row.per_clip[name][score] for score in SCORES])]
        for name in quality.rows[0].per_clip
        for row in quality.rows
    ]
    return Section("Every clip", (), [Table(["clip", "kept", *SCORES.values()], rows)])


def _find(places: Sequence[str | Path], held_out: str | Path | None) -> dict[str, Path]:
    """Files by the names they get in tables: below a folder relative to it."""
    patterns = None if held_out is None else CodecTrainingConfig.from_yaml(held_out).held_out
    found: dict[str, Path] = {}
    seen: set[Path] = set()
    for place in map(Path, places):
        if not place.exists():
            raise InputError(f"no file or folder {place}: give sound files, or folders of them")
        below = sorted(p for p in place.rglob("*") if p.suffix.lower() in SUFFIXES) if place.is_dir() else [place]
        for path in below:
            if path.resolve() in seen:
                continue
            if patterns is None or any(fnmatch(path.name, pattern) for pattern in patterns):
                seen.add(path.resolve())
                name = path.relative_to(place).as_posix() if place.is_dir() else path.name
                found[name if name not in found else str(path)] = path
    if not found:
        what = "sound files" if patterns is None else f"files that {held_out} holds out"
        raise InputError(f"there are no {what} in {', '.join(map(str, places))}: give another folder")
    return found


def _load(name: str, device: str) -> list[EncodecCodec]:
    """The codec at each of its bandwidths up to 6 kbps, read once."""
    where = pick_device(device)
    model = read_model(*find_codec(name), name)
    has = list(bandwidths(model.config))
    return [EncodecCodec(model, kbps, where, name) for kbps in has if kbps <= TOP_BANDWIDTH or kbps == has[0]]


def _read(files: dict[str, Path], sample_rate: int, seconds: float, skipped: dict[str, str]) -> Iterator[Clip]:
    """The beginnings of files; those that cannot be used are named in `skipped`."""
    for name, path in files.items():
        try:
            chunks = iter(AudioReader(path, sample_rate, chunk_seconds=seconds))
            sound = next(chunks, np.zeros(0, np.float32))
        except InputError as exc:
            skipped[name] = str(exc)
            continue
        level = 10 * math.log10(max(float(np.mean(sound.astype(np.float64) ** 2)), 1e-30)) if len(sound) else -math.inf
        if len(sound) < MIN_SECONDS * sample_rate:
            skipped[name] = f"{len(sound) / sample_rate:.2f} s long, at least {MIN_SECONDS:g} s are needed"
        elif level < SILENCE_DB:
            skipped[name] = f"silent: {level:.0f} dB re full scale in its first {seconds:g} s"
        else:
            yield Clip(name, sound)
