"""What a run leaves beside the model, for those who use it later: the split and the normalisers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from giblet.data.normalise import Normaliser
from giblet.errors import CheckpointError
from giblet.files import write_atomic
from giblet.training.study import Study


def write_splits(study: Study, path: Path) -> None:
    """What each TR was used for, as JSON: by subject the rows of each part, and the run and volume of each row."""
    content = {
        recording.subject: {
            "tr": recording.tr,
            "n_trs": len(recording.run),
            **{part: study.part(part)[recording.subject].tolist() for part in ("train", "val", "test", "gap")},
            "run": recording.run.tolist(),
            "volume": study.volumes[recording.subject].tolist(),
        }
        for recording in study.recordings
    }  # fmt: skip
    write_atomic(path, json.dumps(content) + "\n")


def write_normalisers(normalisers: Mapping[str, Mapping[str, Normaliser]], folder: Path) -> None:
    """``normalisers.safetensors`` (mean and scale, by ``subject.modality``) and ``normalisers.json`` beside it."""
    tensors, counts = {}, {}
    for subject, own in normalisers.items():
        for name, normaliser in own.items():
            tensors[f"{subject}.{name}.mean"] = np.ascontiguousarray(normaliser.mean)
            tensors[f"{subject}.{name}.scale"] = np.ascontiguousarray(normaliser.scale)
            counts[f"{subject}.{name}"] = {"n_constant": normaliser.n_constant, "shape": list(normaliser.mean.shape)}
    write_atomic(folder / "normalisers.safetensors", save(tensors))
    write_atomic(folder / "normalisers.json", json.dumps(counts, indent=1) + "\n")


def read_normalisers(folder: str | Path) -> dict[str, dict[str, Normaliser]]:
    """What :func:`write_normalisers` wrote, by subject and modality.

    Raises
    ------
    CheckpointError
        If it is missing or damaged.
    """
    try:
        tensors = load_file(Path(folder) / "normalisers.safetensors")
        counts = json.loads((Path(folder) / "normalisers.json").read_text(encoding="utf-8"))
        found: dict[str, dict[str, Normaliser]] = {}
        for key, about in counts.items():
            subject, name = key.rsplit(".", 1)
            found.setdefault(subject, {})[name] = Normaliser(
                tensors[f"{key}.mean"], tensors[f"{key}.scale"], about["n_constant"]
            )
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as exc:
        raise CheckpointError(f"the normalisers in {folder} cannot be read ({exc}): train again") from exc
    return found
