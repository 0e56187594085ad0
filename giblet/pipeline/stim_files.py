"""Features as continuous recordings of BIDS 1.10: ``_stim.tsv.gz``, which has no header, and ``_stim.json`` beside it.

One file of features becomes one recording of one run. Codes and mel spectrograms keep the rate of their frames, a
column for each codebook or band; all else has one row per TR. Row k lies at ``StartTime + k / SamplingFrequency``
seconds after the first volume, where what it describes begins. ``n/a`` stands in frames behind the end of the film, in
TRs that it does not last through, and where a variable says nothing: no word, no picture.
"""

from __future__ import annotations

import gzip
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from giblet.alignment.checks import check_applied_once, first_onset
from giblet.encoding.settings import MADE, BandSettings
from giblet.errors import InputError
from giblet.features import CODES, MEL, REPLACE, grid_of, load_features, main_variable, own_attributes, present_in
from giblet.files import write_atomic
from giblet.pipeline.derivative import DESCRIPTION, bids_label, describe_derivative
from giblet.storage import check_local, taking_urls
from giblet.timing import Number, TRGrid, exact, ungroup_codes, ungroup_frames

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

ENTITIES = {"subject": "sub", "session": "ses", "task": "task", "run": "run", "recording": "recording"}
"""By parameter, the entity of BIDS, in the order of BIDS."""
MEANING = {
    "embedding": "dimension {k} of the model's embedding",
    "word_rate": "words that begin in the TR, per second",
    "character_rate": "letters and digits of words that begin in the TR, per second",
    "word_length": "mean length of words that begin in the TR, in letters and digits",
    "speech_fraction": "share of the TR within a row of the text",
    "onset_count": "rows of the text that begin in the TR",
    "luminance": "mean relative luminance of the picture, 0 to 1",
    "contrast": "RMS contrast of the picture",
    "luminance_change": "absolute change of luminance from frame to frame, per second of picture",
    "shown": "share of the TR with a picture",
    "latents": "mean of the latent dimensions of the codes over the TR, then their deviations: {k}",
    "latents_mean": "mean of latent dimension {k} of the codes over the TR",
    "counts": "how often an entry comes in the TR: entry {k} of all codebooks behind each other",
    "envelope": "envelope of the sound",
    "mel_mean": "mean power of mel band {k} in the TR, dB",
}
"""What the variables of feature files are, as the description of their columns."""


@dataclass(frozen=True)
class StimFile:
    """A continuous recording that was written."""

    path: Path
    """``_stim.tsv.gz``"""
    status: str
    """``"written"``, or ``"unchanged"`` where it was there."""
    n_rows: int
    columns: tuple[str, ...]
    sampling_frequency: float
    """Hz."""
    start_time: float
    """Seconds from the first volume to the first row; negative before it."""

    @property
    def sidecar(self) -> Path:
        """``_stim.json``"""
        return self.path.with_name(self.path.name.removesuffix(".tsv.gz") + ".json")


class _Recording(NamedTuple):
    table: pd.DataFrame
    """A row for each sample; missing where there is ``n/a``."""
    rate: Any
    """Samples per second, as a fraction."""
    about: dict[str, str]
    """By column, what it is."""


@taking_urls("features", into=("root",))
# 11 parameters: a file, a folder, five entities of BIDS, and what of the file is written.
def export_bids(
    features: str | Path, root: str | Path, *, subject: str, task: str, session: str | None = None,
    run: str | int | None = None, recording: str | None = None, take: Sequence[str] | str | None = None,
    stimulus_time_at_volume_0: Number = 0.0, codec: str | None = None, overwrite: bool = False,
) -> StimFile:  # fmt: skip
    """Write features as a continuous recording of a BIDS data set, ``_stim.tsv.gz`` and ``_stim.json``.

    Parameters
    ----------
    features : str or Path
        A feature file.
    root : str or Path
        Of the data set, raw or derivative. A folder without ``dataset_description.json`` becomes a derivative.
    subject, task : str
        Whose run it is: the file is of the scan of the same name.
    session : str, optional
    run : str or int, optional
        As the scan's name has it: ``"02"`` and 2 are two names.
    recording : str, optional
        Tells recordings of one run apart; by default what the features are, as ``encodec24k``.
    take : str or sequence of str, optional
        Variables of the file, and of codes ``latents``, ``latents_mean``, ``counts`` or ``envelope``, of mel
        spectrograms ``mel_mean``, each by TR. By default codes and spectrograms frame by frame; of other files all
        that has one number, or one vector, for each TR.
    stimulus_time_at_volume_0 : float
        Second of the stimulus at the onset of volume 0, as :func:`giblet.align` has it.
    codec : str, optional
        Where the codec is that made the codes, for latents; by default where it was.
    overwrite : bool
        Replace a recording of this name that is another one.

    Returns
    -------
    StimFile

    Raises
    ------
    InputError
        If the features cannot be read or hold no such variable, a label has other signs than letters and digits, or
        another recording of this name is there.

    See Also
    --------
    giblet.features.table_of : the same as a pandas table.

    References
    ----------
    BIDS 1.10, Modality specific files: Physiological and other continuous recordings.
    """
    check_local(Path(root), "a BIDS data set")
    source = Path(features)
    data = load_features(source)
    check_applied_once(data, stimulus_time_at_volume_0, source.name)
    takes = [take] if isinstance(take, str) else take
    made = _recording(source, data, takes, codec)
    start = first_onset(data, source.name) - exact(stimulus_time_at_volume_0, "stimulus_time_at_volume_0")
    given = {"subject": subject, "session": session, "task": task, "run": run,
             "recording": recording or bids_label(str(data.attrs["desc"]))}  # fmt: skip
    root = Path(root)
    found = StimFile(
        _path(root, given), "written", len(made.table), tuple(made.table.columns), float(made.rate), float(start)
    )
    files = {found.path: _packed(made.table), found.sidecar: _sidecar(found, task, made, data)}
    there = [path for path in files if path.exists()]
    if len(there) == len(files) and all(path.read_bytes() == content for path, content in files.items()):
        return StimFile(**{**vars(found), "status": "unchanged"})
    if there and not overwrite:
        raise InputError(f"{there[0]} already exists and is another recording: name a `recording`, or {REPLACE}")
    if not (root / DESCRIPTION).is_file():
        describe_derivative(root, "Features that giblet made of stimuli", ignored=())
    for path, content in files.items():
        write_atomic(path, content)
    return found


def _path(root: Path, given: Mapping[str, str | int | None]) -> Path:
    labels = {}
    for name, entity in ENTITIES.items():
        if given[name] is None:
            continue
        label = str(given[name]).removeprefix(f"{entity}-")
        if not re.fullmatch("[0-9]+" if name == "run" else "[0-9A-Za-z+]+", label):
            what = "digits only, as in '2'" if name == "run" else f"letters and digits only, as in {_as_label(label)!r}"
            raise InputError(f"{name} is {label!r}: BIDS takes {what}")
        labels[entity] = label
    parts = [f"{entity}-{label}" for entity, label in labels.items()]
    folders = [part for part in parts if part.startswith(("sub-", "ses-"))]
    return root.joinpath(*folders, "func", "_".join([*parts, "stim.tsv.gz"]))


def _as_label(text: str) -> str:
    return bids_label(text) if re.search("[0-9A-Za-z]", text) else "01"


def _recording(source: Path, data: xr.Dataset, takes: Sequence[str] | None, codec: str | None) -> _Recording:
    main = main_variable(data)
    if takes is None and data.attrs["kind"] == CODES and data[main].dims == ("tr", "codebook", "frame"):
        return _codes(data, main)
    if takes is None and main == MEL and data[MEL].ndim == 3:
        return _spectrum(data)
    if takes is None:
        takes = [name for name in _numbers_by_tr(data) if data[name].ndim <= 2]
        if main not in takes and data[main].ndim > 2 and not takes:
            raise InputError(f"{source.name} has {main} of {data[main].ndim - 1} dimensions in each TR: say `take`")
    return _by_tr(source, data, takes, codec)


def _codes(data: xr.Dataset, main: str) -> _Recording:
    import pandas as pd

    grid = grid_of(data)
    spill = data["spill"].values if "spill" in data and data["spill"].shape[2] else None
    codes = ungroup_codes(data[main].values, grid.tr, exact(grid.frame_rate), spill=spill)
    names = [f"codebook_{k}" for k in range(len(codes))]
    size = int(data.attrs["codebook_size"])
    about = {
        name: f"entry of codebook {k} that stands for this frame, 0 to {size - 1}: a category, no amount"
        for k, name in enumerate(names)
    }
    table = pd.DataFrame(codes.T, columns=names).astype("Int32")
    return _Recording(_masked(table, _frames_in_film(data, grid)), exact(grid.frame_rate), about)


def _spectrum(data: xr.Dataset) -> _Recording:
    import pandas as pd

    grid = grid_of(data)
    power = ungroup_frames(data[MEL].values, grid)
    names = [f"mel_{k}" for k in range(len(power))]
    table = pd.DataFrame(power.T, columns=names)
    about = {name: f"power of mel band {k} in this frame" for k, name in enumerate(names)}
    return _Recording(_masked(table, _frames_in_film(data, grid)), exact(grid.frame_rate), about)


def _by_tr(source: Path, data: xr.Dataset, takes: Sequence[str], codec: str | None) -> _Recording:
    import pandas as pd

    tr = exact(data.attrs["tr"])
    tables, about = [], dict[str, str]()
    known = _numbers_by_tr(data)
    for take in dict.fromkeys(takes):
        if take in MADE and take not in data:
            values, here = _made(source, data, take, codec), np.ones(data.sizes["tr"], bool)
        elif (
            take not in data or data[take].dims[:1] != ("tr",) or take == "onset" or data[take].dtype.kind not in "iuf"
        ):
            known = [str(n) for n, v in data.data_vars.items() if v.dims[:1] == ("tr",) and v.dtype.kind in "iuf"]
            raise InputError(
                f"{source.name} has no {take!r}: `take` one of {', '.join(n for n in known if n != 'onset')}"
            )
        else:
            values, here = data[take].values, present_in(data, take)
        values = values.reshape(len(values), -1)
        names = [take] if values.shape[1] == 1 else [f"{take}_{k}" for k in range(values.shape[1])]
        own = data[take].attrs.get("long_name") if take in data else None
        text = str(own or MEANING.get(take, f"{take} {{k}}" if len(names) > 1 else take))
        about |= {name: text.replace("{k}", str(k)) for k, name in enumerate(names)}
        table = pd.DataFrame(values, columns=names)
        if values.dtype.kind in "iu":
            table = table.astype("Int64")
        tables.append(_masked(table, _begun(data) & here))
    return _Recording(pd.concat(tables, axis=1), 1 / tr, about)


def _numbers_by_tr(data: xr.Dataset) -> list[str]:
    return [
        str(name)
        for name, variable in data.data_vars.items()
        if variable.dims[:1] == ("tr",) and variable.dtype.kind in "iuf" and name != "onset"
    ]


def _made(source: Path, data: xr.Dataset, take: str, codec: str | None) -> np.ndarray:
    from giblet.pipeline.encoding_features import BandReader
    from giblet.training.films import Films

    bands = {take: BandSettings.make(of="file", take=take)}
    reader = BandReader(bands, codec=codec or str(data.attrs.get("codec", "bundled")), films=Films())
    return reader.of_run({"file": source}, float(data.attrs["tr"]))[take][1]["band"].values


def _valid(data: xr.Dataset) -> np.ndarray:
    return data["valid"].values.astype(bool) if "valid" in data else np.ones(data.sizes["tr"], bool)


def _ending(valid: np.ndarray) -> int:
    """The TR that the film ends in: the one behind those that it lasts through, if there is one."""
    return int(np.flatnonzero(valid).max(initial=-1)) + 1


def _begun(data: xr.Dataset) -> np.ndarray:
    """TRs that the film lasts through, and the one that it ends in."""
    here = _valid(data)
    ending = _ending(here)
    if ending < len(here) and "onset" in data:
        here[ending] = float(data["onset"].values[ending]) < float(data.attrs["film_duration"])
    return here


def _frames_in_film(data: xr.Dataset, grid: TRGrid) -> np.ndarray:
    """Frames of the TRs that the film lasts through, and of the one that it ends in those that begin before its end."""
    valid = _valid(data)
    here = np.repeat(valid, grid.counts)
    ending = _ending(valid)
    if ending < grid.n_trs:
        frames = np.arange(grid.edges[ending], grid.edges[ending + 1])
        begin = frames / float(grid.frame_rate) + float(data["onset"].values[0] if "onset" in data else 0.0)
        here[frames] = begin < float(data.attrs["film_duration"])
    return here


def _masked(table: pd.DataFrame, here: np.ndarray) -> pd.DataFrame:
    return table.where(np.broadcast_to(here[:, None], table.shape))


def _packed(table: pd.DataFrame) -> bytes:
    """Tab-separated values with all their digits and no header, gzipped so that the same gives the same bytes."""
    text = io.StringIO()
    table.to_csv(text, sep="\t", header=False, index=False, na_rep="n/a", lineterminator="\n")
    return gzip.compress(text.getvalue().encode(), compresslevel=6, mtime=0)


def _sidecar(file: StimFile, task: str, made: _Recording, data: xr.Dataset) -> bytes:
    attrs = own_attributes(data)
    content = {
        "Description": f"{attrs['desc']} features of {attrs['source']}; row k describes the stimulus from StartTime + "
        "k / SamplingFrequency on, and is n/a where the stimulus has ended or there is nothing to describe",
        "TaskName": task.removeprefix("task-"),
        "SamplingFrequency": file.sampling_frequency,
        "StartTime": file.start_time,
        "Columns": list(file.columns),
        **{name: {"Description": text} for name, text in made.about.items()},
        "giblet": attrs,
    }
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()
