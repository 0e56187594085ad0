#!/usr/bin/env bash
# h5py 3.11 to 3.14: files of equal content that keep the order of what is in them differ by the second of writing.
#
# h5py writes no times by default (`track_times=False`), and one would expect equal content to give equal bytes. That
# holds for plain files. With track_order=True the file's root holds its times of access, change and birth. h5netcdf
# always asks for that order, as netCDF4 wants it, and xarray writes through h5netcdf. So a netCDF file of features that
# is written again has another check sum, and a data set under DataLad or with SHA-256 sidecars seems to have changed.
# The times are gone from h5py 3.15 on, which nothing in h5netcdf's requirements asks for.
#
# Seen, two files written 1.2 seconds apart:
#   h5py 3.14.0, h5netcdf 1.6.0: plain equal, ordered different, netCDF different
#   h5py 3.15.0, h5netcdf 1.6.0: plain equal, ordered equal, netCDF equal
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for version in 3.14.0 3.15.0; do
  python3 -m venv "$folder/$version"
  "$folder/$version/bin/pip" install --quiet "h5py==$version" h5netcdf==1.6.0 numpy==2.3.5
  "$folder/$version/bin/python" - <<'PY'
import io
import time

import h5netcdf
import h5py
import numpy as np


def by_h5py(**options):
    content = io.BytesIO()
    with h5py.File(content, "w", **options) as file:
        file.create_dataset("a", data=np.ones(3))
    return content.getvalue()


def by_h5netcdf():
    content = io.BytesIO()
    with h5netcdf.File(content, "w") as file:
        file.dimensions = {"x": 3}
        file.create_variable("a", ("x",), "f4")[:] = 1
    return content.getvalue()


ways = {"plain": by_h5py, "ordered": lambda: by_h5py(track_order=True), "netCDF": by_h5netcdf}
first = {name: write() for name, write in ways.items()}
time.sleep(1.2)
same = {name: first[name] == write() for name, write in ways.items()}
told = ", ".join(f"{name} {'equal' if one else 'different'}" for name, one in same.items())
print(f"h5py {h5py.__version__}, h5netcdf {h5netcdf.__version__}: {told}")
old = h5py.__version__ == "3.14.0"
assert same == {"plain": True, "ordered": not old, "netCDF": not old}
PY
done
