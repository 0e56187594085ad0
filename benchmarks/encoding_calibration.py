"""Are the p, q and group p of encoding maps right? Measured on simulated brains as users would test them.

    python benchmarks/encoding_calibration.py

In every study a ridge is fitted on the first part of a scan and its prediction tested on the rest, a gap apart. BOLD is
noise of the kind that the row names, one scan long, drifts included; features drift too. The section of
docs/encoding_calibration.md between its two marks is written anew; the JSON file beside it holds the figures. Results
are appended to WORK/results.jsonl, so that a run that was interrupted goes on.
"""

from __future__ import annotations

import argparse
import json
import sys
import zlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from calibration_series import NOISES, TR, drift, noisy, plain, standard
from sklearn.linear_model import RidgeCV
from threadpoolctl import threadpool_limits

from giblet.alignment import convolve_hrf
from giblet.encoding.group import rotation_test_group
from giblet.evaluation import rotation_test

Cell = dict[str, Any]
ROOT = Path(__file__).parents[1]
N_FEATURES, VOXELS, SHARED = 12, 100, 0.3
"""`SHARED`: part of the noise's variance that voxels have in common."""
GAP = int(32 / TR)
N_TRAIN = 300
ALPHAS = np.logspace(-1, 7, 17)
KINDS = ("slow", "fast")
START, END = "<!-- calibration -->", "<!-- end of calibration -->"


def cells() -> Iterator[Cell]:
    """All cells of the page, with the data sets that each gets."""
    for features in KINDS:
        for noise in NOISES:
            for n in (150, 300, 920):
                yield {"part": "silent", "noise": noise, "features": features, "n_trs": n, "draws": 200}
    for noise in ("white", "ar .6", "ar .9", "mixed"):
        for n in (150, 300):
            for r in (0.0, 0.2, 0.4):
                yield {"part": "discoveries", "noise": noise, "n_trs": n, "r": r, "draws": 300}
    for n_subjects in (8, 17):
        for n in (150, 300):
            for shared in (0.0, 0.05, 0.15, 0.30):
                yield {"part": "group", "n_subjects": n_subjects, "n_trs": n, "shared": shared, "draws": 250}


def film(kind: str, noise: str, n: int, rng: np.random.Generator) -> np.ndarray:
    """Features of a film by TR. Slow: AR(1) of .9, through an HRF. Fast: white, at four delays."""
    start = GAP + 4
    if kind == "slow":
        own = convolve_hrf(plain("ar .9", n + start, N_FEATURES, rng), tr=TR, kind="continuous")[start:]
    else:
        white = plain("white", n + start, N_FEATURES // 4, rng)
        own = np.concatenate([white[start - delay : start - delay + n] for delay in (2, 3, 4, 5)], axis=1)
    return standard(own) + drift(noise, n, N_FEATURES, rng)


def brain(noise: str, n: int, columns: int, rng: np.random.Generator) -> np.ndarray:
    """Noise of variance 1 in each voxel; mixed: a quarter of the voxels each of white, AR .3, .6 and .9."""
    kinds = ("white", "ar .3", "ar .6", "ar .9") if noise == "mixed" else (noise,)
    size = columns // len(kinds)
    return np.concatenate([standard(noisy(kind, n, size, rng, shared=SHARED)) for kind in kinds], axis=1)


def held_out(features: np.ndarray, bold: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The last `n` TRs of BOLD, and their prediction by a ridge that learned from the first, penalties by voxel."""
    train, test = slice(0, N_TRAIN), slice(len(bold) - n, None)
    mean, deviation = features[train].mean(axis=0), features[train].std(axis=0)
    x = (features - mean) / deviation
    ridge = RidgeCV(ALPHAS, alpha_per_target=True).fit(x[train], bold[train])
    return bold[test], ridge.predict(x[test])


def rates(p: np.ndarray, *levels: float) -> dict[str, float]:
    """How often p is at most so much, and the standard error by the spread over data sets; p (n_draws, n_voxels)."""
    found = {}
    for level in levels:
        by_set = (p <= level).mean(axis=1)
        found[f"rate_{level:g}"] = float(by_set.mean())
        found[f"se_{level:g}"] = float(by_set.std(ddof=1) / np.sqrt(len(by_set)))
    return found


def silent(cell: Cell, rng: np.random.Generator) -> list[Cell]:
    """Voxels that answer to nothing: how often is p small?"""
    total = N_TRAIN + GAP + cell["n_trs"]
    found: dict[str, list[np.ndarray]] = {"p": [], "p_rank": []}
    for _ in range(cell["draws"]):
        features = film(cell["features"], cell["noise"], total, rng)
        test = rotation_test(*held_out(features, brain(cell["noise"], total, VOXELS, rng), cell["n_trs"]), tr=TR)
        for name, all_p in found.items():
            all_p.append(getattr(test, name))
    return [{"test": name, **rates(np.array(all_p), 0.05, 0.01, 0.001)} for name, all_p in found.items()]


def discoveries(cell: Cell, rng: np.random.Generator) -> list[Cell]:
    """Half of the voxels answer, or none if `r` is 0: what share of the voxels that are found is false?"""
    total, noise, n_voxels = N_TRAIN + GAP + cell["n_trs"], cell["noise"], 200
    false, power, any_false, above, power_fwe = [], [], [], [], []
    for _ in range(cell["draws"]):
        features = film("slow", "ar .6", total, rng)
        bold, answers = brain(noise, total, n_voxels, rng), np.zeros(n_voxels, bool)
        if cell["r"]:
            answers[::2] = True
            signal = standard(features @ rng.standard_normal((N_FEATURES, n_voxels)))[:, answers]
            bold[:, answers] = cell["r"] * signal + np.sqrt(1 - cell["r"] ** 2) * bold[:, answers]
        test = rotation_test(*held_out(features, bold, cell["n_trs"]), tr=TR)
        said = test.q <= 0.05
        false.append((said & ~answers).sum() / max(1, said.sum()))
        any_false.append((test.p_fwe[~answers] <= 0.05).any())
        above.append((test.r[~answers] >= test.threshold_fwe).any())
        power.append(said[answers].mean() if cell["r"] else np.nan)
        power_fwe.append((test.p_fwe[answers] <= 0.05).mean() if cell["r"] else np.nan)
    n = len(false)
    return [
        {"test": name, "rate": float(np.mean(values)), "se": float(np.std(values, ddof=1) / np.sqrt(n))}
        for name, values in {
            "false among q <= .05": false, "any p_fwe <= .05": any_false, "any r >= threshold_fwe": above,
            "found by q": power, "found by p_fwe": power_fwe,
        }.items()
        if np.isfinite(values).all()
    ]  # fmt: skip


def group(cell: Cell, rng: np.random.Generator) -> list[Cell]:
    """Subjects who share a response that no feature knows of: how often does the model pass?"""
    total, n_voxels = N_TRAIN + GAP + cell["n_trs"], 20
    joint, agree = [], []
    for _ in range(cell["draws"]):
        features = film("slow", "ar .6", total, rng)
        common = standard(noisy("ar .6", total, n_voxels, rng))
        bold: list[np.ndarray] = []
        predicted: list[np.ndarray] = []
        for _ in range(cell["n_subjects"]):
            own = standard(noisy("ar .6", total, n_voxels, rng))
            mixed = np.sqrt(cell["shared"]) * common + np.sqrt(1 - cell["shared"]) * own
            for some, values in zip((bold, predicted), held_out(features, mixed, cell["n_trs"]), strict=True):
                some.append(values)
        test = rotation_test_group(bold, predicted, tr=TR)
        joint.append(test.p)
        agree.append(test.agreement().p)
    tests = {"joint rotations": joint, "t-test over subjects": agree}
    return [{"test": name, **rates(np.array(p), 0.05, 0.01)} for name, p in tests.items()]


PARTS = {"silent": silent, "discoveries": discoveries, "group": group}


def key(cell: Cell) -> str:
    return " ".join(f"{name}={value}" for name, value in sorted(cell.items()) if name != "draws")


def measure(cell: Cell) -> list[Cell]:
    """The results of a cell, by test; random numbers are seeded by the name of the cell."""
    rng = np.random.default_rng(zlib.crc32(key(cell).encode()))
    return [{**cell, **result} for result in PARTS[cell["part"]](cell, rng)]


def percent(one: Cell, *levels: float) -> str:
    return " / ".join(f"{100 * one[f'rate_{level:g}']:.{1 if level > 0.001 else 2}f}" for level in levels)


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", "|---" + "|--:" * (len(head) - 1) + "|"]
    return "\n".join(lines + [f"| {' | '.join(row)} |" for row in rows])


def section(results: list[Cell]) -> str:
    """Words and figures of the section, as Markdown."""

    def of(**wanted: Any) -> list[Cell]:
        return [one for one in results if all(one.get(name) == value for name, value in wanted.items())]

    parts = []
    for kind in KINDS:
        silents = of(part="silent", features=kind, test="p")
        lengths = sorted({one["n_trs"] for one in silents})
        rows = [
            [noise, *(percent(of(part="silent", features=kind, test="p", noise=noise, n_trs=n)[0], 0.05, 0.01, 0.001)
                      for n in lengths)]
            for noise in NOISES
        ]  # fmt: skip
        error = max(one["se_0.05"] for one in silents)
        parts.append(
            f"Silent voxels, {kind} features, % with p at most .05 / .01 / .001 ({silents[0]['draws']} data sets x "
            f"{VOXELS} voxels per cell; standard errors at .05 up to {100 * error:.1f} %):\n\n"
            + table(["BOLD", *(f"{n} TRs" for n in lengths)], rows)
        )
    rows = []
    for one in of(part="discoveries", test="false among q <= .05"):
        same = {name: one[name] for name in ("part", "noise", "n_trs", "r")}
        by_test = {other["test"]: other for other in of(**same)}
        figures = [f"{100 * by_test[test]['rate']:.1f}" if test in by_test else "-" for test in (
            "false among q <= .05", "found by q", "any p_fwe <= .05", "any r >= threshold_fwe", "found by p_fwe",
        )]  # fmt: skip
        rows.append([f"{one['noise']}, {one['n_trs']} TRs, " + (f"r {one['r']:g}" if one["r"] else "none"), *figures])
    head = ["BOLD, TRs, answer", "false among `q` <= .05", "found by `q`", "any false `p_fwe` <= .05",
            "any false `r` >= `threshold_fwe`", "found by `p_fwe`"]  # fmt: skip
    error = max(one["se"] for one in of(part="discoveries"))
    draws = of(part="discoveries")[0]["draws"]
    parts.append(
        "Half of 200 voxels answer with r of the scan's variance, or none does, %; `mixed`: white, ar .3, .6 and .9 "
        f"in a quarter of the voxels each ({draws} data sets; standard errors up to {100 * error:.1f} %):\n\n"
        + table(head, rows)
    )
    groups, shares = of(part="group"), sorted({one["shared"] for one in of(part="group")})
    rows = []
    for n_subjects, n in sorted({(one["n_subjects"], one["n_trs"]) for one in groups}):
        for test in ("joint rotations", "t-test over subjects"):
            found = [of(part="group", n_subjects=n_subjects, n_trs=n, test=test, shared=share)[0] for share in shares]
            rows.append([f"{n_subjects} subjects, {n} TRs, {test}", *(percent(one, 0.05, 0.01) for one in found)])
    error = max(one["se_0.05"] for one in groups)
    parts.append(
        "Several subjects who share a response that the model knows nothing of, % of voxels at .05 / .01 "
        f"({groups[0]['draws']} data sets x 20 voxels; standard errors at .05 up to {100 * error:.1f} %). The t-test "
        "over subjects asks whether people agree and is no test of the model:\n\n"
        + table(["", *(f"{share:.0%} shared" for share in shares)], rows)
    )
    return "\n\n".join(parts)


def run(options: argparse.Namespace) -> list[Cell]:
    """The results of all cells, those that the work folder has included."""
    options.work.mkdir(parents=True, exist_ok=True)
    log = options.work / "results.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    wanted = [
        {**cell, "draws": min(cell["draws"], options.draws or cell["draws"])}
        for cell in cells()
        if options.only in (None, cell["part"])
    ]
    have = {(line["cell"], line["draws"]) for line in lines}
    left = [cell for cell in wanted if (key(cell), cell["draws"]) not in have]
    one_thread = partial(threadpool_limits, limits=1)
    with ProcessPoolExecutor(options.jobs, initializer=one_thread) as pool, log.open("a") as file:
        jobs = {pool.submit(measure, cell): cell for cell in left}
        for number, job in enumerate(as_completed(jobs), 1):
            lines.append({"cell": key(jobs[job]), "draws": jobs[job]["draws"], "results": job.result()})
            file.write(json.dumps(lines[-1]) + "\n")
            file.flush()
            print(f"{number}/{len(left)} {lines[-1]['cell']}: {job.result()[0]}", file=sys.stderr)
    latest = {line["cell"]: line["results"] for line in lines}
    return [one for cell in cells() if key(cell) in latest for one in latest[key(cell)]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "encoding_calibration", help="folder for results")
    parser.add_argument(
        "--page", type=Path, default=ROOT / "docs" / "encoding_calibration.md", help="page with the two marks"
    )
    parser.add_argument("--draws", type=int, help="at most so many data sets in each cell")
    parser.add_argument("--only", choices=sorted(PARTS), help="measure this part alone, and leave the page as it is")
    parser.add_argument("--jobs", type=int, default=2, help="processes (2)")
    options = parser.parse_args()
    results = run(options)
    if options.only:
        return 0
    lines = ",\n".join(json.dumps(one) for one in results)
    options.page.with_name("encoding_calibration.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    page = options.page.read_text(encoding="utf-8")
    before, after = page.split(START)[0], page.split(END)[1]
    options.page.write_text(f"{before}{START}\n\n{section(results)}\n\n{END}{after}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
