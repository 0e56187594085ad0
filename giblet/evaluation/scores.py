"""Scores of predicted codes, latents, spectra and sound, beside predictions that know nothing of the brain."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from giblet.codec.base import AudioCodec
from giblet.evaluation.compared import compare, finite
from giblet.evaluation.heard import SoundOptions, Sounds, heard_scores
from giblet.evaluation.identification import Identification, told_apart
from giblet.evaluation.reconstruction import (
    code_matches,
    code_pairs,
    latents_by_tr,
    mean_latent_codes,
    most_frequent_codes,
    silent_trs,
    sound_of,
)
from giblet.evaluation.score import FREQUENT, MEAN, Null, Score
from giblet.evaluation.sound_correlation import at_rate
from giblet.sound_metrics import level_error, missing, si_sdr, stoi
from giblet.statistics.estimates import Estimate, ScoredTRs


@dataclass(frozen=True)
class CodeScores:
    """Scores of predicted codes, and what a reader must know of them."""

    scores: tuple[Score, ...]
    """Accuracy of each codebook, then latents, mel spectrogram and sound."""
    passages: tuple[Identification, ...] = ()
    """How often passages are told apart by latents, and by the mel spectrogram of their sound."""
    notes: tuple[str, ...] = ()


def score_codes(
    truth: np.ndarray,
    predicted: np.ndarray,
    train: np.ndarray,
    codec: AudioCodec,
    tr: float,
    *,
    original: np.ndarray | None = None,
    trs: ScoredTRs | None = None,
    ridge: np.ndarray | None = None,
    place: np.ndarray | None = None,
    options: SoundOptions | None = None,
) -> CodeScores:
    """Score predicted codes and their sound.

    Parameters
    ----------
    truth, predicted : ndarray of int, shape (n_trs, n_codebooks, frames_per_tr)
        Of successive TRs that were not trained on.
    train : ndarray of int, shape (n_train_trs, n_codebooks, frames_per_tr)
        Codes of the training TRs alone: nulls come from these.
    codec : AudioCodec
        The one that made the codes.
    tr : float
        Repetition time in seconds.
    original : ndarray of float, shape (n_samples,), optional
        The film's own sound at those TRs, at the codec's rate. Sound is compared with this where it is given, and
        otherwise with that of the true codes.
    trs : ScoredTRs, optional
        Of which stretch each TR is; one by default.
    ridge : ndarray of int, shape (n_trs, n_codebooks, frames_per_tr), optional
        Codes that ridge regression decodes, whose scores stand beside.
    place : ndarray of int, shape (n_trs,), optional
        Row of the scan of each TR, where some were left out: no passage reaches over what is missing.
    options : SoundOptions, optional
        What is measured besides; by default neither pitch nor CLAP.

    Returns
    -------
    CodeScores

    Raises
    ------
    InputError
        If arrays are not codes or not of fitting shapes.

    See Also
    --------
    giblet.evaluation.compared.compare : continuous features with their prediction.
    giblet.evaluation.identification : decoded vectors with those of other TRs or passages.
    """
    trs = trs or ScoredTRs.of(len(truth), tr)
    constants = constant_codes(train, truth, codec)
    scores = _accuracies(truth, predicted, constants, trs, ridge)
    said = {"true": truth, "own": predicted, **constants, **({} if ridge is None else {"ridge": ridge})}
    latents = {name: latents_by_tr(codes, codec) for name, codes in said.items()}
    same = bool((predicted == predicted[:1]).all())
    scores += compare(
        "latent r", latents["true"], latents["own"], {n: latents[n] for n in constants}, trs, same=same,
        ridge=latents.get("ridge"),
    )  # fmt: skip
    sounds = {name: sound_of(codes, codec, tr) for name, codes in said.items()}
    notes = list(trs.notes)
    reference = sounds["true"]
    if original is None:
        notes.append("sound is compared with that of the true codes; pass the film's own sound to compare with that")
    else:
        reference = at_rate(original, codec.sample_rate, codec.sample_rate, len(reference))
    silent = silent_trs(reference, codec.sample_rate, len(truth), tr)
    if silent.any():
        matches = code_matches(truth[~silent], predicted[~silent])[:, 0] if not silent.all() else np.array([])
        notes.append(
            f"{int(silent.sum())} of {len(silent)} TRs are silent (below -60 dB of full scale)"
            + (f"; accuracy of codebook 1 without them is {matches.mean():.3f}" if len(matches) else "")
        )
    if silent.all():
        return CodeScores(tuple(scores), (), (*notes, "all TRs are silent: sound has no scores"))
    sides = Sounds(
        reference, sounds["own"], {n: sounds[n] for n in constants}, None if original is None else sounds["true"],
        sounds.get("ridge"), same,
    )  # fmt: skip
    rows = np.arange(len(truth)) if place is None else np.asarray(place)
    heard = heard_scores(sides, codec, trs, silent, rows, options or SoundOptions())
    passages = told_apart(
        "latents", latents["true"], latents["own"], trs, ridge=latents.get("ridge"), used=~silent, place=rows
    )
    notes += heard.notes
    if "stoi" in missing():
        notes.append("STOI is not measured: the package pystoi is not installed (pip install 'giblet[stoi]')")
    scores += [*heard.scores, *_sound_scores(reference, sounds, codec, original is not None)]
    return CodeScores(tuple(scores), (*passages, *heard.passages), tuple(notes))


def constant_codes(train: np.ndarray, like: np.ndarray, codec: AudioCodec) -> dict[str, np.ndarray]:
    """Codes that know nothing of the brain, the same ones in every frame, by the null's name.

    Parameters
    ----------
    train : ndarray of int, shape (n_train_trs, n_codebooks, frames_per_tr)
        Of training TRs alone.
    like : ndarray, shape (n_trs, n_codebooks, frames_per_tr)
    codec : AudioCodec
        The one that made the codes.

    Returns
    -------
    dict of str to ndarray of int32, shape (n_trs, n_codebooks, frames_per_tr)
        ``"training mean"`` and ``"most frequent code"``.

    Raises
    ------
    InputError
        If `train` are not codes of this codec.

    See Also
    --------
    giblet.evaluation.reconstruction.mean_latent_codes : the first of them.
    giblet.evaluation.reconstruction.most_frequent_codes : the second.
    """
    found = {MEAN: mean_latent_codes(train, codec), FREQUENT: most_frequent_codes(train, codec.codebook_size)}
    return {
        null: np.ascontiguousarray(np.broadcast_to(codes[None, :, None], like.shape)).astype(np.int32)
        for null, codes in found.items()
    }


def _accuracies(
    truth: np.ndarray,
    predicted: np.ndarray,
    constants: Mapping[str, np.ndarray],
    trs: ScoredTRs,
    ridge: np.ndarray | None = None,
) -> list[Score]:
    right = code_matches(truth, predicted)
    nulls = {name: code_matches(truth, codes) for name, codes in constants.items()}
    found = [
        Score(
            f"accuracy, codebook {book + 1}",
            trs.mean(right[:, book]),
            nulls={
                name: Null(trs.mean(of[:, book]), trs.difference(right[:, book], of[:, book]))
                for name, of in nulls.items()
            },
            shifted=trs.chance_of_pairs(code_pairs(truth[:, book], predicted[:, book])),
            influence=right[:, book],
        )
        for book in range(truth.shape[1])
    ]
    if ridge is None:
        return found
    theirs = _accuracies(truth, ridge, {}, trs)
    return [one.beside(other, trs) for one, other in zip(found, theirs, strict=True)]


def _sound_scores(
    reference: np.ndarray, sounds: Mapping[str, np.ndarray], codec: AudioCodec, has_original: bool
) -> list[Score]:
    """STOI, SI-SDR and level error of whole sounds: no intervals, as they are not means over TRs."""
    measures: dict[str, Callable[[np.ndarray], float | None]] = {
        "STOI": lambda sound: stoi(reference, sound, codec.sample_rate),
        "SI-SDR, dB": lambda sound: si_sdr(reference, sound) if sound.any() else None,
        "level error, dB": lambda sound: level_error(reference, sound),
    }
    if "stoi" in missing():
        del measures["STOI"]
    return [
        Score(
            label,
            _plain(measure(sounds["own"])),
            finite(measure(sounds["true"])) if has_original else None,
            {name: Null(_plain(measure(sounds[name]))) for name in (MEAN, FREQUENT)},
            ridge=Null(_plain(measure(sounds["ridge"]))) if "ridge" in sounds else None,
        )
        for label, measure in measures.items()
    ]


def _plain(value: float | None) -> Estimate:
    found = finite(value)
    return Estimate(found, why=None if found is not None else "not defined for this sound")
