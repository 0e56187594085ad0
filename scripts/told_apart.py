"""Which passage of an unseen story does a listener hear? Told by a linear decoder from windows of BOLD.

python scripts/spoken_stories.py shared/fmri/lebel lebel_language --language-model smollm2 --layers 0 8 16 24 30
python scripts/told_apart.py configs/encode/lebel_language.yaml --band layer_16

The configuration is one of giblet encode; of its bands one is decoded. Drifts are taken out of BOLD and features in
each run, features are brought to variance 1 and projected on their main components over the training rows, and
giblet.encoding.DecodingModel learns these from the BOLD of a window after each TR. Each test run is cut into passages,
and each decoded passage is compared with what was said in all passages of its run
(giblet.evaluation.identification.identify_passages). Printed, and written to OUTPUT/told_apart.tsv with --write, is one
row for each subject, run and length of a passage, with the chance level and p by rotations of the prediction in time.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA

from giblet.encoding import DecodingModel
from giblet.encoding.settings import EncodeSettings
from giblet.encoding.windows import Cleaning
from giblet.errors import GibletError, InputError
from giblet.evaluation.identification import identify_passages
from giblet.pipeline.encoding_data import SubjectData, read_subject, tr_of
from giblet.pipeline.encoding_features import BandReader
from giblet.statistics.estimates import ScoredTRs
from giblet.statistics.rotations import HIGH_PASS
from giblet.training.films import Films

SECONDS = (10.0, 20.0)
"""Lengths of passages, unless told otherwise."""


@dataclass(frozen=True)
class Options:
    """How passages are told apart."""

    band: str
    n_components: int = 50
    window: tuple[float, float] = (2.0, 10.0)
    """Seconds after the TR's onset from and to which volumes of its window begin."""
    seconds: tuple[float, ...] = SECONDS
    """Lengths of passages."""
    high_pass: float | None = HIGH_PASS
    """Hz, of the decoder. The scores have drifts taken out as rotation tests have."""
    rescaled: bool = True
    """Each decoded component gets the deviation of the true one."""


def components(data: SubjectData, options: Options) -> np.ndarray:
    """Main components of the band's training rows, of all rows, without drifts.

    Parameters
    ----------
    data : SubjectData
    options : Options

    Returns
    -------
    ndarray of float64, shape (n_trs, n_components)

    Raises
    ------
    InputError
        If the band has fewer columns or training rows.
    """
    features, train = np.asarray(data.bands[options.band], np.float64), data.folds[0].train
    rows = np.arange(len(features))
    clean = Cleaning.of(rows, data.run, len(rows), None, tr=data.tr, high_pass=options.high_pass)(features)
    deviation = clean[train].std(0)
    clean = np.divide(clean, deviation, out=np.zeros_like(clean), where=deviation > 0)
    if options.n_components > min(clean[train].shape):
        raise InputError(
            f"--components is {options.n_components}, and {len(train)} training rows of {clean.shape[1]} columns have "
            "fewer"
        )
    # Of covariances: exact, and fast where rows are many.
    return PCA(options.n_components, svd_solver="covariance_eigh").fit(clean[train]).transform(clean)


def told_apart(data: SubjectData, options: Options) -> list[dict[str, object]]:
    """One row for each test run and length of a passage.

    Parameters
    ----------
    data : SubjectData
        Of which whole runs are test runs.
    options : Options

    Returns
    -------
    list of dict

    Raises
    ------
    InputError
        If there are folds, or a run has rows of both parts.
    """
    if len(data.folds) != 1 or set(data.run[data.folds[0].train]) & set(data.run[data.folds[0].test]):
        raise InputError(
            "passages are those of whole test runs: give each run of the configuration part: train or test"
        )
    (fold,) = data.folds
    heard, present = components(data, options), np.isfinite(data.bold).any(1)
    model = DecodingModel(tr=data.tr, window=options.window, high_pass=options.high_pass)
    model.fit(data.bold, heard, run=data.run, train=fold.train, sample_mask=present)
    rows = []
    for run in np.unique(data.run[fold.test]):
        own = data.run == run
        decoded = model.predict(data.bold[own], sample_mask=present[own])
        known = np.flatnonzero(np.isfinite(decoded).all(1))
        if not len(known) or len(known) != known[-1] - known[0] + 1:
            raise InputError(f"{data.run_names[run - 1]} has censored volumes: its passages would not be of one length")
        for seconds in options.seconds:
            found = identify_passages(
                options.band, heard[own][known], decoded[known], ScoredTRs.of(len(known), data.tr), seconds=seconds,
                rescaled=options.rescaled,
            )  # fmt: skip
            told = found.as_dict()
            row = {"who": data.name, "run": data.run_names[run - 1], "seconds": found.seconds}
            row |= {"passages": found.n_passages, "pairwise": found.pairwise.value}
            row |= {"pairwise p": told["pairwise"]["p"]}
            for k, own_share in found.top.items():
                row |= {f"top-{k}": own_share.value, f"chance {k}": found.chance[k], f"p {k}": told["top"][str(k)]["p"]}
            rows.append(row)
    return rows


def table(settings: EncodeSettings, options: Options) -> pd.DataFrame:
    """All subjects.

    Parameters
    ----------
    settings : EncodeSettings
    options : Options

    Returns
    -------
    pandas.DataFrame
        Columns who, run, seconds, passages, pairwise (chance is .5) and its p, and for the best and the best five
        ``top-k``, ``chance k`` and ``p k``.

    Raises
    ------
    GibletError
        If the files cannot be used, or the configuration has no such band.
    """
    if options.band not in settings.bands:
        raise InputError(f"--band is {options.band!r}: the configuration has {', '.join(settings.bands)}")
    bands = {options.band: settings.bands[options.band]}
    alone, films = settings.model_copy(update={"bands": bands}), Films()
    reader = BandReader(bands, codec=settings.codec, films=films)
    tr = tr_of(alone, films)
    rows = []
    for subject in settings.data.subjects:
        rows += told_apart(read_subject(alone, subject, reader, films, tr), options)
    return pd.DataFrame(rows)


def ranges(found: pd.DataFrame) -> str:
    """Of each subject and length, the least and the greatest share over the runs.

    Parameters
    ----------
    found : pandas.DataFrame
        As :func:`table` gives it.

    Returns
    -------
    str
        A table in Markdown.
    """
    lines = ["| who | passages of | top-1 | chance | pairwise | greatest p of top-1 |", "|---|--:|--:|--:|--:|--:|"]
    for (who, seconds), own in found.groupby(["who", "seconds"]):
        cells = [_range(own[name], digits) for name, digits in (("top-1", 2), ("chance 1", 3), ("pairwise", 2))]
        lines.append(f"| {who} | {seconds:g} s | {' | '.join(cells)} | {own['p 1'].max():.3f} |")
    return "\n".join(lines)


def _range(values: pd.Series, digits: int) -> str:
    return f"{values.min():.{digits}f} to {values.max():.{digits}f}"


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; 2 if the configuration cannot be used."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, help="YAML file of giblet encode")
    parser.add_argument("--band", required=True, help="the band that is decoded")
    parser.add_argument("--components", type=int, default=Options.n_components, help="of the band (50)")
    parser.add_argument(
        "--window", type=float, nargs=2, default=Options.window, metavar=("FROM", "TO"),
        help="seconds after a TR's onset at which the volumes begin that it is decoded from (2 10)",
    )  # fmt: skip
    parser.add_argument("--seconds", type=float, nargs="+", default=SECONDS, help="lengths of passages (10 20)")
    parser.add_argument(
        "--high-pass", type=float, default=HIGH_PASS, help="Hz (1/128); 0: the level of runs alone goes"
    )
    parser.add_argument("--as-decoded", action="store_true", help="leave decoded components their own deviations")
    parser.add_argument("--write", action="store_true", help="write OUTPUT/told_apart.tsv too")
    given = parser.parse_args(argv)
    logging.basicConfig(level=logging.ERROR, format="%(message)s")
    options = Options(
        given.band, given.components, tuple(given.window), tuple(given.seconds), given.high_pass or None,
        not given.as_decoded,
    )  # fmt: skip
    try:
        settings = EncodeSettings.from_yaml(given.config)
        found = table(settings, options)
    except GibletError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 2
    if given.write:
        settings.output.mkdir(parents=True, exist_ok=True)
        found.to_csv(settings.output / "told_apart.tsv", sep="\t", index=False, float_format="%.4f")
    print(found.to_string(index=False, float_format=lambda value: f"{value:.3f}"))
    print("\n" + ranges(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
