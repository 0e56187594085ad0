"""How many processes, on what; and Ctrl-C between two steps, not within one."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy

from giblet.codec.device import pick_device
from giblet.errors import InputError
from giblet.training.settings import TrainSettings


def check_devices(settings: TrainSettings) -> str:
    """The kind of device, ``"cpu"``, ``"cuda"`` or ``"mps"``.

    Raises
    ------
    InputError
        If it is not there, or there are fewer than ``devices`` of it.
    """
    kind = pick_device(settings.device).type
    there = {"cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0, "mps": 1}.get(kind, _processors())
    if settings.devices > there:
        raise InputError(
            f"devices is {settings.devices}: this machine has {there} of {kind}, and each process needs its own; "
            f"lower it{', or choose another device' if kind != 'cpu' else ''}"
        )
    return kind


def _processors() -> int:
    """Processors that this process may use; a cluster's job gets fewer than the node has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def launch(settings: TrainSettings) -> Fabric:
    """The processes of the run; in each of them this returns.

    Raises
    ------
    InputError
        If the device is not there, or the cluster started other processes than the settings say.
    """
    kind = check_devices(settings)
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    several = settings.strategy == "ddp" or settings.devices * settings.num_nodes > 1
    try:
        fabric = Fabric(
            accelerator=kind, devices=settings.devices, num_nodes=settings.num_nodes, precision=settings.precision,
            # A step is of one subject: the brain layers of the others get no gradient. With one there is nothing to
            # look for, and looking costs a walk through the graph a step.
            strategy=DDPStrategy(find_unused_parameters=len(settings.data.subjects) > 1) if several else "auto",
        )  # fmt: skip
        fabric.launch()
    except (ValueError, RuntimeError) as exc:
        raise InputError(
            f"cannot start {settings.devices} processes on each of {settings.num_nodes} nodes: "
            f"{' '.join(str(exc).split())[:300]}"
        ) from exc
    return fabric


class Stop:
    """Whether Ctrl-C was pressed."""

    asked = False


@contextmanager
def between_steps() -> Iterator[Stop]:
    """Within the block the first Ctrl-C only asks to stop, so that no step is left half done; the second stops at once.

    Outside the main thread, where Python lets nobody handle signals, it does nothing.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def ask(_number: int, _frame: FrameType | None) -> None:
        if stop.asked:
            raise KeyboardInterrupt
        stop.asked = True

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


def ignore_ctrl_c(_worker: int) -> None:
    """In a process that reads ahead: a terminal sends Ctrl-C to it too, and the step under way needs its windows."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
