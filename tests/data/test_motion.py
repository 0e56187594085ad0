"""Motion energy is what pymoten answers, turned right, at the right time, and causal where that is asked for."""

from fractions import Fraction

import numpy as np
import pytest
import xarray as xr

from giblet.data.frames import at_constant_rate, fitted, scaled
from giblet.data.gabors import GaborPyramid
from giblet.data.motion import MotionProcessor, MotionSettings
from giblet.data.picture import PictureReader
from giblet.errors import InputError
from giblet.features import load_features, save_features
from giblet.pipeline.features import extract
from tests.data.video_films import steady, write_picture

moten = pytest.importorskip("moten", reason="pymoten is not installed: pip install 'giblet[motion]'")

F = Fraction
SIZE, RATE = (24, 32), 24
FEW = {"spatial_frequencies": (0, 2, 4), "temporal_frequencies": (0, 2, 4)}
SMALL = {"size": SIZE, "spatial_frequencies": (0, 2, 4)}


def all_of(pyramid, pictures):
    """Windows by their newest picture, and energies."""
    answers = list(pyramid.answers(pictures))
    return np.concatenate([a.newest for a in answers]), np.concatenate([a.energy for a in answers])


def plain(pictures, rate=RATE, **options):
    """What pymoten itself makes of the pictures, without its logarithm."""
    made = moten.pyramids.MotionEnergyPyramid(pictures.shape[1:], rate, **{**FEW, **options})
    return made, made.project_stimulus(pictures, output_nonlinearity=lambda x: x, dtype="float64")


def grating(angle, n=48, cycles=4.0, hertz=4.0):
    """A grating that drifts towards `angle` (0 right, 90 up)."""
    down, across = np.mgrid[: SIZE[0], : SIZE[1]] / SIZE[0]
    along = across * np.cos(np.deg2rad(angle)) - down * np.sin(np.deg2rad(angle))
    time = np.arange(n)[:, None, None] / RATE
    return 0.5 + 0.4 * np.cos(2 * np.pi * (cycles * along - hertz * time))


@pytest.mark.parametrize("rate", [24, 15, 8])
def test_the_energies_of_all_filters_equal_those_of_pymoten(rate):
    pictures = np.random.default_rng(0).random((150, *SIZE))
    pyramid = GaborPyramid(SIZE, rate, keep_mean=True, **FEW)
    newest, energy = all_of(pyramid, pictures)
    assert newest.tolist() == list(range(150 + pyramid.width - 1))
    made, expected = plain(pictures, rate)
    # pymoten lays a window at its picture ceil(width / 2) - 1 before the newest, without windows beyond the ends.
    first = -(-pyramid.width // 2) - 1
    np.testing.assert_allclose(energy[first : first + 150], expected, rtol=1e-9, atol=1e-12)
    moving = (made.parameters.temporal_freq > 0) & (made.parameters.spatial_freq > 0)
    turned = (pyramid.filters.direction - made.parameters.direction)[moving] % 360
    assert set(turned) == {180}


def test_each_window_equals_pymotens_of_its_pictures_less_their_mean():
    pictures = np.random.default_rng(1).random((40, *SIZE)) * np.linspace(0.2, 1, 40)[:, None, None]
    pyramid = GaborPyramid(SIZE, RATE, **FEW)
    newest, energy = all_of(pyramid, pictures)
    for last in (0, 9, 20, 39, 45):
        window = pictures[max(0, last - pyramid.width + 1) : last + 1]
        series = np.zeros((60, *SIZE))
        series[20 - len(window) + 1 - max(0, last - 39) : 21 - max(0, last - 39)] = window - window.mean()
        expected = plain(series)[1][20 - (pyramid.width // 2 - 1)]
        np.testing.assert_allclose(energy[newest == last][0], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("angle", range(0, 360, 45))
def test_a_grating_moves_the_filters_of_its_direction_most(angle):
    pyramid = GaborPyramid(SIZE, RATE, **FEW)
    newest, energy = all_of(pyramid, grating(angle))
    about = pyramid.filters
    of_it = (about.spatial_frequency == 4) & (about.temporal_frequency == 4)
    best = np.flatnonzero(of_it)[np.argmax(energy[newest == 30][0][of_it])]
    assert about.direction[best] == angle


def test_an_unchanging_grey_has_no_energy_unless_the_mean_is_kept():
    grey = np.full((40, *SIZE), 0.37)
    assert all_of(GaborPyramid(SIZE, RATE, **FEW), grey)[1].max() < 1e-9
    pyramid = GaborPyramid(SIZE, RATE, keep_mean=True, **FEW)
    fast = pyramid.filters.temporal_frequency > 0
    assert all_of(pyramid, grey)[1][25][fast].max() > 1


def test_pictures_of_another_shape_and_frequencies_that_cannot_be_shown_are_errors():
    with pytest.raises(InputError, match=r"a picture is \(24, 30\), but these filters are for \(24, 32\)"):
        all_of(GaborPyramid(SIZE, RATE, **FEW), np.zeros((3, 24, 30)))
    with pytest.raises(InputError, match="spatial_frequencies go up to 16, but 24 rows"):
        GaborPyramid(SIZE, RATE)
    with pytest.raises(InputError, match=r"temporal_frequencies go up to 4, but .* 6 pictures per second"):
        GaborPyramid(SIZE, 6, **FEW)


@pytest.fixture
def film(tmp_path):
    def write(name, pictures, fps=RATE, size=(48, 64)):
        images = [np.uint8(np.rint(p * 255))[..., None].repeat(3, -1).repeat(size[0] // p.shape[0], 0).repeat(
            size[1] // p.shape[1], 1) for p in pictures]  # fmt: skip
        rate = F(fps)
        return write_picture(tmp_path / name, steady(rate, len(images) / rate), images, time_base=1 / rate,
                             last=1 / rate, size=size,
                             codec="ffv1" if name.endswith(".mkv") else "mpeg4")  # fmt: skip

    return write


def test_a_tr_is_the_mean_of_the_answers_that_stand_in_it(film):
    path = film("film.mov", np.random.default_rng(2).random((96, 12, 16)))
    own = MotionProcessor(tr=1.0, mean="keep", **SMALL)
    features = own.extract(path)
    seen = np.stack([s.pixels(SIZE, grey=True) for s in PictureReader(path)]) / 255
    expected = np.log(plain(seen)[1] + 1e-5)
    # The window of 16 is laid where its middle is, one picture before where pymoten has it.
    by_tr = expected[1:][:72].reshape(3, 24, -1).mean(axis=1)
    np.testing.assert_allclose(features.motion_energy[:3], by_tr, atol=1e-5)
    assert features.motion_energy_mask.all() and features.sizes["tr"] == 4


@pytest.mark.parametrize("tr", [0.72, 1.5, 2.0])
@pytest.mark.parametrize("fps", [24, 25, 30])
def test_a_flash_is_strongest_in_its_tr_and_centred_within_10_ms(film, fps, tr):
    flashed = [round(1.5 * 3 * fps) + 3, round(8.1 * fps)]
    pictures = np.full((12 * fps, 12, 16), 0.3)
    for k in flashed:
        pictures[k, 4:8, 6:10] = 1
    path = film("film.mkv", pictures, fps=fps)
    features = MotionProcessor(tr=tr, compress="none", **SMALL).extract(path)
    power = (features.motion_energy.values[:, features.temporal_frequency.values > 0] ** 2).sum(axis=1)
    for k in flashed:
        middle = (k + 0.5) / fps
        near = np.abs((np.arange(len(power)) + 0.5) * tr - middle) < 1.2 * tr
        assert np.flatnonzero(near)[np.argmax(power[near])] == int(middle // tr)
    seen = at_constant_rate(scaled(PictureReader(path), SIZE, grey=True), RATE)
    pyramid = GaborPyramid(SIZE, RATE, **FEW)
    newest, energy = all_of(pyramid, [p / 255 for p in seen])
    total = (energy**2).sum(axis=1)
    for k in flashed:
        middles = np.array([float(sum(pyramid.interval(n, causal=False))) / 2 for n in newest.tolist()])
        near = np.abs(middles - (k + 0.5) / fps) < 0.6
        weight = total[near] - total[near].min()
        assert abs((middles[near] * weight).sum() / weight.sum() - (k + 0.5) / fps) < 0.010


@pytest.mark.parametrize("tr", [0.72, 1.0, 2.0])
def test_the_causal_features_of_a_film_do_not_know_what_comes(film, tr):
    rng = np.random.default_rng(3)
    pictures = rng.random((144, 12, 16))
    other = pictures.copy()
    other[96:] = rng.random((48, 12, 16))
    paths = film("one.mkv", pictures), film("other.mkv", other)
    change, last = 96 / RATE, int(96 / RATE / tr)
    for causal in (True, False):
        one, two = (MotionProcessor(tr=tr, causal=causal, **SMALL).extract(p) for p in paths)
        same = (one.motion_energy.values == two.motion_energy.values).all(axis=1)
        assert not same[last + 1 :].any()
        if causal:
            assert same[:last].all() and last * tr <= change
            assert one.attrs["delay"] == 0.375
        elif tr == 1 or tr == 2:  # the last TR before the change ends with it
            assert not same[last - 1]


def test_causal_answers_are_the_same_ones_a_delay_later():
    pyramid = GaborPyramid(SIZE, RATE, **FEW)
    for newest in (0, 30):
        centred, causal = (pyramid.interval(newest, causal=c) for c in (False, True))
        assert float(causal[0] - centred[0]) == pyramid.delay
        assert causal[0] == F(newest + 1, RATE)


def test_a_film_of_another_rate_is_shown_by_how_long_each_frame_is_there(film):
    values = np.random.default_rng(4).random(50)
    path = film("film.mkv", np.broadcast_to(values[:, None, None], (50, 12, 16)), fps=25)
    pictures = [p.mean() / 255 for p in at_constant_rate(scaled(PictureReader(path), SIZE, grey=True), RATE)]
    edges = np.arange(49) / RATE
    total = np.interp(edges, np.arange(51) / 25, np.r_[0, np.cumsum(np.rint(values * 255) / 255) / 25])
    np.testing.assert_allclose(pictures, np.diff(total) * RATE, atol=0.01)


def test_pictures_of_another_shape_are_squashed_with_a_warning_cropped_or_padded(film, caplog):
    path = film("film.mkv", np.full((24, 12, 12), 0.8), size=(48, 48))
    MotionProcessor(**SMALL).extract(path)
    assert "pictures of 48 x 48 are squashed to 32 x 24" in caplog.text
    (shown,) = list(PictureReader(path))[:1]
    assert fitted(shown, SIZE, grey=True, fit="crop").min() > 190
    padded = fitted(shown, SIZE, grey=True, fit="pad")
    assert padded[:, :4].max() == padded[:, 28:].max() == 0 and padded[:, 5:27].min() > 190


def test_a_film_that_does_not_fit_a_saved_pyramid_is_one_error(film, tmp_path):
    path = film("film.mov", np.random.default_rng(5).random((48, 12, 16)))
    own = MotionProcessor(causal=True, **SMALL)
    saved = save_features(own.extract(path), tmp_path / "film_desc-motion_features.nc")
    again = MotionProcessor(pyramid=str(saved)).extract(path)
    xr.testing.assert_identical(again, load_features(saved))
    asked = MotionSettings.make(pyramid=str(saved))
    wide = film("wide.mkv", np.full((24, 12, 32), 0.5), size=(48, 128))
    with pytest.raises(InputError, match="pictures of 128 x 48, not 64 x 48 as the film of the pyramid"):
        extract(wide, asked, tmp_path)
    fast = film("fast.mov", np.full((60, 12, 16), 0.5), fps=30)
    with pytest.raises(InputError, match="30 frames per second, not 24 as the film of the pyramid"):
        extract(fast, asked, tmp_path)
    with pytest.raises(InputError, match=r"size is \(36, 64\), but \(24, 32\) in the pyramid"):
        MotionProcessor(size=(36, 64), pyramid=str(saved))


def test_a_film_with_a_late_picture_has_no_answers_before(film, tmp_path):
    from tests.films import Track, click_track, write_film

    path = write_film(
        tmp_path / "late.mp4", Track(click_track([1], 8, 44_100), 44_100), picture=6, picture_start=4.0, fps=24
    )
    features = MotionProcessor(tr=1.0, size=(24, 32), spatial_frequencies=(0, 2)).extract(path, 12)
    assert features.motion_energy_mask.values.tolist() == [False] * 3 + [True] * 7 + [False] * 2
