#!/usr/bin/env bash
# pydub 0.25.1: set_frame_rate has no low-pass filter; a tone above the new limit comes back as another tone.
#
# One would expect a resampler to remove what the new rate cannot hold, as those of FFmpeg (which pydub uses to read and
# write), sox, scipy and librosa do. pydub interpolates linearly between the samples. A tone of 10 kHz at 44.1 kHz is a
# tone of 6 kHz at 16 kHz, only 1.5 dB softer; hiss and consonants fold down into the range of speech, where a
# recogniser or a spectrogram takes them for sound. Asking export() for the rate instead ("-ar") goes through FFmpeg.
#
# Seen with pydub 0.25.1, scipy 1.17.1, numpy 2.4.6 on Python 3.11; 10 kHz at RMS 0.354:
#   pydub: strongest at 6000 Hz, RMS 0.299; scipy: RMS 0.000
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pydub==0.25.1 scipy==1.17.1 numpy==2.4.6 'audioop-lts; python_version >= "3.13"'
"$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
from pydub import AudioSegment
from scipy.signal import resample_poly

old, new = 44100, 16000
tone = np.round(16384 * np.sin(2 * np.pi * 10000 * np.arange(old) / old)).astype(np.int16)
segment = AudioSegment(tone.tobytes(), frame_rate=old, sample_width=2, channels=1)
by_pydub = np.array(segment.set_frame_rate(new).get_array_of_samples()) / 32768
by_scipy = resample_poly(tone / 32768, 160, 441)
middle = slice(1000, -1000)  # without the edges
strongest = float(np.fft.rfftfreq(len(by_pydub), 1 / new)[np.abs(np.fft.rfft(by_pydub)).argmax()])
rms = {name: float(np.std(sound[middle])) for name, sound in (("pydub", by_pydub), ("scipy", by_scipy))}
print(f"pydub: strongest at {strongest:.0f} Hz, RMS {rms['pydub']:.3f}; scipy: RMS {rms['scipy']:.3f}")
assert rms["scipy"] < 0.001, "scipy has changed"
assert abs(strongest - 6000) < 2 and rms["pydub"] > 0.25, "pydub has changed how it resamples"
PY
