"""What all commands share: the app, its two streams, errors as one line."""

from __future__ import annotations

import ast
import json
import logging
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from functools import partial
from inspect import getdoc
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperCommand, TyperGroup
from typer.exceptions import TyperException
from typer.main import get_command_from_info, get_command_name, get_group

from giblet.errors import GibletError, InputError, one_line, printable
from giblet.files import check_there
from giblet.hub import is_hub_name
from giblet.limits import LIMITS, VARIABLE, limits_in
from giblet.renamed import now_called
from giblet.storage import local_path
from giblet.urls import in_urls
from giblet.version import __version__

if TYPE_CHECKING:
    from giblet.progress import Progress as Callback


@dataclass(frozen=True)
class _Waiting:
    """A command that was not asked for yet."""

    make: Callable[[], Any]
    help: str | None


WRITTEN = ("out_dir", "out_file", "plot", "root")
"""Parameters that name what a command writes, or writes into; all other paths are of what it reads."""
EACH_BY_ITSELF = ("films",)
"""Parameters of which some may be missing, as the command goes on with the others."""
CALLED_PATHS = {
    "film": "film", "original": "film", "bold": "scan", "check-alignment files": "scan", "mask": "image",
    "atlas": "image", "sounds": "file or folder", "data": "folder", "reconstruct run": "run", "report run": "folder",
}  # fmt: skip
"""What messages call what a parameter names, by its name, or by the command and its name; others are files."""
CALLED_BY_SUFFIX = {".nc": "feature file", ".yaml": "file of settings", ".yml": "file of settings"}
MODELS = ("image_model", "speech_model", "language_model", "text_model", "video_model", "asr_model", "clap")
CODECS = ("codec", "name")
"""Parameters that name a model, or a codec: a folder, or a name on the hub."""
MAPS = {"lesion": (".npy", ".nii", ".nii.gz", ".gii")}
"""Parameters that name regions, or a file: one by these endings."""


def check_paths(command: str, given: Mapping[str, Any]) -> None:
    """Refuse files and folders that are not there, before what reads them is imported.

    Parameters
    ----------
    command : str
        As it is called.
    given : mapping of str to object
        Its parameters.

    Raises
    ------
    InputError
        If a path that is to be read names nothing, or a model's name is a path and names nothing.
    """
    for name, value in given.items():
        is_model = name in (*MODELS, *CODECS) and isinstance(value, str) and not is_hub_name(value)
        if is_model and not Path(value).expanduser().exists():
            check_there(value, "folder of a codec" if name in CODECS else "folder of a model", folder=None)
        if isinstance(value, str) and value.endswith(MAPS.get(name, ())):
            check_there(value, name)
        if name in (*WRITTEN, *EACH_BY_ITSELF):
            continue
        what = CALLED_PATHS.get(f"{command} {name}") or CALLED_PATHS.get(name, "file")
        for one in value if isinstance(value, (list, tuple)) else [value]:
            if isinstance(one, Path):
                check_there(one, CALLED_BY_SUFFIX.get(one.suffix, what), folder=None)


class Command(TyperCommand):
    """A command that begins when all that it is to read is there."""

    def invoke(self, ctx: Any) -> Any:  # noqa: D102
        ctx.params = {name: _placed(value) for name, value in ctx.params.items()}
        check_paths(str(ctx.info_name), ctx.params)
        return super().invoke(ctx)


def _placed(value: Any) -> Any:
    """A parameter with the places on this computer of URLs that stand in it for paths."""
    if isinstance(value, (list, tuple)):
        return type(value)(map(_placed, value))
    return local_path(value) if isinstance(value, Path) else value


class OneByOne(TyperGroup):
    """Commands that are made of their functions as they are asked for: to make all of them takes longer than to start.

    Their list in the help shows what each is for, and makes none.
    """

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: D102
        found: Any = self.commands.get(cmd_name)
        if isinstance(found, _Waiting):
            found = self.commands[cmd_name] = found.make()
        return found

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: D102
        briefly = [TyperCommand(name, help=one.help) for name, one in self.commands.items()]
        TyperGroup(commands=briefly).format_commands(ctx, formatter)


app = typer.Typer(
    cls=OneByOne, add_completion=False, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False
)


class _Stream(Console):
    """A stream on which what stands at a URL is called by it, not by its copy on this computer."""

    def print(self, *objects: Any, **how: Any) -> None:
        """Print objects."""
        super().print(*(in_urls(one) if isinstance(one, str) else one for one in objects), **how)


out = _Stream(soft_wrap=True, highlight=False, emoji=False)
err = _Stream(stderr=True, soft_wrap=True, highlight=False, emoji=False)

# GNU OpenMP's threads wait by spinning, as if they were alone: on a node that others use too, two threads were 5 to 50
# times slower than one (measured). It reads this when torch is imported, which is after this module.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

# Typer has pydantic read the options. Its plugins, of which giblet has no use, are looked for in the metadata of all
# packages that are installed.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")

INTERRUPTED = 130
"""What typer makes of Ctrl-C: 128 and the number of the signal, as shells do."""

CALLED = {"size": "video_size", "vector": "word_vector", "seed": "language_seed", "kinds": "acoustics"}
"""Parameters of the library that options call by another name, such as ``--video-size``."""
RENAMED = {
    ("extract", "--start-offset"): "--table-time-at-tr-0",
    ("check-alignment", "--start-offset"): "--stimulus-time-at-volume-0",
    ("check-alignment", "-o"): "--plot",
    ("check-alignment", "--out"): "--plot",
    ("decode", "-o"): "--out-file",
    ("decode", "--out"): "--out-file",
    ("evaluate", "--out"): "--out-dir",
}
"""Today's names of options, by command and by the name that they had before, which is an error that says today's."""
LISTED = re.compile(r"\b(?:lacks|known are) [^:;]*")
"""A list of attributes of a file, or of a YAML file's options, which only look like those of the command."""
_VALUE = r"\.\.\.|\[[^\]]*\]|'[^']*'|True\b|-?\d[\w.]*"

PHRASES = {
    "with use_encodec=True": "without --mel",
    "with use_encodec=False": "with --mel",
    f"with {VARIABLE}=": "with giblet --limit ",
}
"""What the library says of settings that are asked for by options of ``giblet extract`` with names of their own.

Types of settings, and their fields, are added by :data:`giblet.cli.features.EXTRACTORS`.
"""
EXTRACTING = re.compile(r"\bextract (?:it|them|its|with)\b[^;:]*")
"""What is said of another ``giblet extract``: parameters in it are options of that command, and not of this one."""
_options_now: dict[str, str] = {}
"""What the running command calls the parameters of the library: ``--time-unit`` for ``time_unit``."""
_running: list[typer.Context] = []
"""What was asked for: the context of ``giblet`` first, and of groups below it."""

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object for another program to read.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
NWorkers = Annotated[
    int | None,
    typer.Option(
        "--workers", help="Processes that work side by side on this machine; default: this one.", show_default=False
    ),
]
Scheduler = Annotated[
    str | None,
    typer.Option(
        help="Address of a Dask scheduler, whose workers are used, as in tcp://node1:8786.", show_default=False
    ),
]
Retries = Annotated[
    int | None,
    typer.Option(help="With workers: how often that is begun again at which a worker died (3).", show_default=False),
]
SOME_FAILED = 1
"""Exit status of a command with workers, if some of what was asked for could not be done."""


def workers_of(workers: int | None, scheduler: str | None, retries: int | None) -> dict[str, Any]:
    """Parameters of the library for the three options of workers.

    Parameters
    ----------
    workers : int or None
    scheduler : str or None
    retries : int or None

    Returns
    -------
    dict of str to object

    Raises
    ------
    InputError
        If retries are given, and no workers.
    """
    if retries is not None and workers is None and scheduler is None:
        raise InputError(
            f"--retries is {retries}, but there are no workers that could die: add --workers or --scheduler"
        )
    asked = {"workers": workers, "scheduler": scheduler}
    return asked if retries is None else {**asked, "retries": retries}


def commands_of(whole: typer.Typer) -> TyperGroup:
    """The commands of an app, each of which is made when it is asked for.

    Parameters
    ----------
    whole : typer.Typer
        With a callback, and made with ``cls=OneByOne``.

    Returns
    -------
    TyperGroup
    """
    bare = copy(whole)
    bare.registered_commands, bare.registered_groups = [], []
    group: Any = get_group(bare)
    commands: dict[str, Any] = {}
    for info in whole.registered_commands:
        assert info.callback is not None
        info.cls = Command
        make = partial(get_command_from_info, info, pretty_exceptions_short=False, rich_markup_mode=None)
        commands[info.name or get_command_name(info.callback.__name__)] = _Waiting(make, getdoc(info.callback))
    for part in whole.registered_groups:
        assert part.typer_instance is not None
        inner = part.typer_instance
        commands[str(part.name)] = _Waiting(partial(commands_of, inner), inner.info.help)
    group.commands = commands
    found: TyperGroup = group
    return found


def main(arguments: Sequence[str] | None = None, defaults: Mapping[str, Mapping[str, Any]] | None = None) -> None:
    """Run the command line and exit: bad input is one line on stderr and exit status 2.

    Parameters
    ----------
    arguments : sequence of str, optional
        The command and its options; by default those of this process.
    defaults : mapping of str to mapping, optional
        By command, values of its parameters where no option is given.
    """
    log = logging.getLogger("giblet")
    log.addHandler(warnings := _OneLine())
    _options_now.clear()
    _running.clear()
    try:
        status = commands_of(app)(arguments, standalone_mode=False, default_map=defaults)
    except TyperException as exc:
        status = fail(_renamed_option(exc) or (exc.format_message() if hasattr(exc, "format_message") else str(exc)))
    except GibletError as exc:
        status = fail(str(exc))
    except MemoryError as exc:
        status = fail(f"not enough memory ({one_line(exc)}): close other programs, or use a machine with more")
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has gone (giblet info | head): not an error of ours
        status = 141
    finally:
        log.removeHandler(warnings)
    if status == INTERRUPTED:
        fail("interrupted; nothing half-written was left")
    sys.exit(status if isinstance(status, int) else 0)


def _renamed_option(exc: Exception) -> str | None:
    """What to say of an option that does not exist, if it did under another name."""
    context, option = getattr(exc, "ctx", None), getattr(exc, "option_name", None)
    new = None if context is None else RENAMED.get((str(context.info_name), str(option)))
    return None if new is None else now_called(str(option), new)


class _OneLine(logging.Handler):
    """What the package logs, one line each on stderr, above a progress bar if there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record."""
        text = printable(record.getMessage())
        err.print(f"giblet: {record.levelname.lower()}: {for_shell(text)}", markup=False)


def fail(message: str, status: int = 2) -> int:
    """Say in one line on stderr what is wrong; the exit status."""
    err.print(f"giblet: error: {for_shell(printable(message))}", markup=False)
    return status


def for_shell(text: str) -> str:
    """What the library says, with the options of the running command in place of parameters."""
    of_extract = _options_of(_command(_running[0], "extract")) if _running and EXTRACTING.search(text) else None
    return in_options(text, _options_now, of_extract)


def know_options(context: typer.Context) -> None:
    """Remember the options of the command that is about to run, to name them in its messages."""
    _running.append(context)
    options = _options_of(_command(context, context.invoked_subcommand or ""))
    if context.invoked_subcommand == "train":
        options["tr"] = "model.tr"  # as its YAML file calls it
    _options_now.clear()
    _options_now.update(options)


def _command(context: typer.Context, name: str) -> Any:
    """A command of the group that a context is of."""
    group: Any = context.command
    return group.get_command(context, name)


def _options_of(command: Any) -> dict[str, str]:
    """By parameter of the library, what a command calls it."""
    options = {p.name: max(p.opts, key=len) for p in getattr(command, "params", ()) if p.opts[0].startswith("-")}
    return options | {name: options[other] for name, other in CALLED.items() if other in options}


def in_options(text: str, options: Mapping[str, str], of_extract: Mapping[str, str] | None = None) -> str:
    """A message of the library with the options of the command line in place of parameters.

    Replaced are names in backticks, with or without a value; ``name=value``; ``name is ...`` where the message begins;
    ``name old -> new``; and names that are no English words: those with an underscore, and ``tr``. Names of files and
    columns, which stand in quotes or beside ``/``, ``.`` and ``-``, what else stands in brackets, and what a file is
    said to lack stay.

    Parameters
    ----------
    text : str
    options : mapping of str to str
        By parameter.
    of_extract : mapping of str to str, optional
        The same of ``giblet extract``, for what a message says of extracting again; by default `options`.

    Examples
    --------
    >>> in_options("set time_unit='ms', or columns=['V1', 'A1']", {"time_unit": "--time-unit", "columns": "--columns"})
    'set --time-unit ms, or --columns V1,A1'
    >>> in_options("leave out `codec`, or extract it again with tr=2", {"codec": "--codec"}, {"tr": "--tr"})
    'leave out --codec, or extract it again with --tr 2'
    """
    if not options:
        return text
    for phrase, said in PHRASES.items():
        text = text.replace(f"`{phrase}`", said).replace(phrase, said)
    if of_extract:
        of_extract = {**options, **of_extract}
        parts, end = [], 0
        for found in EXTRACTING.finditer(text):
            parts += [_replaced(text[end : found.start()], options), _replaced(found[0], of_extract)]
            end = found.end()
        return "".join([*parts, _replaced(text[end:], options)])
    return _replaced(text, options)


def _replaced(text: str, options: Mapping[str, str]) -> str:
    names = "|".join(sorted(map(re.escape, options), key=len, reverse=True))
    marked = rf"`({names})(?:=({_VALUE}))?`"
    text = re.sub(marked, lambda found: _option(options[found[1]], found[2]), text)
    text = re.sub(rf"(^|; )({names})(?= is ['\d\[(-])", lambda found: found[1] + options[found[2]], text)
    text = re.sub(rf"(; |\()({names})(?= (?:\S+|\[[^\]]*\]) -> )", lambda found: found[1] + options[found[2]], text)
    listed = [found.span() for found in LISTED.finditer(text)]

    def said(found: re.Match[str]) -> str:
        name, value = found.groups()
        if any(start <= found.start() < end for start, end in listed):
            return found[0]
        if value is not None:
            return _option(options[name], value)
        return options[name] if "_" in name or name == "tr" else name

    return re.sub(rf"(?<![\w./'\"(\\-])({names})(?:=({_VALUE})|(?![\w/='\"\\-]|\.\w))", said, text)


def _option(option: str, value: str | None) -> str:
    """An option, or a key of a YAML file, with its value if there is one."""
    if value is None:
        return option
    return f"{option}{'' if option.startswith('-') else ':'} {_argument(value)}".rstrip()


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
    limit: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=NUMBER",
            help=f"Raise what a file may hold ({', '.join(LIMITS)}); may repeat.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """A film's sound, picture and words on the clock of a scan, and predicted audio codes back into sound."""
    if limit:
        # Processes that a command starts have it from there.
        together = ",".join(filter(None, [os.environ.get(VARIABLE), *limit]))
        limits_in(together)
        os.environ[VARIABLE] = together
    know_options(context)
    logging.getLogger("giblet").setLevel(logging.INFO if verbose else logging.WARNING)


@contextmanager
def bar(what: str, unit: str = "s") -> Iterator[Callback]:
    """A progress bar on stderr, gone when the work is done; nothing where stderr is not a terminal.

    To be entered before libraries that take seconds are imported: it is the first that is seen of a command.
    """
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"), BarColumn(), TextColumn(f"{{task.completed:.0f}}/{{task.total:.0f}} {unit}"),
        TimeElapsedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task(what, total=0)
        yield lambda done, total: progress.update(task, completed=done, total=total if total is not None else done)


@contextmanager
def busy(what: str) -> Iterator[None]:
    """What goes on, on stderr, gone when it is done; nothing where stderr is not a terminal.

    To be entered before libraries that take seconds are imported.
    """
    if not err.is_terminal:
        yield
        return
    with err.status(f"giblet: {what}"):
        yield


def print_json(value: Any) -> None:
    """Print one JSON object on stdout."""
    typer.echo(in_urls(json.dumps(value, indent=2, default=str)))


def table(title: str, rows: dict[str, Any]) -> None:
    """Names and values in two columns; long values are not broken, so that they can be searched and copied."""
    width = max(map(len, rows))
    lines = [title, *(f"  {name:<{width}}  {value}" for name, value in rows.items())]
    out.print("\n".join(lines), markup=False)
