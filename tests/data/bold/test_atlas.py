"""The background of a label image is what nilearn says it is, and each region has a name of its own."""

import logging

import nibabel as nib
import numpy as np
import pytest
from nilearn.maskers import NiftiLabelsMasker

from giblet.data.bold.atlas import Atlas
from giblet.data.fmri import FMRIProcessor
from giblet.errors import InputError

SHAPE = (4, 4, 3)
LABELS = np.random.default_rng(1).integers(-1, 3, SHAPE)


@pytest.fixture
def saved(tmp_path):
    """Writes an atlas and a scan of 10 volumes; their paths."""
    scan = nib.Nifti1Image(np.random.default_rng(2).normal(100, 9, (*SHAPE, 10)).astype(np.float32), np.eye(4))
    scan.header.set_xyzt_units("mm", "sec")
    scan.header.set_zooms((1, 1, 1, 2))
    scan.to_filename(tmp_path / "bold.nii")

    def write(labels):
        nib.Nifti1Image(labels, np.eye(4), dtype=labels.dtype).to_filename(tmp_path / "atlas.nii.gz")
        return tmp_path / "atlas.nii.gz", tmp_path / "bold.nii"

    return write


@pytest.mark.parametrize("background", [-1, 0, 2])
def test_regions_are_those_of_nilearn_with_the_same_background(saved, background):
    atlas, scan = saved(LABELS.astype(np.int16))
    fmri = FMRIProcessor(atlas=atlas, background_label=background)
    bold = fmri.load(scan)
    masker = NiftiLabelsMasker(atlas, background_label=background, standardize=None)
    np.testing.assert_allclose(bold.bold, masker.fit_transform(str(scan)), rtol=1e-6)
    assert bold.label.values.tolist() == [label for label in (-1, 0, 1, 2) if label != background]
    back = fmri.to_nifti(bold.label.values + 10, bold).get_fdata()
    np.testing.assert_array_equal(back, np.where(background == LABELS, 0, LABELS + 10))


@pytest.mark.parametrize(
    ("labels", "message"),
    [(LABELS, "from -1 on, and 0 too"), (np.where(LABELS == 0, 1, LABELS), "from -1 on, and no 0")],
)
def test_negative_labels_without_a_word_of_the_background_are_a_question(saved, labels, message):
    with pytest.raises(InputError, match=f"{message}.*background_label=-1 or background_label=0"):
        FMRIProcessor(atlas=saved(labels.astype(np.int16))[0])


@pytest.mark.parametrize("background", [7, -1])
def test_a_background_that_does_not_occur_is_refused_with_what_does(saved, background):
    labels = np.abs(LABELS).astype(np.int16)
    with pytest.raises(InputError, match=f"holds no {background}, the background_label: it holds 0, 1, 2$"):
        FMRIProcessor(atlas=saved(labels)[0], background_label=background)
    with_nan = labels.astype(np.float32)
    with_nan[0] = np.nan
    with pytest.raises(InputError, match=f"holds no {background}"):
        FMRIProcessor(atlas=saved(with_nan)[0], background_label=background)


def test_an_atlas_without_any_background_is_told_of(saved, caplog):
    labels = (np.abs(LABELS) + 3).astype(np.int16)
    for background in (None, 0):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert Atlas.read(saved(labels)[0], None, background).regions.all()
        assert "holds no 0, the background: every voxel is of one of its regions (3, 4, 5)" in caplog.text
    caplog.clear()
    assert not Atlas.read(saved(labels)[0], None, 3).regions.all() and not caplog.text


def test_an_atlas_in_floats_is_whole_up_to_rounding_and_nan_is_no_region(saved):
    labels = np.abs(LABELS).astype(np.float32)
    labels[labels == 2] *= 1 + 2e-7
    labels[0, 0, 0] = np.nan
    found = Atlas.read(saved(labels)[0])
    np.testing.assert_array_equal(found.labels[1:], np.abs(LABELS)[1:])
    assert not found.regions[0, 0, 0] and found.wanted.tolist() == [1, 2]
    for odd, message in [(0.5, "not whole"), (np.inf, "not whole")]:
        labels[1, 1, 1] = odd
        with pytest.raises(InputError, match=message):
            Atlas.read(saved(labels)[0])


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.int64, np.float64])
def test_large_labels_stay_what_they_are(saved, dtype):
    labels = (np.abs(LABELS) * 12_000).astype(dtype)
    assert Atlas.read(saved(labels)[0]).wanted.tolist() == [12_000, 24_000]


def test_names_that_do_not_tell_regions_apart_or_name_none_are_refused(saved):
    atlas, scan = saved(np.abs(LABELS).astype(np.uint8))
    for names, message in [
        ({1: "V1", 2: "V1"}, r"labels 1, 2 of the atlas are all called 'V1'"),
        ({1: "label-2"}, r"labels 1, 2 of the atlas are all called 'label-2'"),
        (["V1", "A1"], r"labels are list; expected a mapping of number to name"),
        ({"V1": 1}, r"labels name 'V1'; expected the whole numbers"),
        ({1.5: "V1"}, r"labels name 1\.5; expected the whole numbers"),
        ({7: "V1", 8: "A1"}, r"labels name 7, 8, none of which is a region of atlas"),
    ]:
        with pytest.raises(InputError, match=message):
            FMRIProcessor(atlas=atlas, labels=names)
    # As JSON and YAML hold them, with names of regions that this atlas lacks.
    bold = FMRIProcessor(atlas=atlas, labels={"1": "V1", 2.0: "A1", 9: "V1"}).load(scan)
    assert bold.region.values.tolist() == ["V1", "A1"]
