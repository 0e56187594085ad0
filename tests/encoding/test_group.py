"""The group test: equal to a plain loop, blind to what people share, and clear about what a t-test over them asks."""

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.stats import norm, ttest_1samp

from giblet.encoding.group import rotation_test_group
from giblet.errors import InputError
from giblet.evaluation import rotation_test

TR = 1.5


def ar1(rng, n, phi, columns):
    return lfilter([1], [1, -phi], rng.standard_normal((n + 200, columns)), axis=0)[200:]


def one_by_one(truth, predicted):
    """Prewhitened Fisher z of one voxel by rotation, (n_trs,), and its r: least squares and loops written out."""
    n = len(truth)
    t = np.arange(n)
    basis = np.stack([t**0, t, t**2, *(np.cos(np.pi * k * (t + 0.5) / n) for k in range(1, int(2 * n * TR / 128) + 1))])
    x, y = (s - basis.T @ np.linalg.lstsq(basis.T.astype(float), s, rcond=None)[0] for s in (truth, predicted))
    phi = (x[1:] @ x[:-1]) / (x @ x)
    white_x, white_y = (np.r_[np.sqrt(1 - phi**2) * s[0], s[1:] - phi * s[:-1]] for s in (x, y))
    z = np.arctanh([np.corrcoef(white_x, np.roll(white_y, k))[0, 1] for k in range(n)])
    return z, np.corrcoef(x, y)[0, 1]


def test_group_test_equals_a_loop_over_joint_rotations():
    rng = np.random.default_rng(0)
    bold, predicted = (np.stack([ar1(rng, 150, 0.5, 3) for _ in range(4)]) for _ in range(2))
    predicted[:, :, 0] += 0.5 * bold[:, :, 0]
    found = rotation_test_group(bold, predicted, tr=TR)
    highest = []
    for v in range(3):
        each = [one_by_one(bold[s, :, v], predicted[s, :, v]) for s in range(4)]
        z, r = np.mean([z for z, _ in each], axis=0), [r for _, r in each]
        assert found.r[v] == pytest.approx(np.tanh(np.mean(np.arctanh(r))), abs=1e-10)
        np.testing.assert_allclose(found.r_by_subject[:, v], r, atol=1e-10)
        assert found.p[v] == pytest.approx(norm.sf(z[0] / np.sqrt(np.mean(z**2))), rel=1e-7)
        assert found.p_rank[v] == pytest.approx(np.mean(z >= z[0] - 1e-9))
        highest.append(z / np.sqrt(np.mean(z**2)))
        assert found.agreement().p[v] == pytest.approx(ttest_1samp(np.arctanh(r), 0, alternative="greater").pvalue)
    best = np.max(highest, axis=0)
    np.testing.assert_allclose(found.p_fwe, [np.mean(best >= z[0] - 1e-9) for z in highest])
    assert found.q[0] == pytest.approx(min(1, 3 * found.p[0]))


def test_runs_are_rotated_by_draws_that_all_subjects_share():
    """The same data for every subject is one subject: nothing is gained by copies."""
    rng = np.random.default_rng(1)
    bold, predicted = rng.standard_normal((2, 200, 5))
    run = np.repeat([0, 1], [90, 110])
    one = rotation_test(bold, predicted, tr=TR, run=run)
    copies = rotation_test_group([bold] * 3, predicted, tr=TR, run=run)
    for name in ("r", "p", "p_rank", "p_fwe", "mean_by_rotation", "whitened_by_rotation"):
        np.testing.assert_allclose(getattr(copies, name), getattr(one, name), atol=1e-9, err_msg=name)


def test_a_response_that_people_share_is_no_evidence_and_passes_a_t_test():
    rng = np.random.default_rng(2)
    joint, agree = [], []
    for _ in range(40):
        shared, guess = ar1(rng, 200, 0.6, 50), ar1(rng, 200, 0.6, 50)
        bold = [np.sqrt(0.3) * shared + np.sqrt(0.7) * ar1(rng, 200, 0.6, 50) for _ in range(12)]
        found = rotation_test_group(bold, guess, tr=TR)
        joint.append(found.p <= 0.05)
        agree.append(found.agreement().p <= 0.05)
    assert 0.03 <= np.mean(joint) <= 0.07
    assert np.mean(agree) > 0.15


def test_a_weak_response_of_many_is_found_in_their_mean():
    rng = np.random.default_rng(3)
    signal = ar1(rng, 200, 0.5, 60)
    bold = [0.15 * signal / signal.std(axis=0) + rng.standard_normal((200, 60)) for _ in range(10)]
    alone = np.mean([rotation_test(one, signal, tr=TR).p <= 0.001 for one in bold])
    assert np.mean(rotation_test_group(bold, signal, tr=TR).p <= 0.001) > 0.95 > 0.4 > alone


def test_a_voxel_that_is_constant_in_some_is_tested_in_the_others():
    rng = np.random.default_rng(4)
    bold, predicted = rng.standard_normal((2, 3, 120, 4))
    bold[0, :, 1] = 7
    bold[:, :, 2] = 7
    found = rotation_test_group(bold, predicted, tr=TR)
    others = rotation_test_group(bold[1:], predicted[1:], tr=TR)
    assert found.n_subjects.tolist() == [3, 2, 0, 3]
    assert found.p[1] == pytest.approx(others.p[1]) and found.r[1] == pytest.approx(others.r[1])
    assert np.isnan([found.r[2], found.p[2], found.q[2], found.p_fwe[2], found.agreement().p[2]]).all()


def test_the_t_test_says_that_it_asks_whether_people_agree_and_how_often_noise_passes_it():
    rng = np.random.default_rng(5)
    agreement = rotation_test_group(*rng.standard_normal((2, 3, 100, 2)), tr=TR).agreement()
    assert "that people agree" in agreement.tests and "no test of the model" in agreement.table()
    assert "30% shared" in agreement.table()


def test_groups_that_cannot_be_tested_are_refused_in_words():
    x = np.random.default_rng(6).standard_normal((3, 100, 2))
    with pytest.raises(InputError, match="1 subject: a group needs at least two"):
        rotation_test_group(x[:1], x[:1], tr=TR)
    with pytest.raises(InputError, match="3 subjects have BOLD, 2 have predictions"):
        rotation_test_group(x, x[:2], tr=TR)
    with pytest.raises(InputError, match=r"subject 1 has shape \(90, 2\), that of subject 0 \(100, 2\)"):
        rotation_test_group([x[0], x[1, :90]], x[:2], tr=TR)
