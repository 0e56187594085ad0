"""Scores of predicted codes, latents, spectra and sound, beside predictions that know nothing of the brain."""

from __future__ import annotations

from collections.abc import Callable, Mapping

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
from giblet.evaluation.statistics import Estimate, Resampling, pearson, sums_by_tr

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
    constants = {
        MEAN: _constant(mean_latent_codes(train, codec), truth),
        FREQUENT: _constant(most_frequent_codes(train, codec.codebook_size), truth),
    }
    scores = _accuracies(truth, predicted, constants, plan)
    latents = {
        name: latents_by_tr(codes, codec) for name, codes in {"true": truth, "own": predicted, **constants}.items()
    }
    scores += compare("latent r", latents["true"], latents["own"], {n: latents[n] for n in constants}, plan)
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
        ceiling=None if original is None else mels["true"],
    )  # fmt: skip
    if "stoi" in missing():
        notes.append("STOI is not measured: the package pystoi is not installed (pip install 'giblet[quality]')")
    return [*scores, *_sound_scores(reference, sounds, codec, original is not None)], notes


def _constant(codes: np.ndarray, like: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.broadcast_to(codes[None, :, None], like.shape)).astype(np.int32)


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
) -> list[Score]:
    """Two correlations of continuous features with their prediction.

    Parameters
    ----------
    name : str
        Such as ``"mel r"``.
    truth, predicted : ndarray, shape (n_trs, n_features, ...)
        What is behind the second axis is within the TR.
    nulls : mapping of str to ndarray
        Predictions of nothing, of the same shape.
    plan : Resampling
    ceiling : ndarray, optional
        The best prediction that the codec allows.

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
    over_time = {null: _tr_means(values) for null, values in nulls.items()}
    best = None if ceiling is None else _tr_means(ceiling)
    return [
        _compared(name, truth, predicted, nulls, plan, ceiling, columns=False),
        _compared(
            f"{name} over time", _tr_means(truth), _tr_means(predicted), over_time, plan, best, columns=True
        ),
    ]  # fmt: skip


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
    def of(values: np.ndarray) -> np.ndarray:
        return sums_by_tr(truth, values, columns=columns)

    def draws(sums: np.ndarray) -> np.ndarray:
        r = pearson(np.tensordot(plan.counts, sums, axes=1))
        return _mean_of_defined(r) if columns else r

    def value(sums: np.ndarray) -> float:
        r = pearson(sums.sum(axis=0))
        return float(_mean_of_defined(r[None])[0]) if columns else float(r)

    own = of(predicted)
    observed, drawn = value(own), draws(own)
    found = {}
    for null, values in nulls.items():
        sums = of(values)
        at = value(sums)
        if np.isnan(at):
            found[null] = Null(Estimate(None, why=CONSTANT))
        else:
            other = draws(sums)
            margin = Estimate(observed - at, *plan.interval(drawn - other)) if np.isfinite(observed) else None
            found[null] = Null(Estimate(at, *plan.interval(other)), margin)
    chance = plan.chance(observed, lambda k: value(of(np.roll(predicted, k, axis=0))))
    best = None if ceiling is None else value(of(ceiling))
    mine = Estimate(observed, *plan.interval(drawn)) if np.isfinite(observed) else Estimate(None, why=CONSTANT)
    return Score(name, mine, best if best is None or np.isfinite(best) else None, found, chance)


def _mean_of_defined(r: np.ndarray) -> np.ndarray:
    """Mean over the last axis of what is not NaN; NaN where nothing is left."""
    there = np.isfinite(r)
    n = there.sum(axis=-1)
    return np.where(n > 0, np.where(there, r, 0).sum(axis=-1) / np.maximum(n, 1), np.nan)


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
