"""How many processes, on what."""

from __future__ import annotations

import importlib.util
import logging
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment
from lightning_fabric.strategies import DDPStrategy

from giblet.device import pick_device
from giblet.errors import GibletError, InputError
from giblet.files import claimed
from giblet.signals import SIGNALS
from giblet.training.settings import TrainSettings


def check_devices(settings: TrainSettings) -> str:
    """The kind of device that a run computes on.

    Parameters
    ----------
    settings : TrainSettings

    Returns
    -------
    {"cpu", "cuda", "mps"}

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


LAUNCHERS = (
    ("torchrun", "WORLD_SIZE"), ("mpirun", "OMPI_COMM_WORLD_SIZE"), ("mpirun", "MV2_COMM_WORLD_SIZE"),
    ("mpiexec", "PMI_SIZE"), ("jsrun", "JSM_NAMESPACE_SIZE"), ("srun", "SLURM_STEP_NUM_TASKS"),
)  # fmt: skip
"""What starts copies of a command, innermost first, and the variable in which it says how many."""
NO_STEP = 0xFFFFFFF0
"""From here on, numbers of SLURM's steps mark the script of a job and the like, not tasks of srun."""


def check_launcher(settings: TrainSettings, environment: Mapping[str, str] = os.environ) -> None:
    """Refuse copies of this process that would each train by itself, or wait for others that nobody starts.

    Parameters
    ----------
    settings : TrainSettings
    environment : mapping of str to str
        Where launchers say how many processes they started.

    Raises
    ------
    InputError
        If the launcher started another number of processes than the settings say, or is one whose processes cannot
        find each other.
    """
    wanted = settings.devices * settings.num_nodes
    asked = f"devices is {settings.devices}, num_nodes {settings.num_nodes}"
    name, started = _started(environment)
    by_slurm = "SLURM_NTASKS" in environment and environment.get("SLURM_JOB_NAME") not in ("bash", "interactive")
    if started is None and by_slurm and wanted > 1:
        raise InputError(
            f"{asked}, and this is one process in a job of SLURM: start the {wanted} processes with srun "
            f"(--nodes={settings.num_nodes} --ntasks-per-node={settings.devices}), or set devices: 1 and num_nodes: 1"
        )
    if started is None or (started == 1 and wanted == 1):
        return
    if started != wanted and (started > 1 or name == "torchrun" or (name == "srun" and by_slurm)):
        raise InputError(
            f"{name} started {started} process{'es' if started > 1 else ''}, {asked}: that makes {wanted}. Each would "
            f"train by itself in one folder, or wait for others; start {wanted}, or let devices times num_nodes be "
            f"{started}"
        )
    if name == "torchrun" and wanted > 1:
        _check_restarts(environment)
    if started > 1 and name in ("mpirun", "mpiexec") and importlib.util.find_spec("mpi4py") is None:
        raise InputError(
            f"{name} started {started} processes, which find each other by mpi4py only: pip install mpi4py, or start "
            "them with srun or torchrun"
        )
    if started > 1 and name == "srun" and not by_slurm:
        raise InputError(
            f"srun started {started} processes in a job named {environment.get('SLURM_JOB_NAME')!r}, a name that marks "
            "interactive work with one process; give srun another --job-name"
        )


def _check_restarts(environment: Mapping[str, str]) -> None:
    """Refuse restarts by torchrun after which the processes would wait for each other without end.

    By default it keeps one store over restarts, in which new processes find the addresses of those that are gone (torch
    2.13, `pytorch/pytorch#135712`).
    """
    restarts = environment.get("TORCHELASTIC_MAX_RESTARTS", "0")
    if restarts.isdecimal() and int(restarts) > 0 and environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        raise InputError(
            f"torchrun is to restart processes (max-restarts is {restarts}), and those that it restarts would look for "
            "ones that are gone: set TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 for torchrun and give it --rdzv-backend "
            "c10d, or leave out --max-restarts and start it again by hand"
        )


def _started(environment: Mapping[str, str]) -> tuple[str, int | None]:
    """Which launcher started this process, and how many it started; None where none says so."""
    said = dict(environment)
    if "RANK" not in said:
        # Lightning leaves it behind after it has started processes itself; torchrun and Kubernetes set RANK too.
        said.pop("WORLD_SIZE", None)
    step, rank = said.get("SLURM_STEP_ID", ""), said.get("SLURM_PROCID", "")
    if (step.isdecimal() and int(step) < NO_STEP) or (rank.isdecimal() and int(rank) > 0):
        # Without a step, in the script of a job, SLURM_NTASKS is what was asked for, and one process runs.
        said.setdefault("SLURM_STEP_NUM_TASKS", said.get("SLURM_NTASKS", "1"))
    tasks = said.get("SLURM_STEP_NUM_TASKS")
    for name, variable in LAUNCHERS:
        number = said.get(variable)
        if number is None or (number == tasks and name in ("mpirun", "mpiexec")):
            continue  # srun speaks for MPI too
        if not number.isdecimal() or int(number) < 1:
            raise InputError(f"{variable} is {number!r}; expected a number of processes; correct or unset it")
        return name, int(number)
    return "", None


def _processors() -> int:
    """Processors that this process may use; a cluster's job gets fewer than the node has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def launch(settings: TrainSettings) -> Fabric:
    """The processes of the run; in each of them this returns.

    Parameters
    ----------
    settings : TrainSettings

    Returns
    -------
    lightning_fabric.Fabric
        Launched.

    Raises
    ------
    InputError
        If the device is not there, or the cluster started other processes than the settings say.
    """
    kind = check_devices(settings)
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    wanted = settings.devices * settings.num_nodes
    several = settings.strategy == "ddp" or wanted > 1
    try:
        fabric = Fabric(
            accelerator=kind, devices=settings.devices, num_nodes=settings.num_nodes, precision=settings.precision,
            # A step is of one subject: the brain layers of the others get no gradient. With one there is nothing to
            # look for, and looking costs a walk through the graph per step.
            # Buffers are the same in all, and large: none is sent.
            strategy=DDPStrategy(find_unused_parameters=len(settings.data.subjects) > 1, broadcast_buffers=False)
            if several
            else "auto",
            # One process has none to find: what a cluster's job says of its tasks is not about it.
            plugins=[LightningEnvironment()] if wanted == 1 else None,
        )  # fmt: skip
        fabric.launch()
    except (ValueError, RuntimeError) as exc:
        raise InputError(
            f"cannot start {wanted} process{'es' if wanted > 1 else ''} (devices {settings.devices}, num_nodes "
            f"{settings.num_nodes}): "
            f"{' '.join(str(exc).split())[:300]}"
        ) from exc
    return fabric


@contextmanager
def alone(fabric: Fabric, folder: Path) -> Iterator[None]:
    """Keep other trainings out of the folder of a run within the block.

    Parameters
    ----------
    fabric : lightning_fabric.Fabric
    folder : Path
        Of the run; made if it is missing.

    Yields
    ------
    None

    Raises
    ------
    InputError
        In all processes of this training, if another is at work there or the folder cannot be written to.
    """
    with ExitStack() as stack:
        refused = None
        if fabric.global_rank == 0:
            try:
                stack.enter_context(claimed(folder))
            except InputError as exc:
                refused = str(exc)
        refused = fabric.broadcast(refused)
        if refused is not None:
            raise InputError(refused)
        yield


def agree(fabric: Fabric, folder: Path, state: Mapping[str, Any] | None) -> None:
    """Refuse processes that would go on from different states of a run.

    Parameters
    ----------
    fabric : lightning_fabric.Fabric
        Launched.
    folder : Path
        Of the run.
    state : mapping, optional
        Which this process has read there.

    Raises
    ------
    InputError
        In all processes, if they have not read the same one: each node may have a folder of this name of its own, or
        the state was written again while they read it.
    """
    if fabric.world_size == 1:
        return
    read: list[Any] = [None] * fabric.world_size
    torch.distributed.all_gather_object(read, None if state is None else (state["step"], state["sha256"]))
    if any(one != read[0] for one in read):
        told = ", ".join("no state" if one is None else f"step {one[0]}" for one in read)
        raise InputError(
            f"the processes have read different states in {folder} ({told}): the output folder must be on a disk that "
            "all nodes see; if it is, another training has just written there, so give the same command again"
        )


@contextmanager
def lost(fabric: Fabric, folder: Path) -> Iterator[None]:
    """Say in a line that another process of the training has gone.

    Parameters
    ----------
    fabric : lightning_fabric.Fabric
    folder : Path
        Of the run.

    Yields
    ------
    None

    Raises
    ------
    GibletError
        In place of what gloo or NCCL raise when a process cannot be reached any more.
    """
    try:
        yield
    except RuntimeError as exc:
        network = isinstance(exc, torch.distributed.DistError) or any(word in str(exc) for word in ("gloo", "NCCL"))
        if fabric.world_size == 1 or not network:
            raise
        raise GibletError(
            f"process {fabric.global_rank} of {fabric.world_size} cannot reach another one: was it killed, or its node "
            f"lost? Start all of them again with the same command; they go on from the last state in {folder}"
        ) from exc


def ignore_signals(_worker: int) -> None:
    """In a process that reads ahead: a stop is signalled to it too, and the step under way needs its windows.

    Parameters
    ----------
    _worker : int
        Number of the process, which a DataLoader gives; not used.
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
