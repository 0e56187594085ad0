"""Confounds in each form that users have them; outliers censor volumes, and what holds no number is named."""

import numpy as np
import pandas as pd
import pytest
from nilearn.interfaces.fmriprep import load_confounds

from giblet.data.confounds import per_run, read_confounds
from giblet.errors import InputError

N = 40


def table(outliers=(), steady=(), seed=0):
    """As fMRIPrep writes it: one column for each volume censored."""
    rng = np.random.default_rng(seed)
    made = pd.DataFrame(rng.standard_normal((N, 2)), columns=["trans_x", "rot_z"])
    made["trans_x_derivative1"] = made["trans_x"].diff()
    for name, rows in (("motion_outlier", outliers), ("non_steady_state_outlier", steady)):
        for number, row in enumerate(rows):
            made[f"{name}{number:02d}"] = (np.arange(N) == row).astype(float)
    return made


def kept_without(*rows):
    return [row not in rows for row in range(N)]


def test_outlier_columns_censor_volumes_and_are_no_regressors(tmp_path):
    made = table(outliers=[7, 30], steady=[0])
    made.to_csv(tmp_path / "c.tsv", sep="\t", index=False, na_rep="n/a")
    patterns = ["trans_x*", "motion_outlier*", "non_steady_state_outlier*"]
    for given in (tmp_path / "c.tsv", made):
        found = read_confounds(given, N, patterns)
        assert found.sample_mask.tolist() == kept_without(0, 7, 30)
        np.testing.assert_allclose(found.regressors, made[["trans_x", "trans_x_derivative1"]].bfill(), rtol=1e-12)
    every = read_confounds(made, N)
    assert every.regressors.shape == (N, 3) and every.sample_mask.tolist() == kept_without(0, 7, 30)


def test_a_run_without_outliers_needs_no_outlier_columns(tmp_path):
    table().to_csv(tmp_path / "c.tsv", sep="\t", index=False, na_rep="n/a")
    found = read_confounds(tmp_path / "c.tsv", N, ["rot_?", "motion_outlier*", "non_steady_state*", "outlier*"])
    assert found.sample_mask.all() and found.regressors.shape == (N, 1)
    alone = read_confounds(tmp_path / "c.tsv", N, ["motion_outlier*"])
    assert alone.sample_mask.all() and alone.regressors.shape == (N, 0)
    with pytest.raises(InputError, match="has no column 'motion_outlir"):
        read_confounds(tmp_path / "c.tsv", N, ["rot_?", "motion_outlir*"])


def test_marks_of_other_makers_censor_too():
    rng, marks = np.random.default_rng(0), np.zeros((N, 3))
    marks[[4, 9, 9], [0, 1, 2]] = 1
    marks[10, 2] = 1
    made = pd.DataFrame(np.c_[rng.standard_normal(N), marks], columns=["csf", "spike1", "17", "outliers"])
    assert read_confounds(made, N).sample_mask.tolist() == kept_without(4, 9, 10)
    assert read_confounds(np.c_[rng.standard_normal(N), marks[:, :2]], N).sample_mask.tolist() == kept_without(4, 9)
    # Zeros and ones that are called otherwise, and outliers that are counted, are regressors.
    made = pd.DataFrame({"sleep": np.arange(N) > 25, "outlier_share": rng.random(N)})
    assert read_confounds(made, N).regressors.shape == (N, 2) and read_confounds(made, N).sample_mask.all()


def test_a_missing_number_matters_only_where_the_volume_is_kept():
    made = table(outliers=[12])
    made.loc[12, "trans_x"] = np.nan
    assert np.isnan(read_confounds(made, N).regressors[12, 0])
    made.loc[13, "trans_x"] = np.nan
    with pytest.raises(InputError, match="'trans_x' has no number in row 14, and 1 cells in all"):
        read_confounds(made, N)


@pytest.fixture
def fmriprep(tmp_path):
    """Two runs as fMRIPrep leaves them, and where their volumes are outliers."""
    images = []
    for run, rows in ((1, [5, 21]), (2, [])):
        made = table(seed=run)
        for name in ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z"):
            made[name] = np.random.default_rng(run).standard_normal(N)
        made["framewise_displacement"] = 0.1
        made["std_dvars"] = 1.0
        made.loc[rows, "framewise_displacement"] = 3.0
        stem = f"sub-1_task-film_run-{run}"
        image = tmp_path / f"{stem}_space-MNI_desc-preproc_bold.nii.gz"
        image.touch()
        made.to_csv(tmp_path / f"{stem}_desc-confounds_timeseries.tsv", sep="\t", index=False, na_rep="n/a")
        images.append(str(image))
    return images


def test_what_nilearn_loads_is_taken_as_it_is(fmriprep):
    options = {"strategy": ("motion", "scrub"), "motion": "basic", "scrub": 0, "fd_threshold": 0.5}
    both = load_confounds(fmriprep, **options)
    first, second = (read_confounds(t, N, None, m) for t, m in per_run(both, 2))
    assert first.sample_mask.tolist() == kept_without(5, 21) and second.sample_mask.all()
    np.testing.assert_array_equal(first.regressors, both[0][0])
    one = load_confounds(fmriprep[0], **options)
    for given in (one, [one]):
        ((found, mask),) = per_run(given, 1)
        assert read_confounds(found, N, None, mask).sample_mask.tolist() == kept_without(5, 21)
    ((found, mask),) = per_run(load_confounds(fmriprep[1], **options), 1)
    assert mask is None and read_confounds(found, N, None, mask).sample_mask.all()


def test_two_tables_are_of_two_runs_however_they_are_held():
    for given in ((table(), table()), [table(), table()], (table().to_numpy(), table().to_numpy())):
        pairs = per_run(given, 2)
        assert [mask for _, mask in pairs] == [None, None] and all(len(found) == N for found, _ in pairs)
    for given, n_runs, message in [
        (table(), 2, "2 runs and 1 confounds"),
        (([table(), table()], [None]), 2, "2 confounds tables and 1 sample masks"),
        ({"run-1": table()}, 1, "confounds are dict"),
        (3.5, 1, "confounds are float"),
    ]:
        with pytest.raises(InputError, match=message):
            per_run(given, n_runs)


def test_masks_alone_censor_too():
    flags = np.ones(N, bool)
    flags[3] = False
    assert read_confounds(None, N, None, flags).sample_mask.tolist() == kept_without(3)
    assert read_confounds(None, N, None, np.flatnonzero(flags)).sample_mask.tolist() == kept_without(3)
    for mask in (np.array([0, N]), np.array([-1, 3]), np.array([0.5, 2.0]), np.ones(N - 1, bool)):
        with pytest.raises(InputError, match="the sample mask is"):
            read_confounds(None, N, None, mask)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ("first", "column 'odd' of the confounds table .*'first'"),
        ("1,5", "column 'odd' of the confounds table"),
        (1 + 2j, "column 'odd' of the confounds table is complex128"),
        (pd.Timestamp("2020-01-01"), "column 'odd' of the confounds table is datetime64"),
        (pd.Timedelta("2s"), "column 'odd' of the confounds table is timedelta64"),
        ([1, 2], "column 'odd' of the confounds table"),
    ],
)
def test_a_column_that_holds_no_numbers_is_named(values, message):
    with pytest.raises(InputError, match=message) as caught:
        read_confounds(table().assign(odd=pd.Series([values] * N)), N)
    assert "\n" not in str(caught.value)


def test_numbers_of_all_sorts_are_confounds():
    made = pd.DataFrame({"flag": np.arange(N) % 3 == 0, "count": np.arange(N) % 7, "nullable": np.arange(N) % 5})
    made["nullable"] = made["nullable"].astype("Int64").where(made["nullable"].index > 0)
    found = read_confounds(made, N)
    np.testing.assert_array_equal(found.regressors[:3], [[1, 0, 1], [0, 1, 1], [0, 2, 2]])
    assert read_confounds(np.arange(N), N).regressors.shape == (N, 1)
    with pytest.raises(InputError, match="a DataFrame or an array"):
        read_confounds(np.zeros((2, N, 3)), N)


def test_collinear_confounds_count_once():
    made = np.random.default_rng(0).standard_normal((10, 4))
    read_confounds(np.c_[made, made * 2, made.sum(axis=1), np.full(10, 7)], 10)
    with pytest.raises(InputError, match="9 confounds and the mean for 10 volumes would explain everything"):
        read_confounds(np.random.default_rng(0).standard_normal((10, 9)), 10)
    with pytest.raises(InputError, match="4 confounds and the mean for 5 volumes"):
        read_confounds(made, 10, None, np.arange(5))
