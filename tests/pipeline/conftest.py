"""A run that was trained within seconds: pictures and words of a film, a scan that began 12 s into it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from giblet.features import new_features, save_features
from giblet.pipeline.training import train
from giblet.spans import volume_rate
from giblet.timing import TRGrid

TR, N_FILM, N_SCAN, OFFSET = 2.0, 130, 124, 12.0


@dataclass(frozen=True)
class Project:
    """``data/`` and ``runs/small/`` in one folder."""

    folder: Path

    @property
    def run(self) -> Path:
        return self.folder / "runs" / "small"

    @property
    def config(self) -> Path:
        return self.folder / "train.yaml"


def features_file(path: Path, variable: str, values: np.ndarray, **attrs) -> Path:
    dims = ("tr", *(f"axis_{k}" for k in range(values.ndim - 1)))
    grid = TRGrid(TR, len(values), volume_rate(TR))
    made = new_features(
        {variable: (dims, values)}, grid, film_duration=grid.duration, kind="continuous", desc=path.stem,
        source="film.mp4", source_sha256="0", duration=float(grid.duration), settings={}, **attrs,
    )  # fmt: skip
    return save_features(made, path)


def make_project(folder: Path, **changes) -> Project:
    """Data, a configuration with relative paths, and a run of one epoch."""
    data = folder / "data" / "sub-22" / "func"
    data.mkdir(parents=True)
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((N_FILM, 4)).astype(np.float32)
    pictures = rng.integers(0, 256, (N_FILM, 16, 16, 3), dtype=np.uint8)
    features_file(folder / "data" / "words.nc", "embedding", vectors)
    features_file(folder / "data" / "pictures.nc", "frames", pictures)
    bold = 500 + 10 * rng.standard_normal((N_SCAN, 5))
    pd.DataFrame(bold, columns=[f"area-{k}" for k in range(5)]).to_csv(data / "run_bold.tsv", sep="\t", index=False)
    run = {"bold": "data/sub-22/func/run_bold.tsv", "text": "data/words.nc", "video": "data/pictures.nc",
           "stimulus_time_at_volume_0": OFFSET, "on_short_bold": "trim"}  # fmt: skip
    model = {"tr": TR, "n_codebooks": 2, "features": 8, "bottleneck": 4, "rank": 4, "decode_seconds": 6}
    config = {
        "data": {"subjects": [{"name": "sub-22", "runs": [run]}], "fractions": [0.5, 0.25, 0.25], "gap": 4},
        "model": model, "output": "runs/small", "window": 12, "batch_size": 2, "epochs": 1, "device": "cpu", **changes,
    }  # fmt: skip
    project = Project(folder)
    project.config.write_text(yaml.safe_dump(config))
    return project


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Project:
    project = make_project(tmp_path_factory.mktemp("project"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project.folder)
        assert train(project.config).status == "finished"
    return project
