"""The last 47 s of a story, with its 135 words and their onsets as people set them by hand."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from giblet.data.media import AudioReader

SHARED = Path(__file__).parents[1].parent / "shared"
FOLDER = SHARED / "fmri" / "alice"
CLIP = FOLDER / "story_last_47s.flac"
BEGINS = 696.62
"""Second of the words' clock at which the clip begins."""
RATE = 16_000

needs_clip = pytest.mark.skipif(not CLIP.exists(), reason="the shared Alice data are not beside the repository")


def spoken(before: bool = False) -> tuple[list[str], np.ndarray]:
    """Words and onsets (s) within the clip, or of the story before it."""
    with (FOLDER / "words.tsv").open(encoding="utf-8") as file:
        rows = [(float(row["onset"]) - BEGINS, row["text"]) for row in csv.DictReader(file, delimiter="\t")]
    words: list[str] = []
    onsets: list[float] = []
    for onset, text in rows:
        if not (onset < -1 if before else onset >= 0):
            continue
        if text.startswith("'"):  # "I" and "'ll" have a row each
            words[-1] += text
        else:
            words.append(text)
            onsets.append(onset)
    return words, np.array(onsets)


def sound() -> np.ndarray:
    """Of the clip, float32 at 16 kHz."""
    return np.concatenate(list(AudioReader(CLIP, RATE)))


def chunks(samples: np.ndarray, seconds: float = 10.0) -> list[np.ndarray]:
    """The sound as a reader gives it."""
    size = round(seconds * RATE)
    return [samples[start : start + size] for start in range(0, len(samples), size)]


def errors(words, onsets) -> np.ndarray:
    """Seconds between the onsets of timed words and those set by hand, without words that have no time."""
    pairs = [(word.onset, onset) for word, onset in zip(words, onsets, strict=True) if word.onset is not None]
    found, true = np.array(pairs).T
    return np.abs(found - true)
