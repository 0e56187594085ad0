"""CLAP by name from a folder, offline; and the scores of its vectors, where the answer is known."""

import numpy as np
import pytest
import transformers
from scipy.linalg import sqrtm

from giblet.data import pretrained
from giblet.data.clap import ClapModel
from giblet.errors import InputError
from giblet.evaluation.clap_scores import Heard, clap_scores, frechet_distance, hear
from giblet.statistics.estimates import ScoredTRs
from tests.clap_folders import clap_folder
from tests.speech_folders import speech_folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return ClapModel(str(clap_folder(tmp_path_factory.mktemp("clap"))), device="cpu")


def tones(n, seconds=2.0, rate=48_000):
    time = np.arange(round(seconds * rate)) / rate
    return [0.3 * np.sin(2 * np.pi * 200 * (k + 1) * time).astype(np.float32) for k in range(n)]


def test_vectors_are_those_of_transformers_own_model_and_extractor(model):
    sounds = tones(3)
    found = model.vectors(sounds)
    folder = model.name
    extractor = transformers.ClapFeatureExtractor.from_pretrained(folder)
    given = extractor(sounds, sampling_rate=48_000, return_tensors="pt")
    own = transformers.ClapModel.from_pretrained(folder).eval().get_audio_features(**given).pooler_output
    assert np.abs(found - own.detach().numpy()).max() < 1e-5
    assert np.linalg.norm(found, axis=1) == pytest.approx(1, abs=1e-5)
    assert (model.dim, model.sample_rate, model.longest) == (12, 48_000, 10.0)


@pytest.mark.parametrize("fusion", [False, True])
def test_a_sound_has_one_vector_whatever_is_heard_with_it(tmp_path, fusion):
    """The extractor of a fusion model takes one of a batch, drawn at random, for longer than it is."""
    model = ClapModel(str(clap_folder(tmp_path, fusion=fusion)), device="cpu")
    sounds = tones(3)
    assert np.abs(model.vectors(sounds) - np.concatenate([model.vectors([one]) for one in sounds])).max() < 1e-5
    assert model.vectors([]).shape == (0, 12)


def test_what_cannot_be_heard_is_refused(model, tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"a sound lasts 12 s; CLAP model .* hears 10 s whole; cut it"):
        model.vectors([np.zeros(12 * 48_000, np.float32)])
    with pytest.raises(InputError, match="is of the family wav2vec2; only clap can be used"):
        ClapModel(str(speech_folder(tmp_path, "wav2vec2-group")), device="cpu")
    with pytest.raises(InputError, match="there is no such folder"):
        ClapModel(str(tmp_path / "absent"), device="cpu")
    monkeypatch.setattr(pretrained, "unreachable", lambda name, file: "the hub cannot be reached")
    with pytest.raises(InputError, match="not in the local hub cache, and the hub cannot be reached"):
        ClapModel("nobody/clap-that-is-nowhere", device="cpu")


def test_passages_that_are_heard_lie_where_the_sound_is(model):
    """Of 12 TRs of 2 s, each with a tone of its own; TR 4 is silent."""
    rate = 24_000
    sound = np.concatenate(tones(12, 2.0, rate))
    used = np.arange(12) != 4
    found = hear({"reference": sound}, rate, model, ScoredTRs.of(12, 2.0), used, np.arange(12))
    starts = [0, 5, 8]
    own = np.concatenate(tones(12, 2.0, 48_000))
    expected = model.vectors([own[at * 96_000 : (at + 3) * 96_000] for at in starts])
    assert found.trs.tr == 6.0 and found.trs.n_trs == 3
    assert (found.vectors["reference"] * expected).sum(1) == pytest.approx(1, abs=1e-3)


def heard(seed=0, n=60, noise=1.0):
    rng = np.random.default_rng(seed)
    true = rng.standard_normal((n, 12))
    sides = {"reference": true, "own": true + noise * rng.standard_normal((n, 12)), "ceiling": true}
    sides["training mean"] = np.broadcast_to(true.mean(0), true.shape)
    unit = {name: own / np.linalg.norm(own, axis=1, keepdims=True) for name, own in sides.items()}
    return Heard(unit, ScoredTRs.of(n, 6.0))


def test_scores_of_vectors_are_cosines_ranks_and_distances():
    of = heard()
    similarity, told_apart, distance = clap_scores(of, ["training mean"])
    true, own = of.vectors["reference"], of.vectors["own"]
    cosines = (own * true).sum(1)
    assert similarity.reconstruction.value == pytest.approx(cosines.mean())
    assert similarity.ceiling == pytest.approx(1.0)
    assert similarity.shifted.p == pytest.approx(1 / 60) and abs(similarity.shifted.mean) < 0.1
    ranks = [(own[k] @ np.delete(true, k, 0).T < cosines[k]).mean() for k in range(60)]
    assert told_apart.reconstruction.value == pytest.approx(np.mean(ranks)) and told_apart.ceiling == 1.0
    assert distance.ceiling == pytest.approx(0, abs=1e-9) and distance.reconstruction.value > 0
    assert distance.reconstruction.value < distance.nulls["training mean"].score.value
    assert distance.above_nulls is None and similarity.above_nulls is True


def test_frechet_distance_is_that_of_two_normal_laws():
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((200, 5)), rng.standard_normal((150, 5)) @ rng.standard_normal((5, 5)) + 2
    a, b = np.cov(x.T), np.cov(y.T)
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(a + b - 2 * sqrtm(a @ b).real)
    assert frechet_distance(x, y) == pytest.approx(expected)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(x, x + 3) == pytest.approx(5 * 9)
    few = rng.standard_normal((4, 30))
    assert frechet_distance(few, few[::-1] + 1) == pytest.approx(30)  # covariances of rank 3 in 30 dimensions
