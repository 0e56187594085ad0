"""A film's sound as a speech model hears it: hidden states by layer, on the clock of a scan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from math import ceil, floor
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from giblet.data.gain import Gain, gain_looks_ahead
from giblet.data.media import AudioReader
from giblet.data.parts import Parts
from giblet.data.pretrained import checked_layers
from giblet.data.processor import ExtractionSettings, MadeOfSettings, causality_of
from giblet.data.sound import SoundOnGrid
from giblet.data.sources import FromSound
from giblet.data.speech_models import SpeechModel
from giblet.docs import fill_doc
from giblet.errors import InputError
from giblet.features import CONTINUOUS, new_features
from giblet.files import sha256_of
from giblet.progress import Progress
from giblet.spans import volume_grid
from giblet.timing import check_tr, exact, shown

if TYPE_CHECKING:
    import xarray as xr

SPEECH = "speech"
CONTEXT = 8.0
"""Seconds of sound before each window that the model hears, if nothing else is asked for."""
BATCH = 8
"""Windows computed at a time."""
ROUNDING = 1e-6
"""Samples by which a position that lies on the first sample of a window may seem to lie before it."""


class SpeechSettings(ExtractionSettings):
    """Options of speech features. Same film, same settings, same model: same file."""

    model: str = Field(description="speech model: a folder or a hub name such as openai/whisper-small")
    layers: tuple[int, ...] | None = Field(
        None, description="hidden states kept, 0: what goes into the first block; default: the middle"
    )
    window: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="s that one pass of the model is for; default: the TR"
    )
    context: float = Field(
        CONTEXT, ge=0, allow_inf_nan=False, description="s before each window that the model hears too"
    )
    causal: bool = Field(True, description="false: the model also hears so many seconds after each window")
    track: int | None = Field(None, ge=0, description="which audio track of the film, from 0; default: the first")
    gain: Gain = Field(0.0, description="dB by which the sound is made louder; 'peak': to full scale")
    device: str = Field("auto", description="'auto', 'cpu', 'cuda' or 'mps'")


@dataclass(frozen=True)
class Windows:
    """Where the windows of a TR lie, in samples.

    The vector of a TR is the mean over the model's positions in its windows. Each window is heard with so much context
    before it; what comes after it is not heard, unless `causal` is False.
    """

    tr: Fraction
    per_tr: int
    context: float
    sample_rate: int
    causal: bool

    def edges(self, number: int) -> tuple[int, int]:
        """First sample of a window, and that behind its last.

        Parameters
        ----------
        number : int
            From 0; ``per_tr`` of them are in each TR.

        Returns
        -------
        start, stop : int
        """
        return self._sample(number), self._sample(number + 1)

    def heard(self, number: int) -> tuple[int, int]:
        """First sample that is heard for a window, and that behind its last.

        Parameters
        ----------
        number : int

        Returns
        -------
        start, stop : int
            `start` is 0 at the beginning of the film; `stop` may lie behind its end if windows are not causal. All
            others are equally long.
        """
        around = round(self.context * self.sample_rate)
        width = floor(self.tr / self.per_tr * self.sample_rate + Fraction(1, 2))
        stop = self._sample(number + 1)
        return max(0, stop - width - around), stop if self.causal else stop + around

    def _sample(self, number: int) -> int:
        return floor(number * self.tr / self.per_tr * self.sample_rate + Fraction(1, 2))


@fill_doc
class SpeechProcessor(MadeOfSettings, FromSound):
    """Turns the sound of a film into hidden states of a speech model by TR.

    Speech models hear to and fro: a position's vector depends on all of the sound that it is computed from, so that
    of a whole clip the last second changes the first. Here the model hears, for each window of sound, that window and
    `context` seconds before it, by themselves; the window's vector is the mean over the positions that lie in it. So
    the vector of a TR depends on nothing that comes after the TR.

    Parameters
    ----------
    model : str or SpeechModel
        A folder, a hub name, or a loaded model.
    tr : float
        %(tr)s
    layers : sequence of int, optional
        Hidden states kept; 0 is what goes into the first block. By default the one in the middle.
    window : float, optional
        Seconds that one pass of the model is for, a TR or a whole part of it: short windows see less ahead within the
        TR, and cost more. By default the TR.
    context : float
        Seconds before each window that the model hears too.
    causal : bool
        False: it also hears so many seconds after each window.
    track : int, optional
        Audio track of the film, counted from 0. By default the one that the film marks as its default, or else the
        first.
    gain : float or "peak"
        By how many dB the sound is made louder before anything else; "peak" brings its loudest sample to full scale.
    device : str
        %(device)s

    Raises
    ------
    InputError
        If an option is out of range, or the model cannot be loaded, lacks a layer, or cannot hear so much at once.

    See Also
    --------
    giblet.data.acoustics.AcousticsProcessor : measures of sound without a model.

    References
    ----------
    Vaidya, Jain & Huth (2022). Self-supervised models of audio effectively explain human cortical responses to speech.
    ICML.
    """

    settings_type: ClassVar[type[ExtractionSettings]] = SpeechSettings
    resumable: ClassVar[bool] = True
    desc = SPEECH

    def __init__(  # 9 parameters: those of a film's sound, and what is heard of it
        self,
        model: str | SpeechModel,
        *,
        tr: float = 1.5,
        layers: tuple[int, ...] | None = None,
        window: float | None = None,
        context: float = CONTEXT,
        causal: bool = True,
        track: int | None = None,
        gain: float | Literal["peak"] = 0.0,
        device: str = "auto",
    ) -> None:
        loaded = model if isinstance(model, SpeechModel) else None
        self.settings = SpeechSettings.make(
            model=loaded.name if loaded else model, tr=tr, layers=layers, window=window, context=context,
            causal=causal, track=track, gain=gain, device=device,
        )  # fmt: skip
        per_tr = _windows_per_tr(self.settings)
        self.model = loaded or SpeechModel(self.settings.model, device=device)
        self.layers = checked_layers(layers, self.model.n_blocks, self.model.name)
        self.windows = Windows(check_tr(tr), per_tr, context, self.model.sample_rate, causal)
        self._check_lengths()

    def _check_lengths(self) -> None:
        model, window = self.model, float(self.windows.tr / self.windows.per_tr)
        if window < model.step + model.shortest:
            raise InputError(
                f"window is {window:g} s: {model.name} needs at least {model.step + model.shortest:.3g} s for a "
                "position of its own; use longer windows"
            )
        around = self.settings.context * (1 if self.settings.causal else 2)
        if model.longest is not None and window + around > model.longest:
            raise InputError(
                f"context is {self.settings.context:g} s{'' if self.settings.causal else ' before and after'} and the "
                f"window {window:g} s: {model.name} hears {model.longest:g} s at once; use less context, or shorter "
                "windows"
            )

    @property
    def looks_ahead(self) -> str:
        """Why features depend on sound after their TR; empty where they do not."""
        seconds = shown(self.settings.context)
        if not self.settings.causal:
            return f"the model hears {seconds} s after each window"
        return gain_looks_ahead(self.settings.gain)

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
            ``source_sha256``, ``settings`` and ``model_fingerprint``.
        """
        settings = self.settings.model_copy(update={"n_trs": n_trs, "layers": self.layers})
        return {
            "source_sha256": sha256_of(path),
            "settings": settings.model_dump(mode="json", exclude={"model", "device"}),
            "model_fingerprint": self.model.fingerprint,
        }

    @fill_doc
    def extract(
        self,
        path: str | Path,
        n_trs: int | None = None,
        *,
        provenance: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
        parts: Parts | None = None,
    ) -> xr.Dataset:
        """Hidden states by TR as the Dataset of a feature file (see :mod:`giblet.features`).

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
        parts : Parts, optional
            %(parts)s

        Returns
        -------
        xarray.Dataset
            ``layer_<n>`` float32 (tr, dim) for each layer: mean of its vectors in the TR.

        Raises
        ------
        InputError
            If the film cannot be read or has no sound.
        """
        settings, model, per_tr = self.settings, self.model, self.windows.per_tr
        reader = AudioReader(path, sample_rate=model.sample_rate, track=settings.track, gain=settings.gain)
        sound = SoundOnGrid(reader, settings.tr, n_trs, model.sample_rate, 1, progress)
        by_tr: list[np.ndarray] = []
        held: list[np.ndarray] = []
        for vectors in self.vectors(sound, parts):
            held.append(vectors)
            if len(held) == per_tr:
                by_tr.append(np.asarray(np.mean(held, axis=0, dtype=np.float64), np.float32))
                held = []
        table = np.stack(by_tr[: sound.grid.n_trs])
        return new_features(
            {
                f"layer_{layer}": (("tr", "dim"), np.ascontiguousarray(table[:, index]))
                for index, layer in enumerate(self.layers)
            },
            volume_grid(settings.tr, sound.grid.n_trs, 0),
            kind=CONTINUOUS,
            desc=SPEECH,
            source=Path(path).name,
            **(self.provenance(path, n_trs) if provenance is None else provenance),
            model=model.name,
            model_saved_as=model.saved_as,
            model_dtype="float32",
            model_layers=",".join(map(str, self.layers)),
            model_window=float(self.windows.tr / per_tr),
            model_context=settings.context,
            causal=causality_of(self.looks_ahead),
            **sound.about(),
        )

    def vectors(self, sound: Iterator[np.ndarray] | SoundOnGrid, parts: Parts | None = None) -> Iterator[np.ndarray]:
        """The vectors of all windows, one after the other.

        Parameters
        ----------
        sound : iterable of ndarray of float32, shape (n,)
            Blocks at the model's sample rate.
        parts : Parts, optional
            Of a run that was stopped, and where those of this one go.

        Yields
        ------
        ndarray of float32, shape (n_layers, dim)
            Of each window that the sound fills.
        """
        parts = parts or Parts()
        for batch in self._batches(sound):
            yield from parts.take(partial(self._means, batch))["vectors"]

    def _batches(self, sound: Iterator[np.ndarray] | SoundOnGrid) -> Iterator[list[tuple[np.ndarray, slice]]]:
        """Windows that are computed at a time: all equally long, as nothing is padded."""
        batch: list[tuple[np.ndarray, slice]] = []
        for one in self._heard(sound):
            if batch and (len(batch) == BATCH or len(one[0]) != len(batch[0][0])):
                yield batch
                batch = []
            batch.append(one)
        if batch:
            yield batch

    def _heard(self, sound: Iterator[np.ndarray] | SoundOnGrid) -> Iterator[tuple[np.ndarray, slice]]:
        """For each window what is heard, and which samples of it are its own."""
        held, first, number = np.zeros(0, np.float32), 0, 0
        for block in sound:
            held = np.concatenate([held, block])
            while self.windows.heard(number)[1] <= first + len(held):
                yield self._cut(held, first, number)
                number += 1
            start = min(self.windows.heard(number)[0], self.windows.edges(number)[0])
            held, first = held[start - first :], start
        while self.windows.edges(number)[1] <= first + len(held):  # what is not causal hears less at the end
            yield self._cut(held, first, number)
            number += 1

    def _cut(self, held: np.ndarray, first: int, number: int) -> tuple[np.ndarray, slice]:
        (start, stop), (begin, end) = self.windows.heard(number), self.windows.edges(number)
        return held[start - first : stop - first], slice(begin - start, end - start)

    def _means(self, batch: list[tuple[np.ndarray, slice]]) -> dict[str, np.ndarray]:
        """Of each window the mean over the positions that lie in it, float32 (n_windows, n_layers, dim)."""
        states = self.model.states([heard for heard, _ in batch], self.layers)
        centres = self.model.centres(len(batch[0][0])) * self.model.sample_rate + ROUNDING
        means = []
        for one, (_, own) in zip(states, batch, strict=True):
            inside = (centres >= own.start) & (centres < own.stop)
            means.append(one[:, inside].mean(axis=1, dtype=np.float64))
        return {"vectors": np.array(means, np.float32)}


def _windows_per_tr(settings: SpeechSettings) -> int:
    tr = check_tr(settings.tr)
    if settings.window is None:
        return 1
    ratio = tr / exact(settings.window)
    if ratio.denominator != 1:
        # The nearest that can be written down: a third of 2 s can't.
        numbers = sorted(range(1, 2 * ceil(ratio) + 1), key=lambda n: abs(n - ratio))
        near = next(n for n in numbers if n * exact(shown(tr / n)) == tr)
        raise InputError(
            f"window is {shown(settings.window)} s and the TR {shown(settings.tr)} s: a TR must hold whole windows; "
            f"{shown(tr / near)} s would do"
        )
    return ratio.numerator
