#!/usr/bin/env bash
# nilearn 0.14.1: signal.clean(detrend=True, sample_mask=...) fits the line after the censored volumes are cut out.
#
# One would think that a straight drift of 3 units per volume is gone after detrending, whichever volumes are censored.
# nilearn removes the censored volumes first, joins what is left, and fits a line over the joined rows. Where volumes in
# the middle are censored, a line in the scan's time is then a line with a step, and part of it stays: up to 15.9 units
# here, of a series that holds nothing but the line. Detrending is exact without censoring, and with the line passed as
# a confound over all volumes.
#
# Seen with nilearn 0.14.1, numpy 2.4.6:
#   nothing censored: 0.00; volumes 20 to 29 censored: 15.89; the line as a confound: 0.00
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet nilearn==0.14.1 numpy==2.4.6
"$folder/venv/bin/python" - <<'PY'
import numpy as np
from nilearn.signal import clean

volume = np.arange(60)
line = (1000.0 + 3 * volume)[:, None] * np.ones((1, 2))
kept = np.r_[0:20, 30:60]
about = {"standardize": None, "filter": False}
whole = np.abs(clean(line, detrend=True, **about)).max()
censored = np.abs(clean(line, detrend=True, sample_mask=kept, **about)).max()
confound = clean(line, detrend=False, sample_mask=kept, confounds=volume[:, None].astype(float), **about)
by_confound = np.abs(confound - confound.mean(axis=0)).max()
print(f"nothing censored: {whole:.2f}; volumes 20 to 29 censored: {censored:.2f}; the line as a confound: {by_confound:.2f}")
assert whole < 1e-6 and by_confound < 1e-6, "detrending is not exact where it was"
assert abs(censored - 15.89) < 0.01, "nilearn has changed what it does with censored volumes"
PY
