"""What all tests share: the sounds that ship with giblet, and the bundled model as transformers itself loads it."""

from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from transformers import EncodecModel

DATA = Path(__file__).parents[1] / "data"


def at_24k(name: str) -> np.ndarray:
    wave, rate = soundfile.read(DATA / name, dtype="float32")
    return soxr.resample(wave, rate, 24_000)


@pytest.fixture(scope="session")
def speech() -> np.ndarray:
    """57.6 s of read speech, four readers, mono float32 at 24 kHz."""
    return at_24k("speech.flac")


@pytest.fixture(scope="session")
def music() -> np.ndarray:
    """30 s of a song, mono float32 at 24 kHz."""
    return at_24k("music.flac")


@pytest.fixture(scope="session")
def film() -> Path:
    """The sample film, 52.17 s."""
    return DATA / "sintel_trailer.mp4"


@pytest.fixture(scope="session")
def bundled_model() -> EncodecModel:
    """The oracle: the bundled weights in transformers' own model, weight norm and all."""
    return EncodecModel.from_pretrained(str(resources.files("giblet.codec") / "assets" / "bundled")).eval()
