"""Find a codec's files, in the package, a folder, the local hub cache or the hub, and read them."""

from __future__ import annotations

import json
from importlib import resources
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from giblet.errors import CodecError, one_line, reading
from giblet.hub import hub_file, is_hub_name, unreachable

if TYPE_CHECKING:
    from torch import Tensor

    from giblet.codec.architecture import StoredCodec

CONFIG, WEIGHTS = "config.json", "model.safetensors"
MANY = 1000
"""How many more weights than are there a configuration may describe, each of which is looked for by its name."""
REMEDIES = f"name a folder with {CONFIG} and {WEIGHTS}, or use the codec that comes with giblet, 'bundled'"


def find_codec(name: str, revision: str | None = None) -> tuple[Path, Path]:
    """Configuration and weights of a codec.

    Parameters
    ----------
    name : str
        ``"bundled"``, a folder, or a hub name, tried in this order.
    revision : str, optional
        Branch, tag or commit of a hub model.

    Returns
    -------
    config_file, weights_file : Path

    Raises
    ------
    CodecError
        If there is no such codec, or it cannot be reached.
    """
    if name == "bundled":
        return _in_folder(Path(str(resources.files("giblet.codec"))) / "assets" / "bundled", name)
    folder = Path(name).expanduser()
    if folder.is_dir():
        return _in_folder(folder, name)
    if folder.exists():
        raise CodecError(f"codec {name!r} is a file: {REMEDIES}")
    if not is_hub_name(name):
        raise CodecError(f"codec {name!r}: there is no such folder: {REMEDIES}")
    return _on_hub(name, revision)


def read_model(config_file: Path, weights_file: Path, name: str) -> StoredCodec:
    """A codec from the two files that `save_pretrained` writes, in float32 whatever they were saved in.

    Parameters
    ----------
    config_file : Path
    weights_file : Path
        In safetensors format.
    name : str
        What the user asked for.

    Returns
    -------
    StoredCodec

    Raises
    ------
    CodecError
        If a file is damaged or of another kind of model, the layout cannot be streamed exactly, or weights are missing,
        surplus, of other shapes, or not finite.
    """
    import safetensors.torch

    from giblet.codec.architecture import CodecConfig, StoredCodec, weight_shapes
    from giblet.codec.encodec import check_layout

    with reading(f"{config_file} of codec {name!r}", "copy or download it again", CodecError):
        fields = json.loads(config_file.read_text(encoding="utf-8"))
    kind = fields.get("model_type") if isinstance(fields, dict) else None
    if kind != "encodec":
        raise CodecError(f"codec {name!r} is a model of type {kind!r}; use an EnCodec model, 'encodec'")
    remedy = "it describes no EnCodec model; fix or replace it"
    with reading(f"{config_file} of codec {name!r}", remedy, CodecError):
        config = CodecConfig.model_validate(fields)
    check_layout(config, name)
    with reading(f"{weights_file} of codec {name!r}", "it is damaged; copy or download it again", CodecError):
        weights = safetensors.torch.load_file(weights_file)
    with reading(f"{config_file} of codec {name!r}", remedy, CodecError):
        shapes = dict(islice(weight_shapes(config), len(weights) + MANY))
    return StoredCodec(config, _checked(weights, shapes, name))


def _in_folder(folder: Path, name: str) -> tuple[Path, Path]:
    absent = [file for file in (CONFIG, WEIGHTS) if not (folder / file).is_file()]
    if absent:
        pickles = sorted(path.name for path in folder.glob("*.bin"))
        why = f" ({pickles[0]} is a pickle, which is not read: save the model as safetensors)" if pickles else ""
        raise CodecError(f"codec {name!r} lacks {' and '.join(absent)}{why}: {REMEDIES}")
    return folder / CONFIG, folder / WEIGHTS


def _on_hub(name: str, revision: str | None) -> tuple[Path, Path]:
    """From the cache if it is there: a cluster's nodes have no network, and a changed model is another codec."""
    try:
        return hub_file(name, CONFIG, revision, local_only=True), hub_file(name, WEIGHTS, revision, local_only=True)
    except OSError:
        why = unreachable(name, CONFIG, revision)
    if why:
        raise CodecError(f"codec {name!r} is not in the local hub cache, and {why}: {REMEDIES}")
    try:
        return hub_file(name, CONFIG, revision, local_only=False), hub_file(name, WEIGHTS, revision, local_only=False)
    except OSError as exc:
        raise CodecError(f"codec {name!r} cannot be downloaded from the hub ({one_line(exc)}): {REMEDIES}") from exc


def _checked(weights: dict[str, Tensor], expected: dict[str, tuple[int, ...]], name: str) -> dict[str, Tensor]:
    """Weights in float32 under PyTorch's present names; those that do not fit are refused."""
    from giblet.codec.architecture import DIRECTION, LENGTH, TRAINING_ONLY

    present_names = {"weight_g": LENGTH, "weight_v": DIRECTION}
    renamed = {}
    for key, value in weights.items():
        head, _, leaf = key.rpartition(".")
        renamed[f"{head}.{present_names.get(leaf, leaf)}"] = value.float()
    missing = expected.keys() - renamed.keys()
    faults = {
        "missing": {key for key in missing if key.rpartition(".")[2] not in TRAINING_ONLY},
        "surplus": renamed.keys() - expected.keys(),
        "of another shape": {k for k in expected.keys() & renamed.keys() if expected[k] != tuple(renamed[k].shape)},
        "not finite": {k for k, v in renamed.items() if not v.isfinite().all()},
    }
    for fault, keys in faults.items():
        if keys:
            raise CodecError(
                f"codec {name!r}: {len(keys)} weights are {fault} (first {min(keys)}): "
                "the weights do not belong to this config.json; copy or download both again"
            )
    return renamed
