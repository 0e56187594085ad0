"""The list of what is swept, one row per file, and how ffmpeg and libsndfile make it."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path

import soundfile

from tests.sweep.sources import MARKS, frame_times, is_white, picture, sound, write_wav

NTSC, CINEMA, PAL = Fraction(30000, 1001), Fraction(24000, 1001), Fraction(25)
PTS_WRAP = Fraction(2**33, 90_000)
"""Seconds after which the timestamps of MPEG-TS begin again at 0."""

H264 = "-c:v libx264 -preset ultrafast -crf 10 -g 12 -pix_fmt yuv420p"
VIDEO = {
    "h264": f"{H264} -bf 2",
    "h264 without B": f"{H264} -bf 0",
    "h264 pyramid": "-c:v libx264 -preset medium -crf 10 -g 30 -bf 3 -pix_fmt yuv420p",
    "h264 interlaced": f"{H264} -bf 2 -flags +ilme+ildct -x264-params tff=1",
    "h264 full range": "-c:v libx264 -preset ultrafast -crf 10 -g 12 -bf 2 -pix_fmt yuvj420p",
    "hevc 10 bit": "-c:v libx265 -preset ultrafast -crf 12 -x265-params log-level=error:bframes=2:keyint=12:pools=none "
    "-pix_fmt yuv420p10le",
    "h264 4:4:4": "-c:v libx264 -preset ultrafast -crf 10 -g 12 -bf 2 -pix_fmt yuv444p",
    "hevc": "-c:v libx265 -preset ultrafast -crf 12 -x265-params log-level=error:bframes=2:keyint=12:pools=none "
    "-pix_fmt yuv420p",
    "vp8": "-c:v libvpx -deadline good -cpu-used 5 -b:v 800k -auto-alt-ref 1 -lag-in-frames 8 -g 12",
    "vp9": "-c:v libvpx-vp9 -deadline good -cpu-used 5 -b:v 800k -auto-alt-ref 1 -lag-in-frames 8 -g 24",
    "av1": "-c:v libaom-av1 -cpu-used 8 -usage realtime -b:v 600k -g 24 -pix_fmt yuv420p",
    "av1 grey": "-c:v libaom-av1 -cpu-used 8 -usage realtime -b:v 600k -g 24 -pix_fmt gray",
    "mpeg4": "-c:v mpeg4 -bf 2 -q:v 2 -g 12",
    "mpeg4 without B": "-c:v mpeg4 -bf 0 -q:v 2 -g 12",
    "xvid": "-c:v libxvid -bf 2 -q:v 2 -g 12",
    "mpeg1": "-c:v mpeg1video -bf 2 -q:v 2 -g 12",
    "mpeg2": "-c:v mpeg2video -bf 2 -q:v 2 -g 12",
    "mpeg2 interlaced": "-c:v mpeg2video -bf 2 -q:v 2 -g 12 -flags +ilme+ildct",
    "mjpeg": "-c:v mjpeg -q:v 2 -pix_fmt yuvj420p",
    "huffyuv": "-c:v huffyuv -pix_fmt yuv422p",
    "ffv1": "-c:v ffv1 -pix_fmt yuv420p",
    "prores": "-c:v prores",
    "png": "-c:v png -pix_fmt rgb24",
    "qtrle": "-c:v qtrle",
    "raw": "-c:v rawvideo -pix_fmt yuv420p",
    "theora": "-c:v libtheora -q:v 9 -g 12",
    "flv1": "-c:v flv -q:v 2 -g 12",
    "h263": "-c:v h263 -q:v 2 -g 12",
    "wmv2": "-c:v wmv2 -q:v 2 -g 12",
    "msmpeg4": "-c:v msmpeg4 -q:v 2 -g 12",
    "gif": "-c:v gif",
    "y4m": "-c:v wrapped_avframe -pix_fmt yuv420p",
}
"""Options of ffmpeg that make each codec of the picture; those of a kind that has B-frames write them."""

AUDIO = {
    "aac": "-c:a aac -b:a 160k",
    "mp3": "-c:a libmp3lame -b:a 128k",
    "mp3 vbr": "-c:a libmp3lame -q:a 4",
    "mp2": "-c:a mp2 -b:a 192k",
    "vorbis": "-c:a libvorbis -q:a 5",
    "opus": "-c:a libopus -b:a 96k",
    "opus 60 ms": "-c:a libopus -b:a 64k -frame_duration 60",
    "opus family 1": "-c:a libopus -b:a 256k -mapping_family 1",
    "ac3": "-c:a ac3 -b:a 384k",
    "eac3": "-c:a eac3 -b:a 256k",
    "dts": "-c:a dca -strict -2 -b:a 768k",
    "truehd": "-c:a truehd -strict -2",
    "alac": "-c:a alac -sample_fmt s16p",
    "alac 24": "-c:a alac -sample_fmt s32p",
    "flac": "-c:a flac -sample_fmt s16",
    "flac 24": "-c:a flac -sample_fmt s32",
    "wavpack": "-c:a wavpack -sample_fmt s16p",
    "wavpack float": "-c:a wavpack -sample_fmt fltp",
    "tta": "-c:a tta -sample_fmt s16",
    "wmav2": "-c:a wmav2 -b:a 128k",
    "speex": "-c:a libspeex",
    "g722": "-c:a g722",
    "nellymoser": "-c:a nellymoser",
    "adpcm ms": "-c:a adpcm_ms",
    "adpcm ima": "-c:a adpcm_ima_wav",
    "adpcm ima qt": "-c:a adpcm_ima_qt",
    **{
        f"pcm {name}": f"-c:a pcm_{name}"
        for name in ("u8", "s16le", "s16be", "s24le", "s24be", "s32le", "f32le", "f32be", "f64le", "s64le", "alaw",
                     "mulaw", "dvd", "bluray")
    },
}  # fmt: skip
"""Options of ffmpeg that make each codec of the sound. Beside them "sndfile SUBTYPE" is written by libsndfile."""

READ_BY_LIBSNDFILE = {"wav", "rf64", "w64", "aiff", "caf", "au", "flac", "ogg", "oga", "opus", "mp3", "nist", "ircam"}


@dataclass(frozen=True)
class Film:
    """One file of the sweep: what it holds, how it is made, and what is wrong with it."""

    suffix: str
    video: str | None
    """A key of `VIDEO`."""
    audio: str | None
    """A key of `AUDIO`, or "sndfile" and a subtype of libsndfile."""
    rate: int = 48_000
    """Hz of the sound."""
    layout: str = "stereo"
    fps: Fraction = PAL
    """Of the picture; where the rate varies, of the grid on which its frames begin."""
    timing: str = "plain"
    """What is special about it, in words."""
    out: str = ""
    """Further options of the output; "{...}" is not replaced."""
    sound_in: str = ""
    picture_in: str = ""
    recut: tuple[str, str] | None = None
    """Options before and behind the input of a second run of ffmpeg, which copies the packets."""
    patch: Callable[[bytes], bytes] | None = None
    """Applied to the bytes of the file."""
    seconds: float = 2.4
    sound_seconds: float | None = None
    """Of the sound, where it is longer or shorter than the picture."""
    size: tuple[int, int] = (48, 64)
    """Height and width as stored."""
    kept: tuple[int, ...] | None = None
    """The frames of the grid that are in the file, where the rate varies."""
    form: str | None = None
    """libsndfile's name of the container."""
    oracle: str | None = None
    """"ffmpeg" or "libsndfile", where it is not the usual one."""
    sound_late: float = 0.0
    """Seconds by which the sound is later, beside the picture, than the marks say."""
    lead: float = 0.0
    """Seconds of an encoder's delay that the container cannot tell: the sound is later by them, for every player."""
    cut: bool = False
    """Whether the beginning is cut off: one mark may be lost with it, and when the rest begins is not known."""
    jumps: tuple[tuple[float, float], ...] = ()
    """(mark time, seconds): from there on the sound's timestamps are later (a hole) or earlier (an overlap)."""
    lost: float = 0.0
    """Seconds of sound whose packets are missing."""
    sound_end: float | None = None
    """When the sound ends by the container's own count, where the other decoder does not keep to it."""
    muxer_holes: bool = False
    """Whether ffmpeg puts a hole of its own making into the timestamps, however large: both readings must agree."""
    damaged_packets: int = 0
    damaged: int | None = 0
    """Frames of the picture that cannot be shown; None where packets of the picture are missing. Each decoder has its
    own way of showing what is broken then: only the flashes and the number of frames are compared."""

    @property
    def name(self) -> str:
        """As the test is called."""
        parts = [self.suffix, self.video, self.audio]
        if self.audio:
            parts += [str(self.rate), self.layout]
        if self.video:
            parts.append(f"{float(self.fps):.5g}fps")
        parts.append(self.timing)
        return "-".join(re.sub(r"[^\w.()]+", "_", part) for part in parts if part)

    @property
    def decoder(self) -> str:
        """Who says what is right: "libsndfile" or "ffmpeg"."""
        usual = "libsndfile" if self.video is None and self.suffix in READ_BY_LIBSNDFILE else "ffmpeg"
        return self.oracle or usual

    @property
    def times(self) -> list[Fraction]:
        """When each frame of the picture begins, before the file is cut or shifted."""
        return frame_times(self.seconds, self.fps, self.kept)

    def flashes(self) -> list[tuple[float, float]]:
        """When each flash begins and ends, on the clock of :attr:`times`."""
        white = [is_white(at, MARKS) for at in self.times]
        ends = [*self.times[1:], self.times[-1] + 1 / self.fps]
        starts = [at for k, at in enumerate(self.times) if white[k] and not (k and white[k - 1])]
        stops = [ends[k] for k in range(len(white)) if white[k] and not (k + 1 < len(white) and white[k + 1])]
        return [(float(a), float(b)) for a, b in zip(starts, stops, strict=True)]

    def bursts(self) -> list[float]:
        """When the middle of each burst is heard, on the clock of :attr:`times`."""
        found = []
        for mark in MARKS:
            later = sum(seconds for at, seconds in self.jumps if mark > at)
            found.append(mark + self.sound_late + self.lead + later)
        return found


@cache
def encoders() -> frozenset[str]:
    """Those that this ffmpeg has."""
    listed = subprocess.run(["ffmpeg", "-v", "error", "-encoders"], capture_output=True, text=True, check=True).stdout
    return frozenset(line.split()[1] for line in listed.partition("------")[2].splitlines() if line.strip())


def missing_encoders(film: Film) -> list[str]:
    """Those that the film needs and this ffmpeg does not have: it can be built without any of them."""
    options = f"{VIDEO.get(film.video or '', '')} {AUDIO.get(film.audio or '', '')}"
    return [name for name in re.findall(r"-c:[av] (\S+)", options) if name not in encoders()]


def make(film: Film, folder: Path) -> tuple[Path, list[str]]:
    """Write the film into `folder`, and say by which commands."""
    path = folder / f"{film.name}.{film.suffix}"
    if film.audio and film.audio.startswith("sndfile"):
        samples = sound(MARKS, film.sound_seconds or film.seconds, film.rate, film.layout)
        subtype = film.audio.split()[1]
        soundfile.write(path, samples, film.rate, format=film.form or film.suffix.upper(), subtype=subtype)
        commands = [f"soundfile.write({path.name!r}, samples, {film.rate}, {film.form}, {subtype})"]
    else:
        commands = [_ffmpeg(_arguments(film, folder, path))]
    if film.recut:
        whole = path.rename(path.with_stem(f"{path.stem}.whole"))
        before, behind = map(shlex.split, film.recut)
        commands.append(_ffmpeg([*before, "-i", whole, "-map", "0", "-c", "copy", *behind, path]))
    if film.patch:
        path.write_bytes(film.patch(path.read_bytes()))
        commands.append(f"then its bytes changed by {film.patch.__name__}: {film.patch.__doc__}")
    return path, commands


def _arguments(film: Film, folder: Path, path: Path) -> list[str | Path]:
    inputs: list[str | Path] = []
    maps: list[str | Path] = []
    if film.audio:
        inputs += [*shlex.split(film.sound_in), "-i", _sound_file(folder, film)]
    if film.video:
        height, width = film.size
        inputs += [*shlex.split(film.picture_in), "-f", "rawvideo", "-pix_fmt", "gray", "-s", f"{width}x{height}"]
        inputs += ["-framerate", str(film.fps), "-i", _picture_file(folder, film)]
        maps += ["-map", f"{1 if film.audio else 0}:v", *shlex.split(VIDEO[film.video])]
        if film.kept:
            maps += ["-vf", "select='" + "+".join(f"eq(n,{k})" for k in film.kept) + "'"]
        maps += ["-fps_mode", "passthrough"]
    if film.audio:
        maps += ["-map", "0:a", *shlex.split(AUDIO[film.audio]), "-ar", str(film.rate)]
    return [*inputs, *maps, *shlex.split(film.out), path]


def _ffmpeg(arguments: Sequence[str | Path]) -> str:
    command = ["ffmpeg", "-v", "error", "-nostdin", "-y", "-threads", "1", "-filter_threads", "1", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stderr}"
    return shlex.join(command)


def _sound_file(folder: Path, film: Film) -> Path:
    seconds = film.sound_seconds or film.seconds
    path = folder / f"source_{film.rate}_{film.layout}_{seconds}.wav"
    if not path.exists():
        write_wav(path, sound(MARKS, seconds, film.rate, film.layout), film.rate, film.layout)
    return path


def _picture_file(folder: Path, film: Film) -> Path:
    height, width = film.size
    path = folder / f"source_{width}x{height}_{float(film.fps):.6f}_{film.seconds}.grey"
    if not path.exists():
        path.write_bytes(picture(MARKS, film.seconds, film.fps, film.size).tobytes())
    return path
