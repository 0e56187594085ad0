"""What a result was made with, so that another does not take its place without a word."""

from __future__ import annotations

import json
from collections.abc import Mapping
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
    """
    return None if path is None else {"name": Path(path).name, "sha256": sha256_of(path)}


def files_of_result(card: Path, options: Mapping[str, Any], overwrite: bool) -> list[str]:
    """The files beside a scorecard that belong to it, if they may be replaced by a result of these options.

    Parameters
    ----------
    card : Path
        JSON that holds ``options`` and ``files``; it need not exist.
    options : mapping
        Of the result to come. Files in them are known by their content, not by their names.
    overwrite : bool
        Whether a result of other options may be replaced.

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
    remedy = "choose another `out_dir`, or pass overwrite=True to replace what is there"
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
        changed = [name for name in {**before, **now} if _content(before.get(name)) != _content(now.get(name))]
        difference = ", ".join(f"{n} was {_shown(before.get(n))}, is {_shown(now.get(n))}" for n in changed[:3])
    if difference and not overwrite:
        raise InputError(f"{card.parent} holds another result ({difference}): {remedy}")
    names = found.get("files")
    return [str(name) for name in names if Path(str(name)).name == name] if isinstance(names, list) else []


def _content(value: Any) -> Any:
    """An option without the names of files, as a file may be called otherwise."""
    if isinstance(value, dict):
        return {k: _content(v) for k, v in value.items() if k != "name"}
    return [_content(v) for v in value] if isinstance(value, list) else value


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_shown, value)) or "none"
    if isinstance(value, dict):
        return str(value.get("name"))
    return "none" if value is None else str(value)[:40]
