"""The scorecard of a prediction for a part of a scan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from giblet.codec import AudioCodec
from giblet.data.media import AudioReader
from giblet.docs import fill_doc
from giblet.errors import InputError
from giblet.evaluation.compared import compare
from giblet.evaluation.encoding import EncodingScore, score_encoding
from giblet.evaluation.heard import SoundOptions
from giblet.evaluation.identification import SECONDS, SECONDS_OF_WORDS, Identification, identification, told_apart
from giblet.evaluation.reconstruction import log_mel
from giblet.evaluation.score import MEAN, Score
from giblet.evaluation.scorecard import Scorecard
from giblet.evaluation.scores import score_codes
from giblet.features import load_features
from giblet.files import check_there, sha256_of
from giblet.modalities import AUDIO, TEXT
from giblet.pipeline.trained_run import Part, Prediction
from giblet.statistics.estimates import ScoredTRs
from giblet.statistics.rotations import HIGH_PASS
from giblet.training.columns import unit_of

LEAST_TRS = 3
"""Fewer have no correlation."""


def score(
    prediction: Prediction,
    *,
    codec: AudioCodec | None = None,
    original: str | Path | None = None,
    options: SoundOptions | None = None,
) -> Scorecard:
    """Score a prediction, next to null predictions that know nothing of the brain.

    Parameters
    ----------
    prediction : Prediction
    codec : AudioCodec, optional
        The one that made the codes, as :meth:`TrainedRun.load_codec` gives it; None for mel spectrograms.
    original : str or Path, optional
        The film or sound that the features were made from: sound is compared with it. Needs a part of one stretch.
    options : SoundOptions, optional
        What is measured of the sound of codes besides; by default neither pitch nor CLAP.

    Returns
    -------
    Scorecard

    Raises
    ------
    InputError
        If `original` is another film, or the part has several stretches.
    """
    part, stretches, notes = prediction.part, prediction.stretches, list(prediction.notes)
    scores, passages, tr = list[Score](), list[Identification](), part.run.settings.model.tr
    if part.split != "test":
        notes.append(f"TRs of {part.split} were used in training: these scores are no evidence")
    if len(stretches) > 1:
        notes.append(f"{len(stretches)} stretches of TRs are scored end to end")
    for name in stretches[0].decoded:
        n = sum(int(s.scored[name].sum()) for s in stretches)
        if n < LEAST_TRS:
            notes.append(f"{name} is not scored: {n} TRs have all of their BOLD in this part, {LEAST_TRS} are needed")
            continue
        found, apart, told = _score_modality(prediction, name, codec, original, options)
        scores += found
        passages += apart
        notes += told
    encoding, told = _score_encoding(prediction, tr)
    if any(s.bold_ridge is None for s in stretches):
        notes.append(
            "no ridge beside encoding: this subject has too little training data for folds to choose penalties by"
        )
    about = _about(prediction, codec)
    if codec is not None and options is not None and options.clap is not None:
        about["clap"] = {"name": options.clap.name, "fingerprint": options.clap.fingerprint}
    return Scorecard.of(about, scores, encoding, [*notes, *told], passages)


@fill_doc
def check_original(path: str | Path, part: Part, codec: AudioCodec | None) -> None:
    """Raise, before any work, if a file is not the sound that the codes were made from.

    Parameters
    ----------
    path : str or Path
        The film or sound that is to be compared with.
    part : Part
    codec : AudioCodec or None
        %(codec)s

    Raises
    ------
    InputError
        If it is not, there is no such file, or the run has no codes.
    """
    if codec is None:
        raise InputError("the original is compared with the sound of codes, and the run has none: leave out `original`")
    check_there(path)
    known = {load_features(run.audio).attrs["source_sha256"] for run in part.settings.runs if run.audio is not None}
    if sha256_of(path) not in known:
        raise InputError(f"{path} is not the file that the run's features were made from: name that, or leave it out")


def _score_modality(
    prediction: Prediction,
    name: str,
    codec: AudioCodec | None,
    original: str | Path | None,
    options: SoundOptions | None,
) -> tuple[list[Score], list[Identification], list[str]]:
    """Scores of one modality, how its passages are told apart, and what is to be said of them."""
    part, stretches = prediction.part, prediction.stretches
    keep = [s.scored[name] for s in stretches]
    with_ridge = all(name in s.decoded_ridge for s in stretches)
    truth, own, *linear = (
        np.concatenate([getattr(s, what)[name][k] for s, k in zip(stretches, keep, strict=True)])
        for what in ("truth", "decoded", *(["decoded_ridge"] if with_ridge else []))
    )
    ridge = linear[0] if linear else None
    place = np.concatenate([np.arange(s.start, s.stop)[k] for s, k in zip(stretches, keep, strict=True)])
    tr = part.run.settings.model.tr
    trs = ScoredTRs(tr, np.repeat(np.arange(len(keep)), [int(k.sum()) for k in keep]))
    if name == AUDIO and codec is not None:
        codes = part.recording.series[name]
        train = [int(k) for k in part.run.study.part("train")[part.subject] if codes.valid[k]]
        seen = np.concatenate([codes.read(k, k + 1) for k in train])
        sound = None if original is None else _original(original, prediction, keep, codec)
        of_codes = score_codes(
            truth, own, seen, codec, tr, original=sound, trs=trs, ridge=ridge, place=place, options=options
        )
        return list(of_codes.scores), list(of_codes.passages), list(of_codes.notes)
    mean = np.broadcast_to(part.normalisers[name].mean, truth.shape)
    if name == AUDIO:
        loudest = float(truth.max())
        truth, own, mean, *linear = (log_mel(values, loudest) for values in (truth, own, mean, *linear))
    elif truth.ndim == 4:  # (n, H, W, 3): each pixel and colour is a feature
        truth, own, mean, *linear = (values.reshape(len(values), -1) for values in (truth, own, mean, *linear))
    ridge, label = linear[0] if linear else None, "mel" if name == AUDIO else name
    scores = compare(f"{label} r", truth, own, {MEAN: mean}, trs, ridge=ridge)
    if name == TEXT and truth.shape[1] > 1:  # a word rate has no direction
        scores.append(identification("text identification", truth, own, trs))
        if ridge is not None:
            scores[-1] = scores[-1].beside(identification("", truth, ridge, trs), trs)
    seconds = SECONDS_OF_WORDS if name == TEXT else SECONDS
    return scores, told_apart(label, truth, own, trs, ridge=ridge, seconds=seconds, place=place), list(trs.notes)


def _score_encoding(prediction: Prediction, tr: float) -> tuple[EncodingScore | None, list[str]]:
    """How well the BOLD of the part is predicted; None where too few volumes have all of their stimulus."""
    stretches = prediction.stretches
    rows = np.concatenate([s.bold_scored for s in stretches])
    if rows.sum() < LEAST_TRS:
        return None, []
    measured, predicted = (
        np.concatenate([getattr(s, what) for s in stretches])[rows] for what in ("bold", "bold_predicted")
    )
    trs = ScoredTRs(tr, np.repeat(np.arange(len(stretches)), [int(s.bold_scored.sum()) for s in stretches]))
    linear = [s.bold_ridge for s in stretches if s.bold_ridge is not None]
    ridge = np.concatenate(linear)[rows] if len(linear) == len(stretches) else None
    return score_encoding(measured, predicted, trs, ridge=ridge), list(trs.notes)


def _about(prediction: Prediction, codec: AudioCodec | None) -> dict[str, Any]:
    part, stretches = prediction.part, prediction.stretches
    return {
        "subject": part.subject, "split": part.split, "tr": part.run.settings.model.tr,
        "n_trs": int(sum(s.stop - s.start for s in stretches)),
        "n_trs_scored": {name: int(sum(s.scored[name].sum() for s in stretches)) for name in stretches[0].decoded},
        "n_trs_encoding": int(sum(s.bold_scored.sum() for s in stretches)), "head": part.run.head,
        "codec": None if codec is None else {"name": codec.name, "fingerprint": codec.fingerprint},
        "high_pass": HIGH_PASS, "unit": unit_of(part.run.study.columns[part.subject]),
    }  # fmt: skip


def _original(path: str | Path, prediction: Prediction, keep: list[np.ndarray], codec: AudioCodec) -> np.ndarray:
    """The film's sound at the TRs that are scored, at the codec's rate."""
    (stretch, *others), part = prediction.stretches, prediction.part
    n_trs = int(keep[0].sum())
    if others or not np.array_equal(keep[0], np.arange(len(keep[0])) < n_trs):
        raise InputError("the original can be compared with one stretch of TRs only: leave it out for this split")
    own = part.settings.runs[stretch.run - 1]
    assert own.audio is not None
    if load_features(own.audio).attrs["source_sha256"] != sha256_of(path):
        raise InputError(f"{path} is not the file that {own.audio} was made from: name that one, or leave it out")
    start = round(prediction.film_second(stretch) * codec.sample_rate)
    sound = np.concatenate(list(AudioReader(path, sample_rate=codec.sample_rate)))
    n = round(n_trs * part.run.settings.model.tr * codec.sample_rate)
    return np.pad(sound, (max(0, -start), 0))[max(0, start) : max(0, start) + n]
