"""Masks of CIFTI and GIFTI: which rows of a scan are read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from giblet.data.bold.brain_rows import CIFTI, BrainRows, format_of
from giblet.data.bold.grayordinates import read_cifti_map
from giblet.data.bold.surfaces import read_surface_map
from giblet.errors import InputError


@dataclass(frozen=True)
class RowMask:
    """A mask of rows."""

    inside: np.ndarray
    """bool (n_rows,)."""
    rows: BrainRows | None = None
    """Of the mask; None: those of the scan."""
    name: str = "the mask"
    """What messages call it."""

    def on(self, rows: BrainRows, scan: str) -> np.ndarray:
        """The mask on the rows of a scan.

        Parameters
        ----------
        rows : BrainRows
            Of the scan.
        scan : str
            What messages call it.

        Returns
        -------
        ndarray of bool, shape (n_rows,)
            False where the mask has nothing.

        Raises
        ------
        InputError
            If it is of another space or density, or nothing is inside.
        """
        if self.rows is None:
            if len(self.inside) != len(rows):
                raise InputError(
                    f"{self.name} is of {len(self.inside)} rows, {scan} has {len(rows)}: pass one of the same rows"
                )
            return self.inside.copy()
        at = rows.rows_in(self.rows, self.name, scan)
        found = self.inside[at] & (at >= 0)
        if not found.any():
            raise InputError(f"{self.name} holds no vertex or voxel of {scan}: check that both are whole")
        return found


def read_row_mask(path: Path, what: str = "the mask") -> RowMask:
    """A mask of CIFTI or GIFTI.

    Parameters
    ----------
    path : Path
        A map that is 0, or NaN, outside: ``.dscalar.nii``, ``.dlabel.nii``, or one of a pair of ``.shape.gii``,
        ``.func.gii`` or ``.label.gii``.
    what : str
        What messages call it, before its name.

    Returns
    -------
    RowMask

    Raises
    ------
    InputError
        If it cannot be read, is empty, or holds values other than 0 and one more.
    """
    values, rows, _ = (read_cifti_map if format_of(path) == CIFTI else read_surface_map)(path)
    values = np.nan_to_num(np.asarray(values, np.float64), nan=0.0)
    held = np.unique(values[values != 0])
    if len(held) != 1:
        told = "0 everywhere" if not len(held) else f"{len(held)} values beside 0"
        raise InputError(f"cannot read {path.name}: it holds {told}, it is not a mask")
    return RowMask(values != 0, rows, f"{what} {path.name}")
