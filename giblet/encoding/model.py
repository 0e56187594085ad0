"""Voxelwise encoding models: ridge from features of a film to BOLD, in scikit-learn's manner."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from giblet.alignment.kernels import HRF
from giblet.encoding import checks
from giblet.encoding.engine import engine_for
from giblet.encoding.fitted import FittedModel
from giblet.encoding.folds import folds_of
from giblet.encoding.given import bands_of, check_rows, option_of, training_rows
from giblet.encoding.preparation import Band, Response
from giblet.encoding.ridge import ALPHAS, RidgeSolution, candidates, checked_alphas, solve_ridge_cv
from giblet.encoding.targets import TrainingTargets
from giblet.errors import InputError
from giblet.runs import run_labels

log = logging.getLogger(__name__)


class EncodingModel(FittedModel, BaseEstimator):
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
        Convolve all bands with this response, as :func:`giblet.alignment.convolve_hrf`; None: they are already. Rows
        must then be neighbours in time within their run: for part of a scan give `fit` the whole and ``train=``; in
        ``cross_val_predict``, which cuts rows out, use features that are convolved already.
    delays : sequence of float, optional
        Copies of all bands at these seconds instead.
    slice_time_ref : float
        When in its TR a volume is read, 0 (onset) to 1; for `hrf` and `delays`.
    convolved : sequence of str
        Bands that are convolved already: neither `hrf` nor `delays` are for them.
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

    def __init__(  # 14 parameters: the options of an estimator are its parameters, or get_params would not know them
        self,
        alphas: Sequence[float] | np.ndarray = ALPHAS,
        cv: Any = 5,
        *,
        tr: float | None = None,
        hrf: HRF | None = None,
        delays: Sequence[float] | None = None,
        slice_time_ref: float = 0.0,
        convolved: Sequence[str] = (),
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
        self.convolved = convolved
        self.scale = scale
        self.n_components = n_components
        self.scoring = scoring
        self.n_iter = n_iter
        self.backend = backend
        self.n_targets_batch = n_targets_batch
        self.random_state = random_state

    def fit(self, X: Any, bold: Any, *, run: Any = None, train: Any = None, volumes: Any = None) -> EncodingModel:
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
        volumes : array_like of int, shape (n_trs,), optional
            The volume of its run that each row is, where rows are missing, as for
            :func:`giblet.alignment.convolve_hrf`; without it rows are neighbours in time within their run.

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
        rows = training_rows(train, n_trs)
        labels = None if run is None else run_labels(n_trs, run)
        targets = TrainingTargets(bold, rows, labels)
        columns = self._fit_bands(features, rows, labels, volumes)
        folds = folds_of(self.cv, rows, labels, n_trs, tr=self.tr)
        x = np.concatenate([columns.pop(name)[rows] for name in features], axis=1)
        band = np.repeat(np.arange(len(features)), [int(np.prod(own.shape)) for own in self.bands_.values()])
        self.dtype_ = np.dtype(np.float64 if targets.bold.dtype == np.float64 else np.float32)
        solution = solve_ridge_cv(
            x, targets, folds, tried,
            band=band, gammas=candidates(len(features), self.n_iter, self.random_state), scoring=self.scoring,
            n_targets_batch=self.n_targets_batch, dtype=self.dtype_,
            backend=engine_for(self.backend, x.shape, targets.shape[1]),
        )  # fmt: skip
        self.one_array_, self.by_run_ = not isinstance(X, Mapping), labels is not None
        self._keep(solution, targets)
        self.notes_ = [
            *checks.about_voxels(targets.n_constant, targets.n_not_finite, len(targets.fitted)),
            *checks.about_features(self.bands_, x, self.columns()),
            *checks.about_penalties(solution.alphas, tried),
        ]
        for note in self.notes_:
            log.warning(note)
        return self

    def _fit_bands(
        self, features: Mapping[str, Any], rows: np.ndarray, run: np.ndarray | None, volumes: Any = None
    ) -> dict[str, Any]:
        names, self.bands_, columns = list(features), {}, {}
        unknown = sorted(set(self.convolved) - set(names))
        if isinstance(self.convolved, str) or unknown:
            raise InputError(
                f"convolved is {self.convolved!r}: a list of bands is needed, which are {', '.join(names)}"
            )
        for name, given in features.items():
            self.bands_[name], columns[name] = Band.fit(
                name, given, rows, self._response(name, volumes), run, by_run=run, random_state=self.random_state,
                scale=option_of(name, self.scale, names, "scale"),
                n_components=option_of(name, self.n_components, names, "n_components"),
            )  # fmt: skip
        if not any(band.varies.any() for band in self.bands_.values()):
            count = sum(band.n_features for band in self.bands_.values())
            raise InputError(f"all {count} features are constant over the training rows: nothing to learn from")
        return columns

    def _response(self, band: str, volumes: Any = None) -> Response:
        if self.hrf is not None and self.delays is not None:
            raise InputError("both hrf and delays were given: delays are a response of their own, leave hrf out")
        if band in self.convolved:
            return Response(self.tr, None, None, self.slice_time_ref)
        delays = None if self.delays is None else tuple(map(float, self.delays))
        return Response(self.tr, self.hrf, delays, self.slice_time_ref, volumes)

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
