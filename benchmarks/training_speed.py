"""How long a training step takes: codes against mel spectrograms, and this build against that of an older commit.

    python benchmarks/training_speed.py

All trainings have the same windows, batch and BOLD, which is noise, as its content does not change the time. Codes are
those of the shipped speech: each TR takes its frames from a second of its own, so that no two TRs are alike and only
windows that overlap share some. Spectrograms are noise of the same length. Each training runs in a process of its own
for its peak memory (of the process, libraries included); processes take turns, and a training's time is the median of
its steps. Threads that wait sleep, in all builds alike, so that the processor's time is work.

The older build is read from the history with `git archive`; losses of all steps and the gradients of the first are
compared with its. The last line trains on 85,810 voxels x 920 TRs.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from one_training import train
from page_tables import markdown
from ratios import ROOT, Ratio, Turns, agree, in_own_process, in_turns, run, threads, time_of

BEFORE = "189995b"
"""The build that this one is compared with."""
THIS, MOST_APART = "this", 1e-4
COLUMNS = ["", "s per step (processor)", "s per step (clock)", "features per TR", "parameters", "peak GB"]
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


def against_before(
    options: argparse.Namespace, builds: dict[str, Path], common: dict[str, Any], folder: Path
) -> list[Ratio]:
    """This build and the older one by turns, on one thread and on two."""
    rows, found = [], []
    for n_threads in options.threads:
        place = threads(n_threads)
        jobs = {
            name: partial(
                in_own_process, train, package=build, environment=place,
                **{**common, "gradients": f"{folder}/{name}.npz"},
            )
            for name, build in builds.items()
        }  # fmt: skip
        turns = in_turns(jobs, options.rounds, warm_up=False)
        rows += [row(f"{name}, {n_threads} threads", name, turns) for name in builds]
        found.append(turns.ratio(THIS, BEFORE, what=f"a step on codes, {n_threads} threads", time=time_of(n_threads)))
    print("\n" + markdown(COLUMNS, rows))
    losses = [np.array(turns.result(name)["losses"]) for name in builds]
    with np.load(folder / f"{BEFORE}.npz") as before, np.load(folder / f"{THIS}.npz") as this:
        assert sorted(before) == sorted(this), "the builds have gradients for other parameters"
        sizes = {name: float(np.linalg.norm(before[name])) for name in before}
        floor = 1e-6 * max(sizes.values())
        apart = [float(np.linalg.norm(before[n] - this[n])) / max(sizes[n], floor) for n in before]
    agree(f"losses of {len(losses[0])} steps", float(np.max(np.abs(losses[0] / losses[1] - 1))), MOST_APART)
    agree("gradients of the first step, as a share of a parameter's", max(apart), MOST_APART)
    return found


def modes(options: argparse.Namespace, sounds: dict[str, Path], common: dict[str, Any]) -> list[Ratio]:
    """Codes and spectrograms by turns, on one thread."""
    jobs = {
        mode: partial(
            in_own_process, train, package=ROOT, environment=threads(1), **{**common, "audio": str(sounds[mode])}
        )
        for mode in options.modes
    }
    turns = in_turns(jobs, options.rounds, warm_up=False)
    print("\n" + markdown(COLUMNS, [row(MODES[mode], mode, turns) for mode in options.modes]))
    others = [mode for mode in options.modes if mode != "codes"]
    return [replace(turns.ratio("codes", mode, what="a step on codes"), beside=MODES[mode]) for mode in others]


def row(label: str, name: str, turns: Turns) -> list[str]:
    """Of a table of trainings."""
    last = turns.result(name)
    seconds = [f"{turns.seconds(name, time):.3f}" for time in ("processor", "clock")]
    return [label, *seconds, f"{last['features']:,.0f}", f"{last['parameters']:,.0f}", f"{last['peak_gb']:.2f}"]


def measure(options: argparse.Namespace) -> list[Ratio]:
    found: list[Ratio] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        before = older_build(folder / BEFORE, BEFORE) if options.before else ROOT
        # Both builds take the older one's codec: the losses of codes are in its latents.
        codec = before / "giblet" / "codec" / "assets" / "bundled"
        sounds = write_sounds(folder, codec, options.n_trs)
        common = {"audio": str(sounds["codes"]), "codec": str(codec), "n_voxels": options.voxels,
                  "steps": options.steps, "batch": options.batch, "gradients": None}  # fmt: skip
        print(f"{options.n_trs} TRs of {TR} s, {options.voxels} voxels, {options.batch} windows per step, "
              f"{options.rounds} turns of {options.steps} steps")  # fmt: skip
        if options.before:
            found += against_before(options, {BEFORE: before, THIS: ROOT}, common, folder)
        if options.modes:
            found += modes(options, sounds, common)
        if options.whole:
            large = {**common, "n_voxels": 85_810, "steps": 3, "batch": 8}
            whole = in_own_process(train, package=ROOT, environment=threads(1), **large)
            print(f"\n85,810 voxels x {options.n_trs} TRs, 8 windows per step: {whole.processor:.2f} s per step, "
                  f"peak {whole.result['peak_gb']:.2f} GB, {whole.result['parameters']:,.0f} parameters")  # fmt: skip
    return found


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--n-trs", type=int, default=920)
    made.add_argument("--voxels", type=int, default=1000)
    made.add_argument("--steps", type=int, default=11, help="most of them of whole batches: a median is of such")
    made.add_argument("--batch", type=int, default=4)
    made.add_argument("--rounds", type=int, default=3)
    made.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    made.add_argument("--modes", nargs="*", choices=MODES, default=list(MODES), help="by default all; codes among them")
    made.add_argument("--no-before", dest="before", action="store_false", help=f"leave out {BEFORE}")
    made.add_argument("--no-whole", dest="whole", action="store_false", help="leave out 85,810 voxels")
    return made


if __name__ == "__main__":
    sys.exit(run(measure, parser()))
