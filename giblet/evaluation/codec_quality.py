"""How well a codec keeps sound, at each of its bandwidths, beside mel spectrograms of known size on the same clips."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from giblet.codec.base import AudioCodec
from giblet.codec.training.losses import MultiScaleLoss
from giblet.codec.training.validate import perplexity
from giblet.errors import InputError
from giblet.evaluation import sound_scores
from giblet.evaluation.mel_baseline import MelBaseline
from giblet.evaluation.sound_scores import REMEDY, SCORES, score
from giblet.progress import Progress
from giblet.sound_metrics import PACKAGES
from giblet.timing import TRGrid

MEL_MEAN = MelBaseline("mel, mean of each TR", bands=2048, frames_per_tr=1)
"""What the old pipeline kept."""
MEL_FULL = MelBaseline("mel, every frame", bands=2048)


def mels_of_as_many_numbers(numbers_per_tr: int) -> tuple[MelBaseline, MelBaseline]:
    """Mel spectrograms of about so many numbers per TR, not fewer, at their best for STOI and for PESQ.

    The bands and windows are those that `benchmarks/codec_quality.py` finds best on other speakers for the 896 numbers
    of eight codebooks at TR 1.5 s; no layout is the best for both scores.

    Parameters
    ----------
    numbers_per_tr : int
        At least so many are kept.

    Returns
    -------
    (MelBaseline, MelBaseline)
        Of 16 and of 32 bands.
    """
    times, pitches = (math.ceil(numbers_per_tr / bands) for bands in (16, 32))
    return (
        MelBaseline(f"mel, 16 bands x {times} per TR", bands=16, frames_per_tr=times, n_fft=512, hop_length=128),
        MelBaseline(f"mel, 32 bands x {pitches} per TR", bands=32, frames_per_tr=pitches, n_fft=256, hop_length=64),
    )


@dataclass(frozen=True)
class Clip:
    """A stretch of sound to score on."""

    name: str
    sound: np.ndarray
    """float32 (n_samples,), at the codec's sample rate."""


@dataclass
class Row:
    """One way to keep sound, and what came back by it."""

    label: str
    numbers_per_tr: int
    number: str
    """What a number is: ``"10-bit integer"`` or ``"float32"``."""
    bits_per_second: float
    per_clip: dict[str, dict[str, float | None]] = field(default_factory=dict)
    """Scores by clip; None where a score is not defined or its package is absent."""
    perplexity: list[float] | None = None
    """Codebook entries in effective use, by codebook, over all clips; of codecs only."""

    def mean(self, score: str) -> float | None:
        """Mean over the clips that have the score; None if none has.

        Parameters
        ----------
        score : str
            A key of :data:`giblet.evaluation.sound_scores.SCORES`.

        Returns
        -------
        float or None
            In the unit of the score.
        """
        values = self._values(score)
        return float(np.mean(values)) if values else None

    def median(self, score: str) -> float | None:
        """Median over the clips that have the score: PESQ now and then praises a sound without words.

        Parameters
        ----------
        score : str
            A key of :data:`giblet.evaluation.sound_scores.SCORES`.

        Returns
        -------
        float or None
            In the unit of the score.
        """
        values = self._values(score)
        return float(np.median(values)) if values else None

    def n(self, score: str) -> int:
        """Number of clips that have the score.

        Parameters
        ----------
        score : str
            A key of :data:`giblet.evaluation.sound_scores.SCORES`.

        Returns
        -------
        int
        """
        return len(self._values(score))

    def _values(self, score: str) -> list[float]:
        found = (scores[score] for scores in self.per_clip.values())
        return [value for value in found if value is not None]

    def as_dict(self) -> dict[str, Any]:
        """Plain values; infinities are the strings ``"inf"`` and ``"-inf"``, which JSON has no numbers for.

        Returns
        -------
        dict
            ``label``, ``numbers_per_tr``, ``number``, ``bits_per_second``, ``perplexity``, ``per_clip``, and each
            score's ``mean``, ``median`` and ``n``.
        """
        return {
            "label": self.label,
            "numbers_per_tr": self.numbers_per_tr,
            "number": self.number,
            "bits_per_second": self.bits_per_second,
            **{
                score: {"mean": _plain(self.mean(score)), "median": _plain(self.median(score)), "n": self.n(score)}
                for score in SCORES
            },
            "perplexity": self.perplexity,
            "per_clip": {
                name: {score: _plain(value) for score, value in scores.items()}
                for name, scores in self.per_clip.items()
            },
        }


@dataclass
class CodecQuality:
    """A codec's rows and those of the baselines, on the same clips."""

    codec: str
    fingerprint: str
    tr: float
    sample_rate: int
    rows: list[Row]
    seconds: float
    """Sound scored, in all."""
    frames: int
    """Frames of codes that the perplexity rests on."""
    kept: dict[str, dict[str, np.ndarray]]
    """Sounds to listen to: clip, then ``"original"`` or the label of a row, to float32 (n_samples,)."""
    skipped: dict[str, str] = field(default_factory=dict)
    """Files that were left out, and why."""

    @property
    def n_clips(self) -> int:
        """Clips scored."""
        return len(self.rows[0].per_clip)

    def row(self, label: str) -> Row:
        """The first row of that label.

        Parameters
        ----------
        label : str

        Returns
        -------
        Row

        Raises
        ------
        InputError
            If there is none.
        """
        found = next((row for row in self.rows if row.label == label), None)
        if found is None:
            raise InputError(f"there is no row {label!r}: the rows are {', '.join(row.label for row in self.rows)}")
        return found

    @property
    def notes(self) -> list[str]:
        """What a reader must know of the figures: scores that are absent or rest on fewer clips, files left out."""
        absent = sound_scores.missing()
        found = [
            f"{SCORES[name]} is not measured: the package {PACKAGES[name]} is not installed; {REMEDY}"
            for name in absent
        ]
        for name in (name for name in SCORES if name not in absent):
            few = {row.label: row.n(name) for row in self.rows if row.n(name) < self.n_clips}
            if few:
                rows = ", ".join(f"{label} ({n} of {self.n_clips})" for label, n in few.items())
                found.append(f"{SCORES[name]} is not defined for every clip (too little speech, or silent): {rows}")
        found += [f"left out: {name}: {why}" for name, why in self.skipped.items()]
        return found

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON.

        Returns
        -------
        dict
            ``codec``, ``fingerprint``, ``tr`` (s), ``clips``, ``seconds``, ``frames``, ``rows``, ``notes``,
            ``skipped``; not the sounds.
        """
        return {
            "codec": self.codec,
            "fingerprint": self.fingerprint,
            "tr": self.tr,
            "clips": self.n_clips,
            "seconds": self.seconds,
            "frames": self.frames,
            "rows": [row.as_dict() for row in self.rows],
            "notes": self.notes,
            "skipped": self.skipped,
        }


def codec_label(codec: AudioCodec) -> str:
    """Name of a codec's row.

    Parameters
    ----------
    codec : AudioCodec

    Returns
    -------
    str
        Such as ``"codes, 6 kbps"``.
    """
    return f"codes, {codec.bandwidth:g} kbps"


def score_codec(
    codecs: Sequence[AudioCodec],
    clips: Iterable[Clip],
    *,
    tr: float = 1.5,
    baselines: Sequence[MelBaseline] | None = None,
    keep: int = 0,
    progress: Progress | None = None,
    seconds: float | None = None,
) -> CodecQuality:
    """Score a codec at some bandwidths, and baselines, on clips.

    Parameters
    ----------
    codecs : sequence of AudioCodec
        One codec, loaded once for each bandwidth.
    clips : iterable of Clip
        Read one by one, so that many may be given.
    tr : float
        Repetition time in seconds. The numbers per TR and the stretches of the baselines follow from it.
    baselines : sequence of MelBaseline, optional
        By default the TR mean, mels of as many numbers as the richest of the codecs keeps, and the full mel.
    keep : int
        Clips of which all sounds are kept to be listened to.
    progress : callable, optional
        Called with seconds of sound done, and `seconds`.
    seconds : float, optional
        How much sound the clips are at most, for `progress`.

    Returns
    -------
    CodecQuality
        With the codecs' rows first, in the order given.

    Raises
    ------
    InputError
        If there are no codecs or no clips, or two clips have one name.
    """
    if not codecs:
        raise InputError("no codec was given: load one for each bandwidth")
    head = codecs[0]
    rows = [_codec_row(codec, tr) for codec in codecs]
    if baselines is None:
        baselines = (MEL_MEAN, *mels_of_as_many_numbers(max(row.numbers_per_tr for row in rows)), MEL_FULL)
    rows += [Row(one.label, one.numbers_per_tr(tr), "float32", one.bits_per_second(tr)) for one in baselines]
    spectral = MultiScaleLoss(head.sample_rate)
    codes: list[list[np.ndarray]] = [[] for _ in codecs]
    kept: dict[str, dict[str, np.ndarray]] = {}
    scored = 0.0
    for clip in clips:
        if clip.name in rows[0].per_clip:
            raise InputError(f"two clips are called {clip.name}; give each its own name")
        sounds: dict[str, np.ndarray] = {}
        for codec, row, used in zip(codecs, rows[: len(codecs)], codes, strict=True):
            used.append(codec.encode(clip.sound))
            sounds[row.label] = codec.decode(used[-1])[: len(clip.sound)]
        for one in baselines:
            sounds[one.label] = one.round_trip(clip.sound, head.sample_rate, tr)
        for row in rows:
            row.per_clip[clip.name] = score(clip.sound, sounds[row.label], head.sample_rate, spectral=spectral)
        if len(kept) < keep:
            kept[clip.name] = {"original": clip.sound, **sounds}
        scored += len(clip.sound) / head.sample_rate
        if progress is not None:
            progress(scored, seconds)
    if not rows[0].per_clip:
        raise InputError("there is no sound to score the codec on; pass files that are long enough and not silent")
    for codec, row, used in zip(codecs, rows[: len(codecs)], codes, strict=True):
        row.perplexity = perplexity(torch.from_numpy(np.concatenate(used, axis=1)), codec.codebook_size)
    n_frames = sum(one.shape[1] for one in codes[0])
    return CodecQuality(head.name, head.fingerprint, tr, head.sample_rate, rows, scored, n_frames, kept)


def _codec_row(codec: AudioCodec, tr: float) -> Row:
    bits = math.log2(codec.codebook_size)
    per_tr = codec.n_codebooks * TRGrid(tr, 1, codec.frame_rate).frames_per_tr
    rate = codec.n_codebooks * codec.frame_rate * bits
    return Row(codec_label(codec), per_tr, f"{bits:g}-bit integer", rate)


def _plain(value: float | None) -> float | str | None:
    return value if value is None or math.isfinite(value) else str(value)
