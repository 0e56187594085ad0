"""Which TRs of a study are training, validation and test, and what is to be said of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np

from giblet.data.dataset.stimulus_split import ShownRun, StimulusSplit, alone, leaked, split_stimulus
from giblet.data.dataset.windows import Recording
from giblet.data.splits import Splits, make_splits
from giblet.data.study_settings import DataSettings, SubjectSettings
from giblet.errors import InputError

Notes = dict[str, list[str]]
"""By subject what is to be said of its split; under "" of that of all."""


def split_study(
    data: DataSettings, recordings: Sequence[Recording], shown: Mapping[str, Sequence[ShownRun]], min_trs: int
) -> tuple[dict[str, Splits], Notes]:
    """Splits by subject: of the stimulus for all, or of each subject alone, as the settings say.

    Parameters
    ----------
    data : DataSettings
    recordings : sequence of Recording
    shown : mapping of str to sequence of ShownRun
        What was shown in the runs of each subject.
    min_trs : int
        The least length of a part, TRs.

    Returns
    -------
    splits : dict of str to Splits
        By subject.
    notes : dict of str to list of str
        By subject what is to be said of its split; under ``""`` of that of all.

    Raises
    ------
    InputError
        If too little is left of a part, or a run that is cut was cleaned as a whole.
    """
    tr = recordings[0].tr

    def cut(run: np.ndarray) -> Splits:
        return make_splits(len(run), tr, run, data.fractions, data.gap, whole_runs=data.whole_runs, min_trs=min_trs)

    if data.split == "stimulus":
        with _of(f"subject {recordings[0].subject}" if len(recordings) == 1 else "the stimulus of all subjects"):
            found = split_stimulus(shown, tr, cut, min_trs=min_trs)
        splits, notes = found.splits, _notes_of_stimulus(found, shown)
    else:
        splits = {}
        for one in recordings:
            with _of(f"subject {one.subject}"):
                splits[one.subject] = cut(one.run)
        notes = {
            name: [
                f"{n} of {len(splits[name].val) + len(splits[name].test)} validation and test TRs show film of "
                "training, of this or another subject: scores are too good (data.split)"
            ]
            for name, n in leaked(shown, tr, splits).items()
        }
    for subject, recording in zip(data.subjects, recordings, strict=True):
        if is_cleaned(subject):
            check_cleaned_apart(subject.name, recording.run, splits[subject.name])
    return splits, notes


def moments_of(shown: Sequence[ShownRun], run: np.ndarray, tr: float) -> np.ndarray:
    """Which film each row shows, and where in it.

    Parameters
    ----------
    shown : sequence of ShownRun
        What was shown in the runs, in their order.
    run : ndarray of int, shape (n_trs,)
        Run of each row.
    tr : float
        Repetition time in seconds.

    Returns
    -------
    ndarray of float64, shape (n_trs, 2)
        Number of the film, and TRs since where its first run began. Runs that have a file in common show one film.
    """
    found, begun = np.zeros((len(run), 2)), list[tuple[float, float]]()
    for number, (own, label) in enumerate(zip(shown, dict.fromkeys(run.tolist()), strict=True)):
        begins = (float(number), 0.0)
        for earlier, (film, place) in zip(shown, begun, strict=False):
            later = own.rows_before(earlier, tr)
            if later is not None:
                begins = (film, place + later)
                break
        begun.append(begins)
        rows = np.flatnonzero(run == label)
        found[rows, 0], found[rows, 1] = begins[0], begins[1] + np.arange(len(rows))
    return found


def _notes_of_stimulus(found: StimulusSplit, shown: Mapping[str, Sequence[ShownRun]]) -> Notes:
    notes: Notes = {"": [], **{name: [] for name in shown}}
    for part, n in found.moved.items():
        notes[""].append(
            f"{n} TRs of the stimulus that would be {part} show film of an earlier part too: they count as it"
        )
    for name, n in found.left_out.items():
        notes[name].append(f"{n} TRs are left out, as their BOLD answers to film of two parts")
    for name, own in found.splits.items():
        for part in ("val", "test"):
            if not len(getattr(own, part)) and any(len(getattr(other, part)) for other in found.splits.values()):
                notes[name].append(f"saw no film of {part}, and is not scored on it")
    for name in alone(shown):
        notes[name].append(
            "saw runs that nobody else saw, and lacks runs of others: if they show the same film, name the same "
            "feature files, as films are known by them"
        )
    return {name: told for name, told in notes.items() if told}


@contextmanager
def _of(which: str) -> Iterator[None]:
    try:
        yield
    except InputError as exc:
        raise InputError(f"{which}: {exc}") from exc


def is_cleaned(subject: SubjectSettings) -> bool:
    """Whether something is fitted to whole runs of the subject.

    Parameters
    ----------
    subject : SubjectSettings

    Returns
    -------
    bool
        True with `detrend`, `high_pass`, `confound_columns` or `confound_strategy`.
    """
    return bool(subject.detrend or subject.high_pass or subject.confound_columns or subject.confound_strategy)


def check_cleaned_apart(subject: str, runs: np.ndarray, splits: Splits) -> None:
    """Refuse cleaning where the split cuts within a run: it fits all volumes of a run at once.

    Parameters
    ----------
    subject : str
    runs : ndarray of int, shape (n_trs,)
        Run of each TR.
    splits : Splits

    Raises
    ------
    InputError
        If a run has TRs of several parts.
    """
    for run in np.unique(runs):
        rows = np.flatnonzero(runs == run)
        parts = [p for p in ("train", "gap", "val", "test") if np.isin(getattr(splits, p), rows).any()]
        if len(parts) > 1:
            raise InputError(
                f"subject {subject}: run {run} is cut into {', '.join(parts[:-1])} and {parts[-1]}, and detrend, "
                "high_pass and confounds would fit all its volumes at once, so that training would know of the "
                "rest; set data.whole_runs: true, or clean the parts of the run beforehand, each by itself"
            )
