"""The legacy mode: power mel spectrograms instead of codes, streamed, and turned back into sound.

Frame i is centred on sample ``i * hop_length``, as in librosa. Sound from codes is the codec's own; sound from a mel
spectrogram is an estimate, because the spectrogram holds no phase.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np

from giblet.compiled import import_librosa
from giblet.errors import InputError

BLOCK_FRAMES = 1024
"""Frames worked on at a time: 24 s at the default rates, 8 MB of mel."""

SHARED_FRAMES = 8
"""Frames that two blocks of sound share, twice a window at the default rates. They are cross-faded within the one hop
in the middle, which no edge of either block reaches; phases that differ are audible for 23 ms only."""

INVERSION_STEPS = 30
"""Updates of the power spectrum; three times as many change STOI by less than 0.003, with 128 bands as with 2048."""


class MelSpectrogram:
    """Sound to power mel spectrogram and back, block by block.

    Parameters
    ----------
    sample_rate : int
        In Hz.
    n_fft : int
        Samples in a window.
    hop_length : int
        Samples from one frame to the next, at most `n_fft`.
    n_mels : int
        Mel bands from 0 Hz to half the sample rate, of Slaney's shape and area as in librosa. With 2048 bands on the
        1025 bins of the default `n_fft`, as the old pipeline had it, the lowest filters are narrower than a bin: 716
        of them fall between two bins and are always 0. They are kept, so that features keep their shape.

    Raises
    ------
    InputError
        If an option is out of range.

    Examples
    --------
    >>> mel = MelSpectrogram(n_mels=128)
    >>> mel.frame_rate
    Fraction(11025, 256)
    >>> [block.shape for block in mel.stream([np.zeros(22050, np.float32)])]
    [(128, 42), (128, 2)]
    """

    def __init__(self, sample_rate: int = 22_050, n_fft: int = 2048, hop_length: int = 512, n_mels: int = 2048) -> None:
        options = {"sample_rate": sample_rate, "n_fft": n_fft, "hop_length": hop_length, "n_mels": n_mels}
        for name, value in options.items():
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
                raise InputError(f"{name} is {value!r}; expected a whole number of at least 1")
        if hop_length > n_fft:
            raise InputError(f"hop_length is {hop_length}: at most n_fft = {n_fft} samples, or sound would be left out")
        self.sample_rate, self.n_fft, self.hop_length, self.n_mels = sample_rate, n_fft, hop_length, n_mels

    @property
    def frame_rate(self) -> Fraction:
        """Frames per second, exact."""
        return Fraction(self.sample_rate, self.hop_length)

    @cached_property
    def filters(self) -> np.ndarray:
        """The mel filters: ndarray of float32, shape (n_mels, 1 + n_fft // 2)."""
        with warnings.catch_warnings():
            # librosa warns of filters that no bin falls into: see `n_mels` for why they are there.
            warnings.filterwarnings("ignore", message="Empty filters detected")
            filters = import_librosa().filters.mel(sr=self.sample_rate, n_fft=self.n_fft, n_mels=self.n_mels)
        return np.asarray(filters, np.float32)

    def stream(self, chunks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Power mel spectrogram of sound that comes in chunks.

        Parameters
        ----------
        chunks : iterable of ndarray of float32, shape (n,)
            Mono, at `sample_rate`; chunks of any length.

        Yields
        ------
        ndarray of float32, shape (n_mels, t)
            At most `BLOCK_FRAMES` frames. Together they are those of ``librosa.feature.melspectrogram(center=True,
            pad_mode="constant")`` of the whole sound: ``1 + n_samples // hop_length``, for an even `n_fft`.

        Raises
        ------
        InputError
            If a chunk is not mono or not finite.

        See Also
        --------
        invert : mel spectrogram to sound, an estimate.
        """
        half = self.n_fft // 2
        held = np.zeros(half, np.float32)  # the first frame is centred on the first sample
        for chunk in self._pieces(chunks):
            held = np.concatenate([held, chunk])
            n_frames = 1 + (len(held) - self.n_fft) // self.hop_length
            if n_frames > 0:
                yield self._analyse(held, n_frames)
                held = held[n_frames * self.hop_length :]
        held = np.concatenate([held, np.zeros(half, np.float32)])
        n_frames = 1 + (len(held) - self.n_fft) // self.hop_length
        if n_frames > 0:
            yield self._analyse(held, n_frames)

    def power(self, mel: np.ndarray) -> np.ndarray:
        """A power spectrum of which `mel` could be the mel spectrogram.

        The non-negative least-squares solution of ``filters @ power = mel``, approached by the multiplicative updates
        of Lee and Seung from the mean of the bands that cover a bin. It starts smooth and stays smooth where the bands
        do not determine it. With few bands or noisy predictions this is better than the clipped pseudo-inverse that
        `librosa.feature.inverse.mel_to_stft` starts from and hardly changes, and takes a fraction of the time.

        Parameters
        ----------
        mel : ndarray of float, shape (n_mels, n_frames)
            Power; negative values of a prediction count as 0.

        Returns
        -------
        ndarray of float32, shape (1 + n_fft // 2, n_frames)

        See Also
        --------
        invert : a waveform instead of a power spectrum.

        References
        ----------
        Lee, Seung (2001). Algorithms for non-negative matrix factorization. NIPS 13.
        """
        by_bin, guess, gram = self._inversion
        mel = np.maximum(mel, 0).astype(np.float32)
        target, power = by_bin @ mel, guess @ mel
        for _ in range(INVERSION_STEPS):
            power *= target / np.maximum(gram @ power, np.finfo(np.float32).tiny)
        return np.asarray(power)

    def invert(self, mel: np.ndarray, length: int | None = None) -> np.ndarray:
        """A waveform whose mel spectrogram is close to `mel`; deterministic.

        Parameters
        ----------
        mel : ndarray of float, shape (n_mels, n_frames)
            Power; negative values of a prediction count as 0.
        length : int, optional
            Samples of the waveform; ``n_frames * hop_length`` by default.

        Returns
        -------
        ndarray of float32, shape (length,)

        Raises
        ------
        InputError
            If `mel` has another number of bands, no frames, or values that are not finite.

        See Also
        --------
        invert_stream : the same, block by block.
        """
        mel = np.asarray(mel)
        n_samples = mel.shape[-1] * self.hop_length if mel.ndim else 0
        length = n_samples if length is None else length
        waveform, start = np.zeros(max(length, n_samples), np.float32), 0
        for sound in self.invert_stream([mel]):
            waveform[start : start + len(sound)] = sound
            start += len(sound)
        return waveform[:length]

    def invert_stream(self, pieces: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """As :meth:`invert`, of a mel spectrogram that comes in pieces.

        `power` gives the magnitudes and `librosa.griffinlim` the phases, in blocks of `BLOCK_FRAMES` that are
        cross-faded, so that memory does not grow with the sound, and how it is cut into pieces makes no difference.

        Parameters
        ----------
        pieces : iterable of ndarray of float, shape (n_mels, any)
            Power; negative values of a prediction count as 0.

        Yields
        ------
        ndarray of float32, shape (n,)
            Together ``n_frames * hop_length`` samples.

        Raises
        ------
        InputError
            If a piece has another number of bands or values that are not finite, or there are no frames.

        See Also
        --------
        stream : sound to mel spectrogram.
        power : the magnitudes alone.

        References
        ----------
        Griffin, Lim (1984). Signal estimation from modified short-time Fourier transform. IEEE TASSP 32(2).
        Perraudin, Balazs, Søndergaard (2013). A fast Griffin-Lim algorithm. WASPAA.
        """
        # Two blocks agree in magnitude but hardly in phase, so the squares of their weights add up to 1.
        rise = np.zeros(SHARED_FRAMES * self.hop_length, np.float32)
        middle = (len(rise) - self.hop_length) // 2
        rise[middle:] = 1
        rise[middle : middle + self.hop_length] = np.sin(np.linspace(0, np.pi / 2, self.hop_length))
        tail: np.ndarray | None = None
        for block, is_last in self._blocks(pieces):
            sound = self._sound_of(block)
            if tail is not None:
                sound[: len(rise)] = tail + sound[: len(rise)] * rise
            if is_last:
                yield sound
            else:
                tail = sound[-len(rise) :] * rise[::-1]
                yield sound[: -len(rise)]

    def _blocks(self, pieces: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, bool]]:
        """Blocks that share `SHARED_FRAMES` and have the next frame behind them, and whether it is the last."""
        held, first = np.empty((self.n_mels, 0), np.float32), 0
        for piece in pieces:
            if piece.ndim != 2 or piece.shape[0] != self.n_mels:
                raise InputError(f"mel has shape {piece.shape}; expected ({self.n_mels}, n_frames)")
            held = np.concatenate([held, piece], axis=1) if held.shape[1] else piece
            while held.shape[1] > BLOCK_FRAMES:
                yield self._checked(held[:, : BLOCK_FRAMES + 1], first), False
                held, first = held[:, BLOCK_FRAMES - SHARED_FRAMES :], first + BLOCK_FRAMES - SHARED_FRAMES
        if held.shape[1] == 0:
            raise InputError(f"mel has shape {held.shape}; expected ({self.n_mels}, n_frames), with at least one frame")
        # There is no next frame: the last is repeated instead.
        yield self._checked(np.concatenate([held, held[:, -1:]], axis=1), first), True

    @staticmethod
    def _checked(block: np.ndarray, first: int) -> np.ndarray:
        """A block that begins at frame `first`, as float32, all finite."""
        with np.errstate(over="ignore"):  # told below
            block = block.astype(np.float32)
        finite = np.isfinite(block).all(axis=0)
        if not finite.all():
            bad = first + int(np.argmin(finite))
            raise InputError(f"mel has a value that is not finite in frame {bad}: only finite ones can be inverted")
        return block

    def _sound_of(self, block: np.ndarray) -> np.ndarray:
        """Sound of all frames of a block but the last, which completes the hop of the one before."""
        n_frames = block.shape[1] - 1
        # Repeated until a window is full, the least that Griffin-Lim needs.
        missing = max(0, -(-self.n_fft // self.hop_length) - n_frames)
        return self._synthesise(np.pad(block, ((0, 0), (0, missing)), mode="edge"))[: n_frames * self.hop_length]

    def _pieces(self, chunks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """The chunks, checked and cut into blocks, so that a long chunk needs no large spectrogram."""
        size = BLOCK_FRAMES * self.hop_length
        for chunk in chunks:
            if chunk.ndim != 1 or not np.isfinite(chunk).all():
                raise InputError(f"sound of shape {chunk.shape} cannot be used; expected mono, finite samples")
            for start in range(0, len(chunk), size):
                yield chunk[start : start + size].astype(np.float32, copy=False)

    def _analyse(self, samples: np.ndarray, n_frames: int) -> np.ndarray:
        used = samples[: (n_frames - 1) * self.hop_length + self.n_fft]
        spectrum = import_librosa().stft(used, n_fft=self.n_fft, hop_length=self.hop_length, center=False)
        return np.asarray(self.filters @ np.abs(spectrum) ** 2)

    @cached_property
    def _inversion(self) -> tuple[Any, Any, Any]:
        """What turns mel into power, as sparse arrays: a filter covers few bins.

        ``filters.T`` and the first guess, (n_bins, n_mels), and ``filters.T @ filters``, (n_bins, n_bins).
        """
        from scipy.sparse import csr_array

        area = self.filters.sum(axis=1, keepdims=True)
        share = self.filters / np.where(area > 0, area, 1)
        seen = share.sum(axis=0, keepdims=True)  # 0 at 0 Hz and at half the sample rate, which no filter reaches
        guess = share / np.where(seen > 0, seen, 1) / np.where(area > 0, area, 1)
        filters = csr_array(self.filters)
        return filters.T.tocsr(), csr_array(guess.T), (filters.T @ filters).tocsr()

    def _synthesise(self, mel: np.ndarray) -> np.ndarray:
        """Sound of one block, from the centre of its first frame to that of its last, float32."""
        sound = import_librosa().griffinlim(
            np.sqrt(self.power(mel)),
            hop_length=self.hop_length,
            n_fft=self.n_fft,
            length=(mel.shape[1] - 1) * self.hop_length,
            pad_mode="constant",
            random_state=0,
        )
        return np.asarray(sound, np.float32)
