"""What every film of the sweep shows and plays: marks at known times, and something between them that can be missed."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

MARKS = (0.5, 1.1, 1.75)
"""Seconds of the marks; no two distances are equal, so that no shift fits twice."""
BURST = 0.1
"""Seconds of a burst of sound, centred on its mark."""
FLASH = 0.12
"""Seconds of white picture, from the first frame that begins at or after a mark."""
ATTACKS = (0.72, 0.8, 0.88, 1.95, 2.03)
"""Seconds at which noise sets in at once and fades: encoders change the length of their blocks there."""
SPEAKERS = {
    name: 1 << bit for name, bit in zip(("FL", "FR", "FC", "LFE", "BL", "BR", "BC", "SL", "SR"),
                                        (0, 1, 2, 3, 4, 5, 8, 9, 10), strict=True)
}  # fmt: skip
"""Bit of each loudspeaker in a WAVEFORMATEXTENSIBLE channel mask."""
LAYOUTS = {
    "mono": ("FC",),
    "left": ("FL",),
    "stereo": ("FL", "FR"),
    "2.1": ("FL", "FR", "LFE"),
    "4.0": ("FL", "FR", "FC", "BC"),
    "quad": ("FL", "FR", "BL", "BR"),
    "5.0": ("FL", "FR", "FC", "BL", "BR"),
    "5.1": ("FL", "FR", "FC", "LFE", "BL", "BR"),
    "5.1(side)": ("FL", "FR", "FC", "LFE", "SL", "SR"),
    "6.1": ("FL", "FR", "FC", "LFE", "BC", "SL", "SR"),
    "7.1": ("FL", "FR", "FC", "LFE", "BL", "BR", "SL", "SR"),
    "3 unnamed": ("", "", ""),
}
LOUDNESS = (0.5, 0.42, 0.36, 0.31, 0.26, 0.22, 0.19, 0.16)
"""Amplitude of the channels in their order: no two are equal, so that a swap of loudspeakers changes the mix."""


def burst(seconds: np.ndarray) -> np.ndarray:
    """A chirp from 500 to 1500 Hz under a Hann window, centred on 0 s: within the band of every codec and rate."""
    phase = 2 * np.pi * (1000 * seconds + 0.5 * (1000 / BURST) * seconds**2)
    return np.where(np.abs(seconds) < BURST / 2, np.cos(np.pi * seconds / BURST) ** 2 * np.cos(phase), 0.0)


def sound(marks: Sequence[float], seconds: float, rate: int, layout: str) -> np.ndarray:
    """Bursts at `marks` and attacks, over a quiet tone that rises from 200 to 400 Hz: float32 (n, n_channels)."""
    at = np.arange(round(seconds * rate)) / rate
    wave = 0.1 * np.sin(2 * np.pi * (200 * at + 100 * at**2 / seconds))
    for mark in marks:
        wave = wave + burst(at - mark)
    noise = np.random.default_rng(0).uniform(-0.9, 0.9, len(at))
    for attack in ATTACKS:
        after = at - attack
        wave = wave + np.where(after >= 0, noise * np.exp(-np.maximum(after, 0) / 0.008), 0)
    return (wave[:, None] * np.array(LOUDNESS[: len(LAYOUTS[layout])])).astype(np.float32)


def write_wav(path: Path, samples: np.ndarray, rate: int, layout: str) -> None:
    """Float samples (n, n_channels) as WAV with the mask of `layout`, which soundfile cannot set."""
    n_channels = samples.shape[1]
    mask = sum(SPEAKERS.get(name, 0) for name in LAYOUTS[layout])
    guid = struct.pack("<IHH8s", 3, 0, 0x10, bytes.fromhex("800000aa00389b71"))
    about = struct.pack("<HHIIHHHHI", 0xFFFE, n_channels, rate, rate * n_channels * 4, n_channels * 4, 32, 22, 32, mask)
    data = samples.astype("<f4").tobytes()
    body = b"WAVEfmt " + struct.pack("<I", 40) + about + guid + b"data" + struct.pack("<I", len(data)) + data
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)


def frame_times(seconds: float, fps: Fraction, kept: Sequence[int] | None = None) -> list[Fraction]:
    """When each frame begins; of those at `fps`, only the ones that are `kept`."""
    return [k / fps for k in (range(int(Fraction(str(seconds)) * fps)) if kept is None else kept)]


def is_white(at: Fraction, marks: Sequence[float]) -> bool:
    """Whether the frame that begins at `at` is part of a flash."""
    return any(-1e-6 <= float(at) - mark < FLASH - 1e-6 for mark in marks)


def picture(marks: Sequence[float], seconds: float, fps: Fraction, size: tuple[int, int]) -> np.ndarray:
    """White at `marks`, else four quarters of other greys, of which the upper left tells frames apart: uint8 (n, h, w).

    The quarters tell which way up the picture is.
    """
    height, width = size
    times = frame_times(seconds, fps)
    frames = np.empty((len(times), height, width), np.uint8)
    for k, at in enumerate(times):
        frames[k, : height // 2, : width // 2] = 20 + 16 * (k % 4)
        frames[k, : height // 2, width // 2 :] = 100
        frames[k, height // 2 :, : width // 2] = 130
        frames[k, height // 2 :, width // 2 :] = 160
        if is_white(at, marks):
            frames[k] = 235
    return frames
