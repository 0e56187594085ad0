"""From the exported spoken stories of LeBel et al. (2023) to files that giblet reads: BOLD and features of each story.

python scripts/spoken_stories.py shared/fmri/lebel lebel --stories train25
giblet encode configs/encode/lebel.yaml

FOLDER holds utsNN_bold.npz, stories.json.gz, labels.npz and train25.txt. For each story OUT gets

bold/sub-NN_task-STORY_bold.tsv      one row per volume (TR 2 s), z-scores of the components of cortex
features/STORY_desc-stories_features.nc
    word_rate (words per second), letter_rate (letters per second), labels (86 answers, 0 or 1), embedding of the words

and OUT/study.yaml names them as the runs of each listener, for training or for testing, as configs/encode/lebel.yaml
reads it. No file holds a word of the stories.

Volume 0 of the BOLD is second 10 of the sound. The first TR of the features is seconds 8 to 10 of the sound, so volume
0 is second 2 of the features: stimulus_time_at_volume_0 is 2 for all. The words of the last two seconds before the last
volume ends were not exported: the last TR of a file holds zeros and is marked as unknown, and the scan ends before any
response to it.
"""

import argparse
import gzip
import json
import logging
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
import yaml

from giblet.data.embeddings import OFFLINE, SentenceModel
from giblet.errors import GibletError, InputError, reading
from giblet.features import CONTINUOUS, new_features, save_features
from giblet.files import sha256_of
from giblet.timing import TRGrid

TR = 2.0
TEXT_BEGINS, BOLD_BEGINS = 8.0, 10.0
"""Seconds of the sound at the first bin of words and at the first volume."""
TRAIN25 = "train25"


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


def features_of(story: str, stories: Stories, model: SentenceModel, source: Path) -> xr.Dataset:
    """The feature file of one story.

    Parameters
    ----------
    story : str
    stories : Stories
    model : SentenceModel
    source : Path
        The file of the words.

    Returns
    -------
    xarray.Dataset
        On the clock that begins at second 8 of the sound; one TR longer than the scan.
    """
    texts = stories.texts[story]
    n_trs = len(texts) + 1
    words, letters = counted(texts)
    known = np.arange(n_trs) < len(texts)
    spoken = np.array([bool(text.strip()) for text in texts] + [False])

    def longer(values: np.ndarray) -> np.ndarray:
        return np.concatenate([values, np.zeros_like(values[:1])])

    return new_features(
        {
            "embedding": (("tr", "dim"), longer(embedded(texts, model))),
            "embedding_mask": (("tr",), spoken),
            "word_rate": (("tr",), longer(words)),
            "letter_rate": (("tr",), longer(letters)),
            "labels": (("tr", "label"), longer(stories.labels[story])),
            **{f"{name}_mask": (("tr",), known) for name in ("word_rate", "letter_rate", "labels")},
        },
        TRGrid(TR, n_trs, 1 / TR),
        film_duration=n_trs * TR,
        kind=CONTINUOUS,
        desc="stories",
        source=source.name,
        source_sha256=sha256_of(source),
        settings={"story": story, "tr": TR, "begins_at_second_of_sound": TEXT_BEGINS},
        duration=n_trs * TR,
        model=model.name,
        model_fingerprint=model.fingerprint,
    )


def written(folder: Path, out: Path, which: str, listeners: Iterable[int]) -> dict[int, list[dict[str, object]]]:
    """Write the files.

    Parameters
    ----------
    folder, out : Path
    which : {"train25", "all"}
    listeners : iterable of int

    Returns
    -------
    dict of int to list of dict
        By listener, the runs: options of :class:`giblet.encoding.settings.EncodeRunSettings`.

    Raises
    ------
    InputError
        If a file is missing, or BOLD and words of a story have different numbers of rows.
    """
    stories, model = read_stories(folder), SentenceModel(OFFLINE)
    names = chosen_stories(folder, stories, which)
    for sub in ("bold", "features"):
        (out / sub).mkdir(parents=True, exist_ok=True)
    for story in names:
        features = features_of(story, stories, model, folder / "stories.json.gz")
        save_features(features, out / "features" / f"{story}_desc-stories_features.nc")
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
            table.to_csv(path, sep="\t", index=False, float_format="%.2f")
            own.append(
                {
                    "bold": str(path),
                    "features": {"story": str(out / "features" / f"{story}_desc-stories_features.nc")},
                    "stimulus_time_at_volume_0": BOLD_BEGINS - TEXT_BEGINS,
                    "part": stories.split[story],
                }
            )
    subjects = [{"name": f"{listener:02d}", "runs": own} for listener, own in runs.items()]
    (out / "study.yaml").write_text(yaml.safe_dump({"data": {"subjects": subjects}}, sort_keys=False), encoding="utf-8")
    return runs


def main() -> int:
    """Write the files; 2 if the data cannot be used."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the exported stories")
    parser.add_argument("out", type=Path, help="folder of the files that giblet reads")
    parser.add_argument("--stories", choices=(TRAIN25, "all"), default=TRAIN25, help="for training (train25)")
    parser.add_argument("--listeners", type=int, nargs="+", default=[1, 2], help="numbers of listeners (1 2)")
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        runs = written(options.folder, options.out, options.stories, options.listeners)
    except GibletError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 2
    for listener, own in runs.items():
        n_train = sum(run["part"] == "train" for run in own)
        print(f"listener {listener}: {n_train} stories to learn from, {len(own) - n_train} to predict")
    print(f"written: {options.out / 'study.yaml'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
