"""What each band of an encoding configuration predicts by itself: the run of the configuration, once for each band.

python scripts/one_band_each.py configs/encode/alice_language.yaml

The results of each band go to a folder of its name in the configuration's output; one that is there already, of the
same settings and files, is not computed again. Printed, and written to output/bands.tsv, is the mean r of each subject,
and of the group where the configuration asks for it, with its p by region where there are at most ten.
"""

import argparse
import logging
import sys
from pathlib import Path

from giblet.encoding.settings import EncodeSettings
from giblet.errors import GibletError
from giblet.pipeline.encoding_bands import each_band


def main() -> int:
    """Print the table; 2 if the configuration cannot be run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, help="YAML file of giblet encode")
    parser.add_argument("--overwrite", action="store_true", help="replace results of other settings")
    options = parser.parse_args()
    logging.basicConfig(level=logging.ERROR, format="%(message)s")
    try:
        settings = EncodeSettings.from_yaml(options.config)
        found = each_band(settings, overwrite=options.overwrite)
    except GibletError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 2
    found.to_csv(settings.output / "bands.tsv", sep="\t", index=False, float_format="%.4f")
    told = found[found["who"] == "group"] if (found["who"] == "group").any() else found
    print(told.to_string(index=False, float_format=lambda value: f"{value:.3f}"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
