"""Tasks on worker processes, of this machine or of a cluster: Dask starts them, gives them work and sees them die.

Dask (``distributed``, the extra ``cluster``) schedules. Four things are added to it, each for a reason:

- A task tells the scheduler when it begins and when it ends. By that it is known how often a worker died *while at work
  on it*: a node that goes down costs a film one attempt, and a film that does not fit into memory is given up. Dask's
  own count, ``allowed-failures``, holds a death against all tasks that waited on the worker too.
- A worker of this machine that does not come back is replaced. Dask's nanny restarts one that was killed, unless that
  happened while the nanny itself was starting: then it closes, or stands by with no process, and the cluster keeps its
  place taken.
- What is loaded for the first task of a worker (a codec, a model) is kept for the next ones.
- What giblet logs in a worker is logged again here, with the name of the task.
"""

from __future__ import annotations

import importlib.util
import logging
import multiprocessing.resource_tracker
import os
import pkgutil
import signal
import socket
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, chdir, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from giblet.errors import GibletError, InputError, one_line
from giblet.urls import mirror_of
from giblet.version import __version__

if TYPE_CHECKING:
    from distributed import Client, Future, LocalCluster

log = logging.getLogger(__name__)
T = TypeVar("T")

PATIENCE = 5.0
"""Seconds without a process after which a worker of this machine is replaced."""
STARTING = 300
"""Seconds that a worker may take to start: libraries on a slow shared disk are read in minutes."""
ANSWER = 15.0
"""Seconds within which a scheduler has to answer."""
FETCHED = 5.0
"""Seconds within which a value comes from the worker that has it, if that lives."""
IN_VAIN = 10
"""Workers that are replaced one after another, with no task finished, until it is given up."""
UNBEGUN = 25
"""How often Dask may give up a task, besides those times that it began again (each time after several workers died)."""
GONE = "the Dask scheduler went away: start it, and give the same command again to go on"
BEGUN, ENDED = "begun", "ended"
"""What a task tells the scheduler."""
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Workers:
    """Where tasks run.

    Attributes
    ----------
    n : int or None
        Worker processes that are started on this machine, which divide its processors between them.
    scheduler : str or None
        In place of them the address of a Dask scheduler, such as ``"tcp://node1:8786"``.
    retries : int
        How often a task begins again whose worker died while at work on it.
    """

    n: int | None
    scheduler: str | None
    retries: int

    @classmethod
    def asked(cls, workers: int | None, scheduler: str | None, retries: int) -> Workers | None:
        """What options ask for.

        Parameters
        ----------
        workers : int or None
        scheduler : str or None
        retries : int

        Returns
        -------
        Workers or None
            None where nothing is asked for: all is done in this process.

        Raises
        ------
        InputError
            If that cannot be, or Dask is not installed.
        """
        if workers is None and scheduler is None:
            return None
        if workers is not None and scheduler is not None:
            raise InputError(
                f"workers is {workers}; scheduler is {scheduler!r}: give one, as a scheduler has workers of its own"
            )
        if workers is not None and workers < 1:
            raise InputError(f"workers is {workers}: 1 or more are needed")
        if retries < 0:
            raise InputError(f"retries is {retries}: 0 or more are needed")
        if importlib.util.find_spec("distributed") is None:
            raise InputError("Dask is not installed, which runs workers: pip install 'giblet[cluster]'")
        return cls(workers, scheduler, retries)


@dataclass(frozen=True)
class Attempt(Generic[T]):
    """How a task ended: with its value, or with what it raised."""

    value: T | None
    error: Exception | None = None
    logged: tuple[tuple[str, int, str], ...] = ()
    """What giblet logged meanwhile: logger, level, message."""


@dataclass(frozen=True)
class _Common:
    """What all tasks of one run are told."""

    run: str
    work: Callable[[Any], Any]
    folder: Path
    """The working directory, to which paths may be relative."""
    visible: Path
    """A file that whoever sees the output folder sees."""
    level: int
    retries: int
    version: str = __version__


class _Crew(Protocol):
    """Workers that are at hand."""

    client: Client

    def tend(self, finished: bool) -> None:
        """See to it that there are workers; `finished`: a task ended since the last call."""


def on_workers(
    work: Callable[[Any], T], tasks: Mapping[str, Any], where: Workers, *, visible: Path
) -> Generator[tuple[str, Attempt[T]]]:
    """Do tasks on workers, one at a time on each.

    Parameters
    ----------
    work : callable
        Called with what a task is given. Each worker keeps the one that it got first, and with it what that has loaded,
        such as a model.
    tasks : mapping of str to object
        By name what each is given.
    where : Workers
    visible : Path
        A file in the folder of the results, which workers must see, too.

    Yields
    ------
    name : str
    attempt : Attempt
        As soon as it is done, in any order. An error of one task stops no other.

    Raises
    ------
    InputError
        If there is no such scheduler, or its workers have another version of giblet, or several threads.
    GibletError
        If workers cannot be started, or the scheduler goes away.
    """
    if not tasks:
        return
    level = logging.getLogger("giblet").getEffectiveLevel()
    common = _Common(uuid.uuid4().hex, work, Path.cwd(), visible.absolute(), level, where.retries)
    with _local(where.n, len(tasks)) if where.n is not None else _remote(str(where.scheduler)) as crew:
        for name, attempt in _collected(crew, common, tasks):
            for logger, severity, message in attempt.logged:
                said = message if name in message else f"{name}: {message}"
                logging.getLogger(logger).log(severity, "%s", said)
            yield name, attempt


def _collected(crew: _Crew, common: _Common, tasks: Mapping[str, Any]) -> Iterator[tuple[str, Attempt[Any]]]:
    from distributed import CancelledError, wait

    def submit(name: str) -> Future:
        return crew.client.submit(_attempt, common, name, tasks[name], pure=False)

    pending = {submit(name): name for name in tasks}
    unbegun: Counter[str] = Counter()
    finished = False
    while pending:
        crew.tend(finished)
        try:
            with suppress(TimeoutError), crew.client.as_current():
                wait(list(pending), timeout=1.0, return_when="FIRST_COMPLETED")
        except CancelledError as exc:
            raise GibletError(GONE) from exc
        ended = [future for future in pending if future.done()]
        finished = bool(ended)
        for future in ended:
            try:
                attempt = _attempt_of(future)
            except TimeoutError:  # it is done again, by a worker that may have to be started
                continue
            name = pending.pop(future)
            if attempt is None and unbegun[name] < UNBEGUN + common.retries:
                unbegun[name] += 1
                pending[submit(name)] = name
                continue
            yield name, attempt or Attempt(None, InputError(f"{name}: workers die before they begin with it"))


def _attempt_of(future: Future) -> Attempt[Any] | None:
    """How a task ended that Dask is done with; None if Dask gave it up as its workers died.

    Raises
    ------
    TimeoutError
        If the value is lost with the worker that had it.
    """
    from distributed import KilledWorker

    status = future.status
    if status == "finished":
        attempt: Attempt[Any] = future.result(timeout=FETCHED)
        return attempt
    if status == "pending":
        raise TimeoutError
    if status != "error":  # cancelled, or lost
        raise GibletError(GONE)
    error = future.exception()
    if isinstance(error, KilledWorker):
        return None
    return Attempt(None, error if isinstance(error, Exception) else GibletError(one_line(error)))


# ---- on a worker ----

_one_at_a_time = threading.Lock()
_kept: dict[str, Callable[[Any], Any]] = {}
"""The work of the present run, with all that it has loaded."""


def _attempt(common: _Common, name: str, given: Any) -> Attempt[Any]:
    """One task, as a worker does it."""
    import dask

    topic = f"giblet-{common.run}-{name}"
    n_died = _deaths_at(topic)
    if n_died > common.retries:
        why = f"{name}: its worker died {n_died} times while at work on it; does it need more memory than there is?"
        return Attempt(None, GibletError(why))
    with _one_at_a_time, _logged(common.level) as logged, _at_work(topic):
        try:
            _check_place(common)
            if common.run not in _kept:
                _kept.clear()
                _kept[common.run] = common.work
            # Else xarray, which sees Dask at work, asks the scheduler for a lock for each file that it writes.
            with dask.config.set(scheduler="synchronous"), chdir(common.folder):
                return Attempt(_kept[common.run](given), None, tuple(logged))
        except GibletError as exc:
            return Attempt(None, exc, tuple(logged))


def _deaths_at(topic: str) -> int:
    """How many workers died while they were at work on a task.

    One that died later, when another task was begun, counts there, even if the value was lost with it.
    """
    from distributed import get_client

    said = [event for _, event in get_client().get_events(topic)]
    return said.count(BEGUN) - said.count(ENDED)


@contextmanager
def _at_work(topic: str) -> Iterator[None]:
    """Tell the scheduler when a task begins and ends."""
    from distributed import get_client

    client = get_client()
    client.log_event(topic, BEGUN)
    try:
        yield
    finally:
        client.log_event(topic, ENDED)


def _check_place(common: _Common) -> None:
    """An error if this worker is not fit for the run."""
    if common.version != __version__:
        raise InputError(_other_version(socket.gethostname(), __version__))
    for path in (common.visible, common.folder):
        if mirror_of(path) is None and not path.exists():
            raise InputError(
                f"the worker on {socket.gethostname()} does not see {path}: inputs and outputs must be on a disk that "
                "all workers see by the same path"
            )


def _other_version(worker: str, version: object) -> str:
    return (
        f"the worker {worker} has giblet {version}, and this command is of giblet {__version__}: install the same "
        "version for both"
    )


@contextmanager
def _logged(level: int) -> Iterator[list[tuple[str, int, str]]]:
    """What giblet logs within the block."""
    found: list[tuple[str, int, str]] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append((record.name, record.levelno, record.getMessage()))

    top = logging.getLogger("giblet")
    handler = Collect()
    before = top.level, top.propagate
    top.addHandler(handler)
    top.setLevel(level)
    top.propagate = False
    try:
        yield found
    finally:
        top.removeHandler(handler)
        top.setLevel(before[0])
        top.propagate = before[1]


# ---- workers of this machine ----


class _LocalCrew:
    """Worker processes of this machine, which are replaced if they are gone for good."""

    def __init__(self, cluster: LocalCluster, client: Client, n: int) -> None:
        self.client = client
        self._cluster, self._n = cluster, n
        self._gone: dict[Any, float] = {}
        self._in_vain = 0

    def tend(self, finished: bool) -> None:
        if finished:
            self._in_vain = 0
        with suppress(TimeoutError):
            dead = self._cluster.sync(self._dead, callback_timeout=ANSWER)
            if not dead:
                return
            self._in_vain += len(dead)
            if self._in_vain > IN_VAIN:
                raise GibletError(
                    f"worker processes do not start, or die at once ({self._in_vain} one after another): what "
                    "they log on the level INFO says why; a Python script has to ask for workers below "
                    "`if __name__ == '__main__':`"
                )
            log.info("replacing %d workers", len(dead))
            self._cluster.sync(self._cluster.scale_down, dead, callback_timeout=ANSWER)
        self._cluster.scale(self._n)

    async def _dead(self) -> list[Any]:
        """Names of workers that will not come back. It runs in the loop of the cluster, which changes what it reads."""
        from distributed import Status

        now, nannies = time.monotonic(), self._cluster.workers
        self._gone = {
            name: self._gone.get(name, now) for name, nanny in nannies.items() if not nanny.is_alive()
        }  # fmt: skip
        ended = (Status.closed, Status.failed)
        return [
            name for name, since in self._gone.items() if now - since >= PATIENCE or nannies[name].status in ended
        ]  # fmt: skip


@contextmanager
def _local(n: int, n_tasks: int) -> Iterator[_LocalCrew]:
    """Worker processes of this machine, as long as the block lasts."""
    import dask
    from dask.system import CPU_COUNT
    from distributed import Client, LocalCluster

    verbose = logging.getLogger("giblet").isEnabledFor(logging.INFO)
    config: dict[str, Any] = {
        # What is in the environment already goes before these.
        **{f"distributed.nanny.pre-spawn-environ.{name}": max(1, CPU_COUNT // n) for name in THREADS},
        "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": None,
        # The nannies live in this process and see workers end; these two would end some that are only slow.
        "distributed.scheduler.worker-ttl": None,
        "distributed.deploy.lost-worker-timeout": "365 days",
        # They take turns with the work.
        "distributed.worker.profile.enabled": False,
        "distributed.admin.system-monitor.gil.enabled": False,
    }
    n = min(n, n_tasks)
    with ExitStack() as stack:
        stack.enter_context(_environment_put_back())
        scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="giblet-workers-", ignore_cleanup_errors=True))
        stack.enter_context(dask.config.set(config | {"temporary-directory": scratch}))
        if not verbose:
            stack.enter_context(_quiet("asyncio", "tornado.application"))
        with _without_interrupts():
            cluster = LocalCluster(
                n_workers=0, threads_per_worker=1, processes=True, dashboard_address=None,
                scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},  # any free port: 8787 may be taken
                memory_limit=0, death_timeout=STARTING, silence_logs=False if verbose else logging.CRITICAL,
            )  # fmt: skip
        stack.callback(_close, cluster)
        client = stack.enter_context(Client(cluster, set_as_default=False))
        cluster.scale(n)
        yield _LocalCrew(cluster, client, n)


def _close(cluster: LocalCluster) -> None:
    with suppress(TimeoutError):  # what is left ends with this process
        cluster.close(timeout=60)


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Keep Ctrl-C from threads that start within the block, and from the processes that those start.

    A terminal tells all processes of a command, and each worker would print a traceback. This one stops them.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    multiprocessing.resource_tracker.ensure_running()  # starting it lets interrupts through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _environment_put_back() -> Iterator[None]:
    """Take out of the environment what Dask puts there for its workers."""
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)


@contextmanager
def _quiet(*names: str) -> Iterator[None]:
    """Keep loggers silent that tell how workers were restarted."""
    before = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)


# ---- workers of a cluster ----


class _RemoteCrew:
    """Workers that somebody else starts."""

    def __init__(self, client: Client, address: str) -> None:
        self.client = client
        self._address = address
        self._since: float | None = time.monotonic()

    def tend(self, finished: bool) -> None:
        if self._since is not None and time.monotonic() - self._since > ANSWER:
            if not self.client.scheduler_info()["workers"]:
                log.warning("the scheduler %s has no workers: waiting for the first", self._address)
            self._since = None


@contextmanager
def _remote(address: str) -> Iterator[_RemoteCrew]:
    from distributed import Client
    from distributed.comm.addressing import get_address_host_port

    verbose = logging.getLogger("giblet").isEnabledFor(logging.INFO)
    with ExitStack() as stack:
        if not verbose:
            stack.enter_context(_quiet("asyncio", "tornado.application", "distributed.client", "distributed.core"))
        try:
            get_address_host_port(
                address
            )  # a client that fails at this waits for itself when it goes, with a traceback
            client = Client(address, timeout=ANSWER, set_as_default=False)
        except (OSError, ValueError) as exc:
            raise InputError(
                f"no Dask scheduler answers at {address!r} ({one_line(exc)}): the address that it prints is needed, as "
                "in tcp://node1:8786"
            ) from exc
        with client:
            _check_workers(client)
            yield _RemoteCrew(client, address)


def _check_workers(client: Client) -> None:
    """An error if a worker that is there now is not fit; those that come later check themselves."""
    versions = client.run(pkgutil.resolve_name, "giblet.version:__version__", on_error="return")
    for worker, version in versions.items():
        if isinstance(version, Exception):
            raise InputError(
                f"the worker {worker} has no giblet ({one_line(version)}): install giblet {__version__} there"
            )
        if version != __version__:
            raise InputError(_other_version(worker, version))
    for worker, about in client.scheduler_info(n_workers=-1)["workers"].items():
        if about["nthreads"] != 1:
            raise InputError(
                f"the worker {worker} has {about['nthreads']} threads: workers with one are needed, which do one task "
                "at a time; start them with nthreads 1, and OMP_NUM_THREADS says how many threads a task may use"
            )
