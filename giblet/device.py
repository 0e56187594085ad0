"""Where torch computes, and how exactly."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from giblet.errors import InputError

if TYPE_CHECKING:
    import torch


def pick_device(wanted: str | torch.device = "auto") -> torch.device:
    """The device to compute on.

    Parameters
    ----------
    wanted : str or torch.device
        ``"auto"``: CUDA, else Apple's MPS, else the CPU. Else a device by name, ``"cuda:1"``.

    Returns
    -------
    torch.device

    Raises
    ------
    InputError
        If there is no such device on this machine.
    """
    import torch

    there = ["cpu"]
    if torch.backends.mps.is_available():
        there.insert(0, "mps")
    if torch.cuda.is_available():
        there = ["cuda", *(f"cuda:{n}" for n in range(torch.cuda.device_count())), *there]
    if str(wanted) not in ("auto", *there):
        raise InputError(f"device {str(wanted)!r} is not on this machine; pass one of auto, {', '.join(there)}")
    return torch.device(there[0] if str(wanted) == "auto" else wanted)


@contextmanager
def exact_float32(device: torch.device, threads: int | None = None) -> Iterator[None]:
    """Inference with true float32 products: TF32 or bfloat16, which a training script may allow, would change codes.

    Parameters
    ----------
    device : torch.device
    threads : int, optional
        At most this many inside the block, fewer if the caller allows fewer.

    Yields
    ------
    None
    """
    import torch

    n_before = torch.get_num_threads()
    n_inside = n_before if threads is None else min(threads, n_before)
    backends: Any = torch.backends
    if hasattr(backends.cudnn, "rnn"):  # torch 2.9 and later
        ours = {
            "cpu": [backends.mkldnn.matmul, backends.mkldnn.rnn],
            "cuda": [backends.cuda.matmul, backends.cudnn.rnn],
        }
        name, exact = "fp32_precision", "ieee"
    else:
        ours = {"cuda": [backends.cuda.matmul, backends.cudnn]}
        name, exact = "allow_tf32", False  # type: ignore[assignment]
    before = [(owner, getattr(owner, name)) for owner in ours.get(device.type, [])]
    try:
        if n_inside != n_before:
            torch.set_num_threads(n_inside)
        for owner, value in before:
            if value != exact:
                setattr(owner, name, exact)
        with torch.inference_mode():
            yield
    finally:
        if n_inside != n_before:
            torch.set_num_threads(n_before)
        for owner, value in before:
            if value != exact:
                setattr(owner, name, value)
