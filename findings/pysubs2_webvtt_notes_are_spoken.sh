#!/usr/bin/env bash
# pysubs2 1.8.1: a NOTE block of WebVTT, a comment by the standard, becomes words of the subtitle before it.
#
# A transcript with a comment between two cues ("NOTE room is noisy here") is read without a word of warning, and the
# comment stands in the text of the first cue: a count of spoken words, or a vector of the sentence, then holds what nobody
# said, at a second at which somebody else spoke. webvtt-py 0.6.0 leaves the comment out.
#
# Seen with pysubs2 1.8.1, webvtt-py 0.6.0:
#   pysubs2: ['Hello. NOTE room is noisy here', 'World.']; webvtt-py: ['Hello.', 'World.']
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pysubs2==1.8.1 webvtt-py==0.6.0
"$folder/venv/bin/python" <<'PY'
import io

import pysubs2
import webvtt

text = (
    "WEBVTT\n\n00:00:01.000 --> 00:00:02.000\nHello.\n\nNOTE\nroom is noisy here\n\n"
    "00:00:03.000 --> 00:00:04.000\nWorld.\n"
)
by_pysubs2 = [" ".join(event.plaintext.split()) for event in pysubs2.SSAFile.from_string(text, format_="vtt")]
by_webvtt = [cue.text for cue in webvtt.from_buffer(io.StringIO(text))]
print(f"pysubs2: {by_pysubs2}; webvtt-py: {by_webvtt}")
assert by_pysubs2 == ["Hello. NOTE room is noisy here", "World."], "pysubs2 has changed"
assert by_webvtt == ["Hello.", "World."], "webvtt-py has changed"
PY
