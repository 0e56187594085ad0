"""The files of an encoding run: tables of scores, maps where BOLD came from images, and a subject's result."""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from giblet.data.bold.brain_images import ending_of, write_brain
from giblet.data.bold.brain_rows import PLACES, ROWS, unit_of
from giblet.data.study_settings import SubjectSettings
from giblet.encoding import EncodingModel
from giblet.errors import InputError, reading
from giblet.files import read_json, remove, write_atomic
from giblet.pipeline.derivative import bids_label
from giblet.pipeline.results import files_of_result

ENCODED = "_desc-encoding"
"""What stands behind the subject in the names of files on how well BOLD is predicted."""
ARE_P = ("p", "p_rank", "q", "p_fwe", "ceiling_p", "ceiling_q")
"""Scores that are small where something is found."""


@dataclass(frozen=True, repr=False)
class SubjectEncoding:
    """What was found in one subject."""

    name: str
    folder: Path
    """Its own: ``sub-01/func`` in the folder of the run."""
    status: str
    """``"written"``, or ``"unchanged"`` where it was there."""
    summary: dict[str, Any]
    """As ``..._summary.json`` holds it."""

    @property
    def label(self) -> str:
        """How its files' names begin."""
        return label_of(self.name)

    def path(self, what: str) -> Path:
        """A file of the subject.

        Parameters
        ----------
        what : str
            What stands behind ``sub-01_desc-encoding_``, such as ``"stats.tsv"``.

        Returns
        -------
        Path
        """
        return self.folder / f"{self.label}_{what}"

    @property
    def model_path(self) -> Path:
        """The saved fit, where weights were kept."""
        return self.path("model.safetensors")

    @cached_property
    def stats(self) -> pd.DataFrame:
        """All scores, a row for each voxel or region."""
        return read_stats(self.path("stats.tsv"))

    @cached_property
    def model(self) -> EncodingModel:
        """The saved fit; `CheckpointError` where weights were not kept."""
        return EncodingModel.load(self.model_path)

    @property
    def files(self) -> tuple[Path, ...]:
        """What was written."""
        return tuple(self.folder / name for name in self.summary["files"])

    def __repr__(self) -> str:
        one = self.summary
        found = "" if one["n_q"] is None else f", {one['n_q']} with q <= .05"
        mean = "none" if one["mean_r"] is None else f"{one['mean_r']:.3f}"
        return f"<SubjectEncoding {self.name}: mean r {mean} over {one['n_tested']} columns{found}>"


def label_of(name: str) -> str:
    """How the files of a subject begin.

    Parameters
    ----------
    name : str
        With or without ``sub-``.

    Returns
    -------
    str
    """
    return f"sub-{name.removeprefix('sub-')}{ENCODED}"


def subject_folder(output: Path, name: str) -> Path:
    """Where the files of a subject stand, as BIDS has it: without such folders BIDS tools find nothing.

    Parameters
    ----------
    output : Path
        Of the run.
    name : str
        Of the subject, with or without ``sub-``.

    Returns
    -------
    Path
        ``output/sub-01/func``
    """
    return output / f"sub-{name.removeprefix('sub-')}" / "func"


def predicted_path(output: Path, name: str, film: str, ending: str) -> Path:
    """Where that stands which a fit predicts for a film, or for other clips.

    Parameters
    ----------
    output : Path
    name : str
        Of the subject.
    film : str
        Or name of the table of clips; becomes the ``task``, of which BIDS takes letters and digits.
    ending : str
        Such as ``"bold.nii.gz"``.

    Returns
    -------
    Path
        ``output/sub-01/func/sub-01_task-film_desc-encoding_bold.nii.gz``; of GIFTI that of the left hemisphere,
        ``..._hemi-L_desc-...``, beside which the right one lies.
    """
    hemisphere = "_hemi-L" if ending.endswith(".gii") else ""
    label = label_of(name).replace("_desc-", f"_task-{bids_label(film)}{hemisphere}_desc-")
    return subject_folder(output, name) / f"{label}_{ending}"


def standing_result(
    output: Path, name: str, options: Mapping[str, Any], wanted: Sequence[str], *, overwrite: bool,
    keys: Collection[str] = (),
) -> SubjectEncoding | None:  # fmt: skip
    """A subject's result, if it is there and of the same options; what is of others is removed.

    Parameters
    ----------
    output : Path
        Of the run.
    name : str
        Of the subject.
    options : mapping
        All that decides what is found in the subject; files by their content.
    wanted : sequence of str
        What must be there too, behind ``sub-01_desc-encoding_``, such as ``"model.safetensors"``.
    overwrite : bool
        A result of other options may be removed.
    keys : collection of str
        What the summary must hold: one of another giblet, which wrote less, is computed again.

    Returns
    -------
    SubjectEncoding or None

    Raises
    ------
    InputError
        If there is one of others, and it may not be removed.
    """
    folder, label = subject_folder(output, name), label_of(name)
    card = folder / f"{label}_summary.json"
    try:
        names = files_of_result(card, options, overwrite=False, place="output")
    except InputError:
        if not overwrite:
            raise
        for other in files_of_result(card, options, overwrite=True):
            remove(folder / other)
        remove(card)
        return None
    needed = [*names, *(f"{label}_{what}" for what in wanted)]
    if not names or any(not (folder / other).is_file() for other in needed):
        return None
    summary = read_json(card, "encode again (overwrite=True)")
    return None if set(keys).difference(summary) else SubjectEncoding(name, folder, "unchanged", summary)


def read_stats(path: Path) -> pd.DataFrame:
    """A table of scores.

    Parameters
    ----------
    path : Path

    Returns
    -------
    pandas.DataFrame

    Raises
    ------
    InputError
        If it cannot be read.
    """
    with reading(path, "compute it again (overwrite=True)"):
        return pd.read_csv(path, sep="\t", na_values=["n/a"], keep_default_na=False, dtype={"region": str})


def write_stats(table: pd.DataFrame, path: Path) -> None:
    """Write a table of scores, whole or not at all.

    Parameters
    ----------
    table : pandas.DataFrame
    path : Path
    """
    text = io.StringIO()
    table.to_csv(text, sep="\t", index=False, na_rep="n/a", float_format="%.9g")
    write_atomic(path, text.getvalue())


def places_of(table: xr.Dataset | pd.DataFrame) -> dict[str, np.ndarray]:
    """Where each column of BOLD lies, of those that say it.

    Parameters
    ----------
    table : xarray.Dataset or pandas.DataFrame
        BOLD, or a table of scores.

    Returns
    -------
    dict of str to ndarray
        Of :data:`giblet.data.bold.brain_rows.PLACES`, and ``label``.
    """
    return {name: np.asarray(table[name]) for name in (*PLACES, "label") if name in table}


def write_scores(
    stats: pd.DataFrame, subject: SubjectSettings, space: Mapping[str, Any], folder: Path, label: str
) -> list[str]:
    """Write a table of scores, and a map for each of them where the BOLD came from images.

    Parameters
    ----------
    stats, subject, space, folder, label
        As for :func:`write_maps`.

    Returns
    -------
    list of str
        Names of the files, the table first.
    """
    table = f"{label}_stats.tsv"
    write_stats(stats, folder / table)
    return [table, *write_maps(stats, subject, space, folder, label)]


def maps_in(stats: pd.DataFrame) -> dict[str, str]:
    """The columns of a table of scores that become maps.

    Parameters
    ----------
    stats : pandas.DataFrame

    Returns
    -------
    dict of str to str
        By column, what stands in the name of its file: ``"stat-r"``, ``"stat-split_band-words"``.
    """
    found = {}
    for column in map(str, stats.columns):
        kind, _, band = column.partition("_")
        if kind in ("split", "unique") and band:
            head, *rest = band.split("_")
            found[column] = f"stat-{kind}_band-{head}{''.join(word[:1].upper() + word[1:] for word in rest)}"
        elif column not in (*PLACES, "label", "cv_score"):
            found[column] = f"stat-{column.replace('_', '')}"
    return found


def write_maps(
    stats: pd.DataFrame, subject: SubjectSettings, space: Mapping[str, Any], folder: Path, label: str,
    *, columns: Sequence[str] | None = None,
) -> list[str]:  # fmt: skip
    """Write a map for each score, where the BOLD came from images.

    Parameters
    ----------
    stats : pandas.DataFrame
    subject : SubjectSettings
    space : mapping
        Of the columns, as the summary holds it; empty for tables.
    folder : Path
    label : str
        How the names begin.
    columns : sequence of str, optional
        Scores that are written; by default all.

    Returns
    -------
    list of str
        Names of the files; none for tables.
    """
    if not ("affine" in space or ROWS in space):
        return []
    like = like_of(stats, space)
    processor = subject.model_copy(update={"overrule_tr": False}).processor(None)  # no TR is asked for
    names: list[str] = []
    for column, name in maps_in(stats).items():
        if columns is not None and column not in columns:
            continue
        # 1 outside, where 0 would pass every threshold.
        outside = 1.0 if column in ARE_P else 0.0
        image = processor.to_image(stats[column].to_numpy(np.float64), like, names=[column], outside=outside)
        names += [path.name for path in write_brain(image, map_path(folder, label, name, space))]
    return names


def like_of(stats: pd.DataFrame, space: Mapping[str, Any]) -> xr.Dataset:
    """BOLD of no value whose columns are the rows of a table of scores.

    Parameters
    ----------
    stats : pandas.DataFrame
    space : mapping
        As :func:`space_in` gives it.

    Returns
    -------
    xarray.Dataset
    """
    places = places_of(stats)
    dim = unit_of(places)
    bold = xr.DataArray(np.zeros((1, len(stats)), np.float32), dims=("tr", dim))
    good = xr.DataArray(np.ones(len(stats), bool), dims=dim)  # what is bad is NaN in the table
    coords = {name: (dim, values) for name, values in places.items()}
    return xr.Dataset({"bold": bold, "good": good}, coords=coords, attrs=dict(space))


def map_path(folder: Path, label: str, name: str, space: Mapping[str, Any]) -> Path:
    """Where the map of a score is.

    Parameters
    ----------
    folder : Path
    label : str
        How the names begin.
    name : str
        As :func:`maps_in` gives it.
    space : mapping
        As :func:`space_in` gives it.

    Returns
    -------
    Path
        ``..._statmap`` with ``.nii.gz``, ``.dscalar.nii`` or ``.pscalar.nii``; of GIFTI that of the left hemisphere,
        ``..._hemi-L_..._statmap.func.gii``, beside which the right one lies.
    """
    ending = ending_of(space)
    if ending.endswith(".gii"):
        before, _, after = label.partition("_")
        label = f"{before}_hemi-L_{after}"
    return folder / f"{label}_{name}_statmap{ending}"


def space_in(like: xr.Dataset) -> dict[str, Any]:
    """Where the voxels or grayordinates of BOLD lie, as plain values.

    Parameters
    ----------
    like : xarray.Dataset

    Returns
    -------
    dict of str to object
        Empty for tables.
    """
    names = ("affine", "volume_shape", "sform_code", "qform_code", ROWS, "tr", "source")
    plain = {name: like.attrs[name] for name in names if name in like.attrs}
    plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in plain.items()}
    return plain if "affine" in plain or ROWS in plain else {}
