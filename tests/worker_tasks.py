"""What tests give to workers, in a module that is imported at once; and what kills workers meanwhile."""

from __future__ import annotations

import logging
import os
import random
import resource
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from giblet.errors import InputError

log = logging.getLogger("giblet.tests")


class Work:
    """Says who does it, and how many tasks came before; of some words it does something else."""

    def __init__(self) -> None:
        self.n_done = 0

    def __call__(self, given: Any) -> dict[str, Any]:
        if given == "odd":
            raise InputError("odd is no number: give another")
        if given == "fault":
            raise ZeroDivisionError("a fault")
        if given == "hungry":
            hungry()
        if given == "deadly":
            os.kill(os.getpid(), signal.SIGKILL)
        if given == "warns":
            log.warning("half of it is silent")
        self.n_done += 1
        threads = {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "GIBLET_TEST", "MALLOC_TRIM_THRESHOLD_")}
        return {"given": given, "process": os.getpid(), "n_done": self.n_done, "folder": Path.cwd(), **threads}


def hungry() -> None:
    """Takes more memory than this process may have."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + 2**28, before[1]))
    try:
        np.ones(2**30)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def slowly(given: int) -> int:
    """Twice the number, after a while."""
    time.sleep(0.4)
    return 2 * given


def dies_with_its_value(given: Path) -> int:
    """The worker dies as soon as the task is done, before or after its value is fetched; the first time only."""
    if not given.exists():
        given.touch()
        threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGKILL)).start()
    return 1


def worker_processes(pid: int | None = None) -> list[psutil.Process]:
    """Those that a process has started, this one by default; some may still be starting."""
    found = []
    for child in psutil.Process(pid).children():
        with suppress(psutil.Error):
            if any("spawn_main" in word for word in child.cmdline()):
                found.append(child)
    return found


@contextmanager
def killed_now_and_then(every: float, times: int, seed: int = 0) -> Iterator[list[int]]:
    """Kill a worker of this process every so many seconds, so many times at most; yields those killed so far."""
    over, killed, rng = threading.Event(), list[int](), random.Random(seed)

    def kill() -> None:
        while len(killed) < times and not over.wait(every):
            if there := worker_processes():
                one = rng.choice(there)
                with suppress(psutil.NoSuchProcess):
                    one.kill()
                    killed.append(one.pid)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield killed
    finally:
        over.set()
        thread.join()
