"""Vectors and counts of the words of spoken stories, row by row of two seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from giblet.data.embeddings import OFFLINE, SentenceModel
from giblet.data.language import PooledByTR
from giblet.data.language_models import LanguageModel, WordStates
from giblet.data.pretrained import checked_layers
from giblet.data.word_statistics import frequencies_of

CONTEXT, AT_A_TIME = 512, 2560
"""Words that stand before each where the story has them; most stories are read in one pass."""
Vectors = Callable[[Sequence[str]], dict[str, tuple[tuple[str, ...], np.ndarray]]]
"""Of the words of each row, variables by row."""
TR = 2.0


def counted(texts: Iterable[str]) -> tuple[np.ndarray, np.ndarray]:
    """Words and letters of each row.

    Parameters
    ----------
    texts : iterable of str
        The words of each row of two seconds.

    Returns
    -------
    words, letters : ndarray of float32, shape (n_rows,)
        Per second.
    """
    rows = list(texts)
    words = [len(text.split()) for text in rows]
    letters = [sum(char.isalpha() for char in text) for text in rows]
    return np.array(words, np.float32) / TR, np.array(letters, np.float32) / TR


def embedded(texts: Iterable[str], model: SentenceModel) -> np.ndarray:
    """The vector of each row's words.

    Parameters
    ----------
    texts : iterable of str
        The words of each row.
    model : SentenceModel

    Returns
    -------
    ndarray of float32, shape (n_rows, dim)
        0 where nobody speaks.
    """
    rows = list(texts)
    spoken = [row for row, text in enumerate(rows) if text.strip()]
    found = model.embed([rows[row] for row in spoken])
    vectors = np.zeros((len(rows), found.shape[1]), np.float32)
    vectors[spoken] = found
    return vectors


def sentences(model: SentenceModel) -> Vectors:
    """The vector of each row's words, and where there are any.

    Parameters
    ----------
    model : SentenceModel

    Returns
    -------
    callable
        Of the words of each row, ``embedding`` and ``embedding_mask``.
    """

    def of_rows(texts: Sequence[str]) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
        spoken = np.array([bool(text.strip()) for text in texts])
        return {"embedding": (("tr", "dim"), embedded(texts, model)), "embedding_mask": (("tr",), spoken)}

    return of_rows


def language(states: Callable[[Sequence[str]], WordStates], layers: Sequence[int]) -> Vectors:
    """Sums over each row's words of what a language model makes of them when it reads the whole story.

    Parameters
    ----------
    states : callable
        Of all words of a story, vectors (n_words, n_layers, dim) and surprisal.
    layers : sequence of int
        What they are of.

    Returns
    -------
    callable
        ``layer_<k>``, ``surprisal`` (bits), ``word_frequency`` (Zipf scale) and ``word_length`` (letters), sums; a word
        of which one of these is not known adds nothing.
    """

    def of_rows(texts: Sequence[str]) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
        by_row = [text.split() for text in texts]
        words = [word for row in by_row for word in row]
        rows = np.repeat(np.arange(len(texts)), [len(row) for row in by_row])
        found = states(words)
        letters = np.array([sum(char.isalpha() for char in word) for word in words], float)
        sums = {f"layer_{layer}": found.vectors[:, index] for index, layer in enumerate(layers)}
        sums |= {"word_frequency": frequencies_of(words).zipf, "word_length": letters}
        if found.surprisal is not None:
            sums["surprisal"] = found.surprisal
        variables = {}
        for name, values in sums.items():
            pooled = PooledByTR(len(texts), values.shape[1:])
            pooled.add(values, rows)
            variables[name] = (("tr", "dim")[: values.ndim], pooled.result("sum"))
        return variables

    return of_rows


def vectors_of(model: str | None, layers: Sequence[int] | None = None) -> tuple[Vectors, dict[str, str]]:
    """What makes vectors of words, and what files say of it.

    Parameters
    ----------
    model : str or None
        A language model, as :class:`giblet.data.language_models.LanguageModel` takes its name; None for vectors of each
        row's words by the sentence model that a package carries.
    layers : sequence of int, optional
        Of the language model; by default the one in the middle.

    Returns
    -------
    vectors : callable
        As :func:`sentences` or :func:`language` makes it.
    about : dict of str to str

    Raises
    ------
    InputError
        If the model cannot be loaded, or has no such layer.
    """
    if model is None:
        sentence = SentenceModel(OFFLINE)
        return sentences(sentence), {"model": sentence.name, "model_fingerprint": sentence.fingerprint}
    loaded = LanguageModel(model)
    chosen = checked_layers(layers, loaded.n_blocks, loaded.name)

    def states(words: Sequence[str]) -> WordStates:
        return loaded.states(words, layers=chosen, context=CONTEXT, context_step=AT_A_TIME)

    layers_read = ",".join(map(str, chosen))
    about = {"model": loaded.name, "model_fingerprint": loaded.fingerprint, "model_layers": layers_read}
    return language(states, chosen), about
