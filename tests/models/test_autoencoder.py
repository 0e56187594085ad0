"""The whole model: what depends on what in time, on which voxels, and how large it is."""

import pytest
import torch

from giblet.alignment import convolve_hrf
from giblet.errors import InputError
from giblet.models import Modality, ModelSettings, MultimodalAutoencoder
from tests.models.conftest import batch_of

ALL = {
    "audio": Modality("codes", (2, 9)),
    "video": Modality("frames", (18, 32, 3)),
    "text": Modality("vector", (7,)),
    "loudness": Modality("vector", (2,)),
}
SMALL = {"n_codebooks": 2, "codebook_size": 30, "frames_per_tr": 9}


@pytest.fixture
def model(tiny):
    return tiny(ALL, {"sub-01": 5, "sub-02": 7}, **SMALL).eval()


def test_forward_gives_every_modality_by_tr(model):
    batch = batch_of(model, n=35, subject=1, batch=2)
    out = model(batch["data"], batch["mask"], "sub-02", batch["trs"])
    assert out["bold"].shape == (2, 35, 7)
    shapes = {name: tuple(v.shape) for name, v in out["decoded"].items() if name != "audio"}
    assert shapes == {"video": (2, 35, 18, 32, 3), "text": (2, 35, 7), "loudness": (2, 35, 2)}
    assert model.decoder.to_codes(out["decoded"]).shape == (2, 35, 2, 9)
    assert model.encode(batch["data"], batch["mask"]).shape == (2, 35, 16)


def test_predicted_bold_equals_features_convolved_at_any_tr(model):
    batch = batch_of(model)
    features = model.encode(batch["data"], batch["mask"])
    layer = model.to_bottleneck
    for tr in (1.5, 0.8):
        model.set_tr(tr)
        seen = convolve_hrf(features[0].detach().numpy(), tr=tr, hrf="glover", kind="continuous")
        wanted = model.brains[0].predict(layer(torch.from_numpy(seen).float()))
        torch.testing.assert_close(model.predict_bold(batch["data"], batch["mask"], 0)[0], wanted, rtol=1e-4, atol=1e-5)
    with pytest.raises(InputError, match=r"0\.8 s"):
        model.decode(batch["data"]["bold"], 0)


@pytest.mark.parametrize("learnable", [False, True])
def test_each_subject_is_predicted_at_its_slice_time_ref(tiny, tmp_path, learnable):
    """One HRF for all, at the moment of each subject's volumes; the saved model remembers it."""
    refs = {"sub-01": 0.48, "sub-03": 1.0}
    subjects = dict.fromkeys(("sub-01", "sub-02", "sub-03"), 5)
    model = tiny(ALL, subjects, slice_time_ref=refs, learnable_hrf=learnable, tr=3.0, **SMALL).eval()
    batch = batch_of(model)
    features = model.encode(batch["data"], batch["mask"])[0].detach().numpy()
    model.save(tmp_path)
    again = MultimodalAutoencoder.from_pretrained(tmp_path)
    assert again.slice_time_ref == model.slice_time_ref == {**refs, "sub-02": 0.0}
    for place, name in enumerate(model.subjects):
        seen = convolve_hrf(features, tr=3.0, slice_time_ref=model.slice_time_ref[name], kind="continuous")
        wanted = model.brains[place].predict(model.to_bottleneck(torch.from_numpy(seen).float()))
        for one in (model, again):
            found = one.predict_bold(batch["data"], batch["mask"], place)[0]
            torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(one.predict_bold(batch["data"], batch["mask"], name)[0], found)
    with pytest.raises(InputError, match=r"slice_time_ref is 1\.44"):
        tiny(ALL, {"sub-01": 5}, slice_time_ref={"sub-01": 1.44}, **SMALL)
    with pytest.raises(InputError, match=r"slice_time_ref names \['sub-1'\]: the subjects are sub-01"):
        tiny(ALL, {"sub-01": 5}, slice_time_ref={"sub-1": 0.5}, **SMALL)


@pytest.mark.parametrize("name", ALL)
def test_predicted_bold_depends_only_on_the_length_of_the_hrf_before_it(model, name):
    batch = batch_of(model, n=40)
    before = model.predict_bold(batch["data"], batch["mask"], 0)
    batch["data"][name][:, 10] = batch["data"][name][:, 11] if name == "audio" else 5.0
    changed = (model.predict_bold(batch["data"], batch["mask"], 0) - before).abs().amax((0, 2)) > 0
    # The response is 0 at its onset: the volume at the very start of the TR sees nothing of it yet.
    assert not changed[:11].any() and changed[11:20].all() and not changed[10 + model.context_trs + 1 :].any()


def test_decoding_depends_only_on_the_own_volume_and_the_lead(model):
    batch = batch_of(model, n=30)
    bold = batch["data"]["bold"]
    before = model.bottleneck_from_bold(bold, 0)
    other = bold.clone()
    other[:, 15] += 1
    changed = (model.bottleneck_from_bold(other, 0) - before).abs().amax((0, 2)) > 0
    assert model.lead_trs == 7
    assert changed.nonzero()[:, 0].tolist() == list(range(15 - model.lead_trs, 16))


def test_missing_modality_ignores_its_data_and_differs_from_zeros(model):
    batch = batch_of(model)
    for name in ALL:
        mask = {**batch["mask"], name: torch.zeros(1, 40, dtype=torch.bool)}
        filled = batch["data"][name] * 0 + (77 if name == "audio" else float("nan"))
        zeros = torch.zeros_like(batch["data"][name])
        absent = model.predict_bold(batch["data"], mask, 0)
        assert torch.equal(absent, model.predict_bold({**batch["data"], name: filled}, mask, 0))
        assert not torch.allclose(
            absent, model.predict_bold({**batch["data"], name: zeros}, batch["mask"], 0), atol=1e-4
        )


def test_trs_without_data_predict_as_if_the_film_began_later(model):
    batch = batch_of(model)
    for name in ALL:
        batch["mask"][name][:, :12] = False
    features = model.encode(batch["data"], batch["mask"])
    assert not features[:, :12].any() and features[:, 12:].any(-1).all()
    later = {name: x[:, 12:] for name, x in batch["data"].items()}
    there = {name: m[:, 12:] for name, m in batch["mask"].items()}
    torch.testing.assert_close(
        model.predict_bold(batch["data"], batch["mask"], 0)[:, 12:], model.predict_bold(later, there, 0)
    )


def test_a_censored_volume_has_no_influence_and_is_not_taken_for_the_mean(model):
    torch.nn.init.normal_(model.absent_volume)
    batch = batch_of(model)
    bold, mask = batch["data"]["bold"], batch["mask"]["bold"]
    mask[:, 20] = False
    poisoned, zeros = bold.clone(), bold.clone()
    poisoned[:, 20] = float("nan")
    zeros[:, 20] = 0
    assert torch.equal(model.bottleneck_from_bold(bold, 0, mask), model.bottleneck_from_bold(poisoned, 0, mask))
    assert not torch.allclose(model.bottleneck_from_bold(bold, 0, mask), model.bottleneck_from_bold(zeros, 0))


def test_scored_rows_are_those_whose_whole_window_is_real(model):
    n, trs = 40, torch.arange(40)[None] + 100
    trs[:, 36:] = -1
    mask = {"bold": torch.ones(1, n, dtype=torch.bool)}
    scored = model.scored_rows(mask, trs)
    assert model.context_trs == 22
    assert scored["bold"][0].nonzero()[:, 0].tolist() == list(range(22, 36))
    assert scored["decode"][0].nonzero()[:, 0].tolist() == list(range(36 - 7))
    from_start = model.scored_rows(mask, torch.arange(n)[None])
    assert from_start["bold"].all() and from_start["decode"][0].sum() == n - 7
    whole = model.scored_rows(mask)
    assert whole["bold"][0].sum() == n - 22 and whole["decode"][0].sum() == n - 7


def test_scored_rows_of_a_window_equal_those_of_the_whole_scan(model):
    batch = batch_of(model, n=60)
    data, mask, trs = batch["data"], batch["mask"], batch["trs"]
    whole = model(data, mask, 0, trs)
    cut = model({k: v[:, 10:50] for k, v in data.items()}, {k: m[:, 10:50] for k, m in mask.items()}, 0, trs[:, 10:50])
    for key, get in [("bold", lambda o: o["bold"]), ("decode", lambda o: o["decoded"]["text"])]:
        rows = cut["scored"][key][0]
        assert rows.sum() >= 18
        torch.testing.assert_close(get(cut)[0, rows], get(whole)[0, 10:50][rows], rtol=1e-4, atol=1e-6)


def test_lesion_silences_voxels_within_the_block_only(model):
    batch = batch_of(model, subject=1)
    bold = batch["data"]["bold"]
    lesion = torch.tensor([True, False, False, True, False, False, False])
    other = bold.clone()
    other[..., lesion] = float("nan")
    zeroed = torch.where(lesion, 0.0, bold)
    intact = model.bottleneck_from_bold(bold, "sub-02")
    with model.lesion(lesion, "sub-02"):
        inside = model.bottleneck_from_bold(bold, "sub-02")
        assert torch.equal(inside, model.bottleneck_from_bold(other, "sub-02"))
        with model.lesion(~lesion, "sub-02"):
            everything = model.bottleneck_from_bold(bold, "sub-02")
            torch.testing.assert_close(everything, model.bottleneck_from_bold(0 * bold, "sub-02"))
        assert torch.equal(inside, model.bottleneck_from_bold(bold, "sub-02"))
    torch.testing.assert_close(inside, model.bottleneck_from_bold(zeroed, "sub-02"))
    assert not torch.allclose(inside, intact)
    with pytest.raises(ZeroDivisionError), model.lesion(lesion, "sub-02"):
        _ = 1 / 0
    assert torch.equal(intact, model.bottleneck_from_bold(bold, "sub-02"))


@pytest.mark.parametrize("mask", [torch.ones(5, dtype=torch.bool), torch.ones(7), torch.ones(1, 7, dtype=torch.bool)])
def test_a_lesion_of_another_space_is_refused(model, mask):
    with pytest.raises(InputError, match=r"expected bool \(7,\)"), model.lesion(mask, "sub-02"):
        pass


def test_subjects_have_brain_layers_of_their_own(model):
    batch = batch_of(model)
    model(batch["data"], batch["mask"], "sub-01")["bold"].sum().backward()
    assert model.brains[0].to_voxels.weight.grad is not None and model.brains[1].to_voxels.weight.grad is None
    assert model.subjects == ["sub-01", "sub-02"]
    for wrong in ("sub-03", 2, -1):
        with pytest.raises(InputError, match="no subject"):
            model.predict_bold(batch["data"], batch["mask"], wrong)


def test_the_default_model_fits_a_small_gpu():
    modalities = {
        "audio": Modality("codes", (8, 112)),
        "video": Modality("frames", (90, 160, 3)),
        "text": Modality("vector", (384,)),
    }
    model = MultimodalAutoencoder(
        ModelSettings(head="classification", codebook_init=False), modalities, {"sub-01": 85_810}
    )
    n = sum(p.numel() for p in model.parameters())
    assert n <= 50_000_000
    rows = model.describe()
    assert sum(row["parameters"] for row in rows) == n
    brain = next(row for row in rows if row["part"] == "brain layer: sub-01")
    assert brain["output"] == (85_810,) and brain["parameters"] == 85_810 * 257 + 128 * 128


def test_encodec_mode_has_524288_embedding_parameters():
    model = MultimodalAutoencoder(
        ModelSettings(head="classification", codebook_init=False), {"audio": Modality("codes", (8, 112))}, {"sub-01": 3}
    )
    assert model.encoders["audio"].embedding.shape == (8, 1024, 64)


@pytest.mark.parametrize("use_encodec", [True, False])
def test_bfloat16_autocast_changes_bold_by_less_than_5_percent(tiny, use_encodec):
    audio = Modality("codes", (8, 112)) if use_encodec else Modality("mel", (20, 9))
    model = tiny({"audio": audio, "text": Modality("vector", (7,))}, use_encodec=use_encodec).eval()
    batch = batch_of(model)
    out = model(batch["data"], batch["mask"], 0)["bold"]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = model(batch["data"], batch["mask"], 0)["bold"]
    assert (out - low).abs().max() < 0.05 * out.abs().max()


def test_learnable_hrf_is_learned(tiny):
    model = tiny(learnable_hrf=True)
    batch = batch_of(model)
    model.predict_bold(batch["data"], batch["mask"], 0).square().sum().backward()
    assert model.hrf.log_parameters.grad.abs().min() > 0


def test_data_that_contradict_the_model_are_refused(model):
    batch = batch_of(model)
    data, mask = batch["data"], batch["mask"]
    cases = [
        ({"audio": data["audio"].float()}, {}, "audio is torch.float32"),
        ({"text": data["text"].int()}, {}, "text is torch.int32"),
        ({"text": data["text"][..., :3]}, {}, r"B, W, 7"),
        ({"audio": data["audio"] + 30}, {}, "outside"),
        ({}, {"text": mask["text"].float()}, "bool"),
        ({}, {"text": mask["text"][:, :5]}, "bool"),
    ]
    for new_data, new_mask, says in cases:
        with pytest.raises(InputError, match=says):
            model.predict_bold({**data, **new_data}, {**mask, **new_mask}, 0)
    with pytest.raises(InputError, match="lacks data for text"):
        model.predict_bold({k: v for k, v in data.items() if k != "text"}, mask, 0)
    with pytest.raises(InputError, match=r"floats \(B, W, 5\), the voxels"):
        model.decode(torch.zeros(1, 40, 7), "sub-01")
    with pytest.raises(InputError, match="no BOLD"):
        model({"audio": data["audio"]}, mask, 0)


def test_mel_mode_refuses_codes(tiny):
    model = tiny({"audio": Modality("mel", (20, 9))}, use_encodec=False)
    with pytest.raises(InputError, match=r"audio is torch\.int32"):
        model.predict_bold(
            {"audio": torch.zeros(1, 30, 20, 9).int()}, {"audio": torch.ones(1, 30, dtype=torch.bool)}, 0
        )


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"modalities": {"audio": Modality("mel", (20,))}}, "expected codes with use_encodec=True"),
        ({"use_encodec": False}, "expected mel with use_encodec=False"),
        ({"modalities": {"audio": Modality("codes", (4, 112))}}, "n_codebooks 8"),
        ({"modalities": {"bold": Modality("vector", (4,))}}, "modality bold"),
        ({"modality_weights": {"sound": 1.0}}, "sound"),
        ({"codebook_init": True}, "require the codec's codebooks"),
        ({"head": "latent"}, "require the codec's codebooks"),
        ({"n_voxels": {"sub-01": 0}}, "0 voxels"),
        ({"head": "vq"}, "head is 'vq'"),
        ({"bottelneck": 3}, "did you mean bottleneck"),
        ({"tr": 0.0}, "tr is 0.0"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(tiny, options, says):
    with pytest.raises(InputError, match=says):
        tiny(**options)


@pytest.mark.parametrize(
    ("kind", "shape"), [("codes", (8,)), ("frames", (9, 9, 1)), ("vector", ()), ("mel", (2, 3, 4)), ("sound", (1,))]
)
def test_modalities_have_a_shape_of_their_kind(kind, shape):
    with pytest.raises(InputError):
        Modality(kind, shape)


def test_modality_kind_follows_the_kind_of_its_series():
    assert Modality.of("audio", (8, 112), codes=True).kind == "codes"
    assert (
        Modality.of("audio", (2048, 64), codes=False).kind == Modality.of("audio", (2048,), codes=False).kind == "mel"
    )
    assert Modality.of("video", (90, 160, 3), codes=False).kind == "frames"
    assert Modality.of("text", (384,), codes=False).kind == "vector"


def test_the_decode_window_is_in_seconds():
    assert ModelSettings(tr=1.5).decode_trs == 8 and ModelSettings(tr=0.8).decode_trs == 15
    assert ModelSettings(tr=0.1, decode_seconds=0.3).decode_trs == 3  # exact, not 4 by a rounding of floats
    weights = ModelSettings().codebook_weights
    assert abs(sum(weights) - 1) < 1e-12 and weights == tuple(sorted(weights, reverse=True))
