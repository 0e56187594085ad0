"""``giblet extract`` of measures of sound and of speech models: options, files and refusals."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from giblet.features import load_features
from tests.speech_folders import speech_folder


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("cli") / "talk.wav"
    soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal(24_000 * 6), 24_000)
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return speech_folder(tmp_path_factory.mktemp("models") / "small", "wav2vec2-group")


def test_measures_are_named_with_commas(giblet, sound, tmp_path):
    status, said, _ = giblet("extract", sound, "--acoustics", "loudness,gammatone", "--tr", 2, "-o", tmp_path)
    assert status == 0 and "loudness (3,) float32 at TR 2 s, 3 of 3 TRs covered by the film" in said
    found = load_features(tmp_path / "talk_desc-acoustics_features.nc")
    assert found.attrs["variable"] == "loudness" and found.gammatone.shape == (3, 32)


def test_pitch_must_be_allowed_to_look_ahead(giblet, sound, tmp_path):
    status, _, told = giblet("extract", sound, "--acoustics", "pitch", "-o", tmp_path)
    assert status == 2 and told.rstrip().endswith("leave it out, or allow it with --no-causal")
    status, _, _ = giblet("extract", sound, "--acoustics", "pitch", "--no-causal", "--tr", 2, "-o", tmp_path)
    assert status == 0


def test_mel_spectrograms_refuse_to_be_causal(giblet, sound, tmp_path):
    status, _, told = giblet("extract", sound, "--mel", "--causal", "-o", tmp_path)
    assert status == 2 and "mel features can't be causal" in told and not list(tmp_path.iterdir())


def test_an_unknown_measure_is_told_by_its_option(giblet, sound, tmp_path):
    status, _, told = giblet("extract", sound, "--acoustics", "pich", "-o", tmp_path)
    assert status == 2
    assert "--acoustics is ('pich',): 'pich' is none of envelope, gammatone" in told


def test_a_speech_model_is_asked_for_by_name(giblet, sound, model, tmp_path):
    options = ["extract", sound, "--speech-model", model, "--tr", 2, "-o", tmp_path]
    status, said, _ = giblet(*options, "--layers", "0,3", "--window", 0.5, "--context", 1)
    assert status == 0 and "layer_0 (3, 32) float32 at TR 2 s" in said
    found = load_features(tmp_path / "talk_desc-speech_features.nc")
    assert found.layer_3.shape == (3, 32) and found.attrs["model_context"] == 1
    status, _, told = giblet(*options, "--layers", "0,3", "--window", 0.5)
    assert status == 2 and "--context 1.0 -> 8.0" in told
    status, _, told = giblet(*options, "--layers", "4")
    assert status == 2 and "--layers is 4" in told and "0 (the embeddings) to 3" in told


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--acoustics", "envelope", "--window", 1], "--window is for --speech-model, but --acoustics is given"),
        (["--speech-model", "x", "--compression", 1], "--compression is for --acoustics, but --speech-model is given"),
        (["--speech-model", "x", "--acoustics", "envelope"], "--acoustics and --speech-model are given"),
        (["--speech-model", "nowhere/x"], "cannot read speech model nowhere/x"),
    ],
)
def test_options_of_others_and_models_that_are_nowhere_are_refused(options, said, giblet, sound, tmp_path):
    status, _, told = giblet("extract", sound, *options, "-o", tmp_path)
    assert status == 2 and said in told
