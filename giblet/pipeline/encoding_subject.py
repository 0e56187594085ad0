"""One subject of an encoding run: fitted and scored once, and read back where nothing has changed since."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from giblet.data.bold.brain_rows import unit_of
from giblet.data.bold.scan_timing import sidecar_path
from giblet.data.bold.surfaces import with_other_hemisphere
from giblet.encoding import BlockedFolds, EncodingModel, ceiling_p, ceiling_ratio, noise_ceiling, reachable
from giblet.encoding.delays import DELAYS
from giblet.encoding.held_out import HeldOut, HeldOutScores, predict_held_out, quiet_fits, score_held_out
from giblet.encoding.rotation_cv import CrossValidatedTest
from giblet.encoding.settings import EncodeSettings, EncodeSubjectSettings
from giblet.errors import InputError
from giblet.files import atomic_path, write_atomic
from giblet.pipeline.encoding_data import Moment, SubjectData, read_subject, timeline
from giblet.pipeline.encoding_features import BandReader
from giblet.pipeline.encoding_files import (
    SubjectEncoding,
    label_of,
    places_of,
    space_in,
    standing_result,
    subject_folder,
    write_scores,
)
from giblet.pipeline.results import described
from giblet.training.films import Films
from giblet.version import __version__

log = logging.getLogger(__name__)
BACKENDS = {"auto": "auto", "cpu": "numpy", "cuda": "torch_cuda"}
FREE = {"output", "device", "group", "data", "weights"}
"""Settings that change nothing in what is found in one subject; of the data, the subject's own part counts."""
SUMMARY = frozenset((
    "subject", "giblet_version", "options", "tr", "slice_time_ref", "n_trs", "n_trs_train", "n_trs_test", "n_columns",
    "n_tested", "unit", "bands", "origins", "high_pass", "mean_r", "mean_p", "n_rotations", "threshold_fwe", "n_q",
    "n_fwe", "null", "timeline", "run_starts", "run_names", "space", "notes", "files",
))  # fmt: skip
"""What a summary holds, and the page, the group and the tables are made from."""
Tell = Callable[[str], None]


def options_of(settings: EncodeSettings, subject: EncodeSubjectSettings) -> dict[str, Any]:
    """All that decides what is found in a subject: settings, and the content of each file.

    Parameters
    ----------
    settings : EncodeSettings
    subject : EncodeSubjectSettings

    Returns
    -------
    dict of str to object
    """

    def file(path: Path | None) -> dict[str, str] | None:
        if path is None or not path.is_file():
            return None
        others = [described(other) for other in with_other_hemisphere(path)[1:] if other.is_file()]
        return {
            **(described(path) or {}),
            **{f"other_{key}": value for one in others for key, value in (one or {}).items()},
        }

    runs = []
    for run in subject.runs:
        about: dict[str, Any] = run.model_dump(
            mode="json", exclude={"bold", "mask", "audio", "video", "text", "features"}
        )
        about["confounds"], about["mask"] = file(run.confounds), file(run.mask)
        about["bold"], about["sidecar"] = file(run.bold), None
        if run.bold is not None:
            about["sidecar"] = file(sidecar_path(run.bold))
            for other in with_other_hemisphere(run.bold)[1:]:
                about["other_sidecar"] = file(sidecar_path(other))
        files = run.files()
        used = {name for band in settings.bands.values() for name in band.files(files)}
        about["features"] = {name: file(path) for name, path in files.items() if name in used}
        runs.append(about)
    own = subject.model_dump(mode="json", exclude={"runs", "mask", "atlas"})
    own |= {"mask": file(subject.mask), "atlas": file(subject.atlas)}
    found = {
        **settings.model_dump(mode="json", exclude=FREE),
        "ceiling": settings.ceiling if settings.ceiling == "repeats" else "none",
        "data": settings.data.model_dump(mode="json", exclude={"subjects"}), "subject": own, "runs": runs,
        "giblet_version": __version__,
    }  # fmt: skip
    return dict(json.loads(json.dumps(found)))


def model_of(settings: EncodeSettings, tr: float, slice_time_ref: float) -> EncodingModel:
    """The model that settings describe, not fitted.

    Parameters
    ----------
    settings : EncodeSettings
    tr : float
        Repetition time in seconds.
    slice_time_ref : float
        When in its TR a volume is read, 0 to 1.

    Returns
    -------
    EncodingModel
    """
    fir = settings.hrf == "fir"
    folds = BlockedFolds(settings.penalty_folds, settings.data.gap, tr=tr)
    return EncodingModel(
        settings.alphas, folds, tr=tr, hrf=None if fir else settings.hrf,
        delays=(settings.delays or DELAYS) if fir else None, slice_time_ref=slice_time_ref,
        convolved=tuple(name for name, band in settings.bands.items() if band.convolved),
        scale={name: band.scale for name, band in settings.bands.items()},
        n_components={name: band.n_components for name, band in settings.bands.items()},
        scoring=settings.scoring, n_iter=settings.n_iter, backend=BACKENDS[settings.device],
        random_state=settings.seed,
    )  # fmt: skip


def standing(settings: EncodeSettings, subject: EncodeSubjectSettings, overwrite: bool) -> SubjectEncoding | None:
    """The subject's result, if it is there, whole, and of the same settings and files; what is of others is removed.

    Parameters
    ----------
    settings : EncodeSettings
    subject : EncodeSubjectSettings
    overwrite : bool
        A result of other settings or files may be removed.

    Returns
    -------
    SubjectEncoding or None

    Raises
    ------
    InputError
        If there is one of others, and it may not be removed.
    """
    wanted = ["model.safetensors"] if settings.weights else []
    wanted += ["heldout.npz"] if needs_held_out(settings) else []
    options = options_of(settings, subject)
    return standing_result(settings.output, subject.name, options, wanted, keys=SUMMARY, overwrite=overwrite)


def needs_held_out(settings: EncodeSettings) -> bool:
    """Whether predictions of all subjects are compared, so that they are kept.

    Parameters
    ----------
    settings : EncodeSettings

    Returns
    -------
    bool
    """
    return settings.group or settings.ceiling == "intersubject"


def encode_subject(
    settings: EncodeSettings, subject: EncodeSubjectSettings, reader: BandReader, films: Films, tr: float | None,
    tell: Tell,
) -> SubjectEncoding:  # fmt: skip
    """Read, fit, score and write one subject.

    Parameters
    ----------
    settings : EncodeSettings
    subject : EncodeSubjectSettings
    reader : BandReader
    films : Films
    tr : float or None
        Of the features, in seconds.
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
    tell("reading")
    folder = subject_folder(settings.output, subject.name)
    data = read_subject(settings, subject, reader, films, tr)
    model = model_of(settings, data.tr, data.slice_time_ref)
    pairs = [(fold.train, fold.test) for fold in data.folds]
    held_out, last = predict_held_out(
        model, data.bands, data.bold, pairs, run=data.run, unique=settings.unique,
        tell=lambda done, total: tell(f"fit {done} of {total}"),
    )  # fmt: skip
    tell("testing")
    truth = data.bold[data.test]
    scores = score_held_out(
        held_out,
        truth,
        data.stretches,
        tr=data.tr,
        high_pass=settings.high_pass,
        seed=settings.seed,
        run=data.run[data.test],
        n_rotations=settings.n_rotations,
        keep_rotations=needs_held_out(settings),
    )
    stats, notes = _stats(settings, data, held_out, scores, truth)
    files = write_scores(stats, subject, space_in(data.like), folder, label_of(subject.name))
    if settings.weights:
        if len(pairs) > 1:
            tell("fitting all")
            rows = np.unique(np.concatenate([np.concatenate(pair) for pair in pairs]))
            with quiet_fits():
                last = model.fit(data.bands, data.bold, run=data.run, train=rows)
        files.append(last.save(folder / f"{label_of(subject.name)}_model.safetensors").name)
    if needs_held_out(settings):
        files.append(_keep_held_out(folder, data, held_out, truth, scores))
    said_already = any("NaN in maps" in note for note in data.notes)
    of_fits = [note for note in held_out.notes if not (said_already and "their scores are NaN" in note)]
    summary = _summary(settings, subject, data, scores, [*data.notes, *of_fits, *notes], reader)
    summary["files"] = [*files, f"{label_of(subject.name)}_summary.json"]
    card = folder / f"{label_of(subject.name)}_summary.json"
    write_atomic(card, json.dumps(summary, indent=2) + "\n")
    return SubjectEncoding(subject.name, folder, "written", summary)


class FilmWork:
    """Computes subjects of a run one after another: what was read for one is kept for the next.

    Parameters
    ----------
    settings : EncodeSettings
    tr : float or None
        Of the features, in seconds.
    films : Films
        Feature files that were read already.
    """

    def __init__(self, settings: EncodeSettings, tr: float | None, films: Films) -> None:
        self.settings, self.tr, self.films = settings, tr, films
        self.reader = BandReader(settings.bands, codec=settings.codec, films=films, device=settings.device)

    def __call__(self, name: str, tell: Tell = lambda what: None) -> SubjectEncoding:
        """As :func:`encode_subject`.

        Parameters
        ----------
        name : str
            Of the subject.
        tell : callable

        Returns
        -------
        SubjectEncoding
        """
        subject = next(one for one in self.settings.data.subjects if one.name == name)
        return encode_subject(self.settings, subject, self.reader, self.films, self.tr, tell)


def _stats(
    settings: EncodeSettings, data: SubjectData, held_out: HeldOut, scores: HeldOutScores, truth: np.ndarray
) -> tuple[pd.DataFrame, list[str]]:
    """All maps as columns of one table, and what is to be said of them."""
    columns: dict[str, Any] = dict(places_of(data.like))
    columns["r"] = scores.r
    columns |= {name: scores.of(name) for name in ("p", "q", "p_fwe")}
    columns |= {"r2": scores.r2, "alpha": held_out.alphas, "cv_score": held_out.cv_scores}
    columns |= {f"split_{name}": values for name, values in scores.split.items()}
    columns |= {f"unique_{name}": values for name, values in scores.unique.items()}
    notes = [] if scores.why is None else [f"there is no p: {scores.why}"]
    if settings.ceiling == "repeats":
        ceiling, p, told = _ceiling_of_repeats(settings, data, truth, scores.tested)
        columns |= {"ceiling": ceiling, "ceiling_p": p, "ratio": ceiling_ratio(scores.r, ceiling, p)}
        notes += told
    if isinstance(scores.test, CrossValidatedTest):
        notes.append(
            f"folds are predicted from each other: p is from {scores.test.n_rotations} rotations of the BOLD, for each "
            "of which all folds were fitted anew with the penalties of the BOLD as measured"
        )
    if scores.test is not None:
        reach = reachable(scores.test, n_trs=len(truth), unit=unit_of(data.like.coords))
        notes.append(reach.message)
    return pd.DataFrame(columns), notes


def _ceiling_of_repeats(
    settings: EncodeSettings, data: SubjectData, truth: np.ndarray, tested: np.ndarray
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Correlation of a perfect model with one repeat, from test runs that show the same film."""
    moments = [data.moments[row] for row in data.test]
    often = Counter(film for several in moments for film, _ in several)
    shows: dict[Moment, list[int]] = {}
    for at, several in enumerate(moments):
        # By the file that most runs have: others, as of pupils, may be of one run alone.
        shows.setdefault(max(several, key=lambda moment: often[moment[0]]), []).append(at)
    most = max(map(len, shows.values()))
    if most < 2:
        raise InputError(
            f"subject {data.name}: ceiling: repeats needs test runs that show the same film again (the same feature "
            "files), and there are none: name them, or set ceiling: none"
        )
    common = [places for places in shows.values() if len(places) == most]
    labels = np.array([moment[0] for moment, places in shows.items() if len(places) == most])
    changes = (
        np.r_[True, labels[1:] != labels[:-1]]
        | np.r_[True, [later[0] != one[0] + 1 for one, later in pairwise(common)]]
    )
    run = np.cumsum(changes)
    repeats = [truth[[places[k] for places in common]][:, tested] for k in range(most)]
    found, p = np.full((2, len(tested)), np.nan)
    found[tested] = noise_ceiling(repeats, tr=data.tr, run=run, high_pass=settings.high_pass)
    p[tested] = ceiling_p(repeats, tr=data.tr, run=run, high_pass=settings.high_pass, seed=settings.seed)
    told = f"the ceiling is of a perfect model and one repeat, from {most} repeats of {len(common)} TRs"
    return found, p, [told]


def _keep_held_out(folder: Path, data: SubjectData, held_out: HeldOut, truth: np.ndarray, scores: HeldOutScores) -> str:
    path = folder / f"{label_of(data.name)}_heldout.npz"
    moments = [data.moments[row] for row in data.test]
    most = max(map(len, moments))
    shown = [[*several, *[("", 0)] * (most - len(several))] for several in moments]
    by_rotation: dict[str, Any] = {**scores.by_rotation()}
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez(
            file, bold=truth, predicted=held_out.whole, stretches=data.stretches, tr=data.tr,
            films=np.array([[film for film, _ in several] for several in shown]),
            times=np.array([[time for _, time in several] for several in shown]),
            run=data.run[data.test], **by_rotation,
        )  # fmt: skip
    return path.name


def _summary(
    settings: EncodeSettings, subject: EncodeSubjectSettings, data: SubjectData, scores: HeldOutScores,
    notes: list[str], reader: BandReader,
) -> dict[str, Any]:  # fmt: skip
    test = scores.test
    q = scores.of("q")
    return {
        "subject": subject.name,
        "giblet_version": __version__,
        "options": options_of(settings, subject),
        "tr": data.tr,
        "slice_time_ref": data.slice_time_ref,
        "n_trs": len(data.run),
        "n_trs_train": [len(fold.train) for fold in data.folds],
        "n_trs_test": len(data.test),
        "n_columns": data.bold.shape[1],
        "n_tested": int(scores.tested.sum()),
        "unit": unit_of(data.like.coords),
        "bands": {name: values.shape[1] for name, values in data.bands.items()},
        "origins": {name: reader.origins.get(name, {}) for name in data.bands},
        "high_pass": settings.high_pass,
        "mean_r": float(np.nanmean(scores.r)) if np.isfinite(scores.r).any() else None,
        "mean_p": None if test is None else test.mean_p,
        "n_rotations": None if test is None else test.n_rotations,
        "threshold_fwe": None if test is None else test.threshold_fwe,
        "n_q": None if test is None else int((q <= 0.05).sum()),
        "n_fwe": None if test is None else int((scores.of("p_fwe") <= 0.05).sum()),
        "null": [round(float(share), 7) for share in scores.null],
        "timeline": timeline(data),
        "run_starts": np.flatnonzero(np.r_[True, np.diff(data.run) != 0]).tolist(),
        "run_names": data.run_names,
        "space": space_in(data.like),
        "notes": notes,
    }
