"""The study of `benchmarks/heads.py`, whose parts these tests use; its tables stand in docs/heads.md.

Encoding and decoding are in files of their own so that two processes can share them (``--dist loadfile``).
"""

import importlib.util
from argparse import Namespace
from pathlib import Path
from types import ModuleType

import pytest
import torch

from giblet.codec import load_codec
from giblet.config import ExtractSettings
from giblet.evaluation.predictions import predict
from giblet.models import MultimodalAutoencoder
from giblet.pipeline import extract_film
from giblet.training.study import build_study
from giblet.training.trainer import Trainer

ROOT = Path(__file__).parents[2]
SPEECH = ROOT.parent / "shared" / "audio" / "librispeech"
OPTIONS = Namespace(epochs=20, learning_rate=2e-3, validate_every=2)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Sums in one order, so that the same weights are learned wherever the test runs."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def heads() -> ModuleType:
    """The benchmark, as a module."""
    spec = importlib.util.spec_from_file_location("heads", ROOT / "benchmarks" / "heads.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def codec():
    return load_codec("bundled", device="cpu")


@pytest.fixture(scope="session")
def learned(heads, codec, tmp_path_factory):
    """A model trained on one simulated brain, its study, and what it says of the test TRs."""
    if not SPEECH.is_dir():
        pytest.skip("46 minutes of LibriSpeech are needed (../shared/audio)")
    work = tmp_path_factory.mktemp("learning")
    sound = heads.speech(SPEECH, 46.0, work / "speech.flac")
    features = extract_film(sound, ExtractSettings.make(tr=heads.TR, device="cpu"), work).path

    def learn(brain: str, head: str, way: str):
        bold = heads.brain(features, codec, brain, 200, work)
        settings = heads.settings_of(features, bold, head, way, work / f"run_{brain}_{way}", OPTIONS)
        study = build_study(settings)
        Trainer(settings, study=study).fit()
        model = MultimodalAutoencoder.from_pretrained(settings.output / "best")
        (stretch,) = predict(
            model, study.recordings[0], study.normalisers["01"], study.splits["01"].test,
            stimulus_trs=study.stimulus_trs["01"],
        )  # fmt: skip
        return study, stretch

    return learn
