"""The ``giblet`` command. Heavy libraries are imported by the commands that need them, so that help comes at once."""

from giblet.cli import features, demo  # isort: skip  (importing adds commands, in the order in which help lists them)
from giblet.cli import bids, brain, codec, doctor, encode, model, reconstruct, report, words
from giblet.cli.shared import app, main

__all__ = [
    "app", "bids", "brain", "codec", "demo", "doctor", "encode", "features", "main", "model", "reconstruct", "report",
    "words",
]  # fmt: skip
