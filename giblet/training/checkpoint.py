"""The state of a training run on disk, whole or not at all: going on from it gives what a run without a stop gives.

``checkpoints/last.json`` names the file of tensors that belongs to it and its SHA-256, so that the two cannot be of
different moments: ``step-00000042.safetensors`` is written first, ``last.json`` then, and what it no longer names goes.
There are no states of random generators in it: what is random in a step is drawn from the seed and the step's number.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from giblet.checkpoints import (
    joined,
    optimizer_tensors,
    read_state,
    read_tensors,
    restore_optimizer,
    separated,
    write_tensors,
)
from giblet.data.bold.surfaces import companions
from giblet.errors import CheckpointError, reading
from giblet.files import sha256_of, write_atomic
from giblet.training.result import LAST as LAST
from giblet.training.settings import TrainSettings

FORMAT = "giblet-training-2"
NEEDED = ("step", "tensors", "sha256")
OF_A_RUN: dict[str, type | tuple[type, ...]] = {
    "step": int, "seconds": (int, float), "settings": dict, "sources": dict, "rows": list, "best": dict,
    "running": dict, "knowing_nothing": dict,
}  # fmt: skip
"""What a state that training goes on from holds, and as what."""
OLDER = {"split": "subject", "centre_runs": False}
"""What runs did of which the state has no such options of ``data``."""
OLDER_MODEL = {"linear_path": False}
"""The same of ``model``."""
BEST = frozenset(["step", "total", "val", "since"])
"""What it says of the best validation so far, of encoding and of decoding; in older states, of both together."""


def save_state(
    folder: Path,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    step: int,
    state: Mapping[str, Any],
    best: Mapping[str, Tensor] | None = None,
) -> None:
    """Write the state of a run after `step` steps.

    Parameters
    ----------
    folder : Path
        ``checkpoints`` of the run.
    model : torch.nn.Module
    optimizer : torch.optim.Optimizer
    step : int
    state : mapping
        What else must come back; JSON keeps floats to the last bit.
    best : mapping of str to Tensor, optional
        Weights of the best validations so far.

    Raises
    ------
    InputError
        If it cannot be written; the state before is still there then.

    See Also
    --------
    load_state : Read what this wrote.
    restore : Put its tensors into model and optimiser.
    """
    parts = {"model": model.state_dict(), "optimizer": optimizer_tensors(optimizer), "best": best or {}}
    tensors = joined(parts)
    path = folder / f"step-{step:08d}.safetensors"
    write_tensors(path, tensors)
    content = {"format": FORMAT, "step": step, "tensors": path.name, "sha256": sha256_of(path), **state}
    write_atomic(folder / LAST, json.dumps(content, indent=1, allow_nan=False) + "\n")
    for other in folder.glob("step-*.safetensors"):
        if other != path:
            other.unlink(missing_ok=True)


def load_state(folder: Path) -> dict[str, Any] | None:
    """What :func:`save_state` wrote, or None where nothing was saved.

    Parameters
    ----------
    folder : Path
        ``checkpoints`` of the run.

    Returns
    -------
    dict or None
        ``format``, ``step``, ``sha256`` and all that `save_state` was given as `state`; ``tensors`` is the path of the
        file of tensors, checked.

    Raises
    ------
    CheckpointError
        If it is damaged or of another version.
    """
    last = folder / LAST
    if not last.exists():
        return None
    remedy = f"delete {folder} to train from scratch"
    state = read_state(last, FORMAT, NEEDED, remedy)
    wrong = [name for name, kind in OF_A_RUN.items() if name in state and not isinstance(state[name], kind)]
    best = state.get("best")
    if isinstance(best, dict) and not BEST.issubset(best):
        told = [best.get(way) for way in ("encoding", "decoding")]
        if not all(isinstance(one, dict) and BEST.issubset(one) for one in told):
            wrong.append("best")
    if wrong:
        raise CheckpointError(f"{last} is damaged in {', '.join(wrong)}: {remedy}")
    path = folder / str(state["tensors"])
    with reading(path, remedy, CheckpointError):
        whole = path.name == state["tensors"] and sha256_of(path) == state["sha256"]
    if not whole:
        raise CheckpointError(f"{path} is not the file that {last} was written for: damaged? {remedy}")
    return {**state, "tensors": path}


def restore(state: Mapping[str, Any], model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Put the tensors of a state into model and optimiser.

    Parameters
    ----------
    state : mapping
        As :func:`load_state` gives it.
    model : torch.nn.Module
        Changed in place.
    optimizer : torch.optim.Optimizer
        Changed in place.

    Returns
    -------
    dict of str to Tensor
        Weights of the best validations, by name; empty in states of before each way kept its own.

    Raises
    ------
    CheckpointError
        If they are damaged, or of another model.
    """
    remedy = "it is not of this model; use another output folder"
    parts = separated(read_tensors(state["tensors"], remedy))
    with reading(f"checkpoint {state['tensors']}", remedy, CheckpointError):
        model.load_state_dict(parts["model"])
        restore_optimizer(optimizer, parts.get("optimizer", {}))
    return parts.get("best", {})


def followed(state: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """A state in the words of now: with the paths that settings have, and with options that are newer than it.

    Parameters
    ----------
    state : mapping
        As :func:`load_state` gives it.
    settings : mapping
        What the run would have now, as plain values.

    Returns
    -------
    dict
        A file that was moved or copied, and is the same to the last byte, has its new path in ``settings`` and
        ``sources``. An option that had another name when the state was saved has today's, and one that did not exist
        has the value under which nothing changes.
    """
    sources, saved = dict(state.get("sources") or {}), state.get("settings", {})
    with suppress(ValidationError, TypeError, KeyError):  # of a version that had other options: as it is
        saved = TrainSettings.in_todays_words(saved)
        parts = {"data": {**OLDER, **saved["data"]}, "model": {**OLDER_MODEL, **saved["model"]}}
        saved = TrainSettings(**{**saved, **parts}).model_dump(mode="json")
    before, after = _flat(saved, "settings"), _flat(settings, "settings")
    moved = {}
    for name, path in before.items():
        other = after.get(name)
        if isinstance(path, str) and isinstance(other, str) and path != other and path in sources:
            with suppress(OSError):
                if sha256_of(other) == sources[path]:
                    moved[path] = other
    for path, other in list(moved.items()):  # sidecars and other hemispheres lie beside the scans
        beside = zip(companions(Path(path)), companions(Path(other)), strict=False)
        moved |= {str(old): str(new) for old, new in beside if str(old) in sources}
    return {
        **state,
        "settings": _replaced(saved, moved),
        "sources": {moved.get(path, path): digest for path, digest in sources.items()},
    }


def as_begun(settings: TrainSettings, state: Mapping[str, Any] | None) -> TrainSettings:
    """Settings that go on as the run began, where it is older than options which they do not name.

    Parameters
    ----------
    settings : TrainSettings
    state : mapping, optional
        As :func:`load_state` gives it.

    Returns
    -------
    TrainSettings
    """
    saved = (state or {}).get("settings") or {}
    for part, options in (("data", OLDER), ("model", OLDER_MODEL)):
        own, known = getattr(settings, part), saved.get(part)
        if isinstance(known, dict):
            named = own.model_fields_set
            older = {name: value for name, value in options.items() if name not in known and name not in named}
            settings = settings.model_copy(update={part: own.model_copy(update=older)})
    return settings


def check_complete(state: Mapping[str, Any], folder: Path) -> None:
    """Refuse a state that lacks what training needs to go on.

    Parameters
    ----------
    state : mapping
        As :func:`load_state` gives it.
    folder : Path
        ``checkpoints`` of the run, for the message.

    Raises
    ------
    CheckpointError
        If it does.
    """
    if missing := [name for name in OF_A_RUN if name not in state]:
        raise CheckpointError(
            f"the state in {folder} lacks {', '.join(missing)}: delete {folder} to train from scratch"
        )


def _replaced(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, Mapping):
        return {k: _replaced(v, names) for k, v in value.items()}
    if isinstance(value, list):
        return [_replaced(v, names) for v in value]
    return names.get(value, value) if isinstance(value, str) else value


def check_unchanged(state: Mapping[str, Any], now: Mapping[str, Any], free: frozenset[str], folder: Path) -> None:
    """Refuse to go on with a run under other settings, data or codec, naming the first that differ.

    Parameters
    ----------
    state : mapping
        As :func:`load_state` gives it.
    now : mapping
        What the run would have now, all or some of it: ``settings``, ``n_voxels``, ``codec_fingerprint``, ``sources``,
        ``slice_time_ref``.
    free : frozenset of str
        Names of settings that may differ.
    folder : Path
        Of the run, for the message.

    Raises
    ------
    CheckpointError
        If anything else differs.
    """
    found = []
    for part, value in now.items():
        before = _flat(state.get(part, {}), part)
        after = _flat(json.loads(json.dumps(value)), part)
        for name in [*before, *(n for n in after if n not in before)]:
            may_differ = part == "settings" and name.split(".")[1] in free
            if before.get(name) != after.get(name) and not may_differ:
                found.append(f"{name.removeprefix('settings.')} was {before.get(name)!r}, is {after.get(name)!r}")
    if found:
        more = f" (and {len(found) - 3} more)" if len(found) > 3 else ""
        raise CheckpointError(
            f"{folder} holds a run of other settings or data: {'; '.join(found[:3])}{more}; put that back, or train in "
            "another output folder"
        )


def _flat(value: Any, name: str) -> dict[str, Any]:
    """Leaves of nested mappings and lists, by dotted name."""
    if isinstance(value, Mapping):
        inner = {f"{name}.{k}": v for k, v in value.items()}
    elif isinstance(value, list):
        inner = {f"{name}.{k}": v for k, v in enumerate(value)}
    else:
        return {name: value}
    return {leaf: v for part, content in inner.items() for leaf, v in _flat(content, part).items()}
