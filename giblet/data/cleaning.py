"""Columns of BOLD that hold no signal, and drifts and confounds taken out of those that do."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from nilearn import signal

from giblet.errors import InputError

log = logging.getLogger(__name__)

COLUMNS_AT_A_TIME = 8192
"""Columns cleaned in one go, in float64: memory stays the same however many voxels there are."""


@dataclass(frozen=True)
class Bad:
    """Columns that no model can learn from, bool (n_columns,) each."""

    not_finite: np.ndarray
    """NaN or infinity in at least one volume."""
    constant: np.ndarray
    """Finite, but without any change within at least one run."""

    @property
    def any(self) -> np.ndarray:
        """Either of the two, bool (n_columns,)."""
        return self.not_finite | self.constant

    def describe(self, what: str, name: Callable[[int], str]) -> str:
        """How many, of which sort, and which: the first five by name.

        Parameters
        ----------
        what : str
            Plural of what a column is, such as "voxels".
        name : callable
            Name of a column by its index.
        """
        found = np.flatnonzero(self.any)
        named = ", ".join(name(int(i)) for i in found[:5]) + (", ..." if len(found) > 5 else "")
        return (
            f"{len(found)} of {len(self.any)} {what} are bad ({int(self.not_finite.sum())} with NaN or infinity, "
            f"{int(self.constant.sum())} constant within a run): {named}"
        )


def find_bad(runs: Sequence[np.ndarray]) -> Bad:
    """Columns that are not finite, or constant within a run.

    Parameters
    ----------
    runs : sequence of ndarray, shape (n_trs, n_columns)
    """
    not_finite = np.zeros(runs[0].shape[1], bool)
    constant = not_finite.copy()
    for run in runs:
        low, high = run.min(axis=0), run.max(axis=0)  # NaN and infinity show in them
        not_finite |= ~(np.isfinite(low) & np.isfinite(high))
        constant |= low == high
    return Bad(not_finite, constant & ~not_finite)


def judge(bad: Bad, policy: str, what: str, name: Callable[[int], str], source: str) -> np.ndarray:
    """Apply ``bad="error"|"mask"|"zero"``: which columns are good, bool (n_columns,).

    Raises
    ------
    InputError
        If there are bad columns and `policy` is "error", or if no column is good.
    """
    if not bad.any.any():
        return ~bad.any
    text = f"{source}: {bad.describe(what, name)}"
    if bad.any.all():
        raise InputError(f"{text}; nothing is left: leave this scan out")
    if policy == "error":
        raise InputError(f"{text}; look at them, then choose bad='mask' (left out) or bad='zero' (kept, marked)")
    log.warning("%s; %s", text, "left out" if policy == "mask" else "kept as zeros, marked not good")
    return ~bad.any


def clean_run(
    run: np.ndarray,
    *,
    tr: float,
    confounds: np.ndarray | None = None,
    detrend: bool = False,
    high_pass: float | None = None,
    standardize: bool = False,
) -> None:
    """Clean one run in place with nilearn's ``signal.clean``.

    Parameters
    ----------
    run : ndarray of float32, shape (n_trs, n_columns)
        Finite, no column constant.
    tr : float
        In seconds.
    confounds : ndarray, shape (n_trs, n_confounds), optional
    detrend, standardize : bool
    high_pass : float, optional
        In Hz: cosine drifts slower than this go, in the same regression as the confounds.

    Raises
    ------
    InputError
        If the drifts and confounds are as many as the volumes, and would explain everything.
    """
    if confounds is None and high_pass is None and not detrend and not standardize:
        return
    n_trs = len(run)
    n_drifts = 0 if high_pass is None else int(np.floor(2 * n_trs * high_pass * tr))
    n_regressors = n_drifts + (0 if confounds is None else confounds.shape[1])
    if n_regressors >= n_trs - 1:
        raise InputError(
            f"{n_regressors} drifts and confounds for a run of {n_trs} volumes would explain everything; choose a "
            "lower high_pass or fewer confounds"
        )
    for start in range(0, run.shape[1], COLUMNS_AT_A_TIME):
        part = slice(start, start + COLUMNS_AT_A_TIME)
        run[:, part] = signal.clean(
            run[:, part].astype(np.float64),
            confounds=confounds,
            detrend=detrend,
            standardize="zscore_sample" if standardize else None,
            filter="cosine" if high_pass is not None else False,
            high_pass=high_pass,
            t_r=tr,
        )
