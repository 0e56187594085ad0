"""Parts of a scan are disjoint, in order, and a gap apart, so that they share no response."""

import pydoc
import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from giblet.data import splits as module
from giblet.data.splits import make_splits, segments
from giblet.errors import InputError
from giblet.timing import exact


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


def test_impossible_splits_are_refused_with_the_reason():
    for arguments, message in [
        ((40, 1.5), "too short for 3 parts with gaps of 22 TRs"),
        ((900, 1.5, None, (0.8, 0.1)), "three numbers"),
        ((900, 1.5, None, (0.8, 0.1, 0.2)), "sum to 1"),
        ((900, 1.5, None, (0.9, 0.1, 0.0)), "must not be 0"),
        ((4, 1.5, [1, 2, 1, 1]), "2 labels in 3 pieces"),
        ((4, 1.5, [1, 2]), "one label per volume .4.,"),
        ((900, 0.0), "positive"),
    ]:
        with pytest.raises(InputError, match=message):
            make_splits(*arguments)
    with pytest.raises(InputError, match="2 runs cannot make 3"):
        make_splits(900, 1.5, np.repeat([1, 2], 450), whole_runs=True)
    with pytest.raises(InputError, match="expected 100"):
        make_splits(920, 1.5, min_trs=100)


def test_segments_end_at_holes_and_at_runs():
    assert segments(np.array([5]), np.ones(9)) == [(5, 6)]
    assert segments(np.array([], int), np.ones(9)) == []
    assert segments(np.r_[0:4, 6:9], np.repeat([1, 2], [7, 2])) == [(0, 4), (6, 7), (7, 9)]


def test_every_place_that_the_module_names_against_leaks_exists():
    named = re.findall(r":(?:func|meth|class):`([\w.]+)`", module.__doc__)
    assert len(named) >= 10
    missing = [name for name in named if pydoc.locate(name if "." in name else f"{module.__name__}.{name}") is None]
    assert not missing, missing
