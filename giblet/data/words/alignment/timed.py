"""The words of a transcript with their times, and whether the transcript fits the sound at all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import exp

import numpy as np

from giblet.data.words.alignment.pronunciation import GUESSED, NONE
from giblet.data.words.alignment.recogniser import LATE, HeardPhoneme, Recogniser
from giblet.data.words.alignment.stretch import FRAMES_PER_SECOND
from giblet.data.words.alignment.transcript import TranscriptWord, said
from giblet.data.words.alignment.windows import PlacedWord, Placement, place_words
from giblet.errors import AlignmentError
from giblet.progress import Progress

OK, DOUBTFUL, UNHEARD = "ok", "doubtful", "unheard"
"""Statuses of words: the sound fits; it does not, though a time is given; no time is given."""

MIDDLE, SLOPE = -46.0, 8.0
"""Score per frame of a confidence of one half, and how fast it changes: right words score -20 (median), wrong
ones below -48.
"""
ALONE = -35.0
"""The same of a word that stands in no row of words that fit: a place for one word is found by chance more easily."""
FEW = 10
"""Words of a transcript below which they must also account for half of the speech: as few are found by chance."""
QUICK, PATIENT, LONGEST = 3.3, 90.0, 300.0
"""A transcript that is spoken to its end, at so many words per second, leaves a rest of the sound for what it lacks: at
first so many seconds of speech may pass without it, and besides these the rest, up to so many.
"""
DECIMALS = 4


@dataclass(frozen=True)
class TimedPhoneme:
    """A phoneme with its time."""

    name: str
    """By ARPAbet, without stress."""
    onset: float
    """Seconds on the film's clock."""
    offset: float
    confidence: float
    """From 0 to 1."""


@dataclass(frozen=True)
class TimedWord:
    """A word of the transcript with its time, where it has one."""

    text: str
    """As the transcript has it."""
    onset: float | None
    """Seconds on the film's clock."""
    offset: float | None
    confidence: float | None
    """From 0 to 1: how well the sound fits the word; below 0.5 another one is probably spoken."""
    status: str
    """``"ok"``, ``"doubtful"`` (the sound does not fit) or ``"unheard"`` (without a time)."""
    pronunciation: str
    """From the ``"dictionary"``, ``"composed"`` of its words, ``"guessed"`` from letters, or ``"none"``."""
    phonemes: tuple[TimedPhoneme, ...] = ()

    @property
    def guessed(self) -> bool:
        """Whether the pronunciation is guessed from the letters."""
        return self.pronunciation == GUESSED


def confidence_of(score: float, *, alone: bool = False) -> float:
    """A confidence from 0 to 1 of an acoustic score per frame.

    Parameters
    ----------
    score : float
        Of :class:`giblet.data.words.alignment.recogniser.HeardWord`.
    alone : bool
        Whether the word stands in no row of words that fit.

    Returns
    -------
    float

    Examples
    --------
    >>> [round(confidence_of(score), 3) for score in (-20, -46, -72)]
    [0.963, 0.5, 0.037]
    """
    middle = ALONE if alone else MIDDLE
    return 1 / (1 + exp(-(score - middle) / SLOPE))


def time_words(
    sound: Iterable[np.ndarray],
    words: Sequence[str],
    *,
    min_share: float = 0.5,
    names: tuple[str, str] = ("the sound", "the transcript"),
    progress: Progress | None = None,
    total: float | None = None,
) -> tuple[list[TimedWord], float]:
    """When each word of a transcript is spoken.

    Parameters
    ----------
    sound : iterable of ndarray of float32, each of shape (n,)
        Chunks at 16 kHz, mono.
    words : sequence of str
        Of the transcript, as they stand there, in order.
    min_share : float
        Share of them, 0 to 1, that must be heard in rows of three at least.
    names : tuple of str
        What messages call the sound and the transcript.
    progress : callable, optional
        Called with seconds done and seconds in all.
    total : float, optional
        Seconds of sound, for `progress`, and to tell sooner that the transcript does not fit.

    Returns
    -------
    words : list of TimedWord
        All of the transcript, in order.
    share : float
        Of words that are heard in such rows.

    Raises
    ------
    InputError
        If pocketsphinx or what a word needs is not installed, or the transcript is in another script.
    AlignmentError
        If fewer words than `min_share` are heard in such rows, or words fewer than ten account for less than half of
        the speech; or, unless `min_share` is 0, as soon as so much speech has passed without the transcript that there
        is no room left for it.
    """
    recogniser = Recogniser()
    transcript = said(list(words), recogniser.pronunciation, names[1])
    recogniser.add({one.pronunciation.spelling: one.pronunciation.ways for one in transcript if one.pronunciation.ways})
    spoken = [place for place, one in enumerate(transcript) if one.pronunciation.source != NONE]
    spellings = [transcript[place].pronunciation.spelling for place in spoken]
    patience = _patience(len(words), total) if min_share else None
    placement = place_words(sound, spellings, recogniser, patience=patience, progress=progress, total=total)
    _check_fit(placement, len(transcript), min_share, names)
    by_place = {spoken[one.index]: one for one in placement.words}
    timed = [_timed(one, by_place.get(place)) for place, one in enumerate(transcript)]
    return timed, placement.certain_words / len(transcript)


def _patience(n_words: int, total: float | None) -> float:
    """Seconds of speech that may pass at first without the transcript."""
    rest = LONGEST if total is None else min(LONGEST, max(0.0, total - n_words / QUICK))
    return PATIENT + rest


def _check_fit(placement: Placement, n_words: int, min_share: float, names: tuple[str, str]) -> None:
    sound, transcript = names
    share = placement.certain_words / n_words
    if placement.given_up:
        raise AlignmentError(
            f"{transcript} does not fit {sound}: its {n_words} words account for {placement.explained:.0%} of the "
            f"speech in the first {placement.duration:.0f} s: is it the text of this recording, in English? If it "
            "begins later, cut the sound to what it says, or hear all of it with min_share=0"
        )
    if share < min_share:
        raise AlignmentError(
            f"{transcript} does not fit {sound}: {placement.certain_words} of its {n_words} words ({share:.0%}) are "
            f"heard in rows, {min_share:.0%} must be: is it the text of this recording, in English? If much of it is "
            "not spoken there, or the sound is poor, lower min_share"
        )
    if n_words < FEW and placement.explained < 0.5:
        raise AlignmentError(
            f"{transcript} does not fit {sound}: its {n_words} words account for {placement.explained:.0%} of the "
            f"speech, and fewer than {FEW} must for half of it, as so few are found by chance: cut the sound "
            "to what they say"
        )


def _timed(word: TranscriptWord, placed: PlacedWord | None) -> TimedWord:
    """A word with its time, if it was found."""
    source = word.pronunciation.source
    if placed is None:
        return TimedWord(word.text, None, None, None, UNHEARD, source)
    confidence = confidence_of(placed.heard.score, alone=not placed.certain)
    return TimedWord(
        word.text,
        _seconds(placed, placed.heard.start),
        _seconds(placed, placed.heard.end),
        round(confidence, DECIMALS),
        OK if confidence > 0.5 else DOUBTFUL,
        source,
        tuple(_timed_phoneme(placed, one) for one in placed.heard.phonemes),
    )


def _timed_phoneme(placed: PlacedWord, one: HeardPhoneme) -> TimedPhoneme:
    confidence = round(confidence_of(one.score), DECIMALS)
    return TimedPhoneme(one.name, _seconds(placed, one.start), _seconds(placed, one.end), confidence)


def _seconds(placed: PlacedWord, frame: int) -> float:
    """The second at which a frame is centred."""
    return round(placed.window + frame / FRAMES_PER_SECOND + LATE, DECIMALS)
