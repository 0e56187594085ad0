"""pocketsphinx with the English model of its wheel: which words are heard in a stretch of sound, and exactly when."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import numpy as np

from giblet.data.words.alignment.grammar import OTHER, OTHER_SPEECH, aliases, graph_of
from giblet.errors import InputError

LATE = 0.0128
"""Seconds from the beginning of a frame, by which pocketsphinx counts, to its centre: half of the 25.6 ms it spans."""

WIDE = {"beam": 1e-60, "pbeam": 1e-60, "wbeam": 1e-40, "maxhmmpf": -1, "bestpath": False}
"""Of the search: narrower beams lose the path behind words that the transcript lacks; the best path through the lattice
drops words without a word of warning.
"""
GAUSSIANS, IN_NOISE = 4, 16
"""By which a sound is scored, the nearest ones: with 16, a third fewer words are doubtful in music; but in clear sound
a wrong word may pass for a right one.
"""
NOISY, WRONG = -20.0, -45.0
"""Scores of the words of a stretch that is taken for noisy: the upper quartile is below the first, as even right words
fit less well (-18 where some words are wrong, -21 to -25 in music), and the median not below the second, as in another
text.
"""
SHORT, POOR = 3, -40.0
"""Phonemes of other speech in a row, below which they are taken for a part of the words beside them, unless one of
these fits as poorly as that without them: it was drawn out over a short word that the transcript lacks.
"""
BELOW_OTHERS = 26.0
"""By how much such a word fits worse than half of the others, at least."""

STAY, OUT_OF_PLACE = 5, 40.0
"""Of a word that was left out: by how many frames its neighbours may move for it, and by how much it may fit worse than
half of the others.
"""

_VARIANT = re.compile(r"\(\d+\)$")


@dataclass(frozen=True)
class HeardPhoneme:
    """A phoneme of a word, by frames of a stretch of sound."""

    name: str
    start: int
    end: int
    """The first frame that is no longer of it."""
    score: float
    """Mean over its frames of how much less likely they are than in the best state of the model; 0 at best."""


@dataclass(frozen=True)
class HeardWord:
    """A word, or a phoneme of other speech, by frames of a stretch of sound."""

    index: int | None
    """Of the word, from the first of those that were asked for; None for other speech."""
    start: int
    end: int
    score: float
    """As that of :class:`HeardPhoneme`: around -20 where the word is right, below -55 where another one is spoken."""
    phonemes: tuple[HeardPhoneme, ...]
    put_back: bool = False
    """Whether the search left it out, or took other speech for it, and it was given the place between its neighbours.
    """


class Recogniser:
    """pocketsphinx, its English acoustic model, and a dictionary that grows.

    Parameters
    ----------
    n_gaussians : int
        By which a sound is scored.

    Raises
    ------
    InputError
        If pocketsphinx is not installed.
    """

    def __init__(self, n_gaussians: int = GAUSSIANS) -> None:
        try:
            import pocketsphinx
        except ModuleNotFoundError as exc:
            raise InputError(
                f"{exc.name} is not installed, which finds words in sound: pip install 'giblet[words]'"
            ) from exc
        self._library = pocketsphinx
        self._decoder = pocketsphinx.Decoder(lm=None, loglevel="FATAL", topn=n_gaussians, **WIDE)
        self._n_gaussians = n_gaussians
        self._added: dict[str, Sequence[str]] = {}
        self._in_noise: Recogniser | None = None
        for name in OTHER_SPEECH:
            self._decoder.add_word(OTHER + name.lower(), name, False)

    def pronunciation(self, word: str) -> str | None:
        """The phonemes of a word in the dictionary.

        Parameters
        ----------
        word : str
            In lower case.

        Returns
        -------
        str or None
            Separated by spaces; None if the dictionary lacks the word.
        """
        return self._decoder.lookup_word(word)

    def add(self, pronunciations: Mapping[str, Sequence[str]]) -> None:
        """Add words to the dictionary.

        Parameters
        ----------
        pronunciations : mapping of str to sequence of str
            By word, each way to say it, as phonemes separated by spaces.
        """
        self._added |= pronunciations
        if self._in_noise is not None:
            self._in_noise.add(pronunciations)
        for word, ways in pronunciations.items():
            self._add(word, ways)

    def _add(self, word: str, ways: Sequence[str]) -> None:
        for number, phonemes in enumerate(ways, 1):
            self._decoder.add_word(word if number == 1 else f"{word}({number})", phonemes, False)

    def hear(self, sound: np.ndarray, words: Sequence[str], *, jump: bool = False) -> list[HeardWord]:
        """Which of the next words are spoken in a stretch of sound, and when.

        Parameters
        ----------
        sound : ndarray of float32, shape (n,)
            At 16 kHz.
        words : sequence of str
            Of the dictionary, in the order in which they are spoken; more than there is time for. Some may be missing
            in the sound, and others be spoken between.
        jump : bool
            Whether the first word that is spoken may be any of them.

        Returns
        -------
        list of HeardWord
            In order of time; empty if nothing is heard.
        """
        found = self._heard(sound, words, jump)
        scores = [one.score for one in found if one.index is not None]
        if self._n_gaussians == IN_NOISE or not scores:
            return found
        if np.percentile(scores, 75) > NOISY or median(scores) < WRONG:
            return found
        if self._in_noise is None:
            self._in_noise = Recogniser(IN_NOISE)
            self._in_noise.add(self._added)
        return self._in_noise.hear(sound, words, jump=jump) or found

    def _heard(self, sound: np.ndarray, words: Sequence[str], jump: bool) -> list[HeardWord]:
        """As :meth:`hear`, by one number of Gaussians."""
        raw = _raw(sound)
        names = aliases(words)
        self._know(words, names)
        decoder = self._decoder
        graph = graph_of(
            names,
            lambda n: self._library.FsgModel("next", decoder.logmath, 1.0, n),
            lambda p: int(decoder.logmath.log(p)),
            jump=jump,
        )
        decoder.add_fsg("next", graph)
        decoder.activate_search("next")
        self._process(raw)
        if decoder.hyp() is None:
            return []
        path = [segment.word for segment in decoder.seg()]
        index = {name: place for place, name in enumerate(names)}
        heard = [word for word in path if word.startswith(OTHER) or _VARIANT.sub("", word) in index]
        first = _sequence(heard, frozenset())
        found = self._aligned(raw, first, index)
        scores = [one.score for one in found if one.index is not None]
        limit = min(POOR, median(scores) - BELOW_OTHERS) if scores else POOR  # in noise, all words fit worse
        poor = {names[one.index] for one in found if one.index is not None and one.score < limit}
        second = _sequence(heard, poor) if found else heard
        if second != first and (again := self._aligned(raw, second, index)):
            found, first = again, second
        return self._with_left_out(raw, found, first, names) if found else []

    def _with_left_out(
        self, raw: bytes, found: list[HeardWord], sequence: Sequence[str], names: Sequence[str]
    ) -> list[HeardWord]:
        """Also words that the search left out between two others, where there is room for them.

        A word that fits poorly though it is spoken is lost for other speech by how the beams fall. It gets the place
        between its neighbours if these stay where they are, and is marked as put back: it stands for itself alone.
        """
        index = {name: place for place, name in enumerate(names)}
        before = {one.index: one for one in found if one.index is not None}
        left_out = {place + 1 for place in before if place + 1 not in before and place + 2 in before}
        limit = median(one.score for one in before.values()) - OUT_OF_PLACE
        while left_out:
            again = self._aligned(raw, _with(sequence, names, index, left_out), index)
            after = {one.index: one for one in again if one.index is not None}
            fitting = {
                place
                for place in left_out & after.keys()
                if after[place].score > limit
                and abs(after[place - 1].start - before[place - 1].start) <= STAY
                and abs(after[place + 1].end - before[place + 1].end) <= STAY
                and abs(after[place + 1].start - before[place + 1].start) <= STAY
            }
            if fitting == left_out:
                return [replace(one, put_back=one.index in left_out) for one in again]
            left_out = fitting
        return found

    def _know(self, words: Sequence[str], names: Sequence[str]) -> None:
        """Put the names into the dictionary, with each way to say the word."""
        known = self._decoder.lookup_word
        for word, name in zip(words, names, strict=True):
            if known(name) is None:
                ways = [known(word), *(known(f"{word}({number})") for number in range(2, 12))]
                self._add(name, [way for way in ways if way is not None])

    def _aligned(self, raw: bytes, sequence: Sequence[str], index: Mapping[str, int]) -> list[HeardWord]:
        """The times of all of a sequence of words; empty if they do not get through."""
        if not any(not word.startswith(OTHER) for word in sequence):
            return []
        decoder = self._decoder
        decoder.set_align_text(" ".join(sequence))
        self._process(raw)
        if decoder.hyp() is None:
            return []
        try:
            decoder.set_alignment()
        except RuntimeError:  # no path to the last word
            return []
        self._process(raw)
        alignment = decoder.get_alignment()  # its entries read its memory: it must live as long as they are used
        said = [
            (
                _VARIANT.sub("", entry.name),
                _times(entry),
                tuple(HeardPhoneme(part.name, *_times(part)) for part in entry),
            )
            for entry in alignment
            if not entry.name.startswith(("<", "[", "+", "("))
        ]
        if [name for name, _, _ in said] != [_VARIANT.sub("", word) for word in sequence]:
            return []
        return [HeardWord(index.get(name), *times, parts) for name, times, parts in said]

    def _process(self, raw: bytes) -> None:
        """Hear the whole at once: in parts, its level would be guessed, and onsets move by up to 90 ms."""
        self._decoder.start_utt()
        self._decoder.process_raw(raw, full_utt=True)
        self._decoder.end_utt()


def _times(entry: Any) -> tuple[int, int, float]:
    """First frame, the one behind the last, and score per frame."""
    return entry.start, entry.start + entry.duration, entry.score / max(1, entry.duration)


def _with(sequence: Sequence[str], names: Sequence[str], index: Mapping[str, int], more: Set[int]) -> list[str]:
    """The sequence that was heard, with more words of the transcript, each in place of other speech there."""
    whole: list[str] = []
    between: list[str] = []
    last = -1
    for word in sequence:
        place = index.get(_VARIANT.sub("", word))
        if place is None:
            between.append(word)
            continue
        whole += [names[place - 1]] if place == last + 2 and last + 1 in more else between
        whole.append(word)
        between, last = [], place
    return [*whole, *between]


def _sequence(heard: Sequence[str], poor: Set[str]) -> list[str]:
    """The words of a path, and between them other speech that is long, or stands beside a word that fits poorly."""
    kept: list[str] = []
    run: list[str] = []
    before = ""
    for word in (*heard, ""):
        if word.startswith(OTHER):
            run.append(word)
            continue
        beside = {_VARIANT.sub("", before), _VARIANT.sub("", word)}
        kept += run if len(run) >= SHORT or beside & poor else []
        kept += [word] if word else []
        run, before = [], word
    return kept


def _raw(sound: np.ndarray) -> bytes:
    """16-bit samples that use half of their range, so that neither rounding nor clipping changes the spectrum."""
    peak = float(np.abs(sound).max(initial=0)) or 1.0
    return np.round(sound * (16384 / peak)).astype("<i2").tobytes()
