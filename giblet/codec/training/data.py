"""Random crops of a folder of sound: balanced between data sets, never held-out ones, a function of (seed, step)."""

from __future__ import annotations

import csv
import logging
import math
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr

from giblet.errors import InputError
from giblet.sound_files import SEEKABLE, find_sound_files

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class AudioFile:
    """One audio file: where it is, which data set it belongs to, how long it is (s)."""

    path: Path
    dataset: str
    seconds: float


def find_audio(folder: Path, held_out: list[str]) -> tuple[list[AudioFile], list[AudioFile]]:
    """Audio files below a folder, sorted, split into those for training and those kept out.

    Parameters
    ----------
    folder : Path
        A `manifest.csv` in it (columns file, dataset, seconds) names data sets and durations; a file that
        it does not list belongs to the data set named like its folder.
    held_out : list of str
        Patterns over file names, such as `1034-*.flac`.

    Returns
    -------
    training, kept_out : list of AudioFile

    Raises
    ------
    InputError
        If there is no such folder, nothing in it to train on, a file or manifest that cannot be read, or a pattern that
        matches nothing (a typing error there would train on what was meant for the test).
    """
    if not folder.is_dir():
        raise InputError(f"no folder of audio at {folder}; name one that holds {', '.join(SEEKABLE)} files")
    listed = _listed(folder / "manifest.csv")
    training: list[AudioFile] = []
    kept: list[AudioFile] = []
    unused = set(held_out)
    files = find_sound_files(folder)
    if unread := sorted({path.suffix.lower() for path in files} - set(SEEKABLE)):
        logger.warning("%s: %s files are left out, convert them to .flac to train on them", folder, ", ".join(unread))
    for path in (path for path in files if path.suffix.lower() in SEEKABLE):
        known = listed.get("/".join(path.parts[-2:]))
        dataset, seconds = known if known else (path.parent.name, _duration(path))
        hits = [pattern for pattern in held_out if fnmatch(path.name, pattern)]
        unused.difference_update(hits)
        (kept if hits else training).append(AudioFile(path, dataset, seconds))
    if unused:
        raise InputError(f"held_out patterns {sorted(unused)} match no file below {folder}: correct or remove them")
    if not training:
        raise InputError(
            f"nothing to train on below {folder}: it needs {', '.join(SEEKABLE)} files that are not held out"
        )
    return training, kept


def _listed(manifest: Path) -> dict[str, tuple[str, float]]:
    """Data set and seconds by the last two parts of a file's path; nothing where there is no manifest."""
    if not manifest.is_file():
        return {}
    listed: dict[str, tuple[str, float]] = {}
    with manifest.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            try:
                seconds = float(row["seconds"])
                listed["/".join(Path(row["file"]).parts[-2:])] = (row["dataset"], seconds)
            except (KeyError, TypeError, ValueError) as exc:
                raise InputError(
                    f"{manifest} cannot be read at {row}: it needs the columns file, dataset and seconds"
                ) from exc
            if not 0 <= seconds < math.inf:
                raise InputError(f"{manifest} gives {row['file']} {row['seconds']} seconds; write its duration there")
    return listed


def _duration(path: Path) -> float:
    try:
        return float(sf.info(path).duration)
    except sf.LibsndfileError as exc:
        raise InputError(f"{path} cannot be read as sound ({exc}): replace or remove it") from exc


def read_mono(path: Path, sample_rate: int, start: float = 0.0, seconds: float | None = None) -> np.ndarray:
    """Sound of a file, mixed down to mono.

    Parameters
    ----------
    path : Path
    sample_rate : int
        In Hz, of the result.
    start : float
        In seconds.
    seconds : float, optional
        At least this much, and up to two samples of the file more, as far as the file goes; all of it by default.

    Returns
    -------
    ndarray of float32, shape (N,)
        Empty where `start` is behind the end of the file.

    Raises
    ------
    InputError
        If the file cannot be read, or holds samples that are not finite numbers.
    """
    try:
        with sf.SoundFile(path) as file:
            file.seek(min(int(start * file.samplerate), file.frames))
            count = -1 if seconds is None else int(np.ceil(seconds * file.samplerate)) + 1
            sound = file.read(count, dtype="float32", always_2d=True).mean(1)
            rate = file.samplerate
    except sf.LibsndfileError as exc:
        raise InputError(f"{path} cannot be read as sound ({exc}): replace or remove it") from exc
    if not np.isfinite(sound).all():
        raise InputError(f"{path} holds samples that are not finite numbers: replace or remove it")
    return sound if rate == sample_rate else soxr.resample(sound, rate, sample_rate)


class CropSampler:
    """Batches of random crops.

    Parameters
    ----------
    files : list of AudioFile
        What to draw from.
    sample_rate : int
        In Hz.
    crop : int
        Samples per crop.
    max_share : float
        Most that one data set may take of the files drawn, so that one speaker does not rule.
    weights : dict of str to float
        Factors on the share of single data sets, 1 where absent.
    mix, silence, as_recorded : float
        Probability that a second crop is added to the first, that a crop is digital silence, and that it keeps
        about its recorded level (pauses stay quiet) instead of being scaled to a random peak.
    gain_range_db : (float, float), optional
        Random gain of a crop that keeps its recorded level, and peak (dB full scale) of one that does not; by default
        -10 to -0.15 and -20 to -0.3.
    cache_mb : float
        Decoded sound to keep in memory; files past it are read from disk crop by crop.
    seed : int
        Batch n is a function of (seed, n) alone: resuming needs no generator state.

    Raises
    ------
    InputError
        If a weight is for a data set that is not there, none has any weight and duration, or a file cannot be read.
    """

    def __init__(  # 11 parameters: where from, how long, and what is drawn how often, each one number of the settings
        self,
        files: list[AudioFile],
        sample_rate: int,
        crop: int,
        *,
        max_share: float = 1 / 3,
        weights: dict[str, float] | None = None,
        mix: float = 0.0,
        silence: float = 0.0,
        as_recorded: float = 0.0,
        gain_range_db: tuple[float, float] | None = None,
        cache_mb: float = 2048,
        seed: int = 0,
    ) -> None:
        self.sample_rate, self.crop, self.seed = sample_rate, crop, seed
        self.mix, self.silence, self.as_recorded = mix, silence, as_recorded
        self.gain_range_db = gain_range_db
        self.groups: dict[str, list[AudioFile]] = {}
        for file in files:
            self.groups.setdefault(file.dataset, []).append(file)
        self.shares = balance(
            {name: sum(f.seconds for f in group) for name, group in self.groups.items()}, max_share, weights or {}
        )
        self._odds = {name: _normalised([f.seconds for f in self.groups[name]]) for name in self.shares}
        self._cache: dict[Path, np.ndarray] = {}
        room = cache_mb * 2**20
        for file in (f for f in files if f.dataset in self.shares):
            room -= file.seconds * sample_rate * 2
            if room < 0:
                break
            # 16 bits halve the memory and lose nothing that a codec of this size keeps
            self._cache[file.path] = (np.clip(read_mono(file.path, sample_rate), -1, 1) * 32767).astype(np.int16)
        logger.info("training on %d files, %d of them cached: %s", len(files), len(self._cache), self.describe())

    def describe(self) -> str:
        """Share of each data set in the crops, for the log.

        Returns
        -------
        str
        """
        return ", ".join(f"{name} {share:.0%}" for name, share in self.shares.items())

    def batch(self, step: int, size: int) -> np.ndarray:
        """Crops of a training step, each at a random level.

        Parameters
        ----------
        step : int
            Its number, from 0.
        size : int
            How many crops.

        Returns
        -------
        ndarray of float32, shape (size, 1, crop)
            In [-1, 1], or as far as `gain_range_db` goes.

        Raises
        ------
        InputError
            If a file cannot be read, or holds samples that are not finite numbers.
        """
        rng = np.random.default_rng([self.seed, step])
        out = np.zeros((size, 1, self.crop), np.float32)
        for row in out:
            row[0] = self._scaled(rng)
            if rng.random() < self.mix:
                row[0] = 0.5 * (row[0] + self._scaled(rng))
            if rng.random() < self.silence:
                row[0] = 0
        return out

    def _scaled(self, rng: np.random.Generator) -> np.ndarray:
        """One crop: its peak between -20 and -0.3 dB full scale, or its recorded level less up to 10 dB, by default."""
        name = str(rng.choice(list(self.shares), p=list(self.shares.values())))
        file = self.groups[name][int(rng.choice(len(self.groups[name]), p=self._odds[name]))]
        at = rng.random()
        if self.gain_range_db is None:
            level = 10 ** rng.uniform(-1.0, -0.015)
            gain = level**0.5
        else:
            gain = level = 10 ** (rng.uniform(*self.gain_range_db) / 20)
        recorded = rng.random() < self.as_recorded
        if file.path in self._cache:
            sound = self._cache[file.path]
            start = int(at * max(0, len(sound) - self.crop))
            piece = sound[start : start + self.crop].astype(np.float32) / 32767
        else:
            length = self.crop / self.sample_rate
            piece = read_mono(file.path, self.sample_rate, at * max(0.0, file.seconds - length), length)[: self.crop]
        out = np.zeros(self.crop, np.float32)
        if recorded:
            out[: len(piece)] = np.clip(piece, -1, 1) * gain
        else:
            out[: len(piece)] = piece / (np.abs(piece).max(initial=0) + 1e-3) * level
        return out


def balance(seconds: dict[str, float], max_share: float, weights: dict[str, float]) -> dict[str, float]:
    """Share of each data set in what is drawn: duration times weight, none above `max_share` if others take the rest.

    Parameters
    ----------
    seconds : dict of str to float
        Duration of each data set; one without any, or of weight 0, gets no share.
    max_share : float
        Cap on each share; raised to an equal split where there are too few data sets to keep it.
    weights : dict of str to float
        Factors, 1 where absent.

    Returns
    -------
    dict of str to float
        They sum to 1.

    Raises
    ------
    InputError
        If there is a weight for a data set that is not there, or none has any weight and duration.
    """
    if unknown := set(weights) - set(seconds):
        raise InputError(f"dataset_weights name {sorted(unknown)}: there are {sorted(seconds)}")
    wanted = {name: value * weights.get(name, 1.0) for name, value in seconds.items()}
    wanted = {name: value for name, value in wanted.items() if value > 0}
    if not wanted:
        raise InputError(f"dataset_weights and durations leave nothing of {sorted(seconds)}; set a weight above 0")
    cap = max(max_share, 1 / len(wanted))
    capped: set[str] = set()
    while True:
        # what the capped ones leave is shared by the others in proportion
        free = sum(value for name, value in wanted.items() if name not in capped)
        left = 1 - cap * len(capped)
        shares = {name: cap if name in capped else value * left / free for name, value in wanted.items()}
        over = {name for name, share in shares.items() if share > cap + 1e-9}
        if not over:
            return shares
        capped |= over


def _normalised(values: list[float]) -> list[float]:
    return [v / sum(values) for v in values]
