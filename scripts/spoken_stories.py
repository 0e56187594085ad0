"""From the exported spoken stories of LeBel et al. (2023) to files that giblet reads: BOLD and features of each story.

python scripts/spoken_stories.py shared/fmri/lebel lebel --stories train25
giblet encode configs/encode/lebel.yaml
python scripts/spoken_stories.py shared/fmri/lebel lebel_language --language-model smollm2 --layers 0 8 16 24 30
python scripts/one_band_each.py configs/encode/lebel_language.yaml

FOLDER holds utsNN_bold.npz, stories.json.gz, labels.npz and train25.txt. For each story OUT gets

bold/sub-NN_task-STORY_bold.tsv      one row per volume (TR 2 s), z-scores of the components of cortex
features/STORY_desc-stories_features.nc
    word_rate (words per second), letter_rate (letters per second), labels (86 answers, 0 or 1), embedding of the words;
    with --language-model instead of the embedding layer_0, layer_8, ... (sums over the words of the row), surprisal,
    word_frequency and word_length

and OUT/study.yaml names them as the runs of each listener, for training or for testing, as configs/encode/lebel.yaml
reads it. No file holds a word of the stories.

Volume 0 of the BOLD is second 10 of the sound. The first TR of the features is seconds 8 to 10 of the sound, so volume
0 is second 2 of the features: stimulus_time_at_volume_0 is 2 for all. The words of the last two seconds before the last
volume ends were not exported: the last TR of a file holds zeros and is marked as unknown, and the scan ends before any
response to it.
"""

import argparse
import logging
import sys
from pathlib import Path

from giblet.errors import GibletError
from giblet.pipeline.spoken_stories import TRAIN25, chosen_stories, read_stories, write_stories
from giblet.pipeline.story_words import vectors_of

log = logging.getLogger("spoken_stories")


def _told(done: float, total: float | None) -> None:
    log.info("%g of %g stories", done, total)


def main() -> int:
    """Write the files; 2 if the data cannot be used."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the exported stories")
    parser.add_argument("out", type=Path, help="folder of the files that giblet reads")
    parser.add_argument("--stories", choices=(TRAIN25, "all"), default=TRAIN25, help="for training (train25)")
    parser.add_argument("--listeners", type=int, nargs="+", default=[1, 2], help="numbers of listeners (1 2)")
    parser.add_argument("--language-model", help="hidden states of it instead of vectors of sentences: smollm2")
    parser.add_argument("--layers", type=int, nargs="+", help="of the language model; default: the middle")
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    log.setLevel(logging.INFO)
    try:
        names = chosen_stories(options.folder, read_stories(options.folder), options.stories)
        vectors, about = vectors_of(options.language_model, options.layers)
        runs = write_stories(options.folder, options.out, names, options.listeners, vectors, about, _told)
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
