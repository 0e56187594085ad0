"""Imports point one way, and the command line starts without the heavy libraries."""

import ast
import subprocess
import sys
from pathlib import Path

import giblet

ROOT = Path(giblet.__file__).parent

# From the ground up; a module may import from its own floor and from those below.
FLOORS = [
    {"errors", "__init__"},
    {"timing", "files", "netcdf"},
    {"config", "features"},
    {"codec", "alignment"},
    {"data", "models"},
    {"training", "evaluation"},
    {"pipeline", "report"},
    {"cli", "__main__"},
]


def floor_of(module: str) -> int:
    return next(i for i, names in enumerate(FLOORS) if module in names)


def imported(path: Path) -> set[str]:
    """The parts of giblet that a file imports, function bodies included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names = [f"{node.module}.{a.name}" for a in node.names] if node.module == "giblet" else [node.module or ""]
        for name in names:
            head, *rest = name.split(".")
            if head == "giblet":
                found.add(rest[0] if rest and not rest[0].startswith("__version") else "__init__")
    return found


def test_imports_point_one_way():
    for path in ROOT.rglob("*.py"):
        own = path.relative_to(ROOT).with_suffix("").parts[0]
        for other in imported(path):
            assert floor_of(other) <= floor_of(own), (
                f"{path.relative_to(ROOT)} imports giblet.{other}, which lies above it"
            )


def test_the_clock_imports_nothing_but_the_errors():
    assert imported(ROOT / "timing.py") == {"errors"}


def test_one_module_imports_transformers_encodec():
    importers = [p for p in ROOT.rglob("*.py") if "from transformers" in p.read_text()]
    assert [p.relative_to(ROOT).as_posix() for p in importers] == ["codec/encodec.py"]


def test_help_does_not_import_torch():
    check = (
        "import sys; from giblet.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'transformers', 'xarray', 'librosa', 'av'} & set(sys.modules)"
    )
    for argv in (["--help"], ["extract", "--help"], ["info", "--help"], ["--version"]):
        subprocess.run([sys.executable, "-c", check, *argv], check=True, stdout=subprocess.DEVNULL)
