"""A giblet command in a process of its own, which can be stopped where it touches its files, or after some time.

The processes are forked from one that has imported giblet and torch and computed nothing, so that one more takes a
fraction of a second.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["torch", "transformers", "giblet.codec.encodec", "giblet.cli", "tests.commands"])
WRITING = os.O_WRONLY | os.O_RDWR
CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.symlink"}
LIMIT_S = 600
"""A command that takes longer hangs."""


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    """Exit status; a negative one is the signal that killed it."""
    said: str
    told: str
    """On stderr."""
    changes: int
    """How often it was about to write, rename or remove something in its folder."""


@dataclass(frozen=True)
class Stop:
    """When a command is stopped: before its n-th change of its folder, or after some seconds."""

    change: int | None = None
    seconds: float | None = None
    by: signal.Signals = signal.SIGKILL


def run(
    argv: Sequence[object], folder: Path, stop: Stop | None = None, before: Callable[[], None] | None = None
) -> Ended:
    """Run a command that writes into `folder`.

    Parameters
    ----------
    argv : sequence of object
        After ``giblet``.
    folder : Path
    stop : Stop, optional
    before : callable, optional
        Called in the new process first, to take something from it; it must be importable.

    Returns
    -------
    Ended
    """
    stop = stop or Stop()
    ours, theirs = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=_command, args=(list(map(str, argv)), str(folder), stop, before, theirs))
    process.start()
    theirs.close()
    timer = threading.Timer(stop.seconds or 0, _signal, (process, stop.by))
    if stop.seconds is not None:
        timer.start()
    try:
        found = ours.recv() if ours.poll(LIMIT_S) else None
    except EOFError:  # killed
        found = ()
    timer.cancel()
    if found is None:
        process.kill()
        raise AssertionError(f"giblet {' '.join(map(str, argv))} has not ended after {LIMIT_S} s")
    process.join(LIMIT_S)
    assert process.exitcode is not None, "the process does not end"
    return Ended(*found) if found else Ended(process.exitcode, "", "", -1)


def _signal(process: Any, by: signal.Signals) -> None:
    if process.is_alive():
        os.kill(process.pid, by)


def _command(argv: list[str], folder: str, stop: Stop, before: Callable[[], None] | None, told: Any) -> None:
    from tests.commands import giblet

    signal.signal(signal.SIGINT, signal.default_int_handler)  # processes in the background ignore it
    changes = 0

    def seen(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal changes
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING
        if not (writes or event in CHANGES) or not str(arguments[0]).startswith(folder):
            return
        changes += 1
        if changes == stop.change:
            os.kill(os.getpid(), stop.by)

    if before is not None:
        before()
    sys.addaudithook(seen)
    status, out, err = giblet(*argv)
    told.send((status, out, err, changes))
