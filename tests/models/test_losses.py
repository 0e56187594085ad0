"""Losses: what they are, what they leave out, and that none drowns the others."""

import math

import pytest
import torch
from torch.nn import functional

from giblet.codec.quantizer import rvq_dequantize
from giblet.errors import InputError
from giblet.models import Modality, ModelSettings, Scales, combined_loss, fit_scales
from giblet.models.logits import AT_A_TIME, CodeLogits
from giblet.models.losses import cross_entropy, latent_loss, mean_loss, mse, scored_mask, smooth_l1
from tests.models.conftest import batch_of

ALL = {"audio": Modality("codes", (2, 9)), "text": Modality("vector", (4,))}
SMALL = {"n_codebooks": 2, "codebook_size": 30, "frames_per_tr": 9}
HEADS = ("regression", "classification", "latent")


def run(model, batch, scales=None, **options):
    books = model.decoder.codebooks
    scales = scales or fit_scales([batch], model.settings, books)
    out = model(batch["data"], batch["mask"], 0, batch["trs"])
    return combined_loss(batch, out, model.settings, scales, books, **options)


def rows_scored(batch, out) -> dict[str, int]:
    return {name: int(scored_mask(name, out["scored"], batch).sum()) for name in ("bold", *out["decoded"])}


def test_mse_and_smooth_l1_equal_those_of_torch():
    a, b = torch.randn(5, 3, 4), torch.randn(5, 3, 4)
    torch.testing.assert_close(mse(a, b).mean(), functional.mse_loss(a, b))
    torch.testing.assert_close(smooth_l1(a, b, 2.0).mean(), functional.smooth_l1_loss(a / 2, b / 2))


@pytest.mark.parametrize("block", [1 << 19, 2000])
def test_factored_cross_entropy_and_gradients_equal_those_of_torch(monkeypatch, block):
    monkeypatch.setitem(AT_A_TIME, "cpu", block)  # 2000: one row of 9 frames x 200 entries a block
    torch.manual_seed(0)
    make = [torch.randn(7, 3, 9, 5), torch.randn(3, 200, 5), torch.randn(3, 200)]
    codes, weights = torch.randint(0, 200, (7, 3, 9)), torch.rand(7, 3)
    ours, theirs = ([t.double().float().requires_grad_() for t in make] for _ in range(2))
    scores = torch.einsum("nkfr,kvr->nkfv", theirs[0], theirs[1]) + theirs[2][:, None]
    wanted = functional.cross_entropy(scores.movedim(-1, 1), codes, reduction="none").mean(2)
    got = CodeLogits(*ours).cross_entropy(codes)
    torch.testing.assert_close(got, wanted)
    torch.testing.assert_close(cross_entropy(codes, scores.detach()), wanted)
    (got * weights).sum().backward()
    (wanted * weights).sum().backward()
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-6)


def test_cross_entropy_of_no_rows_has_zero_gradients():
    queries = torch.randn(0, 3, 9, 5, requires_grad=True)
    keys, bias = torch.randn(3, 20, 5, requires_grad=True), torch.zeros(3, 20, requires_grad=True)
    nats = CodeLogits(queries, keys, bias).cross_entropy(torch.zeros(0, 3, 9, dtype=torch.int32))
    nats.sum().backward()
    assert nats.shape == (0, 3) and not keys.grad.any() and not bias.grad.any()


def test_latent_loss_is_the_distance_from_the_dequantized_codes():
    books, codes = torch.randn(2, 30, 6), torch.randint(0, 30, (4, 2, 9))
    true = rvq_dequantize(codes, books).transpose(1, 2)
    assert not latent_loss(codes, true, books).any()
    torch.testing.assert_close(latent_loss(codes, true + 2, books), torch.full((4,), 4.0))


def test_scales_are_the_loss_of_the_best_constant_prediction():
    gen = torch.Generator().manual_seed(0)
    codes = (torch.rand(1, 50, 2, 9, generator=gen).square() * 30).int()
    text = torch.randn(1, 50, 4, generator=gen) * 3 + 100
    mask = torch.rand(1, 50, generator=gen) > 0.3
    books = torch.randn(2, 30, 6)
    settings = ModelSettings(head="classification", **SMALL)
    data = {"audio": codes, "text": torch.where(mask[..., None], text, torch.nan)}
    batches = [
        {"data": {k: v[:, at] for k, v in data.items()}, "mask": {"audio": mask[:, at], "text": mask[:, at]}}
        for at in (slice(0, 17), slice(17, 50))
    ]
    scales = fit_scales(batches, settings, books)
    kept = codes[mask]
    assert math.isclose(scales.of("text"), float(text[mask].double().var(0, correction=0).mean()), rel_tol=1e-5)
    for k in range(2):
        numbers = kept[:, k].flatten().double()
        counts = torch.bincount(kept[:, k].flatten(), minlength=30)
        assert torch.equal(scales.priors[k].long(), counts)
        entropy = torch.distributions.Categorical(counts / counts.sum()).entropy()
        assert math.isclose(scales.by_codebook("entropy")[k], float(entropy), rel_tol=1e-5)
        assert math.isclose(scales.by_codebook("deviation")[k], float(numbers.std(correction=0)), rel_tol=1e-9)
        error = (numbers - numbers.mean()) / numbers.std(correction=0)
        huber = functional.smooth_l1_loss(error, torch.zeros_like(error))
        assert math.isclose(scales.by_codebook("smooth_l1")[k], float(huber), rel_tol=1e-9)
    latents = rvq_dequantize(kept, books).flatten(0, 1).double()
    assert math.isclose(scales.of("latent"), float(latents.var(0, correction=0).mean()), rel_tol=1e-5)


def test_constant_modalities_are_not_rescaled(tiny):
    model = tiny(ALL, **SMALL)
    batch = batch_of(model)
    batch["data"]["text"][:] = 3
    batch["data"]["audio"][:] = 7
    scales = fit_scales([batch], model.settings)
    assert scales.of("text") == 1 and scales.by_codebook("entropy") == [1, 1] == scales.by_codebook("deviation")
    total, _ = run(model, batch, scales)
    assert total.isfinite()


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("regression_loss", ["mse", "smooth_l1"])
def test_every_loss_starts_near_1_on_real_speech(tiny, speech_codes, codebooks, head, regression_loss):
    modalities = {"audio": Modality("codes", (8, 112)), "text": Modality("vector", (20,))}
    options = {"head": head, "regression_loss": regression_loss, "codebook_init": True, "features": 64}
    model = tiny(modalities, {"sub-01": 50}, codebooks, **options)
    batch = batch_of(model, codes=speech_codes)
    scales = fit_scales([batch], model.settings, codebooks)
    for priors in (None, scales.priors):
        model = tiny(modalities, {"sub-01": 50}, codebooks, priors, **options)
        total, parts = run(model, batch, scales)
        values = [float(v) for v in parts.values()]
        assert set(parts) == {"bold", "audio", "text"} and max(values) < 10 * min(values)
        assert all(0.5 < v < 2 for v in values) or priors is None
        assert math.isclose(float(total.detach()), sum(values), rel_tol=1e-5)


@pytest.mark.parametrize("head", HEADS)
def test_unscored_and_missing_rows_do_not_change_the_loss(tiny, head):
    books = torch.randn(2, 30, 6)
    model = tiny(ALL, codebooks=books, head=head, **SMALL).eval()
    batch = batch_of(model)
    scales = fit_scales([batch], model.settings, books)
    out = model(batch["data"], batch["mask"], 0, batch["trs"])
    batch["mask"]["text"][:, :5] = False
    batch["mask"]["audio"][:, 2] = False
    batch["mask"]["bold"][:, 30] = False
    counts = rows_scored(batch, out)
    assert counts == {"bold": 40 - 22 - 1, "audio": 40 - 7 - 1, "text": 40 - 7 - 5}
    before = combined_loss(batch, out, model.settings, scales, books)[1]
    spoiled = {name: x.clone() for name, x in batch["data"].items()}
    spoiled["text"][:, :5] = float("nan")
    spoiled["text"][:, 33:] = float("nan")
    spoiled["audio"][:, 2] = 29
    spoiled["audio"][:, 33:] = 0
    spoiled["bold"][:, :22] = float("nan")
    spoiled["bold"][:, 30] = float("nan")
    after = combined_loss({**batch, "data": spoiled}, out, model.settings, scales, books)[1]
    assert before.keys() == after.keys() and all(torch.equal(before[k], after[k]) for k in before)
    one = {name: x.clone() for name, x in batch["data"].items()}
    one["audio"][:, 32] = 29 - one["audio"][:, 32]
    one["text"][:, 32] += 1
    one["bold"][:, 22] += 1
    changed = combined_loss({**batch, "data": one}, out, model.settings, scales, books)[1]
    assert not any(torch.equal(before[k], changed[k]) for k in before)


def test_trs_with_absent_codes_are_not_scored(tiny):
    model = tiny(ALL, **SMALL)
    batch = batch_of(model)
    batch["data"]["audio"][:, 4, 1, 3] = -1
    out = model(batch["data"], batch["mask"], 0, batch["trs"])
    assert rows_scored(batch, out)["audio"] == 32
    assert fit_scales([batch], model.settings).priors.sum() == 39 * 18


@pytest.mark.parametrize("head", HEADS)
def test_loss_without_scored_rows_is_zero_with_zero_gradients(tiny, head):
    books = torch.randn(2, 30, 6)
    model = tiny(ALL, codebooks=books, head=head, **SMALL)
    batch = batch_of(model)
    scales = fit_scales([batch], model.settings, books)
    for name in batch["mask"]:
        batch["mask"][name][:] = False
    total, parts = run(model, batch, scales)
    total.backward()
    assert float(total.detach()) == 0 and all(float(v) == 0 for v in parts.values())
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())


KNOWN = [("regression", "mse"), ("regression", "smooth_l1"), ("classification", "mse"), ("latent", "mse")]


@pytest.mark.parametrize(("head", "regression_loss"), KNOWN)
def test_training_mean_has_loss_one_on_training_trs_and_its_own_error_elsewhere(tiny, head, regression_loss):
    books = torch.randn(2, 30, 6)
    model = tiny(ALL, codebooks=books, head=head, regression_loss=regression_loss, **SMALL)
    batch = batch_of(model)
    scales = fit_scales([batch], model.settings, books)
    every = torch.ones(1, 40, dtype=torch.bool)
    nothing = mean_loss({"bold": every, "decode": every}, batch, model.settings, scales, books)
    for name, cost in nothing.items():  # half a count is added to each code's number
        assert float(cost) / 40 == pytest.approx(1, abs=1e-3 if name == "audio" else 1e-5), name
    louder = {**batch, "data": {**batch["data"], "bold": 3 * batch["data"]["bold"] + 1}}
    some = every.clone()
    some[:, 30:] = False
    again = mean_loss({"bold": some, "decode": some & False}, louder, model.settings, scales, books)
    wanted = (louder["data"]["bold"][0, :30] - batch["data"]["bold"][0].mean(0)).square().mean(1).sum()
    assert float(again["bold"]) == pytest.approx(float(wanted) / scales.constant["bold"], rel=1e-5)
    assert float(again["text"]) == float(again["audio"]) == 0


def test_each_subject_has_a_mean_of_its_own(tiny):
    model = tiny(ALL, n_voxels={"a": 5, "b": 3}, **SMALL)
    batches = [batch_of(model, subject=which, seed=which) for which in (0, 1)]
    scales = fit_scales(batches, model.settings)
    for which, batch in enumerate(batches):
        torch.testing.assert_close(scales.mean("bold", which), batch["data"]["bold"][0].mean(0))
    batches[1]["mask"]["text"][:] = False
    elsewhere = fit_scales(batches, model.settings)
    torch.testing.assert_close(elsewhere.mean("text", 1), elsewhere.mean("text", 0))
    with pytest.raises(InputError, match="no scale for video"):
        scales.mean("video")


@pytest.mark.parametrize("head", HEADS)
def test_losses_of_parts_with_counts_of_all_add_up_to_the_whole(tiny, head):
    books = torch.randn(2, 30, 6)
    model = tiny(ALL, codebooks=books, head=head, **SMALL).eval()
    whole = batch_of(model, batch=3)
    whole["mask"]["text"][0, 3:20] = False
    whole["mask"]["bold"][2, 25:] = False
    scales = fit_scales([whole], model.settings, books)
    total, _ = run(model, whole, scales)
    halves = []
    for at in (slice(0, 1), slice(1, 3)):
        half = {key: {k: v[at] for k, v in whole[key].items()} for key in ("data", "mask")}
        halves.append({**half, "trs": whole["trs"][at]})
    counts = {}
    for half in halves:
        out = model(half["data"], half["mask"], 0, half["trs"])
        counts = {k: counts.get(k, 0) + n for k, n in rows_scored(half, out).items()}
    parts = sum(run(model, half, scales, counts=counts)[0] for half in halves)
    torch.testing.assert_close(parts, total, rtol=1e-5, atol=1e-6)


def test_total_loss_is_weighted_by_modality_weights(tiny):
    model = tiny(ALL, modality_weights={"text": 0.0, "bold": 2.0}, **SMALL)
    total, parts = run(model, batch_of(model))
    torch.testing.assert_close(total.detach(), 2 * parts["bold"] + parts["audio"])
    assert float(parts["text"]) > 0


@pytest.mark.parametrize("head", HEADS)
def test_gradients_reach_every_parameter(tiny, head):
    modalities = {**ALL, "video": Modality("frames", (18, 32, 3))}
    books = torch.randn(2, 30, 6)
    options = {**SMALL, "codebook_size": 5}
    model = tiny(modalities, codebooks=books[:, :5], head=head, learnable_hrf=True, **options)
    batch = batch_of(model)
    batch["mask"]["bold"][:, 25] = False
    for i, name in enumerate(modalities):
        batch["mask"][name][:, 5 + i] = False
    run(model, batch)[0].backward()
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad and parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def test_missing_scales_or_codebooks_are_refused_by_name(tiny):
    books = torch.randn(2, 30, 6)
    model = tiny(ALL, codebooks=books, head="latent", **SMALL)
    batch = batch_of(model)
    out = model(batch["data"], batch["mask"], 0, batch["trs"])
    with pytest.raises(InputError, match="no scale for bold"):
        combined_loss(batch, out, model.settings, Scales({}), books)
    with pytest.raises(InputError, match="pass codebooks"):
        combined_loss(batch, out, model.settings, fit_scales([batch], model.settings, books))
    with pytest.raises(InputError, match="no training TR"):
        fit_scales([{**batch, "mask": {k: ~m for k, m in batch["mask"].items()}}], model.settings)
    with pytest.raises(InputError, match="2 x 5"):
        fit_scales([batch], model.settings.model_copy(update={"codebook_size": 5}))
