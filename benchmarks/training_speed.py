"""Training on codes against training on mel spectrograms: steps per second, features, parameters, memory.

    OMP_NUM_THREADS=1 python benchmarks/training_speed.py

One run, same machine, same batch, same windows, same BOLD; the modes take turns, and ratios are of medians. Time is
that of the processor, not of the clock: on one thread of an idle machine they are the same, on a busy one the clock
would time the neighbours. Codes and mel spectrograms are those of the shipped speech, repeated to the length of the
scan; BOLD is noise, as its content does not change the time. Each mode runs in a process of its own for its peak
memory (of the process, libraries included). The last line trains on 85,810 voxels x 920 TRs.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
TR = 1.5
MODES = {"codes": "codes (8 x 112)", "mel": "mel frames (2048 x 65)", "mel_mean": "mel, mean of a TR (2048)"}


def child(mode: str, n_trs: int, n_voxels: int, steps: int, batch: int) -> dict[str, float]:
    """Train `steps` steps and measure."""
    from giblet.data.audio import AudioSettings
    from giblet.data.dataset.series import Series
    from giblet.data.dataset.windows import Recording, fit_normalisers
    from giblet.data.splits import make_splits
    from giblet.features import load_features, main_variable
    from giblet.pipeline import extract
    from giblet.training.settings import TrainSettings
    from giblet.training.study import Study
    from giblet.training.trainer import Trainer

    with tempfile.TemporaryDirectory() as folder:
        codes = mode == "codes"
        how = AudioSettings.make(tr=TR, use_encodec=codes, mel_average=mode == "mel_mean", device="cpu")
        features = load_features(extract(ROOT / "samples" / "speech.flac", how, folder).path)
        audio = features[main_variable(features)].values
        audio = audio[np.arange(n_trs) % len(audio)]
        bold = np.random.default_rng(0).standard_normal((n_trs, n_voxels), dtype=np.float32)
        series = {"audio": Series(audio, "codes" if codes else "continuous"), "bold": Series(bold)}
        recording = Recording.of("01", series, tr=TR)
        splits = {"01": make_splits(n_trs, TR)}
        study = Study(
            [recording], splits, fit_normalisers([recording], splits["01"].train), {"01": np.arange(n_trs)},
            {"01": np.arange(n_trs)}, features.attrs.get("codec_fingerprint"), features.attrs.get("bandwidth"), (),
        )  # fmt: skip
        settings = TrainSettings.make(
            data={"subjects": [{"name": "01", "runs": [{"bold": "synthetic"}]}]}, output=Path(folder) / "run",
            model={"use_encodec": codes}, steps=steps, batch_size=batch, device="cpu", validate_every=10_000,
        )  # fmt: skip
        times: list[float] = []
        result = Trainer(settings, lambda *_: times.append(time.process_time()), study=study).fit()
        embedding = 0
        if codes:
            from giblet.models import MultimodalAutoencoder

            model = MultimodalAutoencoder.from_pretrained(Path(folder) / "run" / "best")
            embedding = model.encoders["audio"].embedding.numel()
    return {
        "seconds": median(np.diff(times)), "features": float(np.prod(audio.shape[1:])), "embedding": embedding,
        "parameters": result.parameters, "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
    }  # fmt: skip


def run(mode: str, options: argparse.Namespace, **changes: int) -> dict[str, float]:
    """The child's answer."""
    wanted = {
        "n_trs": options.n_trs,
        "n_voxels": options.voxels,
        "steps": options.steps,
        "batch": options.batch,
        **changes,
    }
    command = [sys.executable, __file__, "--child", json.dumps({"mode": mode, **wanted})]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main(options: argparse.Namespace) -> None:
    rounds = {mode: [] for mode in MODES}
    for _ in range(options.rounds):
        for mode in MODES:
            rounds[mode].append(run(mode, options))
    print(f"{options.n_trs} TRs of {TR} s, {options.voxels} voxels, {options.batch} windows per step, "
          f"{options.rounds} rounds of {options.steps} steps")  # fmt: skip
    print("| mode | s per step | steps of codes to one of this | features per TR | against codes | parameters | codes "
          "have more | peak GB |\n|---|--:|--:|--:|--:|--:|--:|--:|")  # fmt: skip
    codes, first = median(r["seconds"] for r in rounds["codes"]), rounds["codes"][0]
    for mode, name in MODES.items():
        seconds = median(r["seconds"] for r in rounds[mode])
        one = rounds[mode][0]
        print(f"| {name} | {seconds:.3f} | {seconds / codes:.2f} | {one['features']:,.0f} | "
              f"{first['features'] / one['features'] - 1:+.0%} | {one['parameters']:,.0f} | "
              f"{first['parameters'] - one['parameters']:+,.0f} | "
              f"{max(r['peak_gb'] for r in rounds[mode]):.2f} |")  # fmt: skip
    print(f"the embedding of codes has {first['embedding']:,.0f} parameters")
    if options.whole:
        whole = run("codes", options, n_voxels=85_810, n_trs=920, steps=3, batch=8)
        print(f"85,810 voxels x 920 TRs, 8 windows per step: {whole['seconds']:.2f} s per step, "
              f"peak {whole['peak_gb']:.2f} GB, {whole['parameters']:,.0f} parameters")  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n-trs", type=int, default=920)
    parser.add_argument("--voxels", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-whole", dest="whole", action="store_false", help="leave out 85,810 voxels")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(child(**json.loads(options.child))))
    else:
        main(options)
