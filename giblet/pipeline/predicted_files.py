"""What was decoded from a brain as files: features, sound, picture, words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from giblet.codec import AudioCodec
from giblet.data.audio import AudioProcessor
from giblet.data.study_settings import SubjectSettings
from giblet.data.text import TextProcessor, nearest_segments
from giblet.data.video import VideoProcessor
from giblet.docs import fill_doc
from giblet.errors import InputError
from giblet.evaluation.encoding import EncodingScore
from giblet.evaluation.predictions import Stretch
from giblet.features import CODES, CONTINUOUS, load_features, new_features, save_features, sidecar_path
from giblet.files import atomic_path, write_atomic
from giblet.modalities import AUDIO, TEXT, VIDEO
from giblet.pipeline.encoding_files import ENCODED, places_of, space_in, write_scores
from giblet.pipeline.trained_run import Part, Prediction
from giblet.spans import volume_rate
from giblet.timing import TRGrid, exact
from giblet.version import __version__

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class Texts:
    """Candidate texts for each decoded vector, and the model that embeds them."""

    model: str
    texts: tuple[str, ...]


@dataclass(frozen=True)
class StretchFiles:
    """A stretch of a prediction, and the attributes that all of its files carry."""

    stretch: Stretch
    stem: Path
    """Folder and beginning of the names."""
    start: float
    """Second of the film at which the stretch begins."""
    tr: float
    """Repetition time in seconds."""
    source: Mapping[str, str]
    """Where the prediction comes from, as feature files say it: ``source`` and ``source_sha256``."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """What the prediction is of; becomes the ``settings`` of feature files."""

    def path(self, ending: str) -> Path:
        """The file of this ending.

        Parameters
        ----------
        ending : str
            Such as ``"predicted_features.nc"``.

        Returns
        -------
        Path
            ``<stem>_desc-<ending>``.
        """
        return self.stem.with_name(f"{self.stem.name}_desc-{ending}")

    def on_film(self, variables: dict[str, Any], frame_rate: float | Fraction, **attrs: Any) -> xr.Dataset:
        """Predicted variables as the Dataset of a feature file that begins where the stretch does.

        Parameters
        ----------
        variables : dict
            By name, dimensions and values, as :func:`giblet.features.new_features` takes them.
        frame_rate : float or Fraction
            Frames per second.
        **attrs
            Attributes beside those of every prediction; ``kind`` and ``desc`` are needed.

        Returns
        -------
        xarray.Dataset
        """
        (_, values), *_ = variables.values()
        grid = TRGrid(self.tr, len(values), frame_rate)
        features = new_features(
            variables, grid, film_duration=grid.duration, **attrs, **self.source, settings=dict(self.about),
            duration=float(grid.duration),
        )  # fmt: skip
        seconds = [float(exact(self.start) + k * exact(self.tr)) for k in range(grid.n_trs)]
        features["onset"] = (("tr",), np.array(seconds), features["onset"].attrs)
        return features.assign_attrs(first_onset=self.start)


@fill_doc
def write_prediction(
    prediction: Prediction, out_dir: Path, codec: AudioCodec | None = None, search: Texts | None = None
) -> tuple[list[Path], list[dict[str, Any]]]:
    """Write all that was decoded: feature files, sounds, pictures, each with its sidecar, and texts.

    Parameters
    ----------
    prediction : Prediction
    out_dir : Path
    codec : AudioCodec, optional
        %(codec)s
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
    run = part.run
    files, described = list[Path](), []
    for stretch in stretches:
        stem = out_dir / (part.label + (f"_rows-{stretch.start}" if len(stretches) > 1 else ""))
        start = prediction.film_second(stretch)
        where = {"run": stretch.run, "first_row": stretch.start, "film_seconds": start}
        about = {
            "subject": part.subject, "split": part.split, **where, "head": run.settings.model.head,
            "first_stimulus_tr": int(run.study.stimulus_trs[part.subject][stretch.start]), **part.brain,
        }  # fmt: skip
        described.append({**where, "n_trs": stretch.stop - stretch.start})
        target = StretchFiles(stretch, stem, start, run.settings.model.tr, run.source, about)
        if AUDIO in stretch.decoded:
            files += write_sound_files(target, codec, run.study.bandwidth)
        files += write_vectors(target)
        files += write_video(target)
        if search is not None:
            files += write_text(target, search)
    return files, described


def write_encoding(part: Part, score: EncodingScore, out_dir: Path) -> tuple[list[Path], dict[str, Any]]:
    """Write how well the BOLD of a part was predicted: a table by voxel or region, and maps where there are images.

    Parameters
    ----------
    part : Part
    score : EncodingScore
        Of all columns of its BOLD.
    out_dir : Path

    Returns
    -------
    files : list of Path
        ``sub-01_split-test_desc-encoding_stats.tsv`` and maps of ``r``, ``p`` and ``q``.
    space : dict
        Where the columns lie, as :func:`giblet.pipeline.encoding_files.space_in` gives it; empty for tables.

    See Also
    --------
    giblet.pipeline.encoding.encode : maps with bands and ceilings, by ridge.
    """
    like = part.run.study.like[part.subject]
    found = score.to_pandas()
    stats = pd.DataFrame({**places_of(like), **{name: found[name].to_numpy() for name in ("r", "p", "q")}})
    space = space_in(like)
    names = write_scores(stats, part.settings, space, out_dir, f"{part.label}{ENCODED}")
    return [out_dir / name for name in names], space


@fill_doc
def write_sound_files(target: StretchFiles, codec: AudioCodec | None, bandwidth: float | None) -> list[Path]:
    """Write predicted features, their sound, and the sound of the true features beside it.

    Parameters
    ----------
    target : StretchFiles
        With decoded sound.
    codec : AudioCodec or None
        %(codec)s
    bandwidth : float or None
        Of the codes, in kbps.

    Returns
    -------
    list of Path
        The feature file, and each sound, with their sidecars. There is no true sound where none is scored.

    Raises
    ------
    InputError
        If a file cannot be written.
    """
    stretch, tr = target.stretch, target.tr
    predicted, truth = stretch.decoded[AUDIO], stretch.truth.get(AUDIO)
    if codec is not None:
        processor = AudioProcessor(codec=codec, tr=tr)
        features = _codes(target, predicted, codec, bandwidth)
    else:
        predicted = np.maximum(predicted, 0)  # power
        average = predicted.ndim == 2
        processor = AudioProcessor(use_encodec=False, tr=tr, n_mels=predicted.shape[1], mel_average=average)
        features = _mel(target, predicted, processor)
    path = save_features(features, target.path("predicted_features.nc"))
    written = [path, sidecar_path(path)]
    sounds = {"predicted_decoded.wav": predicted}
    if truth is not None and stretch.scored[AUDIO].any():
        sounds["true_decoded.wav"] = truth
    for ending, values in sounds.items():
        sound = processor.features_to_audio(values, target.path(ending))
        written += [sound, _write_start(sound, target, len(values))]
    return written


def _write_start(path: Path, target: StretchFiles, n_trs: int) -> Path:
    """The JSON file beside a sound or a film, which themselves begin at 0: where in the film they belong."""
    content = {
        "Description": "decoded from BOLD" if "predicted" in path.name else "decoded from the features that were shown",
        "StartTime": target.start, "Duration": float(n_trs * exact(target.tr)), "RepetitionTime": target.tr,
        "Sources": [target.source["source"]], "GeneratedBy": [{"Name": "giblet", "Version": __version__}],
    }  # fmt: skip
    beside = sidecar_path(path)
    write_atomic(beside, json.dumps(content, indent=2) + "\n")
    return beside


def _codes(target: StretchFiles, codes: np.ndarray, codec: AudioCodec, bandwidth: float | None) -> xr.Dataset:
    grid = TRGrid(target.tr, len(codes), codec.frame_rate)
    more = (grid.counts > grid.frames_per_tr)[:, None]
    # There is no odd frame in a prediction: the one before it stands in its place, as in decoding.
    spill = np.where(more[:, None], codes[:, :, -1:], 0).astype(np.int32)
    variables = {
        "codes": (("tr", "codebook", "frame"), codes),
        "spill": (("tr", "codebook", "extra"), spill),
        "spill_mask": (("tr", "extra"), more),
    }
    return target.on_film(
        variables, codec.frame_rate, kind=CODES, desc="predicted", codec=codec.name, bandwidth=bandwidth,
        codebook_size=codec.codebook_size, codec_fingerprint=codec.codes_fingerprint, sample_rate=codec.sample_rate,
        hop_length=codec.hop_length,
    )  # fmt: skip


def _mel(target: StretchFiles, mel: np.ndarray, processor: AudioProcessor) -> xr.Dataset:
    dims = ("tr", "mel", "frame")[: mel.ndim]
    variables: dict[str, Any] = {"mel": (dims, mel.astype(np.float32))}
    if mel.ndim == 3:
        grid = TRGrid(target.tr, len(mel), processor.frame_rate)
        variables["frame_mask"] = (("tr", "frame"), grid.columns(mel.shape[2])[1])
    return target.on_film(
        variables, processor.frame_rate, kind=CONTINUOUS, desc="predicted", sample_rate=processor.source.sample_rate,
        hop_length=processor.source.hop_length,
    )  # fmt: skip


def write_vectors(target: StretchFiles) -> list[Path]:
    """Write decoded picture and text features as feature files, ``_desc-predicted<modality>_features.nc``.

    Parameters
    ----------
    target : StretchFiles

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
        if name not in target.stretch.decoded:
            continue
        values = np.asarray(target.stretch.decoded[name], np.float32)
        dims = ("tr", *(f"axis_{i}" for i in range(values.ndim - 1)))
        features = target.on_film(
            {name: (dims, values)}, volume_rate(target.tr), kind=CONTINUOUS, desc=f"predicted{name}"
        )
        path = save_features(features, target.path(f"predicted{name}_features.nc"))
        written += [path, sidecar_path(path)]
    return written


def write_video(target: StretchFiles) -> list[Path]:
    """Write decoded pictures as a film of one picture per TR; nothing where no pictures were decoded.

    Parameters
    ----------
    target : StretchFiles

    Returns
    -------
    list of Path
        The film and its JSON file, or nothing.

    Raises
    ------
    InputError
        If a file cannot be written.

    See Also
    --------
    write_vectors : the same as a feature file.
    """
    frames = target.stretch.decoded.get(VIDEO)
    if frames is None or frames.ndim != 4:
        return []
    path = target.path("predicted_decoded.mp4")
    film = VideoProcessor(tr=target.tr).features_to_video(np.clip(frames, 0, 255), path)
    return [film, _write_start(film, target, len(frames))]


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
        raise InputError(f"subject {subject.name} was shown no text: leave out `texts`, or name another subject")
    made = load_features(path)
    if "model" not in made.attrs:
        raise InputError(
            f"the text features in {path.name} hold no sentence vectors: no text can be nearest to them; leave out "
            "`texts`, or extract them with a sentence model (TextSettings.model) and train on those"
        )
    return str(made.attrs["model"])


def write_text(target: StretchFiles, search: Texts) -> list[Path]:
    """Write the texts nearest to each decoded vector, as a table with onsets in seconds of the film.

    Some texts are near to whatever is decoded: `mean_cosine` is what each has over all decoded vectors of the stretch.

    Parameters
    ----------
    target : StretchFiles
        With decoded vectors of text.
    search : Texts
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
    texts, tr = search.texts, target.tr
    corpus = TextProcessor(tr=tr, model=search.model).corpus(texts)
    matches = nearest_segments(target.stretch.decoded[TEXT], corpus, k=len(texts))
    scores = np.zeros((len(matches), len(texts)))
    for row, best in zip(scores, matches, strict=True):
        row[[match.index for match in best]] = [match.score for match in best]
    usual = scores.mean(axis=0)
    rows = [
        {
            "onset": float(exact(target.start) + k * exact(tr)),
            "rank": rank,
            "text": match.text,
            "cosine": round(match.score, 4),
            "mean_cosine": round(float(usual[match.index]), 4),
        }
        for k, best in enumerate(matches)
        for rank, match in enumerate(best[:3], start=1)
    ]
    path = target.path("predicted_text.tsv")
    with atomic_path(path) as temporary:
        pd.DataFrame(rows).to_csv(temporary, sep="\t", index=False)
    return [path]
