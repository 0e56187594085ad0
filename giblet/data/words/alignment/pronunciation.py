"""How words are said: by the recogniser's dictionary, put together of its words, or guessed from the letters."""

from __future__ import annotations

import importlib.util
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np

from giblet.errors import InputError

DICTIONARY, COMPOSED, GUESSED, NONE = "dictionary", "composed", "guessed", "none"
"""Where a pronunciation comes from. Of parts that the dictionary has: compounds, numbers, abbreviations by letters."""

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
CURRENCIES = {"$": "dollars", "£": "pounds", "€": "euros", "¥": "yen"}
_NUMBER = re.compile(r"([$£€¥]?)(\d[\d,]*(?:\.\d+)?)(st|nd|rd|th|s)?(%?)", re.IGNORECASE)
_LETTERS = dict(zip(map(ord, "æœøßłđðþ"), ("ae", "oe", "o", "ss", "l", "d", "th", "th"), strict=True))
"""Letters that are no others with an accent."""
_ENDINGS = {"ll": " AH L", "d": " D", "ve": " AH V", "re": " ER", "m": " AH M", "t": " T", "": ""}
_VOWELS = frozenset("aeiouy")
WAYS = 6
"""Pronunciations of a word that are tried, at most."""


@dataclass(frozen=True)
class Pronunciation:
    """How a word of a transcript is said."""

    spelling: str
    """By which the recogniser knows it; empty if it cannot be said."""
    ways: tuple[str, ...]
    """Phonemes, separated by spaces; empty where the dictionary has the spelling itself."""
    source: str
    """One of "dictionary", "composed", "guessed" and "none"."""


def pronunciation_of(token: str, known: Callable[[str], str | None]) -> Pronunciation:
    """How a word is said, as it stands in a transcript.

    Parameters
    ----------
    token : str
        With its punctuation and case.
    known : callable
        From a word in lower case to its phonemes in the dictionary, or None.

    Returns
    -------
    Pronunciation

    Raises
    ------
    InputError
        If the word must be guessed from its letters, or is a number, and the package for that is not installed.
    """
    text = _plain(token)
    for spelling in (text, text.strip(".,"), re.sub(r"^'+|'+$", "", text.strip(".,"))):
        if spelling and known(spelling) is not None:
            return Pronunciation(spelling, (), DICTIONARY)
    parts = [part for part in re.split(r"[^\w'.,$£€¥%]+|_|\.{2,}", text) if re.search(r"\w", part)]
    if not parts or not all(map(_sayable, parts)):
        return Pronunciation("", (), NONE)
    capitals = token.upper() == token
    said = [_ways(part, capitals, known) for part in parts]
    ways = tuple(dict.fromkeys(" ".join(way) for way in product(*(ways for ways, _ in said))))[:WAYS]
    source = GUESSED if any(guessed for _, guessed in said) else COMPOSED
    return Pronunciation(f"={'-'.join(parts)}{'=' if capitals else ''}", ways, source)


def _plain(token: str) -> str:
    """In lower case, without accents or the punctuation around it, with plain apostrophes."""
    text = "".join(c for c in unicodedata.normalize("NFKD", token) if not unicodedata.combining(c))
    text = re.sub("[’‘ʼ´`]", "'", text).lower()
    text = text.translate(_LETTERS)
    return re.sub(r"^[^\w'$£€¥]+|[^\w'.%]+$", "", text)


def _sayable(part: str) -> bool:
    """Whether all letters are of the alphabet that English is written in."""
    return all("a" <= letter <= "z" or letter in "0123456789" for letter in part if letter.isalnum())


def _ways(part: str, capitals: bool, known: Callable[[str], str | None]) -> tuple[list[str], bool]:
    """Each way to say a part of a word, and whether it is guessed."""
    number = _NUMBER.fullmatch(part.rstrip(".,"))
    if number:
        return [_of_words(words, known) for words in _spoken_number(*number.groups())], False
    word = part.strip(".,'")
    entry = known(word)
    if entry is not None:
        return [entry], False
    stem, apostrophe, ending = word.partition("'")
    if apostrophe and stem and (ending == "s" or ending in _ENDINGS):
        ways, guessed = _ways(stem, capitals, known)
        return [_with_ending(way, ending) for way in ways], guessed
    letters = re.sub("[^a-z0-9]", "", word)
    mixed = re.findall(r"[a-z]+|\d+", letters)
    if len(mixed) > 1:
        said = [_ways(one, capitals, known) for one in mixed]
        return [" ".join(way) for way in product(*(ways for ways, _ in said))], any(guessed for _, guessed in said)
    if "." in word or not _VOWELS & set(letters) or (capitals and 1 < len(letters) <= 3):
        return [" ".join(_name_of(letter, known) for letter in letters)], False
    return [guess(letters)], True


def _name_of(character: str, known: Callable[[str], str | None]) -> str:
    """How a letter or digit is said by itself: "a" as a letter is not the article."""
    if character == "a":
        return "EY"
    return _of_words(DIGITS[int(character)] if character.isdigit() else character, known)


def _with_ending(stem: str, ending: str) -> str:
    last = stem.split()[-1]
    if ending == "s":
        sibilant, voiceless = ("S", "Z", "SH", "ZH", "CH", "JH"), ("P", "T", "K", "F", "TH")
        return f"{stem} AH Z" if last in sibilant else f"{stem} {'S' if last in voiceless else 'Z'}"
    return (
        f"{stem} {({'ll': 'AH L', 'd': 'D', 've': 'AH V', 're': 'ER', 'm': 'AH M', 't': 'T'}).get(ending, '')}".strip()
    )


def _of_words(words: str, known: Callable[[str], str | None]) -> str:
    """The phonemes of words as inflect writes them, nearly all of which the dictionary has."""
    return " ".join(known(word) or guess(word) for word in re.findall(r"[a-z]+", words.lower()))


def _spoken_number(currency: str, digits: str, ending: str | None, percent: str) -> list[str]:
    """A number in words, in each of the ways that it is said."""
    try:
        import inflect
    except ModuleNotFoundError as exc:
        raise InputError(
            f"{exc.name} is not installed, which writes numbers out ({digits}): pip install 'giblet[words]'"
        ) from exc
    engine, plain = inflect.engine(), digits.replace(",", "")
    ordinal = (ending or "").lower() in ("st", "nd", "rd", "th")
    written = engine.ordinal(plain) if ordinal else plain
    said = [str(engine.number_to_words(written, andword=word)) for word in ("", "and")]
    if re.fullmatch(r"1[1-9]\d\d|20[1-9]\d", digits) and not ordinal and not currency:
        century, year = int(digits[:2]), int(digits[2:])
        tens = "hundred" if year == 0 else str(engine.number_to_words(str(year)))
        said.insert(0, f"{engine.number_to_words(str(century))} {'oh ' if 0 < year < 10 else ''}{tens}")
    after = " ".join(filter(None, (CURRENCIES.get(currency, ""), "percent" if percent else "")))
    said = [f"{words} {after}".strip() for words in said]
    if (ending or "").lower() == "s":
        said = [engine.plural(words) for words in said]
    return list(dict.fromkeys(said))


def guess(word: str) -> str:
    """Phonemes from letters, by the model file of g2p-en.

    The package itself is not imported: it looks for data on the net when it is, for seconds, and fails without.

    Parameters
    ----------
    word : str
        Letters a to z.

    Returns
    -------
    str
        Phonemes without stress, separated by spaces.

    Raises
    ------
    InputError
        If g2p-en is not installed.

    Examples
    --------
    >>> guess("snark")  # doctest: +SKIP
    'S N AA R K'
    """
    weights = _weights()
    alphabet = ["<pad>", "<unk>", "</s>", *map(chr, range(ord("a"), ord("z") + 1))]
    state = np.zeros(weights["enc_w_hh"].shape[-1], np.float32)
    for letter in (*word, "</s>"):
        state = _gru(weights["enc_emb"][alphabet.index(letter)], state, weights, "enc")
    last = SOUND_STARTS
    phonemes: list[str] = []
    while len(phonemes) < LONGEST:
        state = _gru(weights["dec_emb"][last], state, weights, "dec")
        last = int((state @ weights["fc_w"].T + weights["fc_b"]).argmax())
        if last == SOUND_ENDS:
            break
        phonemes.append(SOUNDS[last].rstrip("012"))
    return " ".join(phonemes)


SOUND_STARTS, SOUND_ENDS, LONGEST = 2, 3, 20
SOUNDS = (
    "<pad>", "<unk>", "<s>", "</s>", "AA0", "AA1", "AA2", "AE0", "AE1", "AE2", "AH0", "AH1", "AH2", "AO0", "AO1", "AO2",
    "AW0", "AW1", "AW2", "AY0", "AY1", "AY2", "B", "CH", "D", "DH", "EH0", "EH1", "EH2", "ER0", "ER1", "ER2", "EY0",
    "EY1", "EY2", "F", "G", "HH", "IH0", "IH1", "IH2", "IY0", "IY1", "IY2", "JH", "K", "L", "M", "N", "NG", "OW0",
    "OW1", "OW2", "OY0", "OY1", "OY2", "P", "R", "S", "SH", "T", "TH", "UH0", "UH1", "UH2", "UW", "UW0", "UW1", "UW2",
    "V", "W", "Y", "Z", "ZH",
)  # fmt: skip
"""What the model's outputs stand for, in the order of its package."""


@cache
def _weights() -> dict[str, np.ndarray]:
    found = importlib.util.find_spec("g2p_en")
    file = None if found is None or found.origin is None else Path(found.origin).parent / "checkpoint20.npz"
    if file is None or not file.is_file():
        raise InputError(
            "g2p-en is not installed, which guesses how words are said that the dictionary lacks: "
            "pip install 'giblet[words]'"
        )
    with np.load(file, allow_pickle=False) as weights:
        return {name: weights[name] for name in weights.files}


def _gru(given: np.ndarray, state: np.ndarray, weights: dict[str, np.ndarray], part: str) -> np.ndarray:
    """One step of a gated recurrent unit; PyTorch's order of the gates: reset, update, new."""
    from_given = given @ weights[f"{part}_w_ih"].T + weights[f"{part}_b_ih"]
    from_state = state @ weights[f"{part}_w_hh"].T + weights[f"{part}_b_hh"]
    (r, z, n), (r_state, z_state, n_state) = np.split(from_given, 3), np.split(from_state, 3)
    reset, update = (1 / (1 + np.exp(-gate)) for gate in (r + r_state, z + z_state))
    return (1 - update) * np.tanh(n + reset * n_state) + update * state
