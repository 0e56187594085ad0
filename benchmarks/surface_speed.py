"""Scans of the cortical surface beside NIfTI of as many voxels: seconds and memory of reading, and of `giblet encode`.

    python benchmarks/surface_speed.py read --volumes 1200      one run of 91,282 rows: peak over its own size
    python benchmarks/surface_speed.py encode --volumes 300     `giblet encode`, end to end

The brain has the layout of fsLR-91k: two surfaces of 32,492 vertices without their medial walls, and 31,870 voxels; the
GIFTI pair has 45,641 vertices per hemisphere. All hold the same float32 numbers. Each contender is a process of its
own, and they take turns; both the time of the clock and that of the processor are printed.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
import yaml
from nibabel import cifti2, gifti
from ratios import Measured, Ratio, in_own_process, in_turns, peak_mib, run, timed

TR, N_ROWS, N_CORTEX, N_SURFACE = 0.72, 91_282, 29_706, 32_492
SHAPE, AFFINE = (91, 109, 91), np.array([[-2.0, 0, 0, 90], [0, 2, 0, -126], [0, 0, 2, -72], [0, 0, 0, 1]])
KINDS = ("NIfTI", "CIFTI", "GIFTI")
LEAST = 200
"""Volumes that `giblet encode` needs to choose penalties by five folds, 32 s apart."""


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
    for hemisphere, own in (("L", slice(0, N_ROWS // 2)), ("R", slice(N_ROWS // 2, N_ROWS))):
        meta = gifti.GiftiMetaData(TimeStep=f"{1000 * TR:.3f}")
        arrays = [gifti.GiftiDataArray(row[own].copy(), intent="NIFTI_INTENT_TIME_SERIES", meta=meta) for row in values]
        gifti.GiftiImage(darrays=arrays).to_filename(folder / f"GIFTI_hemi-{hemisphere}_bold.func.gii")
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


def read(kind: str, folder: str) -> Measured:
    """Read a scan; the peak of memory over what imports took, in sizes of the scan."""
    from giblet.data.fmri import FMRIProcessor

    path, mask = bold_of(kind, Path(folder))
    before = peak_mib(begin=True)
    took = timed(lambda: FMRIProcessor(mask).load(path))
    return Measured(took.clock, took.processor, (peak_mib() - before) * 2**20 / took.result["bold"].nbytes)


def encode(kind: str, folder: str) -> Measured:
    """`giblet encode` of one subject and one band, by its command; the peak of memory, in GiB."""
    from giblet.cli.shared import main

    path, mask = bold_of(kind, Path(folder))
    output = Path(folder) / f"out-{kind}-{os.getpid()}"
    subject = {"name": "01", "mask": mask, "runs": [{"bold": path, "features": {"sound": f"{folder}/sound.npy"}}]}
    config = {
        "data": {"subjects": [subject]}, "output": str(output), "tr": TR, "weights": False,
        "bands": {"sound": {"of": "sound"}},
    }  # fmt: skip
    file = Path(folder) / f"{kind}.yaml"
    file.write_text(yaml.safe_dump(config))
    sys.argv = ["giblet", "encode", str(file)]

    def command() -> None:
        try:
            main()
        except SystemExit as left:
            assert not left.code, f"giblet encode ended with {left.code}"

    took = timed(command)
    return Measured(took.clock, took.processor, peak_mib() / 1024)


PARTS = {"read": (read, "sizes of the scan"), "encode": (encode, "GiB")}


def measure(options: argparse.Namespace) -> list[Ratio]:
    """Each part by turns, beside NIfTI."""
    if "encode" in options.parts and options.volumes < LEAST:
        sys.exit(f"--volumes is {options.volumes}: encode needs at least {LEAST} for its folds, 32 s apart")
    found = []
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        write_brains(options.volumes, Path(folder))
        sound = np.random.default_rng(1).standard_normal((options.volumes, 40))
        np.save(Path(folder) / "sound.npy", sound.astype(np.float32))
        for part in options.parts:
            job, unit = PARTS[part]
            jobs = {kind: partial(in_own_process, job, kind, folder) for kind in KINDS}
            turns = in_turns(jobs, options.turns, warm_up=False)
            for kind in KINDS:
                clock, processor = (turns.seconds(kind, time) for time in ("clock", "processor"))
                memory = f"peak {turns.result(kind):.2f} {unit}"
                print(f"{part} {kind}: {clock:.2f} s, {processor:.2f} s of the processor, {memory}")
            what = f"{part} {{}}, {options.volumes} volumes of {N_ROWS:,} rows"
            found += [turns.ratio(kind, "NIfTI", what=what.format(kind)) for kind in KINDS[1:]]
    return found


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("parts", nargs="*", default=list(PARTS), help=f"of {', '.join(PARTS)}")
    made.add_argument("--volumes", type=int, default=300, help=f"of the scan (300); for encode at least {LEAST}")
    made.add_argument("--turns", type=int, default=3)
    made.add_argument("--folder", type=Path, default=None, help="for the scans; by default a temporary one")
    return made


if __name__ == "__main__":
    sys.exit(run(measure, parser()))
