"""BOLD for another film, from fits that an encoding run kept."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from giblet.alignment import align_all_modalities
from giblet.data.bold.brain_images import ending_of, files_at, image_of, write_brain
from giblet.data.study_settings import bring_files
from giblet.encoding import EncodingModel
from giblet.encoding.clip_settings import ClipSettings
from giblet.encoding.settings import EncodeSettings, EncodeSubjectSettings
from giblet.errors import CheckpointError, InputError, reading
from giblet.files import read_json, write_atomic
from giblet.notebook import html_table
from giblet.pipeline.derivative import NO_BIDS_NAME, bids_label, check_derivative, describe_derivative
from giblet.pipeline.encoding import read_encode_config
from giblet.pipeline.encoding_features import BandReader
from giblet.pipeline.encoding_files import (
    label_of,
    like_of,
    predicted_path,
    read_stats,
    subject_folder,
    write_stats,
)
from giblet.storage import bring, taking_urls
from giblet.training.films import Films


@dataclass(frozen=True, repr=False)
class PredictedScan:
    """BOLD that a fit predicts for a film."""

    subject: str
    path: Path
    """Series of the scan's format (of a pair that of the left hemisphere), or table with a column for each region."""
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


@taking_urls("features", into=("out_dir",))
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
        Gets ``sub-01/func/sub-01_task-<film>_desc-encoding_bold`` with ``.nii.gz``, ``.dtseries.nii``, ``.func.gii``
        (of both hemispheres, ``..._hemi-L_...``) or ``.tsv``, and its JSON; by default the folder of the run.
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
    bring(settings.output, needed=False, folder=True)  # the fits
    bring_files(settings)
    folder = settings.output if out_dir is None else bring(Path(out_dir), needed=False, folder=True)
    check_derivative(folder)
    reader = BandReader(settings.bands, codec=settings.codec, films=Films(), device=settings.device)
    scans = [_predicted(settings, subject, files, reader, folder, overwrite) for subject in settings.data.subjects]
    # BIDS has no name for BOLD as a table, and refuses a JSON file beside none.
    besides = tuple(one.path.with_suffix(".json").name for one in scans if one.path.suffix == ".tsv")
    describe_derivative(folder, "BOLD that giblet predicts", ignored=(*NO_BIDS_NAME, *besides))
    return scans


def _predicted(
    settings: EncodeSettings, subject: EncodeSubjectSettings, files: Mapping[str, Path], reader: BandReader,
    folder: Path, overwrite: bool,
) -> PredictedScan:  # fmt: skip
    label = label_of(subject.name)
    own = subject_folder(settings.output, subject.name)
    card, saved = own / f"{label}_summary.json", own / f"{label}_model.safetensors"
    if not card.is_file() or not saved.is_file():
        raise CheckpointError(f"{settings.output} holds no fit of subject {subject.name}: run giblet encode first")
    summary = read_json(card, "run giblet encode again", CheckpointError, ("options", "tr", "origins"))
    with reading(card, "run giblet encode again", CheckpointError):
        before = dict(summary["options"]["bands"])
    now = settings.model_dump(mode="json")["bands"]
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
    for name, origin in reader.origins.items():
        for key, value in summary["origins"].get(name, {}).items():
            if origin.get(key) != value:
                raise CheckpointError(
                    f"band {name!r} of subject {subject.name} was fitted on features with {key} {value}, these have "
                    f"{origin.get(key)}: extract them in the same way"
                )
    bold = model.predict(bands, run=np.zeros(len(next(iter(bands.values()))), np.int64))
    stats = read_stats(own / f"{label}_stats.tsv")
    space = summary["space"]
    # Regions of an atlas stand in a table: nobody needs them in each of their voxels.
    ending = ".tsv" if "label" in stats or not space else ending_of(space, series=True)
    stem = first.name.removesuffix("".join(first.suffixes[-1:])).removesuffix("_features").partition("_desc-")[0]
    path = predicted_path(folder, subject.name, stem, f"bold{ending}")
    if any(file.exists() for file in files_at(path)) and not overwrite:
        raise InputError(f"{path} is there: choose another `out_dir`, or pass overwrite=True to replace it")
    if ending != ".tsv":
        like = like_of(stats, {**space, "tr": tr})
        write_brain(image_of(bold, like), path)
    else:
        write_stats(pd.DataFrame(bold, columns=stats["region"]), path)
    _write_sidecar(path, stem, tr)
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


def _write_sidecar(path: Path, film: str, tr: float) -> None:
    """What BIDS asks to be said of BOLD, and readers of it for: TR above all."""
    about = {
        "Description": f"BOLD that an encoding model predicts for {film}, in the units of the fit; the first volume is "
        "the first TR of the film, and NaN stands in voxels that were left out of the fit",
        "TaskName": bids_label(film),
        "RepetitionTime": tr,
        "SkullStripped": True,
    }
    for file in files_at(path):
        write_atomic(file.with_name(file.name.partition(".")[0] + ".json"), json.dumps(about, indent=2) + "\n")
