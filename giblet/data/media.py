"""The sound track of anything that FFmpeg reads, streamed, on the film's own clock.

Time is what the medium's timestamps (PTS) say, never a count of frames. *Film zero* is the earliest moment that is
presented: the first frame of the picture or the first sample of the sound, whichever comes first. Sound, picture and
words all count their seconds from it, so a sound track that starts late, has a hole or drifts stays where it is heard.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from giblet.errors import InputError

log = logging.getLogger(__name__)

CHANNEL_WEIGHTS = {
    "FL": 1.0, "FR": 1.0, "FC": 2**0.5, "LFE": 0.0,
    "SL": 0.5**0.5, "SR": 0.5**0.5, "BL": 0.5**0.5, "BR": 0.5**0.5, "BC": 1.0,
}  # fmt: skip
"""Share of each loudspeaker in mono, before division by their sum: see :func:`downmix`."""

PTS_TOLERANCE = Fraction("0.010")
"""Seconds by which sound may leave its timestamps before it is moved: above what rounding them does (1 ms in
Matroska), below what one sees between lips and voice, or finds in BOLD."""

LONGEST_GAP, LONGEST_OVERLAP = 600, 1
"""Seconds; beyond them timestamps are taken for broken (a clock that was reset), not for silence or an overlap."""

TELL_THE_TRACK = ("mov,mp4,m4a,3gp,3g2,mj2", "flac", "wv", "aiff")
"""Containers whose header tells the duration of the sound track itself; FFmpeg only estimates that of MP3, ADTS or
MPEG-TS. Matroska tells when the last of its streams ends; RIFF (WAV, AVI) and Ogg show in their bytes that the end
is missing."""


@dataclass(frozen=True)
class AudioTrack:
    """One of the sound tracks of a film."""

    index: int
    """Place among the sound tracks, from 0: what `track` means."""
    codec: str
    sample_rate: int
    """In Hz, as stored."""
    layout: str
    """FFmpeg's name of the loudspeaker layout: mono, stereo, 5.1(side), ..."""
    n_channels: int
    language: str | None

    def __str__(self) -> str:
        return f"{self.index}: {self.codec}, {self.layout}, {self.sample_rate} Hz, {self.language or 'und'}"


@dataclass(frozen=True)
class MediaInfo:
    """What a film says about itself before it is read whole."""

    container: str
    """FFmpeg's name of the format."""
    zero: Fraction
    """Film zero on the medium's own clock, in seconds: subtract it from every PTS."""
    start_offset: float
    """Seconds from film zero to the first sample; 0 without sound."""
    video_offset: float | None
    """Seconds from film zero to the picture; None without picture (the cover of an album is none)."""
    duration_hint: float | None
    """Seconds from film zero to the end of the sound, as declared or estimated; for progress bars."""
    audio: AudioTrack | None
    """The sound track that is read; None if the film is silent."""
    tracks: tuple[AudioTrack, ...]
    """All sound tracks."""


def downmix(block: np.ndarray, channels: Sequence[str]) -> np.ndarray:
    """Mono from any loudspeaker layout, by one documented matrix instead of the decoder's defaults.

    Left and right weigh 1, centre sqrt(2), each surround sqrt(1/2), a single rear surround 1, the effects channel 0:
    the sum of both sides of the stereo downmix of ITU-R BS.775. Divided by the sum of the weights, so that it cannot
    clip; stereo becomes the mean, as in `librosa.to_mono`. A layout with any other loudspeaker becomes its mean.

    Parameters
    ----------
    block : ndarray of float, shape (n_channels, n_samples)
    channels : sequence of str
        FFmpeg's names: ``FL FR FC LFE SL SR BL BR BC``.

    Returns
    -------
    ndarray of float32, shape (n_samples,)

    References
    ----------
    Recommendation ITU-R BS.775-4, Multichannel stereophonic sound system, Annex 4, Table 2.

    Examples
    --------
    >>> downmix(np.array([[1.0], [0.0]]), ["FL", "FR"]).tolist()
    [0.5]
    """
    weights = np.array([CHANNEL_WEIGHTS.get(name, np.nan) for name in channels])
    if not weights.sum() > 0:  # also where an unknown loudspeaker makes the sum NaN
        weights = np.ones(len(channels))
    return np.asarray((weights / weights.sum()).astype(np.float32) @ block.astype(np.float32, copy=False))


def media_info(path: str | Path, track: int | None = None) -> MediaInfo:
    """What a film holds, and where its time zero is; decodes the first packets of the sound only.

    Parameters
    ----------
    path : str or Path
        Anything that FFmpeg reads.
    track : int, optional
        Which sound track, from 0. By default the one that FFmpeg's players choose, mostly the first.

    Raises
    ------
    InputError
        If the file cannot be read, is no film or sound, has no such track, or a track without sound.
    """
    with _opened(path) as container:
        return _info(path, container, track)


def film_zero(path: str | Path, track: int | None = None) -> Fraction:
    """Film zero in seconds on the medium's own clock, exact: a picture with PTS p is seen at ``p - film_zero(path)``.

    Parameters and errors as for :func:`media_info`. Pass the same `track` for sound and picture.
    """
    return media_info(path, track).zero


class AudioReader:
    """The sound of a film, mono at one sample rate, in chunks; memory does not grow with the film.

    Sample i of all chunks together is what sounds at ``i / sample_rate`` seconds after film zero. A sound track that
    starts later than the picture begins with silence. Where timestamps leave the running position by more than
    10 ms, holes are filled with silence and overlaps are cut; packets that cannot be decoded become silence too. All
    of these are counted, and told in one warning when the film ends. Iterating again reads again.

    Parameters
    ----------
    path : str or Path
        Anything that FFmpeg reads.
    sample_rate : int
        Of the output, in Hz.
    chunk_seconds : float
        Length of the chunks; the last one may be shorter. Their content does not depend on it.
    track : int, optional
        Which sound track, from 0. By default the one that FFmpeg's players choose, mostly the first.

    Yields
    ------
    ndarray of float32, shape (n,)
        Integer samples are scaled to [-1, 1]; floating point ones, lossy codecs and resampling may exceed it.

    Attributes
    ----------
    info : MediaInfo
        The track read, all tracks, start offset and duration as declared.
    gaps, overlaps, damaged_packets : int
        Known after the last chunk, as all that follow.
    gap_seconds, overlap_seconds : float
        Silence filled in (leading silence apart) and sound cut out.
    duration : float
        Seconds from film zero to the end of the sound; round(duration * sample_rate) samples were yielded.
    film_duration : float
        Seconds from film zero to the end of sound and picture, whichever is later.
    peak : float
        Largest magnitude in the mono sound before resampling; above 1 it was clipped in the making, or soon will be.

    Raises
    ------
    InputError
        As :func:`media_info`; while reading: if the file ends before its header says, timestamps jump by more than
        10 min forward or 1 s back, or samples are not finite.
    """

    def __init__(
        self, path: str | Path, sample_rate: int = 24_000, *, chunk_seconds: float = 10.0, track: int | None = None
    ) -> None:
        if isinstance(sample_rate, bool) or not isinstance(sample_rate, (int, np.integer)) or sample_rate < 1:
            raise InputError(f"sample rate is {sample_rate!r}: a whole number of Hz of at least 1 is needed")
        if not 0 < chunk_seconds * sample_rate < float("inf"):
            raise InputError(f"chunk_seconds is {chunk_seconds!r}: a positive number of seconds is needed")
        self.path, self.sample_rate, self.chunk_seconds = Path(path), int(sample_rate), chunk_seconds
        self.info = media_info(path, track)
        if self.info.audio is None:
            raise InputError(f"{path} has no sound track: give a film with sound, or leave the sound out")
        self._count(_Clock(self.path, self.sample_rate), _Demuxed())

    @property
    def start_offset(self) -> float:
        """Seconds from film zero to the first sample: the silence that was put before the sound."""
        return self.info.start_offset

    @property
    def duration_hint(self) -> float | None:
        """Seconds of sound to expect, for progress bars; None where the medium does not say."""
        return self.info.duration_hint

    def __iter__(self) -> Iterator[np.ndarray]:
        size = max(1, round(self.chunk_seconds * self.sample_rate))
        held, n = [], 0
        for piece in self._pieces():
            held.append(piece)
            n += len(piece)
            if n >= size:
                whole = np.concatenate(held)
                for start in range(0, n - size + 1, size):
                    yield whole[start : start + size]
                held, n = [whole[n - n % size :]], n % size
        if n:
            yield np.concatenate(held)

    def _pieces(self) -> Iterator[np.ndarray]:
        """The output as the decoder's frames give it, and the counts when they end."""
        assert self.info.audio is not None
        clock, demuxed = _Clock(self.path, self.sample_rate), _Demuxed()
        with _opened(self.path) as container:
            stream = container.streams.audio[self.info.audio.index]
            for frame in _frames(self.path, container, stream, demuxed):
                at = None if frame.pts is None else frame.pts * frame.time_base - self.info.zero
                block = downmix(_float(frame), [channel.name for channel in frame.layout.channels])
                yield from clock.lay(block, frame.sample_rate, at)
            yield clock.flush()
            _check_complete(self.path, container, stream, demuxed, clock.end + self.info.zero)
            video = _video(container)
            if video is not None and video.index in demuxed.ends:
                demuxed.film_end = demuxed.ends[video.index] - self.info.zero
        self._count(clock, demuxed)
        if clock.gaps or clock.overlaps or demuxed.damaged:
            log.warning(
                "%s: %d gaps (%.3f s) filled with silence, %d overlaps (%.3f s) cut, %d damaged packets left out",
                self.path, self.gaps, self.gap_seconds, self.overlaps, self.overlap_seconds, self.damaged_packets,
            )  # fmt: skip

    def _count(self, clock: _Clock, demuxed: _Demuxed) -> None:
        self.gaps, self.overlaps, self.damaged_packets = clock.gaps, clock.overlaps, demuxed.damaged
        self.gap_seconds, self.overlap_seconds = float(clock.gap_seconds), float(clock.overlap_seconds)
        self.duration, self.film_duration = float(clock.end), float(max(clock.end, demuxed.film_end))
        self.peak = clock.peak
