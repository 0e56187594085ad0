"""Ridge on a scan that says its own clock: runs, censoring, missing volumes and slice timing are read from the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from giblet.alignment.kernels import check_slice_time_ref
from giblet.alignment.scan import Scan, censored, knows_its_volumes, scan_of
from giblet.data.dataset.normalise import run_levels
from giblet.encoding.delays import DELAYS
from giblet.encoding.folds import BlockedFolds
from giblet.encoding.given import training_rows
from giblet.encoding.model import EncodingModel
from giblet.encoding.ridge import ALPHAS
from giblet.errors import AlignmentError, InputError
from giblet.notebook import html_table
from giblet.runs import run_labels

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class RidgeFit:
    """A ridge regression from features to BOLD, fitted on training TRs."""

    predicted: np.ndarray
    """float64 (n_trs, n_voxels), in the units of the BOLD: the prediction for all TRs, of which only those of no
    training are evidence. The level of a run is that of its training TRs; of a run without any, the others' mean."""
    alphas: np.ndarray
    """float64 (n_voxels,): the penalty chosen in each voxel; NaN where it never changes over the training TRs."""
    cv_r2: np.ndarray
    """float64 (n_voxels,): R2 of the folds left out of the training TRs, with the penalty chosen, mean over folds, by
    fits to which even the mean of the fold was unknown; NaN where the voxel never changes."""
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


# 12 parameters: data, their clock, and how to fit; scripts pass `tr` by position.
def fit_ridge(
    features: Any,
    bold: Any,
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
) -> RidgeFit:
    """Ridge regression from features, convolved with an HRF, to BOLD; each voxel with its own penalty.

    An :class:`giblet.encoding.EncodingModel` of one band, fitted on the training TRs of a scan with
    :class:`giblet.encoding.BlockedFolds`, and its prediction for all TRs of that scan. What BOLD and features say of
    themselves, as :func:`giblet.alignment.align_all_modalities` returns them, need not be said again. The level of each
    run, its mean over training TRs, is taken out of BOLD and features, so that runs with other baselines teach nothing
    by them.

    Parameters
    ----------
    features : ndarray or DataArray of float, shape (n_trs, n_features)
        Of all TRs. Codes are categories: give their latents, or counts of each entry. What
        :func:`giblet.alignment.align_all_modalities` returns is refused where rows are no neighbours in time.
    bold : ndarray of float, shape (n_trs, n_voxels), DataArray or Dataset with ``bold``
        Row by row the TRs of `features`. A Dataset says itself its ``run``, its ``sample_mask``, and by its ``onset``
        which volumes are missing.
    train : ndarray of int, or of bool (n_trs,)
        TRs to learn from, as ``make_splits(...).train``. Means, deviations and penalties come from these alone.
    tr : float
        Repetition time in seconds.
    run : array_like, shape (n_trs,), optional
        Run of each TR; nothing is convolved across runs.
    hrf : str or None
        ``"glover"``, ``"spm"`` or ``"fir"``; None for features that are convolved already.
    delays : sequence of float, optional
        Seconds, for ``"fir"``; by default those of :data:`giblet.encoding.delays.DELAYS` that do not reach beyond the
        volume's own TR.
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

    Returns
    -------
    RidgeFit

    Raises
    ------
    InputError
        If features are whole numbers, shapes or options are not allowed, values are not finite, nothing varies, or
        there are too few training TRs.
    AlignmentError
        If features and BOLD have different numbers of TRs, or are of different volumes, features are convolved already,
        or their rows are no neighbours in time.

    See Also
    --------
    EncodingModel : the estimator, for other films, several bands, weights, and saving.
    giblet.evaluation.encoding.voxelwise_r : correlation of ``predicted`` with BOLD of no training, voxel by voxel.
    giblet.evaluation.encoding.score_encoding : the same with an interval and its chance.

    Examples
    --------
    >>> from giblet.alignment import convolve_hrf
    >>> rng = np.random.default_rng(0)
    >>> features = rng.standard_normal((300, 4))
    >>> response = convolve_hrf(features, tr=1.5, kind="continuous") @ rng.standard_normal((4, 2))
    >>> bold = response + rng.standard_normal((300, 2))
    >>> predicted = fit_ridge(features, bold, np.arange(200), 1.5).predicted
    >>> [round(float(np.corrcoef(bold[220:, voxel], predicted[220:, voxel])[0, 1]), 2) for voxel in (0, 1)]
    [0.78, 0.87]
    """
    scan = scan_of(bold, tr=tr, one_run=False) if knows_its_volumes(bold) else None
    ref = _slice_time_ref(slice_time_ref, features, scan)
    measured = np.asarray(bold if scan is None else scan.data, np.float64)
    n_trs = len(measured)
    if scan is not None:
        run = scan.run if run is None else run
        sample_mask = scan.without(sample_mask).sample_mask
        volumes = _volumes(volumes, features, scan, run_labels(n_trs, run))
    learn = _learned(train, measured, sample_mask)
    if delays is not None and hrf != "fir":
        raise InputError(f"delays are given and hrf is {hrf!r}: delays are for hrf='fir', leave them out or set it")
    if hrf == "fir":
        hrf, delays = None, [own for own in DELAYS if own >= ref * tr] if delays is None else delays
    model = EncodingModel(alphas, BlockedFolds(n_folds, tr=tr), tr=tr, hrf=hrf, delays=delays, slice_time_ref=ref)
    model.fit(features, measured, run=run, train=learn, volumes=volumes)
    predicted = model.predict(features, run=run, volumes=volumes)
    predicted[:, ~model.fitted_voxels_] = 0  # constant over training: its level alone
    labels = run_labels(n_trs, run)
    # `predict` knows no levels of runs, and centres features by all TRs of a run: here those of training count.
    predicted += run_levels(measured, labels, learn, known=False) - run_levels(predicted, labels, learn)
    n_features = sum(int(band.varies.sum()) * band.shape[0] for band in model.bands_.values())
    return RidgeFit(predicted, model.best_alphas_, model.cv_scores_, n_features, np.array(alphas, np.float64))


def _learned(train: Any, bold: np.ndarray, sample_mask: Any) -> np.ndarray:
    """Training TRs, ascending, without censored ones; a refusal of NaN in them."""
    learn = training_rows(train, len(bold))
    if sample_mask is not None:
        learn = learn[censored(sample_mask, len(bold))[learn]]
    bad = int((~np.isfinite(bold[learn]).all(axis=tuple(range(1, bold.ndim)))).sum())
    if bad:
        raise InputError(f"BOLD holds NaN or infinity in {bad} training TRs: leave them out of train, or censor them")
    return learn


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
