"""Sound, words and pictures for parity.py, as feature files of a stated length, and what its brains answer to.

Sets of stimuli share nothing: what was chosen by looking at scores was chosen on ``choosing`` (one German reader, one
film, other stories), and what is reported is of ``reporting``.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile
import xarray as xr

from giblet.codec import load_codec
from giblet.data.audio import AudioSettings
from giblet.data.brain_sources import brain_bands
from giblet.data.embeddings import OFFLINE
from giblet.data.text import TextProcessor
from giblet.data.video import VideoProcessor
from giblet.evaluation.reconstruction import latents_by_tr
from giblet.features import CONTINUOUS, VIDEO, load_features, new_features, save_features
from giblet.pipeline import extract
from giblet.spans import volume_grid
from giblet.timing import exact

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
SIZE = (36, 64)
"""Height and width of pictures."""
POOLED = (6, 10)
"""Rows and columns of the picture that ridge is given."""
STEP = 0.25
"""Seconds between the frames that pictures are made of."""
TEST_MINUTES = 6
"""For the test, behind those for training and validation."""
HELD_OUT = 0.3
"""Of the film, at its end: what test TRs show, and no others."""
WORD_NUMBERS = 8
KINDS = ("sound", "words", "pictures")
MODALITY = {"sound": "audio", "words": "text", "pictures": "video"}


@dataclass(frozen=True)
class StimulusSet:
    """Where stimuli come from."""

    speech: tuple[Path, ...]
    film: Path
    stories: slice
    """Of the stories, in alphabetic order."""
    seed: int
    """Of shots, brains and noise."""


SETS = {
    "choosing": StimulusSet((SHARED / "audio" / "kerstin_de",), SHARED / "media" / "big_buck_bunny_10s.mp4",
                            slice(0, 20), 1000),
    "reporting": StimulusSet((SHARED / "audio" / "librispeech",), SHARED / "media" / "sintel_trailer.mp4",
                             slice(20, 60), 2000),
}  # fmt: skip


def n_trs_of(minutes: float, tr: float) -> int:
    """Whole TRs of the scan, test included."""
    return int((minutes + TEST_MINUTES) * 60 / tr)


def test_share(minutes: float) -> float:
    """Of the scan, the part that is tested."""
    return TEST_MINUTES / (minutes + TEST_MINUTES)


def prepared(kind: str, minutes: float, tr: float, of: StimulusSet, work: Path) -> Path:
    """The feature file that the model is given; made once."""
    work.mkdir(parents=True, exist_ok=True)
    name = f"{minutes:g}min_tr{tr:g}"
    if kind == "sound":
        sound = speech(of, minutes, work / f"speech_{minutes:g}min.flac")
        done = extract(sound, AudioSettings.make(tr=tr, device="cpu"), work / f"tr{tr:g}").path
        assert done is not None
        return done
    path = work / f"{kind}_{name}_features.nc"
    if not path.exists():
        made = _words(of, minutes, tr, work) if kind == "words" else _pictures(of, minutes, tr)
        save_features(made, path)
    return path


def speech(of: StimulusSet, minutes: float, to: Path) -> Path:
    """One sound of many files, a quarter of a second of silence between them."""
    wanted, have, parts, rate = 0, 0, [], 0
    if to.exists():
        return to
    for file in sorted(one for folder in of.speech for one in folder.glob("*.flac")):
        sound, own = soundfile.read(file, dtype="float32")
        rate = rate or own
        if own != rate:
            continue  # of the few at another rate
        wanted = int((minutes + TEST_MINUTES) * 60 * rate)
        parts += [sound, np.zeros(rate // 4, np.float32)]
        have += len(sound) + rate // 4
        if have >= wanted:
            break
    if not parts or have < wanted:
        raise SystemExit(
            f"{of.speech[0]} holds {have / max(rate, 1) / 60:.1f} min of speech, {minutes + TEST_MINUTES:g} are needed"
        )
    soundfile.write(to, np.concatenate(parts)[:wanted], rate)
    return to


def word_table(of: StimulusSet, minutes: float, work: Path) -> tuple[Path, Path]:
    """Tables of phrases of 2 s, and of their words, which are spread evenly over them."""
    tables = work / f"phrases_{minutes:g}min.tsv", work / f"words_{minutes:g}min.tsv"
    if all(table.exists() for table in tables):
        return tables
    stories = json.loads(gzip.decompress((SHARED / "fmri" / "lebel" / "stories.json.gz").read_bytes()))
    by_story = stories["text_per_row"]
    texts = [str(text) for name in sorted(by_story)[of.stories] for text in by_story[name]]
    rows = int((minutes + TEST_MINUTES) * 60 / 2)
    if len(texts) < rows:
        raise SystemExit(f"the stories hold {len(texts) / 30:.0f} min of words, {minutes + TEST_MINUTES:g} are needed")
    phrases, words = [], []
    for row, text in enumerate(texts[:rows]):
        spoken = text.split()
        if spoken:
            phrases.append((2.0 * row, 2.0, text))
        words += [(2.0 * row + 2.0 * k / len(spoken), 2.0 / len(spoken), word) for k, word in enumerate(spoken)]
    for table, found in zip(tables, (phrases, words), strict=True):
        pd.DataFrame(found, columns=["onset", "duration", "text"]).to_csv(table, sep="\t", index=False)
    return tables


def _words(of: StimulusSet, minutes: float, tr: float, work: Path) -> xr.Dataset:
    phrases, _ = word_table(of, minutes, work)
    processor = TextProcessor(
        tr=tr, model=OFFLINE, device="cpu", film_duration=(minutes + TEST_MINUTES) * 60, overlaps="allow"
    )
    return processor.extract(phrases, n_trs_of(minutes, tr))


def _pictures(of: StimulusSet, minutes: float, tr: float) -> xr.Dataset:
    """Shots of 2 to 6 s: parts of the film, cut out, mirrored, brighter or darker, each another."""
    film = VideoProcessor(tr=STEP, size=(2 * SIZE[0], 2 * SIZE[1]), frame="middle").extract(of.film)
    source = film.frames.values[film.shown.values > 0.5]
    rng = np.random.default_rng([of.seed, int(minutes)])
    n_trs = n_trs_of(minutes, tr)
    per_tr = round(tr / STEP)
    first_test = int(minutes * 60 / tr) * per_tr
    border = int((1 - HELD_OUT) * len(source))
    steps: list[np.ndarray] = []
    while len(steps) < n_trs * per_tr:
        here = source[:border] if len(steps) < first_test else source[border:]
        length = min(int(rng.integers(8, 25)), len(here))
        if len(steps) < first_test:
            length = min(length, first_test - len(steps))
        start = int(rng.integers(0, len(here) - length + 1))
        steps += list(_shot(here[start : start + length], rng))
    frames = np.stack(steps[: n_trs * per_tr]).reshape(n_trs, per_tr, *SIZE, 3).mean(axis=1)
    return new_features(
        {"frames": (("tr", "row", "column", "rgb"), np.rint(frames).astype(np.uint8))},
        volume_grid(tr, n_trs, 0), film_duration=n_trs * exact(tr), kind=CONTINUOUS, desc=VIDEO,
        duration=float(n_trs * tr), source=of.film.name, source_sha256=film.attrs["source_sha256"], settings={"tr": tr},
    )  # fmt: skip


def _shot(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A part of the picture, a quarter of its area, perhaps mirrored, under another light, uint8 (n, *SIZE, 3)."""
    top, left = (int(rng.integers(0, side + 1)) for side in SIZE)
    own = frames[:, top : top + SIZE[0], left : left + SIZE[1]].astype(np.float32)
    if rng.random() < 0.5:
        own = own[:, :, ::-1]
    light = rng.uniform(0.6, 1.4) * rng.uniform(0.8, 1.2, 3)
    return np.clip(own * light, 0, 255).astype(np.uint8)


def brain_sources(
    kinds: tuple[str, ...], files: Mapping[str, Path], minutes: float, of: StimulusSet, work: Path, *, circular: bool
) -> dict[str, Any]:
    """What a brain answers to: what the model is not given, or, where it is circular, what ridge is given."""
    found: dict[str, Any] = {}
    for kind in kinds:
        features = load_features(files[kind])
        if circular:
            found[kind] = linear_features(kind, features)
        elif kind == "sound":
            found |= brain_bands(
                features, ["gammatone", "modulation"], film=work / f"speech_{minutes:g}min.flac", seed=of.seed
            )
        elif kind == "pictures":
            found |= brain_bands(features, ["random_net"], seed=of.seed)
        else:
            _, words = word_table(of, minutes, work)
            found |= brain_bands(features, ["word_frequency"], words=words, seed=of.seed)
            found["names of words"] = word_names(words, features, of.seed)
    return found


def word_names(table: Path, features: xr.Dataset, seed: int) -> np.ndarray:
    """Sums over the words that begin in each TR of 8 random numbers that each word has, (n_trs, 8)."""
    words = pd.read_csv(table, sep="\t", keep_default_na=False)
    total = np.zeros((features.sizes["tr"], WORD_NUMBERS))
    for onset, word in zip(words["onset"], words["text"], strict=True):
        own = np.random.default_rng([seed, zlib.crc32(str(word).lower().encode())]).standard_normal(WORD_NUMBERS)
        place = int(onset / features.attrs["tr"])
        if place < len(total):
            total[place] += own
    return total


def linear_features(kind: str, features: xr.Dataset) -> np.ndarray:
    """What ridge is given of what the model is given, float64 (n_trs, n_features)."""
    if kind == "sound":
        latents = latents_by_tr(features.codes.values, load_codec("bundled", device="cpu"))
        return np.concatenate([latents.mean(axis=2), latents.std(axis=2)], axis=1).astype(np.float64)
    if kind == "words":
        return np.asarray(features.embedding.values, np.float64)
    frames = features.frames.values.astype(np.float64) / 255
    n, height, width, _ = frames.shape
    rows, columns = (
        np.linspace(0, size, parts + 1).astype(int) for size, parts in ((height, POOLED[0]), (width, POOLED[1]))
    )
    down = np.add.reduceat(frames, rows[:-1], axis=1) / np.diff(rows)[:, None, None]
    across = np.add.reduceat(down, columns[:-1], axis=2) / np.diff(columns)[:, None]
    return across.reshape(n, -1)
