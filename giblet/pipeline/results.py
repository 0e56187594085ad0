"""What a result was made with, so that another does not take its place without a word."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from giblet.errors import InputError, reading
from giblet.files import sha256_of


def described(path: str | Path | None) -> dict[str, str] | None:
    """Name and SHA-256 of a file that an option names; None without one.

    Parameters
    ----------
    path : str or Path, or None

    Returns
    -------
    dict of str to str, or None
        ``name`` and ``sha256``.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    if path is None:
        return None
    with reading(path):
        return {"name": Path(path).name, "sha256": sha256_of(path)}


def files_of_result(card: Path, options: Mapping[str, Any], overwrite: bool, place: str = "out_dir") -> list[str]:
    """The files beside a scorecard that belong to it, if they may be replaced by a result of these options.

    Parameters
    ----------
    card : Path
        JSON that holds ``options`` and ``files``; it need not exist.
    options : mapping
        Of the result to come. Files in them are known by their content, not by their names.
    overwrite : bool
        Whether a result of other options may be replaced.
    place : str
        What the option is called that says where results go.

    Returns
    -------
    list of str
        Names in the folder of `card`.

    Raises
    ------
    InputError
        If there is a result of other options, and `overwrite` is False.
    """
    if not card.exists():
        return []
    remedy = f"choose another `{place}`, or pass overwrite=True to replace what is there"
    try:
        with reading(card, remedy):
            found = dict(json.loads(card.read_text(encoding="utf-8")))
    except InputError:
        if overwrite:
            return []
        raise
    before, now = found.get("options"), json.loads(json.dumps(options))
    if not isinstance(before, dict):
        difference = "it does not say with which options"
    else:
        changed = [*islice(_differences(before, now), 3)]
        difference = ", ".join(changed)
    if difference and not overwrite:
        raise InputError(f"{card.parent} holds another result ({difference}): {remedy}")
    names = found.get("files")
    return [str(name) for name in names if Path(str(name)).name == name] if isinstance(names, list) else []


def _differences(before: Any, now: Any, place: str = "") -> Iterator[str]:
    """What has changed, by the names of options; a file is known by its content, as it may be called otherwise."""
    if _is_file(before) and _is_file(now):
        if before["sha256"] != now["sha256"]:
            same = before["name"] == now["name"]
            yield f"{place}: {now['name']} has other content" if same else _was(place, before, now)
    elif isinstance(before, dict) and isinstance(now, dict) and not (_is_file(before) or _is_file(now)):
        for name in {**before, **now}:
            one, other = before.get(name), now.get(name)
            if name != "name" or not (isinstance(one, str) and isinstance(other, str)):
                yield from _differences(one, other, f"{place}.{name}" if place else str(name))
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for number, (one, other) in enumerate(zip(before, now, strict=True)):
            yield from _differences(one, other, f"{place}.{number}")
    elif before != now:
        yield _was(place, before, now)


def _is_file(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == {"name", "sha256"}


def _was(place: str, before: Any, now: Any) -> str:
    return f"{place} was {_shown(before)}, is {_shown(now)}"


def _shown(value: Any) -> str:
    if isinstance(value, list):
        said = ", ".join(map(_shown, value[:3])) + (f", ... ({len(value)} in all)" if len(value) > 3 else "")
        return said or "none"
    if isinstance(value, dict):
        own = value.get("name")
        return own if isinstance(own, str) else ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)[:40]
