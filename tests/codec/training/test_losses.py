"""Losses: zero where the two agree, sensitive to what they are named for."""

from __future__ import annotations

import itertools
import math

import librosa
import numpy as np
import pytest
import scipy.signal
import torch

from giblet.codec.training.losses import (
    LEVEL_FLOOR,
    BandProbe,
    EnvelopeLoss,
    LevelLoss,
    MultiScaleLoss,
    commitment_loss,
    loss,
    spectral_loss,
)
from giblet.errors import InputError


@pytest.fixture
def tone():
    t = torch.arange(12_000) / 24_000
    return (0.5 * torch.sin(2 * math.pi * 440 * t) + 0.1 * torch.sin(2 * math.pi * 3100 * t))[None, None]


def test_all_terms_are_zero_for_equal_waveforms(tone):
    assert all(float(term) == 0 for term in MultiScaleLoss()(tone, tone).values())


def test_only_the_phase_terms_notice_a_flipped_sign(tone):
    terms = MultiScaleLoss()(-tone, tone)
    assert terms["mel"] < 1e-5 and terms["magnitude"] < 1e-4
    assert terms["complex"] > 1.5 and terms["waveform"] > 1.5


def test_halving_the_level_costs_log10_of_two_in_every_audible_band():
    noise = torch.randn(1, 1, 24_000, generator=torch.Generator().manual_seed(0)) * 0.3
    assert float(MultiScaleLoss()(0.5 * noise, noise)["mel"]) == pytest.approx(math.log10(2), rel=0.01)


def test_silence_scores_one_in_waveform_and_compressed_spectrum():
    noise = torch.randn(1, 1, 24_000, generator=torch.Generator().manual_seed(0))
    terms = MultiScaleLoss()(torch.zeros_like(noise), noise)
    assert float(terms["waveform"]) == pytest.approx(1, rel=0.01)
    # what is left of 1 is the floor, 1e-3 ** 0.3 = 0.13, beside compressed magnitudes of 1 to 3
    assert 0.85 < float(terms["compressed"]) < 1


def test_compressed_distance_of_louder_and_of_flipped_spectra_is_as_computed_by_hand():
    noise = torch.randn(1, 1, 24_000, generator=torch.Generator().manual_seed(0))
    loss = MultiScaleLoss()
    assert float(loss(2 * noise, noise)["compressed"]) == pytest.approx((2**0.3 - 1) ** 2, rel=1e-3)
    assert float(loss(-noise, noise)["compressed"]) == pytest.approx(0.3 * 2**2, rel=1e-3)


def test_lost_quiet_noise_counts_more_in_the_compressed_term_than_in_the_complex_one():
    noise = torch.randn(1, 1, 24_000, generator=torch.Generator().manual_seed(0))
    tone = 3 * torch.sin(2 * math.pi * 440 * torch.arange(24_000) / 24_000)[None, None]
    terms = MultiScaleLoss()(tone, tone + 0.02 * noise)  # noise 40 dB below the tone, in every band but the tone's
    assert terms["compressed"] > 2 * terms["complex"]


def test_mel_bank_equals_librosas():
    filters = pytest.importorskip("librosa").filters
    bank = MultiScaleLoss(scales=[(1024, 64)]).mel_1024
    torch.testing.assert_close(
        bank, torch.from_numpy(filters.mel(sr=24_000, n_fft=1024, n_mels=64)), atol=1e-6, rtol=1e-4
    )


def test_loss_adds_a_quarter_of_the_commitment(tone):
    z_e, z_q = torch.ones(1, 5, 4), torch.zeros(1, 5, 4)
    total = loss(0.5 * tone, tone, z_e, z_q)
    assert float(total) == pytest.approx(float(spectral_loss(0.5 * tone, tone)) + 0.25)
    assert float(loss(tone, tone, z_e, z_q, commitment_weight=2.0)) == pytest.approx(2.0)


def test_commitment_moves_the_encoder_and_never_the_codebook():
    z_e = torch.randn(1, 3, 4, requires_grad=True)
    z_q = torch.randn(1, 3, 4, requires_grad=True)
    commitment_loss(z_e, z_q).backward()
    assert z_e.grad is not None and z_q.grad is None


def test_gradients_are_finite_for_silence():
    y = torch.zeros(1, 1, 4000, requires_grad=True)
    sum(MultiScaleLoss()(y, torch.zeros(1, 1, 4000)).values()).backward()
    assert torch.isfinite(y.grad).all()


def batch_of(sound):
    return torch.from_numpy(sound).float()[None, None]


@pytest.mark.parametrize("snr_db", [20, 5, -5])
def test_envelope_term_is_what_stoi_lacks_of_one(speech, snr_db):
    pystoi = pytest.importorskip("pystoi")
    clean = librosa.resample(speech[: 10 * 24_000].astype(float), orig_sr=24_000, target_sr=10_000)
    clean, _ = pystoi.utils.remove_silent_frames(clean, clean, 40, 256, 128)
    noisy = clean + np.random.default_rng(0).normal(size=len(clean)) * np.std(clean) * 10 ** (-snr_db / 20)
    stoi = pystoi.stoi(clean, noisy, 10_000)
    for rate in (10_000, 24_000):
        again, target = (librosa.resample(x, orig_sr=10_000, target_sr=rate) for x in (noisy, clean))
        assert 1 - float(EnvelopeLoss(rate)(batch_of(again), batch_of(target))) == pytest.approx(stoi, abs=0.01)


def test_envelope_term_is_deaf_to_level_and_sign_and_not_to_time(speech):
    sound = batch_of(speech[: 4 * 24_000])
    assert float(EnvelopeLoss()(-0.3 * sound, sound)) < 0.01
    assert float(EnvelopeLoss()(sound.flip(-1), sound)) > 0.5


def test_silence_and_what_follows_a_sound_count_nothing_in_the_envelope_term(speech):
    sound = batch_of(speech[: 2 * 24_000])
    silent = torch.zeros_like(sound)
    assert float(EnvelopeLoss()(sound, silent)) == 0
    paused = torch.cat([sound, silent], -1)
    hissing = paused.clone()
    hissing[..., 3 * 24_000 :] = torch.randn(24_000, generator=torch.Generator().manual_seed(1))
    assert float(EnvelopeLoss()(hissing, paused)) < 1e-5


def test_gradients_of_the_envelope_term_are_finite_in_silence():
    y = torch.zeros(1, 1, 18_000, requires_grad=True)
    EnvelopeLoss()(y, torch.randn(1, 1, 18_000, generator=torch.Generator().manual_seed(0))).backward()
    assert torch.isfinite(y.grad).all()


def third_octaves(sound):
    """log10 power of the Hann-windowed frames of a (N,) sound in ten third octaves from 800 Hz: (10, frames)."""
    frames = sound[: len(sound) // 320 * 320].reshape(-1, 320) * scipy.signal.get_window("hann", 320)
    power = np.abs(np.fft.rfft(frames, 1024)) ** 2
    frequencies = np.fft.rfftfreq(1024, 1 / 24_000)
    edges = 800 * 2 ** ((np.arange(11) - 0.5) / 3)
    bands = [power[:, (frequencies >= low) & (frequencies < high)].sum(1) for low, high in itertools.pairwise(edges)]
    return np.log10(np.array(bands) + 1e-3)


def test_probe_is_zero_for_latents_that_are_the_loudness_and_counts_how_far_others_are(speech):
    sound = speech[: 24_000 + 100]  # a rest that makes no frame
    latents = torch.from_numpy(third_octaves(sound)).float()[None]
    probe = BandProbe(10)
    with torch.no_grad():
        probe.read.weight.copy_(torch.eye(10))
        probe.read.bias.zero_()
    assert probe(latents, batch_of(sound)).item() < 1e-4
    assert probe(latents + 0.5, batch_of(sound)).item() == pytest.approx(0.5, abs=1e-4)


def test_a_fitted_probe_reads_loudness_off_mixed_latents_and_not_off_others(speech):
    sound = batch_of(speech[: 10 * 24_000])
    generator = torch.Generator().manual_seed(0)
    mixed = (
        torch.linalg.qr(torch.randn(16, 10, generator=generator))[0]
        @ torch.from_numpy(third_octaves(speech[: 10 * 24_000])).float()
    )
    found = {}
    for name, latents in (("mixed", mixed[None]), ("others", torch.randn(1, 16, 750, generator=generator))):
        probe = BandProbe(16)
        probe.fit(latents, sound)
        found[name] = probe(latents, sound).item()
    assert found["mixed"] < 0.1 * found["others"]


def test_probe_moves_latents_and_its_map(speech):
    latents, probe = torch.zeros(1, 16, 75, requires_grad=True), BandProbe(16)
    probe(latents, batch_of(speech[:24_000])).backward()
    assert latents.grad.abs().sum() > 0 and probe.read.bias.grad.abs().sum() > 0


@pytest.mark.parametrize("gain", [0.5, -0.5, 2.0, -1.0])
def test_level_term_is_the_difference_in_bels_and_deaf_to_sign(speech, gain):
    x = batch_of(speech[:24_000])
    assert float(LevelLoss()(gain * x, x)) == pytest.approx(2 * abs(math.log10(abs(gain))), rel=5e-3, abs=1e-6)


def test_level_term_hears_a_level_that_is_right_on_the_whole_and_wrong_in_every_part():
    noise = torch.randn(1, 1, 24_000, generator=torch.Generator().manual_seed(0)) * 0.1
    rising, falling = torch.ones(24_000), torch.ones(24_000)
    rising[12_000:] = falling[:12_000] = 10**0.5
    # stretches of 6000 samples every 3000: three in either half, 10 dB off, and one across the middle, as loud in both
    assert float(LevelLoss()(noise * rising, noise * falling)) == pytest.approx(0.5 * 6 / 7, abs=0.01)


def test_level_term_counts_what_is_below_its_floor_as_silence():
    quiet = torch.full((1, 1, 6000), (0.001 * LEVEL_FLOOR) ** 0.5)
    assert float(LevelLoss()(quiet, torch.zeros_like(quiet))) < 1e-3
    loud = torch.full((1, 1, 6000), (9 * LEVEL_FLOOR) ** 0.5)
    assert float(LevelLoss()(loud, torch.zeros_like(loud))) == pytest.approx(1)


def test_unequal_or_short_waveforms_are_refused(tone):
    with pytest.raises(InputError, match="differ in shape"):
        spectral_loss(tone[..., :-1], tone)
    with pytest.raises(InputError, match="at least 1025"):
        spectral_loss(tone[..., :500], tone[..., :500])
