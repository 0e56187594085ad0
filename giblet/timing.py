"""The TR clock: which frames of a feature series belong to which volume of a scan, exactly, however long the scan.

One rule serves every modality: the first frame of TR ``k`` is ``floor(k * tr * frame_rate + 1/2)``, computed on
rationals. At TR 1.5 s and 75 frames/s a TR holds 112.5 frames, so TRs of 113 and 112 frames alternate: a table of
112 columns holds what all TRs have, the odd frame is kept beside it as *spill*, and nothing drifts.

To change how a TR is cut, change :data:`ROUNDING`: extraction, decoding, alignment and scores all cut by it. What has
times of its own, words and pictures, is laid on TRs without rounding, in :mod:`giblet.spans`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import count
from math import ceil, floor
from typing import Any, NamedTuple

import numpy as np

from giblet.errors import AlignmentError, InputError

Number = int | float | str | Fraction

ROUNDING = Fraction(1, 2)
"""What is added to a time in frames before it is rounded down: 1/2 cuts at the nearest frame, 0 at the one before."""

TAIL = Fraction(1, 20)
"""Seconds at the end of a film that do not count: encoders pad a sound track by up to one packet (46 ms)."""

TAIL_IN_TRS = Fraction(1, 2)
"""And no more than this share of a TR."""

LONGEST_TR = 60
"""Seconds. Scanners that wait between volumes reach some 20; what is beyond was written in milliseconds."""

LONGEST_FILM = 24 * 3600
"""Seconds that a grid may have without being asked for: times in milliseconds would fill years."""

LONGEST_NUMBER = 400
"""Characters of a number, and powers of ten: no float has more."""
SHOWN = 60
"""Characters of a number that a message shows."""
_POWER = re.compile(r"[eE]([-+]?\d+)\s*$")

SAME = 1e-5
"""Relative difference up to which two TRs are one: a hundredth of a TR after a thousand volumes."""


def exact(value: Number, what: str = "value") -> Fraction:
    """The rational number that `value` is written as: 0.72 is 18/25, not the nearest binary fraction.

    Parameters
    ----------
    value : int, float, str or Fraction
        Strings may be decimal ("1.49") or a ratio ("22050/512").
    what : str
        Name used in the error message.

    Returns
    -------
    Fraction

    Raises
    ------
    InputError
        If `value` is not a finite number.

    Examples
    --------
    >>> exact(0.72)
    Fraction(18, 25)
    """
    try:
        if isinstance(value, Fraction):
            return value
        text = str(value)
        # A few characters such as 1e999999999 would take all memory.
        if len(text) > LONGEST_NUMBER or ((power := _POWER.search(text)) and abs(int(power[1])) > LONGEST_NUMBER):
            raise ValueError("too many digits")
        number = Fraction(text)
        float(number)
        return number
    except (ValueError, ZeroDivisionError, OverflowError) as exc:
        found = repr(value)
        found = found if len(found) <= SHOWN else f"{found[:SHOWN]}..."
        raise InputError(f"{what} is {found}; expected a finite number") from exc


def check_tr(tr: Number, frame_rate: Number | None = None) -> Fraction:
    """The TR as a rational number of seconds, if it can be one.

    Parameters
    ----------
    tr : int, float, str or Fraction
        Repetition time in seconds.
    frame_rate : int, float, str or Fraction, optional
        Frames per second of a series that is to be cut into TRs.

    Returns
    -------
    Fraction
        In seconds.

    Raises
    ------
    InputError
        If it is no positive number, longer than :data:`LONGEST_TR`, or shorter than a frame; or if `frame_rate` is not
        positive.

    Examples
    --------
    >>> check_tr(0.72)
    Fraction(18, 25)
    """
    step = exact(tr, "TR")
    if step <= 0:
        raise InputError(f"TR is {tr} s: it must be positive, as in the scan's header")
    if step > LONGEST_TR:
        such = f", such as {shown(step / 1000)}" if step <= 1000 * LONGEST_TR else ""
        raise InputError(
            f"TR is {shown(step)} s, over {LONGEST_TR} s: was it written in milliseconds? Give it in seconds{such}"
        )
    if frame_rate is not None:
        rate = exact(frame_rate, "frame rate")
        if rate <= 0:
            raise InputError(f"frame rate is {frame_rate} Hz: it must be positive")
        if step * rate < 1:
            raise InputError(
                f"TR is {tr} s, shorter than one frame of {float(1 / rate):.6g} s at {float(rate):.6g} Hz: "
                "pass the TR in seconds"
            )
    return step


def same_tr(one: Number, other: Number) -> bool:
    """Whether two TRs are the same repetition time: they differ by at most 1 part in 100,000.

    A header keeps 0.72 as a 32-bit number, or as 0.7199999; that is the TR of features at 0.72.

    Parameters
    ----------
    one, other : int, float, str or Fraction
        Repetition times in seconds.

    Returns
    -------
    bool

    Raises
    ------
    InputError
        If one of them is not a finite number.

    Examples
    --------
    >>> same_tr(0.7199999, 0.72), same_tr(0.72, 0.7201)
    (True, False)
    """
    first, second = exact(one, "TR"), exact(other, "TR")
    return abs(first - second) <= exact(SAME) * max(abs(first), abs(second))


def shown(seconds: Number) -> str:
    """Seconds for a message, with the digits that tell them apart.

    Parameters
    ----------
    seconds : int, float, str or Fraction

    Returns
    -------
    str
        Up to 10 significant digits, without the unit.

    Raises
    ------
    InputError
        If `seconds` is not a finite number.

    Examples
    --------
    >>> shown(0.7199999), shown(2.0)
    ('0.7199999', '2')
    """
    return f"{float(exact(seconds)):.10g}"


def first_frame(time: Fraction, frame_rate: Fraction) -> int:
    """The frame that a TR begins with, ``floor(time * frame_rate + ROUNDING)``: the one rule of all edges.

    Parameters
    ----------
    time : Fraction
        Onset of the TR in seconds from frame 0.
    frame_rate : Fraction
        Frames per second.

    Returns
    -------
    int

    See Also
    --------
    TRGrid.edges : those of successive TRs.
    first_frames : the same of times that are floats.

    Examples
    --------
    >>> first_frame(Fraction(3, 2), Fraction(75))
    113
    """
    return floor(time * frame_rate + ROUNDING)


def first_frames(times: np.ndarray, frame_rate: float) -> np.ndarray:
    """As :func:`first_frame`, of times that are floats.

    Parameters
    ----------
    times : ndarray of float, shape (n,)
        Seconds at which the TRs begin.
    frame_rate : float
        Frames per second.

    Returns
    -------
    ndarray of int64, shape (n,)
    """
    # Times are floats: what lies within a millionth of a frame of a tie is one.
    return np.floor(np.round(times * frame_rate, 6) + float(ROUNDING)).astype(np.int64)


@dataclass(frozen=True)
class TRGrid:
    """Volumes of a scan, and the frames of a feature series that fall into each.

    Parameters
    ----------
    tr : float
        Repetition time in seconds; read as written, so 0.72 means 18/25.
    n_trs : int
        Number of volumes, at least 1.
    frame_rate : float or Fraction
        Frames per second of the series; the mel legacy passes ``Fraction(22050, 512)``.

    Raises
    ------
    InputError
        If `tr` or `frame_rate` is not positive, a TR is shorter than one frame or longer than a minute, or `n_trs` is
        below 1.

    Examples
    --------
    >>> grid = TRGrid(tr=1.5, n_trs=920, frame_rate=75)
    >>> grid.frames_per_tr, grid.n_frames, grid.edges[:4].tolist()
    (112, 103500, [0, 113, 225, 338])
    """

    tr: float
    n_trs: int
    frame_rate: float | Fraction

    def __post_init__(self) -> None:
        check_tr(self.tr, self.frame_rate)
        if isinstance(self.n_trs, bool) or not isinstance(self.n_trs, (int, np.integer)) or self.n_trs < 1:
            raise InputError(f"n_trs is {self.n_trs!r}; expected a whole number of at least 1")

    @property
    def frames_in_tr(self) -> Fraction:
        """Length of a TR in frames, exact: 225/2 for 1.5 s at 75 Hz."""
        return exact(self.tr) * exact(self.frame_rate)

    @property
    def frames_per_tr(self) -> int:
        """Frames that every TR has, ``floor(tr * frame_rate)``."""
        return floor(self.frames_in_tr)

    @property
    def max_frames_per_tr(self) -> int:
        """Frames that the longest TR has, ``ceil(tr * frame_rate)``."""
        return ceil(self.frames_in_tr)

    @cached_property
    def edges(self) -> np.ndarray:
        """First frame of each TR and the end of the last, int64 (n_trs + 1,)."""
        step = self.frames_in_tr
        p, q = step.numerator, step.denominator
        a, b = ROUNDING.numerator, ROUNDING.denominator
        # floor(k p/q + a/b) = floor((k p b + a q) / bq), in whole numbers. Python's do not overflow; int64 would for
        # long rationals such as a TR of 1.4999999 s.
        if self.n_trs * p * b + a * q < 2**62:
            return (np.arange(self.n_trs + 1, dtype=np.int64) * p * b + a * q) // (b * q)
        return np.array([(k * p * b + a * q) // (b * q) for k in range(self.n_trs + 1)], dtype=np.int64)

    @property
    def counts(self) -> np.ndarray:
        """Frames in each TR, int64 (n_trs,)."""
        return np.diff(self.edges)

    @property
    def n_frames(self) -> int:
        """Frames on the whole grid."""
        return int(self.edges[-1])

    @property
    def onset(self) -> np.ndarray:
        """Onset of each TR in seconds, float64 (n_trs,)."""
        tr = exact(self.tr)
        return np.arange(self.n_trs) * tr.numerator / tr.denominator

    @property
    def duration(self) -> Fraction:
        """Length of the grid in seconds, exact."""
        return self.n_trs * exact(self.tr)

    def n_samples(self, sample_rate: Number) -> int:
        """Samples on the whole grid at `sample_rate` Hz, rounded half up.

        Parameters
        ----------
        sample_rate : int, float, str or Fraction
            In Hz.

        Returns
        -------
        int

        Raises
        ------
        InputError
            If `sample_rate` is not a finite number.
        """
        return floor(self.duration * exact(sample_rate, "sample rate") + Fraction(1, 2))

    def columns(self, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Frames of each TR as a table of `width` columns, and which of them are the TR's own.

        Parameters
        ----------
        width : int

        Returns
        -------
        frame : ndarray of int64, shape (n_trs, width)
            Numbers of frames from the start of the grid.
        own : ndarray of bool, shape (n_trs, width)
            False where a column runs into the next TR, or beyond the grid.
        """
        column = np.arange(width)
        return self.edges[:-1, None] + column, column < self.counts[:, None]


def grid_for(duration: Number, tr: float, frame_rate: float | Fraction) -> TRGrid:
    """The shortest grid on which a medium of `duration` seconds fits whole.

    A last TR that would hold no more than :func:`tail_of` is not opened: a film of 1380 s that its encoder padded to
    1380.011 s must not become 921 TRs.

    Parameters
    ----------
    duration : int, float, str or Fraction
        In seconds.
    tr : float
        Repetition time in seconds.
    frame_rate : float or Fraction
        Frames per second.

    Returns
    -------
    TRGrid

    Raises
    ------
    InputError
        If the TR or the frame rate cannot be used, or the medium is longer than :data:`LONGEST_FILM`.
    """
    step, seconds = check_tr(tr), exact(duration, "duration")
    if seconds > LONGEST_FILM:
        raise InputError(
            f"the stimulus lasts {shown(seconds)} s, which is {float(seconds / 3600):.4g} hours: are its times in "
            "milliseconds? If it is really that long, pass n_trs"
        )
    return TRGrid(tr, max(1, ceil((seconds - tail_of(tr)) / step)), frame_rate)


def tail_of(tr: Number) -> Fraction:
    """Seconds at the end of a film that do not count: :data:`TAIL`, or half of a TR where that is shorter.

    Parameters
    ----------
    tr : int, float, str or Fraction
        Repetition time in seconds.

    Returns
    -------
    Fraction
    """
    return min(TAIL, TAIL_IN_TRS * exact(tr, "tr"))


class GroupedCodes(NamedTuple):
    """Codes by TR, with the frames that not every TR has beside them."""

    codes: np.ndarray
    """int32 (n_trs, n_codebooks, frames_per_tr)."""
    spill: np.ndarray
    """int32 (n_trs, n_codebooks, 1): the odd frame of each TR, 0 where it has none."""
    spill_mask: np.ndarray
    """bool (n_trs, 1): True where the TR has the odd frame."""


def group_with_spill(codes: np.ndarray, grid: TRGrid) -> GroupedCodes:
    """Cut a series of codes into the TRs of `grid`, losing nothing.

    Parameters
    ----------
    codes : ndarray of int, shape (n_codebooks, n_frames)
        Exactly ``grid.n_frames`` frames.
    grid : TRGrid

    Returns
    -------
    GroupedCodes
        ``ungroup_codes(grouped.codes, tr, frame_rate, spill=grouped.spill)`` gives `codes` back.

    Raises
    ------
    InputError
        If `codes` does not have the grid's frames.

    See Also
    --------
    group_codes_by_tr : the same without the odd frames.
    ungroup_codes : the inverse.
    """
    codes = np.asarray(codes)
    if codes.ndim != 2 or codes.shape[1] != grid.n_frames:
        raise InputError(
            f"codes have shape {codes.shape}; expected (n_codebooks, {grid.n_frames}), {grid.n_trs} TRs of {grid.tr} s"
        )
    columns, _ = grid.columns(grid.frames_per_tr)
    grouped = codes[:, columns].transpose(1, 0, 2)
    mask = grid.counts > grid.frames_per_tr
    spill = np.zeros((grid.n_trs, codes.shape[0], 1), codes.dtype)
    spill[mask, :, 0] = codes[:, grid.edges[1:][mask] - 1].T
    return GroupedCodes(np.ascontiguousarray(grouped), spill, mask[:, None])


def group_codes_by_tr(codes: np.ndarray, tr: float = 1.5, frame_rate: float | Fraction = 75) -> np.ndarray:
    """The first ``floor(tr * frame_rate)`` frames of each TR that the codes fill.

    Parameters
    ----------
    codes : ndarray of int, shape (n_codebooks, n_frames)
    tr : float
        Repetition time in seconds.
    frame_rate : float or Fraction
        Frames per second.

    Returns
    -------
    ndarray of int32, shape (n_trs, n_codebooks, floor(tr * frame_rate))
        `n_trs` counts the TRs whose columns are all there. :func:`group_with_spill` keeps the odd frames too.

    Raises
    ------
    InputError
        If the codes do not fill one TR.

    See Also
    --------
    group_with_spill : keeps the odd frames.
    ungroup_codes : the inverse.

    Examples
    --------
    >>> group_codes_by_tr(np.zeros((8, 103_500), np.int32), tr=1.5).shape
    (920, 8, 112)
    """
    codes = np.asarray(codes)
    if codes.ndim != 2:
        raise InputError(f"codes have shape {codes.shape}; expected (n_codebooks, n_frames)")
    step = TRGrid(tr, 1, frame_rate).frames_in_tr
    # The last n with edge(n - 1) + width <= frames.
    n_trs = ceil((codes.shape[1] - floor(step) + 1 - ROUNDING) / step)
    if n_trs < 1:
        raise InputError(f"codes have {codes.shape[1]} frames: one TR of {tr} s needs {floor(step)}")
    columns, _ = TRGrid(tr, n_trs, frame_rate).columns(floor(step))
    return np.ascontiguousarray(codes[:, columns].transpose(1, 0, 2)).astype(np.int32, copy=False)


def ungroup_codes(
    grouped: np.ndarray,
    tr: float = 1.5,
    frame_rate: float | Fraction = 75,
    *,
    spill: np.ndarray | None = None,
) -> np.ndarray:
    """Join codes by TR into one series on the clock: the inverse of :func:`group_codes_by_tr`, with its parameters.

    Parameters
    ----------
    grouped : ndarray of int, shape (n_trs, n_codebooks, frames_per_tr)
    tr : float
        Repetition time in seconds.
    frame_rate : float or Fraction
        Frames per second.
    spill : ndarray of int, shape (n_trs, n_codebooks, 1), optional
        The odd frames of TRs that have one. Without it, as for predicted codes, the frame before is repeated, so
        that the series keeps its length.

    Returns
    -------
    ndarray, shape (n_codebooks, grid.n_frames)

    Raises
    ------
    InputError
        If the shapes do not fit the clock.

    See Also
    --------
    group_with_spill, group_codes_by_tr : cut a series into TRs.
    """
    grouped = np.asarray(grouped)
    if grouped.ndim != 3:
        raise InputError(f"grouped codes have shape {grouped.shape}; expected (n_trs, n_codebooks, frames_per_tr)")
    n_trs, n_codebooks, width = grouped.shape
    grid = TRGrid(tr, n_trs, frame_rate)
    if width != grid.frames_per_tr:
        raise InputError(
            f"grouped codes have {width} frames per TR; expected {grid.frames_per_tr} at TR {tr} s and "
            f"{float(exact(frame_rate)):g} frames/s"
        )
    if spill is None:
        spill = grouped[:, :, -1:]
    elif spill.shape != (n_trs, n_codebooks, 1):
        raise InputError(f"spill has shape {spill.shape}; expected {(n_trs, n_codebooks, 1)}")
    out = np.empty((n_codebooks, grid.n_frames), grouped.dtype)
    columns, _ = grid.columns(width)
    out[:, columns] = grouped.transpose(1, 0, 2)
    mask = grid.counts > width
    out[:, grid.edges[1:][mask] - 1] = spill[mask, :, 0].T
    return out


def blocks_by_tr(
    pieces: Iterable[np.ndarray], tr: float = 1.5, frame_rate: float | Fraction = 75
) -> Iterator[np.ndarray]:
    """Cut a stream of frames at the edges of TRs; what is behind the last whole TR is dropped.

    Parameters
    ----------
    pieces : iterable of ndarray, shape (n_features, any)
    tr : float
        Repetition time in seconds.
    frame_rate : float or Fraction
        Frames per second.

    Yields
    ------
    ndarray, shape (n_features, frames of this TR)
        One for each TR that is complete, all its frames.

    Raises
    ------
    InputError
        If the TR or the frame rate cannot be used.

    See Also
    --------
    group_codes_by_tr, group_with_spill : the same for codes that are there as a whole.
    """
    check_tr(tr, frame_rate)
    step, rate = exact(tr), exact(frame_rate)
    widths = (first_frame((k + 1) * step, rate) - first_frame(k * step, rate) for k in count())
    width, held = next(widths), None
    for piece in pieces:
        held = piece if held is None else np.concatenate([held, piece], axis=1)
        while held.shape[1] >= width:
            yield held[:, :width]
            held, width = held[:, width:], next(widths)


def ungroup_frames(table: np.ndarray, grid: TRGrid) -> np.ndarray:
    """Continuous features by TR as one series on the clock.

    Parameters
    ----------
    table : ndarray, shape (n_trs, n_features, ceil(tr * frame_rate)) or (n_trs, n_features)
        All frames of each TR, or one value for the whole TR, which is then repeated.
    grid : TRGrid

    Returns
    -------
    ndarray, shape (n_features, grid.n_frames)

    Raises
    ------
    InputError
        If the shape does not fit the clock.
    """
    table = np.asarray(table)
    _check_by_tr(table.shape, grid)
    return _ungrouped(table, grid, slice(None))


def ungroup_in_blocks(table: Any, grid: TRGrid, n_frames: int) -> Iterator[np.ndarray]:
    """As :func:`ungroup_frames`, some TRs at a time, so that a table on disk need not fit in memory.

    Parameters
    ----------
    table : ndarray, shape (n_trs, n_features, ceil(tr * frame_rate)) or (n_trs, n_features)
        What is no ndarray but has a shape is read by slices of TRs.
    grid : TRGrid
    n_frames : int
        Of a block, about; at least one TR.

    Returns
    -------
    iterator of ndarray, shape (n_features, any)
        Together ``grid.n_frames`` frames.

    Raises
    ------
    InputError
        If the shape does not fit the clock.
    """
    _check_by_tr(table.shape, grid)
    step = max(1, n_frames // grid.max_frames_per_tr)
    trs = (slice(first, first + step) for first in range(0, grid.n_trs, step))
    return (_ungrouped(np.asarray(table[some]), grid, some) for some in trs)


def _check_by_tr(shape: tuple[int, ...], grid: TRGrid) -> None:
    """Raise if features of that shape, by TR, are not on the clock."""
    all_frames, one_value = shape[::2] == (grid.n_trs, grid.max_frames_per_tr), shape[:1] == (grid.n_trs,)
    if not (len(shape) == 3 and all_frames) and not (len(shape) == 2 and one_value):
        raise InputError(
            f"features have shape {shape}; expected ({grid.n_trs}, n_features, {grid.max_frames_per_tr}) or "
            f"({grid.n_trs}, n_features) at TR {grid.tr} s"
        )


def _ungrouped(table: np.ndarray, grid: TRGrid, trs: slice) -> np.ndarray:
    """Features of some TRs of the clock as a series, (n_features, frames of these TRs)."""
    if table.ndim == 2:
        return np.repeat(table, grid.counts[trs], axis=0).T
    own = np.arange(grid.max_frames_per_tr) < grid.counts[trs, None]
    return table.transpose(1, 0, 2)[:, own]


def volumes_at(onset: np.ndarray, tr: float, run: np.ndarray | None, what: str) -> np.ndarray:
    """Which volume of its run begins at each onset, int64 (n,).

    Parameters
    ----------
    onset : ndarray of float, shape (n,)
        Seconds from volume 0 of the run.
    tr : float
        Repetition time in seconds.
    run : ndarray, shape (n,), optional
        Run of each onset; by default all are of one run.
    what : str
        Whose onsets, for the message.

    Returns
    -------
    ndarray of int64, shape (n,)
        Volumes of the run, from 0.

    Raises
    ------
    AlignmentError
        If onsets are no whole numbers of TRs, negative, or do not increase within a run.
    """
    onset = np.asarray(onset, np.float64)
    volumes = np.round(onset / tr)
    # A thousandth of a TR: onsets in single precision are off by less.
    off = ~(np.abs(onset / tr - volumes) <= 1e-3) | (volumes < 0)
    if off.any():
        at = int(np.flatnonzero(off)[0])
        raise AlignmentError(
            f"onset {at} of {what} is {onset[at]:g} s, which is not the onset of a volume at TR {shown(tr)} s; "
            "expected k * tr seconds from volume 0 of the run"
        )
    volumes = volumes.astype(np.int64)
    same = np.ones(max(len(onset) - 1, 0), bool) if run is None else run[1:] == run[:-1]
    back = np.flatnonzero((np.diff(volumes) < 1) & same)
    if back.size:
        at = int(back[0])
        raise AlignmentError(
            f"onsets of {what} go from {onset[at]:g} to {onset[at + 1]:g} s at row {at + 1}: volumes of one run must "
            "come in their order; several runs need 'run', a label by volume"
        )
    return volumes
