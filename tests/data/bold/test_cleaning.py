"""Cleaning is nilearn's on the volumes that are kept, and names columns of which it leaves nothing."""

import logging

import numpy as np
import pandas as pd
import pytest
from nilearn import signal
from scipy import stats

from giblet.data.bold.cleaning import clean_run, find_bad, independent, regressors_of
from giblet.data.fmri import FMRIProcessor
from giblet.errors import InputError
from giblet.features import load_features, save_features

N, TR = 90, 2.0


@pytest.fixture
def run():
    """Volumes with drifts, two confounds, and a mask that leaves volumes out at both ends and between."""
    rng = np.random.default_rng(5)
    time = np.arange(N) / N
    confounds = rng.standard_normal((N, 2))
    values = 800 + rng.standard_normal((N, 6)) + 3 * confounds[:, :1] + 4 * np.cos(3 * time)[:, None]
    keep = np.ones(N, bool)
    keep[[0, 1, 40, 41, 42, 60, N - 1]] = False
    return values.astype(np.float32), confounds, keep


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("high_pass", [None, 0.012])
def test_censored_volumes_are_left_out_as_nilearn_leaves_them_out(run, high_pass, standardize):
    values, confounds, keep = run
    found = values.copy()
    clean_run(found, tr=TR, confounds=confounds, high_pass=high_pass, standardize=standardize, keep=keep)
    expected = signal.clean(
        values.astype(float), sample_mask=np.flatnonzero(keep), confounds=confounds, detrend=False,
        filter="cosine" if high_pass else False, high_pass=high_pass, t_r=TR,
        standardize="zscore_sample" if standardize else None,
    )  # fmt: skip
    np.testing.assert_allclose(found[keep], expected, atol=1e-4)
    np.testing.assert_array_equal(found[~keep], values[~keep])


def test_what_censored_volumes_hold_changes_nothing(run):
    values, confounds, keep = run
    options = {"tr": TR, "detrend": True, "high_pass": 0.012, "standardize": True, "keep": keep}
    one, other = values.copy(), values.copy()
    other[~keep] = np.nan
    shaken = confounds.copy()
    shaken[~keep] = 1e6
    clean_run(one, confounds=confounds, **options)
    clean_run(other, confounds=shaken, **options)
    np.testing.assert_allclose(one[keep], other[keep], atol=1e-5)


def test_a_straight_line_is_straight_across_censored_volumes():
    # nilearn's detrend closes the gap first, and leaves 16 of this line.
    keep = np.ones(60, bool)
    keep[20:30] = False
    noise = np.random.default_rng(0).standard_normal((60, 1))
    run = (1000 + 3 * np.arange(60)[:, None] + noise).astype(np.float32)
    clean_run(run, tr=TR, detrend=True, keep=keep)
    time = np.arange(60)[keep]
    line = stats.linregress(time, noise[keep, 0])
    np.testing.assert_allclose(run[keep, 0], noise[keep, 0] - line.intercept - line.slope * time, atol=1e-3)


def test_regressors_are_independent_of_each_other_and_of_the_mean():
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal((2, N))
    columns = np.c_[a, b, a + b, 2 * a, np.full(N, 1e6) + 1e-9 * a, 1e6 + a, np.zeros(N)]
    assert len(independent(columns)) == 2 == np.linalg.matrix_rank(columns - columns.mean(axis=0), tol=1e-3)
    assert len(independent(np.zeros((N, 0)))) == 0
    taken = regressors_of(N, TR, np.c_[np.arange(N), a], detrend=True, high_pass=0.01)
    assert taken.shape == (N, 1 + int(2 * N * TR * 0.01) + 1), "line, cosines and a: the line came twice"


def test_confounds_that_leave_nothing_are_refused_and_few_degrees_of_freedom_told(caplog):
    rng = np.random.default_rng(2)
    run = rng.standard_normal((50, 3)).astype(np.float32)
    confounds = rng.standard_normal((50, 48))
    with pytest.raises(InputError, match=r"run-4: mean, drifts and confounds take 50 of the 50 degrees of freedom"):
        clean_run(run.copy(), tr=TR, confounds=confounds, detrend=True, source="run-4")
    keep = np.arange(50) >= 10
    with pytest.raises(InputError, match=r"take 40 of the 40 degrees of freedom.*censor fewer volumes"):
        clean_run(run.copy(), tr=TR, confounds=confounds[:, :39], keep=keep)
    with caplog.at_level(logging.WARNING):
        clean_run(run.copy(), tr=TR, confounds=np.repeat(confounds[:, :10], 8, axis=1), detrend=True)
    assert not caplog.text, "80 columns, of which 10 say something"
    with caplog.at_level(logging.WARNING):
        clean_run(run.copy(), tr=TR, confounds=confounds[:, :40], source="run-4")
    assert "run-4: mean, drifts and confounds take 41 of the 50 degrees of freedom" in caplog.text


def test_a_high_pass_faster_than_the_scan_is_refused():
    with pytest.raises(InputError, match=r"high_pass is 0\.3 Hz: at a TR of 2 s it must be below 0\.25 Hz"):
        clean_run(np.random.default_rng(0).standard_normal((50, 2)).astype(np.float32), tr=TR, high_pass=0.3)


@pytest.mark.parametrize("scale", [1e-6, 1, 1e5])
def test_columns_are_bad_by_what_they_vary_against_their_size(scale):
    rng = np.random.default_rng(0)
    run = np.float32(scale) * np.float32(1000 + rng.standard_normal((N, 4)))
    run[:, 1] = np.nextafter(run[0, 1], np.float32(np.inf))
    run[::2, 1] = run[0, 1]  # two neighbouring numbers: rounding
    run[3, 2] = np.nan
    keep = np.arange(N) != 3
    assert find_bad([run]).any.tolist() == [False, True, True, False]
    assert find_bad([run], [keep]).any.tolist() == [False, True, False, False]


@pytest.fixture
def regions(tmp_path):
    """A table of which region "dead" moves in two volumes only, and "moved" is what a confound says."""
    rng = np.random.default_rng(8)
    table = pd.DataFrame(1000 + rng.standard_normal((N, 2)), columns=["a", "b"])
    table["dead"] = 0.0
    table.loc[[30, 31], "dead"] = [5.0, -2.0]
    confounds = pd.DataFrame({"csf": rng.standard_normal(N)})
    table["moved"] = 500 + 7 * confounds["csf"]
    for number, row in enumerate((30, 31)):
        confounds[f"motion_outlier{number:02d}"] = (np.arange(N) == row).astype(int)
    table.to_csv(tmp_path / "sub-9_bold.tsv", sep="\t", index=False)
    return tmp_path / "sub-9_bold.tsv", confounds


@pytest.mark.parametrize("options", [{"standardize": True}, {"detrend": True}, {"high_pass": 0.01}])
def test_columns_of_which_cleaning_leaves_rounding_are_bad(regions, options):
    path, confounds = regions
    with pytest.raises(InputError, match=r"1 of 4 regions are bad \(0 with NaN or infinity, 1 constant.*: dead"):
        FMRIProcessor(tr=TR, **options).load(path, confounds=confounds)
    chosen = {"columns": ["a", "b", "moved"], "tr": TR, **options}
    with pytest.raises(InputError, match=r"1 of 3 regions are bad .*1 of which cleaning leaves nothing\): moved"):
        FMRIProcessor(**chosen).load(path, confounds=confounds)
    left = FMRIProcessor(tr=TR, bad="mask", **options).load(path, confounds=confounds)
    assert left.region.values.tolist() == ["a", "b"] and left.good.all()
    held = FMRIProcessor(tr=TR, bad="zero", **options).load(path, confounds=confounds)
    assert held.good.values.tolist() == [True, True, False, False]
    assert not held.bold.values[held.sample_mask.values][:, 2:].any()


@pytest.mark.parametrize("bad", ["mask", "zero"])
def test_a_scan_of_which_nothing_is_left_is_refused_whatever_becomes_of_bad_columns(regions, bad):
    path, confounds = regions
    fmri = FMRIProcessor(tr=TR, columns=["dead", "moved"], detrend=True, bad=bad)
    with pytest.raises(InputError, match=r"1 of 1 regions are bad .*leaves nothing\): moved; nothing remains"):
        fmri.load(path, confounds=confounds)


def test_censored_volumes_keep_their_place_as_nan(regions, tmp_path):
    path, confounds = regions
    fmri = FMRIProcessor(tr=TR, columns=["a", "b"], detrend=True, standardize=True)
    bold = fmri.load([path, path], confounds=[confounds, confounds[["csf"]]])
    assert bold.sizes["tr"] == 2 * N and bold.attrs["n_censored"] == 2 and bold.attrs["n_confounds"] == 1
    assert np.flatnonzero(~bold.sample_mask.values).tolist() == [30, 31]
    np.testing.assert_array_equal(np.isnan(bold.bold.values).all(axis=1), ~bold.sample_mask.values)
    for number in (1, 2):
        kept = bold.bold.values[bold.sample_mask.values & (bold.run.values == number)]
        np.testing.assert_allclose(kept.mean(axis=0), 0, atol=1e-6)
        np.testing.assert_allclose(kept.std(axis=0, ddof=1), 1, atol=1e-5)
    back = load_features(save_features(bold, tmp_path / "b.nc"))
    assert back.sample_mask.dtype == bool and (~back.sample_mask.values).sum() == 2
    assert "sample_mask" not in fmri.load(path, confounds=confounds[["csf"]])


def test_rows_without_any_number_are_censored_and_single_cells_are_bad(tmp_path, caplog):
    table = pd.DataFrame(np.random.default_rng(0).normal(50, 5, (N, 3)), columns=list("abc"))
    table.loc[[0, 17]] = np.nan
    path = tmp_path / "sub-1_bold.tsv"
    table.to_csv(path, sep="\t", index=False, na_rep="n/a")
    with caplog.at_level(logging.WARNING):
        bold = FMRIProcessor(tr=TR, detrend=True).load(path)
    assert "sub-1_bold.tsv: 2 of 90 volumes are censored: 2 without a number (volumes 0, 17)" in caplog.text
    assert np.flatnonzero(~bold.sample_mask.values).tolist() == [0, 17]
    table["c"] = np.nan
    table.to_csv(path, sep="\t", index=False, na_rep="n/a")
    with pytest.raises(InputError, match=r"1 of 3 regions are bad \(1 with NaN.*: c"):
        FMRIProcessor(tr=TR).load(path)
    table["c"] = 1.0 * np.arange(N)
    table.loc[[0, 17], "c"] = np.nan
    table.loc[5, "b"] = np.nan
    table.to_csv(path, sep="\t", index=False, na_rep="n/a")
    with pytest.raises(InputError, match=r"1 of 3 regions are bad \(1 with NaN.*: b"):
        FMRIProcessor(tr=TR).load(path)


def test_a_run_of_which_too_little_is_kept_is_refused(regions):
    path, _ = regions
    with pytest.raises(InputError, match=r"sub-9_bold\.tsv: 1 of 90 volumes are not censored"):
        FMRIProcessor(tr=TR).load(path, confounds=(None, np.array([4])))


def test_volumes_of_zeros_are_asked_about(tmp_path, caplog):
    values = np.random.default_rng(0).normal(50, 5, (N, 3))
    values[[8, 9]] = 0
    np.savetxt(tmp_path / "z.tsv", values, delimiter="\t", header="a\tb\tc", comments="")
    with caplog.at_level(logging.WARNING):
        bold = FMRIProcessor(tr=TR).load(tmp_path / "z.tsv")
    assert "z.tsv: volumes 8, 9 are 0 everywhere, and taken as data" in caplog.text
    assert "sample_mask" not in bold and not bold.bold.values[8:10].any()
