"""Words and sound, side by side from beginning to end: time grows with the length of the sound, memory does not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from giblet.data.words.alignment.recogniser import HeardWord, Recogniser
from giblet.data.words.alignment.stretch import FRAMES_PER_SECOND, SAMPLE_RATE, Stretch
from giblet.progress import Progress

WINDOW = 40
"""Seconds of a window at most."""
WORDS_AHEAD, FAR_AHEAD = 200, 800
"""Words that may be spoken in a window; and where none of them are, among which the place in the text is looked for."""
REDONE = 5
"""Words at the end of a window that the next one hears again, at least, and up to twice as many."""
BACK = 5
"""Seconds of a window without certain words that the next one hears again."""

RUN, PAUSE, GOOD = 3, 1.5, -45.0
"""Words in a row that are certain: how many, with pauses of how many seconds, with which mean score at least.

Of a text of another recording no more than 30 % of the words stood in such a row, of texts with 30 % of their words
missing 91 %.
"""

HOPELESS = 0.1
"""Share of the speech that a transcript must account for at first: one that lacks 30 % of the words did for 63 % of it,
one of which 15 % are others for 75 %; one of another recording has a few words in rows by chance.
"""


@dataclass(frozen=True)
class PlacedWord:
    """A word of the transcript in the sound."""

    index: int
    """Of the word in the transcript."""
    heard: HeardWord
    """By frames of its window."""
    window: float
    """Second at which its window begins."""
    follows: bool
    """Whether it is the next word of the transcript after the one before, and no other speech between."""
    certain: bool = False
    """Whether it stands in a row of words that fit."""


@dataclass(frozen=True)
class Placement:
    """The words that were found, and how much speech there was."""

    words: list[PlacedWord]
    speech: float
    """Seconds of words and of other speech."""
    duration: float
    """Seconds of sound that were heard."""
    given_up: bool = False
    """Whether it ends before the sound, as next to nothing of it was of the transcript."""

    @property
    def certain_words(self) -> int:
        """How many words stand in a row of words that fit."""
        return sum(word.certain for word in self.words)

    @property
    def explained(self) -> float:
        """Share of the speech that these words account for."""
        seconds = sum(word.heard.end - word.heard.start for word in self.words if word.certain) / FRAMES_PER_SECOND
        return seconds / self.speech if self.speech else 0.0


def place_words(
    sound: Iterable[np.ndarray],
    words: Sequence[str],
    recogniser: Recogniser,
    *,
    patience: float | None = None,
    progress: Progress | None = None,
    total: float | None = None,
) -> Placement:
    """Find the words of a transcript in its sound.

    Parameters
    ----------
    sound : iterable of ndarray of float32, each of shape (n,)
        Chunks at 16 kHz.
    words : sequence of str
        Of the recogniser's dictionary.
    recogniser : Recogniser
    patience : float, optional
        Seconds of speech from the beginning of the sound after which the search is given up, if the transcript accounts
        for less than a tenth of it. By default it never is.
    progress : callable, optional
        Called with seconds done and seconds in all.
    total : float, optional
        Seconds of sound, for `progress`.

    Returns
    -------
    Placement
        Not all words need be in it; those that are stand in the order of the transcript.
    """
    stretch = Stretch(iter(sound))
    run = min(RUN, len(words))
    placed: list[PlacedWord] = []
    cursor, speech = 0, 0
    while stretch.fill(WINDOW):
        end = stretch.end(WINDOW)
        last = stretch.complete and end == len(stretch.samples)
        before = placed[-run:]
        heard: list[HeardWord] = []
        found: list[PlacedWord] = []
        for n_ahead in (WORDS_AHEAD, FAR_AHEAD):
            ahead = words[cursor : cursor + n_ahead]
            if ahead:
                heard = recogniser.hear(stretch.samples[:end], ahead, jump=n_ahead == FAR_AHEAD)
                found = _placed(heard, cursor, stretch.begin, placed[-1] if placed else None)
                # A row may have begun in the window before.
                found = _with_rows([*before, *found], run)[len(before) :]
            if any(word.certain for word in found) or len(words) - cursor <= WORDS_AHEAD:
                break
        n_kept, until = _kept(found, end, last)
        kept = found[:n_kept]
        placed += kept
        cursor = kept[-1].index + 1 if kept else cursor
        speech += sum(one.end - one.start for one in heard if one.start < until * FRAMES_PER_SECOND / SAMPLE_RATE)
        stretch.advance(until)
        if progress is not None:
            progress(stretch.begin, total)
        if patience is not None and speech > patience * FRAMES_PER_SECOND and not last:
            so_far = Placement(_with_rows(placed, run), speech / FRAMES_PER_SECOND, stretch.begin, given_up=True)
            if so_far.explained < HOPELESS:
                return so_far
            patience = None  # it is the text of this sound: what else is in there is judged at the end
    return Placement(_with_rows(placed, run), speech / FRAMES_PER_SECOND, stretch.begin)


def _placed(heard: Sequence[HeardWord], cursor: int, begin: float, before: PlacedWord | None) -> list[PlacedWord]:
    """What was heard as words of the transcript, each with whether it follows the one before."""
    found: list[PlacedWord] = []
    other = False
    for one in heard:
        if one.index is None:
            other = True
            continue
        index, last = cursor + one.index, found[-1] if found else before
        other = other or one.put_back  # as the search had it
        follows = last is not None and not other and index == last.index + 1
        if follows and last is not None:
            pause = begin + one.start / FRAMES_PER_SECOND - last.window - last.heard.end / FRAMES_PER_SECOND
            follows = pause < PAUSE
        found.append(PlacedWord(index, one, begin, follows))
        other = one.put_back
    return found


def _with_rows(words: Sequence[PlacedWord], run: int) -> list[PlacedWord]:
    """The words, with whether each stands in a row of words that fit."""
    starts = [place for place, word in enumerate(words) if place == 0 or not word.follows]
    result: list[PlacedWord] = []
    for start, stop in pairwise([*starts, len(words)]):
        row = words[start:stop]
        frames = sum(word.heard.end - word.heard.start for word in row)
        score = sum(word.heard.score * (word.heard.end - word.heard.start) for word in row) / frames
        result += [replace(word, certain=len(row) >= run and score > GOOD) for word in row]
    return result


def _kept(found: Sequence[PlacedWord], end: int, last: bool) -> tuple[int, int]:
    """How many of the words of a window to keep, and the sample at which the next one begins."""
    certain = [place for place, word in enumerate(found) if word.certain]
    if last:
        return (len(found) if certain else 0), end
    if not certain:
        return 0, end - BACK * SAMPLE_RATE
    step = SAMPLE_RATE // FRAMES_PER_SECOND
    n_certain = certain[-1] + 1
    # In the longest pause, so that the next window does not begin within a word that it would then miss.
    pauses = {n: _pause(found, n) for n in range(max(1, n_certain - 2 * REDONE), n_certain - REDONE + 1)}
    n_kept = max(pauses, key=lambda n: (pauses[n], n), default=0)
    if not n_kept:
        # Few words, late in the window: hear them again, with what follows them.
        begin = found[certain[0]].heard.start * step - SAMPLE_RATE // 2
        if begin > SAMPLE_RATE:
            return 0, begin
        return n_certain, found[n_certain - 1].heard.end * step
    return n_kept, (found[n_kept - 1].heard.end + pauses[n_kept] // 2) * step


def _pause(found: Sequence[PlacedWord], n: int) -> int:
    """Frames of silence between the first n words and the next."""
    return found[n].heard.start - found[n - 1].heard.end if found[n].follows else 0
