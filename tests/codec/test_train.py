"""Training: the same twice, the same after a stop, never on what is held out, and loadable by transformers."""

from __future__ import annotations

import csv
import json
import logging
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
from safetensors.torch import load_file
from transformers import EncodecModel

from giblet.codec.checkpoints import load_checkpoint, write_atomic
from giblet.codec.encodec import build_config, build_model
from giblet.codec.start import transform_start
from giblet.codec.train import CodecTrainingConfig, train_codec
from giblet.codec.training_data import CropSampler, balance, find_clips
from giblet.codec.validate import perplexity, si_sdr
from giblet.errors import CheckpointError, InputError

RATE = 24_000


def speech_like(seconds: float, seed: int) -> np.ndarray:
    """Low-pass noise in bursts."""
    rng = np.random.default_rng(seed)
    x = np.cumsum(rng.normal(size=int(seconds * RATE))) * 0.01
    x -= np.convolve(x, np.ones(500) / 500, mode="same")
    return (0.3 * x / np.abs(x).max() * (1 + np.sin(np.arange(len(x)) / 3000))).astype(np.float32)


@pytest.fixture(scope="module")
def audio(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("audio")
    for name, rate, n in (
        ("speech/1-a.flac", 16_000, 3),
        ("speech/2-a.flac", RATE, 2),
        ("speech/3-a.flac", RATE, 2),
        ("music/song.wav", RATE, 2),
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        sf.write(folder / name, speech_like(n, len(name) + n)[: n * rate], rate)
    (folder / "manifest.csv").write_text(
        "file,dataset,seconds\naudio/speech/1-a.flac,reading,3\naudio/speech/2-a.flac,reading,2\n"
    )
    return folder


def tiny(audio: Path, output: Path, **changes) -> CodecTrainingConfig:
    settings = {
        "num_codebooks": 2, "codebook_size": 16, "hidden_dim": 16, "num_filters": 2, "num_lstm_layers": 1,
        "batch_size": 2, "crop_seconds": 0.1, "steps": 8, "unquantised_steps": 2, "warmup_steps": 2,
        "codebooks_per_step": {1: 1, 2: 1}, "checkpoint_every": 4, "validate_every": 4, "validation_clips": 1,
        "validation_seconds": 0.5, "held_out": ["3-*.flac"], "threads": None,
    }  # fmt: skip
    return CodecTrainingConfig.model_validate({"audio": audio, "output": output, **settings, **changes})


def weights(folder: Path) -> dict[str, torch.Tensor]:
    found = load_checkpoint(folder / "checkpoints")
    assert found is not None
    return found[0]


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.fixture(scope="module")
def trained(audio, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("trained")
    train_codec(tiny(audio, output))
    return output


def test_training_twice_from_one_seed_gives_the_same_weights_and_log(audio, trained, tmp_path):
    train_codec(tiny(audio, tmp_path))
    assert same(weights(tmp_path), weights(trained))
    rows = [
        [{k: v for k, v in row.items() if k != "minutes"} for row in csv.DictReader((out / "log.csv").open())]
        for out in (tmp_path, trained)
    ]
    assert rows[0] == rows[1]
    assert [row["step"] for row in rows[0]] == ["4", "8"]


def test_another_seed_gives_other_weights(audio, trained, tmp_path):
    train_codec(tiny(audio, tmp_path, seed=1))
    assert not same(weights(tmp_path), weights(trained))


def test_a_killed_run_resumes_to_the_weights_of_an_uninterrupted_one(audio, trained, tmp_path, monkeypatch):
    from giblet.codec import train

    step = train._Run._one_step

    def killed(self, progress):
        if self.step == 6:
            raise KeyboardInterrupt
        return step(self, progress)

    monkeypatch.setattr(train._Run, "_one_step", killed)
    with pytest.raises(KeyboardInterrupt):
        train_codec(tiny(audio, tmp_path))
    monkeypatch.undo()
    torch.rand(100)  # whatever the process did to the global generator must not matter
    train_codec(tiny(audio, tmp_path))
    assert same(weights(tmp_path), weights(trained))


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
    assert CodecTrainingConfig.from_yaml(trained / "training.yaml").steps == 8
    assert not list(trained.rglob(".*"))  # no temporary file left
    assert {p.suffix for p in trained.rglob("*") if p.is_file()} == {".safetensors", ".json", ".wav", ".yaml", ".csv"}


def test_the_encoder_can_stand_still_while_the_rest_learns(audio, trained, tmp_path):
    train_codec(tiny(audio, tmp_path, steps=4))
    before = weights(tmp_path)
    train_codec(tiny(audio, tmp_path, steps=8, encoder_until=0.5))
    moved = {k.split(".")[1] for k, v in weights(tmp_path).items() if k[0] == "m" and not torch.equal(v, before[k])}
    assert moved == {"decoder", "quantizer"}


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
    with pytest.raises(CheckpointError, match=r"step-00000008\.json cannot be read"):
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


def test_batches_depend_on_seed_and_step_alone(audio):
    clips, _ = find_clips(audio, [])
    cached = CropSampler(clips, RATE, 4800, seed=3)
    assert np.array_equal(cached.batch(5, 4), CropSampler(clips, RATE, 4800, seed=3).batch(5, 4))
    assert not np.array_equal(cached.batch(5, 4), cached.batch(6, 4))
    peaks = np.abs(cached.batch(0, 64)).max((1, 2))
    assert peaks.min() > 0.05 and peaks.max() <= 1 and peaks.std() > 0.1


def test_sound_past_the_cache_is_read_from_disk(audio):
    clips, _ = find_clips(audio, ["1-*.flac"])  # the rest needs no resampling, whose edges would differ
    cached, streamed = CropSampler(clips, RATE, 4800), CropSampler(clips, RATE, 4800, cache_mb=0)
    assert not streamed._cache
    for ours, theirs in zip(streamed.batch(0, 8), cached.batch(0, 8), strict=True):
        assert (
            np.abs(ours - theirs).max() < 1e-3
            or si_sdr(theirs[0], np.roll(ours[0], 1)) > 30
            or si_sdr(theirs[0], np.roll(ours[0], -1)) > 30
        )


def test_held_out_files_are_never_among_those_trained_on(audio):
    training, kept = find_clips(audio, ["3-*.flac", "song.wav"])
    assert [c.path.name for c in kept] == ["song.wav", "3-a.flac"]
    assert [(c.path.name, c.dataset) for c in training] == [("1-a.flac", "reading"), ("2-a.flac", "reading")]


def test_a_pattern_that_matches_nothing_is_an_error(audio):
    with pytest.raises(InputError, match=r"4-\*"):
        find_clips(audio, ["4-*.flac"])
    with pytest.raises(InputError, match="nothing to train on"):
        find_clips(audio, ["*"])
    with pytest.raises(InputError, match="no folder"):
        find_clips(audio / "absent", [])


def test_no_data_set_takes_more_than_its_cap():
    shares = balance({"one speaker": 900, "a": 60, "b": 40}, 1 / 3, {})
    assert shares == pytest.approx({"one speaker": 1 / 3, "a": 1 / 3, "b": 1 / 3})
    assert balance({"big": 500, "a": 300, "b": 200}, 0.4, {}) == pytest.approx({"big": 0.4, "a": 0.36, "b": 0.24})
    assert balance({"a": 100, "b": 100}, 1, {"a": 3}) == pytest.approx({"a": 0.75, "b": 0.25})
    with pytest.raises(InputError, match="typo"):
        balance({"a": 1}, 1, {"typo": 2})


def test_unknown_settings_and_values_out_of_range_are_one_clear_line(tmp_path):
    (tmp_path / "c.yaml").write_text("audio: a\noutput: b\nbatchsize: 4\nmax_share: 2\n")
    with pytest.raises(InputError, match=r"max_share is 2: .*no option batchsize; did you mean batch_size") as caught:
        CodecTrainingConfig.from_yaml(tmp_path / "c.yaml")
    assert "\n" not in str(caught.value)


def test_the_bundled_configuration_is_valid_and_holds_out_26_speakers_and_two_pieces():
    config = CodecTrainingConfig.from_yaml(Path(__file__).parents[2] / "configs/codec/bundled.yaml")
    assert len(config.held_out) == 28
    assert sum(p[0].isdigit() for p in config.held_out) == 26


def test_scores_have_their_analytic_values():
    x = speech_like(1, 0)
    noise = np.random.default_rng(1).normal(size=len(x)).astype(np.float32)
    noise -= (noise @ x) / (x @ x) * x
    noise *= np.linalg.norm(x) / np.linalg.norm(noise) / 10
    assert si_sdr(x, 3 * (x + noise)) == pytest.approx(20, abs=0.01)
    assert perplexity(torch.stack([torch.arange(64) % 16, torch.zeros(64, dtype=torch.long)]), 16) == pytest.approx(
        [16, 1]
    )


@pytest.mark.slow
def test_training_lowers_the_loss_on_held_out_sound(audio, tmp_path):
    train_codec(tiny(audio, tmp_path, steps=400, validate_every=50, checkpoint_every=400, num_filters=4, batch_size=4))
    rows = list(csv.DictReader((tmp_path / "log.csv").open()))
    assert float(rows[-1]["mel"]) < float(rows[0]["mel"])


def test_a_checkpoint_holds_tensors_only(trained):
    for path in (trained / "checkpoints").glob("*.safetensors"):
        assert load_file(path)
