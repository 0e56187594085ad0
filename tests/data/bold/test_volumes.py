"""Images are read whole or refused: check sums, impossible headers, numbers of another kind, other grids."""

import bz2
import gzip
import logging
import struct

import nibabel as nib
import numpy as np
import pytest
from nilearn.masking import apply_mask, load_mask_img

from giblet.data.bold.atlas import Atlas
from giblet.data.bold.volumes import check_grid, open_image, read_mask, series_of, voxels_in
from giblet.data.fmri import FMRIProcessor
from giblet.errors import InputError, one_line

SHAPE = (4, 3, 5)
AFFINE = np.diag([2.5, 2.5, 3, 1])
INSIDE = np.ones(SHAPE, bool)


def image(data, tr=2.0, affine=AFFINE):
    made = nib.Nifti1Image(data, affine)
    made.header.set_xyzt_units("mm", "sec")
    if data.ndim == 4:
        made.header.set_zooms((*made.header.get_zooms()[:3], tr))
    return made


@pytest.fixture
def series(tmp_path):
    """A folder, and a series of 12 volumes as it stands in an unpacked file."""
    data = np.random.default_rng(3).normal(500, 20, (*SHAPE, 12)).astype(np.float32)
    return tmp_path, data, image(data).to_bytes()


def packed_with_one_bit_flipped(content):
    """Stored, not deflated, so that it unpacks in full; the bit is in the last number."""
    stored = bytearray(gzip.compress(content, compresslevel=0, mtime=0))
    stored[-12] ^= 0x10  # behind it stand the check sum and the length, 4 bytes each
    return bytes(stored)


def test_a_packed_series_is_compared_with_its_check_sum(series):
    folder, data, content = series
    path = folder / "a_bold.nii.gz"
    path.write_bytes(packed_with_one_bit_flipped(content))
    with pytest.raises(InputError, match=r"a_bold\.nii\.gz \(CRC check failed.*copy it again") as caught:
        voxels_in(series_of(path), INSIDE)
    assert "\n" not in str(caught.value)
    path.write_bytes(gzip.compress(content, compresslevel=0))
    np.testing.assert_array_equal(voxels_in(series_of(path), INSIDE), data.reshape(-1, 12).T)


@pytest.mark.parametrize("scaled", [False, True])
def test_voxels_are_those_that_nilearn_gives(tmp_path, scaled):
    rng = np.random.default_rng(0)
    data = rng.integers(-9, 9, (4, 3, 5, 7)).astype(np.int16)
    inside = rng.random((4, 3, 5)) > 0.4
    image = nib.Nifti1Image(data, np.eye(4))
    if scaled:
        image.header.set_slope_inter(0.25, 3)
    image.to_filename(tmp_path / "a.nii.gz")
    mask = nib.Nifti1Image(inside.astype(np.uint8), np.eye(4))
    expected = apply_mask(nib.load(tmp_path / "a.nii.gz"), mask, dtype=np.float32)
    np.testing.assert_array_equal(voxels_in(series_of(tmp_path / "a.nii.gz"), inside), expected)


@pytest.mark.parametrize(
    ("what", "damage"),
    [
        ("length", lambda packed: packed[:-4] + struct.pack("<I", 1)),
        ("no trailer", lambda packed: packed[:-8]),
        ("garbage behind", lambda packed: packed + b"not gzip at all"),
        ("second member damaged", lambda packed: packed + packed_with_one_bit_flipped(b"0" * 64)),
    ],
)
def test_what_stands_behind_the_data_of_a_packed_file_is_read(series, what, damage):
    folder, _, content = series
    path = folder / "a.nii.gz"
    path.write_bytes(damage(gzip.compress(content)))
    with pytest.raises(InputError, match="cannot read"):
        voxels_in(series_of(path), INSIDE)


def test_a_series_packed_in_parts_or_padded_with_zeros_is_whole(series):
    folder, data, content = series
    half = len(content) // 2
    for name, packed in [
        ("parts.nii.gz", gzip.compress(content[:half]) + gzip.compress(content[half:])),
        ("padded.nii.gz", gzip.compress(content) + b"\0" * 512),
        ("other.nii.bz2", bz2.compress(content)),
    ]:
        (folder / name).write_bytes(packed)
        np.testing.assert_array_equal(voxels_in(series_of(folder / name), INSIDE), data.reshape(-1, 12).T, name)


@pytest.mark.filterwarnings("ignore:Non-finite")
@pytest.mark.parametrize(
    "found", [(0, 1), (0, -2.5), (0, 255), (1, 1), (0, 0), (1, 2), (0, 1, 2), (0, np.nan), (0, 1, np.nan)]
)
@pytest.mark.parametrize("n_volumes", [None, 1, 2])
def test_a_mask_is_what_nilearn_takes_for_one(tmp_path, found, n_volumes):
    path = tmp_path / "mask.nii"
    values = np.resize(np.array(found, np.float32), (3, 3, 3) if n_volumes is None else (3, 3, 3, n_volumes))
    image(values).to_filename(path)
    try:
        expected, affine = load_mask_img(nib.Nifti1Image(values.astype(np.float64), AFFINE))
    except (TypeError, ValueError) as exc:
        with pytest.raises(InputError, match="it is not a mask") as caught:
            read_mask(path)
        assert one_line(exc) in str(caught.value)
    else:
        mask, found_affine = read_mask(path)
        assert mask.dtype == bool
        np.testing.assert_array_equal(mask, expected)
        np.testing.assert_array_equal(found_affine, affine)


def test_masks_and_atlases_are_compared_with_their_check_sums(tmp_path):
    content = image(np.arange(1000, dtype=np.int16).reshape(10, 10, 10) % 2).to_bytes()
    path = tmp_path / "m.nii.gz"
    path.write_bytes(packed_with_one_bit_flipped(content))
    for read in (read_mask, Atlas.read):
        with pytest.raises(InputError, match="CRC check failed"):
            read(path)
    packed = bytearray(bz2.compress(content))
    packed[-4] ^= 1
    (tmp_path / "m.nii.bz2").write_bytes(packed)
    with pytest.raises(InputError, match="cannot read"):
        read_mask(tmp_path / "m.nii.bz2")


@pytest.mark.parametrize(
    ("dtype", "message"),
    [
        (np.complex64, "complex numbers.*magnitude"),
        (np.complex128, "complex numbers.*magnitude"),
        (np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]), "colours"),
    ],
)
def test_numbers_that_a_cast_would_cut_are_refused(tmp_path, dtype, message):
    image(np.ones((*SHAPE, 3), dtype)).to_filename(tmp_path / "a.nii.gz")
    image(np.ones(SHAPE, dtype)).to_filename(tmp_path / "mask.nii")
    for read, name in [(series_of, "a.nii.gz"), (read_mask, "mask.nii"), (Atlas.read, "mask.nii")]:
        with pytest.raises(InputError, match=message):
            read(tmp_path / name)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, ">i2", np.uint16, np.int32, np.int64, np.float32, ">f8"])
def test_real_numbers_of_all_kinds_are_read(tmp_path, dtype):
    data = np.random.default_rng(0).integers(0, 200, (*SHAPE, 6)).astype(dtype)
    made = nib.Nifti1Image(data, AFFINE, dtype=np.dtype(dtype))
    made.to_filename(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(voxels_in(series_of(tmp_path / "a.nii.gz"), INSIDE), data.reshape(-1, 6).T)


# Offsets are those of nifti1.h.
@pytest.mark.parametrize(
    ("field", "offset", "value"),
    [
        ("infinite slope", 112, struct.pack("<ff", np.inf, 0)),
        ("infinite intercept", 112, struct.pack("<ff", 2, np.inf)),
        ("bits for a number", 70, struct.pack("<h", 1)),
        ("unknown type", 70, struct.pack("<h", 999)),
        ("negative dimension", 40, struct.pack("<8h", 4, 4, -3, 5, 12, 1, 1, 1)),
        ("no dimension", 40, struct.pack("<8h", 4, 4, 0, 5, 12, 1, 1, 1)),
        ("nine dimensions", 40, struct.pack("<8h", 9, 4, 3, 5, 12, 1, 1, 1)),
        ("magic", 344, b"xx1\0"),
        ("where data begin", 108, struct.pack("<f", np.nan)),
        ("data beyond the end", 108, struct.pack("<f", 1e8)),
        ("affine", 296, struct.pack("<ff", np.nan, np.inf)),
        ("quaternion", 252, struct.pack("<hhfff", 1, 0, np.nan, 0, 0)),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_an_impossible_header_is_one_line(series, capfd, field, offset, value, packed):
    folder, _, content = series
    damaged = bytearray(content)
    damaged[offset : offset + len(value)] = value
    path = folder / ("a.nii.gz" if packed else "a.nii")
    path.write_bytes(gzip.compress(bytes(damaged)) if packed else damaged)
    image(INSIDE.astype(np.uint8)).to_filename(folder / "mask.nii")
    with pytest.raises(InputError) as caught:
        FMRIProcessor(folder / "mask.nii").load(path)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == "", "nibabel's own lines"


def test_no_byte_of_a_header_brings_the_reader_down(series):
    folder, _, content = series
    path, outcomes = folder / "a.nii", {"read": 0, "refused": 0}
    image(INSIDE.astype(np.uint8)).to_filename(folder / "mask.nii")
    fmri = FMRIProcessor(folder / "mask.nii")
    for place in range(0, 348, 3):
        damaged = bytearray(content)
        damaged[place] = 0xFF if damaged[place] != 0xFF else 0
        path.write_bytes(damaged)
        try:
            fmri.load(path)
            outcomes["read"] += 1
        except InputError as exc:
            assert "\n" not in str(exc)
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 10


def test_a_slope_of_nan_is_none_as_nibabel_has_it(series):
    folder, data, content = series
    damaged = bytearray(content)
    damaged[112:120] = struct.pack("<ff", np.nan, np.nan)
    (folder / "a.nii").write_bytes(damaged)
    np.testing.assert_array_equal(voxels_in(series_of(folder / "a.nii"), INSIDE), data.reshape(-1, 12).T)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_volumes_that_the_header_does_not_count_are_told_of(series, caplog, suffix):
    folder, _, content = series
    fewer = bytearray(content)
    fewer[48:50] = struct.pack("<h", 9)
    path = folder / f"a{suffix}"
    path.write_bytes(gzip.compress(bytes(fewer)) if suffix == ".nii.gz" else fewer)
    with caplog.at_level(logging.WARNING):
        assert voxels_in(series_of(path), INSIDE).shape == (9, 60)
    assert f"a{suffix} holds data for 3 volumes more than the 9 of its header" in caplog.text
    caplog.clear()
    path.write_bytes(gzip.compress(content) if suffix == ".nii.gz" else content)
    voxels_in(series_of(path), INSIDE)
    assert not caplog.text


def test_what_nibabel_mends_in_a_header_is_told_with_the_name_of_the_file(series, caplog):
    folder, _, content = series
    odd = bytearray(content)
    odd[80:84] = struct.pack("<f", -2.5)
    (folder / "odd.nii").write_bytes(odd)
    before = list(logging.getLogger("nibabel.global").handlers)
    with caplog.at_level(logging.WARNING):
        open_image(folder / "odd.nii")
    assert "the header of odd.nii: pixdim[1,2,3] should be positive" in caplog.text
    assert logging.getLogger("nibabel.global").handlers == before, "nibabel logs as before"


def test_grids_are_one_up_to_a_hundredth_of_a_voxel_and_no_farther():
    moved, turned, nowhere = AFFINE.copy(), AFFINE.copy(), AFFINE.copy()
    moved[0, 3] += 0.02  # of 2.5 mm
    check_grid(SHAPE, moved, (*SHAPE, 7), AFFINE, "the lesion", "the scan")
    moved[0, 3] += 0.02
    turned[0, 1] = 0.02  # 0.04 mm at the far corner
    nowhere[2, 3] = np.nan
    for other in (moved, turned, nowhere):
        with pytest.raises(InputError, match=r"the lesion lies up to (0\.04|nan) mm from the voxels of the scan"):
            check_grid(SHAPE, other, (*SHAPE, 7), AFFINE, "the lesion", "the scan")
    with pytest.raises(InputError, match=r"the lesion has shape \(4, 3, 5\), the scan \(4, 3, 6\)"):
        check_grid(SHAPE, AFFINE, (4, 3, 6), AFFINE, "the lesion", "the scan")
