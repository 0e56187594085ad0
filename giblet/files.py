"""Writing files whole or not at all, telling one file's content from another's, and reading JSON and arrays.

All files of giblet's own go through :func:`atomic_path` or :func:`write_atomic`; a test holds this list to it:

===============================  ===================================================================================
module                           writes
===============================  ===================================================================================
``features``                     feature files (.nc) and the JSON beside them
``checkpoints``                  tensors (.safetensors) of both trainings
``pages.page``                   one-page reports (.html)
``sound_files``                  sound (.wav, .flac): decoded, beside long pages, samples of a codec's training
``data.picture``                 films of one picture per TR (.mp4)
``data.bold.volumes``            images (.nii, .nii.gz)
``data.bold.brain_images``       CIFTI (.dscalar.nii, .dtseries.nii, ...) and pairs of GIFTI (.func.gii, .label.gii)
``data.simulate``                tables (.tsv, .csv) of simulated BOLD, and the JSON beside BOLD
``evaluation.lag_plot``          the plot of an alignment check
``models.checkpoint``            a model: model.safetensors, model.json
``training.checkpoint``          last.json, the state of a training to go on from
``training.log``                 log.csv, losses by epoch
``training.run_folder``          splits, normalisers and sources of a run
``training.trainer``             config.yaml and summary.json of a run
``pipeline.decoding``            the JSON beside decoded sounds and films
``pipeline.predicted_files``     texts (.tsv) and the JSON beside predicted files
``pipeline.reconstruction``      scorecards (.json, .md)
``encoding.saving``              fits of encoding models (.safetensors)
``pipeline.derivative``          dataset_description.json and .bidsignore of an output folder
``pipeline.encoding_result``     summary.json of an encoding run
``pipeline.encoding_film``       the JSON beside predicted BOLD
``pipeline.encoding_files``      maps and tables of scores
``pipeline.encoding_subject``    held-out predictions of a subject, and its summary
``pipeline.encoding_clips``      the summary of a subject where rows are clips
``pipeline.spoken_stories``      BOLD of stories as tables (.tsv), and study.yaml, which names them
``pipeline.demonstration.alice`` the power of a sound as a table (.tsv)
``pipeline.stim_files``          features as continuous recordings of BIDS, and the JSON beside them
``pipeline.manifest``            what a batch of films was asked for, and what came of each (.json)
``pipeline.word_times``          tables of words and phonemes (.tsv), what they were made from, a transcript (.txt)
``data.words.annotations``       TextGrids
``data.parts``                   what a long extraction has made so far (.npz), until it is done
``pipeline.codec``               measures of codecs (.json)
``codec.training.checkpoints``   states of a codec's training, and config.json of the codec
``codec.training.loop``          training.yaml and log.csv of a codec's training
``remembered``                   fingerprints of codecs (.json), in the user's cache
===============================  ===================================================================================

Besides, :func:`claimed` keeps a file ``.lock`` in a folder where a process is at work, and ``data.rows`` a file without
a name in that of the features, which goes with the process. Three libraries write files of their own: numba what it
compiles, in the folder of :mod:`giblet.compiled`, TensorBoard its events, if :mod:`giblet.training.log` is asked for
them, and huggingface_hub its cache, when :mod:`giblet.hub` asks it for a model.
"""

from __future__ import annotations

import codecs
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from giblet.errors import GibletError, InputError, reading
from giblet.limits import check_archive
from giblet.storage import check_reachable, digest_path, local_path, publish, withdraw
from giblet.urls import in_urls, is_url, mirror_of

if TYPE_CHECKING:
    import numpy as np

LOCK = ".lock"
"""The file by which :func:`claimed` keeps others out of a folder."""
UNFINISHED = re.compile(r"\.(.+)\.[a-z0-9_]{8}\.tmp(?:\..*)?")
"""Names of temporary files, as :mod:`tempfile` makes them of what :func:`atomic_path` says."""


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its name when the block ends without an error.

    The folder is made if it is missing. The temporary file keeps the suffix, is flushed to disk before the rename,
    and is removed when the block fails, so that a reader sees the old file, the new one, or none. The finished file of
    a path in a mirror of URLs is copied to its URL.

    Parameters
    ----------
    path : str or Path
        Where the finished file shall stand; a URL is one, too.

    Yields
    ------
    Path
        Where to write.

    Raises
    ------
    InputError
        If the folder cannot be written to, or the disk is full.
    """
    path = local_path(path)
    temporary: Path | None = None
    held: int | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=f".tmp{path.suffix}", dir=path.parent)
        if _lock(handle):  # as long as this process lives, so that nobody takes the file for one that was left
            held = handle
        else:
            os.close(handle)
        temporary = Path(name)
        yield temporary
        with open(temporary, "rb+") as written:
            os.fsync(written.fileno())
        # Behind the block: a library may have put a file of its own there, which only its owner may read.
        temporary.chmod(0o666 & ~_umask())
        os.replace(temporary, path)
        temporary = None
        _sync_folder(path.parent)
        publish(path)
    except OSError as exc:
        raise InputError(
            f"cannot write {path}: {exc.strerror or exc}; choose another output folder or free some space"
        ) from exc
    finally:
        if held is not None:
            os.close(held)
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink()


def write_atomic(path: str | Path, content: bytes | str) -> None:
    """Write a file so that a kill at any moment leaves the old one or the new one, whole.

    Text is written as UTF-8, and calls what stands at a URL by it, not by its copy on this computer.

    Parameters
    ----------
    path : str or Path
    content : bytes or str

    Raises
    ------
    InputError
        As :func:`atomic_path`.
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(in_urls(content).encode() if isinstance(content, str) else content)


def remove(path: Path) -> None:
    """Remove a file of giblet's own if it is there; of a path in a mirror of URLs, what stands at its URL too.

    Parameters
    ----------
    path : Path

    Raises
    ------
    InputError
        If a storage does not let it be removed.
    """
    path.unlink(missing_ok=True)
    withdraw(path)


def remove_unfinished(folder: str | Path, stems: Collection[str] | None = None) -> None:
    """Remove what processes left that were killed while they wrote: temporary files of :func:`atomic_path`.

    Parameters
    ----------
    folder : str or Path
        It need not exist.
    stems : collection of str, optional
        Of the files that they would have become, names without the last ending; by default of any file. What a process
        is at work on stays, where the file system has locks.
    """
    if not Path(folder).is_dir():
        return
    for file in Path(folder).iterdir():
        found = UNFINISHED.fullmatch(file.name)
        if found and (stems is None or found[1] in stems) and not _is_held(file):
            file.unlink(missing_ok=True)


def _is_held(file: Path) -> bool:
    """Whether a process is at work on a temporary file."""
    try:
        handle = os.open(file, os.O_RDWR)
    except OSError:
        return False
    try:
        return _lock(handle) is False
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    """Put the rename itself on disk; some file systems refuse to sync a folder, and lose nothing by it."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def check_writable(folder: str | Path) -> None:
    """Raise early, before hours of work, if a file could not be made in `folder` (which need not exist yet).

    Parameters
    ----------
    folder : str or Path

    Raises
    ------
    InputError
        If the folder, or the nearest one above it that exists, is not a folder or cannot be written to; if the storage
        of its URL is read only, has no such bucket, or cannot be reached.
    """
    folder = local_path(folder)
    check_reachable(folder)
    existing = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as exc:
        raise InputError(f"cannot write to {folder}: {exc.strerror or exc}; choose another output folder") from exc


REMEDIES = {
    "feature file": "giblet extract makes one from a film",
    "run": "giblet train makes one from a configuration",
    "folder of a codec": "name one, or a codec on the hub, or use 'bundled'",
    "folder of a model": "name one, or a model on the hub",
}
"""What to do where a file or folder of such a name is not there; of all others, check how it is spelled."""


def check_there(
    path: str | Path, what: str = "file", *, folder: bool | None = False, error: type[GibletError] = InputError
) -> None:
    """Refuse a file or folder that is not there; of what stands at a URL, that is told when it is brought.

    Parameters
    ----------
    path : str or Path
    what : str
        What it is to be, as the message calls it.
    folder : bool or None
        Whether it must be a folder, or must not be one; None: it may be.
    error : type of GibletError

    Raises
    ------
    GibletError
        Of the type `error`, if nothing is there by that name, or it is a folder in the place of a file, or a file in
        that of a folder.
    """
    if is_url(path) or (mirror_of(path) is not None and not Path(path).exists()):
        return
    why = ""
    try:
        there = Path(path).exists()
    except OSError as exc:  # a name that is too long, or a folder that may not be looked into
        there, why = False, f" ({exc.strerror})"
    if not there:
        remedy = REMEDIES.get(what, "check its name, and the folder that it is in")
        raise error(f"no such {what}: {path}{why}; {remedy}")
    if folder is not None and Path(path).is_dir() != folder:
        raise error(f"{path} is a {'file' if folder else 'folder'}: name the {what} itself")


@contextmanager
def claimed(folder: str | Path) -> Iterator[None]:
    """Keep other processes out of a folder within the block, as long as they ask in the same way.

    The lock is the kernel's, on a file ``.lock`` in the folder: it ends with the process, however that ends. Where
    the file system or the machine has no locks, nothing is kept out.

    Parameters
    ----------
    folder : str or Path
        Made if it is missing, and then removed again if it is still empty when the block ends.

    Yields
    ------
    None

    Raises
    ------
    InputError
        If another process is at work in the folder, or it cannot be written to.
    """
    folder = Path(folder)
    path, new = folder / LOCK, not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as exc:
        raise InputError(f"cannot write {path}: {exc.strerror or exc}; choose another output folder") from exc
    try:
        locked = _lock(handle)
        if locked is False:
            raise InputError(
                f"another process is at work in {folder}: wait for its end, stop it, or choose another output folder"
            )
        try:
            yield
        finally:
            with suppress(OSError):
                path.unlink()
                if new:
                    folder.rmdir()  # if nothing came of it
    finally:
        os.close(handle)


def _lock(handle: int) -> bool | None:
    """Lock an open file: False if another process has it, None where there are no locks."""
    try:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (OSError, ModuleNotFoundError):  # a file system without locks; Windows
        return None
    return True


@contextmanager
def one_at_a_time(folder: str | Path) -> Iterator[None]:
    """Within the block this process is alone of those that ask in the same way, of a folder; it waits for its turn.

    The lock is the kernel's, on the folder itself: it ends with the process, and leaves nothing behind. Where the file
    system or the machine has no locks, nobody waits.

    Parameters
    ----------
    folder : str or Path
        Made if it is missing.

    Yields
    ------
    None
    """
    handle = None
    with suppress(OSError, ModuleNotFoundError):
        import fcntl

        Path(folder).mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
        fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)


def read_json(
    path: Path,
    remedy: str = "expected JSON; correct it",
    error: type[GibletError] = InputError,
    needed: Sequence[str] = (),
) -> dict[str, Any]:
    """A JSON object from a file.

    Parameters
    ----------
    path : Path
    remedy : str
        What a message says of a file that cannot be read.
    error : type of GibletError
        What is raised.
    needed : sequence of str
        What the object must have.

    Returns
    -------
    dict

    Raises
    ------
    GibletError
        Of the type `error`, if the file cannot be read, holds no object, or lacks something.
    """
    with reading(path, remedy, error):
        said = json.loads(path.read_bytes().removeprefix(codecs.BOM_UTF8))
    if not isinstance(said, dict):
        raise error(f"{path} holds {type(said).__name__}; expected a JSON object, {{...}}: {remedy}")
    if missing := [name for name in needed if name not in said]:
        raise error(f"{path} lacks {', '.join(missing)}: {remedy}")
    return said


def read_npy(path: Path, remedy: str = "an array of numpy.save is needed") -> np.ndarray:
    """An array from a ``.npy`` file.

    Parameters
    ----------
    path : Path
    remedy : str
        What a message says of a file that cannot be read.

    Returns
    -------
    ndarray

    Raises
    ------
    InputError
        If it cannot be read, is shorter than its header says, or holds Python objects.
    """
    import numpy as np

    with reading(path, remedy):
        # Mapped, as the memory for all that its header declares would be taken before the file is seen to be shorter.
        return np.array(np.load(path, mmap_mode="r", allow_pickle=False))


def read_npz(path: Path, remedy: str, error: type[GibletError] = InputError) -> dict[str, np.ndarray]:
    """The arrays of an ``.npz`` file.

    Parameters
    ----------
    path : Path
    remedy : str
        What a message says of a file that cannot be read.
    error : type of GibletError
        What is raised.

    Returns
    -------
    dict of str to ndarray
        By name.

    Raises
    ------
    GibletError
        Of the type `error`, if it cannot be read or holds Python objects; InputError if it unpacks to more than the
        limit (:mod:`giblet.limits`).
    """
    import numpy as np

    with reading(path, remedy, error):
        check_archive(path, "unpacked_gb", str(path))
    with reading(path, remedy, error), np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def sha256_of(path: str | Path) -> str:
    """SHA-256 of a file's bytes, as hexadecimal digits; what was fetched from a URL is read for it once.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    str
        64 lower-case hexadecimal digits.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    kept = digest_path(path)
    if kept is not None and kept.exists():
        return kept.read_text(encoding="ascii")
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    if kept is not None:
        with suppress(InputError):
            write_atomic(kept, digest.hexdigest())
    return digest.hexdigest()
