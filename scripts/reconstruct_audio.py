"""``giblet reconstruct`` under a name of its own, for those who submit Python scripts to a cluster: the same options.

python scripts/reconstruct_audio.py runs/example --split test
"""

import sys

from giblet.cli import main

if __name__ == "__main__":
    main(["reconstruct", *sys.argv[1:]])
