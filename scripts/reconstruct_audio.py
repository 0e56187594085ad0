"""Decode sound from a brain, as ``giblet reconstruct`` does, for those who submit Python scripts to a cluster.

python scripts/reconstruct_audio.py runs/example --split test
"""

import argparse
import sys

from giblet.errors import GibletError
from giblet.pipeline.reconstruct import reconstruct


def main() -> int:
    """Reconstruct what the arguments name; 2 if it cannot be done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="folder of a training run")
    parser.add_argument("--bold", nargs="+", help="scans to decode instead, one a run of the split")
    parser.add_argument("--confounds", nargs="+", help="confounds of these scans, one a scan")
    parser.add_argument("--split", default="test", help="test, val or train")
    parser.add_argument("--lesion", help="mask image, .npy of bool, or regions as a,b")
    parser.add_argument("--out-dir", help="default: reconstruction, in the run")
    parser.add_argument("--subject", help="which one, if the run has several")
    parser.add_argument("--original", help="film that the features are of, to compare sound with")
    parser.add_argument("--texts", help="texts of which the nearest to what is decoded are named")
    parser.add_argument("--codec", help="where the run's codec is now, if it has moved")
    parser.add_argument("--data", help="folder where the run's data are now, if they have moved")
    parser.add_argument("--overwrite", action="store_true", help="replace a result of other options")
    options = vars(parser.parse_args())
    try:
        result = reconstruct(options.pop("run"), options.pop("bold"), **options)
    except GibletError as exc:
        print(exc, file=sys.stderr)
        return 2
    print(result.scorecard.table())
    for note in result.scorecard.notes:
        print(note, file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
