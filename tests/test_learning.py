"""The model learns: from simulated brains that heard real speech, as much as ridge does, and more than the nulls know.

``make test-long`` adds encoding beside ridge, of which tests/test_parity.py has small studies.

The study is that of `benchmarks/heads.py`, whose parts these tests use; its tables stand in docs/heads.md.
"""

import importlib.util
from argparse import Namespace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from giblet.codec import load_codec
from giblet.data.audio import AudioSettings
from giblet.encoding import fit_ridge
from giblet.evaluation.encoding import score_encoding
from giblet.evaluation.predictions import predict
from giblet.evaluation.reconstruction import code_matches, latents_by_tr
from giblet.evaluation.score import FREQUENT
from giblet.evaluation.scores import constant_codes, score_codes
from giblet.models import MultimodalAutoencoder
from giblet.pipeline import extract
from giblet.statistics.estimates import ScoredTRs
from giblet.training.study import build_study
from giblet.training.trainer import Trainer

ROOT = Path(__file__).parents[1]
SPEECH = ROOT.parent / "shared" / "audio" / "librispeech"
OPTIONS = Namespace(epochs=20, learning_rate=2e-3, validate_every=2)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SPEECH.is_dir(), reason="46 minutes of LibriSpeech are needed (../shared/audio)"),
]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Sums in one order, so that the same weights are learned wherever the test runs."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def heads() -> ModuleType:
    """The benchmark, as a module."""
    spec = importlib.util.spec_from_file_location("heads", ROOT / "benchmarks" / "heads.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def codec():
    return load_codec("bundled", device="cpu")


@pytest.fixture(scope="module")
def learned(heads, codec, tmp_path_factory):
    """A model trained on one simulated brain, its study, and what it says of the test TRs."""
    folder = tmp_path_factory.mktemp("learning")

    def learn(brain: str, head: str, way: str, linear_path: bool = True, minutes: float = 23.0):
        work = folder / f"{minutes:g}"
        work.mkdir(exist_ok=True)
        sound = heads.speech(SPEECH, minutes, work / "speech.flac")
        features = extract(sound, AudioSettings.make(tr=heads.TR, device="cpu"), work).path
        bold = heads.brain(features, codec, brain, 200, work)
        settings = heads.settings_of(features, bold, head, way, work / f"run_{brain}_{way}_{linear_path}", OPTIONS)
        model = settings.model.model_copy(update={"linear_path": linear_path})
        settings = settings.model_copy(update={"model": model})
        study = build_study(settings)
        Trainer(settings, study=study).fit()
        model = MultimodalAutoencoder.from_pretrained(settings.output / "best")
        (stretch,) = predict(
            model, study.recordings[0], study.normalisers["01"], study.splits["01"].test,
            stimulus_trs=study.stimulus_trs["01"],
        )  # fmt: skip
        return study, stretch

    return learn


@pytest.mark.long
@pytest.mark.parametrize(
    ("brain", "linear_path", "at_least", "of_informed"),
    [("linear", True, 0.98, 0.95), ("tanh", True, 0.98, 0.98), ("tanh", False, 1.0, 1.0)],
)
def test_bold_is_predicted_as_well_as_by_ridge_and_better_where_the_brain_saturates(
    learned, heads, codec, brain, linear_path, at_least, of_informed
):
    """Ridge of what the model is given, mean and deviation of the latents; and ridge that knows that brains answer to
    the means alone."""
    study, stretch = learned(brain, "latent", "encoding", linear_path, minutes=46.0)
    recording = study.recordings[0]
    n = len(recording.run)
    frames = latents_by_tr(recording.series["audio"].read(0, n), codec)
    answered_to = frames.mean(axis=2, dtype=np.float64)
    given = np.concatenate([answered_to, frames.std(axis=2, dtype=np.float64)], axis=1)
    bold = study.normalisers["01"]["bold"](recording.series["bold"].read(0, n))
    rows = np.arange(stretch.start, stretch.stop)[stretch.bold_scored]
    trs = ScoredTRs.of(len(rows), heads.TR)
    measured = stretch.bold[stretch.bold_scored]
    ours = score_encoding(measured, stretch.bold_predicted[stretch.bold_scored], trs).mean.value
    for features, share in ((given, at_least), (answered_to, of_informed)):
        ridge = fit_ridge(features, bold, study.splits["01"].train, heads.TR)
        theirs = score_encoding(measured, ridge.predicted[rows], trs).mean.value
        assert theirs > 0.5  # there is something to be learned
        assert ours > share * theirs


def test_more_codes_of_the_first_codebook_are_right_than_the_most_frequent_one_is(learned, heads, codec):
    study, stretch = learned("codes", "classification", "decoding", minutes=46.0)
    keep = stretch.scored["audio"]
    truth, decoded = stretch.truth["audio"][keep], stretch.decoded["audio"][keep]
    frequent = constant_codes(train_codes(study), truth, codec)[FREQUENT]
    right, by_chance = (code_matches(truth, codes)[:, 0] for codes in (decoded, frequent))
    margin = ScoredTRs.of(len(truth), heads.TR).difference(right, by_chance)
    assert margin.low > 0  # the 95 % interval lies above the majority baseline


def train_codes(study) -> np.ndarray:
    train = study.splits["01"].train
    return study.recordings[0].series["audio"].read(int(train[0]), int(train[-1]) + 1)


def test_reconstruction_is_above_all_nulls_in_latents_and_mel(learned, heads, codec):
    study, stretch = learned("linear", "latent", "decoding")
    keep = stretch.scored["audio"]
    truth, decoded = stretch.truth["audio"][keep], stretch.decoded["audio"][keep]
    found = {one.name: one for one in score_codes(truth, decoded, train_codes(study), codec, heads.TR).scores}
    for name in ("latent r", "latent r over time", "mel r", "mel r over time"):
        assert found[name].above_nulls, name
