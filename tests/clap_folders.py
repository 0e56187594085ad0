"""A folder with a small CLAP model of random weights, as transformers saves it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers

SOUND: dict[str, Any] = {
    "hidden_size": 16, "patch_embeds_hidden_size": 8, "depths": [1, 1], "num_attention_heads": [1, 2],
    "num_mel_bins": 64, "spec_size": 256, "window_size": 8, "projection_dim": 12,
}  # fmt: skip
TEXT: dict[str, Any] = {
    "vocab_size": 32, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16,
    "projection_dim": 12,
}  # fmt: skip


def clap_folder(path: Path, *, fusion: bool = False) -> Path:
    """Save a model with its extractor.

    Parameters
    ----------
    path : Path
    fusion : bool
        As ``laion/clap-htsat-fused``, which hears long sounds in parts.

    Returns
    -------
    Path
        The folder.
    """
    torch.manual_seed(0)
    fused = {"enable_fusion": True, "fusion_type": "aff_2d"} if fusion else {}
    config = transformers.ClapConfig(audio_config=SOUND | fused, text_config=TEXT, projection_dim=12)
    transformers.ClapModel(config).save_pretrained(path)
    truncation = "fusion" if fusion else "rand_trunc"
    transformers.ClapFeatureExtractor(truncation=truncation).save_pretrained(path)
    return path
