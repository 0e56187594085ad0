"""All rotations of predictions against the truth, of many columns at once: the sums behind the rotation test."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

import numpy as np

from giblet.alignment.prewhitening import lag_one, slow_basis, without_drifts
from giblet.data.splits import HRF_SECONDS
from giblet.errors import InputError
from giblet.runs import run_slices
from giblet.timing import check_tr, shown

if TYPE_CHECKING:
    pass

HIGH_PASS = 1 / 128
"""Hz. Slower than that, BOLD is mostly drift."""
SHORTEST_RUN = 2 * HRF_SECONDS
"""Seconds. Of a shorter run no rotation brings a TR further from its place than an HRF is long, to both sides."""
LEAST_FREEDOM = 20
"""Degrees of freedom that a test needs once drifts are gone; then a rank can reach .05 too."""
DRAWS = 2000
"""Joint rotations of several runs, of which there are too many to try all."""
COLUMNS_AT_A_TIME = 512
"""Whose drifts are removed together."""
PADDED_AT_A_TIME = 8
"""Whose series are continued by zeros together."""
VALUES_AT_A_TIME = 2**17
"""Correlations of a batch of columns, all rotations together: 1 MiB, which stays in a processor's cache."""


def flattened(values: np.ndarray) -> np.ndarray:
    """Series as float64; a column whose values differ by no more than the rounding of their type is exactly constant.

    Parameters
    ----------
    values : array_like, shape (n_trs, ...)

    Returns
    -------
    ndarray of float64, shape (n_trs, ...)
        A copy.
    """
    values = np.asarray(values)
    precision = np.finfo(values.dtype).eps if values.dtype.kind == "f" else 0.0
    values = np.array(values, np.float64)
    if values.ndim and values.size:
        low, high = values.min(axis=0), values.max(axis=0)
        with np.errstate(invalid="ignore"):
            flat = high - low <= 4 * precision * np.maximum(np.abs(low), np.abs(high))
        if np.any(flat):
            values[:, flat] = values[0, flat]
    return values


def basis_of(n_trs: int, tr: float, high_pass: float | None) -> np.ndarray:
    """Orthonormal basis of a run's mean and drifts.

    Parameters
    ----------
    n_trs : int
        TRs of the run.
    tr : float
        Repetition time in seconds.
    high_pass : float or None
        In Hz: slower cosines are drifts too. None: only mean, line and parabola are.

    Returns
    -------
    ndarray of float64, shape (n_trs, n_drifts)
        The mean counts as one of them.

    See Also
    --------
    without_drifts : series less what is in its span.
    """
    return slow_basis(np.arange(n_trs), tr=tr, detrend=True, high_pass=high_pass)


def joint_draws(lengths: Sequence[int], seed: int) -> np.ndarray:
    """By how many TRs runs are rotated, the first time by none.

    Parameters
    ----------
    lengths : sequence of int
        TRs of each run.
    seed : int
        Of the draws, where there are several runs.

    Returns
    -------
    ndarray of int64, shape (n_rotations, n_runs)
        One run: all its rotations. Several: none, and 2000 draws of one rotation for each.
    """
    if len(lengths) == 1:
        return np.arange(lengths[0])[:, None]
    draws = np.random.default_rng(seed).integers(0, lengths, (DRAWS, len(lengths)))
    return np.vstack([np.zeros((1, len(lengths)), np.int64), draws])


@dataclass(frozen=True)
class Null:
    """Correlations of some columns for all rotations; the first is that of the prediction as it is."""

    plain: np.ndarray
    """float64 (n_columns, n_rotations): without drifts; 0 where a side does not vary."""
    white: np.ndarray
    """float64 (n_columns, n_rotations): the same after prewhitening."""
    alive: np.ndarray
    """bool (n_columns,): the truth changes in some run."""
    cross: Sequence[np.ndarray]
    """For each run float64 (n_trs,): prewhitened products of truth and rotated prediction, summed over columns."""
    powers: Sequence[np.ndarray]
    """For each run float64 (2,): squares of the prewhitened truth and prediction, summed over TRs and columns."""


class Pool:
    """Sums over all columns, from which the correlation of all their values comes."""

    def __init__(self, lengths: Sequence[int], draws: np.ndarray) -> None:
        self.lengths, self.draws = lengths, draws
        self.cross = [np.zeros(length) for length in lengths]
        self.powers = np.zeros((len(lengths), 2))

    def add(self, null: Null) -> None:
        """Count some columns in.

        Parameters
        ----------
        null : Null
        """
        for run, (cross, powers) in enumerate(zip(null.cross, null.powers, strict=True)):
            self.cross[run] += cross
            self.powers[run] += powers

    def by_rotation(self) -> np.ndarray:
        """Correlation of all values, of several runs the mean weighted by their TRs.

        Returns
        -------
        ndarray of float64, shape (n_rotations,)
            0 where a side does not vary.
        """
        total = np.zeros(len(self.draws))
        for length, cross, powers, shifts in zip(self.lengths, self.cross, self.powers, self.draws.T, strict=True):
            size = float(np.sqrt(powers.prod()))
            total += length / sum(self.lengths) * (cross / size if size else cross * 0)[shifts]
        return total


@dataclass(frozen=True)
class Rotations:
    """How the runs of a scan are rotated, and what is slow in each of them."""

    parts: Sequence[slice]
    """TRs of each run."""
    bases: Sequence[np.ndarray]
    """For each run its drifts, as :func:`basis_of` gives them."""
    draws: np.ndarray
    """int64 (n_rotations, n_runs): by how many TRs each run is rotated, the first time by none."""

    @classmethod
    def of(
        cls,
        truth: np.ndarray,
        predicted: np.ndarray,
        *,
        tr: float,
        run: Sequence[int] | np.ndarray | None = None,
        high_pass: float | None = HIGH_PASS,
        seed: int = 0,
    ) -> Rotations:
        """Those of two series, once they are found fit for the test.

        Parameters
        ----------
        truth, predicted : ndarray of float, shape (n_trs, n_columns)
        tr : float
            Repetition time in seconds.
        run : array_like, shape (n_trs,), optional
        high_pass : float or None
            In Hz.
        seed : int

        Returns
        -------
        Rotations

        Raises
        ------
        InputError, AlignmentError
            As :func:`rotation_test`.
        """
        truth, predicted = np.asarray(truth), np.asarray(predicted)
        if truth.ndim != 2 or truth.shape != predicted.shape:
            raise InputError(
                f"truth has shape {truth.shape}, prediction {predicted.shape}: two of shape (n_trs, n_columns) are "
                "needed"
            )
        for name, values in (("truth", truth), ("prediction", predicted)):
            finite = (np.isfinite(values[at : at + 32]) for at in range(0, len(values), 32))
            n_bad = sum(some.size - int(np.count_nonzero(some)) for some in finite)
            if n_bad:
                raise InputError(f"the {name} holds {n_bad} NaN or infinite values: mask them")
        parts = run_slices(len(truth), run)
        lengths = [part.stop - part.start for part in parts]
        why = too_short(lengths, tr, high_pass)
        if why:
            raise InputError(why)
        return cls(parts, [basis_of(length, tr, high_pass) for length in lengths], joint_draws(lengths, seed))

    @property
    def lengths(self) -> list[int]:
        """TRs of each run."""
        return [part.stop - part.start for part in self.parts]

    def pool(self) -> Pool:
        """Sums over columns, still empty.

        Returns
        -------
        Pool
        """
        return Pool(self.lengths, self.draws)

    def nulls(self, truth: np.ndarray, predicted: np.ndarray) -> Iterator[tuple[slice, Null]]:
        """Correlations for all rotations, batch by batch of columns, so that memory does not grow with their number.

        Parameters
        ----------
        truth, predicted : ndarray of float, shape (n_trs, n_columns)
            Finite.

        Yields
        ------
        columns : slice
        null : Null
            Of these columns.
        """
        truth, predicted = np.asarray(truth), np.asarray(predicted)
        step = max(8, VALUES_AT_A_TIME // max(len(self.draws), max(self.lengths)))
        wide = step * max(1, COLUMNS_AT_A_TIME // step)
        for start in range(0, truth.shape[1], wide):
            x, y = (self.prepared(side[:, start : start + wide]) for side in (truth, predicted))
            for at in range(0, x[0].shape[0], step):
                some = slice(at, at + step)
                null = self.null([one[some] for one in x], [one[some] for one in y])
                yield slice(start + at, start + at + len(null.alive)), null

    def prepared(self, values: np.ndarray) -> list[np.ndarray]:
        """Series without the drifts of each run, columns first.

        Parameters
        ----------
        values : ndarray of float, shape (n_trs, n_columns)

        Returns
        -------
        list of ndarray of float64, shape (n_columns, n_trs_of_run)
        """
        values = flattened(values)
        pairs = zip(self.parts, self.bases, strict=True)
        return [np.ascontiguousarray(without_drifts(values[part], basis).T) for part, basis in pairs]

    def null(
        self,
        x: Sequence[np.ndarray],
        y: Sequence[np.ndarray],
        *,
        phi: np.ndarray | None = None,
        draws: np.ndarray | None = None,
    ) -> Null:
        """Correlations of prepared series for all rotations.

        Parameters
        ----------
        x, y : sequence of ndarray of float64, shape (n_columns, n_trs_of_run)
            Truth and prediction, as :meth:`prepared` gives them.
        phi : ndarray of float64, shape (n_columns,), optional
            Of the filter; by default the truth's own.
        draws : ndarray of int, shape (n_rotations, n_runs), optional
            By how many TRs the prediction of each run is rotated; by default the object's own.

        Returns
        -------
        Null
        """
        alive = np.any([np.any(one != 0, axis=1) for one in x], axis=0)
        phi = lag_one([one.T for one in x]) if phi is None else phi
        whole = draws is None and len(self.parts) == 1  # all rotations, in their order
        draws = self.draws if draws is None else draws
        plain, white = np.zeros((2, 0 if whole else len(phi), len(draws)))
        crosses, powers = [], []
        for truth, predicted, shifts in zip(x, y, draws.T, strict=True):
            weight = truth.shape[1] / sum(self.lengths)
            both = _Crossed(truth, predicted, phi)
            crosses.append(both.white.sum(axis=0))
            powers.append(both.white_powers.sum(axis=1))
            some = both.correlations()
            if whole:
                return Null(*some, alive, crosses, powers)
            for total, own in zip((plain, white), some, strict=True):
                total += weight * own[:, shifts]
        return Null(plain, white, alive, crosses, powers)


class _Crossed:
    """Products of two series (n_columns, n_trs) of one run for all rotations, before and after prewhitening.

    The filter is linear, so that products of filtered series are filtered products of the series. What it does at the
    first TR, where it does not go around the end, is added.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray, phi: np.ndarray) -> None:
        n = x.shape[1]
        self.plain = circular(x, y)
        self.powers = np.stack([_dot(x, x), _dot(y, y)])
        first, last = (np.stack([x[:, at], y[:, at]]) for at in (0, -1))
        shared = np.stack([_dot(x[:, 1:], x[:, :-1]), _dot(y[:, 1:], y[:, :-1])])
        start = np.sqrt(1 - phi**2)
        step = (start - 1) * first + phi * last  # what the first TR has more than from a filter around the end
        sums = (1 - phi) * np.stack([x.sum(axis=1), y.sum(axis=1)]) + step
        self.white_powers = (
            (self.powers - first**2) + phi**2 * (self.powers - last**2) - 2 * phi * shared
            + (start * first) ** 2 - sums**2 / n
        )  # fmt: skip
        # First the truth is filtered: products of filtered truth and prediction as it is, by rotation.
        phi, (step_x, step_y) = phi[:, None], step[:, :, None]
        buffer = phi * self.plain
        half = np.empty_like(buffer)
        np.subtract(self.plain[:, 1:], buffer[:, :-1], out=half[:, 1:])
        np.subtract(self.plain[:, :1], buffer[:, -1:], out=half[:, :1])
        np.multiply(step_x, y, out=buffer)
        half[:, 1:] += buffer[:, :0:-1]
        half[:, 0] += buffer[:, 0]
        # Then the prediction.
        np.multiply(phi, half, out=buffer)
        half[:, :-1] -= buffer[:, 1:]
        half[:, -1] -= buffer[:, 0]
        half += np.multiply(step_y, x, out=buffer)
        buffer *= phi
        half[:, 1:] -= buffer[:, :-1]
        half[:, 0] -= buffer[:, -1]
        half[:, 0] += step.prod(axis=0)
        half -= (sums.prod(axis=0) / n)[:, None]
        self.white = half

    def correlations(self) -> tuple[np.ndarray, np.ndarray]:
        """Plain and prewhitened; the products become them in place, as memory is what takes the time."""
        return _ratio(self.plain, self.powers), _ratio(self.white, self.white_powers)


def _dot(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Products summed over TRs, column by column."""
    return np.einsum("ij,ij->i", x, y)


def _ratio(cross: np.ndarray, powers: np.ndarray) -> np.ndarray:
    size = np.sqrt(np.maximum(powers, 0).prod(axis=0))
    cross *= np.divide(1, size, out=np.zeros_like(size), where=size > 0)[:, None]
    return cross


def circular(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Sum over TRs of ``x[t] * y[t - k]``, around the end, for every *k*.

    Where the number of TRs has a large prime factor, for which an FFT is slow, the series are continued by zeros up to
    a number that is fast, and what goes over the end is added where it would have come around.

    Parameters
    ----------
    x, y : ndarray of float64, shape (n_columns, n_trs)

    Returns
    -------
    ndarray of float64, shape (n_columns, n_trs)
        By *k*, from 0.
    """
    from scipy import fft

    n = x.shape[1]
    if _is_smooth(n):
        return fft.irfft(_times_conjugate(fft.rfft(x, axis=1), fft.rfft(y, axis=1)), n, axis=1)
    size = fft.next_fast_len(2 * n - 1, real=True)
    cross, padded = np.empty((len(x), n)), np.zeros((2, min(len(x), PADDED_AT_A_TIME), size))
    for start in range(0, len(x), PADDED_AT_A_TIME):
        some = slice(start, min(start + PADDED_AT_A_TIME, len(x)))
        both = padded[:, : some.stop - start]
        both[0, :, :n], both[1, :, :n] = x[some], y[some]
        linear = fft.irfft(_times_conjugate(*fft.rfft(both, axis=2)), size, axis=1)
        cross[some] = linear[:, :n]
        cross[some, 1:] += linear[:, size - n + 1 :]
    return cross


def _times_conjugate(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    np.conjugate(y, out=y)
    x *= y
    return x


def _is_smooth(n: int) -> bool:
    """Whether no prime factor is greater than 11."""
    for factor in (2, 3, 5, 7, 11):
        while n % factor == 0:
            n //= factor
    return n == 1


def too_short(lengths: Sequence[int], tr: float, high_pass: float | None = HIGH_PASS) -> str | None:
    """Why runs of these numbers of TRs allow no rotation test, with the number that would; None where they do.

    Parameters
    ----------
    lengths : sequence of int
        TRs of each run or stretch.
    tr : float
        Repetition time in seconds.
    high_pass : float or None
        In Hz: slower cosines are drifts too. None: only mean, line and parabola are.

    Returns
    -------
    str or None

    Raises
    ------
    InputError
        If the TR or the high-pass cannot be used.
    """
    seconds = float(check_tr(tr))
    if high_pass is not None and not 0 < high_pass < 0.5 / seconds:
        raise InputError(f"high_pass is {high_pass:g} Hz: it must lie between 0 and {0.5 / seconds:g} Hz, or be None")
    shortest, least = min(lengths), ceil(SHORTEST_RUN / seconds)
    if shortest < least:
        return (
            f"a run or stretch of {shortest} TRs ({shown(shortest * seconds)} s) is too short to be rotated: at least "
            f"{least} TRs, twice an HRF, are needed"
        )
    freedom = sum(length - basis_of(length, tr, high_pass).shape[1] for length in lengths)
    if freedom < LEAST_FREEDOM:
        needed = next(n for n in range(min(lengths), 10**6) if n - basis_of(n, tr, high_pass).shape[1] >= LEAST_FREEDOM)
        return (
            f"{sum(lengths)} TRs leave {freedom} degrees of freedom once drifts are gone, {LEAST_FREEDOM} are needed: "
            f"use {needed} TRs or more, or a lower high_pass"
        )
    return None
