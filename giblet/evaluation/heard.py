"""What decoded sound is like: its spectrum, its voice, and what a CLAP model hears, beside codec and nulls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from giblet.data.clap import ClapModel
from giblet.evaluation.clap_scores import DISTANCE, clap_scores, hear
from giblet.evaluation.pitch_scores import pitch_by_tr, pitch_scores
from giblet.evaluation.score import Score
from giblet.evaluation.sound_correlation import spectral_scores
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
    sample_rate : int
        In Hz.
    constant : bool
        `own` says the same of every TR, but for how a codec settles.
    """

    reference: np.ndarray
    own: np.ndarray
    nulls: Mapping[str, np.ndarray]
    ceiling: np.ndarray | None
    ridge: np.ndarray | None
    sample_rate: int
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


def heard_scores(
    sounds: Sounds,
    mels: Mapping[str, np.ndarray],
    target: np.ndarray,
    trs: ScoredTRs,
    silent: np.ndarray,
    place: np.ndarray,
    options: SoundOptions,
) -> tuple[list[Score], list[str]]:
    """Scores of what sounds are like, over the TRs with sound.

    Parameters
    ----------
    sounds : Sounds
    mels : mapping of str to ndarray of float, shape (n_trs, n_bands, frames_per_tr)
        Log mel spectrograms of `sounds`, by the same names.
    target : ndarray of float, shape (n_trs, n_bands, frames_per_tr)
        That of the reference.
    trs : ScoredTRs
        All TRs.
    silent : ndarray of bool, shape (n_trs,)
        TRs in which the reference is silent, and that are left out.
    place : ndarray of int, shape (n_trs,)
        Row of the scan of each TR.
    options : SoundOptions

    Returns
    -------
    scores : list of Score
        Of spectra and, if asked for, of voicing and F0 and of CLAP.
    notes : list of str
    """
    used = ~silent
    if used.sum() < LEAST_TRS:
        return [], [f"{int(used.sum())} TRs have sound: its spectrum is not scored, {LEAST_TRS} are needed"]
    heard = ScoredTRs(trs.tr, trs.run[used], trs.high_pass)
    nulls, constant = list(sounds.nulls), sounds.constant
    sides = {name: mel[used] for name, mel in mels.items() if name in sounds.named}
    scores = spectral_scores(
        target[used], sides["own"], {null: sides[null] for null in nulls}, heard, ceiling=sides.get("ceiling"),
        ridge=sides.get("ridge"), constant=constant,
    )  # fmt: skip
    notes = []
    if options.pitch:
        told = {
            name: pitch_by_tr(sound, sounds.sample_rate, trs.n_trs, trs.tr, constant=name in nulls)[used]
            for name, sound in sounds.named.items()
        }
        true = pitch_by_tr(sounds.reference, sounds.sample_rate, trs.n_trs, trs.tr)[used]
        scores += pitch_scores(
            true, told["own"], {null: told[null] for null in nulls}, heard, ceiling=told.get("ceiling"),
            ridge=told.get("ridge"), constant=constant,
        )  # fmt: skip
    else:
        notes.append("voicing and F0 are not measured: pass pitch=True (--pitch)")
    if options.clap is not None:
        of_clap = hear(
            {"reference": sounds.reference, **sounds.named}, sounds.sample_rate, options.clap, trs, used, place
        )
        n = of_clap.trs.n_trs
        if n < LEAST_TRS:
            notes.append(f"CLAP is not scored: {n} passages of {of_clap.trs.tr:g} s have sound, {LEAST_TRS} are needed")
        else:
            scores += clap_scores(of_clap, nulls, constant=constant)
            notes.append(
                f"CLAP: model {options.clap.name}, {n} passages of {of_clap.trs.tr:g} s; {DISTANCE} is less where "
                "sounds are alike, and too large for few passages"
            )
    return scores, notes
