"""The giblet command in this process, for fixtures and programs that pytest's own capture does not reach; a port."""

from __future__ import annotations

import contextlib
import io
import socket
import sys

from giblet.cli import main


def giblet(*argv: object) -> tuple[int, str, str]:
    """Exit status, and what it said on stdout and stderr."""
    out, err, before = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = ["giblet", *map(str, argv)]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as left:
        return int(left.code or 0), out.getvalue(), err.getvalue()
    finally:
        sys.argv = before
    raise AssertionError("the command did not leave by an exit status")


def free_port() -> int:
    """A port of this computer at which nothing listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
