"""Measures of sound, a hundred frames per second, each computed as the sound comes in.

Frame k of all of them stands for the sound from ``k / 100`` s up to, not including, ``(k + 1) / 100`` s. Those that are
causal use no sample after its end: windows end with the frame, and filters look back.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np

from giblet.compiled import import_librosa

Variables = dict[str, tuple[tuple[str, ...], np.ndarray]]
"""By name, dimensions and values."""

FRAME_RATE = 100
"""Frames per second."""
LOWEST, HIGHEST, N_BANDS = 50.0, 8000.0, 32
"""Centre frequencies of gammatone filters, Hz, and how many there are."""
MODULATION_RATES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
"""Hz, an octave apart; the fastest that frames of 10 ms can show is 50 Hz."""
QUIETEST = -70.0
"""LUFS; what is quieter counts as silence (the absolute gate of ITU-R BS.1770)."""
MOMENT = 40
"""Frames of momentary loudness: 400 ms."""
MEL_BANDS, MEL_WINDOW = 40, 512
"""Of the spectrum whose rises are onsets: bands, and samples per window (21 ms)."""
ONSET_RANGE = 70.0
"""dB below a full-scale tone at which silence begins for onsets."""
PITCH_RANGE, PITCH_WINDOW = (65.0, 500.0), 1024
"""Hz of voices, and samples of the windows in which their period is looked for (64 ms)."""
PITCH_BLOCK, PITCH_MARGIN = 2000, 100
"""Frames whose pitch is found at a time, and those before and after that are heard with them."""


def erb(frequency: np.ndarray) -> np.ndarray:
    """Equivalent rectangular bandwidth of the ear's filter.

    Parameters
    ----------
    frequency : ndarray of float
        In Hz.

    Returns
    -------
    ndarray of float
        In Hz.

    References
    ----------
    Glasberg & Moore (1990). Derivation of auditory filter shapes from notched-noise data. Hearing Research 47, 103-138.
    """
    return 24.7 + np.asarray(frequency) / 9.26449


def erb_spaced(lowest: float, highest: float, n: int) -> np.ndarray:
    """Frequencies that lie evenly on the scale of the ear's bandwidths.

    Parameters
    ----------
    lowest, highest : float
        In Hz; both are among them.
    n : int

    Returns
    -------
    ndarray of float64, shape (n,)
        Ascending.

    Examples
    --------
    >>> erb_spaced(50, 8000, 4).round().tolist()
    [50.0, 633.0, 2434.0, 8000.0]
    """
    corner = 24.7 * 9.26449
    return np.geomspace(lowest + corner, highest + corner, n) - corner


def gammatone_filters(centres: np.ndarray, sample_rate: int) -> np.ndarray:
    """Gammatone filters of order 4 as second-order sections, of gain 1 at their centre frequencies.

    ``scipy.signal.gammatone(ftype="iir")`` is the same filter as one polynomial of order 8, whose four equal pairs of
    poles rounding drives apart: at 24 kHz that of 50 Hz is unstable. In sections all of them are exact.

    Parameters
    ----------
    centres : ndarray of float, shape (n_bands,)
        In Hz.
    sample_rate : int
        In Hz.

    Returns
    -------
    ndarray of float64, shape (n_bands, 4, 6)
        For :func:`scipy.signal.sosfilt`.

    References
    ----------
    Slaney (1993). An efficient implementation of the Patterson-Holdsworth auditory filter bank. Apple TR 35.
    """
    from scipy import signal

    centres = np.asarray(centres, np.float64)
    turn = 2 * np.pi * centres / sample_rate
    decay = np.exp(-2 * np.pi * 1.019 * erb(centres) / sample_rate)
    filters = np.zeros((len(centres), 4, 6))
    zeros = np.sqrt(3 + 2**1.5), -np.sqrt(3 + 2**1.5), np.sqrt(3 - 2**1.5), -np.sqrt(3 - 2**1.5)
    for section, zero in enumerate(zeros):
        filters[:, section, 0] = 1
        filters[:, section, 1] = -decay * (np.cos(turn) + zero * np.sin(turn))
        filters[:, section, 3] = 1
        filters[:, section, 4] = -2 * decay * np.cos(turn)
        filters[:, section, 5] = decay**2
    for band, centre in zip(filters, centres, strict=True):
        _, response = signal.sosfreqz(band, [centre], fs=sample_rate)
        band[0, :3] /= abs(response[0])
    return filters


class Kind(ABC):
    """A measure of sound, of which frames come out as sound goes in.

    See Also
    --------
    giblet.data.acoustics.AcousticsProcessor : puts them on the TRs of a scan.
    """

    sample_rate: ClassVar[int] = 24_000
    """Of the sound that it takes, in Hz."""
    n_columns: ClassVar[int] = 1
    """Numbers in a frame."""
    looks_ahead: ClassVar[str] = ""
    """Why frames depend on sound after them; empty where they do not."""

    @property
    def hop_length(self) -> int:
        """Samples of a frame."""
        return self.sample_rate // FRAME_RATE

    @abstractmethod
    def add(self, sound: np.ndarray) -> np.ndarray:
        """Take the sound that follows.

        Parameters
        ----------
        sound : ndarray of float, shape (n_frames * hop_length,)

        Returns
        -------
        ndarray of float, shape (n_ready, n_columns)
            The frames that are known now and were not returned before.
        """

    def end(self) -> np.ndarray:
        """The frames that are still to come when the sound has ended.

        Returns
        -------
        ndarray of float, shape (n_ready, n_columns)
        """
        return np.zeros((0, self.n_columns))

    @abstractmethod
    def variables(self, means: np.ndarray) -> Variables:
        """Variables of a feature file.

        Parameters
        ----------
        means : ndarray of float64, shape (n_trs, n_columns)
            Means over the frames of each TR that are not NaN; NaN where all are.

        Returns
        -------
        dict
            By name, dimensions and values.
        """


class Envelope(Kind):
    """Root mean square of each frame: what :func:`giblet.evaluation.regressors.envelope` computes, in 10 ms."""

    def add(self, sound: np.ndarray) -> np.ndarray:
        """See :class:`Kind`.

        Parameters
        ----------
        sound : ndarray of float, shape (n_frames * hop_length,)

        Returns
        -------
        ndarray of float64, shape (n_frames, 1)
        """
        return _rms(sound, self.hop_length)[:, None]

    def variables(self, means: np.ndarray) -> Variables:
        """See :class:`Kind`.

        Parameters
        ----------
        means : ndarray of float64, shape (n_trs, 1)

        Returns
        -------
        dict
            ``envelope`` float32 (tr).
        """
        return {"envelope": (("tr",), means[:, 0].astype(np.float32))}


class Gammatone(Kind):
    """Envelopes of the ear's frequency bands: RMS of each frame behind each gammatone filter, to a power.

    A filter answers late by the delay of its band, from 15 ms at 50 Hz to under 1 ms at 8 kHz, as the ear does.

    Parameters
    ----------
    compression : float
        The power.
    """

    n_columns: ClassVar[int] = N_BANDS

    def __init__(self, compression: float = 1.0) -> None:
        self.centres = erb_spaced(LOWEST, HIGHEST, N_BANDS)
        self.compression = compression
        self._filters = gammatone_filters(self.centres, self.sample_rate)
        self._state = np.zeros((N_BANDS, 4, 2))

    def add(self, sound: np.ndarray) -> np.ndarray:
        """See :class:`Kind`.

        Parameters
        ----------
        sound : ndarray of float, shape (n_frames * hop_length,)

        Returns
        -------
        ndarray of float64, shape (n_frames, 32)
            Columns in the order of ``centres``.
        """
        from scipy import signal

        sound = np.asarray(sound, np.float64)
        bands = np.empty((len(sound) // self.hop_length, N_BANDS))
        for band in range(N_BANDS):
            heard, self._state[band] = signal.sosfilt(self._filters[band], sound, zi=self._state[band])
            bands[:, band] = _rms(heard, self.hop_length)
        return bands**self.compression

    def variables(self, means: np.ndarray) -> Variables:
        """See :class:`Kind`.

        Parameters
        ----------
        means : ndarray of float64, shape (n_trs, 32)

        Returns
        -------
        dict
            ``gammatone`` float32 (tr, band), and ``gammatone_frequency`` float64 (band), Hz.
        """
        return {
            "gammatone": (("tr", "gammatone_band"), means.astype(np.float32)),
            "gammatone_frequency": (("gammatone_band",), self.centres),
        }


class Modulation(Kind):
    """How much the ear's bands rise and fall, by rate: band-pass of their envelopes, its magnitude, mean over bands.

    Filters are Butterworth of order 1, an octave wide, and answer late by about half a period of their rate.

    Parameters
    ----------
    compression : float
        Of the envelopes, as for :class:`Gammatone`.
    """

    n_columns: ClassVar[int] = len(MODULATION_RATES)

    def __init__(self, compression: float = 1.0) -> None:
        from scipy import signal

        self._bands = Gammatone(compression)
        self._filters = [
            signal.butter(1, (rate / 2**0.5, rate * 2**0.5), "bandpass", output="sos", fs=FRAME_RATE)
            for rate in MODULATION_RATES
        ]
        self._states = [np.zeros((len(one), 2, N_BANDS)) for one in self._filters]

    def add(self, sound: np.ndarray) -> np.ndarray:
        """See :class:`Kind`.

        Parameters
        ----------
        sound : ndarray of float, shape (n_frames * hop_length,)

        Returns
        -------
        ndarray of float64, shape (n_frames, 6)
            By rate.
        """
        from scipy import signal

        bands = self._bands.add(sound)
        found = np.empty((len(bands), len(MODULATION_RATES)))
        for index, one in enumerate(self._filters):
            swings, self._states[index] = signal.sosfilt(one, bands, axis=0, zi=self._states[index])
            found[:, index] = np.abs(swings).mean(axis=1)
        return found

    def variables(self, means: np.ndarray) -> Variables:
        """See :class:`Kind`.

        Parameters
        ----------
        means : ndarray of float64, shape (n_trs, 6)

        Returns
        -------
        dict
            ``modulation`` float32 (tr, rate), and ``modulation_frequency`` float64 (rate), Hz.
        """
        return {
            "modulation": (("tr", "modulation_rate"), means.astype(np.float32)),
            "modulation_frequency": (("modulation_rate",), np.array(MODULATION_RATES)),
        }


class Loudness(Kind):
    """Momentary loudness of the 400 ms that end with each frame, in LUFS; silence is -70.

    Before the film there is silence. The sound is mono: of a film whose channels are alike, BS.1770 adds them up and
    finds 3 dB more for two.

    References
    ----------
    ITU-R BS.1770-5 (2023). Algorithms to measure audio programme loudness and true-peak audio level; its filters are
    given for 48 kHz. EBU Tech 3341 (the 400 ms).
    """

    sample_rate: ClassVar[int] = 48_000

    K_WEIGHTING: ClassVar[np.ndarray] = np.array(
        [
            [1.53512485958697, -2.69169618940638, 1.19839281085285, 1, -1.69065929318241, 0.73248077421585],
            [1, -2, 1, 1, -1.99004745483398, 0.99007225036621],
        ]
    )

    def __init__(self) -> None:
        self._state = np.zeros((2, 2))
        self._before = np.zeros(MOMENT - 1)

    def add(self, sound: np.ndarray) -> np.ndarray:
        """See :class:`Kind`.

        Parameters
        ----------
        sound : ndarray of float, shape (n_frames * hop_length,)

        Returns
        -------
        ndarray of float64, shape (n_frames, 1)
            In LUFS.
        """
        from scipy import signal

        heard, self._state = signal.sosfilt(self.K_WEIGHTING, np.asarray(sound, np.float64), zi=self._state)
        powers = np.concatenate([self._before, _rms(heard, self.hop_length) ** 2])
        self._before = powers[len(powers) - (MOMENT - 1) :]
        moments = np.lib.stride_tricks.sliding_window_view(powers, MOMENT).mean(axis=1)
        quietest = 10 ** ((QUIETEST + 0.691) / 10)
        return (-0.691 + 10 * np.log10(np.maximum(moments, quietest)))[:, None]

    def variables(self, means: np.ndarray) -> Variables:
        """See :class:`Kind`.

        Parameters
        ----------
        means : ndarray of float64, shape (n_trs, 1)

        Returns
        -------
        dict
            ``loudness`` float32 (tr), LUFS.
        """
        return {"loudness": (("tr",), means[:, 0].astype(np.float32))}


class OnsetStrength(Kind):
    """How much louder than in the frame before the bands of a mel spectrum become, in dB, mean over bands.

    As :func:`librosa.onset.onset_strength`, whose peaks come 20 ms late and whose windows reach ahead: here windows end
    with the frame. What is 70 dB below a full-scale tone counts as silence.

    References
    ----------
    Boeck & Widmer (2013). Maximum filter vibrato suppression for onset detection. DAFx-13.
    """

    def __init__(self) -> None:
        self._before = np.zeros(MEL_WINDOW - self.hop_length, np.float32)
        self._level = np.full((MEL_BANDS, 1), -ONSET_RANGE)

    def add(self, sound: np.ndarray) -> np.ndarray:
        """See :class:`Kind`.

        Parameters
        ----------
        sound : ndarray of float, shape (n_frames * hop_length,)

        Returns
        -------
        ndarray of float64, shape (n_frames, 1)
            In dB.
        """
        librosa = import_librosa()

        heard = np.concatenate([self._before, np.asarray(sound, np.float32)])
        self._before = heard[len(heard) - len(self._before) :]
        if not len(sound):
            return np.zeros((0, 1))
        power = librosa.feature.melspectrogram(
            y=heard, sr=self.sample_rate, n_fft=MEL_WINDOW, hop_length=self.hop_length, center=False,
            n_mels=MEL_BANDS, fmax=HIGHEST, norm=None,
        )  # fmt: skip
        full = (MEL_WINDOW / 4) ** 2  # of a tone from -1 to 1 under a Hann window
        levels = librosa.power_to_db(power / full, amin=10 ** (-ONSET_RANGE / 10), top_db=None)
        levels = np.concatenate([self._level, levels], axis=1)
        self._level = levels[:, -1:]
        return np.maximum(np.diff(levels, axis=1), 0).mean(axis=0)[:, None]

    def variables(self, means: np.ndarray) -> Variables:
        """See :class:`Kind`.

        Parameters
        ----------
        means : ndarray of float64, shape (n_trs, 1)

        Returns
        -------
        dict
            ``onset_strength`` float32 (tr), dB per frame.
        """
        return {"onset_strength": (("tr",), means[:, 0].astype(np.float32))}


class Pitch(Kind):
    """Fundamental frequency of voices, by pYIN, and whether there is a voice.

    pYIN looks for the likeliest path through many frames. It is found for 20 s at a time, with 1 s before and after, so
    that memory does not grow with the film; away from a few frames at the seams it is that of the whole sound.

    References
    ----------
    Mauch & Dixon (2014). pYIN: a fundamental frequency estimator using probabilistic threshold distributions. ICASSP.
    """

    sample_rate: ClassVar[int] = 16_000
    n_columns: ClassVar[int] = 2
    looks_ahead: ClassVar[str] = "pYIN finds the path of the pitch in sound before and after each frame"

    def __init__(self) -> None:
        self._held = np.zeros(0, np.float32)
        self._first, self._done = 0, 0  # frame with which what is held begins; frames returned

    def add(self, sound: np.ndarray) -> np.ndarray:
        """See :class:`Kind`.

        Parameters
        ----------
        sound : ndarray of float, shape (n_frames * hop_length,)

        Returns
        -------
        ndarray of float64, shape (n_ready, 2)
            Hz, NaN where there is no voice; and 1 where there is one, else 0.
        """
        self._held = np.concatenate([self._held, np.asarray(sound, np.float32)])
        found = [np.zeros((0, 2))]
        while self._first + len(self._held) // self.hop_length >= self._done + PITCH_BLOCK + PITCH_MARGIN:
            found.append(self._block(PITCH_BLOCK))
        return np.concatenate(found)

    def end(self) -> np.ndarray:
        """See :class:`Kind`.

        Returns
        -------
        ndarray of float64, shape (n_ready, 2)
        """
        left = self._first + len(self._held) // self.hop_length - self._done
        return self._block(left) if left else np.zeros((0, 2))

    def _block(self, n_frames: int) -> np.ndarray:
        """The next frames; what no later block needs is let go."""
        librosa = import_librosa()

        hop = self.hop_length
        stop = self._done + n_frames
        heard = self._held[: (stop + PITCH_MARGIN - self._first) * hop]
        # Windows of librosa are centred at the beginnings of frames; half a frame later they are at their middles.
        frequency, voiced, _ = librosa.pyin(
            heard[hop // 2 :], fmin=PITCH_RANGE[0], fmax=PITCH_RANGE[1], sr=self.sample_rate,
            frame_length=PITCH_WINDOW, hop_length=hop,
        )  # fmt: skip
        own = slice(self._done - self._first, stop - self._first)
        found = np.stack([np.where(voiced, frequency, np.nan), voiced.astype(np.float64)], axis=1)[own]
        first = max(0, stop - PITCH_MARGIN)
        self._held, self._first, self._done = self._held[(first - self._first) * hop :], first, stop
        return found

    def variables(self, means: np.ndarray) -> Variables:
        """See :class:`Kind`.

        Parameters
        ----------
        means : ndarray of float64, shape (n_trs, 2)

        Returns
        -------
        dict
            ``pitch`` float32 (tr), Hz, mean over the frames with a voice, 0 where there is none; ``pitch_mask`` bool
            (tr), whether there is one; ``voicing`` float32 (tr), the share of frames with a voice.
        """
        pitch, voicing = means.T
        there = np.isfinite(pitch)
        return {
            "pitch": (("tr",), np.where(there, pitch, 0).astype(np.float32)),
            "pitch_mask": (("tr",), there),
            "voicing": (("tr",), voicing.astype(np.float32)),
        }


def _rms(sound: np.ndarray, width: int) -> np.ndarray:
    """Root mean square of successive windows, float64."""
    return np.sqrt((np.asarray(sound, np.float64).reshape(-1, width) ** 2).mean(axis=1))
