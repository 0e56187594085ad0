"""Words on the clock of a scan as a language model has them: right TR, right words, right masks, right controls."""

import json
import logging

import numpy as np
import pandas as pd
import pytest

import giblet as gb
from giblet.data.language import LanguageProcessor, LanguageSettings, controlled, spoken_words
from giblet.data.language_models import LanguageModel
from giblet.data.words.subtitles import read_segments
from giblet.encoding.settings import BandSettings
from giblet.errors import InputError
from giblet.features import load_features
from giblet.pipeline.encoding_features import BandReader
from giblet.training.films import Films
from tests.language_folders import WORDS, saved

STEP = 0.37
ONSETS = [0.1 + STEP * index + (6.0 if index >= 40 else 0.0) for index in range(len(WORDS))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("model"), "gpt2")


def written(path, words=WORDS, onsets=ONSETS):
    table = pd.DataFrame({"onset": onsets, "duration": 0.3, "text": words})
    table.to_csv(path, sep="\t", index=False, quoting=3)
    return path


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return written(tmp_path_factory.mktemp("words") / "words.tsv")


def extracted(folder, table, n_trs=None, **options):
    options = {"tr": 2.0, "layers": (0, 3), "context": 10, "device": "cpu", "statistics": (), **options}
    return LanguageProcessor(model=str(folder), **options).extract(table, n_trs)


@pytest.mark.parametrize("tr", [0.72, 1.5, 2.0])
def test_states_and_surprisal_are_summed_over_the_words_that_begin_in_a_tr(folder, table, tr):
    found = extracted(folder, table, tr=tr)
    states = LanguageModel(str(folder), device="cpu").states(WORDS, layers=(0, 3), context=10)
    by_tr = pd.Series(np.floor(np.array(ONSETS) / tr).astype(int))
    for index, layer in enumerate((0, 3)):
        expected = pd.DataFrame(states.vectors[:, index].astype(float)).groupby(by_tr).sum()
        np.testing.assert_allclose(found[f"layer_{layer}"].values[expected.index], expected, atol=1e-4)
    bits = pd.Series(states.surprisal.astype(float)).groupby(by_tr).sum()
    np.testing.assert_allclose(found["surprisal"].values[bits.index], bits, rtol=1e-4)
    silent = np.setdiff1d(np.arange(found.sizes["tr"]), by_tr)
    assert len(silent) >= 1
    assert not found["layer_3"].values[silent].any()
    np.testing.assert_array_equal(found["has_words"], np.isin(np.arange(found.sizes["tr"]), by_tr))
    count = np.bincount(by_tr, minlength=found.sizes["tr"])
    np.testing.assert_allclose(found["word_rate"], count / tr, rtol=1e-6)


def test_a_mean_says_of_which_trs_it_knows_nothing_and_a_sum_of_no_words_is_zero(folder, table):
    summed, mean = (extracted(folder, table, pool=pool) for pool in ("sum", "mean"))
    count = np.round(summed["word_rate"].values * 2.0)
    spoken = count > 0
    np.testing.assert_allclose(
        mean["layer_3"].values[spoken], summed["layer_3"].values[spoken] / count[spoken, None], atol=1e-5
    )
    np.testing.assert_array_equal(mean["layer_3_mask"], spoken)
    np.testing.assert_array_equal(mean["surprisal_mask"], spoken)
    assert not [name for name in summed if str(name).endswith("_mask")]


@pytest.mark.parametrize("at", ["onset", "middle", "offset"])
def test_a_word_falls_into_the_tr_of_the_moment_that_is_asked_for(folder, tmp_path, at):
    """0.5 s of a word: 1.8 to 2.3, whose middle is 2.05; one begins at the very edge of a TR."""
    path = tmp_path / "words.tsv"
    pd.DataFrame({"onset": [1.8, 4.0], "offset": [2.3, 4.5], "text": ["Alice", "was"]}).to_csv(
        path, sep="\t", index=False
    )
    found = extracted(folder, path, word_at=at)
    assert np.flatnonzero(found["has_words"]).tolist() == ([0, 2] if at == "onset" else [1, 2])


def test_a_text_without_a_word_on_the_scan_is_one_clear_error(folder, tmp_path):
    """The row overlaps the scan of one TR, and its only word ends after it."""
    path = tmp_path / "words.tsv"
    pd.DataFrame({"onset": [1.8], "offset": [2.3], "text": ["Alice"]}).to_csv(path, sep="\t", index=False)
    assert extracted(folder, path, 1)["word_rate"].values.tolist() == [0.5]
    with pytest.raises(InputError, match=r"no word of words.tsv has its offset within the 1 TRs"):
        extracted(folder, path, 1, word_at="offset")


def test_what_is_said_after_a_moment_changes_nothing_before_it(folder, tmp_path):
    turn = 50
    other = [*WORDS[:turn], *("Some", "quite", "different", "ending.") * 10]
    onsets = ONSETS[: len(other)]
    options = {"statistics": ("frequency", "phonemes"), "layers": (0, 2, 4)}
    first = extracted(folder, written(tmp_path / "a.tsv"), 20, **options)
    second = extracted(folder, written(tmp_path / "b.tsv", other, onsets), 20, **options)
    before = int(ONSETS[turn] // 2.0)
    assert set(second.data_vars) == set(first.data_vars)
    for name in set(first.data_vars) - {"valid"}:
        one, two = (np.asarray(file[name].values, float) for file in (first, second))
        np.testing.assert_allclose(two[:before], one[:before], atol=1e-4, err_msg=str(name))
    assert np.abs(second["layer_4"].values[before:] - first["layer_4"].values[before:]).max() > 0.1
    assert first.attrs["causal"] == "yes"


def test_words_before_the_scan_are_context_and_words_after_it_are_not_read(folder, table):
    whole = extracted(folder, table)
    later = extracted(folder, table, 4, table_time_at_tr_0=8.0)
    np.testing.assert_allclose(later["layer_3"].values, whole["layer_3"].values[4:8], atol=1e-4)
    np.testing.assert_allclose(later["surprisal"].values, whole["surprisal"].values[4:8], atol=1e-3)
    count = np.round(whole["word_rate"].values * 2).astype(int)
    assert later.attrs["cut_words"] == len(WORDS) - count[4:8].sum()


def test_rows_of_several_words_and_dashes_between_spaces(folder, tmp_path):
    path = tmp_path / "words.tsv"
    pd.DataFrame({"onset": [0.0, 6.0], "offset": [5.0, 7.0], "text": ["... Alice was , very tired", "of it"]}).to_csv(
        path, sep="\t", index=False
    )
    words = spoken_words(read_segments(path))
    assert [(word.text, float(word.onset)) for word in words] == [
        ("... Alice", 0.0), ("was ,", 1.25), ("very", 2.5), ("tired", 3.75), ("of", 6.0), ("it", 6.5),
    ]  # fmt: skip
    found = extracted(folder, path)
    assert (found["word_rate"].values * 2).tolist() == [2, 2, 0, 2]


def test_controls_keep_what_they_should(folder, table):
    rng = np.random.default_rng(0)
    vectors, words = rng.standard_normal((6, 2, 3)).astype(np.float32), ["The", "cat", "the", "the,", "dog", "cat."]
    permuted = controlled(vectors, words, "permuted_words", 1)
    assert not np.array_equal(permuted, vectors)
    np.testing.assert_array_equal(np.sort(permuted, axis=0), np.sort(vectors, axis=0))
    by_word = controlled(vectors, words, "mean_by_word")
    np.testing.assert_allclose(by_word[0], vectors[[0, 2, 3]].mean(0), rtol=1e-6)
    np.testing.assert_array_equal(by_word[[0, 1]], by_word[[3, 5]])
    np.testing.assert_array_equal(by_word[4], vectors[4])
    plain = extracted(folder, table)
    for control, same in (("permuted_words", True), ("mean_by_word", True), ("random_weights", False)):
        found = extracted(folder, table, control=control, seed=7)
        assert (found.attrs["model_fingerprint"] == plain.attrs["model_fingerprint"]) == same
        assert np.abs(found["layer_3"].values - plain["layer_3"].values).max() > 0.1
        np.testing.assert_array_equal(found["word_rate"], plain["word_rate"])
        if same:  # a sum over the text is that of the words, whatever their order
            np.testing.assert_allclose(found["layer_3"].sum("tr"), plain["layer_3"].sum("tr"), rtol=1e-3, atol=1e-2)
            assert found.attrs["causal"].startswith("no: ")


def test_the_file_says_what_it_is_made_of_and_is_not_made_twice(folder, table, tmp_path):
    settings = LanguageSettings.make(tr=2.0, model=str(folder), layers=(3,), context=10, device="cpu")
    done = gb.extract(table, settings, tmp_path)
    assert done.status == "written" and done.path.name == "words_desc-language_features.nc"
    assert gb.extract(table, settings, tmp_path).status == "up to date"
    attrs = load_features(done.path).attrs
    assert attrs["model_fingerprint"] == LanguageModel(str(folder), device="cpu").fingerprint
    assert (attrs["model_layers"], attrs["context_words"], attrs["model_dtype"]) == ("3", "10 to 14", "float32")
    assert attrs["statistics_from"].startswith("wordfreq ")
    assert json.loads(attrs["settings"])["pool"] == "sum"
    other = settings.model_copy(update={"model": str(saved(tmp_path / "m", "gpt2", seed=4))})
    with pytest.raises(InputError, match=r"model fingerprint \(LanguageSettings.model\)"):
        gb.extract(table, other, tmp_path)
    with pytest.raises(InputError, match="context 10 -> 11"):
        gb.extract(table, settings.model_copy(update={"context": 11}), tmp_path)


def test_encoding_models_take_a_layer_or_surprisal_as_a_band(folder, table, tmp_path):
    settings = LanguageSettings.make(tr=2.0, model=str(folder), layers=(0, 3), context=10, pool="mean", device="cpu")
    path = gb.extract(table, settings, tmp_path).path
    takes = {name: BandSettings(of="story", take=name) for name in ("layer_3", "surprisal", "word_frequency")}
    bands = BandReader(takes, codec="bundled", films=Films()).of_run({"story": path}, 2.0)
    features = load_features(path)
    for name, (_, band) in bands.items():
        expected = features[name].values.reshape(features.sizes["tr"], -1)
        np.testing.assert_array_equal(band["band"].values, expected)
        np.testing.assert_array_equal(band["band_mask"].values, features[f"{name}_mask"].values)


def test_without_a_model_there_are_the_statistics_of_words(table):
    found = LanguageProcessor(tr=2.0, model=None, statistics=("frequency", "part_of_speech")).extract(table)
    assert found.attrs["variable"] == "word_rate"
    assert {"word_frequency", "part_of_speech", "compound_words"} <= set(found)
    assert "model_fingerprint" not in found.attrs
    assert found.attrs["causal"] == "no: the part of speech of a word depends on the words after it"


def test_words_without_a_frequency_are_counted_and_said(table, caplog):
    with caplog.at_level(logging.WARNING):
        found = LanguageProcessor(tr=2.0, model=None).extract(table)
    n_compounds = sum("-" in word for word in WORDS)
    assert int(found["compound_words"].sum()) == n_compounds == 1
    assert f"{n_compounds} of {len(WORDS)} words have no frequency" in caplog.text


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"layers": (9,)}, r"layers is 9: .* has layers 0 \(the embeddings\) to 4"),
        ({"control": "shuffled"}, "control"),
        ({"statistics": ("concreteness",)}, "statistics"),
        ({"context_step": 0}, "context_step"),
        ({"contxt": 5}, "did you mean context"),
        ({"model": None, "control": "permuted_words"}, "there is no model"),
    ],
)
def test_options_that_cannot_be_are_one_clear_error(folder, options, said):
    with pytest.raises(InputError, match=said) as raised:
        LanguageProcessor(**{"model": str(folder), "device": "cpu", **options})
    assert "\n" not in str(raised.value)
