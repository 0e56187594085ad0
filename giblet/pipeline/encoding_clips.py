"""Clips instead of films: from a table of sound files and one response for each to scores, their chance, and files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from giblet.codec import load_codec
from giblet.encoding.clip_scores import ClipScores, permutation_test_cv, score_clips
from giblet.encoding.clip_settings import ClipSettings
from giblet.encoding.clips import Clips, clip_features, read_clips
from giblet.encoding.model import EncodingModel
from giblet.encoding.permutation import PermutationTest
from giblet.encoding.responses import Responses, read_responses
from giblet.files import check_writable, claimed, write_atomic
from giblet.pipeline.results import described, files_of_result
from giblet.progress import Progress
from giblet.version import __version__

SCORES, SUMMARY = "scores.tsv", "summary.json"
META = "region"
LEVEL = 0.05


@dataclass(frozen=True)
class ClipSubjectEncoding:
    """What was found in one subject."""

    name: str
    stats: pd.DataFrame
    """One row per voxel: ``region``, ``r``, ``p``, ``p_rank``, ``q``, ``p_fwe``, ``r2``, ``alpha``, ``cv_score``, and
    ``split_BAND`` and ``unique_BAND`` where there are several bands."""
    scores: ClipScores
    test: PermutationTest
    model: EncodingModel
    """Fitted on all clips: for other sounds, never for the clips of the fit."""
    files: tuple[Path, ...]

    @property
    def summary(self) -> dict[str, Any]:
        """The figures of the subject, plain values for JSON."""
        bands = {
            kind: {band: float(np.nanmean(values)) for band, values in by_band.items()}
            for kind, by_band in (("split", self.scores.split), ("unique", self.scores.unique))
        }
        return {
            "n_voxels": len(self.stats), "n_tested": int(np.isfinite(self.test.r).sum()),
            "mean_r": self.test.mean, "mean_p": self.test.mean_p_rank, "best_r": float(np.nanmax(self.test.r)),
            "n_q": int(np.nansum(self.test.q <= LEVEL)), "n_fwe": int(np.nansum(self.test.p_fwe <= LEVEL)),
            "threshold_fwe": self.test.threshold_fwe, **bands, "notes": list(self.model.notes_),
        }  # fmt: skip


@dataclass(frozen=True)
class ClipEncodingResult:
    """What :func:`encode_clips` found, and where it stands."""

    folder: Path
    subjects: tuple[ClipSubjectEncoding, ...]
    n_clips: int

    @property
    def scores(self) -> Path:
        """All scores in one table."""
        return self.folder / SCORES

    @property
    def files(self) -> tuple[Path, ...]:
        """All files."""
        return (*(path for subject in self.subjects for path in subject.files), self.scores, self.folder / SUMMARY)

    def to_pandas(self) -> pd.DataFrame:
        """All scores, one in each row.

        Returns
        -------
        pandas.DataFrame
            ``subject``, ``region``, ``band`` (empty: all bands together), ``score`` and ``value``.
        """
        parts = []
        for one in self.subjects:
            long = one.stats.melt(META, var_name="column", value_name="value")
            named = [_score_and_band(str(column)) for column in long["column"]]
            score, band = zip(*named, strict=True)
            long = long.assign(subject=one.name, band=band, score=score)
            parts.append(long[["subject", META, "band", "score", "value"]])
        return pd.concat(parts, ignore_index=True)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON.

        Returns
        -------
        dict of str to object
        """
        return {
            "folder": str(self.folder), "rows": "clips", "n_clips": self.n_clips,
            "subjects": {one.name: one.summary for one in self.subjects}, "scores": str(self.scores),
        }  # fmt: skip


def encode_clips(
    config: str | Path | ClipSettings, *, overwrite: bool = False, progress: Progress | None = None
) -> ClipEncodingResult:
    """Predict the response to each clip from a fit on the others, test it in each voxel, and write what was found.

    Parameters
    ----------
    config : str, Path or ClipSettings
        A YAML file, or what it says.
    overwrite : bool
        Replace a result of other settings or files.
    progress : callable, optional
        Called with fits done and fits in all, subject by subject.

    Returns
    -------
    ClipEncodingResult
        In its folder: ``sub-NAME_stats.tsv`` and, on request, ``sub-NAME_model.safetensors`` of each subject,
        ``scores.tsv`` of all, and ``summary.json``.

    Raises
    ------
    InputError
        If the settings or a file cannot be used, responses and clips differ in number, or there is a result of other
        settings.

    See Also
    --------
    giblet.encoding.clips.clip_features : the features alone.
    """
    settings = config if isinstance(config, ClipSettings) else ClipSettings.from_yaml(config)
    clips = read_clips(
        settings.clips, file_column=settings.file_column, group_column=settings.group_column, folder=settings.folder
    )
    responses = {
        name: read_responses(path, clips.names, file_column=settings.file_column, variable=settings.variable)
        for name, path in settings.responses.items()
    }
    check_writable(settings.output)
    with claimed(settings.output):
        options = _options(settings, clips)
        old = files_of_result(settings.output / SUMMARY, options, overwrite)
        codec = load_codec(settings.codec, settings.bandwidth, settings.device)
        features = clip_features(clips.files, settings.features(), codec, level=settings.level)
        subjects = [_subject(name, features, given, clips, settings, progress) for name, given in responses.items()]
        result = ClipEncodingResult(settings.output, tuple(subjects), len(clips))
        write_atomic(result.scores, _as_tsv(result.to_pandas()))
        names = [file.name for file in result.files]
        about = {**result.as_dict(), "giblet_version": __version__, "options": options, "files": names}
        for name in set(old) - set(names):
            (settings.output / name).unlink(missing_ok=True)
        write_atomic(settings.output / SUMMARY, json.dumps(about, indent=2, ensure_ascii=False) + "\n")
    return result


def _subject(  # 6 parameters: one subject's responses, and what all subjects share
    name: str,
    features: Mapping[str, np.ndarray],
    given: Responses,
    clips: Clips,
    settings: ClipSettings,
    progress: Progress | None,
) -> ClipSubjectEncoding:
    model = settings.model()
    common: dict[str, Any] = {"cv": settings.folds, "group": clips.group, "seed": settings.seed}
    scores = score_clips(model, features, given.values, unique=settings.unique, **common)
    test = permutation_test_cv(
        model, features, given.values, exchange=settings.exchange, n_permutations=settings.n_permutations,
        progress=progress, **common,
    )  # fmt: skip
    fitted = settings.model(clips.group, len(clips)).fit(features, given.values)
    columns = {score: getattr(test, score) for score in ("r", "p", "p_rank", "q", "p_fwe")}
    columns |= {"r2": scores.r2, "alpha": fitted.best_alphas_, "cv_score": fitted.cv_scores_}
    for kind, by_band in (("split", scores.split), ("unique", scores.unique)):
        columns |= {f"{kind}_{band}": values for band, values in by_band.items()} if len(scores.split) > 1 else {}
    stats = pd.DataFrame({META: given.voxels, **columns})
    files = [settings.output / f"sub-{name}_stats.tsv"]
    write_atomic(files[0], _as_tsv(stats))
    if settings.weights:
        files.append(fitted.save(settings.output / f"sub-{name}_model.safetensors"))
    return ClipSubjectEncoding(name, stats, scores, test, fitted, tuple(files))


def _score_and_band(column: str) -> tuple[str, str]:
    kind, _, band = column.partition("_")
    return (kind, band) if kind in ("split", "unique") else (column, "")


def _as_tsv(table: pd.DataFrame) -> str:
    return table.to_csv(sep="\t", index=False, na_rep="n/a")


def _options(settings: ClipSettings, clips: Clips) -> dict[str, Any]:
    """What decides the result; files by their content."""
    plain = settings.model_dump(mode="json", exclude={"output", "weights", "device"})
    plain["clips"] = described(settings.clips)
    plain["responses"] = {name: described(path) for name, path in settings.responses.items()}
    plain["sounds"] = [described(file) for file in clips.files]
    for name, band in settings.bands.items():
        if isinstance(band.of, Path):
            plain["bands"][name]["of"] = described(band.of)
    return plain
