"""A scan of 91,282 grayordinates takes little more memory than itself, in one run or two, with bad rows left out."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from giblet.data.bold.brain_rows import CORTEX
from tests.brains import bold, write_cifti, write_gifti

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from Linux's /proc"),
]

N_ROWS = 91_282
READ = """
import json, sys
from pathlib import Path
from giblet.data.fmri import FMRIProcessor
def peak():
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024
before = peak()
found = FMRIProcessor(bad="mask").load(sys.argv[1:])
print(json.dumps({"size": found["bold"].nbytes, "peak": peak() - before, "shape": found["bold"].shape}))
"""


@pytest.mark.parametrize(
    ("kind", "runs", "n_trs"),
    [
        ("CIFTI", 1, 800),
        ("CIFTI, int16", 2, 800),
        ("GIFTI", 1, 500),
        pytest.param("GIFTI", 1, 800, marks=pytest.mark.long),
    ],
)
def test_reading_takes_less_than_one_and_a_half_times_the_scan(tmp_path, kind, runs, n_trs):
    from nibabel import cifti2

    half = N_ROWS // 2
    axis = cifti2.BrainModelAxis.from_surface(np.arange(half), half, "CortexLeft") + (
        cifti2.BrainModelAxis.from_surface(np.arange(half), half, "CortexRight")
    )
    assert set(axis.nvertices) == set(CORTEX.values())
    paths = []
    for run in range(runs):
        values = bold(n_trs // runs, run, N_ROWS)
        values[:, 17] = 900.0
        path = tmp_path / f"run-{run}{'_hemi-L_bold.func.gii' if kind == 'GIFTI' else '.dtseries.nii'}"
        if kind == "GIFTI":
            paths.append(write_gifti(path, values, 0.72, left=half))
        else:
            paths.append(write_cifti(path, values, 0.72, axis, int16="int16" in kind))
    done = subprocess.run([sys.executable, "-c", READ, *paths], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["shape"] == [n_trs, N_ROWS - 1]
    assert found["peak"] < 1.5 * found["size"], found["peak"] / found["size"]
