"""Does every p, interval and score mean what it says? Measured against known truth: docs/calibration.md, wholly.

    make calibration

Thousands of simulated studies in which nothing answers to anything, and real BOLD beside the words of other stories,
say how often p is at most .05 and .01; planted responses say how often they are found, and how many intervals hold
what they should. Results are appended to WORK/results.jsonl, one line each, so that a run that was interrupted goes
on; docs/calibration.json holds those that the page was made from. The exit status is 1 if a figure is outside of its
goal, by more than the error of its draws, and the page has no reason for it.

With --base FOLDER, a checkout of 189995b, the power of its check-alignment is measured too; without, those figures stay
as they were recorded.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache, partial
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

from calibration_page import BEFORE, page, unexplained
from calibration_parts import PARTS, cells, key, measure
from calibration_series import REAL
from threadpoolctl import threadpool_limits

from giblet.errors import GibletError

ROOT = Path(__file__).parents[1]
BASE_PART = "lag power"
"""What is measured with an older checkout too."""
INPUTS = {cell["part"]: [name for name in cell if name != "draws"] for cell in cells()}
"""What a cell of each part is told by."""


def one(cell: dict[str, Any], shared: Path) -> tuple[list[dict[str, Any]], float]:
    """The results of a cell, and the seconds that it took."""
    logging.disable(logging.WARNING)
    started = time.perf_counter()
    return measure(cell, shared), time.perf_counter() - started


def before(cell: dict[str, Any], shared: Path, base: Path) -> tuple[list[dict[str, Any]], float]:
    """The same by another checkout of giblet, in a process of its own."""
    started = time.perf_counter()
    said = subprocess.run(
        [sys.executable, __file__, "--cell", json.dumps(cell), "--shared", str(shared)],
        env={**os.environ, "PYTHONPATH": str(base), "OMP_NUM_THREADS": "1"}, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    return [{**found, "giblet": BEFORE} for found in json.loads(said)], time.perf_counter() - started


def name_of(cell: dict[str, Any]) -> str:
    """Of a line in the results: the cell's key, and whose it is."""
    return key({**cell, "giblet": cell.get("giblet", "this")})


def wanted(options: argparse.Namespace) -> list[dict[str, Any]]:
    """The cells to measure, with as many draws as were asked for."""
    found = [cell for cell in cells() if options.only is None or cell["part"] in options.only]
    if options.base is not None:
        found += [{**cell, "giblet": BEFORE} for cell in found if cell["part"] == BASE_PART]
    if not (options.shared / "fmri" / "lebel").is_dir():
        print(f"no real BOLD in {options.shared}: its rows stay empty", file=sys.stderr)
        found = [cell for cell in found if cell.get("noise") != REAL]
    return [{**cell, "draws": min(cell["draws"], options.draws or cell["draws"])} for cell in found]


@cache
def code() -> str:
    """Of what the figures come from: SHA-256 over the sources. Results of other sources are measured again."""
    sources = [ROOT / "benchmarks" / f"calibration_{name}.py" for name in ("parts", "series")]
    for folder in ("alignment", "evaluation"):
        sources += sorted((ROOT / "giblet" / folder).glob("*.py"))
    return sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:16]


def run(options: argparse.Namespace) -> list[dict[str, Any]]:
    """All results that the work folder has at the end, those that were there before included."""
    options.work.mkdir(parents=True, exist_ok=True)
    log = options.work / "results.jsonl"
    told = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    lines = [line for line in map(json.loads, told) if line["code"] == code()]
    have = {(line["cell"], line["draws"]) for line in lines}
    left = [cell for cell in wanted(options) if (name_of(cell), cell["draws"]) not in have]
    print(f"{len(left)} cells to measure, {len(lines)} there", file=sys.stderr)
    one_thread = partial(threadpool_limits, limits=1)
    with ProcessPoolExecutor(options.jobs, initializer=one_thread) as pool, log.open("a", encoding="utf-8") as file:
        jobs = {}
        for cell in left:
            plain = {name: value for name, value in cell.items() if name != "giblet"}
            job = pool.submit(before, plain, options.shared, options.base) if "giblet" in cell else pool.submit(
                one, plain, options.shared
            )  # fmt: skip
            jobs[job] = cell
        for number, job in enumerate(as_completed(jobs), 1):
            cell = jobs[job]
            results, seconds = job.result()
            line = {"cell": name_of(cell), "draws": cell["draws"], "code": code(), "seconds": round(seconds, 1)}
            line["results"] = results
            lines.append(line)
            file.write(json.dumps(line) + "\n")
            file.flush()
            print(f"{number}/{len(left)} {line['cell']}: {seconds:.0f} s", file=sys.stderr)
    latest = {line["cell"]: line for line in lines}
    return [result for line in latest.values() for result in line["results"]]


def merged(results: list[dict[str, Any]], recorded: Path) -> list[dict[str, Any]]:
    """New results in the place of the recorded ones of the same cell; the others stay, in the order of the cells."""
    old = json.loads(recorded.read_text(encoding="utf-8"))["results"] if recorded.exists() else []
    found = {(result_name(one), one["test"]): one for one in [*old, *results]}
    order = {key(cell): number for number, cell in enumerate(cells())}
    kept = [one for one in found.values() if result_name(one, whose=False) in order]
    return sorted(kept, key=lambda one: (order[result_name(one, whose=False)], one.get("giblet", ""), one["test"]))


def result_name(result: dict[str, Any], whose: bool = True) -> str:
    """The key of the cell that a result is of."""
    cell = {name: result.get(name) for name in INPUTS[result["part"]]}
    return key(cell) + (f" {result.get('giblet', '')}" if whose else "")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "calibration", help="folder for results")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "calibration.md", help="page; .json goes beside it")
    parser.add_argument("--draws", type=int, help="at most so many in each cell (default: each cell's own number)")
    parser.add_argument("--only", action="append", choices=sorted(PARTS), metavar="PART", help=", ".join(sorted(PARTS)))
    parser.add_argument("--jobs", type=int, default=2, help="processes (2)")
    parser.add_argument("--base", type=Path, help=f"a checkout of {BEFORE}, to measure its power")
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared", help="folder of fmri/alice, fmri/lebel")
    parser.add_argument("--render", action="store_true", help="measure nothing: write the page from its JSON")
    parser.add_argument("--cell", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.cell:
        print(json.dumps(one(options.cell, options.shared)[0]))
        return 0
    record = options.out.with_suffix(".json")
    if options.render:
        about = json.loads(record.read_text(encoding="utf-8"))
    else:
        try:
            results = run(options)
        except (GibletError, subprocess.CalledProcessError) as exc:
            print(f"error: {getattr(exc, 'stderr', None) or exc}", file=sys.stderr)
            return 2
        packages = {name: version(name) for name in ("giblet", "numpy", "scipy", "nilearn")}
        about = {"versions": {"python": platform.python_version(), **packages}, "results": merged(results, record)}
        lines = ",\n".join(json.dumps(one) for one in about["results"])
        record.write_text(
            f'{{"versions": {json.dumps(about["versions"])},\n"results": [\n{lines}\n]}}\n', encoding="utf-8"
        )
    options.out.write_text(page(about), encoding="utf-8")
    missing = unexplained(about["results"])
    for line in missing:
        print(f"outside of its goal, without a reason: {line}", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
