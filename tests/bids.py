"""The BIDS validator of the BIDS maintainers, which runs without a network."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest


def problems_in(folder: Path) -> list[tuple[str, str]]:
    """Errors of the validator: what is wrong, and where."""
    if importlib.util.find_spec("bids_validator_deno") is None:
        pytest.skip("needs bids-validator-deno")
    code = "import sys; from bids_validator_deno import cli; cli()"
    done = subprocess.run(
        [sys.executable, "-c", code, "--format", "json", "--max-rows", "-1", folder], capture_output=True, text=True
    )
    assert done.stdout, done.stderr
    found = json.loads(done.stdout)
    assert found["summary"]["totalFiles"] > 0
    issues = [one for one in found["issues"]["issues"] if one["severity"] == "error"]
    return sorted((f"{one['code']} {one.get('subCode', '')}".strip(), str(one.get("location"))) for one in issues)


def raw_dataset(root: Path, **description: str) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    about = {"Name": "study", "BIDSVersion": "1.10.0", "DatasetType": "raw", **description}
    (root / "dataset_description.json").write_text(json.dumps(about))
    return root
