"""giblet's reading of a film beside the independent one, in the units of the claims: seconds, frames, dB, counts."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy.signal import correlate, resample_poly

from giblet.data.media import AudioReader
from giblet.data.picture import PictureReader
from giblet.data.video import VideoProcessor
from tests.sweep.films import Film
from tests.sweep.oracle import SIZE, Decoded, Stretch, decoded
from tests.sweep.sources import BURST, burst

RATE = 24_000
LOOK = 0.05
"""Seconds around a burst in which it is looked for."""
TR = 0.4
WHITE = 215
"""Mean of a frame's pixels above which it is part of a flash: 235, as limited-range video carries it."""


@dataclass
class Measured:
    """What was found."""

    other: Decoded
    reader: AudioReader | None = None
    pictures: PictureReader | None = None
    sound_errors: list[float] = field(default_factory=list)
    """Seconds by which each burst is later than in the other decoding, at 24 kHz."""
    level_errors: list[float] = field(default_factory=list)
    """dB by which each is louder."""
    sound_truth: list[float] = field(default_factory=list)
    """Seconds after film zero at which each burst is found by its known waveform."""
    shifts: list[float] = field(default_factory=list)
    """Seconds by which each stretch of sound is later, at the film's own rate."""
    residue: float = 0.0
    """RMS of the difference in the worst 20 ms, after that shift, as a share of the RMS of the whole: 0 is equal."""
    silence: float = 0.0
    """The same of what stands in the holes and before a late beginning, which should be silent."""
    n_native: int = 0
    """Samples at the film's own rate."""
    picture_errors: list[float] = field(default_factory=list)
    """Seconds by which the beginning and the end of each flash is later than in the other decoding."""
    flashes: list[tuple[float, float]] = field(default_factory=list)
    """Their beginnings and ends in giblet's reading."""
    frame_error: float = 0.0
    """Seconds by which a frame begins earlier or later, at most, where both have the same number of them."""
    n_shown: int = 0
    n_other: int = 0
    image_error: float = 0.0
    """Largest mean difference of pixel values, 0 to 255, of two such frames."""
    luminance_error: float = 0.0
    """Largest difference of a TR's luminance, 0 to 1."""


def measured(film: Film, path: Path) -> Measured:
    """Read the film in both ways and compare."""
    found = Measured(decoded(film, path))
    if film.audio:
        _compare_sound(film, path, found)
    if film.video:
        _compare_picture(film, path, found)
    return found


def _compare_sound(film: Film, path: Path, found: Measured) -> None:
    reader = found.reader = AudioReader(path, RATE)
    at_24k = np.concatenate(list(reader))
    for stretch in found.other.stretches:
        other = resample_poly(stretch.sound.astype(np.float64), RATE, stretch.rate)
        for time in bursts_in(stretch):
            where = time + stretch.start
            mine, there = _piece(at_24k, where), _piece(other, time)
            late = _lag(mine, there, RATE)
            again = _piece(at_24k, where + late)
            found.sound_errors.append(late)
            found.level_errors.append(20 * np.log10(_rms(again) / _rms(there)))
            found.sound_truth.append(where + _lag(mine, burst((np.arange(len(mine)) - len(mine) // 2) / RATE), RATE))
    rate = found.other.stretches[0].rate
    native = np.concatenate(list(AudioReader(path, rate)))
    found.n_native = len(native)
    loud, end = _rms(native), 0.0
    for stretch in found.other.stretches:
        hole = native[round((end + 0.001) * rate) : max(0, round((stretch.start - 0.001) * rate))]
        found.silence = max(found.silence, _rms(hole) / loud)
        skip = max(0, round((end - stretch.start) * rate))  # of an overlap, what comes first is kept
        first, there = round(stretch.start * rate) + skip, stretch.sound[skip:]
        margin = rate // 100
        mine = np.pad(native, margin)[first : first + len(there) + 2 * margin]
        mine = np.pad(mine, (0, len(there) + 2 * margin - len(mine)))
        shift = int(np.argmax(correlate(mine, there, mode="valid", method="fft"))) - margin
        found.shifts.append(shift / rate)
        difference = mine[margin + shift : margin + shift + len(there)] - there
        edge = 2 * abs(shift) + 1  # the ends may be cut or padded by the shift, which is judged by itself
        difference = difference[edge : max(edge, len(difference) - edge)]
        width = rate // 50
        blocks = np.pad(difference, (0, -len(difference) % width)).reshape(-1, width).astype(np.float64)
        found.residue = max(found.residue, float(np.sqrt((blocks**2).mean(axis=1)).max()) / loud)
        end = stretch.end


def bursts_in(stretch: Stretch) -> list[float]:
    """Seconds after the start of the stretch at which whole bursts are heard, by matched filter."""
    rate = stretch.rate
    half = round(BURST / 2 * rate)
    known = burst(np.arange(-half, half + 1) / rate)
    if len(stretch.sound) < len(known):
        return []
    sound = stretch.sound.astype(np.float64)
    match = correlate(sound, known, mode="valid", method="fft")
    energy = correlate(sound**2, np.ones(len(known)), mode="valid", method="fft") * (known**2).sum()
    loud = 0.7 * np.sqrt(np.maximum(energy, 1e-12))  # of what the burst alone would give
    times: list[float] = []
    while (match > loud).any():
        best = int(np.argmax(np.where(match > loud, match, -np.inf)))
        times.append((best + half) / rate)
        match[max(0, best - rate // 5) : best + rate // 5] = -np.inf
    return sorted(times)


def _piece(sound: np.ndarray, at: float) -> np.ndarray:
    half = round((BURST / 2 + LOOK) * RATE)
    first = round(at * RATE) - half
    padded = np.pad(sound, (max(0, -first), max(0, first + 2 * half + 1 - len(sound))))
    return padded[max(0, first) :][: 2 * half + 1].astype(np.float64)


def _lag(mine: np.ndarray, other: np.ndarray, rate: int) -> float:
    """Seconds by which `mine` is later, to a part of a sample."""
    match = correlate(mine, other, mode="same", method="fft")
    best = int(np.argmax(match))
    part = 0.0
    if 0 < best < len(match) - 1:
        a, b, c = match[best - 1 : best + 2]
        part = 0.5 * (a - c) / (a - 2 * b + c)
    return (best + part - len(match) // 2) / rate


def _rms(sound: np.ndarray) -> float:
    return float(np.sqrt((sound.astype(np.float64) ** 2).mean())) if len(sound) else 0.0


def _compare_picture(film: Film, path: Path, found: Measured) -> None:
    other = found.other
    reader = found.pictures = PictureReader(path)
    frames = [(float(shown.start), float(shown.end), shown.pixels(SIZE)) for shown in reader]
    starts, ends = np.array([frame[0] for frame in frames]), np.array([frame[1] for frame in frames])
    images = np.array([frame[2] for frame in frames])
    found.n_shown, found.n_other = len(frames), len(other.images)
    found.flashes = flashes(starts, ends, images)
    theirs = flashes(other.frame_starts, other.frame_ends, other.images)
    if len(found.flashes) == len(theirs):
        found.picture_errors = [
            a - b for mine, his in zip(found.flashes, theirs, strict=True) for a, b in zip(mine, his, strict=True)
        ]
    if len(images) == len(other.images):
        difference = np.abs(images.astype(np.int16) - other.images).mean(axis=(1, 2, 3))
        found.image_error = float(difference.max())
        found.frame_error = float(np.abs(starts - other.frame_starts).max())
    features = VideoProcessor(tr=TR, size=SIZE).extract(path)
    coded = other.images / 255
    light = np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4).mean(axis=(1, 2))  # sRGB
    light = light @ np.array([0.2126, 0.7152, 0.0722])
    for k, value in enumerate(features["luminance"].values):
        shared = np.clip(np.minimum(other.frame_ends, (k + 1) * TR) - np.maximum(other.frame_starts, k * TR), 0, None)
        if shared.sum() > 0.5 * TR:
            found.luminance_error = max(found.luminance_error, abs(float(shared @ light / shared.sum()) - float(value)))


def flashes(starts: np.ndarray, ends: np.ndarray, images: np.ndarray) -> list[tuple[float, float]]:
    """When the picture turns white, and when it ceases to be."""
    white = images.mean(axis=(1, 2, 3)) > WHITE
    turns = np.flatnonzero(np.diff(np.concatenate([[0], white.astype(int), [0]])))
    return [(float(starts[a]), float(ends[b - 1])) for a, b in turns.reshape(-1, 2)]
