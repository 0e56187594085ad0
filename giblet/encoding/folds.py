"""Contiguous folds with a gap, so that no response is on both sides of the line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil
from typing import Any

import numpy as np
from sklearn.model_selection import check_cv

from giblet.data.splits import HRF_SECONDS, segments
from giblet.errors import InputError
from giblet.runs import run_labels
from giblet.timing import check_tr, exact

RUNS = "runs"


class BlockedFolds:
    """Contiguous parts of a scan, each left out once, with a gap around it from which nothing is learned.

    A splitter in scikit-learn's manner: it passes as ``cv=`` to scikit-learn, himalaya and nilearn.

    Parameters
    ----------
    n_splits : int or "runs"
        How many parts of equal length, at least 2. ``"runs"``: each run is left out once.
    gap : float
        Seconds before and after the part left out; a response lasts about 32. From run to run none is needed.
    tr : float
        Repetition time in seconds.
    run : array_like, shape (n_trs,), optional
        Run of each row of what is split. By default what ``groups`` says when it is split, or a ``run`` coordinate of
        a DataArray, else all is one run.

    See Also
    --------
    giblet.data.splits.make_splits : One division into training, validation and test parts.

    Examples
    --------
    >>> folds = BlockedFolds(n_splits=2, gap=4.0, tr=2.0)
    >>> train, test = next(folds.split(np.zeros((10, 1))))
    >>> train.tolist(), test.tolist()
    ([7, 8, 9], [0, 1, 2, 3, 4])
    """

    def __init__(
        self,
        n_splits: int | str = 5,
        gap: float = HRF_SECONDS,
        *,
        tr: float,
        run: Sequence[Any] | np.ndarray | None = None,
    ) -> None:
        if n_splits != RUNS and (isinstance(n_splits, bool) or not isinstance(n_splits, (int, np.integer))):
            raise InputError(f"n_splits is {n_splits!r}: a whole number of at least 2, or 'runs', is needed")
        if not isinstance(n_splits, str) and n_splits < 2:
            raise InputError(f"n_splits is {n_splits}: at least 2 parts are needed, or 'runs'")
        if exact(gap, "gap") < 0:
            raise InputError(f"gap is {gap} s: 0 or more is needed")
        self.n_splits, self.gap, self.tr, self.run = n_splits, gap, tr, run
        self.gap_trs = ceil(exact(gap) / check_tr(tr))

    def __repr__(self) -> str:
        run = "" if self.run is None else ", run=..."
        return f"BlockedFolds(n_splits={self.n_splits!r}, gap={self.gap:g}, tr={self.tr:g}{run})"

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """How many folds there are.

        Parameters
        ----------
        X, y : array_like, optional
            `X` may carry the runs, as in :meth:`split`.
        groups : array_like, shape (n_trs,), optional
            Run of each row.

        Returns
        -------
        int

        Raises
        ------
        InputError
            If each run is to be left out, and it is not known which there are, or there are fewer than two.
        """
        if not isinstance(self.n_splits, str):
            return int(self.n_splits)
        run = next((labels for labels in (self.run, groups, _carried(X)) if labels is not None), None)
        return len(_runs_to_leave_out(run))

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The folds.

        Parameters
        ----------
        X : array_like, shape (n_trs, ...)
            Rows that are neighbours in time within their run. For others, see :meth:`of_rows`.
        y : array_like, optional
            Not looked at.
        groups : array_like, shape (n_trs,), optional
            Run of each row, where `run` was not given.

        Yields
        ------
        train, test : ndarray of int
            Places of rows.

        Raises
        ------
        InputError
            If the runs do not fit, the gap leaves a fold nothing to learn from, or each run is to be left out and
            there are fewer than two.
        """
        n_rows = len(X)
        run = next((labels for labels in (self.run, groups, _carried(X)) if labels is not None), None)
        if run is not None and len(run) != n_rows:
            raise InputError(
                f"run has {len(run)} labels and there are {n_rows} rows to split: give BlockedFolds the runs of just "
                "the rows that are split, or none, and groups=run when they are"
            )
        yield from self.of_rows(np.arange(n_rows), run_labels(n_rows, run), known=run is not None)

    def of_rows(self, rows: np.ndarray, run: np.ndarray, *, known: bool = True) -> list[tuple[np.ndarray, np.ndarray]]:
        """Folds of some rows of a scan, between which others may be missing.

        Parameters
        ----------
        rows : ndarray of int, ascending
            Rows of the scan to divide, as ``make_splits(...).train``.
        run : ndarray, shape (n_trs,)
            Run of each row of the scan.
        known : bool
            Whether `run` was given by somebody.

        Returns
        -------
        list of (train, test)
            Places in `rows`.

        Raises
        ------
        InputError
            As :meth:`split`.
        """
        if isinstance(self.n_splits, str):
            labels = run[rows]
            parts = [np.flatnonzero(labels == one) for one in _runs_to_leave_out(labels if known else None)]
        else:
            if len(rows) < 2 * self.n_splits:
                raise InputError(f"{len(rows)} TRs in {self.n_splits} folds: at least 2 folds of 2 TRs are needed")
            parts = np.array_split(np.arange(len(rows)), self.n_splits)
        folds = []
        for test in parts:
            near = np.zeros(len(run), bool)
            for start, stop in segments(rows[test], run):
                around = slice(max(0, start - self.gap_trs), stop + self.gap_trs)
                near[around] |= run[around] == run[start]
            train = np.flatnonzero(~near[rows])
            if len(train) < 2 or len(test) < 2:
                raise InputError(
                    f"{len(rows)} TRs in {len(parts)} folds leave {len(train)} TRs to learn from beyond gaps of "
                    f"{self.gap:g} s ({self.gap_trs} TRs) around {len(test)} left out: use fewer folds, a shorter gap "
                    "or a longer scan"
                )
            folds.append((train, test))
        return folds


def folds_of(
    cv: Any, rows: np.ndarray, run: np.ndarray | None, n_trs: int, *, tr: float | None
) -> list[tuple[np.ndarray, np.ndarray]]:
    """The folds of some rows of a scan that an estimator's `cv` stands for.

    Parameters
    ----------
    cv : int, "runs", splitter or list of (train, test)
        A number, or ``"runs"``, stands for ``BlockedFolds(cv, tr=tr)``.
    rows : ndarray of int, ascending
        Rows of the scan to divide.
    run : ndarray, shape (n_trs,), or None
        Run of each row of the scan, where somebody said.
    n_trs : int
    tr : float or None
        Repetition time in seconds.

    Returns
    -------
    list of (train, test)
        Places in `rows`.

    Raises
    ------
    InputError
        If a gap in seconds is needed without a TR, or the folds are impossible.
    """
    if isinstance(cv, (int, np.integer, str)):
        if tr is None:
            raise InputError(f"cv={cv!r} makes folds with a gap in seconds: give tr, or a splitter as cv")
        cv = BlockedFolds(cv if isinstance(cv, str) else int(cv), tr=tr)
    if isinstance(cv, BlockedFolds) and (cv.run is None or len(cv.run) == n_trs):
        known = run if cv.run is None else cv.run
        return cv.of_rows(rows, run_labels(n_trs, known), known=known is not None)
    return list(check_cv(cv).split(np.empty((len(rows), 0)), None, None if run is None else run[rows]))


def _carried(x: Any) -> np.ndarray | None:
    """Run labels that a DataArray brings along."""
    coords = getattr(x, "coords", {})
    return np.asarray(coords["run"].values) if "run" in coords else None


def _runs_to_leave_out(run: Any) -> np.ndarray:
    """The labels, in their order."""
    labels = np.array([]) if run is None else np.asarray(run)
    named, first = np.unique(labels, return_index=True)
    if len(named) < 2:
        raise InputError(
            f"n_splits='runs' leaves one run out and learns from the others, and there are {len(named)} run labels: "
            "give run= with at least two, or a number of folds"
        )
    return labels[np.sort(first)]
