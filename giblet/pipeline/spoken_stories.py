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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from giblet.errors import InputError, reading
from giblet.features import CONTINUOUS, is_current, new_features, save_features, standing
from giblet.files import read_npz, sha256_of, write_atomic
from giblet.pipeline.story_words import TR, Vectors, counted
from giblet.progress import Progress
from giblet.timing import TRGrid

if TYPE_CHECKING:
    import xarray as xr

TEXT_BEGINS, BOLD_BEGINS = 8.0, 10.0
"""Seconds of the sound at the first bin of words and at the first volume."""
TRAIN25 = "train25"
REMEDY = "name the folder of the exported stories, or copy them again"


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
    with reading(f"the stories in {folder}", REMEDY):
        told = json.loads(gzip.decompress((folder / "stories.json.gz").read_bytes()))
        texts, split = told["text_per_row"], told["split"]
        bits = read_npz(folder / "labels.npz", REMEDY)
        questions = tuple(map(str, bits["questions"]))
    labels = {}
    for story, rows in texts.items():
        if bits[story].shape != (-(-len(rows) // 8), len(questions)):
            raise InputError(
                f"{story} has {len(rows)} rows of words and labels of shape {bits[story].shape}: copy them again"
            )
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
    path = folder / f"uts{listener:02d}_bold.npz"
    packed = read_npz(path, REMEDY)
    with reading(path, REMEDY):
        values, stories, n_rows = packed["bold_z100"], packed["stories"], packed["n_rows"]
    if len(values) != n_rows.sum():
        raise InputError(
            f"uts{listener:02d}_bold.npz has {len(values)} rows, its stories {n_rows.sum()}: copy it again"
        )
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
        with reading(folder / "train25.txt", REMEDY):
            training = (folder / "train25.txt").read_text(encoding="utf-8").split()
    return [*training, *(story for story, part in stories.split.items() if part == "test")]


def provenance_of(story: str, source: Path, about: Mapping[str, str]) -> dict[str, Any]:
    """The attributes that decide what the features of a story are.

    Parameters
    ----------
    story : str
    source : Path
        The file of the words.
    about : mapping of str to str
        What the file shall say of the model.

    Returns
    -------
    dict of str to object
    """
    settings = {"story": story, "tr": TR, "begins_at_second_of_sound": TEXT_BEGINS}
    return {"source_sha256": sha256_of(source), "settings": settings, **about}


def features_of(story: str, stories: Stories, vectors: Vectors, source: Path, about: Mapping[str, str]) -> xr.Dataset:
    """The feature file of one story.

    Parameters
    ----------
    story : str
    stories : Stories
    vectors : callable
        As :func:`giblet.pipeline.story_words.vectors_of` makes it.
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
    import pandas as pd

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
                    "rows of words: copy both again"
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
