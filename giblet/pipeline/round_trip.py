"""The round trip: a film extracted and decoded again, and what was lost. And the samples that come with giblet."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from giblet.data.media import AudioReader
from giblet.docs import fill_doc
from giblet.errors import InputError
from giblet.notebook import html_facts
from giblet.pipeline.decoding import DecodedFile, decode
from giblet.pipeline.extracted import FeatureFile
from giblet.pipeline.features import extract_anew
from giblet.progress import Progress
from giblet.sound_metrics import level_error, si_sdr
from giblet.storage import taking_urls

FILM = "sintel_trailer.mp4"


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
    return sample(FILM)


def sample(name: str) -> Path:
    """A film or sound that comes with giblet (see `samples/README.md` for their licences).

    Parameters
    ----------
    name : str
        Of the file, such as ``"readers.flac"``.

    Returns
    -------
    Path

    Raises
    ------
    InputError
        If it did not come with this installation.
    """
    for folder in (resources.files("giblet") / "samples", Path(__file__).parents[2] / "samples"):
        path = Path(str(folder)) / name
        if path.is_file():
            return path
    raise InputError(
        f"this installation came without the sample {name}: install giblet again, or name a film of your own"
    )


@dataclass(frozen=True, repr=False)
class RoundTrip:
    """Result of :func:`measure_round_trip`: features of a film's sound, the decoded sound, and what was lost."""

    features: FeatureFile
    sound: DecodedFile
    decoded_duration: float
    """Seconds of decoded sound."""
    si_sdr: float
    """Of the decoded sound against the film's own, dB."""
    level_error: float
    """By how many dB the decoded sound is louder than the film's own."""

    def __repr__(self) -> str:
        return f"<RoundTrip {self.features.film.name}: SI-SDR {self.si_sdr:.2f} dB, {self.level_error:+.2f} dB>"

    def _repr_html_(self) -> str:
        return html_facts(repr(self), self.as_dict())

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain values, as ``giblet demo --quick --json`` prints it.

        Returns
        -------
        dict of str to object
            ``features`` and ``sound`` (paths), ``shape`` of the features, ``film_duration`` and ``decoded_duration``
            (s), ``realtime_factor`` of extraction, ``si_sdr`` and ``level_error`` (dB).
        """
        return {
            "features": str(self.features.path),
            "sound": str(self.sound.path),
            "shape": self.features.about["shape"],
            "film_duration": self.features.about["film_duration"],
            "decoded_duration": self.decoded_duration,
            "realtime_factor": self.features.realtime_factor,
            "si_sdr": self.si_sdr,
            "level_error": self.level_error,
        }


@fill_doc
@taking_urls("film", into=("out_dir",))
def measure_round_trip(
    film: str | Path | None = None,
    out_dir: str | Path = "demo_output",
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> RoundTrip:
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
        %(progress)s

    Returns
    -------
    RoundTrip

    Raises
    ------
    GibletError
        As :func:`giblet.pipeline.extract` and :func:`giblet.pipeline.decode`.

    See Also
    --------
    giblet.pipeline.demo : The whole way, with a simulated brain.
    """
    extracted = extract_anew(film or sample_film(), out_dir, replace=overwrite, progress=progress)
    return round_trip_of(extracted, overwrite=overwrite, progress=progress)


@fill_doc
def round_trip_of(extracted: FeatureFile, *, overwrite: bool = False, progress: Progress | None = None) -> RoundTrip:
    """Decode the features of a film's sound, and measure what was lost.

    Parameters
    ----------
    extracted : FeatureFile
    overwrite : bool
        Replace a sound of other features that stands beside them.
    progress : callable, optional
        %(progress)s

    Returns
    -------
    RoundTrip

    Raises
    ------
    GibletError
        As :func:`giblet.pipeline.decode`.
    """
    decoded = decode(extracted.path, overwrite=overwrite, progress=progress)
    rate = int(extracted.about["sample_rate"])
    original = np.concatenate(list(AudioReader(extracted.film, sample_rate=rate)))
    sound = np.concatenate(list(AudioReader(decoded.path, sample_rate=rate)))
    n = min(len(original), len(sound))
    return RoundTrip(
        extracted,
        decoded,
        decoded_duration=len(sound) / rate,
        si_sdr=si_sdr(original[:n], sound[:n]),
        level_error=level_error(original[:n], sound[:n]),
    )
