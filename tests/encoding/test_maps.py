"""What a corrected map can show: the least r is that at which q reaches its level, and the TRs asked for are enough."""

import numpy as np
import pytest

from giblet.encoding.maps import reachable
from giblet.errors import InputError
from giblet.evaluation import rotation_test

TR = 1.5


def studied(rng, n_trs, n_voxels, r):
    """One voxel that correlates by `r` with its prediction, exactly once drifts are gone, among voxels of noise."""
    truth, predicted = rng.standard_normal((2, n_trs, n_voxels))
    predicted[:, 0] = r * truth[:, 0] + np.sqrt(1 - r**2) * predicted[:, 0]
    return rotation_test(truth, predicted, tr=TR)


def test_a_voxel_alone_passes_from_the_least_r_on_and_not_below():
    rng = np.random.default_rng(0)
    least = reachable(studied(rng, 300, 500, 0.0), n_trs=300).r_alone
    passed = {
        factor: np.mean([studied(rng, 300, 500, factor * least).q[0] <= 0.05 for _ in range(40)])
        for factor in (0.6, 1.0, 1.5)
    }
    assert passed[0.6] < 0.15 and 0.2 < passed[1.0] < 0.8 and passed[1.5] > 0.9


def test_as_many_trs_as_are_said_to_be_needed_let_the_voxel_pass():
    rng = np.random.default_rng(1)
    needed = []
    for _ in range(30):
        found = reachable(studied(rng, 150, 500, 0.25), n_trs=150)
        if found.n_found == 0 and abs(found.r_best - 0.25) < 0.1:
            needed.append(found.n_trs_needed * (found.r_best / 0.25) ** 2)
    n_trs = int(np.median(needed))
    assert n_trs > 200
    assert 0.3 < np.mean([studied(rng, n_trs, 500, 0.25).q[0] <= 0.05 for _ in range(40)]) < 0.8


def test_what_is_out_of_reach_is_said_in_words_with_the_trs_it_takes():
    rng = np.random.default_rng(2)
    found = reachable(studied(rng, 64, 2000, 0.0), n_trs=64)
    assert found.n_found == 0 and found.n_trs_needed > 64
    assert "no voxel has q <= 0.05: with 64 TRs a voxel alone among 2,000 needs r of 0." in found.message
    assert f"about {found.n_trs_needed:,} TRs are needed" in found.message
    strong = reachable(studied(rng, 300, 2000, 0.9), n_trs=300)
    assert strong.n_found >= 1 and "of 2,000 voxels have q <= 0.05" in strong.message
    regions = reachable(studied(rng, 64, 20, 0.0), n_trs=64, unit="region").message
    assert "a region alone among 20" in regions and "voxel" not in regions
    truth, predicted = rng.standard_normal((2, 100, 2))
    against = reachable(rotation_test(truth, predicted - 5 * truth, tr=TR), n_trs=100)
    assert against.n_trs_needed is None and "more TRs promise nothing" in against.message
    dead = reachable(rotation_test(np.ones((100, 2)), predicted, tr=TR), n_trs=100)
    assert dead.message == "no voxel was tested: BOLD changes in none"


def test_levels_that_are_none_are_refused():
    test = studied(np.random.default_rng(3), 100, 2, 0.0)
    with pytest.raises(InputError, match="level is 5"):
        reachable(test, n_trs=100, level=5)
