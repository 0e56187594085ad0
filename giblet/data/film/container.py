"""A film as FFmpeg opens it: its tracks, its time zero, its sound and picture as decoded, and whether its end is there.

*Film zero* is the earliest moment that is presented: the start of the picture or of the sound, whichever comes first.
Sound, picture and words all count their seconds from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from giblet.data.film.headers import OggEnd, RiffHeader, ogg_end, riff_header
from giblet.data.film.packets import MOVIE, PacketReader, opened
from giblet.errors import InputError, reading
from giblet.limits import check_limit, limit
from giblet.timing import LONGEST_FILM

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.stream import Stream
    from av.video.frame import VideoFrame

DECLARE_EACH_STREAM = (MOVIE, "flac", "aiff", "wv")
"""Containers whose header tells how long each stream is. Matroska tells when the last of them ends; RIFF (WAV, AVI)
and Ogg show by their bytes that the end is missing; what FFmpeg says of MP3, ADTS or MPEG-TS is an estimate."""

STREAM_SLACK, FILE_SLACK = Fraction("0.1"), Fraction(1)
"""Seconds that may be missing of a stream (encoders and decoders pad and trim up to a packet), and of the longest
stream of a file (whose last picture may come without a duration)."""


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
    track_delay: float | None
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

    Yields
    ------
    Film

    Raises
    ------
    InputError
        If the file cannot be read, holds neither picture nor sound, or has no such track.
    """
    path = Path(path)
    try:
        path.open("rb").close()
    except OSError as exc:
        raise InputError(f"{path} cannot be read ({exc.strerror}); pass a film or sound file you may read") from exc
    with reading(path, "its header is damaged; copy or download it again"):
        riff = riff_header(path)
    if riff is not None and riff.wrapped and riff.sound is not None:  # where FFmpeg may search the rest for minutes
        declared, there = float(riff.seconds(riff.sound)), float(riff.seconds(riff.sound + riff.unread))
        raise InputError(
            f"{path}: its header declares {declared:.1f} s, but the file has bytes for {there:.1f} s: the size went "
            "beyond 4 GB, which a WAV header cannot say; convert it: "
            "ffmpeg -ignore_length 1 -i OLD.wav -c copy -rf64 auto NEW.wav"
        )
    with opened(path) as container:
        yield Film(path, container, track, riff)


class Film:
    """The streams of an open film, and what one pass over its packets tells.

    Attributes
    ----------
    tracks : tuple of AudioTrack
    track : AudioTrack or None
        The one chosen; None if there is no sound.
    video : Stream or None
        The picture: FFmpeg's best video stream that is no attached image.
    packets : PacketReader
        The pass over the packets.
    """

    def __init__(
        self, path: Path, container: InputContainer, track: int | None, riff: RiffHeader | None = None
    ) -> None:
        from av.stream import Disposition
        from av.video.stream import VideoStream

        self.path, self.container = path, container
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
        if self.track is None and self.video is None:
            raise InputError(f"{path} holds neither sound nor picture ({container.format.name}); pass a film or sound")
        if self.track is not None:
            check_limit("channels", self.track.n_channels, str(path), "channels of sound")
        if isinstance(self.video, VideoStream) and self.video.codec_context is not None:
            pixels = self.video.codec_context.width * self.video.codec_context.height
            check_limit("megapixels", pixels / 1e6, str(path), "million pixels")
            # The pictures themselves may be larger than the header says.
            self.video.codec_context.options = {"max_pixels": str(round(limit("megapixels") * 1e6))}
        self.packets = PacketReader(path, container, track, self.video, riff)

    @property
    def damaged(self) -> int:
        """Packets of what was read that could not be decoded."""
        return self.packets.damaged

    def info(self) -> MediaInfo:
        """Describe the film by its header and its first frames; the pass over the packets is then used up.

        Returns
        -------
        MediaInfo

        Raises
        ------
        InputError
            If there is nothing on the sound track, FFmpeg has no decoder for it, a film without sound has no picture
            that can be decoded, sound and picture begin more than a day apart, or the file is seen to be cut off.
        """
        sound, track = self.packets.sound, self.track
        if sound is not None:
            self._check_decoder(sound)
        first = self.packets.first_frames()
        heard = shown = None
        if sound is not None and track is not None:
            if sound.index not in first:
                raise InputError(
                    f"{self.path}: nothing can be heard on sound track {track} ({self.damaged} damaged packets): "
                    "choose another track or another copy of the film"
                )
            frame, heard = first[sound.index]
            # What the header says may be half the truth: HE-AAC declares half of its sample rate.
            n_channels = len(frame.layout.channels)
            track = replace(track, sample_rate=frame.sample_rate, layout=frame.layout.name, n_channels=n_channels)
            if self.packets.misread is not None:
                track = replace(track, codec=str(self.packets.misread.codec))
        if self.video is not None and self.video.index in first:
            shown = first[self.video.index][1]
        starts = [start for start in (shown, heard) if start is not None]
        if not starts:
            raise InputError(f"{self.path}: no frame of the picture can be decoded: use another copy of the film")
        zero, end = min(starts), self.packets.declared_end(sound)
        if max(starts) > zero + LONGEST_FILM:
            raise InputError(
                f"{self.path}: sound and picture begin {float(max(starts) - zero):.0f} s apart, over {LONGEST_FILM} s: "
                "its timestamps are broken; re-encode it"
            )
        self._check_bytes(None if end is None else end - zero)
        return MediaInfo(
            container=self.container.format.name,
            zero=zero,
            track_delay=None if heard is None else float(heard - zero),
            video_offset=None if shown is None else float(shown - zero),
            duration_hint=None if end is None else float(end - zero),
            audio=track,
            tracks=self.tracks,
        )

    def frames(self) -> Iterator[AudioFrame]:
        """The sound track as FFmpeg decodes it; packets that it cannot decode are counted and left out.

        Yields
        ------
        AudioFrame

        Raises
        ------
        InputError
            If FFmpeg has no decoder for it, or gives up before the end of the file.

        See Also
        --------
        Film.pictures : The same for the picture.
        """
        assert self.packets.sound is not None, "a film without sound has no frames"
        self._check_decoder(self.packets.sound)
        yield from (frame for frame in self.packets.frames(self.packets.sound) if frame.samples)

    def pictures(self) -> Iterator[tuple[VideoFrame, int | None]]:
        """The picture as FFmpeg decodes it, in the order shown; packets that it cannot decode are counted, left out.

        Yields
        ------
        VideoFrame
        int or None
            When it is shown first, in ticks of its time base; None where nothing tells.

        Raises
        ------
        InputError
            If FFmpeg has no decoder for it, or gives up before the end of the file.

        See Also
        --------
        Film.frames : The same for the sound.
        """
        from av.video.stream import VideoStream

        if not isinstance(self.video, VideoStream) or self.video.codec_context is None:
            raise InputError(f"{self.path}: FFmpeg here has no decoder for the picture: re-encode the film")
        self.video.thread_type = "AUTO"
        for frame in self.packets.frames(self.video):
            yield frame, self.packets.begins(frame, self.video)

    def tick_of_sound(self) -> Fraction:
        """Seconds to which timestamps of the sound are rounded.

        Returns
        -------
        Fraction
            0 without sound.
        """
        sound = self.packets.sound
        return Fraction(0 if sound is None else sound.time_base or 0)

    def padded_from(self) -> Fraction | None:
        """Where the sound of an Ogg stream without its end mark ends by its header.

        The mark tells decoders to leave out what pads the last frame.

        Returns
        -------
        Fraction or None
            In seconds on the medium's clock; None if the file is no Ogg, has the mark or has no sound, or its header
            does not say.

        Raises
        ------
        InputError
            If the file cannot be read.
        """
        with reading(self.path):
            unmarked = ogg_end(self.path) is OggEnd.UNMARKED
        sound = self.packets.sound
        end = self.packets.declared_end(sound) if unmarked and sound is not None else None
        if end is not None and sound is not None and sound.codec_context.name in ("opus", "libopus"):
            # The header counts from before the samples that decoders leave out, FFmpeg from the first after them.
            end -= Fraction(int.from_bytes((sound.codec_context.extradata or bytes(12))[10:12], "little"), 48_000)
        return end

    def check_complete(self, sound_end: Fraction | None = None) -> tuple[str, ...]:
        """After all packets were read: compare what there is with what the header declares.

        Parameters
        ----------
        sound_end : Fraction, optional
            Where the sound ended, in seconds on the medium's clock. Without it the picture is compared.

        Returns
        -------
        tuple of str
            What may be wrong with the file all the same.

        Raises
        ------
        InputError
            If the header declares more than there is, and is to be trusted.
        """
        remarks, name = self._remarks_on_bytes(), self.container.format.name
        stream, held = (
            (self.video, self.packets.shown_until()) if sound_end is None else (self.packets.sound, sound_end)
        )
        declared, slack = self.packets.declared_end(stream), FILE_SLACK if sound_end is None else STREAM_SLACK
        if stream is None or declared is None or held is None:
            return remarks
        if name == "mp3":  # a count of frames in the first one, or else an estimate from the bit rate
            if held < declared * Fraction("0.95") - 1:
                found = f"ends at {float(held):.2f} s, {float(declared):.2f} s were expected"
                remarks += (f"{self.path}: the sound {found}: see whether the file is complete",)
            return remarks
        if name.startswith("matroska"):
            if any(stream.duration is not None for stream in self.container.streams):
                return remarks  # the header has no duration: FFmpeg estimated it, for the streams as for the file
            held, slack = self.packets.reached(), FILE_SLACK
        elif name not in DECLARE_EACH_STREAM or self.packets.count(stream) >= stream.frames > 0:
            return remarks  # all packets are there: it is the last that is said to last longer
        if held < declared - slack:
            raise _cut_off(self.path, _share(held, declared))
        return remarks

    def video_end(self, default: Fraction) -> Fraction:
        """When the picture ends, after all packets were read.

        Parameters
        ----------
        default : Fraction
            What is answered where there is no picture.

        Returns
        -------
        Fraction
            In seconds on the medium's clock.
        """
        end = self.packets.video_end()
        return default if end is None else end

    def _check_decoder(self, sound: AudioStream) -> None:
        if sound.codec_context is None:
            raise InputError(
                f"{self.path}: FFmpeg here has no decoder for sound track {self.track}: choose another, or re-encode it"
            )

    def _check_bytes(self, held: Fraction | None) -> None:
        """See whether the end of a RIFF or Ogg file is there: FFmpeg takes what is there for the whole."""
        with reading(self.path):
            size, ogg = self.path.stat().st_size, ogg_end(self.path)
        riff = self.packets.riff
        if ogg is OggEnd.CUT:
            raise _cut_off(self.path, "its last Ogg page is not whole")
        if riff is None or held is None:
            return
        if riff.sound is not None and riff.seconds(riff.missing) > STREAM_SLACK:
            raise _cut_off(self.path, _share(riff.seconds(riff.sound - riff.missing), riff.seconds(riff.sound)))
        if riff.declared is not None and held * (riff.declared - size) > STREAM_SLACK * size:
            raise _cut_off(self.path, _share(held, held * riff.declared / size))

    def _remarks_on_bytes(self) -> tuple[str, ...]:
        with reading(self.path):
            ogg = ogg_end(self.path)
        riff = self.packets.riff
        if ogg is OggEnd.UNMARKED:
            return (f"{self.path}: the mark that ends an Ogg stream is missing: see whether the file is complete",)
        if riff is not None and riff.sound is not None and riff.seconds(riff.unread) > STREAM_SLACK:
            declared, unread = float(riff.seconds(riff.sound)), float(riff.seconds(riff.unread))
            return (
                f"{self.path}: its header declares {declared:.2f} s of sound; {riff.unread} bytes behind it, enough "
                f"for {unread:.2f} s, were not read: if the sound is longer, repair the header or export it again",
            )
        return ()


def _cut_off(path: Path, how: str) -> InputError:
    return InputError(f"{path} is cut off: {how}; copy or download it again")


def _share(held: Fraction, declared: Fraction) -> str:
    return f"it holds {float(held):.2f} s of the {float(declared):.2f} s that its header declares"


def _track(index: int, stream: AudioStream) -> AudioTrack:
    language = stream.language or "und"
    context = stream.codec_context
    if context is None:  # a codec that this FFmpeg does not have
        return AudioTrack(index, "unknown codec", 0, "unknown", 0, language)
    return AudioTrack(
        index, context.name, context.sample_rate, context.layout.name, context.layout.nb_channels, language
    )


def _picture(container: InputContainer) -> Stream | None:
    from av.stream import Disposition

    attached = Disposition.attached_pic | Disposition.timed_thumbnails
    moving = [stream for stream in container.streams.video if not stream.disposition & attached]
    best = container.streams.best("video")
    return next((stream for stream in moving if stream is best), moving[0] if moving else None)
