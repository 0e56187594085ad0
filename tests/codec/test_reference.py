"""The reference API against transformers' own quantiser, and codebooks that learn."""

from __future__ import annotations

import pytest
import torch
from transformers.models.encodec.modeling_encodec import EncodecResidualVectorQuantizer

from giblet.codec import reference as rvq
from giblet.codec.encodec import build_config, build_model
from giblet.codec.training.codebooks import CodebookTrainer, kmeans
from giblet.errors import InputError

TINY = {"num_codebooks": 4, "codebook_size": 16, "hidden_dim": 8, "num_filters": 2, "num_lstm_layers": 1}


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = build_model(build_config(**TINY)).eval()
    for layer in model.quantizer.layers:
        layer.codebook.embed.copy_(torch.randn_like(layer.codebook.embed))
    return model


@pytest.mark.parametrize("n_books", [2, 4])
def test_indices_and_sums_equal_those_of_transformers(model, n_books):
    z = torch.randn(3, 8, 50)
    bandwidth = 0.3 * n_books  # 4 bits x 75 Hz a codebook
    expected = model.quantizer.encode(z, bandwidth)  # (K, B, T)
    codebooks = rvq.codebooks_of(model.quantizer)
    z_q, indices = rvq.rvq_quantize(z.transpose(1, 2), codebooks[:n_books])
    assert torch.equal(indices, expected.transpose(0, 1))
    torch.testing.assert_close(z_q.transpose(1, 2), model.quantizer.decode(expected), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(rvq.rvq_dequantize(indices, codebooks).transpose(1, 2), model.quantizer.decode(expected))


def test_encode_and_decode_equal_those_of_transformers(model):
    waveform = torch.randn(1, 1, 3210) * 0.1
    expected = model.encode(waveform, None, bandwidth=1.2)
    codebooks = rvq.codebooks_of(model.quantizer)
    tokens = rvq.encode(rvq.LatentEncoder(model.encoder), codebooks, waveform)
    assert tokens.shape == (1, 4, 11)
    assert torch.equal(tokens, expected.audio_codes[0])
    decoded = rvq.decode(rvq.LatentDecoder(model.decoder), codebooks, tokens)
    torch.testing.assert_close(decoded, model.decode(expected.audio_codes, [None]).audio_values)


def test_shapes_of_a_built_codec_are_those_of_the_reference():
    encoder, decoder = rvq.build(bandwidth=1.2, **TINY)
    z = encoder(torch.zeros(2, 1, 640))
    assert z.shape == (2, 2, rvq.output_size(hidden_dim=8))
    assert decoder(z).shape == (2, 1, 640)
    small = {"num_codebooks": 4, "codebook_size": 16, "bandwidth": 1.2, "num_filters": 2}
    assert rvq.build_encoder(8, **small)(torch.zeros(1, 1, 320)).shape == (1, 1, 8)
    assert rvq.build_decoder(8, **small)(torch.zeros(1, 1, 8)).shape == (1, 1, 320)


def test_each_codebook_lowers_what_is_left_when_it_was_fitted_to_it():
    generator = torch.Generator().manual_seed(0)
    residual = torch.randn(2000, 8, generator=generator)
    z = residual[None]
    books = []
    for _ in range(4):
        books.append(kmeans(residual, 16, generator))
        residual = residual - books[-1][rvq.nearest(residual, books[-1])]
    errors = [float((rvq.rvq_quantize(z, torch.stack(books[:k]))[0] - z).square().mean()) for k in range(1, 5)]
    assert errors == sorted(errors, reverse=True)


def test_gradients_pass_straight_through_to_the_latents():
    z = torch.randn(2, 5, 8, requires_grad=True)
    z_q, _ = rvq.rvq_quantize(z, rvq.init_codebooks(2, 16, 8))
    (3 * z_q).sum().backward()
    assert torch.equal(z.grad, torch.full_like(z, 3.0))


def test_the_same_key_gives_the_same_codebooks():
    assert rvq.init_codebooks(2, 4, 3).shape == (2, 4, 3)
    assert torch.equal(rvq.init_codebooks(2, 4, 3, 1), rvq.init_codebooks(2, 4, 3, torch.Generator().manual_seed(1)))
    assert not torch.equal(rvq.init_codebooks(2, 4, 3, 1), rvq.init_codebooks(2, 4, 3, 2))


@pytest.mark.parametrize("bandwidth", [0.75, 1.5, 2.2, 3.0, 5.0, 5.9, 6.0])
def test_as_many_codebooks_are_active_as_transformers_takes_for_a_bandwidth(bandwidth):
    described = rvq.build_rvq(bandwidth=bandwidth)
    theirs = EncodecResidualVectorQuantizer(build_config()).get_num_quantizers_for_bandwidth(bandwidth)
    assert described["active_codebooks"] == theirs
    assert (described["embedding_dim"], described["frame_rate"]) == (128, 75)


def test_without_a_bandwidth_all_codebooks_are_used():
    assert rvq.build_rvq()["bandwidth"] == 6.0
    for options in ({"num_codebooks": 4}, {"codebook_size": 512}, {"sample_rate": 16_000}):
        described = rvq.build_rvq(**options)
        assert described["active_codebooks"] == described["num_codebooks"]
    encoder, decoder = rvq.build(num_codebooks=4, num_filters=2, hidden_dim=16)
    assert decoder(encoder(torch.zeros(1, 1, 640))).shape == (1, 1, 640)


def test_a_bandwidth_out_of_reach_says_which_are_in_reach():
    with pytest.raises(InputError, match=r"bandwidth is 24 kbps: 8 codebooks of 1024 entries reach 0\.75 to 6 kbps"):
        rvq.build_rvq(bandwidth=24.0)
    with pytest.raises(InputError, match="bandwidth is nan kbps"):
        rvq.build_rvq(bandwidth=float("nan"))
    with pytest.raises(InputError, match="num_codebooks is 0"):
        rvq.build_rvq(num_codebooks=0)


def test_indices_and_latents_that_do_not_fit_the_codebooks_are_refused():
    books = rvq.init_codebooks(2, 16, 8)
    with pytest.raises(InputError, match="0 to 15"):
        rvq.rvq_dequantize(torch.full((1, 2, 3), 16), books)
    with pytest.raises(InputError, match="use 3 codebooks and there are 2"):
        rvq.rvq_dequantize(torch.zeros(1, 3, 3, dtype=torch.long), books)
    with pytest.raises(InputError, match="use 0 codebooks and there are 2"):
        rvq.rvq_dequantize(torch.zeros(1, 0, 3, dtype=torch.long), books)
    with pytest.raises(InputError, match=r"indices are torch\.float32"):
        rvq.rvq_dequantize(torch.full((1, 2, 3), 0.7), books)
    with pytest.raises(InputError, match="no codebooks"):
        rvq.rvq_quantize(torch.zeros(1, 3, 8), books[:0])
    with pytest.raises(InputError, match="7 dimensions and codebooks 8"):
        rvq.rvq_quantize(torch.zeros(1, 3, 7), books)


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
    errors = [float(trainer.quantise(latents, 4, generator)[1]) for _ in range(40)]
    assert errors[-1] < errors[0]
    assert book.embed[0].abs().max() < 50
    _, indices = rvq.rvq_quantize(latents.transpose(1, 2), rvq.codebooks_of(model.quantizer))
    assert len(indices[:, 0].unique()) == 16
