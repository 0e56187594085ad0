"""Several subjects of one film: the test of their mean, and the ceiling of what they share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from giblet.data.bold.brain_rows import ROWS
from giblet.encoding import GroupTest, ceiling_ratio, intersubject_correlation, reachable, rotation_test_group
from giblet.encoding.rotation_cv import group_of
from giblet.encoding.settings import EncodeSettings
from giblet.errors import InputError
from giblet.files import read_npz
from giblet.pipeline.encoding_data import Moment
from giblet.pipeline.encoding_files import SubjectEncoding, places_of, read_stats, write_maps, write_scores, write_stats
from giblet.statistics.correction import false_discovery_q, fisher_z
from giblet.statistics.rotations import too_short

LABEL = "group_desc-encoding"
BY_ROTATION = ("r_by_rotation", "white_by_rotation")
"""Of a subject's kept files, correlations for each rotation of the BOLD."""


@dataclass(frozen=True, repr=False)
class GroupEncoding:
    """What was found in the mean of the subjects."""

    folder: Path
    summary: dict[str, Any]

    @cached_property
    def stats(self) -> pd.DataFrame:
        """All scores, a row for each voxel or region."""
        return read_stats(self.folder / f"{LABEL}_stats.tsv")

    @property
    def files(self) -> tuple[Path, ...]:
        """What was written."""
        return tuple(self.folder / name for name in self.summary["files"])

    def __repr__(self) -> str:
        return f"<GroupEncoding of {self.summary['n_subjects']} subjects, {self.summary['n_trs']} TRs of all>"


@dataclass(frozen=True)
class _Common:
    """Held-out BOLD and predictions of the TRs that all subjects have."""

    bold: list[np.ndarray]
    predicted: list[np.ndarray]
    stretches: np.ndarray
    tr: float
    refitted: list[dict[str, np.ndarray]]
    """Of each subject its correlations by rotation, where the BOLD of all was rotated by the same TRs of one film."""


def encode_group(settings: EncodeSettings, subjects: Sequence[SubjectEncoding]) -> GroupEncoding:
    """Test the mean over subjects, and see how much of their BOLD they share, as the settings ask.

    Parameters
    ----------
    settings : EncodeSettings
    subjects : sequence of SubjectEncoding
        With their held-out predictions beside them.

    Returns
    -------
    GroupEncoding

    Raises
    ------
    InputError
        If there are fewer than two, they have other voxels or regions, or no test TRs in common.
    """
    if len(subjects) < 2:
        raise InputError(f"{len(subjects)} subject is left: a group test and inter-subject correlation need two")
    common = _common(subjects)
    tested = np.all([np.isfinite(one).all(0) for one in (*common.bold, *common.predicted)], axis=0)
    bold, predicted = ([one[:, tested] for one in side] for side in (common.bold, common.predicted))
    lengths = np.unique(common.stretches, return_counts=True)[1].tolist()
    folds = settings.data.folds is not None  # which are fitted anew, while their stretches are not rotated
    if (not folds or settings.ceiling == "intersubject") and (why := too_short(lengths, common.tr, settings.high_pass)):
        raise InputError(f"subjects cannot be compared: {why}")
    options: dict[str, Any] = {"tr": common.tr, "run": common.stretches, "high_pass": settings.high_pass}
    columns: dict[str, Any] = dict(places_of(subjects[0].stats))
    summary: dict[str, Any] = {"n_subjects": len(subjects), "n_trs": len(common.stretches), "notes": []}
    if len(tested) > tested.sum():
        summary["notes"].append(f"{int((~tested).sum())} of {len(tested)} columns are not there in all subjects")
    unit = subjects[0].summary["unit"]
    if settings.group:
        if not folds:
            test = rotation_test_group(bold, predicted, **options, seed=settings.seed)
            found, told = _tested(test, len(bold[0]), unit)
        elif common.refitted:
            plain, white = ([one[name][:, tested] for one in common.refitted] for name in BY_ROTATION)
            pooled = [one["pooled_by_rotation"] for one in common.refitted]
            test = group_of(list(zip(plain, white, strict=True)), pooled)
            found, told = _tested(test, len(bold[0]), unit)
        else:
            found, told = _untested(subjects, tested)
        columns |= {name: _spread(values, tested) for name, values in found.items()}
        summary["notes"].append(told.pop("note"))
        summary |= told
    if settings.ceiling == "intersubject":
        shared = intersubject_correlation(bold, **options)
        assert shared.p is not None
        summary["notes"].append(shared.summary(unit))
        found = {"ceiling": shared.lower, "ceiling_upper": shared.upper, "ceiling_p": shared.p,
                 "ceiling_q": false_discovery_q(shared.p)}  # fmt: skip
        columns |= {name: _spread(values, tested) for name, values in found.items()}
        if settings.group:
            columns["ratio"] = ceiling_ratio(columns["r"], columns["ceiling"], columns["ceiling_p"])
    stats = pd.DataFrame(columns)
    summary["files"] = _written(settings, subjects, stats)
    if settings.ceiling == "intersubject":
        _give_ceiling(settings, subjects, stats)
    return GroupEncoding(settings.output, summary)


def _tested(test: GroupTest, n_trs: int, unit: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Maps of a group test, and what the summary says of it."""
    agreement = test.agreement()
    found = {"r": test.r, "p": test.p, "q": test.q, "p_fwe": test.p_fwe, "agreement_t": agreement.t}
    return found, {
        "mean_r": test.mean, "mean_p": test.mean_p, "threshold_fwe": test.threshold_fwe,
        "n_q": int(np.nansum(test.q <= 0.05)), "n_fwe": int(np.nansum(test.p_fwe <= 0.05)),
        "agreement_tests": agreement.tests, "agreement_table": agreement.table(),
        "note": reachable(test, n_trs=n_trs, unit=unit).message,
    }  # fmt: skip


def _untested(subjects: Sequence[SubjectEncoding], tested: np.ndarray) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The mean over subjects without a p, where folds cannot be fitted anew for all subjects at once."""
    r = np.tanh(np.mean([fisher_z(one.stats["r"].to_numpy(np.float64)[tested]) for one in subjects], axis=0))
    absent = np.full(len(r), np.nan)
    return {"r": r, "p": absent, "q": absent, "p_fwe": absent}, {
        "mean_r": float(np.nanmean(r)) if np.isfinite(r).any() else None,
        "mean_p": None, "threshold_fwe": None, "n_q": None, "n_fwe": None,
        "note": "there is no group p: with data.folds the BOLD of all subjects is rotated by the same TRs and fitted "
        "anew, for which they need the same TRs of the same film in the same runs, long enough to be rotated: leave "
        "out the runs or TRs that some lack, or give test runs (part: test) or fractions in place of folds",
    }  # fmt: skip


def _spread(values: np.ndarray, tested: np.ndarray) -> np.ndarray:
    found = np.full(len(tested), np.nan)
    found[tested] = values
    return found


def _common(subjects: Sequence[SubjectEncoding]) -> _Common:
    """Rows of one film that all subjects have in their test, each at its place in the film."""
    kept = [read_npz(subject.path("heldout.npz"), "compute it again (overwrite=True)") for subject in subjects]
    n_columns = {one["bold"].shape[1] for one in kept}
    names = [subject.stats["region"].tolist() for subject in subjects if "region" in subject.stats]
    rows = {subject.summary["space"].get(ROWS) for subject in subjects}
    if len(n_columns) > 1 or any(own != names[0] for own in names) or len(rows) > 1:
        told = ", ".join(f"{s.name} {one['bold'].shape[1]}" for s, one in zip(subjects, kept, strict=True))
        raise InputError(
            f"subjects have other voxels or regions ({told}): group and ceiling: intersubject need one space, such as "
            "a standard one with one mask"
        )
    moments = [_moments(one) for one in kept]
    places: list[dict[Moment, int]] = [{} for _ in kept]
    for own, rows_of in zip(moments, places, strict=True):
        for row, several in enumerate(own):
            for moment in several:
                rows_of.setdefault(moment, row)
    shared: dict[Moment, int] = {}
    for row, several in enumerate(moments[0]):
        known = next((moment for moment in sorted(several) if all(moment in other for other in places)), None)
        if known is not None:
            shared.setdefault(known, row)
    if not shared:
        raise InputError(
            "subjects have no test TRs of one film in common: give those who saw the same film the same feature files, "
            "or leave out group and ceiling: intersubject"
        )
    at = [np.array([own[moment] for moment in shared]) for own in places]
    labels = np.stack([one["stretches"][own] for one, own in zip(kept, at, strict=True)])
    breaks = np.flatnonzero((np.diff(labels, axis=1) != 0).any(axis=0)) + 1
    stretches = np.zeros(len(shared), np.int64)
    stretches[breaks] = 1
    return _Common(
        [one["bold"][own] for one, own in zip(kept, at, strict=True)],
        [one["predicted"][own] for one, own in zip(kept, at, strict=True)],
        np.cumsum(stretches), float(kept[0]["tr"]), _jointly_refitted(kept, moments),
    )  # fmt: skip


def _moments(kept: dict[str, np.ndarray]) -> list[set[Moment]]:
    """Of each row of a subject's kept file what it shows, by each file of its run."""
    n_rows = len(kept["bold"])
    pairs = zip(*(kept[name].reshape(n_rows, -1).tolist() for name in ("films", "times")), strict=True)
    return [{(film, time) for film, time in zip(*own, strict=True) if film} for own in pairs]


def _jointly_refitted(
    kept: Sequence[dict[str, np.ndarray]], moments: Sequence[list[set[Moment]]]
) -> list[dict[str, np.ndarray]]:
    """Correlations by rotation of all subjects; none where they were not rotated by the same TRs of the same film."""
    if any(name not in one for one in kept for name in BY_ROTATION):
        return []
    alike = all(np.array_equal(one["run"], kept[0]["run"]) for one in kept)
    if not alike or not all(set.intersection(*same) for same in zip(*moments, strict=True)):
        return []
    return [{name: one[name] for name in (*BY_ROTATION, "pooled_by_rotation")} for one in kept]


def _written(settings: EncodeSettings, subjects: Sequence[SubjectEncoding], stats: pd.DataFrame) -> list[str]:
    own = next(one for one in settings.data.subjects if one.name == subjects[0].name)
    return write_scores(stats, own, subjects[0].summary["space"], settings.output, LABEL)


def _give_ceiling(settings: EncodeSettings, subjects: Sequence[SubjectEncoding], stats: pd.DataFrame) -> None:
    """The ceiling of the group beside the scores of each subject."""
    for subject in subjects:
        own = subject.stats.drop(columns=["ceiling", "ceiling_p", "ratio"], errors="ignore")
        own["ceiling"], own["ceiling_p"] = stats["ceiling"], stats["ceiling_p"]
        own["ratio"] = ceiling_ratio(own["r"].to_numpy(), own["ceiling"].to_numpy(), own["ceiling_p"].to_numpy())
        write_stats(own, subject.path("stats.tsv"))
        about = next(one for one in settings.data.subjects if one.name == subject.name)
        space = subject.summary["space"]
        write_maps(own, about, space, subject.folder, subject.label, columns=("ceiling", "ceiling_p", "ratio"))
        subject.__dict__.pop("stats", None)
