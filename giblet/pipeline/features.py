"""Films and texts to features, and back."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from giblet.codec import load_codec
from giblet.config import ExtractSettings
from giblet.data.audio import AudioProcessor
from giblet.data.media import AudioReader
from giblet.data.picture import PictureReader
from giblet.data.text import TEXT, TextProcessor, TextSettings
from giblet.data.video import VIDEO, VideoProcessor, VideoSettings
from giblet.data.words.subtitles import read_segments
from giblet.errors import GibletError, InputError, one_line, postponed
from giblet.features import (
    check_sidecar,
    describe,
    feature_path,
    is_current,
    load_features,
    main_variable,
    metadata_of,
    read_sidecar,
    save_features,
    sidecar_path,
    standing,
)
from giblet.files import check_writable, sha256_of, write_atomic
from giblet.progress import Progress
from giblet.sound_metrics import level_error, si_sdr
from giblet.timing import check_tr, exact, shown
from giblet.version import __version__

log = logging.getLogger(__name__)

AnySettings = ExtractSettings | VideoSettings | TextSettings
"""Of the sound, the picture, or the words: the settings say what is extracted."""
AnyProcessor = AudioProcessor | VideoProcessor | TextProcessor


def processor_for(settings: AnySettings) -> AnyProcessor:
    """What turns a source into the features that `settings` ask for, with its codec or model loaded.

    Parameters
    ----------
    settings : ExtractSettings, VideoSettings or TextSettings
        Their type says what is extracted: sound, picture or words.

    Returns
    -------
    AudioProcessor, VideoProcessor or TextProcessor

    Raises
    ------
    InputError
        If an option is out of range, or a model or the device is not there.
    CodecError
        If the codec cannot be loaded.
    """
    if isinstance(settings, TextSettings):
        return TextProcessor.from_settings(settings)
    if isinstance(settings, VideoSettings):
        return VideoProcessor.from_settings(settings)
    return AudioProcessor.from_settings(settings)


def _check(source: Path, settings: AnySettings) -> float | None:
    """Say what is wrong with the source before a codec or a model is loaded; its seconds, as far as they are known."""
    if isinstance(settings, TextSettings):
        last = max(segment.offset for segment in read_segments(source, **settings.reading()))
        return settings.film_duration or max(0.0, float(last) - settings.start_offset)
    if isinstance(settings, VideoSettings):
        return PictureReader(source, settings.track).info.duration_hint
    return AudioReader(source, track=settings.track).duration_hint


def _check_padding(source: Path, settings: AnySettings, seconds: float | None) -> None:
    """Warn before the work where most of the features would be padding: that is another film's number of volumes."""
    if settings.n_trs is None or seconds is None:
        return
    whole = float(settings.n_trs * check_tr(settings.tr))
    if seconds < whole / 2:
        log.warning(
            "%s lasts %s s, but %d TRs of %s s are %s s: the other %s s will be %s; is n_trs that of this %s?",
            source.name, shown(round(seconds, 3)), settings.n_trs, shown(settings.tr), shown(round(whole, 3)),
            shown(round(whole - seconds, 3)), *_padding(settings),
        )  # fmt: skip


def _padding(settings: AnySettings) -> tuple[str, str]:
    """What stands where the source is over, and what the source is called."""
    if isinstance(settings, TextSettings):
        return "without words", "text"
    return ("black" if isinstance(settings, VideoSettings) else "silence"), "film"


@dataclass(frozen=True)
class Extracted:
    """What became of one film, or text."""

    film: Path
    status: str
    """``"written"``, ``"up to date"`` or ``"failed"``."""
    path: Path | None = None
    about: dict[str, Any] | None = None
    """As :func:`giblet.features.describe` says of the file."""
    seconds: float = 0.0
    """Wall-clock time spent."""
    error: str | None = None

    @property
    def realtime_factor(self) -> float:
        """Seconds of film per second of work."""
        return self.about["film_duration"] / self.seconds if self.about and self.seconds else float("nan")


def extract(
    film: str | Path,
    settings: AnySettings | None = None,
    out_dir: str | Path = ".",
    *,
    processor: AnyProcessor | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Extracted:
    """Turn the sound or the picture of one film, or one timed text, into a feature file.

    Parameters
    ----------
    film : str or Path
        Any film or sound file that FFmpeg reads; for words a table or subtitles
        (see :func:`giblet.data.words.subtitles.read_segments`).
    settings : ExtractSettings, VideoSettings or TextSettings, optional
        Their type says what is extracted; the sound by default.
    out_dir : str or Path
        Where ``<film>_desc-encodec24k_features.nc`` (or ``desc-mel``, ``desc-video``, ``desc-text``) and its JSON
        sidecar go.
    processor : AudioProcessor, VideoProcessor or TextProcessor, optional
        :func:`processor_for` the same settings, to load the codec or model once for many films.
    overwrite : bool
        Extract again even if the file is up to date, and replace what stands by its name.
    progress : callable, optional
        Called with seconds done and seconds in all.

    Returns
    -------
    Extracted

    Raises
    ------
    GibletError
        If the film, the settings, the codec, the model or the folder cannot be used, or features of another film, of
        other settings or of another codec stand by that name and `overwrite` is False; nothing is written then.
    """
    return _extract(Path(film), settings, Path(out_dir), processor, overwrite, overwrite, progress)


def _extract(
    film: Path, settings: AnySettings | None, out_dir: Path, processor: AnyProcessor | None, replace: bool, again: bool,
    progress: Progress | None,
) -> Extracted:  # fmt: skip
    """As :func:`extract`; `replace` other features that stand there, or extract `again` what is up to date."""
    settings = settings or ExtractSettings.make()
    start = time.perf_counter()
    check_tr(settings.tr)
    seconds = _check(film, settings)
    check_writable(out_dir)
    processor = processor or processor_for(settings)
    path = feature_path(film, processor.desc, out_dir)
    provenance = processor.provenance(film, settings.n_trs)
    if not replace:
        old = standing(path, defaults=type(settings).make().model_dump(mode="json"), **provenance)
        if old is not None and not again and is_current(old, path):
            return Extracted(film, "up to date", path, describe(old))
        if old is not None and old.attrs["giblet_version"] != __version__:
            log.warning("%s was made by giblet %s: made anew", path, old.attrs["giblet_version"])
    _check_padding(film, settings, seconds)
    features = processor.extract(film, settings.n_trs, provenance=provenance, progress=progress)
    save_features(features, path, options={"source": str(film), **settings.model_dump(mode="json")})
    return Extracted(film, "written", path, describe(features), time.perf_counter() - start)


def extract_many(
    films: Iterable[str | Path],
    settings: AnySettings | None = None,
    out_dir: str | Path = ".",
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Iterator[Extracted]:
    """As :func:`extract` for many films or texts: one that fails is reported, and the others go on.

    Parameters
    ----------
    films : iterable of str or Path
        As for :func:`extract`.
    settings : ExtractSettings, VideoSettings or TextSettings, optional
        For all of them; the sound by default.
    out_dir : str or Path
        Gets a feature file and its sidecar for each.
    overwrite : bool
        As for :func:`extract`.
    progress : callable, optional
        Called with seconds done and seconds in all, of each film from its beginning.

    Yields
    ------
    Extracted
        One for each film, in their order, as soon as it is done.

    Raises
    ------
    InputError
        Before anything is written, if two films would write the same file, or the TR or the model cannot be used.
    CodecError
        Before anything is written, if the codec cannot be loaded.
    Exception
        Of a film that failed in a way that giblet does not know, when the others are done: that is a fault of giblet.
    """
    paths = [Path(film) for film in films]
    settings = settings or ExtractSettings.make()
    check_tr(settings.tr)
    by_stem: dict[str, Path] = {}
    for film in paths:
        if by_stem.setdefault(film.stem, film) != film:
            raise InputError(
                f"{by_stem[film.stem]} and {film} would both write {film.stem}_desc-*: use two output folders"
            )
    processor: AnyProcessor | None = None
    unknown: list[Exception] = []
    for film in paths:
        errors: list[Exception] = []
        with postponed(errors):
            _check(film, settings)
        if not errors:
            processor = processor or processor_for(settings)
            with postponed(errors):
                done = extract(film, settings, out_dir, processor=processor, overwrite=overwrite, progress=progress)
        if not errors:
            yield done
        elif isinstance(errors[0], GibletError):
            yield Extracted(film, "failed", error=str(errors[0]))
        else:
            unknown += errors
            yield Extracted(film, "failed", error=f"{film}: {one_line(errors[0])}")
    if unknown:
        raise unknown[0]


@dataclass(frozen=True)
class Decoded:
    """A sound file, or a film without sound, made from features."""

    path: Path
    duration: float
    """Seconds of sound or picture."""
    sample_rate: int | None
    """In Hz; None for a picture."""
    seconds: float
    """Wall-clock time spent."""


def decode(
    features: str | Path,
    out: str | Path | None = None,
    *,
    codec: str | None = None,
    device: str = "auto",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Decoded:
    """Turn a feature file back into sound, or into a film of one picture per TR.

    Parameters
    ----------
    features : str or Path
        As :func:`extract` writes it, of sound or picture.
    out : str or Path, optional
        ``.wav`` or ``.flac``, for pictures ``.mp4``; by default ``<film>_desc-..._decoded.wav`` (``.mp4``) beside the
        features. A JSON sidecar beside it says what it was made from.
    codec : str, optional
        Where the codec that made the codes is now; by default where it was then.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"mps"``.
    overwrite : bool
        Replace a file that was not made from these features, or that was changed since.
    progress : callable, optional
        Called with seconds done and seconds in all. It is not called for pictures.

    Returns
    -------
    Decoded

    Raises
    ------
    InputError
        If the file is not a feature file, is damaged, holds neither sound nor pictures, or the sound or film cannot be
        written or would replace a file of other origin or its sidecar.
    CodecError
        If the codec cannot be loaded or is not the one that made the codes.
    """
    start = time.perf_counter()
    dataset = load_features(features)
    attrs = dataset.attrs
    picture = _is_picture(dataset, Path(features).name)
    if picture and codec is not None:
        raise InputError(f"{Path(features).name} holds pictures, which need no codec: leave out --codec")
    name = str(features).removesuffix("_features.nc") + f"_decoded{'.mp4' if picture else '.wav'}"
    out = Path(out) if out is not None else Path(name)
    check_writable(out.parent)
    made_from = sha256_of(features)
    if not overwrite:
        _check_decoded(out, Path(features).name, made_from)
    array = dataset[main_variable(dataset)].values
    if picture:
        rate, duration = None, float(exact(attrs["tr"]) * len(array))
        path = VideoProcessor(attrs["tr"]).features_to_video(array, out)
    else:
        rate, duration = (
            int(attrs["sample_rate"]),
            min(float(attrs["duration"]), float(exact(attrs["tr"]) * len(array))),
        )
        processor = AudioProcessor(
            use_encodec="codec" in attrs,
            codec=load_codec(codec or attrs["codec"], bandwidth=attrs["bandwidth"], device=device)
            if "codec" in attrs
            else "",
            tr=attrs["tr"],
            n_mels=dataset.sizes.get("mel", 2048),
        )
        path = processor.features_to_audio(array, out, metadata=metadata_of(dataset), progress=progress)
    about = {
        "Description": f"{'Picture' if picture else 'Sound'} decoded from {Path(features).name}",
        "StartTime": float(dataset["onset"][0]),
        "Duration": duration,
        **({} if rate is None else {"SamplingFrequency": rate}),
        "Sources": [Path(features).name],
        "GeneratedBy": [{"Name": "giblet", "Version": __version__}],
        "giblet": {
            "features_sha256": made_from,
            "file": path.name,
            "sha256": sha256_of(path),
            **{name: attrs[name] for name in ("codec", "codec_fingerprint", "bandwidth", "tr") if name in attrs},
        },
    }
    write_atomic(sidecar_path(path), json.dumps(about, indent=2) + "\n")
    return Decoded(path, duration, rate, time.perf_counter() - start)


def _is_picture(features: xr.Dataset, name: str) -> bool:
    """Whether a feature file holds pictures; if not, it holds sound, or cannot be decoded: an error says so."""
    attrs, variable = features.attrs, main_variable(features)
    if attrs["desc"] == VIDEO:
        return True
    if "sample_rate" in attrs and (variable == "mel" or (variable == "codes" and "codec" in attrs)):
        return False
    if attrs["desc"] in (TEXT, f"predicted{TEXT}"):
        raise InputError(
            f"{name} holds words as numbers, which are neither sound nor picture: "
            "giblet.data.text.nearest_segments finds the texts nearest to them"
        )
    shape = ", ".join(f"{dim} {n}" for dim, n in features[variable].sizes.items())
    raise InputError(
        f"{name} holds {attrs['desc']!r}, {variable} ({shape}), and only sound (codes, mel) and pictures of giblet "
        "extract, and the sound that giblet reconstruct predicts, can be decoded: name such a file"
    )


def _check_decoded(path: Path, source: str, made_from: str) -> None:
    """An error if a file of other origin stands where `source` shall be decoded to."""
    check_sidecar(path)
    if not path.exists():
        return
    replace = "name another with --out, or --overwrite (overwrite=True) to replace it"
    about = read_sidecar(path) or {}
    if about.get("features_sha256") != made_from:
        raise InputError(f"{path} is there already and was not made from {source} as it is now: {replace}")
    if about.get("sha256") != sha256_of(path):
        raise InputError(f"{path} was changed since it was made from {source}: {replace}")


def sample_film() -> Path:
    """The short film that comes with giblet (see `samples/README.md` for its licence).

    Returns
    -------
    Path

    Raises
    ------
    InputError
        If it did not come with this installation.
    """
    for folder in (resources.files("giblet") / "samples", Path(__file__).parents[2] / "samples"):
        film = Path(str(folder)) / "sintel_trailer.mp4"
        if film.is_file():
            return film
    raise InputError("this installation came without the sample film: name a film of your own, giblet demo FILM")


def demo(
    film: str | Path | None = None,
    out_dir: str | Path = "demo_output",
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Extract a film, decode it, and measure the round trip.

    Parameters
    ----------
    film : str or Path, optional
        By default :func:`sample_film`.
    out_dir : str or Path
        Gets the features, the decoded sound and their sidecars.
    overwrite : bool
        Replace features and sound of another film, or of other settings, that stand there.
    progress : callable, optional
        Called with seconds done and seconds in all.

    Returns
    -------
    dict
        ``features`` and ``sound`` (paths), ``shape`` of the features, ``film_duration`` and ``decoded_duration`` (s),
        ``realtime_factor`` of extraction, ``si_sdr`` and ``level_error`` (dB) of the decoded sound against the film's
        own.

    Raises
    ------
    GibletError
        As :func:`extract` and :func:`decode`.
    """
    extracted = _extract(Path(film or sample_film()), None, Path(out_dir), None, overwrite, True, progress)
    assert extracted.path is not None and extracted.about is not None
    decoded = decode(extracted.path, overwrite=overwrite, progress=progress)
    rate = int(extracted.about["sample_rate"])
    original = np.concatenate(list(AudioReader(extracted.film, sample_rate=rate)))
    sound = np.concatenate(list(AudioReader(decoded.path, sample_rate=rate)))
    n = min(len(original), len(sound))
    return {
        "features": str(extracted.path),
        "sound": str(decoded.path),
        "shape": extracted.about["shape"],
        "film_duration": extracted.about["film_duration"],
        "decoded_duration": len(sound) / rate,
        "realtime_factor": extracted.realtime_factor,
        "si_sdr": si_sdr(original[:n], sound[:n]),
        "level_error": level_error(original[:n], sound[:n]),
    }
