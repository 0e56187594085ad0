"""Features of films that several subjects saw: read once, held once, and laid end to end without copies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from giblet.data.dataset.series import Series
from giblet.features import load_features, main_variable
from giblet.files import sha256_of

if TYPE_CHECKING:
    import xarray as xr


class Films:
    """Feature files of a study while it is read."""

    def __init__(self) -> None:
        self._files: dict[Path, xr.Dataset] = {}
        self._held: dict[Path, list[tuple[int, np.ndarray]]] = {}
        self._digests: dict[Path, str] = {}

    def load(self, path: Path) -> xr.Dataset:
        """A feature file, from memory if its numbers are in use; a series of numbers is one of vectors of length 1.

        Parameters
        ----------
        path : Path

        Returns
        -------
        xarray.Dataset
            Not to be changed: later callers get the same one.

        Raises
        ------
        InputError
            As :func:`giblet.features.load_features`.
        """
        place = path.resolve()
        if place not in self._files:
            features = load_features(path)
            name = main_variable(features)
            if features[name].ndim == 1:
                features[name] = features[name].expand_dims("value", axis=1)
            self._files[place] = features
        return self._files[place]

    def digest(self, path: Path) -> str:
        """SHA-256 of a file; by it a film is known.

        Parameters
        ----------
        path : Path

        Returns
        -------
        str
            Hexadecimal digits.
        """
        place = path.resolve()
        if place not in self._digests:
            self._digests[place] = sha256_of(path)
        return self._digests[place]

    def shared(self, path: Path, values: np.ndarray, first: int) -> np.ndarray:
        """The same numbers, in the memory of a former caller of the same file where they stand there.

        Parameters
        ----------
        path : Path
        values : ndarray, shape (n_trs, ...)
            Rows of the file as alignment gave them.
        first : int
            The TR of the file in which the first of them begins.

        Returns
        -------
        ndarray, shape (n_trs, ...)
            Of the same dtype and bytes as `values`. Not to be changed: others may hold the same memory.

        Raises
        ------
        InputError
            As :meth:`load`.
        """
        place = path.resolve()
        held, file = self._held.setdefault(place, []), self.load(path)
        whole = file[main_variable(file)].values
        for begins, there in [*held, (0, whole)]:
            rows = there[max(0, first - begins) :][: len(values)]
            if first >= begins and _same(rows, values):
                break
        else:
            begins, there, rows = first, values, values
        if not any(one is there for _, one in held):
            held.append((begins, there))
        if not any(one is whole for _, one in held):
            # Between whole TRs, or in another form: nobody needs the file's own numbers any longer.
            del self._files[place]
        return rows


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two arrays have the same bytes, NaN and -0 included."""
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    return all(a.tobytes() == b.tobytes() for a, b in zip(one, other, strict=True))


class Joined(Series):
    """Runs end to end, each of them read from where it lies.

    Parameters
    ----------
    blocks : sequence of ndarray or int
        The runs, (n_trs, ...) each; a number stands for so many TRs of which nothing is known.
    valid : ndarray of bool, shape (n_trs,)
        Of all runs.
    kind : {"continuous", "codes"}
    tr : float
        Repetition time in seconds.
    name : str
        For messages.
    """

    def __init__(self, blocks: Sequence[np.ndarray | int], valid: np.ndarray, kind: str, tr: float, name: str) -> None:
        known = [block for block in blocks if not isinstance(block, int)]
        self._blocks = list(blocks)
        self._edges = np.cumsum([0, *(block if isinstance(block, int) else len(block) for block in blocks)]).tolist()
        self._label = name
        self.kind, self.tr, self.run, self.valid = kind, tr, None, valid
        self.shape = (self._edges[-1], *known[0].shape[1:])
        self.dtype = np.result_type(*(block.dtype for block in known))

    @property
    def name(self) -> str:
        """What the series is."""
        return self._label

    def read(self, start: int, stop: int) -> np.ndarray:
        """TRs ``[start, stop)`` as an array of its own; 0 where nothing is known.

        Parameters
        ----------
        start, stop : int
            Rows of all runs, from 0.

        Returns
        -------
        ndarray, shape (stop - start, ...)
        """
        values = np.zeros((stop - start, *self.shape[1:]), self.dtype)
        for block, first in zip(self._blocks, self._edges, strict=False):
            if not isinstance(block, int):
                low, high = max(start, first), min(stop, first + len(block))
                if low < high:
                    values[low - start : high - start] = block[low - first : high - first]
        return values

    def __getstate__(self) -> dict[str, object]:
        """All of it: there is no open file."""
        return dict(self.__dict__)
