"""The page of any run: what a folder holds, and the page that belongs to it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from giblet.errors import InputError, reading
from giblet.files import check_writable
from giblet.pipeline.codec_report import DATA, PAGE, quality_page, read_quality
from giblet.pipeline.derivative import DESCRIPTION
from giblet.pipeline.run_files import CARD, CONFIG
from giblet.storage import bring, taking_urls

if TYPE_CHECKING:
    from giblet.pages import Report

OF_A_RUN = ("splits.json", "log.csv", "summary.json", "best", "checkpoints")


@taking_urls("original", "alignment", folders=("folder",))
def report(
    folder: str | Path, *, original: str | Path | Sequence[str | Path] = (), alignment: str | Path | None = None
) -> Report:
    """The page of a run: of `train` and `reconstruct`, of `encode`, or of `codec evaluate`.

    Parameters
    ----------
    folder : str or Path
        Of the run. One that failed or was stopped has a page too, which says what is missing.
    original : path or sequence of path
        Films or sounds that the features of a training run were made from, to be heard beside what was decoded.
    alignment : path, optional
        What ``giblet check-alignment --json`` printed; by default ``alignment.json`` in a training run, if it is there.

    Returns
    -------
    Report
        Shown in a notebook; ``save_as_html`` and ``open_in_browser`` write it.

    Raises
    ------
    InputError
        If the folder holds no run, a file of it is damaged, or an option cannot be used.

    Examples
    --------
    >>> page = report("runs/sherlock", original="sherlock.mkv")  # doctest: +SKIP
    >>> page.save_as_html("sherlock.html")  # doctest: +SKIP
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"no such folder: {folder}; name the folder of a run")
    originals = [Path(original)] if isinstance(original, (str, Path)) else [Path(one) for one in original]
    if is_training_run(folder):
        from giblet.pipeline.run_report import run_report

        return run_report(folder, originals, None if alignment is None else Path(alignment))
    if originals or alignment is not None:
        raise InputError(f"original and alignment go with a training run, and {folder} is none: leave them out")
    if (folder / DATA).is_file():
        return quality_page(read_quality(folder))
    if is_encoding(folder):
        return _of_encoding(folder)
    inside = "; it holds scorecards: name the training run that it lies in" if [*folder.glob(f"*{CARD}")] else ""
    raise InputError(
        f"{folder} is no run; expected a folder of giblet train, giblet encode or giblet codec evaluate{inside}"
    )


@taking_urls(folders=("folder",), into=("path",))
def page_path(folder: str | Path, path: str | Path | None = None, *, overwrite: bool = False) -> Path:
    """Where the page of a run shall be, once it is clear that it may stand there.

    Parameters
    ----------
    folder : str or Path
        Of the run.
    path : str or Path, optional
        By default where the run's own page is: ``report.html``, or ``codec_report.html`` of a codec.
    overwrite : bool
        Replace a file that is no page of giblet's.

    Returns
    -------
    Path

    Raises
    ------
    InputError
        If another file stands there, or it could not be written.
    """
    path = (
        Path(path) if path is not None else Path(folder) / (PAGE if (Path(folder) / DATA).is_file() else "report.html")
    )
    bring(path, needed=False)
    if path.exists() and not overwrite:
        with reading(path, "name another file"):
            ours = path.is_file() and b'<meta name="generator" content="giblet ' in path.read_bytes()[:4096]
        if not ours:
            raise InputError(
                f"{path} already exists and is no page of giblet's; name another file, or pass overwrite=True"
            )
    if Path(folder).is_dir():
        check_writable(path.parent)
    return path


def is_training_run(folder: Path) -> bool:
    """Whether a folder is that of a training run, however far it came.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    bool
    """
    return (folder / CONFIG).is_file() and any((folder / name).exists() for name in OF_A_RUN)


def is_encoding(folder: Path) -> bool:
    """Whether a folder is one that `encode` wrote, with the summary that it ends with.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    bool
    """
    return (folder / DESCRIPTION).is_file() and (folder / "summary.json").is_file()


def _of_encoding(folder: Path) -> Report:
    # Here, as what fits encoding models takes seconds to import, and other pages need none of it.
    from giblet.encoding.clip_settings import ClipSettings
    from giblet.pipeline.encoding import ROWS
    from giblet.pipeline.encoding_clips_report import clips_page
    from giblet.pipeline.encoding_files import SubjectEncoding, subject_folder
    from giblet.pipeline.encoding_group import GroupEncoding
    from giblet.pipeline.encoding_report import encoding_page
    from giblet.pipeline.encoding_result import EncodingResult

    path, remedy = folder / "summary.json", "encode again (overwrite=True)"
    with reading(path, remedy):
        told = json.loads(path.read_text(encoding="utf-8"))
        options = told["settings"]
        settings = ROWS[options.get("rows", "volumes")].make(**options)
        subjects = tuple(
            SubjectEncoding(name, subject_folder(folder, name), "unchanged", summary)
            for name, summary in told["subjects"].items()
        )
        group = None if told["group"] is None else GroupEncoding(folder, told["group"])
        failed, notes = told["failed"], tuple(told["notes"])
    if isinstance(settings, ClipSettings):
        return clips_page(EncodingResult(folder, subjects, group, failed, notes, "clips"), settings)
    return encoding_page(settings, subjects, group, failed, notes)
