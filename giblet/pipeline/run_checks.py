"""A run's folder, found to be whole, of one piece, and of the data that it was trained on."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from giblet.data.normalise import Normaliser
from giblet.errors import CheckpointError
from giblet.files import sha256_of
from giblet.models import MultimodalAutoencoder
from giblet.training.checkpoint import LAST, check_unchanged, load_state
from giblet.training.run_folder import read_normalisers
from giblet.training.settings import FREE_TO_CHANGE, TrainSettings
from giblet.training.study import Study, build_study

log = logging.getLogger(__name__)


def open_run(run: Path) -> tuple[TrainSettings, Study, dict[str, dict[str, Normaliser]], MultimodalAutoencoder]:
    """Settings, data, normalisers and best model of a run.

    Raises
    ------
    CheckpointError
        If the run is not finished, was edited, is damaged, or a file that it was trained on has changed.
    """
    if not run.is_dir():
        raise CheckpointError(f"no such run: {run}; giblet train makes one from a configuration")
    for needed in ("config.yaml", "splits.json", "best/model.json", f"checkpoints/{LAST}"):
        if not (run / needed).is_file():
            raise CheckpointError(f"{run} lacks {needed}: it is no training run, or has not validated yet; train first")
    settings = TrainSettings.from_yaml(run / "config.yaml")
    state = load_state(run / "checkpoints") or {}
    check_unchanged(state, {"settings": settings.model_dump(mode="json")}, FREE_TO_CHANGE, run)
    _check_sources(state.get("sources"), run)
    study = build_study(settings)
    _check_splits(study, run / "splits.json")
    model = MultimodalAutoencoder.from_pretrained(
        run / "best", codec_fingerprint=study.codec_fingerprint, n_voxels=study.n_voxels
    )
    if model.settings != settings.model:
        raise CheckpointError(
            f"{run / 'best' / 'model.json'} is of other model settings than {run / 'config.yaml'}: copy the run again"
        )
    normalisers = read_normalisers(run)
    _check_normalisers(normalisers, study, run)
    if state.get("best", {}).get("step") == 0:
        log.warning("%s is the untrained model: no validation of this run was better (docs/training.md)", run / "best")
    return settings, study, normalisers, model


def _check_sources(sources: object, run: Path) -> None:
    if not isinstance(sources, dict) or not sources:
        raise CheckpointError(f"{run / 'checkpoints' / LAST} has no SHA-256 of the data: train again")
    for path, digest in sources.items():
        if not Path(path).is_file():
            raise CheckpointError(f"no such file: {path}, which the run {run} was trained on; put it back there")
        if sha256_of(path) != digest:
            raise CheckpointError(
                f"{path} has changed since {run} was trained: put the old file back, or train again in another folder"
            )


def _check_splits(study: Study, path: Path) -> None:
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        for name, splits in study.splits.items():
            for part in ("train", "val", "test"):
                if saved[name][part] != getattr(splits, part).tolist():
                    raise CheckpointError(
                        f"the {part} TRs of subject {name} are not those of {path}: the features or "
                        "scans that the configuration names have changed; train again"
                    )
    except (ValueError, KeyError, TypeError) as exc:
        raise CheckpointError(f"{path} cannot be read ({exc!r}): train again") from exc


def _check_normalisers(found: dict[str, dict[str, Normaliser]], study: Study, run: Path) -> None:
    shapes = [
        {
            (subject, name): (one.mean.shape, one.scale.shape)
            for subject, own in some.items()
            for name, one in own.items()
        }
        for some in (found, study.normalisers)
    ]
    if shapes[0] != shapes[1]:
        raise CheckpointError(
            f"the normalisers in {run} are not of the run's subjects, voxels and features: train again"
        )
