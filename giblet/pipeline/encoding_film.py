"""BOLD for another film, from fits that an encoding run kept."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd

from giblet.alignment import align_all_modalities
from giblet.data.bold.volumes import open_image, write_image
from giblet.encoding import EncodingModel
from giblet.encoding.clip_settings import ClipSettings
from giblet.encoding.settings import EncodeSettings, EncodeSubjectSettings
from giblet.errors import CheckpointError, InputError
from giblet.notebook import html_table
from giblet.pipeline.encoding import read_encode_config
from giblet.pipeline.encoding_features import BandReader
from giblet.pipeline.encoding_files import label_of, read_stats, write_stats
from giblet.training.films import Films


@dataclass(frozen=True, repr=False)
class PredictedScan:
    """BOLD that a fit predicts for a film."""

    subject: str
    path: Path
    """4-D image, or table with a column for each region."""
    bold: np.ndarray
    """float32 (n_trs, n_voxels); NaN in voxels that were left out of the fit."""
    tr: float
    """Seconds."""

    def __repr__(self) -> str:
        return f"<PredictedScan {self.path}: {self.bold.shape[0]} TRs of {self.tr:g} s, {self.bold.shape[1]} columns>"

    def _repr_html_(self) -> str:
        rows = [(self.subject, self.path.name, *self.bold.shape)]
        return html_table(repr(self).strip("<>"), ("subject", "file", "TRs", "columns"), rows)

    def to_pandas(self) -> pd.DataFrame:
        """The prediction as a table, a row for each TR.

        Returns
        -------
        pandas.DataFrame
        """
        return pd.DataFrame(self.bold, index=pd.Index(np.arange(len(self.bold)) * self.tr, name="onset"))


def predict_film(
    config: str | Path | EncodeSettings, features: str | Path | Mapping[str, str | Path],
    out_dir: str | Path | None = None, *, overwrite: bool = False,
) -> list[PredictedScan]:  # fmt: skip
    """Predict the BOLD of each subject for a film that need not have been scanned.

    Parameters
    ----------
    config : str, Path or EncodeSettings
        Of the encoding run, which kept its weights.
    features : path, or mapping of str to path
        The film's features, by the names that the bands call them (``audio``, ``video``, ``text``, or one of
        ``features``); one path where all bands are of one file.
    out_dir : str or Path, optional
        Gets ``<film>_sub-01_desc-encoding_bold.nii.gz`` or ``.tsv``; by default the folder of the run.
    overwrite : bool
        Replace predictions of these names.

    Returns
    -------
    list of PredictedScan
        One for each subject, whose first row is the first TR of the film.

    Raises
    ------
    CheckpointError
        If there is no fit, or it is of another version or other features.
    GibletError
        If the features cannot be used.
    """
    settings = config if isinstance(config, EncodeSettings) else read_encode_config(config)
    if isinstance(settings, ClipSettings):
        raise InputError("the fits are of clips (rows: clips) and no film: predict responses with predict_clips")
    known = {name for subject in settings.data.subjects for run in subject.runs for name in run.files()}
    sources = sorted({name for band in settings.bands.values() for name in band.files(known)})
    if not isinstance(features, Mapping):
        if len(sources) > 1:
            raise InputError(
                f"the bands are of {', '.join(sources)}: name a file for each, as in {{{sources[0]!r}: path}} "
                f"({sources[0]}=PATH on the command line)"
            )
        features = {sources[0]: features}
    files = {name: Path(path) for name, path in features.items()}
    if missing := [name for name in sources if name not in files]:
        raise InputError(f"the bands need {', '.join(missing)} too: give a file for each of {', '.join(sources)}")
    if unknown := [name for name in files if name not in sources]:
        raise InputError(f"no band is of {unknown[0]!r}: they are of {', '.join(sources)}")
    folder = settings.output if out_dir is None else Path(out_dir)
    reader = BandReader(settings.bands, codec=settings.codec, films=Films(), device=settings.device)
    return [_predicted(settings, subject, files, reader, folder, overwrite) for subject in settings.data.subjects]


def _predicted(
    settings: EncodeSettings, subject: EncodeSubjectSettings, files: Mapping[str, Path], reader: BandReader,
    folder: Path, overwrite: bool,
) -> PredictedScan:  # fmt: skip
    label = label_of(subject.name)
    card, saved = settings.output / f"{label}_summary.json", settings.output / f"{label}_model.safetensors"
    if not card.is_file() or not saved.is_file():
        raise CheckpointError(f"{settings.output} holds no fit of subject {subject.name}: run giblet encode first")
    summary = json.loads(card.read_text(encoding="utf-8"))
    before, now = summary["options"]["bands"], settings.model_dump(mode="json")["bands"]
    if before != now:
        changed = next(name for name in {**before, **now} if before.get(name) != now.get(name))
        raise CheckpointError(
            f"the fit of subject {subject.name} is of other features: band {changed!r} was {before.get(changed)}, is "
            f"{now.get(changed)}; run giblet encode with these settings, or give the former"
        )
    model = EncodingModel.load(saved)
    first = next(iter(files.values()))
    tr = float(summary["tr"])
    bands = _on_clock(reader, files, tr)
    for name, own in reader.origins.items():
        for key, value in summary["origins"].get(name, {}).items():
            if own.get(key) != value:
                raise CheckpointError(
                    f"band {name!r} of subject {subject.name} was fitted on features with {key} {value}, these have "
                    f"{own.get(key)}: extract them in the same way"
                )
    bold = model.predict(bands, run=np.zeros(len(next(iter(bands.values()))), np.int64))
    stats = read_stats(settings.output / f"{label}_stats.tsv")
    image = "i" in stats
    stem = first.name.removesuffix("".join(first.suffixes[-1:])).removesuffix("_features")
    path = folder / f"{stem}_{label}_bold{'.nii.gz' if image else '.tsv'}"
    if path.exists() and not overwrite:
        raise InputError(f"{path} is there: choose another `out_dir`, or pass overwrite=True to replace it")
    if image:
        write_volumes(settings.output / f"{label}_stat-r_statmap.nii.gz", stats, bold, tr, path)
    else:
        write_stats(pd.DataFrame(bold, columns=stats["region"]), path)
    return PredictedScan(subject.name, path, bold, tr)


def _on_clock(reader: BandReader, files: Mapping[str, Path], tr: float) -> dict[str, np.ndarray]:
    """Bands of a film, from its first TR to the last that all of them have."""
    datasets = {name: dataset for name, (_, dataset) in reader.of_run(files, tr).items()}
    lengths = {name: dataset.sizes["tr"] for name, dataset in datasets.items()}
    tables = {name: n for name, n in lengths.items() if "by_volume" in datasets[name].attrs}
    if len(set(tables.values())) > 1:
        raise InputError(f"tables have different numbers of rows: {tables}")
    nothing = np.zeros((min(lengths.values()), 1), np.float32)
    aligned = align_all_modalities(datasets, nothing, tr=tr, on_short_bold="trim", on_holes="keep")
    bands = {}
    for name, values in aligned.features.items():
        x, there = values.values.copy(), values["mask"].values
        if not there.all() and there.any():
            x[~there] = x[there].mean(0)
        bands[name] = x
    return bands


def write_volumes(r_map: Path, stats: pd.DataFrame, bold: np.ndarray, tr: float, path: Path) -> None:
    """Write predictions of voxels as a 4-D image.

    Parameters
    ----------
    r_map : Path
        A map of the run, whose voxels they are.
    stats : pandas.DataFrame
        Scores of the run, with the places ``i``, ``j``, ``k``.
    bold : ndarray of float, shape (n_volumes, n_voxels)
    tr : float
        In seconds; 0 where volumes follow no clock.
    path : Path
    """
    like = open_image(r_map)
    volumes = np.zeros((*like.shape, len(bold)), np.float32)
    volumes[stats["i"], stats["j"], stats["k"]] = bold.T
    image = nib.Nifti1Image(volumes, like.affine)
    image.header.set_zooms((*like.header.get_zooms()[:3], tr))
    image.header.set_xyzt_units("mm", "sec")
    write_image(image, path)
