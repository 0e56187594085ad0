"""A second of film is in one part, whoever saw it, in which order, from where and for how long."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from giblet.data.dataset.stimulus_split import ShownRun, alone, leaked, split_stimulus
from giblet.data.splits import HRF_SECONDS, make_splits
from giblet.errors import InputError

TR = 2.0
HELD_OUT = ("val", "test")


def cut(fractions=(0.5, 0.25, 0.25), gap=HRF_SECONDS, *, tr=TR, **options):
    return lambda run: make_splits(len(run), tr, run, fractions, gap, **options)


def films_of(own, tr=TR):
    """Film and second of each TR."""
    return [(min(run.starts), run.starts[min(run.starts)] + k * tr) for run in own for k in range(run.n_trs)]


def runs_of(own):
    return np.repeat(np.arange(len(own)), [run.n_trs for run in own])


def check_no_leak(shown, splits, gap, tr=TR):
    """Seconds of film, by brute force: what a training volume shows or answers to is in no other part of anyone."""

    def seconds(name, part, before):
        film, run, found = films_of(shown[name], tr), runs_of(shown[name]), set()
        for row in getattr(splits[name], part):
            for k in range(before + 1):
                if row - k >= 0 and run[row - k] == run[row]:
                    which, start = film[row - k]
                    found |= {(which, round(start * 10) + tenth) for tenth in range(round(tr * 10))}
        return found

    before = int(np.ceil(gap / tr))
    for one in shown:
        for other in shown:
            for part in HELD_OUT:
                assert not seconds(one, "train", 0) & seconds(other, part, 0), (one, other, part)
                # Of one subject: BOLD of a part answers to no film of another.
                if one == other:
                    assert not seconds(one, "train", before) & seconds(one, part, 0)
                    assert not seconds(one, "train", 0) & seconds(one, part, before)
            assert not seconds(one, "val", 0) & seconds(other, "test", 0)


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(5, 200), min_size=1, max_size=6),
    fractions=st.sampled_from([(0.8, 0.1, 0.1), (0.5, 0.25, 0.25), (0.7, 0.0, 0.3)]),
    gap=st.sampled_from([0.0, 4.0, 32.0]),
    whole_runs=st.booleans(),
    offset=st.floats(-10, 700),
)
def test_one_subject_has_the_split_of_its_scan(lengths, fractions, gap, whole_runs, offset):
    run = np.repeat(np.arange(1, len(lengths) + 1), lengths)
    make = cut(fractions, gap, whole_runs=whole_runs)
    try:
        wanted = make(run)
    except InputError as exc:
        with pytest.raises(InputError) as found:
            split_stimulus({"01": [ShownRun({f"{k}": 0.0}, n) for k, n in enumerate(lengths)]}, TR, make)
        assert str(found.value) == str(exc)
        return
    each = [ShownRun({f"film {k}": offset}, n) for k, n in enumerate(lengths)]
    starts = np.cumsum([0, *lengths])
    pieces = [ShownRun({"one film": offset + start * TR}, n) for start, n in zip(starts, lengths, strict=False)]
    for shown in (each, pieces):  # films of their own, or one film in several runs
        found = split_stimulus({"01": shown}, TR, make)
        for part in ("train", "val", "test", "gap"):
            np.testing.assert_array_equal(getattr(found.splits["01"], part), getattr(wanted, part))
        assert found.splits["01"].gap_trs == wanted.gap_trs and not found.moved
        assert not found.left_out or shown is pieces


def test_counterbalanced_runs_and_early_stops_share_one_split():
    films = [ShownRun({f"film {k}": 0.0}, 100) for k in range(4)]
    shown = {
        "a": films, "b": [films[2], films[3], films[0], films[1]], "c": films[::-1],
        "d": [*films[:3], ShownRun(films[3].starts, 63)],
    }  # fmt: skip
    alone_splits = {name: cut()(runs_of(own)) for name, own in shown.items()}
    assert leaked(shown, TR, alone_splits).keys() == {"a", "b", "c", "d"}
    found = split_stimulus(shown, TR, cut())
    check_no_leak(shown, found.splits, HRF_SECONDS)
    assert not leaked(shown, TR, found.splits)
    for part in ("train", "val", "test"):
        np.testing.assert_array_equal(getattr(found.splits["a"], part), getattr(alone_splits["a"], part))
    # The same film seconds, in another order.
    for part in ("train", "val", "test"):
        seconds = [{films_of(shown[name])[k] for k in getattr(found.splits[name], part)} for name in "abc"]
        assert seconds[0] == seconds[1] == seconds[2]
    assert len(found.splits["d"].test) == len(found.splits["a"].test) - 37


def test_who_stopped_before_the_test_film_is_tested_on_none_of_it():
    whole = ShownRun({"film": 0.0}, 400)
    found = split_stimulus({"short": [ShownRun({"film": 0.0}, 150)], "long": [whole]}, TR, cut())
    assert len(found.splits["short"].train) == 150 and not len(found.splits["short"].test)
    np.testing.assert_array_equal(found.splits["long"].test, cut()(np.ones(400)).test)
    with pytest.raises(InputError, match=r"subject late has 0 training TRs.*expected at least 8.*data.split: subject"):
        split_stimulus({"long": [whole], "late": [ShownRun({"film": 600.0}, 100)]}, TR, cut(), min_trs=8)


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_no_order_offset_or_cut_of_runs_lets_film_into_two_parts(data):
    """Films seen from anywhere, between whole TRs too, in any order, in one run or several, once or twice."""
    gap = data.draw(st.sampled_from([0.0, 6.0, 32.0]))
    shown = {}
    for name in "abc"[: data.draw(st.integers(1, 3))]:
        shown[name] = [
            ShownRun(
                {data.draw(st.sampled_from(["film 1", "film 2", "film 3"])): data.draw(st.integers(0, 60)) * 0.5},
                data.draw(st.integers(10, 80)),
            )
            for _ in range(data.draw(st.integers(1, 4)))
        ]
    try:
        found = split_stimulus(shown, TR, cut(gap=gap))
    except InputError:
        return
    check_no_leak(shown, found.splits, gap)
    assert not leaked(shown, TR, found.splits)
    for name, own in shown.items():
        rows = np.concatenate([getattr(found.splits[name], part) for part in ("train", "val", "test", "gap")])
        assert sorted(rows) == list(range(sum(run.n_trs for run in own)))


def test_a_film_that_was_shown_twice_is_in_the_first_of_its_parts_and_counted():
    films = [ShownRun({f"film {k}": 0.0}, 100) for k in range(3)]
    twice = [films[0], films[1], films[0], films[2]]
    make = cut((0.5, 0.25, 0.25), whole_runs=True)
    with pytest.raises(
        InputError, match=r"val would have 0 TRs.*of 100 TRs of the stimulus 100 show film of an earlier"
    ):
        split_stimulus({"01": twice}, TR, make)
    make = cut((0.5, 0.2, 0.3))
    found = split_stimulus({"01": [films[0], films[1], films[2], films[0]]}, TR, make)
    wanted = make(runs_of(twice))
    assert found.moved == {"test": int((wanted.test >= 300).sum())} and found.moved["test"] == 100
    own = found.splits["01"]
    np.testing.assert_array_equal(own.val, wanted.val)
    np.testing.assert_array_equal(own.test, wanted.test[wanted.test < 300])
    np.testing.assert_array_equal(own.train, [*wanted.train, *range(300, 400)])


def test_one_film_is_known_by_any_of_its_files():
    """The first subject has codes, the second codes and words, the third words alone, on a clock of their own."""
    shown = {
        "a": [ShownRun({"codes": 0.0}, 200)], "c": [ShownRun({"words": 500.0}, 200)],
        "b": [ShownRun({"codes": 0.0, "words": 500.0}, 200)],
    }  # fmt: skip
    found = split_stimulus(shown, TR, cut())
    for part in ("train", "val", "test"):
        np.testing.assert_array_equal(getattr(found.splits["a"], part), getattr(found.splits["c"], part))
    assert not alone(shown)


def test_subjects_without_a_common_film_are_refused_and_half_of_them_named():
    films = [ShownRun({f"{k}" * 64: 0.0}, 100) for k in range(4)]
    with pytest.raises(
        InputError, match=r"1 of 3 subjects have no feature file in common with subject a: .*\(SHA.*33333"
    ):
        split_stimulus({"a": films[:2], "b": films[1:3], "c": films[3:]}, TR, cut())
    assert alone({"a": films[:3], "b": [*films[:2], films[3]]}) == ["a", "b"]
    assert not alone({"a": films[:3], "b": films[:2]})
