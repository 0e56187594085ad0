"""Confounds in each form that users have them; outliers censor volumes, and what holds no number is named."""

import logging

import numpy as np
import pandas as pd
import pytest
from nilearn.interfaces.fmriprep import load_confounds

from giblet.data.bold.confounds import per_run, read_confounds
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


@pytest.mark.parametrize("share", [0.5, 0.9, 1.0])
def test_a_column_that_censors_half_of_the_volumes_may_mean_those_kept_and_is_asked_about(tmp_path, share):
    """AFNI's censor.1D holds 1 for the volumes that are kept."""
    made = table().assign(censor=(np.arange(N) < share * N).astype(int))
    made.to_csv(tmp_path / "c.tsv", sep="\t", index=False, na_rep="n/a")
    told = rf"column 'censor' of .* 1 in {int(share * N)} of 40 volumes, .* swap 0 and 1, or .* a sample mask"
    for given in (tmp_path / "c.tsv", made):
        with pytest.raises(InputError, match=told) as caught:
            read_confounds(given, N, ["rot_z", "censor"])
        assert "\n" not in str(caught.value)
    if share == 0.9:
        swapped = read_confounds(made.assign(censor=1 - made["censor"]), N)
        assert swapped.sample_mask.tolist() == kept_without(36, 37, 38, 39)
    kept = read_confounds(made, N, ["rot_z"], made["censor"].to_numpy() == 1)
    assert kept.sample_mask.sum() == int(share * N)


def test_fewer_marks_than_half_and_any_number_of_single_ones_censor():
    made = table(outliers=range(5, 30))
    assert read_confounds(made, N).sample_mask.tolist() == kept_without(*range(5, 30))
    made = table().assign(outliers=(np.arange(N) < 19).astype(int))
    assert read_confounds(made, N).sample_mask.tolist() == kept_without(*range(19))


@pytest.mark.parametrize("rows", [[4, 9], range(10, 40)])
def test_zeros_and_ones_of_another_name_are_regressed_with_a_word_on_both_readings(caplog, rows):
    made = table().assign(framewise_displacement=np.isin(np.arange(N), rows).astype(int))
    with caplog.at_level(logging.WARNING):
        found = read_confounds(made, N)
    assert found.sample_mask.all() and found.regressors.shape[1] == 4
    (record,) = caplog.records
    said = record.getMessage()
    assert f"column 'framewise_displacement' of the confounds table holds only 0 and 1, and 1 in {len(rows)}" in said
    assert "put 'outlier' into its name" in said and "sample mask" in said
    caplog.clear()
    read_confounds(table().assign(constant=1, nothing=0, half=np.arange(N) % 3 / 2), N)
    assert not caplog.text


def test_each_reason_says_how_many_volumes_it_censors():
    mask, empty = np.delete(np.arange(N), [0, 1]), np.arange(N) == 38
    found = read_confounds(table(outliers=[5, 8], steady=[0]), N, None, mask, empty=empty)
    assert found.sample_mask.tolist() == kept_without(0, 1, 5, 8, 38)
    assert found.why == (
        "2 by the sample mask",
        "1 without a number (volumes 38)",
        "3 by motion_outlier00, motion_outlier01, non_steady_state_outlier00",
    )
    assert read_confounds(table(), N).why == ()


def test_a_volume_without_numbers_in_the_scan_needs_none_here():
    made, empty = table(), np.arange(N) == 12
    made.loc[12] = np.nan
    assert read_confounds(made, N, empty=empty).sample_mask.tolist() == kept_without(12)
    with pytest.raises(InputError, match="has no number in row 13"):
        read_confounds(made, N)
    made.loc[20, "rot_z"] = np.nan
    with pytest.raises(InputError, match="'rot_z' has no number in row 21"):
        read_confounds(made, N, empty=empty)


def test_points_are_read_as_points_though_the_scan_has_commas(tmp_path):
    made, columns = table(outliers=[7]), ["trans_x*", "rot_z", "motion_outlier*"]
    expected = read_confounds(made, N, columns)
    for name, options in [
        ("points.tsv", {"sep": "\t"}),
        ("points.csv", {}),
        ("commas.tsv", {"sep": "\t", "decimal": ","}),
        ("commas.csv", {"sep": ";", "decimal": ","}),
    ]:
        made.to_csv(tmp_path / name, index=False, na_rep="n/a", **options)
        found = read_confounds(tmp_path / name, N, columns, decimal=",")
        np.testing.assert_allclose(found.regressors, expected.regressors, rtol=1e-12)
        assert found.sample_mask.tolist() == kept_without(7)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ("0,5", "1.25", "'1.25', not a number; decimals are set off by ','"),  # one is wrong, and nobody knows which
        ("1.234", "5.678", "'1.234', not a number"),  # may be thousands
    ],
)
def test_points_that_may_stand_between_thousands_are_not_read_as_points(tmp_path, first, second, message):
    rows = [f"{first}\t{k}" for k in range(N - 1)] + [f"{second}\t7"]
    (tmp_path / "c.tsv").write_text("a\tb\n" + "\n".join(rows) + "\n")
    with pytest.raises(InputError, match=message):
        read_confounds(tmp_path / "c.tsv", N, ["a", "b"], decimal=",")


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
