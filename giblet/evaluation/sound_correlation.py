"""Spectral and envelope correlation of decoded sound with what was heard.

References
----------
Pasley et al. (2012). Reconstructing speech from human auditory cortex. PLoS Biology 10, e1001251.
(Correlation of each frequency band over time, and its mean over bands.)
Biesmans, Das, Francart, Bertrand (2017). Auditory-inspired speech envelope extraction methods for improved EEG-based
auditory attention detection in a cocktail party scenario. IEEE TNSRE 25, 402-412. (Envelopes to the power 0.6.)
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import soxr

from giblet.data.acoustic_kinds import FRAME_RATE, Envelope, Kind
from giblet.data.acoustics import BIESMANS
from giblet.evaluation.paired import CORRELATION, paired_score
from giblet.evaluation.score import Score
from giblet.statistics.estimates import ScoredTRs
from giblet.timing import TRGrid

SPECTRAL, SHAPE = "spectral r", "spectral shape r"


def spectral_scores(
    truth: np.ndarray,
    predicted: np.ndarray,
    nulls: Mapping[str, np.ndarray],
    trs: ScoredTRs,
    *,
    ceiling: np.ndarray | None = None,
    ridge: np.ndarray | None = None,
    constant: bool = False,
) -> list[Score]:
    """Two correlations of spectrograms: of each band over time, and of each TR over bands.

    Parameters
    ----------
    truth, predicted : ndarray of float, shape (n_trs, n_bands, frames_per_tr)
        Log power.
    nulls : mapping of str to ndarray
        Predictions that know nothing of the brain, of the same shape.
    trs : ScoredTRs
        TRs with sound.
    ceiling, ridge : ndarray, optional
        Of the codec alone, and of ridge regression, of the same shape.
    constant : bool
        `predicted` says the same of every TR, but for how a codec settles.

    Returns
    -------
    list of Score
        ``"spectral r"``: Pearson's r of each band over all frames of a stretch, mean over the bands whose truth changes
        (Pasley et al., 2012); 0 where nothing is known. ``"spectral shape r"``: Pearson's r over bands of the mean
        spectrum of a TR, mean over TRs. That of any voice with any other is high: the nulls show how high.
    """
    sides = {"own": predicted, **nulls}
    sides |= {name: values for name, values in (("ceiling", ceiling), ("ridge", ridge)) if values is not None}
    return [
        _scored(name, *prepared(truth, sides, trs), list(nulls), trs, constant)
        for name, prepared in ((SPECTRAL, _over_time), (SHAPE, _over_bands))
    ]


def _scored(
    name: str, pairs: np.ndarray, series: Mapping[str, np.ndarray], nulls: list[str], trs: ScoredTRs, constant: bool
) -> Score:
    return paired_score(
        name, pairs, trs, CORRELATION, nulls={null: series[null] for null in nulls}, ceiling=series.get("ceiling"),
        ridge=series.get("ridge"), own=series["own"], constant=constant,
    )  # fmt: skip


def _over_time(
    truth: np.ndarray, sides: Mapping[str, np.ndarray], trs: ScoredTRs
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Pairs of TRs, and by TR what each has to do with the mean over bands of r over frames."""
    n, _, n_frames = truth.shape
    pairs, series = np.zeros((n, n)), {side: np.zeros(n) for side in sides}
    start = 0
    for length in trs.lengths:
        own = slice(start, start + length)
        start += length
        true = _standardised(truth[own], (0, 2))
        changing = true.any(axis=(0, 2))
        true = true[:, changing]
        for side, values in sides.items():
            said = _standardised(values[own], (0, 2))[:, changing]
            if side == "own":
                pairs[own, own] = (
                    said.reshape(length, -1) @ true.reshape(length, -1).T / max(1, changing.sum() * n_frames)
                )
            xy, xx, yy = ((a * b).mean(axis=2) for a, b in ((true, said), (true, true), (said, said)))
            r = xy.mean(axis=0)
            series[side][own] = (r + xy - r / 2 * (xx + yy)).sum(axis=1) / max(1, changing.sum())
    return pairs, series


def _over_bands(
    truth: np.ndarray, sides: Mapping[str, np.ndarray], trs: ScoredTRs
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Pairs of TRs, and by TR r over bands of mean spectra."""
    true, *others = (
        _standardised(values.mean(axis=2, dtype=np.float64), (1,)) / np.sqrt(truth.shape[1])
        for values in (truth, *sides.values())
    )
    said = dict(zip(sides, others, strict=True))
    return said["own"] @ true.T, {side: (values * true).sum(axis=1) for side, values in said.items()}


def _standardised(values: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Of mean 0 and deviation 1; 0 where nothing but rounding differs."""
    values = np.asarray(values, np.float64)
    spread = values.std(axis=axes, keepdims=True)
    size = np.abs(values).max(axis=axes, keepdims=True)
    centred = values - values.mean(axis=axes, keepdims=True)
    return np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 1e-6 * size)


def envelope_by_tr(sound: np.ndarray, sample_rate: int, n_trs: int, tr: float) -> np.ndarray:
    """Envelope of a sound: root mean square of 10 ms, to the power 0.6 (Biesmans et al., 2017).

    Parameters
    ----------
    sound : ndarray of float, shape (n_samples,)
        From the onset of the first TR; what is missing at the end is silence.
    sample_rate : int
        In Hz.
    n_trs : int
    tr : float
        Repetition time in seconds.

    Returns
    -------
    ndarray of float64, shape (n_trs, 1, frames_per_tr)
        Frames as of :class:`giblet.data.acoustic_kinds.Envelope`, 100 per second.

    Raises
    ------
    InputError
        If the TR cannot be used.
    """
    return (frames_by_tr(Envelope(), sound, sample_rate, n_trs, tr) ** BIESMANS)[:, None]


def frames_by_tr(measure: Kind, sound: np.ndarray, sample_rate: int, n_trs: int, tr: float) -> np.ndarray:
    """The first column of a measure of sound, by the frames that every TR has.

    Parameters
    ----------
    measure : Kind
        One that has heard nothing yet.
    sound : ndarray of float, shape (n_samples,)
        From the onset of the first TR; what is missing at the end is silence.
    sample_rate : int
        In Hz.
    n_trs : int
    tr : float
        Repetition time in seconds.

    Returns
    -------
    ndarray of float64, shape (n_trs, frames_per_tr)
        100 frames per second.

    Raises
    ------
    InputError
        If the TR cannot be used.
    """
    grid = TRGrid(tr, n_trs, FRAME_RATE)
    heard = at_rate(sound, sample_rate, measure.sample_rate, grid.n_frames * measure.hop_length)
    columns, _ = grid.columns(grid.frames_per_tr)
    return np.concatenate([measure.add(heard), measure.end()])[:, 0][columns]


def at_rate(sound: np.ndarray, sample_rate: int, wanted: int, n_samples: int) -> np.ndarray:
    """A sound at another rate, cut or continued with silence.

    Parameters
    ----------
    sound : ndarray of float, shape (n,)
    sample_rate, wanted : int
        In Hz.
    n_samples : int
        Of what is returned.

    Returns
    -------
    ndarray of float32, shape (n_samples,)
    """
    found = np.asarray(sound, np.float32)
    if sample_rate != wanted:
        found = soxr.resample(found, sample_rate, wanted)
    return np.pad(found[:n_samples], (0, max(0, n_samples - len(found))))
