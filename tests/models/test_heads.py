"""Heads of codes: one table knows them all, and a new one needs nothing but its class."""

from typing import get_args

import pytest
import torch
from torch import nn

from giblet.errors import InputError
from giblet.models import Modality, ModelSettings, MultimodalAutoencoder, MultimodalDecoder, combined_loss, fit_scales
from giblet.models.heads import CODE_HEADS, CodeHead
from giblet.models.logits import log_frequency
from giblet.models.losses import mean_loss
from giblet.models.settings import NEED_CODEBOOKS, Head
from tests.models.conftest import TINY, batch_of

SMALL = {"n_codebooks": 2, "codebook_size": 30, "frames_per_tr": 9, "codebook_decay": 0.5}


class MixtureHead(CodeHead):
    """Log probabilities (..., K, F, V) of a mixture of three sets of frequencies, with weights by frame."""

    def __init__(self, n_hidden, n_frames, frequencies):
        super().__init__()
        self.weights = nn.Linear(n_hidden, n_frames * 3)
        self.parts = nn.Parameter(frequencies + torch.tensor([-0.1, 0, 0.1])[:, None, None])  # (3, K, V)

    @classmethod
    def build(cls, settings, n_frames, codebooks, counts):
        unknown = torch.ones(settings.n_codebooks, settings.codebook_size)
        return cls(settings.features, n_frames, log_frequency(unknown if counts is None else counts))

    def forward(self, hidden):
        weights = self.weights(hidden).unflatten(-1, (-1, 3)).log_softmax(-1)  # (..., F, 3)
        by_part = weights[..., None, :, :, None] + self.parts.log_softmax(-1).transpose(0, 1)[:, None]
        return by_part.logsumexp(-2)

    def codes(self, answer, codebooks):
        return answer.argmax(-1).int()

    @classmethod
    def loss(cls, target, answer, settings, scales, codebooks):
        nats = -answer.gather(-1, target.long()[..., None])[..., 0].mean(-1)
        return nats / torch.tensor(scales.by_codebook("entropy")) @ torch.tensor(settings.codebook_weights)

    @classmethod
    def constant(cls, target, scales):
        return log_frequency(scales.priors)[None, :, None].expand(*target.shape, -1)


def test_the_table_holds_the_heads_that_settings_may_name():
    assert set(CODE_HEADS) == set(get_args(Head))
    assert set(NEED_CODEBOOKS) < set(CODE_HEADS)


def test_a_new_head_in_the_table_is_built_trained_and_decoded(monkeypatch):
    monkeypatch.setitem(CODE_HEADS, "mixture", MixtureHead)
    # A copy is not validated: the name is not among those of the settings.
    settings = ModelSettings.make(**{**TINY, **SMALL}).model_copy(update={"head": "mixture"})
    books, codes = torch.randn(2, 30, 6), {"audio": Modality("codes", (2, 9))}
    batch = batch_of(MultimodalAutoencoder(settings, codes, {"sub-01": 5}, books))
    scales = fit_scales([batch], settings, books)
    model = MultimodalAutoencoder(settings, codes, {"sub-01": 5}, books, scales.priors)
    head = model.decoder.heads["audio"]
    assert isinstance(head, MixtureHead)

    outputs = model(batch["data"], batch["mask"], 0, batch["trs"])
    total, parts = combined_loss(batch, outputs, settings, scales, books)
    total.backward()
    assert head.weights.weight.grad.any()
    n = int(outputs["scored"]["decode"].sum())
    nothing = float(mean_loss(outputs["scored"], batch, settings, scales, books)["audio"]) / n
    assert [float(parts["audio"]), nothing] == pytest.approx([1, 1], abs=0.1)

    codes = model.decoder.to_codes(outputs["decoded"])
    assert codes.shape == (1, 40, 2, 9) and codes.dtype == torch.int32
    torch.testing.assert_close(codes.long(), outputs["decoded"]["audio"].argmax(-1))
    assert model.decoder.to_latents(outputs["decoded"]).shape == (1, 40, 6, 9)
    with pytest.raises(InputError, match=r"head 'mixture' gives no .*: expected=True needs 'classification'"):
        model.decoder.to_latents(outputs["decoded"], expected=True)


def test_a_decoder_without_codes_gives_none():
    decoder = MultimodalDecoder(
        settings=ModelSettings.make(**TINY, **SMALL), modalities={"text": Modality("vector", (4,))}
    )
    with pytest.raises(InputError, match="there are no codes here"):
        decoder.to_codes({"audio": torch.zeros(1, 2, 9)})
