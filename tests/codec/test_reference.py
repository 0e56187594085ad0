"""The names that the reference API promises, against transformers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers.models.encodec.modeling_encodec import EncodecResidualVectorQuantizer

import giblet
from giblet.codec import quantizer, reference
from giblet.codec.architecture import codebooks_of
from giblet.codec.network import build_config, build_model
from giblet.errors import InputError

TINY = {"num_codebooks": 4, "codebook_size": 16, "hidden_dim": 8, "num_filters": 2, "num_lstm_layers": 1}


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = build_model(build_config(**TINY)).eval()
    for layer in model.quantizer.layers:
        layer.codebook.embed.copy_(torch.randn_like(layer.codebook.embed))
    return model


def test_encode_and_decode_equal_those_of_transformers(model):
    waveform = torch.randn(1, 1, 3210) * 0.1
    expected = model.encode(waveform, None, bandwidth=1.2)
    codebooks = codebooks_of(model)
    tokens = reference.encode(reference.LatentEncoder(model.encoder), codebooks, waveform)
    assert tokens.shape == (1, 4, 11)
    assert torch.equal(tokens, expected.audio_codes[0])
    decoded = reference.decode(reference.LatentDecoder(model.decoder), codebooks, tokens)
    torch.testing.assert_close(decoded, model.decode(expected.audio_codes, [None]).audio_values)


def test_built_codec_has_the_shapes_of_the_reference():
    encoder, decoder = reference.build(bandwidth=1.2, **TINY)
    z = encoder(torch.zeros(2, 1, 640))
    assert z.shape == (2, 2, reference.output_size(hidden_dim=8))
    assert decoder(z).shape == (2, 1, 640)
    small = {"num_codebooks": 4, "codebook_size": 16, "bandwidth": 1.2, "num_filters": 2}
    assert reference.build_encoder(8, **small)(torch.zeros(1, 1, 320)).shape == (1, 1, 8)
    assert reference.build_decoder(8, **small)(torch.zeros(1, 1, 8)).shape == (1, 1, 320)


def test_the_same_key_gives_the_same_codebooks():
    assert reference.init_codebooks(2, 4, 3).shape == (2, 4, 3)
    assert torch.equal(
        reference.init_codebooks(2, 4, 3, 1), reference.init_codebooks(2, 4, 3, torch.Generator().manual_seed(1))
    )
    assert not torch.equal(reference.init_codebooks(2, 4, 3, 1), reference.init_codebooks(2, 4, 3, 2))


@pytest.mark.parametrize("bandwidth", [0.75, 1.5, 2.2, 3.0, 5.0, 5.9, 6.0])
def test_number_of_active_codebooks_equals_that_of_transformers(bandwidth):
    described = reference.build_rvq(bandwidth=bandwidth)
    theirs = EncodecResidualVectorQuantizer(build_config()).get_num_quantizers_for_bandwidth(bandwidth)
    assert described["active_codebooks"] == theirs
    assert (described["embedding_dim"], described["frame_rate"]) == (128, 75)


def test_default_bandwidth_uses_all_codebooks():
    assert reference.build_rvq()["bandwidth"] == 6.0
    for options in ({"num_codebooks": 4}, {"codebook_size": 512}, {"sample_rate": 16_000}):
        described = reference.build_rvq(**options)
        assert described["active_codebooks"] == described["num_codebooks"]
    encoder, decoder = reference.build(num_codebooks=4, num_filters=2, hidden_dim=16)
    assert decoder(encoder(torch.zeros(1, 1, 640))).shape == (1, 1, 640)


def test_error_about_a_bandwidth_names_those_in_reach():
    with pytest.raises(InputError, match=r"bandwidth is 24 kbps: 8 codebooks of 1024 entries reach 0\.75 to 6 kbps"):
        reference.build_rvq(bandwidth=24.0)
    with pytest.raises(InputError, match="bandwidth is nan kbps"):
        reference.build_rvq(bandwidth=float("nan"))
    with pytest.raises(InputError, match="num_codebooks is 0"):
        reference.build_rvq(num_codebooks=0)


def test_rvq_functions_are_those_of_the_quantizer():
    assert reference.rvq_quantize is quantizer.rvq_quantize
    assert reference.rvq_dequantize is quantizer.rvq_dequantize


def test_nothing_else_in_giblet_imports_the_reference_names():
    root = Path(giblet.__file__).parent
    importers = [path.name for path in root.rglob("*.py") if "codec.reference" in path.read_text(encoding="utf-8")]
    assert importers == []
