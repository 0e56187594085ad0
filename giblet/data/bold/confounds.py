"""Confounds of a run: regressors to take out of it, and the volumes that are censored.

A volume is censored, and no regressor made of it, where a column holds a single 1 among zeros, or where a column of
zeros and ones is called an outlier: fMRIPrep's ``motion_outlier00`` and ``non_steady_state_outlier00``. To regress such
a column out is to leave its volume out of the fit, and to keep 0 there as if it had been scanned. A column that would
censor half of the volumes may mean the contrary, as AFNI's ``censor`` does, and is asked about.
"""

from __future__ import annotations

import fnmatch
import logging
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from giblet.data.bold.cleaning import independent
from giblet.data.bold.tables import chosen_columns, column_names, decimal_in, read_table
from giblet.errors import InputError, reading

log = logging.getLogger(__name__)

OUTLIER = re.compile(r"outlier|non_?steady_?state|scrub|censor", re.IGNORECASE)
"""In the name of a column, or of a pattern that may match none in a run without outliers."""

Table = str | Path | pd.DataFrame | np.ndarray


class RunConfounds(NamedTuple):
    """What a confounds table says of a run."""

    regressors: np.ndarray
    """float64 (n_trs, n_confounds)."""
    sample_mask: np.ndarray
    """bool (n_trs,): False for censored volumes."""
    why: tuple[str, ...] = ()
    """In words how many volumes each sort of reason censors."""


def per_run(given: Any, n_runs: int) -> list[tuple[Any, Any]]:
    """Confounds in any form, as one table and one sample mask for each run; None where there is none.

    Parameters
    ----------
    given : path, DataFrame, ndarray, pair of table and mask, sequence of these, or None
        A pair is what :func:`nilearn.interfaces.fmriprep.load_confounds` returns: a table and its ``sample_mask``
        (indices of the volumes kept, or None), or a list of each for several runs. A mask may be a slice too.
    n_runs : int

    Returns
    -------
    list of tuple, length n_runs
        Table and sample mask of each run, as they were given.

    Raises
    ------
    InputError
        If there are not as many tables as runs, or as sample masks, or they are none of these forms.
    """
    if given is None:
        return [(None, None)] * n_runs
    if _is_pair(given):
        tables, masks = given
        if not isinstance(tables, (list, tuple)):
            tables, masks = [tables], [masks]
        masks = [None] * len(tables) if masks is None else list(masks)
        if len(tables) != len(masks):
            raise InputError(
                f"there are {len(tables)} confounds tables and {len(masks)} sample masks; expected one each per run"
            )
        pairs = list(zip(tables, masks, strict=True))
    elif isinstance(given, (str, Path, pd.DataFrame, np.ndarray)):
        pairs = [(given, None)]
    elif isinstance(given, (list, tuple)):
        pairs = [one if _is_pair(one) else (one, None) for one in given]
    else:
        raise InputError(f"confounds are {type(given).__name__}; expected a file, a table or a list of these")
    if len(pairs) != n_runs:
        raise InputError(f"there are {n_runs} runs and {len(pairs)} confounds tables; expected one per run")
    return pairs


def _is_pair(given: Any) -> bool:
    """Whether it is table and sample mask, and not the tables of two runs."""
    if not isinstance(given, tuple) or len(given) != 2:
        return False
    tables, masks = given
    if isinstance(tables, (list, tuple)):
        return masks is None or (isinstance(masks, (list, tuple)) and all(map(_is_mask, masks)))
    return _is_mask(masks)


def _is_mask(given: Any) -> bool:
    return (
        given is None
        or isinstance(given, slice)
        or (isinstance(given, np.ndarray) and given.ndim == 1 and given.dtype.kind in "iub")
    )


def read_confounds(
    confounds: Table | None,
    n_trs: int,
    columns: Sequence[str] | None = None,
    sample_mask: np.ndarray | slice | None = None,
    *,
    decimal: Literal[".", ","] = ".",
    empty: np.ndarray | None = None,
) -> RunConfounds:
    """Confounds of one run, ready to be removed.

    Parameters
    ----------
    confounds : str, Path, DataFrame, ndarray or None
        fMRIPrep's ``*_desc-confounds_timeseries.tsv``, or a table in memory, as
        :func:`nilearn.interfaces.fmriprep.load_confounds` returns it.
    n_trs : int
        Volumes of the run.
    columns : sequence of str, optional
        Names or shell patterns such as ``"trans_?"``; must be given for a file, which holds hundreds of columns that
        nobody wants all at once. A pattern of outliers, such as ``"motion_outlier*"``, may match none.
    sample_mask : ndarray of int, shape (n_kept,), or of bool, shape (n_trs,), or slice, optional
        The volumes that are kept, beside what the table says: ``slice(4, None)`` leaves out the first 4.
    decimal : {".", ","}
        Decimal sign of the scan's table. A file of which all numbers have points is read with points.
    empty : ndarray of bool, shape (n_trs,), optional
        Volumes that hold no number in the scan, and so need none here: they are censored.

    Returns
    -------
    RunConfounds
        The first row of a derivative, which fMRIPrep leaves empty (``n/a``), takes the value of the second row, as
        in nilearn's ``load_confounds``.

    Raises
    ------
    InputError
        If the length is not `n_trs`, the sample mask does not fit it, no column is chosen, one is not there or holds
        text, a value other than the first row's is missing in a volume that is kept, a column censors half of the
        volumes, or there are as many confounds as volumes.
    """
    keep = _kept(sample_mask, n_trs)
    why = [f"{int((~keep).sum())} by the sample mask"] if not keep.all() else []
    if empty is not None and empty.any():
        keep &= ~empty
        why.append(f"{int(empty.sum())} without a number (volumes {_listed(np.flatnonzero(empty))})")
    if confounds is None:
        return RunConfounds(np.zeros((n_trs, 0)), keep, tuple(why))
    name, table = _table(confounds, columns, decimal)
    if table is None:
        return RunConfounds(np.zeros((n_trs, 0)), keep, tuple(why))
    if len(table) != n_trs:
        raise InputError(f"{name} has {len(table)} rows, the run {n_trs} volumes; pass the confounds of the same run")
    values = table.to_numpy(copy=True)
    if n_trs > 1:
        empty = np.isnan(values[0])
        values[0, empty] = values[1, empty]
    flags = np.array([_flags(values[:, i], str(column), name) for i, column in enumerate(table.columns)], bool)
    flagged = (values[:, flags] == 1).any(axis=1)
    if flagged.any():
        why.append(f"{int(flagged.sum())} by {_listed(table.columns[flags][(values[:, flags] == 1).any(axis=0)])}")
    keep &= ~flagged
    values, names = values[:, ~flags], table.columns[~flags]
    bad = ~np.isfinite(values) & keep[:, None]
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise InputError(
            f"{name}: confound {names[column]!r} has no number in row {row + 1}, and {int(bad.sum())} cells in "
            "all: only the first row may be empty; leave that column out"
        )
    n_independent = len(independent(values[keep]))
    if values.shape[1] and n_independent + 1 >= keep.sum():
        alike = f", of which {n_independent} are independent," if n_independent < values.shape[1] else ""
        raise InputError(
            f"{name}: {values.shape[1]} confounds{alike} and the mean for {int(keep.sum())} volumes would explain "
            "everything; choose fewer columns"
        )
    return RunConfounds(values, keep, tuple(why))


def _kept(sample_mask: np.ndarray | slice | None, n_trs: int) -> np.ndarray:
    """Indices or flags of volumes, or a slice of them, as flags."""
    if sample_mask is None:
        return np.ones(n_trs, bool)
    if isinstance(sample_mask, slice):
        keep = np.zeros(n_trs, bool)
        keep[sample_mask] = True
        return keep
    mask = np.asarray(sample_mask)
    if mask.dtype == bool and mask.shape == (n_trs,):
        return mask.copy()
    if mask.ndim != 1 or mask.dtype.kind not in "iu" or (mask.size and not 0 <= mask.min() <= mask.max() < n_trs):
        raise InputError(
            f"the sample mask is {mask.dtype} {mask.shape}; expected indices of the volumes kept, 0 to {n_trs - 1}"
        )
    keep = np.zeros(n_trs, bool)
    keep[mask] = True
    return keep


def _flags(values: np.ndarray, column: str, source: str) -> bool:
    """Whether a column says which volumes to censor."""
    ones = int((values == 1).sum())
    if ones + int((values == 0).sum()) < len(values):
        return False
    if ones == 1 and len(values) > 2:
        return True
    told = f"column {column!r} of {source} holds only 0 and 1, and 1 in {ones} of {len(values)} volumes"
    if not OUTLIER.search(column):
        if 0 < ones < len(values):
            log.warning(
                "%s: it is regressed out and censors nothing; if 1 marks the volumes to censor, put 'outlier' into its "
                "name; if it marks those to keep, leave it out and pass their sample mask",
                told,
            )
        return False
    if 2 * ones >= len(values) > 2:
        raise InputError(
            f"{told}, each of which would be censored; if 1 means kept there, as in AFNI's censor files, swap 0 and 1, "
            "or leave it out and pass the volumes kept as a sample mask, as nilearn's load_confounds does; if it means "
            "censored, give each volume its own column"
        )
    return True


def _table(
    confounds: Table, columns: Sequence[str] | None, decimal: Literal[".", ","]
) -> tuple[str, pd.DataFrame | None]:
    """What messages call it, and the columns wanted as float64; None where no column was."""
    if isinstance(confounds, (str, Path)):
        name = Path(confounds).name
        if columns is None or not len(columns):
            raise InputError(f"{name}: which confounds? name the columns, such as trans_?, rot_?, a_comp_cor_0[0-4]")
        wanted = _wanted(column_names(confounds, decimal), columns, name)
        if not wanted:
            return name, None
        return name, read_table(confounds, wanted, decimal=decimal_in(confounds, wanted, decimal))
    name = "the confounds table"
    with reading(name, "expected a DataFrame or an array (n_trs, n_confounds)"):
        table = pd.DataFrame(confounds).rename(columns=str)
    if columns is not None:
        table = table[_wanted(list(table.columns), columns, name)]
    for column, values in table.items():
        told = f"column {column!r} of {name}"
        if getattr(values.dtype, "kind", "O") in "cmM":  # what a cast would cut or count in nanoseconds
            raise InputError(f"{told} is {values.dtype}; expected real numbers; name the confound_columns to use")
        with reading(told, "expected numbers; name the confound_columns to use"):
            table[column] = values.astype(np.float64)
    return name, table if table.shape[1] else None


def _wanted(names: list[str], patterns: Sequence[str], source: str) -> list[str]:
    """The columns that the patterns choose; outliers are not in every run."""
    given = [patterns] if isinstance(patterns, str) else list(patterns)
    absent = [p for p in given if OUTLIER.search(p) and p not in names and not fnmatch.filter(names, p)]
    if absent:
        log.info("%s has no column %s: no volume of the run is an outlier of that sort", source, ", ".join(absent))
    return chosen_columns(names, [pattern for pattern in given if pattern not in absent], source)


def empty_volumes(run: np.ndarray) -> np.ndarray:
    """Volumes of a run that are wholly NaN.

    Parameters
    ----------
    run : ndarray of float, shape (n_trs, n_columns)

    Returns
    -------
    ndarray of bool, shape (n_trs,)
    """
    found = np.zeros(len(run), bool)
    found[_rows(run, np.isnan)] = True
    return found


def tell_censored(path: Path, run: np.ndarray, confounds: RunConfounds) -> None:
    """Say how many volumes of a run are censored, and by what; and which are 0 everywhere, and are not.

    Parameters
    ----------
    path : Path
        Of the run, for messages.
    run : ndarray of float, shape (n_trs, n_columns)
    confounds : RunConfounds

    Raises
    ------
    InputError
        If fewer than 2 are left.
    """
    keep, zero = confounds.sample_mask, _rows(run, np.logical_not)
    why = ", ".join(confounds.why)
    if keep.sum() < 2:
        raise InputError(
            f"{path.name}: {keep.sum()} of {len(run)} volumes are not censored, expected at least 2; censored: {why}"
        )
    if not keep.all():
        log.warning("%s: %d of %d volumes are censored: %s", path.name, (~keep).sum(), len(run), why)
    zero = zero[keep[zero]]
    if 0 < len(zero) < keep.sum() and run.shape[1] > 1:
        log.warning(
            "%s: volumes %s are 0 everywhere, and taken as data: if they were censored, write n/a (NaN) there, or name "
            "them in a column of the confounds",
            path.name, _listed(zero),
        )  # fmt: skip


def _rows(run: np.ndarray, test: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Rows of which every value passes a test; looked for among those whose first value does."""
    rows = np.flatnonzero(test(run[:, 0]))
    return rows[[bool(test(run[row]).all()) for row in rows]] if len(rows) else rows


def _listed(found: Sequence[Any] | np.ndarray) -> str:
    return ", ".join(map(str, found[:5])) + (f", ... ({len(found)} in all)" if len(found) > 5 else "")
