"""A model on disk comes back bit for bit, or is refused in one line; nothing in its folder is ever run."""

import hashlib
import json
import os
import pickle

import pytest
import torch
from safetensors.torch import load_file, save_file

from giblet.errors import CheckpointError
from giblet.models import Modality, MultimodalAutoencoder
from tests.models.conftest import batch_of

MODALITIES = {"audio": Modality("codes", (2, 9)), "text": Modality("vector", (4,))}
OPTIONS = {"n_codebooks": 2, "codebook_size": 30, "frames_per_tr": 9}


@pytest.fixture
def saved(tiny, tmp_path):
    model = tiny(MODALITIES, {"sub-01": 5, "sub-02": 7}, torch.randn(2, 30, 6), None, "abc", head="latent", **OPTIONS)
    return model.eval(), model.save(tmp_path / "best")


def rewrite(folder, **changes):
    """Change entries of model.json, with a digest that fits."""
    about = json.loads((folder / "model.json").read_text())
    about = {**about, **changes}
    del about["sha256"]
    content = (folder / "model.safetensors").read_bytes() + json.dumps(about, sort_keys=True).encode()
    (folder / "model.json").write_text(json.dumps({**about, "sha256": hashlib.sha256(content).hexdigest()}))


def refused(folder, says, **options):
    with pytest.raises(CheckpointError, match=says) as caught:
        MultimodalAutoencoder.from_pretrained(folder, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("head", ["regression", "classification", "latent"])
@pytest.mark.parametrize("codebook_init", [True, False])
def test_a_model_comes_back_bit_for_bit(tiny, tmp_path, head, codebook_init):
    books = torch.randn(2, 30, 6)
    model = tiny(MODALITIES, {"sub-01": 5}, books, head=head, codebook_init=codebook_init, **OPTIONS).eval()
    model.save(tmp_path)
    again = MultimodalAutoencoder.from_pretrained(tmp_path)
    assert not again.training and again.settings == model.settings and again.describe() == model.describe()
    assert {k: v.dtype for k, v in again.state_dict().items()} == {k: v.dtype for k, v in model.state_dict().items()}
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in model.state_dict().items())
    batch = batch_of(model)
    one, two = (m(batch["data"], batch["mask"], "sub-01") for m in (model, again))
    assert torch.equal(one["bold"], two["bold"]) and torch.equal(one["decoded"]["text"], two["decoded"]["text"])
    assert torch.equal(*(m.decoder.to_codes(o["decoded"]) for m, o in ((model, one), (again, two))))


def test_a_model_of_before_there_was_a_linear_path_opens_without_one(tiny, tmp_path):
    model = tiny(MODALITIES, {"sub-01": 5}, torch.randn(2, 30, 6), head="latent", linear_path=False, **OPTIONS).eval()
    folder = model.save(tmp_path)
    settings = json.loads((folder / "model.json").read_text())["settings"]
    assert settings.pop("linear_path") is False and settings.pop("linear_hrf") is None
    rewrite(folder, settings=settings)
    again = MultimodalAutoencoder.from_pretrained(folder)
    assert again.linear_path is None and again.settings == model.settings
    batch = batch_of(model)
    assert torch.equal(*(m.predict_bold(batch["data"], batch["mask"], 0) for m in (model, again)))


def test_the_folder_holds_two_files_and_no_lesion(saved):
    model, folder = saved
    with model.lesion(torch.ones(5, dtype=torch.bool), 0):
        model.save(folder)
    assert sorted(p.name for p in folder.iterdir()) == ["model.json", "model.safetensors"]
    again = MultimodalAutoencoder.from_pretrained(folder)
    batch = batch_of(model)
    assert torch.equal(model.decode(batch["data"]["bold"], 0)["text"], again.decode(batch["data"]["bold"], 0)["text"])


def test_loading_draws_no_random_numbers(saved):
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    MultimodalAutoencoder.from_pretrained(saved[1])
    assert torch.equal(torch.rand(1), expected)


def test_what_is_asked_for_must_be_what_is_there(saved):
    folder = saved[1]
    MultimodalAutoencoder.from_pretrained(folder, codec_fingerprint="abc", n_voxels={"sub-02": 7})
    refused(folder, "codec abc, not of xyz", codec_fingerprint="xyz")
    refused(folder, "sub-01 has 6", n_voxels={"sub-01": 6})
    refused(folder, "sub-09 has 5", n_voxels={"sub-09": 5})


def test_missing_files_are_named(saved, tmp_path):
    refused(tmp_path / "nothing", "model.safetensors and model.json")
    (saved[1] / "model.safetensors").unlink()
    refused(saved[1], "no readable model")


@pytest.mark.parametrize("keep", [0, 7, 100, -1])
def test_truncated_weights_are_refused(saved, keep):
    weights = saved[1] / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:keep])
    refused(saved[1], "truncated, changed")
    rewrite(saved[1])
    refused(saved[1], "cannot read .*model.safetensors .*eserializ")


def test_one_flipped_bit_is_noticed(saved):
    weights = saved[1] / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-5] ^= 1
    weights.write_bytes(bytes(content))
    refused(saved[1], "truncated, changed")


def test_a_description_that_was_edited_or_lacks_its_digest_is_refused(saved):
    path = saved[1] / "model.json"
    about = json.loads(path.read_text())
    path.write_text(json.dumps({**about, "settings": {**about["settings"], "hrf": "double_gamma", "dropout": 0.31}}))
    refused(saved[1], "truncated, changed")
    path.write_text(json.dumps({k: v for k, v in about.items() if k != "sha256"}))
    refused(saved[1], "truncated, changed")


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("with_torch", [True, False])
def test_a_pickle_is_refused_and_never_run(saved, tmp_path, with_torch):
    weights, trace = saved[1] / "model.safetensors", tmp_path / "trace"
    if with_torch:
        torch.save({"weights": Bomb(trace)}, weights)
    else:
        weights.write_bytes(pickle.dumps(Bomb(trace)))
    refused(saved[1], "truncated, changed")
    rewrite(saved[1])  # even where the digest is made to fit
    refused(saved[1], "cannot read .*model.safetensors .*eserializ")
    (saved[1] / "model.json").write_bytes(weights.read_bytes())
    refused(saved[1], "no readable model")
    assert not trace.exists()
    pickle.loads(pickle.dumps(Bomb(trace)))  # noqa: S301 - the bomb does work
    assert trace.exists()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"format": "giblet-model-0"}, "format 'giblet-model-0'"),
        ({"n_voxels": {"sub-01": 6, "sub-02": 7}}, "do not fit"),
        ({"n_voxels": {"sub-01": 5}}, "do not fit"),
        ({"n_voxels": {"sub-01": 0}}, "no model that can be built"),
        ({"n_voxels": "many"}, "AttributeError"),
        ({"settings": {"learning_rate": 1}}, "learning_rate"),
        ({"settings": None}, "TypeError"),
        ({"modalities": {"text": {"kind": "smell", "shape": [4]}}}, "smell"),
    ],
)
def test_a_json_of_another_model_is_refused(saved, changes, says):
    rewrite(saved[1], **changes)
    refused(saved[1], says)


def test_a_json_that_is_no_object_is_refused(saved):
    (saved[1] / "model.json").write_text("[]")
    refused(saved[1], "format None")


def test_weights_of_another_shape_or_name_are_refused(saved):
    weights = saved[1] / "model.safetensors"
    tensors = load_file(weights)
    for change in ({"fusion.linear.bias": torch.zeros(3)}, {"extra": torch.zeros(3)}):
        save_file({**tensors, **change}, weights)
        rewrite(saved[1])
        refused(saved[1], "do not fit")


def test_a_failed_save_leaves_the_old_model(saved, monkeypatch):
    model, folder = saved
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    monkeypatch.setattr(json, "dumps", lambda *a, **k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        model.save(folder)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
