"""The sound track of anything that FFmpeg reads, streamed, on the film's own clock.

Time is what the medium's timestamps (PTS) say, never a count of frames: a sound track that starts late, has a hole or
drifts stays where it is heard.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from fractions import Fraction
from math import floor, log10
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from giblet.data.film.container import MediaInfo, open_film
from giblet.data.film.mono import TOLERANCE, SoundClock, as_float, downmix
from giblet.data.gain import LOUDEST, Gain, check_gain
from giblet.errors import InputError, reading

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame

log = logging.getLogger(__name__)

FULL_SCALE, LOSSY_FULL_SCALE = 1.001, 1.5
"""Magnitudes beyond which sound is told to be too loud: with room for rounding, and for what lossy codecs add."""


def media_info(path: str | Path, track: int | None = None) -> MediaInfo:
    """What a film holds, and where its time zero is; decodes no more than the start of sound and picture.

    Parameters
    ----------
    path : str or Path
        Anything that FFmpeg reads.
    track : int, optional
        Which sound track, from 0. By default the one that the film marks as its default, or else the first.

    Returns
    -------
    MediaInfo

    Raises
    ------
    InputError
        If the file cannot be read, holds neither sound nor picture, is seen to be cut off, or has no such track, or
        nothing on it.
    """
    with open_film(path, track) as film:
        return film.info()


class AudioReader:
    """The sound of a film, mono at one sample rate, in chunks; memory does not grow with the film.

    Sample i of all chunks together is what sounds ``i / sample_rate`` seconds after film zero: the start of the
    picture or of the sound, whichever comes first. A sound track that starts later than the picture begins with
    silence. Where timestamps leave the running position by more than 10 ms for good, holes are filled with silence and
    overlaps are cut; packets that cannot be decoded become silence too. All of these are counted, and told in one
    warning when the film ends, and so is sound beyond full scale. Iterating again reads again.

    Parameters
    ----------
    path : str or Path
        Anything that FFmpeg reads.
    sample_rate : int
        Of the output, in Hz.
    chunk_seconds : float
        Length of the chunks; the last one may be shorter. The samples do not depend on it.
    track : int, optional
        Which sound track, from 0. By default the one that the film marks as its default, or else the first.
    gain : float or "peak"
        By how many dB the sound is made louder; "peak" brings its loudest sample to full scale, which takes a reading
        of its own. By default the level is what it is, beyond full scale too.

    Yields
    ------
    ndarray of float32, shape (n,)
        Integer samples are scaled to [-1, 1]; floating-point ones, lossy codecs and resampling may exceed it.

    Attributes
    ----------
    info : MediaInfo
        The film's tracks, the delay of its sound and its declared duration.
    gaps, overlaps, damaged_packets : int
        Holes filled, places cut, and packets that could not be decoded. These and all below are of the last complete
        reading, 0 before it.
    gap_seconds, overlap_seconds : float
        Silence put into holes (that before a late start is `track_delay`), and sound cut out.
    duration : float
        Seconds from film zero to the end of the sound; ``round(duration * sample_rate)`` samples are yielded.
    film_duration : float
        Seconds from film zero to the end of sound or picture, whichever is later.
    peak : float
        Largest magnitude of the film's mono sound, before any gain and before it is resampled; full scale is 1.
    gain_db : float
        The gain that was applied, in dB.

    Raises
    ------
    InputError
        As :func:`media_info`. While reading: if the file ends earlier than its header says, samples are not finite,
        or timestamps jump by more than 10 min forward or 1 s back.
    """

    def __init__(
        self,
        path: str | Path,
        sample_rate: int = 24_000,
        *,
        chunk_seconds: float = 10.0,
        track: int | None = None,
        gain: Gain = 0.0,
    ) -> None:
        if isinstance(sample_rate, bool) or not isinstance(sample_rate, (int, np.integer)) or sample_rate < 1:
            raise InputError(f"sample rate is {sample_rate!r}; expected a whole number of Hz of at least 1")
        if not 0 < chunk_seconds < float("inf"):
            raise InputError(f"chunk_seconds is {chunk_seconds!r}; expected a positive number of seconds")
        try:
            self.gain = check_gain(gain)
        except ValueError as exc:
            raise InputError(f"gain is {gain!r}: {exc}") from exc
        self.path, self.sample_rate, self.chunk_seconds, self.track = Path(path), int(sample_rate), chunk_seconds, track
        self.gain_db = 0.0 if self.gain == "peak" else self.gain
        self.info = media_info(path, track)
        if self.info.audio is None:
            raise InputError(
                f"{path} has no sound track; pass a film with sound, or extract its picture instead (VideoSettings)"
            )
        self.gaps = self.overlaps = self.damaged_packets = 0
        self.gap_seconds = self.overlap_seconds = self.duration = self.film_duration = self.peak = 0.0
        self._remarks: tuple[str, ...] = ()

    @property
    def track_delay(self) -> float:
        """Seconds from film zero to the first sample: the silence that stands before the sound."""
        return self.info.track_delay or 0.0

    @property
    def duration_hint(self) -> float | None:
        """Seconds of sound to expect, for progress bars; None where the medium does not say."""
        return self.info.duration_hint

    def measure(self) -> None:
        """Read the sound through without keeping any of it: peak, durations and counts are known afterwards."""
        assert self.info.audio is not None
        for _ in self._pieces(self.info.audio.sample_rate, 1.0):
            pass

    def __iter__(self) -> Iterator[np.ndarray]:
        size = max(1, round(self.chunk_seconds * self.sample_rate))
        held: list[np.ndarray] = []
        n = 0
        if self.gain == "peak":
            self.measure()
            self.gain_db = -20 * log10(self.peak) if self.peak else 0.0
            if self.gain_db > LOUDEST:
                raise InputError(
                    f"{self.path} goes up to {self.peak:.3g} of full scale 1, so that gain='peak' would be "
                    f"{self.gain_db:.0f} dB, over {LOUDEST:g}: is it the right track? Pass a number of dB"
                )
        for piece in self._pieces(self.sample_rate, 10 ** (self.gain_db / 20)):
            held.append(piece)
            n += len(piece)
            if n >= size:
                ready = np.concatenate(held)
                n %= size
                yield from ready[: len(ready) - n].reshape(-1, size)
                held = [ready[len(ready) - n :]]
        self._tell()
        if n:
            yield np.concatenate(held)

    def _pieces(self, sample_rate: int, factor: float) -> Iterator[np.ndarray]:
        """The output as it becomes ready; the counts when it ends."""
        assert self.info.audio is not None
        rate, container, peak, lost = self.info.audio.sample_rate, self.info.container, 0.0, -1
        with open_film(self.path, self.track) as film:
            padded_from = film.padded_from()
            clock = SoundClock(
                sample_rate,
                str(self.path),
                seamless=container == "ogg",
                tolerance=max(TOLERANCE, film.tick_of_sound()),
                until=None if padded_from is None else padded_from - self.info.zero,
            )
            for frame in film.frames():
                if container == "aac" and frame.sample_rate != rate:
                    # There are no timestamps in raw AAC: FFmpeg counts them, at the first rate to the end.
                    raise InputError(
                        f"{self.path}: the sample rate changes from {rate} to {frame.sample_rate} Hz at "
                        f"{float(clock.end):.2f} s, in a format without timestamps: re-encode the sound"
                    )
                at = None if frame.pts is None else frame.pts * Fraction(frame.time_base or 0) - self.info.zero
                if container == "avi" and lost == film.damaged:
                    at = None  # AVI stores no times: FFmpeg takes all packets for equally long
                lost = film.damaged
                block = _mono(frame, self.path)
                loudest = float(np.abs(block).max())
                if not np.isfinite(loudest):
                    bad = int(np.argmin(np.isfinite(block)))
                    where = float(clock.end if at is None else at) + bad / frame.sample_rate
                    raise InputError(
                        f"{self.path}: a sample of the sound at {where:.3f} s is {block[bad]}: only finite ones can be "
                        "used; export the sound again"
                    )
                peak = max(peak, loudest)
                yield from clock.lay(block if factor == 1 else block * np.float32(factor), frame.sample_rate, at)
            yield clock.flush()
            self._remarks = film.check_complete(clock.end + self.info.zero)
            film_end = film.video_end(default=clock.end + self.info.zero)
        self.gaps, self.overlaps, self.damaged_packets = clock.gaps, clock.overlaps, film.damaged
        self.gap_seconds, self.overlap_seconds = float(clock.gap_seconds), float(clock.overlap_seconds)
        self.duration, self.peak = float(clock.end), peak
        self.film_duration = float(max(clock.end, film_end - self.info.zero))

    def _tell(self) -> None:
        """Warn of what is unusual about the sound that was read."""
        for remark in self._remarks:
            log.warning("%s", remark)
        if self.gaps or self.overlaps or self.damaged_packets:
            log.warning(
                "%s: %d gaps in the sound filled with silence (%.3f s), %d overlaps cut (%.3f s), %d damaged packets",
                self.path, self.gaps, self.gap_seconds, self.overlaps, self.overlap_seconds, self.damaged_packets,
            )  # fmt: skip
        level = self.peak * 10 ** (self.gain_db / 20)
        if level > self._full_scale():
            # Rounded down, or who follows the advice is told again.
            enough = max(floor(-200 * log10(self.peak)) / 10, -LOUDEST)
            log.warning(
                "%s: the sound%s goes up to %.5g, %.1f dB beyond full scale (1): codecs distort what lies beyond, and "
                "sound files clip it; a gain of %.1f dB (`gain=%.1f`, or `gain='peak'`) brings it below full scale",
                self.path, f" with a gain of {self.gain_db:g} dB" if self.gain_db else "", level, 20 * log10(level),
                enough, enough,
            )  # fmt: skip

    def _full_scale(self) -> float:
        """The magnitude beyond which the sound is too loud."""
        from av import Codec

        assert self.info.audio is not None
        codec = Codec(self.info.audio.codec, "r")
        return LOSSY_FULL_SCALE if codec.lossy or not codec.lossless else FULL_SCALE


def _mono(frame: AudioFrame, path: Path) -> np.ndarray:
    """The samples of a decoded frame, float32 (n,)."""
    from av.audio.frame import format_dtypes
    from av.audio.resampler import AudioResampler

    names = [channel.name for channel in frame.layout.channels]
    # PyAV has no arrays of 64-bit integers, and reads beyond the memory of frames with more than 8 planes.
    if frame.format.name not in format_dtypes or (frame.format.is_planar and len(names) > 8):
        with reading(path, "re-encode the sound"):
            (frame,) = AudioResampler(format="dbl").resample(frame)
    samples = frame.to_ndarray()  # (n_channels, n) if planar, else (1, n * n_channels)
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused with its second
        return downmix(as_float(samples if frame.format.is_planar else samples.reshape(-1, len(names)).T), names)
