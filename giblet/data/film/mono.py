"""Decoded blocks of sound made mono, laid on the film's clock by their timestamps, and resampled to one rate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from math import floor
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from giblet.errors import InputError

if TYPE_CHECKING:
    import soxr

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

TAKEN_BACK_WITHIN = 1
"""Seconds of sound after a jump of the timestamps in which the next ones may take it back: then there was none."""

SHORT = Fraction("0.1")
"""Seconds that frames of codecs do not last."""


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
    samples : ndarray of uint8, int16, int32, float32 or float64, any shape
        Unsigned ones are silent at 128.

    Returns
    -------
    ndarray of float32, of the same shape
    """
    if samples.dtype.kind == "u":
        return (samples.astype(np.float32) - 128) / 128
    if samples.dtype.kind == "i":
        return samples.astype(np.float32) / np.float32(2.0 ** (8 * samples.itemsize - 1))
    return samples.astype(np.float32, copy=False)


class _Block(NamedTuple):
    samples: np.ndarray
    rate: int
    """In Hz."""
    at: Fraction | None
    """When it starts by its timestamp, in seconds."""
    ahead: Fraction | None
    """By how much that is later than the end of what comes before it."""


class SoundClock:
    """Blocks in, sound on the clock out: sample i is what sounds at ``i / sample_rate`` seconds.

    Blocks follow each other without a seam unless their timestamps leave the running position by more than `TOLERANCE`
    and stay away: a jump that the next blocks take back within `TAKEN_BACK_WITHIN` says nothing about the sound.
    Timestamps are compared with the position itself, not with the block before, so their rounding does not add up, and
    a sound card that ran slow is soon put right.

    Parameters
    ----------
    sample_rate : int
        Of the output, in Hz.
    source : str
        What the sound is called in error messages.
    seamless : bool
        Whether blocks cannot overlap, as in Ogg: timestamps that go back then mean that the last one is too long.
    tolerance : Fraction
        Seconds by which sound may leave its timestamps; more where these are coarser.
    until : Fraction, optional
        Where the sound ends, in seconds: what goes beyond it is padding, and left out.

    Attributes
    ----------
    end : Fraction
        End of what has been laid, in seconds.
    gaps, overlaps : int
        Holes filled with silence (not the one before the first block), and places where sound was cut.
    gap_seconds, overlap_seconds : Fraction
    """

    def __init__(
        self,
        sample_rate: int,
        source: str = "sound",
        *,
        seamless: bool = False,
        tolerance: Fraction = TOLERANCE,
        until: Fraction | None = None,
    ) -> None:
        self.sample_rate, self.source, self.until = sample_rate, source, until
        self.earliest, self.latest = -LONGEST_OVERLAP if seamless else -tolerance, tolerance
        self.end = self.gap_seconds = self.overlap_seconds = Fraction(0)
        self.gaps = self.overlaps = 0
        self._rate, self._since, self._read, self._written = 0, Fraction(0), 0, 0
        self._resampler: soxr.ResampleStream | None = None
        self._waiting: list[_Block] = []  # since a jump, until the next blocks confirm it or take it back
        self._until = Fraction(0)  # where these would end without it

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
        ahead = None if at is None else at - (self._until if self._waiting else self.end)
        if self._rate == 0 and ahead is not None and ahead > 0:  # the silence before the first block is no hole
            yield from self._silence(ahead, rate)
            ahead = Fraction(0)
        if self._waiting and ahead is not None and self._takes_back(ahead):
            yield from self._let_go()
        if not self._waiting and (ahead is None or self.earliest <= ahead <= self.latest):
            yield from self._push(block, rate)
            return
        if not self._waiting:
            self._until = self.end
        elif self._until >= self.end + TAKEN_BACK_WITHIN:
            yield from self._jump()
            yield from self.lay(block, rate, at)
            return
        self._waiting.append(_Block(block, rate, at, ahead))
        self._until += Fraction(len(block), rate)

    def flush(self) -> np.ndarray:
        """What still waits or is held by the resampler: now ``end * sample_rate`` samples, rounded, have come out.

        Returns
        -------
        ndarray of float32, shape (n,)

        Raises
        ------
        InputError
            If timestamps jump by more than `LONGEST_GAP` or `LONGEST_OVERLAP`.
        """
        pieces: list[np.ndarray] = []
        while self._waiting:
            # No samples are thrown away to agree with the timestamp of one last frame.
            single = len(self._waiting) == 1 and self._until < self.end + SHORT
            pieces += self._let_go() if single and _amount(self._waiting) < 0 else self._jump()
        return np.concatenate([*pieces, self._drain()])

    def _takes_back(self, ahead: Fraction) -> bool:
        """Whether a block that comes so much later than without the jump of those that wait speaks against it."""
        jump = self._waiting[0].ahead or 0
        return -self.latest <= ahead <= self.latest or (ahead > 0) != (jump > 0)

    def _let_go(self) -> Iterator[np.ndarray]:
        """Lay the blocks that wait without a seam."""
        waiting, self._waiting = self._waiting, []
        for block in waiting:
            yield from self._push(block.samples, block.rate)

    def _jump(self) -> Iterator[np.ndarray]:
        """Move the blocks that wait to where their timestamps put them."""
        waiting, self._waiting = self._waiting, []
        ahead, rate = _amount(waiting), waiting[0].rate
        if not -LONGEST_OVERLAP <= ahead <= LONGEST_GAP:
            raise InputError(
                f"{self.source}: timestamps of the sound jump by {float(ahead):+.2f} s at {float(self.end):.2f} s, at "
                f"most +{LONGEST_GAP} s or -{LONGEST_OVERLAP} s can be repaired; re-encode the film, or cut it there"
            )
        if ahead > 0:
            self.gaps += 1
            self.gap_seconds += Fraction(_rounded(ahead * rate), rate)
            yield from self._silence(ahead, rate)
        self.overlaps += ahead < 0
        for samples, rate, at, _ in waiting:
            cut = min(max(0, _rounded(-ahead * rate)), len(samples))
            ahead += Fraction(cut, rate)
            self.overlap_seconds += Fraction(cut, rate)
            if cut < len(samples):
                yield from self.lay(samples[cut:], rate, None if at is None else at + Fraction(cut, rate))

    def _silence(self, length: Fraction, rate: int) -> Iterator[np.ndarray]:
        n = _rounded(length * rate)
        for done in range(0, n, rate):  # a second at a time: the hole may be long
            yield from self._push(np.zeros(min(rate, n - done), np.float32), rate)

    def _push(self, block: np.ndarray, rate: int) -> Iterator[np.ndarray]:
        import soxr

        if rate != self._rate:
            yield self._drain()
            self._rate, self._since, self._read = rate, self.end, 0
            # A resampler between equal rates would be a filter for nothing, and codes would no longer be the file's.
            self._resampler = None if rate == self.sample_rate else soxr.ResampleStream(rate, self.sample_rate, 1)
        if self.until is not None:
            block = block[: max(0, _rounded((self.until - self.end) * rate))]
        yield self._resample(block)

    def _drain(self) -> np.ndarray:
        """What the resampler still holds."""
        if self._resampler is None:
            return np.zeros(0, np.float32)
        before, total = self._written, _rounded(self.end * self.sample_rate)
        tail = self._resample(np.zeros(0, np.float32), last=True)[: total - before]
        self._written = total
        return np.pad(tail, (0, total - before - len(tail)))  # soxr rounds its own way, by a sample

    def _resample(self, block: np.ndarray, last: bool = False) -> np.ndarray:
        self._read += len(block)
        self.end = self._since + Fraction(self._read, self._rate)
        out = block if self._resampler is None else self._resampler.resample_chunk(block, last=last)
        self._written += len(out)
        return out


def _amount(waiting: list[_Block]) -> Fraction:
    """How far the blocks that wait jump: as far as the first does, unless others stay nearer."""
    jumps = [block.ahead for block in waiting if block.ahead is not None]
    nearest = min(jumps, key=abs)
    return jumps[0] if abs(jumps[0] - nearest) <= TOLERANCE else nearest


def _rounded(value: Fraction) -> int:
    """The nearest whole number, halves up."""
    return floor(value + Fraction(1, 2))
