#!/usr/bin/env bash
# nibabel 5.4.2: a NIfTI header whose scale factor is infinite is read as an image without scaling, without a word.
#
# One would expect an error, or infinities in the data. nibabel treats a slope that is not finite like one of 0, which
# NIfTI defines as "do not scale". So int16 numbers that a broken writer meant to be scaled come back raw: 7 where no
# finite value can be right. A slope of NaN is treated alike; an intercept that is not finite raises.
#
# Seen with nibabel 5.4.2, numpy 2.4.6:
#   slope inf: read as slope 1.0, value 7.0; slope nan: read as slope 1.0, value 7.0; intercept inf: HeaderDataError
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet nibabel==5.4.2 numpy==2.4.6
"$folder/venv/bin/python" - "$folder" <<'PY'
import struct
import sys
from pathlib import Path

import nibabel as nib
import numpy as np

path = Path(sys.argv[1]) / "slope.nii"


def seen(slope, intercept):
    nib.save(nib.Nifti1Image(np.full((2, 2, 2), 7, np.int16), np.eye(4)), path)
    content = bytearray(path.read_bytes())
    content[112:120] = struct.pack("<ff", slope, intercept)  # scl_slope and scl_inter
    path.write_bytes(content)
    try:
        image = nib.load(path)
        return f"read as slope {image.dataobj.slope}, value {image.get_fdata()[0, 0, 0]}"
    except Exception as exc:
        return type(exc).__name__


raw = "read as slope 1.0, value 7.0"
found = f"slope inf: {seen(np.inf, 0)}; slope nan: {seen(np.nan, 0)}; intercept inf: {seen(1, np.inf)}"
print(found)
assert found == f"slope inf: {raw}; slope nan: {raw}; intercept inf: HeaderDataError", "nibabel has changed"
PY
