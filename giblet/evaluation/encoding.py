"""How well BOLD is predicted from the stimulus: scores of held-out predictions, voxel by voxel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from giblet.encoding.scan_ridge import RidgeFit, fit_ridge
from giblet.notebook import html_table
from giblet.statistics.correlation import Correlations, correlations, mean_correlation_influence
from giblet.statistics.estimates import Chance, Estimate, ScoredTRs
from giblet.statistics.rotation import RotationTest

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["EncodingScore", "RidgeFit", "fit_ridge", "score_encoding", "voxelwise_r"]


def voxelwise_r(bold: np.ndarray, predicted: np.ndarray, run: Sequence[int] | np.ndarray | None = None) -> Correlations:
    """Correlation of measured and predicted BOLD over TRs, voxel by voxel.

    ``r = sum(x y) / sqrt(sum(x^2) sum(y^2))`` of what is left of both without their means; of several runs the mean of
    their `r`, weighted by their TRs.

    Parameters
    ----------
    bold, predicted : ndarray of float, shape (n_trs, n_voxels)
        The same TRs, of no training.
    run : array_like, shape (n_trs,), optional
        Run of each TR: correlations are within runs, and their mean is weighted by TRs.

    Returns
    -------
    Correlations
        0 where the prediction never changes; voxels whose BOLD never changes have none, and are counted in
        ``n_undefined``.

    Raises
    ------
    InputError
        If the shapes differ, or values are not finite.

    See Also
    --------
    score_encoding : the same with an interval and its chance.
    giblet.statistics.rotation.rotation_test : whether it is more than chance, voxel by voxel.
    """
    return correlations(bold, predicted, None if run is None else np.asarray(run))


@dataclass(frozen=True, repr=False)
class EncodingScore:
    """Scores of predicted held-out BOLD, by voxel."""

    by_voxel: Correlations
    """Without drifts, if there was a test, and within runs."""
    mean: Estimate
    """Mean r over the voxels whose BOLD changes, with its interval."""
    chance: Chance
    """The mean of predictions that are rotated in time, all voxels together."""
    test: RotationTest | None
    """Voxel by voxel; None where the TRs are too few."""
    ridge: Estimate | None = None
    """Mean r of what ridge regression predicts of the same TRs."""
    above_ridge: Estimate | None = None
    """`mean` less that, with the interval of the difference."""

    def __repr__(self) -> str:
        """Mean r over voxels, with its interval and p."""
        p = "-" if self.chance.p is None else f"{self.chance.p:.3g}"
        return f"<EncodingScore of {len(self.by_voxel.r)} voxels: mean r {self.mean}, p = {p}>"

    def _repr_html_(self) -> str:
        """The figures of :meth:`as_dict`, for notebooks."""
        figures = self.as_dict()
        figures |= {"r": self.mean.value, "r, 95 % from": self.mean.low, "r, 95 % to": self.mean.high}
        return html_table("Encoding: measured and predicted BOLD", ("over voxels", ""), list(figures.items()))

    def to_pandas(self) -> pd.DataFrame:
        """Correlation of each voxel, and its chance.

        Returns
        -------
        pandas.DataFrame
            By ``voxel``: ``r``, NaN where the BOLD never changes; ``p``, ``p_rank`` and ``q`` (`p` corrected for the
            number of voxels by the false discovery rate), NaN where there was no test.
        """
        import pandas as pd

        absent = np.full(len(self.by_voxel.r), np.nan)
        test = self.test
        p, p_rank, q = (absent,) * 3 if test is None else (test.p, test.p_rank, test.q)
        return pd.DataFrame({"r": self.by_voxel.r, "p": p, "p_rank": p_rank, "q": q}).rename_axis("voxel")

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON.

        Returns
        -------
        dict
            ``r`` with its interval, ``median`` and ``best_decile`` over voxels, ``n_voxels``, ``n_undefined``,
            ``n_constant``, ``rotated``, ``p``, ``q``, ``n_rotations``, ``ridge`` and ``above_ridge``.
        """
        r = self.by_voxel.r[self.by_voxel.defined]
        return {
            "r": self.mean.as_dict(),
            "median": self.by_voxel.median,
            "best_decile": float(np.quantile(r, 0.9)) if len(r) else None,
            "n_voxels": len(self.by_voxel.r),
            "n_undefined": self.by_voxel.n_undefined,
            "n_constant": int(self.by_voxel.constant.sum()),
            "rotated": self.chance.mean,
            "p": self.chance.p,
            "q": self.chance.q,
            "n_rotations": self.chance.n,
            "ridge": None if self.ridge is None else self.ridge.as_dict(),
            "above_ridge": None if self.above_ridge is None else self.above_ridge.as_dict(),
        }


def score_encoding(
    bold: np.ndarray, predicted: np.ndarray, trs: ScoredTRs, *, ridge: np.ndarray | None = None
) -> EncodingScore:
    """Correlation of measured and predicted BOLD voxel by voxel, the interval of its mean, and its chance.

    Parameters
    ----------
    bold, predicted : ndarray of float, shape (n_trs, n_voxels)
    trs : ScoredTRs
        Their TR, and of which stretch each is.
    ridge : ndarray of float, shape (n_trs, n_voxels), optional
        What ridge regression predicts of the same TRs.

    Returns
    -------
    EncodingScore

    Raises
    ------
    InputError
        If the shapes differ, or values are not finite.

    See Also
    --------
    voxelwise_r : the correlations alone.
    """
    by_voxel = voxelwise_r(bold, predicted, trs.run)
    if by_voxel.mean is None:
        why = "no voxel's BOLD changes over these TRs"
        return EncodingScore(by_voxel, Estimate(None, why=why), Chance(None, None, 0), None)
    test = trs.test(bold, predicted)
    if test is None:
        score = EncodingScore(by_voxel, Estimate(by_voxel.mean), Chance(None, None, 0), None)
    else:
        by_voxel = replace(by_voxel, r=test.r, defined=np.isfinite(test.r))
        mean = Estimate(test.mean, *(test.mean_interval if trs.has_intervals else ()))
        chance = Chance.of(test.whitened_by_rotation, float(test.mean_by_rotation.mean()))
        score = EncodingScore(by_voxel, mean, chance, test)
    return score if ridge is None else _beside(score, bold, predicted, ridge, trs)


def _beside(
    score: EncodingScore, bold: np.ndarray, predicted: np.ndarray, ridge: np.ndarray, trs: ScoredTRs
) -> EncodingScore:
    """The score with that of ridge regression, and how sure the difference of the two is."""
    truth, own, other = (trs.flat(values) for values in (bold, predicted, ridge))
    theirs = correlations(truth, other, trs.run).mean
    if score.mean.value is None or theirs is None:
        return score
    apart = mean_correlation_influence(truth, own, trs.run) - mean_correlation_influence(truth, other, trs.run)
    return replace(score, ridge=Estimate(theirs), above_ridge=trs.estimate(score.mean.value - theirs, apart))
