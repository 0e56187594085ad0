"""Speed of speech models' features: the part ``speech`` of features_speed.py, which runs it.

A model of the size of wav2vec2-base and one of whisper-base, with weights drawn at random from their configurations,
hear 8 s before each TR of 1.5 s; the layer is the one in the middle, which giblet chooses by itself. Beside it stands
what scripts do: a call of transformers for each window.
"""

from __future__ import annotations

import argparse
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ratios import Ratio, agree, in_turns

if TYPE_CHECKING:
    from giblet.data.speech import SpeechProcessor

RATE, TR, CONTEXT = 16_000, 1.5, 8.0
"""The first six windows grow, and are computed one by one; batches of those that are equally long follow."""
TOLERANCE = 1e-4
PLAIN = "a call of transformers for each window"


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

    def vectors(self, sound: np.ndarray, layer: int, n_trs: int) -> np.ndarray:
        """Of each TR the mean over the positions that lie in it, (n_trs, dim)."""
        import torch

        found = []
        for k in range(n_trs):
            begin, stop = round(k * TR * RATE), round((k + 1) * TR * RATE)
            start = max(0, begin - round(CONTEXT * RATE))
            given = self.extractor(sound[start:stop], sampling_rate=RATE, return_tensors="pt")
            name = "input_features" if self.whisper else "input_values"
            with torch.inference_mode():
                made = self.encoder(given[name], output_hidden_states=True).hidden_states[layer][0].numpy()
            at = start / RATE + 0.02 * np.arange(len(made)) + (0 if self.whisper else 0.0125) + 1e-9
            found.append(made[(at >= begin / RATE) & (at < stop / RATE)].mean(axis=0))
        return np.stack(found)


def speech(options: argparse.Namespace) -> list[Ratio]:
    """Vectors of two speech models, by TR."""
    from giblet.data.speech import SpeechProcessor

    rng = np.random.default_rng(0)
    at = np.arange(round(options.windows * TR * RATE)) / RATE
    sound = (0.1 * rng.standard_normal(len(at)) * (0.5 + 0.5 * np.sin(2 * np.pi * 0.7 * at))).astype(np.float32)
    found = []
    for family in ("wav2vec2", "whisper"):
        with tempfile.TemporaryDirectory() as folder:
            path = saved(Path(folder), family)
            plain, own = Plain(path), SpeechProcessor(str(path), tr=TR, context=CONTEXT, device="cpu")
        jobs = {
            PLAIN: partial(plain.vectors, sound, own.layers[0], options.windows),
            "giblet": partial(_own_vectors, own, sound),
        }
        turns = in_turns(jobs, options.repeats, warm_up=False)
        expected, ours = turns.result(PLAIN), turns.result("giblet")
        what = f"{family}, layer {own.layers[0]}, {options.windows} windows of {CONTEXT:g} s"
        agree(
            f"{what}, share of the greatest", float(np.abs(ours - expected).max() / np.abs(expected).max()), TOLERANCE
        )
        found.append(turns.ratio("giblet", PLAIN, what=what, at_least=1.0))
    return found


def _own_vectors(processor: SpeechProcessor, sound: np.ndarray) -> np.ndarray:
    return np.stack(list(processor.vectors(iter([sound]))))[:, 0]
