"""Codebooks that learn."""

import pytest
import torch

from giblet.codec.architecture import codebooks_of
from giblet.codec.network import build_config, build_model
from giblet.codec.quantizer import rvq_quantize
from giblet.codec.training.codebooks import CodebookTrainer, kmeans

TINY = {"num_codebooks": 4, "codebook_size": 16, "hidden_dim": 8, "num_filters": 2, "num_lstm_layers": 1}


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = build_model(build_config(**TINY)).eval()
    for layer in model.quantizer.layers:
        layer.codebook.embed.copy_(torch.randn_like(layer.codebook.embed))
    return model


def test_kmeans_finds_separate_clusters():
    truth = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    generator = torch.Generator().manual_seed(0)
    points = (truth[:, None] + 0.1 * torch.randn(3, 100, 2, generator=generator)).reshape(-1, 2)
    centres = kmeans(points, 3, generator, 20)
    assert torch.cdist(truth, centres).min(1).values.max() < 0.1


def test_codebook_training_lowers_the_error_and_restarts_dead_entries(model):
    generator = torch.Generator().manual_seed(0)
    trainer = CodebookTrainer(model.quantizer, decay=0.9)
    latents = torch.randn(4, 8, 100, generator=generator) + 3
    trainer.start(latents.transpose(1, 2).reshape(-1, 8), generator)
    book = model.quantizer.layers[0].codebook
    book.embed[0], book.embed_avg[0], book.cluster_size[0] = 1e3, 1e3, 0.03  # out of everything's reach
    errors = [float(trainer.quantize(latents, 4, generator)[1]) for _ in range(40)]
    assert errors[-1] < errors[0]
    assert book.embed[0].abs().max() < 50
    _, indices = rvq_quantize(latents.transpose(1, 2), codebooks_of(model))
    assert len(indices[:, 0].unique()) == 16
