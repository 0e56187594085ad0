"""The runs of a scan: one label per volume, checked in one place, and the stretches of rows that they stand for."""

from __future__ import annotations

from typing import Any

import numpy as np

from giblet.errors import InputError


def run_labels(n_trs: int, run: Any = None) -> np.ndarray:
    """The run of each volume, checked.

    Parameters
    ----------
    n_trs : int
        Volumes of all runs together.
    run : array_like, shape (n_trs,), optional
        A label per volume (``bold.run``), numbers or words; equal labels must be neighbours. Without it all is one
        run, 1.

    Returns
    -------
    ndarray, shape (n_trs,)
        `run` as an array.

    Raises
    ------
    InputError
        If there is not one label per volume, or a run comes in pieces.

    See Also
    --------
    run_slices : the same as slices.

    Examples
    --------
    >>> run_labels(4).tolist(), run_labels(3, ["a", "a", "b"]).tolist()
    ([1, 1, 1, 1], ['a', 'a', 'b'])
    """
    if run is None:
        return np.ones(n_trs, np.int64)
    labels = np.asarray(run)
    if labels.shape != (n_trs,):
        raise InputError(f"run has shape {labels.shape}; expected one label per volume ({n_trs}), as in bold.run")
    n_pieces, n_labels = 1 + int((labels[1:] != labels[:-1]).sum()), len(np.unique(labels))
    if n_labels != n_pieces:
        raise InputError(
            f"run has {n_labels} labels in {n_pieces} pieces: volumes of one run must be neighbours; sort them first"
        )
    return labels


def run_slices(n_trs: int, run: Any = None) -> list[slice]:
    """The runs of a scan as slices of its volumes.

    Parameters
    ----------
    n_trs : int
        Volumes of all runs together.
    run : array_like, shape (n_trs,), optional
        As for :func:`run_labels`.

    Returns
    -------
    list of slice
        One per run, in their order.

    Raises
    ------
    InputError
        As :func:`run_labels`.

    See Also
    --------
    run_labels : the label of each volume.

    Examples
    --------
    >>> run_slices(3, ["a", "a", "b"])
    [slice(0, 2, None), slice(2, 3, None)]
    """
    labels = run_labels(n_trs, run)
    starts = np.flatnonzero(np.r_[True, labels[1:] != labels[:-1]])
    return [slice(int(a), int(b)) for a, b in zip(starts, [*starts[1:], n_trs], strict=True)]
