"""Decoding models: ridge from windows of BOLD to features of a film, in scikit-learn's manner."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from giblet.alignment.scan import censored
from giblet.data.splits import HRF_SECONDS
from giblet.encoding import checks
from giblet.encoding.engine import engine_for
from giblet.encoding.folds import BlockedFolds, folds_of
from giblet.encoding.given import SCALES, refuse_codes, training_rows
from giblet.encoding.ridge import ALPHAS, RidgeSolution, checked_alphas, solve_ridge_cv
from giblet.encoding.saving import read_arrays, write_fit
from giblet.encoding.targets import TrainingTargets
from giblet.encoding.windows import Cleaning, Volumes, WindowBasis, batches, lags_of, window_rows
from giblet.errors import AlignmentError, CheckpointError, InputError
from giblet.runs import run_labels
from giblet.statistics.correlation import correlations

log = logging.getLogger(__name__)
FORMAT = "giblet-decoding-1"
ARRAYS = (
    "coef_", "intercept_", "best_alphas_", "cv_scores_", "fitted_voxels_", "fitted_features_", "lags_",
)  # fmt: skip


class DecodingModel(RegressorMixin, BaseEstimator):
    """Ridge regression from the volumes after a TR to features of that TR; each feature with a penalty of its own.

    ``features[t] = sum_l bold[t + lags_[l]] @ coef_[l] + intercept_``. BOLD is standardised voxel by voxel before it is
    penalised, and each feature has the penalty that predicts folds left out best. Where voxels times volumes of a
    window are more than training TRs, the fit is made in the span of the training windows: the same weights, for any
    number of voxels. What is learned, means and deviations too, is read from the training rows alone.

    Parameters
    ----------
    alphas : array_like of float
        Penalties to try.
    cv : int, "runs", splitter or list of (train, test)
        Folds of the rows that are learned from. A number, or ``"runs"``, stands for ``BlockedFolds(cv, tr=tr)``.
    tr : float
        Repetition time in seconds.
    window : (float, float)
        From and to which second after the TR's onset the volumes of its window begin, both included: at a TR of 2 s
        ``(2.0, 10.0)`` are the five that follow the TR's own; ``(0.0, (n - 1) * tr)`` are `n` from the TR's own on.
    high_pass : float, optional
        In Hz. Mean, line, parabola and slower cosines are taken out of BOLD and features, in each run; what is
        predicted is then features without them. Needs rows of whole runs, or of parts that are long beside it.
    scale : {"columns", "band", None}
        ``"columns"``: each voxel gets variance 1 over the training volumes. ``"band"``: all are divided by one number,
        so that they keep their own scale, as components of a PCA should. None: by none.
    n_components : int, optional
        PCA of the training volumes first, after `scale`: fewer numbers for very long scans of very many voxels.
        Components keep their own scale.
    scoring : {"r2", "neg_mse"}
        What is maximised over the folds; see :func:`giblet.encoding.ridge.solve_ridge_cv`.
    backend : {"auto", "numpy", "torch", "torch_cuda"}
        "auto": a CUDA device for large problems where there is one, else numpy.
    n_targets_batch : int or "auto"
        Features at a time.

    Attributes
    ----------
    coef_ : ndarray of float, shape (n_lags, n_voxels, n_features)
        In units of the features by units of the BOLD; 0 in voxels that were left out, NaN for features that were.
    intercept_ : ndarray of float64, shape (n_features,)
    lags_ : ndarray of int64, shape (n_lags,)
        How many volumes after the TR's own each volume of the window is.
    best_alphas_ : ndarray of float64, shape (n_features,)
    cv_scores_ : ndarray of float64, shape (n_features,)
        Mean over the folds left out, with what was chosen: optimistic, as it was chosen by it.
    fitted_voxels_ : ndarray of bool, shape (n_voxels,)
        False: constant or not finite over the training volumes; no weight.
    fitted_features_ : ndarray of bool, shape (n_features,)
        False: constant over the training rows; predictions and scores are NaN there.
    learned_rows_ : ndarray of int64
        Training rows of which the whole window lies in training volumes; not saved.
    notes_ : list of str
        What is off, in sentences.

    See Also
    --------
    EncodingModel : The other way, from features to BOLD.
    giblet.evaluation.identification : Which passage of a story was heard, by what is decoded.

    Notes
    -----
    With `run`, or `high_pass`, the level of each run is taken out of BOLD and features first, and the formula holds for
    BOLD without it: in training the mean of the run's training volumes, in :meth:`predict` of all its volumes that are
    given. Without either the formula holds for BOLD as it is.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> heard = rng.standard_normal((300, 2))
    >>> bold = np.roll(heard, 2, axis=0) @ rng.standard_normal((2, 40)) + rng.standard_normal((300, 40))
    >>> model = DecodingModel(tr=2.0, window=(2.0, 6.0)).fit(bold, heard, train=np.arange(200))
    >>> bool((model.score(bold[220:], heard[220:]) > 0.8).all())
    True
    """

    lags_: np.ndarray
    coef_: np.ndarray
    intercept_: np.ndarray
    best_alphas_: np.ndarray
    cv_scores_: np.ndarray
    fitted_voxels_: np.ndarray
    fitted_features_: np.ndarray
    learned_rows_: np.ndarray
    by_run_: bool
    notes_: list[str]

    def __init__(
        self,
        alphas: Sequence[float] | np.ndarray = ALPHAS,
        cv: Any = 5,
        *,
        tr: float,
        window: tuple[float, float] = (0.0, 12.0),
        high_pass: float | None = None,
        scale: str | None = "columns",
        n_components: int | None = None,
        scoring: str = "r2",
        backend: str = "auto",
        n_targets_batch: int | str = "auto",
    ) -> None:
        self.alphas = alphas
        self.cv = cv
        self.tr = tr
        self.window = window
        self.high_pass = high_pass
        self.scale = scale
        self.n_components = n_components
        self.scoring = scoring
        self.backend = backend
        self.n_targets_batch = n_targets_batch

    def fit(
        self, X: Any, features: Any, *, run: Any = None, train: Any = None, volumes: Any = None, sample_mask: Any = None
    ) -> Self:
        """Learn from training rows.

        Parameters
        ----------
        X : array_like or DataArray of number, shape (n_trs, n_voxels)
            BOLD.
        features : array_like of float, shape (n_trs, n_features)
            Row by row of the TRs of `X`. Codes are refused.
        run : array_like, shape (n_trs,), optional
            Run of each row: no window crosses a run's border, and the level of each run, its mean over the training
            rows, is taken out of BOLD and features.
        train : array_like of int, or of bool (n_trs,), optional
            Rows to learn from; by default all. Of other rows neither BOLD nor features are looked at, so that a row
            whose window reaches beyond them is not learned from.
        volumes : array_like of int, shape (n_trs,), optional
            The volume of its run that each row is, where rows are missing; without it rows are neighbours in time
            within their run. A row is learned from if its whole window is there.
        sample_mask : ndarray of bool, shape (n_trs,), optional
            False: the volume is censored, and rows with it in their window are not learned from; its BOLD may be NaN.

        Returns
        -------
        DecodingModel
            Itself.

        Raises
        ------
        InputError
            If features are codes or NaN in training rows, no voxel can be used, no window is whole, or an option is
            out of range.
        AlignmentError
            If BOLD and features have different numbers of rows, or rows are no neighbours in time.
        """
        self.lags_, tried = lags_of(self.window, self.tr), checked_alphas(self.alphas)
        bold, heard = _checked_bold(X), _features(features, len(X))
        rows = training_rows(train, len(bold))
        labels = None if run is None else run_labels(len(bold), run)
        usable = np.zeros(len(bold), bool)
        usable[rows] = True if sample_mask is None else censored(sample_mask, len(bold))[rows]
        windows = window_rows(X, self.lags_, labels, volumes, usable)
        learned = rows[(windows[rows] >= 0).all(1)]
        if len(learned) < 2:
            raise InputError(
                f"{len(learned)} of {len(rows)} training rows have a whole window, {len(self.lags_)} volumes of their "
                "run that are learned from too: use a shorter window or more rows"
            )
        held = np.flatnonzero(usable)
        voxels = TrainingTargets(bold, held, labels)
        measured = Volumes.of(bold, self._cleaning(held, labels, len(bold), volumes), voxels.voxels, self._scale())
        basis = WindowBasis.of(measured, np.searchsorted(held, windows[learned]), self._n_components())
        clean = self._cleaning(rows, labels, len(bold), volumes)
        targets, level = _targets(heard, clean, learned)
        solution = solve_ridge_cv(
            basis.x, targets, self._folds(learned, labels, len(bold)), tried,
            scoring=self.scoring, n_targets_batch=self.n_targets_batch, dtype=np.float64,
            backend=engine_for(self.backend, basis.x.shape, targets.shape[1]),
        )  # fmt: skip
        self._keep(solution, basis, voxels.fitted, targets.fitted, level + targets.level)
        if np.float64 not in (bold.dtype, heard.dtype):
            self.coef_ = self.coef_.astype(np.float32)
        self.learned_rows_, self.by_run_ = learned, labels is not None
        self.notes_ = [
            *checks.about_voxels(voxels.n_constant, voxels.n_not_finite, len(voxels.fitted)),
            *checks.about_voxels(targets.n_constant, 0, heard.shape[1], "features"),
            *checks.about_penalties(solution.alphas, tried, "features"),
        ]
        for note in self.notes_:
            log.warning(note)
        return self

    def _cleaning(self, rows: np.ndarray, labels: np.ndarray | None, n_trs: int, volumes: Any) -> Cleaning:
        return Cleaning.of(rows, labels, n_trs, volumes, tr=self.tr, high_pass=self.high_pass)

    def _scale(self) -> str | None:
        if self.scale not in SCALES:
            raise InputError(f"scale is {self.scale!r}: 'columns', 'band' or None is needed")
        return self.scale

    def _n_components(self) -> int | None:
        given = self.n_components
        if given is None or (isinstance(given, (int, np.integer)) and not isinstance(given, bool) and given >= 1):
            return given
        raise InputError(f"n_components is {given!r}: a whole number of at least 1, or None, is needed")

    def _folds(self, rows: np.ndarray, labels: np.ndarray | None, n_trs: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """Folds between which no volume is shared."""
        reach = int(self.lags_[-1] - self.lags_[0])
        cv = self.cv
        if isinstance(cv, (int, np.integer, str)):
            cv = BlockedFolds(cv if isinstance(cv, str) else int(cv), max(HRF_SECONDS, reach * self.tr), tr=self.tr)
        if isinstance(cv, BlockedFolds) and cv.gap_trs < reach:
            raise InputError(
                f"cv leaves a gap of {cv.gap:g} s and windows are {reach * self.tr:g} s long, so that folds would "
                "share volumes: make the gap as long"
            )
        return folds_of(cv, rows, labels, n_trs, tr=self.tr)

    def _keep(
        self, solution: RidgeSolution, basis: WindowBasis, voxels: np.ndarray, features: np.ndarray, level: np.ndarray
    ) -> None:
        """Weights of voxels and features that were fitted, among all there are."""
        weights = basis.weights(solution.coef) / basis.volumes.divisor[:, None]
        self.coef_ = np.zeros((len(self.lags_), len(voxels), len(features)))
        self.coef_[np.ix_(np.arange(len(self.lags_)), np.flatnonzero(voxels), np.flatnonzero(features))] = weights
        self.coef_[:, :, ~features] = np.nan
        # What is predicted for the mean window is the mean of the features.
        mean = solution.intercept + basis.x.mean(0) @ solution.coef
        offset = mean - np.einsum("lv,lvf->f", basis.volumes.mean_of(basis.windows), weights) + level[features]
        self.intercept_, self.best_alphas_, self.cv_scores_ = (np.full(len(features), np.nan) for _ in range(3))
        self.intercept_[features], self.best_alphas_[features] = offset, solution.alphas
        self.cv_scores_[features] = solution.cv_scores
        self.fitted_voxels_, self.fitted_features_ = voxels, features

    def predict(self, X: Any, *, run: Any = None, volumes: Any = None, sample_mask: Any = None) -> np.ndarray:
        """Features that the BOLD tells of, for a scan of the fit or any other on the same voxels.

        Parameters
        ----------
        X : array_like or DataArray of number, shape (n_trs, n_voxels)
            BOLD.
        run : array_like, shape (n_trs,), optional
            Run of each row; all is one run without it.
        volumes : array_like of int, shape (n_trs,), optional
            The volume of its run that each row is, where rows are missing.
        sample_mask : ndarray of bool, shape (n_trs,), optional
            False: the volume is censored; its BOLD may be NaN.

        Returns
        -------
        ndarray, shape (n_trs, n_features)
            float32, or float64 if BOLD or features of the fit were. NaN in rows of which a volume of the window is
            missing, as behind the end of a run, and in features that were left out.

        Raises
        ------
        InputError
            If voxels are others than those of the fit, or one that has weights holds NaN.
        AlignmentError
            If rows are no neighbours in time.
        """
        check_is_fitted(self, "coef_")
        bold = _checked_bold(X)
        if bold.shape[1] != self.coef_.shape[1]:
            raise InputError(f"BOLD has {bold.shape[1]} voxels, the fit {self.coef_.shape[1]}: give the same")
        n_trs = len(bold)
        labels = None if run is None else run_labels(n_trs, run)
        usable = np.ones(n_trs, bool) if sample_mask is None else censored(sample_mask, n_trs)
        held, voxels = np.flatnonzero(usable), np.flatnonzero(self.fitted_voxels_)
        for batch in batches(len(voxels)):
            bad = int((~np.isfinite(bold[:, voxels[batch]][held]).all(1)).sum())
            if bad:
                raise InputError(f"BOLD holds NaN or infinity in {bad} volumes, in voxels of the fit: censor those")
        windows = window_rows(X, self.lags_, labels, volumes, usable)
        rows = np.flatnonzero((windows >= 0).all(1))
        clean = self._cleaning(held, self._levels_of(labels, n_trs), n_trs, volumes)
        own, kept = np.searchsorted(held, windows[rows]), self.fitted_features_
        total = np.zeros((len(rows), int(kept.sum())))
        for batch in batches(len(voxels)):
            values = clean(bold[:, voxels[batch]])
            for lag, places in enumerate(own.T):
                total += values[places] @ self.coef_[lag, voxels[batch]][:, kept]
        found = np.full((n_trs, len(kept)), np.nan, self.coef_.dtype)
        found[np.ix_(rows, np.flatnonzero(kept))] = total + self.intercept_[kept]
        return found

    def _levels_of(self, labels: np.ndarray | None, n_trs: int) -> np.ndarray | None:
        """Runs whose level is taken out, as it was in the fit."""
        if not self.by_run_ and self.high_pass is None:
            return None
        return np.ones(n_trs, np.int64) if labels is None else labels

    def truth(self, features: Any, *, run: Any = None, volumes: Any = None) -> np.ndarray:
        """Features as :meth:`predict` predicts them: without what is slow, where there is a `high_pass`.

        Parameters
        ----------
        features : array_like of float, shape (n_trs, n_features)
            Rows with NaN are not looked at, and stay so.
        run : array_like, shape (n_trs,), optional
            Run of each row.
        volumes : array_like of int, shape (n_trs,), optional
            The volume of its run that each row is.

        Returns
        -------
        ndarray of float64, shape (n_trs, n_features)

        Raises
        ------
        InputError
            If the features are codes, or the high-pass leaves nothing of a run.
        """
        heard = _features(features, len(features))
        if self.high_pass is None:
            return np.array(heard, np.float64)
        rows = np.flatnonzero(np.isfinite(heard).all(1))
        labels = run_labels(len(heard), run)
        found = np.full(heard.shape, np.nan)
        found[rows] = self._cleaning(rows, labels, len(heard), volumes)(heard)
        return found

    def score(
        self, X: Any, features: Any, *, run: Any = None, volumes: Any = None, sample_mask: Any = None
    ) -> np.ndarray:
        """Pearson correlation of predicted features with true ones, feature by feature.

        Parameters
        ----------
        X : array_like of number, shape (n_trs, n_voxels)
            BOLD of rows that were not in the fit.
        features : array_like of float, shape (n_trs, n_features)
            Rows with NaN are left out.
        run, volumes, sample_mask
            As in :meth:`predict`: correlations are within runs, their mean weighted by TRs.

        Returns
        -------
        ndarray of float64, shape (n_features,)
            Over rows whose window is whole. NaN for features that were left out or do not change.

        Raises
        ------
        InputError
            As :meth:`predict`, or if there are fewer than 3 such rows.
        """
        predicted = self.predict(X, run=run, volumes=volumes, sample_mask=sample_mask)
        true = self.truth(features, run=run, volumes=volumes)
        if true.shape != predicted.shape:
            raise AlignmentError(f"features have shape {true.shape}: {predicted.shape} is needed, as BOLD and fit have")
        kept = self.fitted_features_
        rows = np.isfinite(predicted[:, kept]).all(1) & np.isfinite(true).all(1)
        r = np.full(len(kept), np.nan)
        labels = None if run is None else np.asarray(run)[rows]
        r[kept] = correlations(true[rows][:, kept], predicted[rows][:, kept], labels).r
        return r

    def save(self, path: str | Path) -> Path:
        """Write the fit into one safetensors file; nothing in it is executed when it is read.

        Parameters
        ----------
        path : str or Path
            Ends in ``.safetensors``.

        Returns
        -------
        Path

        Raises
        ------
        InputError
            If an option or the file cannot be written.
        """
        check_is_fitted(self, "coef_")
        about = {"by_run": self.by_run_, "notes": self.notes_}
        return write_fit(self, Path(path), FORMAT, about, {name: getattr(self, name) for name in ARRAYS})

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a fit of :meth:`save`.

        Parameters
        ----------
        path : str or Path

        Returns
        -------
        DecodingModel
            Predicts as the one that was saved. Folds of another splitter than BlockedFolds are not saved with it.

        Raises
        ------
        CheckpointError
            If the file is damaged, or of another version.
        """
        remedy = "it is no decoding model, or damaged: a file of DecodingModel.save is needed"
        about, arrays = read_arrays(Path(path), FORMAT, remedy)
        try:
            model = cls(**about["options"])
            for name in ARRAYS:
                setattr(model, name, arrays[name])
            model.by_run_, model.notes_ = bool(about["by_run"]), list(about["notes"])
        except (KeyError, TypeError, InputError) as exc:
            raise CheckpointError(f"{path} holds no decoding model ({type(exc).__name__}: {exc}); fit anew") from exc
        return model


def _checked_bold(bold: Any) -> np.ndarray:
    values = np.asarray(bold)
    if values.ndim != 2 or not all(values.shape) or values.dtype.kind not in "iuf":
        raise InputError(f"BOLD is {values.dtype} of shape {values.shape}: numbers (n_trs, n_voxels) are needed")
    return values


def _features(features: Any, n_trs: int) -> np.ndarray:
    given = features if hasattr(features, "coords") else np.asarray(features)
    refuse_codes("the array of features", given)
    values = np.asarray(given)
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2 or not all(values.shape):
        raise InputError(f"features have shape {values.shape}: (n_trs, n_features) is needed")
    if len(values) != n_trs:
        raise AlignmentError(
            f"features have {len(values)} rows and the BOLD {n_trs}: align them first "
            "(giblet.alignment.align_all_modalities)"
        )
    return values


def _targets(heard: np.ndarray, clean: Cleaning, learned: np.ndarray) -> tuple[TrainingTargets, np.ndarray]:
    """Cleaned features of the rows that are learned from, and the mean over runs of the levels that were taken out."""
    rows = clean.rows
    bad = int((~np.isfinite(heard[rows]).all(1)).sum())
    if bad:
        raise InputError(
            f"features hold NaN or infinity in {bad} of {len(rows)} training rows: leave them out of train"
        )
    whole = np.full(heard.shape, np.nan)
    whole[rows] = clean(heard)
    level = np.zeros(heard.shape[1])
    if clean.by_level:
        level = np.mean([heard[rows[part]].mean(0, dtype=np.float64) for part in clean.parts], axis=0)
    return TrainingTargets(whole, learned, None, what="features", unit="features"), level
