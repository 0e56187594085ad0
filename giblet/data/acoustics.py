"""Measures of a film's sound on the clock of a scan: envelopes, modulations, loudness, onsets and pitch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator

from giblet.data.acoustic_kinds import (
    FRAME_RATE,
    Envelope,
    Gammatone,
    Kind,
    Loudness,
    Modulation,
    OnsetStrength,
    Pitch,
    Variables,
)
from giblet.data.gain import Gain, gain_looks_ahead
from giblet.data.media import AudioReader
from giblet.data.processor import ExtractionSettings, MadeOfSettings, causality_of, check_causal
from giblet.data.sound import SoundOnGrid
from giblet.data.sources import FromSound
from giblet.docs import fill_doc
from giblet.features import CONTINUOUS, new_features
from giblet.files import sha256_of
from giblet.progress import Progress
from giblet.spans import volume_grid
from giblet.timing import check_tr, first_frame

if TYPE_CHECKING:
    import xarray as xr

ACOUSTICS = "acoustics"
BIESMANS = 0.6
"""Power of gammatone envelopes: "powerlaw subbands" of Biesmans et al. (2017), IEEE TNSRE 25, 402-412."""
KINDS: dict[str, type[Kind]] = {
    "envelope": Envelope,
    "gammatone": Gammatone,
    "modulation": Modulation,
    "loudness": Loudness,
    "onset_strength": OnsetStrength,
    "pitch": Pitch,
}
"""All measures, by name; ``pitch`` brings voicing with it."""
CAUSAL_KINDS = tuple(name for name, kind in KINDS.items() if not kind.looks_ahead)


class AcousticsSettings(ExtractionSettings):
    """Options of measures of sound. Same film, same settings: same file."""

    kinds: tuple[str, ...] = Field(
        CAUSAL_KINDS, min_length=1, description=f"of {', '.join(KINDS)}; default: all that are causal"
    )
    compression: float = Field(BIESMANS, gt=0, le=1, description="power of the envelopes of gammatone and modulation")
    causal: bool = Field(True, description="refuse what depends on sound after its TR, as pitch does")
    track: int | None = Field(None, ge=0, description="which audio track of the film, from 0; default: the first")
    gain: Gain = Field(0.0, description="dB by which the sound is made louder; 'peak': to full scale")

    @field_validator("kinds")
    @classmethod
    def _known_and_once(cls, kinds: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [name for name in kinds if name not in KINDS]:
            raise ValueError(f"{unknown[0]!r} is none of {', '.join(KINDS)}")
        if len(set(kinds)) < len(kinds):
            raise ValueError("name each once")
        return kinds


class MeansByTR:
    """Means over the frames of each TR, as frames come in; frames that are NaN count in none.

    Parameters
    ----------
    tr : float
        Repetition time in seconds.
    frame_rate : float or Fraction
        Frames per second.
    n_columns : int
    """

    def __init__(self, tr: float, frame_rate: float | Fraction, n_columns: int) -> None:
        self._tr, self._rate = check_tr(tr, frame_rate), Fraction(frame_rate)
        self._held = np.zeros((0, n_columns))
        self._means: list[np.ndarray] = []

    def add(self, frames: np.ndarray) -> None:
        """Take the frames that follow.

        Parameters
        ----------
        frames : ndarray of float, shape (n_frames, n_columns)
        """
        held = np.concatenate([self._held, frames])
        first = self._edge(len(self._means))
        start = 0
        while (stop := self._edge(len(self._means) + 1) - first) <= len(held):
            own = held[start:stop]
            there = np.isfinite(own)
            n = there.sum(axis=0)
            total = np.where(there, own, 0).sum(axis=0)
            self._means.append(np.divide(total, n, out=np.full(len(n), np.nan), where=n > 0))
            start = stop
        self._held = held[start:]

    def table(self, n_trs: int) -> np.ndarray:
        """The means.

        Parameters
        ----------
        n_trs : int
            At most as many as frames were given for.

        Returns
        -------
        ndarray of float64, shape (n_trs, n_columns)
            NaN where all frames were.
        """
        return np.array(self._means[:n_trs]).reshape(n_trs, self._held.shape[1])

    def _edge(self, k: int) -> int:
        return first_frame(k * self._tr, self._rate)


@fill_doc
class AcousticsProcessor(MadeOfSettings, FromSound):
    """Turns the sound of a film into measures of it by TR.

    Each is computed a hundred times per second (see :mod:`giblet.data.acoustic_kinds`), and averaged over the TR. For a
    finer series extract at a short TR, such as 0.1 s: ``giblet encode`` brings it to the TR of the scan.

    Parameters
    ----------
    kinds : sequence of str
        Of ``"envelope"``, ``"gammatone"``, ``"modulation"``, ``"loudness"``, ``"onset_strength"`` and ``"pitch"``.
    tr : float
        %(tr)s
    compression : float
        Power of the envelopes of gammatone bands and modulations; 1 for none.
    causal : bool
        Refuse kinds that depend on sound after their TR.
    track : int, optional
        Audio track of the film, counted from 0. By default the one that the film marks as its default, or else the
        first.
    gain : float or "peak"
        By how many dB the sound is made louder before anything else; "peak" brings its loudest sample to full scale.

    Raises
    ------
    InputError
        If an option is out of range, or a kind is not causal and `causal` is True.

    See Also
    --------
    giblet.data.audio.AudioProcessor : codes of a neural codec, or mel spectrograms.
    giblet.data.speech.SpeechProcessor : hidden states of a speech model.

    Examples
    --------
    >>> loudness = AcousticsProcessor(("loudness",), tr=2).extract("film.mkv")  # doctest: +SKIP
    """

    settings_type: ClassVar[type[ExtractionSettings]] = AcousticsSettings
    desc = ACOUSTICS

    def __init__(
        self,
        kinds: tuple[str, ...] = CAUSAL_KINDS,
        *,
        tr: float = 1.5,
        compression: float = BIESMANS,
        causal: bool = True,
        track: int | None = None,
        gain: float | Literal["peak"] = 0.0,
    ) -> None:
        self.settings = AcousticsSettings.make(
            kinds=kinds, tr=tr, compression=compression, causal=causal, track=track, gain=gain
        )
        check_tr(tr, FRAME_RATE)
        if causal:
            for name in kinds:
                check_causal(KINDS[name].looks_ahead, name, "leave it out, or ")
            check_causal(gain_looks_ahead(gain), "acoustic features", "give a number of dB, or ")

    @property
    def looks_ahead(self) -> str:
        """Why features depend on sound after their TR; empty where they do not."""
        why = [KINDS[name].looks_ahead for name in self.settings.kinds] + [gain_looks_ahead(self.settings.gain)]
        return "; ".join(filter(None, why))

    def provenance(self, path: str | Path, n_trs: int | None = None) -> dict[str, Any]:
        """The attributes that decide what the features of a film are; equal ones mean an equal file.

        Parameters
        ----------
        path : str or Path
            The film.
        n_trs : int, optional
            As for :meth:`extract`.

        Returns
        -------
        dict
            ``source_sha256`` and ``settings``.
        """
        settings = self.settings.model_copy(update={"n_trs": n_trs})
        unused = {"causal"} | ({"compression"} if not {"gammatone", "modulation"} & set(settings.kinds) else set())
        return {"source_sha256": sha256_of(path), "settings": settings.model_dump(mode="json", exclude=unused)}

    @fill_doc
    def extract(
        self,
        path: str | Path,
        n_trs: int | None = None,
        *,
        provenance: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
    ) -> xr.Dataset:
        """Measures of a film's sound as the Dataset of a feature file (see :mod:`giblet.features`).

        Parameters
        ----------
        path : str or Path
            %(film)s
        n_trs : int, optional
            Volumes of the scan: a longer film is cut, a shorter one padded with silence; ``valid`` says which TRs the
            film covers. By default as many as the film fills.
        provenance : mapping, optional
            %(provenance)s
        progress : callable, optional
            %(progress)s

        Returns
        -------
        xarray.Dataset
            Float32, means over the TR, of the kinds that were asked for: ``envelope`` (tr); ``gammatone`` (tr, band),
            with ``gammatone_frequency`` in Hz; ``modulation`` (tr, rate), with ``modulation_frequency`` in Hz;
            ``loudness`` (tr), LUFS; ``onset_strength`` (tr), dB per 10 ms; ``pitch`` (tr), Hz, with ``pitch_mask`` and
            ``voicing``, the share of the TR with a voice.

        Raises
        ------
        InputError
            If the film cannot be read or has no sound.
        """
        kinds = {name: self._make(name) for name in self.settings.kinds}
        rates = sorted({kind.sample_rate for kind in kinds.values()})
        found: dict[str, Variables] = {}
        for index, rate in enumerate(rates):
            reader = AudioReader(path, sample_rate=rate, track=self.settings.track, gain=self.settings.gain)
            sound = SoundOnGrid(
                reader, self.settings.tr, n_trs, FRAME_RATE, rate // FRAME_RATE, _part(progress, index, len(rates))
            )
            own = {name: kind for name, kind in kinds.items() if kind.sample_rate == rate}
            found |= self._of_sound(own, sound)
        variables: Variables = {}
        for name in kinds:  # in the order asked for: the first is what the file is about
            variables |= found[name]
        return new_features(
            variables,
            volume_grid(self.settings.tr, sound.grid.n_trs, 0),
            kind=CONTINUOUS,
            desc=ACOUSTICS,
            source=Path(path).name,
            **(self.provenance(path, n_trs) if provenance is None else provenance),
            causal=causality_of(self.looks_ahead),
            **sound.about(),
        )

    def _make(self, name: str) -> Kind:
        kind = KINDS[name]
        return kind(self.settings.compression) if issubclass(kind, (Gammatone, Modulation)) else kind()

    def _of_sound(self, kinds: dict[str, Kind], sound: SoundOnGrid) -> dict[str, Variables]:
        """Variables of each kind, of sound that is read once."""
        means = {name: MeansByTR(self.settings.tr, FRAME_RATE, kind.n_columns) for name, kind in kinds.items()}
        for block in _whole_frames(sound):
            for name, kind in kinds.items():
                means[name].add(kind.add(block))
        for name, kind in kinds.items():
            means[name].add(kind.end())
        return {name: kind.variables(means[name].table(sound.grid.n_trs)) for name, kind in kinds.items()}


def _whole_frames(sound: SoundOnGrid) -> Iterator[np.ndarray]:
    """Blocks that end with a frame; of whole TRs nothing is left over."""
    held = np.zeros(0, np.float32)
    for chunk in sound:
        held = np.concatenate([held, chunk])
        n = len(held) - len(held) % sound.hop_length
        yield held[:n]
        held = held[n:]


def _part(progress: Progress | None, index: int, n: int) -> Progress | None:
    """Progress of one of `n` readings of a film."""
    if progress is None or n == 1:
        return progress
    return lambda done, total: progress(done / n if total is None else (index * total + done) / n, total)
