#!/usr/bin/env bash
# pymoten 0.1.3: motion energy comes a frame late, 42 ms at 24 frames/s, and half a frame where filters have an odd width.
#
# One would expect the answer to a flash in frame k to be centred on frame k. A filter of 16 frames (2/3 s at 24 frames/s)
# has its middle between two frames by the way that it is sampled (`linspace(0, 1, 16, endpoint=False)`, with the Gaussian
# at 0.5), and `dotdelay_frames` puts the window so that its peak falls on frame k + 1; a comment in `mk_3d_gabor` speaks
# of half a frame. Answers that are averaged over the volumes of a scan then belong to a time that much later.
#
# Seen with pymoten 0.1.3, numpy 2.4.6:
#   24 frames/s, filters of 16 frames: flash in frame 30, answer centred on 30.94, largest in 31
#   15 frames/s, filters of 10 frames: flash in frame 30, answer centred on 30.94, largest in 31
#   23 frames/s, filters of 15 frames: flash in frame 30, answer centred on 30.44, largest in 30
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pymoten==0.1.3 numpy==2.4.6
"$folder/venv/bin/python" -W ignore - <<'PY'
import moten
import numpy as np

for rate in (24, 15, 23):
    pyramid = moten.pyramids.MotionEnergyPyramid((24, 32), rate, spatial_frequencies=[2], temporal_frequencies=[2])
    film = np.zeros((60, 24, 32))
    film[30] = np.random.default_rng(0).random((24, 32))
    sine, cosine = pyramid.raw_project_stimulus(film, dtype="float64")
    energy = (sine**2 + cosine**2).sum(axis=1)
    centre, width = (energy * np.arange(60)).sum() / energy.sum(), pyramid.definition.filter_temporal_width
    print(
        f"{rate} frames/s, filters of {width} frames: flash in frame 30, answer centred on {centre:.2f}, "
        f"largest in {energy.argmax()}"
    )
    assert centre > 30.4, "pymoten has centred its filters"
PY
