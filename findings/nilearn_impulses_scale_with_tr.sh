#!/usr/bin/env bash
# nilearn 0.14.1: the effect size of events of duration 0 depends on the TR: twice the TR, half the effect.
#
# One would expect one number for one response, as for events that last: the response in the data is the same, only
# sampled more or less often. nilearn makes an impulse (a duration of 0, as BIDS allows) as wide as one step of its fine
# grid, which is a fiftieth of the TR, and does not divide by that width. So a response that peaks at 1 has an effect of
# 475, 238 or 118 at a TR of 0.5, 1 or 2 s, and effects from runs or sites with different TRs cannot be averaged or
# compared. Events of 1 s have the same effect at each TR. The warning about a "null duration" speaks of no scale.
#
# Seen with nilearn 0.14.1, nibabel 5.4.2, numpy 2.4.6, pandas 3.1.1:
#   TR 0.5 s: duration 0 gives 474.8, duration 1 s 4.7
#   TR 1.0 s: duration 0 gives 237.7, duration 1 s 4.7
#   TR 2.0 s: duration 0 gives 118.5, duration 1 s 4.7
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet nilearn==0.14.1 nibabel==5.4.2 numpy==2.4.6 pandas==3.1.1
"$folder/venv/bin/python" -W ignore - <<'PY'
import nibabel as nib
import numpy as np
import pandas as pd
from nilearn.glm.first_level import FirstLevelModel, spm_hrf

onsets = np.arange(10, 270, 17.3)
step = 0.01
impulses = np.zeros(round(300 / step))
impulses[np.round(onsets / step).astype(int)] = 1
response = spm_hrf(1, oversampling=round(1 / step))
true_signal = np.convolve(impulses, response / response.max())[: len(impulses)]  # each response peaks at 1
affine, mask = np.eye(4), nib.Nifti1Image(np.ones((2, 2, 2), np.uint8), np.eye(4))


def effect(t_r, duration):
    times = np.round(np.arange(0, 300, t_r) / step).astype(int)
    noise = np.random.default_rng(0).normal(0, 0.01, len(times))
    series = np.tile((100 + true_signal[times] + noise).astype(np.float32), (2, 2, 2, 1))
    events = pd.DataFrame({"onset": onsets, "duration": duration, "trial_type": "flash"})
    about = {"hrf_model": "spm", "drift_model": None, "noise_model": "ols", "signal_scaling": False}
    model = FirstLevelModel(t_r=t_r, mask_img=mask, **about).fit(nib.Nifti1Image(series, affine), events)
    return float(model.compute_contrast("flash", output_type="effect_size").get_fdata().mean())


found = {t_r: (effect(t_r, 0.0), effect(t_r, 1.0)) for t_r in (0.5, 1.0, 2.0)}
for t_r, (impulse, second) in found.items():
    print(f"TR {t_r} s: duration 0 gives {impulse:.1f}, duration 1 s {second:.1f}")
assert all(abs(second - 4.67) < 0.03 for _, second in found.values()), "events of 1 s depend on the TR, too"
assert abs(found[0.5][0] / found[1.0][0] - 2) < 0.02, "nilearn has changed the size of impulses"
assert abs(found[1.0][0] / found[2.0][0] - 2) < 0.02, "nilearn has changed the size of impulses"
PY
