"""Print the least version of each library that pyproject.toml lets in, as constraints for pip."""

import re
import tomllib
from pathlib import Path

TOOLS = ("dev", "docs")
"""Extras of tools, whose versions no user meets."""

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
extras = [one for name, own in project["optional-dependencies"].items() if name not in TOOLS for one in own]
for requirement in project["dependencies"] + extras:
    found = re.match(r"([\w.-]+)(?:\[[\w,-]+\])?[>=]=([\w.]+)", requirement)
    if found is not None:
        print(f"{found[1]}=={found[2]}")  # noqa: T201
    elif not requirement.startswith("giblet["):
        raise SystemExit(f"pyproject.toml gives no least version of {requirement}: write it as {requirement}>=...")
