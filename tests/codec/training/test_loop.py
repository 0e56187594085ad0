"""Training: the same twice, the same after a stop, never on what is held out, and loadable by transformers."""

from __future__ import annotations

import csv
import json
import logging
import shutil
import signal
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
from safetensors.torch import load_file
from transformers import EncodecModel

from giblet.codec.network import build_config, build_model
from giblet.codec.training import loop, start
from giblet.codec.training.checkpoints import export_model, last_step, load_checkpoint
from giblet.codec.training.data import find_audio
from giblet.codec.training.loop import CodecTrainingSettings, train_codec
from giblet.codec.training.settings import LossWeights
from giblet.codec.training.start import transform_start, waken
from giblet.codec.training.validate import perplexity
from giblet.errors import CheckpointError, CodecError, InputError
from giblet.files import write_atomic
from giblet.sound_metrics import si_sdr
from tests.codec.training.runs import RATE, listening, log, same, speech_like, stop_at, tiny, weights, write_audio


@pytest.fixture(scope="module")
def audio(tmp_path_factory) -> Path:
    return write_audio(tmp_path_factory.mktemp("audio"))


@pytest.fixture(scope="module")
def trained(audio, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("trained")
    train_codec(tiny(audio, output))
    return output


def test_training_twice_from_one_seed_gives_the_same_weights_and_log(audio, trained, tmp_path):
    train_codec(tiny(audio, tmp_path))
    assert same(weights(tmp_path), weights(trained))
    assert log(tmp_path) == log(trained)
    assert [row["step"] for row in log(trained)] == ["4", "8"]


def test_another_seed_gives_other_weights(audio, trained, tmp_path):
    train_codec(tiny(audio, tmp_path, seed=1))
    assert not same(weights(tmp_path), weights(trained))


def test_a_killed_run_resumes_to_the_weights_of_an_uninterrupted_one(audio, trained, tmp_path):
    def killed(at):
        if at.step == 6:  # two steps after a checkpoint
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_codec(tiny(audio, tmp_path), killed)
    assert last_step(tmp_path / "checkpoints") == 4
    torch.rand(100)  # whatever the process did to the global generator must not matter
    train_codec(tiny(audio, tmp_path))
    assert same(weights(tmp_path), weights(trained))
    assert log(tmp_path) == log(trained)


@pytest.mark.parametrize("step", [1, 3, 8])
def test_ctrl_c_saves_the_step_it_comes_in_and_the_run_resumes_bit_for_bit(audio, trained, tmp_path, step):
    """Before the codebooks start, between two checkpoints, and in the last step."""
    stop_at(step, tiny(audio, tmp_path))
    assert last_step(tmp_path / "checkpoints") == step
    assert not (tmp_path / "final").exists()
    torch.rand(100)
    train_codec(tiny(audio, tmp_path))
    assert same(weights(tmp_path), weights(trained))
    assert log(tmp_path) == log(trained)


def test_a_second_ctrl_c_leaves_at_once(audio, tmp_path):
    def impatient(_):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("the run went on")

    with listening(), pytest.raises(KeyboardInterrupt):
        train_codec(tiny(audio, tmp_path), impatient)
    assert last_step(tmp_path / "checkpoints") is None


def test_a_run_outside_the_main_thread_trains_the_same(audio, trained, tmp_path):
    thread = threading.Thread(target=train_codec, args=(tiny(audio, tmp_path),))
    thread.start()
    thread.join()
    assert same(weights(tmp_path), weights(trained))


def test_progress_is_told_after_each_step(audio, tmp_path, caplog):
    seen = []
    with caplog.at_level(logging.INFO, logger="giblet.codec"):
        train_codec(tiny(audio, tmp_path, steps=5), seen.append)
    assert [(at.step, at.steps, at.done) for at in seen] == [(n, 5, n / 5) for n in range(1, 6)]
    assert set(seen[0].losses) == {
        "loss",
        "lr",
        "gradient",
        "mel",
        "magnitude",
        "complex",
        "compressed",
        "waveform",
        "commitment",
    }
    assert seen[0].means == seen[0].losses
    assert seen[4].means["loss"] == pytest.approx(
        0.98**4 * seen[0].losses["loss"] + sum(0.02 * 0.98 ** (4 - n) * seen[n].losses["loss"] for n in range(1, 5))
    )


def test_a_run_stopped_while_steady_follows_new_settings_as_if_begun_with_them(audio, tmp_path):
    stop_at(3, tiny(audio, tmp_path / "a", steps=1000, steady_steps=900))
    rates = {"a": [], "b": []}
    for name, told in rates.items():
        train_codec(
            tiny(audio, tmp_path / name, steady_steps=4, encoder_until=0.6),
            lambda at, t=told: t.append(at.losses["lr"]),
        )
    assert rates["a"] == rates["b"][3:]
    assert same(weights(tmp_path / "a"), weights(tmp_path / "b"))


def test_a_run_from_another_codec_begins_with_its_codes(audio, trained, tmp_path):
    config = tiny(audio, tmp_path, start_from=trained / "final", seed=5)
    begun = loop._Run(config, *find_audio(audio, config.held_out)).model.eval()
    x = torch.from_numpy(speech_like(1, 9))[None, None]
    oracle = EncodecModel.from_pretrained(trained / "final").eval()
    kbps = oracle.config.target_bandwidths[-1]
    codes = [model.encode(x, None, bandwidth=kbps).audio_codes for model in (begun, oracle)]
    assert torch.equal(*codes)
    assert codes[0].unique().numel() > 2
    untrained = build_model(build_config(2, 16, 16, num_filters=2, num_lstm_layers=1)).eval()
    assert not torch.equal(untrained.encode(x, None, bandwidth=kbps).audio_codes, codes[1])


@pytest.mark.parametrize(("gain", "near"), [(start.BRANCH_GAIN, 0.25), (1e-5, 1e-3)])
def test_a_run_with_more_residual_layers_goes_on_from_the_sound_of_a_shallower_codec(
    gain, near, audio, trained, tmp_path, monkeypatch
):
    """What random weights of the new layers add grows with the gain of their branches, and is nothing without one."""
    monkeypatch.setattr(start, "BRANCH_GAIN", gain)
    config = tiny(audio, tmp_path, start_from=trained / "final", num_residual_layers=3)
    begun = loop._Run(config, *find_audio(audio, config.held_out)).model.eval()
    untouched = build_model(begun.config).eval()
    shallow = EncodecModel.from_pretrained(trained / "final").eval()
    assert len(begun.encoder.layers) == len(shallow.encoder.layers) + 4 * 2
    x = torch.from_numpy(speech_like(1, 9))[None, None]
    with torch.no_grad():
        latents = shallow.encoder(x)
        for half, given in (("encoder", x), ("decoder", latents)):
            expected, found, random = (getattr(m, half)(given) for m in (shallow, begun, untouched))
            assert (found - expected).norm() < near * expected.norm()
            assert (random - expected).norm() > 0.5 * expected.norm()
    train_codec(config)
    assert EncodecModel.from_pretrained(tmp_path / "final").config.num_residual_layers == 3


def test_a_run_from_another_codec_uses_its_codebooks_from_the_first_step(audio, trained, tmp_path):
    seen = []
    train_codec(tiny(audio, tmp_path, start_from=trained / "final", steps=1, unquantized_steps=50), seen.append)
    assert seen[0].losses["commitment"] > 0


def test_a_codec_that_cannot_be_started_from_is_one_line(audio, trained, tmp_path):
    deeper = tmp_path / "deeper"
    export_model(build_model(build_config(2, 16, 16, RATE, 2, 1, num_residual_layers=2)), deeper)
    for folder, changes, message in (
        (
            trained / "final",
            {"num_filters": 4},
            "another architecture; set start_from to a codec with the same num_filters",
        ),
        (trained / "final", {"codebook_size": 32}, "another architecture"),
        (trained / "final", {"num_codebooks": 4, "codebooks_per_step": {4: 1}}, "another architecture"),
        (Path("bundled"), {}, "another architecture"),
        (deeper, {}, "another architecture.*no more num_residual_layers"),
        (tmp_path / "absent", {}, "absent.*there is no such folder"),
        (trained / "samples", {}, "samples' lacks config.json and model.safetensors"),
    ):
        with pytest.raises((CheckpointError, CodecError), match=message) as caught:
            train_codec(tiny(audio, tmp_path / "run", start_from=folder, **changes))
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_the_final_model_loads_in_transformers_with_every_weight(trained):
    model, report = EncodecModel.from_pretrained(trained / "final", output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    expected = {k.removeprefix("model."): v for k, v in weights(trained).items() if k.startswith("model.")}
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=1e-3, atol=1e-4)
    codes = model.eval().encode(torch.zeros(1, 1, 6400), None, bandwidth=model.config.target_bandwidths[-1]).audio_codes
    assert codes.shape == (1, 1, 2, 20)


def test_half_precision_halves_the_file(trained):
    half = (trained / "final" / "model.safetensors").stat().st_size
    full = sum(v.numel() * 4 for k, v in weights(trained).items() if k.startswith("model."))
    assert half < 0.75 * full + 20_000


def test_a_run_leaves_samples_and_its_settings(trained):
    assert sorted(p.name for p in (trained / "samples").iterdir()) == ["3-a_decoded.wav", "3-a_original.wav"]
    assert CodecTrainingSettings.from_yaml(trained / "training.yaml").steps == 8
    assert not list(trained.rglob(".*"))  # no temporary file left
    assert {p.suffix for p in trained.rglob("*") if p.is_file()} == {".safetensors", ".json", ".wav", ".yaml", ".csv"}


def test_held_out_names_are_logged(audio, tmp_path, caplog):
    with caplog.at_level(logging.INFO, logger="giblet.codec"):
        train_codec(tiny(audio, tmp_path, steps=1, validation_clips=0))
    assert "held out: 3-a.flac" in caplog.text


def test_a_checkpoint_of_another_architecture_is_refused(audio, trained, tmp_path):
    write_atomic(
        tmp_path / "checkpoints" / "step-00000008.json", next((trained / "checkpoints").glob("*8.json")).read_bytes()
    )
    write_atomic(
        tmp_path / "checkpoints" / "step-00000008.safetensors",
        next((trained / "checkpoints").glob("*8.safetensors")).read_bytes(),
    )
    with pytest.raises(CheckpointError, match="another architecture"):
        train_codec(tiny(audio, tmp_path, num_filters=4))


def test_a_damaged_checkpoint_is_named(trained, tmp_path):
    write_atomic(tmp_path / "step-00000008.json", next((trained / "checkpoints").glob("*8.json")).read_bytes())
    write_atomic(tmp_path / "step-00000008.safetensors", b"half a file")
    with pytest.raises(CheckpointError, match=r"cannot read .*8\.safetensors .*: delete .*step-00000008\.json"):
        load_checkpoint(tmp_path)
    write_atomic(tmp_path / "step-00000008.json", json.dumps({"format": "other"}).encode())
    with pytest.raises(CheckpointError, match="format 'other'"):
        load_checkpoint(tmp_path)


def test_the_transform_start_reproduces_the_waveform_before_any_step():
    x = np.stack([speech_like(1, seed) for seed in range(12)])[:, None]
    torch.manual_seed(0)
    model = build_model(build_config(2, 16, 32, num_filters=8, num_lstm_layers=1)).eval()
    with torch.no_grad():
        random = model.decoder(model.encoder(torch.from_numpy(x[8:])))
    assert max(si_sdr(t[0], y[0].numpy()) for y, t in zip(random, x[8:], strict=True)) < 0
    transform_start(model, torch.from_numpy(x[:8]))
    with torch.no_grad():
        decoded = model.decoder(model.encoder(torch.from_numpy(x[8:])))
    assert min(si_sdr(t[0], y[0].numpy()) for y, t in zip(decoded, x[8:], strict=True)) > 8


def test_waking_gives_hidden_units_unit_variance_and_lstms_something_to_hear_and_leaves_the_sound_nearly_as_it_was():
    torch.manual_seed(0)
    x = torch.from_numpy(np.stack([speech_like(0.4, s) for s in range(8)]))[:, None]
    model = build_model(build_config(2, 16, 32, num_filters=8, num_lstm_layers=1, num_residual_layers=2)).eval()
    transform_start(model, x)
    heard: dict[int, torch.Tensor] = {}
    loudest: dict[int, float] = {}
    blocks = [layer for half in (model.encoder, model.decoder) for layer in half.layers if hasattr(layer, "block")]
    assert len(blocks) == 16
    for i, block in enumerate(blocks):
        block.block[1].register_forward_hook(lambda module, _, output, i=i: heard.update({i: output}))
    lstms = [layer for half in (model.encoder, model.decoder) for layer in half.layers if hasattr(layer, "lstm")]
    for i, layer in enumerate(lstms):
        layer.register_forward_hook(
            lambda module, given, _, i=i: loudest.update({i: float(given[0].std((0, 2)).max())})
        )
    with torch.no_grad():
        latents = model.encoder(x)
        before = model.decoder(latents)
        assert max(float(units.std((0, 2)).max()) for units in heard.values()) < 0.2
        waken(model, x)
        after = model.decoder(model.encoder(x))
    for units in heard.values():
        torch.testing.assert_close(units.std((0, 2)), torch.ones(units.shape[1]), atol=1e-2, rtol=0)
        torch.testing.assert_close(units.mean((0, 2)), torch.zeros(units.shape[1]), atol=1e-2, rtol=0)
    assert list(loudest.values()) == pytest.approx([0.1, 0.1], rel=0.02)
    assert (after - before).norm() < 0.1 * before.norm()
    for block in blocks:
        directions = block.block[3].conv.parametrizations.weight.original1
        torch.testing.assert_close(directions.flatten(1).norm(dim=1), torch.ones(len(directions)))


def test_a_run_that_wakes_units_resumes_and_does_not_wake_them_again(audio, tmp_path):
    changes = {"waken": True}
    train_codec(tiny(audio, tmp_path / "whole", **changes))
    stop_at(5, tiny(audio, tmp_path / "stopped", **changes))
    train_codec(tiny(audio, tmp_path / "stopped", **changes))
    assert same(weights(tmp_path / "stopped"), weights(tmp_path / "whole"))
    train_codec(tiny(audio, tmp_path / "asleep"))
    assert not same(weights(tmp_path / "asleep"), weights(tmp_path / "whole"))


def test_unknown_settings_and_values_out_of_range_are_one_clear_line(tmp_path):
    (tmp_path / "c.yaml").write_text("audio: a\noutput: b\nbatchsize: 4\nmax_share: 2\n")
    with pytest.raises(InputError, match=r"max_share is 2: .*no option batchsize; did you mean batch_size") as caught:
        CodecTrainingSettings.from_yaml(tmp_path / "c.yaml")
    assert "\n" not in str(caught.value)


def test_every_codebook_learns_whatever_their_number(audio, tmp_path):
    assert tiny(audio, tmp_path).codebooks_per_step == {1: 1, 2: 1}
    for n, steps in (
        (1, {1: 4}),
        (2, {2: 4}),
        (3, {2: 1, 3: 4}),
        (8, {2: 1, 4: 1, 8: 4}),
        (16, {2: 1, 4: 1, 8: 1, 16: 4}),
    ):
        config = CodecTrainingSettings(audio=audio, output=tmp_path, num_codebooks=n)
        assert config.codebooks_per_step == steps
    for wrong in ({}, {1: 1}, {1: 1, 2: 0}, {2: 1, 3: 1}):
        with pytest.raises(ValueError, match="must use all 2 codebooks"):
            tiny(audio, tmp_path, codebooks_per_step=wrong)
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        tiny(audio, tmp_path, codebooks_per_step={0: 1, 2: 1})
    train_codec(tiny(audio, tmp_path / "five", num_codebooks=5, codebooks_per_step={2: 1, 5: 4}))
    before, after = (load_file(tmp_path / f"five/checkpoints/step-{n:08d}.safetensors") for n in (4, 8))
    for k in range(5):
        name = f"model.quantizer.layers.{k}.codebook.embed"
        assert not torch.equal(before[name], after[name])


def test_crops_too_short_for_a_loss_are_refused_before_anything_is_read(audio, tmp_path):
    tiny(audio, tmp_path, crop_seconds=0.4, loss_weights={"envelope": 1})
    with pytest.raises(ValueError, match=r"crop_seconds is 0\.3: these losses need at least 0\.397 s"):
        tiny(audio, tmp_path, crop_seconds=0.3, loss_weights={"envelope": 1})
    with pytest.raises(ValueError, match=r"crop_seconds is 0\.04: these losses need at least 0\.0427 s"):
        tiny(audio, tmp_path, crop_seconds=0.04, loss_weights={})


def test_the_envelope_loss_is_learnt_from(audio, tmp_path):
    seen = []
    config = tiny(audio, tmp_path, crop_seconds=0.5, loss_weights={"envelope": 5.0}, steps=1)
    train_codec(config, seen.append)
    terms = seen[0].losses
    weights = {term: weight for term, weight in config.loss_weights.model_dump().items() if weight}
    ramp = {"mel": 0.2, "magnitude": 0.2}
    assert 0 < terms["envelope"] < 2
    assert terms["loss"] == pytest.approx(sum(weights[k] * ramp.get(k, 1) * terms[k] for k in weights), rel=1e-5)


def test_the_probe_is_learnt_with_and_resumed_and_not_exported(audio, tmp_path):
    changes = {"loss_weights": {"probe": 5.0}}
    train_codec(tiny(audio, tmp_path / "whole", **changes))
    stop_at(5, tiny(audio, tmp_path / "stopped", **changes))
    before = weights(tmp_path / "stopped")
    train_codec(tiny(audio, tmp_path / "stopped", **changes))
    assert same(weights(tmp_path / "stopped"), weights(tmp_path / "whole"))
    assert not torch.equal(before["probe.read.weight"], weights(tmp_path / "whole")["probe.read.weight"])
    assert all(float(row["probe"]) > 0 for row in log(tmp_path / "whole"))
    assert not any("probe" in name for name in load_file(tmp_path / "whole" / "final" / "model.safetensors"))


def test_held_out_clips_that_cannot_be_scored_are_named_and_left_out(audio, tmp_path, caplog):
    for name, sound in (("4-short.flac", speech_like(0.1, 4)), ("5-silent.flac", np.zeros(RATE, np.float32))):
        sf.write(audio / "speech" / name, sound, RATE)
    try:
        train_codec(tiny(audio, tmp_path, held_out=["3-*", "4-*", "5-*"], validation_clips=3))
    finally:
        for name in ("4-short.flac", "5-silent.flac"):
            (audio / "speech" / name).unlink()
    assert "4-short.flac is held out and not scored: it is shorter than 0.5 s" in caplog.text
    assert "5-silent.flac is held out and not scored: its first 0.5 s are silent" in caplog.text
    assert all(float(row["si_sdr"]) > -60 for row in log(tmp_path))


def test_a_run_is_not_called_trained_by_lowering_its_steps(audio, trained, tmp_path):
    shutil.copytree(trained, tmp_path / "run")
    with pytest.raises(CheckpointError, match="is at step 8 and steps is 6: set at least as many"):
        train_codec(tiny(audio, tmp_path / "run", steps=6))


def test_every_option_is_explained_in_the_docs():
    page = (Path(__file__).parents[3] / "docs/codec_training.md").read_text(encoding="utf-8")
    missing = [
        name for name in (*CodecTrainingSettings.model_fields, *LossWeights.model_fields) if f"`{name}`" not in page
    ]
    assert not missing


def test_perplexity_is_the_number_of_entries_in_even_use():
    even = torch.stack([torch.arange(64) % 16, torch.zeros(64, dtype=torch.long)])
    assert perplexity(even, 16) == pytest.approx([16, 1])


@pytest.mark.slow
def test_training_lowers_the_loss_on_held_out_sound(audio, tmp_path):
    train_codec(tiny(audio, tmp_path, steps=400, validate_every=50, checkpoint_every=400, num_filters=4, batch_size=4))
    rows = list(csv.DictReader((tmp_path / "log.csv").open()))
    assert float(rows[-1]["mel"]) < float(rows[0]["mel"])


def test_a_checkpoint_holds_tensors_only(trained):
    for path in (trained / "checkpoints").glob("*.safetensors"):
        assert load_file(path)
