"""The exceptions that users meet: one family, each message says what, which value, what is allowed and what to do."""

from __future__ import annotations


class GibletError(Exception):
    """Base of every error that giblet raises on purpose; the CLI prints it as one line and exits with status 2."""


class InputError(GibletError, ValueError):
    """A file, an option or an array that cannot be used as given."""


class CodecError(GibletError):
    """A codec that cannot be found, is of an unsupported layout, or is not the one that made the codes."""


class AlignmentError(GibletError, ValueError):
    """Series that do not fit on one clock."""


class CheckpointError(GibletError):
    """A checkpoint that is damaged, or belongs to another model, codec or version."""
