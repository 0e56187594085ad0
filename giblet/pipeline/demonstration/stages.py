"""How far a demonstration is: one stage after the other, each with its time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Stage:
    """One stage, as it begins, goes on, or ends."""

    name: str
    """Such as ``"train"``."""
    what: str
    """What it does, in a few words."""
    number: int
    """From 1."""
    of: int
    """How many there are."""
    seconds: float | None = None
    """How long it took; None as long as it goes on."""
    done: float | None = None
    """Share of it that is done, 0 to 1, where that is known."""


Tell = Callable[[Stage], None]
"""Called as a stage begins, goes on and ends."""


class Stages:
    """Stages in their order, told to whoever asked.

    Parameters
    ----------
    of : int
        How many there are.
    tell : callable, optional
        Called with each stage as it begins, goes on and ends.
    """

    def __init__(self, of: int, tell: Tell | None) -> None:
        self.of, self.tell = of, tell
        self.ended: list[Stage] = []

    @contextmanager
    def stage(self, name: str, what: str) -> Iterator[Callable[[float], None]]:
        """The block is a stage.

        Parameters
        ----------
        name, what : str
            As those of :class:`Stage`.

        Yields
        ------
        callable
            To be called with the share that is done, 0 to 1.
        """
        now = Stage(name, what, len(self.ended) + 1, self.of)
        began = time.perf_counter()

        def told(stage: Stage) -> None:
            if self.tell is not None:
                self.tell(stage)

        told(now)
        yield lambda done: told(replace(now, done=done))
        self.ended.append(replace(now, done=1.0, seconds=time.perf_counter() - began))
        told(self.ended[-1])
