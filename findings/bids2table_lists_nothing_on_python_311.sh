#!/usr/bin/env bash
# bids2table 2.3.0 on Python 3.11: no local dataset can be listed unless cloudpathlib is there, which it does not ask for.
#
# cloudpathlib is an extra of bids2table, for datasets in S3. Without it 2.3.0 puts a class of its own in the place of
# cloudpathlib's AnyPath, derived from pathlib.Path. Up to Python 3.11 pathlib.Path picks the class of the system it
# runs on only when it is made itself: a class derived from it has no _flavour, and making one is an AttributeError.
# From Python 3.12 on such a class is allowed. So a plain installation that asks for bids2table >= 2.3 fails on the
# oldest Python that it supports, at the first path, whatever the dataset. 2.3.1 lists it.
#
# Seen, on Python 3.11, a dataset of one scan:
#   bids2table 2.3.0: AttributeError: type object 'AnyPath' has no attribute '_flavour'
#   bids2table 2.3.1: 1 file listed
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir -p "$folder/data/sub-01/func"
echo '{"Name": "one scan", "BIDSVersion": "1.10.0"}' >"$folder/data/dataset_description.json"
touch "$folder/data/sub-01/func/sub-01_task-film_bold.nii.gz"
for version in 2.3.0 2.3.1; do
  python3.11 -m venv "$folder/$version"
  "$folder/$version/bin/pip" install --quiet "bids2table==$version"
  "$folder/$version/bin/python" - "$folder/data" <<'PY'
import sys
from importlib.metadata import version

import bids2table

try:
    found = f"{len(bids2table.index_dataset(sys.argv[1]))} file listed"
except AttributeError as exc:
    found = f"AttributeError: {exc}"
print(f"bids2table {version('bids2table')}: {found}")
old = version("bids2table") == "2.3.0"
assert found == ("AttributeError: type object 'AnyPath' has no attribute '_flavour'" if old else "1 file listed")
PY
done
