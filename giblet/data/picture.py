"""The picture of a film, streamed frame by frame with the seconds in which each is shown, and pictures back to film."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation
from av.video.stream import VideoStream

from giblet.data.film import Film, open_film
from giblet.data.media import AudioReader, media_info
from giblet.errors import InputError
from giblet.files import atomic_path
from giblet.timing import Number, exact

log = logging.getLogger(__name__)

ZERO = Fraction(0)

LONGEST_STEP_BACK = 1
"""Seconds by which a timestamp may fall behind the one before; such frames are left out, counted and reported."""

SCALING = Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.BITEXACT | Interpolation.FULL_CHR_H_INT
"""Each pixel the mean of those that it covers, computed alike on every processor."""


@dataclass(frozen=True)
class Shown:
    """A frame, and the seconds on the film's clock in which it is on the screen, from `start` up to `end`."""

    frame: VideoFrame
    start: Fraction
    end: Fraction

    def pixels(self, size: tuple[int, int] | None = None) -> np.ndarray:
        """The frame as sRGB, uint8 (height, width, 3), scaled to `size` (height, width), or as large as it is."""
        height, width = size or (self.frame.height, self.frame.width)
        scaled = self.frame.reformat(width, height, format="rgb24", interpolation=SCALING, threads=1)
        return scaled.to_ndarray()


class PictureReader:
    """The frames of a film in the order shown; memory does not grow with the film.

    A frame is on the screen from its timestamp (PTS) until that of the next, however long; the last one as long as
    the film says. Seconds count from film zero, as in :class:`giblet.data.media.AudioReader`. Damaged frames are left
    out (the one before stays), counted, and told in one warning. Iterating again reads again.

    Parameters
    ----------
    path : str or Path
    track : int, optional
        The sound track with which the film is used: film zero depends on when it begins.

    Yields
    ------
    Shown

    Attributes
    ----------
    info : MediaInfo
    damaged : int
        Frames left out. This and the next are known after a complete reading.
    film_duration : Fraction
        Seconds from film zero to the end of sound or picture, whichever is later: the same as for the sound.

    Raises
    ------
    InputError
        If the film cannot be read, has no picture, or its picture has no timestamps or such as jump back.
    """

    def __init__(self, path: str | Path, track: int | None = None) -> None:
        self.path, self.track = Path(path), track
        self.info = media_info(path, track)
        if self.info.video_offset is None:
            raise InputError(f"{path} has no picture: give a film with picture, or extract its sound only")
        self.damaged, self.film_duration = 0, Fraction(0)

    def __iter__(self) -> Iterator[Shown]:
        self.damaged, held, at = 0, None, Fraction(0)
        last_duration = Fraction(0)
        with open_film(self.path, self.track) as film:
            for frame in self._decoded(film):
                if frame.pts is None or not frame.time_base:
                    raise InputError(f"{self.path}: the picture has no timestamps: put it into an mp4 or mkv container")
                start = frame.pts * Fraction(frame.time_base) - self.info.zero
                if held is not None and start < at - LONGEST_STEP_BACK:
                    raise InputError(
                        f"{self.path}: timestamps of the picture jump back by {float(at - start):.2f} s at "
                        f"{float(at):.2f} s: re-encode the film, or cut it there"
                    )
                if frame.is_corrupt or (held is not None and start < at):
                    self.damaged += 1
                    continue
                if held is not None and start > max(at, ZERO):
                    yield Shown(held, max(at, ZERO), start)
                held, at = frame, start
                last_duration = (frame.duration or 0) * Fraction(frame.time_base)
            if held is None:
                raise InputError(f"{self.path}: no frame of the picture can be decoded: use another copy of the film")
            end = max(at + last_duration, film.video_end(default=Fraction(0)) - self.info.zero)
            if end > max(at, ZERO):
                yield Shown(held, max(at, ZERO), end)
        self.film_duration = max(end, self._sound_end())
        if self.damaged:
            log.warning("%s: %d damaged frames of the picture were left out", self.path, self.damaged)

    def _decoded(self, film: Film) -> Iterator[VideoFrame]:
        """The picture as FFmpeg decodes it; packets that it cannot decode are counted and left out."""
        stream = film.video
        if not isinstance(stream, VideoStream) or stream.codec_context is None:
            raise InputError(f"{self.path}: FFmpeg here has no decoder for the picture: re-encode the film")
        stream.thread_type = "AUTO"
        yield from film.decoded(stream)
        self.damaged += film.damaged

    def _sound_end(self) -> Fraction:
        """When the film ends for who listens: only the decoded sound tells, and both must count the same TRs."""
        if self.info.audio is None:
            return Fraction(0)
        sound = AudioReader(self.path, sample_rate=self.info.audio.sample_rate, track=self.track)
        for _ in sound:
            pass
        return exact(sound.film_duration)


def write_pictures(path: str | Path, pictures: Iterable[np.ndarray], seconds: Number) -> Path:
    """Write an mp4 (H.264, else MPEG-4) that shows each picture for exactly `seconds`, whole or not at all.

    Parameters
    ----------
    path : str or Path
        Ending in ``.mp4``.
    pictures : iterable of ndarray, uint8 (height, width, 3)
        All of one size, height and width even.
    seconds : float or Fraction
        For which each is shown.

    Raises
    ------
    InputError
        If the ending or the size is another, or the file cannot be written.
    """
    path, step = Path(path), exact(seconds)
    if path.suffix.lower() != ".mp4":
        raise InputError(f"cannot write a film as {path.name}: the name must end in .mp4")
    codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
    with atomic_path(path) as temporary:
        try:
            with av.open(str(temporary.absolute()), "w", format="mp4") as container:
                stream = container.add_stream(codec, rate=1 / step)
                assert isinstance(stream, VideoStream)
                stream.pix_fmt, stream.time_base = "yuv420p", Fraction(1, step.denominator)
                stream.codec_context.time_base = stream.time_base
                stream.codec_context.max_b_frames = 0  # pictures come out in order, and time begins at 0
                stream.options = {"crf": "16"} if codec == "libx264" else {"qscale": "2"}
                for k, picture in enumerate(pictures):
                    if k == 0:
                        stream.height, stream.width = picture.shape[:2]
                        if stream.height % 2 or stream.width % 2:
                            raise InputError(f"pictures are {picture.shape[:2]}: height and width must be even")
                    frame = VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
                    # Not stream.time_base, which the first packet that is written changes.
                    frame.pts, frame.time_base = k * step.numerator, Fraction(1, step.denominator)
                    frame.duration = step.numerator
                    for packet in stream.encode(frame):
                        packet.duration = step.numerator
                        container.mux(packet)
                for packet in stream.encode(None):
                    packet.duration = step.numerator
                    container.mux(packet)
        except av.FFmpegError as exc:
            raise InputError(
                f"cannot write {path} (FFmpeg: {exc.strerror}): free space or choose another folder"
            ) from exc
    return path
