"""The frames of a film scaled ahead of who uses them, and brought to one constant rate; memory does not grow."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from fractions import Fraction

import numpy as np

from giblet.data.picture import PictureReader, ShownFrame
from giblet.spans import shares

FITS = ("squash", "crop", "pad")
"""How a picture comes into another shape."""

AHEAD = 3
"""Frames that wait for each thread: FFmpeg decodes and scales without holding Python up."""

N_THREADS = min(4, os.cpu_count() or 1)


def fitted(shown: ShownFrame, size: tuple[int, int], *, grey: bool = False, fit: str = "squash") -> np.ndarray:
    """A frame in another shape.

    Parameters
    ----------
    shown : ShownFrame
    size : tuple of int
        Height and width.
    grey : bool
        Only its luma.
    fit : {"squash", "crop", "pad"}
        The whole picture with its shape changed; its middle, what sticks out at two sides cut off; or the whole picture
        with black above and below, or beside it.

    Returns
    -------
    ndarray of uint8, shape (height, width, 3) or (height, width)
    """
    ratios = [want / have for want, have in zip(size, shown.shape, strict=True)]
    scale = max(ratios) if fit == "crop" else min(ratios)
    whole = size if fit == "squash" else tuple(max(1, round(have * scale)) for have in shown.shape)
    pixels = shown.pixels((whole[0], whole[1]), grey=grey)
    for axis in (0, 1):
        spare = size[axis] - pixels.shape[axis]
        if spare < 0:
            pixels = pixels.take(range(-spare // 2, -spare // 2 + size[axis]), axis=axis)
        elif spare:
            around = [(0, 0)] * pixels.ndim
            around[axis] = (spare // 2, spare - spare // 2)
            pixels = np.pad(pixels, around)
    return pixels


def scaled(
    reader: PictureReader,
    size: tuple[int, int],
    *,
    grey: bool = False,
    fit: str = "squash",
    since: Fraction = Fraction(0),
    until: Fraction | None = None,
) -> Iterator[tuple[ShownFrame, np.ndarray | None]]:
    """The frames of a film and their pixels, scaled by other threads while the film is decoded.

    Parameters
    ----------
    reader : PictureReader
    size : tuple of int
        Height and width.
    grey, fit
        As for :func:`fitted`.
    since, until : Fraction
        Seconds between which frames are scaled; the others are only read.

    Yields
    ------
    shown : ShownFrame
    pixels : ndarray of uint8, shape (height, width, 3) or (height, width), or None
        None for frames that end at `since` or before, or begin at `until` or later.
    """
    waiting: deque[tuple[ShownFrame, Future[np.ndarray] | None]] = deque()
    with ThreadPoolExecutor(N_THREADS) as threads:
        for shown in reader:
            wanted = shown.end > since and (until is None or shown.start < until)
            waiting.append((shown, threads.submit(fitted, shown, size, grey=grey, fit=fit) if wanted else None))
            if len(waiting) > AHEAD * N_THREADS:
                first, pixels = waiting.popleft()
                yield first, None if pixels is None else pixels.result()
        while waiting:
            first, pixels = waiting.popleft()
            yield first, None if pixels is None else pixels.result()


def at_constant_rate(
    pictures: Iterable[tuple[ShownFrame, np.ndarray | None]], rate: int, first: int = 0
) -> Iterator[np.ndarray | None]:
    """One picture for each 1/`rate` s from film zero on: the mean of what is on the screen then, by how long it is.

    Where the film has that rate these are its own frames; no flash is missed where it has a higher one.

    Parameters
    ----------
    pictures : iterable of (ShownFrame, ndarray or None)
        As :func:`scaled` yields them; it ends with the first that has no pixels.
    rate : int
        Pictures per second.
    first : int
        The number of the first picture that is made; frames that end before it may be left out of `pictures`.

    Yields
    ------
    ndarray of float64, shape as the pixels, or None
        None while there is no picture yet.
    """
    step, at, seconds = Fraction(1, rate), first, 0.0
    total: np.ndarray | None = None
    for shown, pixels in pictures:
        if pixels is None:
            break
        values = pixels.astype(np.float64)
        for k, share in shares(shown.start, shown.end, step):
            if k < first:
                continue
            while at < k:
                yield None if total is None else total / seconds
                at, total, seconds = at + 1, None, 0.0
            weight = float(share * rate)
            total = values * weight if total is None else total + values * weight
            seconds += weight
    if total is not None:
        yield total / seconds
