"""The section ``bids`` of a configuration: which scans of a BIDS dataset are meant, and what each run and subject gets.

It becomes the subjects and runs that a configuration with paths would name, so that nothing else knows of BIDS.
"""

from __future__ import annotations

import logging
import string
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from giblet.config import Settings
from giblet.data.bids.files import KEYS, in_words
from giblet.data.bids.query import BidsRun, Given, find_runs
from giblet.errors import InputError
from giblet.storage import check_local
from giblet.timing import shown

log = logging.getLogger(__name__)


def _as_labels(given: Any) -> Any:
    """One label or several, as words or numbers, as a tuple of words."""
    several = given if isinstance(given, (list, tuple)) else [given]
    for one in several:
        if isinstance(one, bool):
            raise ValueError(
                f"{one} is no label: put it in quotes, as YAML reads on, off, yes and no as true and false"
            )
        if (isinstance(one, int) and one < 0) or not isinstance(one, (int, str)):
            raise ValueError(
                "labels are expected, such as 01, or patterns, such as film*: put numbers with points in quotes"
            )
    return tuple(map(str, several))


Labels = Annotated[tuple[str, ...], BeforeValidator(_as_labels), Field(min_length=1)] | None


class BidsSettings(Settings):
    """Scans of a BIDS dataset: labels or patterns for each entity, one or a list; what is left out may be anything."""

    root: Path = Field(description="folder of the raw dataset, or of the derivatives themselves")
    derivatives: Path | None = Field(None, description="fMRIPrep's folder: its name in root/derivatives, or its path")
    subject: Labels = Field(None, description="such as 01, or [01, 02]; default: all")
    session: Labels = Field(None, description="such as movie*; default: all")
    task: Labels = Field(None, description="default: all")
    acquisition: Labels = Field(None, description="default: all")
    reconstruction: Labels = Field(None, description="default: all")
    direction: Labels = Field(None, description="default: all")
    run: Labels = Field(None, description="2 finds run-2 and run-02; default: all")
    echo: Labels = Field(None, description="default: scans without echo in their name")
    space: Labels = Field(
        None, description='such as MNI152NLin2009cAsym or fsLR; "": scans without space in their name'
    )
    resolution: Labels = Field(None, description="of volumes, as in res-2")
    density: Labels = Field(None, description="of surfaces, as in den-91k")
    description: Labels = Field(None, description="desc; default: preproc, or none")
    stimulus_begins_with: Literal["acquisition", "volume_0"] = Field(
        "acquisition",
        description="where volumes were discarded: it began with the first of these, or with the file's volume 0",
    )
    each_run: dict[str, Any] = Field(
        {}, description="options of each run, such as audio: stimuli/{task}_run-{run}_audio.nc"
    )
    each_subject: dict[str, Any] = Field({}, description="options of each subject, such as confound_strategy")

    @field_validator("root", "derivatives")
    @classmethod
    def _of_this_computer(cls, folder: Path | None) -> Path | None:
        if folder is not None:
            check_local(folder, "a BIDS dataset")
        return folder

    @field_validator("each_run")
    @classmethod
    def _of_the_clock(cls, each_run: dict[str, Any]) -> dict[str, Any]:
        """What decides the clock of all runs is needed as a number before there are runs."""
        for name, kinds, what in (
            ("stimulus_time_at_volume_0", (int, float), "a number of seconds"),
            ("dummy_scans", (int,), "a whole number"),
        ):  # fmt: skip
            value = each_run.get(name, 0)
            if isinstance(value, bool) or not isinstance(value, kinds):
                raise ValueError(f"{name} is {value!r}: {what} is expected, the same for all runs")
        return each_run

    @cached_property
    def found(self) -> dict[str, list[BidsRun]]:
        """The runs by label of the subject; the dataset is read once."""
        options = self.each_subject
        return find_runs(
            self.root, self.derivatives, {name: labels for name in KEYS if (labels := getattr(self, name))},
            given=Given(options.get("tr"), bool(options.get("overrule_tr")), options.get("slice_time_ref")),
            confounds=bool(options.get("confound_strategy") or options.get("confound_columns")),
            masks=not (options.get("mask") or options.get("atlas") or self.each_run.get("mask")),
        )  # fmt: skip

    def subjects(self) -> list[dict[str, Any]]:
        """Subjects as a configuration with paths would name them.

        Returns
        -------
        list of dict
            Options of :class:`giblet.training.settings.SubjectSettings` and its runs.

        Raises
        ------
        InputError
            If the dataset, or what each run gets, does not fit.
        """
        for place, taken in ((self.each_run, ("bold",)), (self.each_subject, ("name", "runs"))):
            for name in taken:
                if name in place:
                    raise InputError(f"{name} comes from the dataset: leave it out of each_run and each_subject")
        return [self._subject(label, runs) for label, runs in self.found.items()]

    def stimulus_time(self, run: BidsRun) -> float:
        """Second of the stimulus at volume 0 of a run.

        Parameters
        ----------
        run : BidsRun

        Returns
        -------
        float
            What ``each_run`` says, or else the time that the discarded volumes took.
        """
        if "stimulus_time_at_volume_0" in self.each_run:
            return float(self.each_run["stimulus_time_at_volume_0"])
        return run.clock.discarded * run.clock.tr if self.stimulus_begins_with == "acquisition" else 0.0

    def dummy_scans(self, run: BidsRun) -> int:
        """Volumes that are left out at the beginning of a run.

        Parameters
        ----------
        run : BidsRun

        Returns
        -------
        int
            What ``each_run`` says, or else as many as fMRIPrep found not to be in a steady state.

        Raises
        ------
        InputError
            If fewer are asked for than nilearn's strategies leave out.
        """
        asked = self.each_run.get("dummy_scans", run.dummy_scans)
        strategy = self.each_subject.get("confound_strategy")
        if strategy is not None and isinstance(asked, int) and asked < run.dummy_scans:
            raise InputError(
                f"{run.name}: dummy_scans is {asked}, and fMRIPrep marks {run.dummy_scans} volumes, which nilearn's "
                f"{strategy!r} leaves out in any case: ask for at least as many, or give confound_columns"
            )
        return int(asked)

    def _subject(self, label: str, runs: list[BidsRun]) -> dict[str, Any]:
        clock, first = runs[0].clock, runs[0]
        for run in runs[1:]:
            for what, one, other in (
                ("TR", run.clock.tr, clock.tr),
                ("slice-time reference", run.clock.slice_time_ref, clock.slice_time_ref),
            ):
                if abs(one - other) > 1e-6 * max(1.0, clock.tr):
                    raise InputError(
                        f"{first.name} has {what} {shown(other)}, {run.name} {shown(one)}: choose runs of one clock"
                        + (", or give slice_time_ref in each_subject" if what != "TR" else "")
                    )
        for run in runs:
            if run.clock.discarded and self.stimulus_time(run) and "stimulus_time_at_volume_0" not in self.each_run:
                log.warning(
                    "%s: %d volumes were discarded before volume 0, which is taken to be at second %s of the stimulus; "
                    "if the stimulus began with volume 0, set stimulus_begins_with: volume_0",
                    run.name, run.clock.discarded, shown(self.stimulus_time(run)),
                )  # fmt: skip
        wants_confounds = self.each_subject.get("confound_strategy") or self.each_subject.get("confound_columns")
        own: dict[str, Any] = {"tr": clock.tr, "slice_time_ref": clock.slice_time_ref}
        described = []
        for run in runs:
            options: dict[str, Any] = {
                "bold": run.bold, "mask": None if self.each_subject.get("mask") else run.mask,
                "confounds": run.confounds if wants_confounds else None,
            }  # fmt: skip
            options |= _filled(self.each_run, run)
            options |= {"stimulus_time_at_volume_0": self.stimulus_time(run), "dummy_scans": self.dummy_scans(run)}
            described.append(options)
        return {"name": label, **own, **_filled(self.each_subject, first), "runs": described}


class _Label(str):
    """A label in a template: as it is written, or as a number, as in ``{run:d}`` or ``{run:02d}``."""

    def __format__(self, spec: str) -> str:
        if spec.endswith("d"):
            return format(int(self), spec)
        return format(str(self), spec)


def _filled(template: Any, run: BidsRun) -> Any:
    """Options with the labels of a run in the place of ``{task}`` and the like."""
    if isinstance(template, Mapping):
        return {name: _filled(value, run) for name, value in template.items()}
    if isinstance(template, (list, tuple)):
        return [_filled(value, run) for value in template]
    if not isinstance(template, str) or "{" not in template:
        return template
    labels = {name: _Label(run.entities[key]) for name, key in KEYS.items() if run.entities.get(key)}
    try:
        return string.Formatter().vformat(template, (), labels)
    except KeyError as exc:
        raise InputError(
            f"{template!r} names {exc.args[0]!r}, which {in_words(run.entities)} has not: it has {', '.join(labels)}"
        ) from exc
    except (ValueError, IndexError, AttributeError) as exc:
        raise InputError(
            f"{template!r} cannot be filled in for {in_words(run.entities)} ({exc}): write names of entities, as in "
            "{run}, or {run:02d} for a number of two digits"
        ) from exc
