"""What may be heard in a stretch of sound, as a graph: the next words of a transcript, some missing, others between."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

OTHER_SPEECH = ("AA", "AH", "EH", "IY", "UW", "D", "L", "N", "R", "S", "T", "W")
"""Phonemes of which speech that the transcript lacks is made up.

Twelve that lie far apart: with 27, a path of other speech was so often the better one that words of a noisy recording
were lost, and with more of them the search takes longer.
"""
OTHER = "_"
"""What the names of these begin with in the dictionary; no word of a transcript does."""

SKIP, OTHER_PHONEME, JUMP = 40.0, 12.0, 80.0
"""What it costs, in nats, to leave a word out; to hear a phoneme of other speech; to begin at any word.

A right word gains more than 40 over being left out (the worst of 135 was lost at 20 and 30), and what is put in place
of a wrong one gains less.
"""


def aliases(words: Sequence[str]) -> list[str]:
    """A name for each word that no other has, so that a path through the graph says which "the" was heard.

    Parameters
    ----------
    words : sequence of str

    Returns
    -------
    list of str

    Examples
    --------
    >>> aliases(["the", "cat", "the"])
    ['the', 'cat', 'the~2']
    """
    count: Counter[str] = Counter()
    names = []
    for word in words:
        count[word] += 1
        names.append(word if count[word] == 1 else f"{word}~{count[word]}")
    return names


def graph_of(
    names: Sequence[str], new_graph: Callable[[int], Any], log_of: Callable[[float], int], *, jump: bool
) -> Any:
    """The graph of words that may be spoken in this order.

    Each word may be left out, phonemes of other speech may stand before, between and behind words, and the sound may
    end after any of them.

    Parameters
    ----------
    names : sequence of str
        Of the words, each another.
    new_graph : callable
        From a number of states to an empty ``pocketsphinx.FsgModel``.
    log_of : callable
        From a probability to its logarithm, as the decoder counts it.
    jump : bool
        Whether the first word may be any of them.

    Returns
    -------
    pocketsphinx.FsgModel
    """
    n = len(names)
    end = n + 1
    graph = new_graph(n + 2)
    skip, other, far = (log_of(math.exp(-cost)) for cost in (SKIP, OTHER_PHONEME, JUMP))
    phonemes = [graph.word_add(OTHER + name.lower()) for name in OTHER_SPEECH]
    for state in range(n + 1):
        if state < n:
            graph.trans_add(state, state + 1, 0, graph.word_add(names[state]))
            graph.null_trans_add(state, state + 1, skip)
        for phoneme in phonemes:
            graph.trans_add(state, state, other, phoneme)
        if jump and state > 1:
            graph.null_trans_add(0, state, far)
        graph.null_trans_add(state, end, 0)
    graph.set_start_state(0)
    graph.set_final_state(end)
    return graph
