"""A sound track fitted to the TRs of a scan, and sound files written whole or not at all."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from giblet.data.media import AudioReader
from giblet.docs import fill_doc
from giblet.errors import InputError
from giblet.progress import Progress
from giblet.sound_files import new_sound_file
from giblet.timing import Number, TRGrid, exact, grid_for

log = logging.getLogger(__name__)


@fill_doc
class SoundOnGrid:
    """The samples of a sound track, cut or padded with silence to the frames of whole TRs.

    Iterating yields mono float32 chunks; after that :attr:`grid` and :attr:`film_duration` are known.

    Parameters
    ----------
    reader : AudioReader
    tr : float
        %(tr)s
    n_trs : int or None
        Volumes of the scan; None for as many as the film fills.
    frame_rate : float or Fraction
        Frames per second.
    hop_length : int
        Samples per frame.
    progress : callable, optional
        %(progress)s

    Yields
    ------
    ndarray of float32, shape (n,)
    """

    def __init__(
        self,
        reader: AudioReader,
        tr: float,
        n_trs: int | None,
        frame_rate: float | Fraction,
        hop_length: int,
        progress: Progress | None = None,
    ) -> None:
        self.reader, self.tr, self.frame_rate, self.hop_length = reader, tr, frame_rate, hop_length
        self.progress, self._n_trs = progress, n_trs
        self.film_duration = Fraction(0)
        self._grid = None if n_trs is None else TRGrid(tr, n_trs, frame_rate)

    @property
    def grid(self) -> TRGrid:
        """The clock; known from the start if `n_trs` was given, otherwise after the last chunk."""
        assert self._grid is not None, "iterate first"
        return self._grid

    @property
    def frames_in_longest_tr(self) -> int:
        """ceil(tr * frame_rate)."""
        return TRGrid(self.tr, 1, self.frame_rate).max_frames_per_tr

    def __iter__(self) -> Iterator[np.ndarray]:
        rate, n, read = self.reader.sample_rate, 0, 0
        end = None if self._grid is None else self._grid.n_frames * self.hop_length
        for chunk in self.reader:
            read += len(chunk)
            kept = chunk if end is None else chunk[: end - n]
            n += len(kept)
            if len(kept):
                yield kept
                self._tell(n)
        self.film_duration = max(Fraction(read, rate), exact(self.reader.film_duration))
        if self._grid is None:
            self._grid = grid_for(self.film_duration, self.tr, self.frame_rate)
        end = self._grid.n_frames * self.hop_length
        while n < end:
            silence = np.zeros(min(rate, end - n), np.float32)
            n += len(silence)
            yield silence
            self._tell(n)

    def about(self) -> dict[str, Any]:
        """What the reading of the film has to say of itself, as attributes of a feature file.

        Returns
        -------
        dict of str to object
            ``film_duration``, ``duration`` and ``track_delay`` (s); what was mended and how loud it is, as
            :class:`giblet.data.media.AudioReader` says.
        """
        assert self._grid is not None, "iterate first"
        reader, whole = self.reader, self._grid.duration
        return {
            "film_duration": self.film_duration,
            "duration": float(whole if self._n_trs else min(self.film_duration, whole)),
            "track_delay": reader.track_delay,
            "gaps": reader.gaps,
            "gap_seconds": reader.gap_seconds,
            "overlaps": reader.overlaps,
            "overlap_seconds": reader.overlap_seconds,
            "damaged_packets": reader.damaged_packets,
            "peak": reader.peak,
            "gain_db": reader.gain_db,
        }

    def _tell(self, n_samples: int) -> None:
        if self.progress is not None:
            total = float(self._grid.duration) if self._grid is not None else self.reader.duration_hint
            self.progress(n_samples / self.reader.sample_rate, total)


@fill_doc
def write_sound(
    path: str | Path,
    chunks: Iterable[np.ndarray],
    sample_rate: int,
    *,
    seconds: Number,
    progress: Progress | None = None,
) -> Path:
    """Write mono sound of exactly `seconds` as 16-bit WAV or FLAC, chunk by chunk, whole or not at all.

    Parameters
    ----------
    path : str or Path
        Ending in ``.wav`` or ``.flac``.
    chunks : iterable of ndarray of float32, shape (n,)
        Samples in [-1, 1]; what lies outside is clipped and reported. What is missing at the end (less than half a
        frame, where TRs do not fall on frames) is silence, what is too much is cut.
    sample_rate : int
        In Hz.
    seconds : float or Fraction
        Duration of the file.
    progress : callable, optional
        %(progress)s

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    InputError
        If the ending is another, or the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in (".wav", ".flac"):
        raise InputError(f"cannot write sound as {path.name}: the name must end in .wav or .flac")
    n = clipped = 0
    with new_sound_file(path, sample_rate) as file:
        for block in of_length(chunks, sample_rate, seconds):
            clipped += int(np.count_nonzero(np.abs(block) > 1))
            file.write(np.clip(block, -1, 1))
            n += len(block)
            if progress is not None:
                progress(n / sample_rate, float(seconds))
    if clipped:
        log.warning("%s: %d samples louder than full scale were clipped", path.name, clipped)
    return path


def samples_in(seconds: Number, sample_rate: int) -> int:
    """How many samples a sound of so many seconds has, to the nearest.

    Parameters
    ----------
    seconds : float or Fraction
    sample_rate : int
        In Hz.

    Returns
    -------
    int
    """
    return int(exact(seconds) * sample_rate + Fraction(1, 2))


def of_length(blocks: Iterable[np.ndarray], sample_rate: int, seconds: Number) -> Iterator[np.ndarray]:
    """Blocks of sound as exactly `seconds` of it: what is too much is cut, what is missing at the end is silence.

    Parameters
    ----------
    blocks : iterable of ndarray of float32, shape (n,)
    sample_rate : int
        In Hz.
    seconds : float or Fraction

    Yields
    ------
    ndarray of float32, shape (n,)
    """
    left = samples_in(seconds, sample_rate)
    for block in blocks:
        kept = block[:left]
        left -= len(kept)
        yield kept
    for start in range(0, left, 60 * sample_rate):
        yield np.zeros(min(left - start, 60 * sample_rate), np.float32)
