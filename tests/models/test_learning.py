"""The model can learn: 32 TRs of real speech by heart, from BOLD that carries nothing but which TR it is."""

import pytest
import torch

from giblet.codec.quantizer import rvq_dequantize
from giblet.models import combined_loss, fit_scales
from tests.models.conftest import batch_of

N_TRS = 32


def overfit(model, batch, steps, rate):
    scales = fit_scales([batch], model.settings, model.decoder.codebooks)
    optimiser = torch.optim.Adam(model.parameters(), rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, steps, pct_start=0.2)
    history = []
    for _ in range(steps):
        out = model(batch["data"], batch["mask"], 0, batch["trs"])
        total, parts = combined_loss(batch, out, model.settings, scales, model.decoder.codebooks)
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        schedule.step()
        history.append({name: float(loss) for name, loss in parts.items()})
    with torch.no_grad():
        rows = out["scored"]["decode"]
        decoded = model.decode(batch["data"]["bold"], 0)
    assert rows.sum() >= N_TRS
    return history, {name: value[rows] for name, value in decoded.items()}, batch["data"]["audio"][rows]


@pytest.fixture
def by_heart(tiny, speech_codes, codebooks):
    """Train one head on the first codebooks of 32 TRs and the 7 that they are decoded from."""

    def train(head, n_codebooks=1, steps=100, rate=1e-2):
        options = {"n_codebooks": n_codebooks, "features": 64, "bottleneck": 32, "rank": 32, "embedding_dim": 4}
        weights = {"modality_weights": {"bold": 0.1}}
        model = tiny(
            n_voxels={"sub-01": 60}, codebooks=codebooks[:n_codebooks], head=head, codebook_init=True,
            **options, **weights,
        )  # fmt: skip
        batch = batch_of(model, n=N_TRS + 7, codes=speech_codes[: N_TRS + 7, :n_codebooks])
        return model, *overfit(model, batch, steps, rate)

    return train


def test_classification_learns_32_trs_by_heart(by_heart):
    model, history, decoded, true = by_heart("classification")
    codes = model.decoder.to_codes(decoded)
    usual = true[:, 0].flatten().mode().values
    assert (true[:, 0] == usual).float().mean() < 0.3
    assert (codes[:, 0] == true[:, 0]).float().mean() >= 0.95
    assert history[-1]["audio"] < 0.2 * history[0]["audio"]


def test_regression_learns_32_trs_by_heart(by_heart):
    _, history, decoded, true = by_heart("regression", steps=120)
    true = true.float()
    baseline = (true - true.mean((0, 2), keepdim=True)).square().mean()
    assert (decoded["audio"] - true).square().mean() < 0.1 * baseline
    assert history[-1]["audio"] < 0.2 * history[0]["audio"]


def test_latents_learn_32_trs_by_heart(by_heart, codebooks):
    model, history, decoded, true = by_heart("latent", n_codebooks=2, steps=160)
    assert history[-1]["audio"] < 0.2 * history[0]["audio"]
    codes = model.decoder.to_codes(decoded)
    latents = rvq_dequantize(codes, codebooks[:2]), rvq_dequantize(true, codebooks[:2])
    assert (latents[0] - latents[1]).square().mean() < 0.3 * latents[1].flatten(0, 1).var(0).mean()


def test_bold_of_a_few_trs_is_learned(by_heart):
    _, history, _, _ = by_heart("regression", steps=40)
    assert history[-1]["bold"] < 0.8 * history[0]["bold"]
