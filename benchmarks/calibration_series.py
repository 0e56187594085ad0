"""Series of known truth for `benchmarks/calibration.py`: noise, drifts, predictions that know nothing, and real BOLD.

Every function draws ``(n_trs, n_columns)`` of independent columns, and is given its random generator.
"""

from __future__ import annotations

import gzip
import json
from functools import cache
from pathlib import Path

import numpy as np
from scipy.signal import lfilter

from giblet.alignment import convolve_hrf
from giblet.data.fmri import FMRIProcessor
from giblet.errors import InputError

TR = 1.5
REAL_TR = 2.0
NOISES = ("white", "ar .3", "ar .6", "ar .9", "walk", "linear", "quadratic", "cosine")
LEVELS, REAL = "run baselines", "real BOLD"
STRENGTH = 3.0
"""Deviation of a drift's strength over draws, in deviations of the noise that it is added to."""
LEVEL = 4.0
"""The same of the levels of runs: 2 % of the signal, where the noise is 0.5 % of it."""
SLOWEST, FASTEST = 1024.0, 128.0
"""Seconds: periods of the drifts that are called cosine."""
SETTLING = 6.0
"""By how much a scan settles, and a film fades in, in deviations of their noise."""
LISTENERS = 27
"""Of the Alice data, without the one whose table is constant."""


def ar1(phi: float, n: int, columns: int, rng: np.random.Generator) -> np.ndarray:
    """AR(1) of variance 1, in its stationary state from the start."""
    steps = rng.standard_normal((n, columns))
    steps[1:] *= np.sqrt(1 - phi**2)
    return lfilter([1], [1, -phi], steps, axis=0)


def plain(noise: str, n: int, columns: int, rng: np.random.Generator) -> np.ndarray:
    """A kind of noise without its drifts; drifts stand on AR(1) noise of .3."""
    if noise == "walk":
        return np.cumsum(rng.standard_normal((n, columns)), axis=0)
    return ar1({"white": 0.0, "ar .6": 0.6, "ar .9": 0.9}.get(noise, 0.3), n, columns, rng)


def drift(noise: str, n: int, columns: int, rng: np.random.Generator) -> np.ndarray:
    """The drift that belongs to a kind of noise, in deviations; of two runs' levels, a step in the middle."""
    t, size = np.linspace(-1, 1, n)[:, None], STRENGTH * rng.standard_normal((1, columns))
    if noise == "linear":
        return size * t
    if noise == "quadratic":
        return size * (3 * t**2 - 1) / 2
    if noise == "cosine":
        seconds, total = np.arange(n)[:, None] * TR, np.zeros((n, columns))
        for _ in range(3):
            period = np.exp(rng.uniform(np.log(FASTEST), np.log(SLOWEST), columns))
            phase, size = rng.uniform(0, 2 * np.pi, columns), STRENGTH / np.sqrt(3) * rng.standard_normal(columns)
            total += size * np.cos(2 * np.pi * seconds / period + phase)
        return total
    if noise == LEVELS:
        return LEVEL * rng.standard_normal((2, columns)).repeat([n // 2, n - n // 2], axis=0)
    return np.zeros((n, columns))


def noisy(noise: str, n: int, columns: int, rng: np.random.Generator, *, shared: float = 0.0) -> np.ndarray:
    """What a scanner measures where nothing answers to the film.

    Parameters
    ----------
    noise : str
        One of `NOISES`, or `LEVELS`: two runs of equal length.
    n, columns : int
    rng : numpy.random.Generator
    shared : float
        Part of the variance that all columns have in common, as neighbouring voxels do; the same part of drifts.
    """
    own = plain(noise, n, columns, rng) + drift(noise, n, columns, rng)
    if not shared:
        return own
    common = plain(noise, n, 1, rng) + drift(noise, n, 1, rng)
    return np.sqrt(shared) * common + np.sqrt(1 - shared) * own


def predictions(noise: str, n: int, columns: int, rng: np.random.Generator) -> np.ndarray:
    """Predictions of another film: as slow as the noise, smoothed by an HRF, and with drifts of their own."""
    start = int(32 / TR)
    smooth = standard(convolve_hrf(plain(noise, n + start, columns, rng), tr=TR, kind="continuous")[start:])
    return smooth + drift(noise, n, columns, rng)


def films(noise: str, n: int, columns: int, rng: np.random.Generator) -> np.ndarray:
    """Features of another film by TR, before any HRF: as slow as the noise, with drifts of their own."""
    return plain(noise, n, columns, rng) + drift(noise, n, columns, rng)


def standard(values: np.ndarray) -> np.ndarray:
    """Mean 0 and variance 1, column by column."""
    return (values - values.mean(axis=0)) / values.std(axis=0)


def planted(noise: str, r: float, signal: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The signal in noise, so that they correlate by `r`, on average and before drifts are removed."""
    n, columns = signal.shape
    return r * standard(signal) + np.sqrt(1 - r**2) * standard(noisy(noise, n, columns, rng))


def settling(seconds: float, n: int) -> np.ndarray:
    """What a scan adds in its first minute, or a film that fades in: 0 at first, then up to a level, (n, 1)."""
    return SETTLING * (1 - np.exp(-np.arange(n)[:, None] * TR / seconds))


@cache
def alice(folder: Path) -> np.ndarray:
    """BOLD of all listeners that can be used, float64 (n_listeners, n_volumes, n_regions), TR 2 s."""
    found = []
    for path in sorted((folder / "fmri" / "alice" / "bold").glob("sub-*_bold.tsv")):
        try:
            found.append(FMRIProcessor(tr=REAL_TR).load(path)["bold"].values.astype(np.float64))
        except InputError:  # the one whose table is constant, as the folder's README says
            continue
    if len(found) != LISTENERS:
        raise InputError(f"{folder / 'fmri' / 'alice'} holds {len(found)} listeners: {LISTENERS} are expected")
    return np.stack(found)


@cache
def other_stories(folder: Path) -> tuple[np.ndarray, ...]:
    """Words of each 2 s of stories that the Alice listeners did not hear, one float64 series for each story."""
    with gzip.open(folder / "fmri" / "lebel" / "stories.json.gz", "rt", encoding="utf-8") as file:
        rows = json.load(file)["text_per_row"].values()
    return tuple(np.array([len(text.split()) for text in story], np.float64) for story in rows)


@cache
def other_responses(folder: Path) -> tuple[np.ndarray, ...]:
    """The same, smoothed by an HRF."""
    return tuple(convolve_hrf(story - story.mean(), tr=REAL_TR, kind="continuous") for story in other_stories(folder))


def real_bold(folder: Path, n: int, rng: np.random.Generator) -> np.ndarray:
    """A stretch of one listener's BOLD, (n, n_regions)."""
    one = alice(folder)[rng.integers(LISTENERS)]
    first = rng.integers(len(one) - n + 1)
    return one[first : first + n]


def stretch(stories: tuple[np.ndarray, ...], n: int, rng: np.random.Generator) -> np.ndarray:
    """A stretch of one of the stories that are long enough, (n,)."""
    long = [story for story in stories if len(story) >= n]
    story = long[rng.integers(len(long))]
    first = rng.integers(len(story) - n + 1)
    return story[first : first + n]
