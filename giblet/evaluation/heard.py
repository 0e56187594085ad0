"""What decoded sound is like: its spectrum, its voice, and what a CLAP model hears, beside codec and nulls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from giblet.codec.base import AudioCodec
from giblet.data.clap import ClapModel
from giblet.evaluation.clap_scores import DISTANCE, clap_scores, hear
from giblet.evaluation.compared import compare
from giblet.evaluation.identification import Identification, told_apart
from giblet.evaluation.pitch_scores import pitch_by_tr, pitch_scores
from giblet.evaluation.reconstruction import log_mel, mel_by_tr
from giblet.evaluation.score import Score
from giblet.evaluation.sound_correlation import envelope_by_tr, spectral_scores
from giblet.statistics.estimates import ScoredTRs

LEAST_TRS = 3
"""With sound: of fewer there is no correlation."""


@dataclass(frozen=True)
class Sounds:
    """Sounds of the same TRs, all from the onset of the first one.

    Parameters
    ----------
    reference : ndarray of float, shape (n_samples,)
        What is compared with.
    own : ndarray of float, shape (n_samples,)
        What was decoded.
    nulls : mapping of str to ndarray of float
        Constants, by name.
    ceiling, ridge : ndarray of float, optional
        Of the true codes, where the reference is the film's own sound; and of what ridge regression decodes.
    constant : bool
        `own` says the same of every TR, but for how a codec settles.
    """

    reference: np.ndarray
    own: np.ndarray
    nulls: Mapping[str, np.ndarray]
    ceiling: np.ndarray | None
    ridge: np.ndarray | None
    constant: bool = False

    @property
    def named(self) -> dict[str, np.ndarray]:
        """All but the reference, by name."""
        sides = {"own": self.own, **self.nulls, "ceiling": self.ceiling, "ridge": self.ridge}
        return {name: sound for name, sound in sides.items() if sound is not None}


@dataclass(frozen=True)
class SoundOptions:
    """What is measured of sound only where it is asked for, as it takes long, or a model."""

    pitch: bool = False
    """Voicing and F0 too: some 0.2 s of a processor for each second of each sound."""
    clap: ClapModel | None = None
    """Also what this model hears."""


@dataclass(frozen=True)
class HeardScores:
    """Scores of what sounds are like."""

    scores: tuple[Score, ...]
    passages: tuple[Identification, ...]
    notes: tuple[str, ...]


def heard_scores(
    sounds: Sounds, codec: AudioCodec, trs: ScoredTRs, silent: np.ndarray, place: np.ndarray, options: SoundOptions
) -> HeardScores:
    """Scores of what sounds are like.

    Parameters
    ----------
    sounds : Sounds
    codec : AudioCodec
        Its sample rate and frames are used.
    trs : ScoredTRs
    silent : ndarray of bool, shape (n_trs,)
        TRs in which the reference is silent: left out, but for correlations of all TRs (``mel r``, ``envelope r``).
    place : ndarray of int, shape (n_trs,)
        Row of the scan of each TR.
    options : SoundOptions

    Returns
    -------
    HeardScores
        Of mel spectrograms, envelopes and spectra and, if asked for, of voicing and F0 and of CLAP; and how often
        passages are told apart by mel spectrograms.
    """
    used, nulls, same, n = ~silent, list(sounds.nulls), sounds.constant, trs.n_trs
    target = mel_by_tr(sounds.reference, codec, n, trs.tr)
    loudest = float(target.max())
    target = log_mel(target, loudest)
    mels = {name: log_mel(mel_by_tr(sound, codec, n, trs.tr), loudest) for name, sound in sounds.named.items()}
    envelope = envelope_by_tr(sounds.reference, codec.sample_rate, n, trs.tr)
    envelopes = {name: envelope_by_tr(s, codec.sample_rate, n, trs.tr) for name, s in sounds.named.items()}
    scores = [
        score
        for name, true, sides in (("mel r", target, mels), ("envelope r", envelope, envelopes))
        for score in compare(
            name, true, sides["own"], {null: sides[null] for null in nulls}, trs, ceiling=sides.get("ceiling"),
            same=same, ridge=sides.get("ridge"),
        )
    ]  # fmt: skip
    passages = told_apart(
        "mel", target, mels["own"], trs, ridge=mels.get("ridge"), ceiling=mels.get("ceiling"), used=used, place=place
    )
    if used.sum() < LEAST_TRS:
        note = f"{int(used.sum())} TRs have sound: its spectrum is not scored, {LEAST_TRS} are needed"
        return HeardScores(tuple(scores), tuple(passages), (note,))
    heard = ScoredTRs(trs.tr, trs.run[used], trs.high_pass)
    sides = {name: mel[used] for name, mel in mels.items()}
    scores += spectral_scores(
        target[used], sides["own"], {null: sides[null] for null in nulls}, heard, ceiling=sides.get("ceiling"),
        ridge=sides.get("ridge"), constant=same,
    )  # fmt: skip
    notes = []
    if options.pitch:
        scores += _pitch(sounds, codec.sample_rate, trs, used, heard)
    else:
        notes.append("voicing and F0 are not measured: the option pitch of giblet reconstruct measures them")
    if options.clap is not None:
        found, note = _clap(sounds, codec.sample_rate, options.clap, trs, used, place)
        scores, notes = scores + found, [*notes, note]
    return HeardScores(tuple(scores), tuple(passages), tuple(notes))


def _pitch(sounds: Sounds, sample_rate: int, trs: ScoredTRs, used: np.ndarray, heard: ScoredTRs) -> list[Score]:
    told = {
        name: pitch_by_tr(sound, sample_rate, trs.n_trs, trs.tr, constant=name in sounds.nulls)[used]
        for name, sound in sounds.named.items()
    }
    true = pitch_by_tr(sounds.reference, sample_rate, trs.n_trs, trs.tr)[used]
    return pitch_scores(
        true, told["own"], {null: told[null] for null in sounds.nulls}, heard, ceiling=told.get("ceiling"),
        ridge=told.get("ridge"), constant=sounds.constant,
    )  # fmt: skip


def _clap(
    sounds: Sounds, sample_rate: int, model: ClapModel, trs: ScoredTRs, used: np.ndarray, place: np.ndarray
) -> tuple[list[Score], str]:
    """Scores, and what is to be said of them."""
    heard = hear({"reference": sounds.reference, **sounds.named}, sample_rate, model, trs, used, place)
    n, seconds = heard.trs.n_trs, heard.trs.tr
    if n < LEAST_TRS:
        return [], f"CLAP is not scored: {n} passages of {seconds:g} s have sound, {LEAST_TRS} are needed"
    note = f"CLAP: model {model.name}, {n} passages of {seconds:g} s; {DISTANCE} is less where sounds are alike, and "
    return clap_scores(heard, list(sounds.nulls), constant=sounds.constant), note + "too large for few passages"
