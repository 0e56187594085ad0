"""From a table of spoken words and region tables of listeners to a lag scan of the word rate: real brains on the clock.

python scripts/real_fmri_words.py shared/fmri/alice --stimulus-time-at-volume-0 20

FOLDER holds words.tsv (onset, duration, text; seconds of the sound) and bold/sub-*_bold.tsv (one row per volume). The
word rate, convolved with an HRF, is scanned against the mean of the listeners, each region z-scored per listener first.
"""

import argparse
import logging
import sys
from pathlib import Path

import numpy as np
from nilearn.signal import clean

from giblet.data.fmri import FMRIProcessor
from giblet.data.text import TextProcessor
from giblet.errors import GibletError, InputError
from giblet.evaluation.alignment import AlignmentCheck, check, regressors_of


def group_mean(folder: Path, tr: float) -> tuple[np.ndarray, list[str], dict[str, str]]:
    """Mean over listeners (n_volumes, n_regions), names of regions, and who was left out with the reason."""
    paths = sorted((folder / "bold").glob("sub-*_bold.tsv"))
    if not paths:
        raise InputError(f"{folder / 'bold'} holds no sub-*_bold.tsv: name the folder of the Alice data")
    series: list[np.ndarray] = []
    regions: list[str] = []
    left_out: dict[str, str] = {}
    for path in paths:
        try:
            bold = FMRIProcessor(tr=tr).load(path)
        except InputError as exc:
            left_out[path.name.split("_")[0]] = str(exc)
            continue
        names = [str(name) for name in bold["region"].values]
        if series and (names != regions or len(bold["bold"]) != len(series[0])):
            raise InputError(
                f"{path.name} has {len(bold['bold'])} volumes of {', '.join(names)}: expected {len(series[0])} of "
                f"{', '.join(regions)}, as in the other files"
            )
        regions = names
        series.append(clean(bold["bold"].values.astype(np.float64), detrend=True, standardize="zscore_sample"))
    if not series:
        raise InputError(f"none of the {len(paths)} listeners in {folder / 'bold'} can be used")
    return np.mean(series, axis=0), regions, left_out


def scan(
    folder: Path, stimulus_time_at_volume_0: float, tr: float, surrogates: int
) -> tuple[AlignmentCheck, dict[str, str], int]:
    """The word rate against each region and their mean, who was left out, and how many were not."""
    bold, regions, left_out = group_mean(folder, tr)
    words = TextProcessor(tr=tr, model=None, duration_column="duration").extract(folder / "words.tsv")
    rate = next(one for one in regressors_of(words) if one.name == "word_rate")
    listeners = len(list((folder / "bold").glob("sub-*_bold.tsv"))) - len(left_out)
    found = check(
        rate, bold, tr, targets=regions, stimulus_time_at_volume_0=stimulus_time_at_volume_0,
        n_surrogates=surrogates, trim=True,
    )  # fmt: skip
    return found, left_out, listeners


def main() -> int:
    """Print the table; 2 if the data cannot be used."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the Alice data")
    parser.add_argument(
        "--stimulus-time-at-volume-0", type=float, default=20.0, help="second of the words at volume 0 (20)"
    )
    parser.add_argument("--tr", type=float, default=2.0, help="repetition time, s (2)")
    parser.add_argument("--surrogates", type=int, default=1000, help="phase-randomised word rates (1000)")
    options = parser.parse_args()
    logging.disable(logging.WARNING)  # those left out are said below
    try:
        found, left_out, listeners = scan(
            options.folder, options.stimulus_time_at_volume_0, options.tr, options.surrogates
        )
    except GibletError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 2
    finally:
        logging.disable(logging.NOTSET)
    for name, reason in left_out.items():
        print(f"left out: {name}: {reason}")
    begins = options.stimulus_time_at_volume_0
    print(f"word rate against the mean of {listeners} listeners, volume 0 at second {begins:g} of the words")
    print(f"{'region':<8}{'best lag':>10}{'r':>8}{'p':>8}{'null 95 %':>11}")
    row = found.row()
    mean = {"name": "mean", **{key: row[key] for key in ("best_lag", "r", "p", "null_95")}}
    for one in (*row["targets"], mean):
        print(f"{one['name']:<8}{one['best_lag']:>+8g} s{one['r']:>8.3f}{one['p']:>8.3f}{one['null_95']:>11.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
