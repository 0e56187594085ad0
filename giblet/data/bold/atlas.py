"""Label images and label files of surfaces: what belongs to which region, what the background is, and what the regions
are called."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from giblet.data.bold.brain_rows import CIFTI, GIFTI, BrainRows, format_of
from giblet.data.bold.grayordinates import read_cifti_map
from giblet.data.bold.surfaces import read_surface_map
from giblet.data.bold.volumes import open_image, read_values
from giblet.errors import InputError

log = logging.getLogger(__name__)

WHOLE = 1e-3
"""Labels may lie this far from a whole number: a scale in 32 bits makes 1.0000001 of 1."""


@dataclass(frozen=True)
class Atlas:
    """A label image; make it with :meth:`read`."""

    labels: np.ndarray
    """int64 (x, y, z), or (n_rows,) of CIFTI and GIFTI."""
    regions: np.ndarray
    """bool, of the same shape: False in the background."""
    affine: np.ndarray
    """(4, 4); of NIfTI."""
    given: Mapping[int, str]
    """Names by label, as far as they were given, or the file has them."""
    name: str
    """Of the file."""
    rows: BrainRows | None = None
    """Of CIFTI and GIFTI."""

    @classmethod
    def read(
        cls, path: str | Path, names: Mapping[int, str] | None = None, background_label: int | None = None
    ) -> Atlas:
        """An atlas from a label image.

        Parameters
        ----------
        path : str or Path
            A 3-D NIfTI image, ``.dlabel.nii``, or one of a pair of ``.label.gii``.
        names : mapping of int to str, optional
            Names of labels; those that do not occur are left out. They go before those that CIFTI and GIFTI bring.
        background_label : int, optional
            What stands where there is no region, as in ``nilearn.maskers.NiftiLabelsMasker``. By default 0, if nothing
            below it occurs. NaN is no region in any case. Where neither occurs, every voxel is of a region, of which a
            warning tells.

        Returns
        -------
        Atlas

        Raises
        ------
        InputError
            If the image is not 3-D or the file has several maps, or it holds numbers that are not whole, no region, not
            the background that was said, or negative numbers of which nobody said whether they are regions; if the
            names are not by number, name no region, or two alike.
        """
        name = Path(path).name
        values, affine, rows, in_file = _values_in(Path(path))
        known = ~np.isnan(values)
        whole = np.round(np.where(known, values, 0))
        if np.isinf(whole).any() or not np.allclose(whole[known], values[known], rtol=1e-6, atol=WHOLE):
            raise InputError(f"{name} holds numbers that are not whole: a label image, not a probability map")
        labels = whole.astype(np.int64)
        lowest = labels[known].min(initial=0)
        if background_label is None and lowest < 0:
            zero = "0 too" if (labels[known] == 0).any() else "no 0"
            raise InputError(
                f"{name} holds labels from {lowest} on, and {zero}: which of them is no region? Say so with "
                f"background_label={lowest} or background_label=0"
            )
        background = background_label or 0
        regions = known & (labels != background)
        found = np.unique(labels[known])
        shown = ", ".join(map(str, found[:10])) + (", ..." if len(found) > 10 else "")
        if background and background not in found:
            raise InputError(f"{name} holds no {background}, the background_label: it holds {shown}")
        if regions.all():
            log.warning("%s holds no 0, the background: every voxel is of one of its regions (%s)", name, shown)
        if not regions.any():
            raise InputError(f"{name} holds no label: every voxel is {background}, the background")
        given, wanted = _by_number(names), set(np.unique(labels[regions]).tolist())
        if given and not set(given) & wanted:
            told = ", ".join(map(str, list(given)[:5]))
            raise InputError(f"labels name {told}, none of which is a region of {name}: name numbers of its regions")
        if rows is not None and rows.format == GIFTI:
            _tell_of_both_hemispheres(labels, regions, rows, name)
        own = {number: called for number, called in in_file.items() if number in wanted}
        atlas = cls(labels, regions, affine, {**_told_apart(own), **given}, name, rows)
        atlas.names_of(atlas.wanted)
        return atlas

    @property
    def wanted(self) -> np.ndarray:
        """The labels of regions, int64 (n_regions,), ascending."""
        return np.unique(self.labels[self.regions])

    def on(self, rows: BrainRows, scan: str) -> tuple[np.ndarray, np.ndarray]:
        """Labels and regions on the rows of a scan of CIFTI or GIFTI.

        Parameters
        ----------
        rows : BrainRows
            Of the scan.
        scan : str
            What messages call it.

        Returns
        -------
        labels : ndarray of int64, shape (n_rows,)
        regions : ndarray of bool, shape (n_rows,)
            False in the background, and where the atlas has nothing.

        Raises
        ------
        InputError
            If the atlas is of another space or density.
        """
        if self.rows is None:
            raise InputError(
                f"the atlas {self.name} is a NIfTI image, {scan} is {rows.format}: choose an atlas of the scan's space "
                "(.dlabel.nii or .label.gii)"
            )
        at = rows.rows_in(self.rows, f"the atlas {self.name}", scan)
        return self.labels[at], self.regions[at] & (at >= 0)

    def names_of(self, labels: np.ndarray) -> np.ndarray:
        """Names of regions.

        Parameters
        ----------
        labels : ndarray of int, shape (n_regions,)

        Returns
        -------
        ndarray of str, shape (n_regions,)
            ``"label-7"`` where none was given.

        Raises
        ------
        InputError
            If two have the same name.
        """
        names = [self.given.get(int(label), f"label-{label}") for label in labels]
        for name in names:
            if names.count(name) > 1:
                found = ", ".join(str(label) for label, own in zip(labels, names, strict=True) if own == name)
                raise InputError(f"labels {found} of the atlas are all called {name!r}; give each its own name")
        return np.array(names)


def _values_in(path: Path) -> tuple[np.ndarray, np.ndarray, BrainRows | None, dict[int, str]]:
    """Labels, affine, rows and names of a label file."""
    if (kind := format_of(path)) in (CIFTI, GIFTI):
        values, rows, names = (read_cifti_map if kind == CIFTI else read_surface_map)(path)
        return values, np.eye(4), rows, names
    image = open_image(path)
    if image.ndim != 3:
        raise InputError(f"{path.name} is {image.ndim}-D, shape {image.shape}; expected a 3-D label image")
    return read_values(image, path), image.affine, None, {}


def _tell_of_both_hemispheres(labels: np.ndarray, regions: np.ndarray, rows: BrainRows, name: str) -> None:
    """Warn of labels that files of two hemispheres share, which their programs may have meant to be two regions."""
    left = rows.columns()["structure"] == "CORTEX_LEFT"
    both = np.intersect1d(labels[regions & left], labels[regions & ~left])
    if len(both):
        what = f"label {both[0]} is" if len(both) == 1 else f"{len(both)} labels, from {both[0]} on, are"
        log.warning(
            "%s: %s in both hemispheres: one region of both; to keep them apart, give them labels of their own", name,
            what,
        )  # fmt: skip


def _told_apart(names: Mapping[int, str]) -> dict[int, str]:
    """Names of a file's own, with the label behind those that it has twice."""
    said = list(names.values())
    return {number: name if said.count(name) == 1 else f"{name} {number}" for number, name in names.items()}


def _by_number(names: Mapping[int, str] | None) -> dict[int, str]:
    """Names by whole numbers; a list does not say of which label each name is."""
    if names is None:
        return {}
    if not isinstance(names, Mapping):
        raise InputError(
            f"labels are {type(names).__name__}; expected a mapping of number to name, such as {{1: 'V1', 2: 'A1'}}; "
            "dict(enumerate(names)) makes one of a list that begins with the background, 0"
        )
    found = {}
    for key, name in names.items():
        try:
            number = float(key)
        except (TypeError, ValueError) as exc:
            raise InputError(f"labels name {key!r}; expected the whole numbers of the atlas") from exc
        if not number.is_integer():
            raise InputError(f"labels name {key!r}; expected the whole numbers of the atlas")
        found[int(number)] = str(name)
    return found
