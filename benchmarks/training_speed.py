"""How long a training step takes: codes against mel spectrograms, and this build against that of an older commit.

    python benchmarks/training_speed.py

All trainings have the same windows, batch and BOLD, which is noise, as its content does not change the time. Codes are
those of the shipped speech: each TR takes its frames from a second of its own, so that no two TRs are alike and only
windows that overlap share some. Spectrograms are noise of the same length. Each training runs in a process of its own
for its peak memory (of the process, libraries included); processes take turns, and figures are medians of the turns.
Both times are shown, that of the processor, of all threads together, and that of the clock: on a machine that others
use the clock times them too. Threads that wait sleep, in all builds alike, so that the processor's time is work. Ratios
are medians of the ratios within a turn.

The older build is read from the history with `git archive`; losses of all steps and the gradients of the first are
compared with its. The last line trains on 85,810 voxels x 920 TRs.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
BEFORE = "189995b"
"""The build that this one is compared with."""
MODES = {"codes": "codes (8 x 112)", "mel": "mel frames (2048 x 65)", "mel_mean": "mel, mean of a TR (2048)"}
FRAMES, MEL_FRAMES, N_MELS, TR = 112, 65, 2048, 1.5


def write_sounds(folder: Path, codec: Path, n_trs: int) -> dict[str, Path]:
    """What is heard, by mode; codes are those of the codec in a folder."""
    from giblet.data.audio import AudioSettings
    from giblet.features import load_features, main_variable
    from giblet.pipeline import extract

    how = AudioSettings.make(tr=TR, codec=str(codec), device="cpu")
    features = load_features(extract(ROOT / "samples" / "speech.flac", how, folder).path)
    frames = np.concatenate(list(features[main_variable(features)].values), axis=1)  # (K, frames of the speech)
    rng = np.random.default_rng(0)
    starts = rng.choice(frames.shape[1], n_trs, replace=False)
    codes = np.stack([frames[:, np.arange(start, start + FRAMES) % frames.shape[1]] for start in starts])
    sounds = {
        "codes": codes,
        "mel": rng.standard_normal((n_trs, N_MELS, MEL_FRAMES), dtype=np.float32),
        "mel_mean": rng.standard_normal((n_trs, N_MELS), dtype=np.float32),
    }
    for mode, sound in sounds.items():
        np.save(folder / f"{mode}.npy", sound)
    return {mode: folder / f"{mode}.npy" for mode in sounds}


def older_build(folder: Path, commit: str) -> Path:
    """The files of a commit, in a folder."""
    made = subprocess.run(["git", "archive", commit], cwd=ROOT, stdout=subprocess.PIPE, check=False)
    if made.returncode:
        sys.exit(f"git has no commit {commit} here: fetch the whole history, or leave it out with --no-before")
    with tarfile.open(fileobj=io.BytesIO(made.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def train(build: Path, threads: int, **settings: Any) -> dict[str, Any]:
    """One training on the package in `build`."""
    place = {
        "PYTHONPATH": str(build), "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": "PASSIVE",
    }  # fmt: skip
    command = [sys.executable, str(ROOT / "benchmarks" / "one_training.py"), json.dumps(settings)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env={**os.environ, **place})
    return json.loads(done.stdout.splitlines()[-1])


def ratio(ones: list[dict[str, Any]], others: list[dict[str, Any]], which: str) -> float:
    """Median over turns of what one of the first took, to one of the others."""
    return median(one[which] / other[which] for one, other in zip(ones, others, strict=True))


def against_before(options: argparse.Namespace, builds: dict[str, Path], common: dict[str, Any], folder: Path) -> None:
    """This build and the older one by turns, on one thread and on two."""
    print(f"\n| threads | build | s per step (processor) | s per step (clock) | peak GB | {BEFORE} takes (processor) | "
          f"{BEFORE} takes (clock) |\n|--:|---|--:|--:|--:|--:|--:|")  # fmt: skip
    for threads in options.threads:
        turns: dict[str, list[dict[str, Any]]] = {name: [] for name in builds}
        for _ in range(options.rounds):
            for name, build in builds.items():
                gradients = str(folder / f"{name}.npz")
                turns[name].append(train(build, threads, **common, gradients=gradients))
        for name, own in turns.items():
            times = " | ".join(f"{median(one[which] for one in own):.3f}" for which in ("processor", "clock"))
            taken = " | ".join(f"{ratio(turns[BEFORE], own, which):.2f}" for which in ("processor", "clock"))
            print(f"| {threads} | {name} | {times} | {max(one['peak_gb'] for one in own):.2f} | {taken} |")
    losses = [np.array(turns[name][0]["losses"]) for name in builds]
    with np.load(folder / f"{BEFORE}.npz") as before, np.load(folder / "this.npz") as this:
        assert sorted(before) == sorted(this), "the builds have gradients for other parameters"
        sizes = {name: float(np.linalg.norm(before[name])) for name in before}
        floor = 1e-6 * max(sizes.values())
        apart = [float(np.linalg.norm(before[n] - this[n])) / max(sizes[n], floor) for n in before]
    print(f"\nlosses of {len(losses[0])} steps differ by at most {np.max(np.abs(losses[0] / losses[1] - 1)):.1e}, the "
          f"gradients of the first step by at most {max(apart):.1e} of a parameter's gradient")  # fmt: skip


def modes(options: argparse.Namespace, sounds: dict[str, Path], common: dict[str, Any]) -> None:
    """Codes and spectrograms by turns, on one thread."""
    turns: dict[str, list[dict[str, Any]]] = {mode: [] for mode in MODES}
    for _ in range(options.rounds):
        for mode in MODES:
            turns[mode].append(train(ROOT, 1, **{**common, "audio": str(sounds[mode])}, gradients=None))
    print("\n| mode | s per step (processor) | steps of codes to one of this | features per TR | against codes | "
          "parameters | peak GB |\n|---|--:|--:|--:|--:|--:|--:|")  # fmt: skip
    first = turns["codes"][0]
    for mode, own in turns.items():
        one = own[0]
        print(f"| {MODES[mode]} | {median(each['processor'] for each in own):.3f} | "
              f"{ratio(own, turns['codes'], 'processor'):.2f} | {one['features']:,.0f} | "
              f"{first['features'] / one['features'] - 1:+.0%} | {one['parameters']:,.0f} | "
              f"{max(each['peak_gb'] for each in own):.2f} |")  # fmt: skip


def main(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        before = older_build(folder / BEFORE, BEFORE) if options.before else ROOT
        # Both builds take the older one's codec: the losses of codes are in its latents.
        codec = before / "giblet" / "codec" / "assets" / "bundled"
        sounds = write_sounds(folder, codec, options.n_trs)
        common = {"audio": str(sounds["codes"]), "codec": str(codec), "n_voxels": options.voxels,
                  "steps": options.steps, "batch": options.batch}  # fmt: skip
        print(f"{options.n_trs} TRs of {TR} s, {options.voxels} voxels, {options.batch} windows per step, medians of "
              f"{options.rounds} turns of {options.steps} steps")  # fmt: skip
        if options.before:
            against_before(options, {BEFORE: before, "this": ROOT}, common, folder)
        if options.modes:
            modes(options, sounds, common)
        if options.whole:
            whole = train(ROOT, 1, **{**common, "n_voxels": 85_810, "steps": 3, "batch": 8}, gradients=None)
            print(f"\n85,810 voxels x {options.n_trs} TRs, 8 windows per step: {whole['processor']:.2f} s per step, "
                  f"peak {whole['peak_gb']:.2f} GB, {whole['parameters']:,.0f} parameters")  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n-trs", type=int, default=920)
    parser.add_argument("--voxels", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=11, help="most of them of whole batches: a median is of such")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--no-before", dest="before", action="store_false", help=f"leave out {BEFORE}")
    parser.add_argument("--no-modes", dest="modes", action="store_false", help="leave out spectrograms")
    parser.add_argument("--no-whole", dest="whole", action="store_false", help="leave out 85,810 voxels")
    main(parser.parse_args())
