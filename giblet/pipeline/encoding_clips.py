"""Clips instead of films: from a table of sound files and one response for each to scores, maps, and a page."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from giblet.codec import load_codec
from giblet.data.study_settings import bring_files
from giblet.encoding.clip_scores import ClipScores, permutation_test_cv, score_clips
from giblet.encoding.clip_settings import ClipSettings
from giblet.encoding.clips import Clips, clip_features, read_clips
from giblet.encoding.held_out import quiet_fits
from giblet.encoding.model import EncodingModel
from giblet.encoding.permutation import PermutationTest
from giblet.encoding.responses import Responses, read_responses
from giblet.files import check_writable, claimed, write_atomic
from giblet.pipeline.cluster import Workers
from giblet.pipeline.derivative import check_derivative
from giblet.pipeline.encoding_clips_report import clips_page
from giblet.pipeline.encoding_files import (
    SubjectEncoding,
    label_of,
    space_in,
    standing_result,
    subject_folder,
    write_scores,
)
from giblet.pipeline.encoding_result import EncodingResult, Tell, each_subject, write_result
from giblet.pipeline.results import described
from giblet.storage import bring
from giblet.version import __version__

log = logging.getLogger(__name__)

LEVEL = 0.05
SCORES = ("r", "p", "p_rank", "q", "p_fwe")
FREE = {"output", "weights", "device", "responses", "mask", "atlas"}
"""Settings that change nothing in what is found in one subject; its own responses, mask and atlas do."""
OF_CLIPS = {"TRs": "clips", ", delays included": "", "or more runs": "or more clips"}
"""Words of a fit's notes, which are about volumes of a film, and what they are here."""


def encode_clips(
    config: str | Path | ClipSettings, *, overwrite: bool = False, progress: Tell | None = None,
    where: Workers | None = None,
) -> EncodingResult:  # fmt: skip
    """Predict the response to each clip from a fit on the others, test it in each voxel, and write what was found.

    A subject whose result is there, of the same settings and files, is not computed again. A subject that cannot be
    used is left out, and the summary says why.

    Parameters
    ----------
    config : str, Path or ClipSettings
        A YAML file, or what it says.
    overwrite : bool
        Replace results of other settings or files.
    progress : callable, optional
        Called with what is being done, and with subjects that are done and those in all.
    where : Workers, optional
        Worker processes, one subject at a time on each; by default this process.

    Returns
    -------
    EncodingResult
        In its folder, in ``sub-NAME/func`` of each subject ``sub-NAME_desc-encoding_stats.tsv``, ``_summary.json``, on
        request ``_model.safetensors``, and ``_stat-r_statmap.nii.gz`` and further maps where responses are images; of
        all ``scores.tsv``, ``summary.json`` and ``report.html``.

    Raises
    ------
    GibletError
        If the settings, the clips or the output folder cannot be used, or no subject can.

    See Also
    --------
    giblet.pipeline.encode : the same, and films.
    giblet.encoding.clips.clip_features : the features alone.
    """
    settings = config if isinstance(config, ClipSettings) else ClipSettings.from_yaml(config)
    bring_files(settings)
    clips = read_clips(
        settings.clips, file_column=settings.file_column, group_column=settings.group_column, folder=settings.folder
    )
    check_writable(settings.output)
    bring(settings.output, needed=False, folder=True)
    check_derivative(settings.output)
    with claimed(settings.output):
        options = {name: _options(settings, clips, name) for name in settings.responses}
        wanted = ["model.safetensors"] if settings.weights else []
        there = {
            name: standing_result(settings.output, name, own, wanted, overwrite=overwrite)
            for name, own in options.items()
        }
        work = ClipWork(settings, clips, options)
        subjects, failed = each_subject(there, work, progress, settings.output, where)
        result = EncodingResult(settings.output, tuple(subjects), None, failed, (), "clips")
        write_result(result, settings)
        clips_page(result, settings).save_as_html(result.report)
    return result


class ClipWork:
    """Computes subjects of a run one after another: the clips are heard once.

    Parameters
    ----------
    settings : ClipSettings
    clips : Clips
    options : mapping of str to mapping
        By subject, what decides its result.
    """

    def __init__(self, settings: ClipSettings, clips: Clips, options: Mapping[str, Mapping[str, Any]]) -> None:
        self.settings, self.clips, self.options = settings, clips, options
        self.features: dict[str, np.ndarray] = {}

    def __call__(self, name: str, tell: Callable[[str], None] = lambda what: None) -> SubjectEncoding:
        """Read, fit, score and write one subject.

        Parameters
        ----------
        name : str
        tell : callable
            Called with what is being done, in words.

        Returns
        -------
        SubjectEncoding

        Raises
        ------
        GibletError
            If the data cannot be used.
        """
        settings, clips = self.settings, self.clips
        tell("reading")
        given = read_responses(
            settings.responses[name], clips.names, file_column=settings.file_column, variable=settings.variable,
            subject=settings.subject(name),
        )  # fmt: skip
        if not self.features:
            tell("listening to the clips")
            codec = load_codec(settings.codec, settings.bandwidth, settings.device)
            self.features.update(clip_features(clips.files, settings.features(), codec, level=settings.level))
        return _encode_subject(settings, name, self.features, given, clips, self.options[name], tell)


def _encode_subject(  # 7 parameters: one subject's responses, and what all subjects share
    settings: ClipSettings,
    name: str,
    features: Mapping[str, np.ndarray],
    given: Responses,
    clips: Clips,
    options: Mapping[str, Any],
    tell: Callable[[str], None],
) -> SubjectEncoding:
    model = settings.model()
    common: dict[str, Any] = {"cv": settings.folds, "group": clips.group, "seed": settings.seed}
    scores = score_clips(model, features, given.values, unique=settings.unique, **common)

    def told(done: float, total: float | None) -> None:
        tell(f"{100 * done / (total or done):.0f} % of the permutations")

    test = permutation_test_cv(
        model, features, given.values, exchange=settings.exchange, n_permutations=settings.n_permutations,
        progress=told, **common,
    )  # fmt: skip
    tell("fitting all")
    with quiet_fits():
        fitted = settings.model(clips.group, len(clips)).fit(features, given.values)
    stats = _stats(given, scores, test, fitted)
    folder, label, space = (
        subject_folder(settings.output, name),
        label_of(name),
        {} if given.like is None else space_in(given.like),
    )
    files = write_scores(stats, settings.subject(name), space, folder, label)
    if settings.weights:
        files.append(fitted.save(folder / f"{label}_model.safetensors").name)
    card = folder / f"{label}_summary.json"
    summary = {
        "subject": name, "giblet_version": __version__, "options": dict(options), **_counts(given, scores, test, clips),
        "bands": {band: values.shape[1] for band, values in features.items()},
        "split": _means(scores.split), "unique": _means(scores.unique), "space": space,
        "notes": _notes(given, test, fitted), "files": [*files, card.name],
    }  # fmt: skip
    write_atomic(card, json.dumps(summary, indent=2) + "\n")
    return SubjectEncoding(name, folder, "written", summary)


def _stats(given: Responses, scores: ClipScores, test: PermutationTest, fitted: EncodingModel) -> pd.DataFrame:
    """All maps as columns of one table."""
    columns: dict[str, Any] = dict(given.places)
    columns |= {score: getattr(test, score) for score in SCORES}
    columns |= {"r2": scores.r2, "alpha": fitted.best_alphas_, "cv_score": fitted.cv_scores_}
    if len(scores.split) > 1:
        for kind, by_band in (("split", scores.split), ("unique", scores.unique)):
            columns |= {f"{kind}_{band}": values for band, values in by_band.items()}
    return pd.DataFrame(columns)


def _counts(given: Responses, scores: ClipScores, test: PermutationTest, clips: Clips) -> dict[str, Any]:
    """The figures of a subject, plain values for JSON."""
    return {
        "n_clips": len(clips),
        "n_groups": None if clips.group is None else len(np.unique(clips.group)),
        "n_clips_test": [len(predicted) for _, predicted in scores.folds],
        "n_columns": len(given.voxels),
        "n_tested": int(np.isfinite(test.r).sum()),
        "unit": given.unit,
        "mean_r": test.mean,
        "best_r": float(np.nanmax(test.r)),
        "mean_p": test.mean_p_rank,
        "n_permutations": test.n_permutations,
        "threshold_fwe": test.threshold_fwe,
        "n_q": int((test.q <= LEVEL).sum()),
        "n_fwe": int((test.p_fwe <= LEVEL).sum()),
        "null": [round(float(share), 7) for share in test.null],
    }


def _notes(given: Responses, test: PermutationTest, fitted: EncodingModel) -> list[str]:
    found = []
    n_bad = int((~np.isfinite(test.r)).sum())
    if n_bad:
        found.append(
            f"{n_bad} of {len(test.r)} {given.unit}s hold NaN or never change over the clips: left out, NaN in tables "
            "and maps"
        )
    for note in fitted.notes_:
        if "their scores are NaN" in note:  # said above
            continue
        for former, here in OF_CLIPS.items():
            note = note.replace(former, here)
        found.append(f"fit on all clips: {note}")
    return found


def _means(by_band: Mapping[str, np.ndarray]) -> dict[str, float]:
    return {band: float(np.nanmean(values)) for band, values in by_band.items()}


def _options(settings: ClipSettings, clips: Clips, name: str) -> dict[str, Any]:
    """What decides the result of a subject; files by their content."""
    plain = settings.model_dump(mode="json", exclude=FREE)
    own = settings.subject(name)
    plain["clips"] = described(settings.clips)
    plain |= {"responses": described(settings.responses[name]), "mask": described(own.mask)}
    plain["atlas"] = described(own.atlas)
    plain["sounds"] = [described(file) for file in clips.files]
    for band_name, band in settings.bands.items():
        if isinstance(band.of, Path):
            plain["bands"][band_name]["of"] = described(band.of)
    return {**plain, "giblet_version": __version__}
