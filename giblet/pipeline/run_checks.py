"""A run's folder, found to be whole, of one piece, and of the data that it was trained on."""

from __future__ import annotations

import glob
import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from giblet.data.bold.brain_rows import column_name
from giblet.data.study_settings import bring_files
from giblet.errors import CheckpointError, reading
from giblet.files import check_there, sha256_of
from giblet.modalities import BOLD
from giblet.storage import local_path
from giblet.training.result import LAST
from giblet.training.settings import FREE_TO_CHANGE, TrainSettings

if TYPE_CHECKING:
    from giblet.data.dataset.normalise import Normaliser
    from giblet.data.dataset.windows import Recording
    from giblet.models import MultimodalAutoencoder
    from giblet.training.study import Study

log = logging.getLogger(__name__)


def check_folder(run: Path) -> None:
    """Raise if a folder does not hold what every training run that has validated holds.

    Parameters
    ----------
    run : Path
        The run's folder.

    Raises
    ------
    CheckpointError
        If it is not there, or lacks a file.

    See Also
    --------
    checked_run : reads what it holds.
    """
    check_there(run, "run", folder=True, error=CheckpointError)
    for needed in ("config.yaml", "splits.json", "best/model.json", f"checkpoints/{LAST}"):
        if not (run / needed).is_file():
            raise CheckpointError(f"{run} lacks {needed}: it is no training run, or has not validated yet; train first")


def checked_run(
    run: Path, data: Path | None = None
) -> tuple[TrainSettings, Study, dict[str, dict[str, Normaliser]], MultimodalAutoencoder]:
    """Settings, data, normalisers and best model of a run, wherever the run and its data are now.

    Parameters
    ----------
    run : Path
        The run's folder.
    data : Path, optional
        Folder in which the files that the run was trained on are looked for too; see :func:`located`.

    Returns
    -------
    settings : TrainSettings
        With the paths at which the files are now.
    study : Study
    normalisers : dict of str to dict of str to Normaliser
        By subject and modality, as they were fitted on the training TRs.
    model : MultimodalAutoencoder
        The one that was best in validation.

    Raises
    ------
    CheckpointError
        If the run is not finished, was edited, is damaged, or a file that it was trained on has changed or is nowhere.
    GibletError
        If the configuration cannot be read, or the data cannot be used.
    """
    check_folder(run)
    # Here, as torch takes seconds to import, and a folder that is no run should be told before.
    from giblet.models import MultimodalAutoencoder
    from giblet.training.checkpoint import as_begun, check_unchanged, followed, load_state
    from giblet.training.run_folder import read_normalisers
    from giblet.training.study import build_study

    state = load_state(run / "checkpoints") or {}
    settings = as_begun(TrainSettings.from_yaml(run / "config.yaml", stored=True), state)
    plain = settings.model_dump(mode="json")
    state = followed(state, plain)
    check_unchanged(state, {"settings": plain}, FREE_TO_CHANGE, run)
    bring_files(settings.data, needed=False)
    settings = located(settings, state.get("sources"), run, data)
    study = build_study(settings)
    _check_splits(study, run / "splits.json")
    model = MultimodalAutoencoder.from_pretrained(
        run / "best", codec_fingerprint=study.codec_fingerprint, n_voxels=study.n_voxels
    )
    if model.settings != settings.model:
        raise CheckpointError(
            f"{run / 'best' / 'model.json'} is of other model settings than {run / 'config.yaml'}: copy the run again"
        )
    normalisers = _checked_normalisers(read_normalisers(run), study, run)
    if state.get("best", {}).get("step") == 0:
        log.warning(
            "%s is the untrained model: no validation of this run was better; the documentation, How to train, says "
            "what that means",
            run / "best",
        )
    return settings, study, normalisers, model


def located(settings: TrainSettings, sources: object, run: Path, data: Path | None = None) -> TrainSettings:
    """Settings with the present paths of a run's files, found by the SHA-256 of the training.

    A file is looked for where it was; where it lies seen from the run, if both were moved together; by the end of its
    path (``sub-01/func/bold.nii.gz``, ``func/bold.nii.gz``, ...) in `data` and in the working directory; and by its
    name in all of `data`.

    Parameters
    ----------
    settings : TrainSettings
        Of the run, as its ``config.yaml`` has them.
    sources : mapping of str to str
        SHA-256 of each file by path, from the saved state.
    run : Path
        The run's folder.
    data : Path, optional
        Folder in which the files are looked for too.

    Returns
    -------
    TrainSettings

    Raises
    ------
    CheckpointError
        If a file is in none of these places, or has changed, there is no folder `data`, or `sources` is empty.
    """
    from giblet.data.bold.surfaces import companions
    from giblet.training.run_folder import with_paths
    from giblet.training.study import files_of

    if not isinstance(sources, dict) or not sources:
        raise CheckpointError(f"{run / 'checkpoints' / LAST} has no SHA-256 of the data: train again")
    if data is not None and not data.is_dir():
        raise CheckpointError(f"no such folder: {data}, where the data of the run are looked for")
    now: dict[Path, Path] = {}
    sources = {local_path(path): digest for path, digest in sources.items()}
    named = [path for path in files_of(settings) if path in sources]
    # Sidecars and other hemispheres are read from beside their scan, and so are looked for there alone.
    sidecars: dict[Path, Path] = {}
    for path in named:
        if path not in sidecars:
            sidecars |= {file: path for file in companions(path) if file in sources}
    for path in [*(path for path in named if path not in sidecars), *sidecars]:
        scan = now[sidecars[path]] if path in sidecars else None
        places = _places(path, settings.output, run, data) if scan is None else iter([scan.parent / path.name])
        others = []  # of the same name
        for place in places:
            if _is(place, str(sources[path])):
                now[path] = place
                break
            if place.is_file():
                others.append(place)
        else:
            raise CheckpointError(_not_found(path, others, run, scan))
    if moved := [path for path, place in now.items() if path != place]:
        log.info("%d files of the run %s have moved, such as %s to %s", len(moved), run, moved[0], now[moved[0]])
    update = {"codec": _moved_codec(settings, run)}
    return with_paths(settings, lambda path: now.get(path, path)).model_copy(update=update)


def _moved_codec(settings: TrainSettings, run: Path) -> str:
    """Where the folder of the codec is now; its fingerprint says later whether it is the one."""
    codec = Path(settings.codec)
    if not codec.is_absolute() or codec.is_dir():
        return settings.codec
    return str(next((place for place in _places(codec, settings.output, run, None) if place.is_dir()), codec))


def _places(path: Path, output: Path, run: Path, data: Path | None) -> Iterator[Path]:
    """Where a file that was at `path` may be, when the run was at `output` and is at `run` now."""
    yield path
    with suppress(ValueError):  # another drive
        yield Path(os.path.normpath(run.absolute() / os.path.relpath(path, output)))
    ends = [Path(*path.parts[k:]) for k in range(1, len(path.parts))]
    for folder in (data, Path.cwd()):
        if folder is not None:
            yield from (folder.absolute() / end for end in ends)
    if data is not None:
        yield from data.absolute().rglob(glob.escape(path.name))


def _is(path: Path, digest: str) -> bool:
    try:
        return path.is_file() and sha256_of(path) == digest
    except OSError:
        return False


def _not_found(path: Path, others: list[Path], run: Path, scan: Path | None) -> str:
    """What to say of a file that is in none of its places; `others` of its name are, `scan` is that of a sidecar."""
    if scan is not None and not others:
        why = "is its other hemisphere" if path.suffix == ".gii" else "says the scan's timing"
        return (
            f"no such file: {scan.parent / path.name}, which {scan.name} had beside it when {run} was trained: put it "
            f"there, as it {why}"
        )
    if others and (scan is not None or others[0] == path):
        return (
            f"{others[0]} has changed since {run} was trained: put the old file back, or train again in another folder"
        )
    also = f" ({others[0]} is of that name and holds something else)" if others else ""
    return (
        f"no such file: {path}, which the run {run} was trained on, nor a copy of it that lies as it did to the run"
        f"{also}: put it back, or name the folder where the data are now (`data`; for giblet train, in the YAML)"
    )


def fitted_to_part(
    normalisers: Mapping[str, Normaliser], recording: Recording, trs: np.ndarray, train: np.ndarray,
    bold: np.ndarray | None, columns: dict[str, np.ndarray], damaged: np.ndarray | None = None,
) -> tuple[dict[str, Normaliser], list[str]]:  # fmt: skip
    """Normalisers of a run for a part of it, and notes on them for the reader.

    What hardly varied over the training TRs and does in this part would outweigh all else: it becomes 0. Other scans
    have levels of their own.

    Parameters
    ----------
    normalisers : mapping of str to Normaliser
        By modality.
    recording : Recording
    trs : ndarray of int
        Of the part.
    train : ndarray of int
        TRs that were trained on.
    bold : ndarray of float, shape (n_rows, n_voxels), or None
        Instead of the recording's.
    columns : dict
        As :attr:`giblet.training.study.Study.columns` has them for the subject.
    damaged : ndarray of bool, shape (n_voxels,), optional
        Voxels that hold NaN in this part: they become 0 too.

    Returns
    -------
    normalisers : dict of str to Normaliser
        By modality.
    notes : list of str
        What is left out of what is decoded and scored, if anything, in words.
    """
    from giblet.data.dataset.normalise import run_means
    from giblet.training.columns import describe_columns, unit_of

    found, notes = dict(normalisers), []
    if bold is not None and normalisers[BOLD].levels:
        # A run of which nothing was scanned keeps the level that it had, so that runs stay centred.
        levels = {**normalisers[BOLD].levels, **run_means(bold, train, recording.run)}
        found[BOLD] = replace(normalisers[BOLD], levels=levels)
    if damaged is not None and damaged.any():
        found[BOLD] = found[BOLD].without(damaged)
        named = ", ".join(column_name(columns, int(n)) for n in np.flatnonzero(damaged)[:5])
        notes.append(
            f"{int(damaged.sum())} of {len(damaged)} {unit_of(columns)} with NaN in these TRs: {named}"
            f"{', ...' if damaged.sum() > 5 else ''}; left out of what is decoded and scored"
        )
    for name, one in dict(found).items():
        series = recording.series[name] if name != BOLD or bold is None else bold
        far = one.far(series, trs, of_scan=name == BOLD, run=recording.run)
        if not far.any():
            continue
        found[name] = one.without(far)
        what = f"{int(far.sum())} of {far.size} values of {name} with hardly any change over the training TRs"
        if name == BOLD:
            what = describe_columns(np.zeros_like(far), far, columns)
        notes.append(f"{what}; left out of what is decoded and scored")
    return found, notes


def _check_splits(study: Study, path: Path) -> None:
    with reading(path, "train again", CheckpointError):
        saved = json.loads(path.read_text(encoding="utf-8"))
        found = {(name, part): saved[name][part] for name in study.splits for part in ("train", "val", "test")}
    for (name, part), trs in found.items():
        if trs != getattr(study.splits[name], part).tolist():
            raise CheckpointError(
                f"the {part} TRs of subject {name} are not those of {path}: the features or scans that the "
                "configuration names have changed; train again"
            )


def _checked_normalisers(
    found: dict[str, dict[str, Normaliser]], study: Study, run: Path
) -> dict[str, dict[str, Normaliser]]:
    """Those of the run, found to be of the study; what never varied in training is 0 in older runs too."""
    shapes = [
        {
            (subject, name): (one.mean.shape, one.scale.shape, list(one.levels))
            for subject, own in some.items()
            for name, one in own.items()
        }
        for some in (found, study.normalisers)
    ]
    if shapes[0] != shapes[1]:
        raise CheckpointError(
            f"the normalisers in {run} are not of the run's subjects, voxels and features: train again"
        )
    return {
        subject: {name: one.without(~study.normalisers[subject][name].varies) for name, one in own.items()}
        for subject, own in found.items()
    }
