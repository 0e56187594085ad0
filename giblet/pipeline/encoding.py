"""Encoding models of a study, from a configuration: fitted, tested in every voxel, written as maps and a page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from giblet.config import options_in
from giblet.data.study_settings import bring_files
from giblet.docs import fill_doc
from giblet.encoding.clip_settings import ClipSettings
from giblet.encoding.settings import EncodeSettings
from giblet.errors import GibletError, InputError
from giblet.files import check_writable, claimed
from giblet.pipeline.cluster import Workers
from giblet.pipeline.derivative import check_derivative
from giblet.storage import bring, check_local

if TYPE_CHECKING:
    from giblet.pipeline.encoding_files import SubjectEncoding
    from giblet.pipeline.encoding_result import EncodingResult, Tell

ROWS: dict[str, type[EncodeSettings | ClipSettings]] = {"volumes": EncodeSettings, "clips": ClipSettings}
"""Settings by what has a response: volumes of a film's scan, or sounds that were played one by one."""


def read_encode_config(path: str | Path) -> EncodeSettings | ClipSettings:
    """Settings of an encoding run from a YAML file; paths in it are relative to the working directory.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    EncodeSettings or ClipSettings
        The latter where the file says ``rows: clips``.

    Raises
    ------
    InputError
        If the file cannot be read, or an option is not allowed.
    """
    rows = options_in(path).get("rows", "volumes")
    if not isinstance(rows, str) or rows not in ROWS:
        raise InputError(
            f"rows is {rows!r}: 'volumes' (BOLD of a film) or 'clips' (one response for each sound) is needed"
        )
    return ROWS[rows].from_yaml(path)


@fill_doc
def encode(
    config: str | Path | EncodeSettings | ClipSettings, *, overwrite: bool = False, device: str | None = None,
    progress: Tell | None = None, workers: int | None = None, scheduler: str | None = None, retries: int = 3,
) -> EncodingResult:  # fmt: skip
    """Fit an encoding model in each subject, test it in every voxel, and write maps, tables and a page.

    A subject whose result is there, of the same settings and files, is not computed again. A subject that cannot be
    used is left out, and the summary says why.

    Parameters
    ----------
    config : str, Path, EncodeSettings or ClipSettings
        A YAML file, or what it says. With ``rows: clips`` sounds that were played one by one have a response each.
    overwrite : bool
        Replace results of other settings or files.
    device : {"auto", "cpu", "cuda"}, optional
        In place of that of the settings.
    progress : callable, optional
        Called with what is being done, and with subjects that are done and those in all.
    workers : int, optional
        %(workers)s Each has one subject at a time.
    scheduler : str, optional
        %(scheduler)s
    retries : int
        %(retries)s

    Returns
    -------
    EncodingResult

    Raises
    ------
    GibletError
        If the settings, the output folder or the workers cannot be used, or no subject can.
    """
    where = Workers.asked(workers, scheduler, retries)
    settings = read_encode_config(config) if isinstance(config, (str, Path)) else config
    if device is not None:
        settings = settings.make(**{**settings.model_dump(), "device": device})
    if scheduler is not None:
        check_local(settings.output, "the output with a scheduler")
    # Here, as what fits encoding models takes seconds to import, and a mistake in the settings should be told before.
    from giblet.pipeline.encoding_clips import encode_clips
    from giblet.pipeline.encoding_group import encode_group
    from giblet.pipeline.encoding_report import encoding_page
    from giblet.pipeline.encoding_result import EncodingResult, write_result
    from giblet.pipeline.encoding_subject import needs_held_out

    if isinstance(settings, ClipSettings):
        return encode_clips(settings, overwrite=overwrite, progress=progress, where=where)
    check_writable(settings.output)
    bring(settings.output, needed=False, folder=True)
    bring_files(settings)
    check_derivative(settings.output)
    with claimed(settings.output):
        subjects, failed = _each_subject(settings, overwrite, progress, where)
        group, notes = None, []
        if needs_held_out(settings):
            try:
                group = encode_group(settings, subjects)
            except GibletError as exc:
                if not failed:
                    raise
                notes.append(f"subjects are not compared: {exc}")
        result = EncodingResult(settings.output, tuple(subjects), group, failed, tuple(notes))
        write_result(result, settings)
        encoding_page(settings, subjects, group, failed, notes).save_as_html(result.report)
    return result


def _each_subject(
    settings: EncodeSettings, overwrite: bool, progress: Tell | None, where: Workers | None
) -> tuple[list[SubjectEncoding], dict[str, str]]:
    """Results of the subjects that can be used, and why others cannot."""
    from giblet.pipeline.encoding_data import tr_of
    from giblet.pipeline.encoding_result import each_subject
    from giblet.pipeline.encoding_subject import FilmWork, standing
    from giblet.training.films import Films

    subjects = {one.name: one for one in settings.data.subjects}
    there = {name: standing(settings, one, overwrite) for name, one in subjects.items()}
    films = Films()
    tr = None if all(there.values()) else tr_of(settings, films)
    return each_subject(
        there, FilmWork(settings, tr, films if where is None else Films()), progress, settings.output, where
    )
