"""Scores of predicted codes, latents, spectra and sound, beside predictions that know nothing of the brain."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from giblet.codec.base import AudioCodec
from giblet.codec.perceptual import missing, stoi
from giblet.evaluation.reconstruction import (
    code_matches,
    latents_by_tr,
    log_mel,
    mean_latent_codes,
    mel_by_tr,
    most_frequent_codes,
    si_sdr,
    silent_trs,
    sound_of,
)
from giblet.evaluation.scorecard import FREQUENT, MEAN, Null, Score
from giblet.evaluation.statistics import Estimate, Resampling, correlations, mean_r_of_draws, pearson, sums_by_tr

CONSTANT = "never changes, so it has no correlation over time"


def score_codes(
    truth: np.ndarray,
    predicted: np.ndarray,
    train: np.ndarray,
    codec: AudioCodec,
    tr: float,
    *,
    original: np.ndarray | None = None,
    plan: Resampling | None = None,
) -> tuple[list[Score], list[str]]:
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
    plan : Resampling, optional

    Returns
    -------
    scores : list of Score
    notes : list of str

    Raises
    ------
    InputError
        If arrays are not codes or not of fitting shapes.
    """
    plan = plan or Resampling(len(truth), tr)
    constants = constant_codes(train, truth, codec)
    scores = _accuracies(truth, predicted, constants, plan)
    latents = {
        name: latents_by_tr(codes, codec) for name, codes in {"true": truth, "own": predicted, **constants}.items()
    }
    same = bool((predicted == predicted[:1]).all())
    scores += compare("latent r", latents["true"], latents["own"], {n: latents[n] for n in constants}, plan, same=same)
    sounds = {
        name: sound_of(codes, codec, tr) for name, codes in {"true": truth, "own": predicted, **constants}.items()
    }
    notes = list(plan.notes)
    reference = sounds["true"]
    if original is None:
        notes.append("sound is compared with that of the true codes: give the film's own sound to compare with that")
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
        return scores, [*notes, "all TRs are silent: sound has no scores"]
    mels = {name: mel_by_tr(sound, codec, len(truth), tr) for name, sound in sounds.items()}
    target = mel_by_tr(reference, codec, len(truth), tr)
    loudest = float(target.max())
    mels = {name: log_mel(mel, loudest) for name, mel in mels.items()}
    scores += compare(
        "mel r", log_mel(target, loudest), mels["own"], {n: mels[n] for n in constants}, plan,
        ceiling=None if original is None else mels["true"], same=same,
    )  # fmt: skip
    if "stoi" in missing():
        notes.append("STOI is not measured: the package pystoi is not installed (pip install 'giblet[quality]')")
    return [*scores, *_sound_scores(reference, sounds, codec, original is not None)], notes


def constant_codes(train: np.ndarray, like: np.ndarray, codec: AudioCodec) -> dict[str, np.ndarray]:
    """Codes that know nothing of the brain, by the null's name: the same ones in every frame, in the shape of `like`.

    Parameters
    ----------
    train : ndarray of int, shape (n_train_trs, n_codebooks, frames_per_tr)
        Of training TRs alone.
    like : ndarray, shape (n_trs, n_codebooks, frames_per_tr)
    codec : AudioCodec
        The one that made the codes.
    """
    found = {MEAN: mean_latent_codes(train, codec), FREQUENT: most_frequent_codes(train, codec.codebook_size)}
    return {
        null: np.ascontiguousarray(np.broadcast_to(codes[None, :, None], like.shape)).astype(np.int32)
        for null, codes in found.items()
    }


def _accuracies(
    truth: np.ndarray, predicted: np.ndarray, constants: Mapping[str, np.ndarray], plan: Resampling
) -> list[Score]:
    right = code_matches(truth, predicted)
    nulls = {name: code_matches(truth, codes) for name, codes in constants.items()}
    shifted = {int(k): code_matches(truth, np.roll(predicted, k, axis=0)).mean(axis=0) for k in plan.shifts}
    return [
        Score(
            f"accuracy, codebook {book + 1}",
            plan.mean(right[:, book]),
            nulls={
                name: Null(plan.mean(of[:, book]), plan.difference(right[:, book], of[:, book]))
                for name, of in nulls.items()
            },
            shifted=plan.chance(float(right[:, book].mean()), lambda k, book=book: float(shifted[k][book])),  # type: ignore[misc]
        )
        for book in range(truth.shape[1])
    ]


def compare(
    name: str,
    truth: np.ndarray,
    predicted: np.ndarray,
    nulls: Mapping[str, np.ndarray],
    plan: Resampling,
    *,
    ceiling: np.ndarray | None = None,
    same: bool = False,
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
    plan : Resampling
    ceiling : ndarray, optional
        The best prediction that the codec allows.
    same : bool
        `predicted` says the same of every TR too.

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
    own, best = _tr_means(predicted), None if ceiling is None else _tr_means(ceiling)
    if same:
        own = np.broadcast_to(own.mean(axis=0), own.shape)
    over_time = _compared(f"{name} over time", _tr_means(truth), own, {}, plan, best, columns=True)
    return [
        _compared(name, truth, predicted, nulls, plan, ceiling, columns=False),
        replace(over_time, nulls=dict.fromkeys(nulls, Null(Estimate(None, why=CONSTANT)))),
    ]


def _tr_means(values: np.ndarray) -> np.ndarray:
    return values.reshape(*values.shape[:2], -1).mean(axis=2, dtype=np.float64)


def _compared(
    name: str,
    truth: np.ndarray,
    predicted: np.ndarray,
    nulls: Mapping[str, np.ndarray],
    plan: Resampling,
    ceiling: np.ndarray | None,
    *,
    columns: bool,
) -> Score:
    def draws(values: np.ndarray) -> np.ndarray:
        if columns:
            return mean_r_of_draws(truth, values, plan)
        return pearson(np.tensordot(plan.counts, sums_by_tr(truth, values), axes=1))

    def value(values: np.ndarray) -> float:
        if columns:
            mean = correlations(truth, values).mean
            return np.nan if mean is None else mean
        return float(pearson(sums_by_tr(truth, values).sum(axis=0)))

    observed, drawn = value(predicted), draws(predicted)
    found = {}
    for null, values in nulls.items():
        at = value(values)
        if np.isnan(at):
            found[null] = Null(Estimate(None, why=CONSTANT))
        else:
            other = draws(values)
            margin = Estimate(observed - at, *plan.interval(drawn - other)) if np.isfinite(observed) else None
            found[null] = Null(Estimate(at, *plan.interval(other)), margin)
    chance = plan.chance(observed, lambda k: value(np.roll(predicted, k, axis=0)))
    best = None if ceiling is None else value(ceiling)
    mine = Estimate(observed, *plan.interval(drawn)) if np.isfinite(observed) else Estimate(None, why=CONSTANT)
    return Score(name, mine, best if best is None or np.isfinite(best) else None, found, chance)


def _sound_scores(
    reference: np.ndarray, sounds: Mapping[str, np.ndarray], codec: AudioCodec, has_original: bool
) -> list[Score]:
    """STOI and SI-SDR of whole sounds: no intervals, as they are not means over TRs."""
    measures: dict[str, Callable[[np.ndarray], float | None]] = {
        "STOI": lambda sound: stoi(reference, sound, codec.sample_rate),
        "SI-SDR, dB": lambda sound: si_sdr(reference, sound) if sound.any() else None,
    }
    if "stoi" in missing():
        del measures["STOI"]
    return [
        Score(
            label,
            _plain(measure(sounds["own"])),
            _finite(measure(sounds["true"])) if has_original else None,
            {name: Null(_plain(measure(sounds[name]))) for name in (MEAN, FREQUENT)},
        )
        for label, measure in measures.items()
    ]


def _finite(value: float | None) -> float | None:
    return value if value is not None and np.isfinite(value) else None


def _plain(value: float | None) -> Estimate:
    finite = _finite(value)
    return Estimate(finite, why=None if finite is not None else "not defined for this sound")
