"""Simulated BOLD is what it says: mapping, delay, noise and their strength, each recovered by a method not ours."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nilearn.glm.first_level import compute_regressor
from sklearn.linear_model import RidgeCV

from giblet.data.fmri import FMRIProcessor
from giblet.data.simulate import simulate_bold, write_simulation
from giblet.errors import InputError
from giblet.features import load_features, new_features
from giblet.timing import TRGrid


def noise_of(simulation):
    return simulation.bold.astype(float) - simulation.truth.signal.values


def white(n=400, k=6, seed=0):
    return np.random.default_rng(seed).standard_normal((n, k))


@settings(max_examples=25, deadline=None)
@given(snr=st.floats(0.05, 20), ar=st.floats(-0.5, 0.9), drift=st.floats(0, 0.9), seed=st.integers(0, 99))
def test_the_realised_snr_is_the_one_asked_for_in_every_voxel(snr, ar, drift, seed):
    simulation = simulate_bold(
        white(150), 2.0, n_voxels=5, snr=snr, ar=ar, drift=drift, seed=seed, run_lengths=[90, 60]
    )
    ratio = simulation.truth.signal.values.astype(float).var(axis=0) / noise_of(simulation).var(axis=0)
    np.testing.assert_allclose(ratio, snr, rtol=1e-3)


@pytest.mark.parametrize("ar", [-0.4, 0.0, 0.3, 0.8])
def test_the_noise_has_the_ar_coefficient(ar):
    noise = noise_of(simulate_bold(white(3000), 2.0, n_voxels=20, ar=ar, drift=0.0))
    lag1 = (noise[1:] * noise[:-1]).sum(axis=0) / (noise**2).sum(axis=0)
    assert abs(lag1.mean() - ar) < 0.02
    lag2 = (noise[2:] * noise[:-2]).sum(axis=0) / (noise**2).sum(axis=0)
    assert abs(lag2.mean() - ar**2) < 0.03


def test_the_noise_is_stationary_from_the_first_tr_of_each_run():
    noise = noise_of(simulate_bold(white(100), 2.0, n_voxels=4000, ar=0.8, drift=0.0, run_lengths=[60, 40]))
    spread = noise.var(axis=1) / noise.var()
    assert np.abs(spread[[0, 1, 60, 61]] - 1).max() < 0.12  # 4000 voxels: standard error 0.02; afresh it would be 0.36


def test_drift_is_slow_and_of_the_share_asked_for():
    noise = noise_of(simulate_bold(white(1000), 2.0, n_voxels=40, ar=0.0, drift=0.6))
    power = np.abs(np.fft.rfft(noise - noise.mean(axis=0), axis=0)) ** 2
    slow = np.fft.rfftfreq(1000, 2.0) < 1 / 100
    share = power[slow].sum() / power.sum()
    assert abs(share - (0.6 + 0.4 * slow.mean())) < 0.05


@pytest.mark.parametrize("lag", [0.0, 1.5, 4.5, 0.4, 2.3, -1.5, -2.0])
@pytest.mark.parametrize("hrf", ["glover", "spm"])
def test_the_lag_is_a_delay_of_the_stimulus_by_that_many_seconds(lag, hrf):
    tr, n = 1.5, 120
    x = np.zeros((n, 1))
    x[[20, 45, 46, 80]] = 1
    simulation = simulate_bold(x, tr, n_voxels=1, hrf=hrf, lag=lag, drift=0.0)
    onsets = np.array([20, 45, 46, 80]) * tr + lag
    # z-scoring takes the mean out, so that a boxcar of minus the mean lasts for the scan; nilearn is given both
    frames = np.arange(n) * tr
    events, _ = compute_regressor([onsets, np.full(4, tr), np.ones(4)], hrf, frames, oversampling=150, min_onset=-50)
    whole, _ = compute_regressor([[lag], [n * tr], [1.0]], hrf, frames, oversampling=150, min_onset=-50)
    expected = (events - x.mean() * whole)[:, 0]
    signal = simulation.truth.signal.values[:, 0].astype(float)
    assert abs(np.corrcoef(signal, expected)[0, 1]) > 0.9999
    slope = signal.std() / expected.std() * np.sign(signal @ expected)
    assert np.abs(signal - signal.mean() - slope * (expected - expected.mean())).max() < 0.01 * np.abs(signal).max()


def test_whole_tr_lags_shift_the_signal_and_runs_do_not_leak():
    x = white(200)
    plain = simulate_bold(x, 1.5, n_voxels=3, run_lengths=[120, 80]).truth
    late = simulate_bold(x, 1.5, n_voxels=3, run_lengths=[120, 80], lag=6.0).truth
    a, b = plain.signal.values / plain.gain.values, late.signal.values / late.gain.values
    np.testing.assert_allclose(b[4:120], a[:116], atol=1e-5)
    np.testing.assert_allclose(b[124:], a[120:196], atol=1e-5)
    assert not b[:4].any() and not b[120:124].any()


def test_weights_features_and_gain_make_the_signal():
    for mapping, bend in (("linear", lambda v: v), ("tanh", np.tanh)):
        truth = simulate_bold(white(200), 1.5, n_voxels=4, mapping=mapping).truth
        drive = bend(truth.features.values @ truth.weights.values)
        from nilearn.glm.first_level import glover_hrf

        fine = np.repeat(drive, 50, axis=0)
        kernel = glover_hrf(1.5, 50)
        response = np.stack([np.convolve(column, kernel)[: len(fine) : 50] for column in fine.T], axis=1)
        for v in range(4):
            assert np.corrcoef(response[:, v], truth.signal.values[:, v])[0, 1] > 0.999


def test_ridge_recovers_the_mapping_better_the_higher_the_snr():
    scores, errors = [], []
    for snr in (0.05, 0.5, 5.0):
        simulation = simulate_bold(white(500, 8), 2.0, n_voxels=30, snr=snr, drift=0.1)
        identity = simulate_bold(white(500, 8), 2.0, n_voxels=1).truth.features.values
        from giblet.alignment import convolve_hrf

        design = convolve_hrf(identity, tr=2.0, kind="continuous")
        model = RidgeCV(np.logspace(-3, 3, 7)).fit(design[:350], simulation.bold[:350])
        predicted, actual = model.predict(design[366:]), simulation.bold[366:]
        scores.append(np.mean([np.corrcoef(p, a)[0, 1] for p, a in zip(predicted.T, actual.T, strict=True)]))
        true = simulation.truth.weights.values * simulation.truth.gain.values
        errors.append(np.mean([np.corrcoef(w, t)[0, 1] for w, t in zip(model.coef_, true.T, strict=True)]))
    assert scores[0] < scores[1] < scores[2] and errors[0] < errors[1] < errors[2]
    assert errors[2] > 0.98 and scores[2] > 0.85
    null = simulate_bold(white(500, 8), 2.0, n_voxels=30, snr=0.0)
    assert not null.truth.signal.values.any()


def test_seeds_choose_mapping_and_noise_apart():
    x = white(100)
    a, b = simulate_bold(x, 1.5, seed=1), simulate_bold(x, 1.5, seed=1)
    np.testing.assert_array_equal(a.bold, b.bold)
    other = simulate_bold(x, 1.5, seed=1, noise_seed=2)
    np.testing.assert_array_equal(a.truth.signal, other.truth.signal)
    assert abs(np.corrcoef(noise_of(a)[:, 0], noise_of(other)[:, 0])[0, 1]) < 0.5
    assert not np.allclose(a.truth.weights, simulate_bold(x, 1.5, seed=2).truth.weights)


def test_codes_are_categories_and_padding_is_silent():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 32, (80, 2, 20), dtype=np.int32)

    def features(codes):
        return new_features(
            {"codes": (("tr", "codebook", "frame"), codes)}, TRGrid(1.5, 80, 15), film_duration=105.0, kind="codes",
            desc="x", codebook_size=32, source="film.mp4", source_sha256="0", duration=1.0, settings={},
        )  # fmt: skip

    truth = simulate_bold(features(codes), n_voxels=3).truth
    assert truth.features.shape == (80, 16) and not truth.features[70:].values.any()
    counts = np.stack([(codes == c).mean(axis=2) for c in range(32)], axis=2).reshape(80, -1)[:70]
    centred = counts - counts.mean(axis=0)
    fitted = centred @ np.linalg.lstsq(centred, truth.features.values[:70], rcond=None)[0]
    np.testing.assert_allclose(fitted, truth.features.values[:70], atol=1e-4)  # linear in how often a code occurs


@pytest.mark.parametrize("name", ["sub-sim_bold.nii.gz", "sub-sim_bold.nii", "sub-sim_bold.tsv", "sub-sim_bold.csv.gz"])
@pytest.mark.parametrize("run_lengths", [None, [40, 30]])
def test_what_is_written_is_read_back_by_the_processor(tmp_path, name, run_lengths):
    simulation = simulate_bold(white(70), 0.72, n_voxels=11, run_lengths=run_lengths, lag=1.0)
    written = write_simulation(simulation, tmp_path / name)
    runs = [p for p in written if p.name.endswith(name.removeprefix("sub-sim_bold")) and "mask" not in p.name]
    assert len(runs) == (1 if run_lengths is None else 2)
    masks = [p for p in written if p.name.endswith("_mask.nii.gz")]
    bold = FMRIProcessor(*masks, tr=0.72).load(runs)
    np.testing.assert_array_equal(bold.bold, simulation.bold)
    assert bold.attrs["subject"] == "sim"
    of_itself = FMRIProcessor(*masks).load(runs)  # tables too: a sidecar stands beside each run
    assert of_itself.attrs["tr"] == 0.72 and of_itself.attrs["tr_source"] == "sidecar"
    truth = load_features(written[-1])
    np.testing.assert_array_equal(truth.signal, simulation.truth.signal)
    assert truth.attrs["lag"] == 1.0 and json.loads(truth.attrs["settings"])["snr"] == 1.0
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith(".")) == []


def test_unusable_features_and_options_are_refused_with_the_reason(tmp_path):
    for features, options, message in [
        (white(), {}, "pass tr"),
        (np.ones((50, 2)), {"tr": 1.5}, "constant"),
        (np.zeros((50, 2), np.int32), {"tr": 1.5}, "feature file"),
        (np.full((50, 2), np.nan), {"tr": 1.5}, "50 TRs of the features hold NaN"),
        (white(), {"tr": 1.5, "snr": -1.0}, "snr is -1"),
        (white(), {"tr": 1.5, "ar": 1.0}, "ar is 1"),
        (white(), {"tr": 1.5, "snrr": 1.0}, "did you mean snr"),
        (white(), {"tr": 1.5, "run_lengths": [100, 100]}, "at least 2 each, 400 together"),
        (white(), {"tr": 1.5, "lag": 900.0}, "nothing of the response"),
    ]:
        with pytest.raises(InputError, match=message):
            simulate_bold(features, **options)
    with pytest.raises(InputError, match="neither image nor table"):
        write_simulation(simulate_bold(white(), 1.5), tmp_path / "a.mat")


@pytest.mark.parametrize("options", [{"confounds": 0.5}, {"mapping": "interaction", "own": 0.4, "confounds": 0.2}])
def test_the_snr_holds_with_confounds_interactions_and_own_parts(options):
    simulation = simulate_bold(white(150), 2.0, n_voxels=7, snr=0.3, run_lengths=[90, 60], **options)
    ratio = simulation.truth.signal.values.astype(float).var(axis=0) / noise_of(simulation).var(axis=0)
    np.testing.assert_allclose(ratio, 0.3, rtol=1e-3)


@pytest.mark.parametrize("share", [0.1, 0.6])
def test_the_confounds_of_the_truth_explain_their_share_of_the_noise(share):
    simulation = simulate_bold(white(3000), 2.0, n_voxels=40, confounds=share, drift=0.0, ar=0.0)
    confounds, noise = simulation.truth.confounds.values.astype(float), noise_of(simulation)
    confounds = confounds - confounds.mean(axis=0)
    noise = noise - noise.mean(axis=0)
    left = noise - confounds @ np.linalg.lstsq(confounds, noise, rcond=None)[0]
    explained = 1 - left.var(axis=0) / noise.var(axis=0)
    assert abs(explained.mean() - share) < 0.03
    r = np.array([[np.corrcoef(noise[:, v], one)[0, 1] for one in confounds.T] for v in range(40)])
    assert (r[:, 6] > 0).all() and (r[:, :6] < 0).any(axis=0).all()  # a global signal has one sign, motion both
    # Half of what is explained each, motion and global signal: over voxels, the mean of the latter's r2.
    assert 0.3 < (r[:, 6] ** 2).mean() / share < 0.7


def test_without_confounds_the_truth_has_none_and_names_no_new_option():
    truth = simulate_bold(white(100), 2.0, n_voxels=2).truth
    assert "confounds" not in truth and "factors" not in truth and "share" not in truth
    assert not {"confounds", "own", "answers_to"} & set(json.loads(truth.attrs["settings"]))


@pytest.mark.parametrize("own", [0.0, 0.36, 1.0])
@pytest.mark.parametrize("mapping", ["linear", "interaction"])
def test_subjects_share_what_is_not_their_own(own, mapping):
    first, second = (
        simulate_bold(white(2000, 12), 2.0, n_voxels=60, own=own, mapping=mapping, noise_seed=seed).truth.signal.values
        for seed in (1, 2)
    )
    r = np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(first.T, second.T, strict=True)])
    # A product of two drives that each correlate by 1 - own correlates by its square.
    expected = 1 - own if mapping == "linear" else ((1 - own) + (1 - own) ** 2) / 2
    assert abs(r - expected) < 0.1


def response_of(drive, tr):
    from nilearn.glm.first_level import glover_hrf

    fine, kernel = np.repeat(drive, 50, axis=0), glover_hrf(tr, 50)
    return np.stack([np.convolve(column, kernel)[: len(fine) : 50] for column in fine.T], axis=1)


def test_an_interaction_is_half_a_product_of_the_drives_in_the_truth():
    truth = simulate_bold(white(600), 1.5, n_voxels=4, mapping="interaction").truth
    x = truth.features.values.astype(float)
    linear, (a, b) = x @ truth.weights.values, x @ truth.factors.values
    product = a * b - (a * b).mean(axis=0)
    drive = linear + product / product.std(axis=0)
    expected = response_of(drive, 1.5)
    for v in range(4):
        assert np.corrcoef(expected[:, v], truth.signal.values[:, v])[0, 1] > 0.999
    design = response_of(x, 1.5)
    design = design - design.mean(axis=0)
    signal = truth.signal.values - truth.signal.values.mean(axis=0)
    left = signal - design @ np.linalg.lstsq(design, signal, rcond=None)[0]
    assert 0.3 < (left.var(axis=0) / signal.var(axis=0)).mean() < 0.7  # what no linear model gets


def test_several_sources_share_the_drive_whatever_their_number_of_columns():
    sources = {"wide": white(1500, 80), "narrow": white(1500, 2, seed=1)}
    truth = simulate_bold(sources, 2.0, n_voxels=50).truth
    assert json.loads(truth.attrs["settings"])["answers_to"] == ["wide", "narrow"]
    share, band = truth.share.values, truth.band.values
    np.testing.assert_allclose(share.sum(axis=0), 1, atol=1e-6)
    assert band.tolist() == [0] * 80 + [1] * 2 and 0.35 < share[0].mean() < 0.65 and share[0].std() > 0.2
    drives = [truth.features.values[:, band == k] @ truth.weights.values[band == k] for k in (0, 1)]
    total = drives[0] + drives[1]
    np.testing.assert_allclose(drives[0].var(axis=0) / total.var(axis=0), share[0], atol=0.12)
    for v in range(3):
        assert np.corrcoef(response_of(total, 2.0)[:, v], truth.signal.values[:, v])[0, 1] > 0.999


@pytest.mark.parametrize("snr", [0.0, 0.1, 2.0])
def test_the_noise_ceiling_is_the_correlation_of_signal_and_bold(snr):
    simulation = simulate_bold(white(500), 2.0, n_voxels=5, snr=snr)
    ceiling = simulation.truth.noise_ceiling.values
    if not snr:
        assert not ceiling.any()
        return
    pairs = zip(simulation.truth.signal.values.T, simulation.bold.T, strict=True)
    np.testing.assert_allclose(ceiling, [np.corrcoef(s, b)[0, 1] for s, b in pairs], atol=1e-5)
    assert abs(ceiling.mean() - np.sqrt(snr / (1 + snr))) < 0.1


def test_sources_of_other_clocks_and_shares_without_room_are_refused():
    for features, options, message in [
        ({"a": white(100), "b": white(90)}, {"tr": 2.0}, "another number of TRs than a"),
        (white(), {"tr": 1.5, "confounds": 0.8}, "shares of the noise, below 1 together"),
        (white(), {"tr": 1.5, "own": 1.5}, "own is 1.5"),
        (white(), {"tr": 1.5, "mapping": "cubic"}, "mapping is 'cubic'"),
    ]:
        with pytest.raises(InputError, match=message):
            simulate_bold(features, **options)
