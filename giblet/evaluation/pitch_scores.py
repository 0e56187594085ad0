"""Whether decoded sound has a voice when what was heard has one, and of what pitch.

References
----------
Rabiner, Cheng, Rosenberg, McGonegal (1976). A comparative performance study of several pitch detection algorithms. IEEE
Transactions on Acoustics, Speech, and Signal Processing 24, 399-418. (Gross errors of pitch.)
Nakatani, Amano, Irino, Ishizuka, Kondo (2008). A method for fundamental frequency estimation and voicing decision:
application to infant utterances recorded in real acoustical environments. Speech Communication 50, 203-214. (Errors of
the voicing decision.)
Chu, Alwan (2009). Reducing F0 frame error of F0 tracking algorithms under noisy conditions with an unvoiced/voiced
classification frontend. ICASSP. (Both as shares of frames: gross pitch error, GPE, and voicing decision error, VDE.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import ceil

import numpy as np

from giblet.data.acoustic_kinds import Pitch
from giblet.evaluation.paired import SHARE, paired_score, undefined
from giblet.evaluation.score import Null, Score
from giblet.evaluation.sound_correlation import frames_by_tr
from giblet.statistics.estimates import Estimate, ScoredTRs

VOICING, PITCH = "voicing agreement (1 - VDE)", "F0 agreement (1 - GPE)"
GROSS = 0.2
"""Of the true F0: more than this away is a gross error."""
SETTLED = 3.0
"""Seconds after which the sound of a constant no longer changes."""
NO_VOICE = "no frame is voiced on both sides"


def pitch_by_tr(sound: np.ndarray, sample_rate: int, n_trs: int, tr: float, *, constant: bool = False) -> np.ndarray:
    """Fundamental frequency of a voice, as ``giblet extract --acoustics pitch`` measures it.

    Parameters
    ----------
    sound : ndarray of float, shape (n_samples,)
        From the onset of the first TR; what is missing at the end is silence.
    sample_rate : int
        In Hz.
    n_trs : int
    tr : float
        Repetition time in seconds.
    constant : bool
        The sound is the same from 3 s on: only its first TRs are measured.

    Returns
    -------
    ndarray of float64, shape (n_trs, frames_per_tr)
        Hz, 100 per second; NaN where there is no voice.

    Raises
    ------
    InputError
        If the TR cannot be used.

    See Also
    --------
    giblet.data.acoustic_kinds.Pitch : the measure.
    """
    measured = min(n_trs, ceil(SETTLED / tr) + 1) if constant else n_trs
    by_tr = frames_by_tr(Pitch(), sound, sample_rate, measured, tr)
    return np.concatenate([by_tr, np.repeat(by_tr[-1:], n_trs - measured, axis=0)])


def pitch_scores(
    truth: np.ndarray,
    predicted: np.ndarray,
    nulls: Mapping[str, np.ndarray],
    trs: ScoredTRs,
    *,
    ceiling: np.ndarray | None = None,
    ridge: np.ndarray | None = None,
    constant: bool = False,
) -> list[Score]:
    """Agreement of voicing and of fundamental frequency.

    Parameters
    ----------
    truth, predicted : ndarray of float, shape (n_trs, frames_per_tr)
        Hz, NaN where there is no voice, as :func:`pitch_by_tr` gives them.
    nulls : mapping of str to ndarray
        Of predictions that know nothing of the brain, of the same shape.
    trs : ScoredTRs
        TRs with sound.
    ceiling, ridge : ndarray, optional
        Of the codec alone, and of ridge regression, of the same shape.
    constant : bool
        `predicted` is of a sound that says the same of every TR.

    Returns
    -------
    list of Score
        Voicing: the share of frames in which both sides have a voice or neither has, 1 less the voicing decision error.
        F0: of the frames in which both have one, the share in which the predicted F0 is within 20 % of the true one, 1
        less the gross pitch error. It has no value where no frame has two.

    Notes
    -----
    Chance is not one half. A sound that always has a voice agrees in as many frames as are voiced, and of two voices of
    one register most frames are within 20 %: read both beside their nulls.

    Examples
    --------
    >>> truth = np.tile([100.0, 100.0, np.nan, np.nan], (5, 1))
    >>> said = np.tile([115.0, 130.0, 100.0, np.nan], (5, 1))
    >>> [one.reconstruction.value for one in pitch_scores(truth, said, {}, ScoredTRs.of(5, 2.0))]
    [0.75, 0.5]
    """
    sides = {"own": predicted, **nulls}
    sides |= {name: values for name, values in (("ceiling", ceiling), ("ridge", ridge)) if values is not None}
    voiced, heard = np.isfinite(truth), np.isfinite(predicted)
    agree = {side: (np.isfinite(values) == voiced).mean(axis=1) for side, values in sides.items()}
    pairs = heard.astype(float) @ voiced.T + (~heard).astype(float) @ (~voiced).T
    voicing = paired_score(
        VOICING, pairs / truth.shape[1], trs, SHARE, nulls={null: agree[null] for null in nulls},
        ceiling=agree.get("ceiling"), ridge=agree.get("ridge"), constant=constant,
    )  # fmt: skip
    return [voicing, _f0(truth, sides, list(nulls), trs, constant)]


def _f0(truth: np.ndarray, sides: Mapping[str, np.ndarray], nulls: list[str], trs: ScoredTRs, constant: bool) -> Score:
    voiced = np.isfinite(truth)
    shares = {}
    for side, values in sides.items():
        if (both := voiced & np.isfinite(values)).any():
            shares[side] = _ratio(_near(truth, values).sum(axis=1), both.sum(axis=1))
    if "own" not in shares:
        return undefined(PITCH, NO_VOICE)
    predicted, n = sides["own"], len(truth)
    hits = np.stack([_near(truth, one[None]).sum(axis=1) for one in predicted]).astype(float)
    both = np.isfinite(predicted).astype(float) @ voiced.T
    found = paired_score(
        PITCH, _ratio(hits, both), trs, SHARE, nulls={null: shares[null] for null in nulls if null in shares},
        ceiling=shares.get("ceiling"), ridge=shares.get("ridge"), constant=constant,
    )  # fmt: skip
    told = {null: found.nulls.get(null, Null(Estimate(None, why=NO_VOICE))) for null in nulls}
    if found.shifted is not None and found.shifted.p is not None:
        together = np.repeat(np.arange(len(trs.lengths)), trs.lengths)
        within = together[:, None] == together[None]
        usual = float(hits[within].sum() / max(1.0, both[within].sum()))
        found = replace(found, shifted=replace(found.shifted, mean=usual))
    assert len(hits) == n
    return replace(found, nulls=told)


def _near(truth: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Frames in which both have a voice, and the F0 is within 20 % of the true one."""
    return np.abs(values / truth - 1) <= GROSS  # a comparison with NaN is False


def _ratio(hits: np.ndarray, both: np.ndarray) -> np.ndarray:
    """Hits of TRs, or of pairs of them, so that their mean over TRs is the share of hits in all frames with two voices.

    A ratio of sums, as a mean: what a TR has more hits than the share would give it, over the mean number of frames.
    At other rotations the sum is above that of none exactly where the share of hits is greater.
    """
    own_hits, own_both = (one.diagonal() if one.ndim == 2 else one for one in (hits, both))
    share = own_hits.sum() / own_both.sum()
    return share + (hits - share * both) / own_both.mean()
