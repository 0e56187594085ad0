"""Features as they are given: named bands, no codes, as long as the BOLD; options by band; rows to learn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from giblet.alignment.checks import check_finite
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
    refuse_codes(f"band {name!r}", array)
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or not all(array.shape):
        raise InputError(f"band {name!r} has shape {array.shape}: (n_trs, n_features) is needed")
    check_finite(np.asarray(array), f"band {name!r}")
    return array


def refuse_codes(what: str, array: Any) -> None:
    """Refuse categories, and whatever else is no float.

    Parameters
    ----------
    what : str
        Its name, for messages.
    array : ndarray or DataArray

    Raises
    ------
    InputError
        If its kind is codes, or its values are no floats.
    """
    if getattr(array, "attrs", {}).get("kind") == CODES or array.dtype.kind in "iu":
        raise InputError(
            f"{what} is codes ({array.dtype}), names of sounds and no amounts: give what they stand for "
            "(AudioCodec.latents), counts of each entry, or a learned embedding of them; whole numbers that are "
            "amounts, such as words per TR, as .astype(np.float32)"
        )
    if array.dtype.kind not in "fb":
        raise InputError(f"{what} is of dtype {array.dtype}: floats are needed")


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
            f"n_components of {band!r} is {option!r}: a whole number, a share of the variance "
            "below 1, or None is needed"
        )
    return option


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
                f"band {name!r} has {len(values)} rows and the BOLD {n_trs}: align them first "
                "(giblet.alignment.align_all_modalities)"
            )


def training_rows(train: Any, n_trs: int) -> np.ndarray:
    """Rows to learn from, checked.

    Parameters
    ----------
    train : array_like of int, or of bool (n_trs,), or None
        None: all.
    n_trs : int

    Returns
    -------
    ndarray of int, ascending

    Raises
    ------
    InputError
        If there are none, or one lies outside the scan.
    """
    if train is None:
        return np.arange(n_trs)
    given = np.asarray(train)
    if given.dtype == bool and given.shape == (n_trs,):
        return np.flatnonzero(given)
    if given.ndim != 1 or given.dtype.kind not in "iu" or not len(given) or given.min() < 0 or given.max() >= n_trs:
        outside = given[(given < 0) | (given >= n_trs)] if given.dtype.kind in "iu" else given[:0]
        what = f"names row {outside.flat[0]}" if outside.size else f"has shape {given.shape}, {given.dtype}"
        raise InputError(f"train {what}: some of the {n_trs} rows are needed, from 0 on, or a bool for each")
    return np.unique(given)
