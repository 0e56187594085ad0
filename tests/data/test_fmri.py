"""BOLD is what nilearn reads, goes back to its own voxels, and bad data are named, never passed on."""

import gzip
import json
import logging
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from nilearn import signal
from nilearn.maskers import NiftiLabelsMasker, NiftiMasker

from giblet.data.bold import volumes
from giblet.data.bold.confounds import read_confounds
from giblet.data.bold.scan import load_bold
from giblet.data.bold.tables import read_table
from giblet.data.fmri import FMRIProcessor
from giblet.errors import InputError
from giblet.features import save_features

ALICE = Path(__file__).parents[3] / "shared" / "fmri" / "alice" / "bold"
AFFINE = np.array([[-3.0, 0.1, 0, 80], [0.1, 3, 0, -110], [0, 0, 3.5, -60], [0, 0, 0, 1]])
SHAPE = (5, 6, 4)


def image(data, tr=1.5, affine=AFFINE, unit="sec"):
    made = nib.Nifti1Image(data, affine)
    made.header.set_xyzt_units("mm", unit)
    if data.ndim == 4:
        made.header.set_zooms((*made.header.get_zooms()[:3], tr))
    return made


@pytest.fixture
def scan(tmp_path):
    """Paths of two runs, a mask and an atlas; the volumes of run 1."""
    rng = np.random.default_rng(0)
    runs = [(1000 + rng.standard_normal((*SHAPE, n))).astype(np.float32) for n in (40, 30)]
    for k, run in enumerate(runs, start=1):
        image(run).to_filename(tmp_path / f"sub-07_run-{k}_bold.nii.gz")
    mask = rng.random(SHAPE) < 0.6
    atlas = rng.integers(0, 4, SHAPE).astype(np.int16) * 5
    image(mask.astype(np.uint8)).to_filename(tmp_path / "mask.nii.gz")
    image(atlas).to_filename(tmp_path / "atlas.nii.gz")
    return tmp_path, runs, mask, atlas


def run_paths(folder):
    return [folder / "sub-07_run-1_bold.nii.gz", folder / "sub-07_run-2_bold.nii.gz"]


def test_voxels_are_those_of_niftimasker_however_they_are_blocked(scan, monkeypatch):
    folder, _, mask, _ = scan
    monkeypatch.setattr(volumes, "BLOCK_BYTES", 8 * 7 * mask.size)  # 7 volumes: the last block is a short one
    bold = FMRIProcessor(folder / "mask.nii.gz").load(run_paths(folder))
    expected = NiftiMasker(folder / "mask.nii.gz", standardize=None).fit()
    expected = np.concatenate([expected.transform(str(p)) for p in run_paths(folder)])
    np.testing.assert_array_equal(bold.bold, expected)
    assert bold.bold.dtype == np.float32 and bold.bold.dims == ("tr", "voxel")
    assert bold.run.values.tolist() == [1] * 40 + [2] * 30
    assert bold.onset.values[[0, 39, 40, 41]].tolist() == [0, 58.5, 0, 1.5]
    assert bold.attrs["tr"] == 1.5 and bold.attrs["subject"] == "07" and bold.valid.all()


def test_regions_are_those_of_niftilabelsmasker(scan):
    folder, *_ = scan
    bold = FMRIProcessor(atlas=folder / "atlas.nii.gz", labels={5: "A1", 15: "V1"}).load(run_paths(folder)[0])
    expected = NiftiLabelsMasker(folder / "atlas.nii.gz", standardize=None).fit_transform(str(run_paths(folder)[0]))
    np.testing.assert_allclose(bold.bold, expected, rtol=1e-6)
    assert bold.region.values.tolist() == ["A1", "label-10", "V1"]
    within = FMRIProcessor(folder / "mask.nii.gz", folder / "atlas.nii.gz").load(run_paths(folder)[0])
    masked = NiftiLabelsMasker(folder / "atlas.nii.gz", mask_img=folder / "mask.nii.gz", standardize=None)
    np.testing.assert_allclose(within.bold, masked.fit_transform(str(run_paths(folder)[0])), rtol=1e-6)


def test_voxels_go_back_to_the_same_places_on_the_same_affine(scan):
    folder, runs, mask, atlas = scan
    fmri = FMRIProcessor(folder / "mask.nii.gz")
    bold = fmri.load(run_paths(folder)[0])
    fmri.to_nifti(bold.bold, bold, folder / "out" / "back.nii.gz")
    back = nib.load(folder / "out" / "back.nii.gz")
    np.testing.assert_array_equal(back.get_fdata(), np.where(mask[..., None], runs[0], 0))
    np.testing.assert_allclose(back.affine, AFFINE, atol=1e-5)
    assert back.header.get_zooms()[3] == 1.5 and back.header.get_xyzt_units() == ("mm", "sec")
    again = fmri.load(folder / "out" / "back.nii.gz")
    np.testing.assert_array_equal(again.bold, bold.bold)
    single = fmri.to_nifti(bold.bold[3], bold)
    np.testing.assert_array_equal(single.get_fdata(), back.get_fdata()[..., 3])
    regions = FMRIProcessor(atlas=folder / "atlas.nii.gz")
    labels = regions.load(run_paths(folder)[0])
    np.testing.assert_array_equal(regions.to_nifti(labels.label.values, labels).get_fdata(), atlas)
    with pytest.raises(InputError, match="same atlas"):
        fmri.to_nifti(labels.bold, labels)
    with pytest.raises(InputError, match="values have shape"):
        fmri.to_nifti(np.zeros(3), bold)


def test_a_saved_bold_file_reads_back_identical(scan):
    folder, *_ = scan
    fmri = FMRIProcessor(folder / "mask.nii.gz")
    bold = fmri.load(run_paths(folder))
    loaded = load_bold(save_features(bold, folder / "sub-07_bold.nc"))
    xr.testing.assert_identical(loaded, bold)
    np.testing.assert_array_equal(
        fmri.to_nifti(loaded.bold[0], loaded).dataobj, fmri.to_nifti(bold.bold[0], bold).dataobj
    )
    assert json.loads((folder / "sub-07_bold.json").read_text())["RepetitionTime"] == 1.5


@pytest.mark.parametrize(("tr", "unit"), [(0.72, "sec"), (720.0, "msec"), (720_000.0, "usec")])
def test_the_header_says_the_tr_in_its_own_unit(scan, tr, unit):
    folder, runs, *_ = scan
    image(runs[0], tr, unit=unit).to_filename(folder / "a.nii")
    assert FMRIProcessor(folder / "mask.nii.gz").load(folder / "a.nii").attrs["tr"] == 0.72
    assert FMRIProcessor(folder / "mask.nii.gz", tr=0.72).load(folder / "a.nii").attrs["tr"] == 0.72
    with pytest.raises(InputError, match=r"says TR 0\.72 s .*tr is 0\.721 s"):
        FMRIProcessor(folder / "mask.nii.gz", tr=0.721).load(folder / "a.nii")


def test_a_header_without_tr_needs_one_given(scan):
    folder, runs, *_ = scan
    image(runs[0], 0.0).to_filename(folder / "a.nii")
    assert FMRIProcessor(folder / "mask.nii.gz", tr=2.0).load(folder / "a.nii").attrs["tr"] == 2.0
    with pytest.raises(InputError, match="no TR in its header"):
        FMRIProcessor(folder / "mask.nii.gz").load(folder / "a.nii")


def test_scans_that_do_not_fit_are_refused_in_one_line_that_names_both(scan):
    folder, runs, mask, _ = scan
    image(runs[0][..., 0]).to_filename(folder / "three.nii")
    image(np.ones((5, 6, 5), np.uint8)).to_filename(folder / "other_shape.nii")
    image(mask.astype(np.uint8), affine=AFFINE + np.eye(4, k=3)).to_filename(folder / "moved.nii")
    image(np.arange(120, dtype=np.int16).reshape(SHAPE)).to_filename(folder / "labels.nii")
    image(runs[1], 2.0).to_filename(folder / "tr2.nii")
    (folder / "cut.nii.gz").write_bytes(run_paths(folder)[0].read_bytes()[:4000])
    cases = [
        ("mask.nii.gz", ["three.nii"], r"three\.nii is 3-D, shape \(5, 6, 4\)"),
        ("other_shape.nii", ["tr2.nii"], r"shape \(5, 6, 5\), tr2\.nii \(5, 6, 4\)"),
        ("moved.nii", ["tr2.nii"], "up to 1 mm from the voxels of tr2"),
        ("labels.nii", ["tr2.nii"], "is not a mask"),
        ("mask.nii.gz", ["tr2.nii", "sub-07_run-1_bold.nii.gz"], "different TRs, 2, 1.5 s"),
        ("mask.nii.gz", ["cut.nii.gz"], "is the file cut short"),
        ("mask.nii.gz", ["nothing.nii"], "no such scan"),
    ]
    for mask_name, names, message in cases:
        with pytest.raises(InputError, match=message) as caught:
            FMRIProcessor(folder / mask_name).load([folder / name for name in names])
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="need a mask or an atlas"):
        FMRIProcessor().load(run_paths(folder))


@pytest.fixture
def damaged(scan):
    """A run with one NaN voxel and, in run 2 only, one constant voxel; their places in the mask."""
    folder, runs, mask, _ = scan
    places = np.argwhere(mask)
    runs[0][tuple(places[3])][10] = np.nan
    runs[1][tuple(places[8])] = 7
    for k, run in enumerate(runs, start=1):
        image(run).to_filename(folder / f"sub-07_run-{k}_bold.nii.gz")
    return folder, runs, mask, places


def test_bad_voxels_are_named_and_counted(damaged):
    folder, _, mask, places = damaged
    with pytest.raises(InputError) as caught:
        FMRIProcessor(folder / "mask.nii.gz").load(run_paths(folder))
    message = str(caught.value)
    assert f"2 of {mask.sum()} voxels" in message and "1 with NaN" in message and "1 constant" in message
    assert all(str(tuple(places[i].tolist())) in message for i in (3, 8))


def test_bad_voxels_are_left_out_or_held_as_marked_zeros(damaged):
    folder, runs, mask, places = damaged
    out = FMRIProcessor(folder / "mask.nii.gz", bad="mask", standardize=True).load(run_paths(folder))
    assert out.sizes["voxel"] == mask.sum() - 2 and out.good.all() and np.isfinite(out.bold).all()
    left = np.delete(places, [3, 8], axis=0)
    np.testing.assert_array_equal(np.stack([out.i, out.j, out.k], axis=1), left)
    fmri = FMRIProcessor(folder / "mask.nii.gz", bad="zero")
    held = fmri.load(run_paths(folder))
    assert np.flatnonzero(~held.good).tolist() == [3, 8] and not held.bold[:, [3, 8]].any()
    assert held.attrs["mask_sha256"] != out.attrs["mask_sha256"]
    volume = fmri.to_nifti(held.bold[0], held).get_fdata()
    assert np.isnan(volume[tuple(places[3])]) and volume[tuple(left[0])] == runs[0][tuple(left[0])][0]


def test_bad_voxels_never_enter_the_mean_of_a_region(damaged):
    folder, runs, mask, places = damaged
    atlas = mask.astype(np.int16)
    atlas[tuple(places[3])] = 2  # a region of nothing but NaN
    image(atlas).to_filename(folder / "atlas.nii.gz")
    bold = FMRIProcessor(atlas=folder / "atlas.nii.gz", bad="mask").load(run_paths(folder))
    good = np.delete(places, [3, 8], axis=0)
    np.testing.assert_allclose(bold.bold[:40, 0], runs[0][tuple(good.T)].mean(axis=0), rtol=1e-6)
    assert bold.region.values.tolist() == ["label-1"] and bold.attrs["n_bad_voxels"] == 2


@pytest.mark.parametrize("which", [0, 1])
def test_a_voxel_that_is_constant_in_any_one_run_is_bad(scan, which):
    folder, runs, mask, _ = scan
    runs[which][tuple(np.argwhere(mask)[2])] = 5
    image(runs[which]).to_filename(run_paths(folder)[which])
    with pytest.raises(InputError, match=r"1 of \d+ voxels are bad \(0 with NaN or infinity, 1 constant"):
        FMRIProcessor(folder / "mask.nii.gz").load(run_paths(folder))


@pytest.mark.parametrize("name", ["sub-22", "22"])
def test_a_subject_is_one_whether_named_with_sub_or_without(scan, name):
    folder, *_ = scan
    fmri = FMRIProcessor(folder / "mask.nii.gz")
    assert fmri.load(run_paths(folder)[0], subject=name).attrs["subject"] == "22"
    assert fmri.load(run_paths(folder)[0]).attrs["subject"] == "07"


def test_a_volume_of_nan_in_an_image_is_censored_with_an_atlas_too(scan):
    folder, runs, mask, _ = scan
    runs[0][..., 12] = np.nan
    image(runs[0]).to_filename(run_paths(folder)[0])
    voxels = FMRIProcessor(folder / "mask.nii.gz").load(run_paths(folder))
    regions = FMRIProcessor(atlas=folder / "atlas.nii.gz", detrend=True).load(run_paths(folder))
    for bold in (voxels, regions):
        assert np.flatnonzero(~bold.sample_mask.values).tolist() == [12]
        assert np.isnan(bold.bold.values[12]).all() and np.isfinite(np.delete(bold.bold.values, 12, axis=0)).all()
    np.testing.assert_array_equal(voxels.bold[13], runs[0][mask][:, 13])


def test_a_file_of_features_is_not_taken_for_bold(scan):
    folder, *_ = scan
    bold = FMRIProcessor(folder / "mask.nii.gz").load(run_paths(folder))
    other = save_features(bold.rename(bold="text").assign_attrs(variable="text", desc="text"), folder / "t.nc")
    with pytest.raises(InputError, match="holds text features, not BOLD"):
        load_bold(other)


def confounds_file(folder, n=40, **columns):
    rng = np.random.default_rng(1)
    table = pd.DataFrame(rng.standard_normal((n, 3)), columns=["trans_x", "trans_y", "csf"])
    table["trans_x_derivative1"] = table["trans_x"].diff()
    for name, values in columns.items():
        table[name] = values
    table.to_csv(folder / "confounds.tsv", sep="\t", index=False, na_rep="n/a")
    return folder / "confounds.tsv", table


def test_confounds_and_drifts_go_as_in_nilearn(scan):
    folder, runs, mask, _ = scan
    path, table = confounds_file(folder)
    fmri = FMRIProcessor(folder / "mask.nii.gz", confound_columns=["trans_*"], high_pass=1 / 32, detrend=True)
    bold = fmri.load(run_paths(folder)[0], confounds=path)
    used = table[["trans_x", "trans_y", "trans_x_derivative1"]].bfill().to_numpy()
    expected = signal.clean(
        runs[0][mask].T.astype(float), detrend=True, standardize=None, confounds=used, filter="cosine",
        high_pass=1 / 32, t_r=1.5,
    )  # fmt: skip
    np.testing.assert_allclose(bold.bold, expected, atol=1e-4)
    residual = bold.bold.values - bold.bold.values.mean(axis=0)
    assert np.abs(np.corrcoef(residual.T, used.T)[-3:, :-3]).max() < 1e-3


def test_without_options_nothing_is_taken_out(scan):
    folder, runs, mask, _ = scan
    bold = FMRIProcessor(folder / "mask.nii.gz").load(run_paths(folder)[0])
    np.testing.assert_array_equal(bold.bold, runs[0][mask].T)


def test_unusable_confounds_are_refused_with_the_reason(scan):
    folder, *_ = scan
    path, _ = confounds_file(folder)
    with pytest.raises(InputError, match="has 40 rows, the run 30 volumes"):
        read_confounds(path, 30, ["csf"])
    with pytest.raises(InputError, match="which confounds"):
        read_confounds(path, 40)
    with pytest.raises(InputError, match=r"no column 'trans_z'.*trans_"):
        read_confounds(path, 40, ["trans_z"])
    with pytest.raises(InputError, match="would explain everything"):
        read_confounds(np.random.default_rng(0).standard_normal((10, 10)), 10)
    path, _ = confounds_file(folder, csf=np.r_[0:5, np.nan, 6:40])
    with pytest.raises(InputError, match="'csf' has no number in row 6"):
        read_confounds(path, 40, ["csf"])
    with pytest.raises(InputError, match="2 runs and 1 confounds"):
        FMRIProcessor(folder / "mask.nii.gz", confound_columns=["csf"]).load(run_paths(folder), confounds=path)
    with pytest.raises(InputError, match="no confounds were passed"):
        FMRIProcessor(folder / "mask.nii.gz", confound_columns=["csf"]).load(run_paths(folder))


def test_a_table_keeps_every_row_and_says_what_is_wrong(tmp_path):
    def table(text, name="sub-1_bold.tsv"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    np.testing.assert_array_equal(read_table(table("a\tb\n1\t2\n3\tn/a\n")), [[1, 2], [3, np.nan]])
    np.testing.assert_array_equal(read_table(table("a,b\n1,2\n", "a.csv"), ["b"]), [[2]])
    (tmp_path / "z.tsv.gz").write_bytes(gzip.compress(b"a\n1\n2\n"))
    assert len(read_table(tmp_path / "z.tsv.gz")) == 2
    assert len(read_table(table("a\n1\n\n3\n"))) == 3, "an empty line is a volume without a value, not no volume"
    for text, message in [
        ("1\t2\n3\t4\n", "no header"),
        ("a\ta\n1\t2\n", "more than one column 'a'"),
        ("a\tb\n1\tx\n", "column 'b', row 1 holds 'x'"),
        ("", "is empty"),
        ("a\tb\n", "0 rows"),
    ]:
        with pytest.raises(InputError, match=message):
            read_table(table(text))
    with pytest.raises(InputError, match="pass tr"):
        FMRIProcessor().load(table("a\n1\n2\n"))


def test_tables_are_cleaned_as_nilearn_cleans(tmp_path):
    values = np.cumsum(np.random.default_rng(0).standard_normal((60, 3)), axis=0)
    pd.DataFrame(values, columns=list("abc")).to_csv(tmp_path / "sub-1_bold.tsv", sep="\t", index=False)
    bold = FMRIProcessor(tr=2.0, detrend=True, high_pass=0.01).load(tmp_path / "sub-1_bold.tsv").bold.values
    expected = signal.clean(values, t_r=2.0, detrend=True, high_pass=0.01, filter="cosine", standardize=None)
    np.testing.assert_allclose(bold, expected, atol=1e-4)


@pytest.mark.skipif(not ALICE.is_dir(), reason="the Alice BOLD tables are not in ../shared/fmri/alice")
def test_real_listeners_are_read_and_the_constant_one_is_refused():
    fmri = FMRIProcessor(tr=2.0, bad="mask")
    paths = {p.name[4:6]: p for p in sorted(ALICE.glob("sub-*_bold.tsv"))}
    constant = paths.pop("33")
    loaded = {name: fmri.load(path, subject=name) for name, path in paths.items()}
    assert len(loaded) == 27
    for name, bold in loaded.items():
        assert bold.bold.shape == (362, 6) and bold.attrs["subject"] == name
        np.testing.assert_array_equal(bold.bold, np.loadtxt(paths[name], skiprows=1).astype(np.float32))
    for bad in ("error", "mask", "zero"):
        with pytest.raises(InputError, match=r"sub-33.*6 of 6 regions are bad.*6 constant.*LATL"):
            FMRIProcessor(tr=2.0, bad=bad).load(constant, subject="33")


@pytest.mark.parametrize("name", ["sub-1_bold.1D", "sub-1_bold.txt", "bold.xlsx", "bold.npy", "sub-1.2_bold.mat"])
def test_files_that_are_no_scans_are_told_what_is_one(tmp_path, name):
    (tmp_path / name).write_bytes(b"1 2 3\n")
    for options in ({}, {"atlas": None, "tr": 2.0}):
        with pytest.raises(
            InputError, match=r"is no scan .*; expected NIfTI .*, or a table of regions \(\.tsv or \.csv"
        ):
            FMRIProcessor(**options).load(tmp_path / name)


def test_a_volume_without_numbers_needs_no_confounds_either(tmp_path, caplog):
    volume = np.arange(40.0)
    regions = 900.5 + pd.DataFrame({"a": np.sin(volume), "b": np.cos(volume / 7)})
    path, table = confounds_file(tmp_path)
    regions.loc[9] = np.nan
    table.loc[9] = np.nan
    table["motion_outlier00"] = (volume == 20).astype(int)
    regions.to_csv(tmp_path / "sub-1_bold.tsv", sep="\t", index=False, na_rep="n/a")
    table.to_csv(path, sep="\t", index=False, na_rep="n/a")
    fmri = FMRIProcessor(tr=2.0, confound_columns=["csf", "motion_outlier*"], detrend=True)
    with caplog.at_level(logging.WARNING):
        bold = fmri.load([tmp_path / "sub-1_bold.tsv"] * 2, confounds=[path, path])
    assert np.flatnonzero(~bold.sample_mask.values).tolist() == [9, 20, 49, 60]
    said = "sub-1_bold.tsv: 2 of 40 volumes are censored: 1 without a number (volumes 9), 1 by motion_outlier00"
    assert [record.getMessage() for record in caplog.records] == [said, said]  # once for each run
    kept = np.delete(np.arange(40), [9, 20])
    drift = np.linspace(-1, 1, 40)
    design = np.c_[np.ones(38), drift[kept], table["csf"].to_numpy()[kept]]
    expected = regions.to_numpy()[kept]
    expected = expected - design @ np.linalg.lstsq(design, expected, rcond=None)[0]
    np.testing.assert_allclose(bold.bold.values[kept], expected, atol=1e-4)


def test_confounds_with_points_go_with_regions_with_commas(tmp_path):
    path, table = confounds_file(tmp_path)
    regions = pd.DataFrame(np.random.default_rng(3).normal(900, 9, (40, 2)), columns=["a", "b"])
    regions.to_csv(tmp_path / "points.tsv", sep="\t", index=False)
    regions.to_csv(tmp_path / "commas.csv", sep=";", decimal=",", index=False)
    options = {"tr": 2.0, "confound_columns": ["trans_?"]}
    points = FMRIProcessor(**options).load(tmp_path / "points.tsv", confounds=path)
    commas = FMRIProcessor(**options, decimal=",").load(tmp_path / "commas.csv", confounds=path)
    np.testing.assert_array_equal(points.bold, commas.bold)
    assert table["trans_x"].std() > 0.5


def test_tables_with_decimal_commas_are_read_where_that_is_said(tmp_path):
    volume = np.arange(40)
    regions, moved = 100 + np.sin(volume) + 0.1 * volume, np.cos(volume / 3)
    bold, confounds = tmp_path / "bold.csv", tmp_path / "confounds.csv"
    pd.DataFrame({"a": regions, "b": regions**0.5}).to_csv(bold, sep=";", decimal=",", index=False)
    pd.DataFrame({"trans_x": moved}).to_csv(confounds, sep=";", decimal=",", index=False)
    with pytest.raises(InputError, match="decimal"):
        FMRIProcessor(tr=2.0).load(bold)
    told = {"tr": 2.0, "decimal": ",", "confound_columns": ["trans_x"]}
    found = FMRIProcessor(**told).load(bold, confounds=confounds)["bold"].values
    centred = moved - moved.mean()
    expected = regions - centred * (centred @ regions) / (centred @ centred)
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-5)
