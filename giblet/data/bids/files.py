"""What lies in a BIDS dataset: its folders, its files, and the labels that their names carry.

Files are listed by bids2table. The labels are read from the names themselves, because a table of numbers no longer
says whether a run was called ``run-2`` or ``run-02``.
"""

from __future__ import annotations

import fnmatch
import glob
import re
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from giblet.errors import InputError
from giblet.files import read_json

KEYS = {
    "subject": "sub", "session": "ses", "task": "task", "acquisition": "acq", "reconstruction": "rec",
    "direction": "dir", "run": "run", "echo": "echo", "space": "space", "resolution": "res", "density": "den",
    "description": "desc",
}  # fmt: skip
"""Entities that a query may name, by their full name: the key in file names."""
OF_A_RUN = ("sub", "ses", "task", "acq", "ce", "rec", "dir", "run")
"""Keys that tell one run from another; the others tell apart what was made of a run."""
SUFFIXES = ("bold", "mask", "timeseries", "regressors")
"""Kinds of files that are looked at."""
DESCRIPTION = "dataset_description.json"


class BidsFile(NamedTuple):
    """A file, and what its name says."""

    path: Path
    entities: dict[str, str]
    """By key, labels as they are written; and ``suffix`` and ``ext``."""

    def of_run(self) -> tuple[str, ...]:
        """The labels that tell its run from others; "" for an entity that the name lacks.

        Returns
        -------
        tuple of str
        """
        own = self.entities
        return tuple([own.get(key, "") for key in OF_A_RUN])


def bids2table() -> Any:
    """The library that lists BIDS datasets.

    Returns
    -------
    module

    Raises
    ------
    InputError
        If it is not installed.
    """
    try:
        import bids2table as found
    except ImportError as exc:
        raise InputError("bids: needs bids2table: pip install 'giblet[bids]'") from exc
    return found


def described(folder: Path) -> dict[str, Any]:
    """What the ``dataset_description.json`` of a dataset says.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    dict

    Raises
    ------
    InputError
        If there is none, or it cannot be read.
    """
    path = folder / DESCRIPTION
    if not path.is_file():
        raise InputError(
            f"{folder} has no {DESCRIPTION}, so it is no BIDS dataset: name the folder that holds it, or write one "
            "with Name, BIDSVersion and DatasetType"
        )
    return read_json(path)


def derivatives_folder(root: Path, derivatives: Path | None) -> Path:
    """Where the preprocessed scans lie.

    Parameters
    ----------
    root : Path
        Of the raw dataset.
    derivatives : Path or None
        A folder's name in ``root/derivatives``, its path in `root`, or a path of its own; None: `root` itself.

    Returns
    -------
    Path

    Raises
    ------
    InputError
        If there is no such folder, or it has no ``dataset_description.json``.
    """
    if not root.is_dir():
        raise InputError(f"no such folder: {root}, the root of the BIDS dataset")
    if derivatives is None:
        described(root)
        return root
    places = [root / "derivatives" / derivatives, root / derivatives, derivatives]
    found = next((place for place in places if place.is_dir()), None)
    if found is None:
        there = root / "derivatives"
        names = sorted(p.name for p in there.iterdir() if p.is_dir()) if there.is_dir() else []
        raise InputError(
            f"there is no folder {derivatives} in {there}, in {root} or here; "
            + (f"{there} has {', '.join(names)}" if names else "name the folder that fMRIPrep wrote")
        )
    described(found)
    return found


def subjects_in(folder: Path) -> list[str]:
    """Labels of the subjects of a dataset, in natural order.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    list of str
    """
    return sorted((p.name[4:] for p in folder.glob("sub-*") if p.is_dir() and p.name[4:].isalnum()), key=natural)


def scan_files(folder: Path, subjects: Sequence[str]) -> list[BidsFile]:
    """Scans, masks and tables of subjects of one dataset.

    Parameters
    ----------
    folder : Path
        Of the dataset; datasets inside it are not looked into.
    subjects : sequence of str
        Labels, as the folders carry them.

    Returns
    -------
    list of BidsFile
        In the order of their paths.
    """
    library = bids2table()
    import pyarrow as pa
    from pyarrow import compute

    with _plainly_named(folder) as place:
        table = library.index_dataset(place, include_subjects=[f"sub-{one}" for one in subjects])
    wanted = compute.is_in(table["suffix"], value_set=pa.array(SUFFIXES))
    return [bids_file(folder / path) for path in sorted(table.filter(wanted)["path"].to_pylist())]


def bids_file(path: Path) -> BidsFile:
    """A file, and what its name says.

    Parameters
    ----------
    path : Path

    Returns
    -------
    BidsFile

    Examples
    --------
    >>> bids_file(Path("sub-01_run-02_bold.nii.gz")).entities
    {'sub': '01', 'run': '02', 'suffix': 'bold', 'ext': '.nii.gz'}
    """
    stem, dot, ext = path.name.partition(".")
    *parts, suffix = stem.split("_")
    entities = {key: label for key, dash, label in (part.partition("-") for part in parts) if dash}
    entities["suffix"], entities["ext"] = suffix, dot + ext
    return BidsFile(path, entities)


@contextmanager
def _plainly_named(folder: Path) -> Iterator[Path]:
    """The folder, by a name that bids2table can use.

    It takes a folder such as ``fmriprep-23.2`` or ``.work`` for no dataset, and reads ``study[2]`` as a pattern.
    """
    whole = folder.absolute()
    if not whole.suffix and not whole.name.startswith(".") and not glob.has_magic(str(whole)):
        yield whole
        return
    with tempfile.TemporaryDirectory() as other:
        link = Path(other) / "dataset"
        link.symlink_to(whole, target_is_directory=True)
        yield link


def natural(text: str) -> list[tuple[int, int, str]]:
    """What to sort by, so that run-2 comes before run-10.

    Parameters
    ----------
    text : str

    Returns
    -------
    list of tuple

    Examples
    --------
    >>> sorted(["run-10", "run-2", "run-1"], key=natural)
    ['run-1', 'run-2', 'run-10']
    """
    parts = [part for part in re.split(r"(\d+)", text) if part]
    return [*((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts), (-1, 0, text)]


def same_label(one: str, other: str) -> bool:
    """Whether two labels are the same text or the same number.

    Parameters
    ----------
    one, other : str

    Returns
    -------
    bool

    Examples
    --------
    >>> same_label("2", "02"), same_label("rest", "rest2")
    (True, False)
    """
    return one == other or (one.isdecimal() and other.isdecimal() and int(one) == int(other))


def matching(wanted: str, labels: Collection[str]) -> set[str]:
    """Labels that a wish means: that very text, or else the pattern, or else the same number.

    Parameters
    ----------
    wanted : str
        A label, or a shell pattern such as ``"film*"``; "" for files whose name lacks the entity.
    labels : collection of str

    Returns
    -------
    set of str

    Examples
    --------
    >>> matching("2", ["01", "02"]), matching("2", ["2", "02"]), sorted(matching("film?", ["film1", "film2", "rest"]))
    ({'02'}, {'2'}, ['film1', 'film2'])
    """
    if wanted in labels:
        return {wanted}
    if any(sign in wanted for sign in "*?["):
        return {label for label in labels if label and fnmatch.fnmatchcase(label, wanted)}
    return {label for label in labels if same_label(wanted, label)}


def in_words(entities: Mapping[str, str], keys: Sequence[str] = OF_A_RUN) -> str:
    """Entities as file names have them, with spaces between.

    Parameters
    ----------
    entities : mapping of str to str
        Labels by key.
    keys : sequence of str
        Which.

    Returns
    -------
    str

    Examples
    --------
    >>> in_words({"sub": "01", "task": "film", "space": "T1w"})
    'sub-01 task-film'
    """
    return " ".join(f"{key}-{entities[key]}" for key in keys if entities.get(key))
