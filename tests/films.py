"""Small films and sounds for tests, written with PyAV: clicks at known times, known offsets, holes and damage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.packet import Packet
from scipy.signal import fftconvolve, find_peaks

CHANNELS = {"mono": 1, "stereo": 2, "5.1": 6}


@dataclass
class Track:
    """A sound track to be written: float samples (n_channels, n) in [-1, 1]."""

    waveform: np.ndarray
    sample_rate: int
    codec: str = "aac"
    layout: str = "mono"
    start: float = 0.0
    """Seconds on the film's clock at which the first sample is heard."""
    block: int | None = None
    """Samples per packet for PCM codecs; a second by default."""
    change: Callable[[list[Packet]], list[Packet]] | None = None
    """Applied to the encoded packets before they are written: shift timestamps, drop or damage packets."""
    language: str | None = None


def _click(seconds: np.ndarray) -> np.ndarray:
    """8 ms of a 1 kHz tone under a Hann window, largest at 0 s: short, and within every codec's band."""
    return np.where(
        np.abs(seconds) < 0.004, np.cos(np.pi * seconds / 0.008) ** 2 * np.cos(2 * np.pi * 1000 * seconds), 0
    )


def click_track(times: Sequence[float], seconds: float, sample_rate: int, n_channels: int = 1) -> np.ndarray:
    """Silence with clicks centred on `times` (s), between samples if need be: float32 (n_channels, n)."""
    sound = np.zeros(round(seconds * sample_rate), np.float32)
    for time in times:
        first, last = max(0, int((time - 0.01) * sample_rate)), int((time + 0.01) * sample_rate)
        at = np.arange(first, min(last, len(sound)))
        sound[at] += 0.5 * _click(at / sample_rate - time)
    return np.tile(sound, (n_channels, 1))


def noise(seconds: float, sample_rate: int, n_channels: int = 1) -> np.ndarray:
    """The same white noise each time, float32 (n_channels, n)."""
    rng = np.random.default_rng(0)
    return (0.2 * rng.standard_normal((n_channels, round(seconds * sample_rate)))).clip(-1, 1).astype(np.float32)


def click_times(sound: np.ndarray, sample_rate: int) -> np.ndarray:
    """Seconds at which the clicks of :func:`click_track` are heard in mono `sound`, by matched filter."""
    half = int(0.004 * sample_rate)
    found = fftconvolve(sound, _click(np.arange(-half, half + 1) / sample_rate), mode="same")
    peaks, _ = find_peaks(found, height=0.5 * found.max(), distance=int(0.02 * sample_rate))
    return peaks / sample_rate


def write_film(
    path: Path,
    *tracks: Track,
    picture: float | None = None,
    picture_start: float = 0.0,
    fps: int = 10,
    flashes: Sequence[float] = (),
    codec: str = "mpeg4",
    cover: bool = False,
    default: int | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """Write sound tracks and, for `picture` seconds, a grey picture that is white in the frames that `flashes` fall in.

    With `cover`, the picture is a still that belongs to the sound, as on an album. The sound track `default` is marked
    as such.
    """
    with av.open(str(path), "w", options=options or {}) as container:
        packets: list[Packet] = []
        streams = []
        for track in tracks:
            stream = container.add_stream(track.codec, rate=track.sample_rate, layout=track.layout)
            if track.language:
                stream.metadata["language"] = track.language
            if default is not None and default == len(streams):
                stream.disposition = av.stream.Disposition.default.value
            streams.append(stream)
        video: Any = None
        if picture is not None:
            video = container.add_stream("mjpeg" if cover else codec, rate=fps)
            video.width, video.height, video.pix_fmt = 64, 48, "yuvj420p" if cover else "yuv420p"
            video.codec_context.time_base = Fraction(1, fps)
            if cover:
                video.disposition = av.stream.Disposition.attached_pic.value
        for track, stream in zip(tracks, streams, strict=True):
            encoded = _encode_sound(stream, track)
            packets += track.change(encoded) if track.change else encoded
        if video is not None and picture is not None:
            packets += _encode_picture(video, round(picture * fps), round(picture_start * fps), fps, flashes)
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            container.mux(packet)
    return path


def _encode_sound(stream: Any, track: Track) -> list[Packet]:
    step = track.block or track.sample_rate
    first = round(track.start * track.sample_rate)
    packets: list[Packet] = []
    for start in range(0, track.waveform.shape[1], step):
        block = np.ascontiguousarray(track.waveform[:, start : start + step], np.float32)
        frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=track.layout)
        frame.sample_rate, frame.pts, frame.time_base = track.sample_rate, first + start, Fraction(1, track.sample_rate)
        packets += stream.encode(frame)
    return packets + stream.encode(None)


def _encode_picture(stream: Any, n_frames: int, first: int, fps: int, flashes: Sequence[float]) -> list[Packet]:
    white = {int(time * fps) for time in flashes}
    packets: list[Packet] = []
    for index in range(first, first + n_frames):
        frame = av.VideoFrame.from_ndarray(
            np.full((48, 64, 3), 255 if index in white else 64, np.uint8), format="rgb24"
        )
        frame.pts, frame.time_base = index, Fraction(1, fps)
        packets += stream.encode(frame)
    return packets + stream.encode(None)


def shifted(packets: list[Packet], after: float, seconds: float) -> list[Packet]:
    """Packets with the timestamps moved by `seconds` from the first that starts at or after `after` seconds on."""
    for packet in packets:
        if packet.pts * packet.time_base >= after:
            ticks = round(seconds / packet.time_base)
            packet.pts, packet.dts = packet.pts + ticks, packet.dts + ticks
    return packets


def replaced(packets: list[Packet], index: int, content: bytes) -> list[Packet]:
    """Packets, one of which holds other bytes."""
    old, new = packets[index], Packet(content)
    new.pts, new.dts, new.duration, new.time_base, new.stream = (
        old.pts,
        old.dts,
        old.duration,
        old.time_base,
        old.stream,
    )
    return [*packets[:index], new, *packets[index + 1 :]]


def cut_file(path: Path, share: float) -> Path:
    """The first `share` of a file's bytes, beside it."""
    content = path.read_bytes()
    cut = path.with_name(f"cut_{path.name}")
    cut.write_bytes(content[: int(len(content) * share)])
    return cut
