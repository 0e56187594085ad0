"""What `load_codec` takes from the hub, what it leaves alone, and what a codec's name for itself hangs on."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from giblet.codec import load_codec
from giblet.codec.encodec import EncodecCodec, bandwidths, fingerprint
from giblet.codec.network import build_config, build_model
from giblet.errors import CodecError, InputError
from giblet.hub import hub_file


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = build_model(build_config(num_codebooks=8, hidden_dim=16, num_filters=2, num_lstm_layers=1)).eval()
    for layer in model.quantizer.layers:
        layer.codebook.embed.normal_()
    return model


@pytest.fixture
def folder(model, tmp_path):
    model.save_pretrained(tmp_path / "codec")
    return tmp_path / "codec"


def rewrite(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


def test_a_hub_model_is_taken_from_the_local_cache(model, tmp_path, monkeypatch):
    cached = tmp_path / "hub" / "models--facebook--encodec_24khz"
    model.save_pretrained(cached / "snapshots" / "abc")
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("abc")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    codec = load_codec("facebook/encodec_24khz", device="cpu")
    assert codec.name == "facebook/encodec_24khz"
    assert codec.fingerprint == fingerprint(model)


def test_a_hub_that_does_not_answer_is_asked_once_and_nothing_else_is_said(tmp_path, monkeypatch, capfd):
    def cache_only(name, filename, revision, local_only):
        assert local_only, "the hub's own client tries again for minutes"
        return hub_file(name, filename, revision, local_only)

    monkeypatch.setattr("giblet.codec.loading.hub_file", cache_only)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")  # where nobody listens
    with pytest.raises(CodecError, match=r"127\.0\.0\.1:9 cannot be reached.*config\.json.*'bundled'"):
        load_codec("facebook/encodec_24khz", device="cpu")
    assert capfd.readouterr() == ("", "")


def test_loading_from_a_folder_says_nothing(folder, capfd):
    load_codec(folder, device="cpu")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"trim_right_ratio": 0.5}, "trim_right_ratio=0.5"),
        ({"use_causal_conv": False}, "use_causal_conv=False"),
        ({"pad_mode": "constant"}, "pad_mode='constant'"),
        ({"chunk_length_s": 1.0}, "chunk_length_s=1.0"),
        ({"normalize": True}, "normalize=True"),
        ({"codebook_dim": 8}, "codebook_dim=8"),
        ({"num_filters": -2}, "describes no EnCodec model"),
        ({"hidden_size": "many"}, "describes no EnCodec model"),
        ({"codebook_size": 1000}, "power of 2"),
        ({"num_filters": 4}, "of another shape"),
    ],
)
def test_a_layout_that_cannot_be_streamed_exactly_is_refused_by_name(folder, change, said):
    rewrite(folder, **change)
    with pytest.raises(CodecError, match=said) as caught:
        load_codec(folder, device="cpu")
    assert "\n" not in str(caught.value)


def test_weights_under_their_old_names_are_read(model, folder):
    """The published checkpoint was saved before PyTorch renamed the parts of weight norm."""
    weights = load_file(folder / "model.safetensors")
    old = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    renamed = {}
    for key, value in weights.items():
        for new, name in old.items():
            key = key.replace(new, name)
        renamed[key] = value.clone()
    save_file(renamed, folder / "model.safetensors")
    assert load_codec(folder, device="cpu").fingerprint == fingerprint(model)


def test_the_fingerprint_ignores_buffers_of_training_and_the_type_of_storage(model, folder):
    weights = {k: v.clone() for k, v in load_file(folder / "model.safetensors").items()}
    for key, value in weights.items():
        if key.endswith(("cluster_size", "embed_avg")):
            weights[key] = value + 1
        elif value.dtype == torch.float32:
            weights[key] = value.double()
    save_file(weights, folder / "model.safetensors")
    rewrite(folder, dtype="float64")
    codec = load_codec(folder, device="cpu")
    assert codec.fingerprint == fingerprint(model)
    assert len(codec.fingerprint) == 64
    wave = np.random.default_rng(0).normal(0, 0.1, 5000)
    np.testing.assert_array_equal(codec.encode(wave), EncodecCodec(model, 6.0).encode(wave))


@pytest.mark.parametrize("change", [{"sampling_rate": 23_990}, {"dilation_growth_rate": 3}])
def test_the_fingerprint_tells_layouts_apart_that_share_their_weights(model, folder, change):
    rewrite(folder, **change)
    assert load_codec(folder, device="cpu").fingerprint != fingerprint(model)


def test_loading_leaves_the_seed_alone_and_training_leaves_the_codec_alone(model, folder):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    load_codec(folder, device="cpu")
    torch.testing.assert_close(torch.rand(3), expected, rtol=0, atol=0)

    trained = build_model(model.config)
    trained.load_state_dict(model.state_dict())
    codec = EncodecCodec(trained, 6.0)
    wave = np.random.default_rng(0).normal(0, 0.1, 5000).astype(np.float32)
    codes, sound = codec.encode(wave), codec.decode(codec.encode(wave))
    with torch.no_grad():
        for tensor in trained.state_dict().values():
            tensor.add_(1)
    np.testing.assert_array_equal(codec.encode(wave), codes)
    np.testing.assert_array_equal(codec.decode(codes), sound)


@pytest.mark.parametrize("sample_rate", [16_000, 22_050, 24_000, 32_000])
@pytest.mark.parametrize("n_codebooks", [1, 3, 13, 32])
def test_a_configuration_has_the_codebooks_asked_for(sample_rate, n_codebooks):
    config = build_config(num_codebooks=n_codebooks, codebook_size=512, sample_rate=sample_rate)
    assert config.num_quantizers == max(bandwidths(config).values()) == n_codebooks


def test_blocks_shorter_than_the_convolutions_look_back_are_refused():
    with pytest.raises(InputError, match="pass at least 9"):
        load_codec("bundled", device="cpu", block_frames=8)


def test_importing_the_package_imports_neither_torch_nor_transformers():
    check = "import sys, giblet.codec; assert not {'torch', 'transformers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True)
