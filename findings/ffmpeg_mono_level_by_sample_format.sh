#!/usr/bin/env bash
# FFmpeg 8.1 (PyAV 18.1.0): how loud a mix of channels comes out depends on the sample format that is asked for.
#
# One would expect the same sound in s16 and in floats, but for rounding. Where floats are asked for, FFmpeg mixes by
# the weights that are usual for surround sound, whose sum is more than 1; for integers it scales these weights down
# until nothing can clip, whatever the format of the source. So stereo comes out 3.0 dB softer in s16 than in floats,
# and 5.1 by 10.7 dB: a film's levels, and all features that depend on them, change by an argument that seems to be
# about storage only. For stereo, integers give the mean of both channels; in floats, equal channels become 1.41 times
# as loud as each was.
#
# Seen with av 18.1.0, numpy 2.4.6; each channel alone at 0.5, mixed to one channel:
#   stereo: s16 0.250 0.250, flt 0.354 0.354, 3.0 dB apart
#   5.1: s16 0.104 0.104 0.146 0.000 0.073 0.073, flt 0.354 0.354 0.500 0.000 0.250 0.250, 10.7 dB apart
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet av==18.1.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PY'
import av
import numpy as np

rate = 48000
tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)


def mono_peaks(layout, channels, sample_format, full_scale):
    peaks = []
    for channel in range(channels):
        samples = np.zeros((channels, rate), np.float32)
        samples[channel] = tone
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout=layout)
        frame.sample_rate, frame.pts = rate, 0
        resampler = av.AudioResampler(format=sample_format, layout="mono", rate=rate)
        mixed = np.concatenate([part.to_ndarray().ravel() for part in resampler.resample(frame)])
        peaks.append(np.abs(mixed / full_scale).max())
    return np.array(peaks)


gaps = {}
for layout, channels in (("stereo", 2), ("5.1", 6)):
    integers = mono_peaks(layout, channels, "s16", 32768.0)
    floats = mono_peaks(layout, channels, "flt", 1.0)
    gaps[layout] = 20 * np.log10(floats[0] / integers[0])
    shown = [" ".join(f"{peak:.3f}" for peak in peaks) for peaks in (integers, floats)]
    print(f"{layout}: s16 {shown[0]}, flt {shown[1]}, {gaps[layout]:.1f} dB apart")
assert abs(gaps["stereo"] - 3.01) < 0.02 and abs(gaps["5.1"] - 10.66) < 0.02, "FFmpeg has changed how it mixes"
PY
