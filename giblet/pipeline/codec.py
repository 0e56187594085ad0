"""How good a codec is, as a table, a page to listen to, and JSON; and what a codec is."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from giblet.codec import load_codec
from giblet.codec.loading import find_codec, read_model
from giblet.codec.training.settings import CodecTrainingSettings
from giblet.data.media import AudioReader
from giblet.device import pick_device
from giblet.errors import InputError
from giblet.files import check_writable, write_atomic
from giblet.lazy import lazily
from giblet.notebook import html_table
from giblet.pipeline.codec_report import DATA, PAGE
from giblet.progress import Progress
from giblet.sound_files import find_sound_files
from giblet.storage import check_local, taking_urls

if TYPE_CHECKING:
    from giblet.codec.encodec import EncodecCodec
    from giblet.evaluation.codec_quality import Clip, CodecQuality

TOP_BANDWIDTH = 6.0
MIN_SECONDS = 1.0
"""Shorter clips hold too little speech for PESQ and STOI."""
SILENCE_DB = -60.0
"""RMS re full scale: on what is below, SI-SDR and PESQ measure the noise floor."""


@dataclass(frozen=True, repr=False)
class CodecEvaluation:
    """Scores of a codec, and where they were written."""

    quality: CodecQuality
    """A row of scores for each bandwidth of the codec and each mel spectrogram beside it."""
    page: Path
    """Of ``codec_report.html``, with sounds to listen to."""
    data: Path
    """Of ``codec_report.json``, with the scores of each clip."""

    def __repr__(self) -> str:
        quality = self.quality
        return f"<CodecEvaluation of {quality.codec}: {quality.n_clips} clips, {quality.seconds:.0f} s; {self.page}>"

    def _repr_html_(self) -> str:
        from giblet.pipeline.codec_report import quality_table

        return html_table(repr(self), *quality_table(self.quality))


@dataclass(frozen=True)
class CodecDescription:
    """Description of a codec: its clock, its codebooks, its fingerprint.

    Attributes
    ----------
    codec : str
        What it was asked for by.
    sample_rate : int
        In Hz.
    frame_rate : float
        Frames of codes per second.
    hop_length : int
        Samples per frame.
    bandwidth : float
        In kbps.
    n_codebooks, codebook_size : int
        Codes per frame, and the values that each can have.
    runtime : str
        What computes the encoder: ``"torch"`` or ``"openvino"``.
    fingerprint : str
        SHA-256 of all that changes the codes or the sound.
    codes_fingerprint : str
        By which codes name the codec that made them; see :class:`giblet.codec.AudioCodec`.
    """

    codec: str
    sample_rate: int
    frame_rate: float
    hop_length: int
    bandwidth: float
    n_codebooks: int
    codebook_size: int
    runtime: str
    fingerprint: str
    codes_fingerprint: str


def describe_codec(codec: str = "bundled", *, bandwidth: float = 6.0, device: str = "auto") -> CodecDescription:
    """Describe a codec: its clock, its codebooks, its fingerprint.

    Parameters
    ----------
    codec : str
        ``"bundled"``, a folder, or a hub name.
    bandwidth : float
        In kbps, as far as the codec has codebooks.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"mps"``.

    Returns
    -------
    CodecDescription

    Raises
    ------
    GibletError
        If there is no such codec, it cannot be used, or has no such bandwidth.
    """
    loaded = load_codec(codec, bandwidth=bandwidth, device=device)
    return CodecDescription(
        codec, loaded.sample_rate, loaded.frame_rate, loaded.hop_length, loaded.bandwidth, loaded.n_codebooks,
        loaded.codebook_size, loaded.runtime, loaded.fingerprint, loaded.codes_fingerprint,
    )  # fmt: skip


@taking_urls(folders=("sounds",))
def evaluate_codec(  # 11 parameters: what to score, on what, where to, and six options that are one word each
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
    check_local(Path(out_dir), "a report")
    if not 0 < seconds < math.inf:
        raise InputError(f"seconds is {seconds!r}; expected a positive number")
    for name, value, least in (("limit", limit, 1), ("players", players, 0)):
        if value is not None and value < least:
            raise InputError(f"{name} is {value}; expected a whole number of at least {least}")
    files = _find([sounds] if isinstance(sounds, str | Path) else list(sounds), held_out)
    if limit is not None and limit < len(files):
        names = list(files)
        files = {name: files[name] for name in (names[i * len(names) // limit] for i in range(limit))}
    check_writable(out_dir)
    found = find_codec(codec)
    # Here, as torch and what scores take seconds to import, and a mistake should be told before.
    from giblet.evaluation.codec_quality import score_codec
    from giblet.pipeline.codec_report import quality_page

    codecs = _load(codec, found, device)
    data, page = Path(out_dir) / DATA, Path(out_dir) / PAGE
    if not overwrite:
        told = {"fingerprint": codecs[0].fingerprint, "tr": tr, "seconds_per_file": seconds}
        _check_replaced(data, page, {**told, "files": sorted(files)})
    skipped: dict[str, str] = {}
    try:
        quality = score_codec(
            codecs,
            _read(files, codecs[0].sample_rate, seconds, skipped),
            tr=tr,
            keep=players,
            progress=progress,
            seconds=len(files) * seconds,
        )
    except InputError as exc:
        if skipped and len(skipped) == len(files):
            name, why = next(iter(skipped.items()))
            raise InputError(f"none of {len(files)} files can be scored ({name}: {why}); name others") from exc
        raise
    quality.skipped = skipped
    text = json.dumps(quality.as_dict() | {"seconds_per_file": seconds}, indent=2, allow_nan=False)
    write_atomic(data, text + "\n")
    quality_page(quality).save_as_html(page)
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
        raise InputError(f"{data} already exists and describes something else ({'; '.join(other)}): {replace}")


def _find(places: Sequence[str | Path], held_out: str | Path | None) -> dict[str, Path]:
    """Files by the names they get in tables: below a folder relative to it."""
    patterns = None if held_out is None else CodecTrainingSettings.from_yaml(held_out).held_out
    found: dict[str, Path] = {}
    seen: set[Path] = set()
    for place in map(Path, places):
        if not place.exists():
            raise InputError(f"no file or folder {place}; name sound files, or folders of them")
        below = find_sound_files(place) if place.is_dir() else [place]
        for path in below:
            if path.resolve() in seen:
                continue
            if patterns is None or any(fnmatch(path.name, pattern) for pattern in patterns):
                seen.add(path.resolve())
                name = path.relative_to(place).as_posix() if place.is_dir() else path.name
                found[name if name not in found else str(path)] = path
    if not found:
        what = "sound files" if patterns is None else f"files that {held_out} holds out"
        raise InputError(f"there are no {what} in {', '.join(map(str, places))}; name another folder")
    return found


def _load(name: str, found: tuple[Path, Path], device: str) -> list[EncodecCodec]:
    """The codec at each of its bandwidths up to 6 kbps, read once."""
    from giblet.codec.encodec import EncodecCodec, bandwidths

    where = pick_device(device)
    model = read_model(*found, name)
    has = list(bandwidths(model.config))
    return [EncodecCodec(model, kbps, where, name) for kbps in has if kbps <= TOP_BANDWIDTH or kbps == has[0]]


def _read(files: dict[str, Path], sample_rate: int, seconds: float, skipped: dict[str, str]) -> Iterator[Clip]:
    """The beginnings of files; those that cannot be used are named in `skipped`."""
    from giblet.evaluation.codec_quality import Clip

    for name, path in files.items():
        try:
            chunks = iter(AudioReader(path, sample_rate, chunk_seconds=seconds))
            sound = next(chunks, np.zeros(0, np.float32))
        except InputError as exc:
            skipped[name] = str(exc)
            continue
        level = 10 * math.log10(max(float(np.mean(sound.astype(np.float64) ** 2)), 1e-30)) if len(sound) else -math.inf
        if len(sound) < MIN_SECONDS * sample_rate:
            skipped[name] = f"{len(sound) / sample_rate:.2f} s long, expected at least {MIN_SECONDS:g} s"
        elif level < SILENCE_DB:
            skipped[name] = f"silent: {level:.0f} dB re full scale in its first {seconds:g} s"
        else:
            yield Clip(name, sound)


__getattr__ = lazily(__name__, {}, renamed={"Evaluated": "CodecEvaluation"})[0]
