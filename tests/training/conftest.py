"""A study of a few seconds' training: real codes of the shipped sounds, simulated tables of BOLD, a tiny model."""

from pathlib import Path

import pytest

from giblet.data.audio import AudioSettings
from giblet.pipeline import extract, simulate
from giblet.training.settings import TrainSettings
from tests.trained import other_film

DATA = Path(__file__).parents[2] / "samples"

TINY = {
    "tr": 1.5, "n_codebooks": 2, "embedding_dim": 8, "features": 16, "bottleneck": 8, "rank": 8, "dropout": 0.1,
    "head": "regression",
}  # fmt: skip


@pytest.fixture(scope="session")
def shown(tmp_path_factory) -> dict[str, tuple[Path, Path]]:
    """By name: codes of two codebooks, and BOLD of 12 regions that answers to them."""
    folder = tmp_path_factory.mktemp("shown")
    made = {}
    for name in ("speech", "music"):
        settings = AudioSettings.make(tr=1.5, bandwidth=1.5, device="cpu")
        codes = extract(DATA / f"{name}.flac", settings, folder).path
        files = simulate(codes, folder, table=True, n_voxels=12, snr=4.0).files
        made[name] = (codes, files[0])
    return made


def values(shown, output, **changes) -> dict:
    """A configuration: speech twice for training, speech again for validation, music for testing, each a film."""
    codes, bold = shown["speech"]
    pairs = [*((other_film(codes, k), bold) for k in range(3)), shown["music"]]
    runs = [{"bold": str(bold), "audio": str(codes)} for codes, bold in pairs]
    model = {**TINY, **changes.pop("model", {})}
    data = {"subjects": [{"name": "01", "runs": runs}], "fractions": (0.55, 0.3, 0.15), "whole_runs": True,
            **changes.pop("data", {})}  # fmt: skip
    return {
        "data": data, "model": model, "output": str(output), "window": 12, "batch_size": 3, "epochs": 2,
        "learning_rate": 0.01, "warmup_steps": 2, "device": "cpu", **changes,
    }  # fmt: skip


@pytest.fixture
def settings(shown, tmp_path):
    """Makes settings, with changes."""

    def make(output="run", **changes) -> TrainSettings:
        return TrainSettings.make(**values(shown, tmp_path / output, **changes))

    return make
