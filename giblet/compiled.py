"""librosa, with its compiled functions in a cache that no two processes write at once.

librosa has numba compile some of its functions when they are first used, and keep them on disk, by default beside its
own code. Two processes that compile at the same time, as the jobs of an array on a cluster do, can leave files there
that do not belong together: from then on every process that calls such a function is ended by the operating system
(numba 0.68.1 and before, numba's issues 4807 and 10128). Here one process of its own compiles into a folder of its own,
which takes its final name when it is complete.
"""

from __future__ import annotations

import atexit
import functools
import hashlib
import importlib
import os
import shutil
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from types import ModuleType

from giblet.errors import InputError
from giblet.storage import user_cache

VARIABLE = "NUMBA_CACHE_DIR"
"""Where numba keeps what it compiled. Who has set it knows of another place, and that one is used."""

COMPILE = """
import numpy, librosa
librosa.pyin(numpy.sin(numpy.arange(16000, dtype=numpy.float32)), fmin=65, fmax=500, sr=16000)
"""
"""Brings about all that giblet calls; what else librosa compiles, it compiles when asked."""


@functools.cache
def import_librosa() -> ModuleType:
    """librosa, safe to be used by several processes at once.

    The first time on a machine takes some 40 s. In a process that has used librosa before, its own cache stays in use.

    Returns
    -------
    module
        ``librosa``.

    Raises
    ------
    InputError
        If librosa's functions cannot be compiled.
    """
    if VARIABLE not in os.environ and "librosa.util.utils" not in sys.modules:
        folder = str(_compiled())
        os.environ[VARIABLE] = folder  # read when numba is imported, and by processes that are started from here
        if "numba" in sys.modules:
            sys.modules["numba"].config.CACHE_DIR = folder
    return importlib.import_module("librosa")


def _compiled() -> Path:
    """The folder with what librosa has compiled, made if there is none for these versions and this processor."""
    root = _cache_root()
    final = root / f"librosa-{_key()}"
    if final.is_dir():
        return final
    own = Path(tempfile.mkdtemp(prefix=".librosa-", dir=root))
    done = subprocess.run(
        [sys.executable, "-c", COMPILE], env={**os.environ, VARIABLE: str(own)}, capture_output=True, text=True
    )
    if done.returncode:
        shutil.rmtree(own, ignore_errors=True)
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise InputError(f"librosa could not be compiled: {last}; install librosa and numba again")
    try:
        own.rename(final)
    except OSError:  # another process was first: its folder is as good
        shutil.rmtree(own, ignore_errors=True)
    return final


def _cache_root() -> Path:
    """The user's cache folder for giblet or, where it cannot be written to, one for this process alone."""
    if (root := user_cache()) is not None:
        return root
    own = Path(tempfile.mkdtemp(prefix="giblet-"))
    atexit.register(shutil.rmtree, own, ignore_errors=True)
    return own


def _key() -> str:
    """One for each installation of librosa, versions of what compiles it, and kind of processor."""
    import llvmlite.binding

    parts = [
        str(Path(importlib.import_module("librosa").__file__ or "").parent),
        *(metadata.version(name) for name in ("librosa", "numba", "llvmlite", "numpy")),
        sys.version,
        llvmlite.binding.get_host_cpu_name(),
        llvmlite.binding.get_host_cpu_features().flatten(),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
