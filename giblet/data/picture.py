"""The picture of a film, streamed frame by frame with the seconds in which each is shown, and pictures back to film."""

from __future__ import annotations

import logging
import struct
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from giblet.data.film.container import open_film
from giblet.data.media import AudioReader, media_info
from giblet.errors import InputError
from giblet.files import atomic_path
from giblet.timing import Number, exact

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

log = logging.getLogger(__name__)

ZERO = Fraction(0)

LONGEST_STEP_BACK = 1
"""Seconds by which timestamps may fall behind those before; such frames are left out, counted and reported."""

LOOK_AHEAD = 4
"""Frames that are read before the time of one is settled: what they take back was no jump."""

SCALING = ("AREA", "ACCURATE_RND", "BITEXACT", "FULL_CHR_H_INT")
"""Each pixel the mean of those that it covers, computed alike on every processor."""

FULL_RANGE = np.rint((np.arange(256) - 16) * (255 / 219)).clip(0, 255).astype(np.uint8)
"""Of each 8-bit value of limited range, in which 16 is black and 235 white."""


class Upright(NamedTuple):
    """What makes a stored frame upright and its pixels square."""

    swapped: bool = False
    """Whether rows and columns change places."""
    flipped: tuple[int, ...] = ()
    """The axes that are turned round after that: 0 for rows, 1 for columns."""
    pixel_aspect: Fraction = Fraction(1)
    """How much wider than high a stored pixel is shown."""

    @classmethod
    def of(cls, frame: VideoFrame, pixel_aspect: Fraction | None) -> Upright:
        """By the frame's display matrix, which maps a pixel at (x, y) to (a x + c y, b x + d y).

        What is no quarter turn is rounded to one.

        Parameters
        ----------
        frame : VideoFrame
        pixel_aspect : Fraction or None
            How much wider than high a stored pixel is shown; None or 0: its pixels are square.

        Returns
        -------
        Upright
        """
        matrix: Any = frame.side_data.get("DISPLAYMATRIX")
        if matrix is None:
            return cls(pixel_aspect=pixel_aspect or Fraction(1))
        a, b, _, c, d = struct.unpack("=5i", bytes(matrix)[:20])
        swapped = abs(b) + abs(c) > abs(a) + abs(d)
        across, down = (c, b) if swapped else (a, d)
        flipped = tuple(axis for axis, sign in ((0, down), (1, across)) if sign < 0)
        return cls(swapped, flipped, pixel_aspect or Fraction(1))


AS_STORED = Upright()


@dataclass(frozen=True)
class ShownFrame:
    """A frame, and the seconds on the film's clock in which it is on the screen, from `start` up to `end`."""

    frame: VideoFrame
    start: Fraction
    end: Fraction
    upright: Upright = AS_STORED

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the frame as players show it, in pixels as high as those stored are."""
        across = max(1, round(self.frame.width * self.upright.pixel_aspect))
        return (across, self.frame.height) if self.upright.swapped else (self.frame.height, across)

    def pixels(self, size: tuple[int, int] | None = None, *, grey: bool = False) -> np.ndarray:
        """The frame as players show it: turned, mirrored, with square pixels.

        Parameters
        ----------
        size : tuple of int, optional
            Height and width that it is scaled to, whatever its shape; by default it stays as large as it is.
        grey : bool
            Only its luma, for which FFmpeg makes no colours: 0 is black and 255 white.

        Returns
        -------
        ndarray of uint8, shape (height, width, 3) or (height, width)
            sRGB, or with `grey` its luma.
        """
        from av.video.reformatter import ColorRange, Interpolation

        swapped, flipped, _ = self.upright
        height, width = self.shape if size is None else size
        if swapped:
            height, width = width, height
        kind = "gray" if grey else "rgb24"
        scaling = Interpolation(0)
        for name in SCALING:
            scaling |= Interpolation[name]
        scaled = self.frame.reformat(width, height, format=kind, interpolation=scaling, threads=1).to_ndarray()
        if self.frame.color_range == ColorRange.MPEG and self.frame.format.name.startswith("gray"):
            scaled = FULL_RANGE[scaled]  # FFmpeg takes grey for 0 to 255 whatever the film says
        if not swapped and not flipped:
            return scaled
        return np.ascontiguousarray(np.flip(scaled.swapaxes(0, 1) if swapped else scaled, flipped))


class PictureReader:
    """The frames of a film in the order shown; memory does not grow with the film.

    A frame is on the screen from its timestamp (PTS) until that of the next, however long; the last one as long as
    the film says. Seconds count from film zero, as in :class:`giblet.data.media.AudioReader`. Where the film stores
    only when frames are decoded (AVI, ASF), they are shown in the same rhythm, the first of them when it is decoded.
    Timestamps that stand in the order of decoding are put into that of showing. Damaged frames are left out (the one
    before stays), a single timestamp that those around it contradict is put between them; both are counted and told.
    Iterating again reads again.

    Parameters
    ----------
    path : str or Path
    track : int, optional
        The sound track with which the film is used: film zero depends on when it begins.

    Yields
    ------
    ShownFrame

    Attributes
    ----------
    info : MediaInfo
    damaged : int
        Frames left out because they cannot be decoded. This and all below are known after a complete reading.
    overlapping : int
        Frames left out because timestamps go back to what was shown already.
    mended : int
        Frames whose timestamp was put between those around it.
    film_duration : Fraction
        Seconds from film zero to the end of sound or picture, whichever is later: the same as for the sound.

    Raises
    ------
    InputError
        If the film cannot be read, has no picture, is cut off, or its picture has no timestamps or such as jump back.
    """

    def __init__(self, path: str | Path, track: int | None = None) -> None:
        self.path, self.track = Path(path), track
        self.info = media_info(path, track)
        if self.info.video_offset is None:
            raise InputError(f"{path} has no picture; pass a film with picture, or extract its sound only")
        self.damaged = self.overlapping = self.mended = 0
        self.film_duration = ZERO

    def __iter__(self) -> Iterator[ShownFrame]:
        self.damaged = self.overlapping = self.mended = 0
        held: VideoFrame | None = None
        upright, at, zero = AS_STORED, ZERO, self.info.zero
        remarks: tuple[str, ...] = ()
        with open_film(self.path, self.track) as film:
            for frame, ticks in self._in_order(film.pictures()):
                start = ticks * Fraction(frame.time_base or 0) - zero
                if held is not None and start > max(at, ZERO):
                    yield ShownFrame(held, max(at, ZERO), start, upright)
                if held is None or frame.rotation != held.rotation:
                    upright = Upright.of(frame, getattr(film.video, "sample_aspect_ratio", None))
                held, at = frame, start
            if held is None:
                raise InputError(f"{self.path}: no frame of the picture can be decoded: use another copy of the film")
            end = max(at, film.video_end(default=zero + at) - zero)
            if self.info.audio is None:
                remarks = film.check_complete()
            if end > max(at, ZERO):
                yield ShownFrame(held, max(at, ZERO), end, upright)
            self.damaged += film.damaged
        self.film_duration = max(end, self._sound_end())
        for remark in (*remarks, *self._remarks()):
            log.warning("%s", remark)

    def _in_order(self, frames: Iterable[tuple[VideoFrame, int | None]]) -> Iterator[tuple[VideoFrame, int | Fraction]]:
        """Whole frames with times that do not go back: what the next ones take back is no jump."""
        before: int | Fraction | None = None
        going_back = False
        whole = (frame for frame in frames if not self._is_damaged(frame[0]))
        for waiting in _windows(whole, LOOK_AHEAD + 1):
            frame, stamp = waiting[0]
            start: int | Fraction | None = stamp
            if before is None:
                if start is None:
                    raise InputError(f"{self.path}: the picture has no timestamps: put it into an mp4 or mkv container")
            elif stamp is None or stamp < before or any(time is not None and time < stamp for _, time in waiting):
                start = self._mended(waiting, before, going_back)
                going_back = start < before
                if going_back:
                    self.overlapping += 1
                    continue
            assert start is not None
            before, going_back = start, False
            yield frame, start

    def _is_damaged(self, frame: VideoFrame) -> bool:
        self.damaged += frame.is_corrupt
        return frame.is_corrupt

    def _mended(
        self, waiting: deque[tuple[VideoFrame, int | None]], before: int | Fraction, going_back: bool
    ) -> int | Fraction:
        """The time of the first frame that waits, where its own is missing, goes back, or is later than the next ones'.

        Between those around it, where they go on from the frame before without it.
        """
        frame, start = waiting[0]
        ahead = [(time, k) for k, (_, time) in enumerate(waiting) if k and time is not None and time > before]
        earliest, k = min(ahead, default=(before + (frame.duration or 0), 0))
        if start is not None and start >= before:
            if not ahead or earliest >= start:
                return start  # one of the next goes back behind the frame before: that is the one to mend
            if max(ahead)[0] > start and all(2 * abs(time - start) >= (frame.duration or 0) for time, _ in ahead):
                # Times of decoding that pass for those of showing: the same ones in order.
                waiting[k] = waiting[k][0], start
                return earliest
        elif start is not None and (going_back or not ahead):
            tick = Fraction(frame.time_base or 0)
            if start * tick < before * tick - LONGEST_STEP_BACK:
                raise InputError(
                    f"{self.path}: timestamps of the picture jump back by {float((before - start) * tick):.2f} s at "
                    f"{float(before * tick - self.info.zero):.2f} s: re-encode the film, or cut it there"
                )
            return start
        self.mended += 1
        return before + Fraction(earliest - before) / (k + 1)

    def _remarks(self) -> Iterator[str]:
        if self.damaged:
            yield f"{self.path}: {self.damaged} damaged frames of the picture were left out"
        if self.overlapping:
            yield f"{self.path}: {self.overlapping} frames of the picture that go back in time were left out"
        if self.mended:
            yield f"{self.path}: {self.mended} timestamps of the picture were repaired, as those around contradict them"

    def _sound_end(self) -> Fraction:
        """When the film ends for who listens; sound and picture must count the same TRs.

        Only the decoded sound says it exactly: durations of packets are rounded (to 1 ms in Matroska), hold what the
        encoder padded with, and do not know which packets cannot be decoded.
        """
        if self.info.audio is None:
            return ZERO
        sound = AudioReader(self.path, track=self.track)
        sound.measure()
        return exact(sound.film_duration)


def _windows(frames: Iterable[tuple[VideoFrame, int | None]], n: int) -> Iterator[deque[tuple[VideoFrame, int | None]]]:
    """Each frame, first in line, with those behind it: `n` in all, fewer at the end."""
    waiting: deque[tuple[VideoFrame, int | None]] = deque()
    for item in frames:
        waiting.append(item)
        if len(waiting) == n:
            yield waiting
            waiting.popleft()
    while waiting:
        yield waiting
        waiting.popleft()


def write_pictures(path: str | Path, pictures: Iterable[np.ndarray], seconds: Number) -> Path:
    """Write an mp4 (H.264, else MPEG-4) that shows each picture for exactly `seconds`, whole or not at all.

    Parameters
    ----------
    path : str or Path
        Ending in ``.mp4``.
    pictures : iterable of ndarray of uint8, shape (height, width, 3)
        All of one size, height and width even.
    seconds : float or Fraction
        For which each is shown.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    InputError
        If the ending or the size is another, or the file cannot be written.
    """
    import av
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

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
