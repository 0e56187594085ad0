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
from giblet.cli.shared import fail
from giblet.config import Settings
from giblet.data.audio import AudioSettings
from giblet.data.text import TextSettings
from giblet.data.video import VideoSettings
from giblet.errors import GibletError

KINDS: dict[str, type[Settings]] = {"sound": AudioSettings, "video": VideoSettings, "text": TextSettings}
CALLED = {
    "sound": {"use_encodec": "mel"},
    "video": {"size": "video_size", "model": "image_model"},
    "text": {"model": "text_model"},
}
"""Settings that options of the command call by another name."""


def as_options(what: str, settings: Settings) -> dict[str, Any]:
    """What a file of settings says, by the names and in the words of the command's options."""
    options = {}
    for name in settings.model_fields_set:
        value = getattr(settings, name)
        if name == "use_encodec":
            value = not value
        elif name == "size":
            value = "x".join(map(str, value))
        elif name == "model" and what == "text" and value is None:
            value = "none"
        options[CALLED[what].get(name, name)] = value
    return options


def run() -> None:
    """Hand the arguments to the command."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--what", choices=KINDS, default="sound")
    parser.add_argument("--settings")
    own, arguments = parser.parse_known_args()
    if "--help" in arguments:
        print(__doc__)
    what = next((name for name in ("video", "text") if f"--{name}" in arguments), own.what)
    defaults: dict[str, Any] = {} if what == "sound" else {what: True}
    try:
        if own.settings is not None:
            defaults |= as_options(what, KINDS[what].from_yaml(own.settings))
    except GibletError as exc:
        sys.exit(fail(str(exc)))
    main(["extract", *arguments], defaults={"extract": defaults})


if __name__ == "__main__":
    run()
