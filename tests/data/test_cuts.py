"""Cuts are seconds of the film, whatever its frame rate, and know nothing of what comes."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from giblet.data.cuts import CutProcessor
from giblet.errors import InputError
from giblet.features import load_features, save_features
from tests.data.video_films import steady, write_picture

pytest.importorskip("scenedetect", reason="scenedetect is not installed: pip install 'giblet[cuts]'")

F = Fraction
SAMPLE = Path(__file__).parents[2] / "samples" / "sintel_trailer.mp4"


def shots(times, cuts):
    """A picture for each frame: another texture in every shot, with a disc that moves."""
    down, across = np.mgrid[:48, :64]
    images = []
    for time in times:
        shot = sum(time >= cut for cut in cuts)
        rng = np.random.default_rng(shot)
        image = np.broadcast_to(rng.integers(0, 256, 3), (48, 64, 3)).astype(np.uint8).copy()
        image[(down - 24) ** 2 + (across - 10 - 3 * float(time)) ** 2 < 60] = rng.integers(0, 256, 3)
        images.append(image)
    return images


def uneven(seconds):
    """Frames of 20 to 120 ms on a clock of milliseconds."""
    ticks = np.r_[0, np.cumsum(np.random.default_rng(3).integers(20, 120, 1000))]
    return [F(int(tick), 1000) for tick in ticks if tick < seconds * 1000]


@pytest.mark.parametrize("tr", [0.72, 1.5, 2.0])
@pytest.mark.parametrize("rate", ["25", "30000/1001", "uneven"])
def test_each_cut_is_the_second_of_its_first_frame_and_in_its_tr(tmp_path, rate, tr):
    times = uneven(12) if rate == "uneven" else steady(F(rate), 12)
    base = F(1, 1000) if rate == "uneven" else 1 / F(rate)
    cuts = [next(t for t in times if t >= F(c)) for c in ("1.5", "2.88", "6", "10.1")]
    name = "film.mkv" if rate == "uneven" else "film.mov"
    film = write_picture(tmp_path / name, times, shots(times, cuts), time_base=base, last=base, size=(48, 64))
    features = CutProcessor(tr=tr).extract(film)
    np.testing.assert_allclose(features.cut_onset, [float(c) for c in cuts], atol=1e-9)
    expected = np.bincount([int(c // F(str(tr))) for c in cuts], minlength=features.sizes["tr"])
    np.testing.assert_allclose(features.cut_rate * tr, expected, atol=1e-6)
    some = CutProcessor(tr=tr).extract(film, 2)
    assert some.cut_onset.values.tolist() == [float(c) for c in cuts if c < 2 * F(str(tr))]


def test_what_comes_later_takes_no_cut_back(tmp_path):
    times, found = steady(F(25), 6), []
    for cuts in ([F(2)], [F(2), F("2.2"), F("2.4"), F("2.52"), F(4)]):
        film = write_picture(
            tmp_path / f"{len(cuts)}.mkv", times, shots(times, cuts), time_base=F(1, 25), last=F(1, 25), size=(48, 64)
        )
        found.append(CutProcessor().extract(film).cut_onset.values.tolist())
    assert found == [[2.0], [2.0, 4.0]]


def test_a_film_without_cuts_has_a_rate_of_0_in_its_file(tmp_path):
    times = steady(F(25), 4)
    film = write_picture(
        tmp_path / "film.mkv", times, shots(times, []), time_base=F(1, 25), last=F(1, 25), size=(48, 64)
    )
    features = load_features(save_features(CutProcessor().extract(film), tmp_path / "film_desc-cuts_features.nc"))
    assert features.cut_rate.values.tolist() == [0, 0, 0] and features.sizes["cut"] == 0


def test_the_cuts_of_a_real_film_are_those_that_scenedetect_finds_itself():
    import scenedetect
    from scenedetect.detector import FlashFilter

    ours = CutProcessor().extract(SAMPLE).cut_onset.values
    detector = scenedetect.ContentDetector(min_scene_len=0.6, filter_mode=FlashFilter.Mode.SUPPRESS)
    theirs = [first.seconds for first, _ in scenedetect.detect(str(SAMPLE), detector)[1:]]
    assert len(ours) > 10
    np.testing.assert_allclose(ours, theirs, atol=1.001 / 24)  # it scales frames otherwise
    assert np.isclose(ours, theirs, atol=1e-3).sum() > 10


def test_options_out_of_range_are_one_error():
    with pytest.raises(InputError, match="threshold is 0"):
        CutProcessor(threshold=0)
