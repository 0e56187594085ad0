"""What a CLAP model makes of decoded sound: similarity, identification, and Fréchet audio distance.

References
----------
Wu et al. (2023). Large-scale contrastive language-audio pretraining with feature fusion and keyword-to-caption
augmentation. ICASSP. arXiv:2211.06687. (The vectors.)
Kilgour, Zuluaga, Roblek, Sharifi (2019). Fréchet audio distance: a reference-free metric for evaluating music
enhancement algorithms. Interspeech. arXiv:1812.08466. (The distance, there of VGGish's vectors.)
Gui, Gamper, Braun, Emmanouilidou (2024). Adapting Frechet audio distance for generative music evaluation. ICASSP.
arXiv:2311.01616. (The distance of CLAP's vectors, and that it is too large for few sounds.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from giblet.data.clap import ClapModel
from giblet.evaluation.identification import identification
from giblet.evaluation.paired import CORRELATION, paired_score
from giblet.evaluation.passages import passage_starts
from giblet.evaluation.score import Null, Score
from giblet.evaluation.sound_correlation import at_rate
from giblet.statistics.estimates import Estimate, ScoredTRs
from giblet.timing import TRGrid, check_tr

SECONDS = 6.0
"""Length of the passages that are heard, of which the nearest whole number of TRs is taken."""
SIMILARITY, IDENTIFICATION, DISTANCE = "CLAP similarity", "CLAP identification", "FAD (CLAP)"


@dataclass(frozen=True)
class Heard:
    """Passages of sounds, as a CLAP model hears them."""

    vectors: Mapping[str, np.ndarray]
    """Of each sound, float32 (n_passages, dim)."""
    trs: ScoredTRs
    """The passages, as if each were a TR."""


def hear(
    sounds: Mapping[str, np.ndarray],
    sample_rate: int,
    model: ClapModel,
    trs: ScoredTRs,
    used: np.ndarray,
    place: np.ndarray,
) -> Heard:
    """The vectors of all passages of about 6 s.

    Parameters
    ----------
    sounds : mapping of str to ndarray of float, shape (n_samples,)
        By name, all from the onset of the first TR.
    sample_rate : int
        In Hz.
    model : ClapModel
    trs : ScoredTRs
    used, place
        As for :func:`giblet.evaluation.identification.identify_passages`.

    Returns
    -------
    Heard
    """
    tr, runs, starts = float(check_tr(trs.tr)), list[int](), list[int]()
    width = max(1, min(round(SECONDS / tr), int(model.longest / tr)))
    first = 0
    for run, length in enumerate(trs.lengths):
        own = slice(first, first + length)
        found = passage_starts(place[own], used[own], width)
        starts += (found + first).tolist()
        runs += [run] * len(found)
        first += length
    grid = TRGrid(trs.tr, trs.n_trs, model.sample_rate)
    longest = round(model.longest * model.sample_rate)
    vectors = {}
    for name, sound in sounds.items():
        whole = at_rate(sound, sample_rate, model.sample_rate, grid.n_frames)
        vectors[name] = model.vectors([whole[grid.edges[at] : grid.edges[at + width]][:longest] for at in starts])
    return Heard(vectors, ScoredTRs(width * trs.tr, np.array(runs, np.int64), trs.high_pass))


def clap_scores(heard: Heard, nulls: list[str], *, constant: bool = False) -> list[Score]:
    """Similarity, identification and distance.

    Parameters
    ----------
    heard : Heard
        Of ``"reference"`` and ``"own"``, of ``"ceiling"`` and ``"ridge"`` where there are such, and of the nulls.
    nulls : list of str
        Names of those sounds that know nothing of the brain.
    constant : bool
        The prediction says the same of every TR.

    Returns
    -------
    list of Score
        ``"CLAP similarity"``: mean cosine of the vectors of the decoded and the true passage. ``"CLAP
        identification"``: share of the other true passages that are further from the decoded one than its own, 0.5 by
        chance. ``"FAD (CLAP)"``: :func:`frechet_distance` of all decoded passages from all true ones; less is better.
    """
    true = np.asarray(heard.vectors["reference"], np.float64)
    sides = {name: np.asarray(own, np.float64) for name, own in heard.vectors.items() if name != "reference"}
    cosines = {name: (own * true).sum(axis=1) for name, own in sides.items()}
    similarity = paired_score(
        SIMILARITY, sides["own"] @ true.T, heard.trs, CORRELATION, nulls={null: cosines[null] for null in nulls},
        ceiling=cosines.get("ceiling"), ridge=cosines.get("ridge"), constant=constant,
    )  # fmt: skip
    told_apart = identification(IDENTIFICATION, true, sides["own"], heard.trs)
    if "ridge" in sides:
        told_apart = told_apart.beside(identification("", true, sides["ridge"], heard.trs), heard.trs)
    if "ceiling" in sides:
        told_apart = replace(
            told_apart, ceiling=identification("", true, sides["ceiling"], heard.trs).reconstruction.value
        )
    distances = {name: frechet_distance(true, own) for name, own in sides.items()}
    distance = Score(
        DISTANCE, Estimate(distances["own"]), distances.get("ceiling"),
        {null: Null(Estimate(distances[null])) for null in nulls},
        ridge=Null(Estimate(distances["ridge"])) if "ridge" in distances else None,
    )  # fmt: skip
    return [similarity, told_apart, distance]


def frechet_distance(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Fréchet distance of two sets of vectors, each taken for a normal distribution.

    ``|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2))``, of means m and covariances C. The last trace is the sum of the
    singular values of ``X1 X2'``, of the centred vectors X over the roots of their numbers less 1, so that no root of a
    matrix is taken, and covariances without full rank are no difficulty.

    Parameters
    ----------
    truth, predicted : ndarray of float, shape (n, dim)
        At least two vectors each.

    Returns
    -------
    float
        0 for equal means and covariances. Of few vectors it is too large: compare distances of equally many alone.

    References
    ----------
    Kilgour et al. (2019), as at the head of this file.

    Examples
    --------
    >>> cross = np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
    >>> round(frechet_distance(cross, cross + [3, 4]), 6), round(frechet_distance(cross, 2 * cross), 6)
    (25.0, 1.333333)
    """
    sides = [np.asarray(one, np.float64) for one in (truth, predicted)]
    means = [one.mean(axis=0) for one in sides]
    x, y = ((one - mean) / np.sqrt(len(one) - 1) for one, mean in zip(sides, means, strict=True))
    together = np.linalg.svd(x @ y.T, compute_uv=False).sum()
    found = float(((means[0] - means[1]) ** 2).sum() + (x**2).sum() + (y**2).sum() - 2 * together)
    return max(0.0, found)
