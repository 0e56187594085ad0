"""Other scans and lesions are read on the voxels and regions of the training, whatever is bad or in another order."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from nilearn import signal
from nilearn.maskers import NiftiLabelsMasker

from giblet.data.study_settings import SubjectSettings
from giblet.errors import InputError
from giblet.pipeline.brain_files import default_folder, lesion_of, replacement_bold, training_columns

TR, SHAPE, N = 1.5, (4, 5, 3), 30
AFFINE = np.diag([3.0, 3.0, 3.5, 1.0])
VOLUMES, RUN = np.tile(np.arange(2, N), 2), np.repeat([1, 2], N - 2)
SECOND = np.flatnonzero(RUN == 2)


def save(data, path: Path) -> Path:
    image = nib.Nifti1Image(np.asarray(data, np.float32), AFFINE)
    image.header.set_xyzt_units("mm", "sec")
    if image.ndim == 4:
        image.header.set_zooms((*image.header.get_zooms()[:3], TR))
    image.to_filename(path)
    return path


def moving(seed: int) -> np.ndarray:
    return (500 + np.random.default_rng(seed).standard_normal((*SHAPE, N))).astype(np.float32)


@pytest.fixture
def images(tmp_path):
    """Two training scans, each with a voxel that never moves in it alone; the mask holds all voxels but one plane."""
    mask = np.ones(SHAPE, bool)
    mask[0] = False
    for k, still in enumerate([(1, 0, 0), (3, 4, 2)], start=1):
        run = moving(k)
        run[still] = 7
        save(run, tmp_path / f"run-{k}_bold.nii.gz")
    save(mask, tmp_path / "mask.nii.gz")
    kept = mask.copy()
    kept[1, 0, 0] = kept[3, 4, 2] = False
    return tmp_path, kept


def subject(folder: Path, runs=("run-1_bold.nii.gz", "run-2_bold.nii.gz"), **options) -> SubjectSettings:
    confounds = options.pop("confounds", None)
    listed = [{"bold": folder / run, **({"confounds": folder / confounds} if confounds else {})} for run in runs]
    return SubjectSettings.make(name="01", runs=listed, **options)


def replaced(own: SubjectSettings, *bold: Path, confounds=None, rows=SECOND) -> np.ndarray:
    return replacement_bold(list(bold), confounds, own, TR, VOLUMES, RUN, rows)


def test_an_image_is_read_on_the_voxels_that_were_good_in_every_training_scan(images):
    folder, kept = images
    own = subject(folder, mask=folder / "mask.nii.gz", bad="mask")
    assert training_columns(own, TR).sizes["voxel"] == kept.sum()
    scan = moving(9)
    given = replaced(own, save(scan, folder / "other.nii.gz"))
    # Rows of the run that is not decoded stay empty; the others are the volumes that the stimulus rows name.
    assert given.shape == (len(RUN), kept.sum())
    assert np.isnan(given[RUN == 1]).all()
    np.testing.assert_array_equal(given[RUN == 2], scan[kept].T[2:])


def test_a_voxel_of_the_training_that_does_not_move_in_another_scan_is_an_error_not_another_voxel(images):
    folder, _ = images
    own = subject(folder, mask=folder / "mask.nii.gz", bad="mask")
    scan = moving(9)
    scan[2, 2, 1] = 7
    with pytest.raises(InputError, match=r"other\.nii\.gz"):
        replaced(own, save(scan, folder / "other.nii.gz"))


def test_an_image_of_another_space_is_refused(images):
    folder, _ = images
    own = subject(folder, mask=folder / "mask.nii.gz", bad="mask")
    with pytest.raises(InputError, match=r"other\.nii\.gz"):
        replaced(own, save(moving(9)[:-1], folder / "other.nii.gz"))


def test_regions_of_an_atlas_are_the_means_that_nilearn_takes(images):
    folder, _ = images
    atlas = np.zeros(SHAPE)
    atlas[:2], atlas[2:] = 1, 2
    save(atlas, folder / "atlas.nii.gz")
    for k in (1, 2):
        save(moving(k), folder / f"run-{k}_bold.nii.gz")
    own = subject(folder, atlas=folder / "atlas.nii.gz")
    path = save(moving(9), folder / "other.nii.gz")
    given = replaced(own, path, path, rows=np.arange(len(RUN)))
    oracle = NiftiLabelsMasker(folder / "atlas.nii.gz", standardize=None).fit().transform(str(path))
    np.testing.assert_allclose(given[RUN == 1], oracle[2:], rtol=1e-6)
    np.testing.assert_array_equal(given[RUN == 1], given[RUN == 2])
    silenced = lesion_of("label-2", own, TR, 2)
    assert silenced.tolist() == [False, True]


def test_a_scan_is_cleaned_with_its_own_confounds(images):
    folder, kept = images
    rng = np.random.default_rng(4)
    for name in ("first", "second"):
        pd.DataFrame({"motion": rng.standard_normal(N)}).to_csv(folder / f"{name}.tsv", sep="\t", index=False)
    own = subject(folder, mask=folder / "mask.nii.gz", bad="mask", confounds="first.tsv", confound_columns=("motion",))
    scan = moving(9)
    path = save(scan, folder / "other.nii.gz")
    given = replaced(own, path, confounds=[folder / "second.tsv"])[RUN == 2]
    motion = pd.read_csv(folder / "second.tsv", sep="\t").values
    oracle = signal.clean(
        scan[kept].T.astype(float), confounds=motion, detrend=False, standardize=None, standardize_confounds=True
    )
    centred = lambda x: x - x.mean(0)  # noqa: E731
    np.testing.assert_allclose(centred(given), centred(oracle[2:]), atol=2e-3)
    assert np.abs(np.corrcoef(motion[2:, 0], given.T)[0, 1:]).max() < 0.2
    with pytest.raises(InputError, match="1 scans and 0 confounds"):
        replaced(own, path)


def test_a_lesion_is_drawn_on_the_voxels_of_the_training(images):
    folder, kept = images
    own = subject(folder, mask=folder / "mask.nii.gz", bad="mask")
    lesion = np.zeros(SHAPE)
    lesion[3] = 1
    silenced = lesion_of(save(lesion, folder / "lesion.nii.gz"), own, TR, int(kept.sum()))
    expected = np.zeros(SHAPE, bool)
    expected[3] = True
    np.testing.assert_array_equal(silenced, expected[kept])
    with pytest.raises(InputError, match=r"the lesion small.nii.gz has shape .* resample it first"):
        lesion_of(save(lesion[1:], folder / "small.nii.gz"), own, TR, int(kept.sum()))


@pytest.mark.parametrize(("shift", "taken"), [(0.002, True), (0.02, True), (0.1, False)])
def test_a_lesion_may_lie_as_far_from_the_scan_as_a_mask_may(images, shift, taken):
    """A hundredth of a voxel of 3 mm: what programs that write affines in single precision differ by is less."""
    folder, kept = images
    own = subject(folder, mask=folder / "mask.nii.gz", bad="mask")
    lesion, affine = np.zeros(SHAPE, np.float32), AFFINE.copy()
    lesion[2], affine[0, 3] = 1, shift
    nib.Nifti1Image(lesion, affine).to_filename(folder / "lesion.nii.gz")
    if taken:
        assert lesion_of(folder / "lesion.nii.gz", own, TR, int(kept.sum())).sum() == kept[2].sum()
    else:
        with pytest.raises(InputError, match=r"the lesion lesion\.nii\.gz lies up to 0\.1 mm from the voxels"):
            lesion_of(folder / "lesion.nii.gz", own, TR, int(kept.sum()))


def test_scans_are_as_many_as_the_split_needs_or_as_there_are_runs(images):
    folder, _ = images
    own = subject(folder, mask=folder / "mask.nii.gz", bad="mask")
    path = save(moving(9), folder / "other.nii.gz")
    with pytest.raises(InputError, match="run 2 of 2; pass 1 in `bold`"):
        replaced(own, path, path, path)
    short = save(moving(9)[..., : N - 1], folder / "short.nii.gz")
    with pytest.raises(InputError, match=f"short.nii.gz has {N - 1} volumes, the stimulus of run 2 needs {N}"):
        replaced(own, short)


def test_names_of_regions_are_names_not_patterns(tmp_path):
    table = pd.DataFrame(np.random.default_rng(0).standard_normal((N, 3)), columns=["V1[left]", "V*", "atlas.gz"])
    for k in (1, 2):
        table.to_csv(tmp_path / f"run-{k}.tsv", sep="\t", index=False)
    own = subject(tmp_path, runs=("run-1.tsv", "run-2.tsv"))
    table[["V*", "atlas.gz", "V1[left]"]].to_csv(tmp_path / "other.tsv", sep="\t", index=False)
    given = replaced(own, tmp_path / "other.tsv")
    np.testing.assert_allclose(given[RUN == 2], table.values[2:], rtol=1e-6)
    assert lesion_of("atlas.gz", own, TR, 3).tolist() == [False, False, True]
    assert default_folder([], "atlas.gz").startswith("reconstruction_lesion-atlas-")


def test_lesions_of_one_name_and_other_content_have_folders_of_their_own(tmp_path):
    paths = []
    for k in (1, 2):
        (tmp_path / str(k)).mkdir()
        paths.append(save(np.full(SHAPE, k), tmp_path / str(k) / "mask.nii.gz"))
    first, second = (default_folder([], path) for path in paths)
    assert first != second
    assert first.startswith("reconstruction_lesion-mask-")
    assert default_folder([], "a, b") == default_folder([], "b,a") != default_folder([], "ab")
