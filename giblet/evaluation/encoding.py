"""How well BOLD is predicted from the stimulus: cross-validated ridge to compare a model with, and scores by voxel.

References
----------
Huth, de Heer, Griffiths, Theunissen, Gallant (2016). Natural speech reveals the semantic maps that tile human cerebral
cortex. Nature 532, 453-458.
Dupré la Tour, Eickenberg, Nunez-Elizalde, Gallant (2022). Feature-space selection with banded ridge regression.
NeuroImage 264, 119728.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
from himalaya.kernel_ridge import KernelRidgeCV
from himalaya.ridge import RidgeCV
from himalaya.scoring import r2_score

from giblet.alignment import convolve_hrf
from giblet.alignment.checks import check_finite, rows_in_time
from giblet.alignment.kernels import check_slice_time_ref
from giblet.alignment.scan import Scan, censored, knows_its_volumes, scan_of
from giblet.data.dataset.normalise import ROUNDING, run_levels
from giblet.data.splits import HRF_SECONDS, segments
from giblet.errors import AlignmentError, InputError
from giblet.features import CONTINUOUS
from giblet.notebook import html_table
from giblet.runs import run_labels, run_slices
from giblet.statistics.correlation import Correlations, correlations
from giblet.statistics.estimates import Chance, Estimate, ScoredTRs
from giblet.statistics.rotation import RotationTest
from giblet.timing import exact

if TYPE_CHECKING:
    import pandas as pd

ALPHAS = tuple(float(a) for a in np.logspace(-1, 7, 17))
"""Penalties that are tried, on features of variance 1; in each voxel the best of cross-validation is used."""
FIR_DELAYS = (1.5, 3.0, 4.5, 6.0, 7.5, 9.0)
"""Seconds by which features are delayed with ``hrf="fir"``, which lets each voxel have a response of its own."""


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
            By ``voxel``: ``r``, NaN where the BOLD never changes; ``p`` and ``p_rank``, NaN where there was no test.
        """
        import pandas as pd

        absent = np.full(len(self.by_voxel.r), np.nan)
        p, p_rank = (absent, absent) if self.test is None else (self.test.p, self.test.p_rank)
        return pd.DataFrame({"r": self.by_voxel.r, "p": p, "p_rank": p_rank}).rename_axis("voxel")

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON.

        Returns
        -------
        dict
            ``r`` with its interval, ``median`` and ``best_decile`` over voxels, ``n_voxels``, ``n_undefined``,
            ``n_constant``, ``rotated``, ``p``, ``q``, ``n_rotations``.
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
        }


def score_encoding(bold: np.ndarray, predicted: np.ndarray, trs: ScoredTRs) -> EncodingScore:
    """Correlation of measured and predicted BOLD voxel by voxel, the interval of its mean, and its chance.

    Parameters
    ----------
    bold, predicted : ndarray of float, shape (n_trs, n_voxels)
    trs : ScoredTRs
        Their TR, and of which stretch each is.

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
        return EncodingScore(by_voxel, Estimate(by_voxel.mean), Chance(None, None, 0), None)
    by_voxel = replace(by_voxel, r=test.r, defined=np.isfinite(test.r))
    mean = Estimate(test.mean, *(test.mean_interval if trs.has_intervals else ()))
    chance = Chance.of(test.whitened_by_rotation, float(test.mean_by_rotation.mean()))
    return EncodingScore(by_voxel, mean, chance, test)


@dataclass(frozen=True, repr=False)
class RidgeFit:
    """A ridge regression from features to BOLD, fitted on training TRs."""

    predicted: np.ndarray
    """float64 (n_trs, n_voxels), in the units of the BOLD: the prediction for all TRs, of which only those of no
    training are evidence. The level of a run is that of its training TRs; of a run without any, the others' mean."""
    alphas: np.ndarray
    """float64 (n_voxels,): the penalty chosen in each voxel."""
    cv_r2: np.ndarray
    """float64 (n_voxels,): R2 of the folds left out of the training TRs, with the penalty chosen, mean over folds."""
    n_features: int
    """Columns that the fit had, delays included."""
    tried: np.ndarray
    """float64 (n_alphas,): the penalties there were to choose from."""

    @property
    def at_the_edge(self) -> int:
        """Voxels whose penalty is the least or the greatest of those tried: the grid may be too narrow."""
        ends = np.array([self.tried.min(), self.tried.max()])
        return int(np.isclose(self.alphas[:, None], ends, rtol=1e-6).any(axis=1).sum())

    def __repr__(self) -> str:
        """Sizes, the median R2 and how many penalties are at the edge."""
        n_trs, n_voxels = self.predicted.shape
        return (
            f"<RidgeFit of {n_voxels} voxels by {self.n_features} features over {n_trs} TRs: median cross-validated "
            f"R2 {np.nanmedian(self.cv_r2):.3f}, {self.at_the_edge} penalties at the edge>"
        )

    def _repr_html_(self) -> str:
        """Quantiles over voxels, for notebooks."""
        quantiles = self.to_pandas().quantile([0.0, 0.25, 0.5, 0.75, 1.0])
        rows = [(f"{q:.0%}", *values) for q, values in zip(quantiles.index, quantiles.to_numpy().tolist(), strict=True)]
        return html_table(repr(self).strip("<>"), ("quantile over voxels", "alpha", "cross-validated R2"), rows)

    def to_pandas(self) -> pd.DataFrame:
        """Penalty and cross-validated R2 of each voxel.

        Returns
        -------
        pandas.DataFrame
            ``alpha`` and ``cv_r2`` by ``voxel``.
        """
        import pandas as pd

        return pd.DataFrame({"alpha": self.alphas, "cv_r2": self.cv_r2}).rename_axis("voxel")


# 13 parameters: data, their clock, and how to fit; scripts pass `tr` by position.
def fit_ridge(
    features: np.ndarray,
    bold: np.ndarray,
    train: np.ndarray,
    tr: float,
    *,
    run: Sequence[int] | np.ndarray | None = None,
    hrf: str | None = "glover",
    delays: Sequence[float] | None = None,
    slice_time_ref: float | None = None,
    sample_mask: np.ndarray | None = None,
    volumes: Sequence[int] | np.ndarray | None = None,
    alphas: Sequence[float] = ALPHAS,
    n_folds: int = 5,
    centre_runs: bool = True,
) -> RidgeFit:
    """Ridge regression from features, convolved with an HRF, to BOLD; each voxel with its own penalty.

    In each voxel ``b = argmin ||y - X b||^2 + alpha ||b||^2`` over training TRs, where the columns of ``X`` are
    features, convolved, of mean 0 in each run and variance 1, and ``alpha`` is that of `alphas` with the best R2 in
    cross-validation.

    Parameters
    ----------
    features : ndarray or DataArray of float, shape (n_trs, n_features)
        Of all TRs. Codes are categories: give their latents, or counts of each entry. What
        :func:`giblet.alignment.align_all_modalities` returns is refused where rows are no neighbours in time.
    bold : ndarray of float, shape (n_trs, n_voxels), DataArray or Dataset with ``bold``
        Row by row the TRs of `features`. A Dataset says itself its ``run``, its ``sample_mask``, and by its ``onset``
        which volumes are missing.
    train : ndarray of int
        TRs to learn from, as ``make_splits(...).train``. Means, deviations and penalties come from these alone.
    tr : float
        Repetition time in seconds.
    run : array_like, shape (n_trs,), optional
        Run of each TR; nothing is convolved across runs.
    hrf : str or None
        ``"glover"``, ``"spm"`` or ``"fir"``; None for features that are convolved already.
    delays : sequence of float, optional
        Seconds, for ``"fir"``; by default those of :data:`FIR_DELAYS` that do not reach beyond the volume's own TR.
    slice_time_ref : float, optional
        When in its TR a volume is read, 0 (onset) to 1: where slice timing was corrected to, ``StartTime / tr`` of the
        scan's sidecar. By default what `features` of :func:`giblet.alignment.align_all_modalities`, or `bold`, carry,
        else 0. Features that are convolved already (``hrf=None``) need none.
    sample_mask : ndarray of bool, shape (n_trs,), optional
        False: the volume is censored, and is not learned from; its BOLD may be NaN.
    volumes : array_like of int, shape (n_trs,), optional
        The volume of its run that each row is, where rows are missing, as for
        :func:`giblet.alignment.convolve_hrf`.
    alphas : sequence of float
        Penalties to choose from.
    n_folds : int
        Contiguous parts of the training TRs for the choice; TRs within 32 s of the part left out are not used.
    centre_runs : bool
        Take out of BOLD and features the level of each run, its mean over training TRs, so that runs with other
        baselines teach nothing by them. False: one mean for all runs.

    Returns
    -------
    RidgeFit

    Raises
    ------
    InputError
        If shapes differ, values are not finite, nothing varies, or there are too few training TRs.
    AlignmentError
        If features are convolved already, their rows are no neighbours in time, or they and the BOLD are of different
        volumes.

    See Also
    --------
    voxelwise_r : correlation of ``predicted`` with BOLD of no training, voxel by voxel.
    score_encoding : the same with an interval and its chance.
    giblet.alignment.convolve_hrf : the convolution.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> features = rng.standard_normal((300, 4))
    >>> response = convolve_hrf(features, tr=1.5, kind="continuous") @ rng.standard_normal((4, 2))
    >>> bold = response + rng.standard_normal((300, 2))
    >>> fit = fit_ridge(features, bold, np.arange(200), 1.5)
    >>> voxelwise_r(bold[220:], fit.predicted[220:]).r.round(2).tolist()
    [0.78, 0.87]
    """
    rows = _ridge_rows(
        features, bold, train, tr, run=run, slice_time_ref=slice_time_ref, sample_mask=sample_mask, volumes=volumes
    )
    learn, run = rows.train, rows.run
    x = _design(rows, features, tr, hrf, delays)
    levels = run if centre_runs else np.zeros(len(run), np.int64)
    x = _standardised(x - run_levels(x, levels, learn), learn)
    level = run_levels(rows.bold, levels, learn, known=False)
    folds = blocked_folds(learn, run, n_folds, ceil(exact(HRF_SECONDS) / exact(tr)))
    wide = x.shape[1] > len(learn)
    tried = np.array(alphas, np.float64)
    model = (KernelRidgeCV if wide else RidgeCV)(alphas=tried, cv=folds, solver_params={"score_func": r2_score})
    with np.errstate(invalid="ignore", divide="ignore"):  # a voxel that is constant in a fold has no R2 there
        model.fit(x[learn], rows.bold[learn] - level[learn])
    # In float32, with the level added, a prediction of little variance would be a constant.
    predicted = np.asarray(model.predict(x), np.float64) + level
    return RidgeFit(predicted, np.asarray(model.best_alphas_), np.asarray(model.cv_scores_), x.shape[1], tried)


@dataclass(frozen=True)
class _RidgeRows:
    """Features and BOLD row by row, checked, and where in the scan they are."""

    features: np.ndarray
    """float64 (n_trs, n_features)."""
    bold: np.ndarray
    """float64 (n_trs, n_voxels)."""
    train: np.ndarray
    """int64: TRs to learn from, ascending, none censored."""
    run: np.ndarray
    """(n_trs,)."""
    volumes: Any
    """The volume of its run that each row is, where it was given or the BOLD lacks volumes."""
    slice_time_ref: float


def _ridge_rows(
    features: Any,
    bold: Any,
    train: np.ndarray,
    tr: float,
    *,
    run: Sequence[int] | np.ndarray | None,
    slice_time_ref: float | None,
    sample_mask: np.ndarray | None,
    volumes: Sequence[int] | np.ndarray | None,
) -> _RidgeRows:
    """What a ridge learns from, with what a Dataset says of itself in the place of what was not given."""
    scan = scan_of(bold, tr=tr, one_run=False) if knows_its_volumes(bold) else None
    ref = _slice_time_ref(slice_time_ref, features, scan)
    x = np.asarray(features, np.float64)
    y = np.asarray(bold if scan is None else scan.data, np.float64)
    learn = np.unique(np.asarray(train, np.int64))
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y):
        raise InputError(
            f"features have shape {x.shape}, BOLD {y.shape}; expected (n_trs, n_features) and (n_trs, n_voxels) "
            "of the same TRs"
        )
    if not len(learn) or learn[0] < 0 or learn[-1] >= len(y):
        raise InputError(
            f"{len(learn)} training TRs of {len(y)}; pass at least one in `train`, each from 0 to {len(y) - 1}"
        )
    if scan is not None:
        run = scan.run if run is None else run
        sample_mask = scan.without(sample_mask).sample_mask
        volumes = _volumes(volumes, features, scan, run_labels(len(y), run))
    if sample_mask is not None:
        learn = learn[censored(sample_mask, len(y))[learn]]
    if not np.isfinite(y[learn]).all():
        raise InputError(f"BOLD holds NaN or infinity in {int((~np.isfinite(y[learn])).any(1).sum())} training TRs")
    check_finite(x, "features")
    return _RidgeRows(x, y, learn, run_labels(len(y), run), volumes, ref)


def _design(
    rows: _RidgeRows, given: Any, tr: float, hrf: str | None, delays: Sequence[float] | None
) -> np.ndarray:  # fmt: skip
    """Features that vary, standardised over training TRs, and convolved; float64 (n_trs, n_columns)."""
    learned = rows.features[rows.train]
    # What only rounding changes has no unit, and what it does later would be any number of deviations.
    varies = np.ptp(learned, axis=0) > ROUNDING * np.abs(learned).max(axis=0)
    if not varies.any():
        raise InputError(f"all {len(varies)} features are constant over the training TRs: nothing to learn from")
    x = _standardised(rows.features[:, varies], rows.train)
    if hrf is not None:
        ref = rows.slice_time_ref
        volumes = rows_in_time(given, rows.volumes, run_slices(len(x), rows.run), "features")
        if hrf == "fir" and delays is None:
            delays = [delay for delay in FIR_DELAYS if delay >= ref * tr]
        x = convolve_hrf(
            x, tr=tr, hrf=hrf, kind=CONTINUOUS, delays=delays if hrf == "fir" else None, run=rows.run, volumes=volumes,
            slice_time_ref=ref,
        )  # fmt: skip
    return x.reshape(len(x), -1)


def _slice_time_ref(given: float | None, features: Any, scan: Scan | None) -> float:
    """What was given, or else what features and BOLD say of themselves, or 0."""
    said = {"features": getattr(features, "attrs", {}).get("slice_time_ref")}
    said["the BOLD"] = None if scan is None else scan.slice_time_ref
    told = {what: float(ref) for what, ref in said.items() if ref is not None}
    if given is None and told and max(told.values()) - min(told.values()) > 1e-6:
        words = ", ".join(f"{what} {ref:g}" for what, ref in told.items())
        raise InputError(f"slice_time_ref differs ({words}); pass slice_time_ref, 0 to 1, as it is in the scan")
    ref = float(next(iter(told.values()), 0.0) if given is None else given)
    check_slice_time_ref(ref)
    return ref


def _volumes(given: Any, features: Any, scan: Scan, run: np.ndarray) -> Any:
    """`given`, or where the BOLD lacks volumes which its rows are, and a check that features are of the same."""
    if scan.volumes is None:
        return given
    volume = getattr(features, "coords", {}).get("volume")
    if volume is not None:
        if not np.array_equal(volume.values, scan.volumes):
            raise AlignmentError(
                f"features are of volumes {volume.values[0]} to {volume.values[-1]}, the BOLD of {scan.volumes[0]} to "
                f"{scan.volumes[-1]}, and not of the same: use features and bold of one align_all_modalities"
            )
        return given  # features that know their volumes are refused where some are missing
    lacks = bool(((np.diff(scan.volumes) != 1) & (run[1:] == run[:-1])).any())
    return scan.volumes if given is None and lacks else given


def _standardised(x: np.ndarray, train: np.ndarray) -> np.ndarray:
    spread = x[train].std(axis=0)
    return (x - x[train].mean(axis=0)) / np.where(spread > 1e-12, spread, 1.0)


def blocked_folds(trs: np.ndarray, run: np.ndarray, n_folds: int, gap_trs: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Contiguous folds with a gap around the part left out, so that no response is on both sides.

    Parameters
    ----------
    trs : ndarray of int, ascending
        TRs to divide.
    run : ndarray, shape (n_trs_of_the_scan,)
        Run of each TR: no gap is needed from run to run.
    n_folds : int
        At least 2.
    gap_trs : int

    Returns
    -------
    list of (learn, test)
        Places in `trs`, as scikit-learn's splitters give them.

    Raises
    ------
    InputError
        If a fold would have nothing to learn from or to test on.

    Examples
    --------
    >>> learn, test = blocked_folds(np.arange(10), np.ones(10), 2, 2)[0]
    >>> learn.tolist(), test.tolist()
    ([7, 8, 9], [0, 1, 2, 3, 4])
    """
    if n_folds < 2 or len(trs) < 2 * n_folds:
        raise InputError(
            f"{len(trs)} training TRs in {n_folds} folds: use at least 2 folds, and 2 TRs or more for each"
        )
    folds = []
    for test in np.array_split(np.arange(len(trs)), n_folds):
        near = np.zeros(len(run), bool)
        for start, stop in segments(trs[test], run):
            near[max(0, start - gap_trs) : stop + gap_trs] |= (
                run[max(0, start - gap_trs) : stop + gap_trs] == run[start]
            )
        learn = np.flatnonzero(~near[trs])
        if len(learn) < 2:
            raise InputError(
                f"{len(trs)} training TRs in {n_folds} folds leave {len(learn)} TRs to learn from beyond gaps of "
                f"{gap_trs} TRs: use fewer folds or a longer scan"
            )
        folds.append((learn, test))
    return folds
