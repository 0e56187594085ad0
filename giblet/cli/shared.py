"""What all commands share: the app, its two streams, errors as one line."""

from __future__ import annotations

import ast
import json
import logging
import os
import re
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from typer.exceptions import TyperException

from giblet.errors import GibletError
from giblet.version import __version__

if TYPE_CHECKING:
    from giblet.progress import Progress as Callback

app = typer.Typer(add_completion=False, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False)
out = Console(soft_wrap=True, highlight=False)
err = Console(stderr=True, soft_wrap=True, highlight=False)

# GNU OpenMP's threads wait by spinning, as if they were alone: on a node that others use too, two threads were 5 to 50
# times slower than one (measured). It reads this when torch is imported, which is after this module.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

INTERRUPTED = 130
"""What typer makes of Ctrl-C: 128 and the number of the signal, as shells do."""

CALLED = {**{name: f"{name}_column" for name in ("onset", "offset", "duration", "text")}, "size": "video_size"}
"""Parameters of the library that options call by another name, as ``--text-column``."""
LISTED = re.compile(r"\b(?:lacks|known are) [^:;]*")
"""A list of attributes of a file, or of a YAML file's options, which only look like those of the command."""
_VALUE = r"\.\.\.|\[[^\]]*\]|'[^']*'|True\b|-?\d[\w.]*"

_options_now: dict[str, str] = {}
"""What the running command calls the parameters of the library: ``--time-unit`` for ``time_unit``."""

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object for another program to read.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]


def main() -> None:
    """Run the command line: bad input is one line on stderr and exit status 2."""
    log = logging.getLogger("giblet")
    log.addHandler(warnings := _OneLine())
    _options_now.clear()
    try:
        status = app(standalone_mode=False)
    except TyperException as exc:
        status = fail(exc.format_message() if hasattr(exc, "format_message") else str(exc))
    except GibletError as exc:
        status = fail(str(exc))
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has gone (giblet info | head): not an error of ours
        status = 141
    finally:
        log.removeHandler(warnings)
    if status == INTERRUPTED:
        fail("interrupted; nothing half-written was left")
    sys.exit(status if isinstance(status, int) else 0)


class _OneLine(logging.Handler):
    """What the package logs, one line each on stderr, above a progress bar if there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record."""
        text = " ".join(record.getMessage().split())
        err.print(f"giblet: {record.levelname.lower()}: {in_options(text, _options_now)}", markup=False)


def fail(message: str, status: int = 2) -> int:
    """Say in one line on stderr what is wrong; the exit status."""
    err.print(f"giblet: error: {in_options(' '.join(message.split()), _options_now)}", markup=False)
    return status


def know_options(context: typer.Context) -> None:
    """Remember the options of the command that is about to run, to name them in its messages."""
    group: Any = context.command
    command = group.get_command(context, context.invoked_subcommand or "")
    options = {p.name: max(p.opts, key=len) for p in getattr(command, "params", ()) if p.opts[0].startswith("-")}
    options |= {name: options[other] for name, other in CALLED.items() if other in options}
    if context.invoked_subcommand == "train":
        options["tr"] = "model.tr"  # as its YAML file calls it
    _options_now.clear()
    _options_now.update(options)


def in_options(text: str, options: Mapping[str, str]) -> str:
    """A message of the library with the options of the command line in place of parameters.

    Replaced are ``name=value``; ``name is ...`` where the message begins; ``name old -> new``; and names that are no
    English words: those with an underscore, and ``tr``. Names of files and columns, which stand in quotes or beside
    ``/``, ``.`` and ``-``, what else stands in brackets, and what a file is said to lack stay.

    Parameters
    ----------
    text : str
    options : mapping of str to str
        By parameter.

    Examples
    --------
    >>> in_options("set time_unit='ms', or columns=['V1', 'A1']", {"time_unit": "--time-unit", "columns": "--columns"})
    'set --time-unit ms, or --columns V1,A1'
    """
    if not options:
        return text
    names = "|".join(sorted(map(re.escape, options), key=len, reverse=True))
    text = re.sub(rf"(^|; )({names})(?= is ['\d\[(-])", lambda found: found[1] + options[found[2]], text)
    text = re.sub(rf"(; |\()({names})(?= (?:\S+|\[[^\]]*\]) -> )", lambda found: found[1] + options[found[2]], text)
    listed = [found.span() for found in LISTED.finditer(text)]

    def said(found: re.Match[str]) -> str:
        name, value = found.groups()
        if any(start <= found.start() < end for start, end in listed):
            return found[0]
        if value is not None:
            return f"{options[name]}{'' if options[name].startswith('-') else ':'} {_argument(value)}".rstrip()
        return options[name] if "_" in name or name == "tr" else name

    return re.sub(rf"(?<![\w./'\"(\\-])({names})(?:=({_VALUE})|(?![\w/='\"\\-]|\.\w))", said, text)


def _argument(value: str) -> str:
    """A value in Python as the shell has it; nothing for a flag."""
    if value in ("True", "..."):
        return value.removeprefix("True")
    found = ast.literal_eval(value) if value[0] in "['" else value
    if isinstance(found, list):
        found = ",".join("..." if one is ... else str(one) for one in found)
    # A comma alone would be read as that of the sentence.
    return shlex.quote(str(found)) if re.search(r"\w", str(found)) else f"'{found}'"


def _version(asked: bool) -> None:
    if asked:
        out.print(f"giblet {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more about what is done.")] = False,
) -> None:
    """A film's sound, picture and words on the clock of a scan, and predicted audio codes back into sound."""
    know_options(context)
    logging.getLogger("giblet").setLevel(logging.INFO if verbose else logging.WARNING)


@contextmanager
def bar(what: str) -> Iterator[Callback]:
    """A progress bar on stderr, gone when the work is done; nothing where stderr is not a terminal."""
    columns = (
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:.0f}/{task.total:.0f} s"),
        TimeElapsedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task(what, total=0)
        yield lambda done, total: progress.update(task, completed=done, total=total if total is not None else done)


def print_json(value: Any) -> None:
    """Print one JSON object on stdout."""
    typer.echo(json.dumps(value, indent=2, default=str))


def table(title: str, rows: dict[str, Any]) -> None:
    """Names and values in two columns; long values are not broken, so that they can be searched and copied."""
    width = max(map(len, rows))
    lines = [title, *(f"  {name:<{width}}  {value}" for name, value in rows.items())]
    out.print("\n".join(lines), markup=False)
