"""Whisper models are loaded whole, in float32, and write what a plain call of transformers writes."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from giblet.data.words.alignment.dictation import Dictation
from giblet.data.words.alignment.stretch import SAMPLE_RATE
from giblet.errors import InputError

transformers = pytest.importorskip("transformers")

SPECIAL = ["<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|notimestamps|>"]


@pytest.fixture(scope="module")
def whisper(tmp_path_factory) -> Path:
    """A folder with a Whisper model of random weights, as ``save_pretrained`` leaves it."""
    folder = tmp_path_factory.mktemp("whisper")
    alphabet = [chr(c) for c in range(33, 127)] + ["Ġ"]
    vocabulary = {letter: k for k, letter in enumerate([*alphabet, *SPECIAL])}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    tokenizer = transformers.WhisperTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    features = transformers.WhisperFeatureExtractor(feature_size=80)
    transformers.WhisperProcessor(features, tokenizer).save_pretrained(folder)
    end, start = vocabulary["<|endoftext|>"], vocabulary["<|startoftranscript|>"]
    config = transformers.WhisperConfig(
        vocab_size=len(vocabulary), d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, max_target_positions=24,
        decoder_start_token_id=start, eos_token_id=end, pad_token_id=end, bos_token_id=end, init_std=1.0,
        suppress_tokens=None, begin_suppress_tokens=None,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.WhisperForConditionalGeneration(config)
    model.generation_config.max_length = 24
    model.generation_config.suppress_tokens = model.generation_config.begin_suppress_tokens = None
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    return np.random.default_rng(0).normal(size=34 * SAMPLE_RATE).astype(np.float32) * 0.1


def test_what_is_written_is_what_a_plain_call_writes_for_each_window(whisper, noise):
    noise[25 * SAMPLE_RATE : round(25.4 * SAMPLE_RATE)] = 0  # so that it is known where the first window ends
    told = []
    written = Dictation(str(whisper), device="cpu").write([noise], progress=lambda *given: told.append(given), total=34)
    processor = transformers.WhisperProcessor.from_pretrained(whisper)
    model = transformers.WhisperForConditionalGeneration.from_pretrained(whisper).eval()
    cut = round(told[0][0] * SAMPLE_RATE)
    assert 25 < told[0][0] < 25.4 and told[-1] == (34.0, 34)
    lines = []
    for part in (noise[:cut], noise[cut:]):
        given = processor(part, sampling_rate=SAMPLE_RATE, return_tensors="pt", return_attention_mask=True)
        tokens = model.generate(given.input_features, attention_mask=given.attention_mask)
        lines.append(processor.batch_decode(tokens, skip_special_tokens=True)[0].strip())
    assert written == "\n".join(line for line in lines if line)
    assert written


def test_half_precision_is_computed_in_float32(whisper, tmp_path, noise, caplog):
    folder = tmp_path / "half"
    shutil.copytree(whisper, folder)
    model = transformers.WhisperForConditionalGeneration.from_pretrained(whisper)
    model.half().save_pretrained(folder)
    dictation = Dictation(str(folder), device="cpu")
    assert {p.dtype for p in dictation._model.parameters()} == {torch.float32}
    assert "was saved as float16: computed in float32" in caplog.text


def test_a_model_that_lacks_weights_or_is_of_another_family_is_refused(whisper, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "part"
    shutil.copytree(whisper, folder)
    weights = load_file(folder / "model.safetensors")
    weights.pop("model.encoder.conv1.weight")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"lacks 1 weights \(first model\.encoder\.conv1\.weight\)"):
        Dictation(str(folder))
    other = tmp_path / "bert"
    transformers.BertConfig(hidden_size=8).save_pretrained(other)
    with pytest.raises(InputError, match="is of the family 'bert'; words are written down by Whisper alone"):
        Dictation(str(other))
    with pytest.raises(InputError, match=r"cannot read speech model \./nowhere .*name a folder with a Whisper model"):
        Dictation("./nowhere")
