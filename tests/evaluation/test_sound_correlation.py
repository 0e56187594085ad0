"""Spectral correlation, envelopes and pitch, where the answer is known; and the codec's round trip of real sound."""

import numpy as np
import pytest
from scipy.stats import pearsonr

from giblet.codec import load_codec
from giblet.evaluation.heard import SoundOptions
from giblet.evaluation.pitch_scores import PITCH, VOICING, pitch_by_tr, pitch_scores
from giblet.evaluation.scores import score_codes
from giblet.evaluation.sound_correlation import SHAPE, SPECTRAL, envelope_by_tr, spectral_scores
from giblet.statistics.estimates import ScoredTRs
from giblet.timing import group_codes_by_tr
from tests.evaluation.test_identification import slow
from tests.sounds import at_24k

TRS = ScoredTRs.of(80, 1.5)


def spectra(seed, n=80, bands=6, frames=4):
    rng = np.random.default_rng(seed)
    return slow(rng, n, bands * frames).reshape(n, bands, frames) + np.arange(bands)[:, None]


def test_spectral_r_is_pearsons_r_of_each_band_over_frames():
    truth = spectra(0)
    predicted = truth + spectra(1)
    found, shape = spectral_scores(truth, predicted, {"zero": np.zeros_like(truth)}, TRS)
    r = [pearsonr(truth[:, band].ravel(), predicted[:, band].ravel())[0] for band in range(6)]
    assert (found.name, found.reconstruction.value) == (SPECTRAL, pytest.approx(np.mean(r)))
    assert found.nulls["zero"].score.value == 0.0
    means = truth.mean(2), predicted.mean(2)
    r = [pearsonr(one, other)[0] for one, other in zip(*means, strict=True)]
    assert (shape.name, shape.reconstruction.value) == (SHAPE, pytest.approx(np.mean(r)))
    assert found.shifted.p == shape.shifted.p == 1 / 80
    assert abs(found.shifted.mean) < 0.05 < 0.5 < shape.shifted.mean  # each TR has the same slope over bands


def test_spectral_r_knows_no_levels_of_bands_and_stretches():
    truth, run = spectra(2), np.repeat([0, 1], [50, 30])
    gains = np.where(run == 0, 1.0, 7.0)[:, None, None]
    found, _ = spectral_scores(truth, -3 * truth * gains + 40 * gains, {}, ScoredTRs(1.5, run))
    assert found.reconstruction.value == pytest.approx(-1)
    still = truth.copy()
    still[:, 2] = 5.0  # of a film without such frequencies
    found, _ = spectral_scores(still, truth, {}, ScoredTRs(1.5, run), ceiling=still)
    assert found.reconstruction.value == pytest.approx(1) and found.ceiling == pytest.approx(1)
    assert found.reconstruction.low == pytest.approx(1)  # no other TRs would change it
    truth_of_half = np.where(np.arange(6)[:, None] < 3, truth, 1.0)
    assert spectral_scores(truth, truth_of_half, {}, TRS)[0].reconstruction.value == pytest.approx(0.5)


def test_spectra_that_know_nothing_are_at_chance():
    p = [
        [one.shifted.p for one in spectral_scores(spectra(seed), spectra(seed + 1), {}, TRS)]
        for seed in range(0, 120, 2)
    ]
    rate = (np.array(p) < 0.05).mean(axis=0)
    assert (rate <= 0.12).all() and np.median(p) == pytest.approx(0.5, abs=0.15)
    same = np.broadcast_to(spectra(0).mean(0), (80, 6, 4)) + 1e-3 * spectra(3)
    assert [one.shifted.p for one in spectral_scores(spectra(0), same, {}, TRS, constant=True)] == [1.0, 1.0]


def test_an_envelope_is_the_rms_of_10_ms_to_the_power_06():
    time = np.arange(6 * 24_000) / 24_000
    loud = np.where(time < 3, 0.5, 0.05) * np.sin(2 * np.pi * 1000 * time)
    found = envelope_by_tr(loud, 24_000, 4, 1.5)
    assert found.shape == (4, 1, 150)
    assert found[:2] == pytest.approx((0.5 / np.sqrt(2)) ** 0.6, rel=1e-3)
    assert found[2:] == pytest.approx((0.05 / np.sqrt(2)) ** 0.6, rel=1e-3)
    assert envelope_by_tr(loud[:36_000], 24_000, 2, 1.5)[1].max() == 0


def voice(f0, seconds, rate=24_000):
    time = np.arange(round(seconds * rate)) / rate
    return 0.1 * sum(np.sin(2 * np.pi * f0 * k * time) / k for k in range(1, 8)).astype(np.float32)


def test_pitch_is_that_of_the_extractor_and_of_constants_the_beginning():
    sound = np.concatenate([voice(120, 3.0), np.zeros(36_000, np.float32), voice(200, 1.5)])
    found = pitch_by_tr(sound, 24_000, 4, 1.5)
    assert found.shape == (4, 150)
    for tr, f0 in ((0, 120), (1, 120), (3, 200)):
        assert np.nanmedian(found[tr]) == pytest.approx(f0, rel=0.02)
    assert np.isfinite(found[2]).mean() < 0.1 < 0.9 < np.isfinite(found[0]).mean()
    steady = pitch_by_tr(voice(120, 4.5), 24_000, 40, 1.5, constant=True)
    assert steady.shape == (40, 150) and np.nanmedian(steady[-1]) == pytest.approx(120, rel=0.02)


def pitches(seed, n=80, frames=20):
    rng = np.random.default_rng(seed)
    f0 = 150 * np.exp(0.2 * slow(rng, n, 1) / 2 + 0.05 * rng.standard_normal((n, frames)))
    return np.where(slow(rng, n, frames) > -1, f0, np.nan)


def test_voicing_and_f0_agreement_are_shares_of_frames_and_of_frames_with_two_voices():
    truth, other = pitches(0), pitches(1)
    predicted = np.where(np.arange(20) < 12, truth, other)
    voicing, f0 = pitch_scores(truth, predicted, {"always": np.full_like(truth, 150.0)}, TRS, ceiling=truth)
    assert [voicing.name, f0.name] == [VOICING, PITCH]
    assert voicing.reconstruction.value == pytest.approx((np.isnan(truth) == np.isnan(predicted)).mean())
    both = np.isfinite(truth) & np.isfinite(predicted)
    near = np.abs(predicted[both] / truth[both] - 1) <= 0.2
    assert f0.reconstruction.value == pytest.approx(near.mean())
    assert voicing.nulls["always"].score.value == pytest.approx(np.isfinite(truth).mean())
    assert (voicing.ceiling, f0.ceiling) == (1.0, 1.0)
    hits, shared = 0, 0
    for shift in range(80):
        rolled = np.roll(predicted, shift, axis=0)
        there = np.isfinite(rolled) & np.isfinite(truth)
        hits += (np.abs(rolled[there] / truth[there] - 1) <= 0.2).sum()
        shared += there.sum()
    assert f0.shifted.mean == pytest.approx(hits / shared)
    assert f0.shifted.p == voicing.shifted.p == 1 / 80
    octave = pitch_scores(truth, 2 * truth, {}, TRS)
    assert [one.reconstruction.value for one in octave] == [1.0, 0.0]


def test_pitches_that_know_nothing_are_at_chance_and_a_constant_has_p_1():
    p = [
        [one.shifted.p for one in pitch_scores(pitches(seed), pitches(seed + 1), {}, TRS)] for seed in range(0, 120, 2)
    ]
    rate = (np.array(p) < 0.05).mean(axis=0)
    assert (rate <= 0.12).all() and np.median(p, axis=0) == pytest.approx(0.5, abs=0.17)
    always = pitch_scores(pitches(0), np.full((80, 20), 150.0), {}, TRS)
    assert [one.shifted.p for one in always] == [1.0, 1.0]
    never = pitch_scores(pitches(0), np.full((80, 20), np.nan), {"no": np.full((80, 20), np.nan)}, TRS)
    assert never[1].reconstruction.value is None and "voiced on both sides" in never[1].reconstruction.why


@pytest.fixture(scope="module")
def round_trip():
    """45 s of real speech by its own codes: the codec alone, beside the film's sound."""
    codec, tr = load_codec("bundled", device="cpu"), 0.75
    sound = at_24k("speech.flac")[: 60 * 18_000]
    codes = group_codes_by_tr(codec.encode(sound), tr=tr, frame_rate=75)
    silent = sound.copy()
    silent[40 * 18_000 : 42 * 18_000] = 0
    return score_codes(
        codes, np.roll(codes, 17, axis=0), codes[:4], codec, tr, original=silent, options=SoundOptions(),
        place=np.arange(60) + 100,
    )  # fmt: skip


def test_of_the_codecs_round_trip_passages_are_told_apart(round_trip):
    found = {(one.name, one.seconds): one for one in round_trip.passages}
    assert list(found) == [(name, length) for name in ("latents", "mel") for length in (1.5, 6.0, 15.0)]
    for length in (1.5, 6.0, 15.0):
        best = found["mel", length].ceiling
        assert best.pairwise.value > 0.95 and best.top[1].value > 0.9
        assert found["mel", length].pairwise.value < 0.75  # the same sound at the wrong time
    assert found["mel", 1.5].n_passages == 20 + 9  # TRs 40 and 41 are silent
    assert found["latents", 1.5].ceiling is None


def test_the_codec_stands_beside_each_score_of_sound_and_pitch_is_said_to_be_left_out(round_trip):
    scores = {one.name: one for one in round_trip.scores}
    for name in ("mel r", "envelope r", "envelope r over time", "spectral r", "spectral shape r"):
        assert scores[name].ceiling > 0.75 and scores[name].reconstruction.value < scores[name].ceiling, name
    assert any("voicing and F0 are not measured: the option pitch" in note for note in round_trip.notes)
    assert any(note.startswith("2 of 60 TRs are silent") for note in round_trip.notes)
