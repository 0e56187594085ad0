#!/usr/bin/env bash
# srt 3.5.3, webvtt-py 0.6.0: half a second written as "00:00:07,5" in SubRip is read as 7.005 s.
#
# A decimal comma with one digit behind it reads as tenths to people and to most parsers of numbers. Both libraries
# (and FFmpeg) take the digits behind the comma as a whole number of milliseconds, so that ",5" is 5 ms and ",50" 50 ms;
# in WebVTT, with a point, webvtt-py takes the same digits as a decimal fraction: 7.5 s. A file converted between the
# two by exchanging comma and point has other times. Four digits are a whole number of milliseconds as well: ",2500"
# after second 17 is 19.5 s.
#
# Seen with srt 3.5.3, webvtt-py 0.6.0:
#   SubRip 07,5: srt 7.005, webvtt-py 07.005; WebVTT 07.5: webvtt-py 07.500; SubRip 17,2500: srt 19.500
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet srt==3.5.3 webvtt-py==0.6.0
"$folder/venv/bin/python" <<'PY'
import io

import srt
import webvtt

cue = "1\n00:00:07,5 --> 00:00:09,000\nHello\n"
long = "1\n00:00:17,2500 --> 00:00:21,000\nHello\n"
subrip = webvtt.from_buffer(io.StringIO(cue), format="srt")[0].start
vtt = webvtt.from_buffer(io.StringIO("WEBVTT\n\n00:07.5 --> 00:09.000\nHello\n"))[0].start
seconds = [next(srt.parse(text)).start.total_seconds() for text in (cue, long)]
found = f"SubRip 07,5: srt {seconds[0]:.3f}, webvtt-py {subrip[-6:]}; WebVTT 07.5: webvtt-py {vtt[-6:]}"
found += f"; SubRip 17,2500: srt {seconds[1]:.3f}"
print(found)
assert found == (
    "SubRip 07,5: srt 7.005, webvtt-py 07.005; WebVTT 07.5: webvtt-py 07.500; SubRip 17,2500: srt 19.500"
), "the libraries have changed"
PY
