"""The exported spoken stories of LeBel et al. (2023) as files that giblet reads: BOLD and features of each story.

The export is that of github.com/csinva/fmri: ``utsNN_bold.npz``, ``stories.json.gz``, ``labels.npz`` and
``train25.txt``. The words are the storytellers': no file that is written here holds one of them.

Volume 0 of the BOLD is second 10 of the sound. The first TR of the features is seconds 8 to 10 of the sound, so volume
0 is second 2 of the features: ``stimulus_time_at_volume_0`` is 2 for all. The words of the last two seconds before the
last volume ends were not exported: the last TR of a file holds zeros and is marked as unknown, and the scan ends before
any response to it.

References
----------
LeBel et al. (2023). A natural language fMRI dataset for voxelwise encoding models. Scientific Data 10, 555.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
import yaml

from giblet.data.embeddings import OFFLINE, SentenceModel
from giblet.data.language import PooledByTR
from giblet.data.language_models import LanguageModel, WordStates
from giblet.data.pretrained import checked_layers
from giblet.data.word_statistics import frequencies_of
from giblet.errors import InputError, reading
from giblet.features import CONTINUOUS, is_current, new_features, save_features, standing
from giblet.files import sha256_of, write_atomic
from giblet.progress import Progress
from giblet.timing import TRGrid

TR = 2.0
TEXT_BEGINS, BOLD_BEGINS = 8.0, 10.0
"""Seconds of the sound at the first bin of words and at the first volume."""
TRAIN25 = "train25"
CONTEXT, AT_A_TIME = 512, 2560
"""Words that stand before each where the story has them; most stories are read in one pass."""
Vectors = Callable[[Sequence[str]], dict[str, tuple[tuple[str, ...], np.ndarray]]]
"""Of the words of each row, variables by row."""


@dataclass(frozen=True)
class Stories:
    """Words by row of each story, and what the story is for. The words are the storytellers': they are not printed."""

    texts: dict[str, list[str]]
    split: dict[str, str]
    labels: dict[str, np.ndarray]
    """float32 (n_rows, 86)"""
    questions: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Stories({len(self.texts)} stories)"


def read_stories(folder: Path) -> Stories:
    """Words and labels of all stories.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    Stories

    Raises
    ------
    InputError
        If a file is missing or damaged, or labels and words have different numbers of rows.
    """
    with reading("the stories", folder):
        told = json.loads(gzip.decompress((folder / "stories.json.gz").read_bytes()))
        texts, split = told["text_per_row"], told["split"]
        with np.load(folder / "labels.npz", allow_pickle=False) as packed:
            questions = tuple(map(str, packed["questions"]))
            bits = {story: packed[story] for story in texts}
    labels = {}
    for story, rows in texts.items():
        if bits[story].shape != (-(-len(rows) // 8), len(questions)):
            raise InputError(f"{story} has {len(rows)} rows of words and labels of shape {bits[story].shape}, packed")
        labels[story] = np.unpackbits(bits[story], axis=0, count=len(rows)).astype(np.float32)
    return Stories(texts, split, labels, questions)


def read_bold(folder: Path, listener: int) -> dict[str, np.ndarray]:
    """BOLD of one listener by story.

    Parameters
    ----------
    folder : Path
    listener : int
        1 or 2.

    Returns
    -------
    dict of str to ndarray of float32, shape (n_rows, 112)
        z-scores within the story.

    Raises
    ------
    InputError
        If the file is missing or damaged.
    """
    with (
        reading("the BOLD", folder / f"uts{listener:02d}_bold.npz"),
        np.load(folder / f"uts{listener:02d}_bold.npz", allow_pickle=False) as packed,
    ):
        values, stories, n_rows = packed["bold_z100"], packed["stories"], packed["n_rows"]
    if len(values) != n_rows.sum():
        raise InputError(f"uts{listener:02d}_bold.npz has {len(values)} rows, its stories {n_rows.sum()}")
    stops = np.cumsum(n_rows)
    return {
        str(story): values[stop - n : stop].astype(np.float32) / 100
        for story, n, stop in zip(stories, n_rows, stops, strict=True)
    }


def chosen_stories(folder: Path, stories: Stories, which: str) -> list[str]:
    """Names of the training stories that are asked for, and of all test stories, in this order.

    Parameters
    ----------
    folder : Path
    stories : Stories
    which : {"train25", "all"}

    Returns
    -------
    list of str
    """
    training = [story for story, part in stories.split.items() if part == "train"]
    if which == TRAIN25:
        with reading("the list of stories", folder / "train25.txt"):
            training = (folder / "train25.txt").read_text(encoding="utf-8").split()
    return [*training, *(story for story, part in stories.split.items() if part == "test")]


def counted(texts: Iterable[str]) -> tuple[np.ndarray, np.ndarray]:
    """Words and letters of each row, per second, float32 (n_rows,) each."""
    rows = list(texts)
    words = [len(text.split()) for text in rows]
    letters = [sum(char.isalpha() for char in text) for text in rows]
    return np.array(words, np.float32) / TR, np.array(letters, np.float32) / TR


def embedded(texts: Iterable[str], model: SentenceModel) -> np.ndarray:
    """The vector of each row's words, float32 (n_rows, dim); 0 where nobody speaks."""
    rows = list(texts)
    spoken = [row for row, text in enumerate(rows) if text.strip()]
    found = model.embed([rows[row] for row in spoken])
    vectors = np.zeros((len(rows), found.shape[1]), np.float32)
    vectors[spoken] = found
    return vectors


def sentences(model: SentenceModel) -> Vectors:
    """The vector of each row's words, and where there are any."""

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


def provenance_of(story: str, source: Path, about: Mapping[str, str]) -> dict[str, object]:
    """The attributes that decide what the features of a story are."""
    settings = {"story": story, "tr": TR, "begins_at_second_of_sound": TEXT_BEGINS}
    return {"source_sha256": sha256_of(source), "settings": settings, **about}


def features_of(story: str, stories: Stories, vectors: Vectors, source: Path, about: Mapping[str, str]) -> xr.Dataset:
    """The feature file of one story.

    Parameters
    ----------
    story : str
    stories : Stories
    vectors : callable
        As :func:`sentences` or :func:`language` makes it.
    source : Path
        The file of the words.
    about : mapping of str to str
        What the file shall say of the model.

    Returns
    -------
    xarray.Dataset
        On the clock that begins at second 8 of the sound; one TR longer than the scan.
    """
    texts = stories.texts[story]
    n_trs = len(texts) + 1
    words, letters = counted(texts)
    known = np.arange(n_trs) < len(texts)
    variables = vectors(texts) | {
        "word_rate": (("tr",), words),
        "letter_rate": (("tr",), letters),
        "labels": (("tr", "label"), stories.labels[story]),
    }
    masks = {f"{name}_mask": (("tr",), known) for name in variables if f"{name}_mask" not in variables}
    longer = {
        name: (dims, np.concatenate([values, np.zeros_like(values[:1])])) for name, (dims, values) in variables.items()
    }
    return new_features(
        longer | {name: mask for name, mask in masks.items() if not name.endswith("_mask_mask")},
        TRGrid(TR, n_trs, 1 / TR),
        film_duration=n_trs * TR,
        kind=CONTINUOUS,
        desc="stories",
        source=source.name,
        duration=n_trs * TR,
        **provenance_of(story, source, about),
    )


def listeners_in(folder: Path) -> list[int]:
    """Numbers of the listeners whose BOLD is in the folder.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    list of int
        Ascending.

    Raises
    ------
    InputError
        If there is none.
    """
    found = sorted(int(path.name[3:5]) for path in folder.glob("uts[0-9][0-9]_bold.npz"))
    if not found:
        raise InputError(f"{folder} holds no utsNN_bold.npz: name the folder of the exported stories")
    return found


def write_stories(
    folder: Path, out: Path, names: Sequence[str], listeners: Iterable[int], vectors: Vectors, about: Mapping[str, str],
    progress: Progress | None = None,
) -> dict[int, list[dict[str, object]]]:  # fmt: skip
    """Write BOLD and features of each story, and ``study.yaml``; features as this version makes them are kept.

    Parameters
    ----------
    folder, out : Path
    names : sequence of str
        Of stories, as :func:`chosen_stories` gives them.
    listeners : iterable of int
    vectors, about
        As for :func:`features_of`.
    progress : callable, optional
        Called with the stories that are done and those in all.

    Returns
    -------
    dict of int to list of dict
        By listener, the runs: options of :class:`giblet.encoding.settings.EncodeRunSettings`.

    Raises
    ------
    InputError
        If a file is missing, BOLD and words of a story have different numbers of rows, or features of other layers
        or another model stand in `out`.
    """
    stories = read_stories(folder)
    source = folder / "stories.json.gz"
    for number, story in enumerate(names, 1):
        path = _features_path(out, story)
        there = standing(path, **provenance_of(story, source, about))
        if there is None or not is_current(there, path):
            save_features(features_of(story, stories, vectors, source, about), path)
        if progress is not None:
            progress(number, len(names))
    runs: dict[int, list[dict[str, object]]] = {listener: [] for listener in listeners}
    for listener, own in runs.items():
        bold = read_bold(folder, listener)
        for story in [name for name in names if name in bold]:  # nobody heard all of them
            if len(bold[story]) != len(stories.texts[story]):
                raise InputError(
                    f"{story} has {len(bold[story])} volumes of listener {listener} and {len(stories.texts[story])} "
                    "rows of words"
                )
            path = out / "bold" / f"sub-{listener:02d}_task-{story}_bold.tsv"
            columns = [f"component{number:03d}" for number in range(1, bold[story].shape[1] + 1)]
            table = pd.DataFrame(bold[story], columns=columns)
            write_atomic(path, table.to_csv(sep="\t", index=False, float_format="%.2f"))
            own.append(
                {
                    "bold": str(path),
                    "features": {"story": str(_features_path(out, story))},
                    "stimulus_time_at_volume_0": BOLD_BEGINS - TEXT_BEGINS,
                    "part": stories.split[story],
                }
            )
    subjects = [{"name": f"{listener:02d}", "runs": own} for listener, own in runs.items()]
    write_atomic(out / "study.yaml", yaml.safe_dump({"data": {"subjects": subjects}}, sort_keys=False))
    return runs


def _features_path(out: Path, story: str) -> Path:
    return out / "features" / f"{story}_desc-stories_features.nc"


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
