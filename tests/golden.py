"""Figures of a small study by the commands that users give, kept in golden.npz: a change of structure changes none.

python -m tests.golden       make the file anew, after a change that is meant to change figures
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from giblet.features import load_features
from tests.commands import giblet
from tests.trained import train_tiny

HERE = Path(__file__).parent
PATH = HERE / "golden.npz"
FILM = HERE.parent / "samples" / "sintel_trailer.mp4"
SHOWN = 8
"""TRs of each feature that are kept whole."""


def figures(folder: Path) -> dict[str, np.ndarray]:
    """By name: features, weights of a short training, a scorecard and a lag scan."""
    found: dict[str, np.ndarray] = {}
    words = folder / "words.tsv"
    words.write_text("onset\tduration\ttext\n" + "".join(f"{1.3 * k:.1f}\t0.4\tword{k}\n" for k in range(1, 30)))
    for name, options in {
        "codes": [FILM], "mel": [FILM, "--mel", "--mel-average"], "video": [FILM, "--video"],
        "text": [words, "--text", "--text-model", "none"],
    }.items():  # fmt: skip
        out = folder / name
        status, _, err = giblet("extract", *options, "-o", out)
        assert status == 0, err
        (path,) = out.glob("*.nc")
        data = load_features(path)
        for variable in data.data_vars:
            values = data[variable].values
            if values.dtype.kind in "biuf":
                found[f"{name}/{variable}"] = values[:SHOWN].reshape(len(values[:SHOWN]), -1)[:, :64]
                found[f"{name}/{variable}/sum"] = values.sum(axis=tuple(range(1, values.ndim)), dtype=np.float64)
    (features,) = (folder / "video").glob("*.nc")
    status, said, err = giblet("simulate", features, "--regressor", "luminance", "--lag", 3, "--snr", 10, "--table",
                               "-o", folder / "brain", "--json")  # fmt: skip
    assert status == 0, err
    status, said, err = giblet("check-alignment", features, json.loads(said)["files"][0], "--lags=-6..6", "--json")
    assert status == 0, err
    for one in json.loads(said)["regressors"]:
        keys = ("best_lag", "r", "p", "null_95")
        found[f"lag/{one['regressor']}"] = np.array([*(one[key] for key in keys), *one["best_lag_interval"]])
    trained = train_tiny(giblet, folder, use_encodec=True)
    for name, values in load_file(trained.run / "best" / "model.safetensors").items():
        if values.dtype.kind == "f":
            found[f"weights/{name}"] = np.array([values.sum(dtype=np.float64), np.abs(values).sum(dtype=np.float64)])
    status, said, err = giblet("reconstruct", trained.run, "--json")
    assert status == 0, err
    card = json.loads(said)
    for one in [*card["scores"], {"name": "encoding", "reconstruction": card["encoding"]["r"]}]:
        kept = [one["reconstruction"][key] for key in ("value", "low", "high")]
        found[f"card/{one['name']}"] = np.array([np.nan if value is None else value for value in kept])
    return found


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        np.savez_compressed(PATH, **figures(Path(made)))
    sys.stdout.write(f"{PATH}: {PATH.stat().st_size / 1000:.0f} kB\n")
