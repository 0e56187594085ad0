"""A step computes what its losses ask for, and nothing that is computed is missed."""

import numpy as np
import pytest
import torch

from giblet.models import Modality, combined_loss, fit_scales
from giblet.training.objective import Losses, own_rows
from tests.models.conftest import batch_of, tiny

tiny = tiny  # a fixture of the models' tests
ALL = {"audio": Modality("codes", (2, 9)), "text": Modality("vector", (4,)), "video": Modality("frames", (24, 40, 3))}
SMALL = {"n_codebooks": 2, "codebook_size": 30, "frames_per_tr": 9}


def windows(model):
    """Two windows that overlap, the second filled up and with TRs that lack a modality."""
    batch = batch_of(model, n=50, batch=2)
    batch["data"]["audio"][1, :20] = batch["data"]["audio"][0, 30:]
    batch["mask"]["text"][0, 25:30] = False
    batch["mask"]["audio"][1, 10] = False
    batch["trs"][1, 40:] = -1
    for rows in batch["mask"].values():
        rows[1, 40:] = False
    batch["own"] = torch.zeros(2, 50, dtype=torch.bool)
    batch["own"][:, 22:43] = True
    return batch


def plainly(losses, batch, counts):
    """The losses of all rows encoded and decoded."""
    model = losses.model
    outputs = model(batch["data"], batch["mask"], 0, batch["trs"])
    outputs["scored"] = own_rows(model, batch)
    return combined_loss(batch, outputs, model.settings, losses.scales, model.decoder.codebooks, counts)


@pytest.mark.parametrize("own", ["some", "none"])
@pytest.mark.parametrize("head", ["latent", "classification", "regression"])
def test_rows_that_no_loss_asks_for_change_neither_losses_nor_gradients(tiny, head, own):
    model = tiny(ALL, codebooks=torch.randn(2, 30, 5), head=head, dropout=0.2, **SMALL).train()
    batch = windows(model)
    if own == "none":
        batch["own"][:] = False
    losses = Losses(model, fit_scales([batch], model.settings, model.decoder.codebooks))
    counts = dict.fromkeys(("bold", *ALL), 7.0)
    found = []
    for way in (plainly, lambda losses, *given: losses(*given)):
        model.zero_grad()
        torch.manual_seed(1)
        total, parts = way(losses, batch, counts)
        total.backward()
        found.append((total.detach(), parts, {name: p.grad for name, p in model.named_parameters()}))
    (total, parts, before), (less_total, less_parts, after) = found
    torch.testing.assert_close(less_total, total, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(less_parts, parts, rtol=1e-5, atol=1e-6)
    assert (float(total) > 0) == (own == "some")
    for name, gradient in before.items():
        assert (after[name] is None) == (gradient is None), name  # two processes must agree on which there are
        if gradient is not None:
            assert float((after[name] - gradient).norm()) <= 1e-4 * float(gradient.norm()) + 1e-7, name


def test_rows_before_are_those_that_predicted_volumes_depend_on(tiny):
    model = tiny()
    scored = torch.rand(3, 60, generator=torch.Generator().manual_seed(0)) > 0.95
    ahead = model.context_trs + 1
    expected = [[bool(row[t : t + ahead].any()) for t in range(60)] for row in scored]
    assert np.array_equal(model.rows_before(scored), expected) and model.context_trs == 22


@pytest.mark.parametrize("head", ["latent", "classification", "regression"])
def test_a_waiting_answer_gives_the_rows_of_the_whole_one(tiny, head):
    model = tiny(ALL, codebooks=torch.randn(2, 30, 5), head=head, **SMALL).eval()
    z, rows = torch.randn(2, 6, 8), torch.rand(2, 6, generator=torch.Generator().manual_seed(0)) > 0.5
    whole, waiting = model.decoder.decode(z), model.decoder.waiting(z)
    assert whole.keys() == waiting.keys()
    for name, part in model.decoder.heads.items():
        dense = getattr(part, "dense", lambda answer: answer)
        torch.testing.assert_close(dense(waiting[name][rows]), dense(whole[name][rows]))
