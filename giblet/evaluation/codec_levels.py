"""Whether a codec keeps the level of sound, however loud it is: a vocoder that fails here ruins every loudness."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from giblet.codec.base import AudioCodec
from giblet.errors import InputError
from giblet.sound_metrics import level_error

GAINS = (0.05, 0.25, 1.0, 1.25)
"""From 26 dB below the recorded level to 2 dB above."""
QUIETEST_DB = -60.0  # of full scale: what is quieter than that as recorded has no level to keep


@dataclass(frozen=True)
class LevelErrors:
    """Level errors of a codec at one gain.

    Attributes
    ----------
    gain : float
        By which the sounds were scaled before they were encoded.
    errors : ndarray of float64, shape (n_clips,)
        In dB; below 0 where a sound came back too quiet.
    """

    gain: float
    errors: np.ndarray

    @property
    def median(self) -> float:
        """Median error with its sign, in dB."""
        return float(np.median(self.errors))

    @property
    def median_size(self) -> float:
        """Median of the errors without their signs, in dB."""
        return float(np.median(np.abs(self.errors)))

    @property
    def largest_tenth(self) -> float:
        """The size, in dB, that a tenth of the errors exceed: their 90th percentile without signs."""
        return float(np.quantile(np.abs(self.errors), 0.9))


def level_errors(
    codec: AudioCodec, clips: Iterable[np.ndarray], gains: Sequence[float] = GAINS
) -> tuple[LevelErrors, ...]:
    """Level errors of a codec on clips at several gains.

    Parameters
    ----------
    codec : AudioCodec
    clips : iterable of ndarray of float, shape (n_samples,)
        At the codec's sample rate. Those below -60 dB full scale are left out.
    gains : sequence of float
        Above 0.

    Returns
    -------
    tuple of LevelErrors
        One for each gain, in their order.

    Raises
    ------
    InputError
        If no clip is loud enough, or a gain is not positive.

    See Also
    --------
    giblet.evaluation.codec_quality.score_codec : how good it sounds.
    """
    if wrong := [gain for gain in gains if not gain > 0]:
        raise InputError(f"gains holds {wrong[0]!r}; expected numbers above 0")
    heard = [clip for clip in clips if np.mean(np.square(clip, dtype=np.float64)) > 10 ** (QUIETEST_DB / 10)]
    if not heard:
        raise InputError(f"no clip is louder than {QUIETEST_DB:g} dB full scale; pass some that are")
    found = []
    for gain in gains:
        scaled = [(clip * gain).astype(np.float32) for clip in heard]
        decoded = (codec.decode(codec.encode(clip))[: len(clip)] for clip in scaled)
        errors = [level_error(clip, sound) for clip, sound in zip(scaled, decoded, strict=True)]
        found.append(LevelErrors(gain, np.array(errors)))
    return tuple(found)
