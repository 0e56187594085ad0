"""The schedule of a training run: how fast it learns, and what stands still when."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from giblet.codec.train import CodecTrainingConfig, train_codec
from giblet.errors import InputError
from tests.codec.training import same, stop_at, tiny, weights, write_audio


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
    assert [at.terms["lr"] for at in seen] == pytest.approx([1e-3] * 4 + cosine)


def test_a_run_that_is_never_annealed_is_refused():
    with pytest.raises(InputError, match=r"^steady_steps is 8: .* fewer than steps \(8\)"):
        CodecTrainingConfig.make(audio="a", output="b", steps=8, steady_steps=8)


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
