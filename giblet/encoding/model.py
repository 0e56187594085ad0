"""Voxelwise encoding models: ridge from features of a film to BOLD, in scikit-learn's manner."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.model_selection import check_cv
from sklearn.utils.validation import check_is_fitted

from giblet.alignment.kernels import HRF
from giblet.data.splits import run_of_trs
from giblet.encoding import checks
from giblet.encoding.folds import RUNS, BlockedFolds
from giblet.encoding.preparation import Band, Response, bands_of, check_rows, option_of
from giblet.encoding.ridge import ALPHAS, RidgeSolution, candidates, checked_alphas, solve_ridge_cv
from giblet.encoding.saving import read_fit, save_fit
from giblet.encoding.targets import BATCH, TrainingTargets
from giblet.errors import InputError
from giblet.evaluation.statistics import correlations

log = logging.getLogger(__name__)
FOR_A_GPU = 1e10
"""Multiplications from which ``backend="auto"`` takes a graphics card, if there is one."""


class EncodingModel(RegressorMixin, BaseEstimator):
    """Ridge regression from one band of features, or several, to BOLD; each voxel with penalties of its own.

    ``bold = sum_b x_b w_b + intercept``, with the ``w`` of least ``|error|^2 + sum_b alpha / gamma_b |w_b|^2``. In each
    voxel ``alpha``, and with several bands their weights ``gamma`` of sum 1, are those that predict folds left out
    best. With one band it is himalaya's ``RidgeCV``, with several its ``GroupRidgeCV``: the same candidates from the
    same seed, solved without forming predictions (:mod:`giblet.encoding.eigen`).

    Parameters
    ----------
    alphas : array_like of float
        Penalties to try.
    cv : int, "runs", splitter or list of (train, test)
        Folds of the training rows. A number, or ``"runs"``, stands for ``BlockedFolds(cv, tr=tr)``.
    tr : float, optional
        Repetition time in seconds: needed with `hrf` or `delays`, and where `cv` is a number or ``"runs"``.
    hrf : str or callable, optional
        Convolve all bands with this response, as :func:`giblet.alignment.convolve_hrf`; None: they are already.
    delays : sequence of float, optional
        Copies of all bands at these seconds instead.
    slice_time_ref : float
        When in its TR a volume is read, 0 (onset) to 1; for `hrf` and `delays`.
    scale : {"columns", "band", None} or mapping of str to such
        What is done to each band, by deviations over the training rows. ``"columns"``: each column gets variance 1.
        ``"band"``: all columns are divided by one number, so that their mean variance is 1 and they keep their own
        scale, as components of a PCA should. None: columns are centred and nothing else.
    n_components : int, float or mapping of str to such, optional
        PCA of each band, fitted on the training rows after `scale`: so many components, or as many as explain this
        share of the variance. They keep their own scale.
    scoring : {"r2", "neg_mse"}
        What is maximised over the folds; see :func:`giblet.encoding.ridge.solve_ridge_cv`.
    n_iter : int
        Candidates of the random search, with several bands; the first has equal weights.
    backend : {"auto", "numpy", "torch", "torch_cuda"}
        "auto": a CUDA device for large problems where there is one, else numpy.
    n_targets_batch : int or "auto"
        Voxels at a time.
    random_state : int or None
        Seed of the search and of PCA.

    Attributes
    ----------
    coef_ : ndarray of float, shape (n_delays, n_features, n_voxels), or dict of str to such
        Weights of the prepared columns (scaled, components); a dict by band where bands were given. NaN in voxels that
        were left out.
    intercept_ : ndarray of float64, shape (n_voxels,)
    best_alphas_ : ndarray of float64, shape (n_voxels,)
    band_weights_ : ndarray of float64, shape (n_bands, n_voxels)
        ``gamma``; the penalty of a band is ``best_alphas_ / band_weights_``.
    cv_scores_ : ndarray of float64, shape (n_voxels,)
        Mean over the folds left out, with what was chosen: optimistic, as it was chosen by it.
    bands_ : dict of str to Band
    fitted_voxels_ : ndarray of bool, shape (n_voxels,)
        False: constant or not finite over the training rows; predictions and scores are NaN there.
    notes_ : list of str
        What is off, in sentences.

    See Also
    --------
    giblet.encoding.bands : Scores by band.
    giblet.encoding.BlockedFolds : Folds.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal((200, 3))
    >>> bold = x @ rng.standard_normal((3, 2)) + rng.standard_normal((200, 2))
    >>> model = EncodingModel(cv=5, tr=2.0).fit(x[:150], bold[:150])
    >>> bool((model.score(x[150:], bold[150:]) > 0.5).all())
    True
    """

    def __init__(  # 13 parameters: the options of an estimator are its parameters, or get_params would not know them
        self,
        alphas: Sequence[float] | np.ndarray = ALPHAS,
        cv: Any = 5,
        *,
        tr: float | None = None,
        hrf: HRF | None = None,
        delays: Sequence[float] | None = None,
        slice_time_ref: float = 0.0,
        scale: Any = "columns",
        n_components: Any = None,
        scoring: str = "r2",
        n_iter: int = 100,
        backend: str = "auto",
        n_targets_batch: int | str = "auto",
        random_state: int | None = 0,
    ) -> None:
        self.alphas = alphas
        self.cv = cv
        self.tr = tr
        self.hrf = hrf
        self.delays = delays
        self.slice_time_ref = slice_time_ref
        self.scale = scale
        self.n_components = n_components
        self.scoring = scoring
        self.n_iter = n_iter
        self.backend = backend
        self.n_targets_batch = n_targets_batch
        self.random_state = random_state

    def fit(self, X: Any, bold: Any, *, run: Any = None, train: Any = None) -> EncodingModel:
        """Learn from training rows.

        Parameters
        ----------
        X : array_like of float, shape (n_trs, n_features), or mapping of str to such
            One array is one band. Codes are refused.
        bold : array_like of number, shape (n_trs, n_voxels)
        run : array_like, shape (n_trs,), optional
            Run of each row: nothing is convolved across runs, and the level of each run, its mean over the training
            rows, is taken out of features and BOLD, so that runs with other baselines teach nothing by them.
        train : array_like of int, or of bool (n_trs,), optional
            Rows to learn from; features of the others are convolved too, so that a response goes on over the border.
            By default all.

        Returns
        -------
        EncodingModel
            Itself.

        Raises
        ------
        InputError
            If a band is codes, holds NaN or has no column that changes, or an option is out of range.
        AlignmentError
            If features and BOLD have different numbers of rows, or features were convolved already.
        """
        features = bands_of(X)
        n_trs = len(bold)
        check_rows(features, n_trs)
        tried = checked_alphas(self.alphas)
        rows = _training_rows(train, n_trs)
        labels = None if run is None else run_of_trs(n_trs, run)
        targets = TrainingTargets(bold, rows, labels)
        columns = self._fit_bands(features, rows, labels)
        folds = self._folds(rows, n_trs, labels)
        x = np.concatenate([columns.pop(name)[rows] for name in features], axis=1)
        band = np.repeat(np.arange(len(features)), [int(np.prod(own.shape)) for own in self.bands_.values()])
        self.dtype_ = np.dtype(np.float64 if targets.bold.dtype == np.float64 else np.float32)
        solution = solve_ridge_cv(
            x, targets, folds, tried,
            band=band, gammas=candidates(len(features), self.n_iter, self.random_state), scoring=self.scoring,
            n_targets_batch=self.n_targets_batch, backend=self._backend(x.shape, targets.shape[1]), dtype=self.dtype_,
        )  # fmt: skip
        self.one_array_, self.by_run_ = not isinstance(X, Mapping), labels is not None
        self._keep(solution, targets)
        self.notes_ = [
            *checks.about_voxels(targets.n_constant, targets.n_not_finite, len(targets.fitted)),
            *checks.about_features(self.bands_, x, self._columns()),
            *checks.about_penalties(solution.alphas, tried),
        ]
        for note in self.notes_:
            log.warning(note)
        return self

    def _fit_bands(self, features: Mapping[str, Any], rows: np.ndarray, run: np.ndarray | None) -> dict[str, Any]:
        names, self.bands_, columns = list(features), {}, {}
        for name, given in features.items():
            self.bands_[name], columns[name] = Band.fit(
                name, given, rows, self._response(), run, by_run=run, random_state=self.random_state,
                scale=option_of(name, self.scale, names, "scale"),
                n_components=option_of(name, self.n_components, names, "n_components"),
            )  # fmt: skip
        if not any(band.varies.any() for band in self.bands_.values()):
            raise InputError("all features are constant over the training TRs: nothing to learn from")
        return columns

    def _response(self) -> Response:
        if self.hrf is not None and self.delays is not None:
            raise InputError("both hrf and delays were given: delays are a response of their own, leave hrf out")
        return Response(
            self.tr, self.hrf, None if self.delays is None else tuple(map(float, self.delays)), self.slice_time_ref
        )

    def _folds(self, rows: np.ndarray, n_trs: int, run: np.ndarray | None) -> list[tuple[np.ndarray, np.ndarray]]:
        cv = self.cv
        if isinstance(cv, (int, np.integer)) or cv == RUNS:
            if self.tr is None:
                raise InputError(f"cv={cv!r} makes folds with a gap in seconds: give tr, or a splitter as cv")
            cv = BlockedFolds(cv, tr=self.tr)
        if isinstance(cv, BlockedFolds) and (cv.run is None or len(cv.run) == n_trs):
            known = run if cv.run is None else cv.run
            return cv.of_rows(rows, run_of_trs(n_trs, known), known=known is not None)
        return list(check_cv(cv).split(np.empty((len(rows), 0)), None, None if run is None else run[rows]))

    def _backend(self, shape: tuple[int, ...], n_voxels: int) -> str:
        if self.backend != "auto":
            return self.backend
        large = float(shape[0]) * min(shape) * n_voxels > FOR_A_GPU
        return "torch_cuda" if large and torch.cuda.is_available() else "numpy"

    def _keep(self, solution: RidgeSolution, targets: TrainingTargets) -> None:
        fitted = targets.fitted
        self.fitted_voxels_ = fitted

        def spread_out(values: np.ndarray) -> np.ndarray:
            if fitted.all():
                return values
            whole = np.full((*values.shape[:-1], len(fitted)), np.nan, values.dtype)
            whole[..., fitted] = values
            return whole

        self.weights_ = spread_out(solution.coef)
        self.offset_ = spread_out(solution.intercept)  # without the level, which float32 might not resolve
        self.level_ = spread_out(targets.level[fitted])
        self.best_alphas_, self.cv_scores_ = spread_out(solution.alphas), spread_out(solution.cv_scores)
        self.band_weights_ = spread_out(solution.gammas)
        self.bold_spread_ = targets.spread

    @property
    def intercept_(self) -> np.ndarray:
        """float64 (n_voxels,): the prediction where all prepared features are 0, their mean."""
        return self.offset_ + self.level_

    @property
    def coef_(self) -> Any:
        """Weights, (n_delays, n_features, n_voxels), by band where bands were given."""
        by_band = {
            name: self.weights_[own].reshape(*self.bands_[name].shape, -1) for name, own in self._columns().items()
        }
        return next(iter(by_band.values())) if self.one_array_ else by_band

    def _columns(self) -> dict[str, slice]:
        """Of each band among those of all."""
        stops = np.cumsum([int(np.prod(band.shape)) for band in self.bands_.values()])
        return {
            name: slice(int(stop) - int(np.prod(band.shape)), int(stop))
            for (name, band), stop in zip(self.bands_.items(), stops, strict=True)
        }

    def predict(self, X: Any, *, run: Any = None) -> np.ndarray:
        """BOLD that the features predict, for a film of the fit or any other.

        Parameters
        ----------
        X : array_like of float, shape (n_trs, n_features), or mapping of str to such
            As in `fit`; means, scales and components are those of the training rows.
        run : array_like, shape (n_trs,), optional
            Run of each row; all is one run without it. Of a model that was fitted with ``run``, features of each run
            are centred by their own mean.

        Returns
        -------
        ndarray, shape (n_trs, n_voxels)
            float32, or float64 if the fit's BOLD was. NaN in voxels that were left out.

        Raises
        ------
        InputError
            If bands or their columns are others than those of the fit, or hold NaN.
        """
        x = self.prepare(X, run)
        predicted = np.empty((len(x), self.weights_.shape[1]), self.dtype_)
        for batch in self.batches():
            predicted[:, batch] = x @ self.weights_[:, batch] + self.intercept_[batch]
        return predicted

    def score(self, X: Any, bold: Any, *, run: Any = None) -> np.ndarray:
        """Pearson correlation of predicted and measured BOLD, voxel by voxel.

        Parameters
        ----------
        X : array_like of float, shape (n_trs, n_features), or mapping of str to such
        bold : array_like of number, shape (n_trs, n_voxels)
            Of rows that were not in the fit.
        run : array_like, shape (n_trs,), optional
            Run of each row: correlations are within runs, their mean weighted by TRs.

        Returns
        -------
        ndarray of float64, shape (n_voxels,)
            0 where the prediction never changes; NaN where the voxel does not, holds NaN, or was left out of the fit.
            scikit-learn's searches want one number: give them ``scoring=giblet.encoding.mean_r``.

        Raises
        ------
        InputError
            As :meth:`predict`, or if there are fewer than 3 rows or another number of voxels.
        """
        x = self.prepare(X, run)
        measured = self.checked_bold(bold, len(x))
        labels = None if run is None else np.asarray(run)
        r = np.full(measured.shape[1], np.nan)
        for batch in self.batches():
            truth = np.asarray(measured[:, batch], np.float64)
            own = self.fitted_voxels_[batch] & np.isfinite(truth).all(0)
            # Without the level, which may be so large that a prediction of little variance becomes a constant.
            predicted = x @ self.weights_[:, batch][:, own]
            if own.any():
                r[np.arange(len(r))[batch][own]] = correlations(truth[:, own], predicted, labels).r
        return r

    def prepare(self, X: Any, run: Any = None) -> np.ndarray:
        """Features as the weights multiply them; says in the log what about them is unlike training.

        Parameters
        ----------
        X : array_like of float, shape (n_trs, n_features), or mapping of str to such
        run : array_like, shape (n_trs,), optional

        Returns
        -------
        ndarray of float64, shape (n_trs, n_columns)
            Columns of all bands, band by band, delay by delay.

        Raises
        ------
        InputError
            As :meth:`predict`.
        """
        check_is_fitted(self, "bands_")
        features = bands_of(X)
        told = {name: values.shape[1] for name, values in features.items()}
        known = {name: band.n_features for name, band in self.bands_.items()}
        if told != known:
            raise InputError(f"the model was fitted on bands {_said(known)}; given are {_said(told)}: give the same")
        n_trs = len(next(iter(features.values())))
        labels = None if run is None else run_of_trs(n_trs, run)
        by_run = (np.zeros(n_trs, np.int64) if labels is None else labels) if self.by_run_ else None
        x = [band.prepared(features[name], self._response(), labels, by_run) for name, band in self.bands_.items()]
        spread = {f"band {name!r}": np.sqrt(own.var(0).mean()) for name, own in zip(self.bands_, x, strict=True)}
        expected = {f"band {name!r}": float(band.spread[0]) for name, band in self.bands_.items()}
        for note in checks.about_another_film(spread, expected):
            log.warning(note)
        return np.concatenate([x[list(self.bands_).index(name)] for name in self.bands_], axis=1)

    def checked_bold(self, bold: Any, n_trs: int) -> np.ndarray:
        """BOLD of so many rows and the voxels of the fit; says in the log if it varies unlike training.

        Parameters
        ----------
        bold : array_like of number, shape (n_trs, n_voxels)
        n_trs : int

        Returns
        -------
        ndarray

        Raises
        ------
        InputError
            If it has another shape.
        """
        measured = np.asarray(bold)
        if measured.shape != (n_trs, self.weights_.shape[1]):
            raise InputError(
                f"BOLD has shape {measured.shape}: ({n_trs}, {self.weights_.shape[1]}) is needed, TRs of the features "
                "and voxels of the fit"
            )
        own = np.flatnonzero(self.fitted_voxels_)[:: max(1, int(self.fitted_voxels_.sum()) // 1000)]
        here = float(np.nanmedian(np.asarray(measured[:, own], np.float64).std(0)))
        there = float(np.median(self.bold_spread_[own]))
        for note in checks.about_another_film({"the BOLD": here}, {"the BOLD": there}):
            log.warning(note)
        return measured

    def batches(self) -> Iterator[slice]:
        """Voxels, some thousands at a time.

        Yields
        ------
        slice
        """
        for start in range(0, self.weights_.shape[1], BATCH):
            yield slice(start, start + BATCH)

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
            If the HRF is a function, or the file cannot be written.
        """
        check_is_fitted(self, "bands_")
        return save_fit(self, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> EncodingModel:
        """Read a fit of :meth:`save`.

        Parameters
        ----------
        path : str or Path

        Returns
        -------
        EncodingModel
            Predicts as the one that was saved. Folds of another splitter than BlockedFolds are not saved with it.

        Raises
        ------
        CheckpointError
            If the file is damaged, or of another version.
        """
        return read_fit(cls, Path(path))


def mean_r(model: EncodingModel, X: Any, bold: Any) -> float:
    """Mean correlation over voxels, as ``scoring=`` of scikit-learn's searches.

    Parameters
    ----------
    model : estimator
        A fitted EncodingModel, or a Pipeline that ends in one.
    X : array_like of float, shape (n_trs, n_features)
    bold : array_like of number, shape (n_trs, n_voxels)

    Returns
    -------
    float
    """
    return float(np.nanmean(model.score(X, bold)))


def _training_rows(train: Any, n_trs: int) -> np.ndarray:
    if train is None:
        return np.arange(n_trs)
    given = np.asarray(train)
    if given.dtype == bool and given.shape == (n_trs,):
        return np.flatnonzero(given)
    if given.ndim != 1 or given.dtype.kind not in "iu" or not len(given) or given.min() < 0 or given.max() >= n_trs:
        raise InputError(f"train has shape {given.shape}, {given.dtype}: rows of the {n_trs} TRs are needed")
    return np.unique(given)


def _said(columns: Mapping[str, int]) -> str:
    return ", ".join(f"{name!r} ({count} columns)" for name, count in columns.items())
