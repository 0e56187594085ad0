"""A brain row is a brain row: the same values, TR and places from NIfTI, CIFTI, GIFTI and tables, and back."""

import logging
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel import cifti2
from nilearn import surface

from giblet.data.bold.brain_rows import BrainRows
from giblet.data.bold.scan import load_bold
from giblet.data.fmri import FMRIProcessor
from giblet.errors import InputError
from giblet.features import save_features
from tests.brains import (
    AFFINE,
    LEFT,
    RIGHT,
    SHAPE,
    SURFACES,
    N,
    bold,
    write_all,
    write_cifti,
    write_gifti,
    write_labels,
    write_nifti,
)

REAL = Path(__file__).parents[4] / "shared" / "fmri" / "surface" / "nibabel"
TR = 0.72
GAPS = np.array([0, 1, 2, 5, 6, 9])
MIXED = (
    cifti2.BrainModelAxis.from_surface(GAPS, LEFT, "CortexLeft")
    + cifti2.BrainModelAxis.from_surface(np.arange(1, RIGHT), RIGHT, "CortexRight")
    + cifti2.BrainModelAxis.from_mask(np.arange(24).reshape(2, 3, 4) % 3 == 1, "ThalamusLeft", affine=AFFINE)
)


@pytest.fixture(scope="module")
def brains(tmp_path_factory):
    values = bold(12)
    return values, write_all(tmp_path_factory.mktemp("brains"), values, TR)


def load(given, **options):
    fmri = FMRIProcessor(given.get("mask"), tr=options.pop("tr", None), **options)
    return fmri, fmri.load(given["bold"])


def test_every_format_gives_the_same_values_and_tr(brains):
    values, files = brains
    for name, given in files.items():
        _, found = load(given)
        assert np.array_equal(found.bold.values, values), name
        assert found.attrs["tr"] == TR, name
        assert found.bold.dtype == np.float32 and found.attrs["subject"] == "1"
    assert found.attrs["tr_source"] == "sidecar" and load(files["CIFTI"])[1].attrs["tr_source"] == "header"


def test_a_tr_that_a_header_contradicts_is_refused_in_every_format(brains):
    for name, given in brains[1].items():
        with pytest.raises(InputError, match=r"says TR 0\.72 s.*tr is 0\.8 s"):
            load(given, tr=0.8)
        assert load(given, tr=0.8, overrule_tr=True)[1].attrs["tr"] == 0.8, name


def test_headers_without_a_tr_ask_for_one(tmp_path):
    path = write_gifti(tmp_path / "sub-1_hemi-L_bold.func.gii", bold(5), None)
    with pytest.raises(InputError, match=r"sub-1_hemi-L_bold\.func\.gii has no TR in its header; pass tr"):
        FMRIProcessor().load(path)
    assert FMRIProcessor(tr=2).load(path).attrs["tr"] == 2
    (tmp_path / "sub-1_hemi-R_bold.json").write_text('{"RepetitionTime": 1.5}')
    with pytest.raises(InputError, match="sub-1_hemi-L_bold"):  # nobody says that of the left one
        FMRIProcessor().load(path)
    (tmp_path / "sub-1_hemi-L_bold.json").write_text('{"RepetitionTime": 1.5, "StartTime": 0.75}')
    with pytest.raises(InputError, match="slices of sub-1_hemi-L"):
        FMRIProcessor().load(path)
    shutil.copy(tmp_path / "sub-1_hemi-L_bold.json", tmp_path / "sub-1_hemi-R_bold.json")
    found = FMRIProcessor().load(path)
    assert found.attrs["tr"] == 1.5 and found.attrs["slice_time_ref"] == 0.5
    axis = cifti2.SeriesAxis(0, 5, 5, "HERTZ")
    image = cifti2.Cifti2Image(bold(5), (axis, SURFACES))
    image.to_filename(tmp_path / "a.dtseries.nii")
    with pytest.raises(InputError, match=r"a\.dtseries\.nii has no TR in its header \(its unit is 'hertz'\)"):
        FMRIProcessor().load(tmp_path / "a.dtseries.nii")


def test_a_step_of_one_second_is_doubted_as_in_nifti(tmp_path, caplog):
    path = write_cifti(tmp_path / "a.dtseries.nii", bold(5), 1.0)
    with caplog.at_level(logging.WARNING):
        assert FMRIProcessor().load(path).attrs["tr"] == 1
    assert "libraries write by default" in caplog.text
    assert FMRIProcessor(tr=0.8).load(path).attrs["tr"] == 0.8


def back(image, name):
    """The values of a map in the order of the rows, and what stands outside of them."""
    if isinstance(image, dict):
        return np.concatenate([image[side].darrays[0].data for side in "LR"])
    return np.asarray(image.dataobj).reshape(-1)


def test_a_marked_row_comes_back_marked_in_every_format(brains):
    _, files = brains
    marked = np.arange(N, dtype=float)
    for name, given in files.items():
        fmri, found = load(given)
        if name == "TSV":
            with pytest.raises(InputError, match="is a table"):
                fmri.to_image(marked, found)
            continue
        assert np.array_equal(back(fmri.to_image(marked, found), name), marked), name


def test_written_maps_have_their_own_intent_float32_and_names(brains, tmp_path):
    _, files = brains
    maps = np.stack([np.arange(N), -np.arange(N)]).astype(float)
    fmri, found = load(files["CIFTI, int16, big-endian"])
    fmri.to_image(maps, found, tmp_path / "a.dscalar.nii", names=["up", "down"])
    read = nib.load(tmp_path / "a.dscalar.nii")
    assert read.nifti_header.get_intent()[0] == "ConnDenseScalar" and int(read.nifti_header["intent_code"]) == 3006
    assert read.get_data_dtype() == np.float32 and list(read.header.get_axis(0).name) == ["up", "down"]
    assert np.array_equal(read.get_fdata(), maps) and read.header.get_axis(1) == SURFACES
    fmri.to_image(maps, found, tmp_path / "a.dtseries.nii")
    series = nib.load(tmp_path / "a.dtseries.nii")
    assert int(series.nifti_header["intent_code"]) == 3002 and series.header.get_axis(0).step == TR
    fmri, found = load(files["GIFTI, one array"])
    fmri.to_image(maps, found, tmp_path / "a_hemi-R.func.gii", names=["up", "down"])
    for side, own in (("L", slice(0, LEFT)), ("R", slice(LEFT, N))):
        read = nib.load(tmp_path / f"a_hemi-{side}.func.gii")
        assert [array.meta["Name"] for array in read.darrays] == ["up", "down"]
        assert np.array_equal(np.stack([array.data for array in read.darrays]), maps[:, own].astype(np.float32))
        assert np.array_equal(surface.load_surf_data(tmp_path / f"a_hemi-{side}.func.gii").T, maps[:, own])
    fmri.to_image(bold(4), found, tmp_path / "again_hemi-L_bold.func.gii")
    again = FMRIProcessor().load(tmp_path / "again_hemi-L_bold.func.gii")
    assert np.array_equal(again.bold, bold(4)) and again.attrs["tr"] == TR


def test_names_of_another_format_are_refused(brains, tmp_path):
    for name, path in [("CIFTI", "a.nii.gz"), ("CIFTI", "a.dtseries.nii"), ("GIFTI, frames", "a_hemi-L.dscalar.nii"),
                       ("NIfTI, s", "a.dscalar.nii")]:  # fmt: skip
        fmri, found = load(brains[1][name])
        with pytest.raises(InputError, match=r"name.*expected"):
            fmri.to_image(np.zeros(N), found, tmp_path / path)
    fmri, found = load(brains[1]["CIFTI"])
    with pytest.raises(InputError, match="is CIFTI, whose values have no place in NIfTI; use to_image"):
        fmri.to_nifti(np.zeros(N), found)
    assert not list(tmp_path.iterdir())


def test_grayordinates_know_their_vertices_and_voxels_and_survive_a_file(tmp_path):
    values = bold(6, n=len(MIXED))
    values[:, 3] = 7.0  # constant
    path = write_cifti(tmp_path / "sub-1_bold.dtseries.nii", values, TR, MIXED)
    fmri = FMRIProcessor(bad="mask")
    found = load_bold(save_features(fmri.load(path), tmp_path / "bold.nc"))
    kept = np.arange(len(MIXED)) != 3
    assert found.bold.dims == ("tr", "grayordinate") and found.attrs["n_bad_grayordinates"] == 1
    assert np.array_equal(found.grayordinate, np.flatnonzero(kept))
    assert np.array_equal(found.vertex, MIXED.vertex[kept])
    assert np.array_equal(np.stack([found.i, found.j, found.k], 1), MIXED.voxel[kept])
    assert set(found.structure.values) == {"CORTEX_LEFT", "CORTEX_RIGHT", "THALAMUS_LEFT"}
    image = fmri.to_image(found.bold.values[0], found, outside=-1)
    assert np.array_equal(back(image, "CIFTI"), np.where(kept, values[0], -1))
    assert image.header.get_axis(1) == MIXED


def test_bad_rows_are_named_by_structure_and_vertex(tmp_path):
    values = bold(6, n=len(MIXED))
    values[:, 4], values[2, -1] = 7.0, np.nan
    path = write_cifti(tmp_path / "a.dtseries.nii", values, TR, MIXED)
    last = ", ".join(map(str, MIXED.voxel[-1]))
    told = rf"2 of {len(MIXED)} grayordinates are bad .*: CORTEX_LEFT 6, THALAMUS_LEFT \({last}\)"
    with pytest.raises(InputError, match=told):
        FMRIProcessor().load(path)
    image = FMRIProcessor(bad="zero")
    found = image.load(path)
    assert np.isnan(back(image.to_image(np.ones(len(MIXED)), found), "")).sum() == 2


@pytest.mark.parametrize("axis", [SURFACES, MIXED])
def test_rows_as_text_are_the_same_rows(axis):
    rows = BrainRows("CIFTI", axis)
    again = BrainRows.from_text(rows.to_text())
    assert again.axis == axis and again.format == "CIFTI" and rows.difference(again) is None
    parcels = cifti2.ParcelsAxis.from_brain_models([("a", MIXED[:4]), ("b", MIXED[10:])])
    found = BrainRows.from_text(BrainRows("CIFTI", parcels).to_text())
    assert found.axis == parcels and BrainRows("CIFTI", parcels).difference(found) is None


@pytest.mark.parametrize("order", ["C", "F"])
def test_rows_of_a_whole_brain_fit_into_an_attribute(order):
    inside = np.zeros((91, 109, 91), bool)
    inside[25:66, 30:71, 20:39] = True
    voxels = np.argwhere(inside) if order == "C" else np.argwhere(inside.T)[:, ::-1]
    axis = SURFACES + cifti2.BrainModelAxis("ThalamusLeft", voxels, affine=AFFINE, volume_shape=inside.shape)
    rows = BrainRows("CIFTI", axis)
    assert len(rows.to_text()) < 64_000  # HDF5's limit
    assert BrainRows.from_text(rows.to_text()).axis == axis


def test_runs_of_several_spaces_are_not_joined(tmp_path):
    one = write_cifti(tmp_path / "a.dtseries.nii", bold(5), TR)
    other = SURFACES[:-1]
    two = write_cifti(tmp_path / "b.dtseries.nii", bold(5)[:, :-1], TR, other)
    with pytest.raises(InputError, match=r"b\.dtseries\.nii has 23 rows, not 24 as a\.dtseries\.nii"):
        FMRIProcessor().load([one, two])
    pair = write_gifti(tmp_path / "hemi-L_bold.func.gii", bold(5), TR)
    with pytest.raises(InputError, match="runs are of CIFTI and GIFTI"):
        FMRIProcessor().load([one, pair])
    with pytest.raises(InputError, match="are the hemispheres of one run: name one of them"):
        FMRIProcessor().load([pair, tmp_path / "hemi-R_bold.func.gii"])


def test_runs_stand_end_to_end_and_the_left_hemisphere_first_whichever_is_named(tmp_path):
    for run, name in ((1, "lh.run1.func.gii"), (2, "lh.run2.func.gii")):
        write_gifti(tmp_path / "hemi-L_x.func.gii", bold(4 + run, run), TR)
        shutil.move(tmp_path / "hemi-L_x.func.gii", tmp_path / name)
        shutil.move(tmp_path / "hemi-R_x.func.gii", tmp_path / name.replace("lh", "rh"))
    found = FMRIProcessor().load([tmp_path / "rh.run1.func.gii", tmp_path / "lh.run2.func.gii"])
    assert np.array_equal(found.bold, np.concatenate([bold(5, 1), bold(6, 2)]))
    assert found.run.values.tolist() == [1] * 5 + [2] * 6


# --- Atlases, masks


def parcels(n=400):
    """Parcel 1 + k is row k, and number 300 of 400 is row 3."""
    labels = np.arange(1, N + 1)
    labels[3], labels[4] = 300, 0
    return labels, {int(label): f"P{label}" for label in labels if label}


@pytest.mark.parametrize("ending", [".dlabel.nii", "_hemi-L.label.gii"])
@pytest.mark.parametrize("name", ["CIFTI", "GIFTI, frames"])
def test_parcel_300_stays_300_on_its_rows(brains, tmp_path, ending, name):
    values, files = brains
    labels, names = parcels()
    atlas = write_labels(tmp_path / f"atlas{ending}", labels, names)
    fmri = FMRIProcessor(atlas=atlas, labels={300: "auditory"})
    found = fmri.load(files[name]["bold"])
    at = {int(label): k for k, label in enumerate(found.label.values)}
    assert found.region.values[at[300]] == "auditory" and found.region.values[at[2]] == "P2" and 0 not in at
    assert np.array_equal(found.bold.values[:, at[300]], values[:, 3])
    assert np.array_equal(back(fmri.to_image(found.label.values, found), name), labels)
    with pytest.raises(InputError, match="regions of an atlas"):
        FMRIProcessor().to_image(found.label.values, found)


def test_regions_are_means_and_an_atlas_of_the_cortex_leaves_the_rest_out(tmp_path):
    values = bold(6, n=len(MIXED))
    path = write_cifti(tmp_path / "a.dtseries.nii", values, TR, MIXED)
    labels = np.r_[np.arange(LEFT) % 2 + 1, np.zeros(RIGHT)].astype(int)  # all vertices, the medial wall too
    atlas = write_labels(tmp_path / "all.dlabel.nii", labels, {1: "even", 2: "odd"})
    found = FMRIProcessor(atlas=atlas).load(path)
    even = np.flatnonzero((MIXED.name == "CIFTI_STRUCTURE_CORTEX_LEFT") & (MIXED.vertex % 2 == 0))
    assert found.region.values.tolist() == ["even", "odd"] and found.n_voxels.values[0] == len(even)
    np.testing.assert_allclose(found.bold[:, 0], values[:, even].mean(1), rtol=1e-6)


def test_a_mask_of_the_surface_chooses_rows(brains, tmp_path):
    values, files = brains
    inside = np.arange(N) % 3 == 0
    write_gifti(tmp_path / "m_hemi-L.shape.gii", inside[None].astype(np.float32), None)
    image = cifti2.Cifti2Image(inside[None].astype(np.float32), (cifti2.ScalarAxis(["mask"]), SURFACES))
    image.to_filename(tmp_path / "m.dscalar.nii")
    for mask in ("m_hemi-L.shape.gii", "m.dscalar.nii"):
        for name in ("CIFTI", "GIFTI, one array"):
            fmri = FMRIProcessor(tmp_path / mask)
            found = fmri.load(files[name]["bold"])
            assert np.array_equal(found.bold, values[:, inside])
            assert np.array_equal(found.grayordinate, np.flatnonzero(inside))
            filled = back(fmri.to_image(np.ones(inside.sum()), found), name)
            assert np.array_equal(filled, inside)
    with pytest.raises(InputError, match="it is not a mask"):
        FMRIProcessor(write_gifti(tmp_path / "s_hemi-L.shape.gii", bold(1), None))


def test_an_atlas_or_mask_of_another_space_or_density_is_refused(brains, tmp_path):
    _, files = brains
    write_nifti(tmp_path / "b.nii", bold(5), TR)
    denser = cifti2.BrainModelAxis.from_surface(np.arange(40), 40, "CortexLeft")
    atlas = write_labels(tmp_path / "dense.dlabel.nii", np.arange(40), {k: f"p{k}" for k in range(1, 40)}, denser)
    for name in ("CIFTI", "GIFTI, frames"):
        with pytest.raises(InputError, match=r"has 40 vertices in CORTEX_LEFT, .* 14: another space or density"):
            FMRIProcessor(atlas=atlas).load(files[name]["bold"])
        with pytest.raises(InputError, match=r"mask is a NIfTI image.*choose one of the scan's space"):
            FMRIProcessor(tmp_path / "mask.nii").load(files[name]["bold"])
        with pytest.raises(InputError, match=r"atlas mask\.nii is a NIfTI image"):
            FMRIProcessor(atlas=tmp_path / "mask.nii").load(files[name]["bold"])
    with pytest.raises(InputError, match=r"sub-1_bold\.nii is NIfTI, its mask or atlas is not"):
        FMRIProcessor(atlas=atlas).load(files["NIfTI, s"]["bold"])
    below = cifti2.BrainModelAxis.from_mask(np.ones(SHAPE), "ThalamusLeft", affine=AFFINE)
    atlas = write_labels(tmp_path / "below.dlabel.nii", np.arange(N), {k: f"p{k}" for k in range(1, N)}, below)
    with pytest.raises(InputError, match="no vertex or voxel of"):
        FMRIProcessor(atlas=atlas).load(files["CIFTI"]["bold"])


def test_labels_that_two_hemispheres_share_are_told_of_or_refused(brains, tmp_path, caplog):
    labels = np.r_[np.ones(LEFT), np.full(RIGHT, 1)].astype(int)
    atlas = write_labels(tmp_path / "a_hemi-L.label.gii", labels, {1: "V1"})
    with caplog.at_level(logging.WARNING):
        found = FMRIProcessor(atlas=atlas).load(brains[1]["CIFTI"]["bold"])
    assert "label 1 is in both hemispheres: one region of both" in caplog.text
    assert found.n_voxels.values.tolist() == [N]
    other = write_labels(tmp_path / "b_hemi-L.label.gii", labels, {1: "A1"})
    shutil.copy(other.with_name("b_hemi-R.label.gii"), tmp_path / "a_hemi-R.label.gii")
    with pytest.raises(InputError, match="label 1 is 'V1' in one hemisphere and 'A1' in a_hemi-R"):
        FMRIProcessor(atlas=atlas)


def test_parcels_are_regions_and_go_back_into_parcels(tmp_path):
    axis = cifti2.ParcelsAxis.from_brain_models([(f"P{k}", SURFACES[k : k + 1]) for k in range(5)])
    path = write_cifti(tmp_path / "a.ptseries.nii", bold(6, n=5), TR, axis)
    fmri = FMRIProcessor()
    found = fmri.load(path)
    assert found.region.values.tolist() == ["P0", "P1", "P2", "P3", "P4"] and np.array_equal(found.bold, bold(6, n=5))
    fmri.to_image(np.arange(5.0), found, tmp_path / "a.pscalar.nii", names=["r"])
    read = nib.load(tmp_path / "a.pscalar.nii")
    assert int(read.nifti_header["intent_code"]) == 3008 and np.array_equal(read.get_fdata(), [np.arange(5)])
    assert read.header.get_axis(1) == axis
    with pytest.raises(InputError, match="holds parcels already: leave out mask and atlas"):
        FMRIProcessor(atlas=write_labels(tmp_path / "l.dlabel.nii", *parcels())).load(path)


def test_labels_go_back_as_int32_with_their_names_and_are_an_atlas_again(brains, tmp_path):
    _, files = brains
    labels, names = parcels()
    for name, path in (
        ("NIfTI, ms", "l.nii.gz"),
        ("CIFTI", "l.dlabel.nii"),
        ("GIFTI, one array", "l_hemi-L.label.gii"),
    ):
        fmri, found = load(files[name])
        fmri.to_image(labels, found, tmp_path / path, labels=names)
        read = nib.load(tmp_path / path)
        kind = read.darrays[0].data.dtype if name.startswith("GIFTI") else read.get_data_dtype()
        assert kind == np.int32, name
        again = FMRIProcessor(atlas=tmp_path / path).load(files[name]["bold"])
        assert again.label.values.tolist() == sorted(names)
        assert again.region.values[-1] == ("label-300" if name.startswith("NIfTI") else "P300")
        assert np.array_equal(again.bold.values[:, -1], brains[0][:, 3])
    assert int(nib.load(tmp_path / "l.dlabel.nii").nifti_header["intent_code"]) == 3007
    with pytest.raises(InputError, match="labels are not all whole"):
        fmri.to_image(labels + 0.5, found, labels=names)
    with pytest.raises(InputError, match=r"expected \.label\.gii"):
        fmri.to_image(labels, found, tmp_path / "l_hemi-L.func.gii", labels=names)


# --- Bad input


def test_maps_are_no_series(brains, tmp_path):
    fmri, found = load(brains[1]["CIFTI"])
    fmri.to_image(np.ones(N), found, tmp_path / "a.dscalar.nii")
    with pytest.raises(InputError, match=r"a\.dscalar\.nii holds maps, no series in time; expected \.dtseries\.nii"):
        fmri.load(tmp_path / "a.dscalar.nii")
    with pytest.raises(InputError, match=r"l\.dlabel\.nii holds labels, no series in time"):
        fmri.load(write_labels(tmp_path / "l.dlabel.nii", *parcels()))


def test_hemispheres_must_be_whole_a_pair_and_of_one_length(tmp_path):
    path = write_gifti(tmp_path / "sub-1_hemi-L_bold.func.gii", bold(6), TR)
    other = write_gifti(tmp_path / "sub-2_hemi-L_bold.func.gii", bold(5), TR)
    right = tmp_path / "sub-1_hemi-R_bold.func.gii"
    whole = right.read_bytes()
    shutil.copy(other.with_name("sub-2_hemi-R_bold.func.gii"), right)
    with pytest.raises(InputError, match=r"hemi-L_bold\.func\.gii has 6 volumes, sub-1_hemi-R_bold\.func\.gii 5"):
        FMRIProcessor().load(path)
    right.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"cannot read .*sub-1_hemi-R_bold\.func\.gii"):
        FMRIProcessor().load(path)
    right.unlink()
    with pytest.raises(InputError, match=r"there is no sub-1_hemi-R_bold\.func\.gii .*one of a pair"):
        FMRIProcessor().load(path)
    shutil.copy(path, tmp_path / "both.func.gii")
    with pytest.raises(InputError, match=r"the name of both\.func\.gii tells no hemisphere; expected hemi-L"):
        FMRIProcessor().load(tmp_path / "both.func.gii")


def test_a_mesh_is_no_scan(tmp_path):
    for side in "LR":
        mesh = nib.gifti.GiftiImage()
        for data, intent in ((np.zeros((9, 3), np.float32), "POINTSET"), (np.zeros((5, 3), np.int32), "TRIANGLE")):
            mesh.add_gifti_data_array(nib.gifti.GiftiDataArray(data, intent=f"NIFTI_INTENT_{intent}"))
        mesh.to_filename(tmp_path / f"hemi-{side}_pial.surf.gii")
    for use in (FMRIProcessor().load, FMRIProcessor):
        with pytest.raises(InputError, match=r"hemi-L_pial\.surf\.gii is a mesh"):
            use(tmp_path / "hemi-L_pial.surf.gii")


def test_damaged_cifti_is_one_clear_error(brains, tmp_path):
    content = Path(brains[1]["CIFTI"]["bold"]).read_bytes()
    for name, part in (("cut", content[:-100]), ("header", content[:700]), ("text", b"no image")):
        path = tmp_path / f"{name}.dtseries.nii"
        path.write_bytes(part)
        with pytest.raises(InputError, match=rf"cannot read .*{name}\.dtseries\.nii"):
            FMRIProcessor().load(path)
    shutil.copy(brains[1]["NIfTI, s"]["bold"], tmp_path / "a.dtseries.nii")
    with pytest.raises(InputError, match="is Nifti1Image; expected CIFTI-2, as its name says"):
        FMRIProcessor().load(tmp_path / "a.dtseries.nii")


# --- Other programs' files


def test_a_cifti_header_that_does_not_fit_its_numbers_is_damaged(brains, tmp_path):
    content = Path(brains[1]["CIFTI"]["bold"]).read_bytes()
    rows = 16 + 8 * 6  # in a header of NIfTI-2, 64 bits each
    fewer = (int.from_bytes(content[rows : rows + 8], "little") - 1).to_bytes(8, "little")
    for name, told, damaged in (
        ("rows", "its header describes", content[:rows] + fewer + content[rows + 8 :]),
        ("surface", "how many vertices", content.replace(b"SurfaceNumberOfVertices", b"SurfaceNumberOfVertexes", 1)),
    ):
        path = tmp_path / f"{name}.dtseries.nii"
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=rf"{name}\.dtseries\.nii .*{told}"):
            FMRIProcessor().load(path)


@pytest.mark.skipif(not REAL.is_dir(), reason="the shared surface files are not here")
def test_real_gifti_files_are_read(tmp_path):
    for side in "LR":
        shutil.copy(REAL / "task.func.gii", tmp_path / f"hemi-{side}_bold.func.gii")
    path = tmp_path / "hemi-L_bold.func.gii"
    with pytest.raises(InputError, match="has no TR in its header"):  # its TimeStep is 0
        FMRIProcessor().load(path)
    found = FMRIProcessor(tr=2, bad="zero").load(path)
    whole = np.stack([array.data for array in nib.load(path).darrays])
    good = found.good.values
    assert found.bold.shape == (10, 2 * 642) and np.array_equal(found.bold[:, good], np.c_[whole, whole][:, good])
    shutil.copy(REAL / "rh.shape.curv.gii", tmp_path / "lh.curv.gii")
    shutil.copy(REAL / "rh.shape.curv.gii", tmp_path / "rh.curv.gii")
    with pytest.raises(InputError, match=r"lh\.curv\.gii says that it is CortexRight"):
        FMRIProcessor(tmp_path / "lh.curv.gii")


def test_what_nilearn_writes_is_read(tmp_path):
    values = bold(6)
    mesh = {
        side: surface.InMemoryMesh(np.random.default_rng(0).normal(size=(n, 3)), np.array([[0, 1, 2]]))
        for side, n in (("left", LEFT), ("right", RIGHT))
    }
    data = {"left": values[:, :LEFT].T, "right": values[:, LEFT:].T}
    surface.SurfaceImage(mesh, data).data.to_filename(tmp_path / "sub-1_bold.func.gii")
    found = FMRIProcessor(tr=TR).load(tmp_path / "sub-1_bold.func_hemi-L.gii")
    assert np.array_equal(found.bold, values)
