"""Leaving a training run between two steps: Ctrl-C and a cluster's SIGTERM wait until its state can be saved."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """Whether a signal asked the run to stop, and how to leave once it is saved."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def __bool__(self) -> bool:
        return self.signal is not None

    def leave(self) -> None:
        """Do what the signal asked for.

        Raises
        ------
        KeyboardInterrupt
            After Ctrl-C.
        SystemExit
            After SIGTERM, with the status that shells give it, 143.
        """
        if self.signal == signal.SIGINT:
            raise KeyboardInterrupt
        if self.signal is not None:
            raise SystemExit(128 + self.signal)


@contextmanager
def delayed_signals() -> Iterator[Stop]:
    """Note SIGINT and SIGTERM instead of obeying; the second one is obeyed at once.

    Outside the main thread, where Python allows no signal handlers, nothing is noted. A signal that was ignored before
    (background jobs of a shell ignore Ctrl-C) still is.

    Yields
    ------
    Stop
        True as soon as a signal has come.
    """
    stop = Stop()
    before: dict[signal.Signals, Any] = {}

    def note(number: int, frame: FrameType | None) -> None:
        stop.signal = number
        for each, handler in before.items():
            signal.signal(each, handler)

    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            # None is a handler that was not set from Python: it could not be put back
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                before[number] = signal.signal(number, note)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
