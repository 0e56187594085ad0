#!/usr/bin/env bash
# libsndfile 1.2.2 (soundfile 0.14.0): a Wave64 file of floats at 96 kHz, as FFmpeg writes it, is read as integers.
#
# One would expect the same sound from .w64 as from .wav, at any rate. Above 48 kHz, or with more than two channels,
# FFmpeg writes the extensible form of the header, whose sub-format says "float". libsndfile follows the sub-format in
# WAV, but in Sony's Wave64 it takes every extensible header for integers. The bits of the floats become samples: noise
# within -1 and 1, without a complaint. (FFmpeg 5.1 wrote this form for all floats, so its files at 48 kHz are
# read wrong as well. 64-bit floats raise an error.) FFmpeg reads the file right.
#
# Seen with soundfile 0.14.0 (libsndfile 1.2.2), av 18.1.0, numpy 2.4.6:
#   wav, 48000 Hz: libsndfile FLOAT, RMS 0.177, PyAV RMS 0.177
#   w64, 48000 Hz: libsndfile FLOAT, RMS 0.177, PyAV RMS 0.177
#   wav, 96000 Hz: libsndfile FLOAT, RMS 0.177, PyAV RMS 0.177
#   w64, 96000 Hz: libsndfile PCM_32, RMS 0.500, PyAV RMS 0.177
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet soundfile==0.14.0 av==18.1.0 numpy==2.4.6
"$folder/venv/bin/python" - "$folder" <<'PY'
import sys
from pathlib import Path

import av
import numpy as np
import soundfile


def write(path, rate):
    sound = (0.25 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)).astype(np.float32)
    with av.open(str(path), "w") as file:
        stream = file.add_stream("pcm_f32le", rate=rate, layout="stereo")
        frame = av.AudioFrame.from_ndarray(np.repeat(sound, 2)[None], format="flt", layout="stereo")
        frame.sample_rate, frame.pts = rate, 0
        file.mux(stream.encode(frame))
        file.mux(stream.encode())


def rms(samples):
    return f"RMS {np.sqrt(np.mean(samples**2)):.3f}"


right = "libsndfile FLOAT, RMS 0.177, PyAV RMS 0.177"
expected = {("wav", 48000): right, ("w64", 48000): right, ("wav", 96000): right}
expected["w64", 96000] = "libsndfile PCM_32, RMS 0.500, PyAV RMS 0.177"
found = {}
for kind, rate in expected:
    path = Path(sys.argv[1]) / f"sound.{kind}"
    write(path, rate)
    with av.open(str(path)) as file:
        by_pyav = np.concatenate([frame.to_ndarray().ravel() for frame in file.decode(audio=0)])
    by_libsndfile = f"libsndfile {soundfile.info(path).subtype}, {rms(soundfile.read(path)[0])}"
    found[kind, rate] = f"{by_libsndfile}, PyAV {rms(by_pyav)}"
    print(f"{kind}, {rate} Hz: {found[kind, rate]}")
assert found == expected, "libsndfile or FFmpeg has changed"
PY
