#!/usr/bin/env bash
# bids-validator-deno 3.0.2: in a derivative, BOLD without a TR and a recording without rate or start are valid.
#
# One would expect that what BIDS requires of a file does not hang on the folder that it is in: without SamplingFrequency
# and StartTime the rows of a _stim.tsv.gz lie nowhere in time, and it has no header from which to guess. In raw data
# the validator reports each as an error (SIDECAR_KEY_REQUIRED, exit status 16). With DatasetType "derivative" and not
# one other byte changed it reports no error about them, nor a warning, and exits with 0. So a derivative that passes may
# still hold series that cannot be laid on any clock: readers have to ask for these keys themselves.
#
# Seen with bids-validator-deno 3.0.2 (schema 1.2.7), deno 2.9.8:
#   raw: missing RepetitionTime, SamplingFrequency, StartTime, VolumeTiming; exit status 16
#   derivative: missing nothing; exit status 0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet bids-validator-deno==3.0.2 deno==2.9.8 nibabel==5.4.2 numpy==2.4.6
"$folder/venv/bin/python" - "$folder" <<'PY'
import gzip
import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np

folder = Path(sys.argv[1])
found = {}
for kind in ("raw", "derivative"):
    root = folder / kind
    func = root / "sub-01" / "func"
    func.mkdir(parents=True)
    about = {"Name": "a", "BIDSVersion": "1.10.0", "DatasetType": kind, "GeneratedBy": [{"Name": "b"}]}
    (root / "dataset_description.json").write_text(json.dumps(about))
    bold = nib.Nifti1Image(np.zeros((2, 2, 2, 4), np.float32), np.eye(4))
    bold.header.set_zooms((1, 1, 1, 1.5))
    bold.header.set_xyzt_units("mm", "sec")
    nib.save(bold, func / "sub-01_task-film_bold.nii.gz")
    (func / "sub-01_task-film_bold.json").write_text(json.dumps({"TaskName": "film", "SkullStripped": False}))
    (func / "sub-01_task-film_stim.tsv.gz").write_bytes(gzip.compress(b"1\n2\n3\n"))
    (func / "sub-01_task-film_stim.json").write_text(json.dumps({"Columns": ["loudness"]}))
    command = [folder / "venv" / "bin" / "bids-validator-deno", "--format", "json", root]
    done = subprocess.run(command, capture_output=True, text=True)
    issues = json.loads(done.stdout)["issues"]["issues"]
    clock = ("RepetitionTime", "SamplingFrequency", "StartTime", "VolumeTiming")
    found[kind] = sorted({one["subCode"] for one in issues if one.get("subCode") in clock}), done.returncode
    print(f"{kind}: missing {', '.join(found[kind][0]) or 'nothing'}; exit status {found[kind][1]}")
assert found["raw"] == (["RepetitionTime", "SamplingFrequency", "StartTime", "VolumeTiming"], 16), "other raw rules"
assert found["derivative"] == ([], 0), "the validator has changed: derivatives need a clock"
PY
