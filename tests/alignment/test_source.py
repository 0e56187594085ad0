"""What align_all_modalities hands on: absent is no number, arrays know what they hold and when, cutting comes last."""

from dataclasses import FrozenInstanceError
from fractions import Fraction

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from giblet.alignment import align_all_modalities, convolve_hrf, resample_features
from giblet.alignment.source import Source
from giblet.data.text import TextProcessor
from giblet.errors import AlignmentError, InputError
from giblet.features import new_features, save_features
from giblet.timing import TRGrid
from tests.alignment.test_sync import Lookup, audio, envelope, scan

N = 60


def words(values, there, tr=1.5, **extra):
    """A feature of 3 columns that is there in some TRs, with zeros in the others; and other variables."""
    table = np.where(np.asarray(there)[:, None], np.asarray(values, np.float32)[:, None] * np.ones(3, np.float32), 0)
    variables = {"embedding": (("tr", "dim"), table.astype(np.float32)), "embedding_mask": (("tr",), np.asarray(there))}
    return new_features(
        {**variables, **extra}, TRGrid(tr, len(table), 75), film_duration=len(table) * tr, kind="continuous",
        source="talk.tsv", settings={},
    )  # fmt: skip


# --- absent


@pytest.mark.parametrize("method", ["linear", "mean", "lanczos"])
@pytest.mark.parametrize("offset", [0.15, 0.75, 1.2, -0.9])
def test_what_is_absent_is_averaged_in_nowhere(method, offset):
    there = np.random.default_rng(0).random(N) < 0.5
    values = np.where(np.arange(N) < N // 2, 4.0, 7.0)
    aligned = align_all_modalities(
        {"text": words(values, there)}, scan(N), tr=1.5, stimulus_time_at_volume_0=offset, methods={"text": method},
    )  # fmt: skip
    text = aligned.features["text"]
    rows, mask = aligned.source_trs["text"], aligned.masks["text"]
    np.testing.assert_array_equal(mask, there[rows] | there[rows + 1], "a volume has what either of its TRs has")
    constant = (np.abs(rows - N // 2) > 3) & mask
    wanted = np.where(rows < N // 2, 4.0, 7.0)
    np.testing.assert_allclose(text.values[constant], wanted[constant, None] * np.ones(3), atol=1e-5)
    assert not text.values[~mask].any(), "what the file holds there"


def test_a_volume_of_another_tr_is_the_mean_of_what_is_present_in_it():
    """By hand, at half the rate: TRs 0 and 1 make volume 0."""
    there = np.array([1, 1, 1, 0, 0, 1, 0, 0], bool)
    aligned = align_all_modalities(
        {"text": words(np.arange(1, 9), there, tr=1.0)}, scan(4), tr=2.0, resample=True,
    )  # fmt: skip
    assert aligned.features["text"].values[:, 0].tolist() == [1.5, 3, 6, 0]
    assert aligned.masks["text"].tolist() == [True, True, True, False]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 99), method=st.sampled_from(["linear", "mean", "lanczos"]), step=st.floats(0.3, 3))
def test_a_constant_stays_one_wherever_anything_is_present_on_any_clock(seed, method, step):
    rng = np.random.default_rng(seed)
    mask = rng.random(50) < 0.4
    x = np.where(mask, 5.0, rng.choice([np.nan, 0.0, 1e6], 50))[:, None]
    target = np.arange(0, 46, step)  # a window of the mean may not reach beyond the end
    y = resample_features(x, np.arange(50.0), target, "continuous", method, mask=mask)[:, 0]
    np.testing.assert_allclose(y[~np.isnan(y)], 5, rtol=1e-9)
    if method == "linear":
        left = np.floor(target + 1e-9).astype(int)
        alone = np.abs(target - left) < 1e-5
        np.testing.assert_array_equal(np.isnan(y), ~np.where(alone, mask[left], mask[left] | mask[left + 1]))


def test_codes_move_from_codes_that_are_there():
    codes, mask = np.array([[7], [500], [3], [1000]]), np.array([True, False, False, True])
    for method, options in (("round", {}), ("nearest", {}), ("latent", {"codec": Lookup()})):
        moved = resample_features(codes, range(4), [0.6, 2.4], "codes", method=method, mask=mask, **options)
        assert moved.ravel().tolist() == [7, 1000], method
        with pytest.raises(AlignmentError, match=r"1 of 2 target times have no code present, the first at 1.5 s"):
            resample_features(codes, range(4), [0.6, 1.5], "codes", method=method, mask=mask, **options)
    with pytest.raises(InputError, match=r"mask is bool \(3,\)"):
        resample_features(codes, range(4), [1], "codes", mask=mask[:3])


def test_half_a_tr_of_frames_is_no_tr():
    codes, series = audio(20)
    there = np.arange(20) != 7
    codes["codes_mask"] = (("tr",), there)
    moved = align_all_modalities({"a": codes}, scan(19), tr=1.5, stimulus_time_at_volume_0=0.4)
    assert np.flatnonzero(~moved.masks["a"]).tolist() == [6, 7]
    np.testing.assert_array_equal(moved.features["a"][3], series[:, 368:480])  # 4.9 s are frame 367.5


def test_padding_at_the_end_does_not_leak_into_lanczos():
    film = words(np.full(N, 4.0), np.ones(N, bool))
    film["valid"].values[40:] = False
    film["embedding"].values[40:] = 1e6
    aligned = align_all_modalities(
        {"x": film}, scan(39), tr=1.5, stimulus_time_at_volume_0=0.75, methods={"x": "lanczos"}
    )
    np.testing.assert_allclose(aligned.features["x"], 4, atol=1e-5)


# --- what travels with the arrays


def test_an_array_says_what_it_holds_and_when(tmp_path):
    codes, _ = audio(N)
    there = np.arange(N) % 3 > 0
    features = {"audio": save_features(codes, tmp_path / "a.nc"), "text": words(np.arange(N), there)}
    aligned = align_all_modalities(
        features, scan(N), tr=1.5, stimulus_time_at_volume_0=-3, lag=1.5, on_short_bold="trim"
    )
    one, other = aligned.features["audio"], aligned.features["text"]
    assert (one.attrs["kind"], one.attrs["variable"], one.attrs["codebook_size"], one.dtype) == (
        "codes", "codes", 1024, np.int32,
    )  # fmt: skip
    assert (other.attrs["kind"], other.attrs["tr"], other.name) == ("continuous", 1.5, "embedding")
    np.testing.assert_array_equal(one.volume, aligned.volumes)
    np.testing.assert_allclose(one.onset, aligned.volumes * 1.5 - 4.5)
    np.testing.assert_array_equal(other.mask, there[aligned.source_trs["text"]])
    with pytest.raises(AlignmentError, match="is marked as 'codes'"):
        convolve_hrf(one.astype(np.float32), kind="continuous")


def test_numpy_goes_on_working_with_them():
    aligned = align_all_modalities({"x": envelope(N)}, scan(N), tr=1.5)
    x = aligned.features["x"]
    bare = np.asarray(x)
    assert type(bare) is np.ndarray and bare.dtype == np.float32
    for made, wanted in (
        (x[3:9, 0], bare[3:9, 0]), (x[5], bare[5]), (x[np.arange(N) > 4], bare[np.arange(N) > 4]),
        (x[1:] - x[:-1], bare[1:] - bare[:-1]), (2 * x + 1, 2 * bare + 1), (x - x.mean(axis=0), bare - bare.mean(0)),
        (np.concatenate([x, x]), np.concatenate([bare, bare])), (np.log(x), np.log(bare)),
    ):  # fmt: skip
        np.testing.assert_array_equal(made, wanted)
    assert float(x[0, 0]) == bare[0, 0] and len(x) == N


@pytest.mark.parametrize("names", [("word_rate", "onset_count"), ("speech", "word_rate")])
def test_all_that_a_file_has_by_tr_can_be_had_and_is_named(names):
    rng = np.random.default_rng(0)
    extra = {
        "word_rate": rng.random(N).astype(np.float32),
        "onset_count": rng.integers(0, 9, N).astype(np.int32),
        "speech": rng.random(N),
    }
    film = words(np.arange(N), np.ones(N, bool), **{name: (("tr",), values) for name, values in extra.items()})
    wanted = {"text": film, **dict.fromkeys(names, film)}
    aligned = align_all_modalities(
        wanted, scan(N), tr=1.5, variables={n: n for n in names}, stimulus_time_at_volume_0=3
    )
    for name in names:
        np.testing.assert_allclose(aligned.features[name][:58], film[name].values[2:], rtol=1e-6)
        assert aligned.features[name].attrs["kind"] == "continuous"
    assert aligned.features["text"].shape == (58, 3)
    assert "text is embedding; its file also has word_rate, onset_count, speech (option variables)" in str(
        aligned.report
    )
    with pytest.raises(InputError, match="no variable 'rate': it has embedding, word_rate, onset_count, speech"):
        align_all_modalities({"text": film}, scan(N), tr=1.5, variables={"text": "rate"})


def test_words_without_an_embedding_are_their_rate(tmp_path):
    table = tmp_path / "w.tsv"
    pd.DataFrame({"onset": [0.0, 3.1, 4.0], "duration": 0.5, "text": ["a", "b", "c"]}).to_csv(
        table, sep="\t", index=False
    )
    film = TextProcessor(tr=1.5, model=None, duration_column="duration", film_duration=6).extract(table)
    aligned = align_all_modalities({"text": film}, scan(4), tr=1.5)
    np.testing.assert_allclose(aligned.features["text"], np.array([1, 0, 2, 0]) / 1.5, rtol=1e-6)
    assert "character_rate" in str(aligned.report)


# --- convolved before it is cut


@pytest.mark.parametrize(("offset", "ref"), [(30.0, 0.0), (31.1, 0.48), (-4.0, 0.25)])
def test_the_response_to_what_was_cut_reaches_into_the_scan(offset, ref):
    """Against nilearn-equal convolution on a clock of 0.1 s that begins where the film does."""
    x = np.random.default_rng(1).standard_normal(100).astype(np.float32)
    film = new_features({"x": (("tr",), x)}, TRGrid(1.5, 100, 75), film_duration=150.0, kind="continuous")
    mask = np.ones(60, bool)
    mask[[3, 20, 21]] = False
    aligned = align_all_modalities(
        {"x": film}, scan(60), tr=1.5, stimulus_time_at_volume_0=offset, volume_mask=mask, hrf="glover",
        slice_time_ref=ref, on_short_bold="trim",
    )  # fmt: skip
    fine = convolve_hrf(np.repeat(x.astype(float), 15), tr=0.1, oversampling=5, kind="continuous")
    wanted = np.interp(aligned.volumes * 1.5 + offset + ref * 1.5, np.arange(1500) * 0.1, fine)
    np.testing.assert_allclose(aligned.features["x"], wanted, atol=0.02 * wanted.std())
    cut = align_all_modalities(
        {"x": film}, scan(60), tr=1.5, stimulus_time_at_volume_0=offset, volume_mask=mask, on_short_bold="trim"
    ).features["x"]
    with pytest.raises(AlignmentError, match=r"are volumes|into the stimulus"):
        convolve_hrf(cut, kind="continuous")
    wrong = convolve_hrf(cut.values, kind="continuous")
    assert np.abs(wrong - wanted).max() > 0.3 * wanted.std()
    with pytest.raises(AlignmentError, match="convolved already, with 'glover'"):
        convolve_hrf(aligned.features["x"], kind="continuous")


def test_the_scan_says_when_it_is_read_and_an_option_overrules_it():
    film = new_features({"x": (("tr",), np.eye(1, 40, 5, dtype=np.float32)[0])}, TRGrid(3.0, 40, 75),
                        film_duration=120.0, kind="continuous")  # fmt: skip
    bold = xr.DataArray(scan(40), dims=("tr", "voxel"), attrs={"tr": 3.0, "slice_time_ref": 0.48}, name="bold")
    said = align_all_modalities({"x": film}, bold, hrf="spm").features["x"]
    np.testing.assert_allclose(
        said, convolve_hrf(film["x"].values, tr=3.0, hrf="spm", slice_time_ref=0.48, kind="continuous"), atol=1e-6
    )
    given = align_all_modalities({"x": film}, bold.to_dataset(), hrf={"x": "spm"}, slice_time_ref=0).features["x"]
    np.testing.assert_allclose(given, convolve_hrf(film["x"].values, tr=3.0, hrf="spm", kind="continuous"), atol=1e-6)


def test_absent_words_drive_nothing_whatever_stands_in_their_place():
    there = np.arange(N) % 4 < 2
    held = words(np.full(N, 4.0), there)
    held["embedding"].values[~there] = 4.0  # gaps="hold"
    found = align_all_modalities({"x": held}, scan(N), tr=1.5, hrf="glover")
    np.testing.assert_allclose(
        found.features["x"][:, 0], convolve_hrf(np.where(there, 4.0, 0), tr=1.5, kind="continuous"), atol=1e-5
    )
    assert found.masks["x"].all()


def test_what_cannot_be_convolved_on_its_own_clock_is_refused():
    codes, _ = audio(N)
    later = envelope(N)
    later["onset"] = later["onset"] + 558
    for film, options, error, message in (
        (codes, {"hrf": "glover"}, InputError, "x holds codes, which are categories"),
        (envelope(N), {"hrf": "fir"}, InputError, "fit_ridge"),
        (envelope(N), {"hrf": "glover", "slice_time_ref": 1.44}, InputError, "slice_time_ref is 1.44"),
        (envelope(N), {"hrf": {"y": "glover"}}, InputError, "hrf names"),
        (
            later,
            {"hrf": "glover", "stimulus_time_at_volume_0": 558},
            AlignmentError,
            "begins at second 558 of its film",
        ),
        (envelope(N), {"on_holes": "close"}, InputError, "'cut' or 'keep'"),
    ):
        with pytest.raises(error, match=message):
            align_all_modalities({"x": film}, scan(N), tr=1.5, **options)


# --- censored volumes


def bold_with(mask):
    values = xr.DataArray(scan(N), dims=("tr", "voxel"), attrs={"tr": 1.5})
    return xr.Dataset({"bold": values, "sample_mask": (("tr",), mask)})


def test_censored_volumes_are_left_out_or_keep_their_place():
    mask = ~np.isin(np.arange(N), [0, 1, 30])
    cut = align_all_modalities({"x": envelope(N)}, bold_with(mask))
    assert cut.volumes.tolist() == np.flatnonzero(mask).tolist() and cut.bold_mask.all()
    assert "sample_mask leaves out 3 volumes" in str(cut.report)
    kept = align_all_modalities({"x": envelope(N)}, bold_with(mask), on_holes="keep")
    assert kept.volumes.tolist() == list(range(N)) and kept.report.kept == N - 3
    np.testing.assert_array_equal(kept.bold_mask, mask)
    assert np.isnan(kept.bold[~mask]).all() and not np.isnan(kept.bold[mask]).any()
    np.testing.assert_allclose(kept.features["x"][:, 0], np.arange(N) * 1.5 + 0.75)
    assert kept.masks["x"].all(), "what was on while a volume is censored is seen later"
    np.testing.assert_allclose(
        convolve_hrf(kept.features["x"], kind="continuous"), convolve_hrf(envelope(N)["x"].values, kind="continuous")
    )
    both = align_all_modalities({"x": envelope(N)}, bold_with(mask), volume_mask=np.arange(N) < 50)
    assert both.volumes.tolist() == [k for k in range(50) if mask[k]]


def test_a_hole_in_the_stimulus_keeps_its_place_and_is_absent():
    film = envelope(N)
    film["valid"].values[20:23] = False
    kept = align_all_modalities({"x": film, "y": envelope(N)}, scan(N), tr=1.5, on_holes="keep")
    assert len(kept.volumes) == N
    for mask in (kept.bold_mask, kept.masks["x"], kept.masks["y"]):
        assert np.flatnonzero(~mask).tolist() == [20, 21, 22]
    assert not kept.features["x"].values[20:23].any()


# --- an offset belongs in one place


@pytest.fixture
def extracted(tmp_path):
    """Words whose TR 0 is second 20 of their table."""
    pd.DataFrame({"onset": np.arange(200.0), "duration": 0.5, "text": "a"}).to_csv(
        tmp_path / "w.tsv", sep="\t", index=False
    )
    return lambda offset: TextProcessor(
        tr=2.0, model=None, duration_column="duration", table_time_at_tr_0=offset
    ).extract(tmp_path / "w.tsv")


@pytest.mark.parametrize("again", [20, -3, {"words": 20, "sound": 20}])
def test_an_offset_that_is_given_twice_is_a_question(extracted, again):
    sound = envelope(100, 2.0)
    with pytest.raises(
        InputError,
        match=r"words: w.tsv was extracted with table_time_at_tr_0=20, and stimulus_time_at_volume_0=(20|-3)",
    ):
        align_all_modalities(
            {"words": extracted(20), "sound": sound}, scan(90), tr=2.0, stimulus_time_at_volume_0=again
        )
    one = align_all_modalities(
        {"words": extracted(20), "sound": sound},
        scan(90),
        tr=2.0,
        stimulus_time_at_volume_0={"sound": 20},
        on_short_bold="trim",
    )
    other = align_all_modalities(
        {"words": extracted(0), "sound": sound}, scan(90), tr=2.0, stimulus_time_at_volume_0=20, on_short_bold="trim"
    )
    np.testing.assert_array_equal(one.features["words"], other.features["words"])
    np.testing.assert_allclose(one.features["words"].onset, other.features["words"].onset)
    with pytest.raises(AlignmentError, match="begins 20 s into the stimulus"):
        convolve_hrf(one.features["words"], tr=2.0, kind="continuous")
    with pytest.raises(AlignmentError, match=r"begins at second 20 of its film.*table_time_at_tr_0=0"):
        align_all_modalities({"words": extracted(20)}, scan(90), tr=2.0, hrf="glover")


# --- what stands where it does not belong


@pytest.mark.parametrize(
    ("features", "bold", "message"),
    [
        ([envelope(N)], scan(N), "features is a list; expected feature files by name.*features first"),
        (scan(N), {"x": envelope(N)}, "features is a ndarray.*the BOLD second"),
        (envelope(N), scan(N), "features is a Dataset"),
        ("words.nc", scan(N), "features is a str"),
        ({"x": scan(N)}, scan(N), "x is a ndarray; expected a feature file"),
        ({"x": [1.0, 2.0]}, scan(N), "x is a list; expected a feature file"),
        ({"x": envelope(N)}, {"bold": scan(N)}, "bold is a dict"),
        ({"x": envelope(N)}, envelope(N), "bold is a Dataset with x, onset, valid"),
        ({"x": envelope(N)}, "bold.nii", "bold is the path bold.nii"),
        ({"x": envelope(N)}, [scan(N), scan(N)], "bold is a list of 2 arrays"),
        ({"x": envelope(N)}, [[1.0, 2.0], [3.0]], "bold is a list that is no array"),
        ({"x": envelope(N)}, ["a.tsv", "b.tsv"], "expected numbers .n_volumes, n_voxels."),
        ({"x": envelope(N)}, nib.Nifti1Image(np.zeros((2, 2, 2, N)), np.eye(4)), "bold"),
        ({"x": envelope(N)}, None, "bold has shape"),
    ],
)
def test_lists_arrays_and_files_in_each_others_place_are_told_in_one_line(features, bold, message):
    with pytest.raises(InputError, match=message) as caught:
        align_all_modalities(features, bold, tr=1.5)
    assert "\n" not in str(caught.value)


def test_bold_may_be_lists_of_numbers():
    aligned = align_all_modalities({"x": envelope(N)}, scan(N).tolist(), tr=1.5)
    np.testing.assert_array_equal(aligned.bold, scan(N))


@pytest.mark.parametrize("header", [0.7199999, 0.72000001])
def test_a_tr_that_a_header_rounds_is_the_features_tr_however_long_the_scan(header):
    aligned = align_all_modalities({"x": envelope(1100, 0.72)}, scan(1100), tr=header)
    assert len(aligned.volumes) == 1100
    np.testing.assert_allclose(aligned.features["x"][:, 0], np.arange(1100) * 0.72 + 0.36, atol=1e-3)
    with pytest.raises(AlignmentError, match=r"x has TR 0.72 s, the BOLD 0.721 s"):
        align_all_modalities({"x": envelope(1100, 0.72)}, scan(1100), tr=0.721)


# --- means of nothing


def spoken(folder, tr=2.0, n=60):
    """Text features of words of four letters, in every other TR from the second on."""
    onsets = np.arange(1, n, 2) * tr + 0.1
    table = pd.DataFrame({"onset": onsets, "duration": 0.2, "text": "word"})
    table.to_csv(folder / "talk.tsv", sep="\t", index=False)
    return TextProcessor(tr=tr, model=None, film_duration=n * tr).extract(folder / "talk.tsv")


@pytest.mark.parametrize("method", ["linear", "mean", "lanczos"])
@pytest.mark.parametrize("offset", [1.0, 0.5, -1.0])
def test_the_length_of_no_words_is_not_0(tmp_path, offset, method):
    film = spoken(tmp_path)
    aligned = align_all_modalities(
        {"length": film, "rate": film}, scan(60), tr=2.0, stimulus_time_at_volume_0=offset,
        methods={"length": method, "rate": method},
        variables={"length": "word_length", "rate": "word_rate"},
    )  # fmt: skip
    length, rate = aligned.features["length"], aligned.features["rate"]
    np.testing.assert_allclose(length.values[length["mask"].values], 4.0, rtol=1e-5)
    assert length["mask"].values[1:-1].all(), "each volume has a TR with words beside it"
    assert rate["mask"].values.all() and 0.2 < rate.values[5:-5].mean() < 0.3, "of the rate 0 is a number"


def test_trs_without_words_have_no_length_and_keep_their_number(tmp_path):
    film = spoken(tmp_path)
    aligned = align_all_modalities({"l": film}, scan(60), tr=2.0, variables={"l": "word_length"})
    np.testing.assert_array_equal(aligned.masks["l"], np.arange(60) % 2 == 1)
    np.testing.assert_array_equal(aligned.features["l"], film["word_length"])


@pytest.mark.parametrize("name", ["luminance", "contrast", "luminance_change", "frames"])
def test_where_no_picture_is_shown_it_is_not_black(name):
    there = ~np.isin(np.arange(N), [0, 1, 2, 30])
    dims = ("tr", "row") if name == "frames" else ("tr",)
    values = np.full((N, 2)[: len(dims)], 8, np.uint8 if name == "frames" else np.float32)
    values[~there] = 0
    shown = np.where(there, 1, 0).astype(np.float32)
    shown[3] = 0.1
    film = new_features({"frames": (dims, values), name: (dims, values), "shown": (("tr",), shown)},
                        TRGrid(1.5, N, 75), film_duration=N * 1.5, kind="continuous")  # fmt: skip
    whole = align_all_modalities({"x": film}, scan(N), tr=1.5, variables={"x": name})
    np.testing.assert_array_equal(whole.masks["x"], there)
    between = align_all_modalities({"x": film}, scan(N), tr=1.5, stimulus_time_at_volume_0=0.6, variables={"x": name},
                                   on_short_bold="trim")  # fmt: skip
    rows = between.source_trs["x"]
    np.testing.assert_array_equal(between.masks["x"], there[rows] | there[rows + 1])
    np.testing.assert_allclose(between.features["x"].values[between.masks["x"]], 8)
    assert align_all_modalities({"x": film}, scan(N), tr=1.5, variables={"x": "shown"}).masks["x"].all()


@pytest.mark.parametrize("first", [2, 3, 17])
def test_codes_of_a_part_of_a_film_are_those_that_sound_then(first):
    """At 112.5 frames per TR every other TR has an odd frame; to the nearest frame, and no code of nothing."""
    codes, series = audio(n_trs=60)
    part = codes.isel(tr=slice(first, None))
    found = align_all_modalities({"a": part}, scan(60), tr=1.5, stimulus_time_at_volume_0=0.4, on_short_bold="trim")
    assert found.volumes[0] == first
    begins = np.floor((found.volumes * 1.5 + 0.4) * 75 + 0.5).astype(int)
    frames = begins[:, None] + np.arange(112)
    near = [series[:, np.minimum(frames + k, series.shape[1] - 1)].transpose(1, 0, 2) for k in (-1, 0, 1)]
    assert np.any([found.features["a"].values == one for one in near], axis=0).all()


def test_what_one_placement_gives_does_not_hang_on_another_of_the_same_source():
    source = Source("x", envelope(60), None, 1.5, False)
    early, late = (
        source.place(40, tr=1.5, stimulus_time_at_volume_0=Fraction(start), lag=Fraction(0)) for start in (0, 6)
    )
    volumes = np.arange(40)
    alone = source.values(late, volumes)
    source.convolved(early, volumes, "glover", 0.5)
    again = source.values(late, volumes)
    np.testing.assert_array_equal(again.values, alone.values)
    assert again.how == alone.how == "shifted by +4 TRs, values as they were"
    np.testing.assert_array_equal(again.values[:36], source.values(early, volumes).values[4:])
    with pytest.raises(FrozenInstanceError):
        late.stimulus_time = Fraction(0)
