"""How a band of features is brought to the scale on which penalties mean the same for all, from training rows alone."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from sklearn.decomposition import PCA

from giblet.alignment.checks import rows_in_time
from giblet.alignment.kernels import HRF
from giblet.data.dataset.normalise import ROUNDING
from giblet.encoding.delays import convolved
from giblet.errors import InputError
from giblet.runs import run_slices


@dataclass(frozen=True)
class Response:
    """How features become what the scanner sees."""

    tr: float | None
    hrf: HRF | None
    delays: tuple[float, ...] | None
    slice_time_ref: float
    volumes: Any = None
    """The volume of its run that each row is, where rows are missing."""

    @property
    def kernel(self) -> HRF | None:
        """What is convolved with: ``"fir"`` where there are delays; None for features as they are."""
        return "fir" if self.delays is not None else self.hrf

    def __call__(self, x: np.ndarray, run: np.ndarray | None) -> np.ndarray:
        """``(n_trs, n_features)`` to ``(n_trs, n_delays, n_features)``."""
        if self.kernel is None:
            return x[:, None]
        if self.tr is None:
            raise InputError("hrf or delays were given without tr: give tr, the seconds per volume")
        return convolved(
            x, tr=self.tr, hrf=self.kernel, delays=self.delays, run=run, slice_time_ref=self.slice_time_ref,
            volumes=self.volumes,
        )  # fmt: skip


@dataclass(frozen=True)
class Band:
    """What was learned from the training rows of one band; nothing else enters what it does to another film."""

    mean: np.ndarray
    """float64 (n_features,)"""
    divisor: np.ndarray
    """float64 (n_features,): before PCA and convolution."""
    axes: np.ndarray
    """float64 (n_components, n_features); (0, n_features) without PCA."""
    divisor_after: np.ndarray
    """float64 (n_delays, n_columns): after convolution, so that a slow feature and a fast one are penalised alike."""
    varies: np.ndarray
    """bool (n_features,): columns that are more than constant."""
    spread: np.ndarray
    """float64 (1,): deviation of the prepared training rows, root mean square over columns."""

    @property
    def n_features(self) -> int:
        """Columns that go in."""
        return len(self.mean)

    @property
    def shape(self) -> tuple[int, int]:
        """Delays, and columns of each, that come out."""
        return self.divisor_after.shape[0], self.divisor_after.shape[1]

    def arrays(self) -> dict[str, np.ndarray]:
        """What a saved fit has to hold.

        Returns
        -------
        dict of str to ndarray
        """
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def fit(
        cls, name: str, given: Any, train: np.ndarray, response: Response, run: np.ndarray | None, *,
        scale: str | None, n_components: int | float | None, random_state: Any, by_run: np.ndarray | None,
    ) -> tuple[Band, np.ndarray]:  # fmt: skip
        # 10 parameters: a band, its rows, and the options of the model that concern it
        """Learn from the training rows.

        Parameters
        ----------
        name : str
        given : ndarray or DataArray of float, shape (n_trs, n_features)
        train : ndarray of int
        response : Response
        run : ndarray, shape (n_trs,), optional
            Nothing is convolved across runs.
        scale : {"columns", "band", None}
        n_components : int or float, optional
        random_state : int or RandomState
        by_run : ndarray of int, shape (n_trs,), optional
            Runs of which the level is taken out.

        Returns
        -------
        band : Band
        x : ndarray of float64, shape (n_trs, n_delays * n_columns)
            The rows, prepared.

        Raises
        ------
        InputError
            If more components are asked for than there are.
        """
        x = np.asarray(given, np.float64)
        # What only rounding changes has no unit, and what it does later would be any number of deviations.
        varies = np.ptp(x[train], axis=0) > ROUNDING * np.abs(x[train]).max(axis=0)
        mean = x[train].mean(0)
        divisor = np.where(varies, _divisor((x[train] - mean) * varies, scale), 1.0)
        axes = np.zeros((0, x.shape[1]))
        if n_components is not None:
            axes = _axes(name, (x[train] - mean) * varies / divisor, n_components, random_state)
        band = cls(mean, divisor, axes, np.ones((1, 1)), varies, np.ones(1))
        spread_out = band.convolved(given, response, run)
        levels = without_levels(spread_out, by_run, train)
        after = np.ones(spread_out.shape[1:])
        if response.kernel is not None:
            flat = levels[train].reshape(len(train), -1)
            after = _divisor(flat - flat.mean(0), "band" if len(axes) and scale == "columns" else scale)
            after = np.broadcast_to(after, flat.shape[1]).reshape(spread_out.shape[1:]).copy()
        x = levels / after
        spread = np.sqrt(x[train].var(0).mean())[None]
        return cls(mean, divisor, axes, after, varies, spread), x.reshape(len(x), -1)

    def convolved(self, given: Any, response: Response, run: np.ndarray | None) -> np.ndarray:
        """Scaled, projected and convolved, (n_trs, n_delays, n_columns).

        Parameters
        ----------
        given : ndarray or DataArray of float, shape (n_trs, n_features)
        response : Response
        run : ndarray, shape (n_trs,), optional

        Returns
        -------
        ndarray of float64
        """
        x = (np.asarray(given, np.float64) - self.mean) * self.varies / self.divisor
        if response.kernel is not None:
            # A DataArray says itself whether its rows are neighbours, and whether it was convolved before.
            rows_in_time(given, response.volumes, run_slices(len(x), run), "features")
        return response(x @ self.axes.T if len(self.axes) else x, run)

    def prepared(self, given: Any, response: Response, run: np.ndarray | None, by_run: np.ndarray | None) -> np.ndarray:
        """Rows of another film as the training rows were.

        Parameters
        ----------
        given : ndarray or DataArray of float, shape (n_trs, n_features)
        response : Response
        run, by_run : ndarray, shape (n_trs,), optional
            As in :meth:`fit`; the level of a run is the mean of its rows.

        Returns
        -------
        ndarray of float64, shape (n_trs, n_delays * n_columns)
        """
        x = self.convolved(given, response, run)
        x = without_levels(x, by_run, np.arange(len(x)))
        return (x / self.divisor_after).reshape(len(x), -1)


def without_levels(x: np.ndarray, by_run: np.ndarray | None, train: np.ndarray) -> np.ndarray:
    """Features without the level of each run, the mean of its training rows, or of all where it has none.

    Parameters
    ----------
    x : ndarray of float, shape (n_trs, ...)
    by_run : ndarray, shape (n_trs,), or None
        None: as they are.
    train : ndarray of int

    Returns
    -------
    ndarray of float, the shape of `x`
    """
    if by_run is None:
        return x
    x = x.copy()
    for label in np.unique(by_run):
        own = np.flatnonzero(by_run == label)
        learned = np.intersect1d(own, train, assume_unique=True)
        x[own] -= x[learned if len(learned) else own].mean(0)
    return x


def _divisor(centred: np.ndarray, scale: str | None) -> np.ndarray:
    """What brings columns, or their mean, to variance 1."""
    if scale is None:
        return np.ones(1)
    variance = centred.var(0)
    # A delay beyond a short run leaves a column of zeros.
    deviation = np.sqrt(variance if scale == "columns" else variance[variance > 0].mean(keepdims=True))
    return np.where(deviation > 1e-12, deviation, 1.0) if len(deviation) else np.ones(1)


def _axes(name: str, centred: np.ndarray, n_components: int | float, random_state: Any) -> np.ndarray:
    most = min(centred.shape)
    if n_components > most:
        raise InputError(
            f"n_components of {name!r} is {n_components}, and {centred.shape[0]} training rows of {centred.shape[1]} "
            f"features have no more than {most}: ask for fewer"
        )
    return PCA(n_components, random_state=random_state).fit(centred).components_
