"""The schedule of a training run: how fast it learns, and what stands still when."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from giblet.codec.architecture import codebooks_of
from giblet.codec.quantizer import rvq_quantize
from giblet.codec.training import loop
from giblet.codec.training.data import find_audio
from giblet.codec.training.loop import CodecTrainingSettings, train_codec
from giblet.errors import InputError
from tests.codec.training.runs import same, stop_at, tiny, weights, write_audio


@pytest.fixture(scope="module")
def audio(tmp_path_factory) -> Path:
    return write_audio(tmp_path_factory.mktemp("audio"))


def test_the_rate_is_steady_and_then_a_cosine(audio, tmp_path):
    seen = []
    config = tiny(
        audio,
        tmp_path,
        steady_steps=4,
        warmup_steps=1,
        learning_rate=1e-3,
        final_learning_rate=1e-4,
        validation_clips=0,
    )
    train_codec(config, seen.append)
    cosine = [1e-4 + 9e-4 * (1 + math.cos(math.pi * k / 4)) / 2 for k in range(4)]
    assert [at.losses["lr"] for at in seen] == pytest.approx([1e-3] * 4 + cosine)


def test_a_run_that_is_never_annealed_is_refused():
    with pytest.raises(InputError, match=r"^steady_steps is 8: .* fewer than steps \(8\)"):
        CodecTrainingSettings.make(audio="a", output="b", steps=8, steady_steps=8)


def test_the_encoder_stands_still_after_a_part_of_the_annealing_and_not_of_the_run(audio, tmp_path):
    config = tiny(audio, tmp_path, steady_steps=4, encoder_until=0.5, validation_clips=0)
    encoders = []
    for step in (5, 6, 7):
        stop_at(step, config)
        encoders.append({k: v for k, v in weights(tmp_path).items() if k.startswith("model.encoder.")})
    assert not same(encoders[0], encoders[1])
    assert same(encoders[1], encoders[2])


def test_the_encoder_can_stand_still_while_the_rest_learns(audio, tmp_path):
    train_codec(tiny(audio, tmp_path, steps=4))
    before = weights(tmp_path)
    train_codec(tiny(audio, tmp_path, steps=8, encoder_until=0.5))
    moved = {k.split(".")[1] for k, v in weights(tmp_path).items() if k[0] == "m" and not torch.equal(v, before[k])}
    assert moved == {"decoder", "quantizer"}


def learner(audio, tmp_path, **changes):
    config = tiny(audio, tmp_path, batch_size=4, crop_seconds=0.5, unquantized_steps=0, **changes)
    found = loop._Run(config, *find_audio(audio, config.held_out)).learner
    return found, found.step(0, 0.0)


def apart(one, other) -> float:
    """How far the gradients of two learners are from one another, relative to their length."""
    a, b = (torch.cat([p.grad.flatten() for p in each.parameters]) for each in (one, other))
    return float((a - b).norm() / b.norm())


def test_a_step_learns_what_transformers_layers_ask_for(audio, tmp_path):
    """Against one graph of transformers' own layers from the crops to the loss."""
    learnt, told = learner(audio, tmp_path, codebooks_per_step={2: 1})
    fresh = loop._Run(learnt.config, *find_audio(audio, learnt.config.held_out)).learner
    fresh._start_codebooks(torch.Generator().manual_seed(int(np.random.default_rng([0, 0, 1]).integers(2**62))))
    x = torch.from_numpy(fresh.sampler.batch(0, 4))
    z = fresh.model.encoder(x)
    quantized, indices = rvq_quantize(z.detach().transpose(1, 2), codebooks_of(fresh.model))
    books = [
        layer.codebook.embed[chosen]
        for layer, chosen in zip(fresh.model.quantizer.layers, indices.transpose(0, 1), strict=True)
    ]
    sums = torch.stack(books).cumsum(0).transpose(2, 3)
    commitment = torch.stack([torch.nn.functional.mse_loss(z, one) for one in sums]).mean()
    y = fresh.model.decoder(z + (quantized.transpose(1, 2) - z).detach())[..., : x.shape[-1]]
    terms = fresh.spectral(y, x)
    loss = sum(fresh._weight(key, 0) * value for key, value in terms.items()) + 0.25 * commitment
    loss.backward()
    assert told["loss"] == pytest.approx(float(loss.detach()), rel=1e-5)
    norm = torch.nn.utils.clip_grad_norm_(fresh.parameters, learnt.config.clip_gradient)
    assert told["gradient"] == pytest.approx(float(norm), rel=1e-4) and norm > learnt.config.clip_gradient
    assert apart(learnt, fresh) < 1e-4
