"""A sound in stretches that end where it is quiet, of which one is held at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

SAMPLE_RATE = 16_000
"""Of the sound that speech models were trained on, Hz."""
FRAMES_PER_SECOND = 100
"""By which pocketsphinx counts."""
QUIET_WITHIN = 10
"""Seconds at the end of a stretch in which a quiet moment is looked for."""


class Stretch:
    """The part of a sound that is being heard.

    Parameters
    ----------
    chunks : iterator of ndarray of float32, each of shape (n,)
        The sound, at 16 kHz.

    Attributes
    ----------
    samples : ndarray of float32, shape (n,)
    complete : bool
        Whether the sound ends with these samples.
    """

    def __init__(self, chunks: Iterator[np.ndarray]) -> None:
        self._chunks = chunks
        self._begin = 0
        self.samples = np.empty(0, np.float32)
        self.complete = False

    @property
    def begin(self) -> float:
        """Second of the sound at which the stretch begins."""
        return self._begin / SAMPLE_RATE

    def fill(self, seconds: float) -> bool:
        """Have so many seconds at least, or all that is left.

        Parameters
        ----------
        seconds : float

        Returns
        -------
        bool
            False if nothing is left.
        """
        parts, n = [self.samples], len(self.samples)
        while n < seconds * SAMPLE_RATE and not self.complete:
            chunk = next(self._chunks, None)
            self.complete = chunk is None
            if chunk is not None:
                parts.append(chunk)
                n += len(chunk)
        self.samples = np.concatenate(parts)
        return n > 0

    def end(self, seconds: int) -> int:
        """Where to end, so that no word is cut: after so many seconds at most, amid the quietest fifth of a second.

        Parameters
        ----------
        seconds : int
            More than 10.

        Returns
        -------
        int
            Samples before the end; all of them, if the sound ends with them and that is not later.
        """
        if self.complete and len(self.samples) <= seconds * SAMPLE_RATE:
            return len(self.samples)
        step = SAMPLE_RATE // FRAMES_PER_SECOND
        first = (seconds - QUIET_WITHIN) * SAMPLE_RATE
        blocks = self.samples[first : seconds * SAMPLE_RATE].reshape(-1, step)
        power = np.convolve((blocks.astype(np.float64) ** 2).mean(axis=1), np.ones(20) / 20, mode="valid")
        return first + (int(power.argmin()) + 10) * step

    def advance(self, n: int) -> None:
        """Leave the first samples behind.

        Parameters
        ----------
        n : int
        """
        self._begin += n
        self.samples = self.samples[n:]
