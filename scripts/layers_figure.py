"""A figure of how well each layer of a language model predicts brains, of the tables that one_band_each.py writes.

python scripts/layers_figure.py runs/lebel_language/bands.tsv runs/alice_language/bands.tsv -o docs/language_layers.svg

Bands that are called layer_<k> are points; word_rate is a dashed line; other bands that end in a number, such as
permuted_16, are crosses.
"""

import argparse
import sys
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
import pandas as pd

CONTROLS = {"random": "random weights", "permuted": "words permuted", "by_word": "mean of each word"}


def drawn(axes: plt.Axes, found: pd.DataFrame, title: str) -> None:
    """One study: a line for the group, or for each subject."""
    if (found["who"] == "group").any():
        found = found[found["who"] == "group"]
    for colour, (who, own) in zip(("C0", "C1", "C2"), found.groupby("who"), strict=False):
        r = own.set_index("band")["r"]
        layers = r[r.index.str.fullmatch(r"layer_\d+")]
        axes.plot([int(name.removeprefix("layer_")) for name in layers.index], layers, "o-", color=colour, label=who)
        axes.axhline(r["word_rate"], color=colour, linestyle="--", linewidth=1, label=f"{who}, word rate")
        for marker, (kind, label) in zip("x+1", CONTROLS.items(), strict=True):
            points = r[r.index.str.fullmatch(rf"{kind}_\d+")]
            if len(points):
                places = [int(name.rpartition("_")[2]) for name in points.index]
                axes.plot(places, points, marker, color="0.4", label=label)
    axes.set(title=title, xlabel="layer", ylabel="mean r, held out")
    axes.axhline(0, color="0.8", linewidth=0.8, zorder=0)
    axes.legend(frameon=False, fontsize=8)


def main() -> int:
    """Draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", type=Path, nargs="+", help="bands.tsv of a study each")
    parser.add_argument("-o", "--out", type=Path, required=True, help="the figure, .svg")
    options = parser.parse_args()
    plt.rcParams["svg.hashsalt"] = "giblet"  # the same tables, the same file
    figure, axes = plt.subplots(1, len(options.tables), figsize=(4.5 * len(options.tables), 3.6), squeeze=False)
    for one, path in zip(axes[0], options.tables, strict=True):
        drawn(one, pd.read_csv(path, sep="\t", dtype={"who": str}), path.parent.name)
    figure.tight_layout()
    figure.savefig(options.out, metadata={"Date": None})
    return 0


if __name__ == "__main__":
    sys.exit(main())
