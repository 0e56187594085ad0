"""Clips predicted from the others: folds, scores by band, and their chance, with the model fitted anew each time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.model_selection import KFold, check_cv

from giblet.encoding.engine import engine_for
from giblet.encoding.folds import BlockedFolds
from giblet.encoding.given import bands_of, check_rows
from giblet.encoding.model import EncodingModel
from giblet.encoding.permutation import (
    Exchange,
    NullOfVoxels,
    PermutationTest,
    group_numbers,
    permutation_draws,
    voxels_that_change,
)
from giblet.encoding.ridge import RidgeSolution, candidates, checked_alphas, solve_ridge_cv
from giblet.errors import AlignmentError, InputError
from giblet.statistics.rotations import flattened

TARGETS_AT_A_TIME = 8192
"""Voxels times permutations that are fitted together."""
Fold = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class ClipScores:
    """How well clips are predicted from the others."""

    r: np.ndarray
    """float64 (n_voxels,): correlation over clips, about the mean of each fold. NaN where the response never changes or
    holds NaN."""
    r2: np.ndarray
    """float64 (n_voxels,): the part of the variance within folds that is predicted."""
    split: dict[str, np.ndarray]
    """float64 (n_voxels,) by band: parts that sum to `r` (:func:`giblet.encoding.split_scores`)."""
    unique: dict[str, np.ndarray]
    """float64 (n_voxels,) by band: `r2` less that of a fit without the band; empty with one band or where not asked
    for."""
    predicted: np.ndarray
    """float64 (n_clips, n_voxels): each clip from the fold that did not learn from it; NaN where `r` is."""
    folds: list[Fold]
    """Places of the clips that were learned from and that were predicted."""


def clip_folds(n_clips: int, n_splits: int = 5, *, group: Any = None, seed: int = 0) -> list[Fold]:
    """Random folds of clips; clips of one group stay together.

    Parameters
    ----------
    n_clips : int
    n_splits : int
        At least 2.
    group : array_like, shape (n_clips,), optional
        What clips belong together. The folds are then of groups: of like numbers of groups, not of clips.
    seed : int

    Returns
    -------
    list of (train, test)
        Ascending places of clips.

    Raises
    ------
    InputError
        If there are fewer groups, or clips, than folds, or a fold would hold one clip.

    See Also
    --------
    sklearn.model_selection.GroupKFold : passes as ``cv`` in place of a number.
    """
    if isinstance(n_splits, bool) or not isinstance(n_splits, (int, np.integer)) or n_splits < 2:
        raise InputError(f"folds is {n_splits!r}: a whole number of at least 2 is needed")
    number = np.arange(n_clips) if group is None else group_numbers(group, n_clips)
    n_groups, what = (len(np.unique(number)), "clips" if group is None else "groups of clips")
    if n_groups < n_splits:
        raise InputError(f"there are {n_groups} {what} for {n_splits} folds: at least one for each is needed")
    order = np.unique(number)
    parts = (order[test] for _, test in KFold(int(n_splits), shuffle=True, random_state=seed).split(order))
    return [(np.flatnonzero(~held_out), np.flatnonzero(held_out)) for held_out in (np.isin(number, p) for p in parts)]


def score_clips(
    model: EncodingModel, X: Any, responses: Any, *, cv: Any = 5, group: Any = None, seed: int = 0, unique: bool = True
) -> ClipScores:
    """Predict each clip by a fit on the other folds, and score the whole and its bands.

    ``r = sum_k y_k . p_k / sqrt(sum_k |y_k|^2 sum_k |p_k|^2)`` with responses *y* and predictions *p* of fold *k* about
    their means over its clips: with the means in, noise would have a negative r, as the clips that are left out lie
    below the mean of the others whenever they lie above that of all.

    Parameters
    ----------
    model : EncodingModel
        Its options; it is not fitted itself. Its ``cv`` chooses penalties: a number of random folds of what is learned
        from, grouped as these are, or a splitter of scikit-learn, which is given the groups.
    X : array_like of float, shape (n_clips, n_features), or mapping of str to such
        As :func:`giblet.encoding.clips.clip_features` gives them.
    responses : array_like of float, shape (n_clips, n_voxels)
    cv : int, splitter or list of (train, test)
        A number of random folds, or what scikit-learn takes; each clip must be predicted once.
    group : array_like, shape (n_clips,), optional
        Clips of one group are never learned from and predicted in one fold.
    seed : int
        Of random folds.
    unique : bool
        Fit without each band too, where there are several.

    Returns
    -------
    ClipScores

    Raises
    ------
    InputError
        If a band is codes or holds NaN, folds leave out a clip or predict one twice, or a fold splits a group.
    AlignmentError
        If features and responses have different numbers of clips.

    See Also
    --------
    permutation_test_cv : the chance of `r`.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal((80, 3))
    >>> responses = x @ rng.standard_normal((3, 2)) + rng.standard_normal((80, 2))
    >>> bool((score_clips(EncodingModel(cv=5), x, responses).r > 0.5).all())
    True
    """
    designs = _Designs(model, X, responses, cv, group, seed)
    parts, level = designs.predictions()
    y, whole = designs.centred(designs.responses), parts.sum(0)
    total, size = (y**2).sum(0), np.sqrt((y**2).sum(0) * (whole**2).sum(0))
    share = [np.divide((y * part).sum(0), size, out=np.zeros_like(size), where=size > 0) for part in parts]
    r2 = 1 - ((y - whole) ** 2).sum(0) / total
    added = {}
    if unique and len(designs.names) > 1:
        for name in designs.names:
            others = _Designs(_without(model, name), designs.without(name), responses, designs.folds, group, seed)
            rest = others.predictions()[0].sum(0)
            added[name] = designs.everywhere(r2 - (1 - ((y - rest) ** 2).sum(0) / total))
    return ClipScores(
        r=designs.everywhere(np.sum(share, axis=0)), r2=designs.everywhere(r2), unique=added,
        split={name: designs.everywhere(own) for name, own in zip(designs.names, share, strict=True)},
        predicted=designs.everywhere(whole + level), folds=designs.folds,
    )  # fmt: skip


def permutation_test_cv(  # 10 parameters: those of score_clips, and those of permutation_test
    model: EncodingModel,
    X: Any,
    responses: Any,
    *,
    cv: Any = 5,
    group: Any = None,
    exchange: Exchange | None = None,
    n_permutations: int = 1000,
    seed: int = 0,
    progress: Callable[[float, float | None], None] | None = None,
) -> PermutationTest:
    """The chance of :func:`score_clips`: responses change places, and the model is fitted anew, penalties included.

    Features stay where they are, so that what is inverted in a fit serves all permutations and voxels. It takes about
    as long as `n_permutations` times as many voxels would take to fit.

    Parameters
    ----------
    model : EncodingModel
    X, responses, cv, group
        As :func:`score_clips`.
    exchange : {"clips", "groups"}, optional
        What changes places: any clips, or groups of one size as wholes, and clips within them. By default groups where
        there are any.
    n_permutations : int
        Orders of the clips, that in which they are included.
    seed : int
        Of random folds and of the permutations.
    progress : callable, optional
        Called with fits done and fits in all.

    Returns
    -------
    PermutationTest

    Raises
    ------
    InputError, AlignmentError
        As :func:`score_clips` and :func:`giblet.encoding.permutation.permutation_draws`.

    See Also
    --------
    giblet.encoding.permutation_test : of clips that were in no fit.
    """
    designs = _Designs(model, X, responses, cv, group, seed)
    n_voxels = designs.responses.shape[1]
    draws = permutation_draws(designs.n_clips, n_permutations, group=group, exchange=exchange, seed=seed)
    null = NullOfVoxels(len(draws), designs.alive)
    wide = min(n_voxels, TARGETS_AT_A_TIME)
    step = max(1, TARGETS_AT_A_TIME // wide)
    for start in range(0, n_voxels, wide):
        voxels = slice(start, min(start + wide, n_voxels))
        for at in range(0, len(draws), step):
            some = slice(at, min(at + step, len(draws)))
            moved = designs.responses[:, voxels][draws[some].T].reshape(designs.n_clips, -1)
            r = designs.correlations(moved).reshape(some.stop - some.start, -1)
            null.add(voxels, some, r)
            if progress is not None:
                progress(start * len(draws) + (voxels.stop - start) * some.stop, n_voxels * len(draws))
    return null.test()


@dataclass(frozen=True)
class _Design:
    """The features of one fold, prepared by what its training clips say, and how penalties are chosen there."""

    train: np.ndarray
    test: np.ndarray
    x_train: np.ndarray
    x_test: np.ndarray
    inner: Sequence[Fold]
    columns: Mapping[str, slice]


class _Designs:
    """All folds of some clips; whatever responses they are given, as measured or in another order."""

    def __init__(self, model: EncodingModel, X: Any, responses: Any, cv: Any, group: Any, seed: int) -> None:
        if model.hrf is not None or model.delays is not None:
            raise InputError("hrf or delays were given: clips have one response each, leave both out")
        self.features, self.model = bands_of(X), model
        self.names = list(self.features)
        given = np.asarray(responses)
        if given.ndim != 2 or given.dtype.kind not in "iuf":
            raise InputError(f"responses have shape {given.shape}, {given.dtype}: (n_clips, n_voxels) is needed")
        self.n_clips = len(given)
        _check_clips(self.features, self.n_clips)
        self.dtype = np.dtype(np.float64 if given.dtype == np.float64 else np.float32)
        values = flattened(given)
        self.alive = voxels_that_change(values)
        if not self.alive.any():
            raise InputError(f"none of {len(self.alive)} voxels can be tested: all are constant over clips or hold NaN")
        self.responses = values[:, self.alive]
        self.folds = _checked_folds(cv, self.n_clips, group, seed)
        self.alphas = checked_alphas(model.alphas)
        self.gammas = candidates(len(self.names), model.n_iter, model.random_state)
        self.designs = [self._design(train, test, group, seed) for train, test in self.folds]

    def without(self, name: str) -> dict[str, Any]:
        """The features of all other bands."""
        return {other: values for other, values in self.features.items() if other != name}

    def everywhere(self, values: np.ndarray) -> np.ndarray:
        """Of all voxels; NaN where there is no score."""
        whole = np.full((*values.shape[:-1], len(self.alive)), np.nan)
        whole[..., self.alive] = values
        return whole

    def _design(self, train: np.ndarray, test: np.ndarray, group: Any, seed: int) -> _Design:
        fitted = clone(self.model)
        columns = fitted._fit_bands(self.features, train, None)
        x = np.concatenate([columns[name] for name in self.names], axis=1)
        inner = _inner_folds(self.model.cv, train, group, seed)
        return _Design(train, test, x[train], x[test], inner, fitted.columns())

    def solve(self, design: _Design, y: np.ndarray) -> RidgeSolution:
        """Weights of one fold for responses of its training clips."""
        sizes = [own.stop - own.start for own in design.columns.values()]
        return solve_ridge_cv(
            design.x_train, y, design.inner, self.alphas,
            band=np.repeat(np.arange(len(sizes)), sizes), gammas=self.gammas, scoring=self.model.scoring,
            n_targets_batch=self.model.n_targets_batch, dtype=self.dtype,
            backend=engine_for(self.model.backend, design.x_train.shape, y.shape[1]),
        )  # fmt: skip

    def centred(self, values: np.ndarray) -> np.ndarray:
        """Less the mean of each fold's clips."""
        centred = np.empty(values.shape)
        for _, test in self.folds:
            centred[test] = values[test] - values[test].mean(0)
        return centred

    def predictions(self) -> tuple[np.ndarray, np.ndarray]:
        """Of each band about the mean of each fold, (n_bands, n_clips, n_voxels); and these means, of all bands."""
        parts = np.zeros((len(self.names), *self.responses.shape))
        level = np.zeros(self.responses.shape)
        for design in self.designs:
            solution = self.solve(design, self.responses[design.train])
            level[design.test] = solution.intercept
            for part, own in zip(parts, design.columns.values(), strict=True):
                predicted = design.x_test[:, own] @ solution.coef[own]
                part[design.test] = predicted - predicted.mean(0)
                level[design.test] += predicted.mean(0)
        return parts, level

    def correlations(self, y: np.ndarray) -> np.ndarray:
        """Of responses (n_clips, n_targets), with what the other folds predict; 0 where nothing is."""
        predicted = np.zeros(y.shape)
        for design in self.designs:
            coef = self.solve(design, y[design.train]).coef
            own = design.x_test.astype(coef.dtype, copy=False) @ coef
            predicted[design.test] = own - own.mean(0)
        y = self.centred(y)
        size = np.sqrt((y**2).sum(0) * (predicted**2).sum(0))
        return np.divide((y * predicted).sum(0), size, out=np.zeros_like(size), where=size > 0)


def _without(model: EncodingModel, name: str) -> EncodingModel:
    """The model with no option of one band."""
    options = {
        option: {other: own for other, own in value.items() if other != name}
        for option, value in (("scale", model.scale), ("n_components", model.n_components))
        if isinstance(value, Mapping)
    }
    return clone(model).set_params(**options)


def _check_clips(features: Mapping[str, Any], n_clips: int) -> None:
    try:
        check_rows(features, n_clips)
    except AlignmentError:
        told = ", ".join(f"{name!r} {len(values)}" for name, values in features.items())
        raise AlignmentError(
            f"there are responses to {n_clips} clips, and bands of other numbers of clips ({told}): rows must be the "
            "same clips in the same order"
        ) from None


def _splits(cv: Any, n: int, group: np.ndarray | None, seed: int) -> Iterator[Fold]:
    if isinstance(cv, BlockedFolds):
        raise InputError("cv is BlockedFolds, whose gap is in seconds: clips have none; give a number of folds")
    if isinstance(cv, (int, np.integer)) and not isinstance(cv, bool):
        yield from clip_folds(n, int(cv), group=group, seed=seed)
    elif isinstance(cv, str):
        raise InputError(f"cv is {cv!r}: clips have no runs; give a number of folds, or a splitter such as GroupKFold")
    else:
        yield from check_cv(cv).split(np.empty((n, 0)), None, group)


def _checked_folds(cv: Any, n_clips: int, group: Any, seed: int) -> list[Fold]:
    number = None if group is None else group_numbers(group, n_clips)
    folds = [(np.asarray(train), np.sort(np.asarray(test))) for train, test in _splits(cv, n_clips, number, seed)]
    tested = np.sort(np.concatenate([test for _, test in folds]))
    if not np.array_equal(tested, np.arange(n_clips)):
        raise InputError(
            f"the folds predict {len(np.unique(tested))} of {n_clips} clips, {len(tested)} times in all: each clip "
            "must be predicted once"
        )
    for at, (train, test) in enumerate(folds):
        if len(test) < 2:
            raise InputError(f"fold {at} predicts one clip, about whose mean nothing is left: give fewer folds")
        _refuse_shared(f"fold {at}", train, test, number)
    return folds


def _refuse_shared(what: str, train: np.ndarray, test: np.ndarray, number: np.ndarray | None) -> None:
    shared = np.intersect1d(train, test) if number is None else np.intersect1d(number[train], number[test])
    if len(shared):
        named = "clips" if number is None else "groups"
        raise InputError(f"{what} learns from {len(shared)} {named} that it predicts: give folds that do not")


def _inner_folds(cv: Any, train: np.ndarray, group: Any, seed: int) -> list[Fold]:
    """Places within the training clips; with fewer groups than folds, each group by itself."""
    number = None if group is None else group_numbers(group, len(group))[train]
    if isinstance(cv, (int, np.integer)) and number is not None:
        cv = min(int(cv), len(np.unique(number)))
    folds = list(_splits(cv, len(train), number, seed))
    for at, (learned, left_out) in enumerate(folds):
        _refuse_shared(f"fold {at} of the penalties", learned, left_out, number)
    return folds
