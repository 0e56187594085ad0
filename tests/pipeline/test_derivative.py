"""An encoding run's folder as a BIDS derivative: described, found by BIDS tools, accepted by the BIDS validator."""

import json

import nibabel as nib
import numpy as np
import pytest

from giblet.encoding.settings import EncodeSettings
from giblet.errors import InputError
from giblet.pipeline import encode, predict_film
from giblet.pipeline.derivative import bids_label, describe_derivative
from giblet.version import __version__
from tests.bids import problems_in, raw_dataset
from tests.encoding_study import TR, make_encoding_study


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return make_encoding_study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def of_images(study):
    """Two subjects with images of one space, what they share, and predictions for another film."""
    run = {"bold": str(study.image), "text": str(study.words)}
    data = {"subjects": [{"name": name, "mask": str(study.mask), "runs": [run]} for name in ("3", "04")]}
    settings = EncodeSettings.make(**study.settings(study.folder / "images", data=data, group=True, unique=False))
    return encode(settings), predict_film(settings, study.other)


def test_the_bids_validator_accepts_maps_of_images_and_predicted_scans(of_images):
    result, scans = of_images
    assert problems_in(result.folder) == []
    names = [path.relative_to(result.folder).as_posix() for path in result.subjects[1].files]
    assert "sub-04/func/sub-04_desc-encoding_stat-r_statmap.nii.gz" in names
    assert scans[1].path.name == "sub-04_task-other_desc-encoding_bold.nii.gz"


def test_the_bids_validator_accepts_tables(study):
    settings = EncodeSettings.make(**study.settings(study.folder / "tables", 1))
    result = encode(settings)
    predict_film(settings, study.other)
    assert problems_in(result.folder) == []


def test_the_bids_validator_would_find_a_map_that_bids_does_not_name(of_images, tmp_path):
    import shutil

    copy = shutil.copytree(of_images[0].folder, tmp_path / "copy")
    (copy / ".bidsignore").unlink()
    told = problems_in(copy)
    assert ("NOT_INCLUDED", "/sub-3/func/sub-3_desc-encoding_stat-r_statmap.nii.gz") in told


def test_the_description_says_who_made_it_and_no_path(of_images):
    text = (of_images[0].folder / "dataset_description.json").read_text()
    about = json.loads(text)
    assert about["DatasetType"] == "derivative" and about["Name"] and about["BIDSVersion"] == "1.10.0"
    assert about["GeneratedBy"] == [{"Name": "giblet", "Version": __version__}]
    assert str(of_images[0].folder.parent) not in text
    assert of_images[0].folder / "dataset_description.json" in of_images[0].files


def test_a_predicted_scan_says_its_tr_in_its_header_and_beside_it(of_images):
    for scan in of_images[1]:
        beside = json.loads(scan.path.with_name(scan.path.name.replace(".nii.gz", ".json")).read_text())
        assert nib.load(scan.path).header.get_zooms()[3] == TR == beside["RepetitionTime"]
        assert beside["TaskName"] == "other" and beside["SkullStripped"] is True


@pytest.mark.parametrize("stat", ["r", "p", "r2", "alpha", "split_band-rate"])
def test_maps_are_as_pycortex_and_workbench_read_them(of_images, study, stat):
    """Both place voxels by the sform, and read float32 without a scaling; a 4-D image is a time series to them."""
    check_volume(of_images[0].subjects[0].path(f"stat-{stat}_statmap.nii.gz"), study.image)


def check_volume(path, scan) -> None:
    """A map that lies where the scan does, for readers of the sform, of the qform, and of neither code."""
    image, like = nib.load(path), nib.load(scan)
    header = image.header
    assert image.ndim == 3 and image.shape == like.shape[:3]
    assert header.get_data_dtype() == np.dtype("<f4") and header.get_slope_inter() in ((None, None), (1.0, 0.0))
    assert int(header["sform_code"]) > 0
    assert np.array_equal(image.affine, like.affine) and np.array_equal(header.get_sform(), like.affine)
    assert int(header["qform_code"]) == 0 or np.allclose(header.get_qform(), like.affine, atol=1e-5)
    assert header.get_xyzt_units()[0] == "mm" and header.get_intent()[0] in ("none", "correlation", "p value")
    again = nib.Nifti1Image.from_bytes(image.to_bytes())
    assert np.array_equal(again.get_fdata(), image.get_fdata(), equal_nan=True)


def test_results_are_not_put_into_raw_data(study, tmp_path):
    root = raw_dataset(tmp_path / "bids")
    settings = EncodeSettings.make(**study.settings(root, 1))
    with pytest.raises(InputError, match=r"BIDS data set of type 'raw'.*derivatives/giblet"):
        encode(settings)
    assert [path.name for path in root.iterdir()] == ["dataset_description.json"]


def test_a_derivative_of_another_program_keeps_its_name_and_gains_ours(tmp_path):
    folder = raw_dataset(tmp_path / "d", DatasetType="derivative")
    (folder / "dataset_description.json").write_text(
        json.dumps({"Name": "mine", "BIDSVersion": "1.8.0", "DatasetType": "derivative",
                    "GeneratedBy": [{"Name": "fMRIPrep"}, {"Name": "giblet", "Version": "0"}]})
    )  # fmt: skip
    (folder / ".bidsignore").write_text("mine/\n")
    for _ in range(2):
        describe_derivative(folder, "other")
    about = json.loads((folder / "dataset_description.json").read_text())
    assert (about["Name"], about["BIDSVersion"]) == ("mine", "1.8.0")
    assert about["GeneratedBy"] == [{"Name": "fMRIPrep"}, {"Name": "giblet", "Version": __version__}]
    lines = (folder / ".bidsignore").read_text().splitlines()
    assert lines[0] == "mine/" and len(lines) == len(set(lines)) > 5


def test_a_damaged_description_is_said_to_be_that(tmp_path):
    (tmp_path / "dataset_description.json").write_text("{")
    with pytest.raises(InputError, match=r"dataset_description\.json.*mend it"):
        describe_derivative(tmp_path, "x")


def test_a_name_without_letters_is_no_label():
    with pytest.raises(InputError, match="no letter from a to z"):
        bids_label("映画")
