#!/usr/bin/env bash
# nibabel 5.4.2: converting a series between FreeSurfer's MGH and NIfTI makes a TR of 0.8 s into 800, or into 0.
#
# One would expect the conversion to carry the TR, as it carries voxel sizes and the affine. MGH files hold the TR in
# milliseconds. nibabel passes the number on as it is and sets the NIfTI's time unit to "unknown", so that a reader
# which takes unknown for seconds (as most do) has a TR of 800 s. In the other direction the TR is not carried at all:
# the MGH file has 0. Both happen within nibabel.save, without a word.
#
# Seen with nibabel 5.4.2, numpy 2.4.6:
#   MGH with 800 ms saved as NIfTI: TR 800.0, unit unknown; NIfTI with 0.8 s saved as MGH: TR 0.0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet nibabel==5.4.2 numpy==2.4.6
"$folder/venv/bin/python" - "$folder" <<'PY'
import sys
from pathlib import Path

import nibabel as nib
import numpy as np

folder = Path(sys.argv[1])
series = np.ones((4, 4, 4, 10), np.float32)

surfer = nib.MGHImage(series, np.diag([2, 2, 2, 1]))
surfer.header.set_zooms((2, 2, 2, 800))
nib.save(surfer, folder / "series.mgz")
nib.save(nib.load(folder / "series.mgz"), folder / "converted.nii")
nifti = nib.load(folder / "converted.nii").header
to_nifti = (float(nifti.get_zooms()[3]), nifti.get_xyzt_units()[1])

volumes = nib.Nifti1Image(series, np.diag([2, 2, 2, 1]))
volumes.header.set_zooms((2, 2, 2, 0.8))
volumes.header.set_xyzt_units("mm", "sec")
nib.save(volumes, folder / "series.nii")
nib.save(nib.load(folder / "series.nii"), folder / "converted.mgz")
to_mgh = float(nib.load(folder / "converted.mgz").header.get_zooms()[3])

print(
    f"MGH with 800 ms saved as NIfTI: TR {to_nifti[0]}, unit {to_nifti[1]}; NIfTI with 0.8 s saved as MGH: TR {to_mgh}"
)
assert to_nifti == (800.0, "unknown") and to_mgh == 0.0, "nibabel has changed"
PY
