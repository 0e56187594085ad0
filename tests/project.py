"""What `pyproject.toml` asks for."""

from __future__ import annotations

import tomllib
from pathlib import Path

from packaging.requirements import Requirement

PROJECT = Path(__file__).parents[1] / "pyproject.toml"


def requirements() -> dict[str, list[Requirement]]:
    """By extra, ``""`` for what is always asked for, in the order of the file."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    lists = {"": project["dependencies"], **project["optional-dependencies"]}
    return {extra: [Requirement(one) for one in own] for extra, own in lists.items()}
