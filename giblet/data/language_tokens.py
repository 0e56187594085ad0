"""A running text in tokens and in windows: which tokens are whose word, and what stands before each when it is read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from giblet.errors import InputError


@dataclass(frozen=True)
class Window:
    """A stretch of the text that the model reads in one pass: words from `begin` to `stop`, new ones from `start`."""

    begin: int
    start: int
    stop: int


def windows_of(n_words: int, context: int, step: int) -> Iterator[Window]:
    """The windows in which each word is seen with at least `context` words before it, where there are so many.

    The first holds ``context + step`` words, which see all that stands before them; each further one `step` new words
    behind `context` others. So a word sees from `context` to ``context + step - 1`` words, and with a step of 1
    exactly `context`.

    Parameters
    ----------
    n_words, context, step : int

    Yields
    ------
    Window

    Examples
    --------
    >>> [(one.begin, one.start, one.stop) for one in windows_of(9, 3, 2)]
    [(0, 0, 5), (2, 5, 7), (4, 7, 9)]
    """
    stop = min(n_words, context + step)
    yield Window(0, 0, stop)
    for start in range(stop, n_words, step):
        yield Window(start - context, start, min(n_words, start + step))


def step_of(context: int, step: int | None = None) -> int:
    """Words by which windows move on: half of the context, where nothing else is asked for.

    Parameters
    ----------
    context : int
    step : int, optional

    Returns
    -------
    int
        At least 1.
    """
    return max(1, context // 2) if step is None else step


@dataclass(frozen=True)
class Tokens:
    """A running text as a tokenizer cuts it."""

    ids: np.ndarray
    """int64 (n_tokens,)"""
    word: np.ndarray
    """int64 (n_tokens,): the word that each is part of."""
    own: np.ndarray
    """bool (n_tokens,): it holds a letter or digit of the word, or what stands between two; not commas and quotes."""
    first: np.ndarray
    """int64 (n_words + 1,): the first token of each word, and the end."""


def tokens_of(words: Sequence[str], tokenizer: Any, what: str) -> Tokens:
    """The words as running text, in tokens.

    Parameters
    ----------
    words : sequence of str
        With their punctuation, in their own case.
    tokenizer : transformers.PreTrainedTokenizerFast
    what : str
        What messages call the model.

    Returns
    -------
    Tokens

    Raises
    ------
    InputError
        If a word is empty, has no token of its own, or shares one with its neighbour.
    """
    if not words or not all(word.strip() for word in words):
        raise InputError(f"{len(words)} words, {sum(not w.strip() for w in words)} of them empty: give words")
    text = " ".join(words)
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    ids, places = np.array(encoded["input_ids"]), np.array(encoded["offset_mapping"]).reshape(-1, 2)
    begins = np.concatenate([[0], np.cumsum([len(word) + 1 for word in words])[:-1]])

    def word_at(characters: np.ndarray) -> np.ndarray:  # the space before a word is part of it
        return np.searchsorted(begins, characters + 1, side="right") - 1

    inked = np.array([_inked(text, start, stop) for start, stop in places])
    word = word_at(inked[:, 1])
    if (shared := np.flatnonzero(word_at(inked[:, 0]) != word)).size:
        raise InputError(
            f"{what}: its tokenizer puts {len(shared)} pairs of words into one token (first at word "
            f"{word[shared[0]] + 1} of the text); name another model"
        )
    counts = np.bincount(word, minlength=len(words))
    if not counts.all():
        raise InputError(
            f"{what}: {int((counts == 0).sum())} words have no token (first word {int(counts.argmin()) + 1} of the "
            "text); is the text in a script that it does not know?"
        )
    cores = begins[:, None] + np.array([_core(one) for one in words])
    own = (places[:, 0] < cores[word, 1]) & (places[:, 1] > cores[word, 0])
    for index in np.flatnonzero(np.bincount(word[own], minlength=len(words)) == 0):
        own[word == index] = True
    return Tokens(ids, word, own, np.concatenate([[0], np.cumsum(counts)]))


def _inked(text: str, start: int, stop: int) -> tuple[int, int]:
    """First and last character of a token that are no space; where all are, the last one."""
    inked = [place for place in range(start, stop) if not text[place].isspace()]
    return (inked[0], inked[-1]) if inked else (max(start, stop - 1),) * 2


def _core(word: str) -> tuple[int, int]:
    """From the first letter or digit of a word to behind the last; the whole of it if it has none."""
    found = re.search(r"\w(.*\w)?", word, re.DOTALL)
    return (0, len(word)) if found is None else found.span()
