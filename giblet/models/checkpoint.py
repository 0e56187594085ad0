"""A trained model on disk: weights as safetensors, all else as JSON; never a pickle, and nothing is executed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load, save
from torch import Tensor, nn

from giblet.errors import CheckpointError, InputError, reading
from giblet.files import atomic_path
from giblet.models.settings import Modality, ModelDesign, ModelSettings
from giblet.version import __version__

FORMAT = "giblet-model-2"
WEIGHTS, ABOUT = "model.safetensors", "model.json"
BEFORE = {"linear_path": False}
"""Settings of models that were saved before there were such options."""


def write_model(folder: Path, design: ModelDesign, tensors: Mapping[str, Tensor]) -> Path:
    """Write a model.

    Parameters
    ----------
    folder : Path
        Gets ``model.safetensors`` and ``model.json``. The JSON holds the digest of the weights and of all else in
        itself, so that a change of either is noticed. Of versions, ``format`` alone is checked on reading.
    design : ModelDesign
        What the model is built from.
    tensors : mapping of str to Tensor
        Its weights and buffers by name: ``model.state_dict()``.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    InputError
        If it cannot be written to.

    See Also
    --------
    read_model : Read what this wrote.
    """
    content = save({name: value.detach().cpu().contiguous() for name, value in tensors.items()})
    about = {
        "format": FORMAT,
        "giblet_version": __version__,
        "settings": design.settings.model_dump(mode="json"),
        "modalities": {n: {"kind": m.kind, "shape": list(m.shape)} for n, m in design.modalities.items()},
        "n_voxels": dict(design.n_voxels),
        "codec_fingerprint": design.codec_fingerprint,
        "slice_time_ref": dict(design.slice_time_ref),
    }
    about["sha256"] = _digest(content, about)
    # Both are whole on disk before either takes its name.
    with atomic_path(folder / ABOUT) as text, atomic_path(folder / WEIGHTS) as weights:
        weights.write_bytes(content)
        text.write_text(json.dumps(about, indent=1) + "\n")
    return folder


def read_model(
    folder: Path, codec_fingerprint: str | None = None, n_voxels: Mapping[str, int] | None = None
) -> tuple[ModelDesign, dict[str, Tensor]]:
    """What to build a model from, and its tensors.

    Parameters
    ----------
    folder : Path
    codec_fingerprint : str, optional
        Refuse a model that was trained on the codes of another codec.
    n_voxels : mapping of str to int, optional
        Refuse a model that lacks one of these subjects, or knows it with another number of voxels.

    Returns
    -------
    design : ModelDesign
    tensors : dict of str to Tensor
        Weights and buffers by name, on the CPU.

    Raises
    ------
    CheckpointError
        If files are missing, damaged, foreign, of another version, or the model is another than asked for.

    See Also
    --------
    write_model : Write a model.
    fill_model : Give a model its tensors.
    """
    needed = f"there is no readable model in {folder}: expected {WEIGHTS} and {ABOUT}, as giblet train writes them"
    with reading(folder / ABOUT, needed, CheckpointError):
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        content = (folder / WEIGHTS).read_bytes()
    said = about.get("format") if isinstance(about, dict) else None
    if said != FORMAT:
        raise CheckpointError(f"{folder / ABOUT} has format {said!r}; this version reads {FORMAT!r}; train again")
    if _digest(content, about) != about.get("sha256"):
        raise CheckpointError(
            f"{folder / WEIGHTS} is not what {ABOUT} describes: one is truncated, changed, or of another model; "
            "copy the folder again"
        )
    try:
        design = ModelDesign(
            settings=ModelSettings(**{**BEFORE, **about["settings"]}),
            modalities={n: Modality(m["kind"], tuple(m["shape"])) for n, m in about["modalities"].items()},
            n_voxels={str(name): int(n) for name, n in about["n_voxels"].items()},
            codec_fingerprint=about["codec_fingerprint"],
            # Models that were saved before there was such an option have none.
            slice_time_ref={n: float(about.get("slice_time_ref", {}).get(n, 0.0)) for n in about["n_voxels"]},
        )
    except (KeyError, TypeError, AttributeError, ValueError, InputError) as exc:  # a JSON of anything at all
        told = " ".join(str(exc).split())
        raise CheckpointError(f"{folder} holds no model of giblet ({type(exc).__name__}: {told})") from exc
    with reading(folder / WEIGHTS, "copy the folder again", CheckpointError):
        tensors = load(content)
    if codec_fingerprint is not None and codec_fingerprint != design.codec_fingerprint:
        raise CheckpointError(
            f"{folder} was trained on the codes of codec {str(design.codec_fingerprint)[:12]}, "
            f"not of {codec_fingerprint[:12]}: use the codec that it was trained with"
        )
    for name, n in (n_voxels or {}).items():
        if design.n_voxels.get(name) != n:
            known = ", ".join(f"{k} {v}" for k, v in design.n_voxels.items())
            raise CheckpointError(
                f"{folder} was trained on these numbers of voxels or regions: {known}; but {name} has {n}; use the "
                "same mask, atlas or columns"
            )
    return design, tensors


def _digest(weights: bytes, about: Mapping[str, Any]) -> str:
    """SHA-256 of the weights and of the description, its own entry left out."""
    described = json.dumps({k: v for k, v in about.items() if k != "sha256"}, sort_keys=True)
    return hashlib.sha256(weights + described.encode()).hexdigest()


def fill_model(model: nn.Module, tensors: Mapping[str, Tensor], folder: Path) -> None:
    """Give a model its weights.

    Parameters
    ----------
    model : torch.nn.Module
        Changed in place.
    tensors : mapping of str to Tensor
        As :func:`read_model` gives them.
    folder : Path
        Where they come from, for the message.

    Raises
    ------
    CheckpointError
        If tensors are missing or surplus, or of another shape than the settings beside them say.
    """
    try:
        model.load_state_dict(dict(tensors))
    except RuntimeError as exc:
        told = " ".join(str(exc).split())[:300]
        raise CheckpointError(f"the weights in {folder} do not fit the settings beside them: {told}") from exc
