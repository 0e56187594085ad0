"""What a mel spectrogram brings back when it may keep only so many numbers per TR: what codes are compared with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import ceil

import numpy as np
import soxr

from giblet.codec.mel import MelSpectrogram
from giblet.timing import TRGrid, exact

FLOAT_BITS = 32
"""Bits of a mel number: feature files keep float32."""


@dataclass(frozen=True)
class MelBaseline:
    """A mel spectrogram that keeps some numbers per TR, and sound made from them.

    Power is averaged over equal stretches of the TR. On the way back, frames between the centres of two stretches are
    interpolated, :meth:`giblet.codec.mel.MelSpectrogram.power` inverts the filters, and librosa's Griffin-Lim finds
    phases.

    Parameters
    ----------
    label : str
        Name of the row.
    bands : int
        Mel bands, from 0 Hz to half the sample rate.
    frames_per_tr : int, optional
        Stretches of a TR that are averaged; every frame of the spectrogram is kept where absent.
    n_fft, hop_length : int
        Of the spectrogram, in samples at `sample_rate`; those of the legacy mode by default.
    sample_rate : int
        In Hz.
    """

    label: str
    bands: int = 2048
    frames_per_tr: int | None = None
    n_fft: int = 2048
    hop_length: int = 512
    sample_rate: int = 22_050

    def numbers_per_tr(self, tr: float) -> int:
        """Numbers that a feature file would hold for each TR; the longest TR's where TRs differ by a frame.

        Parameters
        ----------
        tr : float
            Repetition time in seconds.

        Returns
        -------
        int

        Raises
        ------
        InputError
            If `tr` matters here and is not a finite number.
        """
        frames = self.frames_per_tr or ceil(exact(tr) * self._mel.frame_rate)
        return self.bands * frames

    def bits_per_second(self, tr: float) -> float:
        """Rate of the numbers as float32.

        Parameters
        ----------
        tr : float
            Repetition time in seconds.

        Returns
        -------
        float
            In bit/s.

        Raises
        ------
        InputError
            If `tr` matters here and is not a finite number.
        """
        rate = self._mel.frame_rate if self.frames_per_tr is None else self.frames_per_tr / exact(tr)
        return float(self.bands * rate * FLOAT_BITS)

    def keep(self, sound: np.ndarray, tr: float) -> np.ndarray:
        """The numbers kept of a sound.

        Parameters
        ----------
        sound : ndarray of float32, shape (n_samples,)
            At `sample_rate`.
        tr : float
            Repetition time in seconds.

        Returns
        -------
        ndarray of float32, shape (bands, n_kept)
            Power. The last stretch is averaged over what the sound covers of it.

        Raises
        ------
        InputError
            If the sound is not mono or not finite, or a stretch of the TR is shorter than a frame.
        """
        mel = np.concatenate(list(self._mel.stream([sound])), axis=1)
        if self.frames_per_tr is None:
            return mel
        edges = self._edges(mel.shape[1], tr)
        return np.add.reduceat(mel, edges[:-1], axis=1) / np.diff(edges).astype(np.float32)

    def restore(self, kept: np.ndarray, n_samples: int, tr: float) -> np.ndarray:
        """Sound from the numbers of :meth:`keep`.

        Parameters
        ----------
        kept : ndarray of float32, shape (bands, n_kept)
            Power.
        n_samples : int
            Of the sound that they were kept of.
        tr : float
            Repetition time in seconds.

        Returns
        -------
        ndarray of float32, shape (n_samples,)
            At `sample_rate`.

        Raises
        ------
        InputError
            If `kept` has another number of bands or values that are not finite, or a stretch of the TR is shorter than
            a frame.
        """
        if self.frames_per_tr is not None:
            edges = self._edges(1 + n_samples // self.hop_length, tr)
            kept = _interpolated(kept, (edges[:-1] + edges[1:] - 1) / 2, int(edges[-1]))
        return self._mel.invert(kept, n_samples)

    def round_trip(self, sound: np.ndarray, sample_rate: int, tr: float) -> np.ndarray:
        """What comes back of a sound.

        Parameters
        ----------
        sound : ndarray of float32, shape (n_samples,)
        sample_rate : int
            In Hz.
        tr : float
            Repetition time in seconds.

        Returns
        -------
        ndarray of float32, shape (n_samples,)
            At the `sample_rate` of `sound`.

        Raises
        ------
        InputError
            As :meth:`keep`.

        See Also
        --------
        keep : the first half of the way.
        restore : the second.
        """
        own = _resampled(sound, sample_rate, self.sample_rate)
        back = _resampled(self.restore(self.keep(own, tr), len(own), tr), self.sample_rate, sample_rate)
        return np.pad(back, (0, max(0, len(sound) - len(back))))[: len(sound)]

    def _edges(self, n_frames: int, tr: float) -> np.ndarray:
        """First frame of each stretch and the end of the last, on the clock of the TRs."""
        stretch = exact(tr) / (self.frames_per_tr or 1)
        n = ceil(n_frames / (stretch * self._mel.frame_rate)) + 1
        edges = np.minimum(TRGrid(stretch, n, self._mel.frame_rate).edges, n_frames)  # type: ignore[arg-type]
        return np.unique(edges)

    @property
    def _mel(self) -> MelSpectrogram:
        return _spectrogram(self.sample_rate, self.n_fft, self.hop_length, self.bands)


@lru_cache(maxsize=4)
def _spectrogram(sample_rate: int, n_fft: int, hop_length: int, n_mels: int) -> MelSpectrogram:
    """Made once: its inverse takes longer to prepare than a short sound takes to invert."""
    return MelSpectrogram(sample_rate, n_fft, hop_length, n_mels)


def _resampled(sound: np.ndarray, have: int, want: int) -> np.ndarray:
    return np.asarray(sound if have == want else soxr.resample(sound, have, want), np.float32)


def _interpolated(values: np.ndarray, at: np.ndarray, n_frames: int) -> np.ndarray:
    """Columns of `values`, which stand at the frames `at`, for every frame; held before the first, after the last."""
    if len(at) == 1:
        return np.repeat(values, n_frames, axis=1)
    frame = np.clip(np.arange(n_frames), at[0], at[-1])
    left = np.clip(np.searchsorted(at, frame, side="right") - 1, 0, len(at) - 2)
    share = ((frame - at[left]) / (at[left + 1] - at[left])).astype(values.dtype)
    return values[:, left] * (1 - share) + values[:, left + 1] * share
