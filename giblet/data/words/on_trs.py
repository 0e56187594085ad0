"""Rows of timed text laid on the volumes of a scan: means of their vectors, and regressors of their words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from giblet.data.words.spoken import words_in
from giblet.data.words.subtitles import Segment
from giblet.errors import InputError
from giblet.spans import shares, tr_of
from giblet.timing import TRGrid, exact

INSTANT = Fraction(1, 1000)
"""Seconds that an event without a length weighs in a mean: all where it is alone, next to nothing beside others."""


def _on_grid(start: Fraction, end: Fraction, grid: TRGrid) -> list[tuple[int, Fraction]]:
    """TRs of the grid that a span touches, and its seconds in each."""
    return list(shares(max(start, Fraction(0)), min(end, grid.duration), exact(grid.tr)))


def overlap_mean(
    segments: Sequence[Segment], vectors: np.ndarray, grid: TRGrid, gaps: str = "zero"
) -> tuple[np.ndarray, np.ndarray]:
    """Mean of vectors by TR, weighted by the seconds for which each segment overlaps it.

    A segment without a length weighs :data:`INSTANT` in the TR of its onset.

    Parameters
    ----------
    segments : sequence of Segment
        Seconds from TR 0.
    vectors : ndarray of float32, shape (n_segments, dim)
    grid : TRGrid
    gaps : {"zero", "hold"}
        TRs without a segment: 0, or the value of the last TR that had one.

    Returns
    -------
    mean : ndarray of float32, shape (n_trs, dim)
    mask : ndarray of bool, shape (n_trs,)
        Which TRs a segment overlaps.

    Raises
    ------
    InputError
        If `gaps` is neither.
    """
    if gaps not in ("zero", "hold"):
        raise InputError(f"gaps is {gaps!r}; expected 'zero' or 'hold'")
    tr = exact(grid.tr)
    mean, total = np.zeros((grid.n_trs, vectors.shape[1])), np.zeros(grid.n_trs)
    for row, vector in zip(segments, vectors, strict=True):
        parts = _on_grid(row.onset, row.offset, grid)
        if row.offset == row.onset and 0 <= row.onset < grid.duration:
            parts = [(tr_of(row.onset, tr), INSTANT)]
        for k, seconds in parts:
            mean[k] += float(seconds) * vector
            total[k] += float(seconds)
    mask = total > 0
    mean[mask] /= total[mask, None]
    if gaps == "hold":
        last = np.maximum.accumulate(np.where(mask, np.arange(grid.n_trs), -1))
        mean[last >= 0] = mean[last[last >= 0]]
    return mean.astype(np.float32), mask


def word_series(segments: Sequence[Segment], grid: TRGrid) -> tuple[dict[str, np.ndarray], int]:
    """Regressors of words by TR, and how many words begin outside the grid.

    Parameters
    ----------
    segments : sequence of Segment
        Seconds from TR 0.
    grid : TRGrid

    Returns
    -------
    series : dict of str to ndarray, shape (n_trs,)
        ``word_rate``, ``character_rate``, ``word_length`` and ``speech_fraction`` float32, ``onset_count`` int32; see
        :meth:`giblet.data.text.TextProcessor.extract`.
    outside : int

    See Also
    --------
    overlap_mean : The vectors of the segments by TR.
    """
    tr = exact(grid.tr)
    words, letters, onsets = (np.zeros(grid.n_trs, np.int64) for _ in range(3))
    speech = [Fraction(0)] * grid.n_trs
    outside, spoken = 0, Fraction(0)
    for row in sorted(segments, key=lambda row: row.onset):
        k = tr_of(row.onset, tr)
        if 0 <= k < grid.n_trs:
            onsets[k] += 1
        found = words_in(row.text)
        for index, word in enumerate(found):
            k = tr_of(row.onset + (row.offset - row.onset) * Fraction(index, len(found)), tr)
            if 0 <= k < grid.n_trs:
                words[k] += 1
                letters[k] += len(re.findall(r"[^\W_]", word))
            else:
                outside += 1
        for k, seconds in _on_grid(max(row.onset, spoken), row.offset, grid):  # what overlaps is spoken once
            speech[k] += seconds
        spoken = max(spoken, row.offset)
    length = np.divide(letters, words, out=np.zeros(grid.n_trs), where=words > 0)
    return {
        "word_rate": (words / float(tr)).astype(np.float32),
        "onset_count": onsets.astype(np.int32),
        "character_rate": (letters / float(tr)).astype(np.float32),
        "word_length": length.astype(np.float32),
        "speech_fraction": np.array([float(seconds / tr) for seconds in speech], np.float32),
    }, outside
