"""Several subjects of one film: is the model better than chance in their mean, voxel by voxel?

People who saw one film share a response. A prediction that knows nothing of it still goes together with it by chance,
and then in all of them at once: a t-test over subjects takes that for evidence, the more often the more people there
are. Here the predictions of all subjects are rotated in time by the same TRs, and the mean over subjects of Fisher's z
is compared with that of all rotations, in which people agree just as much.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr
from scipy.stats import ttest_1samp

from giblet.errors import InputError
from giblet.statistics.correction import fisher_z, rank_p, standardised
from giblet.statistics.rotation import RotationTest
from giblet.statistics.rotations import HIGH_PASS, Null, Rotations

AGREEMENT = "that people agree (a t-test over subjects), which is no test of the model"
"""What a t-test over subjects tests."""
FALSE_AGREEMENT = {
    8: {0.0: 0.068, 0.05: 0.070, 0.15: 0.108, 0.30: 0.218},
    17: {0.0: 0.044, 0.05: 0.076, 0.15: 0.194, 0.30: 0.282},
}
"""How often noise passes it: by number of subjects, and by the part of their variance that people share, the share of
studies with p <= .05 where the prediction, one for all, knows nothing (300 TRs of 1.5 s; docs/calibration.md, Several
subjects). Where each subject has a fit of its own it is about half as often (docs/encoding_calibration.md)."""


@dataclass(frozen=True)
class GroupTest(RotationTest):
    """The mean over subjects of Fisher's z, as `r`, and its chance under rotations made jointly for all subjects."""

    r_by_subject: np.ndarray
    """float64 (n_subjects, n_voxels): of each subject, NaN where the BOLD never changes."""

    @property
    def n_subjects(self) -> np.ndarray:
        """int64 (n_voxels,): subjects whose BOLD changes, of which the mean is."""
        return np.isfinite(self.r_by_subject).sum(axis=0)

    def agreement(self) -> Agreement:
        """Whether people agree about the sign of `r`: a t-test over subjects, which is no test of the model.

        Returns
        -------
        Agreement
        """
        z = fisher_z(self.r_by_subject)
        enough = self.n_subjects >= 2
        t, p = np.full((2, z.shape[1]), np.nan)
        if enough.any():
            found = ttest_1samp(z[:, enough], 0, axis=0, alternative="greater", nan_policy="omit")
            t[enough], p[enough] = np.asarray(found.statistic), np.asarray(found.pvalue)
        return Agreement(t, p, len(z))


@dataclass(frozen=True)
class Agreement:
    """A one-sided t-test over subjects of Fisher's z in each voxel. It asks whether people agree.

    A response that they share agrees with a wrong prediction by chance, in all of them: :meth:`table` says how often
    such a p is at most .05 where the model knows nothing.
    """

    t: np.ndarray
    """float64 (n_voxels,)"""
    p: np.ndarray
    """float64 (n_voxels,)"""
    n_subjects: int
    tests = AGREEMENT

    def table(self) -> str:
        """How often noise passes this test, as a Markdown table.

        Returns
        -------
        str
        """
        shares = list(FALSE_AGREEMENT[8])
        head = f"| noise with p <= .05, % | {' | '.join(f'{share:.0%} shared' for share in shares)} |"
        rows = [
            f"| {n} subjects | {' | '.join(f'{100 * by_share[share]:.1f}' for share in shares)} |"
            for n, by_share in FALSE_AGREEMENT.items()
        ]
        return "\n".join([f"It tests {self.tests}.", "", head, "|---" + "|--:" * len(shares) + "|", *rows])


def rotation_test_group(
    truth: Sequence[np.ndarray] | np.ndarray,
    predicted: Sequence[np.ndarray] | np.ndarray,
    *,
    tr: float,
    run: Sequence[int] | np.ndarray | None = None,
    high_pass: float | None = HIGH_PASS,
    seed: int = 0,
) -> GroupTest:
    """Correlate truth and prediction in each voxel of several subjects of one film, and test the mean over subjects.

    In each voxel Fisher's z is averaged over the subjects, for every rotation; all predictions are rotated by the same
    TRs, so that what people share stays shared. Subjects are a fixed sample: the test is about this film's TRs.

    Parameters
    ----------
    truth : sequence of ndarray of float, or ndarray, shape (n_subjects, n_trs, n_voxels)
        BOLD of each subject, of the same TRs of the same film, in a common space.
    predicted : sequence of ndarray of float, or ndarray, shape (n_subjects, n_trs, n_voxels)
        For each subject, from no training on these TRs; or (n_trs, n_voxels), one for all.
    tr : float
        Repetition time in seconds.
    run : array_like, shape (n_trs,), optional
        Run, or stretch of successive TRs, of each TR, the same for all subjects.
    high_pass : float or None
        In Hz: slower cosines are removed from both sides. None: only mean, line and parabola are.
    seed : int
        Of the joint draws, where there are several runs.

    Returns
    -------
    GroupTest
        A voxel whose BOLD never changes in some subjects is tested in the others.

    Raises
    ------
    InputError
        If there are fewer than two subjects, their shapes differ, or as :func:`giblet.statistics.rotation_test`.
    AlignmentError
        If `run` is not one label for each TR, or a run comes in pieces.

    See Also
    --------
    giblet.statistics.rotation_test : of one subject.
    """
    subjects = [np.asarray(one) for one in truth]
    common = np.ndim(predicted[0]) == 1
    guesses = [np.asarray(predicted)] * len(subjects) if common else [np.asarray(one) for one in predicted]
    if len(subjects) < 2:
        raise InputError(f"{len(subjects)} subject: a group needs at least two; test one by rotation_test")
    if len(guesses) != len(subjects):
        raise InputError(f"{len(subjects)} subjects have BOLD, {len(guesses)} have predictions: pass both of each")
    odd = next((i for i, one in enumerate(subjects) if one.shape != subjects[0].shape), None)
    if odd is not None:
        raise InputError(
            f"the BOLD of subject {odd} has shape {subjects[odd].shape}, that of subject 0 {subjects[0].shape}: the "
            "same TRs and voxels are needed of all"
        )
    rotations = [
        Rotations.of(bold, guess, tr=tr, run=run, high_pass=high_pass, seed=seed)
        for bold, guess in zip(subjects, guesses, strict=True)
    ]
    by_subject = [one.nulls(bold, guess) for one, bold, guess in zip(rotations, subjects, guesses, strict=True)]
    sums = _Sums(len(subjects), subjects[0].shape[1], rotations[0])
    for of_all in zip(*by_subject, strict=True):
        sums.add(of_all[0][0], [null for _, null in of_all])
    return sums.test()


class _Sums:
    """What is known of the voxels that were gone through."""

    def __init__(self, n_subjects: int, n_voxels: int, rotations: Rotations) -> None:
        n_rotations = len(rotations.draws)
        self.r_by_subject = np.empty((n_subjects, n_voxels))
        self.by_voxel = {name: np.full(n_voxels, np.nan) for name in ("r", "z", "spread", "p_rank", "p")}
        self.highest, self.totals = np.full((2, n_rotations), -np.inf), np.zeros((2, n_rotations))
        self.pools = [rotations.pool() for _ in range(n_subjects)]

    def add(self, voxels: slice, nulls: Sequence[Null]) -> None:
        alive = np.stack([null.alive for null in nulls])
        for own, null, pool in zip(self.r_by_subject, nulls, self.pools, strict=True):
            own[voxels] = np.where(null.alive, null.plain[:, 0], np.nan)
            pool.add(null)
        plain, white = (
            np.tanh(sum(fisher_z(some) for some in each) / np.maximum(alive.sum(axis=0), 1)[:, None])  # 0 where dead
            for each in ([null.plain for null in nulls], [null.white for null in nulls])
        )
        some = alive.any(axis=0)
        z, spread = standardised(white.T)
        found = {"r": plain[:, 0], "z": z[0], "spread": spread, "p_rank": rank_p(white.T), "p": ndtr(-z[0])}
        for name, values in found.items():
            self.by_voxel[name][voxels] = np.where(some, values, np.nan)
        self.totals += [some @ plain, some @ white]
        for best, of_voxels in zip(self.highest, (plain, z.T), strict=True):
            np.maximum(best, of_voxels[some].max(axis=0, initial=-np.inf), out=best)

    def test(self) -> GroupTest:
        of_voxel = self.by_voxel
        mean, white = self.totals / max(1, int(np.isfinite(of_voxel["r"]).sum()))
        pooled = np.tanh(np.mean([fisher_z(pool.by_rotation()) for pool in self.pools], axis=0))
        return GroupTest(
            **of_voxel, mean_by_rotation=mean, whitened_by_rotation=white, pooled_by_rotation=pooled,
            highest_by_rotation=self.highest[0], highest_z_by_rotation=self.highest[1], r_by_subject=self.r_by_subject,
        )  # fmt: skip
