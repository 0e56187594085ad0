"""What codec training writes to disk: resumable checkpoints and exports that transformers loads, never a pickle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from giblet.checkpoints import read_state, read_tensors, write_tensors
from giblet.codec.encodec import CODES_OF
from giblet.codec.training.start import deepened
from giblet.errors import CheckpointError, reading
from giblet.files import write_atomic

FORMAT = "giblet-codec-training-1"


def save_checkpoint(folder: Path, step: int, tensors: dict[str, Tensor], state: dict[str, Any], keep: int = 2) -> Path:
    """Write `step-N.safetensors`, then `step-N.json`, which makes it valid; then remove all but the newest `keep`.

    Parameters
    ----------
    folder : Path
        Made if it is missing.
    step : int
        How many steps are done, N.
    tensors : dict of str to Tensor
        State of all that learns, by name.
    state : dict of str to object
        The rest, as JSON can hold it: `load_checkpoint` asks for `minutes`, `rows` and `config`.
    keep : int
        How many checkpoints stay, this one included; at least 1.

    Returns
    -------
    Path
        Of the JSON file.

    Raises
    ------
    InputError
        If the folder cannot be written to, or the disk is full.

    See Also
    --------
    load_checkpoint : reads the newest one.
    """
    stem = folder / f"step-{step:08d}"
    write_tensors(stem.with_suffix(".safetensors"), tensors)
    write_atomic(stem.with_suffix(".json"), json.dumps({"format": FORMAT, "step": step, **state}, indent=1))
    for old in sorted(folder.glob("step-*.json"))[:-keep]:
        old.unlink()
        old.with_suffix(".safetensors").unlink(missing_ok=True)
    return stem.with_suffix(".json")


def last_step(folder: Path) -> int | None:
    """Step of the newest checkpoint of a folder, or None where there is none.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    int or None
    """
    return max((int(path.stem.removeprefix("step-")) for path in folder.glob("step-*.json")), default=None)


def load_checkpoint(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """The newest checkpoint of a folder, or None where there is none.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    (dict of str to Tensor, dict of str to object) or None
        The `tensors` and the `state` that `save_checkpoint` was given; the state has `format` and `step` as well.

    Raises
    ------
    CheckpointError
        If it is of another format or damaged.

    See Also
    --------
    save_checkpoint : writes one.
    """
    checkpoints = sorted(folder.glob("step-*.json"))
    if not checkpoints:
        return None
    last = checkpoints[-1]
    remedy = f"delete {last} to resume from the one before, or start with a fresh output folder"
    state = read_state(last, FORMAT, ("step", "minutes", "rows", "config"), remedy)
    return read_tensors(last.with_suffix(".safetensors"), remedy), state


def export_model(model: Any, folder: Path, half: bool = True) -> Path:
    """Save in the format of `transformers.EncodecModel.from_pretrained`.

    Parameters
    ----------
    model : transformers.EncodecModel
    folder : Path
        Gets `config.json` and `model.safetensors`.
    half : bool
        Store weights as float16: half the size; the configuration still says float32, to which loading casts. Where
        the configuration says whose codes these are (`codes_of`), only those of the decoder are rounded.

    Returns
    -------
    Path
        Of the weights.

    Raises
    ------
    InputError
        If the folder cannot be written to, or the disk is full.

    See Also
    --------
    load_weights : reads them into a model.
    """
    tensors, keeps_codes = {}, getattr(model.config, CODES_OF, None) is not None
    for name, value in model.state_dict().items():
        halved = half and value.is_floating_point() and "inited" not in name
        if halved and keeps_codes and not name.startswith("decoder."):
            halved = torch.equal(value.half().float(), value.float())
        tensors[name] = value.half() if halved else value
    config = model.config.to_dict() | {"architectures": ["EncodecModel"], "dtype": "float32"}
    weights = write_tensors(folder / "model.safetensors", tensors, {"format": "pt"})
    write_atomic(folder / "config.json", json.dumps(config, indent=2, sort_keys=True))
    return weights


def load_weights(model: Any, folder: Path) -> None:
    """Fill a model with the weights of a folder that `export_model` wrote.

    Blocks of a model that has more residual layers than the codec in the folder start as the identity, nearly.

    Parameters
    ----------
    model : transformers.EncodecModel
        Changed in place.
    folder : Path
        With `config.json` and `model.safetensors`.

    Raises
    ------
    CheckpointError
        If the folder holds no weights, or those of another architecture.
    """
    weights = f"{folder / 'model.safetensors'} and config.json"
    with reading(weights, "name the folder of a codec that giblet or transformers wrote", CheckpointError):
        tensors = load_file(folder / "model.safetensors")
        layers = int(json.loads((folder / "config.json").read_text(encoding="utf-8"))["num_residual_layers"])
    try:
        grown = deepened(model, tensors, layers)
        model.load_state_dict({name: value.float() for name, value in grown.items()})
    except RuntimeError as exc:
        raise CheckpointError(
            f"{folder} holds a codec of another architecture; set start_from to a codec with the same num_filters,"
            " hidden_dim, num_lstm_layers, num_codebooks and codebook_size, and no more num_residual_layers"
        ) from exc
