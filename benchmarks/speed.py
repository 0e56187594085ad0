"""All benchmarks of speed in one command, each short: a table on docs/benchmarks.md, and ratios to compare with later.

    make bench                        (python benchmarks/speed.py)
    make bench ONLY=codec_speed       some of them; nothing is written
    make bench-compare                (--quick --compare) those that CI measures, beside the stored ratios

Each benchmark is a process of its own, on one thread. What is compared with what, and larger sizes, are its own matter:
``python benchmarks/codec_speed.py --help``. The page and benchmarks/ratios.json are written if all were measured and
none failed. A ratio is worse than the stored one if it lies more than a quarter below the least of the stored turns;
that is a warning, as machines differ. A benchmark that fails is an error, exit status 1.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import platform
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
from page_tables import write_table
from ratios import BENCHMARKS, ROOT, Ratio, threads
from ratios import table as table_of

SHORT = {
    "startup": "--seconds 20 --only help info extract 'wrong path: extract' 'first word: extract'",
    "codec_speed": "--seconds 6 --clips 2 --threads 1 --repeats 5 --film-seconds 0",
    "alignment_speed": "--features 1024 --columns 4000",
    "encoding_speed": "small bands --together --threads 1 --repeats 3",
    "encoding_null_speed": "--voxels 2000",
    "bids_speed": "--files 1000 --repeats 3",
    "surface_speed": "read --volumes 60",
    "features_speed": "--context 64 --words 4 --windows 8 --frames 48",
    "training_speed": "--n-trs 300 --voxels 100 --steps 4 --batch 2 --no-before --no-whole --modes codes mel",
    "batch_extraction": "--films 4 --seconds 60 --turns 3 --kill-every 0",
}
"""All benchmarks of speed, and what makes them short."""
QUICK = ("startup", "codec_speed", "alignment_speed", "encoding_speed", "encoding_null_speed", "bids_speed")
"""Those that CI measures: together a few minutes, with times of the processor or of short processes."""
PAGE = ROOT / "docs" / "benchmarks.md"
STORED = BENCHMARKS / "ratios.json"
TOLERANCE = 0.25


def measured(name: str, arguments: str) -> list[Ratio] | None:
    """The ratios of a benchmark, in a process of its own; None if it failed."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ratios.json"
        print(f"\n== {name} {arguments}", flush=True)
        command = [sys.executable, str(BENCHMARKS / f"{name}.py"), *shlex.split(arguments), "--save", str(path)]
        status = subprocess.run(command, env={**os.environ, **threads(1)}, check=False).returncode
        if not path.exists():
            print(f"error: {name} failed, exit status {status}", flush=True)
            return None
        return [Ratio(**one) for one in json.loads(path.read_text(encoding="utf-8"))]


def machine() -> dict[str, str]:
    """What the figures depend on; nothing by which a machine is known."""
    return {
        "processor": _processor(),
        "cores": str(psutil.cpu_count()),
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.machine()}",
        "Python": platform.python_version(),
        **{name: version(name) for name in ("torch", "numpy", "giblet")},
    }


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


class Neighbours:
    """How much of the processors other programs use, from the time it is made."""

    def __init__(self) -> None:
        self.start = self._others()

    def share(self) -> float:
        """Of all processors, 0 to 1."""
        others, seconds = (now - then for now, then in zip(self._others(), self.start, strict=True))
        return min(1.0, max(0.0, others / (seconds * (psutil.cpu_count() or 1))))

    @staticmethod
    def _others() -> tuple[float, float]:
        every, own = psutil.cpu_times(), os.times()
        busy = sum(every) - every.idle - getattr(every, "iowait", 0.0) - getattr(every, "guest", 0.0)
        return busy - sum(own[:4]), time.monotonic()


def compare(
    stored: Mapping[str, Any], found: Mapping[str, Sequence[Ratio]], now: Mapping[str, str]
) -> tuple[list[str], list[str]]:
    """What is worse than what is stored, and what cannot be compared or has to be known for it.

    Returns
    -------
    warnings, notes : list of str
    """
    before = stored["machine"]
    others = [
        f"{name} {before.get(name, 'unknown')}, now {own}" for name, own in now.items() if before.get(name) != own
    ]
    notes = [f"the stored ratios are of another machine or other versions: {'; '.join(others)}"] if others else []
    warnings = []
    for benchmark, ratios in found.items():
        known = {one.name: one for one in (Ratio(**fields) for fields in stored["ratios"].get(benchmark, []))}
        for one in ratios:
            title, old = f"{benchmark}, {one.name}", known.pop(one.name, None)
            if old is None:
                notes.append(f"{title}: is not stored; make bench stores it")
            elif one.ratio < (1 - TOLERANCE) * old.low:
                was = f"{old.ratio:.3g} ({old.low:.3g} to {old.high:.3g})"
                warnings.append(f"{title}: {one.ratio:.3g} times as fast, was {was}")
        notes += [f"{benchmark}, {name}: is stored and no longer measured; make bench stores what is" for name in known]
    return warnings, notes


def table(found: Mapping[str, Sequence[Ratio]], now: Mapping[str, str], neighbours: float) -> str:
    """All ratios, each benchmark by itself, below the machine that they were measured on."""
    head = ", ".join(f"{name} {value}" for name, value in now.items())
    alone = f"Other programs used {neighbours:.0%} of the processors meanwhile."
    parts = [f"Machine: {head}. {alone}"]
    parts += [f"### {name}\n\n{table_of(ratios)}" for name, ratios in found.items()]
    return "\n\n".join(parts)


def stored_text(found: Mapping[str, Sequence[Ratio]], now: Mapping[str, str]) -> str:
    """What is kept for later comparisons."""
    digits: dict[str, Callable[[Any], object]] = {"seconds": lambda both: [float(f"{one:.4g}") for one in both]}
    digits |= dict.fromkeys(("ratio", "low", "high"), lambda one: float(f"{one:.4g}"))
    kept = {
        name: [{key: digits.get(key, lambda one: one)(value) for key, value in asdict(one).items()} for one in ratios]
        for name, ratios in found.items()
    }
    return json.dumps({"machine": dict(now), "ratios": kept}, indent=1) + "\n"


def listing() -> str:
    """Names, what each measures, and what makes it short."""
    lines = []
    for name, arguments in SHORT.items():
        about = (ast.get_docstring(ast.parse((BENCHMARKS / f"{name}.py").read_text(encoding="utf-8"))) or "").split(
            "\n"
        )
        lines.append(f"{name}{' (CI)' if name in QUICK else ''}: {about[0]}\n    {arguments}")
    return "\n".join(lines)


def tell(warnings: Sequence[str], notes: Sequence[str]) -> None:
    """One line each; warnings in the form that GitHub shows, where it runs this."""
    sign = "::warning::" if os.environ.get("GITHUB_ACTIONS") else "warning: "
    for text in notes:
        print(f"note: {text}")
    for text in warnings:
        print(sign + text)
    print(
        f"{len(warnings)} ratios are worse than stored, by more than {TOLERANCE:.0%} of the least of the stored turns"
    )


def main() -> int:
    """Measure, then write or compare; 1 if a benchmark failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these benchmarks")
    parser.add_argument("--quick", action="store_true", help="those that CI measures")
    parser.add_argument(
        "--compare", action="store_true", help="warn of ratios worse than the stored ones; write nothing"
    )
    parser.add_argument("--list", action="store_true", help="print the names of benchmarks")
    options = parser.parse_args()
    if options.list:
        print(listing())
        return 0
    chosen = options.only or (QUICK if options.quick else list(SHORT))
    if unknown := set(chosen) - set(SHORT):
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}: --list shows their names")
    began, neighbours, now = time.monotonic(), Neighbours(), machine()
    every = {name: measured(name, SHORT[name]) for name in chosen}
    found = {name: ratios for name, ratios in every.items() if ratios is not None}
    failed = [name for name in every if name not in found]
    text = table(found, now, neighbours.share())
    print(f"\n{text}\n\n{time.monotonic() - began:.0f} s")
    if options.compare and STORED.exists():
        tell(*compare(json.loads(STORED.read_text(encoding="utf-8")), found, now))
    elif options.compare:
        print(f"note: there is no {STORED.name} to compare with; make bench writes it")
    elif set(found) == set(SHORT):
        STORED.write_text(stored_text(found, now), encoding="utf-8")
        write_table(text, "benchmarks", PAGE)
    else:
        print("nothing was written, as not all benchmarks were measured")
    if failed:
        print(f"error: failed: {', '.join(failed)}")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
