"""Events and spans in seconds, laid on the volumes of a scan: one value per TR, computed on rationals."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from math import ceil, floor, inf, nextafter

from giblet.timing import Number, TRGrid, check_tr, exact, grid_for


def volume_rate(tr: Number) -> float:
    """The frame rate of a series with one value per TR: 1/tr, as a float with which no TR is shorter than a frame.

    Parameters
    ----------
    tr : float or Fraction
        Repetition time in seconds.

    Returns
    -------
    float
        In Hz.

    Raises
    ------
    InputError
        If the TR cannot be one.

    Examples
    --------
    >>> TRGrid(1.5, 4, volume_rate(1.5)).edges.tolist()
    [0, 1, 2, 3, 4]
    """
    step = check_tr(tr)
    rate = float(1 / step)
    # 1/1.5 falls short of 2/3 by a bit, and the frame would be longer than the TR by as little.
    return rate if exact(rate) * step >= 1 else nextafter(rate, inf)


def volume_grid(tr: float, n_trs: int | None, duration: Number) -> TRGrid:
    """The clock of a series with one value per TR: `n_trs` of them, or as many as `duration` seconds fill.

    Parameters
    ----------
    tr : float
        Repetition time in seconds.
    n_trs : int or None
        Volumes of the scan.
    duration : float or Fraction
        In seconds; counts only where `n_trs` is None.

    Returns
    -------
    TRGrid

    Raises
    ------
    InputError
        If the TR or the number of volumes cannot be used, or so many seconds are more than a day.
    """
    rate = volume_rate(tr)
    return grid_for(duration, tr, rate) if n_trs is None else TRGrid(tr, n_trs, rate)


def tr_of(time: Fraction, tr: Fraction) -> int:
    """The TR that holds the moment `time`: TR k lasts from ``k * tr`` up to, not including, ``(k + 1) * tr``.

    Parameters
    ----------
    time : Fraction
        In seconds from TR 0.
    tr : Fraction
        Repetition time in seconds.

    Returns
    -------
    int
        Negative before TR 0.
    """
    return floor(time / tr)


def shares(start: Fraction, end: Fraction, tr: Fraction) -> Iterator[tuple[int, Fraction]]:
    """The TRs that a span touches, and its seconds in each.

    Parameters
    ----------
    start, end : Fraction
        In seconds from TR 0.
    tr : Fraction
        Repetition time in seconds.

    Yields
    ------
    k : int
        The TR.
    seconds : Fraction

    Examples
    --------
    >>> [(k, float(seconds)) for k, seconds in shares(Fraction(1), Fraction(4), Fraction(3, 2))]
    [(0, 0.5), (1, 1.5), (2, 1.0)]
    """
    for k in range(floor(start / tr), ceil(end / tr)):
        yield k, min(end, (k + 1) * tr) - max(start, k * tr)
