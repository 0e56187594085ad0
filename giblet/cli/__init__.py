"""The ``giblet`` command. Heavy libraries are imported by the commands that need them, so that help comes at once."""

from giblet.cli import brain, codec, features  # noqa: F401  (importing them adds their commands)
from giblet.cli.shared import app, main

__all__ = ["app", "main"]
