"""What a run leaves beside the model, for those who use it later: the split and the normalisers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load, save

from giblet.data.dataset.normalise import Normaliser
from giblet.errors import CheckpointError, reading
from giblet.files import write_atomic
from giblet.training.settings import TrainSettings
from giblet.training.study import Study


def write_splits(study: Study, path: Path) -> None:
    """What each TR was used for, as JSON: by subject the rows of each part, and the run and volume of each row.

    Parameters
    ----------
    study : Study
    path : Path
        The file.

    Raises
    ------
    InputError
        If it cannot be written.
    """
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
    """``normalisers.safetensors`` (mean, scale and levels, by ``subject.modality``), ``normalisers.json`` beside it.

    Parameters
    ----------
    normalisers : mapping of str to mapping of str to Normaliser
        By subject and modality.
    folder : Path
        Of the run.

    Raises
    ------
    InputError
        If they cannot be written.

    See Also
    --------
    read_normalisers : Read what this wrote.
    """
    tensors: dict[str, np.ndarray] = {}
    counts: dict[str, dict[str, Any]] = {}
    for subject, own in normalisers.items():
        for name, normaliser in own.items():
            tensors[f"{subject}.{name}.mean"] = np.ascontiguousarray(normaliser.mean)
            tensors[f"{subject}.{name}.scale"] = np.ascontiguousarray(normaliser.scale)
            for run, level in normaliser.levels.items():
                tensors[f"{subject}.{name}.level.{run}"] = np.ascontiguousarray(level)
            counts[f"{subject}.{name}"] = {"n_constant": normaliser.n_constant, "shape": list(normaliser.mean.shape)}
            if normaliser.levels:
                counts[f"{subject}.{name}"]["centred_runs"] = list(normaliser.levels)
    content = save(tensors)
    about = {"sha256": _digest(content, counts), "normalisers": counts}
    write_atomic(folder / "normalisers.safetensors", content)
    write_atomic(folder / "normalisers.json", json.dumps(about, indent=1) + "\n")


def _digest(tensors: bytes, counts: Mapping[str, object]) -> str:
    return hashlib.sha256(tensors + json.dumps(counts, sort_keys=True).encode()).hexdigest()


def with_paths(settings: TrainSettings, change: Callable[[Path], Path]) -> TrainSettings:
    """The same settings with `change` made to the path of each file of the data.

    Parameters
    ----------
    settings : TrainSettings
    change : callable
        From Path to Path.

    Returns
    -------
    TrainSettings
    """

    def changed(part: Any) -> Any:
        return part.model_copy(update={name: change(value) for name, value in part if isinstance(value, Path)})

    subjects = tuple(
        changed(one).model_copy(update={"runs": tuple(map(changed, one.runs))}) for one in settings.data.subjects
    )
    return settings.model_copy(update={"data": settings.data.model_copy(update={"subjects": subjects})})


def absolute_paths(settings: TrainSettings) -> TrainSettings:
    """The same settings with paths that hold from any working directory.

    Parameters
    ----------
    settings : TrainSettings

    Returns
    -------
    TrainSettings
        Paths of the data, ``output``, and ``codec`` where it is a folder, are absolute.
    """
    codec = settings.codec
    if codec != "bundled" and Path(codec).is_dir():
        codec = str(Path(codec).absolute())
    update = {"output": settings.output.absolute(), "codec": codec}
    return with_paths(settings, Path.absolute).model_copy(update=update)


def read_normalisers(folder: str | Path) -> dict[str, dict[str, Normaliser]]:
    """What :func:`write_normalisers` wrote, by subject and modality.

    Parameters
    ----------
    folder : str or Path
        Of the run.

    Returns
    -------
    dict of str to dict of str to Normaliser

    Raises
    ------
    CheckpointError
        If it is missing or damaged.

    See Also
    --------
    write_normalisers : Write them.
    """
    folder = Path(folder)
    with reading(f"the normalisers in {folder}", "train again", CheckpointError):
        content = (folder / "normalisers.safetensors").read_bytes()
        about = json.loads((folder / "normalisers.json").read_text(encoding="utf-8"))
        counts, digest = dict(about["normalisers"]), about["sha256"]
    if _digest(content, counts) != digest:
        raise CheckpointError(f"the normalisers in {folder} were changed or are damaged: copy the run again")
    found: dict[str, dict[str, Normaliser]] = {}
    with reading(f"the normalisers in {folder}", "train again", CheckpointError):
        tensors = load(content)
        for key, about in counts.items():
            subject, name = key.rsplit(".", 1)
            levels = {int(run): tensors[f"{key}.level.{run}"] for run in about.get("centred_runs", [])}
            found.setdefault(subject, {})[name] = Normaliser(tensors[f"{key}.mean"], tensors[f"{key}.scale"], levels)
    return found
