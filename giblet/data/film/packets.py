"""One pass over the packets of a film: the frames that come out of them, and when its streams end."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from giblet.data.film.headers import RiffHeader, SampleFormat
from giblet.errors import InputError, reading

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.packet import Packet
    from av.stream import Stream

MOVIE = "mov,mp4,m4a,3gp,3g2,mj2"
PRESENTATION_TIMES = (MOVIE, "mpegts", "mpeg", "flv", "ogg")
"""Containers that always store when a picture is shown, not only when it is decoded."""

FASTEST = 300
"""Frames per second; what FFmpeg guesses beyond is the clock of the container."""

FIRST_LOOK = 500
"""Packets of the picture in which its first frame is looked for."""


def opened(path: Path, **options: str) -> InputContainer:
    """The file as FFmpeg opens it.

    Parameters
    ----------
    path : Path
    **options : str
        FFmpeg's options of the format, such as ``fflags="nofillin"``.

    Returns
    -------
    InputContainer

    Raises
    ------
    InputError
        If FFmpeg cannot.
    """
    import av

    remedy = "it is cut off, damaged or something else; see whether a player plays it, and copy or download it again"
    with reading(f"{path} as film or sound", remedy):
        # The absolute path, because FFmpeg takes what stands before a colon for a protocol. Titles in an old encoding
        # are no reason to refuse a film.
        return av.open(str(path.absolute()), metadata_errors="replace", options=options)


def seconds(stream: Stream, ticks: int | None) -> Fraction:
    """A timestamp of the stream in seconds; streams without any start at 0.

    Parameters
    ----------
    stream : Stream
    ticks : int or None
        Of the stream's clock; None counts as 0.

    Returns
    -------
    Fraction
    """
    return (ticks or 0) * Fraction(stream.time_base or 0)


class Seen:
    """What the packets of a stream have told so far, in ticks of its clock.

    Attributes
    ----------
    packets : int
    first : int or None
        When the packet begins that is presented first.
    furthest : int
        The latest time that any packet names.
    length_of_last_read : int
        Of the packet that was read last, which need not be the one that is presented last.
    """

    def __init__(self, stream: Stream) -> None:
        self.packets = self.length_of_last_read = 0
        self.first: int | None = None
        self.furthest = 0
        self._last: tuple[int, int] | None = None
        self._jump: tuple[int, int] | None = None
        self._second = round(1 / Fraction(stream.time_base or 1))

    def add(self, packet: Packet) -> None:
        """One packet more. What the next one takes back by more than a second is not when anything is presented.

        Parameters
        ----------
        packet : Packet
            Of this stream, in the order read.
        """
        self.packets += 1
        if packet.pts is None:
            return
        at = packet.pts, packet.duration or 0
        self.length_of_last_read = at[1]
        self.furthest = sum(at) if self.first is None else max(self.furthest, sum(at))
        self.first = at[0] if self.first is None else min(self.first, at[0])
        if self._jump is not None and at[0] > self._jump[0] - self._second:
            self._last = self._jump
        self._jump = None
        if self._last is None or at[0] >= self._last[0]:
            if self._last is not None and at[0] > self._last[0] + self._second:
                self._jump = at
            else:
                self._last = at

    @property
    def last(self) -> tuple[int, int] | None:
        """When the packet begins that is presented last, and how long it is."""
        return self._jump or self._last


class PacketReader:
    """One pass over the packets of a film, of which those of the picture and of one sound track are of interest.

    Parameters
    ----------
    path : Path
    container : InputContainer
        The open file.
    track : int or None
        Which sound track.
    video : Stream or None
        The picture.
    riff : RiffHeader, optional
        The header of a WAV, Wave64, AVI or Core Audio file.

    Attributes
    ----------
    sound : AudioStream or None
        The sound track.
    seen : dict of int to Seen
        By the index of the stream; filled while packets are read.
    damaged : int
        Packets that could not be decoded.
    """

    def __init__(
        self,
        path: Path,
        container: InputContainer,
        track: int | None,
        video: Stream | None,
        riff: RiffHeader | None = None,
    ) -> None:
        self.path, self.container, self.video, self.riff = path, container, video, riff
        self.sound: AudioStream | None = None if track is None else container.streams.audio[track]
        self.seen: dict[int, Seen] = {}
        self.damaged = 0
        self._track = track
        self._begun: int | None = None
        # How many packets the decoder of the picture must see before the frame of the first one can be shown.
        self._depth = getattr(getattr(video, "codec_context", None), "reorder_depth", 0)

    def frames(self, stream: Stream) -> Iterator[Any]:
        """The frames of a stream as FFmpeg decodes it; packets that it cannot decode are counted and left out.

        Parameters
        ----------
        stream : Stream
            The sound track or the picture.

        Yields
        ------
        AudioFrame or VideoFrame

        Raises
        ------
        InputError
            If FFmpeg gives up before the end of the file, or the header does not say how the samples of the sound are
            stored.
        """
        decoder = self._decoder(stream)
        with reading(_Beyond(self), "re-encode the film"):
            for packet in self._packets():
                if packet.stream.index == stream.index:
                    yield from self._decoded(packet, decoder)
                    if _is_last(packet):
                        return  # PyAV fails on the empty packets of streams that came up on the way

    def first_frames(self) -> dict[int, tuple[Any, Fraction]]:
        """The first frame of sound and of picture, and when it begins.

        A picture of which nothing can be decoded begins with its first packet and has no frame.

        Returns
        -------
        dict of int to tuple
            By the index of the stream: AudioFrame or VideoFrame, or None, and the second on the medium's clock, a
            Fraction.

        Raises
        ------
        InputError
            If the file cannot be read, or the header does not say how the samples of the sound are stored.
        """
        streams = {stream.index: stream for stream in (self.sound, self.video) if stream is not None}
        decoders = {
            index: self._decoder(stream) for index, stream in streams.items() if stream.codec_context is not None
        }
        first: dict[int, tuple[Any, Fraction]] = {}
        ended = 0
        for packet in self._packets():
            index, last = packet.stream.index, _is_last(packet)
            ended += last and index in streams
            if index in streams and index not in first:
                with reading(_Beyond(self), "re-encode the film"):
                    frames = self._decoded(packet, decoders[index]) if index in decoders else []
                whole = [frame for frame in frames if _is_whole(frame)]
                given_up = last or index not in decoders or self.seen[index].packets >= FIRST_LOOK
                if whole:
                    first[index] = whole[0], seconds(streams[index], self.begins(whole[0], streams[index]))
                elif given_up and streams[index] is not self.sound and index in self.seen:
                    first[index] = None, seconds(streams[index], self.seen[index].first)
            if len(first) == len(streams) or ended == len(streams):
                break
        return first

    def declared_end(self, stream: Stream | None) -> Fraction | None:
        """When the stream ends by the header, or the file, where that is all it says.

        Parameters
        ----------
        stream : Stream or None
            None for the file.

        Returns
        -------
        Fraction or None
            In seconds on the medium's clock; None where the header does not say.

        Raises
        ------
        InputError
            If the header does not say how the samples of the sound are stored.
        """
        import av

        if stream is self.sound and self.misread is not None and self.riff is not None and self.riff.sound is not None:
            return self.riff.seconds(self.riff.sound)
        if stream is not None and stream.duration is not None:
            return seconds(stream, (stream.start_time or 0) + stream.duration)
        return None if self.container.duration is None else Fraction(self.container.duration, av.time_base)

    def shown_until(self) -> Fraction | None:
        """When the picture ends by its packets, as far as they were read.

        Returns
        -------
        Fraction or None
            In seconds on the medium's clock; None without a picture.
        """
        seen = None if self.video is None else self.seen.get(self.video.index)
        if self.video is None or seen is None or seen.last is None:
            return None
        late = self._depth - (self.container.format.name == "avi") if self._guesses_times else 0
        at, length = seen.last
        return seconds(self.video, at + (1 + max(0, late)) * (length or self._frame_length()))

    def video_end(self) -> Fraction | None:
        """When the picture ends, after all packets were read.

        Returns
        -------
        Fraction or None
            In seconds on the medium's clock; None without a picture.
        """
        end = self.shown_until()
        if self.video is None or end is None or self.container.format.name != MOVIE:
            return end
        # In a movie the length of a packet is a step from one decoding to the next. With pictures decoded out of order,
        # that of the one shown last may be a hole long past, or end long before the picture does. The header knows.
        seen, declared = self.seen[self.video.index], self.declared_end(self.video)
        own = seconds(self.video, seen.length_of_last_read)
        begins = end - seconds(self.video, seen.last[1] if seen.last else 0)
        if declared is None or declared <= begins:
            return begins + own
        return end if abs(end - declared) <= own else declared

    def _frame_length(self) -> int:
        """Ticks that a frame is shown by the film's frame rate, where its packet does not say it."""
        rate = getattr(self.video, "guessed_rate", None)
        if self.video is None or not rate or rate > FASTEST:
            return 0
        return round(1 / (rate * Fraction(self.video.time_base or 1)))

    def count(self, stream: Stream) -> int:
        """How many packets of a stream were read.

        Parameters
        ----------
        stream : Stream

        Returns
        -------
        int
        """
        return self.seen[stream.index].packets if stream.index in self.seen else 0

    def reached(self) -> Fraction:
        """How far packets have been read.

        Returns
        -------
        Fraction
            In seconds on the medium's clock.
        """
        streams = self.container.streams
        return max((seconds(streams[i], seen.furthest) for i, seen in self.seen.items()), default=Fraction(0))

    @cached_property
    def misread(self) -> SampleFormat | None:
        """How the samples of the sound track are stored by the header, where FFmpeg takes them for others.

        Raises
        ------
        InputError
            If the header leaves it open.
        """
        context = None if self.sound is None else self.sound.codec_context
        formats = [] if self.riff is None else self.riff.formats
        if self._track is None or context is None or not context.name.startswith("pcm_"):
            return None
        if len(formats) != len(self.container.streams.audio):
            return None
        stored = formats[self._track]
        if stored.unclear:
            raise InputError(
                f"{self.path}: its header gives {stored.width} bytes to samples of {stored.bits} bits and does not say "
                "how these fill them: export it as 16-bit, 24-bit or 32-bit float WAV"
            )
        return None if stored.codec in (None, context.name) else stored

    def begins(self, frame: Any, stream: Stream) -> int | None:
        """When the next frame of a stream is heard or shown first.

        Parameters
        ----------
        frame : AudioFrame or VideoFrame
            Those of the picture must be given in the order in which the decoder gives them, each once.
        stream : Stream

        Returns
        -------
        int or None
            In ticks of the stream's clock; None where nothing tells.
        """
        if stream is not self.video or not self._guesses_times:
            return frame.pts if frame.time_base else None
        # Decoders give frames in the order shown, each when the packet is decoded that must be known before. The sound
        # of AVI is not late by that: there the first frame is shown with the first packet.
        length = frame.duration or 0
        if frame.dts is not None:
            late = self.container.format.name == "avi" and getattr(stream.codec_context, "has_b_frames", False)
            self._begun = frame.dts - length * bool(late)
        else:  # given when there were no more packets
            self._begun = frame.pts if self._begun is None else self._begun + length
        return self._begun

    @cached_property
    def _guesses_times(self) -> bool:
        """Whether FFmpeg makes up when pictures are shown, because AVI and ASF store only when they are decoded.

        Packets of the picture carry the times of decoding then, and so do its frames: as ``dts`` that of the packet
        that the decoder had to see before it gave the frame.
        """
        if self.video is None or self.container.format.name in PRESENTATION_TIMES:
            return False
        with opened(self.path, fflags="nofillin") as plain, reading(self.path):
            packets = plain.demux(plain.streams[self.video.index])
            first = list(islice((packet for packet in packets if packet.size), 32))
        return bool(first) and all(packet.pts is None and packet.dts is not None for packet in first)

    def _packets(self) -> Iterator[Packet]:
        """Packets of all streams, as the film's own end is that of the longest; behind them an empty one for each."""
        guessed = self.video.index if self.video is not None and self._guesses_times else None
        with reading(_Beyond(self), "it is damaged or cut off; copy or download it again, or re-encode it"):
            for packet in self.container.demux():
                index = packet.stream.index
                if index == guessed:
                    packet.pts = packet.dts
                if not _is_last(packet):
                    if index not in self.seen:
                        self.seen[index] = Seen(packet.stream)
                    self.seen[index].add(packet)
                yield packet

    def _decoder(self, stream: Stream) -> Any:
        """What decodes a stream: FFmpeg's choice, unless the header says that samples are stored otherwise."""
        import av
        from av.codec.context import Flags2

        if self.container.format.name == "caf" and stream.codec_context.name == "alac":
            # Its last packet says how long it is, from which FFmpeg would once more cut what is missing of a whole one.
            stream.codec_context.flags2 |= Flags2.skip_manual
        if stream is not self.sound or self.misread is None:
            return stream
        decoder: Any = av.CodecContext.create(str(self.misread.codec), "r")
        decoder.sample_rate, decoder.layout = stream.codec_context.sample_rate, stream.codec_context.layout
        return decoder

    def _decoded(self, packet: Packet, decoder: Any) -> list[Any]:
        """The frames that a packet gives."""
        import av

        if not packet.size and not _is_last(packet):
            return []  # the picture before once more (Theora, VP8), or no sound
        try:
            frames = decoder.decode(packet)
        except av.FFmpegError:  # of many kinds, by codec
            self.damaged += 1
            return []
        if decoder is not packet.stream and self.container.format.name in ("wav", "w64"):
            for frame in frames:
                frame.pts = None  # FFmpeg counted them in samples of another width
        return frames


class _Beyond:
    """The film and how far it was read, worked out only if somebody asks."""

    def __init__(self, packets: PacketReader) -> None:
        self.packets = packets

    def __str__(self) -> str:
        return f"{self.packets.path} beyond {float(self.packets.reached()):.2f} s"


def _is_whole(frame: Any) -> bool:
    from av.audio.frame import AudioFrame

    return frame.samples > 0 if isinstance(frame, AudioFrame) else not frame.is_corrupt


def _is_last(packet: Packet) -> bool:
    """Whether this is the empty packet that PyAV gives behind the last of a stream."""
    return not packet.size and packet.pts is None and packet.dts is None
