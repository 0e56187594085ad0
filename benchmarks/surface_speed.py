"""Scans of the cortical surface beside NIfTI of as many voxels: seconds and memory of reading, and of `giblet encode`.

    python benchmarks/surface_speed.py read --volumes 1200      one run of 91,282 rows: peak over its own size
    python benchmarks/surface_speed.py encode --volumes 300     `giblet encode`, end to end

The brain has the layout of fsLR-91k: two surfaces of 32,492 vertices without their medial walls, and 31,870 voxels; the
GIFTI pair has 45,641 vertices per hemisphere. All hold the same float32 numbers. Each contender is a process of its
own, and they take turns; both the time of the clock and that of the processor, which neighbours disturb less, are
printed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import nibabel as nib
import numpy as np
import yaml
from nibabel import cifti2, gifti

TR, N_ROWS, N_CORTEX, N_SURFACE = 0.72, 91_282, 29_706, 32_492
SHAPE, AFFINE = (91, 109, 91), np.array([[-2.0, 0, 0, 90], [0, 2, 0, -126], [0, 0, 2, -72], [0, 0, 0, 1]])
KINDS = ("NIfTI", "CIFTI", "GIFTI")


def rows_91k() -> cifti2.BrainModelAxis:
    """Cortex without a wall in each hemisphere, and a box of voxels below it."""
    vertex = np.r_[np.arange(10_000), np.arange(N_SURFACE - N_CORTEX + 10_000, N_SURFACE)]
    inside = np.zeros(SHAPE, bool)
    inside[25:66, 30:71, 20:39] = True
    flat = np.flatnonzero(inside)
    inside.ravel()[flat[N_ROWS - 2 * N_CORTEX :]] = False
    cortex = [cifti2.BrainModelAxis.from_surface(vertex, N_SURFACE, f"Cortex{side}") for side in ("Left", "Right")]
    return cortex[0] + cortex[1] + cifti2.BrainModelAxis.from_mask(inside, "ThalamusLeft", affine=AFFINE)


def volumes_of(n_trs: int, folder: Path) -> np.ndarray:
    """Numbers of a scan on disk, so that this process does not hold them."""
    values = np.lib.format.open_memmap(folder / "values.npy", "w+", np.float32, (n_trs, N_ROWS))
    rng = np.random.default_rng(0)
    for start in range(0, n_trs, 50):
        part = values[start : start + 50]
        part[:] = 1000 + 20 * rng.standard_normal(part.shape, np.float32)
    return values


def write_brains(n_trs: int, folder: Path) -> None:
    """The same scan three times."""
    values = volumes_of(n_trs, folder)
    image = cifti2.Cifti2Image(values, (cifti2.SeriesAxis(0, TR, n_trs), rows_91k()), dtype=np.float32)
    image.update_headers()
    image.to_filename(folder / "CIFTI_bold.dtseries.nii")
    for side, own in (("L", slice(0, N_ROWS // 2)), ("R", slice(N_ROWS // 2, N_ROWS))):
        meta = gifti.GiftiMetaData(TimeStep=f"{1000 * TR:.3f}")
        arrays = [gifti.GiftiDataArray(row[own].copy(), intent="NIFTI_INTENT_TIME_SERIES", meta=meta) for row in values]
        gifti.GiftiImage(darrays=arrays).to_filename(folder / f"GIFTI_hemi-{side}_bold.func.gii")
    side = 46
    data = np.lib.format.open_memmap(folder / "box.npy", "w+", np.float32, (side, side, 44, n_trs), fortran_order=True)
    for k, row in enumerate(values):
        volume = np.zeros(side * side * 44, np.float32)
        volume[:N_ROWS] = row
        data[..., k] = volume.reshape(side, side, 44)
    box = nib.Nifti1Image(data, np.diag([2.0, 2.0, 2.0, 1.0]))
    box.header.set_zooms((2, 2, 2, TR))
    box.header.set_xyzt_units("mm", "sec")
    box.to_filename(folder / "NIfTI_bold.nii")
    mask = np.zeros(side * side * 44, np.uint8)
    mask[:N_ROWS] = 1
    nib.Nifti1Image(mask.reshape(side, side, 44), box.affine).to_filename(folder / "mask.nii")
    for name in ("values.npy", "box.npy"):
        (folder / name).unlink()


def bold_of(kind: str, folder: Path) -> tuple[str, str | None]:
    """Scan and mask of a contender."""
    name = {"NIfTI": "NIfTI_bold.nii", "CIFTI": "CIFTI_bold.dtseries.nii", "GIFTI": "GIFTI_hemi-L_bold.func.gii"}[kind]
    return str(folder / name), str(folder / "mask.nii") if kind == "NIfTI" else None


def read(kind: str, folder: Path) -> dict[str, float]:
    """Read a scan: seconds, and the peak of memory over what imports took, in sizes of the scan."""
    from giblet.data.fmri import FMRIProcessor

    path, mask = bold_of(kind, folder)
    before, began, busy = _peak(), time.perf_counter(), time.process_time()
    bold = FMRIProcessor(mask).load(path)
    took = time.perf_counter() - began, time.process_time() - busy
    return {"seconds": took[0], "cpu_seconds": took[1], "sizes": (_peak() - before) / bold["bold"].nbytes}


def encode(kind: str, folder: Path) -> dict[str, float]:
    """`giblet encode` of one subject and two bands, by its command."""
    from giblet.cli.shared import main

    path, mask = bold_of(kind, folder)
    output = folder / f"out-{kind}-{os.getpid()}"
    subject = {"name": "01", "mask": mask, "runs": [{"bold": path, "features": {"sound": str(folder / "sound.npy")}}]}
    config = {
        "data": {"subjects": [subject]}, "output": str(output), "tr": TR, "weights": False,
        "bands": {"sound": {"of": "sound"}},
    }  # fmt: skip
    file = folder / f"{kind}.yaml"
    file.write_text(yaml.safe_dump(config))
    sys.argv = ["giblet", "encode", str(file)]
    began, busy = time.perf_counter(), time.process_time()
    try:
        main()
    except SystemExit as left:
        assert not left.code, f"giblet encode ended with {left.code}"
    return {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - busy, "GiB": _peak() / 2**30}


def _peak() -> int:
    """Bytes; from /proc, as getrusage counts what the process held before it became this program."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def main() -> None:
    """Take turns, print medians and ratios to NIfTI."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["read", "encode"])
    parser.add_argument("--volumes", type=int, default=300)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=None, help="for the scans; by default a temporary one")
    parser.add_argument("--one", choices=KINDS, default=None, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print("\n" + json.dumps({"read": read, "encode": encode}[asked.part](asked.one, asked.folder)))
        return
    with tempfile.TemporaryDirectory(dir=asked.folder) as made:
        folder = Path(made)
        write_brains(asked.volumes, folder)
        np.save(folder / "sound.npy", np.random.default_rng(1).standard_normal((asked.volumes, 40)).astype(np.float32))
        found: dict[str, list[dict[str, float]]] = {kind: [] for kind in KINDS}
        for _ in range(asked.turns):
            for kind in KINDS:
                command = [sys.executable, __file__, asked.part, "--one", kind, "--folder", str(folder)]
                out = subprocess.run(command, capture_output=True, text=True)
                if out.returncode:
                    sys.exit(out.stderr)
                found[kind].append(json.loads(out.stdout.strip().splitlines()[-1]))
        middle = {kind: {key: median(one[key] for one in found[kind]) for key in found[kind][0]} for kind in KINDS}
        for kind, one in middle.items():
            told = ", ".join(f"{key} {value:.2f}" for key, value in one.items())
            ratio = one["cpu_seconds"] / middle["NIfTI"]["cpu_seconds"]
            print(f"{kind}: {told}; {ratio:.2f} x the processor's time of NIfTI")


if __name__ == "__main__":
    main()
