"""What every function of this folder asks of an array before it moves it in time: codes or numbers, whole, in range."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from giblet.errors import AlignmentError, InputError
from giblet.features import CODES, CONTINUOUS, in_todays_words
from giblet.timing import Number, exact, shown

if TYPE_CHECKING:
    import xarray as xr

Kind = Literal["codes", "continuous"]


class LatentCodec(Protocol):
    """The part of a codec that moving codes through latent space needs."""

    def latents(self, codes: np.ndarray) -> np.ndarray:
        """The latent vectors that codes stand for.

        Parameters
        ----------
        codes : ndarray of int, shape (n_codebooks, n_frames)

        Returns
        -------
        ndarray of float32, shape (n_dims, n_frames)
        """

    def requantize(self, latents: np.ndarray) -> np.ndarray:
        """The codes nearest to latent vectors.

        Parameters
        ----------
        latents : ndarray of float, shape (n_dims, n_frames)

        Returns
        -------
        ndarray of int32, shape (n_codebooks, n_frames)
        """


def kind_of(x: Any, kind: str | None, what: str = "x") -> Kind:
    """Whether the numbers of `x` are names or amounts: as said, else as `x` says of itself; never guessed from a dtype.

    Parameters
    ----------
    x : array_like or xarray.DataArray
        A DataArray may say it of itself, in ``attrs["kind"]``.
    kind : {"codes", "continuous"} or None
        As the caller was told; None if it was told nothing.
    what : str
        Name used in error messages.

    Returns
    -------
    {"codes", "continuous"}

    Raises
    ------
    InputError
        If nobody says it, or what is said is neither.
    AlignmentError
        If `x` says otherwise of itself.
    """
    declared = getattr(x, "attrs", {}).get("kind")
    told = declared if kind is None else kind
    if told not in (CODES, CONTINUOUS):
        missing = "was not given" if told is None else f"is {told!r}"
        raise InputError(f"kind {missing}; expected 'codes' (names of codebook entries) or 'continuous' (amounts)")
    if declared not in (None, told):
        raise AlignmentError(f"{what} is marked as {declared!r}, but kind={kind!r} was passed; pass its own kind")
    return CODES if told == CODES else CONTINUOUS


def array_of_kind(
    x: Any, kind: str | None, codebook_size: int = 1024, what: str = "x", *, finite: bool = True
) -> np.ndarray:
    """`x` as an array that is what the caller says it is.

    Parameters
    ----------
    x : array_like or xarray.DataArray
        Leading axis time. A DataArray whose ``attrs["kind"]`` says otherwise is refused.
    kind : {"codes", "continuous"} or None
        ``"codes"``: whole numbers in [0, codebook_size - 1], of an integer or float dtype; int32 is returned.
        ``"continuous"``: finite floats; float16 becomes float32, float32 and float64 stay. None: as `x` says.
    codebook_size : int
        Entries per codebook.
    what : str
        Name used in error messages.
    finite : bool
        Look for NaN and infinity in continuous features; False for callers that do so where values are used.

    Returns
    -------
    ndarray, the shape of `x`
        Codes: int32. Continuous: float32, or float64 if `x` is.

    Raises
    ------
    InputError
        If `kind` is missing or neither, the array is empty or scalar, codes are not whole numbers in range, or
        continuous features are not all finite.
    AlignmentError
        If codes are passed as continuous or the reverse, as far as the array itself shows it.
    """
    kind = kind_of(x, kind, what)
    values = np.asarray(x)
    if values.ndim == 0 or values.size == 0:
        raise InputError(f"{what} has shape {values.shape}; expected a leading time axis and at least one value")
    if values.dtype.kind not in "iuf":
        raise InputError(f"{what} is of dtype {values.dtype}; expected whole numbers or floats")
    return _codes(values, codebook_size, what) if kind == CODES else _continuous(values, what, finite)


def _codes(values: np.ndarray, codebook_size: int, what: str) -> np.ndarray:
    if values.dtype.kind == "f":
        whole = np.isfinite(values) & (values == np.round(values))
        if not whole.all():
            at = _first(~whole)
            raise AlignmentError(
                f"{what} holds {values[at]} at {at}, so it is not codes: pass kind='continuous', "
                "or round and clip predicted codes first"
            )
    if values.min() < 0 or values.max() > codebook_size - 1:
        at = _first((values < 0) | (values > codebook_size - 1))
        raise InputError(
            f"{what} holds code {values[at]} at {at}, outside [0, {codebook_size - 1}]; clip it, or pass codebook_size"
        )
    return values.astype(np.int32, copy=False)


def _continuous(values: np.ndarray, what: str, finite: bool) -> np.ndarray:
    if values.dtype.kind != "f":
        raise AlignmentError(
            f"{what} is {values.dtype} but kind='continuous': pass kind='codes' if these are codes, "
            "or .astype(np.float32) if they are amounts such as word counts"
        )
    if values.dtype.itemsize < 4:
        values = values.astype(np.float32)
    if finite:
        check_finite(values, what)
    return values


def check_finite(values: np.ndarray, what: str = "x") -> None:
    """Refuse values that are not all finite.

    Parameters
    ----------
    values : ndarray of float, shape (n, ...)
    what : str
        Name used in the error message.

    Raises
    ------
    InputError
        If there is NaN or infinity; the message has the place of the first.
    """
    # Rows at a time: a mask as large as 920 x 85,810 features would cost more than the convolution.
    for start in range(0, len(values), 64):
        good = np.isfinite(values[start : start + 64])
        if not good.all():
            offset = _first(~good)
            at = (start + offset[0], *offset[1:])
            raise InputError(
                f"{what} holds {values[at]} at {at}; gaps must be masked or filled before they are moved in time"
            )


def _first(mask: np.ndarray) -> tuple[int, ...]:
    """Index of the first True."""
    return tuple(int(i) for i in np.argwhere(mask)[0])


def increasing(times: Any, what: str) -> np.ndarray:
    """`times` as an array, found to be finite and strictly increasing.

    Parameters
    ----------
    times : array_like of float, shape (n,)
        Seconds.
    what : str
        Name used in error messages, a plural such as ``"target times"``.

    Returns
    -------
    ndarray of float64, shape (n,)

    Raises
    ------
    AlignmentError
        If there are no times, or they are not one-dimensional, not finite or not increasing.
    """
    times = np.asarray(times, dtype=np.float64)
    if times.ndim != 1 or times.size == 0:
        raise AlignmentError(f"{what} have shape {times.shape}; expected one time in seconds per sample")
    if not np.isfinite(times).all():
        raise AlignmentError(f"{what} hold {times[~np.isfinite(times)][0]}; expected finite seconds")
    back = np.flatnonzero(np.diff(times) <= 0)
    if back.size:
        i = int(back[0])
        raise AlignmentError(
            f"{what} go from {times[i]:g} to {times[i + 1]:g} s at index {i + 1}: they must increase; sort them first"
        )
    return times


REMEDY = (
    "convolve before cutting, with align_all_modalities(..., hrf='glover'), or pass volumes=x.volume, which counts "
    "what is missing as zero"
)


def rows_in_time(x: Any, volumes: Any, slices: list[slice], what: str = "x", remedy: str = REMEDY) -> np.ndarray | None:
    """The volume of each row, where rows are missing between them; None where all are neighbours.

    Parameters
    ----------
    x : array_like or xarray.DataArray
        A DataArray of :func:`giblet.alignment.align_all_modalities` says itself where its rows come from: it is refused
        if some are missing and `volumes` does not say so too.
    volumes : array_like of int, shape (n_trs,), or None
        The volume of its run that each row is.
    slices : list of slice
        The runs.
    what, remedy : str
        Name, and what to do, for error messages.

    Returns
    -------
    ndarray of int64, shape (n_trs,), or None
        `volumes`, where they are given.

    Raises
    ------
    AlignmentError
        If a response would be put together from rows that are no neighbours, or `x` has been convolved already.
    InputError
        If `volumes` are not whole numbers that increase within a run.
    """
    attrs, coords = getattr(x, "attrs", {}), getattr(x, "coords", {})
    if "hrf" in attrs:
        raise AlignmentError(f"{what} was convolved already, with {attrs['hrf']!r}: use it as it is, with hrf=None")
    if volumes is not None:
        rows = np.asarray(volumes)
        if rows.shape != (slices[-1].stop,) or rows.dtype.kind not in "iu":
            raise InputError(
                f"volumes are {rows.dtype} {rows.shape}; expected one whole number for each of {slices[-1].stop} rows"
            )
        rows = rows.astype(np.int64)
        for part in slices:
            back = np.flatnonzero(np.diff(rows[part]) < 1)
            if back.size:
                at = part.start + int(back[0])
                raise InputError(f"volumes go from {rows[at]} to {rows[at + 1]} at row {at + 1}: they must increase")
        return rows
    if "volume" not in coords:
        return None
    rows = np.asarray(coords["volume"].values)
    for part in slices:
        hole = np.flatnonzero(np.diff(rows[part]) != 1)
        if hole.size:
            at = part.start + int(hole[0])
            raise AlignmentError(
                f"rows {at} and {at + 1} of {what} are volumes {rows[at]} and {rows[at + 1]}: the response would run "
                f"on from one to the other as if they were neighbours; {remedy}"
            )
    begins = float(coords["onset"].values[0]) if "onset" in coords and len(rows) else 0.0
    if begins > 1e-6:
        raise AlignmentError(
            f"{what} begins {begins:g} s into the stimulus, whose first {begins:g} s were cut: their response reaches "
            f"into the scan; {remedy}"
        )
    return None


def recorded_table_time(features: xr.Dataset) -> float:
    """The second of their own table at which TR 0 of words was laid when they were extracted.

    Parameters
    ----------
    features : xarray.Dataset

    Returns
    -------
    float
        ``table_time_at_tr_0`` of the extraction, in seconds; 0 where none was given, and for sound and picture.
    """
    settings = in_todays_words(features.attrs).get("settings", {})
    plain = json.loads(settings) if isinstance(settings, str) else settings
    return float(plain.get("table_time_at_tr_0") or 0.0)


def first_onset(features: xr.Dataset, name: str) -> Fraction:
    """Second of its film at which the first TR of a feature file begins.

    Parameters
    ----------
    features : xarray.Dataset
    name : str
        Of the features, for the message.

    Returns
    -------
    Fraction
        In seconds: 0, unless the file was cut from a longer one.

    Raises
    ------
    InputError
        If there is no TR.
    AlignmentError
        If its onsets are not one TR apart: TRs were taken out between others.
    """
    tr, n_trs = exact(features.attrs["tr"], f"TR of {name}"), features.sizes["tr"]
    if n_trs == 0:
        raise InputError(f"{name} holds no TR; select at least one, or extract it again")
    if "onset" not in features:
        return Fraction(0)
    onset = features["onset"].values
    off = np.abs(onset - onset[0] - np.arange(n_trs) * float(tr)) > 1e-6
    if off.any():
        at = int(np.flatnonzero(off)[0])
        raise AlignmentError(
            f"onsets of {name} are not {shown(tr)} s apart: they go from {onset[at - 1]:g} to {onset[at]:g} s at TR "
            f"{at}; extract it again, or take one stretch of neighbouring TRs"
        )
    return exact(round(float(onset[0]), 9))


def check_applied_once(features: xr.Dataset, stimulus_time_at_volume_0: Number, name: str) -> None:
    """Refuse a `stimulus_time_at_volume_0` for words whose extraction had a `table_time_at_tr_0`: both shift them.

    Parameters
    ----------
    features : xarray.Dataset
    stimulus_time_at_volume_0 : float
        What is given now, in seconds.
    name : str
        Of the features, for the message.

    Raises
    ------
    InputError
        If neither is 0, naming both and the file; or if `stimulus_time_at_volume_0` is not a finite number.
    """
    before = recorded_table_time(features)
    now = exact(stimulus_time_at_volume_0, f"stimulus_time_at_volume_0 of {name}")
    if before and now:
        source = features.attrs.get("source", "its table")
        raise InputError(
            f"{name}: {source} was extracted with table_time_at_tr_0={shown(before)}, and "
            f"stimulus_time_at_volume_0={shown(now)} would shift it again: if the first says where the scan begins, "
            "leave out the second (0) for this file; if both are intended, extract it again with "
            f"table_time_at_tr_0=0 and pass stimulus_time_at_volume_0={shown(exact(before) + now)} here"
        )
