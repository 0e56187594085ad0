"""Parts of a scan share no response, statistics have seen training TRs only, and absent data are marked."""

import pickle
from itertools import pairwise

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from giblet.alignment import align_all_modalities
from giblet.data.dataset.normalise import Normaliser
from giblet.data.dataset.series import Series
from giblet.data.dataset.windows import Recording, TRWindows, fit_normalisers
from giblet.data.splits import make_splits, segments
from giblet.errors import AlignmentError, InputError
from giblet.features import new_features, save_features
from giblet.timing import TRGrid, exact


@settings(max_examples=200, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 300), min_size=1, max_size=6),
    tr=st.sampled_from([0.72, 1.49, 1.5, 2.0]),
    gap=st.sampled_from([0.0, 12.0, 32.0]),
    val=st.sampled_from([0.0, 0.1, 0.3]),
    whole_runs=st.booleans(),
)
def test_parts_are_disjoint_ordered_and_a_gap_apart_within_a_run(lengths, tr, gap, val, whole_runs):
    run = np.repeat(np.arange(len(lengths)), lengths)
    try:
        splits = make_splits(len(run), tr, run, (0.9 - val, val, 0.1), gap, whole_runs=whole_runs)
    except InputError as exc:
        assert "too short" in str(exc) or "whole runs" in str(exc)
        n_gap = -(-exact(gap) // exact(tr))
        if not whole_runs:  # refused for a reason: three parts and two gaps would hardly fit
            assert len(run) < 2 * n_gap + 30
        return
    parts = [p for p in (splits.train, splits.val, splits.test) if len(p)]
    assert len(parts) == 2 + (val > 0)
    everything = np.concatenate([*parts, splits.gap])
    np.testing.assert_array_equal(np.sort(everything), np.arange(len(run)))
    for before, after in pairwise(parts):
        assert (np.diff(before) == 1).all() and (np.diff(after) == 1).all() and before[-1] < after[0]
        if run[before[-1]] == run[after[0]]:
            assert not whole_runs
            assert (int(after[0]) - int(before[-1]) - 1) * exact(tr) >= exact(gap)
    assert len(splits.gap) <= 2 * splits.gap_trs


def test_the_reference_film_splits_as_computed_by_hand():
    splits = make_splits(920, 1.5)
    assert splits.gap_trs == 22  # 32 / 1.5 = 21.33
    assert (splits.train[[0, -1]].tolist(), splits.val[[0, -1]].tolist(), splits.test[[0, -1]].tolist()) == (
        [0, 700], [723, 810], [833, 919],
    )  # fmt: skip
    runs = np.repeat([1, 2, 3, 4], 100)
    whole = make_splits(400, 2.0, runs, (0.5, 0.25, 0.25), whole_runs=True)
    assert (len(whole.train), len(whole.val), len(whole.test), len(whole.gap)) == (200, 100, 100, 0)


def test_splits_that_cannot_be_made():
    for arguments, message in [
        ((40, 1.5), "too short for 3 parts with gaps of 22 TRs"),
        ((900, 1.5, None, (0.8, 0.1)), "three numbers"),
        ((900, 1.5, None, (0.8, 0.1, 0.2)), "sum to 1"),
        ((900, 1.5, None, (0.9, 0.1, 0.0)), "must not be 0"),
        ((4, 1.5, [1, 2, 1, 1]), "2 labels in 3 pieces"),
        ((4, 1.5, [1, 2]), "one label per volume, 4"),
        ((900, 0.0), "positive"),
    ]:
        with pytest.raises(InputError, match=message):
            make_splits(*arguments)
    with pytest.raises(InputError, match="2 runs cannot make 3"):
        make_splits(900, 1.5, np.repeat([1, 2], 450), whole_runs=True)
    with pytest.raises(InputError, match="100 are needed"):
        make_splits(920, 1.5, min_trs=100)


@pytest.mark.parametrize("poison", [np.nan, 1e9, np.inf])
def test_statistics_have_seen_training_trs_only(poison):
    rng = np.random.default_rng(0)
    x = rng.normal(5, 3, (300, 4, 2)).astype(np.float32)
    splits = make_splits(300, 1.5)
    clean = Normaliser.fit(x, splits.train)
    other = np.setdiff1d(np.arange(300), splits.train)
    assert len(other) == len(splits.val) + len(splits.test) + len(splits.gap)
    poisoned = x.copy()
    poisoned[other] = poison
    recording = Recording.of("1", {"bold": poisoned}, tr=1.5)
    dirty = fit_normalisers([recording], splits.train)["1"]["bold"]
    np.testing.assert_array_equal(dirty.mean, clean.mean)
    np.testing.assert_array_equal(dirty.scale, clean.scale)
    np.testing.assert_allclose(clean.mean, x[splits.train].mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(clean.scale, x[splits.train].std(axis=0), rtol=1e-5)
    np.testing.assert_allclose(clean.inverse(clean(x)), x, rtol=1e-4, atol=1e-4)
    poisoned[splits.train[7]] = 1e9
    assert not np.allclose(Normaliser.fit(poisoned, splits.train).mean, clean.mean), "training TRs do count"


def test_what_has_no_statistics():
    x = np.ones((50, 2), np.float32)
    x[:, 1] = np.arange(50)
    fitted = Normaliser.fit(x, np.arange(30))
    assert fitted.n_constant == 1 and not fitted(x)[:30, 0].any()
    x[3, 1] = np.nan
    with pytest.raises(InputError, match="TR 3 holds NaN or infinity in part"):
        Normaliser.fit(x, np.arange(30))
    with pytest.raises(InputError, match="categories"):
        Normaliser.fit(Series(np.zeros((9, 2), np.int32), "codes"), np.arange(9))
    with pytest.raises(InputError, match="0 training TRs"):
        Normaliser.fit(x, np.arange(0))


@pytest.mark.parametrize("level", [0.0, 7.0, 1e6])
@pytest.mark.parametrize("rounding", [False, True])
def test_what_never_varied_in_training_is_0_everywhere_and_comes_back_as_its_mean(level, rounding):
    """In single precision a number may change by its last bit without any change in what was measured."""
    x = np.full((60, 3), level, np.float32)
    if rounding:
        x[1::2, 0] = np.nextafter(x[1::2, 0], np.float32(2 * level + 1))
    x[:, 1] = np.sin(np.arange(60))
    x[40:, 0], x[40:, 2] = 1000 + np.arange(20), -5
    fitted = Normaliser.fit(x, np.arange(40))
    assert fitted.varies.tolist() == [False, True, False] and fitted.n_constant == 2
    z = fitted(x)
    assert not z[:, [0, 2]].any()
    np.testing.assert_allclose(z[:, 1], (x[:, 1] - x[:40, 1].mean()) / x[:40, 1].std(), rtol=1e-4, atol=1e-6)
    back = fitted.inverse(np.full((1, 3), 100, np.float32))
    np.testing.assert_allclose(back[0, [0, 2]], level, rtol=1e-6)


@pytest.mark.parametrize("share", [0.05, 0.1])
@pytest.mark.parametrize("wakes", [200, 260])
@pytest.mark.parametrize("n_voxels", [2, 12])
def test_a_voxel_of_which_training_saw_a_tenth_is_found(share, wakes, n_voxels):
    rng = np.random.default_rng(3)
    signal = np.convolve(rng.standard_normal(340), np.hanning(6), "same")
    x = 1000 + 8 * signal[:300, None] + 10 * rng.standard_normal((300, n_voxels))
    x[:wakes, 1] = 1000 + share * (x[:wakes, 1] - 1000)  # at the edge of the brain, until the head moves
    fitted = Normaliser.fit(x, np.arange(200))
    assert np.flatnonzero(fitted.far(x, np.arange(200, 300), of_scan=True)).tolist() == [1]
    assert not fitted.far(x, np.arange(200), of_scan=True).any()


def test_drifts_jumps_and_other_gains_of_a_scan_are_no_waking_voxels():
    rng = np.random.default_rng(4)
    t = np.linspace(-1, 1, 400)
    slow = np.cumsum(rng.standard_normal((400, 60)), axis=0)
    x = 900 + rng.gamma(2, 8, 60) * (0.3 * rng.standard_normal((400, 60)) + 0.1 * slow)
    x[:, :20] += 60 * t[:, None] * rng.standard_normal(20)
    x[340:, 20] += 12 * x[:320, 20].std()  # the head moves once
    x[320:, 30:40] *= rng.uniform(1, 1.05, 10)
    fitted = Normaliser.fit(x, np.arange(320))
    assert not fitted.far(x, np.arange(320, 400), of_scan=True).any()


def test_a_small_change_about_a_small_mean_is_a_change():
    x = (1e-12 * np.random.default_rng(0).standard_normal((50, 2))).astype(np.float32)
    fitted = Normaliser.fit(x, np.arange(50))
    assert fitted.varies.all()
    np.testing.assert_allclose(fitted(x).std(axis=0), 1, rtol=1e-5)


def test_a_voxel_that_hardly_varied_in_training_is_found_and_a_scanner_of_another_gain_is_not():
    rng = np.random.default_rng(0)
    x = 1000 + 10 * rng.standard_normal((300, 9))
    x[:200, 4] = 3 + 0.01 * rng.standard_normal(200)  # beyond the brain until the head moves
    fitted = Normaliser.fit(x, np.arange(200))
    assert fitted.varies.all()
    assert np.flatnonzero(fitted.far(x, np.arange(200, 300), of_scan=True)).tolist() == [4]
    assert not fitted.far(x, np.arange(200), of_scan=True).any()
    louder = x.copy()
    louder[200:] *= 2.5  # 150 deviations, in all voxels alike
    assert np.flatnonzero(fitted.far(louder, np.arange(200, 300), of_scan=True)).tolist() == [4]
    # Features of a film have no gain in common, and no scanner.
    assert np.flatnonzero(fitted.far(x, np.arange(200, 300), of_scan=False)).tolist() == [4]
    left = fitted.without(fitted.far(x, np.arange(200, 300), of_scan=True))
    assert not left(x)[:, 4].any() and np.array_equal(left(x)[:, :4], fitted(x)[:, :4])
    constant = Normaliser.fit(np.ones((9, 2)), np.arange(9))
    assert not constant.far(np.full((9, 2), 7.0), np.arange(9), of_scan=True).any()


def feature_file(folder, name, array, kind, tr=1.5, film_trs=None, codebook_size=None, **extra):
    grid = TRGrid(tr, len(array), 75)
    dims = ("tr", *[f"d{i}" for i in range(array.ndim - 1)])
    features = new_features(
        {"values": (dims, array), **extra}, grid, film_duration=tr * (film_trs or len(array)), kind=kind, desc="x",
        source="film.mp4", source_sha256="0", duration=1.0, settings={}, codebook_size=codebook_size,
    )  # fmt: skip
    return save_features(features, folder / f"{name}.nc")


@pytest.fixture
def recordings(tmp_path):
    rng = np.random.default_rng(0)
    audio = rng.integers(0, 1024, (60, 2, 5), dtype=np.int32)
    text = rng.standard_normal((60, 3)).astype(np.float32)
    bold = rng.standard_normal((60, 4)).astype(np.float32)
    has_text = np.arange(60) % 10 != 4
    paths = {
        "audio": feature_file(tmp_path, "audio", audio, "codes", film_trs=57),
        "text": feature_file(tmp_path, "text", text, "continuous", values_mask=(("tr",), has_text)),
    }
    np.save(tmp_path / "bold.npy", bold)
    run = np.repeat([1, 2], [35, 25])
    one = Recording.of("one", {**paths, "bold": tmp_path / "bold.npy"}, run=run)
    two = Recording.of("two", {"audio": paths["audio"], "bold": bold + 1}, run=run)
    return [one, two], audio, text, bold, has_text


def test_a_window_holds_the_trs_it_says_and_never_two_runs(recordings):
    both, audio, text, bold, has_text = recordings
    windows = TRWindows(both, np.arange(60), window=8, stride=3)
    assert len(windows) == 2 * (10 + 6)
    for sample in windows:
        trs = sample["trs"].numpy()
        first = sample["subject"] == 0
        assert (np.diff(trs) == 1).all() and len(set(both[0].run[trs])) == 1 and sample["run"] == both[0].run[trs[0]]
        np.testing.assert_array_equal(sample["mask"]["audio"], trs < 57)
        here = sample["mask"]["audio"].numpy()
        np.testing.assert_array_equal(sample["data"]["audio"][here], audio[trs[here]])
        assert sample["data"]["audio"].dtype == torch.int32
        np.testing.assert_array_equal(sample["data"]["bold"], bold[trs] + (0 if first else 1))
        np.testing.assert_array_equal(sample["mask"]["text"], has_text[trs] & first)
        assert sample["data"]["text"].shape == (8, 3)
        here = sample["mask"]["text"].numpy()
        np.testing.assert_array_equal(sample["data"]["text"][here], text[trs[here]])
    assert windows.indices_of("two") == list(range(16, 32))


def test_padding_reaches_every_tr_of_the_part_once_and_is_masked(recordings):
    both, *_ = recordings
    trs = np.r_[3:30, 40:60]
    windows = TRWindows(both, {"one": trs, "two": np.arange(10)}, window=8, partial="pad")
    seen = np.concatenate([s["trs"].numpy() for s in windows if s["subject"] == 0])
    np.testing.assert_array_equal(np.sort(seen[seen >= 0]), trs)
    for sample in windows:
        filled = sample["trs"] < 0
        assert not any(mask[filled].any() for mask in sample["mask"].values())


def test_workers_read_the_same_from_their_own_handles(recordings):
    both, *_ = recordings
    windows = TRWindows(both, np.arange(60), window=5, normalisers=fit_normalisers(both, np.arange(40)))
    here = list(DataLoader(windows, batch_size=4))
    there = list(DataLoader(windows, batch_size=4, num_workers=1, multiprocessing_context="fork"))
    for a, b in zip(here, there, strict=True):
        for name in a["data"]:
            torch.testing.assert_close(a["data"][name], b["data"][name])
    again = pickle.loads(pickle.dumps(windows))  # noqa: S301
    torch.testing.assert_close(again[3]["data"]["bold"], windows[3]["data"]["bold"])


def test_only_the_window_is_read(tmp_path, monkeypatch):
    path = feature_file(tmp_path, "a", np.zeros((500, 7), np.float32), "continuous")
    series = Series(path)
    read = []
    original = Series.read
    monkeypatch.setattr(Series, "read", lambda self, a, b: read.append((a, b)) or original(self, a, b))
    windows = TRWindows([Recording.of("1", {"a": series})], np.arange(500), window=10)
    assert read == []
    windows[3]
    assert read == [(30, 40)]
    assert not isinstance(series._data()._data, np.ndarray), "the variable is still on disk"


def test_sources_that_do_not_fit(recordings, tmp_path):
    both, *_ = recordings
    x = np.zeros((60, 2), np.float32)
    with pytest.raises(AlignmentError, match=r"a 60, b 59.*align_all_modalities"):
        Recording.of("1", {"a": x, "b": x[1:]}, tr=1.5)
    with pytest.raises(InputError, match="unknown"):
        Recording.of("1", {"a": x})
    with pytest.raises(AlignmentError, match="contradictory"):
        Recording.of("1", {"a": both[0].series["text"]}, tr=2.0)
    with pytest.raises(InputError, match="no window of 70"):
        TRWindows(both, np.arange(60), window=70)
    with pytest.raises(InputError, match="comes twice"):
        TRWindows([both[0], both[0]], np.arange(60))
    with pytest.raises(InputError, match="has 60"):
        TRWindows(both, np.arange(61))
    with pytest.raises(InputError, match=r"not a giblet feature file|cannot read"):
        (tmp_path / "x.nc").write_bytes(b"nothing")
        Series(tmp_path / "x.nc")


def test_segments_end_at_holes_and_runs():
    assert segments(np.array([5]), np.ones(9)) == [(5, 6)]
    assert segments(np.array([], int), np.ones(9)) == []
    assert segments(np.r_[0:4, 6:9], np.repeat([1, 2], [7, 2])) == [(0, 4), (6, 7), (7, 9)]


def test_the_way_that_the_error_recommends_keeps_codes_codes(tmp_path):
    """A sound of 60 TRs and a scan of 50 that began 3 s into it, put on one clock as the message says."""
    rng = np.random.default_rng(0)
    audio = rng.integers(0, 1024, (60, 2, 112), dtype=np.int32)
    spoken = np.arange(60) % 4 > 0
    files = {
        "audio": feature_file(tmp_path, "audio", audio, "codes", codebook_size=1024),
        "text": feature_file(tmp_path, "text", rng.standard_normal((60, 3)), "continuous",
                             values_mask=(("tr",), spoken)),
    }  # fmt: skip
    bold = rng.standard_normal((50, 4)).astype(np.float32)
    with pytest.raises(
        AlignmentError, match=r"align_all_modalities, and give Recording.of {\*\*aligned.features, 'bold'"
    ):
        Recording.of("1", {**files, "bold": bold})
    aligned = align_all_modalities(files, bold, tr=1.5, stimulus_time_at_volume_0=3, on_short_bold="trim")
    recording = Recording.of("1", {**aligned.features, "bold": aligned.bold})
    assert recording.tr == 1.5
    assert {name: series.kind for name, series in recording.series.items()} == {
        "audio": "codes", "text": "continuous", "bold": "continuous",
    }  # fmt: skip
    normalisers = fit_normalisers([recording], np.arange(30))
    assert set(normalisers["1"]) == {"text", "bold"}
    sample = TRWindows([recording], np.arange(50), window=50, normalisers=normalisers)[0]
    assert sample["data"]["audio"].dtype == torch.int32
    np.testing.assert_array_equal(sample["data"]["audio"], audio[2:52])
    np.testing.assert_array_equal(sample["mask"]["text"], spoken[2:52])


def test_windows_do_not_close_up_over_volumes_that_were_cut(tmp_path):
    x = np.arange(40, dtype=np.float32)[:, None]
    film = feature_file(tmp_path, "x", x, "continuous")
    mask = ~np.isin(np.arange(40), [20, 21])
    cut = align_all_modalities({"x": film}, x, tr=1.5, volume_mask=mask)
    with pytest.raises(AlignmentError, match=r"rows 19 and 20 are volumes 19 and 22.*on_holes='keep'"):
        Recording.of("1", {**cut.features, "bold": cut.bold})
    kept = align_all_modalities({"x": film}, x, tr=1.5, volume_mask=mask, on_holes="keep")
    recording = Recording.of("1", {**kept.features, "bold": kept.bold})
    sample = TRWindows([recording], np.arange(40), window=40)[0]
    np.testing.assert_array_equal(sample["mask"]["bold"], mask)
    assert sample["mask"]["x"].all()
    other = align_all_modalities({"x": film}, x[:38], tr=1.5, stimulus_time_at_volume_0=3)
    with pytest.raises(AlignmentError, match="y and x are of different volumes"):
        two = kept.features["x"][2:]
        Recording.of("1", {"x": other.features["x"], "y": two})
    runs = xr.concat([kept.features["x"], other.features["x"]], "tr", coords="minimal", compat="override")
    assert len(Recording.of("1", {"x": runs}, run=np.repeat([1, 2], [40, 38])).run) == 78


@pytest.mark.parametrize("where", ["memory", "disk"])
def test_censored_volumes_are_absent_bold(tmp_path, where):
    mask = np.arange(30) != 7
    values = np.arange(60, dtype=np.float32).reshape(30, 2)
    path = feature_file(tmp_path, "b", values, "continuous", sample_mask=(("tr",), mask))
    bold = xr.load_dataset(path, engine="h5netcdf").rename(values="bold").assign_attrs(variable="bold")
    save_features(bold, path)
    series = Series(bold if where == "memory" else path)
    np.testing.assert_array_equal(series.valid, mask)
    clean = Normaliser.fit(series, np.arange(30))
    np.testing.assert_allclose(clean.mean, values[mask].mean(0))


def test_trs_that_differ_by_rounding_are_one_and_lists_are_told(tmp_path):
    film = feature_file(tmp_path, "x", np.zeros((40, 2), np.float32), "continuous", tr=0.72)
    assert Recording.of("1", {"x": film}, tr=0.7199999).tr == 0.7199999
    with pytest.raises(AlignmentError, match=r"contradictory: x 0.72 s, you say 0.73 s"):
        Recording.of("1", {"x": film}, tr=0.73)
    assert len(Series([[1.0], [2.0]])) == 2
    with pytest.raises(InputError, match=r"is int32 and does not say whether these are codes"):
        Series(np.zeros((9, 2, 4), np.int32))
    assert Series(np.zeros((9, 4, 4, 3), np.uint8)).kind == "continuous"  # pictures
    for wrong in ([[1.0], [2.0, 3.0]], ["a", "b"], None):
        with pytest.raises(InputError):
            Series(wrong)


def of_film(n=60, begins=0.0, tr=1.5):
    x = np.random.default_rng(0).standard_normal((n, 2)).astype(np.float32)
    made = new_features({"x": (("tr", "f"), x)}, TRGrid(tr, n, 75), film_duration=n * tr, kind="continuous")
    return made.assign(onset=made["onset"] + begins)


def of_scan(lengths=(60,), tr=1.5):
    n = sum(lengths)
    variables = {
        "bold": (("tr", "voxel"), np.random.default_rng(1).standard_normal((n, 3)).astype(np.float32)),
        "run": ("tr", np.repeat(np.arange(len(lengths)) + 1, lengths)),
        "onset": ("tr", np.concatenate([np.arange(m) * tr for m in lengths])),
    }
    return xr.Dataset(variables, attrs={"tr": tr, "variable": "bold", "kind": "continuous"})


def test_a_scan_whose_volumes_were_taken_out_is_no_recording():
    lacking = ~np.isin(np.arange(60), [20, 21])
    with pytest.raises(AlignmentError, match="rows 19 and 20 are volumes 19 and 22"):
        Recording.of("1", {"bold": of_scan().isel(tr=lacking)})
    with pytest.raises(AlignmentError, match=r"rows 19 and 20 of x begin at 28\.5 and 33 s"):
        Recording.of("1", {"x": of_film().isel(tr=lacking), "bold": of_scan((58,))})
    aligned = align_all_modalities({"x": of_film()}, of_scan().isel(tr=lacking), on_holes="keep")
    recording = Recording.of("1", {**aligned.features, "bold": aligned.bold})
    np.testing.assert_array_equal(TRWindows([recording], np.arange(60), window=60)[0]["mask"]["bold"], lacking)


def test_a_scan_that_begins_later_goes_with_features_that_do():
    late = of_scan().isel(tr=slice(4, None))
    assert len(Recording.of("1", {"x": of_film().isel(tr=slice(4, None)), "bold": late}).run) == 56
    with pytest.raises(
        AlignmentError, match=r"bold begins 6 s into its run, x at second 0 .* stimulus_time_at_volume_0=-6 "
    ):
        Recording.of("1", {"x": of_film(56), "bold": late})
    # The advice can be followed, if the film did begin 6 s into the scan.
    aligned = align_all_modalities({"x": of_film(56)}, late, stimulus_time_at_volume_0=-6)
    assert len(Recording.of("1", {**aligned.features, "bold": aligned.bold}).run) == 56
    # Of features that were cut the scan may begin within the film.
    assert len(Recording.of("1", {"x": of_film(60, begins=30.0), "bold": of_scan()}).run) == 60


def test_each_run_of_a_scan_has_its_own_start():
    two = of_scan((40, 30))
    two = two.isel(tr=(two["onset"] >= 6).values)
    x = xr.concat([of_film(40).isel(tr=slice(4, None)), of_film(30).isel(tr=slice(4, None))], "tr", data_vars="all")
    recording = Recording.of("1", {"x": x, "bold": two})
    assert np.bincount(recording.run).tolist()[1:] == [36, 26]
    runs = two["run"].values
    assert len(Recording.of("1", {"x": x, "bold": two.drop_vars("run")}, run=runs).run) == 62
    with pytest.raises(AlignmentError, match=r"go from 58\.5 to 6 s at row 36.*several runs need 'run'"):
        Recording.of("1", {"bold": two.drop_vars("run")})


def test_means_of_nothing_are_no_data():
    n = 20
    rate, shown = (np.arange(n) % 3).astype(np.float32), (np.arange(n) % 4 / 4).astype(np.float32)
    about = {"film_duration": n * 1.5, "kind": "continuous"}
    words = new_features({"word_length": (("tr",), 4 * np.sign(rate)), "word_rate": (("tr",), rate)},
                         TRGrid(1.5, n, 75), **about)  # fmt: skip
    picture = new_features({"frames": (("tr", "row"), np.ones((n, 2), np.uint8)), "shown": (("tr",), shown)},
                           TRGrid(1.5, n, 75), **about)  # fmt: skip
    np.testing.assert_array_equal(Series(words).valid, rate > 0)
    np.testing.assert_array_equal(Series(picture).valid, shown > 0)
    assert Series(words.assign_attrs(variable="word_rate")).valid.all()
    assert Normaliser.fit(Series(words), np.arange(n)).mean == 4
