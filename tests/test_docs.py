"""What the documents say can be done: links lead somewhere, commands have these options, imports are there."""

import ast
import importlib
import re
import shlex
from pathlib import Path

import pytest
import typer.main

from giblet.cli import app

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path
    for folder in (ROOT, ROOT / "docs", ROOT / "samples", ROOT / "giblet" / "codec" / "assets" / "bundled")
    for path in folder.glob("*.md")
)
FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`(giblet [^`\n]+)`")
pages = pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))


def blocks(page: Path, language: str) -> list[str]:
    return [text for name, text in FENCED.findall(page.read_text(encoding="utf-8")) if name == language]


def commands(text: str) -> list[list[str]]:
    """Command lines of giblet, without comments and the backslash at a line's end."""
    lines = text.replace("\\\n", " ").splitlines()
    found = [shlex.split(line, comments=True) for line in lines if re.match(r"\s*giblet\b", line)]
    return [line[1:] for line in found]


def command_of(words: list[str]):
    """The command that is named, its name, and its own words."""
    command, name, words = typer.main.get_command(app), "giblet", list(words)
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        name = words.pop(0)
        assert name in command.commands, f"there is no command {name}: {', '.join(command.commands)}"
        command = command.commands[name]
    return command, name, words


def test_there_are_pages_commands_and_snippets_to_check():
    """A pattern that finds nothing would let everything pass."""
    assert len(PAGES) >= 8
    assert sum(len(commands(block)) for page in PAGES for block in blocks(page, "sh")) >= 12
    assert sum(len(blocks(page, "python")) for page in PAGES) >= 5


def anchors(page: Path) -> set[str]:
    """What a code host and the site call the headings of a page in addresses."""
    text = re.sub(FENCED, "", page.read_text(encoding="utf-8"))
    said = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", line) for line in re.findall(r"^#+ +(.+?) *$", text, re.MULTILINE)]
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in said}


@pages
def test_every_relative_link_leads_to_a_file_and_a_heading(page):
    text = re.sub(FENCED, "", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, heading = target.partition("#")
        there = page.parent / path if path else page
        assert there.exists(), target
        if heading:
            assert heading in anchors(there), f"{target}: no such heading in {there.name}"


SOURCES = [*PAGES, *sorted((ROOT / "notebooks").glob("*.md")), *sorted((ROOT / "giblet").rglob("*.py"))]
DOI = re.compile(r"https://doi\.org/10\.\d{4,9}/[\w.()/:-]*\w")


def external(text: str) -> list[str]:
    """Addresses elsewhere, and identifiers of papers that are not written as addresses."""
    return [found.rstrip(".,;:") for found in re.findall(r"https?://[^\s)>\]\"'`|]+|\bdoi:\S+", text)]


def off(address: str) -> bool:
    return not address.startswith("https://") or ("doi.org" in address and not DOI.fullmatch(address))


def test_addresses_elsewhere_are_safe_and_well_formed():
    found = {(path.name, one) for path in SOURCES for one in external(path.read_text(encoding="utf-8"))}
    assert len(found) >= 25
    assert [one for one in sorted(found) if off(one[1]) and "w3.org" not in one[1]] == []


def test_an_address_that_is_off_would_be_found():
    text = "[a](http://a.org), doi:10.1038/s41597, (https://doi.org/10.1038), https://doi.org/10.7302/Z29C6VNH."
    found = ["http://a.org", "doi:10.1038/s41597", "https://doi.org/10.1038"]
    assert [one for one in external(text) if off(one)] == found


def test_headings_are_addressed_as_code_hosts_do(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# What is `p`, and q?\n\n## 1. [Here](a.md)\n```sh\n# a comment\n```\n")
    assert anchors(page) == {"what-is-p-and-q", "1-here"}


def test_every_page_is_in_the_tree_of_the_site():
    tree = (ROOT / "docs" / "_toc.yml").read_text(encoding="utf-8")
    for page in PAGES:
        name = str(page.relative_to(ROOT).with_suffix(""))
        assert re.search(rf"(file|root): {re.escape(name)}$", tree, re.MULTILINE), f"docs/_toc.yml lacks {name}"


@pages
def test_every_command_line_is_one_that_giblet_understands(page):
    for block in blocks(page, "sh"):
        for words in commands(block):
            command, name, own = command_of(words)
            command.make_context(name, own)  # parses and checks, and does nothing


@pages
def test_every_command_that_is_mentioned_exists_with_its_options(page):
    for words in INLINE.findall(re.sub(FENCED, "", page.read_text(encoding="utf-8"))):
        first = re.split(r"[,|\[]", words.removeprefix("giblet "))[0].split()
        command, _, own = command_of(first)
        known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)} | {"--help"}
        used = {word.partition("=")[0] for word in own if re.match(r"--?[a-z]", word)}
        assert used <= known, f"{words}: {used - known}"


@pages
def test_snippets_compile_and_import_what_is_there(page):
    for block in blocks(page, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom):
                module = importlib.import_module(node.module)
                for name in node.names:
                    assert hasattr(module, name.name), f"{node.module} has no {name.name}"
            elif isinstance(node, ast.Import):
                for name in node.names:
                    importlib.import_module(name.name)


@pytest.mark.parametrize("index", range(3))
def test_the_snippets_about_splits_run_and_give_what_they_say(index):
    block = blocks(ROOT / "docs" / "splits.md", "python")[index]
    names: dict = {}
    exec(compile(block, "splits.md", "exec"), names)
    if index == 0:
        line, said = block.strip().splitlines()[-1].split("#")
        assert eval(line, names) == ast.literal_eval(said.strip())  # noqa: S307
    if index == 1:
        assert names["windows"][0]["data"]["bold"].shape == (8, 50)


def test_an_option_that_does_not_exist_would_be_found():
    command, name, words = command_of(["extract", "film.mp4", "--nonsense", "1"])
    with pytest.raises(Exception, match="nonsense"):
        command.make_context(name, words)
    with pytest.raises(AssertionError, match="there is no command"):
        command_of(["extrude", "film.mp4"])
