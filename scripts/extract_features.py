"""``giblet extract`` under a name of its own, for those who submit Python scripts to a cluster: the same options.

python scripts/extract_features.py film.mp4 --tr 1.5 --n-trs 920 --out-dir features
python scripts/extract_features.py words.tsv --what text --settings words.yaml

Two more are of this script alone:

--what sound|video|text   what is extracted; --what video is --video, --what text is --text
--settings FILE           a YAML file of AudioSettings, VideoSettings or TextSettings; the options override it
"""

import argparse
import sys
from typing import Any

from giblet.cli import main
from giblet.cli.features import EXTRACTORS
from giblet.cli.shared import fail
from giblet.errors import GibletError

KINDS = {one.name: one for one in EXTRACTORS}


def run() -> None:
    """Hand the arguments to the command."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--what", choices=KINDS, default="sound")
    parser.add_argument("--settings")
    own, arguments = parser.parse_known_args()
    if "--help" in arguments:
        print(__doc__)
    what = next((name for name in KINDS if f"--{name}" in arguments), own.what)
    defaults: dict[str, Any] = {} if what == "sound" else {what: True}
    try:
        if own.settings is not None:
            defaults |= KINDS[what].options_of(KINDS[what].settings_type().from_yaml(own.settings))
    except GibletError as exc:
        sys.exit(fail(str(exc)))
    main(["extract", *arguments], defaults={"extract": defaults})


if __name__ == "__main__":
    run()
