"""Which TRs of a study are training, validation and test, and what is to be said of it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np

from giblet.data.dataset import Recording
from giblet.data.splits import Splits, make_splits
from giblet.data.stimulus_split import Shown, alone, leaked, split_stimulus
from giblet.errors import InputError
from giblet.training.settings import DataSettings

log = logging.getLogger(__name__)


def split_study(
    data: DataSettings, recordings: Sequence[Recording], shown: Mapping[str, Sequence[Shown]], min_trs: int
) -> dict[str, Splits]:
    """Splits by subject: of the stimulus for all, or of each subject alone, as the settings say. What it costs is told.

    Parameters
    ----------
    data : DataSettings
    recordings : sequence of Recording
    shown : mapping of str to sequence of Shown
        What was shown in the runs of each subject.
    min_trs : int
        The least length of a part, TRs.

    Raises
    ------
    InputError
        If too little is left of a part, or a run that is cut was cleaned as a whole.
    """
    splits = _splits(data, recordings, shown, min_trs)
    for subject, recording in zip(data.subjects, recordings, strict=True):
        if subject.detrend or subject.high_pass or subject.confound_columns:
            _check_cleaned_apart(subject.name, recording.run, splits[subject.name])
    return splits


def _splits(
    data: DataSettings, recordings: Sequence[Recording], shown: Mapping[str, Sequence[Shown]], min_trs: int
) -> dict[str, Splits]:
    tr = recordings[0].tr

    def cut(run: np.ndarray) -> Splits:
        return make_splits(
            len(run), tr, run, data.fractions, data.gap, whole_runs=data.whole_runs, min_trs=min_trs
        )  # fmt: skip

    if data.split == "subject":
        splits = {}
        for one in recordings:
            with _of(f"subject {one.subject}"):
                splits[one.subject] = cut(one.run)
        for name, n in leaked(shown, tr, splits).items():
            held_out = len(splits[name].val) + len(splits[name].test)
            log.warning(
                "subject %s: %d of %d validation and test TRs show film that is in training, of this or another subject: "
                "their scores are too good; see data.split", name, n, held_out,
            )  # fmt: skip
        return splits
    with _of(f"subject {recordings[0].subject}" if len(recordings) == 1 else "the stimulus of all subjects"):
        found = split_stimulus(shown, tr, cut, min_trs=min_trs)
    for part, n in found.moved.items():
        log.warning(
            "%d TRs of the stimulus that would be %s show film of an earlier part too, and count as that", n, part
        )
    for name, n in found.left_out.items():
        log.warning("subject %s: %d TRs are in no part, as their BOLD answers to film of two parts", name, n)
    for name, own in found.splits.items():
        if absent := [part for part in ("val", "test") if not len(getattr(own, part)) and data.fractions[1]]:
            log.warning("subject %s saw no film of %s, and is not scored on it", name, " and ".join(absent))
    for name in alone(shown):
        log.warning(
            "subject %s saw runs that nobody else saw, and lacks runs of others: if these show the same film, name the "
            "same feature files, as films are known by them", name,
        )  # fmt: skip
    return found.splits


@contextmanager
def _of(which: str) -> Iterator[None]:
    try:
        yield
    except InputError as exc:
        raise InputError(f"{which}: {exc}") from exc


def _check_cleaned_apart(subject: str, runs: np.ndarray, splits: Splits) -> None:
    """Refuse cleaning where the split cuts within a run: it fits all volumes of a run at once."""
    for run in np.unique(runs):
        rows = np.flatnonzero(runs == run)
        parts = [p for p in ("train", "gap", "val", "test") if np.isin(getattr(splits, p), rows).any()]
        if len(parts) > 1:
            raise InputError(
                f"subject {subject}: run {run} is cut into {', '.join(parts[:-1])} and {parts[-1]}, and detrend, "
                "high_pass and confound_columns would fit all its volumes at once, so that training would know of the "
                "rest; set data.whole_runs: true, or clean the parts of the run beforehand, each by itself"
            )
