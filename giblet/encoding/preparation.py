"""Bands of features: what they may be, and how each is brought to the scale on which penalties are the same for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from sklearn.decomposition import PCA

from giblet.alignment.checks import check_finite, rows_in_time, run_slices
from giblet.alignment.kernels import HRF
from giblet.data.dataset.normalise import ROUNDING
from giblet.encoding.delays import convolved
from giblet.errors import AlignmentError, InputError
from giblet.features import CODES

SCALES = ("columns", "band", None)
ONE_BAND = "features"
"""What the band is called where features come as one array."""


def bands_of(features: Any) -> dict[str, Any]:
    """Features as named bands, looked at.

    Parameters
    ----------
    features : array_like, shape (n_trs, n_features), or mapping of str to such

    Returns
    -------
    dict of str to ndarray or DataArray
        The caller's own arrays.

    Raises
    ------
    InputError
        If there is no band, a band is codes, is not two-dimensional, holds NaN, or has another length than the others.

    Examples
    --------
    >>> {name: x.shape for name, x in bands_of({"mel": np.zeros((9, 4)), "words": np.zeros(9)}).items()}
    {'mel': (9, 4), 'words': (9, 1)}
    """
    given = dict(features) if isinstance(features, Mapping) else {ONE_BAND: features}
    if not given:
        raise InputError("there is no band of features: give at least one array")
    found = {name: _checked_band(name, values) for name, values in given.items()}
    lengths = {name: len(values) for name, values in found.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise InputError(f"bands have different numbers of rows ({told}): align them to the same TRs first")
    return found


def _checked_band(name: str, values: Any) -> Any:
    array = values if hasattr(values, "coords") else np.asarray(values)
    if getattr(values, "attrs", {}).get("kind") == CODES or array.dtype.kind in "iu":
        raise InputError(
            f"band {name!r} is codes ({array.dtype}), names of sounds and no amounts: give what they stand for "
            "(AudioCodec.latents), counts of each entry, or a learned embedding of them; whole numbers that are "
            "amounts, such as words per TR, as .astype(np.float32)"
        )
    if array.dtype.kind not in "fb":
        raise InputError(f"band {name!r} is of dtype {array.dtype}: floats are needed")
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or not all(array.shape):
        raise InputError(f"band {name!r} has shape {array.shape}: (n_trs, n_features) is needed")
    check_finite(np.asarray(array), f"band {name!r}")
    return array


def option_of(band: str, option: Any, names: Sequence[str], what: str) -> Any:
    """An option that may be said for all bands or for each.

    Parameters
    ----------
    band : str
    option : object or mapping of str to object
        Bands that a mapping leaves out have the default of the option.
    names : sequence of str
        All bands.
    what : str
        ``"scale"`` or ``"n_components"``.

    Returns
    -------
    object

    Raises
    ------
    InputError
        If a mapping names a band that is not there, or the value is not allowed.
    """
    default = "columns" if what == "scale" else None
    if isinstance(option, Mapping):
        unknown = sorted(set(option) - set(names))
        if unknown:
            raise InputError(f"{what} names {unknown[0]!r}: the bands are {', '.join(names)}")
        option = option.get(band, default)
    if what == "scale" and option not in SCALES:
        raise InputError(f"scale of {band!r} is {option!r}: 'columns', 'band' or None is needed")
    whole = isinstance(option, (int, np.integer)) and not isinstance(option, bool) and option >= 1
    share = isinstance(option, float) and 0 < option < 1
    if what == "n_components" and option is not None and not whole and not share:
        raise InputError(
            f"n_components of {band!r} is {option!r}: a whole number, a share of the variance below 1, or None is needed"
        )
    return option


@dataclass(frozen=True)
class Response:
    """How features become what the scanner sees."""

    tr: float | None
    hrf: HRF | None
    delays: tuple[float, ...] | None
    slice_time_ref: float

    @property
    def kernel(self) -> HRF | None:
        """What is convolved with: ``"fir"`` where there are delays; None for features as they are."""
        return "fir" if self.delays is not None else self.hrf

    def __call__(self, x: np.ndarray, run: np.ndarray | None, volumes: Any = None) -> np.ndarray:
        """``(n_trs, n_features)`` to ``(n_trs, n_delays, n_features)``."""
        if self.kernel is None:
            return x[:, None]
        if self.tr is None:
            raise InputError("hrf or delays were given without tr: give tr, the seconds per volume")
        return convolved(
            x, tr=self.tr, hrf=self.kernel, delays=self.delays, run=run, slice_time_ref=self.slice_time_ref,
            volumes=volumes,
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
            rows_in_time(given, None, run_slices(len(x), run=run), "a band")
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
            f"n_components of {name!r} is {n_components}, and {centred.shape[0]} training TRs of {centred.shape[1]} "
            f"features have no more than {most}"
        )
    return PCA(n_components, random_state=random_state).fit(centred).components_


def check_rows(features: Mapping[str, Any], n_trs: int) -> None:
    """Refuse features of another length than the BOLD.

    Parameters
    ----------
    features : mapping of str to ndarray
    n_trs : int
        Of the BOLD.

    Raises
    ------
    AlignmentError
        Names both.
    """
    for name, values in features.items():
        if len(values) != n_trs:
            raise AlignmentError(
                f"band {name!r} has {len(values)} TRs and the BOLD {n_trs}: align them first "
                "(giblet.alignment.align_all_modalities)"
            )
