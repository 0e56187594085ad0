"""Words and sentences on TRs: means by overlap, and the rate of words."""

from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from giblet.data.words.on_trs import overlap_mean, word_series
from giblet.data.words.subtitles import Segment
from giblet.spans import volume_grid


def segment(onset, offset, text="word"):
    return Segment(Fraction(str(onset)), Fraction(str(offset)), text)


def test_the_embedding_is_the_mean_weighted_by_seconds_of_overlap():
    # TR 2 s. Row 0 has 1 s in TR 0; row 1 has 0.5 s in TR 0 and 1.5 s in TR 1; TR 2 is empty; row 2 lies in TR 3.
    rows = [segment(0.5, 1.5), segment(1.5, 3.5), segment(7, 9)]
    vectors = np.array([[1, 0], [0, 3], [5, 5]], np.float32)
    grid = volume_grid(2.0, 4, 0)
    mean, mask = overlap_mean(rows, vectors, grid)
    np.testing.assert_allclose(mean, [[1 / 1.5, 3 * 0.5 / 1.5], [0, 3], [0, 0], [5, 5]], rtol=1e-6)
    assert mask.tolist() == [True, True, False, True]
    held, same = overlap_mean(rows, vectors, grid, "hold")
    np.testing.assert_array_equal(held[2], mean[1])
    np.testing.assert_array_equal(same, mask)
    late, mask = overlap_mean(rows[2:], vectors[2:], grid, "hold")
    assert not late[:3].any()
    assert mask.tolist() == [False, False, False, True]


def test_word_regressors_of_a_hand_computed_case():
    # "one two, three" lasts 3 s: words begin at 1, 2 and 3 s. A dash is no word; "five" overlaps half of "don't".
    rows = [segment(1, 4, "one two, three –"), segment(4.5, 5.5, "don't"), segment(5, 7, "five")]
    series, outside = word_series(rows, volume_grid(2.0, 3, 0))
    np.testing.assert_allclose(series["word_rate"], [0.5, 1.0, 1.0])
    assert series["onset_count"].tolist() == [1, 0, 2]
    np.testing.assert_allclose(series["character_rate"], [3 / 2, 8 / 2, 8 / 2])
    np.testing.assert_allclose(series["word_length"], [3, 4, 4])
    np.testing.assert_allclose(series["speech_fraction"], [0.5, 1.0, 0.75])
    assert outside == 0


@given(
    onsets=st.lists(st.decimals(0, 60, places=3), min_size=1, max_size=30, unique=True),
    tr=st.sampled_from([0.72, 1.49, 1.5, 2.0]),
    n_trs=st.integers(1, 40),
)
def test_no_word_is_lost_or_counted_twice(onsets, tr, n_trs):
    rows = [segment(onset, onset + 1) for onset in sorted(onsets)]
    series, outside = word_series(rows, volume_grid(tr, n_trs, 0))
    assert round(float(series["word_rate"].sum()) * tr) + outside == len(rows)
    assert series["speech_fraction"].max() <= 1
