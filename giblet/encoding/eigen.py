"""Ridge in the basis in which its penalty is diagonal: what is found once for all penalties and all voxels.

With the training features ``X = U S V'`` a penalty ``alpha`` gives weights ``V d(alpha) V'X'Y``,
``d_i = 1 / (s_i^2 + alpha)``. The squared error of a fold left out is then, without any prediction being formed,

    |Y|^2 - 2 sum_i d_i a_i e_i + sum_ij d_i d_j a_i G_ij a_j

with ``a = V'X'Y`` of the training rows, ``e = V'X'Y`` and ``G = V'X'XV`` of the rows left out. As
``d_i d_j = (d_i - d_j) / (s_j^2 - s_i^2)``, the double sum is one product that no penalty enters,
``2 sum_i d_i a_i (C a)_i`` with ``C_ij = G_ij / (s_j^2 - s_i^2)``; pairs of equal eigenvalues have ``d_i^2`` instead.
So a penalty more costs ``n_features`` operations per voxel, where himalaya multiplies ``n_test x n_train`` numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from giblet.encoding.engine import Engine
from giblet.encoding.products import Basis, Moments

EQUAL = 6e-6
"""Eigenvalues that differ by this share count as equal: both errors, of the difference and of taking them as equal,
are then 4e-11 of the term (the cube root of the precision of float64, squared)."""


class FoldError:
    """Squared errors of the rows left out, for all penalties, without their predictions."""

    def __init__(self, engine: Engine, basis: Basis, alphas: np.ndarray) -> None:
        self.basis = basis
        values = engine.numpy(basis.values)
        gram = engine.numpy(basis.gram)
        gap = values[None, :] - values[:, None]
        equal = np.abs(gap) <= EQUAL * np.maximum(values[:, None], values)
        self.apart = engine.array(np.divide(gram, gap, out=np.zeros_like(gram), where=~equal))
        self.own = engine.array(gram.diagonal().copy())[:, None]
        alike = np.where(equal & ~np.eye(len(values), dtype=bool), gram, 0)
        self.alike = engine.array(alike) if alike.any() else None
        self.shrunk = engine.array(1 / (values + alphas[:, None]))
        self.shrunk_twice = self.shrunk**2

    def __call__(self, moments: Moments) -> Any:
        """The errors.

        Parameters
        ----------
        moments : Moments
            Of the same fold.

        Returns
        -------
        ndarray or torch.Tensor, shape (n_alphas, n_voxels)
        """
        a = self.basis.train.T @ moments.train
        once = self.apart @ a
        once -= self.basis.test.T @ moments.test
        once *= a
        error = self.shrunk @ once
        error *= 2
        twice = self.own * a if self.alike is None else self.own * a + self.alike @ a
        twice *= a
        error += self.shrunk_twice @ twice
        error += moments.total
        return error
