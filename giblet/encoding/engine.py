"""The library in which products are made: numpy, or torch on the CPU or on a graphics card; always in float64."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import linalg

from giblet.device import pick_device
from giblet.errors import InputError

BACKENDS = ("numpy", "torch", "torch_cuda")
FOR_A_GPU = 1e10
"""Multiplications from which ``backend="auto"`` takes a graphics card, if there is one."""


@dataclass(frozen=True)
class Engine:
    """The library that multiplies, always in float64."""

    backend: str
    """Of :data:`BACKENDS`, in himalaya's words."""

    def __post_init__(self) -> None:
        if self.backend not in BACKENDS:
            raise InputError(f"backend is {self.backend!r}: one of {', '.join(map(repr, BACKENDS))} is needed")
        if self.backend == "torch_cuda":
            pick_device("cuda")

    def array(self, values: Any) -> Any:
        """float64 where the products are made.

        Parameters
        ----------
        values : ndarray

        Returns
        -------
        ndarray or torch.Tensor
        """
        if self.backend == "numpy":
            return np.asarray(values, np.float64)
        return torch.as_tensor(np.asarray(values, np.float64), device="cuda" if self.backend == "torch_cuda" else "cpu")

    def numpy(self, values: Any) -> np.ndarray:
        """Back from where the products are made.

        Parameters
        ----------
        values : ndarray or torch.Tensor

        Returns
        -------
        ndarray of float64
        """
        return values if isinstance(values, np.ndarray) else values.cpu().numpy()

    def eigh(self, matrix: Any) -> tuple[Any, Any]:
        """Eigenvalues above rounding, ascending, and their vectors.

        Parameters
        ----------
        matrix : ndarray or torch.Tensor, shape (n, n)
            Symmetric, none of its eigenvalues negative but by rounding.

        Returns
        -------
        values : ndarray or torch.Tensor, shape (rank,)
        vectors : ndarray or torch.Tensor, shape (n, rank)
        """
        if isinstance(matrix, np.ndarray):
            values, vectors = linalg.eigh(matrix, check_finite=False)
        else:
            values, vectors = torch.linalg.eigh(matrix)
        real = values > values[-1] * len(values) * np.finfo(np.float64).eps
        return values[real], vectors[:, real]


def engine_for(backend: str, shape: tuple[int, ...], n_targets: int) -> str:
    """The backend that is asked for; of "auto", a graphics card for large problems where there is one.

    Parameters
    ----------
    backend : str
        "auto", or one of :data:`BACKENDS`.
    shape : tuple of int
        Rows and columns that are learned from.
    n_targets : int

    Returns
    -------
    str
    """
    if backend != "auto":
        return backend
    large = float(shape[0]) * min(shape) * n_targets > FOR_A_GPU
    return "torch_cuda" if large and torch.cuda.is_available() else "numpy"
