"""Imports point one way, are declared, and the command line starts without the heavy libraries."""

import ast
import json
import os
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import get_args, get_type_hints

import nibabel as nib
import numpy as np
import soundfile

import giblet
from giblet.cli import app
from giblet.cli.shared import CODECS, MODELS, WRITTEN, commands_of
from giblet.data.word_statistics import EXTRA, SOURCES
from giblet.pipeline import extract
from tests.project import requirements

ROOT = Path(giblet.__file__).parent

# From the ground up; a module may import from its own floor and from those below.
FLOORS = [
    {"docs", "errors", "lazy", "urls", "version"},
    {"timing", "files", "netcdf", "device", "signals", "cells", "renamed", "notebook", "limits"}
    | {"progress", "hub", "compiled", "remembered", "checkpoints", "sound_files", "sound_metrics", "storage"},
    {"config", "features", "modalities", "spans", "runs"},
    {"codec", "alignment"},
    {"data", "models"},
    {"statistics"},
    {"training", "evaluation", "encoding"},
    {"pipeline", "pages"},
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
                found.add(rest[0] if rest else "__init__")
    return found


def test_imports_point_one_way():
    for path in ROOT.rglob("*.py"):
        own = path.relative_to(ROOT).with_suffix("").parts[0]
        if own == "__init__":
            continue  # the face: it names what lies above, and loads it when it is asked for (test_face.py)
        for other in imported(path):
            assert floor_of(other) <= floor_of(own), (
                f"{path.relative_to(ROOT)} imports giblet.{other}, which lies above it"
            )


def files_imported(path: Path) -> set[Path]:
    """The files of giblet that a file imports, function bodies included; not what only a type checker reads."""
    found = set()
    pending: list[ast.AST] = [ast.parse(path.read_text())]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            pending += node.orelse
            continue
        pending += ast.iter_child_nodes(node)
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{a.name}" for a in node.names]
        for name in names:
            head, *parts = name.split(".")
            if head == "giblet":
                # "from giblet.models import encoder" names a file, "from giblet.models import ModelSettings" does not.
                places = [ROOT.joinpath(*parts[:n]) for n in (len(parts), len(parts) - 1) if n >= 0]
                files = [file for p in places for file in (p.with_suffix(".py"), p / "__init__.py") if file.is_file()]
                found.add(files[0])
    return found - {path}


def circles(imports: dict[Path, set[Path]]) -> list[list[str]]:
    """Files that import each other, directly or through others: each group by its paths."""
    reached = {path: set(others) for path, others in imports.items()}
    for middle in reached:
        for others in reached.values():
            if middle in others:
                others |= reached[middle]
    groups = {frozenset({path, *(o for o in others if path in reached[o])}) for path, others in reached.items()}
    return sorted(sorted(p.relative_to(ROOT).as_posix() for p in group) for group in groups if len(group) > 1)


def all_imports() -> dict[Path, set[Path]]:
    """By file, the files that it imports; without the face, which loads what lies above when it is asked for."""
    face = ROOT / "__init__.py"
    return {path: files_imported(path) - {face} for path in ROOT.rglob("*.py") if path != face}


def test_no_files_import_each_other_in_a_circle():
    imports = all_imports()
    assert imports[ROOT / "models" / "autoencoder.py"] >= {ROOT / "models" / "decoder.py", ROOT / "errors.py"}
    found = circles(imports)
    assert not found, "; ".join(" and ".join(group) + " import each other" for group in found)


def test_no_folders_import_each_other_in_a_circle():
    def room(path: Path) -> Path:
        return path if path.parent == ROOT else path.parent

    rooms: dict[Path, set[Path]] = {}
    for path, others in all_imports().items():
        rooms.setdefault(room(path), set()).update(map(room, others))
    assert ROOT / "codec" in rooms[ROOT / "models"]
    found = circles({place: others - {place} for place, others in rooms.items()})
    assert not found, "; ".join(" and ".join(group) + " import each other" for group in found)


def test_a_circle_of_imports_is_seen_and_named():
    files = {name: ROOT / f"{name}.py" for name in ("first", "second", "third", "above")}
    imports = {
        files["first"]: {files["second"]}, files["second"]: {files["third"]}, files["third"]: {files["first"]},
        files["above"]: {files["first"]},
    }  # fmt: skip
    assert circles(imports) == [["first.py", "second.py", "third.py"]]


def test_the_clock_imports_nothing_but_the_errors():
    assert imported(ROOT / "timing.py") == {"errors"}


def test_one_module_imports_transformers_encodec():
    importers = [p for p in ROOT.rglob("*.py") if "from transformers" in p.read_text()]
    assert [p.relative_to(ROOT).as_posix() for p in importers] == ["codec/network.py"]


def test_a_codec_is_used_without_what_takes_seconds_to_import():
    """transformers' model takes four and a half, torch._dynamo one and a half."""
    code = (
        "import sys, numpy, giblet; codec = giblet.load_codec(device='cpu')\n"
        "codec.decode(codec.encode(numpy.zeros(4000, numpy.float32)))\n"
        "print({'transformers', 'torch._dynamo'} & {*sys.modules})"
    )
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "set()\n"


def test_a_scan_is_read_without_what_takes_seconds_to_import(tmp_path):
    """nilearn judges a mask that is not plain, cleans, and lays values on their places; the scan waits for none."""
    nib.Nifti1Image(np.ones((2, 2, 2, 5), np.float32) * np.arange(5, dtype=np.float32), np.eye(4)).to_filename(
        tmp_path / "bold.nii"
    )
    nib.Nifti1Image(np.eye(2, dtype=np.uint8)[..., None].repeat(2, 2), np.eye(4)).to_filename(tmp_path / "mask.nii")
    code = (
        "import sys; from giblet.data.fmri import FMRIProcessor\n"
        f"scan = FMRIProcessor({str(tmp_path / 'mask.nii')!r}, tr=1.5).load({str(tmp_path / 'bold.nii')!r})\n"
        "print(scan.sizes['voxel'], {'nilearn', 'sklearn'} & {*sys.modules})"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "4 set()\n"
    )


HEAVY = {
    "torch", "transformers", "xarray", "pandas", "librosa", "numba", "sklearn", "scipy", "nilearn", "nibabel",
    "matplotlib", "jinja2", "himalaya", "lightning_fabric", "safetensors", "huggingface_hub", "openvino",
    "dask", "distributed",
}  # fmt: skip
"""Libraries that take from a quarter of a second to several to import."""
RUN = """
import io, json, sys
import giblet.cli
from giblet.cli import shared

heavy, commands = json.loads(sys.stdin.read())
heavy = set(heavy)

class Screen(io.StringIO):
    def isatty(self):
        return True

told = []
for argv in commands:
    shared.err.file = screen = Screen()
    try:
        giblet.cli.main(argv)
    except SystemExit as exc:
        told.append([exc.code, sorted(heavy & set(sys.modules)), screen.getvalue()])
print(json.dumps(told))
"""


def one_after_another(commands, heavy=HEAVY, **environment):
    """Of each command, all in one new process: its exit status, what of `heavy` is imported after it, what it said."""
    done = subprocess.run(
        [sys.executable, "-c", RUN], input=json.dumps([sorted(heavy), [list(map(str, argv)) for argv in commands]]),
        capture_output=True, text=True, check=True, env={**os.environ, **environment},
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


COMMANDS = [
    ["extract"], ["decode"], ["info"], ["export-bids"], ["demo"], ["bids"], ["simulate"], ["check-alignment"],
    ["doctor"], ["encode"], ["train"], ["reconstruct"], ["report"], ["align-words"], ["codec", "train"],
    ["codec", "evaluate"], ["codec", "info"],
]  # fmt: skip


def test_help_and_wrong_options_import_nothing_heavy():
    asked = [[], *COMMANDS, ["codec"]]
    commands = [["--version"], *([*one, "--help"] for one in asked), *([*one, "--no-such-option"] for one in COMMANDS)]
    known = {one.name or one.callback.__name__ for one in app.registered_commands} | {"codec"}
    assert {name for name, *_ in COMMANDS} == known
    found = one_after_another(commands, HEAVY | {"numpy", "yaml", "av", "h5py"})
    for argv, (status, heavy, _) in zip(commands, found, strict=True):
        assert (status, heavy) == (2 if argv[-1] == "--no-such-option" else 0, []), argv


LIGHT = HEAVY | {"numpy", "yaml", "av", "h5py", "giblet.config", "giblet.features", "giblet.data", "giblet.codec"}
"""What a path that is not there is told without: all of these together take longer than the command itself to start."""


def paths_of(command):
    """Parameters of a command that name files or folders."""
    hints = get_type_hints(command.callback)
    for param in command.params:
        if any(kind in (hints[param.name], *get_args(hints[param.name])) for kind in (Path, list[Path])):
            yield param


def test_a_path_that_is_not_there_is_told_before_anything_is_imported(tmp_path):
    """Of every command, every path but those of what it writes; and every folder of a model."""
    there = tmp_path / "there.txt"
    there.write_text("some text")
    required = {"root": [tmp_path], "subject": ["1"], "task": ["film"]}
    asked = []
    for words in COMMANDS:
        command = commands_of(app)
        for word in words:
            command = command.get_command(None, word)
        models = [one for one in command.params if one.name in (*MODELS, *CODECS)]
        paths = [one for one in paths_of(command) if one.name not in WRITTEN]
        for wrong in (*paths, *models):
            absent = "./none" if wrong in models else "none.txt"
            argv = []
            for param in command.params:
                option = [param.opts[0]] if param.opts[0].startswith("-") else []
                if param is wrong:
                    argv += [*option, absent]
                elif param.required:
                    argv += [*option, *required[param.name]] if option else [there]
            asked.append(([*words, *argv], absent))
    assert {tuple(argv[:1]) for argv, _ in asked} == {(name,) for name, *_ in COMMANDS} - {("doctor",)}
    assert len(asked) >= 45
    asked += [(["encode", there, "--features", given], "none.nc") for given in ("none.nc", "audio=none.nc")]
    asked += [(["reconstruct", tmp_path, "--lesion", name], name) for name in ("none.npy", "none.dlabel.nii")]
    found = one_after_another([argv for argv, _ in asked], LIGHT)
    for (argv, absent), (status, heavy, said) in zip(asked, found, strict=True):
        assert (status, heavy) == (2, []), (argv, said)
        assert said.startswith("giblet: error: no such ") and f": {absent}; " in said, (argv, said)


def test_of_several_films_those_that_are_there_are_extracted(tmp_path):
    soundfile.write(tmp_path / "talk.wav", np.zeros(24_000, np.float32), 24_000)
    argv = ["extract", "--mel", "--n-mels", "8", tmp_path / "none.mp4", tmp_path / "talk.wav", "-o", tmp_path]
    ((status, _, said),) = one_after_another([argv])
    assert status == 2 and f"no such film: {tmp_path / 'none.mp4'}; " in said
    assert (tmp_path / "talk_desc-mel_features.nc").exists()


def test_a_file_of_another_kind_is_told_after_a_first_word_and_before_anything_heavy(tmp_path):
    odd, film, features, folder = (tmp_path / name for name in ("odd.yaml", "odd.mp4", "odd.nc", "odd"))
    odd.write_text("nonsense: 1\n")
    film.write_text("this is no film\n")
    features.write_text("these are no features\n")
    folder.mkdir()
    out = ["-o", tmp_path / "out"]
    at_once = [
        ["extract", film, *out], ["extract", "--text", film, *out], ["extract", "--language", film, *out],
        ["extract", "--motion", film, *out], ["extract", film, "--tr", "-1", *out],
        ["extract", film, "--workers", "0", *out],
        ["demo", "--quick", film, *out], ["demo", "--real", "alice", "--data", folder, *out],
        ["check-alignment", film, film], ["check-alignment", odd], ["encode", odd], ["bids", odd],
        ["encode", odd, "--features", features], ["encode", odd, "--features", f"audio={features}"],
        ["reconstruct", folder], ["report", folder], ["codec", "evaluate", folder, *out], ["codec", "info", folder],
    ]  # fmt: skip
    read_first = [["info", features], ["train", odd], ["codec", "train", odd]]
    found = one_after_another(at_once + read_first)
    for argv, (status, heavy, said) in zip(at_once + read_first, found, strict=True):
        assert (status, heavy) == (2, []), (argv, said)
        assert "giblet: error: " in said, argv
        if argv in at_once:  # a first word before what may take long
            assert said.index("giblet: error: ") > 0, argv


def test_an_extractor_imports_no_other(tmp_path):
    """Of the extractors, each told by an option that it refuses, only the one that is asked for."""
    others = {"acoustics", "speech", "clips", "language", "motion", "text", "cuts"}
    modules = {f"giblet.data.{name}" for name in others}
    film = tmp_path / "odd.mp4"
    film.write_text("this is no film\n")
    for argv, own in (([], ""), (["--cuts"], "cuts"), (["--motion"], "motion")):
        ((status, found, said),) = one_after_another([["extract", film, *argv, "--tr", "-1"]], modules)
        assert status == 2 and "--tr is -1.0" in said
        assert found == ([f"giblet.data.{own}"] if own else []), argv


def test_what_is_up_to_date_is_told_without_codec_and_torch(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    soundfile.write(tmp_path / "talk.wav", np.zeros(24_000, np.float32), 24_000)
    path = extract(tmp_path / "talk.wav", out_dir=tmp_path).path
    argv = ["extract", tmp_path / "talk.wav", "-o", tmp_path]
    commands = [["info", path], argv, ["-v", *argv, "--tr", "1"]]
    info, again, other = one_after_another(commands, XDG_CACHE_HOME=str(tmp_path / "cache"))
    assert info[:2] == [0, []] and again[:2] == [0, []]
    assert other[:2] == [2, []] and "tr 1.5 -> 1.0" in other[2]


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared() -> dict[str, set[str]]:
    """Names of the packages that pyproject.toml asks for, by extra, `""` for what is always asked for."""
    return {extra: {normal(one.name) for one in own} for extra, own in requirements().items()}


def test_what_is_imported_is_asked_for():
    """A package that comes with another one goes when that one changes its mind."""
    packages = set().union(*declared().values())
    assert {"numpy", "torch", "openpyxl", "huggingface-hub", "markupsafe"} <= packages
    providers = packages_distributions()
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for top in {name.partition(".")[0] for name in names} - {"giblet", *sys.stdlib_module_names}:
                from_where = {normal(one) for one in providers.get(top, [top])}
                assert from_where & packages, f"{path.relative_to(ROOT)} imports {top}, which pyproject.toml leaves out"


def test_every_extra_that_is_named_exists():
    extras = declared()
    named = {
        (path.name, name)
        for folder in (ROOT, ROOT.parent / "docs", ROOT.parent / "scripts")
        for path in folder.rglob("*")
        if path.suffix in (".py", ".md")
        for found in re.findall(r"giblet\[([\w,-]+)\]", path.read_text(encoding="utf-8"))
        for name in found.split(",")
    }
    assert len(named) >= 5
    assert {name for _, name in named} <= extras.keys(), named
    # The hint for a missing library is made of a name of the package and of the extra.
    hints = [
        hint
        for path in (ROOT / "data").glob("*.py")
        for hint in re.findall(r'library\("(\w+)[\w.]*", "([\w-]+)"\)', path.read_text(encoding="utf-8"))
    ]
    hints += [(package, EXTRA) for package in SOURCES.values()]
    assert len(hints) == 8
    for module, extra in hints:
        provider = {"PIL": "pillow", "moten": "pymoten"}.get(module, module.replace("_", "-").lower())
        assert provider in extras[extra], (module, extra)


def test_the_constraints_hold_a_version_of_everything_that_is_asked_for():
    packages = set().union(*declared().values())
    lines = (ROOT.parent / "constraints.txt").read_text(encoding="utf-8").splitlines()
    held = {normal(line.partition("==")[0]) for line in lines if not line.startswith("#")}
    assert packages - held - {"giblet"} == set()


def test_every_extra_is_installed_where_the_tests_run():
    """With `dev`, or by what `.ci/run` makes: so that each version in the constraints is one that there is."""
    run = (ROOT.parent / ".ci" / "run").read_text(encoding="utf-8")
    asked = requirements()
    todo, found = {"", "dev", *re.findall(r"\.with-(\w+)", run)}, set()
    while todo:
        extra = todo.pop()
        found.add(extra)
        todo |= set().union(*(one.extras for one in asked[extra] if one.name == "giblet")) - found
    assert found == asked.keys()


def test_long_functions_and_those_of_many_parameters_say_why():
    """More than 60 lines of code or 10 parameters: a comment at the def gives the reason."""
    for path in ROOT.rglob("*.py"):
        lines = path.read_text(encoding="utf-8").splitlines()
        for node in ast.walk(ast.parse("\n".join(lines))):
            if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                continue
            docstring = node.body[0] if ast.get_docstring(node, clean=False) is not None else None
            code = node.end_lineno - node.lineno + 1
            code -= 0 if docstring is None else docstring.end_lineno - docstring.lineno + 1
            names = [arg.arg for arg in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
            if code <= 60 and len({*names} - {"self", "cls"}) <= 10:
                continue
            top = min([node.lineno, *(one.lineno for one in node.decorator_list)])
            where = [lines[top - 2], *lines[top - 1 : node.lineno]]
            assert any("#" in line for line in where), (
                f"{path.relative_to(ROOT)}: {node.name} has {code} lines and {len(names)} parameters: say why"
            )
