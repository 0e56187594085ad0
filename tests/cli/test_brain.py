"""``giblet simulate`` and ``check-alignment``: what they find, and what they say of bad input."""

import json
import re
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import soundfile
import yaml

from giblet.alignment import convolve_hrf
from giblet.data.fmri import FMRIProcessor
from giblet.data.text import TextProcessor
from giblet.data.video import VideoSettings
from giblet.features import load_features, save_features
from giblet.pipeline import extract
from giblet.pipeline.decoding import decode

TR = 2.0


@pytest.fixture(scope="module")
def words(tmp_path_factory) -> Path:
    """A text feature file of 200 TRs, words at random times."""
    folder = tmp_path_factory.mktemp("words")
    onsets = np.sort(np.random.default_rng(0).uniform(0, 399, 500)).round(3)
    pd.DataFrame({"onset": onsets, "text": "word"}).drop_duplicates("onset").assign(duration=0.001).to_csv(
        folder / "words.tsv", sep="\t", index=False
    )
    features = TextProcessor(tr=TR, model=None, overlaps="allow", film_duration=400).extract(folder / "words.tsv")
    return save_features(features, folder / "talk_desc-text_features.nc")


@pytest.mark.parametrize("lag", [-6, 0, 2, 8])
def test_an_injected_lag_is_found_exactly_at_snr_1(giblet, words, tmp_path, lag):
    status, _, err = giblet("simulate", words, "-o", tmp_path, "--lag", lag, "--n-voxels", 9, "--snr", 1)
    assert (status, err) == (0, "")
    bold, mask = (
        tmp_path / "talk_desc-text_simulated_bold.nii.gz",
        tmp_path / "talk_desc-text_simulated_bold_mask.nii.gz",
    )
    status, said, err = giblet("check-alignment", words, bold, "--mask", mask, "--surrogates", 99, "--json")
    assert status == 0
    (found,) = json.loads(said)["regressors"]
    assert (found["regressor"], found["best_lag"], found["p"]) == ("word_rate", lag, 0.01)
    assert {one["best_lag"] for one in found["targets"]} == {lag}
    low, high = found["best_lag_interval"]
    assert low <= lag <= high and high - low < 3
    if abs(lag) > 2:  # what HRFs vary
        assert f"--stimulus-time-at-volume-0 {-lag}" in err and "95 % interval" in err
    else:
        assert (found["verdict"], err) == ("aligned", "")


@pytest.mark.parametrize("lag", [-6, 2.6, 2.9, 7.3, -3.0])
def test_the_time_at_volume_0_that_the_warning_names_brings_the_lag_to_0(lag, giblet, words, tmp_path):
    """TRs are 2 s: a lag between two of those that are scanned is told as what it is, within its interval."""
    giblet("simulate", words, "-o", tmp_path, "--table", "--n-voxels", 3, "--lag", lag)
    bold = tmp_path / "talk_desc-text_simulated_bold.tsv"
    argv = ["check-alignment", words, bold, "--surrogates", 99, "--trim"]
    status, said, err = giblet(*argv)
    peak, low, high = map(float, re.search(r"peak at (\S+) s, 95 % interval (\S+) to (\S+) s", said).groups())
    assert low <= peak <= high and abs(peak - lag) <= 0.25
    named = float(re.search(r"--stimulus-time-at-volume-0 (-?[\d.]+)", err)[1])
    assert named == -peak
    status, said, err = giblet(*argv, "--stimulus-time-at-volume-0", named)
    assert (status, err) == (0, "")
    assert "best lag +0 s" in said


def test_noise_alone_is_called_unclear_and_not_aligned(giblet, words, tmp_path):
    giblet("simulate", words, "-o", tmp_path, "--table", "--n-voxels", 1, "--snr", 0, "--seed", 3)
    bold = tmp_path / "talk_desc-text_simulated_bold.tsv"
    status, _, err = giblet("check-alignment", words, bold, "--surrogates", 199)
    assert status == 0
    assert "no lag stands out from chance" in err


def test_the_envelope_of_codes_finds_its_lag(giblet, tmp_path, speech):
    soundfile.write(tmp_path / "talk.wav", speech, 24_000)
    path = extract(tmp_path / "talk.wav", None, tmp_path).path
    argv = ["-o", tmp_path, "--table", "--n-voxels", 2, "--lag", 3, "--snr", 20, "--drift", 0]
    assert giblet("simulate", path, *argv, "--regressor", "envelope")[0] == 0
    bold = tmp_path / "talk_desc-encodec24k_simulated_bold.tsv"
    status, said, _ = giblet("check-alignment", path, bold, "--lags", "-6..6", "--surrogates", 99)
    assert status == 0
    assert said.startswith("envelope: best lag +3 s")


def test_the_envelope_of_a_part_of_a_film_lies_where_its_onsets_say(giblet, tmp_path, speech):
    """13.5 s are left out at the start; the BOLD is of the whole film."""
    soundfile.write(tmp_path / "talk.wav", speech, 24_000)
    path = extract(tmp_path / "talk.wav", None, tmp_path).path
    argv = ["--table", "--n-voxels", 2, "--snr", 20, "--drift", 0]
    assert giblet("simulate", path, "-o", tmp_path, *argv, "--regressor", "envelope")[0] == 0
    bold = tmp_path / "talk_desc-encodec24k_simulated_bold.tsv"
    part = save_features(load_features(path).isel(tr=slice(9, None)), tmp_path / "part_desc-encodec24k_features.nc")
    status, said, err = giblet("check-alignment", part, bold, "--lags", "-6..6", "--surrogates", 99)
    assert (status, err) == (0, "")
    assert said.startswith("envelope: best lag +0 s")
    decoded = decode(part, tmp_path / "part.wav")
    n_trs = load_features(part).sizes["tr"]
    assert decoded.duration == soundfile.info(decoded.path).duration == n_trs * 1.5, "no silence in place of the rest"


@pytest.mark.parametrize("more", [[], ["--regressor", "word_rate"]])
def test_a_scan_simulated_from_a_part_says_where_it_begins(giblet, words, tmp_path, more):
    part = save_features(load_features(words).isel(tr=slice(37, 160)), tmp_path / "part_desc-text_features.nc")
    argv = ["simulate", part, "-o", tmp_path, "--table", "--n-voxels", 2, "--snr", 5, *more]
    status, _, err = giblet(*argv)
    assert status == 0 and "begin at second 74 of their film" in err and "stimulus_time_at_volume_0=74" in err
    bold = tmp_path / "part_desc-text_simulated_bold.tsv"
    truth = load_features(tmp_path / "part_desc-text_simulated_bold_truth.nc")
    assert (float(truth["onset"][0]), truth.attrs["stimulus_time_at_volume_0"]) == (74.0, 74.0)
    for features in (words, part):
        status, said, err = giblet(
            "check-alignment", features, bold, "--stimulus-time-at-volume-0", 74, "--surrogates", 99, "--trim"
        )
        assert (status, err) == (0, "") and said.startswith("word_rate: best lag +0 s")
    status, _, err = giblet("check-alignment", part, bold, "--surrogates", 99)
    assert status == 2 and "word_rate is of second 74 to 320 of its film" in err


def test_the_luminance_of_a_real_film_finds_its_lag(giblet, film, tmp_path):
    path = extract(film, VideoSettings(tr=1.0, size=(18, 32)), tmp_path).path
    argv = ["-o", tmp_path, "--table", "--n-voxels", 4, "--lag", 3, "--snr", 10, "--drift", 0]
    assert giblet("simulate", path, *argv, "--regressor", "luminance")[0] == 0
    bold = tmp_path / "sintel_trailer_desc-video_simulated_bold.tsv"
    status, said, _ = giblet(
        "check-alignment", path, bold, "--lags", "-6..6", "--surrogates", 99, "--json", "--plot", tmp_path / "p.png"
    )
    assert status == 0
    light, motion = json.loads(said)["regressors"]
    assert (light["regressor"], light["best_lag"], light["p"]) == ("luminance", 3, 0.01)
    assert (motion["regressor"], motion["verdict"]) == ("luminance_change", "unclear")
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    status, _, err = giblet("simulate", path, *argv, "--regressor", "motion_energy")
    assert status == 2 and "motion_energy is now called luminance_change" in err


def test_the_tanh_mapping_is_recorded_in_the_truth(giblet, words, tmp_path):
    argv = ["--table", "--n-voxels", 2, "--snr", 50]
    for mapping in ("linear", "tanh"):
        assert giblet("simulate", words, "-o", tmp_path / mapping, *argv, "--mapping", mapping)[0] == 0
    linear, tanh = (
        load_features(tmp_path / mapping / "talk_desc-text_simulated_bold_truth.nc") for mapping in ("linear", "tanh")
    )
    assert (json.loads(tanh.attrs["settings"])["mapping"], json.loads(linear.attrs["settings"])["mapping"]) == (
        "tanh", "linear",
    )  # fmt: skip
    np.testing.assert_array_equal(tanh.weights, linear.weights)
    r = np.corrcoef(tanh.signal[:, 0], linear.signal[:, 0])[0, 1]
    assert 0.8 < r < 0.9999
    bold = tmp_path / "tanh" / "talk_desc-text_simulated_bold.tsv"
    status, said, err = giblet("check-alignment", words, bold, "--surrogates", 99)
    assert (status, err) == (0, "")
    assert "best lag +0 s" in said


def test_the_regions_of_an_atlas_are_scanned(giblet, words, tmp_path):
    assert giblet("simulate", words, "-o", tmp_path, "--n-voxels", 4, "--snr", 5, "--lag", 4)[0] == 0
    bold = tmp_path / "talk_desc-text_simulated_bold.nii.gz"
    scan = nib.load(bold)
    labels = np.arange(1, 1 + np.prod(scan.shape[:3])).reshape(scan.shape[:3]).astype(np.int16)
    nib.Nifti1Image(labels, scan.affine).to_filename(tmp_path / "atlas.nii.gz")
    argv = ["check-alignment", words, bold, "--atlas", tmp_path / "atlas.nii.gz", "--surrogates", 99, "--json"]
    status, said, _ = giblet(*argv, "--background-label", 2)
    (found,) = json.loads(said)["regressors"]
    assert status == 0 and {one["best_lag"] for one in found["targets"]} == {4}
    assert [one["name"] for one in found["targets"]] == [f"label-{k}" for k in labels.ravel() if k != 2]
    status, _, err = giblet(*argv, "--background-label", 77)
    assert status == 2 and "atlas.nii.gz holds no 77, the --background-label: it holds 1, 2, 3" in err


def test_an_index_column_is_left_out_with_the_option_that_the_message_names(giblet, words, tmp_path):
    giblet("simulate", words, "-o", tmp_path, "--table", "--n-voxels", 3, "--lag", 2)
    bold = tmp_path / "talk_desc-text_simulated_bold.tsv"
    table = pd.read_csv(bold, sep="\t")
    names = list(table.columns)
    table.insert(0, "time", np.arange(len(table)) * TR)
    table.to_csv(bold, sep="\t", index=False)
    argv = ["check-alignment", words, bold, "--surrogates", 99]
    status, _, err = giblet(*argv)
    asked = f"--columns {','.join(names)}"
    assert status == 2 and "column 'time' goes on in equal steps" in err and asked in err
    status, said, _ = giblet(*argv, *asked.split())
    assert status == 0 and "best lag +2 s" in said


@pytest.fixture
def moved(giblet, words, tmp_path) -> tuple[Path, Path, Path]:
    """Scan, mask and confounds of a head that turned with every second word: confounds hide the stimulus."""
    assert giblet("simulate", words, "-o", tmp_path, "--n-voxels", 4, "--snr", 5)[0] == 0
    bold = tmp_path / "talk_desc-text_simulated_bold.nii.gz"
    scan = nib.load(bold)
    turn = np.cumsum(np.random.default_rng(0).standard_normal(scan.shape[3])).astype(np.float32)
    turn = 20 * (turn - turn.mean()) / turn.std()
    nib.save(nib.Nifti1Image(scan.get_fdata(dtype=np.float32) + turn, scan.affine, scan.header), bold)
    pd.DataFrame({"trans_x": turn, "rot_z": 0.1 * np.sin(np.arange(len(turn)))}).to_csv(
        tmp_path / "confounds.tsv", sep="\t", index=False
    )
    return bold, tmp_path / "talk_desc-text_simulated_bold_mask.nii.gz", tmp_path / "confounds.tsv"


def test_confounds_are_taken_out_before_the_lag_is_looked_for(giblet, words, moved):
    bold, mask, confounds = moved
    argv = ["check-alignment", words, bold, "--mask", mask, "--surrogates", 99, "--json", "--no-high-pass"]
    before = json.loads(giblet(*argv)[1])["regressors"][0]
    assert before["verdict"] == "unclear"
    with_them = [*argv, "--confounds", confounds]
    for columns in ("trans_?,rot_?", "trans_x"):
        status, said, err = giblet(*with_them, "--confound-columns", columns)
        assert (status, err) == (0, "")
        after = json.loads(said)["regressors"][0]
        assert (after["best_lag"], after["verdict"]) == (0, "aligned")
        assert after["r"] > before["r"]


def test_a_high_pass_takes_out_a_slow_drift(giblet, words, tmp_path):
    assert giblet("simulate", words, "-o", tmp_path, "--table", "--n-voxels", 1, "--snr", 5)[0] == 0
    bold = tmp_path / "talk_desc-text_simulated_bold.tsv"
    table = pd.read_csv(bold, sep="\t")
    table += 20 * np.sin(2 * np.pi * np.arange(len(table)) * TR / 250)[:, None]
    table.to_csv(bold, sep="\t", index=False)
    argv = ["check-alignment", words, bold, "--surrogates", 99, "--json"]
    before = json.loads(giblet(*argv, "--no-high-pass")[1])["regressors"][0]
    assert (before["verdict"], before["high_pass"]) == ("unclear", None)
    after = json.loads(giblet(*argv)[1])["regressors"][0]
    assert (after["best_lag"], after["verdict"], after["high_pass"]) == (0, "aligned", 1 / 128)


def test_words_that_outlast_the_scan_are_refused_and_trimmed_when_asked(giblet, words, tmp_path):
    assert giblet("simulate", words, "-o", tmp_path, "--table", "--n-voxels", 2, "--snr", 5)[0] == 0
    bold = tmp_path / "talk_desc-text_simulated_bold.tsv"
    pd.read_csv(bold, sep="\t")[:120].to_csv(bold, sep="\t", index=False)
    argv = ["check-alignment", words, bold, "--surrogates", 99]
    status, said, err = giblet(*argv)
    assert (status, said) == (2, "")
    assert "the BOLD has 120 volumes (240 s), word_rate lasts 400 s" in err
    assert "--trim" in err
    status, said, err = giblet(*argv, "--trim")
    assert (status, err) == (0, "")
    assert "best lag +0 s" in said


def test_a_plot_is_drawn_and_replaces_no_file_unasked_and_an_unknown_kind_is_refused(giblet, words, tmp_path):
    pytest.importorskip("matplotlib")
    giblet("simulate", words, "-o", tmp_path, "--table", "--n-voxels", 3)
    bold = tmp_path / "talk_desc-text_simulated_bold.tsv"
    assert giblet("check-alignment", words, bold, "--surrogates", 19, "--plot", tmp_path / "p.png")[0] == 0
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    (tmp_path / "mine.png").write_text("mine")
    argv = ["check-alignment", words, bold, "--surrogates", 19, "--plot", tmp_path / "mine.png"]
    status, said, err = giblet(*argv)
    assert (status, said, len(err.splitlines())) == (2, "", 1) and "mine.png already exists" in err
    assert (tmp_path / "mine.png").read_text() == "mine"
    assert giblet(*argv, "--overwrite")[0] == 0
    assert (tmp_path / "mine.png").read_bytes().startswith(b"\x89PNG")
    status, _, err = giblet("check-alignment", words, bold, "--surrogates", 19, "--plot", tmp_path / "p.doc")
    assert (status, len(err.splitlines())) == (2, 1)


def test_without_matplotlib_the_extra_is_named(giblet, words, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    (tmp_path / "bold.tsv").touch()
    status, _, err = giblet("check-alignment", words, tmp_path / "bold.tsv", "--plot", tmp_path / "p.png")
    assert (status, len(err.splitlines())) == (2, 1)
    assert "pip install 'giblet[plot]'" in err


@pytest.fixture
def mid_tr(words, tmp_path) -> Path:
    """A table of BOLD that answers to the words 0.6 TR after the onset of each volume."""
    rate = load_features(words)["word_rate"].values.astype(np.float64)
    response = convolve_hrf(rate - rate.mean(), tr=TR, slice_time_ref=0.6, kind="continuous")
    noise = np.random.default_rng(5).standard_normal((200, 3))
    bold = response[:, None] / response.std() + 0.5 * noise
    pd.DataFrame(bold, columns=list("abc")).to_csv(tmp_path / "sub-01_bold.tsv", sep="\t", index=False)
    return tmp_path / "sub-01_bold.tsv"


def test_slice_timing_comes_from_the_sidecar_or_the_option_and_is_printed(giblet, words, mid_tr):
    argv = ["check-alignment", words, mid_tr, "--tr", TR, "--surrogates", 99]

    def found(*more):
        status, said, _ = giblet(*argv, *more, "--json")
        assert status == 0
        return json.loads(said)["regressors"][0]

    plain, given = found(), found("--slice-time-ref", 0.6)
    assert (plain["slice_time_ref"], given["slice_time_ref"]) == (0, 0.6)
    assert given["r"] > plain["r"] + 0.02 and given["best_lag"] == 0
    mid_tr.with_suffix(".json").write_text(json.dumps({"RepetitionTime": TR, "StartTime": 1.2}))
    beside = found()
    assert (beside["slice_time_ref"], beside["r"]) == (0.6, given["r"])
    assert found("--slice-time-ref", 0)["r"] == plain["r"]
    status, said, _ = giblet(*argv)
    assert "186 of 200 volumes of 2 s, drifts slower than 128 s out, prewhitened, read 0.6 TR after their onset" in said
    status, _, err = giblet(*argv, "--slice-time-ref", 1.2)
    assert (status, len(err.splitlines())) == (2, 1) and "--slice-time-ref is 1.2" in err


def test_a_table_that_does_not_say_its_tr_is_asked_for_it(giblet, words, mid_tr):
    """Never the features': a table of TR 1 s would pass for one of 2 s, half as long."""
    status, said, err = giblet("check-alignment", words, mid_tr, "--surrogates", 19)
    assert (status, said, len(err.splitlines())) == (2, "", 1)
    assert "carries no TR" in err and "sub-01_bold.json" in err
    mid_tr.with_suffix(".json").write_text(json.dumps({"RepetitionTime": 1.0}))
    status, _, err = giblet("check-alignment", words, mid_tr, "--surrogates", 19)
    assert status == 2 and "200 volumes (200 s), word_rate lasts 400 s" in err
    status, _, err = giblet("check-alignment", words, mid_tr, "--tr", TR, "--surrogates", 19)
    assert (status, len(err.splitlines())) == (2, 1) and "sidecar of sub-01_bold.tsv says TR 1 s" in err
    status, _, err = giblet("check-alignment", words, mid_tr, "--tr", TR, "--overrule-tr", "--surrogates", 19)
    assert status == 0


def test_simulated_tables_say_their_tr(giblet, words, tmp_path):
    assert giblet("simulate", words, "-o", tmp_path, "--table", "--n-voxels", 2, "--snr", 5)[0] == 0
    bold = tmp_path / "talk_desc-text_simulated_bold.tsv"
    assert json.loads(bold.with_suffix(".json").read_text())["RepetitionTime"] == TR
    assert FMRIProcessor().load(bold).attrs["tr"] == TR


def test_volumes_that_confounds_censor_are_not_looked_at(giblet, words, mid_tr, tmp_path):
    table = pd.read_csv(mid_tr, sep="\t")
    table.iloc[[30, 77]] = 500.0
    table.to_csv(mid_tr, sep="\t", index=False)
    marks = pd.DataFrame({"motion_outlier00": np.eye(200)[30], "motion_outlier01": np.eye(200)[77]})
    marks.to_csv(tmp_path / "confounds.tsv", sep="\t", index=False)
    argv = ["check-alignment", words, mid_tr, "--tr", TR, "--slice-time-ref", 0.6, "--surrogates", 99, "--json"]
    foul = json.loads(giblet(*argv)[1])["regressors"][0]
    argv += ["--confounds", tmp_path / "confounds.tsv", "--confound-columns", "motion_outlier*"]
    clean = json.loads(giblet(*argv)[1])["regressors"][0]
    assert (foul["verdict"], clean["verdict"]) == ("unclear", "aligned")
    assert (foul["n_volumes"], clean["n_volumes"]) == (186, 184)


@pytest.mark.parametrize("order", ["bold first", "image first", "features last", "only features"])
def test_files_in_each_others_place_are_told_in_one_line(giblet, words, mid_tr, tmp_path, order):
    files = {
        "bold first": [mid_tr, words],
        "image first": [image(tmp_path / "scan.nii.gz", (2, 2, 2, 200)), words],
        "features last": [words, mid_tr, words],
        "only features": [words, words],
    }[order]
    status, said, err = giblet("check-alignment", *files, "--surrogates", 19)
    assert (status, said, len(err.splitlines())) == (2, "", 1)
    assert "feature files come first, and the BOLD last" in err


def test_an_offset_at_extraction_or_at_the_check_gives_nearly_the_same_lag(giblet, tmp_path):
    """The first volumes' words were cut at extraction, so that r is not the same to the last digit."""
    onsets = np.sort(np.random.default_rng(2).uniform(0, 420, 500)).round(3)
    pd.DataFrame({"onset": onsets, "duration": 0.001, "text": "word"}).drop_duplicates("onset").to_csv(
        tmp_path / "talk.tsv", sep="\t", index=False
    )
    made = {}
    for offset in (0.0, 20.0):
        made[offset] = TextProcessor(
            tr=TR,
            model=None,
            overlaps="allow",
            duration_column="duration",
            table_time_at_tr_0=offset,
            film_duration=420 - offset,
        ).extract(tmp_path / "talk.tsv")
        save_features(made[offset], tmp_path / f"from_{offset:g}.nc")
    rate = made[0.0]["word_rate"].values.astype(np.float64)
    response = convolve_hrf(rate - rate.mean(), tr=TR, kind="continuous")[10:]
    noise = np.random.default_rng(3).standard_normal((200, 2))
    bold = tmp_path / "bold.tsv"
    table = pd.DataFrame(response[:, None] / response.std() + noise, columns=["a", "b"])
    table.to_csv(bold, sep="\t", index=False)
    argv = ["--tr", TR, "--surrogates", 99, "--json"]
    one, other = (
        json.loads(
            giblet(
                "check-alignment", tmp_path / f"from_{made:g}.nc", bold, "--stimulus-time-at-volume-0", given, *argv
            )[1]
        )
        for made, given in ((0, 20), (20, 0))
    )
    first, second = one["regressors"][0], other["regressors"][0]
    assert first["best_lag"] == second["best_lag"] == 0
    assert first["r"] == pytest.approx(second["r"], abs=0.03)
    status, _, err = giblet("check-alignment", tmp_path / "from_20.nc", bold, "--stimulus-time-at-volume-0", 20, *argv)
    assert (status, len(err.splitlines())) == (2, 1)
    assert "from_20.nc: talk.tsv was extracted with table_time_at_tr_0=20" in err
    assert "--stimulus-time-at-volume-0 20 would shift it again" in err
    assert "--stimulus-time-at-volume-0 40" in err


def image(path: Path, shape: tuple[int, ...], affine: np.ndarray | None = None) -> Path:
    data = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    made = nib.Nifti1Image(
        data if len(shape) == 4 else np.ones(shape, np.float32), np.eye(4) if affine is None else affine
    )
    if len(shape) == 4:
        made.header.set_xyzt_units("mm", "sec")
        made.header.set_zooms((1, 1, 1, TR))
    nib.save(made, path)
    return path


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("short", "the BOLD has 150 volumes (300 s), word_rate lasts 400 s"),
        ("3-D", "3"),
        ("mask shape", "mask"),
        ("mask affine", "affine"),
        ("no mask", "mask"),
        ("header TR", "TR"),
        ("missing", "no such scan"),
        ("missing features", "no such feature file"),
        ("constant", "constant"),
        ("no column", "no column 'nowhere'"),
        ("lags", "--lags"),
        ("high pass", "--high-pass is 0.3 Hz"),
        ("confounds of another length", "confounds"),
        ("confounds without a file", "confound"),
        ("NaN", "NaN"),
        ("one file", "one file was given"),
        ("codes as numbers", "codes"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(giblet, words, tmp_path, what, message):
    scan, mask = image(tmp_path / "scan.nii.gz", (2, 2, 2, 200)), image(tmp_path / "mask.nii.gz", (2, 2, 2))
    moved = image(tmp_path / "moved.nii.gz", (2, 2, 2), np.diag([2.0, 2, 2, 1]))
    table = pd.DataFrame(np.random.default_rng(0).standard_normal((200, 2)), columns=["a", "b"])
    table.to_csv(tmp_path / "table.tsv", sep="\t", index=False)
    table.assign(b=1.0).to_csv(tmp_path / "flat.tsv", sep="\t", index=False)
    table.assign(b=table.b.where(table.index != 7)).to_csv(tmp_path / "nan.tsv", sep="\t", index=False)
    table[:150].to_csv(tmp_path / "short.tsv", sep="\t", index=False)
    if what == "codes as numbers":
        fake = load_features(words).copy()
        fake["codes"] = (("tr", "codebook", "frame"), np.zeros((fake.sizes["tr"], 1, 1), np.int32))
        save_features(fake, tmp_path / "fake.nc")
    said = ["--tr", TR]
    argv = {
        "short": [words, tmp_path / "short.tsv", *said],
        "3-D": [words, mask, "--mask", mask],
        "mask shape": [words, scan, "--mask", image(tmp_path / "big.nii.gz", (3, 2, 2))],
        "mask affine": [words, scan, "--mask", moved],
        "no mask": [words, scan],
        "header TR": [words, scan, "--mask", mask, "--tr", 1.5],
        "missing": [words, tmp_path / "none.tsv"],
        "missing features": [tmp_path / "none.nc", tmp_path / "table.tsv"],
        "constant": [words, tmp_path / "flat.tsv", *said],
        "no column": [words, tmp_path / "table.tsv", *said, "--columns", "nowhere"],
        "lags": [words, tmp_path / "table.tsv", *said, "--lags", "ten"],
        "high pass": [words, tmp_path / "table.tsv", *said, "--high-pass", 0.3],
        "confounds of another length": [
            words,
            scan,
            "--mask",
            mask,
            "--confounds",
            tmp_path / "short.tsv",
            "--confound-columns",
            "a",
        ],
        "confounds without a file": [words, scan, "--mask", mask, "--confound-columns", "a"],
        "NaN": [words, tmp_path / "nan.tsv", *said],
        "one file": [words],
        "codes as numbers": [tmp_path / "fake.nc", tmp_path / "table.tsv"],
    }[what]
    status, said, err = giblet("check-alignment", *argv, "--plot", tmp_path / "out" / "p.png", "--surrogates", 19)
    assert (status, said) == (2, "")
    assert len(err.splitlines()) == 1
    assert err.startswith("giblet: error: ")
    assert message in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--snr", -1], "snr is -1"),
        (["--mapping", "cubic"], "mapping"),
        (["--hrf", "gamma"], "hrf"),
        (["--n-voxels", 0], "--n-voxels is 0"),
        (["--ar", 1], "ar is 1"),
        (["--regressor", "loudness"], "no regressor 'loudness'"),
        (["--lag", 4000], "lag"),
    ],
)
def test_bad_simulations_are_one_line_and_write_nothing(giblet, words, tmp_path, options, message):
    status, said, err = giblet("simulate", words, "-o", tmp_path / "out", *options)
    assert (status, said, len(err.splitlines())) == (2, "", 1)
    assert message in err
    assert not (tmp_path / "out").exists()


def test_a_training_on_a_table_without_tr_is_asked_for_it_as_the_yaml_calls_it(giblet, words, mid_tr, tmp_path):
    runs = [{"bold": str(mid_tr), "text": str(words)}]
    config = {"data": {"subjects": [{"name": "01", "runs": runs}]}, "output": str(tmp_path / "run")}
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(config))
    status, said, err = giblet("train", tmp_path / "train.yaml")
    assert (status, said, len(err.splitlines())) == (2, "", 1)
    assert "is a table, which carries no TR; pass model.tr in seconds" in err


def test_simulate_says_when_a_brain_is_circular_and_names_its_options_in_errors(giblet, words, tmp_path):
    table = tmp_path / "words.tsv"
    rows = pd.DataFrame({"onset": np.arange(0.5, 390, 1.7), "duration": 0.4, "text": "word"})
    rows.assign(text=np.resize(["the", "elephant", "sings"], len(rows))).to_csv(table, sep="\t", index=False)
    argv = ["simulate", words, "--table", "--n-voxels", 2, "-o"]
    status, said, err = giblet(*argv, tmp_path / "own")
    assert (status, err) == (0, "") and "circular: it answers to what a model of these features is given" in said
    fair = ["--answers-to", "word_frequency", "--words", table, "--mapping", "interaction", "--confounds", 0.2]
    status, said, err = giblet(*argv, tmp_path / "fair", *fair, "--subjects", 2, "--own", 0.5)
    assert (status, err) == (0, "") and "circular" not in said and "sub-02_talk_desc-text_simulated_bold.tsv" in said
    status, said, _ = giblet(*argv, tmp_path / "fair", *fair, "--subjects", 2, "--own", 0.5, "--json")
    assert json.loads(said)["circular"] == "no" and len(json.loads(said)["files"]) == 4
    status, _, err = giblet(*argv, tmp_path / "bad", "--answers-to", "word_frequency")
    assert status == 2 and "--answers-to" in err and "--words" in err
    status, _, err = giblet(*argv, tmp_path / "bad", "--regressor", "word_rate", "--subjects", 2)
    assert status == 2 and "leave it out" in err
