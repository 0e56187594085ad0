"""What each band of features adds: split scores, which sum to the whole, and unique variance.

References
----------
Dupré la Tour, Eickenberg, Nunez-Elizalde, Gallant (2022). Feature-space selection with banded ridge regression.
NeuroImage 264, 119728.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from himalaya.backend import get_backend
from himalaya.scoring import correlation_score_split, r2_score_split
from sklearn.base import clone

from giblet.encoding.model import EncodingModel
from giblet.encoding.preparation import without_levels
from giblet.errors import InputError
from giblet.runs import run_labels

SPLITS = {"correlation": correlation_score_split, "r2": r2_score_split}


@dataclass(frozen=True)
class SplitScores:
    """The score of all bands together, and the part of each."""

    whole: np.ndarray
    """float64 (n_voxels,): r, or R2, of the sum of the predictions of the bands."""
    by_band: dict[str, np.ndarray]
    """float64 (n_voxels,) by band; they sum to the whole. A part may be negative."""


def split_scores(
    model: EncodingModel, X: Mapping[str, Any], bold: Any, *, kind: str = "correlation", run: Any = None
) -> SplitScores:
    """The held-out score split by band (the product measure).

    ``r = sum_b cov(y, y_b) / (sd(y) sd(sum_b y_b))``; ``R2 = sum_b sum_t (2 y - sum_c y_c) y_b / sum_t y^2``.

    Parameters
    ----------
    model : EncodingModel
        Fitted.
    X : mapping of str to array_like of float, shape (n_trs, n_features)
    bold : array_like of number, shape (n_trs, n_voxels)
        Of rows that were not in the fit.
    kind : {"correlation", "r2"}
    run : array_like, shape (n_trs,), optional
        Run of each row.

    Returns
    -------
    SplitScores
        Of BOLD and predictions from which the mean of each run over these rows is taken, so that levels count for
        nothing. NaN where a voxel never changes, holds NaN, or was left out of the fit.

    Raises
    ------
    InputError
        As :meth:`EncodingModel.score`, or if `kind` is unknown.

    See Also
    --------
    unique_variance : What is lost without a band.
    """
    if kind not in SPLITS:
        raise InputError(f"kind is {kind!r}: 'correlation' or 'r2' is needed")
    x = model.prepare(X, run)
    measured = model.checked_bold(bold, len(x))
    labels, everywhere = run_labels(len(x), run), np.arange(len(x))
    columns = model.columns()
    parts = np.full((len(columns), measured.shape[1]), np.nan)
    whole = np.full(measured.shape[1], np.nan)
    for batch in model.batches():
        truth = without_levels(np.asarray(measured[:, batch], np.float64), labels, everywhere)
        own = model.fitted_voxels_[batch] & np.isfinite(truth).all(0) & (np.ptp(truth, axis=0) > 0)
        if not own.any():
            continue
        voxels, truth = np.arange(len(whole))[batch][own], truth[:, own]
        predicted = np.stack([x[:, band] @ model.weights_[band][:, voxels] for band in columns.values()])
        predicted = np.stack([without_levels(part, labels, everywhere) for part in predicted])
        backend = get_backend()
        # himalaya's own arrays, made of copies: it writes 0 over NaN in what it is given.
        split = SPLITS[kind](backend.asarray(truth), backend.asarray(predicted))
        parts[:, voxels] = backend.to_numpy(split)
        whole[voxels] = _score(truth, predicted.sum(0), kind)
    return SplitScores(whole, dict(zip(columns, parts, strict=True)))


def _score(truth: np.ndarray, predicted: np.ndarray, kind: str) -> np.ndarray:
    """r or R2 of columns of mean 0."""
    total = (truth**2).sum(0)
    if kind == "r2":
        return 1 - ((truth - predicted) ** 2).sum(0) / total
    size = np.sqrt(total * (predicted**2).sum(0))
    return np.divide((truth * predicted).sum(0), size, out=np.zeros_like(size), where=size > 0)


def unique_variance(  # 8 parameters: two parts of a scan, and what each is made of
    model: EncodingModel,
    X: Mapping[str, Any],
    bold: Any,
    X_test: Mapping[str, Any],
    bold_test: Any,
    *,
    run: Any = None,
    run_test: Any = None,
    train: Any = None,
) -> dict[str, np.ndarray]:
    """What each band adds to all others: R2 of the whole minus R2 of a fit without the band.

    Parameters
    ----------
    model : EncodingModel
        Fitted on `X` and `bold`; the fits without a band have its options.
    X : mapping of str to array_like of float, shape (n_trs, n_features)
        At least two bands.
    bold : array_like of number, shape (n_trs, n_voxels)
    X_test, bold_test
        Of rows that were not in the fit.
    run, run_test : array_like, optional
        Run of each row; `run` as it was given to the fit.
    train : array_like, optional
        Rows of `X` to learn from, as they were given to the fit.

    Returns
    -------
    dict of str to ndarray of float64, shape (n_voxels,)
        Of a band that had no part: 0 but for noise, on either side, and on average a little below it. The weights of
        such a band are noise, and predict noise: with 10 columns that costs 0.0021 of the variance after 300 training
        TRs, 0.0011 after 600, 0.0005 after 1,200. A difference of squared correlations has the same cost.

    Raises
    ------
    InputError
        If there is one band.

    See Also
    --------
    split_scores : Parts that sum to the whole, from one fit.
    """
    if not isinstance(X, Mapping) or len(X) < 2:
        raise InputError("unique variance is that of one band beside others: give a mapping of at least two bands")
    whole = split_scores(model, X_test, bold_test, kind="r2", run=run_test).whole
    found = {}
    for name in X:
        others = {other: values for other, values in X.items() if other != name}
        smaller = without_band(model, name).fit(others, bold, run=run, train=train)
        rest = {other: X_test[other] for other in others}
        found[name] = whole - split_scores(smaller, rest, bold_test, kind="r2", run=run_test).whole
    return found


def without_band(model: EncodingModel, band: str) -> EncodingModel:
    """The model, not fitted, with no option that names a band.

    Parameters
    ----------
    model : EncodingModel
    band : str

    Returns
    -------
    EncodingModel
    """
    by_band: dict[str, Any] = {
        option: {other: own for other, own in value.items() if other != band}
        for option, value in (("scale", model.scale), ("n_components", model.n_components))
        if isinstance(value, Mapping)
    }
    return clone(model).set_params(**by_band, convolved=tuple(name for name in model.convolved if name != band))
