"""Products of training features and BOLD from which ridge is solved: fold by fold, tall or wide, always in float64."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from giblet.encoding.engine import Engine
from giblet.errors import InputError


@dataclass(frozen=True)
class Basis:
    """The eigenvectors of some training rows, and what belongs to them."""

    values: Any
    """(rank,): squared singular values."""
    train: Any
    """(n, rank): from the training side of :class:`Moments` to coordinates."""
    test: Any
    """(m, rank): from its other side to coordinates; None where no row is left out."""
    gram: Any
    """(rank, rank): products of the coordinates of the features left out; None likewise."""


@dataclass(frozen=True)
class Moments:
    """What a fold's error needs to know of the voxels, for any weights of the bands."""

    train: Any
    """(n, n_voxels)"""
    test: Any
    """(m, n_voxels)"""
    total: Any
    """(n_voxels,): sum of squares of the rows left out, about the mean of the training rows."""
    spread: Any
    """(n_voxels,): about their own mean."""


@dataclass(frozen=True)
class Fold:
    """Rows to learn from and rows left out; what is in neither lies in the gap."""

    train: np.ndarray
    test: np.ndarray
    gap: np.ndarray

    @classmethod
    def of(cls, train: Any, test: Any, n_rows: int) -> Fold:
        """A fold as scikit-learn's splitters give it, checked.

        Parameters
        ----------
        train, test : array_like of int, or of bool (n_rows,)
        n_rows : int

        Returns
        -------
        Fold

        Raises
        ------
        InputError
            If a row is on both sides, or there are too few.
        """
        train, test = (np.unique(np.arange(n_rows)[np.asarray(part)]) for part in (train, test))
        gap = np.setdiff1d(np.arange(n_rows), np.r_[train, test], assume_unique=True)
        if len(train) < 2 or len(test) < 2:
            raise InputError(f"a fold has {len(train)} rows to learn from and {len(test)} left out: 2 each are needed")
        if len(train) + len(test) + len(gap) > n_rows:
            raise InputError(
                f"a fold learns from {len(np.intersect1d(train, test))} of the rows that it leaves out: give folds "
                "whose parts share no row"
            )
        return cls(train, test, gap)


def rows(values: Any, places: np.ndarray) -> Any:
    """Some rows of an array: a view where they are neighbours.

    Parameters
    ----------
    values : ndarray or torch.Tensor, shape (n_rows, ...)
    places : ndarray of int, ascending

    Returns
    -------
    ndarray or torch.Tensor, shape (len(places), ...)
    """
    if len(places) and places[-1] - places[0] + 1 == len(places):
        return values[int(places[0]) : int(places[-1]) + 1]
    return values[places]


class Tall:
    """Features of no more columns than rows: products of columns, which no band's weight enters."""

    def __init__(self, engine: Engine, x: np.ndarray, band: np.ndarray, folds: Sequence[Fold]) -> None:
        self.engine, self.band, self.folds = engine, band, folds
        self.x = engine.array(x)
        self.gram = self.x.T @ self.x
        self.fold_means, self.fold_grams, self.test_grams = [], [], []
        for fold in folds:
            test, gap = rows(self.x, fold.test), rows(self.x, fold.gap)
            mean = -(test.sum(0) + gap.sum(0)) / len(fold.train)  # over all rows the columns have mean 0
            rest = test.T @ test + gap.T @ gap + len(fold.train) * mean[:, None] * mean
            self.fold_means.append(mean)
            self.fold_grams.append(self.gram - rest)
            self.test_grams.append((test - mean).T @ (test - mean))

    def moments(self, y: Any) -> list[Moments]:
        """Of each fold, for targets of mean 0.

        Parameters
        ----------
        y : ndarray or torch.Tensor, shape (n_rows, n_voxels)

        Returns
        -------
        list of Moments
        """
        found = []
        total = self.x.T @ y
        for fold, mean in zip(self.folds, self.fold_means, strict=True):
            y_test, y_gap = rows(y, fold.test), rows(y, fold.gap)
            y_mean = -(y_test.sum(0) + y_gap.sum(0)) / len(fold.train)
            x_test, y_test = rows(self.x, fold.test) - mean, y_test - y_mean
            product, x_sum, y_sum = x_test.T @ y_test, x_test.sum(0), y_test.sum(0)
            rest = product + mean[:, None] * y_sum + (x_sum + len(fold.test) * mean)[:, None] * y_mean
            rest += len(fold.train) * mean[:, None] * y_mean
            if len(fold.gap):
                rest += rows(self.x, fold.gap).T @ y_gap
            found.append(Moments(total - rest, product, *squares(y_test)))
        return found

    def basis(self, gamma: np.ndarray, fold: int | None) -> Basis:
        """Eigenvectors of a fold's training rows, or of all rows, with those weights of the bands.

        Parameters
        ----------
        gamma : ndarray of float, shape (n_bands,)
        fold : int or None

        Returns
        -------
        Basis
        """
        scale = self.engine.array(np.sqrt(gamma)[self.band])[:, None]
        gram = self.gram if fold is None else self.fold_grams[fold]
        values, vectors = self.engine.eigh(gram * scale * scale.T)
        vectors = scale * vectors
        test = None if fold is None else vectors.T @ self.test_grams[fold] @ vectors
        return Basis(values, vectors, vectors, test)

    def weights(self, gamma: np.ndarray, basis: Basis, y: Any, alphas: Any) -> Any:
        """Primal weights of targets of mean 0, each with a penalty of its own.

        Parameters
        ----------
        gamma : ndarray of float, shape (n_bands,)
        basis : Basis
            Of all rows.
        y : ndarray or torch.Tensor, shape (n_rows, n_voxels)
        alphas : ndarray or torch.Tensor, shape (n_voxels,)

        Returns
        -------
        ndarray or torch.Tensor, shape (n_features, n_voxels)
        """
        return basis.train @ ((basis.train.T @ (self.x.T @ y)) / (basis.values[:, None] + alphas))


class Wide:
    """Features of more columns than rows: products of rows, band by band."""

    def __init__(self, engine: Engine, x: np.ndarray, band: np.ndarray, folds: Sequence[Fold]) -> None:
        self.engine, self.band, self.folds = engine, band, folds
        self.x = engine.array(x)
        self.kernels = []
        for number in range(int(band.max()) + 1):
            own = rows(self.x.T, np.flatnonzero(band == number)).T
            self.kernels.append(own @ own.T)

    def moments(self, y: Any) -> list[Moments]:
        """As :meth:`Tall.moments`.

        Parameters
        ----------
        y : ndarray or torch.Tensor, shape (n_rows, n_voxels)

        Returns
        -------
        list of Moments
        """
        found = []
        for fold in self.folds:
            y_train, y_test = rows(y, fold.train), rows(y, fold.test)
            mean = y_train.mean(0)
            found.append(Moments(y_train - mean, y_test - mean, *squares(y_test - mean)))
        return found

    def basis(self, gamma: np.ndarray, fold: int | None) -> Basis:
        """As :meth:`Tall.basis`.

        Parameters
        ----------
        gamma : ndarray of float, shape (n_bands,)
        fold : int or None

        Returns
        -------
        Basis
        """
        kernel = sum(float(weight) * own for weight, own in zip(gamma, self.kernels, strict=True))
        if fold is None:
            values, vectors = self.engine.eigh(kernel)
            return Basis(values, vectors, None, None)
        train, test = self.folds[fold].train, self.folds[fold].test
        own, across = rows(rows(kernel, train).T, train), rows(rows(kernel, test).T, train).T
        mean = own.mean(0)
        values, vectors = self.engine.eigh(own - mean - mean[:, None] + mean.mean())
        across = (across - across.mean(1)[:, None] - mean + mean.mean()) @ vectors
        return Basis(values, vectors, across, across.T @ across)

    def weights(self, gamma: np.ndarray, basis: Basis, y: Any, alphas: Any) -> Any:
        """As :meth:`Tall.weights`.

        Parameters
        ----------
        gamma : ndarray of float, shape (n_bands,)
        basis : Basis
        y : ndarray or torch.Tensor, shape (n_rows, n_voxels)
        alphas : ndarray or torch.Tensor, shape (n_voxels,)

        Returns
        -------
        ndarray or torch.Tensor, shape (n_features, n_voxels)
        """
        dual = basis.train @ ((basis.train.T @ y) / (basis.values[:, None] + alphas))
        return self.engine.array(gamma[self.band])[:, None] * (self.x.T @ dual)


def squares(y: Any) -> tuple[Any, Any]:
    """Sums of squares over rows, about 0 and about the mean.

    Parameters
    ----------
    y : ndarray or torch.Tensor, shape (n_rows, n_voxels)

    Returns
    -------
    total, spread : ndarray or torch.Tensor, shape (n_voxels,)
    """
    total = (y * y).sum(0)
    return total, total - y.sum(0) ** 2 / len(y)
