"""The lag scan finds a lag that was put in, and finds none in noise."""

import numpy as np
import pytest
import xarray as xr

from giblet.alignment import convolve_hrf, lag_scan, response_at
from giblet.errors import AlignmentError, InputError

TR, N = 1.5, 300


def stimulus(seed=0, n=N):
    return convolve_hrf(np.random.default_rng(seed).standard_normal(n), TR)


def noise(shape, seed, phi=0.5):
    e = np.random.default_rng(seed).standard_normal(shape)
    for k in range(1, len(e)):
        e[k] += phi * e[k - 1]
    return e


@pytest.mark.parametrize("lag_trs", [-4, 0, 3])
def test_a_shift_by_whole_trs_is_found_exactly_with_its_sign(lag_trs):
    x = stimulus()
    bold = np.roll(x, lag_trs)[:, None] / x.std() + noise((N, 5), 1, 0.3)
    scan = lag_scan(x, bold, TR, n_surrogates=99)
    assert scan.best_lag.tolist() == [lag_trs * TR] * 5
    assert scan.mean_best_lag == lag_trs * TR
    assert scan.mean_p == 0.01
    assert (scan.p == 0.01).all()
    assert scan.r.shape == (21, 5)
    assert f"{lag_trs * TR:+g} s" in str(scan)


def test_correlations_equal_numpys_on_the_volumes_all_lags_share():
    x, bold = stimulus(), noise((N, 3), 2)
    scan = lag_scan(x, bold, TR, [-3, 0, 4.5], detrend=False, n_surrogates=19)
    assert scan.volumes == slice(3, N - 2)
    for row, shift in zip(scan.r, (-2, 0, 3), strict=True):
        expected = [np.corrcoef(x[3 - shift : N - 2 - shift], b[3 : N - 2])[0, 1] for b in bold.T]
        np.testing.assert_allclose(row, expected, atol=1e-9)


def test_a_lag_between_trs_is_found_on_the_stimulus_own_fine_clock():
    fine = np.arange(-30, N * TR + 30, 0.1)
    edges = np.append(fine, fine[-1] + 0.1)
    envelope = np.repeat(np.random.default_rng(3).standard_normal(len(fine) // 10 + 1), 10)[: len(fine)]
    bold = response_at(envelope, edges, np.arange(N) * TR - 0.8)[:, None]
    bold = bold / bold.std() + noise((N, 2), 4, 0.3)
    regressor = response_at(envelope, edges, fine)
    scan = lag_scan(regressor, bold, TR, np.arange(-3, 3.01, 0.2), regressor_times=fine, n_surrogates=99)
    assert scan.mean_best_lag == pytest.approx(0.8, abs=0.2)
    assert scan.volumes == slice(0, N), "the stimulus is known before and behind the scan"
    with pytest.raises(AlignmentError, match=r"lag 0.8 s is not a whole number of TRs"):
        lag_scan(stimulus(), bold, TR, [0, 0.8])


def test_p_is_uniform_over_noise_with_the_search_over_lags_accounted_for():
    """Slow noise against a slow regressor: without such surrogates nearly all would look significant."""
    p = np.concatenate(
        [lag_scan(stimulus(s), noise((N, 40), 100 + s, 0.8), TR, n_surrogates=199, seed=s).p for s in range(8)]
    )
    assert 0.02 <= np.mean(p <= 0.05) <= 0.09
    assert 0.4 <= np.mean(p) <= 0.6
    x = stimulus(0)
    naive = lag_scan(x, noise((N, 40), 100, 0.8), TR, n_surrogates=199)
    assert np.mean(naive.r.max(axis=0) > 1.645 / np.sqrt(N)) > 0.5, "what an uncorrected test would call significant"


def test_a_trend_in_both_is_no_correlation_unless_detrending_is_off():
    ramp = np.linspace(0, 50, N)
    x, bold = stimulus() + ramp, noise((N, 1), 5) + ramp[:, None]
    assert np.abs(lag_scan(x, bold, TR, n_surrogates=19).r).max() < 0.35
    assert lag_scan(x, bold, TR, detrend=False, n_surrogates=19).r.min() > 0.9
    wave = 5 * np.sin(2 * np.pi * np.arange(N) * TR / 300)
    both = stimulus() + wave, noise((N, 1), 5) + wave[:, None]
    assert lag_scan(*both, TR, n_surrogates=19).r.max() > 0.7
    assert np.abs(lag_scan(*both, TR, high_pass=0.01, n_surrogates=19).r).max() < 0.35


def test_a_negative_response_is_found_by_size_and_not_by_the_positive_tail():
    x = stimulus()
    bold = -np.roll(x, 2)[:, None] / x.std() + noise((N, 1), 6, 0.3)
    both = lag_scan(x, bold, TR, tail="both", n_surrogates=99)
    assert (both.mean_best_lag, both.mean_p) == (3.0, 0.01)
    assert lag_scan(x, bold, TR, n_surrogates=99).mean_best_lag != 3.0


def test_the_mean_over_targets_finds_what_single_ones_cannot():
    x = stimulus()
    bold = 0.25 * np.roll(x, 2)[:, None] / x.std() + noise((N, 600), 7, 0.3)
    scan = lag_scan(x, bold, TR, n_surrogates=99)
    assert scan.mean_best_lag == 3.0
    assert scan.mean_r.max() > 0.8 > np.abs(scan.r).max()
    assert scan.best_lag.shape == (600,), "more targets than a block holds"
    alone = lag_scan(x, bold[:, 599:], TR, n_surrogates=99)
    np.testing.assert_allclose(scan.r[:, 599:], alone.r)
    assert scan.p[599] == alone.p[0]


def test_the_same_seed_gives_the_same_p():
    x, bold = stimulus(), noise((N, 4), 8)
    a, b = (lag_scan(x, bold, TR, n_surrogates=99, seed=3) for _ in range(2))
    np.testing.assert_array_equal(a.p, b.p)
    np.testing.assert_array_equal(a.threshold, b.threshold)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"regressor": stimulus(n=290)}, AlignmentError, "290 TRs and the BOLD 300 volumes"),
        ({"regressor": np.zeros(N)}, InputError, "does not vary"),
        ({"bold": np.where(np.arange(3) == 1, 5.0, noise((N, 3), 1))}, InputError, "1 of 3 targets .* column 1"),
        ({"bold": np.full((N, 1), np.nan)}, InputError, "bold holds nan"),
        ({"tr": 0}, InputError, "TR is 0 s"),
        ({"lags": [0, 0]}, AlignmentError, "lags go from"),
        ({"lags": [-300, 0, 300]}, AlignmentError, "of 300 volumes can be compared"),
        ({"tail": "left"}, InputError, "tail is 'left'"),
        ({"n_surrogates": 5}, InputError, "at least 19"),
        ({"regressor_times": np.arange(10)}, AlignmentError, "10 regressor times for 300"),
        ({"regressor_times": np.cumsum(np.linspace(1, 2, N))}, AlignmentError, "not evenly spaced"),
    ],
)
def test_what_cannot_be_scanned_is_refused_in_words(change, error, message):
    call = {"regressor": stimulus(), "bold": noise((N, 3), 1), "tr": TR, **change}
    with pytest.raises(error, match=message):
        lag_scan(**call)


def test_censored_volumes_count_nowhere_and_the_others_keep_their_times():
    x, bold = stimulus(), noise((N, 3), 2)
    bold += 3 * x[:, None]
    kept = ~np.isin(np.arange(N), [0, 40, 41, 42, 100])
    options = {"lags": np.arange(-3, 4) * TR, "n_surrogates": 99, "high_pass": 0.01}
    scan = lag_scan(x, bold, TR, sample_mask=kept, **options)
    for nonsense in (np.nan, 1e6):
        other = lag_scan(x, np.where(kept[:, None], bold, nonsense), TR, sample_mask=kept, **options)
        for name in ("r", "p", "threshold", "best_lag", "mean_r"):
            np.testing.assert_array_equal(getattr(other, name), getattr(scan, name), name)
    assert (scan.volumes, scan.n_volumes) == (slice(3, N - 3), N - 6 - 4)
    assert not np.allclose(lag_scan(x, bold, TR, **options).r, scan.r)
    # numpy's least squares on the volumes that are left, each at its own time.
    rows = np.flatnonzero(kept[3 : N - 3]) + 3
    time = rows - 3
    n = N - 6
    cosines = [np.cos(np.pi * k * (2 * time + 1) / (2 * n)) for k in range(1, int(2 * n * TR * 0.01) + 1)]
    design = np.stack([np.ones(len(rows)), time, *cosines], axis=1)

    def straight(columns):
        return columns - design @ np.linalg.lstsq(design, columns, rcond=None)[0]

    late = straight(x[rows - 1])
    wanted = [np.corrcoef(late, straight(column))[0, 1] for column in bold[rows].T]
    np.testing.assert_allclose(scan.r[4], wanted, atol=1e-9)


def test_a_mask_that_leaves_too_little_or_fits_nothing_is_refused():
    x, bold = stimulus(), noise((N, 2), 2)
    with pytest.raises(InputError, match=rf"sample_mask is int64 \({N},\)"):
        lag_scan(x, bold, TR, sample_mask=np.ones(N, np.int64))
    with pytest.raises(AlignmentError, match=f"15 of {N} volumes, without {N - 15} that are censored"):
        lag_scan(x, bold, TR, [0.0, TR], sample_mask=np.isin(np.arange(N), np.arange(20, 35)))
    coords = {"volume": ("tr", np.r_[0:50, 53 : N + 3])}
    with pytest.raises(AlignmentError, match="volumes left out between its rows"):
        lag_scan(xr.DataArray(x, dims="tr", coords=coords), bold, TR)
