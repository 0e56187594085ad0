"""``giblet train`` under a name of its own, for those who submit Python scripts to a cluster: the same options.

python scripts/train.py configs/train/example.yaml
"""

import sys

from giblet.cli import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]])
