"""Films to features and back."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from giblet.codec import load_codec
from giblet.config import ExtractSettings
from giblet.data.audio import AudioProcessor
from giblet.data.media import AudioReader
from giblet.data.sound import Progress
from giblet.errors import GibletError, InputError
from giblet.evaluation.reconstruction import si_sdr
from giblet.features import describe, feature_path, load_features, main_variable, metadata_of, save_features, up_to_date
from giblet.files import check_writable


@dataclass(frozen=True)
class Extracted:
    """What became of one film."""

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


def extract_film(
    film: str | Path,
    settings: ExtractSettings | None = None,
    out_dir: str | Path = ".",
    *,
    processor: AudioProcessor | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Extracted:
    """Turn the sound of one film into a feature file.

    Parameters
    ----------
    film : str or Path
        Any film or sound file that FFmpeg reads.
    settings : ExtractSettings, optional
    out_dir : str or Path
        Where ``<film>_desc-encodec24k_features.nc`` (or ``desc-mel``) and its JSON sidecar go.
    processor : AudioProcessor, optional
        Made from the same settings, to load the codec once for many films.
    overwrite : bool
        Extract again even if the file is up to date.
    progress : callable, optional
        Called with seconds done and seconds in all.

    Returns
    -------
    Extracted

    Raises
    ------
    GibletError
        If the film, the settings, the codec or the folder cannot be used; nothing is written then.
    """
    settings = settings or ExtractSettings.make()
    film, start = Path(film), time.perf_counter()
    AudioReader(film, track=settings.track)  # what is wrong with the film is said before the codec is loaded
    check_writable(out_dir)
    processor = processor or AudioProcessor.from_settings(settings)
    path = feature_path(film, processor.desc, out_dir)
    provenance = processor.provenance(film, settings.n_trs)
    if not overwrite and up_to_date(path, **provenance):
        return Extracted(film, "up to date", path, describe(load_features(path)))
    features = processor.extract(film, settings.n_trs, provenance=provenance, progress=progress)
    save_features(features, path)
    return Extracted(film, "written", path, describe(features), time.perf_counter() - start)


def extract_features(
    films: Iterable[str | Path],
    settings: ExtractSettings | None = None,
    out_dir: str | Path = ".",
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Iterator[Extracted]:
    """As :func:`extract_film` for many films: one that fails is reported, and the others go on.

    Raises
    ------
    InputError
        Before anything is done, if two films would write the same file, or the settings or the codec cannot be used.
    """
    paths = [Path(film) for film in films]
    settings = settings or ExtractSettings.make()
    by_stem: dict[str, Path] = {}
    for film in paths:
        if by_stem.setdefault(film.stem, film) != film:
            raise InputError(
                f"{by_stem[film.stem]} and {film} would both write {film.stem}_desc-*: use two output folders"
            )
    processor = AudioProcessor.from_settings(settings)
    for film in paths:
        try:
            yield extract_film(film, settings, out_dir, processor=processor, overwrite=overwrite, progress=progress)
        except GibletError as exc:
            yield Extracted(film, "failed", error=str(exc))


@dataclass(frozen=True)
class Decoded:
    """A sound file made from features."""

    path: Path
    duration: float
    """Seconds of sound."""
    sample_rate: int
    seconds: float
    """Wall-clock time spent."""


def decode_features(
    features: str | Path,
    out: str | Path | None = None,
    *,
    codec: str | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> Decoded:
    """Turn a feature file back into sound.

    Parameters
    ----------
    features : str or Path
        As :func:`extract_film` writes it.
    out : str or Path, optional
        ``.wav`` or ``.flac``; by default ``<film>_desc-..._decoded.wav`` beside the features.
    codec : str, optional
        Where the codec that made the file is found now; by default where it was then.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
    progress : callable, optional
        Called with seconds done and seconds in all.

    Returns
    -------
    Decoded

    Raises
    ------
    InputError
        If the file is not a feature file, is damaged, or the sound cannot be written.
    CodecError
        If the codec cannot be loaded or is not the one that made the codes.
    """
    start = time.perf_counter()
    dataset = load_features(features)
    attrs = dataset.attrs
    out = Path(out) if out is not None else Path(str(features).removesuffix("_features.nc") + "_decoded.wav")
    check_writable(out.parent)
    processor = AudioProcessor(
        use_encodec="codec" in attrs,
        codec=load_codec(codec or attrs["codec"], bandwidth=attrs["bandwidth"], device=device)
        if "codec" in attrs
        else "",
        tr=attrs["tr"],
        n_mels=dataset.sizes.get("mel", 2048),
    )
    array = dataset[main_variable(dataset)].values
    path = processor.features_to_audio(array, out, metadata=metadata_of(dataset), progress=progress)
    return Decoded(path, float(attrs["duration"]), int(attrs["sample_rate"]), time.perf_counter() - start)


def sample_film() -> Path:
    """The short film that comes with giblet (see `data/README.md` for its licence)."""
    for folder in (resources.files("giblet") / "samples", Path(__file__).parents[2] / "data"):
        film = Path(str(folder)) / "sintel_trailer.mp4"
        if film.is_file():
            return film
    raise InputError("this installation came without the sample film: name a film of your own, giblet demo FILM")


def demo(
    film: str | Path | None = None, out_dir: str | Path = "demo_output", *, progress: Progress | None = None
) -> dict[str, Any]:
    """Extract a film, decode it, and measure the round trip.

    Returns
    -------
    dict
        ``features``, ``sidecar``, ``sound`` (paths), ``film_duration``, ``decoded_duration`` (s),
        ``realtime_factor`` of extraction, ``si_sdr`` (dB) of the decoded sound against the film's own.

    Raises
    ------
    GibletError
        As :func:`extract_film` and :func:`decode_features`.
    """
    extracted = extract_film(film or sample_film(), None, out_dir, overwrite=True, progress=progress)
    assert extracted.path is not None and extracted.about is not None
    decoded = decode_features(extracted.path, progress=progress)
    original = np.concatenate(list(AudioReader(extracted.film, sample_rate=decoded.sample_rate)))
    sound = np.concatenate(list(AudioReader(decoded.path, sample_rate=decoded.sample_rate)))
    n = min(len(original), len(sound))
    return {
        "features": str(extracted.path),
        "sound": str(decoded.path),
        "shape": extracted.about["shape"],
        "film_duration": extracted.about["film_duration"],
        "decoded_duration": len(sound) / decoded.sample_rate,
        "realtime_factor": extracted.realtime_factor,
        "si_sdr": si_sdr(original[:n], sound[:n]),
    }
