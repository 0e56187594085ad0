"""Confounds by nilearn's named strategies: the same design as nilearn's, and BOLD cleaned as it should be."""

import shutil
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from nilearn import signal
from nilearn.interfaces.fmriprep import load_confounds, load_confounds_strategy

from giblet.data.bold.confounds import read_confounds
from giblet.data.bold.strategies import strategy_confounds
from giblet.data.fmri import FMRIProcessor
from giblet.errors import InputError
from tests.bids_tree import MNI_FILE, confounds, write_confounds, write_image

N_TRS, TR = 120, 1.5
REAL = Path(__file__).parents[4] / "shared" / "fmri" / "fmriprep" / "nilearn"


def made(folder: Path, table: pd.DataFrame, scan: str = f"{MNI_FILE}_desc-preproc"):
    """A table of confounds, and where its scan would be."""
    path = write_confounds(folder / "sub-01_task-film_run-1_desc-confounds_timeseries.tsv", table)
    return path, folder / f"sub-01_task-film_run-1_{scan}_bold.nii.gz"


def scrubbed_ends() -> pd.DataFrame:
    """The head moved in the first and last volumes, and once between."""
    table = confounds(N_TRS, seed=3)
    for volume in (0, 1, 60, N_TRS - 2, N_TRS - 1):
        table.loc[volume, ["framewise_displacement", "std_dvars"]] = 3.0, 8.0
    return table


@pytest.mark.parametrize(
    ("strategy", "options"),
    [
        ("simple", {}),
        ("simple", {"motion": "basic", "global_signal": "basic"}),
        ("scrubbing", {}),
        ("scrubbing", {"fd_threshold": 0.5, "scrub": 0}),
        ("ica_aroma", {}),
    ],
)
def test_a_strategy_gives_the_design_and_the_mask_of_nilearn(tmp_path, strategy, options):
    kind = "space-MNI152NLin6Asym_desc-smoothAROMAnonaggr" if strategy == "ica_aroma" else f"{MNI_FILE}_desc-preproc"
    table, scan = made(tmp_path, scrubbed_ends(), kind)
    own, kept = strategy_confounds(table, scan, strategy, options)
    theirs, mask = load_confounds_strategy(str(scan), denoise_strategy=strategy, **options)
    pd.testing.assert_frame_equal(own, theirs)
    assert kept.tolist() == (list(range(N_TRS)) if mask is None else mask.tolist())
    assert own.shape[1] > 2 and (strategy != "scrubbing" or 0 < N_TRS - len(kept) < 60)


def test_compcor_reads_the_json_beside_the_table(tmp_path):
    table = confounds(N_TRS, dummies=2)
    rng = np.random.default_rng(0)
    about = {}
    for k in range(4):
        table[f"a_comp_cor_{k:02d}"] = rng.standard_normal(N_TRS)
        about[f"a_comp_cor_{k:02d}"] = {"Mask": "combined", "Method": "aCompCor", "Retained": True}
    path, scan = made(tmp_path, table)
    path.with_suffix(".json").write_text(pd.Series(about).to_json())
    own, kept = strategy_confounds(path, scan, "compcor")
    theirs, mask = load_confounds(
        str(scan), strategy=("motion", "high_pass", "compcor"), motion="full", compcor="anat_combined", n_compcor="all"
    )
    pd.testing.assert_frame_equal(own, theirs)
    assert kept.tolist() == mask.tolist() == list(range(2, N_TRS))
    path.with_suffix(".json").unlink()
    with pytest.raises(InputError, match=r"cannot read .*compcor"):
        strategy_confounds(path, scan, "compcor")


@pytest.mark.skipif(not REAL.is_dir(), reason="real tables of fMRIPrep are not beside the checkout")
@pytest.mark.parametrize("name", ["test-v21_desc-confounds_timeseries.tsv", "test_desc-confounds_regressors.tsv"])
@pytest.mark.parametrize("strategy", ["simple", "scrubbing"])
def test_real_tables_of_fmriprep_give_the_design_of_nilearn(tmp_path, name, strategy):
    table = tmp_path / f"sub-01_{name.partition('_')[2]}"
    shutil.copy(REAL / name, table)
    shutil.copy(REAL / name.replace(".tsv", ".json"), table.with_suffix(".json"))
    scan = tmp_path / "sub-01_space-MNI_desc-preproc_bold.nii.gz"
    options = {"motion": "basic", "wm_csf": "basic"} if strategy == "simple" else {"motion": "basic"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs, mask = load_confounds_strategy(str(scan), denoise_strategy=strategy, motion="basic")
        own, kept = strategy_confounds(table, scan, strategy, {"motion": options["motion"]})
    pd.testing.assert_frame_equal(own, theirs)
    every = np.arange(len(pd.read_csv(table, sep="\t")))
    assert kept.tolist() == (every if mask is None else mask).tolist()
    read = read_confounds(own, len(own), sample_mask=kept) if len(kept) > own.shape[1] + 1 else None
    assert read is None or (np.isfinite(read.regressors).all() and read.sample_mask.sum() == len(kept))


def test_dummy_scans_are_left_out_beside_what_nilearn_leaves_out(tmp_path):
    table, scan = made(tmp_path, scrubbed_ends())
    _, kept = strategy_confounds(table, scan, "scrubbing", {"scrub": 0})
    _, fewer = strategy_confounds(table, scan, "scrubbing", {"scrub": 0}, dummy_scans=7)
    assert fewer.tolist() == [volume for volume in kept if volume >= 7] and len(fewer) < len(kept)


def cleaned(folder: Path, values: np.ndarray, **options) -> tuple[np.ndarray, np.ndarray]:
    """BOLD that the processor read, and whether each volume was kept."""
    volumes = np.zeros((2, 3, 1, len(values)), np.float32)
    volumes.reshape(6, -1)[:] = values.T
    scan = write_image(folder / "bold.nii.gz", volumes, TR)
    mask = write_image(folder / "mask.nii.gz", np.ones((2, 3, 1), np.uint8))
    confounds_given = options.pop("confounds")
    bold = FMRIProcessor(mask, **options).load(scan, confounds=[confounds_given])
    keep = bold["sample_mask"].values if "sample_mask" in bold else np.ones(len(values), bool)
    return bold["bold"].values, keep


def noise(seed: int = 0) -> np.ndarray:
    return (1 + np.random.default_rng(seed).standard_normal((N_TRS, 6))).astype(np.float32)


@pytest.mark.parametrize("strategy", ["simple", "scrubbing"])
def test_cleaned_bold_is_that_of_nilearn_with_the_cosine_filter(tmp_path, strategy):
    table, scan = made(tmp_path, scrubbed_ends().drop(columns="cosine00"))
    options = {"scrub": 0} if strategy == "scrubbing" else {}
    design, kept = strategy_confounds(table, scan, strategy, options)
    values = noise()
    own, keep = cleaned(tmp_path, values, confounds=(design, kept), high_pass=1 / 60)
    assert np.flatnonzero(keep).tolist() == kept.tolist()
    theirs = signal.clean(
        values.astype(float), confounds=design, sample_mask=kept, detrend=False, standardize=None, filter="cosine",
        high_pass=1 / 60, t_r=TR,
    )  # fmt: skip
    # The cosines of the whole scan, of half a period and more, down to one minute.
    n_drifts = int(2 * N_TRS * TR / 60)
    drifts = np.cos(np.pi * np.outer(np.arange(N_TRS) + 0.5, np.arange(1, n_drifts + 1)) / N_TRS)
    x = np.c_[np.ones(N_TRS), drifts, design.to_numpy()][kept]
    right = values[kept] - x @ np.linalg.lstsq(x, values[kept].astype(float), rcond=None)[0]
    left = own[kept] - own[kept].mean(axis=0, dtype=float)
    np.testing.assert_allclose(left, right, atol=1e-6)
    np.testing.assert_allclose(left, theirs - theirs.mean(axis=0), atol=1e-6)


def test_scrubbed_volumes_at_both_ends_change_nothing_in_what_is_kept(tmp_path):
    table, scan = made(tmp_path, scrubbed_ends())
    design, kept = strategy_confounds(table, scan, "scrubbing", {"scrub": 0})
    quiet, loud = noise(), noise()
    gone = np.setdiff1d(np.arange(N_TRS), kept)
    assert {0, N_TRS - 1} <= set(gone)
    loud[gone] += 1000 * np.random.default_rng(1).standard_normal((len(gone), 6)).astype(np.float32)
    options = {"confounds": (design, kept), "detrend": True, "high_pass": 1 / 60}
    both = [cleaned(tmp_path, one, **options)[0] for one in (quiet, loud)]
    np.testing.assert_array_equal(both[0], both[1])
    assert np.isnan(both[1][gone]).all() and np.isfinite(both[1][kept]).all()
    # which nilearn's Butterworth does not do: what was scrubbed at the ends is in what is kept
    theirs = [
        signal.clean(one.astype(float), sample_mask=kept, detrend=False, standardize=None, filter="butterworth",
                     high_pass=1 / 60, t_r=TR)
        for one in (quiet, loud)
    ]  # fmt: skip
    assert np.abs(theirs[0] - theirs[1]).max() > 10


def test_what_a_strategy_cannot_use_is_one_error(tmp_path):
    table, scan = made(tmp_path, confounds(N_TRS))
    for bad, message in (
        (lambda: strategy_confounds(table, scan, "ica_aroma"), "smoothAROMAnonaggr"),
        (lambda: strategy_confounds(table, scan, "simple", {"fd_threshold": 0.5}), "confound_options: .*fd_threshold"),
        (lambda: strategy_confounds(table, scan, "simple", {"motion": "most"}), "cannot read"),
        (lambda: strategy_confounds(table.rename(tmp_path / "c.tsv"), scan, "simple"), "desc-confounds_timeseries"),
    ):
        with pytest.raises(InputError, match=message):
            bad()
