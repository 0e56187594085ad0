"""Windows hold the TRs they say and never two runs, and absent data are marked."""

import pickle

import numpy as np
import pytest
import torch
import xarray as xr
from torch.utils.data import DataLoader

from giblet.alignment import align_all_modalities
from giblet.data.dataset.normalise import Normaliser
from giblet.data.dataset.series import Series
from giblet.data.dataset.windows import Recording, TRWindows, fit_normalisers
from giblet.errors import AlignmentError, InputError
from giblet.features import new_features, save_features
from giblet.timing import TRGrid


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


def test_sources_that_do_not_fit_are_refused_with_the_reason(recordings, tmp_path):
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
    with pytest.raises(InputError, match="is listed twice"):
        TRWindows([both[0], both[0]], np.arange(60))
    with pytest.raises(InputError, match="expected 0 to 59"):
        TRWindows(both, np.arange(61))
    with pytest.raises(InputError, match=r"not a giblet feature file|cannot read"):
        (tmp_path / "x.nc").write_bytes(b"nothing")
        Series(tmp_path / "x.nc")


def test_aligning_as_the_error_recommends_keeps_codes_categories(tmp_path):
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
        AlignmentError, match=r"align_all_modalities, and pass Recording.of {\*\*aligned.features, 'bold'"
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
    with pytest.raises(AlignmentError, match=r"contradictory: x 0.72 s, tr is 0.73 s"):
        Recording.of("1", {"x": film}, tr=0.73)
    assert len(Series([[1.0], [2.0]])) == 2
    with pytest.raises(InputError, match=r"is int32 and is not marked as codes"):
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


def test_means_over_no_picture_or_word_count_as_missing():
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
