"""Words are said as the dictionary has them, put together of its words, or guessed and marked."""

import builtins
import random

import pytest

pytest.importorskip("pocketsphinx")

from giblet.data.words.alignment import pronunciation as module
from giblet.data.words.alignment.pronunciation import COMPOSED, DICTIONARY, GUESSED, NONE, guess, pronunciation_of
from giblet.data.words.alignment.recogniser import Recogniser
from giblet.errors import InputError


@pytest.fixture(scope="module")
def known():
    return Recogniser().pronunciation


@pytest.mark.parametrize(
    ("token", "spelling"),
    [
        ("Soon", "soon"), ("“Well!”", "well"), ("don’t", "don't"), ("'Tis", "'tis"), ("goin',", "goin'"),
        ("Mr.", "mr."),
        ("U.S.", "u.s."), ("café", "cafe"), ("—and", "and"), ("mother-in-law;", "mother-in-law"), ("I'll", "i'll"),
    ],
)  # fmt: skip
def test_punctuation_case_and_accents_do_not_hide_a_word_of_the_dictionary(known, token, spelling):
    found = pronunciation_of(token, known)
    assert (found.spelling, found.source, found.ways) == (spelling, DICTIONARY, ())


@pytest.mark.parametrize(
    ("token", "words"),
    [
        ("grandmother-clock", ["grandmother clock"]),
        ("well--then", ["well then"]),
        ("it…and", ["it and"]),
        ("1865", ["eighteen sixty five", "one thousand eight hundred sixty five",
                  "one thousand eight hundred and sixty five"]),
        ("1905", ["nineteen oh five", "one thousand nine hundred five", "one thousand nine hundred and five"]),
        ("1,000", ["one thousand"]),
        ("$5", ["five dollars"]),
        ("50%", ["fifty percent"]),
        ("2nd", ["second"]),
        ("3.5", ["three point five"]),
        ("1990s", ["nineteen nineties", "one thousand nine hundred nineties",
                   "one thousand nine hundred and nineties"]),
        ("3.14.15", ["three one four one five"]),
    ],
)  # fmt: skip
def test_numbers_and_compounds_are_said_as_their_words(known, token, words):
    found = pronunciation_of(token, known)
    assert found.source == COMPOSED
    assert list(found.ways) == [" ".join(known(word) for word in way.split()) for way in words]


def test_letters_are_said_by_their_names(known):
    assert pronunciation_of("zzt", known).ways == ("Z IY Z IY T IY",)
    assert pronunciation_of("A.Z.", known).ways == ("EY Z IY",)
    assert pronunciation_of("R2D2", known).ways == ("AA R T UW D IY T UW",)


def test_unknown_words_are_guessed_and_marked(known):
    for token, said in (("Snark", "S N AA R K"), ("snark's", "S N AA R K S"), ("currants,", "K ER AH N T S")):
        found = pronunciation_of(token, known)
        assert (found.source, found.ways) == (GUESSED, (said,))


def test_guesses_agree_with_the_dictionary_where_it_has_the_word(known):
    rng = random.Random(0)
    words = []
    while len(words) < 200:
        word = (
            rng.choice("bcdfghlmnprstw") + rng.choice("aeiou") + rng.choice(["nd", "st", "t", "ck", "lt", "ne", "ke"])
        )
        if known(word):
            words.append(word)
    right = [guess(word) == known(word) for word in words]
    assert sum(right) > 0.6 * len(words)


def test_what_has_no_letters_that_english_has_cannot_be_said(known):
    for token in ("Привет", "你好", "Αθήνα"):
        assert pronunciation_of(token, known) == module.Pronunciation("", (), NONE)


def test_a_missing_package_is_named_with_the_way_to_install_it(known, monkeypatch):
    module._weights.cache_clear()
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"g2p-en is not installed.*pip install 'giblet\[words\]'"):
        pronunciation_of("snark", known)
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "inflect":
            raise ModuleNotFoundError("no", name=name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=r"inflect is not installed.*\(7\): pip install 'giblet\[words\]'"):
        pronunciation_of("7", known)
