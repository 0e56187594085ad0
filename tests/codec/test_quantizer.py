"""Codes are those of a plain search and of transformers, whether of one long signal or of a batch with gradients."""

import pytest
import torch

from giblet.codec.architecture import codebooks_of
from giblet.codec.network import build_config, build_model
from giblet.codec.quantizer import (
    SEARCHED_FRAMES,
    ResidualQuantizer,
    first_largest,
    nearest,
    rvq_dequantize,
    rvq_quantize,
)
from giblet.codec.training.codebooks import kmeans
from giblet.errors import InputError

TINY = {"num_codebooks": 4, "codebook_size": 16, "hidden_dim": 8, "num_filters": 2, "num_lstm_layers": 1}


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = build_model(build_config(**TINY)).eval()
    for layer in model.quantizer.layers:
        layer.codebook.embed.copy_(torch.randn_like(layer.codebook.embed))
    return model


@pytest.mark.parametrize("size", [1, 2, 12, 16, 17, 1000, 1024])
def test_first_of_equally_large_scores_is_taken(size):
    scores = torch.randint(0, 4, (500, size), generator=torch.Generator().manual_seed(size)).float()
    assert first_largest(scores).tolist() == scores.numpy().argmax(1).tolist()
    assert scores.amax() == 3


@pytest.mark.parametrize("n", [1, SEARCHED_FRAMES - 1, SEARCHED_FRAMES, 2 * SEARCHED_FRAMES + 7])
def test_codes_are_the_entries_nearest_to_what_is_left_of_each_frame(n):
    generator = torch.Generator().manual_seed(0)
    books = [torch.randn(64, 8, generator=generator) / 2**k for k in range(4)]
    latents = torch.randn(n, 8, generator=generator)
    before = latents.clone()
    with torch.inference_mode():
        codes = ResidualQuantizer(books).quantize(latents)
    left, expected = latents.double(), []
    for book in books:
        chosen = (left[:, None] - book.double()).square().sum(2).argmin(1)
        expected.append(chosen)
        left = left - book[chosen]
    # Scores are float32: in some ten thousand searches one may differ by rounding.
    assert (codes == torch.stack(expected)).float().mean() >= 0.9999
    assert torch.equal(latents, before)


@pytest.mark.parametrize("n_books", [2, 4])
def test_batch_codes_and_sums_equal_those_of_transformers(model, n_books):
    z = torch.randn(3, 8, 50)
    bandwidth = 0.3 * n_books  # 4 bits x 75 Hz per codebook
    expected = model.quantizer.encode(z, bandwidth)  # (K, B, T)
    codebooks = codebooks_of(model)
    z_q, indices = rvq_quantize(z.transpose(1, 2), codebooks[:n_books])
    assert torch.equal(indices, expected.transpose(0, 1))
    torch.testing.assert_close(z_q.transpose(1, 2), model.quantizer.decode(expected), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(rvq_dequantize(indices, codebooks).transpose(1, 2), model.quantizer.decode(expected))


def test_batch_codes_and_sums_equal_those_of_one_long_signal(model):
    z = torch.randn(3, 50, 8, generator=torch.Generator().manual_seed(0))
    codebooks = codebooks_of(model)
    z_q, indices = rvq_quantize(z, codebooks)
    quantizer = ResidualQuantizer(list(codebooks))
    codes = quantizer.quantize(z.reshape(150, 8))
    assert torch.equal(codes.view(4, 3, 50).transpose(0, 1), indices)
    assert torch.equal(quantizer.dequantize(codes).view(3, 50, 8), rvq_dequantize(indices, codebooks))
    torch.testing.assert_close(z_q, rvq_dequantize(indices, codebooks))


def test_each_fitted_codebook_lowers_the_error():
    generator = torch.Generator().manual_seed(0)
    residual = torch.randn(2000, 8, generator=generator)
    z = residual[None]
    books = []
    for _ in range(4):
        books.append(kmeans(residual, 16, generator))
        residual = residual - books[-1][nearest(residual, books[-1])]
    errors = [float((rvq_quantize(z, torch.stack(books[:k]))[0] - z).square().mean()) for k in range(1, 5)]
    assert errors == sorted(errors, reverse=True)


def test_gradients_pass_straight_through_to_the_latents():
    z = torch.randn(2, 5, 8, requires_grad=True)
    z_q, _ = rvq_quantize(z, torch.randn(2, 16, 8))
    (3 * z_q).sum().backward()
    assert torch.equal(z.grad, torch.full_like(z, 3.0))


def test_indices_and_latents_that_do_not_match_the_codebooks_are_refused():
    books = torch.randn(2, 16, 8)
    with pytest.raises(InputError, match="0 to 15"):
        rvq_dequantize(torch.full((1, 2, 3), 16), books)
    with pytest.raises(InputError, match="use 3 codebooks, but 2 were passed"):
        rvq_dequantize(torch.zeros(1, 3, 3, dtype=torch.long), books)
    with pytest.raises(InputError, match="use 0 codebooks, but 2 were passed"):
        rvq_dequantize(torch.zeros(1, 0, 3, dtype=torch.long), books)
    with pytest.raises(InputError, match=r"indices are torch\.float32"):
        rvq_dequantize(torch.full((1, 2, 3), 0.7), books)
    with pytest.raises(InputError, match="no codebooks"):
        rvq_quantize(torch.zeros(1, 3, 8), books[:0])
    with pytest.raises(InputError, match="7 dimensions and codebooks 8"):
        rvq_quantize(torch.zeros(1, 3, 7), books)
