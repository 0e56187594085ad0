"""The exceptions that users meet, one family, and the one place where those of other libraries become ours.

Each message says what is wrong and which value, what is allowed, and what to do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from giblet.urls import in_urls

_OBEYED = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, what turns the direction of writing, and halves of characters, which cannot be printed."""


class GibletError(Exception):
    """Base of every error that giblet raises on purpose; the CLI prints it as one line and exits with status 2.

    What stands at a URL is called by it, not by its copy on this computer.
    """

    def __init__(self, *told: Any) -> None:
        super().__init__(*(in_urls(one) if isinstance(one, str) else one for one in told))


class InputError(GibletError, ValueError):
    """A file, an option or an array that cannot be used as given."""


class CodecError(GibletError):
    """A codec that cannot be found, is of an unsupported layout, or is not the one that made the codes."""


class AlignmentError(GibletError, ValueError):
    """Series that do not fit on one clock."""


class CheckpointError(GibletError):
    """A checkpoint that is damaged, or belongs to another model, codec or version."""


def one_line(exc: BaseException, length: int = 160) -> str:
    """What an exception says, as one line: after its type, if it is a LookupError; its type alone, if it says nothing.

    Parameters
    ----------
    exc : BaseException
    length : int
        Characters of what it says that are kept; a type before them is not counted.

    Returns
    -------
    str

    Examples
    --------
    >>> one_line(KeyError("tr")), one_line(EOFError()), one_line(FileNotFoundError(2, "No such file or directory"))
    ("KeyError: 'tr'", 'EOFError', 'No such file or directory')
    """
    text = printable(str(getattr(exc, "strerror", None) or exc))[:length]
    if not text:
        return type(exc).__name__
    # "'tr'" and "255" mean nothing without the type.
    return f"{type(exc).__name__}: {text}" if isinstance(exc, LookupError) else text


def printable(text: str) -> str:
    """A text as one line, without what a terminal obeys: what stands in a file may turn up in a message about it.

    Parameters
    ----------
    text : str

    Returns
    -------
    str
        Control characters, and those that turn the direction of writing, are escaped as Python writes them, and what
        stands at a URL is called by it.

    Examples
    --------
    >>> printable("beep\\x07 and\\nmore")
    'beep\\\\x07 and more'
    """
    return _OBEYED.sub(lambda found: found[0].encode("unicode_escape").decode(), " ".join(in_urls(text).split()))


@contextmanager
def reading(
    what: object, remedy: str = "it is damaged, cut short or of another type", error: type[GibletError] = InputError
) -> Iterator[None]:
    """Turn whatever a library raises while it reads a file into one of ours.

    Readers raise what their authors thought of: struct.error, KeyError and zlib.error beside OSError and ValueError,
    and other ones in the next version. So nothing is listed here, and the block holds the library's call and nothing
    of ours.

    Parameters
    ----------
    what : object
        The file, as the message shall name it.
    remedy : str
        What may be wrong with it, or what to do.
    error : type of GibletError
        What is raised instead.

    Yields
    ------
    None

    Raises
    ------
    GibletError
        Of the type `error`, with the library's exception as its cause; one of ours goes through unchanged.

    Examples
    --------
    >>> with reading("run-1_bold.nii", "copy it again"):
    ...     raise KeyError(255)
    Traceback (most recent call last):
    giblet.errors.InputError: cannot read run-1_bold.nii (KeyError: 255): copy it again
    """
    try:
        yield
    except GibletError:
        raise
    except Exception as exc:
        raise error(f"cannot read {what} ({one_line(exc)}): {remedy}") from exc


@contextmanager
def postponed(errors: list[Exception]) -> Iterator[None]:
    """Keep an exception for later, so that the other files of a batch are not lost to it.

    Parameters
    ----------
    errors : list of Exception
        What was raised is added to it; whoever asks for this raises it when the others are done.

    Yields
    ------
    None
    """
    try:
        yield
    except Exception as exc:  # noqa: BLE001 - raised again when the batch is done
        errors.append(exc)
