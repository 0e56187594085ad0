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
from pathlib import Path

import pandas as pd

from giblet.cli.shared import in_options
from giblet.encoding.settings import EncodeSettings
from giblet.errors import GibletError
from giblet.pipeline.passages import SECONDS, PassageOptions, tell_apart
from giblet.statistics.rotations import HIGH_PASS

CALLED = {"band": "--band", "n_components": "--components"}
"""What errors call options of :class:`giblet.pipeline.passages.PassageOptions`, and what they are called here."""


def ranges(found: pd.DataFrame) -> str:
    """Of each subject and length, the least and the greatest share over the runs.

    Parameters
    ----------
    found : pandas.DataFrame
        As :func:`giblet.pipeline.passages.tell_apart` gives it.

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
    parser.add_argument("--components", type=int, default=PassageOptions.n_components, help="of the band (50)")
    parser.add_argument(
        "--window", type=float, nargs=2, default=PassageOptions.window, metavar=("FROM", "TO"),
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
    options = PassageOptions(
        given.band, given.components, tuple(given.window), tuple(given.seconds), given.high_pass or None,
        not given.as_decoded,
    )  # fmt: skip
    try:
        settings = EncodeSettings.from_yaml(given.config)
        found = tell_apart(settings, options)
    except GibletError as exc:
        print(f"error: {in_options(str(exc), CALLED)}", file=sys.stderr)
        return 2
    if given.write:
        settings.output.mkdir(parents=True, exist_ok=True)
        found.to_csv(settings.output / "told_apart.tsv", sep="\t", index=False, float_format="%.4f")
    print(found.to_string(index=False, float_format=lambda value: f"{value:.3f}"))
    print("\n" + ranges(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
