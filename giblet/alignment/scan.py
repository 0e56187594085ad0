"""BOLD as it is handed over: an array, or a Dataset that says which volumes of its run it holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from giblet.errors import AlignmentError, InputError, one_line
from giblet.timing import check_tr, same_tr, shown, volumes_at

BESIDE = ("run", "sample_mask", "onset")


def censored(sample_mask: Any, n_trs: int) -> np.ndarray:
    """`sample_mask` as an array, found to be one bool for each volume.

    Parameters
    ----------
    sample_mask : array_like of bool, shape (n_trs,)
        False where a volume is not to be used.
    n_trs : int
        Volumes of the scan.

    Returns
    -------
    ndarray of bool, shape (n_trs,)

    Raises
    ------
    InputError
        If it is not one bool for each volume.
    """
    mask = np.asarray(sample_mask)
    if mask.dtype != bool or mask.shape != (n_trs,):
        raise InputError(f"sample_mask is {mask.dtype} {mask.shape}; expected bool ({n_trs},), False where censored")
    return mask


@dataclass(frozen=True)
class Scan:
    """BOLD, volumes leading, and what it says of itself."""

    data: np.ndarray
    """(n_held, ...)."""
    tr: float
    """Seconds."""
    slice_time_ref: float | None
    """When in its TR a volume was read; None where nothing says."""
    sample_mask: np.ndarray | None
    """bool (n_held,): False where censored."""
    run: np.ndarray | None
    """(n_held,): the run of each volume, where the BOLD says."""
    volumes: np.ndarray | None
    """int64 (n_held,): which volume of its run each row is, by its onset; None where there are no onsets."""

    @cached_property
    def place(self) -> np.ndarray:
        """int64 (n_held,): the volume of the run that each row is; without onsets they count from 0."""
        return np.arange(len(self.data)) if self.volumes is None else self.volumes

    @property
    def n_volumes(self) -> int:
        """Volumes from the first of the run to the last that is held."""
        return int(self.place[-1]) + 1

    @cached_property
    def held(self) -> np.ndarray:
        """bool (n_volumes,): the BOLD holds this volume of the run."""
        return self.spread(np.ones(len(self.data), bool))

    def spread(self, by_row: np.ndarray) -> np.ndarray:
        """One bool for each row as one for each volume of the run: False where there is no row.

        Parameters
        ----------
        by_row : ndarray of bool, shape (n_held,)

        Returns
        -------
        ndarray of bool, shape (n_volumes,)
        """
        out = np.zeros(self.n_volumes, bool)
        out[self.place] = by_row
        return out

    @property
    def extent(self) -> str:
        """How many volumes there are, and of which seconds of their run, for messages."""
        n, tr = len(self.data), self.tr
        if n == self.n_volumes:
            return f"the BOLD has {n} volumes ({n * tr:g} s)"
        first = int(self.place[0])
        return f"the BOLD has {n} volumes between second {first * tr:g} and {self.n_volumes * tr:g} of its run"

    def used(self, volume_mask: Any) -> tuple[np.ndarray, list[str]]:
        """The volumes that are held and neither censored nor left out by the caller, and why others are not.

        Parameters
        ----------
        volume_mask : array_like of bool, shape (n_held,), or None
            False for rows that the caller leaves out.

        Returns
        -------
        used : ndarray of bool, shape (n_volumes,)
        reasons : list of str
            One sentence for each reason.

        Raises
        ------
        AlignmentError
            If a mask is not one bool for each row.
        """
        n_held, first, reasons = len(self.data), int(self.place[0]), []
        if first:
            reasons.append(f"the BOLD begins with volume {first}, {first * self.tr:g} s into its run")
        if missing := self.n_volumes - first - n_held:
            reasons.append(f"the BOLD lacks {missing} volumes between its first and its last, by its onsets")
        used = np.ones(n_held, bool)
        for what, given in (("volume_mask", volume_mask), ("sample_mask", self.sample_mask)):
            if given is None:
                continue
            mask = np.asarray(given)
            if mask.shape != (n_held,) or mask.dtype != bool:
                raise AlignmentError(f"{what} is {mask.dtype} {mask.shape}; expected bool ({n_held},)")
            if not mask.all():
                reasons.append(f"{what} leaves out {int((~mask).sum())} volumes")
            used &= mask
        return self.spread(used), reasons

    def rows(self, volumes: np.ndarray, used: np.ndarray) -> np.ndarray:
        """BOLD of these volumes of the run.

        Parameters
        ----------
        volumes : ndarray of int, shape (n,)
            Increasing.
        used : ndarray of bool, shape (n,)
            False where NaN is wanted.

        Returns
        -------
        ndarray, shape (n, ...)
            As it is held, a view where nothing is left out between; NaN where a volume is not held or not to be used,
            and then of float32 or float64.
        """
        row = np.full(self.n_volumes, -1)
        row[self.place] = np.arange(len(self.data))
        at = row[volumes]
        if (at >= 0).all():
            together = int(at[-1] - at[0]) + 1 == len(at)
            data = self.data[slice(int(at[0]), int(at[-1]) + 1) if together else at]
            if used.all():
                return data
        else:
            data = self.data[np.maximum(at, 0)]
        data = np.array(data, dtype=np.result_type(data.dtype, np.float32))
        data[(at < 0) | ~used] = np.nan
        return data

    def without(self, sample_mask: Any) -> Scan:
        """The same scan with more volumes censored.

        Parameters
        ----------
        sample_mask : array_like of bool, shape (n_held,), or None
            False: the row is censored, beside those that are already. None censors none.

        Returns
        -------
        Scan

        Raises
        ------
        InputError
            If it is not one bool for each row.
        """
        if sample_mask is None:
            return self
        mask = censored(sample_mask, len(self.data))
        return replace(self, sample_mask=mask if self.sample_mask is None else mask & self.sample_mask)

    @property
    def whole(self) -> tuple[np.ndarray, np.ndarray | None]:
        """BOLD by volume of its run, 0 where it is not held, and its mask: None where all volumes count."""
        n_held = len(self.data)
        counts = np.ones(n_held, bool) if self.sample_mask is None else self.sample_mask
        if n_held == self.n_volumes:
            return self.data, self.sample_mask
        data = np.zeros((self.n_volumes, *self.data.shape[1:]), self.data.dtype)
        data[self.place] = self.data
        return data, self.spread(counts)


def knows_its_volumes(bold: Any) -> bool:
    """Whether BOLD is more than an array: it can say its TR, and which volumes it holds.

    Parameters
    ----------
    bold : array_like, DataArray or Dataset

    Returns
    -------
    bool
        True for a Dataset, and for a DataArray whose first dimension is ``tr``.
    """
    import xarray as xr

    return isinstance(bold, xr.Dataset) or (isinstance(bold, xr.DataArray) and bold.dims[:1] == ("tr",))


def scan_of(bold: Any, *, tr: float | None, order: str = "", one_run: bool = True) -> Scan:
    """BOLD with its TR, censored volumes and place in its run.

    Parameters
    ----------
    bold : array_like, shape (n_volumes, ...), DataArray or Dataset with ``bold``
        ``onset`` of a Dataset or DataArray (s, from volume 0 of the run) says which volumes were kept by who cut it.
    tr : float or None
        Repetition time in seconds; needed unless `bold` says it.
    order : str
        Of the caller's arguments, for messages.
    one_run : bool
        Refuse several runs.

    Returns
    -------
    Scan

    Raises
    ------
    InputError
        If it is no BOLD, or its TR is not known or cannot be one.
    AlignmentError
        If TRs differ, runs are mixed, or onsets are not those of volumes in their order.
    """
    import xarray as xr

    attrs: Mapping[str, Any] = {}
    beside: dict[str, np.ndarray] = {}
    if isinstance(bold, xr.Dataset):
        if "bold" not in bold:
            held = f"a Dataset with {', '.join(map(str, bold.data_vars))}"
            raise InputError(f"bold is {held}; expected a variable 'bold'" + _and(order))
        beside = {str(name): bold[name].values for name in BESIDE if name in bold}
        bold = bold["bold"].assign_attrs({**bold.attrs, **bold["bold"].attrs})
    if isinstance(bold, xr.DataArray):
        if bold.dims[:1] != ("tr",):
            raise AlignmentError(f"bold has dimensions {bold.dims}: 'tr' must come first")
        attrs, own = bold.attrs, bold.attrs.get("tr")
        if own is not None and tr is not None and not same_tr(own, tr):
            raise AlignmentError(
                f"the BOLD has TR {shown(own)} s, but tr is {shown(tr)} s; drop tr=, or check the scan's header"
            )
        tr = own if tr is None else tr
        beside |= {name: bold.coords[name].values for name in BESIDE if name in bold.coords}
        bold = bold.values
    data = bold if isinstance(bold, np.ndarray) else _numbers(bold, order)
    if data.ndim == 0 or len(data) == 0 or data.dtype.kind not in "iufb":
        raise InputError(f"bold has shape {data.shape} of {data.dtype}; expected numbers (n_volumes, n_voxels)")
    if tr is None:
        raise InputError("the TR of the BOLD is unknown; pass tr in seconds")
    seconds, run, mask = float(check_tr(tr)), beside.get("run"), beside.get("sample_mask")
    if one_run and run is not None and len(np.unique(run)) > 1:
        raise AlignmentError(
            f"bold holds {len(np.unique(run))} runs: align one at a time, as each has its own start: "
            "bold.isel(tr=bold.run == 1)"
        )
    ref = attrs.get("slice_time_ref")
    volumes = None if "onset" not in beside else volumes_at(beside["onset"], seconds, run, "the BOLD")
    return Scan(
        data, seconds, None if ref is None else float(ref), None if mask is None else mask.astype(bool), run, volumes
    )


def _and(order: str) -> str:
    return f"; {order}" if order else ""


def _numbers(bold: Any, order: str) -> np.ndarray:
    """Lists as an array; InputError for what is none."""
    remedy = "expected an array (n_volumes, n_voxels) of one run, as FMRIProcessor(...).load returns it" + _and(order)
    if isinstance(bold, (str, Path)):
        raise InputError(f"bold is the path {bold}; {remedy}")
    if isinstance(bold, (list, tuple)) and any(getattr(one, "ndim", 0) > 1 for one in bold):
        raise InputError(f"bold is a {type(bold).__name__} of {len(bold)} arrays; {remedy}")
    try:
        return np.asarray(bold)
    except (TypeError, ValueError) as exc:
        raise InputError(f"bold is a {type(bold).__name__} that is no array ({one_line(exc)}); {remedy}") from exc
