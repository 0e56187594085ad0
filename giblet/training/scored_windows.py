"""Windows with the context that a response needs, of which each TR is scored once; and which of them make a step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from giblet.data.dataset.normalise import Normaliser
from giblet.data.dataset.windows import Recording, TRWindows
from giblet.data.splits import segments


class ScoredWindows(Dataset[dict[str, Any]]):
    """Windows of ``context + window + lead`` TRs that overlap by context and lead.

    BOLD at a TR needs the stimulus of the `context` TRs before it, decoding a TR the BOLD of the `lead` TRs behind it.
    A sample is one of :class:`~giblet.data.dataset.windows.TRWindows` and ``own``, (TRs of the window,) bool: the
    rows that this window may score. Each TR is the own of one window, so that a loss over windows is one over TRs.

    Parameters
    ----------
    recordings : sequence of Recording
    trs : mapping of str to ndarray of int
        The TRs of this part of the split, by subject.
    window, context, lead : int
        In TRs.
    normalisers : mapping of str to mapping of str to Normaliser, optional
    stimulus_trs : mapping of str to ndarray of int, shape (n_trs,), optional
        By subject, the TR of the stimulus in which each row begins. A window that begins at 0 lacks no context, as
        nothing was shown before; by default none is taken to.

    Raises
    ------
    InputError
        If there is no window.

    Notes
    -----
    ``trs`` of a sample are TRs of the stimulus, -1 where the window is filled up. With :attr:`linear` a sample also has
    ``linear``, what is predicted of each TR, 0 where nothing is. Item ``~i`` is window ``i`` with no
    row to score: it gives a process that has no window in a step something to do.
    """

    linear: Mapping[str, Mapping[str, np.ndarray]]
    """By subject and modality, (n_trs, n): what a linear path predicts that was not fitted to the TR; empty without."""

    def __init__(
        self,
        recordings: Sequence[Recording],
        trs: Mapping[str, np.ndarray],
        *,
        window: int,
        context: int,
        lead: int,
        normalisers: Mapping[str, Mapping[str, Normaliser]] | None = None,
        stimulus_trs: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        self.window, self.context, self.lead = window, context, lead
        self.linear = {}
        self.windows = TRWindows(
            recordings, trs, window=context + window + lead, stride=window, normalisers=normalisers, partial="pad",
            context=context,
        )  # fmt: skip
        self.stimulus_trs = [
            np.arange(1, len(r.run) + 1) if stimulus_trs is None else stimulus_trs[r.subject] for r in recordings
        ]
        self.first = {
            (which, start)
            for which, recording in enumerate(recordings)
            for start, _ in segments(np.unique(trs[recording.subject]), recording.run)
        }

    def __len__(self) -> int:
        """How many windows."""
        return len(self.windows)

    @property
    def scorable(self) -> dict[str, int]:
        """TRs whose ``"bold"`` can be scored, and that can be scored in decoding (``"decode"``), as far as they go."""
        bold = decode = 0
        for which, start, stop in self.windows.index:
            first = (which, start) in self.first
            begins = self.stimulus_trs[which][start] == 0
            end = min(stop, start + self.context + self.window)
            bold += max(0, end - start - (0 if first and begins else self.context))
            decode += max(0, min(end, stop - self.lead) - start - (0 if first else self.context))
        return {"bold": bold, "decode": decode}

    def indices_of(self, subject: str) -> list[int]:
        """Which windows are of a subject.

        Parameters
        ----------
        subject : str

        Returns
        -------
        list of int
            Ascending; empty where there is no such subject.
        """
        return self.windows.indices_of(subject)

    def name_of(self, item: int) -> str:
        """Subject, run and TRs of a window, in words.

        Parameters
        ----------
        item : int
            ``i`` or ``~i`` for window ``i``.

        Returns
        -------
        str
            TRs count from the first row of the run.
        """
        which, start, stop = self.windows.index[item if item >= 0 else ~item]
        recording = self.windows.recordings[which]
        run = recording.run[start]
        first = int(np.argmax(recording.run == run))
        return f"subject {recording.subject}, run {run}, TRs {start - first} to {stop - 1 - first}"

    def __getitem__(self, item: int) -> dict[str, Any]:
        """One window; see the class."""
        scored, item = item >= 0, item if item >= 0 else ~item
        sample = self.windows[item]
        which, start, stop = self.windows.index[item]
        row = torch.arange(self.windows.window)
        # The context of a stretch's first window is the own of no other: what of it can be scored, this one scores.
        own = (row < self.context + self.window) & ((row >= self.context) | ((which, start) in self.first))
        sample["item"] = item
        sample["own"] = own & (row < stop - start) & scored
        sample["trs"][: stop - start] = torch.from_numpy(self.stimulus_trs[which][start:stop])
        known = self.linear.get(self.windows.recordings[which].subject, {})
        if known:
            sample["linear"] = {name: _padded(values[start:stop], len(row)) for name, values in known.items()}
        return sample


def _padded(values: np.ndarray, n: int) -> torch.Tensor:
    """`values` as `n` rows, filled up with 0."""
    filled = torch.zeros((n, *values.shape[1:]), dtype=torch.float32)
    filled[: len(values)] = torch.from_numpy(values)
    return filled


class Schedule:
    """Which windows make a step, on which process: a function of seed and step alone, so that a run can go on anywhere.

    Parameters
    ----------
    windows : ScoredWindows
    batch_size : int
        Windows per step, over all processes. A step is of one subject, as subjects differ in voxels.
    seed : int
    rank, world : int
        This process, and how many there are. They share one order.
    accumulate : int
        Pieces in which a process computes its share of a step.
    """

    def __init__(
        self, windows: ScoredWindows, batch_size: int, seed: int, *, rank: int = 0, world: int = 1, accumulate: int = 1
    ) -> None:
        subjects = [recording.subject for recording in windows.windows.recordings]
        self.of_subject = [np.array(windows.indices_of(s)) for s in subjects if windows.indices_of(s)]
        self.batch_size, self.seed, self.rank, self.world, self.accumulate = batch_size, seed, rank, world, accumulate
        self.steps_per_epoch = sum(-(-len(own) // batch_size) for own in self.of_subject)

    def epoch(self, number: int) -> list[np.ndarray]:
        """The steps of an epoch: every window once, in an order that seed and number decide.

        Parameters
        ----------
        number : int
            Of the epoch, from 0.

        Returns
        -------
        list of ndarray of int64
            The windows of each step, those of all processes.
        """
        rng = np.random.default_rng([self.seed, number])
        steps = []
        for own in self.of_subject:
            order = rng.permutation(own)
            steps += [order[at : at + self.batch_size] for at in range(0, len(order), self.batch_size)]
        return [steps[i] for i in rng.permutation(len(steps))]

    def share(self, step: np.ndarray) -> list[list[int]]:
        """What this process computes of a step, in pieces of at least one window.

        Parameters
        ----------
        step : ndarray of int64
            The windows of the step, as :meth:`epoch` gives them.

        Returns
        -------
        list of list of int
            The windows of each piece; where there is none for this process, ``~i`` of one that has no row to score.
        """
        own = step[self.rank :: self.world].tolist() or [~int(step[0])]
        return [piece.tolist() for piece in np.array_split(own, min(self.accumulate, len(own)))]

    def steps(self, first: int, last: int) -> Iterator[list[list[int]]]:
        """The pieces of this process for each step from `first` up to, not including, `last`.

        Parameters
        ----------
        first, last : int
            Steps from the beginning of the run, from 0.

        Yields
        ------
        list of list of int
            As :meth:`share`.
        """
        for number in range(first // self.steps_per_epoch, -(-last // self.steps_per_epoch)):
            start = number * self.steps_per_epoch
            for step in self.epoch(number)[max(0, first - start) : last - start]:
                yield self.share(step)

    def in_order(self) -> list[list[int]]:
        """All windows once, in order, in batches of a process's size: this process's part of them, for validation.

        Returns
        -------
        list of list of int
            The windows of each batch, all of one subject.
        """
        size = max(1, self.batch_size // (self.world * self.accumulate))
        batches = [own[at : at + size].tolist() for own in self.of_subject for at in range(0, len(own), size)]
        return batches[self.rank :: self.world]
