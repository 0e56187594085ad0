"""Sounds of a page: as FLAC, in the page or beside it, and their spectrograms."""

from __future__ import annotations

import importlib.util
import io
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import soundfile

from giblet.errors import reading
from giblet.sound_files import new_sound_file

WINDOW, HOP = 1024, 256
"""Samples of a spectrum, and from one to the next where there is room for all of them."""
COLUMNS, PER_COLUMN = 1200, 8
"""Columns of a picture at most, and spectra at most that are averaged in one of them."""
POOLED = 3
"""Bins of a spectrum in one row of a picture."""
TOP_HZ = 8000.0
FLOOR_DB = -70.0
"""Of pictures of spectrograms, below the loudest of the first one."""
BLOCK = 1 << 20
"""Samples that are read at a time."""


@dataclass(frozen=True)
class Player:
    """A sound to listen to, as FLAC (16 bit, lossless, so that no second codec is heard).

    Parameters
    ----------
    label : str
    sound : ndarray of float, shape (n_samples,), or Path
        Full scale at 1; a louder one is turned down as a whole, and `note` says by how much. Of a file, which is read
        when the page is made, the first channel is heard.
    sample_rate : int
        In Hz.
    about : str
        What it is, in a sentence.
    turned : float
        Seconds by which the sound is rotated: what is heard at 0 s was at that second, and the beginning follows the
        end.
    """

    label: str
    sound: np.ndarray | Path
    sample_rate: int
    about: str = ""
    turned: float = 0.0

    @classmethod
    def of_file(cls, label: str, path: Path, about: str = "", turned: float = 0.0) -> Player:
        """A sound file.

        Parameters
        ----------
        label : str
        path : Path
        about : str
        turned : float
            As for the class.

        Returns
        -------
        Player

        Raises
        ------
        InputError
            If it cannot be read.
        """
        with reading(path):
            return cls(label, path, int(soundfile.info(path).samplerate), about, turned)

    @cached_property
    def n_samples(self) -> int:
        """Samples in all."""
        if isinstance(self.sound, Path):
            with reading(self.sound):
                return int(soundfile.info(self.sound).frames)
        return len(self.sound)

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.n_samples / self.sample_rate

    @cached_property
    def gain(self) -> float:
        """What the sound is multiplied by, at most 1."""
        if isinstance(self.sound, Path):
            return 1.0
        return 1 / max(1.0, float(np.abs(self.sound).max(initial=0)))

    @property
    def note(self) -> str:
        """How much it was turned down, if it was."""
        return "" if self.gain == 1 else f"turned down by {-20 * np.log10(self.gain):.1f} dB to fit full scale"

    def write_flac(self, path: Path) -> None:
        """Write it as FLAC.

        Parameters
        ----------
        path : Path
            Ending in ``.flac``.

        Raises
        ------
        InputError
            If the sound is a file that cannot be read, or the disk is full.
        """
        with ExitStack() as stack:
            read = self.reader(stack)
            out = stack.enter_context(new_sound_file(path, self.sample_rate))
            for start in range(0, self.n_samples, BLOCK):
                out.write(read(start, min(BLOCK, self.n_samples - start)) * np.float32(self.gain))

    @property
    def flac(self) -> bytes:
        """The sound as FLAC."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "sound.flac"
            self.write_flac(path)
            return path.read_bytes()

    def reader(self, stack: ExitStack) -> Callable[[int, int], np.ndarray]:
        """How its samples are read.

        Parameters
        ----------
        stack : ExitStack
            Closes the file.

        Returns
        -------
        callable
            From the first sample and their number to samples, float32; 0 where there are none.
        """
        first = round(self.turned * self.sample_rate) % max(self.n_samples, 1)
        straight = _of_file(self.sound, stack) if isinstance(self.sound, Path) else _of_array(self.sound)

        def read(start: int, n: int) -> np.ndarray:
            found = [straight(begin, end - begin) for begin, end in _turned(start, n, first, self.n_samples)]
            missing = n - sum(map(len, found))
            return np.concatenate([*found, np.zeros(missing, np.float32)]) if missing or len(found) > 1 else found[0]

        return read


def _turned(start: int, n: int, first: int, total: int) -> Iterator[tuple[int, int]]:
    """Stretches of the sound as it is stored, for samples `start` to ``start + n`` of the one that is rotated."""
    end = min(start + n, total)
    while start < end:
        stored = (start + first) % total
        length = min(end - start, total - stored)
        yield stored, stored + length
        start += length


def _of_array(sound: np.ndarray) -> Callable[[int, int], np.ndarray]:
    return lambda start, n: np.asarray(sound[start : start + n], np.float32)


def _of_file(path: Path, stack: ExitStack) -> Callable[[int, int], np.ndarray]:
    with reading(path):
        file = stack.enter_context(soundfile.SoundFile(path))

    def read(start: int, n: int) -> np.ndarray:
        with reading(path):
            file.seek(start)
            return np.asarray(file.read(n, dtype="float32", always_2d=True)[:, 0])

    return read


def strips(players: Sequence[Player]) -> list[bytes | None]:
    """Pictures of sounds without axes, on one scale of loudness and one axis of time: 0 to 8 kHz from the bottom up.

    Of a long sound the power in a column is the mean of up to eight spectra, spread evenly over its seconds.

    Parameters
    ----------
    players : sequence of Player
        The first sets the scale, and the longest the axis.

    Returns
    -------
    list of bytes or None
        PNG; None where matplotlib is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        return [None] * len(players)
    from matplotlib.image import imsave

    seconds = max(one.seconds for one in players)
    powers = [_power(one, seconds) for one in players]
    loudest = max(float(powers[0].max(initial=0)), float(np.finfo(np.float32).tiny))
    found: list[bytes | None] = []
    for power in powers:
        level = 10 * np.log10(np.maximum(power / loudest, 10 ** (FLOOR_DB / 10)))
        file = io.BytesIO()
        imsave(file, level, format="png", cmap="magma", vmin=FLOOR_DB, vmax=0, origin="lower")
        found.append(file.getvalue())
    return found


def _power(player: Player, seconds: float) -> np.ndarray:
    """Mean power by frequency and time, float32 (n_rows, n_columns), of `seconds` from the beginning on."""
    rate, total = player.sample_rate, max(round(seconds * player.sample_rate), 1)
    n_columns = min(COLUMNS, max(1, total // HOP))
    width = total / n_columns
    n_each = min(PER_COLUMN, max(1, int(width // HOP)))
    bins = max(POOLED, int(min(TOP_HZ, rate / 2) / rate * WINDOW) // POOLED * POOLED)
    taper = np.hanning(WINDOW).astype(np.float32)
    power = np.zeros((n_columns, bins), np.float32)
    with ExitStack() as stack:
        read = player.reader(stack)
        for column in range(n_columns):
            middles = np.round((column + (np.arange(n_each) + 0.5) / n_each) * width).astype(int)
            first = max(0, middles[0] - WINDOW // 2)
            sound = read(first, middles[-1] + WINDOW // 2 - first)
            if middles[0] < WINDOW // 2:  # the first windows begin before the sound
                sound = np.r_[np.zeros(WINDOW // 2 - middles[0], np.float32), sound]
            windows = sound[(middles - middles[0])[:, None] + np.arange(WINDOW)]
            power[column] = (np.abs(np.fft.rfft(windows * taper, axis=1)[:, :bins]) ** 2).mean(0)
    return power.reshape(n_columns, bins // POOLED, POOLED).mean(2).T
