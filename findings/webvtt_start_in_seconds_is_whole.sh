#!/usr/bin/env bash
# webvtt-py 0.6.0: Caption.start_in_seconds and end_in_seconds are whole seconds; the fraction is dropped, not rounded.
#
# The name promises the start in seconds, and the text in Caption.start has milliseconds. Regressors made from the
# number place every word up to a second early, half a second on average; a cue of 0.8 s can have no length at all.
# The milliseconds are in Caption.start_time.
#
# Seen with webvtt-py 0.6.0:
#   00:00:07.100 --> 00:00:07.900: start_in_seconds 7 (int), end_in_seconds 7 (int)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet webvtt-py==0.6.0
"$folder/venv/bin/python" <<'PY'
import io

import webvtt

caption = webvtt.from_buffer(io.StringIO("WEBVTT\n\n00:00:07.100 --> 00:00:07.900\nHello\n"))[0]
start, end = caption.start_in_seconds, caption.end_in_seconds
found = f"{caption.start} --> {caption.end}: start_in_seconds {start} ({type(start).__name__}), "
found += f"end_in_seconds {end} ({type(end).__name__})"
print(found)
assert found.endswith("start_in_seconds 7 (int), end_in_seconds 7 (int)"), "webvtt-py has changed"
PY
