"""Of the scans in a dataset those that entities mean, one of each run."""

from __future__ import annotations

import difflib
import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from giblet.data.bids.files import KEYS, OF_A_RUN, BidsFile, in_words, matching, natural
from giblet.errors import InputError

PREPROCESSED = ("", "preproc")
"""What ``desc`` is of a scan where nobody asks for another; fMRIPrep's surfaces have none."""


def chosen(files: list[BidsFile], wanted: Mapping[str, Sequence[str]]) -> list[BidsFile]:
    """Files that have the labels wanted, one entity after the other.

    Parameters
    ----------
    files : list of BidsFile
        Of the subjects wanted.
    wanted : mapping of str to sequence of str
        As for :func:`giblet.data.bids.query.find_runs`.

    Returns
    -------
    list of BidsFile

    Raises
    ------
    InputError
        If no file has one of the labels.
    """
    for number, (name, key) in enumerate(KEYS.items()):
        wishes = [one.removeprefix(f"{key}-") for one in wanted.get(name, ())]
        if name == "subject":
            continue
        if not wishes:
            preferred = {"description": PREPROCESSED, "echo": ("",)}.get(name)
            files = [f for f in files if preferred is None or f.entities.get(key, "") in preferred] or files
            continue
        earlier = list(KEYS.values())[:number]
        groups = defaultdict(list)
        for file in files:
            groups[tuple(file.entities.get(one, "") for one in earlier)].append(file)
        kept, met = [], set()
        for group in groups.values():
            labels = {file.entities.get(key, "") for file in group}
            meant = {wish: matching(wish, labels) for wish in wishes}
            met |= {wish for wish, some in meant.items() if some}
            every = set().union(*meant.values())
            kept += [file for file in group if file.entities.get(key, "") in every]
        for wish in wishes:
            if wish not in met:
                raise InputError(nothing(name, wish, [f.entities.get(key, "") for f in files], _so_far(wanted, name)))
        files = kept
    return files


def nothing(name: str, wish: str, labels: Sequence[str], where: str) -> str:
    """What is said of a label that no file has, with those that there are, the nearest first.

    Parameters
    ----------
    name : str
        Of the entity.
    wish : str
        The label.
    labels : sequence of str
        Those that there are.
    where : str
        Among which files, with a space before it.

    Returns
    -------
    str
    """
    key = KEYS[name]
    there = sorted(set(labels), key=natural)
    near = difflib.get_close_matches(wish, there, n=len(there), cutoff=0.3)
    ordered = [*near, *(label for label in there if label not in near)]
    shown = [f"{key}-{label}" if label else f'"" (without {key}-)' for label in ordered]
    return f"there is no BOLD of {name} {wish!r}{where}: there is {listed(shown)}"


def _so_far(wanted: Mapping[str, Sequence[str]], name: str) -> str:
    before = list(itertools.takewhile(lambda one: one != name, KEYS))
    told = [f"{one} {', '.join(wanted[one])}" for one in before if wanted.get(one)]
    return f" (among {'; '.join(told)})" if told else ""


def listed(names: Sequence[str]) -> str:
    """The first ten of some names, and how many there are.

    Parameters
    ----------
    names : sequence of str

    Returns
    -------
    str
    """
    return ", ".join(names[:10]) + (f", ... ({len(names)} in all)" if len(names) > 10 else "")


def by_run(files: list[BidsFile]) -> dict[tuple[str, ...], list[BidsFile]]:
    """Files by the labels of their run.

    Parameters
    ----------
    files : list of BidsFile

    Returns
    -------
    dict of tuple of str to list of BidsFile
    """
    found = defaultdict(list)
    for file in files:
        found[file.of_run()].append(file)
    return found


def one_per_run(files: list[BidsFile]) -> Iterator[tuple[BidsFile, Path | None]]:
    """For each run its scan, and of a pair of hemispheres the right one too.

    Parameters
    ----------
    files : list of BidsFile

    Yields
    ------
    tuple of BidsFile and (Path or None)
        Runs in natural order.

    Raises
    ------
    InputError
        If a run has several scans or one hemisphere alone, or two runs have the same numbers.
    """
    runs = by_run(files)
    by_number: dict[tuple[int | str, ...], BidsFile] = {}
    for _, some in sorted(runs.items(), key=lambda item: [natural(label) for label in item[0]]):
        first = some[0]
        other = by_number.setdefault((first.entities["sub"], *numbered(first.entities)), first)
        if other is not first:
            raise InputError(
                f"two runs have the same numbers, {in_words(other.entities)} and {in_words(first.entities)}: is one a "
                "copy? Name the one that is meant, as it is written"
            )
        sides = sorted(some, key=lambda one: one.entities.get("hemi", ""))
        hemispheres = [one.entities.get("hemi", "") for one in sides]
        if hemispheres == ["L", "R"] and _differing(sides) == ["hemi"]:
            yield sides[0], sides[1].path
        elif len(some) == 1 and not hemispheres[0]:
            yield first, None
        elif len(some) == 1:
            raise InputError(
                f"{in_words(first.entities)} has hemi-{hemispheres[0]} alone, {first.path.name}: the other hemisphere "
                "is missing"
            )
        else:
            raise InputError(_several(some))


def _differing(files: Sequence[BidsFile]) -> list[str]:
    keys = sorted(set().union(*(file.entities for file in files)))
    return [key for key in keys if len({file.entities.get(key, "") for file in files}) > 1]


def _several(files: list[BidsFile]) -> str:
    names = {key: name for name, key in KEYS.items()}
    differ = [key for key in _differing(files) if key not in ("hemi", "suffix")]
    said = []
    for key in (key for key in differ if key in names):
        labels = sorted({file.entities.get(key, "") for file in files}, key=natural)
        said.append(f"{names[key]} is {' or '.join(label or chr(34) * 2 for label in labels)}")
    told = "; ".join(said) or "they differ in " + ", ".join(differ)
    return (
        f"{in_words(files[0].entities)} has {len(files)} files, {listed([file.path.name for file in files[:3]])}: say "
        f"which: {told}"
    )


def numbered(entities: Mapping[str, str]) -> tuple[int | str, ...]:
    """What tells a run from the others of a subject, equal for run-2 and run-02.

    Parameters
    ----------
    entities : mapping of str to str
        Labels by key.

    Returns
    -------
    tuple of int or str
    """
    labels = (entities.get(key, "") for key in OF_A_RUN[1:])
    return tuple(int(label) if label.isdecimal() else label for label in labels)
