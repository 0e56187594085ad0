"""Settings of an encoding run: the subjects as in training, the bands of features, the ridge, and what is scored.

Paths in a configuration file are relative to the folder in which the command runs.
"""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from giblet.config import Settings, options_in
from giblet.data.study_settings import Count, DataSettings, Positive, RunSettings, Share, SubjectSettings
from giblet.encoding.defaults import ALPHAS, DELAYS, LEAST_ROTATIONS, N_ROTATIONS
from giblet.modalities import STIMULI
from giblet.statistics.rotations import HIGH_PASS

LATENTS, LATENTS_MEAN, COUNTS, ENVELOPE, MEL_MEAN = "latents", "latents_mean", "counts", "envelope", "mel_mean"
MADE = (LATENTS, LATENTS_MEAN, COUNTS, ENVELOPE, MEL_MEAN)
"""What is made of a feature file, beside the variables that it holds."""
POINT, MEAN, EVENT = "point", "mean", "event"
"""What values with times of their own are: measured at a moment, lasting until the next, or amounts that add up."""


class EncodeRunSettings(RunSettings):
    """One run of one subject: as in training, with further features and a part of its own."""

    bold: Path | None = Field(  # type: ignore[assignment]  # a run that was not scanned is left out
        description="NIfTI, CIFTI, one of a pair of GIFTI (hemi-L), or a table of regions; null: none, run left out"
    )
    features: dict[str, Path] = Field(
        {},
        description="further features by name: a feature file, or a table (.tsv, .csv) or array (.npy) by TR; or any "
        "of them, or netCDF, with times of its own",
    )
    part: Literal["train", "test"] | None = Field(
        None, description="train or test: what the whole run is for; default: fractions or folds decide"
    )

    @field_validator("features")
    @classmethod
    def _named_otherwise(cls, features: dict[str, Path]) -> dict[str, Path]:
        for name in features:
            if name in STIMULI:
                raise ValueError(f"{name} is an option of its own: write {name}: beside features")
        return features

    def files(self) -> dict[str, Path]:
        """The files with features, by the name that bands call them.

        Returns
        -------
        dict of str to Path
        """
        named = {name: path for name in STIMULI if (path := getattr(self, name)) is not None}
        return {**named, **self.features}


class EncodeSubjectSettings(SubjectSettings):
    """One subject: as in training."""

    runs: tuple[EncodeRunSettings, ...] = Field(min_length=1, description="in the order in which they are split")
    bad: Literal["error", "mask"] = Field("mask", description="NaN and constant voxels: refuse, or NaN in the maps")

    @property
    def bad_when_read(self) -> str:
        """Bad voxels keep their place, so that all subjects have the same."""
        return "error" if self.bad == "error" else "zero"


class EncodeDataSettings(DataSettings):
    """The subjects, and which of their TRs are predicted by a model that did not see them.

    The section ``data`` of a training configuration is one of these: its validation TRs are learned from here, as
    penalties are chosen by folds within what is learned from.
    """

    subjects: tuple[EncodeSubjectSettings, ...] = Field(min_length=1)
    centre_runs: Literal[True] = Field(True, description="the level of each run is taken out, always")
    fractions: tuple[Share, Share, Share] = Field(
        (0.8, 0.0, 0.2), description="of train, validation (learned from too) and test; sum 1"
    )
    folds: Annotated[int, Field(ge=2)] | Literal["runs"] | None = Field(
        None,
        description="predict every TR: the scan in so many parts, or its runs, each predicted from the others; "
        "default: one test part",
    )

    @model_validator(mode="after")
    def _one_way_to_hold_out(self) -> EncodeDataSettings:
        said = {run.part is not None for subject in self.subjects for run in subject.runs}
        if said == {True, False}:
            raise ValueError("some runs have a part, others none: give part: train or part: test for each run")
        if self.folds is not None and True in said:
            raise ValueError("folds predict all runs, and runs have a part: leave out one of the two")
        for subject in self.subjects:
            parts = {run.part for run in subject.runs}
            if said == {True} and parts != {"train", "test"}:
                raise ValueError(
                    f"subject {subject.name} has runs for {', '.join(map(str, parts))} alone: at least one run with "
                    "part: train and one with part: test are needed"
                )
            if self.folds == "runs" and len(subject.runs) < 2:
                raise ValueError(
                    f"folds: runs predicts each run from the others, and subject {subject.name} has one run: give at "
                    "least two, or a number of folds"
                )
        return self


class BandSettings(Settings):
    """One band of features: where it comes from, and what is done to it."""

    of: str = Field(description="audio, video, text, or a name in features: of each run")
    take: str | None = Field(
        None,
        description="of codes: latents (mean and deviation over the TR), latents_mean, counts, or envelope; of mel "
        "spectrograms: mel_mean; else a variable of the file; default: what the file is about",
    )
    columns: tuple[str, ...] | None = Field(None, description="columns of a table; default: all")
    times: str | None = Field(
        None,
        description="where the times of the values are, s of the film: a column of a table, a coordinate of netCDF, "
        "or, of an array, the name in features of another; default: one row per TR",
    )
    sampling: Literal["point", "mean", "event"] | None = Field(
        None,
        description="of values with times: measured at a moment, lasting until the next time, or events to be summed",
    )
    n_components: Count | Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None, description="PCA: so many components, or as many as explain this share; default: none"
    )
    scale: Literal["columns", "band"] | None = Field(
        "columns", description="columns: each gets variance 1; band: one divisor for all; null: none"
    )
    convolved: bool = Field(False, description="it is convolved with a response already: hrf and delays are for others")

    @model_validator(mode="after")
    def _times_and_sampling(self) -> BandSettings:
        if (self.times is None) != (self.sampling is None):
            lacking = "sampling (point, mean or event)" if self.sampling is None else "times"
            raise ValueError(f"times and sampling belong together: give {lacking} too")
        return self

    def files(self, known: Container[str]) -> tuple[str, ...]:
        """The files that it is made of: that with its values, and perhaps one with its times.

        Parameters
        ----------
        known : container of str
            Names of the files of a run.

        Returns
        -------
        tuple of str
        """
        return (self.of,) if self.times is None or self.times not in known else (self.of, self.times)


class EncodeSettings(Settings):
    """All that decides an encoding run."""

    data: EncodeDataSettings = Field(description="or the YAML file of a training run, whose data are meant")
    bands: dict[Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")], BandSettings] = Field(
        min_length=1, description="by name: letters, digits and _"
    )
    output: Path = Field(description="folder of the results")
    rows: Literal["volumes"] = Field("volumes", description="volumes: BOLD of a film")
    tr: Positive | None = Field(None, description="s; default: that of the feature files")
    codec: str = Field("bundled", description="the codec that made the codes: 'bundled', a folder or a hub name")

    hrf: Literal["fir", "glover", "spm"] | None = Field(
        "fir", description="fir: copies at delays; null: the features are convolved already"
    )
    delays: Annotated[tuple[Annotated[float, Field(ge=0, allow_inf_nan=False)], ...], Field(min_length=1)] | None = (
        Field(None, description=f"s, of hrf: fir; default: {', '.join(f'{delay:g}' for delay in DELAYS)}")
    )
    alphas: tuple[Positive, ...] = Field(tuple(map(float, ALPHAS)), min_length=1, description="penalties to try")
    penalty_folds: Annotated[int, Field(ge=2)] | Literal["runs"] = Field(
        5, description="folds of what is learned from, with data.gap between them, by which penalties are chosen"
    )
    n_iter: Count = Field(100, description="weights of bands to try, where there are several")
    scoring: Literal["r2", "neg_mse"] = Field("r2", description="what penalties maximise over the folds")
    seed: int = Field(0, ge=0, description="of the search for weights, of PCA and of rotations")
    n_rotations: int = Field(
        N_ROTATIONS,
        ge=LEAST_ROTATIONS,
        description="of the BOLD, for each of which all folds are fitted anew, with data.folds; a single run of fewer "
        "TRs has as many as TRs. Predictions of one test part are rotated by every number of TRs",
    )

    high_pass: Positive | None = Field(
        HIGH_PASS, description="Hz: slower than that is drift, and taken out of both sides of the score"
    )
    ceiling: Literal["none", "intersubject", "repeats"] = Field(
        "none", description="from subjects who saw the same film, or from test runs that show it again"
    )
    unique: bool = Field(True, description="fit without each band too, for its unique variance")
    group: bool = Field(False, description="test the mean over subjects, by rotations made for all at once")
    weights: bool = Field(True, description="keep the fit, which predicts BOLD for other films")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: a GPU for large problems")

    @field_validator("data", mode="before")
    @classmethod
    def _data_of_a_training(cls, data: Any) -> Any:
        return options_in(data).get("data") if isinstance(data, (str, Path)) else data

    @model_validator(mode="after")
    def _what_is_named_is_there(self) -> EncodeSettings:
        for name, band in self.bands.items():
            for subject in self.data.subjects:
                for number, run in enumerate(subject.runs, start=1):
                    if band.of not in run.files():
                        known = ", ".join(run.files()) or "no features"
                        raise ValueError(
                            f"bands.{name} is of {band.of!r}, which run {number} of subject {subject.name} lacks: it "
                            f"has {known}"
                        )
        if self.hrf != "fir" and self.delays is not None:
            raise ValueError(f"delays belong to hrf: fir, and hrf is {self.hrf}: leave out one of the two")
        needed = 3 if self.data.folds == "runs" else 2
        for subject in self.data.subjects if self.penalty_folds == "runs" else ():
            if (n_runs := sum(run.part != "test" for run in subject.runs)) < needed:
                raise ValueError(
                    f"penalty_folds: runs leaves one run out at a time, and subject {subject.name} has {n_runs} to "
                    f"learn from: give at least {needed}, or a number of folds"
                )
        if (self.group or self.ceiling == "intersubject") and len(self.data.subjects) < 2:
            what = "group: true" if self.group else "ceiling: intersubject"
            raise ValueError(f"{what} compares subjects, and there is one: name two or more")
        return self
