"""How many times as fast one thing is as another, measured in turns: what all benchmarks of speed share.

Contenders take turns (A B A B ...), so that whatever else the machine does slows both. Each turn gives a ratio, and the
median of these is what is reported, between the least and the greatest. Times are those of the clock or of the
processor, all threads and ended child processes together; the latter suffers less from what else is running.
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from page_tables import markdown

BENCHMARKS = Path(__file__).resolve().parent
ROOT = BENCHMARKS.parent
CALL = """
import dataclasses, importlib, json, sys
module, function, arguments, named = json.loads(sys.argv[1])
print("\\n" + json.dumps(dataclasses.asdict(getattr(importlib.import_module(module), function)(*arguments, **named))))
"""
COLUMNS = ("what", "beside", "times as fast", "least to most", "both, s", "time, turns", "wanted")


@dataclass(frozen=True)
class Measured:
    """What one run took, in seconds, and what came of it."""

    clock: float
    processor: float
    result: Any = None

    def seconds(self, time: str) -> float:
        """Of the clock or of the processor."""
        return {"clock": self.clock, "processor": self.processor}[time]


@dataclass(frozen=True)
class Ratio:
    """How many times as fast `what` is as `beside`."""

    what: str
    beside: str
    seconds: tuple[float, float]
    """Medians of both."""
    ratio: float
    """Median of the turns' ratios; `low` and `high` are the least and the greatest of them."""
    low: float
    high: float
    turns: int
    time: str
    """clock or processor"""
    at_least: float | None = None
    """The ratio that is wanted."""
    within: float | None = None
    """The seconds that are wanted of `what`."""

    @property
    def name(self) -> str:
        """What it is called within its benchmark."""
        return f"{self.what}, beside {self.beside}"

    @property
    def met(self) -> bool:
        """Whether it is what is wanted."""
        slow = self.at_least is not None and self.ratio < self.at_least
        return not slow and (self.within is None or self.seconds[0] <= self.within)

    def cells(self) -> list[str]:
        """Of a row of the table; bold where it is not what is wanted."""
        wanted = [f"at least {self.at_least:g} times"] if self.at_least is not None else []
        wanted += [f"within {self.within:g} s"] if self.within is not None else []
        found, spread = rounded(self.ratio), f"{rounded(self.low)} to {rounded(self.high)}"
        seconds = " / ".join(map(rounded, self.seconds))
        cells = [self.what, self.beside, found if self.met else f"**{found}**", spread, seconds]
        return [*cells, f"{self.time}, {self.turns}", ", ".join(wanted)]


class Turns:
    """Runs of contenders, by name, one of each in every turn."""

    def __init__(self, runs: dict[str, list[Measured]]) -> None:
        self.runs = runs

    def result(self, name: str) -> Any:
        """What came of the last run."""
        return self.runs[name][-1].result

    def seconds(self, name: str, time: str = "processor") -> float:
        """Median of the runs."""
        return median(one.seconds(time) for one in self.runs[name])

    def ratio(
        self,
        name: str,
        beside: str,
        *,
        what: str | None = None,
        time: str = "processor",
        share: float = 1.0,
        **wanted: Any,
    ) -> Ratio:
        """How many times as fast one contender is as another, which did only a `share` of the work."""
        own, other = ([one.seconds(time) for one in self.runs[who]] for who in (name, beside))
        turns = [slow / share / fast for slow, fast in zip(other, own, strict=True)]
        seconds = (median(own), median(other) / share)
        return Ratio(
            what or name, beside, seconds, median(turns), min(turns), max(turns), len(turns), time, **wanted
        )  # fmt: skip


def timed(job: Callable[[], Any]) -> Measured:
    """Run a job. One that gives a `Measured` has taken its own time, which counts."""
    clock, processor = time.perf_counter(), _processor()
    found = job()
    clock, processor = time.perf_counter() - clock, _processor() - processor
    return found if isinstance(found, Measured) else Measured(clock, processor, found)


def in_turns(contenders: Mapping[str, Callable[[], Any]], turns: int, *, warm_up: bool = True) -> Turns:
    """Run jobs by turns, after a turn that does not count (`warm_up`); what the last turn gives is kept."""
    runs: dict[str, list[Measured]] = {name: [] for name in contenders}
    for turn in range(turns + warm_up):
        for name, job in contenders.items():
            if runs[name]:  # what came of the run before would be memory that this one has not
                runs[name][-1] = replace(runs[name][-1], result=None)
            found = timed(job)
            runs[name] += [found] if turn >= warm_up else []
    return Turns(runs)


def in_own_process(
    function: Callable[..., Measured],
    *arguments: Any,
    package: Path | None = None,
    environment: Mapping[str, str] | None = None,
    **named: Any,
) -> Measured:
    """Call a function of a benchmark in a process of its own, which gives what it measured there.

    `arguments`, `named` and the result are what JSON can hold. `package` is a checkout whose giblet is used in place of
    this.
    """
    places = [BENCHMARKS, package, os.environ.get("PYTHONPATH")]
    path = os.pathsep.join(str(place) for place in places if place)
    called = json.dumps([Path(inspect.getfile(function)).stem, function.__name__, arguments, named], default=str)
    done = subprocess.run(
        [sys.executable, "-P", "-c", CALL, called],
        env={**os.environ, **(environment or {}), "PYTHONPATH": path}, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    return Measured(**json.loads(done.stdout.splitlines()[-1]))


def threads(number: int) -> dict[str, str]:
    """The environment in which a process computes with so many threads, which sleep while they wait."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return {**dict.fromkeys(names, str(number)), "OMP_WAIT_POLICY": "PASSIVE"}


def time_of(threads: int) -> str:
    """Which time says more: the clock's if threads share the work, else the processor's."""
    return "clock" if threads > 1 else "processor"


def peak_mib(*, begin: bool = False) -> float:
    """Most memory of this process since a call that began a count; since its start where Linux does not say."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    if begin:
        Path("/proc/self/clear_refs").write_text("5")
    return int(next(line for line in status.read_text().splitlines() if line.startswith("VmHWM")).split()[1]) / 1024


def agree(what: str, difference: float, most: float) -> None:
    """Print how far contenders are apart; a ratio of things that differ means nothing.

    Raises
    ------
    ValueError
        If they differ by more than `most`.
    """
    print(f"{what}: {difference:.1e} apart", flush=True)
    if not difference <= most:
        raise ValueError(f"{what}: what is compared differs by {difference:.1e}, more than {most:g}")


def run(measure: Callable[[argparse.Namespace], list[Ratio]], parser: argparse.ArgumentParser) -> int:
    """What each benchmark does when it is called: measure, print the table; 1 if a ratio is not what is wanted."""
    parser.add_argument("--save", type=Path, help="write the ratios there, as JSON")
    options = parser.parse_args()
    found = measure(options)
    print("\n" + table(found), flush=True)
    if options.save:
        options.save.write_text(json.dumps([asdict(one) for one in found]), encoding="utf-8")
    return int(not all(one.met for one in found))


def table(found: Sequence[Ratio]) -> str:
    """One row for each."""
    return markdown(COLUMNS, [one.cells() for one in found], n_words=2)


def rounded(value: float) -> str:
    """Three digits of a number."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _processor() -> float:
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime
