#!/usr/bin/env bash
# FFmpeg 8.1 (PyAV 18.1.0): in a gray film that is marked "limited range" white becomes RGB 235 and black 16.
#
# One would expect white to be 255 and black 0, as in a film with colour planes of the same marking. FFmpeg's scaler
# heeds the range of a frame for YUV only; every gray format counts as full range, whatever the frame says. So the same
# picture, with the same luma and the same mark, has 14 % less contrast where the file leaves out the two empty colour
# planes. (Monochrome AV1 gives gray frames as well; FFV1 is used here because it is lossless.)
#
# Seen with av 18.1.0, numpy 2.4.6:
#   gray, limited: luma 16 and 235, RGB 16 and 235; yuv420p, limited: luma 16 and 235, RGB 0 and 255
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet av==18.1.0 numpy==2.4.6
"$folder/venv/bin/python" - "$folder" <<'PY'
import sys
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import ColorRange

path = Path(sys.argv[1]) / "film.mkv"
limited = ColorRange.MPEG
found = []
for pixels in ("gray", "yuv420p"):
    with av.open(str(path), "w") as file:
        stream = file.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, pixels
        stream.codec_context.color_range = limited
        for number, luma in enumerate((16, 235)):  # black and white of the limited range
            frame = av.VideoFrame(64, 64, pixels)
            for plane, value in zip(frame.planes, (luma, 128, 128), strict=False):
                plane.update(bytes([value]) * plane.buffer_size)
            frame.pts, frame.color_range = number, limited
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    with av.open(str(path)) as file:
        frames = list(file.decode(video=0))
    assert [(frame.format.name, frame.color_range) for frame in frames] == [(pixels, limited)] * 2
    luma = [int(np.asarray(frame.planes[0])[0]) for frame in frames]
    rgb = [int(frame.to_ndarray(format="rgb24").mean()) for frame in frames]
    found.append(f"{pixels}, limited: luma {luma[0]} and {luma[1]}, RGB {rgb[0]} and {rgb[1]}")
print(*found, sep="; ")
assert found == [
    "gray, limited: luma 16 and 235, RGB 16 and 235",
    "yuv420p, limited: luma 16 and 235, RGB 0 and 255",
], "FFmpeg has changed"
PY
