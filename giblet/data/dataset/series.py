"""One modality by TR that stays on disk until a window of it is read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from giblet.errors import InputError, reading
from giblet.features import CODES, CONTINUOUS, REQUIRED, present_in
from giblet.files import check_there
from giblet.netcdf import open_netcdf

Source = str | Path | np.ndarray | xr.DataArray | xr.Dataset


class Series:
    """A feature file, BOLD file, ``.npy`` file or array, read by TR.

    Parameters
    ----------
    source : str, Path, ndarray, DataArray or Dataset
        A file is opened, not loaded; each process that reads it opens it anew, so that the workers of a DataLoader
        share no HDF5 handle. A DataArray of :func:`giblet.alignment.align_all_modalities` says itself what it holds.
    kind : {"continuous", "codes"}, optional
        What an array or ``.npy`` file holds, needed for signed integers; a feature file says itself.

    Attributes
    ----------
    kind : str
        ``"continuous"`` or ``"codes"``.
    shape : tuple of int
        (n_trs, ...).
    dtype : numpy.dtype
    tr : float or None
        Seconds, where the source says.
    run : ndarray or None
        Run of each TR, where the source says.
    valid : ndarray of bool, shape (n_trs,)
        False: no data, as the film is over, or ``mask`` or, of BOLD, ``sample_mask`` says so, or
        :func:`giblet.features.present_in`.
    volume : ndarray of int or None
        Volume of the scan of each TR, where the source says.
    onset : ndarray of float or None
        Second of the film, or, of BOLD, of its run, at which each TR begins, where a Dataset or file says.
    is_bold : bool
        A Dataset or file of BOLD.

    Raises
    ------
    InputError
        If there is no such file, or it is not one of ours, or the kind contradicts.
    """

    volume: np.ndarray | None = None
    onset: np.ndarray | None = None
    is_bold: bool = False

    def __init__(self, source: Source, kind: str | None = None) -> None:
        self._path = Path(source) if isinstance(source, (str, Path)) else None
        self._held: Any = None if self._path else _known(source)
        self._opened: tuple[int, Any] | None = None
        data, attrs, beside = self._open()
        own = attrs.get("kind")
        if kind is not None and own is not None and kind != own:
            raise InputError(f"{self.name} holds {own} values, and kind is {kind}: leave out kind, or set {own!r}")
        self.kind = str(own or kind or CONTINUOUS)
        if self.kind not in (CODES, CONTINUOUS):
            raise InputError(f"kind is {self.kind!r}; expected {CODES!r} or {CONTINUOUS!r}")
        self.shape: tuple[int, ...] = tuple(map(int, data.shape))
        self.dtype = np.dtype(data.dtype)
        if not self.shape or self.dtype.kind not in "fiub" or (self.kind == CODES and self.dtype.kind not in "iu"):
            raise InputError(
                f"{self.name} is {self.dtype} of shape {self.shape}, kind {self.kind}; expected (n_trs, ...)"
            )
        if kind is None and own is None and self.dtype.kind == "i":
            raise InputError(
                f"{self.name} is {self.dtype} and is not marked as codes (names, never averaged) or "
                "amounts; pass Series(x, kind='codes'), the arrays of align_all_modalities, which know it, or "
                "x.astype(np.float32)"
            )
        self.tr = float(attrs["tr"]) if "tr" in attrs else None
        self.run = np.asarray(beside["run"]) if "run" in beside else None
        if "volume" in beside:
            self.volume = np.asarray(beside["volume"])
        if "onset" in beside:
            self.onset = np.asarray(beside["onset"], np.float64)
        self.is_bold = bool(beside.get("bold", False))
        self.valid = np.asarray(beside["valid"], bool) if "valid" in beside else np.ones(len(self), bool)

    @property
    def name(self) -> str:
        """The file's name, or what the source is."""
        return self._path.name if self._path else f"the {type(self._held).__name__}"

    def __len__(self) -> int:
        """How many TRs."""
        return self.shape[0]

    def read(self, start: int, stop: int) -> np.ndarray:
        """TRs ``[start, stop)`` as an array of its own.

        Parameters
        ----------
        start, stop : int

        Returns
        -------
        ndarray, shape (stop - start, ...)
            In the type of the series.

        Raises
        ------
        InputError
            If the file cannot be read.
        """
        data = self._data()
        with reading(self.name):
            return np.array(data[start:stop])

    def __getstate__(self) -> dict[str, Any]:
        """Without the open file, which belongs to this process."""
        return {**self.__dict__, "_opened": None}

    def _data(self) -> Any:
        if self._opened is None or self._opened[0] != os.getpid():
            self._open()
        assert self._opened is not None
        return self._opened[1]

    def _open(self) -> tuple[Any, dict[str, Any], dict[str, Any]]:
        """The array, its attributes and the small variables beside it."""
        source = self._held
        if self._path is not None:
            check_there(self._path)
            if self._path.suffix == ".npy":
                with reading(self._path):
                    source = np.load(self._path, mmap_mode="r", allow_pickle=False)
            else:
                source = open_netcdf(self._path)
        attrs: dict[str, Any] = {}
        beside: dict[str, Any] = {}
        if isinstance(source, xr.Dataset):
            missing = [name for name in REQUIRED if name not in source.attrs]
            if self._path is not None and missing:
                raise InputError(f"{self._path} is not a giblet feature file: it lacks {', '.join(missing)}")
            attrs = dict(source.attrs)
            with reading(self.name):
                beside = {
                    k: source[k].values
                    for k in ("run", "valid", "onset")
                    if k in source.variables and source[k].dims == ("tr",)
                }
            array = source[attrs["variable"]] if "variable" in attrs else _only(source)
            beside["bold"] = array.name == "bold"
            with reading(self.name):
                here = present_in(source, str(array.name))
                if beside["bold"] and "sample_mask" in source and source["sample_mask"].dims == ("tr",):
                    here &= source["sample_mask"].values.astype(bool)  # volumes with too much motion
            beside["valid"] = here & beside.get("valid", True)
            source = array
        if isinstance(source, xr.DataArray):
            if not attrs:
                attrs = dict(source.attrs)
                beside = {k: source[k].values for k in ("run", "volume") if k in source.coords}
                if "mask" in source.coords:
                    beside["valid"] = source["mask"].values
            if not source.dims or source.dims[0] != "tr":
                raise InputError(f"{self.name} has dimensions {source.dims}: the first must be tr")
            source = source.variable
        self._opened = (os.getpid(), source)
        return source, attrs, beside


def _known(source: Any) -> Any:
    """The source as one of the kinds that are read."""
    if isinstance(source, (np.ndarray, xr.DataArray, xr.Dataset)):
        return source
    try:
        return np.asarray(source)  # lists of numbers; of all else the dtype is refused
    except (TypeError, ValueError) as exc:
        raise InputError(f"a {type(source).__name__} is no series; expected a file, array or Dataset") from exc


def _only(dataset: xr.Dataset) -> xr.DataArray:
    names = [name for name, v in dataset.data_vars.items() if v.dims[:1] == ("tr",) and v.ndim > 1]
    if len(names) != 1:
        raise InputError(f"a Dataset with {len(names)} variables over (tr, ...); name one in attrs['variable']")
    return dataset[names[0]]
