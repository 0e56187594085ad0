"""What was decoded from a brain as files: features, sound, picture, words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from giblet.codec import AudioCodec
from giblet.data.audio import AudioProcessor
from giblet.data.subtitles import read_segments
from giblet.data.text import TextProcessor, nearest_segments
from giblet.data.video import VideoProcessor
from giblet.data.windows import volume_rate
from giblet.errors import InputError
from giblet.evaluation.predictions import Stretch
from giblet.features import CODES, CONTINUOUS, load_features, new_features, save_features
from giblet.files import atomic_path
from giblet.models import ModelSettings
from giblet.models.settings import AUDIO, TEXT, VIDEO
from giblet.timing import TRGrid, exact
from giblet.training.settings import SubjectSettings, TrainSettings


def write_sound_files(
    stretch: Stretch,
    stem: Path,
    model: ModelSettings,
    codec: AudioCodec | None,
    bandwidth: float | None,
    source: Mapping[str, str],
    about: Mapping[str, Any],
) -> list[Path]:
    """Predicted features, their sound, and the sound of the true features beside it.

    Parameters
    ----------
    stretch : Stretch
    stem : Path
        Folder and beginning of the names.
    model : ModelSettings
    codec : AudioCodec, optional
        None for mel.
    bandwidth : float, optional
        Of the codes, kbps.
    source : mapping of str to str
        Where the prediction comes from, as feature files say it.
    about : mapping
        What the prediction is of; becomes the ``settings`` of the feature file.

    Returns
    -------
    list of Path
    """
    predicted, truth = stretch.decoded[AUDIO], stretch.truth.get(AUDIO)
    names = [stem.with_name(f"{stem.name}_desc-{desc}_decoded.wav") for desc in ("predicted", "true")]
    features = stem.with_name(f"{stem.name}_desc-predicted_features.nc")
    if codec is not None:
        save_features(_codes(predicted, model.tr, codec, bandwidth, source, about), features)
        processor = AudioProcessor(codec=codec, tr=model.tr)
    else:
        predicted = np.maximum(predicted, 0)  # power
        average = predicted.ndim == 2
        processor = AudioProcessor(use_encodec=False, tr=model.tr, n_mels=predicted.shape[1], mel_average=average)
        save_features(_mel(predicted, model.tr, processor, source, about), features)
    written = [features, processor.features_to_audio(predicted, names[0])]
    if truth is not None and stretch.scored[AUDIO].any():
        written.append(processor.features_to_audio(truth, names[1]))
    return written


def _codes(
    codes: np.ndarray, tr: float, codec: AudioCodec, bandwidth: float | None, source: Mapping[str, str],
    about: Mapping[str, Any],
) -> Any:  # fmt: skip
    grid = TRGrid(tr, len(codes), codec.frame_rate)
    more = (grid.counts > grid.frames_per_tr)[:, None]
    # There is no odd frame in a prediction: the one before it stands in its place, as in decoding.
    spill = np.where(more[:, None], codes[:, :, -1:], 0).astype(np.int32)
    return new_features(
        {
            "codes": (("tr", "codebook", "frame"), codes),
            "spill": (("tr", "codebook", "extra"), spill),
            "spill_mask": (("tr", "extra"), more),
        },
        grid, film_duration=grid.duration, kind=CODES, desc="predicted", codec=codec.name, bandwidth=bandwidth,
        codebook_size=codec.codebook_size, codec_fingerprint=codec.fingerprint, sample_rate=codec.sample_rate,
        hop_length=codec.hop_length, **source, settings=dict(about), start_offset=0.0, duration=float(grid.duration),
    )  # fmt: skip


def _mel(
    mel: np.ndarray, tr: float, processor: AudioProcessor, source: Mapping[str, str], about: Mapping[str, Any]
) -> Any:
    grid = TRGrid(tr, len(mel), processor.frame_rate)
    dims = ("tr", "mel", "frame")[: mel.ndim]
    variables: dict[str, Any] = {"mel": (dims, mel.astype(np.float32))}
    if mel.ndim == 3:
        variables["frame_mask"] = (("tr", "frame"), grid.columns(mel.shape[2])[1])
    return new_features(
        variables, grid, film_duration=grid.duration, kind=CONTINUOUS, desc="predicted",
        sample_rate=processor.source.sample_rate, hop_length=processor.source.hop_length, **source,
        settings=dict(about), start_offset=0.0, duration=float(grid.duration),
    )  # fmt: skip


def write_vectors(
    stretch: Stretch, stem: Path, tr: float, source: Mapping[str, str], about: Mapping[str, Any]
) -> list[Path]:
    """Decoded picture and text features as feature files, ``_desc-predicted<modality>_features.nc``."""
    written = []
    for name in (VIDEO, TEXT):
        if name not in stretch.decoded:
            continue
        values = np.asarray(stretch.decoded[name], np.float32)
        grid = TRGrid(tr, len(values), volume_rate(tr))
        dims = ("tr", *(f"axis_{i}" for i in range(values.ndim - 1)))
        made = new_features(
            {name: (dims, values)}, grid, film_duration=grid.duration, kind=CONTINUOUS, desc=f"predicted{name}",
            **source, settings=dict(about), start_offset=0.0, duration=float(grid.duration),
        )  # fmt: skip
        written.append(save_features(made, stem.with_name(f"{stem.name}_desc-predicted{name}_features.nc")))
    return written


def write_video(stretch: Stretch, stem: Path, tr: float) -> list[Path]:
    """Decoded pictures as a film of one picture a TR; nothing where no pictures were decoded."""
    frames = stretch.decoded.get(VIDEO)
    if frames is None or frames.ndim != 4:
        return []
    path = stem.with_name(f"{stem.name}_desc-predicted_decoded.mp4")
    return [VideoProcessor(tr).features_to_video(np.clip(frames, 0, 255), path)]


def write_text(
    stretch: Stretch, stem: Path, settings: TrainSettings, subject: SubjectSettings, texts: str | Path | None
) -> list[Path]:
    """The texts nearest to each decoded vector, as a table; nothing where no text was decoded or no texts are given.

    Raises
    ------
    InputError
        If the features were made without a sentence model.
    """
    vectors = stretch.decoded.get(TEXT)
    if texts is None or vectors is None:
        return []
    made = load_features(next(run.text for run in subject.runs if run.text is not None))
    if "model" not in made.attrs:
        raise InputError(
            "the text features hold no sentence vectors: no text can be nearest to them; leave out --texts"
        )
    processor = TextProcessor(settings.model.tr, made.attrs["model"])
    corpus = processor.corpus([segment.text for segment in read_segments(texts)])
    matches = nearest_segments(vectors, corpus, k=3)
    rows = [
        {
            "onset": float(k * exact(settings.model.tr)),
            "rank": rank,
            "text": match.text,
            "cosine": round(match.score, 4),
        }
        for k, best in enumerate(matches)
        for rank, match in enumerate(best, start=1)
    ]
    path = stem.with_name(f"{stem.name}_desc-predicted_text.tsv")
    with atomic_path(path) as temporary:
        pd.DataFrame(rows).to_csv(temporary, sep="\t", index=False)
    return [path]
