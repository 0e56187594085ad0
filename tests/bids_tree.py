"""A BIDS dataset and derivatives of it in the manner of fMRIPrep, made by the tests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd

TR = 1.5
MNI, NATIVE, SURFACE = "MNI152NLin2009cAsym", "T1w", "fsaverage5"
MNI_FILE = f"space-{MNI}_res-2"
"""How names of scans in that space go on after the run."""


@dataclass(frozen=True)
class Tree:
    """Where it is.

    sub-01 has sessions 1 and 2, sub-02 sessions 01 and 02; each has three runs of the task film, run-01 to run-03 of
    sub-01 and run-1 to run-3 of sub-02, who lacks the last one. Scans are in three spaces: volumes in MNI and T1w, and
    surfaces. The slices of sub-02 were brought to the middle of the TR, those of sub-01 were not moved. The top of the
    raw dataset says a TR of 3 s, the sidecars of the raw runs 1.5 s; only those of scans in T1w say it again.
    """

    root: Path

    @property
    def derivatives(self) -> Path:
        return self.root / "derivatives" / "fmriprep-23.2"

    def query(self, **more: Any) -> dict[str, Any]:
        """Options of a section ``bids`` that finds all runs in MNI space."""
        return {"root": str(self.root), "derivatives": "fmriprep-23.2", "task": "film", "space": MNI, **more}

    def func(self, subject: str, session: str, *, raw: bool = False) -> Path:
        return (self.root if raw else self.derivatives) / f"sub-{subject}" / f"ses-{session}" / "func"

    def scan(self, subject: str, session: str, run: str, space: str = MNI_FILE) -> Path:
        name = f"{stem(subject, session, run)}_{space}_desc-preproc_bold.nii.gz"
        return self.func(subject, session) / name

    def table(self, subject: str, session: str, run: str) -> Path:
        return self.func(subject, session) / f"{stem(subject, session, run)}_desc-confounds_timeseries.tsv"


RUNS = [
    *(("01", session, run) for session in ("1", "2") for run in ("01", "02", "03")),
    *(("02", session, run) for session in ("01", "02") for run in ("1", "2", "3") if (session, run) != ("02", "3")),
]
"""Labels of subject, session and run of each."""


def stem(subject: str, session: str, run: str) -> str:
    return f"sub-{subject}_ses-{session}_task-film_run-{run}"


def write_json(path: Path, **said: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(said))
    return path


def write_image(path: Path, volumes: np.ndarray, tr: float = TR) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(volumes, np.diag([2.0, 2.0, 2.0, 1.0]))
    if volumes.ndim == 4:
        image.header.set_zooms((2, 2, 2, tr))
        image.header.set_xyzt_units("mm", "sec")
    nib.save(image, path)
    return path


def confounds(n_trs: int, *, dummies: int = 0, seed: int = 0) -> pd.DataFrame:
    """What fMRIPrep writes of a run: motion, white matter and CSF with derivatives and squares, cosines, outliers."""
    rng = np.random.default_rng(seed)
    names = [*(f"{kind}_{axis}" for kind in ("trans", "rot") for axis in "xyz"), "csf", "white_matter", "global_signal"]
    columns: dict[str, np.ndarray] = {}
    for name in names:
        values = rng.standard_normal(n_trs).cumsum() / 10
        columns |= {name: values, f"{name}_derivative1": np.r_[np.nan, np.diff(values)], f"{name}_power2": values**2}
        columns[f"{name}_derivative1_power2"] = columns[f"{name}_derivative1"] ** 2
    columns["framewise_displacement"] = np.r_[np.nan, np.full(n_trs - 1, 0.1)]
    columns["std_dvars"] = np.r_[np.nan, np.ones(n_trs - 1)]
    columns["cosine00"] = np.cos(np.pi * (np.arange(n_trs) + 0.5) / n_trs)
    for volume in range(dummies):
        columns[f"non_steady_state_outlier{volume:02d}"] = (np.arange(n_trs) == volume).astype(float)
    return pd.DataFrame(columns)


def write_confounds(path: Path, table: pd.DataFrame) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, sep="\t", index=False, na_rep="n/a")
    write_json(path.with_suffix(".json"))
    return path


def write_surface(path: Path, values: np.ndarray) -> Path:
    """One array for each volume, (n_trs, n_vertices), as Workbench writes them."""
    arrays = [nib.gifti.GiftiDataArray(one.astype(np.float32), intent="NIFTI_INTENT_TIME_SERIES") for one in values]
    side = "CortexLeft" if "hemi-L" in path.name else "CortexRight"
    nib.save(nib.GiftiImage(darrays=arrays, meta=nib.gifti.GiftiMetaData(AnatomicalStructurePrimary=side)), path)
    return path


def make_tree(root: Path, bold: Mapping[tuple[str, str, str], np.ndarray] | None = None, n_trs: int = 24) -> Tree:
    """The dataset; `bold` gives (n_trs, n_voxels) of the runs, 12 voxels by default, else noise."""
    tree = Tree(root)
    write_json(root / "dataset_description.json", Name="film", BIDSVersion="1.10.0", DatasetType="raw")
    write_json(root / "task-film_bold.json", RepetitionTime=3.0, TaskName="film")
    write_json(
        tree.derivatives / "dataset_description.json", Name="fMRIPrep", BIDSVersion="1.4.0", DatasetType="derivative"
    )
    rng = np.random.default_rng(0)
    for number, (subject, session, run) in enumerate(RUNS):
        values = rng.standard_normal((n_trs, 12)) if bold is None else bold[subject, session, run]
        volumes = np.zeros((3, 4, 2, len(values)), np.float32)
        inside = np.zeros(volumes.shape[:3], bool)
        inside.flat[: values.shape[1]] = True
        volumes[inside] = 100 + values.T
        name = stem(subject, session, run)
        write_image(tree.func(subject, session, raw=True) / f"{name}_bold.nii.gz", volumes[:1, :1, :1])
        write_json(tree.func(subject, session, raw=True) / f"{name}_bold.json", RepetitionTime=TR)
        corrected = (
            {"SliceTimingCorrected": True, "StartTime": TR / 2} if subject == "02" else {"SliceTimingCorrected": False}
        )
        for space in (MNI_FILE, f"space-{NATIVE}"):
            scan = write_image(tree.scan(subject, session, run, space), volumes)
            say_tr = {"RepetitionTime": TR} if space != MNI_FILE else {}
            write_json(scan.with_name(scan.name.replace(".nii.gz", ".json")), **corrected, **say_tr)
            mask = scan.with_name(scan.name.replace("desc-preproc_bold", "desc-brain_mask"))
            write_image(mask, inside.astype(np.uint8))
        for side in "LR":
            half = values[:, : values.shape[1] // 2] if side == "L" else values[:, values.shape[1] // 2 :]
            surface = tree.func(subject, session) / f"{name}_hemi-{side}_space-{SURFACE}_bold.func.gii"
            write_surface(surface, 100 + half)
            write_json(
                surface.with_name(f"{name}_hemi-{side}_space-{SURFACE}_bold.json"), **corrected, RepetitionTime=TR
            )
        write_confounds(tree.table(subject, session, run), confounds(len(values), dummies=1, seed=number))
    return tree
