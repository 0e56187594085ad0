"""A film as FFmpeg opens it: its tracks, its time zero, the packets of its sound, and whether its end is there.

*Film zero* is the earliest moment that is presented: the start of the picture or of the sound, whichever comes first.
Sound, picture and words all count their seconds from it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

from giblet.errors import InputError

log = logging.getLogger(__name__)

DECLARE_EACH_STREAM = ("mov,mp4,m4a,3gp,3g2,mj2", "flac", "aiff", "wv")
"""Containers whose header tells how long each stream is. Matroska tells when the last of them ends; RIFF (WAV, AVI)
and Ogg show by their bytes that the end is missing; what FFmpeg says of MP3, ADTS or MPEG-TS is an estimate."""

STREAM_SLACK, FILE_SLACK = Fraction("0.1"), Fraction(1)
"""Seconds that may be missing of a stream (encoders and decoders pad and trim up to a packet), and of the longest
stream of a file (whose last picture may come without a duration)."""

LARGEST_OGG_PAGE, OGG_END = 65_307, 4
"""Bytes of header and body; the bit in a page's header that says that it is the last of its stream."""


@dataclass(frozen=True)
class AudioTrack:
    """One of the sound tracks of a film."""

    index: int
    """Place among the sound tracks, from 0."""
    codec: str
    sample_rate: int
    """In Hz."""
    layout: str
    """FFmpeg's name of the loudspeaker layout: mono, stereo, 5.1(side), ..."""
    n_channels: int
    language: str

    def __str__(self) -> str:
        return f"{self.index} ({self.codec}, {self.layout}, {self.sample_rate} Hz, {self.language})"


@dataclass(frozen=True)
class MediaInfo:
    """What a film is known to hold before it is read whole."""

    container: str
    """FFmpeg's name of the format."""
    zero: Fraction
    """Film zero in seconds on the medium's own clock: subtract it from every PTS."""
    start_offset: float | None
    """Seconds from film zero to the first sample of the sound; None without sound."""
    video_offset: float | None
    """Seconds from film zero to the picture; None without picture (the cover of an album is none)."""
    duration_hint: float | None
    """Seconds from film zero to the end of the sound (without sound: of the file) as declared or estimated; None
    where neither is possible."""
    audio: AudioTrack | None
    """The sound track that is read; None without sound."""
    tracks: tuple[AudioTrack, ...]
    """All sound tracks."""


@contextmanager
def open_film(path: str | Path, track: int | None = None) -> Iterator[Film]:
    """A film, open for one pass over its packets, and closed at the end of the block.

    Parameters
    ----------
    path : str or Path
        Anything that FFmpeg reads.
    track : int, optional
        Which sound track, from 0. By default the one that the film marks as its default, or else the first.

    Raises
    ------
    InputError
        If the file cannot be read, holds neither picture nor sound, or has no such track.
    """
    path = Path(path)
    try:
        path.open("rb").close()
    except OSError as exc:
        raise InputError(f"{path} cannot be read ({exc.strerror}): give a film or sound file you may read") from exc
    try:
        # The absolute path, because FFmpeg takes what stands before a colon for a protocol. Titles in an old encoding
        # are no reason to refuse a film.
        container = av.open(str(path.absolute()), metadata_errors="replace")
    except av.FFmpegError as exc:
        raise InputError(
            f"{path} cannot be read as film or sound (FFmpeg: {exc.strerror}): it is cut off, damaged or something "
            "else; see whether a player plays it, and copy or download it again"
        ) from exc
    with container:
        yield Film(path, container, track)


class Film:
    """The streams of an open film, and what one pass over its packets tells.

    Attributes
    ----------
    tracks : tuple of AudioTrack
    track : AudioTrack or None
        The one chosen; None if there is no sound.
    video : Stream or None
        The picture: FFmpeg's best video stream that is no attached image.
    ends : dict of int to Fraction
        When the last packet of each stream ends, in seconds on the medium's clock; filled by :meth:`frames`.
    packets, damaged : int
        Packets of sound, and those of them that could not be decoded; filled by :meth:`frames`.
    """

    def __init__(self, path: Path, container: InputContainer, track: int | None) -> None:
        self.path, self.container = path, container
        self.ends: dict[int, Fraction] = {}
        self.packets = self.damaged = 0
        streams = list(container.streams.audio)
        self.tracks = tuple(_track(index, stream) for index, stream in enumerate(streams))
        self.video = _picture(container)
        if track is None and streams:
            # Not FFmpeg's best: with nothing marked, that is the dub with the highest bit rate.
            track = next((index for index, stream in enumerate(streams) if stream.disposition & Disposition.default), 0)
        if track is not None and (isinstance(track, bool) or track not in range(len(streams))):
            there = ", ".join(map(str, self.tracks)) or "none"
            raise InputError(f"{path} has no sound track {track!r}: choose one of {there}")
        self.track = None if track is None else self.tracks[track]
        self._stream: AudioStream | None = None if track is None else streams[track]
        if self.track is None and self.video is None:
            raise InputError(f"{path} holds neither sound nor picture ({container.format.name}): give a film or sound")

    def info(self) -> MediaInfo:
        """Describe the film by its header and the first frame of its sound; the pass over the packets is then used up.

        Raises
        ------
        InputError
            If there is nothing on the sound track, or the file is seen to be cut off.
        """
        shown = None if self.video is None else _seconds(self.video, self.video.start_time)
        heard, track = None, self.track
        if self._stream is not None and track is not None:
            frame = next(self.frames(), None)
            if frame is None:
                raise InputError(
                    f"{self.path}: nothing can be heard on sound track {track} ({self.damaged} damaged packets): "
                    "choose another track or another copy of the film"
                )
            heard = _seconds(self._stream, frame.pts)
            # What the header says may be half the truth: HE-AAC declares half of its sample rate.
            n_channels = len(frame.layout.channels)
            track = replace(track, sample_rate=frame.sample_rate, layout=frame.layout.name, n_channels=n_channels)
        zero = min(start for start in (shown, heard) if start is not None)
        end = self._declared_end()
        self._check_bytes(None if end is None else end - zero)
        return MediaInfo(
            container=self.container.format.name,
            zero=zero,
            start_offset=None if heard is None else float(heard - zero),
            video_offset=None if shown is None else float(shown - zero),
            duration_hint=None if end is None else float(end - zero),
            audio=track,
            tracks=self.tracks,
        )

    def frames(self) -> Iterator[AudioFrame]:
        """The sound track as FFmpeg decodes it; packets that it cannot decode are counted and left out.

        Raises
        ------
        InputError
            If FFmpeg gives up before the end of the file.
        """
        assert self._stream is not None, "a film without sound has no frames"
        if self._stream.codec_context is None:
            raise InputError(
                f"{self.path}: FFmpeg here has no decoder for sound track {self.track}: choose another, or re-encode it"
            )
        yield from (frame for frame in self.decoded(self._stream) if frame.samples)

    def decoded(self, stream: AudioStream | VideoStream) -> Iterator[Any]:
        """The frames of a stream as FFmpeg decodes it; packets that it cannot decode are counted and left out.

        Raises
        ------
        InputError
            If FFmpeg gives up before the end of the file.
        """
        try:
            for packet in self.container.demux():  # all streams: the film's own end is that of the longest
                index = packet.stream.index
                if packet.pts is not None:
                    end = (packet.pts + (packet.duration or 0)) * Fraction(packet.time_base)
                    self.ends[index] = max(end, self.ends.get(index, end))
                if index == stream.index:
                    try:
                        yield from stream.decode(packet)
                    except av.FFmpegError:  # of many kinds, by codec
                        self.damaged += 1
                    if not packet.size and packet.pts is None:
                        return  # the empty packet behind the last: PyAV fails on streams that came up on the way
                    self.packets += 1
        except av.FFmpegError as exc:
            reached = float(max(self.ends.values(), default=Fraction(0)))
            raise InputError(
                f"{self.path} cannot be read beyond {reached:.2f} s (FFmpeg: {exc.strerror}): "
                "it is damaged or cut off; copy or download it again, or re-encode it"
            ) from exc

    def check_complete(self, end: Fraction) -> None:
        """Compare where the sound ended, in seconds on the medium's clock, with what the header declares.

        Raises
        ------
        InputError
            If the header declares more than there is, and is to be trusted.
        """
        name, declared = self.container.format.name, self._declared_end()
        if self._stream is None or declared is None:
            return
        held, slack = end, STREAM_SLACK
        if name.startswith("matroska"):
            if any(stream.duration is not None for stream in self.container.streams):
                return  # the header has no duration: FFmpeg estimated it, for the streams as for the file
            held, slack = max(self.ends.values()), FILE_SLACK
        elif name == "mp3":  # a count of frames in the first one, or else an estimate from the bit rate
            if end < declared * Fraction("0.95") - 1:
                found = f"ends at {float(end):.2f} s, {float(declared):.2f} s were expected"
                log.warning("%s: the sound %s: see whether the file is complete", self.path, found)
            return
        elif name not in DECLARE_EACH_STREAM or self.packets >= self._stream.frames > 0:
            return  # all packets are there: it is the last that is said to last longer
        if held < declared - slack:
            raise _cut_off(self.path, _share(held, declared))

    def video_end(self, default: Fraction) -> Fraction:
        """When the picture ends, in seconds on the medium's clock, after all packets were read."""
        return default if self.video is None else self.ends.get(self.video.index, default)

    def _declared_end(self) -> Fraction | None:
        """The end of the sound, or else of the file, in seconds on the medium's clock, as well as the header tells."""
        stream = self._stream
        if stream is not None and stream.duration is not None:
            return _seconds(stream, (stream.start_time or 0) + stream.duration)
        return None if self.container.duration is None else Fraction(self.container.duration, av.time_base)

    def _check_bytes(self, held: Fraction | None) -> None:
        """See whether the end of a RIFF or Ogg file is there: FFmpeg takes what is there for the whole."""
        size = self.path.stat().st_size
        with self.path.open("rb") as file:
            head = file.read(8)
            file.seek(max(0, size - 2 * LARGEST_OGG_PAGE))
            tail = file.read()
        if head[:4] == b"OggS":
            page = tail[max(0, tail.rfind(b"OggS", 0, len(tail) - 22)) :]  # the last with a whole header of 27 bytes
            n_segments = page[26]
            if not page[5] & OGG_END or len(page) < 27 + n_segments + sum(page[27 : 27 + n_segments]):
                raise _cut_off(self.path, "the mark that ends an Ogg stream is missing")
        if head[:4] == b"RIFF" and held is not None:
            declared = int.from_bytes(head[4:], "little") + 8
            # Programs that could not go back to fill in the size have left 0, or some number near 2**31 or 2**32.
            if declared < 0x7FFF0000 and held * (declared - size) > STREAM_SLACK * size:
                raise _cut_off(self.path, _share(held, held * declared / size))


def _cut_off(path: Path, how: str) -> InputError:
    return InputError(f"{path} is cut off: {how}; copy or download it again")


def _share(held: Fraction, declared: Fraction) -> str:
    return f"it holds {float(held):.2f} s of the {float(declared):.2f} s that its header declares"


def _seconds(stream: Stream, pts: int | None) -> Fraction:
    """A timestamp of the stream in seconds; streams without any start at 0."""
    return (pts or 0) * Fraction(stream.time_base or 0)


def _track(index: int, stream: AudioStream) -> AudioTrack:
    language = stream.language or "und"
    context = stream.codec_context
    if context is None:  # a codec that this FFmpeg does not have
        return AudioTrack(index, "unknown codec", 0, "unknown", 0, language)
    return AudioTrack(
        index, context.name, context.sample_rate, context.layout.name, context.layout.nb_channels, language
    )


def _picture(container: InputContainer) -> Stream | None:
    attached = Disposition.attached_pic | Disposition.timed_thumbnails
    moving = [stream for stream in container.streams.video if not stream.disposition & attached]
    best = container.streams.best("video")
    return next((stream for stream in moving if stream is best), moving[0] if moving else None)
