"""``giblet encode`` under a name of its own, for those who submit Python scripts to a cluster: the same options.

python scripts/encode.py configs/encode/alice.yaml
"""

import sys

from giblet.cli import main

if __name__ == "__main__":
    main(["encode", *sys.argv[1:]])
