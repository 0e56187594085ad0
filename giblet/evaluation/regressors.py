"""What a brain answers to, on the stimulus's own clock: a sound's envelope, word rate, luminance and its change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from giblet.alignment.checks import first_onset, recorded_table_time
from giblet.errors import InputError
from giblet.features import present_in

if TYPE_CHECKING:
    import xarray as xr

LOW_LEVEL = ("word_rate", "luminance", "luminance_change")
"""Variables of feature files that a brain answers to; the envelope of the sound is made from codes."""
WINDOW = 0.1
"""Seconds of sound that a value of an envelope is of."""


@dataclass(frozen=True)
class Regressor:
    """An amount on the stimulus's own clock."""

    name: str
    values: np.ndarray
    """float64 (n_samples,)."""
    edges: np.ndarray
    """Seconds of its film (n_samples + 1,); they begin later than 0 where it was cut from a longer one."""
    table_time_at_tr_0: float = 0.0
    """Second of its table at TR 0, as the features were extracted."""


def regressors_of(features: xr.Dataset) -> list[Regressor]:
    """The low-level regressors that a feature file holds by TR.

    Parameters
    ----------
    features : xarray.Dataset
        Of a text (``word_rate``) or a film's picture (``luminance``, ``luminance_change``). Its ``onset`` says where in
        the film it begins.

    Returns
    -------
    list of Regressor
        Empty for sound, whose envelope :func:`envelope` makes. TRs without a picture hold the mean of the others.

    Raises
    ------
    InputError
        If there is no TR.
    AlignmentError
        If TRs are missing between others.
    """
    n_valid = _valid_trs(features)
    begins = float(first_onset(features, str(features.attrs.get("desc", "the features"))))
    edges = begins + np.arange(n_valid + 1) * float(features.attrs["tr"])
    found = []
    for name in LOW_LEVEL:
        if name in features:
            values, there = features[name].values[:n_valid].astype(np.float64), present_in(features, name)[:n_valid]
            if there.any():
                values[~there] = values[there].mean()
            found.append(Regressor(name, values, edges, recorded_table_time(features)))
    return found


def _valid_trs(features: xr.Dataset) -> int:
    """TRs up to the last that the film covers; what follows is padding."""
    return int(np.flatnonzero(features["valid"].values.astype(bool)).max(initial=-1)) + 1


def envelope(
    sound: np.ndarray | Iterable[np.ndarray], sample_rate: int, seconds: float = WINDOW, *, begins: float = 0.0
) -> Regressor:
    """Root mean square of a sound in windows of `seconds`.

    Parameters
    ----------
    sound : ndarray of float, shape (n_samples,), or iterable of such
        The whole sound, or its successive blocks, of which one is kept in memory at a time.
    sample_rate : int
        In Hz.
    seconds : float
        Length of a window; an incomplete last one is left out.
    begins : float
        Second of the film at which the sound begins.

    Returns
    -------
    Regressor

    Raises
    ------
    InputError
        If the sound is shorter than one window.
    """
    width = round(seconds * sample_rate)
    powers, n_samples = [np.zeros(0)], 0
    for windows, n_new in _windows([sound] if isinstance(sound, np.ndarray) else sound, width):
        powers.append((windows**2).mean(axis=1))
        n_samples += n_new
    amplitude = np.sqrt(np.concatenate(powers))
    if not len(amplitude):
        raise InputError(f"the sound has {n_samples} samples; expected {width} for one window of {seconds:g} s")
    return Regressor("envelope", amplitude, envelope_edges(n_samples, sample_rate, seconds, begins=begins))


def envelope_edges(n_samples: int, sample_rate: int, seconds: float = WINDOW, *, begins: float = 0.0) -> np.ndarray:
    """Where the windows of an envelope begin and end, which is known before there is a sound.

    Parameters
    ----------
    n_samples : int
        Of the sound.
    sample_rate : int
        In Hz.
    seconds : float
        Length of a window; an incomplete last one is left out.
    begins : float
        Second of the film at which the sound begins.

    Returns
    -------
    ndarray of float64, shape (n_windows + 1,)
        Seconds of the film.
    """
    width = round(seconds * sample_rate)
    return begins + np.arange(n_samples // width + 1) * width / sample_rate


def _windows(blocks: Iterable[np.ndarray], width: int) -> Iterator[tuple[np.ndarray, int]]:
    """Complete windows, float64 (n, width), as blocks fill them, and the number of samples that came with them."""
    rest = np.zeros(0)
    for block in blocks:
        rest = np.concatenate([rest, np.asarray(block, np.float64)])
        n = len(rest) // width
        yield rest[: n * width].reshape(n, width), len(block)
        rest = rest[n * width :]
