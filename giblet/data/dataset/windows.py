"""Windows of TRs across modalities, for training with torch: read from disk as they are needed.

A sample says of every value whether it is data. ``sample["mask"][name]`` is False for TRs that the film does not
cover, that fill up a last window, and for all TRs of a modality that the subject does not have; the numbers there are
0 and mean nothing. A loss must leave them out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from giblet.data.dataset.normalise import Normaliser, present_rows
from giblet.data.dataset.series import Series, Source
from giblet.data.splits import segments
from giblet.errors import AlignmentError, InputError
from giblet.features import CODES, CONTINUOUS
from giblet.renamed import renamed
from giblet.runs import run_labels
from giblet.timing import check_tr, same_tr, shown, volumes_at


@dataclass(frozen=True)
class Recording:
    """What one subject saw, heard and answered with, on one clock; make it with :meth:`of`."""

    subject: str
    series: Mapping[str, Series]
    tr: float
    """Seconds."""
    run: np.ndarray
    """Run of each TR, (n_trs,)."""

    @classmethod
    @renamed(runs="run")
    def of(
        cls,
        subject: str,
        sources: Mapping[str, Source | Series],
        *,
        tr: float | None = None,
        run: Any = None,
    ) -> Recording:
        """A recording from files or arrays that lie on the same TRs (:func:`giblet.alignment.align_all_modalities`).

        Parameters
        ----------
        subject : str
        sources : mapping of str to path, array, Dataset or Series
            By modality, such as ``{"audio": "film_desc-encodec24k_features.nc", "bold": "sub-01_bold.nc"}``, or
            ``{**aligned.features, "bold": aligned.bold}``.
        tr : float, optional
            Repetition time in seconds; needed if no source says it.
        run : array_like, shape (n_trs,), optional
            A run label per TR; by default what the sources say, or one run.

        Returns
        -------
        Recording

        Raises
        ------
        InputError
            If there is no source, no TR or one that cannot be used, a file cannot be read, `run` is not one label per
            TR, or a run comes in pieces.
        AlignmentError
            If sources differ in length, TR, runs or volumes, or volumes are missing between those of a run.
        """
        series = {name: s if isinstance(s, Series) else Series(s) for name, s in sources.items()}
        if not series:
            raise InputError(f"subject {subject} has no data: name at least one source")
        lengths = {name: len(s) for name, s in series.items()}
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"{name} {n}" for name, n in lengths.items())
            raise AlignmentError(
                f"subject {subject}: TRs differ ({told}); put them on one clock with align_all_modalities, and pass "
                "Recording.of {**aligned.features, 'bold': aligned.bold}"
            )
        said = {name: s.tr for name, s in series.items() if s.tr is not None}
        trs = [*([] if tr is None else [float(check_tr(tr))]), *said.values()]
        if not trs or not all(same_tr(one, trs[0]) for one in trs):
            told = ", ".join(f"{name} {shown(t)} s" for name, t in said.items())
            raise (AlignmentError if trs else InputError)(
                f"subject {subject}: the TR is {'contradictory: ' + told if trs else 'unknown; pass tr in seconds'}"
                + (f", tr is {tr} s" if trs and tr is not None else "")
            )
        n_trs = next(iter(lengths.values()))
        labels = [s.run for s in series.values() if s.run is not None]
        if run is not None:
            labels.insert(0, np.asarray(run))
        if any(not np.array_equal(labels[0], other) for other in labels[1:]):
            raise AlignmentError(f"subject {subject}: the runs of its sources differ")
        checked = run_labels(n_trs, labels[0] if labels else None)
        _check_volumes(subject, series, checked, trs[0])
        return cls(subject, series, trs[0], checked)


def _check_volumes(subject: str, series: Mapping[str, Series], run: np.ndarray, tr: float) -> None:
    """Refuse rows of different volumes, and windows that would close up over volumes that are missing."""
    known = {name: s.volume for name, s in series.items() if s.volume is not None}
    known |= {
        name: volumes_at(s.onset, tr, run, f"{name} of subject {subject}")
        for name, s in series.items()
        if s.is_bold and s.onset is not None
    }
    _check_onsets(subject, series, run, tr)
    for name, volume in known.items():
        first = next(iter(known))
        if not np.array_equal(volume, known[first]):
            raise AlignmentError(f"subject {subject}: {name} and {first} are of different volumes: align them together")
        hole = np.flatnonzero((np.diff(volume) != 1) & (run[1:] == run[:-1]))
        if hole.size:
            at = int(hole[0])
            raise AlignmentError(
                f"subject {subject}: rows {at} and {at + 1} are volumes {volume[at]} and {volume[at + 1]}, and windows "
                "would take them for neighbours: align with on_holes='keep', which leaves the place of volumes that "
                "are not used and marks them as absent"
            )


def _check_onsets(subject: str, series: Mapping[str, Series], run: np.ndarray, tr: float) -> None:
    """Refuse features with TRs taken out, and beside BOLD that begins later features that do not."""
    late = {name: float(s.onset[0]) for name, s in series.items() if s.is_bold and s.onset is not None and s.onset[0]}
    for name, s in series.items():
        if s.onset is None or s.is_bold:
            continue
        hole = np.flatnonzero((np.abs(np.diff(s.onset) - tr) > 1e-3 * tr) & (run[1:] == run[:-1]))
        if hole.size:
            at = int(hole[0])
            raise AlignmentError(
                f"subject {subject}: rows {at} and {at + 1} of {name} begin at {s.onset[at]:g} and "
                f"{s.onset[at + 1]:g} s, and windows would take them for neighbours; pass all TRs between, or run= if "
                "a run begins there"
            )
        for bold, begins in late.items():
            if abs(float(s.onset[0]) - begins) > 1e-3 * tr:
                raise AlignmentError(
                    f"subject {subject}: {bold} begins {begins:g} s into its run, {name} at second {s.onset[0]:g} of "
                    "the film, and rows would be paired as they come: put both on one clock with align_all_modalities, "
                    f"where stimulus_time_at_volume_0={s.onset[0] - begins:g} says that they do belong together"
                )


Trs = np.ndarray | Mapping[str, np.ndarray]
"""TR indices for all recordings, or by subject."""


def fit_normalisers(
    recordings: Sequence[Recording], trs: Trs, *, centre_runs: bool = False
) -> dict[str, dict[str, Normaliser]]:
    """Normalisers of all continuous series, by subject and modality, fitted on training TRs.

    Parameters
    ----------
    recordings : sequence of Recording
    trs : ndarray of int, or mapping of str to ndarray of int
        Training TRs, of all recordings or by subject; nothing else is read.
    centre_runs : bool
        Normalise about the level of each run instead of one mean: scanners give every run a baseline of its own.

    Returns
    -------
    dict of str to dict of str to Normaliser
        By subject, then by modality; series of codes have none.

    Raises
    ------
    InputError
        If a subject has no TRs or not those, a training TR is NaN or infinite in part, or fewer than 2 hold data.
    """
    return {
        recording.subject: {
            name: Normaliser.fit(series, _trs_of(trs, recording), recording.run if centre_runs else None)
            for name, series in recording.series.items()
            if series.kind == CONTINUOUS
        }
        for recording in recordings
    }


def _trs_of(trs: Trs, recording: Recording) -> np.ndarray:
    if isinstance(trs, Mapping):
        if recording.subject not in trs:
            raise InputError(f"there are TRs for {', '.join(trs)}, none for subject {recording.subject}: add them")
        trs = trs[recording.subject]
    chosen = np.unique(np.asarray(trs, dtype=np.int64))
    if len(chosen) and (chosen[0] < 0 or chosen[-1] >= len(recording.run)):
        raise InputError(
            f"TRs {chosen[0]} to {chosen[-1]} are chosen; expected 0 to {len(recording.run) - 1}, those of "
            f"{recording.subject}"
        )
    return chosen


class TRWindows(Dataset[dict[str, Any]]):
    """Windows of successive TRs, within one part of the scan and within one run.

    Parameters
    ----------
    recordings : sequence of Recording
        One per subject.
    trs : ndarray of int, or mapping of str to ndarray of int
        The TRs of this part, as ``make_splits(...).train``, of all recordings or by subject.
    window : int
        TRs per window.
    stride : int, optional
        TRs from one window to the next; by default `window`, so that none overlap.
    normalisers : mapping, optional
        As :func:`fit_normalisers` gives them.
    partial : {"drop", "pad"}
        What becomes of the TRs behind the last whole window of a stretch: left out, or a window filled up with
        TRs that are masked. Pad to evaluate every TR, or in a stretch shorter than one window.
    context : int
        TRs at the start of a window that only lead up to the others. Behind the first window of a stretch, one that
        would hold nothing else is left out.

    Raises
    ------
    InputError
        If an option is out of range, a subject comes twice, or no window fits.

    See Also
    --------
    giblet.data.splits.make_splits : Choose the TRs of training, validation and test.

    Notes
    -----
    A sample is a dict: ``data`` and ``mask`` by modality, (window, ...) float32, int32 for codes, and (window,) bool;
    ``trs`` (window,) int64, -1 where filled up; ``subject`` and ``run``, int64, the subject's place in `recordings`.
    Subjects with different numbers of voxels cannot share a batch: take the indices of one subject
    (:meth:`indices_of`) at a time.
    """

    def __init__(
        self,
        recordings: Sequence[Recording],
        trs: Trs,
        *,
        window: int = 1,
        stride: int | None = None,
        normalisers: Mapping[str, Mapping[str, Normaliser]] | None = None,
        partial: str = "drop",
        context: int = 0,
    ) -> None:
        stride = window if stride is None else stride
        if window < 1 or stride < 1:
            raise InputError(f"window is {window}, stride {stride}; expected whole numbers of at least 1 TR")
        if not 0 <= context < window:
            raise InputError(f"context is {context}: 0 to {window - 1} of the window's {window} TRs are allowed")
        if partial not in ("drop", "pad"):
            raise InputError(f"partial is {partial!r}; expected 'drop' or 'pad'")
        subjects = [recording.subject for recording in recordings]
        if len(set(subjects)) < len(subjects):
            raise InputError(f"a subject is listed twice in {', '.join(subjects)}; join its runs into one recording")
        self.recordings, self.window = list(recordings), window
        self.normalisers = normalisers or {}
        self.shapes: dict[str, tuple[tuple[int, ...], str]] = {}
        for recording in recordings:
            for name, series in recording.series.items():
                kind = self.shapes.setdefault(name, (series.shape[1:], series.kind))[1]
                if kind != series.kind:
                    raise InputError(
                        f"{name} holds {kind} values for one subject, {series.kind} for {recording.subject}: give all "
                        "subjects features of one kind"
                    )
        self.index: list[tuple[int, int, int]] = []
        self._by_run = [self._of_runs(recording, _trs_of(trs, recording)) for recording in recordings]
        for which, recording in enumerate(recordings):
            for start, stop in segments(_trs_of(trs, recording), recording.run):
                last = stop if partial == "pad" else stop - window + 1
                starts = (at for at in range(start, last, stride) if at == start or at + context < stop)
                self.index += [(which, at, min(at + window, stop)) for at in starts]
        if not self.index:
            raise InputError(f"no window of {window} TRs fits: shorten it, or choose partial='pad'")

    def _of_runs(self, recording: Recording, trs: np.ndarray) -> dict[str, dict[int, Normaliser]]:
        """By modality and run, what normalises it."""
        own = self.normalisers.get(recording.subject, {})
        return {
            name: own[name].by_run(series, trs, recording.run)
            for name, series in recording.series.items()
            if name in own
        }

    def __len__(self) -> int:
        """How many windows."""
        return len(self.index)

    def indices_of(self, subject: str) -> list[int]:
        """Which windows are of this subject, for ``torch.utils.data.Subset`` or a sampler.

        Parameters
        ----------
        subject : str

        Returns
        -------
        list of int
            Empty if there is no such subject.
        """
        return [i for i, (which, _, _) in enumerate(self.index) if self.recordings[which].subject == subject]

    def __getitem__(self, item: int) -> dict[str, Any]:
        """One window; see the class."""
        which, start, stop = self.index[item]
        recording = self.recordings[which]
        data, mask = {}, {}
        for name, (shape, kind) in self.shapes.items():
            series = recording.series.get(name)
            if series is not None:
                shape = series.shape[1:]
            values = np.zeros((self.window, *shape), np.int32 if kind == CODES else np.float32)
            present = np.zeros(self.window, bool)
            if series is not None:
                rows, there = present_rows(series, start, stop)
                by_run = self._by_run[which].get(name)
                present[: len(rows)] = there
                values[present] = by_run[int(recording.run[start])](rows[there]) if by_run else rows[there]
            data[name], mask[name] = torch.from_numpy(values), torch.from_numpy(present)
        trs = torch.full((self.window,), -1, dtype=torch.int64)
        trs[: stop - start] = torch.arange(start, stop)
        return {"data": data, "mask": mask, "trs": trs, "subject": which, "run": int(recording.run[start])}
