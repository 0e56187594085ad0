"""Features as the scanner sees them, as scikit-learn transformers that never cross a run.

Rows are convolved with the rows before them, so they must be neighbours in time: convolve whole runs, and split them
into folds afterwards. In a Pipeline inside ``cross_val_predict`` a transformer gets rows with a hole where the part
left out was; a DataArray with a ``volume`` coordinate is refused there, plain arrays cannot say it of themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from giblet.alignment import convolve_hrf
from giblet.alignment.kernels import HRF, check_hrf, several
from giblet.encoding.defaults import DELAYS as DELAYS
from giblet.errors import InputError
from giblet.features import CONTINUOUS


def convolved(
    x: Any,
    *,
    tr: float,
    hrf: HRF = "glover",
    delays: Sequence[float] | None = None,
    run: Any = None,
    slice_time_ref: float = 0.0,
    volumes: Any = None,
) -> np.ndarray:
    """:func:`giblet.alignment.convolve_hrf`, with the responses or delays before the features.

    Parameters
    ----------
    x : ndarray or DataArray of float, shape (n_trs, n_features)
    tr, hrf, delays, run, slice_time_ref, volumes
        As there.

    Returns
    -------
    ndarray of float, shape (n_trs, n_delays, n_features)
        With an HRF of one response, ``n_delays`` is 1.
    """
    found = convolve_hrf(
        x,
        tr=tr,
        hrf=hrf,
        kind=CONTINUOUS,
        delays=delays if hrf == "fir" else None,
        run=run,
        slice_time_ref=slice_time_ref,
        volumes=volumes,
    )
    return np.moveaxis(found, -1, 1) if several(hrf) else found[:, None]


class _Convolution(TransformerMixin, BaseEstimator):
    """What the transformers have in common."""

    tr: float
    run: Any
    slice_time_ref: float

    def _how(self) -> tuple[HRF, Sequence[float] | None]:
        raise NotImplementedError

    def _labels(self) -> list[str]:
        raise NotImplementedError

    def fit(self, X: Any, y: Any = None) -> Any:
        """Look at the options and count the features; nothing is learned.

        Parameters
        ----------
        X : array_like or DataArray of float, shape (n_trs, n_features)
        y : object, optional
            Not looked at.

        Returns
        -------
        Delayer or HRFConvolver
            Itself.

        Raises
        ------
        InputError
            If an option is out of range, or `X` has no columns.
        """
        hrf, delays = self._how()
        check_hrf(hrf, tr=self.tr, delays=delays, slice_time_ref=self.slice_time_ref)
        if np.ndim(X) != 2:
            raise InputError(f"features have shape {np.shape(X)}: (n_trs, n_features) is needed")
        self.n_features_in_ = int(np.shape(X)[1])
        columns = getattr(X, "columns", None)
        if columns is not None:
            self.feature_names_in_ = np.asarray(columns, object)
        return self

    def transform(self, X: Any, run: Any = None) -> np.ndarray:
        """Features convolved within runs.

        Parameters
        ----------
        X : array_like or DataArray of float, shape (n_trs, n_features)
            A film of any length, with rows that are neighbours in time within their run.
        run : array_like, shape (n_trs,), optional
            Run of each row. By default the ``run`` coordinate of a DataArray, else the option ``run``.

        Returns
        -------
        ndarray of float, shape (n_trs, n_delays * n_features)
            All features with the first delay, then all with the second, ...

        Raises
        ------
        InputError
            If the features are others than in `fit`, or the option ``run`` is of a film of another length.
        AlignmentError
            If rows are no neighbours in time, as far as a DataArray says.
        """
        if np.ndim(X) != 2 or np.shape(X)[1] != self.n_features_in_:
            raise InputError(f"features have shape {np.shape(X)}: (n_trs, {self.n_features_in_}) is needed, as in fit")
        hrf, delays = self._how()
        labels = self._run_of(X, run)
        values = X if hasattr(X, "coords") else np.asarray(X)
        if values.dtype.kind != "f":
            values = values.astype(np.float64)
        found = convolved(values, tr=self.tr, hrf=hrf, delays=delays, run=labels, slice_time_ref=self.slice_time_ref)
        return np.ascontiguousarray(found).reshape(len(found), -1)

    def _run_of(self, x: Any, run: Any) -> np.ndarray | None:
        if run is not None:
            return np.asarray(run)
        coords = getattr(x, "coords", {})
        if "run" in coords:
            return np.asarray(coords["run"].values)
        if self.run is not None and len(self.run) != len(x):
            raise InputError(
                f"run has {len(self.run)} labels and there are {len(x)} rows: for another film give transform its run, "
                "set_params(run=...), or a DataArray with a run coordinate; and convolve before you split into folds"
            )
        return None if self.run is None else np.asarray(self.run)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the columns that come out.

        Parameters
        ----------
        input_features : array_like of str, optional
            By default those of a data frame, or ``x0``, ``x1``, ...

        Returns
        -------
        ndarray of str
        """
        names = input_features if input_features is not None else getattr(self, "feature_names_in_", None)
        if names is None:
            names = [f"x{number}" for number in range(self.n_features_in_)]
        if len(names) != self.n_features_in_:
            raise InputError(f"there are {len(names)} names for {self.n_features_in_} features; expected one each")
        return np.asarray([f"{name}{label}" for label in self._labels() for name in names], object)


class Delayer(_Convolution):
    """Copies of the features at several delays, so that each voxel has a response of its own (FIR).

    Parameters
    ----------
    delays : sequence of float
        Seconds before a volume is read; one that is no whole number of TRs shares its weight between the two around it.
    tr : float
        Repetition time in seconds.
    run : array_like, shape (n_trs,), optional
        Run of each row of the film, for plain arrays; another film may bring its own, see :meth:`transform`.
    slice_time_ref : float
        When in its TR a volume is read, 0 (onset) to 1.

    See Also
    --------
    HRFConvolver : One response for all voxels.
    giblet.alignment.convolve_hrf : The function.

    Examples
    --------
    >>> Delayer((2.0, 4.0), tr=2.0).fit_transform(np.array([[1.0], [0.0], [0.0]])).tolist()
    [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]
    """

    def __init__(
        self, delays: Sequence[float] = DELAYS, *, tr: float, run: Any = None, slice_time_ref: float = 0.0
    ) -> None:
        self.delays = delays
        self.tr = tr
        self.run = run
        self.slice_time_ref = slice_time_ref

    def _how(self) -> tuple[HRF, Sequence[float] | None]:
        return "fir", self.delays

    def _labels(self) -> list[str]:
        return [f"_delay-{delay:g}s" for delay in self.delays]


class HRFConvolver(_Convolution):
    """Features convolved with a haemodynamic response, the same for all voxels.

    Parameters
    ----------
    tr : float
        Repetition time in seconds.
    hrf : str or callable
        As for :func:`giblet.alignment.convolve_hrf`, without ``"fir"``.
    run : array_like, shape (n_trs,), optional
        Run of each row of the film, for plain arrays; another film may bring its own, see :meth:`transform`.
    slice_time_ref : float
        When in its TR a volume is read, 0 (onset) to 1.

    See Also
    --------
    Delayer : A response of its own for each voxel.
    giblet.alignment.convolve_hrf : The function.
    """

    def __init__(self, *, tr: float, hrf: HRF = "glover", run: Any = None, slice_time_ref: float = 0.0) -> None:
        self.tr = tr
        self.hrf = hrf
        self.run = run
        self.slice_time_ref = slice_time_ref

    def _how(self) -> tuple[HRF, Sequence[float] | None]:
        if self.hrf == "fir":
            raise InputError("hrf is 'fir': use Delayer(delays, tr=...) for delayed copies")
        return self.hrf, None

    def _labels(self) -> list[str]:
        more = self.hrf.split(" + ")[1:] if isinstance(self.hrf, str) else []
        return ["_hrf", *(f"_hrf-{part}" for part in more)]
