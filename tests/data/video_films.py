"""Films for tests of the picture: any frame rate, variable ones, flashes, with clicks beside them."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.packet import Packet

from tests.films import click_track


def steady(fps: Fraction, seconds: float) -> list[Fraction]:
    """When each frame begins, at `fps` from 0 s on."""
    return [k / fps for k in range(int(Fraction(str(seconds)) * fps))]


def write_picture(
    path: Path,
    times: Sequence[Fraction],
    values: Sequence[int | np.ndarray],
    *,
    time_base: Fraction,
    last: Fraction,
    clicks: Sequence[float] | None = None,
    sound_seconds: float = 0.0,
    sound_start: float = 0.0,
    size: tuple[int, int] = (32, 48),
    codec: str = "mpeg4",
) -> Path:
    """A film whose frame i begins at ``times[i]`` and is grey of value ``values[i]``, or that image; `last` is the
    length of the last frame in seconds. With `clicks` (s on the sound's own clock) a PCM track from `sound_start` on.
    """
    options = {"qscale": "1"} if codec == "mpeg4" else {}
    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=25, options=options)
        video.height, video.width = size
        video.pix_fmt = "yuv420p"
        video.time_base = video.codec_context.time_base = time_base
        video.codec_context.max_b_frames = 0
        sound = container.add_stream("pcm_s16le", rate=8000, layout="mono") if clicks is not None else None
        packets: list[Packet] = []
        ticks = [round(time / time_base) for time in times]
        lengths = [b - a for a, b in zip(ticks, [*ticks[1:], ticks[-1] + round(last / time_base)], strict=True)]
        for tick, value in zip(ticks, values, strict=True):
            image = np.full((*size, 3), value, np.uint8) if np.isscalar(value) else value
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = tick, time_base
            packets += video.encode(frame)
        packets += video.encode(None)
        for packet, length in zip(packets, lengths, strict=True):
            packet.duration = length
        if sound is not None and clicks is not None:
            waveform = (click_track(clicks, sound_seconds, 8000) * 30_000).astype(np.int16)
            for start in range(0, waveform.shape[1], 8000):
                block = av.AudioFrame.from_ndarray(waveform[:, start : start + 8000], format="s16", layout="mono")
                block.sample_rate, block.time_base = 8000, Fraction(1, 8000)
                block.pts = start + round(sound_start * 8000)
                packets += sound.encode(block)
            packets += sound.encode(None)
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            container.mux(packet)
    return path
