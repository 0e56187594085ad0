"""What all pretrained models have in common: libraries that are extras, folders and the hub, and a fingerprint."""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from giblet.errors import InputError
from giblet.hub import hub_file, is_hub_name, unreachable

NO_CODE: dict[str, Any] = {"trust_remote_code": False}
"""For all that transformers loads: without it, a model's folder that holds code has users asked whether to run it."""
DECIDE_NOTHING = ("_name_or_path", "transformers_version")
"""Fields of a configuration that change with the place of the files, and with who wrote them."""


def library(name: str, extra: str) -> ModuleType:
    """Import a library that is an extra of giblet.

    Parameters
    ----------
    name : str
        Of the module.
    extra : str
        That brings it.

    Returns
    -------
    module

    Raises
    ------
    InputError
        If it is not installed: the message says how to install it.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as exc:
        raise InputError(f"{exc.name} is not installed: pip install 'giblet[{extra}]'") from exc


def quiet(load: Callable[[bool], Any], local: bool) -> Any:
    """Load without what transformers prints of it: progress bars, and tables of weights, which callers check.

    Parameters
    ----------
    load : callable
        Called with `local`.
    local : bool
        Whether to look in folders and in the cache alone.

    Returns
    -------
    object
        What `load` returns.
    """
    import transformers

    told = transformers.utils.logging
    shown, level = told.is_progress_bar_enabled(), told.get_verbosity()
    told.disable_progress_bar()
    told.set_verbosity_error()
    try:
        return load(local)
    finally:
        told.set_verbosity(level)
        if shown:
            told.enable_progress_bar()


def from_cache_or_hub(name: str, file: str, load: Callable[[bool], Any]) -> Any:
    """What ``load(local_files_only)`` makes of a folder or the local hub cache, or else of the hub, if that answers.

    Parameters
    ----------
    name : str
        A folder or a hub name.
    file : str
        One that the model must have; see :mod:`giblet.hub`.
    load : callable

    Returns
    -------
    object
        What `load` returns.

    Raises
    ------
    OSError
        If the model is in neither place and the hub cannot be reached or has no such model.
    """
    if Path(name).is_dir():
        return quiet(load, True)
    if not is_hub_name(name):
        raise FileNotFoundError("there is no such folder")
    try:
        hub_file(name, file, None, local_only=True)
        return quiet(load, True)
    except OSError:  # not there, or not whole
        why = unreachable(name, file)
    if why:
        raise FileNotFoundError(f"it is not in the local hub cache, and {why}")
    hub_file(name, file, None, local_only=False)
    return quiet(load, False)


def fingerprint_of(model: Any, about: Any) -> str:
    """SHA-256 over the weights by name, and what else decides the vectors.

    Parameters
    ----------
    model : torch.nn.Module
    about : object
        Anything that JSON can hold: configurations of model and tokenizer.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    digest = hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()


def checked_layers(layers: Sequence[int] | None, n_blocks: int, name: str) -> tuple[int, ...]:
    """The layers of a model that are asked for; without any, the one in the middle.

    Parameters
    ----------
    layers : sequence of int, optional
    n_blocks : int
        Layers are counted from 0, what goes into the first block, to this.
    name : str
        Of the model, for messages.

    Returns
    -------
    tuple of int

    Raises
    ------
    InputError
        If the model lacks one, or one is named twice.
    """
    if layers is None:
        return (n_blocks // 2,)
    for layer in layers:
        if not 0 <= layer <= n_blocks:
            raise InputError(f"layers is {layer}: {name} has layers 0 (the embeddings) to {n_blocks}; name those")
    if not layers or len(set(layers)) < len(layers):
        raise InputError(f"layers is {', '.join(map(str, layers)) or 'empty'}: name each layer once, and at least one")
    return tuple(layers)


@contextmanager
def blocks_up_to(model: Any, n_blocks: int, top: int | None) -> Iterator[None]:
    """Run only the blocks of a transformer that a layer needs, and one more, as a norm may follow the last.

    Parameters
    ----------
    model : torch.nn.Module
    n_blocks : int
        How many it has; where its list of them cannot be told by that number, all are run.
    top : int or None
        The highest layer that is needed, 0 being what goes into the first block; None for all.

    Yields
    ------
    None
    """
    import torch

    lists = [
        (parent, name)
        for parent in model.modules()
        for name, child in parent.named_children()
        if isinstance(child, torch.nn.ModuleList) and len(child) == n_blocks
    ]
    if top is None or top + 1 >= n_blocks or len(lists) != 1:
        yield
        return
    ((parent, name),) = lists
    whole = getattr(parent, name)
    setattr(parent, name, whole[: top + 1])
    try:
        yield
    finally:
        setattr(parent, name, whole)
