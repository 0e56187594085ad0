"""Speed of speech models' features: the part ``speech`` of features_speed.py, which runs it.

A model of the size of wav2vec2-base and one of whisper-base, with weights drawn at random from their configurations,
hear 8 s before each TR of 1.5 s; the layer is the one in the middle, which giblet chooses by itself. Beside it stands
what scripts do: a call of transformers for each window.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

RATE, TR, CONTEXT, N_TRS = 16_000, 1.5, 8.0, 14
"""The first six windows grow, and are computed one by one; a batch of eight that are equally long follows."""
TOLERANCE = 1e-4


def saved(folder: Path, family: str) -> Path:
    """A folder with a model of random weights, as transformers saves it."""
    import torch
    import transformers

    torch.manual_seed(0)
    if family == "whisper":
        config = transformers.WhisperConfig(
            d_model=512,
            encoder_layers=6,
            encoder_attention_heads=8,
            encoder_ffn_dim=2048,
            decoder_layers=1,
            decoder_attention_heads=8,
        )
        transformers.WhisperModel(config).save_pretrained(folder)
        transformers.WhisperFeatureExtractor().save_pretrained(folder)
    else:
        transformers.Wav2Vec2Model(transformers.Wav2Vec2Config()).save_pretrained(folder)
        transformers.Wav2Vec2FeatureExtractor().save_pretrained(folder)
    return folder


class Plain:
    """What scripts do: the model of transformers, and a call of it for each window."""

    def __init__(self, folder: Path) -> None:
        import transformers

        model: Any = transformers.AutoModel.from_pretrained(folder).eval()
        self.extractor = transformers.AutoFeatureExtractor.from_pretrained(folder)
        self.whisper = hasattr(model, "decoder")
        self.encoder = model.get_encoder() if self.whisper else model

    def vectors(self, sound: np.ndarray, layer: int) -> np.ndarray:
        """Of each TR the mean over the positions that lie in it, (n_trs, dim)."""
        import torch

        found = []
        for k in range(N_TRS):
            begin, stop = round(k * TR * RATE), round((k + 1) * TR * RATE)
            start = max(0, begin - round(CONTEXT * RATE))
            given = self.extractor(sound[start:stop], sampling_rate=RATE, return_tensors="pt")
            name = "input_features" if self.whisper else "input_values"
            with torch.inference_mode():
                made = self.encoder(given[name], output_hidden_states=True).hidden_states[layer][0].numpy()
            at = start / RATE + 0.02 * np.arange(len(made)) + (0 if self.whisper else 0.0125) + 1e-9
            found.append(made[(at >= begin / RATE) & (at < stop / RATE)].mean(axis=0))
        return np.stack(found)


def speech(repeats: int) -> int:
    """Seconds of sound per second of both, and the greatest difference; 1 if giblet is slower or not the same."""
    from giblet.data.speech import SpeechProcessor

    rng = np.random.default_rng(0)
    at = np.arange(round(N_TRS * TR * RATE)) / RATE
    sound = (0.1 * rng.standard_normal(len(at)) * (0.5 + 0.5 * np.sin(2 * np.pi * 0.7 * at))).astype(np.float32)
    missed = 0
    for family in ("wav2vec2", "whisper"):
        with tempfile.TemporaryDirectory() as folder:
            path = saved(Path(folder), family)
            plain, own = Plain(path), SpeechProcessor(str(path), tr=TR, context=CONTEXT, device="cpu")
        took: dict[str, list[float]] = {"plain": [], "giblet": []}
        for _ in range(repeats):
            began = time.perf_counter()
            expected = plain.vectors(sound, own.layers[0])
            took["plain"].append(time.perf_counter() - began)
            began = time.perf_counter()
            found = np.stack(list(own.vectors(iter([sound]))))[:, 0]
            took["giblet"].append(time.perf_counter() - began)
        seconds = {name: median(one) for name, one in took.items()}
        difference = float(np.abs(found - expected).max() / np.abs(expected).max())
        ratio = seconds["plain"] / seconds["giblet"]
        print(f"{family}, layer {own.layers[0]} of {own.model.n_blocks}, {CONTEXT:g} s before each TR of {TR:g} s:")
        for name, one in seconds.items():
            print(f"  {name}: {1000 * one / N_TRS:.0f} ms per window, {N_TRS * TR / one:.1f} s of sound per second")
        print(f"  {ratio:.2f} times as fast; greatest difference, as a share of the greatest value: {difference:.1e}")
        missed |= int(ratio < 1 or difference > TOLERANCE)
    return missed
