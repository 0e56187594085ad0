"""Clips are what a video model itself makes of the frames that are on the screen, in the right TR."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from giblet.data.clips import ClipProcessor
from giblet.data.picture import PictureReader
from giblet.data.video_models import VideoModel
from giblet.errors import InputError
from giblet.features import load_features, save_features
from tests.data.video_films import steady, write_picture

transformers = pytest.importorskip("transformers")

F = Fraction
TINY = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16, "image_size": 32,
    "num_frames": 4,
}  # fmt: skip
FAMILIES = {
    "videomae": ("VideoMAE", {"patch_size": 16, "tubelet_size": 2}, "VideoMAEImageProcessor"),
    "vivit": ("Vivit", {"tubelet_size": [2, 16, 16]}, "VivitImageProcessor"),
    "timesformer": ("Timesformer", {"patch_size": 16}, "VideoMAEImageProcessor"),
}


def saved(folder, family, dtype=torch.float32, **more):
    """A folder with a small model of the family, of random weights."""
    torch.manual_seed(0)
    name, own, processor = FAMILIES[family]
    config = getattr(transformers, f"{name}Config")(**{**TINY, **own, **more})
    getattr(transformers, f"{name}Model")(config).to(dtype).save_pretrained(folder / family)
    getattr(transformers, processor)(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(
        folder / family
    )
    return folder / family


def own_states(folder, frames):
    """The hidden states that a plain call of transformers gives."""
    inputs = transformers.AutoImageProcessor.from_pretrained(folder)(list(frames), return_tensors="pt")
    model = transformers.AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        return [state.mean(dim=1)[0].numpy() for state in model(**inputs, output_hidden_states=True).hidden_states]


@pytest.fixture
def film(tmp_path):
    """12 s at 10 frames/s, each of its own texture; the frames from `change` on are others with another `seed`."""

    def write(name="film.mkv", seed=0, change=120):
        images = [np.random.default_rng(k + (seed if k >= change else 0)).integers(0, 256, (32, 48, 3)).astype(np.uint8)
                  for k in range(120)]  # fmt: skip
        return write_picture(
            tmp_path / name, steady(F(10), 12), images, time_base=F(1, 10), last=F(1, 10), codec="ffv1"
        )

    return write


@pytest.mark.parametrize("family", FAMILIES)
def test_vectors_equal_a_plain_call_on_the_same_frames(tmp_path, film, family):
    folder, path = saved(tmp_path, family), film()
    clips = ClipProcessor(tr=1.5, model=str(folder), layers=(0, 1, 2), device="cpu")
    features = clips.extract(path)
    frames = [shown.pixels() for shown in PictureReader(path)]
    for k in (1, 5):  # the clip ends with its TR: 4 moments at 1/8, 3/8, 5/8, 7/8 of the 2 s before
        moments = (k + 1) * 1.5 - 2 + np.array([0.25, 0.75, 1.25, 1.75])
        expected = own_states(folder, [frames[int(moment * 10)] for moment in moments])
        for layer in (0, 1, 2):
            np.testing.assert_allclose(features[f"layer_{layer}"][k], expected[layer], atol=1e-5)
    # What lies before the film holds its first frame.
    moments = np.maximum(1.5 - 2 + np.array([0.25, 0.75, 1.25, 1.75]), 0)
    np.testing.assert_allclose(
        features.layer_2[0], own_states(folder, [frames[int(m * 10)] for m in moments])[2], atol=1e-5
    )
    assert features.layer_2_mask.all() and features.sizes["tr"] == 8
    loaded = load_features(save_features(features, tmp_path / "film_desc-clips_features.nc"))
    assert loaded.attrs["model_fingerprint"] == clips.model.fingerprint


@pytest.mark.parametrize("tr", [0.72, 1.5, 2.0])
def test_what_comes_later_changes_no_causal_clip_before(tmp_path, film, tr):
    folder = str(saved(tmp_path, "videomae"))
    paths = film(), film("other.mkv", 1000, 60)
    last = int(6 / tr)  # TRs that end by 6 s
    for causal in (True, False):
        one, two = (
            ClipProcessor(tr=tr, model=folder, causal=causal, seconds=3, device="cpu").extract(p).layer_2.values
            for p in paths
        )
        same = (one == two).all(axis=1)
        assert not same[last + 1 :].any()
        assert same[:last].all() == causal


def test_the_middle_of_a_clip_is_that_of_its_tr_unless_it_is_causal(tmp_path, film):
    folder, path = saved(tmp_path, "videomae"), film()
    features = ClipProcessor(tr=1.5, model=str(folder), causal=False, device="cpu").extract(path, 4)
    frames = [shown.pixels() for shown in PictureReader(path)]
    moments = 3.75 - 1 + np.array([0.25, 0.75, 1.25, 1.75])
    expected = own_states(folder, [frames[int(moment * 10)] for moment in moments])[2]
    np.testing.assert_allclose(features.layer_2[2], expected, atol=1e-5)


def test_squash_and_pad_show_the_whole_frame_and_crop_says_what_it_loses(tmp_path, caplog):
    folder = str(saved(tmp_path, "videomae"))
    clip = np.zeros((4, 36, 64, 3), np.uint8)
    clip[:, :, :4] = 255  # at the left edge, which a crop cuts off
    black = np.zeros_like(clip)
    for fit, sees in (("crop", False), ("squash", True), ("pad", True)):
        model = VideoModel(folder, device="cpu", fit=fit)
        one, other = model.embed([clip, black])
        assert (np.abs(one - other).max() > 1e-4) == sees, fit
    assert "sees 58 % of the width and 100 % of the height of pictures of 64 x 36" in caplog.text


def test_weights_of_half_precision_are_computed_in_float32(tmp_path, caplog):
    folder = saved(tmp_path, "videomae", torch.bfloat16)
    model = VideoModel(str(folder), device="cpu")
    assert {p.dtype for p in model.model.parameters()} == {torch.float32} and not model.model.training
    assert "was saved as bfloat16: computed in float32" in caplog.text


def test_a_model_that_cannot_be_used_is_one_line(tmp_path):
    folder = str(saved(tmp_path, "videomae"))
    with pytest.raises(InputError, match=r"layers are \(3,\); expected some of 0 to 2"):
        VideoModel(folder, layers=(3,))
    with pytest.raises(InputError, match=r"a clip has 3 frames; expected 4, which video model .* sees at once"):
        VideoModel(folder, device="cpu").embed([np.zeros((3, 32, 32, 3), np.uint8)])
    with pytest.raises(InputError, match="name a folder with the model"):
        VideoModel(str(tmp_path / "nothing"))
    vit = transformers.ViTConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    transformers.ViTModel(vit).save_pretrained(tmp_path / "vit")
    with pytest.raises(InputError, match="is a vit, which sees no clips"):
        VideoModel(str(tmp_path / "vit"))
    model = transformers.AutoModel.from_pretrained(folder)
    weights = {name: value for name, value in model.state_dict().items() if "layer.1.attention" not in name}
    model.save_pretrained(folder, state_dict=weights)
    with pytest.raises(InputError, match=r"lacks .* weights"):
        VideoModel(folder)
