"""A small study for encoding models: words of a film, simulated brains of which half of the voxels respond."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import yaml

import giblet as gb
from giblet.features import new_features, save_features
from giblet.spans import volume_rate
from giblet.timing import TRGrid

TR, N_TRS, N_COLUMNS = 2.0, 330, 12
RESPOND = np.arange(N_COLUMNS) < N_COLUMNS // 2


@dataclass(frozen=True)
class EncodingStudy:
    """``words.nc``, ``other.nc`` (another film), BOLD tables of subjects 1 and 2, an image of subject 3."""

    folder: Path

    @property
    def words(self) -> Path:
        return self.folder / "words.nc"

    @property
    def other(self) -> Path:
        return self.folder / "other.nc"

    def table(self, subject: int, run: int = 1) -> Path:
        return self.folder / f"sub-{subject}_run-{run}_bold.tsv"

    @property
    def image(self) -> Path:
        return self.folder / "sub-3_bold.nii.gz"

    @property
    def mask(self) -> Path:
        return self.folder / "mask.nii.gz"

    def run(self, subject: int = 1, number: int = 1, **more: Any) -> dict[str, Any]:
        return {"bold": str(self.table(subject, number)), "text": str(self.words), **more}

    def settings(self, output: Path, *subjects: int, **more: Any) -> dict[str, Any]:
        """Options of an encoding run; of two bands, one says nothing."""
        data = {"subjects": [{"name": f"0{n}", "runs": [self.run(n)]} for n in subjects or (1,)]}
        return {
            "data": data, "output": str(output), "n_iter": 5, "tr": TR,
            "bands": {"rate": {"of": "text", "take": "word_rate"}, "length": {"of": "text", "take": "word_length"}},
            **more,
        }  # fmt: skip

    def config(self, path: Path, options: dict[str, Any]) -> Path:
        path.write_text(yaml.safe_dump(options))
        return path


def words_file(path: Path, n_trs: int, seed: int, tr: float = TR) -> Path:
    rng = np.random.default_rng(seed)
    rate = np.abs(rng.standard_normal(n_trs)) + 0.5
    length = rng.standard_normal(n_trs)
    grid = TRGrid(tr, n_trs, volume_rate(tr))
    made = new_features(
        {"word_rate": (("tr",), rate), "word_length": (("tr",), length)}, grid, film_duration=grid.duration,
        kind="continuous", desc="text", source=f"{path.stem}.tsv", source_sha256="0", duration=float(grid.duration),
        settings={},
    )  # fmt: skip
    return save_features(made, path)


def make_encoding_study(folder: Path) -> EncodingStudy:
    study = EncodingStudy(folder)
    words_file(study.words, N_TRS, 0)
    words_file(study.other, 120, 1)
    for subject in (1, 2):
        for run in (1, 2):
            bold = simulated(study, 10 * subject + run)
            table = study.table(subject, run)
            pd.DataFrame(bold, columns=[f"area{k}" for k in range(N_COLUMNS)]).to_csv(table, sep="\t", index=False)
            table.with_suffix(".json").write_text(json.dumps({"RepetitionTime": TR}))
    inside = np.ones((2, 2, 4), bool)
    inside[0, 0] = False
    volumes = np.zeros((*inside.shape, N_TRS), np.float32)
    volumes[inside] = simulated(study, 5).T
    image = nib.Nifti1Image(volumes, np.diag([3.0, 3.0, 3.0, 1.0]))
    image.header.set_zooms((3, 3, 3, TR))
    image.header.set_xyzt_units("mm", "sec")
    nib.save(image, study.image)
    nib.save(nib.Nifti1Image(inside.astype(np.uint8), image.affine), study.mask)
    return study


def simulated(study: EncodingStudy, seed: int) -> np.ndarray:
    """Half of the columns answer to the rate of words, the others are noise of the same kind."""
    options = {"table": True, "regressor": "word_rate", "n_voxels": N_COLUMNS, "noise_seed": seed}
    answers, silent = (
        gb.simulate(study.words, study.folder / f"{name}-{seed}", snr=snr, **options).simulation.bold
        for name, snr in (("answers", 1.0), ("silent", 0.0))
    )
    return np.where(RESPOND, answers, silent)
