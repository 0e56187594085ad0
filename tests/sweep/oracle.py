"""What is in a film according to a decoder that is not giblet's: libsndfile, or the ffmpeg and ffprobe commands."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from tests.sweep.films import Film
from tests.sweep.sources import LAYOUTS

SIZE = (12, 16)
"""Height and width to which pictures are scaled before they are compared."""
STEP = 0.02
"""Seconds by which a timestamp must leave those before it, and the next with it, for a hole or an overlap: twice what
Vorbis at 44.1 kHz runs ahead at an attack and takes back."""
MP4 = {"mp4", "m4a", "mov", "3gp", "f4v", "ismv"}
ALIASES = {"5.0(side)": ("FL", "FR", "FC", "SL", "SR"), "1 channels (FL)": ("FL",)}


@dataclass
class Stretch:
    """Sound without a hole: its first sample is heard at `start`, in seconds after film zero."""

    start: float
    sound: np.ndarray
    """Mono, by the mix that giblet documents, float32 (n,)."""
    rate: int

    @property
    def end(self) -> float:
        return self.start + len(self.sound) / self.rate


@dataclass
class Decoded:
    """A film as the independent decoder has it, in seconds after the first thing that is presented."""

    stretches: list[Stretch]
    frame_starts: np.ndarray
    """When each frame of the picture begins, in order, float64 (n,); empty without picture."""
    images: np.ndarray
    """The frames, scaled, uint8 (n, *SIZE, 3)."""
    picture_end: float
    """When the last frame ends; 0 without picture."""

    @property
    def sound_end(self) -> float:
        return max((stretch.end for stretch in self.stretches), default=0.0)

    @property
    def end(self) -> float:
        return max(self.sound_end, self.picture_end)

    @property
    def frame_ends(self) -> np.ndarray:
        return np.append(self.frame_starts[1:], self.picture_end)


def mixed(samples: np.ndarray, layout: str) -> np.ndarray:
    """Mono as the README says: left and right 1, centre sqrt(2), surrounds sqrt(1/2), no LFE, divided by the sum.

    A single rear surround is a 1, and where a loudspeaker is not known the channels weigh alike.
    """
    names = {**LAYOUTS, **ALIASES}.get(layout, ("",))
    if "" in names:
        return samples.mean(axis=1, dtype=np.float64).astype(np.float32)
    table = {"FL": 1, "FR": 1, "FC": 2**0.5, "LFE": 0, "BC": 1}
    weights = np.array([table.get(name, 0.5**0.5) for name in names])
    assert samples.shape[1] == len(weights), f"{samples.shape[1]} channels are no {layout}"
    return (samples @ (weights / weights.sum())).astype(np.float32)


def decoded(film: Film, path: Path) -> Decoded:
    """The film as its decoder has it."""
    if film.decoder == "libsndfile":
        samples, rate = soundfile.read(path, dtype="float64", always_2d=True)
        if film.audio and ("vorbis" in film.audio.lower() or "opus" in film.audio.lower()) and film.layout == "5.1":
            samples = samples[:, [0, 2, 1, 5, 3, 4]]  # libsndfile hands out Vorbis' order: FL FC FR BL BR LFE
        sound = mixed(samples, film.layout)
        return Decoded([Stretch(0.0, sound, rate)], np.zeros(0), np.zeros((0, *SIZE, 3), np.uint8), 0.0)
    return _by_ffmpeg(film, path)


def _by_ffmpeg(film: Film, path: Path) -> Decoded:
    fields = "media_type,best_effort_timestamp_time,nb_samples,pkt_duration_time,duration_time,channel_layout,channels"
    entries = f"frame={fields}:frame_side_data=side_data_type:frame_tags=:stream=codec_type,sample_rate,channels"
    about = json.loads(_run("ffprobe", "-v", "error", "-show_frames", "-show_entries", entries, "-of", "json", path))
    heard = [frame for frame in about["frames"] if frame["media_type"] == "audio" and frame["nb_samples"]]
    shown = [frame for frame in about["frames"] if frame["media_type"] == "video"]
    stretches: list[Stretch] = []
    if film.audio:
        rate = next(int(stream["sample_rate"]) for stream in about["streams"] if stream["codec_type"] == "audio")
        n_channels = heard[0]["channels"]
        raw = _run("ffmpeg", "-v", "error", "-i", path, "-map", "0:a:0", "-f", "f32le", "-c:a", "pcm_f32le", "-")
        samples = np.frombuffer(raw, "<f4").reshape(-1, n_channels)
        stretches = _laid(mixed(samples, heard[0].get("channel_layout", "unknown")), rate, heard)
    starts, images, picture_end = np.zeros(0), np.zeros((0, *SIZE, 3), np.uint8), 0.0
    if film.video:
        scale = f"scale={SIZE[1]}:{SIZE[0]}:flags=area+accurate_rnd+full_chroma_int"
        raw = _run(
            "ffmpeg", "-v", "error", "-i", path, "-map", "0:v:0", "-vf", scale, "-fps_mode", "passthrough",
            "-f", "rawvideo", "-pix_fmt", "rgb24", "-",
        )  # fmt: skip
        images = np.frombuffer(raw, np.uint8).reshape(-1, *SIZE, 3)
        starts, picture_end = _frame_times(film, shown)
        assert len(starts) == len(images), f"ffprobe has {len(starts)} frames, ffmpeg {len(images)}"
    if film.suffix in MP4:  # what lies before 0 there is not presented; not every ffmpeg knows that of fragments
        images, starts = images[starts >= -1e-6], starts[starts >= -1e-6]
        for stretch in stretches:
            n = max(0, round(-stretch.start * stretch.rate))
            stretch.start, stretch.sound = stretch.start + n / stretch.rate, stretch.sound[n:]
    zero = min([*starts[:1], *(stretch.start for stretch in stretches[:1])])
    for stretch in stretches:
        stretch.start -= zero
        if film.sound_end is not None:
            stretch.sound = stretch.sound[: round((film.sound_end - stretch.start) * stretch.rate)]
    return Decoded(stretches, starts - zero, images, picture_end - zero if film.video else 0.0)


def _frame_times(film: Film, frames: list[dict[str, Any]]) -> tuple[np.ndarray, float]:
    """When each frame begins, and when the last one ends; one without a timestamp follows the one before."""
    starts, end = [], 0.0
    for frame in frames:
        start = float(frame.get("best_effort_timestamp_time", end))
        length = frame.get("duration_time") or frame.get("pkt_duration_time")
        starts.append(start)
        end = start + float(length or 1 / film.fps)
    return np.array(starts), end


def _laid(sound: np.ndarray, rate: int, frames: list[dict[str, Any]]) -> list[Stretch]:
    """The sound where its frames' timestamps put it, cut where they jump and stay there."""
    counts = np.array([frame["nb_samples"] for frame in frames])
    assert counts.sum() == len(sound), f"ffprobe has {counts.sum()} samples, ffmpeg {len(sound)}"
    before = np.concatenate([[0], np.cumsum(counts)])
    ahead = np.array([float(frame.get("best_effort_timestamp_time", "nan")) for frame in frames]) - before[:-1] / rate
    cuts, level = [0], ahead[0]
    for k in range(1, len(ahead)):
        if abs(ahead[k] - level) > STEP and (k + 1 == len(ahead) or abs(ahead[k + 1] - ahead[k]) < STEP):
            cuts.append(k)
            level = ahead[k]
    return [
        Stretch(ahead[a] + before[a] / rate, sound[before[a] : before[b]], rate)
        for a, b in zip(cuts, [*cuts[1:], len(ahead)], strict=True)
    ]


def _run(*command: str | Path) -> bytes:
    done = subprocess.run([*map(str, command)], capture_output=True, timeout=120)
    assert done.returncode == 0, f"{command}: {done.stderr.decode(errors='replace')}"
    return done.stdout
