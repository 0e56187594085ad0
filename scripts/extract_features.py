"""Extract feature files from films, as ``giblet extract`` does, for those who submit Python scripts to a cluster.

python scripts/extract_features.py film.mp4 --tr 1.5 --n-trs 920 --out-dir features
python scripts/extract_features.py words.tsv --what text --settings words.yaml
"""

import argparse
import sys

from giblet.data.audio import AudioSettings
from giblet.data.text import TextSettings
from giblet.data.video import VideoSettings
from giblet.errors import GibletError
from giblet.pipeline import extract_many

SETTINGS = {"sound": AudioSettings, "video": VideoSettings, "text": TextSettings}


def main() -> int:
    """Extract what the arguments name; 2 if any film failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("films", nargs="+", help="films or sound files; tables or subtitles for text")
    parser.add_argument("--what", choices=SETTINGS, default="sound", help="what is extracted, and so what settings are")
    parser.add_argument("--settings", help="a YAML file of extraction settings; the options below override it")
    parser.add_argument("--tr", type=float, help="repetition time, s")
    parser.add_argument("--n-trs", type=int, help="volumes of the scan")
    parser.add_argument("--codec", help="bundled, a folder, or a hub name")
    parser.add_argument("--out-dir", default=".", help="folder for the feature files")
    parser.add_argument("--overwrite", action="store_true", help="extract again, and replace other features")
    options = parser.parse_args()
    given = {name: value for name in ("tr", "n_trs", "codec") if (value := getattr(options, name)) is not None}
    failed = False
    try:
        kind = SETTINGS[options.what]
        base = kind.from_yaml(options.settings) if options.settings else kind.make()
        settings = kind.make(**{**base.model_dump(), **given})
        for result in extract_many(options.films, settings, options.out_dir, overwrite=options.overwrite):
            failed |= result.error is not None
            print(result.error or f"{result.path}: {result.status}", file=sys.stderr if result.error else sys.stdout)
    except GibletError as exc:
        print(exc, file=sys.stderr)
        return 2
    return 2 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
