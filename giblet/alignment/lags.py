"""The lag in seconds at which BOLD follows a stimulus, and how likely it is by chance.

References
----------
Theiler et al. (1992). Testing for nonlinearity in time series: the method of surrogate data. Physica D 58, 77-94.
Nichols, Holmes (2002). Nonparametric permutation tests for functional neuroimaging. Human Brain Mapping 15, 1-25.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from giblet.alignment.checks import array_of_kind, increasing
from giblet.alignment.prewhitening import Prewhitened, lag_one, slow_basis, whitened, without_drifts
from giblet.alignment.scan import Scan, censored, knows_its_volumes, scan_of
from giblet.errors import AlignmentError, InputError
from giblet.notebook import html_table
from giblet.timing import check_tr

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

SPAN = 15.0
"""Lags that are scanned if none are given, in seconds to either side."""
BLOCK = 256
"""Targets taken at a time: surrogates x lags x targets would not fit in memory for a whole brain. And surrogates, which
then stay in the processor's caches until they are standardised."""
MIN_VOLUMES = 20
HIGH_PASS = 1 / 128
"""Hz. Slower than that, BOLD is mostly drift."""
N_SIMULATED = 1000
"""Data sets from which the interval of the best lag comes."""


@dataclass(frozen=True, repr=False)
class LagScan:
    """Correlation of a regressor with BOLD by lag; positive lags: the BOLD comes later than the regressor says."""

    lags: np.ndarray
    """Seconds (n_lags,)."""
    r: np.ndarray
    """Correlations (n_lags, n_targets)."""
    best_lag: np.ndarray
    """Seconds (n_targets,): where `r` (or, two-sided, its size) is largest."""
    p: np.ndarray
    """(n_targets,): share of surrogates whose best lag is as good; corrected for the search over lags, not targets."""
    threshold: np.ndarray
    """(n_targets,): 95th percentile of the best correlation of the surrogates."""
    mean_r: np.ndarray
    """(n_lags,): correlation with the mean of the standardised targets."""
    mean_best_lag: float
    """Seconds: of the lags that were scanned."""
    mean_peak: float
    """Seconds: where `mean_r` would be largest between them, by a parabola through the best lag and its neighbours."""
    mean_p: float
    """As `p`."""
    mean_threshold: float
    """As `threshold`."""
    mean_interval: tuple[float, float]
    """Seconds: the middle 95 % of the best lags that data like these, of the same `r` at the best lag, would give."""
    volumes: slice
    """The volumes that every lag could use."""
    n_volumes: int
    """How many of them are not censored."""

    def __str__(self) -> str:
        """Best lag of the mean, with its p."""
        best = self.mean_r[int(np.argmin(np.abs(self.lags - self.mean_best_lag)))]
        return (
            f"best lag {self.mean_best_lag:+g} s: r = {best:.3f}, p = {self.mean_p:.3g} "
            f"(95 % of surrogates stay below {self.mean_threshold:.3f})"
        )

    def __repr__(self) -> str:
        """How many lags and targets, and what came out."""
        return f"<LagScan of {self.r.shape[1]} targets at {len(self.lags)} lags: {self}>"

    def _repr_html_(self) -> str:
        """The correlation of the mean at each lag, for notebooks."""
        rows = [(f"{lag:+g}", float(r)) for lag, r in zip(self.lags, self.mean_r, strict=True)]
        return html_table(str(self), ("lag, s", "r of the mean"), rows)

    def to_pandas(self, targets: Sequence[str] | None = None) -> pd.DataFrame:
        """The correlation at every lag.

        Parameters
        ----------
        targets : sequence of str, optional
            Names of the columns; they are counted from 0 by default.

        Returns
        -------
        pandas.DataFrame
            By ``lag`` (s), a column of `r` for each target, and ``"mean"``.
        """
        import pandas as pd

        table = pd.DataFrame(self.r, index=pd.Index(self.lags, name="lag"))
        if targets is not None:
            table.columns = pd.Index(list(targets))
        return table.assign(mean=self.mean_r)

    def to_xarray(self, targets: Sequence[str] | None = None) -> xr.Dataset:
        """All figures, by lag and target.

        Parameters
        ----------
        targets : sequence of str, optional
            Names of the columns; they are counted from 0 by default.

        Returns
        -------
        xarray.Dataset
            ``r`` (lag, target), ``best_lag`` (s), ``p`` and ``threshold`` (target), ``mean_r`` (lag); attributes:
            ``mean_best_lag``, ``mean_peak`` and ``mean_interval`` (s), ``mean_p``, ``mean_threshold``, ``n_volumes``.
        """
        import xarray as xr

        names = np.arange(self.r.shape[1]) if targets is None else list(targets)
        variables = {
            "r": (("lag", "target"), self.r),
            "best_lag": ("target", self.best_lag, {"units": "s"}),
            "p": ("target", self.p),
            "threshold": ("target", self.threshold),
            "mean_r": ("lag", self.mean_r),
        }
        about = ("mean_best_lag", "mean_peak", "mean_interval", "mean_p", "mean_threshold", "n_volumes")
        return xr.Dataset(
            variables,
            {"lag": ("lag", self.lags, {"units": "s"}), "target": names},
            {name: getattr(self, name) for name in about},
        )


def lag_scan(  # 11 parameters: two series with their times, and the choices of the test, each with a default
    regressor: Any,
    bold: Any,
    *,
    tr: float,
    lags: Any = None,
    regressor_times: Any = None,
    n_surrogates: int = 1000,
    tail: Literal["positive", "both"] = "positive",
    detrend: bool = True,
    high_pass: float | None = HIGH_PASS,
    sample_mask: Any = None,
    seed: int = 0,
) -> LagScan:
    """Correlate a regressor with BOLD at several lags, against phase-randomised regressors.

    Every lag uses the same volumes, those for which the regressor is known at all lags, so that correlations can be
    compared. Slow drifts are taken out of both sides, and both are prewhitened by one filter,
    ``y[t] - phi * y[t - 1]`` with the `phi` of the BOLD, target by target; correlations are of what is left. A
    surrogate has the regressor's spectrum and random phases; it is scanned over the same lags, and its best correlation
    is what the observed best is compared with.

    Parameters
    ----------
    regressor : array_like, shape (n_trs,) or (n_times,)
        What BOLD should look like at lag 0: a feature convolved with an HRF. One run; without `regressor_times` one
        value for each row of `bold`, or for each volume of its run up to the last that it holds.
    bold : array_like, shape (n_trs, n_targets) or (n_trs,), DataArray or Dataset with ``bold``
        Voxels, regions, or listeners; row ``k`` at ``k * tr`` seconds, or at its ``onset`` in a Dataset of one run that
        has been cut. Volumes that it lacks, or that its ``sample_mask`` censors, count nowhere.
    tr : float
        Repetition time in seconds.
    lags : array_like, shape (n_lags,), optional
        Seconds, increasing; whole TRs up to 15 s to either side by default. Positive: BOLD comes later.
    regressor_times : array_like, shape (n_times,), optional
        Seconds from volume 0 at which a finer regressor is known (:func:`giblet.alignment.response_at`), evenly
        spaced; needed for lags that are not whole TRs. It may begin before volume 0 and end after the last.
    n_surrogates : int
        The smallest p is 1 / (n_surrogates + 1).
    tail : {"positive", "both"}
        Look for the largest correlation, or the largest in size.
    detrend : bool
        Remove lines and parabolas from both sides.
    high_pass : float, optional
        Cut-off in Hz: slower cosines are removed from both sides. None: they stay, nothing is prewhitened, and
        surrogates are made from the regressor and its mirror image, which has no step where its ends meet.
    sample_mask : array_like of bool, shape (n_trs,), optional
        False: the volume is censored, and counts neither in correlations nor in those of the surrogates; the others
        keep their times.
    seed : int
        Of the surrogates.

    Returns
    -------
    LagScan

    Raises
    ------
    InputError
        If an option is out of range, or the series hold NaN or are constant.
    AlignmentError
        If lengths differ, a lag needs a finer regressor, or fewer than 20 volumes are left.

    See Also
    --------
    giblet.pipeline.brain.check_alignment : the same for feature files and a scan.
    giblet.evaluation.alignment.check : convolves a regressor, scans it, and says what follows.
    response_at : a regressor on a finer clock.
    align_all_modalities : applies the lag.
    """
    if tail not in ("positive", "both"):
        raise InputError(f"tail is {tail!r}; expected 'positive' or 'both'")
    if n_surrogates < 19:
        raise InputError(f"n_surrogates is {n_surrogates}; expected at least 19 for p <= 0.05")
    signal, data, rows, kept = _checked(regressor, bold, tr, sample_mask)
    tr = float(check_tr(tr))
    whole = int(SPAN / tr + 1e-9)
    seconds = increasing(np.arange(-whole, whole + 1) * tr if lags is None else lags, "lags")
    _refuse_holes(regressor)
    times = _regressor_times(signal, rows, tr, seconds, regressor_times)
    read, volumes = _reader(times, len(data), tr, seconds, kept)
    _refuse_constant(data[volumes])
    slow = slow_basis(volumes - volumes[0], tr=tr, detrend=detrend, high_pass=high_pass)

    shifted = standardised(read(signal[:, None])[:, :, 0].T, slow)  # (n_volumes, n_lags)
    n = len(shifted)
    rng = np.random.default_rng(seed)
    made = _phase_randomised(signal, n_surrogates, rng, mirror=high_pass is None)
    surrogates = np.empty((n, len(seconds), n_surrogates), np.float32)
    for start in range(0, n_surrogates, BLOCK):  # and one lag at a time: all at once takes gigabytes with a long scan
        some = slice(start, start + BLOCK)
        for number in range(len(seconds)):
            at_lag = read(made[:, some], slice(number, number + 1))[0]
            surrogates[:, number, some] = standardised(at_lag, slow)
    scanner = _Scanner(
        Prewhitened(shifted), Prewhitened(surrogates.reshape(n, -1)), seconds, n_surrogates,
        two_sided=tail == "both", prewhiten=high_pass is not None,
    )  # fmt: skip
    parts, total = [], np.zeros(n)
    for start in range(0, data.shape[1], BLOCK):
        columns = standardised(data[volumes, start : start + BLOCK], slow)
        total += columns.sum(axis=1)
        parts.append(scanner.scan(columns))
    r, best_lag, p, threshold = (np.concatenate(piece, axis=-1) for piece in zip(*parts, strict=True))
    mean = _standardised(total[:, None])
    mean_r, mean_best, mean_p, mean_threshold = scanner.scan(mean)
    regressors = _unit(whitened(shifted, scanner.filter_of(mean)))
    peak, interval = _peak_with_interval(regressors, mean_r[:, 0], seconds, tail == "both", rng)
    return LagScan(
        seconds, r, best_lag, p, threshold,
        mean_r[:, 0], float(mean_best[0]), peak, float(mean_p[0]), float(mean_threshold[0]), interval,
        slice(int(volumes[0]), int(volumes[-1]) + 1), n,
    )  # fmt: skip


def _checked(
    regressor: Any, bold: Any, tr: float, sample_mask: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
    """Regressor (n,), BOLD (n_volumes, n_targets), the volume of each row of a regressor by TR, volumes that count."""
    signal = array_of_kind(regressor, "continuous", what="regressor").astype(np.float64)
    rows = None
    if knows_its_volumes(bold):
        scan = scan_of(bold, tr=tr).without(sample_mask)
        rows = _rows_of(regressor, scan)
        bold, sample_mask = scan.whole
    kept = None if sample_mask is None else censored(sample_mask, len(np.asarray(bold)))
    data = array_of_kind(bold if kept is None else _silenced(bold, kept), "continuous", what="bold")
    data = data[:, None] if data.ndim == 1 else data
    if signal.ndim != 1 or data.ndim != 2:
        raise InputError(f"regressor {signal.shape} and bold {data.shape}; expected (n_trs,) and (n_trs, n_targets)")
    return signal, data, np.arange(len(data)) if rows is None else rows, kept


@dataclass(frozen=True)
class _Scanner:
    """The regressor and its surrogates at all lags, to be correlated with BOLD."""

    shifted: Prewhitened
    """(n_volumes, n_lags)."""
    surrogates: Prewhitened
    """(n_volumes, n_lags * n_surrogates)."""
    lags: np.ndarray
    """Seconds (n_lags,)."""
    n_surrogates: int
    two_sided: bool
    prewhiten: bool

    def filter_of(self, columns: np.ndarray) -> np.ndarray:
        """The `phi` of the filter of each column (n_volumes, n_columns); 0 where nothing is prewhitened."""
        return lag_one([columns]) if self.prewhiten else np.zeros(columns.shape[1])

    def scan(self, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Of each column r by lag (n_lags, n_columns), best lag, p, and the surrogates' 95th percentile."""
        phi = self.filter_of(columns)
        r = self.shifted.correlate(columns, phi)
        chance = self.surrogates.correlate(columns, phi).reshape(len(self.lags), self.n_surrogates, -1)
        score, chance = (np.abs(r), np.abs(chance)) if self.two_sided else (r, chance)
        largest = chance.max(axis=0)
        p = (1 + (largest >= score.max(axis=0)).sum(axis=0)) / (1 + self.n_surrogates)
        return r, self.lags[score.argmax(axis=0)], p, np.quantile(largest, 0.95, axis=0)


def _unit(columns: np.ndarray) -> np.ndarray:
    return columns / np.linalg.norm(columns, axis=0)


def _peak_with_interval(
    regressors: np.ndarray, r: np.ndarray, lags: np.ndarray, both: bool, rng: np.random.Generator
) -> tuple[float, tuple[float, float]]:
    """Where r is largest, and the middle 95 % of that in simulated data: the regressor at its best lag, with noise.

    Parameters
    ----------
    regressors : ndarray, shape (n_volumes, n_lags)
        Prewhitened, of length 1.
    r : ndarray, shape (n_lags,)
        As observed.
    lags : ndarray, shape (n_lags,)
        Seconds.
    both : bool
        The largest in size is looked for.
    """
    best = int(np.argmax(np.abs(r) if both else r))
    share = float(np.clip(r[best], -1, 1))
    noise = rng.standard_normal((len(regressors), N_SIMULATED))
    noise -= regressors[:, [best]] * (regressors[:, best] @ noise)
    noise *= np.sqrt(1 - share**2) / np.linalg.norm(noise, axis=0)
    # The share of the noise along the regressor varies too.
    along = share + rng.standard_normal(N_SIMULATED) * np.sqrt((1 - share**2) / len(regressors))
    found = regressors.T @ (regressors[:, [best]] * along + noise)
    peaks = np.quantile(_peaks(np.abs(found) if both else found, lags), [0.025, 0.975])
    # The lags are steps, and what was found lies between two of them.
    peak = _peaks((np.abs(r) if both else r)[:, None], lags)[0]
    low, high = np.clip(peaks + peak - lags[best], lags[0], lags[-1])
    return float(peak), (float(low), float(high))


def _peaks(r: np.ndarray, lags: np.ndarray) -> np.ndarray:
    """Lags at which curves (n_lags, n) are largest, by a parabola through the largest value and its neighbours."""
    at = r.argmax(axis=0)
    inner = np.clip(at, 1, len(lags) - 2) if len(lags) > 2 else at
    peak = lags[at].astype(np.float64)
    if len(lags) > 2:
        before, middle, after = (np.take_along_axis(r, (inner + k)[None], 0)[0] for k in (-1, 0, 1))
        bend = before - 2 * middle + after
        off = np.divide((before - after) / 2, bend, out=np.zeros_like(bend), where=bend < 0)
        step = (lags[inner + 1] - lags[inner - 1]) / 2
        peak = np.where(at == inner, lags[inner] + np.clip(off, -0.5, 0.5) * step, peak)
    return peak


def _rows_of(regressor: Any, scan: Scan) -> np.ndarray:
    """The volume of the run that each row of a regressor by TR is."""
    volume = getattr(regressor, "coords", {}).get("volume")
    if volume is not None and scan.volumes is not None:
        return np.asarray(volume.values)
    n = len(np.asarray(regressor))
    if n == scan.n_volumes or n != len(scan.data):
        return np.arange(scan.n_volumes)
    return scan.place


def _regressor_times(signal: np.ndarray, rows: np.ndarray, tr: float, lags: np.ndarray, times: Any) -> np.ndarray:
    """Seconds from volume 0 of each value: as given, or of the volumes that its rows are."""
    if times is not None:
        fine = increasing(times, "regressor times")
        if len(fine) != len(signal):
            raise AlignmentError(f"{len(fine)} regressor times for {len(signal)} values; expected one each")
        if len(fine) < 3 or np.ptp(np.diff(fine)) > 1e-6 * (fine[1] - fine[0]) + 1e-9:
            raise AlignmentError("regressor times are not evenly spaced: surrogates need a regular clock")
        return fine
    if len(signal) != len(rows):
        raise AlignmentError(
            f"the regressor has {len(signal)} TRs and the BOLD {len(rows)} volumes: align_all_modalities brings them "
            "on one clock, or pass regressor_times"
        )
    hole = np.flatnonzero(np.diff(rows) != 1)
    if hole.size:
        at = int(hole[0])
        raise AlignmentError(
            f"rows {at} and {at + 1} of the BOLD are volumes {rows[at]} and {rows[at + 1]}, so that a shift of the "
            f"regressor by rows is none in time; pass it for all {int(rows[-1]) + 1} volumes of the run, or pass "
            "regressor_times"
        )
    off = np.abs(lags / tr - np.round(lags / tr)) > 1e-6
    if off.any():
        raise AlignmentError(
            f"lag {lags[off][0]:g} s is not a whole number of TRs of {tr:g} s: pass a finer regressor with "
            "regressor_times (response_at makes one)"
        )
    return rows * tr


def _reader(
    times: np.ndarray, n_trs: int, tr: float, lags: np.ndarray, kept: np.ndarray | None
) -> tuple[Any, np.ndarray]:
    """A function that reads series (n_times, n) at all lags or some, (n_lags, n_volumes, n), and the volumes of it."""
    onset = np.arange(n_trs) * tr
    known = (onset - lags.max() >= times[0] - 1e-6) & (onset - lags.min() <= times[-1] + 1e-6)
    volumes = np.flatnonzero(known if kept is None else known & kept)
    if len(volumes) < MIN_VOLUMES:
        without = "" if kept is None else f", without {int((~kept).sum())} that are censored,"
        raise AlignmentError(
            f"{len(volumes)} of {n_trs} volumes{without} can be compared at all lags from {lags.min():g} to "
            f"{lags.max():g} s; expected at least {MIN_VOLUMES}; scan fewer lags or use a longer run"
        )
    position = (onset[volumes] - lags[:, None] - times[0]) / (times[1] - times[0])
    left = np.clip(np.floor(position + 1e-6).astype(int), 0, len(times) - 2)
    share = np.clip(position - left, 0, 1)
    share = np.where(np.abs(share - np.round(share)) < 1e-6, np.round(share), share)[:, :, None]

    def read(series: np.ndarray, which: slice = slice(None)) -> np.ndarray:
        found = series[left[which]]
        if share[which].any():  # else lags are whole steps of the regressor
            found *= 1 - share[which]
            after = series[left[which] + 1]
            after *= share[which]
            found += after
        return found

    return read, volumes


def _phase_randomised(signal: np.ndarray, n: int, rng: np.random.Generator, *, mirror: bool) -> np.ndarray:
    """Series (n_times, n) with the spectrum of `signal`, or of it and its mirror image, and random phases."""
    n_times = len(signal)
    if mirror:
        signal = np.r_[signal, signal[::-1]]
    # A trend would be a saw-tooth to the FFT, whose power then lands in every surrogate.
    ramp = np.linspace(-0.5, 0.5, len(signal))
    slope = np.polynomial.polynomial.polyfit(ramp, signal, 1)[1]
    spectrum = np.abs(np.fft.rfft(signal - signal.mean() - slope * ramp))
    phases = np.exp(2j * np.pi * rng.random((len(spectrum), n)))
    if len(signal) % 2 == 0:
        phases[-1] = np.sign(phases[-1].real)  # the Nyquist term has a sign, not a phase
    return np.fft.irfft(spectrum[:, None] * phases, n=len(signal), axis=0)[:n_times]


def standardised(columns: np.ndarray, slow: np.ndarray) -> np.ndarray:
    """Series without slow drifts, of mean 0 and standard deviation 1.

    Parameters
    ----------
    columns : ndarray of float, shape (n_volumes, n)
    slow : ndarray of float64, shape (n_volumes, n_basis)
        As :func:`slow_basis` gives it, at the same volumes.

    Returns
    -------
    ndarray of float64, shape (n_volumes, n)

    Raises
    ------
    InputError
        If nothing of a series is left.
    """
    return _standardised(without_drifts(np.asarray(columns, dtype=np.float64), slow))


def _silenced(bold: Any, kept: np.ndarray) -> np.ndarray:
    """BOLD with 0 in censored volumes, which may hold NaN."""
    values = np.array(bold, copy=True)
    values[~kept] = 0
    return values


def _refuse_holes(regressor: Any) -> None:
    volume = getattr(regressor, "coords", {}).get("volume")
    if volume is not None and (np.diff(volume.values) != 1).any():
        raise AlignmentError(
            "the regressor has volumes left out between its rows, so that a shift by rows is none in time: align it "
            "with on_holes='keep', and pass the BOLD's volumes to leave out as sample_mask"
        )


def _standardised(columns: np.ndarray) -> np.ndarray:
    """The same columns, whose memory they keep, of mean 0 and standard deviation 1."""
    largest = max(columns.max(initial=1e-300), -columns.min(initial=0))
    columns -= columns.mean(axis=0)
    spread = np.sqrt(np.einsum("ij,ij->j", columns, columns) / (len(columns) - 1))
    if (spread <= 1e-12 * largest).any() or not spread.all():
        raise InputError("the regressor or a target does not vary once trends are gone: there is nothing to correlate")
    columns /= spread
    return columns


def _refuse_constant(bold: np.ndarray) -> None:
    flat = np.flatnonzero(np.ptp(bold, axis=0) == 0)
    if flat.size:
        raise InputError(
            f"{flat.size} of {bold.shape[1]} targets are constant, the first is column {int(flat[0])}: mask them first"
        )
