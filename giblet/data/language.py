"""Spoken words as features on the clock of a scan: hidden states of a language model, surprisal, word statistics."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from giblet.data.language_models import CONTEXT, SMOLLM2, LanguageModel, WordStates
from giblet.data.language_tokens import step_of
from giblet.data.parts import Parts
from giblet.data.pretrained import checked_layers
from giblet.data.processor import ExtractionSettings, MadeOfSettings, causality_of
from giblet.data.timed_text import RowsOnScan, TimedTextSettings, check_timed_text, rows_on_scan
from giblet.data.word_statistics import (
    ARPABET,
    FREQUENCY,
    PART_OF_SPEECH,
    PARTS,
    PHONEMES,
    bare,
    frequencies_of,
    parts_of_speech,
    phonemes_of,
    said_by,
)
from giblet.data.words.spoken import words_in
from giblet.data.words.subtitles import Segment
from giblet.docs import fill_doc
from giblet.errors import InputError
from giblet.features import CONTINUOUS, new_features
from giblet.files import sha256_of
from giblet.progress import Progress, in_units_of
from giblet.spans import tr_of
from giblet.timing import exact

if TYPE_CHECKING:
    import xarray as xr

log = logging.getLogger(__name__)

LANGUAGE = "language"
RANDOM_WEIGHTS, PERMUTED_WORDS, MEAN_BY_WORD = "random_weights", "permuted_words", "mean_by_word"
NOT_CAUSAL = {PERMUTED_WORDS: "words change places", MEAN_BY_WORD: "each vector is a mean over the whole text"}


class LanguageSettings(TimedTextSettings):
    """Options of language feature extraction. Same text, same settings, same model: same file."""

    model: str | None = Field(
        SMOLLM2, description=f"causal language model: {SMOLLM2}, a folder or a hub name; None: word statistics alone"
    )
    layers: tuple[int, ...] | None = Field(None, description="hidden states kept, 0: embeddings; default: the middle")
    context: int = Field(CONTEXT, ge=0, description="words before each word that the model reads, at least")
    context_step: int | None = Field(
        None, ge=1, description="words by which its windows move on; 1: exactly context; default: half of context"
    )
    vector: Literal["mean", "last"] = Field("mean", description="of the tokens of a word")
    surprisal: bool = Field(True, description="of each word, bits")
    statistics: tuple[Literal["frequency", "part_of_speech", "phonemes"], ...] = Field(
        ("frequency",), description="of the words, from packages"
    )
    text_language: str = Field("en", description="of the text, for its statistics")
    pool: Literal["sum", "mean"] = Field("sum", description="over the words of a TR")
    word_at: Literal["onset", "middle", "offset"] = Field("onset", description="moment whose TR a word falls into")
    control: Literal["random_weights", "permuted_words", "mean_by_word"] | None = Field(
        None, description="vectors of a model that learned nothing, of other words, or of each word out of context"
    )
    seed: int = Field(0, ge=0, description="of random weights and permutations")
    device: str = Field("auto", description="of the model: 'auto', 'cpu', 'cuda' or 'mps'")


@dataclass(frozen=True)
class SpokenWord:
    """A word with its times, and the punctuation around it."""

    onset: Fraction
    offset: Fraction
    text: str


def spoken_words(rows: Sequence[Segment]) -> list[SpokenWord]:
    """The words of rows, in their order.

    Parameters
    ----------
    rows : sequence of Segment
        The words of a row of several are taken to begin at equal distances from its onset.

    Returns
    -------
    list of SpokenWord
        What holds no letter or digit, such as a dash between spaces, is part of the word before it, or at the
        beginning of a row of that after it.

    Examples
    --------
    >>> row = Segment(Fraction(1), Fraction(3), "– so , there")
    >>> [(word.text, float(word.onset)) for word in spoken_words([row])]
    [('– so ,', 1.0), ('there', 2.0)]
    """
    found = []
    for row in rows:
        texts: list[list[str]] = []
        before: list[str] = []
        for piece in row.text.split():
            if words_in(piece):
                texts.append([*before, piece])
                before = []
            else:
                (texts[-1] if texts else before).append(piece)
        step = (row.offset - row.onset) / max(1, len(texts))
        found += [
            SpokenWord(row.onset + index * step, row.onset + (index + 1) * step, " ".join(pieces))
            for index, pieces in enumerate(texts)
        ]
    return found


class PooledByTR:
    """Sums or means of what is known of words, over the words of each TR.

    Parameters
    ----------
    n_trs : int
    shape : tuple of int
        Of one word's value.
    """

    def __init__(self, n_trs: int, shape: tuple[int, ...] = ()) -> None:
        self.sums = np.zeros((n_trs, *shape))
        self.known = np.zeros(n_trs, int)

    def add(self, values: np.ndarray, trs: np.ndarray) -> None:
        """Add words.

        Parameters
        ----------
        values : ndarray, shape (n_words, *shape)
            Words whose value is NaN are left out.
        trs : ndarray of int, shape (n_words,)
            The TR of each word; those outside the scan are left out.
        """
        there = (trs >= 0) & (trs < len(self.sums)) & np.isfinite(values.reshape(len(values), -1)).all(axis=1)
        for k in np.unique(trs[there]):
            own = there & (trs == k)
            self.sums[k] += values[own].sum(axis=0, dtype=np.float64)
            self.known[k] += own.sum()

    def result(self, pool: str) -> np.ndarray:
        """What was added, by TR; 0 where nothing was.

        Parameters
        ----------
        pool : {"sum", "mean"}

        Returns
        -------
        ndarray of float32, shape (n_trs, *shape)
        """
        if pool == "sum":
            return self.sums.astype(np.float32)
        count = np.maximum(1, self.known).reshape(-1, *[1] * (self.sums.ndim - 1))
        return (self.sums / count).astype(np.float32)


def controlled(vectors: np.ndarray, words: Sequence[str], control: str | None, seed: int = 0) -> np.ndarray:
    """Vectors of words as a control has them.

    Parameters
    ----------
    vectors : ndarray of float32, shape (n_words, n_layers, dim)
    words : sequence of str
    control : {"permuted_words", "mean_by_word", "random_weights"} or None
        ``"permuted_words"``: each word has the vector of another. ``"mean_by_word"``: that of its kind, the mean over
        all places where it stands; case and punctuation do not count. Others change nothing here.
    seed : int
        Of the permutation.

    Returns
    -------
    ndarray of float32, shape (n_words, n_layers, dim)
    """
    if control == PERMUTED_WORDS:
        return vectors[np.random.default_rng(seed).permutation(len(vectors))]
    if control == MEAN_BY_WORD:
        kinds = np.unique([bare(word).lower() for word in words], return_inverse=True)[1]
        sums = np.zeros((kinds.max() + 1, *vectors.shape[1:]))
        np.add.at(sums, kinds, vectors)
        return (sums / np.bincount(kinds)[:, None, None])[kinds].astype(np.float32)
    return vectors


@fill_doc
class LanguageProcessor(MadeOfSettings):
    """Turns words with their times into hidden states of a language model, surprisal and word statistics by TR.

    Parameters
    ----------
    tr : float
        %(tr)s
    model : str or None
        ``"smollm2"``, which a package carries, a folder, a ``.gguf`` file, or a hub name such as ``"gpt2"``. None
        leaves hidden states and surprisal out.
    device : str
        Of the model: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"mps"``.
    **options
        The other fields of :class:`LanguageSettings`: layers, context, context_step, vector, surprisal (see
        :meth:`giblet.data.language_models.LanguageModel.states`), statistics, text_language, pool, word_at, control,
        seed, and those of :class:`giblet.data.timed_text.TimedTextSettings`.

    Raises
    ------
    InputError
        If an option is unknown or out of range, a package is missing, or the model cannot be loaded or lacks a layer.

    See Also
    --------
    giblet.data.text.TextProcessor : Vectors of sentences, or of words without their context.
    """

    settings_type: ClassVar[type[ExtractionSettings]] = LanguageSettings
    source_noun: ClassVar[str] = "text"
    padding: ClassVar[str] = "without a word that begins"
    resumable: ClassVar[bool] = True
    desc = LANGUAGE

    def __init__(self, *, tr: float = 1.5, model: str | None = SMOLLM2, device: str = "auto", **options: Any) -> None:
        self.settings = LanguageSettings.make(tr=tr, model=model, device=device, **options)
        settings = self.settings
        self._said_by = said_by(settings.statistics)
        self.model, self.layers = None, tuple[int, ...]()
        if model is None and settings.control is not None:
            raise InputError(f"control is {settings.control!r}, and there is no model: name one, or leave control out")
        if model is not None:
            weights = "random" if settings.control == RANDOM_WEIGHTS else "trained"
            self.model = LanguageModel(model, device=device, weights=weights, seed=settings.seed)
            self.layers = checked_layers(settings.layers, self.model.n_blocks, self.model.name)

    @classmethod
    def check_source(cls, path: Path, settings: LanguageSettings) -> float:
        """Raise if a timed text cannot be read, before a model is loaded for it.

        Parameters
        ----------
        path : Path
            The timed text.
        settings : LanguageSettings

        Returns
        -------
        float
            Seconds from TR 0 to the end of the film, or else of the text.

        Raises
        ------
        InputError
            If the text cannot be read or used.
        """
        return check_timed_text(path, settings)

    @property
    def looks_ahead(self) -> str:
        """Why features depend on words after their TR; empty where they do not."""
        if self.settings.control in NOT_CAUSAL:
            return NOT_CAUSAL[self.settings.control]
        part_of_speech = PART_OF_SPEECH in self.settings.statistics
        return "the part of speech of a word depends on the words after it" if part_of_speech else ""

    def provenance(self, path: str | Path, n_trs: int | None = None) -> dict[str, Any]:
        """The attributes that decide what the features of a text are; equal ones mean an equal file.

        Parameters
        ----------
        path : str or Path
            The timed text.
        n_trs : int, optional
            As for :meth:`extract`.

        Returns
        -------
        dict
            ``source_sha256``, ``settings``, ``model_fingerprint``, which is None without a model, and
            ``statistics_from``, the packages with their versions.
        """
        settings = self.settings.model_copy(update={"n_trs": n_trs})
        return {
            "source_sha256": sha256_of(path),
            "settings": settings.model_dump(mode="json", exclude={"model", "device"}),
            "model_fingerprint": None if self.model is None else self.model.fingerprint,
            "statistics_from": self._said_by,
        }

    @fill_doc
    def extract(
        self,
        path: str | Path,
        n_trs: int | None = None,
        *,
        provenance: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
        parts: Parts | None = None,
    ) -> xr.Dataset:
        """Features of a timed text as the Dataset of a feature file (see :mod:`giblet.features`).

        Parameters
        ----------
        path : str or Path
            As for :func:`giblet.data.words.subtitles.read_timed_text`.
        n_trs : int, optional
            As for :meth:`giblet.data.text.TextProcessor.extract`. Words before TR 0 are read as context.
        provenance : mapping, optional
            %(provenance)s
        progress : callable, optional
            Called with seconds done and seconds in all while the model reads.
        parts : Parts, optional
            %(parts)s

        Returns
        -------
        xarray.Dataset
            Pooled over the words whose onset (or ``word_at``) the TR holds, by sum or mean (``pool``), 0 where there
            are none. Float32: ``layer_<k>`` (tr, dim), hidden states; ``surprisal`` (tr), bits; ``word_frequency``
            (tr), Zipf scale, of the words that have one; ``phonemes`` (tr, phoneme) and ``part_of_speech`` (tr, part),
            counts, or shares with ``pool="mean"``. Always ``word_rate`` and ``character_rate``, words and their letters
            and digits per second, and ``word_length``, their mean length. ``has_words`` bool (tr). ``<name>_mask`` bool
            (tr) where a mean is of no words, or nothing is known of any word of the TR. ``compound_words``,
            ``number_words``, ``unknown_words`` int32 (tr): words without a frequency, and why.

        Raises
        ------
        InputError
            If the text cannot be read or used, or none of it falls on the scan.
        """
        placed = rows_on_scan(path, self.settings, n_trs)
        grid = placed.grid
        words = spoken_words(placed.rows)
        trs = np.array([self._tr_of(word, exact(grid.tr)) for word in words])
        if not ((trs >= 0) & (trs < grid.n_trs)).any():
            raise InputError(
                f"no word of {Path(path).name} has its {self.settings.word_at} within the {grid.n_trs} TRs: correct "
                "table_time_at_tr_0, or choose word_at='onset'"
            )
        last = np.flatnonzero(trs < grid.n_trs)  # what comes after the scan is no context of it
        words, trs = words[: last[-1] + 1], trs[: last[-1] + 1]
        variables: dict[str, Any] = {}
        about_model: dict[str, Any] = {}
        if self.model is not None:
            variables |= self._of_model(self.model, [word.text for word in words], trs, placed, progress, parts)
            step = step_of(self.settings.context, self.settings.context_step)
            about_model = {
                "model": self.model.name,
                "model_saved_as": self.model.saved_as,
                "model_dtype": "float32",
                "model_layers": ",".join(map(str, self.layers)),
                "context_words": f"{self.settings.context} to {self.settings.context + step - 1}",
            }
        inside = (trs >= 0) & (trs < grid.n_trs)
        texts = [word.text for word, there in zip(words, inside, strict=True) if there]
        variables |= self._of_words(texts, trs[inside], grid.n_trs)
        return new_features(
            variables,
            grid,
            film_duration=placed.whole,
            kind=CONTINUOUS,
            desc=LANGUAGE,
            source=Path(path).name,
            **(self.provenance(path, n_trs) if provenance is None else provenance),
            **about_model,
            causal=causality_of(self.looks_ahead),
            duration=float(grid.duration if n_trs else min(placed.whole, grid.duration)),
            cut_words=len(spoken_words(placed.rows)) - len(texts),
            **placed.counts,
        )

    def _tr_of(self, word: SpokenWord, tr: Fraction) -> int:
        moment = {"onset": word.onset, "middle": (word.onset + word.offset) / 2, "offset": word.offset}
        return tr_of(moment[self.settings.word_at], tr)

    def _of_model(
        self,
        model: LanguageModel,
        texts: list[str],
        trs: np.ndarray,
        placed: RowsOnScan,
        progress: Progress | None,
        parts: Parts | None,
    ) -> dict[str, Any]:
        """Hidden states and surprisal by TR."""
        settings, n_trs = self.settings, placed.grid.n_trs
        states = PooledByTR(n_trs, (len(self.layers), model.dim))
        bits = PooledByTR(n_trs)
        held, done = list[WordStates](), 0
        for part in model.blocks(
            texts, layers=self.layers, context=settings.context, context_step=settings.context_step,
            vector=settings.vector, surprisal=settings.surprisal, parts=parts,
            progress=in_units_of(progress, float(placed.end)),
        ):  # fmt: skip
            own = trs[done : done + len(part.vectors)]
            done += len(own)
            if part.surprisal is not None:
                bits.add(part.surprisal, own)
            if settings.control in NOT_CAUSAL:
                held.append(part)
            else:
                states.add(part.vectors, own)
        if held:
            inside = (trs >= 0) & (trs < n_trs)
            vectors = np.concatenate([part.vectors for part in held])[inside]
            kept = [text for text, there in zip(texts, inside, strict=True) if there]
            states.add(controlled(vectors, kept, settings.control, settings.seed), trs[inside])
        values = states.result(settings.pool)
        found: dict[str, Any] = {}
        for index, layer in enumerate(self.layers):
            found[f"layer_{layer}"] = (("tr", "dim"), np.ascontiguousarray(values[:, index]))
            found |= self._mask(f"layer_{layer}", states, states.known)
        if settings.surprisal:
            found["surprisal"] = (("tr",), bits.result(settings.pool))
            found |= self._mask("surprisal", bits, states.known)
        return found

    def _mask(self, name: str, of: PooledByTR, n_words: np.ndarray) -> dict[str, Any]:
        """Where something is known: a sum over no words is 0, a mean of none is not."""
        known = of.known > 0
        if self.settings.pool == "sum":
            known |= n_words == 0
            if known.all():
                return {}
        return {f"{name}_mask": (("tr",), known)}

    def _of_words(self, texts: list[str], trs: np.ndarray, n_trs: int) -> dict[str, Any]:
        """Rates and statistics of words by TR."""
        seconds, pool, language = float(exact(self.settings.tr)), self.settings.pool, self.settings.text_language
        n_words = np.bincount(trs, minlength=n_trs)
        letters = np.bincount(trs, weights=[sum(c.isalnum() for c in text) for text in texts], minlength=n_trs)
        found: dict[str, Any] = {
            "word_rate": (("tr",), (n_words / seconds).astype(np.float32)),
            "character_rate": (("tr",), (letters / seconds).astype(np.float32)),
            "word_length": (("tr",), (letters / np.maximum(1, n_words)).astype(np.float32)),
            "has_words": (("tr",), n_words > 0),
        }
        if FREQUENCY in self.settings.statistics:
            given = frequencies_of(texts, language)
            own = PooledByTR(n_trs)
            own.add(given.zipf, trs)
            found["word_frequency"] = (("tr",), own.result(pool))
            found |= self._mask("word_frequency", own, n_words)
            for name in ("compound", "number", "unknown"):
                count = np.bincount(trs[getattr(given, name)], minlength=n_trs)
                found[f"{name}_words"] = (("tr",), count.astype(np.int32))
            without = np.isnan(given.zipf)
            if without.any():
                log.warning(
                    "%d of %d words have no frequency: %d of several parts, %d numbers, %d that wordfreq does not list",
                    without.sum(), len(texts), given.compound.sum(), given.number.sum(), given.unknown.sum(),
                )  # fmt: skip
        if PHONEMES in self.settings.statistics:
            counts, known = phonemes_of(texts, language)
            own = PooledByTR(n_trs, (len(ARPABET),))
            own.add(np.where(known[:, None], counts, np.nan), trs)
            found["phonemes"] = (("tr", "phoneme"), own.result(pool), {"labels": " ".join(ARPABET)})
            found |= self._mask("phonemes", own, n_words)
            if not known.all():
                log.warning("%d of %d words are not in the CMU dictionary: no phonemes", (~known).sum(), len(texts))
        if PART_OF_SPEECH in self.settings.statistics:
            own = PooledByTR(n_trs, (len(PARTS),))
            own.add(parts_of_speech(texts, language).astype(float), trs)
            found["part_of_speech"] = (("tr", "part"), own.result(pool), {"labels": " ".join(PARTS)})
            found |= self._mask("part_of_speech", own, n_words)
        return found
