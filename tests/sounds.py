"""The sounds that ship with giblet, as its codec takes them."""

from pathlib import Path

import numpy as np
import soundfile
import soxr

DATA = Path(__file__).parents[1] / "samples"


def at_24k(name: str) -> np.ndarray:
    """A file of samples/, float32 at 24 kHz."""
    wave, rate = soundfile.read(DATA / name, dtype="float32")
    return soxr.resample(wave, rate, 24_000)
