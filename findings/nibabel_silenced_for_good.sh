#!/usr/bin/env bash
# nibabel 5.4.2: imageglobals.LoggingOutputSuppressor is meant to silence nibabel for one block; it silences it for good.
#
# The context manager takes the handlers from nibabel's logger on entry and gives back on exit what it remembers. What it
# remembers is the logger's own list, which is empty by then. So after the block the logger has no handler left, and
# later complaints about headers are not printed as they were before.
#
# Seen with nibabel 5.4.2: handlers before the block: 1, in it: 0, after it: 0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet nibabel==5.4.2 numpy==2.4.6
"$folder/venv/bin/python" - <<'PY'
from nibabel import imageglobals

before = len(imageglobals.logger.handlers)
with imageglobals.LoggingOutputSuppressor():
    within = len(imageglobals.logger.handlers)
after = len(imageglobals.logger.handlers)
print(f"handlers before the block: {before}, in it: {within}, after it: {after}")
assert (before, within, after) == (1, 0, 0), "nibabel has changed"
PY
