"""The adversarial phase: losses of known value, gradients only where they belong, the same twice and after a stop."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from giblet.codec.training.adversary import (
    Adversary,
    STFTDiscriminator,
    discriminator_hinge,
    feature_distance,
    generator_hinge,
)
from giblet.codec.training.loop import train_codec
from giblet.codec.training.settings import AdversarialSettings, CodecTrainingSettings
from giblet.errors import CheckpointError, InputError
from tests.codec.training import runs
from tests.codec.training.runs import log, same, speech_like, stop_at, weights, write_audio

SMALL = {"channels": 2, "scales": (512, 128), "lead_steps": 1}


def tiny(audio: Path, output: Path, **changes) -> CodecTrainingSettings:
    short = {"steps": 6, "unquantized_steps": 1, "validate_every": 6}
    return runs.tiny(audio, output, **short, **changes)


def settings(**changes) -> AdversarialSettings:
    return AdversarialSettings.make(**{"from_step": 0, **SMALL, **changes})


@pytest.fixture
def sounds() -> tuple[Tensor, Tensor]:
    """Two recorded waveforms, and the same with noise as a codec that trains would hand them over."""
    original = torch.from_numpy(np.stack([speech_like(0.1, seed)[None] for seed in range(2)]))
    noise = torch.from_numpy(np.random.default_rng(0).normal(size=original.shape).astype(np.float32))
    return (original + 0.1 * noise).requires_grad_(), original


def test_the_hinge_losses_have_the_values_of_the_paper():
    real = [[torch.zeros(0), torch.tensor([2.0, 0.5, -1.0])], [torch.zeros(0), torch.tensor([0.0])]]
    fake = [[torch.zeros(0), torch.tensor([-2.0, -0.5, 3.0])], [torch.zeros(0), torch.tensor([0.0])]]
    # recorded: (0 + 0.5 + 2) / 3 and 1; decoded: (0 + 0.5 + 4) / 3 and 1
    assert float(discriminator_hinge(real, fake)) == pytest.approx(((2.5 + 4.5) / 3 + 2) / 2)
    # (3 + 1.5 + 0) / 3 and 1
    assert float(generator_hinge(fake)) == pytest.approx((4.5 / 3 + 1) / 2)


def test_the_feature_distance_is_relative_and_leaves_the_logits_out():
    real = [[torch.tensor([1.0, -3.0]), torch.tensor([4.0]), torch.tensor([100.0])]]
    fake = [[torch.tensor([2.0, -1.0]), torch.tensor([4.0]), torch.tensor([-7.0])]]
    assert float(feature_distance(real, fake)) == pytest.approx((1.5 / 2 + 0) / 2)
    assert float(feature_distance(real, real)) == 0
    louder = [[1000 * x for x in maps] for maps in real], [[1000 * x for x in maps] for maps in fake]
    assert float(feature_distance(*louder)) == pytest.approx(float(feature_distance(real, fake)))


@pytest.mark.parametrize("n_fft", [2048, 128])
def test_each_layer_keeps_the_frames_and_halves_the_bins_three_times(n_fft):
    maps = STFTDiscriminator(n_fft, 4)(torch.randn(2, 1, 6000))
    frames, bins = 1 + (6000 - n_fft) // (n_fft // 4), n_fft // 2
    assert [tuple(x.shape) for x in maps] == [
        (2, 4, frames, bins + 1), (2, 4, frames, bins // 2 + 1), (2, 4, frames, bins // 4 + 1),
        (2, 4, frames, bins // 8 + 1), (2, 4, frames, bins // 8 + 1), (2, 1, frames, bins // 8 + 1),
    ]  # fmt: skip


def test_the_published_size_has_the_published_layers():
    """Weights of the reference implementation's layers, counted by hand: 32 filters, kernels 3 x 9 and 3 x 3."""
    convolutions = [(2, 32, 27), (32, 32, 27), (32, 32, 27), (32, 32, 27), (32, 32, 9), (32, 1, 9)]
    expected = sum(i * o * k + 2 * o for i, o, k in convolutions)  # a bias and a norm for each filter
    assert sum(p.numel() for p in STFTDiscriminator(1024, 32).parameters()) == expected


def test_a_discriminator_hears_phase():
    x = torch.from_numpy(speech_like(0.1, 0))[None, None]
    discriminator = STFTDiscriminator(512, 4)
    assert not torch.allclose(discriminator(x)[0], discriminator(-x)[0], atol=1e-3)


def test_discriminators_learn_to_tell_decoded_from_recorded_sound(sounds):
    decoded, original = sounds
    adversary = Adversary(settings(channels=4, learning_rate=3e-3), seed=0)
    losses = [adversary.learn(decoded, original) for _ in range(40)]
    assert losses[0] == pytest.approx(2, abs=0.3)
    assert losses[-1] < 0.5


def test_learning_moves_only_the_discriminators_and_judging_only_the_sound(sounds):
    decoded, original = sounds
    adversary = Adversary(settings(), seed=0)
    before = {name: value.clone() for name, value in adversary.named_parameters()}
    gradient, _ = adversary.judge(decoded, original, torch.ones_like(decoded))
    assert (gradient - 1).abs().sum() > 0
    assert all(p.grad is None for p in adversary.parameters())
    assert same(before, dict(adversary.named_parameters()))
    adversary.learn(decoded, original)
    assert decoded.grad is None
    assert all(p.grad is not None for p in adversary.parameters())
    moved = {name for name, value in adversary.named_parameters() if not torch.equal(before[name], value)}
    assert moved >= {
        f"discriminators.{d}.layers.{n}.parametrizations.weight.original1" for d in (0, 1) for n in range(6)
    }


def test_weights_are_relative_to_the_reconstruction(sounds):
    """At the first step the pushes are as large as the weights say, whatever the units of the reconstruction."""
    decoded, original = sounds
    reconstruction = torch.randn(decoded.shape, generator=torch.Generator().manual_seed(1))
    for weight, feature_weight, chosen in ((2.0, 0.0, "adversarial"), (0.0, 0.5, "features")):
        for unit in (1e-4, 1.0, 1e3):
            adversary = Adversary(settings(weight=weight, feature_weight=feature_weight), seed=0)
            total, _ = adversary.judge(decoded, original, unit * reconstruction)
            push = (total - unit * reconstruction) / unit
            ratio = push.norm(dim=2).mean() / reconstruction.norm(dim=2).mean()
            assert float(ratio) == pytest.approx(weight + feature_weight, rel=1e-3)
            fake = adversary(decoded)
            loss = generator_hinge(fake) if chosen == "adversarial" else feature_distance(adversary(original), fake)
            (alone,) = torch.autograd.grad(loss, decoded)
            assert float(torch.cosine_similarity(push.flatten(), alone.flatten(), dim=0)) == pytest.approx(1, abs=1e-4)


def test_later_pushes_are_scaled_by_the_running_norms(sounds):
    decoded, original = sounds
    adversary = Adversary(settings(weight=1.0, feature_weight=0.0), seed=0)
    ones = torch.ones_like(decoded)
    first, _ = adversary.judge(decoded, original, ones)
    second, _ = adversary.judge(decoded, original, 3 * ones)
    expected = (0.999 * 1 + 3) / (0.999 + 1)  # the adversary's own gradient is the same in both
    assert float((second - 3 * ones).norm() / (first - ones).norm()) == pytest.approx(expected, rel=1e-3)


def test_the_push_makes_decoded_sound_pass_better(sounds):
    decoded, original = sounds
    adversary = Adversary(settings(channels=4, learning_rate=3e-3, weight=1.0, feature_weight=0.0), seed=0)
    for _ in range(20):
        adversary.learn(decoded, original)
    _, before = adversary.judge(decoded, original, torch.ones_like(decoded))
    push, _ = adversary.judge(decoded, original, torch.ones_like(decoded))
    moved = (decoded - 1e-3 * (push - 1)).detach().requires_grad_()
    _, after = adversary.judge(moved, original, torch.ones_like(decoded))
    assert after["adversarial"] < before["adversarial"]


def test_the_discriminators_lead_and_take_turns(sounds):
    """Alone for four steps, then with growing weights for four, and learning in every second of all of them."""
    decoded, original = sounds
    adversary = Adversary(
        settings(from_step=10, lead_steps=4, every=2, weight=1, feature_weight=0, learning_rate=1e-9), seed=0
    )
    ones = torch.ones_like(decoded)
    told = [adversary.step(decoded, original, ones, step) for step in range(10, 20)]
    assert ["discriminator" in losses for _, losses in told] == [True, False] * 5
    assert ["adversarial" in losses for _, losses in told] == [False] * 4 + [True] * 6
    pushes = [float((gradient - 1).norm(dim=2).mean() / ones.norm(dim=2).mean()) for gradient, _ in told]
    assert pushes == pytest.approx([0, 0, 0, 0, 0.25, 0.5, 0.75, 1, 1, 1], rel=1e-3)
    at_once = Adversary(settings(lead_steps=0), seed=0)
    assert not torch.equal(at_once.step(decoded, original, ones, 0)[0], ones)


def test_an_adversary_follows_from_its_seed_and_leaves_the_global_generator_alone():
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    first, second, third = (Adversary(settings(), seed=seed).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.rand(3), expected)
    assert same(first, second)
    assert not same(first, third)


@pytest.fixture(scope="module")
def audio(tmp_path_factory) -> Path:
    return write_audio(tmp_path_factory.mktemp("audio"))


@pytest.fixture(scope="module")
def trained(audio, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("trained")
    train_codec(tiny(audio, output, adversarial={"from_step": 3, **SMALL}))
    return output


def test_training_twice_gives_the_same_losses_and_discriminators(audio, trained, tmp_path):
    train_codec(tiny(audio, tmp_path, adversarial={"from_step": 3, **SMALL}))
    assert same(weights(tmp_path), weights(trained))
    assert log(tmp_path) == log(trained)
    assert float(log(trained)[-1]["discriminator"]) == pytest.approx(2, abs=0.5)
    assert float(log(trained)[-1]["adversarial"]) == pytest.approx(1, abs=0.5)


@pytest.mark.parametrize(("step", "bfloat16"), [(2, False), (4, False), (5, True)])
def test_a_run_stopped_before_or_in_the_phase_resumes_bit_for_bit(audio, trained, tmp_path, step, bfloat16):
    phase = {"from_step": 3, **SMALL}
    stop_at(step, tiny(audio, tmp_path / "a", adversarial=phase, bfloat16=bfloat16))
    train_codec(tiny(audio, tmp_path / "a", adversarial=phase, bfloat16=bfloat16))
    whole = trained
    if bfloat16:
        train_codec(tiny(audio, whole := tmp_path / "b", adversarial=phase, bfloat16=True))
        assert not same(weights(whole), weights(trained))
    assert same(weights(tmp_path / "a"), weights(whole))
    assert log(tmp_path / "a") == log(whole)


def test_until_the_discriminators_judge_the_codec_learns_as_without_them(audio, tmp_path):
    found = {}
    for name, phase in (("off", None), ("led", {"from_step": 5, **SMALL}), ("on", {"from_step": 4, **SMALL})):
        train_codec(tiny(audio, tmp_path / name, adversarial=phase))
        found[name] = weights(tmp_path / name)
    codec = {name: {k: v for k, v in w.items() if not k.startswith("adversary")} for name, w in found.items()}
    assert codec["off"].keys() == found["off"].keys()  # off by default: nothing is kept
    assert same(codec["off"], codec["led"])
    assert not same(codec["off"], codec["on"])


def test_a_phase_can_be_added_to_a_run_before_it_begins(audio, trained, tmp_path):
    stop_at(3, tiny(audio, tmp_path))
    train_codec(tiny(audio, tmp_path, adversarial={"from_step": 3, **SMALL}))
    assert same(weights(tmp_path), weights(trained))


def test_a_phase_that_should_have_begun_or_was_another_is_refused(audio, tmp_path):
    stop_at(2, tiny(audio, tmp_path / "without"))
    with pytest.raises(CheckpointError, match=r"from_step is 1, but .* at step 2 and has no adversary; set 2 or more"):
        train_codec(tiny(audio, tmp_path / "without", adversarial={"from_step": 1, **SMALL}))
    stop_at(2, tiny(audio, tmp_path / "with", adversarial={"from_step": 1, **SMALL}))
    for change in ({"channels": 4}, {"scales": (512,)}):
        with pytest.raises(CheckpointError, match="another adversary"):
            train_codec(tiny(audio, tmp_path / "with", adversarial={"from_step": 1, **SMALL, **change}))


def test_crops_shorter_than_a_discriminators_window_are_refused_when_the_settings_are_read():
    values = {"audio": "a", "output": "b", "crop_seconds": 0.05}
    with pytest.raises(InputError, match=r"^adversarial: scales go up to 2048 samples and crops have 1200; set"):
        CodecTrainingSettings.make(**values, adversarial={"from_step": 0})
    assert CodecTrainingSettings.make(**values, adversarial={"from_step": 0, "scales": (1024, 512)}).adversarial
    assert CodecTrainingSettings.make(**values).adversarial is None
