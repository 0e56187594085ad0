"""What a simulated brain answers to is what it says, on the clock of the features, and circular only where it is."""

import json

import numpy as np
import pytest
import soundfile
import torch

from giblet.data.acoustics import AcousticsProcessor
from giblet.data.audio import AudioProcessor
from giblet.data.brain_sources import brain_bands, circular_by, random_net_features
from giblet.data.text import TextProcessor
from giblet.data.video import VideoProcessor
from giblet.errors import InputError
from giblet.features import load_features, save_features
from giblet.pipeline import simulate
from giblet.pipeline.simulation import simulate_subjects
from tests.words import words

TR = 2.0


@pytest.fixture(scope="module")
def made(tmp_path_factory, film, speech):
    """A folder with codes, pictures and words of small stimuli, by name."""
    folder = tmp_path_factory.mktemp("sources")
    soundfile.write(folder / "talk.wav", speech[: 21 * 24_000], 24_000)
    table = words(folder, [(0.5 + 1.7 * k, 0.9 + 1.7 * k, text) for k, text in enumerate(["the", "zygote", "of"] * 8)])
    files = {
        "mel": AudioProcessor(tr=TR, use_encodec=False, mel_average=True).extract(folder / "talk.wav"),
        "codes": AudioProcessor(tr=TR, device="cpu").extract(folder / "talk.wav"),
        "video": VideoProcessor(tr=TR, size=(18, 32)).extract(film),
        "text": TextProcessor(tr=TR, model=None).extract(table),
    }
    for name, features in files.items():
        save_features(features, folder / f"{name}_desc-{name}_features.nc")
    return folder


def features_of(made, name):
    return load_features(made / f"{name}_desc-{name}_features.nc")


@pytest.mark.parametrize("kind", ["gammatone", "modulation"])
def test_sound_is_measured_as_giblet_extract_does(made, kind):
    features = features_of(made, "codes")
    found = brain_bands(features, [kind], film=made / "talk.wav")[kind]
    expected = AcousticsProcessor((kind,), tr=TR).extract(made / "talk.wav", features.sizes["tr"])
    np.testing.assert_array_equal(found[kind], expected[kind])


def test_a_file_that_was_cut_gets_the_trs_of_its_cut(made):
    features = features_of(made, "codes")
    whole = brain_bands(features, ["gammatone"], film=made / "talk.wav")["gammatone"]
    cut = brain_bands(features.isel(tr=slice(2, None)), ["gammatone"], film=made / "talk.wav")["gammatone"]
    np.testing.assert_array_equal(cut.gammatone, whole.gammatone[2:])
    np.testing.assert_array_equal(cut.onset, whole.onset[2:])


def test_frequent_words_are_told_from_rare_ones(made):
    features = features_of(made, "text")
    found = brain_bands(features, ["word_frequency"], words=made / "words.tsv")["word_frequency"]
    zipf, rate, length = found["word_statistics"].values.T
    rare = np.array([any(abs(0.5 + 1.7 * k - t) < 0 or t <= 0.5 + 1.7 * k < t + TR for k in range(1, 24, 3))
                     for t in found.onset.values])  # fmt: skip
    spoken = rate > 0
    assert zipf[spoken & rare].max() < zipf[spoken & ~rare].min() and length[spoken & rare].min() > 3
    assert not zipf[~spoken].any()


def test_the_random_net_is_three_convolutions_with_rectifiers_that_the_seed_draws():
    pictures = np.random.default_rng(0).integers(0, 256, (300, 36, 64, 3), dtype=np.uint8)
    found = random_net_features(pictures, seed=3)
    generator, layers, before = torch.Generator().manual_seed(3), [], 3
    for channels in (16, 32, 32):
        layer = torch.nn.Conv2d(before, channels, 5, stride=2, padding=2, bias=False)
        drawn = torch.randn(layer.weight.shape, generator=generator)
        layer.weight.data = drawn * (2 / (before * 25)) ** 0.5
        layers += [layer, torch.nn.ReLU()]
        before = channels
    net = torch.nn.Sequential(*layers, torch.nn.AdaptiveAvgPool2d((3, 4)), torch.nn.Flatten())
    with torch.no_grad():
        expected = net(torch.from_numpy(pictures).permute(0, 3, 1, 2) / 255 - 0.5)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert found.shape == (300, 384) and found.std(axis=0).max() > 0
    assert not np.allclose(found, random_net_features(pictures, seed=4))


def test_the_random_net_sees_the_pictures_of_the_file_or_those_of_the_film(made, film):
    own = brain_bands(features_of(made, "video"), ["random_net"])["random_net"]
    pictures = features_of(made, "video").frames.values
    np.testing.assert_allclose(own["random_net"], random_net_features(pictures), atol=1e-6)
    sound = AcousticsProcessor(("envelope",), tr=TR).extract(film)
    of_film = brain_bands(sound, ["random_net"], film=film)["random_net"]
    r = np.corrcoef(own["random_net"].values.ravel(), of_film["random_net"].values.ravel())[0, 1]
    assert r > 0.95  # the film was read at another size


def test_circular_is_only_what_the_file_itself_holds(made):
    path = made / "mel_desc-mel_features.nc"
    copy = made / "copy.nc"
    copy.write_bytes(path.read_bytes())
    other = made / "text_desc-text_features.nc"
    for answers_to, expected in [
        (["features"], "yes"), ([str(copy)], "yes"), (["features", "gammatone"], "in part"),
        (["gammatone", "modulation"], "no"), ([str(other)], "no"), (["names"], "no"),
    ]:  # fmt: skip
        assert circular_by(answers_to, path) == expected


def test_the_truth_and_the_sidecar_say_whether_it_is_circular(made, tmp_path):
    mel = made / "mel_desc-mel_features.nc"
    for answers_to, expected in [(None, "yes"), (["gammatone"], "no"), (["features", "gammatone"], "in part")]:
        film = None if answers_to is None else made / "talk.wav"
        scan = simulate(mel, tmp_path / expected.replace(" ", "_"), answers_to=answers_to, film=film, n_voxels=2)
        assert scan.circular == expected
        assert load_features(scan.truth).attrs["circular"] == expected
        beside = json.loads(scan.runs[0].with_name(scan.runs[0].name.replace(".nii.gz", ".json")).read_text())
        assert beside["Circular"] == expected and beside["RepetitionTime"] == TR
    names = simulate(made / "codes_desc-codes_features.nc", tmp_path / "names", n_voxels=2)
    assert names.circular == "no"
    asked = simulate(made / "codes_desc-codes_features.nc", tmp_path / "asked", n_voxels=2, answers_to=["names"])
    np.testing.assert_array_equal(names.simulation.bold, asked.simulation.bold)


def test_the_signal_answers_to_the_gammatone_bands_and_to_nothing_else(made, tmp_path):
    codes = made / "codes_desc-codes_features.nc"
    scan = simulate(codes, tmp_path, answers_to=["gammatone"], film=made / "talk.wav", n_voxels=5)
    truth = load_features(scan.truth)
    extracted = AcousticsProcessor(("gammatone",), tr=TR).extract(made / "talk.wav", len(truth.features))
    bands, valid = extracted.gammatone.values.astype(float), extracted.valid.values
    standard = (bands - bands[valid].mean(axis=0)) / bands[valid].std(axis=0)
    np.testing.assert_allclose(truth.features.values[valid], standard[valid], atol=1e-3)
    assert not truth.features.values[~valid].any()


def test_subjects_are_written_side_by_side_with_noise_of_their_own(made, tmp_path):
    path = made / "mel_desc-mel_features.nc"
    first, second = simulate_subjects(path, tmp_path, n_subjects=2, table=True, n_voxels=3, own=0.5, seed=4)
    assert [one.runs[0].name[:7] for one in (first, second)] == ["sub-01_", "sub-02_"]
    assert not np.allclose(first.simulation.truth.signal, second.simulation.truth.signal)
    alone = simulate(path, tmp_path, table=True, n_voxels=3, own=0.5, seed=4, noise_seed=5)
    np.testing.assert_array_equal(alone.simulation.bold, second.simulation.bold)


def test_another_simulation_is_not_replaced(made, tmp_path):
    path = made / "mel_desc-mel_features.nc"
    simulate(path, tmp_path, table=True, n_voxels=2)
    simulate(path, tmp_path, table=True, n_voxels=2)
    with pytest.raises(InputError, match=r"confounds 0\.0 -> 0\.3"):
        simulate(path, tmp_path, table=True, n_voxels=2, confounds=0.3)
    with pytest.raises(InputError, match="answers_to"):
        simulate(path, tmp_path, table=True, n_voxels=2, answers_to=["gammatone"], film=made / "talk.wav")


def test_what_cannot_be_made_is_refused_with_the_reason(made, film):
    codes, mel = features_of(made, "codes"), features_of(made, "mel")
    for features, answers_to, given, message in [
        (mel, ["gamatone"], {}, "answers_to is 'gamatone': it is none of features, names, gammatone"),
        (mel, [], {}, "a list of names is needed"),
        (mel, "gammatone", {}, "a list of names is needed"),
        (mel, ["gammatone", "gammatone"], {}, "names gammatone twice"),
        (mel, ["gammatone"], {}, "made of the film: name its file as `film`"),
        (mel, ["word_frequency"], {}, "made of the words: name its file as `words`"),
        (mel, ["random_net"], {}, "made of the film"),
        (mel, ["features"], {"film": film}, "`film` is given, and nothing is made of it"),
        (mel, ["names"], {}, "which are of codes, and the features are mel"),
        (codes, ["features"], {}, "codes, which are no numbers: answers_to='names'"),
        (codes, ["gammatone"], {"film": film}, "that of the features .* s: name the film"),
        (mel, [str(made / "video_desc-video_features.nc")], {}, "extract both for the same scan"),
        (mel, [str(made / "codes_desc-codes_features.nc")], {}, "holds codes: extract numbers"),
    ]:  # fmt: skip
        with pytest.raises(InputError, match=message):
            brain_bands(features, answers_to, **given)
    with pytest.raises(InputError, match="leave out answers_to"):
        simulate(made / "mel_desc-mel_features.nc", made / "x", regressor="envelope", answers_to=["features"])
