"""What a fitted encoding model does: predict, score, give its weights, be saved."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils.validation import check_is_fitted

from giblet.encoding import checks
from giblet.encoding.given import bands_of
from giblet.encoding.preparation import Band, Response
from giblet.encoding.saving import read_fit, save_fit
from giblet.encoding.targets import BATCH
from giblet.errors import InputError
from giblet.runs import run_labels
from giblet.statistics.correlation import correlations

log = logging.getLogger(__name__)


class FittedModel(RegressorMixin):
    """The part of :class:`giblet.encoding.EncodingModel` that needs nothing but what the fit left."""

    bands_: dict[str, Band]
    weights_: np.ndarray
    """float (n_columns, n_voxels): of the prepared columns of all bands, band by band, delay by delay."""
    offset_: np.ndarray
    level_: np.ndarray
    best_alphas_: np.ndarray
    cv_scores_: np.ndarray
    band_weights_: np.ndarray
    bold_spread_: np.ndarray
    fitted_voxels_: np.ndarray
    one_array_: bool
    by_run_: bool
    dtype_: np.dtype
    notes_: list[str]

    def _response(self, band: str, volumes: Any = None) -> Response:
        raise NotImplementedError

    @property
    def intercept_(self) -> np.ndarray:
        """float64 (n_voxels,): the prediction where all prepared features are 0, their mean."""
        return self.offset_ + self.level_

    @property
    def coef_(self) -> Any:
        """Weights, (n_delays, n_features, n_voxels), by band where bands were given."""
        by_band = {
            name: self.weights_[own].reshape(*self.bands_[name].shape, -1) for name, own in self.columns().items()
        }
        return next(iter(by_band.values())) if self.one_array_ else by_band

    def columns(self) -> dict[str, slice]:
        """Where each band stands among the prepared columns.

        Returns
        -------
        dict of str to slice
        """
        stops = np.cumsum([int(np.prod(band.shape)) for band in self.bands_.values()])
        return {
            name: slice(int(stop) - int(np.prod(band.shape)), int(stop))
            for (name, band), stop in zip(self.bands_.items(), stops, strict=True)
        }

    def predict(self, X: Any, *, run: Any = None, volumes: Any = None) -> np.ndarray:
        """BOLD that the features predict, for a film of the fit or any other.

        Parameters
        ----------
        X : array_like of float, shape (n_trs, n_features), or mapping of str to such
            As in `fit`; means, scales and components are those of the training rows.
        run : array_like, shape (n_trs,), optional
            Run of each row; all is one run without it. Of a model that was fitted with ``run``, features of each run
            are centred by their own mean.
        volumes : array_like of int, shape (n_trs,), optional
            The volume of its run that each row is, where rows are missing, as for
            :func:`giblet.alignment.convolve_hrf`.

        Returns
        -------
        ndarray, shape (n_trs, n_voxels)
            float32, or float64 if the fit's BOLD was. NaN in voxels that were left out.

        Raises
        ------
        InputError
            If bands or their columns are others than those of the fit, or hold NaN.
        """
        x = self.prepare(X, run, volumes)
        predicted = np.empty((len(x), self.weights_.shape[1]), self.dtype_)
        for batch in self.batches():
            predicted[:, batch] = x @ self.weights_[:, batch] + self.intercept_[batch]
        return predicted

    def score(self, X: Any, bold: Any, *, run: Any = None, volumes: Any = None) -> np.ndarray:
        """Pearson correlation of predicted and measured BOLD, voxel by voxel.

        Parameters
        ----------
        X : array_like of float, shape (n_trs, n_features), or mapping of str to such
        bold : array_like of number, shape (n_trs, n_voxels)
            Of rows that were not in the fit.
        run : array_like, shape (n_trs,), optional
            Run of each row: correlations are within runs, their mean weighted by TRs.
        volumes : array_like of int, shape (n_trs,), optional
            As in :meth:`predict`.

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
        x = self.prepare(X, run, volumes)
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

    def prepare(self, X: Any, run: Any = None, volumes: Any = None) -> np.ndarray:
        """Features as the weights multiply them; says in the log what about them is unlike training.

        Parameters
        ----------
        X : array_like of float, shape (n_trs, n_features), or mapping of str to such
        run : array_like, shape (n_trs,), optional
        volumes : array_like of int, shape (n_trs,), optional

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
        labels = None if run is None else run_labels(n_trs, run)
        by_run = (np.zeros(n_trs, np.int64) if labels is None else labels) if self.by_run_ else None
        x = [
            band.prepared(features[name], self._response(name, volumes), labels, by_run)
            for name, band in self.bands_.items()
        ]
        spread = {f"band {name!r}": np.sqrt(own.var(0).mean()) for name, own in zip(self.bands_, x, strict=True)}
        expected = {f"band {name!r}": float(band.spread[0]) for name, band in self.bands_.items()}
        for note in checks.about_another_film(spread, expected):
            log.warning(note)
        return np.concatenate(x, axis=1)

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
                f"BOLD has shape {measured.shape}: ({n_trs}, {self.weights_.shape[1]}) is needed, rows of the features "
                "and voxels of the fit"
            )
        own = np.flatnonzero(self.fitted_voxels_)[:: max(1, int(self.fitted_voxels_.sum()) // 1000)]
        own = own[np.isfinite(measured[:, own]).all(0)]
        if not len(own):
            return measured
        here = float(np.median(np.asarray(measured[:, own], np.float64).std(0)))
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
    def load(cls, path: str | Path) -> Self:
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


def _said(columns: Mapping[str, int]) -> str:
    return ", ".join(f"{name!r} ({count} columns)" for name, count in columns.items())
