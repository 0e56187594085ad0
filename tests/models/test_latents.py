import numpy as np
import pytest
import torch

from giblet.codec.quantizer import rvq_dequantize
from giblet.models import AudioEncoder, ModelSettings, fit_scales
from giblet.models.latents import LatentStatistics, latent_statistics


@pytest.fixture(scope="module")
def over_trs(speech_codes, codebooks) -> torch.Tensor:
    """(2, 160): of the first half of the speech."""
    batch = {"data": {"audio": speech_codes[None, :20]}, "mask": {"audio": torch.ones(1, 20, dtype=torch.bool)}}
    return fit_scales([batch], ModelSettings(), codebooks).statistics


def by_numpy(codes, codebooks) -> np.ndarray:
    """Mean and deviation over frames, float64: the oracle."""
    latents = rvq_dequantize(codes, codebooks).double().numpy()
    return np.concatenate([latents.mean(1), latents.std(1)], axis=1)


def test_statistics_are_those_of_the_latents_of_each_tr(speech_codes, codebooks):
    latents = rvq_dequantize(speech_codes, codebooks)
    np.testing.assert_allclose(latent_statistics(latents), by_numpy(speech_codes, codebooks), rtol=1e-4, atol=1e-4)
    present = torch.rand(40, 112, generator=torch.Generator().manual_seed(0)) < 0.5
    masked = latent_statistics(torch.where(present[..., None], latents, 99.0), present)
    for tr in (0, 17):
        torch.testing.assert_close(masked[tr], latent_statistics(latents[tr, present[tr]]), rtol=1e-4, atol=1e-4)
    assert not latent_statistics(latents, torch.zeros_like(present)).any()


def test_training_trs_come_out_with_mean_0_and_deviation_1(speech_codes, codebooks, over_trs):
    known = by_numpy(speech_codes[:20], codebooks)
    np.testing.assert_allclose(over_trs, [known.mean(0), known.std(0)], rtol=1e-3, atol=1e-4)
    standard = LatentStatistics(codebooks, over_trs)(speech_codes)
    assert standard.shape == (40, 160) and standard.dtype == torch.float32
    torch.testing.assert_close(standard[:20].mean(0), torch.zeros(160), rtol=0, atol=1e-3)
    torch.testing.assert_close(standard[:20].std(0, correction=0), torch.ones(160), rtol=1e-3, atol=0)
    wanted = (by_numpy(speech_codes[20:], codebooks) - known.mean(0)) / known.std(0)
    np.testing.assert_allclose(standard[20:], wanted, rtol=1e-2, atol=1e-2)


def test_deviations_follow_the_loudness_of_speech(speech, speech_codes, codebooks, over_trs):
    rms = np.sqrt(np.square(speech[: 40 * 36000].reshape(40, 36000)).mean(1))
    deviations = LatentStatistics(codebooks, over_trs)(speech_codes)[:, 80:].mean(1)
    assert np.corrcoef(deviations, rms)[0, 1] > 0.7


def test_an_absent_tr_is_the_mean_and_absent_frames_do_not_count(speech_codes, codebooks, over_trs):
    statistics = LatentStatistics(codebooks, over_trs)
    codes = speech_codes[:3].clone()
    codes[0] = -1
    codes[1, :, 60:] = -1
    codes[2, 4:] = -1
    out = statistics(codes)
    assert not out[0].any()
    torch.testing.assert_close(out[1], statistics(speech_codes[1:2, :, :60])[0], rtol=1e-4, atol=1e-4)
    fewer = latent_statistics(rvq_dequantize(speech_codes[2:3, :4], codebooks))[0]
    torch.testing.assert_close(out[2], (fewer - over_trs[0]) / over_trs[1], rtol=1e-3, atol=1e-3)


def test_constant_latent_statistics_stay_zero(speech_codes, codebooks):
    flat = codebooks.clone()
    flat[:, :, 7] = 0.5
    batch = {"data": {"audio": speech_codes[None]}, "mask": {"audio": torch.ones(1, 40, dtype=torch.bool)}}
    out = LatentStatistics(flat, fit_scales([batch], ModelSettings(), flat).statistics)(speech_codes)
    assert not out[:, [7, 87]].any() and out.isfinite().all()
    assert out.any(0).sum() == 158


def test_statistics_of_uniform_codes_are_near_zero_without_training_trs(codebooks):
    drawn = torch.randint(0, 1024, (50, 8, 112), generator=torch.Generator().manual_seed(0))
    out = LatentStatistics(codebooks)(drawn)
    assert float(out.mean().abs()) < 0.05 and float(out.std()) < 0.2


def test_encoder_is_linear_in_latent_statistics(speech_codes, codebooks, over_trs):
    torch.manual_seed(0)
    encoder = AudioEncoder(codebooks=codebooks, features=16, statistics=over_trs).eval()
    before = encoder(speech_codes)
    with torch.no_grad():
        encoder.from_latents.weight += 1
        heard = encoder(speech_codes) - before
    sums = LatentStatistics(codebooks, over_trs)(speech_codes).sum(1, keepdim=True)
    torch.testing.assert_close(heard, sums.expand(-1, 16), rtol=1e-3, atol=1e-3)
