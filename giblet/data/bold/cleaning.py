"""Columns of BOLD that hold no signal, and drifts and confounds taken out of those that do.

Censored volumes count for nothing here: they are neither looked at nor fitted to.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import linalg

from giblet.docs import fill_doc
from giblet.errors import InputError

log = logging.getLogger(__name__)

COLUMNS_AT_A_TIME = 8192
"""Columns cleaned in one go, in float64: memory stays the same however many voxels there are."""
ROUNDING = 2 * float(np.finfo(np.float32).eps)
"""What varies by less than this share of its largest value does so by rounding to 32 bits."""
EXPLAINED = 1e-5
"""A deviation that cleaning leaves below this share is what rounding left of nothing."""
COLLINEAR = 1e-6
"""A regressor of which less than this share is its own says what the ones before it say."""
FEW = 20
"""Degrees of freedom below which a warning is given; and below a fifth of the volumes."""


@dataclass(frozen=True)
class BadColumns:
    """Columns that no model can learn from, bool (n_columns,) each."""

    not_finite: np.ndarray
    """NaN or infinity in at least one volume."""
    constant: np.ndarray
    """Finite, but without any change within at least one run."""
    explained: np.ndarray
    """Nothing is left but rounding once drifts and confounds are out of at least one run."""

    @property
    def any(self) -> np.ndarray:
        """Any of the three, bool (n_columns,)."""
        return self.not_finite | self.constant | self.explained

    def describe(self, what: str, name: Callable[[int], str]) -> str:
        """How many, of which sort, and which: the first five by name.

        Parameters
        ----------
        what : str
            Plural of what a column is, such as "voxels".
        name : callable
            Name of a column by its index.

        Returns
        -------
        str
        """
        found = np.flatnonzero(self.any)
        named = ", ".join(name(int(i)) for i in found[:5]) + (", ..." if len(found) > 5 else "")
        sorts = f"{int(self.not_finite.sum())} with NaN or infinity, {int(self.constant.sum())} constant within a run"
        if self.explained.any():
            sorts += f", {int(self.explained.sum())} of which cleaning leaves nothing"
        return f"{len(found)} of {len(self.any)} {what} are bad ({sorts}): {named}"


def find_bad(runs: Sequence[np.ndarray], keep: Sequence[np.ndarray] | None = None) -> BadColumns:
    """Columns that are not finite, or constant within a run, in the volumes that are kept.

    Parameters
    ----------
    runs : sequence of ndarray of float, shape (n_trs, n_columns)
    keep : sequence of ndarray of bool, shape (n_trs,), optional
        False for censored volumes; by default all are kept.

    Returns
    -------
    BadColumns
        ``explained`` is False everywhere: nothing is cleaned here.
    """
    not_finite = np.zeros(runs[0].shape[1], bool)
    constant = not_finite.copy()
    for run, kept in zip(runs, keep or [np.ones(len(r), bool) for r in runs], strict=True):
        # numpy is several times faster where it need not ask of each row.
        rows = True if kept.all() else kept[:, None]
        low = run.min(axis=0, initial=np.inf, where=rows)  # NaN and infinity show in them
        high = run.max(axis=0, initial=-np.inf, where=rows)
        finite = np.isfinite(low) & np.isfinite(high)
        not_finite |= ~finite
        with np.errstate(invalid="ignore"):
            constant |= high - low <= ROUNDING * np.maximum(np.abs(low), np.abs(high))
    return BadColumns(not_finite, constant & ~not_finite, np.zeros_like(constant))


def judge(bad: BadColumns, policy: str, what: str, name: Callable[[int], str], source: str) -> np.ndarray:
    """Apply ``bad="error"|"mask"|"zero"``: refuse bad columns, or warn of them.

    Parameters
    ----------
    bad : BadColumns
    policy : {"error", "mask", "zero"}
    what : str
        Plural of what a column is, such as "voxels".
    name : callable
        Name of a column by its index.
    source : str
        What the message calls the scan.

    Returns
    -------
    ndarray of bool, shape (n_columns,)
        Which columns are good.

    Raises
    ------
    InputError
        If there are bad columns and `policy` is "error", or if no column is good.
    """
    if not bad.any.any():
        return ~bad.any
    text = f"{source}: {bad.describe(what, name)}"
    if bad.any.all():
        raise InputError(f"{text}; nothing remains to learn from; check that this is the right, complete file")
    if policy == "error":
        raise InputError(f"{text}; look at them, then choose bad='mask' (left out) or bad='zero' (kept, marked)")
    log.warning("%s; %s", text, "left out" if policy == "mask" else "kept as zeros, marked not good")
    return ~bad.any


def independent(columns: np.ndarray) -> np.ndarray:
    """Which columns say something that neither a constant nor the columns chosen before them say.

    Parameters
    ----------
    columns : ndarray of float64, shape (n_trs, n_columns)

    Returns
    -------
    ndarray of int, shape (rank,)
        In ascending order.
    """
    if not columns.size:
        return np.arange(0)
    centred = columns - columns.mean(axis=0)
    norms, sizes = np.linalg.norm(centred, axis=0), np.linalg.norm(columns, axis=0)
    varying = np.flatnonzero(norms > 1e-12 * sizes)
    if not len(varying):
        return varying
    triangle, order = linalg.qr(centred[:, varying] / norms[varying], mode="r", pivoting=True)
    own = np.abs(np.diag(triangle)) > COLLINEAR
    return np.sort(varying[order[: len(own)][own]])


@fill_doc
def regressors_of(
    n_trs: int,
    tr: float,
    confounds: np.ndarray | None = None,
    detrend: bool = False,
    high_pass: float | None = None,
    keep: np.ndarray | None = None,
) -> np.ndarray:
    """What is taken out of a run: a straight line, cosine drifts, confounds, each that is like others once.

    Lines and cosines are those of the whole run, in the time of the scan: censoring closes no gap.

    Parameters
    ----------
    n_trs : int
        Volumes of the run.
    tr : float
        %(tr)s
    confounds : ndarray of float, shape (n_trs, n_confounds), optional
    detrend : bool
        Take out a straight line.
    high_pass : float, optional
        In Hz: cosine drifts slower than this are taken out.
    keep : ndarray of bool, shape (n_trs,), optional
        False for censored volumes.

    Returns
    -------
    ndarray of float64, shape (n_kept, n_regressors)

    Raises
    ------
    InputError
        If `high_pass` is faster than anything in the scan.
    """
    parts = []
    if detrend:
        parts.append(np.linspace(-1, 1, n_trs)[:, None])
    if high_pass is not None:
        if high_pass * tr >= 0.5:
            raise InputError(
                f"high_pass is {high_pass:g} Hz: at a TR of {tr:g} s it must be below {0.5 / tr:.4g} Hz, or "
                "nothing would be left; 1/128 Hz is usual"
            )
        from nilearn.glm.first_level import make_first_level_design_matrix  # here, as it takes two seconds

        design = make_first_level_design_matrix(np.arange(n_trs) * tr, drift_model="cosine", high_pass=high_pass)
        parts.append(design.drop(columns="constant").to_numpy())
    if confounds is not None:
        parts.append(np.asarray(confounds, np.float64))
    found = np.concatenate(parts, axis=1) if parts else np.zeros((n_trs, 0))
    found = found if keep is None else found[keep]
    return found[:, independent(found)]


@fill_doc
def clean_run(
    run: np.ndarray,
    *,
    tr: float,
    confounds: np.ndarray | None = None,
    detrend: bool = False,
    high_pass: float | None = None,
    standardize: bool = False,
    keep: np.ndarray | None = None,
    source: str = "the run",
) -> None:
    """Clean one run in place with nilearn's ``signal.clean``, on the volumes that are kept.

    Parameters
    ----------
    run : ndarray of float32, shape (n_trs, n_columns)
        In the volumes kept finite, no column constant. A column of which nothing but rounding is left becomes 0 in
        them. Volumes that are not kept stay as they are.
    tr : float
        %(tr)s
    confounds : ndarray of float, shape (n_trs, n_confounds), optional
    detrend : bool
        Take out mean and straight line.
    high_pass : float, optional
        In Hz: cosine drifts slower than this go, in the same regression as line and confounds.
    standardize : bool
        Scale to mean 0 and deviation 1 over the volumes that are kept.
    keep : ndarray of bool, shape (n_trs,), optional
        False for censored volumes.
    source : str
        What the message calls the run.

    Raises
    ------
    InputError
        If mean, line, drifts and confounds leave no degree of freedom, or `high_pass` is faster than anything in the
        run.
    """
    regressing = confounds is not None or high_pass is not None or detrend
    if not regressing and not standardize:
        return
    kept = np.ones(len(run), bool) if keep is None else keep
    taken = regressors_of(len(run), tr, confounds, detrend, high_pass, kept)
    if regressing:
        _check_freedom(int(kept.sum()), taken.shape[1], source)
    from nilearn import signal  # here, as it takes a second and a half

    for start in range(0, run.shape[1], COLUMNS_AT_A_TIME):
        part = slice(start, start + COLUMNS_AT_A_TIME)
        raw = run[kept, part].astype(np.float64)
        left = raw
        if taken.shape[1]:
            left = signal.clean(raw, confounds=taken, detrend=False, standardize=None, filter=False)
        # Judged before the scale is set to 1, which would hide it.
        nothing = left.std(axis=0) <= np.maximum(ROUNDING * np.abs(raw).max(axis=0), EXPLAINED * raw.std(axis=0))
        if standardize:
            left = signal.clean(left, detrend=False, standardize="zscore_sample", filter=False)
        elif detrend:
            left = left - left.mean(axis=0)
        run[kept, part] = np.where(nothing, 0, left)


def _check_freedom(n_kept: int, n_regressors: int, source: str) -> None:
    """Refuse a run that is explained whole by what is taken out of it, and warn where little is left."""
    left = n_kept - 1 - n_regressors
    told = f"{source}: mean, drifts and confounds take {n_regressors + 1} of the {n_kept} degrees of freedom"
    if left < 1:
        raise InputError(
            f"{told} that its volumes have, and would leave no degree of freedom; choose fewer confounds or a "
            "lower high_pass, or censor fewer volumes"
        )
    if left < FEW or 5 * left < n_kept:
        log.warning(
            "%s that its volumes have; fewer than %d, or than a fifth, remain; choose fewer confounds or a "
            "lower high_pass",
            told, FEW,
        )  # fmt: skip
