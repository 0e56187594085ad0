#!/usr/bin/env bash
# moviepy 2.2.1: where a film's sound begins 2 s after its picture, the sound is 2 s early, with silence behind it.
#
# One would expect picture and sound of one clip to be on one clock, as in every player: the flash and the beep of this
# film both come at 3.0 s. moviepy has FFmpeg decode the sound as raw samples, which carry no times, and takes the first
# one for 0 s; then it gives the sound the length of the film, so that even the durations agree.
#
# Seen with moviepy 2.2.1, av 18.1.0, numpy 2.4.6:
#   PyAV: flash at 3.00 s, beep at 3.00 s; moviepy: flash at 3.00 s, beep at 1.00 s, sound of 4.0 s in a film of 4.0 s
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet moviepy==2.2.1 av==18.1.0 numpy==2.4.6
"$folder/venv/bin/python" - "$folder" <<'PY'
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from moviepy import VideoFileClip

path = str(Path(sys.argv[1]) / "film.mkv")
rate, late = 16000, 2
times = np.arange(2 * rate) / rate  # the sound's own clock
beep = np.where((times >= 1) & (times < 1.1), 16000 * np.sin(2 * np.pi * 440 * times), 0).astype(np.int16)
with av.open(path, "w") as file:
    picture = file.add_stream("mpeg4", rate=25)
    picture.width, picture.height, picture.pix_fmt = 64, 64, "yuv420p"
    sound = file.add_stream("flac", rate=rate, layout="mono", format="s16")
    for number in range(100):
        light = np.full((64, 64, 3), 255 if number == 75 else 0, np.uint8)
        file.mux(picture.encode(av.VideoFrame.from_ndarray(light, format="rgb24")))
    file.mux(picture.encode())
    for start in range(0, len(beep), 4000):
        frame = av.AudioFrame.from_ndarray(beep[None, start : start + 4000], format="s16", layout="mono")
        frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), late * rate + start
        file.mux(sound.encode(frame))
    file.mux(sound.encode())

with av.open(path) as file:
    true_flash = next(frame.time for frame in file.decode(video=0) if frame.to_ndarray(format="gray").mean() > 100)
with av.open(path) as file:
    frames = [(frame.time, frame.to_ndarray().ravel()) for frame in file.decode(audio=0)]
begin, loud = next((time, np.abs(samples) > 3000) for time, samples in frames if np.abs(samples).max() > 3000)
true_beep = begin + int(loud.argmax()) / rate

with VideoFileClip(path) as clip:
    flash = next(time for time, image in clip.iter_frames(with_times=True) if image.mean() > 100)
    samples = np.abs(clip.audio.to_soundarray(fps=rate)[:, 0])
    lengths = f"sound of {len(samples) / rate:.1f} s in a film of {clip.duration:.1f} s"
heard = int((samples > 0.1).argmax()) / rate
print(
    f"PyAV: flash at {true_flash:.2f} s, beep at {true_beep:.2f} s; "
    f"moviepy: flash at {flash:.2f} s, beep at {heard:.2f} s, {lengths}"
)
assert abs(true_flash - 3) < 0.05 and abs(true_beep - 3) < 0.05, "the film is not what it should be"
assert abs(flash - 3) < 0.05 and abs(heard - 1) < 0.05, "moviepy has changed"
PY
