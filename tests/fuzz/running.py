"""Damaged files, read in processes of their own, which may crash, hang or run out of memory, and what happened."""

from __future__ import annotations

import faulthandler
import logging
import multiprocessing
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from tests.fuzz.mutations import damaged

CPU_SECONDS, WALL_SECONDS = 10, 120
"""A file that takes longer is a hang: whole ones take less than 0.2 s. Sleeping takes no processor, and a busy machine
much time."""
STACK = "stack.txt"
"""Where a process stood when it crashed or was stopped."""
MEMORY = 2 * 2**30
"""Bytes that a reader may take beyond what the process has before it."""
Reader = Callable[[Path], object]
"""Of a file; raises a GibletError, or reads."""
READ, REFUSED, FAULT, OUTSIDE = "read", "refused", "fault", "outside"
NATIVE = ("av", "h5py")
"""Libraries around compiled ones in which a process may crash or hang on a file that giblet cannot tell to be bad."""


class Case(NamedTuple):
    """A damaged file: the same bytes whenever it is made."""

    format: str
    seed: int
    number: int

    def __str__(self) -> str:
        return f"{self.format!r}, seed {self.seed}, number {self.number}"


@dataclass(frozen=True)
class Outcome:
    case: Case
    kind: str
    """READ, REFUSED, FAULT, or OUTSIDE: a crash or a hang within a library of NATIVE."""
    told: str = ""


class Originals:
    """Whole files, made once, and copied with the damage of a case."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._files: dict[str, tuple[Path, Path]] = {}

    def copy(self, name: str, folder: Path) -> Path:
        """The files of a format, in another folder; the path is that of the one that is damaged."""
        from tests.fuzz.formats import FORMATS

        if name not in self._files:
            place = self.folder / f"{len(self._files)}"
            place.mkdir(parents=True)
            self._files[name] = place, FORMATS[name].make(place).relative_to(place)
        place, path = self._files[name]
        shutil.copytree(place, folder, dirs_exist_ok=True)
        return folder / path

    def content(self, name: str) -> bytes:
        """Of the file that is damaged, when it is whole."""
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            return self.copy(name, Path(folder)).read_bytes()

    def write(self, case: Case, folder: Path) -> Path:
        """The files of a case, of which one is damaged."""
        from tests.fuzz.formats import FORMATS

        rng = random.Random(f"{case.seed}/{case.format}/{case.number}")
        kin = [name for name, one in FORMATS.items() if one.read == FORMATS[case.format].read]
        other = self.content(rng.choice(kin))
        path = self.copy(case.format, folder)
        path.write_bytes(damaged(path.read_bytes(), rng, other, text=FORMATS[case.format].text))
        return path


def run(cases: Sequence[Case], folder: Path, read: Reader | None = None) -> Iterator[Outcome]:
    """What happens to each case, in their order, whatever happens to the process that reads it.

    `read` takes the place of the format's own reader.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.fuzz.formats"])
    at = 0
    while at < len(cases):
        ours, theirs = context.Pipe(duplex=False)
        own = folder / f"from-{at}"
        own.mkdir(parents=True)
        process = context.Process(target=_work, args=(theirs, cases[at:], own, read, CPU_SECONDS))
        process.start()
        theirs.close()
        while at < len(cases):
            try:
                outcome: Outcome | None = ours.recv() if ours.poll(WALL_SECONDS) else None
            except EOFError:
                break
            if outcome is None:
                process.kill()
                break
            yield outcome
            at += 1
            if outcome.kind == FAULT and outcome.told.startswith("memory"):
                break  # its peak stays with a process
        else:
            process.join()
            continue
        ours.close()
        process.join(10)
        if process.is_alive():
            process.kill()
            process.join()
        if process.exitcode != 0:
            yield _ended(cases[at], process.exitcode, own / STACK)
            at += 1


def _ended(case: Case, status: int | None, stack: Path) -> Outcome:
    """What is said of a process that ended in the middle of a file."""
    how = "hang"
    if status not in (-signal.SIGPROF, -signal.SIGKILL):
        how = f"status {status}" if status is None or status >= 0 else f"crash, {signal.Signals(-status).name}"
    files = re.findall(r'File "([^"]*)", line', stack.read_text()) if stack.exists() else []
    library = re.search(r"/site-packages/(\w+)/", files[0]) if files else None
    if library is not None and library[1] in NATIVE:
        return Outcome(case, OUTSIDE, f"{how} in {library[1]}")
    return Outcome(case, FAULT, f"{how} in {files[0] if files else 'a place unknown'}")


def _work(pipe: Connection, cases: Sequence[Case], folder: Path, read: Reader | None, seconds: float) -> None:
    """In the child: read one file after the other."""
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    stack = open(folder / STACK, "w")  # noqa: SIM115 - to the end of the process
    faulthandler.enable(stack, all_threads=False)
    faulthandler.register(signal.SIGPROF, stack, all_threads=False, chain=True)
    unraised: list[str] = []
    sys.unraisablehook = lambda one: unraised.append(repr(one.exc_value))
    tempfile.tempdir = str(folder)
    originals = Originals(folder / "whole")
    from tests.fuzz.formats import FORMATS

    for name in {case.format for case in cases}:
        FORMATS[name].read(originals.copy(name, folder / "unharmed"))
        shutil.rmtree(folder / "unharmed")
    used = _data_bytes()
    resource.setrlimit(resource.RLIMIT_DATA, (used + MEMORY, resource.RLIM_INFINITY))
    for case in cases:
        place = folder / "case"
        path = originals.write(case, place)
        signal.setitimer(signal.ITIMER_PROF, seconds)
        outcome = _outcome(case, path, unraised, read or FORMATS[case.format].read)
        signal.setitimer(signal.ITIMER_PROF, 0)
        shutil.rmtree(place, ignore_errors=True)
        pipe.send(outcome)
        if outcome.told.startswith("memory"):
            break
    pipe.close()
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)


def _outcome(case: Case, path: Path, unraised: list[str], read: Reader) -> Outcome:
    from giblet.errors import GibletError

    unraised.clear()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        read(path)
        outcome = Outcome(case, READ)
    except GibletError as exc:
        outcome = Outcome(case, REFUSED, str(exc))
        if (where := _out_of_memory(exc)) is not None:
            outcome = Outcome(case, FAULT, f"memory: {where}")
        elif not str(exc).strip():
            outcome = Outcome(case, FAULT, f"nothing said by {type(exc).__name__}")
    except BaseException as exc:  # noqa: BLE001 - what escapes is what is looked for
        outcome = Outcome(case, FAULT, _where(exc))
    if unraised:
        outcome = Outcome(case, FAULT, f"unraisable: {unraised[0]}")
    taken = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    return Outcome(case, FAULT, f"memory: {taken} bytes") if taken > MEMORY else outcome


def _out_of_memory(exc: BaseException) -> str | None:
    """Where memory ran out that would have been taken without the limit."""
    cause: BaseException | None = exc
    while cause is not None:
        if isinstance(cause, MemoryError) and not type(cause).__module__.startswith("av."):
            return _where(cause)
        cause = cause.__cause__ or cause.__context__
    return None


def _where(exc: BaseException) -> str:
    """An exception, and the last line of giblet's own that it came through."""
    frames = traceback.extract_tb(exc.__traceback__)
    own = next((one for one in reversed(frames) if "/giblet/" in one.filename), None)
    place = "" if own is None else f" in {Path(own.filename).name}, {own.name}, line {own.lineno}"
    return f"{type(exc).__name__}{place}: {' '.join(str(exc).split())[:160]}"


def _data_bytes() -> int:
    """What RLIMIT_DATA counts of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmData"))


def counted(outcomes: Sequence[Outcome]) -> dict[str, Counter[str]]:
    """How many files of each format were read, refused, and neither."""
    counts: dict[str, Counter[str]] = {}
    for outcome in outcomes:
        counts.setdefault(outcome.case.format, Counter())[outcome.kind] += 1
    return counts


def cases_of(names: Sequence[str], count: int, seed: int, first: int = 0) -> list[Case]:
    """`count` cases in all, the same number of each format, one format after the other."""
    each = -(-count // len(names))
    return [Case(name, seed, number) for name in names for number in range(first, first + each)]
