"""Simulated BOLD as files that a scan could have left, with the truth beside them."""

from __future__ import annotations

import json
from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np
import pandas as pd

from giblet.data.bold.scan_timing import sidecar_path
from giblet.data.bold.tables import SEPARATORS, is_table
from giblet.data.bold.volumes import write_image
from giblet.errors import InputError
from giblet.features import REPLACE, save_features, standing
from giblet.files import atomic_path, write_atomic

if TYPE_CHECKING:
    from giblet.data.simulate import Simulation


def write_simulation(simulation: Simulation, path: str | Path, *, overwrite: bool = False) -> list[Path]:
    """Write simulated BOLD as NIfTI or table, and the truth beside it.

    Parameters
    ----------
    simulation : Simulation
    path : str or Path
        ``.nii`` or ``.nii.gz``: voxels stand in a box of 3 mm voxels, with a mask ``<name>_mask.nii.gz`` beside it.
        ``.tsv`` or ``.csv`` (or with ``.gz``): one column per voxel. Several runs become ``<name>_run-1`` and so on.
    overwrite : bool
        Replace files of these names that are not of the same simulation.

    Returns
    -------
    list of Path
        The runs, the mask of images, and ``<name>_truth.nc``. JSON sidecars, with the TR, stand beside runs and truth.

    Raises
    ------
    InputError
        If the name is of neither sort, or a file cannot be written or would replace one of another simulation.
    """
    path = Path(path)
    suffix = "".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix
    table = is_table(path)
    if not table and suffix not in (".nii", ".nii.gz"):
        raise InputError(f"{path} is neither image nor table: .nii, .nii.gz, .tsv or .csv is needed")
    stem, lengths = path.name.removesuffix(suffix), simulation.run_lengths
    edges = np.cumsum([0, *lengths])
    n_voxels, tr = simulation.bold.shape[1], float(simulation.truth.attrs["tr"])
    side = ceil(n_voxels ** (1 / 3) - 1e-9)
    shape = (side, side, ceil(n_voxels / side**2))
    inside = (np.arange(np.prod(shape)) < n_voxels).reshape(shape)
    affine = np.diag([3.0, 3.0, 3.0, 1.0])
    written = []
    targets = [path.with_name(f"{stem}_run-{run}{suffix}") for run in range(1, len(lengths) + 1)]
    targets = targets if len(lengths) > 1 else [path]
    mask, truth = path.with_name(f"{stem}_mask.nii.gz"), path.with_name(f"{stem}_truth.nc")
    if not overwrite:
        own = [*targets, *map(sidecar_path, targets)]
        _check_replaced(simulation, own if table else [*own, mask], truth)
    for target, (start, stop) in zip(targets, pairwise(edges), strict=True):
        bold = simulation.bold[start:stop]
        if table:
            columns = [f"voxel-{v:0{len(str(n_voxels))}d}" for v in range(1, n_voxels + 1)]
            with atomic_path(target) as temporary:
                pd.DataFrame(bold, columns=columns).to_csv(
                    temporary, sep=SEPARATORS[path.suffixes[-2] if path.suffix == ".gz" else suffix], index=False,
                    float_format="%.9g",
                )  # fmt: skip
        else:
            volume = np.zeros((*shape, stop - start), np.float32)
            volume[inside] = bold.T
            image = nib.Nifti1Image(volume, affine)
            image.header.set_xyzt_units("mm", "sec")
            image.header.set_zooms((3.0, 3.0, 3.0, tr))
            write_image(image, target)
        # A table says no TR, and an image of 1 s looks as if nobody had set it.
        write_atomic(sidecar_path(target), json.dumps({"RepetitionTime": tr, "StartTime": 0.0}) + "\n")
        written.append(target)
    if not table:
        written.append(write_image(nib.Nifti1Image(inside.astype(np.uint8), affine), mask))
    written.append(save_features(simulation.truth, truth))
    return written


def _check_replaced(simulation: Simulation, targets: list[Path], truth: Path) -> None:
    """An error if one of the files stands already and is not known to be of this simulation: the truth tells."""
    attrs = simulation.truth.attrs
    same = {name: attrs[name] for name in ("source_sha256", "run_lengths") if name in attrs}
    old = standing(truth, settings=json.loads(attrs["settings"]), **same)
    signal = simulation.truth["signal"].values
    if old is not None and not (old["signal"].shape == signal.shape and np.allclose(old["signal"], signal, 1e-3, 1e-3)):
        raise InputError(f"{truth} is there already and is of other features: {REPLACE}")
    there = [target for target in targets if target.exists()]
    if old is None and there:
        raise InputError(f"{there[0]} is there already, without {truth.name} that would tell what it is: {REPLACE}")
