"""Folders with small speech models of random weights, as transformers saves them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers

CONVOLVED: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 48,
    "conv_dim": (16,) * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2,
}  # fmt: skip
GROUP: dict[str, Any] = {"feat_extract_norm": "group", "do_stable_layer_norm": False}
LAYER: dict[str, Any] = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "whisper": ("Whisper", {"d_model": 32, "encoder_layers": 3, "encoder_attention_heads": 2, "encoder_ffn_dim": 48,
                            "decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 48, "vocab_size": 64,
                            "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1,
                            "begin_suppress_tokens": [2]}),
    "wav2vec2-group": ("Wav2Vec2", CONVOLVED | GROUP),
    "wav2vec2-layer": ("Wav2Vec2", CONVOLVED | LAYER),
    "hubert-group": ("Hubert", CONVOLVED | GROUP),
    "hubert-layer": ("Hubert", CONVOLVED | LAYER),
    "wavlm-group": ("WavLM", CONVOLVED | GROUP),
}  # fmt: skip
"""By name, how the classes of transformers begin, and options of their configuration."""


def speech_folder(path: Path, family: str, *, dtype: torch.dtype = torch.float32, head: str = "", **more: int) -> Path:
    """Save a model with its extractor.

    Parameters
    ----------
    path : Path
    family : str
        Of :data:`FAMILIES`.
    dtype : torch.dtype
        Of its weights.
    head : str
        ``"ForCTC"``, ``"ForConditionalGeneration"``: what stands upon the encoder, as in most checkpoints.
    **more : int
        Further options of the configuration.

    Returns
    -------
    Path
        The folder.
    """
    begins, options = FAMILIES[family]
    torch.manual_seed(0)
    config = getattr(transformers, f"{begins}Config")(**{**options, **more})
    model = getattr(transformers, f"{begins}{head or 'Model'}")(config)
    model.to(dtype).save_pretrained(path)
    if begins == "Whisper":
        extractor = transformers.WhisperFeatureExtractor(feature_size=80)
    else:
        extractor = transformers.Wav2Vec2FeatureExtractor(return_attention_mask="layer" in family)
    extractor.save_pretrained(path)
    return path
