#!/usr/bin/env bash
# nilearn 0.14.1: rows of an events file whose condition is called "null" or "None" fall out of the design.
#
# One would expect a column for each condition of the file: "null" is a usual name for null events, and in BIDS only
# "n/a" stands for what is missing. nilearn reads the file with pandas' defaults, which take these names for missing
# values, and then adds up duplicated events by groups, which drops rows with a missing value. So the rows are gone, and
# the one warning speaks of duplicated events, which the file does not have. In the same way a row with "n/a" for its
# modulation (a rating that was not given) is left out altogether, without any warning, as if there had been no trial.
# A missing duration, in contrast, raises an error.
#
# Seen with nilearn 0.14.1, numpy 2.4.6, pandas 3.1.1:
#   conditions face, null, None: columns face, constant; warned: Duplicated events were detected
#   modulation 1, n/a, 1: area of the column 2.0 of 3 trials, nothing warned
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet nilearn==0.14.1 numpy==2.4.6 pandas==3.1.1
"$folder/venv/bin/python" - "$folder" <<'PY'
import sys
import warnings
from pathlib import Path

import numpy as np
from nilearn.glm.first_level import make_first_level_design_matrix

path = Path(sys.argv[1]) / "events.tsv"


def design(header, *rows):
    path.write_text("\n".join("\t".join(row.split()) for row in (header, *rows)) + "\n")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        matrix = make_first_level_design_matrix(np.arange(100.0), path, drift_model=None)
    return matrix, "; ".join(str(warning.message).split(".")[0] for warning in caught)


matrix, warned = design("onset duration trial_type", "10 1 face", "20 1 null", "40 1 None", "60 1 face")
columns = ", ".join(matrix.columns)
print(f"conditions face, null, None: columns {columns}; warned: {warned}")
rated, nothing = design("onset duration trial_type modulation", "10 1 face 1", "30 1 face n/a", "60 1 face 1")
area = float(rated["face"].sum())
print(f"modulation 1, n/a, 1: area of the column {area:.1f} of 3 trials, {nothing or 'nothing'} warned")
assert columns == "face, constant" and warned == "Duplicated events were detected", "nilearn has changed"
assert abs(area - 2) < 0.05 and not nothing, "nilearn has changed what it does with a missing modulation"
PY
