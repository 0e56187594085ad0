"""Scores of predicted codes, latents, spectra and sound, beside predictions that know nothing of the brain."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from giblet.codec.base import AudioCodec
from giblet.evaluation.heard import SoundOptions, Sounds, heard_scores
from giblet.evaluation.identification import Identification, told_apart
from giblet.evaluation.reconstruction import (
    code_matches,
    code_pairs,
    latents_by_tr,
    log_mel,
    mean_latent_codes,
    mel_by_tr,
    most_frequent_codes,
    silent_trs,
    sound_of,
)
from giblet.evaluation.score import FREQUENT, MEAN, Null, Score
from giblet.evaluation.sound_correlation import envelope_by_tr
from giblet.sound_metrics import level_error, missing, si_sdr, stoi
from giblet.statistics.correlation import correlations, mean_correlation_influence, pooled_correlation
from giblet.statistics.estimates import Chance, Estimate, ScoredTRs
from giblet.statistics.rotation import RotationTest

CONSTANT = "never changes, so it has no correlation over time"


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
    compare : continuous features with their prediction.
    giblet.evaluation.identification : decoded vectors with those of other TRs or passages.
    """
    trs = trs or ScoredTRs.of(len(truth), tr)
    constants = constant_codes(train, truth, codec)
    scores = _accuracies(truth, predicted, constants, trs)
    if ridge is not None:
        theirs = _accuracies(truth, ridge, {}, trs)
        scores = [one.beside(other, trs) for one, other in zip(scores, theirs, strict=True)]
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
        reference = np.pad(
            np.asarray(original, np.float32)[: len(reference)], (0, max(0, len(reference) - len(original)))
        )
    silent = silent_trs(reference, codec.sample_rate, len(truth), tr)
    if silent.any():
        matches = code_matches(truth[~silent], predicted[~silent])[:, 0] if not silent.all() else np.array([])
        notes.append(
            f"{int(silent.sum())} of {len(silent)} TRs are silent (below -60 dB of full scale)"
            + (f"; accuracy of codebook 1 without them is {matches.mean():.3f}" if len(matches) else "")
        )
    if silent.all():
        return CodeScores(tuple(scores), (), (*notes, "all TRs are silent: sound has no scores"))
    mels = {name: mel_by_tr(sound, codec, len(truth), tr) for name, sound in sounds.items()}
    target = mel_by_tr(reference, codec, len(truth), tr)
    loudest = float(target.max())
    mels, target = {name: log_mel(mel, loudest) for name, mel in mels.items()}, log_mel(target, loudest)
    if original is not None:
        mels["ceiling"], sounds["ceiling"] = mels["true"], sounds["true"]
    envelopes = {name: envelope_by_tr(sound, codec.sample_rate, len(truth), tr) for name, sound in sounds.items()}
    envelope = envelope_by_tr(reference, codec.sample_rate, len(truth), tr)
    for name, true, sides in (("mel r", target, mels), ("envelope r", envelope, envelopes)):
        scores += compare(
            name, true, sides["own"], {n: sides[n] for n in constants}, trs, ceiling=sides.get("ceiling"), same=same,
            ridge=sides.get("ridge"),
        )  # fmt: skip
    rows = np.arange(len(truth)) if place is None else np.asarray(place)
    heard = Sounds(
        reference, sounds["own"], {n: sounds[n] for n in constants}, sounds.get("ceiling"), sounds.get("ridge"),
        codec.sample_rate, same,
    )  # fmt: skip
    found, told = heard_scores(heard, mels, target, trs, silent, rows, options or SoundOptions())
    scores, notes = scores + found, notes + told
    passages = [
        *told_apart(
            "latents", latents["true"], latents["own"], trs, ridge=latents.get("ridge"), used=~silent, place=rows,
        ),
        *told_apart(
            "mel", target, mels["own"], trs, ridge=mels.get("ridge"), ceiling=mels.get("ceiling"), used=~silent,
            place=rows,
        ),
    ]  # fmt: skip
    if "stoi" in missing():
        notes.append("STOI is not measured: the package pystoi is not installed (pip install 'giblet[quality]')")
    scores += _sound_scores(reference, sounds, codec, original is not None)
    return CodeScores(tuple(scores), tuple(passages), tuple(notes))


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
    truth: np.ndarray, predicted: np.ndarray, constants: Mapping[str, np.ndarray], trs: ScoredTRs
) -> list[Score]:
    right = code_matches(truth, predicted)
    nulls = {name: code_matches(truth, codes) for name, codes in constants.items()}
    return [
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


def compare(
    name: str,
    truth: np.ndarray,
    predicted: np.ndarray,
    nulls: Mapping[str, np.ndarray],
    trs: ScoredTRs,
    *,
    ceiling: np.ndarray | None = None,
    same: bool = False,
    ridge: np.ndarray | None = None,
) -> list[Score]:
    """Two correlations of continuous features with their prediction.

    Parameters
    ----------
    name : str
        Such as ``"mel r"``.
    truth, predicted : ndarray, shape (n_trs, n_features, ...)
        What is behind the second axis is within the TR.
    nulls : mapping of str to ndarray
        Predictions that say the same of every TR, of the same shape. Their sound may still differ a little from TR to
        TR, as a codec needs some frames to settle: that is no prediction, and not scored over time.
    trs : ScoredTRs
    ceiling : ndarray, optional
        The best prediction that the codec allows.
    same : bool
        `predicted` says the same of every TR too.
    ridge : ndarray, optional
        What ridge regression predicts, of the same shape; its scores stand beside.

    Returns
    -------
    list of Score
        ``name``: all values of all features pooled, so that a constant prediction has a score too, which for spectra
        is high. ``name + " over time"``: of TR means, in each feature by itself, and the mean over features; it has
        none for a constant, and says so.

    Raises
    ------
    InputError
        If the shapes differ, or values are not finite.
    """
    test = trs.test(truth.reshape(len(truth), -1), predicted.reshape(len(predicted), -1))
    found = [
        _pooled(name, truth, predicted, nulls, trs, ceiling, _alike(test, same)),
        _over_time(f"{name} over time", truth, predicted, nulls, trs, ceiling, same),
    ]
    if ridge is None:
        return found
    pooled, x, y = pooled_correlation(truth, ridge), trs.flat(_tr_means(truth)), trs.flat(_tr_means(ridge))
    own = Estimate(_finite(pooled.r), why=None if np.isfinite(pooled.r) else CONSTANT)
    mean = correlations(x, y, trs.run).mean
    theirs = (
        Score(name, own, influence=pooled.influence),
        Score(name, Estimate(mean), influence=mean_correlation_influence(x, y, trs.run)),
    )
    return [one.beside(other, trs) for one, other in zip(found, theirs, strict=True)]


def _alike(test: RotationTest | None, same: bool) -> np.ndarray | None:
    """Pooled correlations by rotation; all 0 for a prediction that says the same of every TR, but for its sound."""
    return None if test is None else test.pooled_by_rotation * (not same)


def _tr_means(values: np.ndarray) -> np.ndarray:
    return values.reshape(*values.shape[:2], -1).mean(axis=2, dtype=np.float64)


def _pooled(
    name: str,
    truth: np.ndarray,
    predicted: np.ndarray,
    nulls: Mapping[str, np.ndarray],
    trs: ScoredTRs,
    ceiling: np.ndarray | None,
    by_rotation: np.ndarray | None,
) -> Score:
    """Of all values of all features; its chance is that of what the prediction says of one TR and not of another."""
    own = pooled_correlation(truth, predicted)
    found = {}
    for null, values in nulls.items():
        other = pooled_correlation(truth, values)
        if np.isnan(other.r):
            found[null] = Null(Estimate(None, why=CONSTANT))
            continue
        margin = None
        if np.isfinite(own.r):
            margin = trs.estimate(own.r - other.r, own.influence - other.influence, -2, 2)
        found[null] = Null(trs.estimate(other.r, other.influence, -1, 1), margin)
    chance = Chance(None, None, 0)
    if by_rotation is not None and np.isfinite(own.r):
        # Over all rotations every TR has the mean of the predictions: what they say of each TR alike keeps its score.
        alike = pooled_correlation(truth, np.broadcast_to(predicted.mean(axis=0), predicted.shape)).r
        chance = Chance.of(by_rotation, _finite(alike))
    best = None if ceiling is None else _finite(pooled_correlation(truth, ceiling).r)
    mine = trs.estimate(own.r, own.influence, -1, 1) if np.isfinite(own.r) else Estimate(None, why=CONSTANT)
    return Score(name, mine, best, found, chance, own.influence)


def _over_time(
    name: str,
    truth: np.ndarray,
    predicted: np.ndarray,
    nulls: Mapping[str, np.ndarray],
    trs: ScoredTRs,
    ceiling: np.ndarray | None,
    same: bool,
) -> Score:
    """Of TR means, feature by feature; nulls that say the same of every TR have none."""
    x, y = _tr_means(truth), _tr_means(predicted)
    absent = {null: Null(Estimate(None, why=CONSTANT)) for null in nulls}
    best = None
    if ceiling is not None:
        best = correlations(x, _tr_means(ceiling), trs.run).mean
    plain = correlations(x, y, trs.run)
    if same or plain.mean is None or plain.constant[plain.defined].all():
        return Score(name, Estimate(None, why=CONSTANT), best, absent, Chance(None, None, 0))
    test, influence = trs.test(x, y), mean_correlation_influence(trs.flat(x), trs.flat(y), trs.run)
    if test is None:
        return Score(name, Estimate(plain.mean), best, absent, Chance(None, None, 0), influence)
    interval = test.mean_interval if trs.has_intervals else ()
    chance = Chance.of(test.whitened_by_rotation, float(test.mean_by_rotation.mean()))
    return Score(name, Estimate(test.mean, *interval), best, absent, chance, influence)


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
            _finite(measure(sounds["true"])) if has_original else None,
            {name: Null(_plain(measure(sounds[name]))) for name in (MEAN, FREQUENT)},
            ridge=Null(_plain(measure(sounds["ridge"]))) if "ridge" in sounds else None,
        )
        for label, measure in measures.items()
    ]


def _finite(value: float | None) -> float | None:
    return value if value is not None and np.isfinite(value) else None


def _plain(value: float | None) -> Estimate:
    finite = _finite(value)
    return Estimate(finite, why=None if finite is not None else "not defined for this sound")
