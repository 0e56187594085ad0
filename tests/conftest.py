"""What all tests share: the sounds that ship with giblet, and the bundled model as transformers itself loads it."""

from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings
from transformers import EncodecConfig, EncodecModel

from giblet.compiled import import_librosa
from tests import commands
from tests.sounds import DATA, at_24k
from tests.trained import Trained, trained_once

import_librosa()  # before a test does it: tests run in several processes, which would write one cache

settings.register_profile("untimed", deadline=None)  # a busy machine is no fault of what is tested
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def speech() -> np.ndarray:
    """60.4 s of read speech, four readers, mono float32 at 24 kHz."""
    return at_24k("speech.flac")


@pytest.fixture(scope="session")
def music() -> np.ndarray:
    """30 s of orchestral music, mono float32 at 24 kHz."""
    return at_24k("music.flac")


@pytest.fixture(scope="session")
def film() -> Path:
    """The sample film, 52.17 s."""
    return DATA / "sintel_trailer.mp4"


@pytest.fixture(scope="session")
def bundled_model() -> EncodecModel:
    """The oracle: the bundled weights in transformers' own model, weight norm and all."""
    return EncodecModel.from_pretrained(str(resources.files("giblet.codec") / "assets" / "bundled")).eval()


@pytest.fixture(scope="session")
def official_model(speech, music) -> EncodecModel:
    """The full official configuration with random weights and codebooks that are all in use.

    Each codebook holds frames, at half their size, of what the ones before leave of real sound, and noise of half the
    spread, so that entries lie apart and at least 300 of 1024 occur: with untouched random codebooks every frame gets
    one code, and equal codes prove nothing. The encoder's biases are 0. With random ones the latents' mean is 47 times
    their spread, and codes in pauses hang on the last bit of a float: there transformers itself differs from its own
    double precision in 0.3 % of the codes.
    """
    torch.manual_seed(0)
    model = EncodecModel(EncodecConfig()).eval()
    wave = torch.from_numpy(np.concatenate([speech[: 20 * 24_000], music[: 20 * 24_000]]))
    with torch.inference_mode():
        for name, parameter in model.encoder.named_parameters():
            if "bias" in name:
                parameter.zero_()
        left = model.encoder(wave[None, None])[0].t()
        for layer in model.quantizer.layers:
            chosen = left[torch.randperm(len(left))[:1024]]
            layer.codebook.embed.copy_((chosen + left.std(0) * torch.randn_like(chosen)) / 2)
            left = left - layer.codebook.embed[layer.codebook.quantize(left)]
    return model


@pytest.fixture(scope="session")
def official_folder(official_model, tmp_path_factory) -> Path:
    """The same, saved as a user would have it."""
    folder = tmp_path_factory.mktemp("official")
    official_model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def stereo_folder(tmp_path_factory) -> Path:
    """A codec of the layout of the published 48 kHz model: stereo, not causal."""
    config = EncodecConfig(
        sampling_rate=48_000, audio_channels=2, normalize=True, chunk_length_s=1.0, overlap=0.01,
        use_causal_conv=False, norm_type="time_group_norm", num_filters=2, hidden_size=16, codebook_dim=16,
        target_bandwidths=[3.0, 6.0],
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("stereo")
    EncodecModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory) -> Trained:
    """A tiny training run of codes: `tests.trained.own_copy` makes one that a test may change."""
    return trained_once(tmp_path_factory.getbasetemp())


@pytest.fixture
def giblet():
    """Run the command in this process: (exit status, stdout, stderr)."""
    return commands.giblet
