"""Train the multimodal autoencoder, as ``giblet train`` does, for those who submit Python scripts to a cluster.

python scripts/train.py configs/train/example.yaml
"""

import argparse
import sys

from giblet.errors import GibletError
from giblet.pipeline.training import train


def main() -> int:
    """Train what the configuration says; 2 if it cannot be used, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="a YAML file of training settings")
    options = parser.parse_args()
    try:
        result = train(options.config)
    except GibletError as exc:
        print(exc, file=sys.stderr)
        return 2
    except KeyboardInterrupt as exc:
        print(f"{exc or 'stopped'}; the same command goes on from the last saved state", file=sys.stderr)
        return 130
    if result.rank == 0:
        print(f"{result.folder}: {result.status} after {result.step} steps, best validation {result.best_val:.4f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
