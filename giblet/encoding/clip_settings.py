"""Settings of an encoding run over clips: the sounds, their responses, bands of features, the ridge and its test.

Paths in a configuration file are relative to the folder in which the command runs; sound files in a table of clips to
the folder of the table.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from giblet.config import Settings
from giblet.data.bold.brain_rows import format_of
from giblet.data.study_settings import Count, Positive
from giblet.encoding.clips import COUNTS, FIRST_COUNTS, POOLED, THREE_WAYS
from giblet.encoding.defaults import ALPHAS
from giblet.encoding.settings import EncodeSubjectSettings

if TYPE_CHECKING:
    from giblet.encoding.model import EncodingModel


class ClipBandSettings(Settings):
    """One band of features: what it is made of, and what is done to it."""

    of: tuple[str, ...] | Path = Field(
        description="latents, latent_changes, counts, first_counts, mel; several stand side by side; or a table (.tsv, "
        ".csv) or array (.npy) of one row per clip"
    )
    n_components: Count | Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None, description="PCA: so many components, or as many as explain this share; default: none"
    )
    scale: Literal["columns", "band", None] = Field(
        None, description="columns: each gets variance 1; band: one divisor for all; default: band for counts, whose "
        "rare entries are mostly chance, else columns",
    )  # fmt: skip

    @model_validator(mode="before")
    @classmethod
    def _one_or_several(cls, values: Any) -> Any:
        if isinstance(values, dict) and isinstance(of := values.get("of"), str):
            values = {**values, "of": Path(of) if Path(of).suffix else (of,)}
        return values

    @model_validator(mode="after")
    def _known(self) -> ClipBandSettings:
        for part in self.of if isinstance(self.of, tuple) else ():
            if part == "codes":
                raise ValueError(THREE_WAYS)
            if part not in POOLED:
                raise ValueError(f"{part!r} is none of {', '.join(POOLED)}")
        return self

    @property
    def scaled(self) -> str:
        """The scale, said or not."""
        counts = isinstance(self.of, tuple) and set(self.of) <= {COUNTS, FIRST_COUNTS}
        return self.scale or ("band" if counts else "columns")


class ClipSettings(Settings):
    """All that decides an encoding run over clips."""

    rows: Literal["clips"] = Field("clips", description="clips: one response for each sound")
    clips: Path = Field(description="table (.tsv, .csv) of sound files, one row per clip")
    responses: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9]+$")], Path] = Field(
        min_length=1,
        description="by subject: a table (.tsv, .csv), .npy or .mat with one row per clip, voxels as columns; or a "
        "NIfTI image with one volume per clip, in the order of the clips",
    )
    bands: dict[Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")], ClipBandSettings] = Field(
        min_length=1, description="by name: letters, digits and _"
    )
    output: Path = Field(description="folder of the results")
    file_column: str = Field("file", description="of the table: names of files")
    group_column: str | None = Field(None, description="of the table: clips of one group are in one fold")
    folder: Path | None = Field(None, description="where the sound files are; default: where the table is")
    variable: str | None = Field(None, description="of .mat files; default: the one array of numbers")
    mask: Path | dict[str, Path] | None = Field(
        None, description="brain mask; images need it, or an atlas; one for all, or by subject"
    )
    atlas: Path | dict[str, Path] | None = Field(
        None, description="label image: the means of its regions are read from images; one for all, or by subject"
    )
    background_label: int | None = Field(None, description="what the atlas holds where there is no region; default: 0")
    bad: Literal["error", "mask"] = Field("mask", description="NaN and constant voxels: refuse, or NaN in the maps")
    codec: str = Field("bundled", description="'bundled', a folder or a hub name")
    bandwidth: Positive = Field(6.0, description="kbps, of the codec")
    level: Annotated[float, Field(gt=-200, le=0)] | None = Field(
        -26.0, description="dB of full scale, root mean square, to which all clips are brought; null: as they are"
    )

    folds: Annotated[int, Field(ge=2)] = Field(5, description="random folds of clips, each predicted from the others")
    penalty_folds: Annotated[int, Field(ge=2)] = Field(
        5, description="random folds of what is learned from, by which penalties are chosen"
    )
    alphas: tuple[Positive, ...] = Field(tuple(map(float, ALPHAS)), min_length=1, description="penalties to try")
    n_iter: Count = Field(100, description="weights of bands to try, where there are several")
    scoring: Literal["r2", "neg_mse"] = Field("r2", description="what penalties maximise over the folds")
    n_permutations: Annotated[int, Field(ge=100)] = Field(1000, description="fits of responses in another order")
    exchange: Literal["clips", "groups"] | None = Field(
        None, description="what changes places in them; default: groups where there is a group_column, else clips"
    )
    unique: bool = Field(True, description="fit without each band too, for its unique variance")
    weights: bool = Field(True, description="keep the fit on all clips, which predicts responses to other sounds")
    seed: int = Field(0, ge=0, description="of folds, permutations, the search for weights and PCA")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="of the codec")

    @model_validator(mode="after")
    def _masks_have_images(self) -> ClipSettings:
        for option in ("mask", "atlas"):
            given = getattr(self, option)
            if given is not None and not any(map(format_of, self.responses.values())):
                raise ValueError(f"{option} is for responses in images, and there are none: leave it out")
            for name in given if isinstance(given, dict) else ():
                if name not in self.responses:
                    raise ValueError(f"{option} names subject {name!r}: responses are of {', '.join(self.responses)}")
        return self

    def subject(self, name: str) -> EncodeSubjectSettings:
        """How the images of a subject are read, in the words of an encoding run over volumes.

        Parameters
        ----------
        name : str

        Returns
        -------
        EncodeSubjectSettings
            Its one run is the subject's responses.
        """
        mask, atlas = (own.get(name) if isinstance(own, dict) else own for own in (self.mask, self.atlas))
        return EncodeSubjectSettings.make(
            name=name, runs=[{"bold": self.responses[name]}], mask=mask, atlas=atlas, bad=self.bad,
            background_label=self.background_label,
        )  # fmt: skip

    def features(self) -> dict[str, Any]:
        """Bands as :func:`giblet.encoding.clips.clip_features` takes them.

        Returns
        -------
        dict
        """
        return {name: band.of if isinstance(band.of, Path) else list(band.of) for name, band in self.bands.items()}

    def model(self, group: np.ndarray | None = None, n_clips: int | None = None) -> EncodingModel:
        """The ridge, not fitted.

        Parameters
        ----------
        group : ndarray, shape (n_clips,), optional
            Of all clips, where the model is to be fitted on them.
        n_clips : int, optional
            The same where they have no groups.

        Returns
        -------
        EncodingModel
        """
        from giblet.encoding.clip_scores import clip_folds
        from giblet.encoding.model import EncodingModel

        cv: Any = self.penalty_folds
        if group is not None:
            cv = clip_folds(len(group), min(cv, len(set(group))), group=group, seed=self.seed)
        elif n_clips is not None:
            cv = clip_folds(n_clips, cv, seed=self.seed)
        return EncodingModel(
            self.alphas, cv,
            scale={name: band.scaled for name, band in self.bands.items()},
            n_components={name: band.n_components for name, band in self.bands.items()},
            scoring=self.scoring, n_iter=self.n_iter, random_state=self.seed,
        )  # fmt: skip
