"""Label images: which voxels belong to which region, what the background is, and what the regions are called."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from giblet.data.bold.volumes import open_image, read_values
from giblet.errors import InputError

log = logging.getLogger(__name__)

WHOLE = 1e-3
"""Labels may lie this far from a whole number: a scale in 32 bits makes 1.0000001 of 1."""


@dataclass(frozen=True)
class Atlas:
    """A label image; make it with :meth:`read`."""

    labels: np.ndarray
    """int64 (x, y, z)."""
    regions: np.ndarray
    """bool (x, y, z): False in the background."""
    affine: np.ndarray
    """(4, 4)."""
    given: Mapping[int, str]
    """Names by label, as far as they were given."""

    @classmethod
    def read(
        cls, path: str | Path, names: Mapping[int, str] | None = None, background_label: int | None = None
    ) -> Atlas:
        """An atlas from a label image.

        Parameters
        ----------
        path : str or Path
        names : mapping of int to str, optional
            Names of labels; those that do not occur are left out.
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
            If the image is not 3-D, holds numbers that are not whole, no region, not the background that was said, or
            negative numbers of which nobody said whether they are regions; if the names are not by number, name no
            region, or two alike.
        """
        image, name = open_image(path), Path(path).name
        if image.ndim != 3:
            raise InputError(f"{name} is {image.ndim}-D, shape {image.shape}; expected a 3-D label image")
        values = read_values(image, path)
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
        atlas = cls(labels, regions, image.affine, _by_number(names))
        if atlas.given and not set(atlas.given) & set(atlas.wanted.tolist()):
            told = ", ".join(map(str, list(atlas.given)[:5]))
            raise InputError(f"labels name {told}, none of which is a region of {name}")
        atlas.names_of(atlas.wanted)
        return atlas

    @property
    def wanted(self) -> np.ndarray:
        """The labels of regions, int64 (n_regions,), ascending."""
        return np.unique(self.labels[self.regions])

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
