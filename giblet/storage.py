"""Files at URLs: copied here before they are read, and there as soon as they are finished.

``s3://``, ``gs://``, ``http(s)://`` and ``memory://`` go through fsspec, which also finds credentials and endpoints by
its own configuration; ``file://`` is a path. What is fetched is kept in the user's cache by URL and version (ETag,
times, size), so that a file is fetched again when it has changed, and only then. :func:`giblet.files.atomic_path`
publishes what it has finished, one whole object at a time.

Nothing is imported for this, and nothing asked, where no URL is given.
"""

from __future__ import annotations

import atexit
import hashlib
import inspect
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from giblet.errors import GibletError, InputError, one_line
from giblet.urls import MIRROR, is_url, mirror_of, parts_of, without_secrets

log = logging.getLogger(__name__)
P = ParamSpec("P")
R = TypeVar("R")

EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs", "http": "http", "https": "http", "memory": ""}
"""By protocol, the extra of giblet that reads it."""
BUCKETS = ("s3", "s3a", "gs", "gcs")
WEB = ("http", "https")
KNOWN = "s3://, gs://, https://, file:// and memory:// are"
VERSION = frozenset(
    ["etag", "versionid", "generation", "lastmodified", "last-modified", "updated", "mtime", "created", "content-md5"]
)
"""What storages tell of a file, besides its size, that changes with its content."""

OLD = 30 * 86_400
"""Seconds after which a version of a file is no longer kept, once there is another one."""
TRIES = 5
"""How often a file is read that another job writes meanwhile."""

_mirror: list[Path] = []
"""The mirror of this process, once it has one."""
_asked: dict[Path, str] = {}
"""URLs with user, password or query, by their paths in the mirror: these are written nowhere."""


def user_cache() -> Path | None:
    """The user's cache folder for giblet.

    Returns
    -------
    Path or None
        None where there is none that can be written to.
    """
    import platformdirs

    root = platformdirs.user_cache_path("giblet", appauthor=False)
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return root if os.access(root, os.W_OK) else None


def local_path(given: str | os.PathLike[str]) -> Path:
    """Where a file is on this computer, or will be once it is brought; nothing is asked of a storage.

    Parameters
    ----------
    given : str or path-like
        A path, which is left as it is, or a URL.

    Returns
    -------
    Path
        For a URL a path in the mirror of this process, with the name that the file has there.

    Raises
    ------
    InputError
        If it is a URL of another kind, or names no file.
    """
    if not is_url(given):
        return Path(given)
    protocol, rest = parts_of(given)
    shown = without_secrets(f"{protocol}://{rest}")
    if protocol in ("file", "local"):
        return Path("/" + rest)
    if ":" in protocol or "::" in rest:
        raise InputError(f"{shown} is a chain of URLs, which are not read: name the file itself, or unpack it first")
    if protocol not in EXTRAS:
        raise InputError(f"{shown} begins with {protocol}://: {KNOWN} read; copy it to a local folder")
    plain = without_secrets(f"{protocol}://{rest}").removeprefix(f"{protocol}://") if protocol in WEB else rest
    parts = [part for part in plain.split("/") if part]
    if not parts or {".", ".."} & set(parts):
        raise InputError(f"{shown} names no file: expected {protocol}://{'host' if protocol in WEB else 'bucket'}/file")
    if "@" in parts[0]:
        raise InputError(
            f"{shown} came with a user or a password, which are not read from URLs of {protocol}: leave them out, and "
            "set them where fsspec finds them"
        )
    path = _own_mirror().joinpath(protocol, *parts)
    if plain != rest:
        _asked[path] = f"{protocol}://{rest}"
    return path


def bring(path: Path, *, needed: bool = True, folder: bool = False) -> Path:
    """Copy what stands at the URL of a path in a mirror to that path, with its JSON sidecar; leave other paths alone.

    Parameters
    ----------
    path : Path
        As :func:`local_path` gives it.
    needed : bool
        Whether it is an error if nothing stands there.
    folder : bool
        Whether it may be a folder, which then comes with all that lies in it.

    Returns
    -------
    Path
        The same.

    Raises
    ------
    InputError
        If it is not there, or the storage cannot be reached or read.
    """
    if mirror_of(path) is None:
        return path
    store = _Store(path)
    with store.reached("read"):
        about = store.about(path)
        if about is None:
            path.unlink(missing_ok=True)
            if needed:
                raise FileNotFoundError(store.url)
        elif about["type"] == "directory":
            if not folder:
                raise InputError(f"{store.url} is a folder: name a file in it")
            for inside in store.inside(path):
                store.fetch(inside, store.about(inside))
            return path
        else:
            store.fetch(path, about)
    for sidecar in {path.with_suffix(".json"), path.with_name(f"{path.name.partition('.')[0]}.json")} - {path}:
        with suppress(PermissionError), store.reached("read", passing=PermissionError):  # S3 says so of what is absent
            store.fetch(sidecar, store.about(sidecar))
    return path


def version_of(path: Path) -> dict[str, Any] | None:
    """What tells of a file at a URL, without reading it, that it has not changed.

    Parameters
    ----------
    path : Path
        In a mirror; the file need not have been brought.

    Returns
    -------
    dict of str to object, or None
        Its size, ETag and times, as far as the storage says them; None where there is no such file.

    Raises
    ------
    InputError
        If the storage cannot be reached.
    """
    store = _Store(path)
    with store.reached("read"):
        about = store.about(path)
    return None if about is None else _version(about)


def exists(path: Path) -> bool:
    """Whether there is such a file, at its URL if it has one.

    Parameters
    ----------
    path : Path

    Returns
    -------
    bool

    Raises
    ------
    InputError
        If its storage cannot be reached.
    """
    return path.exists() if mirror_of(path) is None else version_of(path) is not None


def publish(path: Path) -> None:
    """Copy a finished file in a mirror to its URL, as one whole object; other paths are left alone.

    Parameters
    ----------
    path : Path
        What lies in a folder whose name begins with a dot is of this computer, and stays here.

    Raises
    ------
    InputError
        If it cannot be written there.
    """
    found = mirror_of(path)
    if found is None or any(part.startswith(".") for part in Path(found[2]).parts[:-1]):
        return
    store = _Store(path)
    with store.reached("write"):
        log.info("writing %s", path)
        store.system.put_file(str(path), store.target(path))


def withdraw(path: Path) -> None:
    """Remove what stands at the URL of a path in a mirror; other paths are left alone.

    Parameters
    ----------
    path : Path

    Raises
    ------
    InputError
        If it cannot be removed.
    """
    if mirror_of(path) is None:
        return
    store = _Store(path)
    with suppress(FileNotFoundError), store.reached("write", passing=FileNotFoundError):
        store.system.rm_file(store.target(path))


def check_reachable(folder: Path) -> None:
    """Raise early, before hours of work, if nothing could be written to the URL of a folder in a mirror.

    Parameters
    ----------
    folder : Path
        Other paths are left alone.

    Raises
    ------
    InputError
        If its storage is read only, cannot be reached, or has no such bucket. Whether it may be written to is only
        known when it is.
    """
    if mirror_of(folder) is None:
        return
    store = _Store(folder)
    with store.reached("write"):
        if store.protocol in BUCKETS and store.lacks_bucket():
            raise FileNotFoundError(store.url)


def check_local(folder: Path, what: str) -> None:
    """An error if a folder that must be of this computer is a URL.

    Parameters
    ----------
    folder : Path
    what : str
        What lies in it, for the message.

    Raises
    ------
    InputError
        If it is one, or lies in a mirror.
    """
    if mirror_of(local_path(folder)) is not None:
        raise InputError(
            f"{local_path(folder)} is a URL, and {what} must lie in a folder of this computer: copy it there"
        )


def digest_path(path: str | os.PathLike[str]) -> Path | None:
    """Where the SHA-256 of a file that was fetched is kept, so that it is computed once.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    Path or None
        None for what was not fetched, or is not kept.
    """
    if mirror_of(path) is None or not Path(path).is_symlink():
        return None
    return Path(path).readlink().parent.with_suffix(".sha256")


def taking_urls(*reads: str, folders: tuple[str, ...] = (), into: tuple[str, ...] = ()) -> Callable[
    [Callable[P, R]], Callable[P, R]
]:  # fmt: skip
    """Decorator of a job whose parameters may be URLs: what is to be read is brought before it begins.

    Parameters
    ----------
    *reads : str
        Names of parameters that are files: one, or several in a list, a tuple or a mapping.
    folders : tuple of str
        Those that may be folders, which come with all that lies in them.
    into : tuple of str
        Those that are written to: only their place on this computer is found.

    Returns
    -------
    callable
        To be called with the function; what it returns has the function's signature.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)

        def here(name: str, value: Any) -> Any:
            if isinstance(value, (str, Path)):
                if not (is_url(value) or (mirror_of(value) is not None and not Path(value).exists())):
                    return value
                return local_path(value) if name in into else bring(local_path(value), folder=name in folders)
            if isinstance(value, Mapping):
                return {key: here(name, one) for key, one in value.items()}
            return type(value)(here(name, one) for one in value) if isinstance(value, (list, tuple)) else value

        @wraps(function)
        def job(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                given = signature.bind(*args, **kwargs)
            except TypeError:
                return function(*args, **kwargs)  # which says what is wrong with the call
            for name in given.arguments.keys() & {*reads, *folders, *into}:
                given.arguments[name] = here(name, given.arguments[name])
            return function(*given.args, **given.kwargs)

        return job

    return decorate


class _Store:
    """The storage of a path in a mirror."""

    def __init__(self, path: Path) -> None:
        found = mirror_of(path)
        assert found is not None
        self.mirror, self.protocol, rest = found
        self.url = f"{self.protocol}://{rest}"

    @property
    def system(self) -> Any:
        """The file system of fsspec."""
        import fsspec

        return fsspec.filesystem(self.protocol, use_listings_cache=False)

    def target(self, path: Path) -> str:
        """What the file system calls a path of the mirror."""
        return str(self.system._strip_protocol(_asked.get(path) or self.named(path)))

    def named(self, path: Path) -> str:
        """The URL of a path of the mirror, without secrets."""
        return f"{self.protocol}://{path.relative_to(self.mirror / self.protocol).as_posix()}"

    def about(self, path: Path) -> dict[str, Any] | None:
        """What the storage says of a file; None if there is none."""
        try:
            return dict(self.system.info(self.target(path)))
        except FileNotFoundError as exc:
            status = getattr(exc.__cause__, "status", None)
            if self.protocol in WEB and status in (401, 403):
                raise PermissionError(f"status {status}") from exc
            if self.protocol in WEB and exc.__cause__ is not None and status not in (404, 410):  # fsspec says so of all
                raise ConnectionError(one_line(exc.__cause__)) from exc
            return None

    def inside(self, folder: Path) -> list[Path]:
        """All files below a folder."""
        start = self.target(folder).rstrip("/")
        return [folder / str(found)[len(start) :].lstrip("/") for found in self.system.find(start)]

    def lacks_bucket(self) -> bool:
        bucket = self.url.removeprefix(f"{self.protocol}://").partition("/")[0]
        try:
            self.system.ls(bucket)
        except FileNotFoundError:
            return True
        return False

    def fetch(self, path: Path, about: dict[str, Any] | None) -> None:
        """Make a path of the mirror what stands at its URL."""
        if about is None:
            path.unlink(missing_ok=True)
            return
        if not self.mirror.exists():  # that of another computer's process, for which this one works
            _remove_at_exit(self.mirror)
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = self._kept(path, about)
        if kept is None:
            with tempfile.TemporaryDirectory(dir=self.mirror) as scratch:
                os.replace(self._copied(path, Path(scratch), about)[0], path)
            return
        if path.exists() and path.is_symlink() and path.readlink() == kept:
            return
        if not kept.exists():
            root = kept.parents[1]
            root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".", dir=root, ignore_cleanup_errors=True) as scratch:
                copy, about = self._copied(path, Path(scratch) / "whole", about)
                kept = self._kept(path, about) or kept
                with suppress(OSError):  # another process was faster
                    copy.parent.rename(kept.parent)
                _remove_old_versions(root)
        with tempfile.TemporaryDirectory(dir=self.mirror) as scratch:
            link = Path(scratch) / "link"
            link.symlink_to(kept)
            os.replace(link, path)

    def _kept(self, path: Path, about: dict[str, Any]) -> Path | None:
        """Where a version of a file is kept; None for what has no version, ends with this process, or is small."""
        root, version = _cache_root(), _version(about)
        if root is None or self.protocol == "memory" or version.keys() == {"size"} or path.suffix == ".json":
            return None
        url, told = (hashlib.sha256(str(one).encode()).hexdigest()[:16] for one in (self.named(path), version))
        return root / url / told / path.name

    def _copied(self, path: Path, folder: Path, about: dict[str, Any]) -> tuple[Path, dict[str, Any]]:
        """A whole copy of a file in `folder`, and what the storage says of the version that was copied.

        Another job may write the file between the storage's answer and the copy.
        """
        log.info("reading %s", path)
        folder.mkdir(exist_ok=True)
        copy = folder / path.name
        for _ in range(TRIES):
            self.system.get_file(self.target(path), str(copy))
            now = self.about(path)
            if now is None:
                raise FileNotFoundError(self.url)
            if _version(now) == _version(about):
                n_bytes = copy.stat().st_size
                if about.get("size") not in (None, n_bytes):
                    raise OSError(f"{n_bytes} of {about['size']} bytes came")
                return copy, about
            about = now
        raise InputError(f"{self.url} changed each time that it was read: wait until it is whole")

    @contextmanager
    def reached(self, what: str, passing: type[Exception] | tuple[()] = ()) -> Iterator[None]:
        """Whatever a storage raises within the block, as one of ours."""
        if what == "write" and self.protocol in WEB:
            raise InputError(
                f"cannot write {self.url}: {self.protocol}:// is for reading; name s3://, gs:// or a folder"
            )
        try:
            yield
        except passing:
            raise
        except GibletError:
            raise
        except ImportError as exc:
            extra = EXTRAS[self.protocol]
            raise InputError(
                f"{self.protocol}:// needs a package that is not installed: pip install 'giblet[{extra}]'"
            ) from exc
        except FileNotFoundError as exc:
            if self.protocol in BUCKETS and self._certainly_no_bucket():
                bucket = self.url.removeprefix(f"{self.protocol}://").partition("/")[0]
                raise InputError(
                    f"cannot {what} {self.url}: there is no bucket {bucket!r}; make it, or correct the name"
                ) from exc
            raise InputError(f"no such file: {self.url}; correct its name, and see that it was uploaded") from exc
        except PermissionError as exc:
            raise InputError(
                f"cannot {what} {self.url}: no permission ({_said(exc)}); check the credentials that fsspec finds, and "
                "what they allow"
            ) from exc
        except Exception as exc:
            raise InputError(
                f"cannot {what} {self.url} ({_said(exc)}): check network, endpoint and credentials, and try again"
            ) from exc

    def _certainly_no_bucket(self) -> bool:
        try:
            return self.lacks_bucket()
        except Exception:  # noqa: BLE001 - the message is about something else
            return False


def _version(about: Mapping[str, Any]) -> dict[str, Any]:
    told = {name: str(value) for name, value in about.items() if name.lower() in VERSION and value is not None}
    return {"size": about.get("size"), **dict(sorted(told.items()))}


def _cache_root() -> Path | None:
    """Where what is fetched is kept; None where nothing can be."""
    cache = user_cache()
    return None if cache is None else cache / "storage"


def _remove_old_versions(folder: Path) -> None:
    long_ago = time.time() - OLD
    for version in folder.iterdir():
        with suppress(OSError):
            if version.is_dir() and version.stat().st_mtime < long_ago:
                shutil.rmtree(version, ignore_errors=True)


def _said(exc: Exception) -> str:
    return without_secrets(one_line(exc))


def _own_mirror() -> Path:
    if not _mirror or not _mirror[0].exists():
        _mirror[:] = [Path(tempfile.mkdtemp(prefix=MIRROR))]
        _remove_at_exit(_mirror[0])
    return _mirror[0]


def _remove_at_exit(mirror: Path) -> None:
    """Remove a mirror when this process ends, not when one ends that was forked from it."""
    owner = os.getpid()

    def remove() -> None:
        if os.getpid() == owner:
            shutil.rmtree(mirror, ignore_errors=True)

    atexit.register(remove)
