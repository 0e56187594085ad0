"""Bands of values that have times of their own: brought to the TR as what they are, and scored like feature files."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from pydantic import ValidationError

from giblet.encoding.settings import BandSettings, EncodeSettings
from giblet.errors import AlignmentError, InputError
from giblet.features import load_features
from giblet.pipeline import encode
from giblet.pipeline.encoding_features import BandReader
from giblet.pipeline.encoding_times import on_trs
from giblet.training.films import Films
from tests.encoding_study import N_TRS, RESPOND, TR, make_encoding_study


def read(
    path: Path, tr: float = 2.0, n_volumes: int | None = None, begins: float = 0.0, times: str = "time",
    files: dict[str, Path] | None = None, **band: Any,
) -> xr.Dataset:  # fmt: skip
    settings = BandSettings(of="x", times=times, **band)
    reader = BandReader({"x": settings}, codec="bundled", films=Films())
    return reader.of_run({"x": path, **(files or {})}, tr, n_volumes, begins)["x"][1]


def table(path: Path, **columns: Any) -> Path:
    pd.DataFrame(columns).to_csv(path, sep="\t", index=False)
    return path


@pytest.mark.parametrize("tr", [0.72, 1.5, 2.0])
def test_events_fall_into_the_tr_that_holds_them(tr, tmp_path):
    onsets = np.array([0.0, 0.7199, 1.44, 1.5, 4.32, 4.5, 5.999, 6.0])
    sizes = 2.0 ** np.arange(len(onsets))
    found = read(table(tmp_path / "e.tsv", time=onsets, size=sizes), tr, sampling="event")
    # In thousandths of milliseconds, in whole numbers.
    wanted = np.bincount(np.round(onsets * 1e6).astype(int) // round(tr * 1e6), sizes)
    np.testing.assert_array_equal(found.band.values[:, 0], wanted)
    assert found.band_mask.all()


def test_events_without_amounts_are_counted_up_to_the_end_of_the_scan(tmp_path):
    found = read(table(tmp_path / "cuts.tsv", time=[3.0, 3.5, 9.0]), n_volumes=10, begins=4.0, sampling="event")
    np.testing.assert_array_equal(found.band.values[:, 0], [0, 2, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0])


def test_means_are_weighted_by_how_long_values_last(tmp_path):
    times, values = np.array([0.0, 0.5, 3.0, 4.0, 7.0]), np.array([1.0, 3.0, 10.0, 20.0, 0.0])
    found = read(table(tmp_path / "m.tsv", time=times, v=values, w=-values), sampling="mean")
    fine = np.repeat(values, [500, 2500, 1000, 3000, 3000])  # milliseconds; the last lasts as long as the one before
    np.testing.assert_allclose(found.band.values[:, 0], fine.reshape(-1, 2000).mean(axis=1))
    np.testing.assert_allclose(found.band.values[:, 1], -found.band.values[:, 0])


def test_points_are_read_at_the_middle_of_the_tr(tmp_path):
    times = np.array([1.2, 2.9, 3.4, 8.0, 11.3])
    values = np.array([[1.0], [5.0], [2.0], [8.0], [-3.0]])
    found = read(table(tmp_path / "p.tsv", time=times, v=values[:, 0]), sampling="point")
    np.testing.assert_allclose(found.band.values[1:, 0], np.interp([3, 5, 7, 9, 11], times, values[:, 0]))
    assert found.band_mask.values.tolist() == [False, True, True, True, True, True]  # at 1 s nothing is known


def test_a_whole_scan_does_not_drift():
    times = np.arange(10_000) * 0.72 + 0.36
    found, present = on_trs(times, np.arange(10_000.0)[:, None], "point", 0.72)
    assert present.all() and len(found) == 10_000
    np.testing.assert_allclose(found[:, 0], np.arange(10_000), atol=1e-6)
    sums, _ = on_trs(np.arange(10_000) * 0.72, np.ones((10_000, 1)), "event", 0.72)
    assert (sums == 1).all()


def test_times_in_single_precision_are_read_as_they_were_written(tmp_path):
    np.save(tmp_path / "t.npy", (np.arange(1000) * 0.72).astype(np.float32))  # 7.2 becomes 7.19999981
    np.save(tmp_path / "v.npy", np.ones(1000))
    found = read(tmp_path / "v.npy", 0.72, times="t", files={"t": tmp_path / "t.npy"}, sampling="event")
    assert (found.band == 1).all()


def test_arrays_tables_and_netcdf_of_the_same_values_are_the_same_band(tmp_path):
    rng = np.random.default_rng(0)
    times, values = np.cumsum(rng.uniform(0.1, 0.9, 60)), rng.standard_normal((60, 3))
    np.save(tmp_path / "v.npy", values)
    np.save(tmp_path / "t.npy", times)
    pd.DataFrame(values, columns=list("abc")).assign(at=times).to_csv(tmp_path / "v.tsv", sep="\t", index=False)
    along = {"at": ("word", times, {"units": "s"})}
    xr.Dataset({"vector": (("dim", "word"), values.T)}, coords=along).to_netcdf(tmp_path / "v.nc", engine="h5netcdf")
    for sampling in ("point", "mean", "event"):
        array = read(tmp_path / "v.npy", times="t", files={"t": tmp_path / "t.npy"}, sampling=sampling)
        named = read(tmp_path / "v.tsv", times="at", sampling=sampling)
        coordinate = read(tmp_path / "v.nc", times="at", sampling=sampling)
        np.testing.assert_allclose(named.band, array.band, rtol=1e-12)
        np.testing.assert_allclose(coordinate.band, array.band, rtol=1e-12)
        np.testing.assert_array_equal(coordinate.band_mask, array.band_mask)
    some = read(tmp_path / "v.tsv", times="at", sampling="mean", columns=("c", "a"))
    whole = read(tmp_path / "v.tsv", times="at", sampling="mean")
    np.testing.assert_array_equal(some.band, whole.band[:, [2, 0]])


def test_a_series_at_the_middles_of_trs_is_scored_like_the_feature_file_of_it(tmp_path):
    study = make_encoding_study(tmp_path)
    rate = load_features(study.words).word_rate.values
    table(tmp_path / "rate.tsv", at=(np.arange(N_TRS) + 0.5) * TR, rate=rate)
    bands = {"rate": {"of": "rate", "times": "at", "sampling": "point"}}
    runs = [study.run(features={"rate": str(tmp_path / "rate.tsv")})]
    timed = {"data": {"subjects": [{"name": "01", "runs": runs}]}, "bands": bands, "unique": False}
    plain = {"bands": {"rate": {"of": "text", "take": "word_rate"}}, "unique": False}
    found, wanted = (
        encode(EncodeSettings.make(**study.settings(tmp_path / name, **options))).subjects[0].stats["r"]
        for name, options in (("timed", timed), ("plain", plain))
    )
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    assert (found[RESPOND] > 0.4).all()
    # Other times are another run.
    table(tmp_path / "rate.tsv", at=(np.arange(N_TRS) + 0.6) * TR, rate=rate)
    with pytest.raises(InputError, match="overwrite"):
        encode(EncodeSettings.make(**study.settings(tmp_path / "timed", **timed)))


@pytest.mark.parametrize(
    ("band", "match"),
    [
        ({"times": "at"}, "give sampling .point, mean or event. too"),
        ({"sampling": "mean"}, "give times too"),
        ({"times": "at", "sampling": "bin"}, "point"),
    ],
)
def test_times_and_sampling_belong_together(band, match):
    with pytest.raises(ValidationError, match=match):
        BandSettings(of="x", **band)


@pytest.mark.parametrize(
    ("columns", "options", "match"),
    [
        ({"onset": [0.0, 1.0], "v": [1.0, 2.0]}, {}, "no column 'time' with times: it has onset, v"),
        (
            {"time": [0.0, -1.0], "v": [1.0, 2.0]},
            {"sampling": "event"},
            "-1 as the time of row 2: seconds from the start",
        ),
        ({"time": [0.0, np.nan, 2], "v": [1.0, 2.0, 3]}, {}, "nan as the time of row 2"),
        ({"time": [0.0, 4.0, 2], "v": [1.0, 2.0, 3]}, {}, "increas"),
        ({"time": [0.0, 4.0], "v": [1.0, np.nan]}, {}, "1 NaN or infinite values, the first in row 2"),
        ({"time": [0.0, 120_000_000], "v": [1.0, 2]}, {}, "are they in milliseconds"),
        ({"time": [0.2, 0.8], "v": [1.0, 2]}, {"sampling": "point"}, "before one TR of 2 s is known"),
        ({"time": [5.1, 5.3, 7.8], "v": [1.0, 2, 3]}, {"sampling": "mean", "tr": 4}, "hold no whole TR"),
    ],
)
def test_bad_times_are_one_clear_error_that_names_the_band(columns, options, match, tmp_path):
    with pytest.raises((InputError, AlignmentError), match=match) as told:
        read(table(tmp_path / "t.tsv", **columns), **{"sampling": "mean", **options})
    assert str(told.value).startswith("band 'x': ")


def test_files_that_lack_their_times_say_what_they_have(tmp_path):
    np.save(tmp_path / "v.npy", np.zeros((4, 2)))
    np.save(tmp_path / "t.npy", np.arange(3.0))
    with pytest.raises(InputError, match="name the array with its times in features"):
        read(tmp_path / "v.npy", sampling="mean")
    with pytest.raises(InputError, match="4 rows and 3 times"):
        read(tmp_path / "v.npy", times="t", files={"t": tmp_path / "t.npy"}, sampling="mean")
    two = xr.Dataset({name: ("time", np.zeros(3)) for name in "ab"}, coords={"time": [0.0, 1.0, 2.0]})
    two.to_netcdf(tmp_path / "two.nc", engine="h5netcdf")
    with pytest.raises(InputError, match="has a, b along time: say which with take"):
        read(tmp_path / "two.nc", sampling="mean")
    assert read(tmp_path / "two.nc", sampling="mean", take="b").band.shape == (1, 1)
    with pytest.raises(InputError, match="no times 'at' along one dimension: it has"):
        read(tmp_path / "two.nc", times="at", sampling="mean")
    dates = two.assign_coords(time=pd.date_range("2026-01-01", periods=3))
    dates.to_netcdf(tmp_path / "dates.nc", engine="h5netcdf")
    with pytest.raises(InputError, match=r"times time are datetime64.*: seconds from the start of the film"):
        read(tmp_path / "dates.nc", take="a", sampling="mean")
    lengths = two.assign_coords(time=pd.to_timedelta([0.0, 1.0, 4.0], unit="s"))
    lengths.to_netcdf(tmp_path / "lengths.nc", engine="h5netcdf")
    assert read(tmp_path / "lengths.nc", take="a", sampling="event").band.shape == (3, 1)
