#!/usr/bin/env bash
# FFmpeg 8.1 (PyAV 18.1.0): a big-endian WAV file (RIFX) is opened by its big-endian header, and its samples are noise.
#
# One would expect the sound, or an error. FFmpeg's WAV reader knows the letters RIFX and reads rate, channels and
# length in their byte order, but picks the little-endian decoder for the samples. So the length is right, no error or
# warning comes, and a sine at RMS 0.18 becomes noise at RMS 0.58, full level. libsndfile and scipy read the file right.
#
# Seen with av 18.1.0, soundfile 0.14.0, scipy 1.17.1, numpy 2.4.6:
#   PyAV: pcm_s16le, 16000 samples, RMS 0.582; libsndfile: 16000 samples, RMS 0.177; scipy: 16000 samples, RMS 0.177
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet av==18.1.0 soundfile==0.14.0 scipy==1.17.1 numpy==2.4.6
"$folder/venv/bin/python" - "$folder" <<'PY'
import sys
from pathlib import Path

import av
import numpy as np
import scipy.io.wavfile
import soundfile

path = Path(sys.argv[1]) / "big_endian.wav"
rate = 16000
sound = 0.25 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)
soundfile.write(path, sound, rate, subtype="PCM_16", endian="BIG")
assert path.read_bytes()[:4] == b"RIFX"


def seen(samples):
    return f"{len(samples)} samples, RMS {np.sqrt(np.mean((samples / 32768.0) ** 2)):.3f}"


with av.open(str(path)) as file:
    decoder = file.streams.audio[0].codec_context.name
    by_pyav = np.concatenate([frame.to_ndarray().ravel() for frame in file.decode(audio=0)])
by_libsndfile = soundfile.read(path, dtype="int16")[0]
by_scipy = scipy.io.wavfile.read(path)[1]
found = f"PyAV: {decoder}, {seen(by_pyav)}; libsndfile: {seen(by_libsndfile)}; scipy: {seen(by_scipy)}"
print(found)
assert seen(by_libsndfile) == seen(by_scipy) == "16000 samples, RMS 0.177", "libsndfile or scipy has changed"
assert (decoder, seen(by_pyav)) == ("pcm_s16le", "16000 samples, RMS 0.582"), "FFmpeg has changed"
PY
