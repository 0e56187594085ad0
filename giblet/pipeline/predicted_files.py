"""What was decoded from a brain as files: features, sound, picture, words."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from giblet.codec import AudioCodec
from giblet.data.audio import AudioProcessor
from giblet.data.text import TextProcessor, nearest_segments
from giblet.data.video import VideoProcessor
from giblet.errors import InputError
from giblet.evaluation.predictions import Stretch
from giblet.features import CODES, CONTINUOUS, load_features, new_features, save_features, sidecar_path
from giblet.files import atomic_path, write_atomic
from giblet.modalities import AUDIO, TEXT, VIDEO
from giblet.models import ModelSettings
from giblet.pipeline.trained_run import Prediction
from giblet.spans import volume_rate
from giblet.timing import TRGrid, exact
from giblet.training.settings import SubjectSettings
from giblet.version import __version__


@dataclass(frozen=True)
class Texts:
    """Texts of which the nearest to each decoded vector are named, and the model that embeds them."""

    model: str
    texts: tuple[str, ...]


def write_prediction(
    prediction: Prediction, out_dir: Path, codec: AudioCodec | None = None, search: Texts | None = None
) -> tuple[list[Path], list[dict[str, Any]]]:
    """All that was decoded: feature files, sounds, pictures, each with its sidecar, and texts.

    Parameters
    ----------
    prediction : Prediction
    out_dir : Path
    codec : AudioCodec, optional
        The one that made the codes; None for mel spectrograms.
    search : Texts, optional
        None: no texts are named.

    Returns
    -------
    files : list of Path
    stretches : list of dict
        For each stretch its run, first row, second of the film, and TRs.

    Raises
    ------
    InputError
        If a file cannot be written, or no text can be nearest to the decoded vectors.
    """
    part, stretches = prediction.part, prediction.stretches
    run, source = part.run, part.run.source
    files, described = list[Path](), []
    for stretch in stretches:
        stem = out_dir / (part.label + (f"_rows-{stretch.start}" if len(stretches) > 1 else ""))
        start, tr = prediction.film_second(stretch), run.settings.model.tr
        where = {"run": stretch.run, "first_row": stretch.start, "film_seconds": start}
        about = {
            "subject": part.subject, "split": part.split, **where, "head": run.settings.model.head,
            "first_stimulus_tr": int(run.study.stimulus_trs[part.subject][stretch.start]), **part.brain,
        }  # fmt: skip
        described.append({**where, "n_trs": stretch.stop - stretch.start})
        if AUDIO in stretch.decoded:
            files += write_sound_files(
                stretch, stem, start, run.settings.model, codec, run.study.bandwidth, source, about
            )
        files += write_vectors(stretch, stem, start, tr, source, about)
        files += write_video(stretch, stem, start, tr, source)
        if search is not None:
            files += write_text(stretch, stem, start, tr, search.model, search.texts)
    return files, described


def write_sound_files(
    stretch: Stretch,
    stem: Path,
    start: float,
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
    start : float
        Second of the film at which the stretch begins.
    model : ModelSettings
    codec : AudioCodec, optional
        The one that made the codes; None for mel spectrograms.
    bandwidth : float, optional
        Of the codes, in kbps.
    source : mapping of str to str
        Where the prediction comes from, as feature files say it.
    about : mapping
        What the prediction is of; becomes the ``settings`` of the feature file.

    Returns
    -------
    list of Path
        The feature file, and each sound, with their sidecars. There is no true sound where none is scored.

    Raises
    ------
    InputError
        If a file cannot be written.
    """
    predicted, truth = stretch.decoded[AUDIO], stretch.truth.get(AUDIO)
    names = [stem.with_name(f"{stem.name}_desc-{desc}_decoded.wav") for desc in ("predicted", "true")]
    features = stem.with_name(f"{stem.name}_desc-predicted_features.nc")
    if codec is not None:
        save_features(_codes(predicted, start, model.tr, codec, bandwidth, source, about), features)
        processor = AudioProcessor(codec=codec, tr=model.tr)
    else:
        predicted = np.maximum(predicted, 0)  # power
        average = predicted.ndim == 2
        processor = AudioProcessor(use_encodec=False, tr=model.tr, n_mels=predicted.shape[1], mel_average=average)
        save_features(_mel(predicted, start, model.tr, processor, source, about), features)
    written = [features, sidecar_path(features)]
    sounds = [predicted] if truth is None or not stretch.scored[AUDIO].any() else [predicted, truth]
    for values, path in zip(sounds, names, strict=False):
        written.append(processor.features_to_audio(values, path))
        written.append(write_start(path, start, model.tr, len(values), source))
    return written


def write_start(path: Path, start: float, tr: float, n_trs: int, source: Mapping[str, str]) -> Path:
    """The JSON file beside a sound or a film, which themselves begin at 0: where in the film they belong.

    Parameters
    ----------
    path : Path
        The sound or the film.
    start : float
        Second of the film at which it begins.
    tr : float
        Repetition time in seconds.
    n_trs : int
        TRs that it lasts.
    source : mapping of str to str
        Its ``source`` is named in the file.

    Returns
    -------
    Path
        The JSON file.

    Raises
    ------
    InputError
        If a file cannot be written.
    """
    content = {
        "Description": "decoded from BOLD" if "predicted" in path.name else "decoded from the features that were shown",
        "StartTime": start, "Duration": float(n_trs * exact(tr)), "RepetitionTime": tr, "Sources": [source["source"]],
        "GeneratedBy": [{"Name": "giblet", "Version": __version__}],
    }  # fmt: skip
    beside = sidecar_path(path)
    write_atomic(beside, json.dumps(content, indent=2) + "\n")
    return beside


def _on_film(features: xr.Dataset, start: float) -> xr.Dataset:
    """The same, of a film's part that begins at this second."""
    onset = features["onset"]
    seconds = [float(exact(start) + k * exact(features.attrs["tr"])) for k in range(features.sizes["tr"])]
    features["onset"] = (("tr",), np.array(seconds), onset.attrs)
    return features.assign_attrs(start_offset=start)


def _codes(
    codes: np.ndarray, start: float, tr: float, codec: AudioCodec, bandwidth: float | None, source: Mapping[str, str],
    about: Mapping[str, Any],
) -> Any:  # fmt: skip
    grid = TRGrid(tr, len(codes), codec.frame_rate)
    more = (grid.counts > grid.frames_per_tr)[:, None]
    # There is no odd frame in a prediction: the one before it stands in its place, as in decoding.
    spill = np.where(more[:, None], codes[:, :, -1:], 0).astype(np.int32)
    made = new_features(
        {
            "codes": (("tr", "codebook", "frame"), codes),
            "spill": (("tr", "codebook", "extra"), spill),
            "spill_mask": (("tr", "extra"), more),
        },
        grid, film_duration=grid.duration, kind=CODES, desc="predicted", codec=codec.name, bandwidth=bandwidth,
        codebook_size=codec.codebook_size, codec_fingerprint=codec.fingerprint, sample_rate=codec.sample_rate,
        hop_length=codec.hop_length, **source, settings=dict(about), duration=float(grid.duration),
    )  # fmt: skip
    return _on_film(made, start)


def _mel(
    mel: np.ndarray, start: float, tr: float, processor: AudioProcessor, source: Mapping[str, str],
    about: Mapping[str, Any],
) -> Any:  # fmt: skip
    grid = TRGrid(tr, len(mel), processor.frame_rate)
    dims = ("tr", "mel", "frame")[: mel.ndim]
    variables: dict[str, Any] = {"mel": (dims, mel.astype(np.float32))}
    if mel.ndim == 3:
        variables["frame_mask"] = (("tr", "frame"), grid.columns(mel.shape[2])[1])
    made = new_features(
        variables, grid, film_duration=grid.duration, kind=CONTINUOUS, desc="predicted",
        sample_rate=processor.source.sample_rate, hop_length=processor.source.hop_length, **source,
        settings=dict(about), duration=float(grid.duration),
    )  # fmt: skip
    return _on_film(made, start)


def write_vectors(
    stretch: Stretch, stem: Path, start: float, tr: float, source: Mapping[str, str], about: Mapping[str, Any]
) -> list[Path]:
    """Decoded picture and text features as feature files, ``_desc-predicted<modality>_features.nc``.

    Parameters
    ----------
    stretch : Stretch
    stem : Path
        Folder and beginning of the names.
    start : float
        Second of the film at which the stretch begins.
    tr : float
        Repetition time in seconds.
    source : mapping of str to str
        Where the prediction comes from, as feature files say it.
    about : mapping
        What the prediction is of; becomes the ``settings`` of the feature file.

    Returns
    -------
    list of Path
        The feature files, each with its sidecar; empty where neither was decoded.

    Raises
    ------
    InputError
        If a file cannot be written.

    See Also
    --------
    write_video : pictures as a film too.
    """
    written = []
    for name in (VIDEO, TEXT):
        if name not in stretch.decoded:
            continue
        values = np.asarray(stretch.decoded[name], np.float32)
        grid = TRGrid(tr, len(values), volume_rate(tr))
        dims = ("tr", *(f"axis_{i}" for i in range(values.ndim - 1)))
        made = new_features(
            {name: (dims, values)}, grid, film_duration=grid.duration, kind=CONTINUOUS, desc=f"predicted{name}",
            **source, settings=dict(about), duration=float(grid.duration),
        )  # fmt: skip
        path = stem.with_name(f"{stem.name}_desc-predicted{name}_features.nc")
        written += [save_features(_on_film(made, start), path), sidecar_path(path)]
    return written


def write_video(stretch: Stretch, stem: Path, start: float, tr: float, source: Mapping[str, str]) -> list[Path]:
    """Decoded pictures as a film of one picture per TR; nothing where no pictures were decoded.

    Parameters
    ----------
    stretch : Stretch
    stem : Path
        Folder and beginning of the names.
    start : float
        Second of the film at which the stretch begins.
    tr : float
        Repetition time in seconds.
    source : mapping of str to str
        Where the prediction comes from, as feature files say it.

    Returns
    -------
    list of Path
        The film and its JSON file, or nothing.

    Raises
    ------
    InputError
        If a file cannot be written.
    """
    frames = stretch.decoded.get(VIDEO)
    if frames is None or frames.ndim != 4:
        return []
    path = stem.with_name(f"{stem.name}_desc-predicted_decoded.mp4")
    made = VideoProcessor(tr).features_to_video(np.clip(frames, 0, 255), path)
    return [made, write_start(path, start, tr, len(frames), source)]


def text_model(subject: SubjectSettings) -> str:
    """The sentence model that a subject's text features were made with.

    Parameters
    ----------
    subject : SubjectSettings
        With text features in at least one run.

    Returns
    -------
    str
        Name or folder of the model.

    Raises
    ------
    InputError
        If they were made without one, or cannot be read.
    """
    path = next((run.text for run in subject.runs if run.text is not None), None)
    if path is None:
        raise InputError(f"subject {subject.name} was shown no text: leave out --texts, or name another subject")
    made = load_features(path)
    if "model" not in made.attrs:
        raise InputError(
            f"the text features in {path.name} hold no sentence vectors: no text can be nearest to them; leave out "
            "--texts, or extract them with a --text-model and train on those"
        )
    return str(made.attrs["model"])


def write_text(stretch: Stretch, stem: Path, start: float, tr: float, model: str, texts: Sequence[str]) -> list[Path]:
    """The texts nearest to each decoded vector, as a table with onsets in seconds of the film.

    Some texts are near to whatever is decoded: `mean_cosine` is what each has over all decoded vectors of the stretch.

    Parameters
    ----------
    stretch : Stretch
        With decoded vectors of text.
    stem : Path
        Folder and beginning of the names.
    start : float
        Second of the film at which the stretch begins.
    tr : float
        Repetition time in seconds.
    model : str
        The sentence model that the text features were made with, as :func:`text_model` tells it.
    texts : sequence of str
        Of which the three nearest to each vector are named.

    Returns
    -------
    list of Path
        The table.

    Raises
    ------
    InputError
        If the model cannot be loaded or makes other vectors, there are no texts, a vector is 0 or not finite, or the
        file cannot be written.
    """
    corpus = TextProcessor(tr, model).corpus(texts)
    matches = nearest_segments(stretch.decoded[TEXT], corpus, k=len(texts))
    scores = np.zeros((len(matches), len(texts)))
    for row, best in zip(scores, matches, strict=True):
        row[[match.index for match in best]] = [match.score for match in best]
    usual = scores.mean(axis=0)
    rows = [
        {
            "onset": float(exact(start) + k * exact(tr)),
            "rank": rank,
            "text": match.text,
            "cosine": round(match.score, 4),
            "mean_cosine": round(float(usual[match.index]), 4),
        }
        for k, best in enumerate(matches)
        for rank, match in enumerate(best[:3], start=1)
    ]
    path = stem.with_name(f"{stem.name}_desc-predicted_text.tsv")
    with atomic_path(path) as temporary:
        pd.DataFrame(rows).to_csv(temporary, sep="\t", index=False)
    return [path]
