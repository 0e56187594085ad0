"""Pictures stay on the clock: a frame counts in the TRs in which it is on the screen, whatever the frame rate."""

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
import xarray as xr

from giblet.data.media import AudioReader, media_info
from giblet.data.picture import PictureReader
from giblet.data.video import VideoProcessor, luminance_of
from giblet.errors import InputError
from giblet.features import describe, load_features, save_features
from giblet.spans import volume_grid, volume_rate
from giblet.timing import exact
from tests.data.video_films import steady, write_picture
from tests.films import Track, click_times, click_track, write_film

F = Fraction
SAMPLE = Path(__file__).parents[2] / "samples" / "sintel_trailer.mp4"
RATES = {"23.976": F(24000, 1001), "25": F(25), "29.97": F(30000, 1001), "variable": None}


def frame_times(rate, seconds, tr):
    """Frame starts; the variable film has steps of 0.02 to 0.4 s, on a clock of milliseconds."""
    if rate is not None:
        return steady(rate, seconds), 1 / rate, 1 / rate
    steps = np.random.default_rng(3).integers(20, 400, int(seconds * 1000))
    ticks = np.concatenate([[0], np.cumsum(steps)])
    ticks = ticks[ticks < seconds * 1000]
    return [F(int(tick), 1000) for tick in ticks], F(1, 1000), F(int(seconds * 1000) - int(ticks[-1]), 1000)


def check_flashes_and_clicks(tmp_path, rate, offset, trs, tr=1.5):
    """Flashes begin with the first frame inside TR k; clicks sound then, too. With a positive offset the sound begins
    that much later than the picture, with a negative one the picture does."""
    late_sound, late_picture = max(offset, 0), max(-offset, 0)
    seconds = (max(trs) + 2) * tr
    times, time_base, last = frame_times(RATES[rate], seconds, tr)
    times = [time + round(F(str(late_picture)) / time_base) * time_base for time in times]
    # Not in TR 0 before either track has begun.
    flashed = [next(i for i, time in enumerate(times) if time >= k * exact(tr) + F(str(late_sound))) for k in trs]
    assert [int(times[i] // exact(tr)) for i in flashed] == list(trs)
    values = [30] * len(times)
    for i in flashed:
        values[i] = 240
    clicks = [float(times[i]) - late_sound + 0.005 for i in flashed]
    film = write_picture(
        tmp_path / "film.mkv" if RATES[rate] is None else tmp_path / "film.mov", times, values, time_base=time_base,
        last=last, clicks=clicks, sound_seconds=seconds + 1, sound_start=late_sound, size=(16, 32),
    )  # fmt: skip
    features = VideoProcessor(tr=tr, size=(8, 16)).extract(film)
    reader = AudioReader(film, sample_rate=8000)
    heard = click_times(np.concatenate(list(reader)), 8000)
    assert (np.floor(heard / tr)).astype(int).tolist() == list(trs)
    assert features.sizes["tr"] == volume_grid(tr, None, reader.film_duration).n_trs
    dark = np.median(features.luminance.values[1:-3])
    assert np.flatnonzero(features.luminance.values > dark * 1.15).tolist() == list(trs)
    # A flash goes on and off: both changes are in its TR here.
    assert np.flatnonzero(features.luminance_change.values > 0.1).tolist() == list(trs)
    assert features.frames.values[0].min() > 20, "the first frame is black"


@pytest.mark.parametrize("offset", [0, 0.4, -0.4])
@pytest.mark.parametrize("rate", RATES)
def test_a_flash_and_a_click_at_tr_k_land_in_tr_k_of_picture_and_sound(tmp_path, rate, offset):
    check_flashes_and_clicks(tmp_path, rate, offset, (0, 1, 9))


@pytest.mark.slow
@pytest.mark.parametrize(("rate", "offset"), [
    pytest.param(rate, offset, marks=[] if offset == own else pytest.mark.long)
    for rate, own in zip(RATES, (0, 0.4, -0.4, 0.4), strict=True)
    for offset in (0, 0.4, -0.4)
])  # fmt: skip
def test_a_flash_and_a_click_at_tr_500_land_in_tr_500_of_picture_and_sound(tmp_path, rate, offset):
    check_flashes_and_clicks(tmp_path, rate, offset, (0, 1, 500))


@pytest.mark.parametrize("name", ["film.mkv", "film.ts"])
def test_a_film_whose_timestamps_begin_late_still_begins_at_0(tmp_path, name):
    # The sound is heard from 0.4 s on; its clicks are in seconds from there. The medium's own clock says 5 s then.
    sound = Track(click_track([1.0, 3.2], 5, 44_100), 44_100, codec="mp2", start=5.4)
    film = write_film(
        tmp_path / name, sound, picture=6, picture_start=5.0, fps=25, flashes=[6.4, 8.6], codec="mpeg2video"
    )
    assert media_info(film).zero > 4
    features = VideoProcessor(size=(4, 6)).extract(film)
    lit = np.flatnonzero(features.luminance.values > 0.06).tolist()
    heard = click_times(np.concatenate(list(AudioReader(film, sample_rate=8000))), 8000)
    np.testing.assert_allclose(heard, [1.4, 3.6], atol=0.02)
    assert lit == np.floor(heard / 1.5).astype(int).tolist() == [0, 2]
    assert features.shown.values.min() > 0.99


def test_the_mean_is_weighted_by_how_long_each_frame_is_shown(tmp_path):
    # 40 for 1.2 s, 200 until 5 s: TR 0 (1.5 s) holds 1.2 s of 40 and 0.3 s of 200, TRs 1 and 2 only 200.
    film = write_picture(tmp_path / "f.mkv", [F(0), F(6, 5)], [40, 200], time_base=F(1, 1000), last=F(19, 5))
    features = VideoProcessor(tr=1.5, size=(4, 6)).extract(film)
    frames = features.frames.values.astype(float)
    assert features.sizes["tr"] == 4
    np.testing.assert_allclose(frames[0], (1.2 * 40 + 0.3 * 200) / 1.5, atol=3)
    np.testing.assert_allclose(frames[1:], 200, atol=3)
    np.testing.assert_allclose(features.shown, [1, 1, 1, 1 / 3], atol=1e-3)
    low, high = (((v / 255 + 0.055) / 1.055) ** 2.4 for v in (40, 200))
    np.testing.assert_allclose(features.luminance, [(1.2 * low + 0.3 * high) / 1.5, *[high] * 3], atol=0.02)
    np.testing.assert_allclose(features.luminance_change, [(high - low) / 1.5, 0, 0, 0], atol=0.02)
    np.testing.assert_allclose(features.contrast, 0, atol=0.005)
    assert features.valid.values.tolist() == [True, True, True, False]


def test_the_middle_frame_is_the_one_on_the_screen_at_mid_tr(tmp_path):
    # TR 1 s: 0.5 s falls just on the second frame; 1.5 s into the third, which lasts from 1.2 to 3 s.
    times = [F(0), F(1, 2), F(6, 5)]
    film = write_picture(tmp_path / "f.mkv", times, [20, 120, 220], time_base=F(1, 1000), last=F(9, 5))
    features = VideoProcessor(tr=1.0, size=(4, 6), frame="middle").extract(film)
    np.testing.assert_allclose(features.frames.values[:, 0, 0, 0].astype(float), [120, 220, 220], atol=3)


def test_contrast_is_the_standard_deviation_of_luminance(tmp_path):
    half = np.zeros((32, 48, 3), np.uint8)
    half[:, 24:] = 255
    film = write_picture(tmp_path / "f.mkv", [F(0)], [half], time_base=F(1, 1000), last=F(3))
    features = VideoProcessor(size=(32, 48)).extract(film)
    np.testing.assert_allclose(features.contrast, 0.5, atol=0.02)
    np.testing.assert_allclose(features.luminance, 0.5, atol=0.02)


def test_luminance_change_is_the_same_at_25_and_50_frames_per_second(tmp_path):
    found = []
    for fps in (25, 50):
        times = steady(F(fps), 6)
        images = []
        for time in times:  # a bright edge that moves by a pixel every 1/8 s, from 1/8 s on
            image = np.full((32, 48, 3), 20, np.uint8)
            image[:, : int(8 * time)] = 220
            images.append(image)
        film = write_picture(tmp_path / f"{fps}.mkv", times, images, time_base=F(1, fps), last=F(1, fps), codec="ffv1")
        found.append(VideoProcessor(size=(32, 48)).extract(film).luminance_change.values)
    low, high = (((v / 255 + 0.055) / 1.055) ** 2.4 for v in (20, 220))
    for motion in found:
        np.testing.assert_allclose(motion, np.array([11, 12, 12, 12]) / 48 * (high - low) / 1.5, rtol=0.02)


def test_luminance_of_primaries_is_that_of_bt_709():
    pixels = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [0, 0, 0], [188, 188, 188]], np.uint8)
    np.testing.assert_allclose(luminance_of(pixels), [0.2126, 0.7152, 0.0722, 1, 0, 0.5029], atol=1e-4)


def test_a_longer_film_is_cut_and_a_shorter_one_padded_with_black_and_both_are_reported(tmp_path):
    film = write_picture(tmp_path / "f.mkv", steady(F(10), 6), [90] * 60, time_base=F(1, 10), last=F(1, 10))
    cut, padded = (VideoProcessor(size=(4, 6)).extract(film, n) for n in (2, 6))
    whole = VideoProcessor(size=(4, 6)).extract(film)
    np.testing.assert_array_equal(cut.frames, whole.frames[:2])
    np.testing.assert_array_equal(padded.frames[:4], whole.frames)
    assert describe(cut)["cut"] == pytest.approx(3)
    assert describe(padded)["padded"] == pytest.approx(3)
    assert padded.valid.values.tolist() == [True] * 4 + [False] * 2
    for name in ("frames", "luminance", "contrast", "luminance_change", "shown"):
        assert not padded[name].values[4:].any(), name


def test_a_picture_that_begins_late_leaves_no_black_in_the_mean(tmp_path):
    film = write_film(
        tmp_path / "f.mp4", Track(click_track([1], 6, 44_100), 44_100), picture=4, picture_start=2.0, fps=10
    )
    features = VideoProcessor(size=(4, 6)).extract(film)
    np.testing.assert_allclose(features.shown[:3], [0, 2 / 3, 1], atol=0.02)
    assert not features.frames.values[0].any()
    np.testing.assert_allclose(features.frames.values[1:3].astype(float), 64, atol=4)


@pytest.mark.parametrize("tr", [1.5, 0.72, 1.49, 2.0])
def test_written_films_show_each_tr_for_exactly_one_tr(tmp_path, tr):
    frames = np.random.default_rng(0).integers(0, 256, (7, 1, 1, 3)).astype(np.uint8).repeat(36, 1).repeat(64, 2)
    video = VideoProcessor(tr=tr, size=(36, 64))
    path = video.features_to_video(frames, tmp_path / "back.mp4")
    with av.open(str(path)) as container:
        starts = [frame.pts * frame.time_base for frame in container.decode(video=0)]
        stream = container.streams.video[0]
        assert stream.duration * stream.time_base == 7 * exact(tr)
    assert starts == [k * exact(tr) for k in range(7)]
    back = video.extract(path)
    assert back.sizes["tr"] == 7
    assert back.valid.all()
    assert np.abs(back.frames.values.astype(float) - frames).mean() < 4
    assert [p.name for p in tmp_path.iterdir()] == ["back.mp4"]


def test_the_feature_file_survives_and_equals_a_second_extraction(tmp_path):
    video = VideoProcessor()
    features = video.extract(SAMPLE, 3)
    assert features.frames.shape == (3, 90, 160, 3)
    assert features.frames.dtype == np.uint8
    xr.testing.assert_identical(features, video.extract(SAMPLE, 3))
    loaded = load_features(save_features(features, tmp_path / "sintel_desc-video_features.nc"))
    xr.testing.assert_identical(loaded, features)
    assert loaded.attrs["kind"] == "continuous"


@pytest.mark.parametrize("tr", [1.5, 0.72, 1.49, 2.0, 0.7, 3])
def test_one_value_per_tr_is_a_clock_that_every_file_can_state(tr):
    grid = volume_grid(tr, 2000, 0)
    assert float(grid.frame_rate) == volume_rate(tr)
    np.testing.assert_array_equal(grid.edges, np.arange(2001))


def test_frames_are_contiguous_in_time():
    shown = [(item.start, item.end) for item in PictureReader(SAMPLE)]
    assert shown[0][0] == 0
    assert all(before[1] == after[0] for before, after in pairwise(shown))


@pytest.fixture
def image_model(tmp_path):
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=32, patch_size=16
    )
    transformers.ViTModel(config).save_pretrained(tmp_path / "vit")
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path / "vit")
    return tmp_path / "vit"


def test_image_embeddings_equal_transformers_own(image_model, tmp_path):
    import torch
    import transformers

    film = write_picture(tmp_path / "f.mkv", [F(0), F(2)], [40, 200], time_base=F(1, 1000), last=F(1))
    features = VideoProcessor(tr=1.0, size=(4, 6), model=str(image_model), device="cpu").extract(film, 4)
    frames = [item.pixels() for item in PictureReader(film)]
    inputs = transformers.AutoImageProcessor.from_pretrained(image_model)(images=frames, return_tensors="pt")
    with torch.inference_mode():
        expected = transformers.AutoModel.from_pretrained(image_model).eval()(**inputs).pooler_output.numpy()
    np.testing.assert_allclose(features.embedding[:3], expected[[0, 0, 1]], atol=1e-5)
    assert features.embedding_mask.values.tolist() == [True, True, True, False]
    assert not features.embedding.values[3].any()


def test_bad_input_is_one_line_that_says_what_to_do(tmp_path):
    sound = write_film(tmp_path / "s.m4a", Track(click_track([1], 2, 44_100), 44_100))
    with pytest.raises(InputError, match="has no picture"):
        VideoProcessor().extract(sound)
    with pytest.raises(InputError, match="frame is 'median'"):
        VideoProcessor(frame="median")
    with pytest.raises(InputError, match=r"size is \(0, 5\)"):
        VideoProcessor(size=(0, 5))
    with pytest.raises(InputError, match="name a folder with the model"):
        VideoProcessor(model=str(tmp_path / "nothing"))
    frames = np.zeros((2, 4, 4, 3))
    with pytest.raises(InputError, match=r"must end in \.mp4"):
        VideoProcessor().features_to_video(frames, tmp_path / "a.avi")
    with pytest.raises(InputError, match="clip predictions first"):
        VideoProcessor().features_to_video(frames - 1, tmp_path / "a.mp4")
    with pytest.raises(InputError, match="must be even"):
        VideoProcessor().features_to_video(frames[:, :3], tmp_path / "a.mp4")
    assert not (tmp_path / "a.mp4").exists()


def test_a_file_with_the_old_name_of_the_luminance_change_says_the_new_one(tmp_path):
    features = VideoProcessor(size=(4, 6)).extract(SAMPLE, 2).rename(luminance_change="motion_energy")
    path = save_features(features, tmp_path / "sintel_desc-video_features.nc")
    with pytest.raises(InputError, match=r"motion_energy is now called luminance_change; extract .* again"):
        load_features(path)
