"""A tiny training run, by the commands that a user gives: sound to features, a simulated brain, a model."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import soundfile
import xarray as xr
import yaml
from filelock import FileLock

from giblet.features import save_features
from tests import commands
from tests.sounds import at_24k

TR = 1.5
N_TRS, N_REGIONS = 24, 6


@dataclass(frozen=True)
class Trained:
    """Where things are."""

    folder: Path
    run: Path
    sound: Path
    features: Path
    bold: Path
    use_encodec: bool


def other_film(features: Path, n: int) -> Path:
    """The same features as of another film: films are known by the SHA-256 of their file."""
    path = features.with_name(f"{features.stem}_film-{n}.nc")
    if not path.exists():
        save_features(xr.load_dataset(features, engine="h5netcdf").assign_attrs(title=f"film {n}"), path)
    return path


def train_tiny(giblet: Callable, folder: Path, *, use_encodec: bool) -> Trained:
    """36 s of speech, three times: a run to learn from, one to choose by, one to be tested on."""
    sound = folder / "talk.wav"
    soundfile.write(sound, at_24k("speech.flac")[: N_TRS * 36_000], 24_000)
    kind = ["--bandwidth", 1.5] if use_encodec else ["--mel", "--n-mels", 24, "--mel-average"]
    assert giblet("extract", sound, "-o", folder, *kind)[0] == 0
    features = folder / f"talk_desc-{'encodec24k' if use_encodec else 'mel'}_features.nc"
    made = giblet("simulate", features, "-o", folder, "--table", "--n-voxels", N_REGIONS, "--snr", 4, "--json")
    assert made[0] == 0
    bold = Path(json.loads(made[1])["files"][0])
    runs = [
        {"bold": str(bold), "audio": str(path)} for path in (features, other_film(features, 2), other_film(features, 3))
    ]
    model = {
        "use_encodec": use_encodec,
        "n_codebooks": 2,
        "embedding_dim": 8,
        "features": 16,
        "bottleneck": 8,
        "rank": 8,
    }
    config = {
        "data": {"subjects": [{"name": "01", "runs": runs}], "fractions": [0.4, 0.3, 0.3], "whole_runs": True},
        "model": model, "output": str(folder / "run"), "window": 12, "batch_size": 2, "epochs": 2, "device": "cpu",
    }  # fmt: skip
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    status, said, err = giblet("train", folder / "config.yaml", "--json")
    assert status == 0, err
    assert json.loads(said)["status"] == "finished"
    return Trained(folder, folder / "run", sound, features, bold, use_encodec)


def trained_once(made: Path) -> Trained:
    """The tiny run of codes, trained by the first of the processes that ask for it; do not write into its folders.

    Parameters
    ----------
    made : Path
        Where pytest keeps what this process makes.
    """
    shared = made.parent if "PYTEST_XDIST_WORKER" in os.environ else made
    told = shared / "trained.json"
    with FileLock(shared / "trained.lock"):
        if not told.exists():
            folder = shared / "trained"
            folder.mkdir()
            one = train_tiny(commands.giblet, folder, use_encodec=True)
            told.write_text(json.dumps(asdict(one), default=str))
    known = json.loads(told.read_text())
    return Trained(**{name: value if name == "use_encodec" else Path(value) for name, value in known.items()})


def own_copy(trained: Trained, folder: Path) -> Trained:
    """The same with a copy of the run, to be written into."""
    return replace(trained, run=Path(shutil.copytree(trained.run, folder / "run")))
