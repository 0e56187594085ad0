"""The notebooks are pairs that say the same, hold no outputs, and run from top to bottom."""

import os
import re
from pathlib import Path

import jupytext
import nbformat
import pytest
from nbclient import NotebookClient

from tests.test_docs import FENCED, anchors

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
REAL = "04_encode_real_fmri"
ALICE = Path(os.environ.get("GIBLET_ALICE", ROOT.parent / "shared" / "fmri" / "alice"))
notebooks = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def said(notebook) -> list[tuple[str, str]]:
    """Type and text of each cell."""
    return [(cell.cell_type, cell.source) for cell in notebook.cells]


def differences(path: Path) -> list[int]:
    """Numbers of the cells in which a notebook and its text differ; 0 is the first."""
    stored = said(nbformat.read(path, as_version=4))
    text = said(jupytext.read(path.with_suffix(".md")))
    pairs = zip(stored, text, strict=False)
    return [n for n, (one, other) in enumerate(pairs) if one != other] + [*range(*sorted((len(stored), len(text))))]


def test_there_is_a_notebook_for_each_step_and_a_pair_of_each():
    names = [path.stem for path in NOTEBOOKS]
    assert [name[:3] for name in names] == ["01_", "02_", "03_", "04_", "05_"]
    assert sorted(path.stem for path in (ROOT / "notebooks").glob("*.md")) == names


@notebooks
def test_both_of_a_pair_say_the_same(path):
    """`jupytext --sync notebooks/*.md` makes them so."""
    assert differences(path) == []
    text = path.with_suffix(".md").read_text(encoding="utf-8")
    assert "format_name: myst" in text and "jupytext_version" not in text, "so that the site reads it as a notebook"


def test_a_pair_that_differs_is_found(tmp_path):
    for suffix in (".ipynb", ".md"):
        (tmp_path / f"01{suffix}").write_bytes(NOTEBOOKS[0].with_suffix(suffix).read_bytes())
    text = tmp_path / "01.md"
    text.write_text(text.read_text(encoding="utf-8").replace("tr=1.5)", "tr=2.0)", 1), encoding="utf-8")
    assert len(differences(tmp_path / "01.ipynb")) == 1


@notebooks
def test_a_notebook_is_stored_without_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(code) > 5 and all(cell.outputs == [] and cell.execution_count is None for cell in code)


@notebooks
def test_a_notebook_says_what_is_learned_what_it_cannot_mean_and_what_is_next(path):
    notebook = nbformat.read(path, as_version=4)
    prose = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    assert "You will learn" in prose[0]
    headings = re.findall(r"^## (.+)$", "\n".join(prose), re.MULTILINE)
    assert headings[-2:] == ["What the figures cannot mean", "What to do next"]
    shown = [n for n, cell in enumerate(notebook.cells) if re.search(r"plt\.show|Audio\(|Image\(", cell.source)]
    explained = [notebook.cells[n - 1].cell_type == "markdown" or n - 1 in shown for n in shown[1:]]
    assert len(shown) >= 4 and all(explained), "a text stands before each plot and player"


@notebooks
def test_every_link_of_a_notebook_leads_to_a_file_and_a_heading(path):
    text = re.sub(FENCED, "", "\n".join(one for kind, one in said(jupytext.read(path)) if kind == "markdown"))
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if not link.startswith("https://")]
    assert links
    for target in links:
        name, _, heading = target.partition("#")
        assert (path.parent / name).is_file(), target
        assert not heading or heading in anchors(path.parent / name), target


@pytest.mark.slow
@notebooks
def test_notebook_runs(path, tmp_path, monkeypatch):
    if path.stem == REAL:
        if not ALICE.is_dir():
            pytest.skip("the Alice data are not at ../shared/fmri/alice")
        monkeypatch.setenv("GIBLET_ALICE", str(ALICE))
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()
    shown = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in shown), "pictures are drawn"
    assert any("<audio" in output.get("data", {}).get("text/html", "") for output in shown), "sounds are played"
    assert not any(output.get("name") == "stderr" for output in shown), "nothing is said on stderr"
