#!/usr/bin/env bash
# scipy 1.17.1: the "iir" gammatone filters of low frequencies are unstable: their answer to an impulse grows for ever.
#
# One would expect a filter for each frequency below fs / 2, as documented, with poles at exp(-2 pi 1.019 ERB / fs).
# scipy.signal.gammatone returns one polynomial of order 8, whose four equal pairs of poles lie so near each other that
# rounding of the coefficients drives some out of the unit circle: at 24 kHz below some 75 Hz, at 48 kHz up to 200 Hz,
# which speech and music are full of. There is no warning. Four second-order sections of the same filter are exact.
#
# Seen with scipy 1.17.1, numpy 2.4.6:
#   24000 Hz, 1000 Hz: largest pole 0.9660, should be 0.9652; after half a second 7.1e-177, at the beginning 0.016
#   24000 Hz, 50 Hz: largest pole 1.0064, should be 0.9920; after half a second 5.6e+08, at the beginning 0.092
#   48000 Hz, 50 Hz: largest pole 1.0150, should be 0.9960; after half a second 9.4e+123, at the beginning 7.1e+06
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet scipy==1.17.1 numpy==2.4.6
"$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
from scipy import signal


def answer(fs, freq):
    b, a = signal.gammatone(freq, "iir", fs=fs)
    heard = np.abs(signal.lfilter(b, a, np.r_[1, np.zeros(fs // 2 - 1)]))
    return np.abs(np.roots(a)).max(), heard[-100:].max(), heard[:2400].max()


for fs, freq in ((24_000, 1000), (24_000, 50), (48_000, 50)):
    pole, late, early = answer(fs, freq)
    true = np.exp(-2 * np.pi * 1.019 * (24.7 + freq / 9.26449) / fs)
    print(
        f"{fs} Hz, {freq} Hz: largest pole {pole:.4f}, should be {true:.4f}; after half a second {late:.1e}, "
        f"at the beginning {early:.2g}"
    )
assert answer(24_000, 1000)[1] < 1e-100, "the filter of 1 kHz is unstable, too"
assert answer(24_000, 50)[1] > 1e6 and answer(48_000, 50)[1] > 1e100, "scipy has mended its filters"
PY
