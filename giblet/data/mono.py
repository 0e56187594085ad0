"""Decoded blocks of sound made mono, laid on the film's clock by their timestamps, and resampled to one rate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from math import floor

import numpy as np
import soxr

from giblet.errors import InputError

CHANNEL_WEIGHTS = {
    "FL": 1.0, "FR": 1.0, "FC": 2**0.5, "LFE": 0.0,
    "SL": 0.5**0.5, "SR": 0.5**0.5, "BL": 0.5**0.5, "BR": 0.5**0.5, "BC": 1.0,
}  # fmt: skip
"""Share of each loudspeaker in mono, before division by their sum: see :func:`downmix`."""

TOLERANCE = Fraction("0.010")
"""Seconds by which sound may leave its timestamps before it is moved: ten times what rounding does to them (1 ms in
Matroska), and far below what is seen between lips and voice."""

LONGEST_GAP, LONGEST_OVERLAP = 600, 1
"""Seconds; timestamps that jump further were broken (a clock that started again), and say nothing about the sound."""


def downmix(block: np.ndarray, channels: Sequence[str]) -> np.ndarray:
    """Mono from any loudspeaker layout, by a documented matrix instead of a decoder's default.

    Left and right weigh 1, centre sqrt(2), each of two surrounds per pair sqrt(1/2), a single rear surround 1, the
    low-frequency effects 0: both sides of the stereo downmix of ITU-R BS.775 added up. Divided by the sum of the
    weights, so that it cannot clip. Stereo becomes the mean, as in `librosa.to_mono`, and so does any layout with a
    loudspeaker that the Recommendation does not know.

    Parameters
    ----------
    block : ndarray of float, shape (n_channels, n_samples)
    channels : sequence of str
        FFmpeg's names of the loudspeakers: FL, FR, FC, LFE, SL, SR, BL, BR, BC.

    Returns
    -------
    ndarray of float32, shape (n_samples,)

    References
    ----------
    Recommendation ITU-R BS.775, Multichannel stereophonic sound system with and without accompanying picture,
    Annex 4, Table 2.

    Examples
    --------
    >>> downmix(np.array([[1.0, 1.0], [0.0, 1.0]]), ["FL", "FR"]).tolist()
    [0.5, 1.0]
    """
    weights = np.array([CHANNEL_WEIGHTS.get(name, np.nan) for name in channels])
    total = weights.sum()
    if not total > 0:  # NaN where a loudspeaker is unknown, 0 where there is nothing but LFE
        weights, total = np.ones(len(channels)), float(len(channels))
    return np.asarray((weights / total).astype(np.float32) @ block.astype(np.float32, copy=False))


def as_float(samples: np.ndarray) -> np.ndarray:
    """Samples of any PCM type as float32: integers are divided by their largest magnitude, so that they fill [-1, 1].

    Parameters
    ----------
    samples : ndarray of uint8, int16, int32, float32 or float64
        Unsigned ones are silent at 128.
    """
    if samples.dtype.kind == "u":
        return (samples.astype(np.float32) - 128) / 128
    if samples.dtype.kind == "i":
        return samples.astype(np.float32) / np.float32(2.0 ** (8 * samples.itemsize - 1))
    return samples.astype(np.float32, copy=False)


class SoundClock:
    """Blocks in, sound on the clock out: sample i is what sounds at ``i / sample_rate`` seconds.

    Blocks follow each other without a seam unless their timestamps leave the running position by more than
    `TOLERANCE`. They are compared with the position itself, not with the block before, so rounding of timestamps
    does not add up, and a sound card that ran slow is never more than `TOLERANCE` behind.

    Parameters
    ----------
    sample_rate : int
        Of the output, in Hz.
    source : str
        What the sound is called in error messages.

    Attributes
    ----------
    end : Fraction
        End of what has been laid, in seconds.
    gaps, overlaps : int
        Holes filled with silence (not the one before the first block), and places where sound was cut.
    gap_seconds, overlap_seconds : Fraction
    """

    def __init__(self, sample_rate: int, source: str = "sound") -> None:
        self.sample_rate, self.source = sample_rate, source
        self.end = self.gap_seconds = self.overlap_seconds = Fraction(0)
        self.gaps = self.overlaps = 0
        self._rate, self._since, self._read, self._written = 0, Fraction(0), 0, 0
        self._resampler: soxr.ResampleStream | None = None
        self._cutting = False

    def lay(self, block: np.ndarray, rate: int, at: Fraction | None) -> Iterator[np.ndarray]:
        """Add mono samples.

        Parameters
        ----------
        block : ndarray of float32, shape (n,)
        rate : int
            Of the block, in Hz; may change from block to block.
        at : Fraction or None
            When the block starts, in seconds; None to follow the one before.

        Yields
        ------
        ndarray of float32
            Output that became ready; the rest comes with later blocks or :meth:`flush`.

        Raises
        ------
        InputError
            If timestamps jump by more than `LONGEST_GAP` or `LONGEST_OVERLAP`.
        """
        first = self._rate == 0
        if rate != self._rate:
            yield self.flush()
            self._rate, self._since, self._read = rate, self.end, 0
            # A resampler between equal rates would be a filter for nothing, and codes would no longer be the file's.
            self._resampler = None if rate == self.sample_rate else soxr.ResampleStream(rate, self.sample_rate, 1)
        ahead = 0 if at is None else _rounded((at - self.end) * rate)
        if not -LONGEST_OVERLAP * rate <= ahead <= LONGEST_GAP * rate:
            raise InputError(
                f"{self.source}: timestamps of the sound jump by {ahead / rate:+.2f} s at {float(self.end):.2f} s, at "
                f"most +{LONGEST_GAP} s or -{LONGEST_OVERLAP} s can be mended: re-encode the film, or cut it there"
            )
        cutting, self._cutting = self._cutting, False
        if ahead > (0 if first else TOLERANCE * rate):
            if not first:
                self.gaps += 1
                self.gap_seconds += Fraction(ahead, rate)
            for done in range(0, ahead, rate):  # a second at a time: the hole may be long
                yield self._push(np.zeros(min(rate, ahead - done), np.float32))
        elif ahead < (0 if cutting else -TOLERANCE * rate):
            cut = min(-ahead, len(block))
            self.overlaps += not cutting
            self.overlap_seconds += Fraction(cut, rate)
            block = block[cut:]
            # An overlap that swallows the block whole goes on in the next one, down to the last sample.
            self._cutting = not len(block)
        yield self._push(block)

    def flush(self) -> np.ndarray:
        """What the resampler still holds: with it, ``end * sample_rate`` samples, rounded, have come out."""
        if self._resampler is None:
            return np.zeros(0, np.float32)
        before, total = self._written, _rounded(self.end * self.sample_rate)
        tail = self._push(np.zeros(0, np.float32), last=True)[: total - before]
        self._written = total
        return np.pad(tail, (0, total - before - len(tail)))  # soxr rounds its own way, by a sample

    def _push(self, block: np.ndarray, last: bool = False) -> np.ndarray:
        self._read += len(block)
        self.end = self._since + Fraction(self._read, self._rate)
        out = block if self._resampler is None else self._resampler.resample_chunk(block, last=last)
        self._written += len(out)
        return out


def _rounded(value: Fraction) -> int:
    """The nearest whole number, halves up."""
    return floor(value + Fraction(1, 2))
