"""Noise of simulated BOLD: an AR(1) process, slow drift, and what head motion and a global signal add."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from nilearn.signal import create_cosine_drift
from scipy.signal import butter, lfilter, sosfilt

DRIFT_SECONDS = 128.0
"""Drift is slower than this, as the usual high-pass filter assumes."""
MOTION = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")
CONFOUNDS = (*MOTION, "global_signal")
"""By the names that fMRIPrep gives them."""
GLOBAL_HZ = 0.1
"""The global signal, of breathing and arousal, is slower than this."""
JUMPS_PER_MINUTE = 0.5
"""How often the head jumps, beside its slow wandering."""


def noise_of_runs(
    lengths: Sequence[int], n_voxels: int, ar: float, drift: float, tr: float, rng: np.random.Generator
) -> np.ndarray:
    """AR(1) noise and drift that start afresh in each run.

    Parameters
    ----------
    lengths : sequence of int
        TRs of each run.
    n_voxels : int
    ar : float
        Correlation of the AR(1) process from one TR to the next.
    drift : float
        Share of the drift in the variance.
    tr : float
        Repetition time in seconds.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of float64, shape (n_trs, n_voxels)
        Of variance 1 over all TRs in each voxel.
    """
    fast_runs, slow_runs = [], []
    for n in lengths:
        white = rng.standard_normal((n, n_voxels))
        white[0] /= np.sqrt(1 - ar**2)  # stationary from the first TR on
        fast_runs.append(lfilter([1.0], [1.0, -ar], white, axis=0))
        times = np.arange(n) * tr
        slow = np.column_stack([create_cosine_drift(1 / DRIFT_SECONDS, times)[:, :-1], np.linspace(-1, 1, n)])
        slow = (slow - slow.mean(axis=0)) / slow.std(axis=0)
        slow_runs.append(slow @ rng.standard_normal((slow.shape[1], n_voxels)))
    fast, slow = np.concatenate(fast_runs), np.concatenate(slow_runs)
    noise = np.sqrt(1 - drift) * fast / fast.std(axis=0) + np.sqrt(drift) * slow / slow.std(axis=0)
    return noise / noise.std(axis=0)


def confound_series(lengths: Sequence[int], tr: float, rng: np.random.Generator) -> np.ndarray:
    """Six series as head motion has, and a global signal.

    The head wanders (a random walk), and jumps now and then to another place; the global signal is noise slower than
    0.1 Hz. Both begin afresh in each run.

    Parameters
    ----------
    lengths : sequence of int
        TRs of each run.
    tr : float
        Repetition time in seconds.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of float64, shape (n_trs, 7)
        In the order of :data:`CONFOUNDS`, of mean 0 and variance 1 over all TRs.
    """
    runs = []
    for n in lengths:
        steps = rng.standard_normal((n, len(MOTION)))
        jumps = rng.random(n) < JUMPS_PER_MINUTE * tr / 60
        steps[jumps] *= np.sqrt(n) / 2  # as far as the head wanders in a fair part of the run
        white = rng.standard_normal((n, 1))
        low_pass = butter(2, min(GLOBAL_HZ * 2 * tr, 0.99), output="sos")
        runs.append(np.column_stack([np.cumsum(steps, axis=0), sosfilt(low_pass, white, axis=0)]))
    series = np.concatenate(runs)
    return (series - series.mean(axis=0)) / series.std(axis=0)


def confound_weights(n_voxels: int, rng: np.random.Generator) -> np.ndarray:
    """How much each voxel has of each confound: motion with either sign, the global signal with the same in all.

    Parameters
    ----------
    n_voxels : int
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of float64, shape (7, n_voxels)
        Motion and the global signal have, on average, as much variance.
    """
    motion = rng.standard_normal((len(MOTION), n_voxels)) / np.sqrt(len(MOTION))
    level = rng.gamma(4.0, size=(1, n_voxels))
    return np.concatenate([motion, level / np.sqrt(20.0)])  # the mean square of gamma(4) is 4 + 16
