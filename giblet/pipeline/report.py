"""The page of any run: what a folder holds, and the page that belongs to it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from giblet.errors import InputError
from giblet.pipeline.run_files import CARD, CONFIG
from giblet.pipeline.run_report import run_report
from giblet.report import Report

OF_A_RUN = ("splits.json", "log.csv", "summary.json", "best", "checkpoints")


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
        return run_report(folder, originals, None if alignment is None else Path(alignment))
    inside = " It holds scorecards: name the training run that it lies in." if [*folder.glob(f"*{CARD}")] else ""
    raise InputError(
        f"{folder} is no run; expected a folder that giblet train, giblet encode or giblet codec evaluate wrote.{inside}"
    )


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
