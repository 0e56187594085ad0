"""The clock: exact at any TR, lossless, without drift."""

from fractions import Fraction
from math import floor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from giblet import timing
from giblet.errors import InputError
from giblet.timing import (
    TRGrid,
    blocks_by_tr,
    exact,
    first_frame,
    first_frames,
    grid_for,
    group_codes_by_tr,
    group_with_spill,
    same_tr,
    ungroup_codes,
    ungroup_frames,
    ungroup_in_blocks,
)

TRS = [1.5, 0.72, 1.49, 2.0, 0.8, 1.4999999, 3.3333]
trs = st.decimals("0.02", "4", places=4).map(float)


def counting(n_codebooks: int, n_frames: int) -> np.ndarray:
    """Codes whose value tells where they were."""
    return np.arange(n_codebooks * n_frames, dtype=np.int32).reshape(n_codebooks, n_frames)


def test_reference_film_has_920_trs_of_112_frames_and_460_odd_ones():
    grid = TRGrid(1.5, 920, 75)
    grouped = group_with_spill(counting(8, 103_500), grid)
    assert grouped.codes.shape == (920, 8, 112)
    assert grouped.codes.dtype == np.int32
    assert grouped.spill_mask.sum() == 460
    assert grid.n_frames == 103_500
    assert grid.n_samples(24_000) == 33_120_000


@pytest.mark.parametrize("tr", TRS)
@pytest.mark.parametrize("rate", [75, Fraction(22_050, 512), 24, Fraction(24_000, 1001)])
def test_no_edge_is_more_than_half_a_frame_off_after_10000_trs(tr, rate):
    if exact(tr) * rate < 1:
        pytest.skip("TR shorter than a frame")
    grid = TRGrid(tr, 10_000, rate)
    for k in (0, 1, 2, 999, 1000, 9999, 10_000):
        assert abs(int(grid.edges[k]) - k * exact(tr) * rate) <= Fraction(1, 2)
        assert grid.edges[k] == floor(k * Fraction(str(tr)) * rate + Fraction(1, 2))
    assert set(grid.counts) <= {grid.frames_per_tr, grid.max_frames_per_tr}


def test_grouping_by_the_floor_alone_would_drift_by_six_seconds():
    """What the clock corrects: 924 groups of 112 instead of 920 TRs, the last 6.13 s early."""
    codes = counting(1, 103_500)
    assert codes.shape[1] // 112 == 924
    last = group_codes_by_tr(codes, tr=1.5)[919, 0, 0]
    assert last / 75 == pytest.approx(919 * 1.5, abs=0.5 / 75)
    assert (last - 919 * 112) / 75 == pytest.approx(6.13, abs=0.005)


@given(tr=trs, n_trs=st.integers(1, 300), n_codebooks=st.integers(1, 3))
def test_ungroup_of_group_is_the_codes_themselves(tr, n_trs, n_codebooks):
    grid = TRGrid(tr, n_trs, 75)
    codes = counting(n_codebooks, grid.n_frames)
    grouped = group_with_spill(codes, grid)
    np.testing.assert_array_equal(ungroup_codes(grouped.codes, tr, 75, spill=grouped.spill), codes)
    np.testing.assert_array_equal(grouped.codes, group_codes_by_tr(codes, tr, 75)[:n_trs])


@given(tr=trs, n_trs=st.integers(1, 300))
def test_every_frame_of_a_group_lies_in_its_tr(tr, n_trs):
    grid = TRGrid(tr, n_trs, 75)
    grouped = group_with_spill(counting(1, grid.n_frames), grid)
    starts = grouped.codes[:, 0, 0] / 75
    np.testing.assert_allclose(starts, grid.onset, atol=0.5 / 75 + 1e-9)
    np.testing.assert_array_equal(
        np.searchsorted(grid.edges, grouped.codes[:, 0], side="right") - 1,
        np.repeat(np.arange(n_trs)[:, None], grid.frames_per_tr, 1),
    )


@given(tr=trs, n_frames=st.integers(1, 2000))
def test_group_codes_by_tr_keeps_every_tr_that_is_all_there(tr, n_frames):
    step = Fraction(str(tr)) * 75
    fits = sum(1 for k in range(2001) if floor(k * step + Fraction(1, 2)) + floor(step) <= n_frames)
    if not fits:
        with pytest.raises(InputError, match="one TR"):
            group_codes_by_tr(counting(1, n_frames), tr)
    else:
        assert len(group_codes_by_tr(counting(1, n_frames), tr)) == fits


def test_predicted_codes_keep_the_clock_without_spill():
    grid = TRGrid(1.5, 920, 75)
    predicted = group_codes_by_tr(counting(1, 103_500))
    series = ungroup_codes(predicted, 1.5)
    assert series.shape == (1, 103_500)
    np.testing.assert_array_equal(series[0, grid.edges[:-1]], grid.edges[:-1])
    assert series[0, 112] == series[0, 111] == 111


def test_tr_is_read_as_written_not_as_stored():
    """0.1 + 0.2 style noise would move edges: 0.72 * 75 = 54 exactly."""
    assert TRGrid(0.72, 100_000, 75).edges[-1] == 5_400_000
    assert exact(np.float32(1.5)) == Fraction(3, 2)
    assert exact("22050/512") == Fraction(22_050, 512)


def test_edges_stay_exact_where_int64_would_overflow():
    grid = TRGrid(1.4999999999999, 1000, Fraction(24_000_001, 320_007))
    assert grid.edges[1000] == floor(1000 * exact(grid.tr) * grid.frame_rate + Fraction(1, 2))


@pytest.mark.parametrize(
    ("duration", "tr", "n_trs"),
    [
        (1380, 1.5, 920),
        (1380.011, 1.5, 920),
        (1380.2, 1.5, 921),
        (1379.98, 1.5, 920),
        (52.17, 1.5, 35),
        (0.01, 1.5, 1),
        (8, 0.05, 160),
        (8, 0.04, 200),
        (8, 0.02, 400),
        (8.011, 0.05, 160),
        (8.011, 0.02, 401),
        (8, 0.1, 80),
    ],
)
def test_grid_for_a_film_opens_no_tr_for_an_encoders_padding(duration, tr, n_trs):
    assert grid_for(duration, tr, 75).n_trs == n_trs


@pytest.mark.parametrize("tr", [1.5, 0.72, 1.49])
@pytest.mark.parametrize("piece", [1, 7, 64, 1000])
def test_blocks_by_tr_cut_a_stream_where_the_grid_does(tr, piece):
    rate = Fraction(22_050, 512)
    grid = TRGrid(tr, 20, rate)
    series = counting(2, grid.n_frames)
    blocks = list(blocks_by_tr((series[:, i : i + piece] for i in range(0, grid.n_frames, piece)), tr, rate))
    assert [b.shape[1] for b in blocks] == grid.counts.tolist()
    np.testing.assert_array_equal(np.concatenate(blocks, axis=1), series)
    table = np.stack([np.pad(b, ((0, 0), (0, grid.max_frames_per_tr - b.shape[1]))) for b in blocks])
    np.testing.assert_array_equal(ungroup_frames(table, grid), series)
    in_blocks = list(ungroup_in_blocks(table, grid, n_frames=piece))
    np.testing.assert_array_equal(np.concatenate(in_blocks, axis=1), series)
    assert all(block.shape[1] <= max(piece, grid.max_frames_per_tr) for block in in_blocks)


def test_a_mean_by_tr_is_held_for_the_whole_tr():
    grid = TRGrid(1.5, 4, 75)
    series = ungroup_frames(np.array([[0.0], [1], [2], [3]]), grid)
    assert series.shape == (1, 450)
    np.testing.assert_array_equal(series[0, grid.edges[:-1]], [0, 1, 2, 3])
    in_blocks = list(ungroup_in_blocks(np.array([[0.0], [1], [2], [3]]), grid, 300))
    assert [block.shape for block in in_blocks] == [(1, 225), (1, 225)]
    np.testing.assert_array_equal(np.concatenate(in_blocks, axis=1), series)


@pytest.mark.parametrize(
    ("tr", "n_trs", "rate", "message"),
    [
        (0, 10, 75, "TR is 0 s"),
        (-1.5, 10, 75, "TR is -1.5 s"),
        (0.01, 10, 75, "shorter than one frame"),
        (float("nan"), 10, 75, "TR is nan"),
        (float("inf"), 10, 75, "TR is inf"),
        (1.5, 0, 75, "n_trs is 0"),
        (1.5, 2.5, 75, "n_trs is 2.5"),
        (1.5, True, 75, "n_trs is True"),
        (1.5, 10, 0, "frame rate is 0"),
    ],
)
def test_a_clock_that_cannot_be_is_refused(tr, n_trs, rate, message):
    with pytest.raises(InputError, match=message):
        TRGrid(tr, n_trs, rate)


def test_shapes_that_do_not_fit_the_clock_are_refused():
    with pytest.raises(InputError, match="expected 112"):
        ungroup_codes(np.zeros((4, 8, 113), np.int32))
    with pytest.raises(InputError, match="spill has shape"):
        ungroup_codes(np.zeros((4, 8, 112), np.int32), spill=np.zeros((4, 8), np.int32))
    with pytest.raises(InputError, match=r"\(n_codebooks, 450\)"):
        group_with_spill(np.zeros((8, 449), np.int32), TRGrid(1.5, 4, 75))
    with pytest.raises(InputError, match="n_features"):
        ungroup_frames(np.zeros((4, 3, 64)), TRGrid(1.5, 4, Fraction(22_050, 512)))
    with pytest.raises(InputError, match="n_features"):
        ungroup_in_blocks(np.zeros((4, 3, 64)), TRGrid(1.5, 4, Fraction(22_050, 512)), 100)


@pytest.mark.parametrize("tr", [1500, 2000, 720, 61])
def test_a_tr_in_milliseconds_is_refused_with_the_seconds_that_it_may_mean(tr):
    with pytest.raises(InputError, match=f"TR is {tr} s.*milliseconds.*{tr / 1000:g}"):
        TRGrid(tr, 10, 75)


def test_a_day_of_stimulus_needs_n_trs():
    assert grid_for(24 * 3600, 1.5, 75).n_trs == 57600
    with pytest.raises(InputError, match=r"55.54 hours.*milliseconds.*n_trs"):
        grid_for(199_934, 1.0, 75)


def test_trs_that_differ_by_a_rounding_of_the_header_are_one():
    assert same_tr(np.float32(0.72), 0.72) and same_tr(0.7199999, "0.72")
    assert not same_tr(0.72, 0.721)


@pytest.mark.parametrize("rounding", [Fraction(0), Fraction(1, 3), Fraction(1, 2)])
@pytest.mark.parametrize("tr", TRS)
def test_one_constant_says_how_every_tr_is_cut(monkeypatch, tr, rounding):
    monkeypatch.setattr(timing, "ROUNDING", rounding)
    grid = TRGrid(tr, 40, 75)
    edges = [floor(k * exact(tr) * 75 + rounding) for k in range(41)]
    assert grid.edges.tolist() == edges == [first_frame(k * exact(tr), Fraction(75)) for k in range(41)]
    if tr != 1.4999999:  # as floats its edges are told from ties to a millionth of a frame only
        assert first_frames(np.arange(41) * tr, 75).tolist() == edges
    codes = counting(2, grid.n_frames)
    assert [block.shape[1] for block in blocks_by_tr([codes], tr, 75)] == np.diff(edges).tolist()
    grouped = group_with_spill(codes, grid)
    np.testing.assert_array_equal(ungroup_codes(grouped.codes, tr, 75, spill=grouped.spill), codes)
    for n_frames in range(grid.n_frames - 120, grid.n_frames + 1):
        whole = group_codes_by_tr(codes[:, :n_frames], tr, 75)
        n_trs = sum(edge + grid.frames_per_tr <= n_frames for edge in edges[:-1])
        np.testing.assert_array_equal(whole, grouped.codes[:n_trs])
