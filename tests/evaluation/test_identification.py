"""Identification: of single TRs and of passages, with a truth that is known and with a prediction of nothing."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import kstest, pearsonr

from giblet.alignment.prewhitening import slow_basis
from giblet.errors import InputError
from giblet.evaluation.identification import identification, identification_wins, identify_passages, told_apart
from giblet.statistics.estimates import ScoredTRs

TR = 2.0


def slow(rng, n, k=6):
    """Series whose neighbours are alike, as features and what is decoded of them are."""
    white = rng.standard_normal((n + 4, k))
    return sum(white[lag : n + lag] for lag in range(4))


def test_a_perfect_prediction_identifies_every_passage():
    truth = slow(np.random.default_rng(0), 200)
    found = identify_passages("text", truth, 3 * truth + 8, ScoredTRs.of(200, TR), seconds=10.0)
    assert (found.seconds, found.n_passages, found.pairwise.value) == (10.0, 40, 1.0)
    assert {k: one.value for k, one in found.top.items()} == {1: 1.0, 5: 1.0}
    assert found.chance == {1: 1 / 40, 5: 5 / 40}
    assert found.top_rotated[1].p == found.pairwise_rotated.p == 1 / 200


def test_passages_are_ranked_by_pearsons_r_among_those_of_their_run():
    rng = np.random.default_rng(1)
    truth = slow(rng, 170)
    predicted = truth + 5 * rng.standard_normal(truth.shape)
    run = np.repeat([0, 1], [90, 80])
    found = identify_passages("text", truth, predicted, ScoredTRs(TR, run), seconds=20.0, top=(1, 3), rescaled=False)
    wins, ranks, chances = [], [], []
    for own in (run == 0, run == 1):
        n = own.sum()
        basis = slow_basis(np.arange(n), tr=TR, detrend=True, high_pass=1 / 128)
        flat = [side[own] - basis @ (basis.T @ side[own]) for side in (truth, predicted)]
        true, said = ([side[at : at + 10].ravel() for at in range(0, n - 9, 10)] for side in flat)
        for place, one in enumerate(said):
            r = np.array([pearsonr(one, other)[0] for other in true])
            wins.append((r < r[place]).sum() / (len(true) - 1))
            ranks.append((r > r[place]).sum())
            chances.append(1 / len(true))
    assert found.n_passages == len(wins) == 9 + 8
    assert found.pairwise.value == pytest.approx(np.mean(wins))
    assert found.top[1].value == pytest.approx(np.mean(np.array(ranks) < 1))
    assert found.top[3].value == pytest.approx(np.mean(np.array(ranks) < 3))
    assert found.chance[1] == pytest.approx(np.mean(chances)) == pytest.approx(2 / 17)


def test_predictions_that_know_nothing_are_at_chance_and_their_p_is_uniform():
    rng = np.random.default_rng(2)
    for run in (np.zeros(180, int), np.repeat([0, 1], [70, 66])):
        trs = ScoredTRs(TR, run)
        drawn = [identify_passages("", slow(rng, len(run)), slow(rng, len(run)), trs) for _ in range(150)]
        for values, p, chance in (
            ([one.pairwise.value for one in drawn], [one.pairwise_rotated.p for one in drawn], 0.5),
            ([one.top[1].value for one in drawn], [one.top_rotated[1].p for one in drawn], drawn[0].chance[1]),
        ):
            assert abs(np.mean(values) - chance) < 3 * np.std(values) / np.sqrt(len(drawn))
            assert np.mean([one.pairwise_rotated.mean for one in drawn]) == pytest.approx(0.5, abs=0.01)
            assert np.mean(np.array(p) <= 0.05) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / len(p))
            if chance == 0.5:  # top-1 has few values, and equal ones count against it
                assert kstest(p, "uniform").pvalue > 0.001


def rates(draws, seconds, n_trs=240, tr=1.5):
    """How often p is below .05 for predictions that know nothing, both sides slow: pairwise, top-1."""
    p = []
    for seed in range(draws):
        rng = np.random.default_rng(seed)
        trs = ScoredTRs(tr, np.repeat([0, 1], [130, 110]) if seed % 2 else np.zeros(n_trs, int))
        found = identify_passages("", slow(rng, n_trs), slow(rng, n_trs), trs, seconds=seconds)
        p.append((found.pairwise_rotated.p, found.top_rotated[1].p))
    return (np.array(p) < 0.05).mean(axis=0)


def test_a_decoder_that_knows_nothing_is_seldom_below_05():
    pairwise, top = rates(60, 6.0)
    assert pairwise <= 0.11 and top <= 0.11  # at a rate of .05, more than 6 of 60 come once in 30 times


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [1.5, 6.0, 15.0])
def test_p_below_05_occurs_in_3_to_7_percent_of_200_draws_of_nothing(seconds):
    """Half of them of one run, half of two. (Of 1000 draws of two runs: 5.1 % at 1.5 s, 4.9 % at 6 s.)"""
    pairwise, top = rates(200, seconds)
    assert 0.03 <= pairwise <= 0.07
    assert top <= 0.07  # hits are few whole numbers, and rotations that hit as often count against it


def test_each_rotation_ranks_the_prediction_rolled_by_so_many_trs():
    rng = np.random.default_rng(8)
    truth, predicted = slow(rng, 90), slow(rng, 90)
    trs = ScoredTRs.of(90, TR)
    tested = identify_passages("", truth, predicted, trs, seconds=6.0).pairwise_rotated.by_rotation
    basis = slow_basis(np.arange(90), tr=TR, detrend=True, high_pass=1 / 128)
    flat = predicted - basis @ (basis.T @ predicted)
    true = truth - basis @ (basis.T @ truth)
    flat *= true.std(0) / flat.std(0)
    for shift in (0, 1, 44, 89):
        rolled = np.roll(flat, shift, axis=0)
        said, shown = ([side[at : at + 3].ravel() for at in range(0, 88, 3)] for side in (rolled, true))
        wins = []
        for place, one in enumerate(said):
            r = np.array([pearsonr(one, other)[0] for other in shown])
            wins.append((r < r[place]).sum() / (len(r) - 1))
        assert tested[shift] == pytest.approx(np.mean(wins)), shift


def test_no_passage_holds_a_tr_that_is_silent_or_reaches_over_missing_ones():
    truth = slow(np.random.default_rng(9), 60)
    used, place = np.ones(60, bool), np.arange(60)
    used[[10, 31]] = False
    place[40:] += 5
    found = identify_passages("", truth, truth, ScoredTRs.of(60, TR), seconds=8.0, used=used, place=place)
    assert found.n_passages == 2 + 5 + 2 + 5  # of TRs 0 to 9, 11 to 30, 32 to 39, 40 to 59
    spoiled = truth.copy()
    spoiled[[10, 31]] += 1e3  # would win or lose passages, were it in one
    own = identify_passages("", truth, spoiled, ScoredTRs.of(60, TR, None), seconds=8.0, used=used, place=place)
    same = identify_passages("", truth, truth, ScoredTRs.of(60, TR, None), seconds=8.0, used=used, place=place)
    assert own.n_passages == same.n_passages == 14 and same.pairwise.value == 1.0
    fewer = identify_passages("", truth, truth, ScoredTRs.of(60, TR), seconds=8.0, used=np.arange(60) < 5)
    assert fewer.pairwise.value is None


def test_lengths_that_are_the_same_number_of_trs_are_told_apart_once():
    truth = slow(np.random.default_rng(10), 80)
    found = told_apart("mel", truth, truth, ScoredTRs.of(80, 4.0), ceiling=truth)
    assert [one.seconds for one in found] == [4.0, 8.0, 16.0]
    assert all(one.ceiling.pairwise.value == one.pairwise.value == 1.0 and one.ridge is None for one in found)
    assert [one.seconds for one in told_apart("mel", truth, truth, ScoredTRs.of(80, 20.0))] == [20.0]


def test_a_prediction_that_says_the_same_of_all_is_at_chance_exactly():
    truth = slow(np.random.default_rng(3), 120)
    found = identify_passages("", truth, np.ones_like(truth), ScoredTRs.of(120, TR))
    assert (found.pairwise.value, found.top[1].value) == (0.5, pytest.approx(found.chance[1]))
    assert found.pairwise_rotated.p == found.top_rotated[1].p == 1.0


def test_drifts_identify_nothing():
    """Both sides grow louder: by that alone the passages of a run could be put in their order."""
    rng = np.random.default_rng(4)
    ramp = np.linspace(0, 50, 150)[:, None]
    found = [
        identify_passages("", slow(rng, 150) + ramp, slow(rng, 150) + ramp, ScoredTRs.of(150, TR)) for _ in range(20)
    ]
    assert np.mean([one.pairwise.value for one in found]) == pytest.approx(0.5, abs=0.03)


def test_rescaled_predictions_do_not_depend_on_their_own_deviations():
    rng = np.random.default_rng(5)
    truth = slow(rng, 160) * np.geomspace(10, 0.1, 6)
    predicted = truth + 20 * rng.standard_normal(truth.shape)
    trs, shrunk = ScoredTRs.of(160, TR), predicted * np.geomspace(1, 1e-3, 6)
    one, other = (identify_passages("", truth, side, trs) for side in (predicted, shrunk))
    assert (one.pairwise, one.top) == (other.pairwise, other.top)
    one, other = (identify_passages("", truth, side, trs, rescaled=False) for side in (predicted, shrunk))
    assert one.pairwise != other.pairwise


def test_runs_too_short_for_two_passages_have_no_part():
    truth = slow(np.random.default_rng(6), 108)
    run = np.repeat([0, 1], [100, 8])
    found = identify_passages("", truth, truth, ScoredTRs(TR, run), seconds=10.0)
    assert (found.n_passages, found.pairwise.value, found.pairwise_rotated.p) == (20, 1.0, None)
    none = identify_passages("", truth[:8], truth[:8], ScoredTRs.of(8, TR), seconds=10.0)
    assert none.pairwise.value is None and "no run holds two passages of 10 s" in none.pairwise.why
    assert none.as_dict()["top"]["1"]["p"] is None


def test_what_cannot_be_compared_is_refused():
    truth = slow(np.random.default_rng(7), 50)
    trs = ScoredTRs.of(50, TR)
    with pytest.raises(InputError, match=r"prediction \(49, 6\): two of shape \(50, n_features\)"):
        identify_passages("", truth, truth[:49], trs)
    with pytest.raises(InputError, match="the prediction holds NaN or infinity in 1 TRs"):
        identify_passages("", truth, np.where(np.arange(50)[:, None] == 3, np.nan, truth), trs)
    for option, said in (({"seconds": 0}, "seconds is 0"), ({"top": (0,)}, "whole numbers of at least 1")):
        with pytest.raises(InputError, match=said):
            identify_passages("", truth, truth, trs, **option)


def test_identification_of_texts_has_a_chance_level_of_one_half():
    rng = np.random.default_rng(5)
    truth = rng.standard_normal((90, 20)) + 3
    noisy = truth + rng.standard_normal(truth.shape)
    trs = ScoredTRs.of(90, 1.5)
    good = identification("text identification", truth, noisy, trs)
    assert good.reconstruction.value > 0.9
    assert good.shifted.mean == pytest.approx(0.5, abs=0.02)
    assert good.shifted.p == pytest.approx(1 / 90)
    same = identification("text identification", truth, np.broadcast_to(truth.mean(0), truth.shape), trs)
    assert (same.reconstruction.value, same.shifted.mean, same.shifted.p) == (pytest.approx(0.5), 0.5, 1.0)
    other = [identification("", truth, rng.standard_normal(truth.shape) + 3, trs).shifted.p for _ in range(60)]
    assert 0 < np.mean(np.array(other) <= 0.2) < 0.4


def test_identification_counts_the_true_vectors_that_are_further_away():
    rng = np.random.default_rng(3)
    truth, predicted = rng.standard_normal((2, 12, 5))
    truth[4] = truth[9]
    wins = identification_wins(truth, predicted)
    cosine = 1 - cdist(predicted, truth, "cosine")
    for i in range(12):
        for j in range(12):
            further = [2 if cosine[i, k] < cosine[i, j] - 1e-9 else abs(cosine[i, k] - cosine[i, j]) < 1e-9
                       for k in range(12) if k != j]  # fmt: skip
            assert wins[i, j] == sum(further), (i, j)
    assert (np.diag(identification_wins(truth[:9], 3 * truth[:9])) == 16).all()
