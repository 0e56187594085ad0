"""Does the scan follow the stimulus that it is paired with, and if not, by how many seconds is it off?"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor
from typing import TYPE_CHECKING, Any

import numpy as np

from giblet.alignment import LagScan, lag_scan, response_at
from giblet.alignment.kernels import check_hrf
from giblet.alignment.lags import BLOCK, HIGH_PASS, standardised
from giblet.alignment.prewhitening import slow_basis
from giblet.alignment.scan import Scan, censored, scan_of
from giblet.data.splits import HRF_SECONDS
from giblet.errors import AlignmentError, InputError
from giblet.evaluation.regressors import Regressor as Regressor
from giblet.evaluation.regressors import envelope as envelope
from giblet.evaluation.regressors import regressors_of as regressors_of
from giblet.notebook import html_table
from giblet.renamed import renamed
from giblet.timing import shown

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

log = logging.getLogger(__name__)

STEPS_PER_TR = 10
"""The response is known this often, so that times between TRs are read, and not rounded."""
EACH = 50
"""Up to so many voxels or regions are scanned one by one; of more, only their mean."""
SIGNIFICANT = 0.05
HRF_VARIES = 2.0
"""Seconds. People's responses peak 4 to 7 s after a stimulus, which moves the best lag by -0.7 to +2.2 s."""


@dataclass(frozen=True, repr=False)
class AlignmentCheck:
    """A regressor scanned against one BOLD."""

    name: str
    scan: LagScan
    targets: tuple[str, ...]
    """Names of the columns that were scanned; with one column the mean is that column."""
    stimulus_time_at_volume_0: float
    """Seconds, as it was assumed."""
    slice_time_ref: float
    """When in its TR a volume was read."""
    table_time_at_tr_0: float
    """As of the regressor."""
    left: float
    """Seconds of the stimulus behind the last volume; negative: of the scan behind the stimulus."""
    tr: float
    """Seconds."""
    n_trs: int
    """Volumes of the run."""
    high_pass: float | None
    """In Hz: slower drifts were taken out of both sides, which were then prewhitened."""

    @property
    def r(self) -> float:
        """Correlation of the mean at its best lag."""
        return float(self.scan.mean_r[int(np.argmin(np.abs(self.scan.lags - self.scan.mean_best_lag)))])

    @property
    def verdict(self) -> str:
        """``"aligned"`` (to within what HRFs vary), ``"shifted"``, ``"at the edge"`` of the lags, or ``"unclear"``."""
        scan = self.scan
        if scan.mean_p > SIGNIFICANT:
            return "unclear"
        if scan.mean_best_lag in (scan.lags[0], scan.lags[-1]) and scan.mean_best_lag != 0:
            return "at the edge"
        return "aligned" if abs(self.lag) <= HRF_VARIES + 1e-9 else "shifted"

    @property
    def lag(self) -> float:
        """Seconds by which the BOLD comes later, to a tenth: the peak of r, between the lags that were scanned."""
        return round(self.scan.mean_peak, 1) + 0.0

    @property
    def interval(self) -> str:
        """The peak of r between the lags that were scanned, and its 95 % interval, in words."""
        low, high = self.scan.mean_interval
        return f"peak at {self.lag:+.1f} s, 95 % interval {low:+.1f} to {high:+.1f} s"

    @property
    def advice(self) -> str:
        """What follows from it, in a sentence."""
        best, lag = self.scan.mean_best_lag, self.lag
        if self.verdict == "aligned":
            near = "" if best == 0 else f", which HRFs explain: they move the best lag by about {HRF_VARIES:g} s"
            return f"{self.name}: the BOLD follows it at lag {best:g} s ({self.interval}){near}"
        if self.verdict == "unclear":
            return (
                f"{self.name}: no lag stands out from chance (p = {self.scan.mean_p:.2g}), which shows neither that it "
                "is aligned nor that it is not; use more data, or regions that answer to it"
            )
        if self.verdict == "at the edge":
            return (
                f"{self.name}: the best lag, {best:+g} s, is the last that was scanned: the true one may lie beyond; "
                "widen `lags`"
            )
        way = "later" if lag > 0 else "earlier"
        if self.table_time_at_tr_0:
            remedy = f"extract it again with table_time_at_tr_0={self.table_time_at_tr_0 - lag:g}"
        else:
            # Seen so much later, the stimulus outlasts the scan.
            trim = " and trim=True" if self.left + lag >= self.tr - 1e-6 else ""
            remedy = f"use stimulus_time_at_volume_0={self.stimulus_time_at_volume_0 - lag:g}{trim}"
        return (
            f"{self.name}: the BOLD comes {abs(lag):g} s {way} than the stimulus time at volume 0 says; if other "
            f"regressors agree, {remedy} ({self.interval}; about {HRF_VARIES:g} s can be the HRF's own variability)"
        )

    def __repr__(self) -> str:
        """Best lag of the mean, its p and the verdict."""
        scan = self.scan
        return (
            f"<AlignmentCheck {self.name}: best lag {scan.mean_best_lag:+g} s, r = {self.r:.3f}, "
            f"p = {scan.mean_p:.3g}, {self.verdict}>"
        )

    def _repr_html_(self) -> str:
        """A line for each target and for their mean, for notebooks."""
        rows = self.to_pandas().itertuples()
        return html_table(self.advice, ("", "best lag, s", "r", "p", "95 % of surrogates below"), rows)

    def to_pandas(self) -> pd.DataFrame:
        """The best lag of each target and of their mean.

        Returns
        -------
        pandas.DataFrame
            ``best_lag`` (s), ``r`` at that lag, ``p``, and ``null_95``, by ``target``; the last row is ``"mean"``.

        See Also
        --------
        giblet.alignment.LagScan.to_pandas : the correlation at every lag.
        """
        import pandas as pd

        scan = self.scan
        columns = {
            "best_lag": [*scan.best_lag, scan.mean_best_lag],
            "r": [*scan.r.max(axis=0), self.r],
            "p": [*scan.p, scan.mean_p],
            "null_95": [*scan.threshold, scan.mean_threshold],
        }
        return pd.DataFrame(columns, index=pd.Index([*self.targets, "mean"], name="target"), dtype=np.float64)

    def to_xarray(self) -> xr.Dataset:
        """The correlation at every lag, with the names of the targets.

        Returns
        -------
        xarray.Dataset
            As :meth:`giblet.alignment.LagScan.to_xarray`; attributes: ``regressor``, ``tr`` (s), ``verdict``.
        """
        about = {"regressor": self.name, "tr": self.tr, "verdict": self.verdict}
        return self.scan.to_xarray(self.targets).assign_attrs(about)

    def row(self) -> dict[str, Any]:
        """Plain values for a table or JSON.

        Returns
        -------
        dict
            ``regressor``, ``best_lag``, ``peak`` and ``best_lag_interval``, which is the peak's (s), ``high_pass``
            (Hz), ``r``, ``p``, ``null_95``, ``tr`` (s), ``n_volumes``, ``slice_time_ref``, ``verdict``, ``advice``,
            ``lags`` (s) and ``r_by_lag``, the mean over columns at each of them, and ``targets``: a dict for each
            column.
        """
        return {
            "regressor": self.name,
            "best_lag": self.scan.mean_best_lag,
            "peak": self.scan.mean_peak,
            "best_lag_interval": list(self.scan.mean_interval),
            "high_pass": self.high_pass,
            "r": self.r,
            "p": self.scan.mean_p,
            "null_95": self.scan.mean_threshold,
            "tr": self.tr,
            "n_volumes": self.scan.n_volumes,
            "slice_time_ref": self.slice_time_ref,
            "verdict": self.verdict,
            "advice": self.advice,
            "lags": [float(lag) for lag in self.scan.lags],
            "r_by_lag": [float(r) for r in self.scan.mean_r],
            "targets": [
                {"name": name, "best_lag": float(lag), "r": float(r), "p": float(p), "null_95": float(limit)}
                for name, lag, r, p, limit in zip(
                    self.targets, self.scan.best_lag, self.scan.r.max(axis=0), self.scan.p, self.scan.threshold,
                    strict=True,
                )
            ],
        }  # fmt: skip


@renamed(start_offset="stimulus_time_at_volume_0")
# 13 parameters: what a scan is compared with, how, and what of it; scripts pass `tr` by position.
def check(
    regressor: Regressor,
    bold: Any,
    tr: float,
    *,
    targets: Sequence[str],
    stimulus_time_at_volume_0: float = 0.0,
    lags: np.ndarray | None = None,
    hrf: str = "glover",
    n_surrogates: int = 1000,
    high_pass: float | None = HIGH_PASS,
    trim: bool = False,
    slice_time_ref: float | None = None,
    sample_mask: Any = None,
    seed: int = 0,
) -> AlignmentCheck:
    """Scan a regressor, convolved with an HRF, against BOLD.

    Parameters
    ----------
    regressor : Regressor
        Its mean is taken out first, so that the response does not rise from zero where the stimulus begins.
    bold : ndarray of float, shape (n_volumes, n_targets), DataArray or Dataset with ``bold``
        One run. A Dataset says itself which volumes are censored, and by its ``onset`` which it lacks.
    tr : float
        Repetition time in seconds.
    targets : sequence of str
        Names of the columns.
    stimulus_time_at_volume_0 : float
        Second of the stimulus at the onset of volume 0.
    lags : ndarray, optional
        Seconds; whole TRs up to 15 s either way by default. Positive: the BOLD comes later.
    hrf : str
        ``"glover"`` or ``"spm"``.
    n_surrogates : int
        Phase-randomised regressors of the null distribution.
    high_pass : float, optional
        In Hz: take slower drifts out of both sides, and prewhiten them; lines and parabolas always are taken out. See
        :func:`giblet.alignment.lag_scan`.
    trim : bool
        Accept a stimulus that goes on for a TR or more after the last volume.
    slice_time_ref : float, optional
        When in its TR a volume is read, 0 (its onset) to 1: the regressor is read at the same moment. By default what
        `bold` says, else 0.
    sample_mask : array_like of bool, shape (n_volumes,), optional
        False: the volume is censored, and counts nowhere.
    seed : int
        Of the surrogates.

    Returns
    -------
    AlignmentCheck
        Of up to 50 targets each, and their mean; of more, the mean only.

    Raises
    ------
    AlignmentError
        If the BOLD is shorter than the stimulus, they do not overlap, or too few volumes are left.
    InputError
        If an option is out of range or a series does not vary.
    """
    if high_pass is not None and not 0 < high_pass < 0.5 / tr:
        raise InputError(f"high_pass is {high_pass:g} Hz: it must lie between 0 and {0.5 / tr:g} Hz, such as 0.008")
    scan = scan_of(bold, tr=tr).without(sample_mask)
    slice_time_ref = float((scan.slice_time_ref or 0.0) if slice_time_ref is None else slice_time_ref)
    check_hrf(hrf, tr=tr, slice_time_ref=slice_time_ref, oversampling=STEPS_PER_TR)
    check_extent(regressor.name, regressor.edges, scan, stimulus_time_at_volume_0, trim=trim)
    times = _response_times(regressor, tr, stimulus_time_at_volume_0, slice_time_ref)
    read_at = times + stimulus_time_at_volume_0 + slice_time_ref * tr
    response = response_at(regressor.values - regressor.values.mean(), regressor.edges, read_at, hrf, tr=tr)
    values, mask = scan.whole
    values, targets = what_is_checked(values, targets, tr, mask)
    left = float(regressor.edges[-1]) - stimulus_time_at_volume_0 - scan.n_volumes * tr
    _warn_of_a_long_scan(regressor, scan, left)
    lag_scanned = lag_scan(
        response, values, tr=tr, lags=lags, regressor_times=times, n_surrogates=n_surrogates, high_pass=high_pass,
        sample_mask=mask, seed=seed,
    )  # fmt: skip
    return AlignmentCheck(
        name=regressor.name, scan=lag_scanned, targets=tuple(targets),
        stimulus_time_at_volume_0=stimulus_time_at_volume_0, slice_time_ref=slice_time_ref,
        table_time_at_tr_0=regressor.table_time_at_tr_0, left=left, tr=tr,
        n_trs=len(scan.data), high_pass=high_pass,
    )  # fmt: skip


def check_extent(name: str, edges: np.ndarray, scan: Scan, stimulus_time_at_volume_0: float, *, trim: bool) -> None:
    """Refuse a regressor that lies outside the scan, or that outlasts it unless it shall be trimmed.

    Parameters
    ----------
    name : str
        Of the regressor.
    edges : ndarray of float64, shape (n_samples + 1,)
        Seconds of its film, as :attr:`giblet.evaluation.regressors.Regressor.edges`.
    scan : Scan
        Of which only volumes and TR count.
    stimulus_time_at_volume_0 : float
        Second of the stimulus at the onset of volume 0.
    trim : bool
        Accept a stimulus that goes on for a TR or more after the last volume.

    Raises
    ------
    AlignmentError
        If the BOLD is shorter than the stimulus, or they do not overlap.
    """
    begin, end = (float(edge) - stimulus_time_at_volume_0 for edge in edges[[0, -1]])
    length = scan.n_volumes * scan.tr
    if begin >= length:
        raise AlignmentError(
            f"{scan.extent}, {name} begins {begin:g} s after volume 0: check the run and stimulus_time_at_volume_0"
        )
    if not trim and end - length >= scan.tr - 1e-6:
        lasts = f"lasts {end:g} s from volume 0"
        if edges[0] > 0:
            lasts = f"is of second {edges[0]:g} to {edges[-1]:g} of its film, and {lasts}"
        raise AlignmentError(
            f"{scan.extent}, {name} {lasts}: "
            "check the run, the TR and stimulus_time_at_volume_0, or pass trim=True if the scan was stopped early"
        )
    if end <= 0:
        raise AlignmentError(f"{name} ends {-end:g} s before volume 0: check stimulus_time_at_volume_0")


def _response_times(
    regressor: Regressor, tr: float, stimulus_time_at_volume_0: float, slice_time_ref: float
) -> np.ndarray:
    """Seconds from the moment at which volume 0 was read, at which the response is known: ten per TR."""
    begin, end = (float(edge) - stimulus_time_at_volume_0 for edge in regressor.edges[[0, -1]])
    step, after_onset = tr / STEPS_PER_TR, slice_time_ref * tr
    first = ceil((begin - after_onset) / step - 1e-6)
    last = floor((end - after_onset) / step + 1e-6)
    if last - first < 3:
        raise AlignmentError(f"{regressor.name} has {end - begin:g} s; expected more than {3 * step:g} s")
    return np.arange(first, last + 1) * step


def _warn_of_a_long_scan(regressor: Regressor, scan: Scan, left: float) -> None:
    """Say it where the stimulus ends long before the scan; `left` are its seconds behind the last volume."""
    length = scan.n_volumes * scan.tr
    if -left > max(HRF_SECONDS, 0.1 * length):
        log.warning(
            "%s ends %g s before the BOLD, which lasts %g s (%d volumes of %s s), does: if the stimulus did not end "
            "before the scan, check the TR and the run", regressor.name, -left, length, scan.n_volumes,
            shown(scan.tr),
        )  # fmt: skip


def what_is_checked(
    bold: np.ndarray, targets: Sequence[str], tr: float, sample_mask: np.ndarray | None
) -> tuple[np.ndarray, Sequence[str]]:
    """The columns of BOLD as they are where they are few, the mean of all where they are more than `EACH`.

    Parameters
    ----------
    bold : ndarray of float, shape (n_volumes, n_targets)
    targets : sequence of str
        Names of its columns.
    tr : float
        In seconds.
    sample_mask : ndarray of bool, shape (n_volumes,), or None
        Volumes that count; None where all do.

    Returns
    -------
    bold : ndarray of float, shape (n_volumes, n)
    targets : sequence of str

    Raises
    ------
    InputError
        If a column does not vary.
    """
    n_targets = bold.shape[1]
    if n_targets <= EACH:
        return bold, targets
    return _mean_of(bold, tr, sample_mask), [f"mean of {n_targets}"]


def _mean_of(bold: np.ndarray, tr: float, sample_mask: Any) -> np.ndarray:
    """Mean of the standardised columns, lines and parabolas taken out, (n_volumes, 1); 0 where censored."""
    kept = np.arange(len(bold)) if sample_mask is None else np.flatnonzero(censored(sample_mask, len(bold)))
    mean = np.zeros((len(bold), 1))
    if not len(kept):
        return mean
    slow = slow_basis(kept - kept[0], tr=tr, detrend=True, high_pass=None)
    rows = slice(None) if len(kept) == len(bold) else kept
    for start in range(0, bold.shape[1], BLOCK):
        mean[kept, 0] += standardised(bold[rows, start : start + BLOCK], slow).sum(axis=1)
    return mean / bold.shape[1]
