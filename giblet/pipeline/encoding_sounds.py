"""Responses to other sounds, from fits that an encoding run over clips kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from giblet.codec import load_codec
from giblet.data.bold.brain_images import ending_of, files_at, image_of, write_brain
from giblet.encoding import EncodingModel
from giblet.encoding.clip_settings import ClipSettings
from giblet.encoding.clips import Clips, clip_features, read_clips
from giblet.errors import CheckpointError, InputError
from giblet.files import read_json
from giblet.notebook import html_table
from giblet.pipeline.derivative import check_derivative, describe_derivative
from giblet.pipeline.encoding_files import label_of, like_of, predicted_path, read_stats, subject_folder, write_stats
from giblet.storage import taking_urls

HEARD = ("codec", "bandwidth", "level")
"""Options that decide what features are made of a sound."""


@dataclass(frozen=True, repr=False)
class PredictedResponses:
    """Responses that a fit predicts for sounds."""

    subject: str
    path: Path
    """4-D image with one volume per clip, or table with one row per clip."""
    responses: np.ndarray
    """float32 or float64 (n_clips, n_voxels); NaN in voxels that were left out of the fit."""
    names: tuple[str, ...]
    """Of the clips, as their table calls them."""

    def __repr__(self) -> str:
        return f"<PredictedResponses {self.path}: {len(self.names)} clips, {self.responses.shape[1]} columns>"

    def _repr_html_(self) -> str:
        rows = [(self.subject, self.path.name, *self.responses.shape)]
        return html_table(repr(self).strip("<>"), ("subject", "file", "clips", "columns"), rows)

    def to_pandas(self) -> pd.DataFrame:
        """The prediction as a table, a row for each clip.

        Returns
        -------
        pandas.DataFrame
        """
        return pd.DataFrame(self.responses, index=pd.Index(self.names, name="file"))


@taking_urls("clips", "bands", into=("out_dir",))
def predict_clips(
    config: str | Path | ClipSettings, clips: str | Path, bands: Mapping[str, str | Path] | None = None,
    out_dir: str | Path | None = None, *, overwrite: bool = False,
) -> list[PredictedResponses]:  # fmt: skip
    """Predict the response of each subject to sounds that need not have been played.

    Parameters
    ----------
    config : str, Path or ClipSettings
        Of the encoding run, which kept its weights.
    clips : str or Path
        Table of the sounds, as that of the run; files beside it.
    bands : mapping of str to path, optional
        For each band that was given as a file: the same for these sounds, one row per clip.
    out_dir : str or Path, optional
        Gets ``sub-01/func/sub-01_task-<table>_desc-encoding_responses.nii.gz`` or ``.tsv``; by default the
        folder of the run.
    overwrite : bool
        Replace predictions of these names.

    Returns
    -------
    list of PredictedResponses
        One for each subject.

    Raises
    ------
    CheckpointError
        If there is no fit, or it is of other features.
    InputError
        If the sounds or bands cannot be used.

    See Also
    --------
    giblet.predict_film : BOLD for another film.
    """
    settings = config if isinstance(config, ClipSettings) else ClipSettings.from_yaml(config)
    given = {name: Path(path) for name, path in (bands or {}).items()}
    files = [name for name, band in settings.bands.items() if isinstance(band.of, Path)]
    if missing := [name for name in files if name not in given]:
        raise InputError(f"band {missing[0]!r} was given as a file: give one with a row for each of these clips too")
    if unknown := [name for name in given if name not in files]:
        raise InputError(f"band {unknown[0]!r} was not given as a file: {', '.join(files) or 'none'} were")
    saved = {name: _saved(settings, name) for name in settings.responses}
    told = read_clips(clips, file_column=settings.file_column)
    codec = load_codec(settings.codec, settings.bandwidth, settings.device)
    features = clip_features(told.files, {**settings.features(), **given}, codec, level=settings.level)
    folder = settings.output if out_dir is None else Path(out_dir)
    check_derivative(folder)
    stem = Path(clips).name.removesuffix(Path(clips).suffix)
    paths = {
        name: predicted_path(folder, name, stem, f"responses{_ending(stats, space)}")
        for name, (_, stats, space) in saved.items()
    }
    for path in paths.values():
        if any(file.exists() for file in files_at(path)) and not overwrite:
            raise InputError(f"{path} is there: choose another `out_dir`, or pass overwrite=True to replace it")
    found = [_predicted(settings, name, *saved[name], features, told, path) for name, path in paths.items()]
    describe_derivative(folder, "Responses that giblet predicts")
    return found


def _saved(settings: ClipSettings, name: str) -> tuple[EncodingModel, pd.DataFrame, dict[str, Any]]:
    """The fit of a subject, if it is of the same features, its scores, and the space of its columns."""
    folder, label = subject_folder(settings.output, name), label_of(name)
    card, path = folder / f"{label}_summary.json", folder / f"{label}_model.safetensors"
    if not card.is_file() or not path.is_file():
        raise CheckpointError(f"{settings.output} holds no fit of subject {name}: run giblet encode first")
    summary = read_json(card, "run giblet encode again", CheckpointError, ("options", "space"))
    before = summary["options"]
    now = settings.model_dump(mode="json")
    pairs: dict[str, tuple[Any, Any]] = {option: (before[option], now[option]) for option in HEARD}
    for band in {**before["bands"], **now["bands"]}:
        pairs[f"band {band!r}"] = (_of_sounds(before["bands"].get(band)), _of_sounds(now["bands"].get(band)))
    for what, (former, here) in pairs.items():
        if former != here:
            raise CheckpointError(
                f"the fit of subject {name} is of other features: {what} was {former}, is {here}; run giblet encode "
                "with these settings, or give the former"
            )
    return EncodingModel.load(path), read_stats(folder / f"{label}_stats.tsv"), summary["space"]


def _ending(stats: pd.DataFrame, space: Mapping[str, Any]) -> str:
    """Of the file of predictions; regions of an atlas stand in a table."""
    return ".tsv" if "label" in stats or not space else ending_of(space, series=True)


def _of_sounds(band: dict[str, Any] | None) -> dict[str, Any] | None:
    """A band without the file that it came from, which holds other clips."""
    return band if band is None or isinstance(band["of"], list) else {**band, "of": "a file"}


def _predicted(  # 8 parameters: one subject's fit, and what all subjects share
    settings: ClipSettings,
    name: str,
    model: EncodingModel,
    stats: pd.DataFrame,
    space: Mapping[str, Any],
    features: Mapping[str, np.ndarray],
    clips: Clips,
    path: Path,
) -> PredictedResponses:
    predicted = model.predict(features)
    if _ending(stats, space) != ".tsv":
        write_brain(image_of(predicted, like_of(stats, {**space, "tr": 0.0})), path)
    else:
        table = pd.DataFrame(predicted, columns=stats["region"])
        table.insert(0, settings.file_column, clips.names)
        write_stats(table, path)
    return PredictedResponses(name, path, predicted, clips.names)
