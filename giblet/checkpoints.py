"""What every checkpoint is made of: tensors as safetensors, all else as JSON that names its format; never a pickle.

Files are written whole or not at all. What belongs in them, and which of them to go on from, is said by each training:
:mod:`giblet.training.checkpoint` and :mod:`giblet.codec.training.checkpoints`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.overrides import TorchFunctionMode

from giblet.errors import CheckpointError, InputError, one_line, reading
from giblet.files import atomic_path

SMALL = 10**7
"""Numbers that are made without asking."""


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> Path:
    """Write tensors by name as safetensors.

    Parameters
    ----------
    path : Path
        Its folder is made if it is missing.
    tensors : mapping of str to Tensor
        On any device; they may share memory.
    metadata : dict of str to str, optional
        For the header of the file.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    InputError
        If it cannot be written; a file that stood there before still does then.

    See Also
    --------
    read_tensors : reads them.
    """
    # Each tensor in memory of its own: safetensors refuses tensors that share.
    apart = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    with atomic_path(path) as temporary:
        try:
            save_file(apart, temporary, metadata)
        except SafetensorError as exc:  # a full disk too: it is no OSError
            raise InputError(
                f"cannot write {path} ({one_line(exc)}): free some space or choose another output folder; what was "
                "saved before is kept"
            ) from exc
    return path


def read_tensors(path: Path, remedy: str) -> dict[str, Tensor]:
    """Tensors by name from a safetensors file, on the CPU.

    Parameters
    ----------
    path : Path
    remedy : str
        What to do if it cannot be read, for the message.

    Returns
    -------
    dict of str to Tensor

    Raises
    ------
    CheckpointError
        If it is absent or damaged.

    See Also
    --------
    write_tensors : writes them.
    """
    with reading(f"checkpoint {path}", remedy, CheckpointError):
        return load_file(path)


def read_state(path: Path, file_format: str, needed: Iterable[str], remedy: str) -> dict[str, Any]:
    """The JSON beside the tensors of a checkpoint.

    Parameters
    ----------
    path : Path
    file_format : str
        What its ``format`` must be.
    needed : iterable of str
        What else it must have.
    remedy : str
        What to do if it cannot be used, for the message.

    Returns
    -------
    dict

    Raises
    ------
    CheckpointError
        If it is absent, damaged or of another format, or lacks something.
    """
    with reading(f"checkpoint {path}", remedy, CheckpointError):
        state = json.loads(path.read_text(encoding="utf-8"))
    found = state.get("format") if isinstance(state, dict) else type(state).__name__
    if found != file_format:
        raise CheckpointError(f"{path} has format {found!r}: this version reads {file_format!r}; {remedy}")
    if missing := [name for name in needed if name not in state]:
        raise CheckpointError(f"{path} lacks {', '.join(missing)}: damaged? {remedy}")
    return state


class SizeOf(TorchFunctionMode):
    """Within a block that builds a model, refuse one far larger than the weights that it is built for.

    A number in a damaged configuration may describe a model that takes all memory before its weights are seen not to
    fit.

    Parameters
    ----------
    tensors : mapping of str to Tensor
        The weights.
    what : str
        What describes the model, for the message.

    Raises
    ------
    CheckpointError
        If more than ten times as many numbers are made as there are weights; smaller differences are told by name when
        the weights are filled in.
    """

    MAKE = frozenset([torch.empty, torch.zeros, torch.ones, torch.rand, torch.randn, torch.full, torch.arange])

    def __init__(self, tensors: Mapping[str, Tensor], what: str) -> None:
        super().__init__()
        self.held, self.what = sum(value.numel() for value in tensors.values()), what
        self.made = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count what is made before it is."""
        named = dict(kwargs or {})
        if func in self.MAKE:
            size = named.get("size", args[:1] if func in (torch.full, torch.arange) else args)
            size = size[0] if len(size) == 1 and isinstance(size[0], (tuple, list)) else size
            self.made += math.prod(int(one) for one in size)
            if self.made > 10 * self.held + SMALL:
                raise CheckpointError(
                    f"{self.what} describes a model of {self.made} numbers or more, and its weights are {self.held}: "
                    "one of the two is damaged or of another model; copy both again"
                )
        return func(*args, **named)


def joined(parts: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Tensors of several objects in one mapping, named ``PART.NAME``.

    Parameters
    ----------
    parts : mapping of str to mapping of str to Tensor
        No name of a part holds a point.

    Returns
    -------
    dict of str to Tensor

    See Also
    --------
    separated : takes them apart.

    Examples
    --------
    >>> separated(joined({"model": {"a.weight": torch.zeros(1)}, "optimizer": {}}))
    {'model': {'a.weight': tensor([0.])}}
    """
    return {f"{part}.{name}": value for part, tensors in parts.items() for name, value in tensors.items()}


def separated(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """What `joined` put together, by part; a part without tensors is absent.

    Parameters
    ----------
    tensors : mapping of str to Tensor
        Named ``PART.NAME``.

    Returns
    -------
    dict of str to dict of str to Tensor

    See Also
    --------
    joined : puts them together.
    """
    parts: dict[str, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        part, _, inner = name.partition(".")
        parts.setdefault(part, {})[inner] = value
    return parts


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """State of an optimizer as a flat dict of tensors named ``INDEX.KEY``.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer

    Returns
    -------
    dict of str to Tensor
        Without the parameter groups, such as the learning rate.

    See Also
    --------
    restore_optimizer : puts them back.
    """
    return joined({str(index): entry for index, entry in optimizer.state_dict()["state"].items()})


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` returned.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Of parameters in the same order; its parameter groups stay as they are.
    tensors : mapping of str to Tensor
        Named ``INDEX.KEY``.

    Raises
    ------
    ValueError
        If it is of other parameters.

    See Also
    --------
    optimizer_tensors : gives them.
    """
    state = {int(index): entry for index, entry in separated(tensors).items()}
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for index, entry in state.items():  # torch would say so at the next step, and not in a sentence
        shapes = {value.shape for value in entry.values() if value.ndim}
        if index >= len(parameters) or shapes - {parameters[index].shape}:
            raise ValueError(
                f"the optimizer's state of parameter {index} is of other parameters: resume the run that wrote it"
            )
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
